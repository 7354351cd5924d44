#include "services/coordinator/data_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/slice.h"

enum { IDENTITY_SIZE_MAX = 4096, FILE_PATH_SIZE = DATA_DIR_PATH_MAX + 16 };

#define IDENTITY_HEAD "riacho coordinator data folder\n"

void data_dir_file(const struct data_dir *dir, const char *name, char *out_path)
{
    int n = snprintf(out_path, FILE_PATH_SIZE, "%s/%s", dir->path, name);
    RIA_ASSERT(n > 0 && n < FILE_PATH_SIZE);
}

/* Make the name of a folder durable in the one above it. */
static ria_err sync_parent(struct ria_fs *fs, const char *path)
{
    char parent[DATA_DIR_PATH_MAX];
    size_t size = strlen(path);

    while (size > 1 && path[size - 1] == '/') {
        size--;
    }
    while (size > 0 && path[size - 1] != '/') {
        size--;
    }
    if (size == 0) {
        return ria_fs_sync_dir(fs, ".");
    }
    while (size > 1 && path[size - 1] == '/') {
        size--;
    }
    memcpy(parent, path, size);
    parent[size] = '\0';
    return ria_fs_sync_dir(fs, parent);
}

/* Every folder on the way that is missing. */
static ria_err make_folders(struct ria_fs *fs, const char *path)
{
    char part[DATA_DIR_PATH_MAX];

    for (size_t i = 1; path[i - 1] != '\0'; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(part, path, i);
        part[i] = '\0';
        ria_err err = ria_fs_mkdir(fs, part);
        if (err == RIA_OK) {
            RIA_TRY(sync_parent(fs, part));
        } else if (err != RIA_ERR_EXISTS && path[i] == '\0') {
            return err; /* of the others only the last one's error says something */
        }
    }
    return RIA_OK;
}

static ria_err take_lock(struct data_dir *dir, char *reason)
{
    char path[FILE_PATH_SIZE];

    data_dir_file(dir, "lock", path);
    ria_err err = ria_fs_lock(dir->fs, path, &dir->lock);
    if (err == RIA_ERR_BUSY) {
        (void)snprintf(
            reason,
            DATA_DIR_REASON_SIZE,
            "the data folder %.200s is in use by another process: stop it, or give another "
            "--data-dir",
            dir->path
        );
    } else if (err != RIA_OK) {
        (void)snprintf(
            reason,
            DATA_DIR_REASON_SIZE,
            "the data folder %.200s cannot be written (%s): give this user the right to write "
            "there, or another --data-dir",
            dir->path,
            ria_err_text(err)
        );
    }
    return err;
}

/* The text behind `key ` up to the end of its line; null if there is none. */
static struct ria_slice value_of(const char *text, const char *key)
{
    size_t key_size = strlen(key);

    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        if (strncmp(line, key, key_size) == 0 && line[key_size] == ' ' && end != NULL) {
            return ria_slice_of(line + key_size + 1, (size_t)(end - line) - key_size - 1);
        }
        line = end == NULL ? NULL : end + 1;
    }
    return RIA_SLICE_NULL;
}

static ria_err parse_identity(struct data_dir *dir, const char *text, char *reason)
{
    if (strncmp(text, IDENTITY_HEAD, strlen(IDENTITY_HEAD)) != 0) {
        (void)snprintf(
            reason,
            DATA_DIR_REASON_SIZE,
            "the data folder %.200s is not a coordinator's: give another --data-dir",
            dir->path
        );
        return RIA_ERR_CORRUPT;
    }
    char format[16];
    struct ria_slice value = value_of(text, "format");
    (void)snprintf(format, sizeof(format), RIA_SLICE_FMT, RIA_SLICE_ARG(value));
    if (strtol(format, NULL, 10) != DATA_DIR_FORMAT) {
        (void)snprintf(
            reason,
            DATA_DIR_REASON_SIZE,
            "the data folder %.200s has format \"%s\", this program knows %d: start the version of "
            "riacho-coordinator that wrote it",
            dir->path,
            format,
            DATA_DIR_FORMAT
        );
        return RIA_ERR_UNSUPPORTED;
    }
    if (ria_uuid_parse(value_of(text, "cluster"), &dir->cluster_id) != RIA_OK) {
        (void)snprintf(
            reason,
            DATA_DIR_REASON_SIZE,
            "the file identity in the data folder %.200s is damaged: restore it from a copy",
            dir->path
        );
        return RIA_ERR_CORRUPT;
    }
    dir->has_identity = true;
    return RIA_OK;
}

