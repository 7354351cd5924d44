#include "services/storage/partition.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/describe_producer_request.h"
#include "schemas/gen/describe_producer_response.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/produce_request.h"
#include "schemas/gen/produce_response.h"
#include "schemas/gen/replica_report_request.h"
#include "schemas/gen/replica_report_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

static struct storage_fixture *setup(const char *replicas, const char *setting)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    fixture_lead(f, replicas, setting);
    return f;
}

static void teardown(struct storage_fixture *f)
{
    fixture_fini(f);
    free(f);
}

static int64_t acked_at(struct storage_fixture *f, const struct ria_rpc_request *request)
{
    struct produce_response response;

    return fixture_reply(f, API_PRODUCE, request, &response) == RIA_OK ? response.base_offset : -1;
}

static struct ria_rpc_request *produce(struct storage_fixture *f, int32_t epoch)
{
    return fixture_produce(f, (struct produce_args){.leader_epoch = epoch});
}

/* Node 2 is on disk up to there. */
static struct ria_rpc_request *send_report(struct storage_fixture *f, int64_t end_offset)
{
    struct replica_report_request_replica_report_partition partition = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 5, .replica = 2, .end_offset = end_offset};
    struct replica_report_request request = {.partitions = &partition, .partitions_count = 1};

    return fixture_send(f, API_REPLICA_REPORT, &request, RIA_SLICE_NULL);
}

/* ---- commit ---- */

static void a_produce_of_one_replica_is_acked_after_the_sync(void)
{
    struct storage_fixture *f = setup("1", NULL);

    struct ria_rpc_request *request = produce(f, 5);
    CU_ASSERT_FALSE(request->done);
    fixture_run_ms(f, 0); /* the sync has begun and takes 1 ms */
    CU_ASSERT_FALSE(request->done);
    fixture_run_ms(f, 2);
    struct produce_response response;
    CU_ASSERT_EQUAL(fixture_reply(f, API_PRODUCE, request, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.base_offset, 0);
    CU_ASSERT_TRUE(response.synced);
    CU_ASSERT_FALSE(response.duplicate);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 1);
    teardown(f);
}

static void produces_of_one_turn_share_a_sync_and_keep_their_order(void)
{
    struct storage_fixture *f = setup("1", NULL);
    struct ria_rpc_request *requests[5];

    for (int i = 0; i < 5; i++) {
        requests[i] =
            fixture_produce(f, (struct produce_args){.leader_epoch = 5, .records = i + 1});
    }
    fixture_run_ms(f, 1); /* one sync takes 1 ms, two would take 2 */
    int64_t offset = 0;
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(acked_at(f, requests[i]), offset);
        offset += i + 1;
    }
    teardown(f);
}

static void the_high_watermark_is_the_slowest_of_the_in_sync_set(void)
{
    struct storage_fixture *f = setup("123", NULL);

    struct ria_rpc_request *request = fixture_produce_one(f);
    struct ria_rpc_request *second = fixture_produce_one(f);
    CU_ASSERT_EQUAL(fixture_info(f).synced_offset, 2);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 2), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0);
    CU_ASSERT_FALSE(request->done);
    CU_ASSERT_EQUAL(fixture_report(f, 3, 5, 1), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 1);
    CU_ASSERT_EQUAL(acked_at(f, request), 0);
    CU_ASSERT_FALSE(second->done);
    CU_ASSERT_EQUAL(fixture_report(f, 3, 5, 2), RIA_OK);
    CU_ASSERT_EQUAL(acked_at(f, second), 1);
    teardown(f);
}

static void followers_alone_do_not_commit_what_the_leader_has_not_synced(void)
{
    struct storage_fixture *f = setup("12", NULL);

    struct ria_rpc_request *request = produce(f, 5);
    fixture_run_ms(f, 0);
    (void)send_report(f, 1);
    CU_ASSERT_FALSE(request->done);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0);
    fixture_run_ms(f, 2);
    CU_ASSERT_EQUAL(acked_at(f, request), 0);
    teardown(f);
}

