/* What plans promise to whoever reads a verdict: they are what the seed says, and ask for nothing
 * that was not promised. */
#include "tests/sim/plan.h"

#include <string.h>

#include "tests/lib/harness.h"

enum { SEEDS = 2000 };

static void a_seed_draws_the_same_plan_again(void)
{
    static struct plan first, second;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        plan_draw(&first, seed, NULL);
        plan_draw(&second, seed, NULL);
        CU_ASSERT_EQUAL(memcmp(&first, &second, sizeof(first)), 0);
    }
}

static void every_kind_with_weight_comes_alone_and_mixed(void)
{
    static struct plan plan;
    static uint32_t alone[PLAN_FAULT_KIND_COUNT], mixed[PLAN_FAULT_KIND_COUNT];

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint32_t kinds = 0;
        plan_draw(&plan, seed, NULL);
        for (uint32_t i = 0; i < plan.fault_count; i++) {
            kinds |= UINT32_C(1) << plan.faults[i].kind;
        }
        for (uint32_t i = 0; i < PLAN_FAULT_KIND_COUNT; i++) {
            alone[i] += kinds == UINT32_C(1) << i;
            mixed[i] += (kinds >> i & 1) != 0 && kinds != UINT32_C(1) << i;
        }
    }
#define CHECK(name, text, weight, about) \
    CU_ASSERT_EQUAL(alone[PLAN_##name] > 10 && mixed[PLAN_##name] > 200, (weight) > 0);
    PLAN_FAULT_KINDS(CHECK)
#undef CHECK
}

static void a_quarter_of_the_seeds_have_groups_and_queues(void)
{
    static struct plan plan;
    uint32_t with = 0;
    uint32_t both = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        plan_draw(&plan, seed, NULL);
        with += plan.group_count > 0;
        both += plan.group_count == 2;
        for (uint32_t g = 0; g < plan.group_count; g++) {
            for (uint32_t p = 0; p < plan.partition_count; p++) {
                CU_ASSERT_FALSE(plan_consumes(&plan, g, p) && plan_is_doomed(&plan, p));
            }
        }
    }
    CU_ASSERT(with > SEEDS / 5 && with < SEEDS * 3 / 10);
    CU_ASSERT(both > SEEDS / 20);
}

static void kinds_that_are_asked_for_are_the_only_ones(void)
{
    static struct plan plan;
    struct plan_choice choice;
    const char *bad = NULL;
    uint32_t count = 0;

    CU_ASSERT_TRUE_FATAL(plan_parse_kinds("rot,kill-at", &choice.fault_kinds, &bad));
    for (uint64_t seed = 1; seed <= 50; seed++) {
        plan_draw(&plan, seed, &choice);
        count += plan.fault_count;
        for (uint32_t i = 0; i < plan.fault_count; i++) {
            plan_fault_kind kind = plan.faults[i].kind;
            CU_ASSERT(kind == PLAN_ROT || kind == PLAN_KILL_AT);
        }
    }
    CU_ASSERT(count > 50);
    CU_ASSERT_FALSE(plan_parse_kinds("rot,kill-", &choice.fault_kinds, &bad));
    CU_ASSERT_STRING_EQUAL(bad, "kill-");
    CU_ASSERT_FALSE(plan_parse_kinds("", &choice.fault_kinds, &bad));
}

/* One disk at most breaks its promises, and then everything is on three. */
static void bad_disks_are_a_minority_of_every_partitions_replicas(void)
{
    static struct plan plan;
    struct plan_choice choice;
    const char *bad = NULL;

    CU_ASSERT_TRUE_FATAL(plan_parse_kinds("rot,io-error,sync-error", &choice.fault_kinds, &bad));
    for (uint64_t seed = 1; seed <= 200; seed++) {
        plan_draw(&plan, seed, &choice);
        for (uint32_t i = 1; i < plan.fault_count; i++) {
            CU_ASSERT_EQUAL(plan.faults[i].a, plan.faults[0].a);
        }
        for (uint32_t i = 0; plan.fault_count > 0 && i < plan.topic_count; i++) {
            CU_ASSERT(plan.topics[i].replicas == 3 && plan.topics[i].min_insync == 2);
            CU_ASSERT_FALSE(plan.topics[i].relaxed);
        }
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_seed_draws_the_same_plan_again),
    HARNESS_TEST(every_kind_with_weight_comes_alone_and_mixed),
    HARNESS_TEST(a_quarter_of_the_seeds_have_groups_and_queues),
    HARNESS_TEST(kinds_that_are_asked_for_are_the_only_ones),
    HARNESS_TEST(bad_disks_are_a_minority_of_every_partitions_replicas),
};
HARNESS_MAIN(tests);
