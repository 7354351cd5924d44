#include "tests/sim/producer.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/limits.h"

#include "tests/sim/client.h"
#include "tests/sim/producer_send.h"
#include "tests/sim/world.h"

enum {
    RETRY_US_MIN = 10 * 1000,
    RETRY_US_MAX = 300 * 1000,
    ATTEMPTS_GIVE_UP = 4,
    WANDER_ONE_IN = 4, /* to another gateway */
};

static void pump(struct producer *producer);

static void note_some(
    struct producer *producer,
    history_kind kind,
    const struct outgoing *batch,
    uint32_t skip,
    uint32_t count,
    int64_t offset
)
{
    struct history_event event = {
        .time_us = producer->world->now_us,
        .kind = kind,
        .actor = producer->number,
        .partition = producer->plan->partition,
        .offset = offset,
        .value = history_value(producer->number, batch->number + skip),
        .count = count,
    };

    if (kind == HISTORY_SEND && batch->deliver_at_ms != 0) {
        int64_t ahead_ms = plan_gateways_ahead_ms(producer->world->plan);
        event.until_us = world_us_of_wall(batch->deliver_at_ms - ahead_ms);
    }
    history_add(&producer->world->history, &event);
}

static void
note(struct producer *producer, history_kind kind, const struct outgoing *batch, int64_t offset)
{
    note_some(producer, kind, batch, 0, batch->count, offset);
}

static void forget(struct producer *producer, struct outgoing *batch)
{
    ria_list_remove(&batch->link);
    producer->batch_count--;
    free(batch);
}

/* ---- failure ---- */

/* What a produce may be answered with when nothing worse happens than this simulator does. */
static bool is_expected(const struct producer *producer, const struct outgoing *batch, ria_err err)
{
    /* Out of order: one before it failed. The oldest one has no such excuse. */
    const struct plan *plan = producer->world->plan;

    return client_expects(plan, err) || err == RIA_ERR_NOT_ENOUGH_REPLICAS ||
           err == RIA_ERR_UNKNOWN_OUTCOME ||
           (err == RIA_ERR_OUT_OF_ORDER && &batch->link != producer->batches.next) ||
           (err == RIA_ERR_UNKNOWN_TOPIC && /* gateways hear of it when they hear of it */
            (plan_is_doomed(plan, producer->plan->partition) || producer->plan->via_gateway));
}

/* Nothing is in the log, nor ever will be: every attempt was refused. */
static bool may_give_up(const struct producer *producer)
{
    RIA_LIST_FOREACH (it, &producer->batches) {
        const struct outgoing *batch = RIA_CONTAINER(it, struct outgoing, link);
        if (batch->is_unknown) {
            return false;
        }
    }
    const struct outgoing *oldest = RIA_CONTAINER(producer->batches.next, struct outgoing, link);
    return producer->plan->gives_up && !ria_list_is_empty(&producer->batches) &&
           oldest->attempts >= ATTEMPTS_GIVE_UP;
}

static void give_up(struct producer *producer)
{
    producer->next_sequence =
        RIA_CONTAINER(producer->batches.next, struct outgoing, link)->sequence;
    while (!ria_list_is_empty(&producer->batches)) {
        struct outgoing *batch = RIA_CONTAINER(producer->batches.next, struct outgoing, link);
        if (batch->attempts > 0) {
            note(producer, HISTORY_FAIL, batch, HISTORY_NO_OFFSET);
        }
        forget(producer, batch);
    }
}

static void on_retry(struct ria_timer *timer, void *arg)
{
    struct producer *producer = arg;

    (void)timer;
    producer->is_recovering = false;
    if (may_give_up(producer)) {
        give_up(producer);
    }
    pump(producer);
}

static void recover(struct producer *producer)
{
    producer->is_recovering = true;
    producer->gateway = world_any_gateway(producer->world, &producer->rand);
    if (producer->in_flight == 0 && !producer->retry_timer.active) {
        int64_t pause_us =
            RETRY_US_MIN + (int64_t)ria_rand_below(&producer->rand, RETRY_US_MAX - RETRY_US_MIN);
        ria_timer_start(&producer->node->timers, &producer->retry_timer, pause_us);
    }
}

/* ---- answers ---- */

static void probe_is_stored(struct producer *producer, const struct outgoing *batch)
{
    if (producer->probe_sent && batch->number == producer->probe_number) {
        producer->probe_acked = true;
    }
}

