/* Live streams of groups: what is leased, committed, extended and given back, and what the client
 * gets. The coordinator and storage answer as the test says. */
#include <stdio.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_commit_result.h"
#include "schemas/gen/group_read.h"
#include "schemas/gen/group_read_result.h"

#include "services/gateway/cursor.h"
#include "services/gateway/gateway.h"
#include "services/gateway/group_ops.h"
#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/group_world.h"

enum { TICK_US = 100 * 1000, SECOND = 1000 * 1000 };

/* Topic "t" has two partitions, led by nodes 1 and 2. */
struct setup {
    struct world world;
    struct world_topic *t;
    struct gateway *gateway;
    struct fake_request client;
    struct group_world_request asked;
};

static void setup(struct setup *s)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = 1 << 20,
        .request_timeout_ms = 10 * 1000,
        .streams_max = 2,
    };

    memset(s, 0, sizeof(*s));
    world_init(&s->world, 2);
    s->t = world_add_topic(&s->world, "t", 2);
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s->world.env, &options, &s->world.budget, NULL, &s->gateway), RIA_OK
    );
    gateway_start(s->gateway);
    world_run(&s->world);
}

static void teardown(struct setup *s)
{
    gateway_free(s->gateway);
    fake_request_fini(&s->client);
    world_fini(&s->world);
    CU_ASSERT_EQUAL(s->world.budget.used.value, 0);
    CU_ASSERT_EQUAL(s->world.budget.reads, 0);
}

static void open_as(struct setup *s, const char *query, const char *type)
{
    char path[512];
    size_t body_max = 0;

    (void)snprintf(path, sizeof(path), "/v1/groups/g/stream?topics=t%s", query);
    fake_request_init(&s->client, "GET", path, NULL);
    fake_request_header(&s->client, "Accept", type);
    s->client.request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &s->client.request, &body_max);
    if (s->client.answers == 0) {
        gateway_handle(s->gateway, &s->client.request);
    }
    world_run(&s->world);
}

static void take(struct setup *s)
{
    fake_request_take(&s->client, 0, 0);
    world_run(&s->world);
}

/* --- the coordinator ---------------------------------------------------------------------------*/

