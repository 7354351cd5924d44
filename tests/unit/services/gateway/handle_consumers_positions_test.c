/* Confluent's consumers say what comes next: seeks, and a subscription at the end. */
#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_commit_result.h"
#include "schemas/gen/group_member.h"
#include "schemas/gen/group_read.h"

#include "services/gateway/group_ops.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/instance.h"

static void seeking_takes_hold_and_sets_what_comes_next(void)
{
    struct instance s;

    instance_init(&s);
    instance_call(
        &s,
        "POST",
        INSTANCE_PATH "/positions",
        "{\"offsets\":[{\"topic\":\"t\",\"partition\":0,\"offset\":\"5\"}]}"
    );
    (void)instance_expect_member(&s);
    instance_tell(&s);
    consuming_say_range(&s.c, 2, 40);
    const struct group_read *read = consuming_expect(&s.c, 1, GROUP_OP_READ);
    CU_ASSERT_TRUE(read->hold);
    CU_ASSERT_FALSE(read->commit_delivered);
    CU_ASSERT_EQUAL_FATAL(read->topics_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].starts[0].offset, 2); /* auto.offset.reset, not the target */
    CU_ASSERT_EQUAL(read->topics[0].ends[0].offset, INT64_MAX);
    consuming_grant(&s.c, 1, 7);
    const struct group_commit *commit = consuming_expect(&s.c, 1, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL(commit->entries[0].lease_id, 11);
    CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
    CU_ASSERT_EQUAL(commit->entries[0].delivered, 5);
    struct group_commit_result_group_committed done = {.position = 7};
    struct group_commit_result result;
    group_commit_result_init(&result);
    result.entries = &done;
    result.entries_count = 1;
    consuming_answer_with(&s.c, &result);
    CU_ASSERT_TRUE(instance_answered(&s, 204, ""));
    instance_fini(&s);
}

static void seeking_is_refused_where_it_cannot_be_done(void)
{
    struct instance s;

    instance_init(&s);
    instance_call(
        &s,
        "POST",
        INSTANCE_PATH "/positions/end",
        "{\"partitions\":[{\"topic\":\"t\",\"partition\":2}]}"
    );
    (void)instance_expect_member(&s);
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 409, "{\"error_code\":40903,")); /* it has 0 and 1 */
    instance_call(
        &s,
        "POST",
        INSTANCE_PATH "/positions",
        "{\"offsets\":[{\"topic\":\"t\",\"partition\":0,\"offset\":41}]}"
    );
    (void)instance_expect_member(&s);
    instance_tell(&s);
    consuming_say_range(&s.c, 2, 40);
    (void)consuming_expect(&s.c, 1, GROUP_OP_READ);
    consuming_grant(&s.c, 1, 7);
    CU_ASSERT_TRUE(instance_answered(&s, 400, "which has 2 to 40"));
    /* Another member has it still: nothing is granted. */
    instance_call(
        &s,
        "POST",
        INSTANCE_PATH "/positions/beginning",
        "{\"partitions\":[{\"topic\":\"t\",\"partition\":1}]}"
    );
    (void)instance_expect_member(&s);
    instance_tell(&s);
    consuming_say_range(&s.c, 2, 40);
    (void)consuming_expect(&s.c, 1, GROUP_OP_READ);
    consuming_answer(&s.c);
    CU_ASSERT_TRUE(instance_answered(&s, 409, "{\"error_code\":40903,"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    instance_fini(&s);
}

static void subscribing_at_the_end_fixes_where_that_is(void)
{
    struct instance s;

    instance_init(&s);
    s.instance.from_latest = true;
    s.is_subscribed = false;
    instance_call(&s, "POST", INSTANCE_PATH "/subscription", "{\"topics\":[\"t\",\"t\"]}");
    (void)instance_expect_member(&s);
    instance_tell(&s);
    const struct group_member *member = instance_expect_member(&s);
    CU_ASSERT_EQUAL_FATAL(member->subscription_count, 1);
    CU_ASSERT_EQUAL(member->member_epoch, INSTANCE_EPOCH);
    s.is_subscribed = true;
    instance_tell(&s);
    consuming_say_range(&s.c, 0, 40);
    consuming_say_range(&s.c, 0, 50);
    const struct group_read *read = consuming_expect(&s.c, 1, GROUP_OP_READ);
    CU_ASSERT_EQUAL_FATAL(read->topics_count, 1);
    CU_ASSERT_EQUAL_FATAL(read->topics[0].starts_count, 2);
    CU_ASSERT_EQUAL(read->topics[0].starts[0].offset, 40);
    CU_ASSERT_EQUAL(read->topics[0].starts[1].offset, 50);
    CU_ASSERT_EQUAL(read->topics[0].ends_count, 0);
    /* If it cannot be said now, it is found out at the first poll. */
    consuming_refuse(&s.c, RIA_ERR_INVALID, "");
    CU_ASSERT_TRUE(instance_answered(&s, 204, ""));
    instance_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(seeking_takes_hold_and_sets_what_comes_next),
    HARNESS_TEST(seeking_is_refused_where_it_cannot_be_done),
    HARNESS_TEST(subscribing_at_the_end_fixes_where_that_is),
};

HARNESS_MAIN(tests);
