/* The life of one partition's batches: open -> queue -> flight -> acknowledged.
 *
 * A failed attempt stops new ones until every attempt under way has come back ("drained"); then
 * each batch is judged in order, what is to be tried again goes back to the head of the queue, and
 * the pump starts anew with one batch at a time. */
#include <stdio.h>
#include <string.h>

#include "common/assert.h"

#include "services/gateway/produce_batch.h"

enum {
    BACKOFF_MIN_US = 10 * 1000,
    BACKOFF_MAX_US = 500 * 1000,
    BACKOFF_NEWS_US = 50 * 1000, /* while we or the leader wait for news of its epoch */
    BACKOFF_DOUBLINGS_MAX = 10,
};

static struct produce_batch *batch_at(struct ria_list *link)
{
    return RIA_CONTAINER(link, struct produce_batch, link);
}

static struct produce_batch *first_of(const struct ria_list *list)
{
    return ria_list_is_empty(list) ? NULL : batch_at(list->next);
}

static int64_t now_us(const struct produce_partition *partition)
{
    return ria_clock_mono_us(partition->core->env->clock);
}

void produce_partition_mark(struct produce_partition *partition)
{
    struct produce *core = partition->core;

    if (ria_list_is_linked(&partition->dirty_link)) {
        return;
    }
    ria_list_push_back(&core->dirty, &partition->dirty_link);
    if (!core->flush.active) {
        ria_timer_start(core->env->timers, &core->flush, 0);
    }
}

void produce_partition_close(struct produce_partition *partition)
{
    struct produce_batch *batch = RIA_STEAL(&partition->open);
    struct cluster_topic *topic = partition->view->topic;

    if (batch == NULL) {
        return;
    }
    ria_list_push_back(&partition->queue, &batch->link);
    /* Keyless records stick to a partition for one batch. */
    if (topic->user == partition) {
        topic->user = NULL;
    }
}

static void note_failure(struct produce_partition *partition, ria_err err, const char *text)
{
    partition->err = err;
    (void)snprintf(partition->text, sizeof(partition->text), "%s", text);
}

/* --- bytes -------------------------------------------------------------------------------------*/

void produce_partition_charge(struct produce_partition *partition, size_t size)
{
    struct produce *core = partition->core;

    budget_charge(core->budget, size);
    partition->charged += size;
    core->metrics.stalled_bytes.value += partition->stalled ? (int64_t)size : 0;
}

void produce_partition_give(struct produce_partition *partition, size_t size)
{
    struct produce *core = partition->core;

    RIA_ASSERT(partition->charged >= size);
    budget_give(core->budget, size);
    partition->charged -= size;
    core->metrics.stalled_bytes.value -= partition->stalled ? (int64_t)size : 0;
}

/* To be called when a leader, or the number of failures, may have changed. */
static void update_stalled(struct produce_partition *partition)
{
    bool stalled = partition->view->leader < 0 || partition->failures > 0;
    int64_t charged = (int64_t)partition->charged;

    if (stalled != partition->stalled) {
        partition->stalled = stalled;
        partition->core->metrics.stalled_bytes.value += stalled ? charged : -charged;
    }
}

/* --- numbers -----------------------------------------------------------------------------------*/

static bool take_identity(struct produce_partition *partition)
{
    struct produce *core = partition->core;

    if (partition->producer_id >= 0) {
        return true;
    }
    if (core->id_next == core->id_end) {
        return false;
    }
    partition->producer_id = core->id_next++;
    partition->epoch = 0;
    partition->sequence = 0;
    partition->steady = false;
    return true;
}

/* Number anew: the next epoch starts at sequence 0 and fences what is still on its way. */
static void next_epoch(struct produce_partition *partition)
{
    partition->sequence = 0;
    partition->steady = false;
    if (partition->epoch == INT16_MAX) {
        partition->producer_id = -1;
    } else {
        partition->epoch++;
    }
}

static void number(struct produce_partition *partition, struct produce_batch *batch)
{
    if (batch->sequence >= 0) {
        return;
    }
    batch->producer_id = partition->producer_id;
    batch->epoch = partition->epoch;
    batch->sequence = partition->sequence;
    batch->ordinal = partition->ordinal++;
    partition->sequence = batch_next_sequence(partition->sequence, batch->builder.record_count);
}

