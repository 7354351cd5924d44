/* What a group's stream sends: events, each with the cursor behind it. */
#include <stdlib.h>

#include "common/assert.h"
#include "common/json.h"

#include "services/gateway/admin.h"
#include "services/gateway/cursor.h"
#include "services/gateway/group_input.h"
#include "services/gateway/group_stream_internal.h"
#include "services/gateway/render.h"

enum {
    TEXT_MAX = 256 * 1024,        /* no further record is rendered past it */
    TEXT_HARD = 64 * 1024 * 1024, /* with the last record, in the longest encoding */
    RETRY_MS = 2000,
};
_Static_assert((int)GROUP_PARTITIONS_MAX <= (int)CURSOR_FITS_GROUP, "every place has a cursor");
_Static_assert((int)GROUP_PARTITIONS_MAX <= (int)CURSOR_TOPICS_MAX, "each of another topic");

/* --- cursors -----------------------------------------------------------------------------------*/

/* Behind what was rendered, with the leases that count. */
static ria_err append_cursor(const struct group_stream *stream, struct ria_buf *out)
{
    struct cursor_topic topics[GROUP_PARTITIONS_MAX];
    struct cursor_entry entries[GROUP_PARTITIONS_MAX];
    struct cursor cursor = {
        .kind = CURSOR_GROUP,
        .group = cursor_group_hash(stream->group),
        .topics = topics,
    };
    struct ria_uuid id = cluster_id(stream->gateway->cluster);
    const struct cluster_topic *topic = NULL;
    char text[CURSOR_TEXT_MAX + 1];
    uint32_t count = 0;
    size_t size = 0;

    for (uint32_t i = 0; i < stream->part_count; i++) {
        const struct group_part *part = &stream->parts[i];
        if (part->is_lost) {
            continue;
        }
        entries[count] = (struct cursor_entry){part->partition->number, part->next, part->lease};
        if (part->partition->topic != topic) {
            topic = part->partition->topic;
            topics[cursor.topic_count++] =
                (struct cursor_topic){.id = topic->id, .entries = &entries[count]};
        }
        topics[cursor.topic_count - 1].count++;
        count++;
    }
    ria_err err = cursor_encode(&cursor, &id, text, &size);
    RIA_ASSERT(err == RIA_OK);
    return ria_buf_append(out, text, size);
}

/* --- records -----------------------------------------------------------------------------------*/

static struct group_mark *marks_of(struct group_stream *stream, uint32_t *out_count)
{
    *out_count = (uint32_t)(stream->marks.size / sizeof(struct group_mark));
    return (struct group_mark *)(void *)stream->marks.data;
}

static ria_err add_mark(struct group_stream *stream, uint32_t part, int64_t from, bool is_record)
{
    const struct group_mark mark = {
        .end = (uint32_t)stream->text.size,
        .part = part,
        .from = from,
        .next = stream->parts[part].next,
        .is_record = is_record,
    };

    return ria_buf_append(&stream->marks, &mark, sizeof(mark));
}

static ria_err
append_event(struct group_stream *stream, const char *lead, const struct batch_record *record)
{
    struct ria_buf *text = &stream->text;

    if (stream->form == STREAM_EVENTS) {
        RIA_TRY(ria_buf_append_str(text, "id: "));
        RIA_TRY(append_cursor(stream, text));
        RIA_TRY(ria_buf_append_str(text, "\ndata: "));
    }
    RIA_TRY(render_record(text, lead, record));
    return ria_buf_append_str(text, stream->form == STREAM_EVENTS ? "\n\n" : "\n");
}

static ria_err append_record(
    struct group_stream *stream, uint32_t index, const char *lead, const struct batch_record *record
)
{
    struct group_part *part = &stream->parts[index];
    int64_t from = part->next;
    size_t size = stream->text.size;

    part->next = record->offset + 1;
    if (!filter_set_matches(stream->filter, record, &stream->gateway->streams.scratch)) {
        stream->gateway->streams.metrics.filtered.value++;
        return RIA_OK;
    }
    ria_err err = append_event(stream, lead, record);
    if (err == RIA_OK) {
        err = add_mark(stream, index, from, true);
    }
    if (err != RIA_OK) { /* the place stays in front of it */
        stream->text.size = size;
        part->next = from;
    } else if (stream->records_left > 0) {
        stream->records_left--;
    }
    return err;
}

