/* POST /v1/topics/{t}/records and /v1/topics/{t}/partitions/{p}/records.
 *
 * A body of type application/x-ndjson is many records, any other body is one. Producer-Id,
 * Producer-Epoch and Producer-Seq make the request idempotent with the client's own numbers. */
#include <string.h>
#include <strings.h>

#include "common/base64.h"
#include "common/json.h"
#include "common/limits.h"

#include "services/gateway/append.h"
#include "services/gateway/deliver_at.h"
#include "services/gateway/render.h"

#define HEADER_PREFIX "Riacho-Header-"

/* --- answering ---------------------------------------------------------------------------------*/

static ria_err render_position(const struct produce_result *result, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, "\"partition\":"));
    RIA_TRY(render_i64(out, result->partition));
    RIA_TRY(ria_buf_append_str(out, ",\"offset\":"));
    if (result->offset < 0) {
        return ria_buf_append_str(out, "null"); /* stored before; the log has forgotten where */
    }
    return render_i64(out, result->offset);
}

static ria_err render_head(const struct append *append, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, "{\"topic\":"));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(append->call.topic->name)));
    return ria_buf_append_str(out, ",");
}

/* What the acknowledgement means. */
static ria_err render_tail(const struct append *append, struct ria_buf *out)
{
    if (append->call.failed_count < append->call.count) {
        const char *word = append->call.synced ? "synced" : "relaxed";
        RIA_TRY(ria_buf_printf(out, ",\"durability\":\"%s\"", word));
    }
    if (append->call.duplicate) {
        RIA_TRY(ria_buf_append_str(out, ",\"duplicate\":true"));
    }
    return ria_buf_append_str(out, "}\n");
}

static ria_err render_single(const struct append *append, struct ria_buf *out)
{
    RIA_TRY(render_head(append, out));
    RIA_TRY(render_position(&append->call.results[0], out));
    return render_tail(append, out);
}

static ria_err render_many(const struct append *append, struct ria_buf *out)
{
    RIA_TRY(ria_buf_reserve(out, 128 + (size_t)append->call.count * 40));
    RIA_TRY(render_head(append, out));
    RIA_TRY(ria_buf_printf(
        out,
        "\"count\":%u,\"failed\":%u,\"records\":[",
        append->call.count,
        append->call.failed_count
    ));
    for (uint32_t i = 0; i < append->call.count; i++) {
        const struct produce_result *result = &append->call.results[i];
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",{" : "{"));
        if (result->err == RIA_OK) {
            RIA_TRY(render_position(result, out));
        } else {
            struct failure failure;
            append_failure(append, result, &failure);
            RIA_TRY(ria_buf_append_str(out, "\"error\":{"));
            RIA_TRY(failure_render_members(&failure, out));
            RIA_TRY(ria_buf_append_str(out, "}"));
        }
        RIA_TRY(ria_buf_append_str(out, "}"));
    }
    RIA_TRY(ria_buf_append_str(out, "]"));
    return render_tail(append, out);
}

