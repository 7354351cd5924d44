/* What an open makes of what a crash, a bad disk or an operator left (docs/formats/partition.md).
 */
#include "services/storage/recovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/storage/partition_log.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/log_fixture.h"

/* One at a time: it is large. */
static struct log_fixture fixture;
static struct log_fixture *const f = &fixture;

static void begin(uint64_t seed)
{
    log_fixture_init(f, seed);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
}

static void append_many(int count, size_t value_size)
{
    for (int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(log_fixture_append(f, 1 + i % 5, value_size), RIA_OK);
    }
}

static void open_again(void)
{
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
}

/* Byte at which the batch that holds offset begins in its segment. */
static uint64_t position_of(int64_t offset, int64_t *out_segment)
{
    struct partition_log_range range;

    RIA_ASSERT(partition_log_locate(f->log, offset, INT64_MAX, 1, &range) == RIA_OK);
    *out_segment = range.segment_base_offset;
    return range.position;
}

/* Base offset of the n-th segment. */
static int64_t segment_base(int n)
{
    for (int64_t o = 0; o < LOG_FIXTURE_OFFSETS_MAX; o++) {
        if (log_fixture_exists(f, log_fixture_path(o, ".log")) && n-- == 0) {
            return o;
        }
    }
    return -1;
}

/* ---- tails ---- */

static void a_torn_tail_is_cut(void)
{
    int64_t segment = 0;

    begin(1);
    append_many(10, 100);
    log_fixture_sync(f);
    uint64_t at = position_of(29, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 90, NULL, 0);
    open_again();
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 25);
    CU_ASSERT_EQUAL(log_fixture_file_size(f, log_fixture_path(segment, ".log")), at);
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage.tail_cut"), 1);
    append_many(3, 100);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 31);
    log_fixture_fini(f);
}

static void a_tail_of_zeros_is_cut(void)
{
    static const uint8_t zeros[8192];
    int64_t segment = 0;

    begin(2);
    append_many(10, 100);
    log_fixture_sync(f);
    uint64_t at = position_of(29, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at, zeros, sizeof(zeros));
    open_again();
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 25);
    log_fixture_fini(f);
}

static void a_bad_batch_above_the_mark_is_a_tail_even_if_good_ones_follow(void)
{
    int64_t segment = 0;

    begin(3);
    append_many(4, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f); /* at 10 */
    append_many(5, 100);
    uint64_t at = position_of(11, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 70, "X", 1);
    open_again();
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 11);
    log_fixture_fini(f);
}

static void segments_behind_a_cut_are_set_aside_not_removed(void)
{
    begin(4);
    append_many(60, 100);
    int64_t second = segment_base(1);
    int64_t third = segment_base(2);
    uint64_t third_size = log_fixture_file_size(f, log_fixture_path(third, ".log"));
    uint64_t size = log_fixture_file_size(f, log_fixture_path(second, ".log"));
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(second, ".log"), size - 1, NULL, 0);
    open_again();
    CU_ASSERT(partition_log_end_offset(f->log) < third);
    CU_ASSERT(partition_log_end_offset(f->log) > second);
    CU_ASSERT_FALSE(log_fixture_exists(f, log_fixture_path(third, ".log")));
    CU_ASSERT_EQUAL(
        log_fixture_file_size(f, log_fixture_path(third, ".log.discarded")), third_size
    );
    int64_t end = partition_log_end_offset(f->log);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end);
    append_many(60, 100);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end + 180);
    log_fixture_fini(f);
}

static void a_segment_behind_a_missing_one_above_the_mark_is_set_aside(void)
{
    begin(5);
    append_many(60, 100);
    int64_t second = segment_base(1);
    int64_t third = segment_base(2);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(second, ".log"));
    open_again();
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), second);
    CU_ASSERT(log_fixture_exists(f, log_fixture_path(third, ".log.discarded")));
    log_fixture_fini(f);
}

/* The rename must be durable before the offsets are given to new batches: otherwise the next power
 * cut brings the old segment back beside them. */
