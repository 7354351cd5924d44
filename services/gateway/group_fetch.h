/* group_fetch: one call of a consumer of a stream group: join, commit, lease, read, wait.
 *
 *   check commits -> Read (coordinator) -> leases? -> fetch all -> records? -> done
 *        ^                ^    | none                     | none: leases given back
 *        |                |    v                          v
 *      probe              +- starts, probe, wait <--------+
 *
 * - Commits past the high watermark are refused (commit_check.h).
 * - Partitions without a position get their start first, in an operation of their own if need be:
 *   the first start counts, and "latest" is the end at the first call, not when records come.
 * - Who waits is woken when records are written, not only when they are committed: Read and its
 * sync go on while the followers sync. The fetch then waits for the records, MARKS_COMING_MS at
 * most; if they do not come, the lease goes back.
 * - A Read whose answer was lost is repeated under the same readId: what it leased is granted
 * again.
 * - Leases that turn out to be of no use are given back; whoever ends the call gives back those
 * that it hands out no records of (group_fetch_release).
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"

#include "schemas/gen/group_commit_result.h"
#include "schemas/gen/group_read.h"
#include "schemas/gen/group_read_result.h"

#include "services/gateway/commit_check.h"
#include "services/gateway/failure.h"
#include "services/gateway/gateway.h"
#include "services/gateway/group_reading.h"
#include "services/gateway/offers.h"

enum {
    GROUP_TOPICS_MAX = 64,
    GROUP_PARTITIONS_MAX = 64, /* leased in one call */
    GROUP_PARTITIONS_DEFAULT = 16,
};

typedef enum group_range_policy {
    GROUP_RANGE_ERROR,
    GROUP_RANGE_EARLIEST,
    GROUP_RANGE_LATEST,
} group_range_policy;

typedef struct group_read_result_group_lost group_lost;

struct group_fetch;

/* failure NULL: it went well, with or without records. Else nothing is held. */
typedef void (*group_fetch_fn)(struct group_fetch *fetch, const struct failure *failure);

/* In an arena that lives until done has run. */
struct group_fetch {
    /* the caller's */
    struct gateway *gateway;
    struct ria_arena *arena;
    struct ria_slice group;
    struct ria_slice member; /* empty: none */
    int32_t member_epoch;    /* -1: any */
    int32_t session_ms;
    int32_t lease_ms;
    bool hold; /* leases stay with the member */
    bool commit_delivered;
    int32_t partitions_max;
    int64_t bytes_max;
    int64_t records_max; /* no more are handed out; 0: as many as there is room for */
    bool from_latest;    /* partitions without a position */
    group_range_policy on_range;
    struct cluster_topic **topics;
    uint32_t topic_count;
    struct group_read_group_read_commit *commits;
    uint32_t commit_count;
    int64_t wait_until_us; /* 0: does not wait */
    group_fetch_fn done;
    void *arg;
    /* out */
    struct group_held *held; /* those with msg != NULL have records */
    uint32_t held_count;
    group_lost *lost; /* commits that count no more. What is in it at the start stays */
    uint32_t lost_count;
    int32_t epoch; /* the member's, -1: none */
    int64_t generation;
    struct group_reading reading;
    /* private */
    struct ria_list link; /* in gateway->group_fetches */
    struct group_op op;
    struct group_read body;
    struct ria_arena round; /* what the last answer said, and the body of the next operation */
    struct ria_uuid *topic_ids;
    struct offers offers;
    struct commit_check check;
    struct group_wait wait;
    struct group_op reset;
    struct failure failure;
    int64_t changed;
    int64_t retry_after_ms;
    uint32_t rounds; /* Reads without records since it last waited */
    bool waits;
    bool ahead;       /* the next Read names what has been announced, too */
    bool asked_ahead; /* the last one did */
    bool asked_before;
};

/* done runs once, never from inside. The fields above "out" are set, the rest is zero. Errors:
 * those of the arena, and done does not run. */
ria_err group_fetch_start(struct group_fetch *fetch) RIA_MUST_USE;

/* Forgets those under way: the gateway ends, and whatever they wait for was told before. */
void group_fetches_fini(struct gateway *gateway);

/* The client has gone: if the call waits, it ends now, without records; if not, it will not. */
void group_fetch_hang_up(struct group_fetch *fetch);

/* Gives back the leases of which nothing was handed out (next <= offset), and frees what was read.
 * Held leases stay. */
void group_fetch_release(struct group_fetch *fetch);

/* What an operation on a group was refused for, in HTTP. */
void group_failure(struct failure *failure, const struct group_op_result *result);
