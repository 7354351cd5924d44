#include "services/gateway/record_times.h"

#include "common/assert.h"

#include "schemas/batch.h"

enum { TIMES_PARALLEL_MAX = 4 };

/* -1: there is no such record. */
static int64_t time_of(struct ria_slice batches, int64_t offset)
{
    struct batch_record record;
    struct batch_iter iter;
    bool more = true;

    while (batches.size > 0 && batch_iter_init(&iter, batches) == RIA_OK) {
        size_t size = batch_size(&iter.header);
        for (more = true; more && batch_iter_next(&iter, &record, &more) == RIA_OK;) {
            if (more && record.offset >= offset) {
                return record.timestamp_ms;
            }
        }
        batches = ria_slice_sub(batches, size, batches.size);
    }
    return -1;
}

static void ask(struct leader_lanes *lanes, uint32_t i, struct leader_call *call)
{
    struct record_time *item = &RIA_CONTAINER(lanes, struct record_times, lanes)->items[i];

    item->time_ms = -1;
    call->partition = item->partition;
    call->api_key = API_FETCH;
    fetch_request_init(&call->body.fetch);
    call->body.fetch.offset = item->offset;
    call->body.fetch.max_bytes = 1;
}

static void take(struct leader_lanes *lanes, uint32_t i, ria_err err, struct leader_reply *reply)
{
    struct record_time *item = &RIA_CONTAINER(lanes, struct record_times, lanes)->items[i];

    if (err == RIA_OK) {
        item->time_ms = time_of(reply->payload, item->offset);
    }
}

static void done(struct leader_lanes *lanes)
{
    struct record_times *times = RIA_CONTAINER(lanes, struct record_times, lanes);

    times->done(times);
}

ria_err record_times_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct record_time *items,
    uint32_t count,
    uint32_t timeout_ms,
    record_times_fn done_fn,
    void *arg
)
{
    struct record_times *times = ria_arena_alloc(arena, sizeof(*times));

    RIA_ASSERT(count > 0);
    if (times == NULL) {
        return ria_arena_err(arena);
    }
    *times = (struct record_times){
        .items = items,
        .count = count,
        .arg = arg,
        .lanes =
            {
                .count = count,
                .parallel_max = TIMES_PARALLEL_MAX,
                .deadline_us = ria_clock_mono_us(leaders->env->clock) + (int64_t)timeout_ms * 1000,
                .ask = ask,
                .take = take,
                .done = done,
            },
        .done = done_fn,
    };
    return leader_lanes_start(&times->lanes, leaders, arena);
}
