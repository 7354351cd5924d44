/* The storage nodes of the world: one log per partition, shared by whoever leads it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/describe_producer_request.h"
#include "schemas/gen/describe_producer_response.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/produce_request.h"
#include "schemas/gen/produce_response.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "tests/unit/services/transform/world.h"

/* An open request. */
struct open {
    struct world_request *request;
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload;
    struct ria_arena arena;
    bool last;
};

static struct ria_msg *refuse(const struct open *o, ria_err err)
{
    return envelope_reply_error(&o->header, err, "%s", ria_err_text(err));
}

static struct world_log *
find_log(struct world *world, const struct ria_uuid *topic_id, int32_t partition)
{
    switch (topic_id->bytes[0]) {
    case 1:
        return &world->source[partition];
    case 2:
        return &world->derived[partition];
    default:
        return &world->errors[partition];
    }
}

static ria_err check_leader(const struct open *o, const struct world_log *log, int32_t epoch)
{
    if (log->leader != o->request->node) {
        return RIA_ERR_NOT_LEADER;
    }
    if (epoch >= 0 && epoch != log->leader_epoch) {
        return epoch < log->leader_epoch ? RIA_ERR_FENCED_EPOCH : RIA_ERR_UNKNOWN_EPOCH;
    }
    return RIA_OK;
}

/* ---- producers' state, from the log itself ---- */

/* The producer's batches, newest first; returns how many (up to 5). */
static uint32_t
producer_batches(const struct world_log *log, int64_t producer_id, const struct world_batch *out[5])
{
    uint32_t count = 0;

    for (uint32_t i = log->batch_count; i > log->forgotten && count < 5; i--) {
        if (log->batches[i - 1].header.producer_id == producer_id) {
            out[count++] = &log->batches[i - 1];
        }
    }
    return count;
}

static int64_t batch_end(const struct world_batch *batch)
{
    return batch_last_offset(&batch->header);
}

/* *out_again: a duplicate of that batch. */
static ria_err check_producer(
    const struct world_log *log,
    const struct batch_header *header,
    const struct world_batch **out_again
)
{
    const struct world_batch *known[5];
    uint32_t count = producer_batches(log, header->producer_id, known);

    *out_again = NULL;
    if (count == 0) {
        return header->base_sequence == 0 ? RIA_OK : RIA_ERR_OUT_OF_ORDER;
    }
    const struct batch_header *newest = &known[0]->header;
    if (header->producer_epoch < newest->producer_epoch) {
        return RIA_ERR_FENCED_PRODUCER;
    }
    if (header->producer_epoch > newest->producer_epoch) {
        return header->base_sequence == 0 ? RIA_OK : RIA_ERR_OUT_OF_ORDER;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (known[i]->header.producer_epoch == header->producer_epoch &&
            known[i]->header.base_sequence == header->base_sequence &&
            known[i]->header.record_count == header->record_count) {
            *out_again = known[i];
            return RIA_OK;
        }
    }
    return header->base_sequence == batch_next_sequence(newest->base_sequence, newest->record_count)
               ? RIA_OK
               : RIA_ERR_OUT_OF_ORDER;
}

/* ---- Produce ---- */

static struct world_batch *append(struct world_log *log, struct ria_slice bytes)
{
    RIA_ASSERT(log->batch_count < WORLD_BATCHES_MAX);
    struct world_batch *batch = &log->batches[log->batch_count++];

    batch->data = malloc(bytes.size);
    RIA_ASSERT(batch->data != NULL);
    memcpy(batch->data, bytes.data, bytes.size);
    batch->size = bytes.size;
    batch_patch(batch->data, log->end_offset, log->leader_epoch);
    ria_err err = batch_header_decode(ria_slice_of(batch->data, batch->size), &batch->header);
    RIA_ASSERT(err == RIA_OK);
    log->end_offset = batch_end(batch) + 1;
    return batch;
}

/* The high watermark reaches an offset. */
struct commit {
    struct world *world;
    struct world_log *log;
    int64_t offset;
    int32_t leader_epoch;
    struct ria_timer timer;
};

static void committed(struct ria_timer *timer, void *arg)
{
    struct commit *commit = arg;
    struct world *world = commit->world;

    (void)timer;
    if (commit->leader_epoch == commit->log->leader_epoch) {
        commit->log->high_watermark = ria_max_i64(commit->log->high_watermark, commit->offset);
    }
    free(commit);
    world_changed(world);
}

