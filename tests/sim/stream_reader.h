/* stream_reader: one who reads a topic's live stream (NDJSON) through any of the gateways. Each of
 * its streams is short; it comes back with the last cursor it has, mostly to another gateway. Now
 * and then the connection breaks in the middle: what came behind the last cursor comes again.
 *
 * Within one chain of cursors every record of every partition comes in order, and none is skipped;
 * that it came once is so as well, but for the lines behind a cursor that was not reached.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/rand.h"
#include "common/timers.h"

#include "services/gateway/cursor.h"
#include "tests/sim/plan.h"
#include "tests/sim/sim_http.h"

struct world;
struct sim_node;

struct stream_reader {
    struct world *world;
    const struct plan_stream *plan;
    struct sim_node *node;
    struct ria_rand rand;
    uint32_t actor;   /* as a reader, in the history */
    uint32_t gateway; /* a node */

    char cursor[CURSOR_TEXT_MAX + 1];  /* "": none yet */
    int64_t next[PLAN_PARTITIONS_MAX]; /* by the topic's partitions: where the cursor stands */

    bool is_in_flight;
    bool is_finishing; /* no accidents any more */
    bool is_closed;
    struct ria_timer timer;
    ria_err last_err;
};

/* Borrows plan. number counts the plan's streams. */
void stream_reader_init(
    struct stream_reader *reader,
    struct world *world,
    const struct plan_stream *plan,
    uint32_t number
);
void stream_reader_fini(struct stream_reader *reader);

/* Begin. Its node is up. */
void stream_reader_start(struct stream_reader *reader);

/* From now on without accidents. */
void stream_reader_finish(struct stream_reader *reader);

/* It has everything that the partitions' leaders have. */
bool stream_reader_is_at_end(const struct stream_reader *reader);

void stream_reader_close(struct stream_reader *reader);
