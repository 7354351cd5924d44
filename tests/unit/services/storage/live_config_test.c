/* Settings that change under a leader and under a follower. */
#include <stdlib.h>
#include <string.h>

#include "schemas/gen/messages.h"
#include "schemas/gen/produce_response.h"
#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_fetch_request.h"
#include "schemas/gen/replica_fetch_response.h"
#include "schemas/gen/replica_prepare_request.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

static struct storage_fixture *setup(bool lead, const char *replicas, const char *setting)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    if (lead) {
        fixture_lead(f, replicas, setting);
    } else {
        fixture_follow(f, replicas, setting);
    }
    return f;
}

static void teardown(struct storage_fixture *f)
{
    fixture_fini(f);
    free(f);
}

/* The coordinator has changed the topic: these settings, with that epoch. */
static void
change(struct storage_fixture *f, const char *replicas, const char *setting, int32_t config_epoch)
{
    fixture_topic(f, 1, 1, (int16_t)strlen(replicas), false, setting);
    f->topics[0].config_epoch = config_epoch;
    f->topics[0].was_relaxed = setting == NULL;
    fixture_publish(f);
    fixture_run_ms(f, 0);
}

static struct ria_rpc_request *produce(struct storage_fixture *f, int32_t sequence)
{
    return fixture_produce(
        f, (struct produce_args){.leader_epoch = 5, .producer_id = 7, .sequence = sequence}
    );
}

typedef enum acked { ACK_NONE, ACK_RELAXED, ACK_SYNCED } acked;

static acked ack_of(struct storage_fixture *f, const struct ria_rpc_request *request)
{
    struct produce_response response;

    if (fixture_reply(f, API_PRODUCE, request, &response) != RIA_OK) {
        return ACK_NONE;
    }
    return response.synced ? ACK_SYNCED : ACK_RELAXED;
}

/* ---- a leader ---- */

static void a_raised_minimum_counts_for_the_next_append(void)
{
    struct storage_fixture *f = setup(true, "123", "min.insync.replicas=1");

    fixture_partition(f, 1, 0, 1, 5, 2, "123", "1");
    fixture_publish(f);
    const struct ria_rpc_request *first = produce(f, 0);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(ack_of(f, first), ACK_SYNCED);
    change(f, "123", "min.insync.replicas=2", 1);
    CU_ASSERT_EQUAL(fixture_error(produce(f, 1)), RIA_ERR_NOT_ENOUGH_REPLICAS);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 1);
    change(f, "123", "min.insync.replicas=1", 2);
    const struct ria_rpc_request *third = produce(f, 1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(ack_of(f, third), ACK_SYNCED);
    teardown(f);
}

static void a_raised_minimum_holds_back_what_is_under_way(void)
{
    struct storage_fixture *f = setup(true, "123", "min.insync.replicas=1");

    fixture_partition(f, 1, 0, 1, 5, 2, "123", "1");
    fixture_publish(f);
    const struct ria_rpc_request *request = produce(f, 0); /* its sync has not ended */
    change(f, "123", "min.insync.replicas=2", 1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(ack_of(f, request), ACK_NONE);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0);
    change(f, "123", "min.insync.replicas=1", 2);
    CU_ASSERT_EQUAL(ack_of(f, request), ACK_SYNCED);
    teardown(f);
}

static void a_leader_that_is_deposed_by_the_same_word_commits_nothing_by_a_lower_minimum(void)
{
    struct storage_fixture *f = setup(true, "123", "min.insync.replicas=2");

    const struct ria_rpc_request *request = produce(f, 0);
    fixture_run_ms(f, 5);
    fixture_partition(f, 1, 0, 1, 5, 2, "123", "1");
    fixture_publish(f);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(ack_of(f, request), ACK_NONE);
    /* It was fenced, node 2 was eligible and leads, then the minimum was lowered. */
    fixture_partition(f, 1, 0, 2, 6, 4, "123", "2");
    change(f, "123", "min.insync.replicas=1", 1);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_UNKNOWN_OUTCOME);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 0);
    teardown(f);
}

