/* GroupReset, GroupDelete. */
#include <stdio.h>
#include <string.h>

#include "schemas/gen/group_reset_result.h"

#include "services/coordinator/apply_groups.h"
#include "services/shared/group_operations.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/group_fixture.h"

/* ---- reset ---- */

static void a_reset_moves_positions_either_way(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 0}, &result), RIA_OK);
    CU_ASSERT_EQUAL(group_reset_one(&m, 50, false), RIA_OK);
    CU_ASSERT_TRUE(group_was_woken(&m, "g"));
    CU_ASSERT_EQUAL(group_partition_of(&m, 0).position, 50);
    CU_ASSERT_EQUAL(group_reset_one(&m, 20, false), RIA_OK);
    CU_ASSERT_EQUAL(group_partition_of(&m, 0).position, 20);
    CU_ASSERT_EQUAL(group_partition_of(&m, 1).position, 0);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &result), RIA_OK);
    CU_ASSERT_EQUAL(group_granted(&result, 0)->offset, 20);
    fixture_machine_close(&m);
}

static void a_reset_is_refused_while_a_lease_is_out(void)
{
    struct fixture_machine m;
    struct group_read_result result;
    struct group_ask ask = {.member = "one", .end = 100};

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, ask, &result), RIA_OK);
    struct group_commit_group_commit_entry entry =
        group_entry(0, group_granted(&result, 0)->lease_id, 70);
    CU_ASSERT_EQUAL(group_reset_one(&m, 50, false), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "partition 0"));
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "\"one\""));
    CU_ASSERT_EQUAL(group_partition_of(&m, 0).position, 0);
    CU_ASSERT_EQUAL(group_reset_one(&m, 50, true), RIA_OK);
    /* The lease is void. */
    CU_ASSERT_EQUAL(group_commit_one(&m, "one", 0, false, entry, NULL), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(group_partition_of(&m, 0).position, 50);
    fixture_machine_close(&m);
}

static void a_late_commit_does_not_undo_a_reset(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &result), RIA_OK);
    struct group_commit_group_commit_entry entry =
        group_entry(0, group_granted(&result, 0)->lease_id, 70);
    m.lease_ms += GROUP_LEASE_MS;
    CU_ASSERT_EQUAL(group_reset_one(&m, 10, false), RIA_OK);
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(group_partition_of(&m, 0).position, 10);
    fixture_machine_close(&m);
}

static void a_held_lease_of_a_dead_member_does_not_stop_a_reset(void)
{
    struct fixture_machine m;
    struct group_read_result result;
    struct group_member_result made;

    group_open(&m);
    CU_ASSERT_EQUAL(group_make(&m, "i", &made), RIA_OK);
    struct group_ask ask = {.member = "i", .hold = true, .end = 100};
    CU_ASSERT_EQUAL(group_read(&m, ask, &result), RIA_OK);
    CU_ASSERT_EQUAL(group_reset_one(&m, 10, false), RIA_ERR_CONFLICT);
    m.lease_ms += GROUP_SESSION_MS;
    CU_ASSERT_EQUAL(group_reset_one(&m, 10, false), RIA_OK);
    fixture_machine_close(&m);
}

static void a_reset_is_all_or_nothing_and_can_only_tell(void)
{
    struct fixture_machine m;
    struct group_read_result read;
    struct group_reset_result result;
    struct group_reset_group_reset_entry entries[2] = {
        {.topic_id = fixture_uuid(GROUP_TOPIC_A), .partition = 1, .offset = 5},
        {.topic_id = fixture_uuid(GROUP_TOPIC_A), .partition = 9, .offset = 6},
    };
    struct group_reset r = {
        .group = RIA_SLICE_LITERAL("g"), .entries = entries, .entries_count = 2};

    group_open(&m);
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_RESET, &r, NULL), RIA_ERR_NOT_FOUND);
    r.create = true;
    r.dry_run = true;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_RESET, &r, NULL), RIA_ERR_UNKNOWN_PARTITION);
    entries[1].partition = 2;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_RESET, &r, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.entries_count, 2);
    CU_ASSERT_EQUAL(result.entries[0].position, -1);
    CU_ASSERT_EQUAL(group_delete(&m, "g", false), RIA_ERR_NOT_FOUND); /* it only told */
    r.dry_run = false;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_RESET, &r, NULL), RIA_OK);
    CU_ASSERT_EQUAL(group_partition_of(&m, 1).position, 5);
    CU_ASSERT_EQUAL(group_partition_of(&m, 2).position, 6);
    r.create = false;
    entries[0].offset = 1;
    entries[1].offset = -1;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_RESET, &r, NULL), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(group_partition_of(&m, 1).position, 5);
    entries[1].offset = 2;
    r.dry_run = true;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_RESET, &r, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.entries[0].position, 5);
    CU_ASSERT_EQUAL(group_partition_of(&m, 1).position, 5);
    CU_ASSERT_FALSE(group_was_woken(&m, "g"));
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &read), RIA_OK);
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_RESET, &r, NULL), RIA_ERR_CONFLICT);
    fixture_machine_close(&m);
}

