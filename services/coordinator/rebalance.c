#include "services/coordinator/rebalance.h"

#include <string.h>

#include "common/assert.h"

enum {
    /* Chains of moves: how often the whole table is looked through again. Each pass that finds
     * nothing is the last; this only bounds the loop's time. */
    REBALANCE_PASSES_MAX = 16,

    NOBODY = -1,
};

/* ---- setting up ---- */

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* About the golden section of count, without a common divisor: consecutive steps land far apart. */
static uint32_t stride_of(uint32_t count)
{
    uint32_t stride = (uint32_t)((uint64_t)count * 618 / 1000) | 1u;

    while (gcd(stride, count) > 1) {
        stride++;
    }
    return stride;
}

uint32_t rebalance_order(const struct rebalance *plan, uint32_t step)
{
    RIA_ASSERT(step < plan->partition_count);

    return (uint32_t)((uint64_t)step * plan->stride % plan->partition_count);
}

static void number_racks(struct rebalance *plan)
{
    uint32_t racks = 0;

    for (uint32_t i = 0; i < plan->node_count; i++) {
        struct rebalance_node *node = &plan->nodes[i];
        RIA_ASSERT(i == 0 || plan->nodes[i - 1].id < node->id);
        node->rack_index = UINT32_MAX;
        for (uint32_t j = 0; j < i && node->rack[0] != '\0'; j++) {
            if (strcmp(node->rack, plan->nodes[j].rack) == 0) {
                node->rack_index = plan->nodes[j].rack_index;
                break;
            }
        }
        if (node->rack_index == UINT32_MAX) {
            node->rack_index = racks++;
        }
    }
}

static void set_up(struct rebalance *plan)
{
    RIA_ASSERT(plan->node_count <= RIA_NODES_MAX);

    number_racks(plan);
    plan->stride = stride_of(plan->partition_count);
    plan->changed = 0;
    plan->stuck = 0;
    plan->skipped = 0;
    for (uint32_t i = 0; i < plan->node_count; i++) {
        plan->nodes[i].replicas = 0;
        plan->nodes[i].leaders = 0;
        plan->nodes[i].quota = 0;
    }
    for (uint32_t i = 0; i < plan->partition_count; i++) {
        struct rebalance_partition *p = &plan->partitions[i];
        RIA_ASSERT(p->count > 0 && p->count <= RIA_REPLICAS_MAX);
        memcpy(p->target, p->replicas, p->count * sizeof(p->target[0]));
        for (uint32_t r = 0; r < p->count; r++) {
            RIA_ASSERT(p->target[r] < plan->node_count);
            plan->nodes[p->target[r]].replicas++;
        }
        plan->nodes[p->target[0]].leaders++;
    }
}

static void finish(struct rebalance *plan)
{
    for (uint32_t i = 0; i < plan->partition_count; i++) {
        struct rebalance_partition *p = &plan->partitions[i];
        p->changed = memcmp(p->target, p->replicas, p->count * sizeof(p->target[0])) != 0;
        plan->changed += p->changed ? 1 : 0;
    }
}

/* ---- what all steps share ---- */

static bool has(const struct rebalance_partition *p, uint32_t node)
{
    for (uint32_t r = 0; r < p->count; r++) {
        if (p->target[r] == node) {
            return true;
        }
    }
    return false;
}

/* Replicas of the partition in a rack; the one at `but` is not counted. */
static uint32_t
in_rack(const struct rebalance *plan, const struct rebalance_partition *p, uint32_t rack, int but)
{
    uint32_t count = 0;

    for (uint32_t r = 0; r < p->count; r++) {
        count += (int)r != but && plan->nodes[p->target[r]].rack_index == rack ? 1 : 0;
    }
    return count;
}

static void move(struct rebalance *plan, struct rebalance_partition *p, uint32_t slot, uint32_t to)
{
    uint32_t from = p->target[slot];

    p->target[slot] = (uint16_t)to;
    plan->nodes[from].replicas--;
    plan->nodes[to].replicas++;
    if (slot == 0) {
        plan->nodes[from].leaders--;
        plan->nodes[to].leaders++;
    }
}

static void prefer(struct rebalance *plan, struct rebalance_partition *p, uint32_t slot)
{
    uint16_t first = p->target[slot];

    plan->nodes[p->target[0]].leaders--;
    plan->nodes[first].leaders++;
    p->target[slot] = p->target[0];
    p->target[0] = first;
}

/* May evening out touch it? */
static bool is_free(const struct rebalance_partition *p)
{
    return p->fed && p->whole && !p->moving;
}

/* ---- emptying nodes ---- */

