/* codec: reading and writing the primitive types of Kafka's protocol and record format.
 *
 * Format: docs/formats/messages.md. Everything is big endian; varints are LEB128, the signed ones
 * zigzag. The generated messages and the record batches are both built from this.
 *
 * A reader has a sticky error: after the first failure every read gives zero or null, so a decoder
 * reads straight through and looks at err at the end (and before it trusts a count). What it reads
 * is never copied: slices borrow from the reader's bytes.
 * A writer asserts its bounds: sizes are computed first, so running over is our bug.
 */
#pragma once

#include <string.h>

#include "common/arena.h"
#include "common/assert.h"
#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"
#include "common/uuid.h"

enum { RIA_UVARINT_SIZE_MAX = 5, RIA_UVARLONG_SIZE_MAX = 10 };

struct ria_reader {
    const uint8_t *data;
    size_t size;
    size_t pos;  /* == size after an error */
    ria_err err; /* the first one */
};

struct ria_writer {
    uint8_t *data;
    size_t size;
    size_t pos;
};

/* ---- reading ---- */

static inline struct ria_reader ria_reader_of(struct ria_slice bytes)
{
    return (struct ria_reader){.data = bytes.data, .size = bytes.size, .pos = 0, .err = RIA_OK};
}

static inline size_t ria_reader_left(const struct ria_reader *r)
{
    return r->size - r->pos;
}

/* Record err unless there is an earlier one, and make every further read fail. */
void ria_reader_fail(struct ria_reader *r, ria_err err);

/* The next size (> 0) bytes, or NULL after failing. */
static inline const uint8_t *ria_reader_take_(struct ria_reader *r, size_t size)
{
    if (__builtin_expect(size > r->size - r->pos, 0)) {
        ria_reader_fail(r, RIA_ERR_MALFORMED);
        return NULL;
    }
    const uint8_t *p = r->data + r->pos;
    r->pos += size;
    return p;
}

static inline uint8_t ria_read_u8(struct ria_reader *r)
{
    const uint8_t *p = ria_reader_take_(r, 1);
    return p == NULL ? 0 : p[0];
}

static inline uint16_t ria_read_u16(struct ria_reader *r)
{
    const uint8_t *p = ria_reader_take_(r, 2);
    return (uint16_t)(p == NULL ? 0 : p[0] << 8 | p[1]);
}

