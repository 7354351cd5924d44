/* nemesis: makes a plan's faults happen, and undoes them. */
#pragma once

#include "common/base.h"
#include "common/fs_sim.h"
#include "common/timers.h"

#include "tests/sim/plan.h"

struct world;

struct nemesis_fault {
    struct nemesis *nemesis;
    const struct plan_fault *fault;
    struct ria_timer timer; /* first it begins, then it ends */
    bool has_begun;
};

struct nemesis {
    struct world *world;
    uint32_t blocks[PLAN_NODES_MAX][PLAN_NODES_MAX]; /* faults that block [from][to] */
    struct ria_fs_sim_faults disks[PLAN_NODES_MAX];
    struct nemesis_fault faults[PLAN_FAULTS_MAX];
    struct ria_timer boots[PLAN_NODES_MAX];
};

void nemesis_init(struct nemesis *nemesis, struct world *world);

/* Boot the nodes at their times, and begin with the faults. */
void nemesis_start(struct nemesis *nemesis);

/* Undo everything, now: the network is quick and whole, every node is up or boots. */
void nemesis_heal(struct nemesis *nemesis);
