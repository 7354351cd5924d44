#include "services/storage/partition_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/log_fixture.h"

/* One at a time: it is large. */
static struct log_fixture fixture;
static struct log_fixture *const f = &fixture;

static void reopen(void)
{
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
}

/* ---- append, roll, reopen ---- */

static void a_new_log_is_empty(void)
{
    struct partition_log_range range;

    log_fixture_begin(f, 1);
    CU_ASSERT_EQUAL(partition_log_start_offset(f->log), 0);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 0);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 0);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 0, 0, 100, &range), RIA_OK);
    CU_ASSERT_EQUAL(range.size, 0);
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 1, 1, 100, &range), RIA_ERR_OFFSET_OUT_OF_RANGE);
    log_fixture_fini(f);
}

static void what_is_appended_is_read_back_across_segments(void)
{
    log_fixture_begin(f, 2);
    log_fixture_append_many(f, 200, 100);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 600);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 0);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 600);
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 600);
    CU_ASSERT(log_fixture_exists(f, log_fixture_path(0, ".index")));
    CU_ASSERT(log_fixture_exists(f, log_fixture_path(0, ".timeindex")));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 600);
    for (int64_t from = 0; from < 600; from += 7) {
        CU_ASSERT_EQUAL(log_fixture_verify(f, from), 600);
    }
    log_fixture_fini(f);
}

static void a_segment_rolls_when_it_would_grow_past_its_size(void)
{
    log_fixture_begin(f, 3);
    log_fixture_append_many(f, 100, 100);
    log_fixture_sync(f);
    CU_ASSERT(log_fixture_file_size(f, log_fixture_path(0, ".log")) <= 4096);
    CU_ASSERT(log_fixture_file_size(f, log_fixture_path(0, ".log")) > 4096 - 61 - 5 * 120);
    log_fixture_fini(f);
}

static void a_batch_larger_than_a_segment_gets_its_own(void)
{
    log_fixture_begin(f, 4);
    log_fixture_append_many(f, 3, 100);
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 20000), RIA_OK);
    log_fixture_append_many(f, 3, 100);
    CU_ASSERT(log_fixture_file_size(f, log_fixture_path(6, ".log")) > 20000);
    CU_ASSERT(log_fixture_exists(f, log_fixture_path(7, ".log")));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 13);
    log_fixture_fini(f);
}

static void a_clean_end_is_reopened_without_a_scan(void)
{
    log_fixture_begin(f, 5);
    log_fixture_append_many(f, 200, 100);
    reopen();
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 600);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 600);
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage."), 0);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 600);
    log_fixture_append_many(f, 200, 100);
    reopen();
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 1200);
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage."), 0);
    log_fixture_fini(f);
}

static void a_reopened_log_that_is_closed_again_writes_nothing(void)
{
    log_fixture_begin(f, 6);
    log_fixture_append_many(f, 20, 100);
    reopen();
    struct ria_fs_sim_faults faults = {.fail_write_one_in = 1, .fail_sync_one_in = 1};
    ria_fs_sim_set_faults(f->fs, &faults);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    log_fixture_fini(f);
}

static void a_kill_loses_nothing_that_was_written(void)
{
    log_fixture_begin(f, 7);
    log_fixture_append_many(f, 100, 100);
    log_fixture_crash(f, false);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 300);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 300);
    log_fixture_crash(f, true); /* the open synced it */
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 300);
    log_fixture_fini(f);
}

/* ---- locate ---- */

static void a_range_ends_before_the_high_watermark(void)
{
    struct partition_log_range range;

    log_fixture_begin(f, 8);
    log_fixture_append_many(f, 20, 10); /* 1, 2, 3, 4, 5, 1, ... records */
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 0, 6, 100000, &range), RIA_OK);
    CU_ASSERT_EQUAL(range.next_offset, 6);
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 0, 5, 100000, &range), RIA_OK);
    CU_ASSERT_EQUAL(range.next_offset, 3);
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 4, 6, 100000, &range), RIA_OK);
    CU_ASSERT_EQUAL(range.next_offset, 6);
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 3, 4, 100000, &range), RIA_OK);
    CU_ASSERT_EQUAL(range.size, 0);
    CU_ASSERT_EQUAL(range.next_offset, 3);
    CU_ASSERT_EQUAL(
        partition_log_locate(f->log, 7, 6, 100000, &range), RIA_ERR_OFFSET_OUT_OF_RANGE
    );
    log_fixture_fini(f);
}

