#include "tests/unit/services/storage/log_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/batch.h"

enum { VALUE_MAX = 70000, READ_MAX = 3000 };

/* ---- the world ---- */

static int64_t mono_us(const struct ria_clock *clock)
{
    const struct log_fixture *f =
        (const void *)((const char *)clock - offsetof(struct log_fixture, clock));
    return f->now_us;
}

static int64_t wall_ms(const struct ria_clock *clock)
{
    return mono_us(clock) / 1000;
}

static void write_log(void *arg, const char *line, size_t size)
{
    struct log_fixture *f = arg;

    if (f->text_size + size >= sizeof(f->text)) {
        f->text_size = 0;
    }
    memcpy(f->text + f->text_size, line, size);
    f->text_size += size;
    f->text[f->text_size] = '\0';
}

unsigned log_fixture_logged(const struct log_fixture *f, const char *text)
{
    unsigned count = 0;

    for (const char *p = f->text; (p = strstr(p, text)) != NULL; p++) {
        count++;
    }
    return count;
}

void log_fixture_init(struct log_fixture *f, uint64_t seed)
{
    memset(f, 0, sizeof(*f));
    f->clock = (struct ria_clock){.mono_us = mono_us, .wall_ms = wall_ms};
    f->now_us = 1000000;
    ria_timers_init(&f->timers, &f->clock);
    ria_rand_init(&f->rand, seed);
    f->logger = (struct ria_log){.level = RIA_LOG_DEBUG, .write = write_log, .arg = f};
    RIA_ASSERT(ria_fs_sim_new(&f->timers, &f->rand, &f->fs) == RIA_OK);
    RIA_ASSERT(ria_fs_mkdir(f->fs, "data") == RIA_OK);
    RIA_ASSERT(ria_fs_sync_dir(f->fs, ".") == RIA_OK);
    f->env = (struct ria_env){
        .clock = &f->clock,
        .timers = &f->timers,
        .fs = f->fs,
        .rand = &f->rand,
        .log = &f->logger,
    };
    f->topic_id.bytes[15] = 1;
    f->files_max = 64;
    f->options = (struct partition_log_options){.segment_bytes = 4096};
    f->epoch = 1;
}

static void forget(struct log_fixture *f)
{
    partition_log_free(RIA_STEAL(&f->log));
    segment_cache_free(RIA_STEAL(&f->cache));
}

void log_fixture_fini(struct log_fixture *f)
{
    ria_fs_sim_crash(f->fs, false);
    forget(f);
    ria_fs_sim_free(f->fs);
    ria_timers_fini(&f->timers);
}

static void on_synced(void *arg, ria_err err)
{
    struct log_fixture *f = arg;

    f->synced_count++;
    if (err != RIA_OK) {
        f->synced_err = err;
    }
}

ria_err log_fixture_open(struct log_fixture *f)
{
    RIA_ASSERT(f->log == NULL);

    if (f->cache == NULL) {
        RIA_ASSERT(segment_cache_new(f->fs, f->files_max, &f->cache) == RIA_OK);
    }
    ria_err err = partition_log_open(
        &f->env,
        f->cache,
        LOG_FIXTURE_DIR,
        &f->topic_id,
        7,
        &f->options,
        &f->checkpoint,
        on_synced,
        f,
        &f->log
    );
    if (err == RIA_OK) {
        partition_log_check(f->log);
    }
    return err;
}

ria_err log_fixture_close(struct log_fixture *f)
{
    ria_err err = partition_log_close(RIA_STEAL(&f->log));
    RIA_ASSERT(ria_fs_sim_open_count(f->fs) == 0);
    return err;
}

void log_fixture_take_checkpoint(struct log_fixture *f)
{
    partition_log_get_checkpoint(f->log, partition_log_synced_offset(f->log), &f->checkpoint);
}

void log_fixture_crash(struct log_fixture *f, bool lose_unsynced)
{
    ria_fs_sim_crash(f->fs, lose_unsynced);
    forget(f);
}

void log_fixture_advance_us(struct log_fixture *f, int64_t us)
{
    int64_t end_us = f->now_us + us;

    while (ria_timers_next_us(&f->timers) <= end_us) {
        f->now_us = ria_max_i64(f->now_us, ria_timers_next_us(&f->timers));
        (void)ria_timers_run(&f->timers);
    }
    f->now_us = end_us;
}

