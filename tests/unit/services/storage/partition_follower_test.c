/* A follower: what it appends, and what a prepare makes of its log. */
#include <stdlib.h>
#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/follower.h"

/* --- append ------------------------------------------------------------------------------------*/

static void an_append_is_answered_when_it_is_on_disk(void)
{
    struct storage_fixture *f = follower_new(NULL);
    int64_t end = -1;

    CU_ASSERT_EQUAL(follower_prepare(f, 5, 5, 0, &end), RIA_OK);
    const struct ria_rpc_request *sent = follower_send_append(f, 5, 0, 3, 5, 2);
    fixture_run_ms(f, 0);
    CU_ASSERT_FALSE(sent->done);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 3);
    CU_ASSERT_EQUAL(fixture_info(f).synced_offset, 0);
    fixture_run_ms(f, 2);
    CU_ASSERT_EQUAL(follower_append_result(f, sent, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 3);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 2);
    follower_free(f);
}

static void nothing_is_appended_before_a_prepare(void)
{
    struct storage_fixture *f = follower_new(NULL);
    int64_t end = -1;

    CU_ASSERT_EQUAL(follower_append(f, 5, 0, 1, 0, &end), RIA_ERR_UNKNOWN_EPOCH);
    CU_ASSERT_EQUAL(follower_append(f, 4, 0, 1, 0, &end), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(follower_append(f, 6, 0, 1, 0, &end), RIA_ERR_UNKNOWN_EPOCH);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 0);
    follower_free(f);
}

static void an_append_that_does_not_join_is_a_conflict(void)
{
    struct storage_fixture *f = follower_new_with(3, 0);
    int64_t end = -1;

    CU_ASSERT_EQUAL(follower_append(f, 5, 4, 1, 0, &end), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(end, 3);
    CU_ASSERT_EQUAL(follower_append(f, 5, 2, 1, 0, &end), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 3);
    CU_ASSERT_EQUAL(follower_append(f, 5, 3, 1, 0, &end), RIA_OK);
    follower_free(f);
}

static void an_empty_append_tells_the_high_watermark_at_once(void)
{
    struct storage_fixture *f = follower_new_with(3, 0);
    int64_t end = -1;

    const struct ria_rpc_request *sent = follower_send_append(f, 5, 3, 0, 5, 2);
    fixture_run_ms(f, 0);
    CU_ASSERT_EQUAL(follower_append_result(f, sent, &end), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 2);
    CU_ASSERT_EQUAL(follower_append(f, 5, 3, 0, 1, &end), RIA_OK); /* never back */
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 2);
    CU_ASSERT_EQUAL(follower_append(f, 5, 3, 0, 99, &end), RIA_OK); /* never past the end */
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 3);
    follower_free(f);
}

static void a_damaged_batch_is_not_appended(void)
{
    struct storage_fixture *f = follower_new_with(1, 0);
    struct ria_slice batches = fixture_batches(1, 1, 5);
    uint8_t *bytes = malloc(batches.size);
    struct replica_append_response response;
    struct replica_append_request_replica_append_partition partition = {
        .topic_id = fixture_topic_id(1),
        .leader_epoch = 5,
        .base_offset = 1,
        .size = (int32_t)batches.size,
    };
    struct replica_append_request request = {.partitions = &partition, .partitions_count = 1};

    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    memcpy(bytes, batches.data, batches.size);
    bytes[batches.size - 1] ^= 1;
    const struct ria_rpc_request *sent =
        fixture_send(f, API_REPLICA_APPEND, &request, ria_slice_of(bytes, batches.size));
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_APPEND, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_ERR_CORRUPT);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 1);
    /* Sizes that are not the payload's: not even begun. */
    partition.size++;
    sent = fixture_send(f, API_REPLICA_APPEND, &request, ria_slice_of(bytes, batches.size));
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_INVALID);
    partition.size = -1;
    sent = fixture_send(f, API_REPLICA_APPEND, &request, ria_slice_of(bytes, batches.size));
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_INVALID);
    free(bytes);
    free((void *)(uintptr_t)batches.data);
    follower_free(f);
}

static void one_failing_partition_does_not_hold_the_others(void)
{
    struct storage_fixture *f = follower_new_with(1, 0);
    struct ria_slice batches = fixture_batches(1, 2, 5);
    struct replica_append_response response;
    int32_t half = (int32_t)(batches.size / 2);
    struct replica_append_request_replica_append_partition partitions[] = {
        {.topic_id = fixture_topic_id(9), .leader_epoch = 5, .base_offset = 0, .size = half},
        {.topic_id = fixture_topic_id(1), .leader_epoch = 5, .base_offset = 1, .size = half},
    };
    struct replica_append_request request = {.partitions = partitions, .partitions_count = 2};

    /* The second half of the payload is batch 2: it does not join. Send the first one instead. */
    uint8_t *payload = malloc(batches.size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(payload);
    memcpy(payload, batches.data, (size_t)half);
    memcpy(payload + half, batches.data, (size_t)half);
    const struct ria_rpc_request *sent =
        fixture_send(f, API_REPLICA_APPEND, &request, ria_slice_of(payload, batches.size));
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_APPEND, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 2);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(response.partitions[1].error_code, RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[1].end_offset, 2);
    free(payload);
    free((void *)(uintptr_t)batches.data);
    follower_free(f);
}

