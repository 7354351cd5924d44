/* The files beside the segments: missing, bad or another log's, when a log opens. */
#include "services/storage/partition_log.h"
#include "services/storage/recovery.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/log_fixture.h"

/* One at a time: it is large. */
static struct log_fixture fixture;
static struct log_fixture *const f = &fixture;

/* --- index files -------------------------------------------------------------------------------*/

static void a_missing_index_is_rebuilt_and_saved(void)
{
    log_fixture_begin(f, 15);
    log_fixture_append_many(f, 60, 100);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    log_fixture_unlink(f, log_fixture_path(0, ".index"));
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage.index_rebuilt"), 1);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 180);
    CU_ASSERT(log_fixture_exists(f, log_fixture_path(0, ".index")));
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage.index_rebuilt"), 1);
    log_fixture_fini(f);
}

static void any_flipped_bit_of_an_index_is_noticed(void)
{
    log_fixture_begin(f, 16);
    f->options.segment_bytes = 65536;
    partition_log_set_options(f->log, &f->options);
    log_fixture_append_many(f, 300, 300);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    const char *path = log_fixture_path(0, ".index");
    uint64_t size = log_fixture_file_size(f, path);
    unsigned rebuilt = 0;
    for (uint64_t byte = 0; byte < size; byte++) {
        CU_ASSERT_EQUAL(
            ria_fs_sim_flip_bit(f->fs, log_fixture_path(0, ".index"), byte, (unsigned)byte % 8),
            RIA_OK
        );
        log_fixture_reopen(f);
        f->text_size = f->text_size > LOG_FIXTURE_TEXT_MAX / 2 ? 0 : f->text_size;
        rebuilt = log_fixture_logged(f, "storage.index_rebuilt");
        CU_ASSERT(rebuilt > 0);
        f->text_size = 0;
        f->text[0] = '\0';
        CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 900);
        CU_ASSERT_EQUAL(log_fixture_verify(f, 150), 900);
        CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK); /* has written a good one */
    }
    log_fixture_fini(f);
}

static void a_bad_byte_found_while_an_index_is_rebuilt_is_damage(void)
{
    int64_t segment = 0;

    log_fixture_begin(f, 17);
    log_fixture_append_many(f, 60, 100);
    log_fixture_sync(f);
    uint64_t at = log_fixture_position_of(f, 12, &segment);
    CU_ASSERT_EQUAL(segment, 0);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    log_fixture_unlink(f, log_fixture_path(0, ".index"));
    log_fixture_damage(f, log_fixture_path(0, ".log"), at + 70, "X", 1);
    log_fixture_reopen(f); /* no checkpoint: the later segments' indexes are the mark */
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 15), 180);
    log_fixture_fini(f);
}

static void a_log_shorter_than_its_index_is_damaged(void)
{
    log_fixture_begin(f, 18);
    log_fixture_append_many(f, 5, 100);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    uint64_t size = log_fixture_file_size(f, log_fixture_path(0, ".log"));
    log_fixture_damage(f, log_fixture_path(0, ".log"), size - 1, NULL, 0);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
    log_fixture_fini(f);
}

/* --- the small files ---------------------------------------------------------------------------*/

static void bad_small_files_are_rebuilt_from_the_batches(void)
{
    int64_t offset = 0;

    log_fixture_begin(f, 19);
    for (int i = 0; i < 60; i++) {
        f->epoch = 1 + i / 20;
        CU_ASSERT_EQUAL(log_fixture_produce(f, 9, 0, i * 3, 3, &offset), RIA_OK);
    }
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    for (int64_t o = 0; o <= 180; o++) {
        if (log_fixture_exists(f, log_fixture_path(o, ".producers"))) {
            log_fixture_damage(f, log_fixture_path(o, ".producers"), 20, "X", 1);
        }
    }
    log_fixture_damage(f, LOG_FIXTURE_DIR "/leader-epochs", 5, "X", 1);
    log_fixture_reopen(f);
    uint32_t count = 0;
    const struct leader_epoch_entry *epochs = partition_log_epochs(f->log, &count);
    CU_ASSERT_EQUAL(count, 3);
    CU_ASSERT_EQUAL(epochs[2].epoch, 3);
    CU_ASSERT_EQUAL(epochs[2].start_offset, 120);
    const struct producer_state *state = partition_log_producer(f->log, 9);
    CU_ASSERT_PTR_NOT_NULL_FATAL(state);
    CU_ASSERT_EQUAL(state->batch_count, 5);
    CU_ASSERT_EQUAL(state->batches[4].last_sequence, 179);
    CU_ASSERT_EQUAL(state->batches[4].base_offset, 177);
    log_fixture_fini(f);
}

