/* The handlers as a client sees them: a request in, an answer out; storage answers as the test
 * says. Reading: handle_read_test.c.
 */
#include "services/gateway/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/batch.h"
#include "schemas/gen/produce_response.h"

#include "services/gateway/budget.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/front.h"

/* --- produce in v2 -----------------------------------------------------------------------------*/

static void v2_json_records_are_stored(void)
{
    struct front s;

    front_init(&s);
    front_post(&s, "/topics/one", V2_JSON, "{\"records\":[{\"value\":{\"a\":1}},{\"value\":2}]}");
    CU_ASSERT_EQUAL(s.fake.answers, 0);
    front_ack(&s, 41);
    CU_ASSERT_STRING_EQUAL(s.fake.content_type, "application/vnd.kafka.v2+json");
    CU_ASSERT_TRUE(front_answered(
        &s,
        200,
        "{\"offsets\":[{\"partition\":0,\"offset\":41,\"error_code\":null,\"error\":null},"
        "{\"partition\":0,\"offset\":42,\"error_code\":null,\"error\":null}],"
        "\"key_schema_id\":null,\"value_schema_id\":null}"
    ));
    front_fini(&s);
}

static void v2_answers_in_the_accepted_type(void)
{
    struct front s;

    front_init(&s);
    fake_request_init(
        &s.fake, "POST", "/topics/one/partitions/0", "{\"records\":[{\"value\":\"AA==\"}]}"
    );
    fake_request_header(&s.fake, "Accept", "application/json;q=0.5, text/html");
    front_start(&s, "application/json"); /* no format: base64 */
    front_ack(&s, 0);
    CU_ASSERT_STRING_EQUAL(s.fake.content_type, "application/json");
    CU_ASSERT_TRUE(front_answered(&s, 200, "\"offset\":0"));
    front_fini(&s);
}

static void v2_failures_of_records_come_with_200(void)
{
    struct front s;

    front_init(&s);
    front_post(&s, "/topics/one", V2_JSON, "{\"records\":[{\"value\":1}]}");
    world_refuse(&s.world, front_next(&s, API_PRODUCE), RIA_ERR_MALFORMED, "bad batch");
    world_run(&s.world);
    CU_ASSERT_TRUE(front_answered(
        &s,
        200,
        "{\"partition\":null,\"offset\":null,\"error_code\":50002,\"error\":\"bad batch; the "
        "record is not stored\"}"
    ));
    front_fini(&s);
}

static void v2_strict_handling_tells_by_the_status(void)
{
    struct front s;

    front_init(&s);
    fake_request_init(
        &s.fake,
        "POST",
        "/topics/t",
        "{\"records\":[{\"value\":1,\"partition\":0},{\"value\":2,\"partition\":1}]}"
    );
    fake_request_header(&s.fake, "Prefer", "handling=strict");
    front_start(&s, V2_JSON);
    world_refuse(&s.world, front_next(&s, API_PRODUCE), RIA_ERR_MALFORMED, "bad batch");
    world_run(&s.world);
    front_ack(&s, 5);
    CU_ASSERT_TRUE(front_answered(&s, 207, "\"error_code\":50002"));
    front_fini(&s);
}

