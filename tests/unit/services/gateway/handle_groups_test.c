/* An operator's view of groups: listed, described with their lag, reset and deleted. */
#include <stdio.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"
#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/group_delete.h"
#include "schemas/gen/group_reset.h"
#include "schemas/gen/group_reset_result.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/group_ops.h"
#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/group_world.h"

enum { SECOND = 1000 * 1000 };

struct setup {
    struct world world;
    struct world_topic *t; /* three partitions */
    struct gateway *gateway;
    struct fake_request fake;
    struct group_world_request asked;
};

static void setup(struct setup *s)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = 1 << 20,
        .request_timeout_ms = 10000,
    };

    memset(&s->fake, 0, sizeof(s->fake));
    world_init(&s->world, 3);
    s->t = world_add_topic(&s->world, "t", 3);
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s->world.env, &options, &s->world.budget, NULL, &s->gateway), RIA_OK
    );
    gateway_start(s->gateway);
    world_run(&s->world);
}

static void teardown(struct setup *s)
{
    gateway_free(s->gateway);
    if (s->fake.request.ops != NULL) {
        fake_request_fini(&s->fake);
    }
    world_fini(&s->world);
    CU_ASSERT_EQUAL(s->world.budget.used.value, 0);
}

static void call(struct setup *s, const char *method, const char *path, const char *body)
{
    size_t body_max = 0;

    if (s->fake.request.ops != NULL) {
        fake_request_fini(&s->fake);
    }
    fake_request_init(&s->fake, method, path, body);
    fake_request_header(&s->fake, "Content-Type", "application/json");
    s->fake.request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &s->fake.request, &body_max);
    gateway_handle(s->gateway, &s->fake.request);
    world_run(&s->world);
}

static bool answered(const struct setup *s, int status, const char *part)
{
    bool same = s->fake.answers == 1 && s->fake.status == status &&
                (part[0] == '\0' || fake_answer_has(&s->fake, part));

    if (!same) {
        (void)printf("[%d %s]", s->fake.status, s->fake.body == NULL ? "" : s->fake.body);
    }
    return same;
}

static struct world_call *next(struct setup *s, int16_t api_key)
{
    struct world_call *found = world_next_call(&s->world, api_key);

    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    return found;
}

static void say_groups(struct setup *s, struct describe_groups_response *response)
{
    world_reply(&s->world, next(s, API_DESCRIBE_GROUPS), response, RIA_SLICE_NULL);
    world_run(&s->world);
}

/* The group "g": partitions 0 and 1 of t at 4 and nowhere yet; 0 is leased to "m". */
static void say_group(struct setup *s)
{
    struct describe_groups_response response;
    struct describe_groups_response_described_group group;
    struct describe_groups_response_described_group_member member;
    struct describe_groups_response_described_group_partition partitions[2];

    describe_groups_response_init(&response);
    describe_groups_response_described_group_init(&group);
    describe_groups_response_described_group_member_init(&member);
    group.group = RIA_SLICE_LITERAL("g");
    group.generation = 3;
    member.name = RIA_SLICE_LITERAL("m");
    member.session_ms = 45000;
    member.left_ms = 44000;
    member.topics = &s->t->id;
    member.topics_count = 1;
    group.members = &member;
    group.members_count = 1;
    for (int32_t p = 0; p < 2; p++) {
        describe_groups_response_described_group_partition_init(&partitions[p]);
        partitions[p].topic_id = s->t->id;
        partitions[p].partition = p;
        partitions[p].position = p == 0 ? 4 : -1;
    }
    partitions[0].lease_id = 9;
    partitions[0].holder = RIA_SLICE_LITERAL("m");
    partitions[0].lease_left_ms = 1500;
    partitions[1].lease_id = 8; /* over: nobody holds it */
    partitions[1].lease_left_ms = -1;
    group.partitions = partitions;
    group.partitions_count = 2;
    response.groups = &group;
    response.groups_count = 1;
    say_groups(s, &response);
}

static void say_range(struct setup *s, int64_t start, int64_t end, int64_t by_time)
{
    struct list_offsets_response response;

    list_offsets_response_init(&response);
    response.log_start_offset = start;
    response.high_watermark = end;
    response.offset = by_time;
    world_reply(&s->world, next(s, API_LIST_OFFSETS), &response, RIA_SLICE_NULL);
    world_run(&s->world);
}

