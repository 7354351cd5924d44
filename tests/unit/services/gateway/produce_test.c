#include "services/gateway/produce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/world.h"

enum { TIMEOUT_MS = 30 * 1000, CALLS_MAX = 64 };

/* One core over one topic "t", and the calls a test made. */
struct setup {
    struct world world;
    struct world_topic *topic;
    struct cluster *cluster;
    struct coordinator_calls coordinator;
    struct produce *produce;
    struct cluster_topic *view;
};

/* One client's request of a few records. */
struct client {
    struct produce_call call;
    struct produce_result results[256];
    bool done;
};

static void topic_changed(void *arg, struct cluster_topic *topic)
{
    struct setup *s = arg;

    produce_topic_changed(s->produce, topic);
}

static void partition_changed(void *arg, struct cluster_partition *partition)
{
    struct setup *s = arg;

    produce_partition_changed(s->produce, partition);
}

static void view_changed(void *arg)
{
    struct setup *s = arg;

    produce_view_changed(s->produce);
}

static void setup_with(struct setup *s, int32_t partitions, const char *max_message_bytes)
{
    static const struct cluster_callbacks callbacks = {
        .topic = topic_changed,
        .partition = partition_changed,
        .done = view_changed,
    };
    const struct produce_options options = {
        .timeout_ms = TIMEOUT_MS,
        .linger_us = PRODUCE_LINGER_US,
        .batch_bytes = PRODUCE_BATCH_BYTES,
        .in_flight_max = PRODUCE_IN_FLIGHT_MAX,
    };

    world_init(&s->world, 1);
    s->topic = world_add_topic(&s->world, "t", partitions);
    s->topic->max_message_bytes = max_message_bytes;
    CU_ASSERT_EQUAL_FATAL(
        cluster_new(&s->world.env, "tcp://c", &callbacks, s, &s->cluster), RIA_OK
    );
    coordinator_calls_init(&s->coordinator, &s->world.env, s->cluster);
    CU_ASSERT_EQUAL_FATAL(
        produce_new(
            &s->world.env, s->cluster, &s->coordinator, &s->world.budget, &options, &s->produce
        ),
        RIA_OK
    );
    cluster_start(s->cluster);
    produce_start(s->produce);
    world_run(&s->world);
    s->view = cluster_topic_by_name(s->cluster, "t");
    CU_ASSERT_PTR_NOT_NULL_FATAL(s->view);
}

static void setup(struct setup *s, int32_t partitions)
{
    setup_with(s, partitions, NULL);
}

static void teardown(struct setup *s)
{
    produce_check_invariants(s->produce);
    produce_free(s->produce);
    coordinator_calls_fini(&s->coordinator);
    cluster_free(s->cluster);
    world_fini(&s->world);
    CU_ASSERT_EQUAL(s->world.budget.used.value, 0);
}

static void client_done(struct produce_call *call)
{
    struct client *client = call->arg;

    CU_ASSERT_FALSE(client->done);
    client->done = true;
}

static void begin(struct setup *s, struct client *client)
{
    memset(client, 0, sizeof(*client));
    client->call.topic = s->view;
    client->call.results = client->results;
    client->call.capacity = RIA_COUNT(client->results);
    client->call.done = client_done;
    client->call.arg = client;
    produce_begin(s->produce, &client->call);
}

static void add(struct setup *s, struct client *client, int32_t partition, const char *value)
{
    const struct produce_record record = {
        .timestamp_ms = -1,
        .partition = partition,
        .value = ria_slice_cstr(value),
    };

    CU_ASSERT_EQUAL(produce_add(s->produce, &client->call, &record), RIA_OK);
}

/* One record, sent at the end of the turn. */
static void send(struct setup *s, struct client *client, int32_t partition, const char *value)
{
    begin(s, client);
    add(s, client, partition, value);
    CU_ASSERT_TRUE(produce_end(s->produce, &client->call));
    world_run(&s->world);
}

struct seen {
    struct batch_header header;
    int32_t partition;
    int32_t leader_epoch;
    char first_value[32];
};

