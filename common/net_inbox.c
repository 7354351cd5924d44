#include "common/net_inbox.h"

#include <stdlib.h>

#include "common/assert.h"

/* --- inbox ------------------------------------------------------------------------------------*/

void ria_net_events_init(struct ria_net_event_list *events)
{
    *events = (struct ria_net_event_list){.tail = &events->head};
}

void ria_net_events_add(struct ria_net_event_list *events, struct ria_net_event *event)
{
    event->next = NULL;
    *events->tail = event;
    events->tail = &event->next;
    atomic_fetch_add(&event->endpoint->event_count, 1);
    if (event->kind == RIA_NET_EVENT_FRAME) {
        events->frames++;
        events->bytes += ria_msg_size(event->msg);
    }
}

/* Empties `from` into `to`. */
static void events_move(struct ria_net_event_list *to, struct ria_net_event_list *from)
{
    if (from->head != NULL) {
        *to->tail = from->head;
        to->tail = from->tail;
        to->frames += from->frames;
        to->bytes += from->bytes;
        ria_net_events_init(from);
    }
}

/* Any thread, with the endpoint's lock held or not. */
void ria_net_inbox_push(struct ria_net_inbox *inbox, struct ria_net_event_list *events)
{
    if (events->head == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&inbox->lock);
    bool was_empty = inbox->events.head == NULL;
    events_move(&inbox->events, events);
    (void)pthread_mutex_unlock(&inbox->lock);
    if (was_empty) {
        ria_loop_post(inbox->loop, &inbox->work);
    }
}

void ria_net_inbox_push_one(struct ria_net_inbox *inbox, struct ria_net_event *event)
{
    struct ria_net_event_list events;

    ria_net_events_init(&events);
    ria_net_events_add(&events, event);
    ria_net_inbox_push(inbox, &events);
}

static void release(struct ria_net_endpoint *endpoint);

static void run_inbox(struct ria_loop_work *work)
{
    struct ria_net_inbox *inbox = RIA_CONTAINER(work, struct ria_net_inbox, work);
    struct ria_net_event_list events;

    ria_net_events_init(&events);
    (void)pthread_mutex_lock(&inbox->lock);
    events_move(&events, &inbox->events);
    (void)pthread_mutex_unlock(&inbox->lock);

    for (struct ria_net_event *event = events.head, *next; event != NULL; event = next) {
        struct ria_net_endpoint *endpoint = event->endpoint;
        next = event->next;
        bool is_frame = event->kind == RIA_NET_EVENT_FRAME;
        if (!endpoint->freed) {
            endpoint->handle(endpoint, event);
        }
        if (is_frame) {
            ria_msg_free(event->msg);
            free(event);
        }
        (void)atomic_fetch_sub(&endpoint->event_count, 1);
        release(endpoint);
    }
    if (inbox->resume != NULL) {
        inbox->resume(inbox);
    }
}

ria_err ria_net_inbox_new(struct ria_loop *loop, struct ria_net_inbox **out_inbox)
{
    struct ria_net_inbox *inbox = calloc(1, sizeof(*inbox));

    if (inbox == NULL) {
        return RIA_ERR_NOMEM;
    }
    inbox->loop = loop;
    inbox->work.fn = run_inbox;
    ria_net_events_init(&inbox->events);
    ria_list_init(&inbox->parked);
    (void)pthread_mutex_init(&inbox->lock, NULL); /* cannot fail with default attributes */
    *out_inbox = inbox;
    return RIA_OK;
}

void ria_net_inbox_free(struct ria_net_inbox *inbox)
{
    if (inbox == NULL) {
        return;
    }
    run_inbox(&inbox->work); /* what is left is of freed endpoints: free that too */
    ria_loop_unpost(inbox->loop, &inbox->work);
    RIA_ASSERT(ria_list_is_empty(&inbox->parked));
    (void)pthread_mutex_destroy(&inbox->lock);
    free(inbox);
}

void ria_net_inbox_accept_frames(struct ria_net_inbox *inbox, bool on)
{
    (void)pthread_mutex_lock(&inbox->lock);
    inbox->accept_frames = on;
    (void)pthread_mutex_unlock(&inbox->lock);
    if (on && inbox->resume != NULL) {
        inbox->resume(inbox);
    }
}

/* --- endpoints --------------------------------------------------------------------------------*/

void ria_net_endpoint_init(
    struct ria_net_endpoint *endpoint,
    struct ria_net_inbox *inbox,
    void (*handle)(struct ria_net_endpoint *endpoint, struct ria_net_event *event)
)
{
    endpoint->handle = handle;
    endpoint->inbox = inbox;
    atomic_init(&endpoint->event_count, 0);
    (void)pthread_mutex_init(&endpoint->lock, NULL); /* cannot fail with default attributes */
    (void)pthread_cond_init(&endpoint->idle, NULL);
}

/* With the lock held: an operation has ended and none follows it. */
void ria_net_endpoint_rest(struct ria_net_endpoint *endpoint)
{
    RIA_ASSERT(endpoint->busy > 0);
    endpoint->busy--;
    if (endpoint->busy == 0) {
        (void)pthread_cond_broadcast(&endpoint->idle);
    }
}

void ria_net_endpoint_close(struct ria_net_endpoint *endpoint)
{
    (void)pthread_mutex_lock(&endpoint->lock);
    endpoint->closing = true;
    (void)pthread_mutex_unlock(&endpoint->lock);
}

/* After the close of whatever nng has: its operations end, their callbacks run. */
void ria_net_endpoint_wait(struct ria_net_endpoint *endpoint)
{
    (void)pthread_mutex_lock(&endpoint->lock);
    while (endpoint->busy > 0) {
        (void)pthread_cond_wait(&endpoint->idle, &endpoint->lock);
    }
    (void)pthread_mutex_unlock(&endpoint->lock);
}

/* Free the memory if the owner is done with it and no event points at it. */
static void release(struct ria_net_endpoint *endpoint)
{
    if (!endpoint->freed || atomic_load(&endpoint->event_count) > 0) {
        return;
    }
    (void)pthread_cond_destroy(&endpoint->idle);
    (void)pthread_mutex_destroy(&endpoint->lock);
    free(endpoint); /* it is the first member of each kind */
}

void ria_net_endpoint_free(struct ria_net_endpoint *endpoint)
{
    endpoint->freed = true;
    release(endpoint);
}
