#include "services/gateway/http.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/assert.h"

#include "services/gateway/framing.h"
#include "services/gateway/http_internal.h"
#include "services/gateway/listener.h"

enum {
    /* Of the library, per connection: head, a piece of the body, head of the answer. Most of what
     * an idle connection costs. */
    POOL_SIZE = 24 * 1024,
    SPARE_CONNECTIONS = 16,  /* more than our own limit, so that the library's never speaks */
    BODY_FIRST = 256 * 1024, /* reserved at once for a body of known size; the rest as it comes */
    DRAIN_MAX = 64 * 1024 * 1024, /* of a body nobody wants: more ends the connection */
    SWEEP_US = 1000 * 1000,
    HEAD_TIMEOUT_MS = 10 * 1000,
    BODY_TIMEOUT_MS = 30 * 1000,
    BODY_RATE_MIN = 16 * 1024, /* bytes a second */
    REPLY_TIMEOUT_MS = 30 * 1000,
    REPLY_RATE_MIN = 64 * 1024,
    RUNS_AT_END = 8,
};

/* Refuse what RFC 9112 allows to refuse. */
#if MHD_VERSION >= 0x00097700
#    define STRICT_OPTION MHD_OPTION_CLIENT_DISCIPLINE_LVL
#else
#    define STRICT_OPTION MHD_OPTION_STRICT_FOR_CLIENT
#endif

static const char answer_408[] = "HTTP/1.1 408 Request Timeout\r\n"
                                 "Connection: close\r\nContent-Length: 0\r\n\r\n";

int64_t http_now_us(const struct http *http)
{
    return ria_clock_mono_us(ria_loop_clock(http->loop));
}

void http_conn_enter(struct conn *conn, conn_state state)
{
    conn->state = state;
    conn->since_us = http_now_us(conn->http);
}

/* The server's own answer, before or instead of the handler's. */
static void refuse(struct conn *conn, int status, const char *text)
{
    conn->http->service.refuse(conn->http->service.arg, &conn->request, status, text);
    RIA_ASSERT(conn->has_response);
    conn->response.close = true;
}

/* --- the steps of a request --------------------------------------------------------------------*/

/* Early answers: to a client that waits for "100 Continue" at once; otherwise the body, within
 * reason, is read first, because closing with unread bytes resets the connection and with it the
 * answer. */
static enum MHD_Result answer_early(struct conn *conn, const struct framing *framing)
{
    if (framing->bad || framing->expects_continue || framing->length > DRAIN_MAX) {
        conn->response.close = true;
        return http_reply_queue(conn);
    }
    http_conn_enter(conn, CONN_DRAIN);
    return MHD_YES;
}

static enum MHD_Result begin(struct conn *conn, const char *method)
{
    struct http *http = conn->http;
    struct framing framing;
    const char *text = "";

    http->metrics.requests.value++;
    conn->request.method = framing_method(method);
    conn->request.is_head = strcmp(method, "HEAD") == 0;
    int status = conn->uri_too_long ? 414 : framing_check(&conn->request, &framing, &text);
    if (conn->uri_too_long) {
        framing = (struct framing){.bad = true};
        text = "the request's path and query are longer than 8 KiB";
    }
    if (status != 0) {
        refuse(conn, status, text);
    } else if (http->stopping) {
        refuse(conn, 503, "the gateway is shutting down");
    } else {
        http->service.begin(http->service.arg, &conn->request, &conn->body_max);
    }
    if (!conn->has_response && framing.length > conn->body_max) {
        refuse(conn, 413, "the body is larger than this path takes");
    }
    if (conn->has_response) {
        return answer_early(conn, &framing);
    }
    http_conn_enter(conn, CONN_BODY);
    ria_buf_init(&conn->body, conn->body_max + 1);
    size_t first = ria_min_size((size_t)framing.length, BODY_FIRST);
    if (first > 0 && ria_buf_reserve(&conn->body, first) != RIA_OK) {
        refuse(conn, 503, "out of memory");
        return answer_early(conn, &framing);
    }
    return MHD_YES;
}

