/* Heartbeat: a process is alive. Nothing durable comes of it but by its absence.
 *
 * The answer is held back for as long as the request allows (250 ms), and the process sends the
 * next one at once. So there is nearly always one here: to be answered when the workers of its role
 * change, and to tell by its connection that the process may have died.
 *
 * A worker that is asked to end says so in its last heartbeat (`leaving`), and the others hear of
 * it as fast as of its death, without the wait for proof of that.
 *
 * A coordinator that has just started knows none of the workers. If it answered the first one at
 * once, that one would take over everybody's partitions until the others are heard. So the workers'
 * answers wait until everybody had time for one; meanwhile they keep the lease they have.
 */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/map.h"

#include "schemas/gen/heartbeat_request.h"
#include "schemas/gen/heartbeat_response.h"

#include "services/coordinator/coordinator.h"
#include "services/coordinator/node_set.h"

enum {
    /* A hold and a margin for a new connection; below the sender's timeout. */
    BEATS_YOUNG_MS = MEMBERSHIP_HOLD_MS + 150,
    BEAT_WAIT_MS_MAX = 1000, /* whatever the request allows */
};

/* A heartbeat whose answer is held back: at most one of each process, so that there are no more
 * than LIVENESS_PROCESSES_MAX of them. */
struct beat {
    struct coordinator *coordinator;
    struct coordinator_call call;
    struct ria_uuid uuid; /* key in coordinator->beats */
    int64_t incarnation;
    process_role role;
    bool registered;
    int64_t workers_hash; /* of the workers that the process knows */
    int64_t wait_ms;
    struct ria_timer timer;
};

static bool role_is_known(int8_t role)
{
    return role >= PROCESS_GATEWAY && role <= PROCESS_TRANSFORM;
}

/* Of whom there are as many as one likes, who share what there is to do. */
static bool role_is_worker(process_role role)
{
    return role == PROCESS_REPLICATION || role == PROCESS_TRANSFORM;
}

/* Whether the node is registered as what it says it is. */
static bool is_registered(struct coordinator *coordinator, const struct heartbeat_request *request)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_NODE_BY_UUID);

    meta_bind_uuid(stmt, 1, &request->process_uuid);
    bool registered = meta_step(stmt) && meta_column_int(stmt, 0) == request->node_id &&
                      meta_column_int(stmt, 1) == request->incarnation &&
                      meta_column_int(stmt, 4) != NODE_REMOVED;
    meta_done(stmt);
    return registered;
}

/* ---- workers ---- */

struct workers {
    struct ria_uuid *items; /* ascending, in the coordinator's arena */
    uint32_t count;
    int64_t hash;
};

/* False: no memory. */
static bool list_workers(struct coordinator *coordinator, process_role role, struct workers *out)
{
    uint32_t count = liveness_list(coordinator->liveness, role, NULL, 0);
    struct ria_uuid *items = ria_arena_alloc_array(&coordinator->arena, count, sizeof(*items));

    if (items == NULL) {
        return false;
    }
    (void)liveness_list(coordinator->liveness, role, items, count);
    *out = (struct workers){
        .items = items,
        .count = count,
        .hash = (int64_t)ria_hash_bytes(items, count * sizeof(*items)),
    };
    return true;
}

static void add_lease(
    const struct beat *beat, const struct workers *workers, struct heartbeat_response *response
)
{
    uint32_t index = 0;
    uint32_t count = 0;

    if (liveness_place(beat->coordinator->liveness, &beat->uuid, &index, &count)) {
        RIA_ASSERT(count == workers->count);
        response->worker_index = (int32_t)index;
        response->worker_count = (int32_t)count;
        response->workers = workers->items;
        response->workers_count = workers->count;
        response->workers_hash = workers->hash;
    }
}

/* ---- answers ---- */

static void answer(const struct beat *beat)
{
    struct coordinator *coordinator = beat->coordinator;
    struct heartbeat_response response;
    struct workers workers;

    heartbeat_response_init(&response);
    response.registered = beat->registered;
    response.metadata_version = coordinator->version;
    if (role_is_worker(beat->role) && list_workers(coordinator, beat->role, &workers)) {
        add_lease(beat, &workers, &response);
    } else if (beat->role == PROCESS_GATEWAY) {
        overdue_give(coordinator, &response);
    }
    coordinator_reply(coordinator, &beat->call, &response);
}