/* Else the followers would hear of the high watermark only with the next record. */
static void a_report_that_is_ahead_of_the_leaders_disk_is_answered_with_what_comes_of_it(void)
{
    struct storage_fixture *f = setup("12", NULL);
    struct replica_report_response response;

    (void)produce(f, 5);
    fixture_run_ms(f, 0);
    const struct ria_rpc_request *sent = send_report(f, 1);
    CU_ASSERT_FALSE(sent->done);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_REPORT, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].high_watermark, 1);
    teardown(f);
}

static void an_old_report_takes_nothing_back(void)
{
    struct storage_fixture *f = setup("12", NULL);

    (void)fixture_produce_one(f);
    (void)fixture_produce_one(f);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 2), RIA_OK);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 1), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 2);
    (void)fixture_produce_one(f);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 3), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 3);
    teardown(f);
}

static void a_report_past_the_log_or_of_a_stranger_is_refused(void)
{
    struct storage_fixture *f = setup("12", NULL);

    (void)fixture_produce_one(f);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 2), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, -1), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_report(f, 7, 5, 1), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(fixture_report(f, 1, 5, 1), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0);
    teardown(f);
}

static void relaxed_counts_what_is_written(void)
{
    struct storage_fixture *f = setup("1", "durability=relaxed");
    struct produce_response response;

    struct ria_rpc_request *request = produce(f, 5);
    fixture_run_ms(f, 0);
    CU_ASSERT_EQUAL(fixture_reply(f, API_PRODUCE, request, &response), RIA_OK);
    CU_ASSERT_FALSE(response.synced);
    teardown(f);
}

static void too_few_in_sync_replicas_refuse_before_the_append(void)
{
    struct storage_fixture *f = setup("123", NULL);

    fixture_partition(f, 1, 0, 1, 5, 2, "123", "1");
    fixture_publish(f);
    struct ria_rpc_request *request = produce(f, 5);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_NOT_ENOUGH_REPLICAS);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 0);
    teardown(f);
}

static void a_set_that_shrinks_below_the_minimum_commits_nothing(void)
{
    struct storage_fixture *f = setup("123", NULL);

    struct ria_rpc_request *request =
        fixture_produce(f, (struct produce_args){.leader_epoch = 5, .deadline_ms = 1000});
    fixture_run_ms(f, 5);
    fixture_partition(f, 1, 0, 1, 5, 2, "123", "1");
    fixture_publish(f);
    fixture_run_ms(f, 500);
    CU_ASSERT_FALSE(request->done);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0);
    fixture_run_ms(f, 700);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_TIMEOUT);
    teardown(f);
}

static void a_produce_that_is_not_committed_in_time_ends_unknown(void)
{
    struct storage_fixture *f = setup("12", NULL);

    struct ria_rpc_request *request =
        fixture_produce(f, (struct produce_args){.leader_epoch = 5, .deadline_ms = 300});
    fixture_run_ms(f, 250);
    CU_ASSERT_FALSE(request->done);
    fixture_run_ms(f, 200);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_TIMEOUT);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 1); /* it may be committed later */
    teardown(f);
}

/* ---- epochs ---- */

static void each_request_of_another_epoch_is_refused(void)
{
    struct storage_fixture *f = setup("12", NULL);

    CU_ASSERT_EQUAL(fixture_error(produce(f, 4)), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(fixture_error(produce(f, 6)), RIA_ERR_UNKNOWN_EPOCH);
    CU_ASSERT_EQUAL(fixture_error(produce(f, -1)), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 4, 0), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 0), RIA_ERR_UNKNOWN_EPOCH);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 0);
    teardown(f);
}

static void a_new_epoch_ends_waiting_produces_as_unknown(void)
{
    struct storage_fixture *f = setup("12", NULL);

    struct ria_rpc_request *request = fixture_produce_one(f);
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_UNKNOWN_OUTCOME);
    CU_ASSERT_EQUAL(fixture_info(f).leader_epoch, 6);
    /* Reports of the old epoch tell nothing about this one. */
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 1), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 1), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 1);
    teardown(f);
}

