/* QueueReceive: lease records of one topic.
 *
 * Of each partition: what has become due is made ready, dead records go to the gateway, then what
 * is ready is leased, lowest offset first, then what is fresh. A call that is repeated is first
 * given what it was given before (queue_reads.h). All that one call leases has one lease id. Which
 * partition is looked at first moves on with each lease, so that a busy one does not starve the
 * others. */
#include "common/assert.h"

#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_receive_result.h"

#include "services/coordinator/apply_queue.h"
#include "services/coordinator/queue_reads.h"
#include "services/coordinator/rows.h"

struct receiving {
    struct queue_call queue;
    const struct queue_receive *request;
    int32_t partition_count;
    int64_t *ends;   /* by partition, 0 = not known */
    int64_t *floors; /* by partition, 0 = none */
    int64_t lease_id;
    int64_t deadline;
    int64_t records_left;
    int64_t
        look_ahead_left; /* fresh records whose keys are asked for, though they are not wanted */
    int64_t dead_left;
    int64_t retry_at; /* INT64_MAX = never */
    bool full;
    struct rows granted;
    struct rows dead;
    struct rows offered;
};

static void ask_again_at(struct receiving *r, int64_t ready_at)
{
    r->retry_at = ria_min_i64(r->retry_at, ready_at);
}

/* ---- the request ---- */

static ria_err check_request(struct group_call *call, const struct queue_receive *request)
{
    struct apply *apply = call->apply;

    RIA_TRY(apply_check_range(apply, "recordsMax", request->records_max, 0, QUEUE_RECORDS_MAX));
    RIA_TRY(apply_check_range(
        apply, "lookAhead", request->look_ahead, 0, QUEUE_RECORDS_MAX - request->records_max
    ));
    RIA_TRY(apply_check_range(apply, "deadMax", request->dead_max, 0, QUEUE_RECORDS_MAX));
    if (request->consumer.size > 0) {
        RIA_TRY(group_check_name(call, "consumer", request->consumer));
    }
    if (request->lock_ms != -1) {
        RIA_TRY(apply_check_range(
            apply, "lockMs", request->lock_ms, GROUP_LEASE_MS_MIN, GROUP_LEASE_MS_MAX
        ));
    }
    return RIA_OK;
}

static ria_err take_ends(struct receiving *r)
{
    const struct queue_receive *request = r->request;
    struct group_call *call = r->queue.call;

    r->ends = ria_arena_alloc_array(call->arena, (size_t)r->partition_count, sizeof(*r->ends));
    if (r->ends == NULL) {
        return ria_arena_err(call->arena);
    }
    for (uint32_t i = 0; i < request->ends_count; i++) {
        int32_t partition = request->ends[i].partition;
        RIA_TRY(group_check_partition(call, "ends.partition", partition, r->partition_count));
        r->ends[partition] = ria_max_i64(r->ends[partition], request->ends[i].offset);
    }
    return RIA_OK;
}

static ria_err take_floors(struct receiving *r)
{
    const struct queue_receive *request = r->request;
    struct group_call *call = r->queue.call;

    r->floors = ria_arena_alloc_array(call->arena, (size_t)r->partition_count, sizeof(*r->floors));
    if (r->floors == NULL) {
        return ria_arena_err(call->arena);
    }
    for (uint32_t i = 0; i < request->floors_count; i++) {
        int32_t partition = request->floors[i].partition;
        RIA_TRY(group_check_partition(call, "floors.partition", partition, r->partition_count));
        r->floors[partition] = request->floors[i].offset;
    }
    return RIA_OK;
}

/* The first start of a partition counts. */
static ria_err take_starts(struct receiving *r)
{
    const struct queue_receive *request = r->request;
    struct queue_call *queue = &r->queue;
    struct group_call *call = queue->call;

    for (uint32_t i = 0; i < request->starts_count; i++) {
        int32_t partition = request->starts[i].partition;
        int64_t offset = request->starts[i].offset;
        RIA_TRY(group_check_partition(call, "starts.partition", partition, r->partition_count));
        RIA_TRY(apply_check_range(call->apply, "starts.offset", offset, 0, INT64_MAX));
        if (!queue_open(queue, &request->topic_id, partition)) {
            RIA_TRY(
                queue_row_insert(call->db, call->group.id, &request->topic_id, partition, offset)
            );
        }
    }
    return RIA_OK;
}

