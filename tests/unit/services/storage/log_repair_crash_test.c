/* A death in the middle of a repair leaves the hole or the repaired log. */
#include "services/storage/log_repair.h"
#include "services/storage/log_state.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/damaged_log.h"

enum { RECORDS = DAMAGED_LOG_RECORDS };

static struct damaged_log damaged_log;
static struct damaged_log *const d = &damaged_log;
static struct log_fixture *const f = &damaged_log.fixture;

/* Forwards to the simulated disk until the call that kills. */
struct mortal {
    struct ria_fs_ops ops;
    int calls_left; /* of those that change something; -1: immortal */
    bool dead;
};

static struct mortal mortal;
static struct ria_fs_ops mortal_ops;

static bool dies(void)
{
    if (mortal.dead) {
        return true;
    }
    if (mortal.calls_left >= 0 && mortal.calls_left-- == 0) {
        mortal.dead = true;
    }
    return mortal.dead;
}

static ria_err mortal_pwrite(struct ria_file *file, const void *data, size_t size, uint64_t at)
{
    return dies() ? RIA_ERR_IO : mortal.ops.pwrite(file, data, size, at);
}

static ria_err mortal_truncate(struct ria_file *file, uint64_t size)
{
    return dies() ? RIA_ERR_IO : mortal.ops.truncate(file, size);
}

static ria_err mortal_sync(struct ria_file *file)
{
    return dies() ? RIA_ERR_IO : mortal.ops.sync(file);
}

static ria_err mortal_sync_dir(struct ria_fs *fs, const char *path)
{
    return dies() ? RIA_ERR_IO : mortal.ops.sync_dir(fs, path);
}

static ria_err mortal_rename(struct ria_fs *fs, const char *from, const char *to)
{
    return dies() ? RIA_ERR_IO : mortal.ops.rename(fs, from, to);
}

static ria_err mortal_unlink(struct ria_fs *fs, const char *path)
{
    return dies() ? RIA_ERR_IO : mortal.ops.unlink(fs, path);
}

static void make_mortal(int calls)
{
    mortal = (struct mortal){.ops = *f->fs->ops, .calls_left = calls};
}

static void damage_of(int kind)
{
    int64_t second = log_fixture_segment_base(f, 1);

    if (kind == 0) {
        damaged_log_spoil(d, 12, 70);
        damaged_log_spoil(d, 18, 3);
        log_fixture_crash(f, false);
        log_fixture_unlink(f, log_fixture_path(0, ".index"));
    } else if (kind == 1) {
        log_fixture_crash(f, false);
        log_fixture_unlink(f, log_fixture_path(second, ".log"));
    } else {
        uint64_t size = log_fixture_file_size(f, log_fixture_path(second, ".log"));
        log_fixture_crash(f, false);
        log_fixture_damage(f, log_fixture_path(second, ".log"), size - 40, "XXXXXXXXX", 8);
    }
    log_fixture_reopen(f);
    if (kind == 2) { /* an index vouches for it: a read finds it */
        (void)log_fixture_verify(f, second);
        (void)log_fixture_verify(f, second);
    }
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
}

/* Dies at the n-th call that changes the disk. True: it did not come to that. */
static bool die_at(int kind, int call, bool lose)
{
    const struct ria_fs_ops *ops = NULL;

    damaged_log_begin(d, 1000 + (uint64_t)call);
    damage_of(kind);
    ops = f->fs->ops;
    make_mortal(call);
    mortal_ops = *ops;
    mortal_ops.pwrite = mortal_pwrite;
    mortal_ops.truncate = mortal_truncate;
    mortal_ops.sync = mortal_sync;
    mortal_ops.sync_dir = mortal_sync_dir;
    mortal_ops.rename = mortal_rename;
    mortal_ops.unlink = mortal_unlink;
    f->fs->ops = &mortal_ops;
    ria_err err = damaged_log_repair_all(d);
    bool done = !mortal.dead;
    f->fs->ops = ops;
    CU_ASSERT_EQUAL(err == RIA_OK, done || !partition_log_is_damaged(f->log));
    log_fixture_crash(f, lose);
    log_fixture_reopen(f);
    if (partition_log_is_damaged(f->log)) {
        CU_ASSERT_FALSE(done);
        for (int64_t o = 0; o < RECORDS;) { /* nothing bad is read, and nothing else is missing */
            int64_t next = log_fixture_verify(f, o);
            CU_ASSERT(next >= o);
            const struct log_damage *hole = log_damage_from(f->log, next);
            o = hole == NULL ? ria_max_i64(next, o + 1) : hole->to_offset;
        }
    }
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    damaged_log_check_whole_and_end(d);
    return done;
}

static void dying_at_any_call_leaves_the_hole_or_the_repaired_log(void)
{
    for (int kind = 0; kind < 3; kind++) {
        bool done = false;
        int call = 0;
        for (; !done; call++) {
            done = die_at(kind, call, call % 3 != 0);
        }
        CU_ASSERT(call > 8);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(dying_at_any_call_leaves_the_hole_or_the_repaired_log),
};

HARNESS_MAIN(tests);
