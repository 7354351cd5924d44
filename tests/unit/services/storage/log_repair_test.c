/* What a repair puts back, and what it refuses to put there. */
#include "services/storage/log_repair.h"

#include <stdlib.h>
#include <string.h>

#include "services/storage/log_state.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/damaged_log.h"

enum { RECORDS = DAMAGED_LOG_RECORDS, STEPS_MAX = 100000 };

static struct damaged_log damaged_log;
static struct damaged_log *const d = &damaged_log;
static struct log_fixture *const f = &damaged_log.fixture;

/* --- kinds of damage ---------------------------------------------------------------------------*/

static void a_bad_payload_that_a_read_found_is_replaced(void)
{
    damaged_log_begin(d, 1);
    damaged_log_spoil(d, 12, 70);
    CU_ASSERT(log_fixture_verify(f, 0) <= 12);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 15), RECORDS);
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    damaged_log_check_whole_and_end(d);
}

static void every_byte_of_a_batch_may_be_bad(void)
{
    for (uint64_t byte = 0; byte < 90; byte++) {
        damaged_log_begin(d, 100 + byte);
        damaged_log_spoil(d, 12, byte);
        bool in_epoch = byte >= 12 && byte < 16; /* under no CRC, but known from elsewhere */
        if (byte % 3 != 0 || in_epoch) {
            (void)log_fixture_verify(f, 0);
            (void)log_fixture_verify(f, 9);
        } else { /* no index: an open finds it */
            log_fixture_crash(f, false);
            for (int64_t o = 0; o <= RECORDS; o++) {
                if (log_fixture_exists(f, log_fixture_path(o, ".index"))) {
                    log_fixture_unlink(f, log_fixture_path(o, ".index"));
                }
            }
            log_fixture_reopen(f);
        }
        CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 12);
        CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
        damaged_log_check_whole_and_end(d);
    }
}

static void damage_in_the_active_segment_is_repaired_while_it_grows(void)
{
    int64_t offset = 0;

    damaged_log_begin(d, 2);
    CU_ASSERT(log_fixture_segment_base(f, 1) > 0);
    damaged_log_spoil(d, RECORDS - 9, 70);
    (void)log_fixture_verify(f, RECORDS - 12);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_produce(f, 9, 0, RECORDS, 3, &offset), RIA_OK);
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), RECORDS + 3);
    log_fixture_sync(f);
    log_fixture_crash(f, true);
    log_fixture_reopen(f);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), RECORDS + 3);
    damaged_log_end(d);
}

static void missing_segments_come_back(void)
{
    for (int n = 0; n < 3; n++) {
        damaged_log_begin(d, 3 + (uint64_t)n);
        int64_t missing = log_fixture_segment_base(f, n);
        CU_ASSERT(log_fixture_segment_base(f, n + 1) > missing);
        log_fixture_crash(f, false);
        log_fixture_unlink(f, log_fixture_path(missing, ".log"));
        log_fixture_reopen(f);
        CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
        damaged_log_check_whole_and_end(d);
    }
}

static void several_missing_segments_come_back_as_several(void)
{
    damaged_log_begin(d, 6);
    int64_t second = log_fixture_segment_base(f, 1);
    int64_t third = log_fixture_segment_base(f, 2);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(second, ".log"));
    log_fixture_unlink(f, log_fixture_path(third, ".log"));
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    CU_ASSERT(log_fixture_segment_base(f, 2) > second);
    damaged_log_check_whole_and_end(d);
}

static void a_short_segment_in_the_middle_is_filled(void)
{
    damaged_log_begin(d, 7);
    int64_t second = log_fixture_segment_base(f, 1);
    log_fixture_crash(f, false);
    uint64_t size = log_fixture_file_size(f, log_fixture_path(second, ".log"));
    log_fixture_damage(f, log_fixture_path(second, ".log"), size / 2, NULL, 0);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    damaged_log_check_whole_and_end(d);
}

static void an_emptied_segment_is_filled(void)
{
    damaged_log_begin(d, 8);
    int64_t second = log_fixture_segment_base(f, 1);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(second, ".log"), 0, NULL, 0);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    damaged_log_check_whole_and_end(d);
}

