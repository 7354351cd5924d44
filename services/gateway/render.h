/* render: record batches as JSON text.
 *
 *   {"offset":7,"timestamp":1700000000000,"key":"k","value":{"a":1},"headers":{"n":"v"}}
 *
 * Keys are text, values are JSON; where the bytes are something else, "key_encoding" or
 * "value_encoding" says what (docs/http.md). A line that was read can be written again as NDJSON
 * and gives the same bytes.
 *
 * Pure. Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"

struct render_range {
    int64_t offset;       /* records before it are left out */
    uint32_t records_max; /* 0 = no limit */
    size_t size_max;      /* no record is begun once `out` has this many bytes; 0 = no limit */
    const char *lead;     /* members in front of a record's own, each with a comma; NULL: none */
    int64_t next_offset;  /* out: behind the last record rendered, else offset */
    uint32_t count;       /* out */
};

typedef enum render_format {
    RENDER_ARRAY, /* elements separated by commas, without the brackets */
    RENDER_LINES, /* each ended by a newline */
} render_format;

/* Appends the records of whole batches; a batch cut off at the end of data is left out.
 * Errors: RIA_ERR_MALFORMED, RIA_ERR_UNSUPPORTED (compressed), RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err render_batches(
    struct ria_slice data, render_format format, struct render_range *range, struct ria_buf *out
) RIA_MUST_USE;

/* One record as the element of RENDER_ARRAY, on one line, without an end. lead: as the range's. */
struct batch_record;
ria_err render_record(struct ria_buf *out, const char *lead, const struct batch_record *record)
    RIA_MUST_USE;

/* Decimal digits. */
ria_err render_i64(struct ria_buf *out, int64_t value) RIA_MUST_USE;

/* The bytes as a JSON string, base64. */
ria_err render_base64(struct ria_buf *out, struct ria_slice bytes) RIA_MUST_USE;

/* Every sequence is well-formed. */
bool render_is_utf8(struct ria_slice text);

/* One JSON value, nothing else. */
bool render_is_json(struct ria_slice text);
