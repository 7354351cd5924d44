/* log_bench: how fast one partition's log is on this machine, on one core, without the service.
 *
 *     log_bench FOLDER [batches, default 300000]
 *
 * Prints one JSON object: appends of 1 KiB batches into the page cache, the same by an idempotent
 * producer, and as a follower gets them (64 KiB at a time); time and size of a roll; locate and
 * read of everything in pieces of 1 MiB and at random offsets; a recovery that scans one full
 * segment.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/fs_posix.h"
#include "common/loop.h"

#include "schemas/batch.h"

#include "services/storage/partition_log.h"
#include "services/storage/segment_cache.h"

enum { BATCH_SIZE = 1024, READ_SIZE = 1024 * 1024, FOLLOW_SIZE = 64 * 1024, RANDOM_READS = 100000 };

struct bench {
    struct ria_loop *loop;
    struct ria_env env;
    struct ria_fs *fs;
    struct ria_log quiet;
    struct segment_cache *cache;
    struct partition_log *log;
    struct ria_buf path;
    uint8_t *batch;
    struct batch_header header;
    uint8_t *read;
};

static double seconds(void)
{
    return (double)ria_clock_mono_us(ria_clock_system()) / 1e6;
}

static void must(ria_err err, const char *what)
{
    if (err != RIA_OK) {
        (void)fprintf(stderr, "log_bench: %s: %s\n", what, ria_err_text(err));
        exit(EXIT_FAILURE);
    }
}

static void ignore_synced(void *arg, ria_err err)
{
    (void)arg;
    must(err, "sync");
}

static void no_line(void *arg, const char *line, size_t size)
{
    (void)arg;
    (void)line;
    (void)size;
}

static void open_log(struct bench *b, const char *dir)
{
    struct partition_log_options options = {.segment_bytes = 128 * 1024 * 1024};
    struct partition_log_checkpoint checkpoint = {.generation = 0};
    struct ria_uuid topic_id = {.bytes = {1}};

    must(
        partition_log_open(
            &b->env, b->cache, dir, &topic_id, 0, &options, &checkpoint, ignore_synced, b, &b->log
        ),
        "open"
    );
}

static void make_batch(struct bench *b)
{
    struct batch_builder builder;
    uint8_t value[BATCH_SIZE];
    const char *reason = NULL;

    memset(value, 'v', sizeof(value));
    batch_builder_init(&builder, BATCH_SIZE * 2);
    must(
        batch_builder_add(
            &builder,
            1700000000000,
            RIA_SLICE_NULL,
            ria_slice_of(value, BATCH_SIZE - BATCH_HEADER_SIZE - 12),
            NULL,
            0
        ),
        "build"
    );
    struct ria_slice batch = batch_builder_finish(&builder, -1, -1, -1);
    must(batch_validate(batch, BATCH_SIZE * 2, &b->header, &reason), "validate");
    memcpy(b->batch, batch.data, batch.size);
    batch_builder_fini(&builder);
}

static void append(struct bench *b, long count, bool idempotent)
{
    double slowest = 0;
    int64_t offset = 0;
    int64_t duplicate = 0;

    b->header.producer_id = idempotent ? 77 : -1;
    b->header.producer_epoch = idempotent ? 0 : -1;
    double start = seconds();
    double last = start;
    for (long i = 0; i < count; i++) {
        b->header.base_sequence = idempotent ? (int32_t)i : -1;
        must(partition_log_check_producer(b->log, &b->header, &duplicate), "admit");
        must(partition_log_append(b->log, b->batch, &b->header, 1, &offset), "append");
        if (i % 16 == 0) {
            double now = seconds();
            slowest = now - last > slowest ? now - last : slowest;
            last = now;
        }
    }
    double took = seconds() - start;
    (void)printf(
        " \"append%s\": {\"batches_per_s\": %.0f, \"mib_per_s\": %.0f, \"slowest_16_ms\": %.2f},\n",
        idempotent ? "_idempotent" : "",
        (double)count / took,
        (double)count * (double)batch_size(&b->header) / took / 1048576,
        slowest * 1000
    );
}

/* Everything again, as a follower writes it. */
static void follow(struct bench *b, const char *dir)
{
    struct partition_log *leader = b->log;
    struct partition_log_range range;
    int64_t end = partition_log_end_offset(leader);
    double took = 0;

    open_log(b, dir);
    for (int64_t offset = 0; offset < end; offset = range.next_offset) {
        must(partition_log_locate(leader, offset, end, FOLLOW_SIZE, &range), "locate");
        must(partition_log_read(leader, &range, b->read), "read");
        double start = seconds();
        must(partition_log_append_batches(b->log, ria_slice_of(b->read, range.size)), "follow");
        took += seconds() - start;
    }
    (void)printf(
        " \"follower\": {\"batches_per_s\": %.0f, \"mib_per_s\": %.0f},\n",
        (double)end / took,
        (double)end * (double)batch_size(&b->header) / took / 1048576
    );
    partition_log_free(b->log);
    b->log = leader;
}

