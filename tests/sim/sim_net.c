#include "tests/sim/sim_net.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"

enum {
    /* As in net.c and net_socket.c. */
    NET_SILENT_US_MAX = 3 * 1000 * 1000,
    NET_DIAL_US_MIN = 50 * 1000,
    NET_DIAL_US_MAX = 1000 * 1000,

    NET_RETRY_NOTICE_US = 200 * 1000, /* a reset that a blocked way holds up */
    NET_STOP_ROUNDS_MAX = 1000,
};

struct host;
struct process;
struct peer;

struct ria_rpc_request {
    struct ria_list link; /* in process->held */
    struct connection *connection;
    struct ria_msg *msg;
    uint64_t id;
};

struct call {
    struct ria_list link; /* in peer->waiting or peer->inflight, or process->refused */
    struct process *process;
    struct peer *peer; /* NULL: refused */
    struct ria_timer timer;
    struct ria_msg *msg; /* until it is sent */
    ria_rpc_done_fn done;
    void *arg;
    uint64_t id; /* 0 = not sent */
    int64_t sent_us;
    ria_err refusal;
};

/* One connection, as long as the net lives: requests and frames refer to it. */
struct connection {
    struct ria_list link; /* in net->connections */
    struct sim_net *net;
    uint32_t client_host;
    uint32_t server_host;
    struct peer *peer;      /* NULL: the client has gone, or knows that it is broken */
    struct process *server; /* NULL: gone */
    bool is_broken;
    struct sim_wire up;
    struct sim_wire down;
    struct ria_timer notice; /* on the client's timers: it learns that it is broken */
};

/* What a process calls at one address. */
struct peer {
    struct ria_list link; /* in process->peers */
    struct process *process;
    char *address;
    struct connection *connection; /* NULL: down */
    bool is_connecting;
    struct ria_timer dial;
    int64_t dial_us;         /* the next pause */
    int64_t silent_since_us; /* as in net.c */
    struct ria_list waiting;
    struct ria_list inflight;
    size_t waiting_count;
    size_t inflight_count;
};

struct process {
    struct ria_rpc rpc;
    struct sim_net *net;
    struct host *host;
    bool is_dead;
    struct ria_list peers;
    struct ria_list refused;
    struct ria_timer refused_timer;
    ria_rpc_handler_fn handler;
    void *handler_arg;
    struct ria_list held;
};

struct host {
    uint32_t number;
    const char *name;
    const char *address;
    struct ria_timers *timers;
    struct process *process; /* NULL: none */
    uint64_t sends_left;     /* until on_sends; 0 = never */
    void (*on_sends)(void *arg);
    void *on_sends_arg;
};

struct sim_net {
    struct sim_fabric fabric;
    struct ria_list connections;
    uint64_t id_next;
    struct host hosts[SIM_HOSTS_MAX];
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

static struct process *process_of(struct ria_rpc *rpc)
{
    return RIA_CONTAINER(rpc, struct process, rpc);
}

static struct ria_timers *timers_of(const struct process *process)
{
    return process->host->timers;
}

/* For the person who reads a trace. */
static void say_frame(
    const struct connection *connection, const struct ria_msg *msg, uint64_t id, bool is_request
)
{
    const struct sim_net *net = connection->net;
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload = RIA_SLICE_NULL;
    const char *api = "reply";
    FILE *out = net->fabric.trace->out;

    if (out == NULL) {
        return;
    }
    if (is_request && envelope_open_request(msg, &header, &body, &payload) == RIA_OK) {
        api = api_name(header.api_key);
    }
    (void)fprintf(
        out,
        "%10.6f %s -> %s %s #%llu size=%zu\n",
        (double)now_us(net) / 1e6,
        net->hosts[is_request ? connection->client_host : connection->server_host].name,
        net->hosts[is_request ? connection->server_host : connection->client_host].name,
        api,
        (unsigned long long)id,
        ria_msg_size(msg)
    );
}

/* ---- calls ---- */

/* Take the call out of wherever it is, tell its caller, free it. */
static void call_end(struct call *call, ria_err err, struct ria_msg *reply)
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
        struct call *call = RIA_CONTAINER(todo.next, struct call, link);
        call_end(call, call->peer == NULL ? call->refusal : err, NULL);
    }
}

static void on_refused(struct ria_timer *timer, void *arg)
{
    struct process *process = arg;

    (void)timer;
    call_end_all(&process->refused, RIA_OK);
}

