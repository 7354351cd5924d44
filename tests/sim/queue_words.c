#include "tests/sim/queue_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"
#include "common/json.h"

#include "tests/sim/consumers.h"
#include "tests/sim/world.h"

enum {
    CLOCK_STEP_US = 1000, /* the coordinator's clock may be so much ahead of ours */
    WALL_STEP_US = 1000,  /* gateways say whole milliseconds */
    TOKENS_MAX = QUEUE_ITEMS_MAX * 32,
};

/* ---- time ---- */

static int64_t sure_us(int64_t asked_us, int64_t left_ms)
{
    return asked_us + left_ms * 1000 - CLOCK_STEP_US;
}

int64_t queue_words_until(const struct queue_consumer *consumer, int64_t locked_until_ms)
{
    const struct world *world = consumer->world;
    int64_t wall_ms = ria_clock_wall_ms(&world->nodes[consumer->gateway].clock);

    if (plan_has(world->plan, PLAN_CLOCK)) { /* its clock may have jumped since */
        return sure_us(consumer->sent_us, consumer->group->lease_ms);
    }
    return sure_us(world->now_us - WALL_STEP_US, locked_until_ms - wall_ms);
}

/* It only grows while the coordinator lives. */
static bool is_same_clock(const struct queue_consumer *consumer)
{
    return consumer->clock_ms != HISTORY_NO_CLOCK &&
           consumer->coordinator_boots == consumer->world->nodes[0].boots;
}

int64_t queue_words_deadline(const struct queue_consumer *consumer)
{
    int64_t clock_ms = consumers_lease_clock(consumer->world);

    return is_same_clock(consumer) && clock_ms != HISTORY_NO_CLOCK
               ? clock_ms + consumer->group->lease_ms
               : HISTORY_NO_CLOCK;
}

/* ---- saying ---- */

const char *queue_words_verb(history_action action)
{
    switch (action) {
    case HISTORY_ACTION_ACK:
        return "ack";
    case HISTORY_ACTION_NACK:
        return "nack";
    case HISTORY_ACTION_EXTEND:
        return "extend";
    case HISTORY_ACTION_REJECT:
        return "reject";
    case HISTORY_ACTION_GIVE_BACK:
    case HISTORY_ACTION_BURY: /* the gateways' */
    case HISTORY_ACTION_COUNT:
        break;
    }
    RIA_ASSERT(false);
    return "";
}

static struct history_event
event_of(const struct queue_consumer *consumer, history_kind kind, const struct queue_item *item)
{
    struct history_event event =
        consumers_event(consumer->world, kind, consumer->number, item->partition, item->offset);

    event.lease = item->lease;
    event.action = item->action;
    event.until_us =
        item->action == HISTORY_ACTION_NACK ? sure_us(consumer->sent_us, consumer->delay_ms) : 0;
    return event;
}

static size_t say_numbers(const struct queue_consumer *consumer, char *out)
{
    out[0] = '\0';
    if (consumer->action == HISTORY_ACTION_NACK) {
        (void)snprintf(out, QUEUE_WORDS_SIZE, ",\"delay_ms\":%" PRId64, consumer->delay_ms);
    } else if (consumer->action == HISTORY_ACTION_EXTEND) {
        (void)snprintf(out, QUEUE_WORDS_SIZE, ",\"lock_ms\":%" PRId32, consumer->group->lease_ms);
    }
    return strlen(out);
}

void queue_words_say(struct queue_consumer *consumer, char *out)
{
    bool is_one_word = consumer->locks[0] != '\0';
    const char *before = "";
    size_t size = 0;

    out[0] = '\0';
    size += (size_t)snprintf(out, QUEUE_WORDS_SIZE, "{\"locks\":[");
    if (is_one_word) {
        size += (size_t)snprintf(out + size, QUEUE_WORDS_SIZE - size, "\"%s\"", consumer->locks);
    }
    for (uint32_t i = 0; i < consumer->item_count; i++) {
        const struct queue_item *item = &consumer->items[i];
        if (item->action != consumer->action) {
            continue;
        }
        struct history_event event = event_of(consumer, HISTORY_SAY, item);
        history_add(&consumer->world->history, &event);
        if (!is_one_word) {
            size += (size_t
            )snprintf(out + size, QUEUE_WORDS_SIZE - size, "%s\"%s\"", before, item->lock);
            before = ",";
        }
    }
    size += (size_t)snprintf(out + size, QUEUE_WORDS_SIZE - size, "]");
    size += say_numbers(consumer, out + size);
    size += (size_t)snprintf(out + size, QUEUE_WORDS_SIZE - size, "}");
    RIA_ASSERT(size < QUEUE_WORDS_SIZE);
}

