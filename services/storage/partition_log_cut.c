/* Cutting a log (partition_log.h): truncating it, and beginning it elsewhere. */
#include "common/assert.h"

#include "services/storage/log_state.h"

/* Both follow the order of writes in docs/formats/partition.md. Until the generation is on disk
 * nothing was done; after that an error leaves files and memory apart, so the log fails stop. */

static ria_err must_stop(struct partition_log *log, ria_err err)
{
    if (err != RIA_OK) {
        log_fail(log);
        return RIA_ERR_IO;
    }
    return RIA_OK;
}

/* Nothing has changed yet: only a disk that does not work is a reason to stop. */
static ria_err may_go_on(struct partition_log *log, ria_err err)
{
    if (err == RIA_OK || err == RIA_ERR_NOMEM || err == RIA_ERR_LIMIT || err == RIA_ERR_NO_SPACE ||
        err == RIA_ERR_CORRUPT) {
        return err;
    }
    return must_stop(log, err);
}

/* A checkpoint of before must mean nothing from now on. */
static ria_err begin_generation(struct partition_log *log)
{
    log->generation++;
    ria_err err = log_save_meta(log, true);
    if (err != RIA_OK) {
        log->generation--;
    }
    return err;
}

static ria_err unlink_index(const struct partition_log *log, int64_t base_offset)
{
    RIA_TRY(log_unlink(log, base_offset, LOG_PATH_INDEX));
    return log_unlink(log, base_offset, LOG_PATH_TIME_INDEX);
}

static ria_err unlink_snapshots(
    const struct partition_log *log, const struct log_offsets *snapshots, int64_t above_offset
)
{
    for (size_t i = 0; i < snapshots->count; i++) {
        if (snapshots->items[i] > above_offset) {
            RIA_TRY(log_unlink(log, snapshots->items[i], LOG_PATH_PRODUCERS));
        }
    }
    return RIA_OK;
}

/* ---- truncate ---- */

struct cut {
    struct partition_log *log;
    struct log_listing listing;
    int64_t offset;         /* asked for, or where the hole before it begins */
    struct log_damage lost; /* what is missing between there and what was asked for */
    uint32_t index;         /* the segment that becomes the last */
    struct segment_place place;
};

/* A hole that the cut meets becomes a lost tail: nothing good is left behind it. */
static void plan(struct cut *cut, int64_t offset)
{
    const struct partition_log *log = cut->log;
    const struct log_damage *hole = log_damage_from(log, offset - 1);
    int64_t end_offset = partition_log_end_offset(log);

    cut->offset = offset;
    if (hole != NULL && hole->from_offset < offset) {
        cut->offset = hole->from_offset;
        cut->lost = (struct log_damage){hole->from_offset, offset};
    } else if (offset > end_offset) {
        cut->offset = end_offset;
        cut->lost = log->lost;
        cut->lost.to_offset = ria_min_i64(log->lost.to_offset, offset);
    }
}

/* Where the cut goes, and everything before it on disk. */
static ria_err prepare(struct cut *cut)
{
    struct partition_log *log = cut->log;
    int64_t offset = cut->offset;

    cut->index = log_segment_at(log, offset);
    struct segment *segment = log->segments[cut->index];
    RIA_ASSERT(offset >= segment->base_offset);
    cut->place = (struct segment_place){segment->next_offset, segment->size};
    if (offset < segment->next_offset) {
        ria_err err = segment_seek(segment, offset, NULL, &cut->place);
        if (err == RIA_ERR_CORRUPT && cut->place.offset == offset) {
            err = RIA_OK; /* a hole begins there: where it does is all that a cut has to know */
        }
        RIA_TRY(err);
    }
    RIA_TRY(segment_reserve(segment, 0)); /* its index files are about to go */
    for (uint32_t i = 0; i < cut->index; i++) {
        if (log->segments[i]->synced_size < log->segments[i]->size) {
            RIA_TRY(segment_sync(log->segments[i]));
        }
    }
    return log_list(log, &cut->listing);
}

/* What is going away was never on disk, and was written under no epoch: to be said before anything
 * goes, because the checkpoint is written of a log that has failed in the middle, too. */
static void lower_marks(struct partition_log *log, int64_t offset)
{
    log_forget_hints(log);
    log->durable_offset = ria_min_i64(log->durable_offset, offset);
    log->synced_offset = ria_min_i64(log->synced_offset, offset);
    if (leader_epochs_truncate(&log->epochs, offset)) {
        log->epochs_changed = true;
        log->epochs_unsure = 0;
    }
}

