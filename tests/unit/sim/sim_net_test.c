#include "tests/sim/sim_net.h"

#include <string.h>

#include "common/assert.h"

#include "schemas/batch.h"
#include "schemas/envelope.h"
#include "schemas/gen/messages.h"
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/produce_request.h"

#include "tests/lib/harness.h"
#include "tests/sim/sim_http.h"

enum { SERVER, CLIENT, HOSTS };

static const char server_address[] = "tcp://server:1";

struct scene {
    struct ria_clock clock;
    int64_t now_us;
    struct trace trace;
    struct ria_timers timers[HOSTS];
    struct sim_net *net;
    struct ria_rpc *rpc[HOSTS];
    bool holds; /* the server parks what it gets */
    struct ria_rpc_request *held[64];
    unsigned held_count;
    unsigned requests;
    uint8_t last_request; /* first byte */
    bool out_of_order;
};

struct call {
    unsigned ends;
    ria_err err;
};

static int64_t clock_us(const struct ria_clock *clock)
{
    return ((const struct scene *)(const void
                                       *)((const char *)clock - offsetof(struct scene, clock)))
        ->now_us;
}

static void on_request(void *arg, struct ria_rpc_request *request)
{
    struct scene *s = arg;
    struct ria_rpc *rpc = s->rpc[SERVER];
    struct ria_msg *msg = ria_rpc_request_msg(rpc, request);
    uint8_t byte = ria_msg_data(msg)[0];

    s->out_of_order = s->out_of_order || (s->requests > 0 && byte < s->last_request);
    s->last_request = byte;
    s->requests++;
    if (s->holds) {
        s->held[s->held_count++] = request;
    } else {
        ria_rpc_reply(rpc, request, ria_msg_copy(msg));
    }
}

static void boot(struct scene *s, uint32_t host)
{
    s->rpc[host] = sim_net_boot(s->net, host);
    ria_rpc_set_handler(s->rpc[host], on_request, s);
}

static void bury(struct scene *s, uint32_t host)
{
    sim_net_kill(s->net, host, false);
    sim_net_end_calls(s->net, host);
    sim_net_bury(s->net, host);
}

static void begin(struct scene *s)
{
    const struct sim_net_profile profile = {.latency_us_min = 100, .latency_us_max = 5000};

    memset(s, 0, sizeof(*s));
    s->clock = (struct ria_clock){.mono_us = clock_us, .wall_ms = clock_us};
    s->now_us = 1;
    trace_init(&s->trace, &s->clock, NULL);
    s->net = sim_net_new(&s->trace, 7);
    for (int i = 0; i < HOSTS; i++) {
        ria_timers_init(&s->timers[i], &s->clock);
    }
    (void)sim_net_add_host(s->net, "server", server_address, &s->timers[SERVER]);
    (void)sim_net_add_host(s->net, "client", "", &s->timers[CLIENT]);
    sim_net_set_profile(s->net, &profile);
    boot(s, SERVER);
    boot(s, CLIENT);
}

static void end(struct scene *s)
{
    bury(s, CLIENT);
    bury(s, SERVER);
    sim_net_free(s->net);
    for (int i = 0; i < HOSTS; i++) {
        CU_ASSERT_EQUAL(s->timers[i].heap.count, 0);
        ria_timers_fini(&s->timers[i]);
    }
}

static void advance_ms(struct scene *s, int64_t ms)
{
    int64_t end_us = s->now_us + ms * 1000;

    for (;;) {
        int64_t server_us = ria_timers_next_us(&s->timers[SERVER]);
        int64_t client_us = ria_timers_next_us(&s->timers[CLIENT]);
        int64_t next_us = ria_min_i64(server_us, client_us);
        if (next_us > end_us) {
            break;
        }
        s->now_us = ria_max_i64(s->now_us, next_us);
        (void)ria_timers_run(&s->timers[server_us <= client_us ? SERVER : CLIENT]);
    }
    s->now_us = end_us;
}

