/* Consuming as one of a group: what the coordinator and storage are asked, and what the client
 * gets. Both answer as the test says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_commit_result.h"
#include "schemas/gen/group_leave.h"
#include "schemas/gen/group_read.h"
#include "schemas/gen/group_read_result.h"
#include "schemas/gen/group_reset.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "services/gateway/cursor.h"
#include "services/gateway/gateway.h"
#include "services/gateway/group_ops.h"
#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/group_world.h"

enum { FAKES = 6, TIMEOUT_MS = 10 * 1000, SECOND = 1000 * 1000 };

/* Topic "t" has three partitions, led by nodes 1, 2 and 3; "one" has one, led by node 1. */
struct setup {
    struct world world;
    struct world_topic *t;
    struct world_topic *one;
    struct gateway *gateway;
    struct fake_request fakes[FAKES];
    struct group_world_request asked;
};

static const struct gateway_options options = {
    .coordinator = "tcp://c",
    .body_max = 1 << 20,
    .request_timeout_ms = TIMEOUT_MS,
};

static void setup(struct setup *s)
{
    memset(s->fakes, 0, sizeof(s->fakes));
    world_init(&s->world, 3);
    s->t = world_add_topic(&s->world, "t", 3);
    s->one = world_add_topic(&s->world, "one", 1);
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

static void start(struct setup *s, int i)
{
    size_t body_max = 0;

    s->fakes[i].request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &s->fakes[i].request, &body_max);
    if (s->fakes[i].answers == 0) {
        gateway_handle(s->gateway, &s->fakes[i].request);
    }
    world_run(&s->world);
}

static void get_as(struct setup *s, int i, const char *path, const char *accept)
{
    if (s->fakes[i].request.ops != NULL) {
        fake_request_fini(&s->fakes[i]);
    }
    fake_request_init(&s->fakes[i], "GET", path, NULL);
    fake_request_header(&s->fakes[i], "Accept", accept);
    start(s, i);
}

static void get(struct setup *s, int i, const char *path)
{
    get_as(s, i, path, "application/json");
}

