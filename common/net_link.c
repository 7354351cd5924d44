#include "common/net_link.h"

#include <stdlib.h>
#include <string.h>

#include <nng/nng.h>

#include "common/assert.h"

/* nng's own threads run on_received() and on_sent(): they touch what the two kinds of lock guard,
 * and the link's reader, which belongs to the receive under way. */

enum {
    /* What has been read and the loop has not yet seen. Then: nothing is read. */
    INBOX_BYTES_MAX = 64 * 1024 * 1024,
    INBOX_FRAMES_MAX = 16 * 1024,

    LINK_QUEUE_MAX = 64,  /* frames to send. Then: nothing is read from the link */
    LINK_SEND_FRAMES = 4, /* per send: nng takes 8 pieces, a frame is head and body */
    LINK_GREETING_US = 10 * 1000 * 1000,
};

struct ria_net_link {
    struct ria_net_endpoint endpoint;
    const struct ria_net_link_events *events;
    void *arg;
    nng_stream *stream;
    nng_aio *receive_aio;
    nng_aio *send_aio;
    nng_aio *try_aio; /* sends what the socket takes at once */
    bool accepted;
    struct ria_timer greeting_timer;
    struct ria_net_reader reader; /* the receive's */
    struct ria_net_event up_event;
    struct ria_net_event lost_event;
    struct ria_list parked_link; /* in inbox->parked, under its lock */

    /* Under endpoint.lock. */
    ria_err lost; /* RIA_OK, or why the link is of no use */
    struct ria_list queue;
    atomic_size_t queue_count; /* written under the lock */
    bool sending;
    struct ria_msg *sent[LINK_SEND_FRAMES]; /* under way, with their heads */
    uint8_t heads[LINK_SEND_FRAMES][RIA_NET_HEAD_SIZE];
    nng_iov pieces[2 * LINK_SEND_FRAMES]; /* what is left of them */
    unsigned piece_count;
};

_Static_assert(offsetof(struct ria_net_link, endpoint) == 0, "freed as endpoint");

/* --- receiving --------------------------------------------------------------------------------*/

/* With the lock held: the link is of no use from now on. */
static void lose(struct ria_net_link *link, ria_err why)
{
    if (link->lost == RIA_OK && !link->endpoint.closing) {
        link->lost = why;
        ria_net_inbox_push_one(link->endpoint.inbox, &link->lost_event);
    }
}

/* With inbox->lock held. */
static bool may_receive(const struct ria_net_inbox *inbox, const struct ria_net_link *link)
{
    return inbox->events.bytes < INBOX_BYTES_MAX && inbox->events.frames < INBOX_FRAMES_MAX &&
           (inbox->accept_frames || !link->accepted) &&
           atomic_load(&link->queue_count) < LINK_QUEUE_MAX;
}

/* The reader belongs to the caller: give it to the next receive, unless that is to wait. */
static void receive_next(struct ria_net_link *link)
{
    struct ria_net_inbox *inbox = link->endpoint.inbox;
    struct ria_net_space places[2];
    nng_iov pieces[2];
    bool may = true;

    (void)pthread_mutex_lock(&link->endpoint.lock);
    if (link->endpoint.closing || link->lost != RIA_OK) {
        ria_net_endpoint_rest(&link->endpoint);
        (void)pthread_mutex_unlock(&link->endpoint.lock);
        return;
    }
    (void)pthread_mutex_lock(&inbox->lock);
    may = may_receive(inbox, link);
    if (!may) {
        ria_list_push_back(&inbox->parked, &link->parked_link);
        ria_net_endpoint_rest(&link->endpoint);
    }
    (void)pthread_mutex_unlock(&inbox->lock);
    if (may) {
        size_t count = ria_net_reader_space(&link->reader, places);
        for (size_t i = 0; i < count; i++) {
            pieces[i] = (nng_iov){.iov_buf = places[i].data, .iov_len = places[i].size};
        }
        int rv = nng_aio_set_iov(link->receive_aio, (unsigned)count, pieces);
        RIA_ASSERT(rv == 0); /* it takes more pieces than that */
        nng_stream_recv(link->stream, link->receive_aio);
    }
    (void)pthread_mutex_unlock(&link->endpoint.lock);
}

