/* QueueSettle: keys and delivery times of leased records; which of them may be handed out.
 *
 * Of a lease that is not settled, the entries name records from its first one on without a gap:
 * they get rows, the frontier moves behind them, and the lease is settled. What they do not name is
 * fresh again. Of settled ones only a delivery time counts. */
#include <inttypes.h>
#include <stdarg.h>

#include "common/assert.h"

#include "schemas/gen/queue_settle.h"
#include "schemas/gen/queue_settle_result.h"

#include "services/coordinator/apply_queue.h"

typedef struct queue_settle_queue_settle_entry settle_entry;
typedef struct queue_settle_result_queue_settled settled_entry;

struct settling {
    struct queue_call queue;
    const struct queue_settle *request;
    settled_entry *settled;
};

/* ---- the request ---- */

static ria_err
check_order(struct group_call *call, const settle_entry *before, const settle_entry *entry)
{
    bool ascends = before->partition < entry->partition ||
                   (before->partition == entry->partition && before->offset < entry->offset);

    if (ascends) {
        return RIA_OK;
    }
    return apply_fail(
        call->apply,
        RIA_ERR_INVALID,
        "entries must ascend: offset %" PRId64 " of partition %" PRId32 " comes too late",
        entry->offset,
        entry->partition
    );
}

static ria_err
check_request(struct group_call *call, const struct queue_settle *request, int32_t partition_count)
{
    for (uint32_t i = 0; i < request->entries_count; i++) {
        const settle_entry *entry = &request->entries[i];
        RIA_TRY(group_check_partition(call, "entries.partition", entry->partition, partition_count)
        );
        RIA_TRY(apply_check_range(
            call->apply, "entries.delayMs", entry->delay_ms, 0, QUEUE_DELAY_MS_MAX
        ));
        if (i > 0) {
            RIA_TRY(check_order(call, &request->entries[i - 1], entry));
        }
    }
    return RIA_OK;
}

/* The entry is refused; that is no error of the operation. */
static ria_err refuse(struct settling *s, settled_entry *settled, ria_err err, const char *fmt, ...)
    RIA_PRINTF(4, 5);
static ria_err refuse(struct settling *s, settled_entry *settled, ria_err err, const char *fmt, ...)
{
    va_list args;

    settled->error_code = (int16_t)err;
    va_start(args, fmt);
    ria_err text_err = queue_format(&s->queue, &settled->error_text, fmt, args);
    va_end(args);
    return text_err;
}

static ria_err refuse_over(struct settling *s, const settle_entry *entry, settled_entry *settled)
{
    return refuse(
        s,
        settled,
        RIA_ERR_CONFLICT,
        "offset %" PRId64 " is not leased under %" PRId64 " any more",
        entry->offset,
        entry->lease_id
    );
}

static ria_err refuse_full(struct settling *s, settled_entry *settled)
{
    int64_t rows = s->queue.row.row_count;

    return refuse(s, settled, RIA_ERR_LIMIT, "the partition has %" PRId64 " rows, its limit", rows);
}

/* ---- records that have a row ---- */

static bool is_splitting(const struct range_row *row, int64_t offset)
{
    return row->first < offset || row->last > offset;
}

static ria_err settle_leased(struct settling *s, const settle_entry *entry, settled_entry *settled)
{
    struct queue_call *queue = &s->queue;
    int64_t now_ms = queue->call->now_ms;
    struct range_row row;

    if (!range_rows_at(&queue->row, entry->offset, &row) || row.state != RANGE_LEASED ||
        row.lease_id != entry->lease_id || row.deadline <= now_ms) {
        return refuse_over(s, entry, settled);
    }
    if (entry->delay_ms == 0) {
        settled->hand_out = true;
        return RIA_OK;
    }
    if (is_splitting(&row, entry->offset) &&
        !queue_may_split(queue, entry->offset, entry->offset)) {
        return refuse_full(s, settled);
    }
    row.first = entry->offset;
    row.last = entry->offset;
    row.deliveries--;
    return queue_put_back(queue, &row, now_ms + entry->delay_ms);
}

/* ---- records of a lease that is not settled ---- */

/* A row that grows as long as what follows is the same. */
struct building {
    struct queue_row *queue;
    struct range_row row;
    bool any;
};

static ria_err build_end(struct building *building)
{
    bool any = building->any;

    building->any = false;
    return any ? range_rows_append(building->queue, &building->row) : RIA_OK;
}

static ria_err build(struct building *building, const struct range_row *row)
{
    if (building->any && range_rows_join(&building->row, row)) {
        building->row.last = row->last;
        return RIA_OK;
    }
    RIA_TRY(build_end(building));
    building->row = *row;
    building->any = true;
    return RIA_OK;
}

/* An earlier record of the key is not finished. */
static bool is_taken(struct settling *s, const struct building *building, int64_t key)
{
    struct range_row row;

    if (building->any && building->row.has_key && building->row.key == key) {
        return true;
    }
    return range_rows_of_key(&s->queue.row, key, &row);
}

