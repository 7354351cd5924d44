/* run: one seed, from the plan to the verdict.
 *
 * Load and faults; then the faults end, and within RUN_HEAL_US everything that was sent must be
 * stored and read, and every replica in sync; then the checker judges.
 */
#pragma once

#include <stdio.h>

#include "common/base.h"

#include "tests/sim/checker.h"
#include "tests/sim/plan.h"

#define RUN_HEAL_US   INT64_C(15000000)
#define RUN_RESCUE_US INT64_C(5000000) /* then an operator forces leaders where nobody can lead */
/* Groups: dead records that somebody died with come back so late; and in all, however slowly who
 * reads one record of a key at a time gets on. */
#define RUN_DEAD_US  INT64_C(30000000)
#define RUN_HOLE_US  INT64_C(3000000) /* a slow disk repairs dozens of ranges, each in that time */
#define RUN_DRAIN_US INT64_C(60000000)

struct run_result {
    struct checker_result verdict;
    uint64_t trace_hash;
    uint64_t trace_events;
    uint64_t turns; /* of all loops: what the run cost */
    int64_t virtual_us;
    int64_t heal_us; /* what it took until all was well again */
    uint32_t boots;  /* of all nodes */
};

struct run_options {
    uint64_t seed;
    struct plan_choice choice;
    const struct plan *plan; /* NULL: drawn from the seed */
    bool verbose;            /* say on standard output what happens, as it happens */
    FILE *report;  /* NULL, or gets the plan before the run, and the violations after it */
    FILE *history; /* NULL, or gets the whole history */
};

/* How things stand, so long after the faults. */
struct run_progress {
    int64_t settled_us;
    bool is_whole; /* all but groups is well */
    int64_t
        backlog_since_us;   /* so long ago what groups have not got became less for the last time */
    int64_t holes_since_us; /* likewise the damaged ranges */
};

/* Is it too late for what is not well yet? */
bool run_is_late(const struct run_progress *progress);

void run_seed(const struct run_options *options, struct run_result *out_result);