static void read_in_order(struct bench *b)
{
    struct partition_log_range range;
    int64_t end = partition_log_end_offset(b->log);
    double size = 0;
    double start = seconds();

    for (int64_t offset = 0; offset < end; offset = range.next_offset) {
        must(partition_log_locate(b->log, offset, end, READ_SIZE, &range), "locate");
        must(partition_log_read(b->log, &range, b->read), "read");
        size += range.size;
    }
    (void)printf(" \"read_1mib\": {\"mib_per_s\": %.0f},\n", size / (seconds() - start) / 1048576);
}

static void locate_at_random(struct bench *b)
{
    struct partition_log_range range;
    struct ria_rand rand;
    int64_t end = partition_log_end_offset(b->log);

    ria_rand_init(&rand, 1);
    double start = seconds();
    for (int i = 0; i < RANDOM_READS; i++) {
        int64_t offset = (int64_t)ria_rand_below(&rand, (uint64_t)end);
        must(partition_log_locate(b->log, offset, end, BATCH_SIZE, &range), "locate");
        must(partition_log_read(b->log, &range, b->read), "read");
    }
    (void)printf(
        " \"read_1kib_at_random\": {\"us\": %.2f},\n", (seconds() - start) * 1e6 / RANDOM_READS
    );
}

static void recover(struct bench *b, const char *dir)
{
    int64_t end = partition_log_end_offset(b->log);
    int64_t tail = end - end / 131072 * 131072;

    partition_log_free(b->log);
    double start = seconds();
    open_log(b, dir);
    double took = seconds() - start;
    (void)printf(
        " \"recovery\": {\"ms\": %.1f, \"batches_in_last_segment\": %lld},\n",
        took * 1000,
        (long long)tail
    );
    must(partition_log_close(b->log), "close");
    start = seconds();
    open_log(b, dir);
    (void)printf(" \"clean_open_ms\": %.2f\n", (seconds() - start) * 1000);
    must(partition_log_close(b->log), "close");
}

static void new_logs(struct bench *b, const char *folder)
{
    enum { LOGS = 200 };
    char dir[512];
    struct partition_log *log = b->log;
    double start = seconds();

    for (int i = 0; i < LOGS; i++) {
        (void)snprintf(dir, sizeof(dir), "%s/new-%d", folder, i);
        open_log(b, dir);
        partition_log_free(b->log);
    }
    double took = seconds() - start;
    start = seconds();
    for (int i = 0; i < LOGS; i++) {
        (void)snprintf(dir, sizeof(dir), "%s/new-%d", folder, i);
        open_log(b, dir);
        must(partition_log_close(b->log), "close");
    }
    (void)printf(
        " \"new_log_ms\": %.3f, \"empty_log_open_ms\": %.3f,\n",
        took * 1000 / LOGS,
        (seconds() - start) * 1000 / LOGS
    );
    b->log = log;
}

int main(int argc, char **argv)
{
    struct bench b = {.quiet = {.level = RIA_LOG_ERROR, .write = no_line}};
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 300000;
    char dir[512];
    char follower_dir[512];

    if (argc < 2 || count <= 0) {
        (void)fprintf(stderr, "usage: log_bench FOLDER [batches]\n");
        return 2;
    }
    (void)snprintf(dir, sizeof(dir), "%s/leader", argv[1]);
    (void)snprintf(follower_dir, sizeof(follower_dir), "%s/follower", argv[1]);
    must(ria_loop_new(&b.loop), "loop");
    must(ria_fs_posix_new(b.loop, 1, &b.fs), "fs");
    b.env = (struct ria_env){
        .clock = ria_loop_clock(b.loop),
        .timers = ria_loop_timers(b.loop),
        .fs = b.fs,
        .log = &b.quiet,
    };
    must(segment_cache_new(b.fs, SEGMENT_CACHE_FILES_DEFAULT, &b.cache), "cache");
    b.batch = malloc(BATCH_SIZE * 2);
    b.read = malloc(READ_SIZE + BATCH_SIZE);
    RIA_ASSERT(b.batch != NULL && b.read != NULL);
    make_batch(&b);
    open_log(&b, dir);
    (void)printf("{\n");
    append(&b, count, false);
    append(&b, count, true);
    follow(&b, follower_dir);
    read_in_order(&b);
    locate_at_random(&b);
    new_logs(&b, argv[1]);
    recover(&b, dir);
    (void)printf("}\n");
    segment_cache_free(b.cache);
    ria_fs_posix_free(b.fs);
    ria_loop_free(b.loop);
    free(b.batch);
    free(b.read);
    return 0;
}
