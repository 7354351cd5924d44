/* Whatever dies: every source record is reflected once. Each run ends by comparing the derived
 * topic and the errors topic with the function of the source, record by record. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "services/shared/partitioner.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/transform/world.h"

#define SQL                                                              \
    "CREATE STREAM derived AS SELECT value->>'n' AS n, partition AS p, " \
    "offset AS o FROM source WHERE value->>'n' % 3 <> 0"

enum {
    SECOND = 1000 * 1000,
    RECORDS = 400, /* per source partition */
    RECORDS_PER_BATCH = 7,
    HEAL_SECONDS = 120,
};

/* What becomes of source record i of any partition. */
typedef enum fate { FATE_DROPPED, FATE_DERIVED, FATE_FAILED } fate;

static fate fate_of(int64_t i)
{
    if (i % 11 == 5) {
        return FATE_FAILED; /* its value is no JSON */
    }
    return i % 3 == 0 ? FATE_DROPPED : FATE_DERIVED;
}

/* Keys: every fifth record has none. */
static struct ria_slice key_of(int64_t i, char *buf, size_t size)
{
    if (i % 5 == 4) {
        return RIA_SLICE_NULL;
    }
    (void)snprintf(buf, size, "key-%" PRId64, i % 17);
    return ria_slice_cstr(buf);
}

static void produce(struct world *world, int32_t partition, int64_t from, int64_t count)
{
    struct batch_builder builder;
    char key[32];
    char value[64];

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (int64_t i = from; i < from + count; i++) {
        const char *open = fate_of(i) == FATE_FAILED ? "{oops" : "{\"n\":";
        (void)snprintf(value, sizeof(value), "%s%" PRId64 "}", open, i);
        ria_err err = batch_builder_add(
            &builder, 1000 + i, key_of(i, key, sizeof(key)), ria_slice_cstr(value), NULL, 0
        );
        CU_ASSERT_EQUAL(err, RIA_OK);
    }
    world_produce(world, partition, &builder);
    batch_builder_fini(&builder);
}

static void produce_all(struct world *world)
{
    for (int64_t i = 0; i < RECORDS; i += RECORDS_PER_BATCH) {
        for (int32_t p = 0; p < WORLD_SOURCE_PARTITIONS; p++) {
            produce(world, p, i, ria_min_i64(RECORDS_PER_BATCH, RECORDS - i));
        }
    }
}

/* ---- checking ---- */

struct seen {
    uint8_t count[2][WORLD_SOURCE_PARTITIONS][RECORDS]; /* derived, errors */
    int64_t last[2][4][WORLD_SOURCE_PARTITIONS];        /* order: by output partition */
    char problem[256];
};

static void problem(struct seen *seen, const char *what, int32_t partition, int64_t offset)
{
    if (seen->problem[0] == '\0') {
        (void)snprintf(
            seen->problem,
            sizeof(seen->problem),
            "%s: source partition %" PRId32 " offset %" PRId64,
            what,
            partition,
            offset
        );
    }
}

static int64_t number_behind(struct ria_slice value, const char *name)
{
    const char *found = memmem(value.data, value.size, name, strlen(name));

    return found == NULL ? -1 : strtoll(found + strlen(name), NULL, 10);
}

