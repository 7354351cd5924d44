/* The folders of a node: names, what nobody claims, what may go. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

#include "services/storage/storage.h"

enum {
    ORPHANS_LOGGED = 20, /* by name; the rest is a number */
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

void storage_throw_away(struct storage *s, const char *name)
{
    ria_err err = trash_throw(&s->trash, name);

    if (err != RIA_OK) { /* the next start tries again */
        ria_log_error(
            s->env->log, "storage.remove_failed", "folder=%s err=\"%s\"", name, ria_err_text(err)
        );
    }
}

struct scan {
    struct storage *s;
    struct ria_buf deleted; /* names, each with its NUL */
    ria_err err;
};

static bool ends_with(const char *text, const char *suffix)
{
    size_t size = strlen(text);
    size_t suffix_size = strlen(suffix);

    return size > suffix_size && strcmp(text + size - suffix_size, suffix) == 0;
}

static void note_orphan(struct storage *s, const char *name)
{
    if (s->metrics.orphans.value++ < ORPHANS_LOGGED) {
        ria_log_warn(
            s->env->log, "storage.orphan", "folder=%s note=\"no topic claims it; it is kept\"", name
        );
    }
}

static bool on_folder_entry(void *arg, const char *name, bool is_dir)
{
    struct scan *scan = arg;
    struct partition_id id;

    if (!is_dir) {
        return true;
    }
    if (ends_with(name, TRASH_SUFFIX)) {
        trash_resume(&scan->s->trash, name);
        return true;
    }
    if (!parse_folder_name(name, &id) || storage_find_id(scan->s, &id) != NULL) {
        return true;
    }
    const struct cluster_topic *topic = cluster_topic_by_id(scan->s->cluster, &id.topic_id);
    if (topic != NULL && topic->deleted) {
        scan->err = ria_buf_append(&scan->deleted, name, strlen(name) + 1);
    } else {
        note_orphan(scan->s, name);
    }
    return scan->err == RIA_OK;
}

void storage_scan_folder(struct storage *s)
{
    struct scan scan = {.s = s, .err = RIA_OK};

    ria_buf_init(&scan.deleted, FOLDER_LIST_MAX);
    ria_err err = ria_fs_list(s->env->fs, s->data_dir, on_folder_entry, &scan);
    if (err != RIA_OK || scan.err != RIA_OK) {
        ria_log_warn(
            s->env->log,
            "storage.scan_failed",
            "err=\"%s\"",
            ria_err_text(err != RIA_OK ? err : scan.err)
        );
    }
    for (size_t at = 0; at < scan.deleted.size;) {
        const char *name = (const char *)scan.deleted.data + at;
        storage_throw_away(s, name);
        at += strlen(name) + 1;
    }
    if (s->metrics.orphans.value > 0) {
        ria_log_warn(
            s->env->log,
            "storage.orphans",
            "count=%" PRId64 " note=\"folders that no topic claims are kept\"",
            s->metrics.orphans.value
        );
    }
    ria_buf_fini(&scan.deleted);
}
