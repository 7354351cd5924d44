/* What a repair puts back, and what a death in the middle of it leaves. */
#include "services/storage/log_repair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/storage/log_doubt.h"
#include "services/storage/log_state.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/storage/log_fixture.h"

enum { PIECE_MAX = 900, STEPS_MAX = 100000, RECORDS = 300 };

static struct log_fixture fixture;
static struct log_fixture *const f = &fixture;

/* What the peers have: all batches, one behind the other, and the history. */
static uint8_t *peer_bytes;
static size_t peer_size;
static struct leader_epoch_entry peer_epochs[64];
static uint32_t peer_epoch_count;
static int64_t peer_end;

static void remember_as_peer(void)
{
    struct partition_log_range range;
    uint32_t count = 0;
    int64_t offset = partition_log_start_offset(f->log);

    free(peer_bytes);
    peer_bytes = malloc(4 * 1024 * 1024);
    RIA_ASSERT(peer_bytes != NULL);
    peer_size = 0;
    peer_end = partition_log_end_offset(f->log);
    while (offset < peer_end) {
        RIA_ASSERT(partition_log_locate(f->log, offset, peer_end, 4096, &range) == RIA_OK);
        RIA_ASSERT(partition_log_read(f->log, &range, peer_bytes + peer_size) == RIA_OK);
        peer_size += range.size;
        offset = range.next_offset;
    }
    const struct leader_epoch_entry *epochs = partition_log_epochs(f->log, &count);
    RIA_ASSERT(count <= 64);
    memcpy(peer_epochs, epochs, count * sizeof(*epochs));
    peer_epoch_count = count;
}

/* Whole batches of the peer from the one at `from` on. */
static struct ria_slice peer_read(int64_t from, int64_t to)
{
    struct batch_header header;
    size_t at = 0;
    size_t size = 0;

    while (at + size < peer_size) {
        struct ria_slice rest = ria_slice_of(peer_bytes + at + size, peer_size - at - size);
        RIA_ASSERT(batch_header_decode(rest, &header) == RIA_OK);
        if (header.base_offset < from) {
            at += batch_size(&header);
        } else if (header.base_offset < to && (size == 0 || size + batch_size(&header) < PIECE_MAX)) {
            size += batch_size(&header);
        } else {
            break;
        }
    }
    return ria_slice_of(peer_bytes + at, size);
}

static struct log_repair_source peer_source(struct ria_slice batches)
{
    return (struct log_repair_source){
        .batches = batches,
        .epochs = peer_epochs,
        .epoch_count = peer_epoch_count,
        .end_offset = peer_end,
    };
}

/* One repair from its beginning to its end; NOT_FOUND if there is nothing to repair. */
static ria_err repair_one(void)
{
    struct log_repair *repair = NULL;
    ria_err err = log_repair_new(f->log, &repair);

    for (int i = 0; err == RIA_OK && log_repair_get_state(repair) != LOG_REPAIR_DONE; i++) {
        CU_ASSERT_FATAL(i < STEPS_MAX);
        if (log_repair_get_state(repair) == LOG_REPAIR_WANTING) {
            int64_t from = 0;
            int64_t to = 0;
            log_repair_wanted(repair, &from, &to);
            struct log_repair_source source = peer_source(peer_read(from, to));
            err = log_repair_put(repair, &source);
        } else {
            err = log_repair_step(repair);
        }
        log_fixture_advance_us(f, 1000);
    }
    if (repair != NULL && log_repair_is_syncing(repair)) {
        log_fixture_advance_us(f, 1000000);
    }
    log_repair_free(repair);
    return err;
}

static ria_err repair_all(void)
{
    ria_err err = RIA_OK;

    while (err == RIA_OK) {
        err = repair_one();
        partition_log_check(f->log);
    }
    return err == RIA_ERR_NOT_FOUND ? RIA_OK : err;
}

/* Sixty batches of three records by one producer under three epochs, on disk. */
static void begin(uint64_t seed)
{
    int64_t offset = 0;

    log_fixture_init(f, seed);
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
    for (int i = 0; i < RECORDS / 3; i++) {
        f->epoch = 1 + i / 20;
        CU_ASSERT_EQUAL(log_fixture_produce(f, 9, 0, i * 3, 3, &offset), RIA_OK);
        CU_ASSERT_EQUAL(offset, i * 3);
    }
    log_fixture_sync(f);
    log_fixture_take_checkpoint(f);
    remember_as_peer();
}