static void look_at(
    struct seen *seen, int kind, int32_t out, int32_t out_count, const struct batch_record *record
)
{
    int32_t p = (int32_t)number_behind(record->value, kind == 0 ? "\"p\":" : "\"partition\":");
    int64_t o = number_behind(record->value, kind == 0 ? "\"o\":" : "\"offset\":");
    char key[32];

    if (p < 0 || p >= WORLD_SOURCE_PARTITIONS || o < 0 || o >= RECORDS) {
        problem(seen, "unknown record", p, o);
        return;
    }
    struct ria_slice wanted = key_of(o, key, sizeof(key));
    int32_t home =
        ria_slice_is_null(wanted) ? p % out_count : partitioner_of_key(wanted, out_count);
    if (home != out || !ria_slice_equal(wanted, record->key) ||
        ria_slice_is_null(wanted) != ria_slice_is_null(record->key)) {
        problem(seen, "wrong key or partition", p, o);
    }
    if (record->timestamp_ms != 1000 + o) {
        problem(seen, "wrong timestamp", p, o);
    }
    if (seen->last[kind][out][p] >= o) {
        problem(seen, "out of order", p, o);
    }
    seen->last[kind][out][p] = o;
    if (seen->count[kind][p][o]++ > 0) {
        problem(seen, "twice", p, o);
    }
    if (fate_of(o) != (kind == 0 ? FATE_DERIVED : FATE_FAILED)) {
        problem(seen, "should not be there", p, o);
    }
}

static void read_logs(struct seen *seen, int kind, const struct world_log *logs, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        for (uint32_t b = 0; b < logs[i].batch_count; b++) {
            struct batch_iter iter;
            struct batch_record record;
            bool more = true;
            struct ria_slice bytes = ria_slice_of(logs[i].batches[b].data, logs[i].batches[b].size);
            CU_ASSERT_EQUAL(batch_iter_init(&iter, bytes), RIA_OK);
            while (batch_iter_next(&iter, &record, &more) == RIA_OK && more) {
                look_at(seen, kind, i, count, &record);
            }
        }
    }
}

/* "" or what is wrong. */
static const char *check(struct world *world, struct seen *seen)
{
    memset(seen, 0, sizeof(*seen));
    memset(seen->last, 0xFF, sizeof(seen->last));
    read_logs(seen, 0, world->derived, WORLD_DERIVED_PARTITIONS);
    read_logs(seen, 1, world->errors, WORLD_ERRORS_PARTITIONS);
    for (int32_t p = 0; p < WORLD_SOURCE_PARTITIONS; p++) {
        int64_t out = 0;
        int64_t errors = 0;
        for (int64_t o = 0; o < RECORDS; o++) {
            out += fate_of(o) == FATE_DERIVED ? 1 : 0;
            errors += fate_of(o) == FATE_FAILED ? 1 : 0;
            if (fate_of(o) == FATE_DERIVED && seen->count[0][p][o] == 0) {
                problem(seen, "missing", p, o);
            }
            if (fate_of(o) == FATE_FAILED && seen->count[1][p][o] == 0) {
                problem(seen, "missing error", p, o);
            }
        }
        if (world->tasks[p].records_in != RECORDS || world->tasks[p].records_out != out ||
            world->tasks[p].errors != errors) {
            problem(seen, "wrong counts", p, world->tasks[p].records_out);
        }
    }
    return seen->problem;
}

/* Let everything finish, and compare. */
static bool finish(struct world *world, const char *what, uint64_t number)
{
    struct seen *seen = calloc(1, sizeof(*seen));
    bool ok = seen != NULL;

    world_heal(world);
    if (!world_run_until(world, world_is_done, HEAL_SECONDS * INT64_C(1000000))) {
        (void)printf(
            "    %s %" PRIu64 ": does not finish: %" PRId64 ", %" PRId64 " \"%s\"\n",
            what,
            number,
            world->tasks[0].position,
            world->tasks[1].position,
            world->tasks[0].last_error
        );
        ok = false;
    } else if (check(world, seen)[0] != '\0') {
        (void)printf("    %s %" PRIu64 ": %s\n", what, number, seen->problem);
        ok = false;
    }
    free(seen);
    world_fini(world);
    free(world);
    return ok;
}

static struct world *new_world(uint64_t seed)
{
    struct world *world = malloc(sizeof(*world));

    CU_ASSERT_PTR_NOT_NULL_FATAL(world);
    world_init(world, seed, SQL);
    return world;
}

static struct world_worker *start_with_leases(struct world *world)
{
    struct world_worker *worker = world_start_worker(world);

