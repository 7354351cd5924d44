#include "tests/sim/run.h"

#include "tests/lib/harness.h"

static struct run_result run(uint64_t seed)
{
    const struct run_options options = {.seed = seed};
    struct run_result result;

    run_seed(&options, &result);
    return result;
}

static void a_seed_gives_the_same_run_again(void)
{
    for (uint64_t seed = 11; seed < 15; seed++) {
        struct run_result first = run(seed);
        struct run_result other = run(seed + 100); /* what ran before must not matter */
        struct run_result second = run(seed);

        CU_ASSERT_EQUAL(first.trace_hash, second.trace_hash);
        CU_ASSERT_EQUAL(first.trace_events, second.trace_events);
        CU_ASSERT_EQUAL(first.virtual_us, second.virtual_us);
        CU_ASSERT_EQUAL(first.verdict.records_acked, second.verdict.records_acked);
        CU_ASSERT_NOT_EQUAL(first.trace_hash, other.trace_hash);
    }
}

static void runs_do_something(void)
{
    uint64_t acked = 0;
    uint64_t read = 0;
    uint64_t boots = 0;

    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct run_result result = run(seed);
        acked += result.verdict.records_acked;
        read += result.verdict.records_read;
        boots += result.boots;
        CU_ASSERT_EQUAL(result.verdict.count, 0);
    }
    CU_ASSERT(acked > 1000);
    CU_ASSERT(read > 1000);
    CU_ASSERT(boots > 5 * 7);
}

/* Whoever does not come right is late after RUN_HEAL_US; groups and repairs that get on have
 * longer, but an end, too. */
static void nobody_has_for_ever_to_come_right(void)
{
    static const struct {
        struct run_progress progress;
        bool is_late;
    } cases[] = {
        {{RUN_HEAL_US - 1, false, RUN_DEAD_US, RUN_HOLE_US}, false},
        {{RUN_HEAL_US, false, 0, RUN_HOLE_US}, true},
        {{RUN_HEAL_US, true, 0, RUN_HOLE_US}, false},
        {{RUN_HEAL_US, true, RUN_DEAD_US, RUN_HOLE_US}, true},
        {{RUN_HEAL_US, false, RUN_DEAD_US, RUN_HOLE_US - 1}, false},
        {{RUN_DRAIN_US - 1, true, 0, RUN_HOLE_US}, false},
        {{RUN_DRAIN_US, true, 0, 0}, true},
    };

    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        CU_ASSERT_EQUAL(run_is_late(&cases[i].progress), cases[i].is_late);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_seed_gives_the_same_run_again),
    HARNESS_TEST(runs_do_something),
    HARNESS_TEST(nobody_has_for_ever_to_come_right),
};
HARNESS_MAIN(tests);