static void several_holes_in_one_segment_are_repaired_one_by_one(void)
{
    damaged_log_begin(d, 9);
    damaged_log_spoil(d, 3, 70);
    damaged_log_spoil(d, 9, 5);
    damaged_log_spoil(d, 15, 80);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(0, ".index"));
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(f->log->damage_count, 3);
    CU_ASSERT_EQUAL(damaged_log_repair_one(d), RIA_OK);
    CU_ASSERT_EQUAL(f->log->damage_count, 2);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 9);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 12), 15);
    log_fixture_crash(f, true);
    log_fixture_reopen(f); /* the rest is found again, by the meta file and by the scan */
    CU_ASSERT_EQUAL(f->log->damage_count, 2);
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    damaged_log_check_whole_and_end(d);
}

/* The epochs that a hole hid are learned from what is put back. */
static void a_hole_over_a_change_of_epochs_is_repaired_without_the_epoch_file(void)
{
    damaged_log_begin(d, 10);
    damaged_log_spoil(d, 57, 70);
    damaged_log_spoil(d, 60, 70); /* epoch 2 begins there */
    damaged_log_lose_what_vouches(d);
    log_fixture_reopen(f);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    /* A leader's history is compared around the hole, not in it. */
    CU_ASSERT_EQUAL(
        partition_log_divergence(f->log, d->peer_epochs, d->peer_epoch_count, RECORDS), RECORDS
    );
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    damaged_log_check_whole_and_end(d);
}

static void a_range_that_can_be_read_again_is_given_back_without_a_peer(void)
{
    damaged_log_begin(d, 11);
    log_report_damage(f->log, 12, 27);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 12);
    d->peer_size = 0;
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    CU_ASSERT_EQUAL(f->cache == NULL, false);
    CU_ASSERT_EQUAL(segment_cache_metrics(f->cache)->repaired_bytes.value, 0);
    damaged_log_remember_as_peer(d);
    damaged_log_check_whole_and_end(d);
}

/* --- bad sectors -------------------------------------------------------------------------------*/

static const struct ria_fs_ops *good_ops;
static struct ria_fs_ops bad_ops;
static uint64_t bad_from;
static uint64_t bad_to;

/* One file at a time is open for reading in these tests, or none reaches that far. */
static ria_err
bad_pread(struct ria_file *file, void *data, size_t size, uint64_t at, size_t *out_read)
{
    if (at < bad_to && at + size > bad_from) {
        return RIA_ERR_IO;
    }
    return good_ops->pread(file, data, size, at, out_read);
}

/* The disk cannot read these bytes of any file. */
static void spoil_sector(uint64_t from, uint64_t to)
{
    good_ops = f->fs->ops;
    bad_ops = *good_ops;
    bad_ops.pread = bad_pread;
    bad_from = from;
    bad_to = to;
    f->fs->ops = &bad_ops;
}

static void a_sector_that_cannot_be_read_is_damage_and_takes_nothing_else(void)
{
    for (int life = 0; life < 2; life++) {
        damaged_log_begin(d, 40 + (uint64_t)life);
        f->options.segment_bytes = 1 << 20;
        partition_log_set_options(f->log, &f->options);
        int64_t first = partition_log_end_offset(f->log);
        for (int i = 0; i < 100; i++) { /* one long segment behind the others */
            CU_ASSERT_EQUAL(log_fixture_append(f, 1, 500), RIA_OK);
        }
        log_fixture_sync(f);
        log_fixture_take_checkpoint(f);
        damaged_log_remember_as_peer(d);
        if (life == 1) { /* found by an open */
            log_fixture_crash(f, false);
        }
        spoil_sector(20480, 20992);
        if (life == 1) {
            log_fixture_reopen(f);
            CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        }
        int64_t good = 0;
        for (int64_t o = 0; o < d->peer_end;) { /* a reader that goes round what is bad */
            int64_t next = log_fixture_verify(f, o);
            CU_ASSERT_FATAL(next >= o);
            good += next - o;
            const struct log_damage *hole = log_damage_from(f->log, next);
            bool in_hole = hole != NULL && hole->from_offset <= next;
            o = in_hole ? hole->to_offset : next;
        }
        CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        CU_ASSERT_FALSE(partition_log_has_failed(f->log));
        CU_ASSERT(good > d->peer_end - 40); /* 4 KiB, and to the next place that the index knows */
        CU_ASSERT(log_damage_from(f->log, 0)->from_offset > first);
        f->fs->ops = good_ops; /* the new file is elsewhere on the disk */
        CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
        CU_ASSERT_EQUAL(log_fixture_verify(f, 0), d->peer_end);
        CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
        damaged_log_end(d);
    }
}

