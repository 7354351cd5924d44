/* Dead letters: written to their topic before they are finished, or owed. */
#include "services/gateway/queue_bury.h"

#include "schemas/gen/heartbeat_response.h"
#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_receive_result.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/queueing.h"

enum { SECOND = 1000 * 1000 };

static void give_dead(struct queueing *s, int64_t offset)
{
    struct queue_receive_result result;
    struct queue_receive_result_queue_dead dead = {
        .lease_id = QUEUEING_LEASE,
        .first = offset,
        .last = offset,
        .deliveries = 16,
        .reason = RIA_SLICE_LITERAL("because"),
    };

    queue_receive_result_init(&result);
    result.dead = &dead;
    result.dead_count = 1;
    result.dead_topic = RIA_SLICE_LITERAL("{topic}.{group}.dead");
    consuming_answer_with(&s->c, &result);
}

static void a_rejected_record_is_buried_at_once(void)
{
    static const ria_err fine[] = {RIA_OK};
    struct queueing s;
    char body[QUEUEING_BODY_MAX];

    queueing_init(&s);
    queueing_receive_three(&s);
    queueing_call(
        &s,
        1,
        "POST",
        QUEUEING_PATH "/reject",
        queueing_with_locks(&s, ",\"reason\":\"because\"", body)
    );
    const struct queue_ack *ack = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK);
    CU_ASSERT_TRUE(queueing_is_entry(ack, 0, QUEUE_REJECT, 7, 9));
    CU_ASSERT_TRUE(ria_slice_equal(ack->entries[0].reason, RIA_SLICE_LITERAL("because")));
    queueing_say(&s, fine, 1);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 200, "\"done\":1"));
    const struct queue_receive *sweep = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_EQUAL(sweep->records_max, 0);
    CU_ASSERT_TRUE(sweep->dead_max > 0);
    give_dead(&s, 7);
    queueing_give(&s, 7, "k", 0);
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c)); /* not buried before it is stored */
    world_ack(&s.c.world, consuming_next(&s.c, API_PRODUCE), 3);
    world_run(&s.c.world);
    CU_ASSERT_TRUE(
        queueing_is_entry(consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK), 0, QUEUE_BURIED, 7, 7)
    );
    queueing_say(&s, fine, 1);
    queueing_fini(&s);
}

static void tell_overdue(struct queueing *s, const struct ria_uuid *topic_id)
{
    struct heartbeat_response_overdue_queue queue = {
        .group = RIA_SLICE_LITERAL("g"), .topic_id = *topic_id};

    s->c.world.overdue = &queue;
    for (int i = 0; s->c.world.overdue != NULL && i < 10; i++) {
        world_advance(&s->c.world, SECOND);
        world_run(&s->c.world);
    }
    CU_ASSERT_PTR_NULL(s->c.world.overdue);
    s->c.world.overdue = NULL;
}

/* Without a call of any client. */
static void the_dead_of_a_queue_that_nobody_reads_are_buried_on_the_coordinators_word(void)
{
    static const ria_err fine[] = {RIA_OK};
    struct queueing s;

    queueing_init(&s);
    tell_overdue(&s, &s.c.one->id);
    const struct queue_receive *sweep = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_TRUE(ria_slice_equal(sweep->group, RIA_SLICE_LITERAL("g")));
    CU_ASSERT_EQUAL(sweep->records_max, 0);
    CU_ASSERT_TRUE(sweep->dead_max > 0);
    give_dead(&s, 7);
    queueing_give(&s, 7, "k", 0);
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c)); /* not buried before it is stored */
    world_ack(&s.c.world, consuming_next(&s.c, API_PRODUCE), 3);
    world_run(&s.c.world);
    CU_ASSERT_TRUE(
        queueing_is_entry(consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK), 0, QUEUE_BURIED, 7, 7)
    );
    queueing_say(&s, fine, 1);
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    queueing_fini(&s);
}

/* Whoever looks after calls and timers lets go of them before the burial that they are in goes. */
static void a_gateway_may_end_while_the_dead_are_read(void)
{
    struct queueing s;

    queueing_init(&s);
    tell_overdue(&s, &s.c.one->id);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    give_dead(&s, 7);
    CU_ASSERT_PTR_NOT_NULL(world_next_call(&s.c.world, API_FETCH));
    queueing_fini(&s);
}

static void an_overdue_queue_of_a_topic_that_is_not_known_is_left_alone(void)
{
    const struct ria_uuid nobodys = {{1, 2, 3}};
    struct queueing s;

    queueing_init(&s);
    tell_overdue(&s, &nobodys);
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    queueing_fini(&s);
}

static void a_letter_that_cannot_be_written_stays_owed(void)
{
    struct queueing s;

    queueing_init(&s);
    queueing_call(&s, 0, "POST", QUEUEING_PATH "/receive", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    give_dead(&s, 7);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "\"records\":[]")); /* does not wait for it */
    queueing_give(&s, 7, "k", 0);
    for (int i = 0; i < 30; i++) {
        struct world_call *produce = world_next_call(&s.c.world, API_PRODUCE);
        if (produce != NULL) {
            world_refuse(&s.c.world, produce, RIA_ERR_NOT_ENOUGH_REPLICAS, "");
        }
        world_run(&s.c.world);
        world_advance(&s.c.world, SECOND);
        world_run(&s.c.world);
    }
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    queueing_fini(&s);
}

static void a_gateway_that_ends_while_it_buries_leaves_nothing_behind(void)
{
    struct queueing s;

    queueing_init(&s);
    queueing_call(&s, 0, "POST", QUEUEING_PATH "/receive", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    give_dead(&s, 7);
    queueing_give(&s, 7, "k", 0);
    queueing_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_rejected_record_is_buried_at_once),
    HARNESS_TEST(the_dead_of_a_queue_that_nobody_reads_are_buried_on_the_coordinators_word),
    HARNESS_TEST(a_gateway_may_end_while_the_dead_are_read),
    HARNESS_TEST(an_overdue_queue_of_a_topic_that_is_not_known_is_left_alone),
    HARNESS_TEST(a_letter_that_cannot_be_written_stays_owed),
    HARNESS_TEST(a_gateway_that_ends_while_it_buries_leaves_nothing_behind),
};

HARNESS_MAIN(tests);
