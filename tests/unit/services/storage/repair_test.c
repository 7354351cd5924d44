/* What one of three nodes cannot read comes back from the others. */
#include "services/storage/repair.h"

#include "schemas/envelope.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/range_fetch_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/trio.h"

enum { NODES = TRIO_NODES, RECORDS = TRIO_RECORDS };

static struct trio trio;
static struct trio *const t = &trio;

static void a_damaged_follower_is_repaired_and_says_so(void)
{
    trio_begin(t);
    trio_flip(t, 1, 20, 65);
    trio_flip(t, 1, 21, 3);
    trio_restart(t, 1);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
    trio_run_ms(t, 1);
    trio_heal(t, 1);
    CU_ASSERT_EQUAL(t->told[1], 0);
    CU_ASSERT_EQUAL(fixture_logged(t->nodes[1], "storage.repaired"), 1);
    CU_ASSERT(t->range_calls >= 1);
    trio_check_same_files(t);
    trio_end(t);
}

/* That of the leader is its own, not this node's: the other replica was never asked. */
static void a_peer_whose_disk_fails_does_not_end_the_repair(void)
{
    trio_begin(t);
    t->unreadable = 2;
    trio_flip(t, 1, 20, 65);
    trio_restart(t, 1);
    trio_heal(t, 1);
    t->unreadable = 0;
    CU_ASSERT_EQUAL(t->told[1], 0);
    trio_check_same_files(t);
    trio_end(t);
}

static void the_coordinator_hears_of_damage_until_it_acknowledges_it(void)
{
    trio_begin(t);
    t->coordinator_refuses = true;
    fixture_stop(t->nodes[2]);
    fixture_stop(t->nodes[3]); /* nobody can help yet */
    trio_flip(t, 1, 20, 65);
    trio_restart(t, 1);
    trio_run_ms(t, 3000);
    CU_ASSERT_EQUAL(t->told[1], -1);
    t->coordinator_refuses = false;
    trio_run_ms(t, 3000);
    CU_ASSERT_EQUAL(t->told[1], 2);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT(fixture_logged(t->nodes[1], "storage.repair_failed") >= 1);
    /* A coordinator that has forgotten this node hears it again. */
    t->told[1] = -1;
    t->nodes[1]->unregistered = true;
    trio_run_ms(t, 3000);
    CU_ASSERT_EQUAL(t->told[1], 2);
    CU_ASSERT_TRUE(fixture_start(t->nodes[3]));
    trio_heal(t, 1);
    CU_ASSERT_EQUAL(t->told[1], 0);
    CU_ASSERT_TRUE(fixture_start(t->nodes[2]));
    trio_check_same_files(t);
    trio_end(t);
}

static void a_failed_log_is_reported_too(void)
{
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 1};

    trio_begin(t);
    ria_fs_sim_set_faults(t->nodes[1]->fs, &faults);
    (void)trio_append(t, 1, RECORDS, 1, RECORDS);
    trio_run_ms(t, 100);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).failed);
    CU_ASSERT_EQUAL(t->told[1], 1);
    faults.fail_sync_one_in = 0;
    ria_fs_sim_set_faults(t->nodes[1]->fs, &faults);
    trio_restart(t, 1);
    trio_run_ms(t, 100);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).failed);
    trio_end(t);
}

/* What the metadata says counts as told: after a restart, too. */
static void a_replica_that_is_fit_says_so_if_the_metadata_does_not_know(void)
{
    static int32_t unfit[] = {1};

    trio_begin(t);
    t->nodes[1]->partitions[0].unfit = unfit;
    t->nodes[1]->partitions[0].unfit_count = 1;
    t->nodes[1]->partitions[0].partition_epoch = 2;
    fixture_publish(t->nodes[1]);
    trio_run_ms(t, 100);
    CU_ASSERT_EQUAL(t->told[1], 0);
    trio_end(t);
}

static void damage_on_two_of_three_in_different_ranges_is_repaired_on_both(void)
{
    trio_begin(t);
    trio_flip(t, 1, 10, 70);
    trio_flip(t, 3, 30, 70);
    trio_flip(t, 3, 40, 15);
    trio_restart(t, 1);
    trio_restart(t, 3);
    trio_heal(t, 1);
    trio_heal(t, 3);
    trio_check_same_files(t);
    trio_end(t);
}

