/* Refusals that another leader could know better: the coordinator is asked first. */
#include <stdlib.h>
#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/produce_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

/* Leads, has one record of producer 77, committed; and the coordinator is out of reach. */
static struct storage_fixture *setup(void)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    fixture_lead(f, "12", NULL);
    (void)fixture_produce(
        f, (struct produce_args){.leader_epoch = 5, .producer_id = 77, .producer_epoch = 1}
    );
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 1), RIA_OK);
    f->coordinator_away = true;
    return f;
}

static void teardown(struct storage_fixture *f)
{
    fixture_fini(f);
    free(f);
}

static struct ria_rpc_request *produce(struct storage_fixture *f, int32_t sequence)
{
    return fixture_produce(
        f,
        (struct produce_args
        ){.leader_epoch = 5, .producer_id = 77, .producer_epoch = 1, .sequence = sequence}
    );
}

static struct ria_rpc_request *fetch(struct storage_fixture *f, int64_t offset)
{
    struct fetch_request request = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 5, .offset = offset, .max_bytes = 100};

    return fixture_send(f, API_FETCH, &request, RIA_SLICE_NULL);
}

static struct ria_rpc_request *list_offsets(struct storage_fixture *f, int64_t expected_offset)
{
    struct list_offsets_request request = {
        .topic_id = fixture_topic_id(1),
        .leader_epoch = 5,
        .timestamp = -1,
        .expected_offset = expected_offset,
    };

    return fixture_send(f, API_LIST_OFFSETS, &request, RIA_SLICE_NULL);
}

static void depose(struct storage_fixture *f)
{
    fixture_partition(f, 1, 0, 2, 6, 2, "12", "2");
    f->metadata_version++;
}

/* The question is answered, and the view catches up; then that of those who came later. */
static void come_back(struct storage_fixture *f)
{
    f->coordinator_away = false;
    fixture_run_ms(f, 5);
    fixture_run_ms(f, 5);
}

static void a_deposed_leader_that_has_not_heard_calls_no_sequence_out_of_order(void)
{
    struct storage_fixture *f = setup();

    depose(f); /* and number 1 went to the new leader */
    const struct ria_rpc_request *sent = produce(f, 2);
    fixture_run_ms(f, 2000);
    CU_ASSERT_FALSE(sent->done);
    come_back(f);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_NOT_LEADER);
    teardown(f);
}

static void a_deposed_leader_that_has_not_heard_calls_no_offset_out_of_range(void)
{
    struct storage_fixture *f = setup();

    depose(f);
    const struct ria_rpc_request *sent = fetch(f, 2);
    const struct ria_rpc_request *end = list_offsets(f, 2);
    CU_ASSERT_FALSE(sent->done || end->done);
    come_back(f);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(fixture_error(end), RIA_ERR_NOT_LEADER);
    teardown(f);
}

