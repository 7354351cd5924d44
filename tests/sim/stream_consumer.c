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
    READER_FIRST = PLAN_READERS_MAX, /* as a reader it has this number and its own */
};

static void again(struct stream_consumer *consumer, int64_t pause_us)
{
    ria_timer_start(&consumer->node->timers, &consumer->timer, pause_us);
}

static bool one_in(struct stream_consumer *consumer, uint32_t times)
{
    return !consumer->is_finishing && times > 0 && ria_rand_one_in(&consumer->rand, times);
}

static void forget(struct stream_consumer *consumer)
{
    consumer->cursor[0] = '\0';
    consumer->part_count = 0;
}

/* ---- history ---- */

static void
note(struct stream_consumer *consumer, history_kind kind, const struct stream_part *part)
{
    struct history_event event =
        consumers_event(consumer->world, kind, consumer->number, part->partition, part->offset);

    event.lease = part->lease;
    history_add(&consumer->world->history, &event);
}

static void note_all(struct stream_consumer *consumer, history_kind kind)
{
    for (uint32_t i = 0; i < consumer->part_count; i++) {
        note(consumer, kind, &consumer->parts[i]);
    }
}

/* ---- records that came ---- */

/* A partition's lines, which come together. */
struct run {
    uint32_t partition;
    int64_t first;
    int64_t count;
};

struct taking {
    struct stream_consumer *consumer;
    struct run runs[PLAN_PARTITIONS_MAX];
    uint32_t count;
};

/* False: the lines make no sense. */
static bool for_each_line(
    struct stream_consumer *consumer,
    struct ria_slice lines,
    void (*fn)(struct taking *taking, struct history_event *event),
    struct taking *taking
)
{
    struct ria_slice line;

    while (lines.size > 0) {
        struct line_record record;
        if (!lines_next(&lines, &line) || !lines_parse(consumer->world, line, &record)) {
            return false;
        }
        struct history_event event = consumers_event(
            consumer->world, HISTORY_READ, consumer->number, record.partition, record.offset
        );
        event.actor = READER_FIRST + consumer->number;
        event.value = record.value;
        event.watermark = HISTORY_NO_WATERMARK;
        fn(taking, &event);
    }
    return true;
}

static void count_line(struct taking *taking, struct history_event *event)
{
    struct run *last = taking->count == 0 ? NULL : &taking->runs[taking->count - 1];

    if (last != NULL && last->partition == event->partition) {
        last->count++;
    } else if (taking->count < PLAN_PARTITIONS_MAX) {
        taking->runs[taking->count++] =
            (struct run){.partition = event->partition, .first = event->offset, .count = 1};
    }
}

static void note_line(struct taking *taking, struct history_event *event)
{
    history_add(&taking->consumer->world->history, event);
}

static const struct stream_part *
find_part(const struct stream_consumer *consumer, uint32_t partition)
{
    for (uint32_t i = 0; i < consumer->part_count; i++) {
        if (consumer->parts[i].partition == partition) {
            return &consumer->parts[i];
        }
    }
    return NULL;
}

/* As a reader it asked where the first record is; that the others follow is judged. */
static void note_runs(struct stream_consumer *consumer, const struct taking *taking)
{
    for (uint32_t i = 0; i < taking->count; i++) {
        const struct run *run = &taking->runs[i];
        const struct stream_part *part = find_part(consumer, run->partition);
        struct history_event fetch = {
            .time_us = consumer->world->now_us,
            .kind = HISTORY_FETCH,
            .actor = READER_FIRST + consumer->number,
            .partition = run->partition,
            .epoch = HISTORY_NO_EPOCH,
            .offset = run->first,
            .count = run->count,
            .watermark = HISTORY_NO_WATERMARK,
        };
        history_add(&consumer->world->history, &fetch);
        if (part == NULL || part->offset != run->first + run->count) {
            world_break(
                consumer->world,
                "bad-cursor",
                run->partition,
                "consumer %" PRIu32 " got records up to %" PRId64 ", its cursor says %" PRId64,
                consumer->number,
                run->first + run->count,
                part == NULL ? -1 : part->offset
            );
            continue;
        }
        struct history_event event = consumers_event(
            consumer->world, HISTORY_DELIVERED, consumer->number, run->partition, run->first
        );
        event.count = run->count;
        event.lease = part->lease;
        history_add(&consumer->world->history, &event);
    }
}

