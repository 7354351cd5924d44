/* POST /v1/transforms: a statement becomes a transform.
 *
 *   a live worker (DescribeCluster) compiles it (CheckTransform) -> the source exists -> its end
 *   offsets, if it starts there -> the coordinator creates it (CreateTransform) -> our view has it
 */
#include <string.h>

#include <jansson.h>

#include "common/json.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/check_transform_request.h"
#include "schemas/gen/check_transform_response.h"
#include "schemas/gen/create_transform_request.h"
#include "schemas/gen/create_transform_response.h"
#include "schemas/gen/describe_cluster_request.h"
#include "schemas/gen/describe_cluster_response.h"

#include "services/gateway/document.h"
#include "services/gateway/gateway.h"
#include "services/gateway/offsets.h"

enum { CHECK_TIMEOUT_MS = 5000, WORKERS_MAX = 16, END_TIMEOUT_MS = 5000 };

struct creation {
    struct gateway *gateway;
    struct request *request;
    struct describe_cluster_request cluster;
    struct check_transform_request check;
    struct create_transform_request body;
    const char *workers[WORKERS_MAX]; /* addresses, in the order to try them */
    uint32_t worker_count;
    uint32_t worker_next;
    const struct ria_slice *columns;
    uint32_t column_count;
};

static void check_next(struct creation *creation);

/* --- the end -----------------------------------------------------------------------------------*/

static ria_err render(const struct creation *creation, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, "{\"name\":"));
    RIA_TRY(ria_json_append_string(out, creation->body.name));
    RIA_TRY(ria_buf_append_str(out, ",\"sql\":"));
    RIA_TRY(ria_json_append_string(out, creation->body.sql));
    RIA_TRY(ria_buf_append_str(out, ",\"source\":"));
    RIA_TRY(ria_json_append_string(out, creation->body.source_topic));
    RIA_TRY(ria_buf_append_str(out, ",\"output\":"));
    RIA_TRY(ria_json_append_string(out, creation->body.name));
    RIA_TRY(ria_buf_printf(
        out, ",\"errors_topic\":\"" RIA_SLICE_FMT ".errors\"", RIA_SLICE_ARG(creation->body.name)
    ));
    RIA_TRY(ria_buf_append_str(out, ",\"columns\":["));
    for (uint32_t i = 0; i < creation->column_count; i++) {
        RIA_TRY(ria_buf_append_str(out, i > 0 ? "," : ""));
        RIA_TRY(ria_json_append_string(out, creation->columns[i]));
    }
    return ria_buf_append_str(out, "]}\n");
}

static void visible(void *arg, bool reached)
{
    const struct creation *creation = arg;
    struct ria_buf out;

    (void)reached; /* it is created, whether this gateway has heard or not */
    ria_buf_init(&out, DOCUMENT_MAX);
    gateway_respond_json(creation->request, 201, render(creation, &out), &out);
}

static void created(void *arg, ria_err err, const char *text, const void *response)
{
    const struct create_transform_response *done = response;
    struct creation *creation = arg;
    struct failure failure;

    if (err == RIA_OK) {
        cluster_wait_version(
            creation->gateway->cluster, done->version, VIEW_TIMEOUT_MS, visible, creation
        );
        return;
    }
    failure_of_err(&failure, err, text);
    if (failure.status < 500) {
        failure.field = "sql";
    } else {
        failure.outcome = ria_err_is_definite(err) ? OUTCOME_NOT_STORED : OUTCOME_UNKNOWN;
    }
    request_fail(creation->request, &failure);
}

static struct ria_uuid new_id(const struct gateway *gateway)
{
    uint8_t random[RIA_UUID_SIZE];

    ria_rand_bytes(gateway->env->rand, random, sizeof(random));
    return ria_uuid_v4(random);
}

