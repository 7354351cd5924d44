/* router: from a method and a path to a handler.
 *
 * A pattern is segments; "{x}" matches any one non-empty segment, which is percent-decoded once,
 * after the split: an encoded slash never makes a new segment. A trailing slash is tolerated.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"

#include "services/gateway/request.h"

struct gateway;

/* Ends in request_respond(), now or later. */
typedef void (*route_fn)(struct gateway *gateway, struct request *request);

typedef enum route_body {
    ROUTE_BODY_NONE,     /* what a client sends all the same is read and thrown away: 64 KiB */
    ROUTE_BODY_DOCUMENT, /* 64 KiB */
    ROUTE_BODY_RECORDS,  /* --max-body */
} route_body;

enum { ROUTE_DOCUMENT_MAX = 64 * 1024 };

struct route {
    http_method method;
    route_body body;
    bool is_v2; /* Confluent's dialect */
    const char *pattern;
    route_fn handler;
};

typedef enum route_match {
    ROUTE_FOUND,
    ROUTE_NO_PATH,
    ROUTE_NO_METHOD, /* the path exists: request's "Allow" header was added */
    ROUTE_BAD_PATH,  /* an escape is malformed */
    ROUTE_NO_MEMORY,
} route_match;

/* Sets request->route and params on ROUTE_FOUND. routes is ended by a row without a pattern. */
route_match router_match(const struct route *routes, struct request *request);

/* Which error body the client understands. */
bool router_is_v2(const struct request *request);

/* A media type of an Accept or Content-Type header, without parameters and spaces, compared in any
 * case. */
bool media_type_is(struct ria_slice header, const char *type);

/* The client's choice among `types` (ended by NULL, best first) by Accept's q-values and wildcards;
 * NULL: none is acceptable. A missing or empty header accepts the first. */
const char *media_type_choose(struct ria_slice accept, const char *const *types);
