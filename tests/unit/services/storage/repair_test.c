/* Three nodes hold one partition; what one of them cannot read comes back from the others. */
#include "services/storage/repair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/range_fetch_request.h"
#include "schemas/gen/range_fetch_response.h"
#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"
#include "schemas/gen/report_replicas_request.h"
#include "schemas/gen/report_replicas_response.h"

#include "services/storage/marks.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

enum { NODES = 3, RECORDS = 60, ROUNDS_MAX = 3000, BYTES_MAX = 64 * 1024 };

#define LOG_PATH "data/aa000000-0000-0000-0000-000000000001-0/00000000000000000000.log"

static struct storage_fixture *nodes[NODES + 1]; /* by number */
static unsigned range_calls;
static int8_t told[NODES + 1]; /* state of the last acknowledged ReportReplicas; -1: none */
static bool coordinator_refuses;
static int unreadable; /* node that answers RangeFetch with IO; 0: none */

/* ---- the nodes and what goes between them ---- */

static void begin_node(int32_t number)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    nodes[number] = f;
    told[number] = -1;
    fixture_init(f);
    f->node_id = number;
    CU_ASSERT_TRUE_FATAL(fixture_start(f));
    for (int32_t n = 1; n <= NODES; n++) {
        fixture_node(f, n, 0);
    }
    fixture_topic(f, 1, 1, 3, false, NULL);
    fixture_partition(f, 1, 0, 2, 5, 1, "123", "123");
    fixture_publish(f);
    fixture_run_ms(f, 5);
}

static void deliver_range_fetch(struct fake_rpc_call *call)
{
    int to = call->address[strlen("tcp://node-")] - '0';
    struct ria_slice bytes = ria_slice_of(ria_msg_data(call->msg), ria_msg_size(call->msg));
    struct ria_msg *copy = ria_msg_new(bytes.size);

    range_calls++;
    CU_ASSERT(to >= 1 && to <= NODES);
    if (to == unreadable) {
        ria_msg_free(copy);
        fake_rpc_refuse(call, RIA_ERR_IO);
        return;
    }
    if (nodes[to]->storage == NULL) {
        ria_msg_free(copy);
        fake_rpc_fail(call, RIA_ERR_DISCONNECTED);
        return;
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(ria_msg_data(copy), bytes.data, bytes.size);
    struct ria_rpc_request *request = fake_rpc_send(&nodes[to]->rpc, copy);
    CU_ASSERT_TRUE_FATAL(request->done);
    fake_rpc_answer_msg(call, RIA_STEAL(&request->reply));
    fake_rpc_forget(request);
}

static void answer_report(int32_t number, struct fake_rpc_call *call)
{
    struct report_replicas_request request;
    struct report_replicas_response response;

    if (coordinator_refuses) {
        fake_rpc_refuse(call, RIA_ERR_BUSY);
        return;
    }
    fake_rpc_decode(call, &nodes[number]->arena, &request);
    CU_ASSERT_EQUAL(request.node_id, number);
    CU_ASSERT_EQUAL(request.incarnation, nodes[number]->incarnation);
    CU_ASSERT_EQUAL(request.replicas_count, 1);
    told[number] = request.replicas[0].state;
    report_replicas_response_init(&response);
    fake_rpc_answer(call, &response);
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
                answer_report(n, call);
            }
        }
    }
}

static ria_err append(int32_t number, int64_t base, int count, int64_t high_watermark)
{
    struct ria_slice batches = fixture_batches(base, count, 5);
    struct replica_append_request_replica_append_partition partition = {
        .topic_id = fixture_topic_id(1),
        .leader_epoch = 5,
        .base_offset = base,
        .high_watermark = high_watermark,
        .size = (int32_t)batches.size,
    };
    struct replica_append_request request = {.partitions = &partition, .partitions_count = 1};
    struct replica_append_response response;

    struct ria_rpc_request *sent =
        fixture_send(nodes[number], API_REPLICA_APPEND, &request, batches);
    free((void *)(uintptr_t)batches.data);
    fixture_run_ms(nodes[number], 5);
    RIA_TRY(fixture_reply(nodes[number], API_REPLICA_APPEND, sent, &response));
    return (ria_err)response.partitions[0].error_code;
}

