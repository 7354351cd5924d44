/* Requests that arrive twice: as when a sender repeats one that it believes to be lost, and both
 * come, the second one late.
 *
 * Who has sent it hears the answer to the first and has not repeated it, as far as it knows. So the
 * copy must never be the first: what can be done once only (a word about a record) would be refused
 * to one who has said it once. */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/batch.h"
#include "schemas/envelope.h"
#include "schemas/gen/messages.h"

#include "tests/sim/sim_http.h"
#include "tests/sim/sim_net_internal.h"

enum {
    COPY_US_MIN = 100,
    COPY_DOUBLINGS = 16, /* it is later by up to 100 us << 15 and as much again: 6.5 s */
    BEHIND_US = 1000,    /* between two looks whether the first has arrived */
};

static bool is_stored_once(const struct sim_http *http)
{
    static const char post[] = "POST /v1/topics/";
    bool stores = http->first.size >= sizeof(post) - 1 &&
                  memcmp(http->first.data, post, sizeof(post) - 1) == 0;

    return !stores || !ria_slice_is_null(sim_http_header(http, "Producer-Id"));
}

bool sim_copy_is_allowed(const struct ria_msg *msg)
{
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload;
    struct batch_header batch;
    struct sim_http http;

    if (envelope_open_request(msg, &header, &body, &payload) == RIA_OK) {
        return header.api_key != API_PRODUCE ||
               (batch_header_decode(payload, &batch) == RIA_OK && batch.producer_id >= 0);
    }
    return sim_http_open(msg, &http) && is_stored_once(&http);
}

void sim_copy_free(struct sim_copy *copy)
{
    ria_timer_stop(copy->connection->net->copy_timers, &copy->timer);
    ria_list_remove(&copy->link);
    ria_msg_free(copy->msg);
    free(copy);
}

/* Whoever listens there now gets it: it may have been born since. */
static void on_due(struct ria_timer *timer, void *arg)
{
    struct sim_copy *copy = arg;
    struct sim_connection *connection = copy->connection;
    struct sim_process *process = connection->net->hosts[connection->server_host].process;

    if (sim_wire_carries(&copy->original->up, copy->id)) {
        ria_timer_start(connection->net->copy_timers, timer, BEHIND_US);
        return;
    }
    if (process != NULL && !process->is_dead) {
        connection->server = process;
        sim_wire_send(&connection->up, RIA_STEAL(&copy->msg), copy->id);
    }
    sim_copy_free(copy);
}

/* What answers to copies between two hosts are sent on: nobody is at its other end. */
static struct sim_connection *dead_end(struct sim_net *net, uint32_t client, uint32_t server)
{
    RIA_LIST_FOREACH (it, &net->connections) {
        struct sim_connection *connection = RIA_CONTAINER(it, struct sim_connection, link);
        if (connection->is_dead_end && connection->client_host == client &&
            connection->server_host == server) {
            return connection;
        }
    }
    return sim_connection_new_dead_end(net, client, server);
}

void sim_copy_send(const struct sim_connection *connection, const struct ria_msg *msg, uint64_t id)
{
    struct sim_net *net = connection->net;
    struct ria_rand *rand = &net->fabric.rand;
    struct sim_copy *copy = calloc(1, sizeof(*copy));
    int64_t late_us = (int64_t)COPY_US_MIN << ria_rand_below(rand, COPY_DOUBLINGS);

    RIA_ASSERT(copy != NULL);
    copy->connection = dead_end(net, connection->client_host, connection->server_host);
    copy->original = connection;
    copy->id = id;
    copy->msg = ria_msg_new(ria_msg_size(msg));
    RIA_ASSERT(copy->msg != NULL);
    memcpy(ria_msg_data(copy->msg), ria_msg_data(msg), ria_msg_size(msg));
    ria_list_init(&copy->link);
    ria_list_push_back(&net->copies, &copy->link);
    ria_timer_init(&copy->timer, on_due, copy);
    ria_timer_start(
        net->copy_timers, &copy->timer, late_us + (int64_t)ria_rand_below(rand, (uint64_t)late_us)
    );
}
