/* A whole worker in its world: what happens around the exactly-once path. */
#include "services/transform/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/check_transform_request.h"
#include "schemas/gen/check_transform_response.h"
#include "schemas/gen/produce_request.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/transform/world.h"

enum { SECOND = 1000 * 1000 };

static struct world *new_world(const char *sql)
{
    struct world *world = malloc(sizeof(*world));

    CU_ASSERT_PTR_NOT_NULL_FATAL(world);
    world_init(world, 7, sql);
    return world;
}

static void end_world(struct world *world)
{
    world_fini(world);
    free(world);
}

static struct world_worker *start(struct world *world)
{
    struct world_worker *worker = world_start_worker(world);

    world_assign(world, 0, worker);
    world_assign(world, 1, worker);
    return worker;
}

static void produce(struct world *world, const char *key, struct ria_slice value)
{
    struct batch_builder builder;

    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    ria_err err = batch_builder_add(&builder, 5, ria_slice_cstr(key), value, NULL, 0);
    CU_ASSERT_EQUAL(err, RIA_OK);
    world_produce(world, 0, &builder);
    batch_builder_fini(&builder);
}

static bool is_running(struct world *world)
{
    return transform_running_count(world->workers[0]->transform) == 2;
}

static int64_t record_count(const struct world_log *logs, int count)
{
    int64_t records = 0;

    for (int i = 0; i < count; i++) {
        records += logs[i].end_offset;
    }
    return records;
}

/* The only record of a group of logs. */
static bool only_record(const struct world_log *logs, int count, struct batch_record *out)
{
    struct batch_iter iter;
    bool more = false;

    for (int i = 0; i < count; i++) {
        if (logs[i].batch_count == 1) {
            struct ria_slice bytes = ria_slice_of(logs[i].batches[0].data, logs[i].batches[0].size);
            return batch_iter_init(&iter, bytes) == RIA_OK &&
                   batch_iter_next(&iter, out, &more) == RIA_OK && more;
        }
    }
    return false;
}

static bool header_is(const struct batch_record *record, const char *name, const char *value)
{
    struct ria_slice left = record->headers;
    struct batch_record_header header;
    bool more = true;

    while (batch_record_header_next(&left, &header, &more) == RIA_OK && more) {
        if (ria_slice_equal(header.name, ria_slice_cstr(name))) {
            return ria_slice_equal(header.value, ria_slice_cstr(value));
        }
    }
    return false;
}

/* ---- tests ---- */

static void a_record_takes_its_key_time_and_headers_along(void)
{
    struct world *world = new_world("CREATE STREAM derived AS SELECT offset AS o FROM source");
    struct batch_builder builder;
    struct batch_record record = {.offset = 0};
    const struct batch_record_header headers[] = {
        {RIA_SLICE_LITERAL("trace"), RIA_SLICE_LITERAL("abc")},
        {RIA_SLICE_LITERAL("riacho.source"), RIA_SLICE_LITERAL("9:99")},
    };

    (void)start(world);
    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    CU_ASSERT_EQUAL(
        batch_builder_add(
            &builder, 77, RIA_SLICE_LITERAL("\xFFk"), RIA_SLICE_LITERAL("v"), headers, 2
        ),
        RIA_OK
    );
    world_produce(world, 0, &builder);
    batch_builder_fini(&builder);
    CU_ASSERT(world_run_until(world, world_is_done, 30 * SECOND));
    CU_ASSERT(only_record(world->derived, WORLD_DERIVED_PARTITIONS, &record));
    CU_ASSERT(ria_slice_equal(record.value, RIA_SLICE_LITERAL("{\"o\":0}")));
    CU_ASSERT(ria_slice_equal(record.key, RIA_SLICE_LITERAL("\xFFk")));
    CU_ASSERT_EQUAL(record.timestamp_ms, 77);
    CU_ASSERT_EQUAL(record.header_count, 2);
    CU_ASSERT(header_is(&record, "trace", "abc"));
    CU_ASSERT(header_is(&record, "riacho.source", "0:1"));
    end_world(world);
}

