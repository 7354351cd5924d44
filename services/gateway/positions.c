#include "services/gateway/positions.h"

#include "common/assert.h"

#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/offsets.h"

enum { POSITIONS_PARALLEL_MAX = 32 };

static void set_known(struct position *item, const struct list_offsets_response *response)
{
    item->known = true;
    item->log_start = response->log_start_offset;
    item->high_watermark = response->high_watermark;
    switch (item->kind) {
    case POSITION_EARLIEST:
        item->offset = response->log_start_offset;
        break;
    case POSITION_LATEST:
        item->offset = response->high_watermark;
        break;
    case POSITION_TIME: /* nothing may be as new as that */
        item->offset = response->offset >= 0 ? response->offset : response->high_watermark;
        break;
    case POSITION_OFFSET:
        break;
    }
}

static void ask(struct leader_lanes *lanes, uint32_t i, struct leader_call *call)
{
    struct position *item = &RIA_CONTAINER(lanes, struct positions, lanes)->items[i];

    item->known = false;
    item->offset = item->kind == POSITION_OFFSET ? item->value : -1;
    call->partition = item->partition;
    call->api_key = API_LIST_OFFSETS;
    list_offsets_request_init(&call->body.list_offsets);
    call->body.list_offsets.expected_offset =
        item->kind == POSITION_OFFSET ? item->value : item->expected_offset;
    if (item->kind == POSITION_TIME) {
        call->body.list_offsets.timestamp = item->value;
    } else if (item->kind == POSITION_OFFSET) {
        int64_t now_us = ria_clock_mono_us(lanes->leaders->env->clock);
        call->deadline_us =
            ria_min_i64(call->deadline_us, now_us + POSITION_LOOK_MS * INT64_C(1000));
    }
}

static void take(struct leader_lanes *lanes, uint32_t i, ria_err err, struct leader_reply *reply)
{
    struct position *item = &RIA_CONTAINER(lanes, struct positions, lanes)->items[i];
    struct list_offsets_response response;

    if (err == RIA_OK) {
        err = offsets_decode(reply, &response);
    }
    if (err == RIA_OK) {
        set_known(item, &response);
    }
    item->err = err;
}

static void done(struct leader_lanes *lanes)
{
    struct positions *positions = RIA_CONTAINER(lanes, struct positions, lanes);

    positions->done(positions);
}

ria_err positions_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct position *items,
    uint32_t count,
    uint32_t timeout_ms,
    positions_fn done_fn,
    void *arg
)
{
    struct positions *positions = ria_arena_alloc(arena, sizeof(*positions));

    RIA_ASSERT(count > 0);
    if (positions == NULL) {
        return ria_arena_err(arena);
    }
    *positions = (struct positions){
        .items = items,
        .count = count,
        .arg = arg,
        .lanes =
            {
                .count = count,
                .parallel_max = POSITIONS_PARALLEL_MAX,
                .deadline_us = ria_clock_mono_us(leaders->env->clock) + (int64_t)timeout_ms * 1000,
                .ask = ask,
                .take = take,
                .done = done,
            },
        .done = done_fn,
    };
    return leader_lanes_start(&positions->lanes, leaders, arena);
}
