/* log_state: the inside of a partition_log. Included by partition_log*.c and recovery.c only.
 *
 * partition_log.c: life, state. partition_log_append.c: append, roll, sync. partition_log_read.c:
 * finding and reading. partition_log_cut.c: truncation, reset. log_state.c, log_meta.c,
 * log_replay.c: what these and recovery.c share.
 *
 * Invariants: segments join end to start (unless damaged) and the last one is appended to;
 * durable_offset <= synced_offset <= end; synced segments come before unsynced ones.
 *
 * Two kinds of damage. Holes lie in the log: offsets between good ones that cannot be read
 * (log->damage). A lost tail lies behind its end (log->lost): offsets that were synced once and
 * went with the end; it is filled by appending what the leader has, and is gone when the disk has
 * it all.
 */
#pragma once

#include "services/storage/log_metrics.h"
#include "services/storage/log_path.h"
#include "services/storage/partition_log.h"
#include "services/storage/segment.h"

enum {
    LOG_DAMAGE_MAX = 64, /* holes; more are merged into the last */
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
    bool epochs_changed;    /* since the file was written */
    uint32_t epochs_unsure; /* of each of the last so many entries only one batch was seen when the
                               log was read back; 0 once it was appended to or cut. A merge of
                               entries may leave more than there are */
    struct leader_epochs epochs;
    struct producer_table producers;
    struct log_damage *damage; /* holes; LOG_DAMAGE_MAX of them once there is any; ascending */
    uint32_t damage_count;
    struct log_damage lost;  /* the lost tail, from where it was lost; to_offset 0 = none */
    int32_t forced_epoch;    /* newest that is settled; see partition_log_settle_forced() */
    bool tail_doubted;       /* see partition_log_tail_is_doubted(); as in partition.meta */
    bool tail_is_bad;        /* the last file has bad bytes behind its end: cut before an append */
    bool producers_complete; /* false: there is a hole, and what it hides is missing in producers */
    void (*on_damaged)(void *arg); /* see partition_log_on_damaged(); may be NULL */
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

/* Remember a hole in memory. */
void log_note_damage(struct partition_log *log, int64_t from_offset, int64_t to_offset);

/* Offsets [from, to) are good again: in memory. */
void log_forget_hole(struct partition_log *log, int64_t from_offset, int64_t to_offset);

/* The log ends at from_offset though it was synced up to to_offset: logged, and written to
 * partition.meta. */
void log_report_lost(struct partition_log *log, int64_t from_offset, int64_t to_offset);

/* No hole touches it: its index may vouch for it. */
bool log_segment_is_whole(const struct partition_log *log, const struct segment *segment);

/* The same for what a read found: also logged and written to partition.meta. */
void log_report_damage(struct partition_log *log, int64_t from_offset, int64_t to_offset);

/* The first hole that ends behind offset; NULL if there is none. */
const struct log_damage *log_damage_from(const struct partition_log *log, int64_t offset);

/* Forget holes at and behind offset. */
void log_cut_damage(struct partition_log *log, int64_t offset);

/* Index files and snapshot of a segment that is sealed, if it is whole. Errors as
 * log_save_segment(). */
ria_err log_seal_segment(struct partition_log *log, struct segment *segment) RIA_MUST_USE;

/* ---- partition_log_append.c ---- */

/* Begin a new segment behind the active one. Errors: RIA_ERR_NO_SPACE, RIA_ERR_LIMIT,
 * RIA_ERR_NOMEM, RIA_ERR_IO. */
ria_err log_roll(struct partition_log *log) RIA_MUST_USE;

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
    struct log_offsets repairs; /* "<base offset>.log.tmp" */
    bool has_temp;              /* others */
    ria_err err;                /* while listing */
};

/* log_listing_fini() is due in every case. Errors: RIA_ERR_IO, RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err log_list(const struct partition_log *log, struct log_listing *out_listing) RIA_MUST_USE;
void log_listing_fini(struct log_listing *listing);

/* Remove "<offset><suffix>"; one that is not there is no error. Errors: RIA_ERR_IO. */
ria_err
log_unlink(const struct partition_log *log, int64_t offset, log_path_kind kind) RIA_MUST_USE;

/* Producers as of the log's end: from the newest good one of the snapshots and the batch headers
 * behind it (producers_complete: no hole lies there). Leader epochs of batches at or behind
 * epochs_from are noted, too (INT64_MAX: none).
 * Headers that cannot be read are reported as damage and passed over.
 * Errors: RIA_ERR_IO, RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err log_replay(
    struct partition_log *log, const struct log_offsets *snapshots, int64_t epochs_from
) RIA_MUST_USE;

void log_forget_hints(struct partition_log *log);

/* ---- log_install.c ---- */

/* "<base offset>.log.tmp" of *fresh, whole and synced, becomes the segment of that base offset, in
 * place of the old one if there is one. With it [from, to) is good again; found are the epochs of
 * its batches. *fresh is taken (NULL) as soon as the file has its name.
 * Errors: RIA_ERR_BUSY (a sync is in the way: try again), RIA_ERR_NOMEM, RIA_ERR_LIMIT, RIA_ERR_IO,
 * RIA_ERR_NO_SPACE: the hole is still there. */
ria_err log_install(
    struct partition_log *log,
    struct segment **fresh,
    const struct leader_epochs *found,
    int64_t from_offset,
    int64_t to_offset
) RIA_MUST_USE;

/* Forget the front of a hole, whose batches can be read, durably. Errors, with the hole still there
 * in memory, for another repair: RIA_ERR_NOMEM, as ria_fs_replace(), those of log_replay(). */
ria_err log_close_hole(
    struct partition_log *log,
    const struct leader_epochs *found,
    int64_t from_offset,
    int64_t to_offset
) RIA_MUST_USE;

/* The epochs of [from, to) are those found in its batches: in memory. Errors: RIA_ERR_NOMEM,
 * RIA_ERR_LIMIT. */
ria_err log_merge_epochs(
    struct partition_log *log,
    const struct leader_epochs *found,
    int64_t from_offset,
    int64_t to_offset
) RIA_MUST_USE;

/* With the last hole closed, learn of the producers what it hid. */
ria_err log_complete_producers(struct partition_log *log) RIA_MUST_USE;

/* ---- partition_log_read.c ---- */

/* A batch at the front of bytes that belongs at offset (-1: wherever it says) and is what was
 * written: whole, its CRC right, and of the epoch that wrote this offset, which is under no CRC.
 * Errors: RIA_ERR_MALFORMED (not whole, or not its place), RIA_ERR_CORRUPT (its header was read).
 */
ria_err log_check_batch(
    const struct partition_log *log,
    struct ria_slice bytes,
    int64_t offset,
    struct batch_header *out_header
) RIA_MUST_USE;

/* Batches at a place turned out bad: up to the next place that is known. */
void log_report_bad_place(
    struct partition_log *log, const struct segment *segment, struct segment_place place
);