static void losing_leadership_ends_waiting_produces_as_unknown(void)
{
    struct storage_fixture *f = setup("12", NULL);

    struct ria_rpc_request *request = fixture_produce_one(f);
    fixture_partition(f, 1, 0, 2, 6, 2, "12", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_UNKNOWN_OUTCOME);
    CU_ASSERT_EQUAL(fixture_error(produce(f, 5)), RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(fixture_error(produce(f, 6)), RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(fixture_error(produce(f, 7)), RIA_ERR_UNKNOWN_EPOCH);
    teardown(f);
}

static void older_metadata_changes_nothing(void)
{
    struct storage_fixture *f = setup("12", NULL);

    fixture_partition(f, 1, 0, 1, 6, 3, "12", "12");
    fixture_publish(f);
    fixture_partition(f, 1, 0, 2, 5, 9, "12", "12");
    fixture_publish(f);
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "1");
    fixture_publish(f);
    CU_ASSERT_TRUE(fixture_info(f).leader);
    CU_ASSERT_EQUAL(fixture_info(f).leader_epoch, 6);
    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 6});
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0); /* node 2 still counts */
    (void)fixture_report(f, 2, 6, 1);
    teardown(f);
}

static void a_partition_that_is_not_here_is_refused(void)
{
    struct storage_fixture *f = setup("1", NULL);
    struct produce_args args = {.leader_epoch = 5, .partition = 1};

    CU_ASSERT_EQUAL(fixture_error(fixture_produce(f, args)), RIA_ERR_UNKNOWN_PARTITION);
    args.partition = -1;
    CU_ASSERT_EQUAL(fixture_error(fixture_produce(f, args)), RIA_ERR_UNKNOWN_PARTITION);
    args.partition = 0;
    args.topic = 9;
    CU_ASSERT_EQUAL(fixture_error(fixture_produce(f, args)), RIA_ERR_NOT_LEADER);
    teardown(f);
}

/* ---- producers ---- */

static struct ria_rpc_request *
produce_as(struct storage_fixture *f, int16_t epoch, int32_t sequence)
{
    return fixture_produce(
        f,
        (struct produce_args
        ){.leader_epoch = 5, .producer_id = 77, .producer_epoch = epoch, .sequence = sequence}
    );
}

static void a_duplicate_gets_the_original_offset(void)
{
    struct storage_fixture *f = setup("1", NULL);
    struct produce_response response;

    (void)produce_as(f, 0, 0);
    (void)produce_as(f, 0, 1);
    fixture_run_ms(f, 5);
    struct ria_rpc_request *again = produce_as(f, 0, 0);
    CU_ASSERT_TRUE(again->done); /* committed long ago: no sync is waited for */
    CU_ASSERT_EQUAL(fixture_reply(f, API_PRODUCE, again, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.base_offset, 0);
    CU_ASSERT_TRUE(response.duplicate);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 2);
    teardown(f);
}

static void a_duplicate_waits_for_the_commit_of_the_original(void)
{
    struct storage_fixture *f = setup("12", NULL);

    (void)produce_as(f, 0, 0);
    struct ria_rpc_request *later = produce_as(f, 0, 1);
    struct ria_rpc_request *again = produce_as(f, 0, 0);
    fixture_run_ms(f, 5);
    CU_ASSERT_FALSE(again->done);
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_EQUAL(acked_at(f, again), 0);
    CU_ASSERT_FALSE(later->done);
    (void)fixture_report(f, 2, 5, 2);
    CU_ASSERT_EQUAL(acked_at(f, later), 1);
    teardown(f);
}

static void a_gap_in_sequences_and_an_old_producer_epoch_are_refused(void)
{
    struct storage_fixture *f = setup("1", NULL);

    (void)produce_as(f, 1, 0);
    CU_ASSERT_EQUAL(fixture_error(produce_as(f, 1, 2)), RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_EQUAL(fixture_error(produce_as(f, 0, 1)), RIA_ERR_FENCED_PRODUCER);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 1);
    fixture_run_ms(f, 5);
    teardown(f);
}

