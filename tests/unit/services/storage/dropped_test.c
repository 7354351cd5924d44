/* When the data of a former replica goes, and when it stays (docs/design/008-failover.md). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/alter_isr_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

enum { GONE_MS = 2000 };

static struct storage_fixture *setup_disk(void)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    return f;
}

/* Node 1 leads a partition of three, under epoch 5, partition epoch 1, with a record in it. */
static struct storage_fixture *setup(void)
{
    struct storage_fixture *f = setup_disk();

    fixture_lead(f, "123", NULL);
    (void)fixture_produce_one(f);
    return f;
}

static void teardown(struct storage_fixture *f)
{
    fixture_fini(f);
    free(f);
}

struct listing {
    const char *text;
    size_t found;
};

static bool on_name(void *arg, const char *name, bool is_dir)
{
    struct listing *listing = arg;

    (void)is_dir;
    listing->found += strstr(name, listing->text) != NULL ? 1 : 0;
    return true;
}

static size_t entries(struct storage_fixture *f, const char *text)
{
    struct listing listing = {.text = text};

    CU_ASSERT_EQUAL(ria_fs_list(f->fs, "data", on_name, &listing), RIA_OK);
    return listing.found;
}

/* The partition is on nodes 2, 3 and 4 now. */
static void move_away(struct storage_fixture *f, int32_t partition_epoch, const char *dropped)
{
    fixture_partition(f, 1, 0, 2, 6, partition_epoch, "234", "234");
    fixture_dropped(f, 1, 0, dropped);
}

static void a_dropped_replica_deletes_its_data(void)
{
    struct storage_fixture *f = setup();

    struct ria_rpc_request *waiting = fixture_produce(f, (struct produce_args){.leader_epoch = 5});
    move_away(f, 2, "1");
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_error(waiting), RIA_ERR_UNKNOWN_OUTCOME);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.replica_removed"), 1);
    CU_ASSERT_EQUAL(fixture_logged(f, "why=dropped epoch=2"), 1);
    struct ria_rpc_request *late = fixture_produce(f, (struct produce_args){.leader_epoch = 5});
    CU_ASSERT_EQUAL(fixture_error(late), RIA_ERR_NOT_LEADER); /* the topic exists */
    teardown(f);
}

static void not_a_replica_and_not_dropped_keeps_its_data(void)
{
    struct storage_fixture *f = setup();

    move_away(f, 2, "");
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    fixture_kill(f);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    CU_ASSERT_EQUAL(entries(f, ".deleted"), 0);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.orphan "), 1);
    teardown(f);
}

static void dropped_with_others_keeps_its_data(void)
{
    struct storage_fixture *f = setup();

    move_away(f, 2, "567");
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    teardown(f);
}

/* Dropped once, a replica again: whatever is still in the list means nothing. */
static void a_replica_that_is_also_in_dropped_keeps_its_data(void)
{
    struct storage_fixture *f = setup();

    fixture_partition(f, 1, 0, 1, 6, 2, "123", "123");
    fixture_dropped(f, 1, 0, "1");
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    teardown(f);
}

/* The leader knows partition epoch 8 from the answer to its own proposal. A word from before that
 * must not take its data, whatever it says. */
static void an_older_word_than_what_the_leader_knows_deletes_nothing(void)
{
    struct storage_fixture *f = setup_disk();
    struct alter_isr_response agreed = {.partition_epoch = 8};

    fixture_lead(f, "12", "replica.lag.time.max.ms=1000");
    (void)fixture_produce_one(f);
    fixture_run_ms(f, 2500); /* node 2 lags: the leader proposes a set without it */
    struct fake_rpc_call *call = fake_rpc_find(&f->rpc, API_ALTER_ISR);
    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    fake_rpc_answer(call, &agreed);
    move_away(f, 7, "1");
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.replica_removed"), 0);
    move_away(f, 8, "1");
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    teardown(f);
}

/* The view of the metadata itself only grows newer. */
static void an_older_row_than_the_last_one_deletes_nothing(void)
{
    struct storage_fixture *f = setup();

    fixture_partition(f, 1, 0, 1, 5, 8, "123", "12");
    fixture_publish(f);
    move_away(f, 7, "1");
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    teardown(f);
}

static void forgotten_metadata_deletes_nothing(void)
{
    struct storage_fixture *f = setup();

    fixture_kill(f);
    fixture_forget(f);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    teardown(f);
}

static void dropped_while_the_node_was_down_is_removed_at_its_start(void)
{
    struct storage_fixture *f = setup();

    fixture_kill(f);
    move_away(f, 2, "1");
    f->metadata_version++;
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    CU_ASSERT_EQUAL(fixture_logged(f, "why=dropped epoch=2"), 1);
    teardown(f);
}

