/* QueueAck: ends or changes leases of records.
 *
 * Each entry is done or refused by itself, as a whole: its records are looked at first, and if one
 * of them is not leased under the id any more nothing has happened. */
#include <inttypes.h>
#include <stdarg.h>

#include "common/assert.h"

#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_ack_result.h"

#include "services/coordinator/apply_queue.h"

typedef struct queue_ack_queue_ack_entry ack_entry;
typedef struct queue_ack_result_queue_acked acked_entry;

enum {
    ACK_DONE = 1,
    ACK_FAILED = 2,
    ACK_EXTEND = 3,
    ACK_REJECT = 4,
    ACK_GIVE_BACK = 5,
    ACK_BURIED = 6,
};

struct acking {
    struct queue_call queue;
    const struct queue_ack *request;
    int32_t partition_count;
    const ack_entry *entry;
    acked_entry *acked;
};

/* The entry is refused; that is no error of the operation. */
static ria_err refuse(struct acking *a, ria_err err, const char *fmt, ...) RIA_PRINTF(3, 4);
static ria_err refuse(struct acking *a, ria_err err, const char *fmt, ...)
{
    va_list args;

    a->acked->error_code = (int16_t)err;
    va_start(args, fmt);
    ria_err text_err = queue_format(&a->queue, &a->acked->error_text, fmt, args);
    va_end(args);
    return text_err;
}

/* ---- may it be done ---- */

struct looking {
    const struct acking *a;
    int64_t next; /* first offset that has not been looked at */
    bool adds;    /* there may be more rows by it */
    bool failed;
    struct range_row row; /* failed: that it is of */
};

static bool is_allowed(const struct acking *a, const struct range_row *row)
{
    range_state wanted = a->entry->action == ACK_BURIED ? RANGE_DEAD : RANGE_LEASED;

    return row->state == wanted && row->lease_id == a->entry->lease_id &&
           row->deadline > a->queue.call->now_ms;
}

/* A record that is finished may release others of its key. */
static bool finishes(const struct acking *a, const struct range_row *row)
{
    const struct group_row *group = &a->queue.call->group;

    switch (a->entry->action) {
    case ACK_DONE:
    case ACK_BURIED:
        return true;
    case ACK_FAILED:
        return group->dead_topic.size == 0 && row->deliveries >= group->deliveries_max;
    case ACK_REJECT:
        return group->dead_topic.size == 0;
    default:
        return false;
    }
}

/* At the bound, what may add rows. */
static bool may_add(const struct acking *a)
{
    const ack_entry *entry = a->entry;
    bool is_finish = entry->action == ACK_DONE || entry->action == ACK_BURIED;

    return is_finish ? queue_may_finish(&a->queue, entry->first)
                     : queue_may_split(&a->queue, entry->first, entry->last);
}

static bool look(void *arg, const struct range_row *row)
{
    struct looking *looking = arg;
    const ack_entry *entry = looking->a->entry;

    looking->adds = looking->adds || row->first < entry->first || row->last > entry->last ||
                    (row->has_key && finishes(looking->a, row));
    looking->failed = !is_allowed(looking->a, row);
    if (looking->failed) {
        looking->row = *row;
    } else {
        looking->next = row->last + 1;
    }
    return !looking->failed;
}

static ria_err refuse_over(struct acking *a, int64_t deadline)
{
    return refuse(
        a,
        RIA_ERR_CONFLICT,
        "lease %" PRId64 " was over %" PRId64 " ms ago",
        a->entry->lease_id,
        a->queue.call->now_ms - deadline
    );
}

/* Why offset, whose row is row, is not the consumer's. */
static ria_err refuse_row(struct acking *a, int64_t offset, const struct range_row *row)
{
    switch (row->state) {
    case RANGE_DONE: /* rows of them are joined: what is not in this one is not done */
        a->acked->finished = offset == a->entry->first && row->last >= a->entry->last;
        return refuse(a, RIA_ERR_CONFLICT, "offset %" PRId64 " is finished already", offset);
    case RANGE_DEAD:
    case RANGE_LEASED:
        if (row->lease_id == a->entry->lease_id) {
            return row->deadline <= a->queue.call->now_ms
                       ? refuse_over(a, row->deadline)
                       : refuse(
                             a,
                             RIA_ERR_CONFLICT,
                             "offset %" PRId64 " is %s",
                             offset,
                             row->state == RANGE_DEAD ? "dead: it can only be buried" : "not dead"
                         );
        }
        if (row->state == RANGE_LEASED) {
            return refuse(
                a,
                RIA_ERR_CONFLICT,
                "lease %" PRId64 " is over: another consumer has had offset %" PRId64 " since",
                a->entry->lease_id,
                offset
            );
        }
        break;
    case RANGE_WAITING:
    case RANGE_HELD:
        break;
    }
    return refuse(
        a,
        RIA_ERR_CONFLICT,
        "lease %" PRId64 " is over: offset %" PRId64 " is %s",
        a->entry->lease_id,
        offset,
        row->state == RANGE_DEAD ? "dead" : "to be delivered again"
    );
}

