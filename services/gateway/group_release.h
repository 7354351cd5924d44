/* group_release: leases that nobody will use are given back.
 *
 * Nobody waits for it, and nobody is told: a lease that could not be given back ends at its
 * deadline. What is under way is bounded; past the bound leases are left to end by themselves.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/list.h"
#include "common/slice.h"
#include "common/uuid.h"

#include "services/gateway/group_ops.h"

enum {
    GROUP_RELEASES_MAX = 1000,
    GROUP_LEASE_MS_DEFAULT = 30 * 1000,
};

struct group_releases {
    struct group_ops *ops;
    struct ria_list live;
    uint32_t count;
};

/* One lease. */
struct group_lease {
    struct ria_uuid topic_id;
    int32_t partition;
    int64_t id;
    int64_t commit; /* the new position; 0: it stays */
    bool
        may_commit; /* over at once, but its cursors count as long as nobody else has the records */
};

void group_releases_init(struct group_releases *releases, struct group_ops *ops);

/* Forgets those under way. */
void group_releases_fini(struct group_releases *releases);

/* Everything is copied. */
void group_release(
    struct group_releases *releases,
    struct ria_slice group,
    struct ria_slice member,
    const struct group_lease *leases,
    uint32_t count
);
