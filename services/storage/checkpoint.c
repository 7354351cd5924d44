#include "services/storage/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/assert.h"
#include "common/map.h"

#include "schemas/gen/checkpoint_file.h"

#include "services/storage/log_path.h"
#include "services/storage/record_file.h"

static const char CHECKPOINT_MAGIC[] = "RIAC";
static const char CHECKPOINT_NAME[] = "checkpoint";

enum {
    CHECKPOINT_ARENA_MAX = 16 * 1024 * 1024,
    VERSION_OF_ONE = 0, /* its files have one copy */
};
_Static_assert(
    CHECKPOINT_PARTITIONS_MAX * sizeof(struct checkpoint_file_checkpoint_entry) <
        CHECKPOINT_ARENA_MAX,
    "the largest file must be readable"
);

struct entry_key {
    struct ria_uuid topic_id;
    int32_t partition;
};
_Static_assert(sizeof(struct entry_key) == RIA_UUID_SIZE + 4, "hashed as bytes: no padding");

struct entry {
    struct entry_key key;
    struct partition_log_checkpoint value;
};

struct checkpoint {
    struct ria_map entries; /* entry_key -> struct entry, owned */
    bool changed;
    bool is_partial;
    bool is_doubted;
};

static struct entry_key key_of(const struct ria_uuid *topic_id, int32_t partition)
{
    return (struct entry_key){.topic_id = *topic_id, .partition = partition};
}

void checkpoint_free(struct checkpoint *checkpoint)
{
    size_t cursor = 0;
    struct entry *entry;

    if (checkpoint == NULL) {
        return;
    }
    while ((entry = ria_map_next(&checkpoint->entries, &cursor)) != NULL) {
        free(entry);
    }
    ria_map_fini(&checkpoint->entries);
    free(checkpoint);
}

void checkpoint_get(
    const struct checkpoint *checkpoint,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct partition_log_checkpoint *out_entry
)
{
    struct entry_key key = key_of(topic_id, partition);
    const struct entry *entry = ria_map_get(&checkpoint->entries, &key, sizeof(key));

    *out_entry = entry == NULL ? (struct partition_log_checkpoint
                                 ){.is_unknown = checkpoint_is_doubted(checkpoint)}
                               : entry->value;
}

bool checkpoint_is_partial(const struct checkpoint *checkpoint)
{
    return checkpoint->is_partial;
}

bool checkpoint_is_doubted(const struct checkpoint *checkpoint)
{
    return checkpoint->is_partial || checkpoint->is_doubted;
}

void checkpoint_doubt(struct checkpoint *checkpoint)
{
    struct entry *entry;
    size_t cursor = 0;

    while ((entry = ria_map_next(&checkpoint->entries, &cursor)) != NULL) {
        entry->value.is_unknown = true;
    }
    checkpoint->is_doubted = true;
    checkpoint->changed = true;
}

void checkpoint_set_whole(struct checkpoint *checkpoint)
{
    checkpoint->changed = checkpoint->changed || checkpoint_is_doubted(checkpoint);
    checkpoint->is_partial = false;
    checkpoint->is_doubted = false;
}

void checkpoint_set_changed(struct checkpoint *checkpoint)
{
    checkpoint->changed = true;
}

static bool
entry_equal(const struct partition_log_checkpoint *a, const struct partition_log_checkpoint *b)
{
    return a->synced_offset == b->synced_offset && a->high_watermark == b->high_watermark &&
           a->generation == b->generation && a->is_unknown == b->is_unknown;
}

ria_err checkpoint_put(
    struct checkpoint *checkpoint,
    const struct ria_uuid *topic_id,
    int32_t partition,
    const struct partition_log_checkpoint *value
)
{
    struct entry_key key = key_of(topic_id, partition);
    struct entry *entry = ria_map_get(&checkpoint->entries, &key, sizeof(key));

    if (entry == NULL) {
        if (checkpoint->entries.count >= CHECKPOINT_PARTITIONS_MAX) {
            return RIA_ERR_LIMIT;
        }
        entry = calloc(1, sizeof(*entry));
        if (entry == NULL) {
            return RIA_ERR_NOMEM;
        }
        entry->key = key;
        ria_err err = ria_map_put(&checkpoint->entries, &entry->key, sizeof(key), entry);
        if (err != RIA_OK) {
            free(entry);
            return err;
        }
        checkpoint->changed = true;
    }
    checkpoint->changed = checkpoint->changed || !entry_equal(&entry->value, value);
    entry->value = *value;
    return RIA_OK;
}

void checkpoint_remove(
    struct checkpoint *checkpoint, const struct ria_uuid *topic_id, int32_t partition
)
{
    struct entry_key key = key_of(topic_id, partition);
    struct entry *entry = ria_map_remove(&checkpoint->entries, &key, sizeof(key));

    checkpoint->changed = checkpoint->changed || entry != NULL;
    free(entry);
}