/* Cut what has come into events. */
static ria_err read_frames(struct ria_net_link *link, struct ria_net_event_list *events)
{
    bool greeted = link->reader.greeted;
    struct ria_msg *msg = NULL;
    uint32_t id = 0;

    for (;;) {
        ria_err err = ria_net_reader_next(&link->reader, &id, &msg);
        if (link->reader.greeted && !greeted) {
            greeted = true;
            ria_net_events_add(events, &link->up_event);
        }
        if (err != RIA_OK || msg == NULL) {
            return err;
        }
        struct ria_net_event *event = malloc(sizeof(*event));
        if (event == NULL) {
            ria_msg_free(msg);
            return RIA_ERR_NOMEM;
        }
        *event = (struct ria_net_event
        ){.kind = RIA_NET_EVENT_FRAME, .endpoint = &link->endpoint, .id = id, .msg = msg};
        ria_net_events_add(events, event);
    }
}

/* nng's threads. */
static void on_received(void *arg)
{
    struct ria_net_link *link = arg;
    struct ria_net_event_list events;
    ria_err err = RIA_ERR_DISCONNECTED;

    ria_net_events_init(&events);
    if (nng_aio_result(link->receive_aio) == 0) {
        ria_net_reader_filled(&link->reader, nng_aio_count(link->receive_aio));
        err = read_frames(link, &events);
    }
    ria_net_inbox_push(link->endpoint.inbox, &events);
    if (err != RIA_OK) {
        (void)pthread_mutex_lock(&link->endpoint.lock);
        lose(link, err);
        (void)pthread_mutex_unlock(&link->endpoint.lock);
    }
    receive_next(link);
}

/* With the endpoint's lock held: take a parked link out if it may receive; its receive counts as
 * under way from here on. */
static bool unpark_one(struct ria_net_link *link)
{
    struct ria_net_inbox *inbox = link->endpoint.inbox;

    (void)pthread_mutex_lock(&inbox->lock);
    bool out = ria_list_is_linked(&link->parked_link) && may_receive(inbox, link);
    if (out) {
        ria_list_remove(&link->parked_link);
        link->endpoint.busy++;
    }
    (void)pthread_mutex_unlock(&inbox->lock);
    return out;
}

/* The first parked link that may receive, NULL if there is none. */
static struct ria_net_link *find_parked(struct ria_net_inbox *inbox)
{
    struct ria_net_link *found = NULL;

    (void)pthread_mutex_lock(&inbox->lock);
    RIA_LIST_FOREACH (it, &inbox->parked) {
        struct ria_net_link *link = RIA_CONTAINER(it, struct ria_net_link, parked_link);
        if (may_receive(inbox, link)) {
            found = link;
            break;
        }
    }
    (void)pthread_mutex_unlock(&inbox->lock);
    return found;
}

/* The loop's thread, which is the one that frees links: go on receiving wherever that may be. */
static void unpark(struct ria_net_inbox *inbox)
{
    struct ria_net_link *link;

    while ((link = find_parked(inbox)) != NULL) {
        (void)pthread_mutex_lock(&link->endpoint.lock);
        bool out = unpark_one(link);
        (void)pthread_mutex_unlock(&link->endpoint.lock);
        if (out) {
            receive_next(link);
        }
    }
}

/* --- sending ----------------------------------------------------------------------------------*/

static void advance_send(struct ria_net_link *link, size_t size);

/* With the lock held: send here and now what the socket takes. That an operation has ended is else
 * told by a thread of nng's, whose waking costs more than the sending; this one has no callback.
 * False: something is left. What counts is what nng says that it has moved: the result may be that
 * of the cancel. */
