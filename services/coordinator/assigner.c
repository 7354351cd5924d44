/* assigner: keeps transform tasks spread over the live workers, by AssignTasks commands.
 *
 * It looks when workers or tasks have changed, and plans from committed leases only; while a
 * command is under way it does not plan. What a command could not do (a lease changed meanwhile)
 * shows in the next look.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "common/assert.h"
#include "common/map.h"

#include "schemas/gen/assign_tasks.h"

#include "services/coordinator/coordinator.h"
#include "services/coordinator/rows.h"
#include "services/coordinator/tasks.h"

enum { ASSIGN_VERSION = 0, ASSIGN_MAX = 10000, ASSIGN_ARENA_SIZE_MAX = 256 * 1024 * 1024 };

static void on_assigned(void *arg, ria_err err, int64_t index, const struct command_result *result)
{
    struct coordinator *coordinator = arg;

    (void)index;
    coordinator->assigning = false;
    if (err == RIA_ERR_SHUTDOWN) {
        return;
    }
    if (err != RIA_OK || result->err != RIA_OK) {
        ria_log_warn(
            coordinator->env->log,
            "coordinator.assign_failed",
            "err=%s",
            ria_err_name(err != RIA_OK ? err : result->err)
        );
        coordinator->tasks_changed = true; /* the next tick tries again */
    }
}

static bool read_leases(struct coordinator *coordinator, struct rows *leases)
{
    bool ok = true;
    struct meta_stmt *stmt = meta_query(coordinator->db, META_TASK_LEASES);

    while (ok && meta_step(stmt)) {
        struct task_lease *lease = rows_add(leases);
        ok = lease != NULL;
        if (ok) {
            lease->transform_id = meta_column_uuid(stmt, 0);
            lease->partition = (int32_t)meta_column_int(stmt, 1);
            lease->worker = meta_column_uuid(stmt, 2);
            lease->epoch = (int16_t)meta_column_int(stmt, 3);
        }
    }
    meta_done(stmt);
    return ok;
}

static bool add_moves(const struct task_lease *leases, uint32_t count, struct rows *moves)
{
    for (uint32_t i = 0; i < count && moves->count < ASSIGN_MAX; i++) {
        if (ria_uuid_equal(leases[i].worker, leases[i].next_worker)) {
            continue;
        }
        struct assign_tasks_assigned_task *task = rows_add(moves);
        if (task == NULL) {
            return false;
        }
        task->transform_id = leases[i].transform_id;
        task->partition = leases[i].partition;
        task->epoch = leases[i].epoch;
        task->worker = leases[i].next_worker;
    }
    return true;
}

static ria_err
propose_moves(struct coordinator *coordinator, struct ria_arena *arena, const struct rows *moves)
{
    const struct assign_tasks body = {.tasks = moves->items, .tasks_count = moves->count};
    uint32_t size = assign_tasks_size(&body, ASSIGN_VERSION);
    uint8_t *bytes = ria_arena_alloc(arena, size);

    if (bytes == NULL) {
        return ria_arena_err(arena);
    }
    struct ria_writer writer = ria_writer_of(bytes, size);
    assign_tasks_encode(&body, ASSIGN_VERSION, &writer);
    RIA_ASSERT(writer.pos == size);
    return coordinator_propose(
        coordinator,
        COMMAND_ASSIGN_TASKS,
        ASSIGN_VERSION,
        -1,
        ria_slice_of(bytes, size),
        on_assigned,
        coordinator
    );
}

static ria_err plan(
    struct coordinator *coordinator,
    struct ria_arena *arena,
    const struct ria_uuid *workers,
    uint32_t worker_count
)
{
    uint32_t move_count = 0;
    struct rows leases = rows_of(arena, sizeof(struct task_lease));
    struct rows moves = rows_of(arena, sizeof(struct assign_tasks_assigned_task));

    if (!read_leases(coordinator, &leases)) {
        return ria_arena_err(arena);
    }
    RIA_TRY(tasks_plan(
        leases.items,
        leases.count,
        workers,
        worker_count,
        coordinator_is_settling(coordinator),
        &move_count
    ));
    if (move_count == 0) {
        return RIA_OK;
    }
    if (!add_moves(leases.items, leases.count, &moves)) {
        return ria_arena_err(arena);
    }
    RIA_TRY(propose_moves(coordinator, arena, &moves));
    coordinator->assigning = true;
    ria_log_info(
        coordinator->env->log,
        "coordinator.tasks_assigned",
        "moved=%" PRIu32 " tasks=%" PRIu32 " workers=%" PRIu32,
        moves.count,
        leases.count,
        worker_count
    );
    return RIA_OK;
}

/* Whether there is anything new to plan with. */
static bool something_changed(
    struct coordinator *coordinator, const struct ria_uuid *workers, uint32_t worker_count
)
{
    bool settling = coordinator_is_settling(coordinator);
    uint64_t hash = ria_hash_bytes(workers, worker_count * sizeof(*workers));
    bool changed = coordinator->tasks_changed || hash != coordinator->assigner_workers ||
                   settling != coordinator->assigner_was_settling;

    coordinator->tasks_changed = false;
    coordinator->assigner_workers = hash;
    coordinator->assigner_was_settling = settling;
    return changed;
}

void assigner_check(struct coordinator *coordinator)
{
    struct ria_arena arena;

    if (coordinator->assigning || !coordinator->running ||
        consensus_get_role(coordinator->consensus) != CONSENSUS_LEADER) {
        return;
    }
    ria_arena_init(&arena, ASSIGN_ARENA_SIZE_MAX);
    uint32_t worker_count = liveness_list(coordinator->liveness, PROCESS_TRANSFORM, NULL, 0);
    struct ria_uuid *workers = ria_arena_alloc_array(&arena, worker_count, sizeof(*workers));
    ria_err err = RIA_OK;
    if (workers == NULL) {
        err = ria_arena_err(&arena);
    } else {
        (void)liveness_list(coordinator->liveness, PROCESS_TRANSFORM, workers, worker_count);
        if (something_changed(coordinator, workers, worker_count)) {
            err = plan(coordinator, &arena, workers, worker_count);
        }
    }
    if (err != RIA_OK) {
        coordinator->tasks_changed = true; /* the next tick tries again */
        ria_log_warn(
            coordinator->env->log, "coordinator.assign_failed", "err=%s", ria_err_name(err)
        );
    }
    ria_arena_fini(&arena);
}
