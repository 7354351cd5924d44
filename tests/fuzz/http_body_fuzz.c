/* http_body_fuzz: the first byte picks what a request is made of the rest for: a body of one of the
 * formats, a path, a query, or headers. The handlers run as in the gateway; storage acknowledges.
 *
 * Every request must get exactly one answer, and everything that was charged is given back. What is
 * stored must be batches that storage takes. */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/batch.h"

#include "services/gateway/consumer_call.h"
#include "services/gateway/service.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/group_world.h"
#include "tests/unit/services/gateway/world.h"

enum { BODY_MAX = 1024 * 1024, TIMEOUT_MS = 1000 };

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

/* Storage checks a batch before it acknowledges it; the rest it refuses. The coordinator does what
 * it is asked of groups, and has nothing to give. */
static void answer(struct world *world, struct world_call *call)
{
    struct group_world_request asked;
    struct produce_request request;
    struct batch_header header;
    struct ria_slice payload;
    struct ria_arena arena;
    const char *reason = NULL;

    if (call->api_key == API_GROUP && group_world_open(world, &asked)) {
        if (asked.count == 1 && asked.kinds[0] == GROUP_OP_MEMBER) {
            answer_member(world, &asked);
        } else {
            group_world_answer(world, &asked);
        }
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

    fake->request.received_us = world->now_us;
    gateway_begin(gateway, &fake->request, &body_max);
    if (fake->answers == 0) {
        gateway_handle(gateway, &fake->request);
    }
    for (int i = 0; i < 100 && fake->answers == 0; i++) {
        struct world_call *call;
        world_advance(world, 1000 * 1000);
        while ((call = world_next_call(world, -1)) != NULL) {
            answer(world, call);
            world_run(world);
        }
    }
    RIA_ASSERT(fake->answers == 1);
    RIA_ASSERT(fake->status >= 200 && fake->status < 600);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = BODY_MAX,
        .request_timeout_ms = TIMEOUT_MS,
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
