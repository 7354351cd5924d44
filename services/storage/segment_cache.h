/* segment_cache: a bounded set of open segment files, shared by all logs of a process.
 *
 * 10,000 partitions must not need 10,000 descriptors: a file is opened when it is needed, and when
 * too many are open, the one used longest ago is closed. Never closed: files with a sync under way
 * (pinned). Closed last: files with unsynced writes, because the kernel tells a write-back error
 * most surely to a descriptor that was open when it happened. So the bound may be passed by as many
 * files as have a sync under way; those that are too many are closed as soon as they are synced.
 *
 * It also lends the scratch memory that scans and walks of one loop turn share.
 *
 * Thread: the storage loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/fs.h"
#include "common/list.h"

#include "services/storage/log_metrics.h"

enum { SEGMENT_CACHE_FILES_DEFAULT = 512 };

struct segment_cache;

/* Embedded in a segment. */
struct segment_file {
    struct ria_list node; /* linked while open and not pinned, by age of use */
    struct segment_cache *cache;
    struct ria_file *file; /* NULL: not open */
    const char *dir;       /* borrowed */
    int64_t base_offset;
    uint32_t pins;
    bool dirty; /* has unsynced writes */
    /* The file was closed to make room: let go what can be loaded again. May be NULL. */
    void (*on_evict)(struct segment_file *file);
};

/* Borrows fs. files_max >= 1. Errors: RIA_ERR_NOMEM. */
ria_err segment_cache_new(struct ria_fs *fs, uint32_t files_max, struct segment_cache **out_cache)
    RIA_MUST_USE;

/* Every segment_file must be closed. Accepts NULL. */
void segment_cache_free(struct segment_cache *cache);

struct log_metrics *segment_cache_metrics(struct segment_cache *cache);
struct ria_fs *segment_cache_fs(const struct segment_cache *cache);

/* Files open now, for metrics and tests. */
uint32_t segment_cache_open_count(const struct segment_cache *cache);

/* At least `size` bytes, valid until the next call. NULL: no memory. Past 1 MiB it is given back by
 * segment_cache_trim(). */
uint8_t *segment_cache_scratch(struct segment_cache *cache, size_t size);
void segment_cache_trim(struct segment_cache *cache);

/* Opens nothing. Borrows cache and dir for the file's life. */
void segment_file_init(
    struct segment_file *file, struct segment_cache *cache, const char *dir, int64_t base_offset
);

/* The open file, to be used before anything else is asked of the cache. create: an empty file is
 * made if there is none. Errors: RIA_ERR_NOT_FOUND, RIA_ERR_LIMIT, RIA_ERR_NO_SPACE, RIA_ERR_IO,
 * RIA_ERR_NOMEM. */
ria_err
segment_file_get(struct segment_file *file, bool create, struct ria_file **out_file) RIA_MUST_USE;

/* The file is open (segment_file_get) and stays so until unpinned. Unpinning may close clean files
 * (this one, too) if more are open than there should be. */
void segment_file_pin(struct segment_file *file);
void segment_file_unpin(struct segment_file *file);

/* What is no longer dirty may be closed like at segment_file_unpin(). */
void segment_file_set_dirty(struct segment_file *file, bool dirty);

/* Close it if it is open, pinned or not. */
void segment_file_close(struct segment_file *file);