static void a_range_holds_at_least_one_batch_and_at_most_what_fits(void)
{
    struct partition_log_range range;

    log_fixture_begin(f, 9);
    log_fixture_append_many(f, 20, 10);
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 0, 60, 1, &range), RIA_OK);
    CU_ASSERT_EQUAL(range.next_offset, 1);
    uint32_t first = range.size;
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 1, 60, 1, &range), RIA_OK);
    uint32_t second = range.size;
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 0, 60, first + second, &range), RIA_OK);
    CU_ASSERT_EQUAL(range.next_offset, 3);
    CU_ASSERT_EQUAL(partition_log_locate(f->log, 0, 60, first + second - 1, &range), RIA_OK);
    CU_ASSERT_EQUAL(range.next_offset, 1);
    log_fixture_fini(f);
}

/* ---- followers ---- */

/* Copy everything in `from` behind `offset` to a buffer. */
static uint8_t *read_all(struct partition_log *from, int64_t offset, size_t *out_size)
{
    static uint8_t bytes[1024 * 1024];
    struct partition_log_range range;
    size_t size = 0;

    while (offset < partition_log_end_offset(from)) {
        RIA_ASSERT(partition_log_locate(from, offset, INT64_MAX, 1024 * 1024, &range) == RIA_OK);
        RIA_ASSERT(size + range.size <= sizeof(bytes));
        RIA_ASSERT(partition_log_read(from, &range, bytes + size) == RIA_OK);
        size += range.size;
        offset = range.next_offset;
    }
    *out_size = size;
    return bytes;
}

static void a_follower_takes_batches_as_they_are(void)
{
    size_t size = 0;

    log_fixture_begin(f, 10);
    log_fixture_append_many(f, 60, 100);
    f->epoch = 4;
    log_fixture_append_many(f, 60, 100);
    uint8_t *bytes = read_all(f->log, 0, &size);
    CU_ASSERT_EQUAL(partition_log_reset(f->log, 0), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_append_batches(f->log, ria_slice_of(bytes, size)), RIA_OK);
    partition_log_check(f->log);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 360);
    uint32_t count = 0;
    const struct leader_epoch_entry *epochs = partition_log_epochs(f->log, &count);
    CU_ASSERT_EQUAL(count, 2);
    CU_ASSERT_EQUAL(epochs[1].epoch, 4);
    CU_ASSERT_EQUAL(epochs[1].start_offset, 180);
    CU_ASSERT(log_fixture_file_size(f, log_fixture_path(0, ".log")) <= 4096);
    log_fixture_fini(f);
}

static void a_follower_knows_the_producers_when_it_leads(void)
{
    size_t size = 0;
    int64_t offset = -1;

    log_fixture_begin(f, 23);
    CU_ASSERT_EQUAL(log_fixture_produce(f, 7, 0, 0, 2, &offset), RIA_OK);
    CU_ASSERT_EQUAL(log_fixture_produce(f, 7, 0, 2, 2, &offset), RIA_OK);
    uint8_t *bytes = read_all(f->log, 0, &size);
    CU_ASSERT_EQUAL(partition_log_reset(f->log, 0), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_append_batches(f->log, ria_slice_of(bytes, size)), RIA_OK);
    f->epoch = 2; /* the leader is gone, this one takes over, the producer tries again */
    CU_ASSERT_EQUAL(log_fixture_produce(f, 7, 0, 2, 2, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, 2);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 4);
    CU_ASSERT_EQUAL(log_fixture_produce(f, 7, 0, 4, 1, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, 4);
    log_fixture_fini(f);
}

static void a_follower_refuses_what_does_not_join_or_is_bad(void)
{
    size_t size = 0;
    uint8_t bad[100000];

    log_fixture_begin(f, 11);
    log_fixture_append_many(f, 2, 100);
    int64_t middle = partition_log_end_offset(f->log);
    log_fixture_append_many(f, 2, 100);
    uint8_t *bytes = read_all(f->log, middle, &size);
    memcpy(bad, bytes, size);
    CU_ASSERT_EQUAL(
        partition_log_append_batches(f->log, ria_slice_of(bad, size)), RIA_ERR_CONFLICT
    );
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, middle), RIA_OK);
    bad[size - 1] ^= 1;
    CU_ASSERT_EQUAL(partition_log_append_batches(f->log, ria_slice_of(bad, size)), RIA_ERR_CORRUPT);
    bad[size - 1] ^= 1;
    CU_ASSERT_EQUAL(
        partition_log_append_batches(f->log, ria_slice_of(bad, size - 1)), RIA_ERR_MALFORMED
    );
    batch_patch(bad, middle, 0); /* epoch 0 behind epoch 1 */
    CU_ASSERT_EQUAL(
        partition_log_append_batches(f->log, ria_slice_of(bad, size)), RIA_ERR_CONFLICT
    );
    batch_patch(bad, middle, 1);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), middle);
    CU_ASSERT_EQUAL(partition_log_append_batches(f->log, ria_slice_of(bad, size)), RIA_OK);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), middle + 3);
    log_fixture_fini(f);
}