static void create(struct creation *creation)
{
    struct gateway *gateway = creation->gateway;

    creation->body.transform_id = new_id(gateway);
    creation->body.output_topic_id = new_id(gateway);
    creation->body.errors_topic_id = new_id(gateway);
    ria_err err = coordinator_call(
        &gateway->coordinator,
        API_CREATE_TRANSFORM,
        &creation->body,
        ADMIN_TIMEOUT_MS,
        created,
        creation
    );
    if (err != RIA_OK) {
        request_fail_err(creation->request, err, "");
    }
}

/* --- where it starts ---------------------------------------------------------------------------*/

static void ends_known(struct offsets_call *call)
{
    struct creation *creation = call->arg;
    struct request *request = creation->request;
    int64_t *ends = ria_arena_alloc_array(&request->arena, (size_t)call->count, sizeof(*ends));

    if (ends == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    for (int32_t i = 0; i < call->count; i++) {
        if (!call->items[i].known) {
            request_fail_err(
                request,
                RIA_ERR_NO_LEADER,
                "the end of the source topic cannot be read: a partition "
                "has no leader"
            );
            return;
        }
        ends[i] = call->items[i].high_watermark;
    }
    creation->body.start_offsets = ends;
    creation->body.start_offsets_count = (uint32_t)call->count;
    create(creation);
}

static void find_start(struct creation *creation)
{
    struct gateway *gateway = creation->gateway;
    struct request *request = creation->request;
    const char *name = (const char *)creation->body.source_topic.data;
    struct cluster_topic *source = cluster_topic_by_name(gateway->cluster, name);
    struct failure failure;

    if (source == NULL) {
        failure_set(&failure, 404, "unknown_topic", "sql", "source topic %s does not exist", name);
        request_fail(request, &failure);
        return;
    }
    if (creation->body.from_beginning) {
        create(creation);
        return;
    }
    ria_err err = offsets_start(
        &gateway->leaders, &request->arena, source, END_TIMEOUT_MS, ends_known, creation
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

/* --- the statement -----------------------------------------------------------------------------*/

/* Keeps what the worker said. */
static ria_err
keep_checked(struct creation *creation, const struct check_transform_response *checked)
{
    struct ria_arena *arena = &creation->request->arena;
    const char *name = ria_arena_strdup(arena, checked->name);
    const char *source = ria_arena_strdup(arena, checked->source_topic);
    struct ria_slice *columns =
        ria_arena_alloc_array(arena, checked->columns_count, sizeof(*columns));

    if (name == NULL || source == NULL || columns == NULL) {
        return RIA_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < checked->columns_count; i++) {
        columns[i] = ria_slice_cstr(ria_arena_strdup(arena, checked->columns[i].name));
    }
    creation->body.name = ria_slice_cstr(name);
    creation->body.source_topic = ria_slice_cstr(source);
    creation->columns = columns;
    creation->column_count = checked->columns_count;
    return RIA_OK;
}

static ria_err
open_checked(struct creation *creation, const struct ria_msg *reply, char *text, size_t text_size)
{
    struct check_transform_response checked;
    struct ria_arena arena;

    ria_arena_init(&arena, REQUEST_ARENA_MAX);
    ria_err err =
        envelope_read_reply(reply, API_CHECK_TRANSFORM, &arena, &checked, NULL, text, text_size);
    if (err == RIA_OK) {
        err = keep_checked(creation, &checked);
    }
    ria_arena_fini(&arena);
    return err;
}

static void checked(void *arg, ria_err err, struct ria_msg *reply)
{
    struct creation *creation = arg;
    char text[RIA_ERROR_TEXT_MAX + 1] = "";
    struct failure failure;

    if (err == RIA_OK) {
        err = open_checked(creation, reply, text, sizeof(text));
        ria_msg_free(reply);
    }
    if (err == RIA_OK) {
        find_start(creation);
        return;
    }
    if (ria_err_is_retriable(err)) {
        check_next(creation); /* another worker may do better */
        return;
    }
    failure_of_err(&failure, err, text);
    if (failure.status < 500) {
        failure.field = "sql";
    }
    request_fail(creation->request, &failure);
}

static void check_next(struct creation *creation)
{
    struct gateway *gateway = creation->gateway;
    struct failure failure;

    if (creation->worker_next == creation->worker_count) {
        failure_set(
            &failure,
            503,
            "no_transform_worker",
            NULL,
            "no riacho-transform process that could check the statement is alive"
        );
        failure.retry_after_s = 1;
        failure.outcome = OUTCOME_NOT_STORED;
        request_fail(creation->request, &failure);
        return;
    }
    const char *address = creation->workers[creation->worker_next++];
    struct ria_msg *msg =
        envelope_request(API_CHECK_TRANSFORM, 0, -1, CHECK_TIMEOUT_MS, &creation->check, 0, NULL);
    if (outcall_start(
            &gateway->coordinator.outcalls, address, msg, CHECK_TIMEOUT_MS, checked, creation
        ) == NULL) {
        request_fail_err(creation->request, RIA_ERR_NOMEM, "");
    }
}

/* --- the workers -------------------------------------------------------------------------------*/

static void workers_known(void *arg, ria_err err, const char *text, const void *response)
{
    const struct describe_cluster_response *seen = response;
    struct creation *creation = arg;

    if (err != RIA_OK) {
        request_fail_err(creation->request, err, text);
        return;
    }
    for (uint32_t i = 0; i < seen->processes_count && creation->worker_count < WORKERS_MAX; i++) {
        if (seen->processes[i].role == PROCESS_TRANSFORM && seen->processes[i].alive &&
            seen->processes[i].address.size > 0) {
            const char *address =
                ria_arena_strdup(&creation->request->arena, seen->processes[i].address);
            if (address != NULL) {
                creation->workers[creation->worker_count++] = address;
            }
        }
    }
    check_next(creation);
}

static bool take(const json_t *document, struct creation *creation, struct failure *failure)
{
    static const char *const known[] = {"sql", "from", NULL};
    struct ria_slice from = RIA_SLICE_LITERAL("beginning");
    struct ria_arena *arena = &creation->request->arena;

    if (!document_known(document, known, failure) ||
        !document_string(document, "sql", arena, &creation->body.sql, failure)) {
        return false;
    }
    if (json_object_get(document, "from") != NULL &&
        !document_string(document, "from", arena, &from, failure)) {
        return false;
    }
    creation->body.from_beginning = ria_slice_equal(from, RIA_SLICE_LITERAL("beginning"));
    if (!creation->body.from_beginning && !ria_slice_equal(from, RIA_SLICE_LITERAL("end"))) {
        failure_set(failure, 400, "invalid", "from", "from must be \"beginning\" or \"end\"");
        return false;
    }
    if (creation->body.sql.size == 0 || creation->body.sql.size > RIA_SQL_MAX) {
        failure_set(
            failure, 400, "invalid", "sql", "sql must have 1 to %d bytes", (int)RIA_SQL_MAX
        );
        return false;
    }
    creation->check.sql = creation->body.sql;
    return true;
}

void handle_transform_create(struct gateway *gateway, struct request *request)
{
    struct creation *creation = ria_arena_alloc(&request->arena, sizeof(*creation));
    struct failure failure;

    if (creation == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    creation->gateway = gateway;
    creation->request = request;
    describe_cluster_request_init(&creation->cluster);
    check_transform_request_init(&creation->check);
    create_transform_request_init(&creation->body);
    json_t *document = document_load(request, &failure);
    bool fine = document != NULL && take(document, creation, &failure);
    json_decref(document);
    if (!fine) {
        request_fail(request, &failure);
        return;
    }
    ria_err err = coordinator_call(
        &gateway->coordinator,
        API_DESCRIBE_CLUSTER,
        &creation->cluster,
        ADMIN_TIMEOUT_MS,
        workers_known,
        creation
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}
