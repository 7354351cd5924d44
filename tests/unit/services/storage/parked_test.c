#include "services/storage/parked.h"

#include <stdlib.h>

#include "tests/lib/harness.h"

/* A clock that stands where the test puts it, and what was resumed. */
struct world {
    struct ria_clock clock;
    struct ria_timers timers;
    struct ria_env env;
    struct parked_set set;
    struct ria_list lists[2];
    struct partition_id id;
    int64_t now_us;
    int ready_calls;
    int resumed;
    parked_end end;
    uint32_t woken;
    ria_err err; /* of the last woken wait */
};

static int64_t mono_us(const struct ria_clock *clock)
{
    const struct world *w = (const void *)((const char *)clock - offsetof(struct world, clock));

    return w->now_us;
}

static void on_ready(void *arg)
{
    ((struct world *)arg)->ready_calls++;
}

static void on_resumed(void *arg, struct parked *parked, parked_end end)
{
    struct world *w = arg;

    w->resumed++;
    w->end = end;
    w->woken = parked->woken_count;
    RIA_LIST_FOREACH (node, &parked->woken) {
        w->err = RIA_CONTAINER(node, struct parked_wait, link)->err;
    }
}

static struct world *setup(void)
{
    struct world *w = calloc(1, sizeof(*w));
    struct ria_uuid topic_id = {{1}};

    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    w->clock.mono_us = mono_us;
    ria_timers_init(&w->timers, &w->clock);
    w->env = (struct ria_env){.clock = &w->clock, .timers = &w->timers};
    w->id = partition_id_of(&topic_id, 7);
    ria_list_init(&w->lists[0]);
    ria_list_init(&w->lists[1]);
    parked_set_init(&w->set, &w->env, on_ready, w);
    return w;
}

static void teardown(struct world *w)
{
    parked_close(&w->set);
    CU_ASSERT_EQUAL(w->set.count, 0);
    CU_ASSERT_EQUAL(w->set.wait_count, 0);
    CU_ASSERT_TRUE(ria_list_is_empty(&w->lists[0]));
    parked_set_fini(&w->set);
    ria_timers_fini(&w->timers);
    free(w);
}

/* Waits in both lists, for offsets 10 and 20. */
static struct parked *park(struct world *w, uint32_t need, uint32_t wait_ms)
{
    struct request_header header = {0};
    struct parked *parked = NULL;

    CU_ASSERT_EQUAL(parked_new(&w->set, NULL, &header, 2, &parked), RIA_OK);
    parked_add(parked, &w->lists[0], &w->id)->offset = 10;
    parked_add(parked, &w->lists[1], &w->id)->offset = 20;
    parked_start(parked, need, wait_ms, on_resumed);
    return parked;
}

static void advance_ms(struct world *w, int64_t ms)
{
    w->now_us += ms * 1000;
    (void)ria_timers_run(&w->timers);
}

static void a_partition_id_keeps_its_number(void)
{
    struct ria_uuid topic_id = {{9}};
    const int32_t numbers[] = {0, 1, 255, 256, INT32_MAX, -1, INT32_MIN};

    for (size_t i = 0; i < RIA_COUNT(numbers); i++) {
        struct partition_id id = partition_id_of(&topic_id, numbers[i]);
        CU_ASSERT_EQUAL(partition_id_number(&id), numbers[i]);
    }
}

static void it_wakes_when_a_partition_has_moved_past_its_offset(void)
{
    struct world *w = setup();

    (void)park(w, 1, 0);
    parked_wake(&w->lists[0], 10); /* the record at 10 is not there yet */
    parked_flush(&w->set);
    CU_ASSERT_EQUAL(w->resumed, 0);
    parked_wake(&w->lists[0], 11);
    CU_ASSERT_EQUAL(w->ready_calls, 1);
    CU_ASSERT_EQUAL(w->resumed, 0); /* only at the flush */
    parked_wake(&w->lists[1], 21);
    parked_flush(&w->set);
    CU_ASSERT_EQUAL(w->resumed, 1);
    CU_ASSERT_EQUAL(w->end, PARKED_READY);
    CU_ASSERT_EQUAL(w->woken, 2); /* both, in one answer */
    teardown(w);
}