static void post(struct setup *s, int i, const char *path, const char *body)
{
    if (s->fakes[i].request.ops != NULL) {
        fake_request_fini(&s->fakes[i]);
    }
    fake_request_init(&s->fakes[i], "POST", path, body);
    fake_request_header(&s->fakes[i], "Content-Type", "application/json");
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

/* The cursor of an answer, in a path behind `before`. */
static const char *with_cursor(const struct setup *s, int i, const char *before, char out[1024])
{
    const char *at = strstr(s->fakes[i].fields, "Riacho-Cursor: ");

    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    at += strlen("Riacho-Cursor: ");
    (void)snprintf(out, 1024, "%s%.*s", before, (int)strcspn(at, "\n"), at);
    return out;
}

/* --- the coordinator ---------------------------------------------------------------------------*/

static void expect(struct setup *s, uint32_t count)
{
    CU_ASSERT_TRUE_FATAL(group_world_open(&s->world, &s->asked));
    CU_ASSERT_EQUAL_FATAL(s->asked.count, count);
}

static const struct group_read *expect_read(struct setup *s)
{
    expect(s, 1);
    CU_ASSERT_EQUAL_FATAL(s->asked.kinds[0], GROUP_OP_READ);
    return s->asked.bodies[0];
}

static const struct group_commit *expect_commit(struct setup *s)
{
    expect(s, 1);
    CU_ASSERT_EQUAL_FATAL(s->asked.kinds[0], GROUP_OP_COMMIT);
    return s->asked.bodies[0];
}

static void answer(struct setup *s)
{
    group_world_answer(&s->world, &s->asked);
    world_run(&s->world);
}

static bool nothing_asked(struct setup *s)
{
    return world_next_call(&s->world, API_GROUP) == NULL;
}

static void refuse(struct setup *s, ria_err err, const char *text)
{
    s->asked.errs[0] = err;
    s->asked.texts[0] = text;
    answer(s);
}

/* Leases 11, 12, ... of the first partitions of t, from the offset on. */
static void grant(struct setup *s, uint32_t count, int64_t offset)
{
    struct group_read_result result;
    struct group_read_result_group_grant grants[3];

    group_read_result_init(&result);
    result.granted = grants;
    result.granted_count = count;
    result.changed = 5;
    for (uint32_t i = 0; i < count; i++) {
        grants[i] = (struct group_read_result_group_grant){
            .topic_id = s->t->id,
            .partition = (int32_t)i,
            .lease_id = 11 + i,
            .offset = offset,
            .left_ms = 30000,
        };
    }
    s->asked.results[0] = &result;
    answer(s);
}

/* The partitions of t are free and stand at the offset (-1: nowhere yet). */
static void offer(struct setup *s, uint32_t count, int64_t offset)
{
    struct group_read_result result;
    struct group_read_result_group_offer offers[3];

    group_read_result_init(&result);
    result.offered = offers;
    result.offered_count = count;
    result.changed = 5;
    for (uint32_t i = 0; i < count; i++) {
        offers[i] = (struct group_read_result_group_offer
        ){.topic_id = s->t->id, .partition = (int32_t)i, .offset = offset};
    }
    s->asked.results[0] = &result;
    answer(s);
}

/* --- storage -----------------------------------------------------------------------------------*/

static struct world_call *next(struct setup *s, int16_t api_key)
{
    struct world_call *call = world_next_call(&s->world, api_key);

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    return call;
}

/* The newest: a probe, or the watch that replaced older ones. */
static struct world_call *newest_watch(struct setup *s, const char *address)
{
    struct world_call *found = NULL;

    RIA_LIST_FOREACH (link, &s->world.calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        if (call->api_key == API_WATCH && strcmp(call->address, address) == 0) {
            found = call;
        }
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    return found;
}

static void say_mark(struct setup *s, int32_t partition, int64_t high_watermark)
{
    static const char *const addresses[] = {"tcp://s1", "tcp://s2", "tcp://s3"};
    struct watch_response response;
    struct watch_response_watched_partition moved = {
        .topic_id = s->t->id, .partition = partition, .high_watermark = high_watermark};

    watch_response_init(&response);
    if (high_watermark >= 0) {
        response.partitions = &moved;
        response.partitions_count = 1;
    }
    world_reply(&s->world, newest_watch(s, addresses[partition]), &response, RIA_SLICE_NULL);
    world_run(&s->world);
}

/* Each node: nothing has moved. */
static void say_nothing_moved(struct setup *s)
{
    for (int32_t p = 0; p < 3; p++) {
        say_mark(s, p, -1);
    }
}

static void say_range(struct setup *s, int64_t start, int64_t high_watermark)
{
    struct list_offsets_response response;

    list_offsets_response_init(&response);
    response.log_start_offset = start;
    response.high_watermark = high_watermark;
    world_reply(&s->world, next(s, API_LIST_OFFSETS), &response, RIA_SLICE_NULL);
    world_run(&s->world);
}

/* `count` records from the offset on, each with value "1"; the log ends behind them. */
static void give_records(struct setup *s, int64_t offset, int count)
{
    struct batch_builder builder;
    struct fetch_response response;

    fetch_response_init(&response);
    response.high_watermark = offset + count;
    if (count == 0) {
        world_reply(&s->world, next(s, API_FETCH), &response, RIA_SLICE_EMPTY);
        world_run(&s->world);
        return;
    }
    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(
            batch_builder_add(&builder, 5, RIA_SLICE_NULL, RIA_SLICE_LITERAL("1"), NULL, 0), RIA_OK
        );
    }
    struct ria_slice bytes = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(builder.buf.data, offset, 1);
    world_reply(&s->world, next(s, API_FETCH), &response, bytes);
    batch_builder_fini(&builder);
    world_run(&s->world);
}

/* Client 0 has two records of partition 0 from offset 7 on, under lease 11. */
static void read_two(struct setup *s)
{
    get(s, 0, "/v1/groups/g/records?topics=t");
    (void)expect_read(s);
    grant(s, 1, 7);
    give_records(s, 7, 2);
}

/* --- reading -----------------------------------------------------------------------------------*/

static void one_call_joins_leases_and_reads(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g%2F%C3%A4/records?topics=t,one&member=m%201&lease_ms=2000");
    const struct group_read *read = expect_read(&s);
    CU_ASSERT_TRUE(ria_slice_equal(read->group, RIA_SLICE_LITERAL("g/\xc3\xa4")));
    CU_ASSERT_TRUE(ria_slice_equal(read->member, RIA_SLICE_LITERAL("m 1")));
    CU_ASSERT_EQUAL(read->topics_count, 2);
    CU_ASSERT_EQUAL(read->lease_ms, 2000);
    CU_ASSERT_EQUAL(read->session_ms, 45000);
    CU_ASSERT_EQUAL(read->partitions_max, 16);
    CU_ASSERT_EQUAL(read->member_epoch, -1);
    CU_ASSERT_TRUE(read->read_id > 0);
    grant(&s, 2, 7);
    give_records(&s, 7, 2);
    CU_ASSERT_TRUE(waits(&s, 0)); /* for the other partition */
    give_records(&s, 7, 1);
    CU_ASSERT_TRUE(answered(
        &s,
        0,
        200,
        "{\"records\":["
        "{\"topic\":\"t\",\"partition\":0,\"offset\":7,\"timestamp\":5,\"key\":null,\"value\":1},"
        "{\"topic\":\"t\",\"partition\":0,\"offset\":8,\"timestamp\":5,\"key\":null,\"value\":1},"
        "{\"topic\":\"t\",\"partition\":1,\"offset\":7,\"timestamp\":5,\"key\":null,\"value\":1}],"
        "\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"offset\":7,\"next_offset\":9,"
        "\"high_watermark\":9,\"log_start_offset\":0,\"lease_ms\":30000}"
    ));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fakes[0].fields, "Riacho-Cursor: "));
    CU_ASSERT_TRUE(nothing_asked(&s)); /* both leases are out */
    teardown(&s);
}

static void the_next_call_commits_the_cursor(void)
{
    struct setup s;
    char path[1024];

    setup(&s);
    read_two(&s);
    get(&s, 1, with_cursor(&s, 0, "/v1/groups/g/records?topics=t&after=", path));
    const struct group_read *read = expect_read(&s);
    CU_ASSERT_EQUAL_FATAL(read->commits_count, 1);
    CU_ASSERT_TRUE(ria_uuid_equal(read->commits[0].topic_id, s.t->id));
    CU_ASSERT_EQUAL(read->commits[0].partition, 0);
    CU_ASSERT_EQUAL(read->commits[0].lease_id, 11);
    CU_ASSERT_EQUAL(read->commits[0].offset, 9);
    /* The end is known from the fetch: nobody else is asked. */
    CU_ASSERT_EQUAL_FATAL(read->topics[0].ends_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].ends[0].offset, 9);
    offer(&s, 3, 9);
    say_nothing_moved(&s);
    CU_ASSERT_TRUE(answered(&s, 1, 200, "{\"records\":[],\"partitions\":[],\"lost\":[],\"cursor\"")
    );
    teardown(&s);
}

