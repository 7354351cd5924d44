/* The writing half of batch.h: records are encoded as they come, the header last. */
#include "common/assert.h"
#include "common/codec.h"
#include "common/crc.h"
#include "common/limits.h"

#include "schemas/batch.h"

void batch_builder_init(struct batch_builder *builder, size_t size_max)
{
    RIA_ASSERT(size_max <= RIA_BATCH_SIZE_MAX);

    *builder = (struct batch_builder){.base_timestamp = -1, .max_timestamp = -1};
    ria_buf_init(&builder->buf, size_max);
}

void batch_builder_fini(struct batch_builder *builder)
{
    ria_buf_fini(&builder->buf);
}

void batch_builder_reset(struct batch_builder *builder)
{
    ria_buf_clear(&builder->buf);
    builder->record_count = 0;
    builder->base_timestamp = -1;
    builder->max_timestamp = -1;
}

/* Sizes of a length as a zigzag varint, and with its bytes behind it. */
static size_t length_size(size_t length)
{
    return ria_varlong_size((int64_t)length);
}

static size_t field_size(struct ria_slice field)
{
    return length_size(field.size) + field.size; /* null: -1 takes one byte, as 0 does */
}

/* Wraps where one is past the other by more than an int64, as the reader's sum does. */
static int64_t timestamp_delta(const struct batch_builder *builder, int64_t timestamp_ms)
{
    if (builder->record_count == 0) {
        return 0;
    }
    return (int64_t)((uint64_t)timestamp_ms - (uint64_t)builder->base_timestamp);
}

/* What the length in front of the record says. */
static size_t record_body_size(
    const struct batch_builder *builder,
    int64_t timestamp_ms,
    struct ria_slice key,
    struct ria_slice value,
    const struct batch_record_header *headers,
    uint32_t header_count
)
{
    size_t size = 1 /* attributes */ + ria_varlong_size(timestamp_delta(builder, timestamp_ms)) +
                  ria_varint_size(builder->record_count) + field_size(key) + field_size(value) +
                  length_size(header_count);

    for (uint32_t i = 0; i < header_count; i++) {
        size += field_size(headers[i].name) + field_size(headers[i].value);
    }
    return size;
}

static size_t size_so_far(const struct batch_builder *builder)
{
    return builder->record_count == 0 ? BATCH_HEADER_SIZE : builder->buf.size;
}

size_t batch_builder_size_with(
    const struct batch_builder *builder,
    int64_t timestamp_ms,
    struct ria_slice key,
    struct ria_slice value,
    const struct batch_record_header *headers,
    uint32_t header_count
)
{
    size_t body_size = record_body_size(builder, timestamp_ms, key, value, headers, header_count);

    return size_so_far(builder) + length_size(body_size) + body_size;
}

static void write_field(struct ria_writer *w, struct ria_slice field)
{
    if (ria_slice_is_null(field)) {
        ria_write_varint(w, -1);
        return;
    }
    ria_write_varint(w, (int32_t)field.size);
    ria_write_bytes(w, field);
}

ria_err batch_builder_add(
    struct batch_builder *builder,
    int64_t timestamp_ms,
    struct ria_slice key,
    struct ria_slice value,
    const struct batch_record_header *headers,
    uint32_t header_count
)
{
    struct ria_buf *buf = &builder->buf;

    if (timestamp_ms < -1) {
        return RIA_ERR_INVALID;
    }
    size_t body_size = record_body_size(builder, timestamp_ms, key, value, headers, header_count);
    size_t size = size_so_far(builder) + length_size(body_size) + body_size;
    if (size > buf->limit) {
        return RIA_ERR_LIMIT;
    }
    RIA_TRY(ria_buf_reserve(buf, size - buf->size));

    if (builder->record_count == 0) {
        buf->size = BATCH_HEADER_SIZE; /* written by finish */
        builder->base_timestamp = timestamp_ms;
        builder->max_timestamp = timestamp_ms;
    }
    struct ria_writer w = ria_writer_of(buf->data, size);
    w.pos = buf->size;
    ria_write_varint(&w, (int32_t)body_size);
    ria_write_i8(&w, 0);
    ria_write_varlong(&w, timestamp_delta(builder, timestamp_ms));
    ria_write_varint(&w, builder->record_count);
    write_field(&w, key);
    write_field(&w, value);
    ria_write_varint(&w, (int32_t)header_count);
    for (uint32_t i = 0; i < header_count; i++) {
        ria_write_varint(&w, (int32_t)headers[i].name.size); /* a name is never null */
        ria_write_bytes(&w, headers[i].name);
        write_field(&w, headers[i].value);
    }
    RIA_ASSERT(w.pos == size);
    buf->size = size;
    builder->record_count++;
    builder->max_timestamp = ria_max_i64(builder->max_timestamp, timestamp_ms);
    return RIA_OK;
}

struct ria_slice batch_builder_finish(
    struct batch_builder *builder,
    int64_t producer_id,
    int16_t producer_epoch,
    int32_t base_sequence
)
{
    struct ria_buf *buf = &builder->buf;
    struct ria_writer w = ria_writer_of(buf->data, BATCH_HEADER_SIZE);

    RIA_ASSERT(builder->record_count > 0);

    ria_write_i64(&w, 0); /* base offset: the leader's */
    ria_write_i32(&w, (int32_t)(buf->size - BATCH_LENGTH_FROM));
    ria_write_i32(&w, -1); /* leader epoch: the leader's */
    ria_write_i8(&w, BATCH_MAGIC);
    ria_write_u32(&w, 0); /* CRC, below */
    ria_write_i16(&w, 0);
    ria_write_i32(&w, builder->record_count - 1);
    ria_write_i64(&w, builder->base_timestamp);
    ria_write_i64(&w, builder->max_timestamp);
    ria_write_i64(&w, producer_id);
    ria_write_i16(&w, producer_epoch);
    ria_write_i32(&w, base_sequence);
    ria_write_i32(&w, builder->record_count);
    RIA_ASSERT(w.pos == BATCH_HEADER_SIZE);

    w.pos = BATCH_CRC_AT;
    ria_write_u32(&w, ria_crc32c(buf->data + BATCH_CRC_FROM, buf->size - BATCH_CRC_FROM));
    return ria_buf_slice(buf);
}
