#include "services/transform/leases.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/list.h"

#include "schemas/gen/list_transforms_request.h"
#include "schemas/gen/list_transforms_response.h"
#include "schemas/gen/messages.h"

enum {
    LIST_TIMEOUT_MS = 5000,
    LIST_AGAIN_US = 200 * 1000,
    LIST_DECODED_MAX = 128 * 1024 * 1024,
};

/* A transform's statement, compiled for as long as one of its tasks is here. */
struct stream {
    struct sql_engine *engine; /* NULL: refused */
    char *text;                /* then: why */
    uint32_t task_count;
};

/* A task that is leased to this worker; cluster_task.user. */
struct lease {
    struct ria_list link;
    struct cluster_task *row;
    struct task *task;
};

struct leases {
    struct leases_options options;
    struct ria_list list; /* lease.link */
    struct call_group calls;
    struct ria_timer list_timer;
    bool draining;
};

/* ---- statements ---- */

static ria_err stream_ref(struct cluster_transform *transform, struct stream **out_stream)
{
    struct stream *stream = transform->user;
    struct statement_refusal refusal = {.text = ""};

    if (stream == NULL) {
        stream = calloc(1, sizeof(*stream));
        if (stream == NULL) {
            return RIA_ERR_NOMEM;
        }
        ria_err err = sql_engine_new(ria_slice_cstr(transform->sql), &stream->engine, &refusal);
        if (err != RIA_OK) {
            stream->text = strdup(refusal.text[0] != '\0' ? refusal.text : ria_err_text(err));
        }
        if (err == RIA_ERR_NOMEM || (err != RIA_OK && stream->text == NULL)) {
            free(stream->text);
            free(stream);
            return RIA_ERR_NOMEM;
        }
        transform->user = stream;
    }
    stream->task_count++;
    *out_stream = stream;
    return RIA_OK;
}

static void stream_unref(struct cluster_transform *transform)
{
    struct stream *stream = transform->user;

    RIA_ASSERT(stream != NULL && stream->task_count > 0);
    if (--stream->task_count == 0) {
        sql_engine_free(stream->engine);
        free(stream->text);
        free(stream);
        transform->user = NULL;
    }
}

/* ---- beginning and end ---- */

static void lease_end(struct lease *lease)
{
    struct cluster_task *row = lease->row;

    task_free(lease->task);
    ria_list_remove(&lease->link);
    free(lease);
    row->user = NULL;
    stream_unref(row->transform);
}

/* A task wants to begin. */
static void task_waits(void *arg)
{
    struct leases *leases = arg;

    if (!leases->list_timer.active) {
        ria_timer_start(leases->options.env->timers, &leases->list_timer, 0);
    }
}

