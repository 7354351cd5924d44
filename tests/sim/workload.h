/* workload: the topics of a plan, made through the coordinator, and its producers and readers.
 */
#pragma once

#include "common/base.h"
#include "common/timers.h"

#include "tests/sim/plan.h"
#include "tests/sim/producer.h"
#include "tests/sim/reader.h"

struct world;
struct sim_node;

struct workload {
    struct world *world;
    struct sim_node *creator; /* the node that makes the topics */
    uint32_t topics_made;
    struct ria_timer create_timer;
    struct ria_timer delete_timer;
    bool is_deleted; /* the doomed topic, if there is one */
    struct producer producers[PLAN_PRODUCERS_MAX];
    struct reader readers[PLAN_READERS_MAX];
};

void workload_init(struct workload *workload, struct world *world);

/* The clients' nodes are down again. */
void workload_fini(struct workload *workload);

/* Begin. The clients' nodes are up. */
void workload_start(struct workload *workload);

/* The faults are over: from now on everybody must get what he asks for, soon. */
void workload_finish(struct workload *workload);

/* Every producer is done, and every reader is at its partition's end. */
bool workload_is_done(const struct workload *workload);

/* Say which are not (world_break). */
void workload_report_stuck(const struct workload *workload);

/* The run is over. */
void workload_close(struct workload *workload);
