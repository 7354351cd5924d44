#include "services/storage/segment.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

enum { PAGE_SIZE = 4096 };

/* What can be loaded again is let go with the descriptor. */
static void on_evict(struct segment_file *file)
{
    struct segment *segment = RIA_CONTAINER(file, struct segment, file);

    if (segment->index_saved) {
        offset_index_fini(&segment->offsets);
        time_index_fini(&segment->times);
        segment->offsets_loaded = false;
        segment->times_loaded = false;
    }
}

ria_err segment_new(
    struct segment_cache *cache,
    const struct ria_log *log,
    const char *dir,
    int64_t base_offset,
    struct segment **out_segment
)
{
    RIA_ASSERT(base_offset >= 0);

    struct segment *segment = calloc(1, sizeof(*segment));
    if (segment == NULL) {
        return RIA_ERR_NOMEM;
    }
    segment_file_init(&segment->file, cache, dir, base_offset);
    segment->file.on_evict = on_evict;
    segment->log = log;
    segment->base_offset = base_offset;
    segment->next_offset = base_offset;
    segment->max_timestamp = -1;
    segment->offsets_loaded = true; /* there is nothing to load */
    segment->times_loaded = true;
    offset_index_init(&segment->offsets);
    time_index_init(&segment->times);
    ria_buf_init(&segment->snapshot, SEGMENT_SNAPSHOT_SIZE_MAX);
    *out_segment = segment;
    return RIA_OK;
}

void segment_free(struct segment *segment)
{
    if (segment == NULL) {
        return;
    }
    segment_file_close(&segment->file);
    offset_index_fini(&segment->offsets);
    time_index_fini(&segment->times);
    ria_buf_fini(&segment->snapshot);
    free(segment);
}

ria_err segment_create(struct segment *segment)
{
    struct ria_file *file = NULL;
    uint64_t size = 0;

    RIA_TRY(segment_file_get(&segment->file, true, &file));
    RIA_TRY(ria_fs_size(file, &size));
    return size == 0 ? RIA_OK : RIA_ERR_CORRUPT;
}

ria_err segment_reserve(struct segment *segment, uint32_t more)
{
    if (!segment->offsets_loaded) {
        RIA_TRY(segment_load_offsets(segment));
    }
    if (!segment->times_loaded) {
        RIA_TRY(segment_load_times(segment));
    }
    RIA_TRY(offset_index_reserve(&segment->offsets, more));
    return time_index_reserve(&segment->times, more);
}

void segment_forget_index(struct segment *segment)
{
    offset_index_fini(&segment->offsets);
    time_index_fini(&segment->times);
    offset_index_init(&segment->offsets);
    time_index_init(&segment->times);
    segment->offsets_loaded = true;
    segment->times_loaded = true;
    segment->index_saved = false;
    segment->name_synced = false;
    segment->size = 0;
    segment->synced_size = 0;
    segment->next_offset = segment->base_offset;
    segment->max_timestamp = -1;
}

ria_err segment_write(struct segment *segment, struct ria_slice batches)
{
    struct ria_file *file = NULL;

    RIA_ASSERT(batches.size <= SEGMENT_SIZE_MAX - segment->size);

    ria_err err = segment_file_get(&segment->file, false, &file);
    if (err != RIA_OK) {
        /* The folder changed under us if it is not there: that is no time to go on. */
        return err == RIA_ERR_NOT_FOUND ? RIA_ERR_IO : err;
    }
    segment_file_set_dirty(&segment->file, true);
    err = ria_fs_pwrite(file, batches.data, batches.size, segment->size);
    if (err == RIA_ERR_NO_SPACE && ria_fs_truncate(file, segment->size) != RIA_OK) {
        err = RIA_ERR_IO;
    }
    return err == RIA_OK || err == RIA_ERR_NO_SPACE ? err : RIA_ERR_IO;
}

void segment_note(struct segment *segment, const struct batch_header *header)
{
    uint32_t relative_offset = (uint32_t)(header->base_offset - segment->base_offset);
    uint32_t position = (uint32_t)segment->size;

    RIA_ASSERT(header->base_offset >= segment->next_offset);
    RIA_ASSERT(segment->offsets_loaded && segment->times_loaded);

    offset_index_note(
        &segment->offsets,
        (struct offset_index_place){.relative_offset = relative_offset, .position = position}
    );
    if (header->max_timestamp > segment->max_timestamp) {
        segment->max_timestamp = header->max_timestamp;
        time_index_note(&segment->times, header->max_timestamp, relative_offset, position);
    }
    segment->size += batch_size(header);
    segment->next_offset = batch_last_offset(header) + 1;
    segment->index_saved = false;
}

