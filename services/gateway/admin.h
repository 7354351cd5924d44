/* admin: what the handlers of nodes, moves, rebalancing and leaders share.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"

#include "services/gateway/gateway.h"
#include "services/gateway/node_logs.h"

/* Ids of the storage nodes of our view, ascending; removed ones too if they are wanted. */
uint32_t admin_nodes(struct gateway *gateway, bool with_removed, int32_t out_ids[RIA_NODES_MAX]);

/* The node named by the request's first parameter; NULL: the request was answered. */
const struct cluster_node *admin_node(struct gateway *gateway, struct request *request);

/* Call fn(arg, partition) for every partition of the topics that are there. */
typedef void (*admin_partition_fn)(void *arg, const struct cluster_partition *partition);
void admin_each_partition(struct gateway *gateway, admin_partition_fn fn, void *arg);

bool admin_is_moving(const struct cluster_partition *partition);

/* "[1,2,3]". */
ria_err admin_render_ids(const int32_t *ids, uint32_t count, struct ria_buf *out) RIA_MUST_USE;

/* A number, or null if it is negative. */
ria_err admin_render_known(int64_t number, struct ria_buf *out) RIA_MUST_USE;

/* Word for cluster_node.state and DescribedLog.state. */
const char *admin_node_state(cluster_node_state state);
const char *admin_log_state(const described_log *log);
