#include "services/storage/data_dirs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/storage/log_path.h"

/* What was found at each path before anything is written. */
typedef enum finding {
    FOUND_NOTHING, /* a new folder, or the empty mount point of a missing one */
    FOUND_IDENTITY,
    FOUND_DEAD, /* it cannot be read */
} finding;

struct opening {
    struct data_dirs *dirs;
    const struct data_dirs_options *options;
    struct identity *identity; /* the node's */
    finding found[DATA_DIRS_MAX];
    struct identity identities[DATA_DIRS_MAX];
    bool must_save;
    char *reason;
    size_t reason_size;
};

static ria_err RIA_PRINTF(3, 4) refuse(struct opening *o, ria_err err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(o->reason, o->reason_size, fmt, args);
    va_end(args);
    return err;
}

static ria_err refuse_folder(struct opening *o, const char *path, ria_err err)
{
    if (err == RIA_ERR_BUSY) {
        return refuse(
            o,
            err,
            "data folder %s is in use by another process; stop that process or choose another "
            "--data-dir",
            path
        );
    }
    if (err == RIA_ERR_UNKNOWN_VERSION) {
        return refuse(
            o,
            err,
            "data folder %s was written by a newer version of riacho; start that version",
            path
        );
    }
    if (err == RIA_ERR_CORRUPT) {
        return refuse(
            o,
            err,
            "%s/node is damaged, so nobody knows whose data this is; restore that file from a "
            "backup or start with an empty --data-dir",
            path
        );
    }
    return refuse(
        o,
        err,
        "cannot use data folder %s: %s; it must exist or its parent must, be writable for this "
        "user, and have free space",
        path,
        ria_err_text(err)
    );
}

/* ---- the paths ---- */

static ria_err add_path(struct opening *o, struct ria_slice path)
{
    struct data_dirs *dirs = o->dirs;

    if (path.size == 0 || path.size >= LOG_PATH_DIR_MAX - DATA_DIR_FOLDER_NAME_MAX) {
        return refuse(
            o,
            RIA_ERR_INVALID,
            "the path of the data folder must have 1 to %d bytes; choose another --data-dir",
            LOG_PATH_DIR_MAX - DATA_DIR_FOLDER_NAME_MAX - 1
        );
    }
    if (dirs->count == DATA_DIRS_MAX) {
        return refuse(
            o, RIA_ERR_INVALID, "--data-dir: more than %d folders; give fewer", DATA_DIRS_MAX
        );
    }
    for (uint32_t i = 0; i < dirs->count; i++) {
        const char *other = dirs->items[i].path;
        if (strlen(other) == path.size && memcmp(other, path.data, path.size) == 0) {
            return refuse(
                o, RIA_ERR_INVALID, "--data-dir names %s twice; name each folder once", other
            );
        }
    }
    char *copy = calloc(1, path.size + 1);
    if (copy == NULL) {
        return refuse(o, RIA_ERR_NOMEM, "%s", ria_err_text(RIA_ERR_NOMEM));
    }
    memcpy(copy, path.data, path.size);
    dirs->items[dirs->count++].path = copy;
    return RIA_OK;
}

static ria_err split_paths(struct opening *o)
{
    const char *from = o->options->paths;

    for (;;) {
        const char *comma = strchr(from, ',');
        size_t size = comma == NULL ? strlen(from) : (size_t)(comma - from);
        RIA_TRY(add_path(o, ria_slice_of(from, size)));
        if (comma == NULL) {
            return RIA_OK;
        }
        from = comma + 1;
    }
}

/* ---- whose folders they are ---- */

static ria_err look(struct opening *o, uint32_t i)
{
    const char *path = o->dirs->items[i].path;

    ria_err err = identity_load(o->dirs->env->fs, path, &o->identities[i]);
    if (err == RIA_OK) {
        o->found[i] = FOUND_IDENTITY;
    } else if (err == RIA_ERR_NOT_FOUND) {
        o->found[i] = FOUND_NOTHING;
    } else if (err == RIA_ERR_IO && o->dirs->count > 1) {
        o->found[i] = FOUND_DEAD;
    } else {
        return refuse_folder(o, path, err);
    }
    return RIA_OK;
}

