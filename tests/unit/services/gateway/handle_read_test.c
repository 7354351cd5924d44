/* Reading, as a client sees it: a request in, an answer out; storage answers as the test says.
 */
#include <stdio.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/front.h"

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

static void reply_fetch(struct front *s, int64_t high_watermark, struct ria_slice payload)
{
    struct fetch_response response;

    fetch_response_init(&response);
    response.high_watermark = high_watermark;
    response.log_start_offset = 0;
    world_reply(&s->world, front_next(s, API_FETCH), &response, payload);
    world_run(&s->world);
}

static struct fetch_request look_at_fetch(struct front *s)
{
    struct fetch_request request;
    struct ria_slice payload;
    struct ria_arena arena;

    ria_arena_init(&arena, 65536);
    world_open(front_next(s, API_FETCH), &arena, &request, &payload);
    ria_arena_fini(&arena);
    return request;
}

static void a_read_is_one_fetch(void)
{
    struct front s;
    struct batch_builder builder;

    front_init(&s);
    front_get(&s, "/v1/topics/t/partitions/1/records?offset=7&max_bytes=1000");
    struct fetch_request request = look_at_fetch(&s);
    CU_ASSERT_EQUAL(request.partition, 1);
    CU_ASSERT_EQUAL(request.offset, 7);
    CU_ASSERT_EQUAL(request.max_bytes, 1000);
    CU_ASSERT_EQUAL(request.wait_ms, 0);
    CU_ASSERT_STRING_EQUAL(front_next(&s, API_FETCH)->address, "tcp://s2");
    reply_fetch(&s, 9, one_record(&builder, 7));
    batch_builder_fini(&builder);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Riacho-Next-Offset: 8\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Riacho-High-Watermark: 9\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Riacho-Leader-Epoch: 1\n"));
    CU_ASSERT_TRUE(front_answered(
        &s,
        200,
        "{\"records\":[{\"offset\":7,\"timestamp\":5,\"key\":null,\"value\":1}],\"next_offset\":8,"
        "\"high_watermark\":9,\"log_start_offset\":0}"
    ));
    front_fini(&s);
}

/* A leader that has just begun does not know the number; the smaller one it has is nobody's. */
static void a_high_watermark_that_is_not_known_yet_is_not_named(void)
{
    struct front s;
    struct batch_builder builder;

    front_init(&s);
    front_get(&s, "/v1/topics/t/partitions/1/records?offset=7");
    reply_fetch(&s, -1, one_record(&builder, 7));
    batch_builder_fini(&builder);
    CU_ASSERT_PTR_NULL(strstr(s.fake.fields, "Riacho-High-Watermark"));
    CU_ASSERT_TRUE(front_answered(
        &s, 200, "\"value\":1}],\"next_offset\":8,\"high_watermark\":null,\"log_start_offset\":0}"
    ));
    front_fini(&s);
}

static void raw_batches_are_handed_on(void)
{
    struct front s;
    struct batch_builder builder;

    front_init(&s);
    fake_request_init(&s.fake, "GET", "/v1/topics/one/partitions/0/records?offset=0", NULL);
    fake_request_header(&s.fake, "Accept", "application/vnd.riacho.batch");
    front_start(&s, NULL);
    struct ria_slice bytes = one_record(&builder, 0);
    reply_fetch(&s, 1, bytes);
    CU_ASSERT_EQUAL(s.fake.body_size, bytes.size);
    CU_ASSERT_EQUAL(memcmp(s.fake.body, bytes.data, bytes.size), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(s.fake.fields, "Riacho-Next-Offset: 1\n"));
    batch_builder_fini(&builder);
    CU_ASSERT_TRUE(front_answered(&s, 200, ""));
    front_fini(&s);
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
        struct front s;
        char path[128];
        front_init(&s);
        (void
        )snprintf(path, sizeof(path), "/v1/topics/one/partitions/0/records?%s", cases[i].query);
        front_get(&s, path);
        front_reply_offsets(&s, 10, 20, cases[i].found);
        CU_ASSERT_EQUAL(look_at_fetch(&s).offset, cases[i].offset);
        reply_fetch(&s, 20, RIA_SLICE_EMPTY);
        CU_ASSERT_TRUE(front_answered(&s, 200, "\"records\":[]"));
        front_fini(&s);
    }
}

static void a_read_that_waits_watches(void)
{
    struct front s;
    struct batch_builder builder;
    struct watch_request request;
    struct watch_response response;
    struct watch_response_watched_partition moved;
    struct ria_slice payload;
    struct ria_arena arena;

    front_init(&s);
    front_get(&s, "/v1/topics/one/partitions/0/records?offset=4&wait_ms=5000");
    reply_fetch(&s, 4, RIA_SLICE_EMPTY);
    CU_ASSERT_EQUAL(s.fake.answers, 0);
    world_advance(&s.world, 1000);
    ria_arena_init(&arena, 65536);
    world_open(front_next(&s, API_WATCH), &arena, &request, &payload);
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
    world_reply(&s.world, front_next(&s, API_WATCH), &response, RIA_SLICE_NULL);
    world_run(&s.world);
    reply_fetch(&s, 5, one_record(&builder, 4));
    batch_builder_fini(&builder);
    CU_ASSERT_TRUE(front_answered(&s, 200, "\"offset\":4"));
    front_fini(&s);
}

