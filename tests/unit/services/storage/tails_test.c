/* Three nodes hold one partition; node 1 is the last in sync, and an open cut the end of its log.
 */
#include "services/storage/tails.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"
#include "schemas/gen/report_replicas_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

enum { NODES = 3, KNOWN = 20, RECORDS = 30, CUT = 25, BYTES_MAX = 64 * 1024 };

#define LOG_PATH "data/aa000000-0000-0000-0000-000000000001-0/00000000000000000000.log"

static struct storage_fixture *nodes[NODES + 1]; /* by number */
static unsigned range_calls;

/* ---- the nodes and what goes between them ---- */

static void deliver_range_fetch(struct fake_rpc_call *call)
{
    int to = call->address[strlen("tcp://node-")] - '0';
    struct ria_slice bytes = ria_slice_of(ria_msg_data(call->msg), ria_msg_size(call->msg));

    range_calls++;
    CU_ASSERT(to >= 1 && to <= NODES);
    if (nodes[to]->storage == NULL) {
        fake_rpc_fail(call, RIA_ERR_DISCONNECTED);
        return;
    }
    struct ria_msg *copy = ria_msg_new(bytes.size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(ria_msg_data(copy), bytes.data, bytes.size);
    struct ria_rpc_request *request = fake_rpc_send(&nodes[to]->rpc, copy);
    CU_ASSERT_TRUE_FATAL(request->done);
    fake_rpc_answer_msg(call, RIA_STEAL(&request->reply));
    fake_rpc_forget(request);
}

static void run_ms(int64_t ms)
{
    for (int64_t i = 0; i < ms; i++) {
        for (int32_t n = 1; n <= NODES; n++) {
            struct fake_rpc_call *call = NULL;
            if (nodes[n]->storage == NULL) {
                continue;
            }
            fixture_run_ms(nodes[n], 1);
            while ((call = fake_rpc_find(&nodes[n]->rpc, API_RANGE_FETCH)) != NULL) {
                deliver_range_fetch(call);
            }
            while ((call = fake_rpc_find(&nodes[n]->rpc, API_REPORT_REPLICAS)) != NULL) {
                struct report_replicas_response response;
                report_replicas_response_init(&response);
                fake_rpc_answer(call, &response);
            }
        }
    }
}

/* What the coordinator says to all. */
static void assign(int32_t leader, int32_t epoch, const char *isr)
{
    for (int32_t n = 1; n <= NODES; n++) {
        fixture_partition(nodes[n], 1, 0, leader, epoch, epoch, "123", isr);
        nodes[n]->metadata_version++;
        if (nodes[n]->storage != NULL) {
            fixture_publish(nodes[n]);
            fixture_run_ms(nodes[n], 5);
        }
    }
}

/* A follower is given records of node 2, which leads under that epoch. */
static void append(int32_t number, int64_t base, int count, int32_t epoch)
{
    struct replica_prepare_request_prepare_epoch_entry entry = {.epoch = 5, .start_offset = 0};
    struct replica_prepare_request_replica_prepare_partition prepared = {
        .topic_id = fixture_topic_id(1),
        .leader_epoch = epoch,
        .end_offset = base,
        .epochs = &entry,
        .epochs_count = base > 0 ? 1 : 0,
    };
    struct replica_prepare_request prepare = {.partitions = &prepared, .partitions_count = 1};
    struct ria_slice batches = fixture_batches(base, count, epoch);
    struct replica_append_request_replica_append_partition partition = {
        .topic_id = fixture_topic_id(1),
        .leader_epoch = epoch,
        .base_offset = base,
        .size = (int32_t)batches.size,
    };
    struct replica_append_request request = {.partitions = &partition, .partitions_count = 1};
    struct replica_append_response response;

    (void)fixture_send(nodes[number], API_REPLICA_PREPARE, &prepare, RIA_SLICE_NULL);
    fixture_run_ms(nodes[number], 5);
    struct ria_rpc_request *sent =
        fixture_send(nodes[number], API_REPLICA_APPEND, &request, batches);
    free((void *)(uintptr_t)batches.data);
    fixture_run_ms(nodes[number], 5);
    CU_ASSERT_EQUAL(fixture_reply(nodes[number], API_REPLICA_APPEND, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_OK);
}

/* Node 2 leads under epoch 5; everybody has the same records. Checkpoints know only the first. */
static void begin(void)
{
    range_calls = 0;
    for (int32_t n = 1; n <= NODES; n++) {
        nodes[n] = calloc(1, sizeof(*nodes[n]));
        CU_ASSERT_PTR_NOT_NULL_FATAL(nodes[n]);
        fixture_init(nodes[n]);
        nodes[n]->node_id = n;
        CU_ASSERT_TRUE_FATAL(fixture_start(nodes[n]));
        for (int32_t k = 1; k <= NODES; k++) {
            fixture_node(nodes[n], k, 0);
        }
        fixture_topic(nodes[n], 1, 1, 3, false, NULL);
    }
    assign(2, 5, "123");
    for (int i = 0; i < KNOWN; i++) {
        (void)fixture_produce_one(nodes[2]);
    }
    append(1, 0, KNOWN, 5);
    append(3, 0, KNOWN, 5);
    run_ms(1500); /* the checkpoint */
    for (int i = KNOWN; i < RECORDS; i++) {
        (void)fixture_produce_one(nodes[2]);
    }
    append(1, KNOWN, RECORDS - KNOWN, 5);
    append(3, KNOWN, RECORDS - KNOWN, 5);
}

static void end(void)
{
    for (int32_t n = 1; n <= NODES; n++) {
        fixture_fini(nodes[n]);
        free(nodes[n]);
    }
}

/* The power goes, with it the marks, and a bit of a record that was synced a moment ago is not what
 * it was: for the next start that is a torn write. */
static void lose_the_end(void)
{
    struct ria_slice one = fixture_batches(0, 1, 5);
    uint64_t at = (uint64_t)CUT * one.size + 66;

    free((void *)(uintptr_t)one.data);
    fixture_kill(nodes[1]);
    CU_ASSERT_EQUAL_FATAL(ria_fs_unlink(nodes[1]->fs, "data/marks"), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(ria_fs_sync_dir(nodes[1]->fs, "data"), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(ria_fs_sim_flip_bit(nodes[1]->fs, LOG_PATH, at, 3), RIA_OK);
}

/* In the record that node 1 wants first. */
static void flip_what_is_wanted(int32_t number)
{
    struct ria_slice one = fixture_batches(0, 1, 5);
    uint64_t at = (uint64_t)CUT * one.size + 66;

    free((void *)(uintptr_t)one.data);
    CU_ASSERT_EQUAL_FATAL(ria_fs_sim_flip_bit(nodes[number]->fs, LOG_PATH, at, 3), RIA_OK);
}

static void start(int32_t number)
{
    CU_ASSERT_TRUE_FATAL(fixture_start(nodes[number]));
    fixture_run_ms(nodes[number], 10);
}

static void check_same_files(int32_t a, int32_t b)
{
    uint8_t *one = NULL;
    uint8_t *other = NULL;
    size_t one_size = 0;
    size_t other_size = 0;

    CU_ASSERT_EQUAL_FATAL(
        ria_fs_read_all(nodes[a]->fs, LOG_PATH, BYTES_MAX, &one, &one_size), RIA_OK
    );
    CU_ASSERT_EQUAL_FATAL(
        ria_fs_read_all(nodes[b]->fs, LOG_PATH, BYTES_MAX, &other, &other_size), RIA_OK
    );
    CU_ASSERT_EQUAL(one_size, other_size);
    CU_ASSERT(one_size == other_size && memcmp(one, other, one_size) == 0);
    free(one);
    free(other);
}

/* ---- tests ---- */

/* It led without them, and the others were cut to its end. */
static void the_last_in_sync_takes_back_committed_records_that_were_cut_as_a_tail(void)
{
    begin();
    lose_the_end();
    assign(1, 6, "1");
    start(1);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, CUT);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).leader);
    run_ms(500);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).leader);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).synced_offset, RECORDS);
    CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.tail_proven"), 1);
    check_same_files(1, 2);
    check_same_files(1, 3);
    end();
}

