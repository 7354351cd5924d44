#include "services/gateway/positions.h"

#include "common/assert.h"

#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/offsets.h"

enum { POSITIONS_PARALLEL_MAX = 32 };

/* One call at a time for the items next, next + 1, ... */
struct lane {
    struct leader_call call;
    struct positions *owner;
    struct position *item;
};

static bool start_next(struct lane *lane);

static void take(struct position *item, const struct list_offsets_response *response)
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

static void lane_done(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct lane *lane = call->arg;
    struct positions *owner = lane->owner;
    struct list_offsets_response response;

    if (err == RIA_OK) {
        err = offsets_decode(reply, &response);
    }
    if (err == RIA_OK) {
        take(lane->item, &response);
    }
    lane->item->err = err;
    owner->under_way--;
    if (!start_next(lane) && owner->under_way == 0) {
        owner->done(owner);
    }
}

static bool start_next(struct lane *lane)
{
    struct positions *owner = lane->owner;

    if (owner->next == owner->count) {
        return false;
    }
    struct position *item = &owner->items[owner->next++];
    int64_t deadline_us = owner->deadline_us;
    if (item->kind == POSITION_OFFSET) {
        int64_t now_us = ria_clock_mono_us(owner->leaders->env->clock);
        deadline_us = ria_min_i64(deadline_us, now_us + POSITION_LOOK_MS * INT64_C(1000));
    }
    item->known = false;
    item->offset = item->kind == POSITION_OFFSET ? item->value : -1;
    owner->under_way++;
    lane->item = item;
    lane->call = (struct leader_call){
        .partition = item->partition,
        .api_key = API_LIST_OFFSETS,
        .deadline_us = deadline_us,
        .done = lane_done,
        .arg = lane,
    };
    list_offsets_request_init(&lane->call.body.list_offsets);
    if (item->kind == POSITION_TIME) {
        lane->call.body.list_offsets.timestamp = item->value;
    }
    leader_call_start(owner->leaders, &lane->call);
    return true;
}

ria_err positions_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct position *items,
    uint32_t count,
    uint32_t timeout_ms,
    positions_fn done,
    void *arg
)
{
    struct positions *positions = ria_arena_alloc(arena, sizeof(*positions));
    size_t lane_count = count < POSITIONS_PARALLEL_MAX ? count : POSITIONS_PARALLEL_MAX;
    struct lane *lanes = ria_arena_alloc_array(arena, lane_count, sizeof(*lanes));

    RIA_ASSERT(count > 0);
    if (positions == NULL || lanes == NULL) {
        return ria_arena_err(arena);
    }
    *positions = (struct positions){
        .leaders = leaders,
        .items = items,
        .count = count,
        .deadline_us = ria_clock_mono_us(leaders->env->clock) + (int64_t)timeout_ms * 1000,
        .done = done,
        .arg = arg,
    };
    for (size_t i = 0; i < lane_count; i++) {
        lanes[i].owner = positions;
        (void)start_next(&lanes[i]);
    }
    return RIA_OK;
}