/* Each range is good somewhere, no node has all of it. */
static void a_repair_goes_on_with_another_peer_where_one_is_damaged_too(void)
{
    trio_begin(t);
    fixture_stop(t->nodes[2]);
    for (int64_t o = 10; o < 20; o++) {
        trio_flip(t, 1, o, 70);
    }
    for (int64_t o = 12; o < 14; o++) {
        trio_flip(t, 3, o, 70);
    }
    trio_restart(t, 1);
    trio_restart(t, 3);
    trio_run_ms(t, 2500);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_TRUE(fixture_info(t->nodes[3]).damaged);
    CU_ASSERT_TRUE(fixture_start(t->nodes[2]));
    trio_heal(t, 1);
    trio_heal(t, 3);
    trio_check_same_files(t);
    trio_end(t);
}

static void damage_never_spreads(void)
{
    struct range_fetch_response response;

    trio_begin(t);
    for (uint64_t byte = 0; byte < trio_batch_bytes(); byte++) {
        trio_flip(t, 2, 30, byte); /* the leader itself */
        struct ria_rpc_request *sent = trio_range_fetch(t, 2, 30, 31);
        bool nothing = fixture_error(sent) == RIA_ERR_CORRUPT ||
                       (fixture_error(sent) == RIA_OK && fixture_payload(sent).size == 0);
        CU_ASSERT_TRUE(nothing);
        fake_rpc_forget(sent);
        for (int i = 0; i < 3 && fixture_error(sent = trio_range_fetch(t, 2, 0, RECORDS)) != RIA_OK;
             i++) {
            fake_rpc_forget(sent);
        }
        CU_ASSERT_EQUAL(fixture_reply(t->nodes[2], API_RANGE_FETCH, sent, &response), RIA_OK);
        CU_ASSERT_EQUAL(fixture_payload(sent).size, 30 * trio_batch_bytes()); /* up to the damage */
        fake_rpc_forget(sent);
        CU_ASSERT_TRUE(fixture_info(t->nodes[2]).damaged);
        trio_heal(t, 2);
    }
    trio_check_same_files(t);
    CU_ASSERT_EQUAL(t->told[2], 0);
    trio_end(t);
}

static void a_read_of_other_ranges_goes_on_and_of_the_damaged_one_is_an_error(void)
{
    struct fetch_response response;
    struct fetch_request request = {
        .topic_id = fixture_topic_id(1), .leader_epoch = -1, .offset = 20, .max_bytes = 1};

    trio_begin(t);
    fixture_stop(t->nodes[1]);
    fixture_stop(t->nodes[3]);
    trio_flip(t, 2, 20, 66);
    struct ria_rpc_request *sent = fixture_send(t->nodes[2], API_FETCH, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_CORRUPT);
    CU_ASSERT_TRUE(fixture_info(t->nodes[2]).damaged);
    CU_ASSERT(strstr(fixture_error_text(sent), "damaged") != NULL);
    request.offset = 21;
    request.max_bytes = 1 << 20;
    sent = fixture_send(t->nodes[2], API_FETCH, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(t->nodes[2], API_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(fixture_payload(sent).size, (RECORDS - 21) * trio_batch_bytes());
    trio_run_ms(t, 100);
    CU_ASSERT_EQUAL(t->told[2], 2);
    CU_ASSERT_TRUE(fixture_start(t->nodes[1]));
    CU_ASSERT_TRUE(fixture_start(t->nodes[3]));
    trio_heal(t, 2);
    trio_end(t);
}

static void only_committed_records_are_given_to_a_repair(void)
{
    struct range_fetch_response response;

    trio_begin(t);
    CU_ASSERT_EQUAL(trio_append(t, 1, RECORDS, 5, RECORDS), RIA_OK);
    struct ria_rpc_request *sent = trio_range_fetch(t, 1, RECORDS - 1, RECORDS + 5);
    CU_ASSERT_EQUAL(fixture_reply(t->nodes[1], API_RANGE_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(fixture_payload(sent).size, trio_batch_bytes());
    CU_ASSERT_EQUAL(response.high_watermark, RECORDS);
    sent = trio_range_fetch(t, 1, RECORDS, RECORDS + 5);
    CU_ASSERT_EQUAL(fixture_reply(t->nodes[1], API_RANGE_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(fixture_payload(sent).size, 0);
    sent = trio_range_fetch(t, 1, -1, RECORDS);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_OFFSET_OUT_OF_RANGE);
    trio_end(t);
}

static void a_damaged_follower_takes_new_records_meanwhile(void)
{
    trio_begin(t);
    fixture_stop(t->nodes[2]);
    fixture_stop(t->nodes[3]);
    trio_flip(t, 1, 20, 66);
    trio_restart(t, 1);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(trio_prepare(t, 1, RECORDS), RIA_OK);
    CU_ASSERT_EQUAL(trio_append(t, 1, RECORDS, 3, RECORDS), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).synced_offset, RECORDS + 3);
    CU_ASSERT_TRUE(fixture_start(t->nodes[2]));
    CU_ASSERT_TRUE(fixture_start(t->nodes[3]));
    trio_heal(t, 1);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).end_offset, RECORDS + 3);
    trio_end(t);
}

/* The metadata that made it the leader came while it could not be. */
static void a_repaired_replica_leads_what_it_was_given(void)
{
    trio_begin(t);
    fixture_stop(t->nodes[2]);
    fixture_stop(t->nodes[3]);
    trio_flip(t, 1, 20, 66);
    trio_restart(t, 1);
    trio_publish(t, 1, 1, 6, -1);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).leader);
    CU_ASSERT_TRUE(fixture_start(t->nodes[2]));
    CU_ASSERT_TRUE(fixture_start(t->nodes[3]));
    trio_heal(t, 1);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).leader);
    trio_end(t);
}

