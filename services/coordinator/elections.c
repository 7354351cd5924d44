/* elections: turns who is heard into who leads, by FenceNodes and ElectLeaders commands.
 *
 * It looks when the living or the metadata have changed, plans from committed rows only, and while
 * a command of its own is under way it does not look. What a command could not do (a row changed
 * meanwhile) shows in the next look. Twice a second it also looks for partitions that another than
 * the preferred leader leads, and moves a few of them.
 *
 * A coordinator that has just started has heard nobody: for one session time it fences nobody and
 * only helps nodes that said that they shut down.
 *
 * Rules: leader_choice.h, docs/design/008-failover.md.
 */
#include <inttypes.h>

#include "common/assert.h"

#include "schemas/gen/elect_leaders.h"
#include "schemas/gen/fence_nodes.h"

#include "services/coordinator/coordinator.h"
#include "services/coordinator/leader_choice.h"
#include "services/coordinator/rows.h"

enum {
    ELECTIONS_VERSION = 0,
    ELECTIONS_ARENA_SIZE_MAX = 16 * 1024 * 1024,
    ELECTIONS_PREFERRED_MS = 500,
    ELECTIONS_PREFERRED_MAX = 64, /* so that clients and followers need not all turn at once */
    ELECTIONS_MAX = 10000,        /* of one command */
    REASON_NO_LEADER = 1,
    REASON_PREFERRED = 2,
};

/* What one look works with. */
struct look {
    struct coordinator *coordinator;
    struct ria_arena arena;
    struct node_set usable;    /* alive and not fenced */
    struct node_set shut_down; /* said that they end, and still lead something */
    struct rows nodes;         /* struct fence_nodes_fenced_node: what FenceNodes should do */
    struct rows partitions;    /* struct elect_leaders_elected_partition */
};

/* ---- proposing ---- */

static void on_done(void *arg, ria_err err, int64_t index, const struct command_result *result)
{
    struct coordinator *coordinator = arg;

    (void)index;
    coordinator->electing = false;
    if (err == RIA_ERR_SHUTDOWN) {
        return;
    }
    if (err != RIA_OK || result->err != RIA_OK) {
        coordinator->elections_dirty = true; /* the next tick tries again */
        ria_log_warn(
            coordinator->env->log,
            "coordinator.election_failed",
            "err=%s",
            ria_err_name(err != RIA_OK ? err : result->err)
        );
    }
}

static ria_err propose(struct look *look, int16_t kind, const void *body)
{
    const struct schema_message *message = state_command_schema(kind);
    uint32_t size = message->size(body, ELECTIONS_VERSION);
    uint8_t *bytes = ria_arena_alloc(&look->arena, size);

    if (bytes == NULL) {
        return ria_arena_err(&look->arena);
    }
    struct ria_writer writer = ria_writer_of(bytes, size);
    message->encode(body, ELECTIONS_VERSION, &writer);
    RIA_ASSERT(writer.pos == size);
    RIA_TRY(coordinator_propose(
        look->coordinator,
        kind,
        ELECTIONS_VERSION,
        -1,
        ria_slice_of(bytes, size),
        on_done,
        look->coordinator
    ));
    look->coordinator->electing = true;
    return RIA_OK;
}

static ria_err propose_fences(struct look *look)
{
    const struct fence_nodes body = {.nodes = look->nodes.items, .nodes_count = look->nodes.count};

    RIA_TRY(propose(look, COMMAND_FENCE_NODES, &body));
    for (uint32_t i = 0; i < body.nodes_count; i++) {
        ria_log_write(
            look->coordinator->env->log,
            body.nodes[i].fenced ? RIA_LOG_WARN : RIA_LOG_INFO,
            body.nodes[i].fenced ? "coordinator.node_silent" : "coordinator.node_heard_again",
            "node=%" PRId32,
            body.nodes[i].node_id
        );
    }
    return RIA_OK;
}

static ria_err propose_elections(struct look *look, int8_t reason)
{
    const struct elect_leaders body = {
        .reason = reason,
        .partitions = look->partitions.items,
        .partitions_count = look->partitions.count,
    };

    RIA_TRY(propose(look, COMMAND_ELECT_LEADERS, &body));
    ria_log_info(
        look->coordinator->env->log,
        "coordinator.elections",
        "reason=%s partitions=%" PRIu32,
        reason == REASON_PREFERRED ? "preferred" : "no_leader",
        body.partitions_count
    );
    return RIA_OK;
}

