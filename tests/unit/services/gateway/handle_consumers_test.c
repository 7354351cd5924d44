/* Confluent's consumers: what the coordinator and storage are asked, and what the client gets. Both
 * answer as the test says; tests/system/consumers_v2_test.py has the calls one by one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"
#include "schemas/gen/describe_groups_response.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_commit_result.h"
#include "schemas/gen/group_leave.h"
#include "schemas/gen/group_member.h"
#include "schemas/gen/group_member_result.h"
#include "schemas/gen/group_read.h"
#include "schemas/gen/group_read_result.h"
#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/consumer_call.h"
#include "services/gateway/group_ops.h"
#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/group_world.h"

enum { TIMEOUT_MS = 10 * 1000, MS = 1000, EPOCH = 9 };

#define V2_JSON "application/vnd.kafka.json.v2+json"
#define PATH    "/consumers/g/instances/i"

/* Topic "t" has three partitions, led by nodes 1, 2 and 3. */
struct setup {
    struct world world;
    struct world_topic *t;
    struct gateway *gateway;
    struct fake_request fake;
    struct group_world_request asked;
    struct consumer_instance instance; /* as the coordinator has it */
    bool is_subscribed;
};

static void setup(struct setup *s)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = 1 << 20,
        .request_timeout_ms = TIMEOUT_MS,
    };

    memset(&s->fake, 0, sizeof(s->fake));
    world_init(&s->world, 3);
    s->t = world_add_topic(&s->world, "t", 3);
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s->world.env, &options, &s->world.budget, NULL, &s->gateway), RIA_OK
    );
    gateway_start(s->gateway);
    world_run(&s->world);
    consumer_instance_init(&s->instance);
    s->instance.format = CONSUMER_JSON;
    s->instance.fetch_min_bytes = -1;
    s->instance.request_timeout_ms = 1000;
    s->is_subscribed = true;
}

static void teardown(struct setup *s)
{
    gateway_free(s->gateway);
    if (s->fake.request.ops != NULL) {
        fake_request_fini(&s->fake);
    }
    world_fini(&s->world);
    CU_ASSERT_EQUAL(s->world.budget.used.value, 0);
    CU_ASSERT_EQUAL(s->world.budget.reads, 0);
}

/* --- the client --------------------------------------------------------------------------------*/

static void call_with(struct setup *s, const char *method, const char *path, const char *body)
{
    if (s->fake.request.ops != NULL) {
        fake_request_fini(&s->fake);
    }
    fake_request_init(&s->fake, method, path, body);
    if (body != NULL) {
        fake_request_header(&s->fake, "Content-Type", "application/vnd.kafka.v2+json");
    }
}

static void start(struct setup *s)
{
    size_t body_max = 0;

    s->fake.request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &s->fake.request, &body_max);
    if (s->fake.answers == 0) {
        gateway_handle(s->gateway, &s->fake.request);
    }
    world_run(&s->world);
}

static void call(struct setup *s, const char *method, const char *path, const char *body)
{
    call_with(s, method, path, body);
    start(s);
}

static bool answered(const struct setup *s, int status, const char *part)
{
    bool same = s->fake.answers == 1 && s->fake.status == status && fake_answer_has(&s->fake, part);

    if (!same) {
        (void)printf("[%d %s]", s->fake.status, s->fake.body == NULL ? "" : s->fake.body);
    }
    return same;
}

/* --- the coordinator ---------------------------------------------------------------------------*/

static const void *expect(struct setup *s, uint32_t count, group_op_kind kind)
{
    CU_ASSERT_TRUE_FATAL(group_world_open(&s->world, &s->asked));
    CU_ASSERT_EQUAL_FATAL(s->asked.count, count);
    CU_ASSERT_EQUAL_FATAL(s->asked.kinds[0], (int8_t)kind);
    return s->asked.bodies[0];
}

static const struct group_member *expect_member(struct setup *s)
{
    return expect(s, 1, GROUP_OP_MEMBER);
}

