/* What only somebody sees who looks at all nodes at once: each rule of inspect.h is broken in a
 * cluster that runs, and holds in its twin. */
#include "tests/sim/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "tests/lib/harness.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/workload.h"
#include "tests/sim/world.h"

enum { CALM_US = 5 * 1000 * 1000 };

struct scene {
    struct plan plan;
    struct world world;
    struct workload workload;
    struct nemesis nemesis;
    struct inspector inspector;
};

/* A cluster without faults that has done some work: one topic of three replicas, all in sync. */
static struct scene *begin(void)
{
    struct scene *s = calloc(1, sizeof(*s));

    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    plan_draw(&s->plan, 4, NULL);
    s->plan.fault_count = 0;
    s->plan.profile.spike_one_in = 0;
    s->plan.profile.reset_one_in = 0;
    for (uint32_t i = 0; i < s->plan.topic_count; i++) {
        s->plan.topics[i].replicas = 3;
        s->plan.topics[i].min_insync = 2;
        s->plan.topics[i].lag_ms = 10000;
    }
    world_init(&s->world, &s->plan, false);
    workload_init(&s->workload, &s->world);
    nemesis_init(&s->nemesis, &s->world);
    inspector_init(&s->inspector, &s->world);
    nemesis_start(&s->nemesis);
    workload_start(&s->workload);
    world_run(&s->world, WORLD_START_US + CALM_US);
    inspector_glance(&s->inspector);
    return s;
}

static void end(struct scene *s)
{
    workload_close(&s->workload);
    for (uint32_t i = 0; i < s->world.node_count; i++) {
        sim_node_kill(&s->world.nodes[i], false);
    }
    workload_fini(&s->workload);
    world_fini(&s->world);
    free(s);
}

static size_t count_broken(const struct scene *s, const char *rule)
{
    size_t count = 0;

    for (size_t i = 0; i < s->world.history.count; i++) {
        const struct history_event *event = &s->world.history.events[i];
        count += event->kind == HISTORY_BROKEN && strcmp(event->rule, rule) == 0;
    }
    return count;
}

/* A storage node that follows partition 0 and is in sync. */
static struct sim_node *a_follower(struct scene *s)
{
    struct sim_node *found = NULL;

    for (uint32_t i = 0; i < s->world.node_count; i++) {
        struct sim_node *node = &s->world.nodes[i];
        if (node->storage != NULL && node->durable[0] > 0 &&
            node->node_id != s->world.nodes[0].known[0].leader) {
            found = node;
        }
    }
    RIA_ASSERT(found != NULL);
    return found;
}

static void commit_beyond_isr(bool bad)
{
    struct scene *s = begin();
    struct sim_node *follower = a_follower(s);

    sim_node_kill(follower, false);
    CU_ASSERT(follower->durable[0] > 0);
    if (bad) {
        follower->durable[0] = 0; /* as if it had never had it */
    }
    inspector_glance(&s->inspector);
    CU_ASSERT_EQUAL(count_broken(s, "commit-beyond-isr") > 0, bad);
    end(s);
}

/* Written by all of them: enough while the topic is relaxed, not for what is called synced. */
static void commit_on_disk(bool bad)
{
    struct scene *s = begin();
    struct sim_node *follower = a_follower(s);

    sim_node_kill(follower, false);
    CU_ASSERT(follower->on_disk[0] > 0);
    follower->on_disk[0] = bad ? 0 : follower->on_disk[0];
    inspector_glance(&s->inspector);
    CU_ASSERT_EQUAL(count_broken(s, "commit-beyond-isr") > 0, bad);
    end(s);
}

static void commit_called_synced_that_a_member_has_only_in_its_cache_is_found(void)
{
    commit_on_disk(true);
    commit_on_disk(false);
}

static void commit_that_a_dead_member_does_not_have_is_found(void)
{
    commit_beyond_isr(true);
    commit_beyond_isr(false);
}

static void epoch_back(bool bad)
{
    struct scene *s = begin();
    struct sim_node *coordinator = &s->world.nodes[0];

    CU_ASSERT_TRUE(coordinator->is_known[0]);
    coordinator->known[0].partition_epoch += bad;
    s->inspector.version = -1; /* look again */
    inspector_glance(&s->inspector);
    CU_ASSERT_EQUAL(count_broken(s, "epoch-back"), bad ? 1 : 0);
    end(s);
}

