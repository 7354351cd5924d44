/* Bodies of Confluent's REST Proxy v2. */
#include "services/gateway/record_parse.h"

static bool take_v2_value(
    struct record_set *set,
    uint32_t token,
    const char *field,
    record_format format,
    struct ria_slice *out,
    struct failure *failure
)
{
    if (record_type(set, token) == RIA_JSON_NULL) {
        *out = RIA_SLICE_NULL;
        return true;
    }
    if (format == RECORD_JSON) {
        *out = ria_json_raw(&set->json, token);
        return true;
    }
    return record_base64(set, token, field, out, failure);
}

static bool parse_v2_record(
    struct record_set *set,
    uint32_t object,
    record_format format,
    bool may_name_partition,
    struct failure *failure
)
{
    const struct ria_json_token *tokens = set->json.tokens;
    struct produce_record *record = record_set_add(set, failure);
    bool fine = record != NULL;

    if (fine && tokens[object].type != RIA_JSON_OBJECT) {
        return record_wrong(set, object, "records", failure, "must be an array of objects");
    }
    for (uint32_t i = object + 1; fine && i < tokens[object].next; i = tokens[i + 1].next) {
        if (record_name_is(set, i, "value")) {
            fine = take_v2_value(set, i + 1, "value", format, &record->value, failure);
        } else if (record_name_is(set, i, "key")) {
            fine = take_v2_value(set, i + 1, "key", format, &record->key, failure);
        } else if (record_name_is(set, i, "partition") && may_name_partition) {
            fine = record_partition(set, i + 1, record, failure);
        } else if (record_name_is(set, i, "partition")) {
            fine = record_wrong(set, i, "partition", failure, "is given by the path");
        } else {
            fine = record_unknown_member(set, i, "key value partition", failure);
        }
    }
    return fine;
}

/* The members beside "records" that Confluent's clients may send: schemas, which we have not. */
static bool is_schema_member(const struct record_set *set, uint32_t name)
{
    return record_name_is(set, name, "key_schema") || record_name_is(set, name, "key_schema_id") ||
           record_name_is(set, name, "value_schema") ||
           record_name_is(set, name, "value_schema_id");
}

static bool find_records(struct record_set *set, uint32_t *out_array, struct failure *failure)
{
    const struct ria_json_token *tokens = set->json.tokens;
    uint32_t array = 0;

    if (tokens[0].type != RIA_JSON_OBJECT) {
        failure_set(failure, 422, "invalid", "records", "the body must be {\"records\":[...]}");
        return false;
    }
    for (uint32_t i = 1; i < tokens[0].next; i = tokens[i + 1].next) {
        if (record_name_is(set, i, "records")) {
            array = i + 1;
        } else if (!is_schema_member(set, i)) {
            return record_unknown_member(set, i, "records", failure);
        } else if (tokens[i + 1].type != RIA_JSON_NULL) {
            return record_wrong(set, i, "schema", failure, "is given, and this format has none");
        }
    }
    if (array == 0 || tokens[array].type != RIA_JSON_ARRAY || tokens[array].children == 0) {
        failure_set(
            failure, 422, "invalid", "records", "records must be an array of at least one record"
        );
        return false;
    }
    *out_array = array;
    return true;
}

bool records_parse_v2(
    struct record_set *set,
    struct ria_slice body,
    record_format format,
    bool may_name_partition,
    struct failure *failure
)
{
    uint32_t array = 0;

    if (!record_begin_body(set, body, failure) || !record_parse_json(set, body, failure) ||
        !find_records(set, &array, failure)) {
        return false;
    }
    const struct ria_json_token *tokens = set->json.tokens;
    for (uint32_t i = array + 1; i < tokens[array].next; i = tokens[i].next) {
        if (!parse_v2_record(set, i, format, may_name_partition, failure)) {
            return false;
        }
    }
    return true;
}