/* ---- looking ---- */

/* Whether this life of the node has been heard lately. */
static bool
is_alive(const struct coordinator *coordinator, const struct ria_uuid *uuid, int64_t incarnation)
{
    const struct liveness_process *process = liveness_find(coordinator->liveness, uuid);

    return process != NULL && process->alive && process->role == PROCESS_STORAGE &&
           process->node_id >= 0 && process->incarnation == incarnation;
}

/* META_NODES_BY_ID's row. False: no memory. */
static bool look_at_node(struct look *look, struct meta_stmt *stmt, bool settling)
{
    int32_t node_id = (int32_t)meta_column_int(stmt, 0);
    struct ria_uuid uuid = meta_column_uuid(stmt, 1);
    int64_t leader_count = meta_column_int(stmt, 5);
    int64_t state = meta_column_int(stmt, 6);
    int64_t incarnation = meta_column_int(stmt, 8);
    bool alive = is_alive(look->coordinator, &uuid, incarnation);
    bool leads_shut_down = state == NODE_SHUT_DOWN && leader_count > 0;
    bool fence = !alive && !settling && (state == NODE_ACTIVE || leads_shut_down);
    bool back = alive && state == NODE_SILENT;

    if (alive && state == NODE_ACTIVE) {
        node_set_add(&look->usable, node_id);
    }
    if (leads_shut_down) {
        node_set_add(&look->shut_down, node_id);
    }
    if (!fence && !back) {
        return true;
    }
    struct fence_nodes_fenced_node *entry = rows_add(&look->nodes);
    if (entry != NULL) {
        *entry = (struct fence_nodes_fenced_node
        ){.node_id = node_id, .incarnation = incarnation, .fenced = fence};
    }
    return entry != NULL;
}

static bool look_at_nodes(struct look *look)
{
    bool ok = true;
    bool settling = coordinator_is_settling(look->coordinator);
    struct meta_stmt *stmt = meta_query(look->coordinator->db, META_NODES_BY_ID);

    while (ok && meta_step(stmt)) {
        ok = look_at_node(look, stmt, settling);
    }
    meta_done(stmt);
    return ok;
}

static bool add_partition(struct look *look, const struct partition_row *row)
{
    struct elect_leaders_elected_partition *entry = rows_add(&look->partitions);

    if (entry != NULL) {
        *entry = (struct elect_leaders_elected_partition){
            .topic_id = row->topic_id,
            .partition = row->partition,
            .partition_epoch = row->partition_epoch,
        };
    }
    return entry != NULL;
}

/* Whether somebody may lead who does not. */
static bool wants_leader(const struct look *look, const struct partition_row *row)
{
    return (row->leader == -1 || node_set_has(&look->shut_down, row->leader)) &&
           leader_choice(row, &look->usable) != -1;
}

static bool add_leaderless(struct look *look, struct partition_walk *walk)
{
    bool ok = true;

    while (ok && look->partitions.count < ELECTIONS_MAX && partition_walk_next(walk)) {
        for (uint32_t i = 0; i < walk->count && ok && look->partitions.count < ELECTIONS_MAX; i++) {
            ok = !wants_leader(look, &walk->rows[i]) || add_partition(look, &walk->rows[i]);
        }
    }
    return ok;
}

/* Partitions that nobody leads, or a node that is about to end. */
static bool look_for_leaderless(struct look *look)
{
    struct partition_walk walk;
    bool ok = true;

    for (int32_t node_id = 0; node_id <= RIA_NODES_MAX && ok; node_id++) {
        if (node_set_has(&look->shut_down, node_id)) {
            partition_walk_led(&walk, look->coordinator->db, node_id);
            ok = add_leaderless(look, &walk);
        }
    }
    if (ok && !coordinator_is_settling(look->coordinator)) {
        partition_walk_led(&walk, look->coordinator->db, -1);
        ok = add_leaderless(look, &walk);
    }
    return ok;
}

