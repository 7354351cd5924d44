/* What the judge believes of consumers' answers is what holds, not what a client has heard. */
#include "tests/sim/consumers.h"

#include <stdlib.h>

#include "tests/lib/harness.h"
#include "tests/sim/client.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/workload.h"
#include "tests/sim/world.h"

enum {
    RUN_US = 4 * 1000 * 1000,
    SEEDS = 1000,
    COORDINATOR = 0,
};

struct scene {
    struct plan plan;
    struct world world;
    struct workload workload;
    struct nemesis nemesis;
};

/* One group of each kind, whose records are there to be read, and two clients. */
static bool has_both(const struct plan *plan)
{
    return plan->group_count == 2 && plan->groups[0].is_queue != plan->groups[1].is_queue &&
           plan->nodes[plan->node_count - 2].role == PLAN_CLIENT;
}

static void draw(struct plan *plan)
{
    uint64_t seed = 0;

    do {
        plan_draw(plan, ++seed, NULL);
    } while (!has_both(plan) && seed < SEEDS);
    CU_ASSERT_TRUE_FATAL(has_both(plan));
    plan->fault_count = 0;
    plan->profile.spike_one_in = 0;
    plan->profile.reset_one_in = 0;
}

/* The client that the consumers are at: nobody else is. */
static uint32_t seclude_consumers(struct plan *plan)
{
    uint32_t client = plan->node_count - 1;

    for (uint32_t i = 0; i < plan->consumer_count; i++) {
        plan->consumers[i].client = client;
    }
    for (uint32_t i = 0; i < plan->producer_count; i++) {
        plan->producers[i].client = client - 1;
    }
    return client;
}

static size_t count_events(const struct scene *s, history_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < s->world.history.count; i++) {
        count += s->world.history.events[i].kind == kind;
    }
    return count;
}

/* Its metadata is long under way, and it consumes through gateways that have theirs. */
static void who_has_not_heard_of_the_cluster_gets_records(void)
{
    struct scene *s = calloc(1, sizeof(*s));

    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    draw(&s->plan);
    uint32_t client = seclude_consumers(&s->plan);
    world_init(&s->world, &s->plan, false);
    workload_init(&s->workload, &s->world);
    nemesis_init(&s->nemesis, &s->world);
    sim_net_block(s->world.net, COORDINATOR, client, true);
    nemesis_start(&s->nemesis);
    workload_start(&s->workload);
    world_run(&s->world, WORLD_START_US + RUN_US);

    CU_ASSERT_TRUE(ria_uuid_is_zero(cluster_id(s->world.nodes[client].client->cluster)));
    CU_ASSERT_EQUAL(count_events(s, HISTORY_BROKEN), 0);
    CU_ASSERT(count_events(s, HISTORY_DELIVERED) > 0);
    CU_ASSERT(count_events(s, HISTORY_LOCKED) > 0);

    workload_close(&s->workload);
    for (uint32_t i = 0; i < s->world.node_count; i++) {
        sim_node_kill(&s->world.nodes[i], false);
    }
    workload_fini(&s->workload);
    world_fini(&s->world);
    free(s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(who_has_not_heard_of_the_cluster_gets_records),
};
HARNESS_MAIN(tests);