static void the_cursor_of_an_empty_answer_commits_nothing(void)
{
    struct setup s;
    char path[1024];

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t");
    (void)expect_read(&s);
    offer(&s, 0, 0);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));
    get(&s, 1, with_cursor(&s, 0, "/v1/groups/g/records?topics=t&after=", path));
    CU_ASSERT_EQUAL(expect_read(&s)->commits_count, 0);
    offer(&s, 0, 0);
    teardown(&s);
}

static void lines_and_batches_say_where_they_are_from(void)
{
    struct setup s;

    setup(&s);
    get_as(&s, 0, "/v1/groups/g/records?topics=t", "application/x-ndjson");
    (void)expect_read(&s);
    grant(&s, 1, 7);
    give_records(&s, 7, 1);
    CU_ASSERT_STRING_EQUAL(
        s.fakes[0].body,
        "{\"topic\":\"t\",\"partition\":0,\"offset\":7,\"timestamp\":5,\"key\":null,\"value\":1}\n"
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fakes[0].fields, "Riacho-Cursor: "));

    get_as(&s, 1, "/v1/groups/g/records?topics=t", "application/vnd.riacho.batch");
    CU_ASSERT_EQUAL(expect_read(&s)->partitions_max, 1);
    grant(&s, 1, 8);
    give_records(&s, 8, 2);
    CU_ASSERT_EQUAL(s.fakes[1].status, 200);
    CU_ASSERT_TRUE(s.fakes[1].body_size > BATCH_HEADER_SIZE);
    CU_ASSERT_PTR_NOT_NULL(strstr(
        s.fakes[1].fields,
        "Riacho-Topic: t\nRiacho-Partition: 0\nRiacho-Offset: 8\nRiacho-Next-Offset: 10\n"
    ));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fakes[1].fields, "Riacho-Cursor: "));
    teardown(&s);
}

static void leases_that_are_not_used_are_given_back(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t&max_records=2");
    (void)expect_read(&s);
    grant(&s, 3, 7);
    give_records(&s, 7, 3);
    give_records(&s, 7, 1);
    give_records(&s, 7, 0); /* the hint was wrong */
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"next_offset\":9"));
    world_run(&s.world);
    expect(&s, 2); /* of the one without records, and of the one that had no room */
    for (uint32_t i = 0; i < 2; i++) {
        const struct group_commit *commit = s.asked.bodies[i];
        CU_ASSERT_EQUAL_FATAL(s.asked.kinds[i], GROUP_OP_COMMIT);
        CU_ASSERT_EQUAL_FATAL(commit->entries_count, 1);
        CU_ASSERT_EQUAL(commit->entries[0].lease_id, i == 0 ? 13 : 12);
        CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
        CU_ASSERT_FALSE(commit->entries[0].keep);
    }
    answer(&s);
    teardown(&s);
}

static void an_answer_that_was_cut_off_gives_its_leases_back(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t");
    (void)expect_read(&s);
    grant(&s, 1, 7);
    s.fakes[0].cut_off = true;
    give_records(&s, 7, 2);
    CU_ASSERT_EQUAL_FATAL(expect_commit(&s)->entries_count, 1);
    CU_ASSERT_EQUAL(((const struct group_commit *)s.asked.bodies[0])->entries[0].lease_id, 11);
    answer(&s);
    teardown(&s);
}

static void one_dead_leader_does_not_hold_up_the_rest(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t");
    (void)expect_read(&s);
    grant(&s, 2, 7);
    give_records(&s, 7, 2);
    CU_ASSERT_TRUE(waits(&s, 0));
    world_advance(&s.world, SECOND / 2);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"partition\":0,\"offset\":8"));
    CU_ASSERT_EQUAL(expect_commit(&s)->entries[0].lease_id, 12);
    answer(&s);
    teardown(&s);
}

/* --- starts ------------------------------------------------------------------------------------*/

static void a_new_group_starts_at_the_earliest_record(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t");
    (void)expect_read(&s);
    offer(&s, 1, -1);
    say_range(&s, 3, 9);
    const struct group_read *read = expect_read(&s);
    CU_ASSERT_EQUAL_FATAL(read->topics[0].starts_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].starts[0].offset, 3);
    CU_ASSERT_EQUAL_FATAL(read->topics[0].ends_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].ends[0].offset, 9);
    grant(&s, 1, 3);
    give_records(&s, 3, 6);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"next_offset\":9"));
    teardown(&s);
}

static void latest_is_the_end_at_the_first_call(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t&from=latest");
    (void)expect_read(&s);
    offer(&s, 1, -1);
    say_range(&s, 3, 9);
    /* It is written down although there is nothing to read. */
    CU_ASSERT_EQUAL(expect_read(&s)->topics[0].starts[0].offset, 9);
    offer(&s, 1, 9);
    say_mark(&s, 0, -1);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));
    teardown(&s);
}

