/* offsets: both ends of every partition of a topic, asked of the leaders.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"

#include "services/gateway/leader_lanes.h"

struct offsets_of {
    bool known; /* the leader answered in time */
    int64_t log_start;
    int64_t high_watermark;
};

struct offsets_call;
typedef void (*offsets_fn)(struct offsets_call *call);

/* In an arena that lives until done has run. */
struct offsets_call {
    struct cluster_topic *topic;
    struct offsets_of *items; /* topic->partition_count of them, or as many as there were */
    int32_t count;
    void *arg;
    /* private */
    struct leader_lanes lanes;
    offsets_fn done;
};

/* done runs once, never from inside. Errors: RIA_ERR_NOMEM. */
ria_err offsets_start(
    struct leader_calls *leaders,
    struct ria_arena *arena,
    struct cluster_topic *topic,
    uint32_t timeout_ms,
    offsets_fn done,
    void *arg
) RIA_MUST_USE;

/* Decode the reply of a LIST_OFFSETS call. */
struct list_offsets_response;
ria_err
offsets_decode(const struct leader_reply *reply, struct list_offsets_response *out) RIA_MUST_USE;
