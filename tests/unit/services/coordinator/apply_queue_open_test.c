/* QueueOpen: settings of a queue group. */
#include <string.h>

#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_settle.h"

#include "services/coordinator/apply_queue.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/queue_fixture.h"

static void a_new_group_has_the_defaults(void)
{
    struct queue_world w;

    queue_world_open(&w, 1);
    struct queue_open settings = queue_world_settings(&w);
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    CU_ASSERT_TRUE(w.opened.made);
    CU_ASSERT_EQUAL(w.opened.lock_ms, 30000);
    CU_ASSERT_EQUAL(w.opened.deliveries_max, 16);
    CU_ASSERT_FALSE(w.opened.key_order);
    CU_ASSERT_EQUAL(w.opened.retry_ms_count, 0);
    CU_ASSERT_EQUAL(w.opened.dead_topic.size, 0);
    queue_world_close(&w);
}

static void what_is_not_named_stays_as_it_is(void)
{
    struct queue_world w;
    uint32_t delays[] = {0, 1000, UINT32_C(2592000000)}; /* 30 days */

    queue_world_open(&w, 1);
    struct queue_open settings = queue_world_settings(&w);
    settings.lock_ms = 5000;
    settings.deliveries_max = 3;
    settings.key_order = 1;
    settings.retry_ms = delays;
    settings.retry_ms_count = 3;
    settings.dead_topic = RIA_SLICE_LITERAL("jobs.dead");
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    settings = queue_world_settings(&w);
    settings.deliveries_max = 4;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    CU_ASSERT_FALSE(w.opened.made);
    CU_ASSERT_EQUAL(w.opened.lock_ms, 5000);
    CU_ASSERT_EQUAL(w.opened.deliveries_max, 4);
    CU_ASSERT_TRUE(w.opened.key_order);
    CU_ASSERT_EQUAL_FATAL(w.opened.retry_ms_count, 3);
    CU_ASSERT_EQUAL(memcmp(w.opened.retry_ms, delays, sizeof(delays)), 0);
    CU_ASSERT_TRUE(ria_slice_equal(w.opened.dead_topic, RIA_SLICE_LITERAL("jobs.dead")));
    /* Empty is not the same as not named. */
    settings = queue_world_settings(&w);
    settings.dead_topic = RIA_SLICE_EMPTY;
    settings.retry_ms = delays;
    settings.key_order = 0;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    CU_ASSERT_EQUAL(w.opened.dead_topic.size, 0);
    CU_ASSERT_EQUAL(w.opened.retry_ms_count, 0);
    CU_ASSERT_FALSE(w.opened.key_order);
    queue_world_close(&w);
}

static void the_default_dead_letter_topic_is_kept_as_a_pattern(void)
{
    struct queue_world w;

    queue_world_open(&w, 1);
    struct queue_open settings = queue_world_settings(&w);
    settings.dead_topic = RIA_SLICE_LITERAL("{topic}.{group}.dead");
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(w.opened.dead_topic, settings.dead_topic));
    CU_ASSERT_EQUAL(w.opened.topics_count, 0);
    w.ends[0] = 1;
    CU_ASSERT_EQUAL(queue_world_receive(&w, 1), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(w.received.dead_topic, settings.dead_topic));
    settings = queue_world_settings(&w);
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(w.opened.topics_count, 1); /* it has received from it */
    struct ria_uuid topic = fixture_uuid(QUEUE_TOPIC);
    CU_ASSERT_TRUE(ria_uuid_equal(w.opened.topics[0], topic));
    settings.dead_topic = RIA_SLICE_LITERAL("{topic}.dead");
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_ERR_INVALID);
    queue_world_close(&w);
}

