#include "services/coordinator/rebalance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/lib/harness.h"

enum { NODES_MAX = 128, PARTITIONS_MAX = 10000 };

struct world {
    struct rebalance_node nodes[NODES_MAX];
    struct rebalance_partition *partitions;
    struct rebalance plan;
};

static void set_up(struct world *w, uint32_t nodes)
{
    memset(w, 0, sizeof(*w));
    w->partitions = calloc(PARTITIONS_MAX, sizeof(*w->partitions));
    CU_ASSERT_PTR_NOT_NULL_FATAL(w->partitions);
    w->plan.nodes = w->nodes;
    w->plan.node_count = nodes;
    w->plan.partitions = w->partitions;
    for (uint32_t i = 0; i < nodes; i++) {
        w->nodes[i].id = (int32_t)i + 1;
        w->nodes[i].open = true;
    }
}

static void tear_down(struct world *w)
{
    free(w->partitions);
}

/* Nodes by index; ends at the first that is repeated by convention -1. */
static struct rebalance_partition *add(struct world *w, uint32_t count, const int *nodes)
{
    struct rebalance_partition *p = &w->partitions[w->plan.partition_count++];

    *p = (struct rebalance_partition){.fed = true, .whole = true, .count = (uint8_t)count};
    for (uint32_t r = 0; r < count; r++) {
        p->replicas[r] = (uint16_t)nodes[r];
    }
    return p;
}

static void racks(struct world *w, const char *names)
{
    for (uint32_t i = 0; i < w->plan.node_count; i++) {
        w->nodes[i].rack[0] = names[i];
    }
}

static void drain(struct world *w, uint32_t node)
{
    w->nodes[node].open = false;
    w->nodes[node].leaving = true;
}

/* Replicas in new places, in all partitions. */
static uint32_t moved(const struct world *w)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < w->plan.partition_count; i++) {
        const struct rebalance_partition *p = &w->partitions[i];
        for (uint32_t r = 0; r < p->count; r++) {
            bool kept = false;
            for (uint32_t k = 0; k < p->count; k++) {
                kept = kept || p->replicas[k] == p->target[r];
            }
            count += kept ? 0 : 1;
        }
    }
    return count;
}

static int64_t spread(const struct world *w, bool of_leaders)
{
    int64_t low = INT64_MAX;
    int64_t high = 0;

    for (uint32_t i = 0; i < w->plan.node_count; i++) {
        const struct rebalance_node *node = &w->nodes[i];
        if (node->open) {
            low = ria_min_i64(low, of_leaders ? node->leaders : node->replicas);
            high = ria_max_i64(high, of_leaders ? node->leaders : node->replicas);
        }
    }
    return high - low;
}

