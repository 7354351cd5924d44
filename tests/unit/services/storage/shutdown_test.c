/* The clean end: what a node leads is handed over first. */
#include <stdlib.h>

#include "schemas/envelope.h"
#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

static struct storage_fixture *setup(const char *replicas)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    fixture_lead(f, replicas, NULL);
    f->leaders_left = 0;
    return f;
}

static void teardown(struct storage_fixture *f)
{
    f->leaders_left = INT32_MAX;
    fixture_fini(f);
    free(f);
}

/* The coordinator gives node 2 the lead. */
static void move_the_lead(struct storage_fixture *f)
{
    fixture_partition(f, 1, 0, 2, 6, 2, "12", "2");
    fixture_publish(f);
}

static void a_node_that_ends_leads_until_another_does(void)
{
    struct storage_fixture *f = setup("12");
    bool done = false;

    storage_stop(f->storage, &done);
    fixture_run_ms(f, 100);
    CU_ASSERT_EQUAL(f->shutdown_count, 1);
    struct ria_rpc_request *meanwhile = fixture_produce_one(f);
    CU_ASSERT_EQUAL(fixture_error(meanwhile), RIA_ERR_BUSY); /* it waits for node 2 */
    CU_ASSERT_EQUAL(fixture_report(f, 2, 5, 1), RIA_OK);
    CU_ASSERT_EQUAL(fixture_error(meanwhile), RIA_OK);
    CU_ASSERT_FALSE(done);
    move_the_lead(f);
    const struct ria_rpc_request *late =
        fixture_produce(f, (struct produce_args){.leader_epoch = 5});
    CU_ASSERT_EQUAL(fixture_error(late), RIA_ERR_NOT_LEADER);
    fixture_run_ms(f, 50);
    CU_ASSERT_TRUE(done);
    CU_ASSERT_EQUAL(f->shutdown_count, 1);
    teardown(f);
}

static void a_produce_that_waits_when_the_lead_moves_is_unknown(void)
{
    struct storage_fixture *f = setup("12");
    bool done = false;

    const struct ria_rpc_request *waiting = fixture_produce_one(f);
    storage_stop(f->storage, &done);
    fixture_run_ms(f, 20);
    CU_ASSERT_EQUAL(fixture_error(waiting), RIA_ERR_BUSY);
    move_the_lead(f);
    CU_ASSERT_EQUAL(fixture_error(waiting), RIA_ERR_UNKNOWN_OUTCOME);
    fixture_run_ms(f, 50);
    CU_ASSERT_TRUE(done);
    teardown(f);
}

static void a_node_that_ends_goes_on_following(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_prepare_request_replica_prepare_partition to_prepare = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 6};
    struct replica_prepare_request prepare = {.partitions = &to_prepare, .partitions_count = 1};
    struct replica_append_request_replica_append_partition to_append = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 6};
    struct replica_append_request append = {.partitions = &to_append, .partitions_count = 1};
    struct replica_prepare_response prepared;
    struct replica_append_response appended;
    bool done = false;

    fixture_topic(f, 2, 1, 1, false, NULL);
    fixture_partition(f, 2, 0, 1, 5, 1, "1", "1"); /* so that the end takes a while */
    fixture_publish(f);
    fixture_run_ms(f, 5);
    storage_stop(f->storage, &done);
    move_the_lead(f);
    fixture_run_ms(f, 50);
    CU_ASSERT_FALSE(done);
    const struct ria_rpc_request *sent =
        fixture_send(f, API_REPLICA_PREPARE, &prepare, RIA_SLICE_NULL);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_PREPARE, sent, &prepared), RIA_OK);
    CU_ASSERT_EQUAL(prepared.partitions[0].error_code, RIA_OK);
    struct ria_slice batches = fixture_batches(0, 2, 6);
    to_append.size = (int32_t)batches.size;
    sent = fixture_send(f, API_REPLICA_APPEND, &append, batches);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_APPEND, sent, &appended), RIA_OK);
    CU_ASSERT_EQUAL(appended.partitions[0].error_code, RIA_OK);
    CU_ASSERT_EQUAL(appended.partitions[0].end_offset, 2);
    free((void *)(uintptr_t)batches.data);
    CU_ASSERT_FALSE(done);
    teardown(f);
}

static void what_nobody_else_can_lead_is_not_waited_for(void)
{
    struct storage_fixture *f = setup("1");
    bool done = false;

    f->leaders_left = 1;
    storage_stop(f->storage, &done);
    fixture_run_ms(f, 50);
    CU_ASSERT_TRUE(done);
    CU_ASSERT_FALSE(fixture_logged(f, "storage.handover_given_up"));
    teardown(f);
}

static void a_coordinator_that_is_busy_is_asked_again(void)
{
    struct storage_fixture *f = setup("12");
    bool done = false;

    f->shutdown_err = RIA_ERR_BUSY;
    storage_stop(f->storage, &done);
    fixture_run_ms(f, 3000);
    CU_ASSERT_TRUE(f->shutdown_count > 10);
    CU_ASSERT_FALSE(done);
    f->shutdown_err = RIA_OK;
    fixture_run_ms(f, 100);
    move_the_lead(f);
    fixture_run_ms(f, 50);
    CU_ASSERT_TRUE(done);
    teardown(f);
}

static void a_coordinator_that_refuses_does_not_hold_up_the_end(void)
{
    struct storage_fixture *f = setup("1");
    bool done = false;

    f->shutdown_err = RIA_ERR_UNKNOWN_TYPE; /* an older one */
    storage_stop(f->storage, &done);
    fixture_run_ms(f, 100);
    CU_ASSERT_TRUE(done);
    CU_ASSERT_EQUAL(f->shutdown_count, 1);
    teardown(f);
}

static void without_a_coordinator_the_end_comes_all_the_same(void)
{
    struct storage_fixture *f = setup("1");
    bool done = false;

    f->coordinator_away = true;
    storage_stop(f->storage, &done);
    fixture_run_ms(f, 1000);
    CU_ASSERT_FALSE(done);
    fixture_run_ms(f, 700);
    CU_ASSERT_TRUE(done);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.handover_given_up"), 1);
    teardown(f);
}

static void a_lead_that_nobody_takes_is_given_up_in_time(void)
{
    struct storage_fixture *f = setup("12");
    bool done = false;

    storage_stop(f->storage, &done);
    fixture_run_ms(f, 4900);
    CU_ASSERT_FALSE(done);
    fixture_run_ms(f, 200);
    CU_ASSERT_TRUE(done);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.handover_given_up"), 1);
    teardown(f);
}

static void a_node_that_ends_does_not_register_again(void)
{
    struct storage_fixture *f = setup("12");
    bool done = false;
    unsigned registered = f->register_count;

    storage_stop(f->storage, &done);
    f->unregistered = true;
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL(f->register_count, registered);
    teardown(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_node_that_ends_leads_until_another_does),
    HARNESS_TEST(a_produce_that_waits_when_the_lead_moves_is_unknown),
    HARNESS_TEST(a_node_that_ends_goes_on_following),
    HARNESS_TEST(what_nobody_else_can_lead_is_not_waited_for),
    HARNESS_TEST(a_coordinator_that_is_busy_is_asked_again),
    HARNESS_TEST(a_coordinator_that_refuses_does_not_hold_up_the_end),
    HARNESS_TEST(without_a_coordinator_the_end_comes_all_the_same),
    HARNESS_TEST(a_lead_that_nobody_takes_is_given_up_in_time),
    HARNESS_TEST(a_node_that_ends_does_not_register_again),
};
HARNESS_MAIN(tests);
