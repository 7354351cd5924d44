/* The way of a command through this process: proposed with what the state machine may not ask for
 * itself, then driven through it by consensus. */
#include <stdlib.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/messages.h"

#include "services/coordinator/coordinator.h"

/* ---- the machine that consensus drives ---- */

static void machine_begin(void *arg)
{
    struct coordinator *coordinator = arg;

    coordinator->group_started_us = ria_clock_mono_us(coordinator->env->clock);
    state_begin(coordinator->state);
}

static void
machine_apply(void *arg, int64_t index, struct ria_slice command, struct command_result *out_result)
{
    struct coordinator *coordinator = arg;

    state_apply(coordinator->state, index, command, out_result);
    coordinator->metrics.commands.value++;
    coordinator->metrics.leader_changes.value += out_result->leader_changes;
    coordinator->metrics.group_operations.value += out_result->operations;
    coordinator->metrics.group_operations_refused.value += out_result->operations_refused;
    if (out_result->changed &&
        (out_result->kind == API_CREATE_TRANSFORM || out_result->kind == API_DELETE_TRANSFORM ||
         out_result->kind == COMMAND_ASSIGN_TASKS)) {
        coordinator->tasks_changed = true;
    }
}

void coordinator_read_summary(struct coordinator *coordinator)
{
    struct state_summary summary;
    bool found = state_summary(coordinator->db, &summary);

    RIA_ASSERT(found);
    coordinator->cluster_id = summary.cluster_id;
    coordinator->applied_index = summary.applied_index;
    coordinator->version = summary.version;
    coordinator->metrics.version.value = summary.version;
}

/* Mark those who watch a group that has changed. True: there are any. */
static bool note_groups(struct coordinator *coordinator)
{
    uint32_t count = 0;
    const struct state_woken *woken = state_woken(coordinator->state, &count);

    for (uint32_t i = 0; i < count; i++) {
        group_waits_note(coordinator->group_waits, woken[i].name, woken[i].changed);
    }
    return group_waits_is_due(coordinator->group_waits);
}

static void machine_commit(void *arg, int64_t index)
{
    struct coordinator *coordinator = arg;
    int64_t before = coordinator->version;

    state_commit(coordinator->state, index);
    coordinator_read_summary(coordinator);
    coordinator->metrics.groups.value++;
    ria_histogram_record(
        &coordinator->metrics.commit_us,
        ria_clock_mono_us(coordinator->env->clock) - coordinator->group_started_us
    );
    bool groups_changed = note_groups(coordinator);
    if ((coordinator->version > before || groups_changed) && !coordinator->wake_timer.active) {
        /* After the proposers' own replies, and once for all groups of this turn. */
        ria_timer_start(coordinator->env->timers, &coordinator->wake_timer, 0);
    }
}

struct consensus_machine coordinator_machine(struct coordinator *coordinator)
{
    return (struct consensus_machine){
        .begin = machine_begin,
        .apply = machine_apply,
        .commit = machine_commit,
        .arg = coordinator,
    };
}

/* ---- proposing ---- */

/* What decides by who is alive. */
static bool needs_live_nodes(int16_t kind)
{
    return kind == API_CREATE_TOPIC || kind == API_ALTER_TOPIC || kind == API_CREATE_TRANSFORM ||
           kind == API_REGISTER_NODE || kind == API_ALTER_ISR || kind == API_SHUTDOWN_NODE ||
           kind == API_REPORT_REPLICAS || kind == API_ELECT_LEADER ||
           kind == API_REASSIGN_PARTITIONS || kind == COMMAND_FENCE_NODES ||
           kind == COMMAND_ELECT_LEADERS;
}

/* As many as there are nodes to hold them. One that is active and was not heard since the start may
 * well be alive: until it is known, a topic is rather refused (and tried again) than made with too
 * few replicas for ever. */
static int16_t default_replicas(struct coordinator *coordinator)
{
    int64_t nodes = 0;
    bool settling = coordinator_is_settling(coordinator);
    struct meta_stmt *stmt = meta_query(coordinator->db, META_NODES_BY_ID);

    while (meta_step(stmt)) {
        struct ria_uuid uuid = meta_column_uuid(stmt, 1);
        const struct liveness_process *process = liveness_find(coordinator->liveness, &uuid);
        bool takes = meta_column_int(stmt, 6) == 0 && meta_column_int(stmt, 7) == 0;
        nodes += takes && (settling || (process != NULL && process->alive)) ? 1 : 0;
    }
    meta_done(stmt);
    nodes = ria_min_i64(nodes, coordinator->options->default_replicas);
    return (int16_t)ria_max_i64(nodes, 1); /* the error then names the number of nodes */
}

ria_err coordinator_propose(
    struct coordinator *coordinator,
    int16_t kind,
    int16_t body_version,
    int32_t sender_id,
    struct ria_slice body,
    consensus_done_fn done,
    void *arg
)
{
    int32_t live_nodes[RIA_NODES_MAX];
    uint8_t *bytes = NULL;
    size_t size = 0;
    struct command command = {
        .kind = kind,
        .body_version = body_version,
        .time_ms = ria_clock_wall_ms(coordinator->env->clock),
        .sender_id = sender_id,
        .default_partitions = (int32_t)coordinator->options->default_partitions,
        .live_nodes = live_nodes,
        .body = body,
    };

    if (kind == API_GROUP) {
        command.lease_ms = lease_clock_ms(&coordinator->lease_clock);
    }
    if (needs_live_nodes(kind)) {
        liveness_expire(coordinator->liveness);
        command.live_nodes_count = liveness_nodes(coordinator->liveness, live_nodes, RIA_NODES_MAX);
    }
    if (kind == API_CREATE_TOPIC || kind == API_CREATE_TRANSFORM) {
        command.default_replicas = default_replicas(coordinator);
    }
    RIA_TRY(state_encode_command(&command, &bytes, &size));
    ria_err err = consensus_propose(coordinator->consensus, bytes, size, done, arg);
    if (err != RIA_OK) {
        free(bytes);
    }
    return err;
}
