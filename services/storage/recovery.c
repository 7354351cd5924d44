#include "services/storage/recovery.h"

#include <stdlib.h>

#include "common/assert.h"

#include "services/storage/record_file.h"
#include "services/storage/recovery_scan.h"

enum { EPOCHS_SIZE_MAX = 4 * 1024 * 1024 };

struct recovery {
    struct partition_log *log;
    struct log_listing listing;
    uint64_t *file_sizes; /* of the segments */
    int64_t mark; /* everything below was on disk; INT64_MAX: all that is in the files may be */
    int64_t rewrite_from; /* what is here and above is written again */
    int64_t indexed;      /* next offset of the last valid index */
    int64_t orphaned;     /* the same of indexes without their log file */
    uint32_t kept;        /* segments that stay; the rest are set aside */
    int32_t epoch;        /* no batch that is scanned may have an older one */
    bool must_cut;        /* the last kept segment's file has a bad tail */
    bool names_changed;
};

static ria_err make_folder(struct partition_log *log)
{
    ria_err err = ria_fs_mkdir(log->env->fs, log->dir);
    return err == RIA_ERR_EXISTS ? RIA_OK : err;
}

/* ---- marks ---- */

/* What the index file of one segment tells, and the size of its log file. */
static ria_err look_at(struct recovery *r, struct segment *segment, uint64_t *out_file_size)
{
    struct segment_index_info info;
    struct ria_file *file = NULL;
    uint64_t size = 0;

    RIA_TRY(segment_file_get(&segment->file, false, &file));
    RIA_TRY(ria_fs_size(file, &size));
    ria_err err = segment_index_info(segment, &info);
    if (err == RIA_OK) {
        r->indexed = ria_max_i64(r->indexed, info.next_offset);
        if (info.covered_size <= size) {
            segment->size = info.covered_size;
            segment->synced_size = info.covered_size;
            segment->next_offset = info.next_offset;
            segment->max_timestamp = info.max_timestamp;
            segment->index_saved = info.covered_size > 0;
            segment->name_synced = info.covered_size > 0;
            segment->offsets_loaded = !segment->index_saved;
            segment->times_loaded = !segment->index_saved;
        }
    } else if (err != RIA_ERR_NOT_FOUND && err != RIA_ERR_CORRUPT) {
        return err;
    }
    *out_file_size = size;
    return RIA_OK;
}

static bool is_listed(const struct log_offsets *offsets, int64_t offset)
{
    for (size_t i = 0; i < offsets->count; i++) {
        if (offsets->items[i] == offset) {
            return true;
        }
    }
    return false;
}

/* An index whose log file is gone: whoever removes both removes the index first. So the file was
 * there, and on disk. */
static ria_err look_at_orphan(struct recovery *r, int64_t base_offset)
{
    struct segment_index_info info;
    struct segment *segment = NULL;

    if (is_listed(&r->listing.logs, base_offset)) {
        return RIA_OK;
    }
    RIA_TRY(segment_new(r->log->cache, r->log->env->log, r->log->dir, base_offset, &segment));
    ria_err err = segment_index_info(segment, &info);
    segment_free(segment);
    if (err == RIA_OK && info.covered_size > 0) {
        r->orphaned = ria_max_i64(r->orphaned, info.next_offset);
    }
    return err == RIA_ERR_NOT_FOUND || err == RIA_ERR_CORRUPT ? RIA_OK : err;
}

/* Segments in memory, and the mark. */
static ria_err load_segments(struct recovery *r, const struct partition_log_checkpoint *checkpoint)
{
    struct partition_log *log = r->log;
    struct segment *segment = NULL;

    r->indexed = log->start_offset;
    r->mark = log->start_offset;
    if (checkpoint->generation == log->generation) {
        r->mark = ria_max_i64(r->mark, checkpoint->synced_offset);
    }
    r->file_sizes = calloc(r->listing.logs.count + 1, sizeof(*r->file_sizes));
    if (r->file_sizes == NULL) {
        return RIA_ERR_NOMEM;
    }
    for (size_t i = 0; i < r->listing.logs.count; i++) {
        RIA_TRY(log_push_segment(log, r->listing.logs.items[i], &segment));
        RIA_TRY(look_at(r, segment, &r->file_sizes[i]));
    }
    for (size_t i = 0; i < r->listing.indexes.count; i++) {
        RIA_TRY(look_at_orphan(r, r->listing.indexes.items[i]));
    }
    r->mark = ria_max_i64(r->mark, ria_max_i64(r->indexed, r->orphaned));
    r->rewrite_from = r->mark;
    if (checkpoint->is_unknown) {
        r->mark = INT64_MAX;
    }
    return RIA_OK;
}

/* ---- the chain of segments ---- */

