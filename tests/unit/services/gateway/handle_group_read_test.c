/* Reading as one of a group: what is asked, what the client gets, and what is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/batch.h"
#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_read.h"
#include "schemas/gen/group_read_result.h"

#include "services/gateway/group_ops.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/consuming.h"

enum { SECOND = 1000 * 1000 };

/* --- reading -----------------------------------------------------------------------------------*/

static void one_call_joins_leases_and_reads(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g%2F%C3%A4/records?topics=t,one&member=m%201&lease_ms=2000");
    const struct group_read *read = consuming_expect_read(&s);
    CU_ASSERT_TRUE(ria_slice_equal(read->group, RIA_SLICE_LITERAL("g/\xc3\xa4")));
    CU_ASSERT_TRUE(ria_slice_equal(read->member, RIA_SLICE_LITERAL("m 1")));
    CU_ASSERT_EQUAL(read->topics_count, 2);
    CU_ASSERT_EQUAL(read->lease_ms, 2000);
    CU_ASSERT_EQUAL(read->session_ms, 45000);
    CU_ASSERT_EQUAL(read->partitions_max, 16);
    CU_ASSERT_EQUAL(read->member_epoch, -1);
    CU_ASSERT_TRUE(read->read_id > 0);
    consuming_grant(&s, 2, 7);
    consuming_give_records(&s, 7, 2);
    CU_ASSERT_TRUE(consuming_waits(&s, 0)); /* for the other partition */
    consuming_give_records(&s, 7, 1);
    CU_ASSERT_TRUE(consuming_answered(
        &s,
        0,
        200,
        "{\"records\":["
        "{\"topic\":\"t\",\"partition\":0,\"offset\":7,\"timestamp\":5,\"key\":null,\"value\":1},"
        "{\"topic\":\"t\",\"partition\":0,\"offset\":8,\"timestamp\":5,\"key\":null,\"value\":1},"
        "{\"topic\":\"t\",\"partition\":1,\"offset\":7,\"timestamp\":5,\"key\":null,\"value\":1}],"
        "\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"offset\":7,\"next_offset\":9,"
        "\"high_watermark\":9,\"log_start_offset\":0,\"lease_ms\":30000}"
    ));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fakes[0].fields, "Riacho-Cursor: "));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s)); /* both leases are out */
    consuming_fini(&s);
}

static void the_next_call_commits_the_cursor(void)
{
    struct consuming s;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    consuming_get(
        &s, 1, consuming_with_cursor(&s, 0, "/v1/groups/g/records?topics=t&after=", path)
    );
    const struct group_read *read = consuming_expect_read(&s);
    CU_ASSERT_EQUAL_FATAL(read->commits_count, 1);
    CU_ASSERT_TRUE(ria_uuid_equal(read->commits[0].topic_id, s.t->id));
    CU_ASSERT_EQUAL(read->commits[0].partition, 0);
    CU_ASSERT_EQUAL(read->commits[0].lease_id, 11);
    CU_ASSERT_EQUAL(read->commits[0].offset, 9);
    /* The end is known from the fetch: nobody else is asked. */
    CU_ASSERT_EQUAL_FATAL(read->topics[0].ends_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].ends[0].offset, 9);
    consuming_offer(&s, 3, 9);
    consuming_say_nothing_moved(&s);
    CU_ASSERT_TRUE(
        consuming_answered(&s, 1, 200, "{\"records\":[],\"partitions\":[],\"lost\":[],\"cursor\"")
    );
    consuming_fini(&s);
}

static void the_cursor_of_an_empty_answer_commits_nothing(void)
{
    struct consuming s;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t");
    (void)consuming_expect_read(&s);
    consuming_offer(&s, 0, 0);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"records\":[]"));
    consuming_get(
        &s, 1, consuming_with_cursor(&s, 0, "/v1/groups/g/records?topics=t&after=", path)
    );
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->commits_count, 0);
    consuming_offer(&s, 0, 0);
    consuming_fini(&s);
}