/* What a produce call asks for. */
static struct seen look(const struct world_call *call)
{
    struct produce_request request;
    struct seen seen = {.partition = -1};
    struct batch_record record;
    struct batch_iter iter;
    struct ria_slice payload;
    struct ria_arena arena;
    bool more = false;
    const char *reason = NULL;

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    ria_arena_init(&arena, 65536);
    world_open(call, &arena, &request, &payload);
    ria_arena_fini(&arena);
    CU_ASSERT_EQUAL_FATAL(
        batch_validate(payload, RIA_BATCH_SIZE_MAX, &seen.header, &reason), RIA_OK
    );
    CU_ASSERT_EQUAL_FATAL(batch_iter_init(&iter, payload), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(batch_iter_next(&iter, &record, &more), RIA_OK);
    (void)snprintf(
        seen.first_value, sizeof(seen.first_value), RIA_SLICE_FMT, RIA_SLICE_ARG(record.value)
    );
    seen.partition = request.partition;
    seen.leader_epoch = request.leader_epoch;
    return seen;
}

static struct world_call *next(struct setup *s)
{
    return world_next_call(&s->world, API_PRODUCE);
}

static void ack(struct setup *s, int64_t base_offset)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(next(s));
    world_ack(&s->world, next(s), base_offset);
    world_run(&s->world);
}

static void refuse(struct setup *s, ria_err err)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(next(s));
    world_refuse(&s->world, next(s), err, "no");
    world_run(&s->world);
}

static void lose(struct setup *s, ria_err err)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(next(s));
    world_lose(&s->world, next(s), err);
    world_run(&s->world);
}

/* The partition has an acknowledged batch, so several may be under way. */
static void warm_up(struct setup *s, int32_t partition)
{
    struct client client;

    send(s, &client, partition, "warm");
    ack(s, 0);
    CU_ASSERT_TRUE(client.done);
}

/* Fill the partition's window: clients[0..count) each in a batch of its own. */
static void fill(struct setup *s, struct client *clients, int count)
{
    char value[16];

    for (int i = 0; i < count; i++) {
        (void)snprintf(value, sizeof(value), "v%d", i);
        send(s, &clients[i], 0, value);
        world_advance(&s->world, PRODUCE_LINGER_US);
    }
    CU_ASSERT_EQUAL(world_call_count(&s->world), (uint32_t)count);
}

/* --- batching ----------------------------------------------------------------------------------*/

static void records_of_one_turn_become_one_batch(void)
{
    struct setup s;
    struct client a;
    struct client b;

    setup(&s, 1);
    begin(&s, &a);
    add(&s, &a, 0, "a0");
    add(&s, &a, 0, "a1");
    CU_ASSERT_TRUE(produce_end(s.produce, &a.call));
    begin(&s, &b);
    add(&s, &b, 0, "b0");
    CU_ASSERT_TRUE(produce_end(s.produce, &b.call));
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    world_run(&s.world);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    CU_ASSERT_EQUAL(look(next(&s)).header.record_count, 3);
    CU_ASSERT_STRING_EQUAL(next(&s)->address, "tcp://s1");
    ack(&s, 40);
    CU_ASSERT_TRUE(a.done && b.done);
    CU_ASSERT_EQUAL(a.results[0].offset, 40);
    CU_ASSERT_EQUAL(a.results[1].offset, 41);
    CU_ASSERT_EQUAL(b.results[0].offset, 42);
    CU_ASSERT_EQUAL(a.call.failed_count, 0);
    CU_ASSERT_TRUE(a.call.synced);
    CU_ASSERT_TRUE(produce_is_idle(s.produce));
    teardown(&s);
}

static void records_of_one_request_may_alternate_between_partitions(void)
{
    struct setup s;
    struct client a;

    setup(&s, 2);
    begin(&s, &a);
    for (int i = 0; i < 6; i++) {
        add(&s, &a, i % 2, "x");
    }
    CU_ASSERT_TRUE(produce_end(s.produce, &a.call));
    world_run(&s.world);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    ack(&s, 100);
    CU_ASSERT_FALSE(a.done);
    ack(&s, 200);
    CU_ASSERT_TRUE(a.done);
    for (int i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(a.results[i].partition, i % 2);
        CU_ASSERT_EQUAL(a.results[i].offset, (i % 2 == 0 ? 100 : 200) + i / 2);
    }
    teardown(&s);
}

