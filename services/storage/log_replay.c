/* The files in a log's folder, and what is read again from its batches when it opens: producers and
 * leader epochs (log_state.h). */
#include <stdlib.h>

#include "common/assert.h"

#include "services/storage/log_state.h"
#include "services/storage/record_file.h"

/* ---- the folder ---- */

static ria_err add(struct log_offsets *offsets, int64_t offset)
{
    if (offsets->count == offsets->capacity) {
        size_t capacity = offsets->capacity == 0 ? 8 : offsets->capacity * 2;
        int64_t *items = realloc(offsets->items, capacity * sizeof(*items));
        if (items == NULL) {
            return RIA_ERR_NOMEM;
        }
        offsets->items = items;
        offsets->capacity = capacity;
    }
    offsets->items[offsets->count++] = offset;
    return RIA_OK;
}

/* Names come in order, and so do their offsets: they have 20 digits. */
static bool on_name(void *arg, const char *name, bool is_dir)
{
    struct log_listing *listing = arg;
    int64_t offset = 0;

    if (is_dir) {
        return true;
    }
    switch (log_path_parse(name, &offset)) {
    case LOG_PATH_LOG:
        listing->err = add(&listing->logs, offset);
        break;
    case LOG_PATH_INDEX:
        listing->err = add(&listing->indexes, offset);
        break;
    case LOG_PATH_TIME_INDEX:
        listing->err = add(&listing->time_indexes, offset);
        break;
    case LOG_PATH_PRODUCERS:
        listing->err = add(&listing->snapshots, offset);
        break;
    case LOG_PATH_REPAIR:
        listing->err = add(&listing->repairs, offset);
        break;
    case LOG_PATH_TEMP:
        listing->has_temp = true;
        break;
    case LOG_PATH_DISCARDED:
    case LOG_PATH_OTHER:
        break;
    }
    return listing->err == RIA_OK;
}

ria_err log_list(const struct partition_log *log, struct log_listing *out_listing)
{
    *out_listing = (struct log_listing){.err = RIA_OK};
    ria_err err = ria_fs_list(log->env->fs, log->dir, on_name, out_listing);
    return err == RIA_OK ? out_listing->err : err;
}

void log_listing_fini(struct log_listing *listing)
{
    free(listing->logs.items);
    free(listing->indexes.items);
    free(listing->time_indexes.items);
    free(listing->snapshots.items);
    free(listing->repairs.items);
}

ria_err log_unlink(const struct partition_log *log, int64_t offset, log_path_kind kind)
{
    char path[LOG_PATH_MAX];

    log_path_of(path, log->dir, offset, kind);
    ria_err err = ria_fs_unlink(log->env->fs, path);
    return err == RIA_ERR_NOT_FOUND ? RIA_OK : err;
}

/* ---- replay ---- */

/* *out_offset: what the table reflects. RIA_ERR_CORRUPT: the file is no use. */
static ria_err load_snapshot(struct partition_log *log, int64_t offset)
{
    char path[LOG_PATH_MAX];
    uint8_t *data = NULL;
    size_t size = 0;

    log_path_of(path, log->dir, offset, LOG_PATH_PRODUCERS);
    RIA_TRY(record_file_load(log->env->fs, path, SEGMENT_SNAPSHOT_SIZE_MAX, &data, &size));
    ria_err err = producer_table_decode(
        &log->producers, ria_slice_of(data, size), offset, ria_clock_mono_us(log->env->clock)
    );
    free(data);
    return err;
}

static bool is_transient(ria_err err)
{
    return err == RIA_ERR_NOMEM || err == RIA_ERR_LIMIT;
}

/* The newest snapshot at or below end that can be read; the log's start if there is none. */
static ria_err load_newest(
    struct partition_log *log,
    const struct log_offsets *snapshots,
    int64_t end_offset,
    int64_t *out_offset
)
{
    producer_table_clear(&log->producers);
    for (size_t i = snapshots->count; i-- > 0;) {
        int64_t offset = snapshots->items[i];
        if (offset > end_offset || offset < log->segments[0]->base_offset) {
            continue;
        }
        ria_err err = load_snapshot(log, offset);
        if (err == RIA_OK || is_transient(err)) {
            *out_offset = offset;
            return err;
        }
        ria_log_warn(
            log->env->log,
            "storage.snapshot_ignored",
            "log=%s offset=%lld err=\"%s\"",
            log->name,
            (long long)offset,
            ria_err_text(err)
        );
    }
    *out_offset = log->segments[0]->base_offset;
    return RIA_OK;
}

struct replay {
    struct partition_log *log;
    int64_t producers_from;
    int64_t epochs_from;
    int64_t now_us;
    int64_t last_offset; /* of the batch before whose epoch was noted; -1: none */
};

/* Epochs never fall. If only the batch before has the larger one, that one is a flipped bit; if
 * more have it, this one's is. */