/* A batch of three records from the offset on, a second apart, the first as old as that. */
static void say_records(struct setup *s, int64_t offset, int64_t age_ms)
{
    int64_t now_ms = s->world.clock.wall_ms(&s->world.clock);
    struct batch_builder builder;
    struct fetch_response response;

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(
            batch_builder_add(
                &builder,
                now_ms - age_ms + i * 1000,
                RIA_SLICE_NULL,
                RIA_SLICE_LITERAL("1"),
                NULL,
                0
            ),
            RIA_OK
        );
    }
    struct ria_slice bytes = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(builder.buf.data, offset, 1);
    fetch_response_init(&response);
    world_reply(&s->world, next(s, API_FETCH), &response, bytes);
    batch_builder_fini(&builder);
    world_run(&s->world);
}

/* --- looking -----------------------------------------------------------------------------------*/

static void groups_are_listed_page_by_page(void)
{
    struct setup s;
    struct describe_groups_request request;
    struct describe_groups_response response;
    struct describe_groups_response_described_group groups[2];
    struct ria_arena arena;
    struct ria_slice payload;

    setup(&s);
    call(&s, "GET", "/v1/groups?limit=2&after=a%2F", NULL);
    ria_arena_init(&arena, 4096);
    world_open(next(&s, API_DESCRIBE_GROUPS), &arena, &request, &payload);
    CU_ASSERT_EQUAL(request.limit, 2);
    CU_ASSERT_TRUE(ria_slice_equal(request.after, RIA_SLICE_LITERAL("a/")));
    CU_ASSERT_EQUAL(request.name.size, 0);
    ria_arena_fini(&arena);
    describe_groups_response_init(&response);
    for (int i = 0; i < 2; i++) {
        describe_groups_response_described_group_init(&groups[i]);
        groups[i].group = i == 0 ? RIA_SLICE_LITERAL("b\"") : RIA_SLICE_LITERAL("c");
        groups[i].mode = (int8_t)i;
        groups[i].created_ms = 7;
        groups[i].member_count = i;
    }
    response.groups = groups;
    response.groups_count = 2;
    response.more = true;
    say_groups(&s, &response);
    CU_ASSERT_TRUE(answered(
        &s,
        200,
        "{\"groups\":[\n"
        "{\"group\":\"b\\\"\",\"mode\":\"stream\",\"created_ms\":7,\"members\":0},\n"
        "{\"group\":\"c\",\"mode\":\"queue\",\"created_ms\":7,\"members\":1}\n"
        "],\"next\":\"c\"}"
    ));
    call(&s, "GET", "/v1/groups?limit=1001", NULL);
    CU_ASSERT_TRUE(answered(&s, 400, "limit"));
    teardown(&s);
}

static void lag_is_told_in_records_and_in_seconds(void)
{
    struct setup s;

    setup(&s);
    call(&s, "GET", "/v1/groups/g", NULL);
    say_group(&s);
    say_range(&s, 0, 10, -1);
    say_range(&s, 2, 5, -1);
    say_records(&s, 3, 10000); /* partition 0 from 4 on: the batch begins in front of it */
    say_records(&s, 2, 2500);
    CU_ASSERT_TRUE(answered(
        &s,
        200,
        "{\"topic\":\"t\",\"partition\":0,\"position\":4,\"log_start_offset\":0,"
        "\"high_watermark\":10,\"lag\":6,\"lag_seconds\":9.000,\"committed_ms\":null,"
        "\"member\":null,\"lease\":{\"id\":9,\"holder\":\"m\",\"left_ms\":1500}}"
    ));
    CU_ASSERT_TRUE(fake_answer_has(
        &s.fake,
        "\"partition\":1,\"position\":null,\"log_start_offset\":2,\"high_watermark\":5,\"lag\":3,"
        "\"lag_seconds\":2.500,\"committed_ms\":null,\"member\":null,\"lease\":null}"
    )); /* its lease is over: nobody holds it */
    CU_ASSERT_TRUE(fake_answer_has(&s.fake, "],\"lag\":9,\"lag_seconds\":9.000}"));
    CU_ASSERT_TRUE(fake_answer_has(
        &s.fake,
        "{\"name\":\"m\",\"kind\":\"named\",\"epoch\":0,\"session_ms\":45000,\"left_ms\":44000,"
        "\"chosen\":false,\"topics\":[\"t\"]}"
    ));
    teardown(&s);
}

static void who_is_not_behind_is_asked_for_no_record(void)
{
    struct setup s;

    setup(&s);
    call(&s, "GET", "/v1/groups/g", NULL);
    say_group(&s);
    say_range(&s, 0, 4, -1);
    say_range(&s, 0, 0, -1);
    CU_ASSERT_TRUE(answered(&s, 200, "],\"lag\":0,\"lag_seconds\":0.000}"));
    teardown(&s);
}

