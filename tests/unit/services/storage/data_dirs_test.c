/* Several data folders: whose they are, where replicas go, and what happens when one is missing. */
#include "services/storage/data_dirs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/range_fetch_response.h"
#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"
#include "schemas/gen/report_replicas_request.h"
#include "schemas/gen/report_replicas_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

enum { PARTITIONS = 4 };

static struct storage_fixture *setup_disk(const char *data_dir)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    f->data_dir = data_dir;
    return f;
}

static void teardown(struct storage_fixture *f)
{
    fixture_fini(f);
    free(f);
}

/* Topic 1: partitions led by this node under the epoch, replicas as digits. */
static void publish(struct storage_fixture *f, int32_t epoch, const char *replicas, int32_t leader)
{
    fixture_topic(f, 1, PARTITIONS, (int16_t)strlen(replicas), false, NULL);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        fixture_partition(f, 1, i, leader, epoch, epoch, replicas, replicas);
    }
    f->metadata_version++;
}

static void start(struct storage_fixture *f)
{
    CU_ASSERT_TRUE_FATAL(fixture_start(f));
    fixture_run_ms(f, 20);
}

/* A node with the folders a and b, and a record in each partition of topic 1. */
static struct storage_fixture *setup(void)
{
    struct storage_fixture *f = setup_disk("a,b");

    publish(f, 5, "1", 1);
    start(f);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        struct ria_rpc_request *request =
            fixture_produce(f, (struct produce_args){.leader_epoch = 5, .partition = i});
        fixture_run_ms(f, 5);
        CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    }
    return f;
}

/* Leaders refuse records at the reserve: no replica is to be moved there that would fill it. */
static void a_node_says_when_it_has_no_room_for_another_replica(void)
{
    struct storage_fixture *f = setup_disk("a,b");
    struct ria_fs_sim_faults faults = {.sync_delay_us_min = 1000, .sync_delay_us_max = 1000};
    uint64_t free_bytes = 0;
    uint64_t total = 0;

    f->disk_reserve = 100000;
    start(f);
    fixture_run_ms(f, 1000);
    CU_ASSERT_FALSE(f->told_full);
    CU_ASSERT_EQUAL(ria_fs_free_bytes(f->fs, "a", &free_bytes), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_total_bytes(f->fs, "a", &total), RIA_OK);
    faults.capacity_bytes = total - free_bytes + 150000;
    ria_fs_sim_set_faults(f->fs, &faults);
    fixture_run_ms(f, 1000);
    CU_ASSERT_TRUE(f->told_full);
    faults.capacity_bytes = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    fixture_run_ms(f, 1000);
    CU_ASSERT_FALSE(f->told_full);
    teardown(f);
}

static bool exists(struct storage_fixture *f, const char *path)
{
    struct ria_file *file = NULL;

    if (ria_fs_open(f->fs, path, RIA_FS_READ, &file) != RIA_OK) {
        return false;
    }
    ria_fs_close(file);
    return true;
}

static bool is_in(struct storage_fixture *f, const char *dir, uint8_t topic, int32_t partition)
{
    char path[200];

    (void)snprintf(
        path,
        sizeof(path),
        "%s/aa000000-0000-0000-0000-0000000000%02x-%d/partition.meta",
        dir,
        topic,
        partition
    );
    return exists(f, path);
}

static int count_in(struct storage_fixture *f, const char *dir, uint8_t topic)
{
    int count = 0;

    for (int32_t i = 0; i < PARTITIONS; i++) {
        count += is_in(f, dir, topic, i) ? 1 : 0;
    }
    return count;
}

static struct storage_replica_info info_of(struct storage_fixture *f, int32_t partition)
{
    struct storage_replica_info info = {.open = false};
    struct ria_uuid id = fixture_topic_id(1);

    CU_ASSERT_TRUE(storage_describe_replica(f->storage, &id, partition, &info));
    return info;
}

static void move(struct storage_fixture *f, const char *from, const char *to)
{
    CU_ASSERT_EQUAL(ria_fs_rename(f->fs, from, to), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_sync_dir(f->fs, "."), RIA_OK);
}

/* ---- whose they are ---- */