static bool try_send(struct ria_net_link *link)
{
    int rv = nng_aio_set_iov(link->try_aio, link->piece_count, link->pieces);

    RIA_ASSERT(rv == 0); /* it takes as many */
    nng_stream_send(link->stream, link->try_aio);
    if (nng_aio_count(link->try_aio) == 0) {
        nng_aio_cancel(link->try_aio); /* the socket is full, or broken */
    }
    nng_aio_wait(link->try_aio);
    advance_send(link, nng_aio_count(link->try_aio));
    return link->piece_count == 0;
}

/* With the lock held, and a send under way: give nng what is left of it. */
static void send_rest(struct ria_net_link *link)
{
    int rv = nng_aio_set_iov(link->send_aio, link->piece_count, link->pieces);

    RIA_ASSERT(rv == 0); /* it takes as many */
    nng_stream_send(link->stream, link->send_aio);
}

/* With the lock held: one more frame into the send that is being made. */
static void add_to_send(struct ria_net_link *link, struct ria_net_frame *frame, size_t index)
{
    struct ria_msg *msg = RIA_STEAL(&frame->msg);
    size_t size = ria_msg_size(msg);

    ria_net_wire_head(link->heads[index], frame->id, size);
    link->sent[index] = msg;
    link->pieces[link->piece_count++] =
        (nng_iov){.iov_buf = link->heads[index], .iov_len = RIA_NET_HEAD_SIZE};
    if (size > 0) {
        link->pieces[link->piece_count++] =
            (nng_iov){.iov_buf = ria_msg_data(msg), .iov_len = size};
    }
}

/* With the lock held: the messages of a send that has ended, for the caller to free. */
static void take_sent(struct ria_net_link *link, struct ria_msg *out_sent[LINK_SEND_FRAMES])
{
    memcpy(out_sent, link->sent, sizeof(link->sent));
    memset(link->sent, 0, sizeof(link->sent));
}

static void free_sent(struct ria_msg *sent[LINK_SEND_FRAMES])
{
    for (size_t i = 0; i < LINK_SEND_FRAMES; i++) {
        ria_msg_free(sent[i]);
    }
}

/* Any thread: send some frames if no send is under way. False: there are none, or one is now. */
static bool send_some(struct ria_net_link *link)
{
    struct ria_net_frame *frames[LINK_SEND_FRAMES];
    struct ria_msg *sent[LINK_SEND_FRAMES] = {NULL};
    size_t count = 0;
    bool done = false;

    (void)pthread_mutex_lock(&link->endpoint.lock);
    if (!link->sending && !link->endpoint.closing && link->lost == RIA_OK) {
        link->piece_count = 0;
        while (count < LINK_SEND_FRAMES && !ria_list_is_empty(&link->queue)) {
            struct ria_list *node = link->queue.next;
            ria_list_remove(node);
            frames[count] = RIA_CONTAINER(node, struct ria_net_frame, link);
            add_to_send(link, frames[count], count);
            count++;
        }
        (void)atomic_fetch_sub(&link->queue_count, count);
        done = count > 0 && try_send(link);
        if (done) {
            take_sent(link, sent);
        } else if (count > 0) {
            link->sending = true;
            link->endpoint.busy++;
            send_rest(link);
        }
    }
    (void)pthread_mutex_unlock(&link->endpoint.lock);
    free_sent(sent);
    for (size_t i = 0; i < count && link->events->on_sent != NULL; i++) {
        link->events->on_sent(frames[i]);
    }
    return done;
}

static void send_next(struct ria_net_link *link)
{
    while (send_some(link)) {
    }
}

/* Forget the first `size` bytes of what is under way. */
static void advance_send(struct ria_net_link *link, size_t size)
{
    unsigned done = 0;

    while (done < link->piece_count && size >= link->pieces[done].iov_len) {
        size -= link->pieces[done].iov_len;
        done++;
    }
    link->piece_count -= done;
    memmove(link->pieces, link->pieces + done, link->piece_count * sizeof(link->pieces[0]));
    if (link->piece_count > 0) {
        link->pieces[0].iov_buf = (char *)link->pieces[0].iov_buf + size;
        link->pieces[0].iov_len -= size;
    }
}

