/* rpc: what a core sees of the network: calls with deadlines, and requests to answer.
 *
 * Two implementations: net.c (nng, raw REQ/REP over TCP) and the simulator's network. Guarantees:
 * - every ria_rpc_call() ends in exactly one callback, never from inside the call itself;
 * - frames from one caller to one address arrive in the order they were called, or not at all
 *   (a lost connection loses what was under way; nothing is ever sent twice by this layer);
 * - RIA_ERR_TIMEOUT and RIA_ERR_DISCONNECTED leave the outcome unknown.
 *
 * Thread: the loop's thread only.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/msg.h"

struct ria_rpc;

/* A request that waits for its reply. Owned by the handler from the moment it gets it; a handler
 * may keep ("park") it as long as it likes. Ends in ria_rpc_reply() or ria_rpc_drop(). */
struct ria_rpc_request;

/* err == RIA_OK: reply is the reply frame, taken by the callback (it frees it). Else reply is NULL
 * and err is RIA_ERR_TIMEOUT, _DISCONNECTED, _SHUTDOWN, or, if it was never sent, _BUSY, _NOMEM,
 * _INVALID (address) or _TOO_LARGE. An error that the remote handler answered is inside the frame
 * (envelope_open_reply). */
typedef void (*ria_rpc_done_fn)(void *arg, ria_err err, struct ria_msg *reply);

/* Takes request; borrows msg for the call (slices into it stay valid until reply or drop: the
 * request keeps the frame, see ria_rpc_request_msg). */
typedef void (*ria_rpc_handler_fn)(void *arg, struct ria_rpc_request *request);

/* The connection on which a held request came is lost: nobody will hear the reply. The peer may
 * live on and call again. The request stays the handler's, to be ended as any other, also in here.
 */
typedef void (*ria_rpc_gone_fn)(void *arg);

struct ria_rpc_ops {
    void (*call
    )(struct ria_rpc *rpc,
      const char *address,
      struct ria_msg *msg,
      uint32_t timeout_ms,
      ria_rpc_done_fn done,
      void *arg);
    void (*set_handler)(struct ria_rpc *rpc, ria_rpc_handler_fn handler, void *arg);
    struct ria_msg *(*request_msg)(const struct ria_rpc_request *request);
    void (*reply)(struct ria_rpc *rpc, struct ria_rpc_request *request, struct ria_msg *msg);
    void (*drop)(struct ria_rpc *rpc, struct ria_rpc_request *request);

    /* NULL: this network never tells. */
    void (*on_gone
    )(struct ria_rpc *rpc, struct ria_rpc_request *request, ria_rpc_gone_fn fn, void *arg);
};

struct ria_rpc {
    const struct ria_rpc_ops *ops;
};

/* Takes msg. `address` ("tcp://host:port", copied) gets a connection on first use. Calls wait for
 * the connection and for an in-flight slot until their deadline. */
static inline void ria_rpc_call(
    struct ria_rpc *rpc,
    const char *address,
    struct ria_msg *msg,
    uint32_t timeout_ms,
    ria_rpc_done_fn done,
    void *arg
)
{
    rpc->ops->call(rpc, address, msg, timeout_ms, done, arg);
}

static inline void ria_rpc_set_handler(struct ria_rpc *rpc, ria_rpc_handler_fn handler, void *arg)
{
    rpc->ops->set_handler(rpc, handler, arg);
}

/* The request's frame, owned by the request. */
static inline struct ria_msg *
ria_rpc_request_msg(const struct ria_rpc *rpc, const struct ria_rpc_request *request)
{
    return rpc->ops->request_msg(request);
}

/* Takes both. A peer that has gone is not an error. */
static inline void
ria_rpc_reply(struct ria_rpc *rpc, struct ria_rpc_request *request, struct ria_msg *msg)
{
    rpc->ops->reply(rpc, request, msg);
}

/* End a request without an answer (shutdown, or a frame that is no request at all). */
static inline void ria_rpc_drop(struct ria_rpc *rpc, struct ria_rpc_request *request)
{
    rpc->ops->drop(rpc, request);
}

/* Ask to be told, at most once, if the connection of a request that is held breaks; not any more
 * once the request has ended. A machine that loses its power or its network breaks nothing for a
 * while: that fn is not called says nothing. Call it where the request is handed over. */
static inline void
ria_rpc_on_gone(struct ria_rpc *rpc, struct ria_rpc_request *request, ria_rpc_gone_fn fn, void *arg)
{
    if (rpc->ops->on_gone != NULL) {
        rpc->ops->on_gone(rpc, request, fn, arg);
    }
}
