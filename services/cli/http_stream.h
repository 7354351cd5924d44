/* http_stream: an answer that goes on (docs/http.md, "Live streams"), over libcurl.
 *
 * Nothing is tried again by itself: what to do when a stream ends is the caller's. Thread: one.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

#include "services/cli/http_client.h"

struct http_stream;

/* What came of the answer's body; borrows. False ends the stream (HTTP_STREAM_BROKEN). */
typedef bool (*http_stream_fn)(void *arg, struct ria_slice bytes);

typedef enum http_stream_state {
    HTTP_STREAM_GOES_ON,
    HTTP_STREAM_ENDED, /* as a whole; reply->status says how, and its body why if that is not 200 */
    HTTP_STREAM_BROKEN, /* reply->error says why */
} http_stream_state;

/* GET from the client's current gateway. path starts with '/'; last_id is the header Last-Event-ID,
 * "" for none. reply is the caller's until http_stream_close(). Errors: RIA_ERR_NOMEM,
 * RIA_ERR_TOO_LARGE (the path). */
ria_err http_stream_open(
    struct http_client *client,
    const char *path,
    const char *last_id,
    http_stream_fn fn,
    void *arg,
    struct http_reply *reply,
    struct http_stream **out_stream
) RIA_MUST_USE;

/* Takes what has come; waits for it, or for fd (-1: none) to be readable, up to timeout_ms. */
http_stream_state http_stream_step(struct http_stream *stream, int fd, int timeout_ms);

void http_stream_close(struct http_stream *stream);
