/* failure_record: what goes to the errors topic when a record cannot be processed.
 *
 *   {"error":"malformed JSON",
 *    "source":{"topic":"packages","partition":0,"offset":17,"timestamp":1700000000000},
 *    "key":"zlib1g","value":"{oops"}
 *
 * Key and value are the input's: null, a string, or {"base64":"..."} where they are no UTF-8. What
 * is too large for a record is cut: then "truncated":true is added.
 *
 * Pure. Thread: any.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"

#include "schemas/batch.h"

enum {
    FAILURE_RECORD_REASON_MAX = 320, /* bytes of the reason */
    FAILURE_RECORD_FIELD_MAX = 256 * 1024,
    /* A record without key and value is not larger than this. */
    FAILURE_RECORD_SIZE_MIN = 640,
};

/* Replaces what is in out; at most size_max (>= FAILURE_RECORD_SIZE_MIN) bytes.
 * Errors: RIA_ERR_NOMEM. */
ria_err failure_record_build(
    struct ria_buf *out,
    const char *topic,
    int32_t partition,
    const struct batch_record *record,
    const char *reason,
    size_t size_max
) RIA_MUST_USE;
