#include "services/transform/call.h"

#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/envelope.h"

enum { CALL_VERSION = 0 };

struct call {
    struct ria_list link;
    struct call_group *group; /* NULL: nobody waits any more */
    int16_t api_key;
    call_fn fn;
    void *arg;
};

void call_group_init(struct call_group *group, const struct ria_env *env)
{
    group->env = env;
    ria_list_init(&group->calls);
}

void call_group_fini(struct call_group *group)
{
    for (;;) {
        struct ria_list *link = ria_list_pop_front(&group->calls);
        if (link == NULL) {
            return;
        }
        RIA_CONTAINER(link, struct call, link)->group = NULL;
    }
}

bool call_group_is_idle(const struct call_group *group)
{
    return ria_list_is_empty(&group->calls);
}

static void call_done(void *arg, ria_err err, struct ria_msg *frame)
{
    struct call *call = arg;
    char text[RIA_ERROR_TEXT_MAX + 1] = "";
    struct call_reply reply = {
        .err = err, .text = text, .api_key = call->api_key, .version = CALL_VERSION};

    if (err == RIA_OK && call->group != NULL) {
        struct response_header header;
        reply.err = envelope_open_reply(
            frame, call->api_key, &header, &reply.body, &reply.payload, text, sizeof(text)
        );
        reply.version = header.api_version;
    }
    if (reply.err != RIA_OK && text[0] == '\0') {
        reply.text = ria_err_text(reply.err);
    }
    reply.frame = frame;
    if (call->group != NULL) {
        call_fn fn = call->fn;
        void *fn_arg = call->arg;
        ria_list_remove(&call->link);
        free(call);
        fn(fn_arg, &reply);
    } else {
        free(call);
    }
    ria_msg_free(reply.frame);
}

ria_err call_start(
    struct call_group *group,
    const char *address,
    int16_t api_key,
    const void *body,
    struct ria_slice payload,
    uint32_t timeout_ms,
    call_fn fn,
    void *arg
)
{
    uint8_t *space = NULL;
    struct call *call = malloc(sizeof(*call));
    struct ria_msg *msg =
        envelope_request(api_key, CALL_VERSION, -1, timeout_ms, body, payload.size, &space);

    if (call == NULL || msg == NULL) {
        free(call);
        ria_msg_free(msg);
        return RIA_ERR_NOMEM;
    }
    if (payload.size > 0) {
        memcpy(space, payload.data, payload.size);
    }
    *call = (struct call){.group = group, .api_key = api_key, .fn = fn, .arg = arg};
    ria_list_push_back(&group->calls, &call->link);
    ria_rpc_call(group->env->rpc, address, msg, timeout_ms, call_done, call);
    return RIA_OK;
}

ria_err call_decode(const struct call_reply *reply, struct ria_arena *arena, void *out)
{
    return envelope_decode_body(
        schema_response(reply->api_key), reply->version, reply->body, arena, out
    );
}

ria_err call_decode_plain(const struct call_reply *reply, void *out)
{
    struct ria_arena arena;

    ria_arena_init(&arena, 1);
    ria_err err = call_decode(reply, &arena, out);
    ria_arena_fini(&arena);
    return err;
}