/* The rules that no plan breaks. Returns false on the first that is broken. */
static bool is_sound(const struct world *w)
{
    int64_t replicas[NODES_MAX] = {0};
    int64_t leaders[NODES_MAX] = {0};

    for (uint32_t i = 0; i < w->plan.partition_count; i++) {
        const struct rebalance_partition *p = &w->partitions[i];
        leaders[p->target[0]]++;
        for (uint32_t r = 0; r < p->count; r++) {
            bool kept = false;
            replicas[p->target[r]]++;
            for (uint32_t k = 0; k < p->count; k++) {
                kept = kept || p->replicas[k] == p->target[r];
                if (k != r && p->target[k] == p->target[r]) {
                    return false; /* twice on one node */
                }
            }
            if (!kept && !w->nodes[p->target[r]].open) {
                return false; /* onto a node that takes nothing */
            }
        }
        if (p->changed != (memcmp(p->target, p->replicas, p->count * sizeof(p->target[0])) != 0)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < w->plan.node_count; i++) {
        if (replicas[i] != w->nodes[i].replicas || leaders[i] != w->nodes[i].leaders) {
            return false;
        }
    }
    return true;
}

/* Replicas that an even spread over the open nodes cannot leave where they are. */
static uint32_t least_moves(const struct world *w)
{
    int64_t load[NODES_MAX] = {0};
    int64_t total = 0;
    int64_t over = 0;
    int64_t above = 0; /* nodes with more than the floor */
    int64_t open = w->plan.node_count;

    for (uint32_t i = 0; i < w->plan.partition_count; i++) {
        for (uint32_t r = 0; r < w->partitions[i].count; r++) {
            load[w->partitions[i].replicas[r]]++;
            total++;
        }
    }
    for (uint32_t i = 0; i < w->plan.node_count; i++) {
        over += ria_max_i64(load[i] - total / open, 0);
        above += load[i] > total / open ? 1 : 0;
    }
    return (uint32_t)(over - ria_min_i64(above, total % open));
}

/* ---- evening out ---- */

/* Every cluster of up to 4 nodes and 4 partitions with 1..3 replicas. */
static void every_small_cluster_becomes_even_with_the_fewest_moves(void)
{
    struct world w;
    uint32_t clusters = 0;
    uint32_t broken = 0;

    for (uint32_t nodes = 1; nodes <= 4; nodes++) {
        for (uint32_t replicas = 1; replicas <= 3 && replicas <= nodes; replicas++) {
            uint32_t partitions = replicas == 3 ? 3 : 4;
            int lists[24][3];
            uint32_t list_count = 0;
            uint32_t all = 1;
            for (uint32_t code = 0; code < nodes * nodes * nodes; code++) {
                int list[3] = {
                    (int)(code % nodes), (int)(code / nodes % nodes), (int)(code / nodes / nodes)};
                bool distinct = (replicas < 2 || list[0] != list[1]) &&
                                (replicas < 3 || (list[0] != list[2] && list[1] != list[2]));
                if (distinct && (replicas > 1 || list[1] == 0) && (replicas > 2 || list[2] == 0)) {
                    memcpy(lists[list_count++], list, sizeof(list));
                }
            }
            for (uint32_t i = 0; i < partitions; i++) {
                all *= list_count;
            }
            set_up(&w, nodes);
            for (uint32_t code = 0; code < all; code++) {
                uint32_t rest = code;
                w.plan.partition_count = 0;
                for (uint32_t i = 0; i < partitions; i++, rest /= list_count) {
                    (void)add(&w, replicas, lists[rest % list_count]);
                }
                rebalance_even_out(&w.plan);
                clusters++;
                broken += !is_sound(&w) || spread(&w, false) > 1 || moved(&w) != least_moves(&w);
            }
            tear_down(&w);
        }
    }
    CU_ASSERT_TRUE(clusters > 30000);
    CU_ASSERT_EQUAL(broken, 0);
}

static void an_even_cluster_stays_as_it_is(void)
{
    struct world w;

    set_up(&w, 3);
    for (int i = 0; i < 30; i++) {
        (void)add(&w, 3, (int[]){i % 3, (i + 1) % 3, (i + 2) % 3});
    }
    rebalance_even_out(&w.plan);
    CU_ASSERT_EQUAL(w.plan.changed, 0);
    CU_ASSERT_TRUE(is_sound(&w));
    tear_down(&w);
}

static void a_new_node_gets_its_share_and_no_more_moves(void)
{
    struct world w;

    set_up(&w, 4);
    for (int i = 0; i < 40; i++) {
        (void)add(&w, 3, (int[]){i % 3, (i + 1) % 3, (i + 2) % 3});
    }
    rebalance_even_out(&w.plan);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_EQUAL(w.nodes[3].replicas, 30);
    CU_ASSERT_EQUAL(moved(&w), 30);
    CU_ASSERT_TRUE(spread(&w, false) <= 1);
    CU_ASSERT_TRUE(spread(&w, true) <= 1);
    tear_down(&w);
}

static void the_new_nodes_share_comes_from_all_topics(void)
{
    struct world w;
    uint32_t taken[4] = {0};

    set_up(&w, 4);
    for (int i = 0; i < 400; i++) {
        (void)add(&w, 3, (int[]){i % 3, (i + 1) % 3, (i + 2) % 3});
    }
    rebalance_even_out(&w.plan);
    for (int i = 0; i < 400; i++) {
        for (uint32_t r = 0; r < 3; r++) {
            taken[i / 100] += w.partitions[i].target[r] == 3 ? 1 : 0;
        }
    }
    for (int i = 0; i < 4; i++) { /* each hundred is a topic: 75 would be exact */
        CU_ASSERT_TRUE(taken[i] >= 60 && taken[i] <= 90);
    }
    tear_down(&w);
}

static void leaders_are_evened_without_moving_data(void)
{
    struct world w;

    set_up(&w, 3);
    for (int i = 0; i < 30; i++) {
        (void)add(&w, 3, (int[]){0, 1, 2});
    }
    rebalance_even_out(&w.plan);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_EQUAL(moved(&w), 0);
    CU_ASSERT_EQUAL(w.plan.changed, 20);
    CU_ASSERT_EQUAL(spread(&w, true), 0);
    tear_down(&w);
}

/* 0 leads too much, 2 too little, no partition has both: it goes around over 1. */
static void leaders_are_evened_in_chains(void)
{
    struct world w;

    set_up(&w, 3);
    for (int i = 0; i < 12; i++) {
        (void)add(&w, 2, i < 6 ? (int[]){0, 1} : (int[]){1, 2});
        w.partitions[i].whole = true;
    }
    for (int i = 0; i < 6; i++) {
        (void)add(&w, 2, (int[]){0, 1});
    }
    rebalance_even_out(&w.plan);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_TRUE(spread(&w, true) <= 1);
    tear_down(&w);
}

static void what_moves_or_is_not_in_sync_is_left_alone(void)
{
    struct world w;

    set_up(&w, 2);
    for (int i = 0; i < 8; i++) {
        struct rebalance_partition *p = add(&w, 1, (int[]){0});
        p->moving = i == 0;
        p->whole = i != 1;
        p->fed = i != 2;
    }
    rebalance_even_out(&w.plan);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_EQUAL(w.nodes[1].replicas, 4);
    CU_ASSERT_EQUAL(w.plan.skipped, 2);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_FALSE(w.partitions[i].changed);
    }
    tear_down(&w);
}