static void two_folders_are_one_node(void)
{
    struct storage_fixture *f = setup();
    struct identity a;
    struct identity b;

    CU_ASSERT_EQUAL(identity_load(f->fs, "a", &a), RIA_OK);
    CU_ASSERT_EQUAL(identity_load(f->fs, "b", &b), RIA_OK);
    CU_ASSERT_TRUE(ria_uuid_equal(a.node_uuid, b.node_uuid));
    CU_ASSERT_EQUAL(a.node_id, 1);
    CU_ASSERT_EQUAL(b.node_id, 1);
    CU_ASSERT_FALSE(ria_uuid_equal(a.folder_id, b.folder_id));
    CU_ASSERT_TRUE(identity_has_folder(&a, &b.folder_id));
    CU_ASSERT_EQUAL(count_in(f, "a", 1), 2); /* as many in each */
    CU_ASSERT_EQUAL(count_in(f, "b", 1), 2);
    teardown(f);
}

static void replicas_are_found_where_they_are(void)
{
    struct storage_fixture *f = setup();

    fixture_stop(f);
    f->data_dir = "b,a"; /* the order does not matter */
    publish(f, 6, "1", 1);
    start(f);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        CU_ASSERT_EQUAL(info_of(f, i).high_watermark, 1);
    }
    CU_ASSERT_EQUAL(count_in(f, "a", 1), 2);
    CU_ASSERT_EQUAL(count_in(f, "b", 1), 2);
    teardown(f);
}

static void folders_of_two_nodes_are_refused(void)
{
    struct storage_fixture *f = setup_disk("a");

    start(f);
    fixture_stop(f);
    f->data_dir = "b";
    start(f);
    fixture_stop(f);
    f->data_dir = "a,b";
    CU_ASSERT_FALSE(fixture_start(f));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->fatal, "belong to different nodes"));
    teardown(f);
}

static void a_folder_can_be_added_to_a_node(void)
{
    struct storage_fixture *f = setup_disk("a");
    struct identity a;

    publish(f, 5, "1", 1);
    start(f);
    fixture_stop(f);
    f->data_dir = "a,b";
    publish(f, 6, "1", 1);
    fixture_topic(f, 2, 2, 1, false, NULL);
    fixture_partition(f, 2, 0, 1, 5, 1, "1", "1");
    fixture_partition(f, 2, 1, 1, 5, 1, "1", "1");
    start(f);
    CU_ASSERT_EQUAL(count_in(f, "a", 1), PARTITIONS);
    CU_ASSERT_EQUAL(count_in(f, "b", 2), 2); /* the one with fewer replicas */
    CU_ASSERT_EQUAL(identity_load(f->fs, "a", &a), RIA_OK);
    CU_ASSERT_EQUAL(a.folder_count, 2);
    CU_ASSERT_FALSE(a.lost_data);
    teardown(f);
}

static void naming_fewer_folders_than_there_are_is_refused(void)
{
    struct storage_fixture *f = setup();

    fixture_stop(f);
    f->data_dir = "a";
    CU_ASSERT_FALSE(fixture_start(f));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->fatal, "this node has 2 data folders"));
    f->data_dir = "a,a";
    CU_ASSERT_FALSE(fixture_start(f));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->fatal, "twice"));
    f->data_dir = "a,";
    CU_ASSERT_FALSE(fixture_start(f));
    teardown(f);
}

/* ---- a folder is missing ---- */

static void what_was_in_a_missing_folder_is_unfit_and_not_made_anew(void)
{
    struct storage_fixture *f = setup();
    int lost = 0;

    fixture_stop(f);
    move(f, "b", "away"); /* the disk is not mounted */
    CU_ASSERT_EQUAL(ria_fs_mkdir(f->fs, "b"), RIA_OK);
    publish(f, 6, "1", 1);
    start(f);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.data_dir_failed dir=b why=missing"), 1);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.replica_lost"), 2);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        struct ria_rpc_request *request =
            fixture_produce(f, (struct produce_args){.leader_epoch = 6, .partition = i});
        fixture_run_ms(f, 5);
        bool is_here = is_in(f, "a", 1, i);
        CU_ASSERT_EQUAL(info_of(f, i).open, is_here);
        CU_ASSERT_EQUAL(fixture_error(request), is_here ? RIA_OK : RIA_ERR_NO_LEADER);
        lost += is_here ? 0 : 1;
    }
    CU_ASSERT_EQUAL(lost, 2);
    fixture_run_ms(f, 60000);
    CU_ASSERT_EQUAL(count_in(f, "a", 1), 2);
    CU_ASSERT_FALSE(exists(f, "b/node")); /* nothing is written to an empty mount point */
    CU_ASSERT_FALSE(exists(f, "b/lock"));

    fixture_stop(f); /* and it comes back */
    CU_ASSERT_EQUAL(ria_fs_rmdir(f->fs, "b"), RIA_OK);
    move(f, "away", "b");
    publish(f, 7, "1", 1);
    start(f);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        CU_ASSERT_TRUE(info_of(f, i).open);
        CU_ASSERT_TRUE(info_of(f, i).end_offset >= 1);
    }
    teardown(f);
}

