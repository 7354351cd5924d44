/* queue_input: what requests of queues have in common, on top of group_input.h.
 *
 * The functions that return bool answer the request themselves when they return false.
 *
 * Thread: the loop's.
 */
#pragma once

#include "services/gateway/group_input.h"
#include "services/gateway/queue_lock.h"

#define QUEUE_DELAY_MS_MAX (INT64_C(30) * 24 * 60 * 60 * 1000)

enum {
    QUEUE_LOCKS_MAX = 1000, /* of one call */
    QUEUE_REASON_MAX = 255,
};

struct queue_input {
    struct group_input in;
    struct cluster_topic *topic;
};

/* The path's {topic} and {group}. Ended with queue_input_close() if it returned true. */
bool queue_input_open(
    struct queue_input *input,
    struct gateway *gateway,
    struct request *request,
    const char *const *known
);
void queue_input_close(struct queue_input *input);

/* Of the parameter `locks` (or `lock`): a lock each, of this topic and group. The text is a copy.
 */
struct queue_named_lock {
    struct ria_slice text;
    struct queue_lock lock;
};

/* At least one; all of them together have at most QUEUE_LOCK_RANGES_MAX ranges. */
bool queue_input_locks(
    struct queue_input *input, struct queue_named_lock **out_locks, uint32_t *out_count
);

/* "[0,50]" */
ria_err
queue_render_delays(const uint32_t *delays_ms, uint32_t count, struct ria_buf *out) RIA_MUST_USE;