/* Takes a beat that was held. */
static void beat_end(struct beat *beat)
{
    struct coordinator *coordinator = beat->coordinator;

    ria_timer_stop(coordinator->env->timers, &beat->timer);
    (void)ria_map_remove(&coordinator->beats, beat->uuid.bytes, sizeof(beat->uuid.bytes));
    free(beat);
}

static void answer_held(struct beat *beat)
{
    struct coordinator *coordinator = beat->coordinator;

    answer(beat);
    beat_end(beat);
    coordinator_forget(coordinator);
}

static void on_beat_timer(struct ria_timer *timer, void *arg)
{
    struct beat *beat = arg;

    (void)timer;
    liveness_expire(beat->coordinator->liveness);
    answer_held(beat);
}

/* The connection it came on is lost. That is a hint, no more: the next one may come on another. */
static void on_beat_gone(void *arg)
{
    struct beat *beat = arg;
    struct coordinator *coordinator = beat->coordinator;

    liveness_expire(coordinator->liveness);
    liveness_hint(coordinator->liveness, &beat->uuid, beat->incarnation);
    ria_rpc_drop(coordinator->env->rpc, beat->call.request);
    beat_end(beat);
    coordinator_arm_tick(coordinator);
    coordinator_react(coordinator);
}

/* ---- holding ---- */

static bool is_young(const struct coordinator *coordinator)
{
    int64_t up_us = ria_clock_mono_us(coordinator->env->clock) - coordinator->started_us;

    /* In a new cluster there is nothing to upset. */
    return coordinator->applied_at_start != 0 && up_us < BEATS_YOUNG_MS * INT64_C(1000);
}

/* Milliseconds that the answer is held back; 0 = it has something to say. */
static int64_t
hold_ms(struct coordinator *coordinator, const struct heartbeat_request *request, bool registered)
{
    process_role role = (process_role)request->role;
    int64_t wait_ms = ria_min_i64(ria_max_i64(request->wait_ms, 0), BEAT_WAIT_MS_MAX);
    int64_t up_us = ria_clock_mono_us(coordinator->env->clock) - coordinator->started_us;
    struct workers workers;

    if (wait_ms == 0 || (role == PROCESS_STORAGE && !registered)) {
        return 0;
    }
    if (!role_is_worker(role)) {
        return wait_ms;
    }
    if (is_young(coordinator)) {
        return ria_max_i64(wait_ms, BEATS_YOUNG_MS - up_us / 1000);
    }
    return list_workers(coordinator, role, &workers) && workers.hash == request->workers_hash
               ? wait_ms
               : 0;
}

/* Copies beat. A newer one of the same process ends the older. */
static void hold_or_answer(const struct beat *beat)
{
    struct coordinator *coordinator = beat->coordinator;
    struct beat *older =
        ria_map_get(&coordinator->beats, beat->uuid.bytes, sizeof(beat->uuid.bytes));
    struct beat *held = beat->wait_ms > 0 ? malloc(sizeof(*held)) : NULL;

    if (older != NULL) {
        answer(older);
        beat_end(older);
    }
    if (held != NULL) {
        *held = *beat;
        if (ria_map_put(&coordinator->beats, held->uuid.bytes, sizeof(held->uuid.bytes), held) !=
            RIA_OK) {
            free(RIA_STEAL(&held));
        }
    }
    if (held == NULL) {
        answer(beat);
        return;
    }
    ria_timer_init(&held->timer, on_beat_timer, held);
    ria_timer_start(coordinator->env->timers, &held->timer, held->wait_ms * 1000);
    ria_rpc_on_gone(coordinator->env->rpc, held->call.request, on_beat_gone, held);
}

/* A held beat of this role whose process knows other workers; NULL: none. */
static struct beat *
find_outdated(const struct coordinator *coordinator, process_role role, int64_t hash)
{
    size_t cursor = 0;
    struct beat *beat = NULL;

    while ((beat = ria_map_next(&coordinator->beats, &cursor)) != NULL) {
        if (beat->role == role && beat->workers_hash != hash) {
            return beat;
        }
    }
    return NULL;
}

