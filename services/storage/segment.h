/* segment: one log file of record batches, with its indexes.
 *
 * Formats: docs/formats/segment.md, docs/formats/index.md. size and next_offset describe the whole
 * batches that belong to the log; the file may hold more behind them after a failed write. Indexes
 * of a segment whose index files say the same are loaded when asked for, and let go when the cache
 * closes the file; until they are saved they stay in memory.
 *
 * segment.c: life, append, truncation. segment_index.c: index files. segment_walk.c: finding
 * batches.
 *
 * Thread: the storage loop's.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/env.h"
#include "common/err.h"
#include "common/slice.h"

#include "schemas/batch.h"

#include "services/storage/offset_index.h"
#include "services/storage/segment_cache.h"
#include "services/storage/time_index.h"

enum {
    SEGMENT_SIZE_MAX = INT32_MAX,                 /* bytes: positions are 32 bits wide */
    SEGMENT_OFFSETS_MAX = INT32_MAX,              /* offsets: so are relative offsets */
    SEGMENT_SNAPSHOT_SIZE_MAX = 64 * 1024 * 1024, /* bytes of a producer snapshot */
};

struct segment {
    struct segment_file file;
    const struct ria_log *log; /* may be NULL */
    int64_t base_offset;
    int64_t next_offset; /* behind the last batch */
    uint64_t size;
    uint64_t synced_size; /* bytes on disk for certain */
    int64_t max_timestamp;
    bool name_synced;
    bool index_saved; /* the index files say what is said here */
    bool offsets_loaded;
    bool times_loaded;
    struct offset_index offsets;
    struct time_index times;
    struct ria_buf snapshot; /* producers at next_offset, until the index files are written */
    /* An index that was rebuilt for a read could not be written: the disk is at fault. NULL: nobody
     * wants to know. */
    void (*on_write_failed)(void *owner);
    void *owner;
};

/* A batch begins there. */
struct segment_place {
    int64_t offset;
    uint64_t position;
};

/* An empty segment in memory; no file is touched. Borrows cache and dir for its life.
 * Errors: RIA_ERR_NOMEM. */
ria_err segment_new(
    struct segment_cache *cache,
    const struct ria_log *log,
    const char *dir,
    int64_t base_offset,
    struct segment **out_segment
) RIA_MUST_USE;

/* Closes the file. Accepts NULL. */
void segment_free(struct segment *segment);

/* Make the file. One of that name must be empty. Its name is durable after the first sync.
 * Errors: RIA_ERR_CORRUPT (it is not empty), RIA_ERR_NO_SPACE, RIA_ERR_LIMIT, RIA_ERR_IO. */
ria_err segment_create(struct segment *segment) RIA_MUST_USE;

/* Room for `more` calls of segment_note(). Errors: RIA_ERR_NOMEM, and those of loading the indexes.
 */
ria_err segment_reserve(struct segment *segment, uint32_t more) RIA_MUST_USE;

/* As if there were no index files, and the log file were empty. */
void segment_forget_index(struct segment *segment);

/* Write whole batches behind the last one; segment_note() makes them part of the segment.
 * Errors: RIA_ERR_NO_SPACE, RIA_ERR_LIMIT, RIA_ERR_NOMEM: the file is as it was.
 * RIA_ERR_IO: unknown bytes may be behind the last batch. */
ria_err segment_write(struct segment *segment, struct ria_slice batches) RIA_MUST_USE;

/* The batch with this header is at position `size`. Room must have been reserved. */
void segment_note(struct segment *segment, const struct batch_header *header);

/* Cut the file at a place. Nothing is synced. Errors: RIA_ERR_IO, RIA_ERR_LIMIT, RIA_ERR_NOMEM. */
ria_err segment_truncate(struct segment *segment, struct segment_place place) RIA_MUST_USE;

/* Sync file and, if it is new, name. Blocks. Errors: RIA_ERR_IO, RIA_ERR_LIMIT, RIA_ERR_NOMEM. */
ria_err segment_sync(struct segment *segment) RIA_MUST_USE;

/* pread that goes round what the disk cannot read: such pages read as zeros, which is no batch, so
 * that a bad sector is damage like any other. Errors: as ria_fs_pread(), but RIA_ERR_IO. */