static void who_still_leads_refuses(void)
{
    struct storage_fixture *f = setup();
    struct list_offsets_response response;

    const struct ria_rpc_request *batch = produce(f, 2);
    const struct ria_rpc_request *read = fetch(f, 2);
    const struct ria_rpc_request *end = list_offsets(f, 2);
    come_back(f);
    CU_ASSERT_EQUAL(fixture_error(batch), RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_EQUAL(fixture_error(read), RIA_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_EQUAL(fixture_reply(f, API_LIST_OFFSETS, end, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.high_watermark, 1);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 1);
    teardown(f);
}

static void without_the_coordinators_word_the_answer_is_not_leader(void)
{
    struct storage_fixture *f = setup();

    const struct ria_rpc_request *batch = produce(f, 2);
    fake_rpc_fail(fixture_question(f), RIA_ERR_TIMEOUT);
    CU_ASSERT_EQUAL(fixture_error(batch), RIA_ERR_NOT_LEADER);
    CU_ASSERT_PTR_NOT_NULL(strstr(fixture_error_text(batch), "coordinator"));
    const struct ria_rpc_request *read = fetch(f, 2);
    fake_rpc_fail(fixture_question(f), RIA_ERR_DISCONNECTED);
    CU_ASSERT_EQUAL(fixture_error(read), RIA_ERR_NOT_LEADER);
    teardown(f);
}

/* Its caller has given up: nothing of it is stored any more. */
static void who_has_waited_past_its_deadline_is_not_handled(void)
{
    struct storage_fixture *f = setup();

    const struct ria_rpc_request *second = fixture_produce(
        f,
        (struct produce_args
        ){.leader_epoch = 5,
          .producer_id = 77,
          .producer_epoch = 1,
          .sequence = 2,
          .deadline_ms = 100}
    );
    (void)produce(f, 1);
    fixture_run_ms(f, 101);
    come_back(f);
    CU_ASSERT_EQUAL(fixture_error(second), RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, 2);
    teardown(f);
}

/* What is certain needs nobody: data flows while the coordinator is away. */
static void what_this_log_has_is_answered_without_the_coordinator(void)
{
    struct storage_fixture *f = setup();

    const struct ria_rpc_request *batch = produce(f, 1);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 2), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(batch), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(produce(f, 0)), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(fetch(f, 0)), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(fetch(f, 2)), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(list_offsets(f, 2)), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(fetch(f, -1)), RIA_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_PTR_NULL(fixture_question(f));
    teardown(f);
}

static void what_was_missing_may_come_while_the_coordinator_is_asked(void)
{
    struct storage_fixture *f = setup();
    struct produce_response response;

    const struct ria_rpc_request *second = produce(f, 2);
    const struct ria_rpc_request *first = produce(f, 1);
    come_back(f);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 3), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(first), RIA_OK);
    CU_ASSERT_EQUAL(fixture_reply(f, API_PRODUCE, second, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.base_offset, 2);
    teardown(f);
}

static void not_more_than_1024_wait_for_the_coordinator(void)
{
    struct storage_fixture *f = setup();

    for (int i = 0; i < 1024; i++) {
        CU_ASSERT_EQUAL(fixture_error(fetch(f, 2)), RIA_ERR_BUSY); /* no answer yet */
    }
    const struct ria_rpc_request *refused = fetch(f, 2);
    CU_ASSERT_TRUE(refused->done);
    CU_ASSERT_EQUAL(fixture_error(refused), RIA_ERR_BUSY);
    come_back(f);
    CU_ASSERT_EQUAL(fixture_error(fetch(f, 2)), RIA_ERR_OFFSET_OUT_OF_RANGE);
    teardown(f);
}

static void a_node_that_ends_answers_them(void)
{
    struct storage_fixture *f = setup();

    const struct ria_rpc_request *read = fetch(f, 2);
    const struct ria_rpc_request *batch = produce(f, 2);
    fixture_stop(f);
    CU_ASSERT_EQUAL(fixture_error(read), RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(fixture_error(batch), RIA_ERR_NOT_LEADER);
    teardown(f);
}

static void a_node_that_dies_forgets_them(void)
{
    struct storage_fixture *f = setup();

    const struct ria_rpc_request *batch = produce(f, 2);
    (void)fetch(f, 2);
    fixture_kill(f);
    CU_ASSERT_TRUE(batch->done);
    CU_ASSERT_PTR_NULL(batch->reply);
    teardown(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_deposed_leader_that_has_not_heard_calls_no_sequence_out_of_order),
    HARNESS_TEST(a_deposed_leader_that_has_not_heard_calls_no_offset_out_of_range),
    HARNESS_TEST(who_still_leads_refuses),
    HARNESS_TEST(without_the_coordinators_word_the_answer_is_not_leader),
    HARNESS_TEST(who_has_waited_past_its_deadline_is_not_handled),
    HARNESS_TEST(what_this_log_has_is_answered_without_the_coordinator),
    HARNESS_TEST(what_was_missing_may_come_while_the_coordinator_is_asked),
    HARNESS_TEST(not_more_than_1024_wait_for_the_coordinator),
    HARNESS_TEST(a_node_that_ends_answers_them),
    HARNESS_TEST(a_node_that_dies_forgets_them),
};
HARNESS_MAIN(tests);
