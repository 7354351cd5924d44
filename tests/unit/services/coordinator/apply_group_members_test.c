/* Members: joining, sharing, leaving, take-over, held leases. */
#include <stdio.h>
#include <string.h>

#include "common/map.h"

#include "schemas/gen/alter_topic_request.h"

#include "services/coordinator/apply_groups.h"
#include "services/shared/group_operations.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/group_fixture.h"

static struct group_ask ask_of(const char *member)
{
    return (struct group_ask){.member = member, .end = 100};
}

static void read_ok(struct fixture_machine *m, struct group_ask ask, struct group_read_result *out)
{
    CU_ASSERT_EQUAL_FATAL(group_read(m, ask, out), RIA_OK);
}

/* How many of topic a's partitions the plan gives to the member. */
static uint32_t planned(struct fixture_machine *m, const char *member)
{
    uint32_t count = 0;

    for (int32_t p = 0; p < GROUP_PARTITIONS_A; p++) {
        struct group_partition row = group_partition_of(m, p);
        count += ria_slice_equal(row.member, ria_slice_cstr(member)) ? 1 : 0;
    }
    return count;
}

/* ---- names in calls ---- */

static void members_share_and_a_join_moves_only_what_must(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    read_ok(&m, ask_of("one"), &result);
    CU_ASSERT_EQUAL(result.granted_count, 4);
    CU_ASSERT_TRUE(result.member_epoch >= 0);
    int64_t generation = result.generation;
    read_ok(&m, ask_of("two"), &result);
    CU_ASSERT_TRUE(result.generation > generation);
    CU_ASSERT_TRUE(group_was_woken(&m, "g"));
    CU_ASSERT_EQUAL(planned(&m, "one"), 2);
    CU_ASSERT_EQUAL(planned(&m, "two"), 2);
    /* The leases of "one" are out: nobody is stopped. */
    CU_ASSERT_EQUAL(result.granted_count, 0);
    CU_ASSERT_EQUAL(result.retry_after_ms, GROUP_LEASE_MS);
    generation = result.generation;
    read_ok(&m, ask_of("two"), &result);
    CU_ASSERT_EQUAL(result.generation, generation);
    CU_ASSERT_FALSE(group_was_woken(&m, "g"));
    m.lease_ms += GROUP_LEASE_MS;
    read_ok(&m, ask_of("two"), &result);
    CU_ASSERT_EQUAL(result.granted_count, 2);
    read_ok(&m, ask_of("one"), &result);
    CU_ASSERT_EQUAL(result.granted_count, 2);
    fixture_machine_close(&m);
}

static void who_had_a_moved_partition_may_finish_and_commit(void)
{
    struct fixture_machine m;
    struct group_read_result one;
    struct group_read_result result;

    group_open(&m);
    read_ok(&m, ask_of("one"), &one);
    read_ok(&m, ask_of("two"), &result);
    for (uint32_t i = 0; i < one.granted_count; i++) {
        struct group_commit_group_commit_entry entry =
            group_entry(one.granted[i].partition, one.granted[i].lease_id, 50);
        entry.keep = true;
        CU_ASSERT_EQUAL(group_commit_one(&m, "one", 0, false, entry, NULL), RIA_OK);
    }
    struct group_read_group_read_commit cursors[4];
    for (uint32_t i = 0; i < 4; i++) {
        cursors[i] = group_cursor(&one.granted[i], 60);
    }
    struct group_ask ask = ask_of("one");
    ask.commits = cursors;
    ask.commits_count = 4;
    read_ok(&m, ask, &result);
    CU_ASSERT_EQUAL(result.lost_count, 0);
    CU_ASSERT_EQUAL(result.granted_count, 2);
    CU_ASSERT_TRUE(group_was_woken(&m, "g"));
    read_ok(&m, ask_of("two"), &result);
    CU_ASSERT_EQUAL(result.granted_count, 2);
    CU_ASSERT_EQUAL(result.granted[0].offset, 60);
    fixture_machine_close(&m);
}

