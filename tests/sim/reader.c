#include "tests/sim/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/messages.h"

#include "tests/sim/client.h"
#include "tests/sim/records.h"
#include "tests/sim/sim_http.h"
#include "tests/sim/world.h"

enum {
    RETRY_US_MIN = 10 * 1000,
    RETRY_US_MAX = 300 * 1000,
    FETCH_TIMEOUT_MS = 1500,
    HEAD_SIZE = 256,
    FAR_BEHIND = 256, /* records */
    HASTE_BYTES = 64 * 1024,
    WANDER_ONE_IN = 4, /* to another gateway */
};

static void again(struct reader *reader, int64_t pause_us)
{
    ria_timer_start(&reader->node->timers, &reader->timer, pause_us);
}

static void retry(struct reader *reader)
{
    again(
        reader, RETRY_US_MIN + (int64_t)ria_rand_below(&reader->rand, RETRY_US_MAX - RETRY_US_MIN)
    );
}

/* ---- what comes back ---- */

static void count_record(void *arg, int64_t offset, uint64_t value)
{
    int64_t *count = arg;

    (void)offset;
    (void)value;
    (*count)++;
}

static void take_record(void *arg, int64_t offset, uint64_t value)
{
    struct reader *reader = arg;
    struct history_event event = {
        .time_us = reader->world->now_us,
        .kind = HISTORY_READ,
        .actor = reader->number,
        .partition = reader->plan->partition,
        .offset = offset,
        .value = value,
        .watermark = reader->watermark,
    };

    history_add(&reader->world->history, &event);
}

/* Call fn for each record at `offset` or behind it. */
typedef ria_err (*walk_fn
)(struct ria_slice records, int64_t offset, records_fn fn, void *arg, int64_t *out_next);

static void
take_records(struct reader *reader, struct ria_slice records, int64_t high_watermark, walk_fn walk)
{
    int64_t count = 0;
    int64_t next = reader->offset;
    ria_err err = walk(records, reader->offset, count_record, &count, &next);

    if (err != RIA_OK) {
        world_break(
            reader->world,
            "bad-batch",
            reader->plan->partition,
            "reader %u got bytes that are none",
            reader->number
        );
        return;
    }
    struct history_event event = {
        .time_us = reader->world->now_us,
        .kind = HISTORY_FETCH,
        .actor = reader->number,
        .partition = reader->plan->partition,
        .epoch = reader->epoch,
        .offset = reader->offset,
        .count = count,
        .watermark = high_watermark,
    };
    history_add(&reader->world->history, &event);
    reader->watermark = high_watermark;
    err = walk(records, reader->offset, take_record, reader, &next);
    RIA_ASSERT(err == RIA_OK);
    reader->offset = next;
}

/* One line of NDJSON, {"offset":7,...,"value":{...}...}. False: it is none. */
static bool parse_line(struct ria_slice line, int64_t *out_offset, uint64_t *out_value)
{
    static const char head[] = "{\"offset\":";
    static const char mark[] = "\"value\":";
    size_t skip = sizeof(head) - 1;
    const uint8_t *found = memmem(line.data, line.size, mark, sizeof(mark) - 1);
    int64_t offset = 0;

    if (line.size <= skip || memcmp(line.data, head, skip) != 0 || found == NULL) {
        return false;
    }
    for (size_t i = skip; line.data[i] != ','; i++) {
        if (line.data[i] < '0' || line.data[i] > '9') {
            return false;
        }
        offset = 10 * offset + (line.data[i] - '0');
    }
    size_t at = (size_t)(found - line.data) + sizeof(mark) - 1;
    *out_offset = offset;
    return records_parse(ria_slice_sub(line, at, line.size), out_value);
}

