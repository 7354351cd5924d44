/* scenario: a short life of one storage node in which one thing fails, and what must hold
 * afterwards.
 *
 * The node starts on an empty disk, leads one partition and follows in another, rolls, is cut back,
 * writes its checkpoint, and stops or loses its power. Requests that fail definitely are tried
 * again, with the same sequence, as a gateway would. Then the fault is gone; the node starts anew
 * and must have kept every acknowledged record, must have none whose failure was definite, must not
 * call anything damaged, and takes writes again. Nothing stays open.
 */
#pragma once

#include "common/base.h"

#include "tests/lib/fault_fs.h"

struct scenario_plan {
    struct fault fault;     /* of the disk; .at == 0: none */
    uint64_t failing_alloc; /* which allocation of the core fails, 0 = none */
    bool power_cut;         /* at the end, instead of a clean stop */
};

/* False: the promise in out_why was broken. *out_struck: the fault happened (if not, the life was
 * too short for it). */
bool scenario_run(
    const struct scenario_plan *plan, bool *out_struck, char *out_why, size_t out_why_size
);
