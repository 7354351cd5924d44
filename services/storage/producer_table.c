#include "services/storage/producer_table.h"

#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/assert.h"
#include "common/capacity.h"

#include "schemas/gen/producer_snapshot_file.h"

#include "services/storage/record_file.h"

static const char PRODUCERS_MAGIC[] = "RIAS";
static const int64_t SILENCE_US_MAX = INT64_C(24) * 3600 * 1000 * 1000;

static const uint32_t NONE = UINT32_MAX; /* no entry */

enum {
    CAPACITY_MIN = 4,
    FORGET_AT_ONCE = 4, /* silent ids forgotten per batch: bounds the work of one append */
    ARENA_MAX = 64 * 1024 * 1024,
};
_Static_assert(
    PRODUCER_TABLE_MAX *(
        sizeof(struct producer_snapshot_file_producer) +
        PRODUCER_WINDOW * sizeof(struct producer_snapshot_file_producer_batch) + 32
    ) < ARENA_MAX,
    "the largest snapshot must be readable"
);

struct producer_entry {
    struct producer_state state;
    int64_t touched_us; /* when its last batch came, as far as is known */
    uint32_t older;     /* by age; free entries are linked through newer */
    uint32_t newer;
};

void producer_table_init(struct producer_table *table)
{
    *table = (struct producer_table){.free_head = NONE, .oldest = NONE, .newest = NONE};
}

void producer_table_fini(struct producer_table *table)
{
    free(table->entries);
    free(table->slots);
    producer_table_init(table);
}

void producer_table_clear(struct producer_table *table)
{
    uint64_t shed_count = table->shed_count;

    producer_table_fini(table);
    table->shed_count = shed_count;
}

/* Ids are handed out in order: spread them (splitmix64's finaliser). */
static uint32_t slot_of(const struct producer_table *table, int64_t producer_id)
{
    uint64_t h = (uint64_t)producer_id;

    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(h ^ (h >> 31)) & (table->slot_count - 1);
}

/* The slot that holds the id, or the empty one where it would go. slot_count > count. */
static uint32_t slot_find(const struct producer_table *table, int64_t producer_id)
{
    uint32_t slot = slot_of(table, producer_id);

    while (table->slots[slot] != 0 &&
           table->entries[table->slots[slot] - 1].state.producer_id != producer_id) {
        slot = (slot + 1) & (table->slot_count - 1);
    }
    return slot;
}

static struct producer_entry *entry_find(const struct producer_table *table, int64_t producer_id)
{
    if (table->count == 0) {
        return NULL;
    }
    uint32_t index = table->slots[slot_find(table, producer_id)];
    return index == 0 ? NULL : &table->entries[index - 1];
}

const struct producer_state *
producer_table_find(const struct producer_table *table, int64_t producer_id)
{
    const struct producer_entry *entry = entry_find(table, producer_id);
    return entry == NULL ? NULL : &entry->state;
}

static void age_unlink(struct producer_table *table, uint32_t index)
{
    struct producer_entry *entry = &table->entries[index];

    *(entry->older == NONE ? &table->oldest : &table->entries[entry->older].newer) = entry->newer;
    *(entry->newer == NONE ? &table->newest : &table->entries[entry->newer].older) = entry->older;
}

static void age_push_newest(struct producer_table *table, uint32_t index)
{
    struct producer_entry *entry = &table->entries[index];

    entry->older = table->newest;
    entry->newer = NONE;
    *(table->newest == NONE ? &table->oldest : &table->entries[table->newest].newer) = index;
    table->newest = index;
}

/* Empty a slot and move up what had probed past it. */
static void slot_remove(struct producer_table *table, uint32_t slot)
{
    uint32_t mask = table->slot_count - 1;

    table->slots[slot] = 0;
    for (uint32_t next = (slot + 1) & mask; table->slots[next] != 0; next = (next + 1) & mask) {
        uint32_t home = slot_of(table, table->entries[table->slots[next] - 1].state.producer_id);
        if (((next - home) & mask) >= ((next - slot) & mask)) {
            table->slots[slot] = table->slots[next];
            table->slots[next] = 0;
            slot = next;
        }
    }
}

