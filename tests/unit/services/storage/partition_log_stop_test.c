/* Fail stop: whatever change of the disk fails, the log it was for stops, and says so. Each call of
 * a short life of a log is failed in its own run. */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/log_fixture.h"

enum { CALLS_MAX = 500, STEPS = 40 };

/* In front of the simulated disk's own table; there is one disk at a time. */
static struct {
    const struct ria_fs_ops *inner;
    struct ria_fs_ops ops;
    struct ria_timers *timers;
    struct ria_timer timer; /* ends the sync that fails */
    struct ria_fs_sync *failing;
    unsigned calls;
    unsigned fail_at; /* 0: none */
    ria_err err;
    const char *struck; /* which call it was; NULL: none yet */
    unsigned calls_later;
} seam;

static ria_err change(const char *name)
{
    seam.calls++;
    seam.calls_later += seam.struck != NULL ? 1 : 0;
    if (seam.calls != seam.fail_at) {
        return RIA_OK;
    }
    seam.struck = name;
    return seam.err;
}

static ria_err
seam_open(struct ria_fs *fs, const char *path, unsigned flags, struct ria_file **out_file)
{
    if ((flags & RIA_FS_CREATE) != 0) {
        RIA_TRY(change("open"));
    }
    return seam.inner->open(fs, path, flags, out_file);
}

static ria_err seam_pwrite(struct ria_file *file, const void *data, size_t size, uint64_t at)
{
    ria_err err = change("pwrite");

    if (err != RIA_OK) { /* some of it is there */
        ria_err ignored = seam.inner->pwrite(file, data, size / 2, at);
        (void)ignored;
        return err;
    }
    return seam.inner->pwrite(file, data, size, at);
}

static ria_err seam_truncate(struct ria_file *file, uint64_t size)
{
    RIA_TRY(change("truncate"));
    return seam.inner->truncate(file, size);
}

static ria_err seam_sync(struct ria_file *file)
{
    RIA_TRY(change("sync"));
    return seam.inner->sync(file);
}

static void on_sync_failed(struct ria_timer *timer, void *arg)
{
    struct ria_fs_sync *sync = RIA_STEAL(&seam.failing);

    (void)timer;
    (void)arg;
    sync->result = RIA_ERR_IO;
    sync->done(sync);
}

static void seam_sync_start(struct ria_file *file, struct ria_fs_sync *sync)
{
    if (change("sync_start") == RIA_OK) {
        seam.inner->sync_start(file, sync);
        return;
    }
    seam.failing = sync;
    ria_timer_start(seam.timers, &seam.timer, 1000);
}

static ria_err seam_sync_dir(struct ria_fs *fs, const char *path)
{
    RIA_TRY(change("sync_dir"));
    return seam.inner->sync_dir(fs, path);
}

static ria_err seam_rename(struct ria_fs *fs, const char *from, const char *to)
{
    RIA_TRY(change("rename"));
    return seam.inner->rename(fs, from, to);
}

static ria_err seam_unlink(struct ria_fs *fs, const char *path)
{
    RIA_TRY(change("unlink"));
    return seam.inner->unlink(fs, path);
}

static void set_seam(struct log_fixture *f, unsigned fail_at, ria_err err)
{
    memset(&seam, 0, sizeof(seam));
    seam.inner = f->fs->ops;
    seam.ops = *f->fs->ops;
    seam.ops.open = seam_open;
    seam.ops.pwrite = seam_pwrite;
    seam.ops.truncate = seam_truncate;
    seam.ops.sync = seam_sync;
    seam.ops.sync_start = seam_sync_start;
    seam.ops.sync_dir = seam_sync_dir;
    seam.ops.rename = seam_rename;
    seam.ops.unlink = seam_unlink;
    seam.timers = &f->timers;
    seam.fail_at = fail_at;
    seam.err = err;
    ria_timer_init(&seam.timer, on_sync_failed, NULL);
    f->fs->ops = &seam.ops;
}

static void take_seam_away(struct log_fixture *f)
{
    ria_timer_stop(&f->timers, &seam.timer);
    f->fs->ops = seam.inner;
}

/* A short life: appends, rolls, syncs, a cut, appends, a reset. One step per call; false: over. */
static ria_err run_step(struct log_fixture *f, int step)
{
    switch (step % 10) {
    case 3:
    case 6:
        log_fixture_sync(f);
        return RIA_OK;
    case 8:
        log_fixture_sync(f);
        return partition_log_truncate(f->log, partition_log_end_offset(f->log) - 3);
    case 9:
        return step == 29 ? partition_log_reset(f->log, 1000) : RIA_OK;
    default:
        return log_fixture_append(f, 5, 300);
    }
}