/* A numbered batch was given up, so there is a gap before those that follow.
 *
 * If the next one may be stored, its old number is the only way to find out: the log either knows
 * it, takes it, or says OUT_OF_ORDER, which proves that it is not stored, unless the one before it
 * may still arrive: then its fate stays unknown too (may_retry()). If the next one is not stored,
 * neither are those behind it, whatever became of their attempts: number all anew. */
static void close_gap(struct produce_partition *partition)
{
    struct produce_batch *next = first_of(&partition->queue);

    if (next != NULL && next->sequence >= 0 && next->maybe_stored) {
        next->after_unknown = next->after_unknown || partition->gap_unknown;
        partition->gap_unknown = false;
        return;
    }
    partition->gap_unknown = false;
    RIA_LIST_FOREACH (link, &partition->queue) {
        batch_at(link)->sequence = -1;
        batch_at(link)->maybe_stored = false;
    }
    next_epoch(partition);
}

/* --- giving up ---------------------------------------------------------------------------------*/

/* What to tell the requests of a batch that is given up because of err. */
static ria_err verdict(const struct produce_batch *batch, ria_err err)
{
    if (batch->maybe_stored) {
        return RIA_ERR_UNKNOWN_OUTCOME;
    }
    if (err == RIA_OK || err == RIA_ERR_OUT_OF_ORDER || !ria_err_is_definite(err)) {
        return RIA_ERR_NO_LEADER; /* it was not sent, or only in vain behind others */
    }
    return err;
}

static const char *or_default(const char *text, ria_err err)
{
    if (text[0] != '\0') {
        return text;
    }
    return err == RIA_ERR_UNKNOWN_OUTCOME || err == RIA_ERR_NO_LEADER
               ? "the partition's leader did not answer in time"
               : ria_err_text(err);
}

/* The batch is in no list. */
static void give_up(
    struct produce_partition *partition, struct produce_batch *batch, ria_err err, const char *text
)
{
    ria_err told = verdict(batch, err);

    partition->gap_unknown = partition->gap_unknown || told == RIA_ERR_UNKNOWN_OUTCOME;
    produce_batch_fail(partition->core, batch, told, or_default(told == err ? text : "", told));
    produce_batch_free(partition->core, batch);
}

/* Batches in the queue whose time is over. Their deadlines ascend. */
static void expire_queue(struct produce_partition *partition)
{
    bool gap = false;
    struct produce_batch *batch;

    if (partition->open != NULL && partition->open->deadline_us <= now_us(partition)) {
        produce_partition_close(partition);
    }
    while ((batch = first_of(&partition->queue)) != NULL && batch->deadline_us <= now_us(partition)
    ) {
        ria_list_remove(&batch->link);
        gap = gap || batch->sequence >= 0;
        bool passing = ria_err_is_retriable(partition->err);
        give_up(
            partition,
            batch,
            passing ? partition->err : RIA_ERR_NO_LEADER,
            passing ? partition->text : ""
        );
    }
    if (gap) {
        close_gap(partition);
    }
}

/* --- judging -----------------------------------------------------------------------------------*/

/* May the batch be tried again? first: every batch before it is acknowledged or given up. */
static bool may_retry(struct produce_partition *partition, struct produce_batch *batch, bool first)
{
    if (batch->deadline_us <= now_us(partition)) {
        return false;
    }
    if (batch->err == RIA_ERR_OUT_OF_ORDER) {
        /* Behind another: natural. First: see recover(), unless a late frame of the one before, and
         * then its own, may still be taken under the old number. */
        return !(first && batch->maybe_stored && batch->after_unknown);
    }
    if (batch->err == RIA_ERR_FENCED_PRODUCER) {
        return !first || !batch->maybe_stored;
    }
    return produce_may_pass(partition->view, batch->err);
}

