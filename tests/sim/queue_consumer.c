#include "tests/sim/queue_consumer.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/assert.h"
#include "common/map.h"

#include "schemas/envelope.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/group_request.h"
#include "schemas/gen/group_response.h"
#include "schemas/gen/messages.h"
#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_ack_result.h"
#include "schemas/gen/queue_open.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_receive_result.h"
#include "schemas/gen/queue_settle.h"
#include "schemas/gen/queue_settle_result.h"

#include "services/shared/group_operations.h"
#include "tests/sim/client.h"
#include "tests/sim/consumers.h"
#include "tests/sim/reader.h"
#include "tests/sim/records.h"
#include "tests/sim/world.h"

enum {
    CLOCK_STEP_US = 1000, /* the coordinator's clock may be so much ahead of ours */
    RETRY_US_MIN = 10 * 1000,
    RETRY_US_MAX = 300 * 1000,
    CALL_TIMEOUT_MS = 1500,
    DEAD_US_MAX = 3000 * 1000,
    HASTE_US = 20 * 1000,
    HASTE_RECORDS = 200,
    FETCH_BYTES_OF_RECORD = 512, /* more is fetched in several steps */
    ARENA_SIZE = 1024 * 1024,
    NACK_MS_MAX = 800,
    LOOK_AHEAD_MAX = 100,
};

typedef void (*answer_fn)(struct queue_consumer *consumer, const void *result, int64_t clock_ms);

static void again(struct queue_consumer *consumer, queue_stage stage, int64_t pause_us)
{
    consumer->stage = stage;
    ria_timer_start(&consumer->node->timers, &consumer->timer, pause_us);
}

static bool one_in(struct queue_consumer *consumer, uint32_t times)
{
    return !consumer->is_finishing && times > 0 && ria_rand_one_in(&consumer->rand, times);
}

static int64_t up_to(struct queue_consumer *consumer, int64_t most)
{
    return 1 + (int64_t)ria_rand_below(&consumer->rand, (uint64_t)most);
}

static void forget(struct queue_consumer *consumer)
{
    consumer->range_count = 0;
    consumer->range_at = 0;
    consumer->fetch_offset = 0;
    consumer->item_count = 0;
    consumer->dead_count = 0;
    consumer->has_extended = false;
}

static void think(struct queue_consumer *consumer, queue_stage stage)
{
    int64_t most_us = consumer->is_finishing ? ria_min_i64(HASTE_US, consumer->plan->think_us)
                                             : consumer->plan->think_us;

    again(consumer, stage, up_to(consumer, most_us));
}

static uint32_t partition_of(const struct queue_consumer *consumer, int32_t number)
{
    return consumer->world->plan->topics[consumer->topic].first_partition + (uint32_t)number;
}

/* What was asked for at that time for so long is not over before. */
static int64_t sure_us(int64_t asked_us, int64_t left_ms)
{
    return asked_us + left_ms * 1000 - CLOCK_STEP_US;
}

/* ---- calls ---- */

/* text: why, if somebody said. */
static void on_failed(struct queue_consumer *consumer, ria_err err, struct ria_slice text)
{
    bool is_ours = err == RIA_ERR_UNKNOWN_TOPIC || err == RIA_ERR_UNKNOWN_OUTCOME;

    if (!client_expects(consumer->world->plan, err) && !is_ours) {
        world_break(
            consumer->world,
            "unexpected-error",
            0,
            "consumer %" PRIu32 " of queue %" PRIu32 ": %s " RIA_SLICE_FMT,
            consumer->number,
            consumer->plan->group,
            ria_err_name(err),
            RIA_SLICE_ARG(text)
        );
    }
    forget(consumer);
    again(
        consumer,
        consumer->stage == QUEUE_STAGE_OPEN ? QUEUE_STAGE_OPEN : QUEUE_STAGE_RECEIVE,
        RETRY_US_MIN + up_to(consumer, RETRY_US_MAX - RETRY_US_MIN)
    );
}

