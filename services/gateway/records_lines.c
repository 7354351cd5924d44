/* Bodies of lines: NDJSON. */
#include <string.h>

#include "common/limits.h"

#include "services/gateway/deliver_at.h"
#include "services/gateway/record_parse.h"

typedef enum encoding { ENCODING_DEFAULT, ENCODING_JSON, ENCODING_TEXT, ENCODING_BASE64 } encoding;

/* Where the members of one line's object are; 0 = absent (0 is the object itself). */
struct line {
    uint32_t key;
    uint32_t value;
    uint32_t headers;
    uint32_t deliver_at;
    encoding key_encoding;
    encoding value_encoding;
};

static bool
take_encoding(struct record_set *set, uint32_t token, encoding *out, struct failure *failure)
{
    if (record_name_is(set, token, "json")) {
        *out = ENCODING_JSON;
    } else if (record_name_is(set, token, "text")) {
        *out = ENCODING_TEXT;
    } else if (record_name_is(set, token, "base64")) {
        *out = ENCODING_BASE64;
    } else {
        return record_wrong(
            set, token, "encoding", failure, "must be \"json\", \"text\" or \"base64\""
        );
    }
    return true;
}

/* Bytes of a key or value in its encoding. Null is null in each. */
static bool take_bytes(
    struct record_set *set,
    uint32_t token,
    encoding how,
    const char *field,
    struct ria_slice *out,
    struct failure *failure
)
{
    if (record_type(set, token) == RIA_JSON_NULL) {
        *out = RIA_SLICE_NULL;
        return true;
    }
    if (how == ENCODING_BASE64) {
        return record_base64(set, token, field, out, failure);
    }
    if (how == ENCODING_JSON) {
        *out = ria_json_raw(&set->json, token);
        return true;
    }
    ria_err err = ria_json_string(&set->json, token, &set->arena, out);
    if (err == RIA_ERR_INVALID) {
        return record_wrong(set, token, field, failure, "must be a string in this encoding");
    }
    if (err != RIA_OK) {
        record_no_memory(failure);
    }
    return err == RIA_OK;
}

/* A key's text: a string's content, or the JSON text of anything else. */
static bool take_key(
    struct record_set *set,
    uint32_t token,
    encoding how,
    struct ria_slice *out,
    struct failure *failure
)
{
    if (how == ENCODING_DEFAULT) {
        how = record_type(set, token) == RIA_JSON_STRING ? ENCODING_TEXT : ENCODING_JSON;
    }
    return take_bytes(set, token, how, "key", out, failure);
}

static bool take_timestamp(
    struct record_set *set, uint32_t token, struct produce_record *record, struct failure *failure
)
{
    if (record_type(set, token) == RIA_JSON_NULL) {
        return true;
    }
    if (ria_json_i64(&set->json, token, &record->timestamp_ms) != RIA_OK ||
        record->timestamp_ms < 0) {
        return record_wrong(set, token, "timestamp", failure, "must be milliseconds since 1970");
    }
    return true;
}

/* A string, null, or {"base64":"..."}. */
static bool take_header_value(
    struct record_set *set, uint32_t token, struct ria_slice *out, struct failure *failure
)
{
    const struct ria_json_token *tokens = set->json.tokens;

    if (tokens[token].type == RIA_JSON_OBJECT && tokens[token].children == 1 &&
        record_name_is(set, token + 1, "base64")) {
        return record_base64(set, token + 2, "headers", out, failure);
    }
    if (tokens[token].type != RIA_JSON_NULL && tokens[token].type != RIA_JSON_STRING) {
        return record_wrong(
            set, token, "headers", failure, "has a value that is no string, null or {\"base64\":..}"
        );
    }
    return take_bytes(set, token, ENCODING_TEXT, "headers", out, failure);
}

static bool add_header(
    struct record_set *set,
    struct produce_record *record,
    struct batch_record_header *headers,
    uint32_t name,
    uint32_t value,
    struct failure *failure
)
{
    if (record->header_count == RIA_RECORD_HEADERS_MAX) {
        return record_wrong(set, name, "headers", failure, "has more than 256 entries");
    }
    struct batch_record_header *header = &headers[record->header_count++];
    if (!take_bytes(set, name, ENCODING_TEXT, "headers", &header->name, failure) ||
        !take_header_value(set, value, &header->value, failure)) {
        return false;
    }
    bool is_time = ria_slice_equal(header->name, RIA_SLICE_LITERAL(DELIVER_AT_HEADER));
    const char *rule = is_time ? deliver_at_rule(header->value, set->deliver_at_max) : NULL;
    return rule == NULL || record_wrong(set, value, "headers." DELIVER_AT_HEADER, failure, rule);
}

static bool take_headers(
    struct record_set *set, uint32_t object, struct produce_record *record, struct failure *failure
)
{
    const struct ria_json_token *tokens = set->json.tokens;
    bool fine = true;

    if (tokens[object].type == RIA_JSON_NULL) {
        return true;
    }
    if (tokens[object].type != RIA_JSON_OBJECT) {
        return record_wrong(set, object, "headers", failure, "must be an object");
    }
    /* No more headers than tokens. */
    uint32_t room = tokens[object].next - object;
    room = room < RIA_RECORD_HEADERS_MAX ? room : RIA_RECORD_HEADERS_MAX;
    struct batch_record_header *headers =
        ria_arena_alloc_array(&set->arena, room, sizeof(*headers));
    if (headers == NULL) {
        record_no_memory(failure);
        return false;
    }
    for (uint32_t i = object + 1; fine && i < tokens[object].next; i = tokens[i + 1].next) {
        if (tokens[i + 1].type != RIA_JSON_ARRAY) {
            fine = add_header(set, record, headers, i, i + 1, failure);
            continue;
        }
        for (uint32_t v = i + 2; fine && v < tokens[i + 1].next; v = tokens[v].next) {
            fine = add_header(set, record, headers, i, v, failure);
        }
    }
    record->headers = headers;
    return fine;
}

