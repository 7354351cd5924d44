#include "tests/sim/records.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/assert.h"

#include "tests/sim/history.h"

enum { VALUE_DIGITS = 16 };

#define TIMESTAMP_MS INT64_C(1700000000000)

static const char prefix[] = "{\"v\":\"";

size_t records_text(uint64_t value, uint32_t padding, char *out)
{
    RIA_ASSERT(padding <= RECORDS_PADDING_MAX);

    int size = snprintf(
        out,
        RECORDS_TEXT_MAX,
        "%s%016" PRIx64 "\",\"n\":%" PRIu32 ",\"p\":\"",
        prefix,
        value,
        history_value_number(value)
    );
    memset(out + size, 'x', padding);
    memcpy(out + (size_t)size + padding, "\"}", 3);
    return (size_t)size + padding + 2;
}

size_t records_key(uint64_t value, uint32_t key_count, char *out)
{
    if (key_count == 0) {
        return 0;
    }
    return (size_t)snprintf(out, 16, "k%" PRIu32, history_value_number(value) % key_count);
}

bool records_parse(struct ria_slice text, uint64_t *out_value)
{
    size_t skip = sizeof(prefix) - 1;
    uint64_t value = 0;

    if (text.size < skip + VALUE_DIGITS + 1 || memcmp(text.data, prefix, skip) != 0 ||
        text.data[skip + VALUE_DIGITS] != '"') {
        return false;
    }
    for (size_t i = skip; i < skip + VALUE_DIGITS; i++) {
        uint8_t digit = text.data[i];
        bool is_number = digit >= '0' && digit <= '9';
        if (!is_number && (digit < 'a' || digit > 'f')) {
            return false;
        }
        value = value << 4 | (uint64_t)(is_number ? digit - '0' : digit - 'a' + 10);
    }
    *out_value = value;
    return true;
}

struct ria_slice records_build(struct batch_builder *builder, const struct records_spec *spec)
{
    char text[RECORDS_TEXT_MAX];
    char key[16];
    char at[24];
    struct batch_record_header header = {.name = RIA_SLICE_LITERAL("riacho-deliver-at")};
    bool is_numbered = spec->producer_id >= 0;

    (void)snprintf(at, sizeof(at), "%" PRId64, spec->deliver_at_ms);
    header.value = ria_slice_cstr(at);
    batch_builder_reset(builder);
    for (uint32_t i = 0; i < spec->count; i++) {
        size_t size = records_text(spec->value + i, spec->padding, text);
        size_t key_size = records_key(spec->value + i, spec->key_count, key);
        ria_err err = batch_builder_add(
            builder,
            TIMESTAMP_MS,
            key_size == 0 ? RIA_SLICE_NULL : ria_slice_of(key, key_size),
            ria_slice_of(text, size),
            &header,
            spec->deliver_at_ms != 0 ? 1 : 0
        );
        RIA_ASSERT(err == RIA_OK);
    }
    return batch_builder_finish(
        builder, spec->producer_id, is_numbered ? 0 : -1, is_numbered ? spec->base_sequence : -1
    );
}

static ria_err walk_batch(
    struct ria_slice batch, int64_t offset, records_keyed_fn fn, void *arg, int64_t *out_next
)
{
    struct batch_iter iter;
    struct batch_record record;
    bool more = true;

    RIA_TRY(batch_check_crc(batch));
    RIA_TRY(batch_iter_init(&iter, batch));
    for (;;) {
        RIA_TRY(batch_iter_next(&iter, &record, &more));
        if (!more) {
            break;
        }
        uint64_t value = 0;
        if (!records_parse(record.value, &value)) {
            return RIA_ERR_MALFORMED;
        }
        if (record.offset >= offset) {
            fn(arg, record.offset, value, record.key);
        }
    }
    *out_next = batch_last_offset(&iter.header) + 1;
    return RIA_OK;
}

ria_err records_walk_keyed(
    struct ria_slice batches, int64_t offset, records_keyed_fn fn, void *arg, int64_t *out_next
)
{
    struct batch_header header;

    *out_next = offset;
    while (batches.size > 0) {
        RIA_TRY(batch_header_decode(batches, &header));
        size_t size = batch_size(&header);
        if (size > batches.size) {
            return RIA_ERR_MALFORMED;
        }
        RIA_TRY(walk_batch(ria_slice_sub(batches, 0, size), offset, fn, arg, out_next));
        batches = ria_slice_sub(batches, size, batches.size - size);
    }
    return RIA_OK;
}

struct without_key {
    records_fn fn;
    void *arg;
};

static void drop_key(void *arg, int64_t offset, uint64_t value, struct ria_slice key)
{
    const struct without_key *without = arg;

    (void)key;
    without->fn(without->arg, offset, value);
}

ria_err
records_walk(struct ria_slice batches, int64_t offset, records_fn fn, void *arg, int64_t *out_next)
{
    struct without_key without = {.fn = fn, .arg = arg};

    return records_walk_keyed(batches, offset, drop_key, &without, out_next);
}