static void a_leader_that_does_not_tell_leaves_nulls(void)
{
    struct setup s;

    setup(&s);
    s.t->leaders[1] = -1;
    world_publish(&s.world);
    world_run(&s.world);
    call(&s, "GET", "/v1/groups/g", NULL);
    say_group(&s);
    say_range(&s, 0, 4, -1);
    world_advance(&s.world, 4 * SECOND);
    CU_ASSERT_TRUE(answered(&s, 200, "\"partition\":0,\"position\":4,\"log_start_offset\":0"));
    CU_ASSERT_TRUE(fake_answer_has(
        &s.fake,
        "\"partition\":1,\"position\":null,\"log_start_offset\":null,\"high_watermark\":null,"
        "\"lag\":null,\"lag_seconds\":null"
    ));
    CU_ASSERT_TRUE(fake_answer_has(&s.fake, "],\"lag\":null,\"lag_seconds\":null}"));
    teardown(&s);
}

static void a_group_that_is_not_there_is_404(void)
{
    struct setup s;
    struct describe_groups_response response;

    setup(&s);
    call(&s, "GET", "/v1/groups/g", NULL);
    world_refuse(&s.world, next(&s, API_DESCRIBE_GROUPS), RIA_ERR_NOT_FOUND, "no");
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 404, "there is no such group"));
    call(&s, "GET", "/v1/groups/g", NULL);
    describe_groups_response_init(&response);
    say_groups(&s, &response);
    CU_ASSERT_TRUE(answered(&s, 404, "there is no such group"));
    teardown(&s);
}

/* --- changing ----------------------------------------------------------------------------------*/

static const struct group_reset *expect_reset(struct setup *s)
{
    CU_ASSERT_TRUE_FATAL(group_world_open(&s->world, &s->asked));
    CU_ASSERT_EQUAL_FATAL(s->asked.kinds[0], GROUP_OP_RESET);
    return s->asked.bodies[0];
}

/* Each was at 4. */
static void answer_reset(struct setup *s, uint32_t count)
{
    struct group_reset_result result;
    struct group_reset_result_group_reset_from from[3] = {{4}, {4}, {4}};

    group_reset_result_init(&result);
    result.entries = from;
    result.entries_count = count;
    s->asked.results[0] = &result;
    group_world_answer(&s->world, &s->asked);
    world_run(&s->world);
}

static void a_reset_takes_all_partitions_that_the_group_has(void)
{
    struct setup s;

    setup(&s);
    call(&s, "POST", "/v1/groups/g/reset", "{\"to\":\"latest\",\"dry_run\":true}");
    say_group(&s);
    say_range(&s, 0, 10, -1);
    say_range(&s, 0, 11, -1);
    const struct group_reset *reset = expect_reset(&s);
    CU_ASSERT_EQUAL_FATAL(reset->entries_count, 2);
    CU_ASSERT_EQUAL(reset->entries[0].offset, 10);
    CU_ASSERT_EQUAL(reset->entries[1].offset, 11);
    CU_ASSERT_TRUE(reset->dry_run);
    CU_ASSERT_FALSE(reset->force);
    answer_reset(&s, 2);
    CU_ASSERT_TRUE(answered(
        &s,
        200,
        "{\"dry_run\":true,\"partitions\":[\n"
        "{\"topic\":\"t\",\"partition\":0,\"from\":4,\"to\":10},\n"
        "{\"topic\":\"t\",\"partition\":1,\"from\":4,\"to\":11}\n]}"
    ));
    teardown(&s);
}

static void a_reset_by_time_takes_the_first_record_since_or_the_end(void)
{
    struct setup s;
    struct list_offsets_request request;
    struct ria_arena arena;
    struct ria_slice payload;

    setup(&s);
    call(
        &s,
        "POST",
        "/v1/groups/g/reset",
        "{\"timestamp\":77,\"topics\":[\"t\"],\"partitions\":[0,2],\"force\":true}"
    );
    ria_arena_init(&arena, 4096);
    world_open(next(&s, API_LIST_OFFSETS), &arena, &request, &payload);
    CU_ASSERT_EQUAL(request.timestamp, 77);
    ria_arena_fini(&arena);
    say_range(&s, 0, 10, 6);
    say_range(&s, 0, 12, -1);
    const struct group_reset *reset = expect_reset(&s);
    CU_ASSERT_EQUAL_FATAL(reset->entries_count, 2);
    CU_ASSERT_EQUAL(reset->entries[0].offset, 6);
    CU_ASSERT_EQUAL(reset->entries[1].partition, 2);
    CU_ASSERT_EQUAL(reset->entries[1].offset, 12);
    CU_ASSERT_TRUE(reset->force);
    answer_reset(&s, 2);
    CU_ASSERT_TRUE(answered(&s, 200, "\"partition\":2,\"from\":4,\"to\":12"));
    teardown(&s);
}

