/* The handlers as a client sees them: a request in, an answer out; storage answers as the test
 * says.
 */
#include "services/gateway/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/produce_response.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "services/gateway/budget.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/world.h"

#define V2_JSON   "application/vnd.kafka.json.v2+json"
#define V2_BINARY "application/vnd.kafka.binary.v2+json"

enum { BODY_MAX = 4096 };

struct setup {
    struct world world;
    struct gateway *gateway;
    struct fake_request fake;
};

static void setup(struct setup *s)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = BODY_MAX,
        .request_timeout_ms = 30000,
    };

    world_init(&s->world, 3);
    (void)world_add_topic(&s->world, "t", 6);
    (void)world_add_topic(&s->world, "one", 1);
    world_add_topic(&s->world, "small", 1)->max_message_bytes = "1024";
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s->world.env, &options, &s->world.budget, NULL, &s->gateway), RIA_OK
    );
    gateway_start(s->gateway);
    world_run(&s->world);
}

static void teardown(struct setup *s)
{
    gateway_free(s->gateway);
    world_fini(&s->world);
    CU_ASSERT_EQUAL(s->world.budget.used.value, 0);
}

/* As the web server does it: begin, then handle unless begin has answered. */
static void start(struct setup *s, const char *type)
{
    size_t body_max = 0;

    if (type != NULL) {
        fake_request_header(&s->fake, "Content-Type", type);
    }
    s->fake.request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &s->fake.request, &body_max);
    if (s->fake.answers == 0) {
        gateway_handle(s->gateway, &s->fake.request);
    }
    world_run(&s->world);
}

static void post(struct setup *s, const char *path, const char *type, const char *body)
{
    fake_request_init(&s->fake, "POST", path, body);
    start(s, type);
}

static void get(struct setup *s, const char *path)
{
    fake_request_init(&s->fake, "GET", path, NULL);
    start(s, NULL);
}

static bool answered(struct setup *s, int status, const char *part)
{
    bool same = s->fake.answers == 1 && s->fake.status == status && fake_answer_has(&s->fake, part);

    if (!same) {
        (void)printf("[%d %s]", s->fake.status, s->fake.body == NULL ? "" : s->fake.body);
    }
    fake_request_fini(&s->fake);
    return same;
}

static struct world_call *next(struct setup *s, int16_t api_key)
{
    struct world_call *call = world_next_call(&s->world, api_key);

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    return call;
}

static void ack(struct setup *s, int64_t base_offset)
{
    world_ack(&s->world, next(s, API_PRODUCE), base_offset);
    world_run(&s->world);
}

static bool is_refused(
    struct setup *s,
    const char *path,
    const char *type,
    const char *body,
    int status,
    const char *part
)
{
    post(s, path, type, body);
    return answered(s, status, part) && world_call_count(&s->world) == 0;
}

/* --- produce in v2 -----------------------------------------------------------------------------*/

static void v2_json_records_are_stored(void)
{
    struct setup s;

    setup(&s);
    post(&s, "/topics/one", V2_JSON, "{\"records\":[{\"value\":{\"a\":1}},{\"value\":2}]}");
    CU_ASSERT_EQUAL(s.fake.answers, 0);
    ack(&s, 41);
    CU_ASSERT_STRING_EQUAL(s.fake.content_type, "application/vnd.kafka.v2+json");
    CU_ASSERT_TRUE(answered(
        &s,
        200,
        "{\"offsets\":[{\"partition\":0,\"offset\":41,\"error_code\":null,\"error\":null},"
        "{\"partition\":0,\"offset\":42,\"error_code\":null,\"error\":null}],"
        "\"key_schema_id\":null,\"value_schema_id\":null}"
    ));
    teardown(&s);
}

static void v2_answers_in_the_accepted_type(void)
{
    struct setup s;

    setup(&s);
    fake_request_init(
        &s.fake, "POST", "/topics/one/partitions/0", "{\"records\":[{\"value\":\"AA==\"}]}"
    );
    fake_request_header(&s.fake, "Accept", "application/json;q=0.5, text/html");
    start(&s, "application/json"); /* no format: base64 */
    ack(&s, 0);
    CU_ASSERT_STRING_EQUAL(s.fake.content_type, "application/json");
    CU_ASSERT_TRUE(answered(&s, 200, "\"offset\":0"));
    teardown(&s);
}

