/* repair: what is damaged in this node's replicas comes back from their peers.
 *
 * One range at a time for the whole node. A replica with a hole waits in a queue; its turn is a
 * log_repair (log_repair.h) whose bytes come by RangeFetch: from the leader first, then from the
 * other replicas, until one has the range whole and committed. If none has, it is tried again
 * later: a range that is not committed yet will be, or a prepare by the leader cuts it off. A lost
 * tail is not repaired here: replication fills it.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

struct repairs;
struct replica;
struct storage;

/* Borrows storage. Errors: RIA_ERR_NOMEM. */
ria_err repairs_new(struct storage *s, struct repairs **out_repairs) RIA_MUST_USE;

/* A sync may be under way only if its callback cannot come any more. Accepts NULL. */
void repairs_free(struct repairs *repairs);

/* The replica's log may have a hole. From anywhere, the log's own callbacks included. */
void repairs_want(struct repairs *repairs, struct replica *replica);

/* The replica's log is about to be closed or freed. */
void repairs_forget(struct repairs *repairs, struct replica *replica);

/* No more repairs. What was under way has ended when repairs_is_busy() says so. */
void repairs_stop(struct repairs *repairs);
bool repairs_is_busy(const struct repairs *repairs);