static void lines_and_batches_say_where_they_are_from(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get_as(&s, 0, "/v1/groups/g/records?topics=t", "application/x-ndjson");
    (void)consuming_expect_read(&s);
    consuming_grant(&s, 1, 7);
    consuming_give_records(&s, 7, 1);
    CU_ASSERT_STRING_EQUAL(
        s.fakes[0].body,
        "{\"topic\":\"t\",\"partition\":0,\"offset\":7,\"timestamp\":5,\"key\":null,\"value\":1}\n"
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fakes[0].fields, "Riacho-Cursor: "));

    consuming_get_as(&s, 1, "/v1/groups/g/records?topics=t", "application/vnd.riacho.batch");
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->partitions_max, 1);
    consuming_grant(&s, 1, 8);
    consuming_give_records(&s, 8, 2);
    CU_ASSERT_EQUAL(s.fakes[1].status, 200);
    CU_ASSERT_TRUE(s.fakes[1].body_size > BATCH_HEADER_SIZE);
    CU_ASSERT_PTR_NOT_NULL(strstr(
        s.fakes[1].fields,
        "Riacho-Topic: t\nRiacho-Partition: 0\nRiacho-Offset: 8\nRiacho-Next-Offset: 10\n"
    ));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fakes[1].fields, "Riacho-Cursor: "));
    consuming_fini(&s);
}

static void parameters_may_come_in_a_document(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_post(
        &s,
        0,
        "/v1/groups/g/records",
        "{\"topics\":[\"t\",\"one\"],\"max_partitions\":2,\"from\":\"latest\"}"
    );
    const struct group_read *read = consuming_expect_read(&s);
    CU_ASSERT_EQUAL(read->topics_count, 2);
    CU_ASSERT_EQUAL(read->partitions_max, 2);
    consuming_offer(&s, 0, 0);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"records\":[]"));
    consuming_post(&s, 0, "/v1/groups/g/records", "{\"topics\":\"t\",\"sort\":1}");
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 400, "sort"));
    consuming_fini(&s);
}

static void leases_that_are_not_used_are_given_back(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t&max_records=2");
    (void)consuming_expect_read(&s);
    consuming_grant(&s, 3, 7);
    consuming_give_records(&s, 7, 3);
    consuming_give_records(&s, 7, 1);
    consuming_give_records(&s, 7, 0); /* the hint was wrong */
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"next_offset\":9"));
    world_run(&s.world);
    (void)consuming_expect(
        &s, 2, GROUP_OP_COMMIT
    ); /* of the one without records, and of the one that had no room */
    for (uint32_t i = 0; i < 2; i++) {
        const struct group_commit *commit = s.asked.bodies[i];
        CU_ASSERT_EQUAL_FATAL(s.asked.kinds[i], GROUP_OP_COMMIT);
        CU_ASSERT_EQUAL_FATAL(commit->entries_count, 1);
        CU_ASSERT_EQUAL(commit->entries[0].lease_id, i == 0 ? 13 : 12);
        CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
        CU_ASSERT_FALSE(commit->entries[0].keep);
    }
    consuming_answer(&s);
    consuming_fini(&s);
}

static void an_answer_that_was_cut_off_gives_its_leases_back(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t");
    (void)consuming_expect_read(&s);
    consuming_grant(&s, 1, 7);
    s.fakes[0].cut_off = true;
    consuming_give_records(&s, 7, 2);
    CU_ASSERT_EQUAL_FATAL(consuming_expect_commit(&s)->entries_count, 1);
    CU_ASSERT_EQUAL(((const struct group_commit *)s.asked.bodies[0])->entries[0].lease_id, 11);
    consuming_answer(&s);
    consuming_fini(&s);
}

