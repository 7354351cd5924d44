/* Receiving from queues: what the coordinator and storage are asked, and what the client gets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_ack_result.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_receive_result.h"
#include "schemas/gen/queue_settle.h"
#include "schemas/gen/queue_settle_result.h"

#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/queueing.h"

enum { SECOND = 1000 * 1000 };

static void grant_nothing(struct queueing *s)
{
    struct queue_receive_result result;

    queue_receive_result_init(&result);
    consuming_answer_with(&s->c, &result);
}

static void give_none(struct queueing *s)
{
    struct fetch_response response;

    fetch_response_init(&response);
    world_reply(&s->c.world, consuming_next(&s->c, API_FETCH), &response, RIA_SLICE_EMPTY);
    world_run(&s->c.world);
}

static int32_t fetched_bytes_max(struct queueing *s)
{
    struct fetch_request request;
    struct ria_slice payload;
    struct ria_arena arena;

    ria_arena_init(&arena, 4096);
    world_open(consuming_next(&s->c, API_FETCH), &arena, &request, &payload);
    ria_arena_fini(&arena);
    return request.max_bytes;
}

/* --- receive -----------------------------------------------------------------------------------*/

static void unordered_records_take_one_round_trip(void)
{
    struct queueing s;

    queueing_init(&s);
    consuming_post(
        &s.c,
        0,
        QUEUEING_PATH "/receive",
        "{\"max_records\":3,\"lock_ms\":5000,\"consumer\":\"c 1\"}"
    );
    const struct queue_receive *receive = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_TRUE(ria_slice_equal(receive->group, RIA_SLICE_LITERAL("g")));
    CU_ASSERT_TRUE(ria_slice_equal(receive->consumer, RIA_SLICE_LITERAL("c 1")));
    CU_ASSERT_TRUE(
        ria_slice_equal(receive->new_dead_topic, RIA_SLICE_LITERAL("{topic}.{group}.dead"))
    );
    CU_ASSERT_EQUAL(receive->records_max, 3);
    CU_ASSERT_EQUAL(receive->lock_ms, 5000);
    queueing_grant(&s, 7, 9, false);
    queueing_give(&s, 7, "---", 0);
    CU_ASSERT_TRUE(consuming_answered(
        &s.c,
        0,
        200,
        "{\"records\":[{\"topic\":\"one\",\"partition\":0,\"deliveries\":1,\"locked_until\":"
    ));
    CU_ASSERT_TRUE(fake_answer_has(&s.c.fakes[0], "\"offset\":9,\"timestamp\":5,\"key\":null"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    queueing_fini(&s);
}

/* Its records were locked for nobody until their deadline. */
static void a_receive_whose_answer_is_lost_is_repeated_as_the_same(void)
{
    struct queueing s;

    queueing_init(&s);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive?max_records=3", NULL);
    const struct queue_receive *receive = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    int64_t first = receive->read_id;
    CU_ASSERT_TRUE(first > 0);
    CU_ASSERT_EQUAL(receive->heard_below, first);
    world_lose(&s.c.world, s.c.asked.call, RIA_ERR_TIMEOUT);
    group_world_close(&s.c.asked);
    consuming_post(&s.c, 1, QUEUEING_PATH "/receive?max_records=1", NULL);
    world_advance(&s.c.world, SECOND / 5);
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.c.world, &s.c.asked));
    CU_ASSERT_EQUAL_FATAL(s.c.asked.count, 2);
    int repeated = ((const struct queue_receive *)s.c.asked.bodies[0])->read_id == first ? 0 : 1;
    receive = s.c.asked.bodies[repeated];
    CU_ASSERT_EQUAL(receive->read_id, first);
    receive = s.c.asked.bodies[1 - repeated];
    CU_ASSERT_EQUAL(receive->read_id, first + 1);
    CU_ASSERT_EQUAL(receive->heard_below, first); /* it may be repeated once more */
    s.c.asked.errs[0] = RIA_ERR_CONFLICT;
    s.c.asked.errs[1] = RIA_ERR_CONFLICT;
    group_world_answer(&s.c.world, &s.c.asked);
    world_run(&s.c.world);
    consuming_post(&s.c, 2, QUEUEING_PATH "/receive?max_records=1", NULL);
    receive = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_EQUAL(receive->read_id, first + 2);
    CU_ASSERT_EQUAL(receive->heard_below, first + 2);
    consuming_refuse(&s.c, RIA_ERR_CONFLICT, "no");
    queueing_fini(&s);
}

