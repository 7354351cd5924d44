/* Commands that decide who leads: FenceNodes, ElectLeaders, ElectLeader, ShutdownNode,
 * ReportReplicas. The rules are leader_choice.h's; docs/design/008-failover.md says why. */
#include <inttypes.h>

#include "common/assert.h"

#include "schemas/gen/elect_leader_request.h"
#include "schemas/gen/elect_leaders.h"
#include "schemas/gen/fence_nodes.h"
#include "schemas/gen/report_replicas_request.h"
#include "schemas/gen/shutdown_node_request.h"

#include "services/coordinator/apply.h"
#include "services/coordinator/leader_choice.h"

/* ---- many partitions ---- */

ria_err apply_elect_leaderless(struct apply *apply, const struct node_set *usable)
{
    struct partition_walk walk;

    partition_walk_led(&walk, apply->db, -1);
    while (partition_walk_next(&walk)) {
        for (uint32_t i = 0; i < walk.count; i++) {
            struct partition_row row = walk.rows[i];
            int32_t leader = leader_choice(&row, usable);
            if (leader != -1) {
                leader_set(&row, leader, apply_min_insync(apply, &row.topic_id));
                RIA_TRY(apply_put_partition(apply, &walk.rows[i], &row));
            }
        }
    }
    return RIA_OK;
}

/* The node leaves every in-sync set it may leave and leads nothing any more; with keep, it goes on
 * leading what nobody else can. */
static ria_err
retire_node(struct apply *apply, int32_t node_id, const struct node_set *usable, bool keep)
{
    struct partition_walk walk;

    partition_walk_node(&walk, apply->db, node_id);
    while (partition_walk_next(&walk)) {
        for (uint32_t i = 0; i < walk.count; i++) {
            struct partition_row row = walk.rows[i];
            leader_retire(&row, node_id, usable, apply_min_insync(apply, &row.topic_id), keep);
            RIA_TRY(apply_put_partition(apply, &walk.rows[i], &row));
        }
    }
    return RIA_OK;
}

/* ---- FenceNodes ---- */

/* Compare and set of the node's state. A node that said it shuts down keeps that state, but what it
 * went on leading for want of another has no leader from now on. */
static ria_err
change_state(struct apply *apply, const struct fence_nodes_fenced_node *entry, bool *out_done)
{
    struct node_state_row node;
    bool known = apply_find_node(apply, entry->node_id, &node) &&
                 node.incarnation == entry->incarnation && node.state != NODE_REMOVED;

    *out_done = false;
    if (known && entry->fenced && node.state != NODE_SILENT) {
        *out_done = node.state == NODE_ACTIVE || node.leader_count > 0;
        return node.state == NODE_ACTIVE ? apply_set_node_state(apply, entry->node_id, NODE_SILENT)
                                         : RIA_OK;
    }
    if (known && !entry->fenced && node.state == NODE_SILENT) {
        *out_done = true;
        return apply_set_node_state(apply, entry->node_id, NODE_ACTIVE);
    }
    return RIA_OK;
}

ria_err apply_fence_nodes(struct apply *apply, const void *body)
{
    const struct fence_nodes *request = body;
    bool *done = ria_arena_alloc_array(apply->arena, request->nodes_count, sizeof(*done));
    bool back = false;

    if (done == NULL) {
        return ria_arena_err(apply->arena);
    }
    /* All states first: none of them may be chosen for another. */
    for (uint32_t i = 0; i < request->nodes_count; i++) {
        RIA_TRY(change_state(apply, &request->nodes[i], &done[i]));
        back = back || (done[i] && !request->nodes[i].fenced);
    }
    const struct node_set usable = apply_usable_nodes(apply);
    for (uint32_t i = 0; i < request->nodes_count; i++) {
        if (done[i] && request->nodes[i].fenced) {
            RIA_TRY(retire_node(apply, request->nodes[i].node_id, &usable, false));
        }
    }
    return back ? apply_elect_leaderless(apply, &usable) : RIA_OK;
}

/* ---- ElectLeaders ---- */

enum { ELECT_NO_LEADER = 1, ELECT_PREFERRED = 2 };

/* A leader that is fenced is one that nobody could replace when it was. */
static bool leader_is_fenced(struct apply *apply, const struct partition_row *row)
{
    struct node_state_row node;

    return row->leader != -1 && apply_find_node(apply, row->leader, &node) &&
           node.state != NODE_ACTIVE;
}

