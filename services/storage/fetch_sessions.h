/* fetch_sessions: what the replication workers wait for on this node, kept between their fetches.
 *
 * Protocol: docs/formats/fetch-session.md. A session has wishes, one per partition. A wish is in
 * its partition's list while there is nothing for it, and in its session's ready list when there
 * may be something; so an event costs time in proportion to what changed, however many partitions
 * the session has. What can be granted is the handler's to find out.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/list.h"
#include "common/map.h"
#include "common/timers.h"

#include "services/storage/partition.h"

enum {
    /* One per replication worker that lives, and a few of those that have died. Past it the one
     * idle longest is forgotten; if none is idle: BUSY. */
    FETCH_SESSIONS_MAX = 256,
    /* In all sessions; 150 bytes each. The same policy. */
    FETCH_WISHES_MAX = 500000,
    /* A session without a parked request is forgotten after this. */
    FETCH_SESSION_IDLE_MS = 10000,
};

struct fetch_session;
struct fetch_sessions;

struct fetch_wish {
    struct ria_list link; /* in the partition's list or in session->ready */
    struct fetch_session *session;
    struct partition_id id;
    bool is_ready;
    int32_t leader_epoch;
    int32_t size_max;
    int64_t offset;
};

struct fetch_session {
    struct ria_list link;       /* set->sessions, longest unused first */
    struct ria_list ready_link; /* set->ready */
    struct fetch_sessions *set;
    int64_t id;
    int64_t number; /* of the last fetch that was taken */
    struct ria_map wishes;
    struct ria_list ready; /* wishes, in the order in which they became so */
    uint32_t ready_count;
    struct ria_rpc_request *request; /* parked; NULL if none is */
    int32_t size_max;                /* the request's */
    struct ria_timer timer;          /* the end of the parked request, or of the idle session */
};

typedef enum fetch_end {
    FETCH_READY,   /* some wish is ready; may leave the request parked */
    FETCH_NOTHING, /* its time is over, a newer one came, or the service stops: answer, empty */
} fetch_end;

/* Answers session->request, with fetch_session_unpark() first. */
typedef void (*fetch_answer_fn)(void *arg, struct fetch_session *session, fetch_end end);

struct fetch_sessions {
    const struct ria_env *env;
    fetch_answer_fn answer;
    void (*on_ready)(void *arg); /* there is something to flush */
    void *arg;                   /* also given to answer */
    struct ria_map by_id;
    struct ria_list sessions;
    struct ria_list ready; /* sessions with a parked request and ready wishes */
    uint32_t count;
    uint32_t wish_count;
    uint32_t parked_count;
};

void fetch_sessions_init(
    struct fetch_sessions *set,
    const struct ria_env *env,
    fetch_answer_fn answer,
    void (*on_ready)(void *arg),
    void *arg
);

/* Every session must have been forgotten (fetch_sessions_close()). */
void fetch_sessions_fini(struct fetch_sessions *set);

/* The session this fetch belongs to, its parked request answered; if full, new or without wishes.
 * Errors (nothing changed): RIA_ERR_NOT_FOUND (the session is not known, or fetches are missing),
 * RIA_ERR_CONFLICT (an old fetch), RIA_ERR_BUSY (too many sessions), RIA_ERR_NOMEM. */
ria_err fetch_sessions_take(
    struct fetch_sessions *set,
    int64_t id,
    int64_t number,
    bool is_full,
    struct fetch_session **out_session
) RIA_MUST_USE;

/* Park a request; wait_ms > 0. */
void fetch_session_park(
    struct fetch_session *session,
    struct ria_rpc_request *request,
    int32_t size_max,
    uint32_t wait_ms
);

/* The parked request, now the caller's to answer. */
struct ria_rpc_request *fetch_session_unpark(struct fetch_session *session);

/* Drop it and its wishes; no request may be parked. */
void fetch_session_forget(struct fetch_session *session);

/* The session's wish for this partition, a new one if there is none; ready. The other fields are
 * the caller's to fill. Errors: RIA_ERR_BUSY (too many wishes), RIA_ERR_NOMEM. */
ria_err fetch_session_wish(
    struct fetch_session *session, const struct partition_id *id, struct fetch_wish **out_wish
) RIA_MUST_USE;

/* NULL if there is none. */
struct fetch_wish *
fetch_session_find(const struct fetch_session *session, const struct partition_id *id);

/* There is nothing for it now: it waits in its partition's list. */
void fetch_wish_wait(struct fetch_wish *wish, struct ria_list *list);

/* Granted or forgotten. */
void fetch_wish_free(struct fetch_wish *wish);

/* Make the wishes of a partition's list ready that wait for less than `offset`. */
void fetch_wishes_wake(struct ria_list *list, int64_t offset);

/* Have the sessions answered that have ready wishes. */
void fetch_sessions_flush(struct fetch_sessions *set);

/* Have every parked request answered, and forget all sessions. */
void fetch_sessions_close(struct fetch_sessions *set);

/* Invariants; aborts on a broken one. */
void fetch_sessions_check(const struct fetch_sessions *set);