/* Milliseconds since 1970, or RFC 3339. */
static bool take_deliver_at(
    struct record_set *set, uint32_t token, struct produce_record *record, struct failure *failure
)
{
    struct ria_slice text = RIA_SLICE_NULL;
    int64_t at_ms = -1;

    if (record_type(set, token) == RIA_JSON_NULL) {
        return true;
    }
    if (record_type(set, token) == RIA_JSON_STRING) {
        if (ria_json_string(&set->json, token, &set->arena, &text) != RIA_OK ||
            !deliver_at_parse(text, &at_ms)) {
            at_ms = -1;
        }
    } else if (ria_json_i64(&set->json, token, &at_ms) != RIA_OK) {
        at_ms = -1;
    }
    if (at_ms < 0) {
        return record_wrong(
            set, token, "deliver_at", failure, "must be a time (RFC 3339), or ms since 1970"
        );
    }
    if (at_ms > set->deliver_at_max) {
        return record_wrong(set, token, "deliver_at", failure, "may be at most 30 days ahead");
    }
    return record_set_deliver_at(set, record, at_ms, failure);
}

static bool find_members(
    struct record_set *set,
    struct line *line,
    struct produce_record *record,
    struct failure *failure
)
{
    const struct ria_json_token *tokens = set->json.tokens;
    bool fine = true;

    if (tokens[0].type != RIA_JSON_OBJECT) {
        return record_wrong(set, 0, "line", failure, "must be {\"key\":..,\"value\":..,..}");
    }
    for (uint32_t i = 1; fine && i < tokens[0].next; i = tokens[i + 1].next) {
        if (record_name_is(set, i, "key")) {
            line->key = i + 1;
        } else if (record_name_is(set, i, "value")) {
            line->value = i + 1;
        } else if (record_name_is(set, i, "headers")) {
            line->headers = i + 1;
        } else if (record_name_is(set, i, "deliver_at")) {
            line->deliver_at = i + 1;
        } else if (record_name_is(set, i, "timestamp")) {
            fine = take_timestamp(set, i + 1, record, failure);
        } else if (record_name_is(set, i, "partition")) {
            fine = record_partition(set, i + 1, record, failure);
        } else if (record_name_is(set, i, "key_encoding")) {
            fine = take_encoding(set, i + 1, &line->key_encoding, failure);
        } else if (record_name_is(set, i, "value_encoding")) {
            fine = take_encoding(set, i + 1, &line->value_encoding, failure);
        } else if (!record_name_is(set, i, "offset")) {
            fine = record_unknown_member(
                set,
                i,
                "key value headers timestamp deliver_at partition key_encoding value_encoding (to "
                "store "
                "whole lines as values, add ?lines=value or ?key=MEMBER to the path)",
                failure
            );
        }
    }
    return fine;
}

static bool parse_record_line(struct record_set *set, struct failure *failure)
{
    struct produce_record *record = record_set_add(set, failure);
    struct line line = {.value_encoding = ENCODING_JSON};

    if (record == NULL || !find_members(set, &line, record, failure)) {
        return false;
    }
    if (line.value == 0) {
        return record_wrong(set, 0, "value", failure, "is missing (null deletes a key)");
    }
    return take_bytes(set, line.value, line.value_encoding, "value", &record->value, failure) &&
           (line.key == 0 || take_key(set, line.key, line.key_encoding, &record->key, failure)) &&
           (line.headers == 0 || take_headers(set, line.headers, record, failure)) &&
           (line.deliver_at == 0 || take_deliver_at(set, line.deliver_at, record, failure));
}

static bool parse_value_line(struct record_set *set, const char *key_field, struct failure *failure)
{
    struct produce_record *record = record_set_add(set, failure);

    if (record == NULL) {
        return false;
    }
    record->value = ria_json_raw(&set->json, 0);
    if (key_field == NULL) {
        return true;
    }
    int64_t key = ria_json_member(&set->json, 0, key_field);
    if (key == RIA_JSON_NONE) {
        return record_wrong(set, 0, "key", failure, "names a member that this line has not");
    }
    return take_key(set, (uint32_t)key, ENCODING_DEFAULT, &record->key, failure);
}

static bool is_blank(struct ria_slice line)
{
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r') {
            return false;
        }
    }
    return true;
}

bool records_parse_ndjson(
    struct record_set *set,
    struct ria_slice body,
    bool value_lines,
    const char *key_field,
    struct failure *failure
)
{
    if (!record_begin_body(set, body, failure)) {
        return false;
    }
    for (size_t at = 0; at < body.size;) {
        const uint8_t *end = memchr(body.data + at, '\n', body.size - at);
        size_t size = end == NULL ? body.size - at : (size_t)(end - (body.data + at));
        struct ria_slice line = ria_slice_sub(body, at, size);

        at += size + 1;
        if (is_blank(line)) {
            continue;
        }
        bool fine = record_parse_json(set, line, failure) &&
                    (value_lines ? parse_value_line(set, key_field, failure)
                                 : parse_record_line(set, failure));
        if (!fine) {
            return false;
        }
    }
    if (set->count == 0) {
        failure_set(failure, 422, "invalid", NULL, "the body has no lines");
        return false;
    }
    return true;
}