/* The best home for the replica at `slot`, NOBODY if there is none. */
static int
best_home(const struct rebalance *plan, const struct rebalance_partition *p, uint32_t slot)
{
    int best = NOBODY;
    uint32_t best_in_rack = 0;

    for (uint32_t i = 0; i < plan->node_count; i++) {
        const struct rebalance_node *node = &plan->nodes[i];
        if (!node->open || has(p, i)) {
            continue;
        }
        uint32_t rack = in_rack(plan, p, node->rack_index, (int)slot);
        if (best == NOBODY || rack < best_in_rack ||
            (rack == best_in_rack && node->replicas < plan->nodes[best].replicas)) {
            best = (int)i;
            best_in_rack = rack;
        }
    }
    return best;
}

/* A leader that left is followed by the replica that leads least; if that is no matter, not by the
 * one that took its place: that one has nothing yet. */
static void prefer_least_leading(struct rebalance *plan, struct rebalance_partition *p)
{
    uint32_t best = 0;
    int64_t best_leaders = INT64_MAX;

    for (uint32_t r = 1; r < p->count; r++) {
        const struct rebalance_node *node = &plan->nodes[p->target[r]];
        if (node->open && node->leaders < best_leaders) {
            best = r;
            best_leaders = node->leaders;
        }
    }
    if (best != 0 && best_leaders <= plan->nodes[p->target[0]].leaders - 1) {
        prefer(plan, p, best);
    }
}

static void empty_partition(struct rebalance *plan, struct rebalance_partition *p)
{
    bool leader_moved = false;

    for (uint32_t r = 0; r < p->count; r++) {
        if (!plan->nodes[p->target[r]].leaving) {
            continue;
        }
        int to = p->fed ? best_home(plan, p, r) : NOBODY;
        if (to == NOBODY) {
            plan->stuck++;
            continue;
        }
        move(plan, p, r, (uint32_t)to);
        leader_moved = leader_moved || r == 0;
    }
    if (leader_moved) {
        prefer_least_leading(plan, p);
    }
}

void rebalance_empty(struct rebalance *plan)
{
    set_up(plan);
    for (uint32_t i = 0; i < plan->partition_count; i++) {
        empty_partition(plan, &plan->partitions[i]);
    }
    finish(plan);
}

/* ---- evening out: racks ---- */

/* The replica that should leave its rack: of racks that hold more than one, the one on the fullest
 * node. NOBODY: each is alone in its rack. */
static int crowded_slot(const struct rebalance *plan, const struct rebalance_partition *p)
{
    int slot = NOBODY;

    for (uint32_t r = 0; r < p->count; r++) {
        const struct rebalance_node *node = &plan->nodes[p->target[r]];
        if (node->open && in_rack(plan, p, node->rack_index, NOBODY) > 1 &&
            (slot == NOBODY || node->replicas > plan->nodes[p->target[slot]].replicas)) {
            slot = (int)r;
        }
    }
    return slot;
}

static void spread_over_racks(struct rebalance *plan)
{
    for (uint32_t i = 0; i < plan->partition_count; i++) {
        struct rebalance_partition *p = &plan->partitions[i];
        int slot = is_free(p) ? crowded_slot(plan, p) : NOBODY;
        while (slot != NOBODY) {
            uint32_t rack = plan->nodes[p->target[slot]].rack_index;
            int to = best_home(plan, p, (uint32_t)slot);
            if (to == NOBODY || in_rack(plan, p, plan->nodes[to].rack_index, NOBODY) + 2 >
                                    in_rack(plan, p, rack, NOBODY)) {
                break;
            }
            move(plan, p, (uint32_t)slot, (uint32_t)to);
            slot = crowded_slot(plan, p);
        }
    }
}

/* ---- evening out: replicas, leaders ---- */

/* What is evened out: one of the two counters of a node. */
typedef int64_t (*load_fn)(const struct rebalance_node *node);

static int64_t load_replicas(const struct rebalance_node *node)
{
    return node->replicas;
}

static int64_t load_leaders(const struct rebalance_node *node)
{
    return node->leaders;
}

/* An even share of the load for every open node; what does not divide stays where most is, so that
 * as little as possible moves. */
static void set_quotas(struct rebalance *plan, load_fn load)
{
    int64_t total = 0;
    int64_t open = 0;

    for (uint32_t i = 0; i < plan->node_count; i++) {
        total += plan->nodes[i].open ? load(&plan->nodes[i]) : 0;
        open += plan->nodes[i].open ? 1 : 0;
    }
    for (uint32_t i = 0; i < plan->node_count && open > 0; i++) {
        struct rebalance_node *node = &plan->nodes[i];
        int64_t before = 0; /* open nodes that have more, or as much and a smaller id */
        for (uint32_t j = 0; j < plan->node_count; j++) {
            const struct rebalance_node *other = &plan->nodes[j];
            bool more = load(other) > load(node) || (load(other) == load(node) && j < i);
            before += other->open && more ? 1 : 0;
        }
        node->quota = total / open + (before < total % open ? 1 : 0);
    }
}