static void after_the_switch_to_synced_an_ack_waits_for_the_disk(void)
{
    struct storage_fixture *f = setup(true, "1", "durability=relaxed");

    const struct ria_rpc_request *first = produce(f, 0);
    fixture_run_ms(f, 0);
    CU_ASSERT_EQUAL(ack_of(f, first), ACK_RELAXED);
    change(f, "1", NULL, 1);
    const struct ria_rpc_request *second = produce(f, 1);
    fixture_run_ms(f, 0);
    CU_ASSERT_EQUAL(ack_of(f, second), ACK_NONE);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(ack_of(f, second), ACK_SYNCED);
    fixture_power_cut(f);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 2);
    teardown(f);
}

static void what_was_appended_before_the_switch_is_not_called_synced(void)
{
    struct storage_fixture *f = setup(true, "12", "durability=relaxed");

    const struct ria_rpc_request *first = produce(f, 0);
    fixture_run_ms(f, 0);
    change(f, "12", NULL, 1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 1), RIA_OK); /* sent out of its page cache */
    CU_ASSERT_EQUAL(ack_of(f, first), ACK_RELAXED);
    const struct ria_rpc_request *again = produce(f, 0); /* the same batch, by a retry */
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(ack_of(f, again), ACK_RELAXED);

    const struct ria_rpc_request *second = produce(f, 1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 2), RIA_OK); /* from its disk, all before included */
    CU_ASSERT_EQUAL(ack_of(f, second), ACK_SYNCED);
    again = produce(f, 0);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(ack_of(f, again), ACK_SYNCED);
    teardown(f);
}

static void a_new_leader_does_not_call_synced_what_was_relaxed_once(void)
{
    struct storage_fixture *f = setup(true, "12", "durability=relaxed");

    const struct ria_rpc_request *first = produce(f, 0);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 1), RIA_OK);
    CU_ASSERT_EQUAL(ack_of(f, first), ACK_RELAXED);
    fixture_kill(f);
    change(f, "12", NULL, 1);
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "12");
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_publish(f);
    fixture_run_ms(f, 5);
    const struct ria_rpc_request *again = fixture_produce(
        f, (struct produce_args){.leader_epoch = 6, .producer_id = 7, .sequence = 0}
    );
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 1), RIA_OK);
    CU_ASSERT_EQUAL(ack_of(f, again), ACK_RELAXED);
    teardown(f);
}

static void a_leader_tells_by_which_settings_it_acts(void)
{
    struct storage_fixture *f = setup(true, "12", "durability=relaxed");
    struct replica_fetch_request_replica_fetch_partition wanted = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 5, .max_bytes = 10000};
    const struct replica_fetch_request request = {
        .session_id = -1, .max_bytes = 10000, .partitions = &wanted, .partitions_count = 1};
    struct replica_fetch_response response;

    (void)produce(f, 0);
    change(f, "12", NULL, 3);
    const struct ria_rpc_request *sent =
        fixture_send(f, API_REPLICA_FETCH, &request, RIA_SLICE_NULL);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 1);
    CU_ASSERT_EQUAL(response.partitions[0].config_epoch, 3);
    teardown(f);
}

/* ---- a follower ---- */

static void prepare(struct storage_fixture *f)
{
    struct replica_prepare_request_replica_prepare_partition partition = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 5};
    const struct replica_prepare_request request = {
        .partitions = &partition, .partitions_count = 1};

    (void)fixture_send(f, API_REPLICA_PREPARE, &request, RIA_SLICE_NULL);
    fixture_run_ms(f, 5);
}

/* One record at base, read from a leader that acts by those settings. */
static struct ria_rpc_request *append(struct storage_fixture *f, int64_t base, int32_t config_epoch)
{
    struct ria_slice batches = fixture_batches(base, 1, 5);
    struct replica_append_request_replica_append_partition partition = {
        .topic_id = fixture_topic_id(1),
        .leader_epoch = 5,
        .base_offset = base,
        .config_epoch = config_epoch,
        .size = (int32_t)batches.size,
    };
    const struct replica_append_request request = {.partitions = &partition, .partitions_count = 1};

