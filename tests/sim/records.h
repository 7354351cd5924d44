/* records: record batches whose records carry a value of their own (history.h), as JSON:
 *
 *     {"v":"0000000300000011","n":17,"p":"xxxx"}
 *
 * v is the value in hexadecimal, n its number, p padding. Whatever a transform makes of it begins
 * with the same member.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

#include "schemas/batch.h"

enum { RECORDS_PADDING_MAX = 8 * 1024, RECORDS_TEXT_MAX = RECORDS_PADDING_MAX + 64 };

struct records_spec {
    uint64_t value; /* of the first one */
    uint32_t count;
    uint32_t padding;   /* bytes per record */
    uint32_t key_count; /* 0 = no keys */
    int64_t producer_id;
    int32_t base_sequence;
    int64_t deliver_at_ms; /* all of them; 0 = at once */
};

/* The slice belongs to the builder, which the caller has initialised; what it held is gone. */
struct ria_slice records_build(struct batch_builder *builder, const struct records_spec *spec);

/* One record's value as it is stored; out has RECORDS_TEXT_MAX bytes. Returns its size. */
size_t records_text(uint64_t value, uint32_t padding, char *out);

/* "k3" for one of key_count keys; out has 16 bytes. Returns its size, 0 for key_count 0. */
size_t records_key(uint64_t value, uint32_t key_count, char *out);

/* False: none of ours. */
bool records_parse(struct ria_slice text, uint64_t *out_value);

typedef void (*records_fn)(void *arg, int64_t offset, uint64_t value);

/* key: null = none; good during the call. */
typedef void (*records_keyed_fn)(void *arg, int64_t offset, uint64_t value, struct ria_slice key);

/* Call fn for each record of a run of whole batches that is at `offset` or behind it. *out_next is
 * the offset behind the last one. Every CRC is checked. Errors: RIA_ERR_CORRUPT, RIA_ERR_MALFORMED
 * (also a record that is none of ours). */
ria_err records_walk(
    struct ria_slice batches, int64_t offset, records_fn fn, void *arg, int64_t *out_next
) RIA_MUST_USE;

/* The same, with keys. */
ria_err records_walk_keyed(
    struct ria_slice batches, int64_t offset, records_keyed_fn fn, void *arg, int64_t *out_next
) RIA_MUST_USE;
