/* group_reading: the records of partitions that were leased, all fetched at once.
 *
 * Once one of them has records, the others have STRAGGLERS_US left: a partition whose leader is
 * missing does not hold up the rest; nor, for more than AHEAD_STRAGGLERS_US, one whose records are
 * not committed yet. Where only some records are wanted, about as many bytes are
 * asked for as they need (marks_sizes), or none, if an earlier fetch brought them along
 * (fetch_cache.h). Memory: the gate lets in as many bytes as were asked for, or
 * one largest batch, and what came is charged as it is; several partitions with batches larger than
 * their part carry it past that until the answer was sent.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/timers.h"

#include "services/gateway/fetch_cache.h"
#include "services/gateway/gate.h"
#include "services/gateway/leader_call.h"
#include "services/gateway/marks.h"

struct group_reading;

/* A leased partition. */
struct group_held {
    /* the caller's */
    struct cluster_partition *partition;
    int64_t lease;
    int64_t offset;      /* to read from */
    int64_t records_max; /* no more are of use; 0: all that there is room for */
    int64_t left_ms;
    int64_t next; /* behind what was handed out */
    /* out, each time it is read */
    ria_err err; /* RIA_OK also if there are no records */
    char text[128];
    struct ria_msg *msg; /* NULL: no records. The caller's */
    struct ria_slice batches;
    int64_t high_watermark;
    int64_t log_start;
    /* private */
    struct group_reading *reading;
    struct leader_call call;
    bool under_way;
    bool is_read; /* nothing is to be done */
};

typedef void (*group_reading_fn)(struct group_reading *reading, bool entered);

/* Storage is the caller's until done runs. */
struct group_reading {
    /* the caller's */
    const struct ria_env *env;
    struct gate *gate;
    struct leader_calls *leaders;
    struct marks *marks;
    struct fetch_cache *cache; /* NULL: none; used where few records are wanted */
    struct group_held *held;
    uint32_t count;
    int64_t bytes_max;
    uint32_t wait_ms; /* for records: there are none yet */
    int64_t deadline_us;
    group_reading_fn done;
    void *arg;
    /* out */
    size_t charged; /* bytes inside the gate: what the messages have */
    /* private */
    struct gate_pass pass;
    struct ria_timer stragglers;
    size_t size_max; /* what the gate is asked for if it takes a leader */
    uint32_t under_way;
    bool has_records;
    bool is_cached; /* all that is wanted seemed to be here */
};

/* Reads those that have is_read == false. done never runs from inside; entered == false: there was
 * no memory for it in time, and nothing was read. */
void group_reading_start(struct group_reading *reading);

/* Free the messages, and leave the gate. What is under way is forgotten by its owners. */
void group_reading_drop(struct group_reading *reading);
