/* json_fuzz: any bytes as a JSON text, and jansson's opinion on them.
 *
 * Tokens lie inside the text and inside each other, in order; every accessor works on every token;
 * a string written again parses to itself. ria_json_parse() and jansson accept the same texts,
 * except for what is jansson's own limit: it refuses numbers outside int64 and double, and member
 * names with a NUL, and it overlooks a NUL byte behind a number or word; and for ours, on depth.
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/json.h"

enum { FUZZ_TOKENS_MAX = 1 << 20, FUZZ_ARENA_LIMIT = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Jansson's value that a token stands for is compared as far as it is cheap: type and size. */
static void check_same(const struct ria_json_token *token, const json_t *value)
{
    switch (token->type) {
    case RIA_JSON_OBJECT:
        RIA_ASSERT(json_is_object(value));
        RIA_ASSERT(json_object_size(value) <= token->children); /* names may repeat */
        break;
    case RIA_JSON_ARRAY:
        RIA_ASSERT(json_array_size(value) == token->children);
        break;
    case RIA_JSON_STRING:
        RIA_ASSERT(json_is_string(value));
        break;
    case RIA_JSON_NUMBER:
        RIA_ASSERT(json_is_number(value));
        break;
    case RIA_JSON_TRUE:
        RIA_ASSERT(json_is_true(value));
        break;
    case RIA_JSON_FALSE:
        RIA_ASSERT(json_is_false(value));
        break;
    case RIA_JSON_NULL:
        RIA_ASSERT(json_is_null(value));
        break;
    }
}

static void check_string(const struct ria_json *json, uint32_t token, const json_t *value)
{
    struct ria_json again;
    struct ria_arena arena;
    struct ria_buf buf;
    struct ria_slice text, text_again;

    ria_json_init(&again);
    ria_arena_init(&arena, FUZZ_ARENA_LIMIT);
    ria_buf_init(&buf, FUZZ_ARENA_LIMIT);
    RIA_ASSERT(ria_json_string(json, token, &arena, &text) == RIA_OK);
    if (value != NULL) {
        struct ria_slice theirs = ria_slice_of(json_string_value(value), json_string_length(value));
        RIA_ASSERT(ria_slice_equal(text, theirs));
    }
    RIA_ASSERT(ria_json_append_string(&buf, text) == RIA_OK);
    RIA_ASSERT(ria_json_parse(&again, ria_buf_slice(&buf), 1) == RIA_OK);
    RIA_ASSERT(ria_json_string(&again, 0, &arena, &text_again) == RIA_OK);
    RIA_ASSERT(ria_slice_equal(text, text_again));
    ria_buf_fini(&buf);
    ria_arena_fini(&arena);
    ria_json_fini(&again);
}

/* The value at `token` and everything in it; returns the first token behind. value NULL: jansson
 * has no opinion. */
static uint32_t check_value(const struct ria_json *json, uint32_t token, const json_t *value)
{
    const struct ria_json_token *t = &json->tokens[token];
    struct ria_slice raw = ria_json_raw(json, token);
    uint32_t next = token + 1;
    int64_t integer;

    RIA_ASSERT(raw.data >= json->text.data);
    RIA_ASSERT(raw.data + raw.size <= json->text.data + json->text.size);
    if (value != NULL) {
        check_same(t, value);
    }
    ria_err err = ria_json_i64(json, token, &integer);
    if (value != NULL && json_is_integer(value)) {
        RIA_ASSERT(err == RIA_OK);
        RIA_ASSERT(integer == json_integer_value(value));
    }
    if (t->type == RIA_JSON_STRING) {
        check_string(json, token, value);
    }
    for (uint32_t i = 0; t->type == RIA_JSON_ARRAY && i < t->children; i++) {
        RIA_ASSERT(json->tokens[next].start >= t->start && json->tokens[next].end < t->end);
        next = check_value(json, next, value == NULL ? NULL : json_array_get(value, i));
    }
    for (uint32_t i = 0; t->type == RIA_JSON_OBJECT && i < t->children; i++) {
        RIA_ASSERT(json->tokens[next].type == RIA_JSON_STRING);
        RIA_ASSERT(json->tokens[next].next == next + 1);
        RIA_ASSERT(json->tokens[next + 1].start > json->tokens[next].end);
        check_string(json, next, NULL);
        next = check_value(json, next + 1, NULL);
    }
    RIA_ASSERT(next == t->next);
    return next;
}

/* Each of jansson's members is found, with the same value (of repeated names both keep the last).
 */
static void check_members(const struct ria_json *json, const json_t *object)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        int64_t token = ria_json_member(json, 0, name);
        RIA_ASSERT(token > 0);
        (void)check_value(json, (uint32_t)token, value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ria_json json;
    json_error_t error;

    ria_json_init(&json);
    ria_err err = ria_json_parse(&json, ria_slice_of(data, size), FUZZ_TOKENS_MAX);
    json_t *theirs = json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

    if (err == RIA_OK) {
        RIA_ASSERT(check_value(&json, 0, theirs) == json.count);
        (void)ria_json_member(&json, 0, "a");
        if (theirs == NULL) {
            enum json_error_code code = json_error_code(&error);
            RIA_ASSERT(code == json_error_numeric_overflow || code == json_error_null_byte_in_key);
        } else if (json_is_object(theirs)) {
            check_members(&json, theirs);
        }
    } else {
        RIA_ASSERT(json.error_at <= size);
        RIA_ASSERT(json.error_text[0] != '\0');
        bool has_nul = size > 0 && memchr(data, '\0', size) != NULL;
        RIA_ASSERT(theirs == NULL || err == RIA_ERR_LIMIT || has_nul);
    }
    json_decref(theirs);
    ria_json_fini(&json);
    return 0;
}
