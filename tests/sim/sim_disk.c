#include "tests/sim/sim_disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

struct sim_disk {
    struct ria_fs base;
    struct ria_fs *inner;
    struct ria_rand *rand;
    sim_disk_crash_fn on_crash;
    void *arg;
    bool dead;
    uint64_t crash_at; /* calls to go, 0 = never */
    bool crash_loses;
};

struct disk_file {
    struct ria_file base;
    struct ria_file *inner;
};

static struct sim_disk *disk_of(struct ria_fs *fs)
{
    return RIA_CONTAINER(fs, struct sim_disk, base);
}

static struct ria_file *inner_of(struct ria_file *file)
{
    return RIA_CONTAINER(file, struct disk_file, base)->inner;
}

/* A call that changes the disk is about to be made. *out_first: make it, and then crash. */
static bool strikes(struct sim_disk *disk, bool *out_first)
{
    *out_first = false;
    if (disk->crash_at == 0 || --disk->crash_at > 0) {
        return false;
    }
    *out_first = ria_rand_one_in(disk->rand, 2);
    return true;
}

static void die(struct sim_disk *disk)
{
    sim_disk_crash(disk, disk->crash_loses);
    disk->on_crash(disk->arg, disk->crash_loses);
}

/* Run a changing call under the rules above. */
#define DISK_CHANGE(disk, call)            \
    __extension__({                        \
        bool first_;                       \
        ria_err change_err_ = RIA_ERR_IO;  \
        if (!(disk)->dead) {               \
            if (!strikes(disk, &first_)) { \
                change_err_ = (call);      \
            } else {                       \
                if (first_) {              \
                    (void)!(call);         \
                }                          \
                die(disk);                 \
            }                              \
        }                                  \
        change_err_;                       \
    })

/* ---- files ---- */

static ria_err wrap(struct sim_disk *disk, struct ria_file *inner, struct ria_file **out_file)
{
    struct disk_file *file = calloc(1, sizeof(*file));

    RIA_ASSERT(file != NULL);
    file->base.fs = &disk->base;
    file->inner = inner;
    *out_file = &file->base;
    return RIA_OK;
}

static ria_err
disk_open(struct ria_fs *fs, const char *path, unsigned flags, struct ria_file **out_file)
{
    struct sim_disk *disk = disk_of(fs);
    struct ria_file *inner = NULL;

    if (disk->dead) {
        return RIA_ERR_IO;
    }
    RIA_TRY(ria_fs_open(disk->inner, path, flags, &inner));
    return wrap(disk, inner, out_file);
}

static ria_err disk_lock(struct ria_fs *fs, const char *path, struct ria_file **out_file)
{
    struct sim_disk *disk = disk_of(fs);
    struct ria_file *inner = NULL;

    if (disk->dead) {
        return RIA_ERR_IO;
    }
    RIA_TRY(ria_fs_lock(disk->inner, path, &inner));
    return wrap(disk, inner, out_file);
}

static void disk_close(struct ria_file *base)
{
    struct disk_file *file = RIA_CONTAINER(base, struct disk_file, base);

    ria_fs_close(file->inner);
    free(file);
}

static ria_err
disk_pread(struct ria_file *file, void *data, size_t size, uint64_t at, size_t *out_read)
{
    return ria_fs_pread(inner_of(file), data, size, at, out_read);
}

static ria_err disk_pwrite(struct ria_file *file, const void *data, size_t size, uint64_t at)
{
    struct sim_disk *disk = disk_of(file->fs);

    return DISK_CHANGE(disk, ria_fs_pwrite(inner_of(file), data, size, at));
}

static ria_err disk_size(struct ria_file *file, uint64_t *out_size)
{
    return ria_fs_size(inner_of(file), out_size);
}

static ria_err disk_truncate(struct ria_file *file, uint64_t size)
{
    struct sim_disk *disk = disk_of(file->fs);

    return DISK_CHANGE(disk, ria_fs_truncate(inner_of(file), size));
}

static ria_err disk_sync(struct ria_file *file)
{
    struct sim_disk *disk = disk_of(file->fs);

    return DISK_CHANGE(disk, ria_fs_sync(inner_of(file)));
}

/* On a dead disk the callback never comes, as with the inner one. */
static void disk_sync_start(struct ria_file *file, struct ria_fs_sync *sync)
{
    struct sim_disk *disk = disk_of(file->fs);

    (void)!DISK_CHANGE(disk, (ria_fs_sync_start(inner_of(file), sync), RIA_OK));
}

/* ---- names ---- */

static ria_err disk_sync_dir(struct ria_fs *fs, const char *path)
{
    struct sim_disk *disk = disk_of(fs);

    return DISK_CHANGE(disk, ria_fs_sync_dir(disk->inner, path));
}

static ria_err disk_mkdir(struct ria_fs *fs, const char *path)
{
    struct sim_disk *disk = disk_of(fs);

    return DISK_CHANGE(disk, ria_fs_mkdir(disk->inner, path));
}

static ria_err disk_rename(struct ria_fs *fs, const char *from, const char *to)
{
    struct sim_disk *disk = disk_of(fs);

    return DISK_CHANGE(disk, ria_fs_rename(disk->inner, from, to));
}

static ria_err disk_unlink(struct ria_fs *fs, const char *path)
{
    struct sim_disk *disk = disk_of(fs);

    return DISK_CHANGE(disk, ria_fs_unlink(disk->inner, path));
}

static ria_err disk_rmdir(struct ria_fs *fs, const char *path)
{
    struct sim_disk *disk = disk_of(fs);

    return DISK_CHANGE(disk, ria_fs_rmdir(disk->inner, path));
}

