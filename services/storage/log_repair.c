#include "services/storage/log_repair.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/storage/log_state.h"

enum { READ_SIZE = 1024 * 1024 };

struct log_repair {
    struct partition_log *log; /* NULL: cancelled */
    struct ria_fs *fs;
    log_repair_state state;
    uint32_t generation; /* of the log: another one has been cut */
    int64_t from_offset; /* what is being repaired: the front of the first hole, */
    int64_t to_offset;   /* as far as it concerns one file */
    bool may_end_early;  /* nothing follows in the file: what does not fit is the next repair's */
    int64_t next_offset; /* CHECKING, WANTING: everything before is good */

    char path[LOG_PATH_MAX]; /* of the new file */
    struct ria_file *file;
    struct segment *fresh; /* what the new file holds */
    struct leader_epochs found;
    uint64_t fetched;

    int64_t source_base_offset; /* of the segment that is copied from */
    struct segment_place copy;  /* what is copied next */
    uint64_t copy_end;          /* before the hole, then behind it */
    struct segment_place tail;  /* behind the hole */
    uint64_t tail_end;
    struct segment_place raw; /* the tail has another hole: its bytes go along up to here */

    uint8_t *buf;
    size_t buf_room;
    struct ria_fs_sync sync;
    bool syncing;
};

/* ---- life ---- */

ria_err log_repair_new(struct partition_log *log, struct log_repair **out_repair)
{
    if (log->damage_count == 0) {
        return RIA_ERR_NOT_FOUND;
    }
    struct log_repair *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return RIA_ERR_NOMEM;
    }
    r->log = log;
    r->fs = log->env->fs;
    r->state = LOG_REPAIR_CHECKING;
    r->generation = log->generation;
    r->from_offset = log->damage[0].from_offset;
    r->to_offset = log->damage[0].to_offset;
    r->next_offset = r->from_offset;
    leader_epochs_init(&r->found);
    *out_repair = r;
    return RIA_OK;
}

void log_repair_cancel(struct log_repair *r)
{
    r->log = NULL;
    segment_free(RIA_STEAL(&r->fresh)); /* borrows the log's name and cache */
}

bool log_repair_is_syncing(const struct log_repair *r)
{
    return r->syncing;
}

void log_repair_free(struct log_repair *r)
{
    if (r == NULL) {
        return;
    }
    if (r->file != NULL) {
        ria_fs_close(r->file);
        ria_err ignored = ria_fs_unlink(r->fs, r->path); /* the next open removes it */
        (void)ignored;
    }
    segment_free(r->fresh);
    leader_epochs_fini(&r->found);
    free(r->buf);
    free(r);
}

log_repair_state log_repair_get_state(const struct log_repair *r)
{
    return r->state;
}

void log_repair_wanted(const struct log_repair *r, int64_t *out_from_offset, int64_t *out_to_offset)
{
    *out_from_offset = r->next_offset;
    *out_to_offset = r->to_offset;
}

void log_repair_result(
    const struct log_repair *r,
    int64_t *out_from_offset,
    int64_t *out_to_offset,
    uint64_t *out_fetched
)
{
    *out_from_offset = r->from_offset;
    *out_to_offset = r->to_offset;
    *out_fetched = r->fetched;
}

static void end_well(struct log_repair *r)
{
    r->state = LOG_REPAIR_DONE;
    r->log->metrics->repaired_ranges.value++;
    r->log->metrics->repaired_bytes.value += r->fetched;
}

/* ---- reading what is there ---- */

static ria_err have_room(struct log_repair *r, size_t size)
{
    if (size > r->buf_room) {
        uint8_t *buf = realloc(r->buf, size);
        if (buf == NULL) {
            return RIA_ERR_NOMEM;
        }
        r->buf = buf;
        r->buf_room = size;
    }
    return RIA_OK;
}

/* Bytes of the segment at a place: a bounded number, at least the first batch if its header is
 * sane. */
static ria_err read_at(
    struct log_repair *r,
    struct segment *segment,
    struct segment_place place,
    uint64_t end,
    struct ria_slice *out_bytes
)
{
    struct batch_header header;
    size_t size = (size_t)(end - place.position);

    if (size > READ_SIZE) {
        size = READ_SIZE;
    }
    RIA_TRY(have_room(r, size));
    RIA_TRY(segment_read(segment, place.position, size, r->buf));
    struct ria_slice bytes = ria_slice_of(r->buf, size);
    if (batch_header_decode(bytes, &header) == RIA_OK && batch_size(&header) > size &&
        batch_size(&header) <= end - place.position) {
        size = batch_size(&header);
        RIA_TRY(have_room(r, size));
        RIA_TRY(segment_read(segment, place.position, size, r->buf));
    }
    *out_bytes = ria_slice_of(r->buf, size);
    return RIA_OK;
}

