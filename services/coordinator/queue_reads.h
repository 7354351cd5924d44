/* queue_reads: what receives were given, by the gateways' ids, so that one whose answer was lost
 * finds it again. Rows of `queue_reads`.
 *
 * A row is there from the receive until its gateway has said that it has heard, or it is too old: a
 * gateway that died says nothing. Every so many leases of the group rows are removed: one statement
 * for many of them, since they are side by side.
 *
 * Only for apply_queue_receive.c. Thread: the loop's.
 */
#pragma once

#include "services/coordinator/apply_queue.h"

enum {
    QUEUE_READ_BITS = 24,       /* of an id, which count; the others are the gateway's */
    QUEUE_READ_MS = 300 * 1000, /* longer than any gateway repeats */
    QUEUE_READ_GAP = 64,        /* offsets between ranges that are noted as one */
    QUEUE_READS_HEARD = 64,     /* leases of a group between removals of what was heard, */
    QUEUE_READS_OLD = 256,      /* and of what is too old */
};

/* Offsets among which a lease has some. */
struct queue_span {
    int32_t partition;
    int64_t first;
    int64_t last;
    int64_t lease_id;
};

/* By partition and first offset; in the operation's arena. Id 0: none. Errors: those of the arena.
 */
ria_err queue_reads_find(
    struct queue_call *queue, int64_t read_id, struct queue_span **out_spans, uint32_t *out_count
) RIA_MUST_USE;

/* The receive read_id is given this lease; its gateway has heard the answers below heard_below. */
ria_err queue_reads_forget(
    struct queue_call *queue, int64_t read_id, int64_t heard_below, int64_t lease_id
) RIA_MUST_USE;

/* ---- noting ---- */

struct queue_reading {
    struct queue_call *queue;
    int64_t read_id;
    int64_t until;
    struct queue_span span; /* to be written; lease_id is set */
    bool any;
};

/* Id 0: nothing is noted. */
void queue_reading_begin(
    struct queue_reading *reading,
    struct queue_call *queue,
    int64_t read_id,
    int64_t lease_id,
    int64_t deadline
);

/* Ranges of one partition follow one another, ascending or not. */
ria_err queue_reading_add(
    struct queue_reading *reading, int32_t partition, int64_t first, int64_t last
) RIA_MUST_USE;

/* What was added is written; more may be. */
ria_err queue_reading_end(struct queue_reading *reading) RIA_MUST_USE;
