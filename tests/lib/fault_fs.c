#include "tests/lib/fault_fs.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/fs_sim.h"
#include "common/list.h"

enum { FAULT_PATH_MAX = 1024 };

struct fault_fs {
    struct ria_fs base;
    struct ria_fs *inner;
    struct ria_timers *timers;
    void (*around)(void *arg, bool core);
    void *arg;
    struct fault fault;
    uint64_t calls; /* of the fault's kind, since it was set */
    bool struck;
    size_t open_count;
    struct ria_list syncs; /* under way */
};

struct fault_file {
    struct ria_file base;
    struct ria_file *inner;
    char dir[FAULT_PATH_MAX];
};

/* A sync in the pool. */
struct pool_sync {
    struct ria_list link;
    struct ria_timer timer;
    struct fault_file *file;
    struct ria_fs_sync *sync;
    bool fails;
};

const char *fault_kind_name(fault_kind kind)
{
    static const char *const names[] = {
#define NAME_(name, text) #text,
        FAULT_KINDS(NAME_)
#undef NAME_
    };

    return names[kind];
}

static struct fault_fs *fs_of(struct ria_fs *fs)
{
    return RIA_CONTAINER(fs, struct fault_fs, base);
}

static struct fault_file *file_of(struct ria_file *file)
{
    return RIA_CONTAINER(file, struct fault_file, base);
}

static void enter(struct fault_fs *fs)
{
    if (fs->around != NULL) {
        fs->around(fs->arg, false);
    }
}

static void leave(struct fault_fs *fs)
{
    if (fs->around != NULL) {
        fs->around(fs->arg, true);
    }
}

static bool is_change(fault_kind kind)
{
    return kind == FAULT_WRITE || kind == FAULT_TRUNCATE || kind == FAULT_SYNC ||
           kind == FAULT_SYNC_DIR || kind == FAULT_MKDIR || kind == FAULT_RENAME ||
           kind == FAULT_UNLINK;
}

static bool strikes(struct fault_fs *fs, fault_kind kind)
{
    bool counts = fs->fault.any_change ? is_change(kind) : kind == fs->fault.kind;

    if (fs->fault.at == 0 || !counts) {
        return false;
    }
    fs->calls++;
    bool now = fs->calls == fs->fault.at || (fs->fault.and_later && fs->calls > fs->fault.at);
    fs->struck = fs->struck || now;
    return now;
}

/* The body of a call that has no more to it. */
#define FAULT_CALL(fs, kind, call)   \
    do {                             \
        struct fault_fs *fs_ = (fs); \
        if (strikes(fs_, kind)) {    \
            return fs_->fault.err;   \
        }                            \
        enter(fs_);                  \
        ria_err err_ = (call);       \
        leave(fs_);                  \
        return err_;                 \
    } while (false)

/* ---- files ---- */

static ria_err
wrap(struct fault_fs *fs, const char *path, struct ria_file *inner, struct ria_file **out_file)
{
    struct fault_file *file = calloc(1, sizeof(*file));

    RIA_ASSERT(file != NULL);
    file->base.fs = &fs->base;
    file->inner = inner;
    ria_fs_dir_of(path, file->dir, sizeof(file->dir));
    fs->open_count++;
    *out_file = &file->base;
    return RIA_OK;
}

static ria_err
fault_open(struct ria_fs *base, const char *path, unsigned flags, struct ria_file **out_file)
{
    struct fault_fs *fs = fs_of(base);
    struct ria_file *inner = NULL;

    if (strikes(fs, FAULT_OPEN)) {
        return fs->fault.err;
    }
    enter(fs);
    ria_err err = ria_fs_open(fs->inner, path, flags, &inner);
    if (err == RIA_OK) {
        err = wrap(fs, path, inner, out_file);
    }
    leave(fs);
    return err;
}

