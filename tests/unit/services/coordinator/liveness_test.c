#include "services/coordinator/liveness.h"

#include <string.h>

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { SESSION_US = MEMBERSHIP_SESSION_MS * 1000, FAST_US = MEMBERSHIP_SESSION_FAST_MS * 1000 };

struct world {
    struct ria_clock clock;
    int64_t now_us;
    struct liveness *liveness;
};

static int64_t mono(const struct ria_clock *clock)
{
    const struct world *w = (const void *)((const char *)clock - offsetof(struct world, clock));

    return w->now_us;
}

static void set_up(struct world *w)
{
    *w = (struct world){.clock = {.mono_us = mono}, .now_us = 5};
    CU_ASSERT_EQUAL_FATAL(liveness_new(&w->clock, &w->liveness), RIA_OK);
}

static ria_err hear(struct world *w, uint32_t uuid, process_role role)
{
    const struct liveness_process process = {
        .uuid = fixture_uuid(uuid),
        .role = role,
        .node_id = role == PROCESS_STORAGE ? (int32_t)uuid : -1,
    };

    return liveness_heard(w->liveness, &process);
}

static bool is_alive(struct world *w, uint32_t uuid)
{
    struct ria_uuid id = fixture_uuid(uuid);
    const struct liveness_process *process = liveness_find(w->liveness, &id);

    return process != NULL && process->alive;
}

static void silent_for_a_session_is_dead(void)
{
    static const struct {
        process_role role;
        int64_t session_us;
    } cases[] = {
        {PROCESS_STORAGE, FAST_US},
        {PROCESS_REPLICATION, FAST_US},
        {PROCESS_GATEWAY, SESSION_US},
        {PROCESS_TRANSFORM, SESSION_US},
    };

    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        struct world w;
        set_up(&w);
        CU_ASSERT_EQUAL(hear(&w, 1, cases[i].role), RIA_OK);
        CU_ASSERT_EQUAL(liveness_next_us(w.liveness), w.now_us + cases[i].session_us);
        w.now_us += cases[i].session_us - 1;
        liveness_expire(w.liveness);
        CU_ASSERT_TRUE(is_alive(&w, 1));
        w.now_us += 1;
        liveness_expire(w.liveness);
        CU_ASSERT_FALSE(is_alive(&w, 1));
        liveness_free(w.liveness);
    }
}

static void a_hint_shortens_the_session_until_it_is_heard(void)
{
    struct world w;
    struct ria_uuid id = fixture_uuid(1);

    set_up(&w);
    CU_ASSERT_EQUAL(hear(&w, 1, PROCESS_STORAGE), RIA_OK);
    liveness_hint(w.liveness, &id, 77); /* of another life */
    CU_ASSERT_EQUAL(liveness_next_us(w.liveness), w.now_us + FAST_US);
    liveness_hint(w.liveness, &id, 0);
    CU_ASSERT_EQUAL(liveness_next_us(w.liveness), w.now_us + LIVENESS_HINT_MS * 1000);
    w.now_us += LIVENESS_HINT_MS * 1000 - 1;
    liveness_expire(w.liveness);
    CU_ASSERT_TRUE(is_alive(&w, 1));
    CU_ASSERT_EQUAL(hear(&w, 1, PROCESS_STORAGE), RIA_OK); /* just in time */
    w.now_us += FAST_US - 1;
    liveness_hint(w.liveness, &id, 0); /* prolongs nothing */
    liveness_expire(w.liveness);
    CU_ASSERT_TRUE(is_alive(&w, 1));
    w.now_us += 1;
    liveness_expire(w.liveness);
    CU_ASSERT_FALSE(is_alive(&w, 1));
    liveness_hint(w.liveness, &id, 0);
    CU_ASSERT_EQUAL(hear(&w, 1, PROCESS_STORAGE), RIA_OK);
    liveness_hint(w.liveness, &id, 0);
    w.now_us += LIVENESS_HINT_MS * 1000;
    liveness_expire(w.liveness);
    CU_ASSERT_FALSE(is_alive(&w, 1));
    liveness_free(w.liveness);
}

