#include "common/fs_sim.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/list.h"
#include "common/sim_content.h"
#include "common/sim_names.h"

/* What ria_fs_free_bytes() says of a disk without capacity_bytes. */
#define SIM_FREE_BYTES_UNLIMITED (UINT64_C(1) << 40)

struct sim_fs {
    struct ria_fs base;
    struct ria_timers *timers;
    struct ria_rand *rand;
    struct ria_fs_sim_faults faults;
    struct ria_sim_names names;
    struct ria_list files; /* open */
    struct ria_list dead;  /* were open at a crash, not closed since */
    struct ria_list syncs; /* under way */
};

struct sim_file {
    struct ria_file base;
    struct ria_list link;
    struct ria_sim_node *node; /* NULL: dead */
    struct ria_sim_node *dir;  /* where it was opened */
    bool is_writable;
    bool has_lock;
    unsigned syncs; /* under way */
};

struct sim_sync {
    struct ria_list link;
    struct ria_timer timer;
    struct sim_file *file;
    struct ria_fs_sync *sync;
    struct ria_sim_snapshot snapshot;
};

static struct sim_fs *fs_of(struct ria_fs *fs)
{
    return RIA_CONTAINER(fs, struct sim_fs, base);
}

static struct sim_file *file_of(struct ria_file *file)
{
    return RIA_CONTAINER(file, struct sim_file, base);
}

static bool strikes(struct sim_fs *fs, uint32_t one_in)
{
    return one_in > 0 && ria_rand_one_in(fs->rand, one_in);
}

static uint64_t used_bytes(const struct sim_fs *fs)
{
    uint64_t pages = 0;

    RIA_LIST_FOREACH (it, &fs->names.nodes) {
        pages += RIA_CONTAINER(it, struct ria_sim_node, link)->content.used_pages;
    }
    return pages * RIA_SIM_PAGE_SIZE;
}

/* --- files -------------------------------------------------------------------------------------*/

static struct sim_file *
file_new(struct sim_fs *fs, struct ria_sim_node *node, struct ria_sim_node *dir, bool is_writable)
{
    struct sim_file *file = calloc(1, sizeof(*file));

    RIA_ASSERT(file != NULL);
    file->base.fs = &fs->base;
    file->node = node;
    file->dir = dir;
    file->is_writable = is_writable;
    ria_sim_node_ref(node);
    ria_sim_node_ref(dir);
    ria_list_push_back(&fs->files, &file->link);
    return file;
}

/* The file is closed, or its process is dead. */
static void file_release(struct sim_file *file)
{
    if (file->has_lock) {
        file->node->locked = false;
        file->has_lock = false;
    }
    ria_sim_node_unref(RIA_STEAL(&file->node));
    ria_sim_node_unref(RIA_STEAL(&file->dir));
}

static ria_err
sim_open(struct ria_fs *base, const char *path, unsigned flags, struct ria_file **out_file)
{
    struct sim_fs *fs = fs_of(base);
    struct ria_sim_node *node, *dir;
    const char *name;
    size_t size;

    RIA_ASSERT((flags & RIA_FS_CREATE) == 0 || (flags & RIA_FS_WRITE) != 0);
    RIA_ASSERT((flags & RIA_FS_EXCL) == 0 || (flags & RIA_FS_CREATE) != 0);

    if (strikes(fs, fs->faults.fail_open_one_in)) {
        return RIA_ERR_IO;
    }
    RIA_TRY(ria_sim_names_find_dir(&fs->names, path, &dir, &name, &size));
    ria_err err = ria_sim_names_find(&fs->names, path, &node);
    if (err == RIA_ERR_NOT_FOUND && (flags & RIA_FS_CREATE) != 0) {
        err = ria_sim_names_create(&fs->names, path, false, &node);
    } else if (err == RIA_OK && (flags & RIA_FS_EXCL) != 0) {
        err = RIA_ERR_EXISTS;
    }
    if (err != RIA_OK) {
        return err;
    }
    if (node->is_dir) {
        return RIA_ERR_IO;
    }
    *out_file = &file_new(fs, node, dir, (flags & RIA_FS_WRITE) != 0)->base;
    return RIA_OK;
}

