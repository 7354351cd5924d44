/* A replica that comes to lead, ceases to, or must not: what it tells readers meanwhile. */
#include <stdlib.h>

#include "schemas/envelope.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/follower.h"

#define FOLLOWED_LOG "data/aa000000-0000-0000-0000-000000000001-0/00000000000000000000.log"

static void a_prepare_for_a_newer_epoch_makes_a_leader_step_down(void)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));
    int64_t end = -1;

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    fixture_lead(f, "12", NULL);
    const struct ria_rpc_request *request = fixture_produce_one(f);
    CU_ASSERT_EQUAL(
        follower_prepare(f, 5, 5, 0, &end), RIA_ERR_INVALID
    ); /* it leads this one itself */
    CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_UNKNOWN_OUTCOME);
    CU_ASSERT_EQUAL(end, 0);
    CU_ASSERT_FALSE(fixture_info(f).leader);
    /* Its own metadata comes later and is older: nothing changes. */
    fixture_partition(f, 1, 0, 1, 5, 9, "12", "12");
    fixture_publish(f);
    CU_ASSERT_FALSE(fixture_info(f).leader);
    follower_free(f);
}

static void a_follower_leads_with_what_it_has(void)
{
    struct storage_fixture *f = follower_new_with(5, 3);

    fixture_partition(f, 1, 0, 1, 6, 2, "12", "12");
    fixture_publish(f);
    CU_ASSERT_TRUE(fixture_info(f).leader);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 3);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 5), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 5);
    follower_free(f);
}

/* A new leader may know less of what is committed than its predecessor told readers. */
static void a_new_leader_with_an_older_high_watermark_takes_nothing_back(void)
{
    struct storage_fixture *f = follower_new_with(5, 3);
    struct fetch_request fetch = {
        .topic_id = fixture_topic_id(1), .leader_epoch = -1, .offset = 4, .max_bytes = 1000};
    struct list_offsets_request list = {
        .topic_id = fixture_topic_id(1), .leader_epoch = -1, .timestamp = -1};
    struct watch_request_watch_partition place = {.topic_id = fixture_topic_id(1), .offset = 4};
    struct watch_request watch = {
        .watch_id = 1, .wait_ms = 5000, .partitions = &place, .partitions_count = 1};
    struct list_offsets_response offsets;
    struct watch_response watched;

    fixture_partition(f, 1, 0, 1, 6, 2, "12", "12");
    fixture_publish(f);
    const struct ria_rpc_request *sent = fixture_send(f, API_FETCH, &fetch, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_OK); /* not out of range: nothing new yet */
    CU_ASSERT_EQUAL(fixture_payload(sent).size, 0);
    fetch.wait_ms = 5000;
    const struct ria_rpc_request *parked = fixture_send(f, API_FETCH, &fetch, RIA_SLICE_NULL);
    sent = fixture_send(f, API_LIST_OFFSETS, &list, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_NO_LEADER); /* KIP-207 */
    const struct ria_rpc_request *watching = fixture_send(f, API_WATCH, &watch, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 4), RIA_OK); /* the reader's place, but not settled */
    sent = fixture_send(f, API_LIST_OFFSETS, &list, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_NO_LEADER);
    CU_ASSERT_FALSE(parked->done);
    CU_ASSERT_FALSE(watching->done);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 5), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(parked), RIA_OK);
    CU_ASSERT_TRUE(fixture_payload(parked).size > 0);
    CU_ASSERT_EQUAL(fixture_reply(f, API_WATCH, watching, &watched), RIA_OK);
    CU_ASSERT_EQUAL(watched.partitions[0].high_watermark, 5);
    sent = fixture_send(f, API_LIST_OFFSETS, &list, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_LIST_OFFSETS, sent, &offsets), RIA_OK);
    CU_ASSERT_EQUAL(offsets.high_watermark, 5);
    follower_free(f);
}

