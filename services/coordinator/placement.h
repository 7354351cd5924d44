/* placement: which nodes hold a new topic's partitions, and which of them leads.
 *
 * For each partition, replica by replica, the node that comes first by: fewest replicas of this
 * partition in its rack, fewest replicas of this topic, fewest replicas at all, smallest id. Of the
 * chosen ones that node leads that leads fewest partitions of this topic, then fewest at all, then
 * was chosen first. So a topic is spread evenly over all nodes even while one of them is new and
 * empty, and many small topics are spread evenly together.
 *
 * Deterministic: the same nodes in the same order give the same result. Pure, no thread.
 */
#pragma once

#include "common/base.h"
#include "common/limits.h"

struct placement_node {
    int32_t id;
    char rack[RIA_TOPIC_NAME_MAX + 1]; /* "" = unknown: counts as a rack of its own */
    int64_t replicas;                  /* of all topics */
    int64_t leaders;
    int32_t topic_replicas; /* of the topic being placed */
    int32_t topic_leaders;
    uint32_t rack_index; /* set by placement_init */
    bool chosen;         /* for the partition being placed */
};

struct placement {
    struct placement_node *nodes; /* by id, ascending */
    uint32_t count;
    uint32_t *rack_used; /* replicas of the current partition, by rack_index */
};

/* Borrows nodes (ascending by id) and rack_used (count zeros) until the topic is placed. */
void placement_init(
    struct placement *placement, struct placement_node *nodes, uint32_t count, uint32_t *rack_used
);

/* Place one partition: replica_count node ids, the leader first. The counters of the nodes grow.
 * replica_count at most the number of nodes and RIA_REPLICAS_MAX. */
void placement_next(struct placement *placement, uint32_t replica_count, int32_t *out_ids);
