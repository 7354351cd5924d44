/* SweepRanges: delete rows of group_ranges that are nobody's any more, so many at a time. A queue
 * may have millions: whoever deletes it, its topic or its progress only says so in range_leftovers.
 */
#include "common/assert.h"

#include "schemas/gen/sweep_ranges.h"

#include "services/coordinator/apply.h"

struct leftover {
    int64_t space;
    struct ria_uuid topic_id;
    int32_t partition;
};

static bool first_leftover(struct meta_db *db, struct leftover *out)
{
    struct meta_stmt *stmt = meta_query(db, META_LEFTOVERS_FIRST);
    bool found = meta_step(stmt);

    if (found) {
        out->space = meta_column_int(stmt, 0);
        out->topic_id = meta_column_uuid(stmt, 1);
        out->partition = (int32_t)meta_column_int(stmt, 2);
    }
    meta_done(stmt);
    return found;
}

static struct meta_stmt *query_of(struct meta_db *db, meta_sql sql, const struct leftover *of)
{
    struct meta_stmt *stmt = meta_query(db, sql);

    meta_bind_int(stmt, 1, of->space);
    meta_bind_uuid(stmt, 2, &of->topic_id);
    meta_bind_int(stmt, 3, of->partition);
    return stmt;
}

/* Its lowest rows, up to *rows_left of them, which becomes fewer. */
static ria_err sweep(struct meta_db *db, const struct leftover *of, int64_t *rows_left)
{
    struct meta_stmt *stmt = query_of(db, META_RANGES_LOWEST, of);

    meta_bind_int(stmt, 4, *rows_left);
    bool found = meta_step(stmt);
    RIA_ASSERT(found);
    int64_t count = meta_column_int(stmt, 0);
    int64_t last = meta_column_int(stmt, 1);
    meta_done(stmt);
    if (count > 0) {
        stmt = query_of(db, META_RANGES_DELETE, of);
        meta_bind_int(stmt, 4, 0);
        meta_bind_int(stmt, 5, last);
        RIA_TRY(meta_run(stmt));
    }
    /* One more for the leftover itself: there may be many that have few rows. */
    bool is_all = count < *rows_left;
    *rows_left -= count + (is_all ? 1 : 0);
    return is_all ? meta_run(query_of(db, META_LEFTOVERS_DELETE, of)) : RIA_OK;
}

ria_err apply_sweep_ranges(struct apply *apply, const void *body)
{
    const struct sweep_ranges *request = body;
    int64_t rows_left = request->rows_max;
    struct leftover leftover;

    RIA_TRY(apply_check_range(apply, "rowsMax", request->rows_max, 1, INT32_MAX));
    while (rows_left > 0 && first_leftover(apply->db, &leftover)) {
        RIA_TRY(sweep(apply->db, &leftover, &rows_left));
    }
    return RIA_OK;
}
