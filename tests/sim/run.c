#include "tests/sim/run.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/assert.h"

#include "tests/sim/consumers.h"
#include "tests/sim/dead_letters.h"
#include "tests/sim/history_text.h"
#include "tests/sim/inspect.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/plan.h"
#include "tests/sim/workload.h"
#include "tests/sim/world.h"

enum {
    LOOK_US = 250 * 1000,    /* between two looks at the disks */
    GLANCE_US = 5 * 1000,    /* ... at what is committed */
    SETTLE_US = 50 * 1000,   /* between two looks whether all is well */
    RESCUE_US = 1000 * 1000, /* between two attempts of an operator */
    HISTORY_LINES_MAX = 40,
};

struct run {
    struct plan plan;
    struct world world;
    struct workload workload;
    struct nemesis nemesis;
    struct inspector inspector;
    int64_t look_us; /* when to look at the disks again */
};

/* What the plan's transforms are to do. */
static void note_derivations(struct world *world)
{
    const struct plan *plan = world->plan;

    for (uint32_t to = 0; to < plan->partition_count; to++) {
        const struct plan_topic *topic = &plan->topics[plan_topic_of(plan, to)];
        const struct plan_topic *source = &plan->topics[topic->source];
        for (int32_t i = 0; topic->kind == PLAN_TOPIC_DERIVED && i < source->partition_count; i++) {
            struct history_event event = {
                .time_us = world->now_us,
                .kind = HISTORY_DERIVED,
                .partition = to,
                .from = source->first_partition + (uint32_t)i,
                .skip = topic->skip_one_in,
            };
            history_add(&world->history, &event);
        }
    }
}

static void run_until(struct run *run, int64_t until_us)
{
    struct world *world = &run->world;

    while (!world->is_broken && world->now_us < until_us) {
        world_run(world, ria_min_i64(until_us, world->now_us + GLANCE_US));
        if (!world->is_broken) {
            inspector_glance(&run->inspector);
        }
        if (!world->is_broken && world->now_us >= run->look_us) {
            inspector_look(&run->inspector);
            run->look_us = world->now_us + LOOK_US;
        }
    }
}

/* What groups have not got yet, or how many damaged ranges there are. */
struct backlog {
    int64_t least;
    int64_t shrank_us;
};

static void note_backlog(struct backlog *backlog, int64_t left, int64_t now_us)
{
    if (left < backlog->least) {
        backlog->least = left;
        backlog->shrank_us = now_us;
    }
}

bool run_is_late(const struct run_progress *progress)
{
    bool gets_on = progress->holes_since_us < RUN_HOLE_US ||
                   (progress->is_whole && progress->backlog_since_us < RUN_DEAD_US);

    return progress->settled_us >= (gets_on ? RUN_DRAIN_US : RUN_HEAL_US);
}

/* The faults are over. Returns what it took until all was well. */
static int64_t settle(struct run *run)
{
    struct world *world = &run->world;
    int64_t start_us = world->now_us;
    int64_t rescue_us = plan_has(world->plan, PLAN_ROT) ? start_us + RUN_RESCUE_US : INT64_MAX;
    struct backlog backlog = {.least = INT64_MAX};
    struct backlog holes = {.least = INT64_MAX};

    nemesis_heal(&run->nemesis);
    workload_finish(&run->workload);
    while (!world->is_broken) {
        bool is_whole = workload_is_done(&run->workload) && inspect_is_whole(world);
        if (is_whole) {
            note_backlog(&backlog, workload_backlog(&run->workload), world->now_us);
        }
        int64_t hole_count = inspect_count_holes(world);
        note_backlog(&holes, hole_count, world->now_us);
        holes.least = hole_count; /* more may be found meanwhile */
        if (is_whole && backlog.least == 0) {
            break;
        }
        if (world->now_us >= rescue_us) {
            admin_rescue(&run->workload.admin);
            rescue_us += RESCUE_US;
        }
        struct run_progress progress = {
            .settled_us = world->now_us - start_us,
            .is_whole = is_whole,
            .backlog_since_us = world->now_us - backlog.shrank_us,
            .holes_since_us = world->now_us - holes.shrank_us,
        };
        if (run_is_late(&progress)) {
            workload_report_stuck(&run->workload);
            inspect_report_stuck(world);
            break;
        }
        run_until(run, world->now_us + SETTLE_US);
    }
    if (!world->is_broken) {
        admin_check_forced(&run->workload.admin);
    }
    return world->now_us - start_us;
}

static void report_result(FILE *report, const struct run *run, const struct run_result *result)
{
    checker_report(&result->verdict, &run->world.history, report, HISTORY_LINES_MAX);
    (void)fprintf(
        report,
        "seed %" PRIu64 ": %s; %" PRIu64 " records acknowledged, %" PRIu64 " read, %" PRIu64
        " consumed, %" PRIu32 " boots, %.3f s, whole %.3f s after the faults, trace %016" PRIx64
        " of %" PRIu64 " events\n",
        run->plan.seed,
        result->verdict.count == 0 ? "passed" : "FAILED",
        result->verdict.records_acked,
        result->verdict.records_read,
        result->verdict.records_consumed,
        result->boots,
        (double)result->virtual_us / 1e6,
        (double)result->heal_us / 1e6,
        result->trace_hash,
        result->trace_events
    );
}

void run_seed(const struct run_options *options, struct run_result *out_result)
{
    FILE *report = options->report;
    struct run *run = calloc(1, sizeof(*run));

    RIA_ASSERT(run != NULL);
    *out_result = (struct run_result){.heal_us = 0};
    if (options->plan != NULL) {
        run->plan = *options->plan;
    } else {
        plan_draw(&run->plan, options->seed, &options->choice);
    }
    if (report != NULL) {
        plan_print(&run->plan, report);
        (void)fflush(report); /* also if the run ends in a crash */
    }
    world_init(&run->world, &run->plan, options->verbose);
    workload_init(&run->workload, &run->world);
    nemesis_init(&run->nemesis, &run->world);
    inspector_init(&run->inspector, &run->world);
    note_derivations(&run->world);
    consumers_declare(&run->world);

    nemesis_start(&run->nemesis);
    workload_start(&run->workload);
    run_until(run, WORLD_START_US + run->plan.chaos_us);
    out_result->heal_us = settle(run);
    workload_close(&run->workload);
    if (!run->world.is_broken) {
        inspector_look(&run->inspector);
        inspect_record_logs(&run->world);
        dead_letters_record(&run->world);
    }
    if (options->history != NULL) {
        history_write(&run->world.history, options->history);
        (void)fflush(options->history);
    }
    checker_run(&run->world.history, &out_result->verdict);

    out_result->trace_hash = run->world.trace.hash;
    out_result->trace_events = run->world.trace.events;
    out_result->turns = run->world.turns;
    out_result->virtual_us = run->world.now_us - WORLD_START_US;
    for (uint32_t i = 0; i < run->world.node_count; i++) {
        out_result->boots += run->world.nodes[i].boots;
    }
    if (report != NULL) {
        report_result(report, run, out_result);
    }
    bool is_wrecked = run->world.is_broken;
    if (!is_wrecked) {
        for (uint32_t i = 0; i < run->world.node_count; i++) {
            sim_node_kill(&run->world.nodes[i], false);
        }
        workload_fini(&run->workload);
        world_fini(&run->world);
    }
    free(run);
}
