/* Commands that move partitions: ReassignPartitions, AlterNode, AlterRebalance; and the end of a
 * move. docs/design/008-failover.md says why nothing is lost.
 *
 * While a partition moves, `replicas` is its target followed by those of `origin`, the replicas it
 * had before, that are not in it. The move ends when the whole target is in sync and fit
 * (replicas become the target), or when it is called off (they become the origin). Who is a replica
 * no more goes into `dropped`, in the same transaction, and may delete its data.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/alter_node_request.h"
#include "schemas/gen/alter_rebalance_request.h"
#include "schemas/gen/reassign_partitions_request.h"

#include "services/coordinator/apply.h"
#include "services/coordinator/leader_choice.h"

typedef struct reassign_partitions_request_reassigned_partition reassigned;

/* ---- changing the members of a row ---- */

static void intersect(struct node_list *list, const struct node_list *with)
{
    struct node_list kept = {.count = 0};

    for (uint32_t i = 0; i < list->count; i++) {
        if (node_list_has(with, list->ids[i])) {
            kept.ids[kept.count++] = list->ids[i];
        }
    }
    *list = kept;
}

/* first, then those of rest that are not in it. False: more than a partition may have. */
static bool
join(const struct node_list *first, const struct node_list *rest, struct node_list *out_joined)
{
    struct node_list joined = *first;

    for (uint32_t i = 0; i < rest->count; i++) {
        if (node_list_has(&joined, rest->ids[i])) {
            continue;
        }
        if (joined.count == RIA_REPLICAS_MAX) {
            return false;
        }
        joined.ids[joined.count++] = rest->ids[i];
    }
    *out_joined = joined;
    return true;
}

/* The oldest falls out of a full list: its data stays where it is, as an orphan, for want of the
 * word that it may go. Returns whether one did. */
static bool add_dropped(struct partition_row *row, int32_t node_id)
{
    bool full = row->dropped.count == RIA_REPLICAS_MAX;

    if (full) {
        node_list_remove(&row->dropped, row->dropped.ids[0]);
    }
    node_list_add(&row->dropped, node_id);
    return full;
}

/* Is somebody in sync whose copy is whole? */
static bool has_fit(const struct partition_row *row)
{
    for (uint32_t i = 0; i < row->isr.count; i++) {
        if (!node_list_has(&row->unfit, row->isr.ids[i])) {
            return true;
        }
    }
    return false;
}

/* Let the partition have these replicas, in this order.
 *
 * A leader that did not see a replica go and come back would go on counting what it had before it
 * deleted its data. So a replica that comes back begins a new leader epoch, to which older reports
 * mean nothing; and so does one that falls out of `dropped`, the memory of who was there.
 *
 * False, and nothing is changed: nobody would be in sync, or nobody usable to follow the leader, or
 * somebody would be dropped while all in sync are unfit: what they lost may be there only. */
static bool set_replicas(
    struct apply *apply,
    struct partition_row *row,
    const struct node_list *replicas,
    const struct node_set *usable
)
{
    struct partition_row next = *row;
    int32_t epoch = row->leader_epoch;
    bool new_epoch = false;
    bool drops = false;

    intersect(&next.isr, replicas);
    if (next.isr.count == 0) {
        return false;
    }
    intersect(&next.eligible, replicas);
    intersect(&next.unfit, replicas);
    next.replicas = *replicas;
    for (uint32_t i = 0; i < row->replicas.count; i++) {
        int32_t id = row->replicas.ids[i];
        if (!node_list_has(replicas, id)) {
            new_epoch = add_dropped(&next, id) || new_epoch;
            drops = true;
        }
    }
    if (drops && !has_fit(&next)) {
        return false;
    }
    for (uint32_t i = 0; i < replicas->count; i++) {
        new_epoch = new_epoch || node_list_has(&next.dropped, replicas->ids[i]);
        node_list_remove(&next.dropped, replicas->ids[i]);
    }
    if (next.leader != -1 && !node_list_has(replicas, next.leader)) {
        int32_t leader = leader_choice(&next, usable);
        if (leader == -1) {
            return false;
        }
        leader_set(&next, leader, apply_min_insync(apply, &next.topic_id));
    }
    if (new_epoch && next.leader_epoch == epoch) {
        next.leader_epoch++;
    }
    *row = next;
    return true;
}

/* If nobody of the target may lead just now, the move goes on; the coordinator looks again. */
static void
end_if_reached(struct apply *apply, struct partition_row *row, const struct node_set *usable)
{
    const struct node_list target = row->target;

    if (partition_row_is_reached(row) && set_replicas(apply, row, &target, usable)) {
        row->target.count = 0;
        row->origin.count = 0;
    }
}

ria_err apply_moves_settle(struct apply *apply, const struct partition_row *row)
{
    struct partition_row after = *row;

    if (!partition_row_is_reached(row)) {
        return RIA_OK;
    }
    const struct node_set usable = apply_usable_nodes(apply);
    end_if_reached(apply, &after, &usable);
    return apply_put_partition(apply, row, &after);
}

