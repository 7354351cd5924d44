#include "services/transform/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "services/transform/output_internal.h"

enum {
    SOURCE_TEXT_SIZE = 40, /* of the header's value */
    /* What a record's header, and the varints around a record, take at most. */
    RECORD_OVERHEAD_MAX = SOURCE_TEXT_SIZE + sizeof(OUTPUT_SOURCE_HEADER) + 40,
    RETRY_MS_MIN = 50,
    RETRY_MS_MAX = 1000,
};

/* ---- life ---- */

static void retry_now(struct ria_timer *timer, void *arg)
{
    struct output *output = arg;

    (void)timer;
    if (output->state != OUTPUT_READY) {
        output_recover_again(output);
        return;
    }
    if (output_is_stale(output) && !ria_list_is_empty(&output->batches)) {
        output_stop(output, RIA_ERR_CONFLICT, "a batch has waited for too long");
        return;
    }
    output_send(output);
    if (output_flush_if_idle(output) != RIA_OK) {
        output_retry_later(output);
    }
}

ria_err output_new(const struct output_options *options, struct output **out_output)
{
    struct output *output = calloc(1, sizeof(*output));

    if (output == NULL) {
        return RIA_ERR_NOMEM;
    }
    output->options = *options;
    output->state = OUTPUT_NEW;
    output->building_first_source = -1;
    ria_list_init(&output->link);
    ria_list_init(&output->batches);
    call_group_init(&output->calls, options->env);
    ria_timer_init(&output->retry, retry_now, output);
    output->batch_size_max = (size_t)options->partition->topic->config.max_message_bytes;
    batch_builder_init(&output->builder, output->batch_size_max);
    ria_buf_init(&output->pending, RIA_BATCH_SIZE_MAX);
    *out_output = output;
    return RIA_OK;
}

void output_batch_free(struct output_batch *batch)
{
    budget_give(
        batch->output->options.budget,
        batch->charged + (batch->state == BATCH_SENT ? batch->size : 0)
    );
    ria_list_remove(&batch->link);
    free(batch->data);
    free(batch);
}

static void forget_everything(struct output *output)
{
    call_group_fini(&output->calls);
    ria_timer_stop(output->options.env->timers, &output->retry);
    output->in_flight = 0;
    while (!ria_list_is_empty(&output->batches)) {
        output_batch_free(RIA_CONTAINER(output->batches.next, struct output_batch, link));
    }
    budget_give(output->options.budget, output->building_charged);
    output->building_charged = 0;
    output->building_first_source = -1;
    output->has_pending = false;
    batch_builder_reset(&output->builder);
}

void output_free(struct output *output)
{
    if (output == NULL) {
        return;
    }
    forget_everything(output);
    ria_list_remove(&output->link);
    batch_builder_fini(&output->builder);
    ria_buf_fini(&output->pending);
    free(output);
}

void output_stop(struct output *output, ria_err err, const char *text)
{
    char copy[RIA_ERROR_TEXT_MAX + 1];

    (void)snprintf(copy, sizeof(copy), "%s", text); /* it may be in a reply's frame */
    forget_everything(output);
    output->state = OUTPUT_STOPPED;
    output->options.host->stopped(output->options.arg, output, err, copy);
}

const char *output_leader_address(struct output *output)
{
    const struct cluster_partition *partition = output->options.partition;
    const struct cluster_node *node = cluster_node(output->options.cluster, partition->leader);

    output->sent_leader = partition->leader;
    output->sent_epoch = partition->leader_epoch;
    return node == NULL ? NULL : node->address;
}

void output_retry_later(struct output *output)
{
    const struct ria_env *env = output->options.env;
    int64_t delay_ms =
        ria_min_i64(RETRY_MS_MAX, (int64_t)RETRY_MS_MIN << ria_min_size(output->failures, 5));

    output->failures++;
    delay_ms = delay_ms / 2 + (int64_t)ria_rand_below(env->rand, (uint64_t)delay_ms / 2 + 1);
    ria_timer_start(env->timers, &output->retry, delay_ms * 1000);
}