static ria_err fault_lock(struct ria_fs *base, const char *path, struct ria_file **out_file)
{
    struct fault_fs *fs = fs_of(base);
    struct ria_file *inner = NULL;

    if (strikes(fs, FAULT_OPEN)) {
        return fs->fault.err;
    }
    enter(fs);
    ria_err err = ria_fs_lock(fs->inner, path, &inner);
    if (err == RIA_OK) {
        err = wrap(fs, path, inner, out_file);
    }
    leave(fs);
    return err;
}

static void fault_close(struct ria_file *base)
{
    struct fault_file *file = file_of(base);
    struct fault_fs *fs = fs_of(base->fs);

    enter(fs);
    ria_fs_close(file->inner);
    free(file);
    fs->open_count--;
    leave(fs);
}

static ria_err
fault_pread(struct ria_file *base, void *data, size_t size, uint64_t at, size_t *out_read)
{
    FAULT_CALL(
        fs_of(base->fs), FAULT_READ, ria_fs_pread(file_of(base)->inner, data, size, at, out_read)
    );
}

static ria_err fault_pwrite(struct ria_file *base, const void *data, size_t size, uint64_t at)
{
    struct fault_fs *fs = fs_of(base->fs);
    bool fails = strikes(fs, FAULT_WRITE);
    size_t taken = !fails ? size : fs->fault.half ? size / 2 : 0;
    ria_err err = RIA_OK;

    enter(fs);
    if (taken > 0) {
        err = ria_fs_pwrite(file_of(base)->inner, data, taken, at);
    }
    leave(fs);
    return fails ? fs->fault.err : err;
}

static ria_err fault_size(struct ria_file *base, uint64_t *out_size)
{
    FAULT_CALL(fs_of(base->fs), FAULT_SIZE, ria_fs_size(file_of(base)->inner, out_size));
}

static ria_err fault_truncate(struct ria_file *base, uint64_t size)
{
    FAULT_CALL(fs_of(base->fs), FAULT_TRUNCATE, ria_fs_truncate(file_of(base)->inner, size));
}

/* ---- syncs ---- */

/* As the disk would fail it: some pages are durable, all are clean. */
static ria_err sync_inner(struct fault_fs *fs, struct fault_file *file, bool fails)
{
    const struct ria_fs_sim_faults none = {0};
    const struct ria_fs_sim_faults failing = {.fail_sync_one_in = 1};

    enter(fs);
    ria_fs_sim_set_faults(fs->inner, fails ? &failing : &none);
    ria_err err = ria_fs_sync(file->inner);
    ria_fs_sim_set_faults(fs->inner, &none);
    leave(fs);
    return fails ? fs->fault.err : err;
}

static ria_err fault_sync(struct ria_file *base)
{
    struct fault_fs *fs = fs_of(base->fs);

    return sync_inner(fs, file_of(base), strikes(fs, FAULT_SYNC));
}

static ria_err sync_dir_inner(struct fault_fs *fs, const char *path)
{
    FAULT_CALL(fs, FAULT_SYNC_DIR, ria_fs_sync_dir(fs->inner, path));
}

static void on_due(struct ria_timer *timer, void *arg)
{
    struct fault_fs *fs = arg;
    struct pool_sync *pool = RIA_CONTAINER(timer, struct pool_sync, timer);
    struct ria_fs_sync *sync = pool->sync;

    sync->result = sync_inner(fs, pool->file, pool->fails);
    if (sync->result == RIA_OK && sync->with_dir) {
        sync->result = sync_dir_inner(fs, pool->file->dir);
    }
    ria_list_remove(&pool->link);
    free(pool);
    sync->done(sync);
}

static void fault_sync_start(struct ria_file *base, struct ria_fs_sync *sync)
{
    struct fault_fs *fs = fs_of(base->fs);

    enter(fs);
    struct pool_sync *pool = calloc(1, sizeof(*pool));
    RIA_ASSERT(pool != NULL);
    pool->file = file_of(base);
    pool->sync = sync;
    pool->fails = strikes(fs, FAULT_SYNC);
    ria_list_push_back(&fs->syncs, &pool->link);
    ria_timer_init(&pool->timer, on_due, fs);
    ria_timer_start(fs->timers, &pool->timer, FAULT_FS_SYNC_US);
    leave(fs);
}

