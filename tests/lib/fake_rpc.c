#include "tests/lib/fake_rpc.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/envelope.h"

/* ---- the core calls ---- */

static void call(
    struct ria_rpc *rpc,
    const char *address,
    struct ria_msg *msg,
    uint32_t timeout_ms,
    ria_rpc_done_fn done,
    void *arg
)
{
    struct fake_rpc *fake = RIA_CONTAINER(rpc, struct fake_rpc, rpc);
    struct fake_rpc_call *made = calloc(1, sizeof(*made));

    RIA_ASSERT(made != NULL);
    RIA_ASSERT(strlen(address) <= RIA_ADDRESS_MAX);
    memcpy(made->address, address, strlen(address) + 1);
    made->msg = msg;
    made->timeout_ms = timeout_ms;
    made->done = done;
    made->arg = arg;
    ria_list_push_back(&fake->calls, &made->link);
}

static struct request_header open_call(const struct fake_rpc_call *made, struct ria_slice *out_body)
{
    struct request_header header;
    struct ria_slice payload;

    ria_err err = envelope_open_request(made->msg, &header, out_body, &payload);
    RIA_ASSERT(err == RIA_OK);
    return header;
}

struct fake_rpc_call *fake_rpc_find(struct fake_rpc *fake, int16_t api_key)
{
    RIA_LIST_FOREACH (node, &fake->calls) {
        struct fake_rpc_call *made = RIA_CONTAINER(node, struct fake_rpc_call, link);
        struct ria_slice body;
        if (open_call(made, &body).api_key == api_key) {
            return made;
        }
    }
    return NULL;
}

size_t fake_rpc_count(const struct fake_rpc *fake, int16_t api_key)
{
    size_t count = 0;

    for (const struct ria_list *it = fake->calls.next; it != &fake->calls; it = it->next) {
        const struct fake_rpc_call *made =
            (const void *)((const char *)it - offsetof(struct fake_rpc_call, link));
        struct ria_slice body;
        count += open_call(made, &body).api_key == api_key ? 1 : 0;
    }
    return count;
}

void fake_rpc_decode(const struct fake_rpc_call *made, struct ria_arena *arena, void *out)
{
    struct ria_slice body;
    struct request_header header = open_call(made, &body);

    ria_err err =
        envelope_decode_body(schema_request(header.api_key), header.api_version, body, arena, out);
    RIA_ASSERT(err == RIA_OK);
}

static void end_call(struct fake_rpc_call *made, ria_err err, struct ria_msg *reply)
{
    ria_rpc_done_fn done = made->done;
    void *arg = made->arg;

    ria_list_remove(&made->link);
    ria_msg_free(made->msg);
    free(made);
    done(arg, err, reply);
}

void fake_rpc_answer(struct fake_rpc_call *made, const void *response)
{
    fake_rpc_answer_with(made, response, RIA_SLICE_NULL);
}

void fake_rpc_answer_with(
    struct fake_rpc_call *made, const void *response, struct ria_slice payload
)
{
    struct ria_slice body;
    struct request_header header = open_call(made, &body);
    uint8_t *room = NULL;
    struct ria_msg *reply = envelope_reply(&header, response, payload.size, &room);

    RIA_ASSERT(reply != NULL);
    if (payload.size > 0) {
        memcpy(room, payload.data, payload.size);
    }
    end_call(made, RIA_OK, reply);
}

void fake_rpc_answer_msg(struct fake_rpc_call *made, struct ria_msg *reply)
{
    end_call(made, RIA_OK, reply);
}

void fake_rpc_refuse(struct fake_rpc_call *made, ria_err err)
{
    struct ria_slice body;
    struct request_header header = open_call(made, &body);

    end_call(made, RIA_OK, envelope_reply_error(&header, err, "said the fake"));
}

void fake_rpc_fail(struct fake_rpc_call *made, ria_err err)
{
    end_call(made, err, NULL);
}

/* ---- the test sends ---- */

static void set_handler(struct ria_rpc *rpc, ria_rpc_handler_fn handler, void *arg)
{
    struct fake_rpc *fake = RIA_CONTAINER(rpc, struct fake_rpc, rpc);

    fake->handler = handler;
    fake->arg = arg;
}

static struct ria_msg *request_msg(const struct ria_rpc_request *request)
{
    RIA_ASSERT(!request->done);
    return request->msg;
}

static void drop(struct ria_rpc *rpc, struct ria_rpc_request *request)
{
    (void)rpc;
    RIA_ASSERT(!request->done); /* answered twice */
    request->done = true;
    ria_msg_free(request->msg); /* slices into it are bad from here on: asan tells */
    request->msg = NULL;
}

static void reply(struct ria_rpc *rpc, struct ria_rpc_request *request, struct ria_msg *msg)
{
    drop(rpc, request);
    request->reply = msg;
}

struct ria_rpc_request *fake_rpc_send(struct fake_rpc *fake, struct ria_msg *msg)
{
    struct ria_rpc_request *request = calloc(1, sizeof(*request));

    RIA_ASSERT(request != NULL);
    RIA_ASSERT(msg != NULL);
    request->msg = msg;
    ria_list_push_back(&fake->requests, &request->link);
    if (fake->handler != NULL) {
        fake->handler(fake->arg, request);
    } else {
        drop(&fake->rpc, request);
    }
    return request;
}

void fake_rpc_forget(struct ria_rpc_request *request)
{
    RIA_ASSERT(request->done); /* never answered */
    ria_list_remove(&request->link);
    ria_msg_free(request->reply);
    free(request);
}

/* ---- life ---- */

static const struct ria_rpc_ops ops = {
    .call = call,
    .set_handler = set_handler,
    .request_msg = request_msg,
    .reply = reply,
    .drop = drop,
};

void fake_rpc_init(struct fake_rpc *fake)
{
    *fake = (struct fake_rpc){.rpc = {.ops = &ops}};
    ria_list_init(&fake->calls);
    ria_list_init(&fake->requests);
}

void fake_rpc_fini(struct fake_rpc *fake)
{
    while (!ria_list_is_empty(&fake->calls)) {
        fake_rpc_fail(
            RIA_CONTAINER(fake->calls.next, struct fake_rpc_call, link), RIA_ERR_SHUTDOWN
        );
    }
    while (!ria_list_is_empty(&fake->requests)) {
        fake_rpc_forget(RIA_CONTAINER(fake->requests.next, struct ria_rpc_request, link));
    }
}
