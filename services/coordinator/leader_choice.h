/* leader_choice: who leads a partition, and who stays in its in-sync set. The rules of
 * docs/design/008-failover.md, on one row, without a database. Pure.
 *
 * Invariants that every function keeps: the in-sync set is never empty; a leader is in it; nobody
 * is both in sync and eligible; while somebody leads and anybody is eligible, in-sync and eligible
 * together are at most min.insync.replicas.
 */
#pragma once

#include "common/base.h"

#include "services/coordinator/node_set.h"
#include "services/coordinator/partition_row.h"

/* Who should lead if `usable` are the nodes that are alive and not fenced: the first of the
 * replicas in the in-sync set, else the first of the eligible; never one that is unfit. -1 =
 * nobody may. */
int32_t leader_choice(const struct partition_row *row, const struct node_set *usable);

/* The preferred leader, if it should lead and does not; else -1. */
int32_t leader_preferred(const struct partition_row *row, const struct node_set *usable);

/* Let node_id, which is in sync or eligible, lead under a new epoch. An eligible one begins an
 * in-sync set of its own: who was in it becomes eligible. */
void leader_set(struct partition_row *row, int32_t node_id, int64_t min_insync);

/* Let any replica lead under a new epoch that is remembered as forced, in an in-sync set of its
 * own. Nobody is eligible any more: what had been committed may be gone. */
void leader_force(struct partition_row *row, int32_t node_id);

/* Take a node out of the in-sync set unless it is the last in it; it becomes eligible if the set is
 * or becomes smaller than the minimum, or if nobody leads: then nothing is committed without it. It
 * does not lead itself. */
void leader_leave(struct partition_row *row, int32_t node_id, int64_t min_insync);

/* Take a node that must not lead out of the in-sync set as above and, if it leads, let another one
 * lead: nobody if there is none, or, with keep, then it stays as it is. */
void leader_retire(
    struct partition_row *row,
    int32_t node_id,
    const struct node_set *usable,
    int64_t min_insync,
    bool keep
);

/* Nobody is eligible beside a set that has its minimum, and no more than up to it: else it could
 * commit without them. While nobody leads, nothing is committed, and nothing changes here. */
void leader_bound_eligible(struct partition_row *row, int64_t min_insync);

/* The in-sync set becomes isr, which has the leader. Who leaves a set that is smaller than the
 * minimum becomes eligible; a set that reaches it leaves nobody eligible while somebody leads. */
void leader_change_isr(struct partition_row *row, const struct node_list *isr, int64_t min_insync);