static void
elect(struct apply *apply, int8_t reason, const struct node_set *usable, struct partition_row *row)
{
    int64_t min_insync = apply_min_insync(apply, &row->topic_id);

    if (reason == ELECT_PREFERRED) {
        int32_t preferred = leader_preferred(row, usable);
        if (preferred != -1) {
            leader_set(row, preferred, min_insync);
        }
    } else if (leader_is_fenced(apply, row)) {
        leader_retire(row, row->leader, usable, min_insync, true);
    } else if (row->leader == -1) {
        int32_t leader = leader_choice(row, usable);
        if (leader != -1) {
            leader_set(row, leader, min_insync);
        }
    }
}

ria_err apply_elect_leaders(struct apply *apply, const void *body)
{
    const struct elect_leaders *request = body;
    const struct node_set usable = apply_usable_nodes(apply);
    struct partition_row before;

    RIA_TRY(apply_check_range(apply, "reason", request->reason, ELECT_NO_LEADER, ELECT_PREFERRED));
    for (uint32_t i = 0; i < request->partitions_count; i++) {
        const struct elect_leaders_elected_partition *entry = &request->partitions[i];
        if (partition_row_read(apply->db, &entry->topic_id, entry->partition, &before) &&
            before.partition_epoch == entry->partition_epoch) {
            struct partition_row after = before;
            elect(apply, request->reason, &usable, &after);
            RIA_TRY(apply_put_partition(apply, &before, &after));
        }
    }
    return RIA_OK;
}

/* ---- ElectLeader ---- */

/* Who is to lead by an operator's word: the node that was asked for or, of those that may be taken,
 * the one that costs least. */
static int32_t pick(
    const struct partition_row *row,
    const struct elect_leader_request *request,
    const struct node_set *usable
)
{
    int32_t node_id = request->node == -1 ? leader_choice(row, usable) : request->node;

    for (uint32_t i = 0; i < row->replicas.count && node_id == -1 && request->force; i++) {
        int32_t id = row->replicas.ids[i];
        node_id = node_set_has(usable, id) && !node_list_has(&row->unfit, id) ? id : -1;
    }
    for (uint32_t i = 0; i < row->replicas.count && node_id == -1 && request->force; i++) {
        node_id = node_set_has(usable, row->replicas.ids[i]) ? row->replicas.ids[i] : -1;
    }
    return node_id;
}

static ria_err check_pick(
    struct apply *apply,
    const struct partition_row *row,
    const struct node_set *usable,
    int32_t node_id
)
{
    if (node_id == -1) {
        return apply_fail(
            apply, RIA_ERR_NO_LEADER, "no replica is alive that may lead the partition"
        );
    }
    if (!node_list_has(&row->replicas, node_id)) {
        return apply_fail(
            apply, RIA_ERR_INVALID, "node %" PRId32 " is no replica of the partition", node_id
        );
    }
    if (!node_set_has(usable, node_id)) {
        return apply_fail(
            apply, RIA_ERR_CONFLICT, "node %" PRId32 " is not alive, or is shutting down", node_id
        );
    }
    return RIA_OK;
}

ria_err apply_elect_leader(struct apply *apply, const void *body)
{
    const struct elect_leader_request *request = body;
    const struct node_set usable = apply_usable_nodes(apply);
    struct partition_row before;

    RIA_TRY(apply_get_partition(apply, &request->topic_id, request->partition, &before));
    if (request->partition_epoch != -1 && request->partition_epoch != before.partition_epoch) {
        return apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "partitionEpoch is %" PRId32 ", the partition is in %" PRId32,
            request->partition_epoch,
            before.partition_epoch
        );
    }
    struct partition_row after = before;
    int32_t node_id = pick(&before, request, &usable);
    RIA_TRY(check_pick(apply, &before, &usable, node_id));
    bool clean =
        (node_list_has(&before.isr, node_id) || node_list_has(&before.eligible, node_id)) &&
        !node_list_has(&before.unfit, node_id);
    if (clean && node_id != before.leader) {
        leader_set(&after, node_id, apply_min_insync(apply, &after.topic_id));
    } else if (!clean && !request->force) {
        return apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "node %" PRId32 " may lack committed records; with force it leads, and they are lost",
            node_id
        );
    } else if (!clean && node_id != before.leader) {
        leader_force(&after, node_id);
    }
    RIA_TRY(apply_put_partition(apply, &before, &after));
    apply->result->response.elect_leader = (struct elect_leader_response){
        .leader = after.leader,
        .leader_epoch = after.leader_epoch,
    };
    return RIA_OK;
}

