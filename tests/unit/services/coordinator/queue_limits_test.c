/* A partition at its row limit: no operation takes it beyond, and there is always a way on. The
 * count of its rows is made larger than it is, by a number that every check takes off again. */
#include <stdio.h>
#include <string.h>

#include "common/rand.h"

#include "schemas/gen/queue_receive.h"

#include "services/coordinator/apply_queue.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/queue_fixture.h"

enum { RECORDS = 60, LEASES = 64, ROUNDS = 40, STEPS = 120, DRAIN_MAX = 4000 };

struct limits {
    struct queue_world w;
    struct ria_rand rand;
    int64_t more; /* than there are rows */
    struct {
        int64_t id;
        int64_t first;
        int64_t last;
    } leases[LEASES];
    uint32_t lease_count;
};

static void add_rows(struct limits *l, int64_t more)
{
    struct queue_row row = queue_world_row(&l->w, 0);

    row.row_count += more;
    row.touched = true;
    CU_ASSERT_EQUAL(queue_row_store(&row), RIA_OK);
    l->more += more;
}

static void check(struct limits *l)
{
    struct queue_row row = queue_world_row(&l->w, 0);

    CU_ASSERT_TRUE(row.row_count <= QUEUE_ROWS_SPLIT_MAX);
    row.row_count -= l->more;
    const char *wrong = range_rows_check(&row);
    if (wrong != NULL) {
        (void)printf("[%s]", wrong);
    }
    CU_ASSERT_PTR_NULL(wrong);
}

static int64_t below(struct limits *l, int64_t bound)
{
    return (int64_t)ria_rand_below(&l->rand, (uint64_t)bound);
}

static void remember(struct limits *l, int64_t id, int64_t first, int64_t last)
{
    uint32_t at = l->lease_count < LEASES ? l->lease_count++ : (uint32_t)below(l, LEASES);

    l->leases[at].id = id;
    l->leases[at].first = first;
    l->leases[at].last = last;
}

/* Keys of few letters, some of them many times in a row; a few have none. */
static void settle(struct limits *l, int64_t id, int64_t first, int64_t last)
{
    char keys[RECORDS + 1] = "";
    char key = 'a';

    for (int64_t i = first; i <= last; i++) {
        key = below(l, 3) == 0 ? (char)('a' + below(l, 6)) : key;
        keys[i - first] = below(l, 8) == 0 ? '.' : key;
    }
    CU_ASSERT_EQUAL(queue_world_settle(&l->w, 0, id, first, keys, 0), RIA_OK);
    for (uint32_t i = 0; i < l->w.settled.entries_count; i++) {
        if (l->w.settled.entries[i].hand_out) {
            remember(l, id, first + i, first + i);
        }
    }
}

static void receive(struct limits *l, int32_t records)
{
    CU_ASSERT_EQUAL(queue_world_receive(&l->w, records), RIA_OK);
    struct queue_receive_result received = l->w.received;
    for (uint32_t i = 0; i < received.dead_count; i++) {
        const struct queue_receive_result_queue_dead *dead = &received.dead[i];
        remember(l, dead->lease_id, dead->first, dead->last);
    }
    for (uint32_t i = 0; i < received.granted_count; i++) {
        const struct queue_receive_result_queue_grant grant = received.granted[i];
        if (grant.unsettled) {
            settle(l, grant.lease_id, grant.first, grant.last); /* the only one */
        } else {
            remember(l, grant.lease_id, grant.first, grant.last);
        }
    }
}

static void act(struct limits *l)
{
    if (l->lease_count == 0) {
        return;
    }
    uint32_t at = (uint32_t)below(l, l->lease_count);
    int64_t first = l->leases[at].first + below(l, l->leases[at].last - l->leases[at].first + 1);
    int64_t last = first + below(l, l->leases[at].last - first + 1);
    int8_t action = (int8_t)(1 + below(l, 6));
    int64_t delay_ms = action == QUEUE_EXTEND ? 5000 : below(l, 2) * 1000;
    ria_err err = queue_world_act(&l->w, 0, l->leases[at].id, first, last, action, delay_ms);
    CU_ASSERT_TRUE(err == RIA_OK || err == RIA_ERR_CONFLICT || err == RIA_ERR_LIMIT);
}