static void until_everybody_has_answered_nothing_is_taken_and_nobody_is_cut(void)
{
    begin();
    lose_the_end();
    fixture_stop(nodes[3]);
    assign(1, 6, "1");
    start(1);
    run_ms(TAILS_WAIT_MS / 2);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).leader);
    CU_ASSERT_EQUAL(
        fixture_error(fixture_produce(nodes[1], (struct produce_args){.leader_epoch = 6})),
        RIA_ERR_NOT_LEADER
    );
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, CUT);
    start(3);
    run_ms(2000);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).leader);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, RECORDS);
    end();
}

static void who_does_not_answer_is_waited_for_only_so_long(void)
{
    begin();
    lose_the_end();
    fixture_stop(nodes[2]);
    fixture_stop(nodes[3]);
    assign(1, 6, "1");
    start(1);
    run_ms(TAILS_WAIT_MS - 2000);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).leader);
    run_ms(4000);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).leader);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, CUT);
    CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.tail_unproven"), 1);
    end();
}

/* It was asked again and again for half a minute. */
static void what_a_peer_cannot_read_any_more_is_not_waited_for(void)
{
    begin();
    lose_the_end();
    flip_what_is_wanted(3);
    assign(1, 6, "1");
    start(1);
    run_ms(2000);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).leader);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, RECORDS); /* of node 2 */
    end();

    begin();
    lose_the_end();
    flip_what_is_wanted(2);
    flip_what_is_wanted(3);
    assign(1, 6, "1");
    start(1);
    run_ms(2000);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).leader);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, CUT);
    CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.tail_unproven"), 1);
    end();
}

