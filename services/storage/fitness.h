/* fitness: what this node tells the coordinator about its own replicas
 * (docs/design/008-failover.md).
 *
 * A replica is unfit to lead while its log has failed (or cannot be opened) or is damaged. Whoever
 * changes one of these calls storage_report_fitness(); the word goes out with ReportReplicas, many
 * replicas at a time, until the coordinator has acknowledged it. What the metadata says counts as
 * what was told: so a restart, or a coordinator that missed something, ends in the same state.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

struct fitness;
struct replica;
struct storage;

/* Values of ReportReplicas' state. */
typedef enum fitness_state {
    FITNESS_FIT = 0,
    FITNESS_FAILED = 1,
    FITNESS_DAMAGED = 2,
} fitness_state;

/* Borrows storage. Errors: RIA_ERR_NOMEM. */
ria_err fitness_new(struct storage *s, struct fitness **out_fitness) RIA_MUST_USE;

/* Accepts NULL. */
void fitness_free(struct fitness *fitness);

/* What there is to say of a replica now. */
fitness_state fitness_of(const struct replica *replica);

/* A new registration: everything unfit is said again. */
void fitness_repeat(struct fitness *fitness);