/* ---- delete ---- */

static void a_group_in_use_is_deleted_by_force_only(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &result), RIA_OK);
    CU_ASSERT_EQUAL(group_delete(&m, "g", false), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "leases"));
    m.lease_ms += GROUP_LEASE_MS;
    struct group_ask idle = {.member = "one"};
    CU_ASSERT_EQUAL(group_read(&m, idle, &result), RIA_OK);
    CU_ASSERT_EQUAL(group_delete(&m, "g", false), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "members"));
    CU_ASSERT_EQUAL(group_delete(&m, "g", true), RIA_OK);
    CU_ASSERT_TRUE(group_was_woken(&m, "g"));
    CU_ASSERT_EQUAL(group_delete(&m, "g", false), RIA_ERR_NOT_FOUND);
    fixture_machine_close(&m);
}

static void a_group_that_nobody_uses_is_deleted(void)
{
    struct fixture_machine m;
    struct group_read_result result;
    struct group_counters counters;

    group_open(&m);
    struct group_ask ask = {.member = "one", .end = 100};
    CU_ASSERT_EQUAL(group_read(&m, ask, &result), RIA_OK);
    int64_t id = group_row_of(&m).id;
    m.lease_ms += GROUP_SESSION_MS;
    CU_ASSERT_EQUAL(group_delete(&m, "g", false), RIA_OK);
    group_counters_read(m.db, &counters);
    CU_ASSERT_EQUAL(counters.group_count, 0);
    CU_ASSERT_TRUE(counters.lease_floor > 1);
    for (int32_t p = 0; p < GROUP_PARTITIONS_A; p++) {
        struct group_partition row;
        struct ria_uuid topic = fixture_uuid(GROUP_TOPIC_A);
        CU_ASSERT_EQUAL(group_partition_read(m.db, id, &topic, p, &m.arena, &row), RIA_OK);
        CU_ASSERT_FALSE(row.stored);
    }
    struct member_row member;
    CU_ASSERT_FALSE(member_row_read(m.db, id, RIA_SLICE_LITERAL("one"), &member));
    fixture_machine_close(&m);
}

/* A cursor that outlived its group must not count in another one of the same name. */
static void leases_of_a_deleted_group_do_not_fit_into_the_next(void)
{
    struct fixture_machine m;
    struct group_read_result first;
    struct group_read_result second;

    group_open(&m);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &first), RIA_OK);
    CU_ASSERT_EQUAL(group_delete(&m, "g", true), RIA_OK);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &second), RIA_OK);
    CU_ASSERT_TRUE(second.changed > first.changed);
    for (int32_t p = 0; p < GROUP_PARTITIONS_A; p++) {
        struct group_commit_group_commit_entry entry =
            group_entry(p, group_granted(&first, p)->lease_id, 50);
        CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_CONFLICT);
    }
    fixture_machine_close(&m);
}

/* ---- the limit ---- */

enum { BATCH = 1000 };

/* Make groups g<first>..., as many as go into one command. */
static void make_groups(struct fixture_machine *m, int first)
{
    static struct group_request_group_operation operations[BATCH];
    const struct group_request request = {.operations = operations, .operations_count = BATCH};
    char name[32];

    for (int i = 0; i < BATCH; i++) {
        int size = snprintf(name, sizeof(name), "g%d", first + i);
        const struct group_reset r = {.group = ria_slice_of(name, (size_t)size), .create = true};
        operations[i] = fixture_operation(&m->arena, GROUP_OPERATION_RESET, &r);
    }
    CU_ASSERT_EQUAL_FATAL(fixture_apply(m, API_GROUP, &request), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(m->result.operations, BATCH);
    CU_ASSERT_EQUAL_FATAL(m->result.operations_refused, 0);
}

static void one_group_too_many_is_refused(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    for (int i = 0; i < GROUP_COUNT_MAX; i += BATCH) {
        make_groups(&m, i);
    }
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &result), RIA_ERR_LIMIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "100000 groups"));
    CU_ASSERT_EQUAL(group_delete(&m, "g77", false), RIA_OK);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &result), RIA_OK);
    fixture_machine_close(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_reset_moves_positions_either_way),
    HARNESS_TEST(a_reset_is_refused_while_a_lease_is_out),
    HARNESS_TEST(a_late_commit_does_not_undo_a_reset),
    HARNESS_TEST(a_held_lease_of_a_dead_member_does_not_stop_a_reset),
    HARNESS_TEST(a_reset_is_all_or_nothing_and_can_only_tell),
    HARNESS_TEST(a_group_in_use_is_deleted_by_force_only),
    HARNESS_TEST(a_group_that_nobody_uses_is_deleted),
    HARNESS_TEST(leases_of_a_deleted_group_do_not_fit_into_the_next),
    HARNESS_TEST(one_group_too_many_is_refused),
};
HARNESS_MAIN(tests);
