#include "tests/sim/workload.h"

#include <inttypes.h>

#include "tests/sim/consumers.h"
#include "tests/sim/dead_letters.h"
#include "tests/sim/inspect.h"
#include "tests/sim/world.h"

void workload_init(struct workload *workload, struct world *world)
{
    const struct plan *plan = world->plan;

    *workload = (struct workload){.world = world};
    admin_init(&workload->admin, world);
    for (uint32_t i = 0; i < plan->producer_count; i++) {
        producer_init(&workload->producers[i], world, &plan->producers[i]);
    }
    for (uint32_t i = 0; i < plan->reader_count; i++) {
        reader_init(&workload->readers[i], world, &plan->readers[i], i);
    }
    for (uint32_t i = 0; i < plan->consumer_count; i++) {
        const struct plan_consumer *consumer = &plan->consumers[i];
        struct workload_consumer *to = &workload->consumers[i];
        to->is_queue = plan->groups[consumer->group].is_queue;
        if (to->is_queue) {
            queue_consumer_init(&to->as.queue, world, consumer, i);
        } else {
            stream_consumer_init(&to->as.stream, world, consumer, i);
        }
    }
    for (uint32_t i = 0; i < plan->stream_count; i++) {
        stream_reader_init(&workload->streams[i], world, &plan->streams[i], i);
    }
}

/* A function of every consumer, of whichever kind. */
#define EACH_CONSUMER(workload, verb)                                           \
    for (uint32_t i_ = 0; i_ < (workload)->world->plan->consumer_count; i_++) { \
        struct workload_consumer *consumer_ = &(workload)->consumers[i_];       \
        if (consumer_->is_queue) {                                              \
            queue_consumer_##verb(&consumer_->as.queue);                        \
        } else {                                                                \
            stream_consumer_##verb(&consumer_->as.stream);                      \
        }                                                                       \
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
    EACH_CONSUMER(workload, fini)
    for (uint32_t i = 0; i < plan->stream_count; i++) {
        stream_reader_fini(&workload->streams[i]);
    }
}

void workload_start(struct workload *workload)
{
    const struct plan *plan = workload->world->plan;

    admin_start(&workload->admin);
    for (uint32_t i = 0; i < plan->producer_count; i++) {
        producer_start(&workload->producers[i]);
    }
    for (uint32_t i = 0; i < plan->reader_count; i++) {
        reader_start(&workload->readers[i]);
    }
    EACH_CONSUMER(workload, start)
    for (uint32_t i = 0; i < plan->stream_count; i++) {
        stream_reader_start(&workload->streams[i]);
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
    EACH_CONSUMER(workload, finish)
    for (uint32_t i = 0; i < plan->stream_count; i++) {
        stream_reader_finish(&workload->streams[i]);
    }
}

static bool is_at_end(const struct workload *workload, const struct reader *reader)
{
    int64_t end = inspect_leader_end(workload->world, reader->plan->partition);

    return reader->is_over || (end >= 0 && reader_is_at(reader, end));
}

/* NULL: every transform has passed on what it must. */
static const struct plan_topic *find_lagging(struct workload *workload, int64_t *out_missing)
{
    const struct plan *plan = workload->world->plan;

    for (uint32_t i = 0; i < plan->topic_count; i++) {
        if (plan->topics[i].kind == PLAN_TOPIC_DERIVED &&
            !inspect_is_derived(workload->world, i, workload->counts, out_missing)) {
            return &plan->topics[i];
        }
    }
    return NULL;
}

bool workload_is_done(struct workload *workload)
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
    for (uint32_t i = 0; i < plan->stream_count; i++) {
        if (!stream_reader_is_at_end(&workload->streams[i])) {
            return false;
        }
    }
    int64_t missing = 0;
    return admin_is_done(&workload->admin) && find_lagging(workload, &missing) == NULL;
}

int64_t workload_backlog(const struct workload *workload)
{
    /* One that is just being buried counts as one. */
    return consumers_backlog(workload->world) + !dead_letters_are_readable(workload->world);
}

static void report_stuck_group(const struct workload *workload)
{
    struct world *world = workload->world;
    uint32_t group = 0;
    uint32_t partition = 0;
    int64_t position = 0;

    if (consumers_find_behind(world, &group, &partition, &position)) {
        world_break(
            world,
            "liveness",
            partition,
            "group %" PRIu32 " is at %" PRId64 " of partition %" PRIu32
            ", the leader's end is %" PRId64,
            group,
            position,
            partition,
            inspect_leader_end(world, partition)
        );
    }
}

void workload_report_stuck(struct workload *workload)
{
    struct world *world = workload->world;

    int64_t missing = 0;

    admin_report_stuck(&workload->admin);
    report_stuck_group(workload);
    for (uint32_t i = 0; i < world->plan->stream_count; i++) {
        if (!stream_reader_is_at_end(&workload->streams[i])) {
            world_break(
                world,
                "liveness",
                world->plan->topics[world->plan->streams[i].topic].first_partition,
                "stream %" PRIu32 " has not come to the end, last answer %s",
                i,
                ria_err_name(workload->streams[i].last_err)
            );
        }
    }
    const struct plan_topic *lagging = find_lagging(workload, &missing);
    if (lagging != NULL) {
        world_break(
            world,
            "liveness",
            lagging->first_partition,
            "the transform has not passed on %" PRId64 " records of its source",
            missing
        );
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

    admin_close(&workload->admin);
    for (uint32_t i = 0; i < plan->producer_count; i++) {
        producer_close(&workload->producers[i]);
    }
    for (uint32_t i = 0; i < plan->reader_count; i++) {
        reader_close(&workload->readers[i]);
    }
    EACH_CONSUMER(workload, close)
    for (uint32_t i = 0; i < plan->stream_count; i++) {
        stream_reader_close(&workload->streams[i]);
    }
}
