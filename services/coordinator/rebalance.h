/* rebalance: which replicas should move, and where to. Pure: a plan from rows; the coordinator
 * proposes it as ReassignPartitions (docs/design/008-failover.md).
 *
 * Two kinds of plan. Emptying nodes: every replica on a leaving node goes to the open node that
 * comes first by: fewest replicas of the partition in its rack, fewest replicas at all, smallest
 * id. Evening out, in this order, so that a later step never undoes an earlier one:
 *   1. racks: two replicas in one rack, and an open node in a rack with two fewer: one goes there;
 *   2. replicas: open nodes end with the same number, give or take one, as far as racks allow;
 *   3. leaders: the same for preferred leaders, by another order of the same replicas: no data.
 * Every step makes racks, then replicas, then leaders more even, so plans made one after the other
 * come to an end. As few replicas move as the difference to an even spread demands; chains of moves
 * only where the direct way is barred.
 *
 * Never two replicas of a partition on one node; never onto a node that is not open; the number of
 * replicas stays. Deterministic: equal input gives an equal plan.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/uuid.h"

struct rebalance_node {
    int32_t id;
    bool open;                         /* takes replicas: active, alive, not draining, not full */
    bool leaving;                      /* its replicas are to go */
    char rack[RIA_TOPIC_NAME_MAX + 1]; /* "" = unknown: counts as a rack of its own */

    /* the planner's; as they will be when the plan is carried out */
    uint32_t rack_index;
    int64_t replicas;
    int64_t leaders; /* preferred ones */
    int64_t quota;
};

struct rebalance_partition {
    struct ria_uuid topic_id;
    int32_t partition;
    int32_t partition_epoch;
    bool fed;    /* somebody leads it: new replicas can catch up */
    bool whole;  /* all its replicas are in sync */
    bool moving; /* replicas are its target; only emptying nodes changes it again */
    uint8_t count;
    uint16_t replicas[RIA_REPLICAS_MAX]; /* indexes of nodes, preferred leader first */

    /* the plan's */
    bool changed;
    uint16_t target[RIA_REPLICAS_MAX]; /* count of them */
};

struct rebalance {
    struct rebalance_node *nodes;
    uint32_t node_count; /* at most RIA_NODES_MAX */
    struct rebalance_partition *partitions;
    uint32_t partition_count;
    uint32_t stride; /* see rebalance_order() */

    /* results */
    uint32_t changed; /* partitions whose target is not what it was */
    uint32_t stuck; /* replicas on leaving nodes that have nowhere to go, or nobody to feed them */
    uint32_t skipped; /* evening out: partitions left alone because they are not whole */
};

/* Even out over the open nodes. Partitions that are moving or not whole stay as they are. */
void rebalance_even_out(struct rebalance *plan);

/* Empty the leaving nodes. */
void rebalance_empty(struct rebalance *plan);

/* Index of the partition that comes at `step` when only some of a plan can be taken: neighbours
 * (the partitions of one topic) are far from each other. Each index comes once for step in
 * [0, partition_count). */
uint32_t rebalance_order(const struct rebalance *plan, uint32_t step);
