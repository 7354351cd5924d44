#include "tests/sim/sim_node.h"

#include <stdio.h>
#include <string.h>

#include "common/assert.h"

#include "tests/sim/client.h"
#include "tests/sim/inspect.h"
#include "tests/sim/sim_front.h"
#include "tests/sim/stream_records.h"
#include "tests/sim/world.h"

enum {
    LOGGING_ONE_IN = 8, /* seeds */
    DISK_RESERVE = 128 * 1024,
    FRONT_CUT_ONE_IN = 200, /* answers of gateways, where there are groups */
    STOP_US_MAX = 10 * 1000 * 1000,
};

/* ---- environment ---- */

static const struct sim_node *of_clock(const struct ria_clock *clock)
{
    return (const void *)((const char *)clock - offsetof(struct sim_node, clock));
}

static int64_t node_mono_us(const struct ria_clock *clock)
{
    return of_clock(clock)->world->now_us;
}

static int64_t node_wall_ms(const struct ria_clock *clock)
{
    const struct sim_node *node = of_clock(clock);

    return world_true_wall_ms(node->world) + node->world->plan->nodes[node->number].wall_skew_ms +
           node->wall_jump_ms;
}

/* Without the real time that the line begins with. Quiet runs throw lines away, but some make them:
 * that is code, too. */
static void write_log(void *arg, const char *line, size_t size)
{
    const struct sim_node *node = arg;

    if (!node->world->is_verbose) {
        return;
    }
    const char *space = memchr(line, ' ', size);
    size_t skip = space == NULL ? 0 : (size_t)(space - line) + 1;

    (void)printf(
        "%10.6f %s: %.*s",
        (double)node->world->now_us / 1e6,
        node->name,
        (int)(size - skip),
        line + skip
    );
}

/* The disk has crashed in the middle of a turn; what the core still does must go nowhere. */
static void on_disk_crash(void *arg, bool lose_unsynced)
{
    struct sim_node *node = arg;

    trace_say(&node->world->trace, "%s dies in the middle of a call", node->name);
    sim_net_kill(node->world->net, node->number, lose_unsynced);
    node->is_doomed = true;
    node->power_lost = lose_unsynced;
}

/* Whoever asked it to end waits no longer. */
static void on_stopped_long(struct ria_timer *timer, void *arg)
{
    struct sim_node *node = arg;

    (void)timer;
    node->stop_done = true;
}

void sim_node_init(struct sim_node *node, struct world *world, uint32_t number)
{
    memset(node, 0, sizeof(*node));
    node->world = world;
    node->number = number;
    node->node_id = -1;
    node->role = world->plan->nodes[number].role;
    node->name = plan_node_name(world->plan, number);
    node->clock = (struct ria_clock){.mono_us = node_mono_us, .wall_ms = node_wall_ms};
    ria_timers_init(&node->timers, &node->clock);
    ria_rand_init(&node->rand, world_seed(world, WORLD_RAND_NODES, 2 * number));
    ria_rand_init(&node->disk_rand, world_seed(world, WORLD_RAND_NODES, 2 * number + 1));
    bool logs = world->is_verbose || world->plan->seed % LOGGING_ONE_IN == 0;
    node->log = (struct ria_log
    ){.level = logs ? RIA_LOG_DEBUG : RIA_LOG_ERROR, .write = write_log, .arg = node};
    if (node->role == PLAN_STORAGE || node->role == PLAN_COORDINATOR) {
        node->disk = sim_disk_new(&node->timers, &node->disk_rand, on_disk_crash, node);
    }
    if (node->role == PLAN_COORDINATOR) {
        (void)snprintf(node->address, sizeof(node->address), "%s", world_coordinator_address);
    } else if (node->role != PLAN_CLIENT && node->role != PLAN_WORKER) {
        (void)snprintf(node->address, sizeof(node->address), "tcp://%s:9111", node->name);
    }
    ria_timer_init(&node->stop_timer, on_stopped_long, node);
    uint32_t host = sim_net_add_host(world->net, node->name, node->address, &node->timers);
    RIA_ASSERT(host == number);
}

void sim_node_fini(struct sim_node *node)
{
    RIA_ASSERT(!node->is_up);
    sim_disk_free(node->disk);
    ria_timers_fini(&node->timers);
}

/* ---- cores ---- */

