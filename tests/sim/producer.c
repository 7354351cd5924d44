#include "tests/sim/producer.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/allocate_producer_ids_request.h"
#include "schemas/gen/allocate_producer_ids_response.h"
#include "schemas/gen/messages.h"
#include "schemas/gen/produce_request.h"
#include "schemas/gen/produce_response.h"

#include "tests/sim/client.h"
#include "tests/sim/records.h"
#include "tests/sim/world.h"

enum {
    RETRY_US_MIN = 10 * 1000,
    RETRY_US_MAX = 300 * 1000,
    ALLOCATE_TIMEOUT_MS = 1000,
    ATTEMPTS_GIVE_UP = 4,
};

static const char coordinator_address[] = "tcp://coordinator:9100";

struct outgoing {
    struct ria_list link;
    struct producer *producer;
    uint32_t ordinal; /* counts the batches */
    uint32_t number;  /* of its first value */
    uint32_t count;
    uint32_t padding;
    int32_t sequence;
    uint32_t attempts;
    bool is_in_flight;
    bool is_unknown; /* some attempt ended without a clear answer */
};

static void pump(struct producer *producer);

static void
note(struct producer *producer, history_kind kind, const struct outgoing *batch, int64_t at)
{
    struct history_event event = {
        .time_us = producer->world->now_us,
        .kind = kind,
        .actor = producer->number,
        .partition = producer->plan->partition,
        .offset = at,
        .value = history_value(producer->number, batch->number),
        .count = batch->count,
    };

    history_add(&producer->world->history, &event);
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
    return client_expects(err) || err == RIA_ERR_NOT_ENOUGH_REPLICAS ||
           err == RIA_ERR_UNKNOWN_OUTCOME ||
           (err == RIA_ERR_OUT_OF_ORDER && &batch->link != producer->batches.next) ||
           (err == RIA_ERR_UNKNOWN_TOPIC &&
            plan_is_doomed(producer->world->plan, producer->plan->partition));
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
    if (producer->in_flight == 0 && !producer->retry_timer.active) {
        int64_t pause_us =
            RETRY_US_MIN + (int64_t)ria_rand_below(&producer->rand, RETRY_US_MAX - RETRY_US_MIN);
        ria_timer_start(&producer->node->timers, &producer->retry_timer, pause_us);
    }
}

/* ---- produce ---- */

static void on_stored(
    struct producer *producer, struct outgoing *batch, const struct produce_response *response
)
{
    note(producer, HISTORY_ACK, batch, response->base_offset);
    if (producer->probe_sent && batch->number == producer->probe_number) {
        producer->probe_acked = true;
    }
    forget(producer, batch);
}

static void on_refused(struct producer *producer, struct outgoing *batch, ria_err err)
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
    batch->is_unknown = batch->is_unknown || !ria_err_is_definite(err);
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

static void on_produced(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    struct outgoing *batch = arg;
    struct producer *producer = batch->producer;

    (void)payload;
    producer->in_flight--;
    batch->is_in_flight = false;
    if (producer->is_closed) {
        return;
    }
    trace_add(
        &producer->world->trace,
        "produced",
        producer->number,
        (uint64_t)err,
        &batch->number,
        sizeof(batch->number)
    );
    if (err == RIA_OK) {
        on_stored(producer, batch, response);
    } else {
        on_refused(producer, batch, err);
        producer->is_recovering = true;
    }
    if (producer->is_recovering) {
        recover(producer);
    } else {
        pump(producer);
    }
}

static bool send(struct producer *producer, struct outgoing *batch)
{
    const char *address = NULL;
    struct produce_request request;

    produce_request_init(&request);
    request.topic_id = producer->topic_id;
    request.partition = producer->partition;
    if (!client_find_leader(
            producer->node->client,
            &request.topic_id,
            request.partition,
            &address,
            &request.leader_epoch
        )) {
        return false;
    }
    struct ria_slice bytes = records_build(
        &producer->builder,
        history_value(producer->number, batch->number),
        batch->count,
        batch->padding,
        producer->producer_id,
        batch->sequence
    );
    batch->attempts++;
    batch->is_in_flight = true;
    producer->in_flight++;
    note(producer, HISTORY_SEND, batch, HISTORY_NO_OFFSET);
    client_call(
        producer->node->client,
        address,
        API_PRODUCE,
        &request,
        bytes,
        producer->plan->timeout_ms,
        on_produced,
        batch
    );
    return true;
}

/* ---- the producer's id ---- */

static void on_id(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    struct producer *producer = arg;
    const struct allocate_producer_ids_response *ids = response;

    (void)payload;
    producer->wants_id = false;
    producer->last_err = err;
    if (producer->is_closed) {
        return;
    }
    if (err != RIA_OK) {
        recover(producer);
        return;
    }
    producer->producer_id = ids->first_producer_id;
    pump(producer);
}

static void ask_for_id(struct producer *producer)
{
    const struct allocate_producer_ids_request request = {.count = 1};

    if (!producer->wants_id) {
        producer->wants_id = true;
        client_call(
            producer->node->client,
            coordinator_address,
            API_ALLOCATE_PRODUCER_IDS,
            &request,
            RIA_SLICE_NULL,
            ALLOCATE_TIMEOUT_MS,
            on_id,
            producer
        );
    }
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
        ask_for_id(producer);
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
