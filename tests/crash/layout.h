/* layout: the partitions of the journaled node, as the workload and the judge both number them. */
#pragma once

#include "common/uuid.h"

enum {
    LAYOUT_LED = 3,      /* 0..2: led by the node, the only replica */
    LAYOUT_FOLLOWED = 3, /* 3..5: led by another node, which the workload plays */
    LAYOUT_DELETED = 6,  /* led as 0..2, and of a topic that is deleted in the end */
    LAYOUT_PARTITIONS = 7,
    LAYOUT_PLAIN = 2, /* of those that are led: the one without an idempotent producer */
    LAYOUT_NODE = 1,
    LAYOUT_PEER = 2,
};

/* The node names its folder "<topic uuid>-<number>". */
static inline struct ria_uuid layout_topic_id(int32_t partition)
{
    return (struct ria_uuid){{0xc0, [15] = partition == LAYOUT_DELETED ? 2 : 1}};
}

static inline int32_t layout_number(int32_t partition)
{
    return partition == LAYOUT_DELETED ? 0 : partition;
}
