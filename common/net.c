#include "common/net.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/assert.h"
#include "common/limits.h"
#include "common/map.h"
#include "common/msg.h"
#include "common/net_inbox.h"
#include "common/net_link.h"
#include "common/net_source.h"
#include "common/rand.h"

enum {
    NET_PEERS_MAX = 4 * RIA_NODES_MAX,   /* others that are called. Then: RIA_ERR_BUSY */
    NET_GUESTS_MAX = 4 * RIA_NODES_MAX,  /* connections accepted. Then: they are closed */
    NET_REDIAL_US_MIN = 50 * 1000,       /* doubled with each failure */
    NET_REDIAL_US_MAX = 250 * 1000,      /* a node that restarts may lead again within the second */
    NET_SILENT_US_MAX = 3 * 1000 * 1000, /* see suspect() */
    NET_STOP_ROUNDS_MAX = 1000,          /* of callbacks that call again while everything stops */
    NET_FLUSH_MS_MAX = 1000,
    NET_LINGER_MS = 20,

    /* A request id is the top bit, a generation and a slot of the peer's in-flight table. */
    NET_SLOT_BITS = 10,
    NET_SLOTS = 1 << NET_SLOT_BITS,
};
#define NET_ID_BIT UINT32_C(0x80000000)

_Static_assert((int)RIA_RPC_INFLIGHT_MAX <= (int)NET_SLOTS, "each call in flight has a slot");

/* Who calls us: an accepted connection. Lives until it is lost and its last request has ended. */
struct guest {
    struct ria_net *net;
    struct ria_net_link *link; /* NULL: lost */
    struct ria_list net_link;  /* in net->guests */
    struct ria_list watched;   /* requests whose holder wants to know of the loss */
    size_t held_count;         /* requests, and one while it closes */
    bool up;
};

struct ria_rpc_request {
    struct ria_net_frame reply;
    struct guest *guest;
    struct ria_msg *msg;
    uint32_t id;
    struct ria_list link;     /* in net->held */
    struct ria_list watching; /* in guest->watched, or not linked */
    ria_rpc_gone_fn gone;
    void *gone_arg;
};

typedef enum call_state {
    CALL_WAITING, /* in peer->waiting */
    CALL_SENT,    /* in peer->inflight and a slot; the frame is the link's */
    CALL_REFUSED, /* in net->refused; without a peer */
} call_state;

struct call {
    struct ria_net_frame frame;
    struct ria_list link; /* in the list that its state says */
    struct peer *peer;
    struct ria_timer timer;
    ria_rpc_done_fn done;
    void *arg;
    int64_t sent_us;
    call_state state;
    ria_err refusal;
};

/* Whom we call. */
struct peer {
    struct ria_net *net;
    struct ria_net_dialer *dialer;
    struct ria_net_link *link; /* NULL: none, a dial or its timer is under way */
    bool up;                   /* the link has been greeted */
    struct ria_timer redial;
    int64_t redial_us;
    char address[RIA_ADDRESS_MAX + 1];
    int64_t silent_since_us; /* 0, or when the first call was sent that got nothing but a timeout */
    struct ria_list waiting; /* in order of the calls */
    struct ria_list inflight; /* in order of sending */
    size_t waiting_count;
    size_t free_slot_count;
    uint16_t free_slots[RIA_RPC_INFLIGHT_MAX];
    struct call *slots[RIA_RPC_INFLIGHT_MAX];
    uint32_t generation;
};

struct ria_net {
    struct ria_rpc rpc;
    struct ria_loop *loop;
    struct ria_net_inbox *inbox;
    struct ria_net_listener *listener; /* NULL: only calls */
    struct ria_net_stats stats;
    struct ria_rand rand;
    struct ria_map peers; /* address -> struct peer */
    bool stopped;

    struct ria_list refused; /* calls */
    struct ria_loop_work refused_work;

    ria_rpc_handler_fn handler;
    void *handler_arg;
    struct ria_list guests;
    struct ria_list held; /* requests */
    int64_t replied_us;   /* the last time */
};

static int64_t now_us(const struct ria_net *net)
{
    return ria_clock_mono_us(ria_loop_clock(net->loop));
}

/* --- requests ---------------------------------------------------------------------------------*/