static void on_opened(struct queue_consumer *consumer, const void *result, int64_t clock_ms);
static void on_received(struct queue_consumer *consumer, const void *result, int64_t clock_ms);
static void on_settled(struct queue_consumer *consumer, const void *result, int64_t clock_ms);
static void on_extended(struct queue_consumer *consumer, const void *result, int64_t clock_ms);
static void on_said(struct queue_consumer *consumer, const void *result, int64_t clock_ms);
static void on_buried(struct queue_consumer *consumer, const void *result, int64_t clock_ms);

/* By stage. */
static const struct {
    int8_t kind;
    const char *record;
    const char *result_record;
    answer_fn done;
} operations[] = {
    [QUEUE_STAGE_OPEN] = {GROUP_OPERATION_QUEUE_OPEN, "QueueOpen", "QueueOpenResult", on_opened},
    [QUEUE_STAGE_RECEIVE] =
        {GROUP_OPERATION_QUEUE_RECEIVE, "QueueReceive", "QueueReceiveResult", on_received},
    [QUEUE_STAGE_FETCH] = {0, NULL, NULL, NULL},
    [QUEUE_STAGE_SETTLE] =
        {GROUP_OPERATION_QUEUE_SETTLE, "QueueSettle", "QueueSettleResult", on_settled},
    [QUEUE_STAGE_EXTEND] = {GROUP_OPERATION_QUEUE_ACK, "QueueAck", "QueueAckResult", on_extended},
    [QUEUE_STAGE_SAY] = {GROUP_OPERATION_QUEUE_ACK, "QueueAck", "QueueAckResult", on_said},
    [QUEUE_STAGE_BURY] = {GROUP_OPERATION_QUEUE_ACK, "QueueAck", "QueueAckResult", on_buried},
};

static ria_err open_result(
    struct queue_consumer *consumer,
    const struct group_response *response,
    void *arena,
    struct ria_slice *out_text
)
{
    const struct schema_message *message = schema_find(operations[consumer->stage].result_record);

    if (response->results_count != 1) {
        return RIA_ERR_MALFORMED;
    }
    ria_err err = ria_err_from_wire(response->results[0].error_code);
    if (err != RIA_OK) {
        *out_text = response->results[0].error_text;
        return err;
    }
    void *body = ria_arena_alloc(arena, message->struct_size);
    RIA_ASSERT(body != NULL);
    RIA_TRY(envelope_decode_body(message, 0, response->results[0].body, arena, body));
    operations[consumer->stage].done(consumer, body, response->lease_clock_ms);
    return RIA_OK;
}

/* The run goes on. */
static bool has_come(struct queue_consumer *consumer, ria_err err, struct ria_slice payload)
{
    consumer->is_in_flight = false;
    if (consumer->is_closed) {
        return false;
    }
    consumer->last_err = err;
    trace_add(
        &consumer->world->trace,
        "queued",
        consumer->number,
        (uint64_t)err,
        payload.data,
        payload.size
    );
    return true;
}

static void on_answered(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    struct queue_consumer *consumer = arg;
    struct ria_slice text = RIA_SLICE_NULL;
    struct ria_arena arena;

    if (!has_come(consumer, err, payload)) {
        return;
    }
    ria_arena_init(&arena, ARENA_SIZE);
    if (err == RIA_OK) {
        err = open_result(consumer, response, &arena, &text);
        consumer->last_err = err;
    }
    if (err != RIA_OK) {
        on_failed(consumer, err, text);
    }
    ria_arena_fini(&arena);
}

/* The operation of the consumer's stage. */
static void call(struct queue_consumer *consumer, const void *body)
{
    const struct schema_message *message = schema_find(operations[consumer->stage].record);
    struct group_request_group_operation operation;
    struct group_request request;
    struct ria_arena arena;

    ria_arena_init(&arena, ARENA_SIZE);
    size_t size = message->size(body, 0);
    uint8_t *bytes = ria_arena_alloc(&arena, size);
    RIA_ASSERT(bytes != NULL);
    struct ria_writer w = ria_writer_of(bytes, size);
    message->encode(body, 0, &w);
    RIA_ASSERT(w.pos == size);
    group_request_init(&request);
    group_request_group_operation_init(&operation);
    operation.kind = operations[consumer->stage].kind;
    operation.body = ria_slice_of(bytes, size);
    request.operations = &operation;
    request.operations_count = 1;
    consumer->is_in_flight = true;
    consumer->sent_us = consumer->world->now_us;
    client_call(
        consumer->node->client,
        world_coordinator_address,
        API_GROUP,
        &request,
        RIA_SLICE_NULL,
        CALL_TIMEOUT_MS,
        on_answered,
        consumer
    );
    ria_arena_fini(&arena);
}

