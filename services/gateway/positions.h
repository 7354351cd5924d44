/* positions: where in each partition somebody begins to read, or how far it goes: both ends, the
 * first record at or after a time, or an offset that is looked at. Asked of the leaders, many at a
 * time. As offsets.h, which asks for all partitions of one topic; here the caller chooses.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"

#include "services/gateway/leader_lanes.h"

typedef enum position_kind {
    POSITION_EARLIEST,
    POSITION_LATEST,
    POSITION_TIME, /* the end, if nothing is as new as that */
    POSITION_OFFSET,
} position_kind;

struct position {
    struct cluster_partition *partition;
    position_kind kind;
    int64_t value;           /* of POSITION_TIME: ms since 1970; of POSITION_OFFSET: the offset */
    int64_t expected_offset; /* of others: is refused if it is past the end, so that is certain */
    /* out */
    bool known;     /* the leader has answered in time */
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

/* Of an offset that a leader has called out of range: by what was heard since it is not. Whoever
 * said so was deposed, and his successor has more; he is asked next time. */
static inline bool position_range_has(const struct position *position, int64_t offset)
{
    return position->known && offset >= position->log_start && offset <= position->high_watermark;
}

struct positions;
typedef void (*positions_fn)(struct positions *positions);

/* In an arena that lives until done has run. */
struct positions {
    struct position *items;
    uint32_t count;
    void *arg;
    /* private */
    struct leader_lanes lanes;
    positions_fn done;
};

/* Fills items in. A partition whose leader does not answer in time stays unknown; an offset that is
 * only looked at is waited for no longer than POSITION_LOOK_MS. done runs once, never from inside;
 * count > 0. The arena and items live until then. Errors: those of the arena, and done does not
 * run. */
enum { POSITION_LOOK_MS = 2000 };
ria_err positions_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct position *items,
    uint32_t count,
    uint32_t timeout_ms,
    positions_fn done,
    void *arg
) RIA_MUST_USE;
