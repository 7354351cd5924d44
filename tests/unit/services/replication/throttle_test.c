#include "services/replication/throttle.h"

#include "tests/lib/harness.h"

static void no_rate_means_no_wait(void)
{
    struct throttle throttle;

    throttle_init(&throttle, 0, 0);
    throttle_take(&throttle, INT64_C(1) << 60);
    CU_ASSERT_EQUAL(throttle_wait_us(&throttle, 1), 0);
}

static void bytes_flow_at_the_rate(void)
{
    struct throttle throttle;
    int64_t now_us = 0;
    int64_t taken = 0;

    throttle_init(&throttle, 1000 * 1000, now_us);
    while (now_us < 10 * 1000 * 1000) {
        int64_t wait_us = throttle_wait_us(&throttle, now_us);
        if (wait_us > 0) {
            now_us += wait_us;
            continue;
        }
        throttle_take(&throttle, 64 * 1024);
        taken += 64 * 1024;
    }
    CU_ASSERT_TRUE(taken >= 10 * 1000 * 1000);
    CU_ASSERT_TRUE(taken <= 10 * 1000 * 1000 + 100 * 1000 + 64 * 1024);
}

static void the_wait_it_names_is_enough_and_not_much_more(void)
{
    struct throttle throttle;

    throttle_init(&throttle, 50 * 1000 * 1000, 0);
    throttle_take(&throttle, 5 * 1000 * 1000 + 256 * 1024);
    int64_t wait_us = throttle_wait_us(&throttle, 0);
    CU_ASSERT_TRUE(wait_us > 5000);
    CU_ASSERT_TRUE(wait_us < 6000);
    CU_ASSERT_TRUE(throttle_wait_us(&throttle, wait_us - 100) > 0);
    CU_ASSERT_EQUAL(throttle_wait_us(&throttle, wait_us), 0);
}

static void a_slow_rate_asked_often_still_flows(void)
{
    struct throttle throttle;
    int64_t now_us = 0;

    throttle_init(&throttle, 100, now_us); /* less than a byte a millisecond */
    throttle_take(&throttle, 20);
    while (throttle_wait_us(&throttle, now_us) > 0 && now_us < 10 * 1000 * 1000) {
        now_us += 1000;
    }
    CU_ASSERT_TRUE(now_us <= 200 * 1000);
}

static void idle_time_is_not_saved_up(void)
{
    struct throttle throttle;

    throttle_init(&throttle, 1000 * 1000, 0);
    CU_ASSERT_EQUAL(throttle_wait_us(&throttle, INT64_C(3600) * 1000 * 1000), 0);
    throttle_take(&throttle, 100 * 1000);
    CU_ASSERT_TRUE(throttle_wait_us(&throttle, INT64_C(3600) * 1000 * 1000) > 0);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(no_rate_means_no_wait),
    HARNESS_TEST(bytes_flow_at_the_rate),
    HARNESS_TEST(the_wait_it_names_is_enough_and_not_much_more),
    HARNESS_TEST(a_slow_rate_asked_often_still_flows),
    HARNESS_TEST(idle_time_is_not_saved_up),
};
HARNESS_MAIN(tests);
