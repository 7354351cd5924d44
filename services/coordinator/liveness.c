#include "services/coordinator/liveness.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/map.h"

enum { FORGET_BATCH = 256 };

struct liveness {
    const struct ria_clock *clock;
    struct ria_map processes; /* uuid -> struct liveness_process */
    int64_t next_us;          /* nobody dies or is forgotten before */
    int64_t expected_us;      /* when liveness_expire() should be called at the latest */
    int64_t changes;
};

ria_err liveness_new(const struct ria_clock *clock, struct liveness **out_liveness)
{
    struct liveness *liveness = calloc(1, sizeof(*liveness));

    if (liveness == NULL) {
        return RIA_ERR_NOMEM;
    }
    liveness->clock = clock;
    liveness->next_us = INT64_MAX;
    liveness->expected_us = INT64_MAX;
    ria_map_init(&liveness->processes);
    *out_liveness = liveness;
    return RIA_OK;
}

/* The entry after *cursor, not const: only for this file. */
static struct liveness_process *next_process(const struct liveness *liveness, size_t *cursor)
{
    return ria_map_next(&liveness->processes, cursor);
}

void liveness_free(struct liveness *liveness)
{
    struct liveness_process *process = NULL;
    size_t cursor = 0;

    if (liveness == NULL) {
        return;
    }
    while ((process = next_process(liveness, &cursor)) != NULL) {
        free(process);
    }
    ria_map_fini(&liveness->processes);
    free(liveness);
}

static struct liveness_process *
find_process(const struct liveness *liveness, const struct ria_uuid *uuid)
{
    return ria_map_get(&liveness->processes, uuid->bytes, sizeof(uuid->bytes));
}

const struct liveness_process *
liveness_find(const struct liveness *liveness, const struct ria_uuid *uuid)
{
    return find_process(liveness, uuid);
}

/* When something happens to the process if it stays silent. */
static int64_t deadline_us(const struct liveness_process *process)
{
    return process->alive ? process->deadline_us
                          : process->heard_us + LIVENESS_FORGET_MS * INT64_C(1000);
}

ria_err liveness_heard(struct liveness *liveness, const struct liveness_process *process)
{
    struct liveness_process *entry = find_process(liveness, &process->uuid);

    if (entry == NULL) {
        if (liveness->processes.count >= LIVENESS_PROCESSES_MAX) {
            return RIA_ERR_BUSY;
        }
        entry = calloc(1, sizeof(*entry));
        if (entry == NULL) {
            return RIA_ERR_NOMEM;
        }
        entry->uuid = process->uuid;
        ria_err err =
            ria_map_put(&liveness->processes, entry->uuid.bytes, sizeof(entry->uuid.bytes), entry);
        if (err != RIA_OK) {
            free(entry);
            return err;
        }
    }
    if (entry->left && entry->incarnation == process->incarnation) {
        return RIA_OK;
    }
    if (!entry->alive || entry->incarnation != process->incarnation ||
        entry->node_id != process->node_id || entry->role != process->role ||
        entry->full != process->full) {
        liveness->changes++;
    }
    *entry = *process;
    entry->heard_us = ria_clock_mono_us(liveness->clock);
    entry->deadline_us = entry->heard_us + membership_session_ms(entry->role) * 1000;
    entry->alive = true;
    entry->left = false;
    liveness->next_us = ria_min_i64(liveness->next_us, deadline_us(entry));
    return RIA_OK;
}

void liveness_hint(struct liveness *liveness, const struct ria_uuid *uuid, int64_t incarnation)
{
    struct liveness_process *entry = find_process(liveness, uuid);
    int64_t deadline = ria_clock_mono_us(liveness->clock) + LIVENESS_HINT_MS * INT64_C(1000);

    if (entry != NULL && entry->alive && entry->incarnation == incarnation) {
        entry->deadline_us = ria_min_i64(entry->deadline_us, deadline);
        liveness->next_us = ria_min_i64(liveness->next_us, entry->deadline_us);
    }
}

void liveness_leave(struct liveness *liveness, const struct ria_uuid *uuid, int64_t incarnation)
{
    struct liveness_process *entry = find_process(liveness, uuid);

    if (entry != NULL && entry->incarnation == incarnation && !entry->left) {
        liveness->changes += entry->alive ? 1 : 0;
        entry->alive = false;
        entry->left = true;
    }
}

int64_t liveness_next_us(const struct liveness *liveness)
{
    return liveness->next_us;
}

static int64_t silent_us(const struct liveness *liveness, const struct liveness_process *process)
{
    return ria_clock_mono_us(liveness->clock) - process->heard_us;
}

