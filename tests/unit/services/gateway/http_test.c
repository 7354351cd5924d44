/* The web server over real sockets on loopback. The service echoes. */
#include "services/gateway/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/harness.h"

enum { BODY_MAX = 100 * 1000, CLIENTS_MAX = 8, REPLY_MAX = 512 * 1024 };

struct setup {
    struct ria_loop *loop;
    struct http *http;
    struct budget budget;
    struct request *parked; /* a request to /park */
    uint32_t begun;
    uint32_t handled;
};

static void begin(void *arg, struct request *request, size_t *out_body_max)
{
    struct setup *s = arg;

    s->begun++;
    *out_body_max = BODY_MAX;
    if (ria_slice_equal(request->path, RIA_SLICE_LITERAL("/missing"))) {
        request_respond_static(request, 404, "text/plain", "missing");
    }
}

static void handle(void *arg, struct request *request)
{
    struct setup *s = arg;

    s->handled++;
    if (ria_slice_equal(request->path, RIA_SLICE_LITERAL("/park"))) {
        s->parked = request;
        return;
    }
    struct ria_buf out;
    ria_buf_init(&out, REPLY_MAX);
    CU_ASSERT_EQUAL(ria_buf_append(&out, request->body.data, request->body.size), RIA_OK);
    request_respond_buf(request, 200, "text/plain", &out);
}

static void refuse(void *arg, struct request *request, int status, const char *text)
{
    (void)arg;
    request_respond_static(request, status, "text/plain", text);
}

static void setup_with(struct setup *s, uint32_t connections_max, uint32_t idle_timeout_ms)
{
    const struct http_options options = {
        .listen = "127.0.0.1:0",
        .connections_max = connections_max,
        .idle_timeout_ms = idle_timeout_ms,
    };
    const struct http_service service = {begin, handle, refuse, s};

    *s = (struct setup){.budget = {.limit = 1024 * 1024}};
    CU_ASSERT_EQUAL_FATAL(ria_loop_new(&s->loop), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(http_new(s->loop, &options, &service, &s->budget, &s->http), RIA_OK);
}

static void setup(struct setup *s)
{
    setup_with(s, 64, 60 * 1000);
}

static void teardown(struct setup *s)
{
    http_free(s->http);
    ria_loop_free(s->loop);
    CU_ASSERT_EQUAL(s->budget.used.value, 0);
}

static int dial(const struct setup *s)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(http_port(s->http)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void run_ms(struct setup *s, int64_t ms)
{
    const bool never = false;

    ria_loop_run_until(s->loop, &never, ms);
}

/* Send in pieces while the server runs. */
static void send_all(struct setup *s, int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        } else {
            run_ms(s, 1);
        }
        struct pollfd hangup = {.fd = fd, .events = POLLOUT};
        if (poll(&hangup, 1, 0) > 0 && (hangup.revents & (POLLHUP | POLLERR)) != 0) {
            return;
        }
    }
}

static void send_text(struct setup *s, int fd, const char *text)
{
    send_all(s, fd, text, strlen(text));
}

/* What comes back until `end` is in it, the connection ends, or two seconds passed. */
static size_t receive(struct setup *s, int fd, const char *end, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (int i = 0; i < 2000 && used + 1 < size; i++) {
        ssize_t n = recv(fd, out + used, size - 1 - used, MSG_DONTWAIT);
        if (n == 0) {
            break;
        }
        if (n > 0) {
            used += (size_t)n;
            out[used] = '\0';
            if (end != NULL && strstr(out, end) != NULL) {
                break;
            }
        } else {
            run_ms(s, 1);
        }
    }
    return used;
}

static bool is_closed(struct setup *s, int fd)
{
    char rest[64];

    for (int i = 0; i < 2000; i++) {
        ssize_t n = recv(fd, rest, sizeof(rest), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) {
            return true;
        }
        run_ms(s, 1);
    }
    return false;
}

/* One request on a connection of its own. */
static bool exchange(struct setup *s, const char *request, const char *wanted)
{
    char reply[4096];
    int fd = dial(s);

    send_text(s, fd, request);
    (void)receive(s, fd, wanted, reply, sizeof(reply));
    (void)close(fd);
    run_ms(s, 2);
    bool same = strstr(reply, wanted) != NULL;
    if (!same) {
        (void)printf("[%s]", reply);
    }
    return same;
}

/* --- requests ----------------------------------------------------------------------------------*/

