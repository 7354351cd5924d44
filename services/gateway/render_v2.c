#include "services/gateway/render_v2.h"

#include <string.h>

#include "common/json.h"

#include "schemas/batch.h"

#include "services/gateway/render.h"

struct place {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t next;
};

static ria_err append_part(
    const struct render_v2 *render, const char *name, struct ria_slice bytes, struct ria_buf *out
)
{
    RIA_TRY(ria_buf_printf(out, ",\"%s\":", name));
    if (ria_slice_is_null(bytes)) {
        return ria_buf_append_str(out, "null");
    }
    if (!render->is_json) {
        return render_base64(out, bytes);
    }
    if (render_is_json(bytes)) {
        return ria_buf_append(out, bytes.data, bytes.size);
    }
    RIA_TRY(render_base64(out, bytes));
    return ria_buf_printf(out, ",\"%s_encoding\":\"base64\"", name);
}

static ria_err append_headers(const struct batch_record *record, struct ria_buf *out)
{
    struct ria_slice cursor = record->headers;
    struct batch_record_header header;
    bool more = false;

    RIA_TRY(ria_buf_append_str(out, ",\"headers\":["));
    for (bool first = true;; first = false) {
        RIA_TRY(batch_record_header_next(&cursor, &header, &more));
        if (!more) {
            return ria_buf_append_str(out, "]");
        }
        RIA_TRY(ria_buf_append_str(out, first ? "{\"key\":" : ",{\"key\":"));
        RIA_TRY(ria_json_append_string(out, header.name));
        RIA_TRY(ria_buf_append_str(out, ",\"value\":"));
        if (ria_slice_is_null(header.value)) {
            RIA_TRY(ria_buf_append_str(out, "null}"));
        } else {
            RIA_TRY(render_base64(out, header.value));
            RIA_TRY(ria_buf_append_str(out, "}"));
        }
    }
}

static ria_err append_record(
    const struct render_v2 *render,
    const struct place *place,
    const struct batch_record *record,
    struct ria_buf *out
)
{
    RIA_TRY(ria_buf_append_str(out, render->count > 0 ? ",{\"topic\":\"" : "{\"topic\":\""));
    RIA_TRY(ria_buf_append_str(out, place->topic)); /* no character of a topic's name is special */
    RIA_TRY(ria_buf_append_str(out, "\""));
    RIA_TRY(append_part(render, "key", record->key, out));
    RIA_TRY(append_part(render, "value", record->value, out));
    RIA_TRY(ria_buf_append_str(out, ",\"partition\":"));
    RIA_TRY(render_i64(out, place->partition));
    RIA_TRY(ria_buf_append_str(out, ",\"offset\":"));
    RIA_TRY(render_i64(out, record->offset));
    if (render->extras) {
        RIA_TRY(ria_buf_append_str(out, ",\"timestamp\":"));
        RIA_TRY(render_i64(out, record->timestamp_ms));
        if (record->header_count > 0) {
            RIA_TRY(append_headers(record, out));
        }
    }
    return ria_buf_append_str(out, "}");
}

/* The record that would go past the limit is left for the next poll, unless it is the first. */
static bool
fits(const struct render_v2 *render, const struct batch_record *record, const struct ria_buf *out)
{
    int64_t size = (int64_t)(record->key.size + record->value.size);

    return render->count == 0 ||
           (render->bytes + size <= render->bytes_max && out->size < render->size_max);
}

static ria_err render_batch(
    struct render_v2 *render,
    struct place *place,
    struct batch_iter *iter,
    struct ria_buf *out,
    bool *out_full
)
{
    struct batch_record record;
    bool more = false;

    for (;;) {
        RIA_TRY(batch_iter_next(iter, &record, &more));
        if (!more) {
            place->next = ria_max_i64(place->next, batch_last_offset(&iter->header) + 1);
            return RIA_OK;
        }
        if (record.offset < place->offset) {
            continue;
        }
        if (!fits(render, &record, out)) {
            *out_full = true;
            return RIA_OK;
        }
        RIA_TRY(append_record(render, place, &record, out));
        render->count++;
        render->bytes += (int64_t)(record.key.size + record.value.size);
        place->next = record.offset + 1;
    }
}

ria_err render_v2_batches(
    struct render_v2 *render,
    const char *topic,
    int32_t partition,
    struct ria_slice batches,
    int64_t offset,
    struct ria_buf *out,
    int64_t *out_next
)
{
    struct place place = {topic, partition, offset, offset};
    bool is_full = false;

    for (size_t at = 0; at < batches.size && !is_full;) {
        struct ria_slice rest = ria_slice_sub(batches, at, batches.size);
        struct batch_header header;
        struct batch_iter iter;
        if (batch_header_decode(rest, &header) != RIA_OK || batch_size(&header) > rest.size) {
            if (at == 0) {
                return RIA_ERR_MALFORMED;
            }
            break;
        }
        RIA_TRY(batch_iter_init(&iter, rest));
        RIA_TRY(render_batch(render, &place, &iter, out, &is_full));
        at += batch_size(&header);
    }
    *out_next = place.next;
    return RIA_OK;
}
