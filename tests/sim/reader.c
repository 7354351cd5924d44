#include "tests/sim/reader.h"

#include <inttypes.h>

#include "common/assert.h"

#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/messages.h"

#include "tests/sim/client.h"
#include "tests/sim/records.h"
#include "tests/sim/world.h"

enum { RETRY_US_MIN = 10 * 1000, RETRY_US_MAX = 300 * 1000, FETCH_TIMEOUT_MS = 1500 };

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

static void
take_batches(struct reader *reader, const struct fetch_response *response, struct ria_slice batches)
{
    int64_t count = 0;
    int64_t next = reader->offset;
    ria_err err = records_walk(batches, reader->offset, count_record, &count, &next);

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
        .watermark = response->high_watermark,
    };
    history_add(&reader->world->history, &event);
    reader->watermark = response->high_watermark;
    err = records_walk(batches, reader->offset, take_record, reader, &next);
    RIA_ASSERT(err == RIA_OK);
    reader->offset = next;
}

static void on_fetched(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    struct reader *reader = arg;
    const struct plan_reader *plan = reader->plan;

    reader->is_in_flight = false;
    if (reader->is_closed) {
        return;
    }
    reader->last_err = err;
    trace_add(
        &reader->world->trace, "fetched", reader->number, (uint64_t)err, payload.data, payload.size
    );
    if (err != RIA_OK) {
        /* Not even OFFSET_OUT_OF_RANGE: what was read once is there for ever. */
        bool is_gone =
            err == RIA_ERR_UNKNOWN_TOPIC && plan_is_doomed(reader->world->plan, plan->partition);
        if (!client_expects(err) && !is_gone) {
            world_break(
                reader->world,
                "unexpected-error",
                plan->partition,
                "reader %u at offset %" PRId64 ": %s",
                reader->number,
                reader->offset,
                ria_err_name(err)
            );
        }
        retry(reader);
        return;
    }
    take_batches(reader, response, payload);
    if (!reader->is_finishing && plan->jump_one_in > 0 && reader->offset > 0 &&
        ria_rand_one_in(&reader->rand, plan->jump_one_in)) {
        reader->offset = (int64_t)ria_rand_below(&reader->rand, (uint64_t)reader->offset);
    }
    bool hurries = reader->is_finishing && reader->offset < reader->watermark;
    again(
        reader, hurries ? 1 : (int64_t)ria_rand_below(&reader->rand, (uint64_t)plan->think_us) + 1
    );
}

/* ---- what is asked ---- */

static void on_due(struct ria_timer *timer, void *arg)
{
    struct reader *reader = arg;
    const struct plan_reader *plan = reader->plan;
    const char *address = NULL;
    struct fetch_request request;

    (void)timer;
    if (client_is_deleted(reader->node->client, &reader->topic_id)) {
        reader->is_over = true;
        return;
    }
    fetch_request_init(&request);
    request.topic_id = reader->topic_id;
    request.partition = reader->partition;
    request.offset = reader->offset;
    request.max_bytes = (int32_t)plan->max_bytes;
    request.wait_ms = (int32_t)plan->wait_ms;
    if (!client_find_leader(
            reader->node->client,
            &request.topic_id,
            request.partition,
            &address,
            &request.leader_epoch
        )) {
        retry(reader);
        return;
    }
    reader->epoch = request.leader_epoch;
    reader->is_in_flight = true;
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