/* While nobody leads, who did may still answer. */
static bool is_outdated(const struct output *output)
{
    const struct cluster_partition *partition = output->options.partition;

    return partition->leader >= 0 && (output->sent_leader != partition->leader ||
                                      output->sent_epoch != partition->leader_epoch);
}

void output_leader_changed(struct output *output)
{
    bool abandon = is_outdated(output) && !call_group_is_idle(&output->calls);

    if (abandon) {
        output_send_abandon(output);
        output->failures = 0;
        output->state = output->state == OUTPUT_READING ? OUTPUT_DESCRIBING : output->state;
    }
    if (abandon || output->retry.active) {
        ria_timer_start(output->options.env->timers, &output->retry, 0);
    }
}

int64_t output_complete_below(const struct output *output)
{
    if (!ria_list_is_empty(&output->batches)) {
        return RIA_CONTAINER(output->batches.next, struct output_batch, link)->first_source;
    }
    return output->building_first_source >= 0 ? output->building_first_source : INT64_MAX;
}

bool output_is_stale(const struct output *output)
{
    int64_t now_us = ria_clock_mono_us(output->options.env->clock);

    int64_t fresh_ms = output->proved ? OUTPUT_PROVED_FRESH_MS : OUTPUT_FRESH_MS;

    return output->state == OUTPUT_READY && now_us - output->fresh_us > fresh_ms * 1000;
}

/* ---- building ---- */

bool output_fits(const struct output *output, const struct output_record *record)
{
    return BATCH_HEADER_SIZE + RECORD_OVERHEAD_MAX + record->key.size + record->value.size +
               record->headers.size <=
           output->batch_size_max;
}

static struct ria_slice pending_part(const struct output *output, size_t at, size_t size)
{
    return size == SIZE_MAX ? RIA_SLICE_NULL : ria_slice_of(output->pending.data + at, size);
}

/* Headers that are forwarded, and room for one more. Returns their number. */
static uint32_t pending_headers(struct ria_slice left, struct batch_record_header *out)
{
    uint32_t count = 0;
    bool more = left.size > 0;

    while (more && count < RIA_RECORD_HEADERS_MAX) {
        struct batch_record_header header;
        if (batch_record_header_next(&left, &header, &more) != RIA_OK || !more) {
            break;
        }
        /* Ours says where a record comes from, one step at a time. */
        if (!ria_slice_equal(header.name, RIA_SLICE_LITERAL(OUTPUT_SOURCE_HEADER))) {
            out[count++] = header;
        }
    }
    return count;
}

/* The pending record goes into the batch; `last`: with the header. */
static ria_err add_pending(struct output *output, bool last)
{
    struct batch_record_header headers[RIA_RECORD_HEADERS_MAX + 1];
    char source[SOURCE_TEXT_SIZE];
    size_t value_at = output->pending_key_size == SIZE_MAX ? 0 : output->pending_key_size;
    size_t headers_at =
        value_at + (output->pending_value_size == SIZE_MAX ? 0 : output->pending_value_size);
    uint32_t count =
        pending_headers(pending_part(output, headers_at, output->pending_headers_size), headers);

    if (last) {
        int size = snprintf(
            source,
            sizeof(source),
            "%" PRId32 ":%" PRId64,
            output->options.source_partition,
            output->pending_source + 1
        );
        headers[count++] = (struct batch_record_header){
            .name = RIA_SLICE_LITERAL(OUTPUT_SOURCE_HEADER),
            .value = ria_slice_of(source, (size_t)size),
        };
    }
    RIA_TRY(batch_builder_add(
        &output->builder,
        output->pending_timestamp_ms,
        pending_part(output, 0, output->pending_key_size),
        pending_part(output, value_at, output->pending_value_size),
        headers,
        count
    ));
    output->has_pending = false;
    return RIA_OK;
}

