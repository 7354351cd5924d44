#include "tests/sim/workload.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/assert.h"

#include "schemas/gen/create_topic_request.h"
#include "schemas/gen/delete_topic_request.h"
#include "schemas/gen/messages.h"

#include "tests/sim/client.h"
#include "tests/sim/inspect.h"
#include "tests/sim/world.h"

enum { CREATE_RETRY_US = 200 * 1000, CREATE_TIMEOUT_MS = 1000, CONFIGS_MAX = 4 };

static const char coordinator_address[] = "tcp://coordinator:9100";

/* ---- topics ---- */

static void on_created(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    struct workload *workload = arg;

    (void)response;
    (void)payload;
    if (err == RIA_ERR_SHUTDOWN) {
        return; /* the run is over */
    }
    if (err == RIA_OK) {
        workload->topics_made++;
    }
    if (workload->topics_made < workload->world->plan->topic_count) {
        ria_timer_start(&workload->creator->timers, &workload->create_timer, CREATE_RETRY_US);
    }
}

struct config_texts {
    char values[CONFIGS_MAX][24];
    struct create_topic_request_create_topic_config entries[CONFIGS_MAX];
    uint32_t count;
};

static void add_config(struct config_texts *texts, const char *name, int64_t value)
{
    RIA_ASSERT(texts->count < CONFIGS_MAX);
    (void)snprintf(texts->values[texts->count], sizeof(texts->values[0]), "%" PRId64, value);
    texts->entries[texts->count] = (struct create_topic_request_create_topic_config){
        .name = ria_slice_cstr(name),
        .value = ria_slice_cstr(texts->values[texts->count]),
    };
    texts->count++;
}

static void on_create_due(struct ria_timer *timer, void *arg)
{
    struct workload *workload = arg;
    const struct plan_topic *topic = &workload->world->plan->topics[workload->topics_made];
    struct config_texts texts = {.count = 0};
    struct create_topic_request request;
    char name[16];

    (void)timer;
    (void)snprintf(name, sizeof(name), "topic-%" PRIu32, workload->topics_made);
    add_config(&texts, "min.insync.replicas", topic->min_insync);
    add_config(&texts, "segment.bytes", topic->segment_bytes);
    add_config(&texts, "replica.lag.time.max.ms", topic->lag_ms);
    texts.entries[texts.count++] = (struct create_topic_request_create_topic_config){
        .name = RIA_SLICE_LITERAL("durability"),
        .value = ria_slice_cstr(topic->relaxed ? "relaxed" : "synced"),
    };
    create_topic_request_init(&request);
    request.topic_id = world_topic_id(workload->world, workload->topics_made);
    request.name = ria_slice_cstr(name);
    request.partition_count = topic->partition_count;
    request.replication_factor = topic->replicas;
    request.configs = texts.entries;
    request.configs_count = texts.count;
    client_call(
        workload->creator->client,
        coordinator_address,
        API_CREATE_TOPIC,
        &request,
        RIA_SLICE_NULL,
        CREATE_TIMEOUT_MS,
        on_created,
        workload
    );
}

/* The last topic, if any, is the doomed one. */
static const struct plan_topic *doomed_topic(const struct workload *workload)
{
    const struct plan *plan = workload->world->plan;
    const struct plan_topic *last = &plan->topics[plan->topic_count - 1];

    return last->doomed_us > 0 ? last : NULL;
}

static void on_deleted(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    struct workload *workload = arg;

    (void)response;
    (void)payload;
    if (err == RIA_ERR_SHUTDOWN) {
        return; /* the run is over */
    }
    /* The second attempt of one that was not answered finds nothing. */
    if (err == RIA_OK || err == RIA_ERR_UNKNOWN_TOPIC) {
        workload->is_deleted = true;
    } else {
        ria_timer_start(&workload->creator->timers, &workload->delete_timer, CREATE_RETRY_US);
    }
}

static void on_delete_due(struct ria_timer *timer, void *arg)
{
    struct workload *workload = arg;
    struct delete_topic_request request;
    char name[16];

    if (workload->topics_made < workload->world->plan->topic_count) {
        ria_timer_start(&workload->creator->timers, timer, CREATE_RETRY_US);
        return;
    }
    (void)snprintf(name, sizeof(name), "topic-%" PRIu32, workload->world->plan->topic_count - 1);
    delete_topic_request_init(&request);
    request.name = ria_slice_cstr(name);
    client_call(
        workload->creator->client,
        coordinator_address,
        API_DELETE_TOPIC,
        &request,
        RIA_SLICE_NULL,
        CREATE_TIMEOUT_MS,
        on_deleted,
        workload
    );
}

