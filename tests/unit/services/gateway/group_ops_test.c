/* Operations on groups: gathered, answered one by one, repeated where that does no harm. */
#include "services/gateway/group_ops.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_delete.h"
#include "schemas/gen/group_leave.h"
#include "schemas/gen/group_leave_result.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/group_world.h"

enum { OPS = GROUP_OPS_BATCH_MAX + 10, SECOND = 1000 * 1000 };

struct asked {
    struct group_op op;
    struct group_leave leave;
    struct group_delete delete;
    int done;
    ria_err err;
    char text[64];
    bool repeated;
    int64_t changed;
};

struct setup {
    struct world world;
    struct cluster *cluster;
    struct group_ops ops;
    struct asked asked[OPS];
    struct group_world_request request;
};

static void setup(struct setup *s)
{
    memset(s->asked, 0, sizeof(s->asked));
    world_init(&s->world, 5);
    CU_ASSERT_EQUAL_FATAL(cluster_new(&s->world.env, "tcp://c", NULL, NULL, &s->cluster), RIA_OK);
    group_ops_init(&s->ops, &s->world.env, s->cluster);
}

static void teardown(struct setup *s)
{
    group_ops_fini(&s->ops);
    cluster_free(s->cluster);
    world_fini(&s->world);
}

static void done(struct group_op *op, const struct group_op_result *result)
{
    struct asked *asked = op->arg;

    asked->done++;
    asked->err = result->err;
    asked->repeated = result->repeated;
    (void)strncpy(asked->text, result->text, sizeof(asked->text) - 1);
    if (result->body != NULL && op->kind == GROUP_OP_LEAVE) {
        asked->changed = ((const struct group_leave_result *)result->body)->changed;
    }
}

static void start(struct setup *s, int i, bool repeat)
{
    struct asked *asked = &s->asked[i];

    asked->op = (struct group_op){
        .kind = GROUP_OP_LEAVE,
        .body = &asked->leave,
        .deadline_us = s->world.now_us + 10 * SECOND,
        .repeat = repeat,
        .done = done,
        .arg = asked,
    };
    group_leave_init(&asked->leave);
    asked->leave.group = RIA_SLICE_LITERAL("g");
    asked->leave.member = RIA_SLICE_LITERAL("m");
    group_op_start(&s->ops, &asked->op);
}

static void open_next(struct setup *s)
{
    world_run(&s->world);
    CU_ASSERT_TRUE_FATAL(group_world_open(&s->world, &s->request));
}

static void answer(struct setup *s)
{
    group_world_answer(&s->world, &s->request);
    world_run(&s->world);
}

static void lose(struct setup *s, ria_err err)
{
    world_lose(&s->world, s->request.call, err);
    group_world_close(&s->request);
    world_run(&s->world);
}

static void what_is_asked_in_one_turn_goes_in_one_request(void)
{
    struct setup s;
    struct group_leave_result left = {.changed = 77};

    setup(&s);
    for (int i = 0; i < 3; i++) {
        start(&s, i, true);
        CU_ASSERT_EQUAL(s.asked[i].done, 0);
    }
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, 3);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    s.request.errs[1] = RIA_ERR_CONFLICT;
    s.request.texts[1] = "no";
    s.request.results[2] = &left;
    answer(&s);
    CU_ASSERT_EQUAL(s.asked[0].err, RIA_OK);
    CU_ASSERT_EQUAL(s.asked[1].err, RIA_ERR_CONFLICT);
    CU_ASSERT_STRING_EQUAL(s.asked[1].text, "no");
    CU_ASSERT_EQUAL(s.asked[2].changed, 77);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(s.asked[i].done, 1);
        CU_ASSERT_FALSE(s.asked[i].repeated);
    }
    teardown(&s);
}

static void what_comes_while_a_request_is_under_way_gathers(void)
{
    struct setup s;

    setup(&s);
    for (int i = 0; i < 4; i++) {
        start(&s, i, true);
        world_run(&s.world);
    }
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, 1);
    answer(&s);
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, 3);
    answer(&s);
    CU_ASSERT_EQUAL(s.asked[3].done, 1);
    CU_ASSERT_EQUAL(s.ops.numbers.requests.value, 2);
    teardown(&s);
}

