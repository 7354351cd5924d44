#include "tests/sim/records.h"

#include "common/assert.h"

enum { VALUE_SIZE = 8, PADDING_MAX = 8 * 1024 };

#define TIMESTAMP_MS INT64_C(1700000000000)

struct ria_slice records_build(
    struct batch_builder *builder,
    uint64_t value,
    uint32_t count,
    uint32_t padding,
    int64_t producer_id,
    int32_t base_sequence
)
{
    static const uint8_t zeros[PADDING_MAX];
    uint8_t bytes[VALUE_SIZE + PADDING_MAX];

    RIA_ASSERT(padding <= sizeof(zeros));
    batch_builder_reset(builder);
    memcpy(bytes + VALUE_SIZE, zeros, padding);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t own = value + i;
        for (int b = 0; b < VALUE_SIZE; b++) {
            bytes[b] = (uint8_t)(own >> (56 - 8 * b));
        }
        ria_err err = batch_builder_add(
            builder,
            TIMESTAMP_MS,
            RIA_SLICE_NULL,
            ria_slice_of(bytes, VALUE_SIZE + padding),
            NULL,
            0
        );
        RIA_ASSERT(err == RIA_OK);
    }
    return batch_builder_finish(
        builder, producer_id, producer_id < 0 ? -1 : 0, producer_id < 0 ? -1 : base_sequence
    );
}

static uint64_t value_of(struct ria_slice bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < VALUE_SIZE; i++) {
        value = value << 8 | bytes.data[i];
    }
    return value;
}

static ria_err
walk_batch(struct ria_slice batch, int64_t offset, records_fn fn, void *arg, int64_t *out_next)
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
        if (record.value.size < VALUE_SIZE) {
            return RIA_ERR_MALFORMED;
        }
        if (record.offset >= offset) {
            fn(arg, record.offset, value_of(record.value));
        }
    }
    *out_next = batch_last_offset(&iter.header) + 1;
    return RIA_OK;
}

ria_err
records_walk(struct ria_slice batches, int64_t offset, records_fn fn, void *arg, int64_t *out_next)
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
