#include "tests/unit/services/replication/worker_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/batch.h"
#include "schemas/envelope.h"
#include "schemas/gen/heartbeat_response.h"
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/metadata_response.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_epochs_request.h"
#include "schemas/gen/replica_epochs_response.h"
#include "schemas/gen/replica_fetch_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"
#include "schemas/gen/replica_report_request.h"
#include "schemas/gen/replica_report_response.h"

enum { ARENA_MAX = 256 * 1024 * 1024, HEARTBEAT_US = 250 * 1000 };

static int64_t mono_us(const struct ria_clock *clock)
{
    return ((const struct worker_fixture
                 *)(const void *)((const char *)clock - offsetof(struct worker_fixture, clock)))
        ->now_us;
}

static int64_t wall_ms(const struct ria_clock *clock)
{
    return mono_us(clock) / 1000;
}

static void write_log(void *arg, const char *line, size_t size)
{
    (void)arg;
    if (getenv("FIXTURE_LOG") != NULL) { /* to look into a test that fails */
        (void)fprintf(stderr, "%.*s", (int)size, line);
    }
}

struct ria_uuid worker_topic_id(void)
{
    return (struct ria_uuid){{0xaa, 1}};
}

/* Node of an address "tcp://node-N:1"; 0: the coordinator. */
static int32_t node_of(const struct fake_rpc_call *call)
{
    return strncmp(call->address, "tcp://node-", 11) == 0 ? call->address[11] - '0' : 0;
}

/* ---- the coordinator ---- */

static void answer_metadata(struct worker_fixture *w, struct fake_rpc_call *call)
{
    struct metadata_response_metadata_node nodes[WORKER_NODES];
    struct metadata_response_metadata_partition partitions[WORKER_PARTITIONS_MAX];
    int32_t replicas[WORKER_NODES] = {1, 2, 3};
    char addresses[WORKER_NODES][32];
    struct metadata_response_metadata_topic topic = {
        .topic_id = worker_topic_id(),
        .name = ria_slice_cstr("topic"),
        .deleted = w->deleted,
        .partition_count = w->partitions,
        .replication_factor = WORKER_NODES,
    };
    struct metadata_request request;
    struct metadata_response response;

    fake_rpc_decode(call, &w->arena, &request);
    if (request.known_version >= w->version) {
        return; /* parked */
    }
    for (int32_t i = 0; i < WORKER_NODES; i++) {
        (void)snprintf(addresses[i], sizeof(addresses[i]), "tcp://node-%d:1", i + 1);
        nodes[i] = (struct metadata_response_metadata_node){
            .node_id = i + 1,
            .address = ria_slice_cstr(addresses[i]),
            .rack = ria_slice_cstr(""),
            .incarnation = w->incarnation[i + 1],
        };
    }
    for (int32_t i = 0; i < w->partitions; i++) {
        partitions[i] = (struct metadata_response_metadata_partition){
            .topic_id = topic.topic_id,
            .partition = i,
            .leader = 1,
            .leader_epoch = w->leader_epoch,
            .partition_epoch = (int32_t)w->version,
            .replicas = replicas,
            .replicas_count = WORKER_NODES,
            .isr = replicas,
            .isr_count = WORKER_NODES - w->apart,
            .unfit = &w->unfit,
            .unfit_count = w->unfit > 0 ? 1 : 0,
            .forced_epoch = -1,
        };
    }
    metadata_response_init(&response);
    response.version = w->version;
    response.cluster_id = (struct ria_uuid){{1}};
    response.nodes = nodes;
    response.nodes_count = WORKER_NODES;
    response.topics = &topic;
    response.topics_count = 1;
    response.partitions = partitions;
    response.partitions_count = w->deleted ? 0 : (uint32_t)w->partitions;
    fake_rpc_answer(call, &response);
}

