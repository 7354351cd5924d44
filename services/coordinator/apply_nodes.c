/* Commands about storage nodes: RegisterNode, AlterIsr. */
#include <inttypes.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/alter_isr_request.h"
#include "schemas/gen/register_node_request.h"

#include "services/coordinator/apply.h"
#include "services/coordinator/leader_choice.h"

/* ---- RegisterNode ---- */

struct node_row {
    int32_t id;
    int64_t incarnation;
    enum node_state state;
    bool same_place; /* address and rack are what the request says */
};

static bool
find_node(struct apply *apply, const struct register_node_request *request, struct node_row *out)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_NODE_BY_UUID);

    meta_bind_uuid(stmt, 1, &request->process_uuid);
    bool found = meta_step(stmt);
    if (found) {
        *out = (struct node_row){
            .id = (int32_t)meta_column_int(stmt, 0),
            .incarnation = meta_column_int(stmt, 1),
            .state = (enum node_state)meta_column_int(stmt, 4),
            .same_place = ria_slice_equal(meta_column_text(stmt, 2), request->address) &&
                          ria_slice_equal(meta_column_text(stmt, 3), request->rack),
        };
    }
    meta_done(stmt);
    return found;
}

static ria_err check_register(struct apply *apply, const struct register_node_request *request)
{
    RIA_TRY(apply_check_id(apply, "processUuid", &request->process_uuid));
    if (!ria_uuid_is_zero(request->cluster_id) &&
        !ria_uuid_equal(request->cluster_id, apply->cluster_id)) {
        char theirs[RIA_UUID_TEXT_SIZE];
        char ours[RIA_UUID_TEXT_SIZE];
        ria_uuid_format(request->cluster_id, theirs);
        ria_uuid_format(apply->cluster_id, ours);
        return apply_fail(
            apply,
            RIA_ERR_WRONG_CLUSTER,
            "clusterId is %s, this is cluster %s: the node's data folder belongs to another "
            "cluster",
            theirs,
            ours
        );
    }
    if (request->address.size == 0 ||
        memchr(request->address.data, '\0', request->address.size) != NULL) {
        return apply_fail(apply, RIA_ERR_INVALID, "address must be tcp://host:port");
    }
    if (request->rack.size > 0 && memchr(request->rack.data, '\0', request->rack.size) != NULL) {
        return apply_fail(apply, RIA_ERR_INVALID, "rack must not contain NUL");
    }
    return RIA_OK;
}

static ria_err insert_node(struct apply *apply, const struct register_node_request *request)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_NODE_COUNT);

    bool found = meta_step(stmt);
    RIA_ASSERT(found);
    int64_t count = meta_column_int(stmt, 0);
    meta_done(stmt);
    if (count >= RIA_NODES_MAX) {
        return apply_fail(
            apply, RIA_ERR_LIMIT, "the cluster has %" PRId64 " storage nodes, its limit", count
        );
    }
    stmt = meta_query(apply->db, META_NODE_INSERT);
    meta_bind_int(stmt, 1, apply->next_node_id);
    meta_bind_uuid(stmt, 2, &request->process_uuid);
    meta_bind_int(stmt, 3, request->incarnation);
    meta_bind_text(stmt, 4, request->address);
    meta_bind_text(stmt, 5, request->rack);
    meta_bind_int(stmt, 6, apply->command->time_ms);
    meta_bind_int(stmt, 7, apply_version(apply));
    apply->next_node_id++;
    return meta_run(stmt);
}

/* A new incarnation is active, whatever its last life was; another address changes no state. */
static ria_err update_node(
    struct apply *apply, const struct register_node_request *request, const struct node_row *node
)
{
    bool restarted = node->incarnation != request->incarnation;
    struct meta_stmt *stmt = meta_query(apply->db, META_NODE_RESTART);

    meta_bind_int(stmt, 1, node->id);
    meta_bind_int(stmt, 2, request->incarnation);
    meta_bind_text(stmt, 3, request->address);
    meta_bind_text(stmt, 4, request->rack);
    meta_bind_int(stmt, 5, apply->command->time_ms);
    meta_bind_int(stmt, 6, apply_version(apply));
    meta_bind_int(stmt, 7, restarted ? NODE_ACTIVE : node->state);
    return meta_run(stmt);
}