static ria_err prepare(int32_t number, int64_t end)
{
    struct replica_prepare_request_prepare_epoch_entry entry = {.epoch = 5, .start_offset = 0};
    struct replica_prepare_request_replica_prepare_partition partition = {
        .topic_id = fixture_topic_id(1),
        .leader_epoch = 5,
        .end_offset = end,
        .epochs = &entry,
        .epochs_count = end > 0 ? 1 : 0,
    };
    struct replica_prepare_request request = {.partitions = &partition, .partitions_count = 1};
    struct replica_prepare_response response;

    struct ria_rpc_request *sent =
        fixture_send(nodes[number], API_REPLICA_PREPARE, &request, RIA_SLICE_NULL);
    fixture_run_ms(nodes[number], 5);
    RIA_TRY(fixture_reply(nodes[number], API_REPLICA_PREPARE, sent, &response));
    return (ria_err)response.partitions[0].error_code;
}

/* Node 2 leads; everybody has the same records, all committed. */
static void begin(void)
{
    range_calls = 0;
    coordinator_refuses = false;
    for (int32_t n = 1; n <= NODES; n++) {
        begin_node(n);
    }
    for (int i = 0; i < RECORDS; i++) {
        (void)fixture_produce_one(nodes[2]);
    }
    for (int32_t n = 1; n <= NODES; n += 2) {
        CU_ASSERT_EQUAL(prepare(n, 0), RIA_OK);
        CU_ASSERT_EQUAL(append(n, 0, RECORDS, RECORDS), RIA_OK);
        CU_ASSERT_EQUAL(fixture_report(nodes[2], n, 5, RECORDS), RIA_OK);
    }
    CU_ASSERT_EQUAL(fixture_info(nodes[2]).high_watermark, RECORDS);
    run_ms(1500); /* the checkpoint */
}

static void end(void)
{
    for (int32_t n = 1; n <= NODES; n++) {
        fixture_fini(nodes[n]);
        free(nodes[n]);
    }
}

static size_t batch_bytes(void)
{
    struct ria_slice one = fixture_batches(0, 1, 5);
    free((void *)(uintptr_t)one.data);
    return one.size;
}

/* Flip a bit of the record at offset; a node that runs does not notice. */
static void flip(int32_t number, int64_t offset, uint64_t byte)
{
    uint64_t at = (uint64_t)offset * batch_bytes() + byte;
    CU_ASSERT_EQUAL_FATAL(ria_fs_sim_flip_bit(nodes[number]->fs, LOG_PATH, at, 3), RIA_OK);
}

static void restart(int32_t number)
{
    fixture_kill(nodes[number]);
    CU_ASSERT_TRUE_FATAL(fixture_start(nodes[number]));
    fixture_run_ms(nodes[number], 10);
}

/* The file, byte for byte. */
static size_t read_file(int32_t number, uint8_t *out)
{
    uint8_t *data = NULL;
    size_t size = 0;

    CU_ASSERT_EQUAL_FATAL(
        ria_fs_read_all(nodes[number]->fs, LOG_PATH, BYTES_MAX, &data, &size), RIA_OK
    );
    memcpy(out, data, size);
    free(data);
    return size;
}

static void check_same_files(void)
{
    static uint8_t one[BYTES_MAX];
    static uint8_t other[BYTES_MAX];
    size_t size = (size_t)RECORDS * batch_bytes();

    CU_ASSERT_EQUAL(read_file(2, one), size);
    for (int32_t n = 1; n <= NODES; n += 2) {
        CU_ASSERT(read_file(n, other) >= size);
        CU_ASSERT_EQUAL(memcmp(one, other, size), 0);
    }
}

static void heal(int32_t number)
{
    for (int i = 0; i < ROUNDS_MAX && fixture_info(nodes[number]).damaged; i++) {
        run_ms(10);
    }
    CU_ASSERT_FALSE(fixture_info(nodes[number]).damaged);
    run_ms(50);
}

static struct ria_rpc_request *range_fetch(int32_t number, int64_t from, int64_t to)
{
    struct range_fetch_request request = {
        .topic_id = fixture_topic_id(1),
        .from_offset = from,
        .to_offset = to,
        .max_bytes = 1 << 20};

