#include "services/coordinator/apply_queue.h"

#include <stdio.h>

#include "common/assert.h"

#include "services/shared/queue_dead.h"

struct group_row queue_defaults(void)
{
    return (struct group_row){
        .lock_ms = QUEUE_LOCK_MS,
        .deliveries_max = QUEUE_DELIVERIES,
        .key_order = false,
        .retry_ms = RIA_SLICE_EMPTY,
        .dead_topic = RIA_SLICE_EMPTY,
    };
}

ria_err queue_check_dead_topic(struct apply *apply, struct ria_slice setting)
{
    bool is_pattern = ria_slice_equal(setting, RIA_SLICE_LITERAL(QUEUE_DEAD_DEFAULT));

    return setting.size == 0 || is_pattern ? RIA_OK : apply_check_name(apply, setting);
}

/* ---- life ---- */

void queue_call_init(struct queue_call *queue, struct group_call *call)
{
    RIA_ASSERT(call->open && call->group.mode == GROUP_QUEUE);
    queue->call = call;
    queue->retry_count = group_row_retries(&call->group, queue->retry_ms);
}

bool queue_open(struct queue_call *queue, const struct ria_uuid *topic_id, int32_t partition)
{
    const struct group_call *call = queue->call;

    if (!queue_row_read(call->db, call->group.id, topic_id, partition, &queue->row)) {
        return false;
    }
    queue->rows_before = queue->row.row_count;
    return true;
}

ria_err queue_close(struct queue_call *queue)
{
    /* Who was told that the partition is full waits for this. */
    if (queue->rows_before >= QUEUE_ROWS_MAX && queue->row.row_count < QUEUE_ROWS_MAX) {
        group_changed(queue->call);
    }
    return queue_row_store(&queue->row);
}

static bool has_room(const struct queue_call *queue)
{
    return queue->row.row_count <= QUEUE_ROWS_SPLIT_MAX - QUEUE_ROWS_RESERVED;
}

bool queue_may_split(const struct queue_call *queue, int64_t first, int64_t last)
{
    return has_room(queue) || (first == queue->row.position && first == last);
}

bool queue_may_finish(const struct queue_call *queue, int64_t first)
{
    return has_room(queue) || first == queue->row.position;
}

bool queue_is_unsettled(const struct queue_call *queue)
{
    return queue->row.unsettled != 0 && queue->row.unsettled_deadline > queue->call->now_ms;
}

void queue_forget_unsettled(struct queue_call *queue)
{
    struct queue_row *row = &queue->row;

    if (row->unsettled != 0) {
        row->unsettled = 0;
        row->unsettled_end = row->frontier;
        row->unsettled_deadline = 0;
        row->unsettled_holder.size = 0;
        row->touched = true;
    }
}

int64_t queue_retry_delay(const struct queue_call *queue, int32_t deliveries)
{
    if (queue->retry_count == 0 || deliveries < 1) {
        return 0;
    }
    return queue->retry_ms[ria_min_i64(deliveries, queue->retry_count) - 1];
}

ria_err queue_format(
    const struct queue_call *queue, struct ria_slice *out_text, const char *fmt, va_list args
)
{
    char text[RANGE_TEXT_MAX + 1];

    (void)vsnprintf(text, sizeof(text), fmt, args);
    const char *copy = ria_arena_strdup(queue->call->arena, ria_slice_cstr(text));
    if (copy == NULL) {
        return ria_arena_err(queue->call->arena);
    }
    *out_text = ria_slice_cstr(copy);
    return RIA_OK;
}

/* ---- what becomes of records ---- */

static bool is_used_up(const struct queue_call *queue, const struct range_row *row)
{
    return row->deliveries >= queue->call->group.deliveries_max;
}

void queue_lease(
    const struct queue_call *queue, struct range_row *row, int64_t lease_id, int64_t deadline
)
{
    int64_t delay_ms = is_used_up(queue, row) ? 0 : queue_retry_delay(queue, row->deliveries);

    row->state = RANGE_LEASED;
    row->lease_id = lease_id;
    row->deadline = deadline;
    row->ready_at = deadline + delay_ms;
}

static void clear_lease(struct range_row *row)
{
    row->lease_id = 0;
    row->deadline = 0;
    row->holder.size = 0;
}

