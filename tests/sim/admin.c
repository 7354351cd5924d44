#include "tests/sim/admin.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/assert.h"
#include "common/limits.h"
#include "common/rand.h"

#include "schemas/gen/alter_node_request.h"
#include "schemas/gen/alter_rebalance_request.h"
#include "schemas/gen/alter_topic_request.h"
#include "schemas/gen/create_topic_request.h"
#include "schemas/gen/create_transform_request.h"
#include "schemas/gen/delete_topic_request.h"
#include "schemas/gen/elect_leader_request.h"
#include "schemas/gen/elect_leader_response.h"
#include "schemas/gen/messages.h"
#include "schemas/gen/reassign_partitions_request.h"

#include "tests/sim/admin_groups.h"
#include "tests/sim/client.h"
#include "tests/sim/inspect.h"
#include "tests/sim/world.h"

enum { RETRY_US = 200 * 1000, CALL_TIMEOUT_MS = 1000, CONFIGS_MAX = 4, SQL_SIZE = 256 };

enum { NODE_DRAIN = 1, NODE_KEEP = 2 }; /* AlterNode's actions */

/* What an operation needs while it is being sent. */
struct scratch {
    char name[WORLD_NAME_SIZE];
    char source[WORLD_NAME_SIZE];
    char sql[SQL_SIZE];
    char values[CONFIGS_MAX][24];
    struct create_topic_request_create_topic_config configs[CONFIGS_MAX];
    struct alter_topic_request_alter_topic_config changed;
    struct reassign_partitions_request_reassigned_partition moved;
    int32_t target[RIA_REPLICAS_MAX];
    union {
        struct create_topic_request create_topic;
        struct delete_topic_request delete_topic;
        struct create_transform_request create_transform;
        struct reassign_partitions_request reassign;
        struct elect_leader_request elect_leader;
        struct alter_node_request alter_node;
        struct alter_rebalance_request alter_rebalance;
        struct alter_topic_request alter_topic;
    } request;
};

/* ---- the operations ---- */

static bool is_always_ready(const struct admin_op *op)
{
    (void)op;
    return true;
}

/* Has the other operation on this topic been done? */
static bool is_after(const struct admin_op *op, plan_admin_kind kind, uint32_t topic)
{
    const struct plan *plan = op->admin->world->plan;

    for (uint32_t i = 0; i < plan->admin_count; i++) {
        if (plan->admin[i].kind == kind && plan->admin[i].topic == topic) {
            return op->admin->ops[i].is_done;
        }
    }
    return false;
}

static bool topic_is_made(const struct admin_op *op)
{
    return is_after(op, PLAN_CREATE_TOPIC, op->plan->topic);
}

static bool source_is_made(const struct admin_op *op)
{
    const struct plan *plan = op->admin->world->plan;

    return is_after(op, PLAN_CREATE_TOPIC, plan->topics[op->plan->topic].source);
}

static void set_config(struct scratch *scratch, size_t place, const char *name, int64_t value)
{
    (void)snprintf(scratch->values[place], sizeof(scratch->values[0]), "%" PRId64, value);
    scratch->configs[place] = (struct create_topic_request_create_topic_config){
        .name = ria_slice_cstr(name),
        .value = ria_slice_cstr(scratch->values[place]),
    };
}

static void fill_create_topic(const struct admin_op *op, struct scratch *scratch)
{
    struct create_topic_request *request = &scratch->request.create_topic;
    const struct world *world = op->admin->world;
    const struct plan_topic *topic = &world->plan->topics[op->plan->topic];

    set_config(scratch, 0, "min.insync.replicas", topic->min_insync);
    set_config(scratch, 1, "segment.bytes", topic->segment_bytes);
    set_config(scratch, 2, "replica.lag.time.max.ms", topic->lag_ms);
    scratch->configs[3] = (struct create_topic_request_create_topic_config){
        .name = RIA_SLICE_LITERAL("durability"),
        .value = ria_slice_cstr(topic->relaxed ? "relaxed" : "synced"),
    };
    create_topic_request_init(request);
    request->topic_id = world_topic_id(world, op->plan->topic);
    request->name = ria_slice_cstr(scratch->name);
    request->partition_count = topic->partition_count;
    request->replication_factor = topic->replicas;
    request->configs = scratch->configs;
    request->configs_count = CONFIGS_MAX;
}

static void fill_delete_topic(const struct admin_op *op, struct scratch *scratch)
{
    (void)op;
    delete_topic_request_init(&scratch->request.delete_topic);
    scratch->request.delete_topic.name = ria_slice_cstr(scratch->name);
}

