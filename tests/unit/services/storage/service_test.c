/* The life of a storage node: starts, registrations, replicas that come and go, bad requests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc.h"

#include "schemas/envelope.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/heartbeat_request.h"
#include "schemas/gen/produce_request.h"
#include "schemas/gen/produce_response.h"
#include "schemas/gen/report_replicas_request.h"

#include "services/storage/identity.h"
#include "services/storage/tails.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

static struct storage_fixture *setup_disk(void)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    return f;
}

static struct storage_fixture *setup(const char *replicas)
{
    struct storage_fixture *f = setup_disk();

    fixture_lead(f, replicas, NULL);
    return f;
}

static void teardown(struct storage_fixture *f)
{
    fixture_fini(f);
    free(f);
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

struct listing {
    char names[64][80];
    size_t count;
};

static bool on_name(void *arg, const char *name, bool is_dir)
{
    struct listing *listing = arg;

    (void)is_dir;
    (void)snprintf(listing->names[listing->count++], sizeof(listing->names[0]), "%s", name);
    return listing->count < 64;
}

/* Entries of the data folder whose name contains text. */
static size_t entries(struct storage_fixture *f, const char *text)
{
    struct listing listing = {.count = 0};
    size_t found = 0;

    if (ria_fs_list(f->fs, "data", on_name, &listing) != RIA_OK) {
        return 0;
    }
    for (size_t i = 0; i < listing.count; i++) {
        found += strstr(listing.names[i], text) != NULL ? 1 : 0;
    }
    return found;
}

static void write_file(struct storage_fixture *f, const char *path, const char *text)
{
    ria_err err = ria_fs_replace(f->fs, path, text, strlen(text));

    CU_ASSERT_EQUAL(err, RIA_OK);
}

/* The coordinator after a restart of the node: the next leader epoch. */
static void lead_again(struct storage_fixture *f, int32_t epoch, const char *replicas)
{
    fixture_topic(f, 1, 1, (int16_t)strlen(replicas), false, NULL);
    fixture_partition(f, 1, 0, 1, epoch, epoch, replicas, replicas);
    f->metadata_version++;
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 10);
}

/* ---- the folder ---- */

static void a_new_folder_gets_an_identity_and_keeps_it(void)
{
    struct storage_fixture *f = setup_disk();
    struct identity first;
    struct identity second;

    CU_ASSERT_TRUE(fixture_start(f));
    CU_ASSERT_EQUAL(storage_node_id(f->storage), 1);
    CU_ASSERT_EQUAL(identity_load(f->fs, "data", &first), RIA_OK);
    CU_ASSERT_EQUAL(first.node_id, 1);
    CU_ASSERT_TRUE(ria_uuid_equal(first.cluster_id, f->cluster_id));
    int64_t incarnation = f->incarnation;
    fixture_stop(f);
    CU_ASSERT_TRUE(fixture_start(f));
    CU_ASSERT_EQUAL(identity_load(f->fs, "data", &second), RIA_OK);
    CU_ASSERT_TRUE(ria_uuid_equal(first.node_uuid, second.node_uuid));
    CU_ASSERT_TRUE(f->incarnation > incarnation);
    teardown(f);
}

static void each_start_has_a_larger_incarnation(void)
{
    struct storage_fixture *f = setup_disk();
    int64_t last = 0;

    for (int i = 0; i < 20; i++) {
        CU_ASSERT_TRUE(fixture_start(f));
        CU_ASSERT_TRUE(f->incarnation > last);
        last = f->incarnation;
        fixture_stop(f);
        ria_fs_sim_crash(f->fs, true); /* as it was synced */
    }
    teardown(f);
}

static void a_folder_that_lost_count_of_its_starts_passes_what_the_coordinator_knows(void)
{
    struct storage_fixture *f = setup_disk();
    struct identity identity;

    CU_ASSERT_TRUE(fixture_start(f));
    fixture_stop(f);
    f->newest_incarnation = INT64_C(77) << IDENTITY_START_SHIFT; /* the folder is from a backup */
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 500);
    CU_ASSERT_EQUAL(storage_node_id(f->storage), 1);
    CU_ASSERT_FALSE(f->unregistered);
    CU_ASSERT_EQUAL(f->incarnation >> IDENTITY_START_SHIFT, 78);
    CU_ASSERT_EQUAL(identity_load(f->fs, "data", &identity), RIA_OK);
    CU_ASSERT_EQUAL(identity.starts, 78);
    teardown(f);
}

