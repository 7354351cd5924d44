#include "services/transform/service.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/shared/membership.h"
#include "services/shared/watcher.h"
#include "services/transform/check.h"
#include "services/transform/leases.h"

enum { DRAIN_POLL_US = 5 * 1000 };

struct transform {
    const struct ria_env *env;
    struct cluster *cluster;
    struct membership *membership;
    struct watcher *watcher;
    struct leases *leases;
    struct ria_uuid uuid;
    struct budget budget;
    struct task_metrics metrics;
    struct ria_gauge tasks;
    struct ria_gauge running;
    struct ria_gauge buffered;
    struct ria_timer drain_timer;
    bool *drained;
};

/* ---- the view ---- */

static void partition_changed(void *arg, struct cluster_partition *partition)
{
    struct transform *transform = arg;

    watcher_partition_changed(transform->watcher, partition);
    leases_partition_changed(transform->leases, partition);
}

static void node_changed(void *arg, struct cluster_node *node)
{
    (void)arg;
    (void)node; /* addresses are looked up when they are used */
}

static void transform_changed(void *arg, struct cluster_transform *changed)
{
    struct transform *transform = arg;

    leases_transform_changed(transform->leases, changed);
}

static void task_changed(void *arg, struct cluster_task *task)
{
    struct transform *transform = arg;

    leases_task_changed(transform->leases, task);
}

static void view_changed(void *arg)
{
    struct transform *transform = arg;

    leases_view_changed(transform->leases);
}

/* ---- requests ---- */

static void handle(void *arg, struct ria_rpc_request *request)
{
    struct transform *transform = arg;

    check_handle(transform->env, request);
}

/* ---- life ---- */

static struct membership_identity
identity_of(const struct transform *transform, const struct transform_options *options)
{
    struct membership_identity identity = {
        .process_uuid = transform->uuid,
        .incarnation = (int64_t)(ria_rand_u64(transform->env->rand) >> 1),
        .role = PROCESS_TRANSFORM,
    };

    (void)strncpy(identity.address, options->address, sizeof(identity.address) - 1);
    return identity;
}

static ria_err build(struct transform *transform, const struct transform_options *options)
{
    static const struct cluster_callbacks callbacks = {
        .node = node_changed,
        .partition = partition_changed,
        .transform = transform_changed,
        .task = task_changed,
        .done = view_changed,
    };
    const struct ria_env *env = transform->env;
    struct membership_identity identity = identity_of(transform, options);

    RIA_TRY(cluster_new(env, options->coordinator, &callbacks, transform, &transform->cluster));
    RIA_TRY(watcher_new(env, transform->cluster, &transform->watcher));
    RIA_TRY(membership_new(env, transform->cluster, &identity, NULL, NULL, &transform->membership));
    struct leases_options leases_options = {
        .env = env,
        .cluster = transform->cluster,
        .watcher = transform->watcher,
        .budget = &transform->budget,
        .metrics = &transform->metrics,
        .worker = transform->uuid,
    };
    return leases_new(&leases_options, &transform->leases);
}

static void look_at_drain(struct ria_timer *timer, void *arg)
{
    struct transform *transform = arg;

    (void)timer;
    if (leases_are_drained(transform->leases)) {
        membership_leave(transform->membership, transform->drained);
        return;
    }
    ria_timer_start(transform->env->timers, &transform->drain_timer, DRAIN_POLL_US);
}

ria_err transform_new(
    const struct ria_env *env,
    const struct transform_options *options,
    struct transform **out_transform
)
{
    struct transform *transform = calloc(1, sizeof(*transform));
    uint8_t random[RIA_UUID_SIZE];

    if (transform == NULL) {
        return RIA_ERR_NOMEM;
    }
    transform->env = env;
    transform->budget.limit = TRANSFORM_BUFFER_MAX;
    ria_timer_init(&transform->drain_timer, look_at_drain, transform);
    ria_rand_bytes(env->rand, random, sizeof(random));
    transform->uuid = ria_uuid_v4(random);
    ria_err err = build(transform, options);
    if (err != RIA_OK) {
        transform_free(transform);
        return err;
    }
    *out_transform = transform;
    return RIA_OK;
}

void transform_start(struct transform *transform)
{
    char text[RIA_UUID_TEXT_SIZE];

    ria_uuid_format(transform->uuid, text);
    ria_log_info(transform->env->log, "transform.started", "worker=%s", text);
    ria_rpc_set_handler(transform->env->rpc, handle, transform);
    cluster_start(transform->cluster);
    membership_start(transform->membership);
}

void transform_stop(struct transform *transform, bool *out_done)
{
    transform->drained = out_done;
    leases_drain(transform->leases);
    look_at_drain(&transform->drain_timer, transform);
}

void transform_free(struct transform *transform)
{
    if (transform == NULL) {
        return;
    }
    ria_timer_stop(transform->env->timers, &transform->drain_timer);
    leases_free(transform->leases);
    membership_free(transform->membership);
    watcher_free(transform->watcher);
    cluster_free(transform->cluster);
    RIA_ASSERT(transform->budget.used == 0);
    free(transform);
}

struct ria_uuid transform_uuid(const struct transform *transform)
{
    return transform->uuid;
}

bool transform_is_idle(const struct transform *transform)
{
    return transform->budget.used == 0;
}

uint64_t transform_records_in(const struct transform *transform)
{
    return transform->metrics.records_in.value;
}

uint32_t transform_running_count(const struct transform *transform)
{
    return leases_running_count(transform->leases);
}

void transform_check(const struct transform *transform)
{
    leases_check(transform->leases);
}

/* ---- metrics ---- */

static void refresh_metrics(void *arg)
{
    struct transform *transform = arg;

    transform->tasks.value = leases_count(transform->leases);
    transform->running.value = leases_running_count(transform->leases);
    transform->buffered.value = (int64_t)transform->budget.used;
}

void transform_register_metrics(struct transform *transform, struct ria_metrics *metrics)
{
    struct task_metrics *m = &transform->metrics;

#define COUNTER(field, help) \
    ria_metrics_add_counter(metrics, "riacho_transform_" #field "_total", "", help, &m->field)
    COUNTER(records_in, "Source records processed, repeated ones included.");
    COUNTER(records_out, "Derived records computed, repeated ones included.");
    COUNTER(errors, "Records that could not be processed, repeated ones included.");
    COUNTER(restarts, "Tasks that had to begin again.");
    COUNTER(commits, "Positions committed.");
#undef COUNTER
#define GAUGE(name, field, help) \
    ria_metrics_add_gauge(metrics, "riacho_transform_" name, "", help, &transform->field)
    GAUGE("tasks", tasks, "Tasks leased to this worker.");
    GAUGE("tasks_running", running, "Tasks that are at work.");
    GAUGE("buffered_bytes", buffered, "Records fetched and not acknowledged.");
#undef GAUGE
    ria_metrics_add_refresh(metrics, refresh_metrics, transform);
}
