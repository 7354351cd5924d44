/* mover: carries out drains and rebalancing, a few partitions at a time.
 *
 * Nothing is remembered but what is in meta.db (draining nodes, cluster.rebalancing, targets): it
 * looks, makes a plan, proposes as much of it as may move at once, and looks again when something
 * has changed. So it goes on by itself after a restart, whoever asked for it may have gone, and a
 * plan is never older than what it is based on.
 *
 * Drains come first. A move to a node that has died since stays as it is (the node may be back
 * soon) unless that node is drained, too. After MOVER_AWAY_US it is called off, whoever asked for
 * it: the replicas are the origin's again, and what is wanted still is planned anew, onto nodes
 * that are alive. Evening out ends when a plan has nothing in it; while
 * partitions are left alone because a replica is out of sync, only after MOVER_PATIENCE_US.
 */
#include <inttypes.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/gen/alter_rebalance_request.h"
#include "schemas/gen/reassign_partitions_request.h"

#include "services/coordinator/coordinator.h"
#include "services/coordinator/node_set.h"
#include "services/coordinator/partition_row.h"
#include "services/coordinator/rebalance.h"
#include "services/coordinator/rows.h"

enum {
    MOVER_VERSION = 0, /* of the commands' bodies */
    MOVER_MOVES_MAX = 32,
    MOVER_RETRY_US = 5 * 1000 * 1000, /* after a command that was refused */
    MOVER_SHARE = 20,                 /* planning takes at most one part of so many of the loop */
    MOVER_PATIENCE_US = 30 * 1000 * 1000,
    MOVER_AWAY_US = 60 * 1000 * 1000, /* longer than a restart takes, with a long log's recovery */
    MOVER_ARENA_SIZE_MAX = 256 * 1024 * 1024,
};

typedef struct reassign_partitions_request_reassigned_partition reassigned;

/* One look: what is to be done, and the batch that does it. */
struct look {
    struct coordinator *coordinator;
    struct ria_arena arena;
    int64_t now_us;
    bool draining;    /* a draining node has replicas */
    bool rebalancing; /* evening out was asked for */
    uint32_t moving;  /* partitions on their way */
    struct node_set alive;
    struct node_set away; /* for MOVER_AWAY_US at least */
    uint32_t away_count;
    struct rows batch;
};

/* ---- what is there ---- */

static int64_t read_number(struct coordinator *coordinator, meta_sql sql)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, sql);
    bool found = meta_step(stmt);

    RIA_ASSERT(found);
    int64_t number = meta_column_int(stmt, 0);
    meta_done(stmt);
    return number;
}

uint32_t mover_count(struct coordinator *coordinator)
{
    return (uint32_t)read_number(coordinator, META_MOVES_COUNT);
}

bool mover_is_rebalancing(struct coordinator *coordinator)
{
    return read_number(coordinator, META_REBALANCING_GET) != 0;
}

int32_t mover_moves_max(const struct coordinator *coordinator)
{
    int64_t max = coordinator->options->moves_max;

    return (int32_t)(max > 0 ? max : MOVER_MOVES_MAX);
}

/* Who was not heard since this coordinator started may have been away as long as that, no more. */
static void
look_at_node(struct look *look, int32_t node_id, const struct ria_uuid *uuid, bool active)
{
    const struct coordinator *coordinator = look->coordinator;
    const struct liveness_process *process = liveness_find(coordinator->liveness, uuid);
    int64_t away_us = process == NULL ? look->now_us - coordinator->started_us
                                      : liveness_silent_ms(coordinator->liveness, process) * 1000;

    if (process != NULL && process->alive) {
        if (active) {
            node_set_add(&look->alive, node_id);
        }
    } else if (away_us >= MOVER_AWAY_US) {
        node_set_add(&look->away, node_id);
        look->away_count++;
    }
}

static void look_at_nodes(struct look *look)
{
    struct meta_stmt *stmt = meta_query(look->coordinator->db, META_NODES_BY_ID);

    while (meta_step(stmt)) {
        int64_t replicas = meta_column_int(stmt, 4);
        bool draining = meta_column_int(stmt, 7) != 0;
        struct ria_uuid uuid = meta_column_uuid(stmt, 1);
        look_at_node(
            look, (int32_t)meta_column_int(stmt, 0), &uuid, meta_column_int(stmt, 6) == NODE_ACTIVE
        );
        look->draining = look->draining || (draining && replicas > 0);
    }
    meta_done(stmt);
}

/* ---- commands ---- */

static void on_done(void *arg, ria_err err, int64_t index, const struct command_result *result)
{
    struct coordinator *coordinator = arg;

    (void)index;
    coordinator->mover.busy = false;
    if (err == RIA_ERR_SHUTDOWN) {
        return;
    }
    if (err != RIA_OK || result->err != RIA_OK) {
        coordinator->mover.next_us = ria_clock_mono_us(coordinator->env->clock) + MOVER_RETRY_US;
        coordinator->mover.version = -1;
        ria_log_warn(
            coordinator->env->log,
            "coordinator.move_refused",
            "err=%s why=\"%s\"",
            ria_err_name(err != RIA_OK ? err : result->err),
            err == RIA_OK ? result->text : ""
        );
    }
}

