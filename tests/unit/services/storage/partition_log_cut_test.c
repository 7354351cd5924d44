/* Truncating a log and beginning it elsewhere, and what of it survives a crash. */
#include "common/assert.h"

#include "services/storage/partition_log.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/log_fixture.h"

/* One at a time: it is large. */
static struct log_fixture fixture;
static struct log_fixture *const f = &fixture;

static void append_many(int count, size_t value_size)
{
    for (int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(log_fixture_append(f, 3, value_size), RIA_OK);
    }
}

/* Batches of three records, alternately by producers 8 and 9; an epoch every 20 batches. */
static void produce_many(int count)
{
    for (int i = 0; i < count; i++) {
        int64_t offset = 0;
        int64_t producer_id = 8 + i % 2;
        const struct producer_state *state = partition_log_producer(f->log, producer_id);
        int32_t next = state == NULL ? 0 : state->batches[state->batch_count - 1].last_sequence + 1;
        f->epoch += i % 20 == 19;
        CU_ASSERT_EQUAL(log_fixture_produce(f, producer_id, 0, next, 3, &offset), RIA_OK);
    }
}

static int count_files(const char *suffix)
{
    int count = 0;

    for (int64_t o = 0; o < 2000; o++) {
        count += log_fixture_exists(f, log_fixture_path(o, suffix));
    }
    return count;
}

static int32_t last_sequence(int64_t producer_id)
{
    const struct producer_state *state = partition_log_producer(f->log, producer_id);
    return state == NULL ? -1 : state->batches[state->batch_count - 1].last_sequence;
}

static void a_cut_goes_through_segments_and_survives_a_power_cut(void)
{
    log_fixture_begin(f, 1);
    append_many(100, 100);
    log_fixture_sync(f);
    CU_ASSERT(count_files(".log") > 5);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 60), RIA_OK);
    partition_log_check(f->log);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 60);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 60);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 60);
    log_fixture_crash(f, true);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 60);
    append_many(100, 100);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 360);
    log_fixture_fini(f);
}

static void a_batch_that_holds_the_offset_goes_as_a_whole(void)
{
    log_fixture_begin(f, 2);
    append_many(20, 100);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 31), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 30);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 30);
    log_fixture_fini(f);
}

static void at_the_end_nothing_happens_below_the_start_all_goes(void)
{
    log_fixture_begin(f, 3);
    CU_ASSERT_EQUAL(partition_log_reset(f->log, 100), RIA_OK);
    append_many(20, 100);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 160), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 200), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 160);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 100);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 100), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_start_offset(f->log), 100);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 100);
    append_many(20, 100);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 40), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_start_offset(f->log), 40);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 40);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, -1), RIA_ERR_INVALID);
    log_fixture_fini(f);
}

static void every_cut_leaves_producers_and_epochs_as_the_batches_say(void)
{
    for (int64_t to = 0; to <= 360; to += 15) {
        log_fixture_begin(f, 4);
        produce_many(120);
        log_fixture_sync(f);
        CU_ASSERT_EQUAL(partition_log_truncate(f->log, to), RIA_OK);
        partition_log_check(f->log);
        int64_t batches = to / 3;
        CU_ASSERT_EQUAL(last_sequence(8), (batches + 1) / 2 * 3 - 1);
        CU_ASSERT_EQUAL(last_sequence(9), batches / 2 * 3 - 1);
        uint32_t count = 0;
        (void)partition_log_epochs(f->log, &count);
        /* Batch i is of epoch 1 + (i + 1) / 20. */
        CU_ASSERT_EQUAL(count, batches == 0 ? 0 : 1 + (uint32_t)batches / 20);
        log_fixture_fini(f);
    }
}

static void what_was_cut_is_no_duplicate_any_more(void)
{
    int64_t offset = 0;

    log_fixture_begin(f, 5);
    produce_many(40);
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 90), RIA_OK); /* 15 batches of each */
    CU_ASSERT_EQUAL(log_fixture_produce(f, 8, 0, 45, 3, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, 90);
    CU_ASSERT_EQUAL(log_fixture_produce(f, 8, 0, 45, 3, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, 90);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 93);
    CU_ASSERT_EQUAL(log_fixture_produce(f, 8, 0, 42, 3, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, 84); /* still there */
    CU_ASSERT_EQUAL(log_fixture_produce(f, 9, 0, 48, 3, &offset), RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 93);
    log_fixture_fini(f);
}

static void marks_above_a_cut_are_gone(void)
{
    log_fixture_begin(f, 6);
    append_many(100, 100);
    log_fixture_sync(f);
    int indexes = count_files(".index");
    CU_ASSERT(indexes > 5);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 60), RIA_OK);
    CU_ASSERT_EQUAL(count_files(".log"), count_files(".index") + 1);
    CU_ASSERT_EQUAL(count_files(".timeindex"), count_files(".index"));
    for (int64_t o = 61; o < 400; o++) {
        CU_ASSERT_FALSE(log_fixture_exists(f, log_fixture_path(o, ".producers")));
    }
    log_fixture_fini(f);
}