/* ---- open ---- */

static void open_queue(struct queue_consumer *consumer)
{
    char name[CONSUMERS_NAME_SIZE];
    struct queue_open body;
    int32_t retry_ms = consumer->group->retry_ms;

    consumers_group_name(consumer->plan->group, name);
    queue_open_init(&body);
    body.group = ria_slice_cstr(name);
    body.lock_ms = consumer->group->lease_ms;
    body.deliveries_max = consumer->group->deliveries_max;
    body.key_order = consumer->group->is_ordered;
    body.retry_ms = &retry_ms;
    body.retry_ms_count = 1;
    body.dead_topic = RIA_SLICE_LITERAL("dead");
    call(consumer, &body);
}

static void on_opened(struct queue_consumer *consumer, const void *result, int64_t clock_ms)
{
    (void)result;
    (void)clock_ms;
    think(consumer, QUEUE_STAGE_RECEIVE);
}

/* ---- receive ---- */

static int64_t known_end(const struct queue_consumer *consumer, int32_t number)
{
    const struct plan *plan = consumer->world->plan;
    int64_t end = 0;

    for (uint32_t i = 0; i < plan->reader_count; i++) {
        if (plan->readers[i].partition == partition_of(consumer, number)) {
            end = ria_max_i64(end, consumer->readers[i].watermark);
        }
    }
    return end;
}

static void receive(struct queue_consumer *consumer)
{
    const struct plan_consumer *plan = consumer->plan;
    struct queue_receive_queue_start starts[PLAN_PARTITIONS_MAX];
    struct queue_receive_queue_end ends[PLAN_PARTITIONS_MAX];
    int32_t count = consumer->world->plan->topics[consumer->topic].partition_count;
    char name[CONSUMERS_NAME_SIZE];
    struct queue_receive body;

    forget(consumer);
    consumers_group_name(plan->group, name);
    queue_receive_init(&body);
    body.group = ria_slice_cstr(name);
    body.topic_id = consumer->topic_id;
    body.records_max = consumer->is_finishing ? HASTE_RECORDS : (int32_t)plan->records_max;
    body.look_ahead = (int32_t)ria_min_i64(plan->look_ahead, LOOK_AHEAD_MAX);
    body.dead_max = consumer->is_finishing ? HASTE_RECORDS : (int32_t)plan->dead_max;
    for (int32_t i = 0; i < count; i++) {
        queue_receive_queue_start_init(&starts[i]);
        queue_receive_queue_end_init(&ends[i]);
        starts[i].partition = i;
        ends[i].partition = i;
        ends[i].offset = known_end(consumer, i);
    }
    body.starts = starts;
    body.starts_count = (uint32_t)count;
    body.ends = ends;
    body.ends_count = (uint32_t)count;
    call(consumer, &body);
}

static void take_grant(
    struct queue_consumer *consumer,
    const struct queue_receive_result_queue_grant *grant,
    int64_t clock_ms
)
{
    if (consumer->range_count == QUEUE_RANGES_MAX) {
        return; /* nobody will have it for a while */
    }
    consumer->ranges[consumer->range_count++] = (struct queue_range){
        .partition = grant->partition,
        .lease = grant->lease_id,
        .first = grant->first,
        .last = grant->last,
        .deadline_ms = clock_ms + grant->left_ms,
        .is_unsettled = grant->unsettled,
    };
    consumer->until_us =
        ria_min_i64(consumer->until_us, sure_us(consumer->received_us, grant->left_ms));
    if (grant->deliveries > consumer->group->deliveries_max) {
        world_break(
            consumer->world,
            "deliveries",
            partition_of(consumer, grant->partition),
            "offset %" PRId64 " was delivered %" PRId32 " times, may be %" PRId32 " times",
            grant->first,
            grant->deliveries,
            consumer->group->deliveries_max
        );
    }
}