static void call_refuse(struct call *call, ria_err err)
{
    struct process *process = call->process;

    call->refusal = err;
    call->peer = NULL;
    ria_list_push_back(&process->refused, &call->link);
    if (!process->is_dead && !process->refused_timer.active) {
        ria_timer_start(timers_of(process), &process->refused_timer, 0);
    }
}

/* ---- connections ---- */

static void peer_lose(struct peer *peer);
static void peer_fill(struct peer *peer);

static void on_request(void *arg, struct ria_msg *msg, uint64_t id)
{
    struct connection *connection = arg;
    struct process *server = connection->server;

    say_frame(connection, msg, id, true);
    if (server == NULL || server->is_dead || server->handler == NULL) {
        ria_msg_free(msg);
        return;
    }
    struct ria_rpc_request *request = new_object(sizeof(*request));
    request->connection = connection;
    request->msg = msg;
    request->id = id;
    ria_list_push_back(&server->held, &request->link);
    server->handler(server->handler_arg, request);
}

static struct call *find_call(const struct peer *peer, uint64_t id)
{
    RIA_LIST_FOREACH (it, &peer->inflight) {
        struct call *call = RIA_CONTAINER(it, struct call, link);
        if (call->id == id) {
            return call;
        }
    }
    return NULL;
}

static void on_reply(void *arg, struct ria_msg *msg, uint64_t id)
{
    struct connection *connection = arg;
    struct peer *peer = connection->peer;

    say_frame(connection, msg, id, false);
    struct call *call = peer == NULL ? NULL : find_call(peer, id);
    if (peer != NULL) {
        peer->silent_since_us = 0;
    }
    if (call == NULL) {
        ria_msg_free(msg); /* too late */
        return;
    }
    call_end(call, RIA_OK, msg);
    peer_fill(peer);
}

static void on_notice(struct ria_timer *timer, void *arg)
{
    struct connection *connection = arg;
    const struct sim_fabric *fabric = &connection->net->fabric;

    if (connection->peer == NULL) {
        return;
    }
    if (fabric->blocked[connection->server_host][connection->client_host]) {
        ria_timer_start(fabric->timers[connection->client_host], timer, NET_RETRY_NOTICE_US);
        return;
    }
    peer_lose(connection->peer);
}

/* The client will learn that it is broken, behind what is still on its way. */
static void connection_notify(struct connection *connection)
{
    struct sim_fabric *fabric = &connection->net->fabric;
    int64_t latency_us =
        sim_fabric_latency(fabric, connection->server_host, connection->client_host);

    if (connection->peer != NULL && !connection->notice.active) {
        int64_t behind_us = connection->down.last_us - now_us(connection->net);
        ria_timer_start(
            fabric->timers[connection->client_host],
            &connection->notice,
            ria_max_i64(latency_us, behind_us + 1)
        );
    }
}

static void connection_break(struct connection *connection, bool silent)
{
    connection->is_broken = true;
    sim_wire_cut(&connection->up, 0);
    sim_wire_cut(&connection->down, 0);
    if (!silent) {
        connection_notify(connection);
    }
}

/* Lose some of the last frames. */
static void lose_tail(struct sim_net *net, struct sim_wire *wire)
{
    sim_wire_cut(wire, ria_rand_below(&net->fabric.rand, sim_wire_count(wire) + 1));
}

/* The client has died or given it up: what it sent may arrive, what it is sent may not. */
static void connection_leave(struct connection *connection)
{
    struct sim_net *net = connection->net;

    connection->peer = NULL;
    connection->is_broken = true;
    ria_timer_stop(net->fabric.timers[connection->client_host], &connection->notice);
    sim_wire_cut(&connection->down, 0);
    lose_tail(net, &connection->up);
}

static struct connection *connection_new(struct peer *peer, struct host *server)
{
    struct sim_net *net = peer->process->net;
    struct connection *connection = new_object(sizeof(*connection));
    uint32_t client = peer->process->host->number;

    connection->net = net;
    connection->client_host = client;
    connection->server_host = server->number;
    connection->peer = peer;
    connection->server = server->process;
    sim_wire_init(&connection->up, &net->fabric, client, server->number, on_request, connection);
    sim_wire_init(&connection->down, &net->fabric, server->number, client, on_reply, connection);
    ria_timer_init(&connection->notice, on_notice, connection);
    ria_list_push_back(&net->connections, &connection->link);
    return connection;
}

