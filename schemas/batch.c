#include "schemas/batch.h"

#include <string.h>

#include "common/assert.h"
#include "common/codec.h"
#include "common/crc.h"
#include "common/limits.h"

/* Bits of attributes. */
enum {
    ATTRIBUTE_CODEC = 0x07,
    ATTRIBUTE_APPEND_TIME = 0x08,
    ATTRIBUTE_TRANSACTIONAL = 0x10,
    ATTRIBUTE_CONTROL = 0x20,
    ATTRIBUTE_DELETE_HORIZON = 0x40,
};

enum {
    LEADER_EPOCH_AT = 12,
    LENGTH_MIN = BATCH_HEADER_SIZE - BATCH_LENGTH_FROM,
    LENGTH_MAX = RIA_BATCH_SIZE_MAX - BATCH_LENGTH_FROM,
    /* Seven one-byte fields, all of them always there: no count can promise more than fits. */
    RECORD_SIZE_MIN = 7,
    SEQUENCE_MASK = INT32_MAX, /* sequences are 31 bits wide and wrap to 0 */
};
_Static_assert(
    BATCH_CRC_AT + sizeof(uint32_t) == BATCH_CRC_FROM, "the CRC covers what is behind it"
);

/* ---- header ---- */

ria_err batch_header_decode(struct ria_slice data, struct batch_header *out_header)
{
    struct ria_reader r = ria_reader_of(data);
    struct batch_header header;

    if (data.data == NULL || data.size < BATCH_HEADER_SIZE) {
        return RIA_ERR_MALFORMED;
    }
    header.base_offset = ria_read_i64(&r);
    header.batch_length = ria_read_i32(&r);
    header.leader_epoch = ria_read_i32(&r);
    header.magic = ria_read_i8(&r);
    header.crc = ria_read_u32(&r);
    header.attributes = ria_read_i16(&r);
    header.last_offset_delta = ria_read_i32(&r);
    header.base_timestamp = ria_read_i64(&r);
    header.max_timestamp = ria_read_i64(&r);
    header.producer_id = ria_read_i64(&r);
    header.producer_epoch = ria_read_i16(&r);
    header.base_sequence = ria_read_i32(&r);
    header.record_count = ria_read_i32(&r);
    RIA_ASSERT(r.pos == BATCH_HEADER_SIZE);

    if (header.magic != BATCH_MAGIC || header.batch_length < LENGTH_MIN ||
        header.batch_length > LENGTH_MAX) {
        return RIA_ERR_MALFORMED;
    }
    *out_header = header;
    return RIA_OK;
}

int32_t batch_last_sequence(const struct batch_header *header)
{
    if (header->base_sequence < 0) {
        return -1;
    }
    return batch_next_sequence(header->base_sequence, header->last_offset_delta);
}

int32_t batch_next_sequence(int32_t sequence, int32_t record_count)
{
    return (int32_t)(((uint32_t)sequence + (uint32_t)record_count) & SEQUENCE_MASK);
}

void batch_patch(uint8_t *batch, int64_t base_offset, int32_t leader_epoch)
{
    struct ria_writer w = ria_writer_of(batch, BATCH_HEADER_SIZE);

    ria_write_i64(&w, base_offset);
    w.pos = LEADER_EPOCH_AT;
    ria_write_i32(&w, leader_epoch);
}

/* ---- what a leader checks ---- */

static bool crc_is_right(struct ria_slice batch, uint32_t crc)
{
    return ria_crc32c(batch.data + BATCH_CRC_FROM, batch.size - BATCH_CRC_FROM) == crc;
}

ria_err batch_check_crc(struct ria_slice batch)
{
    struct ria_reader r = ria_reader_of(batch);

    if (batch.data == NULL || batch.size < BATCH_HEADER_SIZE) {
        return RIA_ERR_CORRUPT;
    }
    r.pos = BATCH_CRC_AT;
    return crc_is_right(batch, ria_read_u32(&r)) ? RIA_OK : RIA_ERR_CORRUPT;
}