static void a_leader_does_not_append_under_an_older_epoch(void)
{
    log_fixture_begin(f, 12);
    f->epoch = 5;
    log_fixture_append_many(f, 1, 10);
    f->epoch = 4;
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 10), RIA_ERR_FENCED_EPOCH);
    log_fixture_fini(f);
}

/* ---- sync ---- */

static void one_sync_covers_all_appends_before_it(void)
{
    log_fixture_begin(f, 13);
    struct ria_fs_sim_faults faults = {.sync_delay_us_min = 1000, .sync_delay_us_max = 1000};
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_append_many(f, 5, 10);
    partition_log_sync(f->log);
    CU_ASSERT_TRUE(partition_log_is_syncing(f->log));
    log_fixture_append_many(f, 5, 10);
    partition_log_sync(f->log);
    log_fixture_advance_us(f, 1000);
    CU_ASSERT_EQUAL(f->synced_count, 1);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 15);
    CU_ASSERT_TRUE(partition_log_is_syncing(f->log));
    log_fixture_advance_us(f, 1000);
    CU_ASSERT_EQUAL(f->synced_count, 2);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 30);
    CU_ASSERT_FALSE(partition_log_is_syncing(f->log));
    log_fixture_fini(f);
}

static void a_new_segment_counts_only_after_the_old_one_is_synced(void)
{
    log_fixture_begin(f, 14);
    struct ria_fs_sim_faults faults = {.sync_delay_us_min = 1000, .sync_delay_us_max = 1000};
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_append_many(f, 30, 100);
    int64_t second = 0;
    for (int64_t o = 1; o < 90 && second == 0; o++) {
        second = log_fixture_exists(f, log_fixture_path(o, ".log")) ? o : 0;
    }
    CU_ASSERT(second > 0);
    partition_log_sync(f->log);
    log_fixture_advance_us(f, 1000);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), second);
    CU_ASSERT(log_fixture_exists(f, log_fixture_path(0, ".index")));
    CU_ASSERT_FALSE(log_fixture_exists(f, log_fixture_path(second, ".index")));
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 90);
    log_fixture_fini(f);
}

static void a_relaxed_log_counts_at_once_but_checkpoints_the_disk(void)
{
    log_fixture_begin(f, 15);
    f->options.relaxed = true;
    partition_log_set_options(f->log, &f->options);
    log_fixture_append_many(f, 10, 10);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 30);
    log_fixture_take_checkpoint(f);
    CU_ASSERT_EQUAL(f->checkpoint.synced_offset, 0);
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    CU_ASSERT_EQUAL(f->checkpoint.synced_offset, 30);
    log_fixture_append_many(f, 10, 10);
    f->options.relaxed = false;
    partition_log_set_options(f->log, &f->options);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 30); /* what is on disk */
    CU_ASSERT_TRUE(partition_log_is_syncing(f->log));
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 60);
    log_fixture_fini(f);
}

static void a_failed_sync_stops_appends_and_not_reads(void)
{
    log_fixture_begin(f, 16);
    log_fixture_append_many(f, 10, 10);
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 1};
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(f->synced_err, RIA_ERR_IO);
    CU_ASSERT_TRUE(partition_log_has_failed(f->log));
    CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), 0);
    faults.fail_sync_one_in = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 10), RIA_ERR_IO);
    partition_log_sync(f->log);
    CU_ASSERT_FALSE(partition_log_is_syncing(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 30);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 0), RIA_ERR_IO);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_ERR_IO);
    log_fixture_fini(f);
}

