#include "services/storage/log_state.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/storage/log_path.h"
#include "services/storage/record_file.h"

enum { EPOCHS_SIZE_MAX = 4 * 1024 * 1024 };

/* ---- segments ---- */

static void on_write_failed(void *owner)
{
    log_fail(owner);
}

void log_own_segment(struct partition_log *log, struct segment *segment)
{
    segment->on_write_failed = on_write_failed;
    segment->owner = log;
}

ria_err
log_push_segment(struct partition_log *log, int64_t base_offset, struct segment **out_segment)
{
    struct segment *segment = NULL;

    if (log->segment_count == log->segment_capacity) {
        uint32_t capacity = log->segment_capacity == 0 ? 1 : log->segment_capacity * 2;
        struct segment **segments = realloc(log->segments, capacity * sizeof(struct segment *));
        if (segments == NULL) {
            return RIA_ERR_NOMEM;
        }
        log->segments = segments;
        log->segment_capacity = capacity;
    }
    RIA_TRY(segment_new(log->cache, log->env->log, log->dir, base_offset, &segment));
    log_own_segment(log, segment);
    log->segments[log->segment_count++] = segment;
    *out_segment = segment;
    return RIA_OK;
}

void log_pop_segment(struct partition_log *log)
{
    RIA_ASSERT(log->segment_count > 0);
    segment_free(log->segments[--log->segment_count]);
}