int64_t liveness_silent_ms(const struct liveness *liveness, const struct liveness_process *process)
{
    return silent_us(liveness, process) / 1000;
}

/* Forget those whose time has come, at most FORGET_BATCH of them: nothing may be removed during a
 * walk. Returns how many. */
static uint32_t forget(struct liveness *liveness)
{
    struct liveness_process *gone[FORGET_BATCH];
    struct liveness_process *process = NULL;
    uint32_t count = 0;
    size_t cursor = 0;

    while (count < FORGET_BATCH && (process = next_process(liveness, &cursor)) != NULL) {
        if (silent_us(liveness, process) >= (int64_t)LIVENESS_FORGET_MS * 1000) {
            gone[count++] = process;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        (void
        )ria_map_remove(&liveness->processes, gone[i]->uuid.bytes, sizeof(gone[i]->uuid.bytes));
        free(gone[i]);
    }
    return count;
}

void liveness_expect(struct liveness *liveness, int64_t due_us)
{
    liveness->expected_us = due_us;
}

/* Give everybody the time that this process stood still. */
static void forgive(struct liveness *liveness, int64_t now_us)
{
    struct liveness_process *process = NULL;
    size_t cursor = 0;

    if (liveness->expected_us == INT64_MAX ||
        now_us - liveness->expected_us < LIVENESS_LATE_MS * INT64_C(1000)) {
        return;
    }
    int64_t late_us = now_us - liveness->expected_us;
    liveness->expected_us = INT64_MAX; /* until the next time is set */
    while ((process = next_process(liveness, &cursor)) != NULL) {
        process->deadline_us += process->alive ? late_us : 0;
    }
}

void liveness_expire(struct liveness *liveness)
{
    struct liveness_process *process = NULL;
    size_t cursor = 0;
    int64_t now_us = ria_clock_mono_us(liveness->clock);

    forgive(liveness, now_us);
    if (now_us < liveness->next_us) {
        return;
    }
    while (forget(liveness) == FORGET_BATCH) {
    }
    liveness->next_us = INT64_MAX;
    while ((process = next_process(liveness, &cursor)) != NULL) {
        if (now_us >= process->deadline_us) {
            liveness->changes += process->alive ? 1 : 0;
            process->alive = false;
        }
        liveness->next_us = ria_min_i64(liveness->next_us, deadline_us(process));
    }
}

static int compare_uuids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct ria_uuid));
}

uint32_t liveness_list(
    const struct liveness *liveness, process_role role, struct ria_uuid *out, uint32_t max
)
{
    uint32_t count = 0;
    uint32_t filled = 0;
    size_t cursor = 0;
    const struct liveness_process *process = NULL;

    while ((process = next_process(liveness, &cursor)) != NULL) {
        if (!process->alive || process->role != role) {
            continue;
        }
        if (filled < max) {
            out[filled++] = process->uuid;
        }
        count++;
    }
    if (filled > 1) {
        qsort(out, filled, sizeof(*out), compare_uuids);
    }
    return count;
}

bool liveness_place(
    const struct liveness *liveness,
    const struct ria_uuid *uuid,
    uint32_t *out_index,
    uint32_t *out_count
)
{
    const struct liveness_process *self = find_process(liveness, uuid);
    const struct liveness_process *process = NULL;
    size_t cursor = 0;
    uint32_t index = 0;
    uint32_t count = 0;

    if (self == NULL || !self->alive) {
        return false;
    }
    while ((process = next_process(liveness, &cursor)) != NULL) {
        if (process->alive && process->role == self->role) {
            count++;
            index += compare_uuids(&process->uuid, uuid) < 0 ? 1 : 0;
        }
    }
    *out_index = index;
    *out_count = count;
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    const int32_t *left = a;
    const int32_t *right = b;

    return (*left > *right) - (*left < *right);
}

uint32_t liveness_nodes(const struct liveness *liveness, int32_t *out, uint32_t max)
{
    uint32_t count = 0;
    size_t cursor = 0;
    const struct liveness_process *process = NULL;

    while ((process = next_process(liveness, &cursor)) != NULL && count < max) {
        if (process->alive && process->role == PROCESS_STORAGE && process->node_id >= 0) {
            out[count++] = process->node_id;
        }
    }
    if (count > 1) {
        qsort(out, count, sizeof(*out), compare_ids);
    }
    return count;
}

const struct liveness_process *liveness_next(const struct liveness *liveness, size_t *cursor)
{
    return next_process(liveness, cursor);
}

uint32_t liveness_count(const struct liveness *liveness)
{
    return (uint32_t)liveness->processes.count;
}

int64_t liveness_changes(const struct liveness *liveness)
{
    return liveness->changes;
}
