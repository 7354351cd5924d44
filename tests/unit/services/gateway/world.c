#include "tests/unit/services/gateway/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/gen/allocate_producer_ids_request.h"
#include "schemas/gen/allocate_producer_ids_response.h"
#include "schemas/gen/check_transform_response.h"
#include "schemas/gen/create_topic_request.h"
#include "schemas/gen/create_topic_response.h"
#include "schemas/gen/describe_cluster_response.h"
#include "schemas/gen/heartbeat_response.h"
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/metadata_response.h"
#include "schemas/gen/produce_response.h"

enum { WORLD_ARENA_MAX = 16 * 1024 * 1024 };

/* A call that has ended, until its callback runs. */
struct finished {
    struct ria_list link;
    struct world_call *call;
    ria_err err;
    struct ria_msg *reply;
};

static int64_t clock_mono(const struct ria_clock *clock)
{
    return ((const struct world *)(const void
                                       *)((const char *)clock - offsetof(struct world, clock)))
        ->now_us;
}

static int64_t clock_wall(const struct ria_clock *clock)
{
    return 1700000000000 + clock_mono(clock) / 1000;
}

static void finish(struct world *world, struct world_call *call, ria_err err, struct ria_msg *reply)
{
    struct finished *finished = calloc(1, sizeof(*finished));

    RIA_ASSERT(finished != NULL);
    ria_list_remove(&call->link);
    finished->call = call;
    finished->err = err;
    finished->reply = reply;
    ria_list_push_back(&world->finished, &finished->link);
}

static bool run_finished(struct world *world)
{
    struct ria_list *link = ria_list_pop_front(&world->finished);

    if (link == NULL) {
        return false;
    }
    struct finished *finished = RIA_CONTAINER(link, struct finished, link);
    struct world_call *call = finished->call;
    call->done(call->arg, finished->err, finished->reply);
    ria_msg_free(call->msg);
    free(call);
    free(finished);
    return true;
}

void world_open(
    const struct world_call *call, struct ria_arena *arena, void *out, struct ria_slice *out_payload
)
{
    struct request_header header;
    struct ria_slice body;

    ria_err err = envelope_open_request(call->msg, &header, &body, out_payload);
    RIA_ASSERT(err == RIA_OK);
    err =
        envelope_decode_body(schema_request(header.api_key), header.api_version, body, arena, out);
    RIA_ASSERT(err == RIA_OK);
}

void world_reply(
    struct world *world, struct world_call *call, const void *body, struct ria_slice payload
)
{
    struct request_header header;
    struct ria_slice ignored_body;
    struct ria_slice ignored_payload;
    uint8_t *to = NULL;

    ria_err err = envelope_open_request(call->msg, &header, &ignored_body, &ignored_payload);
    RIA_ASSERT(err == RIA_OK);
    struct ria_msg *reply = envelope_reply(&header, body, payload.size, &to);
    RIA_ASSERT(reply != NULL);
    if (payload.size > 0) {
        memcpy(to, payload.data, payload.size);
    }
    finish(world, call, RIA_OK, reply);
}

void world_refuse(struct world *world, struct world_call *call, ria_err why, const char *text)
{
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload;

    ria_err err = envelope_open_request(call->msg, &header, &body, &payload);
    RIA_ASSERT(err == RIA_OK);
    finish(world, call, RIA_OK, envelope_reply_error(&header, why, "%s", text));
}

void world_lose(struct world *world, struct world_call *call, ria_err err)
{
    finish(world, call, err, NULL);
}

void world_ack(struct world *world, struct world_call *call, int64_t base_offset)
{
    struct produce_response response;

    produce_response_init(&response);
    response.base_offset = base_offset;
    response.synced = true;
    world_reply(world, call, &response, RIA_SLICE_NULL);
}

/* --- the coordinator ---------------------------------------------------------------------------*/

