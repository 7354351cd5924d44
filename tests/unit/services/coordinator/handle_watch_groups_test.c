/* WatchGroups; and groups across a restart of the coordinator. */
#include <stdio.h>
#include <string.h>

#include "schemas/gen/delete_topic_request.h"
#include "schemas/gen/group_delete.h"
#include "schemas/gen/watch_groups_request.h"
#include "schemas/gen/watch_groups_response.h"

#include "services/coordinator/group_waits.h"
#include "services/shared/group_operations.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/group_fixture.h"

static struct fixture_request *
watch(struct fixture *f, int64_t id, const char *group, int64_t changed, int32_t wait_ms)
{
    struct watch_groups_request_watch_group watched = {
        .group = ria_slice_cstr(group), .changed = changed};
    const struct watch_groups_request r = {
        .watch_id = id, .wait_ms = wait_ms, .groups = &watched, .groups_count = 1};

    return fixture_send(f, API_WATCH_GROUPS, &r);
}

/* A member reads: the first of a name changes the group. */
static int64_t join(struct fixture *f, const char *group, const char *member)
{
    struct group_read_result result;

    CU_ASSERT_EQUAL_FATAL(
        group_call_read(f, (struct group_ask){.group = group, .member = member}, &result), RIA_OK
    );
    return result.changed;
}

static void a_change_wakes_who_waits_for_it(void)
{
    struct fixture f;
    struct watch_groups_response response;

    group_up(&f);
    int64_t changed = join(&f, "g", "one");
    int64_t other = join(&f, "h", "one");
    struct fixture_request *of_g = watch(&f, 1, "g", changed, 10000);
    struct fixture_request *of_h = watch(&f, 2, "h", other, 10000);
    CU_ASSERT_FALSE(fixture_is_answered(of_g));
    int64_t now = join(&f, "g", "two");
    CU_ASSERT_TRUE(now > changed);
    fixture_advance(&f, 0);
    CU_ASSERT_TRUE(fixture_is_answered(of_g));
    CU_ASSERT_FALSE(fixture_is_answered(of_h));
    CU_ASSERT_EQUAL(fixture_answer(&f, of_g, &response), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(response.groups_count, 1);
    CU_ASSERT_EQUAL(response.groups[0].changed, now);
    fixture_advance(&f, 10000);
    CU_ASSERT_EQUAL(fixture_answer(&f, of_h, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.groups_count, 0);
    fixture_close(&f);
}

static void who_knows_less_is_answered_at_once(void)
{
    struct fixture f;
    struct watch_groups_response response;

    group_up(&f);
    int64_t changed = join(&f, "g", "one");
    struct fixture_request *request = watch(&f, 1, "g", changed - 1, 10000);
    CU_ASSERT_TRUE(fixture_is_answered(request));
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.groups[0].changed, changed);
    request = watch(&f, 1, "nobody", 0, 10000);
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.groups[0].changed, -1);
    fixture_close(&f);
}

/* Its own operation told it: the change is no news. */
static void who_knows_of_a_change_already_is_not_woken(void)
{
    struct fixture f;

    group_up(&f);
    int64_t changed = join(&f, "g", "one");
    struct fixture_request *request = watch(&f, 1, "g", changed + 1, 10000);
    CU_ASSERT_EQUAL(join(&f, "g", "two"), changed + 1);
    fixture_advance(&f, 0);
    CU_ASSERT_FALSE(fixture_is_answered(request));
    CU_ASSERT_EQUAL(join(&f, "g", "three"), changed + 2);
    fixture_advance(&f, 0);
    CU_ASSERT_TRUE(fixture_is_answered(request));
    fixture_close(&f);
}

static void a_group_that_vanishes_is_told(void)
{
    struct fixture f;
    struct watch_groups_response response;
    const struct group_delete r = {.group = RIA_SLICE_LITERAL("g"), .force = true};

    group_up(&f);
    struct fixture_request *request = watch(&f, 1, "g", join(&f, "g", "one"), 10000);
    CU_ASSERT_EQUAL(fixture_group_call(&f, GROUP_OPERATION_DELETE, &r, NULL), RIA_OK);
    fixture_advance(&f, 0);
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(response.groups_count, 1);
    CU_ASSERT_EQUAL(response.groups[0].changed, -1);
    fixture_close(&f);
}

static void a_topic_that_is_deleted_wakes_its_groups(void)
{
    struct fixture f;
    struct watch_groups_response response;
    const struct delete_topic_request r = {.name = RIA_SLICE_LITERAL("a")};

    group_up(&f);
    int64_t changed = join(&f, "g", "one");
    struct fixture_request *request = watch(&f, 1, "g", changed, 10000);
    CU_ASSERT_EQUAL(fixture_call(&f, API_DELETE_TOPIC, &r, NULL), RIA_OK);
    fixture_advance(&f, 0);
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.groups[0].changed, changed + 1);
    fixture_close(&f);
}