static void a_reset_to_an_offset_must_be_in_range(void)
{
    struct setup s;

    setup(&s);
    call(&s, "POST", "/v1/groups/g/reset", "{\"offset\":3,\"topics\":\"t\",\"partitions\":[0]}");
    say_range(&s, 5, 10, -1);
    CU_ASSERT_TRUE(answered(&s, 400, "offset 3 is outside of partition 0 of topic t, which has 5"));
    CU_ASSERT_PTR_NULL(world_next_call(&s.world, API_GROUP));
    teardown(&s);
}

static void what_a_reset_does_not_understand_is_refused(void)
{
    static const struct {
        const char *body;
        int status;
    } rows[] = {
        {"{}", 400},
        {"{\"to\":\"latest\",\"offset\":1}", 400},
        {"{\"to\":\"middle\"}", 400},
        {"{\"to\":\"latest\",\"partitions\":[0]}", 400},
        {"{\"to\":\"latest\",\"topics\":[\"t\"],\"partitions\":[3]}", 404},
        {"{\"to\":\"latest\",\"topics\":[\"t\"],\"partitions\":[\"0\"]}", 404},
        {"{\"to\":\"latest\",\"topics\":[\"nothere\"]}", 404},
        {"{\"to\":\"latest\",\"dry_run\":\"maybe\"}", 400},
        {"{\"to\":\"latest\",\"dryrun\":true}", 400},
    };
    struct setup s;

    setup(&s);
    for (size_t i = 0; i < RIA_COUNT(rows); i++) {
        call(&s, "POST", "/v1/groups/g/reset", rows[i].body);
        CU_ASSERT_TRUE(answered(&s, rows[i].status, "error"));
    }
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    teardown(&s);
}

static void a_refused_reset_says_why(void)
{
    struct setup s;

    setup(&s);
    call(&s, "POST", "/v1/groups/g/reset", "{\"to\":\"latest\"}");
    say_group(&s);
    say_range(&s, 0, 10, -1);
    say_range(&s, 0, 10, -1);
    (void)expect_reset(&s);
    s.asked.errs[0] = RIA_ERR_CONFLICT;
    s.asked.texts[0] = "leases are held";
    group_world_answer(&s.world, &s.asked);
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 409, "leases are held"));
    teardown(&s);
}

static void a_group_is_deleted_and_not_twice(void)
{
    struct setup s;

    setup(&s);
    call(&s, "DELETE", "/v1/groups/g?force=true", NULL);
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.world, &s.asked));
    CU_ASSERT_EQUAL_FATAL(s.asked.kinds[0], GROUP_OP_DELETE);
    CU_ASSERT_TRUE(((const struct group_delete *)s.asked.bodies[0])->force);
    group_world_answer(&s.world, &s.asked);
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 204, ""));
    /* An answer that was lost: a group of that name may be another one by now. */
    call(&s, "DELETE", "/v1/groups/g", NULL);
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.world, &s.asked));
    world_lose(&s.world, s.asked.call, RIA_ERR_TIMEOUT);
    group_world_close(&s.asked);
    world_advance(&s.world, SECOND);
    CU_ASSERT_TRUE(answered(&s, 503, "\"outcome\":\"unknown\""));
    CU_ASSERT_PTR_NULL(world_next_call(&s.world, API_GROUP));
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(groups_are_listed_page_by_page),
    HARNESS_TEST(lag_is_told_in_records_and_in_seconds),
    HARNESS_TEST(who_is_not_behind_is_asked_for_no_record),
    HARNESS_TEST(a_leader_that_does_not_tell_leaves_nulls),
    HARNESS_TEST(a_group_that_is_not_there_is_404),
    HARNESS_TEST(a_reset_takes_all_partitions_that_the_group_has),
    HARNESS_TEST(a_reset_by_time_takes_the_first_record_since_or_the_end),
    HARNESS_TEST(a_reset_to_an_offset_must_be_in_range),
    HARNESS_TEST(what_a_reset_does_not_understand_is_refused),
    HARNESS_TEST(a_refused_reset_says_why),
    HARNESS_TEST(a_group_is_deleted_and_not_twice),
};

HARNESS_MAIN(tests);
