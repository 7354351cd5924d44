#include "services/storage/segment_cache.h"

#include <stdlib.h>

#include "common/assert.h"

#include "services/storage/log_path.h"

enum { SCRATCH_KEEP_MAX = 1024 * 1024 };

struct segment_cache {
    struct ria_fs *fs;
    uint32_t files_max;
    uint32_t open_count;
    struct ria_list clean; /* least recently used first */
    struct ria_list dirty;
    uint8_t *scratch;
    size_t scratch_size;
    struct log_metrics metrics;
};

ria_err segment_cache_new(struct ria_fs *fs, uint32_t files_max, struct segment_cache **out_cache)
{
    RIA_ASSERT(files_max >= 1);

    struct segment_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL) {
        return RIA_ERR_NOMEM;
    }
    cache->fs = fs;
    cache->files_max = files_max;
    ria_list_init(&cache->clean);
    ria_list_init(&cache->dirty);
    *out_cache = cache;
    return RIA_OK;
}

void segment_cache_free(struct segment_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    RIA_ASSERT(cache->open_count == 0);
    free(cache->scratch);
    free(cache);
}

struct log_metrics *segment_cache_metrics(struct segment_cache *cache)
{
    return &cache->metrics;
}

struct ria_fs *segment_cache_fs(const struct segment_cache *cache)
{
    return cache->fs;
}

uint32_t segment_cache_open_count(const struct segment_cache *cache)
{
    return cache->open_count;
}

uint8_t *segment_cache_scratch(struct segment_cache *cache, size_t size)
{
    if (size > cache->scratch_size) {
        uint8_t *scratch = realloc(cache->scratch, size);
        if (scratch == NULL) {
            return NULL;
        }
        cache->scratch = scratch;
        cache->scratch_size = size;
    }
    return cache->scratch;
}

void segment_cache_trim(struct segment_cache *cache)
{
    if (cache->scratch_size > SCRATCH_KEEP_MAX) {
        free(cache->scratch);
        cache->scratch = NULL;
        cache->scratch_size = 0;
    }
}

void segment_file_init(
    struct segment_file *file, struct segment_cache *cache, const char *dir, int64_t base_offset
)
{
    *file = (struct segment_file){.cache = cache, .dir = dir, .base_offset = base_offset};
    ria_list_init(&file->node);
}

/* Most recently used of its list, unless pinned. */
static void touch(struct segment_file *file)
{
    ria_list_remove(&file->node);
    if (file->pins == 0) {
        ria_list_push_back(file->dirty ? &file->cache->dirty : &file->cache->clean, &file->node);
    }
}

/* The first of a list, if it has one. */
static bool evict_from(struct ria_list *files)
{
    struct ria_list *node = ria_list_pop_front(files);

    if (node == NULL) {
        return false;
    }
    struct segment_file *file = RIA_CONTAINER(node, struct segment_file, node);
    segment_file_close(file);
    if (file->on_evict != NULL) {
        file->on_evict(file);
    }
    return true;
}

/* False: nothing can be closed. */
static bool evict_one(struct segment_cache *cache)
{
    return evict_from(&cache->clean) || evict_from(&cache->dirty);
}

/* Come back to the bound after pins have passed it. Dirty files wait until they are synced. */
static void shrink(struct segment_cache *cache)
{
    while (cache->open_count > cache->files_max && evict_from(&cache->clean)) {
    }
}

ria_err segment_file_get(struct segment_file *file, bool create, struct ria_file **out_file)
{
    struct segment_cache *cache = file->cache;
    char path[LOG_PATH_MAX];

    if (file->file == NULL) {
        while (cache->open_count >= cache->files_max && evict_one(cache)) {
        }
        log_path_of(path, file->dir, file->base_offset, LOG_PATH_LOG);
        unsigned flags = RIA_FS_WRITE | (create ? (unsigned)RIA_FS_CREATE : 0);
        ria_err err = RIA_OK;
        do {
            err = ria_fs_open(cache->fs, path, flags, &file->file);
        } while (err == RIA_ERR_LIMIT && evict_one(cache));
        if (err != RIA_OK) {
            file->file = NULL;
            return err;
        }
        cache->open_count++;
        cache->metrics.file_opens.value++;
    }
    touch(file);
    *out_file = file->file;
    return RIA_OK;
}

void segment_file_pin(struct segment_file *file)
{
    RIA_ASSERT(file->file != NULL);
    file->pins++;
    ria_list_remove(&file->node);
}

void segment_file_unpin(struct segment_file *file)
{
    RIA_ASSERT(file->pins > 0 && file->file != NULL);
    file->pins--;
    touch(file);
    shrink(file->cache);
}

void segment_file_set_dirty(struct segment_file *file, bool dirty)
{
    if (file->dirty != dirty) {
        file->dirty = dirty;
        if (file->file != NULL) {
            touch(file);
        }
        if (!dirty) {
            shrink(file->cache);
        }
    }
}

void segment_file_close(struct segment_file *file)
{
    if (file->file == NULL) {
        return;
    }
    ria_list_remove(&file->node);
    ria_fs_close(RIA_STEAL(&file->file));
    RIA_ASSERT(file->cache->open_count > 0);
    file->cache->open_count--;
}
