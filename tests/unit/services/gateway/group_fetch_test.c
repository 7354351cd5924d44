/* One call of a group: where it starts, whom it asks, how it waits, and what it does out of range.
 */
#include "services/gateway/group_fetch.h"

#include "schemas/gen/fetch_request.h"
#include "schemas/gen/group_read.h"
#include "schemas/gen/group_read_result.h"
#include "schemas/gen/group_reset.h"

#include "services/gateway/gateway.h"
#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/consuming.h"

enum { SECOND = 1000 * 1000 };

/* --- starts ------------------------------------------------------------------------------------*/

static void a_new_group_starts_at_the_earliest_record(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t");
    (void)consuming_expect_read(&s);
    consuming_offer(&s, 1, -1);
    consuming_say_range(&s, 3, 9);
    const struct group_read *read = consuming_expect_read(&s);
    CU_ASSERT_EQUAL_FATAL(read->topics[0].starts_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].starts[0].offset, 3);
    CU_ASSERT_EQUAL_FATAL(read->topics[0].ends_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].ends[0].offset, 9);
    consuming_grant(&s, 1, 3);
    consuming_give_records(&s, 3, 6);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"next_offset\":9"));
    consuming_fini(&s);
}

static void latest_is_the_end_at_the_first_call(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t&from=latest");
    (void)consuming_expect_read(&s);
    consuming_offer(&s, 1, -1);
    consuming_say_range(&s, 3, 9);
    /* It is written down although there is nothing to read. */
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->topics[0].starts[0].offset, 9);
    consuming_offer(&s, 1, 9);
    consuming_say_mark(&s, 0, -1);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"records\":[]"));
    consuming_fini(&s);
}

/* A start of -1 was once sent for what had no leader to ask. */
static void a_partition_whose_start_is_not_known_is_left_alone(void)
{
    struct consuming s;

    consuming_init(&s);
    s.t->leaders[1] = -1;
    world_publish(&s.world);
    world_run(&s.world);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t");
    (void)consuming_expect_read(&s);
    consuming_offer(&s, 2, -1);
    consuming_say_range(&s, 3, 9);
    world_advance(&s.world, 3 * SECOND);
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->topics[0].starts_count, 1);
    {
        struct group_read_result result;
        struct group_read_result_group_offer offers[2] = {
            {.topic_id = s.t->id, .partition = 0, .offset = 3},
            {.topic_id = s.t->id, .partition = 1, .offset = -1},
        };
        group_read_result_init(&result);
        result.offered = offers;
        result.offered_count = 2;
        consuming_answer_with(&s, &result);
    }
    /* The mark says that there are records: it asks again, without a start. */
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->topics[0].starts_count, 0);
    consuming_grant(&s, 1, 3);
    consuming_give_records(&s, 3, 6);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"next_offset\":9"));
    consuming_fini(&s);
}

static void a_gateway_that_knows_nothing_asks_each_leader_once(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t");
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->topics[0].ends_count, 0);
    consuming_offer(&s, 3, 4);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 3);
    consuming_say_mark(&s, 0, -1);
    consuming_say_mark(&s, 1, 6);
    consuming_say_mark(&s, 2, -1);
    const struct group_read *read = consuming_expect_read(&s);
    CU_ASSERT_EQUAL_FATAL(read->topics[0].ends_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].ends[0].partition, 1);
    consuming_grant(&s, 1, 4);
    consuming_give_records(&s, 4, 2);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"offset\":5"));
    consuming_fini(&s);
}

/* --- waiting -----------------------------------------------------------------------------------*/

static void who_waits_is_answered_when_records_come(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t&wait_ms=20000");
    (void)consuming_expect_read(&s);
    consuming_offer(&s, 3, 4);
    consuming_say_nothing_moved(&s);
    world_advance(&s.world, 5 * SECOND);
    CU_ASSERT_TRUE(consuming_waits(&s, 0));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s)); /* it costs nothing */
    consuming_say_mark(&s, 2, 5);
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->commits_count, 0);
    consuming_grant(&s, 1, 4);
    consuming_give_records(&s, 4, 1);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"offset\":4"));
    consuming_fini(&s);
}