static void end(void)
{
    log_fixture_fini(f);
    free(peer_bytes);
    peer_bytes = NULL;
}

static uint64_t position_of(int64_t offset, int64_t *out_segment)
{
    struct partition_log_range range;

    RIA_ASSERT(partition_log_locate(f->log, offset, INT64_MAX, 1, &range) == RIA_OK);
    *out_segment = range.segment_base_offset;
    return range.position;
}

static int64_t segment_base(int n)
{
    for (int64_t o = 0; o < LOG_FIXTURE_OFFSETS_MAX; o++) {
        if (log_fixture_exists(f, log_fixture_path(o, ".log")) && n-- == 0) {
            return o;
        }
    }
    return -1;
}

static void spoil(int64_t offset, uint64_t byte)
{
    int64_t segment = 0;
    uint64_t at = position_of(offset, &segment);

    log_fixture_damage(f, log_fixture_path(segment, ".log"), at + byte, "X", 1);
}

static void open_again(void)
{
    CU_ASSERT_EQUAL_FATAL(log_fixture_open(f), RIA_OK);
}

/* Everything as it was, now and for the next open. */
static void check_whole(void)
{
    uint32_t count = 0;

    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_TRUE(partition_log_can_lead(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), RECORDS);
    const struct leader_epoch_entry *epochs = partition_log_epochs(f->log, &count);
    CU_ASSERT_EQUAL(count, peer_epoch_count);
    for (uint32_t i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(epochs[i].epoch, peer_epochs[i].epoch);
        CU_ASSERT_EQUAL(epochs[i].start_offset, peer_epochs[i].start_offset);
    }
    const struct producer_state *state = partition_log_producer(f->log, 9);
    CU_ASSERT_PTR_NOT_NULL_FATAL(state);
    CU_ASSERT_EQUAL(state->batch_count, 5);
    CU_ASSERT_EQUAL(state->batches[4].last_sequence, RECORDS - 1);
    CU_ASSERT_EQUAL(state->batches[0].base_offset, RECORDS - 15);
}

static void check_whole_twice(void)
{
    check_whole();
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    open_again();
    check_whole();
    end();
}

/* ---- kinds of damage ---- */

static void a_bad_payload_that_a_read_found_is_replaced(void)
{
    begin(1);
    spoil(12, 70);
    CU_ASSERT(log_fixture_verify(f, 0) <= 12);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 15), RECORDS);
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    check_whole_twice();
}

static void every_byte_of_a_batch_may_be_bad(void)
{
    for (uint64_t byte = 0; byte < 90; byte++) {
        begin(100 + byte);
        spoil(12, byte);
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
            open_again();
        }
        CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 12);
        CU_ASSERT_EQUAL(repair_all(), RIA_OK);
        check_whole_twice();
    }
}

static void damage_in_the_active_segment_is_repaired_while_it_grows(void)
{
    int64_t offset = 0;

    begin(2);
    CU_ASSERT(segment_base(1) > 0);
    spoil(RECORDS - 9, 70);
    (void)log_fixture_verify(f, RECORDS - 12);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_produce(f, 9, 0, RECORDS, 3, &offset), RIA_OK);
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), RECORDS + 3);
    log_fixture_sync(f);
    log_fixture_crash(f, true);
    open_again();
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), RECORDS + 3);
    end();
}

static void missing_segments_come_back(void)
{
    for (int n = 0; n < 3; n++) {
        begin(3 + (uint64_t)n);
        int64_t missing = segment_base(n);
        CU_ASSERT(segment_base(n + 1) > missing);
        log_fixture_crash(f, false);
        log_fixture_unlink(f, log_fixture_path(missing, ".log"));
        open_again();
        CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        CU_ASSERT_EQUAL(repair_all(), RIA_OK);
        check_whole_twice();
    }
}

static void several_missing_segments_come_back_as_several(void)
{
    begin(6);
    int64_t second = segment_base(1);
    int64_t third = segment_base(2);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(second, ".log"));
    log_fixture_unlink(f, log_fixture_path(third, ".log"));
    open_again();
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    CU_ASSERT(segment_base(2) > second);
    check_whole_twice();
}

