/* records: record batches whose records carry a value of their own (history.h). */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

#include "schemas/batch.h"

/* count records from `value` on, each with `padding` bytes behind its value. The slice belongs to
 * the builder, which the caller has initialised; what it held is gone. */
struct ria_slice records_build(
    struct batch_builder *builder,
    uint64_t value,
    uint32_t count,
    uint32_t padding,
    int64_t producer_id,
    int32_t base_sequence
);

typedef void (*records_fn)(void *arg, int64_t offset, uint64_t value);

/* Call fn for each record of a run of whole batches that is at `offset` or behind it. *out_next is
 * the offset behind the last one. Every CRC is checked. Errors: RIA_ERR_CORRUPT, RIA_ERR_MALFORMED
 * (also a record that is none of ours). */
ria_err records_walk(
    struct ria_slice batches, int64_t offset, records_fn fn, void *arg, int64_t *out_next
) RIA_MUST_USE;
