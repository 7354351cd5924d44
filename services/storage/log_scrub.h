/* log_scrub: reading all of a log once more, to see whether it is still what was written.
 *
 * The caller reads the bytes (in the pool, from a file of its own) and hands them back; only what
 * is on disk is looked at. What looks bad is read again in the ordinary way, which decides and
 * reports the damage: a log may have been cut or repaired while the bytes were on their way.
 *
 * Thread: the storage loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

#include "services/storage/log_path.h"
#include "services/storage/partition_log.h"

/* Where the next bytes are. */
struct log_scrub {
    int64_t segment_base_offset;
    int64_t offset; /* of the batch that begins at position */
    uint64_t position;
    uint64_t end; /* of what may be read of this file */
};

/* The first place at or behind offset that can be read, and the file it is in. Where a segment
 * begins, its index files are checked, too; bad ones are written anew. *out_more = false: there is
 * nothing more. Errors: RIA_ERR_IO, RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err log_scrub_find(
    struct partition_log *log,
    int64_t offset,
    struct log_scrub *out_place,
    char out_path[LOG_PATH_MAX],
    bool *out_more
) RIA_MUST_USE;

/* The bytes at place, as many as wanted or up to the file's end. The place moves behind the whole
 * batches among them, or behind one that was looked at again. *out_moved = true: the next bytes are
 * at the place; false: log_scrub_find(place->offset) is to be asked. *out_wanted: bytes that are
 * needed for one whole batch, 0 = any number. Errors: RIA_ERR_IO, RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err log_scrub_check(
    struct partition_log *log,
    struct log_scrub *place,
    struct ria_slice bytes,
    size_t *out_wanted,
    bool *out_moved
) RIA_MUST_USE;
