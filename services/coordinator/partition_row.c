#include "services/coordinator/partition_row.h"

#include "common/assert.h"

static void read_list(struct meta_stmt *stmt, int column, struct node_list *out)
{
    ria_err err = node_list_parse(meta_column_text(stmt, column), out);

    RIA_ASSERT(err == RIA_OK); /* only apply writes them */
}

/* META_PARTITION_COLUMNS_, in that order. */
static void read_row(struct meta_stmt *stmt, struct partition_row *out)
{
    out->leader = (int32_t)meta_column_int(stmt, 0);
    out->leader_epoch = (int32_t)meta_column_int(stmt, 1);
    out->partition_epoch = (int32_t)meta_column_int(stmt, 2);
    read_list(stmt, 3, &out->replicas);
    read_list(stmt, 4, &out->isr);
    read_list(stmt, 5, &out->eligible);
    read_list(stmt, 6, &out->unfit);
    read_list(stmt, 7, &out->target);
    read_list(stmt, 8, &out->dropped);
    out->forced_epoch = (int32_t)meta_column_int(stmt, 9);
    out->topic_id = meta_column_uuid(stmt, 10);
    out->partition = (int32_t)meta_column_int(stmt, 11);
    read_list(stmt, 12, &out->origin);
}

bool partition_row_read(
    struct meta_db *db,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct partition_row *out_row
)
{
    struct meta_stmt *stmt = meta_query(db, META_PARTITION_GET);

    meta_bind_uuid(stmt, 1, topic_id);
    meta_bind_int(stmt, 2, partition);
    bool found = meta_step(stmt);
    if (found) {
        read_row(stmt, out_row);
    }
    meta_done(stmt);
    return found;
}

bool partition_row_is_reached(const struct partition_row *row)
{
    for (uint32_t i = 0; i < row->target.count; i++) {
        int32_t id = row->target.ids[i];
        if (!node_list_has(&row->isr, id) || node_list_has(&row->unfit, id)) {
            return false;
        }
    }
    return row->target.count > 0;
}

/* ---- walks ---- */

static void
walk_init(struct partition_walk *walk, struct meta_db *db, meta_sql sql, int32_t node_id)
{
    walk->db = db;
    walk->sql = sql;
    walk->node_id = node_id;
    walk->topic_id = (struct ria_uuid){{0}}; /* no topic has it */
    walk->partition = -1;
    walk->count = 0;
}

void partition_walk_node(struct partition_walk *walk, struct meta_db *db, int32_t node_id)
{
    walk_init(walk, db, META_PARTITIONS_OF_NODE, node_id);
}

void partition_walk_led(struct partition_walk *walk, struct meta_db *db, int32_t node_id)
{
    walk_init(walk, db, META_PARTITIONS_LED, node_id);
}

void partition_walk_astray(struct partition_walk *walk, struct meta_db *db)
{
    walk_init(walk, db, META_PARTITIONS_ASTRAY, -1);
}

void partition_walk_all(struct partition_walk *walk, struct meta_db *db)
{
    walk_init(walk, db, META_PARTITIONS_ALL, -1);
}

void partition_walk_moving(struct partition_walk *walk, struct meta_db *db)
{
    walk_init(walk, db, META_PARTITIONS_MOVING, -1);
}

bool partition_walk_next(struct partition_walk *walk)
{
    struct meta_stmt *stmt = meta_query(walk->db, walk->sql);

    meta_bind_uuid(stmt, 1, &walk->topic_id);
    meta_bind_int(stmt, 2, walk->partition);
    meta_bind_int(stmt, 3, PARTITION_PAGE);
    if (walk->sql == META_PARTITIONS_OF_NODE || walk->sql == META_PARTITIONS_LED) {
        meta_bind_int(stmt, 4, walk->node_id);
    }
    walk->count = 0;
    while (meta_step(stmt)) {
        RIA_ASSERT(walk->count < PARTITION_PAGE);
        read_row(stmt, &walk->rows[walk->count++]);
    }
    meta_done(stmt);
    if (walk->count == 0) {
        return false;
    }
    walk->topic_id = walk->rows[walk->count - 1].topic_id;
    walk->partition = walk->rows[walk->count - 1].partition;
    return true;
}