static void go_on(struct queue_consumer *consumer);

static void on_received(struct queue_consumer *consumer, const void *result, int64_t clock_ms)
{
    const struct queue_receive_result *received = result;

    consumer->received_us = consumer->sent_us;
    consumer->until_us = INT64_MAX;
    for (uint32_t i = 0; i < received->granted_count; i++) {
        take_grant(consumer, &received->granted[i], clock_ms);
    }
    for (uint32_t i = 0; i < received->dead_count && i < QUEUE_RANGES_MAX; i++) {
        consumer->dead[consumer->dead_count++] = (struct queue_range){
            .partition = received->dead[i].partition,
            .lease = received->dead[i].lease_id,
            .first = received->dead[i].first,
            .last = received->dead[i].last,
        };
    }
    go_on(consumer);
}

/* ---- fetch ---- */

static void take_record(void *arg, int64_t offset, uint64_t value, struct ria_slice key)
{
    struct queue_consumer *consumer = arg;
    const struct queue_range *range = &consumer->ranges[consumer->range_at];

    if (offset > range->last || consumer->item_count == QUEUE_ITEMS_MAX) {
        return;
    }
    consumer->items[consumer->item_count++] = (struct queue_item){
        .partition = range->partition,
        .lease = range->lease,
        .offset = offset,
        .deadline_ms = range->deadline_ms,
        .value = value,
        .key = key.size == 0 ? HISTORY_NO_KEY : (int64_t)(ria_hash_bytes(key.data, key.size) >> 1),
        .is_unsettled = range->is_unsettled,
        .is_had = !range->is_unsettled,
    };
    consumer->fetch_offset = offset + 1;
}

static void on_fetched(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    struct queue_consumer *consumer = arg;
    int64_t next = consumer->fetch_offset;
    int64_t before = consumer->fetch_offset;

    (void)response;
    if (!has_come(consumer, err, payload)) {
        return;
    }
    if (err == RIA_OK) {
        err = records_walk_keyed(payload, consumer->fetch_offset, take_record, consumer, &next);
    }
    if (err == RIA_OK && consumer->fetch_offset == before) {
        err = RIA_ERR_TIMEOUT; /* this leader has not heard of it; or there is no more room */
    }
    if (err != RIA_OK) {
        on_failed(consumer, err, RIA_SLICE_NULL);
        return;
    }
    go_on(consumer);
}

static void fetch(struct queue_consumer *consumer)
{
    const struct queue_range *range = &consumer->ranges[consumer->range_at];
    const char *address = NULL;
    struct fetch_request request;

    fetch_request_init(&request);
    request.topic_id = consumer->topic_id;
    request.partition = range->partition;
    request.offset = consumer->fetch_offset;
    request.max_bytes =
        (int32_t)((range->last - consumer->fetch_offset + 1) * FETCH_BYTES_OF_RECORD);
    if (!client_find_leader(
            consumer->node->client,
            &request.topic_id,
            request.partition,
            &address,
            &request.leader_epoch
        )) {
        on_failed(consumer, RIA_ERR_NO_LEADER, RIA_SLICE_NULL);
        return;
    }
    consumer->is_in_flight = true;
    client_call(
        consumer->node->client,
        address,
        API_FETCH,
        &request,
        RIA_SLICE_NULL,
        CALL_TIMEOUT_MS,
        on_fetched,
        consumer
    );
}

/* ---- settle ---- */