static void one_dead_leader_does_not_hold_up_the_rest(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t");
    (void)consuming_expect_read(&s);
    consuming_grant(&s, 2, 7);
    consuming_give_records(&s, 7, 2);
    CU_ASSERT_TRUE(consuming_waits(&s, 0));
    world_advance(&s.world, SECOND / 2);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"partition\":0,\"offset\":8"));
    CU_ASSERT_EQUAL(consuming_expect_commit(&s)->entries[0].lease_id, 12);
    consuming_answer(&s);
    consuming_fini(&s);
}

/* --- what is lost ------------------------------------------------------------------------------*/

static void what_is_lost_is_told(void)
{
    struct consuming s;
    struct group_read_result result;
    struct group_read_result_group_lost lost;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    consuming_get(
        &s, 1, consuming_with_cursor(&s, 0, "/v1/groups/g/records?topics=t&after=", path)
    );
    (void)consuming_expect_read(&s);
    group_read_result_init(&result);
    lost =
        (struct group_read_result_group_lost){.topic_id = s.t->id, .partition = 0, .position = 8};
    result.lost = &lost;
    result.lost_count = 1;
    consuming_answer_with(&s, &result);
    CU_ASSERT_TRUE(consuming_answered(
        &s, 1, 200, "\"lost\":[{\"topic\":\"t\",\"partition\":0,\"position\":8}]"
    ));
    consuming_fini(&s);
}

/* The header was cut off without a word. */
static void what_is_lost_and_has_no_room_is_counted(void)
{
    static struct group_read_result_group_lost lost[400];
    struct consuming s;
    struct group_read_result result;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    consuming_get_as(
        &s,
        1,
        consuming_with_cursor(&s, 0, "/v1/groups/g/records?topics=t&after=", path),
        "application/x-ndjson"
    );
    (void)consuming_expect_read(&s);
    group_read_result_init(&result);
    for (size_t i = 0; i < RIA_COUNT(lost); i++) {
        lost[i] = (struct group_read_result_group_lost
        ){.topic_id = s.t->id, .partition = (int32_t)i, .position = 8};
    }
    result.lost = lost;
    result.lost_count = RIA_COUNT(lost);
    consuming_answer_with(&s, &result);
    CU_ASSERT_EQUAL(s.fakes[1].status, 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fakes[1].fields, "Riacho-Lost: t/0,t/1,"));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fakes[1].fields, "Riacho-Lost-Count: 400\n"));
    const char *value = strstr(s.fakes[1].fields, "Riacho-Lost: ");
    const char *end = value == NULL ? NULL : strchr(value, '\n');
    CU_ASSERT_PTR_NOT_NULL_FATAL(end);
    CU_ASSERT_TRUE(end - value <= 1024 + 13);
    long commas = 0;
    const char *last = value;
    for (const char *at = value; at < end; at++) {
        commas += *at == ',';
        last = *at == '/' ? at + 1 : last;
    }
    CU_ASSERT_EQUAL(strtol(last, NULL, 10), commas); /* the last one is whole */
    consuming_fini(&s);
}

/* Asked again after a lost answer, the group is at `position`. */
static void repeat_a_commit(int64_t position, const char *lost_text)
{
    struct consuming s;
    struct group_read_result result;
    struct group_read_result_group_lost lost;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    consuming_get(
        &s, 1, consuming_with_cursor(&s, 0, "/v1/groups/g/records?topics=t&after=", path)
    );
    int64_t read_id = consuming_expect_read(&s)->read_id;
    world_lose(&s.world, s.asked.call, RIA_ERR_TIMEOUT);
    group_world_close(&s.asked);
    world_advance(&s.world, SECOND / 5);
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->read_id, read_id);
    group_read_result_init(&result);
    lost = (struct group_read_result_group_lost
    ){.topic_id = s.t->id, .partition = 0, .position = position};
    result.lost = &lost;
    result.lost_count = 1;
    consuming_answer_with(&s, &result);
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 200, lost_text));
    consuming_fini(&s);
}

