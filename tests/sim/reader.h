/* reader: reads one partition from its beginning on, from the leader as a gateway does, or over
 * HTTP; now and then it goes back and reads again what it has read.
 */
#pragma once

#include "common/base.h"
#include "common/rand.h"
#include "common/timers.h"
#include "common/uuid.h"

#include "tests/sim/plan.h"

struct world;
struct sim_node;

struct reader {
    struct world *world;
    const struct plan_reader *plan;
    struct sim_node *node;
    struct ria_rand rand;
    uint32_t number; /* in the history */
    struct ria_uuid topic_id;
    int32_t partition; /* of the topic */

    uint32_t gateway; /* a node, if its plan says so; another one after a failure */

    int64_t offset; /* to be read next */
    int64_t watermark;
    int32_t epoch; /* of the fetch under way; HISTORY_NO_EPOCH over HTTP */
    bool is_in_flight;
    bool is_finishing; /* no jumps any more */
    bool is_closed;
    bool is_over; /* its topic was deleted */
    struct ria_timer timer;
    ria_err last_err;
};

/* Borrows plan. */
void reader_init(
    struct reader *reader, struct world *world, const struct plan_reader *plan, uint32_t number
);
void reader_fini(struct reader *reader);

/* Begin. Its node is up. */
void reader_start(struct reader *reader);

/* Go to the end and stay there. */
void reader_finish(struct reader *reader);

/* It has read everything below the offset, and knows of nothing behind it. */
bool reader_is_at(const struct reader *reader, int64_t offset);

void reader_close(struct reader *reader);
