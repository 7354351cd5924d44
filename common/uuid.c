#include "common/uuid.h"

#include <string.h>

#include "common/assert.h"

/* Index of a byte's first digit in 8-4-4-4-12. */
static const uint8_t text_index[RIA_UUID_SIZE] = {
    0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};

bool ria_uuid_is_zero(struct ria_uuid uuid)
{
    return ria_uuid_equal(uuid, (struct ria_uuid){{0}});
}

bool ria_uuid_equal(struct ria_uuid a, struct ria_uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

uint64_t ria_uuid_hash(struct ria_uuid uuid)
{
    uint64_t high = 0;
    uint64_t low = 0;

    memcpy(&high, uuid.bytes, sizeof(high));
    memcpy(&low, uuid.bytes + sizeof(high), sizeof(low));
    /* murmur3's 64-bit finalizer */
    uint64_t hash = high ^ (low * UINT64_C(0x9e3779b97f4a7c15));
    hash = (hash ^ (hash >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ (hash >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ (hash >> 33);
}

struct ria_uuid ria_uuid_v4(const uint8_t random_bytes[RIA_UUID_SIZE])
{
    struct ria_uuid uuid;

    RIA_ASSERT(random_bytes != NULL);

    memcpy(uuid.bytes, random_bytes, sizeof(uuid.bytes));
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

void ria_uuid_format(struct ria_uuid uuid, char out_text[RIA_UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    RIA_ASSERT(out_text != NULL);

    memset(out_text, '-', RIA_UUID_TEXT_SIZE - 1);
    out_text[RIA_UUID_TEXT_SIZE - 1] = '\0';
    for (size_t i = 0; i < RIA_UUID_SIZE; i++) {
        out_text[text_index[i]] = digits[uuid.bytes[i] >> 4];
        out_text[text_index[i] + 1] = digits[uuid.bytes[i] & 0x0f];
    }
}

static int digit_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

ria_err ria_uuid_parse(struct ria_slice text, struct ria_uuid *out_uuid)
{
    struct ria_uuid uuid;

    RIA_ASSERT(out_uuid != NULL);

    if (text.size != RIA_UUID_TEXT_SIZE - 1 || text.data[8] != '-' || text.data[13] != '-' ||
        text.data[18] != '-' || text.data[23] != '-') {
        return RIA_ERR_MALFORMED;
    }
    for (size_t i = 0; i < RIA_UUID_SIZE; i++) {
        int high = digit_value(text.data[text_index[i]]);
        int low = digit_value(text.data[text_index[i] + 1]);
        if (high < 0 || low < 0) {
            return RIA_ERR_MALFORMED;
        }
        uuid.bytes[i] = (uint8_t)(high * 16 + low);
    }
    *out_uuid = uuid;
    return RIA_OK;
}
