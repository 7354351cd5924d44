#include "tests/sim/nemesis.h"

#include "tests/sim/world.h"

/* ---- faults ---- */

static void block(struct nemesis *nemesis, uint32_t from, uint32_t to, bool begin)
{
    uint32_t *count = &nemesis->blocks[from][to];

    *count = begin ? *count + 1 : *count - 1;
    sim_net_block(nemesis->world->net, from, to, *count > 0);
}

/* From all but its friend; who has one is reached by clients, too. */
static void cut_off(struct nemesis *nemesis, uint32_t node, uint32_t friend, bool begin)
{
    const struct world *world = nemesis->world;

    for (uint32_t i = 0; i < world->node_count; i++) {
        bool is_reached = friend != node && world->plan->nodes[i].role == PLAN_CLIENT;
        if (i != node && i != friend && !is_reached) {
            block(nemesis, node, i, begin);
            block(nemesis, i, node, begin);
        }
    }
}

static void block_fault(struct nemesis *nemesis, const struct plan_fault *fault, bool begin)
{
    if (fault->kind == PLAN_ISOLATE) {
        cut_off(nemesis, fault->a, fault->a, begin);
    } else if (fault->kind == PLAN_MINORITY) {
        cut_off(nemesis, fault->a, fault->b, begin);
        cut_off(nemesis, fault->b, fault->a, begin);
    } else {
        block(nemesis, fault->a, fault->b, begin);
        if (fault->kind != PLAN_ONE_WAY) {
            block(nemesis, fault->b, fault->a, begin);
        }
    }
}

/* ---- disks ---- */

static void set_disk(struct nemesis *nemesis, uint32_t number)
{
    const struct sim_node *node = &nemesis->world->nodes[number];

    if (node->disk != NULL) {
        ria_fs_sim_set_faults(sim_disk_inner(node->disk), &nemesis->disks[number]);
    }
}

static void slow_disk(struct nemesis *nemesis, const struct plan_fault *fault, bool begin)
{
    nemesis->disks[fault->a].sync_delay_us_max += begin ? fault->amount : -fault->amount;
    set_disk(nemesis, fault->a);
}

static void fill_disk(struct nemesis *nemesis, const struct plan_fault *fault, bool begin)
{
    struct ria_fs *fs = sim_disk_inner(nemesis->world->nodes[fault->a].disk);
    uint64_t capacity = ria_fs_sim_used_bytes(fs) + (uint64_t)fault->amount;

    nemesis->disks[fault->a].capacity_bytes = begin ? capacity : 0;
    set_disk(nemesis, fault->a);
    if (!begin) {
        sim_node_boot(&nemesis->world->nodes[fault->a]); /* it may have died of it */
    }
}

/* A log that failed stays so until its process begins anew: the machine is booted at the end. */
static void break_disk(struct nemesis *nemesis, const struct plan_fault *fault, bool begin)
{
    struct ria_fs_sim_faults *faults = &nemesis->disks[fault->a];
    struct sim_node *node = &nemesis->world->nodes[fault->a];
    uint32_t one_in = begin ? (uint32_t)fault->amount : 0;

    if (fault->kind == PLAN_SYNC_ERROR) {
        faults->fail_sync_one_in = one_in;
    } else {
        faults->fail_write_one_in = one_in;
        faults->fail_open_one_in = one_in;
    }
    set_disk(nemesis, fault->a);
    node->has_bad_disk = true;
    if (!begin) {
        sim_node_kill(node, true);
        sim_node_boot(node);
    }
}

static void rot(struct nemesis *nemesis, const struct plan_fault *fault, bool begin)
{
    struct world *world = nemesis->world;
    struct sim_node *node = &world->nodes[fault->a];
    struct ria_rand rand;

    if (!begin) {
        sim_node_boot(node);
        return;
    }
    sim_node_kill(node, false);
    node->has_bad_disk = true;
    ria_rand_init(
        &rand, world_seed(world, WORLD_RAND_ROT, (uint32_t)(fault - world->plan->faults))
    );
    for (int64_t i = 0; i < fault->amount; i++) {
        sim_disk_rot(node->disk, &rand, &world->trace);
    }
}

static void arm_disk(struct sim_node *node, const struct plan_fault *fault, bool begin)
{
    if (node->disk != NULL) {
        sim_disk_crash_at(
            node->disk, begin ? (uint64_t)fault->amount : 0, fault->kind == PLAN_POWER_AT
        );
    }
}

/* A machine that stops, or dies now or at a write or a message to come: booted when the fault ends.
 */
static void end_life(struct sim_node *node, const struct plan_fault *fault, bool begin)
{
    bool is_at_write = fault->kind == PLAN_KILL_AT || fault->kind == PLAN_POWER_AT;
    bool is_at_send = fault->kind == PLAN_KILL_SEND || fault->kind == PLAN_POWER_SEND;

    if (is_at_write) {
        arm_disk(node, fault, begin);
    } else if (is_at_send) {
        sim_node_kill_at_send(
            node, begin ? (uint64_t)fault->amount : 0, fault->kind == PLAN_POWER_SEND
        );
    } else if (begin && fault->kind == PLAN_STOP) {
        sim_node_stop(node);
    } else if (begin) {
        sim_node_kill(node, fault->kind == PLAN_POWER);
    }
    if (!begin) {
        sim_node_boot(node);
    }
}