/* --- what a peer may not do, and what happens meanwhile ----------------------------------------*/

static void only_what_fits_is_taken(void)
{
    struct log_repair *repair = NULL;
    struct log_repair_source source;
    uint8_t *bad = malloc(64 * 1024);
    int64_t from = 0;
    int64_t to = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(bad);
    damaged_log_begin(d, 12);
    damaged_log_spoil(d, 12, 70);
    (void)log_fixture_verify(f, 0);
    CU_ASSERT_EQUAL(log_repair_new(f->log, &repair), RIA_OK);
    while (log_repair_get_state(repair) != LOG_REPAIR_WANTING) {
        CU_ASSERT_EQUAL_FATAL(log_repair_step(repair), RIA_OK);
    }
    log_repair_wanted(repair, &from, &to);
    CU_ASSERT_EQUAL(from, 12);
    CU_ASSERT_EQUAL(to, 15);
    struct ria_slice good = damaged_log_peer_read(d, 12, 15);
    memcpy(bad, good.data, good.size);
    for (size_t i = 0; i < good.size; i++) {
        bad[i] ^= 1;
        source = damaged_log_peer_source(d, ria_slice_of(bad, good.size));
        ria_err err = log_repair_put(repair, &source);
        CU_ASSERT(err == RIA_ERR_CORRUPT || err == RIA_ERR_CONFLICT || err == RIA_ERR_MALFORMED);
        bad[i] ^= 1;
    }
    source = damaged_log_peer_source(
        d, damaged_log_peer_read(d, 15, 18)
    ); /* not where the hole begins */
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_ERR_CONFLICT);
    source = damaged_log_peer_source(d, damaged_log_peer_read(d, 12, 30)); /* beyond its end */
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_ERR_CONFLICT);
    source = damaged_log_peer_source(d, good);
    d->peer_epochs[0].epoch = 77; /* another history */
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_ERR_CONFLICT);
    d->peer_epochs[0].epoch = 1;
    CU_ASSERT_EQUAL(log_repair_get_state(repair), LOG_REPAIR_WANTING);
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_OK);
    CU_ASSERT(log_repair_get_state(repair) != LOG_REPAIR_WANTING);
    log_repair_free(repair);
    CU_ASSERT_FALSE(log_fixture_exists(f, log_fixture_path(0, ".log.tmp")));
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    free(bad);
    damaged_log_check_whole_and_end(d);
}

static void a_cut_ends_a_repair(void)
{
    struct log_repair *repair = NULL;

    damaged_log_begin(d, 13);
    damaged_log_spoil(d, 12, 70);
    (void)log_fixture_verify(f, 0);
    CU_ASSERT_EQUAL(log_repair_new(f->log, &repair), RIA_OK);
    while (log_repair_get_state(repair) != LOG_REPAIR_WANTING) {
        CU_ASSERT_EQUAL_FATAL(log_repair_step(repair), RIA_OK);
    }
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 150), RIA_OK);
    struct log_repair_source source = damaged_log_peer_source(d, damaged_log_peer_read(d, 12, 15));
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_ERR_FENCED_EPOCH);
    log_repair_free(repair);
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 150);
    damaged_log_end(d);
}

/* What a read finds joins the hole, which then begins elsewhere than the repair does: an assertion.
 */