/* A start of -1 was once sent for what had no leader to ask. */
static void a_partition_whose_start_is_not_known_is_left_alone(void)
{
    struct setup s;

    setup(&s);
    s.t->leaders[1] = -1;
    world_publish(&s.world);
    world_run(&s.world);
    get(&s, 0, "/v1/groups/g/records?topics=t");
    (void)expect_read(&s);
    offer(&s, 2, -1);
    say_range(&s, 3, 9);
    world_advance(&s.world, 3 * SECOND);
    CU_ASSERT_EQUAL(expect_read(&s)->topics[0].starts_count, 1);
    {
        struct group_read_result result;
        struct group_read_result_group_offer offers[2] = {
            {.topic_id = s.t->id, .partition = 0, .offset = 3},
            {.topic_id = s.t->id, .partition = 1, .offset = -1},
        };
        group_read_result_init(&result);
        result.offered = offers;
        result.offered_count = 2;
        s.asked.results[0] = &result;
        answer(&s);
    }
    /* The mark says that there are records: it asks again, without a start. */
    CU_ASSERT_EQUAL(expect_read(&s)->topics[0].starts_count, 0);
    grant(&s, 1, 3);
    give_records(&s, 3, 6);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"next_offset\":9"));
    teardown(&s);
}

static void a_head_leases_nothing(void)
{
    struct setup s;

    setup(&s);
    fake_request_init(&s.fakes[0], "GET", "/v1/groups/g/records?topics=t", NULL);
    s.fakes[0].request.is_head = true;
    start(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 0, 405, "lease"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

static void a_topic_that_is_a_queue_is_refused(void)
{
    struct setup s;

    setup(&s);
    s.one->delivery = "queue";
    s.one->config_epoch++;
    world_publish(&s.world);
    world_run(&s.world);
    get(&s, 0, "/v1/groups/g/records?topics=t,one");
    CU_ASSERT_TRUE(answered(&s, 0, 409, "topic one is a queue"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

static void a_gateway_that_knows_nothing_asks_each_leader_once(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t");
    CU_ASSERT_EQUAL(expect_read(&s)->topics[0].ends_count, 0);
    offer(&s, 3, 4);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 3);
    say_mark(&s, 0, -1);
    say_mark(&s, 1, 6);
    say_mark(&s, 2, -1);
    const struct group_read *read = expect_read(&s);
    CU_ASSERT_EQUAL_FATAL(read->topics[0].ends_count, 1);
    CU_ASSERT_EQUAL(read->topics[0].ends[0].partition, 1);
    grant(&s, 1, 4);
    give_records(&s, 4, 2);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"offset\":5"));
    teardown(&s);
}

/* --- waiting -----------------------------------------------------------------------------------*/

static void who_waits_is_answered_when_records_come(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t&wait_ms=20000");
    (void)expect_read(&s);
    offer(&s, 3, 4);
    say_nothing_moved(&s);
    world_advance(&s.world, 5 * SECOND);
    CU_ASSERT_TRUE(waits(&s, 0));
    CU_ASSERT_TRUE(nothing_asked(&s)); /* it costs nothing */
    say_mark(&s, 2, 5);
    CU_ASSERT_EQUAL(expect_read(&s)->commits_count, 0);
    grant(&s, 1, 4);
    give_records(&s, 4, 1);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"offset\":4"));
    teardown(&s);
}

static void of_two_who_wait_one_is_woken(void)
{
    struct setup s;

    setup(&s);
    for (int i = 0; i < 2; i++) {
        get(&s, i, "/v1/groups/g/records?topics=t&wait_ms=20000");
        (void)expect_read(&s);
        offer(&s, 1, 4);
        if (i == 0) {
            say_mark(&s, 0, -1);
        }
    }
    say_mark(&s, 0, -1); /* the probe of the second */
    world_advance(&s.world, SECOND);
    say_mark(&s, 0, 5);
    (void)expect_read(&s); /* one of them */
    grant(&s, 1, 4);
    give_records(&s, 4, 1);
    CU_ASSERT_FALSE(waits(&s, 0));
    CU_ASSERT_TRUE(waits(&s, 1));
    CU_ASSERT_TRUE(nothing_asked(&s));
    world_advance(&s.world, 20 * SECOND);
    CU_ASSERT_TRUE(answered(&s, 1, 200, "\"records\":[]"));
    teardown(&s);
}

static void who_hangs_up_waits_no_more(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t&wait_ms=20000");
    (void)expect_read(&s);
    offer(&s, 1, 4);
    say_mark(&s, 0, -1);
    world_advance(&s.world, SECOND);
    fake_request_hang_up(&s.fakes[0]);
    CU_ASSERT_EQUAL(s.fakes[0].answers, 1);
    world_run(&s.world);
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

/* It held its connection for a minute, and was the first to be woken. */
static void who_hangs_up_before_it_waits_does_not_wait(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t&wait_ms=20000");
    (void)expect_read(&s);
    fake_request_hang_up(&s.fakes[0]);
    CU_ASSERT_EQUAL(s.fakes[0].answers, 0);
    offer(&s, 1, 4);
    say_mark(&s, 0, -1);
    world_run(&s.world);
    CU_ASSERT_EQUAL(s.fakes[0].answers, 1);
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

/* Only the first so many ends fit into a Read. Those behind them were never named: their records
 * were not delivered, and whoever waited asked again and again. */
static void of_more_partitions_than_fit_each_has_its_turn(void)
{
    enum { MANY = 9000, LAST = MANY - 1 };
    struct setup s;
    struct group_read_result result;
    struct group_read_result_group_offer offer = {.partition = LAST, .offset = 4};
    bool is_named = false;

    setup(&s);
    struct world_topic *many = world_add_topic(&s.world, "many", MANY);
    world_publish(&s.world);
    world_run(&s.world);
    for (int32_t i = 0; i < MANY; i++) {
        marks_note(&s.gateway->marks, cluster_partition(s.gateway->cluster, &many->id, i), 5);
    }
    get(&s, 0, "/v1/groups/g/records?topics=many");
    CU_ASSERT_TRUE(expect_read(&s)->topics[0].ends_count < MANY);
    group_read_result_init(&result);
    offer.topic_id = many->id;
    result.offered = &offer;
    result.offered_count = 1;
    s.asked.results[0] = &result;
    answer(&s);
    const struct group_read *again = expect_read(&s);
    for (uint32_t i = 0; i < again->topics[0].ends_count; i++) {
        is_named = is_named || again->topics[0].ends[i].partition == LAST;
    }
    CU_ASSERT_TRUE(is_named);
    answer(&s);
    teardown(&s);
}

static void a_named_member_that_waits_is_heard_of_in_time(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t&member=m&session_ms=6000&wait_ms=20000");
    (void)expect_read(&s);
    offer(&s, 1, 4);
    say_mark(&s, 0, -1);
    world_advance(&s.world, 4 * SECOND + SECOND / 10);
    CU_ASSERT_TRUE(ria_slice_equal(expect_read(&s)->member, RIA_SLICE_LITERAL("m")));
    offer(&s, 1, 4);
    CU_ASSERT_TRUE(waits(&s, 0));
    teardown(&s);
}

static void a_gateway_that_ends_lets_nobody_wait(void)
{
    struct setup s;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t&wait_ms=20000");
    (void)expect_read(&s);
    offer(&s, 1, 4);
    say_mark(&s, 0, -1);
    gateway_stop(s.gateway);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));
    teardown(&s);
}

