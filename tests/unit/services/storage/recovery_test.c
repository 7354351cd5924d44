/* What an open makes of what a crash, a bad disk or an operator left (docs/formats/partition.md):
 * what is a tail, and what is damage. */
#include "services/storage/recovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/storage/partition_log.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/log_fixture.h"

/* One at a time: it is large. */
static struct log_fixture fixture;
static struct log_fixture *const f = &fixture;

/* --- tails -------------------------------------------------------------------------------------*/

static void a_torn_tail_is_cut(void)
{
    int64_t segment = 0;

    log_fixture_begin(f, 1);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    uint64_t at = log_fixture_position_of(f, 29, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 90, NULL, 0);
    log_fixture_reopen(f);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 25);
    CU_ASSERT_EQUAL(log_fixture_file_size(f, log_fixture_path(segment, ".log")), at);
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage.tail_cut"), 1);
    log_fixture_append_many(f, 3, 100);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 31);
    log_fixture_fini(f);
}

static void a_tail_of_zeros_is_cut(void)
{
    static const uint8_t zeros[8192];
    int64_t segment = 0;

    log_fixture_begin(f, 2);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    uint64_t at = log_fixture_position_of(f, 29, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at, zeros, sizeof(zeros));
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 25);
    log_fixture_fini(f);
}

static void a_bad_batch_above_the_mark_is_a_tail_even_if_good_ones_follow(void)
{
    int64_t segment = 0;

    log_fixture_begin(f, 3);
    log_fixture_append_many(f, 4, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f); /* at 10 */
    log_fixture_append_many(f, 5, 100);
    uint64_t at = log_fixture_position_of(f, 11, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 70, "X", 1);
    log_fixture_reopen(f);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 11);
    log_fixture_fini(f);
}

/* Also by who opens it later and sees nothing of it. */
static void an_end_that_was_cut_is_doubted_until_that_is_settled(void)
{
    int64_t segment = 0;

    log_fixture_begin(f, 61);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    uint64_t at = log_fixture_position_of(f, 29, &segment);
    log_fixture_crash(f, false);
    log_fixture_reopen(f);
    CU_ASSERT_FALSE(partition_log_tail_is_doubted(f->log)); /* it ends where a batch does */
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 70, "X", 1);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_tail_is_doubted(f->log));
    log_fixture_append_many(f, 3, 100);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_tail_is_doubted(f->log));
    partition_log_settle_tail(f->log);
    CU_ASSERT_FALSE(partition_log_tail_is_doubted(f->log));
    log_fixture_crash(f, true);
    log_fixture_reopen(f);
    CU_ASSERT_FALSE(partition_log_tail_is_doubted(f->log));
    log_fixture_fini(f);
}

/* partition.meta is small, and may be what rots next. */
static void an_end_is_doubted_if_what_would_say_so_is_bad(void)
{
    log_fixture_begin(f, 62);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    log_fixture_crash(f, false);
    log_fixture_damage(f, LOG_FIXTURE_DIR "/partition.meta", 30, "X", 1);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_tail_is_doubted(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 30);
    log_fixture_fini(f);
}

static void a_full_disk_does_not_keep_a_log_with_a_cut_end_from_opening(void)
{
    struct ria_fs_sim_faults faults = {.capacity_bytes = 1};
    int64_t segment = 0;

    log_fixture_begin(f, 63);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    uint64_t at = log_fixture_position_of(f, 29, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 70, "X", 1);
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_tail_is_doubted(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 25);
    faults.capacity_bytes = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_fini(f);
}

/* The index was made again from headers, one of which was bad: the log did not open. */
static void a_bad_index_over_a_bad_batch_does_not_keep_a_log_from_opening(void)
{
    int64_t segment = 0;

    log_fixture_begin(f, 64);
    log_fixture_append_many(f, 5, 100);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    log_fixture_reopen(f);
    log_fixture_append_many(f, 3, 100);
    log_fixture_sync(f);
    int64_t end = partition_log_end_offset(f->log);
    uint64_t at = log_fixture_position_of(f, 7, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".timeindex"), 20, "X", 1);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 9, "X", 1);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), end);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    log_fixture_append_many(f, 1, 100);
    log_fixture_fini(f);
}

