/* Where did this task's earlier leases get to in this partition? The leader knows the producer's
 * last batch, and that batch's last record says it. The batch counts once it is committed: until
 * then the leader may yet lose it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/describe_producer_request.h"
#include "schemas/gen/describe_producer_response.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/messages.h"

#include "services/transform/output_internal.h"

enum {
    DESCRIBE_TIMEOUT_MS = 4000,
    READ_WAIT_MS = 1000, /* for the batch to be committed */
    READ_TIMEOUT_MS = 4000,
    READ_AGAIN_US = 10 * 1000,
};

static void describe(struct output *output);
static void read_last_batch(struct output *output);

static void trouble(struct output *output, ria_err err, const char *text)
{
    output_retry_later(output);
    output->options.host->troubled(output->options.arg, output, err, text);
}

static void become_ready(struct output *output, int64_t position)
{
    output->position = position;
    output->proved = false;
    output->failures = 0;
    output->state = OUTPUT_READY;
    output->options.host->ready(output->options.arg, output);
}

/* ---- the batch ---- */

/* "<source partition>:<next source offset>" */
static bool parse_source(struct ria_slice text, int32_t partition, int64_t *out_next)
{
    char copy[64];
    char *end = NULL;

    if (text.size == 0 || text.size >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    long long found_partition = strtoll(copy, &end, 10);
    if (*end != ':' || found_partition != partition) {
        return false;
    }
    char *number = end + 1;
    *out_next = strtoll(number, &end, 10);
    return end != number && *end == '\0' && *out_next > 0;
}

/* The position in the last record of a batch. */
static ria_err find_position(const struct output *output, struct ria_slice batch, int64_t *out_next)
{
    struct batch_iter iter;
    struct batch_record record = {0};
    struct batch_record_header header;
    bool more = true;
    bool found = false;

    RIA_TRY(batch_iter_init(&iter, batch));
    while (more) {
        RIA_TRY(batch_iter_next(&iter, &record, &more));
    }
    struct ria_slice left = record.headers;
    for (more = true; more;) {
        RIA_TRY(batch_record_header_next(&left, &header, &more));
        if (more && ria_slice_equal(header.name, RIA_SLICE_LITERAL(OUTPUT_SOURCE_HEADER))) {
            found = parse_source(header.value, output->options.source_partition, out_next);
        }
    }
    return found ? RIA_OK : RIA_ERR_MALFORMED;
}

/* The producer's last batch, out of what the leader sent. */
static ria_err
find_batch(const struct output *output, struct ria_slice payload, struct ria_slice *out_batch)
{
    struct batch_header header;

    while (payload.size > 0) {
        RIA_TRY(batch_header_decode(payload, &header));
        size_t size = batch_size(&header);
        if (size > payload.size) {
            return RIA_ERR_MALFORMED;
        }
        if (header.base_offset <= output->last_offset &&
            output->last_offset <= batch_last_offset(&header)) {
            *out_batch = ria_slice_sub(payload, 0, size);
            RIA_TRY(batch_check_crc(*out_batch));
            return header.producer_id == output->options.producer_id ? RIA_OK : RIA_ERR_CONFLICT;
        }
        payload = ria_slice_sub(payload, size, SIZE_MAX);
    }
    return RIA_ERR_NOT_FOUND;
}

static void batch_was_read(void *arg, struct call_reply *reply)
{
    struct output *output = arg;
    struct ria_slice batch;
    int64_t position = 0;
    char text[160];

    if (reply->err == RIA_ERR_OFFSET_OUT_OF_RANGE && output->committed) {
        /* Retention has deleted it. What is left is the task's own position, which was committed
         * long before: nothing but records that old could be written twice. */
        become_ready(output, 0);
        return;
    }
    if (reply->err != RIA_OK) {
        output->state = OUTPUT_DESCRIBING;
        trouble(output, reply->err, reply->text);
        return;
    }
    if (reply->payload.size == 0) { /* not committed yet */
        ria_timer_start(output->options.env->timers, &output->retry, READ_AGAIN_US);
        return;
    }
    ria_err err = find_batch(output, reply->payload, &batch);
    if (err == RIA_OK) {
        err = find_position(output, batch, &position);
    }
    if (err != RIA_OK) {
        (void)snprintf(
            text,
            sizeof(text),
            "the task's last batch, at offset %lld of partition %d of %.60s, says no position",
            (long long)output->last_offset,
            output->options.partition->number,
            output->options.partition->topic->name
        );
        output_stop(output, RIA_ERR_CORRUPT, text);
        return;
    }
    become_ready(output, position);
}

static void read_last_batch(struct output *output)
{
    const struct cluster_partition *partition = output->options.partition;
    const char *address = output_leader_address(output);
    struct fetch_request request;

    fetch_request_init(&request);
    request.topic_id = partition->topic->id;
    request.partition = partition->number;
    request.leader_epoch = output->leader_epoch;
    request.offset = output->last_offset;
    request.max_bytes = 1; /* one whole batch comes anyway */
    request.wait_ms = READ_WAIT_MS;
    ria_err err = address == NULL ? RIA_ERR_NO_LEADER
                                  : call_start(
                                        &output->calls,
                                        address,
                                        API_FETCH,
                                        &request,
                                        RIA_SLICE_NULL,
                                        READ_TIMEOUT_MS,
                                        batch_was_read,
                                        output
                                    );
    if (err != RIA_OK) {
        output->state = OUTPUT_DESCRIBING;
        trouble(output, err, ria_err_text(err));
    }
}

/* ---- the producer ---- */

static void was_described(void *arg, struct call_reply *reply)
{
    struct output *output = arg;
    struct describe_producer_response response;

    ria_err err = reply->err;
    if (err == RIA_OK) {
        err = call_decode_plain(reply, &response);
    }
    if (err != RIA_OK) {
        trouble(output, err, reply->err != RIA_OK ? reply->text : ria_err_text(err));
        return;
    }
    if (response.producer_epoch > output->options.producer_epoch) {
        output_stop(output, RIA_ERR_FENCED_PRODUCER, "another worker has written since");
        return;
    }
    bool same_lease = response.producer_epoch == output->options.producer_epoch;
    output->next_sequence = same_lease && response.last_sequence >= 0
                                ? batch_next_sequence(response.last_sequence, 1)
                                : 0;
    output->last_offset = response.last_offset;
    output->committed = response.last_offset < response.high_watermark;
    if (response.last_offset < 0) {
        become_ready(output, 0);
        return;
    }
    output->state = OUTPUT_READING;
    read_last_batch(output);
}

static void describe(struct output *output)
{
    const struct cluster_partition *partition = output->options.partition;
    const char *address = output_leader_address(output);
    struct describe_producer_request request;

    describe_producer_request_init(&request);
    request.topic_id = partition->topic->id;
    request.partition = partition->number;
    request.leader_epoch = partition->leader_epoch;
    request.producer_id = output->options.producer_id;
    output->leader_epoch = partition->leader_epoch;
    output->fresh_us = ria_clock_mono_us(output->options.env->clock);
    ria_err err = address == NULL ? RIA_ERR_NO_LEADER
                                  : call_start(
                                        &output->calls,
                                        address,
                                        API_DESCRIBE_PRODUCER,
                                        &request,
                                        RIA_SLICE_NULL,
                                        DESCRIBE_TIMEOUT_MS,
                                        was_described,
                                        output
                                    );
    if (err != RIA_OK) {
        trouble(output, err, ria_err_text(err));
    }
}

void output_recover_again(struct output *output)
{
    RIA_ASSERT(output->state == OUTPUT_DESCRIBING || output->state == OUTPUT_READING);
    if (output->state == OUTPUT_READING) {
        read_last_batch(output);
    } else {
        describe(output);
    }
}

void output_start(struct output *output)
{
    RIA_ASSERT(output->state == OUTPUT_NEW);
    output->state = OUTPUT_DESCRIBING;
    describe(output);
}

void output_refresh(struct output *output)
{
    bool empty = ria_list_is_empty(&output->batches) && !output->has_pending;

    if (empty && output_is_stale(output)) {
        output->state = OUTPUT_DESCRIBING;
        describe(output);
    }
}