static void a_duplicate_older_than_the_window_is_stored_at_an_unknown_offset(void)
{
    struct storage_fixture *f = setup("1", NULL);
    struct produce_response response;

    for (int32_t i = 0; i < 8; i++) {
        (void)produce_as(f, 3, i);
    }
    fixture_run_ms(f, 5);
    struct ria_rpc_request *again = produce_as(f, 3, 1); /* 3 to 7 are remembered */
    CU_ASSERT_EQUAL(fixture_reply(f, API_PRODUCE, again, &response), RIA_OK);
    CU_ASSERT_TRUE(response.duplicate);
    CU_ASSERT_EQUAL(response.base_offset, -1);
    CU_ASSERT_EQUAL(fixture_error(produce_as(f, 3, 9)), RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 8);
    teardown(f);
}

static void another_last_offset_than_expected_is_a_conflict(void)
{
    struct storage_fixture *f = setup("1", NULL);
    struct produce_args args = {
        .leader_epoch = 5,
        .producer_id = 77,
        .producer_epoch = 1,
        .check_last_offset = true,
        .producer_last_offset = 3,
    };

    CU_ASSERT_EQUAL(fixture_error(fixture_produce(f, args)), RIA_ERR_CONFLICT);
    args.producer_last_offset = -1;
    struct ria_rpc_request *first = fixture_produce(f, args);
    struct ria_rpc_request *again = fixture_produce(f, args); /* a retry is no conflict */
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(acked_at(f, first), 0);
    CU_ASSERT_EQUAL(acked_at(f, again), 0);
    args.producer_epoch = 2;
    CU_ASSERT_EQUAL(fixture_error(fixture_produce(f, args)), RIA_ERR_CONFLICT);
    args.producer_last_offset = 0;
    struct ria_rpc_request *second = fixture_produce(f, args);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(acked_at(f, second), 1);
    teardown(f);
}

static void describe_producer_tells_the_last_batch(void)
{
    struct storage_fixture *f = setup("1", NULL);
    struct describe_producer_request request = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 5, .producer_id = 77};
    struct describe_producer_response response;

    struct ria_rpc_request *sent = fixture_send(f, API_DESCRIBE_PRODUCER, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_DESCRIBE_PRODUCER, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.producer_epoch, -1);
    CU_ASSERT_EQUAL(response.last_offset, -1);

    (void)fixture_produce(
        f,
        (struct produce_args
        ){.leader_epoch = 5, .producer_id = 77, .producer_epoch = 3, .records = 4}
    );
    fixture_run_ms(f, 5);
    sent = fixture_send(f, API_DESCRIBE_PRODUCER, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_DESCRIBE_PRODUCER, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.producer_epoch, 3);
    CU_ASSERT_EQUAL(response.last_sequence, 3);
    CU_ASSERT_EQUAL(response.last_base_offset, 0);
    CU_ASSERT_EQUAL(response.last_offset, 3);
    CU_ASSERT_EQUAL(response.high_watermark, 4);

    request.leader_epoch = 4;
    sent = fixture_send(f, API_DESCRIBE_PRODUCER, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_FENCED_EPOCH);
    teardown(f);
}

/* ---- bad batches, bounds ---- */

static void a_bad_batch_is_refused_with_its_rule(void)
{
    struct storage_fixture *f = setup("1", NULL);
    struct ria_slice batch = fixture_batches(0, 1, 0);
    uint8_t *bytes = malloc(batch.size);
    struct produce_request body = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 5, .producer_last_offset = -2};

    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    memcpy(bytes, batch.data, batch.size);
    bytes[batch.size - 1] ^= 1;
    struct ria_rpc_request *sent =
        fixture_send(f, API_PRODUCE, &body, ria_slice_of(bytes, batch.size));
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_CORRUPT);
    sent = fixture_send(f, API_PRODUCE, &body, ria_slice_of(bytes, 20));
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_MALFORMED);
    sent = fixture_send(f, API_PRODUCE, &body, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 0);
    CU_ASSERT_TRUE(strlen(fixture_error_text(sent)) > 0);
    free(bytes);
    free((void *)(uintptr_t)batch.data);
    teardown(f);
}