/* Its output is a function of each record: what checker.h calls a derivation. */
static void fill_create_transform(const struct admin_op *op, struct scratch *scratch)
{
    struct create_transform_request *request = &scratch->request.create_transform;
    const struct world *world = op->admin->world;
    const struct plan_topic *topic = &world->plan->topics[op->plan->topic];
    char where[64] = "";

    world_topic_name(world, topic->source, scratch->source);
    if (topic->skip_one_in > 0) {
        (void)snprintf(
            where, sizeof(where), " WHERE value->>'n' %% %" PRIu32 " <> 0", topic->skip_one_in
        );
    }
    (void)snprintf(
        scratch->sql,
        sizeof(scratch->sql),
        "CREATE STREAM \"%s\" AS SELECT value->>'v' AS v, value->>'n' + 1 AS m FROM \"%s\"%s",
        scratch->name,
        scratch->source,
        where
    );
    create_transform_request_init(request);
    request->transform_id = world_topic_id(world, op->plan->topic);
    request->transform_id.bytes[2] = 0x54;
    request->name = ria_slice_cstr(scratch->name);
    request->sql = ria_slice_cstr(scratch->sql);
    request->source_topic = ria_slice_cstr(scratch->source);
    request->output_topic_id = world_topic_id(world, op->plan->topic);
    request->errors_topic_id = world_topic_id(world, op->plan->topic + 1);
    request->from_beginning = true;
}

/* ---- operators ---- */

/* Its partitions are there. */
static bool partitions_are_made(const struct admin_op *op)
{
    uint32_t topic = op->plan->topic;

    switch (op->admin->world->plan->topics[topic].kind) {
    case PLAN_TOPIC_PLAIN:
        return topic_is_made(op);
    case PLAN_TOPIC_DERIVED:
        return is_after(op, PLAN_CREATE_TRANSFORM, topic);
    case PLAN_TOPIC_ERRORS: /* made with the one before it */
        return is_after(op, PLAN_CREATE_TRANSFORM, topic - 1);
    }
    return false;
}

/* A drain leaves too few nodes for what is made later. */
static bool all_is_made(const struct admin_op *op)
{
    const struct plan *plan = op->admin->world->plan;

    for (uint32_t i = 0; i < plan->admin_count; i++) {
        plan_admin_kind kind = plan->admin[i].kind;
        if ((kind == PLAN_CREATE_TOPIC || kind == PLAN_CREATE_TRANSFORM) &&
            !op->admin->ops[i].is_done) {
            return false;
        }
    }
    return true;
}

/* Its own drain, which stands before it in the plan. */
static bool is_drained(const struct admin_op *op)
{
    return (op - 1)->is_done;
}

static void draw_partition(const struct admin_op *op, struct ria_rand *rand, int32_t *out_partition)
{
    const struct plan_topic *topic = &op->admin->world->plan->topics[op->plan->topic];

    ria_rand_init(rand, (uint64_t)op->plan->amount);
    *out_partition = (int32_t)ria_rand_below(rand, (uint64_t)topic->partition_count);
}

/* Any nodes, in any order; their ids count from 1. */
static void fill_reassign(const struct admin_op *op, struct scratch *scratch)
{
    struct reassign_partitions_request *request = &scratch->request.reassign;
    const struct world *world = op->admin->world;
    uint32_t nodes = world->plan->storage_count;
    struct ria_rand rand;

    reassign_partitions_request_init(request);
    reassign_partitions_request_reassigned_partition_init(&scratch->moved);
    scratch->moved.topic_id = world_topic_id(world, op->plan->topic);
    scratch->moved.partition_epoch = -1;
    draw_partition(op, &rand, &scratch->moved.partition);
    for (uint32_t i = 0; i < nodes; i++) {
        uint64_t k = ria_rand_below(&rand, i + 1);
        scratch->target[i] = scratch->target[k];
        scratch->target[k] = (int32_t)i + 1;
    }
    scratch->moved.target = scratch->target;
    if (op->plan->kind == PLAN_REASSIGN) {
        scratch->moved.target_count = (uint32_t)world->plan->topics[op->plan->topic].replicas;
    }
    request->partitions = &scratch->moved;
    request->partitions_count = 1;
}

static void fill_elect_leader(const struct admin_op *op, struct scratch *scratch)
{
    struct elect_leader_request *request = &scratch->request.elect_leader;
    const struct world *world = op->admin->world;
    struct ria_rand rand;

    elect_leader_request_init(request);
    request->topic_id = world_topic_id(world, op->plan->topic);
    draw_partition(op, &rand, &request->partition);
    request->node = (int32_t)ria_rand_below(&rand, world->plan->storage_count) + 1;
    request->partition_epoch = -1;
}

