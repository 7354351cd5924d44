/* tasks: which transform worker should hold which task. Pure: a plan from the leases and the live
 * workers; the coordinator proposes it as a command.
 *
 * Every live worker gets the same number of tasks, give or take one, and only what must move moves:
 * tasks of dead workers, tasks nobody holds, and the surplus of workers that hold too many.
 *
 * While the coordinator has not yet listened for a whole session time (settling), a holder it has
 * not heard may well be alive: then only tasks that nobody holds are given away.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/uuid.h"

struct task_lease {
    struct ria_uuid transform_id;
    int32_t partition;
    struct ria_uuid worker; /* zero = nobody */
    int16_t epoch;
    struct ria_uuid next_worker; /* set by the plan; the same as worker: it stays */
};

/* Fills next_worker of every lease (in a fixed order, for a fixed plan). workers: the live ones in
 * order of uuid. *out_moves: leases whose worker changes. Without workers everything stays.
 * Errors: RIA_ERR_NOMEM. */
ria_err tasks_plan(
    struct task_lease *leases,
    uint32_t lease_count,
    const struct ria_uuid *workers,
    uint32_t worker_count,
    bool settling,
    uint32_t *out_moves
) RIA_MUST_USE;
