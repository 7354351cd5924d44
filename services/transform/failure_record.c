#include "services/transform/failure_record.h"

#include <inttypes.h>
#include <string.h>

#include "common/assert.h"
#include "common/base64.h"
#include "common/json.h"
#include "common/utf8.h"

enum {
    TRUNCATED_SIZE = sizeof(",\"truncated\":true}"),
    EMPTY_FIELDS_SIZE = sizeof(",\"key\":null,\"value\":null") + 2 * TRUNCATED_SIZE,
};

static bool is_utf8(struct ria_slice text)
{
    for (size_t at = 0; at < text.size;) {
        size_t size = ria_utf8_sequence(text.data + at, text.size - at);
        if (size == 0) {
            return false;
        }
        at += size;
    }
    return true;
}

static ria_err append_base64(struct ria_buf *out, struct ria_slice bytes)
{
    size_t size = ria_base64_size(bytes.size);

    RIA_TRY(ria_buf_append_str(out, "{\"base64\":\""));
    RIA_TRY(ria_buf_reserve(out, size));
    ria_base64_encode((char *)out->data + out->size, bytes);
    out->size += size;
    return ria_buf_append_str(out, "\"}");
}

static ria_err append_field(struct ria_buf *out, const char *name, struct ria_slice bytes)
{
    RIA_TRY(ria_buf_printf(out, ",\"%s\":", name));
    if (ria_slice_is_null(bytes)) {
        return ria_buf_append_str(out, "null");
    }
    return is_utf8(bytes) ? ria_json_append_string(out, bytes) : append_base64(out, bytes);
}

/* The field, or as much of it as leaves room; cut inside a character it becomes base64, so the cut
 * is moved to a character's end. */
static ria_err append_cut(
    struct ria_buf *out, const char *name, struct ria_slice bytes, size_t size_max, bool *out_cut
)
{
    size_t at = out->size;
    size_t size = bytes.size;

    if (size > FAILURE_RECORD_FIELD_MAX) {
        size = FAILURE_RECORD_FIELD_MAX;
        *out_cut = true;
    }
    for (;;) {
        while (size < bytes.size && size > 0 && (bytes.data[size] & 0xC0) == 0x80) {
            size--;
        }
        RIA_TRY(append_field(out, name, ria_slice_sub(bytes, 0, size)));
        if (out->size + TRUNCATED_SIZE <= size_max || size == 0) {
            return RIA_OK;
        }
        out->size = at;
        size /= 2;
        *out_cut = true;
    }
}

/* Everything in front of key and value. */
static ria_err append_head(
    struct ria_buf *out,
    const char *topic,
    int32_t partition,
    const struct batch_record *record,
    struct ria_slice reason
)
{
    RIA_TRY(ria_buf_append_str(out, "{\"error\":"));
    RIA_TRY(ria_json_append_string(out, reason));
    return ria_buf_printf(
        out,
        ",\"source\":{\"topic\":\"%s\",\"partition\":%" PRId32 ",\"offset\":%" PRId64
        ",\"timestamp\":%" PRId64 "}",
        topic,
        partition,
        record->offset,
        record->timestamp_ms
    );
}

ria_err failure_record_build(
    struct ria_buf *out,
    const char *topic,
    int32_t partition,
    const struct batch_record *record,
    const char *reason,
    size_t size_max
)
{
    size_t reason_size = ria_min_size(strlen(reason), FAILURE_RECORD_REASON_MAX);
    bool cut = false;

    RIA_ASSERT(size_max >= FAILURE_RECORD_SIZE_MIN);
    for (;; reason_size /= 2) { /* escapes may make it longer */
        ria_buf_clear(out);
        RIA_TRY(append_head(out, topic, partition, record, ria_slice_of(reason, reason_size)));
        if (out->size + EMPTY_FIELDS_SIZE <= size_max || reason_size == 0) {
            break;
        }
    }
    /* Half of what is left for the key, so that the value is not lost to it. */
    RIA_TRY(append_cut(out, "key", record->key, out->size + (size_max - out->size) / 2, &cut));
    RIA_TRY(append_cut(out, "value", record->value, size_max, &cut));
    if (cut) {
        RIA_TRY(ria_buf_append_str(out, ",\"truncated\":true"));
    }
    return ria_buf_append_str(out, "}");
}
