/* arena: memory with the life of one message.
 *
 * A bump allocator over a list of chunks, with a limit on the bytes handed out. Nothing is freed on
 * its own; reset ends all allocations at once and keeps the first chunk, so an arena that is reused
 * for small messages stops calling malloc.
 *
 * Thread: the owner's; nothing here locks.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

struct ria_arena_chunk;

struct ria_arena {
    struct ria_arena_chunk *first;   /* kept by reset; NULL until the first allocation */
    struct ria_arena_chunk *current; /* last of the list, where allocations come from */
    size_t limit;                    /* bytes that may be handed out between two resets */
    size_t used;                     /* bytes handed out, rounded up to the alignment */
    ria_err err;                     /* why an allocation last failed */
};

/* Allocates nothing yet. */
void ria_arena_init(struct ria_arena *arena, size_t limit);
void ria_arena_fini(struct ria_arena *arena);

/* End every allocation; memory obtained so far must not be used any more. */
void ria_arena_reset(struct ria_arena *arena);

/* Zeroed and aligned to 16. Size 0 gives ria_arena_empty(). NULL: ria_arena_err() tells whether the
 * limit was hit (RIA_ERR_LIMIT) or memory is short (RIA_ERR_NOMEM). */
void *ria_arena_alloc(struct ria_arena *arena, size_t size) RIA_MUST_USE;
void *ria_arena_alloc_array(struct ria_arena *arena, size_t count, size_t item_size) RIA_MUST_USE;

/* NUL-terminated copy; a null slice gives "". NULL as for ria_arena_alloc(). */
char *ria_arena_strdup(struct ria_arena *arena, struct ria_slice text) RIA_MUST_USE;

ria_err ria_arena_err(const struct ria_arena *arena);
size_t ria_arena_used(const struct ria_arena *arena);

/* The array of no elements: not NULL, aligned to 16, never read or written. */
void *ria_arena_empty(void);
