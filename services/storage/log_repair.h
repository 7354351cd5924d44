/* log_repair: puts what a hole hides back into a partition_log, from bytes that a peer sent.
 *
 * docs/formats/partition.md, "Repair". One repair works on the front of the log's first hole, as
 * far as it concerns one file:
 *
 *   CHECKING  can it be read after all (a bad read, a crash after the last repair)? then that was
 * it COPYING   the good batches before the hole go into "<base offset>.log.tmp" WANTING   the
 * caller brings batches of a peer, log_repair_put() COPYING   the good batches behind the hole
 * follow SYNCING   in the pool READY     the file takes the segment's place, the hole is forgotten
 * durably DONE
 *
 * The log goes on meanwhile: it is appended to, read, cut. A cut ends the repair with
 * RIA_ERR_CONFLICT. Dying at any point leaves the hole or the repaired log: only a synced, whole
 * file gets the segment's name, and the hole is forgotten after that.
 *
 * Thread: the storage loop's. Steps are bounded; READY blocks for a few small syncs.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

#include "services/storage/leader_epochs.h"
#include "services/storage/partition_log.h"

struct log_repair;

typedef enum log_repair_state {
    LOG_REPAIR_CHECKING,
    LOG_REPAIR_COPYING,
    LOG_REPAIR_WANTING,
    LOG_REPAIR_SYNCING,
    LOG_REPAIR_READY,
    LOG_REPAIR_DONE,
} log_repair_state;

/* Borrows log until log_repair_cancel() or _free(). Errors: RIA_ERR_NOT_FOUND (there is no hole),
 * RIA_ERR_NOMEM. */
ria_err log_repair_new(struct partition_log *log, struct log_repair **out_repair) RIA_MUST_USE;

/* Forgets the log, which may end before the repair does. Only log_repair_is_syncing() and
 * log_repair_free() may follow. */
void log_repair_cancel(struct log_repair *repair);

/* A sync is under way: it must end before log_repair_free(), unless its callback cannot come any
 * more. */
bool log_repair_is_syncing(const struct log_repair *repair);

/* Removes what is unfinished. Accepts NULL. */
void log_repair_free(struct log_repair *repair);

log_repair_state log_repair_get_state(const struct log_repair *repair);

/* A bounded amount of work in any state but WANTING and DONE. On an error the repair is over and
 * a new one may be begun later. Errors: RIA_ERR_CORRUPT (more damage was found, and reported),
 * RIA_ERR_CONFLICT (the log was cut), RIA_ERR_NO_SPACE, RIA_ERR_LIMIT, RIA_ERR_NOMEM, RIA_ERR_IO,
 * RIA_ERR_BUSY (bad bytes behind the log's end go first). */
ria_err log_repair_step(struct log_repair *repair) RIA_MUST_USE;

/* WANTING: the range that is missing yet. */
void log_repair_wanted(
    const struct log_repair *repair, int64_t *out_from_offset, int64_t *out_to_offset
);

/* WANTING: whole batches of a peer, all below its high watermark, from the first wanted offset on;
 * the peer's history and how far it reaches. Nothing is taken unless everything fits: CRCs,
 * offsets that join and end at the hole's end at most, leader epochs between those around the hole,
 * the same epoch on both nodes where the hole ends (then both logs are equal below).
 * Errors: RIA_ERR_CORRUPT, RIA_ERR_MALFORMED (not whole batches), RIA_ERR_CONFLICT (they do not
 * fit; another peer's may): the repair goes on. Others end it, as log_repair_step(). */
struct log_repair_source {
    struct ria_slice batches;
    const struct leader_epoch_entry *epochs;
    uint32_t epoch_count;
    int64_t end_offset; /* the peer's high watermark */
    /* It leads under the epoch that this log was prepared for: of what the hole hides its word
     * counts, not this log's history, which may be of batches that were never committed. */
    bool is_leader;
};
ria_err
log_repair_put(struct log_repair *repair, const struct log_repair_source *source) RIA_MUST_USE;

/* WANTING: a peer has no batch that ends where the hole does, and everything is committed there:
 * the offset of the batch behind the hole, which is under no CRC, is wrong. Then it belongs to the
 * hole, and the repair ends with RIA_ERR_CORRUPT. RIA_ERR_NOT_FOUND: that is not so. */
ria_err log_repair_doubt_end(struct log_repair *repair, const struct log_repair_source *source)
    RIA_MUST_USE;

/* DONE: the offsets that are good again, and how many bytes came from peers (0: it could be read).
 */
void log_repair_result(
    const struct log_repair *repair,
    int64_t *out_from_offset,
    int64_t *out_to_offset,
    uint64_t *out_fetched
);