    return fixture_send(nodes[number], API_RANGE_FETCH, &request, RIA_SLICE_NULL);
}

/* ---- tests ---- */

static void a_damaged_follower_is_repaired_and_says_so(void)
{
    begin();
    flip(1, 20, 65);
    flip(1, 21, 3);
    restart(1);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).damaged);
    run_ms(1);
    heal(1);
    CU_ASSERT_EQUAL(told[1], 0);
    CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.repaired"), 1);
    CU_ASSERT(range_calls >= 1);
    check_same_files();
    end();
}

/* That of the leader is its own, not this node's: the other replica was never asked. */
static void a_peer_whose_disk_fails_does_not_end_the_repair(void)
{
    begin();
    unreadable = 2;
    flip(1, 20, 65);
    restart(1);
    heal(1);
    unreadable = 0;
    CU_ASSERT_EQUAL(told[1], 0);
    check_same_files();
    end();
}

static void the_coordinator_hears_of_damage_until_it_acknowledges_it(void)
{
    begin();
    coordinator_refuses = true;
    fixture_stop(nodes[2]);
    fixture_stop(nodes[3]); /* nobody can help yet */
    flip(1, 20, 65);
    restart(1);
    run_ms(3000);
    CU_ASSERT_EQUAL(told[1], -1);
    coordinator_refuses = false;
    run_ms(3000);
    CU_ASSERT_EQUAL(told[1], 2);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).damaged);
    CU_ASSERT(fixture_logged(nodes[1], "storage.repair_failed") >= 1);
    /* A coordinator that has forgotten this node hears it again. */
    told[1] = -1;
    nodes[1]->unregistered = true;
    run_ms(3000);
    CU_ASSERT_EQUAL(told[1], 2);
    CU_ASSERT_TRUE(fixture_start(nodes[3]));
    heal(1);
    CU_ASSERT_EQUAL(told[1], 0);
    CU_ASSERT_TRUE(fixture_start(nodes[2]));
    check_same_files();
    end();
}

static void a_failed_log_is_reported_too(void)
{
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 1};

    begin();
    ria_fs_sim_set_faults(nodes[1]->fs, &faults);
    (void)append(1, RECORDS, 1, RECORDS);
    run_ms(100);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).failed);
    CU_ASSERT_EQUAL(told[1], 1);
    faults.fail_sync_one_in = 0;
    ria_fs_sim_set_faults(nodes[1]->fs, &faults);
    restart(1);
    run_ms(100);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).failed);
    end();
}

/* What the metadata says counts as told: after a restart, too. */
static void a_replica_that_is_fit_says_so_if_the_metadata_does_not_know(void)
{
    static int32_t unfit[] = {1};

    begin();
    nodes[1]->partitions[0].unfit = unfit;
    nodes[1]->partitions[0].unfit_count = 1;
    nodes[1]->partitions[0].partition_epoch = 2;
    fixture_publish(nodes[1]);
    run_ms(100);
    CU_ASSERT_EQUAL(told[1], 0);
    end();
}

static void damage_on_two_of_three_in_different_ranges_is_repaired_on_both(void)
{
    begin();
    flip(1, 10, 70);
    flip(3, 30, 70);
    flip(3, 40, 15);
    restart(1);
    restart(3);
    heal(1);
    heal(3);
    check_same_files();
    end();
}

/* Each range is good somewhere, no node has all of it. */
static void a_repair_goes_on_with_another_peer_where_one_is_damaged_too(void)
{
    begin();
    fixture_stop(nodes[2]);
    for (int64_t o = 10; o < 20; o++) {
        flip(1, o, 70);
    }
    for (int64_t o = 12; o < 14; o++) {
        flip(3, o, 70);
    }
    restart(1);
    restart(3);
    run_ms(2500);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_TRUE(fixture_info(nodes[3]).damaged);
    CU_ASSERT_TRUE(fixture_start(nodes[2]));
    heal(1);
    heal(3);
    check_same_files();
    end();
}

