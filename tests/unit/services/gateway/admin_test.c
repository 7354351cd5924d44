/* Nodes, moves, rebalancing and leaders as an operator's client sees them. */
#include <stdio.h>
#include <string.h>

#include "schemas/gen/alter_node_request.h"
#include "schemas/gen/alter_node_response.h"
#include "schemas/gen/alter_rebalance_request.h"
#include "schemas/gen/alter_rebalance_response.h"
#include "schemas/gen/describe_logs_request.h"
#include "schemas/gen/describe_logs_response.h"
#include "schemas/gen/elect_leader_request.h"
#include "schemas/gen/elect_leader_response.h"
#include "schemas/gen/plan_rebalance_request.h"
#include "schemas/gen/plan_rebalance_response.h"
#include "schemas/gen/reassign_partitions_request.h"
#include "schemas/gen/reassign_partitions_response.h"

#include "services/gateway/service.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/world.h"

#define JSON "application/json"

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

static void request(struct setup *s, const char *method, const char *path, const char *body)
{
    size_t body_max = 0;

    fake_request_init(&s->fake, method, path, body);
    if (body != NULL) {
        fake_request_header(&s->fake, "Content-Type", JSON);
    }
    s->fake.request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &s->fake.request, &body_max);
    if (s->fake.answers == 0) {
        gateway_handle(s->gateway, &s->fake.request);
    }
    world_run(&s->world);
}

/* part: of the answer. Ends the request. */
static bool answered(struct setup *s, int status, const char *part)
{
    bool same = s->fake.answers == 1 && s->fake.status == status && fake_answer_has(&s->fake, part);

    if (!same) {
        (void)printf("[%d %s]", s->fake.status, s->fake.body == NULL ? "" : s->fake.body);
    }
    fake_request_fini(&s->fake);
    return same;
}

static bool has(struct setup *s, const char *part)
{
    bool found = s->fake.answers == 1 && fake_answer_has(&s->fake, part);

    if (!found) {
        (void)printf("[no %s in %s]", part, s->fake.body == NULL ? "" : s->fake.body);
    }
    return found;
}

static bool
is_refused(struct setup *s, const char *method, const char *path, const char *body, int status)
{
    request(s, method, path, body);
    return answered(s, status, "\"error\"") && world_call_count(&s->world) == 0;
}

/* The call of this api, its body in out. */
static struct world_call *open_call(struct setup *s, int16_t api_key, void *out)
{
    struct ria_slice payload;
    struct world_call *call = world_next_call(&s->world, api_key);

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    ria_arena_reset(&s->arena);
    world_open(call, &s->arena, out, &payload);
    return call;
}

static void reply(struct setup *s, struct world_call *call, const void *response)
{
    world_reply(&s->world, call, response, RIA_SLICE_NULL);
    world_run(&s->world);
}

/* The oldest DescribeLogs: one replica of t-0 with that end and high watermark, 100 bytes a record.
 */
static void reply_logs(struct setup *s, int64_t end_offset, int64_t high_watermark)
{
    struct describe_logs_request asked;
    struct world_call *call = open_call(s, API_DESCRIBE_LOGS, &asked);
    struct describe_logs_response_described_log log = {
        .topic_id = s->topic->id,
        .end_offset = end_offset,
        .high_watermark = high_watermark,
        .bytes = end_offset * 100,
    };
    struct describe_logs_response_orphaned_log orphan = {
        .folder = RIA_SLICE_LITERAL("old-folder"),
        .bytes = 7,
    };
    struct describe_logs_response_data_dir dir = {
        .path = RIA_SLICE_LITERAL("/data"),
        .free_bytes = 5000,
        .total_bytes = -1,
    };
    struct describe_logs_response response = {
        .replicas = &log,
        .replicas_count = 1,
        .orphans = &orphan,
        .orphans_count = asked.with_orphans ? 1 : 0,
        .data_dirs = &dir,
        .data_dirs_count = 1,
    };
    reply(s, call, &response);
}

/* ---- nodes ---- */

static void the_cluster_is_shown_with_the_state_of_its_nodes(void)
{
    struct setup s;

    setup(&s);
    request(&s, "GET", "/v1/cluster", NULL);
    CU_ASSERT_TRUE(has(&s, "\"role\":\"storage\",\"node_id\":1,\"alive\":true"));
    CU_ASSERT_TRUE(has(&s, "\"rack\":\"\",\"state\":\"active\",\"draining\":false}"));
    /* a transform has no state */
    CU_ASSERT_TRUE(answered(&s, 200, "\"address\":\"tcp://t1\",\"rack\":\"\"}"));
    teardown(&s);
}

