/* render_v2: records as Confluent's REST Proxy v2 shows them to consumers.
 *
 *   {"topic":"t","key":"azE=","value":"eyJhIjoxfQ==","partition":0,"offset":12}
 *
 * Format binary: base64. Format json: as it is; what is no JSON comes as base64 with a
 * "value_encoding":"base64" (or "key_encoding") beside it. Extras, unless they are not wanted:
 * "timestamp" (ms) and, if there are any, "headers" as Strimzi has them, [{"key":"h","value":
 * base64}].
 *
 * Pure. Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"

struct render_v2 {
    /* the caller's */
    bool is_json;
    bool extras;
    int64_t bytes_max; /* of keys and values of all partitions; at least one record comes */
    size_t size_max;   /* no record is begun once `out` has this many bytes */
    /* so far, of all partitions */
    int64_t bytes;
    uint32_t count;
};

/* Appends the records from `offset` on of whole batches of one partition, as far as the limits go,
 * with commas between all records of render->count. *out_next is behind the last record, or the
 * last batch if all of it was read; not less than offset.
 * Errors: RIA_ERR_MALFORMED, RIA_ERR_UNSUPPORTED (compressed), RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err render_v2_batches(
    struct render_v2 *render,
    const char *topic,
    int32_t partition,
    struct ria_slice batches,
    int64_t offset,
    struct ria_buf *out,
    int64_t *out_next
) RIA_MUST_USE;
