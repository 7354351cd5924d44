#include "services/gateway/node_logs.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/messages.h"

enum {
    NODE_LOGS_TIMEOUT_MS = 1500,
    NODE_LOGS_BYTES_MAX = 256 * 1024 * 1024, /* decoded, of all nodes. Past it: not known */
};

struct node_logs_call;

struct node_ask {
    struct node_logs_call *call;
    uint32_t index;
};

struct node_logs_call {
    struct ria_list link; /* in calls->live */
    struct node_logs_calls *calls;
    struct node_logs logs;
    struct node_ask *asks;
    uint32_t waiting;
    struct ria_arena arena;
    node_logs_fn fn;
    void *arg;
};

void node_logs_init(
    struct node_logs_calls *calls, const struct ria_env *env, struct cluster *cluster
)
{
    calls->env = env;
    calls->cluster = cluster;
    outcalls_init(&calls->outcalls, env->rpc);
    ria_list_init(&calls->live);
}

static void call_free(struct node_logs_call *call)
{
    ria_list_remove(&call->link);
    ria_arena_fini(&call->arena);
    free(call);
}

void node_logs_fini(struct node_logs_calls *calls)
{
    outcalls_fini(&calls->outcalls);
    while (!ria_list_is_empty(&calls->live)) {
        call_free(RIA_CONTAINER(calls->live.next, struct node_logs_call, link));
    }
}

/* ---- answers ---- */

static int compare_logs(const void *a, const void *b)
{
    const described_log *left = a;
    const described_log *right = b;
    int order = memcmp(&left->topic_id, &right->topic_id, sizeof(left->topic_id));

    if (order != 0 || left->partition == right->partition) {
        return order;
    }
    return left->partition < right->partition ? -1 : 1;
}

/* The names in it borrow from the reply: they are copied, as the reply goes. */
static ria_err copy_names(struct ria_arena *arena, struct describe_logs_response *logs)
{
    for (uint32_t i = 0; i < logs->orphans_count; i++) {
        const char *copy = ria_arena_strdup(arena, logs->orphans[i].folder);
        if (copy == NULL) {
            return ria_arena_err(arena);
        }
        logs->orphans[i].folder = ria_slice_of(copy, logs->orphans[i].folder.size);
    }
    for (uint32_t i = 0; i < logs->data_dirs_count; i++) {
        const char *copy = ria_arena_strdup(arena, logs->data_dirs[i].path);
        if (copy == NULL) {
            return ria_arena_err(arena);
        }
        logs->data_dirs[i].path = ria_slice_of(copy, logs->data_dirs[i].path.size);
    }
    return RIA_OK;
}

static ria_err
take(struct node_logs_call *call, struct ria_msg *reply, struct describe_logs_response *out)
{
    RIA_TRY(envelope_read_reply(reply, API_DESCRIBE_LOGS, &call->arena, out, NULL, NULL, 0));
    RIA_TRY(copy_names(&call->arena, out));
    if (out->replicas_count > 1) {
        qsort(out->replicas, out->replicas_count, sizeof(out->replicas[0]), compare_logs);
    }
    return RIA_OK;
}

static void finish(struct node_logs_call *call)
{
    call->fn(call->arg, &call->logs);
    call_free(call);
}

static void answered(void *arg, ria_err err, struct ria_msg *reply)
{
    struct node_ask *ask = arg;
    struct node_logs_call *call = ask->call;
    struct node_logs_answer *answer = &call->logs.answers[ask->index];

    answer->known = err == RIA_OK && take(call, reply, &answer->logs) == RIA_OK;
    ria_msg_free(reply);
    if (--call->waiting == 0) {
        finish(call);
    }
}

/* ---- asking ---- */

static void send(struct node_ask *ask, const struct describe_logs_request *request)
{
    struct node_logs_call *call = ask->call;
    int32_t node_id = call->logs.answers[ask->index].node_id;
    const struct cluster_node *node = cluster_node(call->calls->cluster, node_id);

    if (node == NULL || node->state == CLUSTER_NODE_REMOVED) {
        return;
    }
    struct ria_msg *msg = envelope_request(
        API_DESCRIBE_LOGS,
        DESCRIBE_LOGS_REQUEST_VERSION_MAX,
        -1,
        NODE_LOGS_TIMEOUT_MS,
        request,
        0,
        NULL
    );
    const struct outcall *sent = outcall_start(
        &call->calls->outcalls, node->address, msg, NODE_LOGS_TIMEOUT_MS, answered, ask
    );
    call->waiting += sent != NULL ? 1 : 0;
}

ria_err node_logs_ask(
    struct node_logs_calls *calls,
    const int32_t *node_ids,
    uint32_t count,
    const struct describe_logs_request *request,
    node_logs_fn fn,
    void *arg
)
{
    struct node_logs_call *call = calloc(1, sizeof(*call));

    if (call == NULL) {
        return RIA_ERR_NOMEM;
    }
    call->calls = calls;
    call->fn = fn;
    call->arg = arg;
    ria_arena_init(&call->arena, NODE_LOGS_BYTES_MAX);
    ria_list_push_back(&calls->live, &call->link);
    call->logs.answers = ria_arena_alloc_array(&call->arena, count, sizeof(*call->logs.answers));
    call->asks = ria_arena_alloc_array(&call->arena, count, sizeof(*call->asks));
    if (call->logs.answers == NULL || call->asks == NULL) {
        call_free(call);
        return RIA_ERR_NOMEM;
    }
    call->logs.count = count;
    for (uint32_t i = 0; i < count; i++) {
        RIA_ASSERT(i == 0 || node_ids[i - 1] < node_ids[i]);
        call->logs.answers[i] = (struct node_logs_answer){.node_id = node_ids[i]};
        call->asks[i] = (struct node_ask){.call = call, .index = i};
    }
    for (uint32_t i = 0; i < count; i++) {
        send(&call->asks[i], request);
    }
    if (call->waiting == 0) {
        finish(call);
    }
    return RIA_OK;
}

/* ---- looking ---- */

const struct node_logs_answer *node_logs_of(const struct node_logs *logs, int32_t node_id)
{
    for (uint32_t i = 0; i < logs->count; i++) {
        if (logs->answers[i].node_id == node_id) {
            return &logs->answers[i];
        }
    }
    return NULL;
}

const described_log *node_logs_find(
    const struct node_logs *logs,
    int32_t node_id,
    const struct ria_uuid *topic_id,
    int32_t partition
)
{
    const struct node_logs_answer *answer = node_logs_of(logs, node_id);
    const described_log wanted = {.topic_id = *topic_id, .partition = partition};

    if (answer == NULL || !answer->known || answer->logs.replicas_count == 0) {
        return NULL;
    }
    return bsearch(
        &wanted,
        answer->logs.replicas,
        answer->logs.replicas_count,
        sizeof(answer->logs.replicas[0]),
        compare_logs
    );
}
