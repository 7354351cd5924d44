/* Answers on their way out (http_internal.h): as a whole, or streamed a piece at a time, and what
 * became of them. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/assert.h"

#include "services/gateway/http_internal.h"

enum {
    STREAM_UNSENT_MAX = 64 * 1024, /* bytes of a stream in the kernel that were never sent */
    STREAM_BLOCK = RESPONSE_PIECE_MIN,
    STREAM_PAGE = 4096,              /* a multiple of the system's */
    STREAM_DISCARD_US = 1000 * 1000, /* not for every record of a busy stream */
};

/* --- struct request_ops ------------------------------------------------------------------------*/

static struct conn *conn_of(struct request *request)
{
    return RIA_CONTAINER(request, struct conn, request);
}

static struct ria_slice op_header(const struct request *request, const char *name)
{
    const struct conn *conn = (const struct conn *)(const void *)request;

    return ria_slice_cstr(MHD_lookup_connection_value(conn->mhd, MHD_HEADER_KIND, name));
}
_Static_assert(offsetof(struct conn, request) == 0, "op_header casts");

struct header_walk {
    request_header_fn fn;
    void *arg;
};

static enum MHD_Result
walk_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    const struct header_walk *walk = arg;

    (void)kind;
    walk->fn(walk->arg, ria_slice_cstr(name), ria_slice_cstr(value == NULL ? "" : value));
    return MHD_YES;
}

static void op_each_header(const struct request *request, request_header_fn fn, void *arg)
{
    const struct conn *conn = (const struct conn *)(const void *)request;
    struct header_walk walk = {fn, arg};

    (void)MHD_get_connection_values(conn->mhd, MHD_HEADER_KIND, walk_header, &walk);
}

static void op_drop_body(struct request *request)
{
    struct conn *conn = conn_of(request);

    budget_give(conn->http->budget, conn->charged);
    conn->charged = 0;
    ria_buf_fini(&conn->body);
}

static void resume(struct conn *conn)
{
    conn->suspended = false;
    conn->http->resumed = true;
    conn->since_us = http_now_us(conn->http);
    MHD_resume_connection(conn->mhd);
}

static void unwatch(struct conn *conn)
{
    if (conn->watched) {
        ria_loop_unwatch(conn->http->loop, conn->fd);
        conn->watched = false;
    }
}

static void op_respond(struct request *request, const struct response *response)
{
    struct conn *conn = conn_of(request);

    RIA_ASSERT(!conn->has_response);
    conn->response = *response;
    conn->has_response = true;
    if (response->release != NULL && !response->is_charged) {
        budget_charge(conn->http->budget, response->size);
        conn->charged += response->size;
    }
    if (conn->suspended) {
        resume(conn);
    }
}

static void op_more(struct request *request)
{
    struct conn *conn = conn_of(request);

    if (conn->streams && conn->suspended) {
        resume(conn);
    }
}

/* The library does not look at a connection that is suspended: we do. A client that has closed its
 * sending side only is taken for gone as well, since that is all one sees of one that died. */
static void hung_up(void *arg, uint32_t events)
{
    struct conn *conn = arg;

    (void)events;
    unwatch(conn);
    conn->gone = true;
    request_hung_up(&conn->request);
    if (conn->streams && conn->suspended) {
        resume(conn);
    }
}

static void op_watch_hangup(struct request *request)
{
    struct conn *conn = conn_of(request);

    /* Without it the end is noticed later: when something is sent. */
    if (!conn->watched && !conn->gone && conn->fd >= 0) {
        conn->watched =
            ria_loop_watch(conn->http->loop, conn->fd, EPOLLRDHUP, hung_up, conn) == RIA_OK;
    }
}

const struct request_ops http_request_ops = {
    .header = op_header,
    .each_header = op_each_header,
    .respond = op_respond,
    .drop_body = op_drop_body,
    .more = op_more,
    .watch_hangup = op_watch_hangup,
};

/* --- answering ---------------------------------------------------------------------------------*/

static void no_release(void *owner)
{
    (void)owner;
}

static void release_response(struct conn *conn)
{
    if (conn->has_response && conn->response.release != NULL) {
        conn->response.release(conn->response.owner);
    }
    conn->has_response = false;
}

static void count_reply(struct http_metrics *metrics, const struct response *response)
{
    struct ria_counter *by_class[] = {
        &metrics->replies_2xx, &metrics->replies_3xx, &metrics->replies_4xx, &metrics->replies_5xx};
    int index = response->status / 100 - 2;

    RIA_ASSERT(index >= 0 && index < 4);
    by_class[index]->value++;
    metrics->bytes_sent.value += response->size;
}

