#include "common/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/msg.h"

#include "tests/lib/harness.h"

enum { WAIT_MS = 20000, PARKED_MAX = RIA_RPC_INFLIGHT_MAX + 64 };

/* A server and a client on one loop; frames start with a number. */
static struct ria_loop *loop;
static struct ria_net *server;
static struct ria_net *client;
static char address[64];

/* What the server does with a request. */
static bool parks;
static struct ria_rpc_request *parked[PARKED_MAX];
static size_t parked_count;
static uint32_t served_next; /* number expected next */
static uint32_t served_disorder;

/* What came back. */
struct answer {
    ria_err err;
    uint32_t number;
    size_t size;
};
enum { ANSWERS_MAX = 20000 };
static struct answer answers[ANSWERS_MAX];
static uint32_t answer_count;
static uint32_t answers_wanted;
static bool answers_complete;

static struct ria_msg *make_msg(uint32_t number, size_t size)
{
    struct ria_msg *msg = ria_msg_new(size);

    CU_ASSERT_PTR_NOT_NULL_FATAL(msg);
    memset(ria_msg_data(msg), (int)(number & 0xff), size);
    memcpy(ria_msg_data(msg), &number, sizeof(number));
    return msg;
}

static uint32_t number_of(const struct ria_msg *msg)
{
    uint32_t number = UINT32_MAX;

    CU_ASSERT_TRUE(ria_msg_size(msg) >= sizeof(number));
    memcpy(&number, ria_msg_data(msg), sizeof(number));
    return number;
}

static void serve(void *arg, struct ria_rpc_request *request)
{
    struct ria_rpc *rpc = ria_net_rpc(server);
    const struct ria_msg *msg = ria_rpc_request_msg(rpc, request);

    (void)arg;
    served_disorder += number_of(msg) != served_next;
    served_next = number_of(msg) + 1;
    if (parks) {
        CU_ASSERT_TRUE_FATAL(parked_count < PARKED_MAX);
        parked[parked_count++] = request;
        return;
    }
    ria_rpc_reply(rpc, request, ria_msg_copy(msg));
}

static void on_answer(void *arg, ria_err err, struct ria_msg *reply)
{
    struct answer *answer = &answers[answer_count++];

    *answer = (struct answer){.err = err, .number = *(uint32_t *)arg};
    CU_ASSERT_EQUAL(err == RIA_OK, reply != NULL);
    if (reply != NULL) {
        CU_ASSERT_EQUAL(number_of(reply), *(uint32_t *)arg);
        answer->size = ria_msg_size(reply);
    }
    ria_msg_free(reply);
    free(arg);
    answers_complete = answer_count >= answers_wanted;
}

static void call_size(uint32_t number, size_t size, uint32_t timeout_ms)
{
    uint32_t *arg = malloc(sizeof(*arg));
    uint32_t before = answer_count;

    *arg = number;
    ria_rpc_call(ria_net_rpc(client), address, make_msg(number, size), timeout_ms, on_answer, arg);
    CU_ASSERT_EQUAL(answer_count, before); /* never from inside the call */
}

static void call(uint32_t number, uint32_t timeout_ms)
{
    call_size(number, 16, timeout_ms);
}

/* Until so many calls have been answered in all. */
static void wait_answers(uint32_t count)
{
    answers_wanted = count;
    answers_complete = answer_count >= count;
    ria_loop_run_until(loop, &answers_complete, WAIT_MS);
    CU_ASSERT_EQUAL(answer_count, count);
}

static void run_ms(int64_t ms)
{
    bool never = false;

    ria_loop_run_until(loop, &never, ms);
}

static void wait_parked(size_t count)
{
    for (int i = 0; i < WAIT_MS / 5 && parked_count < count; i++) {
        run_ms(5);
    }
    CU_ASSERT_EQUAL(parked_count, count);
}

static void reply_parked(size_t i)
{
    struct ria_rpc *rpc = ria_net_rpc(server);

    ria_rpc_reply(rpc, parked[i], ria_msg_copy(ria_rpc_request_msg(rpc, parked[i])));
    parked[i] = NULL;
}