/* A client would not look into it; a judge may. */
static bool open_cursor(struct stream_consumer *consumer, struct ria_slice text)
{
    const struct ria_uuid *cluster = &consumer->world->cluster_id;
    struct ria_arena arena;
    struct cursor cursor;

    forget(consumer);
    if (text.size == 0 || text.size > CURSOR_TEXT_MAX) {
        return false;
    }
    ria_arena_init(&arena, CURSOR_ARENA_MAX);
    bool fine = cursor_decode(text, CURSOR_GROUP, cluster, &arena, &cursor) == CURSOR_FINE;
    for (uint32_t t = 0; fine && t < cursor.topic_count; t++) {
        for (uint32_t i = 0; fine && i < cursor.topics[t].count; i++) {
            const struct cursor_entry *entry = &cursor.topics[t].entries[i];
            struct stream_part *part = &consumer->parts[consumer->part_count];
            fine = consumer->part_count < PLAN_PARTITIONS_MAX &&
                   consumers_find_partition(
                       consumer->world, &cursor.topics[t].id, entry->partition, &part->partition
                   );
            part->offset = entry->offset;
            part->lease = entry->lease;
            consumer->part_count += fine;
        }
    }
    ria_arena_fini(&arena);
    memcpy(consumer->cursor, text.data, text.size);
    consumer->cursor[text.size] = '\0';
    return fine;
}

