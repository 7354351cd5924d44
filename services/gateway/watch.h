/* watch: many clients that wait for new records, in one parked request per storage node.
 *
 * A wait ends when the high watermark of its partition is past its offset, when the leader cannot
 * tell (then the next fetch will say why), or at its deadline. One that says so ends when the
 * leader's log is past the offset, too: what is there will be committed in a moment, mostly. A node
 * is told anew, with the same watch id, a moment after its waits changed.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/timers.h"

#include "services/gateway/outcall.h"
#include "services/shared/cluster.h"

struct marks;

struct watches {
    const struct ria_env *env;
    struct cluster *cluster;
    struct marks *marks;
    struct outcalls outcalls;
    int64_t watch_id;
    struct ria_list nodes;
    struct ria_list homeless; /* waits for partitions without a leader */
};

/* Storage is the caller's until done runs. */
struct watch_wait {
    struct cluster_partition *partition;
    int64_t offset;
    bool ahead; /* what is not committed yet will do */
    int64_t deadline_us;
    void (*done)(struct watch_wait *wait, bool moved);
    void *arg;
    /* set before done, if it moved */
    ria_err err;            /* the leader cannot tell */
    int64_t high_watermark; /* else; if it is ahead, that may not be past the offset */
    /* private */
    struct watches *watches;
    struct ria_list link;
    struct ria_timer timer;
};

/* marks hear of all that an answer names before anybody who waits is told of any. */
void watches_init(
    struct watches *watches, const struct ria_env *env, struct cluster *cluster, struct marks *marks
);

/* Forgets everybody who waits. */
void watches_fini(struct watches *watches);

/* done runs exactly once, never from inside. */
void watch_start(struct watches *watches, struct watch_wait *wait);

/* done will not run. The node may keep watching it until it is told anew. */
void watch_cancel(struct watch_wait *wait);

/* Every wait ends now, as at its deadline. */
void watches_end(struct watches *watches);

/* The cluster's view changed: waits move to the leaders of now. */
void watches_view_changed(struct watches *watches);
