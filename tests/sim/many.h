/* many: a range of seeds, in several processes, so that a crash ends one seed only. */
#pragma once

#include "common/base.h"

#include "tests/sim/plan.h"

enum { MANY_JOBS_MAX = 64 };

/* Prints a line per seed that failed, and last "N passed, N failed". Returns the exit code. */
int run_many(uint64_t first, uint64_t last, uint32_t jobs, const struct plan_choice *choice);
