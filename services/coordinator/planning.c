/* planning: rows and live nodes into the planner's input (rebalance.h). */
#include <string.h>

#include "common/assert.h"

#include "services/coordinator/coordinator.h"
#include "services/coordinator/node_set.h"
#include "services/coordinator/partition_row.h"
#include "services/coordinator/rebalance.h"
#include "services/coordinator/rows.h"

_Static_assert(RIA_NODES_MAX <= UINT16_MAX, "a node's index fits");

/* Alive, with room for another replica. Whoever was not heard since the start may well be both. */
static bool may_take(struct coordinator *coordinator, const struct ria_uuid *uuid)
{
    const struct liveness_process *process = liveness_find(coordinator->liveness, uuid);

    return process == NULL
               ? coordinator_is_settling(coordinator)
               : (process->alive || coordinator_is_settling(coordinator)) && !process->full;
}

static ria_err read_nodes(
    struct coordinator *coordinator,
    int32_t leaving,
    struct ria_arena *arena,
    struct rebalance *plan,
    uint16_t index_of[RIA_NODES_MAX + 1]
)
{
    struct rows rows = rows_of(arena, sizeof(struct rebalance_node));
    struct meta_stmt *stmt = meta_query(coordinator->db, META_NODES_BY_ID);
    struct rebalance_node *node = NULL;
    bool ok = true;

    while (ok && meta_step(stmt)) {
        node = rows_add(&rows);
        ok = node != NULL;
        if (!ok) {
            break;
        }
        struct ria_uuid uuid = meta_column_uuid(stmt, 1);
        struct ria_slice rack = meta_column_text(stmt, 3);
        enum node_state state = (enum node_state)meta_column_int(stmt, 6);
        bool draining = meta_column_int(stmt, 7) != 0;
        node->id = (int32_t)meta_column_int(stmt, 0);
        RIA_ASSERT(node->id >= 0);
        RIA_ASSERT(node->id <= RIA_NODES_MAX);
        RIA_ASSERT(rack.size < sizeof(node->rack));
        memcpy(node->rack, rack.data, rack.size);
        node->leaving = leaving == -1 ? draining : node->id == leaving;
        node->open =
            state == NODE_ACTIVE && !draining && !node->leaving && may_take(coordinator, &uuid);
        index_of[node->id] = (uint16_t)(rows.count - 1);
    }
    meta_done(stmt);
    plan->nodes = rows.items;
    plan->node_count = rows.count;
    return ok ? RIA_OK : ria_arena_err(arena);
}

static void fill(
    const struct partition_row *row,
    const uint16_t index_of[RIA_NODES_MAX + 1],
    struct rebalance_partition *out
)
{
    bool moving = row->target.count > 0;
    const struct node_list *replicas = moving ? &row->target : &row->replicas;

    *out = (struct rebalance_partition){
        .topic_id = row->topic_id,
        .partition = row->partition,
        .partition_epoch = row->partition_epoch,
        .fed = row->leader != -1,
        .whole = row->isr.count == row->replicas.count,
        .moving = moving,
        .count = (uint8_t)replicas->count,
    };
    for (uint32_t i = 0; i < replicas->count; i++) {
        out->replicas[i] = index_of[replicas->ids[i]];
    }
}

static ria_err read_partitions(
    struct coordinator *coordinator,
    struct ria_arena *arena,
    struct rebalance *plan,
    const uint16_t index_of[RIA_NODES_MAX + 1]
)
{
    struct rows rows = rows_of(arena, sizeof(struct rebalance_partition));
    struct partition_walk *walk = ria_arena_alloc(arena, sizeof(*walk));

    if (walk == NULL) {
        return ria_arena_err(arena);
    }
    partition_walk_all(walk, coordinator->db);
    while (partition_walk_next(walk)) {
        for (uint32_t i = 0; i < walk->count; i++) {
            struct rebalance_partition *partition = rows_add(&rows);
            if (partition == NULL) {
                return ria_arena_err(arena);
            }
            fill(&walk->rows[i], index_of, partition);
        }
    }
    plan->partitions = rows.items;
    plan->partition_count = rows.count;
    return RIA_OK;
}

ria_err planning_make(
    struct coordinator *coordinator,
    planning_kind kind,
    int32_t node_id,
    struct ria_arena *arena,
    struct rebalance *out_plan
)
{
    uint16_t index_of[RIA_NODES_MAX + 1] = {0};
    struct rebalance plan = {.node_count = 0};

    RIA_TRY(read_nodes(coordinator, kind == PLANNING_EMPTY ? node_id : -1, arena, &plan, index_of));
    RIA_TRY(read_partitions(coordinator, arena, &plan, index_of));
    switch (kind) {
    case PLANNING_EVEN_OUT:
        rebalance_even_out(&plan);
        break;
    case PLANNING_EMPTY:
        rebalance_empty(&plan);
        break;
    }
    *out_plan = plan;
    return RIA_OK;
}

ria_err planning_ids(
    const struct rebalance *plan,
    const uint16_t *nodes,
    uint32_t count,
    struct ria_arena *arena,
    int32_t **out_ids
)
{
    int32_t *ids = ria_arena_alloc_array(arena, count, sizeof(*ids));

    if (ids == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = plan->nodes[nodes[i]].id;
    }
    *out_ids = ids;
    return RIA_OK;
}