static void nodes_are_listed_with_what_they_hold(void)
{
    struct setup s;

    setup(&s);
    request(&s, "GET", "/v1/nodes", NULL);
    CU_ASSERT_EQUAL(world_call_count(&s.world), 3);
    for (int i = 0; i < 3; i++) {
        reply_logs(&s, 10, 10);
    }
    CU_ASSERT_TRUE(
        has(&s, "\"node_id\":1,\"address\":\"tcp://s1\",\"rack\":\"\",\"state\":\"active\"")
    );
    CU_ASSERT_TRUE(has(&s, "\"draining\":false,\"replicas\":2,\"leaders\":1,\"arriving\":0"));
    CU_ASSERT_TRUE(
        has(&s,
            "\"bytes\":1000,\"data_dirs\":[{\"path\":\"/data\",\"failed\":false,"
            "\"free_bytes\":5000,\"total_bytes\":null}]")
    );
    CU_ASSERT_TRUE(answered(&s, 200, "\"orphans\":[{\"folder\":\"old-folder\",\"bytes\":7}]"));
    teardown(&s);
}

static void a_silent_node_is_listed_without_sizes(void)
{
    struct setup s;

    setup(&s);
    request(&s, "GET", "/v1/nodes", NULL);
    reply_logs(&s, 10, 10);
    world_lose(&s.world, world_next_call(&s.world, API_DESCRIBE_LOGS), RIA_ERR_TIMEOUT);
    world_refuse(
        &s.world, world_next_call(&s.world, API_DESCRIBE_LOGS), RIA_ERR_SHUTDOWN, "stopping"
    );
    world_run(&s.world);
    CU_ASSERT_TRUE(has(&s, "\"bytes\":1000"));
    CU_ASSERT_TRUE(answered(&s, 200, "\"bytes\":null,\"data_dirs\":[],\"orphans\":[]"));
    teardown(&s);
}

static void draining_keeping_and_removing_are_the_coordinators(void)
{
    static const struct {
        const char *method;
        const char *path;
    } rows[] = {
        {"POST", "/v1/nodes/2/drain"}, {"DELETE", "/v1/nodes/2/drain"}, {"DELETE", "/v1/nodes/2"}};
    struct setup s;
    struct alter_node_request asked;
    struct alter_node_response response = {.replicas = 17};

    setup(&s);
    for (size_t i = 0; i < RIA_COUNT(rows); i++) {
        request(&s, rows[i].method, rows[i].path, NULL);
        struct world_call *call = open_call(&s, API_ALTER_NODE, &asked);
        CU_ASSERT_EQUAL(asked.node_id, 2);
        CU_ASSERT_EQUAL(asked.action, (int8_t)i + 1);
        reply(&s, call, &response);
        CU_ASSERT_TRUE(answered(&s, 200, "{\"node_id\":2,\"replicas\":17}"));
    }
    request(&s, "DELETE", "/v1/nodes/2", NULL);
    world_refuse(
        &s.world,
        world_next_call(&s.world, API_ALTER_NODE),
        RIA_ERR_CONFLICT,
        "node 2 still has 17 replicas"
    );
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 409, "node 2 still has 17 replicas"));
    teardown(&s);
}

static void nodes_that_are_none_are_refused(void)
{
    struct setup s;

    setup(&s);
    CU_ASSERT_TRUE(is_refused(&s, "POST", "/v1/nodes/9/drain", NULL, 404));
    CU_ASSERT_TRUE(is_refused(&s, "POST", "/v1/nodes/0/drain", NULL, 400));
    CU_ASSERT_TRUE(is_refused(&s, "POST", "/v1/nodes/abc/drain", NULL, 400));
    CU_ASSERT_TRUE(is_refused(&s, "DELETE", "/v1/nodes/4294967298", NULL, 400));
    CU_ASSERT_TRUE(is_refused(&s, "GET", "/v1/nodes/2", NULL, 405));
    teardown(&s);
}

/* ---- moves ---- */

