/* request: one HTTP request and its one answer, without a web server.
 *
 * Handlers see only this. The server (http.c) and the tests implement struct request_ops. A request
 * lives from the moment its head was read until its answer was sent; a handler may keep it as long
 * as it likes and ends it with exactly one request_respond().
 *
 * An answer is in memory as a whole, or it is streamed: the server asks for the next piece whenever
 * the socket has taken the one before, and is told (request_more) when there is one again. Nothing
 * is queued for a client but the one piece.
 *
 * Who must know what became of an answer asks with request_on_end(): "complete" is what was handed
 * to the socket to the last byte, which is not yet what the client has read.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"

typedef enum http_method {
    HTTP_GET, /* HEAD too: the server leaves the body away */
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS, /* no route has it: cors.h */
    HTTP_OTHER,
} http_method;

enum {
    REQUEST_PARAMS_MAX = 4,              /* of a route's pattern */
    REQUEST_URI_MAX = 8 * 1024,          /* bytes. Refused: 414 */
    REQUEST_HEADERS_MAX = 64,            /* Refused: 431 */
    REQUEST_HEAD_MAX = 16 * 1024,        /* bytes of their names and values. Refused: 431 */
    REQUEST_ARENA_MAX = 8 * 1024 * 1024, /* what a handler may keep of one request */
    RESPONSE_HEADERS_MAX = 12,
    RESPONSE_PIECE_MIN = 1024, /* bytes that the server takes of a stream at a time, at least */
    RESPONSE_END = -1,         /* of a pull: there is no more */
    RESPONSE_ABORT = -2,       /* of a pull: end the connection, the answer is not whole */
};

struct request;
struct route;

struct response_field {
    const char *name;
    const char *value; /* lives as long as the request (static or its arena) */
};

/* The body is borrowed from `owner` until release(owner), or static if release is NULL. */
struct response {
    int status;
    const char *content_type; /* static or the request's arena; NULL: no body */
    const uint8_t *data;
    size_t size;
    /* Not NULL: the body is streamed, data and size are not used. Writes at most `size` bytes
     * (RESPONSE_PIECE_MIN or more) to `out` and returns how many, or RESPONSE_END or
     * RESPONSE_ABORT; 0: none now, it is asked again after request_more(). That it is asked says
     * that everything it gave before was handed to the socket. Never called from inside the
     * handler's calls, nor after the request has ended. Not called at all for HEAD. */
    int64_t (*pull)(void *owner, uint8_t *out, size_t size);
    void (*release)(void *owner);
    void *owner;
    struct response_field headers[RESPONSE_HEADERS_MAX];
    uint32_t header_count;
    bool close;      /* end the connection after this answer */
    bool is_charged; /* its owner counts its bytes until release() */
};

typedef void (*request_header_fn)(void *arg, struct ria_slice name, struct ria_slice value);
typedef void (*request_end_fn)(void *arg, bool complete);
typedef void (*request_hangup_fn)(void *arg);

struct request_ops {
    /* First header of that name in any case; null if there is none. */
    struct ria_slice (*header)(const struct request *request, const char *name);
    void (*each_header)(const struct request *request, request_header_fn fn, void *arg);
    /* Takes the response's body. */
    void (*respond)(struct request *request, const struct response *response);
    /* The handler has no further use of the body. */
    void (*drop_body)(struct request *request);
    /* A stream has more to give. */
    void (*more)(struct request *request);
    /* on_hangup was set. */
    void (*watch_hangup)(struct request *request);
};

struct request {
    const struct request_ops *ops;
    http_method method;
    bool is_head;           /* method is HTTP_GET, and the answer's body is left away */
    struct ria_slice path;  /* as sent, percent-encoded, without the query */
    struct ria_slice query; /* as sent, without the question mark */
    struct ria_slice body;
    struct ria_arena arena;
    int64_t received_us; /* when the head was read */