static void a_folder_of_another_partition_is_refused(void)
{
    log_fixture_begin(f, 20);
    log_fixture_append_many(f, 5, 100);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    f->topic_id.bytes[0] = 77;
    CU_ASSERT_EQUAL(log_fixture_open(f), RIA_ERR_CORRUPT);
    f->topic_id.bytes[0] = 0;
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 15);
    log_fixture_fini(f);
}

static void a_damaged_meta_makes_the_checkpoint_count(void)
{
    log_fixture_begin(f, 21);
    log_fixture_append_many(f, 5, 100);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 10), RIA_OK); /* generation 1 */
    log_fixture_append_many(f, 5, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    CU_ASSERT_EQUAL(f->checkpoint.generation, 1);
    log_fixture_crash(f, false);
    log_fixture_damage(f, LOG_FIXTURE_DIR "/partition.meta", 5, "X", 1);
    int64_t last = 24;
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), last + 1);
    log_fixture_take_checkpoint(f);
    CU_ASSERT_EQUAL(f->checkpoint.generation, 1);
    log_fixture_fini(f);
}

static void a_checkpoint_of_before_a_truncation_means_nothing(void)
{
    log_fixture_begin(f, 22);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f); /* synced: 30 */
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 15), RIA_OK);
    log_fixture_crash(f, true);
    log_fixture_reopen(f);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 15);
    log_fixture_append_many(f, 10, 100); /* up to 45, none of it synced */
    log_fixture_crash(f, true);
    log_fixture_reopen(f);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    int64_t end = partition_log_end_offset(f->log);
    CU_ASSERT(end >= 15);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end);
    log_fixture_fini(f);
}

/* 5,000 idle logs took 10,000 syncs one after the other, 3 s on a quiet machine and 49 s on
 * another, before the node led again. */
static void a_log_that_was_synced_to_its_end_is_opened_without_a_sync(void)
{
    log_fixture_begin(f, 25);
    log_fixture_append_many(f, 60, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    log_fixture_crash(f, false);
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 1};
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 180);
    faults.fail_sync_one_in = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_append_many(f, 1, 100);
    log_fixture_sync(f);
    log_fixture_crash(f, true);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 181);
    log_fixture_fini(f);
}

static void what_is_above_the_mark_is_synced_by_an_open(void)
{
    log_fixture_begin(f, 26);
    log_fixture_append_many(f, 4, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    log_fixture_append_many(f, 1, 100);
    log_fixture_crash(f, false);
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 1};
    ria_fs_sim_set_faults(f->fs, &faults);
    CU_ASSERT_EQUAL(log_fixture_open(f), RIA_ERR_IO);
    log_fixture_fini(f);
}

static void names_that_are_not_ours_are_left_alone(void)
{
    struct ria_file *file = NULL;

    log_fixture_begin(f, 23);
    log_fixture_append_many(f, 5, 100);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    CU_ASSERT_EQUAL(
        ria_fs_open(f->fs, LOG_FIXTURE_DIR "/notes.txt", RIA_FS_WRITE | RIA_FS_CREATE, &file),
        RIA_OK
    );
    ria_fs_close(file);
    log_fixture_reopen(f);
    CU_ASSERT(log_fixture_exists(f, LOG_FIXTURE_DIR "/notes.txt"));
    log_fixture_fini(f);
}

static void a_full_disk_does_not_keep_a_log_from_opening(void)
{
    log_fixture_begin(f, 24);
    log_fixture_append_many(f, 60, 100);
    struct ria_fs_sim_faults faults = {.capacity_bytes = 1};
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_crash(f, false);
    log_fixture_damage(f, LOG_FIXTURE_DIR "/partition.meta", 20, NULL, 0);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 180);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 180);
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 5000), RIA_ERR_NO_SPACE);
    faults.capacity_bytes = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_append_many(f, 60, 100);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 360);
    log_fixture_fini(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_missing_index_is_rebuilt_and_saved),
    HARNESS_TEST(any_flipped_bit_of_an_index_is_noticed),
    HARNESS_TEST(a_bad_byte_found_while_an_index_is_rebuilt_is_damage),
    HARNESS_TEST(a_log_shorter_than_its_index_is_damaged),
    HARNESS_TEST(bad_small_files_are_rebuilt_from_the_batches),
    HARNESS_TEST(a_folder_of_another_partition_is_refused),
    HARNESS_TEST(a_damaged_meta_makes_the_checkpoint_count),
    HARNESS_TEST(a_checkpoint_of_before_a_truncation_means_nothing),
    HARNESS_TEST(a_log_that_was_synced_to_its_end_is_opened_without_a_sync),
    HARNESS_TEST(what_is_above_the_mark_is_synced_by_an_open),
    HARNESS_TEST(names_that_are_not_ours_are_left_alone),
    HARNESS_TEST(a_full_disk_does_not_keep_a_log_from_opening),
};

HARNESS_MAIN(tests);