static void apply(struct nemesis *nemesis, const struct plan_fault *fault, bool begin)
{
    struct world *world = nemesis->world;
    struct sim_node *node = &world->nodes[fault->a];

    switch (fault->kind) {
    case PLAN_PARTITION:
    case PLAN_ONE_WAY:
    case PLAN_ORPHAN:
    case PLAN_ISOLATE:
    case PLAN_MINORITY:
        block_fault(nemesis, fault, begin);
        break;
    case PLAN_RESET:
        if (begin) {
            sim_net_reset(world->net, fault->a, fault->b, fault->amount != 0);
        }
        break;
    case PLAN_SLOW_NET:
        sim_net_slow(world->net, fault->a, begin ? fault->amount : 0);
        break;
    case PLAN_DUPLICATE:
        sim_net_copy(world->net, fault->a, begin ? (uint32_t)fault->amount : 0, &world->timers);
        break;
    case PLAN_SLOW_DISK:
        slow_disk(nemesis, fault, begin);
        break;
    case PLAN_DISK_FULL:
        fill_disk(nemesis, fault, begin);
        break;
    case PLAN_IO_ERROR:
    case PLAN_SYNC_ERROR:
        break_disk(nemesis, fault, begin);
        break;
    case PLAN_ROT:
        rot(nemesis, fault, begin);
        break;
    case PLAN_CLOCK:
        node->wall_jump_ms += begin ? fault->amount : -fault->amount;
        break;
    case PLAN_KILL:
    case PLAN_POWER:
    case PLAN_KILL_AT:
    case PLAN_POWER_AT:
    case PLAN_KILL_SEND:
    case PLAN_POWER_SEND:
    case PLAN_STOP:
        end_life(node, fault, begin);
        break;
    case PLAN_PAUSE:
        node->is_paused = begin;
        break;
    case PLAN_FAULT_KIND_COUNT:
        break;
    }
}

static void on_due(struct ria_timer *timer, void *arg)
{
    struct nemesis_fault *fault = arg;
    struct nemesis *nemesis = fault->nemesis;
    struct world *world = nemesis->world;
    char text[256];

    plan_format_fault(world->plan, fault->fault, text, sizeof(text));
    trace_say(&world->trace, "fault %s: %s", fault->has_begun ? "ends" : "begins", text);
    fault->has_begun = !fault->has_begun;
    if (fault->has_begun) {
        ria_timer_start(&world->timers, timer, fault->fault->duration_us);
    }
    apply(nemesis, fault->fault, fault->has_begun);
}

/* ---- life ---- */

static void on_boot(struct ria_timer *timer, void *arg)
{
    (void)timer;
    sim_node_boot(arg);
}

void nemesis_init(struct nemesis *nemesis, struct world *world)
{
    *nemesis = (struct nemesis){.world = world};
    for (uint32_t i = 0; i < world->plan->fault_count; i++) {
        struct nemesis_fault *fault = &nemesis->faults[i];
        fault->nemesis = nemesis;
        fault->fault = &world->plan->faults[i];
        ria_timer_init(&fault->timer, on_due, fault);
    }
    for (uint32_t i = 0; i < world->node_count; i++) {
        ria_timer_init(&nemesis->boots[i], on_boot, &world->nodes[i]);
        nemesis->disks[i] = (struct ria_fs_sim_faults){
            .sync_delay_us_min = world->plan->nodes[i].sync_us_min,
            .sync_delay_us_max = world->plan->nodes[i].sync_us_max,
        };
        set_disk(nemesis, i);
    }
}

void nemesis_start(struct nemesis *nemesis)
{
    struct world *world = nemesis->world;

    for (uint32_t i = 0; i < world->node_count; i++) {
        /* Clients need not be waited for: they ask until somebody answers. */
        if (world->plan->nodes[i].role == PLAN_CLIENT) {
            sim_node_boot(&world->nodes[i]);
        } else {
            ria_timer_start(&world->timers, &nemesis->boots[i], world->plan->nodes[i].boot_us);
        }
    }
    for (uint32_t i = 0; i < world->plan->fault_count; i++) {
        ria_timer_start(&world->timers, &nemesis->faults[i].timer, world->plan->faults[i].at_us);
    }
}

void nemesis_heal(struct nemesis *nemesis)
{
    struct world *world = nemesis->world;

    trace_say(&world->trace, "the faults are over");
    for (uint32_t i = 0; i < world->plan->fault_count; i++) {
        struct nemesis_fault *fault = &nemesis->faults[i];
        ria_timer_stop(&world->timers, &fault->timer);
        if (fault->has_begun) {
            fault->has_begun = false;
            apply(nemesis, fault->fault, false);
        }
    }
    sim_net_heal(world->net);
    for (uint32_t i = 0; i < world->node_count; i++) {
        sim_node_boot(&world->nodes[i]);
    }
}
