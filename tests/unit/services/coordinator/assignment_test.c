#include "services/coordinator/assignment.h"

#include <string.h>

#include "common/clock.h"
#include "common/rand.h"

#include "tests/lib/harness.h"

enum { MEMBERS_MAX = 1000, PARTITIONS_MAX = 1000, ARENA_SIZE_MAX = 16 * 1024 * 1024 };

/* One topic that members 0..count-1 read. */
struct world {
    struct ria_arena arena;
    int32_t owners[PARTITIONS_MAX];
    int32_t before[PARTITIONS_MAX];
    uint32_t members[MEMBERS_MAX];
    struct assignment_topic topic;
};

static void set_up(struct world *w, uint32_t partitions)
{
    memset(w, 0, sizeof(*w));
    ria_arena_init(&w->arena, ARENA_SIZE_MAX);
    for (uint32_t i = 0; i < PARTITIONS_MAX; i++) {
        w->owners[i] = -1;
    }
    w->topic = (struct assignment_topic){
        .owners = w->owners,
        .partition_count = partitions,
        .members = w->members,
    };
}

static void tear_down(struct world *w)
{
    ria_arena_fini(&w->arena);
}

/* Plan for members [first, first + count). Returns how many partitions moved. */
static uint32_t plan(struct world *w, uint32_t first, uint32_t count)
{
    uint32_t moved = 0;

    memcpy(w->before, w->owners, sizeof(w->before));
    for (uint32_t i = 0; i < count; i++) {
        w->members[i] = first + i;
    }
    w->topic.member_count = count;
    ria_arena_reset(&w->arena);
    CU_ASSERT_EQUAL(assignment_plan(&w->topic, 1, MEMBERS_MAX, &w->arena), RIA_OK);
    for (uint32_t p = 0; p < w->topic.partition_count; p++) {
        moved += w->owners[p] != w->before[p] ? 1 : 0;
    }
    return moved;
}

static uint32_t owned(const struct world *w, uint32_t member)
{
    uint32_t count = 0;

    for (uint32_t p = 0; p < w->topic.partition_count; p++) {
        count += w->owners[p] == (int32_t)member ? 1 : 0;
    }
    return count;
}

static void check_even(const struct world *w, uint32_t first, uint32_t count)
{
    uint32_t base = w->topic.partition_count / count;
    uint32_t sum = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t has = owned(w, first + i);
        CU_ASSERT_TRUE(has == base || has == base + 1);
        sum += has;
    }
    CU_ASSERT_EQUAL(sum, w->topic.partition_count);
}

static void everybody_gets_the_same_give_or_take_one(void)
{
    struct world w;

    set_up(&w, 10);
    CU_ASSERT_EQUAL(plan(&w, 0, 3), 10);
    check_even(&w, 0, 3);
    tear_down(&w);
}

static void a_join_moves_only_the_new_ones_share(void)
{
    struct world w;

    set_up(&w, 12);
    (void)plan(&w, 0, 3);
    CU_ASSERT_EQUAL(plan(&w, 0, 4), 3);
    check_even(&w, 0, 4);
    for (uint32_t p = 0; p < 12; p++) {
        CU_ASSERT_TRUE(w.owners[p] == w.before[p] || w.owners[p] == 3);
    }
    tear_down(&w);
}

static void a_leave_moves_only_what_the_one_had(void)
{
    struct world w;

    set_up(&w, 12);
    (void)plan(&w, 0, 4);
    CU_ASSERT_EQUAL(plan(&w, 1, 3), 3);
    check_even(&w, 1, 3);
    for (uint32_t p = 0; p < 12; p++) {
        CU_ASSERT_TRUE(w.owners[p] == w.before[p] || w.before[p] == 0);
    }
    tear_down(&w);
}

static void nobody_new_nothing_moves(void)
{
    struct world w;

    set_up(&w, 11);
    (void)plan(&w, 0, 4);
    CU_ASSERT_EQUAL(plan(&w, 0, 4), 0);
    tear_down(&w);
}

static void without_members_partitions_are_nobodys(void)
{
    struct world w;

    set_up(&w, 5);
    (void)plan(&w, 0, 2);
    (void)plan(&w, 0, 0);
    for (uint32_t p = 0; p < 5; p++) {
        CU_ASSERT_EQUAL(w.owners[p], -1);
    }
    tear_down(&w);
}

static void more_members_than_partitions_leave_some_without(void)
{
    struct world w;

    set_up(&w, 3);
    (void)plan(&w, 0, 8);
    check_even(&w, 0, 8);
    CU_ASSERT_EQUAL(plan(&w, 0, 9), 0);
    tear_down(&w);
}

/* What cannot stay: partitions of others, and of each member what is above its share; as many as
 * there are odd partitions may keep one more. */
static uint32_t least_moves(const struct world *w, uint32_t first, uint32_t count)
{
    uint32_t base = w->topic.partition_count / count;
    uint32_t extra = w->topic.partition_count % count;
    uint32_t stays = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t has = owned(w, first + i);
        stays += has < base ? has : base;
        if (has > base && extra > 0) {
            stays++;
            extra--;
        }
    }
    return w->topic.partition_count - stays;
}

