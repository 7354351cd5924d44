/* queue_lock: what a consumer of a queue names when it acknowledges: records under a lease.
 *
 * Format: docs/formats/lock.md. As a cursor it is opaque to clients and checked, not secret:
 * everything in it is bytes from a user. One lock may cover several ranges.
 *
 * Pure. Thread: any.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"
#include "common/uuid.h"

enum {
    QUEUE_LOCK_RANGES_MAX = 1000,
    QUEUE_LOCK_TEXT_MAX = 64 * 1024,
};

struct queue_range {
    int32_t partition;
    int64_t lease;
    int64_t first;
    int64_t last;
};

struct queue_lock {
    struct ria_uuid topic_id;
    uint32_t group; /* cursor_group_hash() of its name */
    struct queue_range *ranges;
    uint32_t count;
};

typedef enum lock_verdict {
    LOCK_FINE,
    LOCK_MALFORMED, /* never a lock */
    LOCK_DAMAGED,   /* was one: cut off or changed */
    LOCK_FOREIGN,   /* of another cluster */
    LOCK_NO_MEMORY,
} lock_verdict;

/* Appends the text. 1 to QUEUE_LOCK_RANGES_MAX ranges in any order, offsets not negative: else it
 * is our bug. Errors: those of the buffer and of the arena, which is used on the way. */
ria_err queue_lock_encode(
    const struct queue_lock *lock,
    const struct ria_uuid *cluster_id,
    struct ria_arena *arena,
    struct ria_buf *out
) RIA_MUST_USE;

/* The ranges are in the arena. Without LOCK_FINE nothing is written to *out_lock. */
lock_verdict queue_lock_decode(
    struct ria_slice text,
    const struct ria_uuid *cluster_id,
    struct ria_arena *arena,
    struct queue_lock *out_lock
) RIA_MUST_USE;

/* For people. Not of LOCK_FINE. */
const char *lock_verdict_text(lock_verdict verdict);