static void check_expected(struct producer *producer, const struct outgoing *batch, ria_err err)
{
    producer->last_err = err;
    if (!is_expected(producer, batch, err)) {
        world_break(
            producer->world,
            "unexpected-error",
            producer->plan->partition,
            "producer %u, value %u: %s",
            producer->number,
            batch->number,
            ria_err_name(err)
        );
    }
}

static void
on_refused(struct producer *producer, struct outgoing *batch, const struct producer_answer *answer)
{
    check_expected(producer, batch, answer->err);
    batch->is_unknown = batch->is_unknown || !answer->is_definite;
    if (producer->plan->idempotent) {
        return; /* once more */
    }
    if (batch->is_unknown) {
        note(producer, HISTORY_UNKNOWN, batch, HISTORY_NO_OFFSET);
        forget(producer, batch);
    } else if (batch->attempts >= ATTEMPTS_GIVE_UP) {
        note(producer, HISTORY_FAIL, batch, HISTORY_NO_OFFSET);
        forget(producer, batch);
    }
}

static history_kind kind_of(const struct producer_part *part)
{
    if (part->err == RIA_OK) {
        return HISTORY_ACK;
    }
    return part->is_definite ? HISTORY_FAIL : HISTORY_UNKNOWN;
}

/* Each record has an outcome of its own. None is sent again. Neighbours are noted together. */
static void
on_parts(struct producer *producer, struct outgoing *batch, const struct producer_answer *answer)
{
    bool all = true;
    uint32_t first = 0;

    for (uint32_t i = 0; i < batch->count; i++) {
        const struct producer_part *part = &answer->parts[i];
        if (part->err != RIA_OK) {
            check_expected(producer, batch, part->err);
            all = false;
        }
        bool goes_on = i + 1 < batch->count && kind_of(part) == kind_of(part + 1) &&
                       (part->err != RIA_OK || part[1].offset == part->offset + 1);
        if (!goes_on) {
            const struct producer_part *from = &answer->parts[first];
            note_some(producer, kind_of(part), batch, first, i + 1 - first, from->offset);
            first = i + 1;
        }
    }
    if (all) {
        probe_is_stored(producer, batch);
    }
    forget(producer, batch);
}

void producer_take_answer(struct outgoing *batch, const struct producer_answer *answer)
{
    struct producer *producer = batch->producer;

    producer->in_flight--;
    batch->is_in_flight = false;
    if (producer->is_closed) {
        return;
    }
    trace_add(
        &producer->world->trace,
        "produced",
        producer->number,
        (uint64_t)answer->err,
        &batch->number,
        sizeof(batch->number)
    );
    if (answer->parts != NULL) {
        on_parts(producer, batch, answer);
    } else if (answer->err == RIA_OK) {
        note(producer, HISTORY_ACK, batch, answer->offset);
        probe_is_stored(producer, batch);
        forget(producer, batch);
    } else {
        on_refused(producer, batch, answer);
        producer->is_recovering = true;
    }
    if (producer->is_recovering) {
        recover(producer);
    } else {
        pump(producer);
    }
}

void producer_take_id(struct producer *producer, ria_err err, int64_t producer_id)
{
    producer->wants_id = false;
    producer->last_err = err;
    if (producer->is_closed) {
        return;
    }
    if (err != RIA_OK) {
        recover(producer);
        return;
    }
    producer->producer_id = producer_id;
    pump(producer);
}

static bool send(struct producer *producer, struct outgoing *batch)
{
    if (!producer_send(batch)) {
        return false;
    }
    batch->attempts++;
    batch->is_in_flight = true;
    producer->in_flight++;
    note(producer, HISTORY_SEND, batch, HISTORY_NO_OFFSET);
    return true;
}

/* ---- the load ---- */

/* Send what may be sent, in order. */
static void pump(struct producer *producer)
{
    if (producer->is_recovering || producer->is_over) {
        return;
    }
    if (client_is_deleted(producer->node->client, &producer->topic_id)) {
        producer->is_over = true;
        ria_timer_stop(&producer->node->timers, &producer->think_timer);
        return;
    }
    if (producer->plan->idempotent && producer->producer_id < 0) {
        if (!producer->wants_id) {
            producer->wants_id = true;
            producer_ask_for_id(producer);
        }
        return;
    }
    RIA_LIST_FOREACH (it, &producer->batches) {
        struct outgoing *batch = RIA_CONTAINER(it, struct outgoing, link);
        if (!batch->is_in_flight && !send(producer, batch)) {
            recover(producer); /* no leader known */
            return;
        }
    }
}