static void damage_found_in_front_of_a_repair_begins_it_anew(void)
{
    struct log_repair *repair = NULL;
    int64_t from = 0;
    int64_t to = 0;
    ria_err err = RIA_OK;

    damaged_log_begin(d, 24);
    damaged_log_spoil(d, 150, 70);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 150), 150);
    CU_ASSERT_EQUAL_FATAL(log_repair_new(f->log, &repair), RIA_OK);
    while (log_repair_get_state(repair) != LOG_REPAIR_WANTING) {
        CU_ASSERT_EQUAL_FATAL(log_repair_step(repair), RIA_OK);
    }
    log_repair_wanted(repair, &from, &to);
    struct log_repair_source source =
        damaged_log_peer_source(d, damaged_log_peer_read(d, from, to));
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_OK);
    damaged_log_spoil(d, 147, 70);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 147), 147);
    for (int i = 0; err == RIA_OK && i < STEPS_MAX; i++) {
        err = log_repair_step(repair);
        log_fixture_advance_us(f, 1000);
    }
    CU_ASSERT_EQUAL(err, RIA_ERR_CONFLICT);
    log_fixture_advance_us(f, 1000000);
    log_repair_free(repair);
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    damaged_log_check_whole_and_end(d);
}

/* --- a lost tail -------------------------------------------------------------------------------*/

static void a_lost_tail_is_filled_by_appends_and_leads_only_then(void)
{
    static uint32_t salts[LOG_FIXTURE_OFFSETS_MAX];
    int64_t offset = 0;
    int64_t segment = 0;

    damaged_log_begin(d, 14);
    uint64_t at = log_fixture_position_of(f, RECORDS - 30, &segment);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(segment, ".log"), at, "XXXXXXXXXXXXXXXXXXXXX", 20);
    for (int64_t o = RECORDS - 30; o < RECORDS; o++) {
        if (o > segment && log_fixture_exists(f, log_fixture_path(o, ".log"))) {
            log_fixture_unlink(f, log_fixture_path(o, ".log"));
        }
    }
    uint64_t size = log_fixture_file_size(f, log_fixture_path(segment, ".log"));
    if (size > at + 200) {
        log_fixture_damage(f, log_fixture_path(segment, ".log"), at + 200, NULL, 0);
    }
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), RECORDS - 30);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_FALSE(partition_log_can_lead(f->log));
    CU_ASSERT_EQUAL(partition_log_lost_offset(f->log), RECORDS);
    memcpy(salts, f->salts, sizeof(salts));
    CU_ASSERT_EQUAL(log_fixture_produce(f, 9, 0, RECORDS - 30, 3, &offset), RIA_ERR_CORRUPT);
    memcpy(f->salts, salts, sizeof(salts));             /* that one never was */
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK); /* not a repair's business */
    CU_ASSERT_EQUAL(
        partition_log_append_batches(f->log, damaged_log_peer_read(d, RECORDS - 30, RECORDS - 27)),
        RIA_ERR_CORRUPT
    );
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, RECORDS), RIA_OK); /* what a prepare does */
    CU_ASSERT_EQUAL(partition_log_lost_offset(f->log), RECORDS);
    for (int64_t o = RECORDS - 30; o < RECORDS;) {
        CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        CU_ASSERT_EQUAL_FATAL(
            partition_log_append_batches(f->log, damaged_log_peer_read(d, o, o + 3)), RIA_OK
        );
        o = partition_log_end_offset(f->log);
        if (o == RECORDS - 15) { /* it is still known after a restart */
            log_fixture_sync(f);
            log_fixture_take_checkpoint(f);
            log_fixture_crash(f, true);
            log_fixture_reopen(f);
            CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        }
    }
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log)); /* until it is on disk */
    log_fixture_sync(f);
    damaged_log_check_whole_and_end(d);
}

static void a_missing_last_segment_is_known_by_its_index(void)
{
    damaged_log_begin(d, 15);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    int64_t last = 0;
    for (int n = 0; log_fixture_segment_base(f, n) >= 0; n++) {
        last = log_fixture_segment_base(f, n);
    }
    f->checkpoint = (struct partition_log_checkpoint){.synced_offset = 0};
    log_fixture_unlink(f, log_fixture_path(last, ".log"));
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), last);
    CU_ASSERT_EQUAL(partition_log_lost_offset(f->log), RECORDS);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, RECORDS), RIA_OK);
    CU_ASSERT_EQUAL(
        partition_log_append_batches(f->log, damaged_log_peer_read(d, last, RECORDS)), RIA_OK
    );
    while (partition_log_end_offset(f->log) < RECORDS) {
        CU_ASSERT_EQUAL_FATAL(
            partition_log_append_batches(
                f->log, damaged_log_peer_read(d, partition_log_end_offset(f->log), RECORDS)
            ),
            RIA_OK
        );
    }
    log_fixture_sync(f);
    damaged_log_check_whole_and_end(d);
}