/* Why offset, which has no row, is not the consumer's. */
static ria_err refuse_offset(struct acking *a, int64_t offset)
{
    const struct queue_row *row = &a->queue.row;

    if (offset < row->position) {
        a->acked->finished = a->entry->last < row->position;
        return refuse(a, RIA_ERR_CONFLICT, "offset %" PRId64 " is finished already", offset);
    }
    if (row->unsettled == a->entry->lease_id) {
        return queue_is_unsettled(&a->queue)
                   ? refuse(a, RIA_ERR_CONFLICT, "offset %" PRId64 " is not settled yet", offset)
                   : refuse_over(a, row->unsettled_deadline);
    }
    return refuse(a, RIA_ERR_CONFLICT, "offset %" PRId64 " is not leased", offset);
}

/* *out_ok: all of the entry's records are the consumer's; else it is refused. */
static ria_err check_leased(struct acking *a, bool *out_ok)
{
    struct queue_row *row = &a->queue.row;
    const ack_entry *entry = a->entry;
    struct looking looking = {.a = a, .next = entry->first};

    *out_ok = false;
    if (entry->first < row->position || entry->first >= row->frontier) {
        return refuse_offset(a, entry->first);
    }
    range_rows_visit(row, entry->first, entry->last, look, &looking);
    if (looking.failed) {
        return refuse_row(a, looking.next, &looking.row);
    }
    if (looking.next <= entry->last) {
        return refuse_offset(a, looking.next); /* past the frontier */
    }
    if (looking.adds && !may_add(a)) {
        return refuse(
            a,
            RIA_ERR_LIMIT,
            "the partition has %" PRId64 " rows, its limit: name records as they were received",
            row->row_count
        );
    }
    *out_ok = true;
    return RIA_OK;
}

static ria_err check_number(
    struct acking *a, const char *field, int64_t value, int64_t min, int64_t max, bool *out_ok
)
{
    *out_ok = value >= min && value <= max;
    return *out_ok ? RIA_OK
                   : refuse(
                         a,
                         RIA_ERR_INVALID,
                         "%s is %" PRId64 ", must be %" PRId64 "..%" PRId64,
                         field,
                         value,
                         min,
                         max
                     );
}

static ria_err check_entry(struct acking *a, bool *out_ok)
{
    const ack_entry *entry = a->entry;
    bool is_extend = entry->action == ACK_EXTEND;

    RIA_TRY(check_number(a, "action", entry->action, ACK_DONE, ACK_BURIED, out_ok));
    if (*out_ok) {
        RIA_TRY(check_number(a, "first", entry->first, 0, INT64_MAX - 1, out_ok));
    }
    if (*out_ok) {
        RIA_TRY(check_number(a, "last", entry->last, entry->first, INT64_MAX - 1, out_ok));
    }
    if (*out_ok && entry->delay_ms != -1 && (is_extend || entry->action == ACK_FAILED)) {
        int64_t min = is_extend ? GROUP_LEASE_MS_MIN : 0;
        int64_t max = is_extend ? GROUP_LEASE_MS_MAX : QUEUE_DELAY_MS_MAX;
        RIA_TRY(check_number(a, "delayMs", entry->delay_ms, min, max, out_ok));
    }
    if (*out_ok && (entry->partition < 0 || entry->partition >= a->partition_count)) {
        *out_ok = false;
        return refuse(
            a, RIA_ERR_UNKNOWN_PARTITION, "there is no partition %" PRId32, entry->partition
        );
    }
    return RIA_OK;
}

/* ---- do it ---- */

static ria_err fail_piece(struct acking *a, const struct range_row *piece)
{
    int64_t delay_ms = a->entry->delay_ms == -1 ? queue_retry_delay(&a->queue, piece->deliveries)
                                                : a->entry->delay_ms;

    return queue_fail(&a->queue, piece, a->queue.call->now_ms + delay_ms);
}

