/* sim_node: one machine and the process on it: a real core with a simulated environment.
 *
 * A crash tears the core down without letting it do anything: its calls end with RIA_ERR_SHUTDOWN
 * as at the end of a real process, but nothing it then does reaches the disk or the network. Every
 * timer it leaves active is a bug of the core, and ends the run.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"

#include "services/coordinator/service.h"
#include "services/replication/service.h"
#include "services/storage/service.h"
#include "services/transform/service.h"
#include "tests/sim/plan.h"
#include "tests/sim/sim_disk.h"

struct world;
struct client;
struct sim_front;

struct sim_node {
    struct world *world;
    uint32_t number; /* in the plan; also its host's */
    plan_role role;
    const char *name;
    char address[32];
    struct ria_clock clock;
    struct ria_timers timers;
    struct ria_rand disk_rand;
    struct sim_disk *disk; /* NULL: none */
    struct ria_rand rand;
    struct ria_log log;
    struct ria_env env;

    bool is_up;
    bool is_stopping;
    bool is_paused;       /* gets no turns */
    bool stop_done;       /* a clean end is complete */
    bool boots_again;     /* ... and then it is to boot */
    bool is_doomed;       /* crashed in the middle of its turn */
    bool power_lost;      /* ... so */
    bool send_cuts_power; /* what sim_node_kill_at_send() asked for */
    uint64_t turns;
    uint32_t boots;
    struct coordinator_options coordinator_options;
    struct coordinator *coordinator;
    struct storage *storage;
    struct replication *replication;
    struct sim_front *front; /* a gateway */
    struct transform *transform;
    struct client *client;

    struct ria_timer stop_timer; /* a clean end takes so long at most */
    int64_t wall_jump_ms;        /* what a fault has done to its wall clock */
    bool has_bad_disk;           /* its logs may have failed, or be damaged */

    /* What it has on disk, or had when it died (inspect.c). */
    int32_t node_id;                      /* storage: -1 until seen */
    int64_t durable[PLAN_PARTITIONS_MAX]; /* storage: ends; of relaxed topics those of the writes */
    int64_t on_disk[PLAN_PARTITIONS_MAX]; /* the same, on disk in any case */
    bool is_known[PLAN_PARTITIONS_MAX];   /* coordinator */
    struct coordinator_partition_info known[PLAN_PARTITIONS_MAX];
};

/* Down at first. */
void sim_node_init(struct sim_node *node, struct world *world, uint32_t number);
void sim_node_fini(struct sim_node *node);

/* Nothing happens if it is up (down) already. One that is stopping boots when it has stopped. */
void sim_node_boot(struct sim_node *node);
void sim_node_kill(struct sim_node *node, bool power_cut);

/* Let it die when it has sent `frames` more, in the middle of its turn (the coordinator: at the end
 * of it); 0 = do not. */
void sim_node_kill_at_send(struct sim_node *node, uint64_t frames, bool power_cut);

/* Ask it to end; it is down when it has. */
void sim_node_stop(struct sim_node *node);

/* After each turn of its loop: what it may not do from inside. */
void sim_node_after_turn(struct sim_node *node);

/* Invariants of the core; aborts on a broken one. */
void sim_node_check(struct sim_node *node);
