/* /v1/topics: list, describe, delete; and the offsets of one partition. */
#include "schemas/gen/delete_topic_request.h"
#include "schemas/gen/delete_topic_response.h"
#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/gateway.h"
#include "services/gateway/offsets.h"
#include "services/gateway/topic_render.h"

enum { DESCRIBE_TIMEOUT_MS = 2000 };

/* --- list --------------------------------------------------------------------------------------*/

void handle_topics_list(struct gateway *gateway, struct request *request)
{
    struct ria_buf out;
    bool any = false;

    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = ria_buf_append_str(&out, "{\"topics\":[");
    RIA_LIST_FOREACH (link, cluster_topics(gateway->cluster)) {
        const struct cluster_topic *topic = RIA_CONTAINER(link, struct cluster_topic, link);
        if (topic->deleted || err != RIA_OK) {
            continue;
        }
        err = ria_buf_append_str(&out, any ? ",\n" : "\n");
        err = err == RIA_OK ? topic_render_listed(topic, &out) : err;
        any = true;
    }
    if (err == RIA_OK) {
        err = ria_buf_append_str(&out, "\n]}\n");
    }
    gateway_respond_json(request, 200, err, &out);
}

/* --- describe ----------------------------------------------------------------------------------*/

static void describe_ready(struct offsets_call *call)
{
    struct ria_buf out;

    ria_buf_init(&out, DOCUMENT_MAX);
    gateway_respond_json(
        call->arg, 200, topic_render(call->topic, call->items, call->count, &out), &out
    );
}

void handle_topic_describe(struct gateway *gateway, struct request *request)
{
    struct cluster_topic *topic = gateway_topic(gateway, request);

    if (topic == NULL) {
        return;
    }
    ria_err err = offsets_start(
        &gateway->leaders, &request->arena, topic, DESCRIBE_TIMEOUT_MS, describe_ready, request
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

/* --- delete ------------------------------------------------------------------------------------*/

struct deletion {
    struct gateway *gateway;
    struct request *request;
    struct delete_topic_request body;
};

static void deleted_visible(void *arg, bool reached)
{
    struct deletion *deletion = arg;

    (void)reached; /* it is deleted, whether we have heard or not */
    request_respond_static(deletion->request, 204, NULL, NULL);
}

static void deleted(void *arg, ria_err err, const char *text, const void *response)
{
    const struct delete_topic_response *done = response;
    struct deletion *deletion = arg;

    if (err != RIA_OK) {
        request_fail_err(deletion->request, err, text);
        return;
    }
    cluster_wait_version(
        deletion->gateway->cluster, done->version, VIEW_TIMEOUT_MS, deleted_visible, deletion
    );
}

void handle_topic_delete(struct gateway *gateway, struct request *request)
{
    const struct cluster_topic *topic = gateway_topic(gateway, request);

    if (topic == NULL) {
        return;
    }
    struct deletion *deletion = ria_arena_alloc(&request->arena, sizeof(*deletion));
    ria_err err = RIA_ERR_NOMEM;
    if (deletion != NULL) {
        delete_topic_request_init(&deletion->body);
        deletion->gateway = gateway;
        deletion->request = request;
        deletion->body.name = request->params[0];
        deletion->body.topic_id = topic->id;
        err = coordinator_call(
            &gateway->coordinator,
            API_DELETE_TOPIC,
            &deletion->body,
            ADMIN_TIMEOUT_MS,
            deleted,
            deletion
        );
    }
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

/* --- offsets of a partition --------------------------------------------------------------------*/

static ria_err render_found(const struct list_offsets_response *found, struct ria_buf *out)
{
    RIA_TRY(ria_buf_printf(
        out,
        "{\"log_start_offset\":%lld,\"high_watermark\":%lld",
        (long long)found->log_start_offset,
        (long long)found->high_watermark
    ));
    if (found->offset >= 0) {
        RIA_TRY(ria_buf_printf(
            out,
            ",\"offset\":%lld,\"timestamp\":%lld",
            (long long)found->offset,
            (long long)found->offset_timestamp
        ));
    } else {
        RIA_TRY(ria_buf_append_str(out, ",\"offset\":null,\"timestamp\":null"));
    }
    return ria_buf_append_str(out, "}\n");
}

static void offsets_answered(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct request *request = call->arg;
    struct list_offsets_response found;
    struct ria_buf out;

    if (err == RIA_OK) {
        err = offsets_decode(reply, &found);
    }
    if (err != RIA_OK) {
        request_fail_err(request, err, reply->text);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    gateway_respond_json(request, 200, render_found(&found, &out), &out);
}

void handle_offsets(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"timestamp", NULL};
    struct cluster_topic *topic = gateway_topic(gateway, request);
    struct cluster_partition *partition =
        topic == NULL ? NULL : gateway_partition(gateway, request, topic);
    int64_t timestamp = -1;

    if (partition == NULL || !gateway_query_known(request, known) ||
        !gateway_query_i64(request, "timestamp", 0, INT64_MAX, -1, &timestamp)) {
        return;
    }
    struct leader_call *call = ria_arena_alloc(&request->arena, sizeof(*call));
    if (call == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    call->partition = partition;
    call->api_key = API_LIST_OFFSETS;
    list_offsets_request_init(&call->body.list_offsets);
    call->body.list_offsets.timestamp = timestamp;
    call->deadline_us = request->received_us + (int64_t)gateway->options.request_timeout_ms * 1000;
    call->done = offsets_answered;
    call->arg = request;
    leader_call_start(&gateway->leaders, call);
}