static void moves_show_how_far_they_are(void)
{
    struct setup s;

    setup(&s);
    request(&s, "GET", "/v1/moves", NULL);
    CU_ASSERT_TRUE(answered(&s, 200, "{\"moves\":[\n]}")); /* nobody is asked */
    s.topic->moving_to[0] = 3;
    world_publish(&s.world);
    world_run(&s.world);
    request(&s, "GET", "/v1/moves", NULL);
    reply_logs(&s, 1000, 900);
    reply_logs(&s, 1000, 900);
    reply_logs(&s, 250, 250);
    CU_ASSERT_TRUE(has(&s, "{\"topic\":\"t\",\"partition\":0,\"replicas\":[1,2,3],\"target\":[3,1]")
    );
    CU_ASSERT_TRUE(answered(
        &s,
        200,
        "\"isr\":[1,2],\"leader\":1,\"bytes\":100000,\"arriving\":[{\"node_id\":3,\"bytes\":25000,"
        "\"missing_records\":750}]}"
    ));
    request(&s, "GET", "/v1/nodes", NULL);
    for (int i = 0; i < 3; i++) {
        reply_logs(&s, 10, 10);
    }
    CU_ASSERT_TRUE(has(&s, "\"leaders\":1,\"arriving\":0,\"leaving\":1"));           /* 2 */
    CU_ASSERT_TRUE(answered(&s, 200, "\"leaders\":0,\"arriving\":1,\"leaving\":0")); /* 3 */
    teardown(&s);
}

static void moves_by_hand_are_the_coordinators(void)
{
    struct setup s;
    struct reassign_partitions_request asked;
    struct reassign_partitions_response response = {.version = 1};

    setup(&s);
    request(
        &s,
        "POST",
        "/v1/moves",
        "{\"moves\":[{\"topic\":\"t\",\"partition\":1,\"target\":[3,2]},"
        "{\"topic\":\"t\",\"partition\":0,\"target\":[]}]}"
    );
    struct world_call *call = open_call(&s, API_REASSIGN_PARTITIONS, &asked);
    CU_ASSERT_EQUAL_FATAL(asked.partitions_count, 2);
    CU_ASSERT_TRUE(ria_uuid_equal(asked.partitions[0].topic_id, s.topic->id));
    CU_ASSERT_EQUAL(asked.partitions[0].partition, 1);
    CU_ASSERT_EQUAL(asked.partitions[0].partition_epoch, -1);
    CU_ASSERT_EQUAL_FATAL(asked.partitions[0].target_count, 2);
    CU_ASSERT_EQUAL(asked.partitions[0].target[0], 3);
    CU_ASSERT_EQUAL(asked.partitions[0].target[1], 2);
    CU_ASSERT_EQUAL(asked.partitions[1].target_count, 0);
    reply(&s, call, &response);
    CU_ASSERT_TRUE(answered(&s, 204, ""));
    teardown(&s);
}

static void bad_moves_are_refused_by_field(void)
{
    static const struct {
        const char *body;
        int status;
        const char *part;
    } rows[] = {
        {"", 422, "empty"},
        {"{}", 400, "moves"},
        {"{\"moves\":[]}", 400, "1 to 1000"},
        {"{\"moves\":[1]}", 400, "objects"},
        {"{\"moves\":[{\"topic\":\"t\",\"partition\":0,\"target\":[1]}],\"x\":1}", 400, "x"},
        {"{\"moves\":[{\"topic\":\"t\",\"partition\":0,\"goal\":[1]}]}", 400, "goal"},
        {"{\"moves\":[{\"topic\":\"u\",\"partition\":0,\"target\":[1]}]}", 404, "unknown_topic"},
        {"{\"moves\":[{\"topic\":\"t\",\"partition\":2,\"target\":[1]}]}", 404, "unknown_part"},
        {"{\"moves\":[{\"topic\":\"t\",\"target\":[1]}]}", 404, "unknown_partition"},
        {"{\"moves\":[{\"topic\":\"t\",\"partition\":0}]}", 400, "target"},
        {"{\"moves\":[{\"topic\":\"t\",\"partition\":0,\"target\":[0]}]}", 400, "from 1 to"},
        {"{\"moves\":[{\"topic\":\"t\",\"partition\":0,\"target\":[\"1\"]}]}", 400, "from 1 to"},
        {"{\"moves\":[{\"topic\":\"t\",\"partition\":0,"
         "\"target\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}]}",
         400,
         "at most 16"},
    };
    struct setup s;

    setup(&s);
    for (size_t i = 0; i < RIA_COUNT(rows); i++) {
        request(&s, "POST", "/v1/moves", rows[i].body);
        CU_ASSERT_TRUE(answered(&s, rows[i].status, rows[i].part));
    }
    CU_ASSERT_EQUAL(world_call_count(&s.world), 0);
    teardown(&s);
}

/* ---- rebalancing ---- */

