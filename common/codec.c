#include "common/codec.h"

void ria_reader_fail(struct ria_reader *r, ria_err err)
{
    RIA_ASSERT(err != RIA_OK);

    if (r->err == RIA_OK) {
        r->err = err;
    }
    r->pos = r->size;
}

struct ria_uuid ria_read_uuid(struct ria_reader *r)
{
    struct ria_uuid uuid = {{0}};
    const uint8_t *p = ria_reader_take_(r, sizeof(uuid.bytes));

    if (p != NULL) {
        memcpy(uuid.bytes, p, sizeof(uuid.bytes));
    }
    return uuid;
}

uint64_t ria_read_uvarlong_slow_(struct ria_reader *r)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < RIA_UVARLONG_SIZE_MAX; i++) {
        uint8_t byte = ria_read_u8(r);
        if (r->err != RIA_OK) {
            return 0;
        }
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte >= 0x80) {
            continue;
        }
        bool overlong = byte == 0 && i > 0;
        bool overflow = i == RIA_UVARLONG_SIZE_MAX - 1 && byte > 1;
        if (overlong || overflow) {
            break;
        }
        return value;
    }
    ria_reader_fail(r, RIA_ERR_MALFORMED);
    return 0;
}

uint32_t ria_read_uvarint_slow_(struct ria_reader *r)
{
    size_t start = r->pos;
    uint64_t value = ria_read_uvarlong_slow_(r);

    if (r->err == RIA_OK && value > UINT32_MAX) {
        ria_reader_fail(r, RIA_ERR_MALFORMED);
        return 0;
    }
    RIA_ASSERT(r->err != RIA_OK || r->pos - start <= RIA_UVARINT_SIZE_MAX);
    return (uint32_t)value;
}

struct ria_slice ria_read_bytes(struct ria_reader *r, size_t size)
{
    if (r->err != RIA_OK) {
        return RIA_SLICE_NULL;
    }
    if (size == 0) {
        return r->data == NULL ? RIA_SLICE_EMPTY : ria_slice_of(r->data + r->pos, 0);
    }
    const uint8_t *p = ria_reader_take_(r, size);
    return p == NULL ? RIA_SLICE_NULL : ria_slice_of(p, size);
}

void ria_write_uuid(struct ria_writer *w, struct ria_uuid value)
{
    memcpy(ria_writer_take_(w, sizeof(value.bytes)), value.bytes, sizeof(value.bytes));
}

void ria_write_bytes(struct ria_writer *w, struct ria_slice bytes)
{
    if (bytes.size > 0) {
        RIA_ASSERT(bytes.data != NULL);
        memcpy(ria_writer_take_(w, bytes.size), bytes.data, bytes.size);
    }
}

/* ---- lengths and counts ---- */

typedef enum { PREFIX_I16, PREFIX_I32, PREFIX_COMPACT } prefix;

/* Reads a length or count. false: it was null, or r has failed. */
static bool
read_prefix(struct ria_reader *r, prefix kind, bool nullable, uint32_t max, uint32_t *out_value)
{
    int64_t value = 0;

    switch (kind) {
    case PREFIX_I16:
        value = ria_read_i16(r);
        break;
    case PREFIX_I32:
        value = ria_read_i32(r);
        break;
    case PREFIX_COMPACT:
        value = (int64_t)ria_read_uvarint(r) - 1;
        break;
    }
    if (r->err != RIA_OK || (value == -1 && nullable)) {
        return false;
    }
    if (value < 0) {
        ria_reader_fail(r, RIA_ERR_MALFORMED);
        return false;
    }
    if (value > max) {
        ria_reader_fail(r, RIA_ERR_LIMIT);
        return false;
    }
    *out_value = (uint32_t)value;
    return true;
}

static struct ria_slice
read_prefixed(struct ria_reader *r, prefix kind, bool nullable, uint32_t max)
{
    uint32_t size = 0;

    if (!read_prefix(r, kind, nullable, max, &size)) {
        return RIA_SLICE_NULL;
    }
    return ria_read_bytes(r, size);
}

struct ria_slice ria_read_string(struct ria_reader *r, bool flexible, bool nullable, uint32_t max)
{
    return read_prefixed(r, flexible ? PREFIX_COMPACT : PREFIX_I16, nullable, max);
}

struct ria_slice ria_read_blob(struct ria_reader *r, bool flexible, bool nullable, uint32_t max)
{
    return read_prefixed(r, flexible ? PREFIX_COMPACT : PREFIX_I32, nullable, max);
}

