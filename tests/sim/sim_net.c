#include "tests/sim/sim_net.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "tests/sim/sim_net_internal.h"

enum {
    /* As in net.c and net_socket.c. */
    NET_SILENT_US_MAX = 3 * 1000 * 1000,
    NET_DIAL_US_MIN = 50 * 1000,
    NET_DIAL_US_MAX = 1000 * 1000,
    NET_STOP_ROUNDS_MAX = 1000,
};

static void *new_object(size_t size)
{
    void *object = calloc(1, size);

    RIA_ASSERT(object != NULL);
    return object;
}

static int64_t now_us(const struct sim_net *net)
{
    return ria_clock_mono_us(net->fabric.trace->clock);
}

static struct sim_process *process_of(struct ria_rpc *rpc)
{
    return RIA_CONTAINER(rpc, struct sim_process, rpc);
}

static struct ria_timers *timers_of(const struct sim_process *process)
{
    return process->host->timers;
}

/* ---- calls ---- */

/* Take the call out of wherever it is, tell its caller, free it. */
static void call_end(struct sim_call *call, ria_err err, struct ria_msg *reply)
{
    ria_rpc_done_fn done = call->done;
    void *arg = call->arg;

    ria_list_remove(&call->link);
    ria_timer_stop(timers_of(call->process), &call->timer);
    if (call->peer != NULL && call->id == 0) {
        call->peer->waiting_count--;
    } else if (call->peer != NULL) {
        call->peer->inflight_count--;
    }
    ria_msg_free(call->msg);
    free(call);
    done(arg, err, reply);
}

/* End every call of the list. Callbacks may call again. */
static void call_end_all(struct ria_list *calls, ria_err err)
{
    struct ria_list todo;

    ria_list_init(&todo);
    ria_list_splice(&todo, calls);
    while (!ria_list_is_empty(&todo)) {
        struct sim_call *call = RIA_CONTAINER(todo.next, struct sim_call, link);
        call_end(call, call->peer == NULL ? call->refusal : err, NULL);
    }
}

static void on_refused(struct ria_timer *timer, void *arg)
{
    struct sim_process *process = arg;

    (void)timer;
    call_end_all(&process->refused, RIA_OK);
}

static void call_refuse(struct sim_call *call, ria_err err)
{
    struct sim_process *process = call->process;

    call->refusal = err;
    call->peer = NULL;
    ria_list_push_back(&process->refused, &call->link);
    if (!process->is_dead && !process->refused_timer.active) {
        ria_timer_start(timers_of(process), &process->refused_timer, 0);
    }
}

/* ---- peers ---- */

/* Send what fits. */
static void peer_fill(struct sim_peer *peer)
{
    struct sim_net *net = peer->process->net;

    while (peer->connection != NULL && peer->inflight_count < RIA_RPC_INFLIGHT_MAX &&
           !ria_list_is_empty(&peer->waiting)) {
        struct sim_call *call = RIA_CONTAINER(peer->waiting.next, struct sim_call, link);
        ria_list_remove(&call->link);
        ria_list_push_back(&peer->inflight, &call->link);
        peer->waiting_count--;
        peer->inflight_count++;
        call->id = net->id_next++;
        call->sent_us = now_us(net);
        sim_connection_send(
            peer->connection, &peer->connection->up, RIA_STEAL(&call->msg), call->id
        );
    }
}

static void peer_redial(struct sim_peer *peer, int64_t pause_us)
{
    ria_timer_start(timers_of(peer->process), &peer->dial, pause_us);
}

void sim_peer_lose(struct sim_peer *peer)
{
    struct sim_connection *connection = RIA_STEAL(&peer->connection);

    trace_say(
        peer->process->net->fabric.trace,
        "%s has lost its connection to %s",
        peer->process->host->name,
        peer->address
    );
    sim_connection_leave(connection);
    sim_connection_notify_server(connection);
    peer->silent_since_us = 0;
    peer->dial_us = NET_DIAL_US_MIN;
    peer_redial(peer, peer->dial_us);
    call_end_all(&peer->inflight, RIA_ERR_DISCONNECTED);
}