static void a_failed_record_goes_to_the_errors_topic(void)
{
    struct world *world = new_world("CREATE STREAM derived AS SELECT value->>'a' AS a FROM source");
    struct batch_record record = {.offset = 0};

    (void)start(world);
    produce(world, "k", RIA_SLICE_LITERAL("{oops"));
    CU_ASSERT(world_run_until(world, world_is_done, 30 * SECOND));
    CU_ASSERT(only_record(world->errors, WORLD_ERRORS_PARTITIONS, &record));
    CU_ASSERT(ria_slice_equal(
        record.value,
        RIA_SLICE_LITERAL("{\"error\":\"malformed JSON\",\"source\":{\"topic\":\"source\","
                          "\"partition\":0,\"offset\":0,\"timestamp\":5},"
                          "\"key\":\"k\",\"value\":\"{oops\"}")
    ));
    CU_ASSERT(ria_slice_equal(record.key, RIA_SLICE_LITERAL("k")));
    CU_ASSERT_STRING_EQUAL(world->tasks[0].last_error, "partition 0, offset 0: malformed JSON");
    CU_ASSERT_EQUAL(world->tasks[0].errors, 1);
    CU_ASSERT_EQUAL(world->tasks[0].records_in, 1);
    CU_ASSERT_EQUAL(world->tasks[0].records_out, 0);
    CU_ASSERT_EQUAL(record_count(world->derived, WORLD_DERIVED_PARTITIONS), 0);
    end_world(world);
}

static void a_result_that_is_too_large_goes_to_the_errors_topic(void)
{
    struct world *world = new_world(
        "CREATE STREAM derived AS SELECT value || hex(zeroblob(1000)) AS value FROM source"
    );
    struct batch_record record = {.offset = 0};

    world->max_message_bytes = 2000;
    (void)start(world);
    produce(world, "k", RIA_SLICE_LITERAL("x"));
    CU_ASSERT(world_run_until(world, world_is_done, 30 * SECOND));
    CU_ASSERT(only_record(world->errors, WORLD_ERRORS_PARTITIONS, &record));
    CU_ASSERT_PTR_NOT_NULL(
        memmem(record.value.data, record.value.size, "larger than max.message.bytes", 29)
    );
    CU_ASSERT_EQUAL(record_count(world->derived, WORLD_DERIVED_PARTITIONS), 0);
    end_world(world);
}

static bool something_is_derived(struct world *world)
{
    return record_count(world->derived, WORLD_DERIVED_PARTITIONS) > 0;
}

static void a_stop_finishes_and_commits_what_was_read(void)
{
    struct world *world = new_world("CREATE STREAM derived AS SELECT value FROM source");
    struct world_worker *worker = start(world);
    bool done = false;

    CU_ASSERT(world_run_until(world, is_running, 10 * SECOND));
    for (int i = 0; i < 50; i++) {
        produce(world, "k", RIA_SLICE_LITERAL("x"));
    }
    CU_ASSERT(world_run_until(world, something_is_derived, 10 * SECOND));
    transform_stop(worker->transform, &done);
    for (int i = 0; i < 1000 && !done; i++) {
        world_run(world, 10 * 1000, 0);
    }
    CU_ASSERT(done);
    CU_ASSERT(world->tasks[0].position > 0);
    CU_ASSERT_EQUAL(
        world->tasks[0].position, record_count(world->derived, WORLD_DERIVED_PARTITIONS)
    );
    /* Nothing more is read. */
    int64_t position = world->tasks[0].position;
    produce(world, "k", RIA_SLICE_LITERAL("x"));
    world_run(world, 5 * SECOND, 0);
    CU_ASSERT_EQUAL(world->tasks[0].position, position);
    end_world(world);
}

static void a_stop_without_work_is_done_at_once(void)
{
    struct world *world = new_world("CREATE STREAM derived AS SELECT value FROM source");
    struct world_worker *worker = start(world);
    bool done = false;

    CU_ASSERT(world_run_until(world, is_running, 10 * SECOND));
    world_run(world, SECOND, 0);
    transform_stop(worker->transform, &done);
    world_run(world, 100 * 1000, 0);
    CU_ASSERT(done);
    end_world(world);
}

