/* peer: one storage node as seen by a replication worker: what to ask it next, and what came back.
 *
 * As a leader it is asked for histories (ReplicaEpochs), read (one parked ReplicaFetch for all its
 * feeds, catch-up reads beside it) and told how far its followers are (ReplicaReport). As a
 * follower it is prepared (ReplicaPrepare) and appended to (ReplicaAppend). Work gathers in lists
 * and goes out once per turn of the loop, many partitions to a frame.
 *
 * Thread: the service's loop.
 */
#pragma once

#include "common/base.h"
#include "common/list.h"
#include "common/msg.h"
#include "common/slice.h"

#include "services/replication/feed.h"

struct replication;

/* Frame of fetched batches, shared by the pieces cut from it. */
struct chunk {
    uint32_t refs;
    struct ria_msg *frame;
};

/* Batches of one partition on their way to one follower. Empty bytes: only the high watermark. */
struct piece {
    struct ria_list peer_link;     /* peer->pieces or peer->bulk, in order */
    struct ria_list follower_link; /* follower->pieces */
    struct follower *follower;
    struct chunk *chunk; /* NULL if empty */
    struct ria_slice bytes;
    int64_t base_offset;
    int64_t end_offset;
    bool is_bulk; /* catch-up */
};

struct peer {
    struct replication *service;
    int32_t node;
    struct ria_list link;       /* service->peers */
    struct ria_list flush_link; /* service->dirty_peers */

    /* as a leader */
    struct ria_list feeds;     /* led by this node and leased to us */
    struct ria_list epochs;    /* feeds that want its history */
    struct ria_list reports;   /* followers whose progress it has not been told */
    bool asking;               /* a ReplicaEpochs is under way */
    struct ria_list wishes;    /* feeds that the next fetch names */
    struct ria_list forgotten; /* partitions that it names as not wanted any more */
    bool session_lost;         /* it begins the session anew */
    bool fetch_parked;         /* the newest fetch is under way */
    uint32_t fetches;          /* under way, superseded ones included */
    int64_t fetch_number;      /* of the newest */
    int64_t full_number;       /* of the one that began the session */
    int64_t fetch_retry_at_us;

    /* as a follower */
    struct ria_list prepares; /* followers to be prepared */
    struct ria_list pieces;   /* data to be appended, in order */
    struct ria_list bulk;     /* catch-up data, in order; goes in frames of its own */
    struct ria_list near;     /* followers to be read for, in turn: a few MiB behind */
    struct ria_list far;      /* further behind: throttled */
    struct ria_list blocked;  /* feeds that are not read since this node has no room */
    struct node_window window;
    bool preparing;        /* a ReplicaPrepare is under way */
    uint32_t appends;      /* ReplicaAppend under way */
    uint32_t bulk_appends; /* the same with catch-up data */
    uint32_t bulk_reads;   /* catch-up reads under way */
    int64_t bulk_bytes;    /* catch-up data queued or under way */
    bool unreachable;      /* it did not answer the last time: one follower at a time tries */
    int64_t probe_at_us;
};

/* NULL: no memory. */
struct peer *peer_new(struct replication *service, int32_t node);

/* Nothing may be queued any more. */
void peer_free(struct peer *peer);

/* Send what has gathered. */
void peer_flush(struct peer *peer);

/* See what the feed needs now (history, data, catch-up) and queue it. */
void peer_consider(struct feed *feed);

/* May a follower on this node that has waited be tried again? */
bool peer_may_retry(struct peer *peer);

/* A call to the node as a follower has ended. */
void peer_note_reached(struct peer *peer, ria_err err);

/* Something about the follower failed: drop its queue, back off, prepare again. */
void peer_fail_follower(struct follower *follower);

/* Tell ready and idle followers the high watermark. Returns true if any is still to be told. */
bool peer_tell_watermark(struct feed *feed);

/* Take the feed out of every queue; replies to it are void from now on. */
void peer_stop_feed(struct feed *feed);
