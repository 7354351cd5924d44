#include "common/arena.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

enum { ARENA_ALIGN = 16, ARENA_CHUNK_SIZE_MIN = 4096, ARENA_CHUNK_SIZE_MAX = 256 * 1024 };
_Static_assert(_Alignof(max_align_t) <= ARENA_ALIGN, "any object may live in an arena");

struct ria_arena_chunk {
    struct ria_arena_chunk *next;
    size_t size; /* of memory */
    size_t used;
    _Alignas(ARENA_ALIGN) uint8_t memory[];
};

void ria_arena_init(struct ria_arena *arena, size_t limit)
{
    RIA_ASSERT(arena != NULL);
    RIA_ASSERT(limit > 0);

    *arena = (struct ria_arena){.limit = limit, .err = RIA_OK};
}

static void chunks_free(struct ria_arena_chunk *chunk)
{
    while (chunk != NULL) {
        struct ria_arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void ria_arena_fini(struct ria_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    chunks_free(arena->first);
    *arena = (struct ria_arena){.err = RIA_OK};
}

void ria_arena_reset(struct ria_arena *arena)
{
    RIA_ASSERT(arena != NULL);

    if (arena->first != NULL) {
        chunks_free(arena->first->next);
        arena->first->next = NULL;
        arena->first->used = 0;
    }
    arena->current = arena->first;
    arena->used = 0;
    arena->err = RIA_OK;
}

/* Each chunk is twice the one before it, so a message costs few mallocs whatever its size. */
static struct ria_arena_chunk *chunk_append(struct ria_arena *arena, size_t size_min)
{
    size_t size = ARENA_CHUNK_SIZE_MIN;

    if (arena->current != NULL && arena->current->size < ARENA_CHUNK_SIZE_MAX) {
        size = arena->current->size * 2;
    } else if (arena->current != NULL) {
        size = ARENA_CHUNK_SIZE_MAX;
    }
    if (size < size_min) {
        size = size_min;
    }
    struct ria_arena_chunk *chunk = malloc(sizeof(*chunk) + size);
    if (chunk == NULL) {
        return NULL;
    }
    chunk->next = NULL;
    chunk->size = size;
    chunk->used = 0;
    if (arena->current == NULL) {
        arena->first = chunk;
    } else {
        arena->current->next = chunk;
    }
    arena->current = chunk;
    return chunk;
}

void *ria_arena_alloc(struct ria_arena *arena, size_t size)
{
    RIA_ASSERT(arena != NULL);
    RIA_ASSERT(arena->used <= arena->limit);

    if (size == 0) {
        return ria_arena_empty();
    }
    if (size > arena->limit - arena->used) {
        arena->err = RIA_ERR_LIMIT;
        return NULL;
    }
    size_t rounded = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (rounded < size || rounded > arena->limit - arena->used) {
        arena->err = RIA_ERR_LIMIT;
        return NULL;
    }
    struct ria_arena_chunk *chunk = arena->current;
    if (chunk == NULL || rounded > chunk->size - chunk->used) {
        chunk = chunk_append(arena, rounded);
    }
    if (chunk == NULL) {
        arena->err = RIA_ERR_NOMEM;
        return NULL;
    }
    void *memory = chunk->memory + chunk->used;
    chunk->used += rounded;
    arena->used += rounded;
    return memset(memory, 0, rounded);
}

void *ria_arena_alloc_array(struct ria_arena *arena, size_t count, size_t item_size)
{
    RIA_ASSERT(arena != NULL);
    RIA_ASSERT(item_size > 0);

    if (count > SIZE_MAX / item_size) {
        arena->err = RIA_ERR_LIMIT;
        return NULL;
    }
    return ria_arena_alloc(arena, count * item_size);
}

char *ria_arena_strdup(struct ria_arena *arena, struct ria_slice text)
{
    RIA_ASSERT(text.size < SIZE_MAX);

    char *copy = ria_arena_alloc(arena, text.size + 1);
    if (copy != NULL && text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    return copy;
}

ria_err ria_arena_err(const struct ria_arena *arena)
{
    RIA_ASSERT(arena != NULL);

    return arena->err;
}

size_t ria_arena_used(const struct ria_arena *arena)
{
    RIA_ASSERT(arena != NULL);

    return arena->used;
}

void *ria_arena_empty(void)
{
    static _Alignas(ARENA_ALIGN) uint8_t empty[ARENA_ALIGN];

    return empty;
}