static void a_body_is_echoed_and_the_connection_stays(void)
{
    struct setup s;
    char reply[4096];

    setup(&s);
    int fd = dial(&s);
    for (int i = 0; i < 3; i++) {
        send_text(&s, fd, "POST /x?y=z HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
        (void)receive(&s, fd, "hello", reply, sizeof(reply));
        CU_ASSERT_PTR_NOT_NULL(strstr(reply, "HTTP/1.1 200"));
        CU_ASSERT_PTR_NOT_NULL(strstr(reply, "\r\n\r\nhello"));
    }
    CU_ASSERT_EQUAL(http_metrics(s.http)->connections.value, 1);
    CU_ASSERT_EQUAL(http_metrics(s.http)->requests.value, 3);
    CU_ASSERT_EQUAL(http_metrics(s.http)->replies_2xx.value, 3);
    (void)close(fd);
    run_ms(&s, 20);
    CU_ASSERT_EQUAL(http_metrics(s.http)->connections.value, 0);
    teardown(&s);
}

static void pipelined_requests_are_answered_in_order(void)
{
    struct setup s;
    char reply[4096];

    setup(&s);
    int fd = dial(&s);
    send_text(
        &s,
        fd,
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\none"
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\ntwo"
    );
    (void)receive(&s, fd, "two", reply, sizeof(reply));
    CU_ASSERT_PTR_NOT_NULL_FATAL(strstr(reply, "one"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(strstr(reply, "two"));
    CU_ASSERT_TRUE(strstr(reply, "one") < strstr(reply, "two"));
    (void)close(fd);
    teardown(&s);
}

static void chunked_bodies_are_put_together(void)
{
    struct setup s;

    setup(&s);
    CU_ASSERT_TRUE(exchange(
        &s,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "\r\n\r\nhello"
    ));
    teardown(&s);
}

static void a_large_body_arrives_whole(void)
{
    struct setup s;
    char head[128];
    char *body = malloc(BODY_MAX + 1);
    char *reply = malloc(REPLY_MAX);

    CU_ASSERT_TRUE_FATAL(body != NULL && reply != NULL);
    for (int i = 0; i < BODY_MAX; i++) {
        body[i] = (char)('a' + i % 26);
    }
    body[BODY_MAX - 1] = '!';
    body[BODY_MAX] = '\0';
    setup(&s);
    int fd = dial(&s);
    (void)snprintf(
        head, sizeof(head), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", BODY_MAX
    );
    send_text(&s, fd, head);
    send_all(&s, fd, body, BODY_MAX);
    (void)receive(&s, fd, "!", reply, REPLY_MAX);
    const char *back = strstr(reply, "\r\n\r\n");
    CU_ASSERT_PTR_NOT_NULL_FATAL(back);
    CU_ASSERT_STRING_EQUAL(back + 4, body);
    (void)close(fd);
    teardown(&s);
    free(body);
    free(reply);
}

static void a_parked_request_is_answered_later(void)
{
    struct setup s;
    char reply[1024];

    setup(&s);
    int fd = dial(&s);
    send_text(&s, fd, "GET /park HTTP/1.1\r\nHost: h\r\n\r\n");
    run_ms(&s, 20);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s.parked);
    CU_ASSERT_FALSE(http_is_idle(s.http));
    request_respond_static(s.parked, 200, "text/plain", "late");
    (void)receive(&s, fd, "late", reply, sizeof(reply));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply, "late"));
    run_ms(&s, 5);
    CU_ASSERT_TRUE(http_is_idle(s.http));
    (void)close(fd);
    teardown(&s);
}

static void head_has_no_body(void)
{
    struct setup s;
    char reply[1024];

    setup(&s);
    int fd = dial(&s);
    send_text(&s, fd, "HEAD /missing HTTP/1.1\r\nHost: h\r\n\r\n");
    (void)receive(&s, fd, "\r\n\r\n", reply, sizeof(reply));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply, "HTTP/1.1 404"));
    CU_ASSERT_PTR_NULL(strstr(reply, "missing"));
    (void)close(fd);
    teardown(&s);
}

/* --- limits ------------------------------------------------------------------------------------*/

static void a_body_too_large_is_413_before_it_is_read(void)
{
    struct setup s;

    setup(&s);
    CU_ASSERT_TRUE(exchange(
        &s, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n", "HTTP/1.1 413"
    ));
    CU_ASSERT_TRUE(exchange(
        &s,
        "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 200000\r\n\r\n",
        "HTTP/1.1 413"
    ));
    CU_ASSERT_EQUAL(s.handled, 0);
    teardown(&s);
}