static inline uint32_t ria_read_u32(struct ria_reader *r)
{
    const uint8_t *p = ria_reader_take_(r, 4);
    if (p == NULL) {
        return 0;
    }
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t ria_read_u64(struct ria_reader *r)
{
    uint64_t value = 0;
    const uint8_t *p = ria_reader_take_(r, sizeof(value));
    if (p == NULL) {
        return 0;
    }
    memcpy(&value, p, sizeof(value));
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(value) : value;
}

static inline bool ria_read_bool(struct ria_reader *r)
{
    return ria_read_u8(r) != 0;
}

static inline int8_t ria_read_i8(struct ria_reader *r)
{
    return (int8_t)ria_read_u8(r);
}

static inline int16_t ria_read_i16(struct ria_reader *r)
{
    return (int16_t)ria_read_u16(r);
}

static inline int32_t ria_read_i32(struct ria_reader *r)
{
    return (int32_t)ria_read_u32(r);
}

static inline int64_t ria_read_i64(struct ria_reader *r)
{
    return (int64_t)ria_read_u64(r);
}

static inline double ria_read_f64(struct ria_reader *r)
{
    uint64_t bits = ria_read_u64(r);
    double value = 0;

    _Static_assert(sizeof(value) == sizeof(bits), "float64 is IEEE 754 binary64");
    memcpy(&value, &bits, sizeof(value));
    return value;
}

struct ria_uuid ria_read_uuid(struct ria_reader *r);

/* Varints of more bytes than needed are malformed. */
uint32_t ria_read_uvarint_slow_(struct ria_reader *r);
uint64_t ria_read_uvarlong_slow_(struct ria_reader *r);

static inline uint32_t ria_read_uvarint(struct ria_reader *r)
{
    if (__builtin_expect(r->pos < r->size && r->data[r->pos] < 0x80, 1)) {
        return r->data[r->pos++];
    }
    return ria_read_uvarint_slow_(r);
}

static inline uint64_t ria_read_uvarlong(struct ria_reader *r)
{
    if (__builtin_expect(r->pos < r->size && r->data[r->pos] < 0x80, 1)) {
        return r->data[r->pos++];
    }
    return ria_read_uvarlong_slow_(r);
}

static inline int32_t ria_read_varint(struct ria_reader *r)
{
    uint32_t u = ria_read_uvarint(r);
    return (int32_t)((u >> 1) ^ (0 - (u & 1)));
}

static inline int64_t ria_read_varlong(struct ria_reader *r)
{
    uint64_t u = ria_read_uvarlong(r);
    return (int64_t)((u >> 1) ^ (0 - (u & 1)));
}

/* Exactly size bytes, without a length in front; the null slice on error. */
struct ria_slice ria_read_bytes(struct ria_reader *r, size_t size);

static inline void ria_read_skip(struct ria_reader *r, size_t size)
{
    if (size > 0) {
        (void)ria_reader_take_(r, size);
    }
}

/* ---- sizes and writing ---- */

static inline size_t ria_uvarlong_size(uint64_t value)
{
    return ((size_t)(63 - __builtin_clzll(value | 1)) + 7) / 7;
}

static inline size_t ria_uvarint_size(uint32_t value)
{
    return ria_uvarlong_size(value);
}

static inline uint32_t ria_zigzag32_(int32_t value)
{
    return (uint32_t)value << 1 ^ (value < 0 ? UINT32_MAX : 0);
}

static inline uint64_t ria_zigzag64_(int64_t value)
{
    return (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
}

static inline size_t ria_varint_size(int32_t value)
{
    return ria_uvarint_size(ria_zigzag32_(value));
}

static inline size_t ria_varlong_size(int64_t value)
{
    return ria_uvarlong_size(ria_zigzag64_(value));
}

static inline struct ria_writer ria_writer_of(uint8_t *data, size_t size)
{
    return (struct ria_writer){.data = data, .size = size, .pos = 0};
}

static inline uint8_t *ria_writer_take_(struct ria_writer *w, size_t size)
{
    RIA_ASSERT(size <= w->size - w->pos);
    uint8_t *p = w->data + w->pos;
    w->pos += size;
    return p;
}

static inline void ria_write_u8(struct ria_writer *w, uint8_t value)
{
    *ria_writer_take_(w, 1) = value;
}

static inline void ria_write_u16(struct ria_writer *w, uint16_t value)
{
    uint8_t *p = ria_writer_take_(w, 2);
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline void ria_write_u32(struct ria_writer *w, uint32_t value)
{
    uint8_t *p = ria_writer_take_(w, 4);
    p[0] = (uint8_t)(value >> 24);
    p[1] = (uint8_t)(value >> 16);
    p[2] = (uint8_t)(value >> 8);
    p[3] = (uint8_t)value;
}

static inline void ria_write_u64(struct ria_writer *w, uint64_t value)
{
    value = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(value) : value;
    memcpy(ria_writer_take_(w, sizeof(value)), &value, sizeof(value));
}

static inline void ria_write_bool(struct ria_writer *w, bool value)
{
    ria_write_u8(w, value ? 1 : 0);
}

static inline void ria_write_i8(struct ria_writer *w, int8_t value)
{
    ria_write_u8(w, (uint8_t)value);
}

static inline void ria_write_i16(struct ria_writer *w, int16_t value)
{
    ria_write_u16(w, (uint16_t)value);
}

static inline void ria_write_i32(struct ria_writer *w, int32_t value)
{
    ria_write_u32(w, (uint32_t)value);
}

static inline void ria_write_i64(struct ria_writer *w, int64_t value)
{
    ria_write_u64(w, (uint64_t)value);
}

static inline void ria_write_f64(struct ria_writer *w, double value)
{
    uint64_t bits = 0;

    memcpy(&bits, &value, sizeof(bits));
    ria_write_u64(w, bits);
}

void ria_write_uuid(struct ria_writer *w, struct ria_uuid value);

static inline void ria_write_uvarlong(struct ria_writer *w, uint64_t value)
{
    uint8_t *p = ria_writer_take_(w, ria_uvarlong_size(value));
    while (value >= 0x80) {
        *p++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *p = (uint8_t)value;
}

static inline void ria_write_uvarint(struct ria_writer *w, uint32_t value)
{
    ria_write_uvarlong(w, value);
}

static inline void ria_write_varint(struct ria_writer *w, int32_t value)
{
    ria_write_uvarlong(w, ria_zigzag32_(value));
}

static inline void ria_write_varlong(struct ria_writer *w, int64_t value)
{
    ria_write_uvarlong(w, ria_zigzag64_(value));
}

/* The bytes alone, without a length in front. */
void ria_write_bytes(struct ria_writer *w, struct ria_slice bytes);

/* ---- what messages are made of: lengths, counts, tagged fields ----
 *
 * flexible: compact encoding, length + 1 as uvarint with 0 for null; otherwise int16 (string) or
 * int32 (blob, count) with -1 for null. max bounds the length or count: on reading, more is
 * RIA_ERR_LIMIT; on writing, an assertion. Where null is not allowed it is malformed on reading and
 * written as empty. */

struct ria_slice ria_read_string(struct ria_reader *r, bool flexible, bool nullable, uint32_t max);
struct ria_slice ria_read_blob(struct ria_reader *r, bool flexible, bool nullable, uint32_t max);

/* What one array may look like. */
struct ria_array_shape {
    bool flexible;
    bool nullable;
    uint32_t count_max;
    uint32_t wire_size_min; /* least bytes of an encoded item */
    size_t item_size;       /* bytes of an item in memory */
};

/* Reads the count and allocates the items, zeroed; the caller reads them. A count is believed only
 * if it is within count_max and the bytes left could hold that many items. NULL (and count 0): the
 * array is null or r has failed. An empty array is not NULL. */
void *ria_read_array(
    struct ria_reader *r, struct ria_arena *arena, struct ria_array_shape shape, uint32_t *out_count
) RIA_MUST_USE;

size_t ria_string_size(struct ria_slice value, bool flexible);
size_t ria_blob_size(struct ria_slice value, bool flexible);
size_t ria_count_size(uint32_t count, bool flexible);

void ria_write_string(
    struct ria_writer *w, struct ria_slice value, bool flexible, bool nullable, uint32_t max
);
void ria_write_blob(
    struct ria_writer *w, struct ria_slice value, bool flexible, bool nullable, uint32_t max
);
/* items: only compared with NULL. */
void ria_write_count(
    struct ria_writer *w,
    const void *items,
    uint32_t count,
    bool flexible,
    bool nullable,
    uint32_t max
);

/* Walks the tagged-field section that ends a flexible struct:
 *
 *     struct ria_tags tags = ria_read_tags(r);
 *     while (ria_tags_next(&tags, r)) { switch (tags.tag) ... unknown: ria_tags_skip(r) }
 *
 * In the body the reader ends where the field ends; a field that is not read to its end is
 * malformed, and so are tags that do not ascend. */
struct ria_tags {
    uint32_t tag;  /* of the current field */
    uint32_t left; /* fields after it */
    bool open;     /* there is a current field */
    size_t outer_size;
};

struct ria_tags ria_read_tags(struct ria_reader *r);
bool ria_tags_next(struct ria_tags *tags, struct ria_reader *r);
void ria_tags_skip(struct ria_reader *r);

/* The whole section, in a struct that has no tagged fields (yet). */
void ria_read_tags_unknown(struct ria_reader *r);