static ria_err fault_sync_dir(struct ria_fs *base, const char *path)
{
    return sync_dir_inner(fs_of(base), path);
}

/* ---- names ---- */

static ria_err fault_mkdir(struct ria_fs *base, const char *path)
{
    FAULT_CALL(fs_of(base), FAULT_MKDIR, ria_fs_mkdir(fs_of(base)->inner, path));
}

static ria_err fault_rename(struct ria_fs *base, const char *from, const char *to)
{
    FAULT_CALL(fs_of(base), FAULT_RENAME, ria_fs_rename(fs_of(base)->inner, from, to));
}

static ria_err fault_unlink(struct ria_fs *base, const char *path)
{
    FAULT_CALL(fs_of(base), FAULT_UNLINK, ria_fs_unlink(fs_of(base)->inner, path));
}

static ria_err fault_rmdir(struct ria_fs *base, const char *path)
{
    FAULT_CALL(fs_of(base), FAULT_UNLINK, ria_fs_rmdir(fs_of(base)->inner, path));
}

struct listing {
    struct fault_fs *fs;
    ria_fs_list_fn fn; /* the core's */
    void *arg;
};

static bool on_entry(void *arg, const char *name, bool is_dir)
{
    const struct listing *listing = arg;

    leave(listing->fs);
    bool more = listing->fn(listing->arg, name, is_dir);
    enter(listing->fs);
    return more;
}

static ria_err fault_list(struct ria_fs *base, const char *path, ria_fs_list_fn fn, void *arg)
{
    struct listing listing = {fs_of(base), fn, arg};

    FAULT_CALL(listing.fs, FAULT_LIST, ria_fs_list(listing.fs->inner, path, on_entry, &listing));
}

static ria_err fault_free_bytes(struct ria_fs *base, const char *path, uint64_t *out_bytes)
{
    FAULT_CALL(
        fs_of(base), FAULT_FREE_BYTES, ria_fs_free_bytes(fs_of(base)->inner, path, out_bytes)
    );
}

/* ---- life ---- */

static const struct ria_fs_ops ops = {
    .open = fault_open,
    .close = fault_close,
    .pread = fault_pread,
    .pwrite = fault_pwrite,
    .size = fault_size,
    .truncate = fault_truncate,
    .sync = fault_sync,
    .sync_start = fault_sync_start,
    .sync_dir = fault_sync_dir,
    .mkdir = fault_mkdir,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .rmdir = fault_rmdir,
    .list = fault_list,
    .free_bytes = fault_free_bytes,
    .lock = fault_lock,
};

struct fault_fs *fault_fs_new(
    struct ria_fs *inner, struct ria_timers *timers, void (*around)(void *arg, bool core), void *arg
)
{
    struct fault_fs *fs = calloc(1, sizeof(*fs));

    RIA_ASSERT(fs != NULL);
    fs->base.ops = &ops;
    fs->inner = inner;
    fs->timers = timers;
    fs->around = around;
    fs->arg = arg;
    ria_list_init(&fs->syncs);
    return fs;
}

void fault_fs_crash(struct fault_fs *fs)
{
    while (!ria_list_is_empty(&fs->syncs)) {
        struct pool_sync *pool = RIA_CONTAINER(fs->syncs.next, struct pool_sync, link);
        ria_timer_stop(fs->timers, &pool->timer);
        ria_list_remove(&pool->link);
        free(pool);
    }
}

void fault_fs_free(struct fault_fs *fs)
{
    RIA_ASSERT(fs->open_count == 0);
    free(fs);
}

struct ria_fs *fault_fs_fs(struct fault_fs *fs)
{
    return &fs->base;
}

void fault_fs_set(struct fault_fs *fs, const struct fault *fault)
{
    fs->fault = *fault;
    fs->calls = 0;
    fs->struck = false;
}

bool fault_fs_has_struck(const struct fault_fs *fs)
{
    return fs->struck;
}

size_t fault_fs_open_count(const struct fault_fs *fs)
{
    return fs->open_count;
}