static bool look_for_preferred(struct look *look)
{
    struct partition_walk walk;
    bool ok = true;

    partition_walk_astray(&walk, look->coordinator->db);
    while (ok && look->partitions.count < ELECTIONS_PREFERRED_MAX && partition_walk_next(&walk)) {
        for (uint32_t i = 0;
             i < walk.count && ok && look->partitions.count < ELECTIONS_PREFERRED_MAX;
             i++) {
            ok = leader_preferred(&walk.rows[i], &look->usable) == -1 ||
                 add_partition(look, &walk.rows[i]);
        }
    }
    return ok;
}

/* Partitions without a leader may be many, and nobody able to lead them for long: they are looked
 * at when the living have changed, and twice a second, not with each change of the metadata. The
 * commands that make a node able to lead elect it themselves. */
static ria_err look_and_propose(struct look *look, bool leaderless, bool preferred)
{
    if (!look_at_nodes(look)) {
        return ria_arena_err(&look->arena);
    }
    if (look->nodes.count > 0) {
        return propose_fences(look);
    }
    if (leaderless && !look_for_leaderless(look)) {
        return ria_arena_err(&look->arena);
    }
    if (look->partitions.count > 0) {
        return propose_elections(look, REASON_NO_LEADER);
    }
    if (!preferred || coordinator_is_settling(look->coordinator)) {
        return RIA_OK;
    }
    if (!look_for_preferred(look)) {
        return ria_arena_err(&look->arena);
    }
    return look->partitions.count > 0 ? propose_elections(look, REASON_PREFERRED) : RIA_OK;
}

static void run_look(struct coordinator *coordinator, bool leaderless, bool preferred)
{
    struct look look = {.coordinator = coordinator};

    ria_arena_init(&look.arena, ELECTIONS_ARENA_SIZE_MAX);
    look.nodes = rows_of(&look.arena, sizeof(struct fence_nodes_fenced_node));
    look.partitions = rows_of(&look.arena, sizeof(struct elect_leaders_elected_partition));
    ria_err err = look_and_propose(&look, leaderless, preferred);
    if (err != RIA_OK) {
        coordinator->elections_dirty = true; /* the next tick tries again */
        ria_log_warn(
            coordinator->env->log, "coordinator.election_failed", "err=%s", ria_err_name(err)
        );
    }
    ria_arena_fini(&look.arena);
}

/* ---- when ---- */

static bool may_look(const struct coordinator *coordinator)
{
    return coordinator->running && !coordinator->electing &&
           consensus_get_role(coordinator->consensus) == CONSENSUS_LEADER;
}

void elections_check(struct coordinator *coordinator)
{
    int64_t living = liveness_changes(coordinator->liveness);
    bool settling = coordinator_is_settling(coordinator);

    if (!may_look(coordinator)) {
        return;
    }
    if (!coordinator->elections_dirty && living == coordinator->elections_living &&
        coordinator->version == coordinator->elections_version &&
        settling == coordinator->elections_was_settling) {
        return;
    }
    bool leaderless = coordinator->elections_dirty || living != coordinator->elections_living ||
                      settling != coordinator->elections_was_settling;
    coordinator->elections_dirty = false;
    coordinator->elections_living = living;
    coordinator->elections_version = coordinator->version;
    coordinator->elections_was_settling = settling;
    coordinator->preferred_dirty = true;
    run_look(coordinator, leaderless, false);
}

static void on_preferred_timer(struct ria_timer *timer, void *arg)
{
    struct coordinator *coordinator = arg;

    ria_timer_start(coordinator->env->timers, timer, ELECTIONS_PREFERRED_MS * INT64_C(1000));
    if (coordinator->preferred_dirty && may_look(coordinator)) {
        coordinator->preferred_dirty = false;
        run_look(coordinator, true, true);
    }
}

void elections_init(struct coordinator *coordinator)
{
    ria_timer_init(&coordinator->preferred_timer, on_preferred_timer, coordinator);
}

void elections_start(struct coordinator *coordinator)
{
    coordinator->elections_dirty = true;
    ria_timer_start(
        coordinator->env->timers,
        &coordinator->preferred_timer,
        ELECTIONS_PREFERRED_MS * INT64_C(1000)
    );
}

void elections_stop(struct coordinator *coordinator)
{
    ria_timer_stop(coordinator->env->timers, &coordinator->preferred_timer);
}
