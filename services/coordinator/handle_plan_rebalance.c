/* PlanRebalance: what the mover would do, for people. Changes nothing. */
#include <inttypes.h>

#include "common/assert.h"

#include "schemas/gen/plan_rebalance_request.h"
#include "schemas/gen/plan_rebalance_response.h"

#include "services/coordinator/coordinator.h"
#include "services/coordinator/rebalance.h"
#include "services/coordinator/rows.h"

typedef struct plan_rebalance_response_planned_move planned_move;

static ria_err add_move(
    const struct rebalance *plan, const struct rebalance_partition *partition, struct rows *rows
)
{
    planned_move *move = rows_add(rows);

    if (move == NULL) {
        return ria_arena_err(rows->arena);
    }
    move->topic_id = partition->topic_id;
    move->partition = partition->partition;
    move->partition_epoch = partition->partition_epoch;
    move->replicas_count = partition->count;
    move->target_count = partition->count;
    RIA_TRY(planning_ids(plan, partition->replicas, partition->count, rows->arena, &move->replicas)
    );
    return planning_ids(plan, partition->target, partition->count, rows->arena, &move->target);
}

static ria_err add_moves(const struct rebalance *plan, uint32_t moves_max, struct rows *rows)
{
    for (uint32_t i = 0; i < plan->partition_count && rows->count < moves_max; i++) {
        if (plan->partitions[i].changed) {
            RIA_TRY(add_move(plan, &plan->partitions[i], rows));
        }
    }
    return RIA_OK;
}

static bool has_node(struct coordinator *coordinator, int32_t node_id)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_NODE_BY_ID);

    meta_bind_int(stmt, 1, node_id);
    bool found = meta_step(stmt);
    meta_done(stmt);
    return found;
}

static ria_err answer(
    struct coordinator *coordinator,
    const struct plan_rebalance_request *request,
    struct plan_rebalance_response *response
)
{
    struct rebalance plan;
    struct rows rows = rows_of(&coordinator->arena, sizeof(planned_move));
    planning_kind kind = request->kind == 1 ? PLANNING_EVEN_OUT : PLANNING_EMPTY;

    RIA_TRY(planning_make(coordinator, kind, request->node_id, &coordinator->arena, &plan));
    RIA_TRY(add_moves(&plan, (uint32_t)request->moves_max, &rows));
    *response = (struct plan_rebalance_response){
        .version = coordinator->version,
        .moves = rows.items,
        .moves_count = rows.count,
        .stuck = (int32_t)plan.stuck,
        .skipped = (int32_t)plan.skipped,
        .moving = (int32_t)mover_count(coordinator),
        .rebalancing = mover_is_rebalancing(coordinator),
        .moves_max = mover_moves_max(coordinator),
    };
    return RIA_OK;
}

void handle_plan_rebalance(struct coordinator *coordinator, const struct coordinator_call *call)
{
    struct plan_rebalance_request request;
    struct plan_rebalance_response response;

    if (!coordinator_decode(coordinator, call, &request)) {
        return;
    }
    if (request.kind < 1 || request.kind > 2) {
        coordinator_refuse(
            coordinator, call, RIA_ERR_INVALID, "kind is %d, must be 1..2", request.kind
        );
        return;
    }
    if (request.moves_max < 0 || request.moves_max > PLANNING_MOVES_MAX) {
        coordinator_refuse(
            coordinator,
            call,
            RIA_ERR_INVALID,
            "movesMax is %" PRId32 ", must be 0..%d",
            request.moves_max,
            (int)PLANNING_MOVES_MAX
        );
        return;
    }
    if (request.kind == 2 && request.node_id != -1 && !has_node(coordinator, request.node_id)) {
        coordinator_refuse(
            coordinator, call, RIA_ERR_NOT_FOUND, "there is no node %" PRId32, request.node_id
        );
        return;
    }
    ria_err err = answer(coordinator, &request, &response);
    if (err != RIA_OK) {
        coordinator_refuse(coordinator, call, err, "%s", ria_err_text(err));
        return;
    }
    coordinator_reply(coordinator, call, &response);
}