static void take_body(struct conn *conn, const char *data, size_t size)
{
    struct http *http = conn->http;

    http->metrics.bytes_received.value += size;
    conn->received += size;
    if (conn->state == CONN_DRAIN) {
        return;
    }
    if (conn->body.size + size > conn->body_max) {
        refuse(conn, 413, "the body is larger than this path takes");
    } else if (!budget_take(http->budget, size)) {
        refuse(conn, 429, "");
    } else {
        conn->charged += size;
        if (ria_buf_append(&conn->body, data, size) != RIA_OK) {
            refuse(conn, 503, "out of memory");
        }
    }
    if (conn->has_response) {
        conn->state = CONN_DRAIN;
    }
}

static enum MHD_Result dispatch(struct conn *conn)
{
    struct http *http = conn->http;

    http_conn_enter(conn, CONN_WORK);
    conn->request.body = ria_buf_slice(&conn->body);
    http->service.handle(http->service.arg, &conn->request);
    if (conn->has_response) {
        return http_reply_queue(conn);
    }
    MHD_suspend_connection(conn->mhd);
    conn->suspended = true;
    return MHD_YES;
}

static struct conn *conn_of_mhd(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info == NULL ? NULL : info->socket_context;
}

static enum MHD_Result on_request(
    void *arg,
    struct MHD_Connection *mhd,
    const char *url,
    const char *method,
    const char *version,
    const char *data,
    size_t *data_size,
    void **request_context
)
{
    struct conn *conn = conn_of_mhd(mhd);

    (void)arg;
    (void)url;
    (void)version;
    (void)request_context;
    if (conn == NULL || (conn->http->closed && !conn->has_response)) {
        return MHD_NO;
    }
    switch (conn->state) {
    case CONN_IDLE:
    case CONN_HEAD:
        return begin(conn, method);
    case CONN_BODY:
    case CONN_DRAIN:
        if (*data_size > 0) {
            take_body(conn, data, *data_size);
            *data_size = 0;
            return conn->received <= DRAIN_MAX ? MHD_YES : MHD_NO;
        }
        return conn->state == CONN_BODY ? dispatch(conn) : http_reply_queue(conn);
    case CONN_WORK:
        return http_reply_queue(conn);
    case CONN_REPLY:
    case CONN_STREAM:
        return MHD_YES;
    }
    return MHD_NO;
}

/* The request line is complete. */
static void *on_uri(void *arg, const char *uri, struct MHD_Connection *mhd)
{
    struct conn *conn = conn_of_mhd(mhd);
    struct request *request;

    (void)arg;
    if (conn == NULL) {
        return NULL;
    }
    request = &conn->request;
    http_conn_enter(conn, CONN_HEAD);
    request->received_us = conn->since_us;
    size_t size = strlen(uri);
    conn->uri_too_long = size > REQUEST_URI_MAX;
    const char *copy =
        ria_arena_strdup(&request->arena, ria_slice_of(uri, conn->uri_too_long ? 0 : size));
    struct ria_slice text = ria_slice_cstr(copy == NULL ? "/" : copy);
    const uint8_t *mark = text.size == 0 ? NULL : memchr(text.data, '?', text.size);
    size_t path_size = mark == NULL ? text.size : (size_t)(mark - text.data);
    request->path = ria_slice_sub(text, 0, path_size);
    request->query = ria_slice_sub(text, path_size + 1, text.size);
    return conn;
}

static void request_reset(struct conn *conn, bool complete)
{
    http_reply_end(conn, complete);
    /* Nothing is kept between two requests: there may be thousands of idle connections. */
    ria_arena_fini(&conn->request.arena);
    conn->request = (struct request){.ops = &http_request_ops};
    ria_arena_init(&conn->request.arena, REQUEST_ARENA_MAX);
    ria_buf_fini(&conn->body);
    budget_give(conn->http->budget, conn->charged);
    conn->charged = 0;
    conn->received = 0;
    conn->body_max = 0;
}