static void a_batch_past_the_topics_limit_is_refused(void)
{
    struct storage_fixture *f = setup("1", "max.message.bytes=2000");

    struct ria_rpc_request *sent =
        fixture_produce(f, (struct produce_args){.leader_epoch = 5, .value_size = 3000});
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_TOO_LARGE);
    teardown(f);
}

static void waiting_produces_are_bounded(void)
{
    struct storage_fixture *f = setup("12", NULL);

    for (int i = 0; i < PARTITION_ACKS_MAX; i++) {
        (void)produce(f, 5);
    }
    struct ria_rpc_request *sent = produce(f, 5);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_BUSY);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, PARTITION_ACKS_MAX);
    fixture_run_ms(f, 5);
    (void)fixture_report(f, 2, 5, PARTITION_ACKS_MAX);
    sent = produce(f, 5);
    CU_ASSERT_FALSE(sent->done);
    teardown(f);
}

/* ---- a disk that fails ---- */

static void a_failed_sync_ends_produces_with_an_error_and_spares_other_logs(void)
{
    struct storage_fixture *f = setup("1", NULL);
    struct ria_fs_sim_faults broken = {.fail_sync_one_in = 1};
    struct ria_fs_sim_faults mended = {0};

    fixture_topic(f, 2, 1, 1, false, NULL);
    fixture_partition(f, 2, 0, 1, 5, 1, "1", "1");
    fixture_publish(f);
    fixture_run_ms(f, 5);

    ria_fs_sim_set_faults(f->fs, &broken);
    struct ria_rpc_request *request = produce(f, 5);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_IO); /* outcome unknown */
    CU_ASSERT_TRUE(fixture_info(f).failed);
    ria_fs_sim_set_faults(f->fs, &mended);
    request = produce(f, 5); /* never again, but certain: nothing was done */
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_NO_LEADER);
    request = fixture_produce(f, (struct produce_args){.leader_epoch = 5, .topic = 2});
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    teardown(f);
}

static void a_full_disk_refuses_and_recovers_by_itself(void)
{
    struct storage_fixture *f = setup("1", NULL);
    struct ria_fs_sim_faults full = {.capacity_bytes = 1};
    struct ria_fs_sim_faults mended = {0};

    (void)fixture_produce_one(f);
    ria_fs_sim_set_faults(f->fs, &full);
    struct ria_rpc_request *request =
        fixture_produce(f, (struct produce_args){.leader_epoch = 5, .value_size = 100000});
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_NO_SPACE);
    CU_ASSERT_FALSE(fixture_info(f).failed);
    ria_fs_sim_set_faults(f->fs, &mended);
    request = fixture_produce_one(f);
    CU_ASSERT_EQUAL(acked_at(f, request), 1);
    teardown(f);
}

/* The disk holds `free` bytes more than are on it now. */
static void leave_free(struct storage_fixture *f, uint64_t free)
{
    struct ria_fs_sim_faults faults = {.sync_delay_us_min = 1000, .sync_delay_us_max = 1000};
    uint64_t unlimited = 0;
    uint64_t total = 0;

    ria_fs_sim_set_faults(f->fs, &faults);
    CU_ASSERT_EQUAL(ria_fs_free_bytes(f->fs, "data", &unlimited), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_total_bytes(f->fs, "data", &total), RIA_OK);
    faults.capacity_bytes = total - unlimited + free;
    ria_fs_sim_set_faults(f->fs, &faults);
    fixture_run_ms(f, 2000); /* it is looked at once in a while */
}