static void a_request_that_takes_long_is_joined_by_others(void)
{
    struct setup s;

    setup(&s);
    for (int i = 0; i < GROUP_OPS_FLIGHTS + 3; i++) {
        uint32_t calls = i < GROUP_OPS_FLIGHTS ? (uint32_t)i + 1 : GROUP_OPS_FLIGHTS;
        start(&s, i, true);
        world_run(&s.world);
        CU_ASSERT_EQUAL(world_call_count(&s.world), calls);
        world_advance(&s.world, GROUP_OPS_PATIENCE_US);
    }
    CU_ASSERT_EQUAL(world_call_count(&s.world), GROUP_OPS_FLIGHTS);
    for (int i = 0; i < GROUP_OPS_FLIGHTS; i++) {
        open_next(&s);
        CU_ASSERT_EQUAL(s.request.count, 1);
        answer(&s);
        CU_ASSERT_EQUAL(world_call_count(&s.world), i == 0 ? GROUP_OPS_FLIGHTS : 1);
    }
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, 3);
    answer(&s);
    CU_ASSERT_EQUAL(s.asked[GROUP_OPS_FLIGHTS + 2].done, 1);
    CU_ASSERT_EQUAL(s.ops.numbers.requests.value, GROUP_OPS_FLIGHTS + 1);
    teardown(&s);
}

static void a_request_is_bounded_and_the_rest_follows(void)
{
    struct setup s;

    setup(&s);
    for (int i = 0; i < OPS; i++) {
        start(&s, i, true);
    }
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, GROUP_OPS_BATCH_MAX);
    answer(&s);
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, OPS - GROUP_OPS_BATCH_MAX);
    answer(&s);
    CU_ASSERT_EQUAL(s.asked[OPS - 1].done, 1);
    CU_ASSERT_EQUAL(s.ops.numbers.waiting.value, 0);
    teardown(&s);
}

static void large_answers_bound_a_request_too(void)
{
    struct setup s;

    setup(&s);
    for (int i = 0; i < 3; i++) {
        start(&s, i, true);
        s.asked[i].op.answer_size = GROUP_OPS_BYTES_MAX / 2;
    }
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, 2);
    answer(&s);
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, 1);
    answer(&s);
    teardown(&s);
}

static void an_operation_that_is_too_large_hurts_no_other(void)
{
    struct setup s;
    struct group_commit commit;
    struct group_commit_group_commit_entry *entries = calloc(9000, sizeof(*entries));

    CU_ASSERT_PTR_NOT_NULL_FATAL(entries);
    setup(&s);
    for (int i = 0; i < 9000; i++) {
        group_commit_group_commit_entry_init(&entries[i]);
    }
    group_commit_init(&commit);
    commit.entries = entries;
    commit.entries_count = 9000;
    start(&s, 0, true);
    s.asked[0].op.kind = GROUP_OP_COMMIT;
    s.asked[0].op.body = &commit;
    start(&s, 1, true);
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, 1);
    CU_ASSERT_EQUAL(s.asked[0].done, 1);
    CU_ASSERT_EQUAL(s.asked[0].err, RIA_ERR_TOO_LARGE);
    answer(&s);
    CU_ASSERT_EQUAL(s.asked[1].err, RIA_OK);
    free(entries);
    teardown(&s);
}

static void a_lost_answer_is_asked_for_again_where_that_does_no_harm(void)
{
    struct setup s;

    setup(&s);
    start(&s, 0, true);
    start(&s, 1, false);
    open_next(&s);
    lose(&s, RIA_ERR_TIMEOUT);
    CU_ASSERT_EQUAL(s.asked[0].done, 0);
    CU_ASSERT_EQUAL(s.asked[1].done, 1);
    CU_ASSERT_EQUAL(s.asked[1].err, RIA_ERR_UNKNOWN_OUTCOME);
    start(&s, 2, true);
    world_run(&s.world);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0); /* the coordinator is left alone for a moment */
    world_advance(&s.world, SECOND / 5);
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, 2);
    answer(&s);
    CU_ASSERT_EQUAL(s.asked[0].err, RIA_OK);
    CU_ASSERT_TRUE(s.asked[0].repeated);
    CU_ASSERT_EQUAL(s.asked[2].err, RIA_OK);
    CU_ASSERT_FALSE(s.asked[2].repeated);
    teardown(&s);
}

static void a_refusal_for_now_is_repeated_even_if_repeats_may_harm(void)
{
    struct setup s;

    setup(&s);
    start(&s, 0, false);
    open_next(&s);
    world_refuse(&s.world, s.request.call, RIA_ERR_NO_LEADER, "not me");
    group_world_close(&s.request);
    world_advance(&s.world, SECOND / 5);
    CU_ASSERT_EQUAL(s.asked[0].done, 0);
    open_next(&s);
    answer(&s);
    CU_ASSERT_EQUAL(s.asked[0].err, RIA_OK);
    CU_ASSERT_FALSE(s.asked[0].repeated);
    teardown(&s);
}

