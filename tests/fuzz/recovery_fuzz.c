/* recovery_fuzz: a partition's folder with arbitrary content never crashes an open, nor what
 * follows.
 *
 * The first byte chooses what the rest is. 0: a segment, as it is. 1: a segment cut into pieces
 * whose batch lengths and CRCs are put right, so that the checks behind them are reached. 2: edits
 * of the files of a good log. 3: the same, and the frames of small files are put right afterwards.
 * The second byte is the checkpoint's synced offset: below it nothing may be cut.
 */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/codec.h"
#include "common/crc.h"
#include "common/fs_sim.h"

#include "schemas/batch.h"

#include "services/storage/log_path.h"
#include "services/storage/partition_log.h"
#include "services/storage/record_file.h"
#include "services/storage/segment_cache.h"

#define DIR "data/log-0"

enum { EDITS_MAX = 64, BATCHES = 24, READ_MAX = 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct ria_env env;
    struct ria_clock clock;
    struct ria_timers timers;
    struct ria_rand rand;
    struct segment_cache *cache;
    struct partition_log *log;
    struct partition_log_checkpoint checkpoint;
};

static int64_t still(const struct ria_clock *clock)
{
    (void)clock;
    return 1000000;
}

static void ignore_synced(void *arg, ria_err err)
{
    (void)arg;
    (void)err;
}

static void world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->clock = (struct ria_clock){.mono_us = still, .wall_ms = still};
    ria_timers_init(&w->timers, &w->clock);
    ria_rand_init(&w->rand, 1);
    w->env = (struct ria_env){.clock = &w->clock, .timers = &w->timers};
    RIA_ASSERT(ria_fs_sim_new(&w->timers, &w->rand, &w->env.fs) == RIA_OK);
    RIA_ASSERT(ria_fs_mkdir(w->env.fs, "data") == RIA_OK);
    RIA_ASSERT(ria_fs_mkdir(w->env.fs, DIR) == RIA_OK);
    RIA_ASSERT(segment_cache_new(w->env.fs, 2, &w->cache) == RIA_OK);
}

static void world_fini(struct world *w)
{
    partition_log_free(w->log);
    segment_cache_free(w->cache);
    ria_fs_sim_free(w->env.fs);
    ria_timers_fini(&w->timers);
}

static ria_err open_log(struct world *w)
{
    struct partition_log_options options = {.segment_bytes = 512};
    struct ria_uuid topic_id = {.bytes = {0}};

    return partition_log_open(
        &w->env, w->cache, DIR, &topic_id, 0, &options, &w->checkpoint, ignore_synced, w, &w->log
    );
}

/* ---- what is there before ---- */

static void write_file(struct world *w, const char *path, struct ria_slice bytes)
{
    struct ria_file *file = NULL;

    RIA_ASSERT(ria_fs_open(w->env.fs, path, RIA_FS_WRITE | RIA_FS_CREATE, &file) == RIA_OK);
    RIA_ASSERT(ria_fs_truncate(file, 0) == RIA_OK);
    RIA_ASSERT(ria_fs_pwrite(file, bytes.data, bytes.size, 0) == RIA_OK);
    ria_fs_close(file);
}

/* Pieces of 61 bytes and more, by a length byte in front of each. */
static void repair_batches(uint8_t *bytes, size_t size)
{
    while (size > BATCH_HEADER_SIZE) {
        size_t piece = ria_min_size(size, BATCH_HEADER_SIZE + (size_t)bytes[BATCH_HEADER_SIZE - 1]);
        struct ria_writer writer = ria_writer_of(bytes, piece);
        writer.pos = 8;
        ria_write_u32(&writer, (uint32_t)(piece - BATCH_LENGTH_FROM));
        bytes[16] = 2;
        writer.pos = BATCH_CRC_FROM - 4;
        ria_write_u32(&writer, ria_crc32c(bytes + BATCH_CRC_FROM, piece - BATCH_CRC_FROM));
        bytes += piece;
        size -= piece;
    }
}

static void make_segment(struct world *w, struct ria_slice rest, bool repair)
{
    uint8_t *copy = malloc(rest.size + 1);

    RIA_ASSERT(copy != NULL);
    if (rest.size > 0) {
        memcpy(copy, rest.data, rest.size);
    }
    if (repair) {
        repair_batches(copy, rest.size);
    }
    write_file(w, DIR "/00000000000000000000.log", ria_slice_of(copy, rest.size));
    free(copy);
}

static void append_some(struct world *w)
{
    struct batch_builder b;
    struct batch_header header;
    const char *reason = NULL;
    int64_t offset = 0;

    batch_builder_init(&b, 4096);
    for (int i = 0; i < BATCHES; i++) {
        batch_builder_reset(&b);
        for (int k = 0; k <= i % 3; k++) {
            RIA_ASSERT(
                batch_builder_add(
                    &b, 1000 + i, RIA_SLICE_NULL, RIA_SLICE_LITERAL("value"), NULL, 0
                ) == RIA_OK
            );
        }
        struct ria_slice batch =
            i % 2 == 0 ? batch_builder_finish(&b, 5, 0, i) : batch_builder_finish(&b, -1, -1, -1);
        if (batch_validate(batch, 4096, &header, &reason) == RIA_OK) {
            ria_err err = partition_log_append(w->log, b.buf.data, &header, i / 8, &offset);
            (void)err;
        }
    }
    batch_builder_fini(&b);
}

static bool collect(void *arg, const char *name, bool is_dir)
{
    struct ria_buf *names = arg;

    (void)is_dir;
    RIA_ASSERT(ria_buf_append(names, name, strlen(name) + 1) == RIA_OK);
    return true;
}

