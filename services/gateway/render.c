#include "services/gateway/render.h"

#include <string.h>

#include "common/base64.h"
#include "common/json.h"
#include "common/json_check.h"
#include "common/utf8.h"

#include "schemas/batch.h"

enum { VALUE_TOKENS_MAX = 1024 * 1024 };

ria_err render_i64(struct ria_buf *out, int64_t value)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) {
        digits[--at] = '-';
    }
    return ria_buf_append(out, digits + at, sizeof(digits) - at);
}

ria_err render_base64(struct ria_buf *out, struct ria_slice bytes)
{
    size_t size = ria_base64_size(bytes.size);

    RIA_TRY(ria_buf_reserve(out, size + 2));
    out->data[out->size] = '"';
    ria_base64_encode((char *)out->data + out->size + 1, bytes);
    out->data[out->size + 1 + size] = '"';
    out->size += size + 2;
    return RIA_OK;
}

bool render_is_utf8(struct ria_slice text)
{
    size_t at = 0;

    while (at < text.size) {
        if (text.data[at] < 0x80) {
            at++;
            continue;
        }
        size_t size = ria_utf8_sequence(text.data + at, text.size - at);
        if (size == 0) {
            return false;
        }
        at += size;
    }
    return true;
}

bool render_is_json(struct ria_slice text)
{
    struct ria_json_check check;

    return ria_json_check(&check, text, VALUE_TOKENS_MAX, RIA_JSON_DEPTH_MAX) == RIA_OK;
}

static void blank_out(struct ria_buf *out, size_t from, char c)
{
    uint8_t *at = out->data + from;

    while ((at = memchr(at, c, (size_t)(out->data + out->size - at))) != NULL) {
        *at = ' ';
    }
}

/* JSON as it is, but on one line: outside of strings the ends of lines are only white space (a
 * carriage return alone ends one for server-sent events). */
static ria_err append_json(struct ria_buf *out, struct ria_slice text)
{
    size_t from = out->size;

    RIA_TRY(ria_buf_append(out, text.data, text.size));
    blank_out(out, from, '\n');
    blank_out(out, from, '\r');
    return RIA_OK;
}

static ria_err append_bytes(struct ria_buf *out, const char *name, struct ria_slice bytes)
{
    if (render_is_utf8(bytes)) {
        RIA_TRY(ria_json_append_string(out, bytes));
        return ria_buf_printf(out, ",\"%s_encoding\":\"text\"", name);
    }
    RIA_TRY(render_base64(out, bytes));
    return ria_buf_printf(out, ",\"%s_encoding\":\"base64\"", name);
}

static ria_err append_value(struct ria_buf *out, struct ria_slice value)
{
    RIA_TRY(ria_buf_append_str(out, ",\"value\":"));
    if (ria_slice_is_null(value)) {
        return ria_buf_append_str(out, "null");
    }
    /* The four letters "null" would read as a value that is not there. */
    if (render_is_json(value) && !ria_slice_equal(value, RIA_SLICE_LITERAL("null"))) {
        return append_json(out, value);
    }
    return append_bytes(out, "value", value);
}

/* Text stays text ("42" too); what is plainly JSON (a v2 client's key) is shown as that. */
static ria_err append_key(struct ria_buf *out, struct ria_slice key)
{
    RIA_TRY(ria_buf_append_str(out, ",\"key\":"));
    if (ria_slice_is_null(key)) {
        return ria_buf_append_str(out, "null");
    }
    if (key.size > 1 && strchr("\"{[", key.data[0]) != NULL && render_is_json(key)) {
        RIA_TRY(append_json(out, key));
        return ria_buf_append_str(out, ",\"key_encoding\":\"json\"");
    }
    if (render_is_utf8(key)) {
        return ria_json_append_string(out, key);
    }
    return append_bytes(out, "key", key);
}

static ria_err append_header_value(struct ria_buf *out, struct ria_slice value)
{
    if (ria_slice_is_null(value)) {
        return ria_buf_append_str(out, "null");
    }
    if (render_is_utf8(value)) {
        return ria_json_append_string(out, value);
    }
    RIA_TRY(ria_buf_append_str(out, "{\"base64\":"));
    RIA_TRY(render_base64(out, value));
    return ria_buf_append_str(out, "}");
}

/* Which headers in front of `end` (or in all, if it is 0) have this name, in `out` as values. */
static ria_err append_same_name(
    struct ria_buf *out, const struct batch_record *record, struct ria_slice name, uint32_t count
)
{
    struct ria_slice cursor = record->headers;
    struct batch_record_header header;
    bool more = false;
    bool first = true;

    if (count > 1) {
        RIA_TRY(ria_buf_append_str(out, "["));
    }
    for (;;) {
        RIA_TRY(batch_record_header_next(&cursor, &header, &more));
        if (!more) {
            break;
        }
        if (ria_slice_equal(header.name, name)) {
            RIA_TRY(ria_buf_append_str(out, first ? "" : ","));
            RIA_TRY(append_header_value(out, header.value));
            first = false;
        }
    }
    return count > 1 ? ria_buf_append_str(out, "]") : RIA_OK;
}

