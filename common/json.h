/* json: strict RFC 8259 over the jsmn tokenizer, for bodies whose values pass through untouched.
 *
 * ria_json_check() first verifies the whole text (grammar, control characters, UTF-8, one value
 * only, depth and number of tokens); then jsmn finds the tokens. In this order, because jsmn lets
 * much pass that is not JSON and needs quadratic time on hostile text (deep nesting, chains of
 * colons); on a verified text it is linear and cannot fail. Nothing is copied: a token is a range
 * of the text. Documents that are built or changed use jansson instead.
 *
 * The tokens stand in the order of the text. A member is two tokens: its name (a string whose
 * `next` is its value) and its value.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

typedef enum ria_json_type {
    RIA_JSON_OBJECT,
    RIA_JSON_ARRAY,
    RIA_JSON_STRING,
    RIA_JSON_NUMBER,
    RIA_JSON_TRUE,
    RIA_JSON_FALSE,
    RIA_JSON_NULL,
} ria_json_type;

struct ria_json_token {
    ria_json_type type;
    uint32_t start;    /* first byte; of a string: the byte behind the quote */
    uint32_t end;      /* behind the last byte; of a string: the closing quote */
    uint32_t children; /* object: members; array: elements */
    uint32_t next;     /* index of the first token behind this value's subtree */
};

enum { RIA_JSON_DEPTH_MAX = 32, RIA_JSON_NONE = -1 };

struct ria_json {
    struct ria_slice text;
    struct ria_json_token *tokens; /* tokens[0] is the root */
    uint32_t count;
    uint32_t capacity;
    void *scratch;          /* the tokenizer's own tokens, kept between parses */
    size_t error_at;        /* byte offset, after RIA_ERR_MALFORMED */
    const char *error_text; /* static; after RIA_ERR_MALFORMED or RIA_ERR_LIMIT */
};

void ria_json_init(struct ria_json *json);
void ria_json_fini(struct ria_json *json);

/* Borrows text until the next parse. Token memory is reused between parses.
 * Errors: RIA_ERR_MALFORMED, RIA_ERR_LIMIT (tokens_max or depth), RIA_ERR_NOMEM. */
ria_err
ria_json_parse(struct ria_json *json, struct ria_slice text, uint32_t tokens_max) RIA_MUST_USE;

/* The value's exact bytes as they stand in the text (a string with its quotes). */
struct ria_slice ria_json_raw(const struct ria_json *json, uint32_t token);

/* Index of the value of member `name` of an object, RIA_JSON_NONE if absent or not an object. The
 * last one wins if a name repeats. Names are compared after unescaping. */
int64_t ria_json_member(const struct ria_json *json, uint32_t object, const char *name);

/* A string's content, unescaped. Without escapes the slice points into the text, otherwise into the
 * arena. Errors: RIA_ERR_INVALID if it is no string, RIA_ERR_NOMEM or RIA_ERR_LIMIT of the arena.
 */
ria_err ria_json_string(
    const struct ria_json *json, uint32_t token, struct ria_arena *arena, struct ria_slice *out_text
) RIA_MUST_USE;

/* Errors: RIA_ERR_INVALID if it is no integer in range; 1.0 and 1e3 are none. */
ria_err ria_json_i64(const struct ria_json *json, uint32_t token, int64_t *out_value) RIA_MUST_USE;

/* Append `text` as a JSON string with quotes; each byte that is not UTF-8 becomes U+FFFD.
 * Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT (nothing is appended). */
struct ria_buf;
ria_err ria_json_append_string(struct ria_buf *buf, struct ria_slice text) RIA_MUST_USE;