static void commit_later(struct world *world, struct world_log *log)
{
    struct commit *commit = calloc(1, sizeof(*commit));

    RIA_ASSERT(commit != NULL);
    *commit = (struct commit){
        .world = world,
        .log = log,
        .offset = log->end_offset,
        .leader_epoch = log->leader_epoch,
    };
    ria_timer_init(&commit->timer, committed, commit);
    ria_timer_start(
        &world->timers,
        &commit->timer,
        (int64_t)ria_rand_below(&world->rand, (uint64_t)world->commit_us_max + 1)
    );
}

static ria_err try_append(struct open *o, const struct produce_request *produce)
{
    struct world_request *request = o->request;
    struct world *world = request->world;
    struct world_log *log = find_log(world, &produce->topic_id, produce->partition);
    const struct world_batch *again = NULL;
    const struct world_batch *known[5];
    struct batch_header header;
    const char *reason = "";

    RIA_TRY(check_leader(o, log, produce->leader_epoch));
    size_t size_max = world->max_message_bytes == 0 ? RIA_BATCH_SIZE_MAX : world->max_message_bytes;
    RIA_TRY(batch_validate(o->payload, size_max, &header, &reason));
    ria_err err = check_producer(log, &header, &again);
    world->produce_fenced += err == RIA_ERR_FENCED_PRODUCER ? 1 : 0;
    world->produce_out_of_order += err == RIA_ERR_OUT_OF_ORDER ? 1 : 0;
    RIA_TRY(err);
    if (again == NULL) {
        uint32_t count = producer_batches(log, header.producer_id, known);
        int64_t last = count == 0 ? -1 : batch_end(known[0]);
        if (produce->producer_last_offset != -2 && produce->producer_last_offset != last) {
            world->produce_conflicts++;
            return RIA_ERR_CONFLICT;
        }
        again = append(log, o->payload);
        commit_later(world, log);
    } else {
        request->duplicate = true;
        world->produce_duplicates++;
    }
    request->log = log;
    request->leader_epoch = log->leader_epoch;
    request->base_offset = again->header.base_offset;
    request->last_offset = batch_end(again);
    return RIA_OK;
}

static struct ria_msg *produce(struct open *o)
{
    struct world_request *request = o->request;
    struct produce_request body;
    struct produce_response response;

    if (request->log == NULL) {
        ria_err err =
            envelope_decode_body(schema_request(API_PRODUCE), 0, o->body, &o->arena, &body);
        RIA_ASSERT(err == RIA_OK);
        err = try_append(o, &body);
        if (err != RIA_OK) {
            return refuse(o, err);
        }
        request->deadline_us = request->world->now_us + o->header.deadline_ms * INT64_C(1000);
    }
    if (request->log->leader_epoch != request->leader_epoch) {
        return refuse(o, RIA_ERR_UNKNOWN_OUTCOME);
    }
    if (request->log->high_watermark <= request->last_offset) {
        return o->last ? refuse(o, RIA_ERR_TIMEOUT) : NULL;
    }
    produce_response_init(&response);
    response.base_offset = request->base_offset;
    response.duplicate = request->duplicate;
    return envelope_reply(&o->header, &response, 0, NULL);
}

/* ---- Fetch, ListOffsets, DescribeProducer, Watch ---- */

/* Whole committed batches from the one that holds offset on. */
static size_t collect(const struct world_log *log, int64_t offset, size_t size_max, uint8_t *out)
{
    size_t size = 0;

    for (uint32_t i = 0; i < log->batch_count; i++) {
        const struct world_batch *batch = &log->batches[i];
        if (batch_end(batch) < offset || batch_end(batch) >= log->high_watermark) {
            continue;
        }
        if (size > 0 && size + batch->size > size_max) {
            break;
        }
        if (out != NULL) {
            memcpy(out + size, batch->data, batch->size);
        }
        size += batch->size;
    }
    return size;
}

static struct ria_msg *fetch(struct open *o)
{
    struct world_request *request = o->request;
    struct fetch_request body;
    struct fetch_response response;
    uint8_t *payload = NULL;