    /* set by the router */
    const struct route *route;                   /* NULL: none matched */
    struct ria_slice params[REQUEST_PARAMS_MAX]; /* decoded, NUL-terminated, in the arena */
    uint32_t param_count;

    struct response_field extra[RESPONSE_HEADERS_MAX]; /* see request_add_header() */
    uint32_t extra_count;

    request_end_fn on_end; /* see request_on_end() */
    void *on_end_arg;
    request_hangup_fn on_hangup; /* see request_on_hangup() */
    void *on_hangup_arg;
};

static inline struct ria_slice request_header(const struct request *request, const char *name)
{
    return request->ops->header(request, name);
}

static inline void
request_each_header(const struct request *request, request_header_fn fn, void *arg)
{
    request->ops->each_header(request, fn, arg);
}

static inline void request_drop_body(struct request *request)
{
    request->body = RIA_SLICE_NULL;
    request->ops->drop_body(request);
}

/* fn runs once, when the request has ended: complete if the whole answer was handed to the socket,
 * not complete if the connection ended before. The request, its arena and what the response borrows
 * live until it returns (a stream may free the arena when it is first asked for a piece). It does
 * not run if the gateway ends first. Set before the answer. */
static inline void request_on_end(struct request *request, request_end_fn fn, void *arg)
{
    request->on_end = fn;
    request->on_end_arg = arg;
}

/* fn runs, at most once, when the client has closed its side while the handler works on the request
 * or a stream has nothing to send. The request still wants its answer, soon: it will not arrive.
 * Without this an ordinary request is worked on as if the client were there; a stream always ends.
 */
static inline void request_on_hangup(struct request *request, request_hangup_fn fn, void *arg)
{
    request->on_hangup = fn;
    request->on_hangup_arg = arg;
    request->ops->watch_hangup(request);
}

/* The answer is a stream and its pull, which returned 0, has something now. May be called at any
 * time between the answer and the end; too often does no harm. */
static inline void request_more(struct request *request)
{
    request->ops->more(request);
}

/* For who implements struct request_ops: tell the handler. */
void request_ended(struct request *request, bool complete);
void request_hung_up(struct request *request);

/* For the answer that will be sent. Both live as long as the request. At most RESPONSE_HEADERS_MAX;
 * more is our bug. */
void request_add_header(struct request *request, const char *name, const char *value);

/* The value is made from an integer. No-op if memory is short. */
void request_add_header_i64(struct request *request, const char *name, int64_t value);

/* Ends the request. Headers that were added go in front. */
void request_respond(struct request *request, struct response *response);

/* Take buf's memory as the body. content_type is static. */
void request_respond_buf(
    struct request *request, int status, const char *content_type, struct ria_buf *buf
);

/* A static body; NULL: none. */
void request_respond_static(
    struct request *request, int status, const char *content_type, const char *text
);

/* Percent-decode into the arena, NUL behind it; plus_is_space for queries. Errors:
 * RIA_ERR_MALFORMED (bad escape or a NUL byte), RIA_ERR_NOMEM. */
ria_err request_decode(
    struct request *request, struct ria_slice text, bool plus_is_space, struct ria_slice *out_text
) RIA_MUST_USE;

/* A parameter of the query, decoded. *out_value is null if it is absent. The first one counts.
 * Errors: as request_decode(). */
ria_err
request_query(struct request *request, const char *name, struct ria_slice *out_value) RIA_MUST_USE;

/* The parameter's value number `index` (from 0) of those it has; else as request_query(). */
ria_err request_query_nth(
    struct request *request, const char *name, uint32_t index, struct ria_slice *out_value
) RIA_MUST_USE;

/* The name of a parameter that is not among `names` (ended by NULL), in the arena; NULL if there is
 * none: a misspelt option must not be ignored. */
const char *request_query_unknown(struct request *request, const char *const *names);

/* A decimal integer, no sign but a leading minus, no spaces. */
bool request_parse_i64(struct ria_slice text, int64_t *out_value);