/* ---- a node about itself ---- */

/* RIA_ERR_FENCED_EPOCH: it speaks of another life than the one that is registered. */
static ria_err check_sender(
    struct apply *apply, int32_t node_id, int64_t incarnation, struct node_state_row *out_node
)
{
    if (!apply_find_node(apply, node_id, out_node) || out_node->state == NODE_REMOVED) {
        return apply_fail(apply, RIA_ERR_NOT_FOUND, "there is no node %" PRId32, node_id);
    }
    if (out_node->incarnation != incarnation) {
        return apply_fail(
            apply,
            RIA_ERR_FENCED_EPOCH,
            "node %" PRId32 " is registered with another incarnation",
            node_id
        );
    }
    return RIA_OK;
}

static int64_t pending_leaders(const struct apply *apply, int32_t node_id)
{
    return apply->loads == NULL ? 0 : apply->loads[node_id].leaders;
}

ria_err apply_shutdown_node(struct apply *apply, const void *body)
{
    const struct shutdown_node_request *request = body;
    struct node_state_row node;

    RIA_TRY(check_sender(apply, request->node_id, request->incarnation, &node));
    if (node.state != NODE_SHUT_DOWN) {
        RIA_TRY(apply_set_node_state(apply, request->node_id, NODE_SHUT_DOWN));
    }
    const struct node_set usable = apply_usable_nodes(apply);
    RIA_TRY(retire_node(apply, request->node_id, &usable, true));
    apply->result->response.shutdown_node.leaders_left =
        (int32_t)(node.leader_count + pending_leaders(apply, request->node_id));
    return RIA_OK;
}

/* ---- ReportReplicas ---- */

enum { REPLICA_FIT = 0, REPLICA_FAILED = 1, REPLICA_DAMAGED = 2 };

/* The operator knew that its log lacks something, and there was nothing better. The report may
 * have been on its way since before. */
static bool is_forced(const struct partition_row *row)
{
    return row->forced_epoch >= 0 && row->forced_epoch == row->leader_epoch;
}

/* Failed and damaged are nearly the same to the coordinator: neither leads, both leave the in-sync
 * set if somebody else is in it. But who leads by an operator's word goes on in spite of damage
 * until somebody else can; with a failed log it cannot. */
static void take_report(
    struct apply *apply,
    int32_t node_id,
    int8_t state,
    const struct node_set *usable,
    struct partition_row *row
)
{
    int64_t min_insync = apply_min_insync(apply, &row->topic_id);

    if (state != REPLICA_FIT) {
        bool keep = state == REPLICA_DAMAGED && is_forced(row);
        node_list_add(&row->unfit, node_id);
        leader_retire(row, node_id, usable, min_insync, keep);
        return;
    }
    node_list_remove(&row->unfit, node_id);
    int32_t leader = row->leader == -1 ? leader_choice(row, usable) : -1;
    if (leader != -1) {
        leader_set(row, leader, min_insync);
    }
}

ria_err apply_report_replicas(struct apply *apply, const void *body)
{
    const struct report_replicas_request *request = body;
    const struct node_set usable = apply_usable_nodes(apply);
    struct node_state_row node;
    struct partition_row before;
    int32_t unknown = 0;

    RIA_TRY(check_sender(apply, request->node_id, request->incarnation, &node));
    for (uint32_t i = 0; i < request->replicas_count; i++) {
        const struct report_replicas_request_reported_replica *entry = &request->replicas[i];
        RIA_TRY(
            apply_check_range(apply, "replicas.state", entry->state, REPLICA_FIT, REPLICA_DAMAGED)
        );
        if (!partition_row_read(apply->db, &entry->topic_id, entry->partition, &before) ||
            !node_list_has(&before.replicas, request->node_id)) {
            unknown++;
            continue;
        }
        struct partition_row after = before;
        take_report(apply, request->node_id, entry->state, &usable, &after);
        RIA_TRY(apply_put_partition(apply, &before, &after));
        RIA_TRY(apply_moves_settle(apply, &after));
    }
    apply->result->response.report_replicas.unknown = unknown;
    return RIA_OK;
}