/* The damage behind the cut is forgotten by the same write that begins the generation; lost is what
 * is left of it. */
static ria_err forget_damage(struct partition_log *log, int64_t offset, struct log_damage lost)
{
    struct log_damage last = {.from_offset = 0};
    struct log_damage lost_before = log->lost;
    uint32_t count = log->damage_count;

    if (count > 0) {
        last = log->damage[count - 1];
        log_cut_damage(log, offset);
    }
    log->lost = lost;
    ria_err err = begin_generation(log);
    if (err != RIA_OK) {
        log->lost = lost_before;
        log->damage_count = count; /* a cut only lowers the count: the ranges are still there */
        if (count > 0) {
            log->damage[count - 1] = last;
        }
    }
    return err;
}

static ria_err remove_marks(struct cut *cut)
{
    struct partition_log *log = cut->log;

    for (uint32_t i = cut->index; i < log->segment_count; i++) {
        struct segment *segment = log->segments[i];
        if (i > cut->index || cut->place.position < segment->size || log->tail_is_bad) {
            segment->index_saved = false;
            RIA_TRY(unlink_index(log, segment->base_offset));
        }
    }
    for (size_t i = 0; i < cut->listing.indexes.count; i++) {
        if (cut->listing.indexes.items[i] >= cut->place.offset) { /* its log file may be missing */
            RIA_TRY(unlink_index(log, cut->listing.indexes.items[i]));
        }
    }
    RIA_TRY(unlink_snapshots(log, &cut->listing.snapshots, cut->place.offset));
    return ria_fs_sync_dir(log->env->fs, log->dir);
}

static ria_err remove_data(struct cut *cut)
{
    struct partition_log *log = cut->log;
    struct segment *segment = log->segments[cut->index];

    while (log->segment_count > cut->index + 1) {
        segment_file_close(&log_active(log)->file);
        RIA_TRY(log_unlink(log, log_active(log)->base_offset, LOG_PATH_LOG));
        log_pop_segment(log);
    }
    ria_buf_fini(&segment->snapshot);
    RIA_TRY(segment_truncate(segment, cut->place));
    RIA_TRY(segment_sync(segment));
    return ria_fs_sync_dir(log->env->fs, log->dir);
}

static ria_err cut_state(struct cut *cut)
{
    struct partition_log *log = cut->log;
    int64_t end_offset = cut->place.offset;

    log->tail_is_bad = false;
    log->durable_offset = end_offset;
    log->synced_offset = end_offset;
    /* Of what a hole hid the table knows nothing, whether or not the hole is still there. */
    if (log->producers_complete && !producer_table_reaches(&log->producers, end_offset)) {
        return RIA_OK;
    }
    return log_replay(log, &cut->listing.snapshots, INT64_MAX);
}

/* It stopped somewhere on the way: nothing is certain of what was to go, and what is left in memory
 * must not say more than there is. */
static void settle_failed_cut(struct cut *cut)
{
    struct partition_log *log = cut->log;
    int64_t end_offset = ria_min_i64(cut->place.offset, partition_log_end_offset(log));

    log_forget_hints(log);
    log->durable_offset = ria_min_i64(log->durable_offset, end_offset);
    log->synced_offset = ria_min_i64(log->synced_offset, end_offset);
    (void)leader_epochs_truncate(&log->epochs, end_offset);
}

static ria_err run_cut(struct cut *cut)
{
    struct partition_log *log = cut->log;

    RIA_TRY(may_go_on(log, prepare(cut)));
    RIA_TRY(may_go_on(log, forget_damage(log, cut->place.offset, cut->lost)));
    lower_marks(log, cut->place.offset);
    ria_err err = remove_marks(cut);
    if (err == RIA_OK) {
        err = remove_data(cut);
    }
    if (err == RIA_OK) {
        err = cut_state(cut);
    }
    if (err != RIA_OK) {
        settle_failed_cut(cut);
    }
    return must_stop(log, err);
}

/* ---- reset ---- */

static ria_err unlink_epochs(const struct partition_log *log)
{
    char path[LOG_PATH_MAX];

    log_path_join(path, log->dir, "leader-epochs");
    ria_err err = ria_fs_unlink(log->env->fs, path);
    return err == RIA_ERR_NOT_FOUND ? RIA_OK : err;
}

