/* Locks that are acknowledged, given back or too late. */
#include <stdio.h>

#include "schemas/gen/queue_ack.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/queueing.h"

static void one_lock_acknowledges_a_whole_answer(void)
{
    static const ria_err fine[] = {RIA_OK};
    struct queueing s;
    char body[QUEUEING_BODY_MAX];

    queueing_init(&s);
    queueing_receive_three(&s);
    queueing_call(&s, 1, "POST", QUEUEING_PATH "/ack", queueing_with_locks(&s, "", body));
    const struct queue_ack *ack = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK);
    CU_ASSERT_EQUAL(ack->entries_count, 1);
    CU_ASSERT_TRUE(queueing_is_entry(ack, 0, QUEUE_DONE, 7, 9));
    queueing_say(&s, fine, 1);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 200, "{\"done\":1,\"failed\":0}"));
    queueing_fini(&s);
}

static void late_locks_are_a_conflict_that_names_each(void)
{
    static const ria_err late[] = {RIA_ERR_CONFLICT};
    static const ria_err mixed[] = {RIA_ERR_CONFLICT, RIA_OK};
    struct queueing s;
    char body[QUEUEING_BODY_MAX];
    char both[1024];
    char one[512];

    queueing_init(&s);
    queueing_receive_three(&s);
    queueing_call(&s, 1, "POST", QUEUEING_PATH "/ack", queueing_with_locks(&s, "", body));
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK);
    queueing_say(&s, late, 1);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 409, "\"code\":\"late\""));
    CU_ASSERT_TRUE(fake_answer_has(&s.c.fakes[1], "\"status\":\"late\""));
    CU_ASSERT_TRUE(fake_answer_has(&s.c.fakes[1], "too late"));

    char text[CONSUMING_PATH_MAX];
    (void)snprintf(one, sizeof(one), "%.500s", queueing_last_text(&s, 0, "\"lock\":\"", text));
    (void)snprintf(
        both,
        sizeof(both),
        "{\"locks\":[%s,%s]}",
        queueing_last_text(&s, 0, "\"locks\":\"", text),
        one
    );
    queueing_call(&s, 2, "POST", QUEUEING_PATH "/nack", both);
    const struct queue_ack *ack = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK);
    CU_ASSERT_TRUE(queueing_is_entry(ack, 0, QUEUE_FAILED, 7, 9));
    CU_ASSERT_TRUE(queueing_is_entry(ack, 1, QUEUE_FAILED, 9, 9));
    CU_ASSERT_EQUAL(ack->entries[1].delay_ms, -1);
    queueing_say(&s, mixed, 2);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 2, 207, "{\"done\":1,\"failed\":1,\"locks\":["));
    CU_ASSERT_TRUE(fake_answer_has(&s.c.fakes[2], "\"status\":\"done\""));
    queueing_fini(&s);
}

static void an_ack_whose_answer_was_lost_is_unknown(void)
{
    struct queueing s;
    char body[QUEUEING_BODY_MAX];

    queueing_init(&s);
    queueing_receive_three(&s);
    queueing_call(&s, 1, "POST", QUEUEING_PATH "/ack", queueing_with_locks(&s, "", body));
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK);
    world_lose(&s.c.world, s.c.asked.call, RIA_ERR_DISCONNECTED);
    group_world_close(&s.c.asked);
    world_run(&s.c.world);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 503, "\"outcome\":\"unknown\""));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c)); /* it is not said twice */
    queueing_fini(&s);
}

/* Whoever says it again can tell whether it was done, also by a program. */
static void what_was_finished_before_is_late_and_says_so(void)
{
    static const ria_err late[] = {RIA_ERR_CONFLICT};
    struct queueing s;
    char body[QUEUEING_BODY_MAX];

    queueing_init(&s);
    queueing_receive_three(&s);
    s.finished = true;
    queueing_call(&s, 1, "POST", QUEUEING_PATH "/ack", queueing_with_locks(&s, "", body));
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK);
    queueing_say(&s, late, 1);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 409, "\"status\":\"late\""));
    CU_ASSERT_TRUE(fake_answer_has(&s.c.fakes[1], "\"finished\":true"));
    s.finished = false;
    queueing_call(&s, 2, "POST", QUEUEING_PATH "/ack", queueing_with_locks(&s, "", body));
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK);
    queueing_say(&s, late, 1);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 2, 409, "\"status\":\"late\""));
    CU_ASSERT_FALSE(fake_answer_has(&s.c.fakes[2], "finished\":"));
    queueing_fini(&s);
}

static void a_lock_of_another_queue_is_refused(void)
{
    struct queueing s;
    char body[QUEUEING_BODY_MAX];

    queueing_init(&s);
    queueing_receive_three(&s);
    queueing_call(&s, 1, "POST", "/v1/queues/one/h/ack", queueing_with_locks(&s, "", body));
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 400, "of another group"));
    queueing_call(&s, 1, "POST", "/v1/queues/one.g.dead/g/ack", queueing_with_locks(&s, "", body));
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 400, "lock_stale"));
    queueing_call(&s, 1, "POST", QUEUEING_PATH "/ack", "{\"locks\":[\"nonsense\"]}");
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 400, "lock_invalid"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    queueing_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(one_lock_acknowledges_a_whole_answer),
    HARNESS_TEST(late_locks_are_a_conflict_that_names_each),
    HARNESS_TEST(an_ack_whose_answer_was_lost_is_unknown),
    HARNESS_TEST(what_was_finished_before_is_late_and_says_so),
    HARNESS_TEST(a_lock_of_another_queue_is_refused),
};

HARNESS_MAIN(tests);
