/* /v1/rebalance: what would move and how much of it; begin and stop. The plan is the coordinator's,
 * the sizes are the storage nodes'. */
#include <string.h>

#include "common/json.h"

#include "schemas/gen/alter_rebalance_request.h"
#include "schemas/gen/alter_rebalance_response.h"
#include "schemas/gen/plan_rebalance_request.h"
#include "schemas/gen/plan_rebalance_response.h"

#include "services/gateway/admin.h"

enum {
    PLAN_EVEN_OUT = 1, /* PlanRebalanceRequest.kind */
    PLAN_EMPTY = 2,
    PLAN_MOVES_MAX = 50000, /* a plan with more shows its first so many */
};

typedef struct plan_rebalance_response_planned_move planned_move;

/* --- the plan ----------------------------------------------------------------------------------*/

struct planning {
    struct gateway *gateway;
    struct request *request;
    struct plan_rebalance_request body;
    struct plan_rebalance_response plan; /* lists from the request's arena */
};

/* Nodes of the target that have no replica yet. */
static uint32_t count_new(const planned_move *move)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < move->target_count; i++) {
        bool had = false;
        for (uint32_t j = 0; j < move->replicas_count && !had; j++) {
            had = move->replicas[j] == move->target[i];
        }
        count += had ? 0 : 1;
    }
    return count;
}

/* Bytes that one new replica of the partition has to get; -1 = nobody has told. */
static int64_t
bytes_of(struct gateway *gateway, const struct node_logs *logs, const planned_move *move)
{
    const struct cluster_partition *p =
        cluster_partition(gateway->cluster, &move->topic_id, move->partition);
    const described_log *log = NULL;

    if (p != NULL) {
        log = node_logs_find(logs, p->leader, &move->topic_id, move->partition);
    }
    for (uint32_t i = 0; log == NULL && i < move->replicas_count; i++) {
        log = node_logs_find(logs, move->replicas[i], &move->topic_id, move->partition);
    }
    return log == NULL ? -1 : log->bytes;
}

static ria_err render_move(
    const struct planning *planning, const planned_move *move, int64_t bytes, struct ria_buf *out
)
{
    const struct cluster_topic *topic =
        cluster_topic_by_id(planning->gateway->cluster, &move->topic_id);

    RIA_TRY(ria_buf_append_str(out, "{\"topic\":"));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(topic == NULL ? "" : topic->name)));
    RIA_TRY(ria_buf_printf(out, ",\"partition\":%d,\"replicas\":", (int)move->partition));
    RIA_TRY(admin_render_ids(move->replicas, move->replicas_count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"target\":"));
    RIA_TRY(admin_render_ids(move->target, move->target_count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"bytes\":"));
    RIA_TRY(admin_render_known(bytes, out));
    return ria_buf_append_str(out, "}");
}

static ria_err
render_plan(const struct planning *planning, const struct node_logs *logs, struct ria_buf *out)
{
    const struct plan_rebalance_response *plan = &planning->plan;
    int64_t total = 0;
    uint32_t unknown = 0;

    RIA_TRY(ria_buf_printf(
        out,
        "{\"version\":%lld,\"rebalancing\":%s,\"moving\":%d,\"moves_max\":%d,\"stuck\":%d,"
        "\"skipped\":%d,\"moves\":[",
        (long long)plan->version,
        plan->rebalancing ? "true" : "false",
        (int)plan->moving,
        (int)plan->moves_max,
        (int)plan->stuck,
        (int)plan->skipped
    ));
    for (uint32_t i = 0; i < plan->moves_count; i++) {
        const planned_move *move = &plan->moves[i];
        uint32_t replicas = count_new(move);
        int64_t each = replicas == 0 ? 0 : bytes_of(planning->gateway, logs, move);
        int64_t bytes = each < 0 ? -1 : each * replicas;
        total += ria_max_i64(bytes, 0);
        unknown += bytes < 0 ? 1 : 0;
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",\n" : "\n"));
        RIA_TRY(render_move(planning, move, bytes, out));
    }
    return ria_buf_printf(
        out, "\n],\"bytes\":%lld,\"sizes_unknown\":%u}\n", (long long)total, unknown
    );
}

static void sizes_known(void *arg, const struct node_logs *logs)
{
    struct planning *planning = arg;
    struct ria_buf out;

    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = render_plan(planning, logs, &out);
    gateway_respond_json(planning->request, 200, err, &out);
}