/* NULL if the attributes are those of a plain batch. */
static const char *attributes_refused(int16_t attributes)
{
    if ((attributes & ATTRIBUTE_CODEC) != 0) {
        return "compressed record batches are not implemented";
    }
    if ((attributes & ATTRIBUTE_APPEND_TIME) != 0) {
        return "the timestamp type of a produced batch must be create time";
    }
    if ((attributes & ATTRIBUTE_TRANSACTIONAL) != 0) {
        return "transactional record batches are not implemented";
    }
    if ((attributes & ATTRIBUTE_CONTROL) != 0) {
        return "a client must not produce control batches";
    }
    if ((attributes & ATTRIBUTE_DELETE_HORIZON) != 0) {
        return "a produced batch must not have a delete horizon";
    }
    return attributes == 0 ? NULL : "attributes has bits that are not defined";
}

/* NULL if the counts agree with each other and with the batch's size. */
static const char *counts_refused(const struct batch_header *header)
{
    size_t records_size = batch_size(header) - BATCH_HEADER_SIZE;

    if (header->record_count <= 0) {
        return "recordsCount must be at least 1";
    }
    if (header->last_offset_delta != header->record_count - 1) {
        return "lastOffsetDelta must be recordsCount - 1";
    }
    if ((size_t)header->record_count > records_size / RECORD_SIZE_MIN) {
        return "recordsCount is more than the batch can hold";
    }
    return NULL;
}

static const char *producer_refused(const struct batch_header *header)
{
    bool has_none = header->producer_id == -1;

    if (header->producer_id < -1) {
        return "producerId must be -1 (none) or not negative";
    }
    if (has_none && (header->producer_epoch != -1 || header->base_sequence != -1)) {
        return "producerEpoch and baseSequence must be -1 where producerId is -1";
    }
    if (!has_none && (header->producer_epoch < 0 || header->base_sequence < 0)) {
        return "producerEpoch and baseSequence must not be negative where there is a producerId";
    }
    return NULL;
}

static const char *fields_refused(const struct batch_header *header)
{
    const char *reason = attributes_refused(header->attributes);

    if (reason == NULL) {
        reason = counts_refused(header);
    }
    if (reason == NULL && header->base_offset != 0) {
        reason = "baseOffset of a produced batch must be 0";
    }
    if (reason == NULL && (header->base_timestamp < -1 || header->max_timestamp < -1)) {
        reason = "baseTimestamp and maxTimestamp must be at least -1";
    }
    return reason == NULL ? producer_refused(header) : reason;
}

ria_err batch_validate(
    struct ria_slice batch,
    size_t size_max,
    struct batch_header *out_header,
    const char **out_reason
)
{
    struct batch_header header;

    if (batch.data == NULL || batch.size < BATCH_HEADER_SIZE) {
        *out_reason = "a record batch has at least 61 bytes";
        return RIA_ERR_MALFORMED;
    }
    if (batch.size > size_max || batch.size > RIA_BATCH_SIZE_MAX) {
        *out_reason = "the record batch is larger than max.message.bytes";
        return RIA_ERR_TOO_LARGE;
    }
    if (batch_header_decode(batch, &header) != RIA_OK) {
        *out_reason = "not a record batch of version 2 (magic or batchLength is wrong)";
        return RIA_ERR_MALFORMED;
    }
    if (batch_size(&header) != batch.size) {
        *out_reason = "must be exactly one record batch (batchLength differs from what was sent)";
        return RIA_ERR_MALFORMED;
    }
    if (!crc_is_right(batch, header.crc)) {
        *out_reason = "the CRC does not match the record batch";
        return RIA_ERR_CORRUPT;
    }
    const char *reason = fields_refused(&header);
    if (reason != NULL) {
        *out_reason = reason;
        return RIA_ERR_INVALID;
    }
    *out_header = header;
    return RIA_OK;
}

/* ---- reading records ---- */

ria_err batch_iter_init(struct batch_iter *iter, struct ria_slice data)
{
    struct batch_header header;

    RIA_TRY(batch_header_decode(data, &header));
    if (batch_size(&header) > data.size || header.record_count < 0) {
        return RIA_ERR_MALFORMED;
    }
    if ((header.attributes & ATTRIBUTE_CODEC) != 0) {
        return RIA_ERR_UNSUPPORTED;
    }
    *iter = (struct batch_iter){
        .header = header,
        .records = ria_slice_sub(data, BATCH_HEADER_SIZE, batch_size(&header) - BATCH_HEADER_SIZE),
        .offset_delta = -1,
    };
    return RIA_OK;
}

