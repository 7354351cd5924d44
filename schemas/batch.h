/* batch: Kafka's record batch v2, byte for byte, as it stands on disk and on the wire.
 *
 * Format: docs/formats/record-batch.md. Everything storage needs is in the 61-byte header; only the
 * edge (gateway, transform) looks at records. The CRC covers bytes 21 to the end, so a leader
 * patches base offset and leader epoch without touching it. Compressed batches are refused for now.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"

enum {
    BATCH_MAGIC = 2,
    BATCH_HEADER_SIZE = 61,
    BATCH_CRC_AT = 17,
    BATCH_CRC_FROM = 21,   /* first byte under the CRC */
    BATCH_LENGTH_FROM = 12 /* batchLength counts from here */
};

struct batch_header {
    int64_t base_offset;
    int32_t batch_length;
    int32_t leader_epoch;
    int8_t magic;
    uint32_t crc;
    int16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id;    /* -1 = none */
    int16_t producer_epoch; /* -1 = none */
    int32_t base_sequence;  /* -1 = none */
    int32_t record_count;
};

/* Reads the first 61 bytes and checks what makes the batch's extent trustworthy: magic 2, length
 * between 49 and RIA_BATCH_SIZE_MAX - 12. Does not need the rest of the batch.
 * Errors: RIA_ERR_MALFORMED (also if there are fewer than 61 bytes). */
ria_err batch_header_decode(struct ria_slice data, struct batch_header *out_header) RIA_MUST_USE;

/* Bytes of the whole batch, header included. */
static inline size_t batch_size(const struct batch_header *header)
{
    return (size_t)header->batch_length + BATCH_LENGTH_FROM;
}

static inline int64_t batch_last_offset(const struct batch_header *header)
{
    return header->base_offset + header->last_offset_delta;
}

/* Last sequence of the batch; wraps from 2^31-1 to 0. -1 if it has none. */
int32_t batch_last_sequence(const struct batch_header *header);

/* The first sequence of the batch that follows one of record_count records that begins with
 * `sequence` (with record_count 1: the sequence behind `sequence`). Wraps from 2^31-1 to 0. */
int32_t batch_next_sequence(int32_t sequence, int32_t record_count);

/* RIA_OK if the CRC is right. data is exactly one batch. Errors: RIA_ERR_CORRUPT. */
ria_err batch_check_crc(struct ria_slice batch) RIA_MUST_USE;

/* What a leader checks before it appends a producer's batch: exactly one whole batch, CRC, counts,
 * base offset 0, no compression, control, transactional or append-time bits, producer fields
 * consistent, size <= size_max. *out_reason (static text) is set on errors.
 * Errors: RIA_ERR_CORRUPT (CRC), RIA_ERR_TOO_LARGE, RIA_ERR_INVALID, RIA_ERR_MALFORMED. */
ria_err batch_validate(
    struct ria_slice batch,
    size_t size_max,
    struct batch_header *out_header,
    const char **out_reason
) RIA_MUST_USE;

/* Set base offset and leader epoch in place. */
void batch_patch(uint8_t *batch, int64_t base_offset, int32_t leader_epoch);

/* One header of a record. A null value has data == NULL. */
struct batch_record_header {
    struct ria_slice name;
    struct ria_slice value;
};

struct batch_record {
    int64_t offset;
    int64_t timestamp_ms;
    struct ria_slice key;   /* data == NULL: null */
    struct ria_slice value; /* data == NULL: null (tombstone) */
    uint32_t header_count;
    struct ria_slice headers; /* encoded; walk with batch_record_header_next() */
};

/* Walk over the records of one batch. Borrows the bytes. */
struct batch_iter {
    struct batch_header header;
    struct ria_slice records;
    size_t pos;
    int32_t index;
    int32_t offset_delta; /* of the record before, -1 at first */
};

/* data begins with a batch and may continue behind it. Checks length against data, not the CRC.
 * Errors: RIA_ERR_MALFORMED, RIA_ERR_UNSUPPORTED (compressed). */
ria_err batch_iter_init(struct batch_iter *iter, struct ria_slice data) RIA_MUST_USE;

/* *out_more = false at the end. Everything is checked, the record's headers too: within the batch,
 * offsets ascend and end at last_offset_delta at most, as many records as the header says and
 * nothing behind them. Errors: RIA_ERR_MALFORMED. */
ria_err batch_iter_next(struct batch_iter *iter, struct batch_record *out_record, bool *out_more)
    RIA_MUST_USE;

/* *cursor starts as record->headers and shrinks. Errors: RIA_ERR_MALFORMED. */
ria_err batch_record_header_next(
    struct ria_slice *cursor, struct batch_record_header *out_header, bool *out_more
) RIA_MUST_USE;

/* Builds one batch in a buffer of its own; records are encoded as they are added. */
struct batch_builder {
    struct ria_buf buf; /* header room, then records */
    int32_t record_count;
    int64_t base_timestamp;
    int64_t max_timestamp;
};

/* size_max bounds the whole batch. */
void batch_builder_init(struct batch_builder *builder, size_t size_max);
void batch_builder_fini(struct batch_builder *builder);

/* Bytes the batch would have with this record added: to decide whether it still fits. */
size_t batch_builder_size_with(
    const struct batch_builder *builder,
    int64_t timestamp_ms,
    struct ria_slice key,
    struct ria_slice value,
    const struct batch_record_header *headers,
    uint32_t header_count
);

/* Copies everything. timestamp_ms >= -1. Errors, after which nothing was added: RIA_ERR_LIMIT (does
 * not fit), RIA_ERR_INVALID (timestamp), RIA_ERR_NOMEM. */
ria_err batch_builder_add(
    struct batch_builder *builder,
    int64_t timestamp_ms,
    struct ria_slice key,
    struct ria_slice value,
    const struct batch_record_header *headers,
    uint32_t header_count
) RIA_MUST_USE;

/* Write header and CRC. At least one record must have been added. May be called again with other
 * producer fields. The slice is valid until the builder changes. */
struct ria_slice batch_builder_finish(
    struct batch_builder *builder,
    int64_t producer_id,
    int16_t producer_epoch,
    int32_t base_sequence
);

/* Empty again, memory kept. */
void batch_builder_reset(struct batch_builder *builder);