static void a_silent_members_partitions_go_to_the_others(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    read_ok(&m, ask_of("one"), &result);
    m.lease_ms += 15000;
    read_ok(&m, ask_of("two"), &result);
    m.lease_ms += GROUP_SESSION_MS - 15000 - 1;
    read_ok(&m, ask_of("two"), &result);
    CU_ASSERT_EQUAL(planned(&m, "two"), 2);
    /* When to ask again: the other's session may end. */
    CU_ASSERT_EQUAL(result.retry_after_ms, 1);
    m.lease_ms += 1;
    read_ok(&m, ask_of("two"), &result);
    CU_ASSERT_EQUAL(planned(&m, "two"), 4);
    CU_ASSERT_EQUAL(planned(&m, "one"), 0);
    CU_ASSERT_EQUAL(result.granted_count, 2); /* beside the two it has */
    CU_ASSERT_TRUE(group_was_woken(&m, "g"));
    CU_ASSERT_EQUAL(group_row_of(&m).member_count, 1);
    /* It comes back without an error. */
    read_ok(&m, ask_of("one"), &result);
    CU_ASSERT_EQUAL(planned(&m, "one"), 2);
    fixture_machine_close(&m);
}

static void a_consumer_without_a_name_is_refused_beside_members(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    read_ok(&m, ask_of("one"), &result);
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &result), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "name"));
    m.lease_ms += GROUP_SESSION_MS;
    CU_ASSERT_EQUAL(group_read(&m, (struct group_ask){.end = 100}, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.granted_count, 4);
    fixture_machine_close(&m);
}

static void two_processes_of_one_name_have_one_lease_each(void)
{
    struct fixture_machine m;
    struct group_read_result first;
    struct group_read_result second;

    group_open(&m);
    struct group_ask ask = ask_of("one");
    ask.max = 1;
    read_ok(&m, ask, &first);
    read_ok(&m, ask, &second);
    CU_ASSERT_EQUAL(first.granted_count, 1);
    CU_ASSERT_EQUAL(second.granted_count, 1);
    CU_ASSERT_NOT_EQUAL(first.granted[0].partition, second.granted[0].partition);
    fixture_machine_close(&m);
}

static void the_topics_of_a_call_are_the_subscription(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    struct group_ask both = ask_of("one");
    both.both = true;
    read_ok(&m, both, &result);
    CU_ASSERT_EQUAL(result.granted_count, 6);
    m.lease_ms += GROUP_LEASE_MS;
    struct group_ask none = {.member = "one", .topics_none = true};
    read_ok(&m, none, &result); /* as it is: offered, since no end is known */
    CU_ASSERT_EQUAL(result.offered_count, 6);
    read_ok(&m, ask_of("one"), &result);
    CU_ASSERT_EQUAL(result.granted_count, 4);
    CU_ASSERT_EQUAL(result.offered_count, 0);
    read_ok(&m, none, &result);
    CU_ASSERT_EQUAL(result.offered_count, 0); /* its own leases are out */
    fixture_machine_close(&m);
}

static void a_deleted_topic_leaves_nothing_in_a_group(void)
{
    struct fixture_machine m;
    struct group_read_result result;
    struct group_read_result after;

    group_open(&m);
    struct group_ask both = ask_of("one");
    both.both = true;
    read_ok(&m, both, &result);
    struct group_read_group_read_commit cursor = group_cursor(group_granted(&result, 0), 5);
    int64_t version = 0;
    struct state_summary summary;
    CU_ASSERT_TRUE(state_summary(m.db, &summary));
    version = summary.version;
    CU_ASSERT_EQUAL(group_delete_topic(&m, "a"), RIA_OK);
    CU_ASSERT_TRUE(group_was_woken(&m, "g"));
    CU_ASSERT_TRUE(state_summary(m.db, &summary));
    CU_ASSERT_EQUAL(summary.version, version + 1);
    CU_ASSERT_FALSE(group_partition_of(&m, 0).stored);
    struct group_ask none = {
        .member = "one", .topics_none = true, .commits = &cursor, .commits_count = 1};
    m.lease_ms += GROUP_LEASE_MS;
    read_ok(&m, none, &after);
    CU_ASSERT_EQUAL(after.offered_count, 2);
    CU_ASSERT_EQUAL(after.lost_count, 1);
    CU_ASSERT_EQUAL(after.lost[0].position, -1);
    /* A new topic of the same name is another one. */
    struct create_topic_request again = fixture_topic(9, "a", GROUP_PARTITIONS_A, 1);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &again), RIA_OK);
    read_ok(&m, none, &after);
    CU_ASSERT_EQUAL(after.lost_count, 1);
    fixture_machine_close(&m);
}