static void first_batch_of_a_producer_goes_alone(void)
{
    struct setup s;
    struct client a;
    struct client b;

    setup(&s, 1);
    send(&s, &a, 0, "a");
    send(&s, &b, 0, "b");
    world_advance(&s.world, 10 * PRODUCE_LINGER_US);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    ack(&s, 0);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    CU_ASSERT_EQUAL(look(next(&s)).header.base_sequence, 1);
    ack(&s, 1);
    CU_ASSERT_TRUE(b.done);
    teardown(&s);
}

static void what_comes_while_a_batch_is_under_way_is_sent_when_it_returns(void)
{
    struct setup s;
    struct client a;
    struct client b;
    struct client c;

    setup(&s, 1);
    warm_up(&s, 0);
    send(&s, &a, 0, "a");
    send(&s, &b, 0, "b");
    send(&s, &c, 0, "c");
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    ack(&s, 1);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    CU_ASSERT_EQUAL(look(next(&s)).header.record_count, 2);
    ack(&s, 2);
    CU_ASSERT_TRUE(b.done && c.done);
    CU_ASSERT_EQUAL(c.results[0].offset, 3);
    teardown(&s);
}

static void what_comes_while_a_batch_is_under_way_lingers_at_most(void)
{
    struct setup s;
    struct client a;
    struct client b;

    setup(&s, 1);
    warm_up(&s, 0);
    send(&s, &a, 0, "a");
    send(&s, &b, 0, "b");
    world_advance(&s.world, PRODUCE_LINGER_US - 1);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    world_advance(&s.world, 1);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    teardown(&s);
}

static void a_full_batch_does_not_wait(void)
{
    struct setup s;
    struct client a;
    struct client b;
    char *big = calloc(1, PRODUCE_BATCH_BYTES + 1);

    CU_ASSERT_PTR_NOT_NULL_FATAL(big);
    memset(big, 'x', PRODUCE_BATCH_BYTES);
    setup(&s, 1);
    warm_up(&s, 0);
    send(&s, &a, 0, "a");
    send(&s, &b, 0, big);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    teardown(&s);
    free(big);
}

static void at_most_five_batches_are_under_way(void)
{
    struct setup s;
    struct client clients[7];

    setup(&s, 1);
    warm_up(&s, 0);
    fill(&s, clients, 5);
    send(&s, &clients[5], 0, "v5");
    send(&s, &clients[6], 0, "v6");
    world_advance(&s.world, 10 * PRODUCE_LINGER_US);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 5);
    ack(&s, 1);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 5);
    teardown(&s);
}

static void sequences_continue_from_batch_to_batch(void)
{
    struct setup s;
    struct client clients[5];
    int32_t sequence = 1;

    setup(&s, 1);
    warm_up(&s, 0);
    fill(&s, clients, 5);
    for (int i = 0; i < 5; i++) {
        struct seen seen = look(next(&s));
        CU_ASSERT_EQUAL(seen.header.base_sequence, sequence);
        CU_ASSERT_EQUAL(seen.header.producer_id, RIA_PRODUCER_ID_INTERNAL + 1000);
        CU_ASSERT_EQUAL(seen.header.producer_epoch, 0);
        sequence++;
        ack(&s, 1 + i);
    }
    teardown(&s);
}

static void a_key_always_has_the_same_partition(void)
{
    struct setup s;
    struct client a;
    struct produce_record record = {.timestamp_ms = 5, .partition = -1};

    setup(&s, 8);
    begin(&s, &a);
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
    teardown(&s);
}

