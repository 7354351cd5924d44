#include "services/gateway/queue_lock.h"

#include <string.h>

#include "common/base64.h"
#include "common/crc.h"

#include "tests/lib/harness.h"

static const struct ria_uuid ours = {{1, 2, 3}};
static const struct ria_uuid theirs = {{1, 2, 4}};

struct work {
    struct ria_arena arena;
    struct ria_buf text;
    struct queue_lock back;
};

static void work_init(struct work *work)
{
    ria_arena_init(&work->arena, 1 << 20);
    ria_buf_init(&work->text, QUEUE_LOCK_TEXT_MAX);
}

static void work_fini(struct work *work)
{
    ria_buf_fini(&work->text);
    ria_arena_fini(&work->arena);
}

static struct queue_lock lock_of(struct queue_range *ranges, uint32_t count)
{
    return (struct queue_lock
    ){.topic_id = {{9, 8, 7}}, .group = 77, .ranges = ranges, .count = count};
}

static lock_verdict encode_and_decode(struct work *work, const struct queue_lock *lock)
{
    ria_buf_clear(&work->text);
    CU_ASSERT_EQUAL_FATAL(queue_lock_encode(lock, &ours, &work->arena, &work->text), RIA_OK);
    return queue_lock_decode(ria_buf_slice(&work->text), &ours, &work->arena, &work->back);
}

static void a_lock_comes_back_as_it_was(void)
{
    struct queue_range ranges[] = {
        {3, 11, 40, 40},
        {0, 9, 0, 999},
        {9999, INT64_MAX, INT64_MAX - 1, INT64_MAX - 1},
        {1, 1, 7, 8},
    };
    struct queue_lock lock = lock_of(ranges, 4);
    struct work work;

    work_init(&work);
    CU_ASSERT_EQUAL_FATAL(encode_and_decode(&work, &lock), LOCK_FINE);
    CU_ASSERT_TRUE(ria_uuid_equal(work.back.topic_id, lock.topic_id));
    CU_ASSERT_EQUAL(work.back.group, 77);
    CU_ASSERT_EQUAL_FATAL(work.back.count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(work.back.ranges[i].partition, ranges[i].partition);
        CU_ASSERT_EQUAL(work.back.ranges[i].lease, ranges[i].lease);
        CU_ASSERT_EQUAL(work.back.ranges[i].first, ranges[i].first);
        CU_ASSERT_EQUAL(work.back.ranges[i].last, ranges[i].last);
    }
    work_fini(&work);
}

static void a_record_s_lock_is_short_and_fit_for_a_header(void)
{
    struct queue_range range = {12, 1000000, 1000000000, 1000000000};
    struct queue_lock lock = lock_of(&range, 1);
    struct work work;

    work_init(&work);
    CU_ASSERT_EQUAL(encode_and_decode(&work, &lock), LOCK_FINE);
    CU_ASSERT_TRUE(work.text.size <= 64);
    for (size_t i = 0; i < work.text.size; i++) {
        CU_ASSERT_PTR_NOT_NULL(strchr(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", work.text.data[i]
        ));
    }
    work_fini(&work);
}

static void the_most_ranges_fit_in_the_longest_text(void)
{
    struct queue_range ranges[QUEUE_LOCK_RANGES_MAX];
    struct queue_lock lock = lock_of(ranges, QUEUE_LOCK_RANGES_MAX);
    struct work work;

    work_init(&work);
    for (uint32_t i = 0; i < QUEUE_LOCK_RANGES_MAX; i++) {
        int64_t far = i % 2 == 0 ? 0 : INT64_MAX - 1;
        ranges[i] = (struct queue_range){i % 2 == 0 ? 0 : 9999, far, far, far};
    }
    CU_ASSERT_EQUAL(encode_and_decode(&work, &lock), LOCK_FINE);
    CU_ASSERT_EQUAL(work.back.count, QUEUE_LOCK_RANGES_MAX);
    work_fini(&work);
}

