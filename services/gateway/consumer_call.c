#include "services/gateway/consumer_call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"
#include "common/codec.h"
#include "common/map.h"

#include "services/gateway/group_fetch.h"
#include "services/gateway/group_input.h"

enum {
    MARK_WAIT_US = 1000 * 1000,
    MARK_STEP_US = 20 * 1000,
    MEMBER_ANSWER_SIZE = 32 * 1024,
    VERSION_SIZE = 2,
};

_Static_assert(
    CONSUMER_TOPICS_MAX *(RIA_TOPIC_NAME_MAX + 2) + 512 <= CONSUMER_DETAIL_MAX,
    "names, a pattern of 256 bytes and numbers"
);

#define EPOCH_MARK ";epoch="

static void touch(struct consumer_call *call);

static const char *const answer_types[] = {
    TYPE_V2,
    "application/vnd.kafka+json",
    TYPE_JSON,
    NULL,
};

/* --- answers -----------------------------------------------------------------------------------*/

void consumer_respond(struct request *request, ria_err err, struct ria_buf *buf)
{
    const char *type = media_type_choose(request_header(request, "Accept"), answer_types);

    if (err != RIA_OK) {
        ria_buf_fini(buf);
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    request_respond_buf(request, 200, type == NULL ? TYPE_V2 : type, buf);
}

static void set_code(struct failure *failure, int code)
{
    failure->v2_code = code;
    failure->status = code >= 10000 ? code / 100 : code;
}

void consumer_fail_as(struct failure *failure)
{
    if (strcmp(failure->code, "not_found") == 0 || strcmp(failure->code, "fenced_member") == 0) {
        set_code(failure, 40403);
    } else if (strcmp(failure->code, "conflict") == 0) {
        set_code(failure, 40903);
    }
}

void consumer_fail_op(struct failure *failure, const struct group_op_result *result)
{
    group_failure(failure, result);
    consumer_fail_as(failure);
}

void consumer_fail(struct request *request, const struct group_op_result *result)
{
    struct failure failure;

    consumer_fail_op(&failure, result);
    request_fail(request, &failure);
}

void consumer_refuse(struct request *request, int code, const char *field, const char *fmt, ...)
{
    struct failure failure;
    char text[FAILURE_MESSAGE_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    failure_set(&failure, 0, "refused", field, "%s", text);
    set_code(&failure, code);
    request_fail(request, &failure);
}

/* --- the instance's record ---------------------------------------------------------------------*/

ria_err consumer_detail_encode(
    const struct consumer_instance *instance,
    uint8_t out[CONSUMER_DETAIL_MAX],
    struct ria_slice *out_detail
)
{
    int16_t version = CONSUMER_INSTANCE_VERSION_MAX;
    size_t size = VERSION_SIZE + consumer_instance_size(instance, version);
    struct ria_writer writer = {.data = out, .size = size, .pos = 0};

    if (size > CONSUMER_DETAIL_MAX) {
        return RIA_ERR_LIMIT;
    }
    ria_write_i16(&writer, version);
    consumer_instance_encode(instance, version, &writer);
    *out_detail = ria_slice_of(out, writer.pos);
    return RIA_OK;
}

ria_err consumer_detail_decode(
    struct ria_slice detail, struct ria_arena *arena, struct consumer_instance *out_instance
)
{
    const char *copy = ria_arena_strdup(arena, detail);
    struct consumer_instance instance;

    if (copy == NULL) {
        return ria_arena_err(arena);
    }
    struct ria_reader reader = ria_reader_of(ria_slice_of(copy, detail.size));
    int16_t version = ria_read_i16(&reader);
    RIA_TRY(reader.err);
    RIA_TRY(consumer_instance_decode(&instance, version, &reader, arena));
    *out_instance = instance;
    return RIA_OK;
}

int64_t consumer_detail_hash(struct ria_slice detail)
{
    return (int64_t)ria_hash_bytes(detail.data, detail.size);
}

struct ria_slice consumer_detail(struct consumer_call *call)
{
    struct ria_slice detail = RIA_SLICE_NULL;

    /* Pattern and names are bounded, the rest is numbers. */
    ria_err err = consumer_detail_encode(&call->instance, call->detail, &detail);
    RIA_ASSERT(err == RIA_OK);
    return detail;
}

/* --- the call ----------------------------------------------------------------------------------*/

struct consumer_call *consumer_call_new(struct gateway *gateway, struct request *request)
{
    struct consumer_call *call = ria_arena_alloc(&request->arena, sizeof(*call));

    if (call == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return NULL;
    }
    call->gateway = gateway;
    call->request = request;
    call->group = request->params[0];
    call->epoch = -1;
    return group_input_name(request, "group", call->group) ? call : NULL;
}

/* "name;epoch=7" */
static bool take_name(struct consumer_call *call, struct ria_slice text)
{
    size_t mark_size = strlen(EPOCH_MARK);
    size_t digits = 0;
    int64_t epoch = 0;

    while (digits < text.size && text.data[text.size - digits - 1] != '=') {
        digits++;
    }
    call->name = text;
    if (digits < text.size && text.size >= digits + mark_size) {
        size_t at = text.size - digits - mark_size;
        if (ria_slice_equal(ria_slice_sub(text, at, mark_size), RIA_SLICE_LITERAL(EPOCH_MARK)) &&
            request_parse_i64(ria_slice_sub(text, at + mark_size, digits), &epoch) && epoch >= 0 &&
            epoch <= INT32_MAX) {
            call->name = ria_slice_sub(text, 0, at);
            call->epoch = (int32_t)epoch;
        }
    }
    return group_input_name(call->request, "instance", call->name);
}

void consumer_op(
    struct consumer_call *call,
    group_op_kind kind,
    const void *body,
    size_t answer_size,
    group_op_fn done
)
{
    struct gateway *gateway = call->gateway;

    call->op = (struct group_op){
        .kind = kind,
        .body = body,
        .answer_size = answer_size,
        .deadline_us = ria_clock_mono_us(gateway->env->clock) +
                       (int64_t)gateway->options.request_timeout_ms * 1000,
        .repeat = true,
        .done = done,
        .arg = call,
    };
    group_op_start(&gateway->group_ops, &call->op);
}

static void paused(struct ria_timer *timer, void *arg)
{
    struct consumer_call *call = arg;

    (void)timer;
    ria_list_remove(&call->link);
    call->then(call);
}

void consumer_pause(struct consumer_call *call, int64_t delay_us, consumer_fn fn)
{
    call->then = fn;
    ria_timer_init(&call->timer, paused, call);
    ria_list_push_back(&call->gateway->consumer_calls, &call->link);
    ria_timer_start(call->gateway->env->timers, &call->timer, delay_us);
}

void consumer_calls_fini(struct gateway *gateway)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(&gateway->consumer_calls)) != NULL) {
        ria_timer_stop(
            gateway->env->timers, &RIA_CONTAINER(link, struct consumer_call, link)->timer
        );
    }
}