static void note_index_missing(const struct recovery *r, const struct segment *segment)
{
    r->log->metrics->indexes_rebuilt.value++;
    ria_log_warn(
        r->log->env->log,
        "storage.index_rebuilt",
        "log=%s segment=%lld",
        r->log->name,
        (long long)segment->base_offset
    );
}

/* Read what no index vouches for. Afterwards the segment ends where its good batches do. */
static ria_err scan(struct recovery *r, uint32_t i)
{
    struct segment *segment = r->log->segments[i];

    if (segment->size == r->file_sizes[i]) {
        return RIA_OK;
    }
    if (!segment->index_saved && i + 1 < r->log->segment_count) {
        note_index_missing(r, segment);
    }
    ria_err err = segment_reserve(segment, 0); /* what the index covers, to go on from there */
    if (err == RIA_ERR_CORRUPT) {
        segment_forget_index(segment); /* a batch that it covers is bad, too: all is looked at */
    } else if (err != RIA_OK) {
        return err;
    }
    struct recovery_scan job = {
        .log = r->log,
        .segment = segment,
        .file_size = r->file_sizes[i],
        .mark = r->mark,
        .rewrite_from = r->rewrite_from,
        .epoch = r->epoch,
        .sure_epoch = r->epoch,
    };
    RIA_TRY(recovery_scan_run(&job));
    r->epoch = job.sure_epoch;
    return RIA_OK;
}

/* Does segment i begin where the one before ends? *out_belongs: it is part of the log. */
static ria_err join(struct recovery *r, uint32_t i, bool *out_belongs)
{
    struct partition_log *log = r->log;
    int64_t base_offset = log->segments[i]->base_offset;
    int64_t expected = i == 0 ? log->start_offset : log->segments[i - 1]->next_offset;

    if (base_offset < expected) {
        ria_log_error(
            log->env->log,
            "storage.segments_overlap",
            "log=%s segment=%lld expected=%lld",
            log->name,
            (long long)base_offset,
            (long long)expected
        );
        return RIA_ERR_CORRUPT;
    }
    if (base_offset > expected && expected < r->mark) {
        log_report_damage(log, expected, base_offset);
    }
    *out_belongs = base_offset == expected || expected < r->mark;
    return RIA_OK;
}

/* Decide what stays. Changes no name and cuts nothing. */
static ria_err follow_chain(struct recovery *r)
{
    struct partition_log *log = r->log;
    int64_t end_offset = log->start_offset;
    bool belongs = true;

    for (uint32_t i = 0; i < log->segment_count && !r->must_cut; i++) {
        RIA_TRY(join(r, i, &belongs));
        if (!belongs) {
            break;
        }
        RIA_TRY(scan(r, i));
        r->kept = i + 1;
        end_offset = log->segments[i]->next_offset;
        r->must_cut = log->segments[i]->size < r->file_sizes[i] && end_offset >= r->mark;
    }
    if (end_offset < r->mark) {
        log->tail_is_bad =
            r->kept > 0 && log->segments[r->kept - 1]->size < r->file_sizes[r->kept - 1];
    }
    /* Without a mark only bad bytes tell that something was there. */
    bool is_lost = end_offset < r->rewrite_from || log->tail_is_bad;
    if (end_offset < r->mark && is_lost) {
        log_report_lost(log, end_offset, r->mark);
    }
    return RIA_OK;
}

/* Holes that were noted by an earlier open and lie behind the end by now are a lost tail. */
static void settle_damage(struct partition_log *log)
{
    int64_t end_offset = partition_log_end_offset(log);

    while (log->damage_count > 0 && log->damage[log->damage_count - 1].to_offset > end_offset) {
        const struct log_damage *hole = &log->damage[--log->damage_count];
        if (log->lost.to_offset == 0) {
            log->lost.from_offset = end_offset;
        }
        log->lost.from_offset = ria_min_i64(log->lost.from_offset, hole->from_offset);
        log->lost.to_offset = ria_max_i64(log->lost.to_offset, hole->to_offset);
    }
    if (log->lost.to_offset > 0 && log->lost.to_offset <= end_offset) {
        log->lost = (struct log_damage){.from_offset = 0}; /* regained, and not yet noted */
    }
}

/* ---- changes ---- */

