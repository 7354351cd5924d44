/* /v1/nodes: the storage nodes, how much is on them, and the operator's word about one. */
#include <string.h>

#include "common/json.h"

#include "schemas/gen/alter_node_request.h"
#include "schemas/gen/alter_node_response.h"

#include "services/gateway/admin.h"

/* AlterNodeRequest.action */
enum { NODE_DRAIN = 1, NODE_KEEP = 2, NODE_REMOVE = 3 };

/* --- list --------------------------------------------------------------------------------------*/

/* Counted in our view, by node id. */
struct load {
    int32_t replicas;
    int32_t leaders;
    int32_t arriving; /* replicas it is to have, that are not in sync yet */
    int32_t leaving;  /* replicas it has, that are to go when the move ends */
};

struct listing {
    struct gateway *gateway;
    struct request *request;
    struct load loads[RIA_NODES_MAX + 1];
};

static bool has_id(const int32_t *ids, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static void count_partition(void *arg, const struct cluster_partition *p)
{
    struct listing *listing = arg;

    for (uint32_t i = 0; i < p->replica_count; i++) {
        int32_t id = p->replicas[i];
        if (id < 1 || id > RIA_NODES_MAX) {
            continue;
        }
        struct load *load = &listing->loads[id];
        bool wanted = !admin_is_moving(p) || cluster_nodes_has(&p->target, id);
        load->replicas++;
        load->leaders += p->leader == id ? 1 : 0;
        load->leaving += wanted ? 0 : 1;
        load->arriving += admin_is_moving(p) && wanted && !has_id(p->isr, p->isr_count, id) ? 1 : 0;
    }
}

static ria_err render_dirs(const struct describe_logs_response *logs, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, ",\"data_dirs\":["));
    for (uint32_t i = 0; i < logs->data_dirs_count; i++) {
        const struct describe_logs_response_data_dir *dir = &logs->data_dirs[i];
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",{\"path\":" : "{\"path\":"));
        RIA_TRY(ria_json_append_string(out, dir->path));
        RIA_TRY(
            ria_buf_printf(out, ",\"failed\":%s,\"free_bytes\":", dir->failed ? "true" : "false")
        );
        RIA_TRY(admin_render_known(dir->free_bytes, out));
        RIA_TRY(ria_buf_append_str(out, ",\"total_bytes\":"));
        RIA_TRY(admin_render_known(dir->total_bytes, out));
        RIA_TRY(ria_buf_append_str(out, "}"));
    }
    RIA_TRY(ria_buf_append_str(out, "],\"orphans\":["));
    for (uint32_t i = 0; i < logs->orphans_count; i++) {
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",{\"folder\":" : "{\"folder\":"));
        RIA_TRY(ria_json_append_string(out, logs->orphans[i].folder));
        RIA_TRY(ria_buf_append_str(out, ",\"bytes\":"));
        RIA_TRY(admin_render_known(logs->orphans[i].bytes, out));
        RIA_TRY(ria_buf_append_str(out, "}"));
    }
    return ria_buf_append_str(out, "]");
}

static ria_err render_node(
    const struct cluster_node *node,
    const struct load *load,
    const struct node_logs_answer *answer,
    struct ria_buf *out
)
{
    int64_t bytes = 0;

    RIA_TRY(ria_buf_printf(out, "{\"node_id\":%d,\"address\":", (int)node->id));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(node->address)));
    RIA_TRY(ria_buf_append_str(out, ",\"rack\":"));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(node->rack)));
    RIA_TRY(ria_buf_printf(
        out,
        ",\"state\":\"%s\",\"draining\":%s,\"replicas\":%d,\"leaders\":%d,\"arriving\":%d,"
        "\"leaving\":%d,\"bytes\":",
        admin_node_state(node->state),
        node->draining ? "true" : "false",
        (int)load->replicas,
        (int)load->leaders,
        (int)load->arriving,
        (int)load->leaving
    ));
    if (answer == NULL || !answer->known) {
        return ria_buf_append_str(out, "null,\"data_dirs\":[],\"orphans\":[]}");
    }
    for (uint32_t i = 0; i < answer->logs.replicas_count; i++) {
        bytes += answer->logs.replicas[i].bytes;
    }
    RIA_TRY(ria_buf_printf(out, "%lld", (long long)bytes));
    RIA_TRY(render_dirs(&answer->logs, out));
    return ria_buf_append_str(out, "}");
}

