/* queueing: a gateway and a few clients of one queue; who answers what is as in consuming.h. */
#pragma once

#include "common/base.h"
#include "common/err.h"

#include "schemas/gen/queue_ack.h"

#include "services/gateway/queue_acks.h"
#include "tests/unit/services/gateway/consuming.h"

enum { QUEUEING_LEASE = 11, QUEUEING_BODY_MAX = 2048 };

#define QUEUEING_PATH "/v1/queues/one/g"

struct queueing {
    struct consuming c;
    struct world_topic *dead; /* "one.g.dead", one partition */
    bool finished;            /* of what is refused by queueing_say() */
};

void queueing_init(struct queueing *s);
void queueing_fini(struct queueing *s);

/* A request of client i with this JSON. */
void queueing_call(
    struct queueing *s, int i, const char *method, const char *path, const char *body
);

/* Answer a Receive: [first, last] of partition 0 under QUEUEING_LEASE. */
void queueing_grant(struct queueing *s, int64_t first, int64_t last, bool unsettled);

/* Answer an Ack: each entry has its error. */
void queueing_say(struct queueing *s, const ria_err *errs, uint32_t count);

/* Is entry i that verb, of these offsets, under QUEUEING_LEASE? */
bool queueing_is_entry(
    const struct queue_ack *ack, uint32_t i, queue_verb verb, int64_t first, int64_t last
);

/* Answer a Fetch: a batch at the offset; keys: one character for each record, '-' is no key. at_ms:
 * its delivery time, 0 = none. */
void queueing_give(struct queueing *s, int64_t offset, const char *keys, int64_t at_ms);

/* Client 0 has three records without keys from offset 7 on. */
void queueing_receive_three(struct queueing *s);

/* The value of the last member of this name that is a string in client i's answer, as a JSON
 * string. */
const char *queueing_last_text(
    const struct queueing *s, int i, const char *member, char out[CONSUMING_PATH_MAX]
);

/* {"locks":LOCKS,...} of what client 0 received. */
const char *
queueing_with_locks(const struct queueing *s, const char *rest, char out[QUEUEING_BODY_MAX]);
