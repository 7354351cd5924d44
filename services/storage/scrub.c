#include "services/storage/scrub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/scrub_file.h"

#include "services/storage/log_scrub.h"
#include "services/storage/record_file.h"
#include "services/storage/storage.h"

static const char SCRUB_MAGIC[] = "RIAB";

enum {
    READ_SIZE = 1024 * 1024,
    RETRY_US = 1000000,          /* no descriptors, no memory, a read that failed */
    SAVE_US = 30 * 1000000,      /* how often the place is written down */
    WAIT_US_MAX = 600 * 1000000, /* timers are looked at again, whatever the clock did */
    SCRUB_FILE_MAX = 4096,
};

struct scrub {
    struct storage *storage;
    int64_t period_ms;
    int64_t rate;
    struct ria_timer timer;
    bool stopped;

    int64_t started_ms; /* wall clock: when this pass, or the last one, began */
    bool in_pass;
    bool has_replica;
    struct partition_id id; /* of the replica being read, or read last */
    struct log_scrub place; /* in its log; offset: where to go on */
    struct ria_file *file;  /* at the place; NULL: to be found */
    size_t wanted;          /* bytes the next batch needs; 0 = any number */
    int64_t saved_us;

    uint8_t *buf;
    size_t buf_room;
    struct ria_fs_sync read;
    bool reading;
};

static void wake_in(struct scrub *scrub, int64_t us)
{
    ria_timer_start(
        scrub->storage->env->timers, &scrub->timer, ria_max_i64(0, ria_min_i64(us, WAIT_US_MAX))
    );
}

/* ---- the place on disk ---- */

static void path_of(const struct scrub *scrub, char out_path[LOG_PATH_MAX])
{
    (void
    )snprintf(out_path, LOG_PATH_MAX, "%s/scrub", data_dirs_first(&scrub->storage->dirs)->path);
}

/* A hint, like an index: not synced, and not missed if it is bad. */
static void save(struct scrub *scrub)
{
    struct scrub_file file;
    struct ria_buf buf;
    struct ria_writer w;
    char path[LOG_PATH_MAX];

    scrub_file_init(&file);
    file.started_ms = scrub->started_ms;
    file.in_pass = scrub->in_pass;
    file.topic_id = scrub->id.topic_id;
    file.partition = partition_id_number(&scrub->id);
    file.offset = scrub->has_replica ? scrub->place.offset : INT64_MAX;
    path_of(scrub, path);
    ria_buf_init(&buf, SCRUB_FILE_MAX);
    ria_err err = record_file_begin(&buf, scrub_file_size(&file, SCRUB_FILE_VERSION_MAX), &w);
    if (err == RIA_OK) {
        scrub_file_encode(&file, SCRUB_FILE_VERSION_MAX, &w);
        record_file_finish(&buf, SCRUB_MAGIC, SCRUB_FILE_VERSION_MAX);
        err = record_file_write(scrub->storage->env->fs, path, ria_buf_slice(&buf));
    }
    ria_buf_fini(&buf);
    if (err != RIA_OK) {
        ria_log_debug(
            scrub->storage->env->log, "storage.scrub_not_saved", "err=\"%s\"", ria_err_text(err)
        );
    }
    scrub->saved_us = ria_clock_mono_us(scrub->storage->env->clock);
}

static ria_err decode(struct ria_slice data, struct scrub_file *out_file)
{
    struct ria_slice body;
    struct ria_arena arena;
    int16_t version = 0;

    RIA_TRY(record_file_open(data, SCRUB_MAGIC, SCRUB_FILE_VERSION_MAX, &version, &body));
    ria_arena_init(&arena, SCRUB_FILE_MAX);
    struct ria_reader reader = ria_reader_of(body);
    ria_err err = scrub_file_decode(out_file, version, &reader, &arena);
    ria_arena_fini(&arena);
    return err;
}

static void load(struct scrub *scrub)
{
    struct scrub_file file;
    char path[LOG_PATH_MAX];
    uint8_t *data = NULL;
    size_t size = 0;

    path_of(scrub, path);
    if (record_file_load(scrub->storage->env->fs, path, SCRUB_FILE_MAX, &data, &size) != RIA_OK) {
        return;
    }
    if (decode(ria_slice_of(data, size), &file) == RIA_OK && file.offset >= 0) {
        scrub->started_ms = file.started_ms;
        scrub->in_pass = file.in_pass;
        scrub->id = partition_id_of(&file.topic_id, file.partition);
        scrub->place.offset = file.offset;
        scrub->has_replica = file.in_pass && file.offset < INT64_MAX;
    }
    free(data);
}

