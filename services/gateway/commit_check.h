/* commit_check: no group is moved past the end of a log.
 *
 * A cursor is bytes from a user, and a forced leader may have less than a group has read. What this
 * gateway knows of high watermarks is a hint, so the leaders are asked before anything is refused,
 * for COMMIT_CHECK_MS: a new leader may be behind for a moment, or not know yet what is committed,
 * which it says when it is asked for its offsets. While a leader cannot be asked the
 * commit waits for it, as reading does: a position past the end would skip what is written there
 * later. What this gateway has handed out itself needs no leader.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/timers.h"

#include "services/gateway/failure.h"
#include "services/gateway/leader_call.h"
#include "services/gateway/marks.h"

struct commit_check;

/* RIA_OK: all are in their logs. RIA_ERR_OFFSET_OUT_OF_RANGE: at is past the end.
 * RIA_ERR_NO_LEADER: nobody could tell of at in time. */
typedef void (*commit_check_fn)(struct commit_check *check, ria_err err, const struct marks_at *at);

/* Storage is the caller's until done runs. */
struct commit_check {
    /* the caller's */
    struct marks *marks;
    struct leader_calls *leaders;
    struct marks_at *at; /* the last offset that is finished, of each partition. Changed here */
    uint32_t count;
    uint32_t timeout_ms; /* of waiting for leaders */
    commit_check_fn done;
    void *arg;
    /* private */
    struct ria_list link; /* in marks->checks */
    struct marks_probe probe;
    struct ria_timer again;
    struct leader_call call; /* of who is past the end */
    bool confirms;
    int64_t until_us;        /* who is past the end until then, is */
    int64_t leader_until_us; /* who has not answered by then, does not */
};

/* done runs once, maybe from inside. */
void commit_check_start(struct commit_check *check);

/* What the client is told if it is not RIA_OK: 409, or 503. field: the cursor's. */
void commit_check_failure(
    struct failure *failure, const char *field, ria_err err, const struct marks_at *at
);

/* Forgets those under way. Before marks_fini() and leader_calls_fini(). */
void commit_checks_fini(struct marks *marks);
