/* Receives that are repeated, since their answer was lost. */
#include "services/coordinator/queue_reads.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/queue_fixture.h"

/* Ids of two gateways. */
#define FIRST_ID  ((INT64_C(5) << QUEUE_READ_BITS) + 1)
#define SECOND_ID ((INT64_C(9) << QUEUE_READ_BITS) + 1)

static void set_up(struct queue_world *w, int32_t partitions, int64_t end)
{
    queue_world_open(w, partitions);
    for (int32_t i = 0; i < partitions; i++) {
        w->ends[i] = end;
    }
    w->read_id = FIRST_ID;
}

static void set_group(struct queue_world *w, bool key_order, int32_t deliveries_max)
{
    struct queue_open settings = queue_world_settings(w);

    settings.key_order = key_order;
    settings.deliveries_max = deliveries_max;
    settings.dead_topic = RIA_SLICE_LITERAL("dead");
    CU_ASSERT_EQUAL(queue_world_set(w, &settings), RIA_OK);
}

static bool receives(struct queue_world *w, int32_t records, const char *wanted)
{
    CU_ASSERT_EQUAL(queue_world_receive(w, records), RIA_OK);
    return queue_world_granted(w, wanted);
}

static int64_t count_reads(struct queue_world *w, int64_t read_id)
{
    int64_t count = 0;
    struct meta_stmt *stmt = meta_query(w->m.db, META_QUEUE_READ_GET);

    meta_bind_int(stmt, 1, queue_world_row(w, 0).group_id);
    meta_bind_int(stmt, 2, read_id);
    while (meta_step(stmt)) {
        count++;
    }
    meta_done(stmt);
    return count;
}

static void a_repeated_receive_is_granted_what_it_had(void)
{
    struct queue_world w;

    set_up(&w, 1, 100);
    CU_ASSERT_TRUE(receives(&w, 5, "0:0-4#1"));
    int64_t lease = queue_world_lease(&w);
    w.m.lease_ms += 1000;
    CU_ASSERT_TRUE(receives(&w, 5, "0:0-4#1"));
    CU_ASSERT_EQUAL(queue_world_lease(&w), lease);
    CU_ASSERT_EQUAL(w.received.granted[0].left_ms, QUEUE_LOCK - 1000);
    CU_ASSERT_EQUAL(w.received.retry_after_ms, 0); /* it is full */
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-4"));
    w.read_id++;
    CU_ASSERT_TRUE(receives(&w, 5, "0:5-9#1"));
    w.read_id = 0; /* nobody says that it is the same */
    CU_ASSERT_TRUE(receives(&w, 5, "0:10-14#1"));
    CU_ASSERT_TRUE(receives(&w, 5, "0:15-19#1"));
    queue_world_close(&w);
}

static void what_it_had_comes_first_and_then_what_is_new(void)
{
    struct queue_world w;

    set_up(&w, 2, 3);
    CU_ASSERT_EQUAL(queue_world_receive(&w, 10), RIA_OK);
    CU_ASSERT_EQUAL(w.received.granted_count, 2);
    int64_t lease = queue_world_lease(&w);
    w.ends[0] = 5;
    CU_ASSERT_TRUE(receives(&w, 10, "0:0-2#1 1:0-2#1 0:3-4#1"));
    CU_ASSERT_EQUAL(w.received.granted[0].lease_id, lease);
    CU_ASSERT_EQUAL(w.received.granted[1].lease_id, lease);
    CU_ASSERT_NOT_EQUAL(w.received.granted[2].lease_id, lease);
    CU_ASSERT_TRUE(receives(&w, 10, "0:0-2#1 0:3-4#1 1:0-2#1"));
    queue_world_close(&w);
}

/* The second lease of the receive lies among the records of the first. */
static void leases_of_one_receive_may_lie_among_each_other(void)
{
    struct queue_world w;

    set_up(&w, 1, 10);
    w.read_id = 0;
    CU_ASSERT_TRUE(receives(&w, 10, "0:0-9#1"));
    int64_t lease = queue_world_lease(&w);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 2, 2, QUEUE_GIVE_BACK, -1), RIA_OK);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 7, 7, QUEUE_GIVE_BACK, -1), RIA_OK);
    w.read_id = FIRST_ID;
    CU_ASSERT_TRUE(receives(&w, 5, "0:2-2#1 0:7-7#1"));
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 4, 4, QUEUE_GIVE_BACK, -1), RIA_OK);
    CU_ASSERT_TRUE(receives(&w, 5, "0:2-2#1 0:7-7#1 0:4-4#1"));
    CU_ASSERT_TRUE(receives(&w, 5, "0:2-2#1 0:4-4#1 0:7-7#1"));
    queue_world_close(&w);
}

static void only_what_is_still_its_own_is_granted_again(void)
{
    struct queue_world w;

    set_up(&w, 1, 10);
    CU_ASSERT_TRUE(receives(&w, 6, "0:0-5#1"));
    int64_t lease = queue_world_lease(&w);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 2, 3, QUEUE_ACK, -1), RIA_OK);
    CU_ASSERT_TRUE(receives(&w, 4, "0:0-1#1 0:4-5#1"));
    w.m.lease_ms += QUEUE_LOCK;
    CU_ASSERT_TRUE(receives(&w, 4, "0:0-1#2 0:4-5#2")); /* it was over: another delivery */
    CU_ASSERT_NOT_EQUAL(queue_world_lease(&w), lease);
    CU_ASSERT_TRUE(receives(&w, 4, "0:0-1#2 0:4-5#2"));
    queue_world_close(&w);
}