/* Set *arg (a char[64]) to the first name that no first start leaves behind. */
static bool find_foreign(void *arg, const char *name, bool is_dir)
{
    static const char ours[] = "meta.db"; /* and its -wal, -shm, -journal */
    char *foreign = arg;

    (void)is_dir;
    if (strncmp(name, ours, strlen(ours)) == 0 || strcmp(name, "lock") == 0 ||
        strcmp(name, "identity.tmp") == 0 || strcmp(name, "lost+found") == 0 || name[0] == '.') {
        return true;
    }
    (void)snprintf(foreign, 64, "%s", name);
    return false;
}

/* A folder without identity is new, unless it is somebody else's. */
static ria_err check_new(struct data_dir *dir, char *reason)
{
    char foreign[64] = "";
    ria_err err = ria_fs_list(dir->fs, dir->path, find_foreign, foreign);

    if (err == RIA_OK && foreign[0] != '\0') {
        (void)snprintf(
            reason,
            DATA_DIR_REASON_SIZE,
            "the data folder %.200s is not a coordinator's, it holds %s: give another --data-dir",
            dir->path,
            foreign
        );
        return RIA_ERR_CORRUPT;
    }
    return err;
}

static ria_err read_identity(struct data_dir *dir, char *reason)
{
    char path[FILE_PATH_SIZE];
    char text[IDENTITY_SIZE_MAX + 1];
    uint8_t *data = NULL;
    size_t size = 0;

    data_dir_file(dir, "identity", path);
    ria_err err = ria_fs_read_all(dir->fs, path, IDENTITY_SIZE_MAX, &data, &size);
    if (err == RIA_ERR_NOT_FOUND) {
        return check_new(dir, reason);
    }
    if (err != RIA_OK) {
        (void)snprintf(
            reason, DATA_DIR_REASON_SIZE, "%.300s cannot be read: %s", path, ria_err_text(err)
        );
        return err;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    free(data);
    return parse_identity(dir, text, reason);
}

ria_err data_dir_open(struct data_dir *dir, struct ria_fs *fs, const char *path, char *reason)
{
    memset(dir, 0, sizeof(*dir));
    reason[0] = '\0';
    dir->fs = fs;
    if (path[0] == '\0' || strlen(path) >= sizeof(dir->path)) {
        (void)snprintf(reason, DATA_DIR_REASON_SIZE, "--data-dir must name a folder");
        return RIA_ERR_LIMIT;
    }
    memcpy(dir->path, path, strlen(path) + 1);

    ria_err err = make_folders(fs, path);
    if (err != RIA_OK) {
        (void)snprintf(
            reason,
            DATA_DIR_REASON_SIZE,
            "the data folder %.200s cannot be made (%s): make it, or give another --data-dir",
            path,
            ria_err_text(err)
        );
        return err;
    }
    err = take_lock(dir, reason);
    if (err == RIA_OK) {
        err = read_identity(dir, reason);
    }
    if (err != RIA_OK) {
        data_dir_close(dir);
    }
    return err;
}

ria_err
data_dir_write_identity(struct data_dir *dir, const struct ria_uuid *cluster_id, char *reason)
{
    char path[FILE_PATH_SIZE];
    char text[256];
    char id[RIA_UUID_TEXT_SIZE];

    ria_uuid_format(*cluster_id, id);
    int size =
        snprintf(text, sizeof(text), IDENTITY_HEAD "format %d\ncluster %s\n", DATA_DIR_FORMAT, id);
    RIA_ASSERT(size > 0 && (size_t)size < sizeof(text));
    data_dir_file(dir, "identity", path);
    /* A process that died between making the folder and syncing its name left that to us. Where the
     * parent may not be opened, the folder was there before us. */
    (void)sync_parent(dir->fs, dir->path);
    ria_err err = ria_fs_replace(dir->fs, path, text, (size_t)size);
    if (err != RIA_OK) {
        (void)snprintf(
            reason,
            DATA_DIR_REASON_SIZE,
            "%.300s cannot be written (%s): make room, or give another --data-dir",
            path,
            ria_err_text(err)
        );
        return err;
    }
    dir->has_identity = true;
    dir->cluster_id = *cluster_id;
    return RIA_OK;
}

void data_dir_close(struct data_dir *dir)
{
    ria_fs_close(dir->lock);
    dir->lock = NULL;
}
