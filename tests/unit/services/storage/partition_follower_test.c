#include <stdlib.h>
#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

#define FOLLOWED_LOG "data/aa000000-0000-0000-0000-000000000001-0/00000000000000000000.log"

static struct storage_fixture *setup(const char *setting)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    fixture_follow(f, "12", setting);
    return f;
}

static void teardown(struct storage_fixture *f)
{
    fixture_fini(f);
    free(f);
}

typedef struct replica_prepare_request_prepare_epoch_entry epoch_entry;

static struct ria_rpc_request *send_prepare(
    struct storage_fixture *f,
    int32_t epoch,
    int64_t start,
    int64_t end,
    epoch_entry *epochs,
    uint32_t epoch_count
)
{
    struct replica_prepare_request_replica_prepare_partition partition = {
        .topic_id = fixture_topic_id(1),
        .partition = 0,
        .leader_epoch = epoch,
        .log_start_offset = start,
        .end_offset = end,
        .epochs = epochs,
        .epochs_count = epoch_count,
    };
    struct replica_prepare_request request = {.partitions = &partition, .partitions_count = 1};

    return fixture_send(f, API_REPLICA_PREPARE, &request, RIA_SLICE_NULL);
}

static ria_err
prepare_result(struct storage_fixture *f, const struct ria_rpc_request *sent, int64_t *out_end)
{
    struct replica_prepare_response response;

    RIA_TRY(fixture_reply(f, API_REPLICA_PREPARE, sent, &response));
    CU_ASSERT_EQUAL(response.partitions_count, 1);
    *out_end = response.partitions[0].end_offset;
    return (ria_err)response.partitions[0].error_code;
}

/* The leader's log is [0, end), all of it written under `written_epoch`. */
static ria_err prepare(
    struct storage_fixture *f, int32_t epoch, int32_t written_epoch, int64_t end, int64_t *out_end
)
{
    epoch_entry entry = {.epoch = written_epoch, .start_offset = 0};

    const struct ria_rpc_request *sent = send_prepare(f, epoch, 0, end, &entry, end > 0 ? 1 : 0);
    fixture_run_ms(f, 5);
    return prepare_result(f, sent, out_end);
}

static struct ria_rpc_request *send_append(
    struct storage_fixture *f,
    int32_t epoch,
    int64_t base,
    int count,
    int32_t written_epoch,
    int64_t hw
)
{
    struct ria_slice batches =
        count > 0 ? fixture_batches(base, count, written_epoch) : (struct ria_slice){NULL, 0};
    struct replica_append_request_replica_append_partition partition = {
        .topic_id = fixture_topic_id(1),
        .partition = 0,
        .leader_epoch = epoch,
        .base_offset = base,
        .high_watermark = hw,
        .size = (int32_t)batches.size,
    };
    struct replica_append_request request = {.partitions = &partition, .partitions_count = 1};

    struct ria_rpc_request *sent = fixture_send(f, API_REPLICA_APPEND, &request, batches);
    free((void *)(uintptr_t)batches.data);
    return sent;
}

static ria_err
append_result(struct storage_fixture *f, const struct ria_rpc_request *sent, int64_t *out_end)
{
    struct replica_append_response response;

    RIA_TRY(fixture_reply(f, API_REPLICA_APPEND, sent, &response));
    CU_ASSERT_EQUAL(response.partitions_count, 1);
    *out_end = response.partitions[0].end_offset;
    return (ria_err)response.partitions[0].error_code;
}

static ria_err append(
    struct storage_fixture *f, int32_t epoch, int64_t base, int count, int64_t hw, int64_t *out_end
)
{
    const struct ria_rpc_request *sent = send_append(f, epoch, base, count, epoch, hw);

    fixture_run_ms(f, 5);
    return append_result(f, sent, out_end);
}

/* A follower with [0, count) of epoch 5, committed up to hw. */
static struct storage_fixture *setup_with(int count, int64_t hw)
{
    struct storage_fixture *f = setup(NULL);
    int64_t end = -1;