void beats_check(struct coordinator *coordinator)
{
    static const process_role roles[] = {PROCESS_REPLICATION, PROCESS_TRANSFORM};
    int64_t living = liveness_changes(coordinator->liveness);
    struct workers workers;
    struct beat *beat = NULL;

    if (living == coordinator->beats_living || is_young(coordinator)) {
        return;
    }
    coordinator->beats_living = living;
    for (size_t i = 0; i < RIA_COUNT(roles); i++) {
        if (!list_workers(coordinator, roles[i], &workers)) {
            continue; /* they hear of it when their time is over */
        }
        int64_t hash = workers.hash;
        while ((beat = find_outdated(coordinator, roles[i], hash)) != NULL) {
            answer_held(beat);
        }
    }
}

/* ---- life ---- */

void beats_init(struct coordinator *coordinator)
{
    ria_map_init(&coordinator->beats);
}

void beats_answer(struct coordinator *coordinator)
{
    size_t cursor = 0;
    struct beat *beat = NULL;

    liveness_expire(coordinator->liveness);
    while ((beat = ria_map_next(&coordinator->beats, &cursor)) != NULL) {
        answer_held(beat);
        cursor = 0;
    }
}

void beats_fini(struct coordinator *coordinator)
{
    size_t cursor = 0;
    struct beat *beat = NULL;

    while ((beat = ria_map_next(&coordinator->beats, &cursor)) != NULL) {
        ria_rpc_drop(coordinator->env->rpc, beat->call.request);
        beat_end(beat);
        cursor = 0;
    }
    ria_map_fini(&coordinator->beats);
}

/* ---- the request ---- */

static void fill_process(
    struct coordinator *coordinator,
    const struct heartbeat_request *request,
    struct liveness_process *out_process
)
{
    *out_process = (struct liveness_process){
        .uuid = request->process_uuid,
        .incarnation = request->incarnation,
        .role = (process_role)request->role,
        .node_id = -1,
        .full = request->full,
    };
    memcpy(out_process->address, request->address.data, request->address.size);
    if (out_process->role == PROCESS_STORAGE && is_registered(coordinator, request)) {
        out_process->node_id = request->node_id;
    }
}

/* Sent by a former life of a node that has registered since and is alive: it was late. */
static bool
is_outlived(const struct coordinator *coordinator, const struct liveness_process *process)
{
    const struct liveness_process *known = liveness_find(coordinator->liveness, &process->uuid);

    return process->role == PROCESS_STORAGE && process->node_id < 0 && known != NULL &&
           known->alive && known->node_id >= 0 && known->incarnation != process->incarnation;
}

void handle_heartbeat(struct coordinator *coordinator, const struct coordinator_call *call)
{
    struct heartbeat_request request;
    struct liveness_process process;

    if (!coordinator_decode(coordinator, call, &request)) {
        return;
    }
    if (!role_is_known(request.role)) {
        coordinator_refuse(
            coordinator, call, RIA_ERR_INVALID, "role is %d, must be 1..5", request.role
        );
        return;
    }
    fill_process(coordinator, &request, &process);
    liveness_expire(coordinator->liveness);
    ria_err err = is_outlived(coordinator, &process)
                      ? RIA_OK
                      : liveness_heard(coordinator->liveness, &process);
    if (err != RIA_OK) {
        coordinator_refuse(
            coordinator,
            call,
            err,
            "%u processes are known, the limit is %d",
            liveness_count(coordinator->liveness),
            LIVENESS_PROCESSES_MAX
        );
        return;
    }
    bool leaves = request.leaving && role_is_worker(process.role);
    if (leaves) {
        liveness_leave(coordinator->liveness, &process.uuid, process.incarnation);
    }
    const struct beat beat = {
        .coordinator = coordinator,
        .call = *call,
        .uuid = process.uuid,
        .incarnation = process.incarnation,
        .role = process.role,
        .registered = process.node_id >= 0,
        .workers_hash = request.workers_hash,
        .wait_ms = leaves ? 0 : hold_ms(coordinator, &request, process.node_id >= 0),
    };
    hold_or_answer(&beat);
    coordinator_react(coordinator);
}
