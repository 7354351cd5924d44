#include "services/gateway/produce_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/produce_request.h"
#include "schemas/gen/produce_response.h"

#include "services/gateway/leader_call.h"

enum {
    /* The leader answers by then in any case; silence makes the connection suspect (net.h). */
    ATTEMPT_TIMEOUT_US = 4 * 1000 * 1000,
    KEPT_CAPACITY_MAX = PRODUCE_COALESCE_MAX, /* larger buffers of pooled batches are freed */
    PRODUCE_REPLY_ARENA_MAX = 4096,
};

struct produce_batch *
produce_batch_new(struct produce *core, struct produce_partition *owner, size_t size_max)
{
    struct ria_list *link = ria_list_pop_front(&core->free_batches);
    struct produce_batch *batch;

    if (link != NULL) {
        batch = RIA_CONTAINER(link, struct produce_batch, link);
        core->free_batch_count--;
        struct batch_builder builder = batch->builder;
        *batch = (struct produce_batch){.builder = builder};
        batch->builder.buf.limit = size_max;
    } else {
        batch = calloc(1, sizeof(*batch));
        if (batch == NULL) {
            return NULL;
        }
        batch_builder_init(&batch->builder, size_max);
    }
    ria_list_init(&batch->link);
    ria_list_init(&batch->parts);
    batch->owner = owner;
    batch->created_us = ria_clock_mono_us(core->env->clock);
    batch->deadline_us = batch->created_us + (int64_t)core->options.timeout_ms * 1000;
    batch->sequence = -1;
    return batch;
}

void produce_batch_free(struct produce *core, struct produce_batch *batch)
{
    RIA_ASSERT(ria_list_is_empty(&batch->parts));

    outcall_cancel(RIA_STEAL(&batch->attempt));
    produce_partition_give(batch->owner, batch->charged);
    ria_list_remove(&batch->link);
    if (core->free_batch_count < PRODUCE_BATCHES_KEPT &&
        batch->builder.buf.capacity <= KEPT_CAPACITY_MAX) {
        batch_builder_reset(&batch->builder);
        ria_list_push_front(&core->free_batches, &batch->link);
        core->free_batch_count++;
        return;
    }
    batch_builder_fini(&batch->builder);
    free(batch);
}

/* The part of this call in this batch, which can only be the newest one. NULL: no memory. */
static struct produce_part *
part_of(struct produce *core, struct produce_batch *batch, struct produce_call *call)
{
    if (!ria_list_is_empty(&batch->parts)) {
        struct produce_part *newest = RIA_CONTAINER(batch->parts.prev, struct produce_part, link);
        if (newest->call == call) {
            return newest;
        }
    }
    struct ria_list *link = ria_list_pop_front(&core->free_parts);
    struct produce_part *part =
        link == NULL ? malloc(sizeof(*part)) : RIA_CONTAINER(link, struct produce_part, link);
    if (part != NULL) {
        part->call = call;
        part->first = PRODUCE_RESULT_NONE;
        part->last = PRODUCE_RESULT_NONE;
        part->base_delta = batch->builder.record_count;
        ria_list_init(&part->link);
    }
    return part;
}