static void nothing_goes_to_or_leaves_a_fenced_node(void)
{
    struct world w;

    set_up(&w, 3);
    w.nodes[2].open = false; /* silent: it may be back soon */
    for (int i = 0; i < 8; i++) {
        (void)add(&w, 1, i < 6 ? (int[]){0} : (int[]){2});
    }
    rebalance_even_out(&w.plan);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_EQUAL(w.nodes[0].replicas, 3);
    CU_ASSERT_EQUAL(w.nodes[1].replicas, 3);
    CU_ASSERT_EQUAL(w.nodes[2].replicas, 2);
    tear_down(&w);
}

static void a_cluster_without_open_nodes_is_left_alone(void)
{
    struct world w;

    set_up(&w, 2);
    w.nodes[0].open = false;
    drain(&w, 1);
    (void)add(&w, 1, (int[]){0});
    (void)add(&w, 1, (int[]){1});
    rebalance_even_out(&w.plan);
    CU_ASSERT_EQUAL(w.plan.changed, 0);
    rebalance_empty(&w.plan);
    CU_ASSERT_EQUAL(w.plan.changed, 0);
    CU_ASSERT_EQUAL(w.plan.stuck, 1);
    w.plan.partition_count = 0;
    rebalance_even_out(&w.plan);
    CU_ASSERT_EQUAL(w.plan.changed, 0);
    tear_down(&w);
}

/* ---- racks ---- */

static bool every_partition_is_in_racks(const struct world *w, uint32_t racks_wanted)
{
    for (uint32_t i = 0; i < w->plan.partition_count; i++) {
        const struct rebalance_partition *p = &w->partitions[i];
        uint64_t seen = 0;
        for (uint32_t r = 0; r < p->count; r++) {
            seen |= UINT64_C(1) << w->nodes[p->target[r]].rack_index;
        }
        if ((uint32_t)__builtin_popcountll(seen) != racks_wanted) {
            return false;
        }
    }
    return true;
}

