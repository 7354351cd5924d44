#include "services/storage/range_call.h"

#include <stdlib.h>

#include "services/storage/storage.h"

struct range_call {
    struct storage *storage;
    range_call_fn done; /* NULL: it was forgotten, and the storage may be gone */
    void *arg;
};

static void on_answer(void *arg, ria_err err, struct ria_msg *reply)
{
    struct range_call call = *(struct range_call *)arg;
    struct range_fetch_response response;
    struct ria_slice batches = RIA_SLICE_EMPTY;

    free(arg);
    if (call.done == NULL) {
        ria_msg_free(reply);
        return;
    }
    range_fetch_response_init(&response);
    if (err == RIA_OK) {
        struct ria_arena *arena = &call.storage->arena;
        ria_arena_reset(arena);
        err = envelope_read_reply(reply, API_RANGE_FETCH, arena, &response, &batches, NULL, 0);
    }
    call.done(call.arg, err, &response, batches);
    ria_msg_free(reply);
}

struct range_call *range_call_start(
    struct storage *s,
    const struct cluster_node *node,
    struct range_fetch_request *request,
    range_call_fn done,
    void *arg
)
{
    struct range_call *call = malloc(sizeof(*call));

    request->max_bytes = RANGE_CALL_SIZE;
    struct ria_msg *msg = envelope_request(
        API_RANGE_FETCH,
        RANGE_FETCH_REQUEST_VERSION_MAX,
        s->identity.node_id,
        RANGE_CALL_MS,
        request,
        0,
        NULL
    );
    if (call == NULL || msg == NULL) {
        free(call);
        ria_msg_free(msg);
        return NULL;
    }
    *call = (struct range_call){.storage = s, .done = done, .arg = arg};
    ria_rpc_call(s->env->rpc, node->address, msg, RANGE_CALL_MS, on_answer, call);
    return call;
}

void range_call_forget(struct range_call *call)
{
    if (call != NULL) {
        call->done = NULL;
    }
}

ria_err range_call_epochs(
    struct storage *s,
    const struct range_fetch_response *response,
    struct leader_epoch_entry **out_epochs
)
{
    uint32_t count = response->epochs_count;
    struct leader_epoch_entry *epochs = ria_arena_alloc_array(&s->arena, count, sizeof(*epochs));

    if (epochs == NULL) {
        return ria_arena_err(&s->arena);
    }
    for (uint32_t i = 0; i < count; i++) {
        epochs[i] = (struct leader_epoch_entry
        ){.epoch = response->epochs[i].epoch, .start_offset = response->epochs[i].start_offset};
    }
    *out_epochs = epochs;
    return RIA_OK;
}