static struct sim_call *find_call(const struct sim_peer *peer, uint64_t id)
{
    RIA_LIST_FOREACH (it, &peer->inflight) {
        struct sim_call *call = RIA_CONTAINER(it, struct sim_call, link);
        if (call->id == id) {
            return call;
        }
    }
    return NULL;
}

void sim_peer_take_reply(struct sim_peer *peer, struct ria_msg *msg, uint64_t id)
{
    struct sim_call *call = find_call(peer, id);

    peer->silent_since_us = 0;
    if (call == NULL) {
        ria_msg_free(msg); /* too late */
        return;
    }
    call_end(call, RIA_OK, msg);
    peer_fill(peer);
}

static struct sim_host *find_host(struct sim_net *net, const char *address)
{
    for (uint32_t i = 0; i < net->fabric.host_count; i++) {
        if (address[0] != '\0' && strcmp(net->hosts[i].address, address) == 0) {
            return &net->hosts[i];
        }
    }
    return NULL;
}

static bool listens(const struct sim_host *host)
{
    return host != NULL && host->process != NULL && !host->process->is_dead &&
           host->process->handler != NULL;
}

static void peer_dial(struct ria_timer *timer, void *arg)
{
    struct sim_peer *peer = arg;
    struct sim_net *net = peer->process->net;
    struct sim_fabric *fabric = &net->fabric;
    uint32_t own = peer->process->host->number;
    struct sim_host *host = find_host(net, peer->address);
    bool way =
        host != NULL && !fabric->blocked[own][host->number] && !fabric->blocked[host->number][own];

    (void)timer;
    if (!way || !listens(host)) {
        peer->is_connecting = false;
        peer->dial_us = ria_min_i64(2 * peer->dial_us, NET_DIAL_US_MAX);
        peer_redial(peer, peer->dial_us);
    } else if (!peer->is_connecting) {
        peer->is_connecting = true;
        peer_redial(
            peer,
            2 * sim_fabric_latency(fabric, own, host->number) +
                sim_fabric_latency(fabric, host->number, own)
        );
    } else {
        peer->is_connecting = false;
        peer->connection = sim_connection_new(peer, host);
        peer_fill(peer);
    }
}

static struct sim_peer *peer_new(struct sim_process *process, const char *address)
{
    struct sim_peer *peer = new_object(sizeof(*peer));

    peer->process = process;
    peer->address = strdup(address);
    RIA_ASSERT(peer->address != NULL);
    peer->dial_us = NET_DIAL_US_MIN;
    ria_list_init(&peer->waiting);
    ria_list_init(&peer->inflight);
    ria_timer_init(&peer->dial, peer_dial, peer);
    ria_list_push_back(&process->peers, &peer->link);
    peer_redial(peer, 0);
    return peer;
}

static struct sim_peer *peer_find(struct sim_process *process, const char *address)
{
    RIA_LIST_FOREACH (it, &process->peers) {
        struct sim_peer *peer = RIA_CONTAINER(it, struct sim_peer, link);
        if (strcmp(peer->address, address) == 0) {
            return peer;
        }
    }
    return peer_new(process, address);
}

static void peer_free(struct sim_peer *peer)
{
    RIA_ASSERT(peer->inflight_count == 0 && peer->waiting_count == 0);

    ria_timer_stop(timers_of(peer->process), &peer->dial);
    ria_list_remove(&peer->link);
    free(peer->address);
    free(peer);
}

/* ---- the rpc's functions ---- */