static void a_short_segment_in_the_middle_is_filled(void)
{
    begin(7);
    int64_t second = segment_base(1);
    log_fixture_crash(f, false);
    uint64_t size = log_fixture_file_size(f, log_fixture_path(second, ".log"));
    log_fixture_damage(f, log_fixture_path(second, ".log"), size / 2, NULL, 0);
    open_again();
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    check_whole_twice();
}

static void an_emptied_segment_is_filled(void)
{
    begin(8);
    int64_t second = segment_base(1);
    log_fixture_crash(f, false);
    log_fixture_damage(f, log_fixture_path(second, ".log"), 0, NULL, 0);
    open_again();
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    check_whole_twice();
}

static void several_holes_in_one_segment_are_repaired_one_by_one(void)
{
    begin(9);
    spoil(3, 70);
    spoil(9, 5);
    spoil(15, 80);
    log_fixture_crash(f, false);
    log_fixture_unlink(f, log_fixture_path(0, ".index"));
    open_again();
    CU_ASSERT_EQUAL(f->log->damage_count, 3);
    CU_ASSERT_EQUAL(repair_one(), RIA_OK);
    CU_ASSERT_EQUAL(f->log->damage_count, 2);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 9);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 12), 15);
    log_fixture_crash(f, true);
    open_again(); /* the rest is found again, by the meta file and by the scan */
    CU_ASSERT_EQUAL(f->log->damage_count, 2);
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    check_whole_twice();
}

/* The epochs that a hole hid are learned from what is put back. */
static void a_hole_over_a_change_of_epochs_is_repaired_without_the_epoch_file(void)
{
    begin(10);
    spoil(57, 70);
    spoil(60, 70); /* epoch 2 begins there */
    log_fixture_crash(f, false);
    for (int64_t o = 0; o <= RECORDS; o++) {
        if (log_fixture_exists(f, log_fixture_path(o, ".index"))) {
            log_fixture_unlink(f, log_fixture_path(o, ".index"));
        }
    }
    if (log_fixture_exists(f, LOG_FIXTURE_DIR "/leader-epochs")) {
        log_fixture_unlink(f, LOG_FIXTURE_DIR "/leader-epochs");
    }
    open_again();
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    /* A leader's history is compared around the hole, not in it. */
    CU_ASSERT_EQUAL(
        partition_log_divergence(f->log, peer_epochs, peer_epoch_count, RECORDS), RECORDS
    );
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    check_whole_twice();
}

static void a_range_that_can_be_read_again_is_given_back_without_a_peer(void)
{
    begin(11);
    log_report_damage(f->log, 12, 27);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 12);
    peer_size = 0;
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    CU_ASSERT_EQUAL(f->cache == NULL, false);
    CU_ASSERT_EQUAL(segment_cache_metrics(f->cache)->repaired_bytes.value, 0);
    remember_as_peer();
    check_whole_twice();
}

/* ---- bad sectors ---- */

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
        begin(40 + (uint64_t)life);
        f->options.segment_bytes = 1 << 20;
        partition_log_set_options(f->log, &f->options);
        int64_t first = partition_log_end_offset(f->log);
        for (int i = 0; i < 100; i++) { /* one long segment behind the others */
            CU_ASSERT_EQUAL(log_fixture_append(f, 1, 500), RIA_OK);
        }
        log_fixture_sync(f);
        log_fixture_take_checkpoint(f);
        remember_as_peer();
        if (life == 1) { /* found by an open */
            log_fixture_crash(f, false);
        }
        spoil_sector(20480, 20992);
        if (life == 1) {
            open_again();
            CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        }
        int64_t good = 0;
        for (int64_t o = 0; o < peer_end;) { /* a reader that goes round what is bad */
            int64_t next = log_fixture_verify(f, o);
            CU_ASSERT_FATAL(next >= o);
            good += next - o;
            const struct log_damage *hole = log_damage_from(f->log, next);
            bool in_hole = hole != NULL && hole->from_offset <= next;
            o = in_hole ? hole->to_offset : next;
        }
        CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        CU_ASSERT_FALSE(partition_log_has_failed(f->log));
        CU_ASSERT(good > peer_end - 40); /* 4 KiB, and to the next place that the index knows */
        CU_ASSERT(log_damage_from(f->log, 0)->from_offset > first);
        f->fs->ops = good_ops; /* the new file is elsewhere on the disk */
        CU_ASSERT_EQUAL(repair_all(), RIA_OK);
        CU_ASSERT_EQUAL(log_fixture_verify(f, 0), peer_end);
        CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
        end();
    }
}

