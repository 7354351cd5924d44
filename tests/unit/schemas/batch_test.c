#include "schemas/batch.h"

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/crc.h"
#include "common/limits.h"

#include "tests/lib/harness.h"

enum { NOW_MS = 1000 };

/* Written by kafka-python 2.x: three records, producer 4242, epoch 7, sequence 99. */
static const uint8_t from_kafka[] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x57, 0x00, 0x00, 0x00,
    0x00, 0x02, 0xa1, 0x20, 0x2b, 0xa0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x01,
    0x8b, 0xcf, 0xe5, 0x68, 0x7b, 0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x6b, 0xe7, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x10, 0x92, 0x00, 0x07, 0x00, 0x00, 0x00, 0x63, 0x00, 0x00, 0x00,
    0x03, 0x1a, 0x00, 0x00, 0x00, 0x04, 0x6b, 0x31, 0x0a, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
    0x1a, 0x00, 0x2d, 0x02, 0x01, 0x00, 0x04, 0x02, 0x68, 0x02, 0x76, 0x02, 0x6e, 0x01, 0x12,
    0x00, 0xd8, 0x0d, 0x04, 0x00, 0x01, 0x02, 0x00, 0x00,
};

#define BYTES(text)                               \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }

static const struct batch_record_header two_headers[] = {
    {.name = BYTES("h"), .value = BYTES("v")},
    {.name = BYTES("n"), .value = {NULL, 0}},
};
static const struct batch_record_header empty_header[] = {
    {.name = BYTES(""), .value = BYTES("")},
};

/* The records of from_kafka. */
static void add_three(struct batch_builder *builder)
{
    struct ria_slice empty = RIA_SLICE_EMPTY;
    ria_err err = batch_builder_add(
        builder, 1700000000123, RIA_SLICE_LITERAL("k1"), RIA_SLICE_LITERAL("hello"), NULL, 0
    );

    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    err = batch_builder_add(builder, 1700000000100, RIA_SLICE_NULL, empty, two_headers, 2);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    err = batch_builder_add(builder, 1700000000999, empty, RIA_SLICE_NULL, empty_header, 1);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
}

/* A batch in memory of exactly its size, so that sanitizers see a byte too far; free() it. */
static uint8_t *copy_of(struct ria_slice batch)
{
    uint8_t *copy = malloc(batch.size > 0 ? batch.size : 1);

    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    if (copy != NULL && batch.size > 0) {
        memcpy(copy, batch.data, batch.size);
    }
    return copy;
}

static void write_crc(uint8_t *batch, size_t size)
{
    struct ria_writer w = ria_writer_of(batch + BATCH_CRC_AT, sizeof(uint32_t));

    ria_write_u32(&w, ria_crc32c(batch + BATCH_CRC_FROM, size - BATCH_CRC_FROM));
}

static ria_err validate(struct ria_slice batch, const char **out_reason)
{
    struct batch_header header;

    *out_reason = NULL;
    return batch_validate(batch, RIA_BATCH_SIZE_MAX, &header, out_reason);
}

/* validate() of from_kafka with `size` bytes at `at` replaced by big-endian value and a right CRC.
 */
