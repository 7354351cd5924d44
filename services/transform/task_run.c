/* From a slice of source records to the outputs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/assert.h"

#include "services/shared/partitioner.h"
#include "services/transform/failure_record.h"
#include "services/transform/task_internal.h"

/* Bytes of the batch around a failure record's value and key. */
enum { FAILURE_BATCH_OVERHEAD = 256 };

static int32_t partition_of(const struct task *task, int kind, struct ria_slice key)
{
    int32_t count = task->topics[kind]->partition_count;

    return ria_slice_is_null(key) ? task->options.lease->partition % count
                                  : partitioner_of_key(key, count);
}

/* The output to a partition; made when it is first needed. NULL: no memory. */
static struct output *output_to(struct task *task, int kind, int32_t partition)
{
    struct output **place = &task->outputs[kind][partition];
    struct output_options options = {
        .env = task->options.env,
        .cluster = task->options.cluster,
        .partition = task->topics[kind]->partitions[partition],
        .source_partition = task->options.lease->partition,
        .producer_id = task->options.lease->producer_id,
        .producer_epoch = task->epoch,
        .budget = &task->budget,
        .host = &task_output_host,
        .arg = task,
    };

    if (*place == NULL && output_new(&options, place) == RIA_OK) {
        ria_list_push_back(&task->used, &(*place)->link);
        output_start(*place);
    }
    return *place;
}

/* False: the slice cannot go on at this row now. */
static bool add(struct task *task, struct output *output, struct output_record *record)
{
    if (output != NULL) {
        output_refresh(output);
    }
    if (output == NULL || output->state != OUTPUT_READY) {
        task->blocked_by = output;
        task->short_of_memory = output == NULL;
        return false;
    }
    if (!task_has_room(task)) {
        return false;
    }
    task->short_of_memory = output_add(output, record) != RIA_OK;
    return !task->short_of_memory;
}

static struct output_record output_record_of(const struct batch_record *input)
{
    return (struct output_record){
        .source_offset = input->offset,
        .timestamp_ms = input->timestamp_ms,
        .headers = input->headers,
    };
}

static void note_failure(struct task *task, const struct batch_record *input, const char *reason)
{
    char text[TASK_TEXT_SIZE];

    (void)snprintf(
        text,
        sizeof(text),
        "partition %" PRId32 ", offset %" PRId64 ": %s",
        task->options.lease->partition,
        input->offset,
        reason
    );
    task_note(task, text);
}

static bool row_failed(void *arg, uint32_t row, const char *reason)
{
    struct task *task = arg;
    const struct batch_record *input = &task->rows[task->row_at + row];
    struct output_record record = output_record_of(input);
    size_t size_max = (size_t)task->topics[TASK_ERRORS]->config.max_message_bytes;

    record.headers = RIA_SLICE_NULL;
    record.key = input->key;
    struct output *output =
        output_to(task, TASK_ERRORS, partition_of(task, TASK_ERRORS, input->key));
    if (input->key.size + FAILURE_BATCH_OVERHEAD + FAILURE_RECORD_SIZE_MIN > size_max) {
        record.key = RIA_SLICE_NULL; /* the partition stays the key's */
    }
    if (output == NULL || failure_record_build(
                              &task->failure,
                              task->source.options.partition->topic->name,
                              task->options.lease->partition,
                              input,
                              reason,
                              size_max - FAILURE_BATCH_OVERHEAD - record.key.size
                          ) != RIA_OK) {
        task->short_of_memory = true;
        return false;
    }
    record.value = ria_buf_slice(&task->failure);
    if (!add(task, output, &record)) {
        return false;
    }
    task->done.errors++;
    task->options.metrics->errors.value++;
    note_failure(task, input, reason);
    return true;
}

static bool row_passed(void *arg, uint32_t row, struct ria_slice key, struct ria_slice value)
{
    struct task *task = arg;
    struct output_record record = output_record_of(&task->rows[task->row_at + row]);

    record.key = key;
    record.value = value;
    struct output *output = output_to(task, TASK_DERIVED, partition_of(task, TASK_DERIVED, key));
    if (output != NULL && !output_fits(output, &record)) {
        return row_failed(task, row, "the derived record is larger than max.message.bytes allows");
    }
    if (!add(task, output, &record)) {
        return false;
    }
    task->done.records_out++;
    task->options.metrics->records_out.value++;
    return true;
}

/* Get the next rows. False: there are none. */
static bool next_rows(struct task *task)
{
    char text[TASK_TEXT_SIZE];

    task->row_at = 0;
    task->row_count = 0;
    ria_err err = source_next(&task->source, &task->rows, &task->row_count);
    if (err != RIA_OK) {
        (void)snprintf(
            text,
            sizeof(text),
            "the source's records from offset %" PRId64 " on cannot be read: %s",
            task->source.next_offset,
            ria_err_text(err)
        );
        task_pause(task, err, text);
        return false;
    }
    if (task->row_count == 0) {
        task->done.position = ria_max_i64(task->done.position, task->source.next_offset);
        return false;
    }
    return true;
}

bool task_run_slice(struct task *task)
{
    static const struct sql_sink sink = {.record = row_passed, .failed = row_failed};

    if (task->blocked_by != NULL && task->blocked_by->state != OUTPUT_READY) {
        return false;
    }
    task->blocked_by = NULL;
    task->short_of_memory = false;
    if (task->row_at == task->row_count && !next_rows(task)) {
        return false;
    }
    uint32_t processed = sql_engine_run(
        task->options.engine,
        task->options.lease->partition,
        task->rows + task->row_at,
        task->row_count - task->row_at,
        &sink,
        task
    );
    budget_keep_small(&task->failure);
    task->row_at += processed;
    task->done.records_in += processed;
    task->options.metrics->records_in.value += processed;
    if (processed > 0) {
        task->done.position = task->rows[task->row_at - 1].offset + 1;
        task->trouble = RIA_OK;
    }
    if (task->short_of_memory) {
        task_pause(task, RIA_ERR_NOMEM, ria_err_text(RIA_ERR_NOMEM));
        return false;
    }
    return true;
}

void task_flush(struct task *task, bool only_idle)
{
    RIA_LIST_FOREACH (it, &task->used) {
        struct output *output = RIA_CONTAINER(it, struct output, link);
        if (output->state != OUTPUT_READY) {
            continue;
        }
        ria_err err = only_idle ? output_flush_if_idle(output) : output_flush(output);
        if (err != RIA_OK) {
            task->fault = err;
            (void)snprintf(task->fault_text, sizeof(task->fault_text), "%s", ria_err_text(err));
            task_wake(task);
            return;
        }
    }
}