static ria_err propose(struct look *look, int16_t kind, const void *body)
{
    struct coordinator *coordinator = look->coordinator;
    const struct schema_message *message = state_command_schema(kind);
    uint32_t size = message->size(body, MOVER_VERSION);
    uint8_t *bytes = ria_arena_alloc(&look->arena, size);

    if (bytes == NULL) {
        return ria_arena_err(&look->arena);
    }
    struct ria_writer writer = ria_writer_of(bytes, size);
    message->encode(body, MOVER_VERSION, &writer);
    RIA_ASSERT(writer.pos == size);
    RIA_TRY(coordinator_propose(
        coordinator, kind, MOVER_VERSION, -1, ria_slice_of(bytes, size), on_done, coordinator
    ));
    coordinator->mover.busy = true;
    return RIA_OK;
}

/* ---- the batch ---- */

/* A target that is reached, but could not be taken because nobody of it might lead: once more. */
static ria_err add_reached(struct look *look)
{
    struct partition_walk *walk = ria_arena_alloc(&look->arena, sizeof(*walk));

    if (walk == NULL) {
        return ria_arena_err(&look->arena);
    }
    partition_walk_moving(walk, look->coordinator->db);
    while (partition_walk_next(walk)) {
        for (uint32_t i = 0; i < walk->count; i++) {
            const struct partition_row *row = &walk->rows[i];
            reassigned *move = partition_row_is_reached(row) ? rows_add(&look->batch) : NULL;
            if (move == NULL) {
                continue; /* without memory: at the next look */
            }
            move->topic_id = row->topic_id;
            move->partition = row->partition;
            move->partition_epoch = row->partition_epoch;
            move->target_count = row->target.count;
            move->target = ria_arena_alloc_array(&look->arena, row->target.count, sizeof(int32_t));
            if (move->target == NULL) {
                return ria_arena_err(&look->arena);
            }
            memcpy(move->target, row->target.ids, row->target.count * sizeof(int32_t));
        }
    }
    return RIA_OK;
}

/* ---- calling off ---- */

/* A node that is new in the target stays away, and the origin can go on without the others. */
static bool is_given_up(const struct look *look, const struct partition_row *row)
{
    bool waits = false;
    bool goes_on = false;

    for (uint32_t i = 0; i < row->target.count; i++) {
        int32_t id = row->target.ids[i];
        waits = waits || (node_set_has(&look->away, id) && !node_list_has(&row->origin, id));
    }
    for (uint32_t i = 0; i < row->origin.count; i++) {
        int32_t id = row->origin.ids[i];
        goes_on = goes_on || (node_set_has(&look->alive, id) && node_list_has(&row->isr, id) &&
                              !node_list_has(&row->unfit, id));
    }
    return waits && goes_on;
}

static ria_err add_given_up(struct look *look)
{
    struct partition_walk *walk = ria_arena_alloc(&look->arena, sizeof(*walk));
    char id[RIA_UUID_TEXT_SIZE];

    if (walk == NULL) {
        return ria_arena_err(&look->arena);
    }
    partition_walk_moving(walk, look->coordinator->db);
    while (partition_walk_next(walk)) {
        for (uint32_t i = 0; i < walk->count; i++) {
            const struct partition_row *row = &walk->rows[i];
            reassigned *move = is_given_up(look, row) ? rows_add(&look->batch) : NULL;
            if (move == NULL) {
                continue; /* without memory: at the next look */
            }
            *move = (reassigned){
                .topic_id = row->topic_id,
                .partition = row->partition,
                .partition_epoch = row->partition_epoch,
            };
            ria_uuid_format(row->topic_id, id);
            ria_log_warn(
                look->coordinator->env->log,
                "coordinator.move_called_off",
                "topic=%s partition=%" PRId32,
                id,
                row->partition
            );
        }
    }
    return RIA_OK;
}

/* ---- planned moves ---- */

/* With old and new replicas it must not have more than a partition may. */
static bool fits(const struct rebalance_partition *partition)
{
    uint32_t added = 0;

    for (uint32_t i = 0; i < partition->count; i++) {
        bool had = false;
        for (uint32_t k = 0; k < partition->count && !had; k++) {
            had = partition->replicas[k] == partition->target[i];
        }
        added += had ? 0 : 1;
    }
    return partition->count + added <= RIA_REPLICAS_MAX;
}

/* As much of the plan as may move at once, from all over the topics. */
static ria_err add_planned(struct look *look, const struct rebalance *plan, uint32_t room)
{
    uint32_t added = 0;

    for (uint32_t step = 0; step < plan->partition_count && added < room; step++) {
        const struct rebalance_partition *partition =
            &plan->partitions[rebalance_order(plan, step)];
        if (!partition->changed || !fits(partition)) {
            continue;
        }
        reassigned *move = rows_add(&look->batch);
        if (move == NULL) {
            return ria_arena_err(&look->arena);
        }
        move->topic_id = partition->topic_id;
        move->partition = partition->partition;
        move->partition_epoch = partition->partition_epoch;
        move->target_count = partition->count;
        RIA_TRY(planning_ids(plan, partition->target, partition->count, &look->arena, &move->target)
        );
        added++;
    }
    return RIA_OK;
}

