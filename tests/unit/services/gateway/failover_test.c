/* What clients see of a failover: latency, not errors. Several requests are under way while leaders
 * die, move or are missing; storage answers as the test says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/world.h"

enum { FAKES = 8, TIMEOUT_MS = 10 * 1000, SECOND = 1000 * 1000 };

/* Topic "one" has one partition, led by node 1; "t" has three, led by nodes 1, 2 and 3. */
struct setup {
    struct world world;
    struct world_topic *one;
    struct world_topic *t;
    struct gateway *gateway;
    struct fake_request fakes[FAKES];
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
    s->t = world_add_topic(&s->world, "t", 3);
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
}

static void start(struct setup *s, int i)
{
    size_t body_max = 0;

    s->fakes[i].request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &s->fakes[i].request, &body_max);
    gateway_handle(s->gateway, &s->fakes[i].request);
    world_run(&s->world);
}

static void post(struct setup *s, int i, const char *path, const char *body)
{
    fake_request_init(&s->fakes[i], "POST", path, body);
    start(s, i);
}

/* A client's own numbers. */
static void post_own(struct setup *s, int i, const char *sequence)
{
    fake_request_init(&s->fakes[i], "POST", "/v1/topics/one/partitions/0/records", "x");
    fake_request_header(&s->fakes[i], "Producer-Id", "77");
    fake_request_header(&s->fakes[i], "Producer-Epoch", "0");
    fake_request_header(&s->fakes[i], "Producer-Seq", sequence);
    start(s, i);
}

static void get(struct setup *s, int i, const char *path)
{
    fake_request_init(&s->fakes[i], "GET", path, NULL);
    start(s, i);
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

static bool waits(const struct setup *s, int i)
{
    return s->fakes[i].answers == 0;
}

static struct world_call *next(struct setup *s, int16_t api_key)
{
    struct world_call *call = world_next_call(&s->world, api_key);

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    return call;
}

static uint32_t count_calls(const struct setup *s, const char *address)
{
    uint32_t count = 0;

    RIA_LIST_FOREACH (link, &s->world.calls) {
        count += strcmp(RIA_CONTAINER(link, struct world_call, link)->address, address) == 0;
    }
    return count;
}

static void move_leader(struct setup *s, struct world_topic *topic, int32_t partition, int32_t to)
{
    topic->leaders[partition] = to;
    topic->epochs[partition] += to >= 0;
    world_publish(&s->world);
    world_run(&s->world);
}

static void ack(struct setup *s, int64_t base_offset)
{
    world_ack(&s->world, next(s, API_PRODUCE), base_offset);
    world_run(&s->world);
}

static void refuse(struct setup *s, int16_t api_key, ria_err err)
{
    world_refuse(&s->world, next(s, api_key), err, "");
    world_run(&s->world);
}

/* Whatever waits at this address gets no answer. */
static void kill_node(struct setup *s, const char *address)
{
    RIA_LIST_FOREACH (link, &s->world.calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        if (strcmp(call->address, address) == 0) {
            world_lose(&s->world, call, RIA_ERR_DISCONNECTED);
        }
    }
    world_run(&s->world);
}

static void reply_fetch(struct setup *s, int64_t high_watermark)
{
    struct fetch_response response;

    fetch_response_init(&response);
    response.high_watermark = high_watermark;
    response.log_start_offset = 0;
    world_reply(&s->world, next(s, API_FETCH), &response, RIA_SLICE_EMPTY);
    world_run(&s->world);
}

/* --- produce -----------------------------------------------------------------------------------*/

static void while_nobody_leads_the_old_leader_may_still_answer(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, "/v1/topics/one/records", "a");
    move_leader(&s, s.one, 0, -1);
    CU_ASSERT_TRUE(waits(&s, 0));
    ack(&s, 4);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"offset\":4"));
    teardown(&s);
}

static void a_new_leader_does_not_pay_for_the_old_ones_failures(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, "/v1/topics/one/records", "a");
    for (int i = 0; i < 8; i++) { /* the back-off is at its longest */
        refuse(&s, API_PRODUCE, RIA_ERR_NOT_ENOUGH_REPLICAS);
        world_advance(&s.world, SECOND / 2);
    }
    move_leader(&s, s.one, 0, 2);
    kill_node(&s, "tcp://s1");
    refuse(&s, API_PRODUCE, RIA_ERR_UNKNOWN_EPOCH); /* it has not heard of it yet */
    world_advance(&s.world, SECOND / 50);
    CU_ASSERT_STRING_EQUAL(next(&s, API_PRODUCE)->address, "tcp://s2");
    ack(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 0, 200, ""));
    teardown(&s);
}