static int by_place(const void *left, const void *right)
{
    const struct queue_item *a = left;
    const struct queue_item *b = right;

    if (a->partition != b->partition) {
        return a->partition < b->partition ? -1 : 1;
    }
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* What it looked ahead for is left. */
static void settle(struct queue_consumer *consumer)
{
    struct queue_settle_queue_settle_entry entries[QUEUE_ITEMS_MAX];
    uint32_t wanted = consumer->is_finishing ? HASTE_RECORDS : consumer->plan->records_max;
    char name[CONSUMERS_NAME_SIZE];
    struct queue_settle body;

    consumers_group_name(consumer->plan->group, name);
    queue_settle_init(&body);
    body.group = ria_slice_cstr(name);
    body.topic_id = consumer->topic_id;
    body.entries = entries;
    for (uint32_t i = 0; i < consumer->item_count; i++) {
        const struct queue_item *item = &consumer->items[i];
        if (!item->is_unsettled) {
            continue;
        }
        struct queue_settle_queue_settle_entry *entry = &entries[body.entries_count++];
        queue_settle_queue_settle_entry_init(entry);
        entry->partition = item->partition;
        entry->lease_id = item->lease;
        entry->offset = item->offset;
        entry->has_key = item->key != HISTORY_NO_KEY;
        entry->key = item->key;
        entry->leave = i >= wanted;
    }
    call(consumer, &body);
}

static void on_settled(struct queue_consumer *consumer, const void *result, int64_t clock_ms)
{
    const struct queue_settle_result *settled = result;
    uint32_t at = 0;

    (void)clock_ms;
    for (uint32_t i = 0; i < consumer->item_count; i++) {
        struct queue_item *item = &consumer->items[i];
        if (item->is_unsettled && at < settled->entries_count) {
            item->is_had = settled->entries[at].error_code == 0 && settled->entries[at].hand_out;
            item->is_unsettled = false;
            at++;
        }
    }
    go_on(consumer);
}

/* ---- it has them ---- */

static struct history_event
event_of(const struct queue_consumer *consumer, history_kind kind, const struct queue_item *item)
{
    struct history_event event = consumers_event(
        consumer->world,
        kind,
        consumer->number,
        partition_of(consumer, item->partition),
        item->offset
    );

    event.lease = item->lease;
    event.action = item->action;
    return event;
}

/* Those that it may have, to the front. */
static void keep_had(struct queue_consumer *consumer)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < consumer->item_count; i++) {
        if (consumer->items[i].is_had) {
            consumer->items[count++] = consumer->items[i];
        }
    }
    consumer->item_count = count;
}

static history_action draw_action(struct queue_consumer *consumer)
{
    const struct plan_consumer *plan = consumer->plan;

    if (one_in(consumer, plan->nacks_one_in)) {
        return HISTORY_ACTION_NACK;
    }
    if (one_in(consumer, plan->rejects_one_in)) {
        return HISTORY_ACTION_REJECT;
    }
    return one_in(consumer, plan->gives_back_one_in) ? HISTORY_ACTION_GIVE_BACK
                                                     : HISTORY_ACTION_ACK;
}

static void begin_work(struct queue_consumer *consumer)
{
    keep_had(consumer);
    for (uint32_t i = 0; i < consumer->item_count; i++) {
        struct history_event event = event_of(consumer, HISTORY_LOCKED, &consumer->items[i]);
        event.value = consumer->items[i].value;
        event.key = consumer->items[i].key;
        event.until_us = consumer->until_us;
        event.clock_ms = consumer->items[i].deadline_ms;
        history_add(&consumer->world->history, &event);
        consumer->items[i].action = draw_action(consumer);
    }
    if (consumer->item_count == 0) {
        again(consumer, QUEUE_STAGE_BURY, 1);
    } else if (one_in(consumer, consumer->plan->is_late_one_in)) {
        again(
            consumer,
            QUEUE_STAGE_SAY,
            consumer->group->lease_ms * INT64_C(1000) + up_to(consumer, RETRY_US_MAX)
        );
    } else {
        bool extends = one_in(consumer, consumer->plan->extends_one_in);
        think(consumer, extends ? QUEUE_STAGE_EXTEND : QUEUE_STAGE_SAY);
    }
}

/* What comes next of what it got. */
static void go_on(struct queue_consumer *consumer)
{
    bool is_unsettled = false;

    while (consumer->range_at < consumer->range_count) {
        const struct queue_range *range = &consumer->ranges[consumer->range_at];
        consumer->fetch_offset = ria_max_i64(consumer->fetch_offset, range->first);
        if (consumer->fetch_offset > range->last || consumer->fetch_offset < range->first) {
            consumer->range_at++;
            consumer->fetch_offset = 0;
            continue;
        }
        consumer->stage = QUEUE_STAGE_FETCH;
        fetch(consumer);
        return;
    }
    for (uint32_t i = 0; i < consumer->item_count; i++) {
        is_unsettled = is_unsettled || consumer->items[i].is_unsettled;
    }
    if (is_unsettled) {
        qsort(consumer->items, consumer->item_count, sizeof(consumer->items[0]), by_place);
        consumer->stage = QUEUE_STAGE_SETTLE;
        settle(consumer);
    } else {
        begin_work(consumer);
    }
}