/* ---- what a peer may not do ---- */

static void only_what_fits_is_taken(void)
{
    struct log_repair *repair = NULL;
    struct log_repair_source source;
    uint8_t *bad = malloc(64 * 1024);
    int64_t from = 0;
    int64_t to = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(bad);
    begin(12);
    spoil(12, 70);
    (void)log_fixture_verify(f, 0);
    CU_ASSERT_EQUAL(log_repair_new(f->log, &repair), RIA_OK);
    while (log_repair_get_state(repair) != LOG_REPAIR_WANTING) {
        CU_ASSERT_EQUAL_FATAL(log_repair_step(repair), RIA_OK);
    }
    log_repair_wanted(repair, &from, &to);
    CU_ASSERT_EQUAL(from, 12);
    CU_ASSERT_EQUAL(to, 15);
    struct ria_slice good = peer_read(12, 15);
    memcpy(bad, good.data, good.size);
    for (size_t i = 0; i < good.size; i++) {
        bad[i] ^= 1;
        source = peer_source(ria_slice_of(bad, good.size));
        ria_err err = log_repair_put(repair, &source);
        CU_ASSERT(err == RIA_ERR_CORRUPT || err == RIA_ERR_CONFLICT || err == RIA_ERR_MALFORMED);
        bad[i] ^= 1;
    }
    source = peer_source(peer_read(15, 18)); /* not where the hole begins */
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_ERR_CONFLICT);
    source = peer_source(peer_read(12, 30)); /* beyond its end */
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_ERR_CONFLICT);
    source = peer_source(good);
    peer_epochs[0].epoch = 77; /* another history */
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_ERR_CONFLICT);
    peer_epochs[0].epoch = 1;
    CU_ASSERT_EQUAL(log_repair_get_state(repair), LOG_REPAIR_WANTING);
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_OK);
    CU_ASSERT(log_repair_get_state(repair) != LOG_REPAIR_WANTING);
    log_repair_free(repair);
    CU_ASSERT_FALSE(log_fixture_exists(f, log_fixture_path(0, ".log.tmp")));
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    free(bad);
    check_whole_twice();
}

static void a_cut_ends_a_repair(void)
{
    struct log_repair *repair = NULL;

    begin(13);
    spoil(12, 70);
    (void)log_fixture_verify(f, 0);
    CU_ASSERT_EQUAL(log_repair_new(f->log, &repair), RIA_OK);
    while (log_repair_get_state(repair) != LOG_REPAIR_WANTING) {
        CU_ASSERT_EQUAL_FATAL(log_repair_step(repair), RIA_OK);
    }
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 150), RIA_OK);
    struct log_repair_source source = peer_source(peer_read(12, 15));
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_ERR_FENCED_EPOCH);
    log_repair_free(repair);
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 150);
    end();
}

/* ---- a lost tail ---- */

static void a_lost_tail_is_filled_by_appends_and_leads_only_then(void)
{
    static uint32_t salts[LOG_FIXTURE_OFFSETS_MAX];
    int64_t offset = 0;
    int64_t segment = 0;

    begin(14);
    uint64_t at = position_of(RECORDS - 30, &segment);
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
    open_again();
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), RECORDS - 30);
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
    CU_ASSERT_FALSE(partition_log_can_lead(f->log));
    CU_ASSERT_EQUAL(partition_log_lost_offset(f->log), RECORDS);
    memcpy(salts, f->salts, sizeof(salts));
    CU_ASSERT_EQUAL(log_fixture_produce(f, 9, 0, RECORDS - 30, 3, &offset), RIA_ERR_CORRUPT);
    memcpy(f->salts, salts, sizeof(salts)); /* that one never was */
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);  /* not a repair's business */
    CU_ASSERT_EQUAL(
        partition_log_append_batches(f->log, peer_read(RECORDS - 30, RECORDS - 27)), RIA_ERR_CORRUPT
    );
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, RECORDS), RIA_OK); /* what a prepare does */
    CU_ASSERT_EQUAL(partition_log_lost_offset(f->log), RECORDS);
    for (int64_t o = RECORDS - 30; o < RECORDS;) {
        CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        CU_ASSERT_EQUAL_FATAL(partition_log_append_batches(f->log, peer_read(o, o + 3)), RIA_OK);
        o = partition_log_end_offset(f->log);
        if (o == RECORDS - 15) { /* it is still known after a restart */
            log_fixture_sync(f);
            log_fixture_take_checkpoint(f);
            log_fixture_crash(f, true);
            open_again();
            CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
        }
    }
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log)); /* until it is on disk */
    log_fixture_sync(f);
    check_whole_twice();
}

