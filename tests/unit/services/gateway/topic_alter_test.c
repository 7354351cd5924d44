/* PATCH /v1/topics/{topic}. */
#include <stdio.h>
#include <string.h>

#include "schemas/gen/alter_topic_request.h"
#include "schemas/gen/alter_topic_response.h"

#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/world.h"

struct setup {
    struct world world;
    struct gateway *gateway;
    struct fake_request fake;
    struct world_topic *topic;
    struct ria_arena arena; /* of the last request that was looked into */
};

static void setup(struct setup *s)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = 4096,
        .request_timeout_ms = 30000,
    };

    world_init(&s->world, 3);
    ria_arena_init(&s->arena, 1024 * 1024);
    s->topic = world_add_topic(&s->world, "t", 2);
    s->topic->config_epoch = 4;
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
    ria_arena_fini(&s->arena);
}

static void patch(struct setup *s, const char *path, const char *body)
{
    size_t body_max = 0;

    fake_request_init(&s->fake, "PATCH", path, body);
    fake_request_header(&s->fake, "Content-Type", "application/json");
    s->fake.request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &s->fake.request, &body_max);
    if (s->fake.answers == 0) {
        gateway_handle(s->gateway, &s->fake.request);
    }
    world_run(&s->world);
}

/* Ends the request. */
static bool answered(struct setup *s, int status, const char *part)
{
    bool same = s->fake.answers == 1 && s->fake.status == status && fake_answer_has(&s->fake, part);

    if (!same) {
        (void)printf("[%d %s]", s->fake.status, s->fake.body == NULL ? "" : s->fake.body);
    }
    fake_request_fini(&s->fake);
    return same;
}

static bool is_refused(struct setup *s, const char *path, const char *body, const char *part)
{
    patch(s, path, body);
    return answered(s, 400, part) && world_call_count(&s->world) == 0;
}

static struct world_call *open_call(struct setup *s, struct alter_topic_request *out)
{
    struct ria_slice payload;
    struct world_call *call = world_next_call(&s->world, API_ALTER_TOPIC);

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    ria_arena_reset(&s->arena);
    world_open(call, &s->arena, out, &payload);
    return call;
}

static void reply(struct setup *s, struct world_call *call, int32_t config_epoch, bool stale)
{
    const struct alter_topic_response response = {
        .version = s->world.version, .config_epoch = config_epoch, .stale = stale};

    world_reply(&s->world, call, &response, RIA_SLICE_NULL);
    world_run(&s->world);
}

static void settings_go_to_the_coordinator_as_text(void)
{
    struct setup s = {0};
    struct alter_topic_request asked;

    setup(&s);
    patch(
        &s,
        "/v1/topics/t",
        "{\"config\":{\"min.insync.replicas\":2,\"durability\":null},\"partitions\":5}"
    );
    struct world_call *call = open_call(&s, &asked);
    CU_ASSERT_TRUE(ria_uuid_equal(asked.topic_id, s.topic->id));
    CU_ASSERT_EQUAL(asked.config_epoch, 4); /* a late copy changes nothing */
    CU_ASSERT_EQUAL(asked.partition_count, 5);
    CU_ASSERT_FALSE(asked.validate_only);
    CU_ASSERT_EQUAL_FATAL(asked.configs_count, 2);
    CU_ASSERT_TRUE(ria_slice_equal(asked.configs[0].name, RIA_SLICE_LITERAL("min.insync.replicas"))
    );
    CU_ASSERT_TRUE(ria_slice_equal(asked.configs[0].value, RIA_SLICE_LITERAL("2")));
    CU_ASSERT_TRUE(ria_slice_is_null(asked.configs[1].value));
    reply(&s, call, 5, false);
    CU_ASSERT_TRUE(answered(&s, 200, "\"partition_count\":2"));
    teardown(&s);
}

static void whoever_comes_second_asks_again(void)
{
    struct setup s = {0};
    struct alter_topic_request asked;

    setup(&s);
    patch(&s, "/v1/topics/t", "{\"configs\":{\"delivery\":\"queue\"}}");
    reply(&s, open_call(&s, &asked), 9, true);
    struct world_call *call = open_call(&s, &asked);
    CU_ASSERT_EQUAL(asked.config_epoch, 9);
    CU_ASSERT_EQUAL(asked.configs_count, 1);
    reply(&s, call, 10, false);
    CU_ASSERT_TRUE(answered(&s, 200, "\"config\""));
    teardown(&s);
}

static void a_dry_run_shows_what_would_be(void)
{
    struct setup s = {0};
    struct alter_topic_request asked;

    setup(&s);
    patch(
        &s, "/v1/topics/t?dry_run=true", "{\"config\":{\"delivery\":\"queue\"},\"partitions\":3}"
    );
    struct world_call *call = open_call(&s, &asked);
    CU_ASSERT_TRUE(asked.validate_only);
    reply(&s, call, 4, false);
    CU_ASSERT_TRUE(fake_answer_has(&s.fake, "\"delivery\":\"queue\""));
    CU_ASSERT_TRUE(fake_answer_has(&s.fake, "\"partition\":2,\"leader\":null"));
    CU_ASSERT_TRUE(answered(&s, 200, "\"partition_count\":3"));
    patch(&s, "/v1/topics/t?dry_run=false", "{\"partitions\":3}");
    call = open_call(&s, &asked);
    CU_ASSERT_FALSE(asked.validate_only);
    reply(&s, call, 4, false);
    CU_ASSERT_TRUE(answered(&s, 200, "\"delivery\":\"stream\""));
    teardown(&s);
}

static void bad_bodies_are_refused_with_the_field(void)
{
    struct setup s = {0};

    setup(&s);
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics/t", "{\"config\":{\"nonsense\":1}}", "nonsense"));
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics/t", "{\"config\":{\"nonsense\":null}}", "nonsense"));
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics/t", "{\"config\":[]}", "\"config\""));
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics/t", "{\"config\":{\"durability\":{}}}", "durability")
    );
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics/t", "{\"config\":{},\"configs\":{}}", "configs"));
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics/t", "{\"partitions\":0}", "\"partitions\""));
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics/t", "{\"replicas\":2}", "replicas"));
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics/t?dry_run=yes", "{}", "dry_run"));
    CU_ASSERT_TRUE(is_refused(&s, "/v1/topics/t?dryrun=true", "{}", "dryrun"));
    patch(&s, "/v1/topics/none", "{}");
    CU_ASSERT_TRUE(answered(&s, 404, "none"));
    teardown(&s);
}

static void the_coordinators_refusals_name_the_field(void)
{
    struct setup s = {0};
    struct alter_topic_request asked;

    setup(&s);
    patch(&s, "/v1/topics/t", "{\"config\":{\"min.insync.replicas\":16}}");
    world_refuse(
        &s.world, open_call(&s, &asked), RIA_ERR_INVALID, "min.insync.replicas must be at most ..."
    );
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 400, "\"field\":\"config\""));
    patch(&s, "/v1/topics/t", "{\"partitions\":1}");
    world_refuse(
        &s.world, open_call(&s, &asked), RIA_ERR_INVALID, "partitionCount is 1, must be 2..10000"
    );
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 400, "\"field\":\"partitions\""));
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(settings_go_to_the_coordinator_as_text),
    HARNESS_TEST(whoever_comes_second_asks_again),
    HARNESS_TEST(a_dry_run_shows_what_would_be),
    HARNESS_TEST(bad_bodies_are_refused_with_the_field),
    HARNESS_TEST(the_coordinators_refusals_name_the_field),
};
HARNESS_MAIN(tests);
