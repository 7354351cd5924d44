/* judge: what the node was asked to store and has acknowledged so far, and whether a recovered log
 * agrees.
 *
 * - An acknowledged batch is there, at its offset, with its bytes (the log checks CRCs, and a batch
 *   is known by its CRC), until it may be cut; what has been cut does not come back.
 * - Nothing else is there: each batch was sent to this partition, and is there once.
 * - The log is whole: not damaged, not failed; offsets join; leader epochs and producer state are
 *   those of its batches.
 */
#pragma once

#include "common/map.h"

#include "services/storage/partition_log.h"
#include "tests/crash/journal.h"

typedef enum judge_state {
    JUDGE_MAY,      /* sent, or about to be cut */
    JUDGE_MUST,     /* acknowledged */
    JUDGE_MUST_NOT, /* cut off */
} judge_state;

struct judge_batch {
    struct journal_mark mark;
    judge_state state;
    uint64_t seen; /* number of the verdict that found it */
};

struct judge {
    struct judge_batch **batches;
    size_t count;
    size_t capacity;
    struct ria_map by_crc;
    uint64_t verdict;
    char why[256]; /* of the last verdict, if it was bad */
};

void judge_init(struct judge *judge);
void judge_fini(struct judge *judge);

/* The journal came to this mark. */
void judge_note(struct judge *judge, const struct journal_mark *mark);

/* Forget all batches but the first `count` that were sent. */
void judge_forget(struct judge *judge, size_t count);

/* Batches of the partition that must be there now: how many. */
size_t judge_expected(const struct judge *judge, int32_t partition);

/* False: judge->why says what is wrong with the log. */
bool judge_log(struct judge *judge, int32_t partition, struct partition_log *log);
