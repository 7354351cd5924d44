/* GroupRequest as a command: each operation by itself. */
#include "services/coordinator/apply_groups.h"

#include <stdio.h>
#include <string.h>

#include "schemas/gen/group_delete.h"

#include "services/shared/group_operations.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/group_fixture.h"

static ria_err delete_group(struct fixture_machine *m, const char *name)
{
    const struct group_delete r = {.group = ria_slice_cstr(name)};

    return fixture_group(m, GROUP_OPERATION_DELETE, &r, NULL);
}

static void unknown_kinds_and_garbage_are_refused_one_by_one(void)
{
    struct fixture_machine m;
    uint8_t noise[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    struct group_request_group_operation operations[3] = {
        {.kind = 99, .body = RIA_SLICE_EMPTY},
        {.kind = GROUP_OPERATION_DELETE, .body = ria_slice_of(noise, sizeof(noise))},
        {.kind = GROUP_OPERATION_DELETE, .body = RIA_SLICE_EMPTY},
    };
    const struct group_request request = {.operations = operations, .operations_count = 3};

    fixture_machine_open(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_GROUP, &request), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(m.result.operations, 3);
    CU_ASSERT_EQUAL(m.result.operations_refused, 3);
    const struct group_response *response = &m.result.response.group;
    CU_ASSERT_EQUAL_FATAL(response->results_count, 3);
    CU_ASSERT_EQUAL(response->results[0].error_code, RIA_ERR_UNKNOWN_TYPE);
    CU_ASSERT_EQUAL(response->results[1].error_code, RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(response->results[2].error_code, RIA_ERR_MALFORMED);
    CU_ASSERT_TRUE(response->results[2].error_text.size > 0);
    fixture_machine_close(&m);
}

static void a_group_that_is_not_there_cannot_be_deleted(void)
{
    struct fixture_machine m;

    fixture_machine_open(&m);
    CU_ASSERT_EQUAL(delete_group(&m, "nobody"), RIA_ERR_NOT_FOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "\"nobody\""));
    fixture_machine_close(&m);
}

static void names_are_utf8_without_control_characters(void)
{
    struct fixture_machine m;
    char name[GROUP_NAME_MAX + 1] = "";

    fixture_machine_open(&m);
    CU_ASSERT_EQUAL(delete_group(&m, ""), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.text, "group"));
    CU_ASSERT_EQUAL(delete_group(&m, "a\nb"), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(delete_group(&m, "a\x7f"), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(delete_group(&m, "a\xc2\x85"), RIA_ERR_INVALID); /* NEL, a C1 control */
    CU_ASSERT_EQUAL(delete_group(&m, "a\xff"), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(delete_group(&m, "a\xc2\xa0 /%?\"'"), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(delete_group(&m, "gruppe-\xc3\xa4\xf0\x9f\x90\x8e"), RIA_ERR_NOT_FOUND);
    memset(name, 'n', GROUP_NAME_MAX);
    CU_ASSERT_EQUAL(delete_group(&m, name), RIA_ERR_NOT_FOUND);
    fixture_machine_close(&m);
}

/* A Read that would make a group is refused after it has made it: the group is not there, and the
 * operations before and behind stand. */
static void one_that_is_refused_undoes_nobody_else(void)
{
    struct fixture_machine m;
    struct group_counters counters;
    struct group_request_group_operation operations[3];
    const struct group_request request = {.operations = operations, .operations_count = 3};
    struct group_reset_group_reset_entry entries[2] = {
        {.topic_id = fixture_uuid(GROUP_TOPIC_A), .partition = 0, .offset = 5},
        {.topic_id = fixture_uuid(GROUP_TOPIC_A), .partition = 0, .offset = -5},
    };
    struct group_reset r = {.create = true, .entries = entries, .entries_count = 1};

    group_open(&m);
    r.group = RIA_SLICE_LITERAL("before");
    operations[0] = fixture_operation(&m.arena, GROUP_OPERATION_RESET, &r);
    r.entries_count = 2; /* the second entry is refused when the first is written */
    r.group = RIA_SLICE_LITERAL("refused");
    operations[1] = fixture_operation(&m.arena, GROUP_OPERATION_RESET, &r);
    r.entries_count = 1;
    r.group = RIA_SLICE_LITERAL("g");
    operations[2] = fixture_operation(&m.arena, GROUP_OPERATION_RESET, &r);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_GROUP, &request), RIA_OK);
    const struct group_response *response = &m.result.response.group;
    CU_ASSERT_EQUAL(response->results[0].error_code, RIA_OK);
    CU_ASSERT_EQUAL(response->results[1].error_code, RIA_ERR_INVALID);
    CU_ASSERT_TRUE(response->results[1].error_text.size > 0);
    CU_ASSERT_EQUAL(response->results[2].error_code, RIA_OK);
    CU_ASSERT_EQUAL(response->results[2].error_text.size, 0);
    CU_ASSERT_TRUE(group_was_woken(&m, "before"));
    CU_ASSERT_FALSE(group_was_woken(&m, "refused"));
    CU_ASSERT_EQUAL(group_partition_of(&m, 0).position, 5);
    group_counters_read(m.db, &counters);
    CU_ASSERT_EQUAL(counters.group_count, 2);
    CU_ASSERT_EQUAL(counters.next_group_id, 3);
    CU_ASSERT_EQUAL(delete_group(&m, "refused"), RIA_ERR_NOT_FOUND);
    fixture_machine_close(&m);
}

/* Results are bounded by what a frame takes: the operations that do not fit are refused. */
static void results_that_do_not_fit_are_refused(void)
{
    enum { OPERATIONS = 40, PARTITIONS = 10000 };
    struct fixture_machine m;
    struct create_topic_request wide = fixture_topic(5, "wide", PARTITIONS, 1);
    struct group_read_group_read_topic topic = {.topic_id = fixture_uuid(5)};
    struct group_request_group_operation operations[OPERATIONS];
    const struct group_request request = {.operations = operations, .operations_count = OPERATIONS};
    struct group_read r = {
        .member = RIA_SLICE_LITERAL("m"),
        .member_epoch = -1,
        .session_ms = GROUP_SESSION_MS,
        .lease_ms = GROUP_LEASE_MS,
        .partitions_max = 1,
        .topics = &topic,
        .topics_count = 1,
    };
    uint32_t done = 0;
    uint32_t woken = 0;
    char name[32];

    group_open(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_CREATE_TOPIC, &wide), RIA_OK);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        (void)snprintf(name, sizeof(name), "g%u", i);
        r.group = ria_slice_cstr(name);
        operations[i] = fixture_operation(&m.arena, GROUP_OPERATION_READ, &r);
    }
    CU_ASSERT_EQUAL(fixture_apply(&m, API_GROUP, &request), RIA_OK);
    const struct group_response *response = &m.result.response.group;
    CU_ASSERT_TRUE(group_response_size(response, 0) <= STATE_ANSWER_SIZE_MAX);
    while (done < OPERATIONS && response->results[done].error_code == RIA_OK) {
        done++;
    }
    CU_ASSERT_TRUE(done > 20 && done < OPERATIONS);
    for (uint32_t i = done; i < OPERATIONS; i++) {
        CU_ASSERT_EQUAL(response->results[i].error_code, RIA_ERR_BUSY);
    }
    /* A member that joins changes its group; one that was refused has not joined. */
    (void)state_woken(m.state, &woken);
    CU_ASSERT_EQUAL(woken, done);
    fixture_machine_close(&m);
}