/* Requests are read while there is somebody to handle them and not too many are held. */
static void update_accepting(struct ria_net *net)
{
    bool on = net->handler != NULL && !net->stopped && net->stats.requests_held < RIA_RPC_HELD_MAX;

    ria_net_inbox_accept_frames(net->inbox, on);
}

static void guest_release(struct guest *guest)
{
    if (guest->link == NULL && guest->held_count == 0) {
        free(guest);
    }
}

static void on_request(void *arg, uint32_t id, struct ria_msg *msg)
{
    struct guest *guest = arg;
    struct ria_net *net = guest->net;
    struct ria_rpc_request *request = calloc(1, sizeof(*request));

    net->stats.bytes_received += ria_msg_size(msg);
    if (net->stopped || request == NULL) {
        free(request);
        ria_msg_free(msg);
        return;
    }
    request->guest = guest;
    request->id = id;
    request->msg = msg;
    ria_list_init(&request->watching);
    guest->held_count++;
    ria_list_push_back(&net->held, &request->link);
    net->stats.requests_received++;
    net->stats.requests_held++;
    if (net->stats.requests_held == RIA_RPC_HELD_MAX) {
        update_accepting(net);
    }
    net->handler(net->handler_arg, request);
}

/* The handler is done with the request; its memory lives on. */
static void request_release(struct ria_net *net, struct ria_rpc_request *request)
{
    RIA_ASSERT(net->stats.requests_held > 0);

    ria_msg_freep(&request->msg);
    ria_list_remove(&request->link);
    ria_list_remove(&request->watching);
    request->guest->held_count--;
    net->stats.requests_held--;
    if (net->stats.requests_held == RIA_RPC_HELD_MAX - 1) {
        update_accepting(net);
    }
}

static struct ria_msg *op_request_msg(const struct ria_rpc_request *request)
{
    return request->msg;
}

static void op_drop(struct ria_rpc *rpc, struct ria_rpc_request *request)
{
    struct guest *guest = request->guest;

    request_release(RIA_CONTAINER(rpc, struct ria_net, rpc), request);
    free(request);
    guest_release(guest);
}

static void op_reply(struct ria_rpc *rpc, struct ria_rpc_request *request, struct ria_msg *msg)
{
    struct ria_net *net = RIA_CONTAINER(rpc, struct ria_net, rpc);
    struct guest *guest = request->guest;
    size_t size = ria_msg_size(msg);

    net->stats.frames_oversized += size > RIA_FRAME_SIZE_MAX;
    if (guest->link == NULL || size > RIA_FRAME_SIZE_MAX) {
        ria_msg_free(msg);
        op_drop(rpc, request);
        return;
    }
    net->stats.replies_sent++;
    net->stats.bytes_sent += size;
    net->replied_us = now_us(net);
    request_release(net, request);
    request->reply.msg = msg;
    request->reply.id = request->id;
    ria_net_link_send(guest->link, &request->reply);
}

static void
op_on_gone(struct ria_rpc *rpc, struct ria_rpc_request *request, ria_rpc_gone_fn fn, void *arg)
{
    (void)rpc;
    RIA_ASSERT(fn != NULL);
    RIA_ASSERT(!ria_list_is_linked(&request->watching));

    request->gone = fn;
    request->gone_arg = arg;
    ria_list_push_back(&request->guest->watched, &request->watching);
}

/* Any thread: the reply is on its way, or given up. */
static void on_reply_sent(struct ria_net_frame *frame)
{
    free(RIA_CONTAINER(frame, struct ria_rpc_request, reply));
}

static void op_set_handler(struct ria_rpc *rpc, ria_rpc_handler_fn handler, void *arg)
{
    struct ria_net *net = RIA_CONTAINER(rpc, struct ria_net, rpc);

    RIA_ASSERT(handler != NULL);

    net->handler = handler;
    net->handler_arg = arg;
    update_accepting(net);
}

/* --- guests -----------------------------------------------------------------------------------*/

static void guest_close(struct guest *guest)
{
    guest->net->stats.connections--;
    ria_list_remove(&guest->net_link);
    ria_net_link_free(guest->link);
    guest->link = NULL;
    guest_release(guest);
}

