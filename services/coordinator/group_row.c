#include "services/coordinator/group_row.h"

#include "common/assert.h"

#include "services/coordinator/rows.h"

/* ---- counters ---- */

void group_counters_read(struct meta_db *db, struct group_counters *out_counters)
{
    struct meta_stmt *stmt = meta_query(db, META_GROUP_COUNTERS_GET);
    bool found = meta_step(stmt);

    RIA_ASSERT(found);
    *out_counters = (struct group_counters){
        .lease_ms = meta_column_int(stmt, 0),
        .next_group_id = meta_column_int(stmt, 1),
        .group_count = meta_column_int(stmt, 2),
        .lease_floor = meta_column_int(stmt, 3),
    };
    meta_done(stmt);
}

ria_err group_counters_write(struct meta_db *db, const struct group_counters *counters)
{
    struct meta_stmt *stmt = meta_query(db, META_GROUP_COUNTERS_SET);

    meta_bind_int(stmt, 1, counters->lease_ms);
    meta_bind_int(stmt, 2, counters->next_group_id);
    meta_bind_int(stmt, 3, counters->group_count);
    meta_bind_int(stmt, 4, counters->lease_floor);
    return meta_run(stmt);
}

/* ---- groups ---- */

ria_err group_row_take(struct meta_stmt *stmt, struct ria_arena *arena, struct group_row *out_row)
{
    struct group_row row = {
        .id = meta_column_int(stmt, 0),
        .mode = meta_column_int(stmt, 1) == GROUP_QUEUE ? GROUP_QUEUE : GROUP_STREAM,
        .created_ms = meta_column_int(stmt, 2),
        .next_lease = meta_column_int(stmt, 3),
        .generation = meta_column_int(stmt, 4),
        .changed = meta_column_int(stmt, 5),
        .member_count = meta_column_int(stmt, 6),
        .lock_ms = meta_column_int(stmt, 7),
        .deliveries_max = meta_column_int(stmt, 8),
        .key_order = meta_column_int(stmt, 9) != 0,
    };

    if (!rows_copy_text(arena, meta_column_text(stmt, 10), &row.retry_ms) ||
        !rows_copy_text(arena, meta_column_text(stmt, 11), &row.dead_topic) ||
        !rows_copy_text(arena, meta_column_text(stmt, 12), &row.name)) {
        return ria_arena_err(arena);
    }
    *out_row = row;
    return RIA_OK;
}

ria_err group_row_read(
    struct meta_db *db, struct ria_slice name, struct ria_arena *arena, struct group_row *out_row
)
{
    struct meta_stmt *stmt = meta_query(db, META_GROUP_BY_NAME);
    ria_err err = RIA_ERR_NOT_FOUND;

    meta_bind_text(stmt, 1, name);
    if (meta_step(stmt)) {
        err = group_row_take(stmt, arena, out_row);
    }
    meta_done(stmt);
    return err;
}

ria_err group_row_insert(struct meta_db *db, const struct group_row *row)
{
    struct meta_stmt *stmt = meta_query(db, META_GROUP_INSERT);

    meta_bind_int(stmt, 1, row->id);
    meta_bind_text(stmt, 2, row->name);
    meta_bind_int(stmt, 3, row->mode);
    meta_bind_int(stmt, 4, row->created_ms);
    meta_bind_int(stmt, 5, row->next_lease);
    meta_bind_int(stmt, 6, row->generation);
    meta_bind_int(stmt, 7, row->changed);
    meta_bind_int(stmt, 8, row->member_count);
    meta_bind_int(stmt, 9, row->lock_ms);
    meta_bind_int(stmt, 10, row->deliveries_max);
    meta_bind_int(stmt, 11, row->key_order ? 1 : 0);
    meta_bind_text(stmt, 12, row->retry_ms);
    meta_bind_text(stmt, 13, row->dead_topic);
    return meta_run(stmt);
}

