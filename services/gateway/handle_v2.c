/* Metadata as Confluent's REST Proxy v2 shows it. */
#include <string.h>

#include "common/json.h"

#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/gateway.h"
#include "services/gateway/offsets.h"

static const char *const answer_types[] = {
    TYPE_V2,
    "application/vnd.kafka+json",
    TYPE_JSON,
    NULL,
};

/* gateway_begin() has made sure that one of them is acceptable. */
static void respond(struct request *request, ria_err err, struct ria_buf *out)
{
    const char *type = media_type_choose(request_header(request, "Accept"), answer_types);

    if (err != RIA_OK) {
        ria_buf_fini(out);
        request_fail_err(request, err, "");
        return;
    }
    request_respond_buf(request, 200, type, out);
}

void handle_v2_root(struct gateway *gateway, struct request *request)
{
    const char *type = media_type_choose(request_header(request, "Accept"), answer_types);

    (void)gateway;
    request_respond_static(request, 200, type, "{}");
}

/* cluster.h has no list of nodes; their ids are small numbers from 1 on. */
void handle_v2_brokers(struct gateway *gateway, struct request *request)
{
    struct ria_buf out;
    bool any = false;

    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = ria_buf_append_str(&out, "{\"brokers\":[");
    for (int32_t id = 0; id <= RIA_NODES_MAX && err == RIA_OK; id++) {
        if (cluster_node(gateway->cluster, id) != NULL) {
            err = ria_buf_printf(&out, "%s%d", any ? "," : "", (int)id);
            any = true;
        }
    }
    if (err == RIA_OK) {
        err = ria_buf_append_str(&out, "]}");
    }
    respond(request, err, &out);
}

void handle_v2_topics(struct gateway *gateway, struct request *request)
{
    struct ria_buf out;
    bool any = false;

    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = ria_buf_append_str(&out, "[");
    RIA_LIST_FOREACH (link, cluster_topics(gateway->cluster)) {
        const struct cluster_topic *topic = RIA_CONTAINER(link, struct cluster_topic, link);
        if (topic->deleted || err != RIA_OK) {
            continue;
        }
        err = ria_buf_printf(&out, "%s\"%s\"", any ? "," : "", topic->name);
        any = true;
    }
    if (err == RIA_OK) {
        err = ria_buf_append_str(&out, "]");
    }
    respond(request, err, &out);
}

static bool is_in_sync(const struct cluster_partition *partition, int32_t node)
{
    for (uint32_t i = 0; i < partition->isr_count; i++) {
        if (partition->isr[i] == node) {
            return true;
        }
    }
    return false;
}

static ria_err render_partition(const struct cluster_partition *partition, struct ria_buf *out)
{
    RIA_TRY(ria_buf_printf(
        out,
        "{\"partition\":%d,\"leader\":%d,\"replicas\":[",
        (int)partition->number,
        (int)partition->leader
    ));
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        int32_t node = partition->replicas[i];
        RIA_TRY(ria_buf_printf(
            out,
            "%s{\"broker\":%d,\"leader\":%s,\"in_sync\":%s}",
            i > 0 ? "," : "",
            (int)node,
            node == partition->leader ? "true" : "false",
            is_in_sync(partition, node) ? "true" : "false"
        ));
    }
    return ria_buf_append_str(out, "]}");
}

static ria_err render_partitions(const struct cluster_topic *topic, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, "["));
    for (int32_t p = 0; p < topic->partition_count; p++) {
        RIA_TRY(ria_buf_append_str(out, p > 0 ? "," : ""));
        RIA_TRY(render_partition(topic->partitions[p], out));
    }
    return ria_buf_append_str(out, "]");
}

static ria_err render_topic(const struct cluster_topic *topic, struct ria_buf *out)
{
    RIA_TRY(ria_buf_printf(out, "{\"name\":\"%s\",\"configs\":{", topic->name));
    for (size_t i = 0; i < topic_config_count(); i++) {
        char text[RIA_CONFIG_VALUE_MAX];
        topic_config_text(&topic->config, i, text, sizeof(text));
        RIA_TRY(ria_buf_printf(out, "%s\"%s\":\"%s\"", i > 0 ? "," : "", topic_config_name(i), text)
        );
    }
    RIA_TRY(ria_buf_append_str(out, "},\"partitions\":"));
    RIA_TRY(render_partitions(topic, out));
    return ria_buf_append_str(out, "}");
}

void handle_v2_topic(struct gateway *gateway, struct request *request)
{
    const struct cluster_topic *topic = gateway_topic(gateway, request);
    struct ria_buf out;

    if (topic != NULL) {
        ria_buf_init(&out, DOCUMENT_MAX);
        respond(request, render_topic(topic, &out), &out);
    }
}

void handle_v2_partitions(struct gateway *gateway, struct request *request)
{
    const struct cluster_topic *topic = gateway_topic(gateway, request);
    struct ria_buf out;

    if (topic != NULL) {
        ria_buf_init(&out, DOCUMENT_MAX);
        respond(request, render_partitions(topic, &out), &out);
    }
}

void handle_v2_partition(struct gateway *gateway, struct request *request)
{
    struct cluster_topic *topic = gateway_topic(gateway, request);
    const struct cluster_partition *partition =
        topic == NULL ? NULL : gateway_partition(gateway, request, topic);
    struct ria_buf out;

    if (partition != NULL) {
        ria_buf_init(&out, DOCUMENT_MAX);
        respond(request, render_partition(partition, &out), &out);
    }
}

static void offsets_done(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct request *request = call->arg;
    struct list_offsets_response response;
    struct ria_buf out;

    if (err == RIA_OK) {
        err = offsets_decode(reply, &response);
    }
    if (err != RIA_OK) {
        request_fail_err(request, err, reply->text);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    err = ria_buf_printf(
        &out,
        "{\"beginning_offset\":%lld,\"end_offset\":%lld}",
        (long long)response.log_start_offset,
        (long long)response.high_watermark
    );
    respond(request, err, &out);
}

void handle_v2_offsets(struct gateway *gateway, struct request *request)
{
    struct cluster_topic *topic = gateway_topic(gateway, request);
    struct cluster_partition *partition =
        topic == NULL ? NULL : gateway_partition(gateway, request, topic);

    if (partition == NULL) {
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
    call->deadline_us = request->received_us + (int64_t)gateway->options.request_timeout_ms * 1000;
    call->done = offsets_done;
    call->arg = request;
    leader_call_start(&gateway->leaders, call);
}
