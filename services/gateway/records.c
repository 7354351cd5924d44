#include "services/gateway/records.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/base64.h"

#include "services/gateway/deliver_at.h"
#include "services/gateway/record_parse.h"

enum {
    SET_CAPACITY_MIN = 64,
    SET_CAPACITY_KEPT = 16 * 1024,
    SET_BYTES_KEPT = 1024 * 1024,
    SET_TOKENS_KEPT = 64 * 1024,
    SET_ARENA_MAX = 64 * 1024 * 1024,
    MEMBER_SHOWN_MAX = 100,
};

void record_set_init(struct record_set *set)
{
    *set = (struct record_set){.count = 0};
    ria_json_init(&set->json);
    ria_arena_init(&set->arena, SET_ARENA_MAX);
    ria_buf_init(&set->bytes, SET_ARENA_MAX);
}

void record_set_fini(struct record_set *set)
{
    free(set->records);
    ria_json_fini(&set->json);
    ria_arena_fini(&set->arena);
    ria_buf_fini(&set->bytes);
}

void record_set_reset(struct record_set *set)
{
    set->count = 0;
    ria_arena_reset(&set->arena);
    ria_buf_clear(&set->bytes);
    if (set->capacity > SET_CAPACITY_KEPT) {
        free(RIA_STEAL(&set->records));
        set->capacity = 0;
    }
    if (set->bytes.capacity > SET_BYTES_KEPT) {
        ria_buf_fini(&set->bytes);
        ria_buf_init(&set->bytes, SET_ARENA_MAX);
    }
    if (set->json.capacity > SET_TOKENS_KEPT) {
        ria_json_fini(&set->json);
        ria_json_init(&set->json);
    }
}

void record_no_memory(struct failure *failure)
{
    failure_of_write(failure, RIA_ERR_NOMEM, "");
}

struct produce_record *record_set_add(struct record_set *set, struct failure *failure)
{
    if (set->count == RECORDS_MAX) {
        failure_set(
            failure, 413, "too_many_records", NULL, "a request may carry %d records", RECORDS_MAX
        );
        return NULL;
    }
    if (set->count == set->capacity) {
        uint32_t capacity = set->capacity == 0 ? SET_CAPACITY_MIN : set->capacity * 2;
        struct produce_record *records = realloc(set->records, capacity * sizeof(*records));
        if (records == NULL) {
            record_no_memory(failure);
            return NULL;
        }
        set->records = records;
        set->capacity = capacity;
    }
    struct produce_record *record = &set->records[set->count++];
    *record = (struct produce_record){.timestamp_ms = -1, .partition = -1};
    return record;
}

/* --- shared by the formats ---------------------------------------------------------------------*/

static size_t position(const struct record_set *set, uint32_t token)
{
    const uint8_t *at = set->json.text.data + set->json.tokens[token].start;

    return (size_t)(at - set->body.data);
}

bool record_wrong(
    const struct record_set *set,
    uint32_t token,
    const char *field,
    struct failure *failure,
    const char *rule
)
{
    failure_set(
        failure,
        422,
        "invalid_record",
        field,
        "record %u: %s %s (byte %zu of the body)",
        set->count == 0 ? 0 : set->count - 1,
        field,
        rule,
        position(set, token)
    );
    failure->outcome = OUTCOME_NOT_STORED;
    return false;
}

/* A member that is none of those that are allowed here. */
bool record_unknown_member(
    const struct record_set *set, uint32_t name, const char *allowed, struct failure *failure
)
{
    struct ria_slice raw = ria_slice_sub(ria_json_raw(&set->json, name), 0, MEMBER_SHOWN_MAX);

    failure_set(
        failure,
        422,
        "invalid_record",
        NULL,
        "there is no member " RIA_SLICE_FMT " here (byte %zu of the body); there are: %s",
        RIA_SLICE_ARG(raw),
        position(set, name),
        allowed
    );
    failure->outcome = OUTCOME_NOT_STORED;
    return false;
}

