#include "services/gateway/queue_acks.h"

#include <stdlib.h>

#include "common/arena.h"

#include "schemas/gen/queue_ack.h"

enum {
    ACK_TIMEOUT_US = 5 * 1000 * 1000,
    ACK_ARENA_MAX = 256 * 1024,
};

struct later {
    struct ria_list link;
    struct queue_acks *owner;
    struct ria_arena arena;
    struct queue_ack body;
    struct group_op op;
};

static void later_free(struct later *later)
{
    ria_list_remove(&later->link);
    later->owner->count--;
    ria_arena_fini(&later->arena);
    free(later);
}

void queue_acks_init(struct queue_acks *acks, struct group_ops *ops)
{
    acks->ops = ops;
    acks->count = 0;
    ria_list_init(&acks->live);
}

void queue_acks_fini(struct queue_acks *acks)
{
    while (!ria_list_is_empty(&acks->live)) {
        later_free(RIA_CONTAINER(acks->live.next, struct later, link));
    }
}

static void said(struct group_op *op, const struct group_op_result *result)
{
    (void)result;
    later_free(op->arg);
}

static bool fill(
    struct later *later,
    struct ria_slice group,
    const struct ria_uuid *topic_id,
    queue_verb verb,
    const struct queue_range *ranges,
    uint32_t count
)
{
    struct queue_ack *body = &later->body;
    const char *name = ria_arena_strdup(&later->arena, group);

    queue_ack_init(body);
    body->entries = ria_arena_alloc_array(&later->arena, count, sizeof(*body->entries));
    if (name == NULL || body->entries == NULL) {
        return false;
    }
    body->group = ria_slice_of(name, group.size);
    body->topic_id = *topic_id;
    body->entries_count = count;
    for (uint32_t i = 0; i < count; i++) {
        queue_ack_queue_ack_entry_init(&body->entries[i]);
        body->entries[i].partition = ranges[i].partition;
        body->entries[i].lease_id = ranges[i].lease;
        body->entries[i].first = ranges[i].first;
        body->entries[i].last = ranges[i].last;
        body->entries[i].action = (int8_t)verb;
    }
    return true;
}

void queue_ack_later(
    struct queue_acks *acks,
    struct ria_slice group,
    const struct ria_uuid *topic_id,
    queue_verb verb,
    const struct queue_range *ranges,
    uint32_t count
)
{
    struct later *later = NULL;

    if (count == 0 || acks->count >= QUEUE_ACKS_MAX) {
        return;
    }
    count = count < QUEUE_LOCK_RANGES_MAX ? count : QUEUE_LOCK_RANGES_MAX;
    later = calloc(1, sizeof(*later));
    if (later == NULL) {
        return;
    }
    later->owner = acks;
    acks->count++;
    ria_list_push_back(&acks->live, &later->link);
    ria_arena_init(&later->arena, ACK_ARENA_MAX);
    if (!fill(later, group, topic_id, verb, ranges, count)) {
        later_free(later);
        return;
    }
    later->op = (struct group_op){
        .kind = GROUP_OP_QUEUE_ACK,
        .body = &later->body,
        .answer_size = (size_t)count * 16,
        .deadline_us = ria_clock_mono_us(acks->ops->env->clock) + ACK_TIMEOUT_US,
        .repeat = true,
        .done = said,
        .arg = later,
    };
    group_op_start(acks->ops, &later->op);
}
