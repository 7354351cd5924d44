/* POST /v1/queues/{topic}/{group}/ack, nack, extend and reject: what becomes of records that a
 * consumer has.
 *
 * One QueueAck for all locks of a call. Each lock is answered by itself: it is done if all of its
 * records are. A lock that is too late is never a success, and if the coordinator's answer is lost
 * nobody knows, which is said. */
#include "common/json.h"

#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_ack_result.h"

#include "services/gateway/gateway.h"
#include "services/gateway/group_fetch.h"
#include "services/gateway/queue_input.h"

struct queue_word {
    struct gateway *gateway;
    struct request *request;
    struct ria_slice group;
    struct cluster_topic *topic;
    queue_verb verb;
    int64_t delay_ms;
    struct ria_slice reason;
    struct queue_named_lock *locks;
    uint32_t count;
    struct queue_ack body;
    struct group_op op;
};

typedef struct queue_ack_result_queue_acked acked;

/* What came of a lock: of its ranges the first that failed. */
struct outcome {
    const acked *failed; /* NULL: done */
    uint32_t range;
    int64_t left_ms;
    bool some;     /* others of its ranges were done */
    bool finished; /* those that failed did because their records are finished */
};

static struct outcome outcome_of(const struct queue_lock *lock, const acked *said)
{
    struct outcome outcome = {.left_ms = -1, .finished = true};
    uint32_t failed = 0;

    for (uint32_t i = 0; i < lock->count; i++) {
        if (said[i].error_code == 0) {
            outcome.left_ms = said[i].left_ms;
            continue;
        }
        outcome.finished = outcome.finished && said[i].finished;
        if (failed++ == 0) {
            outcome.failed = &said[i];
            outcome.range = i;
        }
    }
    outcome.some = failed > 0 && failed < lock->count;
    return outcome;
}

/* --- answering ---------------------------------------------------------------------------------*/

static bool is_late(const struct outcome *outcome)
{
    return outcome->failed->error_code == RIA_ERR_CONFLICT;
}

static ria_err
render_failed(const struct queue_lock *lock, const struct outcome *outcome, struct ria_buf *out)
{
    struct failure failure;
    struct ria_slice text = outcome->failed->error_text;

    if (is_late(outcome)) {
        failure_set(&failure, 409, "late", NULL, RIA_SLICE_FMT, RIA_SLICE_ARG(text));
    } else {
        failure_of_err(&failure, (ria_err)outcome->failed->error_code, (const char *)text.data);
    }
    RIA_TRY(ria_buf_append_str(out, ",\"error\":{"));
    RIA_TRY(failure_render_members(&failure, out));
    RIA_TRY(ria_buf_append_str(out, "}"));
    return ria_buf_printf(
        out,
        ",\"partition\":%d,\"offset\":%lld",
        (int)lock->ranges[outcome->range].partition,
        (long long)lock->ranges[outcome->range].first
    );
}

static ria_err render_lock(
    const struct queue_word *word,
    const struct group_op_result *answer,
    const struct queue_named_lock *named,
    const struct outcome *outcome,
    struct ria_buf *out
)
{
    RIA_TRY(ria_buf_append_str(out, "\n{\"lock\":"));
    RIA_TRY(ria_json_append_string(out, named->text));
    if (outcome->failed == NULL) {
        RIA_TRY(ria_buf_append_str(out, ",\"status\":\"done\""));
    } else {
        const char *status = outcome->some ? "partly" : is_late(outcome) ? "late" : "failed";
        RIA_TRY(ria_buf_printf(out, ",\"status\":\"%s\"", status));
        RIA_TRY(render_failed(&named->lock, outcome, out));
        RIA_TRY(outcome->finished ? ria_buf_append_str(out, ",\"finished\":true") : RIA_OK);
    }
    if (word->verb == QUEUE_EXTEND && outcome->left_ms >= 0) {
        int64_t until_ms = group_op_until_ms(&word->gateway->group_ops, answer, outcome->left_ms);
        RIA_TRY(ria_buf_printf(out, ",\"locked_until\":%lld", (long long)until_ms));
    }
    return ria_buf_append_str(out, "}");
}

