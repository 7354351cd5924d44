/* parked: requests that wait for something in one or more partitions.
 *
 * A parked request has one wait per partition it is interested in, linked into one of that
 * partition's lists; what moves a partition wakes only those lists, nothing is ever scanned. A
 * request whose waits have woken in sufficient number is ready; all ready ones are resumed together
 * when the owner flushes, so that one turn of the loop gives one reply however much happened in it.
 * It is resumed exactly once: ready, expired, replaced by a newer one of its session, or closed.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/list.h"
#include "common/map.h"
#include "common/timers.h"

#include "schemas/envelope.h"

#include "services/storage/partition.h"

enum {
    /* Waits of all parked requests of a process; 100 bytes each. Rejected: BUSY. */
    PARKED_WAITS_MAX = 1000000,
    /* Longest time anything is parked, whatever the request says. */
    PARKED_MS_MAX = 60000,
};

typedef enum parked_end {
    PARKED_READY,    /* parked->woken holds the waits that woke */
    PARKED_EXPIRED,  /* its time is over */
    PARKED_REPLACED, /* a newer request of the same session came */
    PARKED_CLOSED,   /* the service stops */
} parked_end;

/* Requests that replace one another. */
typedef enum parked_session {
    PARKED_NO_SESSION,
    PARKED_WATCH, /* watchId */
    PARKED_SESSION_KINDS,
} parked_session;

struct parked;
struct parked_set;

struct parked_wait {
    struct ria_list link; /* in a partition's list, then in parked->woken */
    struct parked *parked;
    struct partition_id id;
    uint32_t index; /* of the partition in the request */
    int64_t offset; /* woken when the partition has moved past it */
    ria_err err;    /* RIA_OK, or why the partition cannot be waited for any more */
};

/* Answers parked->request. parked is freed behind it. */
typedef void (*parked_resume_fn)(void *arg, struct parked *parked, parked_end end);

struct parked {
    struct ria_list link; /* in set->waiting or set->ready */
    struct parked_set *set;
    struct ria_rpc_request *request;
    struct request_header header;
    struct ria_timer timer;
    parked_resume_fn resume;
    parked_session session;
    int64_t session_id;
    int32_t size_max; /* the handler's */
    uint32_t need;    /* waits that must wake before it is ready */
    uint32_t woken_count;
    struct ria_list woken;
    uint32_t wait_count;
    uint32_t wait_capacity;
    struct parked_wait waits[];
};

struct parked_set {
    const struct ria_env *env;
    void (*on_ready)(void *arg); /* there is something to flush */
    void *arg;                   /* also given to resume */
    struct ria_list waiting;
    struct ria_list ready;
    struct ria_map sessions[PARKED_SESSION_KINDS];
    uint32_t count;
    uint32_t wait_count;
};

void parked_set_init(
    struct parked_set *set, const struct ria_env *env, void (*on_ready)(void *arg), void *arg
);

/* Nothing may be parked any more. */
void parked_set_fini(struct parked_set *set);

/* Room for wait_capacity waits; takes request with parked_start(). The caller frees it, or starts
 * it. Errors: RIA_ERR_BUSY (too many waits), RIA_ERR_NOMEM. */
ria_err parked_new(
    struct parked_set *set,
    struct ria_rpc_request *request,
    const struct request_header *header,
    uint32_t wait_capacity,
    struct parked **out_parked
) RIA_MUST_USE;
void parked_free(struct parked *parked);

/* Add a wait to a partition's list; its other fields are the caller's to fill. With list == NULL it
 * has woken already. */
struct parked_wait *
parked_add(struct parked *parked, struct ria_list *list, const struct partition_id *id);

/* Park: resumed when `need` waits have woken. wait_ms 0: it never expires. */
void parked_start(struct parked *parked, uint32_t need, uint32_t wait_ms, parked_resume_fn resume);

/* End the parked request of this session, if there is one. */
void parked_replace(struct parked_set *set, parked_session session, int64_t session_id);

/* Make a started request the one of its session. Errors: RIA_ERR_NOMEM (it stays without). */
ria_err parked_join(struct parked *parked, parked_session session, int64_t session_id) RIA_MUST_USE;

/* Wake the waits of a partition's list that wait for less than `offset`. */
void parked_wake(struct ria_list *list, int64_t offset);

/* Wake all of them, because the partition cannot be waited for any more. */
void parked_wake_all(struct ria_list *list, ria_err err);

/* Resume what is ready, until nothing is. */
void parked_flush(struct parked_set *set);

/* Resume everything with PARKED_CLOSED. */
void parked_close(struct parked_set *set);
