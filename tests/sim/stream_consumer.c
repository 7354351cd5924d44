#include "tests/sim/stream_consumer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"

#include "tests/sim/client.h"
#include "tests/sim/consumers.h"
#include "tests/sim/inspect.h"
#include "tests/sim/lines.h"
#include "tests/sim/world.h"

enum {
    RETRY_US_MIN = 10 * 1000,
    RETRY_US_MAX = 300 * 1000,
    CALL_TIMEOUT_MS = 2500,
    DEAD_US_MAX = 3000 * 1000,
    HASTE_US = 20 * 1000,
    HASTE_RECORDS = 1000,
    HASTE_BYTES = 256 * 1024,
    HEAD_SIZE = CURSOR_TEXT_MAX + 512,
    TOPICS_SIZE = PLAN_TOPICS_MAX * WORLD_NAME_SIZE,
    HASTE_MS = 200,
    STREAM_TIMES = 10, /* as many records as a read has */
};

static void again(struct stream_consumer *consumer, int64_t pause_us)
{
    ria_timer_start(&consumer->node->timers, &consumer->timer, pause_us);
}

static bool one_in(struct stream_consumer *consumer, uint32_t times)
{
    return !consumer->is_finishing && times > 0 && ria_rand_one_in(&consumer->rand, times);
}

/* ---- records that came ---- */

static void note_has(struct stream_consumer *consumer, history_kind kind)
{
    stream_place_note(&consumer->has, consumer->world, consumer->number, kind);
}

static void break_records(struct stream_consumer *consumer)
{
    world_break(
        consumer->world, "bad-batch", 0, "consumer %" PRIu32 " got no records", consumer->number
    );
    stream_place_forget(&consumer->has);
}

static struct stream_taker taker_of(struct stream_consumer *consumer)
{
    return (struct stream_taker){
        .world = consumer->world,
        .place = &consumer->has,
        .consumer = consumer->number,
        .reads = true,
        .delivers = consumer->call == STREAM_READ || !consumer->plan->acks_written,
    };
}

static void take_records(struct stream_consumer *consumer, const struct sim_http *http)
{
    struct stream_taker taker = taker_of(consumer);

    if (!stream_records_take(&taker, http->body, sim_http_header(http, "Riacho-Cursor"))) {
        break_records(consumer);
    } else if (consumer->has.part_count == 0) {
        stream_place_forget(&consumer->has); /* it says nothing */
    }
}

/* ---- commits ---- */

/* "a/0,b/7" has an entry for it. */
static bool is_lost(
    const struct stream_consumer *consumer, struct ria_slice lost, const struct stream_part *part
)
{
    char mark[WORLD_NAME_SIZE + 16];
    char name[WORLD_NAME_SIZE];
    uint32_t topic = 0;
    int32_t number = 0;

    world_find_partition(consumer->world, part->partition, &topic, &number);
    world_topic_name(consumer->world, topic, name);
    int size = snprintf(mark, sizeof(mark), "%s/%" PRId32, name, number);
    while (lost.size > 0) {
        const uint8_t *comma = memchr(lost.data, ',', lost.size);
        size_t length = comma == NULL ? lost.size : (size_t)(comma - lost.data);
        if (length == (size_t)size && memcmp(lost.data, mark, length) == 0) {
            return true;
        }
        lost = comma == NULL ? RIA_SLICE_EMPTY : ria_slice_sub(lost, length + 1, lost.size);
    }
    return false;
}

static void note_said(struct stream_consumer *consumer, uint32_t index, bool is_in)
{
    struct stream_place one = {.part_count = 1};

    one.parts[0] = consumer->has.parts[index];
    stream_place_note(
        &one, consumer->world, consumer->number, is_in ? HISTORY_LOST : HISTORY_COMMITTED
    );
}

static void take_lost(struct stream_consumer *consumer, const struct sim_http *http)
{
    struct ria_slice lost = sim_http_header(http, "Riacho-Lost");

    for (uint32_t i = 0; i < consumer->has.part_count; i++) {
        note_said(consumer, i, is_lost(consumer, lost, &consumer->has.parts[i]));
    }
}

/* ..."committed":[{"topic":"topic-0","partition":1,...}],"lost":[...]}; a stream has an object
 * {"topic":"topic-0","partition":1,"position":...} of each */
static void take_said(
    struct stream_consumer *consumer, struct ria_slice lost, const char *before, const char *behind
)
{
    char entry[STREAM_PART_TEXT_SIZE];
    char mark[STREAM_PART_TEXT_SIZE + 40];

    for (uint32_t i = 0; i < consumer->has.part_count; i++) {
        stream_part_text(consumer->world, &consumer->has.parts[i], entry);
        (void)snprintf(mark, sizeof(mark), "%s%s%s", before, entry, behind);
        note_said(consumer, i, !ria_slice_is_null(lines_behind(lost, mark)));
    }
}

