/* DescribeCluster: processes and when each was last heard. */
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/gen/describe_cluster_response.h"

#include "services/coordinator/coordinator.h"
#include "services/coordinator/rows.h"

_Static_assert(
    LIVENESS_PROCESSES_MAX + RIA_NODES_MAX + 1 <= 10000, "they all fit into one response"
);

typedef struct describe_cluster_response_cluster_process process_entry;

/* By role, then node id, then address; uuids break ties. */
static int compare(const void *a, const void *b)
{
    const process_entry *left = a;
    const process_entry *right = b;

    if (left->role != right->role) {
        return left->role < right->role ? -1 : 1;
    }
    if (left->node_id != right->node_id) {
        return left->node_id < right->node_id ? -1 : 1;
    }
    size_t size = ria_min_size(left->address.size, right->address.size);
    int order = size == 0 ? 0 : memcmp(left->address.data, right->address.data, size);
    if (order == 0 && left->address.size != right->address.size) {
        order = left->address.size < right->address.size ? -1 : 1;
    }
    return order != 0 ? order
                      : memcmp(&left->process_uuid, &right->process_uuid, sizeof(struct ria_uuid));
}

static void set_liveness(
    struct coordinator *coordinator, process_entry *entry, const struct liveness_process *process
)
{
    entry->alive = process != NULL && process->alive;
    entry->silent_ms = process == NULL ? -1 : liveness_silent_ms(coordinator->liveness, process);
}

/* Every node that ever registered. */
static bool add_nodes(struct coordinator *coordinator, struct rows *rows)
{
    bool ok = true;
    struct meta_stmt *stmt = meta_query(coordinator->db, META_NODES_BY_ID);

    while (ok && meta_step(stmt)) {
        process_entry *entry = rows_add(rows);
        if (entry == NULL) {
            ok = false;
            break;
        }
        entry->node_id = (int32_t)meta_column_int(stmt, 0);
        entry->process_uuid = meta_column_uuid(stmt, 1);
        entry->role = PROCESS_STORAGE;
        set_liveness(
            coordinator, entry, liveness_find(coordinator->liveness, &entry->process_uuid)
        );
        ok = rows_copy_text(rows->arena, meta_column_text(stmt, 2), &entry->address) &&
             rows_copy_text(rows->arena, meta_column_text(stmt, 3), &entry->rack);
    }
    meta_done(stmt);
    return ok;
}

static bool is_node(const process_entry *nodes, uint32_t count, const struct ria_uuid *uuid)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ria_uuid_equal(nodes[i].process_uuid, *uuid)) {
            return true;
        }
    }
    return false;
}

/* Everybody else who was heard. */
static bool add_heard(struct coordinator *coordinator, struct rows *rows)
{
    uint32_t nodes = rows->count;
    size_t cursor = 0;
    const struct liveness_process *process = NULL;

    while ((process = liveness_next(coordinator->liveness, &cursor)) != NULL) {
        if (process->role == PROCESS_STORAGE && is_node(rows->items, nodes, &process->uuid)) {
            continue;
        }
        process_entry *entry = rows_add(rows);
        if (entry == NULL) {
            return false;
        }
        entry->process_uuid = process->uuid;
        entry->role = (int8_t)process->role;
        entry->node_id = -1;
        entry->address = ria_slice_cstr(process->address);
        entry->rack = RIA_SLICE_EMPTY;
        set_liveness(coordinator, entry, process);
    }
    return true;
}

static bool add_self(struct coordinator *coordinator, struct rows *rows)
{
    const char *listen = coordinator->options->process.listen;
    process_entry *entry = rows_add(rows);

    if (entry != NULL) {
        *entry = (process_entry){
            .process_uuid = coordinator->process_uuid,
            .role = PROCESS_COORDINATOR,
            .node_id = -1,
            .address = ria_slice_cstr(listen == NULL ? "" : listen),
            .rack = RIA_SLICE_EMPTY,
            .alive = true,
        };
    }
    return entry != NULL;
}

void handle_describe_cluster(struct coordinator *coordinator, const struct coordinator_call *call)
{
    struct describe_cluster_response response = {
        .cluster_id = coordinator->cluster_id,
        .version = coordinator->version,
    };
    struct rows rows = rows_of(&coordinator->arena, sizeof(process_entry));

    liveness_expire(coordinator->liveness);
    if (!add_nodes(coordinator, &rows) || !add_heard(coordinator, &rows) ||
        !add_self(coordinator, &rows)) {
        ria_err err = ria_arena_err(&coordinator->arena);
        coordinator_refuse(coordinator, call, err, "%s", ria_err_text(err));
        return;
    }
    qsort(rows.items, rows.count, sizeof(process_entry), compare);
    response.processes = rows.items;
    response.processes_count = rows.count;
    coordinator_reply(coordinator, call, &response);
}