void *ria_read_array(
    struct ria_reader *r, struct ria_arena *arena, struct ria_array_shape shape, uint32_t *out_count
)
{
    prefix kind = shape.flexible ? PREFIX_COMPACT : PREFIX_I32;
    uint32_t count = 0;

    RIA_ASSERT(shape.wire_size_min > 0);
    RIA_ASSERT(shape.item_size > 0);

    *out_count = 0;
    if (!read_prefix(r, kind, shape.nullable, shape.count_max, &count)) {
        return NULL;
    }
    if (count > ria_reader_left(r) / shape.wire_size_min) {
        ria_reader_fail(r, RIA_ERR_MALFORMED);
        return NULL;
    }
    void *items = ria_arena_alloc_array(arena, count, shape.item_size);
    if (items == NULL) {
        ria_reader_fail(r, ria_arena_err(arena));
        return NULL;
    }
    *out_count = count;
    return items;
}

static size_t prefix_size(size_t value, prefix kind)
{
    RIA_ASSERT(value < INT32_MAX);

    switch (kind) {
    case PREFIX_I16:
        return sizeof(int16_t);
    case PREFIX_I32:
        return sizeof(int32_t);
    case PREFIX_COMPACT:
        break;
    }
    return ria_uvarint_size((uint32_t)value + 1);
}

size_t ria_string_size(struct ria_slice value, bool flexible)
{
    return prefix_size(value.size, flexible ? PREFIX_COMPACT : PREFIX_I16) + value.size;
}

size_t ria_blob_size(struct ria_slice value, bool flexible)
{
    return prefix_size(value.size, flexible ? PREFIX_COMPACT : PREFIX_I32) + value.size;
}

size_t ria_count_size(uint32_t count, bool flexible)
{
    return prefix_size(count, flexible ? PREFIX_COMPACT : PREFIX_I32);
}

static void write_prefix(struct ria_writer *w, prefix kind, bool null, size_t value, uint32_t max)
{
    RIA_ASSERT(value <= max);
    RIA_ASSERT(value < INT32_MAX);
    RIA_ASSERT(!null || value == 0);

    switch (kind) {
    case PREFIX_I16:
        RIA_ASSERT(value <= INT16_MAX);
        ria_write_i16(w, null ? -1 : (int16_t)value);
        break;
    case PREFIX_I32:
        ria_write_i32(w, null ? -1 : (int32_t)value);
        break;
    case PREFIX_COMPACT:
        ria_write_uvarint(w, null ? 0 : (uint32_t)value + 1);
        break;
    }
}

void ria_write_string(
    struct ria_writer *w, struct ria_slice value, bool flexible, bool nullable, uint32_t max
)
{
    bool null = nullable && value.data == NULL;

    write_prefix(w, flexible ? PREFIX_COMPACT : PREFIX_I16, null, value.size, max);
    ria_write_bytes(w, value);
}

void ria_write_blob(
    struct ria_writer *w, struct ria_slice value, bool flexible, bool nullable, uint32_t max
)
{
    bool null = nullable && value.data == NULL;

    write_prefix(w, flexible ? PREFIX_COMPACT : PREFIX_I32, null, value.size, max);
    ria_write_bytes(w, value);
}

void ria_write_count(
    struct ria_writer *w,
    const void *items,
    uint32_t count,
    bool flexible,
    bool nullable,
    uint32_t max
)
{
    RIA_ASSERT(items != NULL || count == 0);

    bool null = nullable && items == NULL;
    write_prefix(w, flexible ? PREFIX_COMPACT : PREFIX_I32, null, count, max);
}

/* ---- tagged fields ---- */

struct ria_tags ria_read_tags(struct ria_reader *r)
{
    return (struct ria_tags){.left = ria_read_uvarint(r), .outer_size = r->size};
}

bool ria_tags_next(struct ria_tags *tags, struct ria_reader *r)
{
    bool first = !tags->open;

    if (tags->open && r->pos != r->size) {
        ria_reader_fail(r, RIA_ERR_MALFORMED);
    }
    r->size = tags->outer_size;
    tags->open = false;
    if (r->err != RIA_OK) {
        r->pos = r->size;
        return false;
    }
    if (tags->left == 0) {
        return false;
    }
    uint32_t tag = ria_read_uvarint(r);
    uint32_t size = ria_read_uvarint(r);
    if (r->err != RIA_OK || size > ria_reader_left(r) || (!first && tag <= tags->tag)) {
        ria_reader_fail(r, RIA_ERR_MALFORMED);
        return false;
    }
    r->size = r->pos + size;
    tags->left--;
    tags->tag = tag;
    tags->open = true;
    return true;
}

void ria_tags_skip(struct ria_reader *r)
{
    r->pos = r->size;
}

void ria_read_tags_unknown(struct ria_reader *r)
{
    struct ria_tags tags = ria_read_tags(r);

    while (ria_tags_next(&tags, r)) {
        ria_tags_skip(r);
    }
}
