#include "services/coordinator/range_rows.h"

#include <string.h>

#include "common/assert.h"

void range_text_set(struct range_text *text, struct ria_slice value)
{
    size_t size = value.size < RANGE_TEXT_MAX ? value.size : RANGE_TEXT_MAX;

    text->size = (uint8_t)size;
    if (size > 0) {
        memcpy(text->data, value.data, size);
    }
}

struct ria_slice range_text_get(const struct range_text *text)
{
    return ria_slice_of(text->data, text->size);
}

static bool text_equal(const struct range_text *a, const struct range_text *b)
{
    return ria_slice_equal(range_text_get(a), range_text_get(b));
}

/* ---- the partition's row ---- */

static struct meta_stmt *query(
    struct meta_db *db, meta_sql sql, int64_t group_id, const struct ria_uuid *topic_id, int32_t p
)
{
    struct meta_stmt *stmt = meta_query(db, sql);

    meta_bind_int(stmt, 1, group_id);
    meta_bind_uuid(stmt, 2, topic_id);
    meta_bind_int(stmt, 3, p);
    return stmt;
}

/* Of the partition's rows. */
static struct meta_stmt *query_of(const struct queue_row *queue, meta_sql sql)
{
    return query(queue->db, sql, queue->space, &queue->topic_id, queue->partition);
}

bool queue_row_read(
    struct meta_db *db,
    int64_t group_id,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct queue_row *out_row
)
{
    struct meta_stmt *stmt = query(db, META_QUEUE_GET, group_id, topic_id, partition);
    bool found = meta_step(stmt);

    if (found) {
        out_row->db = db;
        out_row->group_id = group_id;
        out_row->topic_id = *topic_id;
        out_row->partition = partition;
        out_row->touched = false;
        out_row->position = meta_column_int(stmt, 0);
        out_row->committed_ms = meta_column_int(stmt, 1);
        out_row->frontier = meta_column_int(stmt, 2);
        out_row->row_count = meta_column_int(stmt, 3);
        out_row->named_end = meta_column_int(stmt, 4);
        out_row->discarded = meta_column_int(stmt, 5);
        out_row->unsettled = meta_column_int(stmt, 6);
        out_row->unsettled_end = meta_column_int(stmt, 7);
        out_row->unsettled_deadline = meta_column_int(stmt, 8);
        range_text_set(&out_row->unsettled_holder, meta_column_text(stmt, 9));
        out_row->space = meta_column_int(stmt, 10);
        out_row->leased = meta_column_int(stmt, 11);
        out_row->waiting = meta_column_int(stmt, 12);
        out_row->dead = meta_column_int(stmt, 13);
        out_row->held = meta_column_int(stmt, 14);
    }
    meta_done(stmt);
    return found;
}

ria_err queue_row_insert(
    struct meta_db *db,
    int64_t group_id,
    const struct ria_uuid *topic_id,
    int32_t partition,
    int64_t start
)
{
    struct meta_stmt *stmt = query(db, META_QUEUE_INSERT, group_id, topic_id, partition);

    RIA_ASSERT(start >= 0);
    meta_bind_int(stmt, 4, start);
    return meta_run(stmt);
}

ria_err queue_row_store(struct queue_row *row)
{
    RIA_ASSERT(row->position <= row->frontier);
    if (!row->touched) {
        return RIA_OK;
    }
    row->touched = false;
    struct meta_stmt *stmt =
        query(row->db, META_QUEUE_SET, row->group_id, &row->topic_id, row->partition);
    meta_bind_int(stmt, 4, row->position);
    meta_bind_int(stmt, 5, row->committed_ms);
    meta_bind_int(stmt, 6, row->frontier);
    meta_bind_int(stmt, 7, row->row_count);
    meta_bind_int(stmt, 8, row->named_end);
    meta_bind_int(stmt, 9, row->discarded);
    meta_bind_int(stmt, 10, row->unsettled);
    meta_bind_int(stmt, 11, row->unsettled_end);
    meta_bind_int(stmt, 12, row->unsettled_deadline);
    meta_bind_text(stmt, 13, range_text_get(&row->unsettled_holder));
    meta_bind_int(stmt, 14, row->leased);
    meta_bind_int(stmt, 15, row->waiting);
    meta_bind_int(stmt, 16, row->dead);
    meta_bind_int(stmt, 17, row->held);
    return meta_run(stmt);
}

