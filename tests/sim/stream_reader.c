#include "tests/sim/stream_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"

#include "tests/sim/client.h"
#include "tests/sim/inspect.h"
#include "tests/sim/lines.h"
#include "tests/sim/records.h"
#include "tests/sim/world.h"

enum {
    RETRY_US_MIN = 10 * 1000,
    RETRY_US_MAX = 300 * 1000,
    CALL_TIMEOUT_MS = 2500,
    HASTE_RECORDS = 1000,
    HEAD_SIZE = CURSOR_TEXT_MAX + 256,
    ACTOR_FIRST = PLAN_READERS_MAX + PLAN_CONSUMERS_MAX, /* behind readers, and consumers as such */
};

static void again(struct stream_reader *reader, int64_t most_us)
{
    int64_t pause_us = 1 + (int64_t)ria_rand_below(&reader->rand, (uint64_t)most_us);

    ria_timer_start(&reader->node->timers, &reader->timer, pause_us);
}

static const struct plan_topic *topic_of(const struct stream_reader *reader)
{
    return &reader->world->plan->topics[reader->plan->topic];
}

/* ---- lines ---- */

/* What a stream gave, up to where it ended or broke. */
struct piece {
    struct stream_reader *reader;
    int64_t next[PLAN_PARTITIONS_MAX];
    int64_t counts[PLAN_PARTITIONS_MAX];
};

/* {"partition":2,"offset":0,...,"value":{...}}; false: it is no record. */
static bool parse(
    const struct stream_reader *reader,
    struct ria_slice line,
    int64_t *out_partition,
    int64_t *out_offset,
    uint64_t *out_value
)
{
    struct ria_slice value = lines_behind(line, "\"value\":");

    return lines_number(line, "{\"partition\":", out_partition) &&
           *out_partition < topic_of(reader)->partition_count &&
           lines_number(line, ",\"offset\":", out_offset) && records_parse(value, out_value);
}

/* It asked for what follows the cursor: the checker sees that this came. */
static void note_fetches(const struct piece *piece)
{
    const struct stream_reader *reader = piece->reader;

    for (int32_t i = 0; i < topic_of(reader)->partition_count; i++) {
        struct history_event event = {
            .time_us = reader->world->now_us,
            .kind = HISTORY_FETCH,
            .actor = reader->actor,
            .partition = topic_of(reader)->first_partition + (uint32_t)i,
            .epoch = HISTORY_NO_EPOCH,
            .offset = reader->next[i],
            .count = piece->counts[i],
            .watermark = HISTORY_NO_WATERMARK,
        };
        if (piece->counts[i] > 0) {
            history_add(&reader->world->history, &event);
        }
    }
}

static void
note_record(const struct stream_reader *reader, int64_t partition, int64_t offset, uint64_t value)
{
    struct history_event event = {
        .time_us = reader->world->now_us,
        .kind = HISTORY_READ,
        .actor = reader->actor,
        .partition = topic_of(reader)->first_partition + (uint32_t)partition,
        .offset = offset,
        .value = value,
        .watermark = HISTORY_NO_WATERMARK,
    };

    history_add(&reader->world->history, &event);
}

/* Heartbeats and the last line have no record; anything else is a gap or an error, which nobody
 * makes here but a bad disk. */
static void check_other(const struct stream_reader *reader, struct ria_slice line)
{
    const struct plan *plan = reader->world->plan;
    bool is_bad_disk = plan_has(plan, PLAN_ROT) || plan_has(plan, PLAN_IO_ERROR) ||
                       plan_has(plan, PLAN_SYNC_ERROR);
    bool is_fine = lines_text(line, "{\"cursor\":\"").size > 0 ||
                   lines_text(line, "{\"end\":{\"reason\":\"").size > 0;

    if (!is_fine && !is_bad_disk) {
        world_break(
            reader->world,
            "bad-stream",
            topic_of(reader)->first_partition,
            "a stream's line is no record: " RIA_SLICE_FMT,
            RIA_SLICE_ARG(line)
        );
    }
}

/* The first `count` lines; the second time they are noted. */
static void walk(struct piece *piece, struct ria_slice lines, uint32_t count, bool notes)
{
    struct stream_reader *reader = piece->reader;
    struct ria_slice line;
    int64_t partition = 0;
    int64_t offset = 0;
    uint64_t value = 0;

    for (uint32_t i = 0; i < count && lines_next(&lines, &line); i++) {
        bool is_record = parse(reader, line, &partition, &offset, &value);
        struct ria_slice cursor = lines_text(line, "\"cursor\":\"");
        if (!notes) {
            piece->counts[is_record ? partition : 0] += is_record;
            continue;
        }
        if (is_record) {
            note_record(reader, partition, offset, value);
            piece->next[partition] = offset + 1;
        } else {
            check_other(reader, line);
        }
        if (cursor.size > 0 && cursor.size <= CURSOR_TEXT_MAX) {
            memcpy(reader->cursor, cursor.data, cursor.size);
            reader->cursor[cursor.size] = '\0';
            memcpy(reader->next, piece->next, sizeof(piece->next));
        }
    }
}

