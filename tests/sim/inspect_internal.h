/* inspect_internal: what inspect.c and inspect_forced.c share. */
#pragma once

#include "tests/sim/inspect.h"
#include "tests/sim/world.h"

/* False: the node is down, or has no log of the partition that is open. */
bool inspect_describe(
    const struct sim_node *node, uint32_t partition, struct storage_replica_info *out_info
);

/* False: nobody leads. */
bool inspect_find_leader(
    const struct world *world, uint32_t partition, struct storage_replica_info *out_info
);

/* Is it in the in-sync set? */
bool inspect_has_member(const struct coordinator_partition_info *known, int32_t node_id);

/* By what clients are told; NULL: they have not heard of it. */
const struct cluster_partition *inspect_metadata(const struct world *world, uint32_t partition);