/* Greatest difference between two open nodes. */
static int64_t spread(const struct rebalance *plan, load_fn load)
{
    int64_t least = INT64_MAX;
    int64_t most = INT64_MIN;

    for (uint32_t i = 0; i < plan->node_count; i++) {
        if (plan->nodes[i].open) {
            least = ria_min_i64(least, load(&plan->nodes[i]));
            most = ria_max_i64(most, load(&plan->nodes[i]));
        }
    }
    return most > least ? most - least : 0;
}

/* May load go from one node to the other? Direct: one has more than its share and the other less.
 * Else any step down: chains of those get around what bars the direct way. */
static bool is_step_down(
    const struct rebalance_node *from, const struct rebalance_node *to, load_fn load, bool direct
)
{
    if (direct) {
        return load(from) > from->quota && load(to) < to->quota;
    }
    return load(from) - load(to) >= 2;
}

/* The emptiest open node that the replica at `slot` may go to, racks not becoming worse. */
static int emptier_home(
    const struct rebalance *plan, const struct rebalance_partition *p, uint32_t slot, bool direct
)
{
    int best = NOBODY;
    const struct rebalance_node *from = &plan->nodes[p->target[slot]];
    uint32_t from_rack = in_rack(plan, p, from->rack_index, NOBODY);

    for (uint32_t i = 0; i < plan->node_count; i++) {
        const struct rebalance_node *to = &plan->nodes[i];
        if (!to->open || !is_step_down(from, to, load_replicas, direct) ||
            (best != NOBODY && to->replicas >= plan->nodes[best].replicas) || has(p, i)) {
            continue;
        }
        if (to->rack_index == from->rack_index ||
            in_rack(plan, p, to->rack_index, NOBODY) < from_rack) {
            best = (int)i;
        }
    }
    return best;
}

static uint32_t pass_replicas(struct rebalance *plan, bool direct)
{
    uint32_t moves = 0;

    for (uint32_t step = 0; step < plan->partition_count; step++) {
        struct rebalance_partition *p = &plan->partitions[rebalance_order(plan, step)];
        for (uint32_t r = 0; is_free(p) && r < p->count; r++) {
            const struct rebalance_node *from = &plan->nodes[p->target[r]];
            if (!from->open || (direct && from->replicas <= from->quota)) {
                continue;
            }
            int to = emptier_home(plan, p, r, direct);
            if (to != NOBODY) {
                move(plan, p, r, (uint32_t)to);
                moves++;
            }
        }
    }
    return moves;
}

static uint32_t pass_leaders(struct rebalance *plan, bool direct)
{
    uint32_t moves = 0;

    for (uint32_t step = 0; step < plan->partition_count; step++) {
        struct rebalance_partition *p = &plan->partitions[rebalance_order(plan, step)];
        const struct rebalance_node *from = &plan->nodes[p->target[0]];
        int best = NOBODY;
        for (uint32_t r = 1; is_free(p) && from->open && r < p->count; r++) {
            const struct rebalance_node *to = &plan->nodes[p->target[r]];
            if (to->open && is_step_down(from, to, load_leaders, direct) &&
                (best == NOBODY || to->leaders < plan->nodes[p->target[best]].leaders)) {
                best = (int)r;
            }
        }
        if (best != NOBODY) {
            prefer(plan, p, (uint32_t)best);
            moves++;
        }
    }
    return moves;
}

static void
even(struct rebalance *plan, load_fn load, uint32_t (*pass)(struct rebalance *plan, bool direct))
{
    set_quotas(plan, load);
    if (spread(plan, load) >= 2) {
        (void)pass(plan, true);
    }
    for (int i = 0; i < REBALANCE_PASSES_MAX && spread(plan, load) >= 2; i++) {
        if (pass(plan, false) == 0) {
            break;
        }
    }
}

void rebalance_even_out(struct rebalance *plan)
{
    set_up(plan);
    for (uint32_t i = 0; i < plan->partition_count; i++) {
        plan->skipped += !plan->partitions[i].moving && !is_free(&plan->partitions[i]) ? 1 : 0;
    }
    spread_over_racks(plan);
    even(plan, load_replicas, pass_replicas);
    even(plan, load_leaders, pass_leaders);
    finish(plan);
}
