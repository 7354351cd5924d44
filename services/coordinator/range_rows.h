/* range_rows: what of a queue's partition is in which state: its row of `group_partitions` and the
 * rows of `group_ranges` between position and frontier. docs/design/010-consuming.md, "Queue
 * groups".
 *
 * Invariants (range_rows_check):
 * - the rows cover [position, frontier) without gap or overlap; row_count is how many there are,
 * and leased, waiting, held and dead are their records by state;
 * - no DONE row at the position, no two DONE rows side by side;
 * - of a key, the first row that is not DONE is not HELD and all later ones are; a row that has a
 *   key and is not HELD is one record.
 *
 * What is changed here is written to `group_ranges` at once, and to struct queue_row, which the
 * caller stores in the end.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"
#include "common/uuid.h"

#include "services/coordinator/meta_db.h"
#include "services/coordinator/rows.h"

typedef enum range_state {
    RANGE_LEASED = 1,
    RANGE_WAITING = 2,
    RANGE_HELD = 3,
    RANGE_DONE = 4,
    RANGE_DEAD = 5,
} range_state;

enum { RANGE_TEXT_MAX = 255 };

struct range_text {
    uint8_t size;
    char data[RANGE_TEXT_MAX];
};

/* What is longer than RANGE_TEXT_MAX is cut off. */
void range_text_set(struct range_text *text, struct ria_slice value);
struct ria_slice range_text_get(const struct range_text *text);

struct range_row {
    int64_t first;
    int64_t last;
    range_state state;
    int64_t lease_id; /* 0 = none */
    int64_t deadline; /* of the lease */
    int64_t ready_at; /* when it may be given out; 0 = it may; HELD and DONE: 0, and it may not */
    int32_t deliveries;
    bool has_key;
    int64_t key;
    struct range_text holder;
    struct range_text reason;
};

/* A partition of a queue group. */
struct queue_row {
    struct meta_db *db;
    int64_t group_id;
    struct ria_uuid topic_id;
    int32_t partition;
    bool touched; /* it differs from what is stored */
    int64_t position;
    int64_t committed_ms; /* wall clock of the last acknowledgement, for people */
    int64_t frontier;
    int64_t space; /* whose rows of group_ranges it has */
    int64_t row_count;
    int64_t leased;    /* records that are LEASED */
    int64_t waiting;   /* WAITING or HELD */
    int64_t held;      /* HELD */
    int64_t dead;      /* DEAD; the others up to the frontier are DONE */
    int64_t named_end; /* largest end a gateway has named beside an unsettled lease */
    int64_t discarded; /* dead records that were finished for want of a dead-letter topic */

    /* The lease whose keys are not known yet. It covers [frontier, unsettled_end). */
    int64_t unsettled; /* 0 = none */
    int64_t unsettled_end;
    int64_t unsettled_deadline;
    struct range_text unsettled_holder;
};

/* False: the group has no position in this partition yet. Borrows db. */
bool queue_row_read(
    struct meta_db *db,
    int64_t group_id,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct queue_row *out_row
);

/* A new partition whose position is start. */
ria_err queue_row_insert(
    struct meta_db *db,
    int64_t group_id,
    const struct ria_uuid *topic_id,
    int32_t partition,
    int64_t start
) RIA_MUST_USE;

/* Nothing is written if it is not touched. */
ria_err queue_row_store(struct queue_row *row) RIA_MUST_USE;

/* ---- finding ---- */

/* The rows that hold any of [first, last], ascending, until visit() says false. It may not change
 * the rows. */
typedef bool (*range_visit_fn)(void *arg, const struct range_row *row);
void range_rows_visit(
    struct queue_row *queue, int64_t first, int64_t last, range_visit_fn visit, void *arg
);

/* The row that holds offset. False: offset is not in [position, frontier). */
bool range_rows_at(struct queue_row *queue, int64_t offset, struct range_row *out_row);

/* The lowest one that may be given out (WAITING, ready_at 0) and ends at floor or behind it. */
bool range_rows_ready(struct queue_row *queue, int64_t floor, struct range_row *out_row);

/* Of those LEASED or WAITING whose ready_at is not 0, the earliest. */
bool range_rows_due(struct queue_row *queue, struct range_row *out_row);

/* Of those DEAD the one that has been ready longest, or will be first. */
bool range_rows_dead(struct queue_row *queue, struct range_row *out_row);

/* The lowest of the key that is not DONE. */
bool range_rows_of_key(struct queue_row *queue, int64_t key, struct range_row *out_row);

/* ---- changing ---- */

/* Both may be one row. right begins where left ends. */
bool range_rows_join(const struct range_row *left, const struct range_row *right);

/* Replace whatever [row->first, row->last] was, which lies between position and frontier: rows are
 * split at the ends, joined with equal neighbours; the position advances over what is DONE. */
ria_err range_rows_set(struct queue_row *queue, const struct range_row *row) RIA_MUST_USE;

/* Set [first, last] to DONE. The keys of what was there are added to keys, an array of int64_t.
 * Errors: those of its arena. */
ria_err range_rows_finish(struct queue_row *queue, int64_t first, int64_t last, struct rows *keys)
    RIA_MUST_USE;

/* The row is one of a record with a key, which is WAITING so far: as range_rows_set(), for less. */
ria_err range_rows_lease(struct queue_row *queue, const struct range_row *row) RIA_MUST_USE;

/* The row begins at the frontier, which moves behind it. It is not DONE, and not joined with the
 * one before. */
ria_err range_rows_append(struct queue_row *queue, const struct range_row *row) RIA_MUST_USE;

/* NULL, or what is wrong: see the invariants above. Reads every row. */
const char *range_rows_check(struct queue_row *queue);
