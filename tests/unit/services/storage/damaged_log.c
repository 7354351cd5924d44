#include "tests/unit/services/storage/damaged_log.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "tests/lib/harness.h"

enum { PIECE_MAX = 900, STEPS_MAX = 100000, PEER_BYTES_MAX = 4 * 1024 * 1024 };

void damaged_log_remember_as_peer(struct damaged_log *d)
{
    struct partition_log_range range;
    uint32_t count = 0;
    int64_t offset = partition_log_start_offset(d->fixture.log);

    free(d->peer_bytes);
    d->peer_bytes = malloc(PEER_BYTES_MAX);
    RIA_ASSERT(d->peer_bytes != NULL);
    d->peer_size = 0;
    d->peer_end = partition_log_end_offset(d->fixture.log);
    while (offset < d->peer_end) {
        RIA_ASSERT(
            partition_log_locate(d->fixture.log, offset, d->peer_end, 4096, &range) == RIA_OK
        );
        RIA_ASSERT(
            partition_log_read(d->fixture.log, &range, d->peer_bytes + d->peer_size) == RIA_OK
        );
        d->peer_size += range.size;
        offset = range.next_offset;
    }
    const struct leader_epoch_entry *epochs = partition_log_epochs(d->fixture.log, &count);
    RIA_ASSERT(count <= DAMAGED_LOG_EPOCHS_MAX);
    memcpy(d->peer_epochs, epochs, count * sizeof(*epochs));
    d->peer_epoch_count = count;
}

struct ria_slice damaged_log_peer_read(struct damaged_log *d, int64_t from, int64_t to)
{
    struct batch_header header;
    size_t at = 0;
    size_t size = 0;

    while (at + size < d->peer_size) {
        struct ria_slice rest = ria_slice_of(d->peer_bytes + at + size, d->peer_size - at - size);
        RIA_ASSERT(batch_header_decode(rest, &header) == RIA_OK);
        if (header.base_offset < from) {
            at += batch_size(&header);
        } else if (header.base_offset < to && (size == 0 || size + batch_size(&header) < PIECE_MAX)) {
            size += batch_size(&header);
        } else {
            break;
        }
    }
    return ria_slice_of(d->peer_bytes + at, size);
}

struct log_repair_source damaged_log_peer_source(struct damaged_log *d, struct ria_slice batches)
{
    return (struct log_repair_source){
        .batches = batches,
        .epochs = d->peer_epochs,
        .epoch_count = d->peer_epoch_count,
        .end_offset = d->peer_end,
    };
}

ria_err damaged_log_repair_one(struct damaged_log *d)
{
    struct log_repair *repair = NULL;
    ria_err err = log_repair_new(d->fixture.log, &repair);

    for (int i = 0; err == RIA_OK && log_repair_get_state(repair) != LOG_REPAIR_DONE; i++) {
        CU_ASSERT_FATAL(i < STEPS_MAX);
        if (log_repair_get_state(repair) == LOG_REPAIR_WANTING) {
            int64_t from = 0;
            int64_t to = 0;
            log_repair_wanted(repair, &from, &to);
            struct log_repair_source source =
                damaged_log_peer_source(d, damaged_log_peer_read(d, from, to));
            err = log_repair_put(repair, &source);
        } else {
            err = log_repair_step(repair);
        }
        log_fixture_advance_us(&d->fixture, 1000);
    }
    if (repair != NULL && log_repair_is_syncing(repair)) {
        log_fixture_advance_us(&d->fixture, 1000000);
    }
    log_repair_free(repair);
    return err;
}

ria_err damaged_log_repair_all(struct damaged_log *d)
{
    ria_err err = RIA_OK;

    while (err == RIA_OK) {
        err = damaged_log_repair_one(d);
        partition_log_check(d->fixture.log);
    }
    return err == RIA_ERR_NOT_FOUND ? RIA_OK : err;
}

void damaged_log_begin(struct damaged_log *d, uint64_t seed)
{
    int64_t offset = 0;

    log_fixture_init(&d->fixture, seed);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(&d->fixture), RIA_OK);
    for (int i = 0; i < DAMAGED_LOG_RECORDS / 3; i++) {
        d->fixture.epoch = 1 + i / 20;
        CU_ASSERT_EQUAL(log_fixture_produce(&d->fixture, 9, 0, i * 3, 3, &offset), RIA_OK);
        CU_ASSERT_EQUAL(offset, i * 3);
    }
    log_fixture_sync(&d->fixture);
    log_fixture_take_checkpoint(&d->fixture);
    damaged_log_remember_as_peer(d);
}

void damaged_log_end(struct damaged_log *d)
{
    log_fixture_fini(&d->fixture);
    free(d->peer_bytes);
    d->peer_bytes = NULL;
}

void damaged_log_spoil(struct damaged_log *d, int64_t offset, uint64_t byte)
{
    int64_t segment = 0;
    uint64_t at = log_fixture_position_of(&d->fixture, offset, &segment);

    log_fixture_damage(&d->fixture, log_fixture_path(segment, ".log"), at + byte, "X", 1);
}

void damaged_log_check_whole(struct damaged_log *d)
{
    uint32_t count = 0;

    CU_ASSERT_FALSE(partition_log_is_damaged(d->fixture.log));
    CU_ASSERT_TRUE(partition_log_can_lead(d->fixture.log));
    CU_ASSERT_EQUAL(log_fixture_verify(&d->fixture, 0), DAMAGED_LOG_RECORDS);
    const struct leader_epoch_entry *epochs = partition_log_epochs(d->fixture.log, &count);
    CU_ASSERT_EQUAL(count, d->peer_epoch_count);
    for (uint32_t i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(epochs[i].epoch, d->peer_epochs[i].epoch);
        CU_ASSERT_EQUAL(epochs[i].start_offset, d->peer_epochs[i].start_offset);
    }
    const struct producer_state *state = partition_log_producer(d->fixture.log, 9);
    CU_ASSERT_PTR_NOT_NULL_FATAL(state);
    CU_ASSERT_EQUAL(state->batch_count, 5);
    CU_ASSERT_EQUAL(state->batches[4].last_sequence, DAMAGED_LOG_RECORDS - 1);
    CU_ASSERT_EQUAL(state->batches[0].base_offset, DAMAGED_LOG_RECORDS - 15);
}

void damaged_log_check_whole_and_end(struct damaged_log *d)
{
    damaged_log_check_whole(d);
    CU_ASSERT_EQUAL(log_fixture_close(&d->fixture), RIA_OK);
    log_fixture_reopen(&d->fixture);
    damaged_log_check_whole(d);
    damaged_log_end(d);
}

void damaged_log_lose_what_vouches(struct damaged_log *d)
{
    log_fixture_crash(&d->fixture, false);
    for (int64_t o = 0; o <= DAMAGED_LOG_RECORDS; o++) {
        if (log_fixture_exists(&d->fixture, log_fixture_path(o, ".index"))) {
            log_fixture_unlink(&d->fixture, log_fixture_path(o, ".index"));
        }
    }
    if (log_fixture_exists(&d->fixture, LOG_FIXTURE_DIR "/leader-epochs")) {
        log_fixture_unlink(&d->fixture, LOG_FIXTURE_DIR "/leader-epochs");
    }
}
