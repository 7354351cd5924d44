/* log_fixture: one partition_log on the simulated disk, and a model of what must be in it.
 *
 * Each record's value names its offset and a salt; the model remembers the salts, so a verification
 * finds what is missing, out of place, or left over from before a truncation.
 *
 * Thread: the test's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/fs_sim.h"

#include "services/storage/partition_log.h"
#include "services/storage/segment_cache.h"

#define LOG_FIXTURE_DIR "data/00000000-0000-0000-0000-000000000001-7"

enum { LOG_FIXTURE_OFFSETS_MAX = 20000, LOG_FIXTURE_TEXT_MAX = 256 * 1024 };

struct log_fixture {
    struct ria_env env;
    struct ria_clock clock;
    struct ria_timers timers;
    struct ria_rand rand;
    struct ria_log logger;
    struct ria_fs *fs;
    int64_t now_us;
    char text[LOG_FIXTURE_TEXT_MAX]; /* log lines; starts again when full */
    size_t text_size;

    struct ria_uuid topic_id;
    uint32_t files_max;
    struct partition_log_options options;
    struct partition_log_checkpoint checkpoint; /* what the next open is given */
    struct segment_cache *cache;
    struct partition_log *log;
    unsigned synced_count;
    ria_err synced_err; /* last one that was not RIA_OK */

    uint32_t salts[LOG_FIXTURE_OFFSETS_MAX];
    int32_t epoch;
};

/* segment_bytes 4096, epoch 1, synced. Nothing is open. */
void log_fixture_init(struct log_fixture *f, uint64_t seed);

/* Whatever is open is forgotten. */
void log_fixture_fini(struct log_fixture *f);

ria_err log_fixture_open(struct log_fixture *f);

/* The same, which must succeed: after an init, and again. */
void log_fixture_begin(struct log_fixture *f, uint64_t seed);
void log_fixture_reopen(struct log_fixture *f);
ria_err log_fixture_close(struct log_fixture *f);

/* The checkpoint is taken as the log is now, as the service would about once a second. */
void log_fixture_take_checkpoint(struct log_fixture *f);

/* Power cut or kill -9, then everything in memory is gone. */
void log_fixture_crash(struct log_fixture *f, bool lose_unsynced);

/* One batch of `count` records of about value_size bytes. Timestamps are 1000 + 10 * offset. */
ria_err log_fixture_append(struct log_fixture *f, int32_t count, size_t value_size);

/* `count` batches of 1, 2, 3, 4, 5, 1, ... records. */
void log_fixture_append_many(struct log_fixture *f, int count, size_t value_size);

/* The same by a producer, as a leader would: admission first. *out_offset is the (original) offset.
 */
ria_err log_fixture_produce(
    struct log_fixture *f,
    int64_t producer_id,
    int16_t producer_epoch,
    int32_t sequence,
    int32_t count,
    int64_t *out_offset
);

/* Sync, and let time pass until everything is. */
void log_fixture_sync(struct log_fixture *f);

/* Let timers run for so long. */
void log_fixture_advance_us(struct log_fixture *f, int64_t us);

/* Read everything from offset to the end, or to the first error; checks each record against the
 * model. Returns the offset behind the last good record, or -1 if a record was wrong. */
int64_t log_fixture_verify(struct log_fixture *f, int64_t offset);

/* Path of a file in the log's folder. Valid until the next call. */
const char *log_fixture_path(int64_t offset, const char *suffix);

/* The byte at which the batch that holds offset begins in its segment. */
uint64_t log_fixture_position_of(struct log_fixture *f, int64_t offset, int64_t *out_segment);

/* Base offset of the n-th segment that has a file; -1: there are not so many. */
int64_t log_fixture_segment_base(struct log_fixture *f, int n);

bool log_fixture_exists(struct log_fixture *f, const char *path);
uint64_t log_fixture_file_size(struct log_fixture *f, const char *path);

/* Overwrite, or cut with data == NULL, durably. */
void log_fixture_damage(
    struct log_fixture *f, const char *path, uint64_t at, const void *data, size_t size
);
void log_fixture_unlink(struct log_fixture *f, const char *path);

/* How often a text was logged. */
unsigned log_fixture_logged(const struct log_fixture *f, const char *text);
