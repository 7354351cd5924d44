#include "services/gateway/consumer_input.h"

#include <string.h>

#include "services/gateway/document.h"

/* What clients are known to send as the type of a document. */
static const char *const body_types[] = {
    TYPE_V2,
    TYPE_JSON,
    "application/vnd.kafka+json",
    "application/vnd.kafka.json.v2+json",
    "application/vnd.kafka.binary.v2+json",
    "application/octet-stream",
    NULL,
};

static bool has_known_type(const struct request *request)
{
    struct ria_slice type = request_header(request, "Content-Type");

    for (const char *const *known = body_types; *known != NULL; known++) {
        if (media_type_is(type, *known)) {
            return true;
        }
    }
    return ria_slice_is_null(type);
}

bool consumer_document(struct request *request, bool optional, json_t **out_document)
{
    struct ria_slice body = request->body;
    json_error_t error;

    *out_document = NULL;
    if (body.size == 0 && optional) {
        return true;
    }
    if (!has_known_type(request)) {
        consumer_refuse(
            request, 415, "Content-Type", "Content-Type must be " TYPE_V2 " or " TYPE_JSON
        );
        return false;
    }
    if (!gateway_body_is_plain(request)) {
        return false;
    }
    json_t *document = json_loadb(
        body.size == 0 ? "" : (const char *)body.data, body.size, JSON_REJECT_DUPLICATES, &error
    );
    if (document == NULL) {
        consumer_refuse(
            request,
            400,
            NULL,
            "the body is not JSON: %s at line %d, column %d",
            error.text,
            error.line,
            error.column
        );
        return false;
    }
    if (!json_is_object(document)) {
        json_decref(document);
        consumer_refuse(request, 422, NULL, "the body must be a JSON object");
        return false;
    }
    *out_document = document;
    return true;
}

bool consumer_known(struct request *request, const json_t *document, const char *const *names)
{
    struct failure failure;

    if (document_known(document, names, &failure)) {
        return true;
    }
    failure.status = 422;
    failure.v2_code = 422;
    request_fail(request, &failure);
    return false;
}

/* --- partitions --------------------------------------------------------------------------------*/

struct cluster_topic *consumer_topic(struct consumer_call *call, struct ria_slice name)
{
    char text[RIA_TOPIC_NAME_MAX + 1];
    struct cluster_topic *topic = NULL;

    if (name.size > 0 && name.size <= RIA_TOPIC_NAME_MAX) {
        memcpy(text, name.data, name.size);
        text[name.size] = '\0';
        topic = cluster_topic_by_name(call->gateway->cluster, text);
    }
    if (topic != NULL && topic->partition_count > 0) {
        return topic;
    }
    if (!cluster_is_ready(call->gateway->cluster)) {
        request_fail_err(
            call->request, RIA_ERR_NO_LEADER, "the gateway has not heard from the coordinator yet"
        );
        return NULL;
    }
    consumer_refuse(
        call->request,
        40401,
        "topic",
        "topic " RIA_SLICE_FMT " does not exist",
        RIA_SLICE_ARG(ria_slice_sub(name, 0, RIA_TOPIC_NAME_MAX))
    );
    return NULL;
}

struct cluster_partition *
consumer_partition(struct consumer_call *call, struct cluster_topic *topic, int64_t number)
{
    if (number >= 0 && number < topic->partition_count) {
        return topic->partitions[number];
    }
    consumer_refuse(
        call->request,
        40402,
        "partition",
        "topic %s has partitions 0 to %d",
        topic->name,
        (int)topic->partition_count - 1
    );
    return NULL;
}

/* A number, or a string of one. */
static bool take_i64(const json_t *value, int64_t *out_value)
{
    if (json_is_integer(value)) {
        *out_value = json_integer_value(value);
        return true;
    }
    return json_is_string(value) &&
           request_parse_i64(
               ria_slice_of(json_string_value(value), json_string_length(value)), out_value
           );
}

static bool take_time(const json_t *value, int64_t *out_ms)
{
    if (json_is_string(value) &&
        consumer_time_parse(
            ria_slice_of(json_string_value(value), json_string_length(value)), out_ms
        )) {
        return true;
    }
    return take_i64(value, out_ms) && *out_ms >= 0;
}

static bool refuse_item(struct consumer_call *call, const char *field, const char *rule)
{
    consumer_refuse(call->request, 422, field, "%s %s", field, rule);
    return false;
}

static bool take_metadata(struct consumer_call *call, const json_t *item, struct consumer_at *out)
{
    const json_t *metadata = json_object_get(item, "metadata");

    out->metadata = RIA_SLICE_EMPTY;
    if (metadata == NULL || json_is_null(metadata)) {
        return true;
    }
    if (!json_is_string(metadata) || json_string_length(metadata) > CONSUMER_METADATA_MAX) {
        return refuse_item(call, "metadata", "must be a string of at most 4096 bytes");
    }
    struct ria_slice text = ria_slice_of(json_string_value(metadata), json_string_length(metadata));
    const char *copy = ria_arena_strdup(&call->request->arena, text);
    if (copy == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return false;
    }
    out->metadata = ria_slice_of(copy, text.size);
    return true;
}

