#include "services/gateway/commit_check.h"

#include <stdio.h>

#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/offsets.h"

enum {
    COMMIT_CHECK_MS = 2000,
    AGAIN_US = 100 * 1000,
    PROBE_TIMEOUT_MS = 1000,
};

static void ask(struct commit_check *check);
static void confirm(struct commit_check *check);

static void finish(struct commit_check *check, ria_err err)
{
    ria_list_remove(&check->link);
    check->done(check, err, err == RIA_OK ? NULL : &check->at[0]);
}

static void again_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    ask(arg);
}

/* Those that are in range go from the list. */
static void drop_known(struct commit_check *check)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < check->count; i++) {
        struct marks_at at = check->at[i];
        if (at.offset >= 0 && marks_get(check->marks, at.partition) <= at.offset) {
            check->at[kept++] = at;
        }
    }
    check->count = kept;
}

/* A leader that has just begun answers when it knows what is committed. */
static void confirmed(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct commit_check *check = call->arg;
    struct list_offsets_response response;

    check->confirms = false;
    if (err == RIA_OK) {
        err = offsets_decode(reply, &response);
    }
    if (err != RIA_OK) {
        finish(check, RIA_ERR_NO_LEADER);
        return;
    }
    if (response.high_watermark <= check->at[0].offset) {
        finish(check, RIA_ERR_OFFSET_OUT_OF_RANGE);
        return;
    }
    check->at[0] = check->at[--check->count];
    if (check->count == 0) {
        finish(check, RIA_OK);
    } else {
        confirm(check);
    }
}

/* The first one is past the end, for all that a watch tells, which knows of no doubts. */
static void confirm(struct commit_check *check)
{
    int64_t now_us = ria_clock_mono_us(check->marks->env->clock);

    check->confirms = true;
    check->call = (struct leader_call){
        .partition = check->at[0].partition,
        .api_key = API_LIST_OFFSETS,
        .deadline_us =
            ria_max_i64(check->leader_until_us, now_us + PROBE_TIMEOUT_MS * INT64_C(1000)),
        .done = confirmed,
        .arg = check,
    };
    list_offsets_request_init(&check->call.body.list_offsets);
    check->call.body.list_offsets.expected_offset = check->at[0].offset + 1;
    leader_call_start(check->leaders, &check->call);
}

/* Some are past the end, or (is_known false) their leaders have not said where it is. */
static void ask_later(struct commit_check *check, bool is_known)
{
    const struct ria_env *env = check->marks->env;
    int64_t now_us = ria_clock_mono_us(env->clock);

    if (now_us < (is_known ? check->until_us : check->leader_until_us)) {
        ria_timer_start(env->timers, &check->again, AGAIN_US);
    } else if (is_known) {
        confirm(check);
    } else {
        finish(check, RIA_ERR_NO_LEADER);
    }
}

static void probed(struct marks_probe *probe)
{
    struct commit_check *check = probe->arg;

    drop_known(check);
    if (check->count == 0) {
        finish(check, RIA_OK);
    } else {
        ask_later(check, probe->complete);
    }
}

static void ask(struct commit_check *check)
{
    check->probe = (struct marks_probe){
        .at = check->at,
        .count = check->count,
        .timeout_ms = PROBE_TIMEOUT_MS,
        .done = probed,
        .arg = check,
    };
    if (!marks_probe_start(check->marks, &check->probe)) {
        ask_later(check, false);
    }
}

void commit_check_start(struct commit_check *check)
{
    const struct ria_env *env = check->marks->env;

    check->confirms = false;
    int64_t now_us = ria_clock_mono_us(env->clock);
    check->until_us = now_us + COMMIT_CHECK_MS * 1000;
    check->leader_until_us = now_us + (int64_t)check->timeout_ms * 1000;
    ria_timer_init(&check->again, again_due, check);
    ria_list_push_back(&check->marks->checks, &check->link);
    drop_known(check);
    if (check->count == 0) {
        finish(check, RIA_OK);
    } else {
        ask(check);
    }
}

void commit_check_failure(
    struct failure *failure, const char *field, ria_err err, const struct marks_at *at
)
{
    const struct cluster_partition *partition = at->partition;

    if (err == RIA_ERR_OFFSET_OUT_OF_RANGE) {
        failure_set(
            failure,
            409,
            "conflict",
            field,
            "the cursor is at offset %lld of partition %d of topic %s, past the end of the log",
            (long long)at->offset + 1,
            (int)partition->number,
            partition->topic->name
        );
        return;
    }
    failure_of_err(failure, err, "");
    failure->field = field;
    (void)snprintf(
        failure->message,
        sizeof(failure->message),
        "the leader of partition %d of topic %s does not answer, so nobody can tell whether offset "
        "%lld is in its log; nothing was committed",
        (int)partition->number,
        partition->topic->name,
        (long long)at->offset + 1
    );
}

void commit_checks_fini(struct marks *marks)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(&marks->checks)) != NULL) {
        struct commit_check *check = RIA_CONTAINER(link, struct commit_check, link);
        ria_timer_stop(marks->env->timers, &check->again);
        if (check->confirms) {
            leader_call_cancel(&check->call);
        }
    }
}
