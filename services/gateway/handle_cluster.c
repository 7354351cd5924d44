/* The cluster, this process, and what operators and orchestrators ask. */
#include <string.h>

#include "common/json.h"

#include "schemas/gen/allocate_producer_ids_request.h"
#include "schemas/gen/allocate_producer_ids_response.h"
#include "schemas/gen/describe_cluster_request.h"
#include "schemas/gen/describe_cluster_response.h"

#include "services/gateway/admin.h"
#include "services/gateway/gateway.h"
#include "services/gateway/openapi.h"

enum { CLUSTER_TIMEOUT_MS = 1500 };

struct question {
    struct gateway *gateway;
    struct request *request;
    union {
        struct describe_cluster_request cluster;
        struct allocate_producer_ids_request ids;
    } body;
};

/* Ask the coordinator; answers the request if that cannot be done. */
static struct question *ask(struct gateway *gateway, struct request *request)
{
    struct question *question = ria_arena_alloc(&request->arena, sizeof(*question));

    if (question == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return NULL;
    }
    question->gateway = gateway;
    question->request = request;
    return question;
}

static void ask_cluster(struct gateway *gateway, struct request *request, coordinator_fn fn)
{
    struct question *question = ask(gateway, request);

    if (question == NULL) {
        return;
    }
    describe_cluster_request_init(&question->body.cluster);
    ria_err err = coordinator_call(
        &gateway->coordinator,
        API_DESCRIBE_CLUSTER,
        &question->body.cluster,
        CLUSTER_TIMEOUT_MS,
        fn,
        question
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

/* --- /v1/cluster -------------------------------------------------------------------------------*/

/* What the metadata says of a storage node; `alive` is what the coordinator hears of it. */
static ria_err render_state(const struct cluster_node *node, struct ria_buf *out)
{
    return node == NULL ? ria_buf_append_str(out, ",\"state\":null,\"draining\":false")
                        : ria_buf_printf(
                              out,
                              ",\"state\":\"%s\",\"draining\":%s",
                              admin_node_state(node->state),
                              node->draining ? "true" : "false"
                          );
}

static ria_err render_process(
    struct gateway *gateway,
    const struct describe_cluster_response_cluster_process *process,
    struct ria_buf *out
)
{
    char id[RIA_UUID_TEXT_SIZE];

    ria_uuid_format(process->process_uuid, id);
    RIA_TRY(ria_buf_printf(
        out, "{\"role\":\"%s\",\"node_id\":", process_role_name((process_role)process->role)
    ));
    RIA_TRY(
        process->node_id < 0 ? ria_buf_append_str(out, "null")
                             : ria_buf_printf(out, "%d", (int)process->node_id)
    );
    RIA_TRY(ria_buf_printf(
        out,
        ",\"alive\":%s,\"silent_ms\":%lld,\"id\":\"%s\",\"address\":",
        process->alive ? "true" : "false",
        (long long)process->silent_ms,
        id
    ));
    RIA_TRY(ria_json_append_string(out, process->address));
    RIA_TRY(ria_buf_append_str(out, ",\"rack\":"));
    RIA_TRY(ria_json_append_string(out, process->rack));
    if (process->role == PROCESS_STORAGE) {
        RIA_TRY(render_state(cluster_node(gateway->cluster, process->node_id), out));
    }
    return ria_buf_append_str(out, "}");
}

static ria_err render_cluster(
    struct gateway *gateway, const struct describe_cluster_response *seen, struct ria_buf *out
)
{
    char id[RIA_UUID_TEXT_SIZE];

    ria_uuid_format(cluster_id(gateway->cluster), id);
    RIA_TRY(ria_buf_printf(
        out,
        "{\"cluster_id\":\"%s\",\"version\":%lld,\"coordinator\":{\"address\":",
        id,
        (long long)cluster_version(gateway->cluster)
    ));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(cluster_coordinator(gateway->cluster))));
    RIA_TRY(
        ria_buf_printf(out, ",\"reachable\":%s},\"processes\":[", seen == NULL ? "false" : "true")
    );
    for (uint32_t i = 0; seen != NULL && i < seen->processes_count; i++) {
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",\n" : "\n"));
        RIA_TRY(render_process(gateway, &seen->processes[i], out));
    }
    return ria_buf_append_str(out, "\n]}\n");
}