static void damage_never_spreads(void)
{
    struct range_fetch_response response;

    begin();
    for (uint64_t byte = 0; byte < batch_bytes(); byte++) {
        flip(2, 30, byte); /* the leader itself */
        struct ria_rpc_request *sent = range_fetch(2, 30, 31);
        bool nothing = fixture_error(sent) == RIA_ERR_CORRUPT ||
                       (fixture_error(sent) == RIA_OK && fixture_payload(sent).size == 0);
        CU_ASSERT_TRUE(nothing);
        fake_rpc_forget(sent);
        for (int i = 0; i < 3 && fixture_error(sent = range_fetch(2, 0, RECORDS)) != RIA_OK; i++) {
            fake_rpc_forget(sent);
        }
        CU_ASSERT_EQUAL(fixture_reply(nodes[2], API_RANGE_FETCH, sent, &response), RIA_OK);
        CU_ASSERT_EQUAL(fixture_payload(sent).size, 30 * batch_bytes()); /* up to the damage */
        fake_rpc_forget(sent);
        CU_ASSERT_TRUE(fixture_info(nodes[2]).damaged);
        heal(2);
    }
    check_same_files();
    CU_ASSERT_EQUAL(told[2], 0);
    end();
}

static void a_read_of_other_ranges_goes_on_and_of_the_damaged_one_is_an_error(void)
{
    struct fetch_response response;
    struct fetch_request request = {
        .topic_id = fixture_topic_id(1), .leader_epoch = -1, .offset = 20, .max_bytes = 1};

    begin();
    fixture_stop(nodes[1]);
    fixture_stop(nodes[3]);
    flip(2, 20, 66);
    struct ria_rpc_request *sent = fixture_send(nodes[2], API_FETCH, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_CORRUPT);
    CU_ASSERT_TRUE(fixture_info(nodes[2]).damaged);
    CU_ASSERT(strstr(fixture_error_text(sent), "damaged") != NULL);
    request.offset = 21;
    request.max_bytes = 1 << 20;
    sent = fixture_send(nodes[2], API_FETCH, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(nodes[2], API_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(fixture_payload(sent).size, (RECORDS - 21) * batch_bytes());
    run_ms(100);
    CU_ASSERT_EQUAL(told[2], 2);
    CU_ASSERT_TRUE(fixture_start(nodes[1]));
    CU_ASSERT_TRUE(fixture_start(nodes[3]));
    heal(2);
    end();
}

static void only_committed_records_are_given_to_a_repair(void)
{
    struct range_fetch_response response;

    begin();
    CU_ASSERT_EQUAL(append(1, RECORDS, 5, RECORDS), RIA_OK);
    struct ria_rpc_request *sent = range_fetch(1, RECORDS - 1, RECORDS + 5);
    CU_ASSERT_EQUAL(fixture_reply(nodes[1], API_RANGE_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(fixture_payload(sent).size, batch_bytes());
    CU_ASSERT_EQUAL(response.high_watermark, RECORDS);
    sent = range_fetch(1, RECORDS, RECORDS + 5);
    CU_ASSERT_EQUAL(fixture_reply(nodes[1], API_RANGE_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(fixture_payload(sent).size, 0);
    sent = range_fetch(1, -1, RECORDS);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_OFFSET_OUT_OF_RANGE);
    end();
}

static void a_damaged_follower_takes_new_records_meanwhile(void)
{
    begin();
    fixture_stop(nodes[2]);
    fixture_stop(nodes[3]);
    flip(1, 20, 66);
    restart(1);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(prepare(1, RECORDS), RIA_OK);
    CU_ASSERT_EQUAL(append(1, RECORDS, 3, RECORDS), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).synced_offset, RECORDS + 3);
    CU_ASSERT_TRUE(fixture_start(nodes[2]));
    CU_ASSERT_TRUE(fixture_start(nodes[3]));
    heal(1);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, RECORDS + 3);
    end();
}

/* A node's file loses what is behind offset; the node starts. */
static void lose_tail(int32_t number, int64_t offset)
{
    struct ria_file *file = NULL;

    fixture_kill(nodes[number]);
    CU_ASSERT_EQUAL_FATAL(ria_fs_open(nodes[number]->fs, LOG_PATH, RIA_FS_WRITE, &file), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_truncate(file, (uint64_t)offset * batch_bytes() + 7), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_sync(file), RIA_OK);
    ria_fs_close(file);
    CU_ASSERT_TRUE_FATAL(fixture_start(nodes[number]));
    run_ms(100);
    CU_ASSERT_EQUAL(fixture_info(nodes[number]).end_offset, offset);
    CU_ASSERT_EQUAL(told[number], 2);
}

/* A file that lost its end: the leader gives it again, and only then may this replica lead. */
static void a_lost_tail_comes_back_by_replication(void)
{
    begin();
    lose_tail(1, 40);
    CU_ASSERT_EQUAL(prepare(1, 45), RIA_OK); /* a history from before the rest was written */
    CU_ASSERT_EQUAL(append(1, 40, 10, RECORDS), RIA_OK);
    run_ms(100);
    CU_ASSERT_EQUAL(told[1], 2);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(append(1, 50, RECORDS - 50, RECORDS), RIA_OK);
    run_ms(100);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(told[1], 0);
    check_same_files();
    end();
}

static void publish(int32_t number, int32_t leader, int32_t epoch, int32_t forced_epoch)
{
    fixture_partition(nodes[number], 1, 0, leader, epoch, epoch, "123", "123");
    nodes[number]->partitions[0].forced_epoch = forced_epoch;
    fixture_publish(nodes[number]);
}

/* What a leader of a later epoch does not have was never committed. */
static void a_lost_tail_ends_where_a_later_leader_does(void)
{
    struct replica_prepare_request_prepare_epoch_entry entry = {.epoch = 5, .start_offset = 0};
    struct replica_prepare_request_replica_prepare_partition partition = {
        .topic_id = fixture_topic_id(1),
        .leader_epoch = 6,
        .end_offset = 50,
        .epochs = &entry,
        .epochs_count = 1,
    };
    struct replica_prepare_request request = {.partitions = &partition, .partitions_count = 1};
    struct replica_append_request_replica_append_partition appended = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 6, .base_offset = 40};
    struct replica_append_request append_request = {.partitions = &appended, .partitions_count = 1};

    begin();
    lose_tail(1, 40);
    publish(1, 3, 6, -1);
    (void)fixture_send(nodes[1], API_REPLICA_PREPARE, &request, RIA_SLICE_NULL);
    run_ms(100);
    CU_ASSERT_EQUAL(told[1], 2);
    struct ria_slice batches = fixture_batches(40, 10, 5);
    appended.size = (int32_t)batches.size;
    (void)fixture_send(nodes[1], API_REPLICA_APPEND, &append_request, batches);
    free((void *)(uintptr_t)batches.data);
    run_ms(100);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).synced_offset, 50);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(told[1], 0);
    end();
}