static void sim_close(struct ria_file *base)
{
    struct sim_file *file = file_of(base);

    RIA_ASSERT(file->syncs == 0);
    file_release(file);
    ria_list_remove(&file->link);
    free(file);
}

static ria_err
sim_pread(struct ria_file *base, void *data, size_t size, uint64_t at, size_t *out_read)
{
    const struct sim_file *file = file_of(base);

    if (file->node == NULL) {
        return RIA_ERR_IO;
    }
    *out_read = ria_sim_content_read(&file->node->content, data, size, at);
    return RIA_OK;
}

/* Bytes of the write that the disk still takes. */
static size_t
room_for(const struct sim_fs *fs, const struct ria_sim_content *content, size_t size, uint64_t at)
{
    uint64_t pages = UINT64_MAX;

    if (fs->faults.capacity_bytes > 0) {
        uint64_t used = used_bytes(fs);
        uint64_t capacity = fs->faults.capacity_bytes;
        pages = capacity > used ? (capacity - used) / RIA_SIM_PAGE_SIZE : 0;
    }
    return ria_sim_content_room(content, size, at, pages);
}

static ria_err sim_pwrite(struct ria_file *base, const void *data, size_t size, uint64_t at)
{
    struct sim_fs *fs = fs_of(base->fs);
    struct sim_file *file = file_of(base);

    if (file->node == NULL || !file->is_writable) {
        return RIA_ERR_IO;
    }
    ria_err err = RIA_OK;
    size_t taken = room_for(fs, &file->node->content, size, at);
    if (taken < size) {
        err = RIA_ERR_NO_SPACE;
    }
    if (strikes(fs, fs->faults.fail_write_one_in)) {
        taken = (size_t)ria_rand_below(fs->rand, taken + 1);
        err = RIA_ERR_IO;
    }
    ria_sim_content_write(&file->node->content, data, taken, at);
    return err;
}

static ria_err sim_size(struct ria_file *base, uint64_t *out_size)
{
    const struct sim_file *file = file_of(base);

    if (file->node == NULL) {
        return RIA_ERR_IO;
    }
    *out_size = file->node->content.size;
    return RIA_OK;
}

static ria_err sim_truncate(struct ria_file *base, uint64_t size)
{
    struct sim_file *file = file_of(base);

    if (file->node == NULL || !file->is_writable || size > RIA_SIM_CONTENT_SIZE_MAX) {
        return RIA_ERR_IO;
    }
    ria_sim_content_truncate(&file->node->content, size);
    return RIA_OK;
}

static ria_err sim_lock(struct ria_fs *base, const char *path, struct ria_file **out_file)
{
    struct ria_file *opened;

    RIA_TRY(sim_open(base, path, RIA_FS_WRITE | RIA_FS_CREATE, &opened));
    struct sim_file *file = file_of(opened);
    if (file->node->locked) {
        sim_close(opened);
        return RIA_ERR_BUSY;
    }
    file->node->locked = true;
    file->has_lock = true;
    *out_file = opened;
    return RIA_OK;
}

/* --- syncs -------------------------------------------------------------------------------------*/

/* Ends the snapshot. */
static ria_err finish_sync(
    struct sim_fs *fs, struct sim_file *file, struct ria_sim_snapshot *snapshot, bool with_dir
)
{
    if (strikes(fs, fs->faults.fail_sync_one_in)) {
        ria_sim_content_commit_some(&file->node->content, snapshot, fs->rand);
        return RIA_ERR_IO;
    }
    ria_sim_content_commit(&file->node->content, snapshot);
    if (with_dir) {
        ria_sim_names_sync(&fs->names, file->dir);
    }
    return RIA_OK;
}

static ria_err sim_sync(struct ria_file *base)
{
    struct sim_file *file = file_of(base);
    struct ria_sim_snapshot snapshot;

    if (file->node == NULL) {
        return RIA_ERR_IO;
    }
    ria_sim_content_snapshot(&file->node->content, &snapshot);
    return finish_sync(fs_of(base->fs), file, &snapshot, false);
}

static void sync_free(struct sim_fs *fs, struct sim_sync *under_way)
{
    ria_timer_stop(fs->timers, &under_way->timer);
    ria_list_remove(&under_way->link);
    ria_sim_snapshot_fini(&under_way->snapshot);
    under_way->file->syncs--;
    free(under_way);
}

