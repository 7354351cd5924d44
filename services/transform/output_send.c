/* Batches on their way: in order, a few at a time, again until there is an answer. */
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/messages.h"
#include "schemas/gen/produce_request.h"

#include "services/transform/output_internal.h"

enum {
    PRODUCE_TIMEOUT_MS = 4000,
    DAMAGE_TRIES = 12, /* some eight seconds */
    LAST_OFFSET_UNCHECKED = -2,
};

static struct output_batch *first_batch(struct output *output)
{
    return ria_list_is_empty(&output->batches)
               ? NULL
               : RIA_CONTAINER(output->batches.next, struct output_batch, link);
}

static void answered(void *arg, struct call_reply *reply);

static ria_err send_batch(struct output *output, struct output_batch *batch)
{
    const struct cluster_partition *partition = output->options.partition;
    const char *address = output_leader_address(output);
    struct produce_request request;

    if (address == NULL) {
        return RIA_ERR_NO_LEADER;
    }
    produce_request_init(&request);
    request.topic_id = partition->topic->id;
    request.partition = partition->number;
    request.leader_epoch = partition->leader_epoch;
    /* What was read before the first batch must still be so; later ones are in sequence with it. */
    request.producer_last_offset = output->proved ? LAST_OFFSET_UNCHECKED : output->last_offset;
    RIA_TRY(call_start(
        &output->calls,
        address,
        API_PRODUCE,
        &request,
        ria_slice_of(batch->data, batch->size),
        PRODUCE_TIMEOUT_MS,
        answered,
        batch
    ));
    batch->state = BATCH_SENT;
    output->in_flight++;
    budget_take(output->options.budget, batch->size); /* the frame's copy */
    return RIA_OK;
}

void output_send(struct output *output)
{
    /* Counted from the oldest without an answer, answered ones in between included: the leader
     * remembers the last five it took, and that one may have to be sent again. */
    uint32_t window = output->proved ? OUTPUT_IN_FLIGHT_MAX : 1;

    if (output->draining || output->retry.active || ria_list_is_empty(&output->batches)) {
        return;
    }
    if (output_is_stale(output)) { /* the timer's function deals with it */
        ria_timer_start(output->options.env->timers, &output->retry, 0);
        return;
    }
    RIA_LIST_FOREACH (it, &output->batches) {
        struct output_batch *batch = RIA_CONTAINER(it, struct output_batch, link);
        if (window-- == 0) {
            return;
        }
        if (batch->state != BATCH_QUEUED) {
            continue;
        }
        ria_err err = send_batch(output, batch);
        if (err != RIA_OK) {
            output->draining = output->in_flight > 0;
            if (!output->draining) {
                output_retry_later(output);
            }
            output->options.host->troubled(output->options.arg, output, err, ria_err_text(err));
            return;
        }
    }
}

void output_send_abandon(struct output *output)
{
    call_group_fini(&output->calls);
    RIA_LIST_FOREACH (it, &output->batches) {
        struct output_batch *batch = RIA_CONTAINER(it, struct output_batch, link);
        if (batch->state == BATCH_SENT) {
            budget_give(output->options.budget, batch->size);
            batch->state = BATCH_QUEUED;
            output->in_flight--;
        }
    }
    RIA_ASSERT(output->in_flight == 0);
    output->draining = false;
}

/* A leader whose log is damaged is replaced; or the batch is what is damaged. */
static bool is_damage_for_good(const struct output *output, ria_err err)
{
    return err == RIA_ERR_CORRUPT && output->failures >= DAMAGE_TRIES;
}

/* The leader will never take it, however often it is sent. */
static bool is_final(ria_err err)
{
    switch (err) {
    case RIA_ERR_CONFLICT:
    case RIA_ERR_FENCED_PRODUCER:
    case RIA_ERR_TOO_LARGE:
    case RIA_ERR_INVALID:
    case RIA_ERR_MALFORMED:
    case RIA_ERR_UNSUPPORTED:
    case RIA_ERR_UNKNOWN_TYPE:
    case RIA_ERR_UNKNOWN_VERSION:
        return true;
    case RIA_OK:
    case RIA_ERR_NOMEM:
    case RIA_ERR_IO:
    case RIA_ERR_CORRUPT:
    case RIA_ERR_LIMIT:
    case RIA_ERR_TIMEOUT:
    case RIA_ERR_DISCONNECTED:
    case RIA_ERR_BUSY:
    case RIA_ERR_SHUTDOWN:
    case RIA_ERR_EXISTS:
    case RIA_ERR_NOT_FOUND:
    case RIA_ERR_UNKNOWN_TOPIC: /* the leader may not have heard of it yet */
    case RIA_ERR_UNKNOWN_PARTITION:
    case RIA_ERR_NOT_LEADER:
    case RIA_ERR_NO_LEADER:
    case RIA_ERR_FENCED_EPOCH:
    case RIA_ERR_UNKNOWN_EPOCH:
    case RIA_ERR_NOT_ENOUGH_REPLICAS:
    case RIA_ERR_OFFSET_OUT_OF_RANGE:
    case RIA_ERR_OUT_OF_ORDER:
    case RIA_ERR_NO_SPACE:
    case RIA_ERR_WRONG_CLUSTER:
    case RIA_ERR_NOT_ENOUGH_NODES:
    case RIA_ERR_UNKNOWN_OUTCOME:
    case RIA_ERR_SQL:
        return false;
    }
    return false;
}

static void acknowledged(struct output *output, struct output_batch *batch)
{
    batch->state = BATCH_ACKED;
    output->proved = true;
    output->fresh_us = ria_clock_mono_us(output->options.env->clock);
    output->failures = 0;
    for (batch = first_batch(output); batch != NULL && batch->state == BATCH_ACKED;
         batch = first_batch(output)) {
        output_batch_free(batch);
    }
}

static void answered(void *arg, struct call_reply *reply)
{
    struct output_batch *batch = arg;
    struct output *output = batch->output;
    ria_err err = reply->err;

    RIA_ASSERT(batch->state == BATCH_SENT && output->in_flight > 0);
    output->in_flight--;
    budget_give(output->options.budget, batch->size);
    batch->state = BATCH_QUEUED;
    if (err == RIA_OK) {
        acknowledged(output, batch);
    } else if (is_final(err) || is_damage_for_good(output, err)) {
        output_stop(output, err, reply->text);
        return;
    } else if (err == RIA_ERR_OUT_OF_ORDER && batch == first_batch(output)) {
        /* Everything before it was acknowledged, and the leader does not know it any more. */
        output_stop(output, err, reply->text);
        return;
    } else {
        output->draining = true;
    }
    if (output->draining && output->in_flight == 0) {
        output->draining = false;
        if (first_batch(output) != NULL) {
            output_retry_later(output);
        }
    }
    output_send(output);
    if (err == RIA_OK) {
        ria_err flushed = output_flush_if_idle(output);
        if (flushed != RIA_OK) {
            output_retry_later(output);
        }
        output->options.host->acked(output->options.arg, output);
    } else {
        output->options.host->troubled(output->options.arg, output, err, reply->text);
    }
}