static void new_replicas_go_to_the_folders_that_are_there(void)
{
    struct storage_fixture *f = setup();

    fixture_stop(f);
    move(f, "b", "away");
    publish(f, 6, "1", 1);
    start(f);
    fixture_topic(f, 2, 2, 1, false, NULL);
    fixture_partition(f, 2, 0, 1, 5, 1, "1", "1");
    fixture_partition(f, 2, 1, 1, 5, 1, "1", "1");
    fixture_publish(f);
    fixture_run_ms(f, 20);
    CU_ASSERT_EQUAL(count_in(f, "a", 2), 2);
    teardown(f);
}

/* The states of a pending ReportReplicas, by partition; -1 = not in it. It is acknowledged. */
static void take_report(struct storage_fixture *f, int8_t out_states[PARTITIONS])
{
    struct report_replicas_request request;
    struct report_replicas_response response;
    struct fake_rpc_call *call = NULL;

    memset(out_states, -1, PARTITIONS);
    while ((call = fake_rpc_find(&f->rpc, API_REPORT_REPLICAS)) != NULL) {
        ria_arena_reset(&f->arena);
        fake_rpc_decode(call, &f->arena, &request);
        for (uint32_t i = 0; i < request.replicas_count; i++) {
            out_states[request.replicas[i].partition] = request.replicas[i].state;
        }
        report_replicas_response_init(&response);
        fake_rpc_answer(call, &response);
        fixture_run_ms(f, 5);
    }
}

/* A node that follows node 2 in all partitions, with one record of each committed, whose folder b
 * is gone and given up. *out_lost is a partition that was in it. */
static struct storage_fixture *setup_given_up(int32_t *out_lost)
{
    struct storage_fixture *f = setup();

    fixture_stop(f);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        *out_lost = is_in(f, "b", 1, i) ? i : *out_lost;
    }
    move(f, "b", "away");
    publish(f, 6, "12", 2);
    f->forget_missing_dirs = true;
    start(f);
    f->forget_missing_dirs = false;
    return f;
}

/* The coordinator's answer to "failed": out of the set, and unfit. */
static void put_out(struct storage_fixture *f, int32_t partition, int32_t partition_epoch)
{
    fixture_partition(f, 1, partition, 2, 6, partition_epoch, "12", "2");
    fixture_unfit(f, 1, partition, "1");
    fixture_publish(f);
    fixture_run_ms(f, 20);
}

static void what_was_given_up_is_made_anew_when_nobody_counts_on_it(void)
{
    int32_t lost = -1;
    struct storage_fixture *f = setup_given_up(&lost);
    int8_t states[PARTITIONS];

    take_report(f, states);
    CU_ASSERT_EQUAL(states[lost], 1); /* failed */
    CU_ASSERT_FALSE(info_of(f, lost).open);
    fixture_run_ms(f, 30000);
    CU_ASSERT_FALSE(info_of(f, lost).open); /* it is still in the in-sync set */
    put_out(f, lost, 7);
    CU_ASSERT_TRUE(info_of(f, lost).open);
    CU_ASSERT_TRUE(info_of(f, lost).damaged); /* not whole: it does not lead */
    CU_ASSERT_EQUAL(info_of(f, lost).end_offset, 0);
    take_report(f, states);
    CU_ASSERT_EQUAL(states[lost], 2);
    teardown(f);
}

