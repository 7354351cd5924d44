/* GroupRead. */
#include <string.h>

#include "services/shared/group_operations.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/group_fixture.h"

/* ---- consumers without names ---- */

static void a_first_read_makes_the_group_and_asks_for_starts(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(
        group_read(&m, (struct group_ask){.end = 10, .no_starts = true}, &result), RIA_OK
    );
    CU_ASSERT_EQUAL(result.granted_count, 0);
    CU_ASSERT_EQUAL(result.offered_count, 4);
    for (uint32_t i = 0; i < result.offered_count; i++) {
        CU_ASSERT_EQUAL(result.offered[i].offset, -1);
    }
    CU_ASSERT_EQUAL(result.member_epoch, -1);
    CU_ASSERT_EQUAL(result.retry_after_ms, -1);
    CU_ASSERT_EQUAL(group_row_of(&m).mode, GROUP_STREAM);
    fixture_machine_close(&m);
}

static void what_has_records_is_leased_and_the_rest_is_offered(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 0}, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.granted_count, 0);
    CU_ASSERT_EQUAL(result.offered_count, 4);
    CU_ASSERT_EQUAL(result.offered[0].offset, 0);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5}, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.granted_count, 4);
    CU_ASSERT_EQUAL(result.offered_count, 0);
    CU_ASSERT_EQUAL(result.granted[0].offset, 0);
    CU_ASSERT_EQUAL(result.granted[0].left_ms, GROUP_LEASE_MS);
    CU_ASSERT_TRUE(result.granted[0].lease_id != result.granted[1].lease_id);
    fixture_machine_close(&m);
}

static void the_first_start_counts(void)
{
    struct fixture_machine m;
    struct group_read_group_start start = {.partition = 1, .offset = 7};
    struct group_read_group_read_topic topic = {
        .topic_id = fixture_uuid(GROUP_TOPIC_A), .starts = &start, .starts_count = 1};
    struct group_read r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = RIA_SLICE_EMPTY,
        .member_epoch = -1,
        .lease_ms = GROUP_LEASE_MS,
        .partitions_max = 1,
        .topics = &topic,
        .topics_count = 1,
    };

    group_open(&m);
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_READ, &r, NULL), RIA_OK);
    start.offset = 3;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_READ, &r, NULL), RIA_OK);
    CU_ASSERT_EQUAL(group_partition_of(&m, 1).position, 7);
    CU_ASSERT_EQUAL(group_partition_of(&m, 0).position, -1);
    start.offset = -1;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_READ, &r, NULL), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "starts"));
    fixture_machine_close(&m);
}

static void a_repeated_read_is_given_its_leases_again(void)
{
    struct fixture_machine m;
    struct group_read_group_start starts[4] = {{0, 0}, {1, 0}, {2, 0}, {3, 0}};
    struct group_read_group_end ends[4] = {{0, 5}, {1, 5}, {2, 5}, {3, 5}};
    struct group_read_group_read_commit commit = {.topic_id = fixture_uuid(GROUP_TOPIC_A)};
    struct group_read_group_read_topic topic = {
        .topic_id = fixture_uuid(GROUP_TOPIC_A),
        .starts = starts,
        .starts_count = 4,
        .ends = ends,
        .ends_count = 4,
    };
    struct group_read r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = RIA_SLICE_EMPTY,
        .member_epoch = -1,
        .lease_ms = GROUP_LEASE_MS,
        .partitions_max = 2,
        .topics = &topic,
        .topics_count = 1,
        .read_id = 99,
    };
    struct group_read_result first;
    struct group_read_result again;

    group_open(&m);
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_READ, &r, &first), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(first.granted_count, 2);
    struct group_read_result_group_grant leases[2] = {first.granted[0], first.granted[1]};
    m.lease_ms += 1000;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_READ, &r, &again), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(again.granted_count, 2);
    for (int i = 0; i < 2; i++) {
        int k = again.granted[i].partition == leases[0].partition ? 0 : 1; /* in any order */
        CU_ASSERT_EQUAL(again.granted[i].partition, leases[k].partition);
        CU_ASSERT_EQUAL(again.granted[i].lease_id, leases[k].lease_id);
        CU_ASSERT_EQUAL(again.granted[i].left_ms, GROUP_LEASE_MS - 1000);
    }
    /* One that commits a lease and gets the next, twice: nothing is lost, the lease is the same. */
    r.read_id = 100;
    r.commits = &commit;
    r.commits_count = 1;
    r.partitions_max = 1;
    commit.partition = leases[0].partition;
    commit.lease_id = leases[0].lease_id;
    commit.offset = 3;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_READ, &r, &first), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(first.granted_count, 1);
    int64_t lease_id = first.granted[0].lease_id;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_READ, &r, &again), RIA_OK);
    CU_ASSERT_EQUAL(again.lost_count, 0);
    CU_ASSERT_EQUAL_FATAL(again.granted_count, 1);
    CU_ASSERT_EQUAL(again.granted[0].lease_id, lease_id);
    /* Another Read has another id. */
    r.read_id = 101;
    r.commits_count = 0;
    r.partitions_max = 4;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_READ, &r, &again), RIA_OK);
    CU_ASSERT_EQUAL(again.granted_count, 2);
    fixture_machine_close(&m);
}