/* What the leader does not have was never committed. */
static void a_cut_through_a_hole_leaves_a_lost_tail_up_to_it(void)
{
    damaged_log_begin(d, 16);
    damaged_log_spoil(d, 90, 70);
    damaged_log_spoil(d, 93, 70);
    (void)log_fixture_verify(f, 80);
    (void)log_fixture_verify(f, 93);
    CU_ASSERT_EQUAL(f->log->damage_count, 1);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 93), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 90);
    CU_ASSERT_EQUAL(partition_log_lost_offset(f->log), 93);
    partition_log_check(f->log);
    CU_ASSERT_EQUAL(partition_log_append_batches(f->log, damaged_log_peer_read(d, 90, 93)), RIA_OK);
    log_fixture_sync(f);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 93);
    damaged_log_end(d);
}

/* --- a cut takes the last hole -----------------------------------------------------------------*/

/* A hole that an open knows of: what it hides is not in the table of producers. A repair had begun
 * and rolled the segment, so that it is no lost tail, either. */
static void open_with_hole(uint64_t seed, int64_t offset)
{
    struct log_repair *repair = NULL;

    damaged_log_begin(d, seed);
    damaged_log_spoil(d, offset, 70);
    CU_ASSERT_EQUAL(log_fixture_verify(f, offset), offset);
    CU_ASSERT_EQUAL_FATAL(log_repair_new(f->log, &repair), RIA_OK);
    while (log_repair_get_state(repair) != LOG_REPAIR_WANTING) {
        CU_ASSERT_EQUAL_FATAL(log_repair_step(repair), RIA_OK);
    }
    log_repair_free(repair);
    log_fixture_sync(f);
    log_fixture_crash(f, false);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(f->log->damage_count, 1);
    CU_ASSERT_FALSE(partition_log_can_lead(f->log));
}

/* It is without damage, and takes records: what follows of producer 9, and no duplicate. */
static void check_leads_from(int64_t end)
{
    int64_t offset = 0;

    partition_log_check(f->log);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_TRUE(partition_log_can_lead(f->log));
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), end);
    CU_ASSERT_EQUAL(log_fixture_produce(f, 9, 0, (int32_t)end - 3, 3, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, end - 3);
    CU_ASSERT_EQUAL(log_fixture_produce(f, 9, 0, (int32_t)end, 3, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, end);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), end + 3);
}

/* Nothing that the table knew was cut off, so it was not read again: the log was fit, was elected,
 * and took no records until the next start. */
static void a_cut_where_the_last_hole_begins_leaves_a_log_that_leads(void)
{
    open_with_hole(50, RECORDS - 3);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, RECORDS - 3), RIA_OK);
    check_leads_from(RECORDS - 3);
    damaged_log_end(d);
}

static void a_cut_before_the_last_hole_leaves_a_log_that_leads(void)
{
    open_with_hole(51, RECORDS - 6);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, RECORDS - 9), RIA_OK);
    check_leads_from(RECORDS - 9);
    damaged_log_end(d);
}

static void a_cut_where_the_last_hole_ends_leaves_a_log_that_leads_when_it_is_filled(void)
{
    open_with_hole(52, RECORDS - 3);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, RECORDS), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_lost_offset(f->log), RECORDS);
    CU_ASSERT_FALSE(partition_log_can_lead(f->log));
    CU_ASSERT_EQUAL(
        partition_log_append_batches(f->log, damaged_log_peer_read(d, RECORDS - 3, RECORDS)), RIA_OK
    );
    log_fixture_sync(f);
    check_leads_from(RECORDS);
    damaged_log_end(d);
}