static void a_client_that_sends_too_much_can_read_why(void)
{
    struct setup s;
    char head[128];
    char reply[1024];
    char *body = calloc(1, 3 * BODY_MAX);

    CU_ASSERT_PTR_NOT_NULL_FATAL(body);
    setup(&s);
    int fd = dial(&s);
    (void)snprintf(
        head, sizeof(head), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", 3 * BODY_MAX
    );
    send_text(&s, fd, head);
    send_all(&s, fd, body, 3 * BODY_MAX);
    (void)receive(&s, fd, "\r\n\r\n", reply, sizeof(reply));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply, "HTTP/1.1 413"));
    CU_ASSERT_TRUE(is_closed(&s, fd));
    (void)close(fd);
    CU_ASSERT_EQUAL(s.budget.used.value, 0);
    teardown(&s);
    free(body);
}

static void a_chunked_body_too_large_is_413(void)
{
    struct setup s;
    char reply[1024];
    char *chunk = calloc(1, 0x8000);

    CU_ASSERT_PTR_NOT_NULL_FATAL(chunk);
    setup(&s);
    int fd = dial(&s);
    send_text(&s, fd, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        send_text(&s, fd, "8000\r\n");
        send_all(&s, fd, chunk, 0x8000);
        send_text(&s, fd, "\r\n");
    }
    send_text(&s, fd, "0\r\n\r\n");
    (void)receive(&s, fd, "\r\n\r\n", reply, sizeof(reply));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply, "HTTP/1.1 413"));
    CU_ASSERT_EQUAL(s.handled, 0);
    (void)close(fd);
    teardown(&s);
    free(chunk);
}

