/* A client's own producer: its batch goes to the log by itself, with the client's numbers, beside
 * what the gateway coalesces. Repeats are safe for the same reason: the log knows the numbers.
 *
 * A client may send the next before the last is answered. In a failover the repeats of the two may
 * come to the new leader in the wrong order: as long as an earlier one is under way, OUT_OF_ORDER
 * is no verdict. */
#include <stdio.h>
#include <stdlib.h>

#include "common/assert.h"

#include "services/gateway/produce_batch.h"

enum { BACKOFF_MIN_US = 20 * 1000, BACKOFF_MAX_US = 500 * 1000 };

struct produce_direct {
    struct ria_list link; /* core->directs */
    struct produce *core;
    struct produce_call *call;
    struct produce_identity identity;
    struct produce_batch *batch; /* NULL until the first record */
    struct cluster_partition *view;
    struct ria_timer retry;
    int64_t backoff_us;
};

static void send(struct produce_direct *direct);

void produce_direct_free(struct produce *core, struct produce_direct *direct)
{
    if (direct->batch != NULL) {
        ria_list_splice(&core->free_parts, &direct->batch->parts);
        produce_batch_free(core, direct->batch);
    }
    ria_timer_stop(core->env->timers, &direct->retry);
    ria_list_remove(&direct->link);
    free(direct);
}

void produce_direct_forget(struct produce *core)
{
    RIA_ASSERT(!ria_list_is_empty(&core->directs));
    produce_direct_free(core, RIA_CONTAINER(core->directs.next, struct produce_direct, link));
}

static void retry_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    send(arg);
}

ria_err produce_begin_direct(
    struct produce *core, struct produce_call *call, const struct produce_identity *identity
)
{
    struct produce_direct *direct = calloc(1, sizeof(*direct));

    if (direct == NULL) {
        return RIA_ERR_NOMEM;
    }
    produce_begin(core, call);
    direct->core = core;
    direct->call = call;
    direct->identity = *identity;
    direct->backoff_us = BACKOFF_MIN_US;
    ria_timer_init(&direct->retry, retry_due, direct);
    ria_list_push_back(&core->directs, &direct->link);
    call->direct = direct;
    return RIA_OK;
}

ria_err produce_direct_add(
    struct produce *core,
    struct produce_call *call,
    const struct produce_record *record,
    struct produce_partition *to
)
{
    struct produce_direct *direct = call->direct;

    if (direct->view != NULL && direct->view != to->view) {
        return RIA_ERR_INVALID;
    }
    direct->view = to->view;
    if (direct->batch == NULL) {
        size_t size_max = (size_t)to->view->topic->config.max_message_bytes;
        direct->batch = produce_batch_new(core, to, size_max);
    }
    if (direct->batch == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_err err = produce_batch_add(core, direct->batch, call, record);
    return err == RIA_ERR_LIMIT ? RIA_ERR_TOO_LARGE : err;
}

void produce_abort(struct produce *core, struct produce_call *call)
{
    RIA_ASSERT(call->direct != NULL);
    produce_direct_free(core, RIA_STEAL(&call->direct));
}

/* An earlier batch of the same producer is not answered yet. */
static bool has_predecessor(const struct produce_direct *direct)
{
    const struct produce_identity *own = &direct->identity;

    RIA_LIST_FOREACH (link, &direct->core->directs) {
        const struct produce_direct *other = RIA_CONTAINER(link, struct produce_direct, link);
        /* Sequences wrap at 2^31: before is what is less than half of that behind. */
        uint32_t behind =
            ((uint32_t)own->sequence - (uint32_t)other->identity.sequence) & INT32_MAX;
        if (other->view == direct->view && other->identity.producer_id == own->producer_id &&
            other->identity.epoch == own->epoch && behind > 0 && behind < INT32_MAX / 2) {
            return true;
        }
    }
    return false;
}

static bool may_retry(const struct produce_direct *direct, ria_err err)
{
    if (err == RIA_ERR_OUT_OF_ORDER) {
        return has_predecessor(direct);
    }
    return produce_may_pass(direct->view, err);
}

static void fail(struct produce_direct *direct, ria_err err, const char *text)
{
    struct produce_batch *batch = direct->batch;

    if (batch->maybe_stored || !ria_err_is_definite(err)) {
        err = RIA_ERR_UNKNOWN_OUTCOME;
    }
    produce_batch_fail(direct->core, batch, err, text);
    produce_direct_free(direct->core, direct);
}

/* Later, or never. */
static void try_again(struct produce_direct *direct, ria_err err, const char *text)
{
    int64_t left_us = direct->batch->deadline_us - ria_clock_mono_us(direct->core->env->clock);

    direct->batch->err = err;
    if (left_us <= 0 || !may_retry(direct, err)) {
        fail(direct, err, text);
        return;
    }
    direct->core->metrics.retries.value++;
    ria_timer_start(
        direct->core->env->timers, &direct->retry, ria_min_i64(direct->backoff_us, left_us)
    );
    direct->backoff_us = ria_min_i64(direct->backoff_us * 2, BACKOFF_MAX_US);
}

static void attempt_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct produce_direct *direct = arg;
    struct produce_batch *batch = direct->batch;
    struct produce_answer answer;

    batch->attempt = NULL;
    produce_batch_open_reply(err, reply, &answer);
    if (answer.err == RIA_OK && answer.base_offset < 0) {
        /* A sequence behind the log's window. It was used, perhaps by other records than these: a
         * client that starts again under an old id would else be told that all is stored. */
        batch->maybe_stored = true;
        fail(
            direct,
            RIA_ERR_UNKNOWN_OUTCOME,
            "this Producer-Seq is older than the log remembers: it was used, perhaps for others"
        );
        return;
    }
    if (answer.err == RIA_OK) {
        direct->call->duplicate = answer.duplicate;
        produce_batch_succeed(direct->core, batch, answer.base_offset, answer.synced);
        produce_direct_free(direct->core, direct);
        return;
    }
    batch->maybe_stored = batch->maybe_stored || !ria_err_is_definite(answer.err);
    try_again(direct, answer.err, answer.text);
}

static void send(struct produce_direct *direct)
{
    struct produce_batch *batch = direct->batch;
    ria_err err = RIA_OK;

    if (!produce_batch_send(direct->core, batch, direct->view, attempt_done, direct, &err)) {
        direct->backoff_us = BACKOFF_MAX_US;
        try_again(direct, err, "the partition has no leader at the moment");
    }
}

void produce_direct_end(struct produce *core, struct produce_direct *direct)
{
    (void)core;
    direct->batch->producer_id = direct->identity.producer_id;
    direct->batch->epoch = direct->identity.epoch;
    direct->batch->sequence = direct->identity.sequence;
    /* Not from here: done must not run inside produce_end(). */
    ria_timer_start(direct->core->env->timers, &direct->retry, 0);
}

void produce_directs_refresh(struct produce *core)
{
    RIA_LIST_FOREACH (link, &core->directs) {
        struct produce_direct *direct = RIA_CONTAINER(link, struct produce_direct, link);
        if (direct->view == NULL) {
            continue; /* it has no record yet */
        }
        if (produce_batch_is_outdated(direct->batch, direct->view)) {
            outcall_cancel(RIA_STEAL(&direct->batch->attempt));
            direct->batch->maybe_stored = true;
            direct->backoff_us = BACKOFF_MIN_US;
            core->metrics.retries.value++;
            ria_timer_start(core->env->timers, &direct->retry, 0);
        } else if (direct->retry.active) {
            ria_timer_start(core->env->timers, &direct->retry, 0);
        }
    }
}
