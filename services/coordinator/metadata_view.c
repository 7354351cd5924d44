#include "services/coordinator/metadata_view.h"

#include <string.h>

#include "common/assert.h"

#include "services/coordinator/node_list.h"
#include "services/coordinator/rows.h"

/* One list of node ids of a row, where it goes. */
struct id_list {
    int column;
    int32_t **out_ids;
    uint32_t *out_count;
};

static bool copy_ids(struct meta_stmt *stmt, struct ria_arena *arena, const struct id_list *list)
{
    struct node_list ids;

    ria_err err = node_list_parse(meta_column_text(stmt, list->column), &ids);
    RIA_ASSERT(err == RIA_OK);
    *list->out_ids = ria_arena_alloc_array(arena, ids.count, sizeof(ids.ids[0]));
    *list->out_count = ids.count;
    if (*list->out_ids == NULL) {
        return false;
    }
    memcpy(*list->out_ids, ids.ids, ids.count * sizeof(ids.ids[0]));
    return true;
}

/* ---- one function per kind of row: false without memory ---- */

static bool add_node(struct meta_stmt *stmt, struct rows *rows)
{
    struct metadata_response_metadata_node *node = rows_add(rows);

    if (node == NULL) {
        return false;
    }
    node->node_id = (int32_t)meta_column_int(stmt, 0);
    node->state = (int8_t)meta_column_int(stmt, 3);
    node->draining = meta_column_int(stmt, 4) != 0;
    node->incarnation = meta_column_int(stmt, 5);
    node->drain_epoch = (int32_t)meta_column_int(stmt, 6);
    return rows_copy_text(rows->arena, meta_column_text(stmt, 1), &node->address) &&
           rows_copy_text(rows->arena, meta_column_text(stmt, 2), &node->rack);
}

static bool add_topic(struct meta_stmt *stmt, struct rows *rows)
{
    struct metadata_response_metadata_topic *topic = rows_add(rows);

    if (topic == NULL) {
        return false;
    }
    topic->topic_id = meta_column_uuid(stmt, 0);
    topic->deleted = meta_column_int(stmt, 2) != 0;
    topic->partition_count = (int32_t)meta_column_int(stmt, 3);
    topic->replication_factor = (int16_t)meta_column_int(stmt, 4);
    topic->config_epoch = (int32_t)meta_column_int(stmt, 5);
    topic->was_relaxed = meta_column_int(stmt, 6) != 0;
    topic->is_ahead = meta_column_int(stmt, 7) != 0;
    return rows_copy_text(rows->arena, meta_column_text(stmt, 1), &topic->name);
}

static bool add_config(struct meta_stmt *stmt, struct rows *rows)
{
    struct metadata_response_metadata_config *config = rows_add(rows);

    return config != NULL &&
           rows_copy_text(rows->arena, meta_column_text(stmt, 0), &config->name) &&
           rows_copy_text(rows->arena, meta_column_text(stmt, 1), &config->value);
}

static bool add_partition(struct meta_stmt *stmt, struct rows *rows)
{
    struct metadata_response_metadata_partition *partition = rows_add(rows);

    if (partition == NULL) {
        return false;
    }
    partition->topic_id = meta_column_uuid(stmt, 0);
    partition->partition = (int32_t)meta_column_int(stmt, 1);
    partition->leader = (int32_t)meta_column_int(stmt, 2);
    partition->leader_epoch = (int32_t)meta_column_int(stmt, 3);
    partition->partition_epoch = (int32_t)meta_column_int(stmt, 4);
    partition->forced_epoch = (int32_t)meta_column_int(stmt, 11);
    const struct id_list lists[] = {
        {5, &partition->replicas, &partition->replicas_count},
        {6, &partition->isr, &partition->isr_count},
        {7, &partition->eligible, &partition->eligible_count},
        {8, &partition->unfit, &partition->unfit_count},
        {9, &partition->target, &partition->target_count},
        {10, &partition->dropped, &partition->dropped_count},
    };
    for (size_t i = 0; i < RIA_COUNT(lists); i++) {
        if (!copy_ids(stmt, rows->arena, &lists[i])) {
            return false;
        }
    }
    return true;
}

static bool add_transform(struct meta_stmt *stmt, struct rows *rows)
{
    struct metadata_response_metadata_transform *transform = rows_add(rows);

    if (transform == NULL) {
        return false;
    }
    transform->transform_id = meta_column_uuid(stmt, 0);
    transform->deleted = meta_column_int(stmt, 2) != 0;
    transform->source_topic_id = meta_column_uuid(stmt, 4);
    transform->output_topic_id = meta_column_uuid(stmt, 5);
    transform->errors_topic_id = meta_column_uuid(stmt, 6);
    return rows_copy_text(rows->arena, meta_column_text(stmt, 1), &transform->name) &&
           rows_copy_text(rows->arena, meta_column_text(stmt, 3), &transform->sql);
}

