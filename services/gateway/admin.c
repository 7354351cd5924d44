#include "services/gateway/admin.h"

uint32_t admin_nodes(struct gateway *gateway, bool with_removed, int32_t out_ids[RIA_NODES_MAX])
{
    uint32_t count = 0;

    /* Ids count from 1, and there are never more than the limit, removed ones included. */
    for (int32_t id = 1; id <= RIA_NODES_MAX; id++) {
        const struct cluster_node *node = cluster_node(gateway->cluster, id);
        if (node != NULL && (with_removed || node->state != CLUSTER_NODE_REMOVED)) {
            out_ids[count++] = id;
        }
    }
    return count;
}

const struct cluster_node *admin_node(struct gateway *gateway, struct request *request)
{
    struct failure failure;
    int64_t id = 0;
    const struct cluster_node *node = NULL;

    if (!request_parse_i64(request->params[0], &id) || id < 1 || id > RIA_NODES_MAX) {
        failure_set(
            &failure,
            400,
            "invalid",
            "node",
            "node is \"%.*s\", must be a number from 1 to %d",
            (int)ria_min_size(request->params[0].size, 40),
            (const char *)request->params[0].data,
            (int)RIA_NODES_MAX
        );
        request_fail(request, &failure);
        return NULL;
    }
    node = cluster_node(gateway->cluster, (int32_t)id);
    if (node == NULL) {
        failure_set(&failure, 404, "not_found", "node", "there is no storage node %d", (int)id);
        request_fail(request, &failure);
    }
    return node;
}

void admin_each_partition(struct gateway *gateway, admin_partition_fn fn, void *arg)
{
    RIA_LIST_FOREACH (link, cluster_topics(gateway->cluster)) {
        const struct cluster_topic *topic = RIA_CONTAINER(link, struct cluster_topic, link);
        for (int32_t i = 0; !topic->deleted && i < topic->partition_count; i++) {
            fn(arg, topic->partitions[i]);
        }
    }
}

bool admin_is_moving(const struct cluster_partition *partition)
{
    return partition->target.count > 0;
}

ria_err admin_render_ids(const int32_t *ids, uint32_t count, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, "["));
    for (uint32_t i = 0; i < count; i++) {
        RIA_TRY(ria_buf_printf(out, "%s%d", i > 0 ? "," : "", (int)ids[i]));
    }
    return ria_buf_append_str(out, "]");
}

ria_err admin_render_known(int64_t number, struct ria_buf *out)
{
    return number < 0 ? ria_buf_append_str(out, "null")
                      : ria_buf_printf(out, "%lld", (long long)number);
}

const char *admin_node_state(cluster_node_state state)
{
    switch (state) {
    case CLUSTER_NODE_ACTIVE:
        return "active";
    case CLUSTER_NODE_SILENT:
        return "silent";
    case CLUSTER_NODE_SHUT_DOWN:
        return "shut_down";
    case CLUSTER_NODE_REMOVED:
        break;
    }
    return "removed";
}

const char *admin_log_state(const described_log *log)
{
    static const char *const words[] = {"fit", "failed", "damaged", "opening", "not_opened"};

    if (log == NULL || log->state < 0 || (size_t)log->state >= RIA_COUNT(words)) {
        return "unknown";
    }
    return words[log->state];
}