static int64_t locked_until(const struct queueing *s, int i)
{
    static const char member[] = "\"locked_until\":";
    const char *found = strstr(s->c.fakes[i].body, member);

    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    return strtoll(found + sizeof(member) - 1, NULL, 10);
}

/* It was counted from when the answer came: a client was told of time that was another's. */
static void a_lock_does_not_last_longer_because_its_answer_was_late(void)
{
    struct queueing s;
    char body[QUEUEING_BODY_MAX];

    queueing_init(&s);
    int64_t asked_ms = ria_clock_wall_ms(s.c.world.env.clock);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive?max_records=3", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    world_advance(&s.c.world, 2 * SECOND);
    queueing_grant(&s, 7, 9, false);
    queueing_give(&s, 7, "---", 0);
    CU_ASSERT_EQUAL(locked_until(&s, 0), asked_ms + 30000);

    asked_ms = ria_clock_wall_ms(s.c.world.env.clock);
    consuming_post(
        &s.c, 1, QUEUEING_PATH "/extend", queueing_with_locks(&s, ",\"lock_ms\":5000", body)
    );
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK);
    world_advance(&s.c.world, 2 * SECOND);
    struct queue_ack_result result;
    struct queue_ack_result_queue_acked entry;
    queue_ack_result_init(&result);
    queue_ack_result_queue_acked_init(&entry);
    entry.left_ms = 5000;
    result.entries = &entry;
    result.entries_count = 1;
    consuming_answer_with(&s.c, &result);
    CU_ASSERT_EQUAL(locked_until(&s, 1), asked_ms + 5000);
    queueing_fini(&s);
}

/* It cost a megabyte from the leader for each record that was received singly. */
static void one_record_is_not_a_megabyte_of_the_log(void)
{
    struct queueing s;

    queueing_init(&s);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive?max_records=1", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 7, 7, false);
    CU_ASSERT_EQUAL(fetched_bytes_max(&s), 1 << 20); /* nobody knows how large they are */
    queueing_give(&s, 5, "------", 0);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "\"offset\":7"));

    consuming_post(&s.c, 1, QUEUEING_PATH "/receive?max_records=1", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 11, 11, false);
    CU_ASSERT_EQUAL(fetched_bytes_max(&s), 64 * 1024); /* the next ones come along */
    queueing_give(&s, 11, "-", 0);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 200, "\"offset\":11"));

    /* Many are worth more, but never more than the client wants. */
    consuming_post(&s.c, 2, QUEUEING_PATH "/receive?max_records=1000", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 9, 1008, false);
    int32_t many = fetched_bytes_max(&s);
    CU_ASSERT_TRUE(many > 1000 * 100 && many < 1 << 18);
    queueing_give(&s, 5, "------", 0);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 2, 200, "\"offset\":10"));
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.c.world, &s.c.asked));
    CU_ASSERT_TRUE(queueing_is_entry(s.c.asked.bodies[0], 0, QUEUE_GIVE_BACK, 11, 1008));
    consuming_answer_with(&s.c, NULL);
    queueing_fini(&s);
}

/* It cost a way to the leader for each of the batch's records. */
static void records_of_one_batch_are_fetched_once(void)
{
    struct queueing s;

    queueing_init(&s);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive?max_records=1", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 7, 7, false);
    queueing_give(&s, 5, "------", 0);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "\"offset\":7"));
    for (int i = 0; i < 3; i++) { /* in front of it as well: calls overtake each other */
        static const char *const offsets[] = {"\"offset\":6", "\"offset\":8", "\"offset\":10"};
        int64_t offset = 6 + 2 * i;
        consuming_post(&s.c, 1, QUEUEING_PATH "/receive?max_records=1", NULL);
        (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
        queueing_grant(&s, offset, offset, false);
        CU_ASSERT_PTR_NULL(world_next_call(&s.c.world, API_FETCH));
        CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 200, offsets[i]));
    }

    /* What is not in it as a whole is the leader's. */
    consuming_post(&s.c, 2, QUEUEING_PATH "/receive?max_records=2", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 10, 11, false);
    queueing_give(&s, 10, "--", 0);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 2, 200, "\"offset\":11"));

    world_advance(&s.c.world, 2 * SECOND);
    CU_ASSERT_EQUAL(s.c.gateway->fetch_cache.size, 0);
    consuming_post(&s.c, 3, QUEUEING_PATH "/receive?max_records=1", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 9, 9, false);
    queueing_give(&s, 9, "-", 0);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 3, 200, "\"offset\":9"));
    queueing_fini(&s);
}

