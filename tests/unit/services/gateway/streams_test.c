/* Live streams as one client sees them: beginnings, ends, what changes meanwhile, bad input. */
#include "services/gateway/streams.h"

#include <stdio.h>
#include <string.h>

#include "services/gateway/gateway.h"
#include "services/gateway/stream_query.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/stream_world.h"

/* --- one client --------------------------------------------------------------------------------*/

static void a_stream_begins_with_its_place_and_sends_what_comes(void)
{
    struct stream_world s;
    struct stream_client client;

    stream_world_init(&s);
    s.logs[1].end = 5;
    stream_client_open(&s, &client, "/v1/topics/t/stream");
    CU_ASSERT_EQUAL(client.fake.status, 200);
    CU_ASSERT_STRING_EQUAL(client.fake.content_type, "text/event-stream");
    CU_ASSERT_PTR_NOT_NULL(strstr(client.fake.fields, "Cache-Control: no-store"));
    stream_client_drain(&s, &client);
    CU_ASSERT_TRUE(fake_answer_has(&client.fake, "retry: 2000\nid: "));
    CU_ASSERT_TRUE(client.cursor[0] != '\0');
    CU_ASSERT_EQUAL(client.records, 0); /* from the latest on */
    client.next[1] = 5;
    s.logs[1].end = 6;
    s.logs[2].end = 2;
    stream_world_settle(&s);
    CU_ASSERT_TRUE(client.fake.wants);
    stream_client_drain(&s, &client);
    CU_ASSERT_EQUAL(client.records, 3);
    CU_ASSERT_TRUE(stream_client_is_done(&s, &client));
    CU_ASSERT_TRUE(fake_answer_has(
        &client.fake,
        "\ndata: "
        "{\"partition\":1,\"offset\":5,\"timestamp\":5000,\"key\":\"k5\",\"value\":{\"p\":1,"
    ));
    stream_client_hang_up(&s, &client);
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.open.value, 0);
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.flocks.value, 0);
    CU_ASSERT_EQUAL(s.gateway->streams.classes.count, 0);
    stream_world_fini(&s);
}

static void every_beginning_is_understood(void)
{
    static const struct {
        const char *query;
        int64_t next[PARTITIONS];
    } cases[] = {
        {"from=earliest", {10, 0, 0}},
        {"from=latest", {50, 60, 70}},
        {"", {50, 60, 70}},
        {"from=40500", {41, 41, 41}},
        {"from=1970-01-01T00:00:40.5Z", {41, 41, 41}},
        {"from=1970-01-01T01:00:55%2B01:00", {50, 55, 55}},
        {"from=0:12,1:59,2:70", {12, 59, 70}},
        {"from=0:12", {12, 60, 70}},
        {"from=earliest&partitions=2", {50, 60, 0}},
        {"from=2:7,0:49&partitions=0,2", {49, 60, 7}},
    };

    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        struct stream_world s;
        struct stream_client client;
        char path[200];
        stream_world_init(&s);
        s.logs[0] = (struct log){10, 50};
        s.logs[1].end = 60;
        s.logs[2].end = 70;
        (void)snprintf(path, sizeof(path), "/v1/topics/t/stream?%s", cases[i].query);
        stream_client_open(&s, &client, path);
        memcpy(client.next, cases[i].next, sizeof(client.next));
        stream_client_drain(&s, &client);
        CU_ASSERT_TRUE(stream_client_is_done(&s, &client));
        if (!stream_client_is_done(&s, &client)) {
            (void)printf("[%s: %s]", cases[i].query, client.fake.body);
        }
        stream_client_hang_up(&s, &client);
        stream_world_fini(&s);
    }
}

static void a_cursor_continues_without_gap_or_repeat(void)
{
    struct stream_world s;
    struct stream_client first;
    struct stream_client second;

    stream_world_init(&s);
    s.logs[0].end = 30;
    s.logs[1].end = 30;
    stream_client_open(&s, &first, "/v1/topics/t/stream?from=earliest");
    for (int i = 0; i < 5; i++) {
        fake_request_take(&first.fake, 1024, 1);
        stream_world_settle(&s);
    }
    stream_client_look(&first);
    CU_ASSERT_TRUE(first.records > 3 && first.records < 60);
    /* Whatever of the next event has come is of no use. */
    stream_client_open_as(
        &s, &second, "/v1/topics/t/stream?from=earliest", "text/event-stream", first.cursor
    );
    memcpy(second.next, first.next, sizeof(second.next));
    stream_client_hang_up(&s, &first);
    stream_client_drain(&s, &second);
    CU_ASSERT_TRUE(stream_client_is_done(&s, &second));
    stream_client_hang_up(&s, &second);
    stream_world_fini(&s);
}