bool checkpoint_is_changed(const struct checkpoint *checkpoint)
{
    return checkpoint->changed;
}

/* The second copy: a bad sector or a flipped bit seldom takes both. */
static ria_err append_copy(struct ria_buf *out)
{
    size_t size = out->size;
    uint8_t *copy = malloc(size);

    if (copy == NULL) {
        return RIA_ERR_NOMEM;
    }
    memcpy(copy, out->data, size);
    ria_err err = ria_buf_append(out, copy, size);
    free(copy);
    return err;
}

ria_err checkpoint_encode(struct checkpoint *checkpoint, struct ria_buf *out)
{
    struct checkpoint_file file;
    struct ria_writer w;
    const struct entry *entry;
    size_t cursor = 0;

    checkpoint_file_init(&file);
    file.is_partial = checkpoint->is_partial;
    file.is_doubted = checkpoint->is_doubted;
    file.partitions = calloc(checkpoint->entries.count + 1, sizeof(*file.partitions));
    if (file.partitions == NULL) {
        return RIA_ERR_NOMEM;
    }
    while ((entry = ria_map_next(&checkpoint->entries, &cursor)) != NULL) {
        file.partitions[file.partitions_count++] = (struct checkpoint_file_checkpoint_entry){
            .topic_id = entry->key.topic_id,
            .partition = entry->key.partition,
            .generation = entry->value.generation,
            .synced_offset = entry->value.synced_offset,
            .high_watermark = entry->value.high_watermark,
            .is_unknown = entry->value.is_unknown,
        };
    }
    ria_err err =
        record_file_begin(out, checkpoint_file_size(&file, CHECKPOINT_FILE_VERSION_MAX), &w);
    if (err == RIA_OK) {
        checkpoint_file_encode(&file, CHECKPOINT_FILE_VERSION_MAX, &w);
        record_file_finish(out, CHECKPOINT_MAGIC, CHECKPOINT_FILE_VERSION_MAX);
        err = append_copy(out);
    }
    checkpoint->changed = checkpoint->changed && err != RIA_OK;
    free(file.partitions);
    return err;
}

/* An entry that cannot be true is left out. */
static ria_err load_entries(struct checkpoint *checkpoint, const struct checkpoint_file *file)
{
    for (uint32_t i = 0; i < file->partitions_count; i++) {
        const struct checkpoint_file_checkpoint_entry *e = &file->partitions[i];
        struct partition_log_checkpoint value = {
            .synced_offset = e->synced_offset,
            .high_watermark = e->high_watermark,
            .generation = e->generation,
            .is_unknown = e->is_unknown,
        };
        if (value.synced_offset >= 0 && value.high_watermark >= 0) {
            RIA_TRY(checkpoint_put(checkpoint, &e->topic_id, e->partition, &value));
        }
    }
    checkpoint->is_partial = file->is_partial;
    checkpoint->is_doubted = file->is_doubted;
    checkpoint->changed = false;
    return RIA_OK;
}

static ria_err decode_one(struct checkpoint *checkpoint, struct ria_slice data, bool is_one)
{
    struct checkpoint_file file;
    struct ria_slice body;
    struct ria_arena arena;
    int16_t version = 0;

    RIA_TRY(record_file_open(data, CHECKPOINT_MAGIC, CHECKPOINT_FILE_VERSION_MAX, &version, &body));
    if ((version == VERSION_OF_ONE) != is_one) {
        return RIA_ERR_CORRUPT;
    }
    ria_arena_init(&arena, CHECKPOINT_ARENA_MAX);
    struct ria_reader r = ria_reader_of(body);
    ria_err err = record_file_decode_err(checkpoint_file_decode(&file, version, &r, &arena));
    if (err == RIA_OK && ria_reader_left(&r) > 0) {
        err = RIA_ERR_CORRUPT;
    }
    if (err == RIA_OK) {
        err = load_entries(checkpoint, &file);
    }
    ria_arena_fini(&arena);
    return err;
}

/* The first copy that is good. Files of the first version have one copy. */
static ria_err decode(struct checkpoint *checkpoint, struct ria_slice data)
{
    size_t half = data.size / 2;

    ria_err err = decode_one(checkpoint, ria_slice_sub(data, 0, half), false);
    if (err == RIA_ERR_CORRUPT) {
        err = decode_one(checkpoint, ria_slice_sub(data, half, data.size), false);
    }
    if (err == RIA_ERR_CORRUPT) {
        err = decode_one(checkpoint, data, true);
    }
    return err;
}

