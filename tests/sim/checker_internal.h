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
    int64_t floor;    /* the producer's largest acknowledged offset when this was sent first */
    uint32_t in_log;  /* the last log it was found in */
    uint32_t in_sync; /* in-sync logs that have it at its offset */
    bool in_leader;
    bool in_source;        /* in the leader's log of its own partition, at the end */
    int64_t source_offset; /* there */
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