static void a_leader_that_is_behind_is_asked_often(void)
{
    struct setup s;
    int tries = 0;

    setup(&s);
    post(&s, 0, "/v1/topics/one/records", "a");
    for (int i = 0; i < 100; i++) {
        if (world_next_call(&s.world, API_PRODUCE) != NULL) {
            refuse(&s, API_PRODUCE, RIA_ERR_NOT_LEADER);
            tries++;
        }
        world_advance(&s.world, SECOND / 100);
    }
    CU_ASSERT_TRUE(tries >= 15);
    world_advance(&s.world, SECOND / 10);
    ack(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 0, 200, ""));
    teardown(&s);
}

static void keyless_records_leave_a_partition_that_stalls(void)
{
    struct setup s;

    setup(&s);
    for (int i = 0; i < 2; i++) { /* an open batch somewhere, behind one under way */
        post(&s, i, "/v1/topics/t/records", "a");
    }
    struct world_call *call = next(&s, API_PRODUCE);
    int32_t stalled = call->address[strlen(call->address) - 1] - '1';
    move_leader(&s, s.t, stalled, -1);
    kill_node(&s, call->address);
    for (int i = 2; i < 6; i++) {
        post(&s, i, "/v1/topics/t/records", "b");
        while (world_next_call(&s.world, API_PRODUCE) != NULL) {
            ack(&s, i);
        }
    }
    for (int i = 3; i < 6; i++) {
        CU_ASSERT_TRUE(answered(&s, i, 200, ""));
    }
    move_leader(&s, s.t, stalled, 3);
    world_advance(&s.world, SECOND);
    while (world_next_call(&s.world, API_PRODUCE) != NULL) {
        ack(&s, 9);
    }
    CU_ASSERT_TRUE(answered(&s, 0, 200, ""));
    teardown(&s);
}

static void stalled_partitions_hold_half_of_the_budget(void)
{
    struct setup s;
    char body[4000];

    setup(&s);
    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    s.world.budget.limit = 10000;
    move_leader(&s, s.one, 0, -1);
    post(&s, 0, "/v1/topics/one/records", body);
    post(&s, 1, "/v1/topics/one/records", body);
    CU_ASSERT_TRUE(waits(&s, 0) && waits(&s, 1));
    post(&s, 2, "/v1/topics/one/records", "x");
    CU_ASSERT_TRUE(answered(&s, 2, 503, "\"code\":\"busy\""));
    CU_ASSERT_TRUE(fake_answer_has(&s.fakes[2], "\"outcome\":\"not_stored\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fakes[2].fields, "Retry-After: "));
    /* The others go on. */
    post(&s, 3, "/v1/topics/t/partitions/1/records", "x");
    ack(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 3, 200, ""));
    /* With a leader there is room again. */
    move_leader(&s, s.one, 0, 2);
    post(&s, 4, "/v1/topics/one/records", "x");
    world_advance(&s.world, SECOND);
    while (world_next_call(&s.world, API_PRODUCE) != NULL) {
        ack(&s, 0);
    }
    CU_ASSERT_TRUE(
        answered(&s, 0, 200, "") && answered(&s, 1, 200, "") && answered(&s, 4, 200, "")
    );
    teardown(&s);
}

static void no_leader_until_the_end_is_503_and_definite(void)
{
    struct setup s;

    setup(&s);
    move_leader(&s, s.one, 0, -1);
    post(&s, 0, "/v1/topics/one/records", "a");
    world_advance(&s.world, (int64_t)(TIMEOUT_MS - 100) * 1000);
    CU_ASSERT_TRUE(waits(&s, 0));
    world_advance(&s.world, SECOND);
    CU_ASSERT_TRUE(answered(&s, 0, 503, "\"code\":\"no_leader\""));
    CU_ASSERT_TRUE(fake_answer_has(&s.fakes[0], "\"outcome\":\"not_stored\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fakes[0].fields, "Retry-After: "));
    teardown(&s);
}

static void a_silent_leader_until_the_end_is_503_and_unknown(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, "/v1/topics/one/records", "a");
    world_advance(&s.world, (int64_t)(TIMEOUT_MS + 100) * 1000);
    CU_ASSERT_TRUE(answered(&s, 0, 503, "\"code\":\"timeout\""));
    CU_ASSERT_TRUE(fake_answer_has(&s.fakes[0], "\"outcome\":\"unknown\""));
    teardown(&s);
}

/* Refused by every leader since; but who led when it was sent may have stored it. */
static void a_batch_under_way_when_the_leader_changed_is_unknown_at_the_end(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, "/v1/topics/one/records", "a");
    move_leader(&s, s.one, 0, 2);
    kill_node(&s, "tcp://s1");
    for (int i = 0; i < 30 && waits(&s, 0); i++) {
        if (world_next_call(&s.world, API_PRODUCE) != NULL) {
            refuse(&s, API_PRODUCE, RIA_ERR_NOT_ENOUGH_REPLICAS);
        }
        world_advance(&s.world, SECOND / 2);
    }
    CU_ASSERT_TRUE(answered(&s, 0, 503, "\"outcome\":\"unknown\""));
    teardown(&s);
}

static void a_damaged_leader_is_waited_out(void)
{
    struct setup s;

    setup(&s);
    post(&s, 0, "/v1/topics/one/records", "a");
    refuse(&s, API_PRODUCE, RIA_ERR_CORRUPT);
    CU_ASSERT_TRUE(waits(&s, 0));
    move_leader(&s, s.one, 0, 3);
    CU_ASSERT_STRING_EQUAL(next(&s, API_PRODUCE)->address, "tcp://s3");
    ack(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 0, 200, ""));
    teardown(&s);
}