static void step(struct limits *l)
{
    l->w.dead_max = (int32_t)below(l, 4);
    switch (below(l, 4)) {
    case 0:
        receive(l, (int32_t)below(l, 5));
        break;
    case 1:
        l->w.m.lease_ms += below(l, 4) == 0 ? QUEUE_LOCK : 100;
        break;
    default:
        act(l);
        break;
    }
    check(l);
}

static void begin(struct limits *l, uint64_t seed)
{
    static uint32_t no_delay[] = {0};
    struct queue_open settings;

    memset(l, 0, sizeof(*l));
    ria_rand_init(&l->rand, seed);
    queue_world_open(&l->w, 1);
    l->w.unchecked = true;
    l->w.ends[0] = RECORDS;
    settings = queue_world_settings(&l->w);
    settings.key_order = seed % 3 != 0;
    settings.deliveries_max = 1 + (int32_t)(seed % 4);
    settings.retry_ms = no_delay;
    settings.retry_ms_count = 1;
    settings.dead_topic = seed % 2 == 0 ? RIA_SLICE_LITERAL("dead") : RIA_SLICE_EMPTY;
    CU_ASSERT_EQUAL(queue_world_set(&l->w, &settings), RIA_OK);
    receive(l, 1);
    while (queue_world_row(&l->w, 0).frontier < RECORDS) {
        receive(l, 1 + (int32_t)below(l, 30));
        act(l);
        check(l);
    }
}

/* One record after the other: whoever asks for one, and does it, comes to the end. */
static void drain(struct limits *l)
{
    int left = DRAIN_MAX;

    for (; left > 0; left--) {
        struct queue_row row = queue_world_row(&l->w, 0);
        if (row.position == row.frontier) {
            break;
        }
        l->lease_count = 0;
        l->w.dead_max = 1;
        l->w.m.lease_ms += QUEUE_LOCK;
        receive(l, 1);
        check(l);
        for (uint32_t i = 0; i < l->lease_count; i++) {
            int64_t id = l->leases[i].id;
            int64_t first = l->leases[i].first;
            int64_t last = l->leases[i].last;
            ria_err err = queue_world_act(&l->w, 0, id, first, last, QUEUE_ACK, -1);
            if (err == RIA_ERR_CONFLICT) {
                err = queue_world_act(&l->w, 0, id, first, last, QUEUE_BURIED, -1);
            }
            CU_ASSERT_TRUE(err == RIA_OK || err == RIA_ERR_LIMIT);
            check(l);
        }
    }
    CU_ASSERT_TRUE(left > 0);
}

static void no_operation_goes_beyond_the_limit_and_there_is_a_way_on(void)
{
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct limits l;

        begin(&l, seed);
        int64_t rows = queue_world_row(&l.w, 0).row_count;
        add_rows(&l, QUEUE_ROWS_SPLIT_MAX - rows - below(&l, 8));
        for (int i = 0; i < STEPS; i++) {
            step(&l);
        }
        drain(&l);
        queue_world_close(&l.w);
    }
}

