/* http_client: the gateway's HTTP interface for the command line, over libcurl.
 *
 * One easy handle per client, kept alive between calls. There may be several gateways: when one
 * cannot be connected to, and nothing was sent therefore, the next is tried, once round. Nothing
 * else is tried again by itself. Thread: one.
 */
#pragma once

#include <jansson.h>

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"

struct http_client;

enum { HTTP_CURSOR_MAX = 7200 }; /* docs/formats/cursor.md, and a NUL */

struct http_reply {
    long status;         /* 0: no answer (see error) */
    char error[512];     /* why there was no answer */
    struct ria_buf body; /* at most 64 MiB */
    char content_type[128];
    char cursor[HTTP_CURSOR_MAX]; /* the header Riacho-Cursor, "" if there is none */
};

/* gateways: "http://host:port", or several with commas between, copied. Errors: RIA_ERR_NOMEM,
 * RIA_ERR_INVALID (none). */
ria_err http_client_new(const char *gateways, struct http_client **out_client) RIA_MUST_USE;
void http_client_free(struct http_client *client);

/* The one that is used now; how many there are; go on with the next. */
const char *http_client_gateway(const struct http_client *client);
size_t http_client_gateways(const struct http_client *client);
void http_client_next(struct http_client *client);

/* How long a call may take from now on, and what may end it sooner (NULL: nothing): stops is asked
 * about once a second, and whenever something comes. */
void http_client_limit(
    struct http_client *client, int timeout_ms, bool (*stops)(void *arg), void *arg
);

void http_reply_init(struct http_reply *reply);
void http_reply_clear(struct http_reply *reply);
void http_reply_fini(struct http_reply *reply);

/* path starts with '/'; body may be NULL; content_type and accept may be NULL. The reply is emptied
 * first. Errors: RIA_ERR_DISCONNECTED (reply->error says why), RIA_ERR_TOO_LARGE, RIA_ERR_NOMEM. An
 * HTTP error status is RIA_OK. */
ria_err http_client_call(
    struct http_client *client,
    const char *method,
    const char *path,
    const char *content_type,
    const char *accept,
    const void *body,
    size_t body_size,
    struct http_reply *reply
) RIA_MUST_USE;

/* out gets text with everything but [A-Za-z0-9._~-] percent-encoded; cut at out_size. */
void http_escape(char *out, size_t out_size, const char *text);