static void v2_failures_of_records_come_with_200(void)
{
    struct setup s;

    setup(&s);
    post(&s, "/topics/one", V2_JSON, "{\"records\":[{\"value\":1}]}");
    world_refuse(&s.world, next(&s, API_PRODUCE), RIA_ERR_MALFORMED, "bad batch");
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(
        &s,
        200,
        "{\"partition\":null,\"offset\":null,\"error_code\":50002,\"error\":\"bad batch; the "
        "record is not stored\"}"
    ));
    teardown(&s);
}

static void v2_strict_handling_tells_by_the_status(void)
{
    struct setup s;

    setup(&s);
    fake_request_init(
        &s.fake,
        "POST",
        "/topics/t",
        "{\"records\":[{\"value\":1,\"partition\":0},{\"value\":2,\"partition\":1}]}"
    );
    fake_request_header(&s.fake, "Prefer", "handling=strict");
    start(&s, V2_JSON);
    world_refuse(&s.world, next(&s, API_PRODUCE), RIA_ERR_MALFORMED, "bad batch");
    world_run(&s.world);
    ack(&s, 5);
    CU_ASSERT_TRUE(answered(&s, 207, "\"error_code\":50002"));
    teardown(&s);
}

static void v2_bad_requests_are_refused_whole(void)
{
    struct setup s;
    const char *one = "{\"records\":[{\"value\":1}]}";

    setup(&s);
    CU_ASSERT_TRUE(is_refused(&s, "/topics/none", V2_JSON, one, 404, "\"error_code\":40401"));
    CU_ASSERT_TRUE(is_refused(&s, "/topics/a%00b", V2_JSON, one, 400, "\"error_code\":400"));
    CU_ASSERT_TRUE(is_refused(&s, "/topics/t/partitions/6", V2_JSON, one, 404, "40402"));
    CU_ASSERT_TRUE(is_refused(&s, "/topics/t/partitions/x", V2_JSON, one, 404, "40402"));
    CU_ASSERT_TRUE(is_refused(&s, "/topics/t", "text/plain", one, 415, "\"error_code\":415"));
    CU_ASSERT_TRUE(is_refused(&s, "/topics/t", NULL, one, 415, "Content-Type"));
    CU_ASSERT_TRUE(is_refused(
        &s, "/topics/t", "application/vnd.kafka.avro.v2+json", one, 415, "\"error_code\":415"
    ));
    CU_ASSERT_TRUE(is_refused(&s, "/topics/t", V2_JSON, "{\"records\":[{]}", 422, "at byte 13"));
    CU_ASSERT_TRUE(is_refused(&s, "/topics/t", V2_BINARY, one, 422, "base64"));
    CU_ASSERT_TRUE(is_refused(
        &s, "/topics/t", V2_JSON, "{\"records\":[{\"value\":1,\"partition\":6}]}", 404, "40402"
    ));
    teardown(&s);
}

static void v2_unacceptable_answers_are_refused(void)
{
    struct setup s;

    setup(&s);
    fake_request_init(&s.fake, "POST", "/topics/t", "{\"records\":[{\"value\":1}]}");
    fake_request_header(&s.fake, "Accept", "application/xml");
    start(&s, V2_JSON);
    CU_ASSERT_TRUE(answered(&s, 406, "\"error_code\":406"));
    teardown(&s);
}

