#include "tests/sim/client.h"

#include <stdlib.h>

#include "common/assert.h"

#include "schemas/envelope.h"

enum { CLIENT_ARENA_SIZE = 1024 * 1024, CLIENT_RESPONSE_SIZE_MAX = 256 };

struct client_call {
    int16_t api_key;
    client_done_fn done;
    void *arg;
};

struct client *client_new(const struct ria_env *env, const char *coordinator)
{
    struct client *client = calloc(1, sizeof(*client));

    RIA_ASSERT(client != NULL);
    client->env = env;
    ria_err err = cluster_new(env, coordinator, NULL, NULL, &client->cluster);
    RIA_ASSERT(err == RIA_OK);
    struct membership_identity identity = {.role = PROCESS_GATEWAY};
    uint8_t bytes[RIA_UUID_SIZE];
    ria_rand_bytes(env->rand, bytes, sizeof(bytes));
    identity.process_uuid = ria_uuid_v4(bytes);
    identity.incarnation = (int64_t)(ria_rand_u64(env->rand) >> 1);
    err = membership_new(env, client->cluster, &identity, NULL, NULL, &client->membership);
    RIA_ASSERT(err == RIA_OK);
    cluster_start(client->cluster);
    membership_start(client->membership);
    return client;
}

void client_free(struct client *client)
{
    if (client != NULL) {
        membership_free(client->membership);
        cluster_free(client->cluster);
        free(client);
    }
}

static void on_reply(void *arg, ria_err err, struct ria_msg *reply)
{
    struct client_call *call = arg;
    union {
        long double aligned;
        uint8_t bytes[CLIENT_RESPONSE_SIZE_MAX];
    } response;
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload = RIA_SLICE_NULL;
    struct ria_arena arena;

    ria_arena_init(&arena, CLIENT_ARENA_SIZE);
    if (err == RIA_OK) {
        err = envelope_open_reply(reply, call->api_key, &header, &body, &payload, NULL, 0);
    }
    if (err == RIA_OK) {
        const struct schema_message *message = schema_response(call->api_key);
        RIA_ASSERT(message->struct_size <= sizeof(response));
        err = envelope_decode_body(message, header.api_version, body, &arena, &response);
    }
    call->done(call->arg, err, &response, payload);
    ria_arena_fini(&arena);
    ria_msg_free(reply);
    free(call);
}

void client_call(
    struct client *client,
    const char *address,
    int16_t api_key,
    const void *request,
    struct ria_slice payload,
    uint32_t timeout_ms,
    client_done_fn done,
    void *arg
)
{
    uint8_t *room = NULL;
    struct ria_msg *msg =
        envelope_request(api_key, 0, -1, timeout_ms, request, payload.size, &room);
    struct client_call *call = calloc(1, sizeof(*call));

    RIA_ASSERT(msg != NULL && call != NULL);
    if (payload.size > 0) {
        memcpy(room, payload.data, payload.size);
    }
    *call = (struct client_call){.api_key = api_key, .done = done, .arg = arg};
    ria_rpc_call(client->env->rpc, address, msg, timeout_ms, on_reply, call);
}

bool client_is_deleted(const struct client *client, const struct ria_uuid *topic_id)
{
    const struct cluster_topic *topic = cluster_topic_by_id(client->cluster, topic_id);

    return topic != NULL && topic->deleted;
}

bool client_find_leader(
    const struct client *client,
    const struct ria_uuid *topic_id,
    int32_t partition,
    const char **out_address,
    int32_t *out_leader_epoch
)
{
    const struct cluster_partition *found = cluster_partition(client->cluster, topic_id, partition);
    const struct cluster_node *node =
        found == NULL || found->leader < 0 ? NULL : cluster_node(client->cluster, found->leader);

    if (node == NULL) {
        return false;
    }
    *out_address = node->address;
    *out_leader_epoch = found->leader_epoch;
    return true;
}

bool client_expects(const struct plan *plan, ria_err err)
{
    static const ria_err expected[] = {
        RIA_ERR_TIMEOUT,
        RIA_ERR_DISCONNECTED,
        RIA_ERR_BUSY,
        RIA_ERR_SHUTDOWN,
        RIA_ERR_NOT_LEADER,
        RIA_ERR_NO_LEADER,
        RIA_ERR_FENCED_EPOCH,
        RIA_ERR_UNKNOWN_EPOCH,
    };

    for (size_t i = 0; i < RIA_COUNT(expected); i++) {
        if (expected[i] == err) {
            return true;
        }
    }
    bool has_bad_disk = plan_has(plan, PLAN_IO_ERROR) || plan_has(plan, PLAN_SYNC_ERROR);
    return (err == RIA_ERR_NO_SPACE && plan_has(plan, PLAN_DISK_FULL)) ||
           (err == RIA_ERR_IO && has_bad_disk) ||
           (err == RIA_ERR_CORRUPT && (has_bad_disk || plan_has(plan, PLAN_ROT)));
}
