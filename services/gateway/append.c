#include "services/gateway/append.h"

#include "common/assert.h"

static void refuse(
    struct gateway *gateway,
    struct request *request,
    ria_err err,
    uint32_t index,
    const struct cluster_topic *topic
)
{
    struct failure failure;

    if (err == RIA_ERR_TOO_LARGE) {
        failure_of_err(&failure, err, "");
        failure_set(
            &failure,
            413,
            "record_too_large",
            "value",
            "record %u is larger than a batch of topic %s may be (max.message.bytes = %lld); "
            "nothing was stored",
            index,
            topic->name,
            (long long)topic->config.max_message_bytes
        );
    } else if (err == RIA_ERR_UNKNOWN_PARTITION) {
        failure_set(
            &failure,
            404,
            "unknown_partition",
            "partition",
            "record %u: topic %s has partitions 0 to %d; nothing was stored",
            index,
            topic->name,
            (int)topic->partition_count - 1
        );
        failure.v2_code = 40402;
    } else if (err == RIA_ERR_BUSY) {
        failure_of_err(
            &failure,
            err,
            "the record's partition has no leader that takes records at the moment, and as much as "
            "may waits for such ones; nothing was stored, try again"
        );
        gateway->budget->refused.value++;
    } else {
        failure_of_err(&failure, err, "");
    }
    failure.outcome = OUTCOME_NOT_STORED;
    request_fail(request, &failure);
}

static void call_done(struct produce_call *call)
{
    struct append *append = call->arg;
    int64_t now_us = ria_clock_mono_us(append->gateway->env->clock);

    ria_histogram_record(
        &append->gateway->numbers.produce_us, now_us - append->request->received_us
    );
    append->reply(append);
}

/* Every record of a request is checked before the first is taken. */
static bool check_all(struct gateway *gateway, struct request *request, struct cluster_topic *topic)
{
    const struct record_set *set = &gateway->records;

    for (uint32_t i = 0; i < set->count; i++) {
        ria_err err = produce_check(gateway->produce, topic, &set->records[i]);
        if (err != RIA_OK) {
            refuse(gateway, request, err, i, topic);
            return false;
        }
    }
    return true;
}

/* A client's own batch that cannot be one. */
static void refuse_direct(struct append *append, ria_err err)
{
    struct failure failure;

    produce_abort(append->gateway->produce, &append->call);
    if (err == RIA_ERR_INVALID) {
        failure_set(
            &failure,
            400,
            "invalid",
            "Producer-Seq",
            "the records of a numbered request must all go to one partition; this one's go to "
            "several: name the partition, or send records of one key"
        );
        failure.outcome = OUTCOME_NOT_STORED;
    } else if (err == RIA_ERR_TOO_LARGE) {
        failure_set(
            &failure,
            413,
            "record_too_large",
            "Producer-Seq",
            "the records of a numbered request must fit into one batch of %lld bytes "
            "(max.message.bytes); nothing was stored",
            (long long)append->call.topic->config.max_message_bytes
        );
        failure.outcome = OUTCOME_NOT_STORED;
    } else {
        failure_of_write(&failure, err, "");
    }
    request_fail(append->request, &failure);
}

static struct append *new_append(struct gateway *gateway, struct request *request)
{
    uint32_t count = gateway->records.count;
    struct append *append = ria_arena_alloc(&request->arena, sizeof(*append));
    struct produce_result *results =
        ria_arena_alloc_array(&request->arena, count, sizeof(*results));

    if (append == NULL || results == NULL) {
        return NULL;
    }
    append->gateway = gateway;
    append->request = request;
    append->call.results = results;
    append->call.capacity = count;
    append->call.done = call_done;
    append->call.arg = append;
    return append;
}

void append_records(
    struct gateway *gateway,
    struct request *request,
    struct cluster_topic *topic,
    const struct produce_identity *identity,
    bool is_single,
    append_reply_fn reply
)
{
    const struct record_set *set = &gateway->records;
    struct failure failure;

    RIA_ASSERT(set->count > 0);
    if (!check_all(gateway, request, topic)) {
        return;
    }
    if (!budget_has(gateway->budget, request->body.size)) {
        gateway->budget->refused.value++;
        failure_overloaded(&failure);
        request_fail(request, &failure);
        return;
    }
    struct append *append = new_append(gateway, request);
    ria_err err = append == NULL ? RIA_ERR_NOMEM : RIA_OK;
    if (err == RIA_OK) {
        append->reply = reply;
        append->is_single = is_single;
        append->call.topic = topic;
        produce_begin(gateway->produce, &append->call);
        if (identity != NULL) {
            err = produce_begin_direct(gateway->produce, &append->call, identity);
        }
    }
    if (err != RIA_OK) {
        refuse(gateway, request, err, 0, topic);
        return;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        err = produce_add(gateway->produce, &append->call, &set->records[i]);
        if (err != RIA_OK && identity != NULL) {
            refuse_direct(append, err);
            return;
        }
    }
    request_drop_body(request);
    if (!produce_end(gateway->produce, &append->call)) {
        call_done(&append->call);
    }
}

void append_failure(
    const struct append *append, const struct produce_result *result, struct failure *out
)
{
    failure_of_write(out, result->err, append->call.text);
}

const struct produce_result *append_first_error(const struct append *append)
{
    for (uint32_t i = 0; i < append->call.count; i++) {
        if (append->call.results[i].err != RIA_OK) {
            return &append->call.results[i];
        }
    }
    return NULL;
}

int append_status(const struct append *append)
{
    const struct produce_result *error = append_first_error(append);
    struct failure failure;

    if (error == NULL) {
        return 200;
    }
    if (append->call.failed_count < append->call.count) {
        return 207;
    }
    append_failure(append, error, &failure);
    return failure.status;
}
