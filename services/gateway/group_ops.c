#include "services/gateway/group_ops.h"

#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/group_request.h"
#include "schemas/gen/group_response.h"

enum {
    PAUSE_US = 100 * 1000, /* after a failure */
    PUT_BACK_US = 10 * 1000,
    ATTEMPT_MS = 3000,
    ARENA_MAX = 64 * 1024 * 1024,
};

typedef struct group_request_group_operation encoded_operation;
typedef struct group_response_group_result group_result;

static void flush_due(struct ria_timer *timer, void *arg);

/* --- life --------------------------------------------------------------------------------------*/

static void
set_kind(struct group_ops *ops, group_op_kind kind, const char *body, const char *result)
{
    ops->bodies[kind] = schema_find(body);
    ops->results[kind] = schema_find(result);
    RIA_ASSERT(ops->bodies[kind] != NULL);
    RIA_ASSERT(ops->results[kind] != NULL);
}

void group_ops_init(struct group_ops *ops, const struct ria_env *env, struct cluster *cluster)
{
    *ops = (struct group_ops){.env = env, .cluster = cluster};
    outcalls_init(&ops->outcalls, env->rpc);
    ria_list_init(&ops->queue);
    ria_list_init(&ops->ended);
    ria_timer_init(&ops->flush, flush_due, ops);
    for (size_t i = 0; i < GROUP_OPS_FLIGHTS; i++) {
        ops->flights[i].ops = ops;
        ria_list_init(&ops->flights[i].list);
    }
    set_kind(ops, GROUP_OP_READ, "GroupRead", "GroupReadResult");
    set_kind(ops, GROUP_OP_COMMIT, "GroupCommit", "GroupCommitResult");
    set_kind(ops, GROUP_OP_MEMBER, "GroupMember", "GroupMemberResult");
    set_kind(ops, GROUP_OP_LEAVE, "GroupLeave", "GroupLeaveResult");
    set_kind(ops, GROUP_OP_RESET, "GroupReset", "GroupResetResult");
    set_kind(ops, GROUP_OP_DELETE, "GroupDelete", "GroupDeleteResult");
    set_kind(ops, GROUP_OP_QUEUE_OPEN, "QueueOpen", "QueueOpenResult");
    set_kind(ops, GROUP_OP_QUEUE_RECEIVE, "QueueReceive", "QueueReceiveResult");
    set_kind(ops, GROUP_OP_QUEUE_SETTLE, "QueueSettle", "QueueSettleResult");
    set_kind(ops, GROUP_OP_QUEUE_ACK, "QueueAck", "QueueAckResult");
}

static void forget(struct ria_list *list)
{
    while (ria_list_pop_front(list) != NULL) {
    }
}

void group_ops_fini(struct group_ops *ops)
{
    outcalls_fini(&ops->outcalls);
    ria_timer_stop(ops->env->timers, &ops->flush);
    forget(&ops->queue);
    forget(&ops->ended);
    for (size_t i = 0; i < GROUP_OPS_FLIGHTS; i++) {
        forget(&ops->flights[i].list);
    }
}

/* --- ending ------------------------------------------------------------------------------------*/

static struct group_op *op_at(struct ria_list *link)
{
    return RIA_CONTAINER(link, struct group_op, link);
}

/* op is in no list. */
static void finish(struct group_ops *ops, struct group_op *op, struct group_op_result *result)
{
    ops->numbers.operations.value++;
    result->repeated = op->sent;
    result->asked_us = op->sent_us;
    op->done(op, result);
}

/* Without an answer: the error says whether it may have been done. */
static void finish_unanswered(struct group_ops *ops, struct group_op *op)
{
    struct group_op_result result = {.err = op->err, .text = ""};

    if (op->sent) {
        result.err = RIA_ERR_UNKNOWN_OUTCOME;
        result.text = "the coordinator did not answer: it may or may not have been done";
    } else if (op->err == RIA_ERR_TIMEOUT || op->err == RIA_ERR_DISCONNECTED) {
        result.err = RIA_ERR_DISCONNECTED;
        result.text = "the coordinator does not answer; nothing was done";
    } else if (op->err == RIA_ERR_BUSY) {
        result.text = "too much work on groups is waiting; nothing was done";
    }
    finish(ops, op, &result);
}

