/* Every call to the disk, and every allocation, fails once: SQLite's method. See README.md. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/iofail/scenario.h"
#include "tests/lib/harness.h"

enum { CALLS_MAX = 100000 };

/* Lives in which call 1, 2, 3... fails, until one ends before it is reached. */
static void try_every_call(const struct scenario_plan *plan)
{
    struct scenario_plan p = *plan;
    char why[256];
    bool struck = true;
    uint64_t at = 0;

    for (at = 1; struck && at < CALLS_MAX; at++) {
        p.fault.at = plan->failing_alloc > 0 ? 0 : at;
        p.failing_alloc = plan->failing_alloc > 0 ? at : 0;
        if (!scenario_run(&p, &struck, why, sizeof(why))) {
            printf(
                "    %s %" PRIu64 "%s%s: %s\n",
                plan->failing_alloc > 0 ? "allocation" : fault_kind_name(p.fault.kind),
                at,
                p.fault.half ? ", half written" : "",
                p.power_cut ? ", then a power cut" : "",
                why
            );
            CU_FAIL("a promise was broken");
        }
    }
    CU_ASSERT(!struck);
    CU_ASSERT(at > 2); /* else the kind is never called */
}

static void try_kind(fault_kind kind, ria_err err, bool half)
{
    for (int cut = 0; cut < 2; cut++) {
        struct scenario_plan plan = {
            .fault = {.kind = kind, .err = err, .half = half}, .power_cut = cut == 1};
        try_every_call(&plan);
        plan.fault.and_later = true;
        try_every_call(&plan);
    }
}

static void a_life_without_a_fault_is_good(void)
{
    struct scenario_plan plan = {.power_cut = false};
    char why[256];
    bool struck = false;

    CU_ASSERT(scenario_run(&plan, &struck, why, sizeof(why)));
    CU_ASSERT(!struck);
}

static void open_fails(void)
{
    try_kind(FAULT_OPEN, RIA_ERR_IO, false);
    try_kind(FAULT_OPEN, RIA_ERR_LIMIT, false);
}

static void read_fails(void)
{
    try_kind(FAULT_READ, RIA_ERR_IO, false);
}

static void write_fails(void)
{
    try_kind(FAULT_WRITE, RIA_ERR_IO, false);
    try_kind(FAULT_WRITE, RIA_ERR_IO, true);
}

static void disk_is_full(void)
{
    try_kind(FAULT_WRITE, RIA_ERR_NO_SPACE, false);
    try_kind(FAULT_WRITE, RIA_ERR_NO_SPACE, true);
}

static void sync_fails(void)
{
    try_kind(FAULT_SYNC, RIA_ERR_IO, false);
}

static void sync_of_a_folder_fails(void)
{
    try_kind(FAULT_SYNC_DIR, RIA_ERR_IO, false);
}

static void truncate_fails(void)
{
    try_kind(FAULT_TRUNCATE, RIA_ERR_IO, false);
}

static void rename_fails(void)
{
    try_kind(FAULT_RENAME, RIA_ERR_IO, false);
    try_kind(FAULT_RENAME, RIA_ERR_NO_SPACE, false);
}

static void mkdir_fails(void)
{
    try_kind(FAULT_MKDIR, RIA_ERR_IO, false);
    try_kind(FAULT_MKDIR, RIA_ERR_NO_SPACE, false);
}

static void size_fails(void)
{
    try_kind(FAULT_SIZE, RIA_ERR_IO, false);
}

static void unlink_fails(void)
{
    try_kind(FAULT_UNLINK, RIA_ERR_IO, false);
}

static void list_fails(void)
{
    try_kind(FAULT_LIST, RIA_ERR_IO, false);
}

static void memory_runs_out(void)
{
    const struct scenario_plan plan = {.failing_alloc = 1};

    try_every_call(&plan);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_life_without_a_fault_is_good),
    HARNESS_TEST(open_fails),
    HARNESS_TEST(read_fails),
    HARNESS_TEST(write_fails),
    HARNESS_TEST(disk_is_full),
    HARNESS_TEST(sync_fails),
    HARNESS_TEST(sync_of_a_folder_fails),
    HARNESS_TEST(truncate_fails),
    HARNESS_TEST(rename_fails),
    HARNESS_TEST(mkdir_fails),
    HARNESS_TEST(size_fails),
    HARNESS_TEST(unlink_fails),
    HARNESS_TEST(list_fails),
    HARNESS_TEST(memory_runs_out),
};
HARNESS_MAIN(tests);
