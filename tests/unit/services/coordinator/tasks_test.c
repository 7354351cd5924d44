#include "services/coordinator/tasks.h"

#include <string.h>

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { LEASES = 12 };

struct world {
    struct task_lease leases[LEASES];
    struct ria_uuid workers[8];
    uint32_t worker_count;
    uint32_t moves;
};

static void set_up(struct world *w, uint32_t worker_count)
{
    memset(w, 0, sizeof(*w));
    for (uint32_t i = 0; i < LEASES; i++) {
        w->leases[i].transform_id = fixture_uuid(1000 + i / 6);
        w->leases[i].partition = (int32_t)(i % 6);
    }
    w->worker_count = worker_count;
    for (uint32_t i = 0; i < worker_count; i++) {
        w->workers[i] = fixture_uuid(i + 1);
    }
}

static void plan(struct world *w, bool settling)
{
    ria_err err = tasks_plan(w->leases, LEASES, w->workers, w->worker_count, settling, &w->moves);

    CU_ASSERT_EQUAL(err, RIA_OK);
}

/* Plan, and let it come true. Returns the number of leases that changed hands. */
static uint32_t settle(struct world *w)
{
    uint32_t changed = 0;

    plan(w, false);
    for (uint32_t i = 0; i < LEASES; i++) {
        if (!ria_uuid_equal(w->leases[i].worker, w->leases[i].next_worker)) {
            w->leases[i].worker = w->leases[i].next_worker;
            w->leases[i].epoch++;
            changed++;
        }
    }
    CU_ASSERT_EQUAL(changed, w->moves);
    return changed;
}

static uint32_t held(const struct world *w, uint32_t worker)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < LEASES; i++) {
        count += ria_uuid_equal(w->leases[i].worker, fixture_uuid(worker)) ? 1 : 0;
    }
    return count;
}

static void first_worker_gets_all(void)
{
    struct world w;

    set_up(&w, 1);
    CU_ASSERT_EQUAL(settle(&w), LEASES);
    CU_ASSERT_EQUAL(held(&w, 1), LEASES);
}

static void no_workers_no_moves(void)
{
    struct world w;

    set_up(&w, 1);
    (void)settle(&w);
    w.worker_count = 0;
    CU_ASSERT_EQUAL(settle(&w), 0);
    CU_ASSERT_EQUAL(held(&w, 1), LEASES);
}

static void each_gets_its_share_of_each_transform(void)
{
    struct world w;

    set_up(&w, 3);
    (void)settle(&w);
    for (uint32_t worker = 1; worker <= 3; worker++) {
        uint32_t of_first = 0;
        for (uint32_t i = 0; i < 6; i++) {
            of_first += ria_uuid_equal(w.leases[i].worker, fixture_uuid(worker)) ? 1 : 0;
        }
        CU_ASSERT_EQUAL(held(&w, worker), 4);
        CU_ASSERT_EQUAL(of_first, 2);
    }
}

static void a_stable_spread_stays(void)
{
    struct world w;

    set_up(&w, 5);
    (void)settle(&w);
    CU_ASSERT_EQUAL(settle(&w), 0);
}

static void a_joining_worker_takes_only_its_share(void)
{
    struct world w;

    set_up(&w, 2);
    (void)settle(&w);
    w.workers[2] = fixture_uuid(3);
    w.worker_count = 3;
    CU_ASSERT_EQUAL(settle(&w), 4);
    CU_ASSERT_EQUAL(held(&w, 1), 4);
    CU_ASSERT_EQUAL(held(&w, 2), 4);
    CU_ASSERT_EQUAL(held(&w, 3), 4);
}

static void only_a_dead_workers_tasks_move(void)
{
    struct world w;

    set_up(&w, 3);
    (void)settle(&w);
    w.worker_count = 2; /* the third died */
    CU_ASSERT_EQUAL(settle(&w), 4);
    CU_ASSERT_EQUAL(held(&w, 1), 6);
    CU_ASSERT_EQUAL(held(&w, 2), 6);
    CU_ASSERT_EQUAL(held(&w, 3), 0);
}

static void uneven_shares_differ_by_one_and_rest(void)
{
    struct world w;

    set_up(&w, 5);
    (void)settle(&w);
    for (uint32_t worker = 1; worker <= 5; worker++) {
        CU_ASSERT_TRUE(held(&w, worker) == 2 || held(&w, worker) == 3);
    }
    w.worker_count = 4;
    CU_ASSERT_TRUE(settle(&w) <= 3);
    CU_ASSERT_EQUAL(settle(&w), 0);
}

static void while_settling_a_silent_holder_keeps_its_tasks(void)
{
    struct world w;

    set_up(&w, 2);
    (void)settle(&w);
    w.workers[0] = fixture_uuid(9); /* neither old holder has been heard yet */
    w.worker_count = 1;
    plan(&w, true);
    CU_ASSERT_EQUAL(w.moves, 0);
}

static void while_settling_free_tasks_are_given_away(void)
{
    struct world w;

    set_up(&w, 2);
    for (uint32_t i = 0; i < 6; i++) {
        w.leases[i].worker = fixture_uuid(7); /* not heard */
    }
    plan(&w, true);
    CU_ASSERT_EQUAL(w.moves, 6);
    for (uint32_t i = 0; i < 6; i++) {
        CU_ASSERT_TRUE(ria_uuid_equal(w.leases[i].next_worker, fixture_uuid(7)));
        CU_ASSERT_FALSE(ria_uuid_is_zero(w.leases[6 + i].next_worker));
    }
}

static void a_task_without_epochs_left_does_not_move(void)
{
    struct world w;

    set_up(&w, 2);
    w.leases[0].epoch = INT16_MAX;
    w.leases[0].worker = fixture_uuid(7);
    w.leases[1].epoch = INT16_MAX;
    CU_ASSERT_EQUAL(settle(&w), LEASES - 2);
    CU_ASSERT_TRUE(ria_uuid_equal(w.leases[0].worker, fixture_uuid(7)));
    CU_ASSERT_TRUE(ria_uuid_is_zero(w.leases[1].worker));
    CU_ASSERT_EQUAL(settle(&w), 0);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(first_worker_gets_all),
    HARNESS_TEST(no_workers_no_moves),
    HARNESS_TEST(each_gets_its_share_of_each_transform),
    HARNESS_TEST(a_stable_spread_stays),
    HARNESS_TEST(a_joining_worker_takes_only_its_share),
    HARNESS_TEST(only_a_dead_workers_tasks_move),
    HARNESS_TEST(uneven_shares_differ_by_one_and_rest),
    HARNESS_TEST(while_settling_a_silent_holder_keeps_its_tasks),
    HARNESS_TEST(while_settling_free_tasks_are_given_away),
    HARNESS_TEST(a_task_without_epochs_left_does_not_move),
};
HARNESS_MAIN(tests);