static void a_refused_operation_wakes_nobody(void)
{
    struct fixture f;
    struct group_read_result result;
    const struct group_delete r = {.group = RIA_SLICE_LITERAL("g")};

    group_up(&f);
    struct fixture_request *request = watch(&f, 1, "g", join(&f, "g", "one"), 10000);
    CU_ASSERT_EQUAL(fixture_group_call(&f, GROUP_OPERATION_DELETE, &r, NULL), RIA_ERR_CONFLICT);
    struct group_ask nameless = {.end = 1};
    CU_ASSERT_EQUAL(group_call_read(&f, nameless, &result), RIA_ERR_CONFLICT);
    fixture_advance(&f, 0);
    CU_ASSERT_FALSE(fixture_is_answered(request));
    fixture_close(&f);
}

static void a_newer_watch_ends_the_older_one(void)
{
    struct fixture f;
    struct watch_groups_response response;

    group_up(&f);
    int64_t changed = join(&f, "g", "one");
    struct fixture_request *older = watch(&f, 1, "g", changed, 10000);
    struct fixture_request *newer = watch(&f, 1, "g", changed, 10000);
    CU_ASSERT_TRUE(fixture_is_answered(older));
    CU_ASSERT_FALSE(fixture_is_answered(newer));
    CU_ASSERT_EQUAL(fixture_answer(&f, older, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.groups_count, 0);
    fixture_close(&f);
}

static void a_lost_connection_ends_its_watch(void)
{
    struct fixture f;

    group_up(&f);
    int64_t changed = join(&f, "g", "one");
    struct fixture_request *request = watch(&f, 1, "g", changed, 10000);
    fixture_disconnect(request);
    CU_ASSERT_TRUE(fixture_is_dropped(request));
    (void)join(&f, "g", "two");
    fixture_advance(&f, 10000);
    fixture_close(&f);
}

static void stopping_answers_who_waits(void)
{
    struct fixture f;

    group_up(&f);
    struct fixture_request *request = watch(&f, 1, "g", join(&f, "g", "one"), 10000);
    fixture_stop(&f);
    CU_ASSERT_TRUE(fixture_is_answered(request));
    fixture_close(&f);
}

static void too_many_watches_are_refused(void)
{
    struct fixture f;

    group_up(&f);
    int64_t changed = join(&f, "g", "one");
    for (int i = 0; i < GROUP_WAITS_MAX; i++) {
        if (fixture_is_answered(watch(&f, i, "g", changed, 60000))) {
            CU_FAIL_FATAL("refused too early");
        }
    }
    struct fixture_request *request = watch(&f, -1, "g", changed, 60000);
    CU_ASSERT_TRUE(fixture_is_answered(request));
    CU_ASSERT_EQUAL(fixture_error_code(request), RIA_ERR_BUSY);
    fixture_close(&f);
}

/* ---- a watch of many requests ---- */

static struct fixture_request *go_on(struct fixture *f, int64_t sequence, const char *gone)
{
    struct ria_slice names[1] = {ria_slice_cstr(gone)};
    const struct watch_groups_request r = {
        .watch_id = 1,
        .wait_ms = 10000,
        .sequence = sequence,
        .gone = names,
        .gone_count = gone[0] == '\0' ? 0 : 1,
    };

    return fixture_send(f, API_WATCH_GROUPS, &r);
}

static void a_watch_goes_on_without_being_told_again(void)
{
    struct fixture f;
    struct watch_groups_response response;

    group_up(&f);
    int64_t changed = join(&f, "g", "one");
    struct fixture_request *request = watch(&f, 1, "g", changed, 10000);
    changed = join(&f, "g", "two");
    fixture_advance(&f, 0);
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    /* Between two requests. */
    changed = join(&f, "g", "three");
    request = go_on(&f, 2, "");
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(response.groups_count, 1);
    CU_ASSERT_EQUAL(response.groups[0].changed, changed);
    /* It was told. */
    request = go_on(&f, 3, "");
    CU_ASSERT_FALSE(fixture_is_answered(request));
    changed = join(&f, "g", "four");
    fixture_advance(&f, 0);
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(response.groups_count, 1);
    CU_ASSERT_EQUAL(response.groups[0].changed, changed);
    request = go_on(&f, 4, "g");
    (void)join(&f, "g", "five");
    fixture_advance(&f, 0);
    CU_ASSERT_FALSE(fixture_is_answered(request));
    fixture_close(&f);
}

static void a_watch_that_nobody_knows_must_begin_anew(void)
{
    struct fixture f;
    struct watch_groups_response response;

    group_up(&f);
    int64_t changed = join(&f, "g", "one");
    CU_ASSERT_EQUAL(fixture_answer(&f, go_on(&f, 2, ""), &response), RIA_ERR_CONFLICT);
    struct fixture_request *request = watch(&f, 1, "g", changed, 10000);
    CU_ASSERT_EQUAL(fixture_answer(&f, go_on(&f, 3, ""), &response), RIA_ERR_CONFLICT);
    CU_ASSERT_FALSE(fixture_is_answered(request)); /* a late one does no harm */
    fixture_advance(&f, 10000);
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    request = go_on(&f, 2, "");
    fixture_advance(&f, 10000);
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    fixture_advance(&f, GROUP_WAITS_IDLE_MS);
    CU_ASSERT_EQUAL(fixture_answer(&f, go_on(&f, 3, ""), &response), RIA_ERR_CONFLICT);
    fixture_close(&f);
}

static void many_changes_come_in_bounded_answers(void)
{
    enum { MANY = GROUP_WAITS_ANSWER_MAX + 500 };
    static struct watch_groups_request_watch_group groups[MANY];
    static char names[MANY][16];
    struct fixture f;
    struct watch_groups_response response;
    struct watch_groups_request r = {
        .watch_id = 1, .wait_ms = 10000, .groups = groups, .groups_count = MANY};

    group_up(&f);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "none%d", i); /* there are none of them */
        groups[i].group = ria_slice_cstr(names[i]);
    }
    CU_ASSERT_EQUAL(fixture_call(&f, API_WATCH_GROUPS, &r, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.groups_count, GROUP_WAITS_ANSWER_MAX);
    CU_ASSERT_EQUAL(fixture_answer(&f, go_on(&f, 2, ""), &response), RIA_OK);
    CU_ASSERT_EQUAL(response.groups_count, 500);
    struct fixture_request *request = go_on(&f, 3, "");
    CU_ASSERT_FALSE(fixture_is_answered(request));
    (void)join(&f, "none7", "one");
    fixture_advance(&f, 0);
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.groups_count, 1);
    fixture_close(&f);
}

