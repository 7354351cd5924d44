#include "services/gateway/stream_piece.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/batch.h"

#include "services/gateway/gate.h"
#include "services/gateway/render.h"

enum {
    PIECE_TEXT_HARD = 128 * 1024 * 1024, /* with the last record, in the longest encoding */
    PIECE_MARKS_MAX = 16 * 1024 * 1024,  /* bytes */
};

/* A piece while it is made. */
struct making {
    const struct stream_shape *shape;
    uint32_t slot;
    char lead[sizeof("\"partition\":,") + 10]; /* in front of a record's members */
    int64_t bound;
    size_t size_max;
    struct filter_scratch *scratch;
    int64_t next_offset;
    uint64_t filtered;
    struct ria_buf text;
    struct ria_buf marks;
    struct cursor_topic topic;
    struct cursor_entry entries[CURSOR_FITS_TOPIC];
    char cursor[CURSOR_TEXT_MAX + 1];
    size_t cursor_size;
};

static void
set_place(struct cursor_entry *entries, const struct stream_shape *shape, const int64_t *offsets)
{
    RIA_ASSERT(shape->slot_count > 0 && shape->slot_count <= CURSOR_FITS_TOPIC);
    for (uint32_t i = 0; i < shape->slot_count; i++) {
        entries[i] = (struct cursor_entry){shape->partitions[i], offsets[i], -1};
    }
}

static void encode_place(
    const struct stream_shape *shape,
    const struct cursor_entry *entries,
    char *out_text,
    size_t *out_size
)
{
    const struct cursor_topic topic = {shape->topic_id, entries, shape->slot_count};
    const struct cursor cursor = {.kind = CURSOR_TOPIC, .topics = &topic, .topic_count = 1};

    ria_err err = cursor_encode(&cursor, &shape->cluster_id, out_text, out_size);
    RIA_ASSERT(err == RIA_OK); /* CURSOR_FITS_TOPIC */
}

void stream_place_text(
    const struct stream_shape *shape,
    const int64_t *offsets,
    char out_text[CURSOR_TEXT_MAX + 1],
    size_t *out_size
)
{
    struct cursor_entry entries[CURSOR_FITS_TOPIC];

    set_place(entries, shape, offsets);
    encode_place(shape, entries, out_text, out_size);
}

/* --- events ------------------------------------------------------------------------------------*/

static ria_err add_mark(struct making *making, int64_t next_offset)
{
    const struct stream_mark mark = {(uint32_t)making->text.size, next_offset};

    making->next_offset = next_offset;
    return ria_buf_append(&making->marks, &mark, sizeof(mark));
}

static ria_err append_cursor(struct making *making, int64_t next_offset)
{
    making->entries[making->slot].offset = next_offset;
    encode_place(making->shape, making->entries, making->cursor, &making->cursor_size);
    return ria_buf_append(&making->text, making->cursor, making->cursor_size);
}

static ria_err append_event(struct making *making, const struct batch_record *record)
{
    struct ria_buf *text = &making->text;

    RIA_TRY(ria_buf_append_str(text, "id: "));
    RIA_TRY(append_cursor(making, record->offset + 1));
    RIA_TRY(ria_buf_append_str(text, "\ndata: "));
    RIA_TRY(render_record(text, making->lead, record));
    return ria_buf_append_str(text, "\n\n");
}

static ria_err append_line(struct making *making, const struct batch_record *record)
{
    RIA_TRY(render_record(&making->text, making->lead, record));
    return ria_buf_append_str(&making->text, "\n");
}

/* The last line gets the cursor: `}` and the newline make room for it. */
static ria_err end_lines(struct making *making)
{
    struct stream_mark *marks = (struct stream_mark *)(void *)making->marks.data;
    size_t count = making->marks.size / sizeof(*marks);

    if (making->shape->form != STREAM_LINES || count == 0) {
        return RIA_OK;
    }
    making->text.size -= 2;
    RIA_TRY(ria_buf_append_str(&making->text, ",\"cursor\":\""));
    RIA_TRY(append_cursor(making, making->next_offset));
    RIA_TRY(ria_buf_append_str(&making->text, "\"}\n"));
    marks[count - 1].end = (uint32_t)making->text.size;
    marks[count - 1].next_offset = making->next_offset;
    return RIA_OK;
}

static ria_err add_record(struct making *making, const struct batch_record *record)
{
    if (!filter_set_matches(making->shape->filter, record, making->scratch)) {
        making->filtered++;
        making->next_offset = record->offset + 1;
        return RIA_OK;
    }
    RIA_TRY(
        making->shape->form == STREAM_EVENTS ? append_event(making, record)
                                             : append_line(making, record)
    );
    return add_mark(making, record->offset + 1);
}

/* --- batches -----------------------------------------------------------------------------------*/

static bool is_full(const struct making *making)
{
    return making->next_offset >= making->bound ||
           (making->marks.size > 0 && making->text.size >= making->size_max);
}

static ria_err add_batch(struct making *making, struct ria_slice data)
{
    struct batch_iter iter;
    struct batch_record record;
    bool more = true;

    RIA_TRY(batch_iter_init(&iter, data));
    while (!is_full(making)) {
        RIA_TRY(batch_iter_next(&iter, &record, &more));
        if (!more) {
            making->next_offset =
                ria_max_i64(making->next_offset, batch_last_offset(&iter.header) + 1);
            return RIA_OK;
        }
        if (record.offset >= making->bound) {
            making->next_offset = making->bound;
        } else if (record.offset >= making->next_offset) {
            RIA_TRY(add_record(making, &record));
        }
    }
    return RIA_OK;
}

