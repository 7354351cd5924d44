#include "tests/sim/stream_records.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"

#include "tests/sim/consumers.h"
#include "tests/sim/lines.h"
#include "tests/sim/world.h"

enum { READER_FIRST = PLAN_READERS_MAX }; /* as a reader a consumer has this number and its own */

/* ---- cursors ---- */

void stream_place_forget(struct stream_place *place)
{
    place->cursor[0] = '\0';
    place->part_count = 0;
}

void stream_place_note(
    const struct stream_place *place, struct world *world, uint32_t consumer, history_kind kind
)
{
    for (uint32_t i = 0; i < place->part_count; i++) {
        const struct stream_part *part = &place->parts[i];
        struct history_event event =
            consumers_event(world, kind, consumer, part->partition, part->offset);
        event.lease = part->lease;
        if (part->has_records) {
            history_add(&world->history, &event);
        }
    }
}

void stream_part_text(
    const struct world *world, const struct stream_part *part, char out[STREAM_PART_TEXT_SIZE]
)
{
    char name[WORLD_NAME_SIZE];
    uint32_t topic = 0;
    int32_t number = 0;

    world_find_partition(world, part->partition, &topic, &number);
    world_topic_name(world, topic, name);
    (void)snprintf(
        out, STREAM_PART_TEXT_SIZE, "{\"topic\":\"%s\",\"partition\":%" PRId32 ",", name, number
    );
}

static struct stream_part *find_part(struct stream_place *place, uint32_t partition)
{
    for (uint32_t i = 0; i < place->part_count; i++) {
        if (place->parts[i].partition == partition) {
            return &place->parts[i];
        }
    }
    return NULL;
}

static bool add_entry(
    const struct world *world,
    const struct ria_uuid *topic_id,
    const struct cursor_entry *entry,
    struct stream_place *before,
    struct stream_place *place
)
{
    struct stream_part part = {.offset = entry->offset, .lease = entry->lease};

    if (place->part_count >= PLAN_PARTITIONS_MAX ||
        !consumers_find_partition(world, topic_id, entry->partition, &part.partition)) {
        return false;
    }
    const struct stream_part *old = find_part(before, part.partition);
    part.has_records = old != NULL && old->lease == part.lease && old->has_records;
    place->parts[place->part_count++] = part;
    return true;
}

/* A client would not look into it; a judge may. */
static bool
open_cursor(const struct world *world, struct ria_slice text, struct stream_place *place)
{
    struct stream_place before = *place;
    struct ria_arena arena;
    struct cursor cursor;

    stream_place_forget(place);
    if (text.size == 0 || text.size > CURSOR_TEXT_MAX) {
        return false;
    }
    ria_arena_init(&arena, CURSOR_ARENA_MAX);
    bool fine =
        cursor_decode(text, CURSOR_GROUP, &world->cluster_id, &arena, &cursor) == CURSOR_FINE;
    for (uint32_t t = 0; fine && t < cursor.topic_count; t++) {
        const struct cursor_topic *topic = &cursor.topics[t];
        for (uint32_t i = 0; fine && i < topic->count; i++) {
            fine = add_entry(world, &topic->id, &topic->entries[i], &before, place);
        }
    }
    ria_arena_fini(&arena);
    memcpy(place->cursor, text.data, text.size);
    place->cursor[text.size] = '\0';
    return fine;
}

/* ---- records ---- */

/* A partition's lines, which come together. */
struct run {
    uint32_t partition;
    int64_t first;
    int64_t count;
};

struct taking {
    struct stream_taker *taker;
    bool is_lost; /* the cursor's line tells that a partition was lost */
    struct run runs[PLAN_PARTITIONS_MAX];
    uint32_t count;
};

/* False: the lines make no sense. */
static bool for_each_line(
    struct taking *taking,
    struct ria_slice lines,
    void (*fn)(struct taking *taking, const struct line_record *record)
)
{
    struct ria_slice line;

    while (lines.size > 0) {
        struct line_record record;
        if (!lines_next(&lines, &line) || !lines_parse(taking->taker->world, line, &record)) {
            return false;
        }
        fn(taking, &record);
    }
    return true;
}

static void count_line(struct taking *taking, const struct line_record *record)
{
    struct run *last = taking->count == 0 ? NULL : &taking->runs[taking->count - 1];

    if (last != NULL && last->partition == record->partition) {
        last->count++;
    } else if (taking->count < PLAN_PARTITIONS_MAX) {
        taking->runs[taking->count++] =
            (struct run){.partition = record->partition, .first = record->offset, .count = 1};
    }
}

static void note_line(struct taking *taking, const struct line_record *record)
{
    const struct stream_taker *taker = taking->taker;
    struct history_event event = consumers_event(
        taker->world, HISTORY_READ, taker->consumer, record->partition, record->offset
    );

    event.actor = READER_FIRST + taker->consumer;
    event.value = record->value;
    event.watermark = HISTORY_NO_WATERMARK;
    history_add(&taker->world->history, &event);
}

/* As a reader it asked where the first record is; that the others follow is judged. */
static void note_fetch(const struct stream_taker *taker, const struct run *run)
{
    struct history_event fetch = {
        .time_us = taker->world->now_us,
        .kind = HISTORY_FETCH,
        .actor = READER_FIRST + taker->consumer,
        .partition = run->partition,
        .epoch = HISTORY_NO_EPOCH,
        .offset = run->first,
        .count = run->count,
        .watermark = HISTORY_NO_WATERMARK,
    };

    history_add(&taker->world->history, &fetch);
}