/* What the peers never had: their leader's word cuts it off. */
static void a_hole_in_what_was_never_committed_goes_with_the_leaders_history(void)
{
    trio_begin(t);
    CU_ASSERT_EQUAL(trio_append(t, 1, RECORDS, 5, RECORDS), RIA_OK);
    trio_run_ms(t, 1500);
    trio_flip(t, 1, RECORDS + 2, 66);
    trio_restart(t, 1);
    trio_run_ms(t, 3000);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(
        trio_prepare(t, 1, RECORDS), RIA_OK
    ); /* the log is of this epoch: it is not cut */
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
    fixture_partition(t->nodes[1], 1, 0, 3, 6, 2, "123", "123");
    fixture_publish(t->nodes[1]);
    follower_epoch entry = {.epoch = 5, .start_offset = 0};
    (void)follower_send_prepare(t->nodes[1], 6, 0, RECORDS + 1, &entry, 1);
    trio_run_ms(t, 100);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).end_offset, RECORDS + 1);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_EQUAL(t->told[1], 0);
    trio_end(t);
}

/* It was without damage, said so, was elected, and refused every record until the next start. */
static void a_replica_whose_hole_was_cut_off_leads_and_takes_records(void)
{
    follower_epoch entry = {.epoch = 5, .start_offset = 0};

    trio_begin(t);
    CU_ASSERT_EQUAL(trio_append(t, 1, RECORDS, 5, RECORDS), RIA_OK);
    trio_run_ms(t, 1500);
    trio_flip(t, 1, RECORDS + 2, 66);
    trio_restart(t, 1);
    trio_publish(t, 1, 3, 6, -1);
    (void)follower_send_prepare(t->nodes[1], 6, 0, RECORDS + 2, &entry, 1);
    trio_run_ms(t, 100);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
    trio_publish(t, 1, 1, 7, -1);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).leader);
    (void)fixture_produce(t->nodes[1], (struct produce_args){.leader_epoch = 7});
    trio_run_ms(t, 50);
    CU_ASSERT_EQUAL(fixture_info(t->nodes[1]).synced_offset, RECORDS + 3);
    trio_end(t);
}

/* The repair of another hole, tried again a minute later, and silent about why. */
static void what_failed_before_a_cut_does_not_count_after_it(void)
{
    follower_epoch entry = {.epoch = 5, .start_offset = 0};

    trio_begin(t);
    CU_ASSERT_EQUAL(trio_append(t, 1, RECORDS, 5, RECORDS), RIA_OK);
    trio_run_ms(t, 1500);
    trio_flip(t, 1, RECORDS + 2, 66);
    trio_restart(t, 1);
    trio_run_ms(t, 8000);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
    trio_publish(t, 1, 3, 6, -1);
    (void)follower_send_prepare(t->nodes[1], 6, 0, RECORDS, &entry, 1);
    trio_run_ms(t, 20000);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
    fixture_stop(t->nodes[2]);
    fixture_stop(t->nodes[3]);
    trio_flip(t, 1, 20, 66);
    CU_ASSERT_EQUAL(fixture_error(trio_range_fetch(t, 1, 20, 21)), RIA_ERR_CORRUPT);
    trio_run_ms(t, 500);
    CU_ASSERT_TRUE(fixture_info(t->nodes[1]).damaged);
    CU_ASSERT_TRUE(fixture_start(t->nodes[2]));
    CU_ASSERT_TRUE(fixture_start(t->nodes[3]));
    trio_run_ms(t, 2000);
    CU_ASSERT_FALSE(fixture_info(t->nodes[1]).damaged);
    trio_end(t);
}

