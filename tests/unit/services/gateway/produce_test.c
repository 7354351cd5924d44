#include "services/gateway/produce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/producing.h"

/* --- batching ----------------------------------------------------------------------------------*/

static void records_of_one_turn_become_one_batch(void)
{
    struct producing s;
    struct producing_client a;
    struct producing_client b;

    producing_init(&s, 1);
    producing_begin(&s, &a);
    producing_add(&s, &a, 0, "a0");
    producing_add(&s, &a, 0, "a1");
    CU_ASSERT_TRUE(produce_end(s.produce, &a.call));
    producing_begin(&s, &b);
    producing_add(&s, &b, 0, "b0");
    CU_ASSERT_TRUE(produce_end(s.produce, &b.call));
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    world_run(&s.world);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    CU_ASSERT_EQUAL(producing_look(producing_next(&s)).header.record_count, 3);
    CU_ASSERT_STRING_EQUAL(producing_next(&s)->address, "tcp://s1");
    producing_ack(&s, 40);
    CU_ASSERT_TRUE(a.done && b.done);
    CU_ASSERT_EQUAL(a.results[0].offset, 40);
    CU_ASSERT_EQUAL(a.results[1].offset, 41);
    CU_ASSERT_EQUAL(b.results[0].offset, 42);
    CU_ASSERT_EQUAL(a.call.failed_count, 0);
    CU_ASSERT_TRUE(a.call.synced);
    CU_ASSERT_TRUE(produce_is_idle(s.produce));
    producing_fini(&s);
}

static void records_of_one_request_may_alternate_between_partitions(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 2);
    producing_begin(&s, &a);
    for (int i = 0; i < 6; i++) {
        producing_add(&s, &a, i % 2, "x");
    }
    CU_ASSERT_TRUE(produce_end(s.produce, &a.call));
    world_run(&s.world);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    producing_ack(&s, 100);
    CU_ASSERT_FALSE(a.done);
    producing_ack(&s, 200);
    CU_ASSERT_TRUE(a.done);
    for (int i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(a.results[i].partition, i % 2);
        CU_ASSERT_EQUAL(a.results[i].offset, (i % 2 == 0 ? 100 : 200) + i / 2);
    }
    producing_fini(&s);
}

static void first_batch_of_a_producer_goes_alone(void)
{
    struct producing s;
    struct producing_client a;
    struct producing_client b;

    producing_init(&s, 1);
    producing_send(&s, &a, 0, "a");
    producing_send(&s, &b, 0, "b");
    world_advance(&s.world, 10 * PRODUCE_LINGER_US);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    producing_ack(&s, 0);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    CU_ASSERT_EQUAL(producing_look(producing_next(&s)).header.base_sequence, 1);
    producing_ack(&s, 1);
    CU_ASSERT_TRUE(b.done);
    producing_fini(&s);
}

static void what_comes_while_a_batch_is_under_way_is_sent_when_it_returns(void)
{
    struct producing s;
    struct producing_client a;
    struct producing_client b;
    struct producing_client c;

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_send(&s, &a, 0, "a");
    producing_send(&s, &b, 0, "b");
    producing_send(&s, &c, 0, "c");
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    producing_ack(&s, 1);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    CU_ASSERT_EQUAL(producing_look(producing_next(&s)).header.record_count, 2);
    producing_ack(&s, 2);
    CU_ASSERT_TRUE(b.done && c.done);
    CU_ASSERT_EQUAL(c.results[0].offset, 3);
    producing_fini(&s);
}

static void what_comes_while_a_batch_is_under_way_lingers_at_most(void)
{
    struct producing s;
    struct producing_client a;
    struct producing_client b;

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_send(&s, &a, 0, "a");
    producing_send(&s, &b, 0, "b");
    world_advance(&s.world, PRODUCE_LINGER_US - 1);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    world_advance(&s.world, 1);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    producing_fini(&s);
}

static void a_full_batch_does_not_wait(void)
{
    struct producing s;
    struct producing_client a;
    struct producing_client b;
    char *big = calloc(1, PRODUCE_BATCH_BYTES + 1);

    CU_ASSERT_PTR_NOT_NULL_FATAL(big);
    memset(big, 'x', PRODUCE_BATCH_BYTES);
    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_send(&s, &a, 0, "a");
    producing_send(&s, &b, 0, big);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    producing_fini(&s);
    free(big);
}