/* It ended without saying so and was back before anybody missed it. Its log may lack its end: what
 * was only in a page cache, or committed records if damage there was taken for a torn write. So it
 * leaves the in-sync sets in which somebody else is alive, who leads at once, and returns when it
 * has caught up. Of a relaxed topic, of which all may have been in the cache, it is not eligible.
 */
static ria_err leave_sets(struct apply *apply, int32_t node_id, const struct node_set *others)
{
    struct partition_walk walk;

    partition_walk_node(&walk, apply->db, node_id);
    while (partition_walk_next(&walk)) {
        for (uint32_t i = 0; i < walk.count; i++) {
            struct partition_row row = walk.rows[i];
            int32_t other = leader_choice(&row, others);
            if (other != -1 && node_list_has(&row.isr, other)) {
                int64_t min_insync = apply_min_insync(apply, &row.topic_id);
                leader_retire(&row, node_id, others, min_insync, true);
                node_list_remove(&row.eligible, node_id); /* which means: has its whole log */
            }
            if (apply_is_relaxed(apply, &row.topic_id)) {
                node_list_remove(&row.eligible, node_id);
            }
            RIA_TRY(apply_put_partition(apply, &walk.rows[i], &row));
        }
    }
    return RIA_OK;
}

/* What it leads for want of another: followers find out where to cut by the new epoch. */
static ria_err new_epochs(struct apply *apply, int32_t node_id)
{
    struct partition_walk walk;

    partition_walk_led(&walk, apply->db, node_id);
    while (partition_walk_next(&walk)) {
        for (uint32_t i = 0; i < walk.count; i++) {
            struct partition_row row = walk.rows[i];
            leader_set(&row, node_id, apply_min_insync(apply, &row.topic_id));
            RIA_TRY(apply_put_partition(apply, &walk.rows[i], &row));
        }
    }
    return RIA_OK;
}

/* A node that restarted is alive, and may lead what has no leader. */
static ria_err node_restarted(struct apply *apply, const struct node_row *node)
{
    struct node_set usable = apply_usable_nodes(apply);

    if (node->state != NODE_SHUT_DOWN) {
        node_set_remove(&usable, node->id);
        RIA_TRY(leave_sets(apply, node->id, &usable));
    }
    node_set_add(&usable, node->id);
    RIA_TRY(new_epochs(apply, node->id));
    return apply_elect_leaderless(apply, &usable);
}

/* A smaller incarnation is of a former life, and changes nothing: it came late, or its sender is
 * told a larger one, and knows what to do. */
ria_err apply_register_node(struct apply *apply, const void *body)
{
    const struct register_node_request *request = body;
    struct node_row node = {0};

    RIA_TRY(check_register(apply, request));
    if (!find_node(apply, request, &node)) {
        node.id = (int32_t)apply->next_node_id;
        RIA_TRY(insert_node(apply, request));
    } else if (node.state == NODE_REMOVED) {
        return apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "node %" PRId32 " was removed from the cluster: start it with an empty data folder to "
            "let it join as another one",
            node.id
        );
    } else if (node.incarnation < request->incarnation) {
        RIA_TRY(update_node(apply, request, &node));
        RIA_TRY(node_restarted(apply, &node));
    } else if (node.incarnation == request->incarnation && !node.same_place) {
        RIA_TRY(update_node(apply, request, &node));
    }
    apply->result->response.register_node = (struct register_node_response){
        .node_id = node.id,
        .cluster_id = apply->cluster_id,
        .incarnation = ria_max_i64(node.incarnation, request->incarnation),
    };
    return RIA_OK;
}