static void drop_parked(void)
{
    for (size_t i = 0; i < parked_count; i++) {
        if (parked[i] != NULL) {
            ria_rpc_drop(ria_net_rpc(server), parked[i]);
        }
    }
    parked_count = 0;
}

static void start_server(const char *listen)
{
    CU_ASSERT_EQUAL_FATAL(ria_net_new(loop, listen, &server), RIA_OK);
    ria_rpc_set_handler(ria_net_rpc(server), serve, NULL);
    (void)snprintf(address, sizeof(address), "tcp://127.0.0.1:%u", (unsigned)ria_net_port(server));
}

static void stop_server(void)
{
    drop_parked();
    ria_net_free(server);
    server = NULL;
}

static void set_up(void)
{
    parks = false;
    parked_count = 0;
    answer_count = 0;
    served_next = 0;
    served_disorder = 0;
    CU_ASSERT_EQUAL_FATAL(ria_loop_new(&loop), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(ria_net_new(loop, NULL, &client), RIA_OK);
    start_server("tcp://127.0.0.1:0");
}

static void tear_down(void)
{
    ria_net_stop(client);
    if (server != NULL) {
        stop_server();
    }
    ria_net_free(client);
    ria_loop_free(loop);
}

static struct ria_net_stats stats_of(const struct ria_net *net)
{
    struct ria_net_stats stats;

    ria_net_stats(net, &stats);
    return stats;
}

static void echo_comes_back(void)
{
    set_up();
    call(7, 5000);
    wait_answers(1);
    CU_ASSERT_EQUAL(answers[0].err, RIA_OK);
    CU_ASSERT_EQUAL(answers[0].size, 16);
    CU_ASSERT_EQUAL(stats_of(server).requests_received, 1);
    CU_ASSERT_EQUAL(stats_of(server).replies_sent, 1);
    CU_ASSERT_EQUAL(stats_of(server).connections, 1);
    CU_ASSERT_EQUAL(stats_of(client).calls_sent, 1);
    CU_ASSERT_EQUAL(stats_of(client).bytes_sent, 16);
    CU_ASSERT_EQUAL(stats_of(client).bytes_received, 16);
    CU_ASSERT_EQUAL(stats_of(client).peers, 1);
    CU_ASSERT_EQUAL(stats_of(client).frames_malformed, 0);
    tear_down();
}

static void pipelined_calls_arrive_and_return_in_order(void)
{
    enum { COUNT = 10000 };

    set_up();
    for (uint32_t i = 0; i < COUNT; i++) {
        call(i, WAIT_MS);
    }
    wait_answers(COUNT);
    CU_ASSERT_EQUAL(served_disorder, 0);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        wrong += answers[i].number != i || answers[i].err != RIA_OK;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    tear_down();
}

static void unanswered_call_times_out_and_late_reply_is_dropped(void)
{
    set_up();
    parks = true;
    call(1, 50);
    wait_answers(1);
    CU_ASSERT_EQUAL(answers[0].err, RIA_ERR_TIMEOUT);
    CU_ASSERT_EQUAL_FATAL(parked_count, 1);
    reply_parked(0);
    parks = false;
    call(2, 5000); /* goes behind the late reply */
    wait_answers(2);
    CU_ASSERT_EQUAL(answers[1].err, RIA_OK);
    CU_ASSERT_EQUAL(stats_of(client).frames_malformed, 1);
    CU_ASSERT_EQUAL(stats_of(client).calls_timed_out, 1);
    tear_down();
}

static void call_waits_for_a_peer_that_comes_later(void)
{
    char listen[64];

    set_up();
    memcpy(listen, address, sizeof(listen));
    stop_server();
    call(1, 10000);
    call(2, 10000);
    run_ms(300);
    CU_ASSERT_EQUAL(answer_count, 0);
    start_server(listen);
    wait_answers(2);
    CU_ASSERT_EQUAL(answers[0].err, RIA_OK);
    CU_ASSERT_EQUAL(answers[1].err, RIA_OK);
    CU_ASSERT_EQUAL(answers[1].number, 2);
    tear_down();
}

static void deadline_without_connection_is_disconnected(void)
{
    set_up();
    stop_server();
    call(1, 100);
    wait_answers(1);
    CU_ASSERT_EQUAL(answers[0].err, RIA_ERR_DISCONNECTED);
    CU_ASSERT_EQUAL(stats_of(client).calls_sent, 0);
    tear_down();
}

static void lost_connection_ends_calls_at_once(void)
{
    char listen[64];

    set_up();
    memcpy(listen, address, sizeof(listen));
    parks = true;
    for (uint32_t i = 0; i < 5; i++) {
        call(i, WAIT_MS);
    }
    wait_parked(5);
    int64_t start_us = ria_clock_mono_us(ria_loop_clock(loop));
    stop_server();
    wait_answers(5);
    CU_ASSERT_TRUE(ria_clock_mono_us(ria_loop_clock(loop)) - start_us < 2000000);
    for (uint32_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(answers[i].err, RIA_ERR_DISCONNECTED);
        CU_ASSERT_EQUAL(answers[i].number, i);
    }
    CU_ASSERT_EQUAL(stats_of(client).connections_lost, 1);
    parks = false;
    start_server(listen);
    call(9, 10000);
    wait_answers(6);
    CU_ASSERT_EQUAL(answers[5].err, RIA_OK);
    tear_down();
}

static void count_gone(void *arg)
{
    (*(int *)arg)++;
}

/* Ends what it was asked about, and the one behind it. */
static void drop_both(void *arg)
{
    count_gone(arg);
    drop_parked();
}

static void holder_of_a_request_hears_that_its_connection_is_lost(void)
{
    int gone[3] = {0};

    set_up();
    parks = true;
    for (uint32_t i = 0; i < 3; i++) {
        call(i, WAIT_MS);
    }
    wait_parked(3);
    for (size_t i = 0; i < 3; i++) {
        ria_rpc_on_gone(ria_net_rpc(server), parked[i], count_gone, &gone[i]);
    }
    reply_parked(2); /* who has ended it hears nothing */
    wait_answers(1);
    CU_ASSERT_EQUAL(gone[0] + gone[1] + gone[2], 0);
    ria_net_free(client); /* as the end of its process */
    CU_ASSERT_EQUAL_FATAL(ria_net_new(loop, NULL, &client), RIA_OK);
    for (int i = 0; i < WAIT_MS / 5 && gone[0] + gone[1] < 2; i++) {
        run_ms(5);
    }
    CU_ASSERT_EQUAL(gone[0], 1);
    CU_ASSERT_EQUAL(gone[1], 1);
    CU_ASSERT_EQUAL(gone[2], 0);
    CU_ASSERT_EQUAL(stats_of(server).requests_held, 2); /* they are the holder's still */
    reply_parked(0);
    drop_parked();
    tear_down();
}

static void holder_may_end_every_request_of_a_lost_connection_when_told(void)
{
    int gone = 0;

    set_up();
    parks = true;
    call(0, WAIT_MS);
    call(1, WAIT_MS);
    wait_parked(2);
    ria_rpc_on_gone(ria_net_rpc(server), parked[0], drop_both, &gone);
    ria_rpc_on_gone(ria_net_rpc(server), parked[1], drop_both, &gone);
    ria_net_free(client);
    CU_ASSERT_EQUAL_FATAL(ria_net_new(loop, NULL, &client), RIA_OK);
    for (int i = 0; i < WAIT_MS / 5 && gone == 0; i++) {
        run_ms(5);
    }
    run_ms(20);
    CU_ASSERT_EQUAL(gone, 1); /* the other had ended by then */
    CU_ASSERT_EQUAL(stats_of(server).requests_held, 0);
    parks = false;
    call(2, WAIT_MS);
    wait_answers(3);
    CU_ASSERT_EQUAL(answers[2].err, RIA_OK);
    tear_down();
}

static void nobody_is_told_when_the_server_closes(void)
{
    int gone = 0;

    set_up();
    parks = true;
    call(0, WAIT_MS);
    wait_parked(1);
    ria_rpc_on_gone(ria_net_rpc(server), parked[0], count_gone, &gone);
    parked_count = 0; /* left to ria_net_free() */
    stop_server();
    wait_answers(1);
    CU_ASSERT_EQUAL(gone, 0);
    tear_down();
}

static void parked_requests_are_answered_in_any_order(void)
{
    enum { COUNT = RIA_RPC_INFLIGHT_MAX + 40, FIRST = RIA_RPC_INFLIGHT_MAX };

    set_up();
    parks = true;
    for (uint32_t i = 0; i < COUNT; i++) {
        call(i, WAIT_MS);
    }
    wait_parked(FIRST);
    CU_ASSERT_EQUAL(stats_of(server).requests_held, FIRST);
    for (size_t i = FIRST; i > 0; i--) {
        reply_parked(i - 1);
    }
    wait_answers(FIRST);
    wait_parked(COUNT);
    for (size_t i = COUNT; i > FIRST; i--) {
        reply_parked(i - 1);
    }
    wait_answers(COUNT);
    for (uint32_t i = 0; i < FIRST; i++) {
        CU_ASSERT_EQUAL(answers[i].number, FIRST - 1 - i);
    }
    CU_ASSERT_EQUAL(stats_of(server).requests_held, 0);
    CU_ASSERT_EQUAL(served_disorder, 0);
    parked_count = 0;
    tear_down();
}

static void hundred_requests_of_two_clients_are_held(void)
{
    enum { COUNT = 50 };
    struct ria_net *clients[2];

    set_up();
    parks = true;
    clients[0] = client;
    CU_ASSERT_EQUAL_FATAL(ria_net_new(loop, NULL, &clients[1]), RIA_OK);
    for (uint32_t i = 0; i < 2 * COUNT; i++) {
        client = clients[i % 2];
        call(i, WAIT_MS);
    }
    wait_parked(2 * COUNT);
    CU_ASSERT_EQUAL(stats_of(server).connections, 2);
    for (size_t i = 2 * COUNT; i > 0; i--) {
        reply_parked(i - 1);
    }
    wait_answers(2 * COUNT);
    parked_count = 0;
    ria_net_free(clients[1]);
    client = clients[0];
    tear_down();
}

static void calls_past_the_inflight_bound_wait(void)
{
    enum { COUNT = RIA_RPC_INFLIGHT_MAX + 10 };

    set_up();
    parks = true;
    for (uint32_t i = 0; i < COUNT; i++) {
        call(i, WAIT_MS);
    }
    wait_parked(RIA_RPC_INFLIGHT_MAX);
    run_ms(50);
    CU_ASSERT_EQUAL(parked_count, RIA_RPC_INFLIGHT_MAX);
    CU_ASSERT_EQUAL(stats_of(client).calls_sent, RIA_RPC_INFLIGHT_MAX);
    reply_parked(0);
    wait_parked(RIA_RPC_INFLIGHT_MAX + 1);
    tear_down();
    CU_ASSERT_EQUAL(answer_count, COUNT);
    CU_ASSERT_EQUAL(answers[0].err, RIA_OK);
    CU_ASSERT_EQUAL(answers[COUNT - 1].err, RIA_ERR_SHUTDOWN);
}

static void calls_past_the_queue_bound_are_refused(void)
{
    set_up();
    stop_server();
    for (uint32_t i = 0; i < RIA_RPC_QUEUE_MAX + 3; i++) {
        call(i, WAIT_MS);
    }
    wait_answers(3);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(answers[i].err, RIA_ERR_BUSY);
        CU_ASSERT_EQUAL(answers[i].number, RIA_RPC_QUEUE_MAX + i);
    }
    tear_down();
    CU_ASSERT_EQUAL(answer_count, RIA_RPC_QUEUE_MAX + 3);
}

