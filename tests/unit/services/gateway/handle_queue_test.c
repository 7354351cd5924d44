/* Receiving from queues: what the coordinator and storage are asked, and what the client gets. Both
 * answer as the test says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_receive_result.h"
#include "schemas/gen/queue_settle.h"
#include "schemas/gen/queue_settle_result.h"

#include "services/gateway/gateway.h"
#include "services/gateway/group_ops.h"
#include "services/gateway/queue_acks.h"
#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/group_world.h"

enum { FAKES = 4, TIMEOUT_MS = 10 * 1000, SECOND = 1000 * 1000, LEASE = 11 };

#define QUEUE "/v1/queues/one/g"

/* Topic "one" has one partition, led by node 1; so has "one.g.dead". */
struct setup {
    struct world world;
    struct world_topic *one;
    struct world_topic *dead;
    struct gateway *gateway;
    struct fake_request fakes[FAKES];
    struct group_world_request asked;
};

static void setup(struct setup *s)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = 1 << 20,
        .request_timeout_ms = TIMEOUT_MS,
    };

    memset(s->fakes, 0, sizeof(s->fakes));
    world_init(&s->world, 3);
    s->one = world_add_topic(&s->world, "one", 1);
    s->dead = world_add_topic(&s->world, "one.g.dead", 1);
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s->world.env, &options, &s->world.budget, NULL, &s->gateway), RIA_OK
    );
    gateway_start(s->gateway);
    world_run(&s->world);
}

static void teardown(struct setup *s)
{
    gateway_free(s->gateway);
    for (int i = 0; i < FAKES; i++) {
        if (s->fakes[i].request.ops != NULL) {
            fake_request_fini(&s->fakes[i]);
        }
    }
    world_fini(&s->world);
    CU_ASSERT_EQUAL(s->world.budget.used.value, 0);
    CU_ASSERT_EQUAL(s->world.budget.reads, 0);
}

/* --- the client --------------------------------------------------------------------------------*/

static void call(struct setup *s, int i, const char *method, const char *path, const char *body)
{
    size_t body_max = 0;

    if (s->fakes[i].request.ops != NULL) {
        fake_request_fini(&s->fakes[i]);
    }
    fake_request_init(&s->fakes[i], method, path, body);
    fake_request_header(&s->fakes[i], "Content-Type", "application/json");
    s->fakes[i].request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &s->fakes[i].request, &body_max);
    if (s->fakes[i].answers == 0) {
        gateway_handle(s->gateway, &s->fakes[i].request);
    }
    world_run(&s->world);
}

static void post(struct setup *s, int i, const char *path, const char *body)
{
    call(s, i, "POST", path, body);
}

static bool answered(const struct setup *s, int i, int status, const char *part)
{
    const struct fake_request *fake = &s->fakes[i];
    bool same = fake->answers == 1 && fake->status == status && fake_answer_has(fake, part);

    if (!same) {
        (void)printf("[%d %s]", fake->status, fake->body == NULL ? "" : fake->body);
    }
    return same;
}

/* --- the coordinator ---------------------------------------------------------------------------*/

static const void *expect(struct setup *s, group_op_kind kind)
{
    CU_ASSERT_TRUE_FATAL(group_world_open(&s->world, &s->asked));
    CU_ASSERT_EQUAL_FATAL(s->asked.count, 1);
    CU_ASSERT_EQUAL_FATAL(s->asked.kinds[0], (int8_t)kind);
    return s->asked.bodies[0];
}

static bool nothing_asked(struct setup *s)
{
    return world_next_call(&s->world, API_GROUP) == NULL;
}

static void answer(struct setup *s, const void *result)
{
    s->asked.results[0] = result;
    group_world_answer(&s->world, &s->asked);
    world_run(&s->world);
}

/* [first, last] of partition 0 under LEASE. */
static void grant(struct setup *s, int64_t first, int64_t last, bool unsettled)
{
    struct queue_receive_result result;
    struct queue_receive_result_queue_grant granted = {
        .lease_id = LEASE,
        .first = first,
        .last = last,
        .deliveries = 1,
        .unsettled = unsettled,
        .left_ms = 30000,
    };

    queue_receive_result_init(&result);
    result.granted = &granted;
    result.granted_count = 1;
    result.key_order = unsettled;
    answer(s, &result);
}

static void grant_nothing(struct setup *s)
{
    struct queue_receive_result result;

    queue_receive_result_init(&result);
    answer(s, &result);
}

