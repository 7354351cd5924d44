#include "services/gateway/offset_lookup.h"

#include "common/assert.h"

#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/offsets.h"

enum { LOOKUPS_PARALLEL_MAX = 16 };

struct lane {
    struct offset_lookups *owner;
    struct offset_lookup *item;
    struct leader_call call;
};

static bool start_next(struct lane *lane);

static void lane_done(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct lane *lane = call->arg;
    struct offset_lookups *owner = lane->owner;
    struct list_offsets_response found;

    if (err == RIA_OK && offsets_decode(reply, &found) == RIA_OK) {
        lane->item->known = true;
        lane->item->log_start = found.log_start_offset;
        lane->item->high_watermark = found.high_watermark;
        lane->item->offset = found.offset;
    }
    owner->under_way--;
    if (!start_next(lane) && owner->under_way == 0) {
        owner->done(owner);
    }
}

static bool start_next(struct lane *lane)
{
    struct offset_lookups *owner = lane->owner;

    if (owner->next == owner->count) {
        return false;
    }
    lane->item = &owner->items[owner->next++];
    owner->under_way++;
    lane->call = (struct leader_call){
        .partition = lane->item->partition,
        .api_key = API_LIST_OFFSETS,
        .deadline_us = owner->deadline_us,
        .done = lane_done,
        .arg = lane,
    };
    list_offsets_request_init(&lane->call.body.list_offsets);
    lane->call.body.list_offsets.timestamp = lane->item->timestamp;
    leader_call_start(owner->leaders, &lane->call);
    return true;
}

ria_err offset_lookups_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct offset_lookup *items,
    uint32_t count,
    uint32_t timeout_ms,
    offset_lookups_fn done,
    void *arg
)
{
    uint32_t lane_count = count < LOOKUPS_PARALLEL_MAX ? count : LOOKUPS_PARALLEL_MAX;
    struct offset_lookups *lookups = ria_arena_alloc(arena, sizeof(*lookups));
    struct lane *lanes = ria_arena_alloc_array(arena, lane_count, sizeof(*lanes));

    RIA_ASSERT(count > 0);
    if (lookups == NULL || lanes == NULL) {
        return ria_arena_err(arena);
    }
    *lookups = (struct offset_lookups){
        .items = items,
        .count = count,
        .arg = arg,
        .leaders = leaders,
        .deadline_us = ria_clock_mono_us(leaders->env->clock) + (int64_t)timeout_ms * 1000,
        .done = done,
    };
    for (uint32_t i = 0; i < lane_count; i++) {
        lanes[i].owner = lookups;
        (void)start_next(&lanes[i]);
    }
    return RIA_OK;
}
