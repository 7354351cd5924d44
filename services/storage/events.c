/* What happens to the replicas between two requests: the end of a turn, syncs that ended, ticks. */
#include <inttypes.h>

#include "services/storage/handle.h"

void storage_want_flush(struct storage *s)
{
    if (!s->flush_timer.active) {
        ria_timer_start(s->env->timers, &s->flush_timer, 0);
    }
}

void storage_mark_dirty(struct replica *replica)
{
    if (!ria_list_is_linked(&replica->dirty_link)) {
        ria_list_push_back(&replica->storage->dirty, &replica->dirty_link);
    }
    storage_want_flush(replica->storage);
}

/* The log takes nothing any more: no sync will come for those who wait for one. */
static void fail_waits(struct replica *replica)
{
    storage_report_fitness(replica);
    partition_on_synced(&replica->partition, RIA_ERR_IO);
    parked_wake_all(&replica->waits[REPLICA_SYNCED], RIA_ERR_IO);
    parked_wake_all(&replica->waits[REPLICA_QUIET], RIA_ERR_IO);
}

/* What is written counts as synced; the disk follows within the interval. */
static void flush_relaxed(struct replica *replica)
{
    struct storage *s = replica->storage;

    partition_advance(&replica->partition);
    parked_wake(
        &replica->waits[REPLICA_SYNCED], partition_log_synced_offset(replica->partition.log)
    );
    if (!ria_list_is_linked(&replica->relaxed_link)) {
        ria_list_push_back(&s->relaxed, &replica->relaxed_link);
    }
    if (!s->relaxed_timer.active) {
        ria_timer_start(s->env->timers, &s->relaxed_timer, (int64_t)STORAGE_RELAXED_SYNC_MS * 1000);
    }
}

void storage_flush(struct storage *s)
{
    struct ria_list *dirty = NULL;

    s->metrics.flushes.value++;
    RIA_LIST_FOREACH (node, &s->dirty) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, dirty_link);
        if (replica->partition.log != NULL) {
            fetch_wishes_wake(
                &replica->waits[REPLICA_APPENDED], partition_log_end_offset(replica->partition.log)
            );
        }
    }
    fetch_sessions_flush(&s->fetch_sessions); /* followers write while this node syncs */
    parked_flush(&s->parked);
    while ((dirty = ria_list_pop_front(&s->dirty)) != NULL) {
        struct replica *replica = RIA_CONTAINER(dirty, struct replica, dirty_link);
        if (replica->partition.log == NULL) {
            continue;
        }
        if (partition_log_has_failed(replica->partition.log)) {
            fail_waits(replica);
        } else if (partition_log_is_relaxed(replica->partition.log)) {
            flush_relaxed(replica);
        } else {
            partition_log_sync(replica->partition.log);
            parked_wake(
                &replica->waits[REPLICA_WRITTEN], partition_log_end_offset(replica->partition.log)
            );
        }
    }
    parked_flush(&s->parked);
    storage_finish_removals(s);
}

void storage_sync_relaxed(struct storage *s)
{
    struct ria_list *node = NULL;

    while ((node = ria_list_pop_front(&s->relaxed)) != NULL) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, relaxed_link);
        if (replica->partition.log != NULL) {
            partition_log_sync(replica->partition.log);
        }
    }
}

/* ---- partition_host ---- */

static void want_tick(struct partition *p)
{
    struct replica *replica = replica_of(p);
    struct storage *s = replica->storage;

    if (!ria_list_is_linked(&replica->tick_link)) {
        ria_list_push_back(&s->ticking, &replica->tick_link);
    }
    if (!s->tick_timer.active && !s->stopped) {
        ria_timer_start(s->env->timers, &s->tick_timer, (int64_t)STORAGE_TICK_MS * 1000);
    }
}

static void on_committed(struct partition *p)
{
    struct replica *replica = replica_of(p);

    parked_wake(&replica->waits[REPLICA_COMMITTED], p->high_watermark);
    storage_mark_changed(replica);
    if (!ria_list_is_empty(&replica->waits[REPLICA_APPENDED])) {
        want_tick(p); /* see tell_later() */
    }
}

int64_t storage_count_leaders(const struct storage *s)
{
    int64_t count = 0;

    for (const struct ria_list *it = s->replicas.next; it != &s->replicas; it = it->next) {
        count += replica_at(it)->partition.role == PARTITION_LEADER ? 1 : 0;
    }
    return count;
}

static void on_moved(struct partition *p)
{
    struct replica *replica = replica_of(p);
    char text[RIA_UUID_TEXT_SIZE];

    replica->told_high_watermark = 0; /* another epoch, other listeners */
    parked_wake_all(&replica->waits[REPLICA_COMMITTED], RIA_ERR_NOT_LEADER);
    fetch_wishes_wake(&replica->waits[REPLICA_APPENDED], INT64_MAX);
    ria_uuid_format(p->id.topic_id, text);
    ria_log_debug(
        replica->storage->env->log,
        "storage.role",
        "topic=%s partition=%d role=%s epoch=%d",
        text,
        partition_id_number(&p->id),
        p->role == PARTITION_LEADER     ? "leader"
        : p->role == PARTITION_FOLLOWER ? "follower"
                                        : "none",
        p->leader_epoch
    );
}

static bool may_propose(struct partition *p)
{
    const struct storage *s = replica_of(p)->storage;

    return s->registered && !s->stopping && s->isr_calls < STORAGE_ISR_CALLS_MAX &&
           membership_state(s->membership)->heard;
}

