/* tails: who is to lead, and may lack the end of its log, takes it back from the other replicas
 * first (docs/design/009-damage.md, "The end of a log").
 *
 * The replica is the last that may be chosen, its end was cut at an open, and nobody can tell
 * whether that was a torn write or committed records (partition_log_tail_is_doubted()). Until this
 * is done it plays no role: it appends nothing, prepares nobody, moves no high watermark.
 *
 *   1. Every other replica is asked for its history and its end, again and again until it answers,
 *      for TAILS_WAIT_MS at most, be it called alive or not.
 *   2. Of those whose logs go on where this one ends, the one with the newest last epoch has what
 *      the others have, among equals the one that ends last. What it has more is fetched, checked
 *      and appended.
 *   3. When that is on disk the end is not doubted any more, and the replica leads.
 *
 * Nothing of this log is cut, and what is taken is what some leader of before this epoch wrote
 * behind it: records that were acknowledged, or whose producers do not know what became of them.
 * If one that was asked does not answer in time, its records may be lost: that is logged.
 *
 * Thread: the storage loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

enum {
    /* For replicas that do not answer. What it has to be longer than: a machine that lost its power
     * together with this one is back, and has opened its logs. */
    TAILS_WAIT_MS = 30 * 1000,
};

struct replica;
struct storage;
struct tails;

/* Borrows storage. Errors: RIA_ERR_NOMEM. */
ria_err tails_new(struct storage *s, struct tails **out_tails) RIA_MUST_USE;

/* Accepts NULL. */
void tails_free(struct tails *tails);

/* The replica waits for its tail: partition_waits_for_tail(). Ends in storage_apply_again(). */
void tails_want(struct tails *tails, struct replica *replica);

/* The replica's log is about to be closed or freed. */
void tails_forget(struct tails *tails, struct replica *replica);

/* No more questions. */
void tails_stop(struct tails *tails);