uint32_t log_segment_at(const struct partition_log *log, int64_t offset)
{
    uint32_t low = 0;
    uint32_t high = log->segment_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (log->segments[middle]->base_offset <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

void log_forget_hints(struct partition_log *log)
{
    for (uint32_t i = 0; i < LOG_HINTS; i++) {
        log->hints[i].place.offset = -1;
    }
}

/* ---- small files ---- */

ria_err log_save_epochs(struct partition_log *log)
{
    struct ria_buf buf;
    char path[LOG_PATH_MAX];

    if (!log->epochs_changed) {
        return RIA_OK;
    }
    ria_buf_init(&buf, EPOCHS_SIZE_MAX);
    ria_err err = leader_epochs_encode(&log->epochs, &buf);
    if (err == RIA_OK) {
        log_path_join(path, log->dir, "leader-epochs");
        err = ria_fs_replace(log->env->fs, path, buf.data, buf.size);
    }
    ria_buf_fini(&buf);
    log->epochs_changed = err != RIA_OK;
    return err;
}

static ria_err save_snapshot(struct partition_log *log, struct segment *segment)
{
    char path[LOG_PATH_MAX];

    if (segment->snapshot.size == 0) {
        return RIA_OK;
    }
    log_path_of(path, log->dir, segment->next_offset, LOG_PATH_PRODUCERS);
    RIA_TRY(record_file_write(log->env->fs, path, ria_buf_slice(&segment->snapshot)));
    ria_buf_fini(&segment->snapshot);
    return RIA_OK;
}

ria_err log_save_segment(struct partition_log *log, struct segment *segment)
{
    ria_err err = log_save_epochs(log);

    if (err == RIA_OK) {
        err = save_snapshot(log, segment);
    }
    if (err == RIA_OK) {
        err = segment_reserve(segment, 0); /* both indexes in memory */
    }
    if (err == RIA_OK) {
        err = segment_save_indexes(segment);
    }
    if (err != RIA_OK) {
        ria_log_warn(
            log->env->log,
            "storage.index_not_saved",
            "log=%s segment=%lld err=\"%s\"",
            log->name,
            (long long)segment->base_offset,
            ria_err_text(err)
        );
    }
    return log_fail_on_io(log, err);
}

ria_err log_seal_segment(struct partition_log *log, struct segment *segment)
{
    if (!log_segment_is_whole(log, segment)) {
        return RIA_OK; /* each open looks again */
    }
    return log_save_segment(log, segment);
}

/* ---- damage ---- */

bool log_segment_is_whole(const struct partition_log *log, const struct segment *segment)
{
    const struct log_damage *hole = log_damage_from(log, segment->base_offset);

    return hole == NULL || hole->from_offset >= segment->next_offset;
}

const struct log_damage *log_damage_from(const struct partition_log *log, int64_t offset)
{
    for (uint32_t i = 0; i < log->damage_count; i++) {
        if (log->damage[i].to_offset > offset) {
            return &log->damage[i];
        }
    }
    return NULL;
}

void log_note_damage(struct partition_log *log, int64_t from_offset, int64_t to_offset)
{
    uint32_t i = 0;
    uint32_t end;

    RIA_ASSERT(from_offset < to_offset);

    if (log->damage == NULL) {
        log->damage = calloc(LOG_DAMAGE_MAX, sizeof(*log->damage));
        RIA_ASSERT(log->damage != NULL); /* 1 KiB: going on without the mark would be worse */
    }
    while (i < log->damage_count && log->damage[i].to_offset < from_offset) {
        i++;
    }
    for (end = i; end < log->damage_count && log->damage[end].from_offset <= to_offset; end++) {
        from_offset = ria_min_i64(from_offset, log->damage[end].from_offset);
        to_offset = ria_max_i64(to_offset, log->damage[end].to_offset);
    }
    if (end == i && log->damage_count == LOG_DAMAGE_MAX) {
        i = i == LOG_DAMAGE_MAX ? i - 1 : i; /* no room: grow a neighbour over the gap */
        end = i + 1;
        from_offset = ria_min_i64(from_offset, log->damage[i].from_offset);
        to_offset = ria_max_i64(to_offset, log->damage[i].to_offset);
    }
    memmove(
        &log->damage[i + 1], &log->damage[end], (log->damage_count - end) * sizeof(*log->damage)
    );
    log->damage_count = log->damage_count - (end - i) + 1;
    log->damage[i] = (struct log_damage){.from_offset = from_offset, .to_offset = to_offset};
}

/* Logged, remembered, told. */
static void report(struct partition_log *log, int64_t from_offset, int64_t to_offset)
{
    log->metrics->damaged_ranges.value++;
    ria_err err = log_fail_on_io(log, log_save_meta(log, true));
    ria_log_error(
        log->env->log,
        "storage.log_damaged",
        "log=%s from=%lld to=%lld remembered=%s",
        log->name,
        (long long)from_offset,
        (long long)to_offset,
        err == RIA_OK ? "yes" : "no"
    );
    if (log->on_damaged != NULL) {
        log->on_damaged(log->arg);
    }
}

void log_report_damage(struct partition_log *log, int64_t from_offset, int64_t to_offset)
{
    const struct log_damage *known = log_damage_from(log, from_offset);

    if (known != NULL && known->from_offset <= from_offset && known->to_offset >= to_offset) {
        return;
    }
    log_note_damage(log, from_offset, to_offset);
    log_forget_hints(log);
    report(log, from_offset, to_offset);
}

void log_report_lost(struct partition_log *log, int64_t from_offset, int64_t to_offset)
{
    RIA_ASSERT(from_offset < to_offset);

    if (log->lost.to_offset >= to_offset) {
        return;
    }
    if (log->lost.to_offset == 0) {
        log->lost.from_offset = from_offset;
    }
    log->lost.from_offset = ria_min_i64(log->lost.from_offset, from_offset);
    log->lost.to_offset = to_offset;
    report(log, from_offset, to_offset);
}

void log_forget_hole(struct partition_log *log, int64_t from_offset, int64_t to_offset)
{
    for (uint32_t i = 0; i < log->damage_count; i++) {
        struct log_damage *hole = &log->damage[i];
        if (hole->from_offset > from_offset || hole->to_offset < to_offset) {
            continue;
        }
        RIA_ASSERT(hole->from_offset == from_offset); /* repairs go from the front */
        hole->from_offset = to_offset;
        if (hole->from_offset == hole->to_offset) {
            log->damage_count--;
            memmove(hole, hole + 1, (log->damage_count - i) * sizeof(*hole));
        }
        return;
    }
}

void log_cut_damage(struct partition_log *log, int64_t offset)
{
    while (log->damage_count > 0 && log->damage[log->damage_count - 1].from_offset >= offset) {
        log->damage_count--;
    }
    if (log->damage_count > 0 && log->damage[log->damage_count - 1].to_offset > offset) {
        log->damage[log->damage_count - 1].to_offset = offset;
    }
}