static void forget_oldest(struct producer_table *table)
{
    uint32_t index = table->oldest;

    RIA_ASSERT(index != NONE);
    slot_remove(table, slot_find(table, table->entries[index].state.producer_id));
    age_unlink(table, index);
    table->entries[index].newer = table->free_head;
    table->free_head = index;
    table->count--;
}

static ria_err grow(struct producer_table *table, uint32_t capacity)
{
    uint32_t slot_count = 8;

    while (slot_count < capacity * 2) {
        slot_count *= 2;
    }
    uint32_t *slots = calloc(slot_count, sizeof(*slots));
    if (slots == NULL) {
        return RIA_ERR_NOMEM;
    }
    struct producer_entry *entries = realloc(table->entries, capacity * sizeof(*entries));
    if (entries == NULL) {
        free(slots);
        return RIA_ERR_NOMEM;
    }
    table->entries = entries;
    for (uint32_t i = capacity; i-- > table->capacity;) {
        entries[i].newer = table->free_head;
        table->free_head = i;
    }
    table->capacity = capacity;
    free(table->slots);
    table->slots = slots;
    table->slot_count = slot_count;
    for (uint32_t i = table->oldest; i != NONE; i = entries[i].newer) {
        table->slots[slot_find(table, entries[i].state.producer_id)] = i + 1;
    }
    return RIA_OK;
}

ria_err producer_table_reserve(struct producer_table *table, uint32_t more)
{
    if (more <= table->capacity - table->count) {
        return RIA_OK;
    }
    uint32_t wanted =
        ria_capacity_for(table->capacity, table->count, more, CAPACITY_MIN, PRODUCER_TABLE_MAX);
    return wanted == table->capacity ? RIA_OK : grow(table, wanted);
}

static struct producer_entry *entry_new(struct producer_table *table, int64_t producer_id)
{
    if (table->count == PRODUCER_TABLE_MAX) {
        forget_oldest(table);
        table->shed_count++;
    }
    RIA_ASSERT(table->free_head != NONE);
    uint32_t index = table->free_head;
    struct producer_entry *entry = &table->entries[index];
    table->free_head = entry->newer;
    entry->state = (struct producer_state){.producer_id = producer_id, .epoch = -1};
    table->slots[slot_find(table, producer_id)] = index + 1;
    age_push_newest(table, index);
    table->count++;
    return entry;
}

static const struct producer_batch *last_batch(const struct producer_state *state)
{
    return state->batch_count == 0 ? NULL : &state->batches[state->batch_count - 1];
}

ria_err producer_table_admit(
    const struct producer_table *table,
    const struct batch_header *header,
    int64_t *out_duplicate_offset
)
{
    const struct producer_state *state =
        header->producer_id < 0 ? NULL : producer_table_find(table, header->producer_id);
    int64_t duplicate_offset = -1;
    bool begins =
        header->producer_id >= 0 && (state == NULL || header->producer_epoch > state->epoch);

    if (state != NULL && header->producer_epoch < state->epoch) {
        return RIA_ERR_FENCED_PRODUCER;
    }
    if (begins && header->base_sequence != 0) {
        return RIA_ERR_OUT_OF_ORDER;
    }
    if (state != NULL && !begins) {
        int32_t last_sequence = batch_last_sequence(header);
        const struct producer_batch *last = last_batch(state);
        for (uint32_t i = 0; i < state->batch_count; i++) {
            if (state->batches[i].first_sequence == header->base_sequence &&
                state->batches[i].last_sequence == last_sequence) {
                duplicate_offset = state->batches[i].base_offset;
            }
        }
        if (duplicate_offset < 0 && last != NULL &&
            header->base_sequence != batch_next_sequence(last->last_sequence, 1)) {
            return RIA_ERR_OUT_OF_ORDER;
        }
    }
    *out_duplicate_offset = duplicate_offset;
    return RIA_OK;
}