static bool
is_entry(const struct queue_ack *ack, uint32_t i, queue_verb verb, int64_t first, int64_t last)
{
    return ack->entries_count > i && ack->entries[i].action == (int8_t)verb &&
           ack->entries[i].first == first && ack->entries[i].last == last &&
           ack->entries[i].lease_id == LEASE;
}

/* --- storage -----------------------------------------------------------------------------------*/

static struct world_call *next(struct setup *s, int16_t api_key)
{
    struct world_call *found = world_next_call(&s->world, api_key);

    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    return found;
}

/* A batch at the offset; keys: one character for each record, '-' is no key. at_ms: its delivery
 * time, 0 = none. */
static void give(struct setup *s, int64_t offset, const char *keys, int64_t at_ms)
{
    struct batch_builder builder;
    struct fetch_response response;
    char text[24];
    struct batch_record_header header = {.name = RIA_SLICE_LITERAL("riacho-deliver-at")};

    (void)snprintf(text, sizeof(text), "%lld", (long long)at_ms);
    header.value = ria_slice_cstr(text);
    fetch_response_init(&response);
    response.high_watermark = offset + (int64_t)strlen(keys);
    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (const char *key = keys; *key != '\0'; key++) {
        struct ria_slice slice = *key == '-' ? RIA_SLICE_NULL : ria_slice_of(key, 1);
        CU_ASSERT_EQUAL(
            batch_builder_add(
                &builder, 5, slice, RIA_SLICE_LITERAL("1"), &header, at_ms > 0 ? 1 : 0
            ),
            RIA_OK
        );
    }
    struct ria_slice bytes = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(builder.buf.data, offset, 1);
    world_reply(&s->world, next(s, API_FETCH), &response, bytes);
    batch_builder_fini(&builder);
    world_run(&s->world);
}

static void give_none(struct setup *s)
{
    struct fetch_response response;

    fetch_response_init(&response);
    world_reply(&s->world, next(s, API_FETCH), &response, RIA_SLICE_EMPTY);
    world_run(&s->world);
}

/* --- receive -----------------------------------------------------------------------------------*/

