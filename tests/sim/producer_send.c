#include "tests/sim/producer_send.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/assert.h"
#include "common/json.h"

#include "schemas/gen/allocate_producer_ids_request.h"
#include "schemas/gen/allocate_producer_ids_response.h"
#include "schemas/gen/messages.h"
#include "schemas/gen/produce_request.h"
#include "schemas/gen/produce_response.h"

#include "tests/sim/client.h"
#include "tests/sim/records.h"
#include "tests/sim/sim_http.h"
#include "tests/sim/world.h"

enum { ALLOCATE_TIMEOUT_MS = 1000, HEAD_SIZE = 512, TOKENS_MAX = 4096, BATCH_RECORDS_MAX = 64 };

/* ---- to the leader ---- */

static void on_produced(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    const struct produce_response *produced = response;
    struct producer_answer answer = {.err = err, .is_definite = ria_err_is_definite(err)};

    (void)payload;
    if (err == RIA_OK) {
        answer.offset = produced->base_offset;
    }
    producer_take_answer(arg, &answer);
}

static bool send_to_leader(struct outgoing *batch)
{
    struct producer *producer = batch->producer;
    const char *address = NULL;
    struct produce_request request;
    const struct records_spec spec = {
        .value = history_value(producer->number, batch->number),
        .count = batch->count,
        .padding = batch->padding,
        .key_count = producer->plan->key_count,
        .producer_id = producer->producer_id,
        .base_sequence = batch->sequence,
        .deliver_at_ms = batch->deliver_at_ms,
    };

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
    client_call(
        producer->node->client,
        address,
        API_PRODUCE,
        &request,
        records_build(&producer->builder, &spec),
        producer->plan->timeout_ms,
        on_produced,
        batch
    );
    return true;
}

/* ---- to a gateway ---- */

static void take_part(const struct ria_json *json, uint32_t record, struct producer_part *out_part)
{
    int64_t error = ria_json_member(json, record, "error");
    int64_t offset = ria_json_member(json, record, "offset");

    *out_part = (struct producer_part){.err = RIA_OK};
    if (error >= 0) {
        out_part->err = sim_http_error(ria_json_raw(json, (uint32_t)error), &out_part->is_definite);
        RIA_ASSERT(out_part->err != RIA_OK);
        return;
    }
    RIA_ASSERT(offset >= 0);
    ria_err err = ria_json_i64(json, (uint32_t)offset, &out_part->offset);
    RIA_ASSERT(err == RIA_OK);
}

/* What stands in a 200 or 207: one position, or "records". */
static void
take_parts(struct outgoing *batch, struct ria_slice body, struct producer_part *out_parts)
{
    struct ria_json json;

    ria_json_init(&json);
    ria_err err = ria_json_parse(&json, body, TOKENS_MAX);
    RIA_ASSERT(err == RIA_OK);
    int64_t records = ria_json_member(&json, 0, "records");
    if (records < 0) {
        RIA_ASSERT(batch->count == 1);
        take_part(&json, 0, out_parts);
    } else {
        uint32_t record = (uint32_t)records + 1;
        RIA_ASSERT(json.tokens[records].children == batch->count);
        for (uint32_t i = 0; i < batch->count; i++) {
            take_part(&json, record, &out_parts[i]);
            record = json.tokens[record].next;
        }
    }
    ria_json_fini(&json);
}

static void on_posted(void *arg, ria_err err, int status, const struct sim_http *http)
{
    struct outgoing *batch = arg;
    struct producer_part parts[BATCH_RECORDS_MAX];
    struct producer_answer answer = {.err = err, .is_definite = ria_err_is_definite(err)};

    if (status == 200 || status == 207) {
        take_parts(batch, http->body, parts);
        answer.parts = parts;
    } else if (status != 0) {
        answer.err = sim_http_error(http->body, &answer.is_definite);
        RIA_ASSERT(answer.err != RIA_OK);
    }
    producer_take_answer(batch, &answer);
}

