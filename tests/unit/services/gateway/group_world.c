#include "tests/unit/services/gateway/group_world.h"

#include <string.h>

#include "common/assert.h"

#include "schemas/gen/group_request.h"
#include "schemas/gen/group_response.h"

#include "services/gateway/group_ops.h"

enum { ARENA_MAX = 64 * 1024 * 1024 };

static const char *const names[GROUP_OP_KIND_END][2] = {
    [GROUP_OP_READ] = {"GroupRead", "GroupReadResult"},
    [GROUP_OP_COMMIT] = {"GroupCommit", "GroupCommitResult"},
    [GROUP_OP_MEMBER] = {"GroupMember", "GroupMemberResult"},
    [GROUP_OP_LEAVE] = {"GroupLeave", "GroupLeaveResult"},
    [GROUP_OP_RESET] = {"GroupReset", "GroupResetResult"},
    [GROUP_OP_DELETE] = {"GroupDelete", "GroupDeleteResult"},
    [GROUP_OP_QUEUE_OPEN] = {"QueueOpen", "QueueOpenResult"},
    [GROUP_OP_QUEUE_RECEIVE] = {"QueueReceive", "QueueReceiveResult"},
    [GROUP_OP_QUEUE_SETTLE] = {"QueueSettle", "QueueSettleResult"},
    [GROUP_OP_QUEUE_ACK] = {"QueueAck", "QueueAckResult"},
};

static const struct schema_message *message_of(int8_t kind, int which)
{
    RIA_ASSERT(kind > 0 && kind < GROUP_OP_KIND_END);
    RIA_ASSERT(names[kind][which] != NULL);
    return schema_find(names[kind][which]);
}

bool group_world_open(struct world *world, struct group_world_request *request)
{
    struct group_request body;
    struct ria_slice payload;

    memset(request, 0, sizeof(*request));
    request->call = world_next_call(world, API_GROUP);
    if (request->call == NULL) {
        return false;
    }
    ria_arena_init(&request->arena, ARENA_MAX);
    world_open(request->call, &request->arena, &body, &payload);
    RIA_ASSERT(body.operations_count <= GROUP_WORLD_OPS_MAX);
    request->count = body.operations_count;
    for (uint32_t i = 0; i < body.operations_count; i++) {
        const struct schema_message *message = message_of(body.operations[i].kind, 0);
        void *out = ria_arena_alloc(&request->arena, message->struct_size);
        RIA_ASSERT(out != NULL);
        ria_err err =
            envelope_decode_body(message, 0, body.operations[i].body, &request->arena, out);
        RIA_ASSERT(err == RIA_OK);
        request->kinds[i] = body.operations[i].kind;
        request->bodies[i] = out;
    }
    return true;
}

static struct ria_slice encode(struct ria_arena *arena, int8_t kind, const void *result)
{
    const struct schema_message *message = message_of(kind, 1);

    if (result == NULL) {
        void *defaults = ria_arena_alloc(arena, message->struct_size);
        RIA_ASSERT(defaults != NULL);
        message->init(defaults);
        result = defaults;
    }
    size_t size = message->size(result, 0);
    uint8_t *bytes = ria_arena_alloc(arena, size);
    RIA_ASSERT(bytes != NULL);
    struct ria_writer w = ria_writer_of(bytes, size);
    message->encode(result, 0, &w);
    return ria_slice_of(bytes, size);
}

void group_world_answer(struct world *world, struct group_world_request *request)
{
    struct group_response response;

    group_response_init(&response);
    response.results_count = request->count;
    response.results =
        ria_arena_alloc_array(&request->arena, request->count, sizeof(*response.results));
    RIA_ASSERT(response.results != NULL);
    for (uint32_t i = 0; i < request->count; i++) {
        struct group_response_group_result *to = &response.results[i];
        group_response_group_result_init(to);
        to->error_code = (int16_t)request->errs[i];
        to->error_text = ria_slice_cstr(request->texts[i] == NULL ? "" : request->texts[i]);
        to->body = request->errs[i] != RIA_OK
                       ? RIA_SLICE_EMPTY
                       : encode(&request->arena, request->kinds[i], request->results[i]);
    }
    world_reply(world, request->call, &response, RIA_SLICE_NULL);
    group_world_close(request);
}

void group_world_close(struct group_world_request *request)
{
    request->call = NULL;
    ria_arena_fini(&request->arena);
}