static void of_two_who_wait_one_is_woken(void)
{
    struct consuming s;

    consuming_init(&s);
    for (int i = 0; i < 2; i++) {
        consuming_get(&s, i, "/v1/groups/g/records?topics=t&wait_ms=20000");
        (void)consuming_expect_read(&s);
        consuming_offer(&s, 1, 4);
        if (i == 0) {
            consuming_say_mark(&s, 0, -1);
        }
    }
    consuming_say_mark(&s, 0, -1); /* the probe of the second */
    world_advance(&s.world, SECOND);
    consuming_say_mark(&s, 0, 5);
    (void)consuming_expect_read(&s); /* one of them */
    consuming_grant(&s, 1, 4);
    consuming_give_records(&s, 4, 1);
    CU_ASSERT_FALSE(consuming_waits(&s, 0));
    CU_ASSERT_TRUE(consuming_waits(&s, 1));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s));
    world_advance(&s.world, 20 * SECOND);
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 200, "\"records\":[]"));
    consuming_fini(&s);
}

/* --- ahead of the commit -----------------------------------------------------------------------*/

/* Client 0 waits for the first `count` partitions, which end at 4. */
static void wait_at_4(struct consuming *s, uint32_t count)
{
    consuming_get(s, 0, "/v1/groups/g/records?topics=t&wait_ms=20000");
    (void)consuming_expect_read(s);
    consuming_offer(s, count, 4);
    for (uint32_t p = 0; p < count; p++) {
        consuming_say_mark(s, (int32_t)p, -1);
    }
    world_advance(&s->world, SECOND);
}

/* How long the oldest fetch may wait for records. */
static int32_t fetch_wait_ms(struct consuming *s)
{
    struct ria_arena arena;
    struct fetch_request request;
    struct ria_slice payload;

    ria_arena_init(&arena, 4096);
    world_open(consuming_next(s, API_FETCH), &arena, &request, &payload);
    ria_arena_fini(&arena);
    return request.wait_ms;
}

static void what_is_being_committed_is_leased_and_waited_for(void)
{
    struct consuming s;

    consuming_init(&s);
    wait_at_4(&s, 1);
    consuming_say_written(&s, 0, 4, 6);
    const struct group_read *read = consuming_expect_read(&s);
    CU_ASSERT_EQUAL_FATAL(read->topics[0].ends_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].ends[0].offset, 6);
    consuming_grant(&s, 1, 4);
    CU_ASSERT_EQUAL(fetch_wait_ms(&s), MARKS_COMING_MS);
    CU_ASSERT_TRUE(consuming_waits(&s, 0));
    consuming_give_records(&s, 4, 2);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"next_offset\":6"));
    consuming_fini(&s);
}

static void what_does_not_come_goes_back_and_is_waited_for_as_ever(void)
{
    struct consuming s;

    consuming_init(&s);
    wait_at_4(&s, 1);
    consuming_say_written(&s, 0, 4, 6);
    (void)consuming_expect_read(&s);
    consuming_grant(&s, 1, 4);
    s.world.now_us += MARKS_COMING_MS * 1000;
    consuming_give_records(&s, 4, 0);               /* nothing, up to 4 */
    (void)consuming_expect(&s, 2, GROUP_OP_COMMIT); /* the lease goes back */
    CU_ASSERT_EQUAL_FATAL(s.asked.kinds[1], GROUP_OP_READ);
    const struct group_read *read = s.asked.bodies[1];
    CU_ASSERT_EQUAL_FATAL(read->topics[0].ends_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].ends[0].offset, 4);
    struct group_read_result result;
    struct group_read_result_group_offer offer = {.topic_id = s.t->id, .offset = 4};
    group_read_result_init(&result);
    result.offered = &offer;
    result.offered_count = 1;
    s.asked.results[1] = &result;
    consuming_answer(&s);
    world_advance(&s.world, SECOND);
    CU_ASSERT_TRUE(consuming_waits(&s, 0));
    consuming_say_mark(&s, 0, 6);
    (void)consuming_expect_read(&s);
    consuming_grant(&s, 1, 4);
    CU_ASSERT_EQUAL(fetch_wait_ms(&s), 0);
    consuming_give_records(&s, 4, 2);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"next_offset\":6"));
    consuming_fini(&s);
}

