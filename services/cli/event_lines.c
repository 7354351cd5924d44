#include "services/cli/event_lines.h"

#include <string.h>

void event_lines_init(struct event_lines *lines)
{
    *lines = (struct event_lines){0};
    ria_buf_init(&lines->line, EVENT_DATA_MAX + 16);
    ria_buf_init(&lines->id, EVENT_ID_MAX);
    ria_buf_init(&lines->name, EVENT_NAME_MAX);
    ria_buf_init(&lines->data, EVENT_DATA_MAX);
}

void event_lines_fini(struct event_lines *lines)
{
    ria_buf_fini(&lines->line);
    ria_buf_fini(&lines->id);
    ria_buf_fini(&lines->name);
    ria_buf_fini(&lines->data);
}

static void begin_event(struct event_lines *lines)
{
    ria_buf_clear(&lines->id);
    ria_buf_clear(&lines->name);
    ria_buf_clear(&lines->data);
    lines->has_id = false;
    lines->has_name = false;
    lines->has_data = false;
}

void event_lines_reset(struct event_lines *lines)
{
    ria_buf_clear(&lines->line);
    begin_event(lines);
}

static struct ria_slice field_of(const struct ria_buf *buf, bool has)
{
    return has ? ria_slice_of(buf->size == 0 ? (const uint8_t *)"" : buf->data, buf->size)
               : RIA_SLICE_NULL;
}

/* An empty line ends the event. */
static void tell(struct event_lines *lines, event_fn fn, void *arg)
{
    const struct event event = {
        .id = field_of(&lines->id, lines->has_id),
        .name = field_of(&lines->name, lines->has_name),
        .data = field_of(&lines->data, lines->has_data),
    };

    if (lines->has_id || lines->has_name || lines->has_data) {
        fn(arg, &event);
    }
    begin_event(lines);
}

/* The last one counts. */
static ria_err set_field(struct ria_buf *buf, bool *has, struct ria_slice value)
{
    ria_buf_clear(buf);
    *has = true;
    return ria_buf_append(buf, value.data, value.size);
}

static ria_err take_line(struct event_lines *lines, struct ria_slice line, event_fn fn, void *arg)
{
    if (line.size > 0 && line.data[line.size - 1] == '\r') {
        line.size--;
    }
    if (line.size == 0) {
        tell(lines, fn, arg);
        return RIA_OK;
    }
    const uint8_t *colon = memchr(line.data, ':', line.size);
    size_t size = colon == NULL ? line.size : (size_t)(colon - line.data);
    struct ria_slice name = ria_slice_sub(line, 0, size);
    struct ria_slice value = ria_slice_sub(line, size + 1, line.size);
    if (value.size > 0 && value.data[0] == ' ') {
        value = ria_slice_sub(value, 1, value.size);
    }
    if (ria_slice_equal(name, RIA_SLICE_LITERAL("data"))) {
        if (lines->has_data) {
            RIA_TRY(ria_buf_append(&lines->data, "\n", 1));
        }
        lines->has_data = true;
        return ria_buf_append(&lines->data, value.data, value.size);
    }
    if (ria_slice_equal(name, RIA_SLICE_LITERAL("id"))) {
        return set_field(&lines->id, &lines->has_id, value);
    }
    if (ria_slice_equal(name, RIA_SLICE_LITERAL("event"))) {
        return set_field(&lines->name, &lines->has_name, value);
    }
    return RIA_OK;
}

ria_err event_lines_feed(struct event_lines *lines, struct ria_slice bytes, event_fn fn, void *arg)
{
    while (bytes.size > 0) {
        const uint8_t *end = memchr(bytes.data, '\n', bytes.size);
        size_t size = end == NULL ? bytes.size : (size_t)(end - bytes.data);
        struct ria_slice line = ria_slice_sub(bytes, 0, size);

        bytes = ria_slice_sub(bytes, size + (end == NULL ? 0 : 1), bytes.size);
        if (end != NULL && lines->line.size == 0) {
            RIA_TRY(take_line(lines, line, fn, arg));
            continue;
        }
        RIA_TRY(ria_buf_append(&lines->line, line.data, line.size));
        if (end != NULL) {
            ria_err err = take_line(lines, ria_buf_slice(&lines->line), fn, arg);
            ria_buf_clear(&lines->line);
            RIA_TRY(err);
        }
    }
    return RIA_OK;
}