/* ---- AlterIsr ---- */

/* Compare and set: who asks, under which epoch, based on which state. */
static ria_err check_basis(
    struct apply *apply, const struct alter_isr_request *request, const struct partition_row *row
)
{
    int32_t sender = apply->command->sender_id;

    if (sender != -1 && sender != row->leader) {
        return apply_fail(
            apply,
            RIA_ERR_NOT_LEADER,
            "node %" PRId32 " does not lead the partition, node %" PRId32 " does",
            sender,
            row->leader
        );
    }
    if (request->leader_epoch != row->leader_epoch) {
        bool older = request->leader_epoch < row->leader_epoch;
        return apply_fail(
            apply,
            older ? RIA_ERR_FENCED_EPOCH : RIA_ERR_UNKNOWN_EPOCH,
            "leaderEpoch is %" PRId32 ", the partition is in %" PRId32,
            request->leader_epoch,
            row->leader_epoch
        );
    }
    if (request->partition_epoch != row->partition_epoch) {
        return apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "partitionEpoch is %" PRId32 ", the partition is in %" PRId32,
            request->partition_epoch,
            row->partition_epoch
        );
    }
    return RIA_OK;
}

static ria_err check_isr(
    struct apply *apply,
    const struct alter_isr_request *request,
    const struct partition_row *row,
    struct node_list *out_isr
)
{
    struct node_list seen = {.count = 0};

    for (uint32_t i = 0; i < request->isr_count; i++) {
        if (!node_list_has(&row->replicas, request->isr[i])) {
            return apply_fail(
                apply,
                RIA_ERR_INVALID,
                "isr has node %" PRId32 ", which is no replica of the partition",
                request->isr[i]
            );
        }
        if (node_list_has(&seen, request->isr[i])) {
            return apply_fail(
                apply, RIA_ERR_INVALID, "isr has node %" PRId32 " twice", request->isr[i]
            );
        }
        seen.ids[seen.count++] = request->isr[i];
    }
    if (!node_list_has(&seen, row->leader)) {
        return apply_fail(
            apply, RIA_ERR_INVALID, "isr must have the leader, node %" PRId32, row->leader
        );
    }
    *out_isr = seen;
    return RIA_OK;
}

/* Who joins must be able to: a node that is silent, shuts down or was removed would leave again at
 * once, and could not be chosen. */
static ria_err
check_joining(struct apply *apply, const struct node_list *isr, const struct partition_row *row)
{
    struct node_state_row node;

    for (uint32_t i = 0; i < isr->count; i++) {
        if (node_list_has(&row->isr, isr->ids[i])) {
            continue;
        }
        if (!apply_find_node(apply, isr->ids[i], &node) || node.state != NODE_ACTIVE) {
            return apply_fail(
                apply,
                RIA_ERR_CONFLICT,
                "node %" PRId32 " is fenced and cannot join the in-sync set",
                isr->ids[i]
            );
        }
    }
    return RIA_OK;
}

ria_err apply_alter_isr(struct apply *apply, const void *body)
{
    const struct alter_isr_request *request = body;
    struct partition_row before;
    struct node_list isr = {.count = 0};

    RIA_TRY(apply_get_partition(apply, &request->topic_id, request->partition, &before));
    RIA_TRY(check_basis(apply, request, &before));
    RIA_TRY(check_isr(apply, request, &before, &isr));
    RIA_TRY(check_joining(apply, &isr, &before));

    struct partition_row after = before;
    leader_change_isr(&after, &isr, apply_min_insync(apply, &after.topic_id));
    /* Also the set as it is: its leader ends an attempt that may still be on its way. */
    RIA_TRY(apply_renew_partition(apply, &before, &after));
    apply->result->response.alter_isr.partition_epoch = after.partition_epoch;
    return apply_moves_settle(apply, &after);
}