    for (int32_t p = 0; p < WORLD_SOURCE_PARTITIONS; p++) {
        world_assign(world, p, worker);
    }
    return worker;
}

/* ---- tests ---- */

static void nothing_fails(void)
{
    struct world *world = new_world(1);

    (void)start_with_leases(world);
    produce_all(world);
    CU_ASSERT(finish(world, "run", 1));
}

static void records_arrive_one_by_one(void)
{
    struct world *world = new_world(2);

    (void)start_with_leases(world);
    for (int64_t i = 0; i < RECORDS; i++) {
        produce(world, 0, i, 1);
        produce(world, 1, i, 1);
        world_run(world, (int64_t)ria_rand_below(&world->rand, 20000), 0);
    }
    CU_ASSERT(finish(world, "run", 2));
}

/* Produce a part, be silent, have the producers forgotten; so many times. */
static void forget_after(struct world *world, int64_t silence_us, int64_t parts)
{
    for (int64_t i = 0; i < RECORDS; i += RECORDS / parts) {
        produce(world, 0, i, RECORDS / parts);
        produce(world, 1, i, RECORDS / parts);
        world_run(world, silence_us, 0);
        for (int p = 0; p < WORLD_DERIVED_PARTITIONS; p++) {
            CU_ASSERT(world_forget_producers(world, &world->derived[p]));
        }
    }
}

/* Storage forgets producers that are silent for a day: a worker expects it, also the second time. A
 * day of heartbeats takes seconds. */
static void after_a_silent_day_an_output_begins_anew(void)
{
    struct world *world = new_world(4);

    (void)start_with_leases(world);
    forget_after(world, INT64_C(24) * 3600 * SECOND, 2);
    CU_ASSERT_EQUAL(world->produce_out_of_order, 0);
    CU_ASSERT(finish(world, "run", 4));
}

/* Or has too many of them. */
static void a_forgotten_producer_begins_anew(void)
{
    struct world *world = new_world(5);

    (void)start_with_leases(world);
    forget_after(world, 20 * SECOND, 4);
    CU_ASSERT(world->produce_out_of_order > 0);
    CU_ASSERT(finish(world, "run", 5));
}

/* A stopped leader costs the time until there is another, not the time until calls to it end. */
static void a_task_survives_silent_leaders_without_a_restart(void)
{
    for (int32_t node = 1; node <= WORLD_NODES; node++) {
        struct world *world = new_world((uint64_t)node);
        (void)start_with_leases(world);
        for (int64_t i = 0; i < RECORDS; i += RECORDS / 8) {
            produce(world, 0, i, RECORDS / 8);
            produce(world, 1, i, RECORDS / 8);
            world_run(world, 3000, 0);
            world->silent[node] = i == RECORDS / 2;
        }
        world->silent[node] = true;
        world_run(world, SECOND, 0);
        world_move_leaders_from(world, node);
        CU_ASSERT(world_run_until(world, world_is_done, INT64_C(3) * SECOND));
        CU_ASSERT_EQUAL(world->produce_conflicts, 0);
        CU_ASSERT_EQUAL(world->produce_out_of_order, 0);
        CU_ASSERT(finish(world, "node", (uint64_t)node));
    }
}

/* kill -9 after the first frame, after the second, ... to the end. */
static void worker_dies_after_every_frame(void)
{
    uint32_t bad = 0;

    for (uint64_t frames = 1; frames < 200 && bad < 3; frames++) {
        struct world *world = new_world(3);
        struct world_worker *worker = start_with_leases(world);
        produce_all(world);
        world_run(world, INT64_C(60) * SECOND, frames);
        world_kill_worker(worker);
        (void)start_with_leases(world);
        bad += finish(world, "frame", frames) ? 0 : 1;
    }
    CU_ASSERT_EQUAL(bad, 0);
}