/* Its leader may be gone: the others' records, and the end of the wait, come as ever. */
static void an_announced_record_of_a_lost_leader_holds_nobody_up(void)
{
    struct consuming s;

    consuming_init(&s);
    wait_at_4(&s, 1);
    consuming_say_written(&s, 0, 4, 6);
    (void)consuming_expect_read(&s);
    consuming_grant(&s, 1, 4);
    CU_ASSERT_EQUAL(fetch_wait_ms(&s), MARKS_COMING_MS);
    world_advance(&s.world, MARKS_COMING_MS * 1000 + 300 * 1000);
    (void)consuming_expect(&s, 2, GROUP_OP_COMMIT); /* the lease goes back */
    CU_ASSERT_EQUAL(s.asked.kinds[1], GROUP_OP_READ);
    consuming_answer(&s);
    CU_ASSERT_TRUE(consuming_waits(&s, 0));
    consuming_fini(&s);
}

/* The Read with its sync may take longer than what was announced is good for. */
static void a_slow_read_still_waits_for_what_was_announced(void)
{
    struct consuming s;

    consuming_init(&s);
    wait_at_4(&s, 1);
    consuming_say_written(&s, 0, 4, 6);
    (void)consuming_expect_read(&s);
    world_advance(&s.world, 2 * MARKS_COMING_MS * 1000);
    consuming_grant(&s, 1, 4);
    CU_ASSERT_EQUAL(fetch_wait_ms(&s), MARKS_COMING_MS);
    consuming_give_records(&s, 4, 2);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"next_offset\":6"));
    consuming_fini(&s);
}

static void records_that_are_there_do_not_wait_for_others(void)
{
    struct consuming s;

    consuming_init(&s);
    wait_at_4(&s, 2);
    consuming_say_written(&s, 0, 4, 6);
    (void)consuming_expect_read(&s);
    marks_note(&s.gateway->marks, cluster_partition(s.gateway->cluster, &s.t->id, 1), 5);
    consuming_grant(&s, 2, 4);
    CU_ASSERT_EQUAL(fetch_wait_ms(&s), 0);
    consuming_give_records(&s, 4, 0);
    consuming_give_records(&s, 4, 1);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"next_offset\":5"));
    consuming_fini(&s);
}

static void who_waits_for_several_is_answered_soon_after_the_first(void)
{
    struct consuming s;

    consuming_init(&s);
    wait_at_4(&s, 2);
    marks_note(&s.gateway->marks, cluster_partition(s.gateway->cluster, &s.t->id, 1), 4);
    marks_announce(&s.gateway->marks, cluster_partition(s.gateway->cluster, &s.t->id, 1), 5);
    consuming_say_written(&s, 0, 4, 6);
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->topics[0].ends_count, 2);
    consuming_grant(&s, 2, 4);
    CU_ASSERT_EQUAL(fetch_wait_ms(&s), MARKS_COMING_MS);
    consuming_give_records(&s, 4, 2);
    CU_ASSERT_TRUE(consuming_waits(&s, 0));
    world_advance(&s.world, 1000);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"next_offset\":6"));
    consuming_fini(&s);
}

static void who_hangs_up_waits_no_more(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t&wait_ms=20000");
    (void)consuming_expect_read(&s);
    consuming_offer(&s, 1, 4);
    consuming_say_mark(&s, 0, -1);
    world_advance(&s.world, SECOND);
    fake_request_hang_up(&s.fakes[0]);
    CU_ASSERT_EQUAL(s.fakes[0].answers, 1);
    world_run(&s.world);
    CU_ASSERT_TRUE(consuming_nothing_asked(&s));
    consuming_fini(&s);
}

