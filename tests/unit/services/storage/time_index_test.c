#include "services/storage/time_index.h"

#include "common/assert.h"

#include "tests/lib/harness.h"

static void note(struct time_index *index, int64_t timestamp, uint32_t offset, uint32_t position)
{
    RIA_ASSERT(time_index_reserve(index, 1) == RIA_OK);
    time_index_note(index, timestamp, offset, position);
}

static void find_never_skips_a_batch_that_is_late_enough(void)
{
    struct time_index index;

    time_index_init(&index);
    CU_ASSERT_EQUAL(time_index_find(&index, 5), 0);
    for (uint32_t i = 0; i < 1000; i++) {
        note(&index, 100 + i, i, i * 1500);
    }
    time_index_check(&index);
    for (uint32_t i = 0; i < 1000; i++) {
        CU_ASSERT(time_index_find(&index, 100 + i) <= i);
        CU_ASSERT(time_index_find(&index, 100 + i) + 4 >= i);
    }
    CU_ASSERT_EQUAL(time_index_find(&index, 0), 0);
    time_index_truncate(&index, 10);
    CU_ASSERT(time_index_find(&index, INT64_MAX) < 10);
    time_index_fini(&index);
}

static void a_full_index_is_thinned(void)
{
    struct time_index index;

    time_index_init(&index);
    for (uint32_t i = 0; i < 50000; i++) {
        note(&index, 100 + i, i, i * 5000);
    }
    CU_ASSERT(index.count <= TIME_INDEX_MAX);
    time_index_check(&index);
    for (uint32_t i = 0; i < 50000; i += 11) {
        CU_ASSERT(time_index_find(&index, 100 + i) <= i);
    }
    time_index_fini(&index);
}

static void a_file_that_does_not_ascend_is_refused(void)
{
    struct time_index_file_time_index_entry entries[] = {{100, 5}, {110, 9}};
    struct time_index_file file = {.entries = entries, .entries_count = 2};
    struct time_index index;

    time_index_init(&index);
    CU_ASSERT_EQUAL(time_index_load(&index, &file), RIA_OK);
    CU_ASSERT_EQUAL(time_index_find(&index, 111), 9);
    note(&index, 105, 20, 100000); /* older than what the file said: makes no entry */
    CU_ASSERT_EQUAL(index.count, 2);
    entries[1].timestamp = 100;
    CU_ASSERT_EQUAL(time_index_load(&index, &file), RIA_ERR_CORRUPT);
    time_index_fini(&index);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(find_never_skips_a_batch_that_is_late_enough),
    HARNESS_TEST(a_full_index_is_thinned),
    HARNESS_TEST(a_file_that_does_not_ascend_is_refused),
};
HARNESS_MAIN(tests);
