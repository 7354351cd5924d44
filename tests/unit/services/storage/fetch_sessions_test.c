#include "services/storage/fetch_sessions.h"

#include <stdlib.h>

#include "tests/lib/harness.h"

/* A clock that stands where the test puts it, partitions with lists, and what was answered. */
struct world {
    struct ria_clock clock;
    struct ria_timers timers;
    struct ria_env env;
    struct fetch_sessions set;
    struct ria_list lists[4];
    int64_t now_us;
    int ready_calls;
    int answers;
    fetch_end end;
    uint32_t ready; /* wishes that were ready at the last answer */
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

static void on_answer(void *arg, struct fetch_session *session, fetch_end end)
{
    struct world *w = arg;

    w->answers++;
    w->end = end;
    w->ready = session->ready_count;
    (void)fetch_session_unpark(session);
}

static struct world *setup(void)
{
    struct world *w = calloc(1, sizeof(*w));

    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    w->clock.mono_us = mono_us;
    ria_timers_init(&w->timers, &w->clock);
    w->env = (struct ria_env){.clock = &w->clock, .timers = &w->timers};
    for (size_t i = 0; i < RIA_COUNT(w->lists); i++) {
        ria_list_init(&w->lists[i]);
    }
    fetch_sessions_init(&w->set, &w->env, on_answer, on_ready, w);
    return w;
}

static void teardown(struct world *w)
{
    fetch_sessions_check(&w->set);
    fetch_sessions_close(&w->set);
    for (size_t i = 0; i < RIA_COUNT(w->lists); i++) {
        CU_ASSERT_TRUE(ria_list_is_empty(&w->lists[i]));
    }
    fetch_sessions_fini(&w->set);
    CU_ASSERT_EQUAL(ria_timers_next_us(&w->timers), INT64_MAX);
    ria_timers_fini(&w->timers);
    free(w);
}

static void run_ms(struct world *w, int64_t ms)
{
    w->now_us += ms * 1000;
    (void)ria_timers_run(&w->timers);
}

static struct partition_id id_of(int32_t number)
{
    struct ria_uuid topic_id = {{1}};

    return partition_id_of(&topic_id, number);
}

static struct fetch_session *take(struct world *w, int64_t id, int64_t number, bool is_full)
{
    struct fetch_session *session = NULL;