/* Small receives of a large range that is ready. */
static void a_partition_at_its_row_limit_gives_out_the_first_record_of_a_range(void)
{
    struct limits l = {.more = 0};

    queue_world_open(&l.w, 1);
    l.w.unchecked = true;
    l.w.ends[0] = 20;
    CU_ASSERT_EQUAL(queue_world_receive(&l.w, 20), RIA_OK);
    int64_t lease = queue_world_lease(&l.w);
    CU_ASSERT_EQUAL(queue_world_act(&l.w, 0, lease, 0, 19, QUEUE_GIVE_BACK, -1), RIA_OK);
    add_rows(&l, QUEUE_ROWS_SPLIT_MAX - 2);
    CU_ASSERT_EQUAL(queue_world_receive(&l.w, 5), RIA_OK);
    CU_ASSERT_TRUE(queue_world_granted(&l.w, "0:0-0#1"));
    CU_ASSERT_TRUE(l.w.received.full);
    check(&l);
    CU_ASSERT_EQUAL(queue_world_receive(&l.w, 5), RIA_OK);
    CU_ASSERT_TRUE(queue_world_granted(&l.w, ""));
    CU_ASSERT_TRUE(l.w.received.full);
    CU_ASSERT_TRUE(l.w.received.retry_after_ms > 0);
    CU_ASSERT_EQUAL(queue_world_receive(&l.w, 19), RIA_OK); /* all of it splits nothing */
    CU_ASSERT_TRUE(queue_world_granted(&l.w, "0:1-19#1"));
    check(&l);
    queue_world_close(&l.w);
}

/* A lease that began with room for its keys, which others have taken since. */
static void a_settle_at_the_row_limit_leaves_the_rest_fresh(void)
{
    struct limits l = {.more = 0};
    struct queue_open settings;

    queue_world_open(&l.w, 1);
    l.w.unchecked = true;
    settings = queue_world_settings(&l.w);
    settings.key_order = 1;
    CU_ASSERT_EQUAL(queue_world_set(&l.w, &settings), RIA_OK);
    l.w.ends[0] = 10;
    CU_ASSERT_EQUAL(queue_world_receive(&l.w, 10), RIA_OK);
    int64_t lease = queue_world_lease(&l.w);
    add_rows(&l, QUEUE_ROWS_SPLIT_MAX - 6);
    CU_ASSERT_EQUAL(queue_world_settle(&l.w, 0, lease, 0, "abcdefghij", 0), RIA_OK);
    CU_ASSERT_TRUE(queue_world_settled(&l.w, "hhhhhlllll"));
    check(&l);
    CU_ASSERT_EQUAL(queue_world_row(&l.w, 0).frontier, 5);
    CU_ASSERT_EQUAL(queue_world_row(&l.w, 0).unsettled, 0);
    add_rows(&l, -l.more);
    CU_ASSERT_EQUAL(queue_world_receive(&l.w, 10), RIA_OK);
    CU_ASSERT_TRUE(queue_world_granted(&l.w, "0:5-9#1u"));
    queue_world_close(&l.w);
}

/* Offsets that end where an int64 does. */
static void the_last_offsets_of_all_are_given_out(void)
{
    struct queue_world w;
    struct queue_receive_queue_start start = {.partition = 0, .offset = INT64_MAX - 10};
    struct queue_receive_queue_end end = {.partition = 0, .offset = INT64_MAX};
    struct queue_receive request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .lock_ms = -1,
        .records_max = 1000,
        .starts = &start,
        .starts_count = 1,
        .ends = &end,
        .ends_count = 1,
    };

    queue_world_open(&w, 1);
    for (int32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(
            queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &request, &w.received), RIA_OK
        );
        CU_ASSERT_EQUAL_FATAL(w.received.granted_count, 1);
        CU_ASSERT_EQUAL(w.received.granted[0].first, INT64_MAX - 10);
        CU_ASSERT_EQUAL(w.received.granted[0].last, INT64_MAX - 1);
        CU_ASSERT_EQUAL(w.received.granted[0].deliveries, i + 1);
        w.m.lease_ms += QUEUE_LOCK;
    }
    queue_world_close(&w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(no_operation_goes_beyond_the_limit_and_there_is_a_way_on),
    HARNESS_TEST(a_partition_at_its_row_limit_gives_out_the_first_record_of_a_range),
    HARNESS_TEST(a_settle_at_the_row_limit_leaves_the_rest_fresh),
    HARNESS_TEST(the_last_offsets_of_all_are_given_out),
};
HARNESS_MAIN(tests);
