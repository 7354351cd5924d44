/* offers: partitions that the coordinator has offered to a call of a group or a queue, and what its
 * gateway finds out about them: where they begin, whether they have records.
 *
 * Partitions without a position need a start: where the log begins, or ends. Of the others a hint
 * (marks.h) says whether there is more than the position; where there is none, or the call will not
 * wait, the leaders are asked once.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/uuid.h"

#include "services/gateway/gateway.h"
#include "services/gateway/marks.h"

struct offers;
typedef void (*offers_fn)(struct offers *offers);

/* Storage is the caller's until what is under way has ended. */
struct offers {
    /* the caller's */
    struct gateway *gateway;
    struct ria_arena *arena; /* what was offered lives there; reset with each answer */
    bool from_latest;        /* those without a position start at the end */
    offers_fn started;       /* after offers_find_starts() */
    offers_fn looked;        /* after offers_look() */
    void *arg;
    /* out */
    struct marks_at *at; /* those with a position */
    uint32_t count;
    struct marks_at *fresh; /* those without; the offset is the start, once it is known, else -1 */
    uint32_t fresh_count;
    bool starts_tried;
    /* private */
    bool has_looked;
    struct marks_probe probe;
};

/* Room for as many as an answer offers, and none of them yet. Errors: those of the arena. */
ria_err offers_begin(struct offers *offers, uint32_t count) RIA_MUST_USE;

/* One that our view does not have, yet or any more, is left alone. */
void offers_add(
    struct offers *offers, const struct ria_uuid *topic_id, int32_t partition, int64_t offset
);

/* Something has happened: what was offered may not be what is free now. */
void offers_forget(struct offers *offers);

/* One of them has records, by the hints. */
bool offers_have_news(const struct offers *offers);

/* Asks the leaders of the fresh ones. started runs once, never from inside; fresh then has those
 * that have answered. Errors: those of the arena, and started does not run. */
ria_err offers_find_starts(struct offers *offers) RIA_MUST_USE;

/* Asks the leaders where they end, once in a call, if that is not known of all or the call does not
 * wait. False: nobody is asked; else looked runs once, never from inside. */
bool offers_look(struct offers *offers, bool waits);