/* More or fewer records are in this state. */
static void add_records(struct queue_row *queue, range_state state, int64_t count)
{
    switch (state) {
    case RANGE_LEASED:
        queue->leased += count;
        break;
    case RANGE_HELD:
        queue->held += count;
        queue->waiting += count;
        break;
    case RANGE_WAITING:
        queue->waiting += count;
        break;
    case RANGE_DEAD:
        queue->dead += count;
        break;
    case RANGE_DONE:
        break;
    }
    RIA_ASSERT(queue->leased >= 0 && queue->waiting >= 0 && queue->dead >= 0);
    RIA_ASSERT(queue->held >= 0 && queue->held <= queue->waiting);
}

/* ---- finding ---- */

/* META_RANGE_COLUMNS_, in that order. */
static void read_range(struct meta_stmt *stmt, struct range_row *out)
{
    out->first = meta_column_int(stmt, 0);
    out->last = meta_column_int(stmt, 1);
    out->state = (range_state)meta_column_int(stmt, 2);
    out->lease_id = meta_column_int(stmt, 3);
    out->deadline = meta_column_int(stmt, 4);
    out->ready_at = meta_column_int(stmt, 5);
    out->deliveries = (int32_t)meta_column_int(stmt, 6);
    out->has_key = meta_column_int(stmt, 7) != 0;
    out->key = meta_column_int(stmt, 8);
    range_text_set(&out->holder, meta_column_text(stmt, 9));
    range_text_set(&out->reason, meta_column_text(stmt, 10));
}

static bool read_one(struct meta_stmt *stmt, struct range_row *out_row)
{
    bool found = meta_step(stmt);

    if (found) {
        read_range(stmt, out_row);
    }
    meta_done(stmt);
    return found;
}

void range_rows_visit(
    struct queue_row *queue, int64_t first, int64_t last, range_visit_fn visit, void *arg
)
{
    struct range_row row;
    struct meta_stmt *stmt = query_of(queue, META_RANGES_WITHIN);

    meta_bind_int(stmt, 4, first);
    meta_bind_int(stmt, 5, last);
    while (meta_step(stmt)) {
        read_range(stmt, &row);
        if (!visit(arg, &row)) {
            break;
        }
    }
    meta_done(stmt);
}

bool range_rows_at(struct queue_row *queue, int64_t offset, struct range_row *out_row)
{
    struct meta_stmt *stmt = query_of(queue, META_RANGE_AT);

    if (offset < queue->position || offset >= queue->frontier) {
        meta_done(stmt);
        return false;
    }
    meta_bind_int(stmt, 4, offset);
    bool found = read_one(stmt, out_row);
    RIA_ASSERT(found && out_row->last >= offset);
    return true;
}

bool range_rows_ready(struct queue_row *queue, int64_t floor, struct range_row *out_row)
{
    if (queue->row_count == 0) {
        return false;
    }
    struct meta_stmt *stmt = query_of(queue, META_RANGES_READY);
    meta_bind_int(stmt, 4, floor);
    return read_one(stmt, out_row);
}

bool range_rows_due(struct queue_row *queue, struct range_row *out_row)
{
    return queue->row_count > 0 && read_one(query_of(queue, META_RANGES_DUE), out_row);
}

bool range_rows_dead(struct queue_row *queue, struct range_row *out_row)
{
    return queue->row_count > 0 && read_one(query_of(queue, META_RANGES_DEAD), out_row);
}

bool range_rows_of_key(struct queue_row *queue, int64_t key, struct range_row *out_row)
{
    struct meta_stmt *stmt = query_of(queue, META_RANGES_OF_KEY);

    meta_bind_int(stmt, 4, key);
    return read_one(stmt, out_row);
}

/* ---- writing ---- */