static bool is_full(const struct group_stream *stream)
{
    return stream->text.size >= TEXT_MAX || stream->records_left == 0;
}

static ria_err
add_batch(struct group_stream *stream, uint32_t index, const char *lead, struct ria_slice data)
{
    struct group_part *part = &stream->parts[index];
    struct batch_iter iter;
    struct batch_record record;
    bool more = true;

    RIA_TRY(batch_iter_init(&iter, data));
    while (!is_full(stream)) {
        RIA_TRY(batch_iter_next(&iter, &record, &more));
        if (!more) {
            part->next = ria_max_i64(part->next, batch_last_offset(&iter.header) + 1);
            return RIA_OK;
        }
        if (record.offset >= part->next) {
            RIA_TRY(append_record(stream, index, lead, &record));
        }
    }
    return RIA_OK;
}

static ria_err render_lead(const struct group_part *part, struct ria_buf *lead)
{
    RIA_TRY(ria_buf_append_str(lead, "\"topic\":"));
    RIA_TRY(ria_json_append_string(lead, ria_slice_cstr(part->partition->topic->name)));
    RIA_TRY(ria_buf_printf(lead, ",\"partition\":%d,", (int)part->partition->number));
    return ria_buf_append(lead, "", 1);
}

ria_err group_stream_render(struct group_stream *stream, uint32_t index, struct ria_slice batches)
{
    struct group_part *part = &stream->parts[index];
    int64_t from = part->next;
    struct batch_header header;
    struct ria_buf lead;

    ria_buf_init(&lead, 1024);
    ria_err err = render_lead(part, &lead);
    for (size_t at = 0; err == RIA_OK && at < batches.size && !is_full(stream);) {
        struct ria_slice rest = ria_slice_sub(batches, at, batches.size);
        if (batch_header_decode(rest, &header) != RIA_OK || batch_size(&header) > rest.size) {
            err = at == 0 ? RIA_ERR_MALFORMED : RIA_OK;
            break;
        }
        err = add_batch(stream, index, (const char *)lead.data, rest);
        at += batch_size(&header);
    }
    ria_buf_fini(&lead);
    /* What the filter left out counts as delivered, once what is before it was taken. */
    return err != RIA_OK || part->next == from ? err : add_mark(stream, index, part->next, false);
}

ria_err group_stream_finish_text(struct group_stream *stream)
{
    uint32_t count = 0;
    struct group_mark *marks = marks_of(stream, &count);

    if (stream->form == STREAM_LINES && stream->text.size > 0) {
        stream->text.size -= 2; /* `}` and the newline */
        RIA_TRY(ria_buf_append_str(&stream->text, ",\"cursor\":\""));
        RIA_TRY(append_cursor(stream, &stream->text));
        RIA_TRY(ria_buf_append_str(&stream->text, "\"}\n"));
        uint32_t end = count == 0 ? 0 : marks[count - 1].end;
        for (uint32_t i = count; i > 0 && marks[i - 1].end == end; i--) {
            marks[i - 1].end = (uint32_t)stream->text.size;
        }
    }
    size_t size = stream->text.capacity + stream->marks.capacity;
    gate_resize(stream->gateway->budget, stream->charged, size);
    stream->charged = size;
    return RIA_OK;
}

void group_stream_clear_text(struct group_stream *stream)
{
    if (stream->gateway != NULL) {
        gate_resize(stream->gateway->budget, stream->charged, 0);
    }
    stream->charged = 0;
    ria_buf_fini(&stream->text);
    ria_buf_fini(&stream->marks);
    ria_buf_init(&stream->text, TEXT_HARD);
    ria_buf_init(&stream->marks, TEXT_HARD);
    stream->at = 0;
    stream->mark = 0;
}

void group_stream_handed(struct group_stream *stream)
{
    uint32_t count = 0;
    const struct group_mark *marks = marks_of(stream, &count);

    while (stream->mark < count && marks[stream->mark].end <= stream->at) {
        const struct group_mark *mark = &marks[stream->mark++];
        struct group_part *part = &stream->parts[mark->part];
        part->written = ria_max_i64(part->written, mark->next);
        stream->gateway->streams.metrics.records.value += mark->is_record;
    }
    if (stream->at == stream->text.size && (count > 0 || stream->text.capacity > 0)) {
        group_stream_clear_text(stream);
    }
}