/* It held its connection for a minute, and was the first to be woken. */
static void who_hangs_up_before_it_waits_does_not_wait(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t&wait_ms=20000");
    (void)consuming_expect_read(&s);
    fake_request_hang_up(&s.fakes[0]);
    CU_ASSERT_EQUAL(s.fakes[0].answers, 0);
    consuming_offer(&s, 1, 4);
    consuming_say_mark(&s, 0, -1);
    world_run(&s.world);
    CU_ASSERT_EQUAL(s.fakes[0].answers, 1);
    CU_ASSERT_TRUE(consuming_nothing_asked(&s));
    consuming_fini(&s);
}

/* Only the first so many ends fit into a Read. Those behind them were never named: their records
 * were not delivered, and whoever waited asked again and again. */
static void of_more_partitions_than_fit_each_has_its_turn(void)
{
    enum { MANY = 9000, LAST = MANY - 1 };
    struct consuming s;
    struct group_read_result result;
    struct group_read_result_group_offer offer = {.partition = LAST, .offset = 4};
    bool is_named = false;

    consuming_init(&s);
    struct world_topic *many = world_add_topic(&s.world, "many", MANY);
    world_publish(&s.world);
    world_run(&s.world);
    for (int32_t i = 0; i < MANY; i++) {
        marks_note(&s.gateway->marks, cluster_partition(s.gateway->cluster, &many->id, i), 5);
    }
    consuming_get(&s, 0, "/v1/groups/g/records?topics=many");
    CU_ASSERT_TRUE(consuming_expect_read(&s)->topics[0].ends_count < MANY);
    group_read_result_init(&result);
    offer.topic_id = many->id;
    result.offered = &offer;
    result.offered_count = 1;
    consuming_answer_with(&s, &result);
    const struct group_read *again = consuming_expect_read(&s);
    for (uint32_t i = 0; i < again->topics[0].ends_count; i++) {
        is_named = is_named || again->topics[0].ends[i].partition == LAST;
    }
    CU_ASSERT_TRUE(is_named);
    consuming_answer(&s);
    consuming_fini(&s);
}

static void a_named_member_that_waits_is_heard_of_in_time(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t&member=m&session_ms=6000&wait_ms=20000");
    (void)consuming_expect_read(&s);
    consuming_offer(&s, 1, 4);
    consuming_say_mark(&s, 0, -1);
    world_advance(&s.world, 4 * SECOND + SECOND / 10);
    CU_ASSERT_TRUE(ria_slice_equal(consuming_expect_read(&s)->member, RIA_SLICE_LITERAL("m")));
    consuming_offer(&s, 1, 4);
    CU_ASSERT_TRUE(consuming_waits(&s, 0));
    consuming_fini(&s);
}

static void a_gateway_that_ends_lets_nobody_wait(void)
{
    struct consuming s;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t&wait_ms=20000");
    (void)consuming_expect_read(&s);
    consuming_offer(&s, 1, 4);
    consuming_say_mark(&s, 0, -1);
    gateway_stop(s.gateway);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"records\":[]"));
    consuming_fini(&s);
}

/* --- out of range ------------------------------------------------------------------------------*/

static void fall_out_of_range(struct consuming *s, const char *path, int64_t position)
{
    consuming_get(s, 0, path);
    (void)consuming_expect_read(s);
    consuming_grant(s, 1, position);
    world_refuse(&s->world, consuming_next(s, API_FETCH), RIA_ERR_OFFSET_OUT_OF_RANGE, "");
    world_run(&s->world);
}

static void out_of_range_is_an_error_that_names_the_range(void)
{
    struct consuming s;

    consuming_init(&s);
    fall_out_of_range(&s, "/v1/groups/g/records?topics=t", 2);
    consuming_say_range(&s, 5, 9);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 400, "\"code\":\"offset_out_of_range\""));
    CU_ASSERT_TRUE(fake_answer_has(&s.fakes[0], "position 2 is outside of partition 0 of topic t"));
    CU_ASSERT_TRUE(fake_answer_has(&s.fakes[0], "5 to 9"));
    CU_ASSERT_EQUAL(consuming_expect_commit(&s)->entries[0].lease_id, 11);
    consuming_answer(&s);
    consuming_fini(&s);
}

