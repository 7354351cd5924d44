#include "services/coordinator/service.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/messages.h"

#include "services/coordinator/coordinator.h"

enum { TICK_MS = 500, DB_PATH_SIZE = DATA_DIR_PATH_MAX + 16 };
_Static_assert(
    (int)COORDINATOR_REASON_SIZE >= (int)DATA_DIR_REASON_SIZE, "reasons are handed through"
);
_Static_assert(
    (int)TICK_MS < (int)MEMBERSHIP_SESSION_FAST_MS,
    "who is new since the tick was armed does not die before"
);
_Static_assert(
    (int)LIVENESS_PROCESSES_MAX + (int)METADATA_WAITS_MAX + (int)GROUP_WAITS_MAX <
        (int)RIA_RPC_HELD_MAX / 2,
    "what is parked here leaves room for requests"
);

/* ---- answering ---- */

void coordinator_forget(struct coordinator *coordinator)
{
    coordinator->answer_known = -1;
    ria_arena_reset(&coordinator->arena);
}

static void send_reply(
    struct coordinator *coordinator, const struct coordinator_call *call, struct ria_msg *msg
)
{
    if (msg == NULL) {
        ria_rpc_drop(coordinator->env->rpc, call->request); /* no memory: the caller times out */
    } else {
        ria_rpc_reply(coordinator->env->rpc, call->request, msg);
    }
}

void coordinator_reply(
    struct coordinator *coordinator, const struct coordinator_call *call, const void *response
)
{
    send_reply(coordinator, call, envelope_reply(&call->header, response, 0, NULL));
}

void coordinator_refuse(
    struct coordinator *coordinator,
    const struct coordinator_call *call,
    ria_err err,
    const char *fmt,
    ...
)
{
    char text[RIA_ERROR_TEXT_MAX + 1];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    coordinator->metrics.requests_refused.value++;
    send_reply(coordinator, call, envelope_reply_error(&call->header, err, "%s", text));
}

bool coordinator_decode(
    struct coordinator *coordinator, const struct coordinator_call *call, void *out_body
)
{
    const struct schema_message *message = schema_request(call->header.api_key);

    RIA_ASSERT(message != NULL);
    ria_err err = envelope_decode_body(
        message, call->header.api_version, call->body, &coordinator->arena, out_body
    );
    if (err != RIA_OK) {
        coordinator_refuse(coordinator, call, err, "%s: %s", message->name, ria_err_text(err));
    }
    return err == RIA_OK;
}

/* ---- requests ---- */

struct route {
    int16_t api_key;
    void (*handle)(struct coordinator *coordinator, const struct coordinator_call *call);
};

static const struct route routes[] = {
    {API_HEARTBEAT, handle_heartbeat},
    {API_METADATA, handle_metadata},
    {API_DESCRIBE_CLUSTER, handle_describe_cluster},
    {API_LIST_TRANSFORMS, handle_list_transforms},
    {API_PLAN_REBALANCE, handle_plan_rebalance},
    {API_DESCRIBE_GROUPS, handle_describe_groups},
    {API_WATCH_GROUPS, handle_watch_groups},
};

static void route(struct coordinator *coordinator, const struct coordinator_call *call)
{
    int16_t api_key = call->header.api_key;

    if (state_is_command(api_key)) {
        handle_command(coordinator, call);
        return;
    }
    for (size_t i = 0; i < RIA_COUNT(routes); i++) {
        if (routes[i].api_key == api_key) {
            routes[i].handle(coordinator, call);
            return;
        }
    }
    coordinator_refuse(
        coordinator,
        call,
        RIA_ERR_UNKNOWN_TYPE,
        "the coordinator does not serve %s (type %d)",
        api_name(api_key),
        api_key
    );
}