static ria_err copy_ids(struct ria_arena *arena, int32_t **ids, uint32_t count)
{
    int32_t *copy = ria_arena_alloc_array(arena, count, sizeof(*copy));

    if (copy == NULL) {
        return ria_arena_err(arena);
    }
    if (count > 0) {
        memcpy(copy, *ids, count * sizeof(*copy));
    }
    *ids = copy;
    return RIA_OK;
}

/* The response goes when the callback returns. */
static ria_err keep_plan(struct planning *planning, const struct plan_rebalance_response *plan)
{
    struct ria_arena *arena = &planning->request->arena;
    planned_move *moves = ria_arena_alloc_array(arena, plan->moves_count, sizeof(*moves));

    if (moves == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t i = 0; i < plan->moves_count; i++) {
        moves[i] = plan->moves[i];
        RIA_TRY(copy_ids(arena, &moves[i].replicas, moves[i].replicas_count));
        RIA_TRY(copy_ids(arena, &moves[i].target, moves[i].target_count));
    }
    planning->plan = *plan;
    planning->plan.moves = moves;
    return RIA_OK;
}

static void planned(void *arg, ria_err err, const char *text, const void *response)
{
    struct planning *planning = arg;
    const struct describe_logs_request body = {0};
    int32_t ids[RIA_NODES_MAX];
    uint32_t count = 0;

    if (err == RIA_OK) {
        err = keep_plan(planning, response);
        text = "";
        if (err == RIA_OK && planning->plan.moves_count > 0) {
            count = admin_nodes(planning->gateway, false, ids);
        }
        if (err == RIA_OK) {
            err = node_logs_ask(
                &planning->gateway->node_logs, ids, count, &body, sizes_known, planning
            );
        }
    }
    if (err != RIA_OK) {
        request_fail_err(planning->request, err, text);
    }
}

void handle_rebalance_plan(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"node", NULL};
    int64_t node = 0;

    if (!gateway_query_known(request, known) ||
        !gateway_query_i64(request, "node", 1, RIA_NODES_MAX, 0, &node)) {
        return;
    }
    struct planning *planning = ria_arena_alloc(&request->arena, sizeof(*planning));
    ria_err err = RIA_ERR_NOMEM;
    if (planning != NULL) {
        planning->gateway = gateway;
        planning->request = request;
        plan_rebalance_request_init(&planning->body);
        planning->body.kind = node > 0 ? PLAN_EMPTY : PLAN_EVEN_OUT;
        planning->body.node_id = node > 0 ? (int32_t)node : -1;
        planning->body.moves_max = PLAN_MOVES_MAX;
        err = coordinator_call(
            &gateway->coordinator,
            API_PLAN_REBALANCE,
            &planning->body,
            ADMIN_TIMEOUT_MS,
            planned,
            planning
        );
    }
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

/* --- begin, stop -------------------------------------------------------------------------------*/

struct switching {
    struct request *request;
    struct alter_rebalance_request body;
};

static void switched(void *arg, ria_err err, const char *text, const void *response)
{
    const struct alter_rebalance_response *done = response;
    struct switching *switching = arg;
    struct ria_buf out;

    if (err != RIA_OK) {
        request_fail_err(switching->request, err, text);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    err = ria_buf_printf(
        &out,
        "{\"rebalancing\":%s,\"was_running\":%s}\n",
        switching->body.run ? "true" : "false",
        done->was_running ? "true" : "false"
    );
    gateway_respond_json(switching->request, 200, err, &out);
}

static void run(struct gateway *gateway, struct request *request, bool on)
{
    struct switching *switching = ria_arena_alloc(&request->arena, sizeof(*switching));
    ria_err err = RIA_ERR_NOMEM;

    if (switching != NULL) {
        switching->request = request;
        alter_rebalance_request_init(&switching->body);
        switching->body.run = on;
        err = coordinator_call(
            &gateway->coordinator,
            API_ALTER_REBALANCE,
            &switching->body,
            ADMIN_TIMEOUT_MS,
            switched,
            switching
        );
    }
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

void handle_rebalance_begin(struct gateway *gateway, struct request *request)
{
    run(gateway, request, true);
}

void handle_rebalance_stop(struct gateway *gateway, struct request *request)
{
    run(gateway, request, false);
}
