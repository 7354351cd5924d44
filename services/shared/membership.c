#include "services/shared/membership.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/heartbeat_request.h"
#include "schemas/gen/heartbeat_response.h"

enum {
    HEARTBEAT_TIMEOUT_MS = 2 * MEMBERSHIP_HOLD_MS,
    HEARTBEAT_PAUSE_MS = 50,  /* at least, from one to the next: the lease may change often */
    HEARTBEAT_RETRY_MS = 100, /* at least, after one that failed */
    HEARTBEAT_ARENA_SIZE_MAX = 1024 * 1024,
};
_Static_assert(
    2 * HEARTBEAT_TIMEOUT_MS < MEMBERSHIP_SESSION_FAST_MS,
    "one lost heartbeat does not end a session"
);

/* One heartbeat under way. Outlives the membership if that is freed first. */
struct beat {
    struct membership *membership; /* NULL: nobody waits for it any more */
    uint32_t registration;         /* counted by set_node_id */
    bool leaving;                  /* the last one */
};

struct membership {
    const struct ria_env *env;
    struct cluster *cluster;
    struct membership_identity identity;
    membership_fn fn;
    void *arg;

    bool (*is_full)(void *arg); /* may be NULL */
    void *full_arg;
    membership_answer_fn on_answer; /* may be NULL */
    void *on_answer_arg;
    bool started;
    bool *left;      /* membership_leave(): to be set */
    int32_t node_id; /* -1 = none */
    uint32_t registration;
    struct beat *beat; /* NULL: none under way */
    int64_t sent_us;   /* the last one */
    int64_t workers_hash;
    struct ria_uuid *workers; /* state.workers */
    struct ria_timer timer;
    struct ria_timer session;
    struct membership_state state;
};

static void beat_start(struct membership *membership);

const char *process_role_name(process_role role)
{
    switch (role) {
    case PROCESS_GATEWAY:
        return "gateway";
    case PROCESS_STORAGE:
        return "storage";
    case PROCESS_REPLICATION:
        return "replication";
    case PROCESS_COORDINATOR:
        return "coordinator";
    case PROCESS_TRANSFORM:
        return "transform";
    }
    return "unknown"; /* numbers come from the wire */
}

int64_t membership_session_ms(process_role role)
{
    return role == PROCESS_STORAGE || role == PROCESS_REPLICATION ? MEMBERSHIP_SESSION_FAST_MS
                                                                  : MEMBERSHIP_SESSION_MS;
}

/* ---- state ---- */

static bool states_equal(const struct membership_state *a, const struct membership_state *b)
{
    return a->heard == b->heard && a->registered == b->registered &&
           a->worker_index == b->worker_index && a->worker_count == b->worker_count &&
           a->workers == b->workers;
}

static void set_state(struct membership *membership, struct membership_state state)
{
    if (states_equal(&membership->state, &state)) {
        return;
    }
    membership->state = state;
    if (membership->fn != NULL) {
        membership->fn(membership->arg, &membership->state);
    }
}

static void session_over(struct ria_timer *timer, void *arg)
{
    struct membership *membership = arg;
    struct membership_state state = membership->state;

    (void)timer;
    state.heard = false;
    set_state(membership, state);
}

/* ---- heartbeats ---- */

static void beat_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    beat_start(arg);
}

/* So long after the last one was sent, or now if that has passed. */
static void beat_schedule(struct membership *membership, int64_t pause_ms)
{
    int64_t due_us = membership->sent_us + pause_ms * 1000;
    int64_t left_us = due_us - ria_clock_mono_us(membership->env->clock);

    ria_timer_start(membership->env->timers, &membership->timer, ria_max_i64(left_us, 0));
}

static bool
same_workers(const struct membership *membership, const struct ria_uuid *workers, uint32_t count)
{
    return count == 0 ? membership->workers == NULL
                      : membership->workers != NULL && membership->state.worker_count == count &&
                            memcmp(membership->workers, workers, count * sizeof(*workers)) == 0;
}

/* The lease as the answer tells it, into state. Without memory everything stays as it was: the same
 * comes again with the next answer, at once. */