static void a_record_larger_than_the_topics_batches_is_413(void)
{
    struct setup s;
    char body[2100];
    int n =
        snprintf(body, sizeof(body), "{\"records\":[{\"value\":1},{\"value\":\"%01500d\"}]}", 0);

    CU_ASSERT_TRUE(n > 1500);
    setup(&s);
    CU_ASSERT_TRUE(is_refused(&s, "/topics/small", V2_JSON, body, 413, "record 1"));
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics/small/records", NULL, body, 413, "record_too_large"));
    teardown(&s);
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
    struct setup s;
    struct batch_record_header header;
    int32_t partition = -1;
    bool more = false;

    setup(&s);
    fake_request_init(&s.fake, "POST", "/v1/topics/t/records", "{not json");
    fake_request_header(&s.fake, "Riacho-Key", "abc");
    fake_request_header(&s.fake, "riacho-header-Trace-ID", "x y");
    fake_request_header(&s.fake, "Riacho-Timestamp", "1700000000001");
    start(&s, "image/png");
    struct batch_record record = first_record(next(&s, API_PRODUCE), &partition);
    CU_ASSERT_EQUAL(partition, 479470107 % 6); /* Kafka's murmur2("abc") */
    CU_ASSERT_TRUE(ria_slice_equal(record.key, RIA_SLICE_LITERAL("abc")));
    CU_ASSERT_TRUE(ria_slice_equal(record.value, RIA_SLICE_LITERAL("{not json")));
    CU_ASSERT_EQUAL(record.timestamp_ms, 1700000000001);
    CU_ASSERT_EQUAL_FATAL(record.header_count, 1);
    CU_ASSERT_EQUAL(batch_record_header_next(&record.headers, &header, &more), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(header.name, RIA_SLICE_LITERAL("trace-id")));
    CU_ASSERT_TRUE(ria_slice_equal(header.value, RIA_SLICE_LITERAL("x y")));
    ack(&s, 9);
    CU_ASSERT_TRUE(answered(
        &s, 200, "{\"topic\":\"t\",\"partition\":3,\"offset\":9,\"durability\":\"synced\"}"
    ));
    teardown(&s);
}

static void an_empty_body_is_an_empty_value(void)
{
    struct setup s;
    int32_t partition = -1;

    setup(&s);
    post(&s, "/v1/topics/t/partitions/4/records", NULL, NULL);
    struct batch_record record = first_record(next(&s, API_PRODUCE), &partition);
    CU_ASSERT_EQUAL(partition, 4);
    CU_ASSERT_FALSE(ria_slice_is_null(record.value));
    CU_ASSERT_TRUE(ria_slice_is_null(record.key));
    ack(&s, 0);
    CU_ASSERT_TRUE(answered(&s, 200, "\"partition\":4"));
    teardown(&s);
}

static void lines_are_many_records(void)
{
    struct setup s;

    setup(&s);
    post(
        &s,
        "/v1/topics/t/records?key=p",
        "application/x-ndjson; charset=utf-8",
        "{\"p\":\"abc\"}\n{\"p\":\"foobar\"}\n{\"p\":\"abc\"}\n"
    );
    CU_ASSERT_EQUAL(world_call_count(&s.world), 2);
    ack(&s, 10);
    ack(&s, 20);
    CU_ASSERT_TRUE(answered(
        &s,
        200,
        "{\"topic\":\"t\",\"count\":3,\"failed\":0,\"records\":[{\"partition\":3,\"offset\":10},"
        "{\"partition\":0,\"offset\":20},{\"partition\":3,\"offset\":11}],\"durability\":"
        "\"synced\"}"
    ));
    teardown(&s);
}

static void some_failures_are_207_and_all_are_an_error(void)
{
    struct setup s;
    const char *body = "{\"value\":1,\"partition\":0}\n{\"value\":2,\"partition\":1}\n";

    setup(&s);
    post(&s, "/v1/topics/t/records", "application/x-ndjson", body);
    world_refuse(&s.world, next(&s, API_PRODUCE), RIA_ERR_NO_SPACE, "");
    world_run(&s.world);
    struct world_call *second = next(&s, API_PRODUCE);
    world_ack(&s.world, second, 5);
    world_advance(&s.world, 31 * 1000 * 1000); /* the first is refused until its time is over */
    CU_ASSERT_TRUE(answered(&s, 207, "\"failed\":1"));

    post(&s, "/v1/topics/t/partitions/2/records", NULL, "x");
    world_refuse(&s.world, next(&s, API_PRODUCE), RIA_ERR_TOO_LARGE, "too large");
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 413, "\"code\":\"record_too_large\""));
    teardown(&s);
}

static void no_leader_is_503_and_says_that_nothing_is_stored(void)
{
    struct setup s;

    setup(&s);
    s.world.topics[1].leaders[0] = -1;
    world_publish(&s.world);
    world_run(&s.world);
    post(&s, "/v1/topics/one/records", NULL, "x");
    world_advance(&s.world, 31 * 1000 * 1000);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Retry-After: 1"));
    CU_ASSERT_TRUE(answered(&s, 503, "\"outcome\":\"not_stored\""));
    teardown(&s);
}