static ria_err remove_all(struct partition_log *log, const struct log_listing *listing)
{
    for (size_t i = 0; i < listing->indexes.count; i++) {
        RIA_TRY(unlink_index(log, listing->indexes.items[i]));
    }
    RIA_TRY(unlink_snapshots(log, &listing->snapshots, -1));
    RIA_TRY(unlink_epochs(log));
    RIA_TRY(ria_fs_sync_dir(log->env->fs, log->dir));
    for (uint32_t i = 0; i < log->segment_count; i++) {
        segment_file_close(&log->segments[i]->file);
    }
    for (size_t i = listing->logs.count; i-- > 0;) {
        RIA_TRY(log_unlink(log, listing->logs.items[i], LOG_PATH_LOG));
    }
    return ria_fs_sync_dir(log->env->fs, log->dir);
}

/* Takes fresh. Its offset is no mark before it is on disk that the log begins there. */
static ria_err start_again(struct partition_log *log, struct segment *fresh)
{
    int64_t old_start = log->start_offset;

    while (log->segment_count > 0) {
        log_pop_segment(log);
    }
    log_own_segment(log, fresh);
    log->segments[log->segment_count++] = fresh;
    log->start_offset = fresh->base_offset;
    leader_epochs_clear(&log->epochs);
    log->epochs_changed = true;
    log->epochs_unsure = 0;
    producer_table_clear(&log->producers);
    log->producers_complete = true;
    log->tail_is_bad = false;
    ria_err err = log_save_meta(log, true);
    if (err != RIA_OK) {
        log->start_offset = old_start;
        return err;
    }
    log->durable_offset = fresh->base_offset;
    log->synced_offset = fresh->base_offset;
    return segment_create(fresh);
}

static ria_err reset(struct partition_log *log, int64_t offset, struct log_damage lost)
{
    struct log_listing listing;
    struct segment *fresh = NULL;

    RIA_ASSERT(!partition_log_is_syncing(log));

    if (offset < 0) {
        return RIA_ERR_INVALID;
    }
    if (log->failed) {
        return RIA_ERR_IO;
    }
    ria_err err = log_list(log, &listing);
    if (err == RIA_OK) {
        err = segment_new(log->cache, log->env->log, log->dir, offset, &fresh);
    }
    if (err == RIA_OK) {
        err = forget_damage(log, 0, lost);
    }
    err = may_go_on(log, err);
    if (err == RIA_OK) {
        lower_marks(log, log->start_offset);
        err = remove_all(log, &listing);
        if (err == RIA_OK) {
            err = start_again(log, RIA_STEAL(&fresh));
        }
        err = must_stop(log, err);
    }
    segment_free(fresh);
    log_listing_fini(&listing);
    return err;
}

ria_err partition_log_reset(struct partition_log *log, int64_t offset)
{
    return reset(log, offset, (struct log_damage){.from_offset = 0});
}

/* ---- where it goes ---- */

ria_err partition_log_truncate(struct partition_log *log, int64_t offset)
{
    struct cut cut = {.log = log};

    RIA_ASSERT(!partition_log_is_syncing(log));

    if (log->failed) {
        return RIA_ERR_IO;
    }
    /* The first segment may be missing: then its offsets are damaged, and nothing is left of the
     * log if it is cut at its start. */
    plan(&cut, offset);
    if (cut.offset < log->start_offset ||
        (cut.offset == log->start_offset && cut.offset < log->segments[0]->base_offset)) {
        return reset(log, cut.offset, cut.lost);
    }
    if (cut.offset >= partition_log_end_offset(log) && !log->tail_is_bad &&
        cut.lost.to_offset == log->lost.to_offset) {
        return RIA_OK;
    }
    ria_err err = run_cut(&cut);
    log_listing_fini(&cut.listing);
    return err;
}

ria_err partition_log_give_up_lost(struct partition_log *log)
{
    if (log->lost.to_offset > 0) {
        struct cut cut = {.log = log, .offset = partition_log_end_offset(log)};
        RIA_ASSERT(!partition_log_is_syncing(log));
        ria_err err = log->failed ? RIA_ERR_IO : run_cut(&cut);
        log_listing_fini(&cut.listing);
        RIA_TRY(err);
    }
    log->producers_complete = true;
    return RIA_OK;
}

ria_err partition_log_settle_forced(struct partition_log *log, int32_t leader_epoch)
{
    int32_t before = log->forced_epoch;

    if (leader_epoch <= before) {
        return RIA_OK;
    }
    if (log->failed) {
        return RIA_ERR_IO;
    }
    log->forced_epoch = leader_epoch;
    ria_err err = log_fail_on_io(log, log_save_meta(log, true));
    if (err != RIA_OK) {
        log->forced_epoch = before;
    }
    return err;
}

int32_t partition_log_forced_epoch(const struct partition_log *log)
{
    return log->forced_epoch;
}