/* Whoever changes a queue that was deleted meanwhile makes it, and nothing of it is discarded. */
static void a_change_that_makes_the_group_brings_its_dead_letter_topic(void)
{
    struct queue_world w;

    queue_world_open(&w, 1);
    struct queue_open settings = queue_world_settings(&w);
    settings.new_dead_topic = RIA_SLICE_LITERAL("{topic}.{group}.dead");
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    CU_ASSERT_TRUE(w.opened.made);
    CU_ASSERT_TRUE(ria_slice_equal(w.opened.dead_topic, RIA_SLICE_LITERAL("{topic}.{group}.dead")));
    settings.new_dead_topic = RIA_SLICE_LITERAL("other"); /* it is there */
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(w.opened.dead_topic, RIA_SLICE_LITERAL("{topic}.{group}.dead")));
    settings.new_dead_topic = RIA_SLICE_LITERAL("no/topic");
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_ERR_INVALID);
    queue_world_close(&w);
    queue_world_open(&w, 1);
    settings = queue_world_settings(&w);
    settings.dead_topic = RIA_SLICE_EMPTY; /* said to be none */
    settings.dead_topic.data = (const uint8_t *)"";
    settings.new_dead_topic = RIA_SLICE_LITERAL("jobs.dead");
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    CU_ASSERT_EQUAL(w.opened.dead_topic.size, 0);
    queue_world_close(&w);
}

static void one_that_must_be_new_may_not_exist(void)
{
    struct queue_world w;

    queue_world_open(&w, 1);
    struct queue_open settings = queue_world_settings(&w);
    settings.must_be_new = true;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_ERR_EXISTS);
    settings.must_be_new = false;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    queue_world_close(&w);
}

static void values_beyond_the_limits_name_the_field(void)
{
    struct queue_world w;
    uint32_t delays[33] = {UINT32_C(2592000001)};

    queue_world_open(&w, 1);
    struct queue_open settings = queue_world_settings(&w);
    settings.lock_ms = 999;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "lockMs"));
    settings.lock_ms = 12 * 60 * 60 * 1000 + 1;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_ERR_INVALID);
    settings = queue_world_settings(&w);
    settings.deliveries_max = 0;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "deliveriesMax"));
    settings.deliveries_max = 1001;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_ERR_INVALID);
    settings = queue_world_settings(&w);
    settings.key_order = 2;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_ERR_INVALID);
    settings = queue_world_settings(&w);
    settings.retry_ms = delays;
    settings.retry_ms_count = 1;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "retryMs"));
    settings = queue_world_settings(&w);
    settings.dead_topic = RIA_SLICE_LITERAL("no/topic");
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_ERR_INVALID);
    w.group = "";
    settings = queue_world_settings(&w);
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_ERR_INVALID);
    queue_world_close(&w);
}

static void queues_that_are_not_there_have_no_leases(void)
{
    struct queue_world w;
    struct queue_settle settle = {
        .group = RIA_SLICE_LITERAL("nobody"), .topic_id = fixture_uuid(QUEUE_TOPIC)};
    struct queue_ack ack = {
        .group = RIA_SLICE_LITERAL("nobody"), .topic_id = fixture_uuid(QUEUE_TOPIC)};

    queue_world_open(&w, 1);
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_SETTLE, &settle, NULL), RIA_ERR_NOT_FOUND
    );
    CU_ASSERT_EQUAL(queue_world_run(&w, GROUP_OPERATION_QUEUE_ACK, &ack, NULL), RIA_ERR_NOT_FOUND);
    settle.topic_id = fixture_uuid(1);
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_SETTLE, &settle, NULL), RIA_ERR_UNKNOWN_TOPIC
    );
    queue_world_close(&w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_new_group_has_the_defaults),
    HARNESS_TEST(what_is_not_named_stays_as_it_is),
    HARNESS_TEST(the_default_dead_letter_topic_is_kept_as_a_pattern),
    HARNESS_TEST(a_change_that_makes_the_group_brings_its_dead_letter_topic),
    HARNESS_TEST(one_that_must_be_new_may_not_exist),
    HARNESS_TEST(values_beyond_the_limits_name_the_field),
    HARNESS_TEST(queues_that_are_not_there_have_no_leases),
};
HARNESS_MAIN(tests);