/* Without force a log that lost its end does not lead; with it, it does, from there on. */
static void a_forced_leader_gives_up_its_lost_tail(void)
{
    begin();
    lose_tail(1, 40);
    publish(1, 1, 6, -1);
    struct ria_rpc_request *sent =
        fixture_produce(nodes[1], (struct produce_args){.leader_epoch = 6});
    CU_ASSERT_TRUE(ria_err_is_definite(fixture_error(sent)) && fixture_error(sent) != RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, 40);
    publish(1, 1, 7, 7);
    (void)fixture_produce(nodes[1], (struct produce_args){.leader_epoch = 7});
    run_ms(50);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).synced_offset, 41);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).damaged);
    end();
}

/* What it was given before is on its way to the disk: cutting it then was an assertion. */
static void a_forced_leader_with_a_sync_under_way_leads_when_that_has_ended(void)
{
    struct ria_fs_sim_faults faults = {.sync_delay_us_min = 100000, .sync_delay_us_max = 100000};

    begin();
    lose_tail(1, 40);
    CU_ASSERT_EQUAL(prepare(1, RECORDS), RIA_OK);
    ria_fs_sim_set_faults(nodes[1]->fs, &faults);
    (void)append(1, 40, 5, RECORDS);
    publish(1, 1, 7, 7);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).leader);
    run_ms(200);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).leader);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, 45);
    end();
}