static void answer(struct setup *s)
{
    group_world_answer(&s->world, &s->asked);
    world_run(&s->world);
}

static void refuse(struct setup *s, ria_err err, const char *text)
{
    s->asked.errs[0] = err;
    s->asked.texts[0] = text;
    answer(s);
}

static bool nothing_asked(struct setup *s)
{
    return world_next_call(&s->world, API_GROUP) == NULL;
}

/* The instance as it is, with partitions 0 and 1 of t. */
static void tell(struct setup *s)
{
    struct group_member_result result;
    struct group_member_result_group_assigned assigned[2] = {{s->t->id, 0}, {s->t->id, 1}};
    uint8_t detail[CONSUMER_DETAIL_MAX];

    group_member_result_init(&result);
    CU_ASSERT_EQUAL(consumer_detail_encode(&s->instance, detail, &result.detail), RIA_OK);
    result.member_epoch = EPOCH;
    if (s->is_subscribed) {
        result.subscription = &s->t->id;
        result.subscription_count = 1;
        result.assignment = assigned;
        result.assignment_count = 2;
    }
    s->asked.results[0] = &result;
    answer(s);
}

/* What the operation leaves in the detail. */
static struct consumer_instance detail_of(struct setup *s, const struct group_member *member)
{
    struct consumer_instance instance;

    CU_ASSERT_EQUAL_FATAL(
        consumer_detail_decode(member->detail, &s->asked.arena, &instance), RIA_OK
    );
    return instance;
}

static bool is_plain_touch(const struct group_member *member, int32_t epoch)
{
    return !member->make && member->member_epoch == epoch && member->detail.data == NULL &&
           member->subscription == NULL && member->assignment == NULL &&
           member->session_ms == 300000 && ria_slice_equal(member->group, RIA_SLICE_LITERAL("g")) &&
           ria_slice_equal(member->member, RIA_SLICE_LITERAL("i"));
}

static void grant(struct setup *s, int64_t offset)
{
    struct group_read_result result;
    struct group_read_result_group_grant granted = {
        .topic_id = s->t->id, .partition = 0, .lease_id = 11, .offset = offset, .left_ms = 1000};

    group_read_result_init(&result);
    result.granted = &granted;
    result.granted_count = 1;
    s->asked.results[0] = &result;
    answer(s);
}

/* `count` records from the offset on, each with value "1". */
static void give_records(struct setup *s, int64_t offset, int count)
{
    struct batch_builder builder;
    struct fetch_response response;
    struct world_call *fetch = world_next_call(&s->world, API_FETCH);

    CU_ASSERT_PTR_NOT_NULL_FATAL(fetch);
    fetch_response_init(&response);
    response.high_watermark = offset + count;
    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(
            batch_builder_add(&builder, 5, RIA_SLICE_NULL, RIA_SLICE_LITERAL("1"), NULL, 0), RIA_OK
        );
    }
    struct ria_slice bytes = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(builder.buf.data, offset, 1);
    world_reply(&s->world, fetch, &response, bytes);
    batch_builder_fini(&builder);
    world_run(&s->world);
}

/* A poll that has read two records from 7 on: the mark is being set. */
static const struct group_member *poll_two(struct setup *s, const char *path)
{
    call_with(s, "GET", path, NULL);
    fake_request_header(&s->fake, "Accept", V2_JSON);
    start(s);
    CU_ASSERT_TRUE(is_plain_touch(expect_member(s), -1));
    tell(s);
    const struct group_read *read = expect(s, 1, GROUP_OP_READ);
    CU_ASSERT_TRUE(read->hold);
    CU_ASSERT_EQUAL(read->member_epoch, EPOCH);
    CU_ASSERT_EQUAL(read->commit_delivered, s->instance.auto_commit);
    grant(s, 7);
    give_records(s, 7, 2);
    return expect_member(s);
}

/* --- making ------------------------------------------------------------------------------------*/