static void a_process_that_was_registered_does_not_pass_its_successor(void)
{
    struct storage_fixture *f = setup("1");
    int64_t incarnation = f->incarnation;

    f->newest_incarnation = incarnation + (INT64_C(1) << IDENTITY_START_SHIFT);
    f->unregistered = true;
    fixture_run_ms(f, 2000);
    CU_ASSERT_TRUE(f->register_count >= 2);
    CU_ASSERT_EQUAL(f->incarnation, incarnation);
    teardown(f);
}

static void a_start_that_cannot_be_counted_is_a_start(void)
{
    struct ria_fs_sim_faults full = {.capacity_bytes = 1};
    struct storage_fixture *f = setup_disk();

    CU_ASSERT_TRUE(fixture_start(f));
    fixture_stop(f);
    ria_fs_sim_set_faults(f->fs, &full);
    CU_ASSERT_TRUE(fixture_start(f));
    CU_ASSERT_EQUAL(storage_node_id(f->storage), 1);
    CU_ASSERT_EQUAL(f->register_count, 2);
    teardown(f);
}

static void a_folder_in_use_is_refused(void)
{
    struct storage_fixture *f = setup_disk();
    struct ria_file *lock = NULL;

    CU_ASSERT_EQUAL(ria_fs_mkdir(f->fs, "data"), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_lock(f->fs, "data/lock", &lock), RIA_OK);
    CU_ASSERT_FALSE(fixture_start(f));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->fatal, "in use by another process"));
    ria_fs_close(lock);
    CU_ASSERT_TRUE(fixture_start(f));
    teardown(f);
}

static void a_folder_of_a_newer_format_is_refused(void)
{
    struct storage_fixture *f = setup_disk();

    CU_ASSERT_EQUAL(ria_fs_mkdir(f->fs, "data"), RIA_OK);
    write_file(f, "data/node", "format = 4\nanything = else\n");
    CU_ASSERT_FALSE(fixture_start(f));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->fatal, "newer version"));
    teardown(f);
}

static void a_damaged_identity_is_refused_and_left_alone(void)
{
    struct storage_fixture *f = setup_disk();

    CU_ASSERT_TRUE(fixture_start(f));
    fixture_stop(f);
    CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(f->fs, "data/node", 20, 0), RIA_OK);
    CU_ASSERT_FALSE(fixture_start(f));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->fatal, "is damaged"));
    CU_ASSERT_TRUE(exists(f, "data/node"));
    teardown(f);
}

static void a_disk_that_cannot_be_written_is_refused(void)
{
    struct storage_fixture *f = setup_disk();
    struct ria_fs_sim_faults broken = {.fail_open_one_in = 1};
    struct ria_fs_sim_faults mended = {0};

    ria_fs_sim_set_faults(f->fs, &broken);
    CU_ASSERT_FALSE(fixture_start(f));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->fatal, "cannot use data folder"));
    ria_fs_sim_set_faults(f->fs, &mended);
    teardown(f);
}

static void the_identity_text_is_strict(void)
{
    struct identity identity = {
        .node_id = 7, .starts = 12, .revision = 3, .lost_data = true, .folder_count = 2};
    struct identity parsed;
    char text[IDENTITY_TEXT_MAX];

    identity.node_uuid.bytes[3] = 9;
    identity.folders[1].bytes[0] = 1;
    identity.folder_id = identity.folders[1];
    size_t size = identity_format(&identity, text);
    CU_ASSERT_EQUAL(identity_parse(ria_slice_of(text, size), &parsed), RIA_OK);
    CU_ASSERT_EQUAL(parsed.node_id, 7);
    CU_ASSERT_TRUE(ria_uuid_equal(parsed.node_uuid, identity.node_uuid));
    CU_ASSERT_EQUAL(parsed.starts, 12);
    CU_ASSERT_EQUAL(parsed.revision, 3);
    CU_ASSERT_TRUE(parsed.lost_data);
    CU_ASSERT_EQUAL(parsed.folder_count, 2);
    CU_ASSERT_TRUE(identity_has_folder(&parsed, &identity.folder_id));
    for (size_t i = 0; i < size; i++) {
        CU_ASSERT_NOT_EQUAL(identity_parse(ria_slice_of(text, i), &parsed), RIA_OK);
        text[i] ^= 1;
        CU_ASSERT_NOT_EQUAL(identity_parse(ria_slice_of(text, size), &parsed), RIA_OK);
        text[i] ^= 1;
    }
}