static void sync_due(struct ria_timer *timer, void *arg)
{
    struct sim_fs *fs = arg;
    struct sim_sync *under_way = RIA_CONTAINER(timer, struct sim_sync, timer);
    struct ria_fs_sync *sync = under_way->sync;

    if (sync->read_data != NULL) {
        sync->result = sim_pread(
            &under_way->file->base, sync->read_data, sync->read_size, sync->read_at, &sync->got
        );
    } else {
        sync->result = finish_sync(fs, under_way->file, &under_way->snapshot, sync->with_dir);
    }
    sync_free(fs, under_way);
    sync->done(sync);
}

static void sim_sync_start(struct ria_file *base, struct ria_fs_sync *sync)
{
    struct sim_fs *fs = fs_of(base->fs);
    struct sim_file *file = file_of(base);

    RIA_ASSERT(sync->done != NULL);

    if (file->node == NULL) {
        return;
    }
    struct sim_sync *under_way = calloc(1, sizeof(*under_way));
    RIA_ASSERT(under_way != NULL);
    under_way->file = file;
    under_way->sync = sync;
    file->syncs++;
    ria_sim_content_snapshot(&file->node->content, &under_way->snapshot);
    ria_list_push_back(&fs->syncs, &under_way->link);
    ria_timer_init(&under_way->timer, sync_due, fs);

    int64_t spread = fs->faults.sync_delay_us_max - fs->faults.sync_delay_us_min;
    int64_t more = spread > 0 ? (int64_t)ria_rand_below(fs->rand, (uint64_t)spread + 1) : 0;
    ria_timer_start(fs->timers, &under_way->timer, fs->faults.sync_delay_us_min + more);
}

static ria_err sim_sync_dir(struct ria_fs *base, const char *path)
{
    struct sim_fs *fs = fs_of(base);
    struct ria_sim_node *node;

    RIA_TRY(ria_sim_names_find(&fs->names, path, &node));
    if (!node->is_dir || strikes(fs, fs->faults.fail_sync_one_in)) {
        return RIA_ERR_IO;
    }
    ria_sim_names_sync(&fs->names, node);
    return RIA_OK;
}

/* --- names -------------------------------------------------------------------------------------*/

static ria_err sim_mkdir(struct ria_fs *base, const char *path)
{
    struct ria_sim_node *node;

    return ria_sim_names_create(&fs_of(base)->names, path, true, &node);
}

static ria_err sim_rename(struct ria_fs *base, const char *from, const char *to)
{
    return ria_sim_names_rename(&fs_of(base)->names, from, to);
}

static ria_err sim_unlink(struct ria_fs *base, const char *path)
{
    return ria_sim_names_remove(&fs_of(base)->names, path, false);
}

static ria_err sim_rmdir(struct ria_fs *base, const char *path)
{
    return ria_sim_names_remove(&fs_of(base)->names, path, true);
}

static ria_err sim_list(struct ria_fs *base, const char *path, ria_fs_list_fn fn, void *arg)
{
    return ria_sim_names_list(&fs_of(base)->names, path, fn, arg);
}

static ria_err sim_free_bytes(struct ria_fs *base, const char *path, uint64_t *out_bytes)
{
    struct sim_fs *fs = fs_of(base);
    struct ria_sim_node *node;

    RIA_TRY(ria_sim_names_find(&fs->names, path, &node));
    uint64_t capacity = fs->faults.capacity_bytes;
    uint64_t used = used_bytes(fs);
    capacity = capacity == 0 ? SIM_FREE_BYTES_UNLIMITED : capacity;
    *out_bytes = capacity > used ? capacity - used : 0;
    return RIA_OK;
}

static ria_err sim_total_bytes(struct ria_fs *base, const char *path, uint64_t *out_bytes)
{
    struct sim_fs *fs = fs_of(base);
    struct ria_sim_node *node;

    RIA_TRY(ria_sim_names_find(&fs->names, path, &node));
    uint64_t capacity = fs->faults.capacity_bytes;
    *out_bytes = capacity == 0 ? SIM_FREE_BYTES_UNLIMITED : capacity;
    return RIA_OK;
}

/* --- the simulator's side ----------------------------------------------------------------------*/