bool record_parse_json(struct record_set *set, struct ria_slice text, struct failure *failure)
{
    ria_err err = ria_json_parse(&set->json, text, RECORDS_TOKENS_MAX);

    if (err == RIA_OK) {
        return true;
    }
    if (err == RIA_ERR_NOMEM) {
        record_no_memory(failure);
        return false;
    }
    size_t at = (size_t)(text.data - set->body.data) + set->json.error_at;
    failure_set(
        failure,
        err == RIA_ERR_LIMIT ? 413 : 422,
        err == RIA_ERR_LIMIT ? "too_large" : "malformed_json",
        NULL,
        "the body is not acceptable JSON: %s at byte %zu",
        set->json.error_text,
        at
    );
    failure->outcome = OUTCOME_NOT_STORED;
    return false;
}

ria_json_type record_type(const struct record_set *set, uint32_t token)
{
    return set->json.tokens[token].type;
}

/* The bytes a base64 string stands for. */
bool record_base64(
    struct record_set *set,
    uint32_t token,
    const char *field,
    struct ria_slice *out,
    struct failure *failure
)
{
    struct ria_slice text;
    size_t size = 0;

    if (ria_json_string(&set->json, token, &set->arena, &text) != RIA_OK) {
        return record_wrong(set, token, field, failure, "must be a base64 string");
    }
    uint8_t *to = set->bytes.data + set->bytes.size;
    RIA_ASSERT(text.size / 4 * 3 <= set->bytes.capacity - set->bytes.size);
    if (ria_base64_decode(to, text, &size) != RIA_OK) {
        return record_wrong(set, token, field, failure, "is not base64 with padding");
    }
    set->bytes.size += size;
    *out = ria_slice_of(to, size);
    return true;
}

/* Room for all base64 of a body: decoding only shrinks. */
bool record_begin_body(struct record_set *set, struct ria_slice body, struct failure *failure)
{
    record_set_reset(set);
    set->body = body;
    if (ria_buf_reserve(&set->bytes, body.size + 1) != RIA_OK) {
        record_no_memory(failure);
        return false;
    }
    return true;
}

bool record_partition(
    struct record_set *set, uint32_t token, struct produce_record *record, struct failure *failure
)
{
    int64_t number = 0;

    if (record_type(set, token) == RIA_JSON_NULL) {
        return true;
    }
    if (ria_json_i64(&set->json, token, &number) != RIA_OK || number < 0 || number > INT32_MAX) {
        return record_wrong(set, token, "partition", failure, "must be an integer from 0 on");
    }
    record->partition = (int32_t)number;
    return true;
}

bool record_name_is(const struct record_set *set, uint32_t token, const char *name)
{
    struct ria_slice raw = ria_json_raw(&set->json, token);

    return raw.size == strlen(name) + 2 && memcmp(raw.data + 1, name, raw.size - 2) == 0;
}

bool record_has_deliver_at(const struct produce_record *record)
{
    for (uint32_t i = 0; i < record->header_count; i++) {
        if (ria_slice_equal(record->headers[i].name, RIA_SLICE_LITERAL(DELIVER_AT_HEADER))) {
            return true;
        }
    }
    return false;
}

bool record_set_deliver_at(
    struct record_set *set, struct produce_record *record, int64_t at_ms, struct failure *failure
)
{
    uint32_t count = record->header_count;
    struct batch_record_header *headers =
        ria_arena_alloc_array(&set->arena, (size_t)count + 1, sizeof(*headers));

    if (headers == NULL || !deliver_at_header(&set->arena, at_ms, &headers[count])) {
        record_no_memory(failure);
        return false;
    }
    if (count > 0) {
        memcpy(headers, record->headers, count * sizeof(*headers));
    }
    record->headers = headers;
    record->header_count = count + 1;
    return true;
}