/* ---- registration ---- */

/* docs/formats/node.md */
static void the_first_format_of_the_identity_is_read(void)
{
    static const char text[] = "format = 1\n"
                               "node-uuid = 2b1f3c58-9a0e-4f5e-8d55-0c4a0f6a7c11\n"
                               "cluster-id = 7d0c9a52-4f7e-4c3b-9a1d-5a3a3f7b2e90\n"
                               "node-id = 3\n";
    char whole[IDENTITY_TEXT_MAX];
    struct identity parsed;

    int size =
        snprintf(whole, sizeof(whole), "%scrc = %08x\n", text, ria_crc32c(text, sizeof(text) - 1));
    CU_ASSERT_EQUAL(identity_parse(ria_slice_of(whole, (size_t)size), &parsed), RIA_OK);
    CU_ASSERT_EQUAL(parsed.node_id, 3);
    CU_ASSERT_EQUAL(parsed.folder_count, 0);
}

static void registration_waits_for_the_coordinator(void)
{
    struct storage_fixture *f = setup_disk();

    f->coordinator_away = true;
    CU_ASSERT_TRUE(fixture_start(f));
    for (int i = 0; i < 20; i++) {
        struct fake_rpc_call *call = fake_rpc_find(&f->rpc, API_REGISTER_NODE);
        if (call != NULL) {
            fake_rpc_fail(call, RIA_ERR_DISCONNECTED);
        }
        fixture_run_ms(f, 500);
    }
    CU_ASSERT_EQUAL(storage_node_id(f->storage), -1);
    CU_ASSERT_FALSE(storage_is_ready(f->storage));
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.waiting_for_coordinator"), 1);
    CU_ASSERT_EQUAL(fake_rpc_count(&f->rpc, API_METADATA), 0); /* not before it is registered */
    f->coordinator_away = false;
    fixture_run_ms(f, 3000);
    CU_ASSERT_EQUAL(storage_node_id(f->storage), 1);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.registered"), 1);
    teardown(f);
}

/* Else it would lead under the epoch of its last life, and may have lost what it wrote then. */
static void a_restarted_node_leads_nothing_before_it_is_registered(void)
{
    struct storage_fixture *f = setup("1");

    fixture_power_cut(f);
    f->register_err = RIA_ERR_BUSY;
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 3000);
    CU_ASSERT(f->register_count > 1);
    CU_ASSERT_NOT_EQUAL(fixture_error(fixture_produce_one(f)), RIA_OK);
    f->register_err = RIA_OK;
    fixture_run_ms(f, 3000);
    CU_ASSERT_EQUAL(fixture_error(fixture_produce_one(f)), RIA_OK);
    teardown(f);
}

static void another_clusters_folder_is_fatal(void)
{
    struct storage_fixture *f = setup_disk();

    f->register_err = RIA_ERR_WRONG_CLUSTER;
    CU_ASSERT_TRUE(fixture_start(f));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->fatal, "belongs to another cluster"));
    fixture_run_ms(f, 10000);
    CU_ASSERT_EQUAL(f->register_count, 1);
    teardown(f);
}

static void another_number_than_before_is_fatal(void)
{
    struct storage_fixture *f = setup_disk();

    CU_ASSERT_TRUE(fixture_start(f));
    fixture_stop(f);
    f->node_id = 2;
    CU_ASSERT_TRUE(fixture_start(f));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->fatal, "belongs to node 1"));
    CU_ASSERT_FALSE(storage_is_ready(f->storage));
    teardown(f);
}