static void an_orphan_that_turns_out_to_be_dropped_is_removed(void)
{
    struct storage_fixture *f = setup();

    fixture_kill(f);
    move_away(f, 2, "");
    f->metadata_version++;
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    move_away(f, 3, "1");
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    teardown(f);
}

/* The coordinator was set back to an old copy of its database, in which this node is dropped; it
 * had come back since, and what it wrote then says so. */
static void a_word_older_than_what_is_in_the_log_deletes_nothing(void)
{
    struct storage_fixture *f = setup();

    fixture_kill(f);
    fixture_forget(f);
    fixture_topic(f, 1, 1, 3, false, NULL);
    fixture_partition(f, 1, 0, 2, 4, 9, "234", "234");
    fixture_dropped(f, 1, 0, "1");
    f->metadata_version++;
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    CU_ASSERT_EQUAL(entries(f, ".deleted"), 0);
    fixture_partition(f, 1, 0, 2, 5, 10, "234", "234");
    fixture_dropped(f, 1, 0, "1");
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    teardown(f);
}

static void a_dropped_folder_that_cannot_be_opened_stays_until_a_start_that_can(void)
{
    struct storage_fixture *f = setup();

    fixture_kill(f);
    move_away(f, 2, "");
    f->metadata_version++;
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, GONE_MS);
    ria_fs_sim_set_faults(f->fs, &(struct ria_fs_sim_faults){.fail_open_one_in = 1});
    move_away(f, 3, "1");
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    CU_ASSERT_EQUAL(entries(f, ".deleted"), 0);
    ria_fs_sim_set_faults(f->fs, &(struct ria_fs_sim_faults){0});
    fixture_run_ms(f, 10000);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1); /* a disk that failed once is not asked again */
    fixture_kill(f);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    teardown(f);
}

static void dying_in_the_middle_of_a_removal_ends_it_at_the_next_start(void)
{
    /* After each millisecond of the removal: the data is either whole or garbage, never half. */
    for (int64_t ms = 0; ms < 60; ms += 4) {
        struct storage_fixture *f = setup();
        move_away(f, 2, "1");
        fixture_publish(f);
        fixture_run_ms(f, ms);
        if (ms % 8 == 0) {
            fixture_kill(f);
        } else {
            fixture_power_cut(f);
        }
        CU_ASSERT_TRUE(fixture_start(f));
        fixture_run_ms(f, GONE_MS);
        CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
        teardown(f);
    }
}

static void added_again_after_the_removal_it_begins_empty(void)
{
    struct storage_fixture *f = setup();

    move_away(f, 2, "1");
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    fixture_partition(f, 1, 0, 2, 7, 3, "2341", "234");
    fixture_publish(f);
    fixture_run_ms(f, 100);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 0);
    CU_ASSERT_TRUE(storage_is_ready(f->storage));
    teardown(f);
}

/* Dropped while a sync is under way, and added again before that has ended. */
static void added_again_during_the_removal_it_begins_empty(void)
{
    struct storage_fixture *f = setup();

    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 5});
    move_away(f, 2, "1");
    f->metadata_version++;
    fixture_run_ms(f, 0);
    fixture_partition(f, 1, 0, 2, 7, 3, "2341", "234");
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_TRUE(storage_is_ready(f->storage));
    CU_ASSERT_EQUAL(entries(f, ".deleted"), 0);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.replica_removed"), 1);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 0);
    teardown(f);
}

/* Twice within the time that the first folder takes to go. */
static void dropped_again_before_the_first_folder_is_gone(void)
{
    struct storage_fixture *f = setup();

    move_away(f, 2, "1");
    fixture_publish(f);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(entries(f, ".deleted"), 1);
    fixture_partition(f, 1, 0, 2, 7, 3, "2341", "234");
    fixture_publish(f);
    fixture_run_ms(f, 5);
    move_away(f, 4, "1");
    f->partitions[0].leader_epoch = 7;
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.remove_failed"), 0);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    teardown(f);
}

/* What the checkpoint said of the removed log is not believed of the next one: that is new, not
 * lost. */
