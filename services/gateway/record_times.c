#include "services/gateway/record_times.h"

#include "common/assert.h"

#include "schemas/batch.h"

enum { TIMES_PARALLEL_MAX = 4 };

struct lane {
    struct record_times *owner;
    struct record_time *item;
    struct leader_call call;
};

static bool start_next(struct lane *lane);

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

static void lane_done(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct lane *lane = call->arg;
    struct record_times *owner = lane->owner;

    if (err == RIA_OK) {
        lane->item->time_ms = time_of(reply->payload, lane->item->offset);
    }
    owner->under_way--;
    if (!start_next(lane) && owner->under_way == 0) {
        owner->done(owner);
    }
}

static bool start_next(struct lane *lane)
{
    struct record_times *owner = lane->owner;

    if (owner->next == owner->count) {
        return false;
    }
    lane->item = &owner->items[owner->next++];
    lane->item->time_ms = -1;
    owner->under_way++;
    lane->call = (struct leader_call){
        .partition = lane->item->partition,
        .api_key = API_FETCH,
        .deadline_us = owner->deadline_us,
        .done = lane_done,
        .arg = lane,
    };
    fetch_request_init(&lane->call.body.fetch);
    lane->call.body.fetch.offset = lane->item->offset;
    lane->call.body.fetch.max_bytes = 1;
    leader_call_start(owner->leaders, &lane->call);
    return true;
}

ria_err record_times_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct record_time *items,
    uint32_t count,
    uint32_t timeout_ms,
    record_times_fn done,
    void *arg
)
{
    uint32_t lane_count = count < TIMES_PARALLEL_MAX ? count : TIMES_PARALLEL_MAX;
    struct record_times *times = ria_arena_alloc(arena, sizeof(*times));
    struct lane *lanes = ria_arena_alloc_array(arena, lane_count, sizeof(*lanes));

    RIA_ASSERT(count > 0);
    if (times == NULL || lanes == NULL) {
        return ria_arena_err(arena);
    }
    *times = (struct record_times){
        .items = items,
        .count = count,
        .arg = arg,
        .leaders = leaders,
        .deadline_us = ria_clock_mono_us(leaders->env->clock) + (int64_t)timeout_ms * 1000,
        .done = done,
    };
    for (uint32_t i = 0; i < lane_count; i++) {
        lanes[i].owner = times;
        (void)start_next(&lanes[i]);
    }
    return RIA_OK;
}
