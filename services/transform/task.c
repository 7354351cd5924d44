#include "services/transform/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/transform/failure_record.h"
#include "services/transform/task_internal.h"

enum {
    SLICES_PER_TURN = 4, /* then others have a turn */
    PAUSE_MS_MIN = 10,
    PAUSE_MS_MAX = 30 * 1000,
    LOST_MS = 1000, /* until the view has caught up */

    /* A leader that has forgotten us takes sequence 0 again, and then 1: a batch of ours that was
     * left behind in a broken connection must have gone before. */
    FORGOTTEN_MS = 15 * 1000,
};

static void pump(struct task *task);

/* ---- states ---- */

static void pump_now(struct ria_timer *timer, void *arg)
{
    (void)timer;
    pump(arg);
}

void task_wake(struct task *task)
{
    if (!task->pump_timer.active) {
        ria_timer_start(task->options.env->timers, &task->pump_timer, 0);
    }
}

/* Everything but how far it has got. */
static void forget(struct task *task)
{
    ria_timer_stop(task->options.env->timers, &task->pump_timer);
    while (!ria_list_is_empty(&task->used)) {
        output_free(RIA_CONTAINER(task->used.next, struct output, link));
    }
    for (int kind = TASK_DERIVED; kind <= TASK_ERRORS; kind++) {
        free(task->outputs[kind]);
        task->outputs[kind] = NULL;
        task->topics[kind] = NULL;
    }
    source_reset(&task->source, task->acked.position);
    task->rows = NULL;
    task->row_count = 0;
    task->row_at = 0;
    task->blocked_by = NULL;
    task->done = task->acked;
    task->fault = RIA_OK;
    task_commit_reset(task);
}

static void look_again(struct ria_timer *timer, void *arg);

ria_err task_new(const struct task_options *options, struct task **out_task)
{
    struct task *task = calloc(1, sizeof(*task));
    const struct cluster_task *lease = options->lease;
    struct cluster_partition *partition =
        cluster_partition(options->cluster, &lease->transform->source_topic_id, lease->partition);

    if (task == NULL || partition == NULL) {
        free(task);
        return task == NULL ? RIA_ERR_NOMEM : RIA_ERR_UNKNOWN_PARTITION;
    }
    task->options = *options;
    task->epoch = lease->epoch;
    task->state = TASK_WAITING;
    task->acked.position = -1;
    task->done.position = -1;
    task->committed.position = -1;
    task->budget = (struct budget){.limit = TASK_BUFFER_MAX, .parent = options->budget};
    call_group_init(&task->calls, options->env);
    ria_list_init(&task->used);
    ria_buf_init(&task->failure, RIA_BATCH_SIZE_MAX);
    ria_timer_init(&task->pump_timer, pump_now, task);
    ria_timer_init(&task->pause_timer, look_again, task);
    task_commit_init(task);
    struct source_options source_options = {
        .env = options->env,
        .cluster = options->cluster,
        .watcher = options->watcher,
        .partition = partition,
        .budget = &task->budget,
        .host = &task_source_host,
        .arg = task,
    };
    source_init(&task->source, &source_options);
    *out_task = task;
    return RIA_OK;
}

void task_free(struct task *task)
{
    if (task == NULL) {
        return;
    }
    forget(task);
    source_fini(&task->source);
    call_group_fini(&task->calls);
    ria_timer_stop(task->options.env->timers, &task->pause_timer);
    ria_timer_stop(task->options.env->timers, &task->commit_timer);
    ria_buf_fini(&task->failure);
    RIA_ASSERT(task->budget.used == 0);
    free(task);
}

/* Find the topics it writes. False: one of them is not there. */
static bool find_topics(struct task *task)
{
    const struct cluster_transform *transform = task->options.lease->transform;
    const struct ria_uuid *ids[] = {&transform->output_topic_id, &transform->errors_topic_id};

    for (int kind = TASK_DERIVED; kind <= TASK_ERRORS; kind++) {
        struct cluster_topic *topic = cluster_topic_by_id(task->options.cluster, ids[kind]);
        if (topic == NULL || topic->deleted) {
            task_pause(
                task,
                RIA_ERR_UNKNOWN_TOPIC,
                kind == TASK_DERIVED ? "the derived topic was deleted"
                                     : "the errors topic was deleted"
            );
            return false;
        }
        task->topics[kind] = topic;
        task->outputs[kind] =
            calloc((size_t)topic->partition_count, sizeof(task->outputs[kind][0]));
        if (task->outputs[kind] == NULL) {
            task_pause(task, RIA_ERR_NOMEM, ria_err_text(RIA_ERR_NOMEM));
            return false;
        }
    }
    return true;
}

static void run(struct task *task)
{
    forget(task);
    if (task->options.engine == NULL) {
        task_pause(task, RIA_ERR_SQL, task->options.engine_text);
        return;
    }
    task->state = TASK_RUNNING;
    if (find_topics(task)) {
        task_wake(task);
    }
}

void task_begin(struct task *task, const struct task_progress *committed, const char *last_text)
{
    RIA_ASSERT(task->state == TASK_WAITING);
    task->committed = *committed;
    /* What is known here is newer where the coordinator was away. */
    if (committed->position >= task->acked.position) {
        task->acked = *committed;
    }
    if (!task->text_changed) {
        (void)snprintf(task->last_text, sizeof(task->last_text), "%s", last_text);
    }
    run(task);
}