static size_t write_head(const struct outgoing *batch, char *out)
{
    const struct producer *producer = batch->producer;
    char topic[WORLD_NAME_SIZE];
    char key[16];
    uint64_t value = history_value(producer->number, batch->number);

    world_topic_name(
        producer->world, plan_topic_of(producer->world->plan, producer->plan->partition), topic
    );
    int size = snprintf(
        out,
        HEAD_SIZE,
        "POST /v1/topics/%s/partitions/%" PRId32 "/records\n",
        topic,
        producer->partition
    );
    if (batch->count > 1) {
        size +=
            snprintf(out + size, HEAD_SIZE - (size_t)size, "Content-Type: application/x-ndjson\n");
    } else if (records_key(value, producer->plan->key_count, key) > 0) {
        size += snprintf(out + size, HEAD_SIZE - (size_t)size, "Riacho-Key: %s\n", key);
    }
    if (batch->count == 1 && batch->deliver_at_ms != 0) {
        size += snprintf(
            out + size,
            HEAD_SIZE - (size_t)size,
            "Riacho-Deliver-At: %" PRId64 "\n",
            batch->deliver_at_ms
        );
    }
    if (producer->producer_id >= 0) {
        size += snprintf(
            out + size,
            HEAD_SIZE - (size_t)size,
            "Producer-Id: %" PRId64 "\nProducer-Epoch: 0\nProducer-Seq: %" PRId32 "\n",
            producer->producer_id,
            batch->sequence
        );
    }
    return (size_t)size;
}

static ria_err write_lines(const struct outgoing *batch, struct ria_buf *out)
{
    const struct producer *producer = batch->producer;
    char text[RECORDS_TEXT_MAX];
    char key[16];

    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t value = history_value(producer->number, batch->number + i);
        if (records_key(value, producer->plan->key_count, key) > 0) {
            RIA_TRY(ria_buf_printf(out, "{\"key\":\"%s\",\"value\":", key));
        } else {
            RIA_TRY(ria_buf_append_str(out, "{\"value\":"));
        }
        RIA_TRY(ria_buf_append(out, text, records_text(value, batch->padding, text)));
        if (batch->deliver_at_ms != 0) {
            RIA_TRY(ria_buf_printf(out, ",\"deliver_at\":%" PRId64, batch->deliver_at_ms));
        }
        RIA_TRY(ria_buf_append_str(out, "}\n"));
    }
    return RIA_OK;
}

static bool send_to_gateway(struct outgoing *batch)
{
    const struct producer *producer = batch->producer;
    char head[HEAD_SIZE];
    char text[RECORDS_TEXT_MAX];
    struct ria_buf lines;
    struct ria_slice body;

    RIA_ASSERT(batch->count <= BATCH_RECORDS_MAX);
    (void)write_head(batch, head);
    ria_buf_init(&lines, SIM_HTTP_FRAME_MAX);
    if (batch->count > 1) {
        ria_err err = write_lines(batch, &lines);
        RIA_ASSERT(err == RIA_OK);
        body = ria_buf_slice(&lines);
    } else {
        uint64_t value = history_value(producer->number, batch->number);
        body = ria_slice_of(text, records_text(value, batch->padding, text));
    }
    sim_http_call(
        &producer->node->env,
        producer->world->nodes[producer->gateway].address,
        head,
        body,
        producer->plan->timeout_ms,
        on_posted,
        batch
    );
    ria_buf_fini(&lines);
    return true;
}

bool producer_send(struct outgoing *batch)
{
    return batch->producer->plan->via_gateway ? send_to_gateway(batch) : send_to_leader(batch);
}

/* ---- producer ids ---- */

static void on_id(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    const struct allocate_producer_ids_response *ids = response;

    (void)payload;
    producer_take_id(arg, err, err == RIA_OK ? ids->first_producer_id : -1);
}

static void on_posted_id(void *arg, ria_err err, int status, const struct sim_http *http)
{
    static const char mark[] = "\"producer_id\":";
    int64_t id = -1;
    bool is_definite = false;

    if (status == 200) {
        const char *found = memmem(http->body.data, http->body.size, mark, sizeof(mark) - 1);
        RIA_ASSERT(found != NULL);
        id = strtoll(found + sizeof(mark) - 1, NULL, 10);
    } else if (status != 0) {
        err = sim_http_error(http->body, &is_definite);
        RIA_ASSERT(err != RIA_OK);
    }
    producer_take_id(arg, err, id);
}

void producer_ask_for_id(struct producer *producer)
{
    const struct allocate_producer_ids_request request = {.count = 1};

    if (producer->plan->via_gateway) {
        sim_http_call(
            &producer->node->env,
            producer->world->nodes[producer->gateway].address,
            "POST /v1/producer-ids\n",
            RIA_SLICE_NULL,
            ALLOCATE_TIMEOUT_MS,
            on_posted_id,
            producer
        );
        return;
    }
    client_call(
        producer->node->client,
        world_coordinator_address,
        API_ALLOCATE_PRODUCER_IDS,
        &request,
        RIA_SLICE_NULL,
        ALLOCATE_TIMEOUT_MS,
        on_id,
        producer
    );
}