/* While no coordinator answers, what this gateway knows is still worth showing. */
static void cluster_described(void *arg, ria_err err, const char *text, const void *response)
{
    struct question *question = arg;
    struct ria_buf out;

    (void)text;
    ria_buf_init(&out, DOCUMENT_MAX);
    err = render_cluster(question->gateway, err == RIA_OK ? response : NULL, &out);
    gateway_respond_json(question->request, 200, err, &out);
}

void handle_cluster(struct gateway *gateway, struct request *request)
{
    ask_cluster(gateway, request, cluster_described);
}

/* --- /v1/producer-ids --------------------------------------------------------------------------*/

static void ids_allocated(void *arg, ria_err err, const char *text, const void *response)
{
    const struct allocate_producer_ids_response *ids = response;
    struct question *question = arg;
    struct ria_buf out;

    if (err != RIA_OK) {
        request_fail_err(question->request, err, text);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    err = ria_buf_printf(
        &out, "{\"producer_id\":%lld,\"producer_epoch\":0}\n", (long long)ids->first_producer_id
    );
    gateway_respond_json(question->request, 200, err, &out);
}

void handle_producer_ids(struct gateway *gateway, struct request *request)
{
    struct question *question = ask(gateway, request);

    if (question == NULL) {
        return;
    }
    allocate_producer_ids_request_init(&question->body.ids);
    question->body.ids.count = 1;
    ria_err err = coordinator_call(
        &gateway->coordinator,
        API_ALLOCATE_PRODUCER_IDS,
        &question->body.ids,
        ADMIN_TIMEOUT_MS,
        ids_allocated,
        question
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

/* --- health ------------------------------------------------------------------------------------*/

void handle_health(struct gateway *gateway, struct request *request)
{
    (void)gateway;
    request_respond_static(request, 200, TYPE_JSON, "{\"status\":\"ok\"}\n");
}

static void not_ready(struct request *request, const char *text)
{
    struct failure failure;

    failure_set(&failure, 503, "not_ready", NULL, "%s", text);
    failure.retry_after_s = 1;
    request_fail(request, &failure);
}

static uint32_t live_storage(const struct describe_cluster_response *seen)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < seen->processes_count; i++) {
        count += seen->processes[i].role == PROCESS_STORAGE && seen->processes[i].alive;
    }
    return count;
}

/* The data plane goes on while no coordinator answers, so that alone does not make us unready. */
static void readiness_known(void *arg, ria_err err, const char *text, const void *response)
{
    struct question *question = arg;
    struct ria_buf out;

    (void)text;
    if (!cluster_is_ready(question->gateway->cluster)) {
        not_ready(question->request, "the coordinator has not told this gateway the metadata yet");
        return;
    }
    if (err != RIA_OK) {
        request_respond_static(
            question->request,
            200,
            TYPE_JSON,
            "{\"status\":\"ready\",\"coordinator\":\"unreachable\"}\n"
        );
        return;
    }
    uint32_t count = live_storage(response);
    if (count == 0) {
        not_ready(question->request, "no storage node is alive");
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    err = ria_buf_printf(&out, "{\"status\":\"ready\",\"storage_nodes\":%u}\n", count);
    gateway_respond_json(question->request, 200, err, &out);
}

void handle_ready(struct gateway *gateway, struct request *request)
{
    if (!cluster_is_ready(gateway->cluster)) {
        not_ready(request, "the coordinator has not told this gateway the metadata yet");
        return;
    }
    ask_cluster(gateway, request, readiness_known);
}

/* --- documents ---------------------------------------------------------------------------------*/

void handle_metrics(struct gateway *gateway, struct request *request)
{
    struct ria_buf out;

    if (gateway->metrics == NULL) {
        request_fail_err(request, RIA_ERR_UNSUPPORTED, "this process keeps no metrics");
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = ria_metrics_render(gateway->metrics, &out);
    if (err != RIA_OK) {
        ria_buf_fini(&out);
        request_fail_err(request, err, "");
        return;
    }
    request_respond_buf(request, 200, RIA_METRICS_CONTENT_TYPE, &out);
}

void handle_openapi(struct gateway *gateway, struct request *request)
{
    struct ria_slice text = openapi_text();

    (void)gateway;
    request_respond(
        request,
        &(struct response){
            .status = 200,
            .content_type = "application/yaml",
            .data = text.data,
            .size = text.size,
        }
    );
}