static void an_epoch_that_was_cut_does_not_come_back(void)
{
    uint32_t count = 0;

    log_fixture_begin(f, 7);
    append_many(60, 100);
    f->epoch = 2; /* from 180 */
    append_many(60, 100);
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK); /* leader-epochs has both */
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 150), RIA_OK);
    f->epoch = 3;
    append_many(60, 100); /* 150 to 330 */
    log_fixture_sync(f);
    log_fixture_crash(f, true);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    const struct leader_epoch_entry *epochs = partition_log_epochs(f->log, &count);
    CU_ASSERT_EQUAL(count, 2);
    CU_ASSERT_EQUAL(epochs[1].epoch, 3);
    CU_ASSERT_EQUAL(epochs[1].start_offset, 150);
    log_fixture_fini(f);
}

static void a_reset_starts_at_its_offset_for_good(void)
{
    log_fixture_begin(f, 8);
    produce_many(100);
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_reset(f->log, 1000), RIA_OK);
    partition_log_check(f->log);
    CU_ASSERT_EQUAL(count_files(".log"), 1);
    CU_ASSERT_EQUAL(count_files(".index"), 0);
    CU_ASSERT_EQUAL(count_files(".producers"), 0);
    CU_ASSERT_PTR_NULL(partition_log_producer(f->log, 8));
    log_fixture_crash(f, true);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    uint32_t count = 99;
    (void)partition_log_epochs(f->log, &count);
    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_EQUAL(partition_log_start_offset(f->log), 1000);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 1000);
    append_many(50, 100);
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 1000), 1150);
    log_fixture_fini(f);
}

static void a_cut_on_a_full_disk_changes_nothing_and_may_be_tried_again(void)
{
    log_fixture_begin(f, 9);
    append_many(20, 100);
    log_fixture_sync(f);
    struct ria_fs_sim_faults faults = {.capacity_bytes = 1};
    ria_fs_sim_set_faults(f->fs, &faults);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 30), RIA_ERR_NO_SPACE);
    CU_ASSERT_FALSE(partition_log_has_failed(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 60);
    CU_ASSERT_EQUAL(partition_log_reset(f->log, 300), RIA_ERR_NO_SPACE);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 60);
    faults.capacity_bytes = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 30), RIA_OK);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 30);
    log_fixture_fini(f);
}

/* One interrupted cut: a sync on its way fails, then the power does. What is at hand afterwards is
 * the old log, or any prefix of it that reaches the cut. */
static void interrupted(uint64_t seed)
{
    log_fixture_begin(f, seed);
    produce_many(80);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    int64_t to = 3 * (int64_t)ria_rand_below(&f->rand, 80);
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 3};
    ria_fs_sim_set_faults(f->fs, &faults);
    ria_err err = partition_log_truncate(f->log, to);
    CU_ASSERT(err == RIA_OK || err == RIA_ERR_IO);
    CU_ASSERT_EQUAL(partition_log_has_failed(f->log), err != RIA_OK);
    faults.fail_sync_one_in = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_crash(f, true);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    int64_t end = partition_log_end_offset(f->log);
    CU_ASSERT(end >= to && end <= 240 && (err != RIA_OK || end == to));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end);
    CU_ASSERT_EQUAL(last_sequence(8), (int32_t)((end / 3 + 1) / 2 * 3 - 1));
    f->epoch++;
    produce_many(40);
    log_fixture_sync(f);
    log_fixture_crash(f, true);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end + 120);
    log_fixture_fini(f);
}

static void an_interrupted_cut_leaves_a_log_that_opens(void)
{
    for (uint64_t seed = 100; seed < 400; seed++) {
        interrupted(seed);
    }
}

/* The log has failed, the node goes on and writes its checkpoint. It must not speak of what the cut
 * has taken away: the next open would call that damage. */
static void fail_in_the_middle(uint64_t seed, bool reset)
{
    log_fixture_begin(f, seed);
    produce_many(80);
    log_fixture_sync(f);
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 3};
    ria_fs_sim_set_faults(f->fs, &faults);
    ria_err err = reset ? partition_log_reset(f->log, 500)
                        : partition_log_truncate(f->log, 3 * (int64_t)(seed % 80));
    CU_ASSERT(err == RIA_OK || err == RIA_ERR_IO);
    faults.fail_sync_one_in = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    partition_log_check(f->log);
    log_fixture_take_checkpoint(f);
    log_fixture_crash(f, false);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    partition_log_check(f->log);
    log_fixture_fini(f);
}

static void a_cut_that_fails_in_the_middle_leaves_no_mark_above_it(void)
{
    for (uint64_t seed = 100; seed < 300; seed++) {
        fail_in_the_middle(seed, false);
        fail_in_the_middle(seed, true);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_cut_goes_through_segments_and_survives_a_power_cut),
    HARNESS_TEST(a_batch_that_holds_the_offset_goes_as_a_whole),
    HARNESS_TEST(at_the_end_nothing_happens_below_the_start_all_goes),
    HARNESS_TEST(every_cut_leaves_producers_and_epochs_as_the_batches_say),
    HARNESS_TEST(what_was_cut_is_no_duplicate_any_more),
    HARNESS_TEST(marks_above_a_cut_are_gone),
    HARNESS_TEST(an_epoch_that_was_cut_does_not_come_back),
    HARNESS_TEST(a_reset_starts_at_its_offset_for_good),
    HARNESS_TEST(a_cut_on_a_full_disk_changes_nothing_and_may_be_tried_again),
    HARNESS_TEST(an_interrupted_cut_leaves_a_log_that_opens),
    HARNESS_TEST(a_cut_that_fails_in_the_middle_leaves_no_mark_above_it),
};
HARNESS_MAIN(tests);