static void on_expired(struct ria_timer *timer, void *arg)
{
    struct sim_call *call = arg;
    struct sim_peer *peer = call->peer;
    bool is_up = peer->connection != NULL;
    int64_t now = now_us(peer->process->net);

    (void)timer;
    trace_say(
        peer->process->net->fabric.trace,
        "%s gives up call #%" PRIu64 " to %s",
        peer->process->host->name,
        call->id,
        peer->address
    );
    if (call->id != 0 && peer->silent_since_us == 0) {
        peer->silent_since_us = call->sent_us;
    }
    bool gives_up = call->id != 0 && now - peer->silent_since_us >= NET_SILENT_US_MAX;
    call_end(call, is_up ? RIA_ERR_TIMEOUT : RIA_ERR_DISCONNECTED, NULL);
    if (gives_up && peer->connection != NULL) {
        sim_peer_lose(peer);
    }
    peer_fill(peer);
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
    struct sim_process *process = process_of(rpc);
    struct sim_call *call = new_object(sizeof(*call));

    RIA_ASSERT(msg != NULL);
    RIA_ASSERT(done != NULL);

    call->process = process;
    call->msg = msg;
    call->done = done;
    call->arg = arg;
    ria_timer_init(&call->timer, on_expired, call);
    if (process->is_dead) {
        call_refuse(call, RIA_ERR_SHUTDOWN);
        return;
    }
    if (ria_msg_size(msg) > RIA_FRAME_SIZE_MAX || strlen(address) > RIA_ADDRESS_MAX) {
        call_refuse(
            call, ria_msg_size(msg) > RIA_FRAME_SIZE_MAX ? RIA_ERR_TOO_LARGE : RIA_ERR_INVALID
        );
        return;
    }
    struct sim_peer *peer = peer_find(process, address);
    if (peer->waiting_count >= RIA_RPC_QUEUE_MAX) {
        call_refuse(call, RIA_ERR_BUSY);
        return;
    }
    call->peer = peer;
    ria_list_push_back(&peer->waiting, &call->link);
    peer->waiting_count++;
    ria_timer_start(timers_of(process), &call->timer, (int64_t)timeout_ms * 1000);
    peer_fill(peer);
}

static void op_set_handler(struct ria_rpc *rpc, ria_rpc_handler_fn handler, void *arg)
{
    struct sim_process *process = process_of(rpc);

    RIA_ASSERT(handler != NULL);
    process->handler = handler;
    process->handler_arg = arg;
}

static struct ria_msg *op_request_msg(const struct ria_rpc_request *request)
{
    return request->msg;
}

static void request_free(struct ria_rpc_request *request)
{
    ria_list_remove(&request->link);
    ria_msg_free(request->msg);
    free(request);
}

static void op_reply(struct ria_rpc *rpc, struct ria_rpc_request *request, struct ria_msg *msg)
{
    struct sim_connection *connection = request->connection;
    uint64_t id = request->id;

    RIA_ASSERT(msg != NULL);
    request_free(request);
    if (process_of(rpc)->is_dead || connection->peer == NULL) {
        ria_msg_free(msg);
    } else {
        sim_connection_send(connection, &connection->down, msg, id);
    }
}

static void op_drop(struct ria_rpc *rpc, struct ria_rpc_request *request)
{
    (void)rpc;
    request_free(request);
}

static void
op_on_gone(struct ria_rpc *rpc, struct ria_rpc_request *request, ria_rpc_gone_fn fn, void *arg)
{
    (void)rpc;
    RIA_ASSERT(fn != NULL);
    RIA_ASSERT(request->gone == NULL);
    request->gone = fn;
    request->gone_arg = arg;
}

static const struct ria_rpc_ops rpc_ops = {
    .call = op_call,
    .set_handler = op_set_handler,
    .request_msg = op_request_msg,
    .reply = op_reply,
    .drop = op_drop,
    .on_gone = op_on_gone,
};

/* ---- processes ---- */

