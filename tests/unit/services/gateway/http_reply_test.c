/* Streamed answers, and what becomes of answers, over real sockets on loopback. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/gateway/http.h"
#include "tests/lib/harness.h"

#define GET_STREAM "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"

enum { STALL_MS = 1500, REPLY_MAX = 64 * 1024 };

struct setup {
    struct ria_loop *loop;
    struct http *http;
    struct budget budget;
    struct request *parked; /* a request to /park or /watched */
    uint32_t hangups;
    uint32_t completes; /* answers that were handed to the socket */
    uint32_t breaks;    /* that were not */
    struct request *stream;
    size_t left; /* bytes there are to send now */
    size_t sent;
    bool ends; /* after them */
    bool aborts;
    uint32_t pulls;
    uint32_t releases;
    char reply[REPLY_MAX];
};

/* Until the condition holds, or two seconds have passed. */
#define WAIT_FOR(s, condition)                     \
    for (int i = 0; i < 2000 && !(condition); i++) \
    run_ms(s, 1)

static void on_end(void *arg, bool complete)
{
    struct setup *s = arg;

    if (complete) {
        s->completes++;
    } else {
        s->breaks++;
    }
}

static void on_hangup(void *arg)
{
    ((struct setup *)arg)->hangups++;
}

static int64_t pull(void *owner, uint8_t *out, size_t size)
{
    struct setup *s = owner;
    size_t n = ria_min_size(size, s->left);

    s->pulls++;
    CU_ASSERT_TRUE(size >= RESPONSE_PIECE_MIN);
    if (n == 0) {
        return s->aborts ? RESPONSE_ABORT : s->ends ? RESPONSE_END : 0;
    }
    memset(out, 's', n);
    s->left -= n;
    s->sent += n;
    return (int64_t)n;
}

static void released(void *owner)
{
    struct setup *s = owner;

    s->releases++;
    s->stream = NULL;
}

static void begin(void *arg, struct request *request, size_t *out_body_max)
{
    (void)arg;
    (void)request;
    *out_body_max = 1000;
}

static void handle(void *arg, struct request *request)
{
    struct setup *s = arg;
    struct response response = {.status = 200, .content_type = "text/plain"};

    request_on_end(request, on_end, s);
    if (ria_slice_equal(request->path, RIA_SLICE_LITERAL("/stream"))) {
        s->stream = request;
        response.pull = pull;
        response.release = released;
        response.owner = s;
        request_respond(request, &response);
    } else if (ria_slice_equal(request->path, RIA_SLICE_LITERAL("/watched"))) {
        request_on_hangup(request, on_hangup, s);
        s->parked = request;
    } else if (ria_slice_equal(request->path, RIA_SLICE_LITERAL("/park"))) {
        s->parked = request;
    } else {
        request_respond_static(request, 200, "text/plain", "hello");
    }
}

static void refuse(void *arg, struct request *request, int status, const char *text)
{
    (void)arg;
    request_respond_static(request, status, "text/plain", text);
}

static void setup(struct setup *s)
{
    const struct http_options options = {
        .listen = "127.0.0.1:0",
        .connections_max = 64,
        .idle_timeout_ms = 1000,
        .stream_stall_ms = STALL_MS,
    };
    const struct http_service service = {begin, handle, refuse, s};

    memset(s, 0, sizeof(*s));
    s->budget.limit = 1024 * 1024;
    CU_ASSERT_EQUAL_FATAL(ria_loop_new(&s->loop), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(http_new(s->loop, &options, &service, &s->budget, &s->http), RIA_OK);
}

static void teardown(struct setup *s)
{
    http_free(s->http);
    ria_loop_free(s->loop);
    CU_ASSERT_EQUAL(s->budget.used.value, 0);
}

static void run_ms(struct setup *s, int64_t ms)
{
    const bool never = false;

    ria_loop_run_until(s->loop, &never, ms);
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

/* Heads are short: they fit at once. */
static int ask(const struct setup *s, const char *text)
{
    int fd = dial(s);

    CU_ASSERT_EQUAL(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    return fd;
}

/* What comes into s->reply until `end` is in it, the connection ends, or two seconds passed. */
static bool receive(struct setup *s, int fd, const char *end)
{
    size_t used = 0;

    s->reply[0] = '\0';
    for (int i = 0; i < 2000 && used + 1 < sizeof(s->reply); i++) {
        ssize_t n = recv(fd, s->reply + used, sizeof(s->reply) - 1 - used, MSG_DONTWAIT);
        if (n == 0) {
            break;
        }
        if (n > 0) {
            used += (size_t)n;
            s->reply[used] = '\0';
            if (end != NULL && strstr(s->reply, end) != NULL) {
                return true;
            }
        } else {
            run_ms(s, 1);
        }
    }
    return end == NULL;
}

static int open_stream(struct setup *s)
{
    int fd = ask(s, GET_STREAM);

    CU_ASSERT_TRUE(receive(s, fd, "\r\n\r\n"));
    WAIT_FOR(s, s->pulls > 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s->stream);
    return fd;
}

/* --- streams -----------------------------------------------------------------------------------*/

static void a_stream_sends_what_it_has_when_it_has_it(void)
{
    static struct setup s;

    setup(&s);
    int fd = open_stream(&s);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.reply, "HTTP/1.1 200"));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.reply, "Transfer-Encoding: chunked"));
    for (int i = 0; i < 3; i++) {
        s.left = 4;
        request_more(s.stream);
        CU_ASSERT_TRUE(receive(&s, fd, "ssss"));
    }
    CU_ASSERT_EQUAL(s.completes + s.breaks, 0);
    s.ends = true;
    request_more(s.stream);
    CU_ASSERT_TRUE(receive(&s, fd, "0\r\n\r\n"));
    WAIT_FOR(&s, s.releases == 1);
    CU_ASSERT_EQUAL(s.completes, 1);
    CU_ASSERT_EQUAL(s.releases, 1);
    /* the connection goes on */
    const char next[] = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
    CU_ASSERT_EQUAL(send(fd, next, sizeof(next) - 1, MSG_NOSIGNAL), (ssize_t)sizeof(next) - 1);
    CU_ASSERT_TRUE(receive(&s, fd, "hello"));
    (void)close(fd);
    teardown(&s);
}