/* A stream that sleeps needs nothing of the library's buffer, which is most of what an idle client
 * would cost. What is written there next begins on pages of zeros. */
static void discard(struct conn *conn, char *out, size_t size)
{
    int64_t now_us = http_now_us(conn->http);
    uintptr_t from = ((uintptr_t)out + STREAM_PAGE - 1) / STREAM_PAGE * STREAM_PAGE;
    uintptr_t to = ((uintptr_t)out + size) / STREAM_PAGE * STREAM_PAGE;

    if (to > from && now_us - conn->discarded_us >= STREAM_DISCARD_US) {
        conn->discarded_us = now_us;
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
    }
}

/* The socket has taken everything so far. */
static ssize_t pull(void *arg, uint64_t position, char *out, size_t size)
{
    struct conn *conn = arg;

    (void)position;
    if (conn->http->closed || conn->gone) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    int64_t given = conn->response.pull(conn->response.owner, (uint8_t *)out, size);
    if (given == RESPONSE_END) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (given == RESPONSE_ABORT) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    RIA_ASSERT(given >= 0 && (uint64_t)given <= size);
    if (given == 0) {
        discard(conn, out, size);
        MHD_suspend_connection(conn->mhd);
        conn->suspended = true;
        return 0;
    }
    conn->http->metrics.bytes_sent.value += (uint64_t)given;
    conn->since_us = http_now_us(conn->http);
    return (ssize_t)given;
}

static struct MHD_Response *build_stream(struct conn *conn)
{
    int unsent_max = STREAM_UNSENT_MAX;

    /* What a client that does not read costs us in the kernel, beside what is under way. */
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_max, sizeof(unsent_max));
    conn->streams = true;
    op_watch_hangup(&conn->request);
    /* The block is for HTTP/1.0, which knows no chunks; what is not used is not touched. */
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, pull, conn, NULL);
}

static struct MHD_Response *build_whole(const struct response *response)
{
    void (*release)(void *) = response->release == NULL ? no_release : response->release;
    const void *data = response->data == NULL ? "" : (const void *)response->data;

    /* The library only reads it; older versions do not say so. */
    return MHD_create_response_from_buffer_with_free_callback_cls(
        response->size, (void *)(uintptr_t)data, release, response->owner
    );
}

/* Takes what the response owns; of a stream, http_reply_end() releases it. */
static struct MHD_Response *build(struct conn *conn)
{
    struct response *response = &conn->response;
    struct MHD_Response *mhd = response->pull == NULL ? build_whole(response) : build_stream(conn);
    bool fine = mhd != NULL;

    if (!fine) {
        return NULL; /* http_reply_end() releases */
    }
    conn->has_response = conn->streams;
    if (response->content_type != NULL) {
        fine = MHD_add_response_header(mhd, "Content-Type", response->content_type) == MHD_YES &&
               MHD_add_response_header(mhd, "X-Content-Type-Options", "nosniff") == MHD_YES;
    }
    for (uint32_t i = 0; i < response->header_count && fine; i++) {
        fine = MHD_add_response_header(mhd, response->headers[i].name, response->headers[i].value);
    }
    if (fine && (response->close || conn->http->stopping)) {
        fine = MHD_add_response_header(mhd, "Connection", "close") == MHD_YES;
    }
    if (!fine) {
        MHD_destroy_response(mhd);
        return NULL;
    }
    return mhd;
}

enum MHD_Result http_reply_queue(struct conn *conn)
{
    unsigned status = (unsigned)conn->response.status;

    RIA_ASSERT(conn->has_response);
    count_reply(&conn->http->metrics, &conn->response);
    struct MHD_Response *response = build(conn);
    if (response == NULL) {
        return MHD_NO; /* out of memory: the connection ends */
    }
    enum MHD_Result result = MHD_queue_response(conn->mhd, status, response);
    MHD_destroy_response(response);
    http_conn_enter(conn, conn->streams ? CONN_STREAM : CONN_REPLY);
    return result;
}

void http_reply_end(struct conn *conn, bool complete)
{
    unwatch(conn);
    conn->request.on_hangup = NULL;
    if (!conn->http->closed) {
        request_ended(&conn->request, complete);
    }
    release_response(conn);
    conn->streams = false;
}