static void more_partitions_are_divided_at_once(void)
{
    struct fixture_machine m;
    struct group_read_result result;
    const struct alter_topic_request grow = {
        .topic_id = fixture_uuid(GROUP_TOPIC_A), .config_epoch = -1, .partition_count = 10};
    struct group_ask nameless = {.group = "nameless"};

    group_open(&m);
    read_ok(&m, nameless, &result);
    read_ok(&m, ask_of("one"), &result);
    read_ok(&m, ask_of("two"), &result);
    int64_t generation = result.generation;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_TOPIC, &grow), RIA_OK);
    CU_ASSERT_TRUE(group_was_woken(&m, "g"));
    CU_ASSERT_TRUE(group_was_woken(&m, "nameless"));
    CU_ASSERT_EQUAL(group_row_of(&m).generation, generation + 1);
    int counts[2] = {0};
    for (int32_t p = 0; p < 10; p++) {
        struct group_partition row = group_partition_of(&m, p);
        counts[0] += ria_slice_equal(row.member, RIA_SLICE_LITERAL("one")) ? 1 : 0;
        counts[1] += ria_slice_equal(row.member, RIA_SLICE_LITERAL("two")) ? 1 : 0;
    }
    CU_ASSERT_EQUAL(counts[0], 5);
    CU_ASSERT_EQUAL(counts[1], 5);
    read_ok(&m, nameless, &result);
    CU_ASSERT_EQUAL(result.offered_count, 10);
    fixture_machine_close(&m);
}

/* from=latest: the start that a gateway brings would be the end by the time that somebody looks. */
static void partitions_that_a_topic_gets_later_begin_at_their_first_record(void)
{
    struct fixture_machine m;
    struct group_read_result result;
    const struct alter_topic_request grow = {
        .topic_id = fixture_uuid(GROUP_TOPIC_A), .config_epoch = -1, .partition_count = 6};

    group_open(&m);
    read_ok(&m, ask_of("one"), &result);
    int64_t before = group_partition_of(&m, 0).position;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALTER_TOPIC, &grow), RIA_OK);
    CU_ASSERT_EQUAL(group_partition_of(&m, 0).position, before);
    CU_ASSERT_EQUAL(group_partition_of(&m, GROUP_PARTITIONS_A).position, 0);
    CU_ASSERT_EQUAL(group_partition_of(&m, 5).position, 0);
    CU_ASSERT_TRUE(ria_slice_equal(group_partition_of(&m, 5).member, RIA_SLICE_LITERAL("one")));
    fixture_machine_close(&m);
}

/* ---- made members ---- */