/* Of the same node; the newest list counts. */
static ria_err agree(struct opening *o)
{
    struct data_dirs *dirs = o->dirs;
    const char *first = NULL;
    int64_t starts = 0;

    for (uint32_t i = 0; i < dirs->count; i++) {
        const struct identity *found = &o->identities[i];
        if (o->found[i] != FOUND_IDENTITY) {
            continue;
        }
        if (first != NULL && !ria_uuid_equal(found->node_uuid, o->identity->node_uuid)) {
            return refuse(
                o,
                RIA_ERR_INVALID,
                "data folders %s and %s belong to different nodes; give each node its own",
                first,
                dirs->items[i].path
            );
        }
        bool is_newer =
            first == NULL || found->revision > o->identity->revision ||
            (found->revision == o->identity->revision && found->node_id > o->identity->node_id);
        if (is_newer) {
            o->must_save = o->must_save || first != NULL;
            *o->identity = *found;
        } else if (found->revision < o->identity->revision || found->node_id < o->identity->node_id) {
            o->must_save = true;
        }
        starts = ria_max_i64(starts, found->starts);
        first = dirs->items[i].path;
    }
    o->identity->starts = starts;
    return RIA_OK;
}

static struct ria_uuid new_uuid(const struct data_dirs *dirs)
{
    uint8_t bytes[RIA_UUID_SIZE];

    ria_rand_bytes(dirs->env->rand, bytes, sizeof(bytes));
    return ria_uuid_v4(bytes);
}

/* Each found folder has an id of the list, and only one has it. */
static ria_err check_ids(struct opening *o)
{
    struct data_dirs *dirs = o->dirs;

    for (uint32_t i = 0; i < dirs->count; i++) {
        struct data_dir *dir = &dirs->items[i];
        if (o->found[i] != FOUND_IDENTITY) {
            continue;
        }
        dir->id = o->identities[i].folder_id;
        if (ria_uuid_is_zero(dir->id)) { /* format 1: it was the only one */
            dir->id = new_uuid(dirs);
            if (o->identity->revision > 0) {
                return refuse_folder(o, dir->path, RIA_ERR_CORRUPT);
            }
            o->identity->folders[o->identity->folder_count++] = dir->id;
            o->must_save = dirs->count > 1;
        }
        if (!identity_has_folder(o->identity, &dir->id)) {
            return refuse(
                o,
                RIA_ERR_INVALID,
                "data folder %s was given up by this node (--forget-missing-dirs) and is out of "
                "date; take it out of --data-dir, and empty it before it is used again",
                dir->path
            );
        }
        for (uint32_t j = 0; j < i; j++) {
            if (o->found[j] == FOUND_IDENTITY && ria_uuid_equal(dirs->items[j].id, dir->id)) {
                return refuse(
                    o,
                    RIA_ERR_INVALID,
                    "data folder %s is a copy of %s; take one of them out of --data-dir",
                    dir->path,
                    dirs->items[j].path
                );
            }
        }
    }
    return RIA_OK;
}

static uint32_t count_found(const struct opening *o, finding what)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < o->dirs->count; i++) {
        count += o->found[i] == what ? 1 : 0;
    }
    return count;
}

/* The list is what is there. What was elsewhere is lost. */
static void forget_missing(struct opening *o)
{
    struct identity *identity = o->identity;

    identity->folder_count = 0;
    for (uint32_t i = 0; i < o->dirs->count; i++) {
        if (o->found[i] == FOUND_IDENTITY) {
            identity->folders[identity->folder_count++] = o->dirs->items[i].id;
        }
    }
    identity->lost_data = true;
    o->dirs->missing_count = 0;
    o->must_save = true;
}

/* Folders without an identity become this node's. */
static void adopt(struct opening *o)
{
    struct identity *identity = o->identity;

    for (uint32_t i = 0; i < o->dirs->count; i++) {
        struct data_dir *dir = &o->dirs->items[i];
        if (o->found[i] != FOUND_NOTHING) {
            continue;
        }
        if (o->dirs->missing_count > 0 || identity->folder_count == IDENTITY_FOLDERS_MAX) {
            dir->failed = true; /* perhaps a mount point: nothing is written there */
            continue;
        }
        dir->id = new_uuid(o->dirs);
        identity->folders[identity->folder_count++] = dir->id;
        o->must_save = true;
    }
}

static ria_err identify(struct opening *o)
{
    struct data_dirs *dirs = o->dirs;

    *o->identity = (struct identity){.node_id = -1};
    for (uint32_t i = 0; i < dirs->count; i++) {
        RIA_TRY(look(o, i));
        dirs->items[i].failed = o->found[i] == FOUND_DEAD;
    }
    uint32_t found = count_found(o, FOUND_IDENTITY);
    if (found == 0 && count_found(o, FOUND_DEAD) > 0) {
        return refuse(o, RIA_ERR_IO, "none of the data folders %s can be read", o->options->paths);
    }
    RIA_TRY(agree(o));
    RIA_TRY(check_ids(o));
    if (found == 0) {
        o->identity->node_uuid = new_uuid(dirs);
    }
    dirs->missing_count = o->identity->folder_count - found;
    if (dirs->missing_count > 0 && o->options->forget_missing) {
        forget_missing(o);
    } else if (o->identity->folder_count > dirs->count) {
        return refuse(
            o,
            RIA_ERR_INVALID,
            "this node has %u data folders, but --data-dir names %u; name all of them, or give "
            "--forget-missing-dirs to give up for good what is in the others",
            o->identity->folder_count,
            dirs->count
        );
    }
    adopt(o);
    return RIA_OK;
}

