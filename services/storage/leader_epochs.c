#include "services/storage/leader_epochs.h"

#include <stdlib.h>

#include "common/arena.h"
#include "common/assert.h"

#include "schemas/gen/leader_epochs_file.h"

#include "services/storage/record_file.h"

static const char LEADER_EPOCHS_MAGIC[] = "RIAE";

enum { LEADER_EPOCHS_ARENA_MAX = 16 * 1024 * 1024 };
_Static_assert(
    LEADER_EPOCHS_MAX * sizeof(struct leader_epochs_file_leader_epoch) < LEADER_EPOCHS_ARENA_MAX,
    "the largest file must be readable"
);

void leader_epochs_init(struct leader_epochs *epochs)
{
    *epochs = (struct leader_epochs){.entries = NULL};
}

void leader_epochs_fini(struct leader_epochs *epochs)
{
    free(epochs->entries);
    leader_epochs_init(epochs);
}

int32_t leader_epochs_last(const struct leader_epochs *epochs)
{
    return epochs->count == 0 ? -1 : epochs->entries[epochs->count - 1].epoch;
}

ria_err leader_epochs_reserve(struct leader_epochs *epochs, uint32_t more)
{
    if (more <= epochs->capacity - epochs->count) {
        return RIA_OK;
    }
    if (more > LEADER_EPOCHS_MAX - epochs->count) {
        return RIA_ERR_LIMIT;
    }
    uint32_t capacity =
        epochs->capacity * 2 > epochs->count + more ? epochs->capacity * 2 : epochs->count + more;
    struct leader_epoch_entry *entries =
        realloc(epochs->entries, capacity * sizeof(*epochs->entries));
    if (entries == NULL) {
        return RIA_ERR_NOMEM;
    }
    epochs->entries = entries;
    epochs->capacity = capacity;
    return RIA_OK;
}

bool leader_epochs_note(struct leader_epochs *epochs, int32_t epoch, int64_t offset)
{
    if (epoch <= leader_epochs_last(epochs)) {
        return false;
    }
    RIA_ASSERT(epochs->count < epochs->capacity);
    RIA_ASSERT(epochs->count == 0 || offset > epochs->entries[epochs->count - 1].start_offset);
    epochs->entries[epochs->count++] =
        (struct leader_epoch_entry){.epoch = epoch, .start_offset = offset};
    return true;
}

bool leader_epochs_truncate(struct leader_epochs *epochs, int64_t end_offset)
{
    uint32_t before = epochs->count;

    while (epochs->count > 0 && epochs->entries[epochs->count - 1].start_offset >= end_offset) {
        epochs->count--;
    }
    return epochs->count < before;
}

void leader_epochs_clear(struct leader_epochs *epochs)
{
    epochs->count = 0;
}

