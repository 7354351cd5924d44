#include "common/codec.h"

#include <stdlib.h>

#include "tests/lib/harness.h"

static struct ria_reader reader(const uint8_t *bytes, size_t size)
{
    return ria_reader_of(ria_slice_of(bytes, size));
}

static void fixed_types_are_big_endian(void)
{
    static const uint8_t expected[] = {0x01, 0xfe, 0x12, 0x34, 0xff, 0xfe, 0x89, 0xab, 0xcd, 0xef,
                                       0x80, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06,
                                       0x07, 0x08, 0x3f, 0xf8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                       0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    uint8_t bytes[sizeof(expected)];
    struct ria_writer w = ria_writer_of(bytes, sizeof(bytes));

    ria_write_bool(&w, true);
    ria_write_i8(&w, -2);
    ria_write_u16(&w, 0x1234);
    ria_write_i16(&w, -2);
    ria_write_u32(&w, 0x89abcdef);
    ria_write_i32(&w, INT32_MIN);
    ria_write_u64(&w, 0x0102030405060708);
    ria_write_f64(&w, 1.5);
    ria_write_i64(&w, INT64_MIN);
    CU_ASSERT_EQUAL(w.pos, sizeof(expected));
    CU_ASSERT_EQUAL(memcmp(bytes, expected, sizeof(expected)), 0);

    struct ria_reader r = reader(bytes, sizeof(bytes));
    CU_ASSERT_TRUE(ria_read_bool(&r));
    CU_ASSERT_EQUAL(ria_read_i8(&r), -2);
    CU_ASSERT_EQUAL(ria_read_u16(&r), 0x1234);
    CU_ASSERT_EQUAL(ria_read_i16(&r), -2);
    CU_ASSERT_EQUAL(ria_read_u32(&r), 0x89abcdef);
    CU_ASSERT_EQUAL(ria_read_i32(&r), INT32_MIN);
    CU_ASSERT_EQUAL(ria_read_u64(&r), 0x0102030405060708);
    CU_ASSERT_TRUE(ria_read_f64(&r) == 1.5);
    CU_ASSERT_EQUAL(ria_read_i64(&r), INT64_MIN);
    CU_ASSERT_EQUAL(r.err, RIA_OK);
    CU_ASSERT_EQUAL(ria_reader_left(&r), 0);
}

static void first_error_sticks_and_reads_give_zero(void)
{
    static const uint8_t bytes[] = {0xff, 0xff, 0xff};
    struct ria_reader r = reader(bytes, sizeof(bytes));

    CU_ASSERT_EQUAL(ria_read_u32(&r), 0);
    CU_ASSERT_EQUAL(r.err, RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(ria_read_u8(&r), 0);
    CU_ASSERT_EQUAL(ria_read_uvarint(&r), 0);
    CU_ASSERT_TRUE(ria_slice_is_null(ria_read_bytes(&r, 0)));
    ria_reader_fail(&r, RIA_ERR_LIMIT);
    CU_ASSERT_EQUAL(r.err, RIA_ERR_MALFORMED);
}

static void reading_nothing_from_a_null_slice_is_harmless(void)
{
    struct ria_reader r = ria_reader_of(RIA_SLICE_NULL);

    struct ria_slice none = ria_read_bytes(&r, 0);
    CU_ASSERT_FALSE(ria_slice_is_null(none));
    ria_read_skip(&r, 0);
    CU_ASSERT_EQUAL(r.err, RIA_OK);
    ria_read_skip(&r, 1);
    CU_ASSERT_EQUAL(r.err, RIA_ERR_MALFORMED);
}

static void varints_round_trip_at_their_announced_size(void)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int offset = -1; offset <= 1; offset++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)(int64_t)offset;
            int64_t signed_value = (int64_t)value;
            uint8_t bytes[4 * RIA_UVARLONG_SIZE_MAX];
            struct ria_writer w = ria_writer_of(bytes, sizeof(bytes));

            ria_write_uvarlong(&w, value);
            CU_ASSERT_EQUAL(w.pos, ria_uvarlong_size(value));
            ria_write_varlong(&w, signed_value);
            CU_ASSERT_EQUAL(w.pos, ria_uvarlong_size(value) + ria_varlong_size(signed_value));
            size_t before = w.pos;
            ria_write_uvarint(&w, (uint32_t)value);
            CU_ASSERT_EQUAL(w.pos - before, ria_uvarint_size((uint32_t)value));
            before = w.pos;
            ria_write_varint(&w, (int32_t)value);
            CU_ASSERT_EQUAL(w.pos - before, ria_varint_size((int32_t)value));

            struct ria_reader r = reader(bytes, w.pos);
            CU_ASSERT_EQUAL(ria_read_uvarlong(&r), value);
            CU_ASSERT_EQUAL(ria_read_varlong(&r), signed_value);
            CU_ASSERT_EQUAL(ria_read_uvarint(&r), (uint32_t)value);
            CU_ASSERT_EQUAL(ria_read_varint(&r), (int32_t)value);
            CU_ASSERT_EQUAL(r.err, RIA_OK);
            CU_ASSERT_EQUAL(ria_reader_left(&r), 0);
        }
    }
}

