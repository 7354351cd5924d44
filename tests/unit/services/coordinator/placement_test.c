#include "services/coordinator/placement.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/harness.h"

enum { NODES_MAX = 32 };

struct world {
    struct placement_node nodes[NODES_MAX];
    uint32_t rack_used[NODES_MAX];
    uint32_t count;
};

static void set_up(struct world *w, uint32_t count)
{
    memset(w, 0, sizeof(*w));
    w->count = count;
    for (uint32_t i = 0; i < count; i++) {
        w->nodes[i].id = (int32_t)i + 1;
    }
}

static void place_topic(struct world *w, int partitions, uint32_t replicas)
{
    struct placement placement;
    int32_t ids[RIA_REPLICAS_MAX];

    placement_init(&placement, w->nodes, w->count, w->rack_used);
    for (int i = 0; i < partitions; i++) {
        placement_next(&placement, replicas, ids);
        for (uint32_t a = 0; a < replicas; a++) {
            for (uint32_t b = 0; b < a; b++) {
                CU_ASSERT_NOT_EQUAL(ids[a], ids[b]);
            }
        }
    }
}

/* Largest difference between two nodes. */
static int64_t replica_spread(const struct world *w)
{
    int64_t low = INT64_MAX;
    int64_t high = 0;

    for (uint32_t i = 0; i < w->count; i++) {
        low = ria_min_i64(low, w->nodes[i].replicas);
        high = ria_max_i64(high, w->nodes[i].replicas);
    }
    return high - low;
}

static int64_t leader_spread(const struct world *w)
{
    int64_t low = INT64_MAX;
    int64_t high = 0;

    for (uint32_t i = 0; i < w->count; i++) {
        low = ria_min_i64(low, w->nodes[i].leaders);
        high = ria_max_i64(high, w->nodes[i].leaders);
    }
    return high - low;
}

static void leaders_rotate_when_every_node_has_a_replica(void)
{
    struct world w;

    set_up(&w, 3);
    place_topic(&w, 6, 3);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(w.nodes[i].replicas, 6);
        CU_ASSERT_EQUAL(w.nodes[i].leaders, 2);
    }
}

static void replicas_and_leaders_are_even(void)
{
    for (uint32_t nodes = 1; nodes <= 12; nodes++) {
        for (uint32_t replicas = 1; replicas <= nodes && replicas <= 5; replicas++) {
            struct world w;
            set_up(&w, nodes);
            place_topic(&w, 60, replicas);
            CU_ASSERT_TRUE(replica_spread(&w) <= 1);
            CU_ASSERT_TRUE(leader_spread(&w) <= 1);
        }
    }
}

static void many_small_topics_are_even_together(void)
{
    struct world w;

    set_up(&w, 5);
    for (int i = 0; i < 50; i++) {
        place_topic(&w, 1, 3);
    }
    CU_ASSERT_TRUE(replica_spread(&w) <= 1);
    CU_ASSERT_TRUE(leader_spread(&w) <= 1);
}

static void new_empty_node_does_not_get_a_whole_topic(void)
{
    struct world w;

    set_up(&w, 3);
    place_topic(&w, 300, 3);
    w.count = 4;
    w.nodes[3].id = 4;
    place_topic(&w, 8, 2);
    CU_ASSERT_EQUAL(w.nodes[3].topic_replicas, 4);
    CU_ASSERT_EQUAL(w.nodes[3].topic_leaders, 2);
}

static void new_empty_node_gets_the_small_topics(void)
{
    struct world w;

    set_up(&w, 3);
    place_topic(&w, 30, 1);
    w.count = 4;
    w.nodes[3].id = 4;
    for (int i = 0; i < 10; i++) {
        place_topic(&w, 1, 1);
    }
    CU_ASSERT_EQUAL(w.nodes[3].replicas, 10);
}

static void replicas_of_a_partition_are_in_different_racks(void)
{
    static const char *const racks[] = {"a", "a", "a", "a", "b", "c"};
    struct world w;
    struct placement placement;
    int32_t ids[3];

    set_up(&w, 6);
    for (int i = 0; i < 6; i++) {
        (void)snprintf(w.nodes[i].rack, sizeof(w.nodes[i].rack), "%s", racks[i]);
    }
    placement_init(&placement, w.nodes, w.count, w.rack_used);
    for (int i = 0; i < 40; i++) {
        int in_a = 0;
        placement_next(&placement, 3, ids);
        for (int k = 0; k < 3; k++) {
            in_a += ids[k] <= 4 ? 1 : 0;
        }
        CU_ASSERT_EQUAL(in_a, 1);
    }
}

static void racks_are_shared_when_there_are_too_few(void)
{
    struct world w;

    set_up(&w, 4);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(w.nodes[i].rack, sizeof(w.nodes[i].rack), "%s", i < 2 ? "a" : "b");
    }
    place_topic(&w, 20, 3);
    CU_ASSERT_TRUE(replica_spread(&w) <= 1);
}

static void unknown_racks_do_not_clash(void)
{
    struct world w;

    set_up(&w, 3);
    (void)snprintf(w.nodes[0].rack, sizeof(w.nodes[0].rack), "a");
    place_topic(&w, 30, 2);
    CU_ASSERT_TRUE(replica_spread(&w) <= 1);
}

static void same_input_same_placement(void)
{
    struct world a;
    struct world b;

    set_up(&a, 7);
    set_up(&b, 7);
    for (int i = 0; i < 10; i++) {
        place_topic(&a, 5, 3);
        place_topic(&b, 5, 3);
    }
    CU_ASSERT_EQUAL(memcmp(a.nodes, b.nodes, sizeof(a.nodes)), 0);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(leaders_rotate_when_every_node_has_a_replica),
    HARNESS_TEST(replicas_and_leaders_are_even),
    HARNESS_TEST(many_small_topics_are_even_together),
    HARNESS_TEST(new_empty_node_does_not_get_a_whole_topic),
    HARNESS_TEST(new_empty_node_gets_the_small_topics),
    HARNESS_TEST(replicas_of_a_partition_are_in_different_racks),
    HARNESS_TEST(racks_are_shared_when_there_are_too_few),
    HARNESS_TEST(unknown_racks_do_not_clash),
    HARNESS_TEST(same_input_same_placement),
};
HARNESS_MAIN(tests);