/* The log proves that the first batch is not stored, and neither are those behind it. */
static void renumber(struct produce_partition *partition, ria_err why)
{
    struct produce_batch *next = first_of(&partition->queue);

    RIA_ASSERT(next != NULL);
    next->maybe_stored = false;
    close_gap(partition);
    if (why == RIA_ERR_FENCED_PRODUCER) {
        partition->producer_id = -1; /* somebody else uses it */
    }
}

/* Either side will know better in a moment. */
static bool is_about_news(ria_err err)
{
    return err == RIA_ERR_NOT_LEADER || err == RIA_ERR_FENCED_EPOCH ||
           err == RIA_ERR_UNKNOWN_EPOCH || err == RIA_ERR_UNKNOWN_TOPIC ||
           err == RIA_ERR_UNKNOWN_PARTITION;
}

/* Every attempt has come back and at least one failed. */
static void recover(struct produce_partition *partition)
{
    struct ria_list kept;
    struct ria_list *link;
    bool gap = false;
    ria_err first_err = RIA_OK;

    ria_list_init(&kept);
    while ((link = ria_list_pop_front(&partition->flight)) != NULL) {
        struct produce_batch *batch = batch_at(link);
        bool first = ria_list_is_empty(&kept);
        RIA_ASSERT(batch->returned);
        batch->returned = false;
        if (may_retry(partition, batch, first)) {
            first_err = first && !gap ? batch->err : first_err;
            ria_list_push_back(&kept, &batch->link);
            partition->core->metrics.retries.value++;
        } else {
            gap = true;
            give_up(partition, batch, batch->err, batch->text);
        }
    }
    partition->returned_count = 0;
    partition->steady = false;
    ria_list_splice(&kept, &partition->queue);
    ria_list_splice(&partition->queue, &kept);

    if (gap) {
        close_gap(partition);
    } else if (first_err == RIA_ERR_OUT_OF_ORDER || first_err == RIA_ERR_FENCED_PRODUCER) {
        renumber(partition, first_err);
    }
    int64_t backoff = BACKOFF_MIN_US << ria_min_i64(partition->failures, BACKOFF_DOUBLINGS_MAX);
    int64_t backoff_max = is_about_news(partition->err) ? BACKOFF_NEWS_US : BACKOFF_MAX_US;
    partition->failures++;
    partition->retry_at_us = now_us(partition) + ria_min_i64(backoff, backoff_max);
    update_stalled(partition);
    produce_partition_mark(partition);
}

/* --- attempts ----------------------------------------------------------------------------------*/

static void batch_returned(struct produce_batch *batch, const struct produce_answer *answer)
{
    struct produce_partition *partition = batch->owner;
    struct produce *core = partition->core;

    batch->attempt = NULL;
    partition->flight_count--;
    core->metrics.batches_in_flight.value--;

    if (answer->err == RIA_OK) {
        partition->failures = 0;
        update_stalled(partition);
        partition->err = RIA_OK;
        partition->steady = partition->returned_count == 0;
        ria_histogram_record(&core->metrics.ack_us, now_us(partition) - batch->sent_us);
        produce_batch_succeed(core, batch, answer->base_offset, answer->synced);
        produce_batch_free(core, batch);
    } else {
        note_failure(partition, answer->err, answer->text);
        batch->err = answer->err;
        memcpy(batch->text, answer->text, sizeof(batch->text));
        batch->maybe_stored = batch->maybe_stored || !ria_err_is_definite(answer->err);
        batch->returned = true;
        partition->returned_count++;
        if (batch->deadline_us <= now_us(partition)) {
            /* Those who wait need not wait for the drain; the batch keeps its place. */
            ria_err told = verdict(batch, answer->err);
            produce_batch_fail(core, batch, told, or_default(answer->text, told));
        }
    }
    if (partition->returned_count > 0 && partition->flight_count == 0) {
        recover(partition);
    }
    produce_partition_mark(partition);
}

static void attempt_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct produce_answer answer;

    produce_batch_open_reply(err, reply, &answer);
    batch_returned(arg, &answer);
}

/* Wait no longer for answers of a leader that has been replaced: the new one knows what is stored.
 */