static void a_lost_answer_is_503_and_says_that_nobody_knows(void)
{
    struct setup s;

    setup(&s);
    post(&s, "/v1/topics/one/records", NULL, "x");
    world_advance(&s.world, 31 * 1000 * 1000);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Retry-After: 1"));
    CU_ASSERT_TRUE(answered(&s, 503, "\"outcome\":\"unknown\""));
    teardown(&s);
}

static bool header_is_refused(const char *name, const char *value)
{
    struct setup s;

    setup(&s);
    fake_request_init(&s.fake, "POST", "/v1/topics/t/records", "x");
    fake_request_header(&s.fake, name, value);
    start(&s, NULL);
    bool same = world_call_count(&s.world) == 0 && fake_answer_has(&s.fake, name) &&
                answered(&s, 400, "\"code\":\"invalid_header\"");
    teardown(&s);
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
    struct setup s;
    struct produce_response response;

    setup(&s);
    for (int i = 0; i < 2; i++) {
        fake_request_init(&s.fake, "POST", "/v1/topics/one/records", "x");
        fake_request_header(&s.fake, "Producer-Id", "5");
        fake_request_header(&s.fake, "Producer-Epoch", "1");
        fake_request_header(&s.fake, "Producer-Seq", "7");
        fake_request_header(&s.fake, "Riacho-Partition", "0");
        start(&s, NULL);
        produce_response_init(&response);
        response.base_offset = 33;
        response.synced = true;
        response.duplicate = i == 1;
        world_reply(&s.world, next(&s, API_PRODUCE), &response, RIA_SLICE_NULL);
        world_run(&s.world);
        CU_ASSERT_EQUAL(fake_answer_has(&s.fake, "\"duplicate\":true"), i == 1);
        CU_ASSERT_TRUE(answered(&s, 200, "\"offset\":33"));
    }
    fake_request_init(&s.fake, "POST", "/v1/topics/one/records", "x");
    fake_request_header(&s.fake, "Producer-Id", "5");
    fake_request_header(&s.fake, "Producer-Epoch", "1");
    fake_request_header(&s.fake, "Producer-Seq", "9");
    start(&s, NULL);
    CU_ASSERT_TRUE(answered(&s, 400, "needs a partition"));
    teardown(&s);
}

static void a_gap_in_own_numbers_is_409(void)
{
    struct setup s;

    setup(&s);
    fake_request_init(&s.fake, "POST", "/v1/topics/one/partitions/0/records", "x");
    fake_request_header(&s.fake, "Producer-Id", "5");
    fake_request_header(&s.fake, "Producer-Epoch", "0");
    fake_request_header(&s.fake, "Producer-Seq", "9");
    start(&s, NULL);
    world_refuse(&s.world, next(&s, API_PRODUCE), RIA_ERR_OUT_OF_ORDER, "expected 8");
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 409, "\"code\":\"out_of_order_sequence\""));
    teardown(&s);
}

static void too_many_bytes_in_flight_are_429(void)
{
    struct setup s;

    setup(&s);
    s.world.budget.limit = 3;
    post(&s, "/v1/topics/one/records", NULL, "four");
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Retry-After: 1"));
    CU_ASSERT_TRUE(answered(&s, 429, "\"outcome\":\"not_stored\""));
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    teardown(&s);
}

/* --- reading -----------------------------------------------------------------------------------*/

/* A batch with one record whose value is "1", at the offset. */
static struct ria_slice one_record(struct batch_builder *builder, int64_t offset)
{
    batch_builder_init(builder, RIA_BATCH_SIZE_MAX);
    CU_ASSERT_EQUAL(
        batch_builder_add(builder, 5, RIA_SLICE_NULL, RIA_SLICE_LITERAL("1"), NULL, 0), RIA_OK
    );
    struct ria_slice bytes = batch_builder_finish(builder, -1, -1, -1);
    batch_patch(builder->buf.data, offset, 1);
    return bytes;
}

