/* fs: the file seam. Two implementations: fs_posix.c (the disk) and fs_sim.c (memory that loses
 * unsynced writes at a crash, fails and tears on a seed).
 *
 * Every call but ria_fs_sync_start() and ria_fs_read_start() completes before it returns and may
 * touch the disk; the ones on a hot path (pread, pwrite of appended data) meet the page cache.
 * Paths are absolute or relative to the working directory. Durability is only what the caller asks
 * for: a write is durable after a sync of its file, a new, renamed or removed name after a sync of
 * its folder.
 *
 * Thread: the loop's thread. sync_start's callback comes back on it.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

struct ria_fs;
struct ria_file;

typedef enum ria_fs_open_flags {
    RIA_FS_READ = 0,        /* must exist; read only */
    RIA_FS_WRITE = 1 << 0,  /* read and write */
    RIA_FS_CREATE = 1 << 1, /* create if missing (with WRITE) */
    RIA_FS_EXCL = 1 << 2,   /* RIA_ERR_EXISTS if present (with CREATE) */
} ria_fs_open_flags;

/* A sync (or a read) under way. Storage is the caller's until done runs; done runs exactly once,
 * never from inside ria_fs_sync_start(). After any failure of a sync the file must not be written
 * or synced again. */
struct ria_fs_sync {
    void (*done)(struct ria_fs_sync *sync);
    ria_err result;
    bool with_dir;   /* also sync the folder the file was opened in: its name is new */
    void *read_data; /* not NULL: a read, see ria_fs_read_start() */
    size_t read_size;
    uint64_t read_at;
    size_t got;    /* bytes read: less than read_size only at the end of the file */
    void *impl[6]; /* the implementation's */
};

/* Called once per entry ("." and ".." excluded), in name order. Return false to stop. */
typedef bool (*ria_fs_list_fn)(void *arg, const char *name, bool is_dir);

struct ria_fs_ops {
    ria_err (*open
    )(struct ria_fs *fs, const char *path, unsigned flags, struct ria_file **out_file);
    void (*close)(struct ria_file *file);
    ria_err (*pread)(struct ria_file *file, void *data, size_t size, uint64_t at, size_t *out_read);
    ria_err (*pwrite)(struct ria_file *file, const void *data, size_t size, uint64_t at);
    ria_err (*size)(struct ria_file *file, uint64_t *out_size);
    ria_err (*truncate)(struct ria_file *file, uint64_t size);
    ria_err (*sync)(struct ria_file *file);
    void (*sync_start)(struct ria_file *file, struct ria_fs_sync *sync);
    ria_err (*sync_dir)(struct ria_fs *fs, const char *path);
    ria_err (*mkdir)(struct ria_fs *fs, const char *path);
    ria_err (*rename)(struct ria_fs *fs, const char *from, const char *to);
    ria_err (*unlink)(struct ria_fs *fs, const char *path);
    ria_err (*rmdir)(struct ria_fs *fs, const char *path);
    ria_err (*list)(struct ria_fs *fs, const char *path, ria_fs_list_fn fn, void *arg);
    ria_err (*free_bytes)(struct ria_fs *fs, const char *path, uint64_t *out_bytes);
    ria_err (*lock)(struct ria_fs *fs, const char *path, struct ria_file **out_file);
    /* May be NULL: not known. */
    ria_err (*total_bytes)(struct ria_fs *fs, const char *path, uint64_t *out_bytes);
};

struct ria_fs {
    const struct ria_fs_ops *ops;
};

/* First member of every implementation's file. */
struct ria_file {
    struct ria_fs *fs;
};

/* Errors: RIA_ERR_NOT_FOUND, RIA_ERR_EXISTS, RIA_ERR_LIMIT (descriptors), RIA_ERR_NO_SPACE,
 * RIA_ERR_IO, RIA_ERR_NOMEM. The caller owns *out_file and ends it with ria_fs_close(). */
static inline ria_err RIA_MUST_USE
ria_fs_open(struct ria_fs *fs, const char *path, unsigned flags, struct ria_file **out_file)
{
    return fs->ops->open(fs, path, flags, out_file);
}

/* Accepts NULL. No sync may be under way on the file. */
static inline void ria_fs_close(struct ria_file *file)
{
    if (file != NULL) {
        file->fs->ops->close(file);
    }
}

/* *out_read < size only at the end of the file. */
static inline ria_err RIA_MUST_USE
ria_fs_pread(struct ria_file *file, void *data, size_t size, uint64_t at, size_t *out_read)
{
    return file->fs->ops->pread(file, data, size, at, out_read);
}