static void a_missing_last_segment_is_known_by_its_index(void)
{
    begin(15);
    CU_ASSERT_EQUAL(log_fixture_close(f), RIA_OK);
    int64_t last = 0;
    for (int n = 0; segment_base(n) >= 0; n++) {
        last = segment_base(n);
    }
    f->checkpoint = (struct partition_log_checkpoint){.synced_offset = 0};
    log_fixture_unlink(f, log_fixture_path(last, ".log"));
    open_again();
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), last);
    CU_ASSERT_EQUAL(partition_log_lost_offset(f->log), RECORDS);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, RECORDS), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_append_batches(f->log, peer_read(last, RECORDS)), RIA_OK);
    while (partition_log_end_offset(f->log) < RECORDS) {
        CU_ASSERT_EQUAL_FATAL(
            partition_log_append_batches(
                f->log, peer_read(partition_log_end_offset(f->log), RECORDS)
            ),
            RIA_OK
        );
    }
    log_fixture_sync(f);
    check_whole_twice();
}

/* What the leader does not have was never committed. */
static void a_cut_through_a_hole_leaves_a_lost_tail_up_to_it(void)
{
    begin(16);
    spoil(90, 70);
    spoil(93, 70);
    (void)log_fixture_verify(f, 80);
    (void)log_fixture_verify(f, 93);
    CU_ASSERT_EQUAL(f->log->damage_count, 1);
    CU_ASSERT_EQUAL(partition_log_truncate(f->log, 93), RIA_OK);
    CU_ASSERT_EQUAL(partition_log_end_offset(f->log), 90);
    CU_ASSERT_EQUAL(partition_log_lost_offset(f->log), 93);
    partition_log_check(f->log);
    CU_ASSERT_EQUAL(partition_log_append_batches(f->log, peer_read(90, 93)), RIA_OK);
    log_fixture_sync(f);
    CU_ASSERT_FALSE(partition_log_is_damaged(f->log));
    CU_ASSERT_EQUAL(log_fixture_verify(f, 0), 93);
    end();
}

/* ---- death ---- */

/* Forwards to the simulated disk until the call that kills. */
struct mortal {
    struct ria_fs_ops ops;
    int calls_left; /* of those that change something; -1: immortal */
    bool dead;
};

static struct mortal mortal;

static bool dies(void)
{
    if (mortal.dead) {
        return true;
    }
    if (mortal.calls_left >= 0 && mortal.calls_left-- == 0) {
        mortal.dead = true;
    }
    return mortal.dead;
}

static ria_err mortal_pwrite(struct ria_file *file, const void *data, size_t size, uint64_t at)
{
    return dies() ? RIA_ERR_IO : mortal.ops.pwrite(file, data, size, at);
}

static ria_err mortal_truncate(struct ria_file *file, uint64_t size)
{
    return dies() ? RIA_ERR_IO : mortal.ops.truncate(file, size);
}

static ria_err mortal_sync(struct ria_file *file)
{
    return dies() ? RIA_ERR_IO : mortal.ops.sync(file);
}

static ria_err mortal_sync_dir(struct ria_fs *fs, const char *path)
{
    return dies() ? RIA_ERR_IO : mortal.ops.sync_dir(fs, path);
}

static ria_err mortal_rename(struct ria_fs *fs, const char *from, const char *to)
{
    return dies() ? RIA_ERR_IO : mortal.ops.rename(fs, from, to);
}

static ria_err mortal_unlink(struct ria_fs *fs, const char *path)
{
    return dies() ? RIA_ERR_IO : mortal.ops.unlink(fs, path);
}

static void make_mortal(int calls)
{
    mortal = (struct mortal){.ops = *f->fs->ops, .calls_left = calls};
}

static struct ria_fs_ops mortal_ops;