/* Copied: it will be known to be the last of its batch when the next one comes, or none. */
static ria_err set_pending(struct output *output, const struct output_record *record)
{
    struct ria_buf *buf = &output->pending;

    RIA_ASSERT(!output->has_pending);
    ria_buf_clear(buf);
    RIA_TRY(ria_buf_reserve(buf, record->key.size + record->value.size + record->headers.size + 1));
    RIA_TRY(ria_buf_append(buf, record->key.data, record->key.size));
    RIA_TRY(ria_buf_append(buf, record->value.data, record->value.size));
    RIA_TRY(ria_buf_append(buf, record->headers.data, record->headers.size));
    output->pending_key_size = ria_slice_is_null(record->key) ? SIZE_MAX : record->key.size;
    output->pending_value_size = ria_slice_is_null(record->value) ? SIZE_MAX : record->value.size;
    output->pending_headers_size = record->headers.size;
    output->pending_timestamp_ms = ria_max_i64(record->timestamp_ms, -1); /* as batches want it */
    output->pending_source = record->source_offset;
    output->has_pending = true;
    return RIA_OK;
}

/* Bytes of the batch with the pending record, its header, and one more record. */
static size_t size_with(const struct output *output, const struct output_record *record)
{
    size_t built = output->builder.record_count == 0 ? BATCH_HEADER_SIZE : output->builder.buf.size;

    return built + output->pending.size + record->key.size + record->value.size +
           record->headers.size + (size_t)2 * RECORD_OVERHEAD_MAX;
}

ria_err output_add(struct output *output, const struct output_record *record)
{
    size_t charge = record->key.size + record->value.size + record->headers.size;

    RIA_ASSERT(output->state == OUTPUT_READY);
    if (record->source_offset < output->position) {
        return RIA_OK;
    }
    if (output->has_pending) {
        RIA_ASSERT(output->pending_source < record->source_offset);
        size_t limit = ria_min_size(OUTPUT_BATCH_SIZE, output->batch_size_max);
        if (size_with(output, record) > limit) {
            RIA_TRY(output_flush(output));
        } else {
            RIA_TRY(add_pending(output, false));
        }
    }
    RIA_TRY(set_pending(output, record));
    budget_take(output->options.budget, charge);
    output->building_charged += charge;
    if (output->building_first_source < 0) {
        output->building_first_source = record->source_offset;
    }
    return RIA_OK;
}

ria_err output_flush(struct output *output)
{
    if (!output->has_pending) {
        return RIA_OK;
    }
    struct output_batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_err err = add_pending(output, true);
    if (err != RIA_OK) {
        free(batch);
        return err;
    }
    int32_t count = output->builder.record_count;
    (void)batch_builder_finish(
        &output->builder,
        output->options.producer_id,
        output->options.producer_epoch,
        output->next_sequence
    );
    output->next_sequence = batch_next_sequence(output->next_sequence, count);
    *batch = (struct output_batch){
        .output = output,
        .state = BATCH_QUEUED,
        .first_source = output->building_first_source,
        .charged = output->building_charged,
    };
    ria_buf_take(&output->builder.buf, &batch->data, &batch->size);
    batch_builder_reset(&output->builder);
    budget_keep_small(&output->pending);
    output->building_first_source = -1;
    output->building_charged = 0;
    ria_list_push_back(&output->batches, &batch->link);
    output_send(output);
    return RIA_OK;
}

ria_err output_flush_if_idle(struct output *output)
{
    return ria_list_is_empty(&output->batches) ? output_flush(output) : RIA_OK;
}

void output_check(const struct output *output)
{
    uint32_t sent = 0;
    int64_t source = -1;

    RIA_LIST_FOREACH (it, &output->batches) {
        const struct output_batch *batch = RIA_CONTAINER(it, struct output_batch, link);
        RIA_ASSERT(batch->first_source > source);
        source = batch->first_source;
        sent += batch->state == BATCH_SENT ? 1 : 0;
    }
    RIA_ASSERT(output->state == OUTPUT_READY || ria_list_is_empty(&output->batches));
    RIA_ASSERT(output->in_flight == sent);
    RIA_ASSERT(sent <= OUTPUT_IN_FLIGHT_MAX);
    RIA_ASSERT(output->proved || sent <= 1);
    RIA_ASSERT(output->has_pending == (output->building_first_source >= 0));
}