/* ---- what is given ---- */

/* Leased under row's lease. */
static ria_err grant(struct receiving *r, const struct range_row *row, bool unsettled)
{
    struct queue_receive_result_queue_grant *grant = rows_add(&r->granted);

    if (grant == NULL) {
        return ria_arena_err(r->granted.arena);
    }
    *grant = (struct queue_receive_result_queue_grant){
        .partition = r->queue.row.partition,
        .lease_id = row->lease_id,
        .first = row->first,
        .last = row->last,
        .deliveries = row->deliveries,
        .unsettled = unsettled,
        .left_ms = row->deadline - r->queue.call->now_ms,
    };
    r->records_left = ria_max_i64(r->records_left - (row->last - row->first + 1), 0);
    return RIA_OK;
}

/* The lease whose keys are not known, if it is this one. */
static ria_err grant_unsettled(struct receiving *r, int64_t lease_id)
{
    const struct queue_row *row = &r->queue.row;
    const struct range_row range = {
        .first = row->frontier,
        .last = row->unsettled_end - 1,
        .lease_id = lease_id,
        .deadline = row->unsettled_deadline,
        .deliveries = 1,
    };

    return queue_is_unsettled(&r->queue) && row->unsettled == lease_id ? grant(r, &range, true)
                                                                       : RIA_OK;
}

static ria_err offer(struct receiving *r, int32_t partition, int64_t offset)
{
    struct queue_receive_result_queue_offer *offer = rows_add(&r->offered);

    if (offer == NULL) {
        return ria_arena_err(r->offered.arena);
    }
    offer->partition = partition;
    offer->offset = offset;
    return RIA_OK;
}

static ria_err add_dead(struct receiving *r, const struct range_row *row)
{
    struct ria_arena *arena = r->queue.call->arena;
    struct queue_receive_result_queue_dead *dead = rows_add(&r->dead);
    struct ria_slice reason = RIA_SLICE_EMPTY;

    if (dead == NULL || !rows_copy_text(arena, range_text_get(&row->reason), &reason)) {
        return ria_arena_err(arena);
    }
    *dead = (struct queue_receive_result_queue_dead){
        .partition = r->queue.row.partition,
        .lease_id = row->lease_id,
        .first = row->first,
        .last = row->last,
        .deliveries = row->deliveries,
        .reason = reason,
    };
    r->dead_left = ria_max_i64(r->dead_left - (row->last - row->first + 1), 0);
    return RIA_OK;
}

static ria_err give_dead(struct receiving *r, struct range_row *row)
{
    row->lease_id = r->lease_id;
    row->deadline = r->queue.call->now_ms + QUEUE_DEAD_MS;
    row->ready_at = row->deadline;
    range_text_set(&row->holder, r->request->consumer);
    RIA_TRY(add_dead(r, row));
    ask_again_at(r, row->ready_at);
    return range_rows_set(&r->queue.row, row);
}

/* ---- a receive that is repeated: its answer was lost ---- */

/* A partition's rows of the leases that the spans name. */
struct looking {
    struct receiving *r;
    const struct queue_span *spans;
    uint32_t count;
    ria_err err;
};

/* One lease, but for a receive that got more when it was repeated. */
static bool is_of_spans(const struct looking *looking, int64_t lease_id)
{
    for (uint32_t i = 0; i < looking->count; i++) {
        if (looking->spans[i].lease_id == lease_id) {
            return true;
        }
    }
    return false;
}

static bool look(void *arg, const struct range_row *row)
{
    struct looking *looking = arg;
    struct receiving *r = looking->r;
    bool is_its = row->deadline > r->queue.call->now_ms && is_of_spans(looking, row->lease_id);

    if (is_its && row->state == RANGE_LEASED) {
        looking->err = grant(r, row, false);
    } else if (is_its && row->state == RANGE_DEAD) {
        looking->err = add_dead(r, row);
    }
    return looking->err == RIA_OK;
}