/* --- what is refused ---------------------------------------------------------------------------*/

static void what_is_lost_is_told(void)
{
    struct setup s;
    struct group_read_result result;
    struct group_read_result_group_lost lost;
    char path[1024];

    setup(&s);
    read_two(&s);
    get(&s, 1, with_cursor(&s, 0, "/v1/groups/g/records?topics=t&after=", path));
    (void)expect_read(&s);
    group_read_result_init(&result);
    lost =
        (struct group_read_result_group_lost){.topic_id = s.t->id, .partition = 0, .position = 8};
    result.lost = &lost;
    result.lost_count = 1;
    s.asked.results[0] = &result;
    answer(&s);
    CU_ASSERT_TRUE(
        answered(&s, 1, 200, "\"lost\":[{\"topic\":\"t\",\"partition\":0,\"position\":8}]")
    );
    teardown(&s);
}

/* Asked again after a lost answer, the group is at `position`. */
static void repeat_a_commit(int64_t position, const char *lost_text)
{
    struct setup s;
    struct group_read_result result;
    struct group_read_result_group_lost lost;
    char path[1024];

    setup(&s);
    read_two(&s);
    get(&s, 1, with_cursor(&s, 0, "/v1/groups/g/records?topics=t&after=", path));
    int64_t read_id = expect_read(&s)->read_id;
    world_lose(&s.world, s.asked.call, RIA_ERR_TIMEOUT);
    group_world_close(&s.asked);
    world_advance(&s.world, SECOND / 5);
    CU_ASSERT_EQUAL(expect_read(&s)->read_id, read_id);
    group_read_result_init(&result);
    lost = (struct group_read_result_group_lost
    ){.topic_id = s.t->id, .partition = 0, .position = position};
    result.lost = &lost;
    result.lost_count = 1;
    s.asked.results[0] = &result;
    answer(&s);
    CU_ASSERT_TRUE(answered(&s, 1, 200, lost_text));
    teardown(&s);
}

static void a_commit_that_was_repeated_is_not_lost(void)
{
    repeat_a_commit(9, "\"lost\":[]");
}

/* The simulator's seed 1300: it was said to be committed, and never was. */
static void a_repeated_commit_that_others_may_have_overtaken_is_lost(void)
{
    repeat_a_commit(12, "\"lost\":[{\"topic\":\"t\",\"partition\":0,\"position\":12}]");
}

static void refusals_have_their_status(void)
{
    static const struct {
        ria_err err;
        int status;
        const char *part;
    } rows[] = {
        {RIA_ERR_CONFLICT, 409, "\"code\":\"conflict\",\"message\":\"why\""},
        {RIA_ERR_LIMIT, 429, "\"code\":\"limit\""},
        {RIA_ERR_INVALID, 400, "\"code\":\"invalid\""},
        {RIA_ERR_UNKNOWN_TOPIC, 404, "\"code\":\"unknown_topic\""},
        {RIA_ERR_FENCED_EPOCH, 409, "\"code\":\"fenced_member\""},
    };
    struct setup s;

    setup(&s);
    for (size_t i = 0; i < RIA_COUNT(rows); i++) {
        get(&s, 0, "/v1/groups/g/records?topics=t");
        (void)expect_read(&s);
        refuse(&s, rows[i].err, "why");
        CU_ASSERT_TRUE(answered(&s, 0, rows[i].status, rows[i].part));
        CU_ASSERT_EQUAL(
            strstr(s.fakes[0].fields, "Retry-After") != NULL, rows[i].err == RIA_ERR_LIMIT
        );
    }
    teardown(&s);
}

