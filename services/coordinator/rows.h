/* rows: an array in an arena that grows as rows come, for responses whose size is not known before
 * they are read. What it outgrows stays in the arena until that is reset. */
#pragma once

#include <string.h>

#include "common/arena.h"
#include "common/base.h"
#include "common/slice.h"

struct rows {
    struct ria_arena *arena;
    size_t item_size;
    void *items; /* NULL while count is 0 */
    uint32_t count;
    uint32_t capacity;
};

static inline struct rows rows_of(struct ria_arena *arena, size_t item_size)
{
    return (struct rows){.arena = arena, .item_size = item_size};
}

/* A zeroed item at the end. NULL: ria_arena_err() tells why. */
static inline void *rows_add(struct rows *rows)
{
    if (rows->count == rows->capacity) {
        uint32_t capacity = rows->capacity == 0 ? 16 : rows->capacity * 2;
        void *items = ria_arena_alloc_array(rows->arena, capacity, rows->item_size);
        if (items == NULL) {
            return NULL;
        }
        if (rows->count > 0) {
            memcpy(items, rows->items, rows->count * rows->item_size);
        }
        rows->items = items;
        rows->capacity = capacity;
    }
    return (uint8_t *)rows->items + rows->item_size * rows->count++;
}

/* A copy of text that outlives the row. False: no memory. */
static inline bool
rows_copy_text(struct ria_arena *arena, struct ria_slice text, struct ria_slice *out)
{
    char *copy = ria_arena_strdup(arena, text);

    *out = ria_slice_of(copy, text.size);
    return copy != NULL;
}
