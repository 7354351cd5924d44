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

#define RUN_HEAL_US INT64_C(15000000)
#define RUN_DEAD_US INT64_C(30000000) /* dead records that somebody died with come back so late */
/* With rot: a hundred ranges come back one after the other, each with a sync. */
#define RUN_REPAIR_US INT64_C(45000000)

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

void run_seed(const struct run_options *options, struct run_result *out_result);
