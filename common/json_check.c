#include "common/json_check.h"

#include <limits.h>
#include <string.h>

#include "common/assert.h"
#include "common/utf8.h"

enum { CHECK_DEPTH_LIMIT = 32 };

typedef enum expectation {
    EXPECT_VALUE,
    EXPECT_FIRST_ELEMENT, /* or ] */
    EXPECT_FIRST_NAME,    /* or } */
    EXPECT_NAME,
    EXPECT_END, /* of the value: a comma, a bracket or, outside everything, the end of the text */
} expectation;

struct scan {
    const uint8_t *data;
    size_t size;
    size_t at; /* the next byte */
    ria_err err;
    const char *why;
    uint32_t tokens;
    uint32_t tokens_max;
    unsigned depth;
    unsigned depth_max;
    uint64_t objects; /* bit d: the container at depth d is an object */
};

static bool fail(struct scan *scan, const char *why)
{
    scan->err = RIA_ERR_MALFORMED;
    scan->why = why;
    return false;
}

static bool fail_limit(struct scan *scan, const char *why)
{
    scan->err = RIA_ERR_LIMIT;
    scan->why = why;
    return false;
}

/* The next byte, -1 at the end. */
static int peek(const struct scan *scan)
{
    return scan->at < scan->size ? scan->data[scan->at] : -1;
}

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->size) {
        uint8_t c = scan->data[scan->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
            return;
        }
        scan->at++;
    }
}

static bool count_token(struct scan *scan)
{
    if (scan->tokens == scan->tokens_max) {
        return fail_limit(scan, "too many values");
    }
    scan->tokens++;
    return true;
}

/* Eight at a time; each test below sets the top bit of the bytes it means (and perhaps of bytes
 * above them, which the search for the lowest one does not see). */
size_t ria_json_skip_plain(const uint8_t *data, size_t at, size_t size)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = ones * 0x80;

    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the lowest byte is the first");

    for (; size - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t v;
        memcpy(&v, data + at, sizeof(v));
        uint64_t quotes = v ^ (ones * '"');
        uint64_t slashes = v ^ (ones * '\\');
        uint64_t controls = (v - ones * 0x20) & ~v;
        uint64_t found =
            (controls | ((quotes - ones) & ~quotes) | ((slashes - ones) & ~slashes) | v) & tops;
        if (found != 0) {
            return at + (size_t)__builtin_ctzll(found) / 8;
        }
    }
    for (; at < size; at++) {
        uint8_t c = data[at];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') {
            break;
        }
    }
    return at;
}

int32_t ria_json_hex4(const uint8_t *data, size_t size)
{
    int32_t code = 0;

    if (size < 4) {
        return -1;
    }
    for (size_t i = 0; i < 4; i++) {
        uint8_t c = data[i];
        uint8_t lower = c | 0x20;
        if (c >= '0' && c <= '9') {
            code = code * 16 + (c - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            code = code * 16 + (lower - 'a' + 10);
        } else {
            return -1;
        }
    }
    return code;
}

/* At a backslash, which stays the place of the error. */
static bool check_escape(struct scan *scan)
{
    size_t left = scan->size - scan->at;
    const uint8_t *data = scan->data + scan->at;

    if (left < 2) {
        return fail(scan, "invalid escape");
    }
    if (data[1] != 'u') {
        if (data[1] == '\0' || strchr("\"\\/bfnrt", data[1]) == NULL) {
            return fail(scan, "invalid escape");
        }
        scan->at += 2;
        return true;
    }
    int32_t code = ria_json_hex4(data + 2, left - 2);
    if (code < 0) {
        return fail(scan, "invalid escape");
    }
    if (code < 0xd800 || code > 0xdfff) {
        scan->at += 6;
        return true;
    }
    if (code > 0xdbff || left < 12 || data[6] != '\\' || data[7] != 'u') {
        return fail(scan, "surrogate without its pair");
    }
    int32_t low = ria_json_hex4(data + 8, left - 8);
    if (low < 0xdc00 || low > 0xdfff) {
        return fail(scan, "surrogate without its pair");
    }
    scan->at += 12;
    return true;
}

/* At the opening quote. */
static bool check_string(struct scan *scan)
{
    scan->at++;
    for (;;) {
        scan->at = ria_json_skip_plain(scan->data, scan->at, scan->size);
        int c = peek(scan);
        if (c < 0) {
            return fail(scan, "string without an end");
        }
        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c == '\\') {
            if (!check_escape(scan)) {
                return false;
            }
        } else if (c < 0x20) {
            return fail(scan, "control character in a string");
        } else {
            /* Text in other scripts comes in runs: stay here as long as it lasts. */
            do {
                size_t n = ria_utf8_sequence(scan->data + scan->at, scan->size - scan->at);
                if (n == 0) {
                    return fail(scan, "invalid UTF-8");
                }
                scan->at += n;
            } while (peek(scan) >= 0x80);
        }
    }
}

