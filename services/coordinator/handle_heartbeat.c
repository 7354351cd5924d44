/* Heartbeat: a process is alive. Nothing durable comes of it but by its absence.
 *
 * A coordinator that has just started knows none of the replication workers. If it answered the
 * first one at once, that one would take over everybody's partitions until the others are heard,
 * half a second later. So the answers to replication workers wait for one heartbeat interval; the
 * workers meanwhile keep the lease they have.
 */
#include <stdlib.h>
#include <string.h>

#include "schemas/gen/heartbeat_request.h"
#include "schemas/gen/heartbeat_response.h"

#include "services/coordinator/coordinator.h"

enum {
    /* One interval and a margin for a late one; well below the sender's timeout of 1 s. */
    BEATS_WAIT_MS = MEMBERSHIP_HEARTBEAT_MS + 100,
};

struct waiting_beat {
    struct ria_list link;
    struct coordinator_call call;
    struct ria_uuid uuid;
};

static bool role_is_known(int8_t role)
{
    return role >= PROCESS_GATEWAY && role <= PROCESS_TRANSFORM;
}

/* Whether the node is registered as what it says it is. */
static bool is_registered(struct coordinator *coordinator, const struct heartbeat_request *request)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_NODE_BY_UUID);

    meta_bind_uuid(stmt, 1, &request->process_uuid);
    bool registered = meta_step(stmt) && meta_column_int(stmt, 0) == request->node_id &&
                      meta_column_int(stmt, 1) == request->incarnation;
    meta_done(stmt);
    return registered;
}

/* ---- answers that wait ---- */

static void answer_replication(
    struct coordinator *coordinator,
    const struct coordinator_call *call,
    const struct ria_uuid *uuid
)
{
    struct heartbeat_response response;
    uint32_t index = 0;
    uint32_t count = 0;

    heartbeat_response_init(&response);
    if (liveness_place(coordinator->liveness, uuid, &index, &count)) {
        response.worker_index = (int32_t)index;
        response.worker_count = (int32_t)count;
    }
    response.metadata_version = coordinator->version;
    coordinator_reply(coordinator, call, &response);
}

void beats_answer(struct coordinator *coordinator)
{
    struct ria_list *link = NULL;

    ria_timer_stop(coordinator->env->timers, &coordinator->beats_timer);
    liveness_expire(coordinator->liveness);
    while ((link = ria_list_pop_front(&coordinator->beats)) != NULL) {
        struct waiting_beat *beat = RIA_CONTAINER(link, struct waiting_beat, link);
        answer_replication(coordinator, &beat->call, &beat->uuid);
        free(beat);
    }
}

void beats_drop(struct coordinator *coordinator)
{
    struct ria_list *link = NULL;

    ria_timer_stop(coordinator->env->timers, &coordinator->beats_timer);
    while ((link = ria_list_pop_front(&coordinator->beats)) != NULL) {
        struct waiting_beat *beat = RIA_CONTAINER(link, struct waiting_beat, link);
        ria_rpc_drop(coordinator->env->rpc, beat->call.request);
        free(beat);
    }
}

static void on_beats_timer(struct ria_timer *timer, void *arg)
{
    (void)timer;
    beats_answer(arg);
}

void beats_init(struct coordinator *coordinator)
{
    ria_list_init(&coordinator->beats);
    ria_timer_init(&coordinator->beats_timer, on_beats_timer, coordinator);
}

/* Milliseconds an answer has to wait; 0 = none. In a new cluster there is nothing to upset. */
static int64_t beat_wait_ms(const struct coordinator *coordinator)
{
    int64_t up_us = ria_clock_mono_us(coordinator->env->clock) - coordinator->started_us;

    return coordinator->applied_at_start == 0 ? 0 : ria_max_i64(0, BEATS_WAIT_MS - up_us / 1000);
}

/* Bounded by RIA_RPC_HELD_MAX and, in time, by the wait. */
static void hold_or_answer(
    struct coordinator *coordinator,
    const struct coordinator_call *call,
    const struct ria_uuid *uuid
)
{
    int64_t wait_ms = beat_wait_ms(coordinator);
    struct waiting_beat *beat = wait_ms == 0 ? NULL : malloc(sizeof(*beat));

    if (beat == NULL) {
        answer_replication(coordinator, call, uuid);
        return;
    }
    beat->call = *call;
    beat->uuid = *uuid;
    ria_list_push_back(&coordinator->beats, &beat->link);
    if (!coordinator->beats_timer.active) {
        ria_timer_start(coordinator->env->timers, &coordinator->beats_timer, wait_ms * 1000);
    }
}

/* ---- the request ---- */

void handle_heartbeat(struct coordinator *coordinator, const struct coordinator_call *call)
{
    struct heartbeat_request request;
    struct heartbeat_response response;
    struct liveness_process process = {.node_id = -1};

    if (!coordinator_decode(coordinator, call, &request)) {
        return;
    }
    if (!role_is_known(request.role)) {
        coordinator_refuse(
            coordinator, call, RIA_ERR_INVALID, "role is %d, must be 1..5", request.role
        );
        return;
    }
    heartbeat_response_init(&response);
    process.uuid = request.process_uuid;
    process.incarnation = request.incarnation;
    process.role = (process_role)request.role;
    memcpy(process.address, request.address.data, request.address.size);
    if (process.role == PROCESS_STORAGE) {
        response.registered = is_registered(coordinator, &request);
        process.node_id = response.registered ? request.node_id : -1;
    }
    liveness_expire(coordinator->liveness);
    ria_err err = liveness_heard(coordinator->liveness, &process);
    if (err != RIA_OK) {
        coordinator_refuse(
            coordinator,
            call,
            err,
            "%u processes are known, the limit is %d",
            liveness_count(coordinator->liveness),
            LIVENESS_PROCESSES_MAX
        );
    } else if (process.role == PROCESS_REPLICATION) {
        hold_or_answer(coordinator, call, &process.uuid);
    } else {
        response.metadata_version = coordinator->version;
        coordinator_reply(coordinator, call, &response);
        coordinator_react(coordinator);
    }
}
