#include "services/coordinator/queue_reads.h"

#include "common/assert.h"

#include "services/coordinator/rows.h"

ria_err queue_reads_find(
    struct queue_call *queue, int64_t read_id, struct queue_span **out_spans, uint32_t *out_count
)
{
    bool ok = true;
    struct group_call *call = queue->call;
    struct rows rows = rows_of(call->arena, sizeof(struct queue_span));

    if (read_id > 0) {
        struct meta_stmt *stmt = meta_query(call->db, META_QUEUE_READ_GET);
        meta_bind_int(stmt, 1, call->group.id);
        meta_bind_int(stmt, 2, read_id);
        while (ok && meta_step(stmt)) {
            struct queue_span *span = rows_add(&rows);
            ok = span != NULL;
            if (ok) {
                span->partition = (int32_t)meta_column_int(stmt, 0);
                span->first = meta_column_int(stmt, 1);
                span->last = meta_column_int(stmt, 2);
                span->lease_id = meta_column_int(stmt, 3);
            }
        }
        meta_done(stmt);
    }
    *out_spans = rows.items;
    *out_count = rows.count;
    return ok ? RIA_OK : ria_arena_err(call->arena);
}

static ria_err forget_old(struct group_call *call)
{
    struct meta_stmt *stmt = meta_query(call->db, META_QUEUE_READS_OVER);

    meta_bind_int(stmt, 1, call->group.id);
    meta_bind_int(stmt, 2, call->now_ms);
    return meta_run(stmt);
}

static ria_err forget_heard(struct group_call *call, int64_t read_id, int64_t heard_below)
{
    struct meta_stmt *stmt = meta_query(call->db, META_QUEUE_READS_HEARD);

    meta_bind_int(stmt, 1, call->group.id);
    meta_bind_int(stmt, 2, read_id & ~((INT64_C(1) << QUEUE_READ_BITS) - 1));
    meta_bind_int(stmt, 3, ria_min_i64(heard_below, read_id));
    return meta_run(stmt);
}

ria_err
queue_reads_forget(struct queue_call *queue, int64_t read_id, int64_t heard_below, int64_t lease_id)
{
    if (read_id > 0 && lease_id % QUEUE_READS_HEARD == 0) {
        RIA_TRY(forget_heard(queue->call, read_id, heard_below));
    }
    return lease_id % QUEUE_READS_OLD == 0 ? forget_old(queue->call) : RIA_OK;
}

/* ---- noting ---- */

void queue_reading_begin(
    struct queue_reading *reading,
    struct queue_call *queue,
    int64_t read_id,
    int64_t lease_id,
    int64_t deadline
)
{
    *reading = (struct queue_reading){
        .queue = queue,
        .read_id = read_id,
        .until = ria_min_i64(deadline, queue->call->now_ms + QUEUE_READ_MS),
        .span.lease_id = lease_id,
    };
}

ria_err queue_reading_end(struct queue_reading *reading)
{
    const struct queue_span *span = &reading->span;
    struct group_call *call = reading->queue->call;

    if (!reading->any) {
        return RIA_OK;
    }
    reading->any = false;
    struct meta_stmt *stmt = meta_query(call->db, META_QUEUE_READ_ADD);
    meta_bind_int(stmt, 1, call->group.id);
    meta_bind_int(stmt, 2, reading->read_id);
    meta_bind_int(stmt, 3, span->partition);
    meta_bind_int(stmt, 4, span->first);
    meta_bind_int(stmt, 5, span->last);
    meta_bind_int(stmt, 6, span->lease_id);
    meta_bind_int(stmt, 7, reading->until);
    return meta_run(stmt);
}

static bool is_near(const struct queue_span *span, int32_t partition, int64_t first)
{
    return span->partition == partition && first > span->last &&
           first - span->last <= QUEUE_READ_GAP;
}

ria_err
queue_reading_add(struct queue_reading *reading, int32_t partition, int64_t first, int64_t last)
{
    struct queue_span *span = &reading->span;

    RIA_ASSERT(first <= last);
    if (reading->read_id <= 0) {
        return RIA_OK;
    }
    if (reading->any && is_near(span, partition, first)) {
        span->last = last;
        return RIA_OK;
    }
    RIA_TRY(queue_reading_end(reading));
    span->partition = partition;
    span->first = first;
    span->last = last;
    reading->any = true;
    return RIA_OK;
}