static void out_of_range_may_go_on_at_the_earliest_record(void)
{
    struct consuming s;
    struct fetch_request request;
    struct ria_arena arena;
    struct ria_slice payload;

    consuming_init(&s);
    fall_out_of_range(&s, "/v1/groups/g/records?topics=t&on_out_of_range=earliest", 2);
    consuming_say_range(&s, 5, 9);
    ria_arena_init(&arena, 4096);
    world_open(consuming_next(&s, API_FETCH), &arena, &request, &payload);
    CU_ASSERT_EQUAL(request.offset, 5);
    ria_arena_fini(&arena);
    consuming_give_records(&s, 5, 4);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"offset\":5,\"next_offset\":9"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s));
    consuming_fini(&s);
}

/* Who refused it was deposed before. The group's position stays, whatever it wants. */
static void a_position_that_another_leader_has_is_not_out_of_range(void)
{
    static const char *const paths[] = {
        "/v1/groups/g/records?topics=t",
        "/v1/groups/g/records?topics=t&on_out_of_range=earliest",
        "/v1/groups/g/records?topics=t&on_out_of_range=latest",
    };

    for (size_t i = 0; i < RIA_COUNT(paths); i++) {
        struct consuming s;

        consuming_init(&s);
        fall_out_of_range(&s, paths[i], 7);
        consuming_say_range(&s, 5, i == 2 ? 7 : 9);
        CU_ASSERT_TRUE(consuming_answered(&s, 0, 503, "\"code\":\"not_leader\""));
        CU_ASSERT_EQUAL(consuming_expect_commit(&s)->entries[0].lease_id, 11); /* given back */
        CU_ASSERT_EQUAL(s.asked.count, 1);
        consuming_answer(&s);
        consuming_fini(&s);
    }
}

static void a_position_past_a_log_that_was_cut_is_reset(void)
{
    struct consuming s;

    consuming_init(&s);
    fall_out_of_range(&s, "/v1/groups/g/records?topics=t&on_out_of_range=latest", 20);
    consuming_say_range(&s, 5, 9);
    (void)consuming_expect(&s, 2, GROUP_OP_COMMIT); /* the lease, first */
    CU_ASSERT_EQUAL_FATAL(s.asked.kinds[1], GROUP_OP_RESET);
    const struct group_reset *reset = s.asked.bodies[1];
    CU_ASSERT_EQUAL_FATAL(reset->entries_count, 1);
    CU_ASSERT_EQUAL(reset->entries[0].offset, 9);
    CU_ASSERT_FALSE(reset->force);
    consuming_answer(&s);
    (void)consuming_expect_read(&s);
    consuming_offer(&s, 1, 9);
    consuming_say_mark(&s, 0, -1);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"records\":[]"));
    consuming_fini(&s);
}

static void hints_that_are_wrong_again_and_again_end_in_an_empty_answer(void)
{
    struct consuming s;
    int reads = 0;

    consuming_init(&s);
    consuming_get(&s, 0, "/v1/groups/g/records?topics=t");
    while (consuming_waits(&s, 0) && reads < 50) {
        if (group_world_open(&s.world, &s.asked)) {
            uint32_t last = s.asked.count - 1;
            struct group_read_result result;
            struct group_read_result_group_grant granted = {
                .topic_id = s.t->id, .lease_id = 11, .offset = 4};
            group_read_result_init(&result);
            result.granted = &granted;
            result.granted_count = 1;
            if (s.asked.kinds[last] == GROUP_OP_READ) {
                s.asked.results[last] = &result;
                reads++;
            }
            consuming_answer(&s);
        }
        if (world_next_call(&s.world, API_FETCH) != NULL) {
            consuming_give_records(&s, 9, 0);
        }
    }
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"records\":[]"));
    CU_ASSERT_TRUE(reads < 10);
    consuming_fini(&s);
}