static ria_err put(struct queue_row *queue, const struct range_row *row)
{
    struct meta_stmt *stmt = query_of(queue, META_RANGE_PUT);

    RIA_ASSERT(row->first <= row->last);
    meta_bind_int(stmt, 4, row->first);
    meta_bind_int(stmt, 5, row->last);
    meta_bind_int(stmt, 6, (int64_t)row->state);
    meta_bind_int(stmt, 7, row->lease_id);
    meta_bind_int(stmt, 8, row->deadline);
    meta_bind_int(stmt, 9, row->ready_at);
    meta_bind_int(stmt, 10, row->deliveries);
    meta_bind_int(stmt, 11, row->has_key ? 1 : 0);
    meta_bind_int(stmt, 12, row->key);
    meta_bind_text(stmt, 13, range_text_get(&row->holder));
    meta_bind_text(stmt, 14, range_text_get(&row->reason));
    return meta_run(stmt);
}

static ria_err set_last(struct queue_row *queue, int64_t first, int64_t last)
{
    struct meta_stmt *stmt = query_of(queue, META_RANGE_SET_LAST);

    meta_bind_int(stmt, 4, first);
    meta_bind_int(stmt, 5, last);
    return meta_run(stmt);
}

static ria_err delete_within(struct queue_row *queue, int64_t first, int64_t last)
{
    struct meta_stmt *stmt = query_of(queue, META_RANGES_DELETE);

    meta_bind_int(stmt, 4, first);
    meta_bind_int(stmt, 5, last);
    return meta_run(stmt);
}

bool range_rows_join(const struct range_row *left, const struct range_row *right)
{
    if (left->state != right->state || left->last + 1 != right->first) {
        return false;
    }
    if (left->state == RANGE_DONE) {
        return true;
    }
    if (left->has_key != right->has_key ||
        (left->has_key && (left->state != RANGE_HELD || left->key != right->key))) {
        return false;
    }
    return left->lease_id == right->lease_id && left->deadline == right->deadline &&
           left->ready_at == right->ready_at && left->deliveries == right->deliveries &&
           text_equal(&left->holder, &right->holder) && text_equal(&left->reason, &right->reason);
}

/* The rows that a new one touches: those that hold any of it, and its neighbours. */
struct touched {
    struct range_row low; /* holds first - 1, or first if that is the position */
    struct range_row high;
    int64_t within; /* rows that begin within the new one */
    bool starts;    /* one of them where the new one does */
};

static bool add_key(struct rows *keys, int64_t key)
{
    int64_t *added = rows_add(keys);

    if (added != NULL) {
        *added = key;
    }
    return added != NULL;
}

/* What of a row is in [first, last] is not what it was any more. */
static void
forget_records(struct queue_row *queue, const struct range_row *row, int64_t first, int64_t last)
{
    int64_t from = ria_max_i64(row->first, first);
    int64_t to = ria_min_i64(row->last, last);

    if (from <= to) {
        add_records(queue, row->state, -(to - from + 1));
    }
}

/* False: a key did not fit into keys (may be NULL). */
static bool read_touched(
    struct queue_row *queue, const struct range_row *row, struct touched *out, struct rows *keys
)
{
    int64_t from = ria_max_i64(row->first - 1, queue->position);
    struct meta_stmt *stmt = query_of(queue, META_RANGES_WITHIN);
    bool found = false;
    bool fits = true;

    meta_bind_int(stmt, 4, from);
    meta_bind_int(stmt, 5, row->last + 1);
    out->within = 0;
    out->starts = false;
    while (meta_step(stmt)) {
        read_range(stmt, &out->high);
        if (!found) {
            out->low = out->high;
        }
        found = true;
        forget_records(queue, &out->high, row->first, row->last);
        out->starts = out->starts || out->high.first == row->first;
        out->within += out->high.first >= row->first && out->high.first <= row->last ? 1 : 0;
        if (keys != NULL && out->high.has_key && out->high.last >= row->first &&
            out->high.first <= row->last) {
            fits = fits && add_key(keys, out->high.key);
        }
    }
    meta_done(stmt);
    RIA_ASSERT(found);
    RIA_ASSERT(out->low.first <= from && out->high.last >= row->last);
    return fits;
}