static ria_err
walk_lines(struct ria_slice lines, int64_t offset, records_fn fn, void *arg, int64_t *out_next)
{
    *out_next = offset;
    while (lines.size > 0) {
        int64_t at = 0;
        uint64_t value = 0;
        const uint8_t *end = memchr(lines.data, '\n', lines.size);
        size_t size = end == NULL ? 0 : (size_t)(end - lines.data);
        if (!parse_line(ria_slice_sub(lines, 0, size), &at, &value)) {
            return RIA_ERR_MALFORMED;
        }
        fn(arg, at, value);
        *out_next = at + 1;
        lines = ria_slice_sub(lines, size + 1, lines.size);
    }
    return RIA_OK;
}

/* ---- what comes next ---- */

static void on_failed(struct reader *reader, ria_err err)
{
    const struct plan *plan = reader->world->plan;
    uint32_t partition = reader->plan->partition;
    /* Not even OFFSET_OUT_OF_RANGE is expected: what was read once is there for ever. */
    bool is_gone = err == RIA_ERR_UNKNOWN_TOPIC &&
                   (plan_is_doomed(plan, partition) || reader->plan->via_gateway);

    if (!client_expects(plan, err) && !is_gone) {
        world_break(
            reader->world,
            "unexpected-error",
            partition,
            "reader %u at offset %" PRId64 ": %s",
            reader->number,
            reader->offset,
            ria_err_name(err)
        );
    }
    reader->gateway = world_any_gateway(reader->world, &reader->rand);
    retry(reader);
}

static void go_on(struct reader *reader)
{
    const struct plan_reader *plan = reader->plan;

    if (!reader->is_finishing && plan->jump_one_in > 0 && reader->offset > 0 &&
        ria_rand_one_in(&reader->rand, plan->jump_one_in)) {
        reader->offset = (int64_t)ria_rand_below(&reader->rand, (uint64_t)reader->offset);
    }
    bool hurries = reader->is_finishing && reader->offset < reader->watermark;
    again(
        reader, hurries ? 1 : (int64_t)ria_rand_below(&reader->rand, (uint64_t)plan->think_us) + 1
    );
}

/* The run goes on: with what came, or without. */
static bool has_come(struct reader *reader, ria_err err, struct ria_slice records)
{
    reader->is_in_flight = false;
    if (reader->is_closed) {
        return false;
    }
    reader->last_err = err;
    trace_add(
        &reader->world->trace, "fetched", reader->number, (uint64_t)err, records.data, records.size
    );
    return true;
}

static void on_fetched(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    struct reader *reader = arg;
    const struct fetch_response *fetched = response;

    if (!has_come(reader, err, payload)) {
        return;
    }
    if (err != RIA_OK) {
        on_failed(reader, err);
        return;
    }
    take_records(reader, payload, fetched->high_watermark, records_walk);
    go_on(reader);
}

static void on_got(void *arg, ria_err err, int status, const struct sim_http *http)
{
    struct reader *reader = arg;
    bool is_definite = false;

    if (status != 0 && status != 200) {
        err = sim_http_error(http->body, &is_definite);
        RIA_ASSERT(err != RIA_OK);
    }
    if (!has_come(reader, err, http->body)) {
        return;
    }
    if (err != RIA_OK) {
        on_failed(reader, err);
        return;
    }
    reader->epoch = (int32_t)sim_http_header_i64(http, "Riacho-Leader-Epoch", HISTORY_NO_EPOCH);
    take_records(
        reader,
        http->body,
        sim_http_header_i64(http, "Riacho-High-Watermark", HISTORY_NO_WATERMARK),
        reader->plan->as_text ? walk_lines : records_walk
    );
    go_on(reader);
}

/* ---- what is asked ---- */

/* In the end a reader that is far behind reads in large steps: what counts is that it gets on, not
 * how many small ones fit into the time. The last records come as planned. */
static uint32_t max_bytes(const struct reader *reader)
{
    bool is_far = reader->is_finishing && reader->watermark - reader->offset > FAR_BEHIND;

    return is_far && reader->plan->max_bytes < HASTE_BYTES ? HASTE_BYTES : reader->plan->max_bytes;
}

