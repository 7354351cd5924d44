/* The folders of a node: names, what nobody claims, what may go. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

#include "services/storage/storage.h"

enum {
    ORPHANS_LOGGED = 20, /* by name; the rest is a number */
    /* Files of orphans whose sizes are asked for: the loop waits for it, once. The rest of them is
     * listed without a size. */
    ORPHAN_FILES_MAX = 2000,
    FOLDER_LIST_MAX = 16 * 1024 * 1024,
};

void storage_folder_name(const struct partition_id *id, char out_name[STORAGE_FOLDER_MAX])
{
    char text[RIA_UUID_TEXT_SIZE];

    ria_uuid_format(id->topic_id, text);
    (void)snprintf(out_name, STORAGE_FOLDER_MAX, "%s-%d", text, partition_id_number(id));
}

static bool parse_folder_name(const char *name, struct partition_id *out_id)
{
    struct ria_uuid topic_id;
    char *end = NULL;
    size_t uuid_size = RIA_UUID_TEXT_SIZE - 1;

    if (strlen(name) < uuid_size + 2 || name[uuid_size] != '-' ||
        ria_uuid_parse(ria_slice_of(name, uuid_size), &topic_id) != RIA_OK) {
        return false;
    }
    const char *digits = name + uuid_size + 1;
    if (digits[0] < '0' || digits[0] > '9' || strlen(digits) > 9) {
        return false;
    }
    long number = strtol(digits, &end, 10);
    *out_id = partition_id_of(&topic_id, (int32_t)number);
    return *end == '\0';
}

void storage_throw_away(struct storage *s, struct data_dir *dir, const char *name)
{
    struct partition_id id;

    if (parse_folder_name(name, &id)) {
        checkpoint_remove(dir->checkpoint, &id.topic_id, partition_id_number(&id));
    }
    ria_err err = trash_throw(&dir->trash, name);
    storage_release_trash(s, dir);
    if (err == RIA_OK) {
        storage_forget_orphan(s, name);
    } else { /* the next start tries again */
        ria_log_error(
            s->env->log, "storage.remove_failed", "folder=%s err=\"%s\"", name, ria_err_text(err)
        );
    }
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t size = strlen(text);
    size_t suffix_size = strlen(suffix);

    return size > suffix_size && strcmp(text + size - suffix_size, suffix) == 0;
}

/* ---- what was removed ---- */

struct removed {
    struct data_dir *dir;
    struct ria_buf names; /* of garbage, each with its NUL */
    ria_err err;
};

static bool on_removed_entry(void *arg, const char *name, bool is_dir)
{
    struct removed *removed = arg;

    if (is_dir && ends_with(name, TRASH_SUFFIX)) {
        removed->err = ria_buf_append(&removed->names, name, strlen(name) + 1);
    }
    return removed->err == RIA_OK;
}

/* "<folder>.deleted", "<folder>.1.deleted". */
static void forget_one(struct data_dir *dir, struct ria_fs *fs, const char *garbage)
{
    char name[STORAGE_FOLDER_MAX];
    char path[IDENTITY_PATH_MAX + STORAGE_FOLDER_MAX + sizeof("/partition.meta")];
    struct partition_id id;
    struct ria_file *file = NULL;
    size_t size = strcspn(garbage, ".");

    if (size >= sizeof(name)) {
        return;
    }
    memcpy(name, garbage, size);
    name[size] = '\0';
    if (!parse_folder_name(name, &id)) {
        return;
    }
    /* It has come back since, which waited for the checkpoint: the entry is the new log's. */
    (void)snprintf(path, sizeof(path), "%s/%s/partition.meta", dir->path, name);
    bool is_back = ria_fs_open(fs, path, RIA_FS_READ, &file) == RIA_OK;
    ria_fs_close(file);
    if (!is_back) {
        checkpoint_remove(dir->checkpoint, &id.topic_id, partition_id_number(&id));
    }
}

void storage_forget_removed(struct storage *s, struct data_dir *dir)
{
    struct removed removed = {.dir = dir, .err = RIA_OK};

    ria_buf_init(&removed.names, FOLDER_LIST_MAX);
    ria_err err = ria_fs_list(s->env->fs, dir->path, on_removed_entry, &removed);
    for (size_t at = 0; err == RIA_OK && at < removed.names.size;) {
        const char *name = (const char *)removed.names.data + at;
        forget_one(dir, s->env->fs, name);
        trash_resume(&dir->trash, name);
        at += strlen(name) + 1;
    }
    ria_buf_fini(&removed.names);
    storage_release_trash(s, dir);
}

struct scan {
    struct storage *s;
    struct data_dir *dir;
    struct ria_buf garbage; /* names, each with its NUL */
    ria_err err;
};

/* ---- orphans ---- */

struct storage_orphan *storage_find_orphan(struct storage *s, const char *name)
{
    RIA_LIST_FOREACH (link, &s->orphans) {
        struct storage_orphan *orphan = RIA_CONTAINER(link, struct storage_orphan, link);
        if (strcmp(orphan->name, name) == 0) {
            return orphan;
        }
    }
    return NULL;
}

static void free_orphan(struct storage *s, struct storage_orphan *orphan)
{
    ria_list_remove(&orphan->link);
    free(orphan);
    s->metrics.orphans.value--;
}

void storage_forget_orphan(struct storage *s, const char *name)
{
    struct storage_orphan *orphan = storage_find_orphan(s, name);

    if (orphan != NULL) {
        free_orphan(s, orphan);
    }
}

