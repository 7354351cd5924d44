/* record_times: when the records at given offsets of many partitions were made.
 *
 * Each is read from its leader, the least there is: one batch. Few are under way at a time, and a
 * batch is looked at as it comes and not kept.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"

#include "services/gateway/leader_lanes.h"

struct record_time {
    /* the caller's */
    struct cluster_partition *partition;
    int64_t offset;
    /* out: of the first record at or behind the offset; -1: not known */
    int64_t time_ms;
};

struct record_times;
typedef void (*record_times_fn)(struct record_times *times);

/* In an arena that lives until done has run. */
struct record_times {
    struct record_time *items;
    uint32_t count;
    void *arg;
    /* private */
    struct leader_lanes lanes;
    record_times_fn done;
};

/* done runs once, never from inside; count > 0. Errors: those of the arena, and done does not run.
 */
ria_err record_times_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct record_time *items,
    uint32_t count,
    uint32_t timeout_ms,
    record_times_fn done,
    void *arg
) RIA_MUST_USE;