static void it_waits_for_all_where_all_are_needed(void)
{
    struct world *w = setup();

    (void)park(w, 2, 0);
    parked_wake(&w->lists[0], 11);
    parked_flush(&w->set);
    CU_ASSERT_EQUAL(w->resumed, 0);
    parked_wake_all(&w->lists[1], RIA_ERR_IO);
    parked_flush(&w->set);
    CU_ASSERT_EQUAL(w->resumed, 1);
    CU_ASSERT_EQUAL(w->err, RIA_ERR_IO);
    teardown(w);
}

static void it_expires(void)
{
    struct world *w = setup();

    (void)park(w, 1, 100);
    advance_ms(w, 99);
    CU_ASSERT_EQUAL(w->resumed, 0);
    advance_ms(w, 1);
    CU_ASSERT_EQUAL(w->resumed, 1);
    CU_ASSERT_EQUAL(w->end, PARKED_EXPIRED);
    CU_ASSERT_TRUE(ria_list_is_empty(&w->lists[1]));
    teardown(w);
}

static void what_is_ready_does_not_expire_as_well(void)
{
    struct world *w = setup();

    (void)park(w, 1, 100);
    parked_wake(&w->lists[0], 11);
    parked_flush(&w->set);
    advance_ms(w, 1000);
    CU_ASSERT_EQUAL(w->resumed, 1);
    teardown(w);
}

static void a_newer_one_of_the_session_replaces_it(void)
{
    struct world *w = setup();

    CU_ASSERT_EQUAL(parked_join(park(w, 1, 0), PARKED_WATCH, 5), RIA_OK);
    parked_replace(&w->set, PARKED_WATCH, 6);
    CU_ASSERT_EQUAL(w->resumed, 0);
    parked_replace(&w->set, PARKED_WATCH, 5);
    CU_ASSERT_EQUAL(w->resumed, 1);
    CU_ASSERT_EQUAL(w->end, PARKED_REPLACED);
    parked_replace(&w->set, PARKED_WATCH, 5); /* there is none any more */
    CU_ASSERT_EQUAL(w->resumed, 1);
    teardown(w);
}

static void closing_ends_everything(void)
{
    struct world *w = setup();

    (void)park(w, 1, 0);
    (void)park(w, 2, 100);
    parked_wake(&w->lists[0], 11); /* the first is ready, the second half */
    parked_close(&w->set);
    CU_ASSERT_EQUAL(w->resumed, 2);
    CU_ASSERT_EQUAL(w->end, PARKED_CLOSED);
    teardown(w);
}

static void waits_are_bounded(void)
{
    struct world *w = setup();
    struct request_header header = {0};
    struct parked *parked = NULL;

    CU_ASSERT_EQUAL(parked_new(&w->set, NULL, &header, PARKED_WAITS_MAX, &parked), RIA_OK);
    struct parked *more = NULL;
    CU_ASSERT_EQUAL(parked_new(&w->set, NULL, &header, 1, &more), RIA_ERR_BUSY);
    parked_free(parked);
    CU_ASSERT_EQUAL(parked_new(&w->set, NULL, &header, 1, &more), RIA_OK);
    parked_free(more);
    teardown(w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_partition_id_keeps_its_number),
    HARNESS_TEST(it_wakes_when_a_partition_has_moved_past_its_offset),
    HARNESS_TEST(it_waits_for_all_where_all_are_needed),
    HARNESS_TEST(it_expires),
    HARNESS_TEST(what_is_ready_does_not_expire_as_well),
    HARNESS_TEST(a_newer_one_of_the_session_replaces_it),
    HARNESS_TEST(closing_ends_everything),
    HARNESS_TEST(waits_are_bounded),
};
HARNESS_MAIN(tests);