static void reply_fetch(struct setup *s, int64_t high_watermark, struct ria_slice payload)
{
    struct fetch_response response;

    fetch_response_init(&response);
    response.high_watermark = high_watermark;
    response.log_start_offset = 0;
    world_reply(&s->world, next(s, API_FETCH), &response, payload);
    world_run(&s->world);
}

static struct fetch_request look_at_fetch(struct setup *s)
{
    struct fetch_request request;
    struct ria_slice payload;
    struct ria_arena arena;

    ria_arena_init(&arena, 65536);
    world_open(next(s, API_FETCH), &arena, &request, &payload);
    ria_arena_fini(&arena);
    return request;
}

static void a_read_is_one_fetch(void)
{
    struct setup s;
    struct batch_builder builder;

    setup(&s);
    get(&s, "/v1/topics/t/partitions/1/records?offset=7&max_bytes=1000");
    struct fetch_request request = look_at_fetch(&s);
    CU_ASSERT_EQUAL(request.partition, 1);
    CU_ASSERT_EQUAL(request.offset, 7);
    CU_ASSERT_EQUAL(request.max_bytes, 1000);
    CU_ASSERT_EQUAL(request.wait_ms, 0);
    CU_ASSERT_STRING_EQUAL(next(&s, API_FETCH)->address, "tcp://s2");
    reply_fetch(&s, 9, one_record(&builder, 7));
    batch_builder_fini(&builder);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Riacho-Next-Offset: 8\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Riacho-High-Watermark: 9\n"));
    CU_ASSERT_TRUE(answered(
        &s,
        200,
        "{\"records\":[{\"offset\":7,\"timestamp\":5,\"key\":null,\"value\":1}],\"next_offset\":8,"
        "\"high_watermark\":9,\"log_start_offset\":0}"
    ));
    teardown(&s);
}

