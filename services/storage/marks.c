#include "services/storage/marks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/crc.h"

#include "services/storage/log_path.h"
#include "services/storage/record_file.h"

enum { CRC_AT = 60, PAIR_SIZE = 2 * MARKS_SLOT_SIZE };

static const char MARKS_NAME[] = "marks";

/* A log that is too young for the checkpoint. A slot alone proves nothing: to empty one is not
 * durable. */
static bool is_here(
    const struct ria_env *env, const char *data_dir, struct ria_uuid topic_id, int32_t partition
)
{
    char path[LOG_PATH_MAX];
    char text[RIA_UUID_TEXT_SIZE];
    struct ria_file *file = NULL;

    ria_uuid_format(topic_id, text);
    int size =
        snprintf(path, sizeof(path), "%s/%s-%" PRId32 "/partition.meta", data_dir, text, partition);
    bool here = size > 0 && (size_t)size < sizeof(path) &&
                ria_fs_open(env->fs, path, RIA_FS_READ, &file) == RIA_OK;
    ria_fs_close(file);
    return here;
}

static bool is_good(const uint8_t *slot)
{
    struct ria_reader r = ria_reader_of(ria_slice_of(slot + CRC_AT, MARKS_SLOT_SIZE - CRC_AT));

    return ria_read_u32(&r) == ria_crc32c(slot, CRC_AT);
}

static bool is_empty(const uint8_t *slot)
{
    static const uint8_t zeros[MARKS_SLOT_SIZE];

    return memcmp(slot, zeros, sizeof(zeros)) == 0;
}

/* Both copies of one slot are bad. A power cut does not do that: a page of the file is there or
 * not, and a sector holds both. */
static bool has_lost(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + PAIR_SIZE <= size; at += PAIR_SIZE) {
        const uint8_t *first = data + at;
        const uint8_t *second = first + MARKS_SLOT_SIZE;
        if (!is_good(first) && !is_empty(first) && !is_good(second) && !is_empty(second)) {
            return true;
        }
    }
    return false;
}

static bool raise_one(
    const struct ria_env *env,
    const char *data_dir,
    struct checkpoint *checkpoint,
    struct ria_slice slot
)
{
    struct partition_log_checkpoint entry;
    struct ria_reader r = ria_reader_of(slot);

    struct ria_uuid topic_id = ria_read_uuid(&r);
    int32_t partition = ria_read_i32(&r);
    uint32_t generation = ria_read_u32(&r);
    int64_t synced_offset = ria_read_i64(&r);
    if (!is_good(slot.data) || synced_offset <= 0) {
        return false;
    }
    checkpoint_get(checkpoint, &topic_id, partition, &entry);
    bool has_none = entry.synced_offset == 0 && entry.high_watermark == 0 && entry.generation == 0;
    bool is_older = entry.generation == generation && entry.synced_offset < synced_offset;
    if (has_none ? !is_here(env, data_dir, topic_id, partition) : !is_older && !entry.is_unknown) {
        return false;
    }
    if (has_none || is_older) {
        entry.synced_offset = synced_offset;
        entry.generation = generation;
    }
    entry.is_unknown = false; /* it has this slot only, and that is not the one that was lost */
    return checkpoint_put(checkpoint, &topic_id, partition, &entry) == RIA_OK;
}

bool marks_raise(const struct ria_env *env, const char *data_dir, struct checkpoint *checkpoint)
{
    char path[LOG_PATH_MAX];
    uint8_t *data = NULL;
    size_t size = 0;

    log_path_join(path, data_dir, MARKS_NAME);
    if (record_file_load(env->fs, path, (size_t)MARKS_SLOTS_MAX * PAIR_SIZE, &data, &size) !=
        RIA_OK) {
        return false;
    }
    bool changed = has_lost(data, size);
    if (changed) {
        ria_log_warn(env->log, "storage.marks_lost", "dir=%s", data_dir);
        checkpoint_doubt(checkpoint);
    }
    for (size_t at = 0; at + MARKS_SLOT_SIZE <= size; at += MARKS_SLOT_SIZE) {
        if (raise_one(env, data_dir, checkpoint, ria_slice_of(data + at, MARKS_SLOT_SIZE))) {
            changed = true;
        }
    }
    free(data);
    return changed;
}

void marks_begin(struct marks *marks, const struct ria_env *env, const char *data_dir)
{
    char path[LOG_PATH_MAX];

    log_path_join(path, data_dir, MARKS_NAME);
    *marks = (struct marks){.file = NULL};
    if (ria_fs_open(env->fs, path, RIA_FS_WRITE | RIA_FS_CREATE, &marks->file) == RIA_OK &&
        ria_fs_truncate(marks->file, 0) != RIA_OK) {
        marks_end(marks);
    }
}

void marks_end(struct marks *marks)
{
    ria_fs_close(RIA_STEAL(&marks->file));
}

int32_t marks_take_slot(struct marks *marks)
{
    return marks->slot_count < MARKS_SLOTS_MAX ? marks->slot_count++ : MARKS_NO_SLOT;
}

/* Twice: a bad bit takes one. */
static void write_slot(struct marks *marks, int32_t slot, const uint8_t bytes[MARKS_SLOT_SIZE])
{
    uint8_t both[PAIR_SIZE];

    memcpy(both, bytes, MARKS_SLOT_SIZE);
    memcpy(both + MARKS_SLOT_SIZE, bytes, MARKS_SLOT_SIZE);
    if (ria_fs_pwrite(marks->file, both, sizeof(both), (uint64_t)slot * sizeof(both)) != RIA_OK) {
        marks_end(marks);
    }
}

void marks_put(
    struct marks *marks,
    int32_t slot,
    const struct ria_uuid *topic_id,
    int32_t partition,
    const struct partition_log_checkpoint *entry
)
{
    uint8_t bytes[MARKS_SLOT_SIZE] = {0};
    struct ria_writer w = ria_writer_of(bytes, sizeof(bytes));

    if (marks->file == NULL || slot == MARKS_NO_SLOT) {
        return;
    }
    ria_write_uuid(&w, *topic_id);
    ria_write_i32(&w, partition);
    ria_write_u32(&w, entry->generation);
    ria_write_i64(&w, entry->synced_offset);
    w = ria_writer_of(bytes + CRC_AT, sizeof(bytes) - CRC_AT);
    ria_write_u32(&w, ria_crc32c(bytes, CRC_AT));
    write_slot(marks, slot, bytes);
}

void marks_clear(struct marks *marks, int32_t slot)
{
    const uint8_t bytes[MARKS_SLOT_SIZE] = {0};

    if (marks->file != NULL && slot != MARKS_NO_SLOT) {
        write_slot(marks, slot, bytes);
    }
}