static void a_deleted_transform_is_left_alone(void)
{
    struct world *world = new_world("CREATE STREAM derived AS SELECT value FROM source");

    (void)start(world);
    CU_ASSERT(world_run_until(world, is_running, 10 * SECOND));
    world->transform_deleted = true;
    world->version++;
    world_changed(world);
    world_run(world, SECOND, 0);
    CU_ASSERT_EQUAL(transform_running_count(world->workers[0]->transform), 0);
    produce(world, "k", RIA_SLICE_LITERAL("x"));
    world_run(world, 5 * SECOND, 0);
    CU_ASSERT_EQUAL(record_count(world->derived, WORLD_DERIVED_PARTITIONS), 0);
    end_world(world);
}

static void a_statement_that_does_not_compile_is_reported(void)
{
    struct world *world = new_world("CREATE STREAM derived AS SELECT nosuch FROM source");

    (void)start(world);
    produce(world, "k", RIA_SLICE_LITERAL("x"));
    world_run(world, 5 * SECOND, 0);
    CU_ASSERT_STRING_EQUAL(world->tasks[0].last_error, "line 1, column 33: no such column: nosuch");
    CU_ASSERT_EQUAL(world->tasks[0].position, 0);
    end_world(world);
}

static void deleted_source_records_are_passed_over_and_reported(void)
{
    struct world *world = new_world("CREATE STREAM derived AS SELECT offset AS o FROM source");

    for (int i = 0; i < 5; i++) {
        produce(world, "k", RIA_SLICE_LITERAL("x"));
    }
    world->source[0].start_offset = 3;
    (void)start(world);
    CU_ASSERT(world_run_until(world, world_is_done, 30 * SECOND));
    CU_ASSERT_EQUAL(record_count(world->derived, WORLD_DERIVED_PARTITIONS), 2);
    CU_ASSERT_STRING_EQUAL(
        world->tasks[0].last_error, "source records 0 to 2 were deleted before they were processed"
    );
    end_world(world);
}

static void work_goes_on_while_the_coordinator_is_away(void)
{
    struct world *world = new_world("CREATE STREAM derived AS SELECT value FROM source");

    (void)start(world);
    CU_ASSERT(world_run_until(world, is_running, 10 * SECOND));
    world->coordinator_down = true;
    for (int i = 0; i < 20; i++) {
        produce(world, "k", RIA_SLICE_LITERAL("x"));
        world_run(world, SECOND, 0);
    }
    CU_ASSERT_EQUAL(record_count(world->derived, WORLD_DERIVED_PARTITIONS), 20);
    CU_ASSERT_EQUAL(world->tasks[0].position, 0);
    world->coordinator_down = false;
    CU_ASSERT(world_run_until(world, world_is_done, 30 * SECOND));
    end_world(world);
}

static void two_workers_share_the_partitions(void)
{
    struct world *world = new_world("CREATE STREAM derived AS SELECT value FROM source");
    struct world_worker *a = world_start_worker(world);
    struct world_worker *b = world_start_worker(world);

    world_assign(world, 0, a);
    world_assign(world, 1, b);
    world_run(world, SECOND, 0);
    CU_ASSERT_EQUAL(transform_running_count(a->transform), 1);
    CU_ASSERT_EQUAL(transform_running_count(b->transform), 1);
    world_assign(world, 0, b);
    world_run(world, SECOND, 0);
    CU_ASSERT_EQUAL(transform_running_count(a->transform), 0);
    CU_ASSERT_EQUAL(transform_running_count(b->transform), 2);
    end_world(world);
}

static void an_idle_worker_is_quiet(void)
{
    struct world *world = new_world("CREATE STREAM derived AS SELECT value FROM source");

    (void)start(world);
    produce(world, "k", RIA_SLICE_LITERAL("x"));
    CU_ASSERT(world_run_until(world, world_is_done, 30 * SECOND));
    world_run(world, 5 * SECOND, 0);
    uint64_t frames = world->frames;
    world_run(world, 60 * SECOND, 0);
    /* A heartbeat every 50 ms, since nobody holds them back here, and a few parked requests; each
     * is two frames. */
    CU_ASSERT(world->frames - frames < 2 * (1200 + 20));
    end_world(world);
}

/* ---- CheckTransform ---- */

