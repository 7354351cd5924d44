#include "common/arena.h"

#include <string.h>

#include "tests/lib/harness.h"

static bool is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

static void memory_is_aligned_zeroed_and_separate(void)
{
    struct ria_arena arena;
    uint8_t *previous = NULL;

    ria_arena_init(&arena, 8 * 1024 * 1024);
    for (size_t size = 1; size < 3000; size += 7) {
        uint8_t *memory = ria_arena_alloc(&arena, size);
        CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
        CU_ASSERT_EQUAL((uintptr_t)memory % 16, 0);
        CU_ASSERT_TRUE(is_zero(memory, size));
        memset(memory, 0xff, size);
        CU_ASSERT_TRUE(previous == NULL || *previous == 0xff);
        previous = memory;
    }
    ria_arena_fini(&arena);
}

static void limit_counts_rounded_bytes_and_is_exact(void)
{
    struct ria_arena arena;

    ria_arena_init(&arena, 64);
    CU_ASSERT_PTR_NULL(ria_arena_alloc(&arena, 65));
    CU_ASSERT_EQUAL(ria_arena_err(&arena), RIA_ERR_LIMIT);
    CU_ASSERT_PTR_NOT_NULL(ria_arena_alloc(&arena, 33));
    CU_ASSERT_EQUAL(ria_arena_used(&arena), 48);
    CU_ASSERT_PTR_NULL(ria_arena_alloc(&arena, 17));
    CU_ASSERT_PTR_NOT_NULL(ria_arena_alloc(&arena, 16));
    CU_ASSERT_PTR_NULL(ria_arena_alloc(&arena, 1));
    CU_ASSERT_PTR_NULL(ria_arena_alloc(&arena, SIZE_MAX));
    CU_ASSERT_PTR_NULL(ria_arena_alloc_array(&arena, SIZE_MAX / 2, 3));
    CU_ASSERT_EQUAL(ria_arena_used(&arena), 64);
    ria_arena_fini(&arena);
}

static void limit_that_is_no_multiple_of_the_alignment_is_kept(void)
{
    struct ria_arena arena;

    ria_arena_init(&arena, 20);
    CU_ASSERT_PTR_NULL(ria_arena_alloc(&arena, 20));
    CU_ASSERT_PTR_NOT_NULL(ria_arena_alloc(&arena, 16));
    CU_ASSERT_TRUE(ria_arena_used(&arena) <= 20);
    ria_arena_fini(&arena);
}

static void reset_reuses_the_first_chunk_zeroed(void)
{
    struct ria_arena arena;

    ria_arena_init(&arena, 1024 * 1024);
    uint8_t *first = ria_arena_alloc(&arena, 100);
    CU_ASSERT_PTR_NOT_NULL_FATAL(first);
    memset(first, 0xff, 100);
    CU_ASSERT_PTR_NOT_NULL(ria_arena_alloc(&arena, 500 * 1024));
    ria_arena_reset(&arena);
    CU_ASSERT_EQUAL(ria_arena_used(&arena), 0);
    uint8_t *again = ria_arena_alloc(&arena, 100);
    CU_ASSERT_PTR_EQUAL(again, first);
    CU_ASSERT_TRUE(is_zero(again, 100));
    ria_arena_fini(&arena);
}

static void empty_array_is_not_null_and_costs_nothing(void)
{
    struct ria_arena arena;

    ria_arena_init(&arena, 16);
    CU_ASSERT_PTR_EQUAL(ria_arena_alloc(&arena, 0), ria_arena_empty());
    CU_ASSERT_PTR_EQUAL(ria_arena_alloc_array(&arena, 0, 8), ria_arena_empty());
    CU_ASSERT_EQUAL(ria_arena_used(&arena), 0);
    ria_arena_fini(&arena);
}

static void strdup_terminates(void)
{
    struct ria_arena arena;

    ria_arena_init(&arena, 32);
    CU_ASSERT_STRING_EQUAL(ria_arena_strdup(&arena, ria_slice_of("abcdef", 3)), "abc");
    CU_ASSERT_STRING_EQUAL(ria_arena_strdup(&arena, RIA_SLICE_NULL), "");
    CU_ASSERT_PTR_NULL(ria_arena_strdup(&arena, RIA_SLICE_EMPTY));
    ria_arena_fini(&arena);
    ria_arena_fini(NULL);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(memory_is_aligned_zeroed_and_separate),
    HARNESS_TEST(limit_counts_rounded_bytes_and_is_exact),
    HARNESS_TEST(limit_that_is_no_multiple_of_the_alignment_is_kept),
    HARNESS_TEST(reset_reuses_the_first_chunk_zeroed),
    HARNESS_TEST(empty_array_is_not_null_and_costs_nothing),
    HARNESS_TEST(strdup_terminates),
};

HARNESS_MAIN(tests);