static void parameters_are_checked_before_anybody_is_asked(void)
{
    static const struct {
        const char *path;
        const char *part;
    } rows[] = {
        {"/v1/groups/g/records", "topics is missing"},
        {"/v1/groups/g/records?topics=t&wait=5", "there is no query parameter wait"},
        {"/v1/groups/g/records?topics=t&from=middle", "from must be one of earliest latest"},
        {"/v1/groups/g/records?topics=t&lease_ms=999", "lease_ms must be a whole number"},
        {"/v1/groups/g/records?topics=t&lease_ms=43200001", "lease_ms must be a whole number"},
        {"/v1/groups/g/records?topics=t&max_partitions=65", "max_partitions"},
        {"/v1/groups/g/records?topics=t&member=%01", "member must be"},
        {"/v1/groups/a%0Ab/records?topics=t", "group must be"},
        {"/v1/groups/%FF/records?topics=t", "group must be"},
        {"/v1/groups/g/records?topics=t&after=xyz", "malformed_cursor"},
        {"/v1/groups/g/records?topics=t&on_out_of_range=stop", "on_out_of_range must be one of"},
    };
    struct setup s;

    setup(&s);
    for (size_t i = 0; i < RIA_COUNT(rows); i++) {
        get(&s, 0, rows[i].path);
        CU_ASSERT_TRUE(answered(&s, 0, 400, rows[i].part));
    }
    get(&s, 0, "/v1/groups/g/records?topics=t,nothere");
    CU_ASSERT_TRUE(answered(&s, 0, 404, "topic \\\"nothere\\\" does not exist"));
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    teardown(&s);
}

static void a_cursor_of_another_group_or_of_a_topic_that_went_is_refused(void)
{
    struct setup s;
    char path[1024];

    setup(&s);
    read_two(&s);
    get(&s, 1, with_cursor(&s, 0, "/v1/groups/h/records?topics=t&after=", path));
    CU_ASSERT_TRUE(answered(&s, 1, 400, "the cursor is of another group"));
    s.t->deleted = true;
    world_publish(&s.world);
    world_run(&s.world);
    get(&s, 1, with_cursor(&s, 0, "/v1/groups/g/records?topics=one&after=", path));
    CU_ASSERT_TRUE(answered(&s, 1, 410, "stale_cursor"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

/* A cursor that was never given, but has the right form. */
static const char *forge(struct setup *s, int64_t offset, char out[1024])
{
    struct cursor_entry entry = {.partition = 0, .offset = offset, .lease = 11};
    struct cursor_topic topic = {.id = s->t->id, .entries = &entry, .count = 1};
    struct cursor cursor = {
        .kind = CURSOR_GROUP,
        .group = cursor_group_hash(RIA_SLICE_LITERAL("g")),
        .topics = &topic,
        .topic_count = 1,
    };
    struct ria_uuid cluster_id = {.bytes = {1}};
    char text[CURSOR_TEXT_MAX + 1];
    size_t size = 0;

    CU_ASSERT_EQUAL_FATAL(cursor_encode(&cursor, &cluster_id, text, &size), RIA_OK);
    (void)snprintf(out, 1024, "/v1/groups/g/records?topics=t&after=%.800s", text);
    return out;
}

static void nobody_commits_past_the_end(void)
{
    struct setup s;
    char path[1024];

    setup(&s);
    get(&s, 0, forge(&s, 1000, path));
    CU_ASSERT_TRUE(nothing_asked(&s));
    for (int i = 0; i < 100 && waits(&s, 0); i++) {
        if (world_next_call(&s.world, API_WATCH) != NULL) {
            say_mark(&s, 0, -1);
        }
        world_advance(&s.world, SECOND / 20);
    }
    CU_ASSERT_TRUE(answered(&s, 0, 409, "offset 1000 of partition 0 of topic t, past the end"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

static void a_leader_that_is_behind_for_a_moment_refuses_no_commit(void)
{
    struct setup s;
    char path[1024];

    setup(&s);
    get(&s, 0, forge(&s, 1000, path));
    say_mark(&s, 0, -1);
    world_advance(&s.world, SECOND / 5);
    say_mark(&s, 0, 1000);
    CU_ASSERT_EQUAL(expect_read(&s)->commits[0].offset, 1000);
    offer(&s, 0, 0);
    teardown(&s);
}

static void without_a_leader_to_ask_a_commit_goes_on(void)
{
    struct setup s;
    char path[1024];

    setup(&s);
    s.t->leaders[0] = -1;
    world_publish(&s.world);
    world_run(&s.world);
    get(&s, 0, forge(&s, 1000, path));
    CU_ASSERT_EQUAL(expect_read(&s)->commits[0].offset, 1000);
    offer(&s, 0, 0);
    teardown(&s);
}

/* --- out of range ------------------------------------------------------------------------------*/

static void fall_out_of_range(struct setup *s, const char *path, int64_t position)
{
    get(s, 0, path);
    (void)expect_read(s);
    grant(s, 1, position);
    world_refuse(&s->world, next(s, API_FETCH), RIA_ERR_OFFSET_OUT_OF_RANGE, "");
    world_run(&s->world);
}

static void out_of_range_is_an_error_that_names_the_range(void)
{
    struct setup s;

    setup(&s);
    fall_out_of_range(&s, "/v1/groups/g/records?topics=t", 2);
    say_range(&s, 5, 9);
    CU_ASSERT_TRUE(answered(&s, 0, 400, "\"code\":\"offset_out_of_range\""));
    CU_ASSERT_TRUE(fake_answer_has(&s.fakes[0], "position 2 is outside of partition 0 of topic t"));
    CU_ASSERT_TRUE(fake_answer_has(&s.fakes[0], "5 to 9"));
    CU_ASSERT_EQUAL(expect_commit(&s)->entries[0].lease_id, 11);
    answer(&s);
    teardown(&s);
}

static void out_of_range_may_go_on_at_the_earliest_record(void)
{
    struct setup s;
    struct fetch_request request;
    struct ria_arena arena;
    struct ria_slice payload;

    setup(&s);
    fall_out_of_range(&s, "/v1/groups/g/records?topics=t&on_out_of_range=earliest", 2);
    say_range(&s, 5, 9);
    ria_arena_init(&arena, 4096);
    world_open(next(&s, API_FETCH), &arena, &request, &payload);
    CU_ASSERT_EQUAL(request.offset, 5);
    ria_arena_fini(&arena);
    give_records(&s, 5, 4);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"offset\":5,\"next_offset\":9"));
    CU_ASSERT_TRUE(nothing_asked(&s));
    teardown(&s);
}

static void a_position_past_a_log_that_was_cut_is_reset(void)
{
    struct setup s;

    setup(&s);
    fall_out_of_range(&s, "/v1/groups/g/records?topics=t&on_out_of_range=latest", 20);
    say_range(&s, 5, 9);
    expect(&s, 2);
    CU_ASSERT_EQUAL(s.asked.kinds[0], GROUP_OP_COMMIT); /* the lease, first */
    CU_ASSERT_EQUAL_FATAL(s.asked.kinds[1], GROUP_OP_RESET);
    const struct group_reset *reset = s.asked.bodies[1];
    CU_ASSERT_EQUAL_FATAL(reset->entries_count, 1);
    CU_ASSERT_EQUAL(reset->entries[0].offset, 9);
    CU_ASSERT_FALSE(reset->force);
    answer(&s);
    (void)expect_read(&s);
    offer(&s, 1, 9);
    say_mark(&s, 0, -1);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));
    teardown(&s);
}

static void hints_that_are_wrong_again_and_again_end_in_an_empty_answer(void)
{
    struct setup s;
    int reads = 0;

    setup(&s);
    get(&s, 0, "/v1/groups/g/records?topics=t");
    while (waits(&s, 0) && reads < 50) {
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
            answer(&s);
        }
        if (world_next_call(&s.world, API_FETCH) != NULL) {
            give_records(&s, 9, 0);
        }
    }
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));
    CU_ASSERT_TRUE(reads < 10);
    teardown(&s);
}