static void on_fatal(void *arg, const char *reason)
{
    struct sim_node *node = arg;

    if (node->is_doomed || !node->is_up) {
        return;
    }
    if (node->has_bad_disk || plan_has(node->world->plan, PLAN_DISK_FULL)) {
        trace_say(&node->world->trace, "%s ends: %s", node->name, reason);
        node->is_doomed = true;
        return;
    }
    world_break(node->world, "fatal", 0, "%s cannot go on: %s", node->name, reason);
}

static ria_err new_coordinator(struct sim_node *node, char *reason)
{
    node->coordinator_options = (struct coordinator_options){
        .data_dir = "/data",
        .default_partitions = 6,
        .default_replicas = 3,
        .simulated_disk = true,
    };
    RIA_TRY(coordinator_new(&node->env, &node->coordinator_options, reason, &node->coordinator));
    node->world->cluster_id = coordinator_cluster_id(node->coordinator);
    coordinator_start(node->coordinator);
    return RIA_OK;
}

static ria_err new_storage(struct sim_node *node, char *reason)
{
    struct storage_options options = {
        .data_dir = "/data",
        .coordinator = world_coordinator_address,
        .address = node->address,
        .rack = "",
        .open_segments = node->world->plan->open_segments,
        .disk_reserve = DISK_RESERVE,
    };

    RIA_TRY(storage_new(&node->env, &options, on_fatal, node, reason, &node->storage));
    storage_start(node->storage);
    return RIA_OK;
}

static ria_err new_transform(struct sim_node *node)
{
    const struct transform_options options = {
        .coordinator = world_coordinator_address,
        .address = node->address,
    };

    RIA_TRY(transform_new(&node->env, &options, &node->transform));
    transform_start(node->transform);
    return RIA_OK;
}

static ria_err new_core(struct sim_node *node, char *reason)
{
    struct replication_options options = {.coordinator = world_coordinator_address};

    reason[0] = '\0';
    switch (node->role) {
    case PLAN_COORDINATOR:
        return new_coordinator(node, reason);
    case PLAN_STORAGE:
        return new_storage(node, reason);
    case PLAN_WORKER:
        RIA_TRY(replication_new(&node->env, &options, &node->replication));
        replication_start(node->replication);
        return RIA_OK;
    case PLAN_GATEWAY:
        node->front = sim_front_new(
            &node->env,
            world_coordinator_address,
            node->world->plan->group_count > 0 ? FRONT_CUT_ONE_IN : 0,
            WORLD_START_US + node->world->plan->chaos_us,
            stream_records_handed,
            node->world
        );
        return RIA_OK;
    case PLAN_TRANSFORM:
        return new_transform(node);
    case PLAN_CLIENT:
        node->client = client_new(&node->env, world_coordinator_address);
        return RIA_OK;
    }
    return RIA_OK;
}

static void free_core(struct sim_node *node)
{
    coordinator_free(node->coordinator);
    storage_free(node->storage);
    replication_free(node->replication);
    sim_front_free(node->front);
    transform_free(node->transform);
    client_free(node->client);
    node->coordinator = NULL;
    node->storage = NULL;
    node->replication = NULL;
    node->front = NULL;
    node->transform = NULL;
    node->client = NULL;
}

/* ---- life and death ---- */

static void bury(struct sim_node *node)
{
    struct world *world = node->world;

    ria_timer_stop(&node->timers, &node->stop_timer);
    sim_net_end_calls(world->net, node->number);
    free_core(node);
    sim_net_bury(world->net, node->number);
    node->is_up = false;
    node->is_doomed = false;
    node->is_stopping = false;
    if (node->timers.heap.count > 0) {
        world_break(
            world, "leak", 0, "%s left %zu timers active", node->name, node->timers.heap.count
        );
        world->is_broken = true; /* they point into freed memory */
    }
    if (node->disk != NULL) {
        size_t open = ria_fs_sim_open_count(sim_disk_inner(node->disk));
        if (open > 0) {
            world_break(world, "leak", 0, "%s left %zu files open", node->name, open);
        }
    }
}

