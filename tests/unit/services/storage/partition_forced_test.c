/* A leader that an operator forced: its followers may cut what was committed, once, and its own log
 * is what counts. */
#include "schemas/envelope.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/list_offsets_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/follower.h"

/* The operator made node 2 the leader, which lacks what was committed. */
static void force(struct storage_fixture *f, int32_t leader_epoch, int32_t forced_epoch)
{
    fixture_partition(f, 1, 0, 2, leader_epoch, leader_epoch, "12", "2");
    fixture_force(f, 1, 0, forced_epoch);
    fixture_publish(f);
}

static void committed_records_are_cut_off_for_a_forced_leader(void)
{
    struct storage_fixture *f = follower_new_with(7, 6);
    int64_t end = -1;

    force(f, 6, 6);
    CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 5, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 5);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 5);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.committed_records_cut"), 1);
    follower_free(f);
}

static void a_forced_leader_counts_for_later_epochs_too(void)
{
    struct storage_fixture *f = follower_new_with(7, 6);
    int64_t end = -1;

    force(f, 8, 6); /* two more leaders came while this node was away */
    CU_ASSERT_EQUAL(follower_prepare(f, 8, 5, 5, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 5);
    follower_free(f);
}

/* The log was idle since before the force, so its last epoch stayed an older one for ever, and each
 * later leader could cut what had been committed meanwhile. */
static void a_log_that_was_compared_with_a_forced_leader_is_cut_for_it_no_more(void)
{
    for (int pass = 0; pass < 3; pass++) {
        struct storage_fixture *f = follower_new_with(7, 6);
        int64_t end = -1;
        if (pass == 2) { /* the metadata comes late */
            CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 7, &end), RIA_OK);
            force(f, 6, 6);
        } else {
            force(f, 6, 6);
            CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 5, &end), RIA_OK);
        }
        CU_ASSERT_EQUAL(
            follower_append(f, 6, end, 0, end, &end), RIA_OK
        ); /* what is there is committed */
        int64_t committed = fixture_info(f).high_watermark;
        if (pass == 1) {
            fixture_run_ms(f, 2000); /* the checkpoint */
            fixture_kill(f);
            CU_ASSERT_TRUE_FATAL(fixture_start(f));
        }
        fixture_partition(f, 1, 0, 2, 7, 7, "12", "2");
        fixture_publish(f);
        CU_ASSERT_EQUAL(fixture_info(f).high_watermark, committed);
        CU_ASSERT_EQUAL(follower_prepare(f, 7, 5, 3, &end), RIA_ERR_CONFLICT);
        CU_ASSERT_EQUAL(fixture_info(f).end_offset, committed);
        force(f, 8, 8); /* the operator says so again */
        CU_ASSERT_EQUAL(follower_prepare(f, 8, 5, 3, &end), RIA_OK);
        CU_ASSERT_EQUAL(end, 3);
        follower_free(f);
    }
}

/* Its own log is what the operator chose. */
static void who_was_forced_to_lead_is_cut_for_that_no_more(void)
{
    struct storage_fixture *f = follower_new_with(7, 6);
    int64_t end = -1;

    fixture_topic(f, 1, 1, 2, false, "min.insync.replicas=1");
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "1");
    fixture_force(f, 1, 0, 6);
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 7);
    fixture_partition(f, 1, 0, 2, 7, 3, "12", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(follower_prepare(f, 7, 5, 3, &end), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 7);
    follower_free(f);
}

static void a_leader_forced_before_the_log_was_written_cuts_nothing(void)
{
    struct storage_fixture *f = follower_new_with(7, 6);
    int64_t end = -1;

    force(f, 6, 5); /* the log ends in epoch 5, which began with the forced leader */
    CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 5, &end), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 7);
    follower_free(f);
}

static void a_prepare_for_a_forced_leader_waits_for_the_metadata(void)
{
    struct storage_fixture *f = follower_new_with(7, 6);
    int64_t end = -1;

    CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 5, &end), RIA_ERR_UNKNOWN_EPOCH);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 7);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 6);
    force(f, 6, 6);
    CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 5, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 5);
    follower_free(f);
}

/* What it has is all there is: readers of what was lost are told so. */
static void a_forced_leader_commits_what_it_has_and_refuses_readers_of_what_was_lost(void)
{
    struct storage_fixture *f = follower_new_with(5, 3);
    struct fetch_request fetch = {
        .topic_id = fixture_topic_id(1), .leader_epoch = -1, .offset = 9, .max_bytes = 1000};
    struct list_offsets_request list = {
        .topic_id = fixture_topic_id(1), .leader_epoch = -1, .timestamp = -1};
    struct list_offsets_response offsets;

    fixture_topic(f, 1, 1, 2, false, "min.insync.replicas=1");
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "1");
    fixture_force(f, 1, 0, 6);
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 5);
    const struct ria_rpc_request *sent = fixture_send(f, API_FETCH, &fetch, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_OFFSET_OUT_OF_RANGE);
    sent = fixture_send(f, API_LIST_OFFSETS, &list, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_LIST_OFFSETS, sent, &offsets), RIA_OK);
    CU_ASSERT_EQUAL(offsets.high_watermark, 5);
    follower_free(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(committed_records_are_cut_off_for_a_forced_leader),
    HARNESS_TEST(a_forced_leader_counts_for_later_epochs_too),
    HARNESS_TEST(a_log_that_was_compared_with_a_forced_leader_is_cut_for_it_no_more),
    HARNESS_TEST(who_was_forced_to_lead_is_cut_for_that_no_more),
    HARNESS_TEST(a_leader_forced_before_the_log_was_written_cuts_nothing),
    HARNESS_TEST(a_prepare_for_a_forced_leader_waits_for_the_metadata),
    HARNESS_TEST(a_forced_leader_commits_what_it_has_and_refuses_readers_of_what_was_lost),
};

HARNESS_MAIN(tests);
