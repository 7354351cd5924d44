/* group_watch: clients of groups and queues that wait for something to do.
 *
 * Who got nothing waits here for one of three things: records behind the positions it was offered
 * (watched at the storage nodes, watch.h), a change of its group (one watch of all groups of this
 * gateway at the coordinator, WatchGroups; each request tells only what is new), or a time at which
 * a lease or a delay is over. It costs nothing until then.
 *
 * Those who may do the same work form a line: consumers of one group under one member name (none is
 * one, too). A line has one set of watched partitions, whoever of it was offered them. What happens
 * wakes as many of a line as there may be work for, the oldest first: one for each partition that
 * has records, one for a time, one for each change of the group, and one of every line of a named
 * member, since a change may concern each. Whoever is woken and leaves work behind, or fails, says
 * so (group_watch_pass_on). Who asks the coordinator tells what it was told even if it does not
 * wait (group_watch_note): the others of its line wait for that, too.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/list.h"
#include "common/map.h"
#include "common/metrics.h"
#include "common/slice.h"
#include "common/timers.h"

#include "services/gateway/marks.h"
#include "services/gateway/outcall.h"
#include "services/gateway/watch.h"
#include "services/shared/cluster.h"

typedef enum group_wake {
    GROUP_WAKE_WORK,     /* there may be something: ask again */
    GROUP_WAKE_DEADLINE, /* or the gateway ends */
} group_wake;

struct group_line;

/* What the coordinator said last. The names are copied; what the rest points to is borrowed for
 * the call. */
struct group_news {
    struct ria_slice group;
    struct ria_slice member;       /* empty: none */
    int64_t changed;               /* the group's change number; -1: not known */
    int64_t retry_after_ms;        /* something may be free then; -1: nothing is to be waited for */
    const struct marks_at *offers; /* positions that wait for records */
    uint32_t offer_count;
    bool ahead; /* records that will be committed in a moment are work, too */
};

/* Storage is the caller's until done runs. */
struct group_wait {
    /* the caller's */
    const struct ria_uuid *topics; /* what it reads; lives as long. NULL: anything of the line */
    uint32_t topic_count;
    int64_t deadline_us;
    void (*done)(struct group_wait *wait, group_wake why);
    void *arg;
    /* private */
    struct group_line *line;
    struct ria_list link;
    struct ria_timer timer;
    int64_t changed;
    bool is_stale; /* the group has changed since */
};

struct group_watch_metrics {
    struct ria_gauge waiting;
    struct ria_counter woken; /* not at the deadline */
};

struct group_watch {
    const struct ria_env *env;
    struct cluster *cluster;
    struct watches *watches;
    struct marks *marks;
    struct outcalls outcalls;
    struct ria_map groups; /* name -> struct watched_group */
    int64_t watch_id;
    int64_t sequence;       /* of the last request of the watch, 0 = it begins anew */
    struct ria_list untold; /* groups that the coordinator does not know to be watched */
    struct ria_list gone;   /* and those that it does not know to be gone */
    uint32_t gone_count;
    uint32_t calls; /* under way */
    struct ria_timer tell;
    struct group_watch_metrics numbers;
};

void group_watch_init(
    struct group_watch *watch,
    const struct ria_env *env,
    struct cluster *cluster,
    struct watches *watches,
    struct marks *marks
);

/* Forgets everybody who waits. */
void group_watch_fini(struct group_watch *watch);

/* done runs exactly once, never from inside. Errors: RIA_ERR_NOMEM, after which it does not run. */
ria_err group_wait_start(
    struct group_watch *watch, struct group_wait *wait, const struct group_news *news
) RIA_MUST_USE;

/* done will not run. */
void group_wait_cancel(struct group_watch *watch, struct group_wait *wait);

/* For those of the line who wait. No memory: they hear of it later. */
void group_watch_note(struct group_watch *watch, const struct group_news *news);

/* There is more than the caller took: wake another one of its line. */
void group_watch_pass_on(
    struct group_watch *watch, struct ria_slice group, struct ria_slice member
);

/* Every wait ends now, as at its deadline. */
void group_watch_end(struct group_watch *watch);
