/* leases: which tasks are this worker's, by the cluster's view, and their beginning and end.
 *
 * A task begins when the view says that its lease is this worker's: its statement is compiled (once
 * for all tasks of a transform), and the coordinator is asked what it has of the task
 * (ListTransforms: one question for all that begin). It ends at once when the view says otherwise.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/uuid.h"

#include "services/shared/cluster.h"
#include "services/shared/watcher.h"
#include "services/transform/budget.h"
#include "services/transform/task.h"

struct leases;

struct leases_options {
    const struct ria_env *env;
    struct cluster *cluster;
    struct watcher *watcher;
    struct budget *budget;
    struct task_metrics *metrics;
    struct ria_uuid worker; /* this process */
};

/* Borrows what options point to. Errors: RIA_ERR_NOMEM. */
ria_err leases_new(const struct leases_options *options, struct leases **out_leases) RIA_MUST_USE;

/* Accepts NULL. Before the cluster's view is freed. */
void leases_free(struct leases *leases);

/* The view's callbacks. */
void leases_partition_changed(struct leases *leases, const struct cluster_partition *partition);
void leases_transform_changed(struct leases *leases, struct cluster_transform *transform);
void leases_task_changed(struct leases *leases, struct cluster_task *task);
void leases_view_changed(struct leases *leases);

/* Shut down: no task begins any more, those there are finish. */
void leases_drain(struct leases *leases);
bool leases_are_drained(const struct leases *leases);

uint32_t leases_count(const struct leases *leases);
uint32_t leases_running_count(const struct leases *leases);

/* Invariants; aborts on a broken one. */
void leases_check(const struct leases *leases);