static void abandon_flight(struct produce_partition *partition)
{
    const struct produce_answer answer = {
        .err = RIA_ERR_UNKNOWN_OUTCOME,
        .text = "the partition's leader changed",
    };

    for (struct ria_list *link = partition->flight.next; link != &partition->flight;) {
        struct produce_batch *batch = batch_at(link);
        bool last = partition->flight_count == 1;
        link = link->next;
        if (batch->attempt != NULL) {
            outcall_cancel(batch->attempt);
            batch_returned(batch, &answer);
            if (last) {
                return; /* recover() emptied the list */
            }
        }
    }
}

/* While nobody leads, who did may still answer. */
static bool is_outdated(const struct produce_partition *partition)
{
    RIA_LIST_FOREACH (link, &partition->flight) {
        if (produce_batch_is_outdated(batch_at(link), partition->view)) {
            return true;
        }
    }
    return false;
}

/* What the leader before did is not held against this one. */
static void meet_leader(struct produce_partition *partition)
{
    const struct cluster_partition *view = partition->view;

    if (partition->seen_leader != view->leader || partition->seen_epoch != view->leader_epoch) {
        partition->seen_leader = view->leader;
        partition->seen_epoch = view->leader_epoch;
        partition->failures = 0;
    }
    update_stalled(partition);
}

void produce_partition_refresh(struct produce_partition *partition)
{
    if (partition->view->topic->deleted) {
        produce_partition_close(partition);
        while (!ria_list_is_empty(&partition->queue)) {
            struct produce_batch *batch = first_of(&partition->queue);
            ria_list_remove(&batch->link);
            give_up(partition, batch, RIA_ERR_UNKNOWN_TOPIC, "the topic was deleted");
        }
        return;
    }
    if (is_outdated(partition)) {
        abandon_flight(partition);
    }
    partition->retry_at_us = 0;
    meet_leader(partition);
    produce_partition_mark(partition);
}

/* --- the pump ----------------------------------------------------------------------------------*/

static bool is_ripe(const struct produce_partition *partition)
{
    const struct produce *core = partition->core;
    const struct produce_batch *open = partition->open;

    return open != NULL &&
           (partition->flight_count == 0 || open->builder.buf.size >= core->options.batch_bytes ||
            now_us(partition) - open->created_us >= core->options.linger_us);
}

/* The next batch to send, at the head of the queue; NULL: none yet. */
static struct produce_batch *next_batch(struct produce_partition *partition)
{
    if (ria_list_is_empty(&partition->queue) && is_ripe(partition)) {
        produce_partition_close(partition);
    }
    return first_of(&partition->queue);
}

static bool send_one(struct produce_partition *partition, struct produce_batch *batch)
{
    struct produce *core = partition->core;
    ria_err err = RIA_OK;

    if (!take_identity(partition)) {
        produce_want_ids(core);
        note_failure(partition, RIA_ERR_BUSY, "the gateway has no producer id yet");
        return false;
    }
    number(partition, batch);
    if (!produce_batch_send(core, batch, partition->view, attempt_done, batch, &err)) {
        note_failure(partition, err, err == RIA_ERR_NO_LEADER ? "" : ria_err_text(err));
        partition->retry_at_us = now_us(partition) + BACKOFF_MAX_US;
        return false;
    }
    ria_list_remove(&batch->link);
    ria_list_push_back(&partition->flight, &batch->link);
    partition->flight_count++;
    core->metrics.batches_in_flight.value++;
    return true;
}

/* Wake up for the linger time, the end of a back-off, or the next deadline. */
static void arm(struct produce_partition *partition)
{
    const struct produce_batch *next = first_of(&partition->queue);
    int64_t at = INT64_MAX;

    if (next == NULL) {
        next = partition->open;
    }
    if (next != NULL) {
        at = next->deadline_us;
        if (partition->retry_at_us > now_us(partition)) {
            at = ria_min_i64(at, partition->retry_at_us);
        } else if (next == partition->open && partition->flight_count > 0) {
            at = ria_min_i64(at, next->created_us + partition->core->options.linger_us);
        }
    }
    if (at == INT64_MAX) {
        ria_timer_stop(partition->core->env->timers, &partition->timer);
        return;
    }
    /* What is due already waits for an answer, not for the clock. */
    int64_t delay = at - now_us(partition);
    if (delay <= 0) {
        delay = next->deadline_us - now_us(partition);
    }
    ria_timer_start(partition->core->env->timers, &partition->timer, ria_max_i64(delay, 0));
}

