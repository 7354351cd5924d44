#include "common/capacity.h"

#include "tests/lib/harness.h"

static void it_doubles_at_least(void)
{
    CU_ASSERT_EQUAL(ria_capacity_for(16, 16, 1, 8, 1000), 32);
    CU_ASSERT_EQUAL(ria_capacity_for(16, 16, 50, 8, 1000), 66);
}

static void it_stays_within_its_bounds(void)
{
    CU_ASSERT_EQUAL(ria_capacity_for(0, 0, 1, 8, 1000), 8);
    CU_ASSERT_EQUAL(ria_capacity_for(600, 600, 1, 8, 1000), 1000);
    CU_ASSERT_EQUAL(ria_capacity_for(UINT32_MAX, 5, UINT32_MAX, 8, UINT32_MAX), UINT32_MAX);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(it_doubles_at_least),
    HARNESS_TEST(it_stays_within_its_bounds),
};

HARNESS_MAIN(tests);