static void a_plan_comes_with_sizes(void)
{
    struct setup s;
    struct plan_rebalance_request asked;
    struct plan_rebalance_response_planned_move moves[] = {
        {.partition = 0,
         .replicas = (int32_t[]){1, 2, 3},
         .replicas_count = 3,
         .target = (int32_t[]){1, 4, 5},
         .target_count = 3},
        {.partition = 1,
         .replicas = (int32_t[]){1, 2, 3},
         .replicas_count = 3,
         .target = (int32_t[]){2, 1, 3},
         .target_count = 3},
    };
    struct plan_rebalance_response response = {
        .version = 9,
        .moves = moves,
        .moves_count = 2,
        .stuck = 1,
        .skipped = 2,
        .moving = 3,
        .rebalancing = true,
        .moves_max = 32,
    };

    setup(&s);
    moves[0].topic_id = moves[1].topic_id = s.topic->id;
    request(&s, "GET", "/v1/rebalance", NULL);
    struct world_call *call = open_call(&s, API_PLAN_REBALANCE, &asked);
    CU_ASSERT_EQUAL(asked.kind, 1);
    CU_ASSERT_EQUAL(asked.node_id, -1);
    CU_ASSERT_TRUE(asked.moves_max > 1000);
    reply(&s, call, &response);
    for (int i = 0; i < 3; i++) {
        reply_logs(&s, 10, 10);
    }
    CU_ASSERT_TRUE(
        has(&s,
            "{\"version\":9,\"rebalancing\":true,\"moving\":3,\"moves_max\":32,\"stuck\":1,"
            "\"skipped\":2,")
    );
    CU_ASSERT_TRUE(has(&s, "\"target\":[1,4,5],\"bytes\":2000}"));
    CU_ASSERT_TRUE(has(&s, "\"target\":[2,1,3],\"bytes\":0}"));
    CU_ASSERT_TRUE(answered(&s, 200, "\"bytes\":2000,\"sizes_unknown\":0}"));

    request(&s, "GET", "/v1/rebalance?node=2", NULL);
    call = open_call(&s, API_PLAN_REBALANCE, &asked);
    CU_ASSERT_EQUAL(asked.kind, 2);
    CU_ASSERT_EQUAL(asked.node_id, 2);
    reply(&s, call, &response);
    while (world_call_count(&s.world) > 0) {
        world_lose(&s.world, world_next_call(&s.world, API_DESCRIBE_LOGS), RIA_ERR_TIMEOUT);
        world_run(&s.world);
    }
    CU_ASSERT_TRUE(answered(&s, 200, "\"bytes\":0,\"sizes_unknown\":1}"));
    CU_ASSERT_TRUE(is_refused(&s, "GET", "/v1/rebalance?node=x", NULL, 400));
    CU_ASSERT_TRUE(is_refused(&s, "GET", "/v1/rebalance?nodes=1", NULL, 400));
    teardown(&s);
}

static void rebalancing_begins_and_stops(void)
{
    struct setup s;
    struct alter_rebalance_request asked;
    struct alter_rebalance_response response = {.was_running = true};

    setup(&s);
    request(&s, "POST", "/v1/rebalance", NULL);
    struct world_call *call = open_call(&s, API_ALTER_REBALANCE, &asked);
    CU_ASSERT_TRUE(asked.run);
    reply(&s, call, &response);
    CU_ASSERT_TRUE(answered(&s, 200, "{\"rebalancing\":true,\"was_running\":true}"));
    request(&s, "DELETE", "/v1/rebalance", NULL);
    call = open_call(&s, API_ALTER_REBALANCE, &asked);
    CU_ASSERT_FALSE(asked.run);
    world_refuse(&s.world, call, RIA_ERR_INVALID, "no");
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 400, "no"));
    teardown(&s);
}

/* ---- leaders ---- */

static void candidates_are_told_with_what_they_lack(void)
{
    struct setup s;

    setup(&s);
    request(&s, "GET", "/v1/topics/t/partitions/0/leader", NULL);
    reply_logs(&s, 100, 90);
    reply_logs(&s, 70, 60);
    world_lose(&s.world, world_next_call(&s.world, API_DESCRIBE_LOGS), RIA_ERR_TIMEOUT);
    world_run(&s.world);
    CU_ASSERT_TRUE(has(&s, "\"high_watermark\":90,\"silent_replicas\":1,"));
    CU_ASSERT_TRUE(
        has(&s,
            "\"log\":\"fit\",\"start_offset\":0,\"end_offset\":100,\"high_watermark\":90,\"may_"
            "lose\":0}")
    );
    CU_ASSERT_TRUE(has(&s, "\"end_offset\":70,\"high_watermark\":60,\"may_lose\":20}"));
    CU_ASSERT_TRUE(answered(
        &s,
        200,
        "\"log\":\"unknown\",\"start_offset\":null,\"end_offset\":null,\"high_watermark\":null,"
        "\"may_lose\":null}"
    ));
    CU_ASSERT_TRUE(is_refused(&s, "GET", "/v1/topics/u/partitions/0/leader", NULL, 404));
    CU_ASSERT_TRUE(is_refused(&s, "GET", "/v1/topics/t/partitions/7/leader", NULL, 404));
    teardown(&s);
}