static void answer_heartbeat(struct worker_fixture *w, struct fake_rpc_call *call)
{
    struct ria_uuid workers[2] = {{{7}}, {{8}}};
    struct heartbeat_response response;

    w->beat_us = w->now_us;
    heartbeat_response_init(&response);
    response.metadata_version = w->version;
    response.worker_index = 0;
    response.worker_count = 1 + w->other_workers;
    response.workers = workers;
    response.workers_count = (uint32_t)response.worker_count;
    fake_rpc_answer(call, &response);
}

/* ---- the nodes ---- */

static void answer_epochs(struct worker_fixture *w, struct fake_rpc_call *call)
{
    struct replica_epochs_response_replica_epochs_result results[WORKER_PARTITIONS_MAX];
    struct replica_epochs_request request;
    struct replica_epochs_response response = {.partitions = results};

    fake_rpc_decode(call, &w->arena, &request);
    for (uint32_t i = 0; i < request.partitions_count; i++) {
        results[i] = (struct replica_epochs_response_replica_epochs_result){
            .topic_id = request.partitions[i].topic_id,
            .partition = request.partitions[i].partition,
            .end_offset = w->leader_end,
        };
    }
    response.partitions_count = request.partitions_count;
    fake_rpc_answer(call, &response);
}

static void answer_prepare(struct worker_fixture *w, struct fake_rpc_call *call)
{
    struct replica_prepare_response_replica_prepared_partition results[WORKER_PARTITIONS_MAX];
    struct replica_prepare_request request;
    struct replica_prepare_response response = {.partitions = results};
    int32_t node = node_of(call);

    fake_rpc_decode(call, &w->arena, &request);
    w->prepare_calls[node]++;
    w->prepares[node] += request.partitions_count;
    if (w->unreachable[node]) {
        fake_rpc_fail(call, RIA_ERR_DISCONNECTED);
        return;
    }
    for (uint32_t i = 0; i < request.partitions_count; i++) {
        results[i] = (struct replica_prepare_response_replica_prepared_partition){
            .topic_id = request.partitions[i].topic_id,
            .partition = request.partitions[i].partition,
            .end_offset = w->follower_end[node],
        };
    }
    response.partitions_count = request.partitions_count;
    fake_rpc_answer(call, &response);
}

static void answer_report(struct worker_fixture *w, struct fake_rpc_call *call)
{
    struct replica_report_response_replica_reported_partition results[4 * WORKER_PARTITIONS_MAX];
    struct replica_report_request request;
    struct replica_report_response response = {.partitions = results};

    fake_rpc_decode(call, &w->arena, &request);
    RIA_ASSERT(request.partitions_count <= RIA_COUNT(results));
    for (uint32_t i = 0; i < request.partitions_count; i++) {
        results[i] = (struct replica_report_response_replica_reported_partition){
            .topic_id = request.partitions[i].topic_id,
            .partition = request.partitions[i].partition,
        };
        w->reported[request.partitions[i].replica] = request.partitions[i].end_offset;
    }
    w->reports += request.partitions_count;
    response.partitions_count = request.partitions_count;
    fake_rpc_answer(call, &response);
}

/* ---- the world ---- */

/* True: something was answered. */
static bool play(struct worker_fixture *w)
{
    static const struct {
        int16_t api_key;
        void (*answer)(struct worker_fixture *w, struct fake_rpc_call *call);
    } players[] = {
        {API_REPLICA_EPOCHS, answer_epochs},
        {API_REPLICA_PREPARE, answer_prepare},
        {API_REPLICA_REPORT, answer_report},
    };
    struct fake_rpc_call *call = NULL;
    bool any = false;

    ria_arena_reset(&w->arena);
    for (size_t i = 0; i < RIA_COUNT(players); i++) {
        while ((call = fake_rpc_find(&w->rpc, players[i].api_key)) != NULL) {
            players[i].answer(w, call);
            any = true;
        }
    }
    call = fake_rpc_find(&w->rpc, API_HEARTBEAT);
    if (call != NULL && (w->beat_us == 0 || w->now_us >= w->beat_us + HEARTBEAT_US)) {
        answer_heartbeat(w, call);
    }
    call = fake_rpc_find(&w->rpc, API_METADATA);
    if (call != NULL) {
        answer_metadata(w, call);
    }
    for (int32_t node = 1; node <= WORKER_NODES; node++) {
        while ((w->appends_by_itself[node] || w->unreachable[node]) &&
               (call = worker_append(w, node, 0)) != NULL) {
            if (w->unreachable[node]) {
                fake_rpc_fail(call, RIA_ERR_DISCONNECTED);
            } else {
                worker_answer_append(w, call);
            }
            any = true;
        }
    }
    return any;
}