static void raw_batches_are_handed_on(void)
{
    struct setup s;
    struct batch_builder builder;

    setup(&s);
    fake_request_init(&s.fake, "GET", "/v1/topics/one/partitions/0/records?offset=0", NULL);
    fake_request_header(&s.fake, "Accept", "application/vnd.riacho.batch");
    start(&s, NULL);
    struct ria_slice bytes = one_record(&builder, 0);
    reply_fetch(&s, 1, bytes);
    CU_ASSERT_EQUAL(s.fake.body_size, bytes.size);
    CU_ASSERT_EQUAL(memcmp(s.fake.body, bytes.data, bytes.size), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Riacho-Next-Offset: 1\n"));
    batch_builder_fini(&builder);
    CU_ASSERT_TRUE(answered(&s, 200, ""));
    teardown(&s);
}

static void reply_offsets(struct setup *s, int64_t start_offset, int64_t end, int64_t found)
{
    struct list_offsets_response response;

    list_offsets_response_init(&response);
    response.log_start_offset = start_offset;
    response.high_watermark = end;
    response.offset = found;
    response.offset_timestamp = found < 0 ? -1 : 1234;
    world_reply(&s->world, next(s, API_LIST_OFFSETS), &response, RIA_SLICE_NULL);
    world_run(&s->world);
}

static void names_and_times_are_positions(void)
{
    static const struct {
        const char *query;
        int64_t found;
        int64_t offset;
    } cases[] = {
        {"offset=earliest", -1, 10},
        {"offset=latest", -1, 20},
        {"timestamp=1000", 15, 15},
        {"timestamp=9000", -1, 20},
    };

    for (size_t i = 0; i < RIA_COUNT(cases); i++) {
        struct setup s;
        char path[128];
        setup(&s);
        (void
        )snprintf(path, sizeof(path), "/v1/topics/one/partitions/0/records?%s", cases[i].query);
        get(&s, path);
        reply_offsets(&s, 10, 20, cases[i].found);
        CU_ASSERT_EQUAL(look_at_fetch(&s).offset, cases[i].offset);
        reply_fetch(&s, 20, RIA_SLICE_EMPTY);
        CU_ASSERT_TRUE(answered(&s, 200, "\"records\":[]"));
        teardown(&s);
    }
}

static void a_read_that_waits_watches(void)
{
    struct setup s;
    struct batch_builder builder;
    struct watch_request request;
    struct watch_response response;
    struct watch_response_watched_partition moved;
    struct ria_slice payload;
    struct ria_arena arena;

    setup(&s);
    get(&s, "/v1/topics/one/partitions/0/records?offset=4&wait_ms=5000");
    reply_fetch(&s, 4, RIA_SLICE_EMPTY);
    CU_ASSERT_EQUAL(s.fake.answers, 0);
    world_advance(&s.world, 1000);
    ria_arena_init(&arena, 65536);
    world_open(next(&s, API_WATCH), &arena, &request, &payload);
    CU_ASSERT_EQUAL_FATAL(request.partitions_count, 1);
    CU_ASSERT_EQUAL(request.partitions[0].offset, 4);
    watch_response_init(&response);
    watch_response_watched_partition_init(&moved);
    moved.topic_id = request.partitions[0].topic_id;
    moved.partition = 0;
    moved.high_watermark = 5;
    response.partitions = &moved;
    response.partitions_count = 1;
    ria_arena_fini(&arena);
    world_reply(&s.world, next(&s, API_WATCH), &response, RIA_SLICE_NULL);
    world_run(&s.world);
    reply_fetch(&s, 5, one_record(&builder, 4));
    batch_builder_fini(&builder);
    CU_ASSERT_TRUE(answered(&s, 200, "\"offset\":4"));
    teardown(&s);
}

static void a_read_that_waits_in_vain_is_empty(void)
{
    struct setup s;

    setup(&s);
    get(&s, "/v1/topics/one/partitions/0/records?offset=4&wait_ms=5000");
    reply_fetch(&s, 4, RIA_SLICE_EMPTY);
    world_advance(&s.world, 4990 * 1000);
    CU_ASSERT_EQUAL(s.fake.answers, 0);
    world_advance(&s.world, 20 * 1000);
    CU_ASSERT_TRUE(answered(&s, 200, "\"records\":[],\"next_offset\":4,\"high_watermark\":4"));
    teardown(&s);
}

static void reads_that_wait_share_one_watch_per_node(void)
{
    struct setup s;
    struct fake_request others[3];
    size_t body_max = 0;

    setup(&s);
    for (int i = 0; i < 3; i++) {
        fake_request_init(
            &others[i], "GET", "/v1/topics/one/partitions/0/records?offset=4&wait_ms=5000", NULL
        );
        gateway_begin(s.gateway, &others[i].request, &body_max);
        gateway_handle(s.gateway, &others[i].request);
        world_run(&s.world);
        reply_fetch(&s, 4, RIA_SLICE_EMPTY);
    }
    world_advance(&s.world, 1000);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 1);
    world_advance(&s.world, 6 * 1000 * 1000);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(others[i].status, 200);
        fake_request_fini(&others[i]);
    }
    teardown(&s);
}

static void an_offset_out_of_range_is_told_the_range(void)
{
    struct setup s;

    setup(&s);
    get(&s, "/v1/topics/one/partitions/0/records?offset=99");
    world_refuse(&s.world, next(&s, API_FETCH), RIA_ERR_OFFSET_OUT_OF_RANGE, "");
    world_run(&s.world);
    reply_offsets(&s, 10, 20, -1);
    CU_ASSERT_TRUE(answered(&s, 400, "it has 10 to 20"));
    teardown(&s);
}

static void a_read_follows_the_leader(void)
{
    struct setup s;

    setup(&s);
    get(&s, "/v1/topics/one/partitions/0/records?offset=0");
    world_refuse(&s.world, next(&s, API_FETCH), RIA_ERR_NOT_LEADER, "");
    world_run(&s.world);
    s.world.topics[1].leaders[0] = 3;
    s.world.topics[1].epochs[0] = 2;
    world_publish(&s.world);
    world_run(&s.world);
    CU_ASSERT_STRING_EQUAL(next(&s, API_FETCH)->address, "tcp://s3");
    CU_ASSERT_EQUAL(look_at_fetch(&s).leader_epoch, 2);
    reply_fetch(&s, 0, RIA_SLICE_EMPTY);
    CU_ASSERT_TRUE(answered(&s, 200, "\"records\":[]"));
    teardown(&s);
}