/* Its leader may have been forced, and its offsets given away anew. */
static void what_another_leader_sent_is_not_used(void)
{
    struct queueing s;

    queueing_init(&s);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive?max_records=1", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 7, 7, false);
    queueing_give(&s, 5, "------", 0);
    s.c.one->epochs[0]++;
    world_publish(&s.c.world);
    world_run(&s.c.world);
    consuming_post(&s.c, 1, QUEUEING_PATH "/receive?max_records=1", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 8, 8, false);
    queueing_give(&s, 8, "-", 0);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 1, 200, "\"offset\":8"));
    queueing_fini(&s);
}

static void what_was_not_read_or_is_gone_does_not_stay_locked(void)
{
    struct queueing s;

    queueing_init(&s);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 7, 20, false);
    queueing_give(&s, 9, "--", 0); /* 7 and 8 were compacted away, 11 to 20 did not fit */
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "\"offset\":10"));
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.c.world, &s.c.asked));
    CU_ASSERT_EQUAL_FATAL(s.c.asked.count, 2);
    CU_ASSERT_TRUE(queueing_is_entry(s.c.asked.bodies[0], 0, QUEUE_DONE, 7, 8));
    CU_ASSERT_TRUE(queueing_is_entry(s.c.asked.bodies[1], 0, QUEUE_GIVE_BACK, 11, 20));
    consuming_answer_with(&s.c, NULL);
    queueing_fini(&s);
}

static void what_retention_took_is_finished(void)
{
    struct queueing s;
    struct list_offsets_response range;

    queueing_init(&s);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 7, 9, false);
    world_refuse(&s.c.world, consuming_next(&s.c, API_FETCH), RIA_ERR_OFFSET_OUT_OF_RANGE, "");
    world_run(&s.c.world);
    list_offsets_response_init(&range);
    range.log_start_offset = 50;
    range.high_watermark = 60;
    world_reply(&s.c.world, consuming_next(&s.c, API_LIST_OFFSETS), &range, RIA_SLICE_NULL);
    world_run(&s.c.world);
    /* Asked again, for what is there. */
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.c.world, &s.c.asked));
    CU_ASSERT_EQUAL_FATAL(s.c.asked.count, 2);
    CU_ASSERT_EQUAL(s.c.asked.kinds[1], (int8_t)GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_TRUE(queueing_is_entry(s.c.asked.bodies[0], 0, QUEUE_DONE, 7, 9));
    group_world_answer(&s.c.world, &s.c.asked);
    world_run(&s.c.world);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "{\"records\":[],\"locks\":null"));
    queueing_fini(&s);
}

static void offer_two(struct queueing *s)
{
    struct queue_receive_result result;
    struct queue_receive_result_queue_offer offers[] = {
        {.partition = 0, .offset = -1}, {.partition = 1, .offset = 5}};

    queue_receive_result_init(&result);
    result.offered = offers;
    result.offered_count = RIA_COUNT(offers);
    consuming_answer_with(&s->c, &result);
}

/* -1 was sent as its start, and the receive was refused. */
static void a_position_that_goes_meanwhile_is_looked_for_again(void)
{
    struct queueing s;

    queueing_init(&s);
    consuming_post(&s.c, 0, "/v1/queues/t/g/receive?max_records=1", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    offer_two(&s);
    consuming_say_range(&s.c, 0, 0);
    const struct queue_receive *again = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_EQUAL_FATAL(again->starts_count, 1);
    CU_ASSERT_EQUAL(again->starts[0].offset, 0);
    offer_two(&s); /* the group was deleted */
    consuming_say_mark(&s.c, 1, 9);
    again = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_EQUAL(again->starts_count, 0);
    grant_nothing(&s);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "\"records\":[]"));
    queueing_fini(&s);
}

