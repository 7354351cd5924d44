/* overdue: queues with locks that are over, or dead records, to which nobody comes.
 *
 * A lease needs no command to expire, but what is dead must be written to its dead-letter topic by
 * a gateway, and a gateway hears of it from the receives of its clients. When the last consumer has
 * gone there are none. So the coordinator walks over the queues' partitions, some in each step, and
 * what has been due for a while is handed to a gateway with the answer to its heartbeat: that one
 * looks (a QueueReceive that wants no records), buries what it is given, and looks again.
 *
 * A queue that was handed out is forgotten here. Whether the answer was lost or the gateway has
 * died: what is due then is found by the next walk, and goes to whoever sends the next heartbeat. A
 * queue may be handed out twice; who comes second finds what the first one has leased, and leaves
 * it alone. Only reads: nothing is written before a gateway asks.
 */
#include <string.h>

#include "common/assert.h"

#include "schemas/gen/heartbeat_response.h"

#include "services/coordinator/coordinator.h"

enum {
    STEP_ROWS = 1000, /* a few milliseconds */
    STEP_PAUSE_US = 250 * 1000,
    ROUND_PAUSE_US = 1000 * 1000,
    GRACE_MS = 2000, /* consumers that wait come by themselves */
    GIVE_MAX = 8,    /* with one heartbeat: a gateway does so many at a time, and others */
};
_Static_assert(sizeof(((struct overdue_queue *)NULL)->name) > 255, "a group's name fits");

/* ---- the walk ---- */

static bool is_due(
    struct coordinator *coordinator,
    int64_t space,
    const struct ria_uuid *topic_id,
    int32_t partition
)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_RANGES_ANY_DUE);

    meta_bind_int(stmt, 1, space);
    meta_bind_uuid(stmt, 2, topic_id);
    meta_bind_int(stmt, 3, partition);
    meta_bind_int(stmt, 4, lease_clock_ms(&coordinator->lease_clock) - GRACE_MS);
    bool due = meta_step(stmt) && meta_column_int(stmt, 0) != 0;
    meta_done(stmt);
    return due;
}

static bool read_name(struct coordinator *coordinator, int64_t group_id, struct overdue_queue *out)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_GROUP_NAME);

    meta_bind_int(stmt, 1, group_id);
    bool found = meta_step(stmt);
    if (found) {
        struct ria_slice name = meta_column_text(stmt, 0);
        RIA_ASSERT(name.size < sizeof(out->name));
        memcpy(out->name, name.data, name.size);
        out->name_size = name.size;
    }
    meta_done(stmt);
    return found;
}

/* A topic's partitions follow one another. queue: the one behind the last found. */
static bool is_last_found(const struct overdue *overdue, const struct overdue_queue *queue)
{
    const struct overdue_queue *last = overdue->count == 0 ? NULL : queue - 1;

    return last != NULL && last->name_size == queue->name_size &&
           memcmp(last->name, queue->name, queue->name_size) == 0 &&
           ria_uuid_equal(last->topic_id, queue->topic_id);
}

static void find(struct coordinator *coordinator, int64_t group_id, const struct ria_uuid *topic_id)
{
    struct overdue *overdue = &coordinator->overdue;
    struct overdue_queue *queue = &overdue->found[overdue->count];

    RIA_ASSERT(overdue->count < OVERDUE_FOUND_MAX);
    queue->topic_id = *topic_id;
    if (read_name(coordinator, group_id, queue) && !is_last_found(overdue, queue)) {
        overdue->count++;
    }
}

/* False: that was the last one. */
static bool step(struct coordinator *coordinator)
{
    struct overdue *overdue = &coordinator->overdue;
    struct meta_stmt *stmt = meta_query(coordinator->db, META_QUEUES_AFTER);
    int rows = 0;

    meta_bind_int(stmt, 1, overdue->group_id);
    meta_bind_uuid(stmt, 2, &overdue->topic_id);
    meta_bind_int(stmt, 3, overdue->partition);
    meta_bind_int(stmt, 4, STEP_ROWS);
    while (overdue->count < OVERDUE_FOUND_MAX && meta_step(stmt)) {
        overdue->group_id = meta_column_int(stmt, 0);
        overdue->topic_id = meta_column_uuid(stmt, 1);
        overdue->partition = (int32_t)meta_column_int(stmt, 2);
        bool may_be = meta_column_int(stmt, 4) > 0;
        int64_t space = meta_column_int(stmt, 3);
        rows++;
        if (may_be && is_due(coordinator, space, &overdue->topic_id, overdue->partition)) {
            find(coordinator, overdue->group_id, &overdue->topic_id);
        }
    }
    meta_done(stmt);
    return rows == STEP_ROWS || overdue->count == OVERDUE_FOUND_MAX;
}

void overdue_check(struct coordinator *coordinator)
{
    struct overdue *overdue = &coordinator->overdue;
    int64_t now_us = ria_clock_mono_us(coordinator->env->clock);

    /* Full: what is found is to be handed out first. */
    if (!coordinator->running || now_us < overdue->next_us || overdue->count == OVERDUE_FOUND_MAX ||
        consensus_get_role(coordinator->consensus) != CONSENSUS_LEADER) {
        return;
    }
    if (step(coordinator)) {
        overdue->next_us = now_us + STEP_PAUSE_US;
        return;
    }
    overdue->group_id = 0;
    overdue->next_us = now_us + ROUND_PAUSE_US;
}

/* ---- handing out ---- */

void overdue_give(struct coordinator *coordinator, struct heartbeat_response *response)
{
    struct overdue *overdue = &coordinator->overdue;
    struct ria_arena *arena = &coordinator->arena;
    uint32_t count = overdue->count < GIVE_MAX ? overdue->count : GIVE_MAX;
    struct heartbeat_response_overdue_queue *given =
        ria_arena_alloc_array(arena, count, sizeof(*given));

    if (count == 0 || given == NULL) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct overdue_queue *queue = &overdue->found[--overdue->count];
        const char *name = ria_arena_strdup(arena, ria_slice_of(queue->name, queue->name_size));
        if (name == NULL) {
            break; /* the next walk finds it again */
        }
        given[response->overdue_count++] = (struct heartbeat_response_overdue_queue){
            .group = ria_slice_of(name, queue->name_size),
            .topic_id = queue->topic_id,
        };
        coordinator->metrics.queues_overdue.value++;
    }
    response->overdue = given;
}
