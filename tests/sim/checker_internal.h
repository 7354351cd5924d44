/* checker_internal: what the checker knows while it reads a history; checker*.c share it.
 */
#pragma once

#include "common/base.h"

#include "tests/sim/checker.h"

typedef enum value_outcome {
    OUTCOME_OPEN, /* not sent, or not answered yet */
    OUTCOME_ACKED,
    OUTCOME_FAILED,
    OUTCOME_UNKNOWN,
} value_outcome;

struct value_state {
    bool sent;
    value_outcome outcome;
    int64_t offset;   /* ACKED */
    int64_t due_us;   /* no queue hands it out before; 0 = at once */
    int64_t floor;    /* the producer's largest acknowledged offset when this was sent first */
    uint32_t in_log;  /* the last log it was found in */
    uint32_t in_sync; /* in-sync logs that have it at its offset */
    bool in_leader;
    bool in_source;        /* in the leader's log of its own partition, at the end */
    int64_t source_offset; /* there */
    bool has_copy;         /* of a dead record that was put back */
    bool is_dead;          /* in some queue's dead-letter topic */
    uint32_t derived;      /* times it is in leaders' logs of derived partitions */
};

struct producer_state {
    struct value_state *values; /* by number */
    uint32_t value_count;
    uint32_t partition;
    bool has_partition;
    int64_t acked_max;
    uint32_t in_log;      /* the log that last_number is about */
    uint32_t last_number; /* in that log */
};

/* High watermarks that readers were told under one leader epoch. */
struct told_watermarks {
    int32_t epoch;
    int64_t least;
    int64_t most;
};

struct partition_state {
    uint64_t *committed; /* by offset */
    int64_t committed_count;
    uint32_t in_sync_count;
    bool has_leader;
    bool is_derived;
    bool is_dropped;
    bool is_redriven;             /* dead records may have been put back to its end */
    int64_t leader_end;           /* at the end */
    struct told_watermarks *told; /* by epoch */
    uint32_t told_count;
};

struct derivation {
    uint32_t from;
    uint32_t to;
    uint32_t skip;
};

/* A record of a leader's log of a derived partition, at the end. */
struct derived_record {
    uint32_t partition;
    int64_t offset;
    uint64_t value;
};

/* What one reader, or one node, has been told. */
struct seen_watermark {
    bool any; /* told with an epoch */
    int32_t epoch;
    int64_t told;      /* under that epoch */
    int64_t watermark; /* of the last answer, whatever it named */
    int64_t next_read; /* readers: the offset that must come next */
    int64_t reads_left;
};

/* A record of a partition that a group consumes; with `asked` and is_reset_to the place before it.
 */
struct consumed_record {
    /* stream groups */
    uint64_t delivered;    /* to whom: bits by consumer */
    uint64_t asked;        /* who wanted the position to be here */
    bool is_asked_in_time; /* ... while no later lease was known to be out */
    bool is_reset_to;
    bool is_excused; /* a reset has jumped over it */
    /* queues */
    bool is_done; /* somebody was told that his ack or burial counts */
    uint32_t holder;
    uint32_t open_extends;      /* of the lease, not answered */
    int64_t lease;              /* the latest that is known */
    int64_t asked_lease;        /* under which it may have been acknowledged or buried, 0 = none */
    int64_t until_us;           /* it is the holder's; 0 = not any more, as the holder sees it */
    int64_t said_before_us;     /* ... until when it would have been without the last word */
    int64_t deadline_ms;        /* by the coordinator's clock */
    int64_t lease_before;       /* known until the latest came */
    int64_t deadline_before_ms; /* HISTORY_NO_CLOCK = not known */
    int64_t late_lease;         /* something was said under it when a later one was known */
    int64_t not_before_us;      /* a delay that was granted */
    bool was_rejected;          /* somebody said so */
    bool must_be_dead;          /* a later one of its key came */
    bool is_dead;               /* it is in the dead-letter topic at the end */
};

struct consumed_key {
    int64_t key;
    int64_t top; /* the last of its records that came */
};

/* A partition that a group consumes. */
struct consumed {
    bool is_declared;
    bool is_queue;
    bool is_ordered;
    bool has_dead;
    bool was_reset;
    bool has_position; /* somebody has looked */
    int64_t start;
    int64_t position;
    int64_t committed; /* somebody was told */
    int64_t next;      /* behind what came for the first time */
    int64_t lease_max; /* under which something came */
    struct consumed_record *records;
    int64_t record_count;
    struct consumed_key *keys;
    uint32_t key_count;
};

struct log_state {
    uint32_t id; /* counts logs from 1 */
    struct history_event event;
    int64_t next;
};

struct checker {
    const struct history *history;
    struct checker_result *result;
    struct producer_state *producers;
    struct partition_state *partitions;
    struct seen_watermark *readers; /* actor * partition_count + partition */
    struct seen_watermark *nodes;
    struct log_state log;
    struct derivation *derivations;
    size_t derivation_count;
    struct derived_record *derived;
    size_t derived_count;
    size_t derived_capacity;
    struct consumed *consumed; /* group * partition_count + partition */
};

/* ---- checker.c ---- */

void checker_violate(
    struct checker *checker,
    const char *rule,
    uint32_t partition,
    int64_t offset,
    uint64_t value,
    const char *fmt,
    ...
) RIA_PRINTF(6, 7);

/* NULL: it was not sent. */
struct value_state *checker_find_value(struct checker *checker, uint64_t value);

/* ---- checker_watermark.c: the high watermark never moves back ---- */

/* One reader, or one node as leader, names a high watermark; seen is what it named before. */
void checker_on_watermark(
    struct checker *checker, struct seen_watermark *seen, const struct history_event *event
);

/* A reader was told a high watermark. */
void checker_note_told(struct checker *checker, const struct history_event *event);

/* All readers of the partition have been heard. */
void checker_finish_told(struct checker *checker, uint32_t partition);

/* ---- checker_derived.c: promise 6, output = f(input) ---- */

void checker_on_derived(struct checker *checker, const struct history_event *event);

/* Whether a transform may have put the value there. */
bool checker_may_be_derived(const struct checker *checker, uint32_t partition, uint64_t value);

/* A record of a leader's log of a derived partition. */
void checker_note_derived(struct checker *checker, const struct history_event *event);

/* All logs have been read. */
void checker_finish_derived(struct checker *checker);

/* ---- checker_groups.c, checker_queue.c: groups and queues ---- */

/* Any event of a group. */
void checker_on_group(struct checker *checker, const struct history_event *event);
void checker_on_queue(
    struct checker *checker, struct consumed *consumed, const struct history_event *event
);

/* All logs have been read. */
void checker_finish_groups(struct checker *checker);

struct consumed *checker_consumed(struct checker *checker, uint32_t group, uint32_t partition);

/* Good until the next one that is farther. */
struct consumed_record *checker_consumed_record(struct consumed *consumed, int64_t offset);

/* At the end: a record of the dead-letter topic. */
void checker_on_dead(
    struct checker *checker, struct consumed *consumed, const struct history_event *event
);

/* It was acknowledged or buried, or that was tried and the outcome is not known. */
bool checker_may_be_done(const struct consumed_record *record);

void checker_violate_group(
    struct checker *checker, const char *rule, const struct history_event *event, const char *text
);
