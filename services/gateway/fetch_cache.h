/* fetch_cache: what a fetch brought behind the records that were wanted, for those who come next.
 *
 * Consumers that take a few records at a time walk through one batch with many calls. The last
 * pieces of a partition's log stay here for FETCH_CACHE_AGE_US and answer them without a way to
 * the leader. Who asks gets a copy: nobody waits for anybody's answer to be sent, and to copy a
 * piece costs less than to be sent it.
 *
 * What is committed does not change, so a piece is as good as an answer that was slow. It is no
 * longer used once the partition has another leader epoch or its topic is deleted: a leader that
 * was forced may have lost the end of the log and given its offsets away anew.
 *
 * Bounded: FETCH_PIECES_MAX a partition (groups that are not equally far, and calls that overlap
 * where one piece ends), each of FETCH_PIECE_SIZE_MAX bytes; together FETCH_CACHE_SIZE_MAX, or a
 * small part of the budget, which they are charged to, besides what reads may have of it. The
 * oldest go first; all go when the whole budget is used and somebody waits at the gate.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/list.h"
#include "common/map.h"
#include "common/metrics.h"
#include "common/msg.h"
#include "common/slice.h"
#include "common/timers.h"

#include "services/gateway/budget.h"
#include "services/shared/cluster.h"

enum {
    FETCH_CACHE_AGE_US = 1000 * 1000,
    FETCH_CACHE_SIZE_MAX = 4 * 1024 * 1024,
    FETCH_CACHE_SHARE = 16, /* of the budget, at most */
    FETCH_PIECE_SIZE_MAX = 256 * 1024,
    FETCH_PIECES_MAX = 4,
};

/* What a leader answered. */
struct fetched {
    struct ria_slice batches;
    int64_t first; /* of the first batch, or the log's first one in it */
    int64_t end;   /* behind the last whole batch */
    int64_t high_watermark;
    int64_t log_start;
};

struct fetch_cache {
    const struct ria_env *env;
    struct budget *budget;
    struct ria_map shelves; /* partition -> struct shelf */
    struct ria_list pieces; /* of all, oldest first */
    struct ria_timer age;   /* of the oldest */
    size_t size;
    struct ria_counter hits;
};

void fetch_cache_init(struct fetch_cache *cache, const struct ria_env *env, struct budget *budget);
void fetch_cache_fini(struct fetch_cache *cache);

/* Copies it; epoch is the leader's whose answer it is. Too large, or no memory: it is not kept. */
void fetch_cache_put(
    struct fetch_cache *cache,
    const struct cluster_partition *partition,
    int32_t epoch,
    const struct fetched *fetched
);

/* Whether get may find these offsets: no less than the size of what it finds; 0 = no. */
size_t fetch_cache_has(
    const struct fetch_cache *cache,
    const struct cluster_partition *partition,
    int64_t first,
    int64_t last
);

/* The batches with the offsets [first, last], as one message of the caller's, out_fetched->batches
 * being all of it: no more than bytes_max, but one batch, as a leader answers. NULL: ask the
 * leader.
 */
struct ria_msg *fetch_cache_get(
    struct fetch_cache *cache,
    const struct cluster_partition *partition,
    int64_t first,
    int64_t last,
    int64_t bytes_max,
    struct fetched *out_fetched
);

/* Gives up all pieces. True: there were any. */
bool fetch_cache_clear(struct fetch_cache *cache);