static void stop_ends_every_call(void)
{
    enum { COUNT = RIA_RPC_INFLIGHT_MAX + 40 };

    set_up();
    parks = true;
    for (uint32_t i = 0; i < COUNT; i++) {
        call(i, WAIT_MS);
    }
    wait_parked(RIA_RPC_INFLIGHT_MAX);
    ria_net_stop(client);
    CU_ASSERT_EQUAL(answer_count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        CU_ASSERT_EQUAL(answers[i].err, RIA_ERR_SHUTDOWN);
    }
    call(COUNT, WAIT_MS);
    wait_answers(COUNT + 1);
    CU_ASSERT_EQUAL(answers[COUNT].err, RIA_ERR_SHUTDOWN);
    tear_down();
}

static void large_frames_go_both_ways(void)
{
    set_up();
    for (uint32_t i = 0; i < 4; i++) {
        call_size(i, RIA_BATCH_SIZE_MAX, WAIT_MS);
    }
    call_size(4, RIA_FRAME_SIZE_MAX, WAIT_MS);
    wait_answers(5);
    for (uint32_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(answers[i].err, RIA_OK);
    }
    CU_ASSERT_EQUAL(answers[3].size, RIA_BATCH_SIZE_MAX);
    CU_ASSERT_EQUAL(answers[4].size, RIA_FRAME_SIZE_MAX);
    tear_down();
}

