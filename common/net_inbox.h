/* net_inbox: what nng's threads have to tell, brought to the loop's thread. A part of net.
 *
 * An endpoint (listener, dialer or link) embeds struct ria_net_endpoint. Its callbacks on nng's
 * threads push events; the inbox hands them to endpoint->handle on the loop, in order, all that
 * there are in one turn. The memory of an endpoint lives until its owner has freed it and its last
 * event has been handled.
 *
 * Thread: the loop's, if nothing else is said. Order of locks: endpoint, inbox.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "common/base.h"
#include "common/err.h"
#include "common/list.h"
#include "common/loop.h"
#include "common/msg.h"

struct ria_net_event;
struct ria_net_inbox;

/* First member of each kind. */
struct ria_net_endpoint {
    struct ria_net_inbox *inbox;

    /* Not called any more once the endpoint is freed. */
    void (*handle)(struct ria_net_endpoint *endpoint, struct ria_net_event *event);

    bool freed;              /* by the owner */
    atomic_uint event_count; /* under way */

    /* An endpoint's lock is held while an operation is given to nng, so that `closing` and `busy`
     * tell the truth. That is sound because nng's streams run callbacks on its task threads, never
     * inside the call. Otherwise no lock is held while nng, the loop or an owner is called.
     */
    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t idle;  /* busy is 0 */
    unsigned busy;        /* operations under way in nng */
    bool closing;         /* no new ones */
};

typedef enum ria_net_event_kind {
    RIA_NET_EVENT_STREAM, /* accepted, or dialled; or not */
    RIA_NET_EVENT_UP,
    RIA_NET_EVENT_FRAME,
    RIA_NET_EVENT_LOST,
} ria_net_event_kind;

/* Those of FRAME are malloc()ed and freed by the inbox with their message, if that is still there;
 * the others are a part of their endpoint. */
struct ria_net_event {
    struct ria_net_event *next;
    ria_net_event_kind kind;
    struct ria_net_endpoint *endpoint;
    uint32_t id;         /* of FRAME */
    struct ria_msg *msg; /* of FRAME */
};

struct ria_net_event_list {
    struct ria_net_event *head;
    struct ria_net_event **tail;
    size_t bytes; /* of frames */
    size_t frames;
};

struct ria_net_inbox {
    struct ria_loop *loop;
    struct ria_loop_work work;
    void (*resume)(struct ria_net_inbox *inbox); /* after each run; NULL: nothing to do */

    pthread_mutex_t lock; /* of the rest */
    struct ria_net_event_list events;
    struct ria_list parked; /* links that wait with their next receive */
    bool accept_frames;     /* read from links that were accepted */
};

/* Borrows loop. Errors: RIA_ERR_NOMEM. */
ria_err ria_net_inbox_new(struct ria_loop *loop, struct ria_net_inbox **out_inbox) RIA_MUST_USE;

/* Its endpoints are freed already. Accepts NULL. */
void ria_net_inbox_free(struct ria_net_inbox *inbox);

/* From now on, read from links that were accepted, or not (so at first). What was read arrives. */
void ria_net_inbox_accept_frames(struct ria_net_inbox *inbox, bool on);

/* --- for endpoints
 * ------------------------------------------------------------------------------*/

void ria_net_events_init(struct ria_net_event_list *events);
void ria_net_events_add(struct ria_net_event_list *events, struct ria_net_event *event);

/* Any thread, with the endpoint's lock held or not. Empties events. */
void ria_net_inbox_push(struct ria_net_inbox *inbox, struct ria_net_event_list *events);
void ria_net_inbox_push_one(struct ria_net_inbox *inbox, struct ria_net_event *event);

void ria_net_endpoint_init(
    struct ria_net_endpoint *endpoint,
    struct ria_net_inbox *inbox,
    void (*handle)(struct ria_net_endpoint *endpoint, struct ria_net_event *event)
);

/* Any thread, with the endpoint's lock held: an operation has ended and none follows it. */
void ria_net_endpoint_rest(struct ria_net_endpoint *endpoint);

/* No operation begins from now on. */
void ria_net_endpoint_close(struct ria_net_endpoint *endpoint);

/* Closed, and so is nng's side: wait until the callbacks have run. */
void ria_net_endpoint_wait(struct ria_net_endpoint *endpoint);

/* Nothing but the memory is left. Takes endpoint. */
void ria_net_endpoint_free(struct ria_net_endpoint *endpoint);
