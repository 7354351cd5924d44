/* fake_rpc: the network of a core in a unit test: it sees the calls the core makes and answers
 * them, and it sends the core requests and holds what comes back.
 *
 * Calls do not time out by themselves, nothing is lost or reordered. A request that is answered
 * twice, or never, is an assertion. Thread: the test's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/rpc.h"
#include "common/slice.h"

/* A call the core made. */
struct fake_rpc_call {
    struct ria_list link;
    char address[RIA_ADDRESS_MAX + 1];
    struct ria_msg *msg;
    uint32_t timeout_ms;
    ria_rpc_done_fn done;
    void *arg;
};

/* A request the test sent. */
struct ria_rpc_request {
    struct ria_list link;
    struct ria_msg *msg;   /* NULL: the core is done with it */
    struct ria_msg *reply; /* NULL: none yet, or dropped */
    bool done;             /* replied to, or dropped */
};

struct fake_rpc {
    struct ria_rpc rpc;
    ria_rpc_handler_fn handler;
    void *arg;
    struct ria_list calls;    /* unanswered, oldest first */
    struct ria_list requests; /* sent, until fake_rpc_forget() */
};

void fake_rpc_init(struct fake_rpc *fake);

/* Ends every call with RIA_ERR_SHUTDOWN. Requests must have ended. */
void fake_rpc_fini(struct fake_rpc *fake);

/* Takes msg. The result is the test's to look at until fake_rpc_forget(). */
struct ria_rpc_request *fake_rpc_send(struct fake_rpc *fake, struct ria_msg *msg);
void fake_rpc_forget(struct ria_rpc_request *request);

/* Oldest unanswered call of this api, NULL if there is none. */
struct fake_rpc_call *fake_rpc_find(struct fake_rpc *fake, int16_t api_key);
size_t fake_rpc_count(const struct fake_rpc *fake, int16_t api_key);

/* The request in a call: decoded into out, arrays from arena. */
void fake_rpc_decode(const struct fake_rpc_call *call, struct ria_arena *arena, void *out);

/* All take the call. */
void fake_rpc_answer(struct fake_rpc_call *call, const void *response);
void fake_rpc_answer_with(
    struct fake_rpc_call *call, const void *response, struct ria_slice payload
);
void fake_rpc_answer_msg(struct fake_rpc_call *call, struct ria_msg *reply); /* takes reply */
void fake_rpc_refuse(struct fake_rpc_call *call, ria_err err);
void fake_rpc_fail(struct fake_rpc_call *call, ria_err err);