void group_stream_drop_text(struct group_stream *stream)
{
    uint32_t count = 0;
    uint32_t kept = stream->mark;
    const struct group_mark *marks = marks_of(stream, &count);
    size_t begun = kept == 0 ? 0 : marks[kept - 1].end;

    while (count > kept && stream->at > begun) { /* it has begun, or was given as a whole */
        begun = marks[kept++].end;
    }
    for (uint32_t i = count; i > kept; i--) {
        stream->parts[marks[i - 1].part].next = marks[i - 1].from;
        stream->parts[marks[i - 1].part].is_new = true;
        if (stream->records_left >= 0 && marks[i - 1].is_record) {
            stream->records_left++;
        }
    }
    stream->text.size = kept == 0 ? 0 : marks[kept - 1].end;
    stream->marks.size = kept * sizeof(*marks);
    if (kept == stream->mark) {
        group_stream_clear_text(stream);
    } /* else what was given is handed over with the next pull */
}

/* --- texts of its own --------------------------------------------------------------------------*/

static ria_err append_place(struct group_stream *stream, const char *before, const char *after)
{
    RIA_TRY(ria_buf_append_str(&stream->control, before));
    RIA_TRY(append_cursor(stream, &stream->control));
    return ria_buf_append_str(&stream->control, after);
}

ria_err group_stream_say_beginning(struct group_stream *stream)
{
    if (stream->form == STREAM_LINES) {
        return append_place(stream, "{\"cursor\":\"", "\"}\n");
    }
    RIA_TRY(ria_buf_printf(&stream->control, "retry: %d\n", RETRY_MS));
    return append_place(stream, "id: ", "\n\n");
}

ria_err group_stream_say_beat(struct group_stream *stream)
{
    return stream->form == STREAM_LINES ? append_place(stream, "{\"cursor\":\"", "\"}\n")
                                        : append_place(stream, ":\nid: ", "\n\n");
}

static ria_err
begin_lost(struct group_stream *stream, const struct ria_uuid *topic_id, int32_t partition)
{
    struct ria_buf *out = &stream->control;

    if (stream->form == STREAM_EVENTS) {
        RIA_TRY(append_place(stream, "event: lost\nid: ", "\ndata: {"));
    } else {
        RIA_TRY(ria_buf_append_str(out, "{\"lost\":{"));
    }
    RIA_TRY(group_input_render_lost(stream->gateway->cluster, topic_id, out));
    return ria_buf_printf(out, ",\"partition\":%d", (int)partition);
}

static ria_err end_lost(struct group_stream *stream)
{
    return stream->form == STREAM_EVENTS ? ria_buf_append_str(&stream->control, "}\n\n")
                                         : append_place(stream, "},\"cursor\":\"", "\"}\n");
}

ria_err group_stream_say_lost(struct group_stream *stream, const struct group_part *part)
{
    RIA_TRY(begin_lost(stream, &part->partition->topic->id, part->partition->number));
    return end_lost(stream);
}

ria_err group_stream_say_uncommitted(struct group_stream *stream, const group_lost *lost)
{
    RIA_TRY(begin_lost(stream, &lost->topic_id, lost->partition));
    RIA_TRY(ria_buf_append_str(&stream->control, ",\"position\":"));
    RIA_TRY(admin_render_known(lost->position, &stream->control));
    return end_lost(stream);
}

ria_err group_stream_say_end(struct group_stream *stream)
{
    struct ria_buf *out = &stream->control;
    bool events = stream->form == STREAM_EVENTS;

    if (events) {
        RIA_TRY(append_place(stream, "event: end\nid: ", "\ndata: "));
    } else {
        RIA_TRY(ria_buf_append_str(out, "{\"end\":"));
    }
    if (stream->end_message == NULL) {
        RIA_TRY(ria_buf_printf(out, "{\"reason\":\"%s\"}", stream->end_code));
    } else {
        RIA_TRY(ria_buf_printf(out, "{\"error\":{\"code\":\"%s\",\"message\":", stream->end_code));
        RIA_TRY(ria_json_append_string(out, ria_slice_cstr(stream->end_message)));
        RIA_TRY(ria_buf_append_str(out, "}}"));
    }
    return events ? ria_buf_append_str(out, "\n\n")
                  : append_place(stream, ",\"cursor\":\"", "\"}\n");
}
