/* The world's coordinator: metadata by version, leases, positions. */
#include <stdio.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/commit_task_request.h"
#include "schemas/gen/commit_task_response.h"
#include "schemas/gen/heartbeat_response.h"
#include "schemas/gen/list_transforms_response.h"
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/metadata_response.h"

#include "tests/unit/services/transform/world.h"

static const struct ria_uuid cluster_uuid = {{9}};
static const struct ria_uuid source_uuid = {{1}};
static const struct ria_uuid derived_uuid = {{2}};
static const struct ria_uuid errors_uuid = {{3}};
static const struct ria_uuid transform_id = {{4}};

/* Everything a Metadata reply points to. */
struct rows {
    struct metadata_response_metadata_node nodes[WORLD_NODES];
    struct metadata_response_metadata_topic topics[3];
    struct metadata_response_metadata_config config;
    struct metadata_response_metadata_partition
        partitions[WORLD_SOURCE_PARTITIONS + WORLD_DERIVED_PARTITIONS + WORLD_ERRORS_PARTITIONS];
    struct metadata_response_metadata_transform transform;
    struct metadata_response_metadata_task tasks[WORLD_SOURCE_PARTITIONS];
    char config_text[16];
    char addresses[WORLD_NODES][2];
};

static void
add_partitions(struct metadata_response *response, struct world_log *logs, int count, int64_t known)
{
    for (int i = 0; i < count; i++) {
        if (logs[i].changed_version > known) {
            response->partitions[response->partitions_count++] =
                (struct metadata_response_metadata_partition){
                    .topic_id = logs[i].topic_id,
                    .partition = i,
                    .leader = logs[i].leader,
                    .leader_epoch = logs[i].leader_epoch,
                    .partition_epoch = logs[i].leader_epoch,
                    .replicas = &logs[i].leader,
                    .replicas_count = 1,
                    .isr = &logs[i].leader,
                    .isr_count = 1,
                };
        }
    }
}

static void
add_constants(struct world *world, struct rows *rows, struct metadata_response *response)
{
    const struct ria_uuid ids[3] = {source_uuid, derived_uuid, errors_uuid};
    static const char *const names[3] = {"source", "derived", "derived.errors"};
    const int32_t counts[3] = {
        WORLD_SOURCE_PARTITIONS, WORLD_DERIVED_PARTITIONS, WORLD_ERRORS_PARTITIONS};

    for (int i = 0; i < WORLD_NODES; i++) {
        rows->addresses[i][0] = (char)('1' + i);
        rows->nodes[i] = (struct metadata_response_metadata_node){
            .node_id = i + 1,
            .address = ria_slice_of(rows->addresses[i], 1),
            .rack = RIA_SLICE_EMPTY,
        };
    }
    response->nodes = rows->nodes;
    response->nodes_count = WORLD_NODES;
    for (int i = 0; i < 3; i++) {
        rows->topics[i] = (struct metadata_response_metadata_topic){
            .topic_id = ids[i],
            .name = ria_slice_cstr(names[i]),
            .partition_count = counts[i],
            .replication_factor = 1,
        };
    }
    if (world->max_message_bytes > 0) {
        (void
        )snprintf(rows->config_text, sizeof(rows->config_text), "%u", world->max_message_bytes);
        rows->config = (struct metadata_response_metadata_config){
            .name = RIA_SLICE_LITERAL("max.message.bytes"),
            .value = ria_slice_cstr(rows->config_text),
        };
        rows->topics[1].configs = &rows->config;
        rows->topics[1].configs_count = 1;
    }
    response->topics = rows->topics;
    response->topics_count = 3;
}

