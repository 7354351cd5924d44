/* /v1/moves: partitions on their way to other nodes: which, how far, and moving them by hand. */
#include <string.h>

#include <jansson.h>

#include "common/json.h"

#include "schemas/gen/reassign_partitions_request.h"
#include "schemas/gen/reassign_partitions_response.h"

#include "services/gateway/admin.h"
#include "services/gateway/document.h"

enum { MOVES_BY_HAND_MAX = 1000 /* per request. Refused: 400 */ };

/* --- list --------------------------------------------------------------------------------------*/

struct listing {
    struct gateway *gateway;
    struct request *request;
    const struct node_logs *logs;
    struct ria_buf *out;
    bool any;
    ria_err err;
};

static bool is_in_sync(const struct cluster_partition *p, int32_t node_id)
{
    for (uint32_t i = 0; i < p->isr_count; i++) {
        if (p->isr[i] == node_id) {
            return true;
        }
    }
    return false;
}

/* A replica that the partition waits for, and what it has of the leader's log. */
static ria_err render_arriving(
    const struct listing *listing,
    const struct cluster_partition *p,
    int32_t node_id,
    const described_log *leader
)
{
    const described_log *log = node_logs_find(listing->logs, node_id, &p->topic->id, p->number);
    int64_t missing = -1;

    if (log != NULL && leader != NULL) {
        int64_t from = ria_max_i64(log->end_offset, leader->start_offset);
        missing = ria_max_i64(leader->end_offset - from, 0);
    }
    RIA_TRY(ria_buf_printf(listing->out, "{\"node_id\":%d,\"bytes\":", (int)node_id));
    RIA_TRY(admin_render_known(log == NULL ? -1 : log->bytes, listing->out));
    RIA_TRY(ria_buf_append_str(listing->out, ",\"missing_records\":"));
    RIA_TRY(admin_render_known(missing, listing->out));
    return ria_buf_append_str(listing->out, "}");
}

static ria_err render_move(struct listing *listing, const struct cluster_partition *p)
{
    struct ria_buf *out = listing->out;
    const described_log *leader =
        node_logs_find(listing->logs, p->leader, &p->topic->id, p->number);
    bool any = false;

    RIA_TRY(ria_buf_append_str(out, listing->any ? ",\n{\"topic\":" : "\n{\"topic\":"));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(p->topic->name)));
    RIA_TRY(ria_buf_printf(out, ",\"partition\":%d,\"replicas\":", (int)p->number));
    RIA_TRY(admin_render_ids(p->replicas, p->replica_count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"target\":"));
    RIA_TRY(admin_render_ids(p->target.ids, p->target.count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"isr\":"));
    RIA_TRY(admin_render_ids(p->isr, p->isr_count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"leader\":"));
    RIA_TRY(admin_render_known(p->leader, out));
    RIA_TRY(ria_buf_append_str(out, ",\"bytes\":"));
    RIA_TRY(admin_render_known(leader == NULL ? -1 : leader->bytes, out));
    RIA_TRY(ria_buf_append_str(out, ",\"arriving\":["));
    for (uint32_t i = 0; i < p->target.count; i++) {
        if (!is_in_sync(p, p->target.ids[i])) {
            RIA_TRY(ria_buf_append_str(out, any ? "," : ""));
            RIA_TRY(render_arriving(listing, p, p->target.ids[i], leader));
            any = true;
        }
    }
    return ria_buf_append_str(out, "]}");
}

static void list_partition(void *arg, const struct cluster_partition *p)
{
    struct listing *listing = arg;

    if (admin_is_moving(p) && listing->err == RIA_OK) {
        listing->err = render_move(listing, p);
        listing->any = true;
    }
}

static void logs_known(void *arg, const struct node_logs *logs)
{
    struct listing *listing = arg;
    struct ria_buf out;

    ria_buf_init(&out, DOCUMENT_MAX);
    listing->logs = logs;
    listing->out = &out;
    listing->err = ria_buf_append_str(&out, "{\"moves\":[");
    admin_each_partition(listing->gateway, list_partition, listing);
    if (listing->err == RIA_OK) {
        listing->err = ria_buf_append_str(&out, "\n]}\n");
    }
    gateway_respond_json(listing->request, 200, listing->err, &out);
}

static void note_moving(void *arg, const struct cluster_partition *p)
{
    bool *any = arg;

    *any = *any || admin_is_moving(p);
}

