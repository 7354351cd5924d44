#include "services/gateway/deliver_at.h"

#include <inttypes.h>
#include <stdio.h>

#include "services/gateway/stream_query.h"

enum { TEXT_MAX = 40 };

/* Decimal digits, without a sign. */
static bool parse_digits(struct ria_slice text, int64_t *out)
{
    int64_t value = 0;

    if (text.size == 0 || text.size > 18) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    *out = value;
    return true;
}

int64_t deliver_at_of(const struct batch_record *record)
{
    struct ria_slice rest = record->headers;
    struct batch_record_header header;
    bool more = true;
    int64_t at_ms = 0;

    for (uint32_t i = 0; i < record->header_count; i++) {
        if (batch_record_header_next(&rest, &header, &more) != RIA_OK || !more) {
            break;
        }
        if (ria_slice_equal(header.name, RIA_SLICE_LITERAL(DELIVER_AT_HEADER)) &&
            parse_digits(header.value, &at_ms)) {
            return at_ms;
        }
    }
    return 0;
}

bool deliver_at_parse(struct ria_slice text, int64_t *out_ms)
{
    return parse_digits(text, out_ms) || (stream_query_time(text, out_ms) && *out_ms >= 0);
}

const char *deliver_at_rule(struct ria_slice value, int64_t max_ms)
{
    int64_t at_ms = 0;

    if (!parse_digits(value, &at_ms)) {
        return "must be milliseconds since 1970";
    }
    return at_ms <= max_ms ? NULL : "may be at most 30 days ahead";
}

bool deliver_at_header(struct ria_arena *arena, int64_t at_ms, struct batch_record_header *out)
{
    char *text = ria_arena_alloc(arena, TEXT_MAX);

    if (text == NULL) {
        return false;
    }
    int size = snprintf(text, TEXT_MAX, "%" PRId64, at_ms);
    out->name = RIA_SLICE_LITERAL(DELIVER_AT_HEADER);
    out->value = ria_slice_of(text, (size_t)size);
    return true;
}