static ria_err load(const struct ria_env *env, const char *path, struct checkpoint *checkpoint)
{
    uint8_t *data = NULL;
    size_t size = 0;

    ria_err err = record_file_load(env->fs, path, CHECKPOINT_SIZE_MAX, &data, &size);
    if (err == RIA_ERR_NOT_FOUND) {
        return RIA_OK;
    }
    if (err == RIA_OK) {
        err = decode(checkpoint, ria_slice_of(data, size));
    }
    free(data);
    if (err == RIA_ERR_CORRUPT || err == RIA_ERR_UNKNOWN_VERSION) {
        ria_log_warn(env->log, "storage.checkpoint_ignored", "err=\"%s\"", ria_err_text(err));
        checkpoint->is_partial = true;
        checkpoint->changed = true;
        err = RIA_OK;
    }
    return err;
}

ria_err
checkpoint_load(const struct ria_env *env, const char *data_dir, struct checkpoint **out_checkpoint)
{
    char path[LOG_PATH_MAX];

    if (strlen(data_dir) >= LOG_PATH_DIR_MAX) {
        return RIA_ERR_LIMIT;
    }
    log_path_join(path, data_dir, CHECKPOINT_NAME);
    struct checkpoint *checkpoint = calloc(1, sizeof(*checkpoint));
    if (checkpoint == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_map_init(&checkpoint->entries);
    ria_err err = load(env, path, checkpoint);
    if (err != RIA_OK) {
        checkpoint_free(checkpoint);
        return err;
    }
    *out_checkpoint = checkpoint;
    return RIA_OK;
}

/* ---- writer ---- */

ria_err checkpoint_writer_init(
    struct checkpoint_writer *writer,
    const struct ria_env *env,
    const char *data_dir,
    void (*done)(void *arg, ria_err err),
    void *arg
)
{
    char path[LOG_PATH_MAX];
    char temp_path[LOG_PATH_MAX];

    *writer = (struct checkpoint_writer){.env = env, .done = done, .arg = arg};
    if (strlen(data_dir) >= LOG_PATH_DIR_MAX) {
        return RIA_ERR_LIMIT;
    }
    log_path_join(path, data_dir, CHECKPOINT_NAME);
    log_path_join(temp_path, data_dir, "checkpoint.tmp");
    writer->path = strdup(path);
    writer->temp_path = strdup(temp_path);
    if (writer->path == NULL || writer->temp_path == NULL) {
        checkpoint_writer_fini(writer);
        return RIA_ERR_NOMEM;
    }
    return RIA_OK;
}

void checkpoint_writer_fini(struct checkpoint_writer *writer)
{
    ria_fs_close(RIA_STEAL(&writer->file));
    free(RIA_STEAL(&writer->path));
    free(RIA_STEAL(&writer->temp_path));
}

bool checkpoint_writer_is_busy(const struct checkpoint_writer *writer)
{
    return writer->file != NULL;
}

static void writer_end(struct checkpoint_writer *writer, ria_err err)
{
    ria_fs_close(RIA_STEAL(&writer->file));
    writer->done(writer->arg, err);
}

static void on_synced(struct ria_fs_sync *sync)
{
    struct checkpoint_writer *writer = RIA_CONTAINER(sync, struct checkpoint_writer, sync);
    ria_err err = sync->result;

    if (err == RIA_OK && !writer->renamed) {
        err = ria_fs_rename(writer->env->fs, writer->temp_path, writer->path);
        if (err == RIA_OK) {
            writer->renamed = true;
            writer->sync.with_dir = true;
            ria_fs_sync_start(writer->file, &writer->sync);
            return;
        }
    }
    writer_end(writer, err);
}

ria_err checkpoint_writer_start(struct checkpoint_writer *writer, struct ria_slice content)
{
    struct ria_file *file = NULL;

    RIA_ASSERT(!checkpoint_writer_is_busy(writer));

    RIA_TRY(ria_fs_open(writer->env->fs, writer->temp_path, RIA_FS_WRITE | RIA_FS_CREATE, &file));
    ria_err err = ria_fs_truncate(file, 0);
    if (err == RIA_OK) {
        err = ria_fs_pwrite(file, content.data, content.size, 0);
    }
    if (err != RIA_OK) {
        ria_fs_close(file);
        return err;
    }
    writer->file = file;
    writer->renamed = false;
    writer->sync = (struct ria_fs_sync){.done = on_synced, .with_dir = false};
    ria_fs_sync_start(file, &writer->sync);
    return RIA_OK;
}

ria_err checkpoint_writer_write(struct checkpoint_writer *writer, struct ria_slice content)
{
    RIA_ASSERT(!checkpoint_writer_is_busy(writer));
    return ria_fs_replace(writer->env->fs, writer->path, content.data, content.size);
}