static void on_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct call *call = arg;

    CU_ASSERT_EQUAL(reply != NULL, err == RIA_OK);
    call->ends++;
    call->err = err;
    ria_msg_free(reply);
}

static void call(struct scene *s, uint8_t byte, uint32_t timeout_ms, struct call *out)
{
    struct ria_msg *msg = ria_msg_new(1);

    ria_msg_data(msg)[0] = byte;
    *out = (struct call){.err = RIA_OK};
    ria_rpc_call(s->rpc[CLIENT], server_address, msg, timeout_ms, on_done, out);
    CU_ASSERT_EQUAL(out->ends, 0); /* never from inside */
}

#define ASSERT_ENDED(call, with)           \
    do {                                   \
        CU_ASSERT_EQUAL((call).ends, 1);   \
        CU_ASSERT_EQUAL((call).err, with); \
    } while (0)

/* ---- tests ---- */

static void frames_arrive_in_the_order_of_the_calls(void)
{
    struct scene s;
    struct call calls[200];

    begin(&s);
    for (uint8_t i = 0; i < 200; i++) {
        call(&s, i, 10000, &calls[i]);
    }
    advance_ms(&s, 5000);
    for (int i = 0; i < 200; i++) {
        ASSERT_ENDED(calls[i], RIA_OK);
    }
    CU_ASSERT_EQUAL(s.requests, 200);
    CU_ASSERT_FALSE(s.out_of_order);
    end(&s);
}

static void a_blocked_way_delays_and_loses_nothing(void)
{
    struct scene s;
    struct call first, second;

    begin(&s);
    call(&s, 1, 10000, &first);
    advance_ms(&s, 100);
    ASSERT_ENDED(first, RIA_OK);
    sim_net_block(s.net, CLIENT, SERVER, true);
    call(&s, 2, 10000, &second);
    advance_ms(&s, 2000);
    CU_ASSERT_EQUAL(second.ends, 0);
    CU_ASSERT_EQUAL(s.requests, 1);
    sim_net_block(s.net, CLIENT, SERVER, false);
    advance_ms(&s, 2000);
    ASSERT_ENDED(second, RIA_OK);
    CU_ASSERT_EQUAL(s.requests, 2);
    end(&s);
}

static void a_call_past_its_deadline_times_out_once(void)
{
    struct scene s;
    struct call late;

    begin(&s);
    s.holds = true;
    call(&s, 1, 300, &late);
    advance_ms(&s, 299);
    CU_ASSERT_EQUAL(late.ends, 0);
    advance_ms(&s, 2);
    ASSERT_ENDED(late, RIA_ERR_TIMEOUT);
    ria_rpc_reply(s.rpc[SERVER], s.held[0], ria_msg_new(1));
    advance_ms(&s, 100);
    ASSERT_ENDED(late, RIA_ERR_TIMEOUT);
    end(&s);
}

static void a_broken_connection_ends_what_was_sent_and_is_dialled_again(void)
{
    struct scene s;
    struct call parked, next;

    begin(&s);
    s.holds = true;
    call(&s, 1, 10000, &parked);
    advance_ms(&s, 100);
    CU_ASSERT_EQUAL(s.held_count, 1);
    sim_net_reset(s.net, CLIENT, SERVER, false);
    advance_ms(&s, 20);
    ASSERT_ENDED(parked, RIA_ERR_DISCONNECTED);
    ria_rpc_reply(s.rpc[SERVER], s.held[0], ria_msg_new(1)); /* to nobody */
    s.holds = false;
    call(&s, 2, 10000, &next);
    advance_ms(&s, 1000);
    ASSERT_ENDED(next, RIA_OK);
    end(&s);
}

