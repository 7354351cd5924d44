/* recovery_scan: reads the part of a segment that no index vouches for, and checks every CRC.
 *
 * docs/formats/partition.md, "What may be cut". Good batches are added to the segment; it ends
 * where they do. Below the mark, a bad batch is passed over if a good one is found behind it, which
 * leaves a gap in the offsets that is recorded as damage; at or above the mark the scan ends there.
 *
 * Thread: the storage loop's; blocks.
 */
#pragma once

#include "services/storage/log_state.h"

struct recovery_scan {
    struct partition_log *log;
    struct segment *segment; /* indexes in memory; scanning begins at its size */
    uint64_t file_size;
    int64_t mark;
    int64_t rewrite_from; /* at most the mark */
    int32_t epoch;        /* of the batch before; no batch may have an older one */
    /* The same of the batch before that one: what is left if the last batch of a file, which has no
     * successor to tell, has a flipped epoch. */
    int32_t sure_epoch;
};

/* Batches at or above rewrite_from are written again in place, so that the sync that follows is a
 * real one. Errors: RIA_ERR_IO, RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err recovery_scan_run(struct recovery_scan *scan) RIA_MUST_USE;