static void oversized_frame_is_refused_before_it_is_sent(void)
{
    set_up();
    call_size(0, RIA_FRAME_SIZE_MAX + 1, WAIT_MS);
    call(1, WAIT_MS);
    wait_answers(2);
    CU_ASSERT_EQUAL(answers[0].err, RIA_ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(answers[1].err, RIA_OK);
    CU_ASSERT_EQUAL(stats_of(client).frames_oversized, 1);
    tear_down();
}

static void bad_addresses_are_refused(void)
{
    static const char *const bad[] = {"", "nonsense", "http://127.0.0.1:1"};

    set_up();
    for (uint32_t i = 0; i < RIA_COUNT(bad); i++) {
        (void)snprintf(address, sizeof(address), "%s", bad[i]);
        call(i, 200);
        wait_answers(i + 1);
        CU_ASSERT_EQUAL(answers[i].err, RIA_ERR_INVALID);
    }
    tear_down();
}

static void listen_errors_are_told_apart(void)
{
    struct ria_net *other = NULL;

    set_up();
    CU_ASSERT_EQUAL(ria_net_new(loop, address, &other), RIA_ERR_EXISTS);
    CU_ASSERT_EQUAL(ria_net_new(loop, "nonsense", &other), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(ria_net_new(loop, "tcp://192.0.2.1:0", &other), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NULL(other);
    tear_down();
}

/* --- peers that are none of ours ---------------------------------------------------------------*/

static int plain_connect(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(ria_net_port(server))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(connect(fd, (const struct sockaddr *)(const void *)&to, sizeof(to)), 0);
    return fd;
}

/* Send the bytes, let the server look at them, go away. The server still answers others. */
static void throw_bytes(const void *bytes, size_t size)
{
    static uint32_t number = 1000;
    int fd = plain_connect();
    uint32_t before = answer_count;

    CU_ASSERT_EQUAL(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
    run_ms(30);
    call(number++, WAIT_MS);
    wait_answers(before + 1);
    CU_ASSERT_EQUAL(answers[before].err, RIA_OK);
    (void)close(fd);
    run_ms(10);
}

static const uint8_t hello_req[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
static const uint8_t hello_pub[] = {0, 'S', 'P', 0, 0, 0x20, 0, 0};

static void garbage_on_the_port_harms_nobody(void)
{
    static uint8_t noise[70000];

    set_up();
    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = (uint8_t)(i * 31 + i / 256);
    }
    throw_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    throw_bytes(noise, sizeof(noise));
    throw_bytes("\0", 1);
    throw_bytes(hello_req, 5);
    CU_ASSERT_EQUAL(stats_of(server).connections_refused, 2); /* the others only said too little */
    CU_ASSERT_EQUAL(stats_of(server).connections, 1);         /* the client's */
    tear_down();
}

static void other_protocol_is_turned_away_and_counted(void)
{
    set_up();
    throw_bytes(hello_pub, sizeof(hello_pub));
    CU_ASSERT_EQUAL(stats_of(server).connections_refused, 1);
    CU_ASSERT_EQUAL(stats_of(server).connections, 1);
    tear_down();
}

/* A frame behind a good greeting: its length, then these bytes. */
static void throw_frame(uint64_t size_told, const void *frame, size_t size)
{
    uint8_t bytes[256];

    memcpy(bytes, hello_req, sizeof(hello_req));
    for (size_t i = 0; i < 8; i++) {
        bytes[8 + i] = (uint8_t)(size_told >> (56 - 8 * i));
    }
    if (size > 0) {
        memcpy(bytes + 16, frame, size);
    }
    throw_bytes(bytes, 16 + size);
}

static void frames_that_are_no_requests_are_dropped(void)
{
    static const uint8_t zeros[100];
    static const uint8_t tops[10] = {0x80, 0x80, 0x80, 0x80};

    set_up();
    throw_frame(0, NULL, 0);                          /* empty */
    throw_frame(3, tops, 3);                          /* too short for an id */
    throw_frame(4, zeros, 4);                         /* no id with its top bit set */
    throw_frame(sizeof(zeros), zeros, sizeof(zeros)); /* the same, with a body */
    throw_frame((uint64_t)RIA_FRAME_SIZE_MAX + 5, tops, 8);
    throw_frame(UINT64_MAX, tops, 8);
    throw_frame(100, tops, 10); /* ends early: only lost */
    CU_ASSERT_EQUAL(stats_of(server).frames_malformed, 6);
    CU_ASSERT_EQUAL(stats_of(server).connections_refused, 0);
    CU_ASSERT_EQUAL(stats_of(server).requests_received, 7); /* the client's */
    CU_ASSERT_EQUAL(stats_of(server).connections, 1);
    CU_ASSERT_EQUAL(stats_of(server).requests_held, 0);
    tear_down();
}

/* What is read only slowly, or not at all, holds up its own connection and nobody else's. */
static void guest_that_does_not_read_is_not_read_from(void)
{
    enum { COUNT = 2000, BODY = 16 * 1024 };
    static uint8_t frame[12 + BODY] = {[6] = (BODY + 4) >> 8, [7] = (BODY + 4) & 0xff, [8] = 0x80};
    struct timeval timeout = {.tv_usec = 20000};
    size_t sent = 0;

    set_up();
    int fd = plain_connect();
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    CU_ASSERT_EQUAL(send(fd, hello_req, sizeof(hello_req), 0), sizeof(hello_req));
    while (sent < COUNT && send(fd, frame, sizeof(frame), MSG_NOSIGNAL) == sizeof(frame)) {
        sent++;
        run_ms(0);
    }
    run_ms(100);
    CU_ASSERT_TRUE(stats_of(server).requests_received < COUNT);
    uint32_t before = answer_count;
    call(5, WAIT_MS);
    wait_answers(before + 1);
    CU_ASSERT_EQUAL(answers[before].err, RIA_OK);
    (void)close(fd);
    for (int i = 0; i < 200 && stats_of(server).connections > 1; i++) {
        run_ms(5);
    }
    CU_ASSERT_EQUAL(stats_of(server).connections, 1);
    tear_down();
}

/* The replies fill the socket, then the queue, and nothing is read from it; then it reads. */
static void guest_that_reads_late_gets_every_reply(void)
{
    enum { COUNT = 1000, BODY = 16 * 1024, FRAME = 12 + BODY };
    static uint8_t frame[FRAME] = {[6] = (BODY + 4) >> 8, [7] = (BODY + 4) & 0xff, [8] = 0x80};
    static uint8_t received[sizeof(hello_req) + (size_t)COUNT * FRAME];
    size_t sent = 0; /* bytes */
    size_t got = 0;

    set_up();
    int fd = plain_connect();
    CU_ASSERT_EQUAL(send(fd, hello_req, sizeof(hello_req), 0), sizeof(hello_req));
    for (int round = 0; round < 20000 && got < sizeof(received); round++) {
        size_t at = sent % FRAME;
        ssize_t n = sent == (size_t)COUNT * FRAME
                        ? 0
                        : send(fd, frame + at, FRAME - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        run_ms(n > 0 ? 0 : 1);
        if (n > 0) {
            continue; /* as long as it takes anything */
        }
        n = recv(fd, received + got, sizeof(received) - got, MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
    }
    CU_ASSERT_EQUAL(sent, (size_t)COUNT * FRAME);
    CU_ASSERT_EQUAL(got, sizeof(received));
    for (size_t i = 0; i < COUNT; i++) {
        const uint8_t *reply = received + sizeof(hello_req) + i * FRAME;
        if (memcmp(reply, frame, FRAME) != 0) {
            CU_FAIL("a reply that is another one than the request");
            break;
        }
    }
    (void)close(fd);
    tear_down();
}

static void pipelined_load_survives_lost_connections(void)
{
    enum { ROUNDS = 20, COUNT = 200 };
    char listen[64];

    set_up();
    memcpy(listen, address, sizeof(listen));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            call(round * COUNT + i, WAIT_MS);
        }
        run_ms(round % 7);
        stop_server();
        start_server(listen);
    }
    wait_answers(ROUNDS * COUNT);
    call(ROUNDS * COUNT, WAIT_MS); /* what was under way is lost, what comes then is not */
    wait_answers(ROUNDS * COUNT + 1);
    uint32_t other = 0;
    for (uint32_t i = 0; i < ROUNDS * COUNT; i++) {
        other += answers[i].err != RIA_OK && answers[i].err != RIA_ERR_DISCONNECTED;
    }
    CU_ASSERT_EQUAL(other, 0);
    CU_ASSERT_EQUAL(answers[ROUNDS * COUNT].err, RIA_OK);
    tear_down();
}

static void silent_connection_is_given_up(void)
{
    set_up();
    parks = true;
    call(1, 3100);
    call(2, WAIT_MS);
    wait_answers(2); /* the second ends when the connection is closed */
    CU_ASSERT_EQUAL(answers[0].err, RIA_ERR_TIMEOUT);
    CU_ASSERT_EQUAL(answers[1].err, RIA_ERR_DISCONNECTED);
    parks = false;
    call(3, WAIT_MS);
    wait_answers(3);
    CU_ASSERT_EQUAL(answers[2].err, RIA_OK);
    tear_down();
}

static const struct harness_test tests[] = {
    HARNESS_TEST(echo_comes_back),
    HARNESS_TEST(pipelined_calls_arrive_and_return_in_order),
    HARNESS_TEST(unanswered_call_times_out_and_late_reply_is_dropped),
    HARNESS_TEST(call_waits_for_a_peer_that_comes_later),
    HARNESS_TEST(deadline_without_connection_is_disconnected),
    HARNESS_TEST(lost_connection_ends_calls_at_once),
    HARNESS_TEST(holder_of_a_request_hears_that_its_connection_is_lost),
    HARNESS_TEST(holder_may_end_every_request_of_a_lost_connection_when_told),
    HARNESS_TEST(nobody_is_told_when_the_server_closes),
    HARNESS_TEST(parked_requests_are_answered_in_any_order),
    HARNESS_TEST(hundred_requests_of_two_clients_are_held),
    HARNESS_TEST(calls_past_the_inflight_bound_wait),
    HARNESS_TEST(calls_past_the_queue_bound_are_refused),
    HARNESS_TEST(stop_ends_every_call),
    HARNESS_TEST(large_frames_go_both_ways),
    HARNESS_TEST(oversized_frame_is_refused_before_it_is_sent),
    HARNESS_TEST(bad_addresses_are_refused),
    HARNESS_TEST(listen_errors_are_told_apart),
    HARNESS_TEST(garbage_on_the_port_harms_nobody),
    HARNESS_TEST(other_protocol_is_turned_away_and_counted),
    HARNESS_TEST(frames_that_are_no_requests_are_dropped),
    HARNESS_TEST(guest_that_does_not_read_is_not_read_from),
    HARNESS_TEST(guest_that_reads_late_gets_every_reply),
    HARNESS_TEST(pipelined_load_survives_lost_connections),
    HARNESS_TEST(silent_connection_is_given_up),
};
HARNESS_MAIN(tests);
