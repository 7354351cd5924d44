/* commit_check: no group is moved past the end of a log.
 *
 * A cursor is bytes from a user. What this gateway knows of high watermarks is a hint, so the
 * leaders are asked before anything is refused, for COMMIT_CHECK_MS: a new leader may be behind for
 * a moment. A partition whose leader cannot be asked holds up no commit.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/timers.h"

#include "services/gateway/marks.h"

struct commit_check;

/* beyond: one that is past the end, at its last offset; NULL: there is none. */
typedef void (*commit_check_fn)(struct commit_check *check, const struct marks_at *beyond);

/* Storage is the caller's until done runs. */
struct commit_check {
    /* the caller's */
    struct marks *marks;
    struct marks_at *at; /* the last offset that is finished, of each partition. Changed here */
    uint32_t count;
    commit_check_fn done;
    void *arg;
    /* private */
    struct ria_list link; /* in marks->checks */
    struct marks_probe probe;
    struct ria_timer again;
    int64_t until_us;
};

/* done runs once, maybe from inside. */
void commit_check_start(struct commit_check *check);

/* Forgets those under way. Before marks_fini(). */
void commit_checks_fini(struct marks *marks);