static void segments_behind_a_cut_are_set_aside_not_removed(void)
{
    log_fixture_begin(f, 4);
    log_fixture_append_many(f, 60, 100);
    int64_t second = log_fixture_segment_base(f, 1);
    int64_t third = log_fixture_segment_base(f, 2);
    uint64_t third_size = log_fixture_file_size(f, log_fixture_path(third, ".log"));
    uint64_t size = log_fixture_file_size(f, log_fixture_path(second, ".log"));
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(second, ".log"), size - 1, NULL, 0);
    log_fixture_reopen(f);
    CU_ASSERT(partition_log_end_offset(f->log) < third);
    CU_ASSERT(partition_log_end_offset(f->log) > second);
    CU_ASSERT_FALSE(log_fixture_exists(f, log_fixture_path(third, ".log")));
    CU_ASSERT_EQUAL(
        log_fixture_file_size(f, log_fixture_path(third, ".log.discarded")), third_size
    );
    int64_t end = partition_log_end_offset(f->log);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end);
    log_fixture_append_many(f, 60, 100);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end + 180);
    log_fixture_fini(f);
}

static void a_segment_behind_a_missing_one_above_the_mark_is_set_aside(void)
{
    log_fixture_begin(f, 5);
    log_fixture_append_many(f, 60, 100);
    int64_t second = log_fixture_segment_base(f, 1);
    int64_t third = log_fixture_segment_base(f, 2);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(second, ".log"));
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), second);
    CU_ASSERT(log_fixture_exists(f, log_fixture_path(third, ".log.discarded")));
    log_fixture_fini(f);
}

/* The rename must be durable before the offsets are given to new batches: otherwise the next power
 * cut brings the old segment back beside them. */
static void a_segment_set_aside_does_not_come_back(void)
{
    for (uint64_t seed = 30; seed < 60; seed++) {
        log_fixture_begin(f, seed);
        log_fixture_append_many(f, 3, 100);
        CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK); /* the first segment's name is durable */
        log_fixture_reopen(f);
        log_fixture_append_many(f, 40, 100);
        int64_t second = log_fixture_segment_base(f, 1);
        uint64_t size = log_fixture_file_size(f, log_fixture_path(0, ".log"));
        log_fixture_crash(f, false);
        CU_ASSERT_EQUAL(ria_fs_sync_dir(f->fs, LOG_FIXTURE_DIR), RIA_OK);
        log_fixture_damage(f, log_fixture_path(0, ".log"), size - 1, NULL, 0);
        log_fixture_reopen(f);
        CU_ASSERT(log_fixture_exists(f, log_fixture_path(second, ".log.discarded")));
        f->options.segment_bytes = 1024 * 1024;
        partition_log_set_options(f->log, &f->options);
        log_fixture_append_many(f, 20, 100);
        log_fixture_sync(f);
        int64_t end = partition_log_end_offset(f->log);
        log_fixture_crash(f, true);
        log_fixture_reopen(f);
        CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end);
        log_fixture_fini(f);
    }
}

/* Bytes of an append that was refused must not stay behind: between two segments they would look
 * like a tail, and what follows like its remains. */
static void an_append_refused_for_space_leaves_no_bytes_behind(void)
{
    log_fixture_begin(f, 61);
    log_fixture_append_many(f, 6, 100);
    log_fixture_sync(f);
    struct ria_fs_sim_faults faults = {.capacity_bytes = 12 * 1024};
    ria_fs_sim_set_faults(f->fs, &faults);
    f->options.segment_bytes = 65536;
    partition_log_set_options(f->log, &f->options);
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 30000), RIA_ERR_NO_SPACE);
    faults.capacity_bytes = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    f->options.segment_bytes = 4096;
    partition_log_set_options(f->log, &f->options);
    log_fixture_append_many(f, 30, 100);
    log_fixture_sync(f);
    int64_t end = partition_log_end_offset(f->log);
    log_fixture_crash(f, true);
    for (int64_t o = 0; o < end; o++) { /* as after a power cut that took them */
        if (log_fixture_exists(f, log_fixture_path(o, ".index"))) {
            log_fixture_unlink(f, log_fixture_path(o, ".index"));
        }
    }
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end);
    log_fixture_fini(f);
}