/* The process took it for a lack of memory, and ended. */
static void a_forced_leader_whose_disk_fails_does_not_take_the_node_along(void)
{
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 1};

    begin();
    lose_tail(1, 40);
    ria_fs_sim_set_faults(nodes[1]->fs, &faults);
    publish(1, 1, 7, 7);
    run_ms(100);
    CU_ASSERT_STRING_EQUAL(nodes[1]->fatal, "");
    CU_ASSERT_FALSE(fixture_info(nodes[1]).leader);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).failed);
    CU_ASSERT_EQUAL(told[1], 1);
    faults.fail_sync_one_in = 0;
    ria_fs_sim_set_faults(nodes[1]->fs, &faults);
    end();
}

/* The metadata that made it the leader came while it could not be. */
static void a_repaired_replica_leads_what_it_was_given(void)
{
    begin();
    fixture_stop(nodes[2]);
    fixture_stop(nodes[3]);
    flip(1, 20, 66);
    restart(1);
    publish(1, 1, 6, -1);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).leader);
    CU_ASSERT_TRUE(fixture_start(nodes[2]));
    CU_ASSERT_TRUE(fixture_start(nodes[3]));
    heal(1);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).leader);
    end();
}

/* What the peers never had: their leader's word cuts it off. */
static void a_hole_in_what_was_never_committed_goes_with_the_leaders_history(void)
{
    begin();
    CU_ASSERT_EQUAL(append(1, RECORDS, 5, RECORDS), RIA_OK);
    run_ms(1500);
    flip(1, RECORDS + 2, 66);
    restart(1);
    run_ms(3000);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(prepare(1, RECORDS), RIA_OK); /* the log is of this epoch: it is not cut */
    CU_ASSERT_TRUE(fixture_info(nodes[1]).damaged);
    fixture_partition(nodes[1], 1, 0, 3, 6, 2, "123", "123");
    fixture_publish(nodes[1]);
    struct replica_prepare_request_prepare_epoch_entry entry = {.epoch = 5, .start_offset = 0};
    struct replica_prepare_request_replica_prepare_partition partition = {
        .topic_id = fixture_topic_id(1),
        .leader_epoch = 6,
        .end_offset = RECORDS + 1,
        .epochs = &entry,
        .epochs_count = 1,
    };
    struct replica_prepare_request request = {.partitions = &partition, .partitions_count = 1};
    (void)fixture_send(nodes[1], API_REPLICA_PREPARE, &request, RIA_SLICE_NULL);
    run_ms(100);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, RECORDS + 1);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(told[1], 0);
    end();
}

/* Nobody reads the record, and it is found and repaired all the same. */
static void the_scrub_finds_a_flipped_bit_and_it_is_repaired(void)
{
    begin();
    for (int32_t n = 1; n <= NODES; n++) {
        nodes[n]->scrub_period_ms = 60 * 1000;
        nodes[n]->scrub_rate = 1000 * 1000;
        fixture_stop(nodes[n]);
        CU_ASSERT_TRUE_FATAL(fixture_start(nodes[n]));
    }
    run_ms(2000);
    flip(3, 17, 68);
    CU_ASSERT_FALSE(fixture_info(nodes[3]).damaged);
    for (int i = 0; i < 70 && fixture_logged(nodes[3], "storage.repaired") == 0; i++) {
        run_ms(1000);
    }
    CU_ASSERT_EQUAL(fixture_logged(nodes[3], "storage.log_damaged"), 1);
    CU_ASSERT_EQUAL(fixture_logged(nodes[3], "storage.repaired"), 1);
    CU_ASSERT_FALSE(fixture_info(nodes[3]).damaged);
    CU_ASSERT_EQUAL(told[3], 0);
    CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.log_damaged"), 0);
    check_same_files();
    end();
}

/* Nobody but the leader can tell. It stayed out of sync for ever, and fenced its leader. */
static void a_flipped_epoch_in_the_last_batch_is_corrected_by_the_leader(void)
{
    begin();
    flip(1, RECORDS - 1, 14); /* 5 becomes 2053 */
    restart(1);
    run_ms(5);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).leader_epoch, 5);
    for (int i = 0; i < 100 && fixture_logged(nodes[1], "storage.repaired") == 0; i++) {
        run_ms(10);
    }
    CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.epochs_corrected"), 1);
    heal(1);
    run_ms(100);
    CU_ASSERT_EQUAL(told[1], 0);
    check_same_files();
    end();
}

