/* utf8: well-formedness as in RFC 3629 (no overlong forms, no surrogates, nothing past U+10FFFF).
 */
#pragma once

#include "common/base.h"
#include "common/slice.h"

/* Bytes of the well-formed sequence at the start of data, 0 if there is none. size > 0. */
size_t ria_utf8_sequence(const uint8_t *data, size_t size);

/* Writes the 1 to 4 bytes of a code point (a scalar value); returns how many. */
size_t ria_utf8_encode(uint8_t *out, uint32_t code);

/* The whole text is well formed. Plain ASCII is checked eight bytes at a time. */
bool ria_utf8_valid(struct ria_slice text);

/* The same, and without control characters (C0, DEL, C1): what may stand in a line or a header. */
bool ria_utf8_printable(struct ria_slice text);