static ria_err note_epoch(struct log_repair *r, const struct batch_header *header)
{
    RIA_TRY(leader_epochs_reserve(&r->found, 1));
    (void)leader_epochs_note(&r->found, header->leader_epoch, header->base_offset);
    return RIA_OK;
}

/* ---- CHECKING: can it be read after all? ---- */

static ria_err plan(struct log_repair *r);

/* Go on behind the good batches at next_offset. *out_more = false: there are none. */
static ria_err check_some(struct log_repair *r, bool *out_more)
{
    struct partition_log *log = r->log;
    struct segment *segment = log->segments[log_segment_at(log, r->next_offset)];
    struct segment_place place;
    struct ria_slice bytes;
    struct batch_header header;

    *out_more = false;
    if (r->next_offset < segment->base_offset || r->next_offset >= segment->next_offset) {
        return RIA_OK;
    }
    ria_err err = segment_seek(segment, r->next_offset, NULL, &place);
    if (err == RIA_ERR_CORRUPT || (err == RIA_OK && place.offset != r->next_offset)) {
        return RIA_OK;
    }
    if (err == RIA_OK) {
        err = read_at(r, segment, place, segment->size, &bytes);
    }
    if (err != RIA_OK) {
        return err == RIA_ERR_CORRUPT ? RIA_OK : err;
    }
    while (r->next_offset < r->to_offset &&
           log_check_batch(r->log, bytes, r->next_offset, &header) == RIA_OK &&
           batch_last_offset(&header) < r->to_offset) {
        RIA_TRY(note_epoch(r, &header));
        r->next_offset = batch_last_offset(&header) + 1;
        bytes = ria_slice_sub(bytes, batch_size(&header), bytes.size);
        *out_more = true;
    }
    return RIA_OK;
}

static ria_err check_step(struct log_repair *r)
{
    bool more = true;

    RIA_TRY(check_some(r, &more));
    if (more && r->next_offset < r->to_offset) {
        return RIA_OK;
    }
    if (r->next_offset > r->from_offset) {
        RIA_TRY(log_close_hole(r->log, &r->found, r->from_offset, r->next_offset));
    }
    if (r->next_offset == r->to_offset) {
        end_well(r);
        return RIA_OK;
    }
    r->from_offset = r->next_offset;
    leader_epochs_clear(&r->found);
    return plan(r);
}

/* ---- the plan ---- */

/* Where the segment's good batches before the hole end. The hole grows to a batch's begin. */
static ria_err find_head(struct log_repair *r, struct segment *segment, uint64_t *out_end)
{
    struct segment_place place;

    if (r->from_offset >= segment->next_offset) {
        *out_end = segment->size;
        return RIA_OK;
    }
    ria_err err = segment_seek(segment, r->from_offset, NULL, &place);
    if (err != RIA_OK && err != RIA_ERR_CORRUPT) {
        return err;
    }
    if (place.offset < r->from_offset) {
        log_note_damage(r->log, place.offset, r->from_offset);
        r->from_offset = place.offset;
        r->next_offset = place.offset;
    }
    *out_end = place.position;
    return RIA_OK;
}

/* Where they go on behind it; if that cannot be told, the hole grows to the segment's end. */
static ria_err find_tail(struct log_repair *r, struct segment *segment)
{
    r->tail_end = segment->size;
    r->tail = (struct segment_place){.offset = segment->next_offset, .position = segment->size};
    if (r->to_offset >= segment->next_offset) {
        return RIA_OK;
    }
    ria_err err = segment_seek(segment, r->to_offset, NULL, &r->tail);
    if (err == RIA_OK && r->tail.offset == r->to_offset) {
        return RIA_OK;
    }
    if (err != RIA_OK && err != RIA_ERR_CORRUPT) {
        return err;
    }
    r->tail = (struct segment_place){.offset = segment->next_offset, .position = segment->size};
    log_note_damage(r->log, r->from_offset, segment->next_offset);
    r->to_offset = segment->next_offset;
    return RIA_OK;
}

/* What is between the segments: a file of its own, or one after the other. */
static ria_err plan_new_file(struct log_repair *r, int64_t next_base_offset)
{
    r->to_offset = ria_min_i64(r->to_offset, next_base_offset);
    r->may_end_early = true;
    return RIA_OK;
}

