/* stream_consumer: one who consumes as one of a stream group, over HTTP, through any of the
 * gateways.
 *
 * It reads, in single calls or by short live streams (events, lines) one after the other, works on
 * what came, and says so with the next read or in a call of its own; now and then it dies with what
 * it has and comes back without knowing anything, extends its leases, gives them back, or leaves
 * the group.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/rand.h"
#include "common/timers.h"

#include "tests/sim/plan.h"
#include "tests/sim/stream_records.h"

struct world;
struct sim_node;

typedef enum stream_call {
    STREAM_READ,
    STREAM_LIVE, /* the same, as a stream */
    STREAM_COMMIT,
    STREAM_EXTEND,
    STREAM_RELEASE,
    STREAM_LEAVE,
    STREAM_RESET, /* an operator's */
} stream_call;

struct stream_consumer {
    struct world *world;
    const struct plan_consumer *plan;
    const struct plan_group *group;
    struct sim_node *node;
    struct ria_rand rand;
    uint32_t number;  /* in the history */
    uint32_t gateway; /* a node; another one after a failure */

    struct stream_place has; /* what it was given, and has not forgotten */
    bool resets;             /* it is also the operator who sets its group back */
    bool has_reset;

    stream_call call; /* the one under way */
    bool is_in_flight;
    bool is_finishing; /* no accidents any more */
    bool is_closed;
    struct ria_timer timer;
    ria_err last_err;
};

/* Borrows plan. */
void stream_consumer_init(
    struct stream_consumer *consumer,
    struct world *world,
    const struct plan_consumer *plan,
    uint32_t number
);
void stream_consumer_fini(struct stream_consumer *consumer);

/* Begin. Its node is up. */
void stream_consumer_start(struct stream_consumer *consumer);

/* From now on without accidents. */
void stream_consumer_finish(struct stream_consumer *consumer);

void stream_consumer_close(struct stream_consumer *consumer);