/* Index of the entry that covers offset, or count if it lies below the first. */
static uint32_t entry_at(const struct leader_epoch_entry *entries, uint32_t count, int64_t offset)
{
    uint32_t low = 0;
    uint32_t high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (entries[middle].start_offset <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? count : low - 1;
}

int32_t leader_epochs_at(const struct leader_epoch_entry *entries, uint32_t count, int64_t offset)
{
    uint32_t i = entry_at(entries, count, offset);

    return i == count ? -1 : entries[i].epoch;
}

static int64_t
entry_end(const struct leader_epoch_entry *entries, uint32_t count, uint32_t i, int64_t end)
{
    return i + 1 < count ? ria_min_i64(entries[i + 1].start_offset, end) : end;
}

int64_t leader_epochs_divergence(
    const struct leader_epochs *epochs,
    int64_t from_offset,
    int64_t end_offset,
    const struct leader_epoch_entry *other,
    uint32_t other_count,
    int64_t other_end_offset
)
{
    int64_t end = ria_min_i64(end_offset, other_end_offset);

    if (epochs->count == 0 || other_count == 0) {
        return end;
    }
    int64_t offset = ria_max_i64(epochs->entries[0].start_offset, other[0].start_offset);
    offset = ria_max_i64(offset, from_offset);
    while (offset < end) {
        uint32_t i = entry_at(epochs->entries, epochs->count, offset);
        uint32_t k = entry_at(other, other_count, offset);
        RIA_ASSERT(i < epochs->count && k < other_count);
        if (epochs->entries[i].epoch != other[k].epoch) {
            return offset;
        }
        /* A peer's entries may not ascend: the search still ends between one at or below offset and
         * one above it, so that each step reaches a new start. */
        int64_t next = ria_min_i64(
            entry_end(epochs->entries, epochs->count, i, end), entry_end(other, other_count, k, end)
        );
        RIA_ASSERT(next > offset);
        offset = next;
    }
    return end;
}

int64_t leader_epochs_agreement(
    const struct leader_epochs *epochs,
    int64_t from_offset,
    int64_t end_offset,
    const struct leader_epoch_entry *other,
    uint32_t other_count
)
{
    int64_t offset = from_offset;

    while (offset < end_offset) {
        int64_t next = end_offset;
        if (leader_epochs_at(epochs->entries, epochs->count, offset) ==
            leader_epochs_at(other, other_count, offset)) {
            return offset;
        }
        /* The next place where one of them changes. A peer's entries may not ascend. */
        for (uint32_t i = 0; i < epochs->count; i++) {
            int64_t start = epochs->entries[i].start_offset;
            next = start > offset ? ria_min_i64(next, start) : next;
        }
        for (uint32_t i = 0; i < other_count; i++) {
            next = other[i].start_offset > offset ? ria_min_i64(next, other[i].start_offset) : next;
        }
        offset = next;
    }
    return end_offset;
}

ria_err leader_epochs_encode(const struct leader_epochs *epochs, struct ria_buf *out)
{
    struct leader_epochs_file file;
    struct ria_writer w;

    leader_epochs_file_init(&file);
    struct leader_epochs_file_leader_epoch *entries =
        calloc(epochs->count > 0 ? epochs->count : 1, sizeof(*entries));
    if (entries == NULL) {
        return RIA_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < epochs->count; i++) {
        entries[i].epoch = epochs->entries[i].epoch;
        entries[i].start_offset = epochs->entries[i].start_offset;
    }
    file.entries = entries;
    file.entries_count = epochs->count;

    ria_err err =
        record_file_begin(out, leader_epochs_file_size(&file, LEADER_EPOCHS_FILE_VERSION_MAX), &w);
    if (err == RIA_OK) {
        leader_epochs_file_encode(&file, LEADER_EPOCHS_FILE_VERSION_MAX, &w);
        record_file_finish(out, LEADER_EPOCHS_MAGIC, LEADER_EPOCHS_FILE_VERSION_MAX);
    }
    free(entries);
    return err;
}

static ria_err copy_entries(struct leader_epochs *epochs, const struct leader_epochs_file *file)
{
    for (uint32_t i = 0; i < file->entries_count; i++) {
        const struct leader_epochs_file_leader_epoch *e = &file->entries[i];
        bool ascends = i == 0 || (e->epoch > file->entries[i - 1].epoch &&
                                  e->start_offset > file->entries[i - 1].start_offset);
        if (!ascends || e->epoch < 0 || e->start_offset < 0) {
            return RIA_ERR_CORRUPT;
        }
    }
    uint32_t before = epochs->count;
    epochs->count = 0;
    ria_err err = leader_epochs_reserve(epochs, file->entries_count);
    if (err != RIA_OK) {
        epochs->count = before;
        return err;
    }
    for (uint32_t i = 0; i < file->entries_count; i++) {
        (void)leader_epochs_note(epochs, file->entries[i].epoch, file->entries[i].start_offset);
    }
    return RIA_OK;
}

ria_err leader_epochs_decode(struct leader_epochs *epochs, struct ria_slice data)
{
    struct leader_epochs_file file;
    struct ria_slice body;
    struct ria_arena arena;
    int16_t version = 0;

    RIA_TRY(
        record_file_open(data, LEADER_EPOCHS_MAGIC, LEADER_EPOCHS_FILE_VERSION_MAX, &version, &body)
    );
    ria_arena_init(&arena, LEADER_EPOCHS_ARENA_MAX);
    struct ria_reader r = ria_reader_of(body);
    ria_err err = record_file_decode_err(leader_epochs_file_decode(&file, version, &r, &arena));
    if (err == RIA_OK) {
        err = copy_entries(epochs, &file);
    }
    ria_arena_fini(&arena);
    return err;
}

void leader_epochs_check(const struct leader_epochs *epochs)
{
    RIA_ASSERT(epochs->count <= epochs->capacity);
    for (uint32_t i = 1; i < epochs->count; i++) {
        RIA_ASSERT(epochs->entries[i].epoch > epochs->entries[i - 1].epoch);
        RIA_ASSERT(epochs->entries[i].start_offset > epochs->entries[i - 1].start_offset);
    }
}