/* --- without reading ---------------------------------------------------------------------------*/

static void answer_commit(struct setup *s, ria_err err, int64_t position)
{
    struct group_commit_result result;
    struct group_commit_result_group_committed entry = {
        .error_code = (int16_t)err, .position = position, .left_ms = 5000};

    group_commit_result_init(&result);
    result.entries = &entry;
    result.entries_count = 1;
    s->asked.results[0] = &result;
    answer(s);
}

static const char *cursor_document(const struct setup *s, int i, const char *more, char out[1100])
{
    char text[1024];

    (void)snprintf(out, 1100, "{\"cursor\":\"%.900s\"%s}", with_cursor(s, i, "", text), more);
    return out;
}

/* The simulator's seed 1031: it called every cursor another cluster's. */
static void a_gateway_that_has_just_started_judges_no_cursor(void)
{
    struct setup s;
    struct gateway *fresh;
    char body[1100];

    setup(&s);
    read_two(&s);
    struct gateway *first = s.gateway;
    s.world.coordinator_down = true;
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s.world.env, &options, &s.world.budget, NULL, &fresh), RIA_OK
    );
    gateway_start(fresh);
    s.gateway = fresh;
    post(&s, 1, "/v1/groups/g/commit", cursor_document(&s, 0, "", body));
    CU_ASSERT_TRUE(answered(&s, 1, 503, "\"code\":\"not_ready\""));
    gateway_free(fresh);
    s.gateway = first;
    teardown(&s);
}

static void a_cursor_is_committed_without_reading(void)
{
    struct setup s;
    char body[1100];

    setup(&s);
    read_two(&s);
    post(&s, 1, "/v1/groups/g/commit", cursor_document(&s, 0, "", body));
    const struct group_commit *commit = expect_commit(&s);
    CU_ASSERT_EQUAL_FATAL(commit->entries_count, 1);
    CU_ASSERT_EQUAL(commit->entries[0].lease_id, 11);
    CU_ASSERT_EQUAL(commit->entries[0].offset, 9);
    CU_ASSERT_FALSE(commit->entries[0].keep);
    answer_commit(&s, RIA_OK, 9);
    CU_ASSERT_TRUE(answered(
        &s, 1, 200, "{\"committed\":[{\"topic\":\"t\",\"partition\":0,\"position\":9}],\"lost\":[]}"
    ));
    teardown(&s);
}

static void a_commit_that_counts_no_more_is_a_conflict(void)
{
    struct setup s;
    char body[1100];

    setup(&s);
    read_two(&s);
    post(&s, 1, "/v1/groups/g/commit", cursor_document(&s, 0, "", body));
    (void)expect_commit(&s);
    answer_commit(&s, RIA_ERR_CONFLICT, 7);
    CU_ASSERT_TRUE(answered(&s, 1, 409, "\"code\":\"lost\""));
    CU_ASSERT_TRUE(fake_answer_has(&s.fakes[1], "\"lost\":[{\"topic\":\"t\",\"partition\":0"));
    /* The same again after it was done: the client repeats itself. */
    post(&s, 1, "/v1/groups/g/commit", cursor_document(&s, 0, "", body));
    (void)expect_commit(&s);
    answer_commit(&s, RIA_ERR_CONFLICT, 9);
    CU_ASSERT_TRUE(answered(&s, 1, 200, "\"lost\":[]"));
    teardown(&s);
}

