#include "services/gateway/leader_call.h"

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"

enum {
    LEADER_BACKOFF_MIN_US = 20 * 1000,
    LEADER_BACKOFF_MAX_US = 500 * 1000,
    LEADER_ATTEMPT_MS = 4 * 1000, /* then the connection is suspected: see net.h */
};

static void send(struct leader_call *call);

const char *leader_address(const struct cluster *cluster, const struct cluster_partition *partition)
{
    if (partition->leader < 0) {
        return NULL;
    }
    const struct cluster_node *node = cluster_node(cluster, partition->leader);
    return node == NULL || node->address[0] == '\0' ? NULL : node->address;
}

void leader_calls_init(
    struct leader_calls *calls, const struct ria_env *env, struct cluster *cluster
)
{
    calls->env = env;
    calls->cluster = cluster;
    outcalls_init(&calls->outcalls, env->rpc);
    ria_list_init(&calls->live);
}

static void detach(struct leader_call *call)
{
    ria_list_remove(&call->link);
    ria_timer_stop(call->calls->env->timers, &call->retry);
    outcall_cancel(RIA_STEAL(&call->attempt));
}

void leader_calls_fini(struct leader_calls *calls)
{
    while (!ria_list_is_empty(&calls->live)) {
        detach(RIA_CONTAINER(calls->live.next, struct leader_call, link));
    }
    outcalls_fini(&calls->outcalls);
}

static void finish(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    detach(call);
    call->done(call, err, reply);
}

static int64_t time_left_us(const struct leader_call *call)
{
    return call->deadline_us - ria_clock_mono_us(call->calls->env->clock);
}

/* For errors of the way to the leader. */
static const char *text_of(ria_err err)
{
    return err == RIA_ERR_TIMEOUT || err == RIA_ERR_DISCONNECTED
               ? "the partition's leader does not answer"
               : "";
}

static void retry_due(struct ria_timer *timer, void *arg)
{
    struct leader_call *call = arg;

    (void)timer;
    if (time_left_us(call) <= 0) {
        finish(call, call->err, &(struct leader_reply){.text = text_of(call->err)});
        return;
    }
    send(call);
}

/* What the leader, or the way to it, may get over. */
static bool may_pass(const struct leader_call *call, ria_err err)
{
    if (err == RIA_ERR_UNKNOWN_TOPIC || err == RIA_ERR_UNKNOWN_PARTITION) {
        /* We know it: the leader has not heard of it yet. */
        return !call->partition->topic->deleted;
    }
    if (err == RIA_ERR_CORRUPT || err == RIA_ERR_IO) {
        int64_t waited_us = ria_clock_mono_us(call->calls->env->clock) - call->started_us;
        return call->partition->replica_count > 1 && waited_us < LEADER_REPAIR_MS * INT64_C(1000);
    }
    return ria_err_is_retriable(err);
}

static void wait_or_finish(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    int64_t left_us = time_left_us(call);

    call->err = err;
    if (left_us <= 0 || !may_pass(call, err)) {
        finish(call, err, reply);
        return;
    }
    ria_timer_start(call->calls->env->timers, &call->retry, ria_min_i64(call->backoff_us, left_us));
    call->backoff_us = ria_min_i64(call->backoff_us * 2, LEADER_BACKOFF_MAX_US);
}

static void attempt_done(void *arg, ria_err err, struct ria_msg *msg)
{
    struct leader_call *call = arg;
    char text[RIA_ERROR_TEXT_MAX + 1] = "";
    struct leader_reply reply = {.msg = msg, .text = text};
    struct response_header header;

    call->attempt = NULL;
    if (err != RIA_OK) {
        reply.text = text_of(err);
        wait_or_finish(call, err, &reply);
        return;
    }
    err = envelope_open_reply(
        msg, call->api_key, &header, &reply.body, &reply.payload, text, sizeof(text)
    );
    if (err == RIA_OK) {
        reply.version = header.api_version;
        finish(call, RIA_OK, &reply);
    } else {
        wait_or_finish(call, err, &reply);
    }
    ria_msg_free(reply.msg);
}

static void fill(struct leader_call *call)
{
    const struct cluster_partition *partition = call->partition;

    if (call->api_key == API_FETCH) {
        call->body.fetch.topic_id = partition->topic->id;
        call->body.fetch.partition = partition->number;
        call->body.fetch.leader_epoch = partition->leader_epoch;
    } else {
        RIA_ASSERT(call->api_key == API_LIST_OFFSETS);
        call->body.list_offsets.topic_id = partition->topic->id;
        call->body.list_offsets.partition = partition->number;
        call->body.list_offsets.leader_epoch = partition->leader_epoch;
    }
}

static void send(struct leader_call *call)
{
    struct leader_calls *calls = call->calls;
    const char *address = leader_address(calls->cluster, call->partition);
    int64_t left_ms = ria_max_i64(time_left_us(call) / 1000, 1);
    uint32_t timeout_ms = (uint32_t)ria_min_i64(left_ms, LEADER_ATTEMPT_MS);

    if (address != NULL) {
        fill(call);
        struct ria_msg *msg =
            envelope_request(call->api_key, 0, -1, timeout_ms, &call->body, 0, NULL);
        call->attempt =
            outcall_start(&calls->outcalls, address, msg, timeout_ms, attempt_done, call);
        call->sent_leader = call->partition->leader;
        call->sent_epoch = call->partition->leader_epoch;
    }
    if (call->attempt == NULL) {
        call->err = address == NULL ? RIA_ERR_NO_LEADER : RIA_ERR_NOMEM;
        ria_timer_start(
            calls->env->timers,
            &call->retry,
            ria_min_i64(LEADER_BACKOFF_MAX_US, ria_max_i64(time_left_us(call), 0))
        );
    }
}

void leader_call_start(struct leader_calls *calls, struct leader_call *call)
{
    RIA_ASSERT(call->done != NULL);

    call->calls = calls;
    call->attempt = NULL;
    call->started_us = ria_clock_mono_us(calls->env->clock);
    call->backoff_us = LEADER_BACKOFF_MIN_US;
    call->err = RIA_ERR_NO_LEADER;
    ria_timer_init(&call->retry, retry_due, call);
    ria_list_push_back(&calls->live, &call->link);
    send(call);
}

void leader_call_cancel(struct leader_call *call)
{
    detach(call);
}

/* A request is under way to who does not lead any more. */
static bool is_outdated(const struct leader_call *call)
{
    const struct cluster_partition *partition = call->partition;

    return call->attempt != NULL && partition->leader >= 0 &&
           (call->sent_leader != partition->leader || call->sent_epoch != partition->leader_epoch);
}

void leader_calls_view_changed(struct leader_calls *calls)
{
    RIA_LIST_FOREACH (link, &calls->live) {
        struct leader_call *call = RIA_CONTAINER(link, struct leader_call, link);
        if (is_outdated(call)) {
            outcall_cancel(RIA_STEAL(&call->attempt));
            call->backoff_us = LEADER_BACKOFF_MIN_US;
            ria_timer_start(calls->env->timers, &call->retry, 0);
        } else if (call->retry.active) {
            ria_timer_start(calls->env->timers, &call->retry, 0);
        }
    }
}