/* A partition's spans: they may overlap, but no row is looked at twice. */
static ria_err receive_spans_again(struct receiving *r, const struct queue_span *spans, uint32_t n)
{
    struct looking looking = {.r = r, .spans = spans, .count = n, .err = RIA_OK};
    int64_t next = 0; /* first offset that was not looked at */

    if (!queue_open(&r->queue, &r->request->topic_id, spans[0].partition)) {
        return RIA_OK;
    }
    for (uint32_t i = 0; i < n; i++) {
        next = ria_max_i64(next, spans[i].first);
        if (next <= spans[i].last) {
            range_rows_visit(&r->queue.row, next, spans[i].last, look, &looking);
            RIA_TRY(looking.err);
            next = spans[i].last + 1;
        }
    }
    int64_t unsettled = r->queue.row.unsettled;
    return is_of_spans(&looking, unsettled) ? grant_unsettled(r, unsettled) : RIA_OK;
}

/* What was given under this id comes first, and nothing in its place. */
static ria_err receive_again(struct receiving *r)
{
    struct queue_span *spans = NULL;
    uint32_t count = 0;
    uint32_t from = 0;

    RIA_TRY(queue_reads_find(&r->queue, r->request->read_id, &spans, &count));
    for (uint32_t i = 1; i <= count; i++) {
        if (i == count || spans[i].partition != spans[from].partition) {
            RIA_TRY(receive_spans_again(r, &spans[from], i - from));
            from = i;
        }
    }
    return RIA_OK;
}

/* What was given under the new lease. */
static ria_err remember(struct receiving *r)
{
    const struct queue_receive *request = r->request;
    const struct queue_receive_result_queue_grant *granted = r->granted.items;
    const struct queue_receive_result_queue_dead *dead = r->dead.items;
    struct queue_reading reading;

    queue_reading_begin(&reading, &r->queue, request->read_id, r->lease_id, r->deadline);
    for (uint32_t i = 0; i < r->granted.count; i++) {
        if (granted[i].lease_id == r->lease_id) {
            RIA_TRY(
                queue_reading_add(&reading, granted[i].partition, granted[i].first, granted[i].last)
            );
        }
    }
    RIA_TRY(queue_reading_end(&reading));
    for (uint32_t i = 0; i < r->dead.count; i++) {
        if (dead[i].lease_id == r->lease_id) {
            RIA_TRY(queue_reading_add(&reading, dead[i].partition, dead[i].first, dead[i].last));
        }
    }
    return queue_reading_end(&reading);
}

/* ---- one partition ---- */

/* The partition has as many rows as it may: nothing that would make more of one is given out. */
static void crowded(struct receiving *r)
{
    r->full = true;
    ask_again_at(r, r->queue.call->now_ms + QUEUE_CROWDED_MS);
}

/* How many of a row's first records, of those that are wanted, may be given out without the rest:
 * 0 = none. */
static int64_t may_take(const struct receiving *r, const struct range_row *row, int64_t wanted)
{
    int64_t more = ria_min_i64(row->last - row->first, wanted - 1);

    if (more == row->last - row->first || queue_may_split(&r->queue, row->first, row->last)) {
        return more + 1;
    }
    return row->first == r->queue.row.position ? 1 : 0;
}

/* *out_taken false: it stays, since that would make more rows than there may be. */
static ria_err take_dead(struct receiving *r, struct range_row *row, bool *out_taken)
{
    struct queue_call *queue = &r->queue;

    if (queue->call->group.dead_topic.size == 0) { /* the group may have lost it since */
        *out_taken = queue_may_finish(queue, row->first);
        return *out_taken ? queue_kill(queue, row, RIA_SLICE_EMPTY) : RIA_OK;
    }
    int64_t count = may_take(r, row, r->dead_left);
    *out_taken = count > 0;
    if (count == 0) {
        return RIA_OK;
    }
    row->last = row->first + count - 1;
    return give_dead(r, row);
}

/* The next one: at the bound the one at the position, which is always taken. */
static bool next_dead(struct receiving *r, struct range_row *row)
{
    struct queue_row *queue = &r->queue.row;

    if (!queue_may_split(&r->queue, queue->position, queue->frontier) &&
        range_rows_at(queue, queue->position, row) && row->state == RANGE_DEAD &&
        row->ready_at <= r->queue.call->now_ms) {
        return true;
    }
    return range_rows_dead(queue, row);
}