static ria_err set_aside(struct recovery *r, struct segment *segment, uint64_t file_size)
{
    struct partition_log *log = r->log;
    char path[LOG_PATH_MAX];
    char aside[LOG_PATH_MAX];

    segment_file_close(&segment->file);
    RIA_TRY(log_unlink(log, segment->base_offset, LOG_PATH_INDEX));
    RIA_TRY(log_unlink(log, segment->base_offset, LOG_PATH_TIME_INDEX));
    r->names_changed = true;
    if (file_size == 0) {
        return log_unlink(log, segment->base_offset, LOG_PATH_LOG);
    }
    log->metrics->segments_discarded.value++;
    ria_log_warn(
        log->env->log,
        "storage.segment_discarded",
        "log=%s segment=%lld size=%llu",
        log->name,
        (long long)segment->base_offset,
        (unsigned long long)file_size
    );
    log_path_of(path, log->dir, segment->base_offset, LOG_PATH_LOG);
    log_path_of(aside, log->dir, segment->base_offset, LOG_PATH_DISCARDED);
    return ria_fs_rename(log->env->fs, path, aside);
}

static ria_err cut_tail(struct recovery *r)
{
    struct partition_log *log = r->log;
    struct segment *segment = log->segments[r->kept - 1];

    log->metrics->tails_cut.value++;
    ria_log_warn(
        log->env->log,
        "storage.tail_cut",
        "log=%s end=%lld bytes=%llu",
        log->name,
        (long long)segment->next_offset,
        (unsigned long long)(r->file_sizes[r->kept - 1] - segment->size)
    );
    RIA_TRY(segment_truncate(
        segment, (struct segment_place){.offset = segment->next_offset, .position = segment->size}
    ));
    return segment_sync(segment);
}

/* What goes may have been synced, where the mark is old. Said before it goes: a later open sees a
 * clean end. */
static ria_err doubt_tail(const struct recovery *r)
{
    struct partition_log *log = r->log;
    bool has_bytes = r->must_cut;

    for (uint32_t i = r->kept; i < log->segment_count; i++) {
        has_bytes = has_bytes || r->file_sizes[i] > 0;
    }
    if (!has_bytes || log->tail_doubted) {
        return RIA_OK;
    }
    log->tail_doubted = true;
    ria_err err = log_save_meta(log, true);
    return err == RIA_ERR_NO_SPACE ? RIA_OK
                                   : err; /* a full disk serves reads; this process knows */
}

/* Last first: a crash in between leaves a chain with a shorter end. */
static ria_err drop_the_rest(struct recovery *r)
{
    struct partition_log *log = r->log;

    RIA_TRY(doubt_tail(r));
    while (log->segment_count > r->kept) {
        uint32_t last = log->segment_count - 1;
        RIA_TRY(set_aside(r, log->segments[last], r->file_sizes[last]));
        log_pop_segment(log);
    }
    return r->must_cut ? cut_tail(r) : RIA_OK;
}

static ria_err first_segment(struct recovery *r)
{
    struct segment *segment = NULL;

    if (r->log->segment_count > 0) {
        return RIA_OK;
    }
    RIA_TRY(log_push_segment(r->log, r->log->start_offset, &segment));
    return segment_create(segment);
}

static bool has_segment(const struct partition_log *log, int64_t base_offset)
{
    return log->segments[log_segment_at(log, base_offset)]->base_offset == base_offset;
}

/* Index files without their segment, snapshots behind the end, and those of earlier clean ends. */
static ria_err remove_leftovers(struct recovery *r)
{
    struct partition_log *log = r->log;
    const struct log_listing *l = &r->listing;
    bool newest = true;

    for (size_t i = 0; i < l->indexes.count; i++) {
        if (!has_segment(log, l->indexes.items[i])) {
            RIA_TRY(log_unlink(log, l->indexes.items[i], LOG_PATH_INDEX));
            r->names_changed = true;
        }
    }
    for (size_t i = 0; i < l->time_indexes.count; i++) {
        if (!has_segment(log, l->time_indexes.items[i])) {
            RIA_TRY(log_unlink(log, l->time_indexes.items[i], LOG_PATH_TIME_INDEX));
            r->names_changed = true;
        }
    }
    for (size_t i = l->snapshots.count; i-- > 0;) {
        int64_t offset = l->snapshots.items[i];
        bool is_behind = offset > partition_log_end_offset(log);
        if (is_behind || (!newest && !has_segment(log, offset))) {
            RIA_TRY(log_unlink(log, offset, LOG_PATH_PRODUCERS));
            r->names_changed = true;
        }
        newest = newest && is_behind;
    }
    return RIA_OK;
}

static ria_err remove_temps(struct recovery *r)
{
    static const char *const NAMES[] = {"partition.meta.tmp", "leader-epochs.tmp"};
    char path[LOG_PATH_MAX];

    for (size_t i = 0; i < r->listing.repairs.count; i++) {
        RIA_TRY(log_unlink(r->log, r->listing.repairs.items[i], LOG_PATH_REPAIR));
    }
    for (size_t i = 0; i < RIA_COUNT(NAMES) && r->listing.has_temp; i++) {
        log_path_join(path, r->log->dir, NAMES[i]);
        ria_err err = ria_fs_unlink(r->log->env->fs, path);
        if (err != RIA_OK && err != RIA_ERR_NOT_FOUND) {
            return err;
        }
    }
    return RIA_OK;
}

