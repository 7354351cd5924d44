/* Leases of transform tasks through the whole coordinator. */
#include <string.h>

#include "schemas/gen/list_transforms_request.h"
#include "schemas/gen/list_transforms_response.h"

#include "services/coordinator/service.h"
#include "services/shared/membership.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

static void set_up_transform(struct fixture *f)
{
    const struct create_transform_request request = fixture_transform(100, "big", "a");

    fixture_up(f);
    fixture_register_nodes(f, 1);
    CU_ASSERT_EQUAL(fixture_create_topic(f, 1, "a"), RIA_OK);
    CU_ASSERT_EQUAL(fixture_call(f, API_CREATE_TRANSFORM, &request, NULL), RIA_OK);
}

struct shares {
    uint32_t of_5;
    uint32_t of_6;
    uint32_t of_nobody;
    int64_t epochs; /* in all */
};

static struct shares shares_of(struct fixture *f)
{
    struct shares shares = {0};
    struct list_transforms_response response;
    const struct list_transforms_request request = {.name = RIA_SLICE_LITERAL("big")};

    CU_ASSERT_EQUAL(fixture_call(f, API_LIST_TRANSFORMS, &request, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.transforms_count, 1);
    for (uint32_t i = 0; response.transforms_count == 1 && i < response.transforms[0].tasks_count;
         i++) {
        const struct list_transforms_response_listed_task *task = &response.transforms[0].tasks[i];
        shares.of_5 += ria_uuid_equal(task->worker, fixture_uuid(5)) ? 1 : 0;
        shares.of_6 += ria_uuid_equal(task->worker, fixture_uuid(6)) ? 1 : 0;
        shares.of_nobody += ria_uuid_is_zero(task->worker) ? 1 : 0;
        shares.epochs += task->epoch;
    }
    return shares;
}

/* Time passes while worker 5, and 6 if it lives, are heard. */
static void live_on(struct fixture *f, int64_t ms, bool with_5, bool with_6)
{
    for (int64_t t = 0; t < ms; t += 500) {
        if (with_5) {
            (void)fixture_heartbeat(f, 5, PROCESS_TRANSFORM, NULL);
        }
        if (with_6) {
            (void)fixture_heartbeat(f, 6, PROCESS_TRANSFORM, NULL);
        }
        fixture_advance(f, 500);
    }
}

static void tasks_go_to_the_first_worker_at_once(void)
{
    struct fixture f;

    set_up_transform(&f);
    CU_ASSERT_EQUAL(shares_of(&f).of_nobody, 4);
    (void)fixture_heartbeat(&f, 5, PROCESS_TRANSFORM, NULL);
    fixture_advance(&f, 0);
    CU_ASSERT_EQUAL(shares_of(&f).of_5, 4);
    CU_ASSERT_EQUAL(shares_of(&f).epochs, 4);
    fixture_close(&f);
}

static void a_new_transforms_tasks_are_assigned_at_once(void)
{
    struct fixture f;
    const struct create_transform_request request = fixture_transform(100, "big", "a");

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 1, "a"), RIA_OK);
    (void)fixture_heartbeat(&f, 5, PROCESS_TRANSFORM, NULL);
    CU_ASSERT_EQUAL(fixture_call(&f, API_CREATE_TRANSFORM, &request, NULL), RIA_OK);
    fixture_advance(&f, 0);
    CU_ASSERT_EQUAL(shares_of(&f).of_5, 4);
    fixture_close(&f);
}

static void a_second_worker_takes_half(void)
{
    struct fixture f;

    set_up_transform(&f);
    live_on(&f, 4000, true, false);
    live_on(&f, 1000, true, true);
    CU_ASSERT_EQUAL(shares_of(&f).of_5, 2);
    CU_ASSERT_EQUAL(shares_of(&f).of_6, 2);
    CU_ASSERT_EQUAL(shares_of(&f).epochs, 4 + 2);
    fixture_close(&f);
}

static void a_dead_workers_tasks_are_taken_over(void)
{
    struct fixture f;

    set_up_transform(&f);
    live_on(&f, 5000, true, true);
    CU_ASSERT_EQUAL(shares_of(&f).of_6, 2);
    live_on(&f, MEMBERSHIP_SESSION_MS - 1000, true, false);
    CU_ASSERT_EQUAL(shares_of(&f).of_6, 2);
    live_on(&f, 2000, true, false);
    CU_ASSERT_EQUAL(shares_of(&f).of_6, 0);
    CU_ASSERT_EQUAL(shares_of(&f).of_5, 4);
    fixture_close(&f);
}

static void tasks_wait_for_a_worker_when_all_are_dead(void)
{
    struct fixture f;

    set_up_transform(&f);
    live_on(&f, 4000, true, false);
    fixture_advance(&f, 60000);
    CU_ASSERT_EQUAL(shares_of(&f).of_5, 4);
    CU_ASSERT_EQUAL(shares_of(&f).epochs, 4);
    live_on(&f, 1000, false, true);
    CU_ASSERT_EQUAL(shares_of(&f).of_6, 4);
    fixture_close(&f);
}

static void a_restart_moves_no_leases_of_living_workers(void)
{
    struct fixture f;

    set_up_transform(&f);
    live_on(&f, 5000, true, true);
    int64_t epochs = shares_of(&f).epochs;
    fixture_crash(&f, false);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    live_on(&f, MEMBERSHIP_SESSION_MS - 500, true, false); /* 6 is late */
    CU_ASSERT_EQUAL(shares_of(&f).epochs, epochs);
    live_on(&f, 4000, true, true);
    CU_ASSERT_EQUAL(shares_of(&f).epochs, epochs);
    CU_ASSERT_EQUAL(shares_of(&f).of_6, 2);
    fixture_close(&f);
}

static void after_a_restart_the_really_dead_are_noticed(void)
{
    struct fixture f;

    set_up_transform(&f);
    live_on(&f, 5000, true, true);
    fixture_crash(&f, false);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    live_on(&f, MEMBERSHIP_SESSION_MS + 1000, true, false);
    CU_ASSERT_EQUAL(shares_of(&f).of_5, 4);
    fixture_close(&f);
}

static void an_idle_coordinator_writes_nothing(void)
{
    struct fixture f;

    set_up_transform(&f);
    live_on(&f, 5000, true, true);
    int64_t applied = coordinator_applied_index(f.coordinator);
    live_on(&f, 60000, true, true);
    CU_ASSERT_EQUAL(coordinator_applied_index(f.coordinator), applied);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(tasks_go_to_the_first_worker_at_once),
    HARNESS_TEST(a_new_transforms_tasks_are_assigned_at_once),
    HARNESS_TEST(a_second_worker_takes_half),
    HARNESS_TEST(a_dead_workers_tasks_are_taken_over),
    HARNESS_TEST(tasks_wait_for_a_worker_when_all_are_dead),
    HARNESS_TEST(a_restart_moves_no_leases_of_living_workers),
    HARNESS_TEST(after_a_restart_the_really_dead_are_noticed),
    HARNESS_TEST(an_idle_coordinator_writes_nothing),
};
HARNESS_MAIN(tests);