void log_fixture_sync(struct log_fixture *f)
{
    partition_log_sync(f->log);
    while (ria_timers_next_us(&f->timers) != INT64_MAX) {
        log_fixture_advance_us(f, ria_timers_next_us(&f->timers) - f->now_us);
    }
    partition_log_check(f->log);
}

/* ---- batches ---- */

static size_t format_value(char *out, int64_t offset, uint32_t salt)
{
    return (size_t)snprintf(out, 48, "%lld:%u;", (long long)offset, salt);
}

/* Builds with the log's end as offset, so that the values can name theirs. */
static void build(struct log_fixture *f, struct batch_builder *b, int32_t count, size_t value_size)
{
    static char value[VALUE_MAX];
    int64_t base = partition_log_end_offset(f->log);

    RIA_ASSERT(value_size < VALUE_MAX - 48);
    RIA_ASSERT(base + count <= LOG_FIXTURE_OFFSETS_MAX);
    batch_builder_init(b, 8 * 1024 * 1024);
    for (int32_t i = 0; i < count; i++) {
        f->salts[base + i] = (uint32_t)ria_rand_u64(&f->rand);
        size_t size = format_value(value, base + i, f->salts[base + i]);
        if (size < value_size) {
            memset(value + size, '.', value_size - size);
            size = value_size;
        }
        RIA_ASSERT(
            batch_builder_add(
                b, 1000 + 10 * (base + i), RIA_SLICE_NULL, ria_slice_of(value, size), NULL, 0
            ) == RIA_OK
        );
    }
}

static ria_err
append(struct log_fixture *f, struct ria_slice batch, bool admit, int64_t *out_offset)
{
    struct batch_header header;
    const char *reason = NULL;
    int64_t duplicate = -1;

    RIA_ASSERT(batch_validate(batch, 8 * 1024 * 1024, &header, &reason) == RIA_OK);
    if (admit) {
        RIA_TRY(partition_log_check_producer(f->log, &header, &duplicate));
        if (duplicate >= 0) {
            *out_offset = duplicate;
            return RIA_OK;
        }
    }
    uint8_t *copy = malloc(batch.size);
    RIA_ASSERT(copy != NULL);
    memcpy(copy, batch.data, batch.size);
    ria_err err = partition_log_append(f->log, copy, &header, f->epoch, out_offset);
    free(copy);
    return err;
}

ria_err log_fixture_append(struct log_fixture *f, int32_t count, size_t value_size)
{
    struct batch_builder b;
    int64_t offset = 0;

    build(f, &b, count, value_size);
    ria_err err = append(f, batch_builder_finish(&b, -1, -1, -1), false, &offset);
    batch_builder_fini(&b);
    return err;
}

ria_err log_fixture_produce(
    struct log_fixture *f,
    int64_t producer_id,
    int16_t producer_epoch,
    int32_t sequence,
    int32_t count,
    int64_t *out_offset
)
{
    struct batch_builder b;

    build(f, &b, count, 0);
    ria_err err = append(
        f, batch_builder_finish(&b, producer_id, producer_epoch, sequence), true, out_offset
    );
    batch_builder_fini(&b);
    return err;
}

/* ---- verification ---- */

/* Records at [from, ...) of the bytes. Returns the offset behind the last one, -1 if one is wrong.
 */
static int64_t verify_bytes(struct log_fixture *f, struct ria_slice bytes, int64_t from)
{
    struct batch_iter iter;
    struct batch_record record;
    char expected[64];
    int64_t next = from;

    while (bytes.size > 0) {
        bool more = true;
        if (batch_iter_init(&iter, bytes) != RIA_OK) {
            return -1;
        }
        while (batch_iter_next(&iter, &record, &more) == RIA_OK && more) {
            size_t size = format_value(expected, record.offset, f->salts[record.offset]);
            if (record.offset > next || record.value.size < size ||
                memcmp(record.value.data, expected, size) != 0) {
                (void)fprintf(
                    stderr,
                    "at %lld: offset %lld, expected value %s\n",
                    (long long)next,
                    (long long)record.offset,
                    expected
                );
                return -1;
            }
            next = ria_max_i64(next, record.offset + 1);
        }
        bytes = ria_slice_sub(bytes, batch_size(&iter.header), bytes.size);
    }
    return next;
}