static ria_err validate_with(size_t at, size_t size, uint64_t value, const char **out_reason)
{
    uint8_t batch[sizeof(from_kafka)];

    memcpy(batch, from_kafka, sizeof(batch));
    for (size_t i = 0; i < size; i++) {
        batch[at + i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    }
    write_crc(batch, sizeof(batch));
    return validate(ria_slice_of(batch, sizeof(batch)), out_reason);
}

/* Every record and every header of it; how it ended. */
static ria_err walk(struct ria_slice data, int *out_records)
{
    struct batch_iter iter;
    struct batch_record record;
    bool more = true;

    *out_records = 0;
    RIA_TRY(batch_iter_init(&iter, data));
    for (;;) {
        RIA_TRY(batch_iter_next(&iter, &record, &more));
        if (!more) {
            return RIA_OK;
        }
        ++*out_records;
        struct ria_slice cursor = record.headers;
        struct batch_record_header header;
        uint32_t headers = 0;
        for (bool more_headers = true; more_headers; headers += more_headers) {
            CU_ASSERT_EQUAL(batch_record_header_next(&cursor, &header, &more_headers), RIA_OK);
        }
        CU_ASSERT_EQUAL(headers, record.header_count);
    }
}

/* ---- the format ---- */

static void builder_writes_what_kafka_writes(void)
{
    struct batch_builder builder;

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    add_three(&builder);
    struct ria_slice batch = batch_builder_finish(&builder, 4242, 7, 99);
    uint8_t *patched = copy_of(batch);
    batch_patch(patched, 0, 0); /* kafka-python leaves the leader epoch 0, we say -1 */

    CU_ASSERT_EQUAL(batch.size, sizeof(from_kafka));
    CU_ASSERT_EQUAL(memcmp(patched, from_kafka, sizeof(from_kafka)), 0);
    free(patched);
    batch_builder_fini(&builder);
}

static void header_is_read_field_by_field(void)
{
    struct batch_header header;
    ria_err err = batch_header_decode(ria_slice_of(from_kafka, BATCH_HEADER_SIZE), &header);

    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    CU_ASSERT_EQUAL(header.base_offset, 0);
    CU_ASSERT_EQUAL(header.leader_epoch, 0);
    CU_ASSERT_EQUAL(header.magic, 2);
    CU_ASSERT_EQUAL(header.crc, 0xa1202ba0);
    CU_ASSERT_EQUAL(header.attributes, 0);
    CU_ASSERT_EQUAL(header.last_offset_delta, 2);
    CU_ASSERT_EQUAL(header.base_timestamp, 1700000000123);
    CU_ASSERT_EQUAL(header.max_timestamp, 1700000000999);
    CU_ASSERT_EQUAL(header.producer_id, 4242);
    CU_ASSERT_EQUAL(header.producer_epoch, 7);
    CU_ASSERT_EQUAL(header.base_sequence, 99);
    CU_ASSERT_EQUAL(header.record_count, 3);
    CU_ASSERT_EQUAL(batch_size(&header), sizeof(from_kafka));
    CU_ASSERT_EQUAL(batch_last_sequence(&header), 101);
}

static void records_are_read_with_null_apart_from_empty(void)
{
    uint8_t batch[sizeof(from_kafka)];
    struct batch_iter iter;
    struct batch_record r[3] = {0};
    bool more = false;

    memcpy(batch, from_kafka, sizeof(batch));
    batch_patch(batch, 500, 3);
    CU_ASSERT_EQUAL_FATAL(batch_iter_init(&iter, ria_slice_of(batch, sizeof(batch))), RIA_OK);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL_FATAL(batch_iter_next(&iter, &r[i], &more), RIA_OK);
        CU_ASSERT_TRUE(more);
        CU_ASSERT_EQUAL(r[i].offset, 500 + i);
    }
    CU_ASSERT_EQUAL(batch_iter_next(&iter, &r[0], &more), RIA_OK);
    CU_ASSERT_FALSE(more);

    CU_ASSERT_EQUAL(r[0].timestamp_ms, 1700000000123);
    CU_ASSERT_TRUE(ria_slice_equal(r[0].key, RIA_SLICE_LITERAL("k1")));
    CU_ASSERT_TRUE(ria_slice_equal(r[0].value, RIA_SLICE_LITERAL("hello")));
    CU_ASSERT_EQUAL(r[0].header_count, 0);
    CU_ASSERT_EQUAL(r[1].timestamp_ms, 1700000000100);
    CU_ASSERT_TRUE(ria_slice_is_null(r[1].key));
    CU_ASSERT_FALSE(ria_slice_is_null(r[1].value));
    CU_ASSERT_EQUAL(r[1].value.size, 0);
    CU_ASSERT_EQUAL(r[2].timestamp_ms, 1700000000999);
    CU_ASSERT_FALSE(ria_slice_is_null(r[2].key));
    CU_ASSERT_TRUE(ria_slice_is_null(r[2].value));

    struct batch_record_header header;
    struct ria_slice cursor = r[1].headers;
    CU_ASSERT_EQUAL(batch_record_header_next(&cursor, &header, &more), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(header.name, RIA_SLICE_LITERAL("h")));
    CU_ASSERT_TRUE(ria_slice_equal(header.value, RIA_SLICE_LITERAL("v")));
    CU_ASSERT_EQUAL(batch_record_header_next(&cursor, &header, &more), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(header.name, RIA_SLICE_LITERAL("n")));
    CU_ASSERT_TRUE(ria_slice_is_null(header.value));
    CU_ASSERT_TRUE(more);
    CU_ASSERT_EQUAL(batch_record_header_next(&cursor, &header, &more), RIA_OK);
    CU_ASSERT_FALSE(more);
}