    struct ria_rpc_request *sent = fixture_send(f, API_REPLICA_APPEND, &request, batches);
    free((void *)(uintptr_t)batches.data);
    fixture_run_ms(f, 0);
    return sent;
}

static int64_t end_of(struct storage_fixture *f, const struct ria_rpc_request *sent)
{
    struct replica_append_response response;

    return fixture_reply(f, API_REPLICA_APPEND, sent, &response) == RIA_OK &&
                   response.partitions[0].error_code == RIA_OK
               ? response.partitions[0].end_offset
               : -1;
}

static void a_follower_that_has_not_heard_of_the_switch_waits_for_its_disk(void)
{
    struct storage_fixture *f = setup(false, "12", "durability=relaxed");

    prepare(f);
    CU_ASSERT_EQUAL(end_of(f, append(f, 0, 0)), 1); /* both act by the same: out of the cache */
    const struct ria_rpc_request *sent = append(f, 1, 1);
    CU_ASSERT_EQUAL(end_of(f, sent), -1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(end_of(f, sent), 2);
    fixture_power_cut(f);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 2);
    teardown(f);
}

static void a_follower_ahead_of_its_leader_waits_for_its_disk(void)
{
    struct storage_fixture *f = setup(false, "12", NULL);

    prepare(f);
    change(f, "12", "durability=relaxed", 1);
    const struct ria_rpc_request *sent = append(f, 0, 0); /* by a leader that still says synced */
    CU_ASSERT_EQUAL(end_of(f, sent), -1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(end_of(f, sent), 1);
    CU_ASSERT_EQUAL(end_of(f, append(f, 1, 1)), 2);
    teardown(f);
}

/* It may lack records that were acknowledged as synced, before the topic was made relaxed. */
static void a_follower_that_is_not_in_sync_waits_for_its_disk(void)
{
    struct storage_fixture *f = setup(false, "12", "durability=relaxed");

    fixture_partition(f, 1, 0, 2, 5, 2, "12", "2");
    fixture_publish(f);
    prepare(f);
    const struct ria_rpc_request *sent = append(f, 0, 0);
    CU_ASSERT_EQUAL(end_of(f, sent), -1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(end_of(f, sent), 1);
    fixture_partition(f, 1, 0, 2, 5, 3, "12", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(end_of(f, append(f, 1, 0)), 2);
    fixture_partition(f, 1, 0, 2, 5, 4, "12", "2");
    fixture_publish(f);
    sent = append(f, 2, 0);
    CU_ASSERT_EQUAL(end_of(f, sent), -1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(end_of(f, sent), 3);
    teardown(f);
}

static void a_late_copy_of_an_append_does_not_make_a_follower_relaxed(void)
{
    struct storage_fixture *f = setup(false, "12", "durability=relaxed");

    prepare(f);
    CU_ASSERT_EQUAL(end_of(f, append(f, 0, 0)), 1);
    change(f, "12", NULL, 1);
    const struct ria_rpc_request *sent = append(f, 1, 1);
    (void)append(f, 0, 0);
    CU_ASSERT_EQUAL(end_of(f, sent), -1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(end_of(f, sent), 2);
    teardown(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_raised_minimum_counts_for_the_next_append),
    HARNESS_TEST(a_raised_minimum_holds_back_what_is_under_way),
    HARNESS_TEST(a_leader_that_is_deposed_by_the_same_word_commits_nothing_by_a_lower_minimum),
    HARNESS_TEST(after_the_switch_to_synced_an_ack_waits_for_the_disk),
    HARNESS_TEST(what_was_appended_before_the_switch_is_not_called_synced),
    HARNESS_TEST(a_new_leader_does_not_call_synced_what_was_relaxed_once),
    HARNESS_TEST(a_leader_tells_by_which_settings_it_acts),
    HARNESS_TEST(a_follower_that_has_not_heard_of_the_switch_waits_for_its_disk),
    HARNESS_TEST(a_follower_ahead_of_its_leader_waits_for_its_disk),
    HARNESS_TEST(a_follower_that_is_not_in_sync_waits_for_its_disk),
    HARNESS_TEST(a_late_copy_of_an_append_does_not_make_a_follower_relaxed),
};
HARNESS_MAIN(tests);