static void a_coordinator_that_forgot_the_node_gets_the_same_incarnation(void)
{
    struct storage_fixture *f = setup("1");

    int64_t incarnation = f->incarnation;
    f->unregistered = true;
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(f->register_count, 2);
    CU_ASSERT_EQUAL(f->incarnation, incarnation);
    CU_ASSERT_EQUAL(fixture_error(fixture_produce_one(f)), RIA_OK);
    teardown(f);
}

static void the_data_plane_goes_on_without_a_coordinator(void)
{
    struct storage_fixture *f = setup("1");

    f->coordinator_away = true;
    fixture_run_ms(f, 60000);
    CU_ASSERT_EQUAL(fixture_error(fixture_produce_one(f)), RIA_OK);
    teardown(f);
}

/* ---- replicas ---- */

static void acknowledged_records_survive_kill_and_power_cut(void)
{
    struct storage_fixture *f = setup("1");

    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(fixture_error(fixture_produce_one(f)), RIA_OK);
    }
    fixture_kill(f);
    lead_again(f, 6, "1");
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 20);
    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 6});
    fixture_run_ms(f, 5);
    fixture_power_cut(f);
    lead_again(f, 7, "1");
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 21);
    CU_ASSERT_EQUAL(fixture_info(f).start_offset, 0);
    teardown(f);
}

static void the_high_watermark_is_kept_over_a_restart(void)
{
    struct storage_fixture *f = setup("12");

    for (int i = 0; i < 4; i++) {
        (void)fixture_produce_one(f);
    }
    (void)fixture_report(f, 2, 5, 3);
    fixture_run_ms(f, 3000); /* a checkpoint */
    fixture_power_cut(f);
    lead_again(f, 6, "12");
    fixture_run_ms(
        f, TAILS_WAIT_MS
    ); /* partition.meta went with the power: node 2 is asked first */
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 3);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 4);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 4), RIA_OK);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 4);
    fixture_stop(f);
    lead_again(f, 7, "12");
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 4);
    teardown(f);
}

static void only_a_deleted_topic_loses_its_folder(void)
{
    struct storage_fixture *f = setup("1");

    struct ria_rpc_request *waiting = fixture_produce(f, (struct produce_args){.leader_epoch = 5});
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    fixture_topic(f, 1, 1, 1, true, NULL);
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_error(waiting), RIA_ERR_UNKNOWN_OUTCOME);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(entries(f, ".deleted"), 1);
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    struct ria_rpc_request *late = fixture_produce(f, (struct produce_args){.leader_epoch = 5});
    CU_ASSERT_EQUAL(fixture_error(late), RIA_ERR_UNKNOWN_TOPIC);
    teardown(f);
}

static void a_removal_that_was_cut_short_goes_on(void)
{
    struct storage_fixture *f = setup("1");

    (void)fixture_produce_one(f);
    fixture_topic(f, 1, 1, 1, true, NULL);
    fixture_publish(f);
    fixture_run_ms(f, 3);
    CU_ASSERT_EQUAL(entries(f, ".deleted"), 1);
    fixture_kill(f);
    fixture_forget(f); /* the topic is not even mentioned */
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_publish(f);
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    teardown(f);
}

static void a_topic_deleted_while_the_node_was_down_is_removed(void)
{
    struct storage_fixture *f = setup("1");

    (void)fixture_produce_one(f);
    fixture_stop(f);
    fixture_topic(f, 1, 1, 1, true, NULL);
    f->metadata_version++;
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    teardown(f);
}

static void an_orphan_goes_when_its_topic_turns_out_to_be_deleted(void)
{
    struct storage_fixture *f = setup("1");

    (void)fixture_produce_one(f);
    fixture_stop(f);
    fixture_forget(f);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(entries(f, "000001-0"), 1);
    fixture_topic(f, 1, 1, 1, true, NULL);
    fixture_publish(f);
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    teardown(f);
}

static void a_folder_that_no_topic_claims_is_kept(void)
{
    struct storage_fixture *f = setup("1");

    (void)fixture_produce_one(f);
    fixture_stop(f);
    fixture_forget(f);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_topic(f, 2, 1, 1, false, NULL); /* nothing is said of topic 1 */
    fixture_partition(f, 2, 0, 1, 5, 1, "1", "1");
    fixture_publish(f);
    fixture_run_ms(f, 60000);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.orphan "), 1);
    CU_ASSERT_EQUAL(entries(f, "000001-0"), 1);
    CU_ASSERT_EQUAL(entries(f, ".deleted"), 0);
    /* And it is there when the topic comes back. */
    fixture_topic(f, 1, 1, 1, false, NULL);
    fixture_partition(f, 1, 0, 1, 6, 2, "1", "1");
    fixture_publish(f);
    fixture_run_ms(f, 10);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 1);
    teardown(f);
}