static ria_err receive_dead(struct receiving *r)
{
    struct queue_call *queue = &r->queue;
    bool is_kept = queue->call->group.dead_topic.size > 0;
    bool taken = true;
    struct range_row row;

    for (int i = 0; next_dead(r, &row); i++) {
        if (row.ready_at > queue->call->now_ms || (is_kept && r->dead_left == 0) ||
            i == QUEUE_DUE_MAX) {
            if (r->request->dead_max > 0) {
                ask_again_at(r, row.ready_at);
            }
            return RIA_OK;
        }
        RIA_TRY(take_dead(r, &row, &taken));
        if (!taken) {
            crowded(r);
            return RIA_OK;
        }
    }
    return RIA_OK;
}

static ria_err receive_ready(struct receiving *r)
{
    struct queue_call *queue = &r->queue;
    int64_t floor = r->floors[queue->row.partition];
    struct range_row row;

    while (r->records_left > 0 && range_rows_ready(&queue->row, floor, &row)) {
        bool is_cut = row.first < floor;
        row.first = ria_max_i64(row.first, floor);
        int64_t count = may_take(r, &row, r->records_left);
        if (count == 0 || (is_cut && !queue_may_split(queue, row.first, row.last))) {
            crowded(r);
            break;
        }
        row.last = row.first + count - 1;
        row.deliveries++;
        queue_lease(queue, &row, r->lease_id, r->deadline);
        range_text_set(&row.holder, r->request->consumer);
        RIA_TRY(
            row.has_key ? range_rows_lease(&queue->row, &row) : range_rows_set(&queue->row, &row)
        );
        ask_again_at(r, row.ready_at);
        RIA_TRY(grant(r, &row, false));
    }
    return RIA_OK;
}

/* The keys of what is fresh are not known: nothing is given out before they are. Only one can look
 * at a time, so it may look for others, too. */
static ria_err lease_unsettled(struct receiving *r, int64_t room, int64_t end)
{
    struct queue_row *row = &r->queue.row;
    int64_t wanted = r->records_left + r->look_ahead_left;
    int64_t count = ria_min_i64(ria_min_i64(wanted, room), end - row->frontier);

    r->look_ahead_left -= ria_max_i64(count - r->records_left, 0);
    row->unsettled = r->lease_id;
    row->unsettled_end = row->frontier + count;
    row->unsettled_deadline = r->deadline;
    range_text_set(&row->unsettled_holder, r->request->consumer);
    row->named_end = ria_max_i64(row->named_end, end);
    row->touched = true;
    ask_again_at(r, r->deadline);
    return grant_unsettled(r, r->lease_id);
}

static ria_err lease_fresh(struct receiving *r, int64_t count)
{
    struct range_row row = {
        .first = r->queue.row.frontier,
        .last = r->queue.row.frontier + count - 1,
        .deliveries = 1,
    };

    queue_lease(&r->queue, &row, r->lease_id, r->deadline);
    range_text_set(&row.holder, r->request->consumer);
    RIA_TRY(range_rows_append(&r->queue.row, &row));
    ask_again_at(r, row.ready_at);
    return grant(r, &row, false);
}

/* Somebody looks at the keys of what comes next. When that is settled, `changed` tells those who
 * know that there is more behind it; the others watch for more. */
static ria_err wait_for_settle(struct receiving *r, int64_t end)
{
    struct queue_row *row = &r->queue.row;

    ask_again_at(r, row->unsettled_deadline);
    if (end <= row->unsettled_end) {
        return offer(r, row->partition, row->unsettled_end);
    }
    if (end > row->named_end) {
        row->named_end = end;
        row->touched = true;
    }
    return RIA_OK;
}

static ria_err receive_fresh(struct receiving *r)
{
    struct queue_row *row = &r->queue.row;
    int64_t end = r->ends[row->partition];
    int64_t room = QUEUE_ROWS_MAX - row->row_count;

    if (queue_is_unsettled(&r->queue)) {
        return wait_for_settle(r, end);
    }
    if (room <= 0) {
        r->full = true;
        return RIA_OK;
    }
    if (end <= row->frontier) {
        return offer(r, row->partition, row->frontier);
    }
    if (r->records_left == 0) {
        return RIA_OK;
    }
    return r->queue.call->group.key_order
               ? lease_unsettled(r, room, end)
               : lease_fresh(r, ria_min_i64(r->records_left, end - row->frontier));
}