/* The log remembers the last in_flight_max batches of a producer. So that it knows any batch that
 * may have to be repeated, no more than that are sent from the oldest unanswered one on, whether
 * those in between were answered or not. */
static bool may_send(const struct produce_partition *partition)
{
    const struct produce_batch *oldest = first_of(&partition->flight);
    const struct produce_batch *next = first_of(&partition->queue);

    if (partition->returned_count > 0 || partition->retry_at_us > now_us(partition)) {
        return false;
    }
    if (oldest == NULL) {
        return true;
    }
    uint64_t ordinal = next != NULL && next->sequence >= 0 ? next->ordinal : partition->ordinal;
    return partition->steady && ordinal - oldest->ordinal < partition->core->options.in_flight_max;
}

void produce_partition_pump(struct produce_partition *partition)
{
    struct produce_batch *batch;

    expire_queue(partition);
    while (may_send(partition) && (batch = next_batch(partition)) != NULL) {
        if (!send_one(partition, batch)) {
            break;
        }
    }
    arm(partition);
}

static void timer_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    produce_partition_pump(arg);
}

void produce_partition_init(
    struct produce_partition *partition, struct produce *core, struct cluster_partition *view
)
{
    *partition = (struct produce_partition){
        .core = core,
        .view = view,
        .producer_id = -1,
        .seen_leader = view->leader,
        .seen_epoch = view->leader_epoch,
        .stalled = view->leader < 0,
    };
    ria_list_init(&partition->link);
    ria_list_init(&partition->dirty_link);
    ria_list_init(&partition->queue);
    ria_list_init(&partition->flight);
    ria_timer_init(&partition->timer, timer_due, partition);
}

static void forget(struct produce *core, struct produce_batch *batch)
{
    ria_list_splice(&core->free_parts, &batch->parts);
    produce_batch_free(core, batch);
}

void produce_partition_fini(struct produce_partition *partition)
{
    struct produce *core = partition->core;

    if (partition->open != NULL) {
        forget(core, partition->open);
    }
    while (!ria_list_is_empty(&partition->queue)) {
        forget(core, first_of(&partition->queue));
    }
    while (!ria_list_is_empty(&partition->flight)) {
        forget(core, first_of(&partition->flight));
    }
    ria_timer_stop(core->env->timers, &partition->timer);
    ria_list_remove(&partition->dirty_link);
    ria_list_remove(&partition->link);
}

void produce_partition_check(const struct produce_partition *partition)
{
    uint32_t under_way = 0;
    uint32_t returned = 0;
    int64_t deadline_us = 0;
    bool numbered = true;

    RIA_LIST_FOREACH (link, &partition->flight) {
        const struct produce_batch *batch = batch_at(link);
        RIA_ASSERT(batch->sequence >= 0);
        RIA_ASSERT((batch->attempt != NULL) != batch->returned);
        under_way += batch->attempt != NULL;
        returned += batch->returned;
    }
    RIA_ASSERT(under_way == partition->flight_count);
    RIA_ASSERT(returned == partition->returned_count);
    RIA_ASSERT(under_way <= partition->core->options.in_flight_max);
    RIA_LIST_FOREACH (link, &partition->queue) {
        const struct produce_batch *batch = batch_at(link);
        RIA_ASSERT(batch->attempt == NULL);
        RIA_ASSERT(batch->deadline_us >= deadline_us);
        RIA_ASSERT(numbered || batch->sequence < 0); /* retries stand before what is new */
        numbered = batch->sequence >= 0;
        deadline_us = batch->deadline_us;
    }
    RIA_ASSERT(partition->open == NULL || partition->open->builder.record_count > 0);
    RIA_ASSERT(partition->stalled == (partition->view->leader < 0 || partition->failures > 0));
}