static void a_silent_break_is_noticed_by_timeouts_alone(void)
{
    struct scene s;
    struct call calls[5];

    begin(&s);
    call(&s, 1, 1000, &calls[0]);
    advance_ms(&s, 100);
    sim_net_reset(s.net, CLIENT, SERVER, true);
    for (int i = 1; i < 4; i++) {
        call(&s, 2, 1000, &calls[i]);
        advance_ms(&s, 1000);
        ASSERT_ENDED(calls[i], RIA_ERR_TIMEOUT);
    }
    call(&s, 3, 1000, &calls[4]);
    advance_ms(&s, 1000);
    ASSERT_ENDED(calls[4], RIA_OK);
    end(&s);
}

static void a_dead_process_is_noticed_and_its_successor_found(void)
{
    struct scene s;
    struct call parked, next;

    begin(&s);
    s.holds = true;
    call(&s, 1, 10000, &parked);
    advance_ms(&s, 100);
    bury(&s, SERVER);
    advance_ms(&s, 20);
    ASSERT_ENDED(parked, RIA_ERR_DISCONNECTED);
    s.holds = false;
    call(&s, 2, 10000, &next);
    advance_ms(&s, 3000);
    CU_ASSERT_EQUAL(next.ends, 0);
    boot(&s, SERVER);
    advance_ms(&s, 2000);
    ASSERT_ENDED(next, RIA_OK);
    end(&s);
}

static void a_power_cut_is_noticed_when_the_machine_is_back(void)
{
    struct scene s;
    struct call parked;

    begin(&s);
    s.holds = true;
    call(&s, 1, 60000, &parked);
    advance_ms(&s, 100);
    sim_net_kill(s.net, SERVER, true);
    sim_net_end_calls(s.net, SERVER);
    sim_net_bury(s.net, SERVER);
    advance_ms(&s, 10000);
    CU_ASSERT_EQUAL(parked.ends, 0);
    boot(&s, SERVER);
    advance_ms(&s, 100);
    ASSERT_ENDED(parked, RIA_ERR_DISCONNECTED);
    end(&s);
}

static void calls_of_a_dead_process_end_with_shutdown(void)
{
    struct scene s;
    struct call parked, waiting;

    begin(&s);
    s.holds = true;
    call(&s, 1, 10000, &parked);
    advance_ms(&s, 100);
    sim_net_kill(s.net, CLIENT, false);
    call(&s, 2, 10000, &waiting);
    sim_net_end_calls(s.net, CLIENT);
    ASSERT_ENDED(parked, RIA_ERR_SHUTDOWN);
    ASSERT_ENDED(waiting, RIA_ERR_SHUTDOWN);
    sim_net_bury(s.net, CLIENT);
    boot(&s, CLIENT);
    end(&s);
}

static void without_a_connection_a_call_ends_at_its_deadline(void)
{
    struct scene s;
    struct call lost;

    begin(&s);
    bury(&s, SERVER);
    call(&s, 1, 700, &lost);
    advance_ms(&s, 699);
    CU_ASSERT_EQUAL(lost.ends, 0);
    advance_ms(&s, 2);
    ASSERT_ENDED(lost, RIA_ERR_DISCONNECTED);
    boot(&s, SERVER);
    end(&s);
}

static void count_gone(void *arg)
{
    (*(int *)arg)++;
}

/* A client with a request that the server holds, and wants to know about. */
static void hold(struct scene *s, struct call *parked, int *gone)
{
    begin(s);
    s->holds = true;
    call(s, 1, 10000, parked);
    advance_ms(s, 100);
    CU_ASSERT_EQUAL_FATAL(s->held_count, 1);
    ria_rpc_on_gone(s->rpc[SERVER], s->held[0], count_gone, gone);
}

static void a_holder_hears_that_the_client_is_gone(void)
{
    struct scene s;
    struct call parked;
    int gone = 0;

    hold(&s, &parked, &gone);
    advance_ms(&s, 100);
    CU_ASSERT_EQUAL(gone, 0);
    bury(&s, CLIENT);
    advance_ms(&s, 100);
    CU_ASSERT_EQUAL(gone, 1);
    ria_rpc_drop(s.rpc[SERVER], s.held[0]);
    boot(&s, CLIENT);
    end(&s);
}

