/* time_index: growing timestamps of one segment, sparsely, for lookups by time.
 *
 * Format: docs/formats/index.md. Entry (t, o): the batch at o has max timestamp t, every batch
 * before it a smaller one. Ascending strictly in both. Bounded like offset_index.
 *
 * Thread: the owner's. Pure: no files here.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

#include "schemas/gen/time_index_file.h"

enum { TIME_INDEX_MAX = 8192, TIME_INDEX_INTERVAL_MIN = 4096 };

struct time_index {
    struct time_index_file_time_index_entry *entries;
    uint32_t count;
    uint32_t capacity;
    uint32_t interval;      /* bytes of log between entries */
    uint32_t last_position; /* of the last entry's batch */
};

void time_index_init(struct time_index *index);

/* Frees the memory; the index is empty and usable. */
void time_index_fini(struct time_index *index);

/* Room for `more` calls of time_index_note(). Errors: RIA_ERR_NOMEM. */
ria_err time_index_reserve(struct time_index *index, uint32_t more) RIA_MUST_USE;

/* The batch at this place has a larger max timestamp than all before it. */
void time_index_note(
    struct time_index *index, int64_t timestamp, uint32_t relative_offset, uint32_t position
);

/* Drop entries at or behind a relative offset. */
void time_index_truncate(struct time_index *index, uint32_t relative_offset);

/* Relative offset of a batch before which all timestamps are below the given one; 0 = the start. */
uint32_t time_index_find(const struct time_index *index, int64_t timestamp);

/* Replace by a decoded file's entries. Errors: RIA_ERR_CORRUPT (they do not ascend), RIA_ERR_NOMEM.
 */
ria_err time_index_load(struct time_index *index, const struct time_index_file *file) RIA_MUST_USE;

void time_index_check(const struct time_index *index);