static void pages_that_a_failed_sync_left_clean_are_written_again_at_open(void)
{
    log_fixture_begin(f, 17);
    log_fixture_append_many(f, 10, 10);
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 1};
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_sync(f);
    faults.fail_sync_one_in = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_crash(f, false);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    int64_t synced = partition_log_synced_offset(f->log);
    log_fixture_crash(f, true);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), synced);
    log_fixture_fini(f);
}

static void a_failed_write_stops_the_log_and_its_bytes_are_cut_at_open(void)
{
    log_fixture_begin(f, 18);
    log_fixture_append_many(f, 10, 10);
    log_fixture_sync(f);
    struct ria_fs_sim_faults faults = {.fail_write_one_in = 1};
    ria_fs_sim_set_faults(f->fs, &faults);
    CU_ASSERT_EQUAL(log_fixture_append(f, 5, 500), RIA_ERR_IO);
    CU_ASSERT_TRUE(partition_log_has_failed(f->log));
    faults.fail_write_one_in = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 10), RIA_ERR_IO);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 30);
    log_fixture_crash(f, false);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 30);
    log_fixture_append_many(f, 1, 10);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 31);
    log_fixture_fini(f);
}

static void a_full_disk_refuses_appends_until_there_is_room(void)
{
    log_fixture_begin(f, 19);
    log_fixture_append_many(f, 10, 100);
    log_fixture_sync(f);
    struct ria_fs_sim_faults faults = {.capacity_bytes = 24 * 1024};
    ria_fs_sim_set_faults(f->fs, &faults);
    ria_err err = RIA_OK;
    int64_t end = 0;
    for (int i = 0; i < 1000 && err == RIA_OK; i++) {
        end = partition_log_end_offset(f->log);
        err = log_fixture_append(f, 3, 100);
    }
    CU_ASSERT_EQUAL(err, RIA_ERR_NO_SPACE);
    CU_ASSERT_FALSE(partition_log_has_failed(f->log));
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), end);
    CU_ASSERT_EQUAL(log_fixture_append(f, 3, 100), RIA_ERR_NO_SPACE);
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end);
    faults.capacity_bytes = 0;
    ria_fs_sim_set_faults(f->fs, &faults);
    log_fixture_append_many(f, 100, 100);
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end + 300);
    reopen();
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end + 300);
    log_fixture_fini(f);
}

/* ---- time ---- */

static void the_first_record_at_or_after_a_time_is_found(void)
{
    int64_t offset = 0;
    int64_t timestamp_ms = 0;

    log_fixture_begin(f, 20);
    log_fixture_append_many(f, 300, 30);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t o = 0; o < 900; o += 13) {
            CU_ASSERT_EQUAL(
                partition_log_find_time(f->log, 1000 + 10 * o - 3, 900, &offset, &timestamp_ms),
                RIA_OK
            );
            CU_ASSERT_EQUAL(offset, o);
            CU_ASSERT_EQUAL(timestamp_ms, 1000 + 10 * o);
        }
        CU_ASSERT_EQUAL(partition_log_find_time(f->log, 0, 900, &offset, &timestamp_ms), RIA_OK);
        CU_ASSERT_EQUAL(offset, 0);
        CU_ASSERT_EQUAL(partition_log_find_time(f->log, 9991, 900, &offset, &timestamp_ms), RIA_OK);
        CU_ASSERT_EQUAL(offset, -1);
        CU_ASSERT_EQUAL(partition_log_find_time(f->log, 3000, 200, &offset, &timestamp_ms), RIA_OK);
        CU_ASSERT_EQUAL(offset, -1); /* offset 200 is not below the end asked for */
        reopen();
    }
    log_fixture_fini(f);
}

static void a_missing_time_index_is_rebuilt(void)
{
    int64_t offset = 0;
    int64_t timestamp_ms = 0;

    log_fixture_begin(f, 21);
    log_fixture_append_many(f, 100, 100);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    log_fixture_unlink(f, log_fixture_path(0, ".timeindex"));
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_find_time(f->log, 1050, 300, &offset, &timestamp_ms), RIA_OK);
    CU_ASSERT_EQUAL(offset, 5);
    CU_ASSERT_EQUAL(log_fixture_logged(f, "storage.index_rebuilt"), 1);
    CU_ASSERT(log_fixture_exists(f, log_fixture_path(0, ".timeindex")));
    log_fixture_fini(f);
}

/* ---- many logs ---- */