/* The hole is in this segment: its file is written anew. */
static ria_err plan_rebuild(struct log_repair *r, struct segment *segment, int64_t next_base_offset)
{
    struct partition_log *log = r->log;

    if (segment == log_active(log)) { /* from now on it stays as it is */
        if (log->tail_is_bad) {
            return RIA_ERR_BUSY;
        }
        RIA_TRY(log_roll(log));
        partition_log_sync(log);
    }
    r->source_base_offset = segment->base_offset;
    r->copy = (struct segment_place){.offset = segment->base_offset, .position = 0};
    RIA_TRY(find_head(r, segment, &r->copy_end));
    RIA_TRY(find_tail(r, segment));
    r->to_offset = ria_min_i64(r->to_offset, next_base_offset);
    r->may_end_early = r->tail.position == r->tail_end;
    return RIA_OK;
}

static ria_err plan(struct log_repair *r)
{
    struct partition_log *log = r->log;
    uint32_t i = log_segment_at(log, r->from_offset);
    struct segment *segment = log->segments[i];
    int64_t base_offset = r->from_offset;
    int64_t next_base_offset =
        i + 1 < log->segment_count ? log->segments[i + 1]->base_offset : INT64_MAX;
    ria_err err = RIA_OK;

    if (log->failed) {
        return RIA_ERR_IO;
    }
    if (segment->base_offset > r->from_offset) {
        err = plan_new_file(r, segment->base_offset);
    } else if (r->from_offset == segment->next_offset && segment->size > 0) {
        err = plan_new_file(r, next_base_offset);
    } else {
        base_offset = segment->base_offset;
        err = plan_rebuild(r, segment, next_base_offset);
    }
    if (err == RIA_OK) {
        err = segment_new(log->cache, log->env->log, log->dir, base_offset, &r->fresh);
    }
    if (err == RIA_OK) {
        log_path_of(r->path, log->dir, base_offset, LOG_PATH_REPAIR);
        err = ria_fs_open(r->fs, r->path, RIA_FS_WRITE | RIA_FS_CREATE, &r->file);
    }
    if (err == RIA_OK) {
        err = ria_fs_truncate(r->file, 0);
    }
    r->state = r->copy.position < r->copy_end ? LOG_REPAIR_COPYING : LOG_REPAIR_WANTING;
    return err;
}

/* ---- writing ---- */

/* Good batches, the first at fresh->next_offset or behind a hole that was left. */
static ria_err write_batches(struct log_repair *r, struct ria_slice batches)
{
    struct batch_header header;

    if (batches.size > SEGMENT_SIZE_MAX - r->fresh->size) {
        return RIA_ERR_LIMIT;
    }
    RIA_TRY(ria_fs_pwrite(r->file, batches.data, batches.size, r->fresh->size));
    while (batches.size > 0) {
        RIA_ASSERT(batch_header_decode(batches, &header) == RIA_OK);
        RIA_TRY(segment_reserve(r->fresh, 1));
        segment_note(r->fresh, &header);
        batches = ria_slice_sub(batches, batch_size(&header), batches.size);
    }
    return RIA_OK;
}

static void on_synced(struct ria_fs_sync *sync)
{
    struct log_repair *r = RIA_CONTAINER(sync, struct log_repair, sync);

    r->syncing = false;
}

static void start_sync(struct log_repair *r)
{
    r->state = LOG_REPAIR_SYNCING;
    r->syncing = true;
    r->sync = (struct ria_fs_sync){.done = on_synced};
    ria_fs_sync_start(r->file, &r->sync);
}

/* The hole's bytes are written: what was behind it follows. */
static void go_on_behind(struct log_repair *r)
{
    RIA_ASSERT(r->fresh->next_offset == r->to_offset);

    if (r->tail.position == r->tail_end) {
        start_sync(r);
        return;
    }
    r->state = LOG_REPAIR_COPYING;
    r->copy = r->tail;
    r->copy_end = r->tail_end;
}

/* The tail has another hole at the place, a later repair's: its bytes stay where they are. */
static ria_err pass_over(struct log_repair *r, struct segment *source)
{
    const struct log_damage *hole = log_damage_from(r->log, r->copy.offset);

    if (hole == NULL || hole->from_offset > r->copy.offset) {
        log_report_bad_place(r->log, source, r->copy);
        return RIA_ERR_CORRUPT;
    }
    struct segment_place end = {.offset = source->next_offset, .position = source->size};
    if (hole->to_offset < source->next_offset) {
        int64_t to_offset = hole->to_offset;
        ria_err err = segment_seek(source, to_offset, NULL, &r->raw);
        if (err == RIA_OK && r->raw.offset == to_offset) {
            return RIA_OK;
        }
        if (err != RIA_OK && err != RIA_ERR_CORRUPT) {
            return err;
        }
        log_note_damage(r->log, r->copy.offset, source->next_offset);
    }
    r->raw = end;
    return RIA_OK;
}

