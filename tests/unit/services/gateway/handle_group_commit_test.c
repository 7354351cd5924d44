/* Commits, extensions and releases by a cursor, without reading, and a member that leaves. */
#include <stdio.h>

#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_commit_result.h"
#include "schemas/gen/group_leave.h"

#include "services/gateway/group_ops.h"
#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/consuming.h"

enum { BODY_MAX = CONSUMING_PATH_MAX + 100 };

static void answer_commit(struct consuming *s, ria_err err, int64_t position)
{
    struct group_commit_result result;
    struct group_commit_result_group_committed entry = {
        .error_code = (int16_t)err, .position = position, .left_ms = 5000};

    group_commit_result_init(&result);
    result.entries = &entry;
    result.entries_count = 1;
    consuming_answer_with(s, &result);
}

static const char *
cursor_document(const struct consuming *s, int i, const char *more, char out[BODY_MAX])
{
    char text[CONSUMING_PATH_MAX];

    (void)snprintf(
        out, BODY_MAX, "{\"cursor\":\"%.900s\"%s}", consuming_with_cursor(s, i, "", text), more
    );
    return out;
}

/* The simulator's seed 1031: it called every cursor another cluster's. */
static void a_gateway_that_has_just_started_judges_no_cursor(void)
{
    struct consuming s;
    struct gateway *fresh;
    char body[BODY_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    struct gateway *first = s.gateway;
    s.world.coordinator_down = true;
    consuming_add_gateway(&s, &fresh);
    s.gateway = fresh;
    consuming_post(&s, 1, "/v1/groups/g/commit", cursor_document(&s, 0, "", body));
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 503, "\"code\":\"not_ready\""));
    gateway_free(fresh);
    s.gateway = first;
    consuming_fini(&s);
}

static void a_cursor_is_committed_without_reading(void)
{
    struct consuming s;
    char body[BODY_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    consuming_post(&s, 1, "/v1/groups/g/commit", cursor_document(&s, 0, "", body));
    const struct group_commit *commit = consuming_expect_commit(&s);
    CU_ASSERT_EQUAL_FATAL(commit->entries_count, 1);
    CU_ASSERT_EQUAL(commit->entries[0].lease_id, 11);
    CU_ASSERT_EQUAL(commit->entries[0].offset, 9);
    CU_ASSERT_FALSE(commit->entries[0].keep);
    answer_commit(&s, RIA_OK, 9);
    CU_ASSERT_TRUE(consuming_answered(
        &s, 1, 200, "{\"committed\":[{\"topic\":\"t\",\"partition\":0,\"position\":9}],\"lost\":[]}"
    ));
    consuming_fini(&s);
}

static void a_commit_names_what_it_has_of_topics_that_went(void)
{
    struct consuming s;
    char path[CONSUMING_PATH_MAX];
    char body[BODY_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    s.one->deleted = true;
    world_publish(&s.world);
    world_run(&s.world);
    (void
    )snprintf(body, sizeof(body), "{\"cursor\":\"%.900s\"}", consuming_with_both(&s, "", path));
    consuming_post(&s, 1, "/v1/groups/g/commit", body);
    const struct group_commit *commit = consuming_expect_commit(&s);
    CU_ASSERT_EQUAL_FATAL(commit->entries_count, 1);
    CU_ASSERT_EQUAL(commit->entries[0].offset, 9);
    answer_commit(&s, RIA_OK, 9);
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 200, "\"committed\":[{\"topic\":\"t\""));
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 200, "\"lost\":[{\"topic\":\"one\",\"topic_id\":\""));
    CU_ASSERT_TRUE(consuming_answered(
        &s, 1, 200, "\",\"reason\":\"topic_deleted\",\"partition\":0,\"position\":null}]"
    ));
    consuming_fini(&s);
}

static void a_commit_that_counts_no_more_is_a_conflict(void)
{
    struct consuming s;
    char body[BODY_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    consuming_post(&s, 1, "/v1/groups/g/commit", cursor_document(&s, 0, "", body));
    (void)consuming_expect_commit(&s);
    answer_commit(&s, RIA_ERR_CONFLICT, 7);
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 409, "\"code\":\"lost\""));
    CU_ASSERT_TRUE(fake_answer_has(&s.fakes[1], "\"lost\":[{\"topic\":\"t\",\"partition\":0"));
    /* The same again after it was done: the client repeats itself. */
    consuming_post(&s, 1, "/v1/groups/g/commit", cursor_document(&s, 0, "", body));
    (void)consuming_expect_commit(&s);
    answer_commit(&s, RIA_ERR_CONFLICT, 9);
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 200, "\"lost\":[]"));
    consuming_fini(&s);
}

static void leases_are_extended_and_given_back(void)
{
    struct consuming s;
    char body[BODY_MAX];

    consuming_init(&s);
    consuming_read_two(&s);
    consuming_post(
        &s, 1, "/v1/groups/g/extend", cursor_document(&s, 0, ",\"lease_ms\":5000", body)
    );
    const struct group_commit *commit = consuming_expect_commit(&s);
    CU_ASSERT_EQUAL(commit->lease_ms, 5000);
    CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
    CU_ASSERT_TRUE(commit->entries[0].keep);
    answer_commit(&s, RIA_OK, 7);
    CU_ASSERT_TRUE(consuming_answered(
        &s,
        1,
        200,
        "\"extended\":[{\"topic\":\"t\",\"partition\":0,"
        "\"position\":7,\"lease_ms\":5000}]"
    ));
    consuming_post(&s, 1, "/v1/groups/g/release", cursor_document(&s, 0, "", body));
    commit = consuming_expect_commit(&s);
    CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
    CU_ASSERT_FALSE(commit->entries[0].keep);
    answer_commit(&s, RIA_OK, 7);
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 200, "\"released\":[{"));
    consuming_post(&s, 1, "/v1/groups/g/commit", "{}");
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 400, "cursor is missing"));
    consuming_fini(&s);
}

static void a_member_leaves(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_begin(&s, 0, "DELETE", "/v1/groups/g/members/m%2F1", NULL);
    consuming_send(&s, 0);
    const struct group_leave *leave = consuming_expect(&s, 1, GROUP_OP_LEAVE);
    CU_ASSERT_TRUE(ria_slice_equal(leave->member, RIA_SLICE_LITERAL("m/1")));
    consuming_answer(&s);
    CU_ASSERT_EQUAL(s.fakes[0].status, 204);
    consuming_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_gateway_that_has_just_started_judges_no_cursor),
    HARNESS_TEST(a_cursor_is_committed_without_reading),
    HARNESS_TEST(a_commit_names_what_it_has_of_topics_that_went),
    HARNESS_TEST(a_commit_that_counts_no_more_is_a_conflict),
    HARNESS_TEST(leases_are_extended_and_given_back),
    HARNESS_TEST(a_member_leaves),
};

HARNESS_MAIN(tests);