static uint32_t count_lines(struct ria_slice lines)
{
    struct ria_slice line;
    uint32_t count = 0;

    while (lines_next(&lines, &line)) {
        count++;
    }
    return count;
}

static void take(struct stream_reader *reader, struct ria_slice lines)
{
    struct piece piece = {.reader = reader};
    uint32_t count = count_lines(lines);

    if (!reader->is_finishing && reader->plan->breaks_one_in > 0 &&
        ria_rand_one_in(&reader->rand, reader->plan->breaks_one_in)) {
        count = (uint32_t)ria_rand_below(&reader->rand, count + 1);
    }
    memcpy(piece.next, reader->next, sizeof(piece.next));
    walk(&piece, lines, count, false);
    note_fetches(&piece);
    walk(&piece, lines, count, true);
}

/* ---- calls ---- */

static void on_answered(void *arg, ria_err err, int status, const struct sim_http *http)
{
    struct stream_reader *reader = arg;
    bool is_definite = false;

    reader->is_in_flight = false;
    if (reader->is_closed) {
        return;
    }
    if (status != 0) {
        err = status == 200 ? RIA_OK : sim_http_error(http->body, &is_definite);
        RIA_ASSERT(status == 200 || err != RIA_OK);
    }
    reader->last_err = err;
    trace_add(
        &reader->world->trace,
        "streamed",
        reader->actor,
        (uint64_t)err,
        http->body.data,
        http->body.size
    );
    reader->gateway = world_any_gateway(reader->world, &reader->rand);
    if (err == RIA_OK) {
        take(reader, http->body);
        again(reader, reader->plan->think_us);
        return;
    }
    /* The topic is not made yet, or the gateway has not heard of it. */
    if (!client_expects(reader->world->plan, err) && err != RIA_ERR_UNKNOWN_TOPIC) {
        world_break(
            reader->world,
            "unexpected-error",
            topic_of(reader)->first_partition,
            "a stream: %s " RIA_SLICE_FMT,
            ria_err_name(err),
            RIA_SLICE_ARG(http->body)
        );
    }
    again(reader, RETRY_US_MIN + RETRY_US_MAX);
}

static void on_due(struct ria_timer *timer, void *arg)
{
    struct stream_reader *reader = arg;
    char topic[WORLD_NAME_SIZE];
    char head[HEAD_SIZE];

    (void)timer;
    world_topic_name(reader->world, reader->plan->topic, topic);
    int size = snprintf(
        head,
        sizeof(head),
        "GET /v1/topics/%s/stream?max_records=%" PRIu32 "&max_ms=%" PRIu32
        "&%s%s\nAccept: application/x-ndjson\n",
        topic,
        reader->is_finishing ? HASTE_RECORDS : reader->plan->records_max,
        reader->plan->max_ms,
        reader->cursor[0] == '\0' ? "from=earliest" : "after=",
        reader->cursor
    );
    RIA_ASSERT((size_t)size < sizeof(head));
    reader->is_in_flight = true;
    sim_http_call(
        &reader->node->env,
        reader->world->nodes[reader->gateway].address,
        head,
        RIA_SLICE_EMPTY,
        reader->plan->max_ms + CALL_TIMEOUT_MS,
        on_answered,
        reader
    );
}

/* ---- life ---- */

void stream_reader_init(
    struct stream_reader *reader,
    struct world *world,
    const struct plan_stream *plan,
    uint32_t number
)
{
    *reader = (struct stream_reader){
        .world = world,
        .plan = plan,
        .node = &world->nodes[plan->client],
        .actor = ACTOR_FIRST + number,
    };
    ria_rand_init(&reader->rand, world_seed(world, WORLD_RAND_LOAD, 3000 + number));
    reader->gateway = world_any_gateway(world, &reader->rand);
    ria_timer_init(&reader->timer, on_due, reader);
}

void stream_reader_start(struct stream_reader *reader)
{
    again(reader, RETRY_US_MIN);
}

void stream_reader_finish(struct stream_reader *reader)
{
    reader->is_finishing = true;
}

bool stream_reader_is_at_end(const struct stream_reader *reader)
{
    for (int32_t i = 0; i < topic_of(reader)->partition_count; i++) {
        uint32_t partition = topic_of(reader)->first_partition + (uint32_t)i;
        if (reader->next[i] != inspect_leader_end(reader->world, partition)) {
            return false;
        }
    }
    return true;
}

void stream_reader_close(struct stream_reader *reader)
{
    reader->is_closed = true;
    ria_timer_stop(&reader->node->timers, &reader->timer);
}

void stream_reader_fini(struct stream_reader *reader)
{
    RIA_ASSERT(!reader->is_in_flight);
}