static ria_err render_error(struct ria_buf *out)
{
    struct failure failure;

    failure_set(
        &failure,
        409,
        "late",
        "locks",
        "none of the locks counts any more: their time was over, or they were used before; the "
        "records are finished, or delivered again"
    );
    RIA_TRY(ria_buf_append_str(out, ",\"error\":{"));
    RIA_TRY(failure_render_members(&failure, out));
    return ria_buf_append_str(out, "}");
}

static ria_err render(
    const struct queue_word *word,
    const struct group_op_result *answer,
    uint32_t done,
    bool nothing,
    struct ria_buf *out
)
{
    const struct queue_ack_result *result = answer->body;
    const acked *said = result->entries;

    RIA_TRY(ria_buf_printf(out, "{\"done\":%u,\"failed\":%u", done, word->count - done));
    if (nothing) {
        RIA_TRY(render_error(out));
    }
    if (done == word->count && word->verb != QUEUE_EXTEND) {
        return ria_buf_append_str(out, "}\n");
    }
    RIA_TRY(ria_buf_append_str(out, ",\"locks\":["));
    for (uint32_t i = 0; i < word->count; said += word->locks[i++].lock.count) {
        struct outcome outcome = outcome_of(&word->locks[i].lock, said);
        RIA_TRY(i > 0 ? ria_buf_append_str(out, ",") : RIA_OK);
        RIA_TRY(render_lock(word, answer, &word->locks[i], &outcome, out));
    }
    return ria_buf_append_str(out, "\n]}\n");
}

static void respond(struct queue_word *word, const struct group_op_result *answer)
{
    const struct queue_ack_result *result = answer->body;
    const acked *said = result->entries;
    struct ria_buf out;
    uint32_t done = 0;
    uint32_t late = 0;

    for (uint32_t i = 0; i < word->count; said += word->locks[i++].lock.count) {
        struct outcome outcome = outcome_of(&word->locks[i].lock, said);
        done += outcome.failed == NULL;
        late += outcome.failed != NULL && !outcome.some && is_late(&outcome);
    }
    bool nothing = late == word->count;
    word->gateway->numbers.queue_acks.value += done;
    word->gateway->numbers.queue_late.value += word->count - done;
    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = render(word, answer, done, nothing, &out);
    int status = done == word->count ? 200 : nothing ? 409 : 207;
    gateway_respond_json(word->request, status, err, &out);
}

static void said_all(struct group_op *op, const struct group_op_result *result)
{
    struct queue_word *word = op->arg;
    const struct queue_ack_result *said = result->body;
    struct failure failure;

    if (result->err == RIA_OK && said->entries_count != word->body.entries_count) {
        request_fail_err(word->request, RIA_ERR_MALFORMED, "");
        return;
    }
    if (result->err != RIA_OK) {
        group_failure(&failure, result);
        if (result->err == RIA_ERR_NOT_FOUND) {
            failure_set(&failure, 404, "not_found", "group", "there is no such queue");
        }
        request_fail(word->request, &failure);
        return;
    }
    respond(word, result);
    if (word->verb == QUEUE_REJECT) {
        queue_bury_sweep(&word->gateway->queue_burials, word->group, word->topic);
    }
}

/* --- asking ------------------------------------------------------------------------------------*/

static ria_err build(struct queue_word *word, uint32_t ranges)
{
    struct queue_ack *body = &word->body;

    queue_ack_init(body);
    body->group = word->group;
    body->topic_id = word->topic->id;
    body->entries = ria_arena_alloc_array(&word->request->arena, ranges, sizeof(*body->entries));
    if (body->entries == NULL) {
        return ria_arena_err(&word->request->arena);
    }
    for (uint32_t i = 0; i < word->count; i++) {
        for (uint32_t k = 0; k < word->locks[i].lock.count; k++) {
            const struct queue_range *range = &word->locks[i].lock.ranges[k];
            struct queue_ack_queue_ack_entry *entry = &body->entries[body->entries_count++];
            queue_ack_queue_ack_entry_init(entry);
            entry->partition = range->partition;
            entry->lease_id = range->lease;
            entry->first = range->first;
            entry->last = range->last;
            entry->action = (int8_t)word->verb;
            entry->delay_ms = word->delay_ms;
            entry->reason = word->reason;
        }
    }
    return RIA_OK;
}