static ria_err
render_nodes(struct listing *listing, const struct node_logs *logs, struct ria_buf *out)
{
    struct gateway *gateway = listing->gateway;
    int32_t ids[RIA_NODES_MAX];
    uint32_t count = admin_nodes(gateway, true, ids);

    admin_each_partition(gateway, count_partition, listing);
    RIA_TRY(ria_buf_append_str(out, "{\"nodes\":["));
    for (uint32_t i = 0; i < count; i++) {
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",\n" : "\n"));
        RIA_TRY(render_node(
            cluster_node(gateway->cluster, ids[i]),
            &listing->loads[ids[i]],
            node_logs_of(logs, ids[i]),
            out
        ));
    }
    return ria_buf_append_str(out, "\n]}\n");
}

static void nodes_known(void *arg, const struct node_logs *logs)
{
    struct listing *listing = arg;
    struct ria_buf out;

    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = render_nodes(listing, logs, &out);
    gateway_respond_json(listing->request, 200, err, &out);
}

void handle_nodes_list(struct gateway *gateway, struct request *request)
{
    struct listing *listing = ria_arena_alloc(&request->arena, sizeof(*listing));
    const struct describe_logs_request body = {.with_orphans = true};
    int32_t ids[RIA_NODES_MAX];
    ria_err err = RIA_ERR_NOMEM;

    if (listing != NULL) {
        memset(listing, 0, sizeof(*listing));
        listing->gateway = gateway;
        listing->request = request;
        uint32_t count = admin_nodes(gateway, false, ids);
        err = node_logs_ask(&gateway->node_logs, ids, count, &body, nodes_known, listing);
    }
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

/* --- drain, keep, remove -----------------------------------------------------------------------*/

struct alteration {
    struct request *request;
    struct alter_node_request body;
};

static void altered(void *arg, ria_err err, const char *text, const void *response)
{
    const struct alter_node_response *done = response;
    struct alteration *alteration = arg;
    struct ria_buf out;

    if (err != RIA_OK) {
        request_fail_err(alteration->request, err, text);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    err = ria_buf_printf(
        &out,
        "{\"node_id\":%d,\"replicas\":%d}\n",
        (int)alteration->body.node_id,
        (int)done->replicas
    );
    gateway_respond_json(alteration->request, 200, err, &out);
}

static void alter(struct gateway *gateway, struct request *request, int8_t action)
{
    const struct cluster_node *node = admin_node(gateway, request);

    if (node == NULL) {
        return;
    }
    struct alteration *alteration = ria_arena_alloc(&request->arena, sizeof(*alteration));
    ria_err err = RIA_ERR_NOMEM;
    if (alteration != NULL) {
        alteration->request = request;
        alter_node_request_init(&alteration->body);
        alteration->body.node_id = node->id;
        alteration->body.action = action;
        alteration->body.drain_epoch = node->drain_epoch;
        err = coordinator_call(
            &gateway->coordinator,
            API_ALTER_NODE,
            &alteration->body,
            ADMIN_TIMEOUT_MS,
            altered,
            alteration
        );
    }
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

void handle_node_drain(struct gateway *gateway, struct request *request)
{
    alter(gateway, request, NODE_DRAIN);
}

void handle_node_keep(struct gateway *gateway, struct request *request)
{
    alter(gateway, request, NODE_KEEP);
}

void handle_node_remove(struct gateway *gateway, struct request *request)
{
    alter(gateway, request, NODE_REMOVE);
}