    ria_err err = envelope_decode_body(schema_request(API_FETCH), 0, o->body, &o->arena, &body);
    RIA_ASSERT(err == RIA_OK);
    struct world_log *log = find_log(request->world, &body.topic_id, body.partition);
    err = check_leader(o, log, body.leader_epoch);
    if (err == RIA_OK && (body.offset < log->start_offset || body.offset > log->end_offset)) {
        err = RIA_ERR_OFFSET_OUT_OF_RANGE;
    }
    if (err != RIA_OK) {
        return refuse(o, err);
    }
    size_t size = collect(log, body.offset, (size_t)body.max_bytes, NULL);
    if (size == 0 && body.wait_ms > 0 && !o->last) {
        if (request->deadline_us == 0) {
            request->deadline_us = request->world->now_us + body.wait_ms * INT64_C(1000);
        }
        return NULL;
    }
    fetch_response_init(&response);
    response.high_watermark = log->high_watermark;
    response.log_start_offset = log->start_offset;
    struct ria_msg *msg = envelope_reply(&o->header, &response, size, &payload);
    if (size > 0) {
        (void)collect(log, body.offset, (size_t)body.max_bytes, payload);
    }
    return msg;
}

static struct ria_msg *list_offsets(struct open *o)
{
    struct list_offsets_request body;
    struct list_offsets_response response;

    ria_err err =
        envelope_decode_body(schema_request(API_LIST_OFFSETS), 0, o->body, &o->arena, &body);
    RIA_ASSERT(err == RIA_OK);
    struct world_log *log = find_log(o->request->world, &body.topic_id, body.partition);
    err = check_leader(o, log, body.leader_epoch);
    if (err != RIA_OK) {
        return refuse(o, err);
    }
    list_offsets_response_init(&response);
    response.log_start_offset = log->start_offset;
    response.high_watermark = log->high_watermark;
    return envelope_reply(&o->header, &response, 0, NULL);
}

static struct ria_msg *describe_producer(struct open *o)
{
    struct describe_producer_request body;
    struct describe_producer_response response;
    const struct world_batch *known[5];

    ria_err err =
        envelope_decode_body(schema_request(API_DESCRIBE_PRODUCER), 0, o->body, &o->arena, &body);
    RIA_ASSERT(err == RIA_OK);
    struct world_log *log = find_log(o->request->world, &body.topic_id, body.partition);
    err = check_leader(o, log, body.leader_epoch);
    if (err != RIA_OK) {
        return refuse(o, err);
    }
    describe_producer_response_init(&response);
    response.producer_epoch = -1;
    response.last_sequence = -1;
    response.last_base_offset = -1;
    response.last_offset = -1;
    response.high_watermark = log->high_watermark;
    if (producer_batches(log, body.producer_id, known) > 0) {
        response.producer_epoch = known[0]->header.producer_epoch;
        response.last_sequence = batch_last_sequence(&known[0]->header);
        response.last_base_offset = known[0]->header.base_offset;
        response.last_offset = batch_end(known[0]);
    }
    return envelope_reply(&o->header, &response, 0, NULL);
}

static struct ria_msg *watch(struct open *o)
{
    struct world_request *request = o->request;
    struct watch_response_watched_partition moved[16];
    struct watch_request body;
    struct watch_response response;

    ria_err err = envelope_decode_body(schema_request(API_WATCH), 0, o->body, &o->arena, &body);
    RIA_ASSERT(err == RIA_OK && body.partitions_count <= 16);
    watch_response_init(&response);
    response.partitions = moved;
    for (uint32_t i = 0; i < body.partitions_count; i++) {
        struct world_log *log =
            find_log(request->world, &body.partitions[i].topic_id, body.partitions[i].partition);
        err = check_leader(o, log, -1);
        if (err != RIA_OK || log->high_watermark > body.partitions[i].offset) {
            moved[response.partitions_count++] = (struct watch_response_watched_partition){
                .topic_id = body.partitions[i].topic_id,
                .partition = body.partitions[i].partition,
                .error_code = (int16_t)err,
                .high_watermark = log->high_watermark,
            };
        }
    }
    if (response.partitions_count == 0 && !o->last) {
        if (request->deadline_us == 0) {
            request->deadline_us = request->world->now_us + body.wait_ms * INT64_C(1000);
        }
        return NULL;
    }
    return envelope_reply(&o->header, &response, 0, NULL);
}

struct ria_msg *world_storage(struct world_request *request, bool last)
{
    struct open o = {.request = request, .last = last};
    struct ria_msg *reply = NULL;

    ria_err err = envelope_open_request(request->msg, &o.header, &o.body, &o.payload);
    RIA_ASSERT(err == RIA_OK);
    ria_arena_init(&o.arena, 1024 * 1024);
    switch (o.header.api_key) {
    case API_PRODUCE:
        reply = produce(&o);
        break;
    case API_FETCH:
        reply = fetch(&o);
        break;
    case API_LIST_OFFSETS:
        reply = list_offsets(&o);
        break;
    case API_DESCRIBE_PRODUCER:
        reply = describe_producer(&o);
        break;
    case API_WATCH:
        reply = watch(&o);
        break;
    default:
        RIA_ASSERT(false);
    }
    ria_arena_fini(&o.arena);
    return reply;
}

