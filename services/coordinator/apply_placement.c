/* Placing a topic's partitions on nodes, and taking them off again. */
#include <inttypes.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "services/coordinator/apply.h"
#include "services/coordinator/node_list.h"
#include "services/coordinator/placement.h"

static bool is_live(const struct command *command, int32_t node_id)
{
    uint32_t low = 0;
    uint32_t high = command->live_nodes_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (command->live_nodes[middle] < node_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < command->live_nodes_count && command->live_nodes[low] == node_id;
}

/* Registered nodes that the command says are alive, that are neither fenced nor to be emptied,
 * ascending by id. */
static ria_err
load_live_nodes(struct apply *apply, struct placement_node **out_nodes, uint32_t *out_count)
{
    uint32_t count = 0;
    struct placement_node *nodes =
        ria_arena_alloc_array(apply->arena, apply->command->live_nodes_count, sizeof(*nodes));

    if (nodes == NULL) {
        return ria_arena_err(apply->arena);
    }
    struct meta_stmt *stmt = meta_query(apply->db, META_NODES_BY_ID);
    while (meta_step(stmt)) {
        int32_t id = (int32_t)meta_column_int(stmt, 0);
        bool active = meta_column_int(stmt, 6) == NODE_ACTIVE && meta_column_int(stmt, 7) == 0;
        if (!active || !is_live(apply->command, id)) {
            continue;
        }
        struct placement_node *node = &nodes[count++];
        struct ria_slice rack = meta_column_text(stmt, 3);
        *node = (struct placement_node){
            .id = id,
            .replicas = meta_column_int(stmt, 4),
            .leaders = meta_column_int(stmt, 5),
        };
        RIA_ASSERT(rack.size < sizeof(node->rack));
        memcpy(node->rack, rack.data, rack.size);
    }
    meta_done(stmt);
    *out_nodes = nodes;
    *out_count = count;
    return RIA_OK;
}

static ria_err write_partition(
    struct apply *apply, const struct topic_spec *spec, int32_t partition, const int32_t *replicas
)
{
    char text[NODE_LIST_TEXT_SIZE];
    struct meta_stmt *stmt = meta_query(apply->db, META_PARTITION_INSERT);

    node_list_format(replicas, (uint32_t)spec->replication_factor, text);
    meta_bind_uuid(stmt, 1, &spec->id);
    meta_bind_int(stmt, 2, partition);
    meta_bind_int(stmt, 3, replicas[0]);
    meta_bind_text(stmt, 4, ria_slice_cstr(text));
    meta_bind_int(stmt, 5, apply_version(apply));
    RIA_TRY(meta_run(stmt));
    for (int i = 0; i < spec->replication_factor; i++) {
        stmt = meta_query(apply->db, META_REPLICA_INSERT);
        meta_bind_int(stmt, 1, replicas[i]);
        meta_bind_uuid(stmt, 2, &spec->id);
        meta_bind_int(stmt, 3, partition);
        RIA_TRY(meta_run(stmt));
        RIA_TRY(apply_add_load(apply, replicas[i], 1, i == 0 ? 1 : 0));
    }
    return RIA_OK;
}

static struct placement_node *node_of(struct placement_node *nodes, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (nodes[i].id == id) {
            return &nodes[i];
        }
    }
    return NULL;
}

/* What the topic's partitions have already taken of the nodes. */
static void count_placed(
    struct apply *apply, const struct ria_uuid *id, struct placement_node *nodes, uint32_t count
)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_PARTITIONS_OF_TOPIC);

    meta_bind_uuid(stmt, 1, id);
    while (meta_step(stmt)) {
        struct node_list replicas;
        ria_err err = node_list_parse(meta_column_text(stmt, 1), &replicas);
        RIA_ASSERT(err == RIA_OK);
        for (uint32_t i = 0; i < replicas.count; i++) {
            struct placement_node *node = node_of(nodes, count, replicas.ids[i]);
            if (node != NULL) {
                node->topic_replicas++;
                node->topic_leaders += replicas.ids[i] == meta_column_int(stmt, 0) ? 1 : 0;
            }
        }
    }
    meta_done(stmt);
}

static ria_err place_all(
    struct apply *apply, const struct topic_spec *spec, struct placement_node *nodes, uint32_t count
)
{
    struct placement placement;
    int32_t replicas[RIA_REPLICAS_MAX];
    uint32_t *rack_used = ria_arena_alloc_array(apply->arena, count, sizeof(*rack_used));

    if (rack_used == NULL) {
        return ria_arena_err(apply->arena);
    }
    placement_init(&placement, nodes, count, rack_used);
    if (spec->first_partition > 0) {
        count_placed(apply, &spec->id, nodes, count);
    }
    for (int32_t i = spec->first_partition; i < spec->partition_count; i++) {
        placement_next(&placement, (uint32_t)spec->replication_factor, replicas);
        RIA_TRY(write_partition(apply, spec, i, replicas));
    }
    return RIA_OK;
}

ria_err apply_place(struct apply *apply, const struct topic_spec *spec)
{
    struct placement_node *nodes = NULL;
    uint32_t count = 0;

    RIA_TRY(load_live_nodes(apply, &nodes, &count));
    if (count < (uint32_t)spec->replication_factor) {
        return apply_fail(
            apply,
            RIA_ERR_NOT_ENOUGH_NODES,
            "%s is %d, but %" PRIu32 " storage nodes are alive",
            spec->replication_factor_field,
            spec->replication_factor,
            count
        );
    }
    return place_all(apply, spec, nodes, count);
}

/* ---- taking off ---- */

ria_err apply_unplace(struct apply *apply, const struct ria_uuid *id)
{
    struct node_set holders = {{0}};
    struct meta_stmt *stmt = meta_query(apply->db, META_PARTITIONS_OF_TOPIC);
    ria_err err = RIA_OK;

    meta_bind_uuid(stmt, 1, id);
    while (err == RIA_OK && meta_step(stmt)) {
        struct node_list replicas;
        int32_t leader = (int32_t)meta_column_int(stmt, 0);
        err = node_list_parse(meta_column_text(stmt, 1), &replicas);
        RIA_ASSERT(err == RIA_OK);
        for (uint32_t i = 0; i < replicas.count && err == RIA_OK; i++) {
            int32_t node_id = replicas.ids[i];
            node_set_add(&holders, node_id);
            err = apply_add_load(apply, node_id, -1, node_id == leader ? -1 : 0);
        }
    }
    meta_done(stmt);
    for (int32_t node_id = 0; node_id <= RIA_NODES_MAX && err == RIA_OK; node_id++) {
        if (node_set_has(&holders, node_id)) {
            stmt = meta_query(apply->db, META_REPLICAS_DELETE);
            meta_bind_int(stmt, 1, node_id);
            meta_bind_uuid(stmt, 2, id);
            err = meta_run(stmt);
        }
    }
    return err;
}