/* Writes everything or fails: after RIA_ERR_IO or RIA_ERR_NO_SPACE any part may be in the file. */
static inline ria_err RIA_MUST_USE
ria_fs_pwrite(struct ria_file *file, const void *data, size_t size, uint64_t at)
{
    return file->fs->ops->pwrite(file, data, size, at);
}

static inline ria_err RIA_MUST_USE ria_fs_size(struct ria_file *file, uint64_t *out_size)
{
    return file->fs->ops->size(file, out_size);
}

static inline ria_err RIA_MUST_USE ria_fs_truncate(struct ria_file *file, uint64_t size)
{
    return file->fs->ops->truncate(file, size);
}

/* fdatasync, here and now. For start-up, roll of small files and shutdown; never on a hot path. A
 * sync that failed is RIA_ERR_IO, whatever the reason, and must not be tried again. */
static inline ria_err RIA_MUST_USE ria_fs_sync(struct ria_file *file)
{
    return file->fs->ops->sync(file);
}

/* fdatasync in the pool: everything written before this call is durable when done says RIA_OK. */
static inline void ria_fs_sync_start(struct ria_file *file, struct ria_fs_sync *sync)
{
    file->fs->ops->sync_start(file, sync);
}

/* pread in the pool, for readers that have time: data, which must stay until done runs, holds
 * read->got bytes if result is RIA_OK. read->done is set. */
static inline void ria_fs_read_start(
    struct ria_file *file, struct ria_fs_sync *read, void *data, size_t size, uint64_t at
)
{
    read->with_dir = false;
    read->read_data = data;
    read->read_size = size;
    read->read_at = at;
    file->fs->ops->sync_start(file, read);
}

static inline ria_err RIA_MUST_USE ria_fs_sync_dir(struct ria_fs *fs, const char *path)
{
    return fs->ops->sync_dir(fs, path);
}

/* Errors: RIA_ERR_EXISTS. */
static inline ria_err RIA_MUST_USE ria_fs_mkdir(struct ria_fs *fs, const char *path)
{
    return fs->ops->mkdir(fs, path);
}

/* Replaces a file that `to` names, in one step. Both folders need a sync. */
static inline ria_err RIA_MUST_USE
ria_fs_rename(struct ria_fs *fs, const char *from, const char *to)
{
    return fs->ops->rename(fs, from, to);
}

static inline ria_err RIA_MUST_USE ria_fs_unlink(struct ria_fs *fs, const char *path)
{
    return fs->ops->unlink(fs, path);
}

/* Errors: RIA_ERR_EXISTS if it is not empty. */
static inline ria_err RIA_MUST_USE ria_fs_rmdir(struct ria_fs *fs, const char *path)
{
    return fs->ops->rmdir(fs, path);
}

static inline ria_err RIA_MUST_USE
ria_fs_list(struct ria_fs *fs, const char *path, ria_fs_list_fn fn, void *arg)
{
    return fs->ops->list(fs, path, fn, arg);
}

/* Bytes an unprivileged process may still write on the path's file system. */
static inline ria_err RIA_MUST_USE
ria_fs_free_bytes(struct ria_fs *fs, const char *path, uint64_t *out_bytes)
{
    return fs->ops->free_bytes(fs, path, out_bytes);
}

/* Size of the path's file system. RIA_ERR_UNSUPPORTED: not known. */
static inline ria_err RIA_MUST_USE
ria_fs_total_bytes(struct ria_fs *fs, const char *path, uint64_t *out_bytes)
{
    return fs->ops->total_bytes == NULL ? RIA_ERR_UNSUPPORTED
                                        : fs->ops->total_bytes(fs, path, out_bytes);
}

/* Exclusive lock file, held until closed or the process dies. RIA_ERR_BUSY: held by another. */
static inline ria_err RIA_MUST_USE
ria_fs_lock(struct ria_fs *fs, const char *path, struct ria_file **out_file)
{
    return fs->ops->lock(fs, path, out_file);
}

/* Write a small file so that a crash leaves the old or the new content: temp (`path`.tmp), sync,
 * rename, sync of the folder. Blocks. After RIA_ERR_IO either content may be there. */
ria_err
ria_fs_replace(struct ria_fs *fs, const char *path, const void *data, size_t size) RIA_MUST_USE;

/* Read a whole small file. *out_data is the caller's to free() and has a NUL behind its end.
 * RIA_ERR_LIMIT past size_max. */
ria_err ria_fs_read_all(
    struct ria_fs *fs, const char *path, size_t size_max, uint8_t **out_data, size_t *out_size
) RIA_MUST_USE;

/* The folder that holds the path's last name: "." for a bare name. */
void ria_fs_dir_of(const char *path, char *out_dir, size_t out_size);