static void a_lease_that_is_not_settled_is_granted_again(void)
{
    struct queue_world w;

    set_up(&w, 1, 10);
    set_group(&w, true, 16);
    w.look_ahead = 3;
    CU_ASSERT_TRUE(receives(&w, 2, "0:0-4#1u"));
    int64_t lease = queue_world_lease(&w);
    CU_ASSERT_TRUE(receives(&w, 2, "0:0-4#1u"));
    CU_ASSERT_EQUAL(queue_world_lease(&w), lease);
    CU_ASSERT_EQUAL(queue_world_settle(&w, 0, lease, 0, "abcde", 0), RIA_OK);
    CU_ASSERT_TRUE(queue_world_settled(&w, "hhhhh"));
    w.read_id = SECOND_ID;
    CU_ASSERT_TRUE(receives(&w, 2, "0:5-9#1u"));
    queue_world_close(&w);
}

static void the_dead_are_handed_over_again(void)
{
    struct queue_world w;

    set_up(&w, 1, 4);
    set_group(&w, false, 1);
    w.dead_max = 10;
    CU_ASSERT_TRUE(receives(&w, 4, "0:0-3#1"));
    CU_ASSERT_EQUAL(queue_world_reject(&w, queue_world_lease(&w), 1, 2, "bad"), RIA_OK);
    w.read_id = SECOND_ID;
    CU_ASSERT_TRUE(receives(&w, 4, ""));
    CU_ASSERT_TRUE(queue_world_dead(&w, "0:1-2#1"));
    int64_t lease = queue_world_lease(&w);
    CU_ASSERT_TRUE(receives(&w, 4, ""));
    CU_ASSERT_TRUE(queue_world_dead(&w, "0:1-2#1"));
    CU_ASSERT_EQUAL(queue_world_lease(&w), lease);
    CU_ASSERT_TRUE(ria_slice_equal(w.received.dead[0].reason, RIA_SLICE_LITERAL("bad")));
    w.read_id++;
    CU_ASSERT_TRUE(receives(&w, 4, ""));
    CU_ASSERT_TRUE(queue_world_dead(&w, ""));
    queue_world_close(&w);
}

/* Receives of the second gateway that lease one record each. */
static void go_on(struct queue_world *w, int64_t leases)
{
    w->read_id = SECOND_ID;
    w->heard_below = 0;
    for (int64_t i = 0; i < leases; i++, w->read_id++) {
        CU_ASSERT_EQUAL(queue_world_receive(w, 1), RIA_OK);
        CU_ASSERT_EQUAL(w->received.granted_count, 1);
    }
}

static void what_its_gateway_has_heard_is_forgotten(void)
{
    struct queue_world w;

    set_up(&w, 1, 1000000);
    CU_ASSERT_TRUE(receives(&w, 1, "0:0-0#1"));
    w.read_id++;
    CU_ASSERT_TRUE(receives(&w, 1, "0:1-1#1"));
    go_on(&w, QUEUE_READS_HEARD - 1 - queue_world_lease(&w) % QUEUE_READS_HEARD);
    CU_ASSERT_EQUAL(queue_world_lease(&w) % QUEUE_READS_HEARD, QUEUE_READS_HEARD - 1);
    w.read_id = FIRST_ID + 2;
    w.heard_below = FIRST_ID + 1;
    CU_ASSERT_EQUAL(queue_world_receive(&w, 1), RIA_OK);
    CU_ASSERT_EQUAL(count_reads(&w, FIRST_ID), 0);
    CU_ASSERT_EQUAL(count_reads(&w, FIRST_ID + 1), 1);
    CU_ASSERT_EQUAL(count_reads(&w, FIRST_ID + 2), 1);
    CU_ASSERT_EQUAL(count_reads(&w, SECOND_ID), 1);
    queue_world_close(&w);
}

/* Nobody says so of itself. */
static void a_receive_is_not_forgotten_by_itself(void)
{
    struct queue_world w;

    set_up(&w, 1, 1000000);
    go_on(&w, QUEUE_READS_HEARD - 2);
    for (int i = 0; i < 2; i++) {
        w.read_id = FIRST_ID + i;
        w.heard_below = FIRST_ID + 50;
        CU_ASSERT_EQUAL(queue_world_receive(&w, 1), RIA_OK);
        int64_t lease = queue_world_lease(&w);
        CU_ASSERT_EQUAL(queue_world_receive(&w, 1), RIA_OK);
        CU_ASSERT_EQUAL(queue_world_lease(&w), lease);
    }
    queue_world_close(&w);
}

static void what_a_dead_gateway_left_is_forgotten(void)
{
    struct queue_world w;

    set_up(&w, 1, 1000000);
    CU_ASSERT_TRUE(receives(&w, 1, "0:0-0#1"));
    w.m.lease_ms += QUEUE_LOCK;
    go_on(&w, QUEUE_READS_OLD);
    CU_ASSERT_EQUAL(count_reads(&w, FIRST_ID), 0);
    CU_ASSERT_EQUAL(count_reads(&w, w.read_id - 1), 1);
    queue_world_close(&w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_repeated_receive_is_granted_what_it_had),
    HARNESS_TEST(what_it_had_comes_first_and_then_what_is_new),
    HARNESS_TEST(leases_of_one_receive_may_lie_among_each_other),
    HARNESS_TEST(only_what_is_still_its_own_is_granted_again),
    HARNESS_TEST(a_lease_that_is_not_settled_is_granted_again),
    HARNESS_TEST(the_dead_are_handed_over_again),
    HARNESS_TEST(what_its_gateway_has_heard_is_forgotten),
    HARNESS_TEST(a_receive_is_not_forgotten_by_itself),
    HARNESS_TEST(what_a_dead_gateway_left_is_forgotten),
};
HARNESS_MAIN(tests);