static void a_read_that_waits_in_vain_is_empty(void)
{
    struct front s;

    front_init(&s);
    front_get(&s, "/v1/topics/one/partitions/0/records?offset=4&wait_ms=5000");
    reply_fetch(&s, 4, RIA_SLICE_EMPTY);
    world_advance(&s.world, 4990 * 1000);
    CU_ASSERT_EQUAL(s.fake.answers, 0);
    world_advance(&s.world, 20 * 1000);
    CU_ASSERT_TRUE(front_answered(&s, 200, "\"records\":[],\"next_offset\":4,\"high_watermark\":4")
    );
    front_fini(&s);
}

/* It held its connection to the deadline, a minute at most. */
static void a_read_whose_client_hangs_up_waits_no_more(void)
{
    for (int before = 0; before < 2; before++) {
        struct front s;
        front_init(&s);
        front_get(&s, "/v1/topics/one/partitions/0/records?offset=4&wait_ms=5000");
        if (before == 1) {
            fake_request_hang_up(&s.fake);
            CU_ASSERT_EQUAL(s.fake.answers, 0);
        }
        reply_fetch(&s, 4, RIA_SLICE_EMPTY);
        if (before == 0) {
            CU_ASSERT_EQUAL(s.fake.answers, 0);
            world_advance(&s.world, 1000);
            fake_request_hang_up(&s.fake);
        }
        CU_ASSERT_TRUE(front_answered(&s, 200, "\"records\":[]"));
        front_fini(&s);
    }
}

static void reads_that_wait_share_one_watch_per_node(void)
{
    struct front s;
    struct fake_request others[3];
    size_t body_max = 0;

    front_init(&s);
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
    front_fini(&s);
}

static void an_offset_out_of_range_is_told_the_range(void)
{
    struct front s;

    front_init(&s);
    front_get(&s, "/v1/topics/one/partitions/0/records?offset=99");
    world_refuse(&s.world, front_next(&s, API_FETCH), RIA_ERR_OFFSET_OUT_OF_RANGE, "");
    world_run(&s.world);
    front_reply_offsets(&s, 10, 20, -1);
    CU_ASSERT_TRUE(front_answered(&s, 400, "it has 10 to 20"));
    front_fini(&s);
}

/* Who refused it was deposed before; his successor has the record. */
static void an_offset_that_another_leader_has_is_not_out_of_range(void)
{
    struct front s;

    front_init(&s);
    front_get(&s, "/v1/topics/one/partitions/0/records?offset=15");
    world_refuse(&s.world, front_next(&s, API_FETCH), RIA_ERR_OFFSET_OUT_OF_RANGE, "");
    world_run(&s.world);
    front_reply_offsets(&s, 10, 20, -1);
    CU_ASSERT_TRUE(front_answered(&s, 503, "\"code\":\"not_leader\""));
    front_fini(&s);
}

static void a_read_follows_the_leader(void)
{
    struct front s;

    front_init(&s);
    front_get(&s, "/v1/topics/one/partitions/0/records?offset=0");
    world_refuse(&s.world, front_next(&s, API_FETCH), RIA_ERR_NOT_LEADER, "");
    world_run(&s.world);
    s.world.topics[1].leaders[0] = 3;
    s.world.topics[1].epochs[0] = 2;
    world_publish(&s.world);
    world_run(&s.world);
    CU_ASSERT_STRING_EQUAL(front_next(&s, API_FETCH)->address, "tcp://s3");
    CU_ASSERT_EQUAL(look_at_fetch(&s).leader_epoch, 2);
    reply_fetch(&s, 0, RIA_SLICE_EMPTY);
    CU_ASSERT_TRUE(front_answered(&s, 200, "\"records\":[]"));
    front_fini(&s);
}

static bool read_is_refused(const char *query, int status, const char *part)
{
    struct front s;
    char path[200];

    front_init(&s);
    (void)snprintf(path, sizeof(path), "/v1/topics/one/partitions/0/records%s", query);
    front_get(&s, path);
    bool same = front_answered(&s, status, part) && world_call_count(&s.world) == 0;
    front_fini(&s);
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

static const struct harness_test tests[] = {
    HARNESS_TEST(a_read_is_one_fetch),
    HARNESS_TEST(a_high_watermark_that_is_not_known_yet_is_not_named),
    HARNESS_TEST(raw_batches_are_handed_on),
    HARNESS_TEST(names_and_times_are_positions),
    HARNESS_TEST(a_read_that_waits_watches),
    HARNESS_TEST(a_read_that_waits_in_vain_is_empty),
    HARNESS_TEST(a_read_whose_client_hangs_up_waits_no_more),
    HARNESS_TEST(reads_that_wait_share_one_watch_per_node),
    HARNESS_TEST(an_offset_out_of_range_is_told_the_range),
    HARNESS_TEST(an_offset_that_another_leader_has_is_not_out_of_range),
    HARNESS_TEST(a_read_follows_the_leader),
    HARNESS_TEST(bad_reads_are_refused),
};

HARNESS_MAIN(tests);
