#include "common/fs_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/fs_pool.h"

/* Linux moves at most 2 GiB - 4 KiB per call. */
enum { POSIX_IO_SIZE_MAX = 1 << 30 };

struct posix_fs {
    struct ria_fs base;
    struct ria_fs_pool *pool;
};

struct posix_file {
    struct ria_file base;
    int fd;
    _Atomic ria_err failed; /* of the first sync that failed; pool threads write it */
    char *dir;
};

static struct posix_fs *fs_of(struct ria_fs *fs)
{
    return RIA_CONTAINER(fs, struct posix_fs, base);
}

static struct posix_file *file_of(struct ria_file *file)
{
    return RIA_CONTAINER(file, struct posix_file, base);
}

/* --- files -------------------------------------------------------------------------------------*/

static int open_fd(const char *path, int flags)
{
    int fd;

    do {
        fd = open(path, flags | O_CLOEXEC, 0640);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static void posix_close(struct ria_file *base)
{
    struct posix_file *file = file_of(base);

    if (file->fd >= 0) {
        (void)close(file->fd); /* what matters was synced */
    }
    free(file->dir);
    free(file);
}

static void closep(struct posix_file **file)
{
    if (*file != NULL) {
        posix_close(&(*file)->base);
    }
    *file = NULL;
}

static ria_err
open_file(struct ria_fs *fs, const char *path, int flags, struct posix_file **out_file)
{
    char dir[PATH_MAX];

    RIA_CLEANUP(closep) struct posix_file *file = calloc(1, sizeof(*file));
    if (file == NULL) {
        return RIA_ERR_NOMEM;
    }
    file->base.fs = fs;
    ria_fs_dir_of(path, dir, sizeof(dir));
    file->dir = strdup(dir);
    file->fd = file->dir == NULL ? -1 : open_fd(path, flags);
    if (file->dir == NULL) {
        return RIA_ERR_NOMEM;
    }
    if (file->fd < 0) {
        return ria_err_from_errno(errno);
    }
    *out_file = RIA_STEAL(&file);
    return RIA_OK;
}

static ria_err
posix_open(struct ria_fs *fs, const char *path, unsigned flags, struct ria_file **out_file)
{
    struct posix_file *file;
    int how = (flags & RIA_FS_WRITE) != 0 ? O_RDWR : O_RDONLY;

    RIA_ASSERT((flags & RIA_FS_CREATE) == 0 || (flags & RIA_FS_WRITE) != 0);
    RIA_ASSERT((flags & RIA_FS_EXCL) == 0 || (flags & RIA_FS_CREATE) != 0);

    if ((flags & RIA_FS_CREATE) != 0) {
        how |= O_CREAT | O_NOFOLLOW; /* nobody plants a link where we make a file */
    }
    if ((flags & RIA_FS_EXCL) != 0) {
        how |= O_EXCL;
    }
    RIA_TRY(open_file(fs, path, how, &file));
    *out_file = &file->base;
    return RIA_OK;
}

static ria_err
posix_pread(struct ria_file *base, void *data, size_t size, uint64_t at, size_t *out_read)
{
    size_t done = 0;

    RIA_ASSERT(at <= INT64_MAX - size);

    while (done < size) {
        size_t step = ria_min_size(size - done, POSIX_IO_SIZE_MAX);
        ssize_t n = pread(file_of(base)->fd, (char *)data + done, step, (off_t)(at + done));
        if (n == 0) {
            break;
        }
        if (n > 0) {
            done += (size_t)n;
        } else if (errno != EINTR) {
            return ria_err_from_errno(errno);
        }
    }
    *out_read = done;
    return RIA_OK;
}

static ria_err posix_pwrite(struct ria_file *base, const void *data, size_t size, uint64_t at)
{
    size_t done = 0;

    RIA_ASSERT(at <= INT64_MAX - size);

    while (done < size) {
        size_t step = ria_min_size(size - done, POSIX_IO_SIZE_MAX);
        ssize_t n = pwrite(file_of(base)->fd, (const char *)data + done, step, (off_t)(at + done));
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0) {
            return RIA_ERR_IO;
        } else if (errno != EINTR) {
            return ria_err_from_errno(errno);
        }
    }
    return RIA_OK;
}

static ria_err posix_size(struct ria_file *base, uint64_t *out_size)
{
    struct stat st;

    if (fstat(file_of(base)->fd, &st) != 0) {
        return ria_err_from_errno(errno);
    }
    *out_size = (uint64_t)st.st_size;
    return RIA_OK;
}

static ria_err posix_truncate(struct ria_file *base, uint64_t size)
{
    int result;

    RIA_ASSERT(size <= INT64_MAX);
    do {
        result = ftruncate(file_of(base)->fd, (off_t)size);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? RIA_OK : ria_err_from_errno(errno);
}

static ria_err posix_lock(struct ria_fs *fs, const char *path, struct ria_file **out_file)
{
    struct posix_file *opened;
    int result;

    RIA_TRY(open_file(fs, path, O_RDWR | O_CREAT | O_NOFOLLOW, &opened));
    RIA_CLEANUP(closep) struct posix_file *file = opened;
    do {
        result = flock(file->fd, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
        return errno == EWOULDBLOCK ? RIA_ERR_BUSY : ria_err_from_errno(errno);
    }
    *out_file = &RIA_STEAL(&file)->base;
    return RIA_OK;
}

/* --- syncs -------------------------------------------------------------------------------------*/

/* Whatever errno says (ENOSPC comes from delayed allocation): pages may be lost and count as clean
 * now. That is never "try again later". */
static ria_err sync_result(int result)
{
    return result == 0 ? RIA_OK : RIA_ERR_IO;
}

static ria_err sync_dir(const char *path)
{
    int fd = open_fd(path, O_RDONLY | O_DIRECTORY);

    if (fd < 0) {
        return ria_err_from_errno(errno);
    }
    ria_err err = sync_result(fsync(fd));
    (void)close(fd);
    return err;
}

/* Any thread. EINTR is a failure as any other: what happened to the pages is not known. */
static ria_err sync_file(struct posix_file *file, bool with_dir)
{
    ria_err err = atomic_load(&file->failed);

    if (err == RIA_OK) {
        err = sync_result(fdatasync(file->fd));
    }
    if (err == RIA_OK && with_dir) {
        err = sync_dir(file->dir);
    }
    if (err != RIA_OK) {
        atomic_store(&file->failed, err);
    }
    return err;
}

static ria_err posix_sync(struct ria_file *base)
{
    return sync_file(file_of(base), false);
}

static ria_err posix_sync_dir(struct ria_fs *fs, const char *path)
{
    (void)fs;
    return sync_dir(path);
}

/* A pool thread. */
static ria_err run_sync(struct ria_fs_sync *sync)
{
    if (sync->read_data != NULL) {
        return posix_pread(
            sync->impl[1], sync->read_data, sync->read_size, sync->read_at, &sync->got
        );
    }
    return sync_file(file_of(sync->impl[1]), sync->with_dir);
}

static void posix_sync_start(struct ria_file *base, struct ria_fs_sync *sync)
{
    sync->impl[1] = base;
    ria_fs_pool_start(fs_of(base->fs)->pool, sync);
}

/* --- names -------------------------------------------------------------------------------------*/

static ria_err posix_mkdir(struct ria_fs *fs, const char *path)
{
    (void)fs;
    return mkdir(path, 0750) == 0 ? RIA_OK : ria_err_from_errno(errno);
}

static ria_err posix_rename(struct ria_fs *fs, const char *from, const char *to)
{
    (void)fs;
    return rename(from, to) == 0 ? RIA_OK : ria_err_from_errno(errno);
}

static ria_err posix_unlink(struct ria_fs *fs, const char *path)
{
    (void)fs;
    return unlink(path) == 0 ? RIA_OK : ria_err_from_errno(errno);
}

static ria_err posix_rmdir(struct ria_fs *fs, const char *path)
{
    (void)fs;
    if (rmdir(path) == 0) {
        return RIA_OK;
    }
    return errno == ENOTEMPTY ? RIA_ERR_EXISTS : ria_err_from_errno(errno);
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* By bytes; alphasort() would follow the locale. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool is_dir(const char *dir, const struct dirent *entry)
{
    char path[PATH_MAX];
    struct stat st;

    if (entry->d_type != DT_UNKNOWN) {
        return entry->d_type == DT_DIR;
    }
    int n = snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
    return n > 0 && (size_t)n < sizeof(path) && lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static ria_err posix_list(struct ria_fs *fs, const char *path, ria_fs_list_fn fn, void *arg)
{
    struct dirent **entries = NULL;
    bool more = true;

    (void)fs;
    int count = scandir(path, &entries, is_entry, compare_names);
    if (count < 0) {
        return ria_err_from_errno(errno);
    }
    for (int i = 0; i < count; i++) {
        more = more && fn(arg, entries[i]->d_name, is_dir(path, entries[i]));
        free(entries[i]);
    }
    free(entries);
    return RIA_OK;
}

static ria_err stat_file_system(const char *path, struct statvfs *out_st)
{
    int result;

    do {
        result = statvfs(path, out_st);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? RIA_OK : ria_err_from_errno(errno);
}

static ria_err posix_free_bytes(struct ria_fs *fs, const char *path, uint64_t *out_bytes)
{
    struct statvfs st;

    (void)fs;
    RIA_TRY(stat_file_system(path, &st));
    *out_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return RIA_OK;
}

static ria_err posix_total_bytes(struct ria_fs *fs, const char *path, uint64_t *out_bytes)
{
    struct statvfs st;

    (void)fs;
    RIA_TRY(stat_file_system(path, &st));
    *out_bytes = (uint64_t)st.f_blocks * st.f_frsize;
    return RIA_OK;
}

/* --- life --------------------------------------------------------------------------------------*/

static const struct ria_fs_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .size = posix_size,
    .truncate = posix_truncate,
    .sync = posix_sync,
    .sync_start = posix_sync_start,
    .sync_dir = posix_sync_dir,
    .mkdir = posix_mkdir,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .rmdir = posix_rmdir,
    .list = posix_list,
    .free_bytes = posix_free_bytes,
    .lock = posix_lock,
    .total_bytes = posix_total_bytes,
};

ria_err ria_fs_posix_new(struct ria_loop *loop, unsigned threads, struct ria_fs **out_fs)
{
    struct posix_fs *fs = calloc(1, sizeof(*fs));
    if (fs == NULL) {
        return RIA_ERR_NOMEM;
    }
    fs->base.ops = &posix_ops;
    ria_err err = ria_fs_pool_new(loop, threads, run_sync, &fs->pool);
    if (err != RIA_OK) {
        free(fs);
        return err;
    }
    *out_fs = &fs->base;
    return RIA_OK;
}

void ria_fs_posix_free(struct ria_fs *base)
{
    if (base != NULL) {
        ria_fs_pool_free(fs_of(base)->pool);
        free(fs_of(base));
    }
}