static void limits_end_a_stream(void)
{
    struct stream_world s;
    struct stream_client client;

    stream_world_init(&s);
    s.logs[0].end = 30;
    stream_client_open(&s, &client, "/v1/topics/t/stream?from=earliest&max_records=12");
    stream_client_drain(&s, &client);
    CU_ASSERT_EQUAL(client.records, 12);
    CU_ASSERT_STRING_EQUAL(client.end, "{\"reason\":\"max_records\"}");
    CU_ASSERT_EQUAL(client.fake.ends, 1);
    CU_ASSERT_TRUE(client.fake.is_complete);
    char cursor[CURSOR_SIZE];
    memcpy(cursor, client.cursor, sizeof(cursor));
    fake_request_fini(&client.fake);
    stream_client_open_as(
        &s, &client, "/v1/topics/t/stream?max_ms=2000", "text/event-stream", cursor
    );
    client.next[0] = 12;
    stream_client_drain(&s, &client);
    CU_ASSERT_EQUAL(client.records, 18);
    CU_ASSERT_EQUAL(client.fake.ends, 0);
    world_advance(&s.world, 2500 * 1000);
    stream_client_drain(&s, &client);
    CU_ASSERT_STRING_EQUAL(client.end, "{\"reason\":\"max_ms\"}");
    CU_ASSERT_EQUAL(client.fake.ends, 1);
    fake_request_fini(&client.fake);
    stream_world_fini(&s);
}

static void silence_is_filled_with_heartbeats(void)
{
    struct stream_world s;
    struct stream_client client;

    stream_world_init(&s);
    stream_client_open(&s, &client, "/v1/topics/t/stream?heartbeat_ms=1000");
    stream_client_drain(&s, &client);
    for (int i = 0; i < 20; i++) {
        world_advance(&s.world, 500 * 1000);
        stream_world_settle(&s);
        stream_client_drain(&s, &client);
    }
    CU_ASSERT_TRUE(client.beats >= 5 && client.beats <= 10);
    CU_ASSERT_TRUE(fake_answer_has(&client.fake, "\n\n:\n\n:\n\n"));
    stream_client_hang_up(&s, &client);
    stream_world_fini(&s);
}

/* A resuming client must not read everything again because nothing matched. */
static void a_filter_moves_the_cursor_all_the_same(void)
{
    struct stream_world s;
    struct stream_client client;

    stream_world_init(&s);
    s.logs[0].end = 99;
    stream_client_open(
        &s, &client, "/v1/topics/t/stream?from=earliest&filter=$.n%3C3&heartbeat_ms=1000"
    );
    client.has_filter = true;
    stream_client_drain(&s, &client);
    CU_ASSERT_EQUAL(client.records, 3);
    world_advance(&s.world, 1500 * 1000);
    stream_client_drain(&s, &client);
    CU_ASSERT_EQUAL(client.beats, 1);
    char cursor[CURSOR_SIZE];
    memcpy(cursor, client.cursor, sizeof(cursor));
    stream_client_hang_up(&s, &client);
    s.fetches = 0;
    stream_client_open_as(
        &s, &client, "/v1/topics/t/stream?filter=$.n%3C3", "text/event-stream", cursor
    );
    client.has_filter = true;
    client.next[0] = 99;
    stream_client_drain(&s, &client);
    CU_ASSERT_EQUAL(s.fetches, 0);
    s.logs[0].end = 103;
    stream_world_settle(&s);
    stream_client_drain(&s, &client);
    CU_ASSERT_EQUAL(client.records, 3);
    CU_ASSERT_TRUE(stream_client_is_done(&s, &client));
    CU_ASSERT_EQUAL(s.gateway->streams.metrics.filtered.value, 97);
    stream_client_hang_up(&s, &client);
    stream_world_fini(&s);
}

