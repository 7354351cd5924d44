/* marks: high watermarks that this gateway has heard of. Hints, no more: they may be old, and after
 * a leader was forced even too high.
 *
 * A log's end that is ahead of the mark is kept as well: the next mark, unless the leader is lost.
 *
 * A mark is noted by whoever sees one (watches, fetches) and asked of the leaders by a probe: one
 * request per storage node for any number of partitions (Watch without waiting). Bounded by the
 * partitions that were looked at.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/err.h"
#include "common/list.h"
#include "common/map.h"

#include "services/gateway/outcall.h"
#include "services/shared/cluster.h"

enum {
    /* What takes longer to be committed is waited for as if nothing had been announced. */
    MARKS_COMING_MS = 50,
};

struct marks {
    const struct ria_env *env;
    struct cluster *cluster;
    struct ria_map map; /* partition -> struct mark */
    struct outcalls outcalls;
    struct ria_list checks; /* commit_check.h: those under way */
};

void marks_init(struct marks *marks, const struct ria_env *env, struct cluster *cluster);

/* Forgets probes that are under way. */
void marks_fini(struct marks *marks);

/* -1: nothing is known. */
int64_t marks_get(const struct marks *marks, const struct cluster_partition *partition);

/* Negative: the leader does not know, and nothing is noted. Out of memory: it is forgotten. */
void marks_note(
    struct marks *marks, const struct cluster_partition *partition, int64_t high_watermark
);

/* A leader's log goes to log_end (0: not known): what is behind the mark will be committed in a
 * moment, mostly. Of a partition that has a mark; else nothing is noted. */
void marks_announce(
    struct marks *marks, const struct cluster_partition *partition, int64_t log_end
);

/* What was announced last, however long ago; -1: nothing. */
int64_t marks_announced(const struct marks *marks, const struct cluster_partition *partition);

/* What was announced in the last MARKS_COMING_MS and has not come yet; -1: nothing. */
int64_t marks_coming(const struct marks *marks, const struct cluster_partition *partition);

/* How large the records of a partition were that somebody fetched last. Hints as well. */
struct marks_sizes {
    size_t record; /* on average; 0: nothing is known */
    size_t batch;  /* the largest */
};

struct marks_sizes
marks_sizes_get(const struct marks *marks, const struct cluster_partition *partition);

/* Of a partition that has a mark; else nothing is noted. */
void marks_sizes_note(
    struct marks *marks, const struct cluster_partition *partition, struct marks_sizes sizes
);

/* Where a reader stands. */
struct marks_at {
    struct cluster_partition *partition;
    int64_t offset;
};

struct marks_probe;
typedef void (*marks_probe_fn)(struct marks_probe *probe);

/* Storage is the caller's until done runs, at likewise. */
struct marks_probe {
    /* the caller's */
    const struct marks_at *at;
    uint32_t count;
    uint32_t timeout_ms;
    marks_probe_fn done;
    void *arg;
    /* out */
    bool complete; /* all leaders have answered */
    /* private */
    struct marks *marks;
    uint32_t under_way;
};

/* Notes the high watermarks of the partitions that have more than `offset`; the others have not, if
 * it is complete. done runs once, never from inside. False: nobody could be asked, and done does
 * not run. */
bool marks_probe_start(struct marks *marks, struct marks_probe *probe);
