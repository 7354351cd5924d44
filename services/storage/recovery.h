/* recovery: makes a partition_log out of a folder. docs/formats/partition.md, "What may be cut".
 *
 * Thread: the storage loop's; blocks.
 */
#pragma once

#include "services/storage/log_state.h"

/* log has its identity and nothing else. Afterwards it has its segments, epochs, producers, and at
 * least one segment. On errors the caller frees it; nothing that counted was changed.
 * Errors: as partition_log_open(). */
ria_err recovery_run(struct partition_log *log, const struct partition_log_checkpoint *checkpoint)
    RIA_MUST_USE;
