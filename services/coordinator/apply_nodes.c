/* Commands about storage nodes: RegisterNode, AlterIsr. */
#include <inttypes.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/alter_isr_request.h"
#include "schemas/gen/register_node_request.h"

#include "services/coordinator/apply.h"
#include "services/coordinator/node_list.h"

/* ---- RegisterNode ---- */

struct node_row {
    int32_t id;
    int64_t incarnation;
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

static ria_err
update_node(struct apply *apply, const struct register_node_request *request, int32_t node_id)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_NODE_RESTART);

    meta_bind_int(stmt, 1, node_id);
    meta_bind_int(stmt, 2, request->incarnation);
    meta_bind_text(stmt, 3, request->address);
    meta_bind_text(stmt, 4, request->rack);
    meta_bind_int(stmt, 5, apply->command->time_ms);
    meta_bind_int(stmt, 6, apply_version(apply));
    return meta_run(stmt);
}

/* The node may have lost what it had not synced: followers find out where to cut by the new epoch.
 */
static ria_err new_epochs(struct apply *apply, int32_t node_id)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_NODE_LED_NEW_EPOCH);

    meta_bind_int(stmt, 1, node_id);
    meta_bind_int(stmt, 2, apply_version(apply));
    return meta_run(stmt);
}

ria_err apply_register_node(struct apply *apply, const void *body)
{
    const struct register_node_request *request = body;
    struct node_row node = {0};

    RIA_TRY(check_register(apply, request));
    if (!find_node(apply, request, &node)) {
        node.id = (int32_t)apply->next_node_id;
        RIA_TRY(insert_node(apply, request));
    } else if (node.incarnation != request->incarnation) {
        RIA_TRY(update_node(apply, request, node.id));
        RIA_TRY(new_epochs(apply, node.id));
    } else if (!node.same_place) {
        RIA_TRY(update_node(apply, request, node.id));
    }
    apply->result->response.register_node = (struct register_node_response){
        .node_id = node.id,
        .cluster_id = apply->cluster_id,
    };
    return RIA_OK;
}

/* ---- AlterIsr ---- */

struct partition_row {
    int32_t leader;
    int32_t leader_epoch;
    int32_t partition_epoch;
    struct node_list replicas;
};

static bool find_partition(
    struct apply *apply, const struct alter_isr_request *request, struct partition_row *out
)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_PARTITION_GET);

    meta_bind_uuid(stmt, 1, &request->topic_id);
    meta_bind_int(stmt, 2, request->partition);
    bool found = meta_step(stmt);
    if (found) {
        out->leader = (int32_t)meta_column_int(stmt, 0);
        out->leader_epoch = (int32_t)meta_column_int(stmt, 1);
        out->partition_epoch = (int32_t)meta_column_int(stmt, 2);
        ria_err err = node_list_parse(meta_column_text(stmt, 3), &out->replicas);
        RIA_ASSERT(err == RIA_OK);
    }
    meta_done(stmt);
    return found;
}

static ria_err missing_partition(struct apply *apply, const struct alter_isr_request *request)
{
    char id[RIA_UUID_TEXT_SIZE];
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_BY_ID);

    meta_bind_uuid(stmt, 1, &request->topic_id);
    bool exists = meta_step(stmt) && meta_column_int(stmt, 1) == 0;
    meta_done(stmt);
    ria_uuid_format(request->topic_id, id);
    if (!exists) {
        return apply_fail(apply, RIA_ERR_UNKNOWN_TOPIC, "topicId %s does not exist", id);
    }
    return apply_fail(
        apply,
        RIA_ERR_UNKNOWN_PARTITION,
        "partition %" PRId32 " of topicId %s does not exist",
        request->partition,
        id
    );
}

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
    struct apply *apply, const struct alter_isr_request *request, const struct partition_row *row
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
    return RIA_OK;
}

ria_err apply_alter_isr(struct apply *apply, const void *body)
{
    const struct alter_isr_request *request = body;
    struct partition_row row;
    char isr[NODE_LIST_TEXT_SIZE];

    if (!find_partition(apply, request, &row)) {
        return missing_partition(apply, request);
    }
    RIA_TRY(check_basis(apply, request, &row));
    RIA_TRY(check_isr(apply, request, &row));

    int32_t partition_epoch = row.partition_epoch + 1;
    struct meta_stmt *stmt = meta_query(apply->db, META_PARTITION_SET_ISR);
    node_list_format(request->isr, request->isr_count, isr);
    meta_bind_uuid(stmt, 1, &request->topic_id);
    meta_bind_int(stmt, 2, request->partition);
    meta_bind_text(stmt, 3, ria_slice_cstr(isr));
    meta_bind_int(stmt, 4, partition_epoch);
    meta_bind_int(stmt, 5, apply_version(apply));
    RIA_TRY(meta_run(stmt));
    apply->result->response.alter_isr.partition_epoch = partition_epoch;
    return RIA_OK;
}