static void unordered_records_take_one_round_trip(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, QUEUE "/receive", "{\"max_records\":3,\"lock_ms\":5000,\"consumer\":\"c 1\"}");
    const struct queue_receive *receive = expect(&s, GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_TRUE(ria_slice_equal(receive->group, RIA_SLICE_LITERAL("g")));
    CU_ASSERT_TRUE(ria_slice_equal(receive->consumer, RIA_SLICE_LITERAL("c 1")));
    CU_ASSERT_TRUE(ria_slice_equal(receive->new_dead_topic, RIA_SLICE_LITERAL("one.g.dead")));
    CU_ASSERT_EQUAL(receive->records_max, 3);
    CU_ASSERT_EQUAL(receive->lock_ms, 5000);
    grant(&s, 7, 9, false);
    give(&s, 7, "---", 0);
    CU_ASSERT_TRUE(answered(
        &s,
        0,
        200,
        "{\"records\":[{\"topic\":\"one\",\"partition\":0,\"deliveries\":1,\"locked_until\":"
    ));
    CU_ASSERT_TRUE(fake_answer_has(&s.fakes[0], "\"offset\":9,\"timestamp\":5,\"key\":null"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

/* Its records were locked for nobody until their deadline. */
static void a_receive_whose_answer_is_lost_is_repeated_as_the_same(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, QUEUE "/receive?max_records=3", NULL);
    const struct queue_receive *receive = expect(&s, GROUP_OP_QUEUE_RECEIVE);
    int64_t first = receive->read_id;
    CU_ASSERT_TRUE(first > 0);
    CU_ASSERT_EQUAL(receive->heard_below, first);
    world_lose(&s.world, s.asked.call, RIA_ERR_TIMEOUT);
    group_world_close(&s.asked);
    post(&s, 1, QUEUE "/receive?max_records=1", NULL);
    world_advance(&s.world, SECOND / 5);
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.world, &s.asked));
    CU_ASSERT_EQUAL_FATAL(s.asked.count, 2);
    int repeated = ((const struct queue_receive *)s.asked.bodies[0])->read_id == first ? 0 : 1;
    receive = s.asked.bodies[repeated];
    CU_ASSERT_EQUAL(receive->read_id, first);
    receive = s.asked.bodies[1 - repeated];
    CU_ASSERT_EQUAL(receive->read_id, first + 1);
    CU_ASSERT_EQUAL(receive->heard_below, first); /* it may be repeated once more */
    s.asked.errs[0] = RIA_ERR_CONFLICT;
    s.asked.errs[1] = RIA_ERR_CONFLICT;
    group_world_answer(&s.world, &s.asked);
    world_run(&s.world);
    post(&s, 2, QUEUE "/receive?max_records=1", NULL);
    receive = expect(&s, GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_EQUAL(receive->read_id, first + 2);
    CU_ASSERT_EQUAL(receive->heard_below, first + 2);
    refuse(&s, RIA_ERR_CONFLICT, "no");
    teardown(&s);
}

static int64_t locked_until(const struct setup *s, int i)
{
    static const char member[] = "\"locked_until\":";
    const char *found = strstr(s->fakes[i].body, member);

    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    return strtoll(found + sizeof(member) - 1, NULL, 10);
}

/* It was counted from when the answer came: a client was told of time that was another's. */
static void a_lock_does_not_last_longer_because_its_answer_was_late(void)
{
    struct setup s;
    char body[2048];

    setup(&s);
    int64_t asked_ms = ria_clock_wall_ms(s.world.env.clock);
    post(&s, 0, QUEUE "/receive?max_records=3", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    world_advance(&s.world, 2 * SECOND);
    grant(&s, 7, 9, false);
    give(&s, 7, "---", 0);
    CU_ASSERT_EQUAL(locked_until(&s, 0), asked_ms + 30000);

    asked_ms = ria_clock_wall_ms(s.world.env.clock);
    post(&s, 1, QUEUE "/extend", with_locks(&s, ",\"lock_ms\":5000", body));
    (void)expect(&s, GROUP_OP_QUEUE_ACK);
    world_advance(&s.world, 2 * SECOND);
    struct queue_ack_result result;
    struct queue_ack_result_queue_acked entry;
    queue_ack_result_init(&result);
    queue_ack_result_queue_acked_init(&entry);
    entry.left_ms = 5000;
    result.entries = &entry;
    result.entries_count = 1;
    answer(&s, &result);
    CU_ASSERT_EQUAL(locked_until(&s, 1), asked_ms + 5000);
    teardown(&s);
}

static int32_t fetched_bytes_max(struct setup *s)
{
    struct fetch_request request;
    struct ria_slice payload;
    struct ria_arena arena;

    ria_arena_init(&arena, 4096);
    world_open(next(s, API_FETCH), &arena, &request, &payload);
    ria_arena_fini(&arena);
    return request.max_bytes;
}

/* It cost a megabyte from the leader for each record that was received singly. */
static void one_record_is_not_a_megabyte_of_the_log(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, QUEUE "/receive?max_records=1", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 7, 7, false);
    CU_ASSERT_EQUAL(fetched_bytes_max(&s), 1 << 20); /* nobody knows how large they are */
    give(&s, 5, "------", 0);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"offset\":7"));

    post(&s, 1, QUEUE "/receive?max_records=1", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 11, 11, false);
    CU_ASSERT_EQUAL(fetched_bytes_max(&s), 64 * 1024); /* the next ones come along */
    give(&s, 11, "-", 0);
    CU_ASSERT_TRUE(answered(&s, 1, 200, "\"offset\":11"));

    /* Many are worth more, but never more than the client wants. */
    post(&s, 2, QUEUE "/receive?max_records=1000", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 9, 1008, false);
    int32_t many = fetched_bytes_max(&s);
    CU_ASSERT_TRUE(many > 1000 * 100 && many < 1 << 18);
    give(&s, 5, "------", 0);
    CU_ASSERT_TRUE(answered(&s, 2, 200, "\"offset\":10"));
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.world, &s.asked));
    CU_ASSERT_TRUE(is_entry(s.asked.bodies[0], 0, QUEUE_GIVE_BACK, 11, 1008));
    answer(&s, NULL);
    teardown(&s);
}

/* It cost a way to the leader for each of the batch's records. */
static void records_of_one_batch_are_fetched_once(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, QUEUE "/receive?max_records=1", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 7, 7, false);
    give(&s, 5, "------", 0);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"offset\":7"));
    for (int i = 0; i < 3; i++) { /* in front of it as well: calls overtake each other */
        static const char *const offsets[] = {"\"offset\":6", "\"offset\":8", "\"offset\":10"};
        int64_t offset = 6 + 2 * i;
        post(&s, 1, QUEUE "/receive?max_records=1", NULL);
        (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
        grant(&s, offset, offset, false);
        CU_ASSERT_PTR_NULL(world_next_call(&s.world, API_FETCH));
        CU_ASSERT_TRUE(answered(&s, 1, 200, offsets[i]));
    }

    /* What is not in it as a whole is the leader's. */
    post(&s, 2, QUEUE "/receive?max_records=2", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 10, 11, false);
    give(&s, 10, "--", 0);
    CU_ASSERT_TRUE(answered(&s, 2, 200, "\"offset\":11"));

    world_advance(&s.world, 2 * SECOND);
    CU_ASSERT_EQUAL(s.gateway->fetch_cache.size, 0);
    post(&s, 3, QUEUE "/receive?max_records=1", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 9, 9, false);
    give(&s, 9, "-", 0);
    CU_ASSERT_TRUE(answered(&s, 3, 200, "\"offset\":9"));
    teardown(&s);
}

