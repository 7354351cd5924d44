#include "services/gateway/offsets.h"

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/list_offsets_response.h"

enum { OFFSETS_PARALLEL_MAX = 32, OFFSETS_REPLY_MAX = 4096 };

ria_err offsets_decode(const struct leader_reply *reply, struct list_offsets_response *out)
{
    struct ria_arena arena;

    ria_arena_init(&arena, OFFSETS_REPLY_MAX);
    ria_err err = envelope_decode_body(
        schema_response(API_LIST_OFFSETS), reply->version, reply->body, &arena, out
    );
    ria_arena_fini(&arena);
    return err;
}

static void ask(struct leader_lanes *lanes, uint32_t i, struct leader_call *call)
{
    call->partition = RIA_CONTAINER(lanes, struct offsets_call, lanes)->topic->partitions[i];
    call->api_key = API_LIST_OFFSETS;
    list_offsets_request_init(&call->body.list_offsets);
}

static void take(struct leader_lanes *lanes, uint32_t i, ria_err err, struct leader_reply *reply)
{
    struct offsets_call *call = RIA_CONTAINER(lanes, struct offsets_call, lanes);
    struct list_offsets_response response;

    if (err == RIA_OK && offsets_decode(reply, &response) == RIA_OK) {
        call->items[i] = (struct offsets_of){
            .known = true,
            .log_start = response.log_start_offset,
            .high_watermark = response.high_watermark,
        };
    }
}

static void done(struct leader_lanes *lanes)
{
    struct offsets_call *call = RIA_CONTAINER(lanes, struct offsets_call, lanes);

    call->done(call);
}

ria_err offsets_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct cluster_topic *topic,
    uint32_t timeout_ms,
    offsets_fn done_fn,
    void *arg
)
{
    int32_t count = topic->partition_count;
    struct offsets_call *call = ria_arena_alloc(arena, sizeof(*call));

    RIA_ASSERT(count > 0);
    if (call == NULL) {
        return ria_arena_err(arena);
    }
    *call = (struct offsets_call){
        .topic = topic,
        .items = ria_arena_alloc_array(arena, (size_t)count, sizeof(*call->items)),
        .count = count,
        .arg = arg,
        .lanes =
            {
                .count = (uint32_t)count,
                .parallel_max = OFFSETS_PARALLEL_MAX,
                .deadline_us = ria_clock_mono_us(leaders->env->clock) + (int64_t)timeout_ms * 1000,
                .ask = ask,
                .take = take,
                .done = done,
            },
        .done = done_fn,
    };
    if (call->items == NULL) {
        return ria_arena_err(arena);
    }
    return leader_lanes_start(&call->lanes, leaders, arena);
}