/* The largest timestamp that is left: the last time index entry knows it up to its batch. If a
 * batch cannot be read, the bound of before stays: too large costs a search in vain. */
static void recompute_max_timestamp(struct segment *segment)
{
    const struct time_index *times = &segment->times;
    struct segment_place place = {.offset = segment->base_offset, .position = 0};
    struct segment_walk walk;
    struct batch_header header;
    int64_t max_timestamp = -1;
    bool more = true;
    ria_err err = RIA_OK;

    if (times->count > 0) {
        const struct time_index_file_time_index_entry *last = &times->entries[times->count - 1];
        max_timestamp = last->timestamp;
        err = segment_seek(segment, segment->base_offset + last->relative_offset, NULL, &place);
    }
    if (err == RIA_OK) {
        err = segment_walk_init(&walk, segment, place);
    }
    while (err == RIA_OK && more) {
        err = segment_walk_next(&walk, &header, &more);
        if (err == RIA_OK && more) {
            max_timestamp = ria_max_i64(max_timestamp, header.max_timestamp);
        }
    }
    if (err == RIA_OK) {
        segment->max_timestamp = max_timestamp;
    }
}

ria_err segment_truncate(struct segment *segment, struct segment_place place)
{
    struct ria_file *file = NULL;

    RIA_ASSERT(place.position <= segment->size);

    RIA_TRY(segment_reserve(segment, 0)); /* loads both: the files are about to go */
    segment->index_saved = false;
    offset_index_truncate(&segment->offsets, (uint32_t)place.position);
    time_index_truncate(&segment->times, (uint32_t)(place.offset - segment->base_offset));
    segment->size = place.position;
    segment->next_offset = place.offset;
    if (segment->synced_size > segment->size) {
        segment->synced_size = segment->size;
    }
    recompute_max_timestamp(segment);
    RIA_TRY(segment_file_get(&segment->file, false, &file));
    segment_file_set_dirty(&segment->file, true);
    return ria_fs_truncate(file, place.position);
}

ria_err segment_sync(struct segment *segment)
{
    struct ria_file *file = NULL;

    RIA_TRY(segment_file_get(&segment->file, false, &file));
    RIA_TRY(ria_fs_sync(file));
    if (!segment->name_synced) {
        RIA_TRY(ria_fs_sync_dir(segment_cache_fs(segment->file.cache), segment->file.dir));
        segment->name_synced = true;
    }
    segment->synced_size = segment->size;
    segment_file_set_dirty(&segment->file, false);
    return RIA_OK;
}

ria_err segment_pread(struct ria_file *file, void *out, size_t size, uint64_t at, size_t *out_got)
{
    size_t got = 0;

    ria_err err = ria_fs_pread(file, out, size, at, &got);
    for (size_t done = 0; err == RIA_ERR_IO && done < size; done += got) {
        size_t page = ria_min_size(size - done, PAGE_SIZE - (size_t)((at + done) % PAGE_SIZE));
        uint8_t *to = (uint8_t *)out + done;
        if (ria_fs_pread(file, to, page, at + done, &got) != RIA_OK) {
            memset(to, 0, page);
            got = page;
        } else if (got < page) {
            *out_got = done + got;
            return RIA_OK;
        }
    }
    *out_got = err == RIA_ERR_IO ? size : got;
    return err == RIA_ERR_IO ? RIA_OK : err;
}

ria_err segment_read(struct segment *segment, uint64_t position, size_t size, uint8_t *out)
{
    struct ria_file *file = NULL;
    size_t got = 0;

    RIA_ASSERT(position <= segment->size && size <= segment->size - position);

    RIA_TRY(segment_file_get(&segment->file, false, &file));
    RIA_TRY(segment_pread(file, out, size, position, &got));
    memset(out + got, 0, size - got);
    return RIA_OK;
}

void segment_check(const struct segment *segment)
{
    RIA_ASSERT(segment->base_offset >= 0 && segment->next_offset >= segment->base_offset);
    RIA_ASSERT(segment->synced_size <= segment->size && segment->size <= SEGMENT_SIZE_MAX);
    RIA_ASSERT(segment->next_offset - segment->base_offset <= SEGMENT_OFFSETS_MAX);
    RIA_ASSERT((segment->size == 0) == (segment->next_offset == segment->base_offset));
    RIA_ASSERT(segment->index_saved || (segment->offsets_loaded && segment->times_loaded));
    RIA_ASSERT(!segment->index_saved || segment->synced_size == segment->size);
    offset_index_check(&segment->offsets);
    time_index_check(&segment->times);
}
