/* /v1/transforms: list, create, describe, delete. */
#include <string.h>

#include "common/json.h"

#include "schemas/gen/delete_transform_request.h"
#include "schemas/gen/delete_transform_response.h"
#include "schemas/gen/list_transforms_request.h"
#include "schemas/gen/list_transforms_response.h"

#include "services/gateway/gateway.h"
#include "services/gateway/offsets.h"

enum { LAG_TIMEOUT_MS = 2000, SOURCES_MAX = 64 /* whose lag is shown */ };

struct inquiry {
    struct gateway *gateway;
    struct request *request;
    const struct offsets_call *offsets[SOURCES_MAX]; /* of sources, as far as known */
    uint32_t offsets_count;
    uint32_t asked; /* sources whose offsets are still to come */
    union {
        struct list_transforms_request list;
        struct delete_transform_request del;
    } body;
};

static struct inquiry *inquiry_new(struct gateway *gateway, struct request *request)
{
    struct inquiry *inquiry = ria_arena_alloc(&request->arena, sizeof(*inquiry));

    if (inquiry == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return NULL;
    }
    inquiry->gateway = gateway;
    inquiry->request = request;
    return inquiry;
}

static void ask(struct inquiry *inquiry, int16_t api_key, coordinator_fn fn)
{
    ria_err err = coordinator_call(
        &inquiry->gateway->coordinator, api_key, &inquiry->body, ADMIN_TIMEOUT_MS, fn, inquiry
    );
    if (err != RIA_OK) {
        request_fail_err(inquiry->request, err, "");
    }
}

/* --- rendering ---------------------------------------------------------------------------------*/

struct totals {
    int64_t in;
    int64_t out;
    int64_t errors;
    bool running; /* every task has a worker */
};

static struct totals total(const struct list_transforms_response_listed_transform *transform)
{
    struct totals totals = {.running = true};

    for (uint32_t i = 0; i < transform->tasks_count; i++) {
        const struct list_transforms_response_listed_task *task = &transform->tasks[i];
        totals.in += task->records_in;
        totals.out += task->records_out;
        totals.errors += task->errors;
        totals.running = totals.running && !ria_uuid_is_zero(task->worker);
    }
    return totals;
}

static ria_err append_member(struct ria_buf *out, const char *name, struct ria_slice value)
{
    RIA_TRY(ria_buf_printf(out, ",\"%s\":", name));
    return ria_json_append_string(out, value);
}

/* An object without its closing brace. */
static ria_err
render_head(const struct list_transforms_response_listed_transform *transform, struct ria_buf *out)
{
    struct totals totals = total(transform);
    char id[RIA_UUID_TEXT_SIZE];

    ria_uuid_format(transform->transform_id, id);
    RIA_TRY(ria_buf_append_str(out, "{\"name\":"));
    RIA_TRY(ria_json_append_string(out, transform->name));
    RIA_TRY(ria_buf_printf(
        out, ",\"id\":\"%s\",\"state\":\"%s\"", id, totals.running ? "running" : "waiting"
    ));
    RIA_TRY(append_member(out, "sql", transform->sql));
    RIA_TRY(append_member(out, "source", transform->source_topic));
    RIA_TRY(append_member(out, "output", transform->output_topic));
    RIA_TRY(append_member(out, "errors_topic", transform->errors_topic));
    return ria_buf_printf(
        out,
        ",\"created\":%lld,\"records_in\":%lld,\"records_out\":%lld,\"errors\":%lld",
        (long long)transform->created_ms,
        (long long)totals.in,
        (long long)totals.out,
        (long long)totals.errors
    );
}

/* What is known of the topic's ends; NULL: nothing. */
static const struct offsets_call *offsets_of(const struct inquiry *inquiry, struct ria_slice source)
{
    for (uint32_t i = 0; i < inquiry->offsets_count; i++) {
        const struct offsets_call *offsets = inquiry->offsets[i];
        if (ria_slice_equal(source, ria_slice_cstr(offsets->topic->name))) {
            return offsets;
        }
    }
    return NULL;
}

/* Records that the task has still to read, -1 = unknown. */
static int64_t lag_of_task(
    const struct list_transforms_response_listed_task *task, const struct offsets_call *offsets
)
{
    if (offsets == NULL || task->partition < 0 || task->partition >= offsets->count ||
        !offsets->items[task->partition].known) {
        return -1;
    }
    return ria_max_i64(offsets->items[task->partition].high_watermark - task->position, 0);
}