static void a_leader_is_chosen_with_and_without_force(void)
{
    struct setup s;
    struct elect_leader_request asked;
    struct elect_leader_response response = {.leader = 2, .leader_epoch = 8};

    setup(&s);
    request(
        &s,
        "POST",
        "/v1/topics/t/partitions/1/leader",
        "{\"node\":2,\"force\":true,\"partition_epoch\":5}"
    );
    struct world_call *call = open_call(&s, API_ELECT_LEADER, &asked);
    CU_ASSERT_TRUE(ria_uuid_equal(asked.topic_id, s.topic->id));
    CU_ASSERT_EQUAL(asked.partition, 1);
    CU_ASSERT_EQUAL(asked.node, 2);
    CU_ASSERT_EQUAL(asked.partition_epoch, 5);
    CU_ASSERT_TRUE(asked.force);
    reply(&s, call, &response);
    CU_ASSERT_TRUE(answered(&s, 200, "{\"leader\":2,\"leader_epoch\":8}"));

    request(&s, "POST", "/v1/topics/t/partitions/1/leader", "{\"node\":2,\"force\":true}");
    call = open_call(&s, API_ELECT_LEADER, &asked);
    CU_ASSERT_TRUE(asked.partition_epoch >= 0); /* a late copy forces nobody again */
    reply(&s, call, &response);
    CU_ASSERT_TRUE(answered(&s, 200, "\"leader\":2"));

    request(&s, "POST", "/v1/topics/t/partitions/1/leader", "{}");
    call = open_call(&s, API_ELECT_LEADER, &asked);
    CU_ASSERT_EQUAL(asked.node, -1);
    CU_ASSERT_EQUAL(asked.partition_epoch, -1);
    CU_ASSERT_FALSE(asked.force);
    world_refuse(&s.world, call, RIA_ERR_CONFLICT, "nobody may lead");
    world_run(&s.world);
    CU_ASSERT_TRUE(answered(&s, 409, "nobody may lead"));

    const char *path = "/v1/topics/t/partitions/1/leader";
    CU_ASSERT_TRUE(is_refused(&s, "POST", path, "{\"force\":true}", 400));
    CU_ASSERT_TRUE(is_refused(&s, "POST", path, "{\"force\":1,\"node\":1}", 400));
    CU_ASSERT_TRUE(is_refused(&s, "POST", path, "{\"node\":0}", 400));
    CU_ASSERT_TRUE(is_refused(&s, "POST", path, "{\"nodes\":1}", 400));
    CU_ASSERT_TRUE(is_refused(&s, "POST", path, "", 422));
    teardown(&s);
}

static void a_gateway_that_ends_forgets_what_is_under_way(void)
{
    struct setup s;

    setup(&s);
    request(&s, "GET", "/v1/nodes", NULL);
    CU_ASSERT_EQUAL(s.fake.answers, 0);
    teardown(&s); /* leaks and late callbacks are the sanitizer's to find */
    fake_request_fini(&s.fake);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(the_cluster_is_shown_with_the_state_of_its_nodes),
    HARNESS_TEST(nodes_are_listed_with_what_they_hold),
    HARNESS_TEST(a_silent_node_is_listed_without_sizes),
    HARNESS_TEST(draining_keeping_and_removing_are_the_coordinators),
    HARNESS_TEST(nodes_that_are_none_are_refused),
    HARNESS_TEST(moves_show_how_far_they_are),
    HARNESS_TEST(moves_by_hand_are_the_coordinators),
    HARNESS_TEST(bad_moves_are_refused_by_field),
    HARNESS_TEST(a_plan_comes_with_sizes),
    HARNESS_TEST(rebalancing_begins_and_stops),
    HARNESS_TEST(candidates_are_told_with_what_they_lack),
    HARNESS_TEST(a_leader_is_chosen_with_and_without_force),
    HARNESS_TEST(a_gateway_that_ends_forgets_what_is_under_way),
};
HARNESS_MAIN(tests);
