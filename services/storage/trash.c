#include "services/storage/trash.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TRASH_PATH_MAX = 4096,
    TRASH_NAMES_MAX = 10, /* of one folder that comes back and goes again while the last is going */
};

typedef enum trash_state {
    TRASH_HELD,    /* the checkpoint on disk may have its entry */
    TRASH_COVERED, /* one without it is being written */
    TRASH_FREE,
} trash_state;

struct trash_folder {
    struct ria_list link;
    trash_state state;
    char name[];
};

static void on_step(struct ria_timer *timer, void *arg);

void trash_init(struct trash *trash, const struct ria_env *env, const char *data_dir)
{
    *trash = (struct trash){.env = env, .data_dir = data_dir};
    ria_list_init(&trash->folders);
    ria_timer_init(&trash->timer, on_step, trash);
}

void trash_fini(struct trash *trash)
{
    struct ria_list *node = NULL;

    ria_timer_stop(trash->env->timers, &trash->timer);
    while ((node = ria_list_pop_front(&trash->folders)) != NULL) {
        free(RIA_CONTAINER(node, struct trash_folder, link));
    }
}

bool trash_is_empty(const struct trash *trash)
{
    return ria_list_is_empty(&trash->folders);
}

static ria_err join(char out[TRASH_PATH_MAX], const char *dir, const char *name, const char *suffix)
{
    int n = snprintf(out, TRASH_PATH_MAX, "%s/%s%s", dir, name, suffix);

    return n < 0 || n >= TRASH_PATH_MAX ? RIA_ERR_LIMIT : RIA_OK;
}

void trash_resume(struct trash *trash, const char *name)
{
    size_t size = strlen(name) + 1;
    struct trash_folder *folder = malloc(sizeof(*folder) + size);

    if (folder == NULL) {
        return; /* the next start finds it */
    }
    memcpy(folder->name, name, size);
    folder->state = TRASH_HELD;
    ria_list_push_back(&trash->folders, &folder->link);
}

void trash_checkpoint_begins(struct trash *trash)
{
    RIA_LIST_FOREACH (node, &trash->folders) {
        struct trash_folder *folder = RIA_CONTAINER(node, struct trash_folder, link);
        folder->state = folder->state == TRASH_HELD ? TRASH_COVERED : folder->state;
    }
}

void trash_checkpoint_ended(struct trash *trash, bool on_disk)
{
    bool any = false;

    RIA_LIST_FOREACH (node, &trash->folders) {
        struct trash_folder *folder = RIA_CONTAINER(node, struct trash_folder, link);
        if (folder->state == TRASH_COVERED) {
            folder->state = on_disk ? TRASH_FREE : TRASH_HELD;
        }
        any = any || folder->state == TRASH_FREE;
    }
    if (any && !trash->timer.active) {
        ria_timer_start(trash->env->timers, &trash->timer, (int64_t)TRASH_STEP_MS * 1000);
    }
}

bool trash_holds(const struct trash *trash, const char *name)
{
    size_t size = strlen(name);

    for (const struct ria_list *it = trash->folders.next; it != &trash->folders; it = it->next) {
        const struct trash_folder *folder =
            (const struct trash_folder
                 *)(const void *)((const char *)it - offsetof(struct trash_folder, link));
        if (folder->state != TRASH_FREE && strncmp(folder->name, name, size) == 0 &&
            folder->name[size] == '.') {
            return true;
        }
    }
    return false;
}

/* Its name as garbage: "<name>.deleted", or one with a number if there is such a folder already: a
 * partition may come back and go again before the last of its folders is gone. */
static ria_err rename_away(struct trash *trash, const char *name, char out_name[TRASH_PATH_MAX])
{
    char from[TRASH_PATH_MAX];
    char to[TRASH_PATH_MAX];
    char suffix[32] = TRASH_SUFFIX;
    ria_err err = RIA_OK;

    RIA_TRY(join(from, trash->data_dir, name, ""));
    for (int i = 1; i <= TRASH_NAMES_MAX; i++) {
        RIA_TRY(join(to, trash->data_dir, name, suffix));
        err = ria_fs_rename(trash->env->fs, from, to);
        if (err == RIA_OK) {
            (void)snprintf(out_name, TRASH_PATH_MAX, "%s%s", name, suffix);
            return RIA_OK;
        }
        if (err == RIA_ERR_NOT_FOUND) {
            break;
        }
        (void)snprintf(suffix, sizeof(suffix), ".%d" TRASH_SUFFIX, i);
    }
    return err;
}

ria_err trash_throw(struct trash *trash, const char *name)
{
    char garbage[TRASH_PATH_MAX];

    ria_err err = rename_away(trash, name, garbage);
    if (err == RIA_ERR_NOT_FOUND) {
        return RIA_OK;
    }
    if (err != RIA_OK) {
        return err;
    }
    RIA_TRY(ria_fs_sync_dir(trash->env->fs, trash->data_dir));
    trash_resume(trash, garbage);
    return RIA_OK;
}

/* The first entry of a folder. */
struct first_entry {
    bool found;
    char name[256];
};

static bool on_entry(void *arg, const char *name, bool is_dir)
{
    struct first_entry *first = arg;

    if (!is_dir) {
        first->found = true;
        (void)snprintf(first->name, sizeof(first->name), "%s", name);
    }
    return !first->found;
}

/* *out_done: nothing is left to do for the folder. */
static ria_err step(struct trash *trash, const char *name, bool *out_done)
{
    char dir[TRASH_PATH_MAX];
    char path[TRASH_PATH_MAX];
    struct first_entry first = {.found = false};
    struct ria_fs *fs = trash->env->fs;

    RIA_TRY(join(dir, trash->data_dir, name, ""));
    RIA_TRY(ria_fs_list(fs, dir, on_entry, &first));
    if (first.found) {
        RIA_TRY(join(path, dir, first.name, ""));
        return ria_fs_unlink(fs, path);
    }
    *out_done = true;
    return ria_fs_rmdir(fs, dir);
}

static struct trash_folder *first_free(struct trash *trash)
{
    RIA_LIST_FOREACH (node, &trash->folders) {
        struct trash_folder *folder = RIA_CONTAINER(node, struct trash_folder, link);
        if (folder->state == TRASH_FREE) {
            return folder;
        }
    }
    return NULL;
}

static void on_step(struct ria_timer *timer, void *arg)
{
    struct trash *trash = arg;
    struct trash_folder *folder = first_free(trash);
    bool done = false;

    if (folder == NULL) {
        return;
    }
    ria_err err = step(trash, folder->name, &done);
    if (err != RIA_OK && err != RIA_ERR_NOT_FOUND) {
        ria_log_warn(
            trash->env->log,
            "storage.remove_failed",
            "folder=%s err=\"%s\"",
            folder->name,
            ria_err_text(err)
        );
        done = true; /* left for the next start */
    }
    if (done || err == RIA_ERR_NOT_FOUND) {
        ria_list_remove(&folder->link);
        free(folder);
    }
    if (first_free(trash) != NULL) {
        ria_timer_start(trash->env->timers, timer, (int64_t)TRASH_STEP_MS * 1000);
    }
}