/* ---- what it says ---- */

static const int8_t action_codes[] = {
    [HISTORY_ACTION_ACK] = 1,
    [HISTORY_ACTION_NACK] = 2,
    [HISTORY_ACTION_EXTEND] = 3,
    [HISTORY_ACTION_REJECT] = 4,
    [HISTORY_ACTION_GIVE_BACK] = 5,
    [HISTORY_ACTION_BURY] = 6,
};

/* The same words of neighbours are one entry. */
static bool joins(const struct queue_ack_queue_ack_entry *entry, const struct queue_item *item)
{
    return entry->partition == item->partition && entry->lease_id == item->lease &&
           entry->last + 1 == item->offset && entry->action == action_codes[item->action];
}

static void say(struct queue_consumer *consumer)
{
    struct queue_ack_queue_ack_entry entries[QUEUE_ITEMS_MAX];
    int64_t delay_ms = up_to(consumer, NACK_MS_MAX);
    char name[CONSUMERS_NAME_SIZE];
    struct queue_ack body;

    consumers_group_name(consumer->plan->group, name);
    queue_ack_init(&body);
    body.group = ria_slice_cstr(name);
    body.topic_id = consumer->topic_id;
    body.entries = entries;
    for (uint32_t i = 0; i < consumer->item_count; i++) {
        const struct queue_item *item = &consumer->items[i];
        struct history_event event = event_of(consumer, HISTORY_SAY, item);
        bool is_nack = item->action == HISTORY_ACTION_NACK;
        event.until_us = is_nack ? sure_us(consumer->world->now_us, delay_ms) : 0;
        history_add(&consumer->world->history, &event);
        if (i > 0 && joins(&entries[body.entries_count - 1], item)) {
            entries[body.entries_count - 1].last = item->offset;
            continue;
        }
        struct queue_ack_queue_ack_entry *entry = &entries[body.entries_count++];
        queue_ack_queue_ack_entry_init(entry);
        entry->partition = item->partition;
        entry->lease_id = item->lease;
        entry->first = item->offset;
        entry->last = item->offset;
        entry->action = action_codes[item->action];
        entry->delay_ms = is_nack ? delay_ms : -1;
    }
    consumer->until_us = sure_us(consumer->world->now_us, delay_ms); /* of nacks */
    call(consumer, &body);
}

/* TOLD of every item: entries are as say() has joined them. */
static void
take_words(struct queue_consumer *consumer, const struct queue_ack_result *result, int64_t clock_ms)
{
    const struct queue_item *before = NULL;
    uint32_t at = 0;

    for (uint32_t i = 0; i < consumer->item_count; i++) {
        struct queue_item *item = &consumer->items[i];
        bool is_same = before != NULL && before->partition == item->partition &&
                       before->lease == item->lease && before->offset + 1 == item->offset &&
                       before->action == item->action;
        at += before != NULL && !is_same;
        before = item;
        if (at >= result->entries_count) {
            return;
        }
        struct history_event event = event_of(consumer, HISTORY_TOLD, item);
        ria_err err = ria_err_from_wire(result->entries[at].error_code);
        event.is_done = err == RIA_OK;
        event.clock_ms = clock_ms;
        if (item->action == HISTORY_ACTION_EXTEND) {
            event.until_us = sure_us(consumer->sent_us, result->entries[at].left_ms);
            event.clock_ms = clock_ms + result->entries[at].left_ms;
            item->is_had = event.is_done;
        } else if (item->action == HISTORY_ACTION_NACK) {
            event.until_us = consumer->until_us;
        }
        if (err == RIA_OK || err == RIA_ERR_CONFLICT) {
            history_add(&consumer->world->history, &event);
        }
    }
}