/* Its link is lost. Whoever is told may end any request, the guest's last one too. */
static void guest_tell(struct guest *guest)
{
    struct ria_list *it = NULL;

    while ((it = ria_list_pop_front(&guest->watched)) != NULL) {
        struct ria_rpc_request *request = RIA_CONTAINER(it, struct ria_rpc_request, watching);
        request->gone(request->gone_arg);
    }
}

static void on_guest_up(void *arg)
{
    struct guest *guest = arg;

    guest->up = true;
}

static void on_guest_lost(void *arg, ria_err why)
{
    struct guest *guest = arg;
    struct ria_net *net = guest->net;

    net->stats.connections_refused += !guest->up && why != RIA_ERR_DISCONNECTED;
    net->stats.frames_malformed +=
        guest->up && (why == RIA_ERR_MALFORMED || why == RIA_ERR_TOO_LARGE);
    guest->held_count++; /* it outlives its link while its requests' holders are told */
    guest_close(guest);
    guest_tell(guest);
    guest->held_count--;
    guest_release(guest);
}

static const struct ria_net_link_events guest_events = {
    .on_up = on_guest_up,
    .on_frame = on_request,
    .on_lost = on_guest_lost,
    .on_sent = on_reply_sent,
};

static void on_accepted(void *arg, ria_err err, struct ria_net_link *link)
{
    struct ria_net *net = arg;

    if (err != RIA_OK) {
        return; /* no memory for it */
    }
    struct guest *guest = NULL;
    if (net->stats.connections < NET_GUESTS_MAX && !net->stopped) {
        guest = calloc(1, sizeof(*guest));
    }
    if (guest == NULL) {
        net->stats.connections_refused++;
        ria_net_link_free(link);
        return;
    }
    guest->net = net;
    guest->link = link;
    ria_list_init(&guest->watched);
    ria_list_push_back(&net->guests, &guest->net_link);
    net->stats.connections++;
    ria_net_link_start(link, &guest_events, guest);
}

/* --- calls ------------------------------------------------------------------------------------*/

/* Take the call out of wherever it is, tell its caller, free it. */
static void call_end(struct ria_net *net, struct call *call, ria_err err, struct ria_msg *reply)
{
    struct peer *peer = call->peer;
    ria_rpc_done_fn done = call->done;
    void *arg = call->arg;

    ria_list_remove(&call->link);
    ria_timer_stop(ria_loop_timers(net->loop), &call->timer);
    switch (call->state) {
    case CALL_WAITING:
        peer->waiting_count--;
        break;
    case CALL_SENT:
        peer->slots[call->frame.id % NET_SLOTS] = NULL;
        peer->free_slots[peer->free_slot_count++] = (uint16_t)(call->frame.id % NET_SLOTS);
        ria_net_link_forget(peer->link, &call->frame);
        break;
    case CALL_REFUSED:
        break;
    }
    ria_msg_free(call->frame.msg);
    free(call);
    net->stats.calls_timed_out += err == RIA_ERR_TIMEOUT;
    net->stats.calls_disconnected += err == RIA_ERR_DISCONNECTED;
    done(arg, err, reply);
}

/* End every call of the list. Callbacks may call again. */
static void call_end_all(struct ria_net *net, struct ria_list *calls, ria_err err)
{
    struct ria_list todo;

    ria_list_init(&todo);
    ria_list_splice(&todo, calls);
    while (!ria_list_is_empty(&todo)) {
        struct call *call = RIA_CONTAINER(todo.next, struct call, link);
        call_end(net, call, call->state == CALL_REFUSED ? call->refusal : err, NULL);
    }
}

/* Fail a call that is nowhere yet, on the loop's next turn. */
static void call_refuse(struct ria_net *net, struct call *call, ria_err err)
{
    call->state = CALL_REFUSED;
    call->refusal = err;
    if (ria_list_is_empty(&net->refused)) {
        ria_loop_post(net->loop, &net->refused_work);
    }
    ria_list_push_back(&net->refused, &call->link);
}

static void run_refused(struct ria_loop_work *work)
{
    struct ria_net *net = RIA_CONTAINER(work, struct ria_net, refused_work);

    call_end_all(net, &net->refused, RIA_OK);
}