/* How often the name occurs, and whether the header number `index` is its first. Quadratic in the
 * headers of one record, which are at most 256. */
static ria_err count_name(
    const struct batch_record *record,
    struct ria_slice name,
    uint32_t index,
    uint32_t *out_count,
    bool *out_is_first
)
{
    struct ria_slice cursor = record->headers;
    struct batch_record_header header;
    bool more = false;

    *out_count = 0;
    *out_is_first = true;
    for (uint32_t i = 0;; i++) {
        RIA_TRY(batch_record_header_next(&cursor, &header, &more));
        if (!more) {
            return RIA_OK;
        }
        if (ria_slice_equal(header.name, name)) {
            *out_count += 1;
            *out_is_first = *out_is_first && i >= index;
        }
    }
}

/* An object; a name that occurs more than once has an array of its values. */
static ria_err append_headers(struct ria_buf *out, const struct batch_record *record)
{
    struct ria_slice cursor = record->headers;
    struct batch_record_header header;
    bool more = false;
    bool any = false;

    RIA_TRY(ria_buf_append_str(out, ",\"headers\":{"));
    for (uint32_t i = 0;; i++) {
        uint32_t count = 0;
        bool is_first = true;
        RIA_TRY(batch_record_header_next(&cursor, &header, &more));
        if (!more) {
            return ria_buf_append_str(out, "}");
        }
        RIA_TRY(count_name(record, header.name, i, &count, &is_first));
        if (!is_first) {
            continue;
        }
        RIA_TRY(ria_buf_append_str(out, any ? "," : ""));
        RIA_TRY(ria_json_append_string(out, header.name));
        RIA_TRY(ria_buf_append_str(out, ":"));
        RIA_TRY(append_same_name(out, record, header.name, count));
        any = true;
    }
}

ria_err render_record(struct ria_buf *out, const char *lead, const struct batch_record *record)
{
    RIA_TRY(ria_buf_append_str(out, "{"));
    if (lead != NULL) {
        RIA_TRY(ria_buf_append_str(out, lead));
    }
    RIA_TRY(ria_buf_append_str(out, "\"offset\":"));
    RIA_TRY(render_i64(out, record->offset));
    RIA_TRY(ria_buf_append_str(out, ",\"timestamp\":"));
    RIA_TRY(render_i64(out, record->timestamp_ms));
    RIA_TRY(append_key(out, record->key));
    RIA_TRY(append_value(out, record->value));
    if (record->header_count > 0) {
        RIA_TRY(append_headers(out, record));
    }
    return ria_buf_append_str(out, "}");
}

static bool is_full(const struct render_range *range, const struct ria_buf *out)
{
    return (range->records_max > 0 && range->count >= range->records_max) ||
           (range->size_max > 0 && range->count > 0 && out->size >= range->size_max);
}

static ria_err render_batch(
    struct batch_iter *iter, render_format format, struct render_range *range, struct ria_buf *out
)
{
    struct batch_record record;
    bool more = false;

    while (!is_full(range, out)) {
        RIA_TRY(batch_iter_next(iter, &record, &more));
        if (!more) {
            range->next_offset =
                ria_max_i64(range->next_offset, batch_last_offset(&iter->header) + 1);
            return RIA_OK;
        }
        if (record.offset < range->offset) {
            continue;
        }
        if (format == RENDER_ARRAY && range->count > 0) {
            RIA_TRY(ria_buf_append(out, ",", 1));
        }
        RIA_TRY(render_record(out, range->lead, &record));
        if (format == RENDER_LINES) {
            RIA_TRY(ria_buf_append(out, "\n", 1));
        }
        range->count++;
        range->next_offset = record.offset + 1;
    }
    return RIA_OK;
}

ria_err render_batches(
    struct ria_slice data, render_format format, struct render_range *range, struct ria_buf *out
)
{
    size_t at = 0;

    range->next_offset = range->offset;
    range->count = 0;
    while (at < data.size && !is_full(range, out)) {
        struct batch_iter iter;
        struct batch_header header;
        struct ria_slice rest = ria_slice_sub(data, at, data.size);
        if (batch_header_decode(rest, &header) != RIA_OK || batch_size(&header) > rest.size) {
            return at == 0 ? RIA_ERR_MALFORMED : RIA_OK;
        }
        RIA_TRY(batch_iter_init(&iter, rest));
        RIA_TRY(render_batch(&iter, format, range, out));
        at += batch_size(&header);
    }
    return RIA_OK;
}