static void keyless_records_stick_to_a_partition_for_one_batch(void)
{
    struct setup s;
    struct client a;
    bool used[8] = {false};
    int count = 0;

    setup(&s, 8);
    for (int i = 0; i < 20; i++) {
        begin(&s, &a);
        for (int j = 0; j < 10; j++) {
            add(&s, &a, -1, "x");
        }
        CU_ASSERT_TRUE(produce_end(s.produce, &a.call));
        for (int j = 1; j < 10; j++) {
            CU_ASSERT_EQUAL(a.results[j].partition, a.results[0].partition);
        }
        used[a.results[0].partition] = true;
        world_run(&s.world);
        ack(&s, i);
    }
    for (int p = 0; p < 8; p++) {
        count += used[p];
    }
    CU_ASSERT_TRUE(count >= 4);
    teardown(&s);
}

static void keyless_records_avoid_partitions_without_a_leader(void)
{
    struct setup s;
    struct client a;
    int misses = 0;

    setup(&s, 2);
    s.topic->leaders[0] = -1;
    world_publish(&s.world);
    world_run(&s.world);
    for (int i = 0; i < 40; i++) {
        send(&s, &a, -1, "x");
        misses += a.results[0].partition == 0;
        if (next(&s) != NULL) {
            ack(&s, i);
        }
    }
    CU_ASSERT_TRUE(misses <= 8); /* four tries each: one in sixteen */
    teardown(&s);
}

/* --- retries -----------------------------------------------------------------------------------*/

static void retry_keeps_the_sequence(void)
{
    struct setup s;
    struct client a;

    setup(&s, 1);
    warm_up(&s, 0);
    send(&s, &a, 0, "a");
    struct seen first = look(next(&s));
    lose(&s, RIA_ERR_DISCONNECTED);
    CU_ASSERT_FALSE(a.done);
    world_advance(&s.world, 1000 * 1000);
    struct seen second = look(next(&s));
    CU_ASSERT_EQUAL(first.header.base_sequence, 1);
    CU_ASSERT_EQUAL(second.header.base_sequence, 1);
    CU_ASSERT_EQUAL(second.header.producer_id, first.header.producer_id);
    CU_ASSERT_EQUAL(second.header.producer_epoch, first.header.producer_epoch);
    ack(&s, 1);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_OK);
    teardown(&s);
}

static void retry_goes_to_the_new_leader_at_once(void)
{
    struct setup s;
    struct client a;

    setup(&s, 1);
    warm_up(&s, 0);
    send(&s, &a, 0, "a");
    refuse(&s, RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    s.topic->leaders[0] = 3;
    s.topic->epochs[0] = 2;
    world_publish(&s.world);
    world_run(&s.world);
    CU_ASSERT_PTR_NOT_NULL_FATAL(next(&s));
    CU_ASSERT_STRING_EQUAL(next(&s)->address, "tcp://s3");
    CU_ASSERT_EQUAL(look(next(&s)).leader_epoch, 2);
    CU_ASSERT_EQUAL(look(next(&s)).header.base_sequence, 1);
    ack(&s, 1);
    CU_ASSERT_TRUE(a.done);
    teardown(&s);
}

static void a_new_leader_ends_the_wait_for_the_old_one(void)
{
    struct setup s;
    struct client clients[3];

    setup(&s, 1);
    warm_up(&s, 0);
    fill(&s, clients, 3);
    s.topic->leaders[0] = 2;
    s.topic->epochs[0] = 2;
    world_publish(&s.world);
    world_run(&s.world);
    /* The old calls are still there, forgotten; the new one carries the first batch. */
    CU_ASSERT_EQUAL(world_call_count(&s.world), 4);
    for (int i = 0; i < 3; i++) {
        world_ack(&s.world, next(&s), 50 + i); /* too late */
    }
    world_run(&s.world);
    CU_ASSERT_FALSE(clients[0].done);
    CU_ASSERT_STRING_EQUAL(look(next(&s)).first_value, "v0");
    CU_ASSERT_STRING_EQUAL(next(&s)->address, "tcp://s2");
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(look(next(&s)).header.base_sequence, 1 + i);
        ack(&s, 1 + i);
    }
    CU_ASSERT_TRUE(clients[0].done && clients[1].done && clients[2].done);
    CU_ASSERT_EQUAL(clients[2].results[0].offset, 3);
    teardown(&s);
}