static void bytes_in_flight_are_limited(void)
{
    struct setup s;

    setup(&s);
    s.budget.limit = 3;
    CU_ASSERT_TRUE(
        exchange(&s, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 429")
    );
    CU_ASSERT_EQUAL(s.handled, 0);
    CU_ASSERT_EQUAL(s.budget.refused.value, 1);
    teardown(&s);
}

static void too_long_heads_are_refused(void)
{
    struct setup s;
    char *request = malloc(64 * 1024);
    int used = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(request);
    setup(&s);
    (void)snprintf(request, 64 * 1024, "GET /%09000d HTTP/1.1\r\nHost: h\r\n\r\n", 1);
    CU_ASSERT_TRUE(exchange(&s, request, "HTTP/1.1 414"));
    used = snprintf(request, 64 * 1024, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 70; i++) {
        used += snprintf(request + used, (size_t)(64 * 1024 - used), "X-%d: y\r\n", i);
    }
    (void)snprintf(request + used, (size_t)(64 * 1024 - used), "\r\n");
    CU_ASSERT_TRUE(exchange(&s, request, "HTTP/1.1 431"));
    (void)snprintf(request, 64 * 1024, "GET / HTTP/1.1\r\nHost: h\r\nX-Long: %050000d\r\n\r\n", 1);
    CU_ASSERT_TRUE(exchange(&s, request, "HTTP/1.1 431"));
    CU_ASSERT_EQUAL(s.handled, 0);
    teardown(&s);
    free(request);
}

static void connections_past_the_limit_are_told_503(void)
{
    struct setup s;
    int fds[4];
    char reply[1024];

    setup_with(&s, 2, 60 * 1000);
    for (int i = 0; i < 4; i++) {
        fds[i] = dial(&s);
        run_ms(&s, 5);
    }
    CU_ASSERT_EQUAL(http_metrics(s.http)->connections.value, 2);
    CU_ASSERT_EQUAL(http_metrics(s.http)->connections_refused.value, 2);
    for (int i = 2; i < 4; i++) {
        send_text(&s, fds[i], "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        (void)receive(&s, fds[i], "}}", reply, sizeof(reply));
        CU_ASSERT_PTR_NOT_NULL(strstr(reply, "HTTP/1.1 503"));
        CU_ASSERT_PTR_NOT_NULL(strstr(reply, "Connection: close"));
        CU_ASSERT_PTR_NOT_NULL(strstr(reply, "too_many_connections"));
        CU_ASSERT_TRUE(is_closed(&s, fds[i]));
    }
    (void)close(fds[0]);
    run_ms(&s, 20);
    CU_ASSERT_TRUE(exchange(&s, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200"));
    for (int i = 1; i < 4; i++) {
        (void)close(fds[i]);
    }
    teardown(&s);
}

/* --- framing -----------------------------------------------------------------------------------*/

static bool is_bad(struct setup *s, const char *framing)
{
    char request[512];

    (void
    )snprintf(request, sizeof(request), "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n0\r\n\r\n", framing);
    uint32_t before = s->handled;
    bool same = exchange(s, request, "HTTP/1.1 400");
    return same && s->handled == before;
}

static void unclear_framing_is_refused(void)
{
    struct setup s;

    setup(&s);
    CU_ASSERT_TRUE(is_bad(&s, "Content-Length: 5\r\nContent-Length: 5\r\n"));
    CU_ASSERT_TRUE(is_bad(&s, "Content-Length: 5\r\nContent-Length: 6\r\n"));
    CU_ASSERT_TRUE(is_bad(&s, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"));
    CU_ASSERT_TRUE(is_bad(&s, "Content-Length: +5\r\n"));
    CU_ASSERT_TRUE(is_bad(&s, "Content-Length: -5\r\n"));
    CU_ASSERT_TRUE(is_bad(&s, "Content-Length: 5, 5\r\n"));
    CU_ASSERT_TRUE(is_bad(&s, "Content-Length: 0x5\r\n"));
    teardown(&s);
}

/* Refused by us (400) or by the library (no answer): in no case handled. */
static void other_framings_reach_no_handler(void)
{
    static const char *const framings[] = {
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 99999999999999999999999\r\n",
    };
    struct setup s;

    setup(&s);
    for (size_t i = 0; i < RIA_COUNT(framings); i++) {
        char request[512];
        char reply[1024];
        (void)snprintf(
            request, sizeof(request), "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n0\r\n\r\n", framings[i]
        );
        int fd = dial(&s);
        send_text(&s, fd, request);
        (void)receive(&s, fd, "\r\n\r\n", reply, sizeof(reply));
        CU_ASSERT_PTR_NULL(strstr(reply, "HTTP/1.1 200"));
        CU_ASSERT_TRUE(is_closed(&s, fd));
        (void)close(fd);
    }
    CU_ASSERT_EQUAL(s.handled, 0);
    teardown(&s);
}

static void a_broken_chunk_reaches_no_handler(void)
{
    static const char *const bodies[] = {
        "zz\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
    };
    struct setup s;

    setup(&s);
    for (size_t i = 0; i < RIA_COUNT(bodies); i++) {
        char request[512];
        char reply[1024];
        (void)snprintf(
            request,
            sizeof(request),
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%s",
            bodies[i]
        );
        int fd = dial(&s);
        send_text(&s, fd, request);
        (void)receive(&s, fd, "\r\n\r\n", reply, sizeof(reply));
        CU_ASSERT_PTR_NULL(strstr(reply, "HTTP/1.1 200"));
        (void)close(fd);
        run_ms(&s, 5);
    }
    CU_ASSERT_EQUAL(s.handled, 0);
    teardown(&s);
}

static void garbage_is_answered_or_cut(void)
{
    static const char *const garbage[] = {
        "\r\n\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "\x16\x03\x01\x02",
        "hello\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n"};
    struct setup s;

    setup(&s);
    for (size_t i = 0; i < RIA_COUNT(garbage); i++) {
        int fd = dial(&s);
        send_text(&s, fd, garbage[i]);
        run_ms(&s, 10);
        (void)close(fd);
        run_ms(&s, 5);
    }
    CU_ASSERT_TRUE(exchange(&s, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200"));
    teardown(&s);
}

/* --- slow and vanished clients -----------------------------------------------------------------*/

static void silent_connections_are_closed(void)
{
    struct setup s;

    setup_with(&s, 8, 1000);
    int idle = dial(&s);
    int half = dial(&s);
    send_text(&s, half, "GET / HT");
    CU_ASSERT_TRUE(is_closed(&s, idle));
    CU_ASSERT_TRUE(is_closed(&s, half));
    CU_ASSERT_EQUAL(http_metrics(s.http)->connections_timed_out.value, 2);
    (void)close(idle);
    (void)close(half);
    teardown(&s);
}

static void clients_may_vanish_at_any_point(void)
{
    static const char request[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    struct setup s;

    setup(&s);
    for (size_t size = 0; size < sizeof(request); size++) {
        int fd = dial(&s);
        send_all(&s, fd, request, size);
        run_ms(&s, 1);
        (void)close(fd);
        run_ms(&s, 1);
    }
    run_ms(&s, 20);
    CU_ASSERT_EQUAL(http_metrics(s.http)->connections.value, 0);
    CU_ASSERT_EQUAL(s.budget.used.value, 0);
    teardown(&s);
}

static void a_client_may_vanish_while_its_request_is_parked(void)
{
    struct setup s;

    setup(&s);
    int fd = dial(&s);
    send_text(&s, fd, "GET /park HTTP/1.1\r\nHost: h\r\n\r\n");
    run_ms(&s, 20);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s.parked);
    (void)close(fd);
    run_ms(&s, 20);
    request_respond_static(s.parked, 200, "text/plain", "late");
    run_ms(&s, 1); /* the answer is sent at the end of a turn, the end is noticed in the next */
    run_ms(&s, 20);
    CU_ASSERT_EQUAL(http_metrics(s.http)->connections.value, 0);
    teardown(&s);
}

/* --- the end -----------------------------------------------------------------------------------*/

static void stopping_takes_no_new_connections(void)
{
    struct setup s;
    char reply[1024];

    setup(&s);
    int idle = dial(&s);
    int busy = dial(&s);
    send_text(&s, busy, "GET /park HTTP/1.1\r\nHost: h\r\n\r\n");
    run_ms(&s, 20);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s.parked);
    http_stop(s.http);
    CU_ASSERT_TRUE(is_closed(&s, idle));
    request_respond_static(s.parked, 200, "text/plain", "late");
    (void)receive(&s, busy, "late", reply, sizeof(reply));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply, "Connection: close"));
    CU_ASSERT_PTR_NOT_NULL(strstr(reply, "late"));
    (void)close(idle);
    (void)close(busy);
    teardown(&s);
}

static void freeing_ends_parked_requests(void)
{
    struct setup s;
    char reply[64];

    setup(&s);
    int fd = dial(&s);
    send_text(&s, fd, "GET /park HTTP/1.1\r\nHost: h\r\n\r\n");
    run_ms(&s, 20);
    CU_ASSERT_PTR_NOT_NULL(s.parked);
    http_free(s.http);
    s.http = NULL;
    CU_ASSERT_EQUAL(recv(fd, reply, sizeof(reply), 0), 0);
    (void)close(fd);
    teardown(&s);
}

static void an_address_in_use_is_told(void)
{
    struct setup s;
    struct http *second = NULL;
    char listen[64];

    setup(&s);
    (void)snprintf(listen, sizeof(listen), "127.0.0.1:%u", (unsigned)http_port(s.http));
    struct http_options options = {.listen = listen, .connections_max = 1, .idle_timeout_ms = 1000};
    const struct http_service service = {begin, handle, refuse, &s};
    CU_ASSERT_EQUAL(http_new(s.loop, &options, &service, &s.budget, &second), RIA_ERR_EXISTS);
    options.listen = "nonsense";
    CU_ASSERT_EQUAL(http_new(s.loop, &options, &service, &s.budget, &second), RIA_ERR_INVALID);
    options.listen = "203.0.113.1:8080"; /* not ours */
    CU_ASSERT_EQUAL(http_new(s.loop, &options, &service, &s.budget, &second), RIA_ERR_INVALID);
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_body_is_echoed_and_the_connection_stays),
    HARNESS_TEST(pipelined_requests_are_answered_in_order),
    HARNESS_TEST(chunked_bodies_are_put_together),
    HARNESS_TEST(a_large_body_arrives_whole),
    HARNESS_TEST(a_parked_request_is_answered_later),
    HARNESS_TEST(head_has_no_body),
    HARNESS_TEST(a_body_too_large_is_413_before_it_is_read),
    HARNESS_TEST(a_client_that_sends_too_much_can_read_why),
    HARNESS_TEST(a_chunked_body_too_large_is_413),
    HARNESS_TEST(bytes_in_flight_are_limited),
    HARNESS_TEST(too_long_heads_are_refused),
    HARNESS_TEST(connections_past_the_limit_are_told_503),
    HARNESS_TEST(unclear_framing_is_refused),
    HARNESS_TEST(other_framings_reach_no_handler),
    HARNESS_TEST(a_broken_chunk_reaches_no_handler),
    HARNESS_TEST(garbage_is_answered_or_cut),
    HARNESS_TEST(silent_connections_are_closed),
    HARNESS_TEST(clients_may_vanish_at_any_point),
    HARNESS_TEST(a_client_may_vanish_while_its_request_is_parked),
    HARNESS_TEST(stopping_takes_no_new_connections),
    HARNESS_TEST(freeing_ends_parked_requests),
    HARNESS_TEST(an_address_in_use_is_told),
};

HARNESS_MAIN(tests);