static void v2_bad_requests_are_refused_whole(void)
{
    struct front s;
    const char *one = "{\"records\":[{\"value\":1}]}";

    front_init(&s);
    CU_ASSERT_TRUE(front_is_refused(&s, "/topics/none", V2_JSON, one, 404, "\"error_code\":40401"));
    CU_ASSERT_TRUE(front_is_refused(&s, "/topics/a%00b", V2_JSON, one, 400, "\"error_code\":400"));
    CU_ASSERT_TRUE(front_is_refused(&s, "/topics/t/partitions/6", V2_JSON, one, 404, "40402"));
    CU_ASSERT_TRUE(front_is_refused(&s, "/topics/t/partitions/x", V2_JSON, one, 404, "40402"));
    CU_ASSERT_TRUE(front_is_refused(&s, "/topics/t", "text/plain", one, 415, "\"error_code\":415"));
    CU_ASSERT_TRUE(front_is_refused(&s, "/topics/t", NULL, one, 415, "Content-Type"));
    CU_ASSERT_TRUE(front_is_refused(
        &s, "/topics/t", "application/vnd.kafka.avro.v2+json", one, 415, "\"error_code\":415"
    ));
    CU_ASSERT_TRUE(
        front_is_refused(&s, "/topics/t", V2_JSON, "{\"records\":[{]}", 422, "at byte 13")
    );
    CU_ASSERT_TRUE(front_is_refused(&s, "/topics/t", V2_BINARY, one, 422, "base64"));
    CU_ASSERT_TRUE(front_is_refused(
        &s, "/topics/t", V2_JSON, "{\"records\":[{\"value\":1,\"partition\":6}]}", 404, "40402"
    ));
    front_fini(&s);
}

static void v2_unacceptable_answers_are_refused(void)
{
    struct front s;

    front_init(&s);
    fake_request_init(&s.fake, "POST", "/topics/t", "{\"records\":[{\"value\":1}]}");
    fake_request_header(&s.fake, "Accept", "application/xml");
    front_start(&s, V2_JSON);
    CU_ASSERT_TRUE(front_answered(&s, 406, "\"error_code\":406"));
    front_fini(&s);
}

static void a_record_larger_than_the_topics_batches_is_413(void)
{
    struct front s;
    char body[2100];
    int n =
        snprintf(body, sizeof(body), "{\"records\":[{\"value\":1},{\"value\":\"%01500d\"}]}", 0);

    CU_ASSERT_TRUE(n > 1500);
    front_init(&s);
    CU_ASSERT_TRUE(front_is_refused(&s, "/topics/small", V2_JSON, body, 413, "record 1"));
    CU_ASSERT_TRUE(
        front_is_refused(&s, "/v1/topics/small/records", NULL, body, 413, "record_too_large")
    );
    front_fini(&s);
}

/* --- produce in /v1 ----------------------------------------------------------------------------*/

/* The first record of a produce call. */
static struct batch_record first_record(const struct world_call *call, int32_t *out_partition)
{
    struct produce_request request;
    struct batch_record record;
    struct batch_iter iter;
    struct ria_slice payload;
    struct ria_arena arena;
    bool more = false;