static void a_segment_set_aside_does_not_come_back(void)
{
    for (uint64_t seed = 30; seed < 60; seed++) {
        begin(seed);
        append_many(3, 100);
        CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK); /* the first segment's name is durable */
        open_again();
        append_many(40, 100);
        int64_t second = segment_base(1);
        uint64_t size = log_fixture_file_size(f, log_fixture_path(0, ".log"));
        log_fixture_crash(f, false);
        CU_ASSERT_EQUAL(ria_fs_sync_dir(f->fs, LOG_FIXTURE_DIR), RIA_OK);
        log_fixture_damage(f, log_fixture_path(0, ".log"), size - 1, NULL, 0);
        open_again();
        CU_ASSERT(log_fixture_exists(f, log_fixture_path(second, ".log.discarded")));
        f->options.segment_bytes = 1024 * 1024;
        partition_log_set_options(f->log, &f->options);
        append_many(20, 100);
        log_fixture_sync(f);
        int64_t end = partition_log_end_offset(f->log);
        log_fixture_crash(f, true);
        open_again();
        CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end);
        log_fixture_fini(f);
    }
}

/* Bytes of an append that was refused must not stay behind: between two segments they would look
 * like a tail, and what follows like its remains. */
static void an_append_refused_for_space_leaves_no_bytes_behind(void)
{
    begin(61);
    append_many(6, 100);
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
    append_many(30, 100);
    log_fixture_sync(f);
    int64_t end = partition_log_end_offset(f->log);
    log_fixture_crash(f, true);
    for (int64_t o = 0; o < end; o++) { /* as after a power cut that took them */
        if (log_fixture_exists(f, log_fixture_path(o, ".index"))) {
            log_fixture_unlink(f, log_fixture_path(o, ".index"));
        }
    }
    open_again();
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end);
    log_fixture_fini(f);
}

static void an_epoch_of_a_lost_tail_does_not_come_back(void)
{
    int lost = 0;

    for (uint64_t seed = 70; seed < 100; seed++) {
        begin(seed);
        struct ria_fs_sim_faults faults = {.sync_delay_us_min = 10, .sync_delay_us_max = 10};
        ria_fs_sim_set_faults(f->fs, &faults);
        append_many(25, 100);
        f->epoch = 2;
        int64_t second_epoch = partition_log_end_offset(f->log);
        append_many(10, 100);
        partition_log_sync(f->log);
        log_fixture_advance_us(f, 10); /* seals the first segment: the file has both epochs */
        log_fixture_crash(f, true);
        open_again();
        if (partition_log_end_offset(f->log) <= second_epoch) {
            uint32_t count = 0;
            lost++;
            f->epoch = 1;
            append_many(60, 100);
            log_fixture_sync(f);
            CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
            open_again();
            const struct leader_epoch_entry *epochs = partition_log_epochs(f->log, &count);
            CU_ASSERT_EQUAL(count, 1);
            CU_ASSERT_EQUAL(epochs[0].epoch, 1);
        }
        log_fixture_fini(f);
    }
    CU_ASSERT(lost > 3);
}

/* ---- damage ---- */

static void a_bad_batch_below_the_mark_is_damage_and_nothing_is_cut(void)
{
    int64_t segment = 0;

    begin(6);
    append_many(10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t at = position_of(12, &segment); /* holds 10 to 14 */
    uint64_t size = log_fixture_file_size(f, log_fixture_path(segment, ".log"));
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 70, "X", 1);
    for (int pass = 0; pass < 2; pass++) {
        open_again();
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

    begin(7);
    append_many(10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t at = position_of(12, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at, zeros, sizeof(zeros));
    open_again();
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
        begin(61);
        append_many(10, 100);
        log_fixture_sync(f);
        log_fixture_take_checkpoint(f);
        uint64_t bad = position_of(12, &segment);   /* holds 10 to 14 */
        uint64_t wrong = position_of(15, &segment); /* holds 15 */
        log_fixture_crash(f, false);
        log_fixture_damage(f, log_fixture_path(segment, ".log"), bad + 70, "X", 1);
        log_fixture_damage(
            f, log_fixture_path(segment, ".log"), wrong + (pass == 0 ? 5 : 7), wrongs[pass], 1
        );
        open_again();
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

    begin(63);
    append_many(10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t bad = position_of(22, &segment);   /* holds 21 to 24 */
    uint64_t wrong = position_of(25, &segment); /* holds 25 to 29 */
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), bad + 70, "X", 1);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), wrong + 7, &lower, 1);
    open_again();
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

    begin(62);
    append_many(10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t at = position_of(12, &segment); /* holds 10 to 14 */
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 26, &more, 1);
    open_again();
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

    begin(8);
    append_many(10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t at = position_of(25, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at, NULL, 0);
    open_again();
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 25);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 25);
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 25, 30, 100, &range), RIA_ERR_CORRUPT);
    log_fixture_fini(f);
}

