/* consumer_hold: an instance takes hold of partitions without reading them.
 *
 *   ends of the partitions (their leaders) -> Read with starts, and ends that are never reached
 *
 * What has no position gets one, by auto.offset.reset. With `holds` the instance also has the
 * leases afterwards: then it may say where to go on.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"

#include "schemas/gen/group_read.h"

#include "services/gateway/consumer_input.h"
#include "services/gateway/positions.h"

struct consumer_hold;
/* failure NULL: done. */
typedef void (*consumer_hold_fn)(struct consumer_hold *hold, const struct failure *failure);

/* In the request's arena. */
struct consumer_hold {
    /* the caller's */
    struct consumer_call *call;
    struct consumer_at *at; /* sorted here */
    uint32_t count;
    bool holds;
    consumer_hold_fn done;
    void *arg;
    /* out, in the order of at */
    struct position *found;
    int64_t *leases; /* 0: somebody else has it */
    /* private */
    struct group_read body;
};

/* By topic and partition. Returns false if one is there twice. */
bool consumer_sort(struct consumer_at *at, uint32_t count);

/* done runs once, never from inside; count > 0. Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT, and done does
 * not run. */
ria_err consumer_hold_start(struct consumer_hold *hold) RIA_MUST_USE;
