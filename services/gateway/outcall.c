#include "services/gateway/outcall.h"

#include <stdlib.h>

struct outcall {
    struct ria_list link; /* in outcalls.live, or alone once cancelled */
    outcall_fn fn;        /* NULL: cancelled */
    void *arg;
};

void outcalls_init(struct outcalls *calls, struct ria_rpc *rpc)
{
    calls->rpc = rpc;
    ria_list_init(&calls->live);
}

void outcalls_fini(struct outcalls *calls)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(&calls->live)) != NULL) {
        RIA_CONTAINER(link, struct outcall, link)->fn = NULL;
    }
}

static void call_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct outcall *call = arg;
    outcall_fn fn = call->fn;
    void *fn_arg = call->arg;

    ria_list_remove(&call->link);
    free(call);
    if (fn == NULL) {
        ria_msg_free(reply);
        return;
    }
    fn(fn_arg, err, reply);
}

struct outcall *outcall_start(
    struct outcalls *calls,
    const char *address,
    struct ria_msg *msg,
    uint32_t timeout_ms,
    outcall_fn fn,
    void *arg
)
{
    struct outcall *call = malloc(sizeof(*call));

    if (call == NULL || msg == NULL) {
        free(call);
        ria_msg_free(msg);
        return NULL;
    }
    call->fn = fn;
    call->arg = arg;
    ria_list_push_back(&calls->live, &call->link);
    ria_rpc_call(calls->rpc, address, msg, timeout_ms, call_done, call);
    return call;
}

void outcall_cancel(struct outcall *call)
{
    if (call == NULL) {
        return;
    }
    ria_list_remove(&call->link);
    call->fn = NULL;
}
