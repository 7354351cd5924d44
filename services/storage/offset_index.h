/* offset_index: where batches begin in one segment, sparsely.
 *
 * Format: docs/formats/index.md. Entries ascend strictly in offset and position. The batch at
 * position 0 has no entry. Full (8,192 entries): every second one goes and the interval doubles, so
 * the size is bounded whatever the segment's.
 *
 * Thread: the owner's. Pure: no files here.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

#include "schemas/gen/offset_index_file.h"

enum { OFFSET_INDEX_MAX = 8192, OFFSET_INDEX_INTERVAL_MIN = 4096 };

/* A batch begins there. */
struct offset_index_place {
    uint32_t relative_offset;
    uint32_t position;
};

struct offset_index {
    struct offset_index_file_offset_index_entry *entries;
    uint32_t count;
    uint32_t capacity;
    uint32_t interval; /* bytes between entries */
    bool frozen;       /* takes no more entries than fit: one of them must not be dropped */
};

void offset_index_init(struct offset_index *index);

/* Frees the memory; the index is empty and usable. */
void offset_index_fini(struct offset_index *index);

/* Room for `more` calls of offset_index_note(). Errors: RIA_ERR_NOMEM. */
ria_err offset_index_reserve(struct offset_index *index, uint32_t more) RIA_MUST_USE;

/* A batch begins at this place, behind all noted before. Room must have been reserved. */
void offset_index_note(struct offset_index *index, struct offset_index_place place);

/* The same, but it must have an entry (directly behind damage). */
void offset_index_force(struct offset_index *index, struct offset_index_place place);

/* Drop entries at or behind a position. */
void offset_index_truncate(struct offset_index *index, uint32_t position);

/* The last entry that is beyond neither bound; {0, 0} if there is none. */
struct offset_index_place
offset_index_find(const struct offset_index *index, uint32_t relative_offset, uint32_t position);

/* The first entry's relative offset that is above; UINT32_MAX if there is none. */
uint32_t offset_index_next(const struct offset_index *index, uint32_t relative_offset);

/* Replace by a decoded file's entries. Errors: RIA_ERR_CORRUPT (they do not ascend, or reach beyond
 * the covered size), RIA_ERR_NOMEM. */
ria_err
offset_index_load(struct offset_index *index, const struct offset_index_file *file) RIA_MUST_USE;

void offset_index_check(const struct offset_index *index);