ria_err group_row_write(struct meta_db *db, const struct group_row *row)
{
    struct meta_stmt *stmt = meta_query(db, META_GROUP_SET);

    meta_bind_int(stmt, 1, row->id);
    meta_bind_int(stmt, 2, row->next_lease);
    meta_bind_int(stmt, 3, row->generation);
    meta_bind_int(stmt, 4, row->changed);
    meta_bind_int(stmt, 5, row->member_count);
    return meta_run(stmt);
}

ria_err group_row_write_settings(struct meta_db *db, const struct group_row *row)
{
    struct meta_stmt *stmt = meta_query(db, META_GROUP_SET_SETTINGS);

    meta_bind_int(stmt, 1, row->id);
    meta_bind_int(stmt, 2, row->lock_ms);
    meta_bind_int(stmt, 3, row->deliveries_max);
    meta_bind_int(stmt, 4, row->key_order ? 1 : 0);
    meta_bind_text(stmt, 5, row->retry_ms);
    meta_bind_text(stmt, 6, row->dead_topic);
    return meta_run(stmt);
}

/* Digits, separated by commas. */
uint32_t group_row_retries(const struct group_row *row, uint32_t out_delays_ms[GROUP_RETRIES_MAX])
{
    struct ria_slice text = row->retry_ms;
    uint32_t count = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (i == 0 || text.data[i - 1] == ',') {
            RIA_ASSERT(count < GROUP_RETRIES_MAX);
            out_delays_ms[count++] = 0;
        }
        if (text.data[i] != ',') {
            uint32_t *delay_ms = &out_delays_ms[count - 1];
            RIA_ASSERT(text.data[i] >= '0' && text.data[i] <= '9');
            *delay_ms = *delay_ms * 10 + (uint32_t)(text.data[i] - '0');
        }
    }
    return count;
}

int64_t group_row_next_lease(struct group_row *row)
{
    return row->next_lease++;
}

/* ---- partitions ---- */

struct group_partition group_partition_none(const struct ria_uuid *topic_id, int32_t partition)
{
    return (struct group_partition){
        .topic_id = *topic_id,
        .partition = partition,
        .position = -1,
        .member = RIA_SLICE_EMPTY,
        .holder = RIA_SLICE_EMPTY,
        .next = -1,
        .frontier = -1,
    };
}

/* Most names are empty and cost nothing. */
static bool
take_name(struct meta_stmt *stmt, int column, struct ria_arena *arena, struct ria_slice *out)
{
    struct ria_slice name = meta_column_text(stmt, column);

    *out = RIA_SLICE_EMPTY;
    return name.size == 0 || rows_copy_text(arena, name, out);
}

ria_err group_partition_take(
    struct meta_stmt *stmt, struct ria_arena *arena, struct group_partition *out_row
)
{
    struct group_partition row = {
        .topic_id = meta_column_uuid(stmt, 0),
        .partition = (int32_t)meta_column_int(stmt, 1),
        .stored = true,
        .position = meta_column_int(stmt, 2),
        .committed_ms = meta_column_int(stmt, 3),
        .has_metadata = meta_column_int(stmt, 4) != 0,
        .lease_id = meta_column_int(stmt, 6),
        .deadline = meta_column_int(stmt, 8),
        .next = meta_column_int(stmt, 9),
        .frontier = meta_column_int(stmt, 10),
        .unsettled = meta_column_int(stmt, 11),
        .row_count = meta_column_int(stmt, 12),
    };

    if (!take_name(stmt, 5, arena, &row.member) || !take_name(stmt, 7, arena, &row.holder)) {
        return ria_arena_err(arena);
    }
    *out_row = row;
    return RIA_OK;
}

