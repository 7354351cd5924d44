#include "tests/sim/queue_consumer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/arena.h"
#include "common/assert.h"

#include "services/gateway/queue_lock.h"
#include "tests/sim/client.h"
#include "tests/sim/consumers.h"
#include "tests/sim/lines.h"
#include "tests/sim/queue_words.h"
#include "tests/sim/world.h"

enum {
    RETRY_US_MIN = 10 * 1000,
    RETRY_US_MAX = 300 * 1000,
    CALL_TIMEOUT_MS = 2500,
    DEAD_US_MAX = 3000 * 1000,
    HASTE_US = 20 * 1000,
    HASTE_RECORDS = 200,
    HASTE_BYTES = 256 * 1024,
    NACK_MS_MAX = 800,
    MOVES_ONE_IN = 3, /* calls go to another gateway */
    LOCK_ARENA_SIZE = 64 * 1024,
    PATH_SIZE = 128,
};
_Static_assert((int)HASTE_RECORDS <= (int)QUEUE_ITEMS_MAX, "they must fit");

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
    consumer->item_count = 0;
    consumer->locks[0] = '\0';
    consumer->is_repeat = false;
}

static void think(struct queue_consumer *consumer, queue_stage stage)
{
    int64_t most_us = consumer->is_finishing ? ria_min_i64(HASTE_US, consumer->plan->think_us)
                                             : consumer->plan->think_us;

    again(consumer, stage, up_to(consumer, most_us));
}

/* ---- calls ---- */

static void on_answered(void *arg, ria_err err, int status, const struct sim_http *http);

/* "POST /v1/queues/topic-0/group-1{rest}" and the headers. */
static void call(
    struct queue_consumer *consumer,
    const char *method,
    const char *rest,
    const char *body,
    uint32_t wait_ms
)
{
    char group[CONSUMERS_NAME_SIZE];
    char topic[WORLD_NAME_SIZE];
    char head[2 * PATH_SIZE + 128];

    if (ria_rand_one_in(&consumer->rand, MOVES_ONE_IN)) {
        consumer->gateway = world_any_gateway(consumer->world, &consumer->rand);
    }
    consumers_group_name(consumer->plan->group, group);
    world_topic_name(consumer->world, consumer->topic, topic);
    (void)snprintf(
        head,
        sizeof(head),
        "%s /v1/queues/%s/%s%s\nContent-Type: application/json\nAccept: %s\n",
        method,
        topic,
        group,
        rest,
        consumer->stage == QUEUE_STAGE_RECEIVE ? "application/x-ndjson" : "application/json"
    );
    consumer->is_in_flight = true;
    consumer->sent_us = consumer->world->now_us;
    consumer->coordinator_boots = consumer->world->nodes[0].boots;
    consumer->clock_ms = consumers_lease_clock(consumer->world);
    sim_http_call(
        &consumer->node->env,
        consumer->world->nodes[consumer->gateway].address,
        head,
        ria_slice_cstr(body),
        wait_ms + CALL_TIMEOUT_MS,
        on_answered,
        consumer
    );
}

static void open_queue(struct queue_consumer *consumer)
{
    const struct plan_group *group = consumer->group;
    char body[256];

    (void)snprintf(
        body,
        sizeof(body),
        "{\"lock_ms\":%" PRId32 ",\"max_deliveries\":%" PRId32
        ",\"order\":\"%s\",\"retry_ms\":[%" PRId32 "]}",
        group->lease_ms,
        group->deliveries_max,
        group->is_ordered ? "key" : "none",
        group->retry_ms
    );
    call(consumer, "PUT", "", body, 0);
}

static void receive(struct queue_consumer *consumer)
{
    const struct plan_consumer *plan = consumer->plan;
    bool hastes = consumer->is_finishing;
    char rest[PATH_SIZE];

    forget(consumer);
    (void)snprintf(
        rest,
        sizeof(rest),
        "/receive?max_records=%" PRIu32 "&max_bytes=%" PRIu32 "&wait_ms=%" PRIu32
        "&lock_ms=%" PRId32 "&consumer=c%" PRIu32,
        hastes ? HASTE_RECORDS : plan->records_max,
        hastes ? HASTE_BYTES : plan->max_bytes,
        plan->wait_ms,
        consumer->group->lease_ms,
        consumer->number
    );
    call(consumer, "POST", rest, "", plan->wait_ms);
}

/* ---- records that came ---- */

/* A client would not look into it; a judge may. */
static bool open_lock(struct queue_consumer *consumer, struct queue_item *item)
{
    const struct ria_uuid *cluster = &consumer->world->cluster_id;
    struct queue_lock lock;
    struct ria_arena arena;
    uint32_t partition = 0;

    ria_arena_init(&arena, LOCK_ARENA_SIZE);
    bool is_fine =
        queue_lock_decode(ria_slice_cstr(item->lock), cluster, &arena, &lock) == LOCK_FINE &&
        lock.count == 1 && lock.ranges[0].first == item->offset &&
        lock.ranges[0].last == item->offset &&
        consumers_find_partition(
            consumer->world, &lock.topic_id, lock.ranges[0].partition, &partition
        ) &&
        partition == item->partition;
    item->lease = is_fine ? lock.ranges[0].lease : 0;
    ria_arena_fini(&arena);
    return is_fine;
}

