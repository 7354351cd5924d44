#include "tests/sim/admin_groups.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"

#include "tests/sim/admin.h"
#include "tests/sim/client.h"
#include "tests/sim/consumers.h"
#include "tests/sim/sim_http.h"
#include "tests/sim/world.h"

enum { CALL_TIMEOUT_MS = 2500, HEAD_SIZE = 256, BODY_SIZE = 128, REDRIVE_RECORDS = 1000 };

static uint32_t group_of(const struct admin_op *op)
{
    return (uint32_t)(op->plan->amount / 2);
}

static bool is_forced(const struct admin_op *op)
{
    return op->plan->amount % 2 != 0;
}

/* Of every partition that it touches. */
static void note(const struct admin_op *op)
{
    struct world *world = op->admin->world;
    bool is_redrive = op->plan->kind == PLAN_REDRIVE;

    for (uint32_t p = 0; p < world->plan->partition_count; p++) {
        struct history_event event = {
            .time_us = world->now_us,
            .kind = is_redrive ? HISTORY_REDRIVE : HISTORY_RESET,
            .group = group_of(op),
            .partition = p,
        };
        if (plan_consumes(world->plan, group_of(op), p)) {
            history_add(&world->history, &event);
        }
    }
}

static void make_call(const struct admin_op *op, char *head, char *body)
{
    const struct world *world = op->admin->world;
    const char *force = is_forced(op) ? "true" : "false";
    char group[CONSUMERS_NAME_SIZE];
    char topic[WORLD_NAME_SIZE];

    consumers_group_name(group_of(op), group);
    world_topic_name(world, op->plan->topic, topic);
    body[0] = '\0';
    switch (op->plan->kind) {
    case PLAN_DELETE_GROUP:
        if (world->plan->groups[group_of(op)].is_queue) {
            (void
            )snprintf(head, HEAD_SIZE, "DELETE /v1/queues/%s/%s?force=%s\n", topic, group, force);
        } else {
            (void)snprintf(head, HEAD_SIZE, "DELETE /v1/groups/%s?force=%s\n", group, force);
        }
        return;
    case PLAN_RESET_QUEUE:
        (void)snprintf(head, HEAD_SIZE, "POST /v1/groups/%s/reset", group);
        (void)snprintf(
            body, BODY_SIZE, "{\"to\":\"earliest\",\"topics\":\"%s\",\"force\":%s}", topic, force
        );
        break;
    case PLAN_REDRIVE:
        (void)snprintf(head, HEAD_SIZE, "POST /v1/queues/%s/%s/redrive", topic, group);
        (void)snprintf(body, BODY_SIZE, "{\"max_records\":%d}", REDRIVE_RECORDS);
        break;
    case PLAN_CREATE_TOPIC:
    case PLAN_CREATE_TRANSFORM:
    case PLAN_DELETE_TOPIC:
    case PLAN_REASSIGN:
    case PLAN_CANCEL_MOVE:
    case PLAN_ELECT_LEADER:
    case PLAN_DRAIN:
    case PLAN_END_DRAIN:
    case PLAN_REBALANCE:
    case PLAN_SET_MIN_INSYNC:
    case PLAN_SET_DURABILITY:
    case PLAN_ADMIN_KIND_COUNT:
        RIA_ASSERT(false);
    }
    size_t used = strlen(head);
    (void)snprintf(head + used, HEAD_SIZE - used, "\nContent-Type: application/json\n");
}

/* The group is in use, is not there (any more), or its topic is not yet: the operator leaves it at
 * that. */
static bool is_refusal(ria_err err)
{
    return err == RIA_ERR_CONFLICT || err == RIA_ERR_NOT_FOUND || err == RIA_ERR_UNKNOWN_TOPIC;
}

static void on_answered(void *arg, ria_err err, int status, const struct sim_http *http)
{
    struct admin_op *op = arg;
    struct world *world = op->admin->world;
    bool is_definite = false;

    if (status != 0) {
        err = status / 100 == 2 ? RIA_OK : sim_http_error(http->body, &is_definite);
        err = err == RIA_ERR_SHUTDOWN ? RIA_ERR_BUSY : err; /* the gateway's, not ours */
    }
    if (err != RIA_OK && !is_refusal(err) && !client_expects(world->plan, err)) {
        world_break(
            world,
            "unexpected-error",
            0,
            "%s of group %" PRIu32 ": %s " RIA_SLICE_FMT,
            plan_admin_name(op->plan->kind),
            group_of(op),
            ria_err_name(err),
            RIA_SLICE_ARG(http->body)
        );
    }
    admin_take_answer(op, is_refusal(err) ? RIA_OK : err);
}

void admin_groups_send(struct admin_op *op)
{
    struct world *world = op->admin->world;
    struct ria_rand rand;
    char head[HEAD_SIZE];
    char body[BODY_SIZE];

    ria_rand_init(&rand, (uint64_t)world->now_us);
    uint32_t gateway = world_any_gateway(world, &rand);
    make_call(op, head, body);
    note(op);
    sim_http_call(
        &op->admin->node->env,
        world->nodes[gateway].address,
        head,
        ria_slice_cstr(body),
        CALL_TIMEOUT_MS,
        on_answered,
        op
    );
}
