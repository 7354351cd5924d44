/* workload: the load of a plan: its producers, readers and consumers, and what is asked beside
 * (admin.h). */
#pragma once

#include "common/base.h"

#include "tests/sim/admin.h"
#include "tests/sim/inspect.h"
#include "tests/sim/plan.h"
#include "tests/sim/producer.h"
#include "tests/sim/queue_consumer.h"
#include "tests/sim/reader.h"
#include "tests/sim/stream_consumer.h"
#include "tests/sim/stream_reader.h"

struct world;

/* Of a stream group or of a queue. */
struct workload_consumer {
    bool is_queue;
    union {
        struct stream_consumer stream;
        struct queue_consumer queue;
    } as;
};

struct workload {
    struct world *world;
    struct admin admin;
    struct producer producers[PLAN_PRODUCERS_MAX];
    struct reader readers[PLAN_READERS_MAX];
    struct workload_consumer consumers[PLAN_CONSUMERS_MAX];
    struct inspect_count counts[PLAN_PARTITIONS_MAX]; /* of the transforms' sources */
    struct stream_reader streams[PLAN_STREAMS_MAX];
};

void workload_init(struct workload *workload, struct world *world);

/* The clients' nodes are down again. */
void workload_fini(struct workload *workload);

/* Begin. The clients' nodes are up. */
void workload_start(struct workload *workload);

/* The faults are over: from now on everybody must get what he asks for, soon. */
void workload_finish(struct workload *workload);

/* Every producer is done, and every reader is at its partition's end. */
bool workload_is_done(struct workload *workload);

/* Records that groups and queues have not got yet, or have not said so. */
int64_t workload_backlog(const struct workload *workload);

/* Say which are not (world_break). */
void workload_report_stuck(struct workload *workload);

/* The run is over. */
void workload_close(struct workload *workload);
