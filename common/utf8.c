#include "common/utf8.h"

#include <string.h>

#include "common/assert.h"

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* The ranges are table 3-7 of the Unicode standard: only the second byte depends on the first. */
size_t ria_utf8_sequence(const uint8_t *data, size_t size)
{
    uint8_t first = data[0];
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    size_t length;

    if (first < 0x80) {
        return 1;
    }
    if (first < 0xc2) {
        return 0;
    }
    if (first < 0xe0) {
        length = 2;
    } else if (first < 0xf0) {
        length = 3;
        low = first == 0xe0 ? 0xa0 : low;
        high = first == 0xed ? 0x9f : high;
    } else if (first < 0xf5) {
        length = 4;
        low = first == 0xf0 ? 0x90 : low;
        high = first == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (size < length || data[1] < low || data[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if (!is_continuation(data[i])) {
            return 0;
        }
    }
    return length;
}

size_t ria_utf8_encode(uint8_t *out, uint32_t code)
{
    RIA_ASSERT(code <= 0x10ffff);
    RIA_ASSERT(code < 0xd800 || code > 0xdfff);

    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6) {
        out[i] = (uint8_t)(0x80 | (code & 0x3f));
    }
    out[0] = (uint8_t)((0xf00 >> length) | code); /* 110x, 1110, 11110 */
    return length;
}

bool ria_utf8_valid(struct ria_slice text)
{
    size_t at = 0;

    while (at < text.size) {
        uint64_t word;
        if (text.size - at >= sizeof(word)) {
            memcpy(&word, text.data + at, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof(word);
                continue;
            }
        }
        size_t size = ria_utf8_sequence(text.data + at, text.size - at);
        if (size == 0) {
            return false;
        }
        at += size;
    }
    return true;
}

bool ria_utf8_printable(struct ria_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        bool is_c1 = byte == 0xc2 && i + 1 < text.size && text.data[i + 1] < 0xa0;
        if (byte < 0x20 || byte == 0x7f || is_c1) {
            return false;
        }
    }
    return ria_utf8_valid(text);
}