/* What is left of the last row behind the new one, or the row that follows it: joined with the new
 * one, or written again under its new beginning. */
static ria_err
set_right(struct queue_row *queue, const struct touched *touched, struct range_row *row)
{
    struct range_row right = touched->high;

    if (right.last <= row->last) {
        return RIA_OK; /* the new one ends at the frontier, or exactly there */
    }
    bool cut = right.first <= row->last;
    right.first = row->last + 1;
    if (range_rows_join(row, &right)) {
        queue->row_count -= cut ? 0 : 1;
        RIA_TRY(cut ? RIA_OK : delete_within(queue, right.first, right.first));
        row->last = right.last;
        return RIA_OK;
    }
    if (cut) {
        queue->row_count++;
        return put(queue, &right);
    }
    return RIA_OK;
}

/* The same on the other side. *out_is_joined: the new row has taken the left one's beginning. */
static ria_err set_left(
    struct queue_row *queue,
    const struct touched *touched,
    struct range_row *row,
    bool *out_is_joined
)
{
    struct range_row left = touched->low;

    *out_is_joined = false;
    if (left.first >= row->first) {
        return RIA_OK;
    }
    bool cut = left.last >= row->first;
    left.last = row->first - 1;
    if (range_rows_join(&left, row)) {
        row->first = left.first;
        *out_is_joined = true;
        return RIA_OK;
    }
    return cut ? set_last(queue, left.first, left.last) : RIA_OK;
}

static bool is_counted_anew(const struct queue_row *queue, const struct queue_row *before)
{
    return queue->row_count != before->row_count || queue->leased != before->leased ||
           queue->waiting != before->waiting || queue->held != before->held ||
           queue->dead != before->dead;
}

static ria_err replace(struct queue_row *queue, const struct range_row *new_row, struct rows *keys)
{
    struct touched touched;
    struct range_row row = *new_row;
    const struct queue_row before = *queue;
    bool is_joined = false;

    RIA_ASSERT(row.first >= queue->position && row.first <= row.last);
    RIA_ASSERT(row.last < queue->frontier);

    if (!read_touched(queue, &row, &touched, keys)) {
        return ria_arena_err(keys->arena);
    }
    add_records(queue, row.state, row.last - row.first + 1);
    RIA_TRY(set_right(queue, &touched, &row));
    RIA_TRY(set_left(queue, &touched, &row, &is_joined));
    bool is_passed = row.state == RANGE_DONE && row.first == queue->position;
    RIA_ASSERT(!is_passed || !is_joined);
    bool is_written_over = touched.starts && !is_joined && !is_passed;
    if (touched.within > (is_written_over ? 1 : 0)) {
        int64_t from = new_row->first + (is_written_over ? 1 : 0);
        RIA_TRY(delete_within(queue, from, new_row->last));
    }
    queue->row_count -= touched.within;
    if (is_passed) {
        queue->position = row.last + 1;
    } else if (is_joined) {
        RIA_TRY(set_last(queue, row.first, row.last));
    } else {
        queue->row_count++;
        RIA_TRY(put(queue, &row));
    }
    queue->touched = queue->touched || is_passed || is_counted_anew(queue, &before);
    return RIA_OK;
}

ria_err range_rows_set(struct queue_row *queue, const struct range_row *row)
{
    return replace(queue, row, NULL);
}

ria_err range_rows_finish(struct queue_row *queue, int64_t first, int64_t last, struct rows *keys)
{
    const struct range_row done = {.first = first, .last = last, .state = RANGE_DONE};

    return replace(queue, &done, keys);
}