static void finish_all(struct group_ops *ops, struct ria_list *list, ria_err err, const char *text)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(list)) != NULL) {
        struct group_op_result result = {.err = err, .text = text};
        finish(ops, op_at(link), &result);
    }
}

static void tell_ended(struct group_ops *ops)
{
    struct ria_list ended;
    struct ria_list *link;

    ria_list_init(&ended);
    ria_list_splice(&ended, &ops->ended);
    while ((link = ria_list_pop_front(&ended)) != NULL) {
        finish_unanswered(ops, op_at(link));
    }
}

int64_t group_op_until_ms(
    const struct group_ops *ops, const struct group_op_result *result, int64_t left_ms
)
{
    int64_t passed_us = ria_clock_mono_us(ops->env->clock) - result->asked_us;

    return ria_clock_wall_ms(ops->env->clock) - (passed_us + 999) / 1000 + left_ms;
}

/* Those that wait too long. */
static void expire(struct group_ops *ops)
{
    int64_t now_us = ria_clock_mono_us(ops->env->clock);

    RIA_LIST_FOREACH (link, &ops->queue) {
        if (op_at(link)->deadline_us <= now_us) {
            ria_list_remove(link);
            ops->numbers.waiting.value--;
            ria_list_push_back(&ops->ended, link);
        }
    }
    tell_ended(ops);
}

/* When the next request may be sent, if a flight is free for it. */
static int64_t may_send_us(const struct group_ops *ops)
{
    int64_t at_us = ops->pause_until_us;

    for (size_t i = 0; i < GROUP_OPS_FLIGHTS; i++) {
        if (ops->flights[i].call != NULL && !ops->flights[i].is_full) {
            at_us = ria_max_i64(at_us, ops->flights[i].sent_us + GROUP_OPS_PATIENCE_US);
        }
    }
    return at_us;
}

/* Anew: it may be earlier than it was. */
static void schedule(struct group_ops *ops)
{
    int64_t left_us = may_send_us(ops) - ria_clock_mono_us(ops->env->clock);

    ria_timer_start(ops->env->timers, &ops->flush, ria_max_i64(left_us, 0));
}

/* --- answers -----------------------------------------------------------------------------------*/

/* What was under way gets no answer: `err` says whether it may have been done. */
static void send_again(struct group_ops *ops, struct ria_list *list, ria_err err)
{
    bool maybe_done = !ria_err_is_definite(err);
    struct ria_list again;
    struct ria_list *link;

    ria_list_init(&again);
    while ((link = ria_list_pop_front(list)) != NULL) {
        struct group_op *op = op_at(link);
        op->err = err;
        op->sent = op->sent || maybe_done;
        if (maybe_done && !op->repeat) {
            ria_list_push_back(&ops->ended, link);
        } else {
            ria_list_push_back(&again, link);
            ops->numbers.waiting.value++;
            ops->numbers.repeated.value++;
        }
    }
    ria_list_splice(&again, &ops->queue); /* in front of those that came later */
    ria_list_splice(&ops->queue, &again);
    cluster_coordinator_failed(ops->cluster);
    ops->pause_until_us = ria_clock_mono_us(ops->env->clock) + PAUSE_US;
}

/* The answer had no room for its result. */
static void put_back(struct group_ops *ops, struct group_op *op)
{
    op->err = RIA_ERR_BUSY;
    ops->numbers.waiting.value++;
    ops->numbers.repeated.value++;
    ops->pause_until_us = ria_clock_mono_us(ops->env->clock) + PUT_BACK_US;
    ria_list_push_back(&ops->queue, &op->link);
}

static void answer_one(struct group_ops *ops, struct group_op *op, const group_result *from)
{
    char text[RIA_ERROR_TEXT_MAX + 1];
    struct group_op_result result = {.err = ria_err_from_wire(from->error_code), .text = text};
    const struct schema_message *message = ops->results[op->kind];
    struct ria_arena arena;

    if (result.err == RIA_ERR_BUSY) {
        put_back(ops, op);
        return;
    }
    ria_arena_init(&arena, ARENA_MAX);
    text[0] = '\0';
    if (result.err == RIA_OK) {
        void *body = ria_arena_alloc(&arena, message->struct_size);
        result.err = body == NULL ? RIA_ERR_NOMEM
                                  : envelope_decode_body(message, 0, from->body, &arena, body);
        result.body = result.err == RIA_OK ? body : NULL;
        op->sent = op->sent || result.err != RIA_OK; /* done, but who knows what came of it */
    } else {
        size_t size = ria_min_size(from->error_text.size, RIA_ERROR_TEXT_MAX);
        if (size > 0) {
            memcpy(text, from->error_text.data, size);
        }
        text[size] = '\0';
    }
    finish(ops, op, &result);
    ria_arena_fini(&arena);
}