static void a_partition_is_leased_once(void)
{
    struct fixture_machine m;
    struct group_read_result first;
    struct group_read_result second;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5, .max = 3}, &first), RIA_OK);
    CU_ASSERT_EQUAL(first.granted_count, 3);
    m.lease_ms += 1000;
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5}, &second), RIA_OK);
    CU_ASSERT_EQUAL(second.granted_count, 1);
    CU_ASSERT_EQUAL(second.retry_after_ms, GROUP_LEASE_MS - 1000);
    fixture_machine_close(&m);
}

static void a_lease_ends_by_the_lease_clock_alone(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5}, &result), RIA_OK);
    m.time_ms += 1000LL * 60 * 60 * 24; /* the wall clock jumps */
    m.lease_ms += GROUP_LEASE_MS - 1;
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5}, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.granted_count, 0);
    CU_ASSERT_EQUAL(result.retry_after_ms, 1);
    m.lease_ms += 1;
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5}, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.granted_count, 4);
    fixture_machine_close(&m);
}

static void a_command_of_an_older_clock_ends_nothing_earlier(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    m.lease_ms += 500000;
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5}, &result), RIA_OK);
    m.lease_ms -= 100000; /* proposed by a process whose clock is behind */
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5}, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.granted_count, 0);
    CU_ASSERT_EQUAL(result.retry_after_ms, GROUP_LEASE_MS);
    fixture_machine_close(&m);
}

static void the_next_call_commits_and_goes_on(void)
{
    struct fixture_machine m;
    struct group_read_result first;
    struct group_read_result second;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5, .max = 1}, &first), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(first.granted_count, 1);
    int32_t partition = first.granted[0].partition;
    struct group_read_group_read_commit cursor = group_cursor(&first.granted[0], 5);
    struct group_ask ask = {.end = 9, .max = 4, .commits = &cursor, .commits_count = 1};
    CU_ASSERT_EQUAL(group_read(&m, ask, &second), RIA_OK);
    CU_ASSERT_EQUAL(second.lost_count, 0);
    const struct group_read_result_group_grant *granted = group_granted(&second, partition);
    CU_ASSERT_PTR_NOT_NULL_FATAL(granted);
    CU_ASSERT_EQUAL(granted->offset, 5);
    CU_ASSERT_NOT_EQUAL(granted->lease_id, cursor.lease_id);
    CU_ASSERT_FALSE(group_was_woken(&m, "g")); /* it was free for no moment */
    CU_ASSERT_EQUAL(group_partition_of(&m, partition).position, 5);
    CU_ASSERT_TRUE(group_partition_of(&m, partition).committed_ms > 0);
    fixture_machine_close(&m);
}

static void what_is_given_back_wakes_those_who_wait(void)
{
    struct fixture_machine m;
    struct group_read_result first;
    struct group_read_result second;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5}, &first), RIA_OK);
    struct group_read_group_read_commit cursor = group_cursor(&first.granted[0], 5);
    struct group_ask ask = {.end = 5, .commits = &cursor, .commits_count = 1};
    CU_ASSERT_EQUAL(group_read(&m, ask, &second), RIA_OK);
    CU_ASSERT_TRUE(group_was_woken(&m, "g"));
    CU_ASSERT_TRUE(second.changed > first.changed);
    CU_ASSERT_TRUE(group_offered(&second, first.granted[0].partition));
    fixture_machine_close(&m);
}

static void a_late_commit_counts_while_nobody_else_had_the_records(void)
{
    struct fixture_machine m;
    struct group_read_result first;
    struct group_read_result second;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5, .max = 1}, &first), RIA_OK);
    m.lease_ms += 1000LL * 60 * 60 * 24; /* polls once a day */
    struct group_read_group_read_commit cursor = group_cursor(&first.granted[0], 4);
    struct group_ask ask = {.end = 5, .commits = &cursor, .commits_count = 1};
    CU_ASSERT_EQUAL(group_read(&m, ask, &second), RIA_OK);
    CU_ASSERT_EQUAL(second.lost_count, 0);
    CU_ASSERT_EQUAL(group_granted(&second, cursor.partition)->offset, 4);
    fixture_machine_close(&m);
}

static void a_late_commit_is_lost_when_somebody_else_has_the_records(void)
{
    struct fixture_machine m;
    struct group_read_result first;
    struct group_read_result second;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5}, &first), RIA_OK);
    struct group_read_group_read_commit cursor = group_cursor(&first.granted[0], 4);
    m.lease_ms += GROUP_LEASE_MS;
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5}, &second), RIA_OK);
    CU_ASSERT_EQUAL(second.granted_count, 4);
    struct group_ask ask = {.end = 5, .commits = &cursor, .commits_count = 1};
    CU_ASSERT_EQUAL(group_read(&m, ask, &second), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(second.lost_count, 1);
    CU_ASSERT_EQUAL(second.lost[0].partition, cursor.partition);
    CU_ASSERT_EQUAL(second.lost[0].position, 0);
    CU_ASSERT_EQUAL(group_partition_of(&m, cursor.partition).position, 0);
    /* Who has the lease still can. */
    CU_ASSERT_NOT_EQUAL(group_partition_of(&m, cursor.partition).lease_id, 0);
    fixture_machine_close(&m);
}