/* --- a client's own numbers --------------------------------------------------------------------*/

static void own_batches_do_not_wait_for_a_leader_that_is_none(void)
{
    struct setup s;

    setup(&s);
    post_own(&s, 0, "0");
    CU_ASSERT_STRING_EQUAL(next(&s, API_PRODUCE)->address, "tcp://s1");
    move_leader(&s, s.one, 0, 2);
    CU_ASSERT_EQUAL(count_calls(&s, "tcp://s2"), 1);
    kill_node(&s, "tcp://s1");
    CU_ASSERT_TRUE(waits(&s, 0));
    ack(&s, 5);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"offset\":5"));
    teardown(&s);
}

static void an_own_batch_given_up_after_a_lost_answer_is_unknown(void)
{
    struct setup s;

    setup(&s);
    post_own(&s, 0, "0");
    move_leader(&s, s.one, 0, 2);
    kill_node(&s, "tcp://s1");
    for (int i = 0; i < 30 && waits(&s, 0); i++) {
        if (world_next_call(&s.world, API_PRODUCE) != NULL) {
            refuse(&s, API_PRODUCE, RIA_ERR_NOT_ENOUGH_REPLICAS);
        }
        world_advance(&s.world, SECOND / 2);
    }
    CU_ASSERT_TRUE(answered(&s, 0, 503, "\"outcome\":\"unknown\""));
    teardown(&s);
}

static void own_batches_overtaken_in_a_failover_are_not_out_of_order(void)
{
    struct setup s;

    setup(&s);
    post_own(&s, 0, "0");
    post_own(&s, 1, "1");
    refuse(&s, API_PRODUCE, RIA_ERR_UNKNOWN_EPOCH); /* the first comes back later */
    refuse(&s, API_PRODUCE, RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_TRUE(waits(&s, 1));
    world_advance(&s.world, SECOND / 10);
    ack(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 0, 200, ""));
    world_advance(&s.world, SECOND / 2);
    ack(&s, 1);
    CU_ASSERT_TRUE(answered(&s, 1, 200, ""));
    /* Nobody before it: a gap. */
    post_own(&s, 2, "9");
    refuse(&s, API_PRODUCE, RIA_ERR_OUT_OF_ORDER);
    CU_ASSERT_TRUE(answered(&s, 2, 409, ""));
    teardown(&s);
}

/* --- reading -----------------------------------------------------------------------------------*/

#define RECORDS "/v1/topics/one/partitions/0/records"

static void a_read_does_not_wait_for_a_leader_that_is_none(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, RECORDS "?offset=0");
    CU_ASSERT_STRING_EQUAL(next(&s, API_FETCH)->address, "tcp://s1");
    move_leader(&s, s.one, 0, 2);
    CU_ASSERT_EQUAL(count_calls(&s, "tcp://s2"), 1);
    kill_node(&s, "tcp://s1");
    reply_fetch(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));
    teardown(&s);
}

static void an_old_leader_may_answer_a_read_while_nobody_leads(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, RECORDS "?offset=0");
    move_leader(&s, s.one, 0, -1);
    reply_fetch(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));
    teardown(&s);
}