/* What the leader of this epoch does not have now, after the loss, need not come back. It stayed
 * unfit until the leader's log had grown, or a new epoch began. */
static void an_idle_leader_tells_where_a_lost_tail_ends(void)
{
    begin();
    CU_ASSERT_EQUAL(append(1, RECORDS, 5, RECORDS), RIA_OK);
    run_ms(1500); /* the checkpoint */
    lose_tail(1, RECORDS);
    CU_ASSERT_EQUAL(prepare(1, RECORDS), RIA_OK);
    run_ms(300);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(told[1], 0);
    end();
}

/* A history from before the loss does not shorten it: the leader has more now. */
static void a_lost_tail_that_the_leader_has_stays_lost(void)
{
    begin();
    lose_tail(1, 40);
    CU_ASSERT_EQUAL(prepare(1, 40), RIA_OK);
    run_ms(300);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(told[1], 2);
    end();
}

/* Within the second before the checkpoint. It was cut as a tail, and the replica knew nothing. */
static void damage_of_a_moment_ago_is_no_tail_after_a_kill(void)
{
    begin();
    CU_ASSERT_EQUAL(append(1, RECORDS, 5, RECORDS), RIA_OK);
    fixture_run_ms(nodes[1], 5);
    flip(1, RECORDS + 4, 66);
    restart(1);
    CU_ASSERT_TRUE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, RECORDS + 4);
    CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.tail_cut"), 0);
    end();
}

/* The marks were the only thing that told this damage from a tail, and both copies are bad. The
 * node led with what it had cut off missing. */
static void damage_of_a_moment_ago_is_no_tail_if_the_marks_rot_too(void)
{
    for (int copies = 1; copies <= 2; copies++) {
        begin();
        CU_ASSERT_EQUAL(append(1, RECORDS, 5, RECORDS), RIA_OK);
        fixture_run_ms(nodes[1], 5);
        fixture_kill(nodes[1]);
        for (int i = 0; i < copies; i++) {
            CU_ASSERT_EQUAL(
                ria_fs_sim_flip_bit(
                    nodes[1]->fs, "data/marks", (uint64_t)i * MARKS_SLOT_SIZE + 38, 2
                ),
                RIA_OK
            );
        }
        flip(1, RECORDS + 4, 66);
        CU_ASSERT_TRUE_FATAL(fixture_start(nodes[1]));
        fixture_kill(nodes[1]); /* before it knew anything of the log, perhaps */
        CU_ASSERT_TRUE_FATAL(fixture_start(nodes[1]));
        run_ms(50);
        CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.marks_lost"), copies == 2 ? 1 : 0);
        CU_ASSERT_TRUE(fixture_info(nodes[1]).damaged);
        CU_ASSERT_EQUAL(told[1], 2);
        CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.tail_cut"), 0);
        end();
    }
}

/* What the marks hid was nothing. */
static void marks_that_rot_alone_make_nothing_unfit(void)
{
    begin();
    fixture_kill(nodes[1]);
    for (uint64_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(
            ria_fs_sim_flip_bit(nodes[1]->fs, "data/marks", i * MARKS_SLOT_SIZE + 38, 2), RIA_OK
        );
    }
    CU_ASSERT_TRUE_FATAL(fixture_start(nodes[1]));
    run_ms(1500);
    CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.marks_lost"), 1);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, RECORDS);
    end();
}

static void spoil_checkpoint(int32_t number, int copies)
{
    uint8_t *data = NULL;
    size_t size = 0;

    fixture_kill(nodes[number]);
    CU_ASSERT_EQUAL_FATAL(
        ria_fs_read_all(nodes[number]->fs, "data/checkpoint", BYTES_MAX, &data, &size), RIA_OK
    );
    free(data);
    for (int i = 0; i < copies; i++) {
        CU_ASSERT_EQUAL(
            ria_fs_sim_flip_bit(
                nodes[number]->fs, "data/checkpoint", (size_t)i * (size / 2) + 30, 3
            ),
            RIA_OK
        );
    }
    if (copies == 2) { /* after a power cut there may be no marks either */
        CU_ASSERT_EQUAL(ria_fs_unlink(nodes[number]->fs, "data/marks"), RIA_OK);
    }
}

