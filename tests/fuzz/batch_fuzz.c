/* batch_fuzz: the first byte chooses what the rest is.
 *
 * 0: bytes from a peer, as they are. 1: the same with length and CRC put right, so that the checks
 * behind them are reached. Others: a script of records for the builder, whose batch must be
 * accepted and give the records back. What can be read is built again and must read the same.
 */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/codec.h"
#include "common/crc.h"
#include "common/limits.h"

#include "schemas/batch.h"

enum { HEADERS_MAX = 8, RECORDS_MAX = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly its size, for the address sanitizer. */
static uint8_t *copy_of(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    RIA_ASSERT(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

static uint64_t sum_of(uint64_t sum, struct ria_slice bytes)
{
    uint8_t is_null = ria_slice_is_null(bytes);

    return sum * 31 + ria_crc32c_extend(ria_crc32c(&is_null, 1), bytes.data, bytes.size);
}

/* Adds the record to the builder, and to the checksum over what records say. */
static ria_err
take_record(struct batch_builder *builder, const struct batch_record *record, uint64_t *sum)
{
    struct batch_record_header headers[HEADERS_MAX];
    struct ria_slice cursor = record->headers;
    uint32_t count = 0;
    bool more = true;

    *sum = sum_of(sum_of(*sum + (uint64_t)record->timestamp_ms, record->key), record->value);
    while (true) {
        struct batch_record_header header;
        ria_err err = batch_record_header_next(&cursor, &header, &more);
        RIA_ASSERT(err == RIA_OK); /* iter_next has checked them */
        if (!more) {
            break;
        }
        *sum = sum_of(sum_of(*sum, header.name), header.value);
        if (count < HEADERS_MAX) {
            headers[count] = header;
        }
        count++;
    }
    RIA_ASSERT(count == record->header_count);
    if (builder == NULL) {
        return RIA_OK;
    }
    if (count > HEADERS_MAX) {
        return RIA_ERR_LIMIT;
    }
    return batch_builder_add(
        builder, record->timestamp_ms, record->key, record->value, headers, count
    );
}

/* Reads every record. builder may be NULL; *out_built: it took them all. */
static ria_err
read_all(struct ria_slice data, struct batch_builder *builder, uint64_t *out_sum, bool *out_built)
{
    struct batch_iter iter;
    struct batch_record record;
    int64_t last_offset = -1;
    int32_t count = 0;
    bool more = true;

    *out_sum = 0;
    *out_built = true;
    RIA_TRY(batch_iter_init(&iter, data));
    while (true) {
        RIA_TRY(batch_iter_next(&iter, &record, &more));
        if (!more) {
            RIA_ASSERT(count == iter.header.record_count);
            return RIA_OK;
        }
        RIA_ASSERT(count == 0 || record.offset > last_offset);
        RIA_ASSERT(record.offset <= batch_last_offset(&iter.header));
        last_offset = record.offset;
        count++;
        if (take_record(builder, &record, out_sum) != RIA_OK) {
            *out_built = false;
            builder = NULL;
        }
    }
}

/* What can be read must be built again to something that is accepted and reads the same. */
static void read_and_rebuild(struct ria_slice data)
{
    struct batch_builder builder;
    struct batch_header header;
    const char *reason = NULL;
    uint64_t sum = 0;
    uint64_t sum_again = 0;
    bool built = false;

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    if (read_all(data, &builder, &sum, &built) == RIA_OK && built && builder.record_count > 0) {
        struct ria_slice batch = batch_builder_finish(&builder, 1, 2, INT32_MAX);
        ria_err err = batch_validate(batch, RIA_BATCH_SIZE_MAX, &header, &reason);
        RIA_ASSERT(err == RIA_OK);
        RIA_ASSERT(header.record_count == builder.record_count);
        RIA_ASSERT(batch_last_sequence(&header) >= 0);
        err = read_all(batch, NULL, &sum_again, &built);
        RIA_ASSERT(err == RIA_OK);
        RIA_ASSERT(sum_again == sum);
    }
    batch_builder_fini(&builder);
}

static void validate(struct ria_slice batch)
{
    struct batch_header header;
    struct batch_iter iter;
    const char *reason = NULL;

    if (batch_validate(batch, RIA_BATCH_SIZE_MAX, &header, &reason) != RIA_OK) {
        RIA_ASSERT(reason != NULL);
        return;
    }
    ria_err err = batch_check_crc(batch);
    RIA_ASSERT(err == RIA_OK);
    RIA_ASSERT(batch_size(&header) == batch.size);
    err = batch_iter_init(&iter, batch);
    RIA_ASSERT(err == RIA_OK);
}

static void repair(uint8_t *batch, size_t size)
{
    if (size < BATCH_HEADER_SIZE) {
        return;
    }
    struct ria_writer w = ria_writer_of(batch, BATCH_HEADER_SIZE);
    w.pos = BATCH_LENGTH_FROM - sizeof(uint32_t);
    ria_write_u32(&w, (uint32_t)(size - BATCH_LENGTH_FROM));
    w.pos = BATCH_CRC_AT;
    ria_write_u32(&w, ria_crc32c(batch + BATCH_CRC_FROM, size - BATCH_CRC_FROM));
}

/* A length byte and so many bytes; 255 is null. */
static struct ria_slice script_bytes(struct ria_reader *r)
{
    size_t size = ria_read_u8(r);

    return size == UINT8_MAX ? RIA_SLICE_NULL
                             : ria_read_bytes(r, ria_min_size(size, ria_reader_left(r)));
}

static void build_from_script(struct ria_slice script)
{
    struct ria_reader r = ria_reader_of(script);
    struct batch_builder builder;
    size_t size_max = ria_read_u16(&r);

    batch_builder_init(&builder, size_max);
    for (int i = 0; i < RECORDS_MAX && ria_reader_left(&r) > 0; i++) {
        struct batch_record_header headers[HEADERS_MAX];
        int64_t timestamp_ms = ria_read_i64(&r);
        struct ria_slice key = script_bytes(&r);
        struct ria_slice value = script_bytes(&r);
        uint32_t header_count = ria_read_u8(&r) % HEADERS_MAX;
        for (uint32_t h = 0; h < header_count; h++) {
            headers[h] = (struct batch_record_header){script_bytes(&r), script_bytes(&r)};
        }
        size_t size_before = builder.buf.size;
        size_t size_with = batch_builder_size_with(
            &builder, ria_max_i64(timestamp_ms, -1), key, value, headers, header_count
        );
        ria_err err = batch_builder_add(&builder, timestamp_ms, key, value, headers, header_count);
        if (err == RIA_OK) {
            RIA_ASSERT(builder.buf.size == size_with && size_with <= size_max);
        } else {
            RIA_ASSERT(builder.buf.size == size_before);
            RIA_ASSERT((err == RIA_ERR_LIMIT) == (timestamp_ms >= -1 && size_with > size_max));
        }
    }
    if (builder.record_count > 0) {
        struct ria_slice batch = batch_builder_finish(&builder, -1, -1, -1);
        validate(batch);
        read_and_rebuild(batch);
    }
    batch_builder_fini(&builder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    uint8_t *copy = copy_of(data + 1, size - 1);
    struct ria_slice rest = ria_slice_of(copy, size - 1);
    if (data[0] == 1) {
        repair(copy, rest.size);
    }
    if (data[0] <= 1) {
        validate(rest);
        read_and_rebuild(rest);
    } else {
        build_from_script(rest);
    }
    free(copy);
    return 0;
}