ria_err segment_pread(struct ria_file *file, void *out, size_t size, uint64_t at, size_t *out_got)
    RIA_MUST_USE;

/* As segment_pread(); what the file has lost of its end reads as zeros, too.
 * Errors: RIA_ERR_IO (it cannot be opened), RIA_ERR_LIMIT, RIA_ERR_NOMEM. */
ria_err
segment_read(struct segment *segment, uint64_t position, size_t size, uint8_t *out) RIA_MUST_USE;

void segment_check(const struct segment *segment);

/* ---- segment_index.c ---- */

/* What an index file says, without keeping its entries.
 * Errors: RIA_ERR_NOT_FOUND, RIA_ERR_CORRUPT (bad, or of another segment), RIA_ERR_IO,
 * RIA_ERR_NOMEM, RIA_ERR_LIMIT (descriptors). */
struct segment_index_info {
    int64_t next_offset;
    uint64_t covered_size;
    int64_t max_timestamp;
};
ria_err
segment_index_info(const struct segment *segment, struct segment_index_info *out_info) RIA_MUST_USE;

/* Have the index in memory: from its file, else by reading all batch headers (logged).
 * Errors: RIA_ERR_CORRUPT (a header), RIA_ERR_IO, RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err segment_load_offsets(struct segment *segment) RIA_MUST_USE;
ria_err segment_load_times(struct segment *segment) RIA_MUST_USE;

/* Write both index files, unsynced. The log file must be synced up to `size`.
 * Errors: RIA_ERR_NO_SPACE, RIA_ERR_LIMIT, RIA_ERR_IO, RIA_ERR_NOMEM. */
ria_err segment_save_indexes(struct segment *segment) RIA_MUST_USE;

/* Are the index files as they should be? A bad one is written anew: *out_bad. For a segment whose
 * indexes are saved. Errors: RIA_ERR_CORRUPT (a header), RIA_ERR_IO, RIA_ERR_NOMEM, RIA_ERR_LIMIT.
 */
ria_err segment_verify_indexes(struct segment *segment, bool *out_bad) RIA_MUST_USE;

/* ---- segment_walk.c ---- */

/* Whether a batch header can be the one at `offset`: offsets join, counts are sane. */
bool segment_header_joins(const struct batch_header *header, int64_t offset);

/* Reads batch headers one after the other, not what is between them. Uses the cache's scratch
 * memory: nothing else may, during a walk. */
struct segment_walk {
    struct segment *segment;
    struct ria_file *file;
    struct segment_place place; /* of the batch that comes next */
    uint8_t *chunk;
    uint64_t chunk_position;
    size_t chunk_size;
    size_t read_size;
};

/* Errors: RIA_ERR_LIMIT, RIA_ERR_IO, RIA_ERR_NOMEM. */
ria_err segment_walk_init(
    struct segment_walk *walk, struct segment *segment, struct segment_place place
) RIA_MUST_USE;

/* *out_more = false at the end of the segment. Errors: RIA_ERR_CORRUPT (walk->place is bad),
 * RIA_ERR_IO. */
ria_err segment_walk_next(
    struct segment_walk *walk, struct batch_header *out_header, bool *out_more
) RIA_MUST_USE;

/* The batch that holds offset, which is in [base_offset, next_offset). hint: a place at or before
 * it, may be NULL. On RIA_ERR_CORRUPT *out_place is the bad one.
 * Errors: RIA_ERR_CORRUPT, RIA_ERR_IO, RIA_ERR_LIMIT, RIA_ERR_NOMEM. */
ria_err segment_seek(
    struct segment *segment,
    int64_t offset,
    const struct segment_place *hint,
    struct segment_place *out_place
) RIA_MUST_USE;

/* From a place on: whole batches below end_offset that fit size_max, at least one if one lies below
 * end_offset. *out_end is behind the last. On RIA_ERR_CORRUPT it is the bad place.
 * Errors: as segment_seek(). */
ria_err segment_extent(
    struct segment *segment,
    struct segment_place from,
    int64_t end_offset,
    uint32_t size_max,
    struct segment_place *out_end
) RIA_MUST_USE;
