/* liveness: who was heard of lately. In memory only; its consequences are commands.
 *
 * A process is alive while its last heartbeat is younger than the session of its role, on the
 * monotonic clock. A hint that it may have died shortens that; being heard ends the hint. One that
 * says that it goes is dead at once, and for good. A silent one is remembered for
 * LIVENESS_FORGET_MS, for descriptions, then forgotten.
 *
 * Pure but for the clock it is given. Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/uuid.h"

#include "services/shared/membership.h"

enum {
    LIVENESS_PROCESSES_MAX = 8000, /* with all nodes still within DescribeCluster's limit */
    LIVENESS_FORGET_MS = 60 * 1000,
    LIVENESS_HINT_MS = 400, /* to be heard again after a hint: a new connection takes less */
    LIVENESS_LATE_MS = 100, /* more than a busy loop is late */
};

struct liveness_process {
    struct ria_uuid uuid;
    int64_t incarnation;
    process_role role;
    int32_t node_id; /* storage: its number, else -1 */
    char address[RIA_ADDRESS_MAX + 1];
    int64_t heard_us;    /* mono clock */
    int64_t deadline_us; /* then it is taken for dead */
    bool alive;          /* as of the last liveness_expire() */
    bool left;           /* this incarnation said that it goes */
    bool full;           /* storage: takes no replica more */
};

struct liveness;

/* Borrows clock. Errors: RIA_ERR_NOMEM. */
ria_err liveness_new(const struct ria_clock *clock, struct liveness **out_liveness) RIA_MUST_USE;
void liveness_free(struct liveness *liveness);

/* A process was heard now. Copies from `process` all but heard_us, deadline_us, alive and left.
 * Nothing changes if this incarnation has left: that was late. Errors: RIA_ERR_BUSY (table full),
 * RIA_ERR_NOMEM. */
ria_err
liveness_heard(struct liveness *liveness, const struct liveness_process *process) RIA_MUST_USE;

/* This life of the process may have died: it has LIVENESS_HINT_MS left if it is not heard. */
void liveness_hint(struct liveness *liveness, const struct ria_uuid *uuid, int64_t incarnation);

/* This life of the process ends now, by its own word. */
void liveness_leave(struct liveness *liveness, const struct ria_uuid *uuid, int64_t incarnation);

/* liveness_expire() has nothing to do before, on the mono clock. */
int64_t liveness_next_us(const struct liveness *liveness);

/* liveness_expire() will be called at due_us or soon after. If it is called much later, then this
 * process stood still (paused, a slow disk), and what the others sent meanwhile waits to be read:
 * the time that it is late counts against nobody. */
void liveness_expect(struct liveness *liveness, int64_t due_us);

/* Mark those alive no longer who have been silent too long, forget the long gone. Call it before
 * asking who is alive: nothing else ages. */
void liveness_expire(struct liveness *liveness);

/* NULL if not known. */
const struct liveness_process *
liveness_find(const struct liveness *liveness, const struct ria_uuid *uuid);

/* Live processes of a role in order of uuid: fills out (at most max), returns how many there are.
 */
uint32_t liveness_list(
    const struct liveness *liveness, process_role role, struct ria_uuid *out, uint32_t max
);

/* Place of a live process among the live ones of its role in order of uuid, and their number. False
 * if it is not alive. */
bool liveness_place(
    const struct liveness *liveness,
    const struct ria_uuid *uuid,
    uint32_t *out_index,
    uint32_t *out_count
);

/* Node ids of the live storage nodes, ascending: fills out (at most max), returns how many. */
uint32_t liveness_nodes(const struct liveness *liveness, int32_t *out, uint32_t max);

/* All known, in no order: start with *cursor = 0; NULL at the end. */
const struct liveness_process *liveness_next(const struct liveness *liveness, size_t *cursor);

uint32_t liveness_count(const struct liveness *liveness);

/* Grows whenever a process is new, dies, comes back, fills up, has room again, or is another life
 * or node than before: who compares it needs to look at nothing else. */
int64_t liveness_changes(const struct liveness *liveness);

/* Milliseconds since the process was heard. */
int64_t liveness_silent_ms(const struct liveness *liveness, const struct liveness_process *process);
