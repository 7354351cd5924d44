#include "services/gateway/fetch_cache.h"

#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"

#include "services/gateway/gate.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/world.h"

enum { LIMIT = 64 * 1024 * 1024, MANY = 100 };

struct setup {
    struct world world;
    struct fetch_cache cache;
    struct cluster_topic topic;
    struct cluster_partition partitions[MANY];
    struct ria_buf batches;
};

static void setup(struct setup *s)
{
    world_init(&s->world, 1);
    s->world.budget.limit = LIMIT;
    s->topic = (struct cluster_topic){.partition_count = MANY};
    for (int i = 0; i < MANY; i++) {
        s->partitions[i] =
            (struct cluster_partition){.topic = &s->topic, .number = i, .leader_epoch = 3};
    }
    fetch_cache_init(&s->cache, &s->world.env, &s->world.budget);
    ria_buf_init(&s->batches, 1 << 20);
}

static void teardown(struct setup *s)
{
    ria_buf_fini(&s->batches);
    fetch_cache_fini(&s->cache);
    CU_ASSERT_EQUAL(s->world.budget.used.value, 0);
    CU_ASSERT_EQUAL(s->cache.shelves.count, 0);
    world_fini(&s->world);
}

/* A batch of so many records, each with `size` bytes. Returns how large it is. */
static size_t add_batch(struct setup *s, int64_t offset, int records, size_t size)
{
    static const uint8_t bytes[64 * 1024];
    struct batch_builder builder;

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (int i = 0; i < records; i++) {
        CU_ASSERT_EQUAL(
            batch_builder_add(&builder, 5, RIA_SLICE_NULL, ria_slice_of(bytes, size), NULL, 0),
            RIA_OK
        );
    }
    struct ria_slice batch = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(builder.buf.data, offset, 1);
    CU_ASSERT_EQUAL(ria_buf_append(&s->batches, batch.data, batch.size), RIA_OK);
    batch_builder_fini(&builder);
    return batch.size;
}

static void put(struct setup *s, int partition, int64_t first, int64_t end)
{
    const struct fetched fetched = {
        .batches = ria_buf_slice(&s->batches),
        .first = first,
        .end = end,
        .high_watermark = 1000,
        .log_start = 2,
    };

    fetch_cache_put(&s->cache, &s->partitions[partition], 3, &fetched);
    ria_buf_clear(&s->batches);
}

/* Base offset of the first batch that came and the last offset of the last one; false: none. */
static bool
get(struct setup *s, int partition, int64_t first, int64_t last, int64_t bytes_max, int64_t out[2])
{
    struct fetched fetched = {.high_watermark = -1};
    struct batch_header header;
    struct ria_msg *msg =
        fetch_cache_get(&s->cache, &s->partitions[partition], first, last, bytes_max, &fetched);

    out[0] = -1;
    out[1] = -1;
    if (msg == NULL) {
        return false;
    }
    size_t size = fetch_cache_has(&s->cache, &s->partitions[partition], first, last);
    CU_ASSERT_TRUE(size >= fetched.batches.size);
    CU_ASSERT_EQUAL(ria_msg_size(msg), fetched.batches.size);
    CU_ASSERT_EQUAL(fetched.high_watermark, 1000);
    CU_ASSERT_EQUAL(fetched.log_start, 2);
    while (batch_header_decode(fetched.batches, &header) == RIA_OK) {
        out[0] = out[0] < 0 ? header.base_offset : out[0];
        out[1] = batch_last_offset(&header);
        fetched.batches = ria_slice_sub(fetched.batches, batch_size(&header), fetched.batches.size);
    }
    CU_ASSERT_EQUAL(fetched.batches.size, 0);
    ria_msg_free(msg);
    return true;
}

static bool gets(struct setup *s, int partition, int64_t first, int64_t last)
{
    int64_t range[2];

    return get(s, partition, first, last, 1 << 20, range);
}

static void only_the_batches_that_are_wanted_are_copied(void)
{
    struct setup s;
    int64_t range[2];

    setup(&s);
    (void)add_batch(&s, 10, 5, 10);
    size_t middle = add_batch(&s, 15, 5, 10);
    (void)add_batch(&s, 20, 5, 10);
    put(&s, 0, 10, 25);
    CU_ASSERT_TRUE(get(&s, 0, 12, 12, 1 << 20, range) && range[0] == 10 && range[1] == 14);
    CU_ASSERT_TRUE(get(&s, 0, 17, 20, 1 << 20, range) && range[0] == 15 && range[1] == 24);
    CU_ASSERT_TRUE(get(&s, 0, 10, 24, 1 << 20, range) && range[0] == 10 && range[1] == 24);
    /* No more bytes than the reader wants, but one batch. */
    CU_ASSERT_TRUE(get(&s, 0, 17, 20, (int64_t)middle, range) && range[1] == 19);
    CU_ASSERT_TRUE(get(&s, 0, 17, 20, 1, range) && range[0] == 15 && range[1] == 19);
    CU_ASSERT_FALSE(gets(&s, 0, 9, 12));
    CU_ASSERT_FALSE(gets(&s, 0, 20, 25));
    CU_ASSERT_FALSE(gets(&s, 1, 12, 12));
    CU_ASSERT_EQUAL(s.cache.hits.value, 5);
    teardown(&s);
}

/* Whether an offset that compaction took is gone is for the leader to say. */
static void a_hole_is_not_answered(void)
{
    struct setup s;

    setup(&s);
    (void)add_batch(&s, 12, 3, 10);
    (void)add_batch(&s, 20, 3, 10);
    put(&s, 0, 10, 23);
    CU_ASSERT_FALSE(gets(&s, 0, 10, 13));
    CU_ASSERT_TRUE(gets(&s, 0, 13, 21));
    teardown(&s);
}