static void lines_have_cursors_where_a_burst_ends(void)
{
    struct stream_world s;
    struct stream_client client;

    stream_world_init(&s);
    s.logs[0].end = 3;
    stream_client_open_as(
        &s, &client, "/v1/topics/t/stream?from=earliest&max_records=4", "application/x-ndjson", NULL
    );
    CU_ASSERT_STRING_EQUAL(client.fake.content_type, "application/x-ndjson");
    fake_request_take(&client.fake, 0, 0);
    stream_world_settle(&s);
    fake_request_take(&client.fake, 0, 0);
    s.logs[2].end = 1;
    stream_world_settle(&s);
    fake_request_take(&client.fake, 0, 0);
    CU_ASSERT_EQUAL(client.fake.ends, 1);
    const char *line = client.fake.body;
    CU_ASSERT_EQUAL(strncmp(line, "{\"cursor\":\"A", 12), 0);
    CU_ASSERT_TRUE(fake_answer_has(
        &client.fake, "\"}\n{\"partition\":0,\"offset\":0,\"timestamp\":0,\"key\":\"k0\",\"value\":"
    ));
    CU_ASSERT_TRUE(fake_answer_has(&client.fake, "\"offset\":1,"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(strstr(line, "\"offset\":2,"));
    const char *last = strstr(strstr(line, "\"offset\":2,"), "\"pad\":\"\"}");
    CU_ASSERT_PTR_NOT_NULL_FATAL(last);
    CU_ASSERT_EQUAL(strncmp(last + 9, ",\"cursor\":\"A", 12), 0);
    CU_ASSERT_TRUE(
        fake_answer_has(&client.fake, "{\"end\":{\"reason\":\"max_records\"},\"cursor\":\"A")
    );
    fake_request_fini(&client.fake);
    stream_world_fini(&s);
}

static void large_records_come_in_pieces(void)
{
    struct stream_world s;
    struct stream_client client;

    stream_world_init(&s);
    s.value_pad = 100 * 1000;
    s.logs[0].end = 9;
    stream_client_open(&s, &client, "/v1/topics/t/stream?from=earliest");
    for (int i = 0; i < 2000 && client.records < 9; i++) {
        fake_request_take(&client.fake, 1500, 1);
        if (i % 100 == 0) {
            /* slow: what is held is given up in the middle of an event */
            world_advance(&s.world, 1300 * 1000);
        }
        stream_world_settle(&s);
        stream_client_look(&client);
    }
    CU_ASSERT_EQUAL(client.records, 9);
    CU_ASSERT_TRUE(stream_client_is_done(&s, &client));
    CU_ASSERT_TRUE(s.gateway->streams.metrics.evicted.value > 0);
    stream_client_hang_up(&s, &client);
    stream_world_fini(&s);
}

/* --- things change -----------------------------------------------------------------------------*/

static void a_deleted_topic_ends_its_streams(void)
{
    struct stream_world s;
    struct stream_client client;
    char cursor[CURSOR_SIZE];

    stream_world_init(&s);
    stream_client_open(&s, &client, "/v1/topics/one/stream");
    stream_client_drain(&s, &client);
    s.world.topics[1].deleted = true;
    world_publish(&s.world);
    stream_world_settle(&s);
    stream_client_drain(&s, &client);
    CU_ASSERT_PTR_NOT_NULL(strstr(client.end, "{\"error\":{\"code\":\"topic_deleted\""));
    CU_ASSERT_EQUAL(client.fake.ends, 1);
    memcpy(cursor, client.cursor, sizeof(cursor));
    fake_request_fini(&client.fake);
    CU_ASSERT_TRUE(stream_world_refuses(&s, "/v1/topics/one/stream", cursor, 404, "unknown_topic"));
    (void)world_add_topic(&s.world, "one", 1);
    world_publish(&s.world);
    stream_world_settle(&s);
    CU_ASSERT_TRUE(stream_world_refuses(&s, "/v1/topics/one/stream", cursor, 410, "stale_cursor"));
    CU_ASSERT_TRUE(stream_world_refuses(&s, "/v1/topics/t/stream", cursor, 400, "other_cursor"));
    stream_world_fini(&s);
}

static void records_that_are_gone_are_an_error_or_skipped(void)
{
    static const char *const policies[] = {"error", "earliest", "latest"};

    for (size_t i = 0; i < RIA_COUNT(policies); i++) {
        struct stream_world s;
        struct stream_client client;
        char path[200];
        stream_world_init(&s);
        (void)snprintf(
            path,
            sizeof(path),
            "/v1/topics/t/stream?from=earliest&heartbeat_ms=1000&on_out_of_range=%s",
            policies[i]
        );
        stream_client_open(&s, &client, path);
        stream_client_drain(&s, &client);
        s.is_silent = true;
        s.logs[0] = (struct log){20, 30};
        stream_world_settle(&s);
        s.is_silent = false;
        stream_world_settle(&s);
        stream_client_drain(&s, &client);
        if (i == 0) {
            CU_ASSERT_PTR_NOT_NULL(strstr(client.end, "\"code\":\"offset_out_of_range\""));
            CU_ASSERT_PTR_NOT_NULL(
                strstr(client.end, "offset 0 is outside of partition 0: it has 20 to 30")
            );
            CU_ASSERT_EQUAL(client.fake.ends, 1);
            fake_request_fini(&client.fake);
        } else {
            CU_ASSERT_EQUAL(client.gaps, 1);
            CU_ASSERT_EQUAL(client.records, i == 1 ? 10 : 0);
            CU_ASSERT_TRUE(stream_client_is_done(&s, &client));
            stream_client_hang_up(&s, &client);
        }
        stream_world_fini(&s);
    }
}

/* It went on elsewhere without a word. */
static void what_is_left_out_at_the_beginning_is_told(void)
{
    static const char *const policies[] = {"earliest", "latest"};

    for (size_t i = 0; i < RIA_COUNT(policies); i++) {
        struct stream_world s;
        struct stream_client client;
        char path[200];
        stream_world_init(&s);
        s.logs[0] = (struct log){20, 30};
        (void)snprintf(
            path,
            sizeof(path),
            "/v1/topics/t/stream?from=0:5,1:99,2:0&heartbeat_ms=1000&on_out_of_range=%s",
            policies[i]
        );
        stream_client_open(&s, &client, path);
        stream_client_drain(&s, &client);
        CU_ASSERT_EQUAL(client.gaps, 2);
        CU_ASSERT_EQUAL(client.records, i == 0 ? 10 : 0);
        CU_ASSERT_EQUAL(client.next[0], 30);
        CU_ASSERT_EQUAL(client.next[1], 0);
        CU_ASSERT_TRUE(stream_client_is_done(&s, &client));
        stream_client_hang_up(&s, &client);
        stream_world_fini(&s);
    }
}

static void a_leader_that_is_away_is_waited_for(void)
{
    struct stream_world s;
    struct stream_client client;

    stream_world_init(&s);
    stream_client_open(&s, &client, "/v1/topics/t/stream?heartbeat_ms=5000");
    stream_client_drain(&s, &client);
    s.logs[0].end = 4;
    s.is_silent = true;
    for (int i = 0; i < 100; i++) {
        world_advance(&s.world, 1000 * 1000);
        stream_client_drain(&s, &client);
    }
    CU_ASSERT_EQUAL(client.records, 0);
    CU_ASSERT_TRUE(client.beats > 15);
    s.is_silent = false;
    world_advance(&s.world, 6 * 1000 * 1000);
    stream_world_settle(&s);
    stream_client_drain(&s, &client);
    CU_ASSERT_TRUE(stream_client_is_done(&s, &client));
    stream_client_hang_up(&s, &client);
    stream_world_fini(&s);
}

static void the_end_of_the_gateway_is_told(void)
{
    struct stream_world s;
    struct stream_client client;

    stream_world_init(&s);
    stream_client_open(&s, &client, "/v1/topics/t/stream");
    stream_client_drain(&s, &client);
    gateway_stop(s.gateway);
    stream_world_settle(&s);
    stream_client_drain(&s, &client);
    CU_ASSERT_STRING_EQUAL(client.end, "{\"reason\":\"shutting_down\"}");
    CU_ASSERT_EQUAL(client.fake.ends, 1);
    fake_request_fini(&client.fake);
    CU_ASSERT_TRUE(stream_world_refuses(&s, "/v1/topics/t/stream", NULL, 503, "shutting_down"));
    stream_world_fini(&s);
}

/* A browser would take the 503 for final, and never come back. */
static void a_gateway_that_has_just_started_lets_streams_wait(void)
{
    struct stream_world s;
    struct stream_client client;
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = 4096,
        .request_timeout_ms = 30000,
        .streams_max = STREAMS_MAX,
    };

    s = (struct stream_world){.fetches = 0};
    world_init(&s.world, 3);
    s.world.coordinator_down = true;
    (void)world_add_topic(&s.world, "t", PARTITIONS);
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s.world.env, &options, &s.world.budget, NULL, &s.gateway), RIA_OK
    );
    gateway_start(s.gateway);
    stream_client_open(&s, &client, "/v1/topics/t/stream");
    CU_ASSERT_EQUAL(client.fake.answers, 0);
    s.world.coordinator_down = false;
    world_advance(&s.world, 5 * 1000 * 1000);
    stream_world_settle(&s);
    CU_ASSERT_EQUAL(client.fake.status, 200);
    stream_client_hang_up(&s, &client);
    stream_world_fini(&s);
}

