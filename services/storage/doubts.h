/* doubts: what a replica cannot know of itself, its peers are asked.
 *
 * A replica whose history contradicts the leader's has other records, or a flipped epoch: the
 * leader's batches of that range are compared with its own (log_doubt.h). A replica that lost its
 * tail asks the leader where its log ends now, which is later than anything this process can have
 * lost: what the leader does not have need not come back.
 *
 * One replica at a time for the whole node, the leader first, else the first of the other replicas.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

struct doubts;
struct replica;
struct storage;

/* Borrows storage. Errors: RIA_ERR_NOMEM. */
ria_err doubts_new(struct storage *s, struct doubts **out_doubts) RIA_MUST_USE;

/* Accepts NULL. */
void doubts_free(struct doubts *doubts);

/* The replica contradicts its leader, or has lost its tail. From anywhere. */
void doubts_want(struct doubts *doubts, struct replica *replica);

/* The replica's log is about to be closed or freed. */
void doubts_forget(struct doubts *doubts, struct replica *replica);

/* No more questions. */
void doubts_stop(struct doubts *doubts);