static ria_err open_answer(
    const struct ria_msg *reply,
    struct ria_arena *arena,
    struct group_response *response,
    char text[RIA_ERROR_TEXT_MAX + 1]
)
{
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload;

    RIA_TRY(envelope_open_reply(
        reply, API_GROUP, &header, &body, &payload, text, RIA_ERROR_TEXT_MAX + 1
    ));
    return envelope_decode_body(
        schema_response(API_GROUP), header.api_version, body, arena, response
    );
}

/* The request as a whole was refused for now, or nobody knows what became of it. */
static bool may_pass(ria_err err)
{
    return err == RIA_ERR_BUSY || err == RIA_ERR_SHUTDOWN || err == RIA_ERR_NO_LEADER ||
           err == RIA_ERR_UNKNOWN_OUTCOME || err == RIA_ERR_TIMEOUT;
}

/* Takes reply. The flight's operations are in list, of which there are count. */
static void
answered(struct group_ops *ops, struct ria_list *list, uint32_t count, struct ria_msg *reply)
{
    char text[RIA_ERROR_TEXT_MAX + 1] = "";
    struct group_response response;
    struct ria_arena arena;

    ria_arena_init(&arena, ARENA_MAX);
    ria_err err = open_answer(reply, &arena, &response, text);
    if (err == RIA_OK && response.results_count != count) {
        err = RIA_ERR_MALFORMED;
    }
    if (err == RIA_OK) {
        for (uint32_t i = 0; i < count; i++) {
            struct ria_list *link = ria_list_pop_front(list);
            RIA_ASSERT(link != NULL);
            answer_one(ops, op_at(link), &response.results[i]);
        }
    } else if (may_pass(err)) {
        send_again(ops, list, err);
    } else {
        finish_all(ops, list, err, text);
    }
    ria_arena_fini(&arena);
    ria_msg_free(reply);
}

static void flight_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct group_flight *flight = arg;
    struct group_ops *ops = flight->ops;
    struct ria_list list;
    uint32_t count = flight->count;

    /* Free at once: what the callbacks start may use it in this turn. */
    flight->call = NULL;
    flight->count = 0;
    ria_list_init(&list);
    ria_list_splice(&list, &flight->list);
    if (err == RIA_OK) {
        answered(ops, &list, count, reply);
    } else {
        send_again(ops, &list, err);
    }
    expire(ops);
    if (!ria_list_is_empty(&ops->queue)) {
        schedule(ops);
    }
}

/* --- sending -----------------------------------------------------------------------------------*/

/* RIA_OK: it was added. RIA_ERR_LIMIT: the request is full. */
static ria_err encode(
    const struct group_ops *ops,
    const struct group_op *op,
    struct ria_arena *arena,
    size_t *room,
    encoded_operation *out
)
{
    const struct schema_message *message = ops->bodies[op->kind];
    size_t size = message->size(op->body, 0);
    size_t answer = op->answer_size > GROUP_OP_ANSWER_MIN ? op->answer_size : GROUP_OP_ANSWER_MIN;
    size_t cost = ria_min_size(size > answer ? size : answer, GROUP_OPS_BYTES_MAX);

    if (size > GROUP_OP_SIZE_MAX) {
        return RIA_ERR_TOO_LARGE;
    }
    if (cost > *room) {
        return RIA_ERR_LIMIT;
    }
    uint8_t *bytes = ria_arena_alloc(arena, size);
    if (bytes == NULL) {
        return RIA_ERR_NOMEM;
    }
    struct ria_writer w = ria_writer_of(bytes, size);
    message->encode(op->body, 0, &w);
    RIA_ASSERT(w.pos == size);
    *room -= cost;
    out->kind = (int8_t)op->kind;
    out->body = ria_slice_of(bytes, size);
    return RIA_OK;
}

