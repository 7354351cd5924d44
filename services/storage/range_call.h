/* range_call: one RangeFetch to a peer, which may be forgotten before it is answered.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

#include "schemas/gen/range_fetch_request.h"
#include "schemas/gen/range_fetch_response.h"

struct cluster_node;
struct leader_epoch_entry;
struct range_call;
struct storage;

enum {
    RANGE_CALL_SIZE = 1024 * 1024, /* of batches, at most */
    RANGE_CALL_MS = 5000,          /* deadline */
};

/* With RIA_OK the response, in the service's arena, and the payload, for the call. */
typedef void (*range_call_fn
)(void *arg, ria_err err, const struct range_fetch_response *response, struct ria_slice batches);

/* Sets the request's max_bytes. done runs once, never from inside, unless the call is forgotten.
 * NULL: no memory. */
struct range_call *range_call_start(
    struct storage *s,
    const struct cluster_node *node,
    struct range_fetch_request *request,
    range_call_fn done,
    void *arg
);

/* done will not run. Accepts NULL. */
void range_call_forget(struct range_call *call);

/* The peer's history, in the service's arena. Errors: those of the arena. */
ria_err range_call_epochs(
    struct storage *s,
    const struct range_fetch_response *response,
    struct leader_epoch_entry **out_epochs
) RIA_MUST_USE;