static void at_most_five_batches_are_under_way(void)
{
    struct producing s;
    struct producing_client clients[7];

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_fill(&s, clients, 5);
    producing_send(&s, &clients[5], 0, "v5");
    producing_send(&s, &clients[6], 0, "v6");
    world_advance(&s.world, 10 * PRODUCE_LINGER_US);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 5);
    producing_ack(&s, 1);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 5);
    producing_fini(&s);
}

static void sequences_continue_from_batch_to_batch(void)
{
    struct producing s;
    struct producing_client clients[5];
    int32_t sequence = 1;

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_fill(&s, clients, 5);
    for (int i = 0; i < 5; i++) {
        struct producing_seen seen = producing_look(producing_next(&s));
        CU_ASSERT_EQUAL(seen.header.base_sequence, sequence);
        CU_ASSERT_EQUAL(seen.header.producer_id, RIA_PRODUCER_ID_INTERNAL + 1000);
        CU_ASSERT_EQUAL(seen.header.producer_epoch, 0);
        sequence++;
        producing_ack(&s, 1 + i);
    }
    producing_fini(&s);
}

static void a_key_always_has_the_same_partition(void)
{
    struct producing s;
    struct producing_client a;
    struct produce_record record = {.timestamp_ms = 5, .partition = -1};

    producing_init(&s, 8);
    producing_begin(&s, &a);
    record.key = RIA_SLICE_LITERAL("foobar");
    record.value = RIA_SLICE_LITERAL("x");
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(produce_add(s.produce, &a.call, &record), RIA_OK);
    }
    CU_ASSERT_TRUE(produce_end(s.produce, &a.call));
    world_run(&s.world);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    /* Kafka's murmur2("foobar") = -790332482 */
    CU_ASSERT_EQUAL(a.results[0].partition, (-790332482 & 0x7fffffff) % 8);
    producing_fini(&s);
}

static void keyless_records_stick_to_a_partition_for_one_batch(void)
{
    struct producing s;
    struct producing_client a;
    bool used[8] = {false};
    int count = 0;

    producing_init(&s, 8);
    for (int i = 0; i < 20; i++) {
        producing_begin(&s, &a);
        for (int j = 0; j < 10; j++) {
            producing_add(&s, &a, -1, "x");
        }
        CU_ASSERT_TRUE(produce_end(s.produce, &a.call));
        for (int j = 1; j < 10; j++) {
            CU_ASSERT_EQUAL(a.results[j].partition, a.results[0].partition);
        }
        used[a.results[0].partition] = true;
        world_run(&s.world);
        producing_ack(&s, i);
    }
    for (int p = 0; p < 8; p++) {
        count += used[p];
    }
    CU_ASSERT_TRUE(count >= 4);
    producing_fini(&s);
}

static void keyless_records_avoid_partitions_without_a_leader(void)
{
    struct producing s;
    struct producing_client a;
    int misses = 0;

    producing_init(&s, 2);
    s.topic->leaders[0] = -1;
    world_publish(&s.world);
    world_run(&s.world);
    for (int i = 0; i < 40; i++) {
        producing_send(&s, &a, -1, "x");
        misses += a.results[0].partition == 0;
        if (producing_next(&s) != NULL) {
            producing_ack(&s, i);
        }
    }
    CU_ASSERT_TRUE(misses <= 8); /* four tries each: one in sixteen */
    producing_fini(&s);
}

/* --- retries -----------------------------------------------------------------------------------*/

static void retry_keeps_the_sequence(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_send(&s, &a, 0, "a");
    struct producing_seen first = producing_look(producing_next(&s));
    producing_lose(&s, RIA_ERR_DISCONNECTED);
    CU_ASSERT_FALSE(a.done);
    world_advance(&s.world, 1000 * 1000);
    struct producing_seen second = producing_look(producing_next(&s));
    CU_ASSERT_EQUAL(first.header.base_sequence, 1);
    CU_ASSERT_EQUAL(second.header.base_sequence, 1);
    CU_ASSERT_EQUAL(second.header.producer_id, first.header.producer_id);
    CU_ASSERT_EQUAL(second.header.producer_epoch, first.header.producer_epoch);
    producing_ack(&s, 1);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_OK);
    producing_fini(&s);
}