static ria_err settle_one(
    struct settling *s, struct building *building, const settle_entry *entry, bool *out_hand_out
)
{
    struct queue_call *queue = &s->queue;
    struct range_row row = {
        .first = entry->offset,
        .last = entry->offset,
        .has_key = entry->has_key,
        .key = entry->has_key ? entry->key : 0,
    };

    *out_hand_out = false;
    if (entry->has_key && is_taken(s, building, entry->key)) {
        row.state = RANGE_HELD; /* its delivery time is looked at again when it is ready */
    } else if (entry->leave) {
        row.state = RANGE_WAITING; /* so is this one's */
        group_changed(queue->call);
    } else if (entry->delay_ms > 0) {
        row.state = RANGE_WAITING;
        row.ready_at = queue->call->now_ms + entry->delay_ms;
        if (row.ready_at < queue->row.unsettled_deadline) {
            group_changed(queue->call); /* earlier than whoever waits was told */
        }
    } else {
        row.deliveries = 1;
        queue_lease(queue, &row, entry->lease_id, queue->row.unsettled_deadline);
        row.holder = queue->row.unsettled_holder;
        *out_hand_out = true;
    }
    return build(building, &row);
}

static ria_err check_gap(struct settling *s, const settle_entry *entry, int64_t expected)
{
    const struct queue_row *row = &s->queue.row;

    if (entry->offset == expected && expected < row->unsettled_end) {
        return RIA_OK;
    }
    return apply_fail(
        s->queue.call->apply,
        RIA_ERR_INVALID,
        "offset %" PRId64 " of partition %" PRId32 ": lease %" PRId64
        " is not settled and covers %" PRId64 "..%" PRId64 ", which must be named without a gap",
        entry->offset,
        entry->partition,
        entry->lease_id,
        row->frontier,
        row->unsettled_end - 1
    );
}

static bool is_of(const settle_entry *entry, const settle_entry *first)
{
    return entry->partition == first->partition && entry->lease_id == first->lease_id;
}

/* Entries from the frontier on, as many as are of this lease. */
static ria_err settle_fresh(struct settling *s, uint32_t from, uint32_t *out_end)
{
    const struct queue_settle *request = s->request;
    struct queue_row *row = &s->queue.row;
    struct building building = {.queue = row};
    const settle_entry *first = &request->entries[from];
    int64_t expected = row->frontier;
    int64_t lease_end = row->unsettled_end;
    uint32_t i = from;

    for (; i < request->entries_count; i++, expected++) {
        const settle_entry *entry = &request->entries[i];
        if (!is_of(entry, first) || !queue_may_split(&s->queue, expected, lease_end)) {
            break;
        }
        RIA_TRY(check_gap(s, entry, expected));
        RIA_TRY(settle_one(s, &building, entry, &s->settled[i].hand_out));
    }
    RIA_TRY(build_end(&building));
    RIA_ASSERT(row->frontier == expected);
    queue_forget_unsettled(&s->queue);
    if (lease_end > row->frontier || row->named_end > row->frontier) {
        group_changed(s->queue.call); /* what is behind it is free now */
    }
    for (; i < request->entries_count && is_of(&request->entries[i], first); i++) {
        RIA_TRY(refuse_full(s, &s->settled[i])); /* fresh again */
    }
    *out_end = i;
    return RIA_OK;
}

/* ---- all of them ---- */

static bool is_fresh(const struct settling *s, const settle_entry *entry)
{
    return queue_is_unsettled(&s->queue) && s->queue.row.unsettled == entry->lease_id &&
           entry->offset >= s->queue.row.frontier;
}

/* Entries from `from` on, as many as are of one partition. */
static ria_err settle_partition(struct settling *s, uint32_t from, uint32_t *out_end)
{
    const struct queue_settle *request = s->request;
    int32_t partition = request->entries[from].partition;
    bool found = queue_open(&s->queue, &request->topic_id, partition);
    uint32_t i = from;

    while (i < request->entries_count && request->entries[i].partition == partition) {
        const settle_entry *entry = &request->entries[i];
        if (found && is_fresh(s, entry)) {
            RIA_TRY(settle_fresh(s, i, &i));
            continue;
        }
        if (found) {
            RIA_TRY(settle_leased(s, entry, &s->settled[i]));
        } else {
            RIA_TRY(refuse_over(s, entry, &s->settled[i]));
        }
        i++;
    }
    *out_end = i;
    return found ? queue_close(&s->queue) : RIA_OK;
}

ria_err apply_queue_settle(struct group_call *call, const void *body, void *result)
{
    const struct queue_settle *request = body;
    struct queue_settle_result *answer = result;
    struct settling s = {.request = request};
    int32_t partition_count = 0;

    RIA_TRY(group_check_topic(call, "topicId", &request->topic_id, &partition_count));
    RIA_TRY(group_find_mode(call, request->group, GROUP_QUEUE));
    RIA_TRY(check_request(call, request, partition_count));
    queue_call_init(&s.queue, call);
    s.settled = ria_arena_alloc_array(call->arena, request->entries_count, sizeof(*s.settled));
    if (s.settled == NULL) {
        return ria_arena_err(call->arena);
    }
    for (uint32_t i = 0; i < request->entries_count; i++) {
        queue_settle_result_queue_settled_init(&s.settled[i]);
    }
    for (uint32_t i = 0; i < request->entries_count;) {
        RIA_TRY(settle_partition(&s, i, &i));
    }
    answer->entries = s.settled;
    answer->entries_count = request->entries_count;
    answer->changed = call->group.changed;
    return RIA_OK;
}
