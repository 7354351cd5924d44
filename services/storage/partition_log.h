/* partition_log: one replica's log on disk: segments, indexes, leader epochs, producer state.
 *
 * Formats: docs/formats/{partition,segment,index,leader-epochs,producer-snapshot,checkpoint}.md.
 * Offsets are dense: start_offset <= synced_offset <= end_offset, where end_offset is the next one
 * to be written and everything below synced_offset is on disk. Appends go to the page cache; a sync
 * runs in the pool, one at a time, and covers everything written before it began (group commit).
 *
 * Fail stop: after a failed write or sync, of an index as of a batch, the log refuses appends for
 * good (RIA_ERR_IO; never a second fsync) and on_synced tells so; reads go on. RIA_ERR_NO_SPACE
 * before anything was written is not a failure.
 * Damage (a bad batch below the checkpointed synced offset) is not a tail: nothing is cut, and
 * is_damaged() is true until it is repaired (log_repair.h) or cut off. Either a hole: a range
 * between good ones cannot be read, the rest can be read and appended to. Or a lost tail: the log
 * ends below what it was synced to; a follower's appends fill it.
 *
 * Thread: the storage loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/uuid.h"

#include "schemas/batch.h"

#include "services/storage/leader_epochs.h"
#include "services/storage/producer_table.h"

struct partition_log;
struct segment_cache; /* bounded set of open segment files, shared by all logs of a process */

struct partition_log_options {
    int64_t segment_bytes;
    bool relaxed; /* durability=relaxed: synced_offset follows end_offset at once; the disk is
                     synced by partition_log_sync() all the same */
};

/* What the data folder's checkpoint knew of this log; zeros for a new one. Taken by
 * partition_log_get_checkpoint(), stored by checkpoint.h. */
struct partition_log_checkpoint {
    int64_t synced_offset; /* on disk for certain, of a relaxed topic too. INT64_MAX: nobody knows,
                              the log is gone, and an empty one takes its place */
    int64_t high_watermark;
    bool is_unknown;     /* the entry may have been lost: nothing bad in the log is a mere tail */
    uint32_t generation; /* of the log when this was taken: truncation begins a new one, to which an
                            older synced_offset means nothing */
};

/* err == RIA_OK: synced_offset() has grown. Else the log has failed. Comes from the loop, never
 * from inside a function of this header; may call all of them but partition_log_close() and
 * _free(). */
typedef void (*partition_log_synced_fn)(void *arg, ria_err err);

/* Opens the folder `dir` ("<data>/<topic uuid>-<partition>"), creating it if missing, and recovers
 * it: the last segment's batches behind the last clean mark are checked by CRC and an incomplete or
 * bad tail is cut (logged once). Whatever is in it then is synced. Blocks on the disk. env, cache
 * and arg stay for the log's life; dir, topic_id, options and checkpoint are copied.
 * Errors: RIA_ERR_IO, RIA_ERR_NOMEM, RIA_ERR_NO_SPACE, RIA_ERR_LIMIT (descriptors, path),
 * RIA_ERR_CORRUPT (files of another partition), RIA_ERR_UNKNOWN_VERSION (a newer format). */
ria_err partition_log_open(
    const struct ria_env *env,
    struct segment_cache *cache,
    const char *dir,
    const struct ria_uuid *topic_id,
    int32_t partition,
    const struct partition_log_options *options,
    const struct partition_log_checkpoint *checkpoint,
    partition_log_synced_fn on_synced,
    void *arg,
    struct partition_log **out_log
) RIA_MUST_USE;

/* Clean end: sync, indexes and producer snapshot written, so that the next open scans nothing.
 * Blocks. Frees the log in every case: an error says that the next open will have to recover. Must
 * not be called while a sync is under way (partition_log_is_syncing()). */
ria_err partition_log_close(struct partition_log *log) RIA_MUST_USE;

/* Forget it as a crash would. Accepts NULL. A sync may be under way only if its callback cannot
 * come any more (the simulated machine has crashed, or the pool has stopped). */
void partition_log_free(struct partition_log *log);

int64_t partition_log_start_offset(const struct partition_log *log);
int64_t partition_log_end_offset(const struct partition_log *log);
int64_t partition_log_synced_offset(const struct partition_log *log);
/* Bytes of its record batches; indexes, less than a hundredth of it, are not counted. */
int64_t partition_log_bytes(const struct partition_log *log);
bool partition_log_is_damaged(const struct partition_log *log);

/* partition_log_append() would not be refused for damage: no offset that was synced once would be
 * given out again, and producers are known. */