static void creating_makes_a_member_with_its_settings(void)
{
    struct setup s;

    setup(&s);
    call_with(
        &s,
        "POST",
        "/consumers/g",
        "{\"name\":\"i\",\"format\":\"JSON\",\"auto.offset.reset\":\"earliest\","
        "\"auto.commit.enable\":\"false\",\"fetch.min.bytes\":\"17\","
        "\"consumer.request.timeout.ms\":2500}"
    );
    fake_request_header(&s.fake, "Host", "h:1");
    start(&s);
    const struct group_member *member = expect_member(&s);
    CU_ASSERT_TRUE(member->make && member->must_be_new);
    CU_ASSERT_EQUAL(member->session_ms, 300000);
    CU_ASSERT_PTR_NOT_NULL(member->subscription);
    CU_ASSERT_EQUAL(member->subscription_count, 0);
    struct consumer_instance made = detail_of(&s, member);
    CU_ASSERT_EQUAL(made.format, CONSUMER_JSON);
    CU_ASSERT_FALSE(made.from_latest);
    CU_ASSERT_FALSE(made.auto_commit);
    CU_ASSERT_EQUAL(made.fetch_min_bytes, 17);
    CU_ASSERT_EQUAL(made.request_timeout_ms, 2500);
    CU_ASSERT_EQUAL(made.answering, 0);
    tell(&s);
    CU_ASSERT_TRUE(answered(
        &s,
        200,
        "{\"instance_id\":\"i\",\"base_uri\":\"http://h:1/consumers/g/instances/i;epoch=9\"}"
    ));
    teardown(&s);
}

/* A member of the name lives in the group, with the instance's detail. */
static void describe(struct setup *s, int8_t mode)
{
    struct world_call *asked = world_next_call(&s->world, API_DESCRIBE_GROUPS);
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
    member.epoch = EPOCH;
    group.mode = mode;
    group.members = &member;
    group.members_count = 1;
    response.groups = &group;
    response.groups_count = 1;
    world_reply(&s->world, asked, &response, RIA_SLICE_NULL);
    world_run(&s->world);
}

static void a_name_that_lives_is_refused_or_taken_over(void)
{
    struct setup s;

    setup(&s);
    call(&s, "POST", "/consumers/g", "{\"name\":\"i\"}");
    (void)expect_member(&s);
    refuse(&s, RIA_ERR_CONFLICT, "lives");
    /* Asking for a name is no sign of life of its owner. */
    CU_ASSERT_TRUE(nothing_asked(&s));
    describe(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 409, "{\"error_code\":40902,"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    call(&s, "POST", "/consumers/g", "{\"name\":\"i\",\"take.over\":\"true\"}");
    CU_ASSERT_FALSE(expect_member(&s)->must_be_new);
    tell(&s);
    CU_ASSERT_TRUE(answered(&s, 200, ";epoch=9"));
    /* A name that was drawn needs no such question, and no epoch in its path. */
    call(&s, "POST", "/consumers/g", "{}");
    CU_ASSERT_FALSE(expect_member(&s)->must_be_new);
    tell(&s);
    CU_ASSERT_TRUE(answered(&s, 200, "/consumers/g/instances/rest-consumer-"));
    CU_ASSERT_FALSE(fake_answer_has(&s.fake, "epoch"));
    /* The group is a queue. */
    call(&s, "POST", "/consumers/g", "{\"name\":\"i\"}");
    (void)expect_member(&s);
    refuse(&s, RIA_ERR_CONFLICT, "mode");
    describe(&s, 1);
    CU_ASSERT_TRUE(answered(&s, 409, "{\"error_code\":40903,"));
    teardown(&s);
}

static void lose(struct setup *s)
{
    world_lose(&s->world, s->asked.call, RIA_ERR_TIMEOUT);
    group_world_close(&s->asked);
    world_run(&s->world);
    world_advance(&s->world, 200 * MS);
}

/* The answer was lost, the gateway asked again, and found the name taken: by itself. */
static void a_create_that_was_repeated_knows_its_own(void)
{
    struct setup s;

    setup(&s);
    call(&s, "POST", "/consumers/g", "{\"name\":\"i\"}");
    s.instance = detail_of(&s, expect_member(&s));
    s.instance.pattern = RIA_SLICE_EMPTY; /* it was the request's */
    lose(&s);
    (void)expect_member(&s);
    refuse(&s, RIA_ERR_CONFLICT, "lives");
    describe(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 200, "/instances/i;epoch=9"));
    /* The same, but it is somebody else's. */
    call(&s, "POST", "/consumers/g", "{\"name\":\"i\"}");
    (void)expect_member(&s);
    lose(&s);
    (void)expect_member(&s);
    refuse(&s, RIA_ERR_CONFLICT, "lives");
    describe(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 409, "{\"error_code\":40902,"));
    teardown(&s);
}