static void a_missing_segment_below_the_mark_is_damage(void)
{
    begin(9);
    append_many(60, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    int64_t second = segment_base(1);
    int64_t third = segment_base(2);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(second, ".log"));
    open_again();
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
    begin(62);
    append_many(60, 100);
    log_fixture_sync(f);
    int64_t second = segment_base(1);
    int64_t third = segment_base(2);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    uint64_t size = log_fixture_file_size(f, log_fixture_path(second, ".log"));
    log_fixture_damage(f, log_fixture_path(second, ".log"), size - 1, NULL, 0);
    open_again();
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
    begin(10);
    append_many(60, 100);
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    int64_t second = segment_base(1);
    log_fixture_unlink(f, log_fixture_path(0, ".log"));
    open_again();
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_start_offset(f->log), 0);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 0);
    CU_ASSERT_EQUAL(log_fixture_verify(f, second), 180);
    log_fixture_fini(f);
}

static void a_log_whose_files_are_all_gone_is_damaged_not_empty(void)
{
    struct partition_log_range range;

    begin(11);
    append_many(5, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(0, ".log"));
    open_again();
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 0, 0, 100, &range), RIA_ERR_CORRUPT);
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 10), RIA_ERR_CORRUPT);
    log_fixture_fini(f);
}

static void damage_found_by_a_read_stays_over_a_restart(void)
{
    int64_t segment = 0;

    begin(12);
    append_many(60, 100);
    log_fixture_sync(f);
    uint64_t at = position_of(12, &segment); /* in the first, sealed segment */
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 70, "X", 1);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT(log_fixture_verify(f, 0) <= 10);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 10), RIA_OK); /* the rest of the log is sound */
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 15), 181);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    open_again();
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 15), 181);
    log_fixture_fini(f);
}

static void damage_is_forgotten_when_it_is_cut_off(void)
{
    int64_t segment = 0;

    begin(13);
    append_many(60, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    uint64_t at = position_of(100, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 70, "X", 1);
    open_again();
    (void)log_fixture_verify(f, 90); /* a sealed segment is not scanned: reading finds it */
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 90), RIA_OK);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 90);
    append_many(10, 100);
    log_fixture_crash(f, false);
    open_again();
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 120);
    log_fixture_fini(f);
}

static void a_reset_heals_a_damaged_log(void)
{
    begin(14);
    append_many(60, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(0, ".log"));
    open_again();
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_reset(f->log, 500), RIA_OK);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    append_many(10, 100);
    log_fixture_sync(f);
    log_fixture_crash(f, true);
    open_again();
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_start_offset(f->log), 500);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 500), 530);
    log_fixture_fini(f);
}

/* ---- index files ---- */

static void a_missing_index_is_rebuilt_and_saved(void)
{
    begin(15);
    append_many(60, 100);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    log_fixture_unlink(f, log_fixture_path(0, ".index"));
    open_again();
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage.index_rebuilt"), 1);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 180);
    CU_ASSERT(log_fixture_exists(f, log_fixture_path(0, ".index")));
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    open_again();
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage.index_rebuilt"), 1);
    log_fixture_fini(f);
}

static void any_flipped_bit_of_an_index_is_noticed(void)
{
    begin(16);
    f->options.segment_bytes = 65536;
    partition_log_set_options(f->log, &f->options);
    append_many(300, 300);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    const char *path = log_fixture_path(0, ".index");
    uint64_t size = log_fixture_file_size(f, path);
    unsigned rebuilt = 0;
    for (uint64_t byte = 0; byte < size; byte++) {
        CU_ASSERT_EQUAL(
            ria_fs_sim_flip_bit(f->fs, log_fixture_path(0, ".index"), byte, (unsigned)byte % 8),
            RIA_OK
        );
        open_again();
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

    begin(17);
    append_many(60, 100);
    log_fixture_sync(f);
    uint64_t at = position_of(12, &segment);
    CU_ASSERT_EQUAL(segment, 0);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    log_fixture_unlink(f, log_fixture_path(0, ".index"));
    log_fixture_damage(f, log_fixture_path(0, ".log"), at + 70, "X", 1);
    open_again(); /* no checkpoint: the later segments' indexes are the mark */
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 15), 180);
    log_fixture_fini(f);
}

