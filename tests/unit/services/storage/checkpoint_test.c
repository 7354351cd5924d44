#include "services/storage/checkpoint.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/fs_sim.h"

#include "schemas/gen/checkpoint_file.h"

#include "services/storage/record_file.h"
#include "tests/lib/harness.h"

static int64_t now_us;

static int64_t mono_us(const struct ria_clock *clock)
{
    (void)clock;
    return now_us;
}

static struct ria_clock clock_ = {.mono_us = mono_us, .wall_ms = mono_us};
static struct ria_timers timers;
static struct ria_rand rand_;
static struct ria_env env;
static struct ria_uuid topic = {.bytes = {1, 2, 3}};
static int done_count;
static ria_err done_err;

static void begin(uint64_t seed)
{
    now_us = 0;
    done_count = 0;
    done_err = RIA_OK;
    ria_timers_init(&timers, &clock_);
    ria_rand_init(&rand_, seed);
    env = (struct ria_env){.clock = &clock_, .timers = &timers};
    RIA_ASSERT(ria_fs_sim_new(&timers, &rand_, &env.fs) == RIA_OK);
    RIA_ASSERT(ria_fs_mkdir(env.fs, "data") == RIA_OK);
    RIA_ASSERT(ria_fs_sync_dir(env.fs, ".") == RIA_OK);
}

static void end(void)
{
    ria_fs_sim_free(env.fs);
    ria_timers_fini(&timers);
}

static void run_timers(void)
{
    while (ria_timers_next_us(&timers) != INT64_MAX) {
        now_us = ria_max_i64(now_us, ria_timers_next_us(&timers));
        (void)ria_timers_run(&timers);
    }
}

static void on_done(void *arg, ria_err err)
{
    (void)arg;
    done_count++;
    done_err = err;
}

static struct checkpoint *load(void)
{
    struct checkpoint *checkpoint = NULL;

    CU_ASSERT_EQUAL_FATAL(checkpoint_load(&env, "data", &checkpoint), RIA_OK);
    return checkpoint;
}

static void put(struct checkpoint *checkpoint, int32_t partition, int64_t offset)
{
    struct partition_log_checkpoint entry = {
        .synced_offset = offset, .high_watermark = offset / 2, .generation = 3};
    CU_ASSERT_EQUAL(checkpoint_put(checkpoint, &topic, partition, &entry), RIA_OK);
}

static int64_t synced(const struct checkpoint *checkpoint, int32_t partition)
{
    struct partition_log_checkpoint entry;

    checkpoint_get(checkpoint, &topic, partition, &entry);
    CU_ASSERT(entry.synced_offset == 0 || entry.generation == 3);
    CU_ASSERT_EQUAL(entry.high_watermark, entry.synced_offset / 2);
    return entry.synced_offset;
}

static void write_now(struct checkpoint *checkpoint)
{
    struct checkpoint_writer writer;
    struct ria_buf buf;

    ria_buf_init(&buf, CHECKPOINT_SIZE_MAX);
    CU_ASSERT_EQUAL(checkpoint_encode(checkpoint, &buf), RIA_OK);
    CU_ASSERT_EQUAL(checkpoint_writer_init(&writer, &env, "data", on_done, NULL), RIA_OK);
    CU_ASSERT_EQUAL(checkpoint_writer_write(&writer, ria_buf_slice(&buf)), RIA_OK);
    checkpoint_writer_fini(&writer);
    ria_buf_fini(&buf);
}

static void what_is_written_is_loaded(void)
{
    begin(1);
    struct checkpoint *checkpoint = load();
    CU_ASSERT_EQUAL(synced(checkpoint, 5), 0);
    CU_ASSERT_FALSE(checkpoint_is_changed(checkpoint));
    for (int32_t i = 0; i < 1000; i++) {
        put(checkpoint, i, i * 100);
    }
    checkpoint_remove(checkpoint, &topic, 7);
    checkpoint_remove(checkpoint, &topic, 7777);
    CU_ASSERT_TRUE(checkpoint_is_changed(checkpoint));
    write_now(checkpoint);
    CU_ASSERT_FALSE(checkpoint_is_changed(checkpoint));
    put(checkpoint, 8, 800);
    CU_ASSERT_FALSE(checkpoint_is_changed(checkpoint));
    put(checkpoint, 8, 801);
    CU_ASSERT_TRUE(checkpoint_is_changed(checkpoint));
    checkpoint_free(checkpoint);
    ria_fs_sim_crash(env.fs, true);
    checkpoint = load();
    for (int32_t i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(synced(checkpoint, i), i == 7 ? 0 : i * 100);
    }
    checkpoint_free(checkpoint);
    end();
}

