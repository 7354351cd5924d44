#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/map.h"

#define WALL_START_MS INT64_C(1700000000000)

enum {
    WORLD_TURNS_MAX = 200 * 1000, /* without any time passing: somebody runs in a circle */
    WORLD_CHECK_TURNS = 64,       /* a node's invariants are checked every so many of its turns */
};

const char world_coordinator_address[] = "tcp://coordinator:9100";

static int64_t world_mono_us(const struct ria_clock *clock)
{
    const struct world *world = (const void *)((const char *)clock - offsetof(struct world, clock));

    return world->now_us;
}

static int64_t world_wall_ms(const struct ria_clock *clock)
{
    return world_mono_us(clock) / 1000;
}

int64_t world_true_wall_ms(const struct world *world)
{
    return WALL_START_MS + world->now_us / 1000;
}

int64_t world_us_of_wall(int64_t wall_ms)
{
    return (wall_ms - WALL_START_MS) * 1000;
}

uint64_t world_seed(const struct world *world, enum world_rand purpose, uint32_t number)
{
    uint64_t parts[3] = {world->plan->seed, (uint64_t)purpose, number};

    return ria_hash_bytes(parts, sizeof(parts));
}

void world_init(struct world *world, const struct plan *plan, bool verbose)
{
    memset(world, 0, sizeof(*world));
    world->plan = plan;
    world->clock = (struct ria_clock){.mono_us = world_mono_us, .wall_ms = world_wall_ms};
    world->now_us = WORLD_START_US;
    world->is_verbose = verbose;
    trace_init(&world->trace, &world->clock, verbose ? stdout : NULL);
    ria_timers_init(&world->timers, &world->clock);
    history_init(&world->history);
    world->scratch = malloc(WORLD_SCRATCH_SIZE);
    RIA_ASSERT(world->scratch != NULL);
    world->net = sim_net_new(&world->trace, world_seed(world, WORLD_RAND_NET, 0));
    sim_net_set_profile(world->net, &plan->profile);
    for (uint32_t i = 0; i < plan->node_count; i++) {
        sim_node_init(&world->nodes[world->node_count++], world, i);
    }
}

void world_fini(struct world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        sim_node_kill(&world->nodes[i], false);
    }
    sim_net_free(world->net);
    for (uint32_t i = 0; i < world->node_count; i++) {
        sim_node_fini(&world->nodes[i]);
    }
    history_fini(&world->history);
    free(world->scratch);
    ria_timers_fini(&world->timers);
}

/* ---- time ---- */

/* Whose turn it is: the earliest deadline, those of the same moment in rotation. NULL: nothing is
 * due up to until_us. *out_node is NULL for the world itself. */
static struct ria_timers *
next_turn(struct world *world, int64_t until_us, struct sim_node **out_node)
{
    uint32_t count = world->node_count + 1;
    struct ria_timers *best = NULL;
    int64_t best_us = INT64_MAX;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)((world->turns + i) % count);
        struct sim_node *node = at == 0 ? NULL : &world->nodes[at - 1];
        struct ria_timers *timers = node == NULL ? &world->timers : &node->timers;
        int64_t next_us = ria_timers_next_us(timers);
        if (next_us < best_us && (node == NULL || !node->is_paused)) {
            best = timers;
            best_us = next_us;
            *out_node = node;
        }
    }
    if (best == NULL || best_us > until_us) {
        return NULL;
    }
    if (best_us > world->now_us) {
        world->now_us = best_us;
        world->turns_at_now = 0;
    }
    return best;
}

void world_run(struct world *world, int64_t until_us)
{
    while (!world->is_broken) {
        struct sim_node *node = NULL;
        struct ria_timers *timers = next_turn(world, until_us, &node);
        if (timers == NULL) {
            break;
        }
        world->turns++;
        (void)ria_timers_run(timers);
        if (node != NULL) {
            sim_node_after_turn(node);
            if (node->turns++ % WORLD_CHECK_TURNS == 0) {
                sim_node_check(node);
            }
        }
        if (++world->turns_at_now > WORLD_TURNS_MAX) {
            world_break(
                world, "livelock", 0, "%s runs in a circle", node == NULL ? "the world" : node->name
            );
            world->is_broken = true;
        }
    }
    if (!world->is_broken) {
        world->now_us = ria_max_i64(world->now_us, until_us);
    }
}

/* ---- promises ---- */

void world_break(struct world *world, const char *rule, uint32_t partition, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    trace_say(&world->trace, "BROKEN %s: %s", rule, text);

    struct history_event event = {
        .time_us = world->now_us,
        .kind = HISTORY_BROKEN,
        .partition = partition,
        .offset = HISTORY_NO_OFFSET,
        .value = HISTORY_NO_VALUE,
        .rule = rule,
        .text = history_keep(&world->history, text),
    };
    history_add(&world->history, &event);
}

/* ---- names ---- */

void world_find_partition(
    const struct world *world, uint32_t partition, uint32_t *out_topic, int32_t *out_number
)
{
    const struct plan *plan = world->plan;

    *out_topic = plan_topic_of(plan, partition);
    *out_number = (int32_t)(partition - plan->topics[*out_topic].first_partition);
}

struct ria_uuid world_topic_id(const struct world *world, uint32_t topic)
{
    struct ria_uuid id = {{0x51, 0x4d}};

    (void)world;
    id.bytes[RIA_UUID_SIZE - 1] = (uint8_t)(topic + 1);
    return id;
}

/* The errors topic has the name of the derived one, which stands before it, and an ending. */
void world_topic_name(const struct world *world, uint32_t topic, char *out_name)
{
    bool is_errors = world->plan->topics[topic].kind == PLAN_TOPIC_ERRORS;

    (void)snprintf(
        out_name,
        WORLD_NAME_SIZE,
        "topic-%" PRIu32 "%s",
        is_errors ? topic - 1 : topic,
        is_errors ? ".errors" : ""
    );
}

uint32_t world_any_gateway(const struct world *world, struct ria_rand *rand)
{
    return world->plan->gateway_first + (uint32_t)ria_rand_below(rand, world->plan->gateway_count);
}
