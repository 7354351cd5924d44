#include "services/storage/offset_index.h"

#include "common/assert.h"

#include "tests/lib/harness.h"

static struct offset_index_place place(uint32_t relative_offset, uint32_t position)
{
    return (struct offset_index_place){.relative_offset = relative_offset, .position = position};
}

static void note(struct offset_index *index, uint32_t relative_offset, uint32_t position)
{
    RIA_ASSERT(offset_index_reserve(index, 1) == RIA_OK);
    offset_index_note(index, place(relative_offset, position));
}

static void entries_are_an_interval_apart(void)
{
    struct offset_index index;

    offset_index_init(&index);
    for (uint32_t i = 0; i < 100; i++) {
        note(&index, i * 3, i * 1000);
    }
    CU_ASSERT_EQUAL(index.count, 19); /* one every five batches, none at 0 */
    CU_ASSERT_EQUAL(index.entries[0].position, 5000);
    CU_ASSERT_EQUAL(index.entries[0].relative_offset, 15);
    offset_index_check(&index);
    offset_index_fini(&index);
}

static void find_gives_the_last_entry_within_both_bounds(void)
{
    struct offset_index index;

    offset_index_init(&index);
    CU_ASSERT_EQUAL(offset_index_find(&index, 1000, 1000).position, 0);
    for (uint32_t i = 0; i < 100; i++) {
        note(&index, i * 3, i * 5000);
    }
    CU_ASSERT_EQUAL(offset_index_find(&index, 2, UINT32_MAX).position, 0);
    CU_ASSERT_EQUAL(offset_index_find(&index, 3, UINT32_MAX).position, 5000);
    CU_ASSERT_EQUAL(offset_index_find(&index, 5, UINT32_MAX).position, 5000);
    CU_ASSERT_EQUAL(offset_index_find(&index, UINT32_MAX, 10000).position, 10000);
    CU_ASSERT_EQUAL(offset_index_find(&index, UINT32_MAX, 9999).relative_offset, 3);
    CU_ASSERT_EQUAL(offset_index_find(&index, UINT32_MAX, UINT32_MAX).position, 495000);
    CU_ASSERT_EQUAL(offset_index_next(&index, 3), 6);
    CU_ASSERT_EQUAL(offset_index_next(&index, 297), UINT32_MAX);
    offset_index_truncate(&index, 10000);
    CU_ASSERT_EQUAL(index.count, 1);
    offset_index_fini(&index);
}

static void a_full_index_is_thinned_and_stays_true(void)
{
    struct offset_index index;

    offset_index_init(&index);
    for (uint32_t i = 0; i < 100000; i++) {
        note(&index, i * 2, i * 20000);
        if (i % 1000 == 0) {
            offset_index_check(&index);
        }
    }
    CU_ASSERT(index.count <= OFFSET_INDEX_MAX);
    CU_ASSERT(index.count > OFFSET_INDEX_MAX / 2);
    for (uint32_t i = 0; i < 100000; i += 37) {
        struct offset_index_place found = offset_index_find(&index, i * 2, UINT32_MAX);
        CU_ASSERT_EQUAL(found.position, found.relative_offset / 2 * 20000);
        CU_ASSERT(found.position <= i * 20000);
        CU_ASSERT(i * 20000 - found.position <= index.interval + 20000);
    }
    offset_index_fini(&index);
}

static void a_forced_entry_is_not_thinned_away(void)
{
    struct offset_index index;

    offset_index_init(&index);
    note(&index, 5, 5000);
    CU_ASSERT_EQUAL(offset_index_reserve(&index, 1), RIA_OK);
    offset_index_force(&index, place(6, 5100));
    for (uint32_t i = 2; i < 20000; i++) {
        note(&index, i * 5, i * 5000);
    }
    CU_ASSERT_EQUAL(index.count, OFFSET_INDEX_MAX);
    CU_ASSERT_EQUAL(offset_index_find(&index, 6, UINT32_MAX).position, 5100);
    offset_index_check(&index);
    offset_index_fini(&index);
}

static void a_file_that_does_not_ascend_is_refused(void)
{
    struct offset_index_file_offset_index_entry entries[] = {{10, 5000}, {20, 9000}};
    struct offset_index_file file = {
        .next_offset = 30, .covered_size = 12000, .entries = entries, .entries_count = 2};
    struct offset_index index;

    offset_index_init(&index);
    CU_ASSERT_EQUAL(offset_index_load(&index, &file), RIA_OK);
    CU_ASSERT_EQUAL(index.count, 2);
    entries[1].position = 5000;
    CU_ASSERT_EQUAL(offset_index_load(&index, &file), RIA_ERR_CORRUPT);
    entries[1].position = 12000;
    CU_ASSERT_EQUAL(offset_index_load(&index, &file), RIA_ERR_CORRUPT);
    entries[1].position = 9000;
    entries[1].relative_offset = 10;
    CU_ASSERT_EQUAL(offset_index_load(&index, &file), RIA_ERR_CORRUPT);
    entries[1].relative_offset = 30;
    CU_ASSERT_EQUAL(offset_index_load(&index, &file), RIA_ERR_CORRUPT);
    CU_ASSERT_EQUAL(index.count, 2);
    offset_index_fini(&index);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(entries_are_an_interval_apart),
    HARNESS_TEST(find_gives_the_last_entry_within_both_bounds),
    HARNESS_TEST(a_full_index_is_thinned_and_stays_true),
    HARNESS_TEST(a_forced_entry_is_not_thinned_away),
    HARNESS_TEST(a_file_that_does_not_ascend_is_refused),
};
HARNESS_MAIN(tests);