static const void *expect(struct setup *s, int8_t kind)
{
    CU_ASSERT_TRUE_FATAL(group_world_open(&s->world, &s->asked));
    CU_ASSERT_EQUAL_FATAL(s->asked.count, 1);
    CU_ASSERT_EQUAL_FATAL(s->asked.kinds[0], kind);
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

/* Leases 11 and 12 of the first partitions, from offset 7 on. */
static void grant(struct setup *s, uint32_t count)
{
    struct group_read_result result;
    struct group_read_result_group_grant grants[2];

    (void)expect(s, GROUP_OP_READ);
    group_read_result_init(&result);
    result.granted = grants;
    result.granted_count = count;
    for (uint32_t i = 0; i < count; i++) {
        grants[i] = (struct group_read_result_group_grant){
            .topic_id = s->t->id,
            .partition = (int32_t)i,
            .lease_id = 11 + i,
            .offset = 7,
            .left_ms = 30000,
        };
    }
    answer(s, &result);
}

/* Each is done, or lost if it is of that lease. */
static void answer_commit(struct setup *s, int64_t lost)
{
    const struct group_commit *commit = s->asked.bodies[0];
    struct group_commit_result_group_committed said[4] = {{0}};
    struct group_commit_result result;

    group_commit_result_init(&result);
    result.entries = said;
    result.entries_count = commit->entries_count;
    for (uint32_t i = 0; i < commit->entries_count; i++) {
        said[i].error_code = commit->entries[i].lease_id == lost ? RIA_ERR_CONFLICT : 0;
        said[i].left_ms = 30000;
    }
    answer(s, &result);
}

/* --- storage -----------------------------------------------------------------------------------*/

/* The oldest fetch gets `count` records from the offset on, with values 0, 1, 0, 1, ... */
static void give(struct setup *s, int64_t offset, int count)
{
    struct world_call *call = world_next_call(&s->world, API_FETCH);
    struct batch_builder builder;
    struct fetch_response response;

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    fetch_response_init(&response);
    response.high_watermark = offset + count;
    if (count == 0) {
        world_reply(&s->world, call, &response, RIA_SLICE_EMPTY);
        world_run(&s->world);
        return;
    }
    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (int i = 0; i < count; i++) {
        const char *value = i % 2 == 0 ? "{\"n\":0}" : "{\"n\":1}";
        CU_ASSERT_EQUAL(
            batch_builder_add(&builder, 5, RIA_SLICE_NULL, ria_slice_cstr(value), NULL, 0), RIA_OK
        );
    }
    struct ria_slice bytes = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(builder.buf.data, offset, 1);
    world_reply(&s->world, call, &response, bytes);
    batch_builder_fini(&builder);
    world_run(&s->world);
}

/* A stream with both partitions, three records of each, that has sent nothing. */
static void open_both(struct setup *s, const char *query)
{
    open_as(s, query, "text/event-stream");
    grant(s, 2);
    give(s, 7, 3);
    give(s, 7, 3);
    CU_ASSERT_EQUAL_FATAL(s->client.status, 200);
}

/* It has taken all, and is at the ends. */
static void settle(struct setup *s)
{
    take(s);
    while (world_next_call(&s->world, API_FETCH) != NULL) {
        give(s, 10, 0);
        take(s);
    }
}

/* The next fetch of leases waits, so that only commits are asked. */
static void answer_acquire(struct setup *s)
{
    struct group_read_result result;

    (void)expect(s, GROUP_OP_READ);
    group_read_result_init(&result);
    answer(s, &result);
}

/* --- tests -------------------------------------------------------------------------------------*/

static void what_the_socket_took_is_committed_in_one_operation(void)
{
    struct setup s;

    setup(&s);
    open_both(&s, "&max_partitions=2");
    world_advance(&s.world, TICK_US);
    CU_ASSERT_TRUE(nothing_asked(&s)); /* nothing was taken */
    settle(&s);
    CU_ASSERT_EQUAL(strstr(s.client.body, "retry: 2000\nid: ") == s.client.body, true);
    CU_ASSERT_TRUE(fake_answer_has(&s.client, "\"topic\":\"t\",\"partition\":1,\"offset\":9"));
    world_advance(&s.world, TICK_US);
    const struct group_commit *commit = expect(&s, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL_FATAL(commit->entries_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(commit->entries[i].lease_id, 11 + i);
        CU_ASSERT_EQUAL(commit->entries[i].offset, 10);
        CU_ASSERT_TRUE(commit->entries[i].keep);
    }
    answer_commit(&s, -1);
    world_advance(&s.world, 2 * TICK_US);
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

static void leases_are_given_back_when_the_client_goes_and_only_what_it_took_is_committed(void)
{
    struct setup s;

    setup(&s);
    open_both(&s, "&max_partitions=2");
    fake_request_hang_up(&s.client);
    world_run(&s.world);
    const struct group_commit *commit = expect(&s, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL_FATAL(commit->entries_count, 2);
    CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
    CU_ASSERT_FALSE(commit->entries[0].keep);
    answer_commit(&s, -1);
    teardown(&s);
}

static void leases_are_extended_and_with_ack_cursor_nothing_is_committed(void)
{
    struct setup s;

    setup(&s);
    open_both(&s, "&max_partitions=2&ack=cursor&lease_ms=30000");
    settle(&s);
    world_advance(&s.world, 10 * SECOND);
    CU_ASSERT_TRUE(nothing_asked(&s));
    world_advance(&s.world, 6 * SECOND);
    const struct group_commit *commit = expect(&s, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL(commit->entries_count, 2);
    CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
    CU_ASSERT_TRUE(commit->entries[0].keep);
    CU_ASSERT_EQUAL(commit->lease_ms, 30000);
    answer_commit(&s, -1);
    fake_request_hang_up(&s.client);
    world_run(&s.world);
    commit = expect(&s, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
    CU_ASSERT_TRUE(commit->entries[0].keep); /* its client may still commit ... */
    CU_ASSERT_EQUAL(commit->lease_ms, 0);    /* ... as long as it is nobody else's */
    answer_commit(&s, -1);
    teardown(&s);
}

static void a_lost_lease_is_told_and_the_stream_goes_on_with_the_others(void)
{
    struct setup s;

    setup(&s);
    open_both(&s, "&max_partitions=2");
    settle(&s);
    world_advance(&s.world, TICK_US);
    (void)expect(&s, GROUP_OP_COMMIT);
    answer_commit(&s, 12);
    take(&s);
    CU_ASSERT_TRUE(fake_answer_has(&s.client, "event: lost\nid: "));
    CU_ASSERT_TRUE(fake_answer_has(&s.client, "data: {\"topic\":\"t\",\"partition\":1}\n\n"));
    world_advance(&s.world, TICK_US);
    take(&s);
    answer_acquire(&s); /* there is room for another one */
    world_advance(&s.world, 16 * SECOND);
    const struct group_commit *commit = expect(&s, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL(commit->entries_count, 1);
    CU_ASSERT_EQUAL(commit->entries[0].lease_id, 11);
    answer_commit(&s, -1);
    teardown(&s);
}

static int times(const struct setup *s, const char *part)
{
    int count = 0;

    for (const char *at = s->client.body; (at = strstr(at, part)) != NULL; at++) {
        count++;
    }
    return count;
}

/* Its lease was over before it heard of that, and nobody else came: two leases of one partition
 * made a cursor that the gateway died of. */
static void a_partition_that_is_granted_again_goes_on_under_the_new_lease(void)
{
    struct group_read_result_group_grant grant_again = {
        .partition = 0,
        .lease_id = 21,
        .offset = 8,
        .left_ms = 30000,
    };
    struct group_read_result result;
    struct setup s;

    setup(&s);
    open_as(&s, "&max_partitions=2&ack=cursor", "text/event-stream");
    grant(&s, 1);
    give(&s, 7, 3);
    settle(&s);
    (void)expect(&s, GROUP_OP_READ);
    group_read_result_init(&result);
    grant_again.topic_id = s.t->id;
    result.granted = &grant_again;
    result.granted_count = 1;
    answer(&s, &result);
    give(&s, 8, 3);
    settle(&s);
    CU_ASSERT_EQUAL(times(&s, "\"offset\":7"), 1);
    CU_ASSERT_EQUAL(times(&s, "\"offset\":8"), 2);
    CU_ASSERT_EQUAL(times(&s, "\"offset\":10"), 1);
    CU_ASSERT_EQUAL(times(&s, "event: lost"), 0); /* it is still its own */
    answer_acquire(&s);                           /* there is room for another one */
    fake_request_hang_up(&s.client);
    world_run(&s.world);
    const struct group_commit *commit = expect(&s, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL_FATAL(commit->entries_count, 1);
    CU_ASSERT_EQUAL(commit->entries[0].lease_id, 21);
    answer_commit(&s, -1);
    teardown(&s);
}

/* Opens a stream behind offset 7 of t (lease 5) and offset 3 of the other topic (lease 6). */
static void open_behind(struct setup *s, const struct world_topic *other, const char *type)
{
    const struct cursor_entry entries[] = {{0, 7, 5}, {0, 3, 6}};
    const struct cursor_topic topics[] = {{s->t->id, &entries[0], 1}, {other->id, &entries[1], 1}};
    const struct cursor cursor = {
        .kind = CURSOR_GROUP,
        .group = cursor_group_hash(RIA_SLICE_LITERAL("g")),
        .topics = topics,
        .topic_count = 2,
    };
    const struct ria_uuid cluster_id = {{1}};
    char text[CURSOR_TEXT_MAX + 1];
    char query[400];
    size_t size = 0;

    for (size_t i = 0; i < RIA_COUNT(topics); i++) { /* they were handed out here */
        const struct cluster_partition *partition =
            cluster_partition(s->gateway->cluster, &topics[i].id, 0);
        if (partition != NULL) {
            marks_note(&s->gateway->marks, partition, 10);
        }
    }
    CU_ASSERT_EQUAL_FATAL(cursor_encode(&cursor, &cluster_id, text, &size), RIA_OK);
    (void)snprintf(query, sizeof(query), "&max_partitions=1&after=%.300s", text);
    open_as(s, query, type);
}

static struct world_topic *add_other(struct setup *s)
{
    struct world_topic *other = world_add_topic(&s->world, "other", 1);

    world_publish(&s->world);
    world_run(&s->world);
    return other;
}

static void what_its_cursor_has_of_a_deleted_topic_is_told_once(void)
{
    struct setup s;

    setup(&s);
    struct world_topic *other = add_other(&s);
    other->deleted = true;
    world_publish(&s.world);
    world_run(&s.world);
    open_behind(&s, other, "text/event-stream");
    const struct group_read *read = expect(&s, GROUP_OP_READ);
    CU_ASSERT_EQUAL_FATAL(read->commits_count, 1); /* the rest of the cursor is committed */
    CU_ASSERT_EQUAL(read->commits[0].lease_id, 5);
    group_world_close(&s.asked);
    grant(&s, 1);
    give(&s, 7, 3);
    settle(&s);
    CU_ASSERT_EQUAL(times(&s, "event: lost\nid: "), 1);
    CU_ASSERT_TRUE(fake_answer_has(&s.client, "\ndata: {\"topic\":\"other\",\"topic_id\":\""));
    CU_ASSERT_TRUE(fake_answer_has(
        &s.client, "\",\"reason\":\"topic_deleted\",\"partition\":0,\"position\":null}\n\n"
    ));
    CU_ASSERT_TRUE(fake_answer_has(&s.client, "\"topic\":\"t\",\"partition\":0,\"offset\":9"));
    world_advance(&s.world, 16 * SECOND); /* past a heartbeat */
    take(&s);
    CU_ASSERT_EQUAL(times(&s, "event: lost"), 1);
    teardown(&s);
}

static void what_its_cursor_has_and_others_go_on_with_is_told(void)
{
    struct group_read_result_group_lost lost = {.partition = 0, .position = 9};
    struct group_read_result result;
    struct setup s;

    setup(&s);
    struct world_topic *other = add_other(&s);
    open_behind(&s, other, "application/x-ndjson");
    const struct group_read *read = expect(&s, GROUP_OP_READ);
    CU_ASSERT_EQUAL_FATAL(read->commits_count, 2);
    group_read_result_init(&result);
    lost.topic_id = other->id;
    result.lost = &lost;
    result.lost_count = 1;
    answer(&s, &result);
    CU_ASSERT_EQUAL_FATAL(s.client.status, 200);
    take(&s);
    CU_ASSERT_EQUAL(
        times(
            &s, "\"}\n{\"lost\":{\"topic\":\"other\",\"partition\":0,\"position\":9},\"cursor\":\""
        ),
        1
    );
    teardown(&s);
}

static void what_is_filtered_out_counts_as_delivered(void)
{
    struct setup s;

    setup(&s);
    open_as(&s, "&max_partitions=1&filter=$.n=5", "application/x-ndjson");
    grant(&s, 1);
    give(&s, 7, 3);
    settle(&s);
    CU_ASSERT_FALSE(fake_answer_has(&s.client, "\"offset\""));
    world_advance(&s.world, TICK_US);
    const struct group_commit *commit = expect(&s, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL(commit->entries[0].offset, 10);
    answer_commit(&s, -1);
    teardown(&s);
}

static void a_client_that_is_stuck_holds_one_event_and_the_rest_is_read_again(void)
{
    struct setup s;
    const char *twice = NULL;

    setup(&s);
    open_as(&s, "&max_partitions=1", "text/event-stream");
    grant(&s, 1);
    give(&s, 7, 3);
    fake_request_take(&s.client, 1024, 1); /* the beginning */
    fake_request_take(&s.client, 20, 1);   /* and a part of the first event */
    world_advance(&s.world, 3 * SECOND);
    take(&s);
    give(&s, 7, 3);
    take(&s);
    for (int offset = 7; offset < 10; offset++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "\"offset\":%d", offset);
        const char *once = strstr(s.client.body, text);
        CU_ASSERT_PTR_NOT_NULL_FATAL(once);
        twice = strstr(once + 1, text);
        CU_ASSERT_PTR_NULL(twice);
    }
    teardown(&s);
}

/* Events that are in the socket's buffer were given, though nobody knows yet that it took them: to
 * drop them left a stream that never sent anything again. */
static void a_client_that_is_stuck_with_several_events_in_its_socket_goes_on(void)
{
    struct setup s;

    setup(&s);
    open_as(&s, "&max_partitions=1", "text/event-stream");
    grant(&s, 1);
    give(&s, 7, 6);
    fake_request_take(&s.client, 1024, 1); /* the beginning */
    fake_request_take(&s.client, 400, 1);  /* more than one event */
    CU_ASSERT_TRUE(times(&s, "\"offset\":") >= 2);
    CU_ASSERT_TRUE(times(&s, "\"offset\":") < 6);
    world_advance(&s.world, TICK_US);
    CU_ASSERT_TRUE(nothing_asked(&s)); /* nobody knows that it took any */
    world_advance(&s.world, 3 * SECOND);
    take(&s);
    while (world_next_call(&s.world, API_FETCH) != NULL && times(&s, "\"offset\":12") == 0) {
        give(&s, 7, 6);
        take(&s);
    }
    for (int offset = 7; offset < 13; offset++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "\"offset\":%d,", offset);
        CU_ASSERT_EQUAL(times(&s, text), 1);
    }
    world_advance(&s.world, 2 * TICK_US);
    const struct group_commit *commit = expect(&s, GROUP_OP_COMMIT);
    CU_ASSERT_TRUE(commit->entries[0].offset >= 7);
    answer_commit(&s, -1);
    teardown(&s);
}

static void a_refusal_of_the_group_is_the_status(void)
{
    struct setup s;

    setup(&s);
    open_as(&s, "", "text/event-stream");
    (void)expect(&s, GROUP_OP_READ);
    s.asked.errs[0] = RIA_ERR_CONFLICT;
    s.asked.texts[0] = "the group has named members";
    answer(&s, NULL);
    CU_ASSERT_EQUAL(s.client.status, 409);
    CU_ASSERT_TRUE(fake_answer_has(&s.client, "named members"));
    teardown(&s);
}

static void parameters_are_checked_before_anybody_is_asked(void)
{
    static const struct {
        const char *query;
        int status;
        const char *part;
    } cases[] = {
        {"&ack=never", 400, "ack"},
        {"&after=x", 400, "malformed_cursor"},
        {"&filter=$", 400, "filter"},
        {"&lease_ms=1", 400, "lease_ms"},
        {"&wait_ms=1", 400, "wait_ms"},
    };

    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        struct setup s;
        setup(&s);
        open_as(&s, cases[i].query, "text/event-stream");
        CU_ASSERT_EQUAL(s.client.status, cases[i].status);
        CU_ASSERT_TRUE(fake_answer_has(&s.client, cases[i].part));
        CU_ASSERT_TRUE(nothing_asked(&s));
        teardown(&s);
    }
}

/* It said that a POST is fine, which there is none of. */
static void a_head_is_refused_and_told_what_there_is(void)
{
    struct setup s;
    size_t body_max = 0;

    setup(&s);
    fake_request_init(&s.client, "GET", "/v1/groups/g/stream?topics=t", NULL);
    s.client.request.is_head = true;
    gateway_begin(s.gateway, &s.client.request, &body_max);
    gateway_handle(s.gateway, &s.client.request);
    CU_ASSERT_EQUAL(s.client.status, 405);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.client.fields, "Allow: GET\n"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(what_the_socket_took_is_committed_in_one_operation),
    HARNESS_TEST(leases_are_given_back_when_the_client_goes_and_only_what_it_took_is_committed),
    HARNESS_TEST(leases_are_extended_and_with_ack_cursor_nothing_is_committed),
    HARNESS_TEST(a_lost_lease_is_told_and_the_stream_goes_on_with_the_others),
    HARNESS_TEST(a_partition_that_is_granted_again_goes_on_under_the_new_lease),
    HARNESS_TEST(what_its_cursor_has_of_a_deleted_topic_is_told_once),
    HARNESS_TEST(what_its_cursor_has_and_others_go_on_with_is_told),
    HARNESS_TEST(what_is_filtered_out_counts_as_delivered),
    HARNESS_TEST(a_client_that_is_stuck_holds_one_event_and_the_rest_is_read_again),
    HARNESS_TEST(a_client_that_is_stuck_with_several_events_in_its_socket_goes_on),
    HARNESS_TEST(a_refusal_of_the_group_is_the_status),
    HARNESS_TEST(parameters_are_checked_before_anybody_is_asked),
    HARNESS_TEST(a_head_is_refused_and_told_what_there_is),
};

HARNESS_MAIN(tests);
