/* base64: standard alphabet with padding (RFC 4648 section 4), and that of URLs without (section
 * 5).
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

static inline size_t ria_base64_size(size_t raw_size)
{
    return (raw_size + 2) / 3 * 4;
}

/* Writes ria_base64_size(raw.size) characters, no NUL. */
void ria_base64_encode(char *out, struct ria_slice raw);

/* Strict: padding required, no white space. `out` has room for text.size / 4 * 3 bytes.
 * Errors: RIA_ERR_MALFORMED. */
ria_err ria_base64_decode(uint8_t *out, struct ria_slice text, size_t *out_size) RIA_MUST_USE;

/* The alphabet of URLs, without padding. Writes at most ria_base64_size(raw.size) characters, no
 * NUL; returns how many. */
size_t ria_base64url_encode(char *out, struct ria_slice raw);

/* `out` has room for text.size + 3 bytes, which are also used on the way. Errors:
 * RIA_ERR_MALFORMED (padding is, too). */
ria_err ria_base64url_decode(uint8_t *out, struct ria_slice text, size_t *out_size) RIA_MUST_USE;