static void on_completed(
    void *arg,
    struct MHD_Connection *mhd,
    void **request_context,
    enum MHD_RequestTerminationCode why
)
{
    struct conn *conn = conn_of_mhd(mhd);

    (void)arg;
    (void)request_context;
    if (conn == NULL) {
        return;
    }
    RIA_ASSERT(!conn->suspended);
    request_reset(conn, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    http_conn_enter(conn, CONN_IDLE);
}

/* --- connections -------------------------------------------------------------------------------*/

static void conn_open(struct http *http, struct MHD_Connection *mhd, void **context)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

    *context = conn;
    if (conn == NULL) {
        return; /* on_request() ends it */
    }
    conn->http = http;
    conn->mhd = mhd;
    conn->fd = info == NULL ? -1 : info->connect_fd;
    conn->request.ops = &http_request_ops;
    ria_arena_init(&conn->request.arena, REQUEST_ARENA_MAX);
    ria_buf_init(&conn->body, 1);
    ria_list_push_back(&http->conns, &conn->link);
    http->metrics.connections.value++;
    http->conns_peak = ria_max_i64(http->conns_peak, http->metrics.connections.value);
    http_conn_enter(conn, CONN_IDLE);
}

static void on_connection(
    void *arg, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what
)
{
    struct http *http = arg;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        conn_open(http, mhd, context);
        return;
    }
    struct conn *conn = *context;
    if (conn == NULL) {
        return;
    }
    *context = NULL;
    request_reset(conn, false);
    ria_arena_fini(&conn->request.arena);
    ria_list_remove(&conn->link);
    http->metrics.connections.value--;
    free(conn);
}

/* Microseconds the connection may stay in its state; INT64_MAX: as long as the handler wants. */
static int64_t time_limit_us(const struct conn *conn)
{
    int64_t transfer_ms = 0;

    switch (conn->state) {
    case CONN_IDLE:
        return (int64_t)conn->http->options.idle_timeout_ms * 1000;
    case CONN_HEAD:
        return HEAD_TIMEOUT_MS * INT64_C(1000);
    case CONN_BODY:
    case CONN_DRAIN:
        transfer_ms = (int64_t)conn->received * 1000 / BODY_RATE_MIN;
        return (BODY_TIMEOUT_MS + transfer_ms) * 1000;
    case CONN_WORK:
        return INT64_MAX;
    case CONN_REPLY:
        transfer_ms = (int64_t)conn->response.size * 1000 / REPLY_RATE_MIN;
        return (REPLY_TIMEOUT_MS + transfer_ms) * 1000;
    case CONN_STREAM:
        return conn->suspended ? INT64_MAX : conn->http->options.stream_stall_ms * INT64_C(1000);
    }
    return INT64_MAX;
}

/* The library notices the end of the socket and closes the connection in its own time. */
static void end_conn(struct conn *conn)
{
    if (conn->state == CONN_HEAD || conn->state == CONN_BODY) {
        (void)send(conn->fd, answer_408, sizeof(answer_408) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    (void)shutdown(conn->fd, SHUT_RDWR);
}

static void sweep_due(struct ria_timer *timer, void *arg)
{
    struct http *http = arg;
    int64_t now = http_now_us(http);

    RIA_LIST_FOREACH (link, &http->conns) {
        struct conn *conn = RIA_CONTAINER(link, struct conn, link);
        if (now - conn->since_us > time_limit_us(conn)) {
            http->metrics.connections_timed_out.value++;
            end_conn(conn);
        }
    }
    ria_timer_start(ria_loop_timers(http->loop), timer, SWEEP_US);
}

/* --- the library in our loop -------------------------------------------------------------------*/

static void run(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 1;

    (void)MHD_run(http->daemon);
    if (MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES && wait_ms == 0) {
        ria_timer_start(ria_loop_timers(http->loop), &http->again, 0);
    }
}

static void again_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    run(arg);
}

static void readable(void *arg, uint32_t events)
{
    (void)events;
    run(arg);
}

static void turn_ends(void *arg)
{
    struct http *http = arg;

    if (http->resumed) {
        http->resumed = false;
        run(http);
    }
}

static bool may_accept(void *arg)
{
    const struct http *http = arg;

    return http->metrics.connections.value < (int64_t)http->options.connections_max;
}

static void accepted(void *arg, int fd, const struct sockaddr *address, socklen_t address_size)
{
    struct http *http = arg;

    /* The library closes fd if it fails. */
    if (MHD_add_connection(http->daemon, fd, address, address_size) == MHD_YES) {
        http->metrics.connections_accepted.value++;
        http->resumed = true;
    }
}

static void refused(void *arg)
{
    struct http *http = arg;

    http->metrics.connections_refused.value++;
}

static ria_err start_daemon(struct http *http)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET;

    http->daemon = MHD_start_daemon(
        flags,
        0,
        NULL,
        NULL,
        on_request,
        http,
        MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(http->options.connections_max + SPARE_CONNECTIONS),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)POOL_SIZE,
        MHD_OPTION_CONNECTION_TIMEOUT,
        0U,
        STRICT_OPTION,
        1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP,
        1,
        MHD_OPTION_NOTIFY_CONNECTION,
        on_connection,
        http,
        MHD_OPTION_NOTIFY_COMPLETED,
        on_completed,
        http,
        MHD_OPTION_URI_LOG_CALLBACK,
        on_uri,
        http,
        MHD_OPTION_END
    );
    if (http->daemon == NULL) {
        return RIA_ERR_NOMEM;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL) {
        return RIA_ERR_UNSUPPORTED;
    }
    RIA_TRY(ria_loop_watch(http->loop, info->epoll_fd, EPOLLIN, readable, http));
    http->epoll_fd = info->epoll_fd;
    return RIA_OK;
}

