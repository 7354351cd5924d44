#include "services/coordinator/member_row.h"

#include "common/assert.h"

#include "services/coordinator/rows.h"

/* A statement whose first parameters are a group and a member. */
static struct meta_stmt *
of_member(struct meta_db *db, meta_sql sql, int64_t group_id, struct ria_slice name)
{
    struct meta_stmt *stmt = meta_query(db, sql);

    meta_bind_int(stmt, 1, group_id);
    meta_bind_text(stmt, 2, name);
    return stmt;
}

/* ---- members ---- */

bool member_row_read(
    struct meta_db *db, int64_t group_id, struct ria_slice name, struct member_row *out_row
)
{
    struct meta_stmt *stmt = of_member(db, META_GROUP_MEMBER_GET, group_id, name);
    bool found = meta_step(stmt);

    if (found) {
        *out_row = (struct member_row){
            .name = name,
            .kind = meta_column_int(stmt, 0) == MEMBER_MADE ? MEMBER_MADE : MEMBER_NAMED,
            .epoch = (int32_t)meta_column_int(stmt, 1),
            .session_ms = meta_column_int(stmt, 2),
            .deadline = meta_column_int(stmt, 3),
            .chosen = meta_column_int(stmt, 4) != 0,
        };
    }
    meta_done(stmt);
    return found;
}

static ria_err
put_member(struct meta_db *db, meta_sql sql, int64_t group_id, const struct member_row *row)
{
    struct meta_stmt *stmt = of_member(db, sql, group_id, row->name);

    meta_bind_int(stmt, 3, row->kind);
    meta_bind_int(stmt, 4, row->epoch);
    meta_bind_int(stmt, 5, row->session_ms);
    meta_bind_int(stmt, 6, row->deadline);
    meta_bind_int(stmt, 7, row->chosen ? 1 : 0);
    return meta_run(stmt);
}

ria_err member_row_insert(struct meta_db *db, int64_t group_id, const struct member_row *row)
{
    return put_member(db, META_GROUP_MEMBER_INSERT, group_id, row);
}

ria_err member_row_write(struct meta_db *db, int64_t group_id, const struct member_row *row)
{
    return put_member(db, META_GROUP_MEMBER_SET, group_id, row);
}

ria_err member_row_delete(struct meta_db *db, int64_t group_id, struct ria_slice name)
{
    RIA_TRY(meta_run(of_member(db, META_GROUP_SUBSCRIPTIONS_DELETE_OF_MEMBER, group_id, name)));
    return meta_run(of_member(db, META_GROUP_MEMBER_DELETE, group_id, name));
}

ria_err member_detail_read(
    struct meta_db *db,
    int64_t group_id,
    struct ria_slice name,
    struct ria_arena *arena,
    struct ria_slice *out_detail
)
{
    struct meta_stmt *stmt = of_member(db, META_GROUP_MEMBER_DETAIL, group_id, name);
    bool found = meta_step(stmt);

    RIA_ASSERT(found);
    bool copied = rows_copy_text(arena, meta_column_blob(stmt, 0), out_detail);
    meta_done(stmt);
    return copied ? RIA_OK : ria_arena_err(arena);
}

ria_err member_detail_write(
    struct meta_db *db, int64_t group_id, struct ria_slice name, struct ria_slice detail
)
{
    struct meta_stmt *stmt = of_member(db, META_GROUP_MEMBER_SET_DETAIL, group_id, name);

    meta_bind_blob(stmt, 3, detail);
    return meta_run(stmt);
}

ria_err members_expired(
    struct meta_db *db,
    int64_t group_id,
    int64_t now_ms,
    struct ria_arena *arena,
    struct ria_slice **out_names,
    uint32_t *out_count
)
{
    bool ok = true;
    struct rows rows = rows_of(arena, sizeof(struct ria_slice));
    struct meta_stmt *stmt = meta_query(db, META_GROUP_MEMBERS_EXPIRED);

    meta_bind_int(stmt, 1, group_id);
    meta_bind_int(stmt, 2, now_ms);
    while (ok && meta_step(stmt)) {
        struct ria_slice *name = rows_add(&rows);
        ok = name != NULL && rows_copy_text(arena, meta_column_text(stmt, 0), name);
    }
    meta_done(stmt);
    if (!ok) {
        return ria_arena_err(arena);
    }
    *out_names = rows.items;
    *out_count = rows.count;
    return RIA_OK;
}

int64_t members_next_deadline(struct meta_db *db, int64_t group_id, struct ria_slice name)
{
    struct meta_stmt *stmt = of_member(db, META_GROUP_MEMBERS_NEXT_DEADLINE, group_id, name);
    int64_t deadline = meta_step(stmt) ? meta_column_int(stmt, 0) : INT64_MAX;

    meta_done(stmt);
    return deadline;
}

/* ---- subscriptions ---- */

ria_err subscriptions_read(
    struct meta_db *db,
    int64_t group_id,
    struct ria_slice name,
    struct ria_arena *arena,
    struct subscription_row **out_rows,
    uint32_t *out_count
)
{
    bool ok = true;
    struct rows rows = rows_of(arena, sizeof(struct subscription_row));
    struct meta_stmt *stmt = of_member(db, META_GROUP_SUBSCRIPTIONS_OF_MEMBER, group_id, name);

    while (ok && meta_step(stmt)) {
        struct subscription_row *row = rows_add(&rows);
        ok = row != NULL;
        if (ok) {
            row->topic_id = meta_column_uuid(stmt, 0);
            row->partition = (int32_t)meta_column_int(stmt, 1);
        }
    }
    meta_done(stmt);
    if (!ok) {
        return ria_arena_err(arena);
    }
    *out_rows = rows.items;
    *out_count = rows.count;
    return RIA_OK;
}

ria_err subscriptions_write(
    struct meta_db *db,
    int64_t group_id,
    struct ria_slice name,
    const struct subscription_row *rows,
    uint32_t count
)
{
    RIA_TRY(meta_run(of_member(db, META_GROUP_SUBSCRIPTIONS_DELETE_OF_MEMBER, group_id, name)));
    for (uint32_t i = 0; i < count; i++) {
        struct meta_stmt *stmt = of_member(db, META_GROUP_SUBSCRIPTION_INSERT, group_id, name);
        meta_bind_uuid(stmt, 3, &rows[i].topic_id);
        meta_bind_int(stmt, 4, rows[i].partition);
        RIA_TRY(meta_run(stmt));
    }
    return RIA_OK;
}