static void send(struct queue_word *word)
{
    struct gateway *gateway = word->gateway;
    uint32_t ranges = 0;

    for (uint32_t i = 0; i < word->count; i++) {
        ranges += word->locks[i].lock.count;
    }
    ria_err err = build(word, ranges);
    if (err != RIA_OK) {
        request_fail_err(word->request, err, "");
        return;
    }
    word->op = (struct group_op){
        .kind = GROUP_OP_QUEUE_ACK,
        .body = &word->body,
        .answer_size = (size_t)ranges * 64,
        .deadline_us = ria_clock_mono_us(gateway->env->clock) +
                       (int64_t)gateway->options.request_timeout_ms * 1000,
        /* Said twice, an ack would be late the second time, and nobody could tell. */
        .repeat = word->verb == QUEUE_EXTEND,
        .done = said_all,
        .arg = word,
    };
    group_op_start(&gateway->group_ops, &word->op);
}

static bool take_reason(struct queue_input *input, struct queue_word *word)
{
    struct ria_slice text;

    word->reason = RIA_SLICE_LITERAL("rejected");
    if (word->verb != QUEUE_REJECT) {
        word->reason = RIA_SLICE_EMPTY;
        return true;
    }
    if (!group_input_text(&input->in, "reason", &text)) {
        return false;
    }
    if (text.size == 0) {
        return true;
    }
    const char *copy = ria_arena_strdup(&word->request->arena, text);
    if (copy == NULL) {
        request_fail_err(word->request, RIA_ERR_NOMEM, "");
        return false;
    }
    word->reason = ria_slice_of(copy, text.size);
    return group_input_name(word->request, "reason", word->reason);
}

static bool take_delay(struct queue_input *input, struct queue_word *word)
{
    struct group_input *in = &input->in;

    word->delay_ms = -1;
    switch (word->verb) {
    case QUEUE_FAILED:
        return group_input_i64(in, "delay_ms", 0, QUEUE_DELAY_MS_MAX, -1, &word->delay_ms);
    case QUEUE_EXTEND:
        return group_input_i64(
            in, "lock_ms", GROUP_LEASE_MS_MIN, GROUP_LEASE_MS_MAX, -1, &word->delay_ms
        );
    case QUEUE_DONE:
    case QUEUE_REJECT:
    case QUEUE_GIVE_BACK:
    case QUEUE_BURIED:
        break;
    }
    return true;
}

static void
say(struct gateway *gateway, struct request *request, queue_verb verb, const char *const *known)
{
    struct queue_word *word = ria_arena_alloc(&request->arena, sizeof(*word));
    struct queue_input input;

    if (word == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    if (!queue_input_open(&input, gateway, request, known)) {
        return;
    }
    word->gateway = gateway;
    word->request = request;
    word->group = input.in.group;
    word->topic = input.topic;
    word->verb = verb;
    bool fine = take_delay(&input, word) && take_reason(&input, word) &&
                queue_input_locks(&input, &word->locks, &word->count);
    queue_input_close(&input);
    if (fine) {
        send(word);
    }
}

void handle_queue_ack(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"locks", "lock", NULL};

    say(gateway, request, QUEUE_DONE, known);
}

void handle_queue_nack(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"locks", "lock", "delay_ms", NULL};

    say(gateway, request, QUEUE_FAILED, known);
}

void handle_queue_extend(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"locks", "lock", "lock_ms", NULL};

    say(gateway, request, QUEUE_EXTEND, known);
}

void handle_queue_reject(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"locks", "lock", "reason", NULL};

    say(gateway, request, QUEUE_REJECT, known);
}