static bool check_digits(struct scan *scan)
{
    size_t start = scan->at;

    while (scan->at < scan->size && scan->data[scan->at] >= '0' && scan->data[scan->at] <= '9') {
        scan->at++;
    }
    return scan->at > start ? true : fail(scan, "invalid number");
}

static bool check_number(struct scan *scan)
{
    scan->at += peek(scan) == '-';
    if (peek(scan) == '0') {
        scan->at++;
        if (peek(scan) >= '0' && peek(scan) <= '9') {
            return fail(scan, "number with a leading zero");
        }
    } else if (!check_digits(scan)) {
        return false;
    }
    if (peek(scan) == '.') {
        scan->at++;
        if (!check_digits(scan)) {
            return false;
        }
    }
    if (peek(scan) == 'e' || peek(scan) == 'E') {
        scan->at++;
        scan->at += peek(scan) == '+' || peek(scan) == '-';
        return check_digits(scan);
    }
    return true;
}

static bool check_word(struct scan *scan, const char *word)
{
    for (; *word != '\0'; word++, scan->at++) {
        if (peek(scan) != *word) {
            return fail(scan, "expected a value");
        }
    }
    return true;
}

static bool open_container(struct scan *scan, bool is_object)
{
    if (scan->depth == scan->depth_max) {
        return fail_limit(scan, "nested too deeply");
    }
    scan->depth++;
    uint64_t bit = UINT64_C(1) << scan->depth;
    scan->objects = is_object ? scan->objects | bit : scan->objects & ~bit;
    scan->at++;
    return true;
}

static bool check_value(struct scan *scan, expectation *next)
{
    int c = peek(scan);

    if (!count_token(scan)) {
        return false;
    }
    *next = EXPECT_END;
    switch (c) {
    case '{':
        *next = EXPECT_FIRST_NAME;
        return open_container(scan, true);
    case '[':
        *next = EXPECT_FIRST_ELEMENT;
        return open_container(scan, false);
    case '"':
        return check_string(scan);
    case 't':
        return check_word(scan, "true");
    case 'f':
        return check_word(scan, "false");
    case 'n':
        return check_word(scan, "null");
    default:
        if (c != '-' && (c < '0' || c > '9')) {
            return fail(scan, "expected a value");
        }
        return check_number(scan);
    }
}

static bool check_name(struct scan *scan, expectation *next)
{
    if (peek(scan) != '"') {
        return fail(scan, "expected a member name");
    }
    if (!count_token(scan) || !check_string(scan)) {
        return false;
    }
    skip_space(scan);
    if (peek(scan) != ':') {
        return fail(scan, "expected a colon");
    }
    scan->at++;
    *next = EXPECT_VALUE;
    return true;
}

/* Inside a container, behind one of its values: a comma or the closing bracket. */
static bool check_end(struct scan *scan, expectation *next)
{
    bool is_object = (scan->objects >> scan->depth & 1) != 0;
    int c = peek(scan);

    if (c == ',') {
        *next = is_object ? EXPECT_NAME : EXPECT_VALUE;
    } else if (c == (is_object ? '}' : ']')) {
        scan->depth--;
        *next = EXPECT_END;
    } else {
        return fail(scan, is_object ? "expected a comma or }" : "expected a comma or ]");
    }
    scan->at++;
    return true;
}

static bool check_step(struct scan *scan, expectation *next)
{
    switch (*next) {
    case EXPECT_FIRST_ELEMENT:
        return peek(scan) == ']' ? check_end(scan, next) : check_value(scan, next);
    case EXPECT_VALUE:
        return check_value(scan, next);
    case EXPECT_FIRST_NAME:
        return peek(scan) == '}' ? check_end(scan, next) : check_name(scan, next);
    case EXPECT_NAME:
        return check_name(scan, next);
    case EXPECT_END:
        return check_end(scan, next);
    }
    return false;
}

static bool check_document(struct scan *scan)
{
    expectation next = EXPECT_VALUE;

    if (scan->size > INT_MAX) {
        return fail_limit(scan, "longer than 2 GiB");
    }
    do {
        skip_space(scan);
        if (!check_step(scan, &next)) {
            return false;
        }
    } while (scan->depth > 0 || next != EXPECT_END);
    skip_space(scan);
    return scan->at == scan->size ? true : fail(scan, "something behind the value");
}

ria_err ria_json_check(
    struct ria_json_check *check, struct ria_slice text, uint32_t tokens_max, unsigned depth_max
)
{
    struct scan scan = {
        .data = text.data,
        .size = text.size,
        .err = RIA_OK,
        .tokens_max = tokens_max,
        .depth_max = depth_max,
    };

    RIA_ASSERT(depth_max <= CHECK_DEPTH_LIMIT);

    *check = (struct ria_json_check){.text = NULL};
    if (!check_document(&scan)) {
        check->at = scan.at;
        check->text = scan.why;
        return scan.err;
    }
    check->tokens = scan.tokens;
    return RIA_OK;
}