static void fill_alter_node(const struct admin_op *op, struct scratch *scratch)
{
    alter_node_request_init(&scratch->request.alter_node);
    scratch->request.alter_node.node_id = (int32_t)op->plan->amount;
    scratch->request.alter_node.action = op->plan->kind == PLAN_DRAIN ? NODE_DRAIN : NODE_KEEP;
}

static void fill_alter_rebalance(const struct admin_op *op, struct scratch *scratch)
{
    alter_rebalance_request_init(&scratch->request.alter_rebalance);
    scratch->request.alter_rebalance.run = op->plan->amount != 0;
}

/* Whatever it was before: of two changes that overtake one another either may win. */
static void fill_alter_topic(const struct admin_op *op, struct scratch *scratch)
{
    struct alter_topic_request *request = &scratch->request.alter_topic;

    alter_topic_request_init(request);
    request->topic_id = world_topic_id(op->admin->world, op->plan->topic);
    request->configs = &scratch->changed;
    request->configs_count = 1;
    if (op->plan->kind == PLAN_SET_MIN_INSYNC) {
        (void
        )snprintf(scratch->values[0], sizeof(scratch->values[0]), "%" PRId64, op->plan->amount);
        scratch->changed.name = RIA_SLICE_LITERAL("min.insync.replicas");
        scratch->changed.value = ria_slice_cstr(scratch->values[0]);
    } else {
        scratch->changed.name = RIA_SLICE_LITERAL("durability");
        scratch->changed.value =
            op->plan->amount != 0 ? RIA_SLICE_LITERAL("relaxed") : RIA_SLICE_NULL;
    }
}

/* ---- all of them ---- */

/* Of a call that was not answered the second attempt may find that there is nothing left to do. */
static const struct {
    int16_t api_key;
    bool (*is_ready)(const struct admin_op *op);
    void (*fill)(const struct admin_op *op, struct scratch *scratch); /* NULL: admin_groups.h */
    ria_err again;                                                    /* means done, too */
    bool may_be_refused; /* by the state of the cluster: the operator leaves it at that */
} operations[PLAN_ADMIN_KIND_COUNT] = {
    [PLAN_CREATE_TOPIC] = {API_CREATE_TOPIC, is_always_ready, fill_create_topic, RIA_OK, false},
    [PLAN_CREATE_TRANSFORM] =
        {API_CREATE_TRANSFORM, source_is_made, fill_create_transform, RIA_OK, false},
    [PLAN_DELETE_TOPIC] =
        {API_DELETE_TOPIC, topic_is_made, fill_delete_topic, RIA_ERR_UNKNOWN_TOPIC, false},
    [PLAN_REASSIGN] =
        {API_REASSIGN_PARTITIONS,
         partitions_are_made,
         fill_reassign,
         RIA_OK,
         .may_be_refused = true},
    [PLAN_CANCEL_MOVE] =
        {API_REASSIGN_PARTITIONS,
         partitions_are_made,
         fill_reassign,
         RIA_OK,
         .may_be_refused = true},
    [PLAN_ELECT_LEADER] =
        {API_ELECT_LEADER, partitions_are_made, fill_elect_leader, RIA_OK, .may_be_refused = true},
    [PLAN_DRAIN] = {API_ALTER_NODE, all_is_made, fill_alter_node, RIA_OK, false},
    [PLAN_END_DRAIN] = {API_ALTER_NODE, is_drained, fill_alter_node, RIA_OK, false},
    [PLAN_SET_MIN_INSYNC] =
        {API_ALTER_TOPIC, partitions_are_made, fill_alter_topic, RIA_OK, .may_be_refused = true},
    [PLAN_SET_DURABILITY] =
        {API_ALTER_TOPIC, partitions_are_made, fill_alter_topic, RIA_OK, .may_be_refused = true},
    [PLAN_DELETE_GROUP] = {-1, is_always_ready, NULL, RIA_OK, false},
    [PLAN_RESET_QUEUE] = {-1, is_always_ready, NULL, RIA_OK, false},
    [PLAN_REDRIVE] = {-1, is_always_ready, NULL, RIA_OK, false},
    [PLAN_REBALANCE] = {API_ALTER_REBALANCE, is_always_ready, fill_alter_rebalance, RIA_OK, false},
};

/* INVALID: a target that is silent, or being drained. */
static bool is_refusal(ria_err err)
{
    return err == RIA_ERR_INVALID || err == RIA_ERR_CONFLICT || err == RIA_ERR_UNKNOWN_TOPIC ||
           err == RIA_ERR_LIMIT || err == RIA_ERR_NO_LEADER;
}

/* ---- sending them ---- */

