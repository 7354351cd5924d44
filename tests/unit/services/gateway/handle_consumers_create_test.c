/* Instances of Confluent's consumers come and go. */
#include <stdio.h>

#include "schemas/gen/describe_groups_response.h"
#include "schemas/gen/group_leave.h"
#include "schemas/gen/group_member.h"

#include "services/gateway/consumer_call.h"
#include "services/gateway/group_ops.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/instance.h"

enum { MS = 1000 };

static void creating_makes_a_member_with_its_settings(void)
{
    struct instance s;

    instance_init(&s);
    instance_begin(
        &s,
        "POST",
        "/consumers/g",
        "{\"name\":\"i\",\"format\":\"JSON\",\"auto.offset.reset\":\"earliest\","
        "\"auto.commit.enable\":\"false\",\"fetch.min.bytes\":\"17\","
        "\"consumer.request.timeout.ms\":2500}"
    );
    fake_request_header(&s.c.fakes[0], "Host", "h:1");
    instance_send(&s);
    const struct group_member *member = instance_expect_member(&s);
    CU_ASSERT_TRUE(member->make && member->must_be_new);
    CU_ASSERT_EQUAL(member->session_ms, 300000);
    CU_ASSERT_PTR_NOT_NULL(member->subscription);
    CU_ASSERT_EQUAL(member->subscription_count, 0);
    struct consumer_instance made = instance_detail_of(&s, member);
    CU_ASSERT_EQUAL(made.format, CONSUMER_JSON);
    CU_ASSERT_FALSE(made.from_latest);
    CU_ASSERT_FALSE(made.auto_commit);
    CU_ASSERT_EQUAL(made.fetch_min_bytes, 17);
    CU_ASSERT_EQUAL(made.request_timeout_ms, 2500);
    CU_ASSERT_EQUAL(made.answering, 0);
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(
        &s,
        200,
        "{\"instance_id\":\"i\",\"base_uri\":\"http://h:1/consumers/g/instances/i;epoch=9\"}"
    ));
    instance_fini(&s);
}

/* A member of the name lives in the group, with the instance's detail. */
static void describe(struct instance *s, int8_t mode)
{
    struct world_call *asked = world_next_call(&s->c.world, API_DESCRIBE_GROUPS);
    struct describe_groups_response response;
    struct describe_groups_response_described_group group;
    struct describe_groups_response_described_group_member member;
    uint8_t detail[CONSUMER_DETAIL_MAX];

    CU_ASSERT_PTR_NOT_NULL_FATAL(asked);
    describe_groups_response_init(&response);
    describe_groups_response_described_group_init(&group);
    describe_groups_response_described_group_member_init(&member);
    CU_ASSERT_EQUAL(consumer_detail_encode(&s->instance, detail, &member.detail), RIA_OK);
    member.name = RIA_SLICE_LITERAL("i");
    member.epoch = INSTANCE_EPOCH;
    group.mode = mode;
    group.members = &member;
    group.members_count = 1;
    response.groups = &group;
    response.groups_count = 1;
    world_reply(&s->c.world, asked, &response, RIA_SLICE_NULL);
    world_run(&s->c.world);
}

static void a_name_that_lives_is_refused_or_taken_over(void)
{
    struct instance s;

    instance_init(&s);
    instance_call(&s, "POST", "/consumers/g", "{\"name\":\"i\"}");
    (void)instance_expect_member(&s);
    consuming_refuse(&s.c, RIA_ERR_CONFLICT, "lives");
    /* Asking for a name is no sign of life of its owner. */
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    describe(&s, 0);
    CU_ASSERT_TRUE(instance_answered(&s, 409, "{\"error_code\":40902,"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    instance_call(&s, "POST", "/consumers/g", "{\"name\":\"i\",\"take.over\":\"true\"}");
    CU_ASSERT_FALSE(instance_expect_member(&s)->must_be_new);
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 200, ";epoch=9"));
    /* A name that was drawn needs no such question, and no epoch in its path. */
    instance_call(&s, "POST", "/consumers/g", "{}");
    CU_ASSERT_FALSE(instance_expect_member(&s)->must_be_new);
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 200, "/consumers/g/instances/rest-consumer-"));
    CU_ASSERT_FALSE(fake_answer_has(&s.c.fakes[0], "epoch"));
    /* The group is a queue. */
    instance_call(&s, "POST", "/consumers/g", "{\"name\":\"i\"}");
    (void)instance_expect_member(&s);
    consuming_refuse(&s.c, RIA_ERR_CONFLICT, "mode");
    describe(&s, 1);
    CU_ASSERT_TRUE(instance_answered(&s, 409, "{\"error_code\":40903,"));
    instance_fini(&s);
}

static void lose(struct instance *s)
{
    world_lose(&s->c.world, s->c.asked.call, RIA_ERR_TIMEOUT);
    group_world_close(&s->c.asked);
    world_run(&s->c.world);
    world_advance(&s->c.world, 200 * MS);
}

/* The answer was lost, the gateway asked again, and found the name taken: by itself. */
static void a_create_that_was_repeated_knows_its_own(void)
{
    struct instance s;

    instance_init(&s);
    instance_call(&s, "POST", "/consumers/g", "{\"name\":\"i\"}");
    s.instance = instance_detail_of(&s, instance_expect_member(&s));
    s.instance.pattern = RIA_SLICE_EMPTY; /* it was the request's */
    lose(&s);
    (void)instance_expect_member(&s);
    consuming_refuse(&s.c, RIA_ERR_CONFLICT, "lives");
    describe(&s, 0);
    CU_ASSERT_TRUE(instance_answered(&s, 200, "/instances/i;epoch=9"));
    /* The same, but it is somebody else's. */
    instance_call(&s, "POST", "/consumers/g", "{\"name\":\"i\"}");
    (void)instance_expect_member(&s);
    lose(&s);
    (void)instance_expect_member(&s);
    consuming_refuse(&s.c, RIA_ERR_CONFLICT, "lives");
    describe(&s, 0);
    CU_ASSERT_TRUE(instance_answered(&s, 409, "{\"error_code\":40902,"));
    instance_fini(&s);
}

static void the_end_commits_what_was_delivered(void)
{
    struct instance s;

    instance_init(&s);
    s.instance.auto_commit = true;
    instance_call(&s, "DELETE", INSTANCE_PATH ";epoch=4", NULL);
    CU_ASSERT_TRUE(instance_is_plain_touch(instance_expect_member(&s), 4));
    instance_tell(&s);
    const struct group_leave *leave = consuming_expect(&s.c, 1, GROUP_OP_LEAVE);
    CU_ASSERT_TRUE(leave->commit_delivered);
    CU_ASSERT_EQUAL(leave->member_epoch, INSTANCE_EPOCH);
    consuming_answer(&s.c);
    CU_ASSERT_TRUE(instance_answered(&s, 204, ""));
    s.instance.auto_commit = false;
    instance_call(&s, "DELETE", INSTANCE_PATH, NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    leave = consuming_expect(&s.c, 1, GROUP_OP_LEAVE);
    CU_ASSERT_FALSE(leave->commit_delivered);
    consuming_answer(&s.c);
    instance_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(creating_makes_a_member_with_its_settings),
    HARNESS_TEST(a_name_that_lives_is_refused_or_taken_over),
    HARNESS_TEST(a_create_that_was_repeated_knows_its_own),
    HARNESS_TEST(the_end_commits_what_was_delivered),
};

HARNESS_MAIN(tests);