void sim_process_take_request(
    struct sim_process *process, struct sim_connection *from, struct ria_msg *msg, uint64_t id
)
{
    if (process->is_dead || process->handler == NULL) {
        ria_msg_free(msg);
        return;
    }
    struct ria_rpc_request *request = new_object(sizeof(*request));
    request->connection = from;
    request->msg = msg;
    request->id = id;
    ria_list_push_back(&process->held, &request->link);
    process->handler(process->handler_arg, request);
}

/* A request of the connection whose holder wants to know, or NULL. */
static struct ria_rpc_request *
find_watched(struct sim_process *process, const struct sim_connection *connection)
{
    RIA_LIST_FOREACH (it, &process->held) {
        struct ria_rpc_request *request = RIA_CONTAINER(it, struct ria_rpc_request, link);
        if (request->connection == connection && request->gone != NULL) {
            return request;
        }
    }
    return NULL;
}

void sim_process_lose_guest(struct sim_process *process, const struct sim_connection *connection)
{
    struct ria_rpc_request *request = NULL;

    while (!process->is_dead && (request = find_watched(process, connection)) != NULL) {
        ria_rpc_gone_fn fn = request->gone;
        request->gone = NULL;
        fn(request->gone_arg); /* may end any of them */
    }
}

struct ria_rpc *sim_net_boot(struct sim_net *net, uint32_t number)
{
    struct sim_host *host = &net->hosts[number];
    struct sim_process *process = new_object(sizeof(*process));

    RIA_ASSERT(host->process == NULL);
    process->rpc.ops = &rpc_ops;
    process->net = net;
    process->host = host;
    ria_list_init(&process->peers);
    ria_list_init(&process->refused);
    ria_list_init(&process->held);
    ria_timer_init(&process->refused_timer, on_refused, process);
    host->process = process;
    /* The machine answers for what its last process left. */
    RIA_LIST_FOREACH (it, &net->connections) {
        struct sim_connection *connection = RIA_CONTAINER(it, struct sim_connection, link);
        if (connection->server_host == number && connection->server == NULL) {
            sim_connection_notify(connection);
        }
    }
    return &process->rpc;
}

void sim_net_kill(struct sim_net *net, uint32_t number, bool power_cut)
{
    struct sim_process *process = net->hosts[number].process;

    if (process == NULL || process->is_dead) {
        return;
    }
    process->is_dead = true;
    ria_timer_stop(timers_of(process), &process->refused_timer);
    RIA_LIST_FOREACH (it, &process->peers) {
        struct sim_peer *peer = RIA_CONTAINER(it, struct sim_peer, link);
        ria_timer_stop(timers_of(process), &peer->dial);
        if (peer->connection != NULL) {
            struct sim_connection *connection = RIA_STEAL(&peer->connection);
            sim_connection_leave(connection);
            if (!power_cut) {
                sim_connection_notify_server(connection);
            }
        }
    }
    RIA_LIST_FOREACH (it, &net->connections) {
        struct sim_connection *connection = RIA_CONTAINER(it, struct sim_connection, link);
        if (connection->server == process) {
            sim_connection_orphan(connection, power_cut);
        }
    }
}

void sim_net_end_calls(struct sim_net *net, uint32_t number)
{
    struct sim_process *process = net->hosts[number].process;

    process->is_dead = true;
    RIA_LIST_FOREACH (it, &process->peers) {
        struct sim_peer *peer = RIA_CONTAINER(it, struct sim_peer, link);
        call_end_all(&peer->inflight, RIA_ERR_SHUTDOWN);
        call_end_all(&peer->waiting, RIA_ERR_SHUTDOWN);
    }
    for (int rounds = 0; !ria_list_is_empty(&process->refused); rounds++) {
        RIA_ASSERT(rounds < NET_STOP_ROUNDS_MAX); /* who calls again at once? */
        call_end_all(&process->refused, RIA_OK);
    }
}