static void nothing_is_sent_before_all_failed_attempts_are_back(void)
{
    struct setup s;
    struct client clients[3];

    setup(&s, 1);
    warm_up(&s, 0);
    fill(&s, clients, 3);
    lose(&s, RIA_ERR_DISCONNECTED);
    world_advance(&s.world, 3 * 1000 * 1000);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    lose(&s, RIA_ERR_DISCONNECTED);
    lose(&s, RIA_ERR_DISCONNECTED);
    world_advance(&s.world, 1000 * 1000);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    CU_ASSERT_STRING_EQUAL(look(next(&s)).first_value, "v0");
    ack(&s, 1);
    /* The window opens again. */
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    CU_ASSERT_STRING_EQUAL(look(next(&s)).first_value, "v1");
    ack(&s, 2);
    CU_ASSERT_STRING_EQUAL(look(next(&s)).first_value, "v2");
    ack(&s, 3);
    CU_ASSERT_TRUE(clients[2].done);
    teardown(&s);
}

static void order_is_kept_when_the_first_of_several_is_refused_for_now(void)
{
    struct setup s;
    struct client clients[3];

    setup(&s, 1);
    warm_up(&s, 0);
    fill(&s, clients, 3);
    refuse(&s, RIA_ERR_NOT_ENOUGH_REPLICAS);
    refuse(&s, RIA_ERR_OUT_OF_ORDER);
    refuse(&s, RIA_ERR_OUT_OF_ORDER);
    world_advance(&s.world, 1000 * 1000);
    for (int i = 0; i < 3; i++) {
        char value[16];
        (void)snprintf(value, sizeof(value), "v%d", i);
        CU_ASSERT_STRING_EQUAL(look(next(&s)).first_value, value);
        CU_ASSERT_EQUAL(look(next(&s)).header.base_sequence, 1 + i);
        CU_ASSERT_EQUAL(look(next(&s)).header.producer_epoch, 0);
        ack(&s, 1 + i);
    }
    CU_ASSERT_TRUE(clients[0].done && clients[1].done && clients[2].done);
    teardown(&s);
}

static void a_topic_the_leader_has_not_heard_of_yet_is_tried_again(void)
{
    struct setup s;
    struct client a;

    setup(&s, 1);
    send(&s, &a, 0, "a");
    refuse(&s, RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_FALSE(a.done);
    world_advance(&s.world, 1000 * 1000);
    ack(&s, 0);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_OK);
    teardown(&s);
}

/* --- giving up ---------------------------------------------------------------------------------*/

static void definite_failure_is_told_and_numbers_the_followers_anew(void)
{
    struct setup s;
    struct client clients[3];

    setup(&s, 1);
    warm_up(&s, 0);
    fill(&s, clients, 3);
    refuse(&s, RIA_ERR_TOO_LARGE);
    refuse(&s, RIA_ERR_OUT_OF_ORDER);
    refuse(&s, RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_TRUE(clients[0].done);
    CU_ASSERT_EQUAL(clients[0].results[0].err, RIA_ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(clients[0].call.failed_count, 1);
    CU_ASSERT_FALSE(clients[1].done);
    world_advance(&s.world, 1000 * 1000);
    struct seen second = look(next(&s));
    CU_ASSERT_STRING_EQUAL(second.first_value, "v1");
    CU_ASSERT_EQUAL(second.header.producer_epoch, 1);
    CU_ASSERT_EQUAL(second.header.base_sequence, 0);
    ack(&s, 1);
    struct seen third = look(next(&s));
    CU_ASSERT_STRING_EQUAL(third.first_value, "v2");
    CU_ASSERT_EQUAL(third.header.producer_epoch, 1);
    CU_ASSERT_EQUAL(third.header.base_sequence, 1);
    ack(&s, 2);
    CU_ASSERT_TRUE(clients[1].done && clients[2].done);
    teardown(&s);
}

static void deadline_after_a_lost_answer_is_unknown(void)
{
    struct setup s;
    struct client a;
    struct client b;

    setup(&s, 1);
    warm_up(&s, 0);
    send(&s, &a, 0, "a");
    lose(&s, RIA_ERR_DISCONNECTED);
    world_advance(&s.world, TIMEOUT_MS * INT64_C(1000));
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_UNKNOWN_OUTCOME);
    /* The next epoch fences the copies that may still be on their way. */
    send(&s, &b, 0, "b");
    world_advance(&s.world, 1000 * 1000);
    struct seen seen = look(next(&s));
    CU_ASSERT_STRING_EQUAL(seen.first_value, "b");
    CU_ASSERT_EQUAL(seen.header.producer_epoch, 1);
    CU_ASSERT_EQUAL(seen.header.base_sequence, 0);
    teardown(&s);
}

static void deadline_of_what_was_never_sent_is_definite(void)
{
    struct setup s;
    struct client a;

    setup(&s, 1);
    s.topic->leaders[0] = -1;
    world_publish(&s.world);
    world_run(&s.world);
    send(&s, &a, 0, "a");
    world_advance(&s.world, TIMEOUT_MS * INT64_C(1000) - 1000);
    CU_ASSERT_FALSE(a.done);
    world_advance(&s.world, 2000);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_NO_LEADER);
    CU_ASSERT_TRUE(produce_is_idle(s.produce));
    teardown(&s);
}