static void replicas_in_one_rack_are_spread_over_racks(void)
{
    struct world w;

    set_up(&w, 6);
    racks(&w, "aabbcc");
    for (int i = 0; i < 12; i++) {
        (void)add(&w, 3, i % 2 == 0 ? (int[]){0, 1, 2} : (int[]){2, 3, 0});
    }
    rebalance_even_out(&w.plan);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_TRUE(every_partition_is_in_racks(&w, 3));
    CU_ASSERT_TRUE(spread(&w, false) <= 1);
    tear_down(&w);
}

static void evening_out_never_worsens_racks(void)
{
    struct world w;

    set_up(&w, 3); /* rack a has one node: it must keep one replica of everything */
    racks(&w, "abb");
    for (int i = 0; i < 20; i++) {
        (void)add(&w, 2, (int[]){0, 1});
    }
    rebalance_even_out(&w.plan);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_TRUE(every_partition_is_in_racks(&w, 2));
    CU_ASSERT_EQUAL(w.nodes[0].replicas, 20);
    CU_ASSERT_EQUAL(w.nodes[1].replicas, 10);
    CU_ASSERT_EQUAL(w.nodes[2].replicas, 10);
    tear_down(&w);
}

static void emptying_a_node_keeps_racks_apart(void)
{
    struct world w;

    set_up(&w, 6);
    racks(&w, "aabbcc");
    for (int i = 0; i < 30; i++) {
        (void)add(&w, 3, (int[]){i % 2, 2 + i % 2, 4 + i % 2});
    }
    drain(&w, 0);
    rebalance_empty(&w.plan);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_TRUE(every_partition_is_in_racks(&w, 3));
    CU_ASSERT_EQUAL(w.nodes[0].replicas, 0);
    CU_ASSERT_EQUAL(w.nodes[1].replicas, 30);
    tear_down(&w);
}

/* ---- emptying ---- */

static void emptying_moves_only_what_is_on_the_node_and_spreads_it(void)
{
    struct world w;

    set_up(&w, 5);
    for (int i = 0; i < 50; i++) {
        (void)add(&w, 3, (int[]){i % 5, (i + 1) % 5, (i + 2) % 5});
    }
    drain(&w, 4);
    rebalance_empty(&w.plan);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_EQUAL(w.nodes[4].replicas, 0);
    CU_ASSERT_EQUAL(w.nodes[4].leaders, 0);
    CU_ASSERT_EQUAL(moved(&w), 30);
    CU_ASSERT_EQUAL(w.plan.stuck, 0);
    CU_ASSERT_TRUE(spread(&w, false) <= 4);
    CU_ASSERT_TRUE(spread(&w, true) <= 4);
    tear_down(&w);
}

static void too_few_nodes_leave_replicas_stuck(void)
{
    struct world w;

    set_up(&w, 3);
    for (int i = 0; i < 5; i++) {
        (void)add(&w, 3, (int[]){0, 1, 2});
    }
    drain(&w, 2);
    rebalance_empty(&w.plan);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_EQUAL(w.plan.changed, 0);
    CU_ASSERT_EQUAL(w.plan.stuck, 5);
    tear_down(&w);
}

static void a_partition_that_nobody_leads_is_stuck(void)
{
    struct world w;

    set_up(&w, 3);
    add(&w, 1, (int[]){0})->fed = false;
    (void)add(&w, 1, (int[]){0});
    drain(&w, 0);
    rebalance_empty(&w.plan);
    CU_ASSERT_EQUAL(w.plan.changed, 1);
    CU_ASSERT_EQUAL(w.plan.stuck, 1);
    tear_down(&w);
}

static void a_move_to_a_node_that_now_leaves_is_sent_elsewhere(void)
{
    struct world w;

    set_up(&w, 4);
    add(&w, 2, (int[]){0, 1})->moving = true; /* replicas are its target */
    drain(&w, 1);
    rebalance_empty(&w.plan);
    CU_ASSERT_TRUE(w.partitions[0].changed);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_EQUAL(w.nodes[1].replicas, 0);
    tear_down(&w);
}