static void a_replica_assigned_elsewhere_is_kept_and_not_served(void)
{
    struct storage_fixture *f = setup("12");

    struct ria_rpc_request *waiting = fixture_produce_one(f);
    fixture_partition(f, 1, 0, 2, 6, 2, "23", "23");
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_error(waiting), RIA_ERR_UNKNOWN_OUTCOME);
    waiting = fixture_produce(f, (struct produce_args){.leader_epoch = 5});
    CU_ASSERT_EQUAL(fixture_error(waiting), RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(entries(f, "000001-0"), 1);
    teardown(f);
}

static void a_replica_that_cannot_be_opened_is_tried_again(void)
{
    struct storage_fixture *f = setup("1");
    struct ria_fs_sim_faults full = {.capacity_bytes = 1};
    struct ria_fs_sim_faults mended = {0};

    ria_fs_sim_set_faults(f->fs, &full);
    fixture_topic(f, 2, 1, 1, false, NULL);
    fixture_partition(f, 2, 0, 1, 5, 1, "1", "1");
    fixture_publish(f);
    fixture_run_ms(f, 20000);
    ria_fs_sim_set_faults(f->fs, &mended);
    fixture_run_ms(f, 10000);
    struct ria_rpc_request *request =
        fixture_produce(f, (struct produce_args){.leader_epoch = 5, .topic = 2});
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_error(request), RIA_OK);
    CU_ASSERT_TRUE(fixture_logged(f, "storage.open_failed") <= 1);
    teardown(f);
}

static void a_replica_whose_disk_failed_while_it_was_opened_waits_for_a_restart(void)
{
    struct storage_fixture *f = setup("1");
    struct ria_fs_sim_faults broken = {.fail_sync_one_in = 1};
    struct ria_fs_sim_faults mended = {0};
    struct storage_replica_info info;
    struct ria_uuid id = fixture_topic_id(2);

    ria_fs_sim_set_faults(f->fs, &broken);
    fixture_topic(f, 2, 1, 1, false, NULL);
    fixture_partition(f, 2, 0, 1, 5, 1, "1", "1");
    fixture_publish(f);
    fixture_run_ms(f, 100);
    ria_fs_sim_set_faults(f->fs, &mended);
    fixture_run_ms(f, 20000);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.open_failed"), 1);
    CU_ASSERT_TRUE(storage_describe_replica(f->storage, &id, 0, &info));
    CU_ASSERT_FALSE(info.open);
    fixture_stop(f);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 100);
    CU_ASSERT_TRUE(storage_describe_replica(f->storage, &id, 0, &info));
    CU_ASSERT_TRUE(info.open);
    teardown(f);
}

/* What the coordinator hears of the node's replicas: the only one that it has something to say of.
 */
static void a_replica_that_cannot_be_opened_is_reported_as_failed(void)
{
    struct storage_fixture *f = setup("1");
    struct ria_fs_sim_faults broken = {.fail_sync_one_in = 1};
    struct report_replicas_request request;

    ria_fs_sim_set_faults(f->fs, &broken);
    fixture_topic(f, 2, 1, 2, false, NULL);
    fixture_partition(f, 2, 0, 3, 5, 1, "31", "31");
    fixture_publish(f);
    fixture_run_ms(f, 100);
    const struct fake_rpc_call *call = fake_rpc_find(&f->rpc, API_REPORT_REPLICAS);
    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    fake_rpc_decode(call, &f->arena, &request);
    CU_ASSERT_EQUAL_FATAL(request.replicas_count, 1);
    CU_ASSERT(ria_uuid_equal(request.replicas[0].topic_id, fixture_topic_id(2)));
    CU_ASSERT_EQUAL(request.replicas[0].state, 1); /* failed */
    teardown(f);
}

