#include "tests/unit/services/gateway/producing.h"

#include <stdio.h>
#include <string.h>

#include "common/limits.h"

#include "tests/lib/harness.h"

static void topic_changed(void *arg, struct cluster_topic *topic)
{
    struct producing *s = arg;

    produce_topic_changed(s->produce, topic);
}

static void partition_changed(void *arg, struct cluster_partition *partition)
{
    struct producing *s = arg;

    produce_partition_changed(s->produce, partition);
}

static void view_changed(void *arg)
{
    struct producing *s = arg;

    produce_view_changed(s->produce);
}

void producing_init_with(struct producing *s, int32_t partitions, const char *max_message_bytes)
{
    static const struct cluster_callbacks callbacks = {
        .topic = topic_changed,
        .partition = partition_changed,
        .done = view_changed,
    };
    const struct produce_options options = {
        .timeout_ms = PRODUCING_TIMEOUT_MS,
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

void producing_init(struct producing *s, int32_t partitions)
{
    producing_init_with(s, partitions, NULL);
}

void producing_fini(struct producing *s)
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
    struct producing_client *client = call->arg;

    CU_ASSERT_FALSE(client->done);
    client->done = true;
}

void producing_begin(struct producing *s, struct producing_client *client)
{
    memset(client, 0, sizeof(*client));
    client->call.topic = s->view;
    client->call.results = client->results;
    client->call.capacity = RIA_COUNT(client->results);
    client->call.done = client_done;
    client->call.arg = client;
    produce_begin(s->produce, &client->call);
}

void producing_add(
    struct producing *s, struct producing_client *client, int32_t partition, const char *value
)
{
    const struct produce_record record = {
        .timestamp_ms = -1,
        .partition = partition,
        .value = ria_slice_cstr(value),
    };

    CU_ASSERT_EQUAL(produce_add(s->produce, &client->call, &record), RIA_OK);
}

/* One record, sent at the end of the turn. */
void producing_send(
    struct producing *s, struct producing_client *client, int32_t partition, const char *value
)
{
    producing_begin(s, client);
    producing_add(s, client, partition, value);
    CU_ASSERT_TRUE(produce_end(s->produce, &client->call));
    world_run(&s->world);
}

/* What a produce call asks for. */
struct producing_seen producing_look(const struct world_call *call)
{
    struct produce_request request;
    struct producing_seen seen = {.partition = -1};
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

struct world_call *producing_next(struct producing *s)
{
    return world_next_call(&s->world, API_PRODUCE);
}

void producing_ack(struct producing *s, int64_t base_offset)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(producing_next(s));
    world_ack(&s->world, producing_next(s), base_offset);
    world_run(&s->world);
}

void producing_refuse(struct producing *s, ria_err err)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(producing_next(s));
    world_refuse(&s->world, producing_next(s), err, "no");
    world_run(&s->world);
}

void producing_lose(struct producing *s, ria_err err)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(producing_next(s));
    world_lose(&s->world, producing_next(s), err);
    world_run(&s->world);
}

/* The partition has an acknowledged batch, so several may be under way. */
void producing_warm_up(struct producing *s, int32_t partition)
{
    struct producing_client client;

    producing_send(s, &client, partition, "warm");
    producing_ack(s, 0);
    CU_ASSERT_TRUE(client.done);
}

/* Fill the partition's window: clients[0..count) each in a batch of its own. */
void producing_fill(struct producing *s, struct producing_client *clients, int count)
{
    char value[16];

    for (int i = 0; i < count; i++) {
        (void)snprintf(value, sizeof(value), "v%d", i);
        producing_send(s, &clients[i], 0, value);
        world_advance(&s->world, PRODUCE_LINGER_US);
    }
    CU_ASSERT_EQUAL(world_call_count(&s->world), (uint32_t)count);
}
