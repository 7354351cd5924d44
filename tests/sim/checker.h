/* checker: judges a history. Linear: offsets and unique values, no search.
 *
 * A record is committed at an offset once it was acknowledged, read, or seen below a replica's high
 * watermark. The rules:
 *
 *   lost-write         an acknowledged record is, at the end, at its offset in the leader's log
 *   lost-on-replica    ... and in every in-sync replica's
 *   two-values         an offset never has two committed values, wherever and whenever it is seen
 *   stored-twice       a log holds a value once (nobody resends without a sequence; what was dead
 *                      may have been put back)
 *   failed-but-stored  a definite failure is in no log and is never read
 *   invented           what is read or stored was sent before, to this partition
 *   order              records of an idempotent producer are in the order of their sequences; one
 *                      that was sent after another was acknowledged is behind it
 *   gap                a log holds every offset from its start to its end once
 *   read-past-watermark, read-skip   what a fetch returns begins where it was asked, has no holes,
 *                      and ends below the high watermark it names
 *   watermark-back     the high watermark does not go back within an epoch, for any one reader, and
 *                      at the leader
 *   watermark-epochs   no reader is told more under a leader epoch than any is told under a later
 *                      one, whoever asked first: a new leader names none before it has all that
 *                      its predecessors may have named
 *   no-leader          at the end one replica leads
 *                      (of a partition that was dropped nothing is asked at the end)
 *   derived-lost, derived-twice      every record in the leader's log of a source is reflected once
 *                      in the derived partitions together, unless it is skipped
 *   derived-invented   ... and nothing else is there
 *   derived-order      ... what comes from one source partition is in its order in each of them
 *                      (a source has one transform)
 * Of groups (docs/design/010-consuming.md has the numbers):
 *   position-back      1. a group's position never moves back but by a reset
 *   commit-lost        1. ... and in the end is not below what somebody was told is committed
 *   stale-commit       1. a commit counts only if it was sent while no later lease was known
 *   commit-undelivered 4. what is below the position came to somebody who has committed it
 *   group-missed       4. every record in the leader's log came, unless a reset jumped over it
 *   group-order        5. records come for the first time in the order of their offsets
 * Of queues (checker_queue.c says when a consumer has a record):
 *   held-by-two        2. a record is one consumer's at a time
 *   lock-broken        2. a word of who has it counts
 *   late-ack, stale-ack   2. one of who had it does not: by the coordinator's clock, or since
 *                      another one has it (who may have got what was given back or nacked before
 *                      the answer to that is there)
 *   too-early          2. nobody gets it before a delay that was granted is over
 *   before-its-time    nobody gets it before its delivery time, whatever happens to the queue
 *   queue-lost         3. what is below the position was acknowledged or buried, or may have been,
 *                      or is in the dead-letter topic at the end
 *   queue-missed       3. so is, at the end, all that is in the leader's log
 *   dead-invented      3. what is in the dead-letter topic is the record it says it is, and one
 *                      that is there as rejected was
 *   dead-and-acked     3. ... and was not acknowledged
 *   acked-twice        3. one ack of a record is answered with success
 *   key-order          5. with order per key, no record comes while an earlier one of its key is
 *                      not finished (that it is a dead letter is known at the end)
 *   After a reset (or delete) that was asked for, lock-broken, held-by-two, too-early, acked-twice,
 *   key-order, dead-and-acked and delivered-after-ack judge nothing of the queue.
 *   delivered-after-ack   6. what was acknowledged does not come again
 *   bad-history        the history itself makes no sense: an answer to what was not sent, a record
 *                      of a log that did not begin, a producer with two partitions
 *   and those that a HISTORY_BROKEN event names itself (liveness, ...)
 */
#pragma once

#include <stdio.h>

#include "common/base.h"

#include "tests/sim/history.h"

enum { CHECKER_VIOLATIONS_MAX = 8, CHECKER_TEXT_SIZE = 256 };

struct checker_violation {
    const char *rule;
    char text[CHECKER_TEXT_SIZE];
    uint32_t partition;
    int64_t offset; /* HISTORY_NO_OFFSET: about none */
    uint64_t value; /* HISTORY_NO_VALUE: about none */
};

struct checker_result {
    struct checker_violation violations[CHECKER_VIOLATIONS_MAX];
    size_t count; /* in all; the first ones are above */
    uint64_t records_acked;
    uint64_t records_read;
    uint64_t records_consumed; /* by groups and queues, each time they came */
};

/* Judge a whole history: the REPLICA and RECORD events of each partition are at its end, those of
 * the leader's log among them. */
void checker_run(const struct history *history, struct checker_result *out_result);

/* The violations, a line each, and what of the history touches the first one, with at most line_max
 * lines. */
void checker_report(
    const struct checker_result *result, const struct history *history, FILE *out, size_t line_max
);