static ria_err lease_new(struct leases *leases, struct cluster_task *row)
{
    struct stream *stream = NULL;
    struct lease *lease = calloc(1, sizeof(*lease));

    if (lease == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_err err = stream_ref(row->transform, &stream);
    if (err != RIA_OK) {
        free(lease);
        return err;
    }
    struct task_options options = {
        .env = leases->options.env,
        .cluster = leases->options.cluster,
        .watcher = leases->options.watcher,
        .budget = leases->options.budget,
        .engine = stream->engine,
        .engine_text = stream->text,
        .lease = row,
        .metrics = leases->options.metrics,
        .waiting = task_waits,
        .arg = leases,
    };
    err = task_new(&options, &lease->task);
    if (err != RIA_OK) {
        stream_unref(row->transform);
        free(lease);
        return err;
    }
    lease->row = row;
    row->user = lease;
    ria_list_push_back(&leases->list, &lease->link);
    return RIA_OK;
}

static bool is_ours(const struct leases *leases, const struct cluster_task *row)
{
    return !row->transform->deleted && ria_uuid_equal(row->worker, leases->options.worker);
}

static void log_lease(struct leases *leases, const struct cluster_task *row, const char *tag)
{
    ria_log_info(
        leases->options.env->log,
        tag,
        "transform=%s partition=%" PRId32 " epoch=%d",
        row->transform->name,
        row->partition,
        row->epoch
    );
}

/* Make what is here agree with what the view says of one task. */
static void settle(struct leases *leases, struct cluster_task *row)
{
    struct lease *lease = row->user;

    if (lease != NULL && (!is_ours(leases, row) || lease->task->epoch != row->epoch)) {
        log_lease(leases, row, "transform.task_ended");
        lease_end(lease);
        lease = NULL;
    }
    if (lease != NULL || leases->draining || !is_ours(leases, row)) {
        return;
    }
    ria_err err = lease_new(leases, row);
    if (err != RIA_OK) {
        ria_log_error(
            leases->options.env->log,
            "transform.task_failed",
            "transform=%s partition=%" PRId32 " err=\"%s\"",
            row->transform->name,
            row->partition,
            ria_err_text(err)
        );
        ria_timer_start(leases->options.env->timers, &leases->list_timer, LIST_AGAIN_US);
        return;
    }
    log_lease(leases, row, "transform.task_leased");
}

/* ---- what the coordinator has of new tasks ---- */

static void list_transforms(struct leases *leases);

static bool anything_waits(const struct leases *leases)
{
    RIA_LIST_FOREACH (it, &leases->list) {
        if (RIA_CONTAINER(it, struct lease, link)->task->state == TASK_WAITING) {
            return true;
        }
    }
    return false;
}

static void begin_listed(
    struct leases *leases,
    const struct list_transforms_response_listed_transform *transform,
    const struct list_transforms_response_listed_task *listed
)
{
    char text[TASK_TEXT_SIZE];

    RIA_LIST_FOREACH (it, &leases->list) {
        struct lease *lease = RIA_CONTAINER(it, struct lease, link);
        if (lease->task->state != TASK_WAITING || lease->row->partition != listed->partition ||
            !ria_uuid_equal(lease->row->transform->id, transform->transform_id) ||
            lease->task->epoch != listed->epoch) {
            continue;
        }
        struct task_progress committed = {
            .position = listed->position,
            .records_in = listed->records_in,
            .records_out = listed->records_out,
            .errors = listed->errors,
        };
        (void)snprintf(text, sizeof(text), RIA_SLICE_FMT, RIA_SLICE_ARG(listed->last_error));
        task_begin(lease->task, &committed, text);
    }
}

static void were_listed(void *arg, struct call_reply *reply)
{
    struct leases *leases = arg;
    struct list_transforms_response response;
    struct ria_arena arena;

    ria_arena_init(&arena, LIST_DECODED_MAX);
    ria_err err = reply->err;
    if (err == RIA_OK) {
        err = call_decode(reply, &arena, &response);
    }
    for (uint32_t i = 0; err == RIA_OK && i < response.transforms_count; i++) {
        for (uint32_t j = 0; j < response.transforms[i].tasks_count; j++) {
            const struct list_transforms_response_listed_task *listed =
                &response.transforms[i].tasks[j];
            if (ria_uuid_equal(listed->worker, leases->options.worker)) {
                begin_listed(leases, &response.transforms[i], listed);
            }
        }
    }
    ria_arena_fini(&arena);
    if (err == RIA_ERR_TIMEOUT || err == RIA_ERR_DISCONNECTED) {
        cluster_coordinator_failed(leases->options.cluster);
    }
    if (anything_waits(leases)) {
        ria_timer_start(leases->options.env->timers, &leases->list_timer, LIST_AGAIN_US);
    }
}

/* Also for tasks that could not be made. */
static void list_again(struct ria_timer *timer, void *arg)
{
    struct leases *leases = arg;

    (void)timer;
    RIA_LIST_FOREACH (it, cluster_transforms(leases->options.cluster)) {
        leases_transform_changed(leases, RIA_CONTAINER(it, struct cluster_transform, link));
    }
    list_transforms(leases);
}

static void list_transforms(struct leases *leases)
{
    struct list_transforms_request request;

    if (!call_group_is_idle(&leases->calls) || !anything_waits(leases)) {
        return;
    }
    list_transforms_request_init(&request);
    ria_err err = call_start(
        &leases->calls,
        cluster_coordinator(leases->options.cluster),
        API_LIST_TRANSFORMS,
        &request,
        RIA_SLICE_NULL,
        LIST_TIMEOUT_MS,
        were_listed,
        leases
    );
    if (err != RIA_OK) {
        ria_timer_start(leases->options.env->timers, &leases->list_timer, LIST_AGAIN_US);
    }
}

/* ---- the view ---- */

void leases_partition_changed(struct leases *leases, const struct cluster_partition *partition)
{
    RIA_LIST_FOREACH (it, &leases->list) {
        task_partition_changed(RIA_CONTAINER(it, struct lease, link)->task, partition);
    }
}

void leases_transform_changed(struct leases *leases, struct cluster_transform *transform)
{
    for (uint32_t i = 0; i < transform->task_count; i++) {
        settle(leases, transform->tasks[i]);
    }
}

void leases_task_changed(struct leases *leases, struct cluster_task *task)
{
    settle(leases, task);
}

void leases_view_changed(struct leases *leases)
{
    list_transforms(leases);
}

/* ---- life ---- */

ria_err leases_new(const struct leases_options *options, struct leases **out_leases)
{
    struct leases *leases = calloc(1, sizeof(*leases));

    if (leases == NULL) {
        return RIA_ERR_NOMEM;
    }
    leases->options = *options;
    ria_list_init(&leases->list);
    call_group_init(&leases->calls, options->env);
    ria_timer_init(&leases->list_timer, list_again, leases);
    *out_leases = leases;
    return RIA_OK;
}

void leases_free(struct leases *leases)
{
    if (leases == NULL) {
        return;
    }
    call_group_fini(&leases->calls);
    ria_timer_stop(leases->options.env->timers, &leases->list_timer);
    while (!ria_list_is_empty(&leases->list)) {
        lease_end(RIA_CONTAINER(leases->list.next, struct lease, link));
    }
    free(leases);
}

void leases_drain(struct leases *leases)
{
    leases->draining = true;
    RIA_LIST_FOREACH (it, &leases->list) {
        task_drain(RIA_CONTAINER(it, struct lease, link)->task);
    }
}

bool leases_are_drained(const struct leases *leases)
{
    RIA_LIST_FOREACH (it, &leases->list) {
        if (!task_is_drained(RIA_CONTAINER(it, struct lease, link)->task)) {
            return false;
        }
    }
    return true;
}

uint32_t leases_count(const struct leases *leases)
{
    uint32_t count = 0;

    RIA_LIST_FOREACH (it, &leases->list) {
        count++;
    }
    return count;
}

uint32_t leases_running_count(const struct leases *leases)
{
    uint32_t count = 0;

    RIA_LIST_FOREACH (it, &leases->list) {
        count += RIA_CONTAINER(it, struct lease, link)->task->state == TASK_RUNNING ? 1 : 0;
    }
    return count;
}

void leases_check(const struct leases *leases)
{
    RIA_LIST_FOREACH (it, &leases->list) {
        const struct lease *lease = RIA_CONTAINER(it, struct lease, link);
        RIA_ASSERT(lease->row->user == lease);
        task_check(lease->task);
    }
}
