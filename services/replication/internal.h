/* internal: what service.c and the peer files share. */
#pragma once

#include "common/arena.h"
#include "common/env.h"
#include "common/metrics.h"

#include "services/replication/leases.h"
#include "services/replication/peer.h"
#include "services/replication/throttle.h"
#include "services/shared/cluster.h"
#include "services/shared/membership.h"

struct replication_metrics {
    struct ria_counter bytes_fetched;
    struct ria_counter bytes_appended;
    struct ria_counter bytes_caught_up;
    struct ria_counter appends;
    struct ria_counter fetches;
    struct ria_counter follower_failures;
    struct ria_gauge feeds;
    struct ria_gauge unready;
    struct ria_gauge buffered_bytes;
};

struct replication {
    const struct ria_env *env;
    struct cluster *cluster;
    struct membership *membership;
    int64_t session_id;
    struct leases leases;
    struct ria_list peers;
    struct ria_list dirty_peers;
    struct ria_list retries;      /* feed.retry_link */
    struct ria_list apart;        /* feed.apart_link */
    struct ria_timer apart_timer; /* runs while there are any */
    struct ria_timer flush_timer; /* zero delay: runs at the end of the turn */
    struct ria_timer retry_timer;
    struct throttle throttle; /* of catch-up reads */
    struct ria_timer throttle_timer;
    struct replication_metrics metrics;
};

/* The peer has something to send: it will be flushed at the end of this turn. */
void replication_flush_later(struct peer *peer);

/* The feed has something to do later: it is looked at on the next tick. */
void replication_retry_later(struct feed *feed);

/* The throttle lets nobody read for wait_us: those that wait are looked at again behind it. */
void replication_throttled(struct replication *service, int64_t wait_us);

/* The node's address, NULL while metadata does not know it. */
const char *replication_address(const struct replication *service, const struct peer *peer);

enum {
    PEER_CALL_MS = 5000, /* two lost in a row still leave time to recover in 15 s */
    PEER_ARENA_MAX = 64 * 1024 * 1024,
};

/* peer_epochs.c */
void peer_send_epochs(struct peer *peer);

/* peer_fetch.c */
void peer_send_fetch(struct peer *peer);

/* The leader is to be asked for the feed's data from its cursor on. */
void peer_wish(struct feed *feed);

/* The feed ends. */
void peer_forget_wish(struct feed *feed);
void peer_drop_forgotten(struct peer *peer);

/* peer_catch_up.c */
void peer_want_catch_up(struct follower *follower);
void peer_send_catch_ups(struct peer *peer);

/* First and next offset of a run of whole batches. False if it is none. */
bool peer_batches_extent(struct ria_slice batches, int64_t *out_base, int64_t *out_end);

/* Give a run of batches to one follower, from where it stands. */
void peer_feed_follower(
    struct follower *follower,
    struct chunk *chunk,
    struct ria_slice batches,
    int64_t end,
    bool is_bulk
);

/* peer_write.c */
void peer_send_prepares(struct peer *peer);
void peer_send_appends(struct peer *peer);
void peer_send_reports(struct peer *peer);
void peer_drop_pieces(struct follower *follower);

/* Queue bytes (all of whose batches are of this follower's partition, from sent_offset on) behind
 * what is queued. is_bulk: behind all in-sync data for this node. */
ria_err peer_queue(
    struct follower *follower,
    struct chunk *chunk,
    struct ria_slice bytes,
    int64_t end_offset,
    bool is_bulk
) RIA_MUST_USE;

struct chunk *chunk_new(struct ria_msg *frame); /* takes frame; NULL: no memory, frame is freed */
void chunk_unref(struct chunk *chunk);