void sim_net_bury(struct sim_net *net, uint32_t number)
{
    struct sim_process *process = net->hosts[number].process;

    RIA_ASSERT(process->is_dead);
    while (!ria_list_is_empty(&process->peers)) {
        peer_free(RIA_CONTAINER(process->peers.next, struct sim_peer, link));
    }
    while (!ria_list_is_empty(&process->held)) {
        request_free(RIA_CONTAINER(process->held.next, struct ria_rpc_request, link));
    }
    free(process);
    net->hosts[number].process = NULL;
}

/* ---- trouble ---- */

void sim_net_watch_sends(
    struct sim_net *net, uint32_t number, uint64_t count, void (*fn)(void *arg), void *arg
)
{
    struct sim_host *host = &net->hosts[number];

    host->sends_left = count;
    host->on_sends = fn;
    host->on_sends_arg = arg;
}

void sim_net_set_profile(struct sim_net *net, const struct sim_net_profile *profile)
{
    net->fabric.profile = *profile;
}

void sim_net_block(struct sim_net *net, uint32_t from, uint32_t to, bool blocked)
{
    sim_fabric_block(&net->fabric, from, to, blocked);
}

void sim_net_slow(struct sim_net *net, uint32_t host, int64_t extra_us)
{
    net->fabric.extra_us[host] = extra_us;
}

void sim_net_copy(struct sim_net *net, uint32_t host, uint32_t one_in, struct ria_timers *timers)
{
    net->copy_timers = timers;
    net->hosts[host].copy_one_in = one_in;
}

void sim_net_reset(struct sim_net *net, uint32_t a, uint32_t b, bool silent)
{
    RIA_LIST_FOREACH (it, &net->connections) {
        struct sim_connection *connection = RIA_CONTAINER(it, struct sim_connection, link);
        bool between = (connection->client_host == a && connection->server_host == b) ||
                       (connection->client_host == b && connection->server_host == a);
        if (between && !connection->is_broken) {
            sim_connection_break(connection, silent);
        }
    }
}

void sim_net_heal(struct sim_net *net)
{
    for (uint32_t i = 0; i < net->fabric.host_count; i++) {
        net->fabric.extra_us[i] = 0;
        net->hosts[i].copy_one_in = 0;
        for (uint32_t j = 0; j < net->fabric.host_count; j++) {
            sim_fabric_block(&net->fabric, i, j, false);
        }
    }
    net->fabric.profile.spike_one_in = 0;
    net->fabric.profile.reset_one_in = 0;
    /* Whoever sends on a connection that the other side knows nothing of is told so. */
    RIA_LIST_FOREACH (it, &net->connections) {
        struct sim_connection *connection = RIA_CONTAINER(it, struct sim_connection, link);
        if (connection->is_broken) {
            sim_connection_notify(connection);
        }
    }
}

/* ---- life ---- */

struct sim_net *sim_net_new(struct trace *trace, uint64_t seed)
{
    struct sim_net *net = new_object(sizeof(*net));

    sim_fabric_init(&net->fabric, trace, seed);
    ria_list_init(&net->connections);
    ria_list_init(&net->copies);
    net->id_next = 1;
    return net;
}

void sim_net_free(struct sim_net *net)
{
    if (net == NULL) {
        return;
    }
    for (uint32_t i = 0; i < net->fabric.host_count; i++) {
        RIA_ASSERT(net->hosts[i].process == NULL);
    }
    while (!ria_list_is_empty(&net->copies)) {
        sim_copy_free(RIA_CONTAINER(net->copies.next, struct sim_copy, link));
    }
    RIA_LIST_FOREACH (it, &net->connections) {
        struct sim_connection *connection = RIA_CONTAINER(it, struct sim_connection, link);
        sim_connection_free(connection);
    }
    free(net);
}

uint32_t sim_net_add_host(
    struct sim_net *net, const char *name, const char *address, struct ria_timers *timers
)
{
    uint32_t number = sim_fabric_add_host(&net->fabric, timers);

    net->hosts[number] =
        (struct sim_host){.number = number, .name = name, .address = address, .timers = timers};
    return number;
}