ria_err range_rows_lease(struct queue_row *queue, const struct range_row *row)
{
    RIA_ASSERT(row->state == RANGE_LEASED && row->has_key && row->first == row->last);

    add_records(queue, RANGE_WAITING, -1);
    add_records(queue, RANGE_LEASED, 1);
    queue->touched = true;
    struct meta_stmt *stmt = query_of(queue, META_RANGE_LEASE);
    meta_bind_int(stmt, 4, row->first);
    meta_bind_int(stmt, 5, row->lease_id);
    meta_bind_int(stmt, 6, row->deadline);
    meta_bind_int(stmt, 7, row->ready_at);
    meta_bind_int(stmt, 8, row->deliveries);
    meta_bind_text(stmt, 9, range_text_get(&row->holder));
    return meta_run(stmt);
}

ria_err range_rows_append(struct queue_row *queue, const struct range_row *row)
{
    RIA_ASSERT(row->first == queue->frontier && row->first <= row->last);
    RIA_ASSERT(row->state != RANGE_DONE);

    queue->touched = true;
    queue->row_count++;
    add_records(queue, row->state, row->last - row->first + 1);
    queue->frontier = row->last + 1;
    return put(queue, row);
}

/* ---- check ---- */

struct checking {
    struct queue_row *queue;
    int64_t next; /* offset */
    int64_t count;
    struct queue_row sums;
    bool was_done;
    const char *wrong;
};

static const char *check_row(struct checking *checking, const struct range_row *row)
{
    bool leased = row->state == RANGE_LEASED;

    if (row->first != checking->next || row->last < row->first) {
        return "rows leave a gap or overlap";
    }
    if (row->state == RANGE_DONE && (row->first == checking->queue->position)) {
        return "a DONE row is at the position";
    }
    if (row->state == RANGE_DONE && checking->was_done) {
        return "two DONE rows are side by side";
    }
    if (leased != (row->lease_id != 0) && row->state != RANGE_DEAD) {
        return "LEASED without a lease, or a lease of something else";
    }
    if (leased && row->ready_at < row->deadline) {
        return "ready before its lease is over";
    }
    if ((row->state == RANGE_HELD || row->state == RANGE_DONE) && row->ready_at != 0) {
        return "HELD or DONE with a time";
    }
    if (row->has_key && row->state != RANGE_HELD && row->first != row->last) {
        return "a key given out in more than one record";
    }
    if (row->state == RANGE_HELD && !row->has_key) {
        return "HELD without a key";
    }
    return NULL;
}

static bool visit_check(void *arg, const struct range_row *row)
{
    struct checking *checking = arg;

    checking->wrong = check_row(checking, row);
    add_records(&checking->sums, row->state, row->last - row->first + 1);
    checking->next = row->last + 1;
    checking->count++;
    checking->was_done = row->state == RANGE_DONE;
    return checking->wrong == NULL;
}

/* Of each key the first row, and no other, is out of HELD. */
static const char *check_keys(struct queue_row *queue)
{
    struct meta_stmt *stmt = query_of(queue, META_RANGES_BY_KEY);
    const char *wrong = NULL;
    bool any = false;
    int64_t last_key = 0;

    while (wrong == NULL && meta_step(stmt)) {
        int64_t key = meta_column_int(stmt, 0);
        bool is_first = !any || key != last_key;
        bool is_held = meta_column_int(stmt, 1) == RANGE_HELD;
        if (is_first && is_held) {
            wrong = "the first of a key is HELD";
        } else if (!is_first && !is_held) {
            wrong = "two of a key may be out";
        }
        any = true;
        last_key = key;
    }
    meta_done(stmt);
    return wrong;
}

const char *range_rows_check(struct queue_row *queue)
{
    struct checking checking = {.queue = queue, .next = queue->position};

    if (queue->position > queue->frontier) {
        return "the position is past the frontier";
    }
    range_rows_visit(queue, 0, INT64_MAX, visit_check, &checking);
    if (checking.wrong != NULL) {
        return checking.wrong;
    }
    if (checking.next != queue->frontier) {
        return "rows do not reach the frontier, or pass it";
    }
    if (checking.count != queue->row_count) {
        return "row_count is not the number of rows";
    }
    if (checking.sums.leased != queue->leased || checking.sums.waiting != queue->waiting ||
        checking.sums.held != queue->held || checking.sums.dead != queue->dead) {
        return "leased, waiting, held or dead is not what the rows say";
    }
    return check_keys(queue);
}
