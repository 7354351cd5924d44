/* redrive_filter: which dead letters are put back, and as what.
 *
 * Pure. Thread: any.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

#include "schemas/batch.h"

#include "services/gateway/produce.h"

struct redrive_filter {
    struct ria_slice topic;  /* where it was dead */
    struct ria_slice group;  /* in which queue */
    struct ria_slice reason; /* what its reason begins with; null: any */
    struct ria_slice key;    /* null: any */
    int64_t from_ms;         /* when it was buried */
    int64_t to_ms;           /* before this; INT64_MAX: any time */
};

bool redrive_matches(const struct redrive_filter *filter, const struct batch_record *letter);

/* The record as it was, for its old partition if the topic has it; its slices are the letter's, the
 * list of headers is the arena's. Errors: RIA_ERR_MALFORMED, those of the arena. */
ria_err redrive_record(
    const struct batch_record *letter,
    int32_t partition_count,
    struct ria_arena *arena,
    struct produce_record *out
) RIA_MUST_USE;
