#include "tests/sim/shrink.h"

#include <stdlib.h>

#include "tests/lib/harness.h"

/* One record log on one node, and bits of every node's files that flip: what must break is due to
 * one fault of many. */
static void draw(struct plan *plan)
{
    plan_draw(plan, 6, NULL);
    plan->fault_count = 0;
    plan->chaos_us = 6 * 1000 * 1000;
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        plan->topics[i].replicas = 1;
        plan->topics[i].min_insync = 1;
    }
    for (uint32_t i = 0; i < 20; i++) {
        plan->faults[plan->fault_count++] = (struct plan_fault
        ){.kind = PLAN_CLOCK,
          .at_us = (i + 1) * 100 * 1000,
          .duration_us = 50 * 1000,
          .amount = 5000};
    }
    for (uint32_t i = 1; i <= plan->storage_count; i++) {
        plan->faults[plan->fault_count++] = (struct plan_fault){
            .kind = PLAN_ROT,
            .at_us = (3000 + i) * 1000,
            .duration_us = 100 * 1000,
            .a = i,
            .amount = 300,
        };
    }
}

static void only_what_breaks_it_is_left(void)
{
    struct plan *plan = malloc(sizeof(*plan));
    struct plan *again = malloc(sizeof(*again));
    struct shrink_trial trial;
    struct shrink_stats stats;

    CU_ASSERT_PTR_NOT_NULL_FATAL(plan);
    CU_ASSERT_PTR_NOT_NULL_FATAL(again);
    draw(plan);
    draw(again);
    const struct run_options options = {.seed = plan->seed, .plan = plan};
    shrink_try(&options, &trial);
    CU_ASSERT_STRING_NOT_EQUAL(trial.what, "");
    CU_ASSERT(trial.turns > 0);
    shrink_plan(plan, &trial, &stats);
    CU_ASSERT_EQUAL(stats.faults_before, again->fault_count);
    CU_ASSERT_EQUAL(stats.faults_after, plan->fault_count);
    CU_ASSERT_EQUAL(plan->fault_count, 1);
    CU_ASSERT_EQUAL(plan->faults[0].kind, PLAN_ROT);
    CU_ASSERT_TRUE(stats.is_minimal);

    const struct run_options smallest = {.seed = plan->seed, .plan = plan};
    struct shrink_trial last;
    shrink_try(&smallest, &last);
    CU_ASSERT_STRING_EQUAL(last.what, trial.what);
    free(plan);
    free(again);
}

static void plan_under_which_nothing_breaks_breaks_nothing(void)
{
    const struct run_options options = {.seed = 3};
    struct shrink_trial trial;

    shrink_try(&options, &trial);
    CU_ASSERT_STRING_EQUAL(trial.what, "");
    CU_ASSERT(trial.turns > 0);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(only_what_breaks_it_is_left),
    HARNESS_TEST(plan_under_which_nothing_breaks_breaks_nothing),
};
HARNESS_MAIN(tests);