/* --- the member --------------------------------------------------------------------------------*/

static ria_err copy_member(struct consumer_call *call, const struct group_member_result *said)
{
    struct ria_arena *arena = &call->request->arena;

    RIA_TRY(consumer_detail_decode(said->detail, arena, &call->instance));
    call->detail_hash = consumer_detail_hash(said->detail);
    call->topics = ria_arena_alloc_array(arena, said->subscription_count, sizeof(*call->topics));
    call->assigned = ria_arena_alloc_array(arena, said->assignment_count, sizeof(*call->assigned));
    if (call->topics == NULL || call->assigned == NULL) {
        return ria_arena_err(arena);
    }
    if (said->subscription_count > 0) {
        memcpy(call->topics, said->subscription, said->subscription_count * sizeof(*call->topics));
    }
    if (said->assignment_count > 0) {
        memcpy(call->assigned, said->assignment, said->assignment_count * sizeof(*call->assigned));
    }
    call->topic_count = said->subscription_count;
    call->assigned_count = said->assignment_count;
    call->epoch = said->member_epoch;
    return RIA_OK;
}

bool consumer_take_member(struct consumer_call *call, const struct group_member_result *said)
{
    ria_err err = copy_member(call, said);

    if (err == RIA_ERR_NOMEM || err == RIA_ERR_LIMIT) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
    } else if (err != RIA_OK) {
        consumer_refuse(
            call->request,
            40403,
            "instance",
            "member \"" RIA_SLICE_FMT "\" of group \"" RIA_SLICE_FMT "\" is no consumer instance",
            RIA_SLICE_ARG(call->name),
            RIA_SLICE_ARG(call->group)
        );
    }
    return err == RIA_OK;
}