static void eligible_leaders_are_not_made_anew(void)
{
    int32_t lost = -1;
    struct storage_fixture *f = setup_given_up(&lost);

    fixture_partition(f, 1, lost, 2, 6, 7, "12", "2");
    fixture_publish(f); /* out of the set, but not because of the report */
    fixture_run_ms(f, 10000);
    CU_ASSERT_FALSE(info_of(f, lost).open);
    teardown(f);
}

/* Nobody knows how much was lost, so the leader is asked where its log ends. */
static void tell_end(struct storage_fixture *f)
{
    struct range_fetch_response response;
    struct range_fetch_response_range_epoch epoch = {.epoch = 6, .start_offset = 0};
    struct fake_rpc_call *call = fake_rpc_find(&f->rpc, API_RANGE_FETCH);

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    range_fetch_response_init(&response);
    response.high_watermark = 3;
    response.leader_epoch = 6;
    response.end_offset = 3;
    response.epochs = &epoch;
    response.epochs_count = 1;
    fake_rpc_answer(call, &response);
    fixture_run_ms(f, 200);
}

/* As the replication worker does: compare with a leader's log [0, 3) of epoch 6, then fill. */
static void replicate(struct storage_fixture *f, int32_t partition)
{
    struct replica_prepare_request_prepare_epoch_entry epoch = {.epoch = 6, .start_offset = 0};
    struct replica_prepare_request_replica_prepare_partition to_prepare = {
        .topic_id = fixture_topic_id(1),
        .partition = partition,
        .leader_epoch = 6,
        .end_offset = 3,
        .epochs = &epoch,
        .epochs_count = 1,
    };
    struct replica_prepare_request prepare = {.partitions = &to_prepare, .partitions_count = 1};
    struct ria_slice batches = fixture_batches(0, 3, 6);
    struct replica_append_request_replica_append_partition to_append = {
        .topic_id = fixture_topic_id(1),
        .partition = partition,
        .leader_epoch = 6,
        .high_watermark = 3,
        .size = (int32_t)batches.size,
    };
    struct replica_append_request append = {.partitions = &to_append, .partitions_count = 1};
    struct replica_prepare_response prepared;
    struct replica_append_response appended;

    const struct ria_rpc_request *sent =
        fixture_send(f, API_REPLICA_PREPARE, &prepare, RIA_SLICE_NULL);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_PREPARE, sent, &prepared), RIA_OK);
    CU_ASSERT_EQUAL(prepared.partitions[0].error_code, RIA_OK);
    sent = fixture_send(f, API_REPLICA_APPEND, &append, batches);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_APPEND, sent, &appended), RIA_OK);
    CU_ASSERT_EQUAL(appended.partitions[0].error_code, RIA_OK);
    free((void *)(uintptr_t)batches.data);
    tell_end(f);
}

static void a_replica_made_anew_is_fit_when_it_has_caught_up_whatever_happens_meanwhile(void)
{
    int32_t lost = -1;
    struct storage_fixture *f = setup_given_up(&lost);
    int8_t states[PARTITIONS];

    take_report(f, states);
    put_out(f, lost, 7);
    fixture_power_cut(f); /* right after it was made */
    f->metadata_version++;
    start(f);
    CU_ASSERT_TRUE(info_of(f, lost).open);
    CU_ASSERT_TRUE(info_of(f, lost).damaged);
    take_report(f, states);
    CU_ASSERT_EQUAL(states[lost], 2);
    fixture_node(f, 2, 0);
    fixture_publish(f);
    fixture_run_ms(f, 10);
    replicate(f, lost);
    CU_ASSERT_EQUAL(info_of(f, lost).end_offset, 3);
    CU_ASSERT_FALSE(info_of(f, lost).damaged);
    take_report(f, states);
    CU_ASSERT_EQUAL(states[lost], 0);
    teardown(f);
}

static void a_folder_that_was_given_up_is_refused_when_it_comes_back(void)
{
    int32_t lost = -1;
    struct storage_fixture *f = setup_given_up(&lost);

    fixture_stop(f);
    f->data_dir = "a,b,away"; /* b is new: it was adopted in its place */
    CU_ASSERT_FALSE(fixture_start(f));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->fatal, "was given up by this node"));
    teardown(f);
}