static ria_err add_batches(struct making *making, struct ria_slice data)
{
    size_t at = 0;

    while (at < data.size && !is_full(making)) {
        struct batch_header header;
        struct ria_slice rest = ria_slice_sub(data, at, data.size);
        if (batch_header_decode(rest, &header) != RIA_OK || batch_size(&header) > rest.size) {
            return at == 0 ? RIA_ERR_MALFORMED : RIA_OK;
        }
        RIA_TRY(add_batch(making, rest));
        at += batch_size(&header);
    }
    making->next_offset = ria_min_i64(making->next_offset, making->bound);
    return end_lines(making);
}

/* --- pieces ------------------------------------------------------------------------------------*/

static ria_err finish(
    struct making *making,
    const int64_t *offsets,
    struct budget *budget,
    struct stream_piece **out_piece
)
{
    uint32_t slots = making->shape->slot_count;
    struct stream_piece *piece = calloc(1, sizeof(*piece) + slots * sizeof(piece->offsets[0]));
    size_t size = 0;
    uint8_t *marks = NULL;

    if (piece == NULL) {
        return RIA_ERR_NOMEM;
    }
    piece->refs = 1;
    piece->slot = making->slot;
    piece->next_offset = making->next_offset;
    piece->mark_count = (uint32_t)(making->marks.size / sizeof(struct stream_mark));
    piece->budget = budget;
    piece->charged = making->text.capacity + making->marks.capacity;
    ria_buf_take(&making->marks, &marks, &size);
    piece->marks = (struct stream_mark *)(void *)marks;
    ria_buf_take(&making->text, &piece->text, &size);
    memcpy(piece->offsets, offsets, slots * sizeof(piece->offsets[0]));
    gate_resize(budget, 0, piece->charged);
    *out_piece = piece;
    return RIA_OK;
}

static void making_init(
    struct making *making, const struct stream_shape *shape, const int64_t *offsets, uint32_t slot
)
{
    making->shape = shape;
    making->slot = slot;
    making->next_offset = offsets[slot];
    making->filtered = 0;
    snprintf(
        making->lead, sizeof(making->lead), "\"partition\":%" PRId32 ",", shape->partitions[slot]
    );
    ria_buf_init(&making->text, PIECE_TEXT_HARD);
    ria_buf_init(&making->marks, PIECE_MARKS_MAX);
    set_place(making->entries, shape, offsets);
}

ria_err stream_piece_new(
    const struct stream_shape *shape,
    const int64_t *offsets,
    uint32_t slot,
    struct ria_slice batches,
    int64_t bound,
    size_t size_max,
    struct filter_scratch *scratch,
    struct budget *budget,
    struct stream_piece **out_piece,
    uint64_t *out_filtered
)
{
    struct making making;

    making_init(&making, shape, offsets, slot);
    making.bound = bound;
    making.size_max = size_max;
    making.scratch = scratch;
    ria_err err = add_batches(&making, batches);
    if (err == RIA_OK) {
        err = finish(&making, offsets, budget, out_piece);
    }
    if (err == RIA_OK) {
        (*out_piece)->has_records = true;
        *out_filtered = making.filtered;
    }
    ria_buf_fini(&making.text);
    ria_buf_fini(&making.marks);
    return err;
}

static ria_err append_gap(struct making *making, int64_t from, int64_t to)
{
    struct ria_buf *text = &making->text;
    bool is_events = making->shape->form == STREAM_EVENTS;

    if (is_events) {
        RIA_TRY(ria_buf_append_str(text, "event: gap\nid: "));
        RIA_TRY(append_cursor(making, to));
        RIA_TRY(ria_buf_append_str(text, "\ndata: "));
    }
    RIA_TRY(ria_buf_printf(
        text,
        is_events ? "{\"partition\":%d,\"from\":%lld,\"to\":%lld}\n\n"
                  : "{\"gap\":{\"partition\":%d,\"from\":%lld,\"to\":%lld},\"cursor\":\"",
        (int)making->shape->partitions[making->slot],
        (long long)from,
        (long long)to
    ));
    if (!is_events) {
        RIA_TRY(append_cursor(making, to));
        RIA_TRY(ria_buf_append_str(text, "\"}\n"));
    }
    return add_mark(making, to);
}

ria_err stream_piece_gap(
    const struct stream_shape *shape,
    const int64_t *offsets,
    uint32_t slot,
    int64_t next_offset,
    struct budget *budget,
    struct stream_piece **out_piece
)
{
    struct making making;

    making_init(&making, shape, offsets, slot);
    ria_err err = append_gap(&making, offsets[slot], next_offset);
    if (err == RIA_OK) {
        err = finish(&making, offsets, budget, out_piece);
    }
    ria_buf_fini(&making.text);
    ria_buf_fini(&making.marks);
    return err;
}

struct stream_piece *stream_piece_ref(struct stream_piece *piece)
{
    piece->refs++;
    return piece;
}

void stream_piece_unref(struct stream_piece *piece)
{
    if (piece == NULL || --piece->refs > 0) {
        return;
    }
    gate_resize(piece->budget, piece->charged, 0);
    free(piece->marks);
    free(piece->text);
    free(piece);
}