static void check_deliveries(
    const struct queue_consumer *consumer, const struct line_record *record, int64_t deliveries
)
{
    if (deliveries > consumer->group->deliveries_max &&
        !plan_is_group_deleted(consumer->world->plan, consumer->plan->group)) {
        world_break(
            consumer->world,
            "deliveries",
            record->partition,
            "offset %" PRId64 " was delivered %" PRId64 " times, may be %" PRId32 " times",
            record->offset,
            deliveries,
            consumer->group->deliveries_max
        );
    }
}

static bool take_line(struct queue_consumer *consumer, struct ria_slice line)
{
    struct ria_slice lock = lines_text(line, ",\"lock\":\"");
    struct line_record record;
    int64_t deliveries = 0;
    int64_t until_ms = 0;

    if (consumer->item_count == QUEUE_ITEMS_MAX || lock.size == 0 || lock.size >= QUEUE_LOCK_SIZE ||
        !lines_parse(consumer->world, line, &record) ||
        !lines_number(line, ",\"deliveries\":", &deliveries) ||
        !lines_number(line, ",\"locked_until\":", &until_ms)) {
        return false;
    }
    struct queue_item *item = &consumer->items[consumer->item_count++];
    *item = (struct queue_item){
        .partition = record.partition,
        .offset = record.offset,
        .value = record.value,
        .key = record.key,
        .until_us = queue_words_until(consumer, until_ms),
        .deadline_ms = queue_words_deadline(consumer),
    };
    memcpy(item->lock, lock.data, lock.size);
    check_deliveries(consumer, &record, deliveries);
    return open_lock(consumer, item);
}

static void note_items(struct queue_consumer *consumer)
{
    for (uint32_t i = 0; i < consumer->item_count; i++) {
        const struct queue_item *item = &consumer->items[i];
        struct history_event event = consumers_event(
            consumer->world, HISTORY_LOCKED, consumer->number, item->partition, item->offset
        );
        event.lease = item->lease;
        event.value = item->value;
        event.key = item->key;
        event.until_us = item->until_us;
        event.clock_ms = item->deadline_ms;
        history_add(&consumer->world->history, &event);
    }
}

static void take_records(struct queue_consumer *consumer, const struct sim_http *http)
{
    struct ria_slice locks = sim_http_header(http, "Riacho-Locks");
    struct ria_slice lines = http->body;
    struct ria_slice line;
    bool is_fine = true;

    while (is_fine && lines.size > 0) {
        is_fine = lines_next(&lines, &line) && take_line(consumer, line);
    }
    if (!is_fine) {
        world_break(
            consumer->world, "bad-batch", 0, "consumer %" PRIu32 " got no records", consumer->number
        );
        forget(consumer);
        return;
    }
    if (locks.size > 0 && locks.size < QUEUE_LOCKS_SIZE) {
        memcpy(consumer->locks, locks.data, locks.size);
        consumer->locks[locks.size] = '\0';
    }
    note_items(consumer);
}

/* ---- what it does with them ---- */

static history_action draw_action(struct queue_consumer *consumer)
{
    const struct plan_consumer *plan = consumer->plan;

    if (one_in(consumer, plan->nacks_one_in)) {
        return HISTORY_ACTION_NACK;
    }
    return one_in(consumer, plan->rejects_one_in) ? HISTORY_ACTION_REJECT : HISTORY_ACTION_ACK;
}

/* Each has a word of its own, but where all are acknowledged one may do for all. */
static void draw_actions(struct queue_consumer *consumer)
{
    bool is_one_word = ria_rand_one_in(&consumer->rand, 2);

    for (uint32_t i = 0; i < consumer->item_count; i++) {
        consumer->items[i].action = draw_action(consumer);
        is_one_word = is_one_word && consumer->items[i].action == HISTORY_ACTION_ACK;
    }
    if (!is_one_word) {
        consumer->locks[0] = '\0';
    }
    consumer->delay_ms = up_to(consumer, NACK_MS_MAX);
}

static void begin_work(struct queue_consumer *consumer)
{
    if (consumer->item_count == 0) {
        think(consumer, QUEUE_STAGE_RECEIVE);
    } else if (one_in(consumer, consumer->plan->is_late_one_in)) {
        draw_actions(consumer);
        again(
            consumer,
            QUEUE_STAGE_SAY,
            consumer->group->lease_ms * INT64_C(1000) + up_to(consumer, RETRY_US_MAX)
        );
    } else if (one_in(consumer, consumer->plan->extends_one_in)) {
        think(consumer, QUEUE_STAGE_EXTEND);
    } else {
        draw_actions(consumer);
        think(consumer, QUEUE_STAGE_SAY);
    }
}