/* Who refused it was deposed before: they are there, and are given back. */
static void what_another_leader_has_is_not_out_of_range(void)
{
    struct queueing s;

    queueing_init(&s);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 7, 9, false);
    world_refuse(&s.c.world, consuming_next(&s.c, API_FETCH), RIA_ERR_OFFSET_OUT_OF_RANGE, "");
    world_run(&s.c.world);
    consuming_say_range(&s.c, 0, 10);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 503, "\"code\":\"not_leader\""));
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.c.world, &s.c.asked));
    CU_ASSERT_EQUAL_FATAL(s.c.asked.count, 1);
    CU_ASSERT_TRUE(queueing_is_entry(s.c.asked.bodies[0], 0, QUEUE_GIVE_BACK, 7, 9));
    consuming_answer_with(&s.c, NULL);
    queueing_fini(&s);
}

static void an_answer_that_was_cut_off_gives_its_records_back(void)
{
    struct queueing s;

    queueing_init(&s);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 7, 9, false);
    s.c.fakes[0].cut_off = true;
    queueing_give(&s, 7, "---", 0);
    CU_ASSERT_TRUE(
        queueing_is_entry(consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK), 0, QUEUE_GIVE_BACK, 7, 9)
    );
    consuming_answer_with(&s.c, NULL);
    queueing_fini(&s);
}

static void a_leader_that_is_missing_costs_no_lock(void)
{
    struct queueing s;

    queueing_init(&s);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 7, 9, false);
    world_refuse(&s.c.world, consuming_next(&s.c, API_FETCH), RIA_ERR_CORRUPT, "");
    world_run(&s.c.world);
    for (int i = 0; i < 30 && s.c.fakes[0].answers == 0; i++) {
        struct world_call *again = world_next_call(&s.c.world, API_FETCH);
        if (again != NULL) {
            world_refuse(&s.c.world, again, RIA_ERR_CORRUPT, "");
        }
        world_advance(&s.c.world, SECOND);
        world_run(&s.c.world);
    }
    CU_ASSERT_TRUE(s.c.fakes[0].status >= 500);
    CU_ASSERT_TRUE(
        queueing_is_entry(consuming_expect(&s.c, 1, GROUP_OP_QUEUE_ACK), 0, QUEUE_GIVE_BACK, 7, 9)
    );
    consuming_answer_with(&s.c, NULL);
    queueing_fini(&s);
}

static void hints_that_are_wrong_give_everything_back(void)
{
    struct queueing s;

    queueing_init(&s);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 7, 9, false);
    give_none(&s);
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.c.world, &s.c.asked));
    CU_ASSERT_EQUAL_FATAL(s.c.asked.count, 2);
    CU_ASSERT_TRUE(queueing_is_entry(s.c.asked.bodies[0], 0, QUEUE_GIVE_BACK, 7, 9));
    group_world_answer(&s.c.world, &s.c.asked);
    world_run(&s.c.world);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "\"records\":[]"));
    queueing_fini(&s);
}

/* --- order and time ----------------------------------------------------------------------------*/

static void settle_with(struct queueing *s, const bool *out, uint32_t count)
{
    struct queue_settle_result result;
    struct queue_settle_result_queue_settled entries[8];

    queue_settle_result_init(&result);
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = (struct queue_settle_result_queue_settled){.hand_out = out[i]};
    }
    result.entries = entries;
    result.entries_count = count;
    consuming_answer_with(&s->c, &result);
}

