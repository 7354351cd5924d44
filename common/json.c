#include "common/json.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/json_check.h"
#include "common/utf8.h"

#define JSMN_STATIC
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include <jsmn.h>
#pragma GCC diagnostic pop

enum { JSON_CAPACITY_MIN = 64 };

void ria_json_init(struct ria_json *json)
{
    *json = (struct ria_json){.error_text = ""};
}

void ria_json_fini(struct ria_json *json)
{
    free(json->tokens);
    free(json->scratch);
    ria_json_init(json);
}

static ria_err reserve(struct ria_json *json, uint32_t count)
{
    if (count <= json->capacity) {
        return RIA_OK;
    }
    uint32_t capacity = count < JSON_CAPACITY_MIN ? JSON_CAPACITY_MIN : count;

    /* No content is worth keeping. */
    free(json->tokens);
    free(json->scratch);
    json->capacity = 0;
    json->tokens = calloc(capacity, sizeof(*json->tokens));
    json->scratch = calloc(capacity, sizeof(jsmntok_t));
    if (json->tokens == NULL || json->scratch == NULL) {
        return RIA_ERR_NOMEM;
    }
    json->capacity = capacity;
    return RIA_OK;
}

/* jsmn in strict mode does not know a number or word that stands alone. */
static bool tokenize_scalar(const struct ria_json *json, jsmntok_t *token)
{
    const uint8_t *text = json->text.data;
    size_t start = 0;
    size_t end = json->text.size;

    while (strchr(" \t\r\n", text[start]) != NULL) {
        start++;
    }
    while (strchr(" \t\r\n", text[end - 1]) != NULL) {
        end--;
    }
    if (strchr("{[\"", text[start]) != NULL) {
        return false;
    }
    *token = (jsmntok_t){JSMN_PRIMITIVE, (int)start, (int)end, 0, -1};
    return true;
}

static ria_json_type type_of(const jsmntok_t *token, const uint8_t *text)
{
    if (token->type == JSMN_OBJECT) {
        return RIA_JSON_OBJECT;
    }
    if (token->type == JSMN_ARRAY) {
        return RIA_JSON_ARRAY;
    }
    if (token->type == JSMN_STRING) {
        return RIA_JSON_STRING;
    }
    switch (text[token->start]) {
    case 't':
        return RIA_JSON_TRUE;
    case 'f':
        return RIA_JSON_FALSE;
    case 'n':
        return RIA_JSON_NULL;
    default:
        return RIA_JSON_NUMBER;
    }
}

/* From the last token to the first, so that each subtree's end is known before its root's turn.
 * jsmn hangs a value under its name, and the name under the object. */
static void convert(struct ria_json *json, const jsmntok_t *scratch)
{
    struct ria_json_token *tokens = json->tokens;

    for (uint32_t i = 0; i < json->count; i++) {
        tokens[i].next = i + 1;
    }
    for (uint32_t i = json->count; i-- > 0;) {
        const jsmntok_t *from = &scratch[i];
        if (from->parent >= 0 && tokens[from->parent].next < tokens[i].next) {
            tokens[from->parent].next = tokens[i].next;
        }
        bool is_container = from->type == JSMN_OBJECT || from->type == JSMN_ARRAY;
        tokens[i] = (struct ria_json_token){
            .type = type_of(from, json->text.data),
            .start = (uint32_t)from->start,
            .end = (uint32_t)from->end,
            .children = is_container ? (uint32_t)from->size : 0,
            .next = is_container ? tokens[i].next : i + 1,
        };
    }
}

ria_err ria_json_parse(struct ria_json *json, struct ria_slice text, uint32_t tokens_max)
{
    struct ria_json_check check;
    jsmn_parser parser;

    json->count = 0;
    json->text = text;
    json->error_at = 0;
    json->error_text = "";

    ria_err err = ria_json_check(&check, text, tokens_max, RIA_JSON_DEPTH_MAX);
    if (err != RIA_OK) {
        json->error_at = check.at;
        json->error_text = check.text;
        return err;
    }
    RIA_TRY(reserve(json, check.tokens));

    jsmntok_t *scratch = json->scratch;
    if (check.tokens > 1 || !tokenize_scalar(json, scratch)) {
        jsmn_init(&parser);
        int count = jsmn_parse(&parser, (const char *)text.data, text.size, scratch, check.tokens);
        RIA_ASSERT(count >= 0);
        RIA_ASSERT((uint32_t)count == check.tokens);
    }
    json->count = check.tokens;
    convert(json, scratch);
    return RIA_OK;
}

struct ria_slice ria_json_raw(const struct ria_json *json, uint32_t token)
{
    RIA_ASSERT(token < json->count);

    const struct ria_json_token *t = &json->tokens[token];
    uint32_t quotes = t->type == RIA_JSON_STRING ? 1 : 0;
    return ria_slice_of(json->text.data + t->start - quotes, t->end - t->start + 2 * quotes);
}

/* Unescape the escape at *at (verified), advance behind it. Returns the bytes written, up to 4. */
static size_t unescape_one(const uint8_t **at, uint8_t *out)
{
    static const char names[] = "bfnrt";
    static const char meanings[] = "\b\f\n\r\t";
    const uint8_t *in = *at;

    if (in[1] != 'u') {
        const char *name = strchr(names, in[1]);
        out[0] = name == NULL ? in[1] : (uint8_t)meanings[name - names];
        *at += 2;
        return 1;
    }
    uint32_t code = (uint32_t)ria_json_hex4(in + 2, 4);
    *at += 6;
    if (code >= 0xd800 && code <= 0xdfff) {
        code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)ria_json_hex4(in + 8, 4) - 0xdc00);
        *at += 6;
    }
    return ria_utf8_encode(out, code);
}