/* ---- whose turn ---- */

static void close_file(struct scrub *scrub)
{
    ria_fs_close(RIA_STEAL(&scrub->file));
    scrub->wanted = 0;
}

/* The open replica with the smallest id above the last one. NULL: the pass is through. */
static struct replica *next_replica(const struct scrub *scrub)
{
    struct replica *best = NULL;

    RIA_LIST_FOREACH (node, &scrub->storage->replicas) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, link);
        const struct partition_id *id = &replica->partition.id;
        if (replica->state == REPLICA_OPEN && memcmp(id, &scrub->id, sizeof(*id)) > 0 &&
            (best == NULL || memcmp(id, &best->partition.id, sizeof(*id)) < 0)) {
            best = replica;
        }
    }
    return best;
}

static void begin_pass(struct scrub *scrub, int64_t now_ms)
{
    scrub->started_ms = now_ms;
    scrub->in_pass = true;
    scrub->has_replica = false;
    memset(&scrub->id, 0, sizeof(scrub->id));
    save(scrub);
}

static void end_pass(struct scrub *scrub)
{
    scrub->in_pass = false;
    scrub->storage->metrics.scrub_passes.value++;
    ria_log_info(
        scrub->storage->env->log,
        "storage.scrubbed",
        "replicas=%lld",
        (long long)scrub->storage->metrics.replicas.value
    );
    save(scrub);
}

/* The replica being read; the next one's beginning if that one is through. NULL: the pass is. */
static struct replica *current(struct scrub *scrub)
{
    struct replica *replica =
        scrub->has_replica ? storage_find_id(scrub->storage, &scrub->id) : NULL;

    if (replica != NULL && replica->state == REPLICA_OPEN) {
        return replica;
    }
    close_file(scrub);
    replica = next_replica(scrub);
    scrub->has_replica = replica != NULL;
    if (replica != NULL) {
        scrub->id = replica->partition.id;
        scrub->place.offset = 0;
    }
    return replica;
}

/* ---- reading ---- */

static void on_read(struct ria_fs_sync *read);

static ria_err have_room(struct scrub *scrub, size_t size)
{
    if (size > scrub->buf_room) {
        uint8_t *buf = realloc(scrub->buf, size);
        if (buf == NULL) {
            return RIA_ERR_NOMEM;
        }
        scrub->buf = buf;
        scrub->buf_room = size;
    }
    return RIA_OK;
}

/* *out_more = false: nothing is left of this log. */
static ria_err find(struct scrub *scrub, struct replica *replica, bool *out_more)
{
    char path[LOG_PATH_MAX];
    struct partition_log *log = replica->partition.log;
    int64_t offset = ria_max_i64(scrub->place.offset, partition_log_start_offset(log));

    RIA_TRY(log_scrub_find(log, offset, &scrub->place, path, out_more));
    if (!*out_more) {
        return RIA_OK;
    }
    return ria_fs_open(scrub->storage->env->fs, path, RIA_FS_READ, &scrub->file);
}

static ria_err start_read(struct scrub *scrub)
{
    size_t size =
        (size_t)ria_min_i64((int64_t)(scrub->place.end - scrub->place.position), READ_SIZE);

    size = scrub->wanted > size ? scrub->wanted : size;
    RIA_TRY(have_room(scrub, size));
    scrub->read = (struct ria_fs_sync){.done = on_read};
    scrub->reading = true;
    ria_fs_read_start(scrub->file, &scrub->read, scrub->buf, size, scrub->place.position);
    return RIA_OK;
}

static ria_err check(struct scrub *scrub, struct replica *replica)
{
    bool moved = false;

    if (scrub->read.result != RIA_OK) {
        scrub->read.got =
            0; /* a bad sector: what is at the place is looked at in the ordinary way */
    }
    if (scrub->read.got < scrub->read.read_size) {
        scrub->place.end = scrub->place.position + scrub->read.got; /* the file is shorter */
    }
    ria_err err = log_scrub_check(
        replica->partition.log,
        &scrub->place,
        ria_slice_of(scrub->buf, scrub->read.got),
        &scrub->wanted,
        &moved
    );
    if (err != RIA_OK || !moved || scrub->place.position >= scrub->place.end) {
        close_file(scrub);
    }
    return err;
}