/* ---- taking them ---- */

/* Its name must be as durable as what will be in it. */
static ria_err make_folder(struct ria_fs *fs, const char *path)
{
    char parent[LOG_PATH_MAX];

    ria_err made = ria_fs_mkdir(fs, path);
    if (made != RIA_OK && made != RIA_ERR_EXISTS) {
        return made;
    }
    ria_fs_dir_of(path, parent, sizeof(parent));
    ria_err err = ria_fs_sync_dir(fs, parent);
    /* A folder that was there may stand in one that this user cannot read. */
    return made == RIA_ERR_EXISTS ? RIA_OK : err;
}

static ria_err take(struct data_dirs *dirs, struct data_dir *dir)
{
    char path[LOG_PATH_MAX];

    RIA_TRY(make_folder(dirs->env->fs, dir->path));
    log_path_join(path, dir->path, "lock");
    return ria_fs_lock(dirs->env->fs, path, &dir->lock);
}

/* A folder that cannot be taken is no reason not to start, if there is another. */
static ria_err take_all(struct opening *o)
{
    struct data_dirs *dirs = o->dirs;

    for (uint32_t i = 0; i < dirs->count; i++) {
        struct data_dir *dir = &dirs->items[i];
        if (dir->failed) {
            continue;
        }
        ria_err err = take(dirs, dir);
        if (err == RIA_OK) {
            err = checkpoint_load(dirs->env, dir->path, &dir->checkpoint);
        }
        if (err == RIA_ERR_IO && dirs->count > 1 && o->found[i] == FOUND_IDENTITY) {
            dir->failed = true;
            dirs->missing_count++;
        } else if (err != RIA_OK) {
            return refuse_folder(o, dir->path, err);
        }
    }
    if (data_dirs_first(dirs) == NULL) {
        return refuse(o, RIA_ERR_IO, "none of the data folders %s can be used", o->options->paths);
    }
    return RIA_OK;
}

static void note_failed(struct opening *o)
{
    for (uint32_t i = 0; i < o->dirs->count; i++) {
        if (o->dirs->items[i].failed) {
            ria_log_error(
                o->dirs->env->log,
                "storage.data_dir_failed",
                "dir=%s why=%s note=\"replicas in it are unfit; see --forget-missing-dirs\"",
                o->dirs->items[i].path,
                o->found[i] == FOUND_NOTHING ? "missing" : "unreadable"
            );
        }
    }
}

static ria_err save(struct opening *o)
{
    if (!o->must_save) {
        return RIA_OK;
    }
    o->identity->revision++;
    ria_err err = data_dirs_save(o->dirs, o->identity);
    return err == RIA_OK ? RIA_OK : refuse_folder(o, o->options->paths, err);
}

ria_err data_dirs_open(
    struct data_dirs *dirs,
    const struct ria_env *env,
    const struct data_dirs_options *options,
    struct identity *out_identity,
    char *reason,
    size_t reason_size
)
{
    struct opening o = {
        .dirs = dirs,
        .options = options,
        .identity = out_identity,
        .reason = reason,
        .reason_size = reason_size,
    };

    *dirs = (struct data_dirs){.env = env};
    ria_err err = split_paths(&o);
    if (err == RIA_OK) {
        err = identify(&o);
    }
    if (err == RIA_OK) {
        err = take_all(&o);
    }
    if (err == RIA_OK) {
        err = save(&o);
    }
    if (err != RIA_OK) {
        data_dirs_close(dirs);
        return err;
    }
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct data_dir *dir = &dirs->items[i];
        if (!dir->failed) {
            trash_init(&dir->trash, env, dir->path);
            disk_space_init(&dir->space, env, dir->path, options->disk_reserve);
        }
    }
    note_failed(&o);
    return RIA_OK;
}

void data_dirs_close(struct data_dirs *dirs)
{
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct data_dir *dir = &dirs->items[i];
        if (dir->trash.env != NULL) {
            trash_fini(&dir->trash);
        }
        if (dir->writer_ready) {
            checkpoint_writer_fini(&dir->writer);
        }
        marks_end(&dir->marks);
        checkpoint_free(dir->checkpoint);
        ria_fs_close(dir->lock);
        free(dir->path);
    }
    dirs->count = 0;
}