struct outcome {
    bool struck;
    bool opened;
    int64_t synced_offset; /* as the log said it last */
    int64_t start_offset;
};

/* Checks that a log whose disk failed takes nothing and touches nothing any more. */
static void check_stopped(struct log_fixture *f)
{
    static uint32_t salts[LOG_FIXTURE_OFFSETS_MAX]; /* of what may still be on the disk */
    unsigned later;

    memcpy(salts, f->salts, sizeof(salts));
    CU_ASSERT_TRUE(partition_log_has_failed(f->log));
    log_fixture_advance_us(f, 5000); /* a timer tells, if no call did */
    CU_ASSERT_EQUAL(f->synced_err, RIA_ERR_IO);
    later = seam.calls_later;
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 10), RIA_ERR_IO);
    memcpy(f->salts, salts, sizeof(salts));
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 0), RIA_ERR_IO);
    CU_ASSERT_EQUAL(partition_log_reset(f->log, 0), RIA_ERR_IO);
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(seam.calls_later, later);
    partition_log_check(f->log);
}

/* The life, with call number fail_at of it failing. */
static struct outcome live(struct log_fixture *f, unsigned fail_at, ria_err err)
{
    struct outcome out = {.struck = false};

    set_seam(f, fail_at, err);
    out.opened = log_fixture_open(f) == RIA_OK;
    for (int step = 0; out.opened && step < STEPS && seam.struck == NULL; step++) {
        ria_err result = run_step(f, step);
        CU_ASSERT_TRUE(result == RIA_OK || seam.struck != NULL);
        partition_log_check(f->log);
        if (!partition_log_has_failed(f->log)) { /* as the service does */
            log_fixture_take_checkpoint(f);
        }
    }
    out.struck = seam.struck != NULL;
    if (out.opened) {
        out.synced_offset = partition_log_synced_offset(f->log);
        out.start_offset = partition_log_start_offset(f->log);
    }
    return out;
}

/* With a disk that works again, all that was said to be on it is there. */
static void check_recovered(struct log_fixture *f, const struct outcome *out)
{
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    CU_ASSERT_FALSE(partition_log_has_failed(f->log));
    int64_t from = ria_max_i64(out->start_offset, partition_log_start_offset(f->log));
    int64_t good = log_fixture_verify(f, from);
    CU_ASSERT_TRUE(good >= out->synced_offset || partition_log_start_offset(f->log) > good);
    CU_ASSERT_EQUAL(log_fixture_append(f, 1, 10), RIA_OK);
}

static void every_failed_change_stops_the_log_for_good(void)
{
    struct log_fixture *f = calloc(1, sizeof(*f));
    struct outcome out = {.struck = true};
    unsigned n = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    for (n = 1; out.struck && n < CALLS_MAX; n++) {
        log_fixture_init(f, n);
        out = live(f, n, RIA_ERR_IO);
        if (out.opened && out.struck) {
            check_stopped(f);
        }
        take_seam_away(f);
        log_fixture_crash(f, true);
        if (out.opened) {
            check_recovered(f, &out);
        }
        log_fixture_fini(f);
    }
    CU_ASSERT_TRUE(n > 50); /* there was something to fail */
    CU_ASSERT_FALSE(out.struck);
    free(f);
}

/* A full disk is no failure, unless something was half done. */
static void a_full_disk_at_any_call_loses_nothing(void)
{
    struct log_fixture *f = calloc(1, sizeof(*f));
    struct outcome out = {.struck = true};
    unsigned stopped = 0;
    unsigned n = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    for (n = 1; out.struck && n < CALLS_MAX; n++) {
        log_fixture_init(f, n);
        out = live(f, n, RIA_ERR_NO_SPACE);
        if (out.opened && out.struck && partition_log_has_failed(f->log)) {
            stopped++;
        } else if (out.opened && out.struck) {
            log_fixture_sync(f);
            out.synced_offset = partition_log_synced_offset(f->log);
            CU_ASSERT_EQUAL(log_fixture_append(f, 5, 300), RIA_OK); /* there is room again */
            log_fixture_sync(f);
            CU_ASSERT_EQUAL(partition_log_synced_offset(f->log), partition_log_end_offset(f->log));
            out.synced_offset = partition_log_synced_offset(f->log);
            log_fixture_take_checkpoint(f);
        }
        take_seam_away(f);
        log_fixture_crash(f, true);
        if (out.opened) {
            check_recovered(f, &out);
        }
        log_fixture_fini(f);
    }
    CU_ASSERT_FALSE(out.struck);
    CU_ASSERT_TRUE(stopped < n / 2);
    free(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(every_failed_change_stops_the_log_for_good),
    HARNESS_TEST(a_full_disk_at_any_call_loses_nothing),
};
HARNESS_MAIN(tests);