/* False: nobody is known to ask. */
static bool fetch(struct reader *reader)
{
    const struct plan_reader *plan = reader->plan;
    const char *address = NULL;
    struct fetch_request request;

    fetch_request_init(&request);
    request.topic_id = reader->topic_id;
    request.partition = reader->partition;
    request.offset = reader->offset;
    request.max_bytes = (int32_t)max_bytes(reader);
    request.wait_ms = (int32_t)plan->wait_ms;
    if (!client_find_leader(
            reader->node->client,
            &request.topic_id,
            request.partition,
            &address,
            &request.leader_epoch
        )) {
        return false;
    }
    reader->epoch = request.leader_epoch;
    client_call(
        reader->node->client,
        address,
        API_FETCH,
        &request,
        RIA_SLICE_NULL,
        plan->wait_ms + FETCH_TIMEOUT_MS,
        on_fetched,
        reader
    );
    return true;
}

static void get(struct reader *reader)
{
    const struct plan_reader *plan = reader->plan;
    char topic[WORLD_NAME_SIZE];
    char head[HEAD_SIZE];

    world_topic_name(reader->world, plan_topic_of(reader->world->plan, plan->partition), topic);
    (void)snprintf(
        head,
        sizeof(head),
        "GET /v1/topics/%s/partitions/%" PRId32 "/records?offset=%" PRId64 "&max_bytes=%" PRIu32
        "&wait_ms=%" PRIu32 "\nAccept: %s\n",
        topic,
        reader->partition,
        reader->offset,
        max_bytes(reader),
        plan->wait_ms,
        plan->as_text ? "application/x-ndjson" : "application/vnd.riacho.batch"
    );
    reader->epoch = HISTORY_NO_EPOCH;
    if (ria_rand_one_in(&reader->rand, WANDER_ONE_IN)) { /* as behind a balancer */
        reader->gateway = world_any_gateway(reader->world, &reader->rand);
    }
    sim_http_call(
        &reader->node->env,
        reader->world->nodes[reader->gateway].address,
        head,
        RIA_SLICE_NULL,
        plan->wait_ms + FETCH_TIMEOUT_MS,
        on_got,
        reader
    );
}

static void on_due(struct ria_timer *timer, void *arg)
{
    struct reader *reader = arg;

    (void)timer;
    if (client_is_deleted(reader->node->client, &reader->topic_id)) {
        reader->is_over = true;
        return;
    }
    if (reader->plan->via_gateway) {
        get(reader);
    } else if (!fetch(reader)) {
        retry(reader);
        return;
    }
    reader->is_in_flight = true;
}

/* ---- life ---- */

void reader_init(
    struct reader *reader, struct world *world, const struct plan_reader *plan, uint32_t number
)
{
    uint32_t topic = 0;

    *reader = (struct reader){.world = world, .plan = plan, .number = number, .watermark = -1};
    reader->node = &world->nodes[plan->client];
    ria_rand_init(&reader->rand, world_seed(world, WORLD_RAND_LOAD, 1000 + number));
    world_find_partition(world, plan->partition, &topic, &reader->partition);
    reader->gateway = world_any_gateway(world, &reader->rand);
    reader->topic_id = world_topic_id(world, topic);
    ria_timer_init(&reader->timer, on_due, reader);
}

void reader_start(struct reader *reader)
{
    again(reader, 1);
}

void reader_finish(struct reader *reader)
{
    reader->is_finishing = true;
}

bool reader_is_at(const struct reader *reader, int64_t offset)
{
    return reader->offset == offset && reader->watermark == offset;
}

void reader_close(struct reader *reader)
{
    reader->is_closed = true;
    ria_timer_stop(&reader->node->timers, &reader->timer);
}

void reader_fini(struct reader *reader)
{
    RIA_ASSERT(!reader->is_in_flight);
}