static void retry_goes_to_the_new_leader_at_once(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_send(&s, &a, 0, "a");
    producing_refuse(&s, RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    s.topic->leaders[0] = 3;
    s.topic->epochs[0] = 2;
    world_publish(&s.world);
    world_run(&s.world);
    CU_ASSERT_PTR_NOT_NULL_FATAL(producing_next(&s));
    CU_ASSERT_STRING_EQUAL(producing_next(&s)->address, "tcp://s3");
    CU_ASSERT_EQUAL(producing_look(producing_next(&s)).leader_epoch, 2);
    CU_ASSERT_EQUAL(producing_look(producing_next(&s)).header.base_sequence, 1);
    producing_ack(&s, 1);
    CU_ASSERT_TRUE(a.done);
    producing_fini(&s);
}

static void a_new_leader_ends_the_wait_for_the_old_one(void)
{
    struct producing s;
    struct producing_client clients[3];

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_fill(&s, clients, 3);
    s.topic->leaders[0] = 2;
    s.topic->epochs[0] = 2;
    world_publish(&s.world);
    world_run(&s.world);
    /* The old calls are still there, forgotten; the new one carries the first batch. */
    CU_ASSERT_EQUAL(world_call_count(&s.world), 4);
    for (int i = 0; i < 3; i++) {
        world_ack(&s.world, producing_next(&s), 50 + i); /* too late */
    }
    world_run(&s.world);
    CU_ASSERT_FALSE(clients[0].done);
    CU_ASSERT_STRING_EQUAL(producing_look(producing_next(&s)).first_value, "v0");
    CU_ASSERT_STRING_EQUAL(producing_next(&s)->address, "tcp://s2");
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(producing_look(producing_next(&s)).header.base_sequence, 1 + i);
        producing_ack(&s, 1 + i);
    }
    CU_ASSERT_TRUE(clients[0].done && clients[1].done && clients[2].done);
    CU_ASSERT_EQUAL(clients[2].results[0].offset, 3);
    producing_fini(&s);
}

static void nothing_is_sent_before_all_failed_attempts_are_back(void)
{
    struct producing s;
    struct producing_client clients[3];

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_fill(&s, clients, 3);
    producing_lose(&s, RIA_ERR_DISCONNECTED);
    world_advance(&s.world, 3 * 1000 * 1000);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    producing_lose(&s, RIA_ERR_DISCONNECTED);
    producing_lose(&s, RIA_ERR_DISCONNECTED);
    world_advance(&s.world, 1000 * 1000);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    CU_ASSERT_STRING_EQUAL(producing_look(producing_next(&s)).first_value, "v0");
    producing_ack(&s, 1);
    /* The window opens again. */
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    CU_ASSERT_STRING_EQUAL(producing_look(producing_next(&s)).first_value, "v1");
    producing_ack(&s, 2);
    CU_ASSERT_STRING_EQUAL(producing_look(producing_next(&s)).first_value, "v2");
    producing_ack(&s, 3);
    CU_ASSERT_TRUE(clients[2].done);
    producing_fini(&s);
}

static void order_is_kept_when_the_first_of_several_is_refused_for_now(void)
{
    struct producing s;
    struct producing_client clients[3];

    producing_init(&s, 1);
    producing_warm_up(&s, 0);
    producing_fill(&s, clients, 3);
    producing_refuse(&s, RIA_ERR_NOT_ENOUGH_REPLICAS);
    producing_refuse(&s, RIA_ERR_OUT_OF_ORDER);
    producing_refuse(&s, RIA_ERR_OUT_OF_ORDER);
    world_advance(&s.world, 1000 * 1000);
    for (int i = 0; i < 3; i++) {
        char value[16];
        (void)snprintf(value, sizeof(value), "v%d", i);
        CU_ASSERT_STRING_EQUAL(producing_look(producing_next(&s)).first_value, value);
        CU_ASSERT_EQUAL(producing_look(producing_next(&s)).header.base_sequence, 1 + i);
        CU_ASSERT_EQUAL(producing_look(producing_next(&s)).header.producer_epoch, 0);
        producing_ack(&s, 1 + i);
    }
    CU_ASSERT_TRUE(clients[0].done && clients[1].done && clients[2].done);
    producing_fini(&s);
}

