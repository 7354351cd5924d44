/* The reading half of group_fetch: what was leased is fetched; what is of no use goes back;
 * positions outside of the log are dealt with as the caller wants. */
#include "schemas/gen/group_reset.h"

#include "services/gateway/group_fetch_internal.h"
#include "services/gateway/positions.h"

enum { AHEAD_GRACE_MS = 250 }; /* for the way to the leader and back */

/* --- reading -----------------------------------------------------------------------------------*/

/* What was read to no avail is given back; the rest stays. */
static void drop_empty(struct group_fetch *fetch)
{
    struct group_lease leases[GROUP_PARTITIONS_MAX];
    uint32_t count = 0;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < fetch->held_count; i++) {
        struct group_held *held = &fetch->held[i];
        if (held->msg != NULL || !held->is_read) {
            fetch->held[kept++] = *held;
            continue;
        }
        leases[count++] = (struct group_lease){
            .topic_id = held->partition->topic->id,
            .partition = held->partition->number,
            .id = held->lease,
        };
    }
    fetch->held_count = kept;
    fetch->reading.count = kept;
    if (!fetch->hold) {
        group_release(&fetch->gateway->group_releases, fetch->group, fetch->member, leases, count);
    }
}

static void settle(struct group_fetch *fetch)
{
    const struct group_held *failed = NULL;
    uint32_t before = fetch->held_count;

    for (uint32_t i = 0; i < before; i++) {
        if (failed == NULL && fetch->held[i].err != RIA_OK) {
            failed = &fetch->held[i];
        }
    }
    if (failed != NULL) {
        failure_of_err(&fetch->failure, failed->err, failed->text);
    }
    drop_empty(fetch);
    if (fetch->held_count > 0) {
        group_fetch_finish(fetch);
    } else if (failed != NULL) {
        group_fetch_fail(fetch);
    } else if (fetch->rounds < GROUP_FETCH_ROUNDS_MAX) {
        /* Hints were too high; by now they are not. */
        group_reading_drop(&fetch->reading);
        fetch->rounds++;
        group_fetch_ask(fetch);
    } else {
        group_reading_drop(&fetch->reading);
        group_fetch_wait(fetch);
    }
}

static void
fail_range(struct group_fetch *fetch, const struct group_held *held, const struct position *range)
{
    failure_set(
        &fetch->failure,
        400,
        "offset_out_of_range",
        "on_out_of_range",
        "the group's position %lld is outside of partition %d of topic %s, which has %lld to %lld; "
        "on_out_of_range=earliest or latest goes on there, or POST /v1/groups/{group}/reset",
        (long long)held->offset,
        (int)held->partition->number,
        held->partition->topic->name,
        (long long)range->log_start,
        (long long)range->high_watermark
    );
    group_fetch_fail(fetch);
}

static void reset_done(struct group_op *op, const struct group_op_result *result)
{
    struct group_fetch *fetch = op->arg;

    /* CONFLICT: another consumer has it by now, and does the same. */
    if (result->err != RIA_OK && result->err != RIA_ERR_CONFLICT) {
        group_failure(&fetch->failure, result);
        group_fetch_fail(fetch);
        return;
    }
    group_fetch_read(fetch);
}

/* The log ends before the position: only a reset moves it back. What cannot be read there goes. */
static void reset_positions(struct group_fetch *fetch, const struct group_reset *reset)
{
    if (reset->entries_count == 0) {
        group_fetch_read(fetch);
        return;
    }
    fetch->reset = (struct group_op){
        .kind = GROUP_OP_RESET,
        .body = reset,
        .deadline_us = group_fetch_deadline_us(fetch),
        .repeat = true,
        .done = reset_done,
        .arg = fetch,
    };
    group_op_start(&fetch->gateway->group_ops, &fetch->reset);
}

static void ranges_known(struct positions *positions)
{
    struct group_fetch *fetch = positions->arg;
    struct group_reset *reset = ria_arena_alloc(&fetch->round, sizeof(*reset));
    struct group_reset_group_reset_entry *entries =
        ria_arena_alloc_array(&fetch->round, positions->count, sizeof(*entries));

    if (reset == NULL || entries == NULL) {
        group_fetch_fail_err(fetch, RIA_ERR_NOMEM, "");
        return;
    }
    group_reset_init(reset);
    reset->group = fetch->group;
    reset->entries = entries;
    for (uint32_t i = 0; i < positions->count; i++) {
        const struct position *range = &positions->items[i];
        struct group_held *held = group_fetch_find(fetch, range->partition);
        if (!range->known) {
            held->err = RIA_ERR_NO_LEADER;
            continue;
        }
        if (position_range_has(range, held->offset)) {
            held->err = RIA_ERR_NOT_LEADER;
            held->text[0] = '\0';
            continue;
        }
        if (fetch->on_range == GROUP_RANGE_ERROR) {
            fail_range(fetch, held, range);
            return;
        }
        int64_t to =
            fetch->on_range == GROUP_RANGE_EARLIEST ? range->log_start : range->high_watermark;
        held->err = RIA_OK;
        marks_note(&fetch->gateway->marks, held->partition, range->high_watermark);
        if (to > held->offset) {
            held->offset = to; /* the lease covers it */
            held->next = to;
            held->is_read = false;
        } else {
            entries[reset->entries_count++] = (struct group_reset_group_reset_entry){
                .topic_id = held->partition->topic->id,
                .partition = held->partition->number,
                .offset = to,
            };
        }
    }
    if (reset->entries_count > 0) {
        drop_empty(fetch); /* in front of the reset */
    }
    reset_positions(fetch, reset);
}