static void the_end_commits_what_was_delivered(void)
{
    struct setup s;

    setup(&s);
    s.instance.auto_commit = true;
    call(&s, "DELETE", PATH ";epoch=4", NULL);
    CU_ASSERT_TRUE(is_plain_touch(expect_member(&s), 4));
    tell(&s);
    const struct group_leave *leave = expect(&s, 1, GROUP_OP_LEAVE);
    CU_ASSERT_TRUE(leave->commit_delivered);
    CU_ASSERT_EQUAL(leave->member_epoch, EPOCH);
    answer(&s);
    CU_ASSERT_TRUE(answered(&s, 204, ""));
    s.instance.auto_commit = false;
    call(&s, "DELETE", PATH, NULL);
    (void)expect_member(&s);
    tell(&s);
    leave = expect(&s, 1, GROUP_OP_LEAVE);
    CU_ASSERT_FALSE(leave->commit_delivered);
    answer(&s);
    teardown(&s);
}

static void who_is_gone_or_taken_over_is_not_found(void)
{
    static const char *const paths[] = {"", "/records", "/subscription", "/assignments"};
    struct setup s;

    setup(&s);
    for (size_t i = 0; i < RIA_COUNT(paths); i++) {
        char path[100];
        (void)snprintf(path, sizeof(path), PATH ";epoch=4%s", paths[i]);
        call(&s, i == 0 ? "DELETE" : "GET", path, NULL);
        (void)expect_member(&s);
        refuse(&s, i % 2 == 0 ? RIA_ERR_NOT_FOUND : RIA_ERR_FENCED_EPOCH, "gone");
        CU_ASSERT_TRUE(answered(&s, 404, "{\"error_code\":40403,\"message\":\"gone\"}"));
    }
    /* A member that /v1 named is no instance. */
    call(&s, "GET", PATH "/assignments", NULL);
    (void)expect_member(&s);
    answer(&s);
    CU_ASSERT_TRUE(answered(&s, 404, "{\"error_code\":40403,"));
    teardown(&s);
}

/* --- polls -------------------------------------------------------------------------------------*/

