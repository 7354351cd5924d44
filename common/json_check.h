/* json_check: is a text exactly one JSON value, as RFC 8259 defines it? json.c asks before it lets
 * the tokenizer near the text, and anybody may who does not need tokens.
 *
 * One pass, no allocation, no recursion. Strings must be valid UTF-8, escapes valid and surrogate
 * escapes paired, so that every accepted string has an unescaped form. Duplicate names pass.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

struct ria_json_check {
    uint32_t tokens;  /* after RIA_OK: values and member names */
    size_t at;        /* after an error: offset of the first offending byte (size = end of text) */
    const char *text; /* after an error: why, static */
};

/* Errors: RIA_ERR_MALFORMED; RIA_ERR_LIMIT past depth_max (at most 32) nested containers, past
 * tokens_max, or for a text of 2 GiB and more. */
ria_err ria_json_check(
    struct ria_json_check *check, struct ria_slice text, uint32_t tokens_max, unsigned depth_max
) RIA_MUST_USE;

/* Offset behind the bytes from `at` on that may stand in a string as they are: ASCII except control
 * characters, quote and backslash. */
size_t ria_json_skip_plain(const uint8_t *data, size_t at, size_t size);

/* The value of the four hex digits at data, -1 if they are not four or not hex. */
int32_t ria_json_hex4(const uint8_t *data, size_t size);