/* It was taken for a missing one; with it went what tells damage from a tail. */
static void a_damaged_checkpoint_takes_no_damage_for_a_tail(void)
{
    for (int copies = 1; copies <= 2; copies++) {
        begin();
        spoil_checkpoint(1, copies);
        flip(1, RECORDS - 1, 66);
        CU_ASSERT_TRUE_FATAL(fixture_start(nodes[1]));
        run_ms(50);
        CU_ASSERT_TRUE(fixture_info(nodes[1]).damaged);
        CU_ASSERT_EQUAL(told[1], 2);
        CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.tail_cut"), 0);
        CU_ASSERT_EQUAL(prepare(1, RECORDS), RIA_OK);
        CU_ASSERT_EQUAL(append(1, RECORDS - 1, 1, RECORDS), RIA_OK);
        run_ms(300);
        CU_ASSERT_FALSE(fixture_info(nodes[1]).damaged);
        CU_ASSERT_EQUAL(told[1], 0);
        check_same_files();
        end();
    }
}

/* Where the log itself shows no damage, none is made up. */
static void a_damaged_checkpoint_alone_makes_nothing_unfit(void)
{
    begin();
    spoil_checkpoint(1, 2);
    CU_ASSERT_TRUE_FATAL(fixture_start(nodes[1]));
    run_ms(50);
    CU_ASSERT_FALSE(fixture_info(nodes[1]).damaged);
    CU_ASSERT_EQUAL(fixture_info(nodes[1]).end_offset, RECORDS);
    end();
}

static void a_removed_topic_ends_its_repair(void)
{
    begin();
    fixture_stop(nodes[2]);
    flip(1, 20, 66);
    restart(1);
    for (int i = 0; i < 4; i++) { /* a call is under way */
        fixture_run_ms(nodes[1], 2);
    }
    CU_ASSERT(fake_rpc_count(&nodes[1]->rpc, API_RANGE_FETCH) == 1);
    fixture_topic(nodes[1], 1, 1, 3, true, NULL);
    fixture_publish(nodes[1]);
    fixture_run_ms(nodes[1], 100);
    struct fake_rpc_call *call = fake_rpc_find(&nodes[1]->rpc, API_RANGE_FETCH);
    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    deliver_range_fetch(call);
    run_ms(100);
    CU_ASSERT_EQUAL(fixture_logged(nodes[1], "storage.replica_removed"), 1);
    end();
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
    HARNESS_TEST(a_lost_tail_comes_back_by_replication),
    HARNESS_TEST(a_lost_tail_ends_where_a_later_leader_does),
    HARNESS_TEST(a_forced_leader_gives_up_its_lost_tail),
    HARNESS_TEST(a_forced_leader_with_a_sync_under_way_leads_when_that_has_ended),
    HARNESS_TEST(a_forced_leader_whose_disk_fails_does_not_take_the_node_along),
    HARNESS_TEST(a_repaired_replica_leads_what_it_was_given),
    HARNESS_TEST(a_hole_in_what_was_never_committed_goes_with_the_leaders_history),
    HARNESS_TEST(the_scrub_finds_a_flipped_bit_and_it_is_repaired),
    HARNESS_TEST(a_flipped_epoch_in_the_last_batch_is_corrected_by_the_leader),
    HARNESS_TEST(an_idle_leader_tells_where_a_lost_tail_ends),
    HARNESS_TEST(a_lost_tail_that_the_leader_has_stays_lost),
    HARNESS_TEST(damage_of_a_moment_ago_is_no_tail_after_a_kill),
    HARNESS_TEST(damage_of_a_moment_ago_is_no_tail_if_the_marks_rot_too),
    HARNESS_TEST(marks_that_rot_alone_make_nothing_unfit),
    HARNESS_TEST(a_damaged_checkpoint_takes_no_damage_for_a_tail),
    HARNESS_TEST(a_damaged_checkpoint_alone_makes_nothing_unfit),
    HARNESS_TEST(a_removed_topic_ends_its_repair),
};
HARNESS_MAIN(tests);
