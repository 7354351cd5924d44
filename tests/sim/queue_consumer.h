/* queue_consumer: one who consumes from a queue, over HTTP, through any of the gateways.
 *
 *   open -> receive -> (think) -> extend? -> (think) -> ack, nack, reject -+
 *              ^                                                          |
 *              +----------------------------------------------------------+
 *
 * Now and then it dies with what it has, or is too late. Where the answer to its words is lost it
 * says them again, or leaves it at that: its locks end by themselves.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/rand.h"
#include "common/timers.h"

#include "tests/sim/history.h"
#include "tests/sim/plan.h"
#include "tests/sim/sim_http.h"

struct world;
struct sim_node;

enum {
    QUEUE_ITEMS_MAX = 256,
    QUEUE_LOCK_SIZE = 128,   /* of one record */
    QUEUE_LOCKS_SIZE = 2100, /* of all that came together: what fits into a header */
};

struct queue_item {
    uint32_t partition; /* of all topics */
    int64_t lease;
    int64_t offset;
    uint64_t value;
    int64_t key;         /* HISTORY_NO_KEY = none */
    int64_t until_us;    /* it is this consumer's */
    int64_t deadline_ms; /* by the coordinator's clock, at the latest */
    history_action action;
    char lock[QUEUE_LOCK_SIZE];
};

typedef enum queue_stage {
    QUEUE_STAGE_OPEN,
    QUEUE_STAGE_RECEIVE,
    QUEUE_STAGE_EXTEND,
    QUEUE_STAGE_SAY, /* one action after the other */
} queue_stage;

struct queue_consumer {
    struct world *world;
    const struct plan_consumer *plan;
    const struct plan_group *group;
    struct sim_node *node;
    struct ria_rand rand;
    uint32_t number; /* in the history */
    uint32_t topic;
    uint32_t gateway; /* a node; another one now and then */

    queue_stage stage;
    struct queue_item items[QUEUE_ITEMS_MAX];
    uint32_t item_count;
    char locks[QUEUE_LOCKS_SIZE]; /* one word for all of them; "": there is none any more */

    history_action action; /* being said */
    bool is_repeat;        /* it was said before, and nobody knows what came of it */
    int64_t delay_ms;      /* of a nack */

    bool is_in_flight;
    int64_t sent_us;
    uint32_t coordinator_boots; /* when it was sent */
    int64_t clock_ms;           /* the coordinator's then; HISTORY_NO_CLOCK: it is down */
    bool is_finishing;
    bool is_closed;
    struct ria_timer timer;
    ria_err last_err;
};

/* Borrows plan. */
void queue_consumer_init(
    struct queue_consumer *consumer,
    struct world *world,
    const struct plan_consumer *plan,
    uint32_t number
);
void queue_consumer_fini(struct queue_consumer *consumer);

/* Begin. Its node is up. */
void queue_consumer_start(struct queue_consumer *consumer);

/* From now on without accidents. */
void queue_consumer_finish(struct queue_consumer *consumer);

void queue_consumer_close(struct queue_consumer *consumer);