void handle_moves_list(struct gateway *gateway, struct request *request)
{
    struct listing *listing = ria_arena_alloc(&request->arena, sizeof(*listing));
    const struct describe_logs_request body = {0};
    int32_t ids[RIA_NODES_MAX];
    bool any = false;
    ria_err err = RIA_ERR_NOMEM;

    if (listing != NULL) {
        *listing = (struct listing){.gateway = gateway, .request = request};
        admin_each_partition(gateway, note_moving, &any);
        uint32_t count = any ? admin_nodes(gateway, false, ids) : 0; /* else nobody is asked */
        err = node_logs_ask(&gateway->node_logs, ids, count, &body, logs_known, listing);
    }
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

/* --- by hand -----------------------------------------------------------------------------------*/

typedef struct reassign_partitions_request_reassigned_partition reassigned;

struct reassignment {
    struct gateway *gateway;
    struct request *request;
    struct reassign_partitions_request body;
};

static void moves_visible(void *arg, bool reached)
{
    struct reassignment *reassignment = arg;

    (void)reached; /* it was agreed to, whether we have heard or not */
    request_respond_static(reassignment->request, 204, NULL, NULL);
}

static void reassigned_done(void *arg, ria_err err, const char *text, const void *response)
{
    const struct reassign_partitions_response *done = response;
    struct reassignment *reassignment = arg;

    if (err != RIA_OK) {
        request_fail_err(reassignment->request, err, text);
        return;
    }
    cluster_wait_version(
        reassignment->gateway->cluster, done->version, VIEW_TIMEOUT_MS, moves_visible, reassignment
    );
}

static bool take_target(
    const json_t *target, reassigned *move, struct ria_arena *arena, struct failure *failure
)
{
    size_t count = json_array_size(target);

    if (!json_is_array(target) || count > RIA_REPLICAS_MAX) {
        failure_set(
            failure,
            400,
            "invalid",
            "target",
            "target must be an array of at most %d node ids; an empty one ends a move",
            (int)RIA_REPLICAS_MAX
        );
        return false;
    }
    move->target = ria_arena_alloc_array(arena, count, sizeof(*move->target));
    if (move->target == NULL) {
        failure_of_err(failure, RIA_ERR_NOMEM, "");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_array_get(target, i);
        if (!json_is_integer(id) || json_integer_value(id) < 1 ||
            json_integer_value(id) > RIA_NODES_MAX) {
            failure_set(
                failure,
                400,
                "invalid",
                "target",
                "target must have numbers of nodes, from 1 to %d",
                (int)RIA_NODES_MAX
            );
            return false;
        }
        move->target[move->target_count++] = (int32_t)json_integer_value(id);
    }
    return true;
}

static bool take_move(
    struct gateway *gateway,
    const json_t *entry,
    reassigned *move,
    struct ria_arena *arena,
    struct failure *failure
)
{
    static const char *const known[] = {"topic", "partition", "target", NULL};
    struct ria_slice name = RIA_SLICE_NULL;
    int64_t number = -1;

    if (!json_is_object(entry)) {
        failure_set(failure, 400, "invalid", "moves", "moves must be an array of objects");
        return false;
    }
    if (!document_known(entry, known, failure) ||
        !document_string(entry, "topic", arena, &name, failure) ||
        !document_i64(entry, "partition", 0, RIA_PARTITIONS_MAX - 1, &number, failure)) {
        return false;
    }
    const struct cluster_topic *topic =
        cluster_topic_by_name(gateway->cluster, (const char *)name.data);
    if (topic == NULL || number < 0 || number >= topic->partition_count) {
        failure_set(
            failure,
            404,
            topic == NULL ? "unknown_topic" : "unknown_partition",
            topic == NULL ? "topic" : "partition",
            "there is no partition %lld of a topic \"%.*s\"",
            (long long)number,
            (int)ria_min_size(name.size, RIA_TOPIC_NAME_MAX),
            (const char *)name.data
        );
        return false;
    }
    move->topic_id = topic->id;
    move->partition = (int32_t)number;
    move->partition_epoch = -1;
    return take_target(json_object_get(entry, "target"), move, arena, failure);
}

static bool
take_moves(const json_t *document, struct reassignment *reassignment, struct failure *failure)
{
    static const char *const known[] = {"moves", NULL};
    struct ria_arena *arena = &reassignment->request->arena;
    const json_t *moves = json_object_get(document, "moves");
    size_t count = json_array_size(moves);

    if (!document_known(document, known, failure)) {
        return false;
    }
    if (!json_is_array(moves) || count < 1 || count > MOVES_BY_HAND_MAX) {
        failure_set(
            failure,
            400,
            "invalid",
            "moves",
            "moves must be an array of 1 to %d objects",
            (int)MOVES_BY_HAND_MAX
        );
        return false;
    }
    reassignment->body.partitions = ria_arena_alloc_array(arena, count, sizeof(reassigned));
    if (reassignment->body.partitions == NULL) {
        failure_of_err(failure, RIA_ERR_NOMEM, "");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        reassigned *move = &reassignment->body.partitions[reassignment->body.partitions_count++];
        if (!take_move(reassignment->gateway, json_array_get(moves, i), move, arena, failure)) {
            return false;
        }
    }
    return true;
}

void handle_moves_begin(struct gateway *gateway, struct request *request)
{
    struct reassignment *reassignment = ria_arena_alloc(&request->arena, sizeof(*reassignment));
    struct failure failure;

    if (reassignment == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    reassign_partitions_request_init(&reassignment->body);
    reassignment->gateway = gateway;
    reassignment->request = request;
    json_t *document = document_load(request, &failure);
    bool fine = document != NULL && take_moves(document, reassignment, &failure);
    json_decref(document);
    if (!fine) {
        request_fail(request, &failure);
        return;
    }
    ria_err err = coordinator_call(
        &gateway->coordinator,
        API_REASSIGN_PARTITIONS,
        &reassignment->body,
        ADMIN_TIMEOUT_MS,
        reassigned_done,
        reassignment
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}
