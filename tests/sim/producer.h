/* producer: writes one partition: batches in order, some of them under way, the same again with the
 * same sequence until the outcome is known. Straight to the leader, as a gateway does, or over
 * HTTP.
 *
 * An idempotent one repeats a batch until it is stored, or (gives_up) until every batch it has was
 * refused definitely some times; then none of them is stored, and their sequences are used again. A
 * plain one repeats a batch only after a definite refusal; an unknown outcome stays unknown.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/list.h"
#include "common/rand.h"
#include "common/timers.h"
#include "common/uuid.h"

#include "schemas/batch.h"

#include "tests/sim/plan.h"

struct world;
struct sim_node;

/* A batch without a final answer. */
struct outgoing {
    struct ria_list link;
    struct producer *producer;
    uint32_t ordinal; /* counts the batches */
    uint32_t number;  /* of its first value */
    uint32_t count;
    uint32_t padding;
    int32_t sequence;
    int64_t deliver_at_ms; /* by the wall clock; 0 = at once */
    uint32_t attempts;
    bool is_in_flight;
    bool is_unknown; /* some attempt ended without a clear answer */
};

struct producer {
    struct world *world;
    const struct plan_producer *plan;
    struct sim_node *node;
    struct ria_rand rand;
    uint32_t number; /* in the history */
    struct ria_uuid topic_id;
    int32_t partition; /* of the topic */

    uint32_t gateway; /* a node, if its plan says so; another one after a failure */

    int64_t producer_id; /* -1: none (yet) */
    bool wants_id;
    int32_t next_sequence;
    uint32_t next_number;
    uint32_t next_ordinal;
    struct ria_list batches; /* not answered, oldest first */
    uint32_t batch_count;
    uint32_t in_flight;
    bool is_recovering; /* something failed: all answers first, then a pause, then again */
    struct ria_timer think_timer;
    struct ria_timer retry_timer;
    struct batch_builder builder;

    bool is_finishing; /* one last batch that is acknowledged, then no more */
    bool probe_sent;
    uint32_t probe_number; /* first value of the last batch */
    bool probe_acked;
    bool is_closed;
    bool is_over; /* its topic was deleted */
    ria_err last_err;
};

/* Borrows plan. Takes its number from the world's history. */
void producer_init(
    struct producer *producer, struct world *world, const struct plan_producer *plan
);
void producer_fini(struct producer *producer);

/* Begin. Its node is up. */
void producer_start(struct producer *producer);

/* The faults are over: send one batch more, and be done when it is acknowledged. */
void producer_finish(struct producer *producer);
bool producer_is_done(const struct producer *producer);

/* The run is over: what is not answered is unknown. */
void producer_close(struct producer *producer);