static void a_read_that_waits_moves_with_the_leader(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, RECORDS "?offset=0&wait_ms=5000");
    reply_fetch(&s, 0);
    world_advance(&s.world, SECOND / 100);
    CU_ASSERT_STRING_EQUAL(next(&s, API_WATCH)->address, "tcp://s1");
    move_leader(&s, s.one, 0, -1);
    kill_node(&s, "tcp://s1");
    world_advance(&s.world, SECOND);
    CU_ASSERT_TRUE(waits(&s, 0));
    move_leader(&s, s.one, 0, 3);
    world_advance(&s.world, SECOND / 100);
    CU_ASSERT_STRING_EQUAL(next(&s, API_WATCH)->address, "tcp://s3");
    world_advance(&s.world, 5 * SECOND);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));
    teardown(&s);
}

static void a_watch_ended_by_the_old_leader_goes_on_at_the_new_one(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, RECORDS "?offset=0&wait_ms=5000");
    reply_fetch(&s, 0);
    world_advance(&s.world, SECOND / 100);
    refuse(&s, API_WATCH, RIA_ERR_SHUTDOWN);
    CU_ASSERT_TRUE(waits(&s, 0));
    move_leader(&s, s.one, 0, 2);
    world_advance(&s.world, SECOND / 100);
    CU_ASSERT_STRING_EQUAL(next(&s, API_WATCH)->address, "tcp://s2");
    CU_ASSERT_TRUE(waits(&s, 0));
    teardown(&s);
}

static void damage_is_told_only_if_no_other_leader_comes(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, RECORDS "?offset=0");
    refuse(&s, API_FETCH, RIA_ERR_CORRUPT);
    CU_ASSERT_TRUE(waits(&s, 0));
    move_leader(&s, s.one, 0, 2);
    reply_fetch(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));

    get(&s, 1, RECORDS "?offset=0");
    for (int i = 0; i < 12 && waits(&s, 1); i++) {
        refuse(&s, API_FETCH, RIA_ERR_CORRUPT);
        world_advance(&s.world, SECOND / 2);
    }
    CU_ASSERT_TRUE(answered(&s, 1, 500, "\"code\":\"damaged\""));
    teardown(&s);
}

static void offsets_are_asked_of_the_new_leader(void)
{
    struct setup s;
    struct list_offsets_response response;

    setup(&s);
    get(&s, 0, "/v1/topics/one/partitions/0/offsets");
    CU_ASSERT_STRING_EQUAL(next(&s, API_LIST_OFFSETS)->address, "tcp://s1");
    move_leader(&s, s.one, 0, 3);
    kill_node(&s, "tcp://s1");
    CU_ASSERT_STRING_EQUAL(next(&s, API_LIST_OFFSETS)->address, "tcp://s3");
    list_offsets_response_init(&response);
    response.high_watermark = 7;
    world_reply(&s.world, next(&s, API_LIST_OFFSETS), &response, RIA_SLICE_NULL);
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"high_watermark\":7"));
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(while_nobody_leads_the_old_leader_may_still_answer),
    HARNESS_TEST(a_new_leader_does_not_pay_for_the_old_ones_failures),
    HARNESS_TEST(a_leader_that_is_behind_is_asked_often),
    HARNESS_TEST(keyless_records_leave_a_partition_that_stalls),
    HARNESS_TEST(stalled_partitions_hold_half_of_the_budget),
    HARNESS_TEST(no_leader_until_the_end_is_503_and_definite),
    HARNESS_TEST(a_silent_leader_until_the_end_is_503_and_unknown),
    HARNESS_TEST(a_batch_under_way_when_the_leader_changed_is_unknown_at_the_end),
    HARNESS_TEST(a_damaged_leader_is_waited_out),
    HARNESS_TEST(own_batches_do_not_wait_for_a_leader_that_is_none),
    HARNESS_TEST(an_own_batch_given_up_after_a_lost_answer_is_unknown),
    HARNESS_TEST(own_batches_overtaken_in_a_failover_are_not_out_of_order),
    HARNESS_TEST(a_read_does_not_wait_for_a_leader_that_is_none),
    HARNESS_TEST(an_old_leader_may_answer_a_read_while_nobody_leads),
    HARNESS_TEST(a_read_that_waits_moves_with_the_leader),
    HARNESS_TEST(a_watch_ended_by_the_old_leader_goes_on_at_the_new_one),
    HARNESS_TEST(damage_is_told_only_if_no_other_leader_comes),
    HARNESS_TEST(offsets_are_asked_of_the_new_leader),
};

HARNESS_MAIN(tests);
