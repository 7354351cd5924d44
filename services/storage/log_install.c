/* A rebuilt segment takes its place in a log. */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/storage/log_state.h"

struct install {
    struct partition_log *log;
    struct segment *fresh;
    uint32_t index; /* of the segment that goes, or behind which fresh comes */
    bool replaces;
    bool is_first; /* comes before all */
};

static ria_err must_stop(struct partition_log *log, ria_err err)
{
    if (err != RIA_OK) {
        log_fail(log);
        return RIA_ERR_IO;
    }
    return RIA_OK;
}

/* A sync of the file that goes, or of the one before, must not be in the way. */
static bool is_quiet(const struct install *in)
{
    const struct segment *near = in->log->segments[in->index];

    return in->is_first || (near->synced_size == near->size && in->log->sync_segment != near);
}

static ria_err make_room(struct partition_log *log)
{
    uint32_t capacity = log->segment_count + 1;

    if (capacity > log->segment_capacity) {
        struct segment **segments = realloc(log->segments, capacity * sizeof(struct segment *));
        if (segments == NULL) {
            return RIA_ERR_NOMEM;
        }
        log->segments = segments;
        log->segment_capacity = capacity;
    }
    return RIA_OK;
}

/* What would vouch for the old content goes first, durably. (The old segment, if it has to load its
 * index once more, rebuilds it.) */
static ria_err remove_marks(struct install *in)
{
    struct partition_log *log = in->log;

    RIA_TRY(log_unlink(log, in->fresh->base_offset, LOG_PATH_INDEX));
    RIA_TRY(log_unlink(log, in->fresh->base_offset, LOG_PATH_TIME_INDEX));
    return must_stop(log, ria_fs_sync_dir(log->env->fs, log->dir));
}

/* Bad bytes behind the good ones of the file before: without them it ends where fresh begins. */
static ria_err cut_bad_end(struct install *in)
{
    struct segment *before = in->log->segments[in->index];
    struct ria_file *file = NULL;
    uint64_t size = 0;

    if (in->replaces || in->is_first) {
        return RIA_OK;
    }
    RIA_TRY(segment_file_get(&before->file, false, &file));
    RIA_TRY(ria_fs_size(file, &size));
    if (size <= before->size) {
        return RIA_OK;
    }
    RIA_TRY(ria_fs_truncate(file, before->size));
    return must_stop(in->log, segment_sync(before));
}

static ria_err take_name(struct install *in)
{
    struct partition_log *log = in->log;
    char temp[LOG_PATH_MAX];
    char path[LOG_PATH_MAX];

    if (in->replaces) {
        segment_file_close(&log->segments[in->index]->file);
    }
    log_path_of(temp, log->dir, in->fresh->base_offset, LOG_PATH_REPAIR);
    log_path_of(path, log->dir, in->fresh->base_offset, LOG_PATH_LOG);
    RIA_TRY(must_stop(log, ria_fs_rename(log->env->fs, temp, path)));
    return must_stop(log, ria_fs_sync_dir(log->env->fs, log->dir));
}

static void take_place(struct install *in)
{
    struct partition_log *log = in->log;

    log_own_segment(log, in->fresh);
    in->fresh->synced_size = in->fresh->size;
    in->fresh->name_synced = true;
    in->fresh->index_saved = false;
    if (in->replaces) {
        segment_free(log->segments[in->index]);
        log->segments[in->index] = in->fresh;
    } else {
        uint32_t at = in->is_first ? 0 : in->index + 1;
        memmove(
            &log->segments[at + 1],
            &log->segments[at],
            (log->segment_count - at) * sizeof(struct segment *)
        );
        log->segments[at] = in->fresh;
        log->segment_count++;
    }
    log_forget_hints(log);
}

ria_err log_merge_epochs(
    struct partition_log *log,
    const struct leader_epochs *found,
    int64_t from_offset,
    int64_t to_offset
)
{
    struct leader_epochs merged;
    const struct leader_epochs *old = &log->epochs;
    uint32_t i = 0;

    leader_epochs_init(&merged);
    RIA_TRY(leader_epochs_reserve(&merged, old->count + found->count + 1));
    for (; i < old->count && old->entries[i].start_offset < from_offset; i++) {
        (void)leader_epochs_note(&merged, old->entries[i].epoch, old->entries[i].start_offset);
    }
    for (uint32_t k = 0; k < found->count; k++) {
        (void)leader_epochs_note(&merged, found->entries[k].epoch, found->entries[k].start_offset);
    }
    if (to_offset <
        partition_log_end_offset(log)) { /* it may have begun within, or be a mistake's */
        (void)leader_epochs_note(
            &merged, leader_epochs_at(old->entries, old->count, to_offset), to_offset
        );
    }
    for (; i < old->count; i++) {
        if (old->entries[i].start_offset > to_offset) {
            (void)leader_epochs_note(&merged, old->entries[i].epoch, old->entries[i].start_offset);
        }
    }
    log->epochs_changed = true;
    leader_epochs_fini(&log->epochs);
    log->epochs = merged;
    return RIA_OK;
}

ria_err log_complete_producers(struct partition_log *log)
{
    struct log_listing listing;

    if (log->producers_complete || log->damage_count > 0) {
        return RIA_OK;
    }
    ria_err err = log_list(log, &listing);
    if (err == RIA_OK) {
        err = log_replay(log, &listing.snapshots, INT64_MAX);
    }
    log_listing_fini(&listing);
    return err;
}

ria_err log_close_hole(
    struct partition_log *log,
    const struct leader_epochs *found,
    int64_t from_offset,
    int64_t to_offset
)
{
    RIA_TRY(log_merge_epochs(log, found, from_offset, to_offset));
    log_forget_hole(log, from_offset, to_offset);
    ria_err err = log_fail_on_io(log, log_save_meta(log, true));
    if (err == RIA_OK) {
        err = log_complete_producers(log);
    }
    if (err != RIA_OK) {
        log_note_damage(log, from_offset, to_offset); /* the next repair finds it readable */
    }
    return err;
}

ria_err log_install(
    struct partition_log *log,
    struct segment **fresh,
    const struct leader_epochs *found,
    int64_t from_offset,
    int64_t to_offset
)
{
    int64_t base_offset = (*fresh)->base_offset;
    struct install in = {
        .log = log,
        .fresh = *fresh,
        .index = log_segment_at(log, base_offset),
    };

    in.replaces = log->segments[in.index]->base_offset == base_offset;
    in.is_first = log->segments[in.index]->base_offset > base_offset;
    if (!is_quiet(&in)) {
        return RIA_ERR_BUSY;
    }
    RIA_TRY(make_room(log));
    RIA_TRY(remove_marks(&in));
    RIA_TRY(cut_bad_end(&in));
    RIA_TRY(take_name(&in));
    take_place(&in);
    *fresh = NULL;
    RIA_TRY(log_close_hole(log, found, from_offset, to_offset));
    ria_err ignored = log_seal_segment(log, in.fresh); /* logged; tried again at close */
    (void)ignored;
    return RIA_OK;
}
