#include "services/storage/offset_index.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/capacity.h"

enum { CAPACITY_MIN = 16 };
_Static_assert(OFFSET_INDEX_MAX % 2 == 0, "thinning halves it");

void offset_index_init(struct offset_index *index)
{
    *index = (struct offset_index){.interval = OFFSET_INDEX_INTERVAL_MIN};
}

void offset_index_fini(struct offset_index *index)
{
    free(index->entries);
    offset_index_init(index);
}

ria_err offset_index_reserve(struct offset_index *index, uint32_t more)
{
    if (more <= index->capacity - index->count || index->capacity == OFFSET_INDEX_MAX) {
        return RIA_OK;
    }
    uint32_t capacity =
        ria_capacity_for(index->capacity, index->count, more, CAPACITY_MIN, OFFSET_INDEX_MAX);
    void *entries = realloc(index->entries, capacity * sizeof(*index->entries));
    if (entries == NULL) {
        return RIA_ERR_NOMEM;
    }
    index->entries = entries;
    index->capacity = capacity;
    return RIA_OK;
}

/* The interval becomes what the entries left have on average, so that all of the segment is covered
 * alike whatever the size of its batches. */
static void thin(struct offset_index *index)
{
    uint32_t last = index->entries[index->count - 1].position;

    for (uint32_t i = 0; i < index->count / 2; i++) {
        index->entries[i] = index->entries[i * 2 + 1];
    }
    index->count /= 2;
    index->interval *= 2;
    if (index->interval < last / index->count) {
        index->interval = last / index->count;
    }
}

static void push(struct offset_index *index, struct offset_index_place place)
{
    if (index->count == OFFSET_INDEX_MAX) {
        if (index->frozen) {
            return;
        }
        thin(index);
    }
    RIA_ASSERT(index->count < index->capacity);
    index->entries[index->count].relative_offset = place.relative_offset;
    index->entries[index->count].position = place.position;
    index->count++;
}

void offset_index_note(struct offset_index *index, struct offset_index_place place)
{
    uint32_t last = index->count == 0 ? 0 : index->entries[index->count - 1].position;

    RIA_ASSERT(place.position >= last);
    if (place.position - last >= index->interval) {
        push(index, place);
    }
}

void offset_index_force(struct offset_index *index, struct offset_index_place place)
{
    if (index->count == OFFSET_INDEX_MAX) {
        thin(index); /* may drop an earlier forced one: the range is then larger than it need be */
    }
    push(index, place);
    index->frozen = true;
}

void offset_index_truncate(struct offset_index *index, uint32_t position)
{
    while (index->count > 0 && index->entries[index->count - 1].position >= position) {
        index->count--;
    }
}

struct offset_index_place
offset_index_find(const struct offset_index *index, uint32_t relative_offset, uint32_t position)
{
    uint32_t low = 0;
    uint32_t high = index->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->entries[middle].relative_offset <= relative_offset &&
            index->entries[middle].position <= position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return (struct offset_index_place){0, 0};
    }
    return (struct offset_index_place){
        .relative_offset = index->entries[low - 1].relative_offset,
        .position = index->entries[low - 1].position,
    };
}

uint32_t offset_index_next(const struct offset_index *index, uint32_t relative_offset)
{
    for (uint32_t i = 0; i < index->count; i++) {
        if (index->entries[i].relative_offset > relative_offset) {
            return index->entries[i].relative_offset;
        }
    }
    return UINT32_MAX;
}

ria_err offset_index_load(struct offset_index *index, const struct offset_index_file *file)
{
    for (uint32_t i = 0; i < file->entries_count; i++) {
        const struct offset_index_file_offset_index_entry *e = &file->entries[i];
        if (e->position >= file->covered_size ||
            e->relative_offset >= file->next_offset - file->base_offset || e->position == 0 ||
            (i > 0 && (e->position <= file->entries[i - 1].position ||
                       e->relative_offset <= file->entries[i - 1].relative_offset))) {
            return RIA_ERR_CORRUPT;
        }
    }
    offset_index_fini(index);
    RIA_TRY(offset_index_reserve(index, file->entries_count));
    if (file->entries_count > 0) {
        memcpy(index->entries, file->entries, file->entries_count * sizeof(*index->entries));
    }
    index->count = file->entries_count;
    return RIA_OK;
}

void offset_index_check(const struct offset_index *index)
{
    RIA_ASSERT(index->count <= index->capacity && index->capacity <= OFFSET_INDEX_MAX);
    for (uint32_t i = 1; i < index->count; i++) {
        RIA_ASSERT(index->entries[i].position > index->entries[i - 1].position);
        RIA_ASSERT(index->entries[i].relative_offset > index->entries[i - 1].relative_offset);
    }
}
