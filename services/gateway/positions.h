/* positions: where in each partition somebody begins to read: both ends, the first record at or
 * after a time, or an offset that is looked at. Asked of the leaders, many at a time.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"

#include "services/gateway/leader_call.h"

typedef enum position_kind {
    POSITION_EARLIEST,
    POSITION_LATEST,
    POSITION_TIME,
    POSITION_OFFSET,
} position_kind;

struct position {
    int32_t partition;
    position_kind kind;
    int64_t value; /* of POSITION_TIME: ms since 1970; of POSITION_OFFSET: the offset */
    /* out */
    bool known;     /* the leader has answered */
    int64_t offset; /* -1: not known */
    int64_t log_start;
    int64_t high_watermark;
    ria_err err; /* if it is not known */
};

/* It was said where the log begins and ends, and the offset is in between. */
static inline bool position_is_in_range(const struct position *position)
{
    return !position->known || (position->offset >= position->log_start &&
                                position->offset <= position->high_watermark);
}

typedef void (*positions_fn)(void *arg);

/* Fills items in. A partition whose leader does not answer in time stays unknown; an offset that is
 * only looked at is waited for no longer than POSITION_LOOK_MS. done runs once, never from inside.
 * The arena and items live until then. Errors: RIA_ERR_NOMEM. */
enum { POSITION_LOOK_MS = 2000 };
ria_err positions_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct cluster_topic *topic,
    struct position *items,
    uint32_t count,
    uint32_t timeout_ms,
    positions_fn done,
    void *arg
) RIA_MUST_USE;
