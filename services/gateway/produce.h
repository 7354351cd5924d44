/* produce: records of many requests become few batches per partition, each stored once.
 *
 * Every partition has one open batch. It is sent at the end of the loop's turn if nothing of the
 * partition is under way; otherwise when what is under way returns, when it has grown to
 * batch_bytes, or after the linger time, whichever is first. Up to in_flight_max batches are under
 * way, in order, numbered by this gateway's own producer id, so that
 * - a repeat after a lost answer is recognised by the log and not stored twice;
 * - a batch whose predecessor was not stored is refused by the log: order survives failures.
 *
 * What can go wrong with a batch (produce_partition.c implements it):
 * - the log refuses it for now (no leader, too few replicas, ...): the same batch, with the same
 *   sequence, goes to the leader of that moment, until the batch is timeout_ms old;
 * - the log refuses it for good: its requests fail as not stored; those behind it are numbered
 * anew;
 * - its outcome is not known: as for now, but when time is over its requests hear UNKNOWN_OUTCOME.
 * Numbering anew is the next epoch of the producer id, which fences whatever is still on its way.
 * Until the first batch of an epoch (or after a failure) has succeeded, one is under way at a time.
 *
 * A failover is such a failure for every partition that the dead node led. What is under way to it
 * is given up as soon as the cluster's view names a new leader, and goes there at once. Partitions
 * that get on with nothing ("stalled") hold at most half of the budget together; past it their
 * records are refused (BUSY), so that the others go on.
 *
 * Pure core: the world is struct ria_env. Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/metrics.h"

#include "schemas/batch.h"

#include "services/gateway/budget.h"
#include "services/gateway/coordinator_call.h"
#include "services/shared/cluster.h"

struct produce;

struct produce_options {
    uint32_t timeout_ms;
    uint32_t linger_us;
    size_t batch_bytes;
    uint32_t in_flight_max;
};

enum {
    PRODUCE_LINGER_US = 5000,
    PRODUCE_BATCH_BYTES = 256 * 1024,
    PRODUCE_IN_FLIGHT_MAX = 5,          /* what the log remembers of each producer */
    PRODUCE_COALESCE_MAX = 1024 * 1024, /* records of several requests in one batch: bytes */
};

struct produce_metrics {
    struct ria_counter records;
    struct ria_counter bytes;
    struct ria_counter batches;
    struct ria_counter retries;
    struct ria_counter failed_records;
    struct ria_counter unknown_records;
    struct ria_gauge batches_in_flight;
    struct ria_gauge stalled_bytes; /* batches of stalled partitions */
    struct ria_histogram ack_us;    /* from sending a batch to its acknowledgement */
};

struct produce_record {
    int64_t timestamp_ms; /* -1 = now */
    int32_t partition;    /* -1 = by the key; without one, where this batch is going */
    struct ria_slice key;
    struct ria_slice value;
    const struct batch_record_header *headers;
    uint32_t header_count;
};

struct produce_result {
    int64_t offset; /* if err == RIA_OK */
    int32_t partition;
    ria_err err;   /* RIA_ERR_UNKNOWN_OUTCOME, or definite: not stored */
    uint32_t next; /* private */
};

enum { PRODUCE_TEXT_MAX = 256 };

/* One client's request. Storage is the caller's until done runs. */
struct produce_call {
    /* the caller's */
    struct cluster_topic *topic;
    struct produce_result *results; /* room for every record */
    uint32_t capacity;
    void (*done)(struct produce_call *call);
    void *arg;
    /* for done to read */
    uint32_t count;
    uint32_t failed_count;
    bool synced;                 /* every batch is on disk on its in-sync replicas */
    bool duplicate;              /* a client's own batch had been stored before */
    char text[PRODUCE_TEXT_MAX]; /* what the log said of the first failure */
    /* private */
    uint32_t parts_left;
    struct produce_direct *direct;
};

/* A client's own producer: its numbers go to the log as they are. */
struct produce_identity {
    int64_t producer_id;
    int16_t epoch;
    int32_t sequence;
};

/* Borrows everything. Errors: RIA_ERR_NOMEM. */
ria_err produce_new(
    const struct ria_env *env,
    struct cluster *cluster,
    struct coordinator_calls *coordinator,
    struct budget *budget,
    const struct produce_options *options,
    struct produce **out_produce
) RIA_MUST_USE;

/* Calls that are under way are forgotten: their done does not run. Accepts NULL. */
void produce_free(struct produce *produce);

/* Get the producer id. */
void produce_start(struct produce *produce);

/* Nothing is open, waiting or under way. */
bool produce_is_idle(const struct produce *produce);

const struct produce_metrics *produce_metrics(const struct produce *produce);

/* Would the record be taken? Checked for all records of a request before the first is added.
 * Errors: RIA_ERR_TOO_LARGE, RIA_ERR_UNKNOWN_PARTITION, RIA_ERR_BUSY (its partition is stalled, and
 * stalled ones hold what they may), RIA_ERR_NOMEM. */
ria_err produce_check(
    struct produce *produce, struct cluster_topic *topic, const struct produce_record *record
) RIA_MUST_USE;

/* produce_begin(), then each record with produce_add(), then produce_end(), all in one turn of the
 * loop. done runs later, exactly once, never from inside these; unless produce_end() says false: no
 * record was taken, and done does not run. identity: NULL, or the client's own
 * producer: then all records must fall to one partition and become one batch. */
void produce_begin(struct produce *produce, struct produce_call *call);
ria_err produce_begin_direct(
    struct produce *produce, struct produce_call *call, const struct produce_identity *identity
) RIA_MUST_USE;

/* Copies the record. It must have passed produce_check(). Errors: RIA_ERR_NOMEM, and for a client's
 * own batch RIA_ERR_INVALID (another partition than the record before) and RIA_ERR_TOO_LARGE; the
 * record then has a result that says so, except for a client's own batch, which must be given up
 * with produce_abort(). */
ria_err produce_add(
    struct produce *produce, struct produce_call *call, const struct produce_record *record
) RIA_MUST_USE;
bool produce_end(struct produce *produce, struct produce_call *call) RIA_MUST_USE;

/* Instead of produce_end() after an error in a client's own batch: nothing is sent, done does not
 * run. */
void produce_abort(struct produce *produce, struct produce_call *call);

/* The cluster's view changed: each partition and topic of the news, then the whole once. */
void produce_partition_changed(struct produce *produce, struct cluster_partition *partition);
void produce_topic_changed(struct produce *produce, struct cluster_topic *topic);
void produce_view_changed(struct produce *produce);

/* For tests: abort if an invariant is broken. */
void produce_check_invariants(const struct produce *produce);