void sim_node_boot(struct sim_node *node)
{
    struct world *world = node->world;
    char reason[COORDINATOR_REASON_SIZE];

    _Static_assert((int)STORAGE_REASON_MAX <= (int)COORDINATOR_REASON_SIZE, "one buffer for both");
    if (node->is_up) {
        node->boots_again = node->is_stopping;
        return;
    }
    trace_say(&world->trace, "%s boots", node->name);
    node->boots_again = false;
    if (node->disk != NULL) {
        sim_disk_boot(node->disk);
    }
    node->env = (struct ria_env){
        .clock = &node->clock,
        .timers = &node->timers,
        .rpc = sim_net_boot(world->net, node->number),
        .fs = node->disk == NULL ? NULL : sim_disk_fs(node->disk),
        .rand = &node->rand,
        .log = &node->log,
    };
    node->is_up = true;
    node->is_paused = false;
    node->boots++;
    ria_err err = new_core(node, reason);
    bool may_fail = node->is_doomed || (err == RIA_ERR_IO && node->has_bad_disk) ||
                    (err == RIA_ERR_NO_SPACE && plan_has(world->plan, PLAN_DISK_FULL));
    if (err != RIA_OK && !may_fail) {
        world_break(
            world, "start", 0, "%s does not start: %s (%s)", node->name, reason, ria_err_name(err)
        );
        world->is_broken = true;
    }
    if (err != RIA_OK || node->is_doomed) {
        sim_node_kill(node, node->power_lost);
    }
}

void sim_node_kill(struct sim_node *node, bool power_cut)
{
    struct world *world = node->world;

    if (node->is_up) {
        inspect_note_durable(node);
    }
    if (node->disk != NULL && (!node->is_doomed || !sim_disk_is_dead(node->disk))) {
        sim_disk_crash(node->disk, power_cut);
    }
    if (!node->is_up) {
        return;
    }
    trace_say(&world->trace, "%s %s", node->name, power_cut ? "loses power" : "dies");
    sim_net_kill(world->net, node->number, power_cut);
    bury(node);
}

static void on_sends(void *arg)
{
    struct sim_node *node = arg;

    if (node->is_doomed) {
        return;
    }
    trace_say(&node->world->trace, "%s dies behind a frame it sent", node->name);
    node->is_doomed = true;
    node->power_lost = node->send_cuts_power;
    /* SQLite's files must not vanish within a transaction: the coordinator would abort. */
    if (node->disk != NULL && node->role != PLAN_COORDINATOR) {
        sim_disk_crash(node->disk, node->power_lost);
        sim_net_kill(node->world->net, node->number, node->power_lost);
    }
}

void sim_node_kill_at_send(struct sim_node *node, uint64_t frames, bool power_cut)
{
    node->send_cuts_power = power_cut;
    sim_net_watch_sends(node->world->net, node->number, frames, on_sends, node);
}

void sim_node_stop(struct sim_node *node)
{
    if (!node->is_up || node->is_stopping) {
        return;
    }
    trace_say(&node->world->trace, "%s is asked to stop", node->name);
    if (node->coordinator != NULL) {
        coordinator_stop(node->coordinator);
    }
    if (node->storage == NULL && node->front == NULL && node->transform == NULL &&
        node->replication == NULL) {
        sim_node_kill(node, false);
        return;
    }
    inspect_note_durable(node); /* its logs will be closed before it ends */
    node->is_stopping = true;
    node->stop_done = false;
    ria_timer_start(&node->timers, &node->stop_timer, STOP_US_MAX);
    if (node->storage != NULL) {
        storage_stop(node->storage, &node->stop_done);
    } else if (node->front != NULL) {
        sim_front_stop(node->front);
    } else if (node->replication != NULL) {
        replication_stop(node->replication, &node->stop_done);
    } else {
        transform_stop(node->transform, &node->stop_done);
    }
}

static bool has_stopped(const struct sim_node *node)
{
    return node->stop_done || (node->front != NULL && sim_front_is_idle(node->front));
}

void sim_node_after_turn(struct sim_node *node)
{
    if (node->is_stopping) {
        inspect_note_durable(node);
    }
    if (node->is_up && node->is_doomed) {
        sim_node_kill(node, node->power_lost);
    } else if (node->is_up && node->is_stopping && has_stopped(node)) {
        bool again = node->boots_again;
        sim_node_kill(node, false);
        if (again) {
            sim_node_boot(node);
        }
    }
}

void sim_node_check(struct sim_node *node)
{
    if (node->storage != NULL) {
        storage_check(node->storage);
    }
    if (node->replication != NULL) {
        replication_check(node->replication);
    }
    if (node->transform != NULL) {
        transform_check(node->transform);
    }
}