static void two_leaving_nodes_are_emptied_together(void)
{
    struct world w;

    set_up(&w, 5);
    for (int i = 0; i < 10; i++) {
        (void)add(&w, 3, (int[]){0, 1, 2 + i % 3});
    }
    drain(&w, 0);
    drain(&w, 1);
    rebalance_empty(&w.plan);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_EQUAL(w.nodes[0].replicas + w.nodes[1].replicas, 0);
    CU_ASSERT_EQUAL(w.plan.stuck, 0);
    tear_down(&w);
}

/* ---- plans one after the other, at random ---- */

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static void randomise(struct world *w, uint64_t *state)
{
    uint32_t nodes = 1 + (uint32_t)(next_random(state) % 9);
    uint32_t partitions = (uint32_t)(next_random(state) % 60);

    set_up(w, nodes);
    for (uint32_t i = 0; i < nodes; i++) {
        w->nodes[i].rack[0] = (char)("\0abc"[next_random(state) % 4]);
        w->nodes[i].open = next_random(state) % 5 != 0;
        w->nodes[i].leaving = !w->nodes[i].open && next_random(state) % 2 == 0;
    }
    for (uint32_t i = 0; i < partitions; i++) {
        int list[RIA_REPLICAS_MAX];
        uint32_t count = 1 + (uint32_t)(next_random(state) % (nodes < 3 ? nodes : 3));
        uint32_t first = (uint32_t)(next_random(state) % nodes);
        uint32_t step = 1 + (uint32_t)(next_random(state) % 2);
        for (uint32_t r = 0; r < count; r++) {
            list[r] = (int)((first + (nodes % 2 == 1 && nodes > 2 ? r * step : r)) % nodes);
        }
        struct rebalance_partition *p = add(w, count, list);
        p->fed = next_random(state) % 10 != 0;
        p->whole = next_random(state) % 6 != 0;
        p->moving = next_random(state) % 8 == 0;
    }
}

/* Carry out at most `max` partitions of the plan. Returns how many. */
static uint32_t carry_out(struct world *w, uint32_t max)
{
    uint32_t done = 0;

    for (uint32_t step = 0; step < w->plan.partition_count && done < max; step++) {
        struct rebalance_partition *p = &w->partitions[rebalance_order(&w->plan, step)];
        if (p->changed) {
            memcpy(p->replicas, p->target, sizeof(p->replicas));
            done++;
        }
    }
    return done;
}

/* What the coordinator does: a part of the plan, then a new plan. It must come to an end, and at
 * the end nothing is left that a plan would change. */
static void plans_carried_out_in_pieces_come_to_an_end(void)
{
    uint64_t state = 1;
    uint32_t endless = 0;
    uint32_t broken = 0;
    struct world w;

    for (int round = 0; round < 2000; round++) {
        randomise(&w, &state);
        uint32_t piece = 1 + (uint32_t)(next_random(&state) % 7);
        uint32_t rounds = 0;
        rebalance_empty(&w.plan);
        broken += !is_sound(&w);
        (void)carry_out(&w, UINT32_MAX);
        rebalance_empty(&w.plan);
        broken += w.plan.changed != 0; /* one plan empties all that can be emptied */
        do {
            rebalance_even_out(&w.plan);
            broken += !is_sound(&w);
            rounds++;
        } while (carry_out(&w, piece) > 0 && rounds < 1000);
        endless += rounds >= 1000;
        tear_down(&w);
    }
    CU_ASSERT_EQUAL(broken, 0);
    CU_ASSERT_EQUAL(endless, 0);
}

static void equal_input_gives_an_equal_plan(void)
{
    uint64_t state = 7;
    uint64_t again = 7;
    struct world a;
    struct world b;

    for (int round = 0; round < 100; round++) {
        randomise(&a, &state);
        randomise(&b, &again);
        rebalance_even_out(&a.plan);
        rebalance_even_out(&b.plan);
        size_t size = a.plan.partition_count * sizeof(*a.partitions);
        CU_ASSERT_EQUAL(a.plan.partition_count, b.plan.partition_count);
        CU_ASSERT_EQUAL(memcmp(a.partitions, b.partitions, size), 0);
        tear_down(&a);
        tear_down(&b);
    }
}

