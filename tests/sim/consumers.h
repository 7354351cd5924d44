/* consumers: what consumers of groups and of queues have in common.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"
#include "common/uuid.h"

#include "tests/sim/history.h"

struct world;

enum { CONSUMERS_NAME_SIZE = 24 };

/* out_name has CONSUMERS_NAME_SIZE bytes. */
void consumers_group_name(uint32_t group, char *out_name);

/* An event of group and consumer at a place; the caller sets the rest, and adds it. */
struct history_event consumers_event(
    const struct world *world,
    history_kind kind,
    uint32_t consumer,
    uint32_t partition,
    int64_t offset
);

/* Number over all topics. False: it is of none of ours. */
bool consumers_find_partition(
    const struct world *world, const struct ria_uuid *topic_id, int32_t number, uint32_t *out
);

/* An answer that a consumer must not get while nothing worse happens than the plan has ends the run
 * with "unexpected-error". */
void consumers_check_error(
    struct world *world, uint32_t consumer, ria_err err, struct ria_slice text
);

/* What a consumer was answered; word is a literal. */
void consumers_trace(
    struct world *world, const char *word, uint32_t consumer, ria_err err, struct ria_slice body
);

/* The coordinator's clock of leases; HISTORY_NO_CLOCK: it is down. */
int64_t consumers_lease_clock(const struct world *world);

/* CONSUMES of everybody. */
void consumers_declare(struct world *world);

/* POSITION of all groups, where it has changed. known is by group and partition; -1 = not known
 * yet.
 */
void consumers_note_positions(struct world *world, int64_t *known);

/* Records that the groups have still before them, in all. A partition without a leader counts as
 * one. */
int64_t consumers_backlog(const struct world *world);

/* The first group that is not at the end of a partition that it consumes. False: there is none. */
bool consumers_find_behind(
    const struct world *world, uint32_t *out_group, uint32_t *out_partition, int64_t *out_position
);
