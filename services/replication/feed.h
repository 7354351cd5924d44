/* feed: the replication of one partition from its leader to its followers, as a state machine.
 *
 * A feed holds one cursor: the offset up to which data has been read from the leader. A follower is
 * *attached* while it has been sent everything up to the cursor; each chunk that is read goes to
 * all attached followers. A follower behind the cursor (new, restarted, slow) catches up by reads
 * of its own until it is attached, so it never holds back the others.
 *
 * Before a follower is appended to it is *prepared*: the leader is asked for its epoch history and
 * the follower cuts off what it does not share. The history is asked for anew each time, since an
 * old one would name an end that the leader has since moved past.
 *
 * Nothing here sends: peer.c asks a feed what it wants and tells it what came back. Replies to what
 * was asked under an older generation are ignored. Nothing is durable: a new worker starts from the
 * followers' own end offsets.
 *
 * Thread: the service's loop.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/uuid.h"

#include "services/replication/node_window.h"

struct peer;
struct feed;

/* The leader's epoch file and extent, as it answered ReplicaEpochs. Counted. */
struct leader_history {
    uint32_t refs;
    int64_t start_offset;
    int64_t end_offset;
    int64_t high_watermark;
    uint32_t count;
    struct history_entry {
        int32_t epoch;
        int64_t start_offset;
    } entries[];
};

struct leader_history *leader_history_new(uint32_t count); /* NULL: no memory; one reference */
struct leader_history *leader_history_ref(struct leader_history *history);
void leader_history_unref(struct leader_history *history); /* accepts NULL */

typedef enum follower_state {
    FOLLOWER_NEW,       /* waits for the leader's history */
    FOLLOWER_PREPARING, /* ReplicaPrepare is queued or under way */
    FOLLOWER_READY,     /* may be appended to */
    FOLLOWER_WAITING,   /* failed; NEW again at retry_at_us */
} follower_state;

struct follower {
    struct feed *feed;
    struct peer *peer;
    const struct node_window *window; /* of the peer */
    int32_t node;
    follower_state state;
    int64_t incarnation;            /* of the process that was prepared */
    uint32_t generation;            /* grows with each reset: older replies are void */
    uint32_t failures;              /* in a row; sets the back-off */
    int64_t retry_at_us;            /* WAITING only */
    int64_t acked_offset;           /* its synced end offset */
    int64_t sent_offset;            /* behind the last data queued or sent */
    int64_t reported_offset;        /* acked_offset the leader has been told */
    int64_t sent_watermark;         /* high watermark it has been told */
    int64_t pending_bytes;          /* queued or under way */
    int64_t bulk_bytes;             /* of these, as catch-up: what comes behind goes the same way */
    int64_t caught_bytes;           /* read for it alone since it was prepared or attached */
    bool catching_up;               /* a catch-up read is under way */
    bool in_sync;                   /* by the metadata */
    bool unfit;                     /* by the metadata: its log is failed or damaged */
    struct leader_history *history; /* PREPARING only */
    struct ria_list prepare_link;   /* peer->prepares */
    struct ria_list report_link;    /* leader peer->reports */
    struct ria_list lag_link;       /* peer->near or peer->far */
    struct ria_list pieces;         /* queued data, struct piece.follower_link */
};

struct feed {
    struct ria_uuid topic_id;
    int32_t partition;
    int32_t leader_epoch;
    struct peer *leader;
    uint32_t refs;       /* its owner and every request under way */
    bool stopped;        /* no longer ours: replies are void */
    bool asking;         /* ReplicaEpochs is queued or under way */
    int64_t cursor;      /* next offset to read for the attached; -1 = no follower is ready */
    int64_t wish_number; /* the fetch that named it last; 0 = the leader does not wait for it */
    int64_t wish_offset; /* the cursor that it named */
    int64_t high_watermark;
    int32_t config_epoch; /* of the settings the leader acts by, as it said last; -1 = not yet */
    struct follower followers[RIA_REPLICAS_MAX];
    uint32_t follower_count;
    struct ria_list epochs_link; /* leader->epochs: wants the history */
    struct ria_list feed_link;   /* leader->feeds */
    struct ria_list wish_link;   /* leader->wishes: to be named in the next fetch */
    struct ria_list full_link;   /* peer->blocked: not read since that follower has no room */
    struct ria_list apart_link;  /* service: has followers that are not in sync */
    struct ria_list retry_link;  /* service: has WAITING followers or an untold high watermark */
};

/* One reference, the caller's. NULL: no memory. */
struct feed *feed_new(
    const struct ria_uuid *topic_id, int32_t partition, int32_t leader_epoch, struct peer *leader
);
void feed_add_follower(
    struct feed *feed, int32_t node, struct peer *peer, const struct node_window *window
);
struct feed *feed_ref(struct feed *feed);
void feed_unref(struct feed *feed); /* accepts NULL */

/* True if a follower waits for the leader's history. */
bool feed_wants_history(const struct feed *feed);

/* True if the leader should be read at the cursor: all that are attached have room, or one that
 * has waits for data while others have none. */
bool feed_wants_data(const struct feed *feed);

/* What was read at the cursor is not for this attached follower: it has no room while another
 * waits. It falls behind and catches up. */
bool follower_is_left_behind(const struct follower *follower);

/* An attached follower whose node has no room; NULL if there is none. */
struct follower *feed_full_node(struct feed *feed);

/* What was read at the cursor is for nobody: those who should take it have far too much. */
bool feed_is_over(const struct feed *feed);

/* True if that is so and the leader does not know it yet. */
bool feed_wants_wish(const struct feed *feed);

/* True if this follower is behind the cursor and should be read for on its own now. */
bool follower_wants_catch_up(const struct follower *follower);

static inline bool follower_is_attached(const struct follower *follower)
{
    return follower->state == FOLLOWER_READY && follower->feed->cursor >= 0 &&
           follower->sent_offset >= follower->feed->cursor;
}

/* The follower answered ReplicaPrepare: its log ends at end_offset, all of it on disk. */
void follower_prepared(struct follower *follower, int64_t incarnation, int64_t end_offset);

/* The follower has everything below end_offset on disk. */
void follower_acked(struct follower *follower, int64_t end_offset);

/* Something failed: drop what is queued (the caller frees the pieces), wait, then prepare again. */
void follower_failed(struct follower *follower, int64_t now_us);

/* A WAITING follower whose time has come is NEW again. Returns true if it is. */
bool follower_retry(struct follower *follower, int64_t now_us);

/* Data up to end_offset was read from the leader for the attached. */
void feed_advance(struct feed *feed, int64_t end_offset);

/* The slowest attached follower may not fill the window while another waits for data: what is
 * queued for it is to be forgotten, so that it catches up on its own. NULL if there is none. */
struct follower *feed_laggard(struct feed *feed);

/* Invariants; aborts on a broken one. */
void feed_check(const struct feed *feed);
