#include "services/gateway/redrive_filter.h"

#include <string.h>

#include "services/gateway/queue_names.h"
#include "services/gateway/request.h"

static bool is_dead_header(struct ria_slice name)
{
    size_t size = strlen(DEAD_HEADER_PREFIX);

    return name.size > size && memcmp(name.data, DEAD_HEADER_PREFIX, size) == 0;
}

/* The last one of that name: a letter may have died before. Null: there is none. */
static struct ria_slice header_of(const struct batch_record *letter, const char *name)
{
    struct ria_slice rest = letter->headers;
    struct ria_slice found = RIA_SLICE_NULL;
    struct batch_record_header header;
    bool more = true;

    for (uint32_t i = 0; i < letter->header_count; i++) {
        if (batch_record_header_next(&rest, &header, &more) != RIA_OK || !more) {
            break;
        }
        if (ria_slice_equal(header.name, ria_slice_cstr(name))) {
            found = header.value;
        }
    }
    return found;
}

bool redrive_matches(const struct redrive_filter *filter, const struct batch_record *letter)
{
    struct ria_slice reason = header_of(letter, DEAD_HEADER_PREFIX "reason");
    int64_t time_ms = 0;

    if (!ria_slice_equal(header_of(letter, DEAD_HEADER_PREFIX "topic"), filter->topic) ||
        !ria_slice_equal(header_of(letter, DEAD_HEADER_PREFIX "group"), filter->group)) {
        return false;
    }
    if (filter->reason.data != NULL &&
        !ria_slice_equal(ria_slice_sub(reason, 0, filter->reason.size), filter->reason)) {
        return false;
    }
    if (filter->key.data != NULL &&
        (letter->key.data == NULL || !ria_slice_equal(letter->key, filter->key))) {
        return false;
    }
    if (!request_parse_i64(header_of(letter, DEAD_HEADER_PREFIX "time"), &time_ms)) {
        return filter->from_ms == 0 && filter->to_ms == INT64_MAX;
    }
    return time_ms >= filter->from_ms && time_ms < filter->to_ms;
}

ria_err redrive_record(
    const struct batch_record *letter,
    int32_t partition_count,
    struct ria_arena *arena,
    struct produce_record *out
)
{
    struct batch_record_header *headers =
        ria_arena_alloc_array(arena, letter->header_count, sizeof(*headers));
    struct ria_slice rest = letter->headers;
    bool more = true;
    int64_t partition = -1;
    uint32_t count = 0;

    if (headers == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t i = 0; i < letter->header_count && more; i++) {
        RIA_TRY(batch_record_header_next(&rest, &headers[count], &more));
        count += more && !is_dead_header(headers[count].name);
    }
    if (!request_parse_i64(header_of(letter, DEAD_HEADER_PREFIX "partition"), &partition) ||
        partition < 0 || partition >= partition_count) {
        partition = -1;
    }
    *out = (struct produce_record){
        .timestamp_ms = letter->timestamp_ms,
        .partition = (int32_t)partition,
        .key = letter->key,
        .value = letter->value,
        .headers = headers,
        .header_count = count,
    };
    return RIA_OK;
}
