/* queue_consumer: one who consumes from a queue, as a gateway does for its clients: it leases
 * records at the coordinator, reads them from their leaders, tells their keys where the queue is
 * ordered by key, works on what it may have, and says what became of it.
 *
 *   open -> receive -> fetch each range -> settle -> (think) -> extend? -> (think) -> say, bury
 *              ^                                                                         |
 *              +-------------------------------------------------------------------------+
 *
 * Now and then it dies with what it has, or is too late. Whatever fails on the way makes it forget
 * what it had: its locks end by themselves.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/rand.h"
#include "common/timers.h"
#include "common/uuid.h"

#include "tests/sim/history.h"
#include "tests/sim/plan.h"

struct world;
struct sim_node;
struct reader;

enum { QUEUE_RANGES_MAX = 64, QUEUE_ITEMS_MAX = 512 };

/* Leased, not read yet. */
struct queue_range {
    int32_t partition; /* of the topic */
    int64_t lease;
    int64_t first;
    int64_t last;
    int64_t deadline_ms; /* by the coordinator's clock */
    bool is_unsettled;
};

struct queue_item {
    int32_t partition;
    int64_t lease;
    int64_t offset;
    int64_t deadline_ms;
    uint64_t value;
    int64_t key; /* HISTORY_NO_KEY = none */
    bool is_unsettled;
    bool is_had; /* it is this consumer's */
    history_action action;
};

typedef enum queue_stage {
    QUEUE_STAGE_OPEN,
    QUEUE_STAGE_RECEIVE,
    QUEUE_STAGE_FETCH,
    QUEUE_STAGE_SETTLE,
    QUEUE_STAGE_EXTEND,
    QUEUE_STAGE_SAY,
    QUEUE_STAGE_BURY,
} queue_stage;

struct queue_consumer {
    struct world *world;
    const struct plan_consumer *plan;
    const struct plan_group *group;
    const struct reader *readers; /* what they were told of high watermarks it knows */
    struct sim_node *node;
    struct ria_rand rand;
    uint32_t number; /* in the history */
    uint32_t topic;
    struct ria_uuid topic_id;

    queue_stage stage;
    bool has_extended;
    int64_t received_us; /* when it asked for what it has */
    int64_t until_us;    /* what it has is its own */
    struct queue_range ranges[QUEUE_RANGES_MAX];
    uint32_t range_count;
    uint32_t range_at; /* being fetched, from fetch_offset on */
    int64_t fetch_offset;
    struct queue_item items[QUEUE_ITEMS_MAX];
    uint32_t item_count;
    struct queue_range dead[QUEUE_RANGES_MAX];
    uint32_t dead_count;

    bool is_in_flight;
    int64_t sent_us;
    bool is_finishing;
    bool is_closed;
    struct ria_timer timer;
    ria_err last_err;
};

/* Borrows plan and readers (of all partitions). */
void queue_consumer_init(
    struct queue_consumer *consumer,
    struct world *world,
    const struct plan_consumer *plan,
    uint32_t number,
    const struct reader *readers
);
void queue_consumer_fini(struct queue_consumer *consumer);

/* Begin. Its node is up. */
void queue_consumer_start(struct queue_consumer *consumer);

/* From now on without accidents. */
void queue_consumer_finish(struct queue_consumer *consumer);

void queue_consumer_close(struct queue_consumer *consumer);