/* What lies below the mark was synced, and its name with it, before anybody could know: a second
 * sync of each of thousands of logs would keep the node from serving for that long. */
static void trust_mark(const struct recovery *r, struct segment *segment)
{
    if (segment->size > 0 && segment->next_offset <= r->mark) {
        segment->synced_size = segment->size;
        segment->name_synced = true;
    }
}

/* Everything that is left is on disk afterwards, with its name. */
static ria_err sync_all(struct recovery *r)
{
    struct partition_log *log = r->log;

    for (uint32_t i = 0; i < log->segment_count; i++) {
        struct segment *segment = log->segments[i];
        trust_mark(r, segment);
        if (segment->synced_size < segment->size) {
            RIA_TRY(segment_sync(segment));
        }
    }
    if (r->names_changed) {
        RIA_TRY(ria_fs_sync_dir(log->env->fs, log->dir));
    }
    return RIA_OK;
}

static void save_sealed(struct recovery *r)
{
    struct partition_log *log = r->log;

    for (uint32_t i = 0; i + 1 < log->segment_count; i++) {
        if (!log->segments[i]->index_saved && log->segments[i]->size > 0) {
            ria_err ignored = log_seal_segment(log, log->segments[i]); /* logged */
            (void)ignored;
        }
    }
}

/* ---- epochs ---- */

/* The file is believed below the last index; *out_from is where the batches have to tell. */
static ria_err load_epochs(struct recovery *r, int64_t *out_from)
{
    struct partition_log *log = r->log;
    char path[LOG_PATH_MAX];
    uint8_t *data = NULL;
    size_t size = 0;

    log_path_join(path, log->dir, "leader-epochs");
    ria_err err = record_file_load(log->env->fs, path, EPOCHS_SIZE_MAX, &data, &size);
    if (err == RIA_OK) {
        err = leader_epochs_decode(&log->epochs, ria_slice_of(data, size));
        free(data);
    }
    if (err == RIA_ERR_NOT_FOUND || err == RIA_ERR_CORRUPT || err == RIA_ERR_IO) {
        if (err != RIA_ERR_NOT_FOUND || r->indexed > log->start_offset) {
            ria_log_warn(log->env->log, "storage.epochs_rebuilt", "log=%s", log->name);
        }
        *out_from = log->start_offset;
        return RIA_OK;
    }
    if (err == RIA_OK) {
        int64_t believed = ria_min_i64(r->indexed, partition_log_end_offset(log));
        log->epochs_changed = leader_epochs_truncate(&log->epochs, believed);
        *out_from = r->indexed;
    }
    return err;
}

static ria_err run(struct recovery *r, const struct partition_log_checkpoint *checkpoint)
{
    struct partition_log *log = r->log;
    int64_t epochs_from = 0;
    bool had_meta = false;
    char parent[LOG_PATH_MAX];

    RIA_TRY(make_folder(log));
    RIA_TRY(log_list(log, &r->listing));
    RIA_TRY(log_load_meta(log, &had_meta));
    if (!had_meta) {
        log->generation = checkpoint->generation; /* so that its synced offset counts */
        log->start_offset = r->listing.logs.count > 0 ? r->listing.logs.items[0] : 0;
        ria_fs_dir_of(log->dir, parent, sizeof(parent));
        RIA_TRY(ria_fs_sync_dir(log->env->fs, parent));
        ria_err err = log_save_meta(log, false);
        if (err != RIA_OK && err != RIA_ERR_NO_SPACE) {
            return err;
        }
    }
    RIA_TRY(load_segments(r, checkpoint));
    RIA_TRY(follow_chain(r));
    RIA_TRY(drop_the_rest(r));
    RIA_TRY(first_segment(r));
    settle_damage(log);
    RIA_TRY(load_epochs(r, &epochs_from));
    RIA_TRY(log_replay(log, &r->listing.snapshots, epochs_from));
    if (!partition_log_is_damaged(log)) {
        RIA_TRY(remove_leftovers(r)); /* else they are evidence */
    }
    RIA_TRY(remove_temps(r));
    RIA_TRY(sync_all(r));
    save_sealed(r);
    return RIA_OK;
}

ria_err recovery_run(struct partition_log *log, const struct partition_log_checkpoint *checkpoint)
{
    struct recovery r = {.log = log, .epoch = -1};

    ria_err err = run(&r, checkpoint);
    log_listing_fini(&r.listing);
    free(r.file_sizes);
    return err;
}