static void a_disk_that_fails_is_told_to_the_worker(void)
{
    struct storage_fixture *f = follower_new_with(1, 0);
    struct ria_fs_sim_faults broken = {.fail_sync_one_in = 1};
    int64_t end = -1;

    ria_fs_sim_set_faults(f->fs, &broken);
    CU_ASSERT_EQUAL(follower_append(f, 5, 1, 1, 0, &end), RIA_ERR_IO);
    CU_ASSERT_EQUAL(end, 1);
    CU_ASSERT_EQUAL(follower_append(f, 5, 2, 1, 0, &end), RIA_ERR_IO);
    CU_ASSERT_EQUAL(follower_prepare(f, 5, 5, 1, &end), RIA_ERR_IO);
    follower_free(f);
}

static void a_write_that_fails_ends_appends_that_wait_for_a_sync(void)
{
    struct storage_fixture *f = follower_new_with(1, 0);
    struct ria_fs_sim_faults broken = {.fail_write_one_in = 1};
    int64_t end = -1;

    const struct ria_rpc_request *first = follower_send_append(f, 5, 1, 1, 5, 0);
    ria_fs_sim_set_faults(f->fs, &broken);
    const struct ria_rpc_request *second =
        follower_send_append(f, 5, 2, 1, 5, 0); /* before the flush */
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(follower_append_result(f, second, &end), RIA_ERR_IO);
    CU_ASSERT_EQUAL(follower_append_result(f, first, &end), RIA_ERR_IO);
    CU_ASSERT_EQUAL(end, 1);
    follower_free(f);
}

static void a_write_that_fails_during_a_sync_ends_only_what_it_must(void)
{
    struct storage_fixture *f = follower_new_with(1, 0);
    struct ria_fs_sim_faults broken = {
        .fail_write_one_in = 1, .sync_delay_us_min = 1000, .sync_delay_us_max = 1000};
    int64_t end = -1;

    const struct ria_rpc_request *first = follower_send_append(f, 5, 1, 1, 5, 0);
    fixture_run_ms(f, 0); /* its sync has begun */
    const struct ria_rpc_request *second = follower_send_append(f, 5, 2, 1, 5, 0);
    ria_fs_sim_set_faults(f->fs, &broken);
    const struct ria_rpc_request *third = follower_send_append(f, 5, 3, 1, 5, 0);
    fixture_run_ms(f, 5);
    CU_ASSERT_TRUE(first->done);
    CU_ASSERT_EQUAL(follower_append_result(f, second, &end), RIA_ERR_IO);
    CU_ASSERT_EQUAL(follower_append_result(f, third, &end), RIA_ERR_IO);
    follower_free(f);
}

/* Where all disks fill together, producers hear of it before followers fall behind. */
static void a_follower_takes_more_than_a_leader_before_its_disk_is_full(void)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));
    struct ria_fs_sim_faults faults = {.sync_delay_us_min = 1000, .sync_delay_us_max = 1000};
    uint64_t free_bytes = 0;
    uint64_t total = 0;
    int64_t end = -1;

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    f->disk_reserve = 100000;
    fixture_follow(f, "12", NULL);
    CU_ASSERT_EQUAL(follower_prepare(f, 5, 5, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_free_bytes(f->fs, "data", &free_bytes), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_total_bytes(f->fs, "data", &total), RIA_OK);
    faults.capacity_bytes = total - free_bytes + 70000;
    ria_fs_sim_set_faults(f->fs, &faults);
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(follower_append(f, 5, 0, 10, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(follower_append(f, 5, 10, 300, 0, &end), RIA_ERR_NO_SPACE);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 10);
    CU_ASSERT_FALSE(fixture_info(f).failed);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.disk_full"), 1);
    faults.capacity_bytes = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(follower_append(f, 5, 10, 300, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 310);
    follower_free(f);
}

/* --- prepare -----------------------------------------------------------------------------------*/

static void prepare_cuts_what_the_leader_does_not_have(void)
{
    struct storage_fixture *f = follower_new_with(10, 4);
    int64_t end = -1;

    /* The leader of epoch 6 lost what came behind 7. */
    CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 7, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 7);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 7);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 4);
    CU_ASSERT_EQUAL(fixture_info(f).leader_epoch, 6);
    CU_ASSERT_EQUAL(follower_append(f, 5, 7, 1, 0, &end), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(follower_append(f, 6, 7, 1, 5, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 8);
    follower_free(f);
}

static void prepare_cuts_by_epoch_not_by_length(void)
{
    struct storage_fixture *f = follower_new_with(10, 4);
    follower_epoch leader[] = {{.epoch = 5, .start_offset = 0}, {.epoch = 6, .start_offset = 6}};
    int64_t end = -1;

    /* The leader is longer, but from 6 on it is another history. */
    const struct ria_rpc_request *sent = follower_send_prepare(f, 7, 0, 30, leader, 2);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(follower_prepare_result(f, sent, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 6);
    follower_free(f);
}

static void an_older_prepare_is_fenced(void)
{
    struct storage_fixture *f = follower_new_with(3, 0);
    int64_t end = -1;

    CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 3, &end), RIA_OK);
    CU_ASSERT_EQUAL(follower_prepare(f, 5, 5, 0, &end), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 3);
    follower_free(f);
}