static void settings_change_while_it_runs(void)
{
    struct storage_fixture *f = setup("1");

    fixture_topic(f, 1, 1, 1, false, "max.message.bytes=1024");
    fixture_publish(f);
    struct ria_rpc_request *request =
        fixture_produce(f, (struct produce_args){.leader_epoch = 5, .value_size = 2000});
    CU_ASSERT_EQUAL(fixture_error(request), RIA_ERR_TOO_LARGE);
    teardown(f);
}

/* ---- stop ---- */

static void a_clean_stop_lets_waiting_produces_commit(void)
{
    struct storage_fixture *f = setup("12");
    bool done = false;

    struct ria_rpc_request *waiting = fixture_produce_one(f);
    storage_stop(f->storage, &done);
    fixture_run_ms(f, 100);
    struct ria_rpc_request *late = fixture_produce(f, (struct produce_args){.leader_epoch = 5});
    CU_ASSERT_EQUAL(fixture_error(late), RIA_ERR_NOT_LEADER);
    CU_ASSERT_FALSE(waiting->done);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 1), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(waiting), RIA_OK);
    fixture_run_ms(f, 100);
    CU_ASSERT_TRUE(done);
    fixture_stop(f);
    teardown(f);
}

static void a_clean_stop_answers_everything_that_waits(void)
{
    struct storage_fixture *f = setup("12");
    struct fetch_request body = {
        .topic_id = fixture_topic_id(1), .leader_epoch = -1, .max_bytes = 100, .wait_ms = 30000};

    struct ria_rpc_request *waiting = fixture_produce_one(f);
    struct ria_rpc_request *parked = fixture_send(f, API_FETCH, &body, RIA_SLICE_NULL);
    CU_ASSERT_FALSE(parked->done);
    fixture_stop(f);
    CU_ASSERT_EQUAL(fixture_error(waiting), RIA_ERR_UNKNOWN_OUTCOME);
    CU_ASSERT_TRUE(parked->done);
    teardown(f);
}

/* ---- garbage ---- */

static void frames_that_are_no_request_are_dropped(void)
{
    struct storage_fixture *f = setup("1");

    for (size_t size = 0; size < 200; size++) {
        struct ria_msg *msg = ria_msg_new(size);
        CU_ASSERT_PTR_NOT_NULL_FATAL(msg);
        ria_rand_bytes(&f->rand, ria_msg_data(msg), size);
        const struct ria_rpc_request *sent = fake_rpc_send(&f->rpc, msg);
        CU_ASSERT_TRUE(sent->done);
    }
    CU_ASSERT_EQUAL(fixture_error(fixture_produce_one(f)), RIA_OK);
    teardown(f);
}

static void requests_cut_short_or_changed_never_crash(void)
{
    struct storage_fixture *f = setup("1");
    struct ria_slice batch = fixture_batches(0, 1, 0);
    struct produce_request body = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 5, .producer_last_offset = -2};
    uint8_t *room = NULL;
    struct ria_msg *whole = envelope_request(API_PRODUCE, 0, -1, 1000, &body, batch.size, &room);

    CU_ASSERT_PTR_NOT_NULL_FATAL(whole);
    memcpy(room, batch.data, batch.size);
    for (size_t size = 0; size < ria_msg_size(whole); size++) {
        struct ria_msg *cut = ria_msg_copy(whole);
        CU_ASSERT_PTR_NOT_NULL_FATAL(cut);
        ria_msg_truncate(cut, size);
        const struct ria_rpc_request *sent = fake_rpc_send(&f->rpc, cut);
        CU_ASSERT_TRUE(sent->done);
        CU_ASSERT_NOT_EQUAL(fixture_error(sent), RIA_OK);
    }
    for (size_t at = 0; at < ria_msg_size(whole); at++) {
        struct ria_msg *changed = ria_msg_copy(whole);
        CU_ASSERT_PTR_NOT_NULL_FATAL(changed);
        ria_msg_data(changed)[at] ^= 0xff;
        (void)fake_rpc_send(&f->rpc, changed);
        fixture_run_ms(f, 3);
    }
    ria_msg_free(whole);
    free((void *)(uintptr_t)batch.data);
    fixture_run_ms(f, 60000);
    storage_check(f->storage);
    teardown(f);
}