static void append_time_replaces_the_records_timestamps(void)
{
    uint8_t batch[sizeof(from_kafka)];
    struct batch_iter iter;
    struct batch_record record;
    bool more = false;

    memcpy(batch, from_kafka, sizeof(batch));
    batch[22] = 0x08;
    CU_ASSERT_EQUAL_FATAL(batch_iter_init(&iter, ria_slice_of(batch, sizeof(batch))), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(batch_iter_next(&iter, &record, &more), RIA_OK);
    CU_ASSERT_EQUAL(record.timestamp_ms, 1700000000999);
}

static void patch_leaves_the_crc_right(void)
{
    uint8_t batch[sizeof(from_kafka)];
    struct batch_header header;

    memcpy(batch, from_kafka, sizeof(batch));
    struct ria_slice slice = ria_slice_of(batch, sizeof(batch));
    batch_patch(batch, INT64_C(0x0102030405060708), 77);
    CU_ASSERT_EQUAL(batch_check_crc(slice), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(batch_header_decode(slice, &header), RIA_OK);
    CU_ASSERT_EQUAL(header.base_offset, INT64_C(0x0102030405060708));
    CU_ASSERT_EQUAL(header.leader_epoch, 77);
    CU_ASSERT_EQUAL(batch_last_offset(&header), INT64_C(0x010203040506070a));
}

static void sequences_wrap_to_zero(void)
{
    struct batch_header header = {.base_sequence = INT32_MAX, .last_offset_delta = 2};

    CU_ASSERT_EQUAL(batch_last_sequence(&header), 1);
    CU_ASSERT_EQUAL(batch_next_sequence(INT32_MAX, 3), 2);
    CU_ASSERT_EQUAL(batch_next_sequence(INT32_MAX, 1), 0);
    CU_ASSERT_EQUAL(batch_next_sequence(0, 1), 1);
    header.base_sequence = -1;
    CU_ASSERT_EQUAL(batch_last_sequence(&header), -1);
}

/* ---- what a leader refuses ---- */

static void good_batch_is_accepted(void)
{
    const char *reason = NULL;

    CU_ASSERT_EQUAL(validate(ria_slice_of(from_kafka, sizeof(from_kafka)), &reason), RIA_OK);
    CU_ASSERT_EQUAL(validate_with(12, 4, 5, &reason), RIA_OK); /* any leader epoch */
    CU_ASSERT_EQUAL(validate_with(27, 8, UINT64_MAX, &reason), RIA_OK);
    CU_ASSERT_EQUAL(validate_with(35, 8, INT64_MAX, &reason), RIA_OK);
}

static void batch_cut_off_anywhere_is_malformed(void)
{
    for (size_t size = 0; size < sizeof(from_kafka); size++) {
        struct ria_slice cut = ria_slice_of(from_kafka, size);
        uint8_t *copy = copy_of(cut);
        const char *reason = NULL;
        int records = 0;

        CU_ASSERT_EQUAL(validate(ria_slice_of(copy, size), &reason), RIA_ERR_MALFORMED);
        CU_ASSERT_PTR_NOT_NULL(reason);
        CU_ASSERT_EQUAL(walk(ria_slice_of(copy, size), &records), RIA_ERR_MALFORMED);
        free(copy);
    }
    const char *reason = NULL;
    CU_ASSERT_EQUAL(validate(RIA_SLICE_NULL, &reason), RIA_ERR_MALFORMED);
}

static void two_batches_are_not_one(void)
{
    uint8_t two[2 * sizeof(from_kafka)];
    const char *reason = NULL;

    memcpy(two, from_kafka, sizeof(from_kafka));
    memcpy(two + sizeof(from_kafka), from_kafka, sizeof(from_kafka));
    CU_ASSERT_EQUAL(validate(ria_slice_of(two, sizeof(two)), &reason), RIA_ERR_MALFORMED);
}

static void flipped_bit_under_the_crc_is_corrupt(void)
{
    uint8_t batch[sizeof(from_kafka)];

    memcpy(batch, from_kafka, sizeof(batch));
    struct ria_slice slice = ria_slice_of(batch, sizeof(batch));
    for (size_t bit = BATCH_CRC_FROM * 8; bit < sizeof(batch) * 8; bit++) {
        const char *reason = NULL;

        batch[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CU_ASSERT_EQUAL(validate(slice, &reason), RIA_ERR_CORRUPT);
        CU_ASSERT_EQUAL(batch_check_crc(slice), RIA_ERR_CORRUPT);
        batch[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CU_ASSERT_EQUAL(batch_check_crc(slice), RIA_OK);
    CU_ASSERT_EQUAL(batch_check_crc(ria_slice_of(batch, 20)), RIA_ERR_CORRUPT);
    CU_ASSERT_EQUAL(batch_check_crc(RIA_SLICE_NULL), RIA_ERR_CORRUPT);
}

static void batch_past_the_topics_limit_is_too_large(void)
{
    struct ria_slice batch = ria_slice_of(from_kafka, sizeof(from_kafka));
    struct batch_header header;
    const char *reason = NULL;

    CU_ASSERT_EQUAL(
        batch_validate(batch, sizeof(from_kafka) - 1, &header, &reason), RIA_ERR_TOO_LARGE
    );
    CU_ASSERT_PTR_NOT_NULL(reason);
    CU_ASSERT_EQUAL(batch_validate(batch, sizeof(from_kafka), &header, &reason), RIA_OK);
}

static void every_undefined_or_unwanted_attribute_is_invalid(void)
{
    for (unsigned bit = 0; bit < 16; bit++) {
        const char *reason = NULL;

        CU_ASSERT_EQUAL(validate_with(21, 2, UINT64_C(1) << bit, &reason), RIA_ERR_INVALID);
        CU_ASSERT_PTR_NOT_NULL(reason);
    }
}

struct wrong_field {
    size_t at;
    size_t size;
    int64_t value;
    ria_err err;
};

static void fields_that_break_their_rule_are_refused(void)
{
    static const struct wrong_field wrong[] = {
        {0, 8, 1, RIA_ERR_INVALID}, /* base offset is the leader's */
        {0, 8, -1, RIA_ERR_INVALID},
        {8, 4, 0x56, RIA_ERR_MALFORMED}, /* batch length, one less */
        {8, 4, 0x58, RIA_ERR_MALFORMED}, /* one more */
        {8, 4, 48, RIA_ERR_MALFORMED},   /* less than a header */
        {8, 4, -1, RIA_ERR_MALFORMED},
        {8, 4, INT32_MAX, RIA_ERR_MALFORMED},
        {16, 1, 0, RIA_ERR_MALFORMED}, /* magic */
        {16, 1, 1, RIA_ERR_MALFORMED},
        {16, 1, 3, RIA_ERR_MALFORMED},
        {23, 4, 1, RIA_ERR_INVALID}, /* last offset delta */
        {23, 4, 3, RIA_ERR_INVALID},
        {27, 8, -2, RIA_ERR_INVALID},        /* base timestamp */
        {35, 8, INT64_MIN, RIA_ERR_INVALID}, /* max timestamp */
        {43, 8, -1, RIA_ERR_INVALID},        /* epoch and sequence without producer id */
        {43, 8, -2, RIA_ERR_INVALID},
        {51, 2, -1, RIA_ERR_INVALID}, /* producer id without epoch */
        {53, 4, -1, RIA_ERR_INVALID}, /* producer id without sequence */
        {57, 4, 0, RIA_ERR_INVALID},  /* record count */
        {57, 4, 2, RIA_ERR_INVALID},
        {57, 4, -1, RIA_ERR_INVALID},
    };

    for (size_t i = 0; i < RIA_COUNT(wrong); i++) {
        const struct wrong_field *w = &wrong[i];
        const char *reason = NULL;

        CU_ASSERT_EQUAL(validate_with(w->at, w->size, (uint64_t)w->value, &reason), w->err);
        CU_ASSERT_PTR_NOT_NULL(reason);
    }
}

static void count_that_cannot_fit_is_invalid(void)
{
    uint8_t batch[sizeof(from_kafka)];
    const char *reason = NULL;

    memcpy(batch, from_kafka, sizeof(batch));
    batch[26] = 5; /* last offset delta */
    batch[60] = 6; /* 38 bytes hold at most 5 records */
    write_crc(batch, sizeof(batch));
    CU_ASSERT_EQUAL(validate(ria_slice_of(batch, sizeof(batch)), &reason), RIA_ERR_INVALID);
}

static void batch_without_producer_is_accepted(void)
{
    struct batch_builder builder;
    const char *reason = NULL;

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    add_three(&builder);
    CU_ASSERT_EQUAL(validate(batch_builder_finish(&builder, -1, -1, -1), &reason), RIA_OK);
    batch_builder_fini(&builder);
}

/* ---- reading hostile records ---- */

static void any_byte_changed_never_reads_outside(void)
{
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};

    for (size_t at = 0; at < sizeof(from_kafka); at++) {
        for (size_t v = 0; v < sizeof(values); v++) {
            uint8_t *batch = copy_of(ria_slice_of(from_kafka, sizeof(from_kafka)));
            int records = 0;

            batch[at] = values[v];
            (void)walk(ria_slice_of(batch, sizeof(from_kafka)), &records);
            CU_ASSERT_TRUE(records <= 3);
            free(batch);
        }
    }
}

static void bytes_behind_the_last_record_are_malformed(void)
{
    uint8_t batch[sizeof(from_kafka)];
    int records = 0;

    memcpy(batch, from_kafka, sizeof(batch));
    batch[60] = 2;
    CU_ASSERT_EQUAL(walk(ria_slice_of(batch, sizeof(batch)), &records), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(records, 2);
}

static void offsets_that_do_not_ascend_are_malformed(void)
{
    uint8_t batch[sizeof(from_kafka)];
    int records = 0;

    memcpy(batch, from_kafka, sizeof(batch));
    batch[78] = 0; /* offset delta of the second record */
    CU_ASSERT_EQUAL(walk(ria_slice_of(batch, sizeof(batch)), &records), RIA_ERR_MALFORMED);
    batch[78] = 6; /* 3, past lastOffsetDelta */
    CU_ASSERT_EQUAL(walk(ria_slice_of(batch, sizeof(batch)), &records), RIA_ERR_MALFORMED);
}

static void batch_is_read_from_what_follows_it(void)
{
    uint8_t two[2 * sizeof(from_kafka)];
    int records = 0;

    memcpy(two, from_kafka, sizeof(from_kafka));
    memset(two + sizeof(from_kafka), 0xff, sizeof(from_kafka));
    CU_ASSERT_EQUAL(walk(ria_slice_of(two, sizeof(two)), &records), RIA_OK);
    CU_ASSERT_EQUAL(records, 3);
}

static void compressed_batch_is_unsupported(void)
{
    uint8_t batch[sizeof(from_kafka)];
    struct batch_iter iter;

    memcpy(batch, from_kafka, sizeof(batch));
    for (uint8_t codec = 1; codec < 8; codec++) {
        batch[22] = codec;
        CU_ASSERT_EQUAL(
            batch_iter_init(&iter, ria_slice_of(batch, sizeof(batch))), RIA_ERR_UNSUPPORTED
        );
    }
}

/* ---- building ---- */

static void size_with_is_what_add_makes(void)
{
    static const char text[300] = "";
    struct batch_builder builder;
    struct ria_slice null = RIA_SLICE_NULL;

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (size_t i = 0; i < 300; i++) {
        struct ria_slice value = ria_slice_of(text, i);
        int64_t timestamp_ms = NOW_MS + (int64_t)(i * i * i * i);
        const struct batch_record_header *headers = i % 3 == 0 ? two_headers : NULL;
        uint32_t header_count = i % 3 == 0 ? 2 : 0;
        size_t expected =
            batch_builder_size_with(&builder, timestamp_ms, null, value, headers, header_count);
        ria_err err = batch_builder_add(&builder, timestamp_ms, null, value, headers, header_count);

        CU_ASSERT_EQUAL(err, RIA_OK);
        CU_ASSERT_EQUAL(builder.buf.size, expected);
    }
    int records = 0;
    const char *reason = NULL;
    struct ria_slice batch = batch_builder_finish(&builder, -1, -1, -1);
    CU_ASSERT_EQUAL(validate(batch, &reason), RIA_OK);
    CU_ASSERT_EQUAL(walk(batch, &records), RIA_OK);
    CU_ASSERT_EQUAL(records, 300);
    batch_builder_fini(&builder);
}

static void timestamps_farthest_apart_come_back(void)
{
    static const int64_t timestamps[] = {-1, INT64_MAX, 0, INT64_MAX - 1, -1};
    struct batch_builder builder;
    struct batch_iter iter;
    struct batch_record record;
    struct ria_slice null = RIA_SLICE_NULL;
    bool more = false;

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (size_t i = 0; i < RIA_COUNT(timestamps); i++) {
        CU_ASSERT_EQUAL(batch_builder_add(&builder, timestamps[i], null, null, NULL, 0), RIA_OK);
    }
    ria_err err = batch_iter_init(&iter, batch_builder_finish(&builder, -1, -1, -1));
    CU_ASSERT_EQUAL(err, RIA_OK);
    CU_ASSERT_EQUAL(iter.header.max_timestamp, INT64_MAX);
    for (size_t i = 0; i < RIA_COUNT(timestamps); i++) {
        CU_ASSERT_EQUAL(batch_iter_next(&iter, &record, &more), RIA_OK);
        CU_ASSERT_EQUAL(record.timestamp_ms, timestamps[i]);
    }
    batch_builder_fini(&builder);
}

static void record_that_does_not_fit_adds_nothing(void)
{
    struct batch_builder builder;
    struct ria_slice value = RIA_SLICE_LITERAL("0123456789");

    batch_builder_init(&builder, BATCH_HEADER_SIZE + 2 * 17);
    CU_ASSERT_EQUAL(batch_builder_add(&builder, NOW_MS, RIA_SLICE_NULL, value, NULL, 0), RIA_OK);
    CU_ASSERT_EQUAL(batch_builder_add(&builder, NOW_MS, value, value, NULL, 0), RIA_ERR_LIMIT);
    CU_ASSERT_EQUAL(builder.record_count, 1);
    CU_ASSERT_EQUAL(batch_builder_add(&builder, NOW_MS, RIA_SLICE_NULL, value, NULL, 0), RIA_OK);
    CU_ASSERT_EQUAL(
        batch_builder_add(&builder, NOW_MS, RIA_SLICE_NULL, RIA_SLICE_NULL, NULL, 0), RIA_ERR_LIMIT
    );
    int records = 0;
    CU_ASSERT_EQUAL(walk(batch_builder_finish(&builder, 1, 0, 0), &records), RIA_OK);
    CU_ASSERT_EQUAL(records, 2);
    batch_builder_fini(&builder);
}

static void first_record_that_does_not_fit_leaves_the_builder_empty(void)
{
    struct batch_builder builder;

    batch_builder_init(&builder, BATCH_HEADER_SIZE + 6);
    CU_ASSERT_EQUAL(
        batch_builder_add(&builder, NOW_MS, RIA_SLICE_NULL, RIA_SLICE_NULL, NULL, 0), RIA_ERR_LIMIT
    );
    CU_ASSERT_EQUAL(builder.record_count, 0);
    CU_ASSERT_EQUAL(
        batch_builder_add(&builder, -2, RIA_SLICE_NULL, RIA_SLICE_NULL, NULL, 0), RIA_ERR_INVALID
    );
    batch_builder_fini(&builder);
}

static void finish_again_changes_only_the_producer(void)
{
    struct batch_builder builder;
    struct batch_header header;
    const char *reason = NULL;

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    add_three(&builder);
    (void)batch_builder_finish(&builder, 1, 2, 3);
    struct ria_slice batch = batch_builder_finish(&builder, 4, 5, 6);
    CU_ASSERT_EQUAL(batch_validate(batch, RIA_BATCH_SIZE_MAX, &header, &reason), RIA_OK);
    CU_ASSERT_EQUAL(header.producer_id, 4);
    CU_ASSERT_EQUAL(header.producer_epoch, 5);
    CU_ASSERT_EQUAL(header.base_sequence, 6);
    CU_ASSERT_EQUAL(header.record_count, 3);
    CU_ASSERT_EQUAL(header.leader_epoch, -1);
    batch_builder_fini(&builder);
}

static void reset_builder_starts_anew(void)
{
    struct batch_builder builder;
    struct batch_header header;
    const char *reason = NULL;

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    add_three(&builder);
    batch_builder_reset(&builder);
    CU_ASSERT_EQUAL(
        batch_builder_add(&builder, 5, RIA_SLICE_NULL, RIA_SLICE_NULL, NULL, 0), RIA_OK
    );
    struct ria_slice batch = batch_builder_finish(&builder, -1, -1, -1);
    CU_ASSERT_EQUAL(batch_validate(batch, RIA_BATCH_SIZE_MAX, &header, &reason), RIA_OK);
    CU_ASSERT_EQUAL(batch.size, BATCH_HEADER_SIZE + 7);
    CU_ASSERT_EQUAL(header.base_timestamp, 5);
    CU_ASSERT_EQUAL(header.max_timestamp, 5);
    batch_builder_fini(&builder);
}

static void largest_batch_is_accepted(void)
{
    struct batch_builder builder;
    struct batch_header header;
    const char *reason = NULL;
    size_t size = RIA_BATCH_SIZE_MAX - BATCH_HEADER_SIZE - 13; /* lengths of 4 bytes each */
    uint8_t *value = calloc(1, size + 1);

    CU_ASSERT_PTR_NOT_NULL_FATAL(value);
    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    CU_ASSERT_EQUAL(
        batch_builder_add(&builder, 0, RIA_SLICE_NULL, ria_slice_of(value, size + 1), NULL, 0),
        RIA_ERR_LIMIT
    );
    CU_ASSERT_EQUAL(
        batch_builder_add(&builder, 0, RIA_SLICE_NULL, ria_slice_of(value, size), NULL, 0), RIA_OK
    );
    if (builder.record_count == 1) {
        struct ria_slice batch = batch_builder_finish(&builder, -1, -1, -1);
        CU_ASSERT_EQUAL(batch.size, RIA_BATCH_SIZE_MAX);
        CU_ASSERT_EQUAL(batch_validate(batch, RIA_BATCH_SIZE_MAX, &header, &reason), RIA_OK);
    }
    batch_builder_fini(&builder);
    free(value);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(builder_writes_what_kafka_writes),
    HARNESS_TEST(header_is_read_field_by_field),
    HARNESS_TEST(records_are_read_with_null_apart_from_empty),
    HARNESS_TEST(append_time_replaces_the_records_timestamps),
    HARNESS_TEST(patch_leaves_the_crc_right),
    HARNESS_TEST(sequences_wrap_to_zero),
    HARNESS_TEST(good_batch_is_accepted),
    HARNESS_TEST(batch_cut_off_anywhere_is_malformed),
    HARNESS_TEST(two_batches_are_not_one),
    HARNESS_TEST(flipped_bit_under_the_crc_is_corrupt),
    HARNESS_TEST(batch_past_the_topics_limit_is_too_large),
    HARNESS_TEST(every_undefined_or_unwanted_attribute_is_invalid),
    HARNESS_TEST(fields_that_break_their_rule_are_refused),
    HARNESS_TEST(count_that_cannot_fit_is_invalid),
    HARNESS_TEST(batch_without_producer_is_accepted),
    HARNESS_TEST(any_byte_changed_never_reads_outside),
    HARNESS_TEST(bytes_behind_the_last_record_are_malformed),
    HARNESS_TEST(offsets_that_do_not_ascend_are_malformed),
    HARNESS_TEST(batch_is_read_from_what_follows_it),
    HARNESS_TEST(compressed_batch_is_unsupported),
    HARNESS_TEST(size_with_is_what_add_makes),
    HARNESS_TEST(timestamps_farthest_apart_come_back),
    HARNESS_TEST(record_that_does_not_fit_adds_nothing),
    HARNESS_TEST(first_record_that_does_not_fit_leaves_the_builder_empty),
    HARNESS_TEST(finish_again_changes_only_the_producer),
    HARNESS_TEST(reset_builder_starts_anew),
    HARNESS_TEST(largest_batch_is_accepted),
};

HARNESS_MAIN(tests);
