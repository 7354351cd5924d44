/* http_internal: what http.c (connections, and requests on their way in) and http_reply.c (answers
 * on their way out) share.
 *
 * Thread: the loop's.
 */
#pragma once

#include <microhttpd.h>

#include "common/list.h"

#include "services/gateway/http.h"

typedef enum conn_state {
    CONN_IDLE,
    CONN_HEAD,
    CONN_BODY,
    CONN_DRAIN,
    CONN_WORK,
    CONN_REPLY,
    CONN_STREAM,
} conn_state;

struct conn {
    struct request request;
    struct ria_list link; /* http->conns */
    struct http *http;
    struct MHD_Connection *mhd;
    int fd;
    conn_state state;
    bool suspended;
    bool has_response; /* response is to be queued */
    bool streams;      /* it was, and is pulled */
    bool gone;         /* the client has closed its side */
    bool watched;      /* our loop watches fd for that */
    bool uri_too_long;
    int64_t since_us; /* when the state began */
    int64_t discarded_us;
    size_t received; /* body bytes */
    size_t body_max;
    struct ria_buf body;
    size_t charged;
    struct response response;
};

struct http {
    struct ria_loop *loop;
    struct http_options options;
    struct http_service service;
    struct budget *budget;
    struct http_metrics metrics;
    struct MHD_Daemon *daemon;
    int epoll_fd; /* the library's; -1 until started */
    struct listener *listener;
    struct ria_list conns;
    int64_t conns_peak;
    struct ria_loop_hook hook;
    struct ria_timer again; /* the library has work left */
    struct ria_timer sweep;
    bool resumed; /* run the library at the end of the turn */
    bool stopping;
    bool closed; /* the service is gone */
};

int64_t http_now_us(const struct http *http);

void http_conn_enter(struct conn *conn, conn_state state);

/* http_reply.c: what requests of connections can do. */
extern const struct request_ops http_request_ops;

/* Send conn->response, which there is. MHD_NO: no memory, the connection must end. */
enum MHD_Result http_reply_queue(struct conn *conn);

/* The request has ended: tell its handler, and give back what the answer borrows. */
void http_reply_end(struct conn *conn, bool complete);