void task_pause(struct task *task, ria_err err, const char *text)
{
    const struct ria_env *env = task->options.env;
    int64_t delay_ms =
        ria_min_i64(PAUSE_MS_MAX, (int64_t)PAUSE_MS_MIN << ria_min_size(task->failures, 12));
    char quoted[TASK_TEXT_SIZE];

    if (err == RIA_ERR_OUT_OF_ORDER) {
        delay_ms = ria_max_i64(delay_ms, FORGOTTEN_MS);
    }
    task->failures++;
    task->options.metrics->restarts.value++;
    ria_log_warn(
        env->log,
        "transform.paused",
        "transform=%s partition=%" PRId32 " ms=%" PRId64 " err=%s",
        task->options.lease->transform->name,
        task->options.lease->partition,
        delay_ms,
        ria_log_quote(quoted, sizeof(quoted), text, strlen(text))
    );
    if (err != RIA_ERR_CONFLICT && err != RIA_ERR_OUT_OF_ORDER) { /* part of the protocol */
        task_note(task, text);
    }
    forget(task);
    task->state = TASK_PAUSED;
    task->drained = task->draining;
    ria_timer_start(env->timers, &task->pause_timer, delay_ms * 1000);
    task_commit(task);
}

void task_lose(struct task *task, const char *text)
{
    char quoted[TASK_TEXT_SIZE];

    ria_log_info(
        task->options.env->log,
        "transform.lease_lost",
        "transform=%s partition=%" PRId32 " epoch=%d why=%s",
        task->options.lease->transform->name,
        task->options.lease->partition,
        task->epoch,
        ria_log_quote(quoted, sizeof(quoted), text, strlen(text))
    );
    forget(task);
    task->state = TASK_LOST;
    task->drained = task->draining;
    ria_timer_start(task->options.env->timers, &task->pause_timer, LOST_MS * INT64_C(1000));
}

/* The pause is over: ask whether the lease is still ours, and how far it got. */
static void look_again(struct ria_timer *timer, void *arg)
{
    struct task *task = arg;

    (void)timer;
    if (!task->draining) {
        task->state = TASK_WAITING;
        task->options.waiting(task->options.arg);
    }
}

/* ---- the turn ---- */

bool task_has_room(const struct task *task)
{
    return task->budget.used - task->source.frame_size < TASK_OUTPUT_MAX;
}

/* Fetch if there is memory: a little is always there for a task that holds nothing. */
static void fetch(struct task *task)
{
    if (task->draining || task->source.frame != NULL || source_is_busy(&task->source)) {
        return;
    }
    if (budget_has(&task->budget, SOURCE_FETCH_SIZE)) {
        source_fetch(&task->source, SOURCE_FETCH_SIZE);
    } else if (task->budget.used == 0) {
        source_fetch(&task->source, SOURCE_FETCH_SIZE_MIN);
    } /* else the next acknowledgement comes here again */
}

static void handle_fault(struct task *task)
{
    ria_err fault = task->fault;

    if (fault == RIA_ERR_FENCED_PRODUCER) {
        task_lose(task, task->fault_text);
    } else {
        task_pause(task, fault, task->fault_text);
    }
}

static void pump(struct task *task)
{
    bool more = true;

    if (task->state != TASK_RUNNING) {
        return;
    }
    if (task->fault != RIA_OK) {
        handle_fault(task);
        return;
    }
    for (int i = 0; i < SLICES_PER_TURN && more && !task->draining; i++) {
        more = task_has_room(task) && task_run_slice(task);
        if (task->state != TASK_RUNNING) {
            return; /* paused */
        }
    }
    bool stalled = !task_has_room(task) || task->blocked_by != NULL;
    if (more && !task->draining) {
        task_wake(task);
    } else {
        task_flush(task, !stalled && !task->draining);
    }
    if (!stalled) {
        fetch(task);
    }
    task_commit(task);
}

void task_partition_changed(struct task *task, const struct cluster_partition *partition)
{
    if (task->state != TASK_RUNNING) {
        return;
    }
    if (task->source.options.partition == partition) {
        source_leader_changed(&task->source);
    }
    RIA_LIST_FOREACH (it, &task->used) {
        struct output *output = RIA_CONTAINER(it, struct output, link);
        if (output->options.partition == partition) {
            output_leader_changed(output);
        }
    }
}

void task_drain(struct task *task)
{
    task->draining = true;
    if (task->state != TASK_RUNNING) {
        task->drained = true;
        return;
    }
    task_wake(task);
}

bool task_is_drained(const struct task *task)
{
    return task->drained;
}

void task_check(const struct task *task)
{
    RIA_ASSERT(task->row_at <= task->row_count);
    RIA_ASSERT(task->committed.position <= task->acked.position);
    RIA_ASSERT(task->acked.position <= task->done.position);
    RIA_ASSERT(!task->has_snapshot || task->snapshot.position <= task->done.position);
    RIA_ASSERT(task->state == TASK_RUNNING || ria_list_is_empty(&task->used));
    RIA_LIST_FOREACH (it, &task->used) {
        output_check(RIA_CONTAINER(it, struct output, link));
    }
}