static void make_batch(struct producer *producer)
{
    struct outgoing *batch = calloc(1, sizeof(*batch));
    const struct plan_producer *plan = producer->plan;

    RIA_ASSERT(batch != NULL);
    batch->producer = producer;
    batch->ordinal = producer->next_ordinal++;
    batch->number = producer->next_number;
    batch->count = 1 + (uint32_t)ria_rand_below(&producer->rand, plan->records_max);
    batch->padding = (uint32_t)ria_rand_below(&producer->rand, plan->padding_max + 1);
    batch->sequence = producer->next_sequence;
    if (plan->delays_one_in > 0 && ria_rand_one_in(&producer->rand, plan->delays_one_in)) {
        batch->deliver_at_ms = world_true_wall_ms(producer->world) + 1 +
                               (int64_t)ria_rand_below(&producer->rand, (uint64_t)plan->delay_ms);
    }
    producer->next_number += batch->count;
    producer->next_sequence = batch_next_sequence(batch->sequence, (int32_t)batch->count);
    ria_list_push_back(&producer->batches, &batch->link);
    producer->batch_count++;
}

static void think(struct producer *producer)
{
    uint64_t spread = 2 * (uint64_t)producer->plan->think_us_mean;
    int64_t pause_us = 1 + (int64_t)ria_rand_below(&producer->rand, spread);

    ria_timer_start(&producer->node->timers, &producer->think_timer, pause_us);
}

/* The leader remembers a producer's last five batches. So the oldest one that may have to be sent
 * again must stay among the last five, even if those behind it have been answered. */
static bool has_room(const struct producer *producer)
{
    const struct outgoing *oldest = RIA_CONTAINER(producer->batches.next, struct outgoing, link);

    return ria_list_is_empty(&producer->batches) ||
           producer->next_ordinal - oldest->ordinal < producer->plan->window;
}

/* As behind a balancer: who waits for nothing may go on at another one. */
static void wander(struct producer *producer)
{
    if (producer->in_flight == 0 && ria_rand_one_in(&producer->rand, WANDER_ONE_IN)) {
        producer->gateway = world_any_gateway(producer->world, &producer->rand);
    }
}

static void on_thought(struct ria_timer *timer, void *arg)
{
    struct producer *producer = arg;
    bool wants_probe =
        producer->is_finishing && !producer->probe_acked && producer->batch_count == 0;

    (void)timer;
    if (wants_probe) { /* the last one may have failed */
        producer->probe_sent = true;
        producer->probe_number = producer->next_number;
    }
    if (wants_probe || (!producer->is_finishing && has_room(producer))) {
        wander(producer);
        make_batch(producer);
        pump(producer);
    }
    if (!producer->is_over) {
        think(producer);
    }
}

/* ---- life ---- */

void producer_init(struct producer *producer, struct world *world, const struct plan_producer *plan)
{
    uint32_t topic = 0;

    *producer = (struct producer){.world = world, .plan = plan, .producer_id = -1};
    producer->node = &world->nodes[plan->client];
    producer->number = history_add_producer(&world->history, plan->idempotent);
    ria_rand_init(&producer->rand, world_seed(world, WORLD_RAND_LOAD, producer->number));
    world_find_partition(world, plan->partition, &topic, &producer->partition);
    producer->gateway = world_any_gateway(world, &producer->rand);
    producer->topic_id = world_topic_id(world, topic);
    ria_list_init(&producer->batches);
    ria_timer_init(&producer->think_timer, on_thought, producer);
    ria_timer_init(&producer->retry_timer, on_retry, producer);
    batch_builder_init(&producer->builder, RIA_BATCH_SIZE_MAX);
}

void producer_start(struct producer *producer)
{
    think(producer);
}

void producer_finish(struct producer *producer)
{
    producer->is_finishing = true;
}

bool producer_is_done(const struct producer *producer)
{
    return producer->is_over || (producer->probe_acked && producer->batch_count == 0);
}

void producer_close(struct producer *producer)
{
    producer->is_closed = true;
    ria_timer_stop(&producer->node->timers, &producer->think_timer);
    ria_timer_stop(&producer->node->timers, &producer->retry_timer);
    RIA_LIST_FOREACH (it, &producer->batches) {
        const struct outgoing *batch = RIA_CONTAINER(it, struct outgoing, link);
        if (batch->attempts > 0) {
            note(producer, HISTORY_UNKNOWN, batch, HISTORY_NO_OFFSET);
        }
    }
}

void producer_fini(struct producer *producer)
{
    RIA_ASSERT(producer->in_flight == 0);
    while (!ria_list_is_empty(&producer->batches)) {
        forget(producer, RIA_CONTAINER(producer->batches.next, struct outgoing, link));
    }
    batch_builder_fini(&producer->builder);
}