static int64_t lag_of(
    const struct list_transforms_response_listed_transform *transform,
    const struct offsets_call *offsets
)
{
    int64_t lag = 0;

    for (uint32_t i = 0; i < transform->tasks_count; i++) {
        int64_t one = lag_of_task(&transform->tasks[i], offsets);
        lag = one < 0 || lag < 0 ? -1 : lag + one;
    }
    return lag;
}

static ria_err render_or_null(struct ria_buf *out, const char *name, int64_t value)
{
    return value < 0 ? ria_buf_printf(out, ",\"%s\":null", name)
                     : ria_buf_printf(out, ",\"%s\":%lld", name, (long long)value);
}

static ria_err render_task(
    const struct list_transforms_response_listed_task *task,
    const struct offsets_call *offsets,
    struct ria_buf *out
)
{
    char worker[RIA_UUID_TEXT_SIZE];

    RIA_TRY(ria_buf_printf(out, "{\"partition\":%d,\"worker\":", (int)task->partition));
    if (ria_uuid_is_zero(task->worker)) {
        RIA_TRY(ria_buf_append_str(out, "null"));
    } else {
        ria_uuid_format(task->worker, worker);
        RIA_TRY(ria_buf_printf(out, "\"%s\"", worker));
    }
    RIA_TRY(ria_buf_printf(
        out, ",\"epoch\":%d,\"position\":%lld", (int)task->epoch, (long long)task->position
    ));
    RIA_TRY(render_or_null(out, "lag", lag_of_task(task, offsets)));
    RIA_TRY(ria_buf_printf(
        out,
        ",\"records_in\":%lld,\"records_out\":%lld,\"errors\":%lld,\"last_error\":",
        (long long)task->records_in,
        (long long)task->records_out,
        (long long)task->errors
    ));
    RIA_TRY(
        task->last_error.size == 0 ? ria_buf_append_str(out, "null")
                                   : ria_json_append_string(out, task->last_error)
    );
    return ria_buf_append_str(out, "}");
}

static ria_err render_described(
    const struct list_transforms_response_listed_transform *transform,
    const struct offsets_call *offsets,
    struct ria_buf *out
)
{
    RIA_TRY(render_head(transform, out));
    RIA_TRY(render_or_null(out, "lag", lag_of(transform, offsets)));
    RIA_TRY(ria_buf_append_str(out, ",\"tasks\":["));
    for (uint32_t i = 0; i < transform->tasks_count; i++) {
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",\n" : "\n"));
        RIA_TRY(render_task(&transform->tasks[i], offsets, out));
    }
    return ria_buf_append_str(out, "\n]}\n");
}

/* --- the ends of sources -----------------------------------------------------------------------*/

/* They are asked for first, so that the coordinator's answer need not be kept. */

static void ask_coordinator(struct inquiry *inquiry);

static void ends_known(struct offsets_call *call)
{
    struct inquiry *inquiry = call->arg;

    inquiry->offsets[inquiry->offsets_count++] = call;
    inquiry->asked--;
    if (inquiry->asked == 0) {
        ask_coordinator(inquiry);
    }
}

static bool is_asked(const struct cluster_topic *const *topics, uint32_t count, const void *topic)
{
    for (uint32_t i = 0; i < count; i++) {
        if (topics[i] == topic) {
            return true;
        }
    }
    return false;
}

/* The sources of the transform called `only` (NULL: of all), each once. */
static uint32_t find_sources(
    struct inquiry *inquiry, const char *only, struct cluster_topic *out_topics[SOURCES_MAX]
)
{
    struct cluster *cluster = inquiry->gateway->cluster;
    uint32_t count = 0;

    RIA_LIST_FOREACH (link, cluster_transforms(cluster)) {
        const struct cluster_transform *transform =
            RIA_CONTAINER(link, struct cluster_transform, link);
        if (transform->deleted || count == SOURCES_MAX ||
            (only != NULL && strcmp(transform->name, only) != 0)) {
            continue;
        }
        struct cluster_topic *source = cluster_topic_by_id(cluster, &transform->source_topic_id);
        if (source != NULL && !source->deleted && source->partition_count > 0 &&
            !is_asked((const struct cluster_topic *const *)out_topics, count, source)) {
            out_topics[count++] = source;
        }
    }
    return count;
}

