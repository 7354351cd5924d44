/* group_world: the coordinator's side of groups, in a test's hands.
 *
 * A GroupRequest waits in the world's list of calls until the test has looked at its operations and
 * says what came of each.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"

#include "tests/unit/services/gateway/world.h"

enum { GROUP_WORLD_OPS_MAX = 600 };

/* A GroupRequest, opened. */
struct group_world_request {
    struct world_call *call;
    struct ria_arena arena;
    uint32_t count;
    int8_t kinds[GROUP_WORLD_OPS_MAX];
    const void *bodies[GROUP_WORLD_OPS_MAX]; /* struct group_read and so on */
    /* what the test answers */
    ria_err errs[GROUP_WORLD_OPS_MAX];
    const char *texts[GROUP_WORLD_OPS_MAX];
    const void *results[GROUP_WORLD_OPS_MAX]; /* NULL: the kind's defaults */
};

/* The oldest GroupRequest; false: there is none. */
bool group_world_open(struct world *world, struct group_world_request *request);

/* Answers it (nothing said: done, with the defaults) and ends the request; the caller runs the
 * world. */
void group_world_answer(struct world *world, struct group_world_request *request);

/* Ends it without an answer: the test refuses or loses request->call itself. */
void group_world_close(struct group_world_request *request);