static bool find_ranges(struct group_fetch *fetch)
{
    struct position *items = NULL;
    uint32_t count = 0;
    ria_err err = RIA_ERR_NOMEM;

    for (uint32_t i = 0; i < fetch->held_count; i++) {
        count += fetch->held[i].err == RIA_ERR_OFFSET_OUT_OF_RANGE;
    }
    if (count == 0) {
        return false;
    }
    items = ria_arena_alloc_array(&fetch->round, count, sizeof(*items));
    count = 0;
    for (uint32_t i = 0; items != NULL && i < fetch->held_count; i++) {
        if (fetch->held[i].err == RIA_ERR_OFFSET_OUT_OF_RANGE) {
            items[count].partition = fetch->held[i].partition;
            items[count++].kind = POSITION_LATEST;
        }
    }
    if (items != NULL) {
        err = positions_start(
            &fetch->gateway->leaders,
            &fetch->round,
            items,
            count,
            GROUP_FETCH_LOOKUP_MS,
            ranges_known,
            fetch
        );
    }
    if (err != RIA_OK) {
        group_fetch_fail_err(fetch, err, "");
    }
    return true;
}

/* What was announced does not come in time. It was promised to nobody: it is waited for as before.
 */
static void forgive(struct group_fetch *fetch)
{
    for (uint32_t i = 0; i < fetch->held_count; i++) {
        struct group_held *held = &fetch->held[i];
        if (ria_err_is_retriable(held->err)) {
            held->err = RIA_OK;
            held->text[0] = '\0';
        }
    }
}

static void read_done(struct group_reading *reading, bool entered)
{
    struct group_fetch *fetch = reading->arg;

    if (entered && reading->wait_ms > 0) {
        forgive(fetch);
    }

    if (!entered) {
        failure_overloaded(&fetch->failure);
        fetch->failure.outcome = OUTCOME_NONE;
        group_fetch_fail(fetch);
    } else if (fetch->rounds >= GROUP_FETCH_ROUNDS_MAX || !find_ranges(fetch)) {
        settle(fetch);
    }
}

/* If nothing that was leased is known to have records by now, but all of it is about to. Those that
 * have some do not wait for others. */
static uint32_t wait_ms(const struct group_fetch *fetch)
{
    const struct marks *marks = &fetch->gateway->marks;
    int64_t left_us = fetch->wait_until_us - ria_clock_mono_us(fetch->gateway->env->clock);

    if (!fetch->asked_ahead) {
        return 0;
    }
    for (uint32_t i = 0; i < fetch->held_count; i++) {
        const struct group_held *held = &fetch->held[i];
        if (held->is_read || marks_get(marks, held->partition) > held->offset ||
            marks_announced(marks, held->partition) <= held->offset) {
            return 0;
        }
    }
    return (uint32_t)ria_min_i64(ria_max_i64(left_us / 1000, 0), MARKS_COMING_MS);
}

static int64_t deadline_us(const struct group_fetch *fetch, uint32_t ahead_ms)
{
    int64_t now_us = ria_clock_mono_us(fetch->gateway->env->clock);

    return ahead_ms > 0 ? now_us + (ahead_ms + AHEAD_GRACE_MS) * INT64_C(1000)
                        : group_fetch_deadline_us(fetch);
}

void group_fetch_read(struct group_fetch *fetch)
{
    struct gateway *gateway = fetch->gateway;
    struct group_reading *reading = &fetch->reading;
    bool any = false;

    for (uint32_t i = 0; i < fetch->held_count; i++) {
        any = any || !fetch->held[i].is_read;
    }
    reading->count = fetch->held_count;
    if (!any) {
        settle(fetch);
        return;
    }
    reading->env = gateway->env;
    reading->gate = &gateway->gate;
    reading->leaders = &gateway->leaders;
    reading->marks = &gateway->marks;
    reading->cache = &gateway->fetch_cache;
    reading->held = fetch->held;
    reading->bytes_max = fetch->bytes_max;
    reading->wait_ms = wait_ms(fetch);
    reading->deadline_us = deadline_us(fetch, reading->wait_ms);
    reading->done = read_done;
    reading->arg = fetch;
    group_reading_start(reading);
}