static void
fill_topics(const struct world *world, struct metadata_response *response, struct ria_arena *arena)
{
    uint32_t partitions = 0;
    size_t count = 0;

    for (uint32_t t = 0; t < world->topic_count; t++) {
        count += (size_t)world->topics[t].partition_count;
    }
    response->topics = ria_arena_alloc_array(arena, WORLD_TOPICS_MAX, sizeof(*response->topics));
    response->partitions = ria_arena_alloc_array(arena, count, sizeof(*response->partitions));
    for (uint32_t t = 0; t < world->topic_count; t++) {
        const struct world_topic *topic = &world->topics[t];
        struct metadata_response_metadata_topic *to = &response->topics[t];
        metadata_response_metadata_topic_init(to);
        to->topic_id = topic->id;
        to->name = ria_slice_cstr(topic->name);
        to->deleted = topic->deleted;
        to->partition_count = topic->partition_count;
        to->replication_factor = 3;
        to->config_epoch = topic->config_epoch;
        to->configs = ria_arena_alloc_array(arena, 2, sizeof(*to->configs));
        if (topic->max_message_bytes != NULL) {
            to->configs[to->configs_count].name = RIA_SLICE_LITERAL("max.message.bytes");
            to->configs[to->configs_count++].value = ria_slice_cstr(topic->max_message_bytes);
        }
        if (topic->delivery != NULL) {
            to->configs[to->configs_count].name = RIA_SLICE_LITERAL("delivery");
            to->configs[to->configs_count++].value = ria_slice_cstr(topic->delivery);
        }
        for (int32_t p = 0; p < topic->partition_count; p++) {
            int32_t like = p % WORLD_PARTITIONS_MAX;
            struct metadata_response_metadata_partition *row = &response->partitions[partitions++];
            metadata_response_metadata_partition_init(row);
            row->topic_id = topic->id;
            row->partition = p;
            row->leader = topic->leaders[like];
            row->leader_epoch = topic->epochs[like];
            row->partition_epoch = (int32_t)world->version;
            row->replicas = ria_arena_alloc_array(arena, WORLD_NODES, sizeof(*row->replicas));
            for (int32_t n = 0; n < WORLD_NODES; n++) {
                row->replicas[n] = n + 1;
            }
            row->isr = row->replicas;
            row->replicas_count = row->isr_count = WORLD_NODES;
            if (topic->moving_to[like] > 0) {
                row->target = ria_arena_alloc_array(arena, 2, sizeof(*row->target));
                row->target[0] = topic->moving_to[like];
                row->target[1] = 1;
                row->target_count = 2;
                row->isr_count = (uint32_t)topic->moving_to[like] - 1;
            }
        }
    }
    response->topics_count = world->topic_count;
    response->partitions_count = partitions;
}

static void answer_metadata(struct world *world, struct world_call *call)
{
    struct metadata_response response;
    struct ria_arena arena;
    char text[WORLD_NODES][32];

    ria_arena_init(&arena, WORLD_ARENA_MAX);
    metadata_response_init(&response);
    response.version = world->version;
    response.cluster_id.bytes[0] = 1;
    response.nodes = ria_arena_alloc_array(&arena, WORLD_NODES, sizeof(*response.nodes));
    response.nodes_count = WORLD_NODES;
    for (int32_t n = 0; n < WORLD_NODES; n++) {
        (void)snprintf(text[n], sizeof(text[n]), "tcp://s%d", (int)n + 1);
        metadata_response_metadata_node_init(&response.nodes[n]);
        response.nodes[n].node_id = n + 1;
        response.nodes[n].address = ria_slice_cstr(text[n]);
        response.nodes[n].rack = RIA_SLICE_EMPTY;
    }
    fill_topics(world, &response, &arena);
    world_reply(world, call, &response, RIA_SLICE_NULL);
    ria_arena_fini(&arena);
}

static void take_metadata(struct world *world, struct world_call *call)
{
    struct metadata_request request;
    struct ria_arena arena;
    struct ria_slice payload;

    ria_arena_init(&arena, WORLD_ARENA_MAX);
    world_open(call, &arena, &request, &payload);
    ria_arena_fini(&arena);
    if (request.known_version < world->version) {
        answer_metadata(world, call);
    } else {
        ria_list_push_back(&world->parked, &call->link);
    }
}

static void answer_describe(struct world *world, struct world_call *call)
{
    struct describe_cluster_response response;
    struct describe_cluster_response_cluster_process processes[2];

    describe_cluster_response_init(&response);
    describe_cluster_response_cluster_process_init(&processes[0]);
    describe_cluster_response_cluster_process_init(&processes[1]);
    processes[0].role = 2;
    processes[0].node_id = 1;
    processes[0].alive = true;
    processes[0].address = RIA_SLICE_LITERAL("tcp://s1");
    processes[0].rack = RIA_SLICE_EMPTY;
    processes[1] = processes[0];
    processes[1].role = 5;
    processes[1].node_id = -1;
    processes[1].address = RIA_SLICE_LITERAL("tcp://t1");
    response.processes = processes;
    response.processes_count = world->no_transform_worker ? 1 : 2;
    world_reply(world, call, &response, RIA_SLICE_NULL);
}