/* Its leader may have been forced, and its offsets given away anew. */
static void what_another_leader_sent_is_not_used(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, QUEUE "/receive?max_records=1", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 7, 7, false);
    give(&s, 5, "------", 0);
    s.one->epochs[0]++;
    world_publish(&s.world);
    world_run(&s.world);
    post(&s, 1, QUEUE "/receive?max_records=1", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 8, 8, false);
    give(&s, 8, "-", 0);
    CU_ASSERT_TRUE(answered(&s, 1, 200, "\"offset\":8"));
    teardown(&s);
}

static void what_was_not_read_or_is_gone_does_not_stay_locked(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, QUEUE "/receive", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 7, 20, false);
    give(&s, 9, "--", 0); /* 7 and 8 were compacted away, 11 to 20 did not fit */
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"offset\":10"));
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.world, &s.asked));
    CU_ASSERT_EQUAL_FATAL(s.asked.count, 2);
    CU_ASSERT_TRUE(is_entry(s.asked.bodies[0], 0, QUEUE_DONE, 7, 8));
    CU_ASSERT_TRUE(is_entry(s.asked.bodies[1], 0, QUEUE_GIVE_BACK, 11, 20));
    answer(&s, NULL);
    teardown(&s);
}

static void what_retention_took_is_finished(void)
{
    struct setup s;
    struct list_offsets_response range;

    setup(&s);
    post(&s, 0, QUEUE "/receive", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 7, 9, false);
    world_refuse(&s.world, next(&s, API_FETCH), RIA_ERR_OFFSET_OUT_OF_RANGE, "");
    world_run(&s.world);
    list_offsets_response_init(&range);
    range.log_start_offset = 50;
    range.high_watermark = 60;
    world_reply(&s.world, next(&s, API_LIST_OFFSETS), &range, RIA_SLICE_NULL);
    world_run(&s.world);
    /* Asked again, for what is there. */
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.world, &s.asked));
    CU_ASSERT_EQUAL_FATAL(s.asked.count, 2);
    CU_ASSERT_EQUAL(s.asked.kinds[1], (int8_t)GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_TRUE(is_entry(s.asked.bodies[0], 0, QUEUE_DONE, 7, 9));
    group_world_answer(&s.world, &s.asked);
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "{\"records\":[],\"locks\":null"));
    teardown(&s);
}

static void an_answer_that_was_cut_off_gives_its_records_back(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, QUEUE "/receive", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 7, 9, false);
    s.fakes[0].cut_off = true;
    give(&s, 7, "---", 0);
    CU_ASSERT_TRUE(is_entry(expect(&s, GROUP_OP_QUEUE_ACK), 0, QUEUE_GIVE_BACK, 7, 9));
    answer(&s, NULL);
    teardown(&s);
}

static void a_leader_that_is_missing_costs_no_lock(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, QUEUE "/receive", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 7, 9, false);
    world_refuse(&s.world, next(&s, API_FETCH), RIA_ERR_CORRUPT, "");
    world_run(&s.world);
    for (int i = 0; i < 30 && s.fakes[0].answers == 0; i++) {
        struct world_call *again = world_next_call(&s.world, API_FETCH);
        if (again != NULL) {
            world_refuse(&s.world, again, RIA_ERR_CORRUPT, "");
        }
        world_advance(&s.world, SECOND);
        world_run(&s.world);
    }
    CU_ASSERT_TRUE(s.fakes[0].status >= 500);
    CU_ASSERT_TRUE(is_entry(expect(&s, GROUP_OP_QUEUE_ACK), 0, QUEUE_GIVE_BACK, 7, 9));
    answer(&s, NULL);
    teardown(&s);
}