    CU_ASSERT_EQUAL_FATAL(fetch_sessions_take(&w->set, id, number, is_full, &session), RIA_OK);
    fetch_sessions_check(&w->set);
    return session;
}

/* A wish that waits for more than offset in list `number`. */
static void wait_for(struct world *w, struct fetch_session *session, int32_t number, int64_t offset)
{
    struct partition_id id = id_of(number);
    struct fetch_wish *wish = NULL;

    CU_ASSERT_EQUAL_FATAL(fetch_session_wish(session, &id, &wish), RIA_OK);
    wish->offset = offset;
    fetch_wish_wait(wish, &w->lists[number]);
}

/* The handler never looks into it here. */
static struct ria_rpc_request *some_request(struct world *w)
{
    return (struct ria_rpc_request *)(void *)w;
}

static void only_the_wishes_of_what_moved_become_ready(void)
{
    struct world *w = setup();
    struct fetch_session *session = take(w, 1, 1, true);

    wait_for(w, session, 0, 10);
    wait_for(w, session, 1, 10);
    wait_for(w, session, 2, 10);
    fetch_session_park(session, some_request(w), 100, 1000);
    fetch_wishes_wake(&w->lists[1], 10); /* not past it */
    fetch_sessions_flush(&w->set);
    CU_ASSERT_EQUAL(w->answers, 0);
    fetch_wishes_wake(&w->lists[1], 11);
    fetch_wishes_wake(&w->lists[1], 12);
    CU_ASSERT_EQUAL(w->ready_calls, 1);
    fetch_sessions_check(&w->set);
    fetch_sessions_flush(&w->set);
    CU_ASSERT_EQUAL(w->answers, 1);
    CU_ASSERT_EQUAL(w->end, FETCH_READY);
    CU_ASSERT_EQUAL(w->ready, 1);
    teardown(w);
}

static void what_becomes_ready_between_two_fetches_answers_the_next(void)
{
    struct world *w = setup();
    struct fetch_session *session = take(w, 1, 1, true);

    wait_for(w, session, 0, 10);
    fetch_wishes_wake(&w->lists[0], 11);
    fetch_sessions_flush(&w->set);
    CU_ASSERT_EQUAL(w->answers, 0); /* nothing is parked */
    session = take(w, 1, 2, false);
    fetch_session_park(session, some_request(w), 100, 1000);
    fetch_sessions_flush(&w->set);
    CU_ASSERT_EQUAL(w->answers, 1);
    teardown(w);
}

static void numbers_must_follow_one_another(void)
{
    struct world *w = setup();
    struct fetch_session *session = NULL;

    CU_ASSERT_EQUAL(fetch_sessions_take(&w->set, 1, 5, false, &session), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(w->set.count, 0);
    (void)take(w, 1, 5, true);
    (void)take(w, 1, 6, false);
    CU_ASSERT_EQUAL(fetch_sessions_take(&w->set, 1, 6, false, &session), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fetch_sessions_take(&w->set, 1, 5, true, &session), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fetch_sessions_take(&w->set, 1, 8, false, &session), RIA_ERR_NOT_FOUND);
    (void)take(w, 1, 7, false); /* the refused ones changed nothing */
    (void)take(w, 1, 20, true);
    (void)take(w, 1, 21, false);
    teardown(w);
}

static void a_newer_fetch_ends_the_parked_one_and_keeps_the_wishes(void)
{
    struct world *w = setup();
    struct fetch_session *session = take(w, 1, 1, true);
    struct partition_id id = id_of(0);

    wait_for(w, session, 0, 10);
    fetch_session_park(session, some_request(w), 100, 1000);
    CU_ASSERT_PTR_EQUAL(take(w, 1, 2, false), session);
    CU_ASSERT_EQUAL(w->answers, 1);
    CU_ASSERT_EQUAL(w->end, FETCH_NOTHING);
    CU_ASSERT_PTR_NOT_NULL(fetch_session_find(session, &id));
    CU_ASSERT_PTR_EQUAL(take(w, 1, 3, true), session);
    CU_ASSERT_PTR_NULL(fetch_session_find(session, &id));
    CU_ASSERT_TRUE(ria_list_is_empty(&w->lists[0]));
    teardown(w);
}

static void a_wish_named_again_takes_the_place_of_the_first(void)
{
    struct world *w = setup();
    struct fetch_session *session = take(w, 1, 1, true);

    wait_for(w, session, 0, 10);
    wait_for(w, session, 0, 20);
    CU_ASSERT_EQUAL(w->set.wish_count, 1);
    fetch_wishes_wake(&w->lists[0], 15);
    CU_ASSERT_EQUAL(session->ready_count, 0);
    teardown(w);
}

static void a_parked_fetch_expires_and_its_session_stays(void)
{
    struct world *w = setup();
    struct fetch_session *session = take(w, 1, 1, true);

    fetch_session_park(session, some_request(w), 100, 1000);
    run_ms(w, 1000);
    CU_ASSERT_EQUAL(w->answers, 1);
    CU_ASSERT_EQUAL(w->end, FETCH_NOTHING);
    CU_ASSERT_EQUAL(w->set.count, 1);
    run_ms(w, FETCH_SESSION_IDLE_MS - 1);
    CU_ASSERT_EQUAL(w->set.count, 1);
    teardown(w);
}

static void a_session_that_nobody_uses_is_forgotten(void)
{
    struct world *w = setup();
    struct fetch_session *session = take(w, 1, 1, true);
    struct fetch_session *other = take(w, 2, 1, true);

    wait_for(w, session, 0, 10);
    fetch_session_park(other, some_request(w), 100, 60000);
    run_ms(w, FETCH_SESSION_IDLE_MS);
    CU_ASSERT_EQUAL(w->set.count, 1);
    CU_ASSERT_EQUAL(w->set.wish_count, 0);
    CU_ASSERT_EQUAL(fetch_sessions_take(&w->set, 1, 2, false, &session), RIA_ERR_NOT_FOUND);
    teardown(w);
}

static void too_many_sessions_cost_the_one_idle_longest(void)
{
    struct world *w = setup();
    struct fetch_session *session = NULL;

    for (int64_t i = 0; i < FETCH_SESSIONS_MAX; i++) {
        session = take(w, i, 1, true);
        if (i != 3) {
            fetch_session_park(session, some_request(w), 100, 60000);
        }
    }
    (void)take(w, 1000, 1, true);
    CU_ASSERT_EQUAL(w->set.count, FETCH_SESSIONS_MAX);
    CU_ASSERT_EQUAL(fetch_sessions_take(&w->set, 3, 2, false, &session), RIA_ERR_NOT_FOUND);
    session = take(w, 1000, 2, false);
    fetch_session_park(session, some_request(w), 100, 60000);
    CU_ASSERT_EQUAL(fetch_sessions_take(&w->set, 1001, 1, true, &session), RIA_ERR_BUSY);
    CU_ASSERT_EQUAL(w->answers, 0);
    teardown(w);
}

static void too_many_wishes_cost_idle_sessions_and_are_refused(void)
{
    struct world *w = setup();
    struct fetch_session *idle = take(w, 1, 1, true);
    struct fetch_session *session = take(w, 2, 1, true);
    struct fetch_wish *wish = NULL;
    ria_err err = RIA_OK;

    wait_for(w, idle, 0, 10);
    for (int32_t i = 0; i < FETCH_WISHES_MAX && err == RIA_OK; i++) {
        struct partition_id id = id_of(i);
        err = fetch_session_wish(session, &id, &wish);
    }
    CU_ASSERT_EQUAL(err, RIA_OK);
    CU_ASSERT_EQUAL(w->set.count, 1);
    CU_ASSERT_TRUE(ria_list_is_empty(&w->lists[0]));
    struct partition_id id = id_of(FETCH_WISHES_MAX);
    CU_ASSERT_EQUAL(fetch_session_wish(session, &id, &wish), RIA_ERR_BUSY);
    id = id_of(5); /* one that is there is no new one */
    CU_ASSERT_EQUAL(fetch_session_wish(session, &id, &wish), RIA_OK);
    teardown(w);
}

static void closing_answers_what_is_parked(void)
{
    struct world *w = setup();
    struct fetch_session *session = take(w, 1, 1, true);

    wait_for(w, session, 0, 10);
    fetch_session_park(session, some_request(w), 100, 1000);
    fetch_sessions_close(&w->set);
    CU_ASSERT_EQUAL(w->answers, 1);
    CU_ASSERT_EQUAL(w->end, FETCH_NOTHING);
    CU_ASSERT_EQUAL(w->set.count, 0);
    teardown(w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(only_the_wishes_of_what_moved_become_ready),
    HARNESS_TEST(what_becomes_ready_between_two_fetches_answers_the_next),
    HARNESS_TEST(numbers_must_follow_one_another),
    HARNESS_TEST(a_newer_fetch_ends_the_parked_one_and_keeps_the_wishes),
    HARNESS_TEST(a_wish_named_again_takes_the_place_of_the_first),
    HARNESS_TEST(a_parked_fetch_expires_and_its_session_stays),
    HARNESS_TEST(a_session_that_nobody_uses_is_forgotten),
    HARNESS_TEST(too_many_sessions_cost_the_one_idle_longest),
    HARNESS_TEST(too_many_wishes_cost_idle_sessions_and_are_refused),
    HARNESS_TEST(closing_answers_what_is_parked),
};
HARNESS_MAIN(tests);