static const char *nth_name(const struct ria_buf *names, unsigned n)
{
    unsigned count = 0;
    const char *p = (const char *)names->data;

    for (size_t i = 0; i < names->size; i++) {
        count += names->data[i] == '\0';
    }
    for (n %= count; n > 0; n--) {
        p += strlen(p) + 1;
    }
    return p;
}

/* Length and CRC of a frame as they should be. */
static void repair_frame(struct world *w, const char *path)
{
    uint8_t *data = NULL;
    size_t size = 0;

    RIA_ASSERT(ria_fs_read_all(w->env.fs, path, READ_MAX, &data, &size) == RIA_OK);
    if (size >= RECORD_FILE_HEADER_SIZE) {
        struct ria_writer writer = ria_writer_of(data, size);
        writer.pos = 8;
        ria_write_u32(&writer, (uint32_t)(size - RECORD_FILE_HEADER_SIZE));
        uint32_t crc = ria_crc32c_extend(
            ria_crc32c(data, 12), data + RECORD_FILE_HEADER_SIZE, size - RECORD_FILE_HEADER_SIZE
        );
        ria_write_u32(&writer, crc);
        write_file(w, path, ria_slice_of(data, size));
    }
    free(data);
}

static void edit(struct world *w, const char *path, struct ria_reader *r, uint8_t kind)
{
    struct ria_file *file = NULL;
    uint16_t at = ria_read_u16(r);
    uint8_t byte = ria_read_u8(r);

    if (kind % 8 == 0) {
        RIA_ASSERT(ria_fs_unlink(w->env.fs, path) == RIA_OK);
        return;
    }
    RIA_ASSERT(ria_fs_open(w->env.fs, path, RIA_FS_WRITE, &file) == RIA_OK);
    if (kind % 8 == 1) {
        RIA_ASSERT(ria_fs_truncate(file, at % 1024) == RIA_OK);
    } else {
        RIA_ASSERT(ria_fs_pwrite(file, &byte, 1, at % 512) == RIA_OK);
    }
    ria_fs_close(file);
}

static void make_edited(struct world *w, struct ria_slice script, bool repair)
{
    struct ria_reader r = ria_reader_of(script);
    struct ria_buf names;
    char path[LOG_PATH_MAX];

    RIA_ASSERT(open_log(w) == RIA_OK);
    append_some(w);
    RIA_ASSERT(partition_log_close(RIA_STEAL(&w->log)) == RIA_OK);
    ria_buf_init(&names, 65536);
    for (int i = 0; i < EDITS_MAX && ria_reader_left(&r) >= 5; i++) {
        ria_buf_clear(&names);
        RIA_ASSERT(ria_fs_list(w->env.fs, DIR, collect, &names) == RIA_OK);
        if (names.size == 0) {
            break;
        }
        log_path_join(path, DIR, nth_name(&names, ria_read_u8(&r)));
        uint8_t kind = ria_read_u8(&r);
        edit(w, path, &r, kind);
        if (repair && kind % 8 != 0 && strstr(path, ".log") == NULL) {
            repair_frame(w, path);
        }
    }
    ria_buf_fini(&names);
}

/* ---- what must not crash ---- */

static void read_everything(struct world *w)
{
    static uint8_t bytes[READ_MAX];
    struct partition_log_range range;
    int64_t end = partition_log_end_offset(w->log);
    int64_t offset = partition_log_start_offset(w->log);
    int64_t found = 0;
    int64_t timestamp_ms = 0;

    for (int i = 0; i < 200 && offset < end; i++) {
        ria_err err = partition_log_locate(w->log, offset, end, 300, &range);
        if (err == RIA_OK && range.size > 0 && range.size <= sizeof(bytes)) {
            err = partition_log_read(w->log, &range, bytes);
        }
        offset = err == RIA_OK ? range.next_offset : offset + 1;
    }
    for (int64_t t = 990; t < 1030; t += 7) {
        ria_err err = partition_log_find_time(w->log, t, end, &found, &timestamp_ms);
        RIA_ASSERT(err != RIA_OK || found < end);
    }
}

static void use(struct world *w, uint8_t how)
{
    partition_log_check(w->log);
    read_everything(w);
    if (how % 4 == 1) {
        int64_t start = partition_log_start_offset(w->log);
        int64_t span = partition_log_end_offset(w->log) - start;
        ria_err err = partition_log_truncate(w->log, start + span * (how / 4) / 64);
        (void)err;
    } else if (how % 4 == 2) {
        RIA_ASSERT(partition_log_reset(w->log, how) == RIA_OK);
        RIA_ASSERT(!partition_log_is_damaged(w->log));
    }
    if (!partition_log_has_failed(w->log)) {
        partition_log_check(w->log);
    }
    append_some(w);
    read_everything(w);
    partition_log_sync(w->log);
    while (ria_timers_next_us(&w->timers) != INT64_MAX) {
        (void)ria_timers_run(&w->timers);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w;

    if (size < 3) {
        return 0;
    }
    struct ria_slice rest = ria_slice_of(data + 3, size - 3);
    world_init(&w);
    if (data[0] % 4 < 2) {
        make_segment(&w, rest, data[0] % 4 == 1);
    } else {
        make_edited(&w, rest, data[0] % 4 == 3);
    }
    w.checkpoint.synced_offset = data[1];
    w.checkpoint.generation = data[1] % 5 == 4;
    for (int pass = 0; pass < 2 && open_log(&w) == RIA_OK; pass++) {
        use(&w, pass == 0 ? data[2] : 0);
        if (pass == 0) {
            ria_err err = partition_log_close(RIA_STEAL(&w.log));
            (void)err;
        }
    }
    world_fini(&w);
    return 0;
}