static void a_take_over_fences(void)
{
    struct fixture_machine m;
    struct group_member_result first;
    struct group_member_result second;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_make(&m, "i", &first), RIA_OK);
    CU_ASSERT_EQUAL(first.assignment_count, 4);
    struct group_ask old = {.member = "i", .epoch = first.member_epoch, .hold = true, .end = 100};
    read_ok(&m, old, &result);
    CU_ASSERT_EQUAL(result.granted_count, 4);
    struct group_read_result_group_grant grant = result.granted[0];
    CU_ASSERT_EQUAL(group_make(&m, "i", &second), RIA_OK);
    CU_ASSERT_NOT_EQUAL(second.member_epoch, first.member_epoch);
    CU_ASSERT_EQUAL(second.assignment_count, 4);
    CU_ASSERT_EQUAL(group_read(&m, old, &result), RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(group_leave(&m, "i", first.member_epoch, false), RIA_ERR_FENCED_EPOCH);
    struct group_commit_group_commit_entry entry = group_entry(grant.partition, grant.lease_id, 10);
    CU_ASSERT_EQUAL(
        group_commit_one(&m, "i", first.member_epoch, false, entry, NULL), RIA_ERR_FENCED_EPOCH
    );
    /* Its leases are void, too, whoever brings them. */
    CU_ASSERT_EQUAL(group_commit_one(&m, NULL, 0, false, entry, NULL), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(group_partition_of(&m, grant.partition).position, 0);
    fixture_machine_close(&m);
}

static void an_epoch_is_never_given_twice(void)
{
    struct fixture_machine m;
    struct group_member_result first;
    struct group_member_result second;

    group_open(&m);
    CU_ASSERT_EQUAL(group_make(&m, "i", &first), RIA_OK);
    m.lease_ms += GROUP_SESSION_MS; /* it is gone, and made anew by somebody else */
    CU_ASSERT_EQUAL(group_make(&m, "i", &second), RIA_OK);
    CU_ASSERT_NOT_EQUAL(second.member_epoch, first.member_epoch);
    CU_ASSERT_EQUAL(group_delete(&m, "g", true), RIA_OK); /* the whole group, too */
    struct group_member_result third;
    CU_ASSERT_EQUAL(group_make(&m, "i", &third), RIA_OK);
    CU_ASSERT_NOT_EQUAL(third.member_epoch, first.member_epoch);
    CU_ASSERT_NOT_EQUAL(third.member_epoch, second.member_epoch);
    fixture_machine_close(&m);
}

static void a_made_member_that_is_gone_is_not_found(void)
{
    struct fixture_machine m;
    struct group_member_result made;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_make(&m, "i", &made), RIA_OK);
    m.lease_ms += GROUP_SESSION_MS;
    struct group_ask ask = {.member = "i", .epoch = made.member_epoch, .hold = true, .end = 100};
    CU_ASSERT_EQUAL(group_read(&m, ask, &result), RIA_ERR_NOT_FOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "\"i\""));
    CU_ASSERT_EQUAL(group_leave(&m, "i", made.member_epoch, false), RIA_ERR_NOT_FOUND);
    fixture_machine_close(&m);
}

static void a_name_that_must_be_new_is_not_taken_over(void)
{
    struct fixture_machine m;
    struct group_member r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = RIA_SLICE_LITERAL("i"),
        .member_epoch = -1,
        .session_ms = GROUP_SESSION_MS,
        .make = true,
        .must_be_new = true,
    };

    group_open(&m);
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, NULL), RIA_OK);
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, NULL), RIA_ERR_CONFLICT);
    m.lease_ms += GROUP_SESSION_MS;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, NULL), RIA_OK);
    fixture_machine_close(&m);
}

static void a_member_is_changed_in_part(void)
{
    struct fixture_machine m;
    struct group_member_result made;
    struct group_member_result result;
    struct group_member r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = RIA_SLICE_LITERAL("i"),
        .session_ms = GROUP_SESSION_MS,
        .detail = RIA_SLICE_LITERAL("{\"format\":\"json\"}"),
    };

    group_open(&m);
    CU_ASSERT_EQUAL(group_make(&m, "i", &made), RIA_OK);
    r.member_epoch = made.member_epoch;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, &result), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(result.detail, r.detail));
    CU_ASSERT_EQUAL(result.subscription_count, 1);
    CU_ASSERT_EQUAL(result.assignment_count, 4);
    CU_ASSERT_EQUAL(result.member_epoch, made.member_epoch);
    struct ria_uuid topic = fixture_uuid(GROUP_TOPIC_B);
    r.detail = RIA_SLICE_NULL;
    r.subscription = &topic;
    r.subscription_count = 1;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, &result), RIA_OK);
    CU_ASSERT_EQUAL(result.detail.size, 17);
    CU_ASSERT_EQUAL(result.assignment_count, 2);
    CU_ASSERT_EQUAL(planned(&m, "i"), 0);
    r.member_epoch = made.member_epoch + 1;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, NULL), RIA_ERR_FENCED_EPOCH);
    r.member = RIA_SLICE_LITERAL("nobody");
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, NULL), RIA_ERR_NOT_FOUND);
    fixture_machine_close(&m);
}