static ria_err add_plan(struct look *look, planning_kind kind, struct rebalance *out_plan)
{
    uint32_t max = (uint32_t)mover_moves_max(look->coordinator);
    uint32_t room = look->moving < max ? max - look->moving : 0;

    RIA_TRY(planning_make(look->coordinator, kind, -1, &look->arena, out_plan));
    return add_planned(look, out_plan, room);
}

static ria_err reassign_batch(struct look *look)
{
    const struct reassign_partitions_request body = {
        .partitions = look->batch.items,
        .partitions_count = look->batch.count,
    };

    return propose(look, API_REASSIGN_PARTITIONS, &body);
}

static ria_err propose_batch(struct look *look)
{
    RIA_TRY(reassign_batch(look));
    look->coordinator->metrics.moves_begun.value += look->batch.count;
    ria_log_info(
        look->coordinator->env->log,
        "coordinator.moving",
        "partitions=%" PRIu32 " under_way=%" PRIu32,
        look->batch.count,
        look->moving
    );
    return RIA_OK;
}

/* ---- the end of evening out ---- */

static ria_err end_rebalancing(struct look *look, const struct rebalance *plan)
{
    struct mover *mover = &look->coordinator->mover;
    struct alter_rebalance_request body = {.run = false};

    if (look->moving > 0 || look->draining) {
        mover->idle_since_us = 0;
        return RIA_OK;
    }
    if (mover->idle_since_us == 0) {
        mover->idle_since_us = look->now_us;
    }
    if (plan->skipped > 0 && look->now_us - mover->idle_since_us < MOVER_PATIENCE_US) {
        mover->version = -1; /* look again, also if nothing changes */
        return RIA_OK;
    }
    mover->idle_since_us = 0;
    RIA_TRY(propose(look, API_ALTER_REBALANCE, &body));
    ria_log_info(
        look->coordinator->env->log, "coordinator.rebalanced", "left_alone=%" PRIu32, plan->skipped
    );
    return RIA_OK;
}

/* ---- looking ---- */

static ria_err act(struct look *look)
{
    struct rebalance plan = {.partition_count = 0};

    if (look->away_count > 0) {
        RIA_TRY(add_given_up(look));
        if (look->batch.count > 0) {
            return reassign_batch(look);
        }
    }
    RIA_TRY(add_reached(look));
    if (look->draining) {
        RIA_TRY(add_plan(look, PLANNING_EMPTY, &plan));
    }
    if (look->batch.count == 0 && look->rebalancing) {
        RIA_TRY(add_plan(look, PLANNING_EVEN_OUT, &plan));
        if (plan.changed == 0 && look->batch.count == 0) {
            return end_rebalancing(look, &plan);
        }
    }
    look->coordinator->mover.idle_since_us = 0;
    return look->batch.count > 0 ? propose_batch(look) : RIA_OK;
}

/* Anything that a plan is made from. */
static bool something_changed(const struct look *look)
{
    struct mover *mover = &look->coordinator->mover;
    int64_t living = liveness_changes(look->coordinator->liveness);
    bool changed = mover->version != look->coordinator->version || mover->living != living ||
                   mover->rebalancing != look->rebalancing || mover->away != look->away_count;

    mover->version = look->coordinator->version;
    mover->living = living;
    mover->rebalancing = look->rebalancing;
    mover->away = look->away_count;
    return changed;
}

void mover_check(struct coordinator *coordinator)
{
    struct look look = {
        .coordinator = coordinator,
        .now_us = ria_clock_mono_us(coordinator->env->clock),
    };

    look.moving = mover_count(coordinator);
    coordinator->metrics.moving.value = look.moving;
    if (coordinator->mover.busy || !coordinator->running || coordinator_is_settling(coordinator) ||
        look.now_us < coordinator->mover.next_us ||
        consensus_get_role(coordinator->consensus) != CONSENSUS_LEADER) {
        return;
    }
    look.rebalancing = mover_is_rebalancing(coordinator);
    look_at_nodes(&look);
    if ((look.moving == 0 && !look.draining && !look.rebalancing) || !something_changed(&look)) {
        return;
    }
    ria_arena_init(&look.arena, MOVER_ARENA_SIZE_MAX);
    look.batch = rows_of(&look.arena, sizeof(reassigned));
    ria_err err = act(&look);
    if (err != RIA_OK) {
        coordinator->mover.version = -1;
        ria_log_warn(
            coordinator->env->log, "coordinator.move_refused", "err=%s", ria_err_name(err)
        );
    }
    ria_arena_fini(&look.arena);
    int64_t end_us = ria_clock_mono_us(coordinator->env->clock);
    coordinator->mover.next_us = end_us + (end_us - look.now_us) * MOVER_SHARE;
}