static void on_request(void *arg, struct ria_rpc_request *request)
{
    struct coordinator *coordinator = arg;
    struct coordinator_call call = {.request = request};
    struct ria_slice payload = RIA_SLICE_NULL;
    const struct ria_msg *msg = ria_rpc_request_msg(coordinator->env->rpc, request);

    coordinator->metrics.requests.value++;
    ria_err err = envelope_open_request(msg, &call.header, &call.body, &payload);
    if (err == RIA_OK && !coordinator->running) {
        coordinator_refuse(coordinator, &call, RIA_ERR_SHUTDOWN, "the coordinator is stopping");
    } else if (err == RIA_OK) {
        route(coordinator, &call);
    } else if (err == RIA_ERR_UNKNOWN_TYPE || err == RIA_ERR_UNKNOWN_VERSION) {
        coordinator_refuse(
            coordinator,
            &call,
            err,
            "type %d version %d: %s",
            call.header.api_key,
            call.header.api_version,
            ria_err_text(err)
        );
    } else {
        ria_rpc_drop(coordinator->env->rpc, request); /* not a frame of ours: nobody to answer */
    }
    coordinator_forget(coordinator);
}

/* ---- timers ---- */

void coordinator_react(struct coordinator *coordinator)
{
    elections_check(coordinator);
    assigner_check(coordinator);
    beats_check(coordinator);
}

static void on_wake(struct ria_timer *timer, void *arg)
{
    struct coordinator *coordinator = arg;

    (void)timer;
    metadata_waits_wake(coordinator->parked, coordinator->version);
    group_waits_wake(coordinator->group_waits);
    coordinator_forget(coordinator);
    coordinator_react(coordinator);
}

static int64_t count_leaderless(struct coordinator *coordinator)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_LEADERLESS_COUNT);
    bool found = meta_step(stmt);

    RIA_ASSERT(found);
    int64_t count = meta_column_int(stmt, 0);
    meta_done(stmt);
    return count;
}

void coordinator_arm_tick(struct coordinator *coordinator)
{
    int64_t now_us = ria_clock_mono_us(coordinator->env->clock);
    int64_t next_us = ria_max_i64(liveness_next_us(coordinator->liveness), now_us);
    int64_t due_us = ria_min_i64(next_us, now_us + TICK_MS * INT64_C(1000));

    if (!coordinator->running) {
        return;
    }
    liveness_expect(coordinator->liveness, due_us);
    ria_timer_start(coordinator->env->timers, &coordinator->tick_timer, due_us - now_us);
}

static void on_tick(struct ria_timer *timer, void *arg)
{
    struct coordinator *coordinator = arg;

    (void)timer;
    liveness_expire(coordinator->liveness);
    coordinator_react(coordinator);
    mover_check(coordinator);
    sweeper_check(coordinator);
    overdue_check(coordinator);
    coordinator->metrics.parked.value = metadata_waits_count(coordinator->parked);
    coordinator->metrics.group_watches.value = group_waits_count(coordinator->group_waits);
    coordinator->metrics.processes.value = liveness_count(coordinator->liveness);
    coordinator->metrics.leaderless.value = count_leaderless(coordinator);
    coordinator_arm_tick(coordinator);
}

bool coordinator_is_settling(const struct coordinator *coordinator)
{
    int64_t up_us = ria_clock_mono_us(coordinator->env->clock) - coordinator->started_us;

    return up_us < MEMBERSHIP_SESSION_MS * INT64_C(1000);
}

/* ---- life ---- */

/* A new cluster in a new folder, or the folder's own. */
static ria_err settle_identity(struct coordinator *coordinator, bool db_existed, char *reason)
{
    struct data_dir *dir = &coordinator->dir;
    struct state_summary summary;
    bool founded = state_summary(coordinator->db, &summary);

    if (founded && dir->has_identity && !ria_uuid_equal(summary.cluster_id, dir->cluster_id)) {
        (void)snprintf(
            reason,
            COORDINATOR_REASON_SIZE,
            "meta.db in the data folder %.200s belongs to another cluster than the file identity: "
            "put back the one that belongs there",
            dir->path
        );
        return RIA_ERR_WRONG_CLUSTER;
    }
    if (!founded) {
        uint8_t bytes[RIA_UUID_SIZE];
        RIA_ASSERT(!dir->has_identity || db_existed);
        ria_rand_bytes(coordinator->env->rand, bytes, sizeof(bytes));
        struct ria_uuid id = dir->has_identity ? dir->cluster_id : ria_uuid_v4(bytes);
        state_found_cluster(coordinator->db, &id);
    }
    coordinator_read_summary(coordinator);
    founded = state_summary(coordinator->db, &summary);
    RIA_ASSERT(founded);
    lease_clock_init(&coordinator->lease_clock, coordinator->env->clock, summary.lease_ms);
    return dir->has_identity ? RIA_OK
                             : data_dir_write_identity(dir, &coordinator->cluster_id, reason);
}