static void a_log_shorter_than_its_index_is_damaged(void)
{
    begin(18);
    append_many(5, 100);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    uint64_t size = log_fixture_file_size(f, log_fixture_path(0, ".log"));
    log_fixture_damage(f, log_fixture_path(0, ".log"), size - 1, NULL, 0);
    open_again();
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 10);
    log_fixture_fini(f);
}

/* ---- the small files ---- */

static void bad_small_files_are_rebuilt_from_the_batches(void)
{
    int64_t offset = 0;

    begin(19);
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
    open_again();
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
    begin(20);
    append_many(5, 100);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    f->topic_id.bytes[0] = 77;
    CU_ASSERT_EQUAL(log_fixture_open(f), RIA_ERR_CORRUPT);
    f->topic_id.bytes[0] = 0;
    open_again();
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 15);
    log_fixture_fini(f);
}

static void a_damaged_meta_makes_the_checkpoint_count(void)
{
    begin(21);
    append_many(5, 100);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 10), RIA_OK); /* generation 1 */
    append_many(5, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    CU_ASSERT_EQUAL(f->checkpoint.generation, 1);
    log_fixture_crash(f, false);
    log_fixture_damage(f, LOG_FIXTURE_DIR "/partition.meta", 5, "X", 1);
    int64_t last = 24;
    open_again();
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), last + 1);
    log_fixture_take_checkpoint(f);
    CU_ASSERT_EQUAL(f->checkpoint.generation, 1);
    log_fixture_fini(f);
}

static void a_checkpoint_of_before_a_truncation_means_nothing(void)
{
    begin(22);
    append_many(10, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f); /* synced: 30 */
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 15), RIA_OK);
    log_fixture_crash(f, true);
    open_again();
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 15);
    append_many(10, 100); /* up to 45, none of it synced */
    log_fixture_crash(f, true);
    open_again();
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
    begin(25);
    append_many(60, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    log_fixture_crash(f, false);
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 1};
    ria_fs_sim_set_faults(f->fs, &faults);
    open_again();
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 180);
    faults.fail_sync_one_in = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    append_many(1, 100);
    log_fixture_sync(f);
    log_fixture_crash(f, true);
    open_again();
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 181);
    log_fixture_fini(f);
}

static void what_is_above_the_mark_is_synced_by_an_open(void)
{
    begin(26);
    append_many(4, 100);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    append_many(1, 100);
    log_fixture_crash(f, false);
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 1};
    ria_fs_sim_set_faults(f->fs, &faults);
    CU_ASSERT_EQUAL(log_fixture_open(f), RIA_ERR_IO);
    log_fixture_fini(f);
}

static void names_that_are_not_ours_are_left_alone(void)
{
    struct ria_file *file = NULL;

    begin(23);
    append_many(5, 100);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    CU_ASSERT_EQUAL(
        ria_fs_open(f->fs, LOG_FIXTURE_DIR "/notes.txt", RIA_FS_WRITE | RIA_FS_CREATE, &file),
        RIA_OK
    );
    ria_fs_close(file);
    open_again();
    CU_ASSERT(log_fixture_exists(f, LOG_FIXTURE_DIR "/notes.txt"));
    log_fixture_fini(f);
}

static void a_full_disk_does_not_keep_a_log_from_opening(void)
{
    begin(24);
    append_many(60, 100);
    struct ria_fs_sim_faults faults = {.capacity_bytes = 1};
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_crash(f, false);
    log_fixture_damage(f, LOG_FIXTURE_DIR "/partition.meta", 20, NULL, 0);
    open_again();
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 180);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 180);
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 5000), RIA_ERR_NO_SPACE);
    faults.capacity_bytes = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    append_many(60, 100);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 360);
    log_fixture_fini(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_torn_tail_is_cut),
    HARNESS_TEST(a_tail_of_zeros_is_cut),
    HARNESS_TEST(a_bad_batch_above_the_mark_is_a_tail_even_if_good_ones_follow),
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