static void a_request_that_is_not_storages_is_told_so(void)
{
    struct storage_fixture *f = setup("1");
    struct heartbeat_request body;

    heartbeat_request_init(&body);
    const struct ria_rpc_request *sent = fixture_send(f, API_HEARTBEAT, &body, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_UNKNOWN_TYPE);

    struct ria_msg *msg = envelope_request(API_HEARTBEAT, 0, -1, 1000, &body, 0, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(msg);
    ria_msg_data(msg)[1] = API_PRODUCE;
    ria_msg_data(msg)[3] = 9;
    sent = fake_rpc_send(&f->rpc, msg);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_UNKNOWN_VERSION);
    teardown(f);
}

static void an_idle_node_sets_no_timer_but_the_heartbeats(void)
{
    struct storage_fixture *f = setup("12");
    unsigned fired = 0;

    (void)fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    fixture_run_ms(f, 5000);
    int64_t end_us = f->now_us + 10000000;
    while (ria_timers_next_us(&f->timers) <= end_us) { /* as fixture_run_ms, but counted */
        fixture_run_ms(f, (ria_timers_next_us(&f->timers) - f->now_us + 999) / 1000);
        fired++;
    }
    /* A heartbeat every 50 ms, since nobody holds them back here, and their session's timer. */
    CU_ASSERT_TRUE(fired <= 205);
    teardown(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_new_folder_gets_an_identity_and_keeps_it),
    HARNESS_TEST(a_folder_in_use_is_refused),
    HARNESS_TEST(a_folder_of_a_newer_format_is_refused),
    HARNESS_TEST(a_damaged_identity_is_refused_and_left_alone),
    HARNESS_TEST(a_disk_that_cannot_be_written_is_refused),
    HARNESS_TEST(the_identity_text_is_strict),
    HARNESS_TEST(the_first_format_of_the_identity_is_read),
    HARNESS_TEST(registration_waits_for_the_coordinator),
    HARNESS_TEST(a_restarted_node_leads_nothing_before_it_is_registered),
    HARNESS_TEST(another_clusters_folder_is_fatal),
    HARNESS_TEST(another_number_than_before_is_fatal),
    HARNESS_TEST(each_start_has_a_larger_incarnation),
    HARNESS_TEST(a_folder_that_lost_count_of_its_starts_passes_what_the_coordinator_knows),
    HARNESS_TEST(a_process_that_was_registered_does_not_pass_its_successor),
    HARNESS_TEST(a_start_that_cannot_be_counted_is_a_start),
    HARNESS_TEST(a_coordinator_that_forgot_the_node_gets_the_same_incarnation),
    HARNESS_TEST(the_data_plane_goes_on_without_a_coordinator),
    HARNESS_TEST(acknowledged_records_survive_kill_and_power_cut),
    HARNESS_TEST(the_high_watermark_is_kept_over_a_restart),
    HARNESS_TEST(only_a_deleted_topic_loses_its_folder),
    HARNESS_TEST(a_removal_that_was_cut_short_goes_on),
    HARNESS_TEST(a_topic_deleted_while_the_node_was_down_is_removed),
    HARNESS_TEST(an_orphan_goes_when_its_topic_turns_out_to_be_deleted),
    HARNESS_TEST(a_folder_that_no_topic_claims_is_kept),
    HARNESS_TEST(a_replica_assigned_elsewhere_is_kept_and_not_served),
    HARNESS_TEST(a_replica_that_cannot_be_opened_is_tried_again),
    HARNESS_TEST(a_replica_whose_disk_failed_while_it_was_opened_waits_for_a_restart),
    HARNESS_TEST(a_replica_that_cannot_be_opened_is_reported_as_failed),
    HARNESS_TEST(settings_change_while_it_runs),
    HARNESS_TEST(a_clean_stop_lets_waiting_produces_commit),
    HARNESS_TEST(a_clean_stop_answers_everything_that_waits),
    HARNESS_TEST(frames_that_are_no_request_are_dropped),
    HARNESS_TEST(requests_cut_short_or_changed_never_crash),
    HARNESS_TEST(a_request_that_is_not_storages_is_told_so),
    HARNESS_TEST(an_idle_node_sets_no_timer_but_the_heartbeats),
};
HARNESS_MAIN(tests);