/* nng's threads. */
static void on_sent(void *arg)
{
    struct ria_net_link *link = arg;
    struct ria_msg *sent[LINK_SEND_FRAMES];

    (void)pthread_mutex_lock(&link->endpoint.lock);
    if (nng_aio_result(link->send_aio) != 0) {
        lose(link, RIA_ERR_DISCONNECTED);
    } else {
        advance_send(link, nng_aio_count(link->send_aio));
        if (link->piece_count > 0 && !link->endpoint.closing) {
            send_rest(link);
            (void)pthread_mutex_unlock(&link->endpoint.lock);
            return;
        }
    }
    take_sent(link, sent);
    link->sending = false;
    (void)pthread_mutex_unlock(&link->endpoint.lock);

    free_sent(sent);
    send_next(link);
    (void)pthread_mutex_lock(&link->endpoint.lock);
    bool receive = !link->endpoint.closing && unpark_one(link);
    (void)pthread_mutex_unlock(&link->endpoint.lock);
    if (receive) {
        receive_next(link);
    }
    (void)pthread_mutex_lock(&link->endpoint.lock);
    ria_net_endpoint_rest(&link->endpoint); /* last: from here on the link may be freed */
    (void)pthread_mutex_unlock(&link->endpoint.lock);
}

void ria_net_link_send(struct ria_net_link *link, struct ria_net_frame *frame)
{
    RIA_ASSERT(frame->msg != NULL);

    (void)pthread_mutex_lock(&link->endpoint.lock);
    ria_list_push_back(&link->queue, &frame->link);
    (void)atomic_fetch_add(&link->queue_count, 1);
    (void)pthread_mutex_unlock(&link->endpoint.lock);
    send_next(link);
}

void ria_net_link_forget(struct ria_net_link *link, struct ria_net_frame *frame)
{
    struct ria_msg *msg = NULL;

    (void)pthread_mutex_lock(&link->endpoint.lock);
    if (frame->msg != NULL) {
        ria_list_remove(&frame->link);
        (void)atomic_fetch_sub(&link->queue_count, 1);
        msg = RIA_STEAL(&frame->msg);
    }
    (void)pthread_mutex_unlock(&link->endpoint.lock);
    ria_msg_free(msg);
}

bool ria_net_link_is_idle(struct ria_net_link *link)
{
    (void)pthread_mutex_lock(&link->endpoint.lock);
    bool idle = link->lost != RIA_OK || (!link->sending && ria_list_is_empty(&link->queue));
    (void)pthread_mutex_unlock(&link->endpoint.lock);
    return idle;
}

/* --- life -------------------------------------------------------------------------------------*/

static void greeting_late(struct ria_timer *timer, void *arg)
{
    struct ria_net_link *link = arg;

    (void)timer;
    (void)pthread_mutex_lock(&link->endpoint.lock);
    lose(link, RIA_ERR_TIMEOUT);
    (void)pthread_mutex_unlock(&link->endpoint.lock);
}

static void handle(struct ria_net_endpoint *endpoint, struct ria_net_event *event)
{
    struct ria_net_link *link = (struct ria_net_link *)(void *)endpoint;

    switch (event->kind) {
    case RIA_NET_EVENT_UP:
        ria_timer_stop(ria_loop_timers(link->endpoint.inbox->loop), &link->greeting_timer);
        link->events->on_up(link->arg);
        break;
    case RIA_NET_EVENT_FRAME:
        link->events->on_frame(link->arg, event->id, RIA_STEAL(&event->msg));
        break;
    case RIA_NET_EVENT_LOST:
        ria_timer_stop(ria_loop_timers(link->endpoint.inbox->loop), &link->greeting_timer);
        link->events->on_lost(link->arg, link->lost);
        break;
    case RIA_NET_EVENT_STREAM:
        break;
    }
}