static bool take_item(
    struct consumer_call *call, const json_t *item, consumer_want want, struct consumer_at *out
)
{
    const json_t *name = json_object_get(item, "topic");
    int64_t number = -1;

    *out = (struct consumer_at){.offset = -1, .timestamp_ms = -1};
    if (!json_is_string(name)) {
        return refuse_item(call, "topic", "must be a string in each item");
    }
    if (!take_i64(json_object_get(item, "partition"), &number)) {
        return refuse_item(call, "partition", "must be a whole number in each item");
    }
    if (want == WANT_OFFSET && (!take_i64(json_object_get(item, "offset"), &out->offset) ||
                                out->offset < 0 || out->offset == INT64_MAX)) {
        return refuse_item(call, "offset", "must be a whole number from 0 on in each item");
    }
    if (want == WANT_TIMESTAMP &&
        !take_time(json_object_get(item, "timestamp"), &out->timestamp_ms)) {
        return refuse_item(call, "timestamp", "must be an ISO 8601 time, or milliseconds");
    }
    struct cluster_topic *topic =
        consumer_topic(call, ria_slice_of(json_string_value(name), json_string_length(name)));
    if (topic == NULL) {
        return false;
    }
    out->partition = consumer_partition(call, topic, number);
    return out->partition != NULL && take_metadata(call, item, out);
}

bool consumer_partitions(
    struct consumer_call *call,
    const json_t *array,
    const char *name,
    consumer_want want,
    struct consumer_at **out_items,
    uint32_t *out_count
)
{
    size_t count = json_array_size(array);
    struct consumer_at *items = ria_arena_alloc_array(&call->request->arena, count, sizeof(*items));

    if (array != NULL && !json_is_array(array)) {
        return refuse_item(call, name, "must be an array of objects");
    }
    if (count > CONSUMER_PARTITIONS_MAX) {
        return refuse_item(call, name, "has too many items");
    }
    if (items == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!take_item(call, json_array_get(array, i), want, &items[i])) {
            return false;
        }
    }
    *out_items = items;
    *out_count = (uint32_t)count;
    return true;
}

/* --- times -------------------------------------------------------------------------------------*/

/* `digits` of them. */
static bool take_digits(struct ria_slice *text, size_t digits, int *out_value)
{
    int value = 0;

    if (text->size < digits) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        if (text->data[i] < '0' || text->data[i] > '9') {
            return false;
        }
        value = value * 10 + (text->data[i] - '0');
    }
    *text = ria_slice_sub(*text, digits, text->size);
    *out_value = value;
    return true;
}

static bool take_char(struct ria_slice *text, const char *any_of)
{
    if (text->size == 0 || text->data[0] == '\0' || strchr(any_of, text->data[0]) == NULL) {
        return false;
    }
    *text = ria_slice_sub(*text, 1, text->size);
    return true;
}

/* Days since 1970-01-01 of the Gregorian calendar (Howard Hinnant, days_from_civil). */
static int64_t days_of(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* ".25", at most nine digits, of which three count. */
static bool take_fraction(struct ria_slice *text, int *out_ms)
{
    int scale = 100;
    size_t digits = 0;

    *out_ms = 0;
    if (!take_char(text, ".,")) {
        return true;
    }
    for (int digit = 0; take_digits(text, 1, &digit); digits++, scale /= 10) {
        *out_ms += digit * scale;
    }
    return digits > 0 && digits <= 9;
}

static bool take_zone(struct ria_slice *text, int *out_minutes)
{
    int hours = 0;
    int minutes = 0;
    bool is_west = text->size > 0 && text->data[0] == '-';

    *out_minutes = 0;
    if (take_char(text, "Zz")) {
        return true;
    }
    if (!take_char(text, "+-") || !take_digits(text, 2, &hours)) {
        return false;
    }
    (void)take_char(text, ":");
    if (!take_digits(text, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *out_minutes = (hours * 60 + minutes) * (is_west ? -1 : 1);
    return true;
}

bool consumer_time_parse(struct ria_slice text, int64_t *out_ms)
{
    int year = 0;
    int month = 0;
    int day = 0;
    int hour = 0;
    int minute = 0;
    int second = 0;
    int ms = 0;
    int zone = 0;

    bool fine =
        take_digits(&text, 4, &year) && take_char(&text, "-") && take_digits(&text, 2, &month) &&
        take_char(&text, "-") && take_digits(&text, 2, &day) && take_char(&text, "Tt ") &&
        take_digits(&text, 2, &hour) && take_char(&text, ":") && take_digits(&text, 2, &minute) &&
        take_char(&text, ":") && take_digits(&text, 2, &second) && take_fraction(&text, &ms) &&
        take_zone(&text, &zone) && text.size == 0;
    if (!fine || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
        second > 60) {
        return false;
    }
    int64_t minutes = days_of(year, month, day) * 1440 + hour * 60 + minute - zone;
    *out_ms = (minutes * 60 + second) * 1000 + ms;
    return *out_ms >= 0;
}
