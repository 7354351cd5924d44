#include "tests/sim/consumers.h"

#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/client.h"
#include "tests/sim/inspect.h"
#include "tests/sim/world.h"

void consumers_group_name(uint32_t group, char *out_name)
{
    (void)snprintf(out_name, CONSUMERS_NAME_SIZE, "group-%" PRIu32, group);
}

struct history_event consumers_event(
    const struct world *world,
    history_kind kind,
    uint32_t consumer,
    uint32_t partition,
    int64_t offset
)
{
    return (struct history_event){
        .time_us = world->now_us,
        .kind = kind,
        .actor = consumer,
        .group = world->plan->consumers[consumer].group,
        .partition = partition,
        .offset = offset,
        .key = HISTORY_NO_KEY,
        .clock_ms = HISTORY_NO_CLOCK,
    };
}

bool consumers_find_partition(
    const struct world *world, const struct ria_uuid *topic_id, int32_t number, uint32_t *out
)
{
    for (uint32_t i = 0; i < world->plan->topic_count; i++) {
        const struct plan_topic *topic = &world->plan->topics[i];
        if (ria_uuid_equal(*topic_id, world_topic_id(world, i)) && number >= 0 &&
            number < topic->partition_count) {
            *out = topic->first_partition + (uint32_t)number;
            return true;
        }
    }
    return false;
}

void consumers_check_error(
    struct world *world, uint32_t consumer, ria_err err, struct ria_slice text
)
{
    if (!client_expects(world->plan, err)) {
        world_break(
            world,
            "unexpected-error",
            0,
            "consumer %" PRIu32 " of group %" PRIu32 ": %s " RIA_SLICE_FMT,
            consumer,
            world->plan->consumers[consumer].group,
            ria_err_name(err),
            RIA_SLICE_ARG(text)
        );
    }
}

void consumers_trace(
    struct world *world, const char *word, uint32_t consumer, ria_err err, struct ria_slice body
)
{
    trace_add(&world->trace, word, consumer, (uint64_t)err, body.data, body.size);
}

int64_t consumers_lease_clock(const struct world *world)
{
    const struct coordinator *coordinator = world->nodes[0].coordinator;

    return coordinator == NULL ? HISTORY_NO_CLOCK : coordinator_lease_clock_ms(coordinator);
}

void consumers_declare(struct world *world)
{
    const struct plan *plan = world->plan;

    for (uint32_t g = 0; g < plan->group_count; g++) {
        for (uint32_t p = 0; p < plan->partition_count; p++) {
            struct history_event event = {
                .time_us = world->now_us,
                .kind = HISTORY_CONSUMES,
                .group = g,
                .partition = p,
                .is_queue = plan->groups[g].is_queue,
                .is_ordered = plan->groups[g].is_ordered,
                .has_dead = plan->groups[g].is_queue,
            };
            if (plan_consumes(plan, g, p)) {
                history_add(&world->history, &event);
            }
        }
    }
}

/* -1: not known. */
static int64_t find_position(const struct world *world, uint32_t group, uint32_t partition)
{
    struct coordinator *coordinator = world->nodes[0].coordinator;
    char name[CONSUMERS_NAME_SIZE];
    uint32_t topic = 0;
    int32_t number = 0;

    if (coordinator == NULL) {
        return -1;
    }
    consumers_group_name(group, name);
    world_find_partition(world, partition, &topic, &number);
    struct ria_uuid id = world_topic_id(world, topic);
    return coordinator_group_position(coordinator, name, &id, number);
}

void consumers_note_positions(struct world *world, int64_t *known)
{
    const struct plan *plan = world->plan;

    for (uint32_t g = 0; g < plan->group_count; g++) {
        for (uint32_t p = 0; p < plan->partition_count; p++) {
            int64_t *before = &known[g * PLAN_PARTITIONS_MAX + p];
            int64_t position = plan_consumes(plan, g, p) ? find_position(world, g, p) : -1;
            struct history_event event = {
                .time_us = world->now_us,
                .kind = HISTORY_POSITION,
                .group = g,
                .partition = p,
                .offset = position,
            };
            if (position >= 0 && position != *before) {
                history_add(&world->history, &event);
                *before = position;
            }
        }
    }
}

int64_t consumers_backlog(const struct world *world)
{
    const struct plan *plan = world->plan;
    int64_t backlog = 0;

    for (uint32_t g = 0; g < plan->group_count; g++) {
        for (uint32_t p = 0; p < plan->partition_count; p++) {
            int64_t end = plan_consumes(plan, g, p) ? inspect_leader_end(world, p) : 0;
            int64_t position = end <= 0 ? 0 : ria_max_i64(0, find_position(world, g, p));
            backlog += end < 0 ? 1 : ria_max_i64(0, end - position);
        }
    }
    return backlog;
}

bool consumers_find_behind(
    const struct world *world, uint32_t *out_group, uint32_t *out_partition, int64_t *out_position
)
{
    const struct plan *plan = world->plan;

    for (uint32_t g = 0; g < plan->group_count; g++) {
        for (uint32_t p = 0; p < plan->partition_count; p++) {
            int64_t end = plan_consumes(plan, g, p) ? inspect_leader_end(world, p) : 0;
            int64_t position = end == 0 ? 0 : find_position(world, g, p);
            if (end < 0 || position < end) {
                *out_group = g;
                *out_partition = p;
                *out_position = position;
                return true;
            }
        }
    }
    return false;
}