/* Of two copies one bad byte takes one, wherever it is. */
static void a_bad_copy_is_no_loss(void)
{
    uint8_t *data = NULL;
    size_t size = 0;

    begin(2);
    struct checkpoint *checkpoint = load();
    put(checkpoint, 1, 100);
    write_now(checkpoint);
    checkpoint_free(checkpoint);
    CU_ASSERT_EQUAL_FATAL(ria_fs_read_all(env.fs, "data/checkpoint", 4096, &data, &size), RIA_OK);
    free(data);
    for (size_t i = 0; i < size; i++) {
        CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(env.fs, "data/checkpoint", i, 3), RIA_OK);
        checkpoint = load();
        CU_ASSERT_EQUAL(synced(checkpoint, 1), 100);
        CU_ASSERT_FALSE(checkpoint_is_partial(checkpoint));
        checkpoint_free(checkpoint);
        CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(env.fs, "data/checkpoint", i, 3), RIA_OK);
    }
    end();
}

/* As programs before the second copy wrote them. */
static void a_file_of_the_first_version_is_loaded(void)
{
    struct checkpoint_file_checkpoint_entry entry = {
        .topic_id = topic,
        .partition = 1,
        .generation = 3,
        .synced_offset = 100,
        .high_watermark = 50,
    };
    const struct checkpoint_file file = {.partitions = &entry, .partitions_count = 1};
    struct ria_writer w;
    struct ria_buf buf;

    begin(6);
    ria_buf_init(&buf, CHECKPOINT_SIZE_MAX);
    CU_ASSERT_EQUAL_FATAL(record_file_begin(&buf, checkpoint_file_size(&file, 0), &w), RIA_OK);
    checkpoint_file_encode(&file, 0, &w);
    record_file_finish(&buf, "RIAC", 0);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(ria_fs_replace(env.fs, "data/checkpoint", buf.data, buf.size), RIA_OK);
        struct checkpoint *checkpoint = load();
        bool is_bad = i == 1;
        CU_ASSERT_EQUAL(checkpoint_is_partial(checkpoint), is_bad);
        CU_ASSERT_EQUAL(synced(checkpoint, 1), is_bad ? 0 : 100);
        put(checkpoint, 2, 200);
        write_now(checkpoint);
        checkpoint_free(checkpoint);
        checkpoint = load();
        CU_ASSERT_EQUAL(synced(checkpoint, 1), is_bad ? 0 : 100);
        CU_ASSERT_EQUAL(synced(checkpoint, 2), 200);
        checkpoint_free(checkpoint);
        buf.data[20] ^= 8;
    }
    ria_buf_fini(&buf);
    end();
}

/* And stays so, through other processes, until somebody says that it has everything again. */
static void a_bad_file_is_partial_until_it_is_whole(void)
{
    struct partition_log_checkpoint entry;

    begin(5);
    struct checkpoint *checkpoint = load();
    CU_ASSERT_FALSE(checkpoint_is_partial(checkpoint));
    put(checkpoint, 1, 100);
    write_now(checkpoint);
    checkpoint_free(checkpoint);
    CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(env.fs, "data/checkpoint", 30, 3), RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(env.fs, "data/checkpoint", 80, 3), RIA_OK);
    for (int i = 0; i < 2; i++) {
        checkpoint = load();
        CU_ASSERT_TRUE(checkpoint_is_partial(checkpoint));
        checkpoint_get(checkpoint, &topic, 1, &entry);
        CU_ASSERT_TRUE(entry.is_unknown);
        CU_ASSERT_EQUAL(synced(checkpoint, 1), 0);
        put(checkpoint, 2, 200);
        checkpoint_get(checkpoint, &topic, 2, &entry);
        CU_ASSERT_FALSE(entry.is_unknown);
        write_now(checkpoint);
        checkpoint_free(checkpoint);
    }
    checkpoint = load();
    checkpoint_set_whole(checkpoint);
    CU_ASSERT_TRUE(checkpoint_is_changed(checkpoint));
    write_now(checkpoint);
    checkpoint_free(checkpoint);
    checkpoint = load();
    CU_ASSERT_FALSE(checkpoint_is_partial(checkpoint));
    CU_ASSERT_EQUAL(synced(checkpoint, 2), 200);
    checkpoint_free(checkpoint);
    end();
}