void worker_run_ms(struct worker_fixture *w, int64_t ms)
{
    int64_t end_us = w->now_us + ms * 1000;

    (void)play(w);
    while (ria_timers_next_us(&w->timers) <= end_us) {
        w->now_us = ria_max_i64(w->now_us, ria_timers_next_us(&w->timers));
        (void)ria_timers_run(&w->timers);
        (void)play(w);
        replication_check(w->worker);
    }
    w->now_us = end_us;
}

void worker_init(struct worker_fixture *w, int32_t partitions, const int64_t ends[2], int64_t rate)
{
    struct replication_options options = {
        .coordinator = "tcp://coordinator:1", .catch_up_bytes_per_second = rate};

    RIA_ASSERT(partitions <= WORKER_PARTITIONS_MAX);

    memset(w, 0, sizeof(*w));
    w->clock = (struct ria_clock){.mono_us = mono_us, .wall_ms = wall_ms};
    w->now_us = 1000000000;
    w->log = (struct ria_log){.level = RIA_LOG_DEBUG, .write = write_log, .arg = w};
    w->partitions = partitions;
    w->leader_epoch = 5;
    w->version = 1;
    w->leader_end = ria_max_i64(ends[0], ends[1]);
    w->follower_end[2] = ends[0];
    w->follower_end[3] = ends[1];
    ria_rand_init(&w->rand, 1);
    ria_timers_init(&w->timers, &w->clock);
    fake_rpc_init(&w->rpc);
    ria_arena_init(&w->arena, ARENA_MAX);
    w->env = (struct ria_env){
        .clock = &w->clock,
        .timers = &w->timers,
        .rpc = &w->rpc.rpc,
        .rand = &w->rand,
        .log = &w->log,
    };
    ria_err err = replication_new(&w->env, &options, &w->worker);
    RIA_ASSERT(err == RIA_OK);
    replication_start(w->worker);
    worker_run_ms(w, 20);
}

void worker_fini(struct worker_fixture *w)
{
    replication_check(w->worker);
    fake_rpc_fini(&w->rpc);
    replication_free(w->worker);
    ria_arena_fini(&w->arena);
    ria_timers_fini(&w->timers);
}

void worker_publish(struct worker_fixture *w)
{
    w->version++;
    worker_run_ms(w, 0);
    worker_run_ms(w, 0);
}

/* ---- fetches and appends ---- */

static bool is_call(const struct fake_rpc_call *call, int16_t api_key)
{
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload;

    return envelope_open_request(call->msg, &header, &body, &payload) == RIA_OK &&
           header.api_key == api_key;
}

struct replica_fetch_request
worker_open_fetch(struct worker_fixture *w, const struct fake_rpc_call *call)
{
    struct replica_fetch_request request;

    fake_rpc_decode(call, &w->arena, &request);
    return request;
}

struct fake_rpc_call *worker_fetch(struct worker_fixture *w, bool in_session, uint32_t index)
{
    RIA_LIST_FOREACH (it, &w->rpc.calls) {
        struct fake_rpc_call *call = RIA_CONTAINER(it, struct fake_rpc_call, link);
        if (is_call(call, API_REPLICA_FETCH) &&
            (worker_open_fetch(w, call).session_id >= 0) == in_session && index-- == 0) {
            return call;
        }
    }
    return NULL;
}