static void pieces_are_forgotten_after_a_moment(void)
{
    struct setup s;

    setup(&s);
    (void)add_batch(&s, 0, 5, 10);
    put(&s, 0, 0, 5);
    world_advance(&s.world, FETCH_CACHE_AGE_US / 2);
    (void)add_batch(&s, 5, 5, 10);
    put(&s, 0, 5, 10);
    CU_ASSERT_TRUE(gets(&s, 0, 0, 4) && gets(&s, 0, 5, 9));
    CU_ASSERT_TRUE(s.world.budget.used.value > 0);
    world_advance(&s.world, FETCH_CACHE_AGE_US / 2);
    CU_ASSERT_FALSE(gets(&s, 0, 0, 4));
    CU_ASSERT_TRUE(gets(&s, 0, 5, 9));
    world_advance(&s.world, FETCH_CACHE_AGE_US / 2);
    CU_ASSERT_FALSE(gets(&s, 0, 5, 9));
    CU_ASSERT_EQUAL(s.world.budget.used.value, 0);
    CU_ASSERT_EQUAL(s.world.timers.heap.count, 0);
    teardown(&s);
}

static void another_epoch_or_a_deleted_topic_ends_a_piece(void)
{
    struct setup s;

    setup(&s);
    (void)add_batch(&s, 0, 5, 10);
    put(&s, 0, 0, 5);
    s.partitions[0].leader_epoch = 4;
    CU_ASSERT_FALSE(gets(&s, 0, 0, 4));
    CU_ASSERT_EQUAL(fetch_cache_has(&s.cache, &s.partitions[0], 0, 4), 0);
    s.partitions[0].leader_epoch = 3;
    CU_ASSERT_TRUE(gets(&s, 0, 0, 4));
    s.topic.deleted = true;
    CU_ASSERT_FALSE(gets(&s, 0, 0, 4));
    teardown(&s);
}

static void memory_is_bounded_and_the_oldest_go_first(void)
{
    struct setup s;

    setup(&s);
    for (int i = 0; i <= FETCH_PIECES_MAX; i++) { /* of one partition */
        (void)add_batch(&s, 5 * i, 5, 10);
        put(&s, 0, 5 * i, 5 * i + 5);
    }
    CU_ASSERT_FALSE(gets(&s, 0, 0, 4));
    CU_ASSERT_TRUE(gets(&s, 0, 5, 9));
    for (int i = 1; i < MANY; i++) {
        (void)add_batch(&s, 0, 2, 60 * 1000);
        put(&s, i, 0, 2);
        CU_ASSERT_TRUE(s.cache.size <= FETCH_CACHE_SIZE_MAX);
        CU_ASSERT_EQUAL((int64_t)s.cache.size, s.world.budget.used.value);
    }
    CU_ASSERT_TRUE(s.cache.size > FETCH_CACHE_SIZE_MAX * 9 / 10);
    CU_ASSERT_FALSE(gets(&s, 0, 5, 9));
    CU_ASSERT_TRUE(gets(&s, MANY - 1, 0, 1));
    /* A small budget: a small part of it. */
    s.world.budget.limit = FETCH_CACHE_SHARE * 130 * 1000;
    (void)add_batch(&s, 2, 2, 60 * 1000);
    put(&s, 5, 2, 4);
    CU_ASSERT_TRUE(gets(&s, 5, 2, 3));
    CU_ASSERT_FALSE(gets(&s, MANY - 1, 0, 1));
    (void)add_batch(&s, 4, 3, 60 * 1000); /* is too large for it */
    put(&s, 5, 4, 7);
    CU_ASSERT_FALSE(gets(&s, 5, 4, 6));
    CU_ASSERT_TRUE(gets(&s, 5, 2, 3));
    teardown(&s);
}

static void let_in(struct gate_pass *pass, bool may_enter)
{
    *(int *)pass->arg = may_enter ? 1 : -1;
}

static void readers_do_not_wait_for_memory_that_it_has(void)
{
    struct setup s;
    struct gate gate;
    int entered = 0;
    struct gate_pass pass = {
        .size = LIMIT / 4, .deadline_us = INT64_MAX, .fn = let_in, .arg = &entered};

    setup(&s);
    gate_init(&gate, &s.world.env, &s.world.budget, &s.cache);
    (void)add_batch(&s, 0, 5, 10);
    put(&s, 0, 0, 5);
    gate_enter(&gate, &pass);
    CU_ASSERT_EQUAL(entered, 1);
    CU_ASSERT_TRUE(gets(&s, 0, 0, 4)); /* there is room for both */
    gate_resize(&s.world.budget, pass.size, 0);

    entered = 0;
    budget_charge(&s.world.budget, LIMIT - LIMIT / 4);
    gate_enter(&gate, &pass);
    CU_ASSERT_EQUAL(entered, 1);
    CU_ASSERT_EQUAL(s.cache.size, 0);
    budget_give(&s.world.budget, LIMIT - LIMIT / 4);
    gate_resize(&s.world.budget, pass.size, 0);
    gate_fini(&gate);
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(only_the_batches_that_are_wanted_are_copied),
    HARNESS_TEST(a_hole_is_not_answered),
    HARNESS_TEST(pieces_are_forgotten_after_a_moment),
    HARNESS_TEST(another_epoch_or_a_deleted_topic_ends_a_piece),
    HARNESS_TEST(memory_is_bounded_and_the_oldest_go_first),
    HARNESS_TEST(readers_do_not_wait_for_memory_that_it_has),
};

HARNESS_MAIN(tests);
