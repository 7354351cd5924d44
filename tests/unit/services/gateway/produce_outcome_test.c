/* What clients are told when records cannot be stored, or may be; and a client's own numbers. */
#include "services/gateway/produce.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/producing.h"

/* --- giving up ---------------------------------------------------------------------------------*/

static void definite_failure_is_told_and_numbers_the_followers_anew(void)
{
    struct producing s;
    struct producing_client clients[3];

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_fill(&s, clients, 3);
    producing_refuse(&s, RIA_ERR_TOO_LARGE);
    producing_refuse(&s, RIA_ERR_OUT_OF_ORDER);
    producing_refuse(&s, RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_TRUE(clients[0].done);
    CU_ASSERT_EQUAL(clients[0].results[0].err, RIA_ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(clients[0].call.failed_count, 1);
    CU_ASSERT_FALSE(clients[1].done);
    world_advance(&s.world, 1000 * 1000);
    struct producing_seen second = producing_look(producing_next(&s));
    CU_ASSERT_STRING_EQUAL(second.first_value, "v1");
    CU_ASSERT_EQUAL(second.header.producer_epoch, 1);
    CU_ASSERT_EQUAL(second.header.base_sequence, 0);
    producing_ack(&s, 1);
    struct producing_seen third = producing_look(producing_next(&s));
    CU_ASSERT_STRING_EQUAL(third.first_value, "v2");
    CU_ASSERT_EQUAL(third.header.producer_epoch, 1);
    CU_ASSERT_EQUAL(third.header.base_sequence, 1);
    producing_ack(&s, 2);
    CU_ASSERT_TRUE(clients[1].done && clients[2].done);
    producing_fini(&s);
}

static void deadline_after_a_lost_answer_is_unknown(void)
{
    struct producing s;
    struct producing_client a;
    struct producing_client b;

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_send(&s, &a, 0, "a");
    producing_lose(&s, RIA_ERR_DISCONNECTED);
    world_advance(&s.world, PRODUCING_TIMEOUT_MS * INT64_C(1000));
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_UNKNOWN_OUTCOME);
    /* The next epoch fences the copies that may still be on their way. */
    producing_send(&s, &b, 0, "b");
    world_advance(&s.world, 1000 * 1000);
    struct producing_seen seen = producing_look(producing_next(&s));
    CU_ASSERT_STRING_EQUAL(seen.first_value, "b");
    CU_ASSERT_EQUAL(seen.header.producer_epoch, 1);
    CU_ASSERT_EQUAL(seen.header.base_sequence, 0);
    producing_fini(&s);
}

static void deadline_of_what_was_never_sent_is_definite(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 1);
    s.topic->leaders[0] = -1;
    world_publish(&s.world);
    world_run(&s.world);
    producing_send(&s, &a, 0, "a");
    world_advance(&s.world, PRODUCING_TIMEOUT_MS * INT64_C(1000) - 1000);
    CU_ASSERT_FALSE(a.done);
    world_advance(&s.world, 2000);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_NO_LEADER);
    CU_ASSERT_TRUE(produce_is_idle(s.produce));
    producing_fini(&s);
}

static void deadline_after_refusals_only_is_definite(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 1);
    producing_send(&s, &a, 0, "a");
    for (int i = 0; i < 1000 && !a.done; i++) {
        if (producing_next(&s) != NULL) {
            producing_refuse(&s, RIA_ERR_NOT_ENOUGH_REPLICAS);
        }
        world_advance(&s.world, 100 * 1000);
    }
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_NOT_ENOUGH_REPLICAS);
    CU_ASSERT_STRING_EQUAL(a.call.text, "no");
    producing_fini(&s);
}

static void a_refusal_after_a_lost_answer_is_still_unknown(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 1);
    producing_send(&s, &a, 0, "a");
    producing_lose(&s, RIA_ERR_DISCONNECTED);
    for (int i = 0; i < 1000 && !a.done; i++) {
        if (producing_next(&s) != NULL) {
            producing_refuse(&s, RIA_ERR_NOT_ENOUGH_REPLICAS);
        }
        world_advance(&s.world, 100 * 1000);
    }
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_UNKNOWN_OUTCOME);
    producing_fini(&s);
}

static void followers_of_an_unknown_batch_find_out_by_their_old_numbers(void)
{
    struct producing s;
    struct producing_client a;
    struct producing_client b;

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_send(&s, &a, 0, "a");
    world_advance(&s.world, 3 * 1000 * 1000); /* b has three seconds more */
    producing_send(&s, &b, 0, "b");
    world_advance(&s.world, PRODUCE_LINGER_US);
    producing_lose(&s, RIA_ERR_DISCONNECTED);
    producing_lose(&s, RIA_ERR_DISCONNECTED);
    while (!a.done) {
        if (producing_next(&s) != NULL) {
            producing_lose(&s, RIA_ERR_DISCONNECTED);
        }
        world_advance(&s.world, 500 * 1000);
    }
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_UNKNOWN_OUTCOME);
    CU_ASSERT_FALSE(b.done);
    world_advance(&s.world, 500 * 1000);
    struct producing_seen seen = producing_look(producing_next(&s));
    CU_ASSERT_STRING_EQUAL(seen.first_value, "b");
    CU_ASSERT_EQUAL(seen.header.producer_epoch, 0);
    CU_ASSERT_EQUAL(seen.header.base_sequence, 2);
    /* The log has neither. But a late frame of a may still come, and one of b after it: sent under
     * another number b might be stored twice, so nobody can tell what became of it. */
    producing_refuse(&s, RIA_ERR_OUT_OF_ORDER);
    world_advance(&s.world, 500 * 1000);
    CU_ASSERT_TRUE(b.done);
    CU_ASSERT_EQUAL(b.results[0].err, RIA_ERR_UNKNOWN_OUTCOME);
    struct producing_client c;
    producing_send(&s, &c, 0, "c");
    world_advance(&s.world, 500 * 1000);
    seen = producing_look(producing_next(&s));
    CU_ASSERT_EQUAL(seen.header.producer_epoch, 1);
    CU_ASSERT_EQUAL(seen.header.base_sequence, 0);
    producing_ack(&s, 1);
    CU_ASSERT_EQUAL(c.results[0].err, RIA_OK);
    producing_fini(&s);
}

