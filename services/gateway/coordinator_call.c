#include "services/gateway/coordinator_call.h"

#include <stdlib.h>

#include "common/limits.h"

#include "schemas/envelope.h"

enum {
    COORDINATOR_RETRY_US = 100 * 1000,
    COORDINATOR_ATTEMPT_MS = 3000,
    COORDINATOR_REPLY_MAX = 64 * 1024 * 1024, /* decoded */
};

struct coordinator_attempt {
    struct ria_list link; /* in calls->live */
    struct coordinator_calls *calls;
    int16_t api_key;
    const void *body;
    int64_t deadline_us;
    coordinator_fn fn;
    void *arg;
    struct ria_timer retry;
};

static void send(struct coordinator_attempt *attempt);

void coordinator_calls_init(
    struct coordinator_calls *calls, const struct ria_env *env, struct cluster *cluster
)
{
    calls->env = env;
    calls->cluster = cluster;
    outcalls_init(&calls->outcalls, env->rpc);
    ria_list_init(&calls->live);
}

static void attempt_free(struct coordinator_attempt *attempt)
{
    ria_list_remove(&attempt->link);
    ria_timer_stop(attempt->calls->env->timers, &attempt->retry);
    free(attempt);
}

void coordinator_calls_fini(struct coordinator_calls *calls)
{
    outcalls_fini(&calls->outcalls);
    while (!ria_list_is_empty(&calls->live)) {
        attempt_free(RIA_CONTAINER(calls->live.next, struct coordinator_attempt, link));
    }
}

static void
finish(struct coordinator_attempt *attempt, ria_err err, const char *text, const void *response)
{
    coordinator_fn fn = attempt->fn;
    void *arg = attempt->arg;

    attempt_free(attempt);
    fn(arg, err, text, response);
}

static int64_t time_left_us(const struct coordinator_attempt *attempt)
{
    return attempt->deadline_us - ria_clock_mono_us(attempt->calls->env->clock);
}

static void retry_due(struct ria_timer *timer, void *arg)
{
    struct coordinator_attempt *attempt = arg;

    (void)timer;
    if (time_left_us(attempt) <= 0) {
        finish(attempt, RIA_ERR_NOMEM, "", NULL);
        return;
    }
    send(attempt);
}

static void retry_or_finish(struct coordinator_attempt *attempt, ria_err err, const char *text)
{
    if (time_left_us(attempt) <= COORDINATOR_RETRY_US) {
        finish(attempt, err, text, NULL);
        return;
    }
    ria_timer_start(attempt->calls->env->timers, &attempt->retry, COORDINATOR_RETRY_US);
}

static void answered(struct coordinator_attempt *attempt, struct ria_msg *reply)
{
    struct ria_arena arena;
    char text[RIA_ERROR_TEXT_MAX + 1] = "";

    ria_arena_init(&arena, COORDINATOR_REPLY_MAX);
    const struct schema_message *message = schema_response(attempt->api_key);
    void *response = ria_arena_alloc(&arena, message->struct_size);
    ria_err err = response == NULL
                      ? RIA_ERR_NOMEM
                      : envelope_read_reply(
                            reply, attempt->api_key, &arena, response, NULL, text, sizeof(text)
                        );
    if (err == RIA_ERR_BUSY || err == RIA_ERR_SHUTDOWN || err == RIA_ERR_NO_LEADER) {
        cluster_coordinator_failed(attempt->calls->cluster);
        retry_or_finish(attempt, err, text);
    } else {
        finish(attempt, err, text, err == RIA_OK ? response : NULL);
    }
    ria_arena_fini(&arena);
    ria_msg_free(reply);
}

static void attempt_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct coordinator_attempt *attempt = arg;

    if (err == RIA_OK) {
        answered(attempt, reply);
        return;
    }
    cluster_coordinator_failed(attempt->calls->cluster);
    retry_or_finish(attempt, err, "the coordinator does not answer");
}

static void send(struct coordinator_attempt *attempt)
{
    struct coordinator_calls *calls = attempt->calls;
    int64_t left_ms = ria_max_i64(time_left_us(attempt) / 1000, 1);
    uint32_t timeout_ms = (uint32_t)ria_min_i64(left_ms, COORDINATOR_ATTEMPT_MS);

    struct ria_msg *msg =
        envelope_request(attempt->api_key, 0, -1, timeout_ms, attempt->body, 0, NULL);
    const char *address = cluster_coordinator(calls->cluster);
    if (outcall_start(&calls->outcalls, address, msg, timeout_ms, attempt_done, attempt) == NULL) {
        ria_timer_start(calls->env->timers, &attempt->retry, COORDINATOR_RETRY_US);
    }
}

ria_err coordinator_call(
    struct coordinator_calls *calls,
    int16_t api_key,
    const void *body,
    uint32_t timeout_ms,
    coordinator_fn fn,
    void *arg
)
{
    struct coordinator_attempt *attempt = calloc(1, sizeof(*attempt));

    if (attempt == NULL) {
        return RIA_ERR_NOMEM;
    }
    attempt->calls = calls;
    attempt->api_key = api_key;
    attempt->body = body;
    attempt->deadline_us = ria_clock_mono_us(calls->env->clock) + (int64_t)timeout_ms * 1000;
    attempt->fn = fn;
    attempt->arg = arg;
    ria_timer_init(&attempt->retry, retry_due, attempt);
    ria_list_push_back(&calls->live, &attempt->link);
    send(attempt);
    return RIA_OK;
}