/* Send what fits into the in-flight table. */
static void peer_fill(struct peer *peer)
{
    struct ria_net *net = peer->net;

    while (peer->up && peer->free_slot_count > 0 && !ria_list_is_empty(&peer->waiting)) {
        struct call *call = RIA_CONTAINER(peer->waiting.next, struct call, link);
        uint32_t slot = peer->free_slots[--peer->free_slot_count];

        ria_list_remove(&call->link);
        peer->waiting_count--;
        ria_list_push_back(&peer->inflight, &call->link);
        RIA_ASSERT(peer->slots[slot] == NULL);
        peer->slots[slot] = call;
        call->state = CALL_SENT;
        call->frame.id = NET_ID_BIT | peer->generation++ << NET_SLOT_BITS | slot;
        call->sent_us = now_us(net);
        net->stats.calls_sent++;
        net->stats.bytes_sent += ria_msg_size(call->frame.msg);
        ria_net_link_send(peer->link, &call->frame);
    }
}

static void peer_lost(struct peer *peer);

/* A connection on which calls have only timed out for a while is taken for dead: TCP would need
 * many minutes to find out, and a peer that came back at another place would not be found. */
static void suspect(struct peer *peer, int64_t sent_us)
{
    if (peer->silent_since_us == 0) {
        peer->silent_since_us = sent_us;
    }
    if (now_us(peer->net) - peer->silent_since_us >= NET_SILENT_US_MAX) {
        peer_lost(peer);
    }
}

static void call_expired(struct ria_timer *timer, void *arg)
{
    struct call *call = RIA_CONTAINER(timer, struct call, timer);
    struct peer *peer = arg;
    bool was_sent = call->state == CALL_SENT;
    int64_t sent_us = call->sent_us;

    call_end(peer->net, call, peer->up ? RIA_ERR_TIMEOUT : RIA_ERR_DISCONNECTED, NULL);
    if (was_sent && peer->up) {
        suspect(peer, sent_us);
    }
    peer_fill(peer);
}

static void on_reply(void *arg, uint32_t id, struct ria_msg *msg)
{
    struct peer *peer = arg;
    struct ria_net *net = peer->net;
    uint32_t slot = id % NET_SLOTS;
    struct call *call = slot < RIA_RPC_INFLIGHT_MAX ? peer->slots[slot] : NULL;

    net->stats.bytes_received += ria_msg_size(msg);
    peer->silent_since_us = 0;
    if (call == NULL || call->frame.id != id) {
        net->stats.frames_malformed++;
        ria_msg_free(msg);
        return;
    }
    call_end(net, call, RIA_OK, msg);
    peer_fill(peer);
}

/* --- peers ------------------------------------------------------------------------------------*/

/* Half of the time that is due at least, so that many do not come back in step. */
static void redial_later(struct peer *peer)
{
    int64_t half_us = peer->redial_us / 2;
    int64_t delay_us = half_us + (int64_t)ria_rand_below(&peer->net->rand, (uint64_t)half_us);

    peer->redial_us = ria_min_i64(peer->redial_us * 2, NET_REDIAL_US_MAX);
    ria_timer_start(ria_loop_timers(peer->net->loop), &peer->redial, delay_us);
}

static void redial_now(struct ria_timer *timer, void *arg)
{
    struct peer *peer = arg;

    (void)timer;
    ria_net_dialer_dial(peer->dialer);
}

/* The connection is of no use any more: what was sent on it ends, the rest waits for the next. */
static void peer_lost(struct peer *peer)
{
    struct ria_net *net = peer->net;

    net->stats.connections_lost += peer->up;
    peer->up = false;
    peer->silent_since_us = 0;
    call_end_all(net, &peer->inflight, RIA_ERR_DISCONNECTED);
    ria_net_link_free(RIA_STEAL(&peer->link));
    redial_later(peer);
}

static void on_peer_up(void *arg)
{
    struct peer *peer = arg;

    peer->up = true;
    peer->redial_us = NET_REDIAL_US_MIN;
    peer_fill(peer);
}

static void on_peer_lost(void *arg, ria_err why)
{
    struct peer *peer = arg;

    peer->net->stats.frames_malformed += why == RIA_ERR_MALFORMED || why == RIA_ERR_TOO_LARGE;
    peer_lost(peer);
}

static const struct ria_net_link_events peer_events = {
    .on_up = on_peer_up,
    .on_frame = on_reply,
    .on_lost = on_peer_lost,
};

