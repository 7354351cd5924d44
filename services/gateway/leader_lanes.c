#include "services/gateway/leader_lanes.h"

#include "common/assert.h"

/* One call at a time for the items next, next + 1, ... */
struct lane {
    struct leader_call call;
    struct leader_lanes *owner;
    uint32_t item;
};

static bool start_next(struct lane *lane);

static void lane_done(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct lane *lane = call->arg;
    struct leader_lanes *owner = lane->owner;

    owner->take(owner, lane->item, err, reply);
    owner->under_way--;
    if (!start_next(lane) && owner->under_way == 0) {
        owner->done(owner);
    }
}

static bool start_next(struct lane *lane)
{
    struct leader_lanes *owner = lane->owner;

    if (owner->next == owner->count) {
        return false;
    }
    lane->item = owner->next++;
    owner->under_way++;
    lane->call = (struct leader_call){
        .deadline_us = owner->deadline_us,
        .done = lane_done,
        .arg = lane,
    };
    owner->ask(owner, lane->item, &lane->call);
    leader_call_start(owner->leaders, &lane->call);
    return true;
}

ria_err leader_lanes_start(
    struct leader_lanes *lanes, struct leader_calls *leaders, struct ria_arena *arena
)
{
    RIA_ASSERT(lanes->count > 0);
    RIA_ASSERT(lanes->parallel_max > 0);

    uint32_t count = lanes->count < lanes->parallel_max ? lanes->count : lanes->parallel_max;
    struct lane *all = ria_arena_alloc_array(arena, count, sizeof(*all));
    if (all == NULL) {
        return ria_arena_err(arena);
    }
    lanes->leaders = leaders;
    lanes->next = 0;
    lanes->under_way = 0;
    for (uint32_t i = 0; i < count; i++) {
        all[i].owner = lanes;
        (void)start_next(&all[i]);
    }
    return RIA_OK;
}
