/* A log that ends below what it once had on disk: who gives it back, and who leads meanwhile. */
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/trio.h"

enum { RECORDS = TRIO_RECORDS };

static struct trio trio;
static struct trio *const t = &trio;

/* A file that lost its end: the leader gives it again, and only then may this replica lead. */
static void a_lost_tail_comes_back_by_replication(void)
{
    trio_begin(t);
    trio_lose_tail(t, 1, 40);
    CU_ASSERT_EQUAL(
        trio_prepare(t, 1, 45), RIA_OK
    ); /* a history from before the rest was written */
    CU_ASSERT_EQUAL(trio_append(t, 1, 40, 10, RECORDS), RIA_OK);
    trio_run_ms(t, 100);
    CU_ASSERT_EQUAL(t->told[1], 2);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(trio_append(t, 1, 50, RECORDS - 50, RECORDS), RIA_OK);
    trio_run_ms(t, 100);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(t->told[1], 0);
    trio_check_same_files(t);
    trio_end(t);
}

/* What a leader of a later epoch does not have was never committed. */
static void a_lost_tail_ends_where_a_later_leader_does(void)
{
    follower_epoch entry = {.epoch = 5, .start_offset = 0};

    trio_begin(t);
    trio_lose_tail(t, 1, 40);
    trio_publish(t, 1, 3, 6, -1);
    (void)follower_send_prepare(t->nodes[1], 6, 0, 50, &entry, 1);
    trio_run_ms(t, 100);
    CU_ASSERT_EQUAL(t->told[1], 2);
    (void)follower_send_append(t->nodes[1], 6, 40, 10, 5, 0);
    trio_run_ms(t, 100);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).synced_offset, 50);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(t->told[1], 0);
    trio_end(t);
}

/* Without force a log that lost its end does not lead; with it, it does, from there on. */
static void a_forced_leader_gives_up_its_lost_tail(void)
{
    trio_begin(t);
    trio_lose_tail(t, 1, 40);
    trio_publish(t, 1, 1, 6, -1);
    struct ria_rpc_request *sent =
        fixture_produce(t->nodes[1], (struct produce_args){.leader_epoch = 6});
    CU_ASSERT_TRUE(ria_err_is_definite(fixture_error(sent)) && fixture_error(sent) != RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).end_offset, 40);
    trio_publish(t, 1, 1, 7, 7);
    (void)fixture_produce(t->nodes[1], (struct produce_args){.leader_epoch = 7});
    trio_run_ms(t, 50);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).synced_offset, 41);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
    trio_end(t);
}

/* What it was given before is on its way to the disk: cutting it then was an assertion. */
static void a_forced_leader_with_a_sync_under_way_leads_when_that_has_ended(void)
{
    struct ria_fs_sim_faults faults = {.sync_delay_us_min = 100000, .sync_delay_us_max = 100000};

    trio_begin(t);
    trio_lose_tail(t, 1, 40);
    CU_ASSERT_EQUAL(trio_prepare(t, 1, RECORDS), RIA_OK);
    ria_fs_sim_set_faults(t->nodes[1]->fs, &faults);
    (void)trio_append(t, 1, 40, 5, RECORDS);
    trio_publish(t, 1, 1, 7, 7);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).leader);
    trio_run_ms(t, 200);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).leader);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).end_offset, 45);
    trio_end(t);
}

/* The process took it for a lack of memory, and ended. */
static void a_forced_leader_whose_disk_fails_does_not_take_the_node_along(void)
{
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 1};

    trio_begin(t);
    trio_lose_tail(t, 1, 40);
    ria_fs_sim_set_faults(t->nodes[1]->fs, &faults);
    trio_publish(t, 1, 1, 7, 7);
    trio_run_ms(t, 100);
    CU_ASSERT_STRING_EQUAL(t->nodes[1]->fatal, "");
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).leader);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).failed);
    CU_ASSERT_EQUAL(t->told[1], 1);
    faults.fail_sync_one_in = 0;
    ria_fs_sim_set_faults(t->nodes[1]->fs, &faults);
    trio_end(t);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_lost_tail_comes_back_by_replication),
    HARNESS_TEST(a_lost_tail_ends_where_a_later_leader_does),
    HARNESS_TEST(a_forced_leader_gives_up_its_lost_tail),
    HARNESS_TEST(a_forced_leader_with_a_sync_under_way_leads_when_that_has_ended),
    HARNESS_TEST(a_forced_leader_whose_disk_fails_does_not_take_the_node_along),
};

HARNESS_MAIN(tests);
