#include "services/coordinator/tasks.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

struct load {
    uint32_t held;     /* tasks it keeps or gets */
    uint32_t capacity; /* tasks it may have */
};

/* Index of a worker, or -1. workers are in order. */
static int64_t
find_worker(const struct ria_uuid *workers, uint32_t count, const struct ria_uuid *worker)
{
    uint32_t low = 0;
    uint32_t high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = memcmp(workers[middle].bytes, worker->bytes, sizeof(worker->bytes));
        if (order == 0) {
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return -1;
}

/* The larger shares go to those that hold most already. */
static void set_capacities(struct load *loads, uint32_t worker_count, uint32_t lease_count)
{
    uint32_t base = lease_count / worker_count;
    uint32_t larger = lease_count % worker_count;

    for (uint32_t i = 0; i < worker_count; i++) {
        loads[i].capacity = base;
    }
    for (uint32_t n = 0; n < larger; n++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < worker_count; i++) {
            if (loads[i].capacity == base &&
                (best == UINT32_MAX || loads[i].held > loads[best].held)) {
                best = i;
            }
        }
        RIA_ASSERT(best != UINT32_MAX);
        loads[best].capacity = base + 1;
    }
}

static uint32_t least_loaded(const struct load *loads, uint32_t worker_count)
{
    uint32_t best = UINT32_MAX;

    for (uint32_t i = 0; i < worker_count; i++) {
        if (loads[i].held < loads[i].capacity &&
            (best == UINT32_MAX || loads[i].held < loads[best].held)) {
            best = i;
        }
    }
    RIA_ASSERT(best != UINT32_MAX);
    return best;
}

static void count_held(
    const struct task_lease *leases,
    uint32_t lease_count,
    const struct ria_uuid *workers,
    uint32_t worker_count,
    struct load *loads
)
{
    for (uint32_t i = 0; i < lease_count; i++) {
        int64_t worker = find_worker(workers, worker_count, &leases[i].worker);
        if (worker >= 0) {
            loads[worker].held++;
        }
    }
}

/* True: the lease stays where it is. Else it must be given away, and loads no longer counts it. */
static bool stays(
    const struct task_lease *lease,
    const struct ria_uuid *workers,
    uint32_t worker_count,
    struct load *loads,
    bool settling
)
{
    int64_t worker = find_worker(workers, worker_count, &lease->worker);

    if (lease->epoch == INT16_MAX) {
        return true; /* no epoch is left to fence the old owner with */
    }
    if (settling) {
        return !ria_uuid_is_zero(lease->worker);
    }
    if (worker < 0) {
        return false;
    }
    if (loads[worker].held > loads[worker].capacity) {
        loads[worker].held--;
        return false;
    }
    return true;
}

ria_err tasks_plan(
    struct task_lease *leases,
    uint32_t lease_count,
    const struct ria_uuid *workers,
    uint32_t worker_count,
    bool settling,
    uint32_t *out_moves
)
{
    uint32_t moves = 0;

    for (uint32_t i = 0; i < lease_count; i++) {
        leases[i].next_worker = leases[i].worker;
    }
    if (worker_count == 0) {
        *out_moves = 0;
        return RIA_OK;
    }
    struct load *loads = calloc(worker_count, sizeof(*loads));
    if (loads == NULL) {
        return RIA_ERR_NOMEM;
    }
    count_held(leases, lease_count, workers, worker_count, loads);
    set_capacities(loads, worker_count, lease_count);
    for (uint32_t i = 0; i < worker_count && settling; i++) {
        loads[i].capacity = UINT32_MAX; /* nothing moves away, so shares cannot be kept yet */
    }
    /* First all that leave, then all that arrive: a worker's room is known before it is filled. */
    for (uint32_t i = 0; i < lease_count; i++) {
        if (!stays(&leases[i], workers, worker_count, loads, settling)) {
            leases[i].next_worker = (struct ria_uuid){{0}};
            moves++;
        }
    }
    for (uint32_t i = 0; i < lease_count; i++) {
        bool given_away = ria_uuid_is_zero(leases[i].next_worker);
        if (given_away && leases[i].epoch != INT16_MAX) {
            uint32_t best = least_loaded(loads, worker_count);
            leases[i].next_worker = workers[best];
            loads[best].held++;
        }
    }
    free(loads);
    *out_moves = moves;
    return RIA_OK;
}