void admin_take_answer(struct admin_op *op, ria_err err)
{
    if (err == RIA_ERR_SHUTDOWN) {
        return; /* the run is over */
    }
    op->last_err = err;
    if (err == RIA_OK || err == operations[op->plan->kind].again ||
        (operations[op->plan->kind].may_be_refused && is_refusal(err))) {
        op->is_done = true;
    } else {
        ria_timer_start(&op->admin->node->timers, &op->timer, RETRY_US);
    }
}

static void on_answered(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    (void)response;
    (void)payload;
    admin_take_answer(arg, err);
}

static void on_due(struct ria_timer *timer, void *arg)
{
    struct admin_op *op = arg;
    struct scratch scratch;

    if (!operations[op->plan->kind].is_ready(op)) {
        ria_timer_start(&op->admin->node->timers, timer, RETRY_US);
        return;
    }
    if (operations[op->plan->kind].fill == NULL) {
        admin_groups_send(op);
        return;
    }
    world_topic_name(op->admin->world, op->plan->topic, scratch.name);
    operations[op->plan->kind].fill(op, &scratch);
    client_call(
        op->admin->node->client,
        world_coordinator_address,
        operations[op->plan->kind].api_key,
        &scratch.request,
        RIA_SLICE_NULL,
        CALL_TIMEOUT_MS,
        on_answered,
        op
    );
}

static void on_forced(void *arg, ria_err err, const void *response, struct ria_slice payload)
{
    const struct elect_leader_response *answer = response;
    struct inspect_forced *forced = arg;

    (void)payload;
    if (err == RIA_OK) { /* else he asks again until somebody leads */
        forced->epoch = answer->leader_epoch;
    }
}

void admin_rescue(struct admin *admin)
{
    struct world *world = admin->world;
    struct elect_leader_request request;
    uint32_t topic = 0;

    inspect_check_elections(world);
    for (uint32_t p = 0; p < world->plan->partition_count; p++) {
        int32_t successor = plan_is_doomed(world->plan, p) ? -1 : inspect_successor(world, p);
        if (successor < 0) {
            continue;
        }
        elect_leader_request_init(&request);
        world_find_partition(world, p, &topic, &request.partition);
        request.topic_id = world_topic_id(world, topic);
        request.node = successor;
        request.partition_epoch = -1;
        request.force = true;
        admin->forced[p].is_asked = true;
        trace_say(&world->trace, "an operator forces node %" PRId32 " to lead", successor);
        client_call(
            admin->node->client,
            world_coordinator_address,
            API_ELECT_LEADER,
            &request,
            RIA_SLICE_NULL,
            CALL_TIMEOUT_MS,
            on_forced,
            &admin->forced[p]
        );
    }
}

/* ---- life ---- */

void admin_init(struct admin *admin, struct world *world)
{
    *admin = (struct admin){.world = world};
    admin->node = &world->nodes[world->plan->producers[0].client];
    for (uint32_t p = 0; p < PLAN_PARTITIONS_MAX; p++) {
        admin->forced[p].epoch = -1;
    }
    for (uint32_t i = 0; i < world->plan->admin_count; i++) {
        struct admin_op *op = &admin->ops[i];
        op->admin = admin;
        op->plan = &world->plan->admin[i];
        ria_timer_init(&op->timer, on_due, op);
    }
}

void admin_start(struct admin *admin)
{
    for (uint32_t i = 0; i < admin->world->plan->admin_count; i++) {
        struct admin_op *op = &admin->ops[i];
        ria_timer_start(&admin->node->timers, &op->timer, op->plan->at_us);
    }
}

void admin_check_forced(const struct admin *admin)
{
    for (uint32_t p = 0; p < admin->world->plan->partition_count; p++) {
        inspect_check_forced(admin->world, p, &admin->forced[p]);
    }
}

bool admin_is_done(const struct admin *admin)
{
    for (uint32_t i = 0; i < admin->world->plan->admin_count; i++) {
        if (!admin->ops[i].is_done) {
            return false;
        }
    }
    return true;
}

void admin_report_stuck(const struct admin *admin)
{
    for (uint32_t i = 0; i < admin->world->plan->admin_count; i++) {
        const struct admin_op *op = &admin->ops[i];
        if (!op->is_done) {
            world_break(
                admin->world,
                "liveness",
                0,
                "%s of topic %" PRIu32 " is not done, last answer %s",
                plan_admin_name(op->plan->kind),
                op->plan->topic,
                ria_err_name(op->last_err)
            );
        }
    }
}

void admin_close(struct admin *admin)
{
    for (uint32_t i = 0; i < admin->world->plan->admin_count; i++) {
        ria_timer_stop(&admin->node->timers, &admin->ops[i].timer);
    }
}