static void what_the_socket_took_is_noted_as_delivered(void)
{
    struct setup s;

    setup(&s);
    s.instance.auto_commit = true;
    const struct group_member *mark = poll_two(&s, PATH "/records");
    struct consumer_instance marked = detail_of(&s, mark);
    CU_ASSERT_NOT_EQUAL(marked.answering, 0);
    CU_ASSERT_EQUAL(marked.format, CONSUMER_JSON);
    CU_ASSERT_EQUAL(s.fake.answers, 0); /* not before the mark is there */
    tell(&s);
    CU_ASSERT_TRUE(answered(&s, 200, "\"value\":1,\"partition\":0,\"offset\":7"));
    CU_ASSERT_TRUE(strcmp(s.fake.content_type, V2_JSON) == 0);
    const struct group_commit *commit = expect(&s, 2, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL(commit->entries_count, 1);
    CU_ASSERT_EQUAL(commit->member_epoch, EPOCH);
    CU_ASSERT_EQUAL(commit->entries[0].lease_id, 11);
    CU_ASSERT_EQUAL(commit->entries[0].delivered, 9);
    CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
    CU_ASSERT_TRUE(commit->entries[0].keep);
    CU_ASSERT_EQUAL_FATAL(s.asked.kinds[1], GROUP_OP_MEMBER);
    CU_ASSERT_EQUAL(detail_of(&s, s.asked.bodies[1]).answering, 0);
    answer(&s);
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

static void an_answer_that_was_cut_off_delivers_nothing(void)
{
    struct setup s;

    setup(&s);
    (void)poll_two(&s, PATH "/records");
    s.fake.cut_off = true;
    tell(&s);
    CU_ASSERT_EQUAL(s.fake.answers, 1);
    /* Only the mark goes. */
    CU_ASSERT_EQUAL(detail_of(&s, expect_member(&s)).answering, 0);
    answer(&s);
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

static void the_limit_bounds_what_is_delivered(void)
{
    struct setup s;

    setup(&s);
    (void)poll_two(&s, PATH "/records?max_bytes=1&extras=false");
    tell(&s);
    CU_ASSERT_TRUE(answered(
        &s, 200, "[{\"topic\":\"t\",\"key\":null,\"value\":1,\"partition\":0,\"offset\":7}]"
    ));
    const struct group_commit *commit = expect(&s, 2, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL(commit->entries[0].delivered, 8);
    answer(&s);
    teardown(&s);
}

/* Another gateway has just answered; what it delivered is being noted. */
static void a_call_waits_for_the_answer_before_it(void)
{
    struct setup s;

    setup(&s);
    s.instance.answering = 77;
    call(&s, "POST", PATH "/offsets", NULL);
    (void)expect_member(&s);
    tell(&s);
    CU_ASSERT_TRUE(nothing_asked(&s));
    world_advance(&s.world, 20 * MS);
    CU_ASSERT_TRUE(is_plain_touch(expect_member(&s), EPOCH));
    s.instance.answering = 0;
    tell(&s);
    const struct group_read *read = expect(&s, 1, GROUP_OP_READ);
    CU_ASSERT_TRUE(read->commit_delivered && read->hold);
    CU_ASSERT_EQUAL(read->topics_count, 0);
    answer(&s);
    (void)expect(&s, 1, GROUP_OP_COMMIT);
    answer(&s);
    CU_ASSERT_TRUE(answered(&s, 200, "[]"));
    teardown(&s);
}

static void the_mark_of_a_gateway_that_died_holds_up_nobody_for_long(void)
{
    struct setup s;
    int asked = 0;

    setup(&s);
    s.instance.answering = 77;
    call(&s, "GET", PATH "/assignments", NULL);
    while (s.fake.answers == 0 && asked < 100) {
        (void)expect_member(&s);
        tell(&s);
        asked++;
        world_advance(&s.world, 20 * MS);
    }
    CU_ASSERT_TRUE(asked > 40 && asked < 60);
    CU_ASSERT_TRUE(answered(&s, 200, "{\"topic\":\"t\",\"partition\":1}"));
    teardown(&s);
}

static void polls_are_refused_before_anything_is_read(void)
{
    struct setup s;

    setup(&s);
    call_with(&s, "GET", PATH "/records", NULL);
    fake_request_header(&s.fake, "Accept", "application/vnd.kafka.binary.v2+json");
    start(&s);
    (void)expect_member(&s);
    tell(&s);
    CU_ASSERT_TRUE(answered(&s, 406, "{\"error_code\":40601,"));
    s.is_subscribed = false;
    call(&s, "GET", PATH "/records", NULL);
    (void)expect_member(&s);
    tell(&s);
    CU_ASSERT_TRUE(answered(&s, 409, "{\"error_code\":40903,"));
    call_with(&s, "GET", PATH "/records", NULL);
    s.fake.request.is_head = true;
    start(&s);
    CU_ASSERT_TRUE(answered(&s, 405, "{\"error_code\":405,"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

/* The pattern's topics are those of the view at each poll. */
static void a_pattern_is_looked_at_again_in_each_poll(void)
{
    struct setup s;

    setup(&s);
    s.instance.pattern = RIA_SLICE_LITERAL("t|new-.*");
    (void)world_add_topic(&s.world, "new-1", 1);
    (void)world_add_topic(&s.world, "other", 1);
    world_publish(&s.world);
    world_run(&s.world);
    call(&s, "GET", PATH "/records", NULL);
    (void)expect_member(&s);
    tell(&s);
    const struct group_member *member = expect_member(&s);
    CU_ASSERT_EQUAL_FATAL(member->subscription_count, 2);
    CU_ASSERT_PTR_NULL(member->assignment);
    tell(&s);
    (void)expect(&s, 1, GROUP_OP_READ);
    refuse(&s, RIA_ERR_NOT_FOUND, "gone");
    CU_ASSERT_TRUE(answered(&s, 404, "{\"error_code\":40403,"));
    teardown(&s);
}

/* Nothing of the topic is known here yet: the poll waits for it, as long as it may. */
static void a_pattern_without_topics_waits(void)
{
    struct setup s;

    setup(&s);
    s.is_subscribed = false;
    s.instance.pattern = RIA_SLICE_LITERAL("none");
    call(&s, "GET", PATH "/records", NULL);
    (void)expect_member(&s);
    tell(&s);
    CU_ASSERT_EQUAL(s.fake.answers, 0);
    for (int i = 0; i < 20 && s.fake.answers == 0; i++) {
        world_advance(&s.world, 100 * MS);
    }
    CU_ASSERT_TRUE(answered(&s, 200, "[]"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

static void too_few_bytes_are_read_again(void)
{
    struct setup s;

    setup(&s);
    s.instance.fetch_min_bytes = 10000;
    call(&s, "GET", PATH "/records", NULL);
    (void)expect_member(&s);
    tell(&s);
    (void)expect(&s, 1, GROUP_OP_READ);
    grant(&s, 7);
    give_records(&s, 7, 1);
    CU_ASSERT_EQUAL(s.fake.answers, 0);
    CU_ASSERT_TRUE(nothing_asked(&s));
    world_advance(&s.world, 50 * MS);
    const struct group_read *read = expect(&s, 1, GROUP_OP_READ);
    CU_ASSERT_FALSE(read->commit_delivered);
    grant(&s, 7);
    world_advance(&s.world, 2000 * MS); /* past the time that it has */
    give_records(&s, 7, 2);
    (void)expect_member(&s); /* after so long */
    tell(&s);
    (void)expect_member(&s); /* the mark */
    tell(&s);
    CU_ASSERT_TRUE(answered(&s, 200, "\"offset\":8"));
    (void)expect(&s, 2, GROUP_OP_COMMIT);
    answer(&s);
    teardown(&s);
}

/* The mark takes the place of the whole detail: a poll that waited must not bring back an old one.
 */
static void a_pattern_that_came_during_a_poll_stays(void)
{
    struct setup s;

    setup(&s);
    call(&s, "GET", PATH "/records", NULL);
    (void)expect_member(&s);
    tell(&s);
    (void)expect(&s, 1, GROUP_OP_READ);
    grant(&s, 7);
    world_advance(&s.world, 150 * MS);
    give_records(&s, 7, 2);
    CU_ASSERT_TRUE(is_plain_touch(expect_member(&s), EPOCH));
    s.instance.pattern = RIA_SLICE_LITERAL("t.*");
    tell(&s);
    struct consumer_instance marked = detail_of(&s, expect_member(&s));
    CU_ASSERT_TRUE(ria_slice_equal(marked.pattern, RIA_SLICE_LITERAL("t.*")));
    CU_ASSERT_NOT_EQUAL(marked.answering, 0);
    tell(&s);
    CU_ASSERT_TRUE(answered(&s, 200, "\"offset\":8"));
    struct consumer_instance after;
    (void)expect(&s, 2, GROUP_OP_COMMIT);
    after = detail_of(&s, s.asked.bodies[1]);
    CU_ASSERT_TRUE(ria_slice_equal(after.pattern, RIA_SLICE_LITERAL("t.*")));
    answer(&s);
    /* Taken over meanwhile: what was read is given to nobody. */
    call(&s, "GET", PATH "/records", NULL);
    (void)expect_member(&s);
    tell(&s);
    (void)expect(&s, 1, GROUP_OP_READ);
    grant(&s, 9);
    world_advance(&s.world, 150 * MS);
    give_records(&s, 9, 2);
    (void)expect_member(&s);
    refuse(&s, RIA_ERR_FENCED_EPOCH, "taken over");
    CU_ASSERT_TRUE(answered(&s, 404, "{\"error_code\":40403,"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

/* --- positions and offsets ---------------------------------------------------------------------*/

static void say_range(struct setup *s, int64_t log_start, int64_t high_watermark)
{
    struct list_offsets_response response;
    struct world_call *asked = world_next_call(&s->world, API_LIST_OFFSETS);

    CU_ASSERT_PTR_NOT_NULL_FATAL(asked);
    list_offsets_response_init(&response);
    response.log_start_offset = log_start;
    response.high_watermark = high_watermark;
    response.offset = -1;
    world_reply(&s->world, asked, &response, RIA_SLICE_NULL);
    world_run(&s->world);
}

static void seeking_takes_hold_and_sets_what_comes_next(void)
{
    struct setup s;

    setup(&s);
    call(
        &s,
        "POST",
        PATH "/positions",
        "{\"offsets\":[{\"topic\":\"t\",\"partition\":0,\"offset\":\"5\"}]}"
    );
    (void)expect_member(&s);
    tell(&s);
    say_range(&s, 2, 40);
    const struct group_read *read = expect(&s, 1, GROUP_OP_READ);
    CU_ASSERT_TRUE(read->hold);
    CU_ASSERT_FALSE(read->commit_delivered);
    CU_ASSERT_EQUAL_FATAL(read->topics_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].starts[0].offset, 2); /* auto.offset.reset, not the target */
    CU_ASSERT_EQUAL(read->topics[0].ends[0].offset, INT64_MAX);
    grant(&s, 7);
    const struct group_commit *commit = expect(&s, 1, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL(commit->entries[0].lease_id, 11);
    CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
    CU_ASSERT_EQUAL(commit->entries[0].delivered, 5);
    struct group_commit_result_group_committed done = {.position = 7};
    struct group_commit_result result;
    group_commit_result_init(&result);
    result.entries = &done;
    result.entries_count = 1;
    s.asked.results[0] = &result;
    answer(&s);
    CU_ASSERT_TRUE(answered(&s, 204, ""));
    teardown(&s);
}

static void seeking_is_refused_where_it_cannot_be_done(void)
{
    struct setup s;

    setup(&s);
    call(&s, "POST", PATH "/positions/end", "{\"partitions\":[{\"topic\":\"t\",\"partition\":2}]}");
    (void)expect_member(&s);
    tell(&s);
    CU_ASSERT_TRUE(answered(&s, 409, "{\"error_code\":40903,")); /* it has 0 and 1 */
    call(
        &s,
        "POST",
        PATH "/positions",
        "{\"offsets\":[{\"topic\":\"t\",\"partition\":0,\"offset\":41}]}"
    );
    (void)expect_member(&s);
    tell(&s);
    say_range(&s, 2, 40);
    (void)expect(&s, 1, GROUP_OP_READ);
    grant(&s, 7);
    CU_ASSERT_TRUE(answered(&s, 400, "which has 2 to 40"));
    /* Another member has it still: nothing is granted. */
    call(
        &s,
        "POST",
        PATH "/positions/beginning",
        "{\"partitions\":[{\"topic\":\"t\",\"partition\":1}]}"
    );
    (void)expect_member(&s);
    tell(&s);
    say_range(&s, 2, 40);
    (void)expect(&s, 1, GROUP_OP_READ);
    answer(&s);
    CU_ASSERT_TRUE(answered(&s, 409, "{\"error_code\":40903,"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

static void subscribing_at_the_end_fixes_where_that_is(void)
{
    struct setup s;

    setup(&s);
    s.instance.from_latest = true;
    s.is_subscribed = false;
    call(&s, "POST", PATH "/subscription", "{\"topics\":[\"t\",\"t\"]}");
    (void)expect_member(&s);
    tell(&s);
    const struct group_member *member = expect_member(&s);
    CU_ASSERT_EQUAL_FATAL(member->subscription_count, 1);
    CU_ASSERT_EQUAL(member->member_epoch, EPOCH);
    s.is_subscribed = true;
    tell(&s);
    say_range(&s, 0, 40);
    say_range(&s, 0, 50);
    const struct group_read *read = expect(&s, 1, GROUP_OP_READ);
    CU_ASSERT_EQUAL_FATAL(read->topics_count, 1);
    CU_ASSERT_EQUAL_FATAL(read->topics[0].starts_count, 2);
    CU_ASSERT_EQUAL(read->topics[0].starts[0].offset, 40);
    CU_ASSERT_EQUAL(read->topics[0].starts[1].offset, 50);
    CU_ASSERT_EQUAL(read->topics[0].ends_count, 0);
    /* If it cannot be said now, it is found out at the first poll. */
    refuse(&s, RIA_ERR_INVALID, "");
    CU_ASSERT_TRUE(answered(&s, 204, ""));
    teardown(&s);
}

static void requests_under_way_are_forgotten_with_the_gateway(void)
{
    struct setup s;

    setup(&s);
    (void)poll_two(&s, PATH "/records"); /* the mark is under way, records are held */
    group_world_close(&s.asked);
    teardown(&s);
    setup(&s);
    (void)poll_two(&s, PATH "/records");
    tell(&s); /* what was delivered is being noted */
    teardown(&s);
    setup(&s);
    s.instance.answering = 1;
    call(&s, "GET", PATH "/assignments", NULL);
    (void)expect_member(&s);
    tell(&s); /* a timer runs */
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(creating_makes_a_member_with_its_settings),
    HARNESS_TEST(a_name_that_lives_is_refused_or_taken_over),
    HARNESS_TEST(a_create_that_was_repeated_knows_its_own),
    HARNESS_TEST(the_end_commits_what_was_delivered),
    HARNESS_TEST(who_is_gone_or_taken_over_is_not_found),
    HARNESS_TEST(what_the_socket_took_is_noted_as_delivered),
    HARNESS_TEST(an_answer_that_was_cut_off_delivers_nothing),
    HARNESS_TEST(the_limit_bounds_what_is_delivered),
    HARNESS_TEST(a_call_waits_for_the_answer_before_it),
    HARNESS_TEST(the_mark_of_a_gateway_that_died_holds_up_nobody_for_long),
    HARNESS_TEST(polls_are_refused_before_anything_is_read),
    HARNESS_TEST(a_pattern_is_looked_at_again_in_each_poll),
    HARNESS_TEST(a_pattern_without_topics_waits),
    HARNESS_TEST(too_few_bytes_are_read_again),
    HARNESS_TEST(a_pattern_that_came_during_a_poll_stays),
    HARNESS_TEST(seeking_takes_hold_and_sets_what_comes_next),
    HARNESS_TEST(seeking_is_refused_where_it_cannot_be_done),
    HARNESS_TEST(subscribing_at_the_end_fixes_where_that_is),
    HARNESS_TEST(requests_under_way_are_forgotten_with_the_gateway),
};

HARNESS_MAIN(tests);