static void keys_are_settled_before_anything_is_handed_out(void)
{
    static const bool out[] = {true, false, true, false};
    struct queueing s;

    queueing_init(&s);
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive?max_records=2", NULL);
    const struct queue_receive *receive = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_TRUE(receive->look_ahead > 0);
    queueing_grant(&s, 7, 10, true);
    queueing_give(&s, 7, "aa-b", 0);
    CU_ASSERT_EQUAL(s.c.fakes[0].answers, 0);
    const struct queue_settle *settle = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_SETTLE);
    CU_ASSERT_EQUAL_FATAL(settle->entries_count, 4);
    CU_ASSERT_TRUE(settle->entries[0].has_key && settle->entries[1].has_key);
    CU_ASSERT_EQUAL(settle->entries[0].key, settle->entries[1].key);
    CU_ASSERT_FALSE(settle->entries[2].has_key);
    CU_ASSERT_NOT_EQUAL(settle->entries[0].key, settle->entries[3].key);
    /* The second of a key cannot be had, so the third is wanted, and the fourth is not. */
    CU_ASSERT_FALSE(settle->entries[0].leave || settle->entries[2].leave);
    CU_ASSERT_TRUE(settle->entries[3].leave);
    settle_with(&s, out, 4);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "\"offset\":7"));
    CU_ASSERT_TRUE(fake_answer_has(&s.c.fakes[0], "\"offset\":9"));
    CU_ASSERT_FALSE(fake_answer_has(&s.c.fakes[0], "\"offset\":8"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    queueing_fini(&s);
}

static void what_is_not_due_is_put_back(void)
{
    static const bool out[] = {false};
    struct queueing s;

    queueing_init(&s);
    int64_t at_ms = ria_clock_wall_ms(&s.c.world.clock) + 5000;
    consuming_post(&s.c, 0, QUEUEING_PATH "/receive", NULL);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(&s, 7, 7, false);
    queueing_give(&s, 7, "-", at_ms);
    const struct queue_settle *settle = consuming_expect(&s.c, 1, GROUP_OP_QUEUE_SETTLE);
    CU_ASSERT_EQUAL_FATAL(settle->entries_count, 1);
    CU_ASSERT_EQUAL(settle->entries[0].delay_ms, 5000);
    settle_with(&s, out, 1);
    (void)consuming_expect(&s.c, 1, GROUP_OP_QUEUE_RECEIVE); /* there may be others */
    grant_nothing(&s);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 200, "\"records\":[]"));
    queueing_fini(&s);
}

static void a_delivery_time_is_at_most_30_days_ahead(void)
{
    struct queueing s;

    queueing_init(&s);
    fake_request_init(&s.c.fakes[0], "POST", "/v1/topics/one/records", "x");
    fake_request_header(&s.c.fakes[0], "Riacho-Deliver-After-Ms", "2592000001");
    size_t body_max = 0;
    gateway_begin(s.c.gateway, &s.c.fakes[0].request, &body_max);
    gateway_handle(s.c.gateway, &s.c.fakes[0].request);
    CU_ASSERT_TRUE(consuming_answered(&s.c, 0, 400, "at most 30 days"));
    CU_ASSERT_PTR_NULL(world_next_call(&s.c.world, API_PRODUCE));
    queueing_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(unordered_records_take_one_round_trip),
    HARNESS_TEST(a_receive_whose_answer_is_lost_is_repeated_as_the_same),
    HARNESS_TEST(a_lock_does_not_last_longer_because_its_answer_was_late),
    HARNESS_TEST(one_record_is_not_a_megabyte_of_the_log),
    HARNESS_TEST(records_of_one_batch_are_fetched_once),
    HARNESS_TEST(what_another_leader_sent_is_not_used),
    HARNESS_TEST(what_was_not_read_or_is_gone_does_not_stay_locked),
    HARNESS_TEST(what_retention_took_is_finished),
    HARNESS_TEST(what_another_leader_has_is_not_out_of_range),
    HARNESS_TEST(a_position_that_goes_meanwhile_is_looked_for_again),
    HARNESS_TEST(an_answer_that_was_cut_off_gives_its_records_back),
    HARNESS_TEST(a_leader_that_is_missing_costs_no_lock),
    HARNESS_TEST(hints_that_are_wrong_give_everything_back),
    HARNESS_TEST(keys_are_settled_before_anything_is_handed_out),
    HARNESS_TEST(what_is_not_due_is_put_back),
    HARNESS_TEST(a_delivery_time_is_at_most_30_days_ahead),
};

HARNESS_MAIN(tests);