/* ---- live streams ---- */

/* What came of a stream, or the first bytes of it: then the connection broke. The error that it
 * ended with. */
static ria_err take_live(struct stream_consumer *consumer, struct ria_slice text)
{
    struct stream_taker taker = taker_of(consumer);
    bool as_events = consumer->plan->acks_written;
    struct ria_slice end;
    bool is_definite = false;

    if (one_in(consumer, consumer->plan->breaks_one_in)) {
        text = ria_slice_sub(text, 0, (size_t)ria_rand_below(&consumer->rand, text.size + 1));
    } else {
        take_said(consumer, text, as_events ? "data: " : "{\"lost\":", "\"position\":");
    }
    if (!stream_records_take_live(&taker, &text, as_events, &end)) {
        break_records(consumer);
    } else if (consumer->has.part_count == 0) {
        stream_place_forget(&consumer->has);
    }
    return end.size == 0 ? RIA_OK : sim_http_error(end, &is_definite);
}

/* ---- what comes back ---- */

static bool reads(const struct stream_consumer *consumer)
{
    return consumer->call == STREAM_READ || consumer->call == STREAM_LIVE;
}

static void on_failed(struct stream_consumer *consumer, ria_err err, struct ria_slice text)
{
    /* A topic is not made yet, or the gateway has not heard of it; the group is in use. */
    bool is_ours = err == RIA_ERR_UNKNOWN_TOPIC || err == RIA_ERR_NOT_FOUND ||
                   (!reads(consumer) && err == RIA_ERR_CONFLICT);

    if (!is_ours) {
        consumers_check_error(consumer->world, consumer->number, err, text);
    }
    consumer->gateway = world_any_gateway(consumer->world, &consumer->rand);
    again(
        consumer,
        RETRY_US_MIN + (int64_t)ria_rand_below(&consumer->rand, RETRY_US_MAX - RETRY_US_MIN)
    );
}

static void think(struct stream_consumer *consumer)
{
    int64_t most_us = consumer->is_finishing ? ria_min_i64(HASTE_US, consumer->plan->think_us)
                                             : consumer->plan->think_us;

    again(consumer, 1 + (int64_t)ria_rand_below(&consumer->rand, (uint64_t)most_us));
}

static ria_err take_answer(struct stream_consumer *consumer, const struct sim_http *http)
{
    switch (consumer->call) {
    case STREAM_READ:
        take_lost(consumer, http);
        take_records(consumer, http);
        break;
    case STREAM_LIVE:
        return take_live(consumer, http->body);
    case STREAM_COMMIT:
        take_said(consumer, lines_behind(http->body, "\"lost\":["), "", "");
        stream_place_forget(&consumer->has);
        break;
    case STREAM_RELEASE:
    case STREAM_LEAVE:
        stream_place_forget(&consumer->has);
        break;
    case STREAM_EXTEND:
        break;
    case STREAM_RESET:
        consumer->has_reset = true;
        break;
    }
    return RIA_OK;
}

static void on_answered(void *arg, ria_err err, int status, const struct sim_http *http)
{
    struct stream_consumer *consumer = arg;
    bool is_definite = false;

    consumer->is_in_flight = false;
    if (consumer->is_closed) {
        return;
    }
    bool is_said = consumer->call == STREAM_COMMIT && (status == 200 || status == 409);
    if (status != 0 && status != 200 && status != 204 && !is_said) {
        err = sim_http_error(http->body, &is_definite);
        RIA_ASSERT(err != RIA_OK);
    }
    consumers_trace(consumer->world, "consumed", consumer->number, err, http->body);
    if (err == RIA_OK) {
        err = take_answer(consumer, http);
    }
    consumer->last_err = err;
    if (err != RIA_OK) {
        on_failed(consumer, err, http->body);
    } else {
        think(consumer);
    }
}

/* ---- what is asked ---- */

