/* group_waits: WatchGroups requests that wait for a change of one of their groups.
 *
 * Whoever watches has one request here at a time: a newer one with the same watch id ends the older
 * one. Each leaves when one of its groups has changed, when its time is up or when its connection
 * is lost; until the owner answers those that changed they are only marked, so that many changes of
 * one turn are one answer.
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
    GROUP_WAITS_MAX = 2048,              /* requests. Rejected: BUSY */
    GROUP_WAITS_GROUPS_MAX = 1000000,    /* of all requests together. Rejected: BUSY */
    GROUP_WAITS_WAIT_MS_MAX = 60 * 1000, /* longer waits end here */
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

/* End the watch of this id, if there is one, without a change. */
void group_waits_end(struct group_waits *waits, int64_t watch_id);

/* Takes request on success; copies the watch. Nobody with its id is parked. Errors: RIA_ERR_BUSY,
 * RIA_ERR_NOMEM. */
ria_err group_waits_add(
    struct group_waits *waits,
    struct ria_rpc_request *request,
    const struct request_header *header,
    const struct watch_groups_request *watch
) RIA_MUST_USE;

/* The group's change number is this now, -1 = it is gone: mark those who know less. */
void group_waits_note(struct group_waits *waits, struct ria_slice group, int64_t changed);

/* Answer those that are marked. */
void group_waits_wake(struct group_waits *waits);

/* Answer all of them: for shutdown. */
void group_waits_wake_all(struct group_waits *waits);

/* Is anybody marked? */
bool group_waits_is_due(const struct group_waits *waits);

uint32_t group_waits_count(const struct group_waits *waits);
