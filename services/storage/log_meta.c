/* The file partition.meta of a log: what its segments cannot tell (docs/formats/partition.md). */
#include <stdlib.h>

#include "common/arena.h"

#include "schemas/gen/partition_file.h"

#include "services/storage/log_state.h"
#include "services/storage/record_file.h"

static const char META_MAGIC[] = "RIAP";
static const char META_NAME[] = "partition.meta";

enum { META_SIZE_MAX = 16 * 1024, META_ARENA_MAX = 16 * 1024 };
_Static_assert(
    LOG_DAMAGE_MAX * sizeof(struct partition_file_damaged_range) < META_ARENA_MAX,
    "the largest file must be readable"
);

ria_err log_save_meta(struct partition_log *log, bool durably)
{
    struct partition_file file;
    struct partition_file_damaged_range ranges[LOG_DAMAGE_MAX];
    struct ria_buf buf;
    struct ria_writer w;
    char path[LOG_PATH_MAX];

    partition_file_init(&file);
    file.topic_id = log->topic_id;
    file.partition = log->partition;
    file.generation = log->generation;
    file.start_offset = log->start_offset;
    file.damage = ranges;
    file.damage_count = log->damage_count;
    for (uint32_t i = 0; i < log->damage_count; i++) {
        ranges[i].from_offset = log->damage[i].from_offset;
        ranges[i].to_offset = log->damage[i].to_offset;
    }
    file.lost_from_offset = log->lost.from_offset;
    file.lost_to_offset = log->lost.to_offset;
    file.forced_epoch = log->forced_epoch;
    file.tail_doubted = log->tail_doubted;
    ria_buf_init(&buf, META_SIZE_MAX);
    ria_err err =
        record_file_begin(&buf, partition_file_size(&file, PARTITION_FILE_VERSION_MAX), &w);
    if (err == RIA_OK) {
        partition_file_encode(&file, PARTITION_FILE_VERSION_MAX, &w);
        record_file_finish(&buf, META_MAGIC, PARTITION_FILE_VERSION_MAX);
        log_path_join(path, log->dir, META_NAME);
        err = durably ? ria_fs_replace(log->env->fs, path, buf.data, buf.size)
                      : record_file_write(log->env->fs, path, ria_buf_slice(&buf));
    }
    ria_buf_fini(&buf);
    return err;
}

static ria_err take(struct partition_log *log, const struct partition_file *file)
{
    if (!ria_uuid_equal(file->topic_id, log->topic_id) || file->partition != log->partition) {
        ria_log_error(log->env->log, "storage.log_misplaced", "log=%s", log->name);
        return RIA_ERR_CORRUPT;
    }
    if (file->start_offset < 0) {
        return RIA_ERR_CORRUPT;
    }
    log->generation = file->generation;
    log->start_offset = file->start_offset;
    log->forced_epoch = file->forced_epoch;
    log->tail_doubted = file->tail_doubted;
    for (uint32_t i = 0; i < file->damage_count; i++) {
        int64_t from_offset = file->damage[i].from_offset;
        int64_t to_offset = file->damage[i].to_offset;
        if (from_offset >= 0 && from_offset < to_offset) {
            log_note_damage(log, from_offset, to_offset);
        }
    }
    if (file->lost_from_offset >= 0 && file->lost_from_offset < file->lost_to_offset) {
        log->lost.from_offset = file->lost_from_offset;
        log->lost.to_offset = file->lost_to_offset;
    }
    return RIA_OK;
}

/* *out_found = false: the file is bad as a whole. */
static ria_err decode(struct partition_log *log, struct ria_slice data, bool *out_found)
{
    struct partition_file file;
    struct ria_slice body;
    struct ria_arena arena;
    int16_t version = 0;

    ria_err err = record_file_open(data, META_MAGIC, PARTITION_FILE_VERSION_MAX, &version, &body);
    *out_found = err != RIA_ERR_CORRUPT;
    if (err != RIA_OK) {
        return *out_found ? err : RIA_OK;
    }
    ria_arena_init(&arena, META_ARENA_MAX);
    struct ria_reader reader = ria_reader_of(body);
    err = record_file_decode_err(partition_file_decode(&file, version, &reader, &arena));
    if (err == RIA_OK) {
        err = take(log, &file);
    }
    ria_arena_fini(&arena);
    return err;
}

ria_err log_load_meta(struct partition_log *log, bool *out_found)
{
    char path[LOG_PATH_MAX];
    uint8_t *data = NULL;
    size_t size = 0;
    bool found = false;

    log_path_join(path, log->dir, META_NAME);
    ria_err err = record_file_load(log->env->fs, path, META_SIZE_MAX, &data, &size);
    if (err == RIA_ERR_NOT_FOUND) {
        *out_found = false;
        return RIA_OK;
    }
    if (err == RIA_OK) {
        err = decode(log, ria_slice_of(data, size), &found);
        free(data);
    } else if (err == RIA_ERR_CORRUPT) {
        err = RIA_OK; /* too large to be one */
    }
    if (err == RIA_OK) {
        if (!found) {
            ria_log_warn(log->env->log, "storage.meta_ignored", "log=%s", log->name);
            log->tail_doubted = true; /* perhaps it said so */
        }
        *out_found = found;
    }
    return err;
}