static struct ria_msg *ask_check(struct world_worker *worker, const char *sql)
{
    struct check_transform_request request = {.sql = ria_slice_cstr(sql)};

    return world_ask(worker, envelope_request(API_CHECK_TRANSFORM, 0, -1, 1000, &request, 0, NULL));
}

static ria_err
open_check(struct ria_msg *msg, struct ria_slice *out_body, char *text, size_t text_size)
{
    struct response_header header;
    struct ria_slice payload;

    return envelope_open_reply(
        msg, API_CHECK_TRANSFORM, &header, out_body, &payload, text, text_size
    );
}

static void a_statement_is_checked(void)
{
    struct world *world = new_world("");
    struct world_worker *worker = world_start_worker(world);
    struct check_transform_response response;
    struct ria_slice body;
    struct ria_arena arena;
    char text[1100];

    struct ria_msg *msg =
        ask_check(worker, "CREATE STREAM big AS SELECT key, 1 AS a FROM packages");
    CU_ASSERT_PTR_NOT_NULL_FATAL(msg);
    CU_ASSERT_EQUAL(open_check(msg, &body, text, sizeof(text)), RIA_OK);
    ria_arena_init(&arena, 4096);
    CU_ASSERT_EQUAL(
        envelope_decode_body(schema_response(API_CHECK_TRANSFORM), 0, body, &arena, &response),
        RIA_OK
    );
    CU_ASSERT(ria_slice_equal(response.name, RIA_SLICE_LITERAL("big")));
    CU_ASSERT(ria_slice_equal(response.source_topic, RIA_SLICE_LITERAL("packages")));
    CU_ASSERT_EQUAL(response.columns_count, 2);
    CU_ASSERT(ria_slice_equal(response.columns[1].name, RIA_SLICE_LITERAL("a")));
    ria_arena_fini(&arena);
    ria_msg_free(msg);

    msg = ask_check(worker, "CREATE STREAM big AS SELECT nosuch FROM packages");
    CU_ASSERT_PTR_NOT_NULL_FATAL(msg);
    CU_ASSERT_EQUAL(open_check(msg, &body, text, sizeof(text)), RIA_ERR_SQL);
    CU_ASSERT_STRING_EQUAL(text, "line 1, column 29: no such column: nosuch");
    ria_msg_free(msg);
    end_world(world);
}

static void other_requests_are_refused(void)
{
    struct world *world = new_world("");
    struct world_worker *worker = world_start_worker(world);
    struct produce_request request;
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload;
    char text[1100];

    produce_request_init(&request);
    struct ria_msg *msg =
        world_ask(worker, envelope_request(API_PRODUCE, 0, -1, 1000, &request, 0, NULL));
    CU_ASSERT_PTR_NOT_NULL_FATAL(msg);
    CU_ASSERT_EQUAL(
        envelope_open_reply(msg, API_PRODUCE, &header, &body, &payload, text, sizeof(text)),
        RIA_ERR_UNKNOWN_TYPE
    );
    ria_msg_free(msg);
    struct ria_msg *garbage = ria_msg_new(3);
    memset(ria_msg_data(garbage), 0x7F, 3);
    CU_ASSERT_PTR_NULL(world_ask(worker, garbage));
    end_world(world);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_record_takes_its_key_time_and_headers_along),
    HARNESS_TEST(a_failed_record_goes_to_the_errors_topic),
    HARNESS_TEST(a_result_that_is_too_large_goes_to_the_errors_topic),
    HARNESS_TEST(a_stop_finishes_and_commits_what_was_read),
    HARNESS_TEST(a_stop_without_work_is_done_at_once),
    HARNESS_TEST(a_deleted_transform_is_left_alone),
    HARNESS_TEST(a_statement_that_does_not_compile_is_reported),
    HARNESS_TEST(deleted_source_records_are_passed_over_and_reported),
    HARNESS_TEST(work_goes_on_while_the_coordinator_is_away),
    HARNESS_TEST(two_workers_share_the_partitions),
    HARNESS_TEST(an_idle_worker_is_quiet),
    HARNESS_TEST(a_statement_is_checked),
    HARNESS_TEST(other_requests_are_refused),
};
HARNESS_MAIN(tests);
