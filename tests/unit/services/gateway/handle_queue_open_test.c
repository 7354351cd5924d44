/* The settings of a queue. */
#include "schemas/gen/queue_open.h"
#include "schemas/gen/queue_open_result.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/queueing.h"

static void making_and_changing_differ_in_the_dead_letter_topic(void)
{
    struct queueing s;
    struct queue_open_result result;

    queueing_init(&s);
    queueing_call(&s, 0, "PUT", QUEUEING_PATH, "{\"order\":\"key\",\"retry_ms\":[0,50]}");
    const struct queue_open *open = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_OPEN);
    CU_ASSERT_TRUE(open->must_be_new);
    CU_ASSERT_EQUAL(open->key_order, 1);
    CU_ASSERT_EQUAL(open->lock_ms, -1);
    CU_ASSERT_EQUAL_FATAL(open->retry_ms_count, 2);
    CU_ASSERT_TRUE(ria_slice_equal(open->dead_topic, RIA_SLICE_LITERAL("{topic}.{group}.dead")));
    consuming_refuse(&s.c, RIA_ERR_EXISTS, "");
    open = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_OPEN);
    CU_ASSERT_FALSE(open->must_be_new);
    CU_ASSERT_TRUE(ria_slice_is_null(open->dead_topic)); /* unchanged */
    /* Deleted in between, it is made by this one. */
    CU_ASSERT_TRUE(ria_slice_equal(open->new_dead_topic, RIA_SLICE_LITERAL("{topic}.{group}.dead"))
    );
    queue_open_result_init(&result);
    result.key_order = true;
    consuming_answer_with(&s.c, &result);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "\"order\":\"key\""));

    queueing_call(&s, 1, "PUT", QUEUEING_PATH, "{\"dead_letter_topic\":null}");
    open = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_OPEN);
    CU_ASSERT_TRUE(!ria_slice_is_null(open->dead_topic) && open->dead_topic.size == 0);
    CU_ASSERT_PTR_NULL(open->retry_ms);
    result.made = true;
    consuming_answer_with(&s.c, &result);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 201, "\"dead_letter_topic\":null"));

    queueing_call(&s, 0, "PUT", QUEUEING_PATH, "{\"retry_ms\":[2592000001]}");
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 400, "0 to 2592000000 (30 days)"));
    queueing_call(&s, 2, "PUT", QUEUEING_PATH, "{\"dead_letter_topic\":\"one\"}");
    CU_ASSERT_TRUE(consuming_answered(&s.c, 2, 400, "dead_letter_topic"));
    queueing_fini(&s);
}

/* Found, deleted by somebody, and made by the change: as if it had been made at first. */
static void a_queue_that_goes_while_it_is_changed_is_made(void)
{
    struct queueing s;
    struct queue_open_result result;

    queueing_init(&s);
    queueing_call(&s, 0, "PUT", QUEUEING_PATH, "{\"max_deliveries\":2}");
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_OPEN);
    consuming_refuse(&s.c, RIA_ERR_EXISTS, "");
    const struct queue_open *open = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_OPEN);
    CU_ASSERT_TRUE(ria_slice_equal(open->new_dead_topic, RIA_SLICE_LITERAL("{topic}.{group}.dead"))
    );
    queue_open_result_init(&result);
    result.made = true;
    result.dead_topic = RIA_SLICE_LITERAL("{topic}.{group}.dead");
    consuming_answer_with(&s.c, &result);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 201, "\"dead_letter_topic\":\"one.g.dead\""));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    queueing_fini(&s);
}

/* Settings are the group's: it was made for one topic, whose name was stored as the default. */
static void the_default_dead_letter_topic_is_each_topics_own(void)
{
    struct queueing s;
    struct queue_open_result result;
    struct ria_uuid topics[2];

    queueing_init(&s);
    queue_open_result_init(&result);
    result.dead_topic = RIA_SLICE_LITERAL("{topic}.{group}.dead");
    topics[0] = s.c.one->id;
    topics[1] = s.dead->id;
    result.topics = topics;
    result.topics_count = 2;
    queueing_call(&s, 0, "PUT", QUEUEING_PATH, "{\"max_deliveries\":2}");
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_OPEN);
    consuming_answer_with(&s.c, &result);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "\"dead_letter_topic\":\"one.g.dead\""));
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "\"topics\":[\"one\",\"one.g.dead\"]"));

    queueing_call(&s, 1, "PUT", "/v1/queues/one.g.dead/g", "{\"max_deliveries\":2}");
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_OPEN);
    consuming_answer_with(&s.c, &result);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 200, "\"dead_letter_topic\":\"one.g.dead.g.dead\""));
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 200, "\"topics\":[\"one.g.dead\",\"one\"]"));

    /* Groups that were made before keep their name, until somebody says otherwise. */
    result.dead_topic = RIA_SLICE_LITERAL("other.g.dead");
    queueing_call(&s, 2, "PUT", QUEUEING_PATH, "{\"dead_letter_topic\":\"{topic}.{group}.dead\"}");
    const struct queue_open *open = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_OPEN);
    CU_ASSERT_TRUE(ria_slice_equal(open->dead_topic, RIA_SLICE_LITERAL("{topic}.{group}.dead")));
    consuming_answer_with(&s.c, &result);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 2, 200, "\"dead_letter_topic\":\"other.g.dead\""));
    queueing_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(making_and_changing_differ_in_the_dead_letter_topic),
    HARNESS_TEST(a_queue_that_goes_while_it_is_changed_is_made),
    HARNESS_TEST(the_default_dead_letter_topic_is_each_topics_own),
};

HARNESS_MAIN(tests);