/* The bytes cost so long at this rate. */
static int64_t cost_us(const struct scrub *scrub, size_t size)
{
    return (int64_t)size * 1000000 / scrub->rate;
}

static void on_read(struct ria_fs_sync *read)
{
    struct scrub *scrub = RIA_CONTAINER(read, struct scrub, read);
    struct replica *replica = NULL;

    scrub->reading = false;
    if (scrub->stopped) {
        close_file(scrub);
        return;
    }
    replica = storage_find_id(scrub->storage, &scrub->id);
    scrub->storage->metrics.scrub_bytes.value += read->got;
    if (replica == NULL || replica->state != REPLICA_OPEN) {
        close_file(scrub);
        wake_in(scrub, 0);
        return;
    }
    ria_err err = check(scrub, replica);
    wake_in(scrub, err == RIA_OK ? cost_us(scrub, read->got) : RETRY_US);
}

/* Begin the next read. Errors: those that pass. */
static ria_err go_on(struct scrub *scrub)
{
    bool more = true;

    for (;;) {
        struct replica *replica = current(scrub);
        if (replica == NULL) {
            end_pass(scrub);
            wake_in(scrub, 0);
            return RIA_OK;
        }
        if (scrub->file == NULL) {
            ria_err err = find(scrub, replica, &more);
            if (err == RIA_ERR_NOT_FOUND) { /* a segment that is gone: a read of it tells */
                err = RIA_OK;
                more = false;
            }
            RIA_TRY(err);
        }
        if (more) {
            return start_read(scrub);
        }
        scrub->has_replica = false; /* the next one */
        more = true;
    }
}

static void on_due(struct ria_timer *timer, void *arg)
{
    struct scrub *scrub = arg;
    const struct ria_env *env = scrub->storage->env;
    int64_t now_ms = ria_clock_wall_ms(env->clock);

    (void)timer;
    if (scrub->stopped || scrub->reading) {
        return;
    }
    if (!storage_is_ready(scrub->storage)) {
        wake_in(scrub, RETRY_US); /* it would pass over what is being opened */
        return;
    }
    if (!scrub->in_pass) {
        int64_t due_ms = scrub->started_ms + scrub->period_ms;
        if (now_ms < due_ms && now_ms >= scrub->started_ms) {
            wake_in(scrub, ria_min_i64(due_ms - now_ms, WAIT_US_MAX / 1000) * 1000);
            return;
        }
        begin_pass(scrub, now_ms);
    }
    if (ria_clock_mono_us(env->clock) - scrub->saved_us > SAVE_US) {
        save(scrub);
    }
    if (go_on(scrub) != RIA_OK) {
        close_file(scrub);
        wake_in(scrub, RETRY_US);
    }
}

/* ---- life ---- */

ria_err scrub_new(struct storage *s, int64_t period_ms, int64_t rate, struct scrub **out_scrub)
{
    RIA_ASSERT(period_ms == 0 || rate > 0);

    struct scrub *scrub = calloc(1, sizeof(*scrub));
    if (scrub == NULL) {
        return RIA_ERR_NOMEM;
    }
    scrub->storage = s;
    scrub->period_ms = period_ms;
    scrub->rate = rate;
    ria_timer_init(&scrub->timer, on_due, scrub);
    *out_scrub = scrub;
    return RIA_OK;
}

void scrub_free(struct scrub *scrub)
{
    if (scrub == NULL) {
        return;
    }
    ria_timer_stop(scrub->storage->env->timers, &scrub->timer);
    ria_fs_close(scrub->file);
    free(scrub->buf);
    free(scrub);
}

void scrub_start(struct scrub *scrub)
{
    if (scrub->period_ms > 0 && !scrub->stopped) {
        load(scrub);
        wake_in(scrub, cost_us(scrub, READ_SIZE));
    }
}

void scrub_stop(struct scrub *scrub)
{
    if (scrub->in_pass && !scrub->stopped && scrub->period_ms > 0) {
        save(scrub);
    }
    scrub->stopped = true;
    ria_timer_stop(scrub->storage->env->timers, &scrub->timer);
    if (!scrub->reading) {
        close_file(scrub);
    }
}

bool scrub_is_busy(const struct scrub *scrub)
{
    return scrub->reading;
}