/* ---- being told ---- */

typedef enum word_outcome { WORD_DONE, WORD_LATE, WORD_NOT_KNOWN } word_outcome;

/* {"lock":"...","status":"done"|"late"|"partly"|"failed",...} */
static word_outcome outcome_of(const struct ria_json *json, uint32_t entry)
{
    int64_t status = ria_json_member(json, entry, "status");
    struct ria_slice text = status < 0 ? RIA_SLICE_NULL : ria_json_raw(json, (uint32_t)status);

    if (ria_slice_equal(text, RIA_SLICE_LITERAL("\"done\""))) {
        return WORD_DONE;
    }
    return ria_slice_equal(text, RIA_SLICE_LITERAL("\"late\"")) ? WORD_LATE : WORD_NOT_KNOWN;
}

static void take_one(
    struct queue_consumer *consumer,
    struct queue_item *item,
    word_outcome outcome,
    int64_t locked_until_ms
)
{
    struct history_event event = event_of(consumer, HISTORY_TOLD, item);

    event.is_done = outcome == WORD_DONE;
    event.clock_ms = is_same_clock(consumer) ? consumer->clock_ms : HISTORY_NO_CLOCK;
    if (item->action == HISTORY_ACTION_EXTEND) {
        event.until_us = queue_words_until(consumer, locked_until_ms);
        event.clock_ms = queue_words_deadline(consumer);
    }
    /* Of what was said twice the first time may have counted. */
    bool says_nothing = outcome == WORD_NOT_KNOWN || (outcome == WORD_LATE && consumer->is_repeat);
    if (!says_nothing) {
        history_add(&consumer->world->history, &event);
    }
    if (item->action == HISTORY_ACTION_EXTEND && outcome != WORD_DONE) {
        item->action = HISTORY_ACTION_COUNT; /* not its own any more */
    }
}

/* Of each item that was spoken of, in order: its entry in "locks", if there are any. */
static void take_all(struct queue_consumer *consumer, int status, const struct ria_json *json)
{
    bool is_one_word = consumer->locks[0] != '\0';
    int64_t locks = ria_json_member(json, 0, "locks");
    uint32_t entry = (uint32_t)locks + 1;
    word_outcome outcome = status == 200 ? WORD_DONE : WORD_NOT_KNOWN;
    uint32_t left = locks < 0 ? 0 : json->tokens[locks].children;
    int64_t until_ms = 0;

    for (uint32_t i = 0; i < consumer->item_count; i++) {
        struct queue_item *item = &consumer->items[i];
        if (item->action != consumer->action) {
            continue;
        }
        if (left > 0) {
            int64_t until = ria_json_member(json, entry, "locked_until");
            ria_err err = until < 0 ? RIA_OK : ria_json_i64(json, (uint32_t)until, &until_ms);
            RIA_ASSERT(err == RIA_OK);
            outcome = outcome_of(json, entry);
            entry = is_one_word ? entry : json->tokens[entry].next;
            left -= !is_one_word;
        }
        take_one(consumer, item, outcome, until_ms);
    }
}

/* Those of which it has lost the lock, out. */
static void drop_lost(struct queue_consumer *consumer)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < consumer->item_count; i++) {
        if (consumer->items[i].action != HISTORY_ACTION_COUNT) {
            consumer->items[count++] = consumer->items[i];
        }
    }
    consumer->locks[0] = count == consumer->item_count ? consumer->locks[0] : '\0';
    consumer->item_count = count;
}

void queue_words_take(struct queue_consumer *consumer, int status, const struct sim_http *http)
{
    struct ria_json json;

    ria_json_init(&json);
    ria_err err = ria_json_parse(&json, http->body, TOKENS_MAX);
    if (err != RIA_OK) {
        world_break(
            consumer->world,
            "bad-answer",
            0,
            "consumer %" PRIu32 " cannot read what became of its records: %s",
            consumer->number,
            ria_err_name(err)
        );
    } else {
        take_all(consumer, status, &json);
        drop_lost(consumer);
    }
    ria_json_fini(&json);
}
