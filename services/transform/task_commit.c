/* The position at the coordinator: a lower bound for whoever gets the lease next, and what the user
 * sees. A snapshot is taken about once a second, and sent when every output caused by records below
 * it is acknowledged. */
#include <stdio.h>
#include <string.h>

#include "schemas/gen/commit_task_request.h"
#include "schemas/gen/messages.h"

#include "services/transform/task_internal.h"

enum { COMMIT_TIMEOUT_MS = 5000 };

static void time_to_commit(struct ria_timer *timer, void *arg)
{
    (void)timer;
    task_commit(arg);
}

void task_commit_init(struct task *task)
{
    ria_timer_init(&task->commit_timer, time_to_commit, task);
}

void task_commit_reset(struct task *task)
{
    task->has_snapshot = false;
}

static void was_committed(void *arg, struct call_reply *reply)
{
    struct task *task = arg;
    struct task_progress sent = task->snapshot;

    task->committing = false;
    if (reply->err == RIA_OK) {
        if (sent.position > task->committed.position) {
            task->committed = sent;
        }
        task->options.metrics->commits.value++;
    } else if (reply->err == RIA_ERR_FENCED_PRODUCER || reply->err == RIA_ERR_CONFLICT) {
        task_lose(task, reply->text);
        return;
    } else {
        task->text_changed = true; /* what was sent with it is still to be sent */
        if (reply->err == RIA_ERR_TIMEOUT || reply->err == RIA_ERR_DISCONNECTED) {
            cluster_coordinator_failed(task->options.cluster);
        }
        if (task->draining) {
            task->drained = true; /* the next holder repeats a second's work */
            return;
        }
    }
    task_commit(task);
}

/* Everything below it is acknowledged. */
static void send(struct task *task, const struct task_progress *progress)
{
    const struct cluster_task *lease = task->options.lease;
    struct commit_task_request request;

    commit_task_request_init(&request);
    request.transform_id = lease->transform->id;
    request.partition = lease->partition;
    request.epoch = task->epoch;
    request.position = progress->position;
    request.records_in = progress->records_in;
    request.records_out = progress->records_out;
    request.errors = progress->errors;
    request.last_error = ria_slice_cstr(task->last_text);
    ria_err err = call_start(
        &task->calls,
        cluster_coordinator(task->options.cluster),
        API_COMMIT_TASK,
        &request,
        RIA_SLICE_NULL,
        COMMIT_TIMEOUT_MS,
        was_committed,
        task
    );
    if (err == RIA_OK) {
        task->committing = true;
        task->text_changed = false;
    }
    ria_timer_start(task->options.env->timers, &task->commit_timer, TASK_COMMIT_MS * INT64_C(1000));
}

static bool is_acknowledged(const struct task *task, int64_t position)
{
    RIA_LIST_FOREACH (it, &task->used) {
        if (output_complete_below(RIA_CONTAINER(it, struct output, link)) < position) {
            return false;
        }
    }
    return true;
}

void task_commit(struct task *task)
{
    bool running = task->state == TASK_RUNNING;
    bool news = task->text_changed || (running && task->done.position > task->committed.position);

    if (task->drained || (task->state != TASK_RUNNING && task->state != TASK_PAUSED)) {
        return;
    }
    if (task->committing || (task->commit_timer.active && !task->draining && !task->has_snapshot)) {
        return;
    }
    if (!news) {
        task->drained = task->drained || (task->draining && !task->has_snapshot);
        return;
    }
    if (!task->has_snapshot || task->draining) {
        task->snapshot = task->done;
        task->has_snapshot = true;
    }
    if (running && !is_acknowledged(task, task->snapshot.position)) {
        return; /* an acknowledgement comes here again */
    }
    task->has_snapshot = false;
    if (task->snapshot.position > task->acked.position) {
        task->acked = task->snapshot;
    }
    send(task, &task->snapshot);
}
