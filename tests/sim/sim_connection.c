/* One connection between two processes: two wires, and what becomes of them when it breaks. */
#include <stdlib.h>

#include "common/assert.h"

#include "schemas/envelope.h"

#include "tests/sim/sim_net_internal.h"

enum {
    RETRY_NOTICE_US = 200 * 1000, /* a reset that a blocked way holds up */
    SILENT_ONE_IN = 4,            /* breaks */
};

/* For the person who reads a trace. */
static void say_frame(
    const struct sim_connection *connection, const struct ria_msg *msg, uint64_t id, bool is_request
)
{
    const struct sim_net *net = connection->net;
    const char *client = net->hosts[connection->client_host].name;
    const char *server = net->hosts[connection->server_host].name;
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
        "%10.6f %s -> %s %s #%llu size=%zu%s\n",
        (double)ria_clock_mono_us(net->fabric.trace->clock) / 1e6,
        is_request ? client : server,
        is_request ? server : client,
        api,
        (unsigned long long)id,
        ria_msg_size(msg),
        connection->is_dead_end ? " again" : ""
    );
}

static void on_request(void *arg, struct ria_msg *msg, uint64_t id)
{
    struct sim_connection *connection = arg;

    say_frame(connection, msg, id, true);
    if (connection->server == NULL) {
        ria_msg_free(msg);
    } else {
        sim_process_take_request(connection->server, connection, msg, id);
    }
}

static void on_reply(void *arg, struct ria_msg *msg, uint64_t id)
{
    struct sim_connection *connection = arg;

    say_frame(connection, msg, id, false);
    if (connection->peer == NULL) {
        ria_msg_free(msg);
    } else {
        sim_peer_take_reply(connection->peer, msg, id);
    }
}

static void on_notice(struct ria_timer *timer, void *arg)
{
    struct sim_connection *connection = arg;
    const struct sim_fabric *fabric = &connection->net->fabric;

    if (connection->peer == NULL) {
        return;
    }
    if (fabric->blocked[connection->server_host][connection->client_host]) {
        ria_timer_start(fabric->timers[connection->client_host], timer, RETRY_NOTICE_US);
        return;
    }
    sim_peer_lose(connection->peer);
}

static void on_gone(struct ria_timer *timer, void *arg)
{
    struct sim_connection *connection = arg;
    const struct sim_fabric *fabric = &connection->net->fabric;

    if (connection->server == NULL) {
        return;
    }
    if (fabric->blocked[connection->client_host][connection->server_host]) {
        ria_timer_start(fabric->timers[connection->server_host], timer, RETRY_NOTICE_US);
        return;
    }
    sim_process_lose_guest(connection->server, connection);
}

static struct sim_connection *connection_new(struct sim_net *net, uint32_t client, uint32_t server)
{
    struct sim_connection *connection = calloc(1, sizeof(*connection));

    RIA_ASSERT(connection != NULL);
    connection->net = net;
    connection->client_host = client;
    connection->server_host = server;
    sim_wire_init(&connection->up, &net->fabric, client, server, on_request, connection);
    sim_wire_init(&connection->down, &net->fabric, server, client, on_reply, connection);
    ria_timer_init(&connection->notice, on_notice, connection);
    ria_timer_init(&connection->gone, on_gone, connection);
    ria_list_push_back(&net->connections, &connection->link);
    return connection;
}

struct sim_connection *sim_connection_new(struct sim_peer *peer, struct sim_host *server)
{
    struct sim_connection *connection =
        connection_new(peer->process->net, peer->process->host->number, server->number);

    connection->peer = peer;
    connection->server = server->process;
    return connection;
}

struct sim_connection *
sim_connection_new_dead_end(struct sim_net *net, uint32_t client, uint32_t server)
{
    struct sim_connection *connection = connection_new(net, client, server);

    connection->is_broken = true;
    connection->is_dead_end = true;
    return connection;
}

void sim_connection_free(struct sim_connection *connection)
{
    struct ria_timers *const *timers = connection->net->fabric.timers;

    sim_wire_fini(&connection->up);
    sim_wire_fini(&connection->down);
    ria_timer_stop(timers[connection->client_host], &connection->notice);
    ria_timer_stop(timers[connection->server_host], &connection->gone);
    free(connection);
}