static void a_second_prepare_of_the_same_epoch_with_an_old_history_cuts_nothing(void)
{
    struct storage_fixture *f = follower_new_with(3, 0);
    int64_t end = -1;

    /* Another worker asked the leader when it was still empty. */
    CU_ASSERT_EQUAL(follower_prepare(f, 5, 5, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 3);
    CU_ASSERT_EQUAL(follower_append(f, 5, 3, 1, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(follower_prepare(f, 5, 5, 1, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 4);
    follower_free(f);
}

static void prepare_waits_for_the_sync_under_way(void)
{
    struct storage_fixture *f = follower_new_with(1, 0);
    follower_epoch entry = {.epoch = 5, .start_offset = 0};
    int64_t end = -1;

    const struct ria_rpc_request *appended = follower_send_append(f, 5, 1, 1, 5, 0);
    fixture_run_ms(f, 0); /* the sync is under way */
    const struct ria_rpc_request *prepared = follower_send_prepare(f, 6, 0, 1, &entry, 1);
    fixture_run_ms(f, 0);
    CU_ASSERT_FALSE(prepared->done);
    /* Fenced from the first moment on. */
    const struct ria_rpc_request *late = follower_send_append(f, 5, 2, 1, 5, 0);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(follower_append_result(f, late, &end), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_TRUE(appended->done);
    CU_ASSERT_EQUAL(follower_prepare_result(f, prepared, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 1);
    follower_free(f);
}

static void one_slow_disk_does_not_hold_up_a_prepare_of_many(void)
{
    struct storage_fixture *f = follower_new_with(1, 0);
    struct ria_fs_sim_faults slow = {
        .sync_delay_us_min = 20 * 1000 * 1000, .sync_delay_us_max = 20 * 1000 * 1000};
    struct ria_fs_sim_faults quick = {.sync_delay_us_min = 1000, .sync_delay_us_max = 1000};
    follower_epoch entry = {.epoch = 5, .start_offset = 0};
    struct replica_prepare_request_replica_prepare_partition partitions[2] = {
        {.topic_id = fixture_topic_id(1), .end_offset = 2, .epochs = &entry, .epochs_count = 1},
        {.topic_id = fixture_topic_id(2), .leader_epoch = 5},
    };
    struct replica_prepare_request request = {.partitions = partitions, .partitions_count = 2};
    struct replica_prepare_response response;

    fixture_topic(f, 2, 1, 2, false, NULL);
    fixture_partition(f, 2, 0, 2, 5, 1, "12", "12");
    fixture_publish(f);
    fixture_run_ms(f, 10);
    ria_fs_sim_set_faults(f->fs, &slow);
    (void)follower_send_append(f, 5, 1, 1, 5, 0);
    fixture_run_ms(f, 0); /* a sync that takes its time is under way */
    partitions[0].leader_epoch = 6;
    const struct ria_rpc_request *sent =
        fixture_send(f, API_REPLICA_PREPARE, &request, RIA_SLICE_NULL);
    fixture_run_ms(f, 900);
    CU_ASSERT_FALSE(sent->done);
    fixture_run_ms(f, 200);
    CU_ASSERT_EQUAL_FATAL(fixture_reply(f, API_REPLICA_PREPARE, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_ERR_BUSY);
    CU_ASSERT_EQUAL(response.partitions[1].error_code, RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[1].end_offset, 0);
    ria_fs_sim_set_faults(f->fs, &quick);
    fixture_run_ms(f, 25000);
    follower_free(f);
}

/* Its log had become quiet in this turn: a job began after all jobs had been ended. */
static void a_prepare_that_is_due_ends_with_the_node(void)
{
    struct storage_fixture *f = follower_new_with(1, 0);
    struct ria_fs_sim_faults faults = {.sync_delay_us_min = 1000, .sync_delay_us_max = 1000};
    follower_epoch entry = {.epoch = 5, .start_offset = 0};

    ria_fs_sim_set_faults(f->fs, &faults);
    (void)follower_send_append(f, 5, 1, 1, 5, 0);
    fixture_run_ms(f, 0);
    const struct ria_rpc_request *sent = follower_send_prepare(f, 6, 0, 2, &entry, 1);
    CU_ASSERT_FALSE(sent->done);
    f->now_us += 1000;
    (void)ria_timers_run(&f->timers); /* the sync's end, and nothing that follows */
    fixture_kill(f);
    CU_ASSERT_EQUAL(f->timers.heap.count, 0);
    CU_ASSERT_TRUE(sent->done);
    CU_ASSERT_TRUE(fixture_start(f));
    follower_free(f);
}

static void committed_records_are_not_cut_off(void)
{
    struct storage_fixture *f = follower_new_with(10, 8);
    int64_t end = -1;

    fixture_partition(f, 1, 0, 2, 6, 2, "12", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 5, &end), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 10);
    CU_ASSERT_EQUAL(follower_append(f, 6, 5, 1, 0, &end), RIA_ERR_UNKNOWN_EPOCH);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.cut_of_committed_refused"), 1);
    follower_free(f);
}

static void a_relaxed_topic_follows_a_leader_that_lost_committed_records(void)
{
    struct storage_fixture *f = follower_new("durability=relaxed");
    int64_t end = -1;

    CU_ASSERT_EQUAL(follower_prepare(f, 5, 5, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(follower_append(f, 5, 0, 10, 8, &end), RIA_OK);
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 5, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 5);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 5);
    follower_free(f);
}

static void a_follower_below_the_leaders_start_begins_there(void)
{
    struct storage_fixture *f = follower_new_with(3, 3);
    follower_epoch entry = {.epoch = 5, .start_offset = 100};
    int64_t end = -1;

    const struct ria_rpc_request *sent = follower_send_prepare(f, 6, 100, 120, &entry, 1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(follower_prepare_result(f, sent, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 100);
    CU_ASSERT_EQUAL(fixture_info(f).start_offset, 100);
    CU_ASSERT_EQUAL(follower_append(f, 6, 100, 2, 101, &end), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 101);
    follower_free(f);
}

static void a_prepare_before_the_metadata_is_kept(void)
{
    struct storage_fixture *f = follower_new_with(3, 0);
    int64_t end = -1;

    CU_ASSERT_EQUAL(follower_prepare(f, 6, 5, 3, &end), RIA_OK);
    fixture_partition(f, 1, 0, 2, 6, 2, "12", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(follower_append(f, 6, 3, 1, 0, &end), RIA_OK); /* still prepared */
    fixture_partition(f, 1, 0, 2, 7, 3, "12", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(follower_append(f, 6, 4, 1, 0, &end), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(follower_append(f, 7, 4, 1, 0, &end), RIA_ERR_UNKNOWN_EPOCH);
    follower_free(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(an_append_is_answered_when_it_is_on_disk),
    HARNESS_TEST(nothing_is_appended_before_a_prepare),
    HARNESS_TEST(an_append_that_does_not_join_is_a_conflict),
    HARNESS_TEST(an_empty_append_tells_the_high_watermark_at_once),
    HARNESS_TEST(a_damaged_batch_is_not_appended),
    HARNESS_TEST(one_failing_partition_does_not_hold_the_others),
    HARNESS_TEST(a_disk_that_fails_is_told_to_the_worker),
    HARNESS_TEST(a_write_that_fails_ends_appends_that_wait_for_a_sync),
    HARNESS_TEST(a_write_that_fails_during_a_sync_ends_only_what_it_must),
    HARNESS_TEST(a_follower_takes_more_than_a_leader_before_its_disk_is_full),
    HARNESS_TEST(prepare_cuts_what_the_leader_does_not_have),
    HARNESS_TEST(prepare_cuts_by_epoch_not_by_length),
    HARNESS_TEST(an_older_prepare_is_fenced),
    HARNESS_TEST(a_second_prepare_of_the_same_epoch_with_an_old_history_cuts_nothing),
    HARNESS_TEST(prepare_waits_for_the_sync_under_way),
    HARNESS_TEST(one_slow_disk_does_not_hold_up_a_prepare_of_many),
    HARNESS_TEST(a_prepare_that_is_due_ends_with_the_node),
    HARNESS_TEST(committed_records_are_not_cut_off),
    HARNESS_TEST(a_relaxed_topic_follows_a_leader_that_lost_committed_records),
    HARNESS_TEST(a_follower_below_the_leaders_start_begins_there),
    HARNESS_TEST(a_prepare_before_the_metadata_is_kept),
};

HARNESS_MAIN(tests);
