/* replication: a worker that carries batches from the leaders of its partitions to their followers.
 *
 * Promises: what it appends to a follower is what the leader's log holds, in order, under the
 * leader's epoch; it holds no truth, so it may be killed, doubled or replaced at any moment.
 * Partitions are leased by hash over the live workers (leases.h). Two workers on one partition do
 * no harm: offsets must join and epochs must match.
 *
 * Thread: one loop owns everything.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/metrics.h"

struct replication;

struct replication_options {
    const char *coordinator;           /* tcp://host:port, several separated by commas */
    int64_t catch_up_bytes_per_second; /* for followers that are far behind; 0 = unlimited */
};

/* Errors: RIA_ERR_NOMEM. */
ria_err replication_new(
    const struct ria_env *env,
    const struct replication_options *options,
    struct replication **out_replication
) RIA_MUST_USE;

/* Begin to heartbeat, to pull metadata and to work. */
void replication_start(struct replication *replication);

/* It is to end: say so, that others take over its leases at once, and go on until *out_done. Free
 * it then; nothing is lost if it is freed before. */
void replication_stop(struct replication *replication, bool *out_done);

void replication_register_metrics(struct replication *replication, struct ria_metrics *metrics);

/* Every call under way must have ended (ria_net_free, or the simulator's crash). Accepts NULL. */
void replication_free(struct replication *replication);

/* Invariants; aborts on a broken one. */
void replication_check(const struct replication *replication);
