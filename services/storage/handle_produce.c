/* Produce and DescribeProducer. */
#include <stdlib.h>

#include "common/assert.h"

#include "schemas/gen/describe_producer_request.h"
#include "schemas/gen/describe_producer_response.h"
#include "schemas/gen/produce_request.h"
#include "schemas/gen/produce_response.h"

#include "services/storage/handle.h"

/* A produce between its append and its commit. */
struct produce {
    struct partition_ack ack;
    struct ria_rpc_request *request;
    struct request_header header;
    int64_t received_us;
    size_t frame_size;
};

static void acknowledge(
    struct storage *s,
    const struct handle_request *r,
    const struct partition *p,
    const struct partition_ack *ack
)
{
    struct produce_response response = {
        .base_offset = ack->base_offset,
        .log_start_offset = partition_log_start_offset(p->log),
        .duplicate = ack->duplicate,
        .synced = partition_is_synced(p, ack->last_offset),
    };

    s->metrics.produce_duplicates.value += ack->duplicate ? 1 : 0;
    handle_reply(r, &response);
}

static const char *why_unknown(ria_err err)
{
    if (err == RIA_ERR_TIMEOUT) {
        return "the batch is in the leader's log but was not committed in time; it may be later";
    }
    if (err == RIA_ERR_IO) {
        return "the disk failed before the batch was committed; it may or may not be kept";
    }
    return "leadership changed before the batch was committed; it may or may not be kept";
}

void handle_produce_ended(struct partition *p, struct partition_ack *ack, ria_err err)
{
    struct storage *s = replica_of(p)->storage;
    struct produce *produce = RIA_CONTAINER(ack, struct produce, ack);
    struct handle_request r = {
        .storage = s, .request = produce->request, .header = produce->header};

    RIA_ASSERT(s->ack_count > 0 && s->ack_bytes >= produce->frame_size);
    s->ack_count--;
    s->ack_bytes -= produce->frame_size;
    if (err == RIA_OK) {
        int64_t now_us = ria_clock_mono_us(s->env->clock);
        ria_histogram_record(&s->metrics.produce_latency, now_us - produce->received_us);
        acknowledge(s, &r, p, ack);
    } else {
        s->metrics.produce_refused.value++;
        handle_reply_error(&r, err, "%s", why_unknown(err));
    }
    free(produce);
}

static int64_t deadline_us(const struct handle_request *r, int64_t now_us)
{
    int64_t wait_ms = r->header.deadline_ms > 0 ? r->header.deadline_ms : STORAGE_PRODUCE_WAIT_MS;

    return now_us + wait_ms * 1000;
}

/* The payload is the end of the request's frame, which is ours to write to. */
static uint8_t *writable_payload(const struct handle_request *r)
{
    struct ria_msg *msg = ria_rpc_request_msg(r->storage->env->rpc, r->request);

    return ria_msg_data(msg) + (ria_msg_size(msg) - r->payload.size);
}

static void refuse(const struct handle_request *r, ria_err err, const char *reason)
{
    r->storage->metrics.produce_refused.value++;
    handle_reply_error(r, err, "%s", reason);
}

static void note_append_error(struct replica *replica, ria_err err)
{
    struct storage *s = replica->storage;
    char text[RIA_UUID_TEXT_SIZE];

    /* A full disk is told of once, not for each of its partitions. */
    if (err != RIA_ERR_IO && (err != RIA_ERR_NO_SPACE || replica->dir->space.full)) {
        return;
    }
    if (partition_log_has_failed(replica->partition.log)) {
        storage_mark_dirty(replica); /* others may wait for a sync that will not come */
    } else if (replica->refusal_logged) {
        return;
    }
    replica->refusal_logged = true;
    ria_uuid_format(replica->partition.id.topic_id, text);
    ria_log_error(
        s->env->log,
        "storage.append_failed",
        "topic=%s partition=%d err=\"%s\"",
        text,
        partition_id_number(&replica->partition.id),
        ria_err_text(err)
    );
}

void handle_produce(const struct handle_request *r)
{
    struct storage *s = r->storage;
    struct produce_request request;
    bool appended = false;
    const char *reason = "";

    if (!handle_decode(r, &request)) {
        return;
    }
    struct replica *replica =
        handle_leader(r, &request.topic_id, request.partition, request.leader_epoch);
    if (replica == NULL) {
        s->metrics.produce_refused.value++;
        return;
    }
    size_t frame_size = ria_msg_size(ria_rpc_request_msg(s->env->rpc, r->request));
    if (s->ack_count >= STORAGE_ACKS_MAX || frame_size > STORAGE_ACK_BYTES_MAX - s->ack_bytes) {
        refuse(r, RIA_ERR_BUSY, "too many produces wait on this node");
        return;
    }
    struct produce *produce = calloc(1, sizeof(*produce));
    if (produce == NULL) {
        refuse(r, RIA_ERR_NOMEM, ria_err_text(RIA_ERR_NOMEM));
        return;
    }
    produce->request = r->request;
    produce->header = r->header;
    produce->received_us = ria_clock_mono_us(s->env->clock);
    produce->frame_size = frame_size;
    produce->ack.deadline_us = deadline_us(r, produce->received_us);

    struct partition_produce what = {
        .batch = writable_payload(r),
        .size = r->payload.size,
        .leader_epoch = request.leader_epoch,
        .producer_last_offset = request.producer_last_offset,
    };
    /* Counted before: a duplicate may be acknowledged from inside the call. */
    s->ack_count++;
    s->ack_bytes += frame_size;
    ria_err err = partition_produce(&replica->partition, &what, &produce->ack, &appended, &reason);
    if (err != RIA_OK) {
        s->ack_count--;
        s->ack_bytes -= frame_size;
        free(produce);
        if (err == RIA_ERR_OUT_OF_ORDER && handle_confirm(r)) {
            return;
        }
        note_append_error(replica, err);
        refuse(r, err, reason);
        return;
    }
    if (appended) {
        s->metrics.produce_batches.value++;
        s->metrics.produce_bytes.value += what.size;
        storage_mark_dirty(replica);
    }
}

void handle_describe_producer(const struct handle_request *r)
{
    struct describe_producer_request request;
    struct describe_producer_response response;

    if (!handle_decode(r, &request)) {
        return;
    }
    struct replica *replica =
        handle_leader(r, &request.topic_id, request.partition, request.leader_epoch);
    if (replica == NULL) {
        return;
    }
    const struct producer_state *state =
        partition_log_producer(replica->partition.log, request.producer_id);
    describe_producer_response_init(&response);
    response.producer_epoch = -1;
    response.last_sequence = -1;
    response.last_base_offset = -1;
    response.last_offset = -1;
    response.high_watermark = replica->partition.high_watermark;
    if (state != NULL) {
        response.producer_epoch = state->epoch;
    }
    if (state != NULL && state->batch_count > 0) {
        const struct producer_batch *last = &state->batches[state->batch_count - 1];
        response.last_sequence = last->last_sequence;
        response.last_base_offset = last->base_offset;
        response.last_offset = last->last_offset;
    }
    handle_reply(r, &response);
}