static void deadline_after_refusals_only_is_definite(void)
{
    struct setup s;
    struct client a;

    setup(&s, 1);
    send(&s, &a, 0, "a");
    for (int i = 0; i < 1000 && !a.done; i++) {
        if (next(&s) != NULL) {
            refuse(&s, RIA_ERR_NOT_ENOUGH_REPLICAS);
        }
        world_advance(&s.world, 100 * 1000);
    }
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_NOT_ENOUGH_REPLICAS);
    CU_ASSERT_STRING_EQUAL(a.call.text, "no");
    teardown(&s);
}

static void a_refusal_after_a_lost_answer_is_still_unknown(void)
{
    struct setup s;
    struct client a;

    setup(&s, 1);
    send(&s, &a, 0, "a");
    lose(&s, RIA_ERR_DISCONNECTED);
    for (int i = 0; i < 1000 && !a.done; i++) {
        if (next(&s) != NULL) {
            refuse(&s, RIA_ERR_NOT_ENOUGH_REPLICAS);
        }
        world_advance(&s.world, 100 * 1000);
    }
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_UNKNOWN_OUTCOME);
    teardown(&s);
}

static void followers_of_an_unknown_batch_find_out_by_their_old_numbers(void)
{
    struct setup s;
    struct client a;
    struct client b;

    setup(&s, 1);
    warm_up(&s, 0);
    send(&s, &a, 0, "a");
    world_advance(&s.world, 3 * 1000 * 1000); /* b has three seconds more */
    send(&s, &b, 0, "b");
    world_advance(&s.world, PRODUCE_LINGER_US);
    lose(&s, RIA_ERR_DISCONNECTED);
    lose(&s, RIA_ERR_DISCONNECTED);
    while (!a.done) {
        if (next(&s) != NULL) {
            lose(&s, RIA_ERR_DISCONNECTED);
        }
        world_advance(&s.world, 500 * 1000);
    }
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_UNKNOWN_OUTCOME);
    CU_ASSERT_FALSE(b.done);
    world_advance(&s.world, 500 * 1000);
    struct seen seen = look(next(&s));
    CU_ASSERT_STRING_EQUAL(seen.first_value, "b");
    CU_ASSERT_EQUAL(seen.header.producer_epoch, 0);
    CU_ASSERT_EQUAL(seen.header.base_sequence, 2);
    /* The log has neither. But a late frame of a may still come, and one of b after it: sent under
     * another number b might be stored twice, so nobody can tell what became of it. */
    refuse(&s, RIA_ERR_OUT_OF_ORDER);
    world_advance(&s.world, 500 * 1000);
    CU_ASSERT_TRUE(b.done);
    CU_ASSERT_EQUAL(b.results[0].err, RIA_ERR_UNKNOWN_OUTCOME);
    struct client c;
    send(&s, &c, 0, "c");
    world_advance(&s.world, 500 * 1000);
    seen = look(next(&s));
    CU_ASSERT_EQUAL(seen.header.producer_epoch, 1);
    CU_ASSERT_EQUAL(seen.header.base_sequence, 0);
    ack(&s, 1);
    CU_ASSERT_EQUAL(c.results[0].err, RIA_OK);
    teardown(&s);
}