/* The leader of a newer epoch began with everything committed: what the other has more never was.
 */
static void the_newest_epoch_counts_more_than_the_longest_log(void)
{
    begin();
    append(3, RECORDS, 10, 5);
    assign(2, 6, "12");
    (void)fixture_produce(nodes[2], (struct produce_args){.leader_epoch = 6});
    run_ms(10);
    lose_the_end();
    assign(1, 7, "1");
    start(1);
    run_ms(500);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).leader);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, RECORDS + 1);
    check_same_files(1, 2);
    end();
}

/* It was looked for only in the process that had cut it. */
static void a_second_crash_does_not_make_the_end_certain(void)
{
    begin();
    lose_the_end();
    fixture_stop(nodes[2]);
    fixture_stop(nodes[3]);
    assign(1, 6, "1");
    start(1);
    run_ms(1500); /* the checkpoint */
    fixture_power_cut(nodes[1]);
    assign(1, 7, "1");
    start(1);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).leader);
    start(2);
    start(3);
    run_ms(500);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).leader);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, RECORDS);
    end();
}

static void who_comes_back_into_the_set_asks_nobody(void)
{
    begin();
    lose_the_end();
    assign(2, 6, "23");
    start(1);
    append(1, CUT, RECORDS - CUT, 6);
    fixture_stop(nodes[2]);
    fixture_stop(nodes[3]);
    assign(1, 7, "123");
    run_ms(10);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).leader);
    CU_ASSERT_EQUAL(range_calls, 0);
    end();
}

/* An operator has decided. */
static void a_forced_leader_asks_nobody(void)
{
    begin();
    lose_the_end();
    assign(-1, 6, "2");
    fixture_partition(nodes[1], 1, 0, 1, 7, 7, "123", "1");
    fixture_force(nodes[1], 1, 0, 7);
    start(1);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).leader);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, CUT);
    CU_ASSERT_EQUAL(range_calls, 0);
    end();
}

static void another_leader_ends_the_questions(void)
{
    begin();
    lose_the_end();
    assign(1, 6, "1");
    start(1);
    CU_ASSERT(fake_rpc_count(&nodes[1]->rpc, API_RANGE_FETCH) == 2);
    fixture_partition(nodes[1], 1, 0, 3, 7, 7, "123", "3");
    fixture_publish(nodes[1]);
    fixture_run_ms(nodes[1], 10);
    run_ms(500);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).leader);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, CUT);
    CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.tail_"), 1); /* storage.tail_cut */
    end();
}

static const struct harness_test tests[] = {
    HARNESS_TEST(the_last_in_sync_takes_back_committed_records_that_were_cut_as_a_tail),
    HARNESS_TEST(until_everybody_has_answered_nothing_is_taken_and_nobody_is_cut),
    HARNESS_TEST(who_does_not_answer_is_waited_for_only_so_long),
    HARNESS_TEST(what_a_peer_cannot_read_any_more_is_not_waited_for),
    HARNESS_TEST(the_newest_epoch_counts_more_than_the_longest_log),
    HARNESS_TEST(a_second_crash_does_not_make_the_end_certain),
    HARNESS_TEST(who_comes_back_into_the_set_asks_nobody),
    HARNESS_TEST(a_forced_leader_asks_nobody),
    HARNESS_TEST(another_leader_ends_the_questions),
};
HARNESS_MAIN(tests);