static void extend(struct queue_consumer *consumer)
{
    for (uint32_t i = 0; i < consumer->item_count; i++) {
        consumer->items[i].action = HISTORY_ACTION_EXTEND;
    }
    say(consumer);
}

static void on_extended(struct queue_consumer *consumer, const void *result, int64_t clock_ms)
{
    take_words(consumer, result, clock_ms);
    keep_had(consumer);
    for (uint32_t i = 0; i < consumer->item_count; i++) {
        consumer->items[i].action = draw_action(consumer);
    }
    think(consumer, consumer->item_count > 0 ? QUEUE_STAGE_SAY : QUEUE_STAGE_BURY);
}

static void on_said(struct queue_consumer *consumer, const void *result, int64_t clock_ms)
{
    take_words(consumer, result, clock_ms);
    again(consumer, QUEUE_STAGE_BURY, 1);
}

/* ---- dead records ---- */

/* As if they had been written to the dead-letter topic just now. */
static void bury(struct queue_consumer *consumer)
{
    consumer->item_count = 0;
    for (uint32_t i = 0; i < consumer->dead_count; i++) {
        const struct queue_range *dead = &consumer->dead[i];
        for (int64_t offset = dead->first;
             offset <= dead->last && consumer->item_count < QUEUE_ITEMS_MAX;
             offset++) {
            consumer->items[consumer->item_count++] = (struct queue_item){
                .partition = dead->partition,
                .lease = dead->lease,
                .offset = offset,
                .action = HISTORY_ACTION_BURY,
            };
        }
    }
    consumer->dead_count = 0;
    if (consumer->item_count > 0) {
        say(consumer);
    } else {
        think(consumer, QUEUE_STAGE_RECEIVE);
    }
}

static void on_buried(struct queue_consumer *consumer, const void *result, int64_t clock_ms)
{
    take_words(consumer, result, clock_ms);
    think(consumer, QUEUE_STAGE_RECEIVE);
}

/* ---- life ---- */

static void on_due(struct ria_timer *timer, void *arg)
{
    struct queue_consumer *consumer = arg;

    (void)timer;
    if (one_in(consumer, consumer->plan->dies_one_in)) {
        forget(consumer);
        again(consumer, QUEUE_STAGE_OPEN, up_to(consumer, DEAD_US_MAX));
        return;
    }
    switch (consumer->stage) {
    case QUEUE_STAGE_OPEN:
        open_queue(consumer);
        break;
    case QUEUE_STAGE_RECEIVE:
        receive(consumer);
        break;
    case QUEUE_STAGE_EXTEND:
        extend(consumer);
        break;
    case QUEUE_STAGE_SAY:
        say(consumer);
        break;
    case QUEUE_STAGE_BURY:
        bury(consumer);
        break;
    case QUEUE_STAGE_FETCH:
    case QUEUE_STAGE_SETTLE: /* follow at once */
        break;
    }
}

void queue_consumer_init(
    struct queue_consumer *consumer,
    struct world *world,
    const struct plan_consumer *plan,
    uint32_t number,
    const struct reader *readers
)
{
    *consumer = (struct queue_consumer){
        .world = world,
        .plan = plan,
        .group = &world->plan->groups[plan->group],
        .readers = readers,
        .number = number,
    };
    consumer->node = &world->nodes[plan->client];
    ria_rand_init(&consumer->rand, world_seed(world, WORLD_RAND_LOAD, 2000 + number));
    while ((consumer->group->topics >> consumer->topic & 1) == 0) {
        consumer->topic++;
    }
    consumer->topic_id = world_topic_id(world, consumer->topic);
    ria_timer_init(&consumer->timer, on_due, consumer);
}

void queue_consumer_start(struct queue_consumer *consumer)
{
    again(consumer, QUEUE_STAGE_OPEN, 1);
}

void queue_consumer_finish(struct queue_consumer *consumer)
{
    consumer->is_finishing = true;
}

void queue_consumer_close(struct queue_consumer *consumer)
{
    consumer->is_closed = true;
    ria_timer_stop(&consumer->node->timers, &consumer->timer);
}

void queue_consumer_fini(struct queue_consumer *consumer)
{
    RIA_ASSERT(!consumer->is_in_flight);
}