/* The predecessor may have told a reader 5. */
static void a_leader_that_is_not_settled_serves_what_it_can_and_names_no_high_watermark(void)
{
    struct storage_fixture *f = follower_new_with(5, 3);
    struct fetch_request fetch = {
        .topic_id = fixture_topic_id(1), .leader_epoch = -1, .offset = 2, .max_bytes = 1};
    struct fetch_response fetched;

    fixture_partition(f, 1, 0, 1, 6, 2, "12", "12");
    fixture_publish(f);
    const struct ria_rpc_request *sent = fixture_send(f, API_FETCH, &fetch, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_FETCH, sent, &fetched), RIA_OK);
    CU_ASSERT_TRUE(fixture_payload(sent).size > 0);
    CU_ASSERT_EQUAL(fetched.high_watermark, -1);
    fetch.offset = 3;
    sent = fixture_send(f, API_FETCH, &fetch, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_FETCH, sent, &fetched), RIA_OK);
    CU_ASSERT_EQUAL(fixture_payload(sent).size, 0);
    CU_ASSERT_EQUAL(fetched.high_watermark, -1);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 4), RIA_OK);
    sent = fixture_send(f, API_FETCH, &fetch, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_FETCH, sent, &fetched), RIA_OK);
    CU_ASSERT_TRUE(fixture_payload(sent).size > 0);
    CU_ASSERT_EQUAL(fetched.high_watermark, -1);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 5), RIA_OK);
    sent = fixture_send(f, API_FETCH, &fetch, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_FETCH, sent, &fetched), RIA_OK);
    CU_ASSERT_EQUAL(fetched.high_watermark, 5);
    follower_free(f);
}

static void a_failed_replica_does_not_lead(void)
{
    struct storage_fixture *f = follower_new_with(5, 5);
    struct ria_fs_sim_faults broken = {.fail_sync_one_in = 1};
    struct ria_fs_sim_faults mended = {0};
    int64_t end = -1;

    ria_fs_sim_set_faults(f->fs, &broken);
    CU_ASSERT_EQUAL(follower_append(f, 5, 5, 1, 5, &end), RIA_ERR_IO);
    ria_fs_sim_set_faults(f->fs, &mended);
    CU_ASSERT_TRUE(fixture_info(f).failed);
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "1"); /* the coordinator has not heard of it yet */
    fixture_force(f, 1, 0, 6);                      /* nor does an operator's word mend a disk */
    fixture_publish(f);
    CU_ASSERT_FALSE(fixture_info(f).leader);
    CU_ASSERT_EQUAL(fixture_info(f).leader_epoch, 6);
    const struct ria_rpc_request *request =
        fixture_produce(f, (struct produce_args){.leader_epoch = 6});
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_NOT_LEADER);
    follower_free(f);
}

static void a_damaged_replica_leads_only_if_forced(void)
{
    struct storage_fixture *f = follower_new_with(5, 5);

    fixture_run_ms(f, 3000); /* the checkpoint knows what is on disk */
    fixture_kill(f);
    CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(f->fs, FOLLOWED_LOG, 70, 3), RIA_OK);
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "1");
    f->metadata_version++;
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 10);
    CU_ASSERT_TRUE(fixture_info(f).damaged);
    CU_ASSERT_FALSE(fixture_info(f).leader);
    fixture_partition(f, 1, 0, 1, 7, 3, "12", "1");
    fixture_force(f, 1, 0, 7);
    fixture_publish(f);
    CU_ASSERT_TRUE(fixture_info(f).leader);
    follower_free(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_prepare_for_a_newer_epoch_makes_a_leader_step_down),
    HARNESS_TEST(a_follower_leads_with_what_it_has),
    HARNESS_TEST(a_new_leader_with_an_older_high_watermark_takes_nothing_back),
    HARNESS_TEST(a_leader_that_is_not_settled_serves_what_it_can_and_names_no_high_watermark),
    HARNESS_TEST(a_failed_replica_does_not_lead),
    HARNESS_TEST(a_damaged_replica_leads_only_if_forced),
};

HARNESS_MAIN(tests);