static void an_epoch_of_a_lost_tail_does_not_come_back(void)
{
    int lost = 0;

    for (uint64_t seed = 70; seed < 100; seed++) {
        log_fixture_begin(f, seed);
        struct ria_fs_sim_faults faults = {.sync_delay_us_min = 10, .sync_delay_us_max = 10};
        ria_fs_sim_set_faults(f->fs, &faults);
        log_fixture_append_many(f, 25, 100);
        f->epoch = 2;
        int64_t second_epoch = partition_log_end_offset(f->log);
        log_fixture_append_many(f, 10, 100);
        partition_log_sync(f->log);
        log_fixture_advance_us(f, 10); /* seals the first segment: the file has both epochs */
        log_fixture_crash(f, true);
        log_fixture_reopen(f);
        if (partition_log_end_offset(f->log) <= second_epoch) {
            uint32_t count = 0;
            lost++;
            f->epoch = 1;
            log_fixture_append_many(f, 60, 100);
            log_fixture_sync(f);
            CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
            log_fixture_reopen(f);
            const struct leader_epoch_entry *epochs = partition_log_epochs(f->log, &count);
            CU_ASSERT_EQUAL(count, 1);
            CU_ASSERT_EQUAL(epochs[0].epoch, 1);
        }
        log_fixture_fini(f);
    }
    CU_ASSERT(lost > 3);
}

/* --- damage ------------------------------------------------------------------------------------*/

static void a_bad_batch_below_the_mark_is_damage_and_nothing_is_cut(void)
{
    int64_t segment = 0;

    log_fixture_begin(f, 6);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t at = log_fixture_position_of(f, 12, &segment); /* holds 10 to 14 */
    uint64_t size = log_fixture_file_size(f, log_fixture_path(segment, ".log"));
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 70, "X", 1);
    for (int pass = 0; pass < 2; pass++) {
        log_fixture_reopen(f);
        CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 30);
        CU_ASSERT_EQUAL(log_fixture_file_size(f, log_fixture_path(segment, ".log")), size);
        CU_ASSERT_EQUAL(log_fixture_append(f, 1, 10), RIA_ERR_CORRUPT);
        CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
        CU_ASSERT_EQUAL(log_fixture_verify(f, 10), 10);
        CU_ASSERT_EQUAL(log_fixture_verify(f, 14), 14);
        CU_ASSERT_EQUAL(log_fixture_verify(f, 15), 30);
        log_fixture_crash(f, false);
    }
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage.log_damaged"), 1); /* then it is remembered */
    log_fixture_fini(f);
}

static void a_bad_header_below_the_mark_is_passed_over(void)
{
    static const uint8_t zeros[61];
    int64_t segment = 0;

    log_fixture_begin(f, 7);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t at = log_fixture_position_of(f, 12, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at, zeros, sizeof(zeros));
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 15), 30);
    log_fixture_fini(f);
}

/* The offset in front of a batch is under no CRC: behind a bad batch it could make up a hole that
 * no replica can ever fill. */
static void a_flipped_offset_behind_a_bad_batch_does_not_end_the_hole(void)
{
    static const uint8_t far = 2;    /* the third byte from the end of the offset: 131072 more */
    static const uint8_t near = 29;  /* the last one: 15 becomes 29 */
    static const uint8_t lower = 14; /* a peer's batch could end there by chance */
    const uint8_t *const wrongs[] = {&far, &near, &lower};
    int64_t segment = 0;

    for (int pass = 0; pass < 3; pass++) {
        log_fixture_begin(f, 61);
        log_fixture_append_many(f, 10, 100);
        log_fixture_sync(f);
        log_fixture_take_checkpoint(f);
        uint64_t bad = log_fixture_position_of(f, 12, &segment);   /* holds 10 to 14 */
        uint64_t wrong = log_fixture_position_of(f, 15, &segment); /* holds 15 */
        log_fixture_crash(f, false);
        log_fixture_damage(f, log_fixture_path(segment, ".log"), bad + 70, "X", 1);
        log_fixture_damage(
            f, log_fixture_path(segment, ".log"), wrong + (pass == 0 ? 5 : 7), wrongs[pass], 1
        );
        log_fixture_reopen(f);
        CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 30);
        CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
        CU_ASSERT_EQUAL(log_fixture_verify(f, 15), 15);
        CU_ASSERT_EQUAL(log_fixture_verify(f, 16), 30);
        log_fixture_fini(f);
    }
}

