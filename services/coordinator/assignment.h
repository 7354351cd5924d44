/* assignment: which member of a group reads which partitions. Pure.
 *
 * Of each topic every member that subscribes to it gets the same number of partitions, give or take
 * one; who gets one more is chosen so that the sums over all topics are as even as that allows.
 * Only what must move moves: partitions of nobody, of those who do not subscribe, and the surplus
 * of those who have too many. The same input gives the same plan, and a plan that is put in again
 * stays as it is.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"

struct assignment_topic {
    int32_t *owners; /* by partition: a member, -1 = nobody. As it was, then as it is to be */
    uint32_t partition_count;
    const uint32_t *members; /* who subscribe, each once; nobody: partitions are nobody's */
    uint32_t member_count;
};

/* Members are numbers below member_count. Errors: those of the arena; then owners are undefined. */
ria_err assignment_plan(
    struct assignment_topic *topics,
    uint32_t topic_count,
    uint32_t member_count,
    struct ria_arena *arena
) RIA_MUST_USE;
