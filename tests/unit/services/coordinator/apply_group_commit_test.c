/* GroupCommit. */
#include <string.h>

#include "services/shared/group_operations.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/group_fixture.h"

/* Lease one partition for a consumer without a name. */
static struct group_read_result_group_grant lease_one(struct fixture_machine *m)
{
    struct group_read_result result;

    CU_ASSERT_EQUAL(group_read(m, (struct group_ask){.end = 100, .max = 1}, &result), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(result.granted_count, 1);
    return result.granted[0];
}

static void a_commit_gives_the_lease_back(void)
{
    struct fixture_machine m;
    struct group_commit_result_group_committed done;

    group_open(&m);
    struct group_read_result_group_grant grant = lease_one(&m);
    struct group_commit_group_commit_entry entry = group_entry(grant.partition, grant.lease_id, 10);
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, &done), RIA_OK);
    CU_ASSERT_EQUAL(done.position, 10);
    CU_ASSERT_TRUE(group_was_woken(&m, "g"));
    struct group_partition row = group_partition_of(&m, grant.partition);
    CU_ASSERT_EQUAL(row.position, 10);
    CU_ASSERT_EQUAL(row.lease_id, 0);
    fixture_machine_close(&m);
}

static void a_slow_consumer_extends(void)
{
    struct fixture_machine m;
    struct group_commit_result_group_committed done;
    struct group_read_result other;

    group_open(&m);
    struct group_read_result_group_grant grant = lease_one(&m);
    struct group_commit_group_commit_entry entry = group_entry(grant.partition, grant.lease_id, -1);
    entry.keep = true;
    for (int i = 0; i < 5; i++) {
        m.lease_ms += GROUP_LEASE_MS - 1;
        CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, &done), RIA_OK);
        CU_ASSERT_EQUAL(done.left_ms, GROUP_LEASE_MS);
        CU_ASSERT_EQUAL(done.position, 0);
        CU_ASSERT_FALSE(group_was_woken(&m, "g"));
    }
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &other), RIA_OK);
    CU_ASSERT_PTR_NULL(group_granted(&other, grant.partition));
    fixture_machine_close(&m);
}

static void a_late_extension_counts_while_nobody_else_has_the_records(void)
{
    struct fixture_machine m;
    struct group_read_result other;

    group_open(&m);
    struct group_read_result_group_grant grant = lease_one(&m);
    struct group_commit_group_commit_entry entry = group_entry(grant.partition, grant.lease_id, 3);
    entry.keep = true;
    m.lease_ms += 10 * GROUP_LEASE_MS;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_OK);
    m.lease_ms += GROUP_LEASE_MS;
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &other), RIA_OK);
    CU_ASSERT_EQUAL(group_granted(&other, grant.partition)->offset, 3);
    entry.offset = 5;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(group_partition_of(&m, grant.partition).position, 3);
    CU_ASSERT_NOT_EQUAL(group_partition_of(&m, grant.partition).lease_id, grant.lease_id);
    fixture_machine_close(&m);
}

static void a_lease_that_is_kept_for_no_time_commits_while_nobody_else_has_the_records(void)
{
    struct fixture_machine m;
    struct group_read_result other;

    group_open(&m);
    struct group_read_result_group_grant grant = lease_one(&m);
    struct group_commit_group_commit_entry entry = group_entry(grant.partition, grant.lease_id, -1);
    const struct group_commit over = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = RIA_SLICE_EMPTY,
        .member_epoch = -1,
        .entries = &entry,
        .entries_count = 1,
    };
    entry.keep = true;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_COMMIT, &over, NULL), RIA_OK);
    CU_ASSERT_TRUE(group_was_woken(&m, "g"));
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_COMMIT, &over, NULL), RIA_OK);
    CU_ASSERT_FALSE(group_was_woken(&m, "g"));
    entry.keep = false;
    entry.offset = 3;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_OK);
    CU_ASSERT_EQUAL(group_partition_of(&m, grant.partition).position, 3);

    grant = lease_one(&m);
    entry = group_entry(grant.partition, grant.lease_id, -1);
    entry.keep = true;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_COMMIT, &over, NULL), RIA_OK);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &other), RIA_OK);
    CU_ASSERT_PTR_NOT_NULL(group_granted(&other, grant.partition));
    entry.keep = false;
    entry.offset = 5;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_CONFLICT);
    fixture_machine_close(&m);
}

