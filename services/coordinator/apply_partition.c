/* Nodes and partitions as commands read and write them: the one place where a partition's row, its
 * replicas' rows and the nodes' counters change together. */
#include <inttypes.h>

#include "common/assert.h"
#include "common/limits.h"

#include "services/coordinator/apply.h"
#include "services/shared/topic_config.h"

/* ---- nodes ---- */

bool apply_find_node(struct apply *apply, int32_t node_id, struct node_state_row *out_row)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_NODE_BY_ID);

    meta_bind_int(stmt, 1, node_id);
    bool found = meta_step(stmt);
    if (found) {
        *out_row = (struct node_state_row){
            .incarnation = meta_column_int(stmt, 0),
            .state = (enum node_state)meta_column_int(stmt, 1),
            .draining = meta_column_int(stmt, 2) != 0,
            .replica_count = meta_column_int(stmt, 3),
            .leader_count = meta_column_int(stmt, 4),
            .drain_epoch = (int32_t)meta_column_int(stmt, 5),
        };
    }
    meta_done(stmt);
    return found;
}

ria_err apply_set_node_state(struct apply *apply, int32_t node_id, enum node_state state)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_NODE_SET_STATE);

    meta_bind_int(stmt, 1, node_id);
    meta_bind_int(stmt, 2, state);
    meta_bind_int(stmt, 3, apply_version(apply));
    return meta_run(stmt);
}

struct node_set apply_usable_nodes(struct apply *apply)
{
    struct node_set usable = {{0}};
    struct node_state_row node;

    for (uint32_t i = 0; i < apply->command->live_nodes_count; i++) {
        int32_t id = apply->command->live_nodes[i];
        if (apply_find_node(apply, id, &node) && node.state == NODE_ACTIVE) {
            node_set_add(&usable, id);
        }
    }
    return usable;
}

/* ---- the nodes' counters ---- */

ria_err
apply_add_load(struct apply *apply, int32_t node_id, int64_t more_replicas, int64_t more_leaders)
{
    RIA_ASSERT(node_id >= 0);
    RIA_ASSERT(node_id <= RIA_NODES_MAX);

    if (apply->loads == NULL) {
        apply->loads =
            ria_arena_alloc_array(apply->arena, RIA_NODES_MAX + 1, sizeof(apply->loads[0]));
        if (apply->loads == NULL) {
            return ria_arena_err(apply->arena);
        }
    }
    apply->loads[node_id].replicas += more_replicas;
    apply->loads[node_id].leaders += more_leaders;
    return RIA_OK;
}

ria_err apply_write_loads(struct apply *apply)
{
    for (int32_t id = 0; apply->loads != NULL && id <= RIA_NODES_MAX; id++) {
        const struct node_load *load = &apply->loads[id];
        if (load->replicas == 0 && load->leaders == 0) {
            continue;
        }
        struct meta_stmt *stmt = meta_query(apply->db, META_NODE_LOAD);
        meta_bind_int(stmt, 1, id);
        meta_bind_int(stmt, 2, load->replicas);
        meta_bind_int(stmt, 3, load->leaders);
        RIA_TRY(meta_run(stmt));
    }
    return RIA_OK;
}

/* ---- reading partitions ---- */

static void read_config(struct apply *apply, const struct ria_uuid *topic_id)
{
    char reason[512];
    struct topic_config config;
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_BY_ID);

    meta_bind_uuid(stmt, 1, topic_id);
    bool found = meta_step(stmt);
    RIA_ASSERT(found);
    topic_config_init(&config, (int)meta_column_int(stmt, 3));
    bool was_relaxed = meta_column_int(stmt, 6) != 0;
    meta_done(stmt);
    stmt = meta_query(apply->db, META_TOPIC_CONFIGS);
    meta_bind_uuid(stmt, 1, topic_id);
    while (meta_step(stmt)) {
        ria_err err = topic_config_set(
            &config, meta_column_text(stmt, 0), meta_column_text(stmt, 1), reason, sizeof(reason)
        );
        RIA_ASSERT(err == RIA_OK); /* it was checked when the topic was made */
    }
    meta_done(stmt);
    apply->min_insync = config.min_insync_replicas;
    apply->relaxed = was_relaxed || config.durability == TOPIC_DURABILITY_RELAXED;
    apply->config_topic = *topic_id;
}

int64_t apply_min_insync(struct apply *apply, const struct ria_uuid *topic_id)
{
    if (!ria_uuid_equal(apply->config_topic, *topic_id)) {
        read_config(apply, topic_id);
    }
    return apply->min_insync;
}

bool apply_is_relaxed(struct apply *apply, const struct ria_uuid *topic_id)
{
    (void)apply_min_insync(apply, topic_id);
    return apply->relaxed;
}

ria_err apply_get_partition(
    struct apply *apply,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct partition_row *out_row
)
{
    char id[RIA_UUID_TEXT_SIZE];

    if (partition_row_read(apply->db, topic_id, partition, out_row)) {
        return RIA_OK;
    }
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_BY_ID);
    meta_bind_uuid(stmt, 1, topic_id);
    bool known = meta_step(stmt);
    bool exists = known && meta_column_int(stmt, 1) == 0;
    struct ria_slice name = known ? meta_column_text(stmt, 0) : RIA_SLICE_EMPTY;
    ria_err err = exists ? RIA_ERR_UNKNOWN_PARTITION : RIA_ERR_UNKNOWN_TOPIC;
    ria_uuid_format(*topic_id, id);
    if (!known) {
        err = apply_fail(apply, err, "topicId %s does not exist", id);
    } else if (!exists) {
        err =
            apply_fail(apply, err, "topic \"" RIA_SLICE_FMT "\" was deleted", RIA_SLICE_ARG(name));
    } else {
        err = apply_fail(
            apply,
            err,
            "partition %" PRId32 " of topic " RIA_SLICE_FMT " does not exist",
            partition,
            RIA_SLICE_ARG(name)
        );
    }
    meta_done(stmt);
    return err;
}