static void streams_may_outlive_the_gateway(void)
{
    struct stream_world s;
    struct stream_client waiting;
    struct stream_client reading;

    stream_world_init(&s);
    s.logs[0].end = 1000;
    stream_client_open(&s, &waiting, "/v1/topics/t/stream");
    stream_client_drain(&s, &waiting);
    stream_client_open(&s, &reading, "/v1/topics/t/stream?from=earliest");
    fake_request_take(&reading.fake, 1024, 2);
    gateway_free(s.gateway);
    fake_request_take(&reading.fake, 1024, 1);
    CU_ASSERT_TRUE(reading.fake.is_aborted);
    fake_request_fini(&waiting.fake);
    fake_request_fini(&reading.fake);
    world_fini(&s.world);
    CU_ASSERT_EQUAL(s.world.budget.used.value, 0);
}

/* --- bad input ---------------------------------------------------------------------------------*/

static void bad_questions_are_refused(void)
{
    static const struct {
        const char *query;
        int status;
        const char *part;
    } cases[] = {
        {"from=never", 400, "\"field\":\"from\""},
        {"from=-5", 400, "\"field\":\"from\""},
        {"from=2026-13-01T00:00:00Z", 400, "\"field\":\"from\""},
        {"from=0:1,0:2", 400, "twice"},
        {"from=0:-1", 400, "\"field\":\"from\""},
        {"from=3:1", 400, "\"field\":\"from\""},
        {"from=0:1&partitions=0,1", 400, "must name each"},
        {"from=0:1&partitions=1", 400, "partitions= does not"},
        {"from=0:1", 400, "offset 1 is outside of partition 0: it has 0 to 0"},
        {"from=latest&after=x", 400, "cannot come together"},
        {"after=x", 400, "malformed_cursor"},
        {"after=AQGDaJLcAf_-AAAAAAAAAAAAAAAAAAACAAoBzgTa9kRp", 400, "damaged_cursor"},
        {"after=AQGDaJLcAf_-AAAAAAAAAAAAAAAAAAACAAoBzgTa9kRo", 400, "foreign_cursor"},
        {"partitions=", 400, "\"field\":\"partitions\""},
        {"partitions=0,0", 400, "\"field\":\"partitions\""},
        {"partitions=3", 400, "numbers from 0 to 2"},
        {"filter=x", 400, "\\\"x\\\" is wrong at character 1"},
        {"filter=key=a&filter=$.", 400, "\\\"$.\\\" is wrong at character 3"},
        {"heartbeat_ms=1", 400, "\"field\":\"heartbeat_ms\""},
        {"max_records=0", 400, "\"field\":\"max_records\""},
        {"on_out_of_range=x", 400, "error, earliest or latest"},
        {"offset=1", 400, "no query parameter offset"},
    };
    struct stream_world s;
    char path[200];

    stream_world_init(&s);
    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        (void)snprintf(path, sizeof(path), "/v1/topics/t/stream?%s", cases[i].query);
        CU_ASSERT_TRUE(stream_world_refuses(&s, path, NULL, cases[i].status, cases[i].part));
    }
    CU_ASSERT_TRUE(
        stream_world_refuses(&s, "/v1/topics/t/stream", "x", 400, "\"field\":\"Last-Event-ID\"")
    );
    struct stream_client client;
    stream_client_open_as(&s, &client, "/v1/topics/t/stream", "text/html", NULL);
    CU_ASSERT_EQUAL(client.fake.status, 406);
    fake_request_fini(&client.fake);
    stream_world_fini(&s);
}