/* Kills, moved leaders, lost frames, thefts of leases from workers that live on and do not know. */
static void
random_fault(struct world *world, struct world_worker **current, uint32_t *forgotten_count)
{
    switch (ria_rand_below(&world->rand, 10)) {
    case 0:
        world_kill_worker(*current);
        *current = start_with_leases(world);
        break;
    case 1: /* the old one is a zombie */
        (*current)->cut_off = true;
        *current = start_with_leases(world);
        break;
    case 2:
        (*current)->cut_off = ria_rand_one_in(&world->rand, 2);
        *current = start_with_leases(world);
        break;
    case 3:
    case 4:
        world_move_leader(world, world_any_log(world));
        break;
    case 5:
        world->lose_request = ria_rand_one_in(&world->rand, 2) ? 0 : 10;
        world->lose_reply = ria_rand_one_in(&world->rand, 2) ? 0 : 10;
        world->late_request = ria_rand_one_in(&world->rand, 2) ? 0 : 10;
        break;
    case 8: /* a stopped node, whose partitions get other leaders, or not yet; or it goes on */
        for (int32_t n = 1; n <= WORLD_NODES; n++) {
            world->silent[n] = !world->silent[n] && ria_rand_one_in(&world->rand, 3);
            if (world->silent[n] && ria_rand_one_in(&world->rand, 2)) {
                world_move_leaders_from(world, n);
            }
        }
        break;
    case 6:
        world->commit_us_max = ria_rand_one_in(&world->rand, 3) ? 1000 * 1000 : 2000;
        break;
    case 7: /* quiet for so long that producers are forgotten */
        world_run(world, 60 * SECOND, 0);
        for (int p = 0; p < WORLD_DERIVED_PARTITIONS; p++) {
            *forgotten_count += world_forget_producers(world, &world->derived[p]) ? 1 : 0;
        }
        break;
    default:
        world->coordinator_down = !world->coordinator_down;
        break;
    }
}

/* SEED=n runs that one alone. */
static void anything_may_happen(void)
{
    const char *from = getenv("SEED");
    uint64_t first = from == NULL ? 1 : strtoull(from, NULL, 10);
    uint64_t last = from == NULL ? 150 : first;
    uint32_t bad = 0;
    uint32_t conflicts = 0;
    uint32_t fenced = 0;
    uint32_t duplicates = 0;
    uint32_t forgotten = 0;

    for (uint64_t seed = first; seed <= last && bad < 3; seed++) {
        struct world *world = new_world(seed);
        struct world_worker *current = start_with_leases(world);
        int64_t produced = 0;
        for (int i = 0; i < 40; i++) {
            int64_t more = ria_min_i64(RECORDS / 20, RECORDS - produced);
            if (more > 0) {
                produce(world, 0, produced, more);
                produce(world, 1, produced, more);
                produced += more;
            }
            world_run(world, (int64_t)ria_rand_below(&world->rand, 100 * 1000), 0);
            random_fault(world, &current, &forgotten);
        }
        conflicts += world->produce_conflicts;
        fenced += world->produce_fenced;
        duplicates += world->produce_duplicates;
        bad += finish(world, "seed", seed) ? 0 : 1;
    }
    CU_ASSERT_EQUAL(bad, 0);
    if (from == NULL) { /* the faults that matter have happened */
        CU_ASSERT(conflicts > 100);
        CU_ASSERT(fenced > 100);
        CU_ASSERT(duplicates > 100);
        CU_ASSERT(forgotten > 100);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(nothing_fails),
    HARNESS_TEST(records_arrive_one_by_one),
    HARNESS_TEST(after_a_silent_day_an_output_begins_anew),
    HARNESS_TEST(a_forgotten_producer_begins_anew),
    HARNESS_TEST(a_task_survives_silent_leaders_without_a_restart),
    HARNESS_TEST(worker_dies_after_every_frame),
    HARNESS_TEST(anything_may_happen),
};
HARNESS_MAIN(tests);
