/* group_waits: watches of groups (WatchGroups).
 *
 * A watch is a set of groups with what its process knows of each, and lives through many requests:
 * each adds groups, takes some away, and parks until one has changed. What has changed is told
 * once. A watch whose numbering is broken, or that nobody asked about for a minute, is forgotten;
 * its process is told so by the next request (CONFLICT), and begins anew with all it watches.
 *
 * A request is answered when one of the groups has changed, when its time is up or when the next
 * one of the watch comes, and dropped, with the watch, when its connection is lost. Changes are
 * only marked until the owner has them answered, so that many of one turn are one answer.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/err.h"
#include "common/slice.h"

#include "schemas/gen/request_header.h"
#include "schemas/gen/watch_groups_request.h"
#include "schemas/gen/watch_groups_response.h"

enum {
    GROUP_WAITS_MAX = 2048,              /* watches. Rejected: BUSY */
    GROUP_WAITS_GROUPS_MAX = 1000000,    /* of all watches together. Rejected: BUSY */
    GROUP_WAITS_ANSWER_MAX = 1000,       /* groups in one answer; more come with the next */
    GROUP_WAITS_WAIT_MS_MAX = 60 * 1000, /* longer waits end here */
    GROUP_WAITS_IDLE_MS = 60 * 1000,     /* without a request, then the watch is forgotten */
};

/* Takes request: answer it. response (borrowed): what has changed, maybe nothing. */
typedef void (*group_waits_fn
)(void *arg,
  struct ria_rpc_request *request,
  const struct request_header *header,
  const struct watch_groups_response *response);

struct group_waits;

/* Borrows env. Errors: RIA_ERR_NOMEM. */
ria_err group_waits_new(
    const struct ria_env *env, group_waits_fn answer, void *arg, struct group_waits **out_waits
) RIA_MUST_USE;

/* Drops what is still parked. Accepts NULL. */
void group_waits_free(struct group_waits *waits);

/* The group's change number as it is, -1 = there is no such group. */
typedef int64_t (*group_waits_look_fn)(void *arg, struct ria_slice group);

/* Takes request on success: it is parked or answered. Errors: RIA_ERR_CONFLICT (the watch must
 * begin anew), RIA_ERR_BUSY, RIA_ERR_NOMEM; after the last two the watch is forgotten. */
ria_err group_waits_watch(
    struct group_waits *waits,
    struct ria_rpc_request *request,
    const struct request_header *header,
    const struct watch_groups_request *watch,
    group_waits_look_fn look,
    void *look_arg
) RIA_MUST_USE;

/* The group's change number is this now, -1 = it is gone: mark those who know less. */
void group_waits_note(struct group_waits *waits, struct ria_slice group, int64_t changed);

/* Answer those that are parked and marked. */
void group_waits_wake(struct group_waits *waits);

/* Answer all that are parked, and forget the watches: for shutdown. */
void group_waits_wake_all(struct group_waits *waits);

/* Is there anybody to answer? */
bool group_waits_is_due(const struct group_waits *waits);

uint32_t group_waits_count(const struct group_waits *waits);
