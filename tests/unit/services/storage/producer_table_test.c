#include "services/storage/producer_table.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/rand.h"

#include "tests/lib/harness.h"

static const int64_t HOUR_US = INT64_C(3600) * 1000 * 1000;

static struct batch_header
batch_of(int64_t producer_id, int16_t epoch, int32_t sequence, int32_t count, int64_t offset)
{
    return (struct batch_header){
        .base_offset = offset,
        .last_offset_delta = count - 1,
        .record_count = count,
        .max_timestamp = 7000 + offset,
        .producer_id = producer_id,
        .producer_epoch = epoch,
        .base_sequence = sequence,
    };
}

static void
note(struct producer_table *table, int64_t id, int16_t epoch, int32_t sequence, int64_t offset)
{
    struct batch_header header = batch_of(id, epoch, sequence, 10, offset);

    RIA_ASSERT(producer_table_reserve(table, 1) == RIA_OK);
    producer_table_note(table, &header, 0);
}

/* RIA_OK: *out_offset is the duplicate's, or -1. */
static ria_err admit(
    const struct producer_table *table,
    int64_t id,
    int16_t epoch,
    int32_t sequence,
    int32_t count,
    int64_t *out_offset
)
{
    struct batch_header header = batch_of(id, epoch, sequence, count, 0);
    return producer_table_admit(table, &header, out_offset);
}