    CU_ASSERT_EQUAL(prepare(f, 5, 5, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(append(f, 5, 0, count, hw, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, count);
    return f;
}

/* ---- append ---- */

static void an_append_is_answered_when_it_is_on_disk(void)
{
    struct storage_fixture *f = setup(NULL);
    int64_t end = -1;

    CU_ASSERT_EQUAL(prepare(f, 5, 5, 0, &end), RIA_OK);
    const struct ria_rpc_request *sent = send_append(f, 5, 0, 3, 5, 2);
    fixture_run_ms(f, 0);
    CU_ASSERT_FALSE(sent->done);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 3);
    CU_ASSERT_EQUAL(fixture_info(f).synced_offset, 0);
    fixture_run_ms(f, 2);
    CU_ASSERT_EQUAL(append_result(f, sent, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 3);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 2);
    teardown(f);
}

static void nothing_is_appended_before_a_prepare(void)
{
    struct storage_fixture *f = setup(NULL);
    int64_t end = -1;

    CU_ASSERT_EQUAL(append(f, 5, 0, 1, 0, &end), RIA_ERR_UNKNOWN_EPOCH);
    CU_ASSERT_EQUAL(append(f, 4, 0, 1, 0, &end), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(append(f, 6, 0, 1, 0, &end), RIA_ERR_UNKNOWN_EPOCH);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 0);
    teardown(f);
}

static void an_append_that_does_not_join_is_a_conflict(void)
{
    struct storage_fixture *f = setup_with(3, 0);
    int64_t end = -1;

    CU_ASSERT_EQUAL(append(f, 5, 4, 1, 0, &end), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(end, 3);
    CU_ASSERT_EQUAL(append(f, 5, 2, 1, 0, &end), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 3);
    CU_ASSERT_EQUAL(append(f, 5, 3, 1, 0, &end), RIA_OK);
    teardown(f);
}

static void an_empty_append_tells_the_high_watermark_at_once(void)
{
    struct storage_fixture *f = setup_with(3, 0);
    int64_t end = -1;

    const struct ria_rpc_request *sent = send_append(f, 5, 3, 0, 5, 2);
    fixture_run_ms(f, 0);
    CU_ASSERT_EQUAL(append_result(f, sent, &end), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 2);
    CU_ASSERT_EQUAL(append(f, 5, 3, 0, 1, &end), RIA_OK); /* never back */
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 2);
    CU_ASSERT_EQUAL(append(f, 5, 3, 0, 99, &end), RIA_OK); /* never past the end */
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 3);
    teardown(f);
}

static void a_damaged_batch_is_not_appended(void)
{
    struct storage_fixture *f = setup_with(1, 0);
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
    teardown(f);
}

static void one_failing_partition_does_not_hold_the_others(void)
{
    struct storage_fixture *f = setup_with(1, 0);
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
    teardown(f);
}

static void a_disk_that_fails_is_told_to_the_worker(void)
{
    struct storage_fixture *f = setup_with(1, 0);
    struct ria_fs_sim_faults broken = {.fail_sync_one_in = 1};
    int64_t end = -1;

    ria_fs_sim_set_faults(f->fs, &broken);
    CU_ASSERT_EQUAL(append(f, 5, 1, 1, 0, &end), RIA_ERR_IO);
    CU_ASSERT_EQUAL(end, 1);
    CU_ASSERT_EQUAL(append(f, 5, 2, 1, 0, &end), RIA_ERR_IO);
    CU_ASSERT_EQUAL(prepare(f, 5, 5, 1, &end), RIA_ERR_IO);
    teardown(f);
}

static void a_write_that_fails_ends_appends_that_wait_for_a_sync(void)
{
    struct storage_fixture *f = setup_with(1, 0);
    struct ria_fs_sim_faults broken = {.fail_write_one_in = 1};
    int64_t end = -1;

    const struct ria_rpc_request *first = send_append(f, 5, 1, 1, 5, 0);
    ria_fs_sim_set_faults(f->fs, &broken);
    const struct ria_rpc_request *second = send_append(f, 5, 2, 1, 5, 0); /* before the flush */
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(append_result(f, second, &end), RIA_ERR_IO);
    CU_ASSERT_EQUAL(append_result(f, first, &end), RIA_ERR_IO);
    CU_ASSERT_EQUAL(end, 1);
    teardown(f);
}

static void a_write_that_fails_during_a_sync_ends_only_what_it_must(void)
{
    struct storage_fixture *f = setup_with(1, 0);
    struct ria_fs_sim_faults broken = {
        .fail_write_one_in = 1, .sync_delay_us_min = 1000, .sync_delay_us_max = 1000};
    int64_t end = -1;

    const struct ria_rpc_request *first = send_append(f, 5, 1, 1, 5, 0);
    fixture_run_ms(f, 0); /* its sync has begun */
    const struct ria_rpc_request *second = send_append(f, 5, 2, 1, 5, 0);
    ria_fs_sim_set_faults(f->fs, &broken);
    const struct ria_rpc_request *third = send_append(f, 5, 3, 1, 5, 0);
    fixture_run_ms(f, 5);
    CU_ASSERT_TRUE(first->done);
    CU_ASSERT_EQUAL(append_result(f, second, &end), RIA_ERR_IO);
    CU_ASSERT_EQUAL(append_result(f, third, &end), RIA_ERR_IO);
    teardown(f);
}

/* ---- prepare ---- */

static void prepare_cuts_what_the_leader_does_not_have(void)
{
    struct storage_fixture *f = setup_with(10, 4);
    int64_t end = -1;

    /* The leader of epoch 6 lost what came behind 7. */
    CU_ASSERT_EQUAL(prepare(f, 6, 5, 7, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 7);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 7);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 4);
    CU_ASSERT_EQUAL(fixture_info(f).leader_epoch, 6);
    CU_ASSERT_EQUAL(append(f, 5, 7, 1, 0, &end), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(append(f, 6, 7, 1, 5, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 8);
    teardown(f);
}

static void prepare_cuts_by_epoch_not_by_length(void)
{
    struct storage_fixture *f = setup_with(10, 4);
    epoch_entry leader[] = {{.epoch = 5, .start_offset = 0}, {.epoch = 6, .start_offset = 6}};
    int64_t end = -1;

    /* The leader is longer, but from 6 on it is another history. */
    const struct ria_rpc_request *sent = send_prepare(f, 7, 0, 30, leader, 2);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(prepare_result(f, sent, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 6);
    teardown(f);
}

static void an_older_prepare_is_fenced(void)
{
    struct storage_fixture *f = setup_with(3, 0);
    int64_t end = -1;

    CU_ASSERT_EQUAL(prepare(f, 6, 5, 3, &end), RIA_OK);
    CU_ASSERT_EQUAL(prepare(f, 5, 5, 0, &end), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 3);
    teardown(f);
}

static void a_second_prepare_of_the_same_epoch_with_an_old_history_cuts_nothing(void)
{
    struct storage_fixture *f = setup_with(3, 0);
    int64_t end = -1;

    /* Another worker asked the leader when it was still empty. */
    CU_ASSERT_EQUAL(prepare(f, 5, 5, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 3);
    CU_ASSERT_EQUAL(append(f, 5, 3, 1, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(prepare(f, 5, 5, 1, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 4);
    teardown(f);
}

static void prepare_waits_for_the_sync_under_way(void)
{
    struct storage_fixture *f = setup_with(1, 0);
    epoch_entry entry = {.epoch = 5, .start_offset = 0};
    int64_t end = -1;

    const struct ria_rpc_request *appended = send_append(f, 5, 1, 1, 5, 0);
    fixture_run_ms(f, 0); /* the sync is under way */
    const struct ria_rpc_request *prepared = send_prepare(f, 6, 0, 1, &entry, 1);
    fixture_run_ms(f, 0);
    CU_ASSERT_FALSE(prepared->done);
    /* Fenced from the first moment on. */
    const struct ria_rpc_request *late = send_append(f, 5, 2, 1, 5, 0);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(append_result(f, late, &end), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_TRUE(appended->done);
    CU_ASSERT_EQUAL(prepare_result(f, prepared, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 1);
    teardown(f);
}

static void one_slow_disk_does_not_hold_up_a_prepare_of_many(void)
{
    struct storage_fixture *f = setup_with(1, 0);
    struct ria_fs_sim_faults slow = {
        .sync_delay_us_min = 20 * 1000 * 1000, .sync_delay_us_max = 20 * 1000 * 1000};
    struct ria_fs_sim_faults quick = {.sync_delay_us_min = 1000, .sync_delay_us_max = 1000};
    epoch_entry entry = {.epoch = 5, .start_offset = 0};
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
    (void)send_append(f, 5, 1, 1, 5, 0);
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
    teardown(f);
}

/* Its log had become quiet in this turn: a job began after all jobs had been ended. */
static void a_prepare_that_is_due_ends_with_the_node(void)
{
    struct storage_fixture *f = setup_with(1, 0);
    struct ria_fs_sim_faults faults = {.sync_delay_us_min = 1000, .sync_delay_us_max = 1000};
    epoch_entry entry = {.epoch = 5, .start_offset = 0};

    ria_fs_sim_set_faults(f->fs, &faults);
    (void)send_append(f, 5, 1, 1, 5, 0);
    fixture_run_ms(f, 0);
    const struct ria_rpc_request *sent = send_prepare(f, 6, 0, 2, &entry, 1);
    CU_ASSERT_FALSE(sent->done);
    f->now_us += 1000;
    (void)ria_timers_run(&f->timers); /* the sync's end, and nothing that follows */
    fixture_kill(f);
    CU_ASSERT_EQUAL(f->timers.heap.count, 0);
    CU_ASSERT_TRUE(sent->done);
    CU_ASSERT_TRUE(fixture_start(f));
    teardown(f);
}

static void committed_records_are_not_cut_off(void)
{
    struct storage_fixture *f = setup_with(10, 8);
    int64_t end = -1;

    fixture_partition(f, 1, 0, 2, 6, 2, "12", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(prepare(f, 6, 5, 5, &end), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 10);
    CU_ASSERT_EQUAL(append(f, 6, 5, 1, 0, &end), RIA_ERR_UNKNOWN_EPOCH);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.cut_of_committed_refused"), 1);
    teardown(f);
}

/* The operator made node 2 the leader, which lacks what was committed. */
static void force(struct storage_fixture *f, int32_t leader_epoch, int32_t forced_epoch)
{
    fixture_partition(f, 1, 0, 2, leader_epoch, leader_epoch, "12", "2");
    fixture_force(f, 1, 0, forced_epoch);
    fixture_publish(f);
}

static void committed_records_are_cut_off_for_a_forced_leader(void)
{
    struct storage_fixture *f = setup_with(7, 6);
    int64_t end = -1;

    force(f, 6, 6);
    CU_ASSERT_EQUAL(prepare(f, 6, 5, 5, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 5);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 5);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.committed_records_cut"), 1);
    teardown(f);
}

static void a_forced_leader_counts_for_later_epochs_too(void)
{
    struct storage_fixture *f = setup_with(7, 6);
    int64_t end = -1;

    force(f, 8, 6); /* two more leaders came while this node was away */
    CU_ASSERT_EQUAL(prepare(f, 8, 5, 5, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 5);
    teardown(f);
}

/* The log was idle since before the force, so its last epoch stayed an older one for ever, and each
 * later leader could cut what had been committed meanwhile. */
static void a_log_that_was_compared_with_a_forced_leader_is_cut_for_it_no_more(void)
{
    for (int pass = 0; pass < 3; pass++) {
        struct storage_fixture *f = setup_with(7, 6);
        int64_t end = -1;
        if (pass == 2) { /* the metadata comes late */
            CU_ASSERT_EQUAL(prepare(f, 6, 5, 7, &end), RIA_OK);
            force(f, 6, 6);
        } else {
            force(f, 6, 6);
            CU_ASSERT_EQUAL(prepare(f, 6, 5, 5, &end), RIA_OK);
        }
        CU_ASSERT_EQUAL(append(f, 6, end, 0, end, &end), RIA_OK); /* what is there is committed */
        int64_t committed = fixture_info(f).high_watermark;
        if (pass == 1) {
            fixture_run_ms(f, 2000); /* the checkpoint */
            fixture_kill(f);
            CU_ASSERT_TRUE_FATAL(fixture_start(f));
        }
        fixture_partition(f, 1, 0, 2, 7, 7, "12", "2");
        fixture_publish(f);
        CU_ASSERT_EQUAL(fixture_info(f).high_watermark, committed);
        CU_ASSERT_EQUAL(prepare(f, 7, 5, 3, &end), RIA_ERR_CONFLICT);
        CU_ASSERT_EQUAL(fixture_info(f).end_offset, committed);
        force(f, 8, 8); /* the operator says so again */
        CU_ASSERT_EQUAL(prepare(f, 8, 5, 3, &end), RIA_OK);
        CU_ASSERT_EQUAL(end, 3);
        teardown(f);
    }
}

/* Its own log is what the operator chose. */
static void who_was_forced_to_lead_is_cut_for_that_no_more(void)
{
    struct storage_fixture *f = setup_with(7, 6);
    int64_t end = -1;

    fixture_topic(f, 1, 1, 2, false, "min.insync.replicas=1");
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "1");
    fixture_force(f, 1, 0, 6);
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 7);
    fixture_partition(f, 1, 0, 2, 7, 3, "12", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(prepare(f, 7, 5, 3, &end), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 7);
    teardown(f);
}

static void a_leader_forced_before_the_log_was_written_cuts_nothing(void)
{
    struct storage_fixture *f = setup_with(7, 6);
    int64_t end = -1;

    force(f, 6, 5); /* the log ends in epoch 5, which began with the forced leader */
    CU_ASSERT_EQUAL(prepare(f, 6, 5, 5, &end), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 7);
    teardown(f);
}

static void a_prepare_for_a_forced_leader_waits_for_the_metadata(void)
{
    struct storage_fixture *f = setup_with(7, 6);
    int64_t end = -1;

    CU_ASSERT_EQUAL(prepare(f, 6, 5, 5, &end), RIA_ERR_UNKNOWN_EPOCH);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 7);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 6);
    force(f, 6, 6);
    CU_ASSERT_EQUAL(prepare(f, 6, 5, 5, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 5);
    teardown(f);
}

static void a_relaxed_topic_follows_a_leader_that_lost_committed_records(void)
{
    struct storage_fixture *f = setup("durability=relaxed");
    int64_t end = -1;

    CU_ASSERT_EQUAL(prepare(f, 5, 5, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(append(f, 5, 0, 10, 8, &end), RIA_OK);
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(prepare(f, 6, 5, 5, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 5);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 5);
    teardown(f);
}

static void a_follower_below_the_leaders_start_begins_there(void)
{
    struct storage_fixture *f = setup_with(3, 3);
    epoch_entry entry = {.epoch = 5, .start_offset = 100};
    int64_t end = -1;

    const struct ria_rpc_request *sent = send_prepare(f, 6, 100, 120, &entry, 1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(prepare_result(f, sent, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 100);
    CU_ASSERT_EQUAL(fixture_info(f).start_offset, 100);
    CU_ASSERT_EQUAL(append(f, 6, 100, 2, 101, &end), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 101);
    teardown(f);
}

static void a_prepare_for_a_newer_epoch_makes_a_leader_step_down(void)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));
    int64_t end = -1;

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    fixture_lead(f, "12", NULL);
    const struct ria_rpc_request *request = fixture_produce_one(f);
    CU_ASSERT_EQUAL(prepare(f, 5, 5, 0, &end), RIA_ERR_INVALID); /* it leads this one itself */
    CU_ASSERT_EQUAL(prepare(f, 6, 5, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_UNKNOWN_OUTCOME);
    CU_ASSERT_EQUAL(end, 0);
    CU_ASSERT_FALSE(fixture_info(f).leader);
    /* Its own metadata comes later and is older: nothing changes. */
    fixture_partition(f, 1, 0, 1, 5, 9, "12", "12");
    fixture_publish(f);
    CU_ASSERT_FALSE(fixture_info(f).leader);
    teardown(f);
}

static void a_prepare_before_the_metadata_is_kept(void)
{
    struct storage_fixture *f = setup_with(3, 0);
    int64_t end = -1;

    CU_ASSERT_EQUAL(prepare(f, 6, 5, 3, &end), RIA_OK);
    fixture_partition(f, 1, 0, 2, 6, 2, "12", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(append(f, 6, 3, 1, 0, &end), RIA_OK); /* still prepared */
    fixture_partition(f, 1, 0, 2, 7, 3, "12", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(append(f, 6, 4, 1, 0, &end), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(append(f, 7, 4, 1, 0, &end), RIA_ERR_UNKNOWN_EPOCH);
    teardown(f);
}

static void a_follower_leads_with_what_it_has(void)
{
    struct storage_fixture *f = setup_with(5, 3);

    fixture_partition(f, 1, 0, 1, 6, 2, "12", "12");
    fixture_publish(f);
    CU_ASSERT_TRUE(fixture_info(f).leader);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 3);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 5), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 5);
    teardown(f);
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
    CU_ASSERT_EQUAL(prepare(f, 5, 5, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_free_bytes(f->fs, "data", &free_bytes), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_total_bytes(f->fs, "data", &total), RIA_OK);
    faults.capacity_bytes = total - free_bytes + 70000;
    ria_fs_sim_set_faults(f->fs, &faults);
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(append(f, 5, 0, 10, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(append(f, 5, 10, 300, 0, &end), RIA_ERR_NO_SPACE);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 10);
    CU_ASSERT_FALSE(fixture_info(f).failed);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.disk_full"), 1);
    faults.capacity_bytes = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(append(f, 5, 10, 300, 0, &end), RIA_OK);
    CU_ASSERT_EQUAL(end, 310);
    teardown(f);
}

/* A new leader may know less of what is committed than its predecessor told readers. */
static void a_new_leader_with_an_older_high_watermark_takes_nothing_back(void)
{
    struct storage_fixture *f = setup_with(5, 3);
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
    teardown(f);
}

/* The predecessor may have told a reader 5. */
static void a_leader_that_is_not_settled_serves_what_it_can_and_names_no_high_watermark(void)
{
    struct storage_fixture *f = setup_with(5, 3);
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
    teardown(f);
}

/* What it has is all there is: readers of what was lost are told so. */
static void a_forced_leader_commits_what_it_has_and_refuses_readers_of_what_was_lost(void)
{
    struct storage_fixture *f = setup_with(5, 3);
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
    teardown(f);
}

/* ---- a replica that is told to lead but cannot ---- */

static void a_failed_replica_does_not_lead(void)
{
    struct storage_fixture *f = setup_with(5, 5);
    struct ria_fs_sim_faults broken = {.fail_sync_one_in = 1};
    struct ria_fs_sim_faults mended = {0};
    int64_t end = -1;

    ria_fs_sim_set_faults(f->fs, &broken);
    CU_ASSERT_EQUAL(append(f, 5, 5, 1, 5, &end), RIA_ERR_IO);
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
    teardown(f);
}

static void a_damaged_replica_leads_only_if_forced(void)
{
    struct storage_fixture *f = setup_with(5, 5);

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
    teardown(f);
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
    HARNESS_TEST(prepare_cuts_what_the_leader_does_not_have),
    HARNESS_TEST(prepare_cuts_by_epoch_not_by_length),
    HARNESS_TEST(an_older_prepare_is_fenced),
    HARNESS_TEST(a_second_prepare_of_the_same_epoch_with_an_old_history_cuts_nothing),
    HARNESS_TEST(prepare_waits_for_the_sync_under_way),
    HARNESS_TEST(one_slow_disk_does_not_hold_up_a_prepare_of_many),
    HARNESS_TEST(a_prepare_that_is_due_ends_with_the_node),
    HARNESS_TEST(committed_records_are_not_cut_off),
    HARNESS_TEST(committed_records_are_cut_off_for_a_forced_leader),
    HARNESS_TEST(a_forced_leader_counts_for_later_epochs_too),
    HARNESS_TEST(a_log_that_was_compared_with_a_forced_leader_is_cut_for_it_no_more),
    HARNESS_TEST(who_was_forced_to_lead_is_cut_for_that_no_more),
    HARNESS_TEST(a_leader_forced_before_the_log_was_written_cuts_nothing),
    HARNESS_TEST(a_prepare_for_a_forced_leader_waits_for_the_metadata),
    HARNESS_TEST(a_relaxed_topic_follows_a_leader_that_lost_committed_records),
    HARNESS_TEST(a_follower_below_the_leaders_start_begins_there),
    HARNESS_TEST(a_prepare_for_a_newer_epoch_makes_a_leader_step_down),
    HARNESS_TEST(a_prepare_before_the_metadata_is_kept),
    HARNESS_TEST(a_follower_leads_with_what_it_has),
    HARNESS_TEST(a_follower_takes_more_than_a_leader_before_its_disk_is_full),
    HARNESS_TEST(a_new_leader_with_an_older_high_watermark_takes_nothing_back),
    HARNESS_TEST(a_leader_that_is_not_settled_serves_what_it_can_and_names_no_high_watermark),
    HARNESS_TEST(a_forced_leader_commits_what_it_has_and_refuses_readers_of_what_was_lost),
    HARNESS_TEST(a_failed_replica_does_not_lead),
    HARNESS_TEST(a_damaged_replica_leads_only_if_forced),
};
HARNESS_MAIN(tests);
