/* http_body_fuzz: the first byte picks what a request is made of the rest for: a body of one of the
 * formats, a path, a query (with filters), or headers. The handlers run as in the gateway; storage
 * acknowledges, and has a few records.
 *
 * Every request must get exactly one answer, which ends (a stream by its max_ms), and everything
 * that was charged is given back. What is
 * stored must be batches that storage takes. */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/batch.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/group_read.h"
#include "schemas/gen/group_read_result.h"
#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/consumer_call.h"
#include "services/gateway/service.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/group_world.h"
#include "tests/unit/services/gateway/world.h"

enum {
    BODY_MAX = 1024 * 1024,
    TIMEOUT_MS = 1000,
    TURNS_QUICK = 40, /* in which everything is answered in time */
    TURNS_MAX = 140,  /* and who waits has waited long enough */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef enum part { PART_BODY, PART_PATH, PART_QUERY, PART_HEADER } part;

/* How the rest of the input is used. */
static const struct shape {
    part part;
    const char *method;
    const char *path;
    const char *header; /* name; of PART_BODY its value is type */
    const char *type;
} shapes[] = {
    {PART_BODY, "POST", "/topics/t", "Content-Type", "application/vnd.kafka.json.v2+json"},
    {PART_BODY, "POST", "/topics/t", "Content-Type", "application/vnd.kafka.binary.v2+json"},
    {PART_BODY, "POST", "/topics/t/partitions/0", "Content-Type", "application/vnd.kafka.v2+json"},
    {PART_BODY, "POST", "/v1/topics/t/records", "Content-Type", "application/x-ndjson"},
    {PART_BODY, "POST", "/v1/topics/t/records?key=k", "Content-Type", "application/x-ndjson"},
    {PART_BODY, "POST", "/v1/topics/t/records", "Content-Type", "text/plain"},
    {PART_BODY, "POST", "/v1/topics", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/v1/transforms", "Content-Type", "application/json"},
    {PART_PATH, "GET", "", NULL, NULL},
    {PART_PATH, "POST", "", NULL, NULL},
    {PART_QUERY, "GET", "/v1/topics/t/partitions/0/records?", NULL, NULL},
    {PART_QUERY, "POST", "/v1/topics/t/records?", "Content-Type", "application/x-ndjson"},
    {PART_HEADER, "GET", "/topics", "Accept", NULL},
    {PART_HEADER, "GET", "/v1/topics/t/partitions/0/records?offset=0", "Accept", NULL},
    {PART_HEADER, "POST", "/topics/t", "Content-Type", NULL},
    {PART_HEADER, "POST", "/v1/topics/t/records", "Riacho-Key-Base64", NULL},
    {PART_HEADER, "POST", "/v1/topics/t/records", "Riacho-Timestamp", NULL},
    {PART_QUERY, "GET", "/v1/groups/g/records?topics=t&", NULL, NULL},
    {PART_BODY, "POST", "/v1/groups/g/records", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/v1/groups/g/commit", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/v1/groups/g/reset", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/consumers/g", "Content-Type", "application/json"},
    {PART_BODY,
     "POST",
     "/consumers/g/instances/i/subscription",
     "Content-Type",
     "application/json"},
    {PART_BODY, "POST", "/consumers/g/instances/i/assignments", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/consumers/g/instances/i/positions", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/consumers/g/instances/i/offsets", "Content-Type", "application/json"},
    {PART_QUERY, "GET", "/consumers/g/instances/i/records?", NULL, NULL},
    {PART_QUERY, "GET", "/consumers/g/instances/i/offsets?", NULL, NULL},
    {PART_HEADER, "POST", "/consumers/g", "X-Forwarded-Host", NULL},
    {PART_QUERY, "GET", "/v1/topics/t/stream?max_ms=1000&", NULL, NULL},
    {PART_QUERY, "GET", "/v1/topics/t/stream?max_ms=1000&from=earliest&filter=", NULL, NULL},
    {PART_QUERY, "GET", "/v1/topics/t/stream?max_ms=1000&from=earliest&filter=%24.", NULL, NULL},
    {PART_HEADER, "GET", "/v1/topics/t/stream?max_ms=1000", "Last-Event-ID", NULL},
    {PART_QUERY, "GET", "/v1/groups/g/stream?topics=t&max_ms=1000&", NULL, NULL},
    {PART_QUERY, "GET", "/v1/groups/g/stream?topics=t&max_ms=1000&filter=", NULL, NULL},
    {PART_HEADER, "GET", "/v1/groups/g/stream?topics=t&max_ms=1000", "Last-Event-ID", NULL},
    {PART_QUERY, "GET", "/v1/groups?", NULL, NULL},
    {PART_BODY, "POST", "/v1/groups/g/extend", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/v1/groups/g/release", "Content-Type", "application/json"},
    {PART_BODY, "PUT", "/v1/queues/t/g", "Content-Type", "application/json"},
    {PART_QUERY, "POST", "/v1/queues/t/g/receive?", NULL, NULL},
    {PART_BODY, "POST", "/v1/queues/t/g/receive", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/v1/queues/t/g/ack", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/v1/queues/t/g/nack", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/v1/queues/t/g/extend", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/v1/queues/t/g/reject", "Content-Type", "application/json"},
    {PART_BODY, "POST", "/v1/queues/t/g/redrive", "Content-Type", "application/json"},
    {PART_BODY,
     "POST",
     "/consumers/g/instances/i/positions/beginning",
     "Content-Type",
     "application/json"},
    {PART_BODY,
     "POST",
     "/consumers/g/instances/i/offsets:list",
     "Content-Type",
     "application/json"},
    {PART_BODY, "GET", "/consumers/g/instances/i/offsets", "Content-Type", "application/json"},
    {PART_HEADER, "POST", "/v1/topics/t/records", "Riacho-Deliver-At", NULL},
    {PART_PATH, "DELETE", "", NULL, NULL},
    {PART_PATH, "PUT", "", NULL, NULL},
};

/* What is in each partition, for streams and their filters to look at. */
static const char *const stored[] = {
    "{\"a\":1,\"b\":[true,{\"c\":\"x\"}],\"d\":-1.5e3}",
    "no JSON",
    "{\"a\":123456789012345678901234567890.5,\"b\":null}",
};

/* A member is one of Confluent's instances, with partition 0 of the topic unless it has chosen. */
static void answer_member(struct world *world, struct group_world_request *asked)
{
    const struct group_member *body = asked->bodies[0];
    struct consumer_instance instance;
    struct group_member_result result;
    struct group_member_result_group_assigned assigned = {world->topics[0].id, 0};
    uint8_t detail[CONSUMER_DETAIL_MAX];

    consumer_instance_init(&instance);
    instance.request_timeout_ms = 100;
    group_member_result_init(&result);
    ria_err err = consumer_detail_encode(&instance, detail, &result.detail);
    RIA_ASSERT(err == RIA_OK);
    if (body->detail.data != NULL) {
        result.detail = body->detail;
    }
    result.subscription = body->subscription;
    result.subscription_count = body->subscription_count;
    result.assignment = &assigned;
    result.assignment_count = 1;
    asked->results[0] = &result;
    group_world_answer(world, asked);
}

/* Each Read is given what the one before has committed; the first one the beginning. */
static void answer_read(struct world *world, struct group_world_request *asked, int64_t *leases)
{
    const struct group_read *body = asked->bodies[0];
    struct group_read_result result;
    struct group_read_result_group_grant grant = {
        .topic_id = world->topics[0].id, .lease_id = 11, .left_ms = 30000};

    group_read_result_init(&result);
    if (*leases == 0 && body->partitions_max > 0) {
        ++*leases;
        result.granted = &grant;
        result.granted_count = 1;
    }
    asked->results[0] = &result;
    group_world_answer(world, asked);
}

static void answer_group(struct world *world, struct group_world_request *asked, int64_t *leases)
{
    if (asked->count == 1 && asked->kinds[0] == GROUP_OP_MEMBER) {
        answer_member(world, asked);
    } else if (asked->count == 1 && asked->kinds[0] == GROUP_OP_READ) {
        answer_read(world, asked, leases);
    } else {
        group_world_answer(world, asked);
    }
}

static void open_call(const struct world_call *call, void *out)
{
    struct ria_slice payload;
    struct ria_arena arena;

    ria_arena_init(&arena, 65536);
    world_open(call, &arena, out, &payload);
    ria_arena_fini(&arena);
}

static void answer_fetch(struct world *world, struct world_call *call)
{
    struct batch_builder builder;
    struct fetch_request request;
    struct fetch_response response;

    open_call(call, &request);
    if (request.offset < 0 || request.offset > (int64_t)RIA_COUNT(stored)) {
        world_refuse(world, call, RIA_ERR_OFFSET_OUT_OF_RANGE, "");
        return;
    }
    fetch_response_init(&response);
    response.high_watermark = RIA_COUNT(stored);
    if (request.offset == (int64_t)RIA_COUNT(stored)) {
        world_reply(world, call, &response, RIA_SLICE_EMPTY);
        return;
    }
    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (size_t i = 0; i < RIA_COUNT(stored); i++) {
        ria_err err = batch_builder_add(
            &builder, 1, RIA_SLICE_LITERAL("k"), ria_slice_cstr(stored[i]), NULL, 0
        );
        RIA_ASSERT(err == RIA_OK);
    }
    struct ria_slice bytes = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(builder.buf.data, 0, 1);
    world_reply(world, call, &response, bytes);
    batch_builder_fini(&builder);
}

static void answer_offsets(struct world *world, struct world_call *call)
{
    struct list_offsets_response response;

    list_offsets_response_init(&response);
    response.log_start_offset = 0;
    response.high_watermark = RIA_COUNT(stored);
    response.offset = -1;
    world_reply(world, call, &response, RIA_SLICE_NULL);
}

/* Storage checks a batch before it acknowledges it, and has a few records; the rest it refuses. The
 * coordinator does what it is asked of groups, and has one partition to give. */
static void answer(struct world *world, struct world_call *call, int64_t *leases)
{
    struct group_world_request asked;
    struct produce_request request;
    struct batch_header header;
    struct ria_slice payload;
    struct ria_arena arena;
    const char *reason = NULL;

    if (call->api_key == API_GROUP && group_world_open(world, &asked)) {
        answer_group(world, &asked, leases);
        return;
    }
    if (call->api_key == API_FETCH) {
        answer_fetch(world, call);
        return;
    }
    if (call->api_key == API_LIST_OFFSETS) {
        answer_offsets(world, call);
        return;
    }
    if (call->api_key != API_PRODUCE) {
        world_refuse(world, call, RIA_ERR_OFFSET_OUT_OF_RANGE, "");
        return;
    }
    ria_arena_init(&arena, 65536);
    world_open(call, &arena, &request, &payload);
    ria_arena_fini(&arena);
    ria_err err = batch_validate(payload, RIA_BATCH_SIZE_MAX, &header, &reason);
    RIA_ASSERT(err == RIA_OK);
    world_ack(world, call, 0);
}

/* The input as a string without NUL. */
static char *text_of(const char *prefix, const uint8_t *data, size_t size)
{
    size_t prefix_size = strlen(prefix);
    char *text = malloc(prefix_size + size + 1);

    RIA_ASSERT(text != NULL);
    memcpy(text, prefix, prefix_size);
    memcpy(text + prefix_size, data, size);
    for (size_t i = 0; i < size; i++) {
        if (text[prefix_size + i] == '\0') {
            text[prefix_size + i] = '0';
        }
    }
    text[prefix_size + size] = '\0';
    return text;
}

static void make_request(
    struct fake_request *fake, const struct shape *shape, const char *path, const char *text
)
{
    fake_request_init(fake, shape->method, path, NULL);
    if (shape->header != NULL) {
        fake_request_header(fake, shape->header, shape->part == PART_HEADER ? text : shape->type);
    }
}

static void run_request(struct gateway *gateway, struct world *world, struct fake_request *fake)
{
    size_t body_max = 0;
    int64_t leases = 0;

    fake->request.received_us = world->now_us;
    gateway_begin(gateway, &fake->request, &body_max);
    if (fake->answers == 0) {
        gateway_handle(gateway, &fake->request);
    }
    for (int i = 0; i < TURNS_MAX && fake->ends == 0; i++) {
        struct world_call *call;
        world_advance(world, i < TURNS_QUICK ? 50 * 1000 : 1000 * 1000);
        while ((call = world_next_call(world, -1)) != NULL) {
            answer(world, call, &leases);
            world_run(world);
        }
        fake_request_take(fake, 0, 0);
    }
    RIA_ASSERT(fake->answers == 1);
    RIA_ASSERT(fake->ends == 1);
    RIA_ASSERT(fake->status >= 200 && fake->status < 600);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = BODY_MAX,
        .request_timeout_ms = TIMEOUT_MS,
        .streams_max = 1,
    };
    struct gateway *gateway = NULL;
    struct fake_request fake;
    struct world world;

    if (size < 1 || size > BODY_MAX) {
        return 0;
    }
    const struct shape *shape = &shapes[data[0] % RIA_COUNT(shapes)];
    bool in_path = shape->part == PART_PATH || shape->part == PART_QUERY;
    char *text = text_of(in_path ? shape->path : "", data + 1, size - 1);
    world_init(&world, 1);
    (void)world_add_topic(&world, "t", 2);
    ria_err err = gateway_new(&world.env, &options, &world.budget, NULL, &gateway);
    RIA_ASSERT(err == RIA_OK);
    gateway_start(gateway);
    world_run(&world);

    make_request(&fake, shape, in_path ? text : shape->path, text);
    if (shape->part == PART_BODY) {
        fake.request.body = ria_slice_of(data + 1, size - 1);
    }
    run_request(gateway, &world, &fake);

    fake_request_fini(&fake);
    gateway_free(gateway);
    world_fini(&world);
    RIA_ASSERT(world.budget.used.value == 0);
    free(text);
    return 0;
}
