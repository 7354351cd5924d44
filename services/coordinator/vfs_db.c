#include "services/coordinator/vfs_db.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "common/assert.h"

#include "services/coordinator/meta_db.h"

enum { VFS_PATH_MAX = 4200, VFS_SECTOR_SIZE = 512 };

/* SQLite counts milliseconds from noon in Greenwich, November 24, 4714 B.C. */
static const int64_t julian_ms_1970 = INT64_C(210866760000000);

struct vfs_db {
    sqlite3_vfs base;
    const struct ria_env *env;
    char name[64];
};

struct vfs_file {
    sqlite3_file base;
    struct ria_file *file;
    struct vfs_db *vfs;
    bool name_is_new; /* the folder is to be synced with the file */
    char path[VFS_PATH_MAX];
};

static struct vfs_db *vfs_of(sqlite3_vfs *base)
{
    return RIA_CONTAINER(base, struct vfs_db, base);
}

static struct vfs_file *file_of(sqlite3_file *base)
{
    return RIA_CONTAINER(base, struct vfs_file, base);
}

/* ---- files ---- */

static int file_close(sqlite3_file *base)
{
    ria_fs_close(file_of(base)->file);
    return SQLITE_OK;
}

static int file_read(sqlite3_file *base, void *data, int size, sqlite3_int64 at)
{
    size_t got = 0;

    if (ria_fs_pread(file_of(base)->file, data, (size_t)size, (uint64_t)at, &got) != RIA_OK) {
        return SQLITE_IOERR_READ;
    }
    if (got < (size_t)size) {
        memset((char *)data + got, 0, (size_t)size - got);
        return SQLITE_IOERR_SHORT_READ;
    }
    return SQLITE_OK;
}

