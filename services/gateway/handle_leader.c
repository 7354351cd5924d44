/* /v1/topics/{topic}/partitions/{partition}/leader: who leads, who could and what that would cost;
 * and the operator's choice. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "schemas/gen/elect_leader_request.h"
#include "schemas/gen/elect_leader_response.h"

#include "services/gateway/admin.h"
#include "services/gateway/document.h"

/* --- candidates --------------------------------------------------------------------------------*/

struct candidacy {
    struct gateway *gateway;
    struct request *request;
    const struct cluster_partition *partition;
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

/* The highest that any replica knows of: what is below was acknowledged. -1 = nobody has told. A
 * replica that cannot be reached may know a higher one. */
static int64_t known_high_watermark(
    const struct cluster_partition *p, const struct node_logs *logs, uint32_t *out_silent
)
{
    int64_t highest = -1;

    *out_silent = 0;
    for (uint32_t i = 0; i < p->replica_count; i++) {
        const described_log *log = node_logs_find(logs, p->replicas[i], &p->topic->id, p->number);
        *out_silent += log == NULL ? 1 : 0;
        highest = log == NULL ? highest : ria_max_i64(highest, log->high_watermark);
    }
    return highest;
}

static ria_err render_candidate(
    const struct candidacy *candidacy,
    const struct node_logs *logs,
    int32_t node_id,
    int64_t high_watermark,
    struct ria_buf *out
)
{
    const struct cluster_partition *p = candidacy->partition;
    const struct cluster_node *node = cluster_node(candidacy->gateway->cluster, node_id);
    const described_log *log = node_logs_find(logs, node_id, &p->topic->id, p->number);
    bool may_lack = log != NULL && high_watermark >= 0;

    RIA_TRY(ria_buf_printf(
        out,
        "{\"node_id\":%d,\"state\":\"%s\",\"in_sync\":%s,\"eligible\":%s,\"unfit\":%s,"
        "\"log\":\"%s\",\"start_offset\":",
        (int)node_id,
        node == NULL ? "unknown" : admin_node_state(node->state),
        has_id(p->isr, p->isr_count, node_id) ? "true" : "false",
        cluster_nodes_has(&p->eligible, node_id) ? "true" : "false",
        cluster_nodes_has(&p->unfit, node_id) ? "true" : "false",
        admin_log_state(log)
    ));
    RIA_TRY(admin_render_known(log == NULL ? -1 : log->start_offset, out));
    RIA_TRY(ria_buf_append_str(out, ",\"end_offset\":"));
    RIA_TRY(admin_render_known(log == NULL ? -1 : log->end_offset, out));
    RIA_TRY(ria_buf_append_str(out, ",\"high_watermark\":"));
    RIA_TRY(admin_render_known(log == NULL ? -1 : log->high_watermark, out));
    RIA_TRY(ria_buf_append_str(out, ",\"may_lose\":"));
    RIA_TRY(
        admin_render_known(may_lack ? ria_max_i64(high_watermark - log->end_offset, 0) : -1, out)
    );
    return ria_buf_append_str(out, "}");
}

static ria_err render_candidates(
    const struct candidacy *candidacy, const struct node_logs *logs, struct ria_buf *out
)
{
    const struct cluster_partition *p = candidacy->partition;
    uint32_t silent = 0;
    int64_t high_watermark = known_high_watermark(p, logs, &silent);

    RIA_TRY(ria_buf_append_str(out, "{\"leader\":"));
    RIA_TRY(admin_render_known(p->leader, out));
    RIA_TRY(ria_buf_printf(
        out,
        ",\"leader_epoch\":%d,\"partition_epoch\":%d,\"high_watermark\":",
        (int)p->leader_epoch,
        (int)p->partition_epoch
    ));
    RIA_TRY(admin_render_known(high_watermark, out));
    RIA_TRY(ria_buf_printf(out, ",\"silent_replicas\":%u,\"candidates\":[", silent));
    for (uint32_t i = 0; i < p->replica_count; i++) {
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",\n" : "\n"));
        RIA_TRY(render_candidate(candidacy, logs, p->replicas[i], high_watermark, out));
    }
    return ria_buf_append_str(out, "\n]}\n");
}