static void an_operation_whose_result_had_no_room_is_asked_for_again(void)
{
    struct setup s;

    setup(&s);
    start(&s, 0, false);
    start(&s, 1, false);
    open_next(&s);
    s.request.errs[1] = RIA_ERR_BUSY;
    answer(&s);
    CU_ASSERT_EQUAL(s.asked[0].done, 1);
    CU_ASSERT_EQUAL(s.asked[1].done, 0);
    world_advance(&s.world, SECOND / 10);
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, 1);
    answer(&s);
    CU_ASSERT_EQUAL(s.asked[1].err, RIA_OK);
    CU_ASSERT_FALSE(s.asked[1].repeated);
    teardown(&s);
}

static void a_request_that_is_refused_ends_its_operations(void)
{
    struct setup s;

    setup(&s);
    start(&s, 0, true);
    open_next(&s);
    world_refuse(&s.world, s.request.call, RIA_ERR_UNSUPPORTED, "too old");
    group_world_close(&s.request);
    world_run(&s.world);
    CU_ASSERT_EQUAL(s.asked[0].err, RIA_ERR_UNSUPPORTED);
    CU_ASSERT_STRING_EQUAL(s.asked[0].text, "too old");
    teardown(&s);
}

static void at_the_deadline_it_is_said_whether_it_may_have_been_done(void)
{
    struct setup s;

    setup(&s);
    start(&s, 0, true);
    open_next(&s);
    lose(&s, RIA_ERR_TIMEOUT); /* this one may have been done */
    start(&s, 1, true);
    s.world.coordinator_down = true;
    world_advance(&s.world, 11 * SECOND);
    CU_ASSERT_EQUAL(s.asked[0].done, 1);
    CU_ASSERT_EQUAL(s.asked[0].err, RIA_ERR_UNKNOWN_OUTCOME);
    CU_ASSERT_EQUAL(s.asked[1].done, 1);
    CU_ASSERT_EQUAL(s.ops.numbers.waiting.value, 0);
    teardown(&s);
}

static void a_coordinator_that_comes_back_in_time_is_used(void)
{
    struct setup s;

    setup(&s);
    s.world.coordinator_down = true;
    for (int i = 0; i < 20; i++) {
        start(&s, i, true);
    }
    world_advance(&s.world, 5 * SECOND);
    CU_ASSERT_EQUAL(s.asked[19].done, 0);
    s.world.coordinator_down = false;
    world_advance(&s.world, SECOND / 5);
    open_next(&s);
    CU_ASSERT_EQUAL(s.request.count, 20);
    answer(&s);
    CU_ASSERT_EQUAL(s.asked[19].err, RIA_OK);
    teardown(&s);
}

static void too_many_that_wait_are_refused(void)
{
    struct setup s;

    setup(&s);
    s.ops.numbers.waiting.value = GROUP_OPS_QUEUE_MAX;
    start(&s, 0, true);
    CU_ASSERT_EQUAL(s.asked[0].done, 0);
    world_run(&s.world);
    CU_ASSERT_EQUAL(s.asked[0].done, 1);
    CU_ASSERT_EQUAL(s.asked[0].err, RIA_ERR_BUSY);
    CU_ASSERT_EQUAL(s.ops.numbers.refused.value, 1);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(what_is_asked_in_one_turn_goes_in_one_request),
    HARNESS_TEST(what_comes_while_a_request_is_under_way_gathers),
    HARNESS_TEST(a_request_that_takes_long_is_joined_by_others),
    HARNESS_TEST(a_request_is_bounded_and_the_rest_follows),
    HARNESS_TEST(large_answers_bound_a_request_too),
    HARNESS_TEST(an_operation_that_is_too_large_hurts_no_other),
    HARNESS_TEST(a_lost_answer_is_asked_for_again_where_that_does_no_harm),
    HARNESS_TEST(a_refusal_for_now_is_repeated_even_if_repeats_may_harm),
    HARNESS_TEST(an_operation_whose_result_had_no_room_is_asked_for_again),
    HARNESS_TEST(a_request_that_is_refused_ends_its_operations),
    HARNESS_TEST(at_the_deadline_it_is_said_whether_it_may_have_been_done),
    HARNESS_TEST(a_coordinator_that_comes_back_in_time_is_used),
    HARNESS_TEST(too_many_that_wait_are_refused),
};

HARNESS_MAIN(tests);