/* --- few records -------------------------------------------------------------------------------*/

static int32_t fetched_bytes_max(struct consuming *s)
{
    struct fetch_request request;
    struct ria_slice payload;
    struct ria_arena arena;

    ria_arena_init(&arena, 4096);
    world_open(consuming_next(s, API_FETCH), &arena, &request, &payload);
    ria_arena_fini(&arena);
    return request.max_bytes;
}

/* Each cost as many bytes as there may be in an answer. */
static void few_records_are_few_bytes_and_their_batch_is_fetched_once(void)
{
    static const char path[] = "/v1/groups/g/records?topics=t&max_records=1";
    static const char after[] = "/v1/groups/g/records?topics=t&max_records=1&after=";
    struct consuming s;
    char next[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_get(&s, 0, path);
    (void)consuming_expect_read(&s);
    consuming_grant(&s, 1, 7);
    CU_ASSERT_EQUAL(fetched_bytes_max(&s), 1 << 20); /* nobody knows how large they are */
    consuming_give_records(&s, 7, 2);
    CU_ASSERT_TRUE(consuming_answered(&s, 0, 200, "\"offset\":7,\"next_offset\":8"));

    consuming_get(&s, 1, consuming_with_cursor(&s, 0, after, next));
    (void)consuming_expect_read(&s);
    consuming_grant(&s, 1, 8);
    CU_ASSERT_PTR_NULL(world_next_call(&s.world, API_FETCH));
    CU_ASSERT_TRUE(consuming_answered(&s, 1, 200, "\"offset\":8,\"next_offset\":9"));

    consuming_get(&s, 2, consuming_with_cursor(&s, 1, after, next));
    (void)consuming_expect_read(&s);
    consuming_grant(&s, 1, 9);
    CU_ASSERT_EQUAL(fetched_bytes_max(&s), 64 * 1024); /* the next ones come along */
    consuming_give_records(&s, 9, 1);
    CU_ASSERT_TRUE(consuming_answered(&s, 2, 200, "\"offset\":9,\"next_offset\":10"));
    consuming_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_new_group_starts_at_the_earliest_record),
    HARNESS_TEST(latest_is_the_end_at_the_first_call),
    HARNESS_TEST(a_partition_whose_start_is_not_known_is_left_alone),
    HARNESS_TEST(a_gateway_that_knows_nothing_asks_each_leader_once),
    HARNESS_TEST(who_waits_is_answered_when_records_come),
    HARNESS_TEST(of_two_who_wait_one_is_woken),
    HARNESS_TEST(what_is_being_committed_is_leased_and_waited_for),
    HARNESS_TEST(what_does_not_come_goes_back_and_is_waited_for_as_ever),
    HARNESS_TEST(an_announced_record_of_a_lost_leader_holds_nobody_up),
    HARNESS_TEST(a_slow_read_still_waits_for_what_was_announced),
    HARNESS_TEST(records_that_are_there_do_not_wait_for_others),
    HARNESS_TEST(who_waits_for_several_is_answered_soon_after_the_first),
    HARNESS_TEST(who_hangs_up_waits_no_more),
    HARNESS_TEST(who_hangs_up_before_it_waits_does_not_wait),
    HARNESS_TEST(of_more_partitions_than_fit_each_has_its_turn),
    HARNESS_TEST(a_named_member_that_waits_is_heard_of_in_time),
    HARNESS_TEST(a_gateway_that_ends_lets_nobody_wait),
    HARNESS_TEST(out_of_range_is_an_error_that_names_the_range),
    HARNESS_TEST(out_of_range_may_go_on_at_the_earliest_record),
    HARNESS_TEST(a_position_that_another_leader_has_is_not_out_of_range),
    HARNESS_TEST(a_position_past_a_log_that_was_cut_is_reset),
    HARNESS_TEST(hints_that_are_wrong_again_and_again_end_in_an_empty_answer),
    HARNESS_TEST(few_records_are_few_bytes_and_their_batch_is_fetched_once),
};

HARNESS_MAIN(tests);