static void streams_past_the_limit_are_429(void)
{
    struct stream_world s;
    static struct stream_client clients[STREAMS_MAX];
    struct stream_client late;

    stream_world_init(&s);
    for (int i = 0; i < STREAMS_MAX; i++) {
        stream_client_open(&s, &clients[i], "/v1/topics/one/stream");
    }
    stream_client_open(&s, &late, "/v1/topics/one/stream");
    CU_ASSERT_EQUAL(late.fake.status, 429);
    CU_ASSERT_PTR_NOT_NULL(strstr(late.fake.fields, "Retry-After: 5"));
    fake_request_fini(&late.fake);
    stream_client_hang_up(&s, &clients[0]);
    stream_client_open(&s, &late, "/v1/topics/one/stream");
    CU_ASSERT_EQUAL(late.fake.status, 200);
    stream_client_hang_up(&s, &late);
    for (int i = 1; i < STREAMS_MAX; i++) {
        stream_client_hang_up(&s, &clients[i]);
    }
    stream_world_fini(&s);
}

static void times_are_read(void)
{
    int64_t ms = 0;

    CU_ASSERT_TRUE(stream_query_time(RIA_SLICE_LITERAL("2026-11-28T15:00:00Z"), &ms));
    CU_ASSERT_EQUAL(ms, INT64_C(1795878000000));
    CU_ASSERT_TRUE(stream_query_time(RIA_SLICE_LITERAL("2026-11-28T15:00:00.25-01:30"), &ms));
    CU_ASSERT_EQUAL(ms, INT64_C(1795878000250) + 90 * 60000);
    CU_ASSERT_FALSE(stream_query_time(RIA_SLICE_LITERAL("2026-11-28T15:00:00"), &ms));
    CU_ASSERT_FALSE(stream_query_time(RIA_SLICE_LITERAL("2026-11-28T15:00:00Zx"), &ms));
    CU_ASSERT_FALSE(stream_query_time(RIA_SLICE_LITERAL("2026-11-28"), &ms));
    CU_ASSERT_FALSE(stream_query_time(RIA_SLICE_LITERAL("2026-11--8T15:00:00Z"), &ms));
    CU_ASSERT_FALSE(stream_query_time(RIA_SLICE_NULL, &ms));
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_stream_begins_with_its_place_and_sends_what_comes),
    HARNESS_TEST(every_beginning_is_understood),
    HARNESS_TEST(a_cursor_continues_without_gap_or_repeat),
    HARNESS_TEST(limits_end_a_stream),
    HARNESS_TEST(silence_is_filled_with_heartbeats),
    HARNESS_TEST(a_filter_moves_the_cursor_all_the_same),
    HARNESS_TEST(lines_have_cursors_where_a_burst_ends),
    HARNESS_TEST(large_records_come_in_pieces),
    HARNESS_TEST(a_deleted_topic_ends_its_streams),
    HARNESS_TEST(records_that_are_gone_are_an_error_or_skipped),
    HARNESS_TEST(what_is_left_out_at_the_beginning_is_told),
    HARNESS_TEST(a_leader_that_is_away_is_waited_for),
    HARNESS_TEST(the_end_of_the_gateway_is_told),
    HARNESS_TEST(a_gateway_that_has_just_started_lets_streams_wait),
    HARNESS_TEST(streams_may_outlive_the_gateway),
    HARNESS_TEST(bad_questions_are_refused),
    HARNESS_TEST(streams_past_the_limit_are_429),
    HARNESS_TEST(times_are_read),
};
HARNESS_MAIN(tests);