static void candidates_known(void *arg, const struct node_logs *logs)
{
    struct candidacy *candidacy = arg;
    struct ria_buf out;

    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = render_candidates(candidacy, logs, &out);
    gateway_respond_json(candidacy->request, 200, err, &out);
}

static int compare_ids(const void *a, const void *b)
{
    int32_t left = *(const int32_t *)a;
    int32_t right = *(const int32_t *)b;

    return left == right ? 0 : left < right ? -1 : 1;
}

void handle_leader_candidates(struct gateway *gateway, struct request *request)
{
    struct cluster_topic *topic = gateway_topic(gateway, request);
    const struct cluster_partition *partition =
        topic == NULL ? NULL : gateway_partition(gateway, request, topic);
    int32_t ids[RIA_REPLICAS_MAX];
    ria_err err = RIA_ERR_NOMEM;

    if (partition == NULL) {
        return;
    }
    struct candidacy *candidacy = ria_arena_alloc(&request->arena, sizeof(*candidacy));
    if (candidacy != NULL) {
        const struct describe_logs_request body = {.topic_id = topic->id};
        *candidacy = (struct candidacy){gateway, request, partition};
        memcpy(ids, partition->replicas, partition->replica_count * sizeof(ids[0]));
        qsort(ids, partition->replica_count, sizeof(ids[0]), compare_ids);
        err = node_logs_ask(
            &gateway->node_logs, ids, partition->replica_count, &body, candidates_known, candidacy
        );
    }
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

/* --- the choice --------------------------------------------------------------------------------*/

struct election {
    struct request *request;
    struct elect_leader_request body;
};

static void elected(void *arg, ria_err err, const char *text, const void *response)
{
    const struct elect_leader_response *done = response;
    struct election *election = arg;
    struct ria_buf out;

    if (err != RIA_OK) {
        request_fail_err(election->request, err, text);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    err = ria_buf_printf(
        &out, "{\"leader\":%d,\"leader_epoch\":%d}\n", (int)done->leader, (int)done->leader_epoch
    );
    gateway_respond_json(election->request, 200, err, &out);
}

static bool
take_election(const json_t *document, struct elect_leader_request *body, struct failure *failure)
{
    static const char *const known[] = {"node", "force", "partition_epoch", NULL};
    const json_t *force = json_object_get(document, "force");
    int64_t node = -1;
    int64_t epoch = -1;

    if (!document_known(document, known, failure) ||
        !document_i64(document, "node", 1, RIA_NODES_MAX, &node, failure) ||
        !document_i64(document, "partition_epoch", 0, INT32_MAX, &epoch, failure)) {
        return false;
    }
    if (force != NULL && !json_is_boolean(force)) {
        failure_set(failure, 400, "invalid", "force", "force must be true or false");
        return false;
    }
    body->force = json_is_true(force);
    if (body->force && node < 0) {
        failure_set(
            failure,
            400,
            "invalid",
            "node",
            "node must be given with force: which replica's log is to count is yours to say"
        );
        return false;
    }
    body->node = (int32_t)node;
    body->partition_epoch = (int32_t)epoch;
    return true;
}

void handle_leader_elect(struct gateway *gateway, struct request *request)
{
    struct cluster_topic *topic = gateway_topic(gateway, request);
    const struct cluster_partition *partition =
        topic == NULL ? NULL : gateway_partition(gateway, request, topic);
    struct failure failure;

    if (partition == NULL) {
        return;
    }
    struct election *election = ria_arena_alloc(&request->arena, sizeof(*election));
    if (election == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    election->request = request;
    elect_leader_request_init(&election->body);
    election->body.topic_id = topic->id;
    election->body.partition = partition->number;
    json_t *document = document_load(request, &failure);
    bool fine = document != NULL && take_election(document, &election->body, &failure);
    json_decref(document);
    if (!fine) {
        request_fail(request, &failure);
        return;
    }
    if (election->body.force && election->body.partition_epoch < 0) {
        /* What was forced once must not be forced again by a late copy of the request. */
        election->body.partition_epoch = partition->partition_epoch;
    }
    ria_err err = coordinator_call(
        &gateway->coordinator,
        API_ELECT_LEADER,
        &election->body,
        ADMIN_TIMEOUT_MS,
        elected,
        election
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}