static void a_fenced_producer_takes_a_new_id(void)
{
    struct setup s;
    struct client a;

    setup(&s, 1);
    warm_up(&s, 0);
    send(&s, &a, 0, "a");
    refuse(&s, RIA_ERR_FENCED_PRODUCER);
    world_advance(&s.world, 1000 * 1000);
    struct seen seen = look(next(&s));
    CU_ASSERT_NOT_EQUAL(seen.header.producer_id, 1000);
    CU_ASSERT_EQUAL(seen.header.producer_epoch, 0);
    CU_ASSERT_EQUAL(seen.header.base_sequence, 0);
    ack(&s, 1);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_OK);
    teardown(&s);
}

static void deleting_the_topic_fails_what_waits(void)
{
    struct setup s;
    struct client a;
    struct client b;

    setup(&s, 1);
    send(&s, &a, 0, "a");
    send(&s, &b, 0, "b");
    s.topic->deleted = true;
    world_publish(&s.world);
    world_run(&s.world);
    CU_ASSERT_TRUE(b.done);
    CU_ASSERT_EQUAL(b.results[0].err, RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_FALSE(a.done);
    refuse(&s, RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_UNKNOWN_TOPIC);
    teardown(&s);
}

static void nothing_is_sent_without_a_producer_id(void)
{
    struct setup s;
    struct client a;

    setup(&s, 1);
    produce_free(s.produce);
    /* A second core, while the coordinator is away. */
    const struct produce_options options = {
        .timeout_ms = TIMEOUT_MS, .linger_us = 1, .batch_bytes = 1000, .in_flight_max = 1};
    CU_ASSERT_EQUAL_FATAL(
        produce_new(&s.world.env, s.cluster, &s.coordinator, &s.world.budget, &options, &s.produce),
        RIA_OK
    );
    s.world.coordinator_down = true;
    produce_start(s.produce);
    send(&s, &a, 0, "a");
    world_advance(&s.world, 1000 * 1000);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    s.world.coordinator_down = false;
    world_advance(&s.world, 1000 * 1000);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    teardown(&s);
}

/* --- limits ------------------------------------------------------------------------------------*/

static void a_record_larger_than_a_batch_is_refused_before(void)
{
    struct setup s;
    struct produce_record record = {.timestamp_ms = -1, .partition = 0};
    char value[2000];

    memset(value, 'x', sizeof(value));
    setup_with(&s, 1, "1024");
    record.value = ria_slice_of(value, sizeof(value));
    CU_ASSERT_EQUAL(produce_check(s.produce, s.view, &record), RIA_ERR_TOO_LARGE);
    record.value.size = 800;
    CU_ASSERT_EQUAL(produce_check(s.produce, s.view, &record), RIA_OK);
    record.partition = 1;
    CU_ASSERT_EQUAL(produce_check(s.produce, s.view, &record), RIA_ERR_UNKNOWN_PARTITION);
    teardown(&s);
}

static void batches_stay_within_the_topics_limit(void)
{
    struct setup s;
    struct client a;
    char value[401];
    int batches = 0;

    memset(value, 'x', 400);
    value[400] = '\0';
    setup_with(&s, 1, "1024");
    begin(&s, &a);
    for (int i = 0; i < 10; i++) {
        add(&s, &a, 0, value);
    }
    CU_ASSERT_TRUE(produce_end(s.produce, &a.call));
    world_run(&s.world);
    while (!a.done) {
        struct seen seen = look(next(&s));
        CU_ASSERT_TRUE(batch_size(&seen.header) <= 1024);
        ack(&s, 2 * batches);
        batches++;
    }
    CU_ASSERT_EQUAL(batches, 5);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(a.results[i].offset, i);
    }
    teardown(&s);
}