static void what_is_cut_off_or_changed_is_damaged_or_no_lock(void)
{
    struct queue_range ranges[] = {{3, 11, 40, 41}, {4, 11, 50, 50}};
    struct queue_lock lock = lock_of(ranges, 2);
    struct work work;

    work_init(&work);
    CU_ASSERT_EQUAL_FATAL(encode_and_decode(&work, &lock), LOCK_FINE);
    for (size_t size = 0; size < work.text.size; size++) {
        struct ria_slice cut = ria_slice_of(work.text.data, size);
        CU_ASSERT_NOT_EQUAL(queue_lock_decode(cut, &ours, &work.arena, &work.back), LOCK_FINE);
    }
    for (size_t i = 0; i < work.text.size; i++) {
        uint8_t was = work.text.data[i];
        work.text.data[i] = was == 'A' ? 'B' : 'A';
        CU_ASSERT_NOT_EQUAL(
            queue_lock_decode(ria_buf_slice(&work.text), &ours, &work.arena, &work.back), LOCK_FINE
        );
        work.text.data[i] = was;
    }
    CU_ASSERT_EQUAL(
        queue_lock_decode(ria_buf_slice(&work.text), &theirs, &work.arena, &work.back), LOCK_FOREIGN
    );
    CU_ASSERT_EQUAL(
        queue_lock_decode(RIA_SLICE_LITERAL("=+/ "), &ours, &work.arena, &work.back), LOCK_MALFORMED
    );
    work_fini(&work);
}

/* A lock with a right check around anything. */
static lock_verdict decode_raw(struct work *work, const char *tail, size_t tail_size)
{
    uint8_t raw[128] = {1, 3};
    char text[256];
    uint32_t tag = ria_crc32c(ours.bytes, sizeof(ours.bytes));
    size_t size = 26;

    for (int i = 0; i < 4; i++) {
        raw[2 + i] = (uint8_t)(tag >> (24 - 8 * i));
    }
    memcpy(raw + size, tail, tail_size);
    size += tail_size;
    uint32_t check = ria_crc32c(raw, size);
    for (int i = 0; i < 4; i++) {
        raw[size++] = (uint8_t)(check >> (24 - 8 * i));
    }
    size_t text_size = ria_base64url_encode(text, ria_slice_of(raw, size));
    return queue_lock_decode(ria_slice_of(text, text_size), &ours, &work->arena, &work->back);
}

static void what_is_made_up_is_no_lock(void)
{
    struct work work;

    work_init(&work);
    CU_ASSERT_EQUAL(decode_raw(&work, "\x01\x00\x02\x04\x00", 5), LOCK_FINE);
    CU_ASSERT_EQUAL(decode_raw(&work, "\x00", 1), LOCK_MALFORMED);                 /* no range */
    CU_ASSERT_EQUAL(decode_raw(&work, "\x02\x00\x02\x04\x00", 5), LOCK_MALFORMED); /* one of two */
    CU_ASSERT_EQUAL(
        decode_raw(&work, "\x01\x01\x02\x04\x00", 5), LOCK_MALFORMED
    ); /* partition -1 */
    CU_ASSERT_EQUAL(decode_raw(&work, "\x01\x00\x02\x03\x00", 5), LOCK_MALFORMED); /* offset -2 */
    CU_ASSERT_EQUAL(
        decode_raw(&work, "\x01\x00\x02\x04\x01", 5), LOCK_MALFORMED
    ); /* ends in front */
    CU_ASSERT_EQUAL(decode_raw(&work, "\x01\x00\x02\x04\x00z", 6), LOCK_MALFORMED); /* and more */
    work_fini(&work);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_lock_comes_back_as_it_was),
    HARNESS_TEST(a_record_s_lock_is_short_and_fit_for_a_header),
    HARNESS_TEST(the_most_ranges_fit_in_the_longest_text),
    HARNESS_TEST(what_is_cut_off_or_changed_is_damaged_or_no_lock),
    HARNESS_TEST(what_is_made_up_is_no_lock),
};

HARNESS_MAIN(tests);