static void damage_of(int kind)
{
    int64_t second = segment_base(1);

    if (kind == 0) {
        spoil(12, 70);
        spoil(18, 3);
        log_fixture_crash(f, false);
        log_fixture_unlink(f, log_fixture_path(0, ".index"));
    } else if (kind == 1) {
        log_fixture_crash(f, false);
        log_fixture_unlink(f, log_fixture_path(second, ".log"));
    } else {
        uint64_t size = log_fixture_file_size(f, log_fixture_path(second, ".log"));
        log_fixture_crash(f, false);
        log_fixture_damage(f, log_fixture_path(second, ".log"), size - 40, "XXXXXXXXX", 8);
    }
    open_again();
    if (kind == 2) { /* an index vouches for it: a read finds it */
        (void)log_fixture_verify(f, second);
        (void)log_fixture_verify(f, second);
    }
    CU_ASSERT_TRUE(partition_log_is_damaged(f->log));
}

/* Dies at the n-th call that changes the disk. True: it did not come to that. */
static bool die_at(int kind, int call, bool lose)
{
    const struct ria_fs_ops *ops = NULL;

    begin(1000 + (uint64_t)call);
    damage_of(kind);
    ops = f->fs->ops;
    make_mortal(call);
    mortal_ops = *ops;
    mortal_ops.pwrite = mortal_pwrite;
    mortal_ops.truncate = mortal_truncate;
    mortal_ops.sync = mortal_sync;
    mortal_ops.sync_dir = mortal_sync_dir;
    mortal_ops.rename = mortal_rename;
    mortal_ops.unlink = mortal_unlink;
    f->fs->ops = &mortal_ops;
    ria_err err = repair_all();
    bool done = !mortal.dead;
    f->fs->ops = ops;
    CU_ASSERT_EQUAL(err == RIA_OK, done || !partition_log_is_damaged(f->log));
    log_fixture_crash(f, lose);
    open_again();
    if (partition_log_is_damaged(f->log)) {
        CU_ASSERT_FALSE(done);
        for (int64_t o = 0; o < RECORDS;) { /* nothing bad is read, and nothing else is missing */
            int64_t next = log_fixture_verify(f, o);
            CU_ASSERT(next >= o);
            const struct log_damage *hole = log_damage_from(f->log, next);
            o = hole == NULL ? ria_max_i64(next, o + 1) : hole->to_offset;
        }
    }
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    check_whole_twice();
    return done;
}

static void dying_at_any_call_leaves_the_hole_or_the_repaired_log(void)
{
    for (int kind = 0; kind < 3; kind++) {
        bool done = false;
        int call = 0;
        for (; !done; call++) {
            done = die_at(kind, call, call % 3 != 0);
        }
        CU_ASSERT(call > 8);
    }
}

/* ---- epochs, which are under no CRC ---- */

/* Nothing but the batches tells of epochs when the log is opened again. */
static void lose_what_vouches(void)
{
    log_fixture_crash(f, false);
    for (int64_t o = 0; o <= RECORDS; o++) {
        if (log_fixture_exists(f, log_fixture_path(o, ".index"))) {
            log_fixture_unlink(f, log_fixture_path(o, ".index"));
        }
    }
    if (log_fixture_exists(f, LOG_FIXTURE_DIR "/leader-epochs")) {
        log_fixture_unlink(f, LOG_FIXTURE_DIR "/leader-epochs");
    }
}