static void reply(struct append *append)
{
    const struct produce_result *error = append_first_error(append);
    struct request *request = append->request;
    struct failure failure;
    struct ria_buf out;

    /* None is stored: the plain error body. */
    if (error != NULL && append->call.failed_count == append->call.count) {
        append_failure(append, error, &failure);
        request_fail(request, &failure);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = append->is_single ? render_single(append, &out) : render_many(append, &out);
    gateway_respond_json(request, append_status(append), err, &out);
}

/* --- headers of the request --------------------------------------------------------------------*/

static bool bad_header(struct request *request, const char *name, const char *rule)
{
    struct failure failure;

    failure_set(&failure, 400, "invalid_header", name, "%s %s", name, rule);
    failure.outcome = OUTCOME_NOT_STORED;
    request_fail(request, &failure);
    return false;
}

/* Absent: *out keeps its value. */
static bool
header_i64(struct request *request, const char *name, int64_t max, int64_t *out, bool *out_present)
{
    struct ria_slice text = request_header(request, name);
    int64_t value = 0;

    *out_present = !ria_slice_is_null(text);
    if (!*out_present) {
        return true;
    }
    if (!request_parse_i64(text, &value) || value < 0 || value > max) {
        return bad_header(request, name, "must be a decimal number from 0 on, and in range");
    }
    *out = value;
    return true;
}

/* All three headers or none. *out_has: there are. */
static bool take_identity(struct request *request, struct produce_identity *out, bool *out_has)
{
    int64_t id = 0;
    int64_t epoch = 0;
    int64_t sequence = 0;
    bool has_id = false;
    bool has_epoch = false;
    bool has_sequence = false;

    if (!header_i64(request, "Producer-Id", RIA_PRODUCER_ID_INTERNAL - 1, &id, &has_id) ||
        !header_i64(request, "Producer-Epoch", INT16_MAX, &epoch, &has_epoch) ||
        !header_i64(request, "Producer-Seq", INT32_MAX, &sequence, &has_sequence)) {
        return false;
    }
    *out_has = has_id || has_epoch || has_sequence;
    if (*out_has && !(has_id && has_epoch && has_sequence)) {
        return bad_header(
            request, "Producer-Id", "must come together with Producer-Epoch and Producer-Seq"
        );
    }
    *out = (struct produce_identity){id, (int16_t)epoch, (int32_t)sequence};
    return true;
}

/* Riacho-Deliver-At or -After-Ms. Absent: *out_at_ms is 0. */
static bool take_deliver_at(struct gateway *gateway, struct request *request, int64_t *out_at_ms)
{
    struct ria_slice at = request_header(request, "Riacho-Deliver-At");
    int64_t now_ms = ria_clock_wall_ms(gateway->env->clock);
    int64_t after_ms = 0;
    bool is_after = false;

    *out_at_ms = 0;
    gateway->records.deliver_at_max = now_ms + DELIVER_AFTER_MS_MAX;
    if (!header_i64(request, "Riacho-Deliver-After-Ms", INT64_MAX, &after_ms, &is_after)) {
        return false;
    }
    if (is_after && !ria_slice_is_null(at)) {
        return bad_header(
            request, "Riacho-Deliver-At", "cannot come together with Riacho-Deliver-After-Ms"
        );
    }
    if (after_ms > DELIVER_AFTER_MS_MAX) {
        return bad_header(request, "Riacho-Deliver-After-Ms", "may be at most 30 days");
    }
    if (is_after) {
        *out_at_ms = now_ms + after_ms;
    } else if (!ria_slice_is_null(at) && !deliver_at_parse(at, out_at_ms)) {
        return bad_header(
            request, "Riacho-Deliver-At", "must be a time (RFC 3339), or milliseconds since 1970"
        );
    }
    return *out_at_ms <= gateway->records.deliver_at_max ||
           bad_header(request, "Riacho-Deliver-At", "may be at most 30 days ahead");
}

/* Of those that do not name a time themselves. */
static bool set_deliver_at(struct gateway *gateway, struct request *request, int64_t at_ms)
{
    struct failure failure;

    for (uint32_t i = 0; at_ms > 0 && i < gateway->records.count; i++) {
        struct produce_record *record = &gateway->records.records[i];
        if (!record_has_deliver_at(record) &&
            !record_set_deliver_at(&gateway->records, record, at_ms, &failure)) {
            request_fail(request, &failure);
            return false;
        }
    }
    return true;
}

static bool
take_partition(struct request *request, struct cluster_topic *topic, int32_t *out_partition)
{
    int64_t partition = -1;
    bool present = false;

    if (!header_i64(request, "Riacho-Partition", INT32_MAX, &partition, &present)) {
        return false;
    }
    if (present && partition >= topic->partition_count) {
        struct failure failure;
        failure_set(
            &failure,
            404,
            "unknown_partition",
            "Riacho-Partition",
            "topic %s has partitions 0 to %d",
            topic->name,
            (int)topic->partition_count - 1
        );
        request_fail(request, &failure);
        return false;
    }
    *out_partition = (int32_t)partition;
    return true;
}

/* --- one record --------------------------------------------------------------------------------*/

struct header_list {
    struct request *request;
    struct batch_record_header *headers;
    uint32_t count;
    bool no_memory;
};

static void take_header(void *arg, struct ria_slice name, struct ria_slice value)
{
    struct header_list *list = arg;
    size_t prefix = strlen(HEADER_PREFIX);

    if (name.size <= prefix || strncasecmp((const char *)name.data, HEADER_PREFIX, prefix) != 0) {
        return;
    }
    /* Lower case: the case of HTTP names does not survive the way here. */
    char *copy = ria_arena_strdup(&list->request->arena, ria_slice_sub(name, prefix, name.size));
    if (copy == NULL || list->count == REQUEST_HEADERS_MAX) {
        list->no_memory = true;
        return;
    }
    for (char *at = copy; *at != '\0'; at++) {
        *at = (char)(*at >= 'A' && *at <= 'Z' ? *at + ('a' - 'A') : *at);
    }
    list->headers[list->count++] = (struct batch_record_header){
        .name = ria_slice_cstr(copy),
        .value = value,
    };
}

static bool
take_headers(struct request *request, int64_t deliver_at_max, struct produce_record *record)
{
    struct header_list list = {.request = request};

    list.headers =
        ria_arena_alloc_array(&request->arena, REQUEST_HEADERS_MAX, sizeof(*list.headers));
    if (list.headers != NULL) {
        request_each_header(request, take_header, &list);
    }
    if (list.headers == NULL || list.no_memory) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return false;
    }
    for (uint32_t i = 0; i < list.count; i++) {
        const struct batch_record_header *header = &list.headers[i];
        if (ria_slice_equal(header->name, RIA_SLICE_LITERAL(DELIVER_AT_HEADER))) {
            const char *rule = deliver_at_rule(header->value, deliver_at_max);
            if (rule != NULL) {
                return bad_header(request, HEADER_PREFIX DELIVER_AT_HEADER, rule);
            }
        }
    }
    record->headers = list.headers;
    record->header_count = list.count;
    return true;
}

