/* call: requests to other services whose answers may outlive whoever asked.
 *
 * rpc.h promises that every call ends in its callback, which may be long after a task was dropped.
 * A group stands in between: when it ends, the answers still to come are thrown away.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/env.h"
#include "common/err.h"
#include "common/list.h"
#include "common/slice.h"

/* All calls of one owner. */
struct call_group {
    const struct ria_env *env;
    struct ria_list calls;
};

struct call_reply {
    ria_err err;      /* RIA_OK, what the other side answered, or what the transport says */
    const char *text; /* why, "" if nobody said */
    int16_t api_key;
    int16_t version;
    struct ria_slice body; /* on RIA_OK, into frame */
    struct ria_slice payload;
    struct ria_msg *frame; /* may be taken (RIA_STEAL); is freed after the call otherwise */
};

/* Never called from inside call_start(). May end the group. */
typedef void (*call_fn)(void *arg, struct call_reply *reply);

void call_group_init(struct call_group *group, const struct ria_env *env);

/* No callback of this group runs any more. */
void call_group_fini(struct call_group *group);

bool call_group_is_idle(const struct call_group *group);

/* Send the api's request struct `body`, with a payload (copied) behind it.
 * Errors: RIA_ERR_NOMEM, and then fn is not called. */
ria_err call_start(
    struct call_group *group,
    const char *address,
    int16_t api_key,
    const void *body,
    struct ria_slice payload,
    uint32_t timeout_ms,
    call_fn fn,
    void *arg
) RIA_MUST_USE;

/* The api's response struct. Errors: those of its decoder. */
ria_err
call_decode(const struct call_reply *reply, struct ria_arena *arena, void *out) RIA_MUST_USE;

/* The same for a response without arrays. */
ria_err call_decode_plain(const struct call_reply *reply, void *out) RIA_MUST_USE;
