/* damaged_log: a log of three hundred records (log_fixture.h) for a test to damage, and a peer that
 * has them all. */
#pragma once

#include "common/base.h"
#include "common/err.h"

#include "services/storage/leader_epochs.h"
#include "services/storage/log_repair.h"
#include "tests/unit/services/storage/log_fixture.h"

enum { DAMAGED_LOG_RECORDS = 300, DAMAGED_LOG_EPOCHS_MAX = 64 };

struct damaged_log {
    struct log_fixture fixture;

    /* What the peers have: all batches, one behind the other, and the history. */
    uint8_t *peer_bytes;
    size_t peer_size;
    struct leader_epoch_entry peer_epochs[DAMAGED_LOG_EPOCHS_MAX];
    uint32_t peer_epoch_count;
    int64_t peer_end;
};

/* A hundred batches of three records by producer 9 under five epochs, on disk and at the peer. */
void damaged_log_begin(struct damaged_log *d, uint64_t seed);
void damaged_log_end(struct damaged_log *d);

/* The peer has what the log has now. */
void damaged_log_remember_as_peer(struct damaged_log *d);

/* --- damage ------------------------------------------------------------------------------------*/

/* Overwrite one byte of the batch with this record. */
void damaged_log_spoil(struct damaged_log *d, int64_t offset, uint64_t byte);

/* A crash after which nothing but the batches tells of epochs. */
void damaged_log_lose_what_vouches(struct damaged_log *d);

/* --- the peer and the repair -------------------------------------------------------------------*/

/* Whole batches of the peer from the one at `from` on, not many. */
struct ria_slice damaged_log_peer_read(struct damaged_log *d, int64_t from, int64_t to);
struct log_repair_source damaged_log_peer_source(struct damaged_log *d, struct ria_slice batches);

/* One repair from its beginning to its end; NOT_FOUND if there is nothing to repair. */
ria_err damaged_log_repair_one(struct damaged_log *d);

/* One after the other, until there is nothing to repair. */
ria_err damaged_log_repair_all(struct damaged_log *d);

/* Everything is as it was, now and, by the second, for the next open. */
void damaged_log_check_whole(struct damaged_log *d);
void damaged_log_check_whole_and_end(struct damaged_log *d);