static void sequences_must_continue(void)
{
    struct producer_table table;
    int64_t offset = 0;

    producer_table_init(&table);
    CU_ASSERT_EQUAL(admit(&table, 1, 0, 0, 10, &offset), RIA_OK); /* nothing is known */
    CU_ASSERT_EQUAL(offset, -1);
    note(&table, 1, 0, 0, 100);
    CU_ASSERT_EQUAL(admit(&table, 1, 0, 10, 5, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, -1);
    CU_ASSERT_EQUAL(admit(&table, 1, 0, 11, 5, &offset), RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_EQUAL(admit(&table, 1, 0, 9, 5, &offset), RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_EQUAL(admit(&table, 1, 0, 0, 9, &offset), RIA_ERR_OUT_OF_ORDER); /* not that batch */
    CU_ASSERT_EQUAL(admit(&table, 2, 0, 0, 5, &offset), RIA_OK);
    CU_ASSERT_EQUAL(admit(&table, -1, -1, -1, 5, &offset), RIA_OK);
    producer_table_fini(&table);
}

/* Sequences 0 and 10 under way: 0 was refused (no leader yet), 10 came after. Taken, it would make
 * the second attempt of 0 look like a batch from before the window: acknowledged, never stored. */
static void an_unknown_producer_must_begin_at_zero(void)
{
    struct producer_table table;
    int64_t offset = 0;

    producer_table_init(&table);
    CU_ASSERT_EQUAL(admit(&table, 1, 0, 10, 10, &offset), RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_EQUAL(admit(&table, 1, 3, 10, 10, &offset), RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_EQUAL(admit(&table, 1, 3, 0, 10, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, -1);
    producer_table_fini(&table);
}

static void the_last_five_batches_are_recognised(void)
{
    struct producer_table table;
    int64_t offset = 0;

    producer_table_init(&table);
    for (int i = 0; i < 7; i++) {
        note(&table, 1, 0, i * 10, 100 + i * 10);
    }
    for (int i = 0; i < 7; i++) {
        ria_err err = admit(&table, 1, 0, i * 10, 10, &offset);
        CU_ASSERT_EQUAL(err, i < 2 ? RIA_ERR_OUT_OF_ORDER : RIA_OK);
        CU_ASSERT(i < 2 || offset == 100 + i * 10);
    }
    CU_ASSERT_EQUAL(producer_table_find(&table, 1)->batch_count, PRODUCER_WINDOW);
    CU_ASSERT_EQUAL(producer_table_find(&table, 1)->last_timestamp_ms, 7160);
    producer_table_fini(&table);
}

static void sequences_wrap_to_zero(void)
{
    struct producer_table table;
    int64_t offset = 0;

    producer_table_init(&table);
    note(&table, 1, 0, INT32_MAX - 9, 0); /* ends at 2^31 - 1 */
    CU_ASSERT_EQUAL(admit(&table, 1, 0, 0, 5, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, -1);
    note(&table, 1, 0, INT32_MAX - 3, 10); /* wraps inside */
    CU_ASSERT_EQUAL(producer_table_find(&table, 1)->batches[1].last_sequence, 5);
    CU_ASSERT_EQUAL(admit(&table, 1, 0, 6, 5, &offset), RIA_OK);
    CU_ASSERT_EQUAL(admit(&table, 1, 0, INT32_MAX - 3, 10, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, 10);
    producer_table_fini(&table);
}

static void an_epoch_begins_at_zero_and_fences_older_ones(void)
{
    struct producer_table table;
    int64_t offset = 0;

    producer_table_init(&table);
    note(&table, 1, 3, 40, 0);
    CU_ASSERT_EQUAL(admit(&table, 1, 2, 50, 10, &offset), RIA_ERR_FENCED_PRODUCER);
    CU_ASSERT_EQUAL(admit(&table, 1, 2, 40, 10, &offset), RIA_ERR_FENCED_PRODUCER);
    CU_ASSERT_EQUAL(admit(&table, 1, 4, 50, 10, &offset), RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_EQUAL(admit(&table, 1, 4, 0, 10, &offset), RIA_OK);
    note(&table, 1, 4, 0, 10);
    CU_ASSERT_EQUAL(producer_table_find(&table, 1)->batch_count, 1);
    CU_ASSERT_EQUAL(admit(&table, 1, 3, 50, 10, &offset), RIA_ERR_FENCED_PRODUCER);
    producer_table_fini(&table);
}

/* More ids than are kept in any case. */
static void crowd(struct producer_table *table, int64_t now_us)
{
    RIA_ASSERT(producer_table_reserve(table, PRODUCER_TABLE_KEPT + 1) == RIA_OK);
    for (int64_t i = 0; i < PRODUCER_TABLE_KEPT; i++) {
        struct batch_header header = batch_of(1000 + i, 0, 0, 1, 1000 + i);
        producer_table_note(table, &header, now_us);
    }
}

static void silence_alone_forgets_nobody(void)
{
    struct producer_table table;

    producer_table_init(&table);
    note(&table, 1, 0, 0, 0);
    CU_ASSERT_EQUAL(producer_table_reserve(&table, 1), RIA_OK);
    struct batch_header header = batch_of(2, 0, 0, 10, 10);
    producer_table_note(&table, &header, 1000 * HOUR_US);
    CU_ASSERT_PTR_NOT_NULL(producer_table_find(&table, 1));
    producer_table_fini(&table);
}

static void who_is_silent_for_a_day_is_forgotten_in_a_crowd(void)
{
    struct producer_table table;

    producer_table_init(&table);
    CU_ASSERT_EQUAL(producer_table_reserve(&table, 8), RIA_OK);
    for (int64_t id = 0; id < 3; id++) {
        struct batch_header header = batch_of(id, 0, 0, 10, id * 10);
        producer_table_note(&table, &header, id * HOUR_US);
    }
    struct batch_header header = batch_of(0, 0, 10, 10, 30);
    producer_table_note(&table, &header, 24 * HOUR_US);
    CU_ASSERT_EQUAL(table.count, 3);
    crowd(&table, 25 * HOUR_US);
    CU_ASSERT_PTR_NOT_NULL(producer_table_find(&table, 1));
    header = batch_of(7, 0, 0, 10, 40);
    producer_table_note(&table, &header, 25 * HOUR_US + 1);
    CU_ASSERT_PTR_NULL(producer_table_find(&table, 1));
    CU_ASSERT_PTR_NOT_NULL(producer_table_find(&table, 0));
    CU_ASSERT_PTR_NOT_NULL(producer_table_find(&table, 2));
    CU_ASSERT_EQUAL(table.shed_count, 0);
    producer_table_check(&table);
    producer_table_fini(&table);
}

static void a_full_table_sheds_the_longest_silent(void)
{
    struct producer_table table;

    producer_table_init(&table);
    for (int64_t id = 0; id < PRODUCER_TABLE_MAX; id++) {
        note(&table, id, 0, 0, id * 10);
    }
    note(&table, 0, 0, 10, 5000000); /* the oldest speaks again */
    note(&table, 777777, 0, 0, 6000000);
    CU_ASSERT_EQUAL(table.count, PRODUCER_TABLE_MAX);
    CU_ASSERT_EQUAL(table.shed_count, 1);
    CU_ASSERT_PTR_NULL(producer_table_find(&table, 1));
    CU_ASSERT_PTR_NOT_NULL(producer_table_find(&table, 0));
    CU_ASSERT_PTR_NOT_NULL(producer_table_find(&table, 777777));
    producer_table_check(&table);
    producer_table_fini(&table);
}

static void a_snapshot_keeps_batches_order_and_silence(void)
{
    struct producer_table table;
    struct producer_table back;
    struct ria_buf buf;
    int64_t offset = 0;

    producer_table_init(&table);
    producer_table_init(&back);
    ria_buf_init(&buf, 1024 * 1024);
    CU_ASSERT_EQUAL(producer_table_reserve(&table, 8), RIA_OK);
    for (int i = 0; i < 40; i++) {
        struct batch_header header = batch_of(i % 4, 1, i / 4 * 10, 10, i * 10);
        producer_table_note(&table, &header, i * HOUR_US / 2);
    }
    CU_ASSERT_EQUAL_FATAL(producer_table_encode(&table, 400, 20 * HOUR_US, &buf), RIA_OK);
    CU_ASSERT_EQUAL(producer_table_decode(&back, ria_buf_slice(&buf), 401, 0), RIA_ERR_CORRUPT);
    CU_ASSERT_EQUAL(producer_table_decode(&back, ria_buf_slice(&buf), 400, HOUR_US), RIA_OK);
    producer_table_check(&back);
    CU_ASSERT_EQUAL(back.count, 4);
    CU_ASSERT_EQUAL(producer_table_find(&back, 3)->batches[4].base_offset, 390);
    CU_ASSERT_EQUAL(admit(&back, 2, 1, 90, 10, &offset), RIA_OK);
    CU_ASSERT_EQUAL(offset, 380);
    CU_ASSERT_TRUE(producer_table_reaches(&back, 399));
    CU_ASSERT_FALSE(producer_table_reaches(&back, 400));
    /* Producer 0 had been silent for 2 h at the snapshot, 3 for half an hour. */
    struct batch_header header = batch_of(9, 0, 0, 10, 400);
    crowd(&back, HOUR_US + 22 * HOUR_US);
    CU_ASSERT_EQUAL(producer_table_reserve(&back, 1), RIA_OK);
    producer_table_note(&back, &header, HOUR_US + 22 * HOUR_US + HOUR_US / 4);
    CU_ASSERT_PTR_NULL(producer_table_find(&back, 0));
    CU_ASSERT_PTR_NOT_NULL(producer_table_find(&back, 3));
    producer_table_fini(&table);
    producer_table_fini(&back);
    ria_buf_fini(&buf);
}

static void any_bad_byte_of_a_snapshot_is_noticed(void)
{
    struct producer_table table;
    struct ria_buf buf;

    producer_table_init(&table);
    ria_buf_init(&buf, 1024 * 1024);
    note(&table, 5, 0, 0, 0);
    CU_ASSERT_EQUAL_FATAL(producer_table_encode(&table, 10, 0, &buf), RIA_OK);
    for (size_t i = 0; i < buf.size; i++) {
        buf.data[i] ^= 0x04;
        CU_ASSERT_EQUAL(producer_table_decode(&table, ria_buf_slice(&buf), 10, 0), RIA_ERR_CORRUPT);
        CU_ASSERT_EQUAL(table.count, 0);
        buf.data[i] ^= 0x04;
    }
    producer_table_fini(&table);
    ria_buf_fini(&buf);
}

/* Against a plain array. */
static void ids_come_and_go_in_any_order(void)
{
    enum { IDS = PRODUCER_TABLE_KEPT + 2000 };
    static int64_t last_offset[IDS];
    struct producer_table table;
    struct ria_rand rand;
    int64_t now_us = 0;

    ria_rand_init(&rand, 1);
    producer_table_init(&table);
    for (int i = 0; i < IDS; i++) {
        last_offset[i] = -1;
    }
    for (int64_t offset = 0; offset < 400000; offset += 10) {
        int64_t id = (int64_t)ria_rand_below(&rand, IDS);
        struct batch_header header = batch_of(id * 1000, 0, 0, 10, offset);
        RIA_ASSERT(producer_table_reserve(&table, 1) == RIA_OK);
        producer_table_note(&table, &header, now_us);
        last_offset[id] = offset;
        now_us += HOUR_US / 200;
        if (offset % 40000 == 0) {
            producer_table_check(&table);
        }
    }
    for (int64_t id = 0; id < IDS; id++) {
        const struct producer_state *state = producer_table_find(&table, id * 1000);
        CU_ASSERT(state == NULL || last_offset[id] >= 0);
        if (state != NULL) {
            CU_ASSERT_EQUAL(state->batches[state->batch_count - 1].base_offset, last_offset[id]);
        }
    }
    CU_ASSERT(table.count <= PRODUCER_TABLE_KEPT + 24 * 200);
    producer_table_clear(&table);
    CU_ASSERT_EQUAL(table.count, 0);
    producer_table_fini(&table);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(sequences_must_continue),
    HARNESS_TEST(an_unknown_producer_must_begin_at_zero),
    HARNESS_TEST(the_last_five_batches_are_recognised),
    HARNESS_TEST(sequences_wrap_to_zero),
    HARNESS_TEST(an_epoch_begins_at_zero_and_fences_older_ones),
    HARNESS_TEST(silence_alone_forgets_nobody),
    HARNESS_TEST(who_is_silent_for_a_day_is_forgotten_in_a_crowd),
    HARNESS_TEST(a_full_table_sheds_the_longest_silent),
    HARNESS_TEST(a_snapshot_keeps_batches_order_and_silence),
    HARNESS_TEST(any_bad_byte_of_a_snapshot_is_noticed),
    HARNESS_TEST(ids_come_and_go_in_any_order),
};
HARNESS_MAIN(tests);