static struct ria_msg *metadata(
    struct world_request *request,
    const struct request_header *header,
    struct ria_slice body,
    bool last
)
{
    struct world *world = request->world;
    struct metadata_request wanted;
    struct metadata_response response;
    struct rows rows = {.config_text = ""};
    struct ria_arena arena;

    ria_arena_init(&arena, 1024);
    ria_err err = envelope_decode_body(schema_request(API_METADATA), 0, body, &arena, &wanted);
    ria_arena_fini(&arena);
    RIA_ASSERT(err == RIA_OK);
    if (wanted.known_version >= world->version && wanted.wait_ms > 0 && !last) {
        if (request->deadline_us == 0) {
            request->deadline_us = world->now_us + wanted.wait_ms * INT64_C(1000);
        }
        return NULL;
    }
    metadata_response_init(&response);
    response.version = world->version;
    response.cluster_id = cluster_uuid;
    if (wanted.known_version == 0) {
        add_constants(world, &rows, &response);
    }
    rows.transform = (struct metadata_response_metadata_transform){
        .transform_id = transform_id,
        .name = RIA_SLICE_LITERAL("derived"),
        .deleted = world->transform_deleted,
        .sql = ria_slice_cstr(world->sql),
        .source_topic_id = source_uuid,
        .output_topic_id = derived_uuid,
        .errors_topic_id = errors_uuid,
    };
    response.transforms = &rows.transform;
    response.transforms_count = 1;
    response.partitions = rows.partitions;
    add_partitions(&response, world->source, WORLD_SOURCE_PARTITIONS, wanted.known_version);
    add_partitions(&response, world->derived, WORLD_DERIVED_PARTITIONS, wanted.known_version);
    add_partitions(&response, world->errors, WORLD_ERRORS_PARTITIONS, wanted.known_version);
    response.tasks = rows.tasks;
    for (int i = 0; i < WORLD_SOURCE_PARTITIONS; i++) {
        if (world->tasks[i].changed_version > wanted.known_version) {
            rows.tasks[response.tasks_count++] = (struct metadata_response_metadata_task){
                .transform_id = transform_id,
                .partition = i,
                .worker = world->tasks[i].worker,
                .epoch = world->tasks[i].epoch,
                .producer_id = 100 + i,
                .position = world->tasks[i].position,
            };
        }
    }
    return envelope_reply(header, &response, 0, NULL);
}

static struct ria_msg *list_transforms(struct world *world, const struct request_header *header)
{
    struct list_transforms_response_listed_task tasks[WORLD_SOURCE_PARTITIONS];
    struct list_transforms_response_listed_transform transform;
    struct list_transforms_response response;

    list_transforms_response_init(&response);
    list_transforms_response_listed_transform_init(&transform);
    transform.transform_id = transform_id;
    transform.tasks = tasks;
    transform.tasks_count = WORLD_SOURCE_PARTITIONS;
    for (int i = 0; i < WORLD_SOURCE_PARTITIONS; i++) {
        tasks[i] = (struct list_transforms_response_listed_task){
            .partition = i,
            .worker = world->tasks[i].worker,
            .epoch = world->tasks[i].epoch,
            .position = world->tasks[i].position,
            .records_in = world->tasks[i].records_in,
            .records_out = world->tasks[i].records_out,
            .errors = world->tasks[i].errors,
            .last_error = ria_slice_cstr(world->tasks[i].last_error),
        };
    }
    response.transforms = &transform;
    response.transforms_count = world->transform_deleted ? 0 : 1;
    return envelope_reply(header, &response, 0, NULL);
}

static struct ria_msg *
commit_task(struct world *world, const struct request_header *header, struct ria_slice body)
{
    struct commit_task_request commit;
    struct commit_task_response response;
    struct ria_arena arena;

    ria_arena_init(&arena, 4096);
    ria_err err = envelope_decode_body(schema_request(API_COMMIT_TASK), 0, body, &arena, &commit);
    ria_arena_fini(&arena);
    RIA_ASSERT(err == RIA_OK);
    struct world_task *task = &world->tasks[commit.partition];
    if (commit.epoch != task->epoch) {
        return envelope_reply_error(header, RIA_ERR_FENCED_PRODUCER, "the lease has moved");
    }
    if (commit.position >= task->position) {
        task->position = commit.position;
        task->records_in = commit.records_in;
        task->records_out = commit.records_out;
        task->errors = commit.errors;
        (void)snprintf(
            task->last_error,
            sizeof(task->last_error),
            RIA_SLICE_FMT,
            RIA_SLICE_ARG(commit.last_error)
        );
    }
    commit_task_response_init(&response);
    return envelope_reply(header, &response, 0, NULL);
}

struct ria_msg *world_coordinator(struct world_request *request, bool last)
{
    struct request_header header;
    struct heartbeat_response beat;
    struct ria_slice body;
    struct ria_slice payload;

    ria_err err = envelope_open_request(request->msg, &header, &body, &payload);
    RIA_ASSERT(err == RIA_OK);
    switch (header.api_key) {
    case API_METADATA:
        return metadata(request, &header, body, last);
    case API_LIST_TRANSFORMS:
        return list_transforms(request->world, &header);
    case API_COMMIT_TASK:
        return commit_task(request->world, &header, body);
    case API_HEARTBEAT:
        heartbeat_response_init(&beat);
        beat.metadata_version = request->world->version;
        return envelope_reply(&header, &beat, 0, NULL);
    default:
        RIA_ASSERT(false);
        return NULL;
    }
}

void world_assign(struct world *world, int32_t partition, const struct world_worker *worker)
{
    struct world_task *task = &world->tasks[partition];

    task->worker = transform_uuid(worker->transform);
    task->epoch++;
    task->changed_version = ++world->version;
    world_changed(world);
}