    ria_arena_init(&arena, 65536);
    world_open(call, &arena, &request, &payload);
    ria_arena_fini(&arena);
    CU_ASSERT_EQUAL_FATAL(batch_iter_init(&iter, payload), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(batch_iter_next(&iter, &record, &more), RIA_OK);
    *out_partition = request.partition;
    return record;
}

static void a_raw_body_is_one_record(void)
{
    struct front s;
    struct batch_record_header header;
    int32_t partition = -1;
    bool more = false;

    front_init(&s);
    fake_request_init(&s.fake, "POST", "/v1/topics/t/records", "{not json");
    fake_request_header(&s.fake, "Riacho-Key", "abc");
    fake_request_header(&s.fake, "riacho-header-Trace-ID", "x y");
    fake_request_header(&s.fake, "Riacho-Timestamp", "1700000000001");
    front_start(&s, "image/png");
    struct batch_record record = first_record(front_next(&s, API_PRODUCE), &partition);
    CU_ASSERT_EQUAL(partition, 479470107 % 6); /* Kafka's murmur2("abc") */
    CU_ASSERT_TRUE(ria_slice_equal(record.key, RIA_SLICE_LITERAL("abc")));
    CU_ASSERT_TRUE(ria_slice_equal(record.value, RIA_SLICE_LITERAL("{not json")));
    CU_ASSERT_EQUAL(record.timestamp_ms, 1700000000001);
    CU_ASSERT_EQUAL_FATAL(record.header_count, 1);
    CU_ASSERT_EQUAL(batch_record_header_next(&record.headers, &header, &more), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(header.name, RIA_SLICE_LITERAL("trace-id")));
    CU_ASSERT_TRUE(ria_slice_equal(header.value, RIA_SLICE_LITERAL("x y")));
    front_ack(&s, 9);
    CU_ASSERT_TRUE(front_answered(
        &s, 200, "{\"topic\":\"t\",\"partition\":3,\"offset\":9,\"durability\":\"synced\"}"
    ));
    front_fini(&s);
}

static void an_empty_body_is_an_empty_value(void)
{
    struct front s;
    int32_t partition = -1;

    front_init(&s);
    front_post(&s, "/v1/topics/t/partitions/4/records", NULL, NULL);
    struct batch_record record = first_record(front_next(&s, API_PRODUCE), &partition);
    CU_ASSERT_EQUAL(partition, 4);
    CU_ASSERT_FALSE(ria_slice_is_null(record.value));
    CU_ASSERT_TRUE(ria_slice_is_null(record.key));
    front_ack(&s, 0);
    CU_ASSERT_TRUE(front_answered(&s, 200, "\"partition\":4"));
    front_fini(&s);
}

static void lines_are_many_records(void)
{
    struct front s;

    front_init(&s);
    front_post(
        &s,
        "/v1/topics/t/records?key=p",
        "application/x-ndjson; charset=utf-8",
        "{\"p\":\"abc\"}\n{\"p\":\"foobar\"}\n{\"p\":\"abc\"}\n"
    );
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    front_ack(&s, 10);
    front_ack(&s, 20);
    CU_ASSERT_TRUE(front_answered(
        &s,
        200,
        "{\"topic\":\"t\",\"count\":3,\"failed\":0,\"records\":[{\"partition\":3,\"offset\":10},"
        "{\"partition\":0,\"offset\":20},{\"partition\":3,\"offset\":11}],\"durability\":"
        "\"synced\"}"
    ));
    front_fini(&s);
}

static void some_failures_are_207_and_all_are_an_error(void)
{
    struct front s;
    const char *body = "{\"value\":1,\"partition\":0}\n{\"value\":2,\"partition\":1}\n";

    front_init(&s);
    front_post(&s, "/v1/topics/t/records", "application/x-ndjson", body);
    world_refuse(&s.world, front_next(&s, API_PRODUCE), RIA_ERR_NO_SPACE, "");
    world_run(&s.world);
    struct world_call *second = front_next(&s, API_PRODUCE);
    world_ack(&s.world, second, 5);
    world_advance(&s.world, 31 * 1000 * 1000); /* the first is refused until its time is over */
    CU_ASSERT_TRUE(front_answered(&s, 207, "\"failed\":1"));

    front_post(&s, "/v1/topics/t/partitions/2/records", NULL, "x");
    world_refuse(&s.world, front_next(&s, API_PRODUCE), RIA_ERR_TOO_LARGE, "too large");
    world_run(&s.world);
    CU_ASSERT_TRUE(front_answered(&s, 413, "\"code\":\"record_too_large\""));
    front_fini(&s);
}

static void no_leader_is_503_and_says_that_nothing_is_stored(void)
{
    struct front s;

    front_init(&s);
    s.world.topics[1].leaders[0] = -1;
    world_publish(&s.world);
    world_run(&s.world);
    front_post(&s, "/v1/topics/one/records", NULL, "x");
    world_advance(&s.world, 31 * 1000 * 1000);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Retry-After: 1"));
    CU_ASSERT_TRUE(front_answered(&s, 503, "\"outcome\":\"not_stored\""));
    front_fini(&s);
}

static void a_lost_answer_is_503_and_says_that_nobody_knows(void)
{
    struct front s;

    front_init(&s);
    front_post(&s, "/v1/topics/one/records", NULL, "x");
    world_advance(&s.world, 31 * 1000 * 1000);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Retry-After: 1"));
    CU_ASSERT_TRUE(front_answered(&s, 503, "\"outcome\":\"unknown\""));
    front_fini(&s);
}

static bool header_is_refused(const char *name, const char *value)
{
    struct front s;

    front_init(&s);
    fake_request_init(&s.fake, "POST", "/v1/topics/t/records", "x");
    fake_request_header(&s.fake, name, value);
    front_start(&s, NULL);
    bool same = world_call_count(&s.world) == 0 && fake_answer_has(&s.fake, name) &&
                front_answered(&s, 400, "\"code\":\"invalid_header\"");
    front_fini(&s);
    return same;
}

static void bad_headers_are_refused_by_name(void)
{
    CU_ASSERT_TRUE(header_is_refused("Riacho-Key-Base64", "abc"));
    CU_ASSERT_TRUE(header_is_refused("Riacho-Timestamp", "yesterday"));
    CU_ASSERT_TRUE(header_is_refused("Riacho-Timestamp", "-1"));
    CU_ASSERT_TRUE(header_is_refused("Riacho-Partition", "first"));
    CU_ASSERT_TRUE(header_is_refused("Producer-Id", "5"));
    CU_ASSERT_TRUE(header_is_refused("Producer-Epoch", "40000"));
}

static void own_numbers_are_passed_through(void)
{
    struct front s;
    struct produce_response response;

    front_init(&s);
    for (int i = 0; i < 2; i++) {
        fake_request_init(&s.fake, "POST", "/v1/topics/one/records", "x");
        fake_request_header(&s.fake, "Producer-Id", "5");
        fake_request_header(&s.fake, "Producer-Epoch", "1");
        fake_request_header(&s.fake, "Producer-Seq", "7");
        fake_request_header(&s.fake, "Riacho-Partition", "0");
        front_start(&s, NULL);
        produce_response_init(&response);
        response.base_offset = 33;
        response.synced = true;
        response.duplicate = i == 1;
        world_reply(&s.world, front_next(&s, API_PRODUCE), &response, RIA_SLICE_NULL);
        world_run(&s.world);
        CU_ASSERT_EQUAL(fake_answer_has(&s.fake, "\"duplicate\":true"), i == 1);
        CU_ASSERT_TRUE(front_answered(&s, 200, "\"offset\":33"));
    }
    fake_request_init(&s.fake, "POST", "/v1/topics/one/records", "x");
    fake_request_header(&s.fake, "Producer-Id", "5");
    fake_request_header(&s.fake, "Producer-Epoch", "1");
    fake_request_header(&s.fake, "Producer-Seq", "9");
    front_start(&s, NULL);
    CU_ASSERT_TRUE(front_answered(&s, 400, "needs a partition"));
    front_fini(&s);
}

static void a_gap_in_own_numbers_is_409(void)
{
    struct front s;

    front_init(&s);
    fake_request_init(&s.fake, "POST", "/v1/topics/one/partitions/0/records", "x");
    fake_request_header(&s.fake, "Producer-Id", "5");
    fake_request_header(&s.fake, "Producer-Epoch", "0");
    fake_request_header(&s.fake, "Producer-Seq", "9");
    front_start(&s, NULL);
    world_refuse(&s.world, front_next(&s, API_PRODUCE), RIA_ERR_OUT_OF_ORDER, "expected 8");
    world_run(&s.world);
    CU_ASSERT_TRUE(front_answered(&s, 409, "\"code\":\"out_of_order_sequence\""));
    front_fini(&s);
}

static void too_many_bytes_in_flight_are_429(void)
{
    struct front s;

    front_init(&s);
    s.world.budget.limit = 3;
    front_post(&s, "/v1/topics/one/records", NULL, "four");
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Retry-After: 1"));
    CU_ASSERT_TRUE(front_answered(&s, 429, "\"outcome\":\"not_stored\""));
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    front_fini(&s);
}

/* --- the rest ----------------------------------------------------------------------------------*/

static void topics_are_created_and_described(void)
{
    struct front s;

    front_init(&s);
    front_post(
        &s, "/v1/topics", "application/json", "{\"name\":\"new\",\"partitions\":2,\"replicas\":3}"
    );
    CU_ASSERT_TRUE(front_answered(&s, 201, "\"name\":\"new\""));
    CU_ASSERT_EQUAL(s.world.created_topics, 1);
    front_get(&s, "/v1/topics/new");
    front_reply_offsets(&s, 0, 7, -1);
    world_advance(&s.world, 3 * 1000 * 1000); /* the other leader does not answer */
    CU_ASSERT_TRUE(fake_answer_has(&s.fake, "\"high_watermark\":7"));
    CU_ASSERT_TRUE(fake_answer_has(&s.fake, "\"min.insync.replicas\":\"2\""));
    CU_ASSERT_TRUE(front_answered(&s, 200, "\"high_watermark\":null"));
    front_get(&s, "/topics");
    CU_ASSERT_TRUE(front_answered(&s, 200, "[\"t\",\"one\",\"small\",\"new\"]"));
    front_fini(&s);
}

static void bad_topics_are_refused(void)
{
    struct front s;
    char body[400];

    front_init(&s);
    const char *json = "application/json";
    CU_ASSERT_TRUE(
        front_is_refused(&s, "/v1/topics", json, "{\"name\":\"t\"}", 409, "\"field\":\"name\"")
    );
    CU_ASSERT_TRUE(front_is_refused(&s, "/v1/topics", json, "{}", 400, "\"field\":\"name\""));
    CU_ASSERT_TRUE(
        front_is_refused(&s, "/v1/topics", json, "{\"name\":\"a/b\"}", 400, "\"field\":\"name\"")
    );
    CU_ASSERT_TRUE(
        front_is_refused(&s, "/v1/topics", json, "{\"name\":\"..\"}", 400, "\"field\":\"name\"")
    );
    (void)snprintf(body, sizeof(body), "{\"name\":\"%0201d\"}", 1);
    CU_ASSERT_TRUE(front_is_refused(&s, "/v1/topics", json, body, 400, "\"field\":\"name\""));
    CU_ASSERT_TRUE(front_is_refused(
        &s, "/v1/topics", json, "{\"name\":\"x\",\"partitions\":0}", 400, "\"field\":\"partitions\""
    ));
    CU_ASSERT_TRUE(front_is_refused(
        &s,
        "/v1/topics",
        json,
        "{\"name\":\"x\",\"replicas\":\"many\"}",
        400,
        "\"field\":\"replicas\""
    ));
    CU_ASSERT_TRUE(front_is_refused(
        &s, "/v1/topics", json, "{\"name\":\"x\",\"config\":{\"nope\":1}}", 400, "nope"
    ));
    CU_ASSERT_TRUE(front_is_refused(&s, "/v1/topics", json, "{\"nam\":\"x\"}", 400, "\\\"nam\\\""));
    CU_ASSERT_TRUE(front_is_refused(&s, "/v1/topics", json, "{\"name\":", 422, "line 1"));
    CU_ASSERT_TRUE(front_is_refused(&s, "/v1/topics", "text/plain", "{}", 415, "Content-Type"));
    CU_ASSERT_EQUAL(s.world.created_topics, 0);
    front_fini(&s);
}

static void readiness_says_why_not(void)
{
    struct front s;
    const struct gateway_options options = {
        .coordinator = "tcp://c", .body_max = 1024, .request_timeout_ms = 1000};

    world_init(&s.world, 3);
    s.world.coordinator_down = true;
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s.world.env, &options, &s.world.budget, NULL, &s.gateway), RIA_OK
    );
    gateway_start(s.gateway);
    front_get(&s, "/readyz");
    CU_ASSERT_TRUE(front_answered(&s, 503, "\"code\":\"not_ready\""));
    front_get(&s, "/healthz");
    CU_ASSERT_TRUE(front_answered(&s, 200, "ok"));
    front_post(&s, "/v1/topics/t/records", NULL, "x");
    CU_ASSERT_TRUE(front_answered(&s, 503, "not_ready"));
    s.world.coordinator_down = false;
    world_advance(&s.world, 2 * 1000 * 1000);
    front_get(&s, "/readyz");
    CU_ASSERT_TRUE(front_answered(&s, 200, "\"storage_nodes\":1"));
    /* The data plane goes on without the coordinator. */
    s.world.coordinator_down = true;
    front_get(&s, "/readyz");
    world_advance(&s.world, 2 * 1000 * 1000);
    CU_ASSERT_TRUE(front_answered(&s, 200, "unreachable"));
    front_get(&s, "/v1/cluster");
    world_advance(&s.world, 2 * 1000 * 1000);
    CU_ASSERT_TRUE(front_answered(&s, 200, "\"reachable\":false"));
    front_fini(&s);
}