static int64_t count_full(const struct storage *s)
{
    int64_t count = 0;

    for (uint32_t i = 0; i < s->dirs.count; i++) {
        count += s->dirs.items[i].space.full ? 1 : 0;
    }
    return count;
}

static bool take_space(struct partition *p, disk_space_user user, size_t size)
{
    struct storage *s = replica_of(p)->storage;
    struct disk_space *space = &replica_of(p)->dir->space;
    bool was_full = space->full;

    bool has_room = disk_space_take(space, user, size);
    s->metrics.refused_full.value += has_room ? 0 : 1;
    if (space->full != was_full) {
        s->metrics.disks_full.value = count_full(s);
        ria_log_write(
            s->env->log,
            space->full ? RIA_LOG_ERROR : RIA_LOG_INFO,
            space->full ? "storage.disk_full" : "storage.disk_has_room",
            "dir=%s free=%" PRId64 " reserve=%" PRId64,
            space->path,
            space->free_bytes,
            space->reserve_bytes
        );
    }
    return has_room;
}

static bool may_join(struct partition *p, int32_t node_id)
{
    const struct cluster_node *node = cluster_node(replica_of(p)->storage->cluster, node_id);

    return node == NULL || node->state == CLUSTER_NODE_ACTIVE;
}

static bool is_current(struct partition *p, int32_t node_id, int64_t incarnation)
{
    const struct cluster_node *node = cluster_node(replica_of(p)->storage->cluster, node_id);

    return node == NULL || node->incarnation == incarnation;
}

void storage_note_node(struct storage *s, const struct cluster_node *node)
{
    if (node->state != CLUSTER_NODE_ACTIVE) {
        return;
    }
    RIA_LIST_FOREACH (it, &s->replicas) {
        struct partition *p = &RIA_CONTAINER(it, struct replica, link)->partition;
        if (p->role == PARTITION_LEADER && partition_isr_count(p) < p->replica_count) {
            want_tick(p);
        }
    }
}

static void on_propose(struct partition *p)
{
    storage_propose_isr(replica_of(p)->storage, p);
}

const struct partition_host storage_partition_host = {
    .ack = handle_produce_ended,
    .committed = on_committed,
    .moved = on_moved,
    .may_propose = may_propose,
    .take_space = take_space,
    .may_join = may_join,
    .is_current = is_current,
    .propose = on_propose,
    .want_tick = want_tick,
};

/* Once per replica: it takes nothing any more, until a restart. */
static void note_log_failed(struct replica *replica, ria_err err)
{
    char text[RIA_UUID_TEXT_SIZE];

    if (replica->failure_noted) {
        return;
    }
    replica->failure_noted = true;
    replica->dir->suspect = true;
    replica->storage->metrics.log_failures.value++;
    ria_uuid_format(replica->partition.id.topic_id, text);
    ria_log_error(
        replica->storage->env->log,
        "storage.log_failed",
        "topic=%s partition=%d err=\"%s\" note=\"this log takes nothing until a restart\"",
        text,
        partition_id_number(&replica->partition.id),
        ria_err_text(err)
    );
}

/* A forced leader may have waited for its disk. */
static void lead_if_it_waited(struct replica *replica)
{
    if (replica->partition.role == PARTITION_IDLE && replica->state == REPLICA_OPEN &&
        !replica->storage->stopped) {
        storage_apply_again(replica);
    }
}

void storage_on_log_synced(void *arg, ria_err err)
{
    struct replica *replica = arg;
    struct storage *s = replica->storage;
    const struct partition_log *log = replica->partition.log;

    if (err == RIA_OK) {
        partition_on_synced(&replica->partition, RIA_OK);
        parked_wake(&replica->waits[REPLICA_SYNCED], partition_log_synced_offset(log));
        storage_mark_changed(replica);
        storage_mark_synced(replica);
    }
    if (partition_log_has_failed(log)) { /* perhaps in a write while this sync was under way */
        note_log_failed(replica, err == RIA_OK ? RIA_ERR_IO : err);
        fail_waits(replica);
    } else if (!partition_log_is_syncing(log) && partition_log_synced_offset(log) == partition_log_end_offset(log)) {
        parked_wake_all(&replica->waits[REPLICA_QUIET], RIA_OK);
        lead_if_it_waited(replica);
    }
    if (replica->state == REPLICA_REMOVING) {
        storage_want_flush(s);
    }
}

/* Mostly the reply to a report tells the worker the high watermark that came of it. When it moves
 * by something else (this node's own sync, a change of the in-sync set) and no new batch takes it
 * along, the parked fetch is answered with it alone. */
static void tell_later(struct replica *replica)
{
    if (replica->partition.high_watermark > replica->told_high_watermark) {
        fetch_wishes_wake(&replica->waits[REPLICA_APPENDED], INT64_MAX);
    }
}

void storage_tick(struct storage *s)
{
    RIA_LIST_FOREACH (node, &s->ticking) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, tick_link);
        tell_later(replica);
        if (!partition_tick(&replica->partition)) {
            ria_list_remove(node);
        }
    }
    if (!ria_list_is_empty(&s->ticking) && !s->tick_timer.active) {
        ria_timer_start(s->env->timers, &s->tick_timer, (int64_t)STORAGE_TICK_MS * 1000);
    }
}
