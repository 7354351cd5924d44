#include "services/storage/time_index.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/capacity.h"

enum { CAPACITY_MIN = 16 };
_Static_assert(TIME_INDEX_MAX % 2 == 0, "thinning halves it");

void time_index_init(struct time_index *index)
{
    *index = (struct time_index){.interval = TIME_INDEX_INTERVAL_MIN};
}

void time_index_fini(struct time_index *index)
{
    free(index->entries);
    time_index_init(index);
}

ria_err time_index_reserve(struct time_index *index, uint32_t more)
{
    if (more <= index->capacity - index->count || index->capacity == TIME_INDEX_MAX) {
        return RIA_OK;
    }
    uint32_t capacity =
        ria_capacity_for(index->capacity, index->count, more, CAPACITY_MIN, TIME_INDEX_MAX);
    void *entries = realloc(index->entries, capacity * sizeof(*index->entries));
    if (entries == NULL) {
        return RIA_ERR_NOMEM;
    }
    index->entries = entries;
    index->capacity = capacity;
    return RIA_OK;
}

/* Keeps the later of each two, so that the last entry stays the last. */
static void thin(struct time_index *index)
{
    for (uint32_t i = 0; i < index->count / 2; i++) {
        index->entries[i] = index->entries[i * 2 + 1];
    }
    index->count /= 2;
    index->interval *= 2;
    if (index->interval < index->last_position / index->count) {
        index->interval = index->last_position / index->count;
    }
}

void time_index_note(
    struct time_index *index, int64_t timestamp, uint32_t relative_offset, uint32_t position
)
{
    if (position - index->last_position < index->interval ||
        (index->count > 0 && timestamp <= index->entries[index->count - 1].timestamp)) {
        return;
    }
    if (index->count == TIME_INDEX_MAX) {
        thin(index);
    }
    RIA_ASSERT(index->count < index->capacity);
    index->entries[index->count].timestamp = timestamp;
    index->entries[index->count].relative_offset = relative_offset;
    index->count++;
    index->last_position = position;
}

void time_index_truncate(struct time_index *index, uint32_t relative_offset)
{
    while (index->count > 0 && index->entries[index->count - 1].relative_offset >= relative_offset
    ) {
        index->count--;
        index->last_position = 0; /* the next entry may come early: no harm */
    }
}

uint32_t time_index_find(const struct time_index *index, int64_t timestamp)
{
    uint32_t low = 0;
    uint32_t high = index->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->entries[middle].timestamp < timestamp) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? 0 : index->entries[low - 1].relative_offset;
}

ria_err time_index_load(struct time_index *index, const struct time_index_file *file)
{
    for (uint32_t i = 1; i < file->entries_count; i++) {
        if (file->entries[i].timestamp <= file->entries[i - 1].timestamp ||
            file->entries[i].relative_offset <= file->entries[i - 1].relative_offset) {
            return RIA_ERR_CORRUPT;
        }
    }
    time_index_fini(index);
    RIA_TRY(time_index_reserve(index, file->entries_count));
    if (file->entries_count > 0) {
        memcpy(index->entries, file->entries, file->entries_count * sizeof(*index->entries));
    }
    index->count = file->entries_count;
    return RIA_OK;
}

void time_index_check(const struct time_index *index)
{
    RIA_ASSERT(index->count <= index->capacity && index->capacity <= TIME_INDEX_MAX);
    for (uint32_t i = 1; i < index->count; i++) {
        RIA_ASSERT(index->entries[i].timestamp > index->entries[i - 1].timestamp);
        RIA_ASSERT(index->entries[i].relative_offset > index->entries[i - 1].relative_offset);
    }
}