/* All of them were silent because nobody listened. */
/* What was on its way when it went must not call it back. */
static void who_leaves_is_dead_at_once_and_for_good(void)
{
    struct world w;
    struct ria_uuid id = fixture_uuid(1);
    struct liveness_process next = {.uuid = id, .incarnation = 1, .role = PROCESS_REPLICATION};

    set_up(&w);
    CU_ASSERT_EQUAL(hear(&w, 1, PROCESS_REPLICATION), RIA_OK);
    int64_t changes = liveness_changes(w.liveness);
    liveness_leave(w.liveness, &id, 1); /* another life */
    CU_ASSERT_TRUE(is_alive(&w, 1));
    liveness_leave(w.liveness, &id, 0);
    CU_ASSERT_FALSE(is_alive(&w, 1));
    CU_ASSERT_EQUAL(liveness_changes(w.liveness), changes + 1);
    liveness_leave(w.liveness, &id, 0);
    CU_ASSERT_EQUAL(hear(&w, 1, PROCESS_REPLICATION), RIA_OK);
    CU_ASSERT_FALSE(is_alive(&w, 1));
    CU_ASSERT_EQUAL(liveness_changes(w.liveness), changes + 1);
    CU_ASSERT_EQUAL(liveness_heard(w.liveness, &next), RIA_OK);
    CU_ASSERT_TRUE(is_alive(&w, 1));
    liveness_free(w.liveness);
}

static void time_in_which_nobody_listened_counts_against_nobody(void)
{
    struct world w;

    set_up(&w);
    (void)hear(&w, 1, PROCESS_STORAGE);
    liveness_expect(w.liveness, w.now_us + 500000);
    w.now_us += 500000 + 10 * (int64_t)FAST_US;
    liveness_expire(w.liveness);
    CU_ASSERT_TRUE(is_alive(&w, 1));
    liveness_expire(w.liveness); /* again, before the next time is set: nothing is given twice */
    w.now_us += FAST_US - 500000 - 1;
    liveness_expire(w.liveness);
    CU_ASSERT_TRUE(is_alive(&w, 1));
    w.now_us += 1;
    liveness_expire(w.liveness);
    CU_ASSERT_FALSE(is_alive(&w, 1));
    (void)hear(&w, 1, PROCESS_STORAGE);
    liveness_expect(w.liveness, w.now_us + FAST_US);
    w.now_us += FAST_US + LIVENESS_LATE_MS * 1000 - 1; /* a little late is nothing special */
    liveness_expire(w.liveness);
    CU_ASSERT_FALSE(is_alive(&w, 1));
    liveness_free(w.liveness);
}

static void changes_are_counted_and_heartbeats_are_none(void)
{
    struct world w;

    set_up(&w);
    int64_t before = liveness_changes(w.liveness);
    (void)hear(&w, 1, PROCESS_STORAGE);
    CU_ASSERT_EQUAL(liveness_changes(w.liveness), before + 1);
    (void)hear(&w, 1, PROCESS_STORAGE);
    CU_ASSERT_EQUAL(liveness_changes(w.liveness), before + 1);
    w.now_us += FAST_US;
    liveness_expire(w.liveness);
    CU_ASSERT_EQUAL(liveness_changes(w.liveness), before + 2);
    liveness_expire(w.liveness);
    CU_ASSERT_EQUAL(liveness_changes(w.liveness), before + 2);
    (void)hear(&w, 1, PROCESS_STORAGE);
    CU_ASSERT_EQUAL(liveness_changes(w.liveness), before + 3);
    const struct liveness_process restarted = {
        .uuid = fixture_uuid(1), .role = PROCESS_STORAGE, .node_id = 1, .incarnation = 5};
    CU_ASSERT_EQUAL(liveness_heard(w.liveness, &restarted), RIA_OK);
    CU_ASSERT_EQUAL(liveness_changes(w.liveness), before + 4);
    liveness_free(w.liveness);
}

static void heard_again_is_alive_again(void)
{
    struct world w;

    set_up(&w);
    (void)hear(&w, 1, PROCESS_STORAGE);
    w.now_us += SESSION_US;
    liveness_expire(w.liveness);
    CU_ASSERT_EQUAL(hear(&w, 1, PROCESS_STORAGE), RIA_OK);
    liveness_expire(w.liveness);
    CU_ASSERT_TRUE(is_alive(&w, 1));
    CU_ASSERT_EQUAL(liveness_count(w.liveness), 1);
    liveness_free(w.liveness);
}

static void each_heartbeat_begins_a_session(void)
{
    struct world w;

    set_up(&w);
    for (int i = 0; i < 10; i++) {
        (void)hear(&w, 1, PROCESS_TRANSFORM);
        w.now_us += SESSION_US / 2;
        liveness_expire(w.liveness);
        CU_ASSERT_TRUE(is_alive(&w, 1));
    }
    liveness_free(w.liveness);
}