static ria_err replay_epoch(struct replay *replay, const struct batch_header *header)
{
    struct partition_log *log = replay->log;
    struct leader_epochs *epochs = &log->epochs;

    RIA_TRY(leader_epochs_reserve(epochs, 1));
    if (header->leader_epoch < leader_epochs_last(epochs) && log->epochs_unsure > 0 &&
        replay->last_offset == epochs->entries[epochs->count - 1].start_offset) {
        (void)leader_epochs_truncate(epochs, replay->last_offset);
        log->epochs_unsure--; /* batches behind it are of the epoch before, or a later one */
        log_report_damage(log, replay->last_offset, header->base_offset);
    }
    if (header->leader_epoch < leader_epochs_last(epochs)) {
        log_report_damage(log, header->base_offset, batch_last_offset(header) + 1);
        return RIA_OK;
    }
    bool is_new = leader_epochs_note(epochs, header->leader_epoch, header->base_offset);
    log->epochs_changed = log->epochs_changed || is_new;
    log->epochs_unsure = is_new ? log->epochs_unsure + 1 : 0;
    replay->last_offset = header->base_offset;
    return RIA_OK;
}

static ria_err replay_batch(struct replay *replay, const struct batch_header *header)
{
    struct partition_log *log = replay->log;

    if (header->base_offset >= replay->producers_from) {
        RIA_TRY(producer_table_reserve(&log->producers, 1));
        producer_table_note(&log->producers, header, replay->now_us);
    }
    if (header->base_offset >= replay->epochs_from) {
        RIA_TRY(replay_epoch(replay, header));
    }
    return RIA_OK;
}

/* No way leads through a hole: a header in it may be what is wrong, and tells another end. */
static bool is_hole(const struct partition_log *log, int64_t offset)
{
    const struct log_damage *hole = log_damage_from(log, offset);

    return hole != NULL && hole->from_offset <= offset;
}

/* Walk from a place to the segment's end, or to a hole. On RIA_ERR_CORRUPT *place is the bad one.
 */
static ria_err
replay_run(struct replay *replay, struct segment *segment, struct segment_place *place)
{
    struct segment_walk walk;
    struct batch_header header;
    bool more = true;

    RIA_TRY(segment_walk_init(&walk, segment, *place));
    for (;;) {
        if (is_hole(replay->log, walk.place.offset)) {
            *place = walk.place;
            return RIA_ERR_CORRUPT;
        }
        ria_err err = segment_walk_next(&walk, &header, &more);
        *place = walk.place;
        if (err != RIA_OK || !more) {
            return err;
        }
        RIA_TRY(replay_batch(replay, &header));
    }
}

/* Where to go on behind a bad place: where its hole ends, if something knows where that is in the
 * file; else at the next batch the index knows, and all up to there is the hole's. */
static int64_t behind(struct replay *replay, struct segment *segment, int64_t bad)
{
    const struct log_damage *hole = log_damage_from(replay->log, bad);
    struct segment_place place;
    int64_t next = segment->next_offset;

    if (hole != NULL && hole->from_offset <= bad) {
        if (hole->to_offset >= next) {
            return next;
        }
        if (segment_seek(segment, hole->to_offset, NULL, &place) == RIA_OK &&
            place.offset == hole->to_offset) {
            return hole->to_offset;
        }
    }
    if (segment->offsets_loaded) {
        uint32_t relative =
            offset_index_next(&segment->offsets, (uint32_t)(bad - segment->base_offset));
        next = ria_min_i64(next, segment->base_offset + relative);
    }
    if (bad < next) {
        log_report_damage(replay->log, bad, next); /* nothing, if it is known */
    }
    return next;
}

static ria_err replay_segment(struct replay *replay, struct segment *segment, int64_t from)
{
    struct segment_place place;

    from = ria_max_i64(from, segment->base_offset);
    while (from < segment->next_offset) {
        ria_err err = segment_seek(segment, from, NULL, &place);
        if (err == RIA_OK) {
            err = replay_run(replay, segment, &place);
        }
        if (err == RIA_OK) {
            return RIA_OK;
        }
        if (err != RIA_ERR_CORRUPT) {
            return err;
        }
        from = behind(replay, segment, ria_max_i64(from, place.offset));
    }
    return RIA_OK;
}

ria_err
log_replay(struct partition_log *log, const struct log_offsets *snapshots, int64_t epochs_from)
{
    int64_t end_offset = partition_log_end_offset(log);
    struct replay replay = {
        .log = log,
        .epochs_from = epochs_from,
        .now_us = ria_clock_mono_us(log->env->clock),
        .last_offset = -1,
    };

    RIA_TRY(load_newest(log, snapshots, end_offset, &replay.producers_from));
    int64_t from = ria_min_i64(replay.producers_from, epochs_from);
    for (uint32_t i = log_segment_at(log, from); i < log->segment_count; i++) {
        RIA_TRY(replay_segment(&replay, log->segments[i], from));
    }
    log->producers_complete = log_damage_from(log, replay.producers_from) == NULL;
    return RIA_OK;
}