ria_err data_dirs_save(struct data_dirs *dirs, const struct identity *identity)
{
    for (uint32_t i = 0; i < dirs->count; i++) {
        const struct data_dir *dir = &dirs->items[i];
        struct identity own = *identity;
        own.folder_id = dir->id;
        if (!dir->failed) {
            RIA_TRY(identity_save(dirs->env->fs, dir->path, &own));
        }
    }
    return RIA_OK;
}

void data_dirs_count_start(struct data_dirs *dirs, struct identity *identity)
{
    identity->starts = ria_min_i64(identity->starts + 1, IDENTITY_STARTS_MAX);
    for (uint32_t i = 0; i < dirs->count; i++) {
        const struct data_dir *dir = &dirs->items[i];
        struct identity own = *identity;
        own.folder_id = dir->id;
        ria_err err = dir->failed ? RIA_OK : identity_save(dirs->env->fs, dir->path, &own);
        if (err != RIA_OK) {
            ria_log_warn(
                dirs->env->log,
                "storage.start_not_counted",
                "dir=%s err=%s",
                dir->path,
                ria_err_name(err)
            );
        }
    }
}

/* ---- which ---- */

static bool any_is(const struct data_dirs *dirs, bool (*is)(const struct checkpoint *checkpoint))
{
    for (uint32_t i = 0; i < dirs->count; i++) {
        const struct data_dir *dir = &dirs->items[i];
        if (!dir->failed && dir->checkpoint != NULL && is(dir->checkpoint)) {
            return true;
        }
    }
    return false;
}

bool data_dirs_are_partial(const struct data_dirs *dirs)
{
    return any_is(dirs, checkpoint_is_partial);
}

bool data_dirs_are_doubted(const struct data_dirs *dirs)
{
    return any_is(dirs, checkpoint_is_doubted);
}

struct data_dir *data_dirs_first(struct data_dirs *dirs)
{
    for (uint32_t i = 0; i < dirs->count; i++) {
        if (!dirs->items[i].failed) {
            return &dirs->items[i];
        }
    }
    return NULL;
}

static bool stop_listing(void *arg, const char *name, bool is_dir)
{
    (void)arg;
    (void)name;
    (void)is_dir;
    return false;
}

ria_err data_dirs_find(struct data_dirs *dirs, const char *name, struct data_dir **out_dir)
{
    char path[LOG_PATH_MAX];
    struct data_dir *found = NULL;

    for (uint32_t i = 0; i < dirs->count; i++) {
        struct data_dir *dir = &dirs->items[i];
        if (dir->failed) {
            continue;
        }
        log_path_join(path, dir->path, name);
        ria_err err = ria_fs_list(dirs->env->fs, path, stop_listing, NULL);
        if (err == RIA_OK && found != NULL) {
            return RIA_ERR_CORRUPT;
        }
        if (err == RIA_OK) {
            found = dir;
        } else if (err != RIA_ERR_NOT_FOUND) {
            return err;
        }
    }
    *out_dir = found;
    return RIA_OK;
}

static bool is_candidate(const struct data_dir *dir, bool with_suspects)
{
    return !dir->failed && (with_suspects || !dir->suspect);
}

static struct data_dir *place_in(struct data_dirs *dirs, bool with_suspects)
{
    struct data_dir *best = NULL;
    int64_t most_free = -1;

    for (uint32_t i = 0; i < dirs->count; i++) {
        struct data_dir *dir = &dirs->items[i];
        if (is_candidate(dir, with_suspects)) {
            most_free = ria_max_i64(most_free, disk_space_free_bytes(&dir->space));
        }
    }
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct data_dir *dir = &dirs->items[i];
        if (is_candidate(dir, with_suspects) && dir->space.free_bytes >= most_free / 2 &&
            (best == NULL || dir->replica_count < best->replica_count)) {
            best = dir;
        }
    }
    return best;
}

struct data_dir *data_dirs_place(struct data_dirs *dirs)
{
    struct data_dir *dir = place_in(dirs, false);

    if (dir == NULL) {
        dir = place_in(dirs, true);
    }
    RIA_ASSERT(dir != NULL); /* one is good, or the node had not started */
    return dir;
}

bool data_dirs_are_full(struct data_dirs *dirs)
{
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct disk_space *space = &dirs->items[i].space;
        int64_t free_bytes = dirs->items[i].failed ? 0 : disk_space_free_bytes(space);
        if (free_bytes < 0 || free_bytes > 2 * space->reserve_bytes) {
            return false;
        }
    }
    return true;
}
