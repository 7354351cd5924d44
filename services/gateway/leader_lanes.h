/* leader_lanes: one read-only request for each of many items, asked of the leaders of their
 * partitions, few under way at a time.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"

#include "services/gateway/leader_call.h"

/* In an arena that lives until done has run. */
struct leader_lanes {
    /* the caller's */
    uint32_t count;        /* of items, > 0 */
    uint32_t parallel_max; /* under way at a time */
    int64_t deadline_us;

    /* Fill in the partition, the api and the body of the item's request, and the deadline if it is
     * an earlier one. */
    void (*ask)(struct leader_lanes *lanes, uint32_t item, struct leader_call *call);

    /* What came of it. */
    void (*take
    )(struct leader_lanes *lanes, uint32_t item, ria_err err, struct leader_reply *reply);

    /* Once, when all have been taken. */
    void (*done)(struct leader_lanes *lanes);

    /* private */
    struct leader_calls *leaders;
    uint32_t next;
    uint32_t under_way;
};

/* take and done never run from inside. Errors: those of the arena, and neither of them runs. */
ria_err leader_lanes_start(
    struct leader_lanes *lanes, struct leader_calls *leaders, struct ria_arena *arena
) RIA_MUST_USE;
