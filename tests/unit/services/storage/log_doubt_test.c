/* Epochs of batches are under no CRC: one that is flipped is found out, and comes right. */
#include "services/storage/log_doubt.h"

#include "services/storage/log_state.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/damaged_log.h"

enum { RECORDS = DAMAGED_LOG_RECORDS };

static struct damaged_log damaged_log;
static struct damaged_log *const d = &damaged_log;
static struct log_fixture *const f = &damaged_log.fixture;

static void flip_epoch(int64_t offset, int bit)
{
    int64_t segment = 0;
    uint64_t at = log_fixture_position_of(f, offset, &segment) + 12;

    CU_ASSERT_EQUAL(
        ria_fs_sim_flip_bit(
            f->fs, log_fixture_path(segment, ".log"), at + 3 - (uint64_t)bit / 8, (unsigned)bit % 8
        ),
        RIA_OK
    );
}

/* One question after the other, as long as the histories contradict. */
static ria_err settle_all(void)
{
    struct log_doubt doubt;
    ria_err err = RIA_OK;

    for (int i = 0; err == RIA_OK && i < 10; i++) {
        if (!log_doubt_find(f->log, d->peer_epochs, d->peer_epoch_count, d->peer_end, &doubt)) {
            log_doubt_fini(&doubt);
            return RIA_OK;
        }
        while (err == RIA_OK && doubt.next_offset < doubt.to_offset) {
            struct ria_slice batches = damaged_log_peer_read(d, doubt.next_offset, doubt.to_offset);
            CU_ASSERT_FATAL(batches.size > 0);
            err = log_doubt_compare(f->log, &doubt, batches);
        }
        if (err == RIA_OK) {
            err = log_doubt_settle(f->log, &doubt);
        }
        log_doubt_fini(&doubt);
    }
    return err;
}

/* A lost tail is the leader's to bring: cut to what it has, then appended to. */
static void catch_up(void)
{
    int64_t end = partition_log_end_offset(f->log);

    if (end < d->peer_end) {
        CU_ASSERT_EQUAL(partition_log_truncate(f->log, d->peer_end), RIA_OK);
        CU_ASSERT_EQUAL(
            partition_log_append_batches(f->log, damaged_log_peer_read(d, end, d->peer_end)), RIA_OK
        );
        log_fixture_sync(f);
    }
}

/* A flipped epoch could end a repair in CONFLICT for ever, or keep a replica out of sync. */
static void every_flipped_epoch_comes_right(void)
{
    static const int BITS[] = {0, 1, 2, 9, 30};

    for (int64_t offset = 0; offset < RECORDS; offset += 3) {
        for (size_t b = 0; b < RIA_COUNT(BITS); b++) {
            damaged_log_begin(d, 20);
            flip_epoch(offset, BITS[b]);
            damaged_log_lose_what_vouches(d);
            log_fixture_reopen(f);
            for (int i = 0; i < 4; i++) {
                ria_err err = damaged_log_repair_all(d);
                CU_ASSERT(err == RIA_OK || err == RIA_ERR_CONFLICT || err == RIA_ERR_CORRUPT);
                CU_ASSERT_EQUAL(settle_all(), RIA_OK);
            }
            catch_up();
            damaged_log_check_whole_and_end(d);
        }
    }
}

/* It would have been the highest one that anybody knows, and fenced everybody for ever. */
static void the_epoch_of_one_batch_that_was_read_back_is_no_proof(void)
{
    damaged_log_begin(d, 21);
    CU_ASSERT_EQUAL(partition_log_sure_epoch(f->log), 5);
    flip_epoch(RECORDS - 3, 9);
    damaged_log_lose_what_vouches(d);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(partition_log_sure_epoch(f->log), 5);
    damaged_log_end(d);
    damaged_log_begin(d, 21);
    damaged_log_lose_what_vouches(d);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(partition_log_sure_epoch(f->log), 5); /* of many batches */
    damaged_log_end(d);
}

/* The one before the last was called proven, as if only the last one could be flipped. */
static void two_flipped_epochs_of_one_batch_each_are_no_proof_of_the_lower_one(void)
{
    damaged_log_begin(d, 24);
    flip_epoch(RECORDS - 6, 4);
    flip_epoch(RECORDS - 3, 12);
    damaged_log_lose_what_vouches(d);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(f->log->epochs.entries[f->log->epochs.count - 1].epoch, 5 + 4096);
    CU_ASSERT_EQUAL(f->log->epochs.entries[f->log->epochs.count - 2].epoch, 5 + 16);
    CU_ASSERT_EQUAL(partition_log_sure_epoch(f->log), 5);
    CU_ASSERT_EQUAL(settle_all(), RIA_OK);
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    damaged_log_check_whole_and_end(d);
}

/* A log that contradicts because it has other records keeps them: this copy may be the last. */
static void other_records_are_never_given_up_for_the_peers(void)
{
    damaged_log_begin(d, 22);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 270), RIA_OK);
    f->epoch = 6;
    int64_t offset = 0;
    for (int i = 90; i < 95; i++) {
        CU_ASSERT_EQUAL(log_fixture_produce(f, 9, 0, i * 3, 3, &offset), RIA_OK);
    }
    log_fixture_sync(f);
    CU_ASSERT_EQUAL(settle_all(), RIA_ERR_CONFLICT);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 285);
    damaged_log_end(d);
}

/* The epoch of a file's last batch has no successor in it, and made the whole next file look bad.
 */
static void a_flipped_epoch_at_the_end_of_a_file_takes_no_more_than_its_batch(void)
{
    damaged_log_begin(d, 23);
    flip_epoch(log_fixture_segment_base(f, 2) - 1, 9);
    damaged_log_lose_what_vouches(d);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(f->log->damage_count, 1);
    CU_ASSERT_EQUAL(f->log->damage[0].from_offset, log_fixture_segment_base(f, 2) - 3);
    CU_ASSERT_EQUAL(f->log->damage[0].to_offset, log_fixture_segment_base(f, 2));
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    damaged_log_check_whole_and_end(d);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(every_flipped_epoch_comes_right),
    HARNESS_TEST(the_epoch_of_one_batch_that_was_read_back_is_no_proof),
    HARNESS_TEST(two_flipped_epochs_of_one_batch_each_are_no_proof_of_the_lower_one),
    HARNESS_TEST(other_records_are_never_given_up_for_the_peers),
    HARNESS_TEST(a_flipped_epoch_at_the_end_of_a_file_takes_no_more_than_its_batch),
};

HARNESS_MAIN(tests);