static void flip_epoch(int64_t offset, int bit)
{
    int64_t segment = 0;
    uint64_t at = position_of(offset, &segment) + 12;

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
        if (!log_doubt_find(f->log, peer_epochs, peer_epoch_count, peer_end, &doubt)) {
            log_doubt_fini(&doubt);
            return RIA_OK;
        }
        while (err == RIA_OK && doubt.next_offset < doubt.to_offset) {
            struct ria_slice batches = peer_read(doubt.next_offset, doubt.to_offset);
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

    if (end < peer_end) {
        CU_ASSERT_EQUAL(partition_log_truncate(f->log, peer_end), RIA_OK);
        CU_ASSERT_EQUAL(partition_log_append_batches(f->log, peer_read(end, peer_end)), RIA_OK);
        log_fixture_sync(f);
    }
}

/* A flipped epoch could end a repair in CONFLICT for ever, or keep a replica out of sync. */
static void every_flipped_epoch_comes_right(void)
{
    static const int BITS[] = {0, 1, 2, 9, 30};

    for (int64_t offset = 0; offset < RECORDS; offset += 3) {
        for (size_t b = 0; b < RIA_COUNT(BITS); b++) {
            begin(20);
            flip_epoch(offset, BITS[b]);
            lose_what_vouches();
            open_again();
            for (int i = 0; i < 4; i++) {
                ria_err err = repair_all();
                CU_ASSERT(err == RIA_OK || err == RIA_ERR_CONFLICT || err == RIA_ERR_CORRUPT);
                CU_ASSERT_EQUAL(settle_all(), RIA_OK);
            }
            catch_up();
            check_whole_twice();
        }
    }
}

/* It would have been the highest one that anybody knows, and fenced everybody for ever. */
static void the_epoch_of_one_batch_that_was_read_back_is_no_proof(void)
{
    begin(21);
    CU_ASSERT_EQUAL(partition_log_sure_epoch(f->log), 5);
    flip_epoch(RECORDS - 3, 9);
    lose_what_vouches();
    open_again();
    CU_ASSERT_EQUAL(partition_log_sure_epoch(f->log), 5);
    end();
    begin(21);
    lose_what_vouches();
    open_again();
    CU_ASSERT_EQUAL(partition_log_sure_epoch(f->log), 5); /* of many batches */
    end();
}

/* A log that contradicts because it has other records keeps them: this copy may be the last. */
static void other_records_are_never_given_up_for_the_peers(void)
{
    begin(22);
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
    end();
}

/* The epoch of a file's last batch has no successor in it, and made the whole next file look bad.
 */
static void a_flipped_epoch_at_the_end_of_a_file_takes_no_more_than_its_batch(void)
{
    begin(23);
    flip_epoch(segment_base(2) - 1, 9);
    lose_what_vouches();
    open_again();
    CU_ASSERT_EQUAL(f->log->damage_count, 1);
    CU_ASSERT_EQUAL(f->log->damage[0].from_offset, segment_base(2) - 3);
    CU_ASSERT_EQUAL(f->log->damage[0].to_offset, segment_base(2));
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    check_whole_twice();
}

/* What a read finds joins the hole, which then begins elsewhere than the repair does: an assertion.
 */
static void damage_found_in_front_of_a_repair_begins_it_anew(void)
{
    struct log_repair *repair = NULL;
    int64_t from = 0;
    int64_t to = 0;
    ria_err err = RIA_OK;

    begin(24);
    spoil(150, 70);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 150), 150);
    CU_ASSERT_EQUAL_FATAL(log_repair_new(f->log, &repair), RIA_OK);
    while (log_repair_get_state(repair) != LOG_REPAIR_WANTING) {
        CU_ASSERT_EQUAL_FATAL(log_repair_step(repair), RIA_OK);
    }
    log_repair_wanted(repair, &from, &to);
    struct log_repair_source source = peer_source(peer_read(from, to));
    CU_ASSERT_EQUAL(log_repair_put(repair, &source), RIA_OK);
    spoil(147, 70);
    CU_ASSERT_EQUAL(log_fixture_verify(f, 147), 147);
    for (int i = 0; err == RIA_OK && i < STEPS_MAX; i++) {
        err = log_repair_step(repair);
        log_fixture_advance_us(f, 1000);
    }
    CU_ASSERT_EQUAL(err, RIA_ERR_CONFLICT);
    log_fixture_advance_us(f, 1000000);
    log_repair_free(repair);
    CU_ASSERT_EQUAL(repair_all(), RIA_OK);
    check_whole_twice();
}

static const struct harness_test tests[] = {
    HARNESS_TEST(every_flipped_epoch_comes_right),
    HARNESS_TEST(the_epoch_of_one_batch_that_was_read_back_is_no_proof),
    HARNESS_TEST(other_records_are_never_given_up_for_the_peers),
    HARNESS_TEST(a_flipped_epoch_at_the_end_of_a_file_takes_no_more_than_its_batch),
    HARNESS_TEST(damage_found_in_front_of_a_repair_begins_it_anew),
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
    HARNESS_TEST(a_lost_tail_is_filled_by_appends_and_leads_only_then),
    HARNESS_TEST(a_missing_last_segment_is_known_by_its_index),
    HARNESS_TEST(a_cut_through_a_hole_leaves_a_lost_tail_up_to_it),
    HARNESS_TEST(dying_at_any_call_leaves_the_hole_or_the_repaired_log),
};
HARNESS_MAIN(tests);