static void hints_that_are_wrong_give_everything_back(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, QUEUE "/receive", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 7, 9, false);
    give_none(&s);
    CU_ASSERT_TRUE_FATAL(group_world_open(&s.world, &s.asked));
    CU_ASSERT_EQUAL_FATAL(s.asked.count, 2);
    CU_ASSERT_TRUE(is_entry(s.asked.bodies[0], 0, QUEUE_GIVE_BACK, 7, 9));
    group_world_answer(&s.world, &s.asked);
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));
    teardown(&s);
}

/* --- order and time ----------------------------------------------------------------------------*/

static void settle_with(struct setup *s, const bool *out, uint32_t count)
{
    struct queue_settle_result result;
    struct queue_settle_result_queue_settled entries[8];

    queue_settle_result_init(&result);
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = (struct queue_settle_result_queue_settled){.hand_out = out[i]};
    }
    result.entries = entries;
    result.entries_count = count;
    answer(s, &result);
}

static void keys_are_settled_before_anything_is_handed_out(void)
{
    static const bool out[] = {true, false, true, false};
    struct setup s;

    setup(&s);
    post(&s, 0, QUEUE "/receive?max_records=2", NULL);
    const struct queue_receive *receive = expect(&s, GROUP_OP_QUEUE_RECEIVE);
    CU_ASSERT_TRUE(receive->look_ahead > 0);
    grant(&s, 7, 10, true);
    give(&s, 7, "aa-b", 0);
    CU_ASSERT_EQUAL(s.fakes[0].answers, 0);
    const struct queue_settle *settle = expect(&s, GROUP_OP_QUEUE_SETTLE);
    CU_ASSERT_EQUAL_FATAL(settle->entries_count, 4);
    CU_ASSERT_TRUE(settle->entries[0].has_key && settle->entries[1].has_key);
    CU_ASSERT_EQUAL(settle->entries[0].key, settle->entries[1].key);
    CU_ASSERT_FALSE(settle->entries[2].has_key);
    CU_ASSERT_NOT_EQUAL(settle->entries[0].key, settle->entries[3].key);
    /* The second of a key cannot be had, so the third is wanted, and the fourth is not. */
    CU_ASSERT_FALSE(settle->entries[0].leave || settle->entries[2].leave);
    CU_ASSERT_TRUE(settle->entries[3].leave);
    settle_with(&s, out, 4);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"offset\":7"));
    CU_ASSERT_TRUE(fake_answer_has(&s.fakes[0], "\"offset\":9"));
    CU_ASSERT_FALSE(fake_answer_has(&s.fakes[0], "\"offset\":8"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

static void what_is_not_due_is_put_back(void)
{
    static const bool out[] = {false};
    struct setup s;

    setup(&s);
    int64_t at_ms = ria_clock_wall_ms(&s.world.clock) + 5000;
    post(&s, 0, QUEUE "/receive", NULL);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE);
    grant(&s, 7, 7, false);
    give(&s, 7, "-", at_ms);
    const struct queue_settle *settle = expect(&s, GROUP_OP_QUEUE_SETTLE);
    CU_ASSERT_EQUAL_FATAL(settle->entries_count, 1);
    CU_ASSERT_EQUAL(settle->entries[0].delay_ms, 5000);
    settle_with(&s, out, 1);
    (void)expect(&s, GROUP_OP_QUEUE_RECEIVE); /* there may be others */
    grant_nothing(&s);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));
    teardown(&s);
}

static void a_delivery_time_is_at_most_30_days_ahead(void)
{
    struct setup s;

    setup(&s);
    fake_request_init(&s.fakes[0], "POST", "/v1/topics/one/records", "x");
    fake_request_header(&s.fakes[0], "Riacho-Deliver-After-Ms", "2592000001");
    size_t body_max = 0;
    gateway_begin(s.gateway, &s.fakes[0].request, &body_max);
    gateway_handle(s.gateway, &s.fakes[0].request);
    CU_ASSERT_TRUE(answered(&s, 0, 400, "at most 30 days"));
    CU_ASSERT_PTR_NULL(world_next_call(&s.world, API_PRODUCE));
    teardown(&s);
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
    HARNESS_TEST(an_answer_that_was_cut_off_gives_its_records_back),
    HARNESS_TEST(a_leader_that_is_missing_costs_no_lock),
    HARNESS_TEST(hints_that_are_wrong_give_everything_back),
    HARNESS_TEST(keys_are_settled_before_anything_is_handed_out),
    HARNESS_TEST(what_is_not_due_is_put_back),
    HARNESS_TEST(a_delivery_time_is_at_most_30_days_ahead),
};

HARNESS_MAIN(tests);