static void a_fenced_producer_takes_a_new_id(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_send(&s, &a, 0, "a");
    producing_refuse(&s, RIA_ERR_FENCED_PRODUCER);
    world_advance(&s.world, 1000 * 1000);
    struct producing_seen seen = producing_look(producing_next(&s));
    CU_ASSERT_NOT_EQUAL(seen.header.producer_id, 1000);
    CU_ASSERT_EQUAL(seen.header.producer_epoch, 0);
    CU_ASSERT_EQUAL(seen.header.base_sequence, 0);
    producing_ack(&s, 1);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_OK);
    producing_fini(&s);
}

static void deleting_the_topic_fails_what_waits(void)
{
    struct producing s;
    struct producing_client a;
    struct producing_client b;

    producing_init(&s, 1);
    producing_send(&s, &a, 0, "a");
    producing_send(&s, &b, 0, "b");
    s.topic->deleted = true;
    world_publish(&s.world);
    world_run(&s.world);
    CU_ASSERT_TRUE(b.done);
    CU_ASSERT_EQUAL(b.results[0].err, RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_FALSE(a.done);
    producing_refuse(&s, RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_UNKNOWN_TOPIC);
    producing_fini(&s);
}

static void nothing_is_sent_without_a_producer_id(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 1);
    produce_free(s.produce);
    /* A second core, while the coordinator is away. */
    const struct produce_options options = {
        .timeout_ms = PRODUCING_TIMEOUT_MS,
        .linger_us = 1,
        .batch_bytes = 1000,
        .in_flight_max = 1};
    CU_ASSERT_EQUAL_FATAL(
        produce_new(&s.world.env, s.cluster, &s.coordinator, &s.world.budget, &options, &s.produce),
        RIA_OK
    );
    s.world.coordinator_down = true;
    produce_start(s.produce);
    producing_send(&s, &a, 0, "a");
    world_advance(&s.world, 1000 * 1000);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    s.world.coordinator_down = false;
    world_advance(&s.world, 1000 * 1000);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    producing_fini(&s);
}

/* --- a client's own numbers --------------------------------------------------------------------*/

static const struct produce_identity own = {.producer_id = 77, .epoch = 3, .sequence = 12};

static void
send_own(struct producing *s, struct producing_client *client, int32_t partition, const char *value)
{
    producing_begin(s, client);
    CU_ASSERT_EQUAL(produce_begin_direct(s->produce, &client->call, &own), RIA_OK);
    producing_add(s, client, partition, value);
    CU_ASSERT_TRUE(produce_end(s->produce, &client->call));
    world_run(&s->world);
}

static void own_numbers_go_to_the_log_as_they_are(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 1);
    send_own(&s, &a, 0, "a");
    struct producing_seen seen = producing_look(producing_next(&s));
    CU_ASSERT_EQUAL(seen.header.producer_id, 77);
    CU_ASSERT_EQUAL(seen.header.producer_epoch, 3);
    CU_ASSERT_EQUAL(seen.header.base_sequence, 12);
    producing_lose(&s, RIA_ERR_TIMEOUT);
    world_advance(&s.world, 1000 * 1000);
    CU_ASSERT_EQUAL(producing_look(producing_next(&s)).header.base_sequence, 12);
    producing_ack(&s, 9);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].offset, 9);
    CU_ASSERT_TRUE(produce_is_idle(s.produce));
    producing_fini(&s);
}

static void own_numbers_out_of_order_are_not_retried(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 1);
    send_own(&s, &a, 0, "a");
    producing_refuse(&s, RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_OUT_OF_ORDER);
    producing_fini(&s);
}

static void own_batch_must_be_of_one_partition(void)
{
    struct producing s;
    struct producing_client a;
    struct produce_record record = {.timestamp_ms = -1, .partition = 1};

    producing_init(&s, 2);
    producing_begin(&s, &a);
    CU_ASSERT_EQUAL(produce_begin_direct(s.produce, &a.call, &own), RIA_OK);
    producing_add(&s, &a, 0, "a");
    CU_ASSERT_EQUAL(produce_add(s.produce, &a.call, &record), RIA_ERR_INVALID);
    produce_abort(s.produce, &a.call);
    world_run(&s.world);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    producing_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(definite_failure_is_told_and_numbers_the_followers_anew),
    HARNESS_TEST(deadline_after_a_lost_answer_is_unknown),
    HARNESS_TEST(deadline_of_what_was_never_sent_is_definite),
    HARNESS_TEST(deadline_after_refusals_only_is_definite),
    HARNESS_TEST(a_refusal_after_a_lost_answer_is_still_unknown),
    HARNESS_TEST(followers_of_an_unknown_batch_find_out_by_their_old_numbers),
    HARNESS_TEST(a_fenced_producer_takes_a_new_id),
    HARNESS_TEST(deleting_the_topic_fails_what_waits),
    HARNESS_TEST(nothing_is_sent_without_a_producer_id),
    HARNESS_TEST(own_numbers_go_to_the_log_as_they_are),
    HARNESS_TEST(own_numbers_out_of_order_are_not_retried),
    HARNESS_TEST(own_batch_must_be_of_one_partition),
};

HARNESS_MAIN(tests);