static void leases_are_extended_and_given_back(void)
{
    struct setup s;
    char body[1100];

    setup(&s);
    read_two(&s);
    post(&s, 1, "/v1/groups/g/extend", cursor_document(&s, 0, ",\"lease_ms\":5000", body));
    const struct group_commit *commit = expect_commit(&s);
    CU_ASSERT_EQUAL(commit->lease_ms, 5000);
    CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
    CU_ASSERT_TRUE(commit->entries[0].keep);
    answer_commit(&s, RIA_OK, 7);
    CU_ASSERT_TRUE(answered(
        &s,
        1,
        200,
        "\"extended\":[{\"topic\":\"t\",\"partition\":0,"
        "\"position\":7,\"lease_ms\":5000}]"
    ));
    post(&s, 1, "/v1/groups/g/release", cursor_document(&s, 0, "", body));
    commit = expect_commit(&s);
    CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
    CU_ASSERT_FALSE(commit->entries[0].keep);
    answer_commit(&s, RIA_OK, 7);
    CU_ASSERT_TRUE(answered(&s, 1, 200, "\"released\":[{"));
    post(&s, 1, "/v1/groups/g/commit", "{}");
    CU_ASSERT_TRUE(answered(&s, 1, 400, "cursor is missing"));
    teardown(&s);
}

static void parameters_may_come_in_a_document(void)
{
    struct setup s;

    setup(&s);
    post(
        &s,
        0,
        "/v1/groups/g/records",
        "{\"topics\":[\"t\",\"one\"],\"max_partitions\":2,\"from\":\"latest\"}"
    );
    const struct group_read *read = expect_read(&s);
    CU_ASSERT_EQUAL(read->topics_count, 2);
    CU_ASSERT_EQUAL(read->partitions_max, 2);
    offer(&s, 0, 0);
    CU_ASSERT_TRUE(answered(&s, 0, 200, "\"records\":[]"));
    post(&s, 0, "/v1/groups/g/records", "{\"topics\":\"t\",\"sort\":1}");
    CU_ASSERT_TRUE(answered(&s, 0, 400, "sort"));
    teardown(&s);
}

static void a_member_leaves(void)
{
    struct setup s;

    setup(&s);
    fake_request_init(&s.fakes[0], "DELETE", "/v1/groups/g/members/m%2F1", NULL);
    start(&s, 0);
    expect(&s, 1);
    CU_ASSERT_EQUAL_FATAL(s.asked.kinds[0], GROUP_OP_LEAVE);
    const struct group_leave *leave = s.asked.bodies[0];
    CU_ASSERT_TRUE(ria_slice_equal(leave->member, RIA_SLICE_LITERAL("m/1")));
    answer(&s);
    CU_ASSERT_EQUAL(s.fakes[0].status, 204);
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(one_call_joins_leases_and_reads),
    HARNESS_TEST(the_next_call_commits_the_cursor),
    HARNESS_TEST(the_cursor_of_an_empty_answer_commits_nothing),
    HARNESS_TEST(lines_and_batches_say_where_they_are_from),
    HARNESS_TEST(leases_that_are_not_used_are_given_back),
    HARNESS_TEST(an_answer_that_was_cut_off_gives_its_leases_back),
    HARNESS_TEST(one_dead_leader_does_not_hold_up_the_rest),
    HARNESS_TEST(a_new_group_starts_at_the_earliest_record),
    HARNESS_TEST(latest_is_the_end_at_the_first_call),
    HARNESS_TEST(a_partition_whose_start_is_not_known_is_left_alone),
    HARNESS_TEST(a_head_leases_nothing),
    HARNESS_TEST(a_topic_that_is_a_queue_is_refused),
    HARNESS_TEST(a_gateway_that_knows_nothing_asks_each_leader_once),
    HARNESS_TEST(who_waits_is_answered_when_records_come),
    HARNESS_TEST(of_two_who_wait_one_is_woken),
    HARNESS_TEST(who_hangs_up_waits_no_more),
    HARNESS_TEST(who_hangs_up_before_it_waits_does_not_wait),
    HARNESS_TEST(of_more_partitions_than_fit_each_has_its_turn),
    HARNESS_TEST(a_named_member_that_waits_is_heard_of_in_time),
    HARNESS_TEST(a_gateway_that_ends_lets_nobody_wait),
    HARNESS_TEST(what_is_lost_is_told),
    HARNESS_TEST(a_commit_that_was_repeated_is_not_lost),
    HARNESS_TEST(a_repeated_commit_that_others_may_have_overtaken_is_lost),
    HARNESS_TEST(refusals_have_their_status),
    HARNESS_TEST(parameters_are_checked_before_anybody_is_asked),
    HARNESS_TEST(a_cursor_of_another_group_or_of_a_topic_that_went_is_refused),
    HARNESS_TEST(nobody_commits_past_the_end),
    HARNESS_TEST(a_leader_that_is_behind_for_a_moment_refuses_no_commit),
    HARNESS_TEST(without_a_leader_to_ask_a_commit_goes_on),
    HARNESS_TEST(out_of_range_is_an_error_that_names_the_range),
    HARNESS_TEST(out_of_range_may_go_on_at_the_earliest_record),
    HARNESS_TEST(a_position_past_a_log_that_was_cut_is_reset),
    HARNESS_TEST(hints_that_are_wrong_again_and_again_end_in_an_empty_answer),
    HARNESS_TEST(a_gateway_that_has_just_started_judges_no_cursor),
    HARNESS_TEST(a_cursor_is_committed_without_reading),
    HARNESS_TEST(a_commit_that_counts_no_more_is_a_conflict),
    HARNESS_TEST(leases_are_extended_and_given_back),
    HARNESS_TEST(parameters_may_come_in_a_document),
    HARNESS_TEST(a_member_leaves),
};

HARNESS_MAIN(tests);