/* Moves operations from the queue into the flight and the request. */
static void fill(
    struct group_ops *ops,
    struct group_flight *flight,
    struct ria_arena *arena,
    struct group_request *request
)
{
    size_t room = GROUP_OPS_BYTES_MAX;

    RIA_LIST_FOREACH (link, &ops->queue) {
        struct group_op *op = op_at(link);
        if (request->operations_count == GROUP_OPS_BATCH_MAX) {
            break;
        }
        ria_err err =
            encode(ops, op, arena, &room, &request->operations[request->operations_count]);
        if (err == RIA_ERR_LIMIT) {
            break;
        }
        ria_list_remove(link);
        ops->numbers.waiting.value--;
        if (err != RIA_OK) {
            op->err = err;
            ria_list_push_back(&ops->ended, link);
            continue;
        }
        request->operations_count++;
        op->sent_us = ria_clock_mono_us(ops->env->clock);
        ria_list_push_back(&flight->list, link);
    }
    flight->count = request->operations_count;
    flight->is_full = !ria_list_is_empty(&ops->queue);
}

static uint32_t attempt_ms(const struct group_ops *ops, const struct group_flight *flight)
{
    int64_t now_us = ria_clock_mono_us(ops->env->clock);
    int64_t left_us = 0;

    RIA_LIST_FOREACH (link, &flight->list) {
        left_us = ria_max_i64(left_us, op_at(link)->deadline_us - now_us);
    }
    return (uint32_t)ria_max_i64(ria_min_i64(left_us / 1000, ATTEMPT_MS), 1);
}

static void send(struct group_ops *ops, struct group_flight *flight)
{
    struct group_request request;
    struct ria_arena arena;

    ria_arena_init(&arena, ARENA_MAX);
    group_request_init(&request);
    request.operations = ria_arena_alloc_array(
        &arena,
        ria_min_size((size_t)ops->numbers.waiting.value, GROUP_OPS_BATCH_MAX),
        sizeof(*request.operations)
    );
    if (request.operations != NULL) {
        fill(ops, flight, &arena, &request);
    } else {
        ops->pause_until_us = ria_clock_mono_us(ops->env->clock) + PAUSE_US;
    }
    if (flight->count > 0) {
        uint32_t timeout_ms = attempt_ms(ops, flight);
        struct ria_msg *msg = envelope_request(API_GROUP, 0, -1, timeout_ms, &request, 0, NULL);
        const char *address = cluster_coordinator(ops->cluster);
        flight->sent_us = ria_clock_mono_us(ops->env->clock);
        flight->call = outcall_start(&ops->outcalls, address, msg, timeout_ms, flight_done, flight);
        ops->numbers.requests.value++;
        if (flight->call == NULL) {
            flight->count = 0;
            send_again(ops, &flight->list, RIA_ERR_NOMEM);
        }
    }
    ria_arena_fini(&arena);
}

static void flush_due(struct ria_timer *timer, void *arg)
{
    struct group_ops *ops = arg;
    bool any_free = false;

    (void)timer;
    expire(ops);
    for (size_t i = 0; i < GROUP_OPS_FLIGHTS; i++) {
        bool may_ask = may_send_us(ops) <= ria_clock_mono_us(ops->env->clock);
        if (may_ask && ops->flights[i].call == NULL && !ria_list_is_empty(&ops->queue)) {
            send(ops, &ops->flights[i]);
        }
        any_free = any_free || ops->flights[i].call == NULL;
    }
    tell_ended(ops);
    /* With all flights under way the first that returns goes on. */
    if (any_free && !ria_list_is_empty(&ops->queue)) {
        schedule(ops);
    }
}

void group_op_start(struct group_ops *ops, struct group_op *op)
{
    RIA_ASSERT(op->done != NULL);
    RIA_ASSERT(op->kind > 0 && (int)op->kind < GROUP_OP_KIND_END);
    RIA_ASSERT(ops->bodies[op->kind] != NULL);

    op->sent = false;
    op->sent_us = 0;
    op->err = RIA_ERR_DISCONNECTED;
    if (ops->numbers.waiting.value >= GROUP_OPS_QUEUE_MAX) {
        op->err = RIA_ERR_BUSY;
        ops->numbers.refused.value++;
        ria_list_push_back(&ops->ended, &op->link);
    } else {
        ops->numbers.waiting.value++;
        ria_list_push_back(&ops->queue, &op->link);
    }
    if (!ops->flush.active) {
        schedule(ops);
    }
}