/* What an older hole hides is still missed. */
static void a_cut_that_leaves_a_hole_leaves_a_log_that_cannot_lead(void)
{
    damaged_log_begin(d, 53);
    damaged_log_spoil(d, 150, 70);
    damaged_log_spoil(d, RECORDS - 3, 70);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 150), 150);
    CU_ASSERT_EQUAL(log_fixture_verify(f, RECORDS - 3), RECORDS - 3);
    for (int64_t o = 0; o <= RECORDS; o++) { /* nor does a snapshot tell what it hides */
        if (log_fixture_exists(f, log_fixture_path(o, ".producers"))) {
            log_fixture_unlink(f, log_fixture_path(o, ".producers"));
        }
    }
    log_fixture_crash(f, false);
    log_fixture_reopen(f);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, RECORDS - 3), RIA_OK);
    partition_log_check(f->log);
    CU_ASSERT_EQUAL(f->log->damage_count, 1);
    CU_ASSERT_FALSE(partition_log_can_lead(f->log));
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    check_leads_from(RECORDS - 3);
    damaged_log_end(d);
}

static bool list_fails;

static ria_err bad_list(struct ria_fs *fs, const char *path, ria_fs_list_fn fn, void *arg)
{
    return list_fails ? RIA_ERR_LIMIT : good_ops->list(fs, path, fn, arg);
}

/* The hole was forgotten by then, so nothing tried again: the same log that is fit and cannot lead.
 */
static void producers_that_cannot_be_read_after_a_repair_are_read_by_the_next(void)
{
    open_with_hole(54, RECORDS - 3);
    good_ops = f->fs->ops;
    bad_ops = *good_ops;
    bad_ops.list = bad_list;
    f->fs->ops = &bad_ops;
    list_fails = true;
    CU_ASSERT_EQUAL(damaged_log_repair_one(d), RIA_ERR_LIMIT);
    partition_log_check(f->log);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_FALSE(partition_log_has_failed(f->log));
    list_fails = false;
    d->peer_size = 0; /* it is all there */
    CU_ASSERT_EQUAL(damaged_log_repair_all(d), RIA_OK);
    f->fs->ops = good_ops;
    check_leads_from(RECORDS);
    damaged_log_end(d);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_bad_payload_that_a_read_found_is_replaced),
    HARNESS_TEST(every_byte_of_a_batch_may_be_bad),
    HARNESS_TEST(damage_in_the_active_segment_is_repaired_while_it_grows),
    HARNESS_TEST(missing_segments_come_back),
    HARNESS_TEST(several_missing_segments_come_back_as_several),
    HARNESS_TEST(a_short_segment_in_the_middle_is_filled),
    HARNESS_TEST(an_emptied_segment_is_filled),
    HARNESS_TEST(several_holes_in_one_segment_are_repaired_one_by_one),
    HARNESS_TEST(a_hole_over_a_change_of_epochs_is_repaired_without_the_epoch_file),
    HARNESS_TEST(a_range_that_can_be_read_again_is_given_back_without_a_peer),
    HARNESS_TEST(a_sector_that_cannot_be_read_is_damage_and_takes_nothing_else),
    HARNESS_TEST(only_what_fits_is_taken),
    HARNESS_TEST(a_cut_ends_a_repair),
    HARNESS_TEST(damage_found_in_front_of_a_repair_begins_it_anew),
    HARNESS_TEST(a_lost_tail_is_filled_by_appends_and_leads_only_then),
    HARNESS_TEST(a_missing_last_segment_is_known_by_its_index),
    HARNESS_TEST(a_cut_through_a_hole_leaves_a_lost_tail_up_to_it),
    HARNESS_TEST(a_cut_where_the_last_hole_begins_leaves_a_log_that_leads),
    HARNESS_TEST(a_cut_before_the_last_hole_leaves_a_log_that_leads),
    HARNESS_TEST(a_cut_where_the_last_hole_ends_leaves_a_log_that_leads_when_it_is_filled),
    HARNESS_TEST(a_cut_that_leaves_a_hole_leaves_a_log_that_cannot_lead),
    HARNESS_TEST(producers_that_cannot_be_read_after_a_repair_are_read_by_the_next),
};

HARNESS_MAIN(tests);