static void every_partition_comes_once_in_the_order(void)
{
    struct world w;
    uint8_t seen[1000];

    set_up(&w, 1);
    for (uint32_t count = 1; count <= 1000; count += 37) {
        w.plan.partition_count = 0;
        memset(seen, 0, sizeof(seen));
        for (uint32_t i = 0; i < count; i++) {
            (void)add(&w, 1, (int[]){0});
        }
        rebalance_empty(&w.plan);
        for (uint32_t i = 0; i < count; i++) {
            seen[rebalance_order(&w.plan, i)]++;
        }
        for (uint32_t i = 0; i < count; i++) {
            CU_ASSERT_EQUAL(seen[i], 1);
        }
    }
    tear_down(&w);
}

static double plan_ms(struct world *w, void (*make)(struct rebalance *plan))
{
    struct timespec from;
    struct timespec to;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    make(&w->plan);
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    return (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
}

/* CPU time, ten times the design's bound: sanitizers are slow. The figure is printed. */
static void ten_thousand_partitions_are_planned_in_time(void)
{
    struct world w;

    set_up(&w, 101);
    for (int i = 0; i < PARTITIONS_MAX; i++) {
        (void)add(&w, 3, (int[]){i % 100, (i + 1) % 100, (i + 2) % 100});
    }
    double even_ms = plan_ms(&w, rebalance_even_out);
    CU_ASSERT_TRUE(is_sound(&w));
    CU_ASSERT_TRUE(spread(&w, false) <= 1);
    CU_ASSERT_TRUE(spread(&w, true) <= 1);
    drain(&w, 50);
    double empty_ms = plan_ms(&w, rebalance_empty);
    CU_ASSERT_EQUAL(w.nodes[50].replicas, 0);
    (void)printf("  even out %.1f ms, empty %.1f ms of CPU\n", even_ms, empty_ms);
    CU_ASSERT_TRUE(even_ms < 1000);
    CU_ASSERT_TRUE(empty_ms < 1000);
    tear_down(&w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(every_small_cluster_becomes_even_with_the_fewest_moves),
    HARNESS_TEST(an_even_cluster_stays_as_it_is),
    HARNESS_TEST(a_new_node_gets_its_share_and_no_more_moves),
    HARNESS_TEST(the_new_nodes_share_comes_from_all_topics),
    HARNESS_TEST(leaders_are_evened_without_moving_data),
    HARNESS_TEST(leaders_are_evened_in_chains),
    HARNESS_TEST(what_moves_or_is_not_in_sync_is_left_alone),
    HARNESS_TEST(nothing_goes_to_or_leaves_a_fenced_node),
    HARNESS_TEST(a_cluster_without_open_nodes_is_left_alone),
    HARNESS_TEST(replicas_in_one_rack_are_spread_over_racks),
    HARNESS_TEST(evening_out_never_worsens_racks),
    HARNESS_TEST(emptying_a_node_keeps_racks_apart),
    HARNESS_TEST(emptying_moves_only_what_is_on_the_node_and_spreads_it),
    HARNESS_TEST(too_few_nodes_leave_replicas_stuck),
    HARNESS_TEST(a_partition_that_nobody_leads_is_stuck),
    HARNESS_TEST(a_move_to_a_node_that_now_leaves_is_sent_elsewhere),
    HARNESS_TEST(two_leaving_nodes_are_emptied_together),
    HARNESS_TEST(plans_carried_out_in_pieces_come_to_an_end),
    HARNESS_TEST(equal_input_gives_an_equal_plan),
    HARNESS_TEST(every_partition_comes_once_in_the_order),
    HARNESS_TEST(ten_thousand_partitions_are_planned_in_time),
};

HARNESS_MAIN(tests);