static void forget_silent(struct producer_table *table, int64_t now_us)
{
    /* Silence alone is no reason while there is room: a transform's task may come back after days
     * and must find what it wrote. */
    for (int i = 0; i < FORGET_AT_ONCE && table->count > PRODUCER_TABLE_KEPT; i++) {
        if (now_us - table->entries[table->oldest].touched_us <= SILENCE_US_MAX) {
            return;
        }
        forget_oldest(table);
    }
}

static void push_batch(struct producer_state *state, struct producer_batch batch)
{
    if (state->batch_count == PRODUCER_WINDOW) {
        memmove(&state->batches[0], &state->batches[1], sizeof(batch) * (PRODUCER_WINDOW - 1));
        state->batch_count--;
    }
    state->batches[state->batch_count++] = batch;
}

void producer_table_note(
    struct producer_table *table, const struct batch_header *header, int64_t now_us
)
{
    if (header->producer_id < 0) {
        return;
    }
    struct producer_entry *entry = entry_find(table, header->producer_id);
    if (entry == NULL) {
        entry = entry_new(table, header->producer_id);
    } else {
        uint32_t index = (uint32_t)(entry - table->entries);
        age_unlink(table, index);
        age_push_newest(table, index);
    }
    if (entry->state.epoch != header->producer_epoch) {
        entry->state.epoch = header->producer_epoch;
        entry->state.batch_count = 0;
    }
    entry->touched_us = now_us;
    entry->state.last_timestamp_ms = header->max_timestamp;
    push_batch(
        &entry->state,
        (struct producer_batch){
            .first_sequence = header->base_sequence,
            .last_sequence = batch_last_sequence(header),
            .base_offset = header->base_offset,
            .last_offset = batch_last_offset(header),
        }
    );
    forget_silent(table, now_us);
}

bool producer_table_reaches(const struct producer_table *table, int64_t offset)
{
    for (uint32_t i = table->newest; i != NONE; i = table->entries[i].older) {
        const struct producer_batch *last = last_batch(&table->entries[i].state);
        if (last != NULL && last->last_offset >= offset) {
            return true;
        }
    }
    return false;
}

/* The record's arrays in one allocation each: *out_batches backs all producers' batches. */
static ria_err fill_record(
    const struct producer_table *table,
    int64_t now_us,
    struct producer_snapshot_file *file,
    struct producer_snapshot_file_producer_batch **out_batches
)
{
    size_t room = table->count > 0 ? table->count : 1;
    struct producer_snapshot_file_producer *producers = calloc(room, sizeof(*producers));
    struct producer_snapshot_file_producer_batch *batches =
        calloc(room * PRODUCER_WINDOW, sizeof(*batches));

    if (producers == NULL || batches == NULL) {
        free(producers);
        free(batches);
        return RIA_ERR_NOMEM;
    }
    file->producers = producers;
    *out_batches = batches;
    for (uint32_t i = table->oldest; i != NONE; i = table->entries[i].newer) {
        const struct producer_entry *entry = &table->entries[i];
        struct producer_snapshot_file_producer *p = &producers[file->producers_count++];
        p->producer_id = entry->state.producer_id;
        p->epoch = entry->state.epoch;
        p->last_timestamp = entry->state.last_timestamp_ms;
        p->silent_ms = (now_us - entry->touched_us) / 1000;
        p->batches = batches;
        p->batches_count = entry->state.batch_count;
        for (uint32_t k = 0; k < entry->state.batch_count; k++, batches++) {
            batches->first_sequence = entry->state.batches[k].first_sequence;
            batches->last_sequence = entry->state.batches[k].last_sequence;
            batches->base_offset = entry->state.batches[k].base_offset;
            batches->last_offset = entry->state.batches[k].last_offset;
        }
    }
    return RIA_OK;
}