/* A poll that was answered slowly takes its mark back: it must not bring an older subscription back
 * with it. */
static void who_writes_by_an_older_detail_changes_nothing(void)
{
    struct fixture_machine m;
    struct group_member_result made;
    struct group_member_result result;
    struct ria_uuid topic = fixture_uuid(GROUP_TOPIC_B);
    struct group_member r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = RIA_SLICE_LITERAL("i"),
        .session_ms = GROUP_SESSION_MS,
        .detail = RIA_SLICE_LITERAL("old"),
    };

    group_open(&m);
    CU_ASSERT_EQUAL(group_make(&m, "i", &made), RIA_OK);
    r.member_epoch = made.member_epoch;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, &result), RIA_OK);
    r.detail = RIA_SLICE_LITERAL("new");
    r.detail_hash = (int64_t)ria_hash_bytes("old", 3);
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, &result), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(result.detail, r.detail));
    r.detail = RIA_SLICE_LITERAL("late");
    r.subscription = &topic;
    r.subscription_count = 1;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, &result), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(result.detail, RIA_SLICE_LITERAL("new")));
    CU_ASSERT_EQUAL_FATAL(result.subscription_count, 1);
    CU_ASSERT_FALSE(ria_uuid_equal(result.subscription[0], topic));
    fixture_machine_close(&m);
}

/* ---- held leases ---- */

static void a_held_lease_lives_as_long_as_its_member(void)
{
    struct fixture_machine m;
    struct group_member_result made;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_make(&m, "i", &made), RIA_OK);
    struct group_ask ask = {.member = "i", .epoch = made.member_epoch, .hold = true, .end = 100};
    read_ok(&m, ask, &result);
    int64_t lease = group_granted(&result, 1)->lease_id;
    struct group_commit_group_commit_entry entry = group_entry(1, lease, -1);
    entry.keep = true;
    entry.delivered = 20; /* written to the socket */
    CU_ASSERT_EQUAL(group_commit_one(&m, "i", made.member_epoch, false, entry, NULL), RIA_OK);
    for (int i = 0; i < 5; i++) {
        m.lease_ms += GROUP_SESSION_MS - 1;
        read_ok(&m, ask, &result);
        CU_ASSERT_EQUAL(result.granted_count, 4);
        CU_ASSERT_EQUAL(group_granted(&result, 1)->lease_id, lease);
        CU_ASSERT_EQUAL(group_granted(&result, 1)->offset, 20);
        CU_ASSERT_EQUAL(group_granted(&result, 1)->left_ms, GROUP_SESSION_MS);
    }
    ask.end = 20;
    read_ok(&m, ask, &result);
    CU_ASSERT_TRUE(group_offered(&result, 1));
    CU_ASSERT_EQUAL(group_partition_of(&m, 1).position, 0); /* given is not committed */
    m.lease_ms += GROUP_SESSION_MS;
    struct group_ask other = {.member = "other", .end = 100};
    read_ok(&m, other, &result);
    CU_ASSERT_EQUAL(group_granted(&result, 1)->offset, 0);
    fixture_machine_close(&m);
}

/* It had been given more than it had committed: the next one of its name must be given that, too.
 */
