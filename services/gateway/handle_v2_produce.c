/* POST /topics/{t} and /topics/{t}/partitions/{p}: produce as Confluent's REST Proxy v2 does it.
 *
 * The request fails as a whole before anything is stored, or is answered 200 with a result for each
 * record. "Prefer: handling=strict" asks for a status that tells: 207, or that of the first record
 * if all failed. */
#include <string.h>
#include <strings.h>

#include "common/json.h"

#include "services/gateway/append.h"
#include "services/gateway/render.h"

static const char *const json_types[] = {
    "application/vnd.kafka.json.v2+json",
    "application/vnd.kafka.json+json",
    NULL,
};

/* A type without a format means base64. */
static const char *const binary_types[] = {
    "application/vnd.kafka.binary.v2+json",
    "application/vnd.kafka.binary+json",
    "application/vnd.kafka.v2+json",
    "application/vnd.kafka+json",
    "application/json",
    "application/octet-stream",
    NULL,
};

static const char *const answer_types[] = {
    TYPE_V2,
    "application/vnd.kafka+json",
    TYPE_JSON,
    NULL,
};

static bool is_one_of(struct ria_slice type, const char *const *types)
{
    for (; *types != NULL; types++) {
        if (media_type_is(type, *types)) {
            return true;
        }
    }
    return false;
}

static bool choose_format(struct request *request, record_format *out_format)
{
    struct ria_slice type = request_header(request, "Content-Type");
    struct failure failure;

    if (is_one_of(type, json_types)) {
        *out_format = RECORD_JSON;
        return true;
    }
    if (is_one_of(type, binary_types)) {
        *out_format = RECORD_BINARY;
        return true;
    }
    failure_set(
        &failure,
        415,
        "unsupported_media_type",
        "Content-Type",
        "Content-Type must be application/vnd.kafka.json.v2+json or "
        "application/vnd.kafka.binary.v2+json, not \"" RIA_SLICE_FMT "\"",
        RIA_SLICE_ARG(ria_slice_sub(type, 0, 100))
    );
    request_fail(request, &failure);
    return false;
}

static ria_err
render_result(const struct append *append, const struct produce_result *result, struct ria_buf *out)
{
    struct failure failure;

    if (result->err == RIA_OK) {
        RIA_TRY(ria_buf_append_str(out, "{\"partition\":"));
        RIA_TRY(render_i64(out, result->partition));
        RIA_TRY(ria_buf_append_str(out, ",\"offset\":"));
        RIA_TRY(render_i64(out, result->offset));
        return ria_buf_append_str(out, ",\"error_code\":null,\"error\":null}");
    }
    append_failure(append, result, &failure);
    RIA_TRY(ria_buf_printf(
        out, "{\"partition\":null,\"offset\":null,\"error_code\":%d,\"error\":", failure.v2_code
    ));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(failure.message)));
    return ria_buf_append_str(out, "}");
}

static ria_err render(const struct append *append, struct ria_buf *out)
{
    RIA_TRY(ria_buf_reserve(out, 96 + (size_t)append->call.count * 80));
    RIA_TRY(ria_buf_append_str(out, "{\"offsets\":["));
    for (uint32_t i = 0; i < append->call.count; i++) {
        RIA_TRY(ria_buf_append_str(out, i > 0 ? "," : ""));
        RIA_TRY(render_result(append, &append->call.results[i], out));
    }
    return ria_buf_append_str(out, "],\"key_schema_id\":null,\"value_schema_id\":null}");
}

static bool is_strict(const struct request *request)
{
    struct ria_slice prefer = request_header(request, "Prefer");

    return !ria_slice_is_null(prefer) &&
           strcasestr((const char *)prefer.data, "handling=strict") != NULL;
}

static void reply(struct append *append)
{
    struct request *request = append->request;
    const char *type = media_type_choose(request_header(request, "Accept"), answer_types);
    struct ria_buf out;

    ria_buf_init(&out, DOCUMENT_MAX);
    if (render(append, &out) != RIA_OK) {
        ria_buf_fini(&out);
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    int status = is_strict(request) ? append_status(append) : 200;
    request_respond_buf(request, status, type, &out);
}

void handle_v2_produce(struct gateway *gateway, struct request *request)
{
    struct cluster_topic *topic = gateway_topic(gateway, request);
    struct cluster_partition *partition = NULL;
    bool has_partition = request->param_count == 2;
    record_format format = RECORD_BINARY;
    struct failure failure;

    if (topic == NULL) {
        return;
    }
    if (has_partition) {
        partition = gateway_partition(gateway, request, topic);
        if (partition == NULL) {
            return;
        }
    }
    if (!choose_format(request, &format) || !gateway_body_is_plain(request)) {
        return;
    }
    if (!records_parse_v2(&gateway->records, request->body, format, !has_partition, &failure)) {
        request_fail(request, &failure);
        return;
    }
    for (uint32_t i = 0; has_partition && i < gateway->records.count; i++) {
        gateway->records.records[i].partition = partition->number;
    }
    append_records(gateway, request, topic, NULL, false, reply);
}