static ria_err receive_partition(struct receiving *r, int32_t partition)
{
    struct queue_call *queue = &r->queue;
    int64_t next = INT64_MAX;

    if (!queue_open(queue, &r->request->topic_id, partition)) {
        return offer(r, partition, -1);
    }
    RIA_TRY(queue_expire(queue, &next));
    ask_again_at(r, next);
    RIA_TRY(receive_dead(r));
    RIA_TRY(receive_ready(r));
    RIA_TRY(receive_fresh(r));
    return queue_close(queue);
}

/* ---- all of them ---- */

/* Multiples of the golden ratio: even for any part of the lease ids, as when a group has several
 * topics. */
static int64_t first_partition(int64_t lease_id, int32_t partition_count)
{
    uint64_t fraction = (uint64_t)lease_id * UINT64_C(0x9e3779b97f4a7c15) >> 32;

    return (int64_t)(fraction * (uint64_t)partition_count >> 32);
}

/* Others have not been looked at. */
static bool is_filled(struct receiving *r)
{
    bool filled = r->request->records_max > 0 && r->records_left == 0;

    if (filled) {
        ask_again_at(r, 0);
    }
    return filled;
}

static ria_err receive_all(struct receiving *r)
{
    int64_t start = first_partition(r->lease_id, r->partition_count);

    if (is_filled(r)) {
        return RIA_OK; /* by what was given before */
    }
    for (int32_t i = 0; i < r->partition_count; i++) {
        int32_t partition = (int32_t)((start + i) % r->partition_count);
        RIA_TRY(receive_partition(r, partition));
        if (is_filled(r)) {
            break;
        }
    }
    return RIA_OK;
}

static void fill_result(struct receiving *r, struct queue_receive_result *result)
{
    const struct group_call *call = r->queue.call;

    result->granted = r->granted.items;
    result->granted_count = r->granted.count;
    result->dead = r->dead.items;
    result->dead_count = r->dead.count;
    result->offered = r->offered.items;
    result->offered_count = r->offered.count;
    result->full = r->full;
    result->key_order = call->group.key_order;
    result->dead_topic = call->group.dead_topic;
    result->changed = call->group.changed;
    if (r->retry_at != INT64_MAX) {
        result->retry_after_ms = ria_max_i64(r->retry_at - call->now_ms, 0);
    }
}

ria_err apply_queue_receive(struct group_call *call, const void *body, void *result)
{
    const struct queue_receive *request = body;
    struct group_row defaults = queue_defaults();
    struct receiving r = {
        .request = request,
        .records_left = request->records_max,
        .look_ahead_left = request->look_ahead,
        .dead_left = request->dead_max,
        .retry_at = INT64_MAX,
        .granted = rows_of(call->arena, sizeof(struct queue_receive_result_queue_grant)),
        .dead = rows_of(call->arena, sizeof(struct queue_receive_result_queue_dead)),
        .offered = rows_of(call->arena, sizeof(struct queue_receive_result_queue_offer)),
    };

    RIA_TRY(check_request(call, request));
    RIA_TRY(group_check_topic(call, "topicId", &request->topic_id, &r.partition_count));
    if (request->new_dead_topic.size > 0) {
        RIA_TRY(queue_check_dead_topic(call->apply, request->new_dead_topic));
        defaults.dead_topic = request->new_dead_topic;
    }
    /* Who wants nothing but what is dead makes no group: it may have been deleted meanwhile. */
    bool buries_only = request->records_max == 0 && request->dead_max > 0;
    RIA_TRY(
        buries_only ? group_find_mode(call, request->group, GROUP_QUEUE)
                    : group_find_or_make(call, request->group, GROUP_QUEUE, &defaults)
    );
    queue_call_init(&r.queue, call);
    RIA_TRY(take_ends(&r));
    RIA_TRY(take_floors(&r));
    RIA_TRY(take_starts(&r));
    r.lease_id = call->group.next_lease;
    r.deadline = call->now_ms + (request->lock_ms == -1 ? call->group.lock_ms : request->lock_ms);
    RIA_TRY(receive_again(&r));
    uint32_t again = r.granted.count + r.dead.count;
    RIA_TRY(receive_all(&r));
    if (r.granted.count + r.dead.count > again) {
        int64_t lease_id = group_row_next_lease(&call->group);
        RIA_ASSERT(lease_id == r.lease_id);
        RIA_TRY(queue_reads_forget(&r.queue, request->read_id, request->heard_below, lease_id));
        RIA_TRY(remember(&r));
    }
    fill_result(&r, result);
    return RIA_OK;
}