static void a_position_never_moves_back(void)
{
    struct fixture_machine m;
    struct group_commit_result_group_committed done;

    group_open(&m);
    struct group_read_result_group_grant grant = lease_one(&m);
    struct group_commit_group_commit_entry entry = group_entry(grant.partition, grant.lease_id, 10);
    entry.keep = true;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_OK);
    entry.offset = 9;
    entry.keep = false;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, &done), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(done.position, 10);
    CU_ASSERT_EQUAL(group_partition_of(&m, grant.partition).lease_id, grant.lease_id);
    entry.offset = -2;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_INVALID);
    fixture_machine_close(&m);
}

static void a_commit_that_is_repeated_is_done(void)
{
    struct fixture_machine m;

    group_open(&m);
    struct group_read_result_group_grant grant = lease_one(&m);
    struct group_commit_group_commit_entry entry = group_entry(grant.partition, grant.lease_id, 10);
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_OK);
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_OK);
    entry.offset = 11; /* more than it had when it gave the lease up */
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_CONFLICT);
    entry.offset = -1; /* nothing to commit, nothing to give back */
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_CONFLICT);
    fixture_machine_close(&m);
}

static void a_made_up_lease_is_refused(void)
{
    struct fixture_machine m;

    group_open(&m);
    struct group_read_result_group_grant grant = lease_one(&m);
    struct group_commit_group_commit_entry entry =
        group_entry(grant.partition, grant.lease_id + 1, 10);
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_CONFLICT);
    entry.lease_id = 0;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_CONFLICT);
    entry.lease_id = grant.lease_id;
    entry.partition = 99;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_UNKNOWN_PARTITION);
    entry.topic_id = fixture_uuid(77);
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_EQUAL(group_partition_of(&m, grant.partition).position, 0);
    fixture_machine_close(&m);
}

static void entries_are_done_or_refused_one_by_one(void)
{
    struct fixture_machine m;
    struct group_read_result leased;
    struct group_commit_result result;
    struct group_commit_group_commit_entry entries[3];
    const struct group_commit r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = RIA_SLICE_EMPTY,
        .member_epoch = -1,
        .entries = entries,
        .entries_count = 3,
    };

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &leased), RIA_OK);
    for (uint32_t i = 0; i < 3; i++) {
        entries[i] = group_entry(leased.granted[i].partition, leased.granted[i].lease_id, 10 + i);
    }
    entries[1].lease_id = 12345;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_COMMIT, &r, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.entries[0].error_code, RIA_OK);
    CU_ASSERT_EQUAL(result.entries[1].error_code, RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(result.entries[1].position, 0);
    CU_ASSERT_EQUAL(result.entries[2].error_code, RIA_OK);
    CU_ASSERT_EQUAL(result.entries[2].position, 12);
    fixture_machine_close(&m);
}

static void a_commit_needs_a_group_and_a_lease_time(void)
{
    struct fixture_machine m;
    struct group_commit_group_commit_entry entry = group_entry(0, 1, 1);
    struct group_commit r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = RIA_SLICE_EMPTY,
        .member_epoch = -1,
        .lease_ms = 5,
        .entries = &entry,
        .entries_count = 1,
    };

    group_open(&m);
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_COMMIT, &r, NULL), RIA_ERR_NOT_FOUND);
    entry.keep = true;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_COMMIT, &r, NULL), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "leaseMs"));
    fixture_machine_close(&m);
}

