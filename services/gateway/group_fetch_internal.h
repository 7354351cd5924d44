/* group_fetch_internal: what group_fetch.c and group_fetch_read.c share.
 *
 * Each of these goes on with the call in one way; the caller touches it no more.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"

#include "services/gateway/group_fetch.h"

enum {
    GROUP_FETCH_ROUNDS_MAX = 4, /* Reads in a row of which nothing came: hints were wrong again */
    GROUP_FETCH_LOOKUP_MS = 2000,
};

/* The Read operation. */
void group_fetch_ask(struct group_fetch *fetch);

/* Fetch what is held and not read yet. */
void group_fetch_read(struct group_fetch *fetch);

/* Wait for work, if the client does; else the call ends without records. */
void group_fetch_wait(struct group_fetch *fetch);

void group_fetch_finish(struct group_fetch *fetch);

/* fetch->failure says why. */
void group_fetch_fail(struct group_fetch *fetch);
void group_fetch_fail_err(struct group_fetch *fetch, ria_err err, const char *text);

/* For a request that begins now. */
int64_t group_fetch_deadline_us(const struct group_fetch *fetch);

/* NULL: it is not held. */
struct group_held *
group_fetch_find(struct group_fetch *fetch, const struct cluster_partition *partition);