/* ---- from outside ---- */

void world_produce(struct world *world, int32_t partition, struct batch_builder *builder)
{
    struct world_log *log = &world->source[partition];

    (void)append(log, batch_builder_finish(builder, -1, -1, -1));
    log->high_watermark = log->end_offset;
    world_changed(world);
}

void world_move_leader(struct world *world, struct world_log *log)
{
    log->leader = 1 + log->leader % WORLD_NODES;
    log->leader_epoch++;
    /* What was not committed may be lost, from the end. */
    while (log->end_offset > log->high_watermark && ria_rand_one_in(&world->rand, 2)) {
        struct world_batch *batch = &log->batches[--log->batch_count];
        log->end_offset = batch->header.base_offset;
        free(batch->data);
        *batch = (struct world_batch){.data = NULL};
    }
    commit_later(world, log);
    log->changed_version = ++world->version;
    world_changed(world);
}

static void move_from(struct world *world, struct world_log *logs, int count, int32_t node)
{
    for (int i = 0; i < count; i++) {
        if (logs[i].leader == node) {
            world_move_leader(world, &logs[i]);
        }
    }
}

void world_move_leaders_from(struct world *world, int32_t node)
{
    move_from(world, world->source, WORLD_SOURCE_PARTITIONS, node);
    move_from(world, world->derived, WORLD_DERIVED_PARTITIONS, node);
    move_from(world, world->errors, WORLD_ERRORS_PARTITIONS, node);
}

/* What the batch's last record says in the header riacho.source. */
static void source_of(const struct world_batch *batch, int *out_partition, long long *out_next)
{
    struct batch_iter iter;
    struct batch_record record = {.offset = 0};
    struct batch_record_header header = {.name = RIA_SLICE_NULL};
    bool more = true;

    ria_err err = batch_iter_init(&iter, ria_slice_of(batch->data, batch->size));
    while (err == RIA_OK && more) {
        err = batch_iter_next(&iter, &record, &more);
    }
    struct ria_slice left = record.headers;
    for (more = true; err == RIA_OK && more;) {
        struct batch_record_header next;
        err = batch_record_header_next(&left, &next, &more);
        header = more ? next : header;
    }
    RIA_ASSERT(err == RIA_OK && header.value.size > 0 && header.value.size < 40);
    char text[40];
    memcpy(text, header.value.data, header.value.size);
    text[header.value.size] = '\0';
    int found = sscanf(text, "%d:%lld", out_partition, out_next);
    RIA_ASSERT(found == 2);
}

bool world_forget_producers(struct world *world, struct world_log *log)
{
    for (uint32_t i = log->forgotten; i < log->batch_count; i++) {
        int partition = 0;
        long long next = 0;
        source_of(&log->batches[i], &partition, &next);
        if (log->high_watermark != log->end_offset || world->tasks[partition].position < next) {
            return false;
        }
    }
    log->forgotten = log->batch_count;
    return true;
}

struct world_log *world_any_log(struct world *world)
{
    uint64_t i = ria_rand_below(
        &world->rand, WORLD_SOURCE_PARTITIONS + WORLD_DERIVED_PARTITIONS + WORLD_ERRORS_PARTITIONS
    );

    if (i < WORLD_SOURCE_PARTITIONS) {
        return &world->source[i];
    }
    i -= WORLD_SOURCE_PARTITIONS;
    return i < WORLD_DERIVED_PARTITIONS ? &world->derived[i]
                                        : &world->errors[i - WORLD_DERIVED_PARTITIONS];
}

static bool all_committed(const struct world_log *logs, int count)
{
    for (int i = 0; i < count; i++) {
        if (logs[i].high_watermark != logs[i].end_offset) {
            return false;
        }
    }
    return true;
}

bool world_is_done(struct world *world)
{
    for (int i = 0; i < WORLD_SOURCE_PARTITIONS; i++) {
        if (world->tasks[i].position != world->source[i].end_offset) {
            return false;
        }
    }
    return all_committed(world->derived, WORLD_DERIVED_PARTITIONS) &&
           all_committed(world->errors, WORLD_ERRORS_PARTITIONS);
}