bool partition_log_can_lead(const struct partition_log *log);

/* Offset behind a lost tail, 0 if there is none. */
int64_t partition_log_lost_offset(const struct partition_log *log);

/* An open found bad bytes above the mark and cut them off the end: mostly an unsynced tail, but it
 * may have been damage in what was synced a moment before (docs/design/009-damage.md, "The end of a
 * log"). Remembered durably, by later opens too, until partition_log_settle_tail(). */
bool partition_log_tail_is_doubted(const struct partition_log *log);

/* What may have been cut off is back, or need not come back. Blocks. If it cannot be remembered,
 * the next open doubts again. */
void partition_log_settle_tail(struct partition_log *log);

/* on_damaged(arg of the log) is called whenever damage is found, or a lost tail is whole again:
 * from inside any function of this header. It must not call any. */
void partition_log_on_damaged(struct partition_log *log, void (*on_damaged)(void *arg));

bool partition_log_has_failed(const struct partition_log *log);
bool partition_log_is_syncing(const struct partition_log *log);
bool partition_log_is_relaxed(const struct partition_log *log);

/* Not relaxed any more: synced_offset goes back to what is on disk, and a sync begins. */
void partition_log_set_options(
    struct partition_log *log, const struct partition_log_options *options
);

/* What to write into the data folder's checkpoint; high_watermark goes in as it is. */
void partition_log_get_checkpoint(
    const struct partition_log *log,
    int64_t high_watermark,
    struct partition_log_checkpoint *out_checkpoint
);

/* ---- producers (docs/formats/producer-snapshot.md, kafka-protocol 2.4) ---- */

/* NULL if nothing is known of the id. Valid until the next append or truncate. */
const struct producer_state *
partition_log_producer(const struct partition_log *log, int64_t producer_id);

/* May this batch be appended by a leader? header->producer_id may be -1 (always).
 * *out_duplicate_offset is >= 0 if it is there already (the original base offset).
 * Errors: RIA_ERR_OUT_OF_ORDER, RIA_ERR_FENCED_PRODUCER. */
ria_err partition_log_check_producer(
    const struct partition_log *log,
    const struct batch_header *header,
    int64_t *out_duplicate_offset
) RIA_MUST_USE;

/* ---- append, sync ---- */

/* Leader: assign offsets from end_offset, patch the batch in place, append. The batch has passed
 * batch_validate() and partition_log_check_producer(). Records leader_epoch in the epoch file when
 * it is new. Starts no sync by itself.
 * Errors: RIA_ERR_NO_SPACE, RIA_ERR_LIMIT (descriptors), RIA_ERR_NOMEM: nothing is in the log, it
 * may be tried again; RIA_ERR_FENCED_EPOCH: the log holds batches of a newer epoch; RIA_ERR_IO: the
 * log has failed; RIA_ERR_CORRUPT: it cannot lead. */
ria_err partition_log_append(
    struct partition_log *log,
    uint8_t *batch,
    const struct batch_header *header,
    int32_t leader_epoch,
    int64_t *out_base_offset
) RIA_MUST_USE;

/* Follower: append whole batches as the leader wrote them. The first must start at end_offset, each
 * CRC is checked, epochs must not fall; all this before anything is written. When the disk fills in
 * the middle, a prefix of whole batches is in the log (see end_offset). A log that lost its tail
 * must be truncated first (to what the leader has). Errors: RIA_ERR_CONFLICT (offsets do not join,
 * or an epoch falls), RIA_ERR_CORRUPT (a CRC; bad bytes behind the end), RIA_ERR_MALFORMED, and as
 * above. */
ria_err
partition_log_append_batches(struct partition_log *log, struct ria_slice batches) RIA_MUST_USE;

/* Start a sync if anything is unsynced and none is under way; on_synced follows. When more was
 * written meanwhile, the next sync starts by itself after on_synced. */
void partition_log_sync(struct partition_log *log);

/* ---- read ---- */

/* A run of whole batches in one segment. */
struct partition_log_range {
    int64_t segment_base_offset;
    uint64_t position;
    uint32_t size;       /* 0: nothing to read */
    int64_t base_offset; /* of the first batch */
    int64_t next_offset; /* offset behind the last batch of the range */
};

/* Whole batches from the one that holds `offset` up to, and not past, `end_offset` (high watermark,
 * or log end): as many as fit max_bytes, at least one. offset == end_offset gives size 0.
 * Errors: RIA_ERR_OFFSET_OUT_OF_RANGE, RIA_ERR_CORRUPT (offset lies in a damaged range),
 * RIA_ERR_IO, RIA_ERR_LIMIT (descriptors), RIA_ERR_NOMEM. */