static void a_holder_hears_that_the_connection_broke(void)
{
    struct scene s;
    struct call parked;
    int gone = 0;

    hold(&s, &parked, &gone);
    sim_net_reset(s.net, CLIENT, SERVER, false);
    advance_ms(&s, 100);
    CU_ASSERT_EQUAL(gone, 1);
    ASSERT_ENDED(parked, RIA_ERR_DISCONNECTED);
    ria_rpc_drop(s.rpc[SERVER], s.held[0]);
    end(&s);
}

static void a_holder_hears_nothing_of_a_power_cut_or_a_silent_break(void)
{
    struct scene s;
    struct call parked;
    int gone = 0;

    hold(&s, &parked, &gone);
    sim_net_reset(s.net, CLIENT, SERVER, true);
    advance_ms(&s, 1000);
    CU_ASSERT_EQUAL(gone, 0);
    end(&s);
    hold(&s, &parked, &gone);
    sim_net_kill(s.net, CLIENT, true);
    advance_ms(&s, 1000);
    CU_ASSERT_EQUAL(gone, 0);
    end(&s);
}

/* ---- requests that are repeated ---- */

static void send_request(struct scene *s, struct ria_msg *msg, struct call *out)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(msg);
    *out = (struct call){.err = RIA_OK};
    ria_rpc_call(s->rpc[CLIENT], server_address, msg, 20000, on_done, out);
}

static struct ria_msg *metadata_request(void)
{
    struct metadata_request request;

    metadata_request_init(&request);
    return envelope_request(API_METADATA, 0, -1, 1000, &request, 0, NULL);
}

static void a_repeated_request_arrives_twice_and_is_answered_once(void)
{
    struct scene s;
    struct call calls[20];

    begin(&s);
    sim_net_copy(s.net, CLIENT, 1, &s.timers[SERVER]);
    for (int i = 0; i < 20; i++) {
        send_request(&s, metadata_request(), &calls[i]);
    }
    advance_ms(&s, 10000);
    CU_ASSERT_EQUAL(s.requests, 40);
    for (int i = 0; i < 20; i++) {
        ASSERT_ENDED(calls[i], RIA_OK);
    }
    sim_net_copy(s.net, CLIENT, 0, &s.timers[SERVER]);
    send_request(&s, metadata_request(), &calls[0]);
    advance_ms(&s, 10000);
    CU_ASSERT_EQUAL(s.requests, 41);
    end(&s);
}

static void a_copy_reaches_who_listens_there_by_then(void)
{
    struct scene s;
    struct call calls[20];

    begin(&s);
    sim_net_copy(s.net, CLIENT, 1, &s.timers[SERVER]);
    for (int i = 0; i < 20; i++) {
        send_request(&s, metadata_request(), &calls[i]);
    }
    advance_ms(&s, 30);
    CU_ASSERT_TRUE(s.requests < 40);
    bury(&s, SERVER);
    s.requests = 0;
    boot(&s, SERVER);
    sim_net_block(s.net, CLIENT, SERVER, true);
    advance_ms(&s, 10000);
    CU_ASSERT_EQUAL(s.requests, 0);
    sim_net_block(s.net, CLIENT, SERVER, false);
    advance_ms(&s, 2000);
    CU_ASSERT_TRUE(s.requests > 0);
    end(&s);
}