/* The table of KIP-482's and the record format's well-known values. */
static void varints_have_kafkas_bytes(void)
{
    uint8_t bytes[16];
    struct ria_writer w = ria_writer_of(bytes, sizeof(bytes));

    ria_write_uvarint(&w, 300);
    ria_write_varint(&w, -1);
    ria_write_varint(&w, 1);
    ria_write_varint(&w, -65);
    static const uint8_t expected[] = {0xac, 0x02, 0x01, 0x02, 0x81, 0x01};
    CU_ASSERT_EQUAL(w.pos, sizeof(expected));
    CU_ASSERT_EQUAL(memcmp(bytes, expected, sizeof(expected)), 0);
}

static ria_err uvarint_err(const uint8_t *bytes, size_t size)
{
    struct ria_reader r = reader(bytes, size);
    (void)ria_read_uvarint(&r);
    return r.err;
}

static ria_err uvarlong_err(const uint8_t *bytes, size_t size)
{
    struct ria_reader r = reader(bytes, size);
    (void)ria_read_uvarlong(&r);
    return r.err;
}

static void overlong_and_overflowing_varints_are_malformed(void)
{
    static const uint8_t overlong[] = {0x80, 0x00};
    static const uint8_t max32[] = {0xff, 0xff, 0xff, 0xff, 0x0f};
    static const uint8_t over32[] = {0xff, 0xff, 0xff, 0xff, 0x1f};
    static const uint8_t max64[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    static const uint8_t over64[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    static const uint8_t endless[] = {
        0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01};

    CU_ASSERT_EQUAL(uvarint_err(overlong, 2), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(uvarint_err(overlong, 1), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(uvarint_err(overlong, 0), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(uvarint_err(max32, sizeof(max32)), RIA_OK);
    CU_ASSERT_EQUAL(uvarint_err(over32, sizeof(over32)), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(uvarlong_err(max64, sizeof(max64)), RIA_OK);
    CU_ASSERT_EQUAL(uvarlong_err(over64, sizeof(over64)), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(uvarlong_err(endless, sizeof(endless)), RIA_ERR_MALFORMED);
}

static void lengths_past_max_are_limit_and_past_the_end_malformed(void)
{
    static const uint8_t compact[] = {5, 'a', 'b', 'c'};
    static const uint8_t plain[] = {0, 4, 'a', 'b', 'c'};
    static const uint8_t negative[] = {0xff, 0xfe};
    struct ria_reader r = reader(compact, sizeof(compact));

    CU_ASSERT_TRUE(ria_slice_is_null(ria_read_string(&r, true, false, 3)));
    CU_ASSERT_EQUAL(r.err, RIA_ERR_LIMIT);
    r = reader(compact, sizeof(compact));
    (void)ria_read_blob(&r, true, false, 4);
    CU_ASSERT_EQUAL(r.err, RIA_ERR_MALFORMED);
    r = reader(plain, sizeof(plain));
    (void)ria_read_string(&r, false, false, 3);
    CU_ASSERT_EQUAL(r.err, RIA_ERR_LIMIT);
    r = reader(negative, sizeof(negative));
    (void)ria_read_string(&r, false, true, 3);
    CU_ASSERT_EQUAL(r.err, RIA_ERR_MALFORMED);
}

static void null_needs_a_nullable_field(void)
{
    static const uint8_t compact[] = {0};
    static const uint8_t plain[] = {0xff, 0xff, 0xff, 0xff};
    struct ria_reader r = reader(compact, sizeof(compact));

    CU_ASSERT_TRUE(ria_slice_is_null(ria_read_string(&r, true, true, 3)));
    CU_ASSERT_EQUAL(r.err, RIA_OK);
    r = reader(compact, sizeof(compact));
    (void)ria_read_string(&r, true, false, 3);
    CU_ASSERT_EQUAL(r.err, RIA_ERR_MALFORMED);
    r = reader(plain, sizeof(plain));
    CU_ASSERT_TRUE(ria_slice_is_null(ria_read_blob(&r, false, true, 3)));
    CU_ASSERT_EQUAL(r.err, RIA_OK);
    r = reader(plain, sizeof(plain));
    (void)ria_read_blob(&r, false, false, 3);
    CU_ASSERT_EQUAL(r.err, RIA_ERR_MALFORMED);
}

static void array_counts_are_checked_before_allocation(void)
{
    static const uint8_t bytes[] = {0, 0, 0, 3, 1, 2, 3, 4, 5, 6};
    struct ria_array_shape shape = {
        .count_max = 3, .wire_size_min = 2, .item_size = sizeof(uint64_t)};
    struct ria_arena arena;
    uint32_t count = 7;

    ria_arena_init(&arena, 32);
    struct ria_reader r = reader(bytes, sizeof(bytes));
    CU_ASSERT_PTR_NOT_NULL(ria_read_array(&r, &arena, shape, &count));
    CU_ASSERT_EQUAL(count, 3);
    CU_ASSERT_EQUAL(ria_arena_used(&arena), 32);

    r = reader(bytes, sizeof(bytes)); /* the arena is full now */
    CU_ASSERT_PTR_NULL(ria_read_array(&r, &arena, shape, &count));
    CU_ASSERT_EQUAL(r.err, RIA_ERR_LIMIT);
    CU_ASSERT_EQUAL(count, 0);

    ria_arena_reset(&arena);
    r = reader(bytes, sizeof(bytes) - 1);
    CU_ASSERT_PTR_NULL(ria_read_array(&r, &arena, shape, &count));
    CU_ASSERT_EQUAL(r.err, RIA_ERR_MALFORMED);
    shape.count_max = 2;
    r = reader(bytes, sizeof(bytes));
    CU_ASSERT_PTR_NULL(ria_read_array(&r, &arena, shape, &count));
    CU_ASSERT_EQUAL(r.err, RIA_ERR_LIMIT);
    CU_ASSERT_EQUAL(ria_arena_used(&arena), 0);
    ria_arena_fini(&arena);
}

static ria_err tags_err(const uint8_t *bytes, size_t size)
{
    struct ria_reader r = reader(bytes, size);

    ria_read_tags_unknown(&r);
    CU_ASSERT_TRUE(r.err != RIA_OK || ria_reader_left(&r) == 0);
    return r.err;
}

static void tags_must_ascend_and_fit(void)
{
    static const uint8_t good[] = {2, 0, 1, 'x', 9, 0};
    static const uint8_t twice[] = {2, 3, 0, 3, 0};
    static const uint8_t back[] = {2, 3, 0, 2, 0};
    static const uint8_t past_end[] = {1, 0, 2, 'x'};

    CU_ASSERT_EQUAL(tags_err(good, sizeof(good)), RIA_OK);
    CU_ASSERT_EQUAL(tags_err(twice, sizeof(twice)), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(tags_err(back, sizeof(back)), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(tags_err(past_end, sizeof(past_end)), RIA_ERR_MALFORMED);
}

static void tagged_field_must_be_read_to_its_end_and_no_further(void)
{
    static const uint8_t bytes[] = {1, 0, 2, 0xaa, 0xbb, 0xcc};

    for (int take = 1; take <= 3; take++) {
        struct ria_reader r = reader(bytes, sizeof(bytes));
        struct ria_tags tags = ria_read_tags(&r);

        CU_ASSERT_TRUE(ria_tags_next(&tags, &r));
        CU_ASSERT_EQUAL(tags.tag, 0);
        for (int i = 0; i < take; i++) {
            (void)ria_read_u8(&r);
        }
        CU_ASSERT_FALSE(ria_tags_next(&tags, &r));
        CU_ASSERT_EQUAL(r.err, take == 2 ? RIA_OK : RIA_ERR_MALFORMED);
        CU_ASSERT_EQUAL(ria_reader_left(&r), take == 2 ? 1 : 0);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(fixed_types_are_big_endian),
    HARNESS_TEST(first_error_sticks_and_reads_give_zero),
    HARNESS_TEST(reading_nothing_from_a_null_slice_is_harmless),
    HARNESS_TEST(varints_round_trip_at_their_announced_size),
    HARNESS_TEST(varints_have_kafkas_bytes),
    HARNESS_TEST(overlong_and_overflowing_varints_are_malformed),
    HARNESS_TEST(lengths_past_max_are_limit_and_past_the_end_malformed),
    HARNESS_TEST(null_needs_a_nullable_field),
    HARNESS_TEST(array_counts_are_checked_before_allocation),
    HARNESS_TEST(tags_must_ascend_and_fit),
    HARNESS_TEST(tagged_field_must_be_read_to_its_end_and_no_further),
};

HARNESS_MAIN(tests);
