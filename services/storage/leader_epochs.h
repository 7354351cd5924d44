/* leader_epochs: which leader epoch wrote which offsets of one log.
 *
 * Format: docs/formats/leader-epochs.md. Entries ascend strictly in epoch and in start offset;
 * entry i covers the offsets up to the start of entry i + 1, the last one up to the log's end. An
 * entry is made by the first batch of its epoch, never before.
 *
 * Thread: the owner's. Pure: no files here.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"

enum { LEADER_EPOCHS_MAX = 100000 }; /* entries of one log, as the messages allow. Full: LIMIT */

struct leader_epoch_entry {
    int32_t epoch;
    int64_t start_offset;
};

struct leader_epochs {
    struct leader_epoch_entry *entries;
    uint32_t count;
    uint32_t capacity;
};

void leader_epochs_init(struct leader_epochs *epochs);
void leader_epochs_fini(struct leader_epochs *epochs);

/* -1 if there is none. */
int32_t leader_epochs_last(const struct leader_epochs *epochs);

/* Room for `more` entries, so that leader_epochs_note() cannot fail.
 * Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err leader_epochs_reserve(struct leader_epochs *epochs, uint32_t more) RIA_MUST_USE;

/* A batch of this epoch begins at offset. Returns true if that made an entry, for which room must
 * have been reserved. An epoch at or below the last one makes none. */
bool leader_epochs_note(struct leader_epochs *epochs, int32_t epoch, int64_t offset);

/* Forget what begins at or behind end_offset. Returns true if anything did. */
bool leader_epochs_truncate(struct leader_epochs *epochs, int64_t end_offset);

/* The epoch that covers offset, -1 if none does. */
int32_t leader_epochs_at(const struct leader_epoch_entry *entries, uint32_t count, int64_t offset);

void leader_epochs_clear(struct leader_epochs *epochs);

/* First offset at which a log with this history, ending at end_offset, may differ from one with the
 * other history: <= end_offset. An (epoch, offset) pair names one batch, so two logs are equal as
 * far as they have the same epoch at each offset that both hold (KIP-101, KIP-279). What lies below
 * the first entry of either, or below from_offset, is not compared and counts as equal. */
int64_t leader_epochs_divergence(
    const struct leader_epochs *epochs,
    int64_t from_offset,
    int64_t end_offset,
    const struct leader_epoch_entry *other,
    uint32_t other_count,
    int64_t other_end_offset
);

/* First offset at or behind from_offset at which both histories name the same epoch; end_offset if
 * there is none below it. */
int64_t leader_epochs_agreement(
    const struct leader_epochs *epochs,
    int64_t from_offset,
    int64_t end_offset,
    const struct leader_epoch_entry *other,
    uint32_t other_count
);

/* The content of the file `leader-epochs`. Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err leader_epochs_encode(const struct leader_epochs *epochs, struct ria_buf *out) RIA_MUST_USE;

/* Replaces the entries. Errors: RIA_ERR_CORRUPT, RIA_ERR_UNKNOWN_VERSION, RIA_ERR_NOMEM: nothing is
 * replaced. */
ria_err leader_epochs_decode(struct leader_epochs *epochs, struct ria_slice file) RIA_MUST_USE;

void leader_epochs_check(const struct leader_epochs *epochs);