static void on_dialed(void *arg, ria_err err, struct ria_net_link *link)
{
    struct peer *peer = arg;

    if (err != RIA_OK) {
        redial_later(peer);
        return;
    }
    peer->link = link;
    ria_net_link_start(link, &peer_events, peer);
}

static void peer_free(struct peer *peer)
{
    ria_timer_stop(ria_loop_timers(peer->net->loop), &peer->redial);
    ria_net_dialer_free(peer->dialer);
    ria_net_link_free(peer->link);
    free(peer);
}

static ria_err peer_new(struct ria_net *net, const char *address, struct peer **out_peer)
{
    size_t size = strlen(address);
    struct peer *peer = calloc(1, sizeof(*peer));

    if (peer == NULL) {
        return RIA_ERR_NOMEM;
    }
    peer->net = net;
    peer->redial_us = NET_REDIAL_US_MIN;
    memcpy(peer->address, address, size);
    ria_list_init(&peer->waiting);
    ria_list_init(&peer->inflight);
    ria_timer_init(&peer->redial, redial_now, peer);
    while (peer->free_slot_count < RIA_RPC_INFLIGHT_MAX) {
        size_t slot = RIA_RPC_INFLIGHT_MAX - 1 - peer->free_slot_count;
        peer->free_slots[peer->free_slot_count++] = (uint16_t)slot;
    }
    ria_err err = ria_net_dialer_new(net->inbox, address, on_dialed, peer, &peer->dialer);
    if (err == RIA_OK) {
        err = ria_map_put(&net->peers, peer->address, size, peer);
    }
    if (err != RIA_OK) {
        peer_free(peer);
        return err;
    }
    ria_net_dialer_dial(peer->dialer);
    *out_peer = peer;
    return RIA_OK;
}

/* The peer of that address, new at the first call. The errors are those of a call that is refused.
 */
static ria_err peer_find(struct ria_net *net, const char *address, struct peer **out_peer)
{
    struct peer *peer = ria_map_get(&net->peers, address, strlen(address));

    if (peer == NULL) {
        if (strlen(address) > RIA_ADDRESS_MAX) {
            return RIA_ERR_INVALID;
        }
        if (net->peers.count >= NET_PEERS_MAX) {
            return RIA_ERR_BUSY;
        }
        ria_err err = peer_new(net, address, &peer);
        if (err != RIA_OK) { /* what is no fault of the caller's: out of descriptors and the like */
            return err == RIA_ERR_INVALID || err == RIA_ERR_NOMEM ? err : RIA_ERR_BUSY;
        }
    }
    if (peer->waiting_count >= RIA_RPC_QUEUE_MAX) {
        return RIA_ERR_BUSY;
    }
    *out_peer = peer;
    return RIA_OK;
}

static void op_call(
    struct ria_rpc *rpc,
    const char *address,
    struct ria_msg *msg,
    uint32_t timeout_ms,
    ria_rpc_done_fn done,
    void *arg
)
{
    struct ria_net *net = RIA_CONTAINER(rpc, struct ria_net, rpc);
    struct call *call = calloc(1, sizeof(*call));
    ria_err err = RIA_OK;

    RIA_ASSERT(call != NULL); /* nothing is left to report this with */
    RIA_ASSERT(msg != NULL);
    RIA_ASSERT(done != NULL);

    call->frame.msg = msg;
    call->done = done;
    call->arg = arg;
    if (net->stopped) {
        err = RIA_ERR_SHUTDOWN;
    } else if (ria_msg_size(msg) > RIA_FRAME_SIZE_MAX) {
        net->stats.frames_oversized++;
        err = RIA_ERR_TOO_LARGE;
    } else {
        err = peer_find(net, address, &call->peer);
    }
    if (err != RIA_OK) {
        call_refuse(net, call, err);
        return;
    }
    struct peer *peer = call->peer;
    call->state = CALL_WAITING;
    ria_list_push_back(&peer->waiting, &call->link);
    peer->waiting_count++;
    ria_timer_init(&call->timer, call_expired, peer);
    ria_timer_start(ria_loop_timers(net->loop), &call->timer, (int64_t)timeout_ms * 1000);
    peer_fill(peer);
}

/* --- life -------------------------------------------------------------------------------------*/