static void a_stream_that_has_nothing_sleeps(void)
{
    static struct setup s;

    setup(&s);
    int fd = open_stream(&s);
    run_ms(&s, 50);
    CU_ASSERT_EQUAL(s.pulls, 1);
    (void)close(fd);
    teardown(&s);
    CU_ASSERT_EQUAL(s.releases, 1);
}

static void a_slow_client_holds_its_stream_back(void)
{
    static struct setup s;
    size_t before = 1;

    setup(&s);
    s.left = 64 * 1024 * 1024;
    int fd = ask(&s, GET_STREAM);
    for (int i = 0; i < 100 && before != s.sent; i++) {
        before = s.sent;
        run_ms(&s, 100);
    }
    CU_ASSERT_TRUE(s.sent > 0);
    CU_ASSERT_TRUE(s.sent < 16 * 1024 * 1024);
    for (int i = 0; i < 200 && s.sent == before; i++) {
        (void)recv(fd, s.reply, sizeof(s.reply), MSG_DONTWAIT);
        run_ms(&s, 5);
    }
    CU_ASSERT_TRUE(s.sent > before);
    (void)close(fd);
    WAIT_FOR(&s, s.releases == 1);
    CU_ASSERT_EQUAL(s.breaks, 1);
    teardown(&s);
}

static void a_client_that_takes_nothing_is_left_in_the_end(void)
{
    static struct setup s;

    setup(&s);
    s.left = 64 * 1024 * 1024;
    int fd = ask(&s, GET_STREAM);
    for (int i = 0; i < 10000 && s.releases == 0; i++) {
        run_ms(&s, 1);
    }
    CU_ASSERT_EQUAL(s.releases, 1);
    CU_ASSERT_EQUAL(s.breaks, 1);
    CU_ASSERT_EQUAL(http_metrics(s.http)->connections_timed_out.value, 1);
    (void)close(fd);
    teardown(&s);
}

static void a_stream_that_only_waits_is_never_left(void)
{
    static struct setup s;

    setup(&s);
    int fd = open_stream(&s);
    run_ms(&s, 3500); /* longer than all limits and two sweeps */
    CU_ASSERT_PTR_NOT_NULL_FATAL(s.stream);
    s.left = 4;
    request_more(s.stream);
    CU_ASSERT_TRUE(receive(&s, fd, "ssss"));
    (void)close(fd);
    teardown(&s);
}

static void the_end_of_a_client_ends_its_stream(void)
{
    static struct setup s;

    setup(&s);
    int fd = open_stream(&s);
    (void)close(fd);
    WAIT_FOR(&s, s.releases == 1);
    CU_ASSERT_EQUAL(s.releases, 1);
    CU_ASSERT_EQUAL(s.breaks, 1);
    WAIT_FOR(&s, http_metrics(s.http)->connections.value == 0);
    CU_ASSERT_EQUAL(http_metrics(s.http)->connections.value, 0);
    teardown(&s);
}

static void a_broken_off_stream_is_not_complete_for_the_client(void)
{
    static struct setup s;

    setup(&s);
    s.left = 10;
    s.aborts = true;
    int fd = ask(&s, GET_STREAM);
    CU_ASSERT_TRUE(receive(&s, fd, NULL));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.reply, "ssssssssss"));
    CU_ASSERT_PTR_NULL(strstr(s.reply, "\r\n0\r\n"));
    WAIT_FOR(&s, s.releases == 1);
    CU_ASSERT_EQUAL(s.breaks, 1);
    (void)close(fd);
    teardown(&s);
}

static void a_stream_for_http_1_0_ends_with_the_connection(void)
{
    static struct setup s;

    setup(&s);
    s.left = 20 * 1000;
    s.ends = true;
    int fd = ask(&s, "GET /stream HTTP/1.0\r\n\r\n");
    CU_ASSERT_TRUE(receive(&s, fd, NULL));
    size_t size = strlen(s.reply);
    CU_ASSERT_TRUE(size > 20 * 1000);
    CU_ASSERT_PTR_NULL(strstr(s.reply, "chunked"));
    CU_ASSERT_TRUE(size > 0 && s.reply[size - 1] == 's');
    WAIT_FOR(&s, s.releases == 1);
    CU_ASSERT_EQUAL(s.completes, 1);
    (void)close(fd);
    teardown(&s);
}