ria_err group_partition_read(
    struct meta_db *db,
    int64_t group_id,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct ria_arena *arena,
    struct group_partition *out_row
)
{
    struct meta_stmt *stmt = meta_query(db, META_GROUP_PARTITION_GET);
    ria_err err = RIA_OK;

    meta_bind_int(stmt, 1, group_id);
    meta_bind_uuid(stmt, 2, topic_id);
    meta_bind_int(stmt, 3, partition);
    if (meta_step(stmt)) {
        err = group_partition_take(stmt, arena, out_row);
    } else {
        *out_row = group_partition_none(topic_id, partition);
    }
    meta_done(stmt);
    return err;
}

ria_err group_partitions_read(
    struct meta_db *db,
    int64_t group_id,
    const struct ria_uuid *topic_id,
    int32_t count,
    struct ria_arena *arena,
    struct group_partition *out_rows
)
{
    ria_err err = RIA_OK;

    for (int32_t i = 0; i < count; i++) {
        out_rows[i] = group_partition_none(topic_id, i);
    }
    struct meta_stmt *stmt = meta_query(db, META_GROUP_PARTITIONS_OF_TOPIC);
    meta_bind_int(stmt, 1, group_id);
    meta_bind_uuid(stmt, 2, topic_id);
    while (err == RIA_OK && meta_step(stmt)) {
        int64_t partition = meta_column_int(stmt, 1);
        RIA_ASSERT(partition >= 0 && partition < count);
        err = group_partition_take(stmt, arena, &out_rows[partition]);
    }
    meta_done(stmt);
    return err;
}

ria_err group_partitions_take(
    struct meta_stmt *stmt,
    struct ria_arena *arena,
    struct group_partition **out_rows,
    uint32_t *out_count
)
{
    ria_err err = RIA_OK;
    struct rows rows = rows_of(arena, sizeof(struct group_partition));

    while (err == RIA_OK && meta_step(stmt)) {
        struct group_partition *row = rows_add(&rows);
        err = row == NULL ? ria_arena_err(arena) : group_partition_take(stmt, arena, row);
    }
    meta_done(stmt);
    if (err == RIA_OK) {
        *out_rows = rows.items;
        *out_count = rows.count;
    }
    return err;
}

static ria_err write_metadata(struct meta_db *db, int64_t group_id, struct group_partition *row)
{
    struct meta_stmt *stmt = meta_query(db, META_GROUP_PARTITION_SET_METADATA);

    meta_bind_int(stmt, 1, group_id);
    meta_bind_uuid(stmt, 2, &row->topic_id);
    meta_bind_int(stmt, 3, row->partition);
    meta_bind_text(stmt, 4, row->metadata);
    return meta_run(stmt);
}

ria_err group_partition_write(struct meta_db *db, int64_t group_id, struct group_partition *row)
{
    struct meta_stmt *stmt =
        meta_query(db, row->stored ? META_GROUP_PARTITION_SET : META_GROUP_PARTITION_INSERT);

    meta_bind_int(stmt, 1, group_id);
    meta_bind_uuid(stmt, 2, &row->topic_id);
    meta_bind_int(stmt, 3, row->partition);
    meta_bind_int(stmt, 4, row->position);
    meta_bind_int(stmt, 5, row->committed_ms);
    meta_bind_text(stmt, 6, row->member);
    meta_bind_int(stmt, 7, row->lease_id);
    meta_bind_text(stmt, 8, row->holder);
    meta_bind_int(stmt, 9, row->deadline);
    meta_bind_int(stmt, 10, row->next);
    meta_bind_int(stmt, 11, row->frontier);
    meta_bind_int(stmt, 12, row->unsettled);
    meta_bind_int(stmt, 13, row->row_count);
    RIA_TRY(meta_run(stmt));
    if (row->metadata_set && (row->metadata.size > 0 || row->has_metadata)) {
        RIA_TRY(write_metadata(db, group_id, row));
        row->has_metadata = row->metadata.size > 0;
    }
    row->stored = true;
    row->touched = false;
    row->metadata_set = false;
    return RIA_OK;
}