ria_err partition_log_locate(
    struct partition_log *log,
    int64_t offset,
    int64_t end_offset,
    uint32_t max_bytes,
    struct partition_log_range *out_range
) RIA_MUST_USE;

/* Copy the range's bytes to out (range->size of them) and check every CRC: bad bytes do not leave
 * the node. A bad batch makes the log damaged; the good ones around it can be located again.
 * Errors: RIA_ERR_CORRUPT, RIA_ERR_IO, RIA_ERR_LIMIT (descriptors), RIA_ERR_OFFSET_OUT_OF_RANGE
 * (cut off since it was located). */
ria_err partition_log_read(
    struct partition_log *log, const struct partition_log_range *range, uint8_t *out
) RIA_MUST_USE;

/* First record with timestamp >= timestamp_ms below end_offset. *out_offset = -1 if there is none.
 * Errors: RIA_ERR_CORRUPT, RIA_ERR_IO, RIA_ERR_LIMIT (descriptors), RIA_ERR_NOMEM,
 * RIA_ERR_UNSUPPORTED (a compressed batch). */
ria_err partition_log_find_time(
    struct partition_log *log,
    int64_t timestamp_ms,
    int64_t end_offset,
    int64_t *out_offset,
    int64_t *out_timestamp_ms
) RIA_MUST_USE;

/* ---- epochs, truncation (KIP-101, KIP-279) ---- */

/* Borrowed; valid until the next append or truncate. */
const struct leader_epoch_entry *
partition_log_epochs(const struct partition_log *log, uint32_t *out_count);

/* Newest epoch of which there is more proof than one batch header that was read back from the disk:
 * no CRC covers a header's epoch. -1 if there is none. */
int32_t partition_log_sure_epoch(const struct partition_log *log);

/* First offset at which this log and one with that history may differ: where a follower truncates
 * to (at most its own end). Pure function of the two histories, see leader_epochs_divergence(). */
int64_t partition_log_divergence(
    const struct partition_log *log,
    const struct leader_epoch_entry *leader_epochs,
    uint32_t count,
    int64_t leader_end_offset
);

/* Cut everything at and behind offset, durably, with indexes, epochs and producer state. A batch
 * that holds offset goes as a whole. At or behind the end: nothing happens; below the start: as
 * partition_log_reset(). Damage that is cut off is forgotten. A hole that reaches up to offset goes
 * as a whole and becomes a lost tail up to offset; so does a lost tail that reaches beyond it.
 * Blocks. No sync may be under way. Errors: RIA_ERR_IO (the log has failed), RIA_ERR_CORRUPT (a
 * batch on the way cannot be read), RIA_ERR_INVALID (negative), RIA_ERR_NO_SPACE, RIA_ERR_LIMIT,
 * RIA_ERR_NOMEM (nothing was cut yet: it may be tried again). */
ria_err partition_log_truncate(struct partition_log *log, int64_t offset) RIA_MUST_USE;

/* An operator made this log the one that counts: a lost tail will not come back, and what a hole
 * hides of the producers is not waited for. Holes stay as they are. Blocks. No sync may be under
 * way unless nothing is lost. Errors as for partition_log_truncate(). */
ria_err partition_log_give_up_lost(struct partition_log *log) RIA_MUST_USE;

/* An operator forced a leader under leader_epoch, and this log is its, or has been made to agree
 * with its or a successor's: what it holds counts from now on, and only a newer force lets anybody
 * cut what is committed in it. Remembered durably; no older epoch than before is taken. Blocks.
 * Errors: RIA_ERR_IO (the log has failed), RIA_ERR_NO_SPACE, RIA_ERR_LIMIT, RIA_ERR_NOMEM (not
 * remembered: try again). */
ria_err partition_log_settle_forced(struct partition_log *log, int32_t leader_epoch) RIA_MUST_USE;

/* Newest epoch given to partition_log_settle_forced(), -1 if none was. */
int32_t partition_log_forced_epoch(const struct partition_log *log);

/* Start again at `offset` with an empty log (a follower whose end is below the leader's start).
 * Damage is forgotten. Blocks. No sync may be under way. Errors as for partition_log_truncate(). */
ria_err partition_log_reset(struct partition_log *log, int64_t offset) RIA_MUST_USE;

/* Invariants; aborts on a broken one. */
void partition_log_check(const struct partition_log *log);