/* ---- life ---- */

void workload_init(struct workload *workload, struct world *world)
{
    const struct plan *plan = world->plan;

    *workload = (struct workload){.world = world};
    workload->creator = &world->nodes[plan->producers[0].client];
    ria_timer_init(&workload->create_timer, on_create_due, workload);
    ria_timer_init(&workload->delete_timer, on_delete_due, workload);
    workload->is_deleted = doomed_topic(workload) == NULL;
    for (uint32_t i = 0; i < plan->producer_count; i++) {
        producer_init(&workload->producers[i], world, &plan->producers[i]);
    }
    for (uint32_t i = 0; i < plan->reader_count; i++) {
        reader_init(&workload->readers[i], world, &plan->readers[i], i);
    }
}

void workload_fini(struct workload *workload)
{
    const struct plan *plan = workload->world->plan;

    for (uint32_t i = 0; i < plan->producer_count; i++) {
        producer_fini(&workload->producers[i]);
    }
    for (uint32_t i = 0; i < plan->reader_count; i++) {
        reader_fini(&workload->readers[i]);
    }
}

void workload_start(struct workload *workload)
{
    const struct plan *plan = workload->world->plan;

    ria_timer_start(&workload->creator->timers, &workload->create_timer, 0);
    if (!workload->is_deleted) {
        ria_timer_start(
            &workload->creator->timers, &workload->delete_timer, doomed_topic(workload)->doomed_us
        );
    }
    for (uint32_t i = 0; i < plan->producer_count; i++) {
        producer_start(&workload->producers[i]);
    }
    for (uint32_t i = 0; i < plan->reader_count; i++) {
        reader_start(&workload->readers[i]);
    }
}

void workload_finish(struct workload *workload)
{
    const struct plan *plan = workload->world->plan;

    for (uint32_t i = 0; i < plan->producer_count; i++) {
        producer_finish(&workload->producers[i]);
    }
    for (uint32_t i = 0; i < plan->reader_count; i++) {
        reader_finish(&workload->readers[i]);
    }
}

static bool is_at_end(const struct workload *workload, const struct reader *reader)
{
    int64_t end = inspect_leader_end(workload->world, reader->plan->partition);

    return reader->is_over || (end >= 0 && reader_is_at(reader, end));
}

bool workload_is_done(const struct workload *workload)
{
    const struct plan *plan = workload->world->plan;

    for (uint32_t i = 0; i < plan->producer_count; i++) {
        if (!producer_is_done(&workload->producers[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < plan->reader_count; i++) {
        if (!is_at_end(workload, &workload->readers[i])) {
            return false;
        }
    }
    return workload->topics_made == plan->topic_count && workload->is_deleted;
}

void workload_report_stuck(const struct workload *workload)
{
    struct world *world = workload->world;

    if (workload->topics_made < world->plan->topic_count) {
        world_break(world, "liveness", 0, "a topic cannot be created");
    }
    if (!workload->is_deleted) {
        world_break(world, "liveness", 0, "a topic cannot be deleted");
    }
    for (uint32_t i = 0; i < world->plan->producer_count; i++) {
        const struct producer *producer = &workload->producers[i];
        if (!producer_is_done(producer)) {
            world_break(
                world,
                "liveness",
                producer->plan->partition,
                "producer %" PRIu32 " is not done: %" PRIu32 " batches wait, last answer %s",
                producer->number,
                producer->batch_count,
                ria_err_name(producer->last_err)
            );
        }
    }
    for (uint32_t i = 0; i < world->plan->reader_count; i++) {
        const struct reader *reader = &workload->readers[i];
        if (!is_at_end(workload, reader)) {
            world_break(
                world,
                "liveness",
                reader->plan->partition,
                "reader %" PRIu32 " is at %" PRId64 " (high watermark %" PRId64
                "), the leader's end is %" PRId64 ", last answer %s",
                reader->number,
                reader->offset,
                reader->watermark,
                inspect_leader_end(world, reader->plan->partition),
                ria_err_name(reader->last_err)
            );
        }
    }
}

void workload_close(struct workload *workload)
{
    const struct plan *plan = workload->world->plan;

    ria_timer_stop(&workload->creator->timers, &workload->create_timer);
    ria_timer_stop(&workload->creator->timers, &workload->delete_timer);
    for (uint32_t i = 0; i < plan->producer_count; i++) {
        producer_close(&workload->producers[i]);
    }
    for (uint32_t i = 0; i < plan->reader_count; i++) {
        reader_close(&workload->readers[i]);
    }
}
