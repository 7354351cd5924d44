/* history: what the clients of a cluster did and saw, and what its disks held at the end, in the
 * order it happened. The checker judges it; a person reads the lines of a violation
 * (history_text.h).
 *
 * Every record has a value of its own: its producer's number and a count, so that a record found
 * anywhere says who sent it and when. Partitions have numbers too, over all topics.
 *
 * Out of memory aborts: this code runs in tests only.
 */
#pragma once

#include "common/base.h"

#define HISTORY_NO_OFFSET    INT64_C(-1)
#define HISTORY_NO_WATERMARK INT64_C(-1) /* the reader was not told */
#define HISTORY_NO_EPOCH     INT32_C(-1) /* likewise */
#define HISTORY_NO_VALUE     UINT64_MAX
#define HISTORY_NO_KEY       INT64_C(-1)
#define HISTORY_NO_CLOCK     INT64_C(-1)

/* actor is a producer, a reader, a storage node, or a consumer of a group. */
/* clang-format off */
#define HISTORY_KINDS(X)                                                                           \
    X(SEND,      "producer", "sends `count` records from `value` on, perhaps again; `until`: for later") \
    X(ACK,       "producer", "they were stored from `offset` on")                                  \
    X(FAIL,      "producer", "they were not stored, and never will be")                            \
    X(UNKNOWN,   "producer", "it gave up without knowing")                                         \
    X(FETCH,     "reader",   "asked at `offset` under `epoch`; `watermark` and `count` came back") \
    X(READ,      "reader",   "one of those records: `value` at `offset`")                          \
    X(WATERMARK, "node",     "as leader under `epoch` it had this `watermark`")                    \
    X(STORED,    "node",     "below its `watermark` it held `value` at `offset`")                  \
    X(REPLICA,   "node",     "at the end: its log, from `offset`, `count` records")                \
    X(RECORD,    "node",     "at the end: one of those records")                                   \
    X(DERIVED,   "",         "every record of `from` whose number `skip` does not divide goes here") \
    X(DROPPED,   "",         "at the end: the partition's topic has been deleted")                 \
    X(CONSUMES,  "",         "the group is to get every record of the partition from `offset` on") \
    X(DELIVERED, "consumer", "of a stream group: `count` records from `offset` on came, under `lease`") \
    X(COMMIT,    "consumer", "says that it is done with what is below `offset`, perhaps again")     \
    X(COMMITTED, "consumer", "... and was told that this is written down")                          \
    X(LOST,      "consumer", "... or that it counts no more: others have the records")              \
    X(RESET,     "",         "somebody asks that the group goes on at `offset`, perhaps later")     \
    X(POSITION,  "",         "the coordinator has `offset` as the group's position")               \
    X(LOCKED,    "consumer", "of a queue: `value` came, its own `until` then, under `lease`")       \
    X(SAY,       "consumer", "says `action` of the record at `offset`, under `lease`")              \
    X(TOLD,      "consumer", "... and was told whether it was `is_done`")                           \
    X(DEAD,      "",         "at the end: the queue's dead-letter topic has `value`, of `offset`")  \
    X(REDRIVE,   "",         "somebody asks that what is dead comes again, at the end of the log")  \
    X(BROKEN,    "",         "a promise that is not about records: see `rule` and `text`")
/* clang-format on */

#define HISTORY_ENUM_(name, actor, about) HISTORY_##name,
typedef enum history_kind { HISTORY_KINDS(HISTORY_ENUM_) } history_kind;

/* What a consumer of a queue says of a record that it has. */
/* clang-format off */
#define HISTORY_ACTIONS(X)      \
    X(ACK,       "ack")         \
    X(NACK,      "nack")        \
    X(EXTEND,    "extend")      \
    X(REJECT,    "reject")      \
    X(GIVE_BACK, "give-back")   \
    X(BURY,      "bury") /* a dead one: it is in the dead-letter topic */
/* clang-format on */

#define HISTORY_ACTION_ENUM_(name, text) HISTORY_ACTION_##name,
typedef enum history_action {
    HISTORY_ACTIONS(HISTORY_ACTION_ENUM_) HISTORY_ACTION_COUNT
} history_action;

struct history_event {
    int64_t time_us; /* virtual */
    history_kind kind;
    uint32_t actor;
    uint32_t partition;
    int32_t epoch;
    int64_t offset;
    uint64_t value;
    int64_t count;
    int64_t watermark;
    uint32_t from;         /* DERIVED: a partition */
    uint32_t skip;         /* DERIVED: 0 = all go */
    bool is_leader;        /* REPLICA */
    bool is_in_sync;       /* REPLICA */
    bool is_queue;         /* CONSUMES */
    bool is_ordered;       /* CONSUMES: a queue with order per key */
    bool has_dead;         /* CONSUMES: a queue whose dead records go to a topic (DEAD) */
    bool is_done;          /* TOLD */
    history_action action; /* DEAD: REJECT, or NACK: its deliveries were used up */
    uint32_t group;
    int64_t lease;    /* grows within a group */
    int64_t key;      /* LOCKED */
    int64_t until_us; /* LOCKED, extend: it has the record until then at least; nack: nobody has;
                       * SEND: no queue hands them out before */
    int64_t clock_ms; /* LOCKED, TOLD of extend: the deadline by the coordinator's clock; else TOLD:
                       * what that clock was */
    const char *rule; /* BROKEN: a literal, or kept by the history */
    const char *text; /* BROKEN: likewise */
};

struct history_producer {
    bool idempotent;
};

struct history {
    struct history_event *events;
    size_t count;
    size_t capacity;
    struct history_producer *producers;
    uint32_t producer_count;
    uint32_t partition_count;
    uint32_t group_count;
    char **texts; /* history_keep() */
    size_t text_count;
};

static inline uint64_t history_value(uint32_t producer, uint32_t number)
{
    return (uint64_t)producer << 32 | number;
}

static inline uint32_t history_value_producer(uint64_t value)
{
    return (uint32_t)(value >> 32);
}

static inline uint32_t history_value_number(uint64_t value)
{
    return (uint32_t)value;
}

static inline bool history_is_of_group(history_kind kind)
{
    return kind >= HISTORY_CONSUMES && kind <= HISTORY_REDRIVE;
}

/* Whether a transform that skips numbers which `skip` divides passes the value on. */
static inline bool history_passes(uint64_t value, uint32_t skip)
{
    return skip == 0 || history_value_number(value) % skip != 0;
}

void history_init(struct history *history);
void history_fini(struct history *history);

/* Returns its number. */
uint32_t history_add_producer(struct history *history, bool idempotent);

/* For producers that have numbers already. Those below it that were not set are plain. */
void history_set_producer(struct history *history, uint32_t number, bool idempotent);

/* Copies event. Its partition is counted. */
void history_add(struct history *history, const struct history_event *event);

/* A copy of the text that lives as long as the history. */
const char *history_keep(struct history *history, const char *text);