/* The log ended one record too early, in the middle of its leader's batch: neither repair nor
 * replication had anything that fits. */
static void a_flipped_offset_of_the_last_batch_behind_damage_makes_it_a_lost_tail(void)
{
    static const uint8_t lower = 24;
    int64_t segment = 0;

    log_fixture_begin(f, 63);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t bad = log_fixture_position_of(f, 22, &segment);   /* holds 21 to 24 */
    uint64_t wrong = log_fixture_position_of(f, 25, &segment); /* holds 25 to 29 */
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), bad + 70, "X", 1);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), wrong + 7, &lower, 1);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 21);
    CU_ASSERT_EQUAL(partition_log_lost_offset(f->log), 30);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 21);
    log_fixture_fini(f);
}

/* The walk that makes up for a lost file of epochs went by the bad batch's own word for its end,
 * and called good batches damaged. */
static void a_bad_batch_that_claims_more_records_does_not_lead_a_replay_astray(void)
{
    static const uint8_t more = 9; /* the last byte of the last offset's delta: 10 to 19 */
    int64_t segment = 0;

    log_fixture_begin(f, 62);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t at = log_fixture_position_of(f, 12, &segment); /* holds 10 to 14 */
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 26, &more, 1);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage.log_damaged"), 1);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 15), 30);
    log_fixture_fini(f);
}

static void a_log_that_ends_below_the_mark_is_damaged(void)
{
    int64_t segment = 0;
    struct partition_log_range range;

    log_fixture_begin(f, 8);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t at = log_fixture_position_of(f, 25, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at, NULL, 0);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 25);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 25);
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 25, 30, 100, &range), RIA_ERR_CORRUPT);
    log_fixture_fini(f);
}

static void a_missing_segment_below_the_mark_is_damage(void)
{
    log_fixture_begin(f, 9);
    log_fixture_append_many(f, 60, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    int64_t second = log_fixture_segment_base(f, 1);
    int64_t third = log_fixture_segment_base(f, 2);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(second, ".log"));
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 180);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), second);
    CU_ASSERT_EQUAL(log_fixture_verify(f, second), second);
    CU_ASSERT_EQUAL(log_fixture_verify(f, third - 1), third - 1);
    CU_ASSERT_EQUAL(log_fixture_verify(f, third), 180);
    log_fixture_fini(f);
}

static void segments_behind_a_short_one_below_the_mark_stay_readable(void)
{
    log_fixture_begin(f, 62);
    log_fixture_append_many(f, 60, 100);
    log_fixture_sync(f);
    int64_t second = log_fixture_segment_base(f, 1);
    int64_t third = log_fixture_segment_base(f, 2);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    uint64_t size = log_fixture_file_size(f, log_fixture_path(second, ".log"));
    log_fixture_damage(f, log_fixture_path(second, ".log"), size - 1, NULL, 0);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 180);
    int64_t bad = log_fixture_verify(f, 0);
    CU_ASSERT(bad > second && bad < third);
    CU_ASSERT_EQUAL(log_fixture_verify(f, third), 180);
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage.tail_cut"), 0);
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage.segment_discarded"), 0);
    log_fixture_fini(f);
}

static void a_missing_first_segment_is_damage_and_not_a_later_start(void)
{
    log_fixture_begin(f, 10);
    log_fixture_append_many(f, 60, 100);
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    int64_t second = log_fixture_segment_base(f, 1);
    log_fixture_unlink(f, log_fixture_path(0, ".log"));
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_start_offset(f->log), 0);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 0);
    CU_ASSERT_EQUAL(log_fixture_verify(f, second), 180);
    log_fixture_fini(f);
}