/* ---- writing them ---- */

static void bind_list(struct meta_stmt *stmt, int position, const struct node_list *list)
{
    char text[NODE_LIST_TEXT_SIZE];

    node_list_format(list->ids, list->count, text);
    meta_bind_text(stmt, position, ria_slice_cstr(text));
}

static bool same_sync(const struct partition_row *a, const struct partition_row *b)
{
    return node_list_equal(&a->isr, &b->isr) && node_list_equal(&a->eligible, &b->eligible) &&
           node_list_equal(&a->unfit, &b->unfit);
}

static bool same_rest(const struct partition_row *a, const struct partition_row *b)
{
    return a->leader == b->leader && a->leader_epoch == b->leader_epoch &&
           a->forced_epoch == b->forced_epoch && node_list_equal(&a->replicas, &b->replicas) &&
           node_list_equal(&a->target, &b->target) && node_list_equal(&a->dropped, &b->dropped) &&
           node_list_equal(&a->origin, &b->origin);
}

static ria_err
write_replica(struct apply *apply, meta_sql sql, const struct partition_row *row, int32_t node_id)
{
    struct meta_stmt *stmt = meta_query(apply->db, sql);

    meta_bind_int(stmt, 1, node_id);
    meta_bind_uuid(stmt, 2, &row->topic_id);
    meta_bind_int(stmt, 3, row->partition);
    RIA_TRY(meta_run(stmt));
    return apply_add_load(apply, node_id, sql == META_REPLICA_INSERT ? 1 : -1, 0);
}

static ria_err write_replicas(
    struct apply *apply, const struct partition_row *before, const struct partition_row *after
)
{
    for (uint32_t i = 0; i < before->replicas.count; i++) {
        int32_t id = before->replicas.ids[i];
        if (!node_list_has(&after->replicas, id)) {
            RIA_TRY(write_replica(apply, META_REPLICA_DELETE, after, id));
        }
    }
    for (uint32_t i = 0; i < after->replicas.count; i++) {
        int32_t id = after->replicas.ids[i];
        if (!node_list_has(&before->replicas, id)) {
            RIA_TRY(write_replica(apply, META_REPLICA_INSERT, after, id));
        }
    }
    return RIA_OK;
}

/* The leader's count moves, replicas' rows and counts with it. */
static ria_err write_counts(
    struct apply *apply, const struct partition_row *before, const struct partition_row *after
)
{
    if (before->leader != after->leader) {
        apply->result->leader_changes++;
        if (before->leader != -1) {
            RIA_TRY(apply_add_load(apply, before->leader, 0, -1));
        }
        if (after->leader != -1) {
            RIA_TRY(apply_add_load(apply, after->leader, 0, 1));
        }
    }
    return write_replicas(apply, before, after);
}

static void check_row(const struct partition_row *row)
{
    RIA_ASSERT(row->isr.count > 0);
    RIA_ASSERT(row->leader == -1 || node_list_has(&row->isr, row->leader));
    for (uint32_t i = 0; i < row->isr.count; i++) {
        RIA_ASSERT(node_list_has(&row->replicas, row->isr.ids[i]));
        RIA_ASSERT(!node_list_has(&row->eligible, row->isr.ids[i]));
    }
}

ria_err apply_renew_partition(
    struct apply *apply, const struct partition_row *before, struct partition_row *after
)
{
    bool short_form = same_rest(before, after);

    RIA_ASSERT(before->partition_epoch == after->partition_epoch);
    RIA_ASSERT(before->leader_epoch <= after->leader_epoch);
    check_row(after);
    after->partition_epoch++;
    /* The short form spares the indexes on what has not changed. */
    struct meta_stmt *stmt =
        meta_query(apply->db, short_form ? META_PARTITION_SET_SYNC : META_PARTITION_SET);
    meta_bind_uuid(stmt, 1, &after->topic_id);
    meta_bind_int(stmt, 2, after->partition);
    meta_bind_int(stmt, 3, after->partition_epoch);
    bind_list(stmt, 4, &after->isr);
    bind_list(stmt, 5, &after->eligible);
    bind_list(stmt, 6, &after->unfit);
    meta_bind_int(stmt, 7, apply_version(apply));
    if (short_form) {
        return meta_run(stmt);
    }
    meta_bind_int(stmt, 8, after->leader);
    meta_bind_int(stmt, 9, after->leader_epoch);
    meta_bind_int(stmt, 10, after->forced_epoch);
    bind_list(stmt, 11, &after->replicas);
    bind_list(stmt, 12, &after->target);
    bind_list(stmt, 13, &after->dropped);
    bind_list(stmt, 14, &after->origin);
    RIA_TRY(meta_run(stmt));
    return write_counts(apply, before, after);
}

ria_err apply_put_partition(
    struct apply *apply, const struct partition_row *before, struct partition_row *after
)
{
    return same_rest(before, after) && same_sync(before, after)
               ? RIA_OK
               : apply_renew_partition(apply, before, after);
}