static void bytes_are_charged_until_the_batch_is_gone(void)
{
    struct setup s;
    struct client a;

    setup(&s, 1);
    send(&s, &a, 0, "0123456789");
    CU_ASSERT_TRUE(s.world.budget.used.value > 10);
    ack(&s, 0);
    CU_ASSERT_EQUAL(s.world.budget.used.value, 0);
    teardown(&s);
}

/* --- a client's own numbers --------------------------------------------------------------------*/

static const struct produce_identity own = {.producer_id = 77, .epoch = 3, .sequence = 12};

static void send_own(struct setup *s, struct client *client, int32_t partition, const char *value)
{
    begin(s, client);
    CU_ASSERT_EQUAL(produce_begin_direct(s->produce, &client->call, &own), RIA_OK);
    add(s, client, partition, value);
    CU_ASSERT_TRUE(produce_end(s->produce, &client->call));
    world_run(&s->world);
}

static void own_numbers_go_to_the_log_as_they_are(void)
{
    struct setup s;
    struct client a;

    setup(&s, 1);
    send_own(&s, &a, 0, "a");
    struct seen seen = look(next(&s));
    CU_ASSERT_EQUAL(seen.header.producer_id, 77);
    CU_ASSERT_EQUAL(seen.header.producer_epoch, 3);
    CU_ASSERT_EQUAL(seen.header.base_sequence, 12);
    lose(&s, RIA_ERR_TIMEOUT);
    world_advance(&s.world, 1000 * 1000);
    CU_ASSERT_EQUAL(look(next(&s)).header.base_sequence, 12);
    ack(&s, 9);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].offset, 9);
    CU_ASSERT_TRUE(produce_is_idle(s.produce));
    teardown(&s);
}

static void own_numbers_out_of_order_are_not_retried(void)
{
    struct setup s;
    struct client a;

    setup(&s, 1);
    send_own(&s, &a, 0, "a");
    refuse(&s, RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_TRUE(a.done);
    CU_ASSERT_EQUAL(a.results[0].err, RIA_ERR_OUT_OF_ORDER);
    teardown(&s);
}

static void own_batch_must_be_of_one_partition(void)
{
    struct setup s;
    struct client a;
    struct produce_record record = {.timestamp_ms = -1, .partition = 1};

    setup(&s, 2);
    begin(&s, &a);
    CU_ASSERT_EQUAL(produce_begin_direct(s.produce, &a.call, &own), RIA_OK);
    add(&s, &a, 0, "a");
    CU_ASSERT_EQUAL(produce_add(s.produce, &a.call, &record), RIA_ERR_INVALID);
    produce_abort(s.produce, &a.call);
    world_run(&s.world);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    teardown(&s);
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
    HARNESS_TEST(definite_failure_is_told_and_numbers_the_followers_anew),
    HARNESS_TEST(deadline_after_a_lost_answer_is_unknown),
    HARNESS_TEST(deadline_of_what_was_never_sent_is_definite),
    HARNESS_TEST(deadline_after_refusals_only_is_definite),
    HARNESS_TEST(a_refusal_after_a_lost_answer_is_still_unknown),
    HARNESS_TEST(followers_of_an_unknown_batch_find_out_by_their_old_numbers),
    HARNESS_TEST(a_fenced_producer_takes_a_new_id),
    HARNESS_TEST(deleting_the_topic_fails_what_waits),
    HARNESS_TEST(nothing_is_sent_without_a_producer_id),
    HARNESS_TEST(a_record_larger_than_a_batch_is_refused_before),
    HARNESS_TEST(batches_stay_within_the_topics_limit),
    HARNESS_TEST(bytes_are_charged_until_the_batch_is_gone),
    HARNESS_TEST(own_numbers_go_to_the_log_as_they_are),
    HARNESS_TEST(own_numbers_out_of_order_are_not_retried),
    HARNESS_TEST(own_batch_must_be_of_one_partition),
};

HARNESS_MAIN(tests);
