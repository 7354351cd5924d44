/* budget: bytes that are buffered, counted for a task and for the process above it.
 *
 * Nothing is refused here: who fetches asks first, and what was fetched is always finished. So the
 * limit is passed by what is under way when it is met: one fetch and what comes of it.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/assert.h"
#include "common/base.h"
#include "common/buf.h"

struct budget {
    size_t used;
    size_t limit;
    struct budget *parent; /* NULL: the process's */
};

static inline void budget_take(struct budget *budget, size_t size)
{
    for (; budget != NULL; budget = budget->parent) {
        budget->used += size;
    }
}

static inline void budget_give(struct budget *budget, size_t size)
{
    for (; budget != NULL; budget = budget->parent) {
        RIA_ASSERT(budget->used >= size);
        budget->used -= size;
    }
}

/* Does size fit, at every level? */
static inline bool budget_has(const struct budget *budget, size_t size)
{
    for (; budget != NULL; budget = budget->parent) {
        if (budget->used + size > budget->limit) {
            return false;
        }
    }
    return true;
}

/* A buffer that is used again for every record is kept, unless an unusual one has made it large. */
static inline void budget_keep_small(struct ria_buf *buf)
{
    enum { KEEP_SIZE_MAX = 256 * 1024 };

    if (buf->capacity > KEEP_SIZE_MAX) {
        size_t limit = buf->limit;
        ria_buf_fini(buf);
        ria_buf_init(buf, limit);
    }
}
