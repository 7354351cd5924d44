/* world: a whole cluster in one thread, under virtual time.
 *
 * Each node has timers of its own; the world jumps to the earliest deadline of all and gives that
 * node one turn of its loop. So a turn takes no time, and everything between two turns is decided
 * by the seed. Time begins at WORLD_START_US.
 */
#pragma once

#include "common/base.h"
#include "common/clock.h"
#include "common/rand.h"
#include "common/timers.h"
#include "common/uuid.h"

#include "tests/sim/history.h"
#include "tests/sim/plan.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/trace.h"

#define WORLD_START_US INT64_C(1000000)

enum {
    WORLD_NAME_SIZE = 32,
    WORLD_SCRATCH_SIZE = 256 * 1024, /* larger than any batch of ours */
};

extern const char world_coordinator_address[];

/* Purposes that draw from the seed, each from its own sequence. */
enum world_rand { WORLD_RAND_NET = 1, WORLD_RAND_LOAD, WORLD_RAND_NODES, WORLD_RAND_ROT };

struct world {
    const struct plan *plan;
    struct ria_clock clock;
    int64_t now_us;
    struct trace trace;
    struct ria_timers timers; /* of the world itself: faults, looks at the disks */
    struct sim_net *net;
    uint8_t *scratch; /* WORLD_SCRATCH_SIZE bytes, for what is read of a log */
    struct history history;
    struct sim_node nodes[PLAN_NODES_MAX];
    uint32_t node_count;
    struct ria_uuid cluster_id; /* once the coordinator has been up */
    uint64_t turns;
    uint64_t turns_at_now; /* since the clock last moved */
    bool is_broken;        /* nothing more can be learnt: end the run */
    bool is_verbose;
};

/* Borrows plan. verbose: say on standard output what happens. */
void world_init(struct world *world, const struct plan *plan, bool verbose);
void world_fini(struct world *world);

uint64_t world_seed(const struct world *world, enum world_rand purpose, uint32_t number);

/* Until the virtual time is reached, or the world is broken. */
void world_run(struct world *world, int64_t until_us);

/* A promise that is not about records is broken. rule is a literal; partition may be 0. */
void world_break(struct world *world, const char *rule, uint32_t partition, const char *fmt, ...)
    RIA_PRINTF(4, 5);

/* The topic and number of a partition that is counted over all topics. */
void world_find_partition(
    const struct world *world, uint32_t partition, uint32_t *out_topic, int32_t *out_number
);
struct ria_uuid world_topic_id(const struct world *world, uint32_t topic);

/* out_name has WORLD_NAME_SIZE bytes. */
void world_topic_name(const struct world *world, uint32_t topic, char *out_name);

/* What a wall clock says that is right, and when one says (or said) a time. */
int64_t world_true_wall_ms(const struct world *world);
int64_t world_us_of_wall(int64_t wall_ms);

/* A gateway's node. */
uint32_t world_any_gateway(const struct world *world, struct ria_rand *rand);