static void head_of_a_stream_has_no_body(void)
{
    static struct setup s;

    setup(&s);
    s.left = 100;
    int fd = ask(&s, "HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    CU_ASSERT_TRUE(receive(&s, fd, "\r\n\r\n"));
    WAIT_FOR(&s, s.releases == 1);
    CU_ASSERT_EQUAL(s.pulls, 0);
    CU_ASSERT_EQUAL(s.completes, 1);
    (void)close(fd);
    teardown(&s);
}

static void the_end_of_the_server_ends_its_streams(void)
{
    static struct setup s;

    setup(&s);
    int fd = open_stream(&s);
    CU_ASSERT_FALSE(http_is_idle(s.http));
    uint32_t pulls = s.pulls;
    teardown(&s);
    CU_ASSERT_EQUAL(s.releases, 1);
    CU_ASSERT_EQUAL(s.pulls, pulls);
    CU_ASSERT_EQUAL(s.completes + s.breaks, 0); /* whoever would hear it may be gone */
    (void)close(fd);
}

/* --- what became of an answer ------------------------------------------------------------------*/

static void an_answer_that_was_taken_is_complete(void)
{
    static struct setup s;

    setup(&s);
    int fd = ask(&s, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    CU_ASSERT_TRUE(receive(&s, fd, "hello"));
    WAIT_FOR(&s, s.completes == 1);
    CU_ASSERT_EQUAL(s.completes, 1);
    CU_ASSERT_EQUAL(s.breaks, 0);
    (void)close(fd);
    teardown(&s);
}

static void an_answer_to_a_client_that_died_is_not_complete(void)
{
    static struct setup s;
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    setup(&s);
    int fd = ask(&s, "GET /park HTTP/1.1\r\nHost: h\r\n\r\n");
    WAIT_FOR(&s, s.parked != NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s.parked);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    (void)close(fd);
    run_ms(&s, 20);
    request_respond_static(s.parked, 200, "text/plain", "late");
    WAIT_FOR(&s, s.breaks == 1);
    CU_ASSERT_EQUAL(s.breaks, 1);
    CU_ASSERT_EQUAL(s.completes, 0);
    teardown(&s);
}

/* Commit only what was written: half of an answer in the socket is not. */
static void an_answer_cut_off_in_the_middle_is_not_complete(void)
{
    static struct setup s;

    setup(&s);
    s.left = 64 * 1024 * 1024;
    s.ends = true;
    int fd = ask(&s, GET_STREAM);
    WAIT_FOR(&s, s.sent > 0);
    run_ms(&s, 50);
    (void)close(fd);
    WAIT_FOR(&s, s.releases == 1);
    CU_ASSERT_TRUE(s.left > 0);
    CU_ASSERT_EQUAL(s.breaks, 1);
    CU_ASSERT_EQUAL(s.completes, 0);
    teardown(&s);
}

static void who_waits_hears_that_the_client_left(void)
{
    static struct setup s;

    setup(&s);
    int fd = ask(&s, "GET /watched HTTP/1.1\r\nHost: h\r\n\r\n");
    WAIT_FOR(&s, s.parked != NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s.parked);
    CU_ASSERT_EQUAL(s.hangups, 0);
    (void)close(fd);
    WAIT_FOR(&s, s.hangups == 1);
    CU_ASSERT_EQUAL(s.hangups, 1);
    run_ms(&s, 20);
    request_respond_static(s.parked, 200, "text/plain", "late");
    WAIT_FOR(&s, s.completes + s.breaks == 1);
    CU_ASSERT_EQUAL(s.hangups, 1);
    CU_ASSERT_EQUAL(s.completes + s.breaks, 1);
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_stream_sends_what_it_has_when_it_has_it),
    HARNESS_TEST(a_stream_that_has_nothing_sleeps),
    HARNESS_TEST(a_slow_client_holds_its_stream_back),
    HARNESS_TEST(a_client_that_takes_nothing_is_left_in_the_end),
    HARNESS_TEST(a_stream_that_only_waits_is_never_left),
    HARNESS_TEST(the_end_of_a_client_ends_its_stream),
    HARNESS_TEST(a_broken_off_stream_is_not_complete_for_the_client),
    HARNESS_TEST(a_stream_for_http_1_0_ends_with_the_connection),
    HARNESS_TEST(head_of_a_stream_has_no_body),
    HARNESS_TEST(the_end_of_the_server_ends_its_streams),
    HARNESS_TEST(an_answer_that_was_taken_is_complete),
    HARNESS_TEST(an_answer_to_a_client_that_died_is_not_complete),
    HARNESS_TEST(an_answer_cut_off_in_the_middle_is_not_complete),
    HARNESS_TEST(who_waits_hears_that_the_client_left),
};

HARNESS_MAIN(tests);