ria_err produce_batch_add(
    struct produce *core,
    struct produce_batch *batch,
    struct produce_call *call,
    const struct produce_record *record
)
{
    size_t size_before = batch->builder.buf.size;
    uint32_t index = call->count;

    RIA_ASSERT(index < call->capacity);
    struct produce_part *part = part_of(core, batch, call);
    if (part == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_err err = batch_builder_add(
        &batch->builder,
        record->timestamp_ms,
        record->key,
        record->value,
        record->headers,
        record->header_count
    );
    if (err != RIA_OK) {
        if (!ria_list_is_linked(&part->link)) {
            ria_list_push_front(&core->free_parts, &part->link);
        }
        return err;
    }
    if (!ria_list_is_linked(&part->link)) {
        ria_list_push_back(&batch->parts, &part->link);
        call->parts_left++;
        part->first = index;
    } else {
        call->results[part->last].next = index;
    }
    part->last = index;
    call->results[index].next = PRODUCE_RESULT_NONE;
    size_t grown = batch->builder.buf.size - size_before;
    produce_partition_charge(batch->owner, grown);
    batch->charged += grown;
    core->metrics.records.value++;
    core->metrics.bytes.value += grown;
    return RIA_OK;
}

static void part_done(struct produce *core, struct produce_part *part)
{
    struct produce_call *call = part->call;

    ria_list_remove(&part->link);
    ria_list_push_front(&core->free_parts, &part->link);
    RIA_ASSERT(call->parts_left > 0);
    call->parts_left--;
    if (call->parts_left == 0) {
        call->done(call);
    }
}

void produce_batch_succeed(
    struct produce *core, struct produce_batch *batch, int64_t base_offset, bool synced
)
{
    while (!ria_list_is_empty(&batch->parts)) {
        struct produce_part *part = RIA_CONTAINER(batch->parts.next, struct produce_part, link);
        struct produce_result *results = part->call->results;
        int64_t offset = base_offset + part->base_delta;
        for (uint32_t i = part->first; i != PRODUCE_RESULT_NONE; i = results[i].next) {
            results[i].offset = base_offset < 0 ? -1 : offset++;
            results[i].err = RIA_OK;
        }
        part->call->synced = part->call->synced && synced;
        part_done(core, part);
    }
}

void produce_batch_fail(
    struct produce *core, struct produce_batch *batch, ria_err err, const char *text
)
{
    RIA_ASSERT(err != RIA_OK);
    RIA_ASSERT(err == RIA_ERR_UNKNOWN_OUTCOME || ria_err_is_definite(err));

    while (!ria_list_is_empty(&batch->parts)) {
        struct produce_part *part = RIA_CONTAINER(batch->parts.next, struct produce_part, link);
        struct produce_call *call = part->call;
        for (uint32_t i = part->first; i != PRODUCE_RESULT_NONE; i = call->results[i].next) {
            call->results[i].err = err;
            call->failed_count++;
            core->metrics.failed_records.value++;
            core->metrics.unknown_records.value += err == RIA_ERR_UNKNOWN_OUTCOME;
        }
        if (call->text[0] == '\0') {
            (void)snprintf(call->text, sizeof(call->text), "%s", text);
        }
        part_done(core, part);
    }
}

bool produce_batch_is_outdated(
    const struct produce_batch *batch, const struct cluster_partition *to
)
{
    return batch->attempt != NULL && to->leader >= 0 &&
           (batch->sent_leader != to->leader || batch->sent_epoch != to->leader_epoch);
}

bool produce_may_pass(const struct cluster_partition *to, ria_err err)
{
    if (err == RIA_ERR_UNKNOWN_TOPIC || err == RIA_ERR_UNKNOWN_PARTITION) {
        return !to->topic->deleted; /* the leader has not heard of it yet */
    }
    if (err == RIA_ERR_CORRUPT) {
        return to->replica_count > 1; /* a damaged leader is replaced, if there is by whom */
    }
    return ria_err_is_retriable(err) || !ria_err_is_definite(err);
}

bool produce_batch_send(
    struct produce *core,
    struct produce_batch *batch,
    const struct cluster_partition *to,
    outcall_fn fn,
    void *arg,
    ria_err *out_err
)
{
    int64_t now_us = ria_clock_mono_us(core->env->clock);
    int64_t left_us = ria_max_i64(batch->deadline_us - now_us, 1000);
    uint32_t timeout_ms = (uint32_t)(ria_min_i64(left_us, ATTEMPT_TIMEOUT_US) / 1000);
    const char *address = leader_address(core->cluster, to);
    uint8_t *payload = NULL;

    RIA_ASSERT(batch->attempt == NULL);
    RIA_ASSERT(batch->sequence >= 0);
    if (address == NULL) {
        *out_err = RIA_ERR_NO_LEADER;
        return false;
    }
    struct produce_request body;
    produce_request_init(&body);
    body.topic_id = to->topic->id;
    body.partition = to->number;
    body.leader_epoch = to->leader_epoch;
    struct ria_slice bytes =
        batch_builder_finish(&batch->builder, batch->producer_id, batch->epoch, batch->sequence);
    struct ria_msg *msg =
        envelope_request(API_PRODUCE, 0, -1, timeout_ms, &body, bytes.size, &payload);
    if (msg != NULL) {
        memcpy(payload, bytes.data, bytes.size);
        batch->attempt = outcall_start(&core->outcalls, address, msg, timeout_ms, fn, arg);
    }
    if (batch->attempt == NULL) {
        *out_err = RIA_ERR_NOMEM;
        return false;
    }
    batch->sent_leader = to->leader;
    batch->sent_epoch = to->leader_epoch;
    batch->sent_us = now_us;
    core->metrics.batches.value++;
    return true;
}

static ria_err read_reply(const struct ria_msg *reply, struct produce_answer *out)
{
    struct ria_arena arena;
    struct response_header header;
    struct produce_response response;
    struct ria_slice body;
    struct ria_slice payload;

    ria_err err = envelope_open_reply(
        reply, API_PRODUCE, &header, &body, &payload, out->text, sizeof(out->text)
    );
    if (err != RIA_OK) {
        /* Our own verdict on the frame says nothing about the batch. */
        return header.error_code == 0 ? RIA_ERR_UNKNOWN_OUTCOME : err;
    }
    ria_arena_init(&arena, PRODUCE_REPLY_ARENA_MAX);
    err = envelope_decode_body(
        schema_response(API_PRODUCE), header.api_version, body, &arena, &response
    );
    ria_arena_fini(&arena);
    if (err != RIA_OK) {
        return RIA_ERR_UNKNOWN_OUTCOME;
    }
    out->base_offset = response.base_offset;
    out->synced = response.synced;
    out->duplicate = response.duplicate;
    return RIA_OK;
}

void produce_batch_open_reply(ria_err err, struct ria_msg *reply, struct produce_answer *out)
{
    *out = (struct produce_answer){.err = err};
    if (err == RIA_ERR_SHUTDOWN) {
        out->err = RIA_ERR_UNKNOWN_OUTCOME; /* ours: the request may have been sent */
    }
    if (err == RIA_OK) {
        out->err = read_reply(reply, out);
        ria_msg_free(reply);
    }
}