static void any_change_moves_as_little_as_can_be(void)
{
    struct world w;
    struct ria_rand rand;

    ria_rand_init(&rand, 5);
    for (int round = 0; round < 300; round++) {
        set_up(&w, 1 + (uint32_t)ria_rand_below(&rand, 60));
        for (uint32_t p = 0; p < w.topic.partition_count; p++) {
            w.owners[p] = (int32_t)ria_rand_below(&rand, 12) - 1;
        }
        for (int step = 0; step < 5; step++) {
            uint32_t first = (uint32_t)ria_rand_below(&rand, 5);
            uint32_t count = 1 + (uint32_t)ria_rand_below(&rand, 12);
            uint32_t least = least_moves(&w, first, count);
            CU_ASSERT_EQUAL(plan(&w, first, count), least);
            check_even(&w, first, count);
        }
        tear_down(&w);
    }
}

/* Topics of one partition each: by topic alone the first one would have them all. */
static void sums_over_topics_are_even_too(void)
{
    enum { TOPICS = 60 };
    struct ria_arena arena;
    int32_t owners[TOPICS];
    struct assignment_topic topics[TOPICS];
    const uint32_t members[] = {0, 1, 2};
    uint32_t counts[3] = {0};
    uint32_t moved = 0;

    ria_arena_init(&arena, ARENA_SIZE_MAX);
    for (uint32_t i = 0; i < TOPICS; i++) {
        owners[i] = -1;
        topics[i] = (struct assignment_topic
        ){.owners = &owners[i], .partition_count = 1, .members = members, .member_count = 2};
    }
    CU_ASSERT_EQUAL(assignment_plan(topics, TOPICS, 3, &arena), RIA_OK);
    for (uint32_t i = 0; i < TOPICS; i++) {
        counts[owners[i]]++;
        topics[i].member_count = 3;
    }
    CU_ASSERT_EQUAL(counts[0], 30);
    CU_ASSERT_EQUAL(counts[1], 30);
    memset(counts, 0, sizeof(counts));
    CU_ASSERT_EQUAL(assignment_plan(topics, TOPICS, 3, &arena), RIA_OK);
    for (uint32_t i = 0; i < TOPICS; i++) {
        counts[owners[i]]++;
        moved += owners[i] == 2 ? 1 : 0;
    }
    CU_ASSERT_TRUE(counts[0] <= 21 && counts[1] <= 21);
    CU_ASSERT_EQUAL(moved, counts[2]);
    CU_ASSERT_TRUE(moved >= 19);
    ria_arena_fini(&arena);
}

static void each_topic_is_shared_by_those_who_subscribe_to_it(void)
{
    struct ria_arena arena;
    int32_t a[4] = {0, 0, 0, 0};
    int32_t b[4] = {0, 0, 0, 0};
    const uint32_t of_a[] = {0, 1};
    const uint32_t of_b[] = {1};
    struct assignment_topic topics[] = {
        {.owners = a, .partition_count = 4, .members = of_a, .member_count = 2},
        {.owners = b, .partition_count = 4, .members = of_b, .member_count = 1},
    };

    ria_arena_init(&arena, ARENA_SIZE_MAX);
    CU_ASSERT_EQUAL(assignment_plan(topics, 2, 2, &arena), RIA_OK);
    CU_ASSERT_EQUAL(a[0] + a[1] + a[2] + a[3], 2);
    CU_ASSERT_EQUAL(b[0] + b[1] + b[2] + b[3], 4);
    ria_arena_fini(&arena);
}

static void a_thousand_members_are_planned_in_no_time(void)
{
    struct world w;
    const struct ria_clock *clock = ria_clock_system();

    set_up(&w, PARTITIONS_MAX);
    (void)plan(&w, 0, MEMBERS_MAX - 1);
    int64_t start_us = ria_clock_mono_us(clock);
    CU_ASSERT_EQUAL(plan(&w, 0, MEMBERS_MAX), 1);
    int64_t us = ria_clock_mono_us(clock) - start_us;
    CU_ASSERT_TRUE(us < 100000);
    tear_down(&w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(everybody_gets_the_same_give_or_take_one),
    HARNESS_TEST(a_join_moves_only_the_new_ones_share),
    HARNESS_TEST(a_leave_moves_only_what_the_one_had),
    HARNESS_TEST(nobody_new_nothing_moves),
    HARNESS_TEST(without_members_partitions_are_nobodys),
    HARNESS_TEST(more_members_than_partitions_leave_some_without),
    HARNESS_TEST(any_change_moves_as_little_as_can_be),
    HARNESS_TEST(sums_over_topics_are_even_too),
    HARNESS_TEST(each_topic_is_shared_by_those_who_subscribe_to_it),
    HARNESS_TEST(a_thousand_members_are_planned_in_no_time),
};
HARNESS_MAIN(tests);