static const struct ria_rpc_ops rpc_ops = {
    .call = op_call,
    .set_handler = op_set_handler,
    .request_msg = op_request_msg,
    .reply = op_reply,
    .drop = op_drop,
    .on_gone = op_on_gone,
};

static void net_freep(struct ria_net **net)
{
    ria_net_free(*net);
    *net = NULL;
}

ria_err ria_net_new(struct ria_loop *loop, const char *listen_address, struct ria_net **out_net)
{
    RIA_CLEANUP(net_freep) struct ria_net *net = calloc(1, sizeof(*net));
    if (net == NULL) {
        return RIA_ERR_NOMEM;
    }
    net->rpc.ops = &rpc_ops;
    net->loop = loop;
    net->refused_work.fn = run_refused;
    ria_map_init(&net->peers);
    ria_list_init(&net->refused);
    ria_list_init(&net->held);
    ria_list_init(&net->guests);
    ria_rand_init_system(&net->rand);

    RIA_TRY(ria_net_inbox_new(loop, &net->inbox));
    if (listen_address != NULL) {
        RIA_TRY(ria_net_listener_new(net->inbox, listen_address, on_accepted, net, &net->listener));
    }
    *out_net = RIA_STEAL(&net);
    return RIA_OK;
}

struct ria_rpc *ria_net_rpc(struct ria_net *net)
{
    return &net->rpc;
}

uint16_t ria_net_port(const struct ria_net *net)
{
    return net->listener == NULL ? 0 : ria_net_listener_port(net->listener);
}

void ria_net_stats(const struct ria_net *net, struct ria_net_stats *out_stats)
{
    *out_stats = net->stats;
    out_stats->peers = (uint32_t)net->peers.count;
}

void ria_net_stop(struct ria_net *net)
{
    size_t cursor = 0;
    struct peer *peer;

    net->stopped = true; /* from here on every call is refused: no list grows but that one */
    if (net->inbox != NULL) {
        update_accepting(net);
    }
    while ((peer = ria_map_next(&net->peers, &cursor)) != NULL) {
        call_end_all(net, &peer->inflight, RIA_ERR_SHUTDOWN);
        call_end_all(net, &peer->waiting, RIA_ERR_SHUTDOWN);
    }
    for (int rounds = 0; !ria_list_is_empty(&net->refused); rounds++) {
        RIA_ASSERT(
            rounds < NET_STOP_ROUNDS_MAX
        ); /* who calls again at once, whatever the answer? */
        call_end_all(net, &net->refused, RIA_OK);
    }
    ria_loop_unpost(net->loop, &net->refused_work);
}

static bool replies_are_out(const struct ria_net *net)
{
    RIA_LIST_FOREACH (it, &net->guests) {
        if (!ria_net_link_is_idle(RIA_CONTAINER(it, struct guest, net_link)->link)) {
            return false;
        }
    }
    return true;
}

/* Replies are in the system's hands when the links are idle, and on the wire a little later. */
static void flush_replies(const struct ria_net *net)
{
    static const struct timespec tick = {.tv_nsec = 1000 * 1000};
    bool recent = net->replied_us != 0 && now_us(net) - net->replied_us < NET_FLUSH_MS_MAX * 1000;

    for (int i = 0; i < NET_FLUSH_MS_MAX && !replies_are_out(net); i++) {
        (void)nanosleep(&tick, NULL);
    }
    for (int i = 0; i < NET_LINGER_MS && recent; i++) {
        (void)nanosleep(&tick, NULL);
    }
}

static void free_held(struct ria_net *net)
{
    while (!ria_list_is_empty(&net->held)) {
        op_drop(&net->rpc, RIA_CONTAINER(net->held.next, struct ria_rpc_request, link));
    }
}

void ria_net_free(struct ria_net *net)
{
    size_t cursor = 0;
    struct peer *peer;

    if (net == NULL) {
        return;
    }
    ria_net_stop(net);
    flush_replies(net);
    ria_net_listener_free(net->listener);
    while (!ria_list_is_empty(&net->guests)) {
        guest_close(RIA_CONTAINER(net->guests.next, struct guest, net_link));
    }
    free_held(net);
    while ((peer = ria_map_next(&net->peers, &cursor)) != NULL) {
        peer_free(peer);
    }
    ria_map_fini(&net->peers);
    ria_net_inbox_free(net->inbox);
    free(net);
}