void storage_forget_orphans(struct storage *s)
{
    while (!ria_list_is_empty(&s->orphans)) {
        free_orphan(s, RIA_CONTAINER(s->orphans.next, struct storage_orphan, link));
    }
}

void storage_add_orphan(struct storage *s, struct data_dir *dir, const char *name)
{
    size_t size = strlen(name) + 1;

    if (storage_find_orphan(s, name) != NULL) {
        return;
    }
    struct storage_orphan *orphan = malloc(sizeof(*orphan) + size);
    if (orphan == NULL) {
        storage_fatal(s, "out of memory while listing folders; give this node more memory");
        return;
    }
    memcpy(orphan->name, name, size);
    orphan->dir = dir;
    orphan->bytes = -1;
    ria_list_push_back(&s->orphans, &orphan->link);
    s->metrics.orphans.value++;
}

static void note_orphan(struct storage *s, struct data_dir *dir, const char *name)
{
    if (s->metrics.orphans.value < ORPHANS_LOGGED) {
        ria_log_warn(
            s->env->log, "storage.orphan", "folder=%s note=\"no topic claims it; it is kept\"", name
        );
    }
    storage_add_orphan(s, dir, name);
}

/* Sizes of the files of one folder. */
struct weighing {
    struct ria_fs *fs;
    const char *dir;
    int64_t bytes;
    uint32_t *files_left;
};

static bool on_orphan_entry(void *arg, const char *name, bool is_dir)
{
    struct weighing *w = arg;
    struct ria_file *file = NULL;
    char path[IDENTITY_PATH_MAX + STORAGE_FOLDER_MAX + 256];
    uint64_t size = 0;

    if (is_dir) {
        return true;
    }
    if (*w->files_left == 0) {
        w->bytes = -1;
        return false;
    }
    --*w->files_left;
    (void)snprintf(path, sizeof(path), "%s/%s", w->dir, name);
    ria_err err = ria_fs_open(w->fs, path, RIA_FS_READ, &file);
    if (err == RIA_OK) {
        err = ria_fs_size(file, &size);
    }
    ria_fs_close(file);
    w->bytes = err == RIA_OK ? w->bytes + (int64_t)size : -1;
    return err == RIA_OK;
}

static void weigh_orphans(struct storage *s)
{
    uint32_t files_left = ORPHAN_FILES_MAX;
    char dir[IDENTITY_PATH_MAX + STORAGE_FOLDER_MAX];

    RIA_LIST_FOREACH (link, &s->orphans) {
        struct storage_orphan *orphan = RIA_CONTAINER(link, struct storage_orphan, link);
        struct weighing w = {.fs = s->env->fs, .dir = dir, .files_left = &files_left};
        (void)snprintf(dir, sizeof(dir), "%s/%s", orphan->dir->path, orphan->name);
        ria_err err = ria_fs_list(s->env->fs, dir, on_orphan_entry, &w);
        orphan->bytes = err == RIA_OK ? w.bytes : -1;
    }
}

/* ---- the scan ---- */

static bool on_folder_entry(void *arg, const char *name, bool is_dir)
{
    struct scan *scan = arg;
    struct partition_id id;

    if (!is_dir) {
        return true;
    }
    if (ends_with(name, TRASH_SUFFIX)) {
        return true; /* storage_forget_removed() */
    }
    if (!parse_folder_name(name, &id) || storage_find_id(scan->s, &id) != NULL) {
        return true;
    }
    const struct cluster_topic *topic = cluster_topic_by_id(scan->s->cluster, &id.topic_id);
    const struct cluster_partition *partition =
        cluster_partition(scan->s->cluster, &id.topic_id, partition_id_number(&id));
    if (topic != NULL && topic->deleted) {
        scan->err = ria_buf_append(&scan->garbage, name, strlen(name) + 1);
    } else if (partition != NULL && storage_is_dropped(scan->s, partition)) {
        storage_look_at(scan->s, &id);
    } else {
        note_orphan(scan->s, scan->dir, name);
    }
    return scan->err == RIA_OK;
}

static void scan_folder(struct storage *s, struct data_dir *dir)
{
    struct scan scan = {.s = s, .dir = dir, .err = RIA_OK};

    ria_buf_init(&scan.garbage, FOLDER_LIST_MAX);
    ria_err err = ria_fs_list(s->env->fs, dir->path, on_folder_entry, &scan);
    if (err != RIA_OK || scan.err != RIA_OK) {
        ria_log_warn(
            s->env->log,
            "storage.scan_failed",
            "dir=%s err=\"%s\"",
            dir->path,
            ria_err_text(err != RIA_OK ? err : scan.err)
        );
    }
    for (size_t at = 0; at < scan.garbage.size;) {
        const char *name = (const char *)scan.garbage.data + at;
        ria_log_info(s->env->log, "storage.replica_removed", "folder=%s why=topic_deleted", name);
        storage_throw_away(s, dir, name);
        at += strlen(name) + 1;
    }
    ria_buf_fini(&scan.garbage);
}

void storage_scan_folders(struct storage *s)
{
    for (uint32_t i = 0; i < s->dirs.count; i++) {
        if (!s->dirs.items[i].failed) {
            scan_folder(s, &s->dirs.items[i]);
        }
    }
    weigh_orphans(s);
    if (s->metrics.orphans.value > 0) {
        ria_log_warn(
            s->env->log,
            "storage.orphans",
            "count=%" PRId64 " note=\"folders that no topic claims are kept\"",
            s->metrics.orphans.value
        );
    }
}