static ria_err copy_raw(struct log_repair *r, struct segment *source)
{
    size_t size = (size_t)ria_min_i64((int64_t)(r->raw.position - r->copy.position), READ_SIZE);
    struct segment *fresh = r->fresh;

    RIA_TRY(have_room(r, size));
    RIA_TRY(segment_read(source, r->copy.position, size, r->buf));
    RIA_TRY(ria_fs_pwrite(r->file, r->buf, size, fresh->size));
    fresh->size += size;
    r->copy.position += size;
    if (r->copy.position < r->raw.position) {
        return RIA_OK;
    }
    r->copy = r->raw;
    fresh->next_offset = r->raw.offset;
    if (r->copy.position < r->copy_end) {
        RIA_TRY(offset_index_reserve(&fresh->offsets, 1));
        offset_index_force(
            &fresh->offsets,
            (struct offset_index_place){
                .relative_offset = (uint32_t)(r->raw.offset - fresh->base_offset),
                .position = (uint32_t)fresh->size,
            }
        );
    }
    return RIA_OK;
}

static void copied(struct log_repair *r)
{
    if (r->copy.position < r->copy_end) {
        return;
    }
    if (r->copy_end == r->tail_end && r->fresh->next_offset > r->from_offset) {
        start_sync(r);
    } else {
        r->state = LOG_REPAIR_WANTING;
    }
}

static ria_err copy_step(struct log_repair *r)
{
    struct partition_log *log = r->log;
    struct segment *source = log->segments[log_segment_at(log, r->source_base_offset)];
    struct batch_header header;
    struct ria_slice bytes;
    size_t size = 0;

    RIA_ASSERT(source->base_offset == r->source_base_offset);
    if (r->copy.position < r->raw.position) {
        RIA_TRY(copy_raw(r, source));
        copied(r);
        return RIA_OK;
    }
    RIA_TRY(read_at(r, source, r->copy, r->copy_end, &bytes));
    struct segment_place place = r->copy;
    while (size < bytes.size &&
           log_check_batch(log, ria_slice_sub(bytes, size, bytes.size), place.offset, &header) ==
               RIA_OK) {
        size += batch_size(&header);
        place.offset = batch_last_offset(&header) + 1;
    }
    if (size == 0) {
        return pass_over(r, source);
    }
    RIA_TRY(write_batches(r, ria_slice_sub(bytes, 0, size)));
    place.position += size;
    r->copy = place;
    copied(r);
    return RIA_OK;
}

static ria_err install(struct log_repair *r)
{
    ria_err err = log_install(r->log, &r->fresh, &r->found, r->from_offset, r->to_offset);

    if (err == RIA_ERR_BUSY) {
        return RIA_OK; /* the next step */
    }
    if (err == RIA_OK) {
        end_well(r);
    }
    return err;
}

/* The hole begins where it began. Else it was cut off, or more was found in front of it. */
static bool has_its_hole(const struct log_repair *r)
{
    const struct log_damage *hole = log_damage_from(r->log, r->from_offset);

    return hole != NULL && hole->from_offset == r->from_offset;
}

ria_err log_repair_step(struct log_repair *r)
{
    RIA_ASSERT(r->log != NULL);

    if (r->log->generation != r->generation || (r->state != LOG_REPAIR_DONE && !has_its_hole(r))) {
        return RIA_ERR_CONFLICT;
    }
    if (r->log->failed) {
        return RIA_ERR_IO;
    }
    switch (r->state) {
    case LOG_REPAIR_CHECKING:
        return check_step(r);
    case LOG_REPAIR_COPYING:
        return copy_step(r);
    case LOG_REPAIR_SYNCING:
        if (r->syncing) {
            return RIA_OK;
        }
        r->state = LOG_REPAIR_READY;
        return r->sync.result;
    case LOG_REPAIR_READY:
        return install(r);
    case LOG_REPAIR_WANTING:
    case LOG_REPAIR_DONE:
        break;
    }
    return RIA_OK;
}

/* ---- WANTING ---- */

/* Both logs have a batch of the same epoch where the hole ends: then they are equal below. */
static bool
agrees_behind(const struct log_repair *r, const struct log_repair_source *source, int64_t hole_end)
{
    const struct leader_epochs *own = &r->log->epochs;

    if (hole_end >= source->end_offset || hole_end >= partition_log_end_offset(r->log)) {
        return true;
    }
    return leader_epochs_at(own->entries, own->count, hole_end) ==
           leader_epochs_at(source->epochs, source->epoch_count, hole_end);
}

