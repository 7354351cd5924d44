/* offset_lookup: ends of many partitions, and offsets by time, asked of their leaders.
 *
 * As offsets.h, which asks for all partitions of one topic; here the caller chooses.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"

#include "services/gateway/leader_call.h"

struct offset_lookup {
    /* the caller's */
    struct cluster_partition *partition;
    int64_t timestamp; /* -1: only the ends */
    /* out */
    bool known; /* the leader answered in time */
    int64_t log_start;
    int64_t high_watermark;
    int64_t offset; /* first one at or after the time; -1: there is none */
};

struct offset_lookups;
typedef void (*offset_lookups_fn)(struct offset_lookups *lookups);

/* In an arena that lives until done has run. */
struct offset_lookups {
    struct offset_lookup *items;
    uint32_t count;
    void *arg;
    /* private */
    struct leader_calls *leaders;
    int64_t deadline_us;
    uint32_t next;
    uint32_t under_way;
    offset_lookups_fn done;
};

/* done runs once, never from inside; count > 0. Errors: those of the arena, and done does not run.
 */
ria_err offset_lookups_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct offset_lookup *items,
    uint32_t count,
    uint32_t timeout_ms,
    offset_lookups_fn done,
    void *arg
) RIA_MUST_USE;