/* Else who has said a thing once could be told that it had been done before. */
static void a_copy_comes_behind_the_request_that_it_is_of(void)
{
    struct scene s;
    struct call call;

    begin(&s);
    sim_net_copy(s.net, CLIENT, 1, &s.timers[SERVER]);
    s.holds = true;
    for (int i = 0; i < 20; i++) {
        bool is_blocked = i % 2 != 0;
        s.held_count = 0;
        sim_net_block(s.net, CLIENT, SERVER, is_blocked);
        send_request(&s, metadata_request(), &call);
        advance_ms(&s, 1000);
        sim_net_block(s.net, CLIENT, SERVER, false);
        advance_ms(&s, 10000);
        CU_ASSERT_EQUAL_FATAL(s.held_count, 2);
        for (int k = 0; k < 2; k++) {
            struct ria_msg *msg = ria_rpc_request_msg(s.rpc[SERVER], s.held[k]);
            ria_rpc_reply(s.rpc[SERVER], s.held[k], ria_msg_copy(msg));
            advance_ms(&s, 100);
            ASSERT_ENDED(call, RIA_OK); /* by the first that came */
        }
    }
    end(&s);
}

/* A produce of one record, of that producer. */
static struct ria_msg *produce_request(int64_t producer_id)
{
    struct produce_request request;
    struct batch_builder builder;
    uint8_t *room = NULL;

    batch_builder_init(&builder, 4096);
    ria_err err = batch_builder_add(&builder, 1, RIA_SLICE_NULL, RIA_SLICE_LITERAL("x"), NULL, 0);
    RIA_ASSERT(err == RIA_OK);
    struct ria_slice batch = batch_builder_finish(&builder, producer_id, 0, 0);
    produce_request_init(&request);
    struct ria_msg *msg = envelope_request(API_PRODUCE, 0, -1, 1000, &request, batch.size, &room);
    memcpy(room, batch.data, batch.size);
    batch_builder_fini(&builder);
    return msg;
}

static void what_would_be_stored_twice_is_not_repeated(void)
{
    struct scene s;
    struct call calls[4];

    begin(&s);
    sim_net_copy(s.net, CLIENT, 1, &s.timers[SERVER]);
    send_request(&s, produce_request(-1), &calls[0]);
    send_request(
        &s, sim_http_frame("POST /v1/topics/t/records\n", RIA_SLICE_LITERAL("x")), &calls[1]
    );
    advance_ms(&s, 10000);
    CU_ASSERT_EQUAL(s.requests, 2);
    send_request(&s, produce_request(7), &calls[2]);
    send_request(
        &s,
        sim_http_frame("POST /v1/topics/t/records\nProducer-Id: 7\n", RIA_SLICE_LITERAL("x")),
        &calls[3]
    );
    advance_ms(&s, 10000);
    CU_ASSERT_EQUAL(s.requests, 6);
    end(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_repeated_request_arrives_twice_and_is_answered_once),
    HARNESS_TEST(a_copy_reaches_who_listens_there_by_then),
    HARNESS_TEST(a_copy_comes_behind_the_request_that_it_is_of),
    HARNESS_TEST(what_would_be_stored_twice_is_not_repeated),
    HARNESS_TEST(frames_arrive_in_the_order_of_the_calls),
    HARNESS_TEST(a_blocked_way_delays_and_loses_nothing),
    HARNESS_TEST(a_call_past_its_deadline_times_out_once),
    HARNESS_TEST(a_broken_connection_ends_what_was_sent_and_is_dialled_again),
    HARNESS_TEST(a_silent_break_is_noticed_by_timeouts_alone),
    HARNESS_TEST(a_dead_process_is_noticed_and_its_successor_found),
    HARNESS_TEST(a_power_cut_is_noticed_when_the_machine_is_back),
    HARNESS_TEST(calls_of_a_dead_process_end_with_shutdown),
    HARNESS_TEST(without_a_connection_a_call_ends_at_its_deadline),
    HARNESS_TEST(a_holder_hears_that_the_client_is_gone),
    HARNESS_TEST(a_holder_hears_that_the_connection_broke),
    HARNESS_TEST(a_holder_hears_nothing_of_a_power_cut_or_a_silent_break),
};
HARNESS_MAIN(tests);