static void a_crash_does_not_make_the_node_forget_what_it_lost(void)
{
    int32_t lost = -1;
    struct storage_fixture *f = setup_given_up(&lost);
    struct identity identity;

    fixture_power_cut(f);
    f->metadata_version++;
    start(f);
    fixture_run_ms(f, 10000);
    CU_ASSERT_FALSE(info_of(f, lost).open);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        if (!info_of(f, i).open) {
            put_out(f, i, 7);
            CU_ASSERT_TRUE(info_of(f, i).open);
        }
    }
    CU_ASSERT_EQUAL(identity_load(f->fs, "a", &identity), RIA_OK);
    CU_ASSERT_FALSE(identity.lost_data); /* all has been made anew */
    teardown(f);
}

/* ---- a replica whose folder is gone, on a disk that is there ---- */

static void a_replica_that_the_checkpoint_knows_is_not_taken_for_a_new_one(void)
{
    struct storage_fixture *f = setup();
    int32_t victim = is_in(f, "b", 1, 0) ? 0 : 1;
    char path[100];

    fixture_run_ms(f, 3000); /* the checkpoint is written */
    fixture_stop(f);
    (void)snprintf(path, sizeof(path), "b/aa000000-0000-0000-0000-000000000001-%d", victim);
    move(f, path, "elsewhere");
    publish(f, 6, "12", 2);
    start(f);
    CU_ASSERT_TRUE(info_of(f, victim).damaged);
    CU_ASSERT_TRUE(is_in(f, "b", 1, victim));
    teardown(f);
}

/* ---- a disk that fails ---- */

static void a_disk_that_failed_a_log_gets_no_new_replicas(void)
{
    struct storage_fixture *f = setup();
    struct ria_fs_sim_faults broken = {.fail_sync_one_in = 1};
    struct ria_fs_sim_faults mended = {0};
    int32_t victim = is_in(f, "a", 1, 0) ? 0 : 1;

    ria_fs_sim_set_faults(f->fs, &broken);
    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 5, .partition = victim});
    fixture_run_ms(f, 5);
    ria_fs_sim_set_faults(f->fs, &mended);
    CU_ASSERT_TRUE(info_of(f, victim).failed);
    fixture_topic(f, 2, 4, 1, false, NULL);
    for (int32_t i = 0; i < 4; i++) {
        fixture_partition(f, 2, i, 1, 5, 1, "1", "1");
    }
    fixture_publish(f);
    fixture_run_ms(f, 20);
    CU_ASSERT_EQUAL(count_in(f, "a", 2), 0);
    CU_ASSERT_EQUAL(count_in(f, "b", 2), 4);
    for (int32_t i = 0; i < PARTITIONS; i++) { /* the others go on, on either disk */
        if (i != victim) {
            struct ria_rpc_request *request =
                fixture_produce(f, (struct produce_args){.leader_epoch = 5, .partition = i});
            fixture_run_ms(f, 5);
            CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
        }
    }
    teardown(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_node_says_when_it_has_no_room_for_another_replica),
    HARNESS_TEST(two_folders_are_one_node),
    HARNESS_TEST(replicas_are_found_where_they_are),
    HARNESS_TEST(folders_of_two_nodes_are_refused),
    HARNESS_TEST(a_folder_can_be_added_to_a_node),
    HARNESS_TEST(naming_fewer_folders_than_there_are_is_refused),
    HARNESS_TEST(what_was_in_a_missing_folder_is_unfit_and_not_made_anew),
    HARNESS_TEST(new_replicas_go_to_the_folders_that_are_there),
    HARNESS_TEST(what_was_given_up_is_made_anew_when_nobody_counts_on_it),
    HARNESS_TEST(eligible_leaders_are_not_made_anew),
    HARNESS_TEST(a_replica_made_anew_is_fit_when_it_has_caught_up_whatever_happens_meanwhile),
    HARNESS_TEST(a_folder_that_was_given_up_is_refused_when_it_comes_back),
    HARNESS_TEST(a_crash_does_not_make_the_node_forget_what_it_lost),
    HARNESS_TEST(a_replica_that_the_checkpoint_knows_is_not_taken_for_a_new_one),
    HARNESS_TEST(a_disk_that_failed_a_log_gets_no_new_replicas),
};
HARNESS_MAIN(tests);