static bool add_task(struct meta_stmt *stmt, struct rows *rows)
{
    struct metadata_response_metadata_task *task = rows_add(rows);

    if (task == NULL) {
        return false;
    }
    task->transform_id = meta_column_uuid(stmt, 0);
    task->partition = (int32_t)meta_column_int(stmt, 1);
    task->worker = meta_column_uuid(stmt, 2);
    task->epoch = (int16_t)meta_column_int(stmt, 3);
    task->producer_id = meta_column_int(stmt, 4);
    task->position = meta_column_int(stmt, 5);
    return true;
}

/* ---- all rows of a kind ---- */

struct range {
    struct meta_db *db;
    int64_t known;
    int64_t upto;
};

static ria_err read_rows(
    const struct range *range,
    meta_sql sql,
    bool (*add)(struct meta_stmt *stmt, struct rows *rows),
    struct rows *rows
)
{
    bool ok = true;
    struct meta_stmt *stmt = meta_query(range->db, sql);

    meta_bind_int(stmt, 1, range->known);
    meta_bind_int(stmt, 2, range->upto);
    while (ok && meta_step(stmt)) {
        ok = add(stmt, rows);
    }
    meta_done(stmt);
    return ok ? RIA_OK : ria_arena_err(rows->arena);
}

static ria_err read_configs(
    struct meta_db *db, struct ria_arena *arena, struct metadata_response_metadata_topic *topic
)
{
    bool ok = true;
    struct rows rows = rows_of(arena, sizeof(topic->configs[0]));
    struct meta_stmt *stmt = meta_query(db, META_TOPIC_CONFIGS);

    meta_bind_uuid(stmt, 1, &topic->topic_id);
    while (ok && meta_step(stmt)) {
        ok = add_config(stmt, &rows);
    }
    meta_done(stmt);
    topic->configs = rows.items;
    topic->configs_count = rows.count;
    return ok ? RIA_OK : ria_arena_err(arena);
}

#define READ_ROWS(range, sql, add, arena, response, member)                \
    do {                                                                   \
        struct rows rows_ = rows_of(arena, sizeof((response)->member[0])); \
        RIA_TRY(read_rows(range, sql, add, &rows_));                       \
        (response)->member = rows_.items;                                  \
        (response)->member##_count = rows_.count;                          \
    } while (0)

/* ---- pages ---- */

/* The version at which a page that starts behind `known` must end. */
static int64_t page_end(struct meta_db *db, int64_t known, int64_t newest)
{
    int64_t cost = 0;
    int64_t end = known;
    struct meta_stmt *stmt = meta_query(db, META_CHANGED_ROWS);

    meta_bind_int(stmt, 1, known);
    bool found = meta_step(stmt);
    RIA_ASSERT(found);
    bool small = meta_column_int(stmt, 0) <= METADATA_VIEW_ROWS_MAX &&
                 meta_column_int(stmt, 1) <= METADATA_VIEW_TRANSFORMS_MAX;
    meta_done(stmt);
    if (small) {
        return newest;
    }
    stmt = meta_query(db, META_CHANGES_BY_VERSION);
    meta_bind_int(stmt, 1, known);
    bool more_left = false;
    while (!more_left && meta_step(stmt)) {
        cost += meta_column_int(stmt, 1);
        /* At least one version, however large: it cannot be split. */
        more_left = end > known && cost > METADATA_VIEW_BYTES_MAX;
        end = more_left ? end : meta_column_int(stmt, 0);
    }
    meta_done(stmt);
    return more_left ? end : newest;
}

ria_err metadata_view_read(
    struct meta_db *db,
    const struct ria_uuid *cluster_id,
    int64_t known_version,
    int64_t newest,
    struct ria_arena *arena,
    struct metadata_response *out_response
)
{
    struct metadata_response response;
    const struct range range = {
        .db = db,
        .known = known_version,
        .upto = page_end(db, known_version, newest),
    };

    metadata_response_init(&response);
    response.version = range.upto;
    response.cluster_id = *cluster_id;
    READ_ROWS(&range, META_NODES_SINCE, add_node, arena, &response, nodes);
    READ_ROWS(&range, META_TOPICS_SINCE, add_topic, arena, &response, topics);
    READ_ROWS(&range, META_PARTITIONS_SINCE, add_partition, arena, &response, partitions);
    READ_ROWS(&range, META_TRANSFORMS_SINCE, add_transform, arena, &response, transforms);
    READ_ROWS(&range, META_TASKS_SINCE, add_task, arena, &response, tasks);
    for (uint32_t i = 0; i < response.topics_count; i++) {
        RIA_TRY(read_configs(db, arena, &response.topics[i]));
    }
    *out_response = response;
    return RIA_OK;
}