static void records_are_refused_before_the_disk_is_full(void)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));
    struct produce_args large = {.leader_epoch = 5, .value_size = 30000};

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    f->disk_reserve = 100000;
    fixture_lead(f, "1", NULL);
    fixture_topic(f, 2, 1, 1, false, NULL);
    fixture_partition(f, 2, 0, 1, 5, 1, "1", "1");
    fixture_publish(f);
    leave_free(f, 150000);
    struct ria_rpc_request *request = fixture_produce(f, large);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    request = fixture_produce(f, large); /* without a look in between */
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_NO_SPACE);
    CU_ASSERT_STRING_EQUAL(fixture_error_text(request), "the leader's disk is full");
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 1);
    large.topic = 2; /* the disk is full, not the partition */
    CU_ASSERT_EQUAL(fixture_error(fixture_produce(f, large)), RIA_ERR_NO_SPACE);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.disk_full"), 1);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.append_failed"), 0);
    CU_ASSERT_FALSE(fixture_info(f).failed);

    struct fetch_request body = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 5, .offset = 0, .max_bytes = 100000};
    request = fixture_send(f, API_FETCH, &body, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    CU_ASSERT_TRUE(fixture_payload(request).size > 30000);

    leave_free(f, 105000); /* not enough for being full no more */
    CU_ASSERT_EQUAL(fixture_error(fixture_produce_one(f)), RIA_ERR_NO_SPACE);
    leave_free(f, 200000);
    CU_ASSERT_EQUAL(fixture_error(fixture_produce_one(f)), RIA_OK);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.disk_full"), 1);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.disk_has_room"), 1);
    teardown(f);
}

static void a_duplicate_needs_no_room(void)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));
    struct produce_args args = {.leader_epoch = 5, .producer_id = 7};

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    f->disk_reserve = 100000;
    fixture_lead(f, "1", NULL);
    (void)fixture_produce(f, args);
    leave_free(f, 50000);
    struct ria_rpc_request *request = fixture_produce(f, args);
    CU_ASSERT_EQUAL(acked_at(f, request), 0);
    args.sequence = 1;
    CU_ASSERT_EQUAL(fixture_error(fixture_produce(f, args)), RIA_ERR_NO_SPACE);
    teardown(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_produce_of_one_replica_is_acked_after_the_sync),
    HARNESS_TEST(produces_of_one_turn_share_a_sync_and_keep_their_order),
    HARNESS_TEST(the_high_watermark_is_the_slowest_of_the_in_sync_set),
    HARNESS_TEST(followers_alone_do_not_commit_what_the_leader_has_not_synced),
    HARNESS_TEST(a_report_that_is_ahead_of_the_leaders_disk_is_answered_with_what_comes_of_it),
    HARNESS_TEST(an_old_report_takes_nothing_back),
    HARNESS_TEST(a_report_past_the_log_or_of_a_stranger_is_refused),
    HARNESS_TEST(relaxed_counts_what_is_written),
    HARNESS_TEST(too_few_in_sync_replicas_refuse_before_the_append),
    HARNESS_TEST(a_set_that_shrinks_below_the_minimum_commits_nothing),
    HARNESS_TEST(a_produce_that_is_not_committed_in_time_ends_unknown),
    HARNESS_TEST(each_request_of_another_epoch_is_refused),
    HARNESS_TEST(a_new_epoch_ends_waiting_produces_as_unknown),
    HARNESS_TEST(losing_leadership_ends_waiting_produces_as_unknown),
    HARNESS_TEST(older_metadata_changes_nothing),
    HARNESS_TEST(a_partition_that_is_not_here_is_refused),
    HARNESS_TEST(a_duplicate_gets_the_original_offset),
    HARNESS_TEST(a_duplicate_waits_for_the_commit_of_the_original),
    HARNESS_TEST(a_gap_in_sequences_and_an_old_producer_epoch_are_refused),
    HARNESS_TEST(a_duplicate_older_than_the_window_is_stored_at_an_unknown_offset),
    HARNESS_TEST(another_last_offset_than_expected_is_a_conflict),
    HARNESS_TEST(describe_producer_tells_the_last_batch),
    HARNESS_TEST(a_bad_batch_is_refused_with_its_rule),
    HARNESS_TEST(a_batch_past_the_topics_limit_is_refused),
    HARNESS_TEST(waiting_produces_are_bounded),
    HARNESS_TEST(a_failed_sync_ends_produces_with_an_error_and_spares_other_logs),
    HARNESS_TEST(a_full_disk_refuses_and_recovers_by_itself),
    HARNESS_TEST(records_are_refused_before_the_disk_is_full),
    HARNESS_TEST(a_duplicate_needs_no_room),
};
HARNESS_MAIN(tests);