int64_t log_fixture_verify(struct log_fixture *f, int64_t offset)
{
    struct partition_log_range range;
    int64_t end = partition_log_end_offset(f->log);

    while (offset < end) {
        uint32_t max = 1 + (uint32_t)ria_rand_below(&f->rand, READ_MAX);
        if (partition_log_locate(f->log, offset, end, max, &range) != RIA_OK) {
            return offset;
        }
        uint8_t *bytes = malloc(range.size + 1);
        RIA_ASSERT(bytes != NULL);
        if (range.size == 0 || partition_log_read(f->log, &range, bytes) != RIA_OK) {
            free(bytes);
            return offset;
        }
        int64_t next = verify_bytes(f, ria_slice_of(bytes, range.size), offset);
        free(bytes);
        if (next != range.next_offset) {
            return -1;
        }
        offset = next;
    }
    return offset;
}

/* ---- files ---- */

const char *log_fixture_path(int64_t offset, const char *suffix)
{
    static char path[256];

    (void)snprintf(path, sizeof(path), "%s/%020lld%s", LOG_FIXTURE_DIR, (long long)offset, suffix);
    return path;
}

bool log_fixture_exists(struct log_fixture *f, const char *path)
{
    struct ria_file *file = NULL;

    if (ria_fs_open(f->fs, path, RIA_FS_READ, &file) != RIA_OK) {
        return false;
    }
    ria_fs_close(file);
    return true;
}

uint64_t log_fixture_file_size(struct log_fixture *f, const char *path)
{
    struct ria_file *file = NULL;
    uint64_t size = 0;

    RIA_ASSERT(ria_fs_open(f->fs, path, RIA_FS_READ, &file) == RIA_OK);
    RIA_ASSERT(ria_fs_size(file, &size) == RIA_OK);
    ria_fs_close(file);
    return size;
}

void log_fixture_damage(
    struct log_fixture *f, const char *path, uint64_t at, const void *data, size_t size
)
{
    struct ria_file *file = NULL;

    RIA_ASSERT(ria_fs_open(f->fs, path, RIA_FS_WRITE, &file) == RIA_OK);
    if (data == NULL) {
        RIA_ASSERT(ria_fs_truncate(file, at) == RIA_OK);
    } else {
        RIA_ASSERT(ria_fs_pwrite(file, data, size, at) == RIA_OK);
    }
    RIA_ASSERT(ria_fs_sync(file) == RIA_OK);
    ria_fs_close(file);
}

void log_fixture_unlink(struct log_fixture *f, const char *path)
{
    RIA_ASSERT(ria_fs_unlink(f->fs, path) == RIA_OK);
    RIA_ASSERT(ria_fs_sync_dir(f->fs, LOG_FIXTURE_DIR) == RIA_OK);
}

void log_fixture_begin(struct log_fixture *f, uint64_t seed)
{
    log_fixture_init(f, seed);
    RIA_ASSERT(log_fixture_open(f) == RIA_OK);
}

void log_fixture_reopen(struct log_fixture *f)
{
    RIA_ASSERT(log_fixture_open(f) == RIA_OK);
}

void log_fixture_append_many(struct log_fixture *f, int count, size_t value_size)
{
    for (int i = 0; i < count; i++) {
        RIA_ASSERT(log_fixture_append(f, 1 + i % 5, value_size) == RIA_OK);
    }
}

uint64_t log_fixture_position_of(struct log_fixture *f, int64_t offset, int64_t *out_segment)
{
    struct partition_log_range range;

    RIA_ASSERT(partition_log_locate(f->log, offset, INT64_MAX, 1, &range) == RIA_OK);
    *out_segment = range.segment_base_offset;
    return range.position;
}

int64_t log_fixture_segment_base(struct log_fixture *f, int n)
{
    for (int64_t o = 0; o < LOG_FIXTURE_OFFSETS_MAX; o++) {
        if (log_fixture_exists(f, log_fixture_path(o, ".log")) && n-- == 0) {
            return o;
        }
    }
    return -1;
}
