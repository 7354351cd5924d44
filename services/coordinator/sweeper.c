/* sweeper: rows of queues that nobody needs any more are deleted by and by, by SweepRanges
 * commands, one at a time with a pause between two: a million of them in one transaction would stop
 * the loop for seconds. What is left when the process ends is found by the next one.
 */
#include "common/assert.h"

#include "schemas/gen/sweep_ranges.h"

#include "services/coordinator/coordinator.h"

enum {
    SWEEP_VERSION = 0,
    SWEEP_ROWS = 1000, /* of a command: a few milliseconds */
    SWEEP_PAUSE_US = 10 * 1000,
    SWEEP_SIZE_MAX = 16,
};

static bool has_leftovers(struct coordinator *coordinator)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_LEFTOVERS_ANY);
    bool any = meta_step(stmt) && meta_column_int(stmt, 0) != 0;

    meta_done(stmt);
    return any;
}

static void on_swept(void *arg, ria_err err, int64_t index, const struct command_result *result)
{
    struct coordinator *coordinator = arg;

    (void)index;
    (void)result;
    coordinator->sweeping = false;
    if (err == RIA_OK && coordinator->running) {
        ria_timer_start(coordinator->env->timers, &coordinator->sweep_timer, SWEEP_PAUSE_US);
    }
}

void sweeper_check(struct coordinator *coordinator)
{
    const struct sweep_ranges body = {.rows_max = SWEEP_ROWS};
    uint8_t bytes[SWEEP_SIZE_MAX];
    struct ria_writer writer = ria_writer_of(bytes, sizeof(bytes));

    if (coordinator->sweeping || coordinator->sweep_timer.active || !coordinator->running ||
        consensus_get_role(coordinator->consensus) != CONSENSUS_LEADER ||
        !has_leftovers(coordinator)) {
        return;
    }
    sweep_ranges_encode(&body, SWEEP_VERSION, &writer);
    RIA_ASSERT(writer.pos <= sizeof(bytes));
    /* An error: the next tick tries again. */
    coordinator->sweeping = coordinator_propose(
                                coordinator,
                                COMMAND_SWEEP_RANGES,
                                SWEEP_VERSION,
                                -1,
                                ria_slice_of(bytes, writer.pos),
                                on_swept,
                                coordinator
                            ) == RIA_OK;
}

static void on_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    sweeper_check(arg);
}

void sweeper_init(struct coordinator *coordinator)
{
    ria_timer_init(&coordinator->sweep_timer, on_due, coordinator);
}
