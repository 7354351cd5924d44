/* filter: which records a reader wants to see.
 *
 *   filter = "key" ("=" | "!=" | "^=") TEXT           equal, not equal, begins with
 *          | "header:" NAME ("=" | "!=" | "^=") TEXT  any header of the name counts
 *          | "$" STEP+ [OP LITERAL]                   in a value that is JSON; alone: is there
 *   STEP   = "." NAME | "['" NAME "']" | "[" DIGITS "]"
 *   OP     = "=" | "==" | "!=" | "^=" | "<" | "<=" | ">" | ">="
 *   LITERAL= a JSON string, number, true, false or null
 *
 * Several filters are AND-ed. What is not there matches nothing, "!=" included; so does another
 * type, but for "!=", which then holds. "^=" takes strings. Numbers are compared as integers if
 * both are, else as doubles; strings byte by byte; "<" and its like take numbers and strings.
 *
 * The cost of a record is bounded: a value of more than FILTER_TOKENS_MAX tokens, or nested deeper
 * than RIA_JSON_DEPTH_MAX, matches no path.
 *
 * Pure: the seam for evaluating it nearer to the disk (docs/design/011-streams.md). Thread: any.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/json.h"
#include "common/slice.h"

#include "schemas/batch.h"

enum {
    FILTERS_MAX = 8,
    FILTER_SIZE_MAX = 512, /* bytes of one */
    FILTER_STEPS_MAX = 16, /* of one path */
    FILTER_TOKENS_MAX = 65536,
    FILTER_REASON_MAX = 160,
};

struct filter_set;

/* Memory that evaluating needs; one serves any number of sets. */
struct filter_scratch {
    struct ria_json json;
};

void filter_scratch_init(struct filter_scratch *scratch);
void filter_scratch_fini(struct filter_scratch *scratch);

/* Copies the texts; count at most FILTERS_MAX. No filter: *out_set is NULL, which matches
 * everything. Errors: RIA_ERR_INVALID (out_reason says which and why), RIA_ERR_NOMEM. */
ria_err filter_set_new(
    const struct ria_slice *texts,
    uint32_t count,
    struct filter_set **out_set,
    char out_reason[FILTER_REASON_MAX]
) RIA_MUST_USE;

/* Accepts NULL. */
void filter_set_free(struct filter_set *set);

bool filter_set_matches(
    const struct filter_set *set, const struct batch_record *record, struct filter_scratch *scratch
);
