/* stream_records: what a consumer of a stream group is given, by a read or by a live stream, as
 * lines or events: records, and cursors behind them. Noted for the judge.
 *
 * A read's answer counts as delivered when it came. So does a stream's whose client commits
 * (ack=cursor). Of one that commits what was written (ack=written) it counts when the gateway has
 * handed it to the socket: that is what is promised, and what gets lost behind it does not come
 * again.
 */
#pragma once

#include "common/base.h"
#include "common/slice.h"

#include "services/gateway/cursor.h"
#include "tests/sim/history.h"
#include "tests/sim/plan.h"
#include "tests/sim/sim_http.h"

struct world;

/* Of one partition. */
struct stream_part {
    uint32_t partition; /* of all topics */
    int64_t offset;     /* the next one */
    int64_t lease;
    bool has_records; /* that came under this lease; else it says where the group stands anyhow */
};

/* Where a cursor stands. */
struct stream_place {
    char cursor[CURSOR_TEXT_MAX + 1]; /* "": nowhere */
    struct stream_part parts[PLAN_PARTITIONS_MAX];
    uint32_t part_count;
};

struct stream_taker {
    struct world *world;
    struct stream_place *place; /* of the last cursor that came */
    uint32_t consumer;
    bool reads;    /* note that it has the records */
    bool delivers; /* ... and that they count as delivered */
    bool commits;  /* ... and may be committed by the gateway, up to any of them */
};

void stream_place_forget(struct stream_place *place);

/* An event of each of its partitions with records. */
void stream_place_note(
    const struct stream_place *place, struct world *world, uint32_t consumer, history_kind kind
);

/* A part's topic and partition as they stand in front of `"topic":`: {"topic":"t","partition":3 */
enum { STREAM_PART_TEXT_SIZE = 80 };
void stream_part_text(
    const struct world *world, const struct stream_part *part, char out[STREAM_PART_TEXT_SIZE]
);

/* Lines of records and the cursor behind them. False: they make no sense. */
bool stream_records_take(
    struct stream_taker *taker, struct ria_slice lines, struct ria_slice cursor
);

/* All that is complete of a live stream's text, lines or events; *text is what is left. False: some
 * of it makes no sense. *out_end is the word that tells of the end, null if none does. */
bool stream_records_take_live(
    struct stream_taker *taker, struct ria_slice *text, bool as_events, struct ria_slice *out_end
);

/* The header of a request for events that count as delivered where they are handed over: whose they
 * are. */
#define STREAM_RECORDS_HEADER "Sim-Consumer"

/* A gateway has handed these bytes of a stream over (sim_front_handed_fn); arg is the world. */
size_t stream_records_handed(void *arg, const struct sim_http *request, struct ria_slice bytes);