static void a_repeated_call_is_not_told_that_it_lost(void)
{
    struct fixture_machine m;
    struct group_read_result first;
    struct group_read_result second;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 5, .max = 1}, &first), RIA_OK);
    struct group_read_group_read_commit cursor = group_cursor(&first.granted[0], 5);
    struct group_ask ask = {.end = 8, .commits = &cursor, .commits_count = 1};
    CU_ASSERT_EQUAL(group_read(&m, ask, &second), RIA_OK);
    int64_t lease = group_granted(&second, cursor.partition)->lease_id;
    CU_ASSERT_EQUAL(group_read(&m, ask, &second), RIA_OK); /* the answer was lost */
    CU_ASSERT_EQUAL(second.lost_count, 0);
    CU_ASSERT_EQUAL(group_partition_of(&m, cursor.partition).lease_id, lease);
    fixture_machine_close(&m);
}

static void a_position_never_moves_back(void)
{
    struct fixture_machine m;
    struct group_read_result first;
    struct group_read_result second;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 9, .max = 1}, &first), RIA_OK);
    int32_t partition = first.granted[0].partition;
    struct group_read_group_read_commit cursor = group_cursor(&first.granted[0], 4);
    struct group_commit_group_commit_entry entry = group_entry(partition, cursor.lease_id, 6);
    entry.keep = true;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_OK);
    struct group_ask ask = {.end = 9, .commits = &cursor, .commits_count = 1};
    CU_ASSERT_EQUAL(group_read(&m, ask, &second), RIA_OK);
    CU_ASSERT_EQUAL(second.lost_count, 1);
    CU_ASSERT_EQUAL(group_partition_of(&m, partition).position, 6);
    fixture_machine_close(&m);
}

static void every_partition_has_its_turn(void)
{
    struct fixture_machine m;
    struct group_read_result result;
    uint32_t turns[GROUP_PARTITIONS_A] = {0};

    group_open(&m);
    for (int i = 0; i < 40; i++) {
        CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 99, .max = 1}, &result), RIA_OK);
        CU_ASSERT_EQUAL_FATAL(result.granted_count, 1);
        turns[result.granted[0].partition]++;
        const struct group_read_result_group_grant granted = result.granted[0];
        struct group_commit_group_commit_entry entry =
            group_entry(granted.partition, granted.lease_id, -1);
        CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_OK);
        m.lease_ms += 7;
    }
    for (int i = 0; i < GROUP_PARTITIONS_A; i++) {
        CU_ASSERT_TRUE(turns[i] >= 5);
    }
    fixture_machine_close(&m);
}

static void wrong_fields_are_named(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.max = 10001}, &result), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "partitionsMax is 10001, must be 1..10000"));
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.lease_ms = 999}, &result), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "leaseMs is 999, must be 1000..43200000"));
    CU_ASSERT_EQUAL(
        group_read(&m, (struct group_ask){.member = "m", .session_ms = 999}, &result),
        RIA_ERR_INVALID
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "sessionMs"));
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.member = "\n"}, &result), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "member"));
    CU_ASSERT_EQUAL(
        group_read(&m, (struct group_ask){.topics_none = true}, &result), RIA_ERR_INVALID
    );
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.hold = true}, &result), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.group = "\x01"}, &result), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(group_delete_topic(&m, "a"), RIA_OK);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 1}, &result), RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "topics: topic \"a\" was deleted"));
    /* Nothing of all that made a group. */
    CU_ASSERT_EQUAL(group_delete(&m, "g", false), RIA_ERR_NOT_FOUND);
    fixture_machine_close(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_first_read_makes_the_group_and_asks_for_starts),
    HARNESS_TEST(what_has_records_is_leased_and_the_rest_is_offered),
    HARNESS_TEST(the_first_start_counts),
    HARNESS_TEST(a_repeated_read_is_given_its_leases_again),
    HARNESS_TEST(a_partition_is_leased_once),
    HARNESS_TEST(a_lease_ends_by_the_lease_clock_alone),
    HARNESS_TEST(a_command_of_an_older_clock_ends_nothing_earlier),
    HARNESS_TEST(the_next_call_commits_and_goes_on),
    HARNESS_TEST(what_is_given_back_wakes_those_who_wait),
    HARNESS_TEST(a_late_commit_counts_while_nobody_else_had_the_records),
    HARNESS_TEST(a_late_commit_is_lost_when_somebody_else_has_the_records),
    HARNESS_TEST(a_repeated_call_is_not_told_that_it_lost),
    HARNESS_TEST(a_position_never_moves_back),
    HARNESS_TEST(every_partition_has_its_turn),
    HARNESS_TEST(wrong_fields_are_named),
};
HARNESS_MAIN(tests);