static bool read_is_refused(const char *query, int status, const char *part)
{
    struct setup s;
    char path[200];

    setup(&s);
    (void)snprintf(path, sizeof(path), "/v1/topics/one/partitions/0/records%s", query);
    get(&s, path);
    bool same = answered(&s, status, part) && world_call_count(&s.world) == 0;
    teardown(&s);
    return same;
}

static void bad_reads_are_refused(void)
{
    CU_ASSERT_TRUE(read_is_refused("", 400, "\"field\":\"offset\""));
    CU_ASSERT_TRUE(read_is_refused("?offset=-1", 400, "\"field\":\"offset\""));
    CU_ASSERT_TRUE(read_is_refused("?offset=1e3", 400, "\"field\":\"offset\""));
    CU_ASSERT_TRUE(read_is_refused("?offset=%zz", 400, "\"field\":\"offset\""));
    CU_ASSERT_TRUE(read_is_refused("?offset=0&timestamp=1", 400, "timestamp"));
    CU_ASSERT_TRUE(read_is_refused("?offset=0&max_bytes=0", 400, "max_bytes"));
    CU_ASSERT_TRUE(read_is_refused("?offset=0&max_bytes=99999999", 400, "max_bytes"));
    CU_ASSERT_TRUE(read_is_refused("?offset=0&wait_ms=999999", 400, "wait_ms"));
    CU_ASSERT_TRUE(read_is_refused("?offset=0&max_byte=5", 400, "max_byte"));
}

/* --- the rest ----------------------------------------------------------------------------------*/

static void topics_are_created_and_described(void)
{
    struct setup s;

    setup(&s);
    post(
        &s, "/v1/topics", "application/json", "{\"name\":\"new\",\"partitions\":2,\"replicas\":3}"
    );
    CU_ASSERT_TRUE(answered(&s, 201, "\"name\":\"new\""));
    CU_ASSERT_EQUAL(s.world.created_topics, 1);
    get(&s, "/v1/topics/new");
    reply_offsets(&s, 0, 7, -1);
    world_advance(&s.world, 3 * 1000 * 1000); /* the other leader does not answer */
    CU_ASSERT_TRUE(fake_answer_has(&s.fake, "\"high_watermark\":7"));
    CU_ASSERT_TRUE(fake_answer_has(&s.fake, "\"min.insync.replicas\":\"2\""));
    CU_ASSERT_TRUE(answered(&s, 200, "\"high_watermark\":null"));
    get(&s, "/topics");
    CU_ASSERT_TRUE(answered(&s, 200, "[\"t\",\"one\",\"small\",\"new\"]"));
    teardown(&s);
}

static void bad_topics_are_refused(void)
{
    struct setup s;
    char body[400];

    setup(&s);
    const char *json = "application/json";
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics", json, "{\"name\":\"t\"}", 409, "\"field\":\"name\"")
    );
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics", json, "{}", 400, "\"field\":\"name\""));
    CU_ASSERT_TRUE(
        is_refused(&s, "/v1/topics", json, "{\"name\":\"a/b\"}", 400, "\"field\":\"name\"")
    );
    CU_ASSERT_TRUE(
        is_refused(&s, "/v1/topics", json, "{\"name\":\"..\"}", 400, "\"field\":\"name\"")
    );
    (void)snprintf(body, sizeof(body), "{\"name\":\"%0201d\"}", 1);
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics", json, body, 400, "\"field\":\"name\""));
    CU_ASSERT_TRUE(is_refused(
        &s, "/v1/topics", json, "{\"name\":\"x\",\"partitions\":0}", 400, "\"field\":\"partitions\""
    ));
    CU_ASSERT_TRUE(is_refused(
        &s,
        "/v1/topics",
        json,
        "{\"name\":\"x\",\"replicas\":\"many\"}",
        400,
        "\"field\":\"replicas\""
    ));
    CU_ASSERT_TRUE(
        is_refused(&s, "/v1/topics", json, "{\"name\":\"x\",\"config\":{\"nope\":1}}", 400, "nope")
    );
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics", json, "{\"nam\":\"x\"}", 400, "\\\"nam\\\""));
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics", json, "{\"name\":", 422, "line 1"));
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics", "text/plain", "{}", 415, "Content-Type"));
    CU_ASSERT_EQUAL(s.world.created_topics, 0);
    teardown(&s);
}

