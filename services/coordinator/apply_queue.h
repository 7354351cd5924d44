/* apply_queue: what the operations on queues share: their limits, the settings of a group, and what
 * becomes of records when a lease ends. Only for apply_queue_*.c.
 *
 * docs/design/010-consuming.md, "Queue groups". A lease is over when the lease clock has reached
 * its deadline, whatever the row says; queue_expire() makes rows say so.
 */
#pragma once

#include <stdarg.h>

#include "services/coordinator/apply_groups.h"
#include "services/coordinator/range_rows.h"

#define QUEUE_DELAY_MS_MAX (INT64_C(30) * 24 * 60 * 60 * 1000)

enum {
    QUEUE_RECORDS_MAX = 1000,    /* in one receive. Rejected: INVALID */
    QUEUE_DELIVERIES_MAX = 1000, /* that a group may allow. Rejected: INVALID */
    QUEUE_LOCK_MS = 30000,       /* settings of a group that nobody has made otherwise */
    QUEUE_DELIVERIES = 16,
    QUEUE_DEAD_MS = 30000, /* how long a gateway has dead records */

    /* Rows of a partition. At the first bound nothing fresh is given out; what would make more rows
     * of one at the second bound is refused (LIMIT), but for the record at the position: there is
     * always a way on. */
    QUEUE_ROWS_MAX = 100000,
    QUEUE_ROWS_SPLIT_MAX = 200000,
    QUEUE_ROWS_RESERVED =
        3, /* of the latter: two for a split, one for the record at the position */

    QUEUE_CROWDED_MS = 1000, /* then one that was full is looked at again, whatever has changed */

    /* Rows of a partition that one operation makes ready: a bound on its time. */
    QUEUE_DUE_MAX = 1000,
};

/* A queue group in an operation, and one of its partitions at a time. */
struct queue_call {
    struct group_call *call;
    struct queue_row row;
    int64_t rows_before; /* row_count as it was read */
    uint32_t retry_ms[GROUP_RETRIES_MAX];
    uint32_t retry_count;
};

/* Settings that a new group begins with: lock_ms and what follows it. */
struct group_row queue_defaults(void);

/* Is it a topic's name, QUEUE_DEAD_DEFAULT, or empty? Errors: RIA_ERR_INVALID. */
ria_err queue_check_dead_topic(struct apply *apply, struct ria_slice setting) RIA_MUST_USE;

/* After the group was found: reads its retry schedule. */
void queue_call_init(struct queue_call *queue, struct group_call *call);

/* False: the group has no position in the partition. */
bool queue_open(struct queue_call *queue, const struct ria_uuid *topic_id, int32_t partition);

/* Store the partition's row if it has changed. */
ria_err queue_close(struct queue_call *queue) RIA_MUST_USE;

/* May [first, last], part of a row, become something else than the rest of it? Not at the bound.
 * The record at the position always may: it adds a row, and then nothing can add one there before
 * the position has moved, which takes at least one away. */
bool queue_may_split(const struct queue_call *queue, int64_t first, int64_t last);

/* May [first, last], whole rows or not, be finished? That may split a row, or release a held one of
 * many. At the position it adds nothing. */
bool queue_may_finish(const struct queue_call *queue, int64_t first);

/* The lease that is not settled is alive. */
bool queue_is_unsettled(const struct queue_call *queue);

/* It is over, or given back: what it covered is fresh again. */
void queue_forget_unsettled(struct queue_call *queue);

/* Until what was delivered so often and fails may be given out again. */
int64_t queue_retry_delay(const struct queue_call *queue, int32_t deliveries);

/* Why an entry is refused, in the operation's arena. Errors: those of the arena. */
ria_err queue_format(
    const struct queue_call *queue, struct ria_slice *out_text, const char *fmt, va_list args
) RIA_PRINTF(3, 0) RIA_MUST_USE;

/* ---- what becomes of records; row lies within one row of the table ---- */

/* Make *row leased until deadline: what it says about deliveries counts. */
void queue_lease(
    const struct queue_call *queue, struct range_row *row, int64_t lease_id, int64_t deadline
);

/* It waits until ready_at (0 = ready). */
ria_err queue_put_back(struct queue_call *queue, const struct range_row *row, int64_t ready_at)
    RIA_MUST_USE;

/* Its last delivery has failed: it waits until ready_at, or is dead. */
ria_err
queue_fail(struct queue_call *queue, const struct range_row *row, int64_t ready_at) RIA_MUST_USE;

/* It goes to the dead-letter topic; without one it is finished. */
ria_err queue_kill(struct queue_call *queue, const struct range_row *row, struct ria_slice reason)
    RIA_MUST_USE;

/* [first, last], which may be of many rows, is done: the next records of their keys are ready. */
ria_err queue_finish(struct queue_call *queue, int64_t first, int64_t last) RIA_MUST_USE;

/* Make ready what is due, up to QUEUE_DUE_MAX rows. *out_next: when the next one is, INT64_MAX =
 * nothing is. At the bound what would add rows by that stays as it is until there are fewer. */
ria_err queue_expire(struct queue_call *queue, int64_t *out_next) RIA_MUST_USE;