/* ---- ReassignPartitions ---- */

/* "partition 3 of topic "orders"", for error texts. */
struct partition_name {
    char text[RIA_TOPIC_NAME_MAX + 64];
};

static struct partition_name name_of(struct apply *apply, const struct partition_row *row)
{
    struct partition_name name;
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_BY_ID);

    meta_bind_uuid(stmt, 1, &row->topic_id);
    bool found = meta_step(stmt);
    RIA_ASSERT(found);
    (void)snprintf(
        name.text,
        sizeof(name.text),
        "partition %" PRId32 " of topic \"" RIA_SLICE_FMT "\"",
        row->partition,
        RIA_SLICE_ARG(meta_column_text(stmt, 0))
    );
    meta_done(stmt);
    return name;
}

static int64_t replication_factor(struct apply *apply, const struct ria_uuid *topic_id)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_BY_ID);

    meta_bind_uuid(stmt, 1, topic_id);
    bool found = meta_step(stmt);
    RIA_ASSERT(found); /* the partition was found */
    int64_t factor = meta_column_int(stmt, 3);
    meta_done(stmt);
    return factor;
}

/* A node that is to have a replica: one it has already may stay whatever the node's state is. */
static ria_err check_node(struct apply *apply, const struct partition_row *row, int32_t node_id)
{
    struct node_state_row node;

    if (!apply_find_node(apply, node_id, &node)) {
        return apply_fail(
            apply,
            RIA_ERR_INVALID,
            "target of %s has node %" PRId32 ", which does not exist",
            name_of(apply, row).text,
            node_id
        );
    }
    bool takes = node.state == NODE_ACTIVE && !node.draining;
    if (!takes && !node_list_has(&row->replicas, node_id)) {
        return apply_fail(
            apply,
            RIA_ERR_INVALID,
            "target of %s has node %" PRId32 ", which %s",
            name_of(apply, row).text,
            node_id,
            node.state == NODE_REMOVED  ? "was removed"
            : node.state != NODE_ACTIVE ? "is not there: it is silent or has shut down"
                                        : "is being drained"
        );
    }
    return RIA_OK;
}

static ria_err check_target(
    struct apply *apply,
    const reassigned *request,
    const struct partition_row *row,
    struct node_list *out_target
)
{
    struct node_list target = {.count = 0};
    int64_t factor = replication_factor(apply, &row->topic_id);

    if ((int64_t)request->target_count != factor) {
        return apply_fail(
            apply,
            RIA_ERR_INVALID,
            "target of %s has %" PRIu32 " nodes, but the topic has %" PRId64
            " replicas: the number cannot be changed by a move",
            name_of(apply, row).text,
            request->target_count,
            factor
        );
    }
    for (uint32_t i = 0; i < request->target_count; i++) {
        if (node_list_has(&target, request->target[i])) {
            return apply_fail(
                apply,
                RIA_ERR_INVALID,
                "target of %s has node %" PRId32 " twice",
                name_of(apply, row).text,
                request->target[i]
            );
        }
        RIA_TRY(check_node(apply, row, request->target[i]));
        target.ids[target.count++] = request->target[i];
    }
    *out_target = target;
    return RIA_OK;
}

static ria_err
check_epoch(struct apply *apply, const reassigned *request, const struct partition_row *row)
{
    if (request->partition_epoch != -1 && request->partition_epoch != row->partition_epoch) {
        return apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "partitionEpoch is %" PRId32 ", %s is in %" PRId32,
            request->partition_epoch,
            name_of(apply, row).text,
            row->partition_epoch
        );
    }
    return RIA_OK;
}

/* Replicas of an earlier target that the new one does not have are dropped at once. */
static ria_err begin(
    struct apply *apply,
    struct partition_row *row,
    const struct node_list *target,
    const struct node_set *usable
)
{
    struct node_list replicas;
    const struct node_list origin = row->target.count > 0 ? row->origin : row->replicas;

    if (row->target.count == 0 && node_list_equal(target, &row->replicas)) {
        return RIA_OK;
    }
    if (!join(target, &origin, &replicas)) {
        return apply_fail(
            apply,
            RIA_ERR_LIMIT,
            "%s would have more than %d replicas while it moves: move it in steps",
            name_of(apply, row).text,
            (int)RIA_REPLICAS_MAX
        );
    }
    if (!set_replicas(apply, row, &replicas, usable)) {
        return apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "only nodes that are neither in the old nor in the new target of %s are in sync",
            name_of(apply, row).text
        );
    }
    row->target = *target;
    row->origin = origin;
    end_if_reached(apply, row, usable);
    return RIA_OK;
}