static void note_delivered(const struct stream_taker *taker, const struct run *run, int64_t lease)
{
    struct history_event event = consumers_event(
        taker->world, HISTORY_DELIVERED, taker->consumer, run->partition, run->first
    );

    event.count = run->count;
    event.lease = lease;
    history_add(&taker->world->history, &event);
    event.kind = HISTORY_COMMIT;
    for (int64_t i = 1; taker->commits && i <= run->count; i++) {
        event.offset = run->first + i;
        history_add(&taker->world->history, &event);
    }
}

static void note_runs(const struct taking *taking)
{
    const struct stream_taker *taker = taking->taker;

    for (uint32_t i = 0; i < taking->count; i++) {
        const struct run *run = &taking->runs[i];
        struct stream_part *part = find_part(taker->place, run->partition);
        if (taker->reads) {
            note_fetch(taker, run);
        }
        if (part != NULL) {
            part->has_records = true;
        }
        if (part == NULL && taking->is_lost) {
            continue; /* lost in the middle of a burst: no cursor has what came of it */
        }
        if (part == NULL || part->offset != run->first + run->count) {
            world_break(
                taker->world,
                "bad-cursor",
                run->partition,
                "consumer %" PRIu32 " got records up to %" PRId64 ", its cursor says %" PRId64,
                taker->consumer,
                run->first + run->count,
                part == NULL ? -1 : part->offset
            );
        } else if (taker->delivers) {
            note_delivered(taker, run, part->lease);
        }
    }
}

static bool
take(struct stream_taker *taker, struct ria_slice lines, struct ria_slice cursor, bool is_lost)
{
    struct taking taking = {.taker = taker, .is_lost = is_lost};

    if (!open_cursor(taker->world, cursor, taker->place) ||
        !for_each_line(&taking, lines, count_line)) {
        return false;
    }
    note_runs(&taking);
    return !taker->reads || for_each_line(&taking, lines, note_line);
}

bool stream_records_take(
    struct stream_taker *taker, struct ria_slice lines, struct ria_slice cursor
)
{
    return take(taker, lines, cursor, false);
}

/* ---- live streams ---- */

/* A line, or an event. */
struct item {
    struct ria_slice line;
    struct ria_slice cursor; /* null: it comes with a later one */
    bool is_record;
    bool is_lost;
    bool is_end;
};

static bool begins_with(struct ria_slice line, const char *mark)
{
    size_t size = strlen(mark);

    return line.size >= size && memcmp(line.data, mark, size) == 0;
}

static bool next_line(struct ria_slice *text, struct item *out)
{
    if (!lines_next(text, &out->line)) {
        return false;
    }
    out->cursor = lines_text(out->line, "\"cursor\":\"");
    out->is_record = begins_with(out->line, "{\"topic\":");
    out->is_lost = begins_with(out->line, "{\"lost\":");
    out->is_end = begins_with(out->line, "{\"end\":");
    return true;
}

/* What is behind `name: ` in a line of its own; null: there is none. */
static struct ria_slice field(struct ria_slice event, const char *name)
{
    struct ria_slice line;

    while (lines_next(&event, &line)) {
        if (begins_with(line, name)) {
            return ria_slice_sub(line, strlen(name), line.size);
        }
    }
    return RIA_SLICE_NULL;
}

/* The line of a record keeps its newline: it is all lines that the event has. */
static bool next_event(struct ria_slice *text, struct item *out)
{
    const uint8_t *end = text->size == 0 ? NULL : memmem(text->data, text->size, "\n\n", 2);

    if (end == NULL) {
        return false;
    }
    size_t size = (size_t)(end - text->data) + 1;
    struct ria_slice event = ria_slice_sub(*text, 0, size);
    struct ria_slice name = field(event, "event: ");
    *text = ria_slice_sub(*text, size + 1, text->size);
    out->line = field(event, "data: ");
    out->cursor = field(event, "id: ");
    out->is_record = ria_slice_is_null(name) && !ria_slice_is_null(out->line);
    out->is_lost = false; /* its events bring no records along */
    out->is_end = ria_slice_equal(name, RIA_SLICE_LITERAL("end"));
    if (out->is_record) {
        out->line.size++;
    }
    return true;
}

/* A cursor stands behind all records since the last one: what came of a burst that was dropped in
 * its middle has none of its own. */
bool stream_records_take_live(
    struct stream_taker *taker, struct ria_slice *text, bool as_events, struct ria_slice *out_end
)
{
    struct ria_slice burst = *text;
    struct ria_slice before = *text;
    struct item item;

    *out_end = RIA_SLICE_NULL;
    for (; as_events ? next_event(text, &item) : next_line(text, &item); before = *text) {
        size_t rest = item.is_record ? text->size : before.size;
        struct ria_slice lines = ria_slice_sub(burst, 0, burst.size - rest);
        if (item.is_end) {
            *out_end = item.line;
        }
        if (as_events) {
            lines = item.is_record ? item.line : RIA_SLICE_EMPTY;
        }
        if (item.cursor.size == 0 && (as_events || !item.is_record)) {
            return false;
        }
        if (item.cursor.size > 0) {
            if (!take(taker, lines, item.cursor, item.is_lost)) {
                return false;
            }
            burst = *text;
        }
    }
    return true;
}

size_t stream_records_handed(void *arg, const struct sim_http *request, struct ria_slice bytes)
{
    int64_t consumer = sim_http_header_i64(request, STREAM_RECORDS_HEADER, -1);
    struct stream_place place = {.part_count = 0};
    struct stream_taker taker = {
        .world = arg,
        .place = &place,
        .consumer = (uint32_t)consumer,
        .delivers = true,
        .commits = true,
    };
    struct ria_slice rest = bytes;
    struct ria_slice end;

    if (consumer < 0) {
        return bytes.size;
    }
    (void)stream_records_take_live(&taker, &rest, true, &end); /* its client looks at it */
    return bytes.size - rest.size;
}