static void long_dead_are_forgotten(void)
{
    struct world w;
    struct ria_uuid id = fixture_uuid(1);

    set_up(&w);
    for (uint32_t i = 1; i <= 20; i++) {
        (void)hear(&w, i, PROCESS_GATEWAY);
    }
    w.now_us += (int64_t)LIVENESS_FORGET_MS * 1000 - 1;
    liveness_expire(w.liveness);
    const struct liveness_process *process = liveness_find(w.liveness, &id);
    CU_ASSERT_PTR_NOT_NULL_FATAL(process);
    CU_ASSERT_EQUAL(liveness_silent_ms(w.liveness, process), LIVENESS_FORGET_MS - 1);
    w.now_us += 1;
    liveness_expire(w.liveness);
    CU_ASSERT_EQUAL(liveness_count(w.liveness), 0);
    liveness_free(w.liveness);
}

static void workers_have_places_in_order_of_uuid(void)
{
    struct world w;
    struct ria_uuid list[8];
    struct ria_uuid id = fixture_uuid(5);
    uint32_t index = 9;
    uint32_t count = 9;

    set_up(&w);
    (void)hear(&w, 7, PROCESS_REPLICATION);
    (void)hear(&w, 5, PROCESS_REPLICATION);
    (void)hear(&w, 4, PROCESS_TRANSFORM);
    (void)hear(&w, 2, PROCESS_REPLICATION);
    CU_ASSERT_TRUE(liveness_place(w.liveness, &id, &index, &count));
    CU_ASSERT_EQUAL(index, 1);
    CU_ASSERT_EQUAL(count, 3);
    CU_ASSERT_EQUAL(liveness_list(w.liveness, PROCESS_REPLICATION, list, 8), 3);
    CU_ASSERT_TRUE(ria_uuid_equal(list[0], fixture_uuid(2)));
    CU_ASSERT_TRUE(ria_uuid_equal(list[2], fixture_uuid(7)));
    CU_ASSERT_EQUAL(liveness_list(w.liveness, PROCESS_REPLICATION, NULL, 0), 3);
    id = fixture_uuid(99);
    CU_ASSERT_FALSE(liveness_place(w.liveness, &id, &index, &count));
    liveness_free(w.liveness);
}

static void live_nodes_are_ascending(void)
{
    struct world w;
    int32_t ids[8] = {0};

    set_up(&w);
    (void)hear(&w, 30, PROCESS_STORAGE);
    w.now_us += SESSION_US;
    (void)hear(&w, 20, PROCESS_STORAGE);
    (void)hear(&w, 10, PROCESS_STORAGE);
    (void)hear(&w, 5, PROCESS_GATEWAY);
    liveness_expire(w.liveness);
    CU_ASSERT_EQUAL(liveness_nodes(w.liveness, ids, 8), 2);
    CU_ASSERT_EQUAL(ids[0], 10);
    CU_ASSERT_EQUAL(ids[1], 20);
    liveness_free(w.liveness);
}

static void a_full_table_is_busy(void)
{
    struct world w;

    set_up(&w);
    for (uint32_t i = 1; i <= LIVENESS_PROCESSES_MAX; i++) {
        if (hear(&w, i, PROCESS_GATEWAY) != RIA_OK) {
            CU_FAIL("refused too early");
        }
    }
    CU_ASSERT_EQUAL(hear(&w, LIVENESS_PROCESSES_MAX + 1, PROCESS_GATEWAY), RIA_ERR_BUSY);
    CU_ASSERT_EQUAL(hear(&w, 1, PROCESS_GATEWAY), RIA_OK);
    liveness_free(w.liveness);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(silent_for_a_session_is_dead),
    HARNESS_TEST(a_hint_shortens_the_session_until_it_is_heard),
    HARNESS_TEST(who_leaves_is_dead_at_once_and_for_good),
    HARNESS_TEST(time_in_which_nobody_listened_counts_against_nobody),
    HARNESS_TEST(changes_are_counted_and_heartbeats_are_none),
    HARNESS_TEST(heard_again_is_alive_again),
    HARNESS_TEST(each_heartbeat_begins_a_session),
    HARNESS_TEST(long_dead_are_forgotten),
    HARNESS_TEST(workers_have_places_in_order_of_uuid),
    HARNESS_TEST(live_nodes_are_ascending),
    HARNESS_TEST(a_full_table_is_busy),
};
HARNESS_MAIN(tests);
