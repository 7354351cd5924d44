#include "services/gateway/consumer_hold.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/gen/group_read_result.h"

enum {
    ENDS_TIMEOUT_MS = 3000,
    GRANT_SIZE = 48, /* of an answer, for each partition */
};

static int by_topic_and_number(const void *left, const void *right)
{
    const struct cluster_partition *a = ((const struct consumer_at *)left)->partition;
    const struct cluster_partition *b = ((const struct consumer_at *)right)->partition;
    int order = memcmp(&a->topic->id, &b->topic->id, sizeof(struct ria_uuid));

    return order != 0 ? order : a->number - b->number;
}

bool consumer_sort(struct consumer_at *at, uint32_t count)
{
    if (count > 1) {
        qsort(at, count, sizeof(*at), by_topic_and_number);
    }
    for (uint32_t i = 1; i < count; i++) {
        if (at[i].partition == at[i - 1].partition) {
            return false;
        }
    }
    return true;
}

static void held(struct group_op *op, const struct group_op_result *result)
{
    struct consumer_hold *hold = op->arg;
    const struct group_read_result *said = result->body;
    struct failure failure;

    if (result->err != RIA_OK) {
        consumer_fail_op(&failure, result);
        hold->done(hold, &failure);
        return;
    }
    for (uint32_t i = 0; i < said->granted_count; i++) {
        struct consumer_at key = {
            .partition = cluster_partition(
                hold->call->gateway->cluster, &said->granted[i].topic_id, said->granted[i].partition
            ),
        };
        const struct consumer_at *at =
            key.partition == NULL
                ? NULL
                : bsearch(&key, hold->at, hold->count, sizeof(key), by_topic_and_number);
        if (at != NULL) {
            hold->leases[at - hold->at] = said->granted[i].lease_id;
        }
    }
    hold->done(hold, NULL);
}

static ria_err add_topic(struct consumer_hold *hold, uint32_t from, uint32_t to)
{
    struct ria_arena *arena = &hold->call->request->arena;
    struct group_read_group_read_topic *topic = &hold->body.topics[hold->body.topics_count++];

    group_read_group_read_topic_init(topic);
    topic->topic_id = hold->at[from].partition->topic->id;
    topic->starts = ria_arena_alloc_array(arena, to - from, sizeof(*topic->starts));
    topic->ends = ria_arena_alloc_array(arena, to - from, sizeof(*topic->ends));
    if (topic->starts == NULL || topic->ends == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t i = from; i < to; i++) {
        const struct position *found = &hold->found[i];
        int32_t number = hold->at[i].partition->number;
        if (found->known) {
            topic->starts[topic->starts_count++] = (struct group_read_group_start){
                .partition = number,
                .offset =
                    hold->call->instance.from_latest ? found->high_watermark : found->log_start,
            };
        }
        if (hold->holds) {
            topic->ends[topic->ends_count++] =
                (struct group_read_group_end){.partition = number, .offset = INT64_MAX};
        }
    }
    return RIA_OK;
}

static ria_err build(struct consumer_hold *hold)
{
    struct group_read *body = &hold->body;
    struct ria_arena *arena = &hold->call->request->arena;
    uint32_t from = 0;

    group_read_init(body);
    body->group = hold->call->group;
    body->member = hold->call->name;
    body->member_epoch = hold->call->epoch;
    body->session_ms = hold->call->gateway->options.consumer_session_ms;
    body->partitions_max = hold->holds ? (int32_t)hold->count : 1;
    body->hold = true;
    body->topics = ria_arena_alloc_array(arena, CONSUMER_TOPICS_MAX, sizeof(*body->topics));
    if (body->topics == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t i = 1; i <= hold->count; i++) {
        if (i < hold->count && hold->at[i].partition->topic == hold->at[from].partition->topic) {
            continue;
        }
        if (body->topics_count == CONSUMER_TOPICS_MAX) {
            return RIA_ERR_LIMIT;
        }
        RIA_TRY(add_topic(hold, from, i));
        from = i;
    }
    return RIA_OK;
}

static void ends_known(struct positions *positions)
{
    struct consumer_hold *hold = positions->arg;
    struct failure failure;

    ria_err err = build(hold);
    if (err != RIA_OK) {
        failure_of_err(&failure, err, "");
        hold->done(hold, &failure);
        return;
    }
    consumer_op(hold->call, GROUP_OP_READ, &hold->body, (size_t)hold->count * GRANT_SIZE, held);
    hold->call->op.arg = hold;
}

ria_err consumer_hold_start(struct consumer_hold *hold)
{
    struct consumer_call *call = hold->call;
    struct ria_arena *arena = &call->request->arena;

    hold->found = ria_arena_alloc_array(arena, hold->count, sizeof(*hold->found));
    hold->leases = ria_arena_alloc_array(arena, hold->count, sizeof(*hold->leases));
    if (hold->found == NULL || hold->leases == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t i = 0; i < hold->count; i++) {
        int64_t time_ms = hold->at[i].timestamp_ms;
        hold->found[i].partition = hold->at[i].partition;
        hold->found[i].kind = time_ms >= 0 ? POSITION_TIME : POSITION_LATEST;
        hold->found[i].value = time_ms;
        hold->found[i].expected_offset = hold->at[i].offset;
    }
    return positions_start(
        &call->gateway->leaders, arena, hold->found, hold->count, ENDS_TIMEOUT_MS, ends_known, hold
    );
}