static void take_records(struct stream_consumer *consumer, const struct sim_http *http)
{
    struct taking taking = {.consumer = consumer};

    if (!open_cursor(consumer, sim_http_header(http, "Riacho-Cursor")) ||
        !for_each_line(consumer, http->body, count_line, &taking)) {
        world_break(
            consumer->world, "bad-batch", 0, "consumer %" PRIu32 " got no records", consumer->number
        );
        forget(consumer);
        return;
    }
    note_runs(consumer, &taking);
    (void)for_each_line(consumer, http->body, note_line, &taking);
    if (consumer->part_count == 0) {
        forget(consumer); /* it says nothing */
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

static void take_lost(struct stream_consumer *consumer, const struct sim_http *http)
{
    struct ria_slice lost = sim_http_header(http, "Riacho-Lost");

    for (uint32_t i = 0; i < consumer->part_count; i++) {
        const struct stream_part *part = &consumer->parts[i];
        note(consumer, is_lost(consumer, lost, part) ? HISTORY_LOST : HISTORY_COMMITTED, part);
    }
}

/* ..."committed":[{"topic":"topic-0","partition":1,...}],"lost":[...]} */
static void take_said(struct stream_consumer *consumer, const struct sim_http *http)
{
    static const char mark[] = "\"lost\":[";
    const uint8_t *lost = http->body.size == 0
                              ? NULL
                              : memmem(http->body.data, http->body.size, mark, sizeof(mark) - 1);
    char entry[WORLD_NAME_SIZE + 40];
    char name[WORLD_NAME_SIZE];

    for (uint32_t i = 0; lost != NULL && i < consumer->part_count; i++) {
        const struct stream_part *part = &consumer->parts[i];
        size_t rest = http->body.size - (size_t)(lost - http->body.data);
        uint32_t topic = 0;
        int32_t number = 0;
        world_find_partition(consumer->world, part->partition, &topic, &number);
        world_topic_name(consumer->world, topic, name);
        (void)snprintf(
            entry, sizeof(entry), "{\"topic\":\"%s\",\"partition\":%" PRId32 ",", name, number
        );
        bool is_in = memmem(lost, rest, entry, strlen(entry)) != NULL;
        note(consumer, is_in ? HISTORY_LOST : HISTORY_COMMITTED, part);
    }
}

/* ---- what comes back ---- */

static void on_failed(struct stream_consumer *consumer, ria_err err, struct ria_slice text)
{
    /* A topic is not made yet, or the gateway has not heard of it; the group is in use. */
    bool is_ours = err == RIA_ERR_UNKNOWN_TOPIC || err == RIA_ERR_NOT_FOUND ||
                   (consumer->call != STREAM_READ && err == RIA_ERR_CONFLICT);

    if (!client_expects(consumer->world->plan, err) && !is_ours) {
        world_break(
            consumer->world,
            "unexpected-error",
            0,
            "consumer %" PRIu32 " of group %" PRIu32 ": %s " RIA_SLICE_FMT,
            consumer->number,
            consumer->plan->group,
            ria_err_name(err),
            RIA_SLICE_ARG(text)
        );
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
    consumer->last_err = err;
    trace_add(
        &consumer->world->trace,
        "consumed",
        consumer->number,
        (uint64_t)err,
        http->body.data,
        http->body.size
    );
    if (err != RIA_OK) {
        on_failed(consumer, err, http->body);
        return;
    }
    switch (consumer->call) {
    case STREAM_READ:
        take_lost(consumer, http);
        take_records(consumer, http);
        break;
    case STREAM_COMMIT:
        take_said(consumer, http);
        forget(consumer);
        break;
    case STREAM_RELEASE:
    case STREAM_LEAVE:
        forget(consumer);
        break;
    case STREAM_EXTEND:
        break;
    case STREAM_RESET:
        consumer->has_reset = true;
        break;
    }
    think(consumer);
}

/* ---- what is asked ---- */

static void
send(struct stream_consumer *consumer, stream_call call, const char *head, const char *body)
{
    consumer->call = call;
    consumer->is_in_flight = true;
    sim_http_call(
        &consumer->node->env,
        consumer->world->nodes[consumer->gateway].address,
        head,
        ria_slice_cstr(body),
        consumer->plan->wait_ms + CALL_TIMEOUT_MS,
        on_answered,
        consumer
    );
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
        consumer->cursor[0] == '\0' ? "" : "&after=",
        consumer->cursor
    );
    RIA_ASSERT((size_t)size < sizeof(head));
    note_all(consumer, HISTORY_COMMIT);
    send(consumer, STREAM_READ, head, "");
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
            consumer->cursor,
            consumer->group->lease_ms
        );
    } else {
        (void)snprintf(body, sizeof(body), "{\"cursor\":\"%s\"}", consumer->cursor);
    }
    if (call == STREAM_COMMIT) {
        note_all(consumer, HISTORY_COMMIT);
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
        struct stream_part part = {.partition = plan->topics[topic].first_partition + i};
        note(consumer, HISTORY_RESET, &part);
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
    bool has_some = consumer->cursor[0] != '\0';

    (void)timer;
    if (is_time_to_reset(consumer)) {
        reset(consumer);
    } else if (one_in(consumer, plan->dies_one_in)) {
        forget(consumer);
        again(consumer, 1 + (int64_t)ria_rand_below(&consumer->rand, DEAD_US_MAX));
    } else if (consumer->group->has_names && one_in(consumer, plan->leaves_one_in)) {
        leave(consumer);
    } else if (has_some && one_in(consumer, plan->extends_one_in)) {
        say(consumer, STREAM_EXTEND, "extend");
    } else if (has_some && one_in(consumer, plan->gives_back_one_in)) {
        say(consumer, STREAM_RELEASE, "release");
    } else if (has_some && one_in(consumer, plan->commits_one_in)) {
        say(consumer, STREAM_COMMIT, "commit");
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
