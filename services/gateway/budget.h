/* budget: bytes of request bodies, batches and replies that one gateway holds at a time.
 *
 * One counter for the whole process. Work that is refused costs nothing; work that was let in is
 * always finished, so a reply may carry the counter past its limit for a moment.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/assert.h"
#include "common/base.h"
#include "common/metrics.h"

struct budget {
    struct ria_gauge used;
    int64_t reads; /* the part of used that reads hold, answers on their way included: gate.h */
    int64_t limit;
    int64_t peak; /* of used; whoever reads it sets it back */
    struct ria_counter refused;
};

static inline bool budget_has(const struct budget *budget, size_t size)
{
    return budget->used.value + (int64_t)size <= budget->limit;
}

/* Unconditional. */
static inline void budget_charge(struct budget *budget, size_t size)
{
    budget->used.value += (int64_t)size;
    budget->peak = ria_max_i64(budget->peak, budget->used.value);
}

static inline bool budget_take(struct budget *budget, size_t size)
{
    if (!budget_has(budget, size)) {
        budget->refused.value++;
        return false;
    }
    budget_charge(budget, size);
    return true;
}

static inline void budget_give(struct budget *budget, size_t size)
{
    budget->used.value -= (int64_t)size;
    RIA_ASSERT(budget->used.value >= 0);
}