/* Length as a zigzag varint, then the bytes. -1 is null, which is malformed unless nullable. */
static struct ria_slice read_field(struct ria_reader *r, bool nullable)
{
    int32_t size = ria_read_varint(r);

    if (size < 0) {
        if (size != -1 || !nullable) {
            ria_reader_fail(r, RIA_ERR_MALFORMED);
        }
        return RIA_SLICE_NULL;
    }
    return ria_read_bytes(r, (size_t)size);
}

static void read_record_header(struct ria_reader *r, struct batch_record_header *out_header)
{
    out_header->name = read_field(r, false);
    out_header->value = read_field(r, true);
}

/* Walks over the headers to find their end and that each is whole; r ends behind them. */
static void read_headers(struct ria_reader *r, struct batch_record *record)
{
    int32_t count = ria_read_varint(r);
    size_t start = r->pos;

    if (count < 0) {
        ria_reader_fail(r, RIA_ERR_MALFORMED);
        return;
    }
    for (int32_t i = 0; i < count && r->err == RIA_OK; i++) {
        struct batch_record_header header;
        read_record_header(r, &header);
    }
    record->header_count = (uint32_t)count;
    record->headers = ria_slice_of(r->data + start, r->pos - start);
}

/* Reads the record that fills all of `bytes`. */
static ria_err
read_record(struct batch_iter *iter, struct ria_slice bytes, struct batch_record *out_record)
{
    const struct batch_header *header = &iter->header;
    struct ria_reader r = ria_reader_of(bytes);

    ria_read_skip(&r, 1); /* attributes: none are defined */
    int64_t timestamp_delta = ria_read_varlong(&r);
    int32_t offset_delta = ria_read_varint(&r);
    out_record->key = read_field(&r, true);
    out_record->value = read_field(&r, true);
    read_headers(&r, out_record);

    if (r.err != RIA_OK || r.pos != r.size || offset_delta <= iter->offset_delta ||
        offset_delta > header->last_offset_delta ||
        __builtin_add_overflow(header->base_offset, offset_delta, &out_record->offset)) {
        return RIA_ERR_MALFORMED;
    }
    /* Any timestamp is legal; the sum wraps, as it does in Kafka's clients. */
    out_record->timestamp_ms =
        (int64_t)((uint64_t)header->base_timestamp + (uint64_t)timestamp_delta);
    if ((header->attributes & ATTRIBUTE_APPEND_TIME) != 0) {
        out_record->timestamp_ms = header->max_timestamp;
    }
    iter->offset_delta = offset_delta;
    return RIA_OK;
}

ria_err batch_iter_next(struct batch_iter *iter, struct batch_record *out_record, bool *out_more)
{
    struct ria_reader r = ria_reader_of(iter->records);
    struct batch_record record;

    if (iter->index == iter->header.record_count) {
        if (iter->pos != iter->records.size) {
            return RIA_ERR_MALFORMED;
        }
        *out_more = false;
        return RIA_OK;
    }
    r.pos = iter->pos;
    struct ria_slice bytes = read_field(&r, false);
    if (r.err != RIA_OK) {
        return RIA_ERR_MALFORMED;
    }
    RIA_TRY(read_record(iter, bytes, &record));
    iter->pos = r.pos;
    iter->index++;
    *out_record = record;
    *out_more = true;
    return RIA_OK;
}

ria_err batch_record_header_next(
    struct ria_slice *cursor, struct batch_record_header *out_header, bool *out_more
)
{
    struct ria_reader r = ria_reader_of(*cursor);
    struct batch_record_header header;

    if (cursor->size == 0) {
        *out_more = false;
        return RIA_OK;
    }
    read_record_header(&r, &header);
    if (r.err != RIA_OK) {
        return RIA_ERR_MALFORMED;
    }
    *cursor = ria_slice_sub(*cursor, r.pos, cursor->size);
    *out_header = header;
    *out_more = true;
    return RIA_OK;
}
