/* http: the web server in front of the handlers: with http_reply.c the only one that knows
 * libmicrohttpd.
 *
 * The library runs without threads: its epoll descriptor is watched by our loop. Connections are
 * accepted here (listener.h), so that there is a limit that answers. While a handler works the
 * connection is suspended; nothing ever blocks.
 *
 * A connection is in one of these states, each with a time limit that a sweep once a second
 * enforces by closing it (a client that sends or reads one byte at a time cannot hold it longer):
 *
 *   IDLE   between requests: idle_timeout
 *   HEAD   the request line is here: HEAD_TIMEOUT
 *   BODY   and the head: BODY_TIMEOUT and a second for each BODY_RATE_MIN bytes that came
 *   DRAIN  as BODY, but the answer is known and the body is thrown away
 *   WORK   the handler has it: its own deadlines
 *   REPLY  REPLY_TIMEOUT and a second for each REPLY_RATE_MIN bytes of the answer
 *   STREAM stream_stall for each piece (at most POOL_SIZE bytes); none while there is nothing to
 *          send
 *
 * Framing (RFC 9112 6): a request with more than one Content-Length, with one that is not digits,
 * with any Transfer-Encoding but "chunked", or with both, is answered 400 and the connection ends.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/loop.h"
#include "common/metrics.h"

#include "services/gateway/budget.h"
#include "services/gateway/request.h"

struct http;

struct http_options {
    const char *listen; /* "127.0.0.1:8080", "[::1]:8080", port 0 = any */
    uint32_t connections_max;
    uint32_t idle_timeout_ms;
    uint32_t stream_stall_ms; /* a client of a stream that takes no piece for so long is left */
};

enum { HTTP_STREAM_STALL_MS = 30 * 1000 };

struct http_metrics {
    struct ria_counter requests;
    struct ria_counter replies_2xx;
    struct ria_counter replies_3xx;
    struct ria_counter replies_4xx;
    struct ria_counter replies_5xx;
    struct ria_counter connections_accepted;
    struct ria_counter connections_refused;
    struct ria_counter connections_timed_out;
    struct ria_counter bytes_received;
    struct ria_counter bytes_sent;
    struct ria_gauge connections;
};

/* Whoever answers requests. */
struct http_service {
    /* The head of a request is here. Either sets *out_body_max, the bytes that its body may have,
     * or has answered (404 and the like). */
    void (*begin)(void *arg, struct request *request, size_t *out_body_max);
    /* And the body. Ends in request_respond(), now or later. */
    void (*handle)(void *arg, struct request *request);
    /* In begin's place: the server itself refuses the request. The answer closes the connection. */
    void (*refuse)(void *arg, struct request *request, int status, const char *text);
    void *arg;
};

/* Borrows all but options.
 * Errors: RIA_ERR_EXISTS (address in use), RIA_ERR_INVALID (no address), RIA_ERR_NOMEM,
 * RIA_ERR_IO. */
ria_err http_new(
    struct ria_loop *loop,
    const struct http_options *options,
    const struct http_service *service,
    struct budget *budget,
    struct http **out_http
) RIA_MUST_USE;

/* The port that was bound. */
uint16_t http_port(const struct http *http);

const struct http_metrics *http_metrics(const struct http *http);

/* Most connections at a time since the last call. */
int64_t http_peak_connections(struct http *http);

/* Take no more connections or requests; those under way go on. */
void http_stop(struct http *http);

/* No request is under way. */
bool http_is_idle(const struct http *http);

/* Send what has been answered, as far as that goes without waiting; end all connections. The
 * service is not called any more, so it may have been freed; requests that it has not answered are
 * gone. Accepts NULL. */
void http_free(struct http *http);