static ria_err open_database(struct coordinator *coordinator, char *reason)
{
    char path[DB_PATH_SIZE];
    char why[512];
    const char *vfs = NULL;
    struct ria_file *file = NULL;
    struct data_dir *dir = &coordinator->dir;

    data_dir_file(dir, "meta.db", path);
    ria_err err = ria_fs_open(dir->fs, path, RIA_FS_READ, &file);
    bool existed = err == RIA_OK;
    ria_fs_close(file);
    if (dir->has_identity && err == RIA_ERR_NOT_FOUND) {
        (void)snprintf(
            reason,
            COORDINATOR_REASON_SIZE,
            "meta.db is missing in the data folder %.200s: put it back, or move the whole folder "
            "away to begin a new, empty cluster",
            dir->path
        );
        return RIA_ERR_NOT_FOUND;
    }
    if (coordinator->options->simulated_disk) {
        RIA_TRY(vfs_db_new(coordinator->env, &coordinator->vfs));
        vfs = vfs_db_name(coordinator->vfs);
    }
    err = meta_db_open(path, vfs, coordinator->env->log, why, sizeof(why), &coordinator->db);
    if (err != RIA_OK) {
        (void)snprintf(reason, COORDINATOR_REASON_SIZE, "%.300s %s", path, why);
        return err;
    }
    RIA_TRY(settle_identity(coordinator, existed, reason));
    return ria_fs_sync_dir(dir->fs, dir->path);
}

static ria_err build(struct coordinator *coordinator, char *reason)
{
    uint8_t bytes[RIA_UUID_SIZE];
    const struct ria_env *env = coordinator->env;
    const struct consensus_machine machine = coordinator_machine(coordinator);

    RIA_TRY(data_dir_open(&coordinator->dir, env->fs, coordinator->options->data_dir, reason));
    RIA_TRY(open_database(coordinator, reason));
    ria_rand_bytes(env->rand, bytes, sizeof(bytes));
    coordinator->process_uuid = ria_uuid_v4(bytes);
    RIA_TRY(state_new(coordinator->db, &coordinator->state));
    RIA_TRY(consensus_new(env, &machine, coordinator->applied_index, &coordinator->consensus));
    RIA_TRY(liveness_new(env->clock, &coordinator->liveness));
    RIA_TRY(metadata_waits_new(env, handle_metadata_unparked, coordinator, &coordinator->parked));
    return group_waits_new(
        env, handle_watch_groups_unparked, coordinator, &coordinator->group_waits
    );
}

ria_err coordinator_new(
    const struct ria_env *env,
    const struct coordinator_options *options,
    char reason[COORDINATOR_REASON_SIZE],
    struct coordinator **out_coordinator
)
{
    RIA_ASSERT(env->fs != NULL);

    reason[0] = '\0';
    struct coordinator *coordinator = calloc(1, sizeof(*coordinator));
    if (coordinator == NULL) {
        (void)snprintf(reason, COORDINATOR_REASON_SIZE, "%s", ria_err_text(RIA_ERR_NOMEM));
        return RIA_ERR_NOMEM;
    }
    coordinator->env = env;
    coordinator->options = options;
    ria_arena_init(&coordinator->arena, COORDINATOR_ARENA_SIZE_MAX);
    coordinator->answer_known = -1;
    ria_timer_init(&coordinator->wake_timer, on_wake, coordinator);
    ria_timer_init(&coordinator->tick_timer, on_tick, coordinator);
    beats_init(coordinator);
    elections_init(coordinator);
    sweeper_init(coordinator);
    ria_err err = build(coordinator, reason);
    if (err != RIA_OK) {
        if (reason[0] == '\0') {
            (void)snprintf(
                reason,
                COORDINATOR_REASON_SIZE,
                "the data folder %.200s cannot be used: %s",
                options->data_dir,
                ria_err_text(err)
            );
        }
        coordinator_free(coordinator);
        return err;
    }
    *out_coordinator = coordinator;
    return RIA_OK;
}