static void a_transform_needs_a_worker(void)
{
    struct front s;

    front_init(&s);
    s.world.no_transform_worker = true;
    front_post(
        &s, "/v1/transforms", "application/json", "{\"sql\":\"CREATE STREAM x AS SELECT 1 FROM t\"}"
    );
    CU_ASSERT_TRUE(front_answered(&s, 503, "no_transform_worker"));
    s.world.no_transform_worker = false;
    front_post(
        &s, "/v1/transforms", "application/json", "{\"sql\":\"CREATE STREAM x AS SELCT 1 FROM t\"}"
    );
    world_refuse(
        &s.world, front_next(&s, API_CHECK_TRANSFORM), RIA_ERR_SQL, "near SELCT at byte 20"
    );
    world_run(&s.world);
    CU_ASSERT_TRUE(front_answered(&s, 400, "near SELCT at byte 20"));
    front_fini(&s);
}

static void unknown_paths_and_methods_are_refused_in_their_dialect(void)
{
    struct front s;

    front_init(&s);
    front_get(&s, "/v1/nothing");
    CU_ASSERT_TRUE(front_answered(&s, 404, "{\"error\":{\"code\":\"unknown_path\""));
    front_get(&s, "/topics/t/nothing");
    CU_ASSERT_TRUE(front_answered(&s, 404, "{\"error_code\":404,"));
    fake_request_init(&s.fake, "DELETE", "/topics/t", NULL);
    front_start(&s, NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Allow: GET, HEAD, POST"));
    CU_ASSERT_TRUE(front_answered(&s, 405, "{\"error_code\":405,"));
    front_get(&s, "/openapi.yaml");
    CU_ASSERT_TRUE(front_answered(&s, 200, "openapi: 3"));
    front_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(v2_json_records_are_stored),
    HARNESS_TEST(v2_answers_in_the_accepted_type),
    HARNESS_TEST(v2_failures_of_records_come_with_200),
    HARNESS_TEST(v2_strict_handling_tells_by_the_status),
    HARNESS_TEST(v2_bad_requests_are_refused_whole),
    HARNESS_TEST(v2_unacceptable_answers_are_refused),
    HARNESS_TEST(a_record_larger_than_the_topics_batches_is_413),
    HARNESS_TEST(a_raw_body_is_one_record),
    HARNESS_TEST(an_empty_body_is_an_empty_value),
    HARNESS_TEST(lines_are_many_records),
    HARNESS_TEST(some_failures_are_207_and_all_are_an_error),
    HARNESS_TEST(no_leader_is_503_and_says_that_nothing_is_stored),
    HARNESS_TEST(a_lost_answer_is_503_and_says_that_nobody_knows),
    HARNESS_TEST(bad_headers_are_refused_by_name),
    HARNESS_TEST(own_numbers_are_passed_through),
    HARNESS_TEST(a_gap_in_own_numbers_is_409),
    HARNESS_TEST(too_many_bytes_in_flight_are_429),
    HARNESS_TEST(topics_are_created_and_described),
    HARNESS_TEST(bad_topics_are_refused),
    HARNESS_TEST(readiness_says_why_not),
    HARNESS_TEST(a_transform_needs_a_worker),
    HARNESS_TEST(unknown_paths_and_methods_are_refused_in_their_dialect),
};

HARNESS_MAIN(tests);
