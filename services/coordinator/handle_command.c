/* Requests that change metadata: propose them, answer when they are committed. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/gen/messages.h"
#include "schemas/gen/register_node_request.h"

#include "services/coordinator/coordinator.h"

/* A request whose command is under way. */
struct pending {
    struct coordinator *coordinator;
    struct coordinator_call call;
};

/* A node that registered was heard: topics may be placed on it before its first heartbeat. */
static void node_registered(struct pending *pending, const struct command_result *result)
{
    struct coordinator *coordinator = pending->coordinator;
    struct register_node_request request;

    if (!coordinator_decode(coordinator, &pending->call, &request)) {
        RIA_ASSERT(false); /* it was decoded before it was proposed */
    }
    struct liveness_process process = {
        .uuid = request.process_uuid,
        .incarnation = request.incarnation,
        .role = PROCESS_STORAGE,
        .node_id = result->response.register_node.node_id,
    };
    if (result->response.register_node.incarnation != request.incarnation) {
        return; /* of a former life */
    }
    RIA_ASSERT(request.address.size < sizeof(process.address));
    memcpy(process.address, request.address.data, request.address.size);
    ria_err err = liveness_heard(coordinator->liveness, &process);
    if (err != RIA_OK) { /* it is registered all the same; its heartbeats will hear of this */
        ria_log_warn(
            coordinator->env->log, "coordinator.too_many_processes", "err=%s", ria_err_name(err)
        );
    }
    ria_log_write(
        coordinator->env->log,
        result->changed ? RIA_LOG_INFO : RIA_LOG_DEBUG,
        "coordinator.node_registered",
        "node=%" PRId32 " address=%s",
        process.node_id,
        process.address
    );
}

/* What people do is logged, what the services do every second is not. */
static void log_committed(struct coordinator *coordinator, int16_t api_key, int64_t index)
{
    bool by_people = api_key == API_CREATE_TOPIC || api_key == API_ALTER_TOPIC ||
                     api_key == API_DELETE_TOPIC || api_key == API_CREATE_TRANSFORM ||
                     api_key == API_DELETE_TRANSFORM || api_key == API_ELECT_LEADER ||
                     api_key == API_REASSIGN_PARTITIONS || api_key == API_ALTER_NODE ||
                     api_key == API_ALTER_REBALANCE;

    ria_log_write(
        coordinator->env->log,
        by_people ? RIA_LOG_INFO : RIA_LOG_DEBUG,
        "coordinator.committed",
        "command=%s index=%" PRId64 " version=%" PRId64,
        api_name(api_key),
        index,
        coordinator->version
    );
}

static void on_committed(void *arg, ria_err err, int64_t index, const struct command_result *result)
{
    struct pending *pending = arg;
    struct coordinator *coordinator = pending->coordinator;
    const struct coordinator_call *call = &pending->call;

    if (err == RIA_ERR_SHUTDOWN) {
        ria_rpc_drop(coordinator->env->rpc, call->request); /* it may have been written */
    } else if (err != RIA_OK) {
        coordinator_refuse(coordinator, call, err, "%s", ria_err_text(err));
    } else if (result->err != RIA_OK) {
        coordinator_refuse(coordinator, call, result->err, "%s", result->text);
    } else {
        if (call->header.api_key == API_REGISTER_NODE) {
            node_registered(pending, result);
        }
        log_committed(coordinator, call->header.api_key, index);
        coordinator_reply(coordinator, call, &result->response);
    }
    coordinator_forget(coordinator);
    free(pending);
}

void handle_command(struct coordinator *coordinator, const struct coordinator_call *call)
{
    const struct schema_message *message = schema_request(call->header.api_key);
    void *body = ria_arena_alloc(&coordinator->arena, message->struct_size);
    struct pending *pending = malloc(sizeof(*pending));

    if (body == NULL || pending == NULL) {
        free(pending);
        coordinator_refuse(coordinator, call, RIA_ERR_NOMEM, "%s", ria_err_text(RIA_ERR_NOMEM));
        return;
    }
    if (!coordinator_decode(coordinator, call, body)) {
        free(pending); /* garbage does not get into the log */
        return;
    }
    pending->coordinator = coordinator;
    pending->call = *call;
    ria_err err = coordinator_propose(
        coordinator,
        call->header.api_key,
        call->header.api_version,
        call->header.sender_id,
        call->body,
        on_committed,
        pending
    );
    if (err != RIA_OK) {
        free(pending);
        coordinator_refuse(coordinator, call, err, "%s", ria_err_text(err));
    }
}