/* Nobody reads the record, and it is found and repaired all the same. */
static void the_scrub_finds_a_flipped_bit_and_it_is_repaired(void)
{
    trio_begin(t);
    for (int32_t n = 1; n <= NODES; n++) {
        t->nodes[n]->scrub_period_ms = 60 * 1000;
        t->nodes[n]->scrub_rate = 1000 * 1000;
        fixture_stop(t->nodes[n]);
        CU_ASSERT_TRUE_FATAL(fixture_start(t->nodes[n]));
    }
    trio_run_ms(t, 2000);
    trio_flip(t, 3, 17, 68);
    CU_ASSERT_FALSE(fixture_info(t->nodes[3]).damaged);
    for (int i = 0; i < 70 && fixture_logged(t->nodes[3], "storage.repaired") == 0; i++) {
        trio_run_ms(t, 1000);
    }
    CU_ASSERT_EQUAL(fixture_logged(t->nodes[3], "storage.log_damaged"), 1);
    CU_ASSERT_EQUAL(fixture_logged(t->nodes[3], "storage.repaired"), 1);
    CU_ASSERT_FALSE(fixture_info(t->nodes[3]).damaged);
    CU_ASSERT_EQUAL(t->told[3], 0);
    CU_ASSERT_EQUAL(fixture_logged(t->nodes[1], "storage.log_damaged"), 0);
    trio_check_same_files(t);
    trio_end(t);
}

static void a_removed_topic_ends_its_repair(void)
{
    trio_begin(t);
    fixture_stop(t->nodes[2]);
    trio_flip(t, 1, 20, 66);
    trio_restart(t, 1);
    for (int i = 0; i < 4; i++) { /* a call is under way */
        fixture_run_ms(t->nodes[1], 2);
    }
    CU_ASSERT(fake_rpc_count(&t->nodes[1]->rpc, API_RANGE_FETCH) == 1);
    fixture_topic(t->nodes[1], 1, 1, 3, true, NULL);
    fixture_publish(t->nodes[1]);
    fixture_run_ms(t->nodes[1], 100);
    struct fake_rpc_call *call = fake_rpc_find(&t->nodes[1]->rpc, API_RANGE_FETCH);
    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    trio_deliver(t, call);
    trio_run_ms(t, 100);
    CU_ASSERT_EQUAL(fixture_logged(t->nodes[1], "storage.replica_removed"), 1);
    trio_end(t);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_damaged_follower_is_repaired_and_says_so),
    HARNESS_TEST(a_peer_whose_disk_fails_does_not_end_the_repair),
    HARNESS_TEST(the_coordinator_hears_of_damage_until_it_acknowledges_it),
    HARNESS_TEST(a_failed_log_is_reported_too),
    HARNESS_TEST(a_replica_that_is_fit_says_so_if_the_metadata_does_not_know),
    HARNESS_TEST(damage_on_two_of_three_in_different_ranges_is_repaired_on_both),
    HARNESS_TEST(a_repair_goes_on_with_another_peer_where_one_is_damaged_too),
    HARNESS_TEST(damage_never_spreads),
    HARNESS_TEST(a_read_of_other_ranges_goes_on_and_of_the_damaged_one_is_an_error),
    HARNESS_TEST(only_committed_records_are_given_to_a_repair),
    HARNESS_TEST(a_damaged_follower_takes_new_records_meanwhile),
    HARNESS_TEST(a_repaired_replica_leads_what_it_was_given),
    HARNESS_TEST(a_hole_in_what_was_never_committed_goes_with_the_leaders_history),
    HARNESS_TEST(a_replica_whose_hole_was_cut_off_leads_and_takes_records),
    HARNESS_TEST(what_failed_before_a_cut_does_not_count_after_it),
    HARNESS_TEST(the_scrub_finds_a_flipped_bit_and_it_is_repaired),
    HARNESS_TEST(a_removed_topic_ends_its_repair),
};

HARNESS_MAIN(tests);