static void epoch_that_falls_at_the_coordinator_is_found(void)
{
    epoch_back(true);
    epoch_back(false);
}

static void liveness(bool bad)
{
    struct scene *s = begin();
    bool is_whole = false;

    workload_finish(&s->workload);
    if (bad) {
        sim_node_kill(a_follower(s), false);
    }
    for (int i = 0; i < 100 && !is_whole; i++) {
        world_run(&s->world, s->world.now_us + 100 * 1000);
        is_whole = workload_is_done(&s->workload) && inspect_is_whole(&s->world);
    }
    CU_ASSERT_EQUAL(is_whole, !bad);
    if (!is_whole) {
        inspect_report_stuck(&s->world);
    }
    CU_ASSERT_EQUAL(count_broken(s, "liveness") > 0, bad);
    end(s);
}

static void cluster_with_a_dead_node_is_not_whole(void)
{
    liveness(true);
    liveness(false);
}

/* The leader is gone, and nobody has taken over: its followers are in sync, or nobody is. */
static void election(bool bad)
{
    struct scene *s = begin();
    struct coordinator_partition_info *known = s->world.nodes[0].known;
    int32_t leader = known[0].leader;

    for (uint32_t i = 0; i < s->world.node_count; i++) {
        struct sim_node *node = &s->world.nodes[i];
        if (node->storage != NULL && storage_node_id(node->storage) == leader) {
            sim_node_kill(node, false);
        }
    }
    for (uint32_t p = 0; !bad && p < s->plan.partition_count; p++) {
        known[p].isr[0] = leader;
        known[p].isr_count = 1;
    }
    inspect_check_elections(&s->world);
    CU_ASSERT_EQUAL(count_broken(s, "no-election") > 0, bad);
    end(s);
}

static void partition_that_nobody_leads_although_one_could_is_found(void)
{
    election(true);
    election(false);
}

static void assert_judged(struct inspect_forced forced, int32_t told_epoch, const char *rule)
{
    const char *judged = inspect_judge_forced(&forced, told_epoch);

    CU_ASSERT_STRING_EQUAL(judged == NULL ? "" : judged, rule);
}

static void forced_leader_that_nobody_asked_for_or_is_told_of_is_found(void)
{
    assert_judged((struct inspect_forced){.epoch = -1}, -1, "");
    assert_judged((struct inspect_forced){.epoch = -1}, 3, "forced-unasked");
    assert_judged((struct inspect_forced){.is_asked = true, .epoch = -1}, 3, "");
    assert_judged((struct inspect_forced){.is_asked = true, .epoch = 3}, 3, "");
    assert_judged((struct inspect_forced){.is_asked = true, .epoch = 3}, -1, "forced-unsaid");
    assert_judged((struct inspect_forced){.is_asked = true, .epoch = 3}, 2, "forced-unsaid");
}

static void forced_leader_that_clients_are_not_told_of_is_found(void)
{
    struct scene *s = begin();
    const struct inspect_forced nothing = {.epoch = -1};
    const struct inspect_forced forced = {.is_asked = true, .epoch = 1};

    inspect_check_forced(&s->world, 0, &nothing);
    CU_ASSERT_EQUAL(count_broken(s, "forced-unsaid"), 0);
    inspect_check_forced(&s->world, 0, &forced);
    CU_ASSERT_EQUAL(count_broken(s, "forced-unsaid"), 1);
    end(s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(commit_called_synced_that_a_member_has_only_in_its_cache_is_found),
    HARNESS_TEST(commit_that_a_dead_member_does_not_have_is_found),
    HARNESS_TEST(epoch_that_falls_at_the_coordinator_is_found),
    HARNESS_TEST(cluster_with_a_dead_node_is_not_whole),
    HARNESS_TEST(partition_that_nobody_leads_although_one_could_is_found),
    HARNESS_TEST(forced_leader_that_nobody_asked_for_or_is_told_of_is_found),
    HARNESS_TEST(forced_leader_that_clients_are_not_told_of_is_found),
};
HARNESS_MAIN(tests);