static void metadata_stays_with_its_position(void)
{
    struct fixture_machine m;

    group_open(&m);
    struct group_read_result_group_grant grant = lease_one(&m);
    struct group_commit_group_commit_entry entry = group_entry(grant.partition, grant.lease_id, 10);
    entry.keep = true;
    entry.metadata = RIA_SLICE_LITERAL("note");
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_OK);
    CU_ASSERT_TRUE(group_partition_of(&m, grant.partition).has_metadata);
    entry.offset = -1;
    entry.metadata = RIA_SLICE_EMPTY;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_OK);
    CU_ASSERT_TRUE(group_partition_of(&m, grant.partition).has_metadata);
    entry.offset = 11;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_OK);
    CU_ASSERT_FALSE(group_partition_of(&m, grant.partition).has_metadata);
    fixture_machine_close(&m);
}

/* ---- positions without leases ---- */

static void a_position_can_be_left_where_nobody_holds(void)
{
    struct fixture_machine m;
    struct group_read_result result;
    struct group_member_result made;

    group_open(&m);
    CU_ASSERT_EQUAL(group_make(&m, "i", &made), RIA_OK);
    int32_t epoch = made.member_epoch;
    CU_ASSERT_EQUAL(group_commit_one(&m, "i", epoch, true, group_entry(2, 0, 7), NULL), RIA_OK);
    CU_ASSERT_EQUAL(group_partition_of(&m, 2).position, 7);
    CU_ASSERT_EQUAL(
        group_commit_one(&m, "i", epoch, true, group_entry(2, 0, 6), NULL), RIA_ERR_INVALID
    );
    CU_ASSERT_EQUAL(
        group_commit_one(&m, "i", epoch, true, group_entry(2, 9, 8), NULL), RIA_ERR_INVALID
    );
    CU_ASSERT_EQUAL(
        group_commit_one(&m, "i", epoch, true, group_entry(4, 0, 8), NULL),
        RIA_ERR_UNKNOWN_PARTITION
    );
    struct group_ask ask = {.member = "i", .epoch = epoch, .hold = true, .end = 100};
    CU_ASSERT_EQUAL(group_read(&m, ask, &result), RIA_OK);
    CU_ASSERT_EQUAL(group_granted(&result, 2)->offset, 7);
    /* What it holds is its own to commit; what it is given next does not move by that. */
    CU_ASSERT_EQUAL(group_commit_one(&m, "i", epoch, true, group_entry(2, 0, 9), NULL), RIA_OK);
    CU_ASSERT_EQUAL(group_partition_of(&m, 2).next, 7);
    CU_ASSERT_NOT_EQUAL(group_partition_of(&m, 2).lease_id, 0);
    fixture_machine_close(&m);
}

static void a_position_under_somebodys_lease_cannot_be_left(void)
{
    struct fixture_machine m;

    group_open(&m);
    struct group_read_result_group_grant grant = lease_one(&m);
    struct group_commit_group_commit_entry entry = group_entry(grant.partition, 0, 7);
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, true, entry, NULL), RIA_ERR_CONFLICT);
    m.lease_ms += GROUP_LEASE_MS;
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, true, entry, NULL), RIA_OK);
    fixture_machine_close(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_commit_gives_the_lease_back),
    HARNESS_TEST(a_slow_consumer_extends),
    HARNESS_TEST(a_late_extension_counts_while_nobody_else_has_the_records),
    HARNESS_TEST(a_lease_that_is_kept_for_no_time_commits_while_nobody_else_has_the_records),
    HARNESS_TEST(a_position_never_moves_back),
    HARNESS_TEST(a_commit_that_is_repeated_is_done),
    HARNESS_TEST(a_made_up_lease_is_refused),
    HARNESS_TEST(entries_are_done_or_refused_one_by_one),
    HARNESS_TEST(a_commit_needs_a_group_and_a_lease_time),
    HARNESS_TEST(metadata_stays_with_its_position),
    HARNESS_TEST(a_position_can_be_left_where_nobody_holds),
    HARNESS_TEST(a_position_under_somebodys_lease_cannot_be_left),
};
HARNESS_MAIN(tests);