/* How much of the batches is taken: whole ones that fit, as much as the file should hold. */
static ria_err check_source(
    const struct log_repair *r,
    const struct log_repair_source *source,
    int32_t epoch_max,
    struct ria_slice *out_taken
)
{
    const struct leader_epochs *own = &r->log->epochs;
    int64_t offset = r->next_offset;
    int32_t epoch = leader_epochs_last(&r->found);
    struct ria_slice batches = source->batches;
    struct batch_header header;
    size_t size = 0;

    while (size < batches.size) {
        struct ria_slice rest = ria_slice_sub(batches, size, batches.size);
        if (batch_header_decode(rest, &header) != RIA_OK || batch_size(&header) > rest.size) {
            return RIA_ERR_MALFORMED;
        }
        int32_t known =
            source->is_leader ? -1 : leader_epochs_at(own->entries, own->count, header.base_offset);
        epoch = known > epoch ? known : epoch;
        if (!segment_header_joins(&header, offset) || header.leader_epoch < epoch ||
            header.leader_epoch > epoch_max || batch_last_offset(&header) >= r->to_offset) {
            return RIA_ERR_CONFLICT;
        }
        RIA_TRY(batch_check_crc(ria_slice_sub(rest, 0, batch_size(&header))));
        epoch = header.leader_epoch;
        offset = batch_last_offset(&header) + 1;
        size += batch_size(&header);
    }
    *out_taken = ria_slice_sub(batches, 0, size);
    return RIA_OK;
}

ria_err log_repair_doubt_end(struct log_repair *r, const struct log_repair_source *source)
{
    struct partition_log *log = r->log;
    const struct log_damage *hole = log_damage_from(log, r->from_offset);
    struct segment_place place;

    RIA_ASSERT(r->state == LOG_REPAIR_WANTING);

    if (!has_its_hole(r) || hole->to_offset >= source->end_offset ||
        hole->to_offset >= partition_log_end_offset(log) || r->to_offset != hole->to_offset ||
        !agrees_behind(r, source, hole->to_offset)) {
        return RIA_ERR_NOT_FOUND;
    }
    struct segment *segment = log->segments[log_segment_at(log, r->to_offset)];
    if (segment->base_offset == r->to_offset) {
        return RIA_ERR_NOT_FOUND; /* the file's name says so, too */
    }
    ria_err err = segment_seek(segment, r->to_offset, NULL, &place);
    if (err == RIA_OK && place.offset == r->to_offset) {
        struct segment_walk walk;
        struct batch_header header;
        bool more = false;
        RIA_TRY(segment_walk_init(&walk, segment, place));
        err = segment_walk_next(&walk, &header, &more);
        if (err == RIA_OK && more) {
            log_report_damage(log, r->to_offset, batch_last_offset(&header) + 1);
            return RIA_ERR_CORRUPT;
        }
    }
    return err == RIA_OK ? RIA_ERR_NOT_FOUND : err;
}

ria_err log_repair_put(struct log_repair *r, const struct log_repair_source *source)
{
    const struct partition_log *log = r->log;
    const struct log_damage *hole = log_damage_from(log, r->from_offset);
    struct batch_header header;
    struct ria_slice taken;

    RIA_ASSERT(r->state == LOG_REPAIR_WANTING);

    if (log->generation != r->generation || hole == NULL || hole->from_offset != r->from_offset) {
        return RIA_ERR_FENCED_EPOCH;
    }
    if (!agrees_behind(r, source, hole->to_offset)) {
        return RIA_ERR_CONFLICT;
    }
    int32_t epoch_max =
        hole->to_offset < partition_log_end_offset(log)
            ? leader_epochs_at(log->epochs.entries, log->epochs.count, hole->to_offset)
            : INT32_MAX;
    RIA_TRY(check_source(r, source, epoch_max, &taken));
    RIA_TRY(write_batches(r, taken));
    r->fetched += taken.size;
    r->next_offset = r->fresh->next_offset;
    while (taken.size > 0) {
        RIA_ASSERT(batch_header_decode(taken, &header) == RIA_OK);
        RIA_TRY(note_epoch(r, &header));
        taken = ria_slice_sub(taken, batch_size(&header), taken.size);
    }
    if (r->may_end_early && r->fresh->size >= (uint64_t)log->options.segment_bytes) {
        r->to_offset = r->next_offset;
    }
    if (r->next_offset == r->to_offset) {
        go_on_behind(r);
    }
    return RIA_OK;
}
