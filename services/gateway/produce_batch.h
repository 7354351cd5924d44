/* produce_batch: one batch on its way and the requests that wait for it. Private to produce*.c.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/list.h"
#include "common/timers.h"

#include "schemas/batch.h"
#include "schemas/gen/allocate_producer_ids_request.h"

#include "services/gateway/outcall.h"
#include "services/gateway/produce.h"

#define PRODUCE_RESULT_NONE UINT32_MAX
enum { PRODUCE_BATCHES_KEPT = 32 };

/* The records of one request in one batch: a chain through the request's results. Their offsets are
 * consecutive, because a request adds all its records in one turn. */
struct produce_part {
    struct ria_list link; /* in batch->parts, or in the pool */
    struct produce_call *call;
    uint32_t first;
    uint32_t last;
    int32_t base_delta;
};

struct produce_batch {
    struct ria_list link; /* partition->queue or ->flight, or the pool */
    struct produce_partition
        *owner; /* a client's own batch has one, too, but is in no list of it */
    struct batch_builder builder;
    struct ria_list parts;
    size_t charged; /* to the budget */
    int64_t created_us;
    int64_t deadline_us;
    int64_t sent_us;

    int64_t producer_id;
    int16_t epoch;
    int32_t sequence; /* of its first record; -1 = not numbered */
    uint64_t ordinal; /* counts the numbered batches of a partition */

    struct outcall *attempt; /* NULL: not under way */
    int32_t sent_leader;
    int32_t sent_epoch; /* leader epoch */
    bool returned;      /* in flight list, its last attempt failed with err */
    bool maybe_stored;  /* an attempt's outcome is not known */
    bool after_unknown; /* so is that of the batch before it, which was given up */
    ria_err err;
    char text[PRODUCE_TEXT_MAX];
};

/* What is known of one partition: the user of its view. Lives as long as the core, once the
 * partition was written to. A topic's user is the partition that its keyless records go to, NULL:
 * choose. */
struct produce_partition {
    struct ria_list link;       /* core->partitions */
    struct ria_list dirty_link; /* core->dirty: look at it at the end of the turn */
    struct produce *core;
    struct cluster_partition *view;

    struct produce_batch *open; /* takes records; NULL: none */
    struct ria_list queue;      /* closed, in order; the first may be numbered (a retry) */
    struct ria_list flight;     /* sent, in order, under way or returned */
    uint32_t flight_count;      /* under way */
    uint32_t returned_count;

    int64_t producer_id; /* -1: take a new one */
    int16_t epoch;
    int32_t sequence; /* the next */
    uint64_t ordinal; /* the next */
    bool gap_unknown; /* a batch was given up with an unknown outcome; see close_gap() */
    bool steady;      /* a batch of this epoch succeeded, and none failed since */

    ria_err err; /* last reason why something could not be stored */
    char text[PRODUCE_TEXT_MAX];
    uint32_t failures;
    int32_t seen_leader; /* of the view, when the failures were counted */
    int32_t seen_epoch;
    int64_t retry_at_us;
    struct ria_timer timer;

    size_t charged; /* of all its batches, clients' own included */
    bool stalled;   /* no leader, or the last attempt failed: core's stalled_bytes has charged */
};

struct produce {
    const struct ria_env *env;
    struct cluster *cluster;
    struct coordinator_calls *coordinator;
    struct budget *budget;
    struct produce_options options;
    struct outcalls outcalls;
    struct produce_metrics metrics;
    struct ria_list partitions;
    struct ria_list dirty;
    struct ria_list directs;
    struct ria_timer flush;

    int64_t id_next; /* producer ids we own: [id_next, id_end) */
    int64_t id_end;
    bool id_asked;
    struct allocate_producer_ids_request id_request;

    struct ria_list free_parts;
    struct ria_list free_batches;
    uint32_t free_batch_count;
    struct batch_builder sizer; /* always empty */
};

/* NULL: no memory. An empty batch is owned by whoever got it. */
struct produce_batch *
produce_batch_new(struct produce *core, struct produce_partition *owner, size_t size_max);

/* Gives back what it was charged. Its parts must have been answered. */
void produce_batch_free(struct produce *core, struct produce_batch *batch);

/* Errors: RIA_ERR_LIMIT (does not fit), RIA_ERR_NOMEM; then nothing is added. */
ria_err produce_batch_add(
    struct produce *core,
    struct produce_batch *batch,
    struct produce_call *call,
    const struct produce_record *record
) RIA_MUST_USE;

/* Tell everybody who waits for the batch; may end their calls. */
void produce_batch_succeed(
    struct produce *core, struct produce_batch *batch, int64_t base_offset, bool synced
);
void produce_batch_fail(
    struct produce *core, struct produce_batch *batch, ria_err err, const char *text
);

/* An attempt is under way to who does not lead `to` any more, and somebody else does. */
bool produce_batch_is_outdated(
    const struct produce_batch *batch, const struct cluster_partition *to
);

/* May what failed with err succeed if it is sent again? */
bool produce_may_pass(const struct cluster_partition *to, ria_err err);

/* Start an attempt. The identity must be set. False: no leader, or no memory (err says which). */
bool produce_batch_send(
    struct produce *core,
    struct produce_batch *batch,
    const struct cluster_partition *to,
    outcall_fn fn,
    void *arg,
    ria_err *out_err
);

struct produce_answer {
    ria_err err;
    int64_t base_offset;
    bool synced;
    bool duplicate;
    char text[PRODUCE_TEXT_MAX];
};

/* Reads and frees the reply. */
void produce_batch_open_reply(ria_err err, struct ria_msg *reply, struct produce_answer *out);

/* produce.c: ask for more producer ids; every partition is pumped when they are here. */
void produce_want_ids(struct produce *core);

/* produce_partition.c */
void produce_partition_charge(struct produce_partition *partition, size_t size);
void produce_partition_give(struct produce_partition *partition, size_t size);
void produce_partition_mark(struct produce_partition *partition);
void produce_partition_pump(struct produce_partition *partition);
void produce_partition_init(
    struct produce_partition *partition, struct produce *core, struct cluster_partition *view
);
void produce_partition_fini(struct produce_partition *partition);
/* The view's leader may have changed, or the topic may have been deleted. */
void produce_partition_refresh(struct produce_partition *partition);
/* Close the open batch: it takes no more records. */
void produce_partition_close(struct produce_partition *partition);
void produce_partition_check(const struct produce_partition *partition);

/* produce_direct.c */
ria_err produce_direct_add(
    struct produce *core,
    struct produce_call *call,
    const struct produce_record *record,
    struct produce_partition *to
) RIA_MUST_USE;
void produce_direct_end(struct produce *core, struct produce_direct *direct);
void produce_direct_free(struct produce *core, struct produce_direct *direct);
/* The first of core->directs, without a word to its client. */
void produce_direct_forget(struct produce *core);
/* Any view may have changed. */
void produce_directs_refresh(struct produce *core);