/* `out` has room for the escaped size: no escape is shorter than what it stands for. */
static size_t unescape(struct ria_slice escaped, uint8_t *out)
{
    const uint8_t *in = escaped.data;
    const uint8_t *end = in + escaped.size;
    uint8_t *to = out;

    while (in < end) {
        const uint8_t *slash = memchr(in, '\\', (size_t)(end - in));
        size_t plain = (size_t)((slash == NULL ? end : slash) - in);
        memcpy(to, in, plain);
        to += plain;
        in += plain;
        if (slash != NULL) {
            to += unescape_one(&in, to);
        }
    }
    return (size_t)(to - out);
}

static struct ria_slice content(const struct ria_json *json, const struct ria_json_token *token)
{
    return ria_slice_of(json->text.data + token->start, token->end - token->start);
}

static bool is_name(struct ria_slice escaped, struct ria_slice name)
{
    if (memchr(escaped.data, '\\', escaped.size) == NULL) {
        return ria_slice_equal(escaped, name);
    }
    const uint8_t *in = escaped.data;
    const uint8_t *end = in + escaped.size;
    size_t matched = 0;

    while (in < end) {
        uint8_t bytes[4] = {*in};
        size_t n = 1;
        if (*in == '\\') {
            n = unescape_one(&in, bytes);
        } else {
            in++;
        }
        if (n > name.size - matched || memcmp(name.data + matched, bytes, n) != 0) {
            return false;
        }
        matched += n;
    }
    return matched == name.size;
}

int64_t ria_json_member(const struct ria_json *json, uint32_t object, const char *name)
{
    RIA_ASSERT(object < json->count);

    const struct ria_json_token *tokens = json->tokens;
    struct ria_slice wanted = ria_slice_cstr(name);
    int64_t found = RIA_JSON_NONE;

    if (tokens[object].type != RIA_JSON_OBJECT) {
        return RIA_JSON_NONE;
    }
    for (uint32_t i = object + 1; i < tokens[object].next; i = tokens[i + 1].next) {
        if (is_name(content(json, &tokens[i]), wanted)) {
            found = i + 1;
        }
    }
    return found;
}

ria_err ria_json_string(
    const struct ria_json *json, uint32_t token, struct ria_arena *arena, struct ria_slice *out_text
)
{
    RIA_ASSERT(token < json->count);

    if (json->tokens[token].type != RIA_JSON_STRING) {
        return RIA_ERR_INVALID;
    }
    struct ria_slice escaped = content(json, &json->tokens[token]);
    if (memchr(escaped.data, '\\', escaped.size) == NULL) {
        *out_text = escaped;
        return RIA_OK;
    }
    uint8_t *out = ria_arena_alloc(arena, escaped.size);
    if (out == NULL) {
        return ria_arena_err(arena);
    }
    *out_text = ria_slice_of(out, unescape(escaped, out));
    return RIA_OK;
}

ria_err ria_json_i64(const struct ria_json *json, uint32_t token, int64_t *out_value)
{
    RIA_ASSERT(token < json->count);

    if (json->tokens[token].type != RIA_JSON_NUMBER) {
        return RIA_ERR_INVALID;
    }
    struct ria_slice text = content(json, &json->tokens[token]);
    bool negative = text.data[0] == '-';
    int64_t value = 0; /* grows downwards: INT64_MIN has no positive counterpart */

    for (size_t i = negative; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, text.data[i] - '0', &value)) {
            return RIA_ERR_INVALID;
        }
    }
    if (!negative && value == INT64_MIN) {
        return RIA_ERR_INVALID;
    }
    *out_value = negative ? value : -value;
    return RIA_OK;
}

/* The escaped form of the bytes at data; *out_taken of them. */
static struct ria_slice
escape_one(const uint8_t *data, size_t size, uint8_t hex[6], size_t *out_taken)
{
    static const char shorts[] = "\"\\\b\f\n\r\t";
    static const char escapes[] = "\\\"\\\\\\b\\f\\n\\r\\t";
    static const char digits[] = "0123456789abcdef";

    *out_taken = 1;
    if (data[0] >= 0x80) {
        size_t n = ria_utf8_sequence(data, size);
        if (n == 0) {
            return RIA_SLICE_LITERAL("\xef\xbf\xbd"); /* U+FFFD */
        }
        *out_taken = n;
        return ria_slice_of(data, n);
    }
    const char *found = data[0] == '\0' ? NULL : strchr(shorts, data[0]);
    if (found != NULL) {
        return ria_slice_of(escapes + 2 * (found - shorts), 2);
    }
    memcpy(hex, "\\u00", 4);
    hex[4] = (uint8_t)digits[data[0] >> 4];
    hex[5] = (uint8_t)digits[data[0] & 15];
    return ria_slice_of(hex, 6);
}

static ria_err append_escaped(struct ria_buf *buf, struct ria_slice text)
{
    size_t at = 0;

    RIA_TRY(ria_buf_append(buf, "\"", 1));
    while (at < text.size) {
        size_t plain = ria_json_skip_plain(text.data, at, text.size);
        RIA_TRY(ria_buf_append(buf, text.data + at, plain - at));
        at = plain;
        if (at < text.size) {
            uint8_t hex[6];
            size_t taken;
            struct ria_slice escaped = escape_one(text.data + at, text.size - at, hex, &taken);
            RIA_TRY(ria_buf_append(buf, escaped.data, escaped.size));
            at += taken;
        }
    }
    return ria_buf_append(buf, "\"", 1);
}

ria_err ria_json_append_string(struct ria_buf *buf, struct ria_slice text)
{
    size_t size_before = buf->size;
    ria_err err = append_escaped(buf, text);

    if (err != RIA_OK) {
        buf->size = size_before;
    }
    return err;
}