ria_err ria_net_link_new(
    struct ria_net_inbox *inbox, nng_stream *stream, bool accepted, struct ria_net_link **out_link
)
{
    struct ria_net_link *link = calloc(1, sizeof(*link));

    if (link == NULL) {
        nng_stream_free(stream);
        return RIA_ERR_NOMEM;
    }
    ria_net_endpoint_init(&link->endpoint, inbox, handle);
    inbox->resume = unpark;
    link->stream = stream;
    link->accepted = accepted;
    link->up_event = (struct ria_net_event){.kind = RIA_NET_EVENT_UP, .endpoint = &link->endpoint};
    link->lost_event =
        (struct ria_net_event){.kind = RIA_NET_EVENT_LOST, .endpoint = &link->endpoint};
    ria_list_init(&link->parked_link);
    ria_list_init(&link->queue);
    atomic_init(&link->queue_count, 0);
    ria_timer_init(&link->greeting_timer, greeting_late, link);
    ria_net_reader_init(&link->reader, accepted ? RIA_NET_ROLE_CALLER : RIA_NET_ROLE_SERVER);
    ria_err err =
        nng_aio_alloc(&link->receive_aio, on_received, link) == 0 ? RIA_OK : RIA_ERR_NOMEM;
    if (err == RIA_OK) {
        err = nng_aio_alloc(&link->send_aio, on_sent, link) == 0 ? RIA_OK : RIA_ERR_NOMEM;
    }
    if (err == RIA_OK) {
        err = nng_aio_alloc(&link->try_aio, NULL, NULL) == 0 ? RIA_OK : RIA_ERR_NOMEM;
    }
    if (err != RIA_OK) {
        ria_net_link_free(link);
        return err;
    }
    *out_link = link;
    return RIA_OK;
}

void ria_net_link_start(
    struct ria_net_link *link, const struct ria_net_link_events *events, void *arg
)
{
    link->events = events;
    link->arg = arg;
    ria_timer_start(
        ria_loop_timers(link->endpoint.inbox->loop), &link->greeting_timer, LINK_GREETING_US
    );

    (void)pthread_mutex_lock(&link->endpoint.lock);
    ria_net_wire_greeting(
        link->heads[0], link->accepted ? RIA_NET_ROLE_SERVER : RIA_NET_ROLE_CALLER
    );
    link->pieces[0] = (nng_iov){.iov_buf = link->heads[0], .iov_len = RIA_NET_GREETING_SIZE};
    link->piece_count = 1;
    link->sending = true;
    link->endpoint.busy += 2; /* the greeting's send, and the first receive */
    send_rest(link);
    (void)pthread_mutex_unlock(&link->endpoint.lock);
    receive_next(link);
}

static void free_queue(struct ria_net_link *link)
{
    struct ria_list *node;

    while ((node = ria_list_pop_front(&link->queue)) != NULL) {
        struct ria_net_frame *frame = RIA_CONTAINER(node, struct ria_net_frame, link);
        ria_msg_freep(&frame->msg);
        if (link->events->on_sent != NULL) {
            link->events->on_sent(frame);
        }
    }
    for (size_t i = 0; i < LINK_SEND_FRAMES; i++) {
        ria_msg_freep(&link->sent[i]);
    }
}

void ria_net_link_free(struct ria_net_link *link)
{
    if (link == NULL) {
        return;
    }
    struct ria_net_inbox *inbox = link->endpoint.inbox;
    ria_timer_stop(ria_loop_timers(inbox->loop), &link->greeting_timer);
    ria_net_endpoint_close(&link->endpoint);
    (void)pthread_mutex_lock(&inbox->lock);
    ria_list_remove(&link->parked_link);
    (void)pthread_mutex_unlock(&inbox->lock);
    nng_stream_close(link->stream); /* ends what is under way */
    ria_net_endpoint_wait(&link->endpoint);
    if (link->receive_aio != NULL) {
        nng_aio_free(link->receive_aio);
    }
    if (link->send_aio != NULL) {
        nng_aio_free(link->send_aio);
    }
    if (link->try_aio != NULL) {
        nng_aio_free(link->try_aio);
    }
    nng_stream_free(link->stream);
    free_queue(link);
    ria_net_reader_fini(&link->reader);
    ria_net_endpoint_free(&link->endpoint);
}