ria_err http_new(
    struct ria_loop *loop,
    const struct http_options *options,
    const struct http_service *service,
    struct budget *budget,
    struct http **out_http
)
{
    struct http *http = calloc(1, sizeof(*http));
    const struct listener_callbacks callbacks = {may_accept, accepted, refused, http};

    if (http == NULL) {
        return RIA_ERR_NOMEM;
    }
    http->loop = loop;
    http->options = *options;
    http->service = *service;
    http->budget = budget;
    http->epoll_fd = -1;
    ria_list_init(&http->conns);
    ria_list_init(&http->hook.link);
    http->hook.fn = turn_ends;
    http->hook.arg = http;
    ria_timer_init(&http->again, again_due, http);
    ria_timer_init(&http->sweep, sweep_due, http);
    ria_err err = start_daemon(http);
    if (err == RIA_OK) {
        err = listener_new(loop, options->listen, &callbacks, &http->listener);
    }
    if (err != RIA_OK) {
        http_free(http);
        return err;
    }
    ria_loop_add_hook(loop, &http->hook);
    ria_timer_start(ria_loop_timers(loop), &http->sweep, SWEEP_US);
    *out_http = http;
    return RIA_OK;
}

uint16_t http_port(const struct http *http)
{
    return listener_port(http->listener);
}

const struct http_metrics *http_metrics(const struct http *http)
{
    return &http->metrics;
}

int64_t http_peak_connections(struct http *http)
{
    int64_t peak = http->conns_peak;

    http->conns_peak = http->metrics.connections.value;
    return peak;
}

void http_stop(struct http *http)
{
    http->stopping = true;
    listener_free(RIA_STEAL(&http->listener));
    RIA_LIST_FOREACH (link, &http->conns) {
        struct conn *conn = RIA_CONTAINER(link, struct conn, link);
        if (conn->state == CONN_IDLE) {
            (void)shutdown(conn->fd, SHUT_RDWR);
        }
    }
}

bool http_is_idle(const struct http *http)
{
    RIA_LIST_FOREACH (link, &http->conns) {
        if (RIA_CONTAINER(link, struct conn, link)->state != CONN_IDLE) {
            return false;
        }
    }
    return true;
}

static void stop_daemon(struct http *http)
{
    RIA_LIST_FOREACH (link, &http->conns) {
        struct conn *conn = RIA_CONTAINER(link, struct conn, link);
        if (conn->suspended) {
            conn->suspended = false;
            MHD_resume_connection(conn->mhd);
        }
    }
    for (int i = 0; i < RUNS_AT_END; i++) {
        (void)MHD_run(http->daemon);
    }
    if (http->epoll_fd >= 0) {
        ria_loop_unwatch(http->loop, http->epoll_fd);
    }
    MHD_stop_daemon(http->daemon);
}

void http_free(struct http *http)
{
    if (http == NULL) {
        return;
    }
    ria_loop_remove_hook(&http->hook);
    ria_timer_stop(ria_loop_timers(http->loop), &http->sweep);
    http->stopping = true;
    http->closed = true;
    listener_free(http->listener);
    if (http->daemon != NULL) {
        stop_daemon(http);
    }
    ria_timer_stop(ria_loop_timers(http->loop), &http->again);
    free(http);
}
