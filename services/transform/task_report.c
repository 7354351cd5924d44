/* What source and outputs report to their task, and what it says about it. They are in the middle
 * of something: the task takes note, and acts on its next turn. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "services/transform/task_internal.h"

/* ---- notes ---- */

static const char *task_name(const struct task *task)
{
    return task->options.lease->transform->name;
}

void task_note(struct task *task, const char *text)
{
    if (strncmp(task->last_text, text, sizeof(task->last_text) - 1) != 0) {
        (void)snprintf(task->last_text, sizeof(task->last_text), "%s", text);
        task->text_changed = true;
    }
}

void task_troubled(struct task *task, const char *what, ria_err err, const char *text)
{
    char quoted[TASK_TEXT_SIZE];

    if (task->trouble == err || err == RIA_ERR_SHUTDOWN) {
        return;
    }
    task->trouble = err;
    ria_log_warn(
        task->options.env->log,
        "transform.waiting",
        "transform=%s partition=%" PRId32 " for=%s err=%s",
        task_name(task),
        task->options.lease->partition,
        what,
        ria_log_quote(quoted, sizeof(quoted), text, strlen(text))
    );
}

/* ---- what source and outputs report ---- */

static void source_is_ready(void *arg)
{
    task_wake(arg);
}

static void source_has_skipped(void *arg, int64_t from, int64_t to)
{
    struct task *task = arg;
    char text[TASK_TEXT_SIZE];

    (void)snprintf(
        text,
        sizeof(text),
        "source records %" PRId64 " to %" PRId64 " were deleted before they were processed",
        from,
        to - 1
    );
    ria_log_warn(
        task->options.env->log,
        "transform.source_deleted",
        "transform=%s partition=%" PRId32 " from=%" PRId64 " to=%" PRId64,
        task_name(task),
        task->options.lease->partition,
        from,
        to
    );
    task->done.position = to;
    task_note(task, text);
}

static void source_is_troubled(void *arg, ria_err err, const char *text)
{
    task_troubled(arg, "source", err, text);
}

static void output_is_ready(void *arg, struct output *output)
{
    (void)output;
    task_wake(arg);
}

static void output_was_acked(void *arg, struct output *output)
{
    struct task *task = arg;

    (void)output;
    task->trouble = RIA_OK;
    task->failures = 0;
    task_wake(task);
}

static void output_has_stopped(void *arg, struct output *output, ria_err err, const char *text)
{
    struct task *task = arg;

    (void)output;
    /* Losing the lease explains all other faults. */
    if (task->fault == RIA_OK || err == RIA_ERR_FENCED_PRODUCER) {
        task->fault = err;
        (void)snprintf(task->fault_text, sizeof(task->fault_text), "%s", text);
    }
    task_wake(task);
}

static void output_is_troubled(void *arg, struct output *output, ria_err err, const char *text)
{
    (void)output;
    task_troubled(arg, "output", err, text);
}

/* ---- hosts ---- */

const struct source_host task_source_host = {
    .ready = source_is_ready,
    .skipped = source_has_skipped,
    .troubled = source_is_troubled,
};

const struct output_host task_output_host = {
    .ready = output_is_ready,
    .acked = output_was_acked,
    .stopped = output_has_stopped,
    .troubled = output_is_troubled,
};
