#include "common/timers.h"

#include <string.h>

#include "tests/lib/harness.h"

/* Virtual time. */
struct fake_clock {
    struct ria_clock clock;
    int64_t now_us;
};

static int64_t fake_mono_us(const struct ria_clock *clock)
{
    return ((const struct fake_clock *)(const void *)clock)->now_us;
}

static struct fake_clock fake = {.clock = {.mono_us = fake_mono_us}};

/* Each timer that fires appends its letter. */
struct letter {
    struct ria_timer timer;
    struct ria_timers *timers;
    char letter;
    int repeats; /* restarts itself with no delay so often */
    struct letter *stops;
};

static char fired[64];

static void append(struct ria_timer *timer, void *arg)
{
    struct letter *letter = arg;
    size_t size = strlen(fired);

    CU_ASSERT_PTR_EQUAL(timer, &letter->timer);
    CU_ASSERT_FALSE(timer->active);
    fired[size] = letter->letter;
    fired[size + 1] = '\0';
    if (letter->repeats-- > 0) {
        ria_timer_start(letter->timers, timer, 0);
    }
    if (letter->stops != NULL) {
        ria_timer_stop(letter->timers, &letter->stops->timer);
    }
}

static void letter_init(struct letter *letter, struct ria_timers *timers, char c)
{
    *letter = (struct letter){.timers = timers, .letter = c};
    ria_timer_init(&letter->timer, append, letter);
}

static struct ria_timers timers;
static struct letter a;
static struct letter b;
static struct letter c;

static void set_up(void)
{
    fake.now_us = 1000;
    fired[0] = '\0';
    ria_timers_init(&timers, &fake.clock);
    letter_init(&a, &timers, 'a');
    letter_init(&b, &timers, 'b');
    letter_init(&c, &timers, 'c');
}

static void fire_in_order_of_deadline(void)
{
    set_up();
    ria_timer_start(&timers, &a.timer, 300);
    ria_timer_start(&timers, &b.timer, 100);
    ria_timer_start(&timers, &c.timer, 200);
    CU_ASSERT_EQUAL(ria_timers_next_us(&timers), 1100);
    CU_ASSERT_EQUAL(ria_timers_run(&timers), 100);
    CU_ASSERT_STRING_EQUAL(fired, "");
    fake.now_us = 1250;
    CU_ASSERT_EQUAL(ria_timers_run(&timers), 50);
    CU_ASSERT_STRING_EQUAL(fired, "bc");
    fake.now_us = 1300;
    CU_ASSERT_EQUAL(ria_timers_run(&timers), -1);
    CU_ASSERT_STRING_EQUAL(fired, "bca");
    CU_ASSERT_EQUAL(ria_timers_next_us(&timers), INT64_MAX);
    ria_timers_fini(&timers);
}

static void equal_deadlines_fire_in_order_of_start(void)
{
    set_up();
    ria_timer_start(&timers, &c.timer, 10);
    ria_timer_start(&timers, &a.timer, 10);
    ria_timer_start(&timers, &b.timer, 10);
    fake.now_us += 10;
    CU_ASSERT_EQUAL(ria_timers_run(&timers), -1);
    CU_ASSERT_STRING_EQUAL(fired, "cab");
    ria_timers_fini(&timers);
}

static void restart_moves_the_deadline(void)
{
    set_up();
    ria_timer_start(&timers, &a.timer, 10);
    ria_timer_start(&timers, &a.timer, 1000);
    fake.now_us += 500;
    CU_ASSERT_EQUAL(ria_timers_run(&timers), 500);
    CU_ASSERT_STRING_EQUAL(fired, "");
    ria_timer_start(&timers, &a.timer, 0);
    CU_ASSERT_EQUAL(ria_timers_run(&timers), -1);
    CU_ASSERT_STRING_EQUAL(fired, "a");
    ria_timers_fini(&timers);
}

static void stopped_timer_does_not_fire(void)
{
    set_up();
    ria_timer_stop(&timers, &a.timer);
    ria_timer_start(&timers, &a.timer, 10);
    ria_timer_start(&timers, &b.timer, 10);
    ria_timer_stop(&timers, &a.timer);
    fake.now_us += 10;
    CU_ASSERT_EQUAL(ria_timers_run(&timers), -1);
    CU_ASSERT_STRING_EQUAL(fired, "b");
    ria_timers_fini(&timers);
}

static void callback_may_stop_one_that_is_due(void)
{
    set_up();
    a.stops = &b;
    ria_timer_start(&timers, &a.timer, 10);
    ria_timer_start(&timers, &b.timer, 10);
    ria_timer_start(&timers, &c.timer, 10);
    fake.now_us += 10;
    CU_ASSERT_EQUAL(ria_timers_run(&timers), -1);
    CU_ASSERT_STRING_EQUAL(fired, "ac");
    ria_timers_fini(&timers);
}

static void restart_without_delay_waits_for_the_next_run(void)
{
    set_up();
    a.repeats = 1;
    ria_timer_start(&timers, &a.timer, 10);
    ria_timer_start(&timers, &b.timer, 10);
    fake.now_us += 10;
    CU_ASSERT_EQUAL(ria_timers_run(&timers), 0);
    CU_ASSERT_STRING_EQUAL(fired, "ab");
    CU_ASSERT_EQUAL(ria_timers_run(&timers), -1);
    CU_ASSERT_STRING_EQUAL(fired, "aba");
    ria_timers_fini(&timers);
}

static void endless_delay_does_not_overflow(void)
{
    set_up();
    ria_timer_start(&timers, &a.timer, INT64_MAX);
    CU_ASSERT_EQUAL(ria_timers_next_us(&timers), INT64_MAX);
    CU_ASSERT_TRUE(ria_timers_run(&timers) > 0);
    CU_ASSERT_STRING_EQUAL(fired, "");
    ria_timers_fini(&timers);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(fire_in_order_of_deadline),
    HARNESS_TEST(equal_deadlines_fire_in_order_of_start),
    HARNESS_TEST(restart_moves_the_deadline),
    HARNESS_TEST(stopped_timer_does_not_fire),
    HARNESS_TEST(callback_may_stop_one_that_is_due),
    HARNESS_TEST(restart_without_delay_waits_for_the_next_run),
    HARNESS_TEST(endless_delay_does_not_overflow),
};
HARNESS_MAIN(tests);
