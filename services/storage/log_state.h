/* log_state: the inside of a partition_log. Included by partition_log*.c and recovery.c only.
 *
 * partition_log.c: life, state. partition_log_append.c: append, roll, sync. partition_log_read.c:
 * finding and reading. partition_log_cut.c: truncation, reset. log_state.c, log_meta.c,
 * log_replay.c: what these and recovery.c share.
 *
 * Invariants: segments join end to start (unless damaged) and the last one is appended to;
 * durable_offset <= synced_offset <= end; synced segments come before unsynced ones.
 */
#pragma once

#include "services/storage/log_metrics.h"
#include "services/storage/log_path.h"
#include "services/storage/partition_log.h"
#include "services/storage/segment.h"

enum {
    LOG_DAMAGE_MAX = 64, /* ranges; more are merged into the last */
    LOG_HINTS = 4,       /* places where reads ended lately: a reader goes on there */
};

/* Offsets [from, to) were synced once and cannot be read. */
struct log_damage {
    int64_t from_offset;
    int64_t to_offset;
};

struct log_hint {
    int64_t segment_base_offset;
    struct segment_place place; /* offset -1: none */
};

struct partition_log {
    const struct ria_env *env;
    struct segment_cache *cache;
    struct log_metrics *metrics;
    char *dir;
    const char *name; /* last part of dir, for logs */
    struct ria_uuid topic_id;
    int32_t partition;
    struct partition_log_options options;
    partition_log_synced_fn on_synced;
    void *arg;

    struct segment **segments; /* ascending; at least one once open */
    uint32_t segment_count;
    uint32_t segment_capacity;
    int64_t durable_offset; /* everything below is on disk */
    int64_t synced_offset;  /* what we say is: relaxed logs say more */
    int64_t start_offset;
    uint32_t generation;
    bool failed;
    bool epochs_changed; /* since the file was written */
    struct leader_epochs epochs;
    struct producer_table producers;
    struct log_damage *damage; /* LOG_DAMAGE_MAX of them once there is any; ascending */
    uint32_t damage_count;
    struct log_hint hints[LOG_HINTS];
    uint32_t hint_next;

    struct ria_fs_sync sync;
    struct segment *sync_segment; /* NULL: none under way */
    uint64_t sync_size;
    int64_t sync_end_offset;
    int64_t sync_wanted_offset;  /* the log's end when a sync was last asked for */
    ria_err sync_err;            /* reported when sync_timer fires */
    struct ria_timer sync_timer; /* a sync that could not begin */
};

/* A timer's callback; arg is the log. partition_log_append.c */
void log_on_sync_timer(struct ria_timer *timer, void *arg);

/* The disk did not do what it was told: the log takes nothing any more, and on_synced tells so,
 * from the loop. partition_log_append.c */
void log_fail(struct partition_log *log);

/* The same if err is RIA_ERR_IO. Returns err. */
static inline ria_err log_fail_on_io(struct partition_log *log, ria_err err)
{
    if (err == RIA_ERR_IO) {
        log_fail(log);
    }
    return err;
}

static inline struct segment *log_active(const struct partition_log *log)
{
    return log->segments[log->segment_count - 1];
}

/* Append a segment in memory. Errors: RIA_ERR_NOMEM. */
ria_err log_push_segment(
    struct partition_log *log, int64_t base_offset, struct segment **out_segment
) RIA_MUST_USE;

/* The segment's failures are the log's. */
void log_own_segment(struct partition_log *log, struct segment *segment);

/* Free the last segment. */
void log_pop_segment(struct partition_log *log);

/* Index of the last segment that begins at or before offset; 0 if none does. */
uint32_t log_segment_at(const struct partition_log *log, int64_t offset);

/* leader-epochs, durably, if it changed. Errors: as ria_fs_replace(). */
ria_err log_save_epochs(struct partition_log *log) RIA_MUST_USE;

/* The index files of a synced segment, and before them what they vouch for: epochs, snapshot.
 * Logged when it fails; the indexes then stay in memory until the log is closed. RIA_ERR_IO stops
 * the log. */
ria_err log_save_segment(struct partition_log *log, struct segment *segment) RIA_MUST_USE;

/* Remember a range in memory. */
void log_note_damage(struct partition_log *log, int64_t from_offset, int64_t to_offset);

/* The same for what a read found: also logged and written to partition.meta. */
void log_report_damage(struct partition_log *log, int64_t from_offset, int64_t to_offset);

/* The first range that ends behind offset; NULL if there is none. */
const struct log_damage *log_damage_from(const struct partition_log *log, int64_t offset);

/* Forget damage at and behind offset. */
void log_cut_damage(struct partition_log *log, int64_t offset);

/* ---- log_meta.c ---- */

/* partition.meta, durably or (its first content, which may be lost) not.
 * Errors: as ria_fs_replace(). */
ria_err log_save_meta(struct partition_log *log, bool durably) RIA_MUST_USE;

/* Generation, start offset and damage from partition.meta. *out_found = false: it is missing, or
 * bad (logged). Errors: RIA_ERR_CORRUPT (another partition's), RIA_ERR_UNKNOWN_VERSION, RIA_ERR_IO,
 * RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err log_load_meta(struct partition_log *log, bool *out_found) RIA_MUST_USE;

/* ---- log_replay.c ---- */

/* Offsets in the names of a folder's files, ascending. */
struct log_offsets {
    int64_t *items;
    size_t count;
    size_t capacity;
};

struct log_listing {
    struct log_offsets logs;
    struct log_offsets indexes;
    struct log_offsets time_indexes;
    struct log_offsets snapshots;
    bool has_temp;
    ria_err err; /* while listing */
};

/* log_listing_fini() is due in every case. Errors: RIA_ERR_IO, RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err log_list(const struct partition_log *log, struct log_listing *out_listing) RIA_MUST_USE;
void log_listing_fini(struct log_listing *listing);

/* Remove "<offset><suffix>"; one that is not there is no error. Errors: RIA_ERR_IO. */
ria_err
log_unlink(const struct partition_log *log, int64_t offset, log_path_kind kind) RIA_MUST_USE;

/* Producers as of the log's end: from the newest good one of the snapshots and the batch headers
 * behind it. Leader epochs of batches at or behind epochs_from are noted, too (INT64_MAX: none).
 * Headers that cannot be read are reported as damage and passed over.
 * Errors: RIA_ERR_IO, RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err log_replay(
    struct partition_log *log, const struct log_offsets *snapshots, int64_t epochs_from
) RIA_MUST_USE;

void log_forget_hints(struct partition_log *log);