ria_err producer_table_encode(
    const struct producer_table *table, int64_t offset, int64_t now_us, struct ria_buf *out
)
{
    struct producer_snapshot_file file;
    struct producer_snapshot_file_producer_batch *batches = NULL;
    struct ria_writer w;

    producer_snapshot_file_init(&file);
    RIA_TRY(fill_record(table, now_us, &file, &batches));
    file.offset = offset;
    ria_err err = record_file_begin(
        out, producer_snapshot_file_size(&file, PRODUCER_SNAPSHOT_FILE_VERSION_MAX), &w
    );
    if (err == RIA_OK) {
        producer_snapshot_file_encode(&file, PRODUCER_SNAPSHOT_FILE_VERSION_MAX, &w);
        record_file_finish(out, PRODUCERS_MAGIC, PRODUCER_SNAPSHOT_FILE_VERSION_MAX);
    }
    free(file.producers);
    free(batches);
    return err;
}

static ria_err load_producer(
    struct producer_table *table,
    const struct producer_snapshot_file_producer *p,
    int64_t offset,
    int64_t now_us
)
{
    bool silence_ok = p->silent_ms >= 0 && p->silent_ms <= SILENCE_US_MAX / 1000 * 365;
    if (p->producer_id < 0 || p->epoch < 0 || !silence_ok ||
        producer_table_find(table, p->producer_id) != NULL) {
        return RIA_ERR_CORRUPT;
    }
    struct producer_entry *entry = entry_new(table, p->producer_id);
    entry->state.epoch = p->epoch;
    entry->state.last_timestamp_ms = p->last_timestamp;
    entry->touched_us = now_us - p->silent_ms * 1000;
    for (uint32_t k = 0; k < p->batches_count; k++) {
        const struct producer_snapshot_file_producer_batch *b = &p->batches[k];
        if (b->base_offset < 0 || b->last_offset < b->base_offset || b->last_offset >= offset ||
            b->first_sequence < 0 || b->last_sequence < 0) {
            return RIA_ERR_CORRUPT;
        }
        push_batch(
            &entry->state,
            (struct producer_batch){
                .first_sequence = b->first_sequence,
                .last_sequence = b->last_sequence,
                .base_offset = b->base_offset,
                .last_offset = b->last_offset,
            }
        );
    }
    return RIA_OK;
}

ria_err producer_table_decode(
    struct producer_table *table, struct ria_slice data, int64_t offset, int64_t now_us
)
{
    struct producer_snapshot_file file;
    struct ria_slice body;
    struct ria_arena arena;
    int16_t version = 0;

    producer_table_clear(table);
    RIA_TRY(
        record_file_open(data, PRODUCERS_MAGIC, PRODUCER_SNAPSHOT_FILE_VERSION_MAX, &version, &body)
    );
    ria_arena_init(&arena, ARENA_MAX);
    struct ria_reader r = ria_reader_of(body);
    ria_err err = record_file_decode_err(producer_snapshot_file_decode(&file, version, &r, &arena));
    if (err == RIA_OK && file.offset != offset) {
        err = RIA_ERR_CORRUPT;
    }
    if (err == RIA_OK) {
        err = producer_table_reserve(table, file.producers_count);
    }
    for (uint32_t i = 0; err == RIA_OK && i < file.producers_count; i++) {
        err = load_producer(table, &file.producers[i], offset, now_us);
    }
    ria_arena_fini(&arena);
    if (err != RIA_OK) {
        producer_table_clear(table);
    }
    return err;
}

void producer_table_check(const struct producer_table *table)
{
    uint32_t count = 0;
    uint32_t older = NONE;

    RIA_ASSERT(table->count <= table->capacity);
    RIA_ASSERT(table->capacity == 0 || table->slot_count >= table->capacity * 2);
    for (uint32_t i = table->oldest; i != NONE; i = table->entries[i].newer) {
        const struct producer_entry *entry = &table->entries[i];
        RIA_ASSERT(entry->older == older);
        RIA_ASSERT(entry->state.batch_count <= PRODUCER_WINDOW);
        RIA_ASSERT(table->slots[slot_find(table, entry->state.producer_id)] == i + 1);
        older = i;
        count++;
    }
    RIA_ASSERT(table->newest == older);
    RIA_ASSERT(count == table->count);
}