void consumer_member_init(struct group_member *member, const struct consumer_call *call)
{
    group_member_init(member);
    member->group = call->group;
    member->member = call->name;
    member->member_epoch = call->epoch;
    member->session_ms = call->gateway->options.consumer_session_ms;
    member->detail = RIA_SLICE_NULL;
    member->subscription = NULL;
    member->assignment = NULL;
}

struct group_member *consumer_member(struct consumer_call *call)
{
    consumer_member_init(&call->member, call);
    return &call->member;
}

void consumer_member_told(
    struct consumer_call *call, const struct group_op_result *result, consumer_fn fn
)
{
    if (result->err != RIA_OK) {
        consumer_fail(call->request, result);
    } else if (consumer_take_member(call, result->body)) {
        fn(call);
    }
}

void consumer_member_op(struct consumer_call *call, group_op_fn done)
{
    consumer_op(call, GROUP_OP_MEMBER, &call->member, MEMBER_ANSWER_SIZE, done);
}

static void member_told(struct group_op *op, const struct group_op_result *result)
{
    struct consumer_call *call = op->arg;

    consumer_member_told(call, result, call->then);
}

void consumer_member_send(struct consumer_call *call, consumer_fn fn)
{
    call->then = fn;
    consumer_member_op(call, member_told);
}

/* The first of a call. */
static void touched(struct group_op *op, const struct group_op_result *result)
{
    struct consumer_call *call = op->arg;

    if (result->err != RIA_OK) {
        consumer_fail(call->request, result);
    } else if (!consumer_take_member(call, result->body)) {
        return;
    } else if (call->instance.answering != 0 && ria_clock_mono_us(call->gateway->env->clock) < call->mark_until_us) {
        consumer_pause(call, MARK_STEP_US, touch);
    } else {
        call->opened(call);
    }
}

static void touch(struct consumer_call *call)
{
    (void)consumer_member(call);
    consumer_member_op(call, touched);
}

bool consumer_open(struct consumer_call *call, consumer_fn fn)
{
    if (!take_name(call, call->request->params[1])) {
        return false;
    }
    call->opened = fn;
    call->mark_until_us = ria_clock_mono_us(call->gateway->env->clock) + MARK_WAIT_US;
    touch(call);
    return true;
}

bool consumer_subscribes(const struct consumer_call *call)
{
    return call->topic_count > 0 || call->instance.topics_count > 0 ||
           call->instance.pattern.size > 0;
}

bool consumer_chose(const struct consumer_call *call)
{
    return !consumer_subscribes(call) && call->assigned_count > 0;
}

bool consumer_has(const struct consumer_call *call, const struct cluster_partition *partition)
{
    for (uint32_t i = 0; i < call->assigned_count; i++) {
        if (call->assigned[i].partition == partition->number &&
            ria_uuid_equal(call->assigned[i].topic_id, partition->topic->id)) {
            return true;
        }
    }
    return false;
}