static ria_err
call_off(struct apply *apply, struct partition_row *row, const struct node_set *usable)
{
    const struct node_list origin = row->origin;

    if (row->target.count == 0) {
        return RIA_OK;
    }
    if (!set_replicas(apply, row, &origin, usable)) {
        return apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "the move of %s cannot be called off: none of the replicas it had before may lead",
            name_of(apply, row).text
        );
    }
    row->target.count = 0;
    row->origin.count = 0;
    return RIA_OK;
}

static ria_err
reassign(struct apply *apply, const reassigned *request, const struct node_set *usable)
{
    struct partition_row before;
    struct node_list target;

    RIA_TRY(apply_get_partition(apply, &request->topic_id, request->partition, &before));
    RIA_TRY(check_epoch(apply, request, &before));
    struct partition_row after = before;
    if (request->target_count == 0) {
        RIA_TRY(call_off(apply, &after, usable));
    } else {
        RIA_TRY(check_target(apply, request, &before, &target));
        RIA_TRY(begin(apply, &after, &target, usable));
    }
    return apply_put_partition(apply, &before, &after);
}

static int64_t count_moves(struct apply *apply)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_MOVES_COUNT);
    bool found = meta_step(stmt);

    RIA_ASSERT(found);
    int64_t count = meta_column_int(stmt, 0);
    meta_done(stmt);
    return count;
}

ria_err apply_reassign_partitions(struct apply *apply, const void *body)
{
    const struct reassign_partitions_request *request = body;
    const struct node_set usable = apply_usable_nodes(apply);
    int64_t before = count_moves(apply);

    for (uint32_t i = 0; i < request->partitions_count; i++) {
        RIA_TRY(reassign(apply, &request->partitions[i], &usable));
    }
    int64_t moves = count_moves(apply);
    if (moves > before && moves > STATE_MOVES_MAX) {
        return apply_fail(
            apply,
            RIA_ERR_LIMIT,
            "%" PRId64 " partitions would be moving at once, at most %d may",
            moves,
            (int)STATE_MOVES_MAX
        );
    }
    apply->result->response.reassign_partitions.version = apply->version;
    return RIA_OK;
}

/* ---- AlterNode ---- */

enum { NODE_DRAIN = 1, NODE_KEEP = 2, NODE_REMOVE = 3 };

static ria_err set_draining(struct apply *apply, int32_t node_id, bool draining)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_NODE_SET_DRAINING);

    meta_bind_int(stmt, 1, node_id);
    meta_bind_int(stmt, 2, draining ? 1 : 0);
    meta_bind_int(stmt, 3, apply_version(apply));
    return meta_run(stmt);
}

static ria_err remove_node(struct apply *apply, int32_t node_id, const struct node_state_row *node)
{
    if (node->replica_count > 0) {
        return apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "node %" PRId32 " has %" PRId64 " replicas: drain it first",
            node_id,
            node->replica_count
        );
    }
    if (node->state == NODE_ACTIVE) {
        return apply_fail(
            apply, RIA_ERR_CONFLICT, "node %" PRId32 " is running: stop it first", node_id
        );
    }
    RIA_TRY(set_draining(apply, node_id, false));
    return apply_set_node_state(apply, node_id, NODE_REMOVED);
}

ria_err apply_alter_node(struct apply *apply, const void *body)
{
    const struct alter_node_request *request = body;
    struct node_state_row node;

    RIA_TRY(apply_check_range(apply, "action", request->action, NODE_DRAIN, NODE_REMOVE));
    if (!apply_find_node(apply, request->node_id, &node)) {
        return apply_fail(apply, RIA_ERR_NOT_FOUND, "there is no node %" PRId32, request->node_id);
    }
    apply->result->response.alter_node.replicas = (int32_t)node.replica_count;
    if (node.state == NODE_REMOVED) {
        return request->action == NODE_REMOVE
                   ? RIA_OK
                   : apply_fail(
                         apply, RIA_ERR_CONFLICT, "node %" PRId32 " was removed", request->node_id
                     );
    }
    if (request->drain_epoch != -1 && request->drain_epoch != node.drain_epoch) {
        return apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "a drain of node %" PRId32 " has begun or ended since: look again",
            request->node_id
        );
    }
    if (request->action == NODE_REMOVE) {
        return remove_node(apply, request->node_id, &node);
    }
    bool draining = request->action == NODE_DRAIN;
    return node.draining == draining ? RIA_OK : set_draining(apply, request->node_id, draining);
}

/* ---- AlterRebalance ---- */

ria_err apply_alter_rebalance(struct apply *apply, const void *body)
{
    const struct alter_rebalance_request *request = body;
    struct meta_stmt *stmt = meta_query(apply->db, META_REBALANCING_GET);
    bool found = meta_step(stmt);

    RIA_ASSERT(found);
    apply->result->response.alter_rebalance.was_running = meta_column_int(stmt, 0) != 0;
    meta_done(stmt);
    stmt = meta_query(apply->db, META_REBALANCING_SET);
    meta_bind_int(stmt, 1, request->run ? 1 : 0);
    return meta_run(stmt);
}