static ria_err disk_list(struct ria_fs *fs, const char *path, ria_fs_list_fn fn, void *arg)
{
    struct sim_disk *disk = disk_of(fs);

    return disk->dead ? RIA_ERR_IO : ria_fs_list(disk->inner, path, fn, arg);
}

static ria_err disk_free_bytes(struct ria_fs *fs, const char *path, uint64_t *out_bytes)
{
    struct sim_disk *disk = disk_of(fs);

    return disk->dead ? RIA_ERR_IO : ria_fs_free_bytes(disk->inner, path, out_bytes);
}

static ria_err disk_total_bytes(struct ria_fs *fs, const char *path, uint64_t *out_bytes)
{
    struct sim_disk *disk = disk_of(fs);

    return disk->dead ? RIA_ERR_IO : ria_fs_total_bytes(disk->inner, path, out_bytes);
}

static const struct ria_fs_ops disk_ops = {
    .open = disk_open,
    .close = disk_close,
    .pread = disk_pread,
    .pwrite = disk_pwrite,
    .size = disk_size,
    .truncate = disk_truncate,
    .sync = disk_sync,
    .sync_start = disk_sync_start,
    .sync_dir = disk_sync_dir,
    .mkdir = disk_mkdir,
    .rename = disk_rename,
    .unlink = disk_unlink,
    .rmdir = disk_rmdir,
    .list = disk_list,
    .free_bytes = disk_free_bytes,
    .lock = disk_lock,
    .total_bytes = disk_total_bytes,
};

/* ---- life ---- */

struct sim_disk *sim_disk_new(
    struct ria_timers *timers, struct ria_rand *rand, sim_disk_crash_fn on_crash, void *arg
)
{
    struct sim_disk *disk = calloc(1, sizeof(*disk));

    RIA_ASSERT(disk != NULL);
    disk->base.ops = &disk_ops;
    disk->rand = rand;
    disk->on_crash = on_crash;
    disk->arg = arg;
    disk->dead = true;
    ria_err err = ria_fs_sim_new(timers, rand, &disk->inner);
    RIA_ASSERT(err == RIA_OK);
    return disk;
}

void sim_disk_free(struct sim_disk *disk)
{
    if (disk != NULL) {
        RIA_ASSERT(ria_fs_sim_open_count(disk->inner) == 0);
        ria_fs_sim_free(disk->inner);
        free(disk);
    }
}

struct ria_fs *sim_disk_fs(struct sim_disk *disk)
{
    return &disk->base;
}

struct ria_fs *sim_disk_inner(struct sim_disk *disk)
{
    return disk->inner;
}

void sim_disk_boot(struct sim_disk *disk)
{
    disk->dead = false;
}

void sim_disk_crash(struct sim_disk *disk, bool lose_unsynced)
{
    if (!disk->dead || lose_unsynced) {
        ria_fs_sim_crash(disk->inner, lose_unsynced);
    }
    disk->dead = true;
}

void sim_disk_crash_at(struct sim_disk *disk, uint64_t calls, bool lose_unsynced)
{
    disk->crash_at = calls;
    disk->crash_loses = lose_unsynced;
}

/* ---- rot ---- */

enum { ROT_PATH_MAX = 512, ROT_FILES_MAX = 256 };

struct rot_walk {
    struct ria_fs *fs;
    char folder[ROT_PATH_MAX];
    char files[ROT_FILES_MAX][ROT_PATH_MAX];
    uint32_t count;
};

static ria_err file_size(struct ria_fs *fs, const char *path, uint64_t *out_size)
{
    struct ria_file *file = NULL;

    RIA_TRY(ria_fs_open(fs, path, RIA_FS_READ, &file));
    ria_err err = ria_fs_size(file, out_size);
    ria_fs_close(file);
    return err;
}

static bool add_file(void *arg, const char *name, bool is_dir)
{
    struct rot_walk *walk = arg;

    if (!is_dir && walk->count < ROT_FILES_MAX) {
        int size =
            snprintf(walk->files[walk->count], ROT_PATH_MAX, "%.250s/%.250s", walk->folder, name);
        RIA_ASSERT(size < ROT_PATH_MAX);
        walk->count++;
    }
    return true;
}

static bool add_folder(void *arg, const char *name, bool is_dir)
{
    struct rot_walk *walk = arg;

    if (is_dir) {
        (void)snprintf(walk->folder, ROT_PATH_MAX, "/data/%.250s", name);
        (void)!ria_fs_list(walk->fs, walk->folder, add_file, walk);
    } else if (strcmp(name, "node") != 0) {
        (void)snprintf(walk->folder, ROT_PATH_MAX, "/data");
        (void)add_file(walk, name, false);
    }
    return true;
}

void sim_disk_rot(struct sim_disk *disk, struct ria_rand *rand, struct trace *trace)
{
    struct rot_walk *walk = calloc(1, sizeof(*walk));

    RIA_ASSERT(walk != NULL);
    walk->fs = disk->inner;
    (void)!ria_fs_list(walk->fs, "/data", add_folder, walk);
    for (int attempt = 0; walk->count > 0 && attempt < ROT_FILES_MAX; attempt++) {
        const char *path = walk->files[ria_rand_below(rand, walk->count)];
        uint64_t size = 0;
        if (file_size(disk->inner, path, &size) == RIA_OK && size > 0) {
            uint64_t byte = ria_rand_below(rand, size);
            ria_err err = ria_fs_sim_flip_bit(disk->inner, path, byte, ria_rand_below(rand, 8) & 7);
            RIA_ASSERT(err == RIA_OK);
            trace_say(trace, "rot in %s at byte %" PRIu64 " of %" PRIu64, path, byte, size);
            break;
        }
    }
    free(walk);
}

bool sim_disk_is_dead(const struct sim_disk *disk)
{
    return disk->dead;
}
