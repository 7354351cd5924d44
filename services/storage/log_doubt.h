/* log_doubt: two logs name different leader epochs for the same offsets. Are they different logs?
 *
 * A leader epoch is under no CRC. So a log whose history contradicts a peer's may have other
 * records there, or the same ones and a flipped bit in a header. The records decide: a batch of the
 * same offset with the same bytes, all but the epoch, is the same batch.
 *
 *   log_doubt_find()     a range below the peer's high watermark where the histories differ
 *   log_doubt_compare()  the peer's batches of it, one answer after the other
 *   log_doubt_settle()   all are the same: the peer's epochs are right; the range is damage
 *
 * Nothing readable is ever given up for something else: if one batch differs, the log stays as it
 * is, and an operator has to choose.
 *
 * Thread: the storage loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

#include "services/storage/leader_epochs.h"
#include "services/storage/partition_log.h"

struct log_doubt {
    int64_t from_offset;
    int64_t to_offset;
    int64_t next_offset; /* the batches before were compared */
    uint32_t generation; /* of the log: another one has been cut */
    struct leader_epochs found;
};

/* The first range below end_offset (the peer's high watermark) for which both logs know an epoch
 * and not the same one. False: there is none. log_doubt_fini() is due in both cases. */
bool log_doubt_find(
    const struct partition_log *log,
    const struct leader_epoch_entry *epochs,
    uint32_t count,
    int64_t end_offset,
    struct log_doubt *out_doubt
);
void log_doubt_fini(struct log_doubt *doubt);

/* Whole batches of the peer from next_offset on. What cannot be read here is passed over.
 * Errors: RIA_ERR_CONFLICT (this log has another batch there, or was cut), RIA_ERR_MALFORMED,
 * RIA_ERR_CORRUPT (the peer's), those of reading. */
ria_err log_doubt_compare(
    struct partition_log *log, struct log_doubt *doubt, struct ria_slice batches
) RIA_MUST_USE;

/* next_offset has reached to_offset. Durable: the peer's epochs are this log's, and the range is
 * damage, so that a repair brings the batches whose epoch is wrong.
 * Errors: RIA_ERR_CONFLICT (it was cut), RIA_ERR_NOMEM, RIA_ERR_LIMIT, as ria_fs_replace(). */
ria_err log_doubt_settle(struct partition_log *log, struct log_doubt *doubt) RIA_MUST_USE;
