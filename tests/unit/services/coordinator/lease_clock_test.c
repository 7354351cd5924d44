#include "services/coordinator/lease_clock.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

static void it_goes_on_from_what_was_written(void)
{
    struct fixture f;
    struct lease_clock clock;

    fixture_open(&f);
    lease_clock_init(&clock, &f.clock, 5000);
    CU_ASSERT_EQUAL(lease_clock_ms(&clock), 5000);
    f.mono_us += 1999;
    CU_ASSERT_EQUAL(lease_clock_ms(&clock), 5001);
    fixture_close(&f);
}

static void the_wall_clock_is_nothing_to_it(void)
{
    struct fixture f;
    struct lease_clock clock;

    fixture_open(&f);
    lease_clock_init(&clock, &f.clock, 5000);
    f.wall_ms += 1000000000;
    CU_ASSERT_EQUAL(lease_clock_ms(&clock), 5000);
    f.wall_ms = 0;
    f.mono_us += 1000;
    CU_ASSERT_EQUAL(lease_clock_ms(&clock), 5001);
    fixture_close(&f);
}

static void it_stands_still_while_nobody_runs(void)
{
    struct fixture f;
    struct lease_clock clock;

    fixture_open(&f);
    lease_clock_init(&clock, &f.clock, 5000);
    f.mono_us += 2000000;
    int64_t written = lease_clock_ms(&clock);
    f.mono_us += 3600 * INT64_C(1000000); /* the process is down for an hour */
    lease_clock_init(&clock, &f.clock, written);
    CU_ASSERT_EQUAL(lease_clock_ms(&clock), 7000);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(it_goes_on_from_what_was_written),
    HARNESS_TEST(the_wall_clock_is_nothing_to_it),
    HARNESS_TEST(it_stands_still_while_nobody_runs),
};
HARNESS_MAIN(tests);