static void the_lease_clock_is_written_with_every_command_and_only_grows(void)
{
    struct fixture_machine m;
    struct state_summary summary;

    fixture_machine_open(&m);
    m.lease_ms = 5000;
    CU_ASSERT_EQUAL(delete_group(&m, "nobody"), RIA_ERR_NOT_FOUND);
    CU_ASSERT_TRUE(state_summary(m.db, &summary));
    CU_ASSERT_EQUAL(summary.lease_ms, 5000);
    m.lease_ms = 4000;
    CU_ASSERT_EQUAL(delete_group(&m, "nobody"), RIA_ERR_NOT_FOUND);
    CU_ASSERT_TRUE(state_summary(m.db, &summary));
    CU_ASSERT_EQUAL(summary.lease_ms, 5000);
    fixture_machine_close(&m);
}

static void the_answer_names_the_lease_clock_that_judged(void)
{
    struct fixture_machine m;

    fixture_machine_open(&m);
    m.lease_ms = 5000;
    CU_ASSERT_EQUAL(delete_group(&m, "nobody"), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(m.result.response.group.lease_clock_ms, 5000);
    m.lease_ms = 4000; /* an older command that was late: the clock does not go back */
    CU_ASSERT_EQUAL(delete_group(&m, "nobody"), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(m.result.response.group.lease_clock_ms, 5000);
    fixture_machine_close(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(unknown_kinds_and_garbage_are_refused_one_by_one),
    HARNESS_TEST(a_group_that_is_not_there_cannot_be_deleted),
    HARNESS_TEST(names_are_utf8_without_control_characters),
    HARNESS_TEST(one_that_is_refused_undoes_nobody_else),
    HARNESS_TEST(results_that_do_not_fit_are_refused),
    HARNESS_TEST(the_lease_clock_is_written_with_every_command_and_only_grows),
    HARNESS_TEST(the_answer_names_the_lease_clock_that_judged),
};
HARNESS_MAIN(tests);