static void ask_with_ends(struct inquiry *inquiry, const char *only)
{
    struct cluster_topic *topics[SOURCES_MAX];
    uint32_t count = find_sources(inquiry, only, topics);

    inquiry->asked = 1; /* ours, until all have been asked */
    for (uint32_t i = 0; i < count; i++) {
        ria_err err = offsets_start(
            &inquiry->gateway->leaders,
            &inquiry->request->arena,
            topics[i],
            LAG_TIMEOUT_MS,
            ends_known,
            inquiry
        );
        inquiry->asked += err == RIA_OK;
    }
    inquiry->asked--;
    if (inquiry->asked == 0) {
        ask_coordinator(inquiry);
    }
}

/* --- list and describe -------------------------------------------------------------------------*/

static ria_err render_list(
    const struct inquiry *inquiry, const struct list_transforms_response *list, struct ria_buf *out
)
{
    RIA_TRY(ria_buf_append_str(out, "{\"transforms\":["));
    for (uint32_t i = 0; i < list->transforms_count; i++) {
        const struct list_transforms_response_listed_transform *transform = &list->transforms[i];
        int64_t lag = lag_of(transform, offsets_of(inquiry, transform->source_topic));
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",\n" : "\n"));
        RIA_TRY(render_head(transform, out));
        RIA_TRY(render_or_null(out, "lag", lag));
        RIA_TRY(ria_buf_append_str(out, "}"));
    }
    return ria_buf_append_str(out, "\n]}\n");
}

static void unknown_transform(struct request *request)
{
    struct failure failure;

    failure_set(
        &failure,
        404,
        "unknown_transform",
        "name",
        "transform " RIA_SLICE_FMT " does not exist",
        RIA_SLICE_ARG(request->params[0])
    );
    request_fail(request, &failure);
}

static void listed(void *arg, ria_err err, const char *text, const void *response)
{
    const struct list_transforms_response *list = response;
    struct inquiry *inquiry = arg;
    bool one = inquiry->request->param_count == 1;
    struct ria_buf out;

    if (one && (err == RIA_ERR_NOT_FOUND || (err == RIA_OK && list->transforms_count == 0))) {
        unknown_transform(inquiry->request);
        return;
    }
    if (err != RIA_OK) {
        request_fail_err(inquiry->request, err, text);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    if (one) {
        const struct list_transforms_response_listed_transform *transform = &list->transforms[0];
        err = render_described(transform, offsets_of(inquiry, transform->source_topic), &out);
    } else {
        err = render_list(inquiry, list, &out);
    }
    gateway_respond_json(inquiry->request, 200, err, &out);
}

static void ask_coordinator(struct inquiry *inquiry)
{
    list_transforms_request_init(&inquiry->body.list);
    if (inquiry->request->param_count == 1) {
        inquiry->body.list.name = inquiry->request->params[0];
    }
    ask(inquiry, API_LIST_TRANSFORMS, listed);
}

void handle_transforms_list(struct gateway *gateway, struct request *request)
{
    struct inquiry *inquiry = inquiry_new(gateway, request);

    if (inquiry != NULL) {
        ask_with_ends(inquiry, NULL);
    }
}

void handle_transform_describe(struct gateway *gateway, struct request *request)
{
    struct inquiry *inquiry = inquiry_new(gateway, request);

    if (inquiry != NULL) {
        ask_with_ends(inquiry, (const char *)request->params[0].data);
    }
}

/* --- delete ------------------------------------------------------------------------------------*/

static void deleted_visible(void *arg, bool reached)
{
    const struct inquiry *inquiry = arg;

    (void)reached;
    request_respond_static(inquiry->request, 204, NULL, NULL);
}

static void deleted(void *arg, ria_err err, const char *text, const void *response)
{
    const struct delete_transform_response *done = response;
    struct inquiry *inquiry = arg;

    if (err == RIA_ERR_NOT_FOUND) {
        unknown_transform(inquiry->request);
    } else if (err != RIA_OK) {
        request_fail_err(inquiry->request, err, text);
    } else {
        cluster_wait_version(
            inquiry->gateway->cluster, done->version, VIEW_TIMEOUT_MS, deleted_visible, inquiry
        );
    }
}

void handle_transform_delete(struct gateway *gateway, struct request *request)
{
    struct inquiry *inquiry = inquiry_new(gateway, request);
    const char *name = ria_arena_strdup(&request->arena, request->params[0]);
    const struct cluster_transform *seen =
        name == NULL ? NULL : cluster_transform_by_name(gateway->cluster, name);

    if (inquiry != NULL) {
        delete_transform_request_init(&inquiry->body.del);
        inquiry->body.del.name = request->params[0];
        if (seen != NULL) {
            inquiry->body.del.transform_id = seen->id;
        }
        ask(inquiry, API_DELETE_TRANSFORM, deleted);
    }
}
