/* scrub: everything on this node's disk is read once in a while, so that damage is found while
 * other replicas are still whole.
 *
 * One reader for the whole node, replica by replica in the order of their ids, at a bounded rate;
 * the reads run in the pool, their checks on the loop (log_scrub.h). How far it got is kept in
 * "<data>/scrub", so that a node that restarts often gets around, too; a pass begins one period
 * after the one before began. It reads through the page cache: pages that are in memory are checked
 * there.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"

struct scrub;
struct storage;

/* Borrows storage. period_ms 0: it never runs; else rate > 0 (bytes per second).
 * Errors: RIA_ERR_NOMEM. */
ria_err scrub_new(struct storage *s, int64_t period_ms, int64_t rate, struct scrub **out_scrub)
    RIA_MUST_USE;

/* A read may be under way only if its callback cannot come any more. Accepts NULL. */
void scrub_free(struct scrub *scrub);

/* The replicas are known: go on where the last life of this node stopped. */
void scrub_start(struct scrub *scrub);

/* It ends, for good, when scrub_is_busy() says so. */
void scrub_stop(struct scrub *scrub);
bool scrub_is_busy(const struct scrub *scrub);
