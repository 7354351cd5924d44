/* admin: what is asked of the cluster beside reading and writing: topics made and deleted,
 * transforms, and whatever operators do. Each operation of the plan is sent at its time and again
 * until it is done (or refused, where the cluster's state may not allow it); all must be done in
 * the end.
 *
 * A new operation: a kind in plan.h, a row of the table in admin.c, a draw in plan.c.
 */
#pragma once

#include "common/base.h"
#include "common/timers.h"

#include "tests/sim/inspect.h"
#include "tests/sim/plan.h"

struct world;
struct sim_node;

struct admin_op {
    struct admin *admin;
    const struct plan_admin *plan;
    struct ria_timer timer;
    bool is_done;
    ria_err last_err;
};

struct admin {
    struct world *world;
    struct sim_node *node; /* whose client asks */
    struct admin_op ops[PLAN_ADMIN_MAX];
    struct inspect_forced forced[PLAN_PARTITIONS_MAX];
};

void admin_init(struct admin *admin, struct world *world);

/* Begin. Its node is up. */
void admin_start(struct admin *admin);

/* What came of an attempt: it is tried again until this is RIA_OK. */
void admin_take_answer(struct admin_op *op, ria_err err);

bool admin_is_done(const struct admin *admin);

/* Say which are not (world_break). */
void admin_report_stuck(const struct admin *admin);

/* The faults have been over for long, and nobody leads some partition: its last replica in sync is
 * damaged where nobody can help. An operator forces the one with the newest log. That no fit one
 * was left is judged (no-election). */
void admin_rescue(struct admin *admin);

/* At the end: clients are told of those whom he forced, and of nobody else. */
void admin_check_forced(const struct admin *admin);

/* The run is over. */
void admin_close(struct admin *admin);
