#include "common/base64.h"

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { BAD = 0x80 }; /* no six-bit value has this bit */

/* clang-format off */
static const uint8_t values[256] = {
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,  62, BAD, BAD, BAD,  63,
     52,  53,  54,  55,  56,  57,  58,  59,  60,  61, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD,   0,   1,   2,   3,   4,   5,   6,   7,   8,   9,  10,  11,  12,  13,  14,
     15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25, BAD, BAD, BAD, BAD, BAD,
    BAD,  26,  27,  28,  29,  30,  31,  32,  33,  34,  35,  36,  37,  38,  39,  40,
     41,  42,  43,  44,  45,  46,  47,  48,  49,  50,  51, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
    BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
};
/* clang-format on */

static char *encode_group(char *out, uint32_t bits)
{
    out[0] = alphabet[bits >> 18 & 63];
    out[1] = alphabet[bits >> 12 & 63];
    out[2] = alphabet[bits >> 6 & 63];
    out[3] = alphabet[bits & 63];
    return out + 4;
}

void ria_base64_encode(char *out, struct ria_slice raw)
{
    const uint8_t *in = raw.data;
    size_t left = raw.size;

    for (; left >= 3; left -= 3, in += 3) {
        out = encode_group(out, (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2]);
    }
    if (left > 0) {
        uint32_t bits = (uint32_t)in[0] << 16 | (left == 2 ? (uint32_t)in[1] << 8 : 0);
        (void)encode_group(out, bits);
        out[3] = '=';
        if (left == 1) {
            out[2] = '=';
        }
    }
}

/* The last four characters, which may be padded. Returns the bytes written, 0 if malformed. Bits
 * that the padding cuts off must be zero (RFC 4648 section 3.5): one content, one text. */
static size_t decode_tail(uint8_t *out, const uint8_t *in)
{
    size_t size = in[3] != '=' ? 3 : in[2] != '=' ? 2 : 1;
    uint32_t c = size > 1 ? values[in[2]] : 0;
    uint32_t d = size > 2 ? values[in[3]] : 0;
    uint32_t a = values[in[0]];
    uint32_t b = values[in[1]];

    if (((a | b | c | d) & BAD) != 0) {
        return 0;
    }
    uint32_t bits = a << 18 | b << 12 | c << 6 | d;
    if ((bits & (0xffffff >> (8 * size))) != 0) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(bits >> (16 - 8 * i));
    }
    return size;
}

ria_err ria_base64_decode(uint8_t *out, struct ria_slice text, size_t *out_size)
{
    const uint8_t *in = text.data;
    uint8_t *to = out;
    uint32_t seen = 0; /* every value, or-ed: one test for BAD at the end */

    if (text.size % 4 != 0) {
        return RIA_ERR_MALFORMED;
    }
    if (text.size == 0) {
        *out_size = 0;
        return RIA_OK;
    }
    for (const uint8_t *tail = in + text.size - 4; in < tail; in += 4, to += 3) {
        uint32_t a = values[in[0]];
        uint32_t b = values[in[1]];
        uint32_t c = values[in[2]];
        uint32_t d = values[in[3]];
        uint32_t bits = a << 18 | b << 12 | c << 6 | d;
        seen |= a | b | c | d;
        to[0] = (uint8_t)(bits >> 16);
        to[1] = (uint8_t)(bits >> 8);
        to[2] = (uint8_t)bits;
    }
    size_t tail_size = decode_tail(to, in);
    if ((seen & BAD) != 0 || tail_size == 0) {
        return RIA_ERR_MALFORMED;
    }
    *out_size = (size_t)(to - out) + tail_size;
    return RIA_OK;
}

size_t ria_base64url_encode(char *out, struct ria_slice raw)
{
    size_t size = ria_base64_size(raw.size);

    ria_base64_encode(out, raw);
    while (size > 0 && out[size - 1] == '=') {
        size--;
    }
    for (size_t i = 0; i < size; i++) {
        out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
    }
    return size;
}

ria_err ria_base64url_decode(uint8_t *out, struct ria_slice text, size_t *out_size)
{
    size_t size = text.size;

    if (size % 4 == 1) {
        return RIA_ERR_MALFORMED;
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t c = text.data[i];
        if (c == '+' || c == '/' || c == '=') {
            return RIA_ERR_MALFORMED; /* the other alphabet, or padding */
        }
        out[i] = (uint8_t)(c == '-' ? '+' : c == '_' ? '/' : c);
    }
    while (size % 4 != 0) {
        out[size++] = '=';
    }
    /* In place: four characters are read before their three bytes are written. */
    return ria_base64_decode(out, ria_slice_of(out, size), out_size);
}
