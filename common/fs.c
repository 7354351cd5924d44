#include "common/fs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ria_err write_new(struct ria_fs *fs, const char *path, const void *data, size_t size)
{
    struct ria_file *file;

    RIA_TRY(ria_fs_open(fs, path, RIA_FS_WRITE | RIA_FS_CREATE, &file));
    ria_err err = ria_fs_truncate(file, 0); /* left by a crash */
    if (err == RIA_OK) {
        err = ria_fs_pwrite(file, data, size, 0);
    }
    if (err == RIA_OK) {
        err = ria_fs_sync(file);
    }
    ria_fs_close(file);
    return err;
}

ria_err ria_fs_replace(struct ria_fs *fs, const char *path, const void *data, size_t size)
{
    char temp[PATH_MAX];
    char dir[PATH_MAX];

    int n = snprintf(temp, sizeof(temp), "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof(temp)) {
        return RIA_ERR_LIMIT;
    }
    ria_fs_dir_of(path, dir, sizeof(dir));

    ria_err err = write_new(fs, temp, data, size);
    if (err == RIA_OK) {
        err = ria_fs_rename(fs, temp, path);
    }
    if (err != RIA_OK) {
        ria_err ignored = ria_fs_unlink(fs, temp); /* the next attempt would overwrite it, too */
        (void)ignored;
        return err;
    }
    return ria_fs_sync_dir(fs, dir);
}

ria_err ria_fs_read_all(
    struct ria_fs *fs, const char *path, size_t size_max, uint8_t **out_data, size_t *out_size
)
{
    struct ria_file *file;
    uint8_t *data = NULL;
    uint64_t size = 0;
    size_t read = 0;

    RIA_TRY(ria_fs_open(fs, path, RIA_FS_READ, &file));
    ria_err err = ria_fs_size(file, &size);
    if (err == RIA_OK && size > size_max) {
        err = RIA_ERR_LIMIT;
    }
    if (err == RIA_OK) {
        data = malloc((size_t)size + 1);
        err = data == NULL ? RIA_ERR_NOMEM : ria_fs_pread(file, data, (size_t)size, 0, &read);
    }
    ria_fs_close(file);
    if (err != RIA_OK) {
        free(data);
        return err;
    }
    data[read] = '\0';
    *out_data = data;
    *out_size = read;
    return RIA_OK;
}

void ria_fs_dir_of(const char *path, char *out_dir, size_t out_size)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        (void)snprintf(out_dir, out_size, ".");
    } else if (slash == path) {
        (void)snprintf(out_dir, out_size, "/");
    } else {
        (void)snprintf(out_dir, out_size, "%.*s", (int)(slash - path), path);
    }
}
