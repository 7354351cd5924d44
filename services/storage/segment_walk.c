/* Batch by batch through a segment (segment.h): seeking, checking, finding. */
#include "common/assert.h"

#include "services/storage/segment.h"

/* Small batches: many headers per read. Large ones: one page for each. */
enum { WALK_READ_SIZE_MIN = 4096, WALK_READ_SIZE_MAX = 64 * 1024 };

bool segment_header_joins(const struct batch_header *header, int64_t offset)
{
    return header->base_offset == offset && header->last_offset_delta >= 0 &&
           header->last_offset_delta < INT32_MAX && header->record_count >= 0 &&
           header->leader_epoch >= 0 &&
           header->base_offset <= INT64_MAX - 1 - header->last_offset_delta;
}

ria_err
segment_walk_init(struct segment_walk *walk, struct segment *segment, struct segment_place place)
{
    *walk = (struct segment_walk){.segment = segment, .place = place};
    walk->read_size = WALK_READ_SIZE_MIN;
    walk->chunk = segment_cache_scratch(segment->file.cache, WALK_READ_SIZE_MAX);
    if (walk->chunk == NULL) {
        return RIA_ERR_NOMEM;
    }
    return segment_file_get(&segment->file, false, &walk->file);
}

/* Have the header at walk->place in the chunk. */
static ria_err fill(struct segment_walk *walk)
{
    uint64_t position = walk->place.position;

    if (position >= walk->chunk_position &&
        position + BATCH_HEADER_SIZE <= walk->chunk_position + walk->chunk_size) {
        return RIA_OK;
    }
    bool goes_on = position < walk->chunk_position + walk->chunk_size;
    if (goes_on && walk->read_size < WALK_READ_SIZE_MAX) {
        walk->read_size *= 2;
    } else if (!goes_on) {
        walk->read_size = WALK_READ_SIZE_MIN;
    }
    walk->chunk_position = position;
    walk->chunk_size = 0;
    return segment_pread(walk->file, walk->chunk, walk->read_size, position, &walk->chunk_size);
}

ria_err
segment_walk_next(struct segment_walk *walk, struct batch_header *out_header, bool *out_more)
{
    struct batch_header header;
    uint64_t left = walk->segment->size - walk->place.position;

    if (left == 0) {
        *out_more = false;
        return RIA_OK;
    }
    if (left < BATCH_HEADER_SIZE) {
        return RIA_ERR_CORRUPT;
    }
    RIA_TRY(fill(walk));
    struct ria_slice chunk = ria_slice_of(walk->chunk, walk->chunk_size);
    struct ria_slice bytes = ria_slice_sub(
        chunk, (size_t)(walk->place.position - walk->chunk_position), BATCH_HEADER_SIZE
    );
    if (batch_header_decode(bytes, &header) != RIA_OK || batch_size(&header) > left ||
        !segment_header_joins(&header, walk->place.offset) ||
        batch_last_offset(&header) >= walk->segment->next_offset) {
        return RIA_ERR_CORRUPT;
    }
    walk->place.offset = batch_last_offset(&header) + 1;
    walk->place.position += batch_size(&header);
    *out_header = header;
    *out_more = true;
    return RIA_OK;
}

static struct segment_place
index_place(const struct segment *segment, int64_t offset, uint64_t position)
{
    int64_t relative = ria_min_i64(offset - segment->base_offset, UINT32_MAX);
    uint32_t bound = position > UINT32_MAX ? UINT32_MAX : (uint32_t)position;
    struct offset_index_place found =
        offset_index_find(&segment->offsets, (uint32_t)relative, bound);

    return (struct segment_place){
        .offset = segment->base_offset + found.relative_offset,
        .position = found.position,
    };
}

ria_err segment_seek(
    struct segment *segment,
    int64_t offset,
    const struct segment_place *hint,
    struct segment_place *out_place
)
{
    struct segment_walk walk;
    struct batch_header header;
    bool more = true;

    RIA_ASSERT(offset >= segment->base_offset && offset < segment->next_offset);

    if (hint != NULL && hint->offset == offset) {
        *out_place = *hint;
        return RIA_OK;
    }
    if (!segment->offsets_loaded) {
        ria_err err = segment_load_offsets(segment);
        if (err != RIA_OK) { /* CORRUPT: neither index nor headers say where anything is */
            *out_place = (struct segment_place){.offset = segment->base_offset, .position = 0};
            return err;
        }
    }
    struct segment_place place = index_place(segment, offset, segment->size);
    if (hint != NULL && hint->offset <= offset && hint->offset > place.offset) {
        place = *hint;
    }
    RIA_TRY(segment_walk_init(&walk, segment, place));
    while (walk.place.offset <= offset) {
        place = walk.place;
        ria_err err = segment_walk_next(&walk, &header, &more);
        if (err != RIA_OK || !more) {
            *out_place = place;
            return err == RIA_OK ? RIA_ERR_CORRUPT : err;
        }
    }
    *out_place = place;
    return RIA_OK;
}

ria_err segment_extent(
    struct segment *segment,
    struct segment_place from,
    int64_t end_offset,
    uint32_t size_max,
    struct segment_place *out_end
)
{
    struct segment_walk walk;
    struct batch_header header;
    bool more = true;
    uint64_t end_position = from.position + size_max;

    if (end_offset >= segment->next_offset && end_position >= segment->size) {
        *out_end = (struct segment_place){segment->next_offset, segment->size};
        return RIA_OK;
    }
    if (!segment->offsets_loaded) {
        RIA_TRY(segment_load_offsets(segment));
    }
    struct segment_place place = index_place(segment, end_offset, end_position);
    if (place.position <= from.position) {
        place = from;
    }
    RIA_TRY(segment_walk_init(&walk, segment, place));
    for (;;) {
        ria_err err = segment_walk_next(&walk, &header, &more);
        if (err != RIA_OK) {
            *out_end = place;
            return err;
        }
        bool fits = walk.place.position <= end_position || place.position == from.position;
        if (!more || !fits || walk.place.offset > end_offset) {
            *out_end = place;
            return RIA_OK;
        }
        place = walk.place;
    }
}