static void a_name_made_again_does_not_inherit_what_was_held(void)
{
    struct fixture_machine m;
    struct group_member_result made;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_make(&m, "i", &made), RIA_OK);
    struct group_ask ask = {.member = "i", .hold = true, .end = 100};
    read_ok(&m, ask, &result);
    struct group_commit_group_commit_entry entry =
        group_entry(1, group_granted(&result, 1)->lease_id, -1);
    entry.keep = true;
    entry.delivered = 20;
    CU_ASSERT_EQUAL(group_commit_one(&m, "i", made.member_epoch, false, entry, NULL), RIA_OK);
    m.lease_ms += GROUP_SESSION_MS; /* over, but no command has seen that yet */
    CU_ASSERT_EQUAL(group_make(&m, "i", &made), RIA_OK);
    CU_ASSERT_EQUAL(group_partition_of(&m, 1).lease_id, 0);
    read_ok(&m, ask, &result);
    CU_ASSERT_EQUAL(group_granted(&result, 1)->offset, 0);
    fixture_machine_close(&m);
}

static void what_was_given_is_committed_by_the_next_read(void)
{
    struct fixture_machine m;
    struct group_member_result made;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_make(&m, "i", &made), RIA_OK);
    struct group_ask ask = {.member = "i", .epoch = made.member_epoch, .hold = true, .end = 100};
    read_ok(&m, ask, &result);
    struct group_commit_group_commit_entry entry =
        group_entry(1, group_granted(&result, 1)->lease_id, -1);
    entry.keep = true;
    entry.delivered = 20;
    CU_ASSERT_EQUAL(group_commit_one(&m, "i", made.member_epoch, false, entry, NULL), RIA_OK);
    ask.commit_delivered = true;
    read_ok(&m, ask, &result);
    CU_ASSERT_EQUAL(group_partition_of(&m, 1).position, 20);
    CU_ASSERT_EQUAL(group_partition_of(&m, 0).position, 0);
    /* A client may seek back; the position does not follow. */
    entry.delivered = 3;
    CU_ASSERT_EQUAL(group_commit_one(&m, "i", made.member_epoch, false, entry, NULL), RIA_OK);
    read_ok(&m, ask, &result);
    CU_ASSERT_EQUAL(group_granted(&result, 1)->offset, 3);
    CU_ASSERT_EQUAL(group_partition_of(&m, 1).position, 20);
    fixture_machine_close(&m);
}

static void a_held_lease_ends_when_the_partition_moves(void)
{
    struct fixture_machine m;
    struct group_member_result one;
    struct group_member_result two;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(group_make(&m, "one", &one), RIA_OK);
    struct group_ask ask = {.member = "one", .epoch = one.member_epoch, .hold = true, .end = 100};
    read_ok(&m, ask, &result);
    CU_ASSERT_EQUAL(result.granted_count, 4);
    CU_ASSERT_EQUAL(group_make(&m, "two", &two), RIA_OK);
    CU_ASSERT_TRUE(group_was_woken(&m, "g"));
    struct group_ask other = {.member = "two", .epoch = two.member_epoch, .hold = true, .end = 100};
    read_ok(&m, other, &result);
    CU_ASSERT_EQUAL(result.granted_count, 2);
    read_ok(&m, ask, &result);
    CU_ASSERT_EQUAL(result.granted_count, 2);
    CU_ASSERT_EQUAL(group_leave(&m, "one", one.member_epoch, false), RIA_OK);
    read_ok(&m, other, &result);
    CU_ASSERT_EQUAL(result.granted_count, 4);
    fixture_machine_close(&m);
}

static void leaving_commits_what_was_given_if_asked(void)
{
    struct fixture_machine m;
    struct group_member_result made;
    struct group_read_result result;

    for (int commit = 0; commit <= 1; commit++) {
        group_open(&m);
        CU_ASSERT_EQUAL(group_make(&m, "i", &made), RIA_OK);
        struct group_ask ask = {
            .member = "i", .epoch = made.member_epoch, .hold = true, .end = 100};
        read_ok(&m, ask, &result);
        struct group_commit_group_commit_entry entry =
            group_entry(1, group_granted(&result, 1)->lease_id, -1);
        entry.keep = true;
        entry.delivered = 20;
        CU_ASSERT_EQUAL(group_commit_one(&m, "i", made.member_epoch, false, entry, NULL), RIA_OK);
        CU_ASSERT_EQUAL(group_leave(&m, "i", made.member_epoch, commit != 0), RIA_OK);
        CU_ASSERT_EQUAL(group_partition_of(&m, 1).position, commit != 0 ? 20 : 0);
        CU_ASSERT_EQUAL(group_partition_of(&m, 1).lease_id, 0);
        CU_ASSERT_EQUAL(planned(&m, "i"), 0);
        CU_ASSERT_TRUE(group_was_woken(&m, "g"));
        fixture_machine_close(&m);
    }
}