static ria_err extend_piece(struct acking *a, struct range_row *piece)
{
    struct group_call *call = a->queue.call;
    int64_t before = piece->ready_at;

    a->acked->left_ms = a->entry->delay_ms == -1 ? call->group.lock_ms : a->entry->delay_ms;
    queue_lease(&a->queue, piece, piece->lease_id, call->now_ms + a->acked->left_ms);
    if (piece->ready_at < before) {
        group_changed(call); /* earlier than whoever waits was told */
    }
    return range_rows_set(&a->queue.row, piece);
}

static ria_err act_on_piece(struct acking *a, struct range_row *piece)
{
    switch (a->entry->action) {
    case ACK_FAILED:
        return fail_piece(a, piece);
    case ACK_EXTEND:
        return extend_piece(a, piece);
    case ACK_REJECT:
        return queue_kill(&a->queue, piece, a->entry->reason);
    default:
        RIA_ASSERT(a->entry->action == ACK_GIVE_BACK);
        piece->deliveries--;
        return queue_put_back(&a->queue, piece, 0);
    }
}

/* All of the entry's records are of rows that may be changed. */
static ria_err act(struct acking *a)
{
    const ack_entry *entry = a->entry;
    struct queue_row *row = &a->queue.row;
    struct range_row piece;

    if (entry->action == ACK_DONE || entry->action == ACK_BURIED) {
        row->committed_ms = a->queue.call->time_ms;
        row->touched = true;
        return queue_finish(&a->queue, entry->first, entry->last);
    }
    for (int64_t offset = entry->first; offset <= entry->last; offset = piece.last + 1) {
        bool found = range_rows_at(row, offset, &piece);
        RIA_ASSERT(found);
        piece.first = offset;
        piece.last = ria_min_i64(piece.last, entry->last);
        int64_t last = piece.last;
        RIA_TRY(act_on_piece(a, &piece));
        RIA_ASSERT(piece.last == last);
    }
    return RIA_OK;
}

/* A lease that is not settled can be given back as a whole: nobody has had its records. */
static bool is_giving_up(const struct acking *a)
{
    const struct queue_row *row = &a->queue.row;

    return a->entry->action == ACK_GIVE_BACK && queue_is_unsettled(&a->queue) &&
           row->unsettled == a->entry->lease_id && a->entry->first == row->frontier &&
           a->entry->last == row->unsettled_end - 1;
}

static ria_err ack_entry_of_queue(struct acking *a)
{
    bool ok = false;

    if (is_giving_up(a)) {
        queue_forget_unsettled(&a->queue);
        group_changed(a->queue.call);
        return RIA_OK;
    }
    RIA_TRY(check_leased(a, &ok));
    return ok ? act(a) : RIA_OK;
}

/* The entries that follow one another in a partition share its row. */
static ria_err ack_all(struct acking *a, acked_entry *acked)
{
    const struct queue_ack *request = a->request;
    bool open = false;
    int32_t partition = -1;

    for (uint32_t i = 0; i < request->entries_count; i++) {
        bool ok = false;
        a->entry = &request->entries[i];
        a->acked = &acked[i];
        RIA_TRY(check_entry(a, &ok));
        if (!ok) {
            continue;
        }
        if (a->entry->partition != partition) {
            RIA_TRY(open ? queue_close(&a->queue) : RIA_OK);
            partition = a->entry->partition;
            open = queue_open(&a->queue, &request->topic_id, partition);
        }
        RIA_TRY(
            open ? ack_entry_of_queue(a)
                 : refuse(a, RIA_ERR_CONFLICT, "offset %" PRId64 " is not leased", a->entry->first)
        );
    }
    return open ? queue_close(&a->queue) : RIA_OK;
}

ria_err apply_queue_ack(struct group_call *call, const void *body, void *result)
{
    const struct queue_ack *request = body;
    struct queue_ack_result *answer = result;
    struct acking a = {.request = request};

    RIA_TRY(group_check_topic(call, "topicId", &request->topic_id, &a.partition_count));
    RIA_TRY(group_find_mode(call, request->group, GROUP_QUEUE));
    queue_call_init(&a.queue, call);
    acked_entry *acked = ria_arena_alloc_array(call->arena, request->entries_count, sizeof(*acked));
    if (acked == NULL) {
        return ria_arena_err(call->arena);
    }
    for (uint32_t i = 0; i < request->entries_count; i++) {
        queue_ack_result_queue_acked_init(&acked[i]);
    }
    RIA_TRY(ack_all(&a, acked));
    answer->entries = acked;
    answer->entries_count = request->entries_count;
    answer->changed = call->group.changed;
    return RIA_OK;
}