/* A power cut at any moment of an asynchronous write leaves the old content or the new. */
static void a_crash_leaves_the_old_file_or_the_new(void)
{
    int old_files = 0;
    int new_files = 0;

    for (uint64_t seed = 0; seed < 200; seed++) {
        struct checkpoint_writer writer;
        struct ria_buf buf;
        begin(seed);
        struct ria_fs_sim_faults faults = {.sync_delay_us_min = 100, .sync_delay_us_max = 100};
        ria_fs_sim_set_faults(env.fs, &faults);
        struct checkpoint *checkpoint = load();
        put(checkpoint, 1, 100);
        write_now(checkpoint);
        put(checkpoint, 1, 200);
        ria_buf_init(&buf, CHECKPOINT_SIZE_MAX);
        CU_ASSERT_EQUAL(checkpoint_encode(checkpoint, &buf), RIA_OK);
        CU_ASSERT_EQUAL(checkpoint_writer_init(&writer, &env, "data", on_done, NULL), RIA_OK);
        CU_ASSERT_EQUAL(checkpoint_writer_start(&writer, ria_buf_slice(&buf)), RIA_OK);
        CU_ASSERT_TRUE(checkpoint_writer_is_busy(&writer));
        int64_t end_us = (int64_t)(seed % 4) * 80;
        while (ria_timers_next_us(&timers) <= end_us) {
            now_us = ria_timers_next_us(&timers);
            (void)ria_timers_run(&timers);
        }
        ria_fs_sim_crash(env.fs, true);
        CU_ASSERT_EQUAL(done_count, end_us >= 200 ? 1 : 0);
        checkpoint_writer_fini(&writer);
        checkpoint_free(checkpoint);
        ria_buf_fini(&buf);
        checkpoint = load();
        int64_t found = synced(checkpoint, 1);
        old_files += found == 100;
        new_files += found == 200;
        CU_ASSERT(found == 100 || found == 200);
        CU_ASSERT(done_count == 0 || found == 200);
        checkpoint_free(checkpoint);
        end();
    }
    CU_ASSERT(old_files > 0 && new_files > 0);
}

static void a_write_that_fails_is_reported_and_may_be_repeated(void)
{
    struct checkpoint_writer writer;
    struct ria_buf buf;

    begin(3);
    struct checkpoint *checkpoint = load();
    put(checkpoint, 1, 100);
    ria_buf_init(&buf, CHECKPOINT_SIZE_MAX);
    CU_ASSERT_EQUAL(checkpoint_encode(checkpoint, &buf), RIA_OK);
    CU_ASSERT_EQUAL(checkpoint_writer_init(&writer, &env, "data", on_done, NULL), RIA_OK);
    struct ria_fs_sim_faults faults = {.fail_sync_one_in = 1};
    ria_fs_sim_set_faults(env.fs, &faults);
    CU_ASSERT_EQUAL(checkpoint_writer_start(&writer, ria_buf_slice(&buf)), RIA_OK);
    run_timers();
    CU_ASSERT_EQUAL(done_count, 1);
    CU_ASSERT_EQUAL(done_err, RIA_ERR_IO);
    CU_ASSERT_FALSE(checkpoint_writer_is_busy(&writer));
    faults = (struct ria_fs_sim_faults){.fail_write_one_in = 1};
    ria_fs_sim_set_faults(env.fs, &faults);
    CU_ASSERT_EQUAL(checkpoint_writer_start(&writer, ria_buf_slice(&buf)), RIA_ERR_IO);
    faults.fail_write_one_in = 0;
    ria_fs_sim_set_faults(env.fs, &faults);
    CU_ASSERT_EQUAL(checkpoint_writer_start(&writer, ria_buf_slice(&buf)), RIA_OK);
    run_timers();
    CU_ASSERT_EQUAL(done_count, 2);
    CU_ASSERT_EQUAL(done_err, RIA_OK);
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(env.fs), 0);
    checkpoint_writer_fini(&writer);
    checkpoint_free(checkpoint);
    ria_buf_fini(&buf);
    end();
}

static const struct harness_test tests[] = {
    HARNESS_TEST(what_is_written_is_loaded),
    HARNESS_TEST(a_bad_copy_is_no_loss),
    HARNESS_TEST(a_file_of_the_first_version_is_loaded),
    HARNESS_TEST(a_bad_file_is_partial_until_it_is_whole),
    HARNESS_TEST(a_crash_leaves_the_old_file_or_the_new),
    HARNESS_TEST(a_write_that_fails_is_reported_and_may_be_repeated),
};
HARNESS_MAIN(tests);