static int file_write(sqlite3_file *base, const void *data, int size, sqlite3_int64 at)
{
    ria_err err = ria_fs_pwrite(file_of(base)->file, data, (size_t)size, (uint64_t)at);

    if (err == RIA_ERR_NO_SPACE) {
        return SQLITE_FULL;
    }
    return err == RIA_OK ? SQLITE_OK : SQLITE_IOERR_WRITE;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    ria_err err = ria_fs_truncate(file_of(base)->file, (uint64_t)size);

    return err == RIA_OK ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

static ria_err sync_folder_of(struct vfs_db *vfs, const char *path)
{
    char folder[VFS_PATH_MAX];
    const char *slash = strrchr(path, '/');

    RIA_ASSERT(slash != NULL && strlen(path) < sizeof(folder));
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    return ria_fs_sync_dir(vfs->env->fs, folder);
}

static int file_sync(sqlite3_file *base, int flags)
{
    struct vfs_file *file = file_of(base);

    (void)flags;
    ria_err err = ria_fs_sync(file->file);
    if (err == RIA_OK && file->name_is_new) {
        err = sync_folder_of(file->vfs, file->path);
        file->name_is_new = err != RIA_OK;
    }
    return err == RIA_OK ? SQLITE_OK : SQLITE_IOERR_FSYNC;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *out_size)
{
    uint64_t size = 0;

    if (ria_fs_size(file_of(base)->file, &size) != RIA_OK) {
        return SQLITE_IOERR_FSTAT;
    }
    *out_size = (sqlite3_int64)size;
    return SQLITE_OK;
}

static int file_lock(sqlite3_file *base, int lock)
{
    (void)base;
    (void)lock;
    return SQLITE_OK;
}

static int file_check_lock(sqlite3_file *base, int *out_locked)
{
    (void)base;
    *out_locked = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *base, int op, void *arg)
{
    (void)base;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int file_sector_size(sqlite3_file *base)
{
    (void)base;
    return VFS_SECTOR_SIZE;
}

/* Promises nothing: not even that a torn write leaves its neighbours alone. */
static int file_characteristics(sqlite3_file *base)
{
    (void)base;
    return 0;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1, /* no shared memory */
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_lock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

/* ---- the layer ---- */

static ria_err open_file(struct vfs_file *file, const char *path, int flags)
{
    struct ria_fs *fs = file->vfs->env->fs;

    if ((flags & SQLITE_OPEN_READWRITE) == 0) {
        return ria_fs_open(fs, path, RIA_FS_READ, &file->file);
    }
    ria_err err = ria_fs_open(fs, path, RIA_FS_WRITE, &file->file);
    if (err == RIA_ERR_NOT_FOUND && (flags & SQLITE_OPEN_CREATE) != 0) {
        file->name_is_new = true;
        err = ria_fs_open(fs, path, RIA_FS_WRITE | RIA_FS_CREATE, &file->file);
    }
    return err;
}

static int
vfs_open(sqlite3_vfs *base, const char *path, sqlite3_file *out_file, int flags, int *out_flags)
{
    struct vfs_file *file = file_of(out_file);

    /* Without methods SQLite does not close what is returned. */
    memset(file, 0, sizeof(*file));
    if (path == NULL || strlen(path) >= sizeof(file->path)) {
        return SQLITE_CANTOPEN; /* temporary files are kept in memory (meta_db.c) */
    }
    file->vfs = vfs_of(base);
    memcpy(file->path, path, strlen(path) + 1);
    if (open_file(file, path, flags) != RIA_OK) {
        return SQLITE_CANTOPEN;
    }
    file->base.pMethods = &file_methods;
    if (out_flags != NULL) {
        *out_flags = flags;
    }
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *base, const char *path, int sync_folder)
{
    struct vfs_db *vfs = vfs_of(base);
    ria_err err = ria_fs_unlink(vfs->env->fs, path);

    if (err == RIA_ERR_NOT_FOUND) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    if (err == RIA_OK && sync_folder != 0) {
        err = sync_folder_of(vfs, path);
    }
    return err == RIA_OK ? SQLITE_OK : SQLITE_IOERR_DELETE;
}

static int vfs_access(sqlite3_vfs *base, const char *path, int flags, int *out_result)
{
    struct ria_file *file = NULL;

    (void)flags;
    ria_err err = ria_fs_open(vfs_of(base)->env->fs, path, RIA_FS_READ, &file);
    ria_fs_close(file);
    if (err != RIA_OK && err != RIA_ERR_NOT_FOUND) {
        return SQLITE_IOERR_ACCESS;
    }
    *out_result = err == RIA_OK ? 1 : 0;
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *base, const char *path, int out_size, char *out)
{
    (void)base;
    int n = snprintf(out, (size_t)out_size, "%s", path);
    return n >= 0 && n < out_size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_random(sqlite3_vfs *base, int size, char *out)
{
    ria_rand_bytes(vfs_of(base)->env->rand, (uint8_t *)out, (size_t)size);
    return size;
}

static int vfs_sleep(sqlite3_vfs *base, int us)
{
    (void)base;
    return us;
}

static int vfs_time_ms(sqlite3_vfs *base, sqlite3_int64 *out_ms)
{
    *out_ms = julian_ms_1970 + ria_clock_wall_ms(vfs_of(base)->env->clock);
    return SQLITE_OK;
}

static int vfs_time_days(sqlite3_vfs *base, double *out_days)
{
    sqlite3_int64 ms = 0;

    (void)vfs_time_ms(base, &ms);
    *out_days = (double)ms / 86400000.0;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *base, int size, char *out)
{
    (void)base;
    (void)size;
    (void)out;
    return 0;
}

ria_err vfs_db_new(const struct ria_env *env, struct vfs_db **out_vfs)
{
    struct vfs_db *vfs = calloc(1, sizeof(*vfs));

    if (vfs == NULL) {
        return RIA_ERR_NOMEM;
    }
    meta_db_configure_library();
    vfs->env = env;
    (void)snprintf(vfs->name, sizeof(vfs->name), "riacho-%" PRIxPTR, (uintptr_t)vfs);
    vfs->base = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct vfs_file),
        .mxPathname = VFS_PATH_MAX - 1,
        .zName = vfs->name,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time_days,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time_ms,
    };
    if (sqlite3_vfs_register(&vfs->base, 0) != SQLITE_OK) {
        free(vfs);
        return RIA_ERR_NOMEM;
    }
    *out_vfs = vfs;
    return RIA_OK;
}

void vfs_db_free(struct vfs_db *vfs)
{
    if (vfs != NULL) {
        (void)sqlite3_vfs_unregister(&vfs->base);
        free(vfs);
    }
}

const char *vfs_db_name(const struct vfs_db *vfs)
{
    return vfs->name;
}
