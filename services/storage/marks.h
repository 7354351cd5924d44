/* marks: how far each log of a data folder is on disk, newer than the checkpoint, and never synced.
 *
 * Format: docs/formats/marks.md. With it damage is told from an unsynced tail up to the last sync
 * before a process died; without it up to the last checkpoint.
 *
 * Thread: the storage loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/uuid.h"

#include "services/storage/checkpoint.h"

enum { MARKS_SLOT_SIZE = 64, MARKS_SLOTS_MAX = 1000000, MARKS_NO_SLOT = -1 };

struct marks {
    struct ria_file *file; /* NULL: there are none in this folder */
    int32_t slot_count;
};

/* Brings a checkpoint that was just loaded up to date. True: it has to be written before
 * marks_begin(). A mark of which both copies are bad makes all entries unknown that have no good
 * one. A file that is missing or cannot be read changes nothing. Blocks. */
bool marks_raise(const struct ria_env *env, const char *data_dir, struct checkpoint *checkpoint);

/* An empty file, or none. */
void marks_begin(struct marks *marks, const struct ria_env *env, const char *data_dir);

/* Of zeroed marks, too. */
void marks_end(struct marks *marks);

/* For a log that was opened; MARKS_NO_SLOT: it has none. */
int32_t marks_take_slot(struct marks *marks);

/* A sync has ended. */
void marks_put(
    struct marks *marks,
    int32_t slot,
    const struct ria_uuid *topic_id,
    int32_t partition,
    const struct partition_log_checkpoint *entry
);

/* The log is going to be removed. */
void marks_clear(struct marks *marks, int32_t slot);