/* ---- restarts ---- */

static void leases_and_their_clock_survive_a_power_cut(void)
{
    struct fixture f;
    struct group_read_result first;
    struct group_read_result second;
    struct group_ask ask = {.end = 10};

    group_up(&f);
    CU_ASSERT_EQUAL(group_call_read(&f, ask, &first), RIA_OK);
    CU_ASSERT_EQUAL(first.granted_count, 4);
    fixture_advance(&f, 10000);
    CU_ASSERT_EQUAL(group_call_read(&f, ask, &second), RIA_OK); /* writes the clock */
    CU_ASSERT_EQUAL(second.retry_after_ms, GROUP_LEASE_MS - 10000);
    fixture_crash(&f, true);
    f.mono_us += INT64_C(3600) * 1000000; /* nobody's lease ends while the coordinator is away */
    CU_ASSERT_EQUAL_FATAL(fixture_start(&f), RIA_OK);
    CU_ASSERT_EQUAL(group_call_read(&f, ask, &second), RIA_OK);
    CU_ASSERT_EQUAL(second.granted_count, 0);
    CU_ASSERT_EQUAL(second.retry_after_ms, GROUP_LEASE_MS - 10000);
    fixture_advance(&f, GROUP_LEASE_MS - 10000);
    CU_ASSERT_EQUAL(group_call_read(&f, ask, &second), RIA_OK);
    CU_ASSERT_EQUAL(second.granted_count, 4);
    fixture_close(&f);
}

static void what_was_refused_for_being_late_stays_refused(void)
{
    struct fixture f;
    struct group_read_result first;
    struct group_read_result second;

    group_up(&f);
    CU_ASSERT_EQUAL(group_call_read(&f, (struct group_ask){.end = 10}, &first), RIA_OK);
    struct group_read_group_read_commit cursor = group_cursor(&first.granted[0], 5);
    fixture_advance(&f, GROUP_LEASE_MS);
    CU_ASSERT_EQUAL(group_call_read(&f, (struct group_ask){.end = 10}, &second), RIA_OK);
    CU_ASSERT_EQUAL(second.granted_count, 4);
    fixture_crash(&f, true);
    CU_ASSERT_EQUAL_FATAL(fixture_start(&f), RIA_OK);
    struct group_ask ask = {.end = 10, .commits = &cursor, .commits_count = 1};
    CU_ASSERT_EQUAL(group_call_read(&f, ask, &second), RIA_OK);
    CU_ASSERT_EQUAL(second.lost_count, 1);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_change_wakes_who_waits_for_it),
    HARNESS_TEST(who_knows_less_is_answered_at_once),
    HARNESS_TEST(who_knows_of_a_change_already_is_not_woken),
    HARNESS_TEST(a_group_that_vanishes_is_told),
    HARNESS_TEST(a_topic_that_is_deleted_wakes_its_groups),
    HARNESS_TEST(a_refused_operation_wakes_nobody),
    HARNESS_TEST(a_newer_watch_ends_the_older_one),
    HARNESS_TEST(a_lost_connection_ends_its_watch),
    HARNESS_TEST(stopping_answers_who_waits),
    HARNESS_TEST(too_many_watches_are_refused),
    HARNESS_TEST(a_watch_goes_on_without_being_told_again),
    HARNESS_TEST(a_watch_that_nobody_knows_must_begin_anew),
    HARNESS_TEST(many_changes_come_in_bounded_answers),
    HARNESS_TEST(leases_and_their_clock_survive_a_power_cut),
    HARNESS_TEST(what_was_refused_for_being_late_stays_refused),
};
HARNESS_MAIN(tests);
