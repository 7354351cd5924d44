/* queue_acks: what a gateway says of leases by itself: records that were not handed out are given
 * back, records that do not exist any more are finished.
 *
 * Nobody waits for it, and nobody is told: a lease that could not be ended ends at its deadline.
 * What is under way is bounded; past the bound leases are left to end by themselves.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/list.h"
#include "common/slice.h"
#include "common/uuid.h"

#include "services/gateway/group_ops.h"
#include "services/gateway/queue_lock.h"

enum { QUEUE_ACKS_MAX = 1000 };

/* QueueAck.entries.action */
typedef enum queue_verb {
    QUEUE_DONE = 1,
    QUEUE_FAILED = 2,
    QUEUE_EXTEND = 3,
    QUEUE_REJECT = 4,
    QUEUE_GIVE_BACK = 5,
    QUEUE_BURIED = 6,
} queue_verb;

struct queue_acks {
    struct group_ops *ops;
    struct ria_list live;
    uint32_t count;
};

void queue_acks_init(struct queue_acks *acks, struct group_ops *ops);

/* Forgets those under way. */
void queue_acks_fini(struct queue_acks *acks);

/* Everything is copied. At most QUEUE_LOCK_RANGES_MAX ranges count. */
void queue_ack_later(
    struct queue_acks *acks,
    struct ria_slice group,
    const struct ria_uuid *topic_id,
    queue_verb verb,
    const struct queue_range *ranges,
    uint32_t count
);