static void added_again_after_a_removal_and_a_crash_it_is_whole(void)
{
    /* Killed before or after the checkpoint was written without it; added again after the node was
     * back, or before. */
    for (int pass = 0; pass < 2; pass++) {
        struct storage_fixture *f = setup();
        fixture_run_ms(f, GONE_MS); /* the checkpoint has it */
        move_away(f, 2, "1");
        fixture_publish(f);
        fixture_run_ms(f, pass == 0 ? 50 : GONE_MS);
        CU_ASSERT_EQUAL(fixture_logged(f, "why=dropped epoch=2"), 1);
        fixture_kill(f);
        if (pass == 0) {
            CU_ASSERT_TRUE(fixture_start(f));
            fixture_run_ms(f, 100);
            fixture_partition(f, 1, 0, 2, 7, 3, "2341", "234");
            fixture_publish(f);
        } else {
            fixture_partition(f, 1, 0, 2, 7, 3, "2341", "234");
            f->metadata_version++;
            CU_ASSERT_TRUE(fixture_start(f));
        }
        fixture_run_ms(f, 100);
        CU_ASSERT_EQUAL(fixture_info(f).end_offset, 0);
        CU_ASSERT_FALSE(fixture_info(f).damaged);
        CU_ASSERT_EQUAL(fixture_logged(f, "storage.log_damaged"), 0);
        teardown(f);
    }
}

/* It died within a second of the removal, and was a replica again when it came back; or came back
 * before that second was over, and died then. The checkpoint's entry is the removed log's. */
static void added_again_it_has_nothing_of_the_removed_logs_checkpoint(void)
{
    for (int pass = 0; pass < 3; pass++) {
        struct storage_fixture *f = setup();
        fixture_run_ms(f, GONE_MS); /* the checkpoint has it */
        move_away(f, 2, "1");
        fixture_publish(f);
        fixture_run_ms(f, pass == 1 ? 400 : 50);
        CU_ASSERT_EQUAL(entries(f, ".deleted"), 1); /* it waits for the checkpoint */
        fixture_partition(f, 1, 0, 2, 7, 3, "2341", "234");
        if (pass == 2) {
            fixture_publish(f);
            fixture_run_ms(f, 100);
        }
        fixture_power_cut(f);
        f->metadata_version++;
        CU_ASSERT_TRUE(fixture_start(f));
        fixture_run_ms(f, GONE_MS);
        CU_ASSERT_EQUAL(fixture_info(f).end_offset, 0);
        CU_ASSERT_FALSE(fixture_info(f).damaged);
        CU_ASSERT_EQUAL(fixture_logged(f, "storage.log_damaged"), 0);
        CU_ASSERT_EQUAL(entries(f, ".deleted"), 0);
        teardown(f);
    }
}

static void a_removal_that_fails_is_tried_again_at_the_next_start(void)
{
    struct storage_fixture *f = setup();

    move_away(f, 2, "1");
    ria_fs_sim_set_faults(f->fs, &(struct ria_fs_sim_faults){.fail_sync_one_in = 1});
    fixture_publish(f);
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.remove_failed"), 1);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 1);
    ria_fs_sim_set_faults(f->fs, &(struct ria_fs_sim_faults){0});
    fixture_power_cut(f);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, GONE_MS);
    CU_ASSERT_EQUAL(entries(f, "aa000000"), 0);
    teardown(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_dropped_replica_deletes_its_data),
    HARNESS_TEST(not_a_replica_and_not_dropped_keeps_its_data),
    HARNESS_TEST(dropped_with_others_keeps_its_data),
    HARNESS_TEST(a_replica_that_is_also_in_dropped_keeps_its_data),
    HARNESS_TEST(an_older_word_than_what_the_leader_knows_deletes_nothing),
    HARNESS_TEST(an_older_row_than_the_last_one_deletes_nothing),
    HARNESS_TEST(forgotten_metadata_deletes_nothing),
    HARNESS_TEST(dropped_while_the_node_was_down_is_removed_at_its_start),
    HARNESS_TEST(an_orphan_that_turns_out_to_be_dropped_is_removed),
    HARNESS_TEST(a_word_older_than_what_is_in_the_log_deletes_nothing),
    HARNESS_TEST(a_dropped_folder_that_cannot_be_opened_stays_until_a_start_that_can),
    HARNESS_TEST(dying_in_the_middle_of_a_removal_ends_it_at_the_next_start),
    HARNESS_TEST(added_again_after_the_removal_it_begins_empty),
    HARNESS_TEST(added_again_during_the_removal_it_begins_empty),
    HARNESS_TEST(dropped_again_before_the_first_folder_is_gone),
    HARNESS_TEST(added_again_after_a_removal_and_a_crash_it_is_whole),
    HARNESS_TEST(added_again_it_has_nothing_of_the_removed_logs_checkpoint),
    HARNESS_TEST(a_removal_that_fails_is_tried_again_at_the_next_start),
};
HARNESS_MAIN(tests);
