#include "services/gateway/offsets.h"

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/list_offsets_response.h"

enum { OFFSETS_PARALLEL_MAX = 32, OFFSETS_REPLY_MAX = 4096 };

/* One leader call at a time for the partitions next, next + 1, ... */
struct lane {
    struct leader_call call;
    struct offsets_call *owner;
    int32_t partition;
};

static bool start_next(struct lane *lane);

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

static void lane_done(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct lane *lane = call->arg;
    struct offsets_call *owner = lane->owner;
    struct list_offsets_response response;

    if (err == RIA_OK && offsets_decode(reply, &response) == RIA_OK) {
        owner->items[lane->partition] = (struct offsets_of){
            .known = true,
            .log_start = response.log_start_offset,
            .high_watermark = response.high_watermark,
        };
    }
    owner->under_way--;
    if (!start_next(lane) && owner->under_way == 0) {
        owner->done(owner);
    }
}

static bool start_next(struct lane *lane)
{
    struct offsets_call *owner = lane->owner;

    if (owner->next == owner->count) {
        return false;
    }
    lane->partition = owner->next++;
    owner->under_way++;
    lane->call = (struct leader_call){
        .partition = owner->topic->partitions[lane->partition],
        .api_key = API_LIST_OFFSETS,
        .deadline_us = owner->deadline_us,
        .done = lane_done,
        .arg = lane,
    };
    list_offsets_request_init(&lane->call.body.list_offsets);
    leader_call_start(owner->leaders, &lane->call);
    return true;
}

ria_err offsets_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct cluster_topic *topic,
    uint32_t timeout_ms,
    offsets_fn done,
    void *arg
)
{
    int32_t count = topic->partition_count;
    int32_t lane_count = count < OFFSETS_PARALLEL_MAX ? count : OFFSETS_PARALLEL_MAX;
    struct offsets_call *call = ria_arena_alloc(arena, sizeof(*call));

    RIA_ASSERT(count > 0);
    if (call == NULL) {
        return ria_arena_err(arena);
    }
    call->items = ria_arena_alloc_array(arena, (size_t)count, sizeof(*call->items));
    struct lane *lanes = ria_arena_alloc_array(arena, (size_t)lane_count, sizeof(*lanes));
    if (call->items == NULL || lanes == NULL) {
        return ria_arena_err(arena);
    }
    call->topic = topic;
    call->count = count;
    call->arg = arg;
    call->leaders = leaders;
    call->deadline_us = ria_clock_mono_us(leaders->env->clock) + (int64_t)timeout_ms * 1000;
    call->done = done;
    for (int32_t i = 0; i < lane_count; i++) {
        lanes[i].owner = call;
        (void)start_next(&lanes[i]);
    }
    return RIA_OK;
}