uint32_t worker_fetch_count(struct worker_fixture *w, bool in_session)
{
    uint32_t count = 0;

    while (worker_fetch(w, in_session, count) != NULL) {
        count++;
    }
    return count;
}

/* `count` batches of one record; the memory is the caller's to free. */
static struct ria_slice
new_batches(int64_t base_offset, int32_t count, int32_t leader_epoch, size_t size)
{
    struct batch_builder builder;
    uint8_t *value = calloc(1, size);

    RIA_ASSERT(value != NULL);
    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    ria_err err =
        batch_builder_add(&builder, 1000, RIA_SLICE_NULL, ria_slice_of(value, size), NULL, 0);
    RIA_ASSERT(err == RIA_OK);
    struct ria_slice one = batch_builder_finish(&builder, -1, -1, -1);
    uint8_t *all = malloc(one.size * (size_t)count);
    RIA_ASSERT(all != NULL);
    for (int32_t i = 0; i < count; i++) {
        uint8_t *batch = all + one.size * (size_t)i;
        memcpy(batch, one.data, one.size);
        batch_patch(batch, base_offset + i, leader_epoch);
    }
    size_t total = one.size * (size_t)count;
    batch_builder_fini(&builder);
    free(value);
    return ria_slice_of(all, total);
}

void worker_answer_fetch(
    struct worker_fixture *w,
    struct fake_rpc_call *call,
    int32_t partition,
    int64_t base_offset,
    int32_t count,
    size_t size
)
{
    struct ria_slice batches = RIA_SLICE_NULL;
    struct replica_fetch_response_replica_fetched_partition fetched = {
        .topic_id = worker_topic_id(),
        .partition = partition,
        .end_offset = base_offset + count,
        .config_epoch = w->config_epoch,
    };
    struct replica_fetch_response response = {.partitions = &fetched, .partitions_count = 1};

    if (count > 0) {
        batches = new_batches(base_offset, count, w->leader_epoch, size);
        fetched.size = (int32_t)batches.size;
    }
    if (partition < 0) {
        response.partitions_count = 0;
    }
    fake_rpc_answer_with(call, &response, batches);
    free((void *)(uintptr_t)batches.data);
}

struct fake_rpc_call *worker_append(struct worker_fixture *w, int32_t node, uint32_t index)
{
    RIA_LIST_FOREACH (it, &w->rpc.calls) {
        struct fake_rpc_call *call = RIA_CONTAINER(it, struct fake_rpc_call, link);
        if (is_call(call, API_REPLICA_APPEND) && node_of(call) == node && index-- == 0) {
            return call;
        }
    }
    return NULL;
}

uint32_t worker_append_count(struct worker_fixture *w, int32_t node)
{
    uint32_t count = 0;

    while (worker_append(w, node, count) != NULL) {
        count++;
    }
    return count;
}

struct replica_append_request
worker_open_append(struct worker_fixture *w, const struct fake_rpc_call *call)
{
    struct replica_append_request request;

    fake_rpc_decode(call, &w->arena, &request);
    return request;
}

void worker_answer_append(struct worker_fixture *w, struct fake_rpc_call *call)
{
    struct replica_append_response_replica_appended_partition results[512];
    struct replica_append_request request = worker_open_append(w, call);
    struct replica_append_response response = {.partitions = results};

    RIA_ASSERT(request.partitions_count <= RIA_COUNT(results));
    for (uint32_t i = 0; i < request.partitions_count; i++) {
        results[i] = (struct replica_append_response_replica_appended_partition){
            .topic_id = request.partitions[i].topic_id,
            .partition = request.partitions[i].partition,
            .end_offset = INT64_MAX, /* the worker counts what it sent */
        };
        w->append_bytes[node_of(call)] += (uint32_t)request.partitions[i].size;
    }
    response.partitions_count = request.partitions_count;
    fake_rpc_answer(call, &response);
}
