/* failure: what went wrong with a request, and how each of the two HTTP dialects says it.
 *
 *   /v1 {"error":{"code":"unknown_topic","message":"...","field":"...","outcome":"not_stored"}} the
 * rest {"error_code":40401,"message":"..."}        (Confluent REST Proxy v2)
 *
 * The table in failure.c gives every ria_err its HTTP status, its word and its v2 number;
 * docs/http.md lists them.
 *
 * Thread: any; pure.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"

#include "services/gateway/cursor.h"
#include "services/gateway/request.h"

enum { FAILURE_MESSAGE_MAX = 512 };

typedef enum failure_outcome {
    OUTCOME_NONE,       /* nothing was to be stored */
    OUTCOME_NOT_STORED, /* certainly not: repeat it safely */
    OUTCOME_UNKNOWN,    /* stored or not: a repeat may store it twice */
} failure_outcome;

struct failure {
    int status;
    const char *code; /* static word of /v1 */
    int v2_code;
    const char *field; /* what is wrong: a member, parameter or header. Static, or NULL */
    failure_outcome outcome;
    int retry_after_s; /* 0 = no Retry-After */
    char message[FAILURE_MESSAGE_MAX];
};

/* v2_code 0: the same as status. */
void failure_set(
    struct failure *failure, int status, const char *code, const char *field, const char *fmt, ...
) RIA_PRINTF(5, 6);

/* Status, code and the rest of an error that came back from behind the gateway. text (may be "" or
 * NULL) is what the other side said. */
void failure_of_err(struct failure *failure, ria_err err, const char *text);

/* The same for a write: adds the outcome, and whether the record may be stored to the message. */
void failure_of_write(struct failure *failure, ria_err err, const char *text);

/* A cursor that cannot be taken, in the parameter or header `field`: 400 with a code of its own for
 * each verdict but CURSOR_FINE. */
void failure_of_cursor(struct failure *failure, cursor_verdict verdict, const char *field);

/* Too many bytes in flight: 429. */
void failure_overloaded(struct failure *failure);

/* The error body in the dialect. */
ria_err failure_render(const struct failure *failure, bool is_v2, struct ria_buf *out) RIA_MUST_USE;

/* The members of /v1's error object, without the braces, for errors inside a larger body. */
ria_err failure_render_members(const struct failure *failure, struct ria_buf *out) RIA_MUST_USE;

/* Ends the request. The dialect is the route's, or that of the path if no route matched. */
void request_fail(struct request *request, const struct failure *failure);

/* failure_of_err() + request_fail(). */
void request_fail_err(struct request *request, ria_err err, const char *text);