static void take_lease(
    struct membership *membership,
    const struct heartbeat_response *response,
    struct membership_state *state
)
{
    /* An index outside its count would lease nothing or everything twice: no lease. */
    bool leased = response->worker_index >= 0 && response->worker_index < response->worker_count;
    uint32_t count = leased ? (uint32_t)response->worker_count : 0;
    uint32_t told = response->workers_count == count ? count : 0;

    if (!same_workers(membership, response->workers, told)) {
        struct ria_uuid *workers = malloc((size_t)told * sizeof(*workers) + 1);
        if (workers == NULL) {
            return;
        }
        if (told > 0) {
            memcpy(workers, response->workers, told * sizeof(*workers));
        } else {
            free(RIA_STEAL(&workers));
        }
        membership->workers = workers;
    }
    membership->workers_hash = response->workers_hash;
    state->worker_index = leased ? (uint32_t)response->worker_index : 0;
    state->worker_count = count;
    state->workers = membership->workers;
}

static void take_response(
    struct membership *membership,
    const struct beat *beat,
    const struct heartbeat_response *response
)
{
    struct membership_state state = membership->state;
    struct ria_uuid *before = membership->workers;

    ria_timer_start(
        membership->env->timers,
        &membership->session,
        membership_session_ms(membership->identity.role) * 1000
    );
    state.heard = true;
    if (beat->registration == membership->registration) {
        state.registered = response->registered;
    }
    take_lease(membership, response, &state);
    cluster_hint(membership->cluster, response->metadata_version);
    set_state(membership, state);
    if (before != membership->workers) {
        free(before); /* nobody knows it any more */
    }
    if (membership->on_answer != NULL) {
        membership->on_answer(membership->on_answer_arg, response);
    }
}

/* An answer that was not held back has nothing new to say if it says "not registered": no hurry. */
static int64_t pause_ms(const struct membership *membership)
{
    bool unregistered =
        membership->identity.role == PROCESS_STORAGE && !membership->state.registered;

    return unregistered ? MEMBERSHIP_HOLD_MS : HEARTBEAT_PAUSE_MS;
}

/* Errors: those of the envelope. */
static ria_err decode_reply(
    const struct ria_msg *reply, struct ria_arena *arena, struct heartbeat_response *out_response
)
{
    return envelope_read_reply(reply, API_HEARTBEAT, arena, out_response, NULL, NULL, 0);
}

static void
take_reply(struct membership *membership, const struct beat *beat, struct ria_msg *reply)
{
    struct ria_arena arena;
    struct heartbeat_response response;

    ria_arena_init(&arena, HEARTBEAT_ARENA_SIZE_MAX);
    ria_err err = decode_reply(reply, &arena, &response);
    if (err == RIA_OK) {
        take_response(membership, beat, &response);
        beat_schedule(membership, pause_ms(membership));
    } else {
        cluster_coordinator_failed(membership->cluster);
        beat_schedule(membership, HEARTBEAT_RETRY_MS);
    }
    ria_arena_fini(&arena);
}

static void beat_done(void *arg, ria_err err, struct ria_msg *reply)
{
    struct beat *beat = arg;
    struct membership *membership = beat->membership;

    if (membership != NULL) {
        membership->beat = NULL;
        if (beat->leaving) {
            *membership->left = true;
        } else if (err == RIA_OK) {
            take_reply(membership, beat, reply);
        } else {
            /* cluster logs the loss; here it shows when the session ends. */
            cluster_coordinator_failed(membership->cluster);
            beat_schedule(membership, HEARTBEAT_RETRY_MS);
        }
    }
    ria_msg_free(reply);
    free(beat);
}