static bool take_key(struct request *request, struct produce_record *record)
{
    struct ria_slice text = request_header(request, "Riacho-Key");
    struct ria_slice encoded = request_header(request, "Riacho-Key-Base64");

    if (ria_slice_is_null(encoded)) {
        record->key = text;
        return true;
    }
    if (!ria_slice_is_null(text)) {
        return bad_header(request, "Riacho-Key-Base64", "cannot come together with Riacho-Key");
    }
    size_t size = 0;
    uint8_t *key = ria_arena_alloc(&request->arena, encoded.size + 1);
    if (key == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return false;
    }
    if (ria_base64_decode(key, encoded, &size) != RIA_OK) {
        return bad_header(request, "Riacho-Key-Base64", "is not base64 with padding");
    }
    record->key = ria_slice_of(key, size);
    return true;
}

static bool read_single(struct gateway *gateway, struct request *request, int32_t partition)
{
    struct failure failure;
    bool present = false;

    record_set_reset(&gateway->records);
    struct produce_record *record = record_set_add(&gateway->records, &failure);
    if (record == NULL) {
        request_fail(request, &failure);
        return false;
    }
    record->partition = partition;
    /* An empty body is an empty value, not a tombstone. */
    record->value = request->body.data == NULL ? RIA_SLICE_EMPTY : request->body;
    return take_key(request, record) &&
           take_headers(request, gateway->records.deliver_at_max, record) &&
           header_i64(request, "Riacho-Timestamp", INT64_MAX, &record->timestamp_ms, &present);
}

/* --- many --------------------------------------------------------------------------------------*/

static bool read_lines(struct gateway *gateway, struct request *request, int32_t partition)
{
    struct ria_slice key = RIA_SLICE_NULL;
    struct ria_slice lines = RIA_SLICE_NULL;
    struct failure failure;

    if (!gateway_body_is_plain(request)) {
        return false;
    }
    if (request_query(request, "key", &key) != RIA_OK ||
        request_query(request, "lines", &lines) != RIA_OK) {
        failure_set(&failure, 400, "invalid_query", NULL, "the query cannot be decoded");
        request_fail(request, &failure);
        return false;
    }
    if (ria_slice_equal(lines, RIA_SLICE_LITERAL("record")) && !ria_slice_is_null(key)) {
        failure_set(
            &failure, 400, "invalid_query", "key", "key names a member of lines that are values"
        );
        request_fail(request, &failure);
        return false;
    }
    bool values = ria_slice_equal(lines, RIA_SLICE_LITERAL("value")) ||
                  (ria_slice_is_null(lines) && !ria_slice_is_null(key));
    if (!values && lines.size > 0 && !ria_slice_equal(lines, RIA_SLICE_LITERAL("record"))) {
        failure_set(
            &failure, 400, "invalid_query", "lines", "lines must be \"record\" or \"value\""
        );
        request_fail(request, &failure);
        return false;
    }
    if (!records_parse_ndjson(
            &gateway->records, request->body, values, (const char *)key.data, &failure
        )) {
        request_fail(request, &failure);
        return false;
    }
    for (uint32_t i = 0; partition >= 0 && i < gateway->records.count; i++) {
        gateway->records.records[i].partition = partition;
    }
    return true;
}

void handle_records_write(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"key", "lines", NULL};
    struct ria_slice type = request_header(request, "Content-Type");
    bool is_lines = media_type_is(type, TYPE_NDJSON) || media_type_is(type, "application/ndjson");
    struct cluster_topic *topic = gateway_topic(gateway, request);
    struct produce_identity identity;
    bool has_identity = false;
    int32_t partition = -1;
    int64_t deliver_at_ms = 0;

    if (topic == NULL || !gateway_query_known(request, known) ||
        !take_identity(request, &identity, &has_identity) ||
        !take_partition(request, topic, &partition) ||
        !take_deliver_at(gateway, request, &deliver_at_ms)) {
        return;
    }
    if (request->param_count == 2) {
        struct cluster_partition *named = gateway_partition(gateway, request, topic);
        if (named == NULL) {
            return;
        }
        partition = named->number;
    }
    bool fine = is_lines ? read_lines(gateway, request, partition)
                         : read_single(gateway, request, partition);
    if (!fine || !set_deliver_at(gateway, request, deliver_at_ms)) {
        return;
    }
    if (has_identity && partition < 0 && ria_slice_is_null(gateway->records.records[0].key) &&
        gateway->records.records[0].partition < 0) {
        (void)bad_header(
            request, "Producer-Seq", "needs a partition: name it, or give the record a key"
        );
        return;
    }
    append_records(gateway, request, topic, has_identity ? &identity : NULL, !is_lines, reply);
}