static void answer_create_topic(struct world *world, struct world_call *call)
{
    struct create_topic_request request;
    struct create_topic_response response;
    struct ria_arena arena;
    struct ria_slice payload;
    char name[32];

    ria_arena_init(&arena, WORLD_ARENA_MAX);
    world_open(call, &arena, &request, &payload);
    (void
    )snprintf(name, sizeof(name), RIA_SLICE_FMT, RIA_SLICE_ARG(ria_slice_sub(request.name, 0, 31)));
    for (uint32_t i = 0; i < world->topic_count; i++) {
        if (strcmp(world->topics[i].name, name) == 0) {
            world_refuse(world, call, RIA_ERR_EXISTS, "topic exists");
            ria_arena_fini(&arena);
            return;
        }
    }
    if (request.partition_count > WORLD_PARTITIONS_MAX || request.partition_count == 0 ||
        world->topic_count == WORLD_TOPICS_MAX) {
        world_refuse(world, call, RIA_ERR_INVALID, "the world is small");
        ria_arena_fini(&arena);
        return;
    }
    int32_t partitions = request.partition_count < 0 ? 1 : request.partition_count;
    struct world_topic *topic = world_add_topic(world, name, partitions);
    topic->id = request.topic_id;
    world->created_topics++;
    ria_arena_fini(&arena);
    create_topic_response_init(&response);
    response.version = world->version + 1;
    response.partition_count = topic->partition_count;
    response.replication_factor = 3;
    world_reply(world, call, &response, RIA_SLICE_NULL);
    world_publish(world);
}

static void answer_ids(struct world *world, struct world_call *call)
{
    struct allocate_producer_ids_request request;
    struct allocate_producer_ids_response response;
    struct ria_arena arena;
    struct ria_slice payload;

    ria_arena_init(&arena, WORLD_ARENA_MAX);
    world_open(call, &arena, &request, &payload);
    ria_arena_fini(&arena);
    allocate_producer_ids_response_init(&response);
    response.first_producer_id = world->ids_next;
    world->ids_next += request.count;
    world_reply(world, call, &response, RIA_SLICE_NULL);
}

static void coordinator_call(struct world *world, struct world_call *call)
{
    if (world->coordinator_down) {
        world_lose(world, call, RIA_ERR_DISCONNECTED);
        return;
    }
    switch (call->api_key) {
    case API_METADATA:
        take_metadata(world, call);
        return;
    case API_ALLOCATE_PRODUCER_IDS:
        answer_ids(world, call);
        return;
    case API_DESCRIBE_CLUSTER:
        answer_describe(world, call);
        return;
    case API_CREATE_TOPIC:
        answer_create_topic(world, call);
        return;
    case API_HEARTBEAT: {
        struct heartbeat_response response;
        heartbeat_response_init(&response);
        response.overdue = RIA_STEAL(&world->overdue);
        response.overdue_count = response.overdue == NULL ? 0 : 1;
        world_reply(world, call, &response, RIA_SLICE_NULL);
        return;
    }
    case API_ALTER_NODE:
    case API_ALTER_TOPIC:
    case API_REASSIGN_PARTITIONS:
    case API_PLAN_REBALANCE:
    case API_ALTER_REBALANCE:
    case API_ELECT_LEADER:
    case API_GROUP:
    case API_WATCH_GROUPS:
    case API_DESCRIBE_GROUPS:
        ria_list_push_back(&world->calls, &call->link);
        return;
    default:
        world_refuse(world, call, RIA_ERR_UNSUPPORTED, "the test's coordinator cannot do that");
    }
}

/* --- the network -------------------------------------------------------------------------------*/

static void rpc_call(
    struct ria_rpc *rpc,
    const char *address,
    struct ria_msg *msg,
    uint32_t timeout_ms,
    ria_rpc_done_fn done,
    void *arg
)
{
    struct world *world = RIA_CONTAINER(rpc, struct world, rpc);
    struct world_call *call = calloc(1, sizeof(*call));
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload;

    RIA_ASSERT(call != NULL);
    ria_err err = envelope_open_request(msg, &header, &body, &payload);
    RIA_ASSERT(err == RIA_OK);
    ria_list_init(&call->link);
    (void)snprintf(call->address, sizeof(call->address), "%s", address);
    call->msg = msg;
    call->deadline_us = world->now_us + (int64_t)timeout_ms * 1000;
    call->done = done;
    call->arg = arg;
    call->api_key = header.api_key;
    if (strcmp(address, "tcp://c") == 0) {
        coordinator_call(world, call);
    } else {
        ria_list_push_back(&world->calls, &call->link);
    }
}