static void readiness_says_why_not(void)
{
    struct setup s;
    const struct gateway_options options = {
        .coordinator = "tcp://c", .body_max = 1024, .request_timeout_ms = 1000};

    world_init(&s.world, 3);
    s.world.coordinator_down = true;
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s.world.env, &options, &s.world.budget, NULL, &s.gateway), RIA_OK
    );
    gateway_start(s.gateway);
    get(&s, "/readyz");
    CU_ASSERT_TRUE(answered(&s, 503, "\"code\":\"not_ready\""));
    get(&s, "/healthz");
    CU_ASSERT_TRUE(answered(&s, 200, "ok"));
    post(&s, "/v1/topics/t/records", NULL, "x");
    CU_ASSERT_TRUE(answered(&s, 503, "not_ready"));
    s.world.coordinator_down = false;
    world_advance(&s.world, 2 * 1000 * 1000);
    get(&s, "/readyz");
    CU_ASSERT_TRUE(answered(&s, 200, "\"storage_nodes\":1"));
    /* The data plane goes on without the coordinator. */
    s.world.coordinator_down = true;
    get(&s, "/readyz");
    world_advance(&s.world, 2 * 1000 * 1000);
    CU_ASSERT_TRUE(answered(&s, 200, "unreachable"));
    get(&s, "/v1/cluster");
    world_advance(&s.world, 2 * 1000 * 1000);
    CU_ASSERT_TRUE(answered(&s, 200, "\"reachable\":false"));
    teardown(&s);
}

static void a_transform_needs_a_worker(void)
{
    struct setup s;

    setup(&s);
    s.world.no_transform_worker = true;
    post(
        &s, "/v1/transforms", "application/json", "{\"sql\":\"CREATE STREAM x AS SELECT 1 FROM t\"}"
    );
    CU_ASSERT_TRUE(answered(&s, 503, "no_transform_worker"));
    s.world.no_transform_worker = false;
    post(
        &s, "/v1/transforms", "application/json", "{\"sql\":\"CREATE STREAM x AS SELCT 1 FROM t\"}"
    );
    world_refuse(&s.world, next(&s, API_CHECK_TRANSFORM), RIA_ERR_SQL, "near SELCT at byte 20");
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 400, "near SELCT at byte 20"));
    teardown(&s);
}

static void unknown_paths_and_methods_are_refused_in_their_dialect(void)
{
    struct setup s;

    setup(&s);
    get(&s, "/v1/nothing");
    CU_ASSERT_TRUE(answered(&s, 404, "{\"error\":{\"code\":\"unknown_path\""));
    get(&s, "/topics/t/nothing");
    CU_ASSERT_TRUE(answered(&s, 404, "{\"error_code\":404,"));
    fake_request_init(&s.fake, "DELETE", "/topics/t", NULL);
    start(&s, NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Allow: GET, HEAD, POST"));
    CU_ASSERT_TRUE(answered(&s, 405, "{\"error_code\":405,"));
    get(&s, "/openapi.yaml");
    CU_ASSERT_TRUE(answered(&s, 200, "openapi: 3"));
    teardown(&s);
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
    HARNESS_TEST(a_read_is_one_fetch),
    HARNESS_TEST(raw_batches_are_handed_on),
    HARNESS_TEST(names_and_times_are_positions),
    HARNESS_TEST(a_read_that_waits_watches),
    HARNESS_TEST(a_read_that_waits_in_vain_is_empty),
    HARNESS_TEST(reads_that_wait_share_one_watch_per_node),
    HARNESS_TEST(an_offset_out_of_range_is_told_the_range),
    HARNESS_TEST(a_read_follows_the_leader),
    HARNESS_TEST(bad_reads_are_refused),
    HARNESS_TEST(topics_are_created_and_described),
    HARNESS_TEST(bad_topics_are_refused),
    HARNESS_TEST(readiness_says_why_not),
    HARNESS_TEST(a_transform_needs_a_worker),
    HARNESS_TEST(unknown_paths_and_methods_are_refused_in_their_dialect),
};

HARNESS_MAIN(tests);
