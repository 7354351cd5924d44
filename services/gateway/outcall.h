/* outcall: a call to another process that may be forgotten.
 *
 * rpc.h promises that every call ends in its callback, which may be long after whoever made it has
 * gone. An outcall stands in between: cancelled, its answer is thrown away.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/list.h"
#include "common/rpc.h"

struct outcall;

/* All calls of one owner. */
struct outcalls {
    struct ria_rpc *rpc;
    struct ria_list live;
};

/* Takes reply (NULL if err != RIA_OK). Never called from inside outcall_start(). */
typedef void (*outcall_fn)(void *arg, ria_err err, struct ria_msg *reply);

void outcalls_init(struct outcalls *calls, struct ria_rpc *rpc);

/* Cancels what is under way. */
void outcalls_fini(struct outcalls *calls);

/* Takes msg. NULL: no memory (msg is freed, fn is not called). The pointer is good until fn runs.
 */
struct outcall *outcall_start(
    struct outcalls *calls,
    const char *address,
    struct ria_msg *msg,
    uint32_t timeout_ms,
    outcall_fn fn,
    void *arg
);

/* fn will not be called. Accepts NULL. */
void outcall_cancel(struct outcall *call);