/* ---- sending ---- */

/* True: the frame broke it. */
static bool trips(struct sim_connection *connection)
{
    struct sim_fabric *fabric = &connection->net->fabric;
    uint32_t one_in = fabric->profile.reset_one_in;

    if (one_in == 0 || !ria_rand_one_in(&fabric->rand, one_in)) {
        return false;
    }
    sim_connection_break(connection, ria_rand_one_in(&fabric->rand, SILENT_ONE_IN));
    return true;
}

void sim_connection_send(
    struct sim_connection *connection, struct sim_wire *wire, struct ria_msg *msg, uint64_t id
)
{
    struct sim_host *sender = &connection->net->hosts[wire->from];

    if (connection->is_broken || trips(connection)) {
        ria_msg_free(msg);
        return;
    }
    if (wire == &connection->up && sender->copy_one_in > 0 &&
        ria_rand_one_in(&connection->net->fabric.rand, sender->copy_one_in) &&
        sim_copy_is_allowed(msg)) {
        sim_copy_send(connection, msg, id);
    }
    sim_wire_send(wire, msg, id);
    if (sender->sends_left > 0 && --sender->sends_left == 0) {
        sender->on_sends(sender->on_sends_arg);
    }
}

/* ---- breaking ---- */

void sim_connection_notify(struct sim_connection *connection)
{
    struct sim_fabric *fabric = &connection->net->fabric;
    int64_t latency_us =
        sim_fabric_latency(fabric, connection->server_host, connection->client_host);

    if (connection->peer != NULL && !connection->notice.active) {
        int64_t behind_us = connection->down.last_us - ria_clock_mono_us(fabric->trace->clock) + 1;
        ria_timer_start(
            fabric->timers[connection->client_host],
            &connection->notice,
            ria_max_i64(latency_us, behind_us)
        );
    }
}

void sim_connection_notify_server(struct sim_connection *connection)
{
    struct sim_fabric *fabric = &connection->net->fabric;
    int64_t latency_us =
        sim_fabric_latency(fabric, connection->client_host, connection->server_host);

    if (connection->server != NULL && !connection->gone.active) {
        int64_t behind_us = connection->up.last_us - ria_clock_mono_us(fabric->trace->clock) + 1;
        ria_timer_start(
            fabric->timers[connection->server_host],
            &connection->gone,
            ria_max_i64(latency_us, behind_us)
        );
    }
}

void sim_connection_break(struct sim_connection *connection, bool silent)
{
    connection->is_broken = true;
    sim_wire_cut(&connection->up, 0);
    sim_wire_cut(&connection->down, 0);
    if (!silent) {
        sim_connection_notify(connection);
        sim_connection_notify_server(connection);
    }
}

static void lose_tail(struct sim_net *net, struct sim_wire *wire)
{
    sim_wire_cut(wire, ria_rand_below(&net->fabric.rand, sim_wire_count(wire) + 1));
}

void sim_connection_leave(struct sim_connection *connection)
{
    struct sim_net *net = connection->net;

    connection->peer = NULL;
    connection->is_broken = true;
    ria_timer_stop(net->fabric.timers[connection->client_host], &connection->notice);
    sim_wire_cut(&connection->down, 0);
    lose_tail(net, &connection->up);
    if (net->fabric.profile.linger_us_max > 0) {
        uint64_t linger_us_max = (uint64_t)net->fabric.profile.linger_us_max;
        sim_wire_delay(&connection->up, (int64_t)ria_rand_below(&net->fabric.rand, linger_us_max));
    }
}

void sim_connection_orphan(struct sim_connection *connection, bool power_cut)
{
    ria_timer_stop(connection->net->fabric.timers[connection->server_host], &connection->gone);
    connection->server = NULL;
    connection->is_broken = true;
    sim_wire_cut(&connection->up, 0);
    lose_tail(connection->net, &connection->down);
    if (!power_cut) {
        sim_connection_notify(connection);
    }
}