ria_err queue_put_back(struct queue_call *queue, const struct range_row *row, int64_t ready_at)
{
    struct range_row next = *row;

    next.state = RANGE_WAITING;
    next.ready_at = ready_at <= queue->call->now_ms ? 0 : ready_at;
    clear_lease(&next);
    if (next.ready_at < row->ready_at && row->ready_at > queue->call->now_ms) {
        group_changed(queue->call); /* earlier than whoever waits was told */
    }
    return range_rows_set(&queue->row, &next);
}

ria_err queue_fail(struct queue_call *queue, const struct range_row *row, int64_t ready_at)
{
    return is_used_up(queue, row) ? queue_kill(queue, row, RIA_SLICE_LITERAL("delivery limit"))
                                  : queue_put_back(queue, row, ready_at);
}

ria_err queue_kill(struct queue_call *queue, const struct range_row *row, struct ria_slice reason)
{
    struct range_row next = *row;

    if (queue->call->group.dead_topic.size == 0) {
        queue->row.discarded += row->last - row->first + 1;
        queue->row.touched = true;
        return queue_finish(queue, row->first, row->last);
    }
    next.state = RANGE_DEAD;
    next.ready_at = 0;
    clear_lease(&next);
    range_text_set(&next.reason, reason);
    if (row->ready_at > queue->call->now_ms) {
        group_changed(queue->call); /* somebody must write it to the dead-letter topic */
    }
    return range_rows_set(&queue->row, &next);
}

/* ---- the end ---- */

/* The first record of the key that is not finished may be given out. */
static ria_err release_key(struct queue_call *queue, int64_t key)
{
    struct range_row row;

    if (!range_rows_of_key(&queue->row, key, &row) || row.state != RANGE_HELD) {
        return RIA_OK;
    }
    row.last = row.first;
    row.state = RANGE_WAITING;
    group_changed(queue->call);
    return range_rows_set(&queue->row, &row);
}

ria_err queue_finish(struct queue_call *queue, int64_t first, int64_t last)
{
    struct rows list = rows_of(queue->call->arena, sizeof(int64_t));

    RIA_TRY(range_rows_finish(&queue->row, first, last, &list));
    const int64_t *keys = list.items;
    for (uint32_t i = 0; i < list.count; i++) {
        RIA_TRY(release_key(queue, keys[i]));
    }
    return RIA_OK;
}

static bool is_due(const struct queue_call *queue, const struct range_row *row)
{
    return (row->state == RANGE_LEASED || row->state == RANGE_WAITING) && row->ready_at > 0 &&
           row->ready_at <= queue->call->now_ms;
}

/* It will be discarded, which may release a held row of many. */
static bool may_expire(const struct queue_call *queue, const struct range_row *row)
{
    bool is_finished = row->state == RANGE_LEASED && is_used_up(queue, row) &&
                       queue->call->group.dead_topic.size == 0;

    return !is_finished || queue_may_finish(queue, row->first);
}

static ria_err expire(struct queue_call *queue, const struct range_row *row)
{
    return row->state == RANGE_LEASED ? queue_fail(queue, row, 0) : queue_put_back(queue, row, 0);
}

/* At the bound the record at the position goes first: what may not expire must not be in its way.
 */
static ria_err expire_first(struct queue_call *queue)
{
    struct range_row row;

    if (has_room(queue) || !range_rows_at(&queue->row, queue->row.position, &row) ||
        !is_due(queue, &row)) {
        return RIA_OK;
    }
    return expire(queue, &row);
}

ria_err queue_expire(struct queue_call *queue, int64_t *out_next)
{
    int64_t now_ms = queue->call->now_ms;
    int64_t next = INT64_MAX;
    struct range_row row;

    if (queue->row.unsettled != 0 && !queue_is_unsettled(queue)) {
        queue_forget_unsettled(queue);
    }
    RIA_TRY(expire_first(queue));
    for (int i = 0; range_rows_due(&queue->row, &row); i++) {
        if (row.ready_at > now_ms || i == QUEUE_DUE_MAX) {
            next = row.ready_at;
            break;
        }
        if (!may_expire(queue, &row)) {
            next = now_ms + QUEUE_CROWDED_MS;
            break;
        }
        RIA_TRY(expire(queue, &row));
    }
    *out_next = next;
    return RIA_OK;
}