static void a_commit_that_was_repeated_is_not_lost(void)
{
    repeat_a_commit(9, "\"lost\":[]");
}

/* The simulator's seed 1300: it was said to be committed, and never was. */
static void a_repeated_commit_that_others_may_have_overtaken_is_lost(void)
{
    repeat_a_commit(12, "\"lost\":[{\"topic\":\"t\",\"partition\":0,\"position\":12}]");
}

/* --- what is refused ---------------------------------------------------------------------------*/

static void a_head_leases_nothing(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_begin(&s, 0, "GET", "/v1/groups/g/records?topics=t", NULL);
    s.fakes[0].request.is_head = true;
    consuming_send(&s, 0);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 405, "lease"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s));
    consuming_fini(&s);
}

static void a_topic_that_is_a_queue_is_refused(void)
{
    struct consuming s;

    consuming_init(&s);
    s.one->delivery = "queue";
    s.one->config_epoch++;
    world_publish(&s.world);
    world_run(&s.world);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t,one");
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 409, "topic one is a queue"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s));
    consuming_fini(&s);
}

static void refusals_have_their_status(void)
{
    static const struct {
        ria_err err;
        int status;
        const char *part;
    } rows[] = {
        {RIA_ERR_CONFLICT, 409, "\"code\":\"conflict\",\"message\":\"why\""},
        {RIA_ERR_LIMIT, 429, "\"code\":\"limit\""},
        {RIA_ERR_INVALID, 400, "\"code\":\"invalid\""},
        {RIA_ERR_UNKNOWN_TOPIC, 404, "\"code\":\"unknown_topic\""},
        {RIA_ERR_FENCED_EPOCH, 409, "\"code\":\"fenced_member\""},
    };
    struct consuming s;

    consuming_init(&s);
    for (size_t i = 0; i < RIA_COUNT(rows); i++) {
        consuming_get(&s, 0, "/v1/groups/g/records?topics=t");
        (void)consuming_expect_read(&s);
        consuming_refuse(&s, rows[i].err, "why");
        CU_ASSERT_TRUE(consuming_answered(&s, 0, rows[i].status, rows[i].part));
        CU_ASSERT_EQUAL(
            strstr(s.fakes[0].fields, "Retry-After") != NULL, rows[i].err == RIA_ERR_LIMIT
        );
    }
    consuming_fini(&s);
}

static void parameters_are_checked_before_anybody_is_asked(void)
{
    static const struct {
        const char *path;
        const char *part;
    } rows[] = {
        {"/v1/groups/g/records", "topics is missing"},
        {"/v1/groups/g/records?topics=", "topics is empty"},
        {"/v1/groups/g/records?topics=t&wait=5", "there is no query parameter wait"},
        {"/v1/groups/g/records?topics=t&from=middle", "from must be one of earliest latest"},
        {"/v1/groups/g/records?topics=t&lease_ms=999", "lease_ms must be a whole number"},
        {"/v1/groups/g/records?topics=t&lease_ms=43200001", "lease_ms must be a whole number"},
        {"/v1/groups/g/records?topics=t&max_partitions=65", "max_partitions"},
        {"/v1/groups/g/records?topics=t&member=%01", "member must be"},
        {"/v1/groups/a%0Ab/records?topics=t", "group must be"},
        {"/v1/groups/%FF/records?topics=t", "group must be"},
        {"/v1/groups/g/records?topics=t&after=xyz", "malformed_cursor"},
        {"/v1/groups/g/records?topics=t&on_out_of_range=stop", "on_out_of_range must be one of"},
    };
    struct consuming s;

    consuming_init(&s);
    for (size_t i = 0; i < RIA_COUNT(rows); i++) {
        consuming_get(&s, 0, rows[i].path);
        CU_ASSERT_TRUE(consuming_answered(&s, 0, 400, rows[i].part));
    }
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t,nothere");
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 404, "topic \\\"nothere\\\" does not exist"));
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    consuming_fini(&s);
}

