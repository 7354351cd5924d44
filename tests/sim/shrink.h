/* shrink: from a plan under which a promise breaks to the smallest one under which the same breaks.
 *
 * Faults are taken out, first in halves, then in ever smaller groups, then one by one until none
 * can be spared; so are the network's own troubles. Each attempt is a run in a process of its own,
 * since what breaks may be an assertion. Deterministic; bounded by the turns that the runs take
 * together.
 */
#pragma once

#include "common/base.h"

#include "tests/sim/run.h"

enum { SHRINK_WHAT_SIZE = 256 };

/* What broke first: a rule of the checker, or what ended the process. */
struct shrink_trial {
    char what[SHRINK_WHAT_SIZE]; /* "": nothing */
    uint64_t turns;
};

struct shrink_stats {
    uint32_t runs;
    uint32_t faults_before;
    uint32_t faults_after;
    bool is_minimal; /* false: the runs were used up before */
};

/* Run it in another process; what it prints goes to this one's standard output. */
void shrink_try(const struct run_options *options, struct shrink_trial *out_trial);

/* The plan breaks trial->what. */
void shrink_plan(
    struct plan *plan, const struct shrink_trial *trial, struct shrink_stats *out_stats
);