static const struct ria_rpc_ops rpc_ops = {.call = rpc_call};

static void discard_log(void *arg, const char *line, size_t size)
{
    (void)arg;
    (void)line;
    (void)size;
}

void world_init(struct world *world, uint64_t seed)
{
    *world = (struct world){
        .now_us = 1000000,
        .clock = {.mono_us = clock_mono, .wall_ms = clock_wall},
        .rpc = {.ops = &rpc_ops},
        .log = {.level = RIA_LOG_ERROR, .write = discard_log},
        .version = 1,
        .ids_next = 1000,
        .budget = {.limit = 64 * 1024 * 1024},
    };
    ria_timers_init(&world->timers, &world->clock);
    ria_rand_init(&world->rand, seed);
    ria_list_init(&world->calls);
    ria_list_init(&world->parked);
    ria_list_init(&world->finished);
    world->env = (struct ria_env){
        .clock = &world->clock,
        .timers = &world->timers,
        .rpc = &world->rpc,
        .rand = &world->rand,
        .log = &world->log,
    };
}

static void lose_all(struct world *world, struct ria_list *calls, ria_err err, bool only_late)
{
    RIA_LIST_FOREACH (link, calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        if (!only_late || call->deadline_us <= world->now_us) {
            world_lose(world, call, err);
        }
    }
}

void world_fini(struct world *world)
{
    lose_all(world, &world->calls, RIA_ERR_SHUTDOWN, false);
    lose_all(world, &world->parked, RIA_ERR_SHUTDOWN, false);
    while (run_finished(world)) {
    }
    ria_timers_fini(&world->timers);
}

struct world_topic *world_add_topic(struct world *world, const char *name, int32_t partitions)
{
    struct world_topic *topic = &world->topics[world->topic_count++];

    RIA_ASSERT(world->topic_count <= WORLD_TOPICS_MAX);
    *topic = (struct world_topic){.partition_count = partitions};
    (void)snprintf(topic->name, sizeof(topic->name), "%s", name);
    topic->id.bytes[0] = 7;
    topic->id.bytes[15] = (uint8_t)world->topic_count;
    for (int32_t p = 0; p < partitions && p < WORLD_PARTITIONS_MAX; p++) {
        topic->leaders[p] = 1 + p % WORLD_NODES;
        topic->epochs[p] = 1;
    }
    return topic;
}

void world_publish(struct world *world)
{
    struct ria_list *link;

    world->version++;
    while ((link = ria_list_pop_front(&world->parked)) != NULL) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        answer_metadata(world, call);
    }
}

void world_run(struct world *world)
{
    bool busy = true;

    while (busy) {
        lose_all(world, &world->calls, RIA_ERR_TIMEOUT, true);
        lose_all(world, &world->parked, RIA_ERR_TIMEOUT, true);
        busy = run_finished(world);
        (void)ria_timers_run(&world->timers);
        busy = busy || ria_timers_next_us(&world->timers) <= world->now_us;
    }
}

/* The nearest thing that happens by itself. */
static int64_t next_event(const struct world *world, int64_t until_us)
{
    int64_t next = ria_min_i64(until_us, ria_timers_next_us(&world->timers));

    RIA_LIST_FOREACH (link, &world->calls) {
        next = ria_min_i64(next, RIA_CONTAINER(link, struct world_call, link)->deadline_us);
    }
    RIA_LIST_FOREACH (link, &world->parked) {
        next = ria_min_i64(next, RIA_CONTAINER(link, struct world_call, link)->deadline_us);
    }
    return ria_max_i64(next, world->now_us);
}

void world_advance(struct world *world, int64_t us)
{
    int64_t until_us = world->now_us + us;

    world_run(world);
    while (world->now_us < until_us) {
        world->now_us = next_event(world, until_us);
        world_run(world);
    }
}

struct world_call *world_next_call(struct world *world, int16_t api_key)
{
    RIA_LIST_FOREACH (link, &world->calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        if (api_key < 0 || call->api_key == api_key) {
            return call;
        }
    }
    return NULL;
}

uint32_t world_call_count(const struct world *world)
{
    uint32_t count = 0;

    RIA_LIST_FOREACH (link, &world->calls) {
        (void)link;
        count++;
    }
    return count;
}