static void a_cursor_of_another_group_or_of_a_topic_that_went_is_refused(void)
{
    struct consuming s;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    consuming_get(
        &s, 1, consuming_with_cursor(&s, 0, "/v1/groups/h/records?topics=t&after=", path)
    );
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 400, "the cursor is of another group"));
    s.t->deleted = true;
    world_publish(&s.world);
    world_run(&s.world);
    consuming_get(
        &s, 1, consuming_with_cursor(&s, 0, "/v1/groups/g/records?topics=one&after=", path)
    );
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 410, "stale_cursor"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s));
    consuming_fini(&s);
}

static void drop_one(struct consuming *s)
{
    s->one->deleted = true;
    world_publish(&s->world);
    world_run(&s->world);
}

/* One of two topics was deleted: nothing was committed, and the other's lease stayed out. */
static void a_topic_that_went_does_not_hold_up_the_others_commits(void)
{
    struct consuming s;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    drop_one(&s);
    consuming_get(&s, 1, consuming_with_both(&s, "/v1/groups/g/records?topics=t&after=", path));
    const struct group_read *read = consuming_expect_read(&s);
    CU_ASSERT_EQUAL_FATAL(read->commits_count, 1);
    CU_ASSERT_EQUAL(read->commits[0].lease_id, 11);
    CU_ASSERT_EQUAL(read->commits[0].offset, 9);
    consuming_grant(&s, 1, 9);
    consuming_give_records(&s, 9, 1);
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 200, "\"lost\":[{\"topic\":\"one\",\"topic_id\":\""));
    CU_ASSERT_TRUE(consuming_answered(
        &s, 1, 200, "\",\"reason\":\"topic_deleted\",\"partition\":0,\"position\":null}]"
    ));
    consuming_fini(&s);
}

static void a_topic_that_was_made_anew_is_another_one(void)
{
    struct consuming s;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    drop_one(&s);
    (void)world_add_topic(&s.world, "one", 1);
    world_publish(&s.world);
    world_run(&s.world);
    consuming_get(&s, 1, consuming_with_both(&s, "/v1/groups/g/records?topics=t&after=", path));
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->commits_count, 1);
    consuming_grant(&s, 1, 9);
    consuming_give_records(&s, 9, 1);
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 200, "\"reason\":\"topic_recreated\""));
    consuming_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(one_call_joins_leases_and_reads),
    HARNESS_TEST(the_next_call_commits_the_cursor),
    HARNESS_TEST(the_cursor_of_an_empty_answer_commits_nothing),
    HARNESS_TEST(lines_and_batches_say_where_they_are_from),
    HARNESS_TEST(parameters_may_come_in_a_document),
    HARNESS_TEST(leases_that_are_not_used_are_given_back),
    HARNESS_TEST(an_answer_that_was_cut_off_gives_its_leases_back),
    HARNESS_TEST(one_dead_leader_does_not_hold_up_the_rest),
    HARNESS_TEST(what_is_lost_is_told),
    HARNESS_TEST(what_is_lost_and_has_no_room_is_counted),
    HARNESS_TEST(a_commit_that_was_repeated_is_not_lost),
    HARNESS_TEST(a_repeated_commit_that_others_may_have_overtaken_is_lost),
    HARNESS_TEST(a_topic_that_went_does_not_hold_up_the_others_commits),
    HARNESS_TEST(a_topic_that_was_made_anew_is_another_one),
    HARNESS_TEST(a_head_leases_nothing),
    HARNESS_TEST(a_topic_that_is_a_queue_is_refused),
    HARNESS_TEST(refusals_have_their_status),
    HARNESS_TEST(parameters_are_checked_before_anybody_is_asked),
    HARNESS_TEST(a_cursor_of_another_group_or_of_a_topic_that_went_is_refused),
};

HARNESS_MAIN(tests);
