#include "common/rand.h"

#include <string.h>

#include "tests/lib/harness.h"

/* The reference implementation's first outputs for the state {1, 2, 3, 4}. */
static void agrees_with_the_reference(void)
{
    static const uint64_t expected[] = {
        UINT64_C(11520),
        UINT64_C(0),
        UINT64_C(1509978240),
        UINT64_C(1215971899390074240),
    };
    struct ria_rand rand = {{1, 2, 3, 4}};

    for (size_t i = 0; i < RIA_COUNT(expected); i++) {
        CU_ASSERT_EQUAL(ria_rand_u64(&rand), expected[i]);
    }
}

static void same_seed_same_sequence(void)
{
    struct ria_rand a, b, c;

    ria_rand_init(&a, 42);
    ria_rand_init(&b, 42);
    ria_rand_init(&c, 43);
    for (int i = 0; i < 100; i++) {
        uint64_t value = ria_rand_u64(&a);
        CU_ASSERT_EQUAL(value, ria_rand_u64(&b));
        CU_ASSERT_NOT_EQUAL(value, ria_rand_u64(&c));
    }
}

static void below_reaches_every_value_about_equally(void)
{
    struct ria_rand rand;
    unsigned counts[7] = {0};

    ria_rand_init(&rand, 1);
    for (int i = 0; i < 70000; i++) {
        counts[ria_rand_below(&rand, RIA_COUNT(counts))]++;
    }
    for (size_t i = 0; i < RIA_COUNT(counts); i++) {
        CU_ASSERT_TRUE(counts[i] > 9500 && counts[i] < 10500);
    }
    CU_ASSERT_EQUAL(ria_rand_below(&rand, 1), 0);
    CU_ASSERT_TRUE(ria_rand_below(&rand, UINT64_MAX) < UINT64_MAX);
}

static void one_in_one_is_always(void)
{
    struct ria_rand rand;

    ria_rand_init(&rand, 0);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_TRUE(ria_rand_one_in(&rand, 1));
    }
}

static void bytes_writes_exactly_its_size(void)
{
    struct ria_rand rand;
    uint8_t out[16];
    static const uint8_t untouched[16] = {0};

    for (size_t size = 0; size < sizeof(out); size++) {
        ria_rand_init(&rand, 5);
        memset(out, 0, sizeof(out));
        ria_rand_bytes(&rand, out, size);
        CU_ASSERT_EQUAL(memcmp(out + size, untouched, sizeof(out) - size), 0);
    }
    CU_ASSERT_NOT_EQUAL(memcmp(out, untouched, 8), 0);
}

static void system_seeds_differ(void)
{
    struct ria_rand a, b;

    ria_rand_init_system(&a);
    ria_rand_init_system(&b);
    CU_ASSERT_NOT_EQUAL(ria_rand_u64(&a), ria_rand_u64(&b));
}

static const struct harness_test tests[] = {
    HARNESS_TEST(agrees_with_the_reference),
    HARNESS_TEST(same_seed_same_sequence),
    HARNESS_TEST(below_reaches_every_value_about_equally),
    HARNESS_TEST(one_in_one_is_always),
    HARNESS_TEST(bytes_writes_exactly_its_size),
    HARNESS_TEST(system_seeds_differ),
};

HARNESS_MAIN(tests);