static void ignore_synced(void *arg, ria_err err)
{
    (void)arg;
    (void)err;
}

static ria_err open_nth(int i, struct partition_log **out_log)
{
    char dir[64];

    (void)snprintf(dir, sizeof(dir), "data/many-%d", i);
    return partition_log_open(
        &f->env,
        f->cache,
        dir,
        &f->topic_id,
        i,
        &f->options,
        &f->checkpoint,
        ignore_synced,
        f,
        out_log
    );
}

static void a_thousand_logs_share_sixteen_files(void)
{
    enum { LOGS = 1000 };
    static struct partition_log *logs[LOGS];

    log_fixture_init(f, 22);
    CU_ASSERT_EQUAL_FATAL(segment_cache_new(f->fs, 16, &f->cache), RIA_OK);
    for (int i = 0; i < LOGS; i++) {
        CU_ASSERT_EQUAL_FATAL(open_nth(i, &logs[i]), RIA_OK);
    }
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < LOGS; i++) {
            f->log = logs[i];
            CU_ASSERT_EQUAL(log_fixture_append(f, 1, 1000), RIA_OK);
            CU_ASSERT_EQUAL(partition_log_end_offset(f->log), round + 1);
        }
        CU_ASSERT(segment_cache_open_count(f->cache) <= 16);
    }
    for (int i = 0; i < LOGS; i++) {
        struct partition_log_range range;
        uint8_t bytes[4096];
        CU_ASSERT_EQUAL(partition_log_locate(logs[i], 2, 12, 4096, &range), RIA_OK);
        CU_ASSERT_EQUAL(partition_log_read(logs[i], &range, bytes), RIA_OK);
        f->log = logs[i];
        log_fixture_sync(f);
        CU_ASSERT_EQUAL(partition_log_synced_offset(logs[i]), 12);
        CU_ASSERT(ria_fs_sim_open_count(f->fs) <= 16);
    }
    f->log = NULL;
    for (int i = 0; i < LOGS; i++) {
        CU_ASSERT_EQUAL(partition_log_close(logs[i]), RIA_OK);
    }
    for (int i = 0; i < LOGS; i += 50) {
        CU_ASSERT_EQUAL(open_nth(i, &logs[i]), RIA_OK);
        CU_ASSERT_EQUAL(partition_log_end_offset(logs[i]), 12);
        CU_ASSERT_EQUAL(partition_log_close(logs[i]), RIA_OK);
    }
    log_fixture_fini(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_new_log_is_empty),
    HARNESS_TEST(what_is_appended_is_read_back_across_segments),
    HARNESS_TEST(a_segment_rolls_when_it_would_grow_past_its_size),
    HARNESS_TEST(a_batch_larger_than_a_segment_gets_its_own),
    HARNESS_TEST(a_clean_end_is_reopened_without_a_scan),
    HARNESS_TEST(a_reopened_log_that_is_closed_again_writes_nothing),
    HARNESS_TEST(a_kill_loses_nothing_that_was_written),
    HARNESS_TEST(a_range_ends_before_the_high_watermark),
    HARNESS_TEST(a_range_holds_at_least_one_batch_and_at_most_what_fits),
    HARNESS_TEST(a_follower_takes_batches_as_they_are),
    HARNESS_TEST(a_follower_knows_the_producers_when_it_leads),
    HARNESS_TEST(a_follower_refuses_what_does_not_join_or_is_bad),
    HARNESS_TEST(a_leader_does_not_append_under_an_older_epoch),
    HARNESS_TEST(one_sync_covers_all_appends_before_it),
    HARNESS_TEST(a_new_segment_counts_only_after_the_old_one_is_synced),
    HARNESS_TEST(a_relaxed_log_counts_at_once_but_checkpoints_the_disk),
    HARNESS_TEST(a_failed_sync_stops_appends_and_not_reads),
    HARNESS_TEST(pages_that_a_failed_sync_left_clean_are_written_again_at_open),
    HARNESS_TEST(a_failed_write_stops_the_log_and_its_bytes_are_cut_at_open),
    HARNESS_TEST(a_full_disk_refuses_appends_until_there_is_room),
    HARNESS_TEST(the_first_record_at_or_after_a_time_is_found),
    HARNESS_TEST(a_missing_time_index_is_rebuilt),
    HARNESS_TEST(a_thousand_logs_share_sixteen_files),
};
HARNESS_MAIN(tests);