static void beat_start(struct membership *membership)
{
    const struct membership_identity *identity = &membership->identity;
    struct heartbeat_request body = {
        .process_uuid = identity->process_uuid,
        .incarnation = identity->incarnation,
        .role = (int8_t)identity->role,
        .node_id = membership->node_id,
        .address = ria_slice_cstr(identity->address),
        .wait_ms = MEMBERSHIP_HOLD_MS,
        .workers_hash = membership->workers_hash,
        .leaving = membership->left != NULL,
        .full = membership->is_full != NULL && membership->is_full(membership->full_arg),
    };

    RIA_ASSERT(membership->beat == NULL);

    membership->sent_us = ria_clock_mono_us(membership->env->clock);
    struct beat *beat = calloc(1, sizeof(*beat));
    struct ria_msg *msg = envelope_request(
        API_HEARTBEAT,
        HEARTBEAT_REQUEST_VERSION_MAX,
        membership->node_id,
        HEARTBEAT_TIMEOUT_MS,
        &body,
        0,
        NULL
    );
    if (beat == NULL || msg == NULL) {
        free(beat);
        ria_msg_free(msg);
        if (body.leaving) {
            *membership->left = true;
        } else {
            beat_schedule(membership, HEARTBEAT_RETRY_MS);
        }
        return;
    }
    beat->membership = membership;
    beat->leaving = body.leaving;
    beat->registration = membership->registration;
    membership->beat = beat;
    ria_rpc_call(
        membership->env->rpc,
        cluster_coordinator(membership->cluster),
        msg,
        HEARTBEAT_TIMEOUT_MS,
        beat_done,
        beat
    );
}

/* A storage node has something to say only once it has a number. */
static bool may_beat(const struct membership *membership)
{
    return membership->started &&
           (membership->identity.role != PROCESS_STORAGE || membership->node_id >= 0);
}

/* Send one now, unless one is under way. */
static void beat_now(struct membership *membership)
{
    if (may_beat(membership) && membership->beat == NULL) {
        ria_timer_stop(membership->env->timers, &membership->timer);
        beat_start(membership);
    }
}

/* ---- life ---- */

ria_err membership_new(
    const struct ria_env *env,
    struct cluster *cluster,
    const struct membership_identity *identity,
    membership_fn fn,
    void *arg,
    struct membership **out_membership
)
{
    struct membership *membership = calloc(1, sizeof(*membership));

    if (membership == NULL) {
        return RIA_ERR_NOMEM;
    }
    membership->env = env;
    membership->cluster = cluster;
    membership->identity = *identity;
    membership->fn = fn;
    membership->arg = arg;
    membership->node_id = -1;
    ria_timer_init(&membership->timer, beat_due, membership);
    ria_timer_init(&membership->session, session_over, membership);
    *out_membership = membership;
    return RIA_OK;
}

void membership_free(struct membership *membership)
{
    if (membership == NULL) {
        return;
    }
    if (membership->beat != NULL) {
        membership->beat->membership = NULL;
    }
    ria_timer_stop(membership->env->timers, &membership->timer);
    ria_timer_stop(membership->env->timers, &membership->session);
    free(membership->workers);
    free(membership);
}

void membership_start(struct membership *membership)
{
    if (!membership->started) {
        membership->started = true;
        beat_now(membership);
    }
}

void membership_ask_full(struct membership *membership, bool (*is_full)(void *arg), void *arg)
{
    membership->is_full = is_full;
    membership->full_arg = arg;
}

void membership_on_answer(struct membership *membership, membership_answer_fn fn, void *arg)
{
    membership->on_answer = fn;
    membership->on_answer_arg = arg;
}

void membership_leave(struct membership *membership, bool *out_done)
{
    RIA_ASSERT(membership->left == NULL);

    membership->left = out_done;
    *out_done = !membership->started;
    if (*out_done) {
        return;
    }
    if (membership->beat != NULL) { /* it is held back; the coordinator ends it */
        RIA_STEAL(&membership->beat)->membership = NULL;
    }
    ria_timer_stop(membership->env->timers, &membership->timer);
    ria_timer_stop(membership->env->timers, &membership->session);
    beat_start(membership);
}

void membership_set_incarnation(struct membership *membership, int64_t incarnation)
{
    RIA_ASSERT(!membership->state.registered);

    membership->identity.incarnation = incarnation;
}

void membership_set_node_id(struct membership *membership, int32_t node_id)
{
    RIA_ASSERT(node_id >= 0);

    membership->node_id = node_id;
    membership->registration++;
    membership->state.registered = true;
    beat_now(membership);
}

const struct membership_state *membership_state(const struct membership *membership)
{
    return &membership->state;
}
