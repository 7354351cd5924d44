/* queue_read: the records of ranges that were leased.
 *
 * Ranges of a partition that are near one another are fetched together. Of each granted offset one
 * knows afterwards whether there is a record; those that were not reached, because of bytes or of
 * an error, are told by their range (reached).
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"

#include "schemas/batch.h"

#include "services/gateway/gateway.h"
#include "services/gateway/group_reading.h"
#include "services/gateway/positions.h"
#include "services/gateway/queue_lock.h"

enum { QUEUE_GRANTS_MAX = 1000 };

/* A range that the coordinator leased. */
struct queue_grant {
    struct cluster_partition *partition;
    struct queue_range range;
    int32_t deliveries;
    bool unsettled;
    int64_t until_ms;        /* wall clock */
    int64_t reached;         /* offsets below are known, those from here on were not read */
    struct ria_slice reason; /* of dead ones */
};

/* An offset that was granted and reached. */
struct queue_record {
    const struct queue_grant *grant;
    int64_t offset;
    bool exists;
    bool is_out; /* to be handed out */
    struct batch_record record;
};

/* Grants that are fetched together. */
struct queue_span {
    uint32_t end;      /* behind the last one */
    int64_t log_start; /* if the log does not begin in front of them; 0: not known */
};

struct queue_read;
typedef void (*queue_read_fn)(struct queue_read *read, bool entered);

struct queue_read {
    /* the caller's */
    struct gateway *gateway;
    struct ria_arena *arena;    /* lives as long as the records are used */
    struct queue_grant *grants; /* sorted by queue_read_start() */
    uint32_t grant_count;
    int64_t bytes_max;
    int64_t deadline_us;
    queue_read_fn done;
    void *arg;
    /* out */
    struct queue_record *records; /* ascending by partition and offset */
    uint32_t record_count;
    ria_err err;      /* of a partition that could not be read */
    const char *text; /* why */
    /* private */
    uint32_t record_room;
    uint32_t span_room;
    struct group_reading reading;
    struct group_held *held;
    struct queue_span *spans; /* one for each that is held */
};

/* done never runs from inside; entered == false: there was no memory for it in time, and nothing
 * was read. The ranges cover at most QUEUE_GRANTS_MAX offsets. Errors: those of the arena, and done
 * does not run. */
ria_err queue_read_start(struct queue_read *read) RIA_MUST_USE;

/* Frees what was read. */
void queue_read_drop(struct queue_read *read);
