/* sim_net_internal: what sim_net.c (processes and their calls) and sim_connection.c share. */
#pragma once

#include "common/base.h"
#include "common/list.h"
#include "common/rpc.h"
#include "common/timers.h"

#include "tests/sim/sim_net.h"
#include "tests/sim/sim_wire.h"

struct sim_host;
struct sim_process;
struct sim_peer;

struct ria_rpc_request {
    struct ria_list link; /* in process->held */
    struct sim_connection *connection;
    struct ria_msg *msg;
    uint64_t id;
    ria_rpc_gone_fn gone; /* NULL: nobody asked, or it was told */
    void *gone_arg;
};

struct sim_call {
    struct ria_list link; /* in peer->waiting or peer->inflight, or process->refused */
    struct sim_process *process;
    struct sim_peer *peer; /* NULL: refused */
    struct ria_timer timer;
    struct ria_msg *msg; /* until it is sent */
    ria_rpc_done_fn done;
    void *arg;
    uint64_t id; /* 0 = not sent */
    int64_t sent_us;
    ria_err refusal;
};

/* One connection, as long as the net lives: requests and frames refer to it. */
struct sim_connection {
    struct ria_list link; /* in net->connections */
    struct sim_net *net;
    uint32_t client_host;
    uint32_t server_host;
    struct sim_peer *peer;      /* NULL: the client has gone, or knows that it is broken */
    struct sim_process *server; /* NULL: gone */
    bool is_broken;
    bool is_dead_end; /* it only stands for where copies of requests came from */
    struct sim_wire up;
    struct sim_wire down;
    struct ria_timer notice; /* on the client's timers: it learns that it is broken */
    struct ria_timer gone;   /* on the server's timers: the same */
};

/* What a process calls at one address. */
struct sim_peer {
    struct ria_list link; /* in process->peers */
    struct sim_process *process;
    char *address;
    struct sim_connection *connection; /* NULL: down */
    bool is_connecting;
    struct ria_timer dial;
    int64_t dial_us;         /* the next pause */
    int64_t silent_since_us; /* as in net.c */
    struct ria_list waiting;
    struct ria_list inflight;
    size_t waiting_count;
    size_t inflight_count;
};

struct sim_process {
    struct ria_rpc rpc;
    struct sim_net *net;
    struct sim_host *host;
    bool is_dead;
    struct ria_list peers;
    struct ria_list refused;
    struct ria_timer refused_timer;
    ria_rpc_handler_fn handler;
    void *handler_arg;
    struct ria_list held;
};

/* A request that arrives a second time, by itself: its sender has repeated it meanwhile, say, and
 * what came first has been lost. Nobody hears the answer. */
struct sim_copy {
    struct ria_list link;   /* in net->copies */
    struct ria_timer timer; /* on net->copy_timers */
    struct sim_connection *connection;
    const struct sim_connection *original; /* what the first was sent on */
    struct ria_msg *msg;
    uint64_t id;
};

struct sim_host {
    uint32_t number;
    const char *name;
    const char *address;
    struct ria_timers *timers;
    struct sim_process *process; /* NULL: none */
    uint32_t copy_one_in;        /* of the requests it sends; 0 = none */
    uint64_t sends_left;         /* until on_sends; 0 = never */
    void (*on_sends)(void *arg);
    void *on_sends_arg;
};

struct sim_net {
    struct sim_fabric fabric;
    struct ria_list connections;
    struct ria_list copies;
    struct ria_timers *copy_timers; /* NULL until there may be any */
    uint64_t id_next;
    struct sim_host hosts[SIM_HOSTS_MAX];
};

/* ---- sim_connection.c ---- */

struct sim_connection *sim_connection_new(struct sim_peer *peer, struct sim_host *server);
struct sim_connection *
sim_connection_new_dead_end(struct sim_net *net, uint32_t client, uint32_t server);
void sim_connection_free(struct sim_connection *connection);

/* Takes msg. wire is one of the connection's. */
void sim_connection_send(
    struct sim_connection *connection, struct sim_wire *wire, struct ria_msg *msg, uint64_t id
);

/* It carries nothing any more. silent: neither side is told. */
void sim_connection_break(struct sim_connection *connection, bool silent);

/* The client will learn that it is broken, behind what is still on its way. */
void sim_connection_notify(struct sim_connection *connection);

/* The server will learn that the client has closed it, behind what is still on its way. */
void sim_connection_notify_server(struct sim_connection *connection);

/* The client has died or given it up: what it sent may arrive, what it is sent may not. */
void sim_connection_leave(struct sim_connection *connection);

/* The server has died. power_cut: the client is not told. */
void sim_connection_orphan(struct sim_connection *connection, bool power_cut);

/* ---- sim_copy.c ---- */

/* The sender may repeat this request: it is the same to everybody. */
bool sim_copy_is_allowed(const struct ria_msg *msg);

/* Let the request, which is about to be sent on the connection, arrive again, some time later and
 * never before the first, whoever listens on the host then. */
void sim_copy_send(const struct sim_connection *connection, const struct ria_msg *msg, uint64_t id);
void sim_copy_free(struct sim_copy *copy);

/* ---- sim_net.c ---- */

/* The peer knows that its connection is down. */
void sim_peer_lose(struct sim_peer *peer);

/* Takes msg. */
void sim_peer_take_reply(struct sim_peer *peer, struct ria_msg *msg, uint64_t id);
/* Whoever holds a request that came on the connection, and asked, is told that it is lost. */
void sim_process_lose_guest(struct sim_process *process, const struct sim_connection *connection);
void sim_process_take_request(
    struct sim_process *process, struct sim_connection *from, struct ria_msg *msg, uint64_t id
);