static const struct ria_fs_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pwrite = sim_pwrite,
    .size = sim_size,
    .truncate = sim_truncate,
    .sync = sim_sync,
    .sync_start = sim_sync_start,
    .sync_dir = sim_sync_dir,
    .mkdir = sim_mkdir,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .rmdir = sim_rmdir,
    .list = sim_list,
    .free_bytes = sim_free_bytes,
    .lock = sim_lock,
    .total_bytes = sim_total_bytes,
};

ria_err ria_fs_sim_new(struct ria_timers *timers, struct ria_rand *rand, struct ria_fs **out_fs)
{
    RIA_ASSERT(timers != NULL);
    RIA_ASSERT(rand != NULL);

    struct sim_fs *fs = calloc(1, sizeof(*fs));
    if (fs == NULL) {
        return RIA_ERR_NOMEM;
    }
    fs->base.ops = &sim_ops;
    fs->timers = timers;
    fs->rand = rand;
    ria_sim_names_init(&fs->names);
    ria_list_init(&fs->files);
    ria_list_init(&fs->dead);
    ria_list_init(&fs->syncs);
    *out_fs = &fs->base;
    return RIA_OK;
}

/* The process is gone: so are its files, locks and syncs. A sync that was under way may have got
 * anywhere if the power went with it. */
static void kill_process(struct sim_fs *fs, bool lose_unsynced)
{
    RIA_LIST_FOREACH (it, &fs->syncs) {
        struct sim_sync *under_way = RIA_CONTAINER(it, struct sim_sync, link);
        if (lose_unsynced && under_way->sync->read_data == NULL) {
            struct ria_sim_content *content = &under_way->file->node->content;
            ria_sim_content_commit_some(content, &under_way->snapshot, fs->rand);
        }
        sync_free(fs, under_way);
    }
    RIA_LIST_FOREACH (it, &fs->files) {
        file_release(RIA_CONTAINER(it, struct sim_file, link));
    }
    ria_list_splice(&fs->dead, &fs->files);
}

void ria_fs_sim_crash(struct ria_fs *base, bool lose_unsynced)
{
    struct sim_fs *fs = fs_of(base);

    kill_process(fs, lose_unsynced);
    if (!lose_unsynced) {
        return;
    }
    ria_sim_names_crash(&fs->names, fs->rand);
    RIA_LIST_FOREACH (it, &fs->names.nodes) {
        ria_sim_content_crash(&RIA_CONTAINER(it, struct ria_sim_node, link)->content, fs->rand);
    }
}

void ria_fs_sim_free(struct ria_fs *base)
{
    if (base == NULL) {
        return;
    }
    struct sim_fs *fs = fs_of(base);

    kill_process(fs, false);
    RIA_LIST_FOREACH (it, &fs->dead) {
        free(RIA_CONTAINER(it, struct sim_file, link));
    }
    ria_sim_names_fini(&fs->names);
    free(fs);
}

void ria_fs_sim_set_faults(struct ria_fs *base, const struct ria_fs_sim_faults *faults)
{
    RIA_ASSERT(faults->sync_delay_us_min >= 0);
    fs_of(base)->faults = *faults;
}

ria_err ria_fs_sim_flip_bit(struct ria_fs *base, const char *path, uint64_t byte, unsigned bit)
{
    struct ria_sim_node *node;

    RIA_TRY(ria_sim_names_find(&fs_of(base)->names, path, &node));
    if (node->is_dir || bit > 7 || byte >= node->content.size) {
        return RIA_ERR_INVALID;
    }
    ria_sim_content_flip_bit(&node->content, byte, bit);
    return RIA_OK;
}

static const struct sim_fs *const_fs_of(const struct ria_fs *fs)
{
    return (const struct sim_fs *)(const void *)((const char *)fs - offsetof(struct sim_fs, base));
}

uint64_t ria_fs_sim_used_bytes(const struct ria_fs *base)
{
    return used_bytes(const_fs_of(base));
}

size_t ria_fs_sim_open_count(const struct ria_fs *base)
{
    const struct sim_fs *fs = const_fs_of(base);
    size_t count = 0;

    RIA_LIST_FOREACH (it, &fs->files) {
        count++;
    }
    return count;
}