static void a_topic_the_leader_has_not_heard_of_yet_is_tried_again(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 1);
    producing_send(&s, &a, 0, "a");
    producing_refuse(&s, RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_FALSE(a.done);
    world_advance(&s.world, 1000 * 1000);
    producing_ack(&s, 0);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_OK);
    producing_fini(&s);
}

/* --- limits ------------------------------------------------------------------------------------*/

static void a_record_larger_than_a_batch_is_refused_before(void)
{
    struct producing s;
    struct produce_record record = {.timestamp_ms = -1, .partition = 0};
    char value[2000];

    memset(value, 'x', sizeof(value));
    producing_init_with(&s, 1, "1024");
    record.value = ria_slice_of(value, sizeof(value));
    CU_ASSERT_EQUAL(produce_check(s.produce, s.view, &record), RIA_ERR_TOO_LARGE);
    record.value.size = 800;
    CU_ASSERT_EQUAL(produce_check(s.produce, s.view, &record), RIA_OK);
    record.partition = 1;
    CU_ASSERT_EQUAL(produce_check(s.produce, s.view, &record), RIA_ERR_UNKNOWN_PARTITION);
    producing_fini(&s);
}

static void batches_stay_within_the_topics_limit(void)
{
    struct producing s;
    struct producing_client a;
    char value[401];
    int batches = 0;

    memset(value, 'x', 400);
    value[400] = '\0';
    producing_init_with(&s, 1, "1024");
    producing_begin(&s, &a);
    for (int i = 0; i < 10; i++) {
        producing_add(&s, &a, 0, value);
    }
    CU_ASSERT_TRUE(produce_end(s.produce, &a.call));
    world_run(&s.world);
    while (!a.done) {
        struct producing_seen seen = producing_look(producing_next(&s));
        CU_ASSERT_TRUE(batch_size(&seen.header) <= 1024);
        producing_ack(&s, 2 * batches);
        batches++;
    }
    CU_ASSERT_EQUAL(batches, 5);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(a.results[i].offset, i);
    }
    producing_fini(&s);
}

static void bytes_are_charged_until_the_batch_is_gone(void)
{
    struct producing s;
    struct producing_client a;

    producing_init(&s, 1);
    producing_send(&s, &a, 0, "0123456789");
    CU_ASSERT_TRUE(s.world.budget.used.value > 10);
    producing_ack(&s, 0);
    CU_ASSERT_EQUAL(s.world.budget.used.value, 0);
    producing_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(records_of_one_turn_become_one_batch),
    HARNESS_TEST(records_of_one_request_may_alternate_between_partitions),
    HARNESS_TEST(first_batch_of_a_producer_goes_alone),
    HARNESS_TEST(what_comes_while_a_batch_is_under_way_is_sent_when_it_returns),
    HARNESS_TEST(what_comes_while_a_batch_is_under_way_lingers_at_most),
    HARNESS_TEST(a_full_batch_does_not_wait),
    HARNESS_TEST(at_most_five_batches_are_under_way),
    HARNESS_TEST(sequences_continue_from_batch_to_batch),
    HARNESS_TEST(a_key_always_has_the_same_partition),
    HARNESS_TEST(keyless_records_stick_to_a_partition_for_one_batch),
    HARNESS_TEST(keyless_records_avoid_partitions_without_a_leader),
    HARNESS_TEST(retry_keeps_the_sequence),
    HARNESS_TEST(retry_goes_to_the_new_leader_at_once),
    HARNESS_TEST(a_new_leader_ends_the_wait_for_the_old_one),
    HARNESS_TEST(nothing_is_sent_before_all_failed_attempts_are_back),
    HARNESS_TEST(order_is_kept_when_the_first_of_several_is_refused_for_now),
    HARNESS_TEST(a_topic_the_leader_has_not_heard_of_yet_is_tried_again),
    HARNESS_TEST(a_record_larger_than_a_batch_is_refused_before),
    HARNESS_TEST(batches_stay_within_the_topics_limit),
    HARNESS_TEST(bytes_are_charged_until_the_batch_is_gone),
};

HARNESS_MAIN(tests);