void coordinator_start(struct coordinator *coordinator)
{
    char id[RIA_UUID_TEXT_SIZE];

    coordinator->running = true;
    coordinator->applied_at_start = coordinator->applied_index;
    coordinator->tasks_changed = true;
    coordinator->started_us = ria_clock_mono_us(coordinator->env->clock);
    ria_rpc_set_handler(coordinator->env->rpc, on_request, coordinator);
    coordinator_arm_tick(coordinator);
    elections_start(coordinator);
    ria_uuid_format(coordinator->cluster_id, id);
    ria_log_info(
        coordinator->env->log,
        "coordinator.started",
        "cluster=%s version=%" PRId64 " applied=%" PRId64,
        id,
        coordinator->version,
        coordinator->applied_index
    );
}

void coordinator_stop(struct coordinator *coordinator)
{
    coordinator->running = false;
    ria_timer_stop(coordinator->env->timers, &coordinator->tick_timer);
    ria_timer_stop(coordinator->env->timers, &coordinator->sweep_timer);
    elections_stop(coordinator);
    consensus_flush(coordinator->consensus);
    ria_timer_stop(coordinator->env->timers, &coordinator->wake_timer);
    beats_answer(coordinator);
    metadata_waits_wake(coordinator->parked, INT64_MAX);
    group_waits_wake_all(coordinator->group_waits);
    coordinator_forget(coordinator);
    meta_db_checkpoint(coordinator->db);
}

void coordinator_free(struct coordinator *coordinator)
{
    if (coordinator == NULL) {
        return;
    }
    coordinator->running = false;
    ria_timer_stop(coordinator->env->timers, &coordinator->tick_timer);
    ria_timer_stop(coordinator->env->timers, &coordinator->sweep_timer);
    elections_stop(coordinator);
    ria_timer_stop(coordinator->env->timers, &coordinator->wake_timer);
    beats_fini(coordinator);
    consensus_free(coordinator->consensus);
    metadata_waits_free(coordinator->parked);
    group_waits_free(coordinator->group_waits);
    liveness_free(coordinator->liveness);
    state_free(coordinator->state);
    meta_db_close(coordinator->db);
    vfs_db_free(coordinator->vfs);
    data_dir_close(&coordinator->dir);
    ria_arena_fini(&coordinator->arena);
    free(coordinator);
}

/* ---- looking in ---- */

void coordinator_add_metrics(struct coordinator *coordinator, struct ria_metrics *metrics)
{
    struct coordinator_metrics *m = &coordinator->metrics;

#define ADD_COUNTER(field, name, help) ria_metrics_add_counter(metrics, name, "", help, &m->field);
#define ADD_GAUGE(field, name, help)   ria_metrics_add_gauge(metrics, name, "", help, &m->field);
    COORDINATOR_COUNTERS(ADD_COUNTER)
    COORDINATOR_GAUGES(ADD_GAUGE)
#undef ADD_COUNTER
#undef ADD_GAUGE
    ria_metrics_add_histogram(
        metrics,
        "riacho_coordinator_commit_seconds",
        "",
        "time of one group of commands, its sync included",
        &m->commit_us
    );
}

struct ria_uuid coordinator_cluster_id(const struct coordinator *coordinator)
{
    return coordinator->cluster_id;
}

int64_t coordinator_version(const struct coordinator *coordinator)
{
    return coordinator->version;
}

int64_t coordinator_applied_index(const struct coordinator *coordinator)
{
    return coordinator->applied_index;
}

uint64_t coordinator_state_hash(struct coordinator *coordinator)
{
    return meta_db_hash(coordinator->db);
}
