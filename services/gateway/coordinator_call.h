/* coordinator_call: a request to the coordinator, repeated until it is answered or late.
 *
 * Only requests that may be repeated go this way (their ids are chosen by the caller, or a second
 * one does no harm). A coordinator that cannot be reached is asked again every 100 ms, the next
 * address of the list each time.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/env.h"
#include "common/timers.h"

#include "services/gateway/outcall.h"
#include "services/shared/cluster.h"

struct coordinator_calls {
    const struct ria_env *env;
    struct cluster *cluster;
    struct outcalls outcalls;
    struct ria_list live;
};

/* response: the api's response struct, decoded, good during the call; NULL if err != RIA_OK. text:
 * why, "" if nobody said. */
typedef void (*coordinator_fn)(void *arg, ria_err err, const char *text, const void *response);

void coordinator_calls_init(
    struct coordinator_calls *calls, const struct ria_env *env, struct cluster *cluster
);

/* Forgets what is under way. */
void coordinator_calls_fini(struct coordinator_calls *calls);

/* Copies nothing: body (the api's request struct) and what it points to must live until fn runs.
 * fn runs exactly once, never from inside this call. Errors of fn: the coordinator's own, or the
 * transport's last when the time is over. Out of memory at the start is reported likewise. */
ria_err coordinator_call(
    struct coordinator_calls *calls,
    int16_t api_key,
    const void *body,
    uint32_t timeout_ms,
    coordinator_fn fn,
    void *arg
) RIA_MUST_USE;
