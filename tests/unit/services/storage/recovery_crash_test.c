/* What an open makes of what crashes at any moment left, on many seeds
 * (docs/formats/partition.md). Single cases: recovery_test.c. */
#include <stdio.h>

#include "common/assert.h"

#include "services/storage/partition_log.h"
#include "services/storage/recovery.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/log_fixture.h"

/* One at a time: it is large. */
static struct log_fixture fixture;
static struct log_fixture *const f = &fixture;

struct crash_run {
    int64_t acked; /* everything below was reported as synced, or would be if it were not relaxed */
    int64_t start;
    int32_t sequence; /* of producer 5, next */
    bool may_fail;
};

static void random_faults(struct crash_run *run)
{
    struct ria_fs_sim_faults faults = {
        .sync_delay_us_min = 0, .sync_delay_us_max = (int64_t)ria_rand_below(&f->rand, 3000)};

    if (run->may_fail && ria_rand_one_in(&f->rand, 3)) {
        faults.fail_sync_one_in = 4 + (uint32_t)ria_rand_below(&f->rand, 20);
        faults.fail_write_one_in = 50 + (uint32_t)ria_rand_below(&f->rand, 200);
    }
    ria_fs_sim_set_faults(f->fs, &faults);
}

/* The producer's next sequence as the log sees it. */
static int32_t next_sequence(void)
{
    const struct producer_state *state = partition_log_producer(f->log, 5);
    return state == NULL ? 0 : state->batches[state->batch_count - 1].last_sequence + 1;
}

static void random_step(struct crash_run *run)
{
    int64_t offset = 0;
    ria_err err = RIA_OK;
    uint64_t dice = ria_rand_below(&f->rand, 100);
    int32_t count = 1 + (int32_t)ria_rand_below(&f->rand, 8);

    if (dice < 40) {
        err = log_fixture_append(f, count, (size_t)ria_rand_below(&f->rand, 900));
    } else if (dice < 60) {
        err = log_fixture_produce(f, 5, 0, next_sequence(), count, &offset);
    } else if (dice < 80) {
        partition_log_sync(f->log);
    } else if (dice < 92) {
        log_fixture_advance_us(f, (int64_t)ria_rand_below(&f->rand, 2000));
    } else if (dice < 97) {
        log_fixture_take_checkpoint(f);
    } else if (dice < 98) {
        f->epoch++;
    } else if (dice < 99 && !partition_log_is_syncing(f->log)) {
        int64_t end = partition_log_end_offset(f->log);
        int64_t span = end - run->start;
        int64_t to = run->start + (int64_t)ria_rand_below(&f->rand, (uint64_t)span + 1);
        run->acked = ria_min_i64(run->acked, to - 8); /* a batch goes as a whole */
        err = partition_log_truncate(f->log, to);
        run->acked = ria_min_i64(run->acked, partition_log_end_offset(f->log));
    } else if (ria_rand_one_in(&f->rand, 4) && !partition_log_is_syncing(f->log)) {
        int64_t to = partition_log_end_offset(f->log) + 100;
        run->acked = 0;
        err = partition_log_reset(f->log, to);
        run->start = err == RIA_OK ? to : 0;
    }
    bool known = err == RIA_OK || err == RIA_ERR_IO || err == RIA_ERR_FENCED_EPOCH;
    CU_ASSERT(known);
    if (!partition_log_has_failed(f->log)) {
        struct partition_log_checkpoint now;
        partition_log_check(f->log);
        partition_log_get_checkpoint(f->log, 0, &now);
        run->acked = ria_max_i64(run->acked, now.synced_offset);
        CU_ASSERT_EQUAL(
            partition_log_synced_offset(f->log),
            f->options.relaxed ? partition_log_end_offset(f->log) : now.synced_offset
        );
    }
}

/* Producer state after recovery must be what the log's own batches say. */
static void check_producers(void)
{
    const struct producer_state *state = partition_log_producer(f->log, 5);

    for (uint32_t i = 0; state != NULL && i < state->batch_count; i++) {
        CU_ASSERT(state->batches[i].last_offset < partition_log_end_offset(f->log));
    }
    for (uint32_t i = 1; state != NULL && i < state->batch_count; i++) {
        CU_ASSERT_EQUAL(state->batches[i].first_sequence, state->batches[i - 1].last_sequence + 1);
    }
}

static void reopen_and_check(struct crash_run *run, uint64_t seed)
{
    struct ria_fs_sim_faults none = {.fail_write_one_in = 0};
    bool clean = ria_rand_one_in(&f->rand, 4) && !partition_log_is_syncing(f->log);

    if (clean) {
        ria_err err = log_fixture_close(f);
        CU_ASSERT(err == RIA_OK || err == RIA_ERR_IO);
    }
    ria_fs_sim_set_faults(f->fs, &none);
    log_fixture_crash(f, !ria_rand_one_in(&f->rand, 4));
    ria_err err = log_fixture_open(f);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    int64_t start = partition_log_start_offset(f->log);
    int64_t end = partition_log_end_offset(f->log);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    if (end < run->acked) {
        CU_FAIL("an acknowledged record is gone");
        (void)fprintf(
            stderr,
            "seed %llu: end %lld, acked %lld\n",
            (unsigned long long)seed,
            (long long)end,
            (long long)run->acked
        );
    }
    CU_ASSERT_EQUAL(log_fixture_verify(f, start), end);
    check_producers();
    run->start = start;
    run->acked = end; /* an open syncs what it finds */
    f->epoch++;
}

static void run_seed(uint64_t seed, bool may_fail)
{
    struct crash_run run = {.may_fail = may_fail};

    log_fixture_init(f, seed);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    f->options.segment_bytes = 2000 + (int64_t)ria_rand_below(&f->rand, 8000);
    f->options.relaxed = seed % 4 == 0;
    partition_log_set_options(f->log, &f->options);
    for (int life = 0; life < 6; life++) {
        random_faults(&run);
        uint64_t steps = ria_rand_below(&f->rand, 150);
        for (uint64_t i = 0; i < steps && !partition_log_has_failed(f->log) &&
                             partition_log_end_offset(f->log) < LOG_FIXTURE_OFFSETS_MAX - 200;
             i++) {
            random_step(&run);
        }
        reopen_and_check(&run, seed);
    }
    log_fixture_fini(f);
}

static void every_synced_batch_survives_crashes_on_many_seeds(void)
{
    for (uint64_t seed = 1000; seed < 1300; seed++) {
        run_seed(seed, false);
    }
}

static void every_synced_batch_survives_crashes_and_failing_disks_on_many_seeds(void)
{
    for (uint64_t seed = 2000; seed < 2300; seed++) {
        run_seed(seed, true);
    }
}
static const struct harness_test tests[] = {
    HARNESS_TEST(every_synced_batch_survives_crashes_on_many_seeds),
    HARNESS_TEST(every_synced_batch_survives_crashes_and_failing_disks_on_many_seeds),
};
HARNESS_MAIN(tests);