/* True: the frame broke it. */
static bool connection_trips(struct connection *connection)
{
    struct sim_fabric *fabric = &connection->net->fabric;

    if (fabric->profile.reset_one_in == 0 ||
        !ria_rand_one_in(&fabric->rand, fabric->profile.reset_one_in)) {
        return false;
    }
    connection_break(connection, ria_rand_one_in(&fabric->rand, 4));
    return true;
}

/* Takes msg. */
static void connection_send(
    struct connection *connection, struct sim_wire *wire, struct ria_msg *msg, uint64_t id
)
{
    struct host *sender = &connection->net->hosts[wire->from];

    if (connection->is_broken || connection_trips(connection)) {
        ria_msg_free(msg);
        return;
    }
    sim_wire_send(wire, msg, id);
    if (sender->sends_left > 0 && --sender->sends_left == 0) {
        sender->on_sends(sender->on_sends_arg);
    }
}

/* ---- peers ---- */

/* Send what fits. */
static void peer_fill(struct peer *peer)
{
    struct sim_net *net = peer->process->net;

    while (peer->connection != NULL && peer->inflight_count < RIA_RPC_INFLIGHT_MAX &&
           !ria_list_is_empty(&peer->waiting)) {
        struct call *call = RIA_CONTAINER(peer->waiting.next, struct call, link);
        ria_list_remove(&call->link);
        ria_list_push_back(&peer->inflight, &call->link);
        peer->waiting_count--;
        peer->inflight_count++;
        call->id = net->id_next++;
        call->sent_us = now_us(net);
        connection_send(peer->connection, &peer->connection->up, RIA_STEAL(&call->msg), call->id);
    }
}

static void peer_redial(struct peer *peer, int64_t pause_us)
{
    ria_timer_start(timers_of(peer->process), &peer->dial, pause_us);
}

/* The connection is down and the peer knows it. */
static void peer_lose(struct peer *peer)
{
    struct connection *connection = RIA_STEAL(&peer->connection);

    trace_say(
        peer->process->net->fabric.trace,
        "%s has lost its connection to %s",
        peer->process->host->name,
        peer->address
    );
    connection_leave(connection);
    peer->silent_since_us = 0;
    peer->dial_us = NET_DIAL_US_MIN;
    peer_redial(peer, peer->dial_us);
    call_end_all(&peer->inflight, RIA_ERR_DISCONNECTED);
}

static struct host *find_host(struct sim_net *net, const char *address)
{
    for (uint32_t i = 0; i < net->fabric.host_count; i++) {
        if (address[0] != '\0' && strcmp(net->hosts[i].address, address) == 0) {
            return &net->hosts[i];
        }
    }
    return NULL;
}

static bool listens(const struct host *host)
{
    return host != NULL && host->process != NULL && !host->process->is_dead &&
           host->process->handler != NULL;
}

static void peer_dial(struct ria_timer *timer, void *arg)
{
    struct peer *peer = arg;
    struct sim_net *net = peer->process->net;
    struct sim_fabric *fabric = &net->fabric;
    uint32_t own = peer->process->host->number;
    struct host *host = find_host(net, peer->address);
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
        peer->connection = connection_new(peer, host);
        peer_fill(peer);
    }
}

static struct peer *peer_new(struct process *process, const char *address)
{
    struct peer *peer = new_object(sizeof(*peer));

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

static struct peer *peer_find(struct process *process, const char *address)
{
    RIA_LIST_FOREACH (it, &process->peers) {
        struct peer *peer = RIA_CONTAINER(it, struct peer, link);
        if (strcmp(peer->address, address) == 0) {
            return peer;
        }
    }
    return peer_new(process, address);
}

static void peer_free(struct peer *peer)
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
    struct call *call = arg;
    struct peer *peer = call->peer;
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
        peer_lose(peer);
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
    struct process *process = process_of(rpc);
    struct call *call = new_object(sizeof(*call));

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
    struct peer *peer = peer_find(process, address);
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
    struct process *process = process_of(rpc);

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
    struct connection *connection = request->connection;
    uint64_t id = request->id;

    RIA_ASSERT(msg != NULL);
    request_free(request);
    if (process_of(rpc)->is_dead || connection->peer == NULL) {
        ria_msg_free(msg);
    } else {
        connection_send(connection, &connection->down, msg, id);
    }
}

static void op_drop(struct ria_rpc *rpc, struct ria_rpc_request *request)
{
    (void)rpc;
    request_free(request);
}