static void say(struct queue_consumer *consumer)
{
    char body[QUEUE_WORDS_SIZE];
    char rest[PATH_SIZE];

    consumer->sent_us = consumer->world->now_us;
    queue_words_say(consumer, body);
    (void)snprintf(rest, sizeof(rest), "/%s", queue_words_verb(consumer->action));
    call(consumer, "POST", rest, body, 0);
}

static void extend(struct queue_consumer *consumer)
{
    for (uint32_t i = 0; i < consumer->item_count; i++) {
        consumer->items[i].action = HISTORY_ACTION_EXTEND;
    }
    consumer->action = HISTORY_ACTION_EXTEND;
    say(consumer);
}

/* What has been said goes; the next word, if there is one. */
static void say_next(struct queue_consumer *consumer)
{
    if (consumer->item_count == 0) {
        think(consumer, QUEUE_STAGE_RECEIVE);
        return;
    }
    consumer->action = consumer->items[0].action;
    say(consumer);
}

static void drop_said(struct queue_consumer *consumer)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < consumer->item_count; i++) {
        if (consumer->items[i].action != consumer->action) {
            consumer->items[count++] = consumer->items[i];
        }
    }
    consumer->item_count = count;
    consumer->locks[0] = '\0';
    consumer->is_repeat = false;
}

/* ---- what comes back ---- */

static void on_failed(struct queue_consumer *consumer, ria_err err, struct ria_slice text)
{
    const struct plan *plan = consumer->world->plan;
    int64_t pause_us = RETRY_US_MIN + up_to(consumer, RETRY_US_MAX - RETRY_US_MIN);
    bool is_gone = err == RIA_ERR_NOT_FOUND && plan_is_group_deleted(plan, consumer->plan->group);
    bool is_ours = err == RIA_ERR_UNKNOWN_TOPIC || is_gone;

    if (!is_ours) {
        consumers_check_error(consumer->world, consumer->number, err, text);
    }
    consumer->gateway = world_any_gateway(consumer->world, &consumer->rand);
    if (consumer->stage == QUEUE_STAGE_SAY && !is_gone && ria_rand_one_in(&consumer->rand, 2)) {
        consumer->is_repeat = true;
        again(consumer, QUEUE_STAGE_SAY, pause_us);
        return;
    }
    forget(consumer);
    bool opens = is_gone || consumer->stage == QUEUE_STAGE_OPEN;
    again(consumer, opens ? QUEUE_STAGE_OPEN : QUEUE_STAGE_RECEIVE, pause_us);
}

/* The error that a client sees. Words that were too late have an answer, too. */
static ria_err error_of(const struct queue_consumer *consumer, int status, struct ria_slice body)
{
    bool says = consumer->stage == QUEUE_STAGE_SAY || consumer->stage == QUEUE_STAGE_EXTEND;
    bool is_definite = false;

    if (status / 100 == 2 || (says && status == 409)) {
        return RIA_OK;
    }
    ria_err err = sim_http_error(body, &is_definite);
    RIA_ASSERT(err != RIA_OK);
    return err;
}

static void go_on(struct queue_consumer *consumer, int status, const struct sim_http *http)
{
    switch (consumer->stage) {
    case QUEUE_STAGE_OPEN:
        think(consumer, QUEUE_STAGE_RECEIVE);
        break;
    case QUEUE_STAGE_RECEIVE:
        take_records(consumer, http);
        begin_work(consumer);
        break;
    case QUEUE_STAGE_EXTEND:
        queue_words_take(consumer, status, http);
        draw_actions(consumer);
        think(consumer, QUEUE_STAGE_SAY);
        break;
    case QUEUE_STAGE_SAY:
        queue_words_take(consumer, status, http);
        drop_said(consumer);
        again(consumer, QUEUE_STAGE_SAY, 1);
        break;
    }
}

static void on_answered(void *arg, ria_err err, int status, const struct sim_http *http)
{
    struct queue_consumer *consumer = arg;

    consumer->is_in_flight = false;
    if (consumer->is_closed) {
        return;
    }
    if (status != 0) {
        err = error_of(consumer, status, http->body);
    }
    consumer->last_err = err;
    consumers_trace(consumer->world, "queued", consumer->number, err, http->body);
    if (err != RIA_OK) {
        on_failed(consumer, err, http->body);
    } else {
        go_on(consumer, status, http);
    }
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
        say_next(consumer);
        break;
    }
}

void queue_consumer_init(
    struct queue_consumer *consumer,
    struct world *world,
    const struct plan_consumer *plan,
    uint32_t number
)
{
    *consumer = (struct queue_consumer){
        .world = world,
        .plan = plan,
        .group = &world->plan->groups[plan->group],
        .number = number,
    };
    consumer->node = &world->nodes[plan->client];
    ria_rand_init(&consumer->rand, world_seed(world, WORLD_RAND_LOAD, 2000 + number));
    while ((consumer->group->topics >> consumer->topic & 1) == 0) {
        consumer->topic++;
    }
    consumer->gateway = world_any_gateway(world, &consumer->rand);
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
