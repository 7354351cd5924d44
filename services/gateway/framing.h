/* framing: is it clear where a request ends? RFC 9112 6.3 lets two parsers disagree about some
 * requests; those are refused, so that nobody can smuggle a second request through a proxy.
 *
 * Pure. Thread: any.
 */
#pragma once

#include "common/base.h"

#include "services/gateway/request.h"

struct framing {
    uint32_t headers;
    size_t size; /* of names and values */
    uint32_t lengths;
    uint32_t encodings;
    bool bad;
    bool expects_continue;
    uint64_t length; /* of the body, if there is a Content-Length */
};

/* The status to refuse the request with (400, 431) and why, 0 if nothing is wrong. */
int framing_check(const struct request *request, struct framing *out, const char **out_text);

/* HEAD is HTTP_GET. */
http_method framing_method(const char *name);