static const struct ria_rpc_ops rpc_ops = {
    .call = op_call,
    .set_handler = op_set_handler,
    .request_msg = op_request_msg,
    .reply = op_reply,
    .drop = op_drop,
};

/* ---- processes ---- */

struct ria_rpc *sim_net_boot(struct sim_net *net, uint32_t number)
{
    struct host *host = &net->hosts[number];
    struct process *process = new_object(sizeof(*process));

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
        struct connection *connection = RIA_CONTAINER(it, struct connection, link);
        if (connection->server_host == number && connection->server == NULL) {
            connection_notify(connection);
        }
    }
    return &process->rpc;
}

void sim_net_kill(struct sim_net *net, uint32_t number, bool power_cut)
{
    struct process *process = net->hosts[number].process;

    if (process == NULL || process->is_dead) {
        return;
    }
    process->is_dead = true;
    ria_timer_stop(timers_of(process), &process->refused_timer);
    RIA_LIST_FOREACH (it, &process->peers) {
        struct peer *peer = RIA_CONTAINER(it, struct peer, link);
        ria_timer_stop(timers_of(process), &peer->dial);
        if (peer->connection != NULL) {
            connection_leave(RIA_STEAL(&peer->connection));
        }
    }
    RIA_LIST_FOREACH (it, &net->connections) {
        struct connection *connection = RIA_CONTAINER(it, struct connection, link);
        if (connection->server != process) {
            continue;
        }
        connection->server = NULL;
        connection->is_broken = true;
        sim_wire_cut(&connection->up, 0);
        lose_tail(net, &connection->down);
        if (!power_cut) {
            connection_notify(connection);
        }
    }
}

void sim_net_end_calls(struct sim_net *net, uint32_t number)
{
    struct process *process = net->hosts[number].process;

    process->is_dead = true;
    RIA_LIST_FOREACH (it, &process->peers) {
        struct peer *peer = RIA_CONTAINER(it, struct peer, link);
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
    struct process *process = net->hosts[number].process;

    RIA_ASSERT(process->is_dead);
    while (!ria_list_is_empty(&process->peers)) {
        peer_free(RIA_CONTAINER(process->peers.next, struct peer, link));
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
    struct host *host = &net->hosts[number];

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

void sim_net_reset(struct sim_net *net, uint32_t a, uint32_t b, bool silent)
{
    RIA_LIST_FOREACH (it, &net->connections) {
        struct connection *connection = RIA_CONTAINER(it, struct connection, link);
        bool between = (connection->client_host == a && connection->server_host == b) ||
                       (connection->client_host == b && connection->server_host == a);
        if (between && !connection->is_broken) {
            connection_break(connection, silent);
        }
    }
}

void sim_net_heal(struct sim_net *net)
{
    for (uint32_t i = 0; i < net->fabric.host_count; i++) {
        net->fabric.extra_us[i] = 0;
        for (uint32_t j = 0; j < net->fabric.host_count; j++) {
            sim_fabric_block(&net->fabric, i, j, false);
        }
    }
    net->fabric.profile.spike_one_in = 0;
    net->fabric.profile.reset_one_in = 0;
    /* Whoever sends on a connection that the other side knows nothing of is told so. */
    RIA_LIST_FOREACH (it, &net->connections) {
        struct connection *connection = RIA_CONTAINER(it, struct connection, link);
        if (connection->is_broken) {
            connection_notify(connection);
        }
    }
}

/* ---- life ---- */

struct sim_net *sim_net_new(struct trace *trace, uint64_t seed)
{
    struct sim_net *net = new_object(sizeof(*net));

    sim_fabric_init(&net->fabric, trace, seed);
    ria_list_init(&net->connections);
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
    RIA_LIST_FOREACH (it, &net->connections) {
        struct connection *connection = RIA_CONTAINER(it, struct connection, link);
        sim_wire_fini(&connection->up);
        sim_wire_fini(&connection->down);
        ria_timer_stop(net->fabric.timers[connection->client_host], &connection->notice);
        free(connection);
    }
    free(net);
}

uint32_t sim_net_add_host(
    struct sim_net *net, const char *name, const char *address, struct ria_timers *timers
)
{
    uint32_t number = sim_fabric_add_host(&net->fabric, timers);

    net->hosts[number] =
        (struct host){.number = number, .name = name, .address = address, .timers = timers};
    return number;
}