static void a_log_whose_files_are_all_gone_is_damaged_not_empty(void)
{
    struct partition_log_range range;

    log_fixture_begin(f, 11);
    log_fixture_append_many(f, 5, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(0, ".log"));
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 0, 0, 100, &range), RIA_ERR_CORRUPT);
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 10), RIA_ERR_CORRUPT);
    log_fixture_fini(f);
}

static void damage_found_by_a_read_stays_over_a_restart(void)
{
    int64_t segment = 0;

    log_fixture_begin(f, 12);
    log_fixture_append_many(f, 60, 100);
    log_fixture_sync(f);
    uint64_t at = log_fixture_position_of(f, 12, &segment); /* in the first, sealed segment */
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 70, "X", 1);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT(log_fixture_verify(f, 0) <= 10);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 10), RIA_OK); /* the rest of the log is sound */
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 15), 181);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 15), 181);
    log_fixture_fini(f);
}

static void damage_is_forgotten_when_it_is_cut_off(void)
{
    int64_t segment = 0;

    log_fixture_begin(f, 13);
    log_fixture_append_many(f, 60, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t at = log_fixture_position_of(f, 100, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 70, "X", 1);
    log_fixture_reopen(f);
    (void)log_fixture_verify(f, 90); /* a sealed segment is not scanned: reading finds it */
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 90), RIA_OK);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 90);
    log_fixture_append_many(f, 10, 100);
    log_fixture_crash(f, false);
    log_fixture_reopen(f);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 120);
    log_fixture_fini(f);
}

static void a_reset_heals_a_damaged_log(void)
{
    log_fixture_begin(f, 14);
    log_fixture_append_many(f, 60, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(0, ".log"));
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_reset(f->log, 500), RIA_OK);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    log_fixture_crash(f, true);
    log_fixture_reopen(f);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_start_offset(f->log), 500);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 500), 530);
    log_fixture_fini(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_torn_tail_is_cut),
    HARNESS_TEST(a_tail_of_zeros_is_cut),
    HARNESS_TEST(a_bad_batch_above_the_mark_is_a_tail_even_if_good_ones_follow),
    HARNESS_TEST(an_end_that_was_cut_is_doubted_until_that_is_settled),
    HARNESS_TEST(an_end_is_doubted_if_what_would_say_so_is_bad),
    HARNESS_TEST(a_full_disk_does_not_keep_a_log_with_a_cut_end_from_opening),
    HARNESS_TEST(a_bad_index_over_a_bad_batch_does_not_keep_a_log_from_opening),
    HARNESS_TEST(segments_behind_a_cut_are_set_aside_not_removed),
    HARNESS_TEST(a_segment_behind_a_missing_one_above_the_mark_is_set_aside),
    HARNESS_TEST(a_segment_set_aside_does_not_come_back),
    HARNESS_TEST(an_append_refused_for_space_leaves_no_bytes_behind),
    HARNESS_TEST(an_epoch_of_a_lost_tail_does_not_come_back),
    HARNESS_TEST(a_bad_batch_below_the_mark_is_damage_and_nothing_is_cut),
    HARNESS_TEST(a_bad_header_below_the_mark_is_passed_over),
    HARNESS_TEST(a_flipped_offset_behind_a_bad_batch_does_not_end_the_hole),
    HARNESS_TEST(a_flipped_offset_of_the_last_batch_behind_damage_makes_it_a_lost_tail),
    HARNESS_TEST(a_bad_batch_that_claims_more_records_does_not_lead_a_replay_astray),
    HARNESS_TEST(a_log_that_ends_below_the_mark_is_damaged),
    HARNESS_TEST(a_missing_segment_below_the_mark_is_damage),
    HARNESS_TEST(segments_behind_a_short_one_below_the_mark_stay_readable),
    HARNESS_TEST(a_missing_first_segment_is_damage_and_not_a_later_start),
    HARNESS_TEST(a_log_whose_files_are_all_gone_is_damaged_not_empty),
    HARNESS_TEST(damage_found_by_a_read_stays_over_a_restart),
    HARNESS_TEST(damage_is_forgotten_when_it_is_cut_off),
    HARNESS_TEST(a_reset_heals_a_damaged_log),
};

HARNESS_MAIN(tests);
