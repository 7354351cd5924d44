/* queue_fetch: one call of a consumer of a queue: lease, read, settle, wait.
 *
 *   Receive (coordinator) -> granted? -> fetch all -> settle, if it must -> records? -> done
 *        ^         ^            | none                                       | none
 *        |         |            v                                            |
 *        |         +-- starts, probe, wait                                   |
 *        +-------------------------------------------------------------------+
 *
 * - Partitions without a position get their start first, as groups' do (group_fetch.h).
 * - What was leased and not read (bytes, an error) is given back at once; what does not exist any
 *   more (retention, compaction) is finished.
 * - Order per key, or a delivery time in the future: a second operation (Settle) tells keys and
 *   times, and only what it names is handed out.
 * - A Receive whose answer was lost is repeated under the same readId: what it leased is granted
 *   again.
 * - Dead records that the coordinator hands over are buried by others (queue_bury.h).
 *
 * The caller gives back what it does not hand out (queue_fetch_give_back).
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"

#include "schemas/batch.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_settle.h"

#include "services/gateway/failure.h"
#include "services/gateway/gateway.h"
#include "services/gateway/group_reading.h"
#include "services/gateway/offers.h"
#include "services/gateway/queue_read.h"

enum {
    QUEUE_RECORDS_MAX = 1000, /* of one receive */
    QUEUE_DEAD_MAX = 100,     /* taken over to be buried, in one receive */
};

struct queue_fetch;

/* failure NULL: it went well, with or without records. Else nothing is held. */
typedef void (*queue_fetch_fn)(struct queue_fetch *fetch, const struct failure *failure);

/* In an arena that lives until done has run. */
struct queue_fetch {
    /* the caller's */
    struct gateway *gateway;
    struct ria_arena *arena;
    struct ria_slice group;
    struct cluster_topic *topic;
    struct ria_slice consumer; /* empty: none */
    int32_t lock_ms;           /* -1: the group's */
    int32_t records_max;
    int64_t bytes_max;
    const int64_t *floors; /* by partition: nothing in front of it. NULL: none */
    bool is_admin;         /* no dead records, and no dead-letter topic of its own */
    int64_t wait_until_us; /* 0: does not wait */
    queue_fetch_fn done;
    void *arg;
    /* out */
    struct queue_read read; /* of its records those that are out are the caller's */
    bool full;              /* too many records are unfinished */
    /* private */
    struct ria_list link;      /* in gateway->queue_fetches */
    struct ria_list read_link; /* in gateway->queue_reads, while a Receive is under way */
    struct group_op op;
    struct queue_receive body;
    struct queue_settle settle;
    struct ria_arena round; /* what the last answer said, and the body of the next operation */
    struct offers offers;
    struct group_wait wait;
    struct failure failure;
    uint32_t grant_room;
    int64_t granted; /* records */
    int64_t changed;
    int64_t retry_after_ms;
    uint32_t rounds;   /* Receives in a row of which nothing came: hints were wrong */
    uint32_t progress; /* those of which something was learnt */
    bool waits;
};

/* done runs once, never from inside. The fields above "out" are set, the rest is zero. */
void queue_fetch_start(struct queue_fetch *fetch);

/* The client is gone: ends a wait. */
void queue_fetch_hang_up(struct queue_fetch *fetch);

/* Records from number `from` on that are out are given back, and the memory of all is freed. */
void queue_fetch_give_back(struct queue_fetch *fetch, uint32_t from);

/* Ids of Receives: those of one gateway follow one another, and it says which ones it has heard. */
void queue_fetches_init(struct gateway *gateway);

/* Forgets those under way. */
void queue_fetches_fini(struct gateway *gateway);