static void leaving_frees_leases_that_are_not_held_too(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    read_ok(&m, ask_of("one"), &result);
    CU_ASSERT_EQUAL(group_leave(&m, "one", 0, false), RIA_OK);
    read_ok(&m, ask_of("two"), &result);
    CU_ASSERT_EQUAL(result.granted_count, 4);
    CU_ASSERT_EQUAL(group_leave(&m, "one", 0, false), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(group_leave(&m, NULL, 0, false), RIA_ERR_INVALID);
    fixture_machine_close(&m);
}

static void delivered_is_for_held_leases(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    read_ok(&m, ask_of("one"), &result);
    struct group_commit_group_commit_entry entry =
        group_entry(1, group_granted(&result, 1)->lease_id, -1);
    entry.keep = true;
    entry.delivered = 20;
    CU_ASSERT_EQUAL(group_commit_one(&m, "one", 0, false, entry, NULL), RIA_ERR_INVALID);
    fixture_machine_close(&m);
}

/* ---- chosen partitions ---- */

static ria_err choose(
    struct fixture_machine *m,
    const char *member,
    int32_t first,
    int32_t second,
    struct group_member_result *out
)
{
    struct group_member_group_choice choices[2] = {
        {.topic_id = fixture_uuid(GROUP_TOPIC_A), .partition = first},
        {.topic_id = fixture_uuid(GROUP_TOPIC_A), .partition = second},
    };
    const struct group_member r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = ria_slice_cstr(member),
        .member_epoch = -1,
        .session_ms = GROUP_SESSION_MS,
        .make = true,
        .assignment = choices,
        .assignment_count = 2,
    };

    return fixture_group(m, GROUP_OPERATION_MEMBER, &r, out);
}

static void a_member_may_choose_its_partitions(void)
{
    struct fixture_machine m;
    struct group_member_result made;
    struct group_read_result result;

    group_open(&m);
    CU_ASSERT_EQUAL(choose(&m, "i", 1, 3, &made), RIA_OK);
    CU_ASSERT_EQUAL(made.assignment_count, 2);
    CU_ASSERT_EQUAL(made.subscription_count, 0);
    CU_ASSERT_EQUAL(planned(&m, "i"), 0);
    struct group_ask ask = {.member = "i", .epoch = made.member_epoch, .hold = true, .end = 100};
    read_ok(&m, ask, &result);
    CU_ASSERT_EQUAL(result.granted_count, 2);
    int64_t lease = group_granted(&result, 3)->lease_id;
    CU_ASSERT_PTR_NOT_NULL(group_granted(&result, 1));
    /* Another choice: what is no longer chosen is free. */
    struct group_member_group_choice choice = {
        .topic_id = fixture_uuid(GROUP_TOPIC_A), .partition = 3};
    const struct group_member r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = RIA_SLICE_LITERAL("i"),
        .member_epoch = made.member_epoch,
        .session_ms = GROUP_SESSION_MS,
        .assignment = &choice,
        .assignment_count = 1,
    };
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, NULL), RIA_OK);
    CU_ASSERT_EQUAL(group_partition_of(&m, 1).lease_id, 0);
    CU_ASSERT_EQUAL(group_partition_of(&m, 3).lease_id, lease);
    fixture_machine_close(&m);
}

