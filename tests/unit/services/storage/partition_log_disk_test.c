/* The log on a real disk and a real pool: what the simulated one cannot show. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/fs_posix.h"
#include "common/loop.h"

#include "schemas/batch.h"

#include "services/storage/checkpoint.h"
#include "services/storage/partition_log.h"
#include "services/storage/segment_cache.h"
#include "tests/lib/harness.h"

enum { VALUE_SIZE = 500, BATCHES = 400, TIMEOUT_MS = 10000 };

struct disk {
    char dir[256];
    char log_dir[300];
    struct ria_loop *loop;
    struct ria_env env;
    struct segment_cache *cache;
    struct partition_log *log;
    struct partition_log_checkpoint checkpoint;
    bool done;
    ria_err synced_err;
    ria_err written_err;
};

static void begin(struct disk *d)
{
    memset(d, 0, sizeof(*d));
    harness_tmpdir(d->dir, sizeof(d->dir));
    (void)snprintf(d->log_dir, sizeof(d->log_dir), "%s/log-3", d->dir);
    RIA_ASSERT(ria_loop_new(&d->loop) == RIA_OK);
    d->env = (struct ria_env){.clock = ria_loop_clock(d->loop), .timers = ria_loop_timers(d->loop)};
    RIA_ASSERT(ria_fs_posix_new(d->loop, 2, &d->env.fs) == RIA_OK);
    RIA_ASSERT(segment_cache_new(d->env.fs, 4, &d->cache) == RIA_OK);
}

static void end(struct disk *d)
{
    segment_cache_free(d->cache);
    ria_fs_posix_free(d->env.fs);
    ria_loop_free(d->loop);
}

static void on_synced(void *arg, ria_err err)
{
    struct disk *d = arg;

    d->synced_err = err != RIA_OK ? err : d->synced_err;
    if (err != RIA_OK || partition_log_synced_offset(d->log) == partition_log_end_offset(d->log)) {
        d->done = true;
    }
}

static void on_written(void *arg, ria_err err)
{
    struct disk *d = arg;

    d->written_err = err;
    d->done = true;
}

static ria_err open_log(struct disk *d)
{
    struct partition_log_options options = {.segment_bytes = 65536};
    struct ria_uuid topic_id = {.bytes = {9}};

    return partition_log_open(
        &d->env, d->cache, d->log_dir, &topic_id, 3, &options, &d->checkpoint, on_synced, d, &d->log
    );
}

static void append_many(struct disk *d)
{
    struct batch_builder b;
    struct batch_header header;
    uint8_t value[VALUE_SIZE] = {0};
    const char *reason = NULL;
    int64_t offset = 0;

    batch_builder_init(&b, 4096);
    for (int i = 0; i < BATCHES; i++) {
        batch_builder_reset(&b);
        RIA_ASSERT(
            batch_builder_add(&b, i, RIA_SLICE_NULL, ria_slice_of(value, VALUE_SIZE), NULL, 0) ==
            RIA_OK
        );
        struct ria_slice batch = batch_builder_finish(&b, -1, -1, -1);
        RIA_ASSERT(batch_validate(batch, 4096, &header, &reason) == RIA_OK);
        CU_ASSERT_EQUAL(partition_log_append(d->log, b.buf.data, &header, 0, &offset), RIA_OK);
    }
    batch_builder_fini(&b);
}

static void sync_all(struct disk *d)
{
    d->done = false;
    partition_log_sync(d->log);
    ria_loop_run_until(d->loop, &d->done, TIMEOUT_MS);
    CU_ASSERT_EQUAL(d->synced_err, RIA_OK);
    CU_ASSERT_EQUAL(partition_log_synced_offset(d->log), partition_log_end_offset(d->log));
}

static int64_t read_from(struct disk *d, int64_t offset)
{
    struct partition_log_range range;
    uint8_t bytes[20000];

    while (offset < partition_log_end_offset(d->log)) {
        if (partition_log_locate(d->log, offset, INT64_MAX, sizeof(bytes), &range) != RIA_OK ||
            partition_log_read(d->log, &range, bytes) != RIA_OK) {
            break;
        }
        offset = range.next_offset;
    }
    return offset;
}

static void a_log_is_written_synced_cut_and_reopened(void)
{
    struct disk d;
    int64_t offset = 0;
    int64_t timestamp_ms = 0;

    begin(&d);
    CU_ASSERT_EQUAL_FATAL(open_log(&d), RIA_OK);
    append_many(&d);
    sync_all(&d);
    CU_ASSERT_EQUAL(read_from(&d, 0), BATCHES);
    CU_ASSERT_EQUAL(partition_log_truncate(d.log, 100), RIA_OK);
    append_many(&d);
    CU_ASSERT_EQUAL(partition_log_close(d.log), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(open_log(&d), RIA_OK);
    partition_log_check(d.log);
    CU_ASSERT_EQUAL(read_from(&d, 0), BATCHES + 100);
    CU_ASSERT_EQUAL(partition_log_find_time(d.log, 300, INT64_MAX, &offset, &timestamp_ms), RIA_OK);
    CU_ASSERT_EQUAL(offset, 400);
    append_many(&d);
    partition_log_free(d.log); /* as a kill would */
    CU_ASSERT_EQUAL_FATAL(open_log(&d), RIA_OK);
    CU_ASSERT_EQUAL(read_from(&d, 0), BATCHES * 2 + 100);
    CU_ASSERT_EQUAL(partition_log_reset(d.log, 7000), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_close(d.log), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(open_log(&d), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_start_offset(d.log), 7000);
    CU_ASSERT_EQUAL(partition_log_close(d.log), RIA_OK);
    end(&d);
}

static void a_checkpoint_is_replaced_without_blocking(void)
{
    struct disk d;
    struct checkpoint *checkpoint = NULL;
    struct checkpoint_writer writer;
    struct partition_log_checkpoint entry = {.synced_offset = 5, .high_watermark = 4};
    struct ria_uuid topic_id = {.bytes = {9}};
    struct ria_buf bytes;

    begin(&d);
    ria_buf_init(&bytes, CHECKPOINT_SIZE_MAX);
    CU_ASSERT_EQUAL_FATAL(checkpoint_load(&d.env, d.dir, &checkpoint), RIA_OK);
    CU_ASSERT_EQUAL(checkpoint_put(checkpoint, &topic_id, 3, &entry), RIA_OK);
    CU_ASSERT_EQUAL(checkpoint_encode(checkpoint, &bytes), RIA_OK);
    CU_ASSERT_EQUAL(checkpoint_writer_init(&writer, &d.env, d.dir, on_written, &d), RIA_OK);
    d.written_err = RIA_ERR_BUSY;
    CU_ASSERT_EQUAL(checkpoint_writer_start(&writer, ria_buf_slice(&bytes)), RIA_OK);
    ria_loop_run_until(d.loop, &d.done, TIMEOUT_MS);
    CU_ASSERT_EQUAL(d.written_err, RIA_OK);
    checkpoint_writer_fini(&writer);
    checkpoint_free(checkpoint);
    CU_ASSERT_EQUAL_FATAL(checkpoint_load(&d.env, d.dir, &checkpoint), RIA_OK);
    checkpoint_get(checkpoint, &topic_id, 3, &entry);
    CU_ASSERT_EQUAL(entry.synced_offset, 5);
    checkpoint_free(checkpoint);
    ria_buf_fini(&bytes);
    end(&d);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_log_is_written_synced_cut_and_reopened),
    HARNESS_TEST(a_checkpoint_is_replaced_without_blocking),
};
HARNESS_MAIN(tests);