static void send_for(
    struct stream_consumer *consumer,
    stream_call call,
    const char *head,
    const char *body,
    uint32_t wait_ms
)
{
    consumer->call = call;
    consumer->is_in_flight = true;
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

static void
send(struct stream_consumer *consumer, stream_call call, const char *head, const char *body)
{
    send_for(consumer, call, head, body, consumer->plan->wait_ms);
}

static void name_topics(const struct stream_consumer *consumer, char *out)
{
    char name[WORLD_NAME_SIZE];

    out[0] = '\0';
    for (uint32_t i = 0; i < consumer->world->plan->topic_count; i++) {
        if ((consumer->group->topics >> i & 1) != 0) {
            world_topic_name(consumer->world, i, name);
            size_t used = strlen(out);
            (void)snprintf(out + used, TOPICS_SIZE - used, "%s%s", used > 0 ? "," : "", name);
        }
    }
}

static void name_member(const struct stream_consumer *consumer, char *out, size_t out_size)
{
    out[0] = '\0';
    if (consumer->group->has_names) {
        (void)snprintf(
            out,
            out_size,
            "&member=m%" PRIu32 "&session_ms=%" PRId32,
            consumer->number,
            consumer->group->session_ms
        );
    }
}

static void read_records(struct stream_consumer *consumer)
{
    const struct plan_consumer *plan = consumer->plan;
    bool hastes = consumer->is_finishing;
    char topics[TOPICS_SIZE];
    char member[64];
    char group[CONSUMERS_NAME_SIZE];
    char head[HEAD_SIZE];

    consumers_group_name(plan->group, group);
    name_topics(consumer, topics);
    name_member(consumer, member, sizeof(member));
    int size = snprintf(
        head,
        sizeof(head),
        "GET /v1/groups/%s/records?topics=%s%s&lease_ms=%" PRId32 "&max_records=%" PRIu32
        "&max_bytes=%" PRIu32 "&wait_ms=%" PRIu32 "%s%s\nAccept: application/x-ndjson\n",
        group,
        topics,
        member,
        consumer->group->lease_ms,
        hastes ? HASTE_RECORDS : plan->records_max,
        hastes ? HASTE_BYTES : plan->max_bytes,
        plan->wait_ms,
        consumer->has.cursor[0] == '\0' ? "" : "&after=",
        consumer->has.cursor
    );
    RIA_ASSERT((size_t)size < sizeof(head));
    note_has(consumer, HISTORY_COMMIT);
    send(consumer, STREAM_READ, head, "");
}

/* Each stream is short; the next one is at another gateway, mostly. */
static void read_live(struct stream_consumer *consumer)
{
    const struct plan_consumer *plan = consumer->plan;
    uint32_t max_ms = consumer->is_finishing ? HASTE_MS : plan->stream_ms;
    char topics[TOPICS_SIZE];
    char member[64];
    char group[CONSUMERS_NAME_SIZE];
    char head[HEAD_SIZE];

    consumers_group_name(plan->group, group);
    name_topics(consumer, topics);
    name_member(consumer, member, sizeof(member));
    int size = snprintf(
        head,
        sizeof(head),
        "GET /v1/groups/%s/stream?topics=%s%s&lease_ms=%" PRId32 "&max_records=%" PRIu32
        "&max_ms=%" PRIu32 "&%s\n",
        group,
        topics,
        member,
        consumer->group->lease_ms,
        consumer->is_finishing ? HASTE_RECORDS : STREAM_TIMES * plan->records_max,
        max_ms,
        plan->acks_written ? "ack=written\nAccept: text/event-stream"
                           : "ack=cursor\nAccept: application/x-ndjson"
    );
    if (plan->acks_written) {
        size += snprintf(
            head + size,
            sizeof(head) - (size_t)size,
            STREAM_RECORDS_HEADER ": %" PRIu32 "\n",
            consumer->number
        );
    }
    if (consumer->has.cursor[0] != '\0') {
        size += snprintf(
            head + size, sizeof(head) - (size_t)size, "Last-Event-ID: %s\n", consumer->has.cursor
        );
    }
    RIA_ASSERT((size_t)size < sizeof(head));
    consumer->gateway = world_any_gateway(consumer->world, &consumer->rand);
    note_has(consumer, HISTORY_COMMIT);
    send_for(consumer, STREAM_LIVE, head, "", max_ms);
}

static void say(struct stream_consumer *consumer, stream_call call, const char *word)
{
    char group[CONSUMERS_NAME_SIZE];
    char head[128];
    char body[CURSOR_TEXT_MAX + 64];

    consumers_group_name(consumer->plan->group, group);
    (void)snprintf(
        head, sizeof(head), "POST /v1/groups/%s/%s\nContent-Type: application/json\n", group, word
    );
    if (call == STREAM_EXTEND) {
        (void)snprintf(
            body,
            sizeof(body),
            "{\"cursor\":\"%s\",\"lease_ms\":%" PRId32 "}",
            consumer->has.cursor,
            consumer->group->lease_ms
        );
    } else {
        (void)snprintf(body, sizeof(body), "{\"cursor\":\"%s\"}", consumer->has.cursor);
    }
    if (call == STREAM_COMMIT) {
        note_has(consumer, HISTORY_COMMIT);
    }
    send(consumer, call, head, body);
}

static void leave(struct stream_consumer *consumer)
{
    char group[CONSUMERS_NAME_SIZE];
    char head[128];

    consumers_group_name(consumer->plan->group, group);
    (void)snprintf(
        head, sizeof(head), "DELETE /v1/groups/%s/members/m%" PRIu32 "\n", group, consumer->number
    );
    send(consumer, STREAM_LEAVE, head, "");
}

/* To the beginning of the first topic. The answer may get lost: who knows when it was done. */
static void reset(struct stream_consumer *consumer)
{
    const struct plan *plan = consumer->world->plan;
    char group[CONSUMERS_NAME_SIZE];
    char name[WORLD_NAME_SIZE];
    char head[128];
    char body[128];
    uint32_t topic = 0;

    while ((consumer->group->topics >> topic & 1) == 0) {
        topic++;
    }
    consumers_group_name(consumer->plan->group, group);
    world_topic_name(consumer->world, topic, name);
    (void)snprintf(
        head, sizeof(head), "POST /v1/groups/%s/reset\nContent-Type: application/json\n", group
    );
    (void)snprintf(
        body,
        sizeof(body),
        "{\"to\":\"earliest\",\"topics\":\"%s\",\"force\":%s}",
        name,
        consumer->group->reset_by_force ? "true" : "false"
    );
    for (uint32_t i = 0; i < (uint32_t)plan->topics[topic].partition_count; i++) {
        struct history_event event = consumers_event(
            consumer->world,
            HISTORY_RESET,
            consumer->number,
            plan->topics[topic].first_partition + i,
            0
        );
        history_add(&consumer->world->history, &event);
    }
    send(consumer, STREAM_RESET, head, body);
}

static bool is_time_to_reset(const struct stream_consumer *consumer)
{
    return consumer->resets && !consumer->has_reset && !consumer->is_finishing &&
           consumer->world->now_us >= WORLD_START_US + consumer->group->reset_at_us;
}

static void on_due(struct ria_timer *timer, void *arg)
{
    struct stream_consumer *consumer = arg;
    const struct plan_consumer *plan = consumer->plan;
    bool has_some = consumer->has.cursor[0] != '\0';

    (void)timer;
    if (is_time_to_reset(consumer)) {
        reset(consumer);
    } else if (one_in(consumer, plan->dies_one_in)) {
        stream_place_forget(&consumer->has);
        again(consumer, 1 + (int64_t)ria_rand_below(&consumer->rand, DEAD_US_MAX));
    } else if (consumer->group->has_names && one_in(consumer, plan->leaves_one_in)) {
        leave(consumer);
    } else if (has_some && one_in(consumer, plan->extends_one_in)) {
        say(consumer, STREAM_EXTEND, "extend");
    } else if (has_some && one_in(consumer, plan->gives_back_one_in)) {
        say(consumer, STREAM_RELEASE, "release");
    } else if (has_some && one_in(consumer, plan->commits_one_in)) {
        say(consumer, STREAM_COMMIT, "commit");
    } else if (plan->stream_ms > 0) {
        read_live(consumer);
    } else {
        read_records(consumer);
    }
}

/* ---- life ---- */

void stream_consumer_init(
    struct stream_consumer *consumer,
    struct world *world,
    const struct plan_consumer *plan,
    uint32_t number
)
{
    *consumer = (struct stream_consumer){
        .world = world,
        .plan = plan,
        .group = &world->plan->groups[plan->group],
        .number = number,
    };
    consumer->node = &world->nodes[plan->client];
    ria_rand_init(&consumer->rand, world_seed(world, WORLD_RAND_LOAD, 2000 + number));
    consumer->gateway = world_any_gateway(world, &consumer->rand);
    bool is_first = number == 0 || world->plan->consumers[number - 1].group != plan->group;
    consumer->resets = is_first && consumer->group->reset_at_us > 0;
    ria_timer_init(&consumer->timer, on_due, consumer);
}

void stream_consumer_start(struct stream_consumer *consumer)
{
    again(consumer, 1);
}

void stream_consumer_finish(struct stream_consumer *consumer)
{
    consumer->is_finishing = true;
}

void stream_consumer_close(struct stream_consumer *consumer)
{
    consumer->is_closed = true;
    ria_timer_stop(&consumer->node->timers, &consumer->timer);
}

void stream_consumer_fini(struct stream_consumer *consumer)
{
    RIA_ASSERT(!consumer->is_in_flight);
}