static void wrong_choices_are_refused(void)
{
    struct fixture_machine m;
    struct ria_uuid topics[2] = {fixture_uuid(GROUP_TOPIC_A), fixture_uuid(GROUP_TOPIC_A)};
    struct group_member r = {
        .group = RIA_SLICE_LITERAL("g"),
        .member = RIA_SLICE_LITERAL("i"),
        .member_epoch = -1,
        .session_ms = GROUP_SESSION_MS,
        .make = true,
        .subscription = topics,
        .subscription_count = 2,
    };

    group_open(&m);
    CU_ASSERT_EQUAL(choose(&m, "i", 1, 4, NULL), RIA_ERR_UNKNOWN_PARTITION);
    CU_ASSERT_EQUAL(choose(&m, "i", 1, 1, NULL), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "assignment"));
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, NULL), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "twice"));
    topics[1] = fixture_uuid(77);
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, NULL), RIA_ERR_UNKNOWN_TOPIC);
    struct group_member_group_choice choice = {.topic_id = fixture_uuid(GROUP_TOPIC_A)};
    r.assignment = &choice;
    r.assignment_count = 1;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, NULL), RIA_ERR_INVALID);
    r.session_ms = GROUP_LEASE_MS_MAX + 1;
    CU_ASSERT_EQUAL(fixture_group(&m, GROUP_OPERATION_MEMBER, &r, NULL), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "sessionMs"));
    fixture_machine_close(&m);
}

/* ---- limits ---- */

static void one_member_too_many_is_refused(void)
{
    struct fixture_machine m;
    struct group_read_result result;

    group_open(&m);
    /* As if they were there: making 10,000 takes a while. */
    read_ok(&m, ask_of("one"), &result);
    struct group_row row = group_row_of(&m);
    row.member_count = GROUP_MEMBERS_MAX;
    CU_ASSERT_EQUAL(group_row_write(m.db, &row), RIA_OK);
    CU_ASSERT_EQUAL(group_read(&m, ask_of("two"), &result), RIA_ERR_LIMIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "10000 members"));
    read_ok(&m, ask_of("one"), &result);
    fixture_machine_close(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(members_share_and_a_join_moves_only_what_must),
    HARNESS_TEST(who_had_a_moved_partition_may_finish_and_commit),
    HARNESS_TEST(a_silent_members_partitions_go_to_the_others),
    HARNESS_TEST(a_consumer_without_a_name_is_refused_beside_members),
    HARNESS_TEST(two_processes_of_one_name_have_one_lease_each),
    HARNESS_TEST(the_topics_of_a_call_are_the_subscription),
    HARNESS_TEST(a_deleted_topic_leaves_nothing_in_a_group),
    HARNESS_TEST(more_partitions_are_divided_at_once),
    HARNESS_TEST(partitions_that_a_topic_gets_later_begin_at_their_first_record),
    HARNESS_TEST(a_take_over_fences),
    HARNESS_TEST(an_epoch_is_never_given_twice),
    HARNESS_TEST(a_made_member_that_is_gone_is_not_found),
    HARNESS_TEST(a_name_that_must_be_new_is_not_taken_over),
    HARNESS_TEST(a_member_is_changed_in_part),
    HARNESS_TEST(who_writes_by_an_older_detail_changes_nothing),
    HARNESS_TEST(a_held_lease_lives_as_long_as_its_member),
    HARNESS_TEST(a_name_made_again_does_not_inherit_what_was_held),
    HARNESS_TEST(what_was_given_is_committed_by_the_next_read),
    HARNESS_TEST(a_held_lease_ends_when_the_partition_moves),
    HARNESS_TEST(leaving_commits_what_was_given_if_asked),
    HARNESS_TEST(leaving_frees_leases_that_are_not_held_too),
    HARNESS_TEST(delivered_is_for_held_leases),
    HARNESS_TEST(a_member_may_choose_its_partitions),
    HARNESS_TEST(wrong_choices_are_refused),
    HARNESS_TEST(one_member_too_many_is_refused),
};
HARNESS_MAIN(tests);
