/* The replicas of a node: found, opened, removed. */
#include <stdio.h>
#include <stdlib.h>

#include "common/assert.h"

#include "services/storage/storage.h"

enum { RETURN_POLL_MS = 50 }; /* of a replica that was removed less than a second ago */

/* ---- finding ---- */

struct replica *storage_find_id(const struct storage *s, const struct partition_id *id)
{
    return ria_map_get(&s->by_id, id, sizeof(*id));
}

struct replica *
storage_find(const struct storage *s, const struct ria_uuid *topic_id, int32_t number)
{
    struct partition_id id = partition_id_of(topic_id, number);

    return storage_find_id(s, &id);
}

/* Why a partition is not here. The node may simply not have heard of it yet: "not the leader" makes
 * the sender look at its metadata and try again, wherever that points. */
static ria_err why_absent(const struct storage *s, const struct partition_id *id)
{
    const struct cluster_topic *topic = cluster_topic_by_id(s->cluster, &id->topic_id);

    if (topic != NULL && topic->deleted) {
        return RIA_ERR_UNKNOWN_TOPIC;
    }
    int32_t number = partition_id_number(id);
    if (topic != NULL && (number < 0 || number >= topic->partition_count)) {
        return RIA_ERR_UNKNOWN_PARTITION;
    }
    return RIA_ERR_NOT_LEADER;
}

struct replica *
storage_find_open(const struct storage *s, const struct partition_id *id, ria_err *out_err)
{
    struct replica *replica = storage_find_id(s, id);

    if (replica == NULL) {
        *out_err = why_absent(s, id);
        return NULL;
    }
    switch (replica->state) {
    case REPLICA_OPEN:
        *out_err = RIA_OK;
        return replica;
    case REPLICA_OPENING:
        *out_err = RIA_ERR_NOT_LEADER;
        return NULL;
    case REPLICA_FAILED:
        *out_err = RIA_ERR_NO_LEADER;
        return NULL;
    case REPLICA_REMOVING:
        *out_err = why_absent(s, id);
        return NULL;
    }
    RIA_ASSERT(false);
    return NULL;
}

/* ---- creating and freeing ---- */

static struct replica *replica_new(struct storage *s, const struct partition_id *id)
{
    struct replica *replica = calloc(1, sizeof(*replica));

    if (replica == NULL) {
        return NULL;
    }
    partition_init(&replica->partition, s->env, &storage_partition_host, id, s->identity.node_id);
    if (ria_map_put(&s->by_id, &replica->partition.id, sizeof(*id), replica) != RIA_OK) {
        free(replica);
        return NULL;
    }
    replica->storage = s;
    replica->state = REPLICA_OPENING;
    replica->mark_slot = MARKS_NO_SLOT;
    ria_list_init(&replica->dirty_link);
    ria_list_init(&replica->relaxed_link);
    ria_list_init(&replica->tick_link);
    ria_list_init(&replica->changed_link);
    ria_list_init(&replica->fitness_link);
    ria_list_init(&replica->repair_link);
    ria_list_init(&replica->doubt_link);
    for (size_t i = 0; i < REPLICA_WAITS; i++) {
        ria_list_init(&replica->waits[i]);
    }
    ria_list_push_back(&s->replicas, &replica->link);
    ria_list_push_back(&s->opening, &replica->queue_link);
    s->metrics.replicas.value++;
    return replica;
}

void storage_replica_free(struct replica *replica)
{
    struct storage *s = replica->storage;

    (void)ria_map_remove(&s->by_id, &replica->partition.id, sizeof(replica->partition.id));
    ria_list_remove(&replica->link);
    ria_list_remove(&replica->queue_link);
    ria_list_remove(&replica->dirty_link);
    ria_list_remove(&replica->relaxed_link);
    ria_list_remove(&replica->tick_link);
    ria_list_remove(&replica->changed_link);
    ria_list_remove(&replica->fitness_link);
    repairs_forget(s->repairs, replica);
    doubts_forget(s->doubts, replica);
    tails_forget(s->tails, replica);
    if (replica->dir != NULL) {
        replica->dir->replica_count--;
    }
    for (size_t i = 0; i < REPLICA_WAITS; i++) {
        RIA_ASSERT(ria_list_is_empty(&replica->waits[i]));
    }
    partition_fini(&replica->partition);
    s->metrics.replicas.value--;
    free(replica);
}

/* ---- removal: when the metadata says of this topic id that it was deleted, or of this partition
 * that this node was dropped from it; never because something is missing ---- */

/* waiting: what those hear who wait for something of it. */
static void begin_removal(struct replica *replica, ria_err waiting)
{
    struct storage *s = replica->storage;

    if (replica->state == REPLICA_REMOVING) {
        return;
    }
    partition_resign(&replica->partition);
    for (size_t i = 0; i < REPLICA_WAITS; i++) {
        parked_wake_all(&replica->waits[i], waiting);
    }
    replica->state = REPLICA_REMOVING;
    repairs_forget(s->repairs, replica);
    doubts_forget(s->doubts, replica);
    tails_forget(s->tails, replica);
    ria_list_remove(&replica->queue_link);
    ria_list_push_back(&s->removing, &replica->queue_link);
    storage_want_flush(s);
}

/* A folder without a replica, if there is one. */
static void throw_orphan(struct storage *s, const struct partition_id *id)
{
    char name[STORAGE_FOLDER_MAX];

    storage_folder_name(id, name);
    const struct storage_orphan *orphan = storage_find_orphan(s, name);
    if (orphan != NULL) {
        storage_throw_away(s, orphan->dir, name);
        ria_log_info(s->env->log, "storage.replica_removed", "folder=%s why=orphan", name);
    }
}

/* ---- no replica any more ---- */

bool storage_is_assigned(const struct storage *s, const struct cluster_partition *assigned)
{
    for (uint32_t i = 0; i < assigned->replica_count; i++) {
        if (assigned->replicas[i] == s->identity.node_id) {
            return true;
        }
    }
    return false;
}

bool storage_is_dropped(const struct storage *s, const struct cluster_partition *assigned)
{
    return cluster_nodes_has(&assigned->dropped, s->identity.node_id) &&
           !storage_is_assigned(s, assigned);
}

void storage_look_at(struct storage *s, const struct partition_id *id)
{
    char name[STORAGE_FOLDER_MAX];

    storage_folder_name(id, name);
    storage_forget_orphan(s, name);
    if (replica_new(s, id) == NULL) {
        storage_fatal(s, "out of memory while creating replicas; give this node more memory");
        return;
    }
    ria_timer_start(s->env->timers, &s->open_timer, 0);
}

/* Dropped, by a word that is as new as anything this node has heard of the partition, or wrote into
 * its log: a coordinator that was set back to an old copy of its database may call a replica
 * dropped that has come back since. */
static bool may_delete(const struct replica *replica, const struct cluster_partition *assigned)
{
    const struct partition *p = &replica->partition;

    return storage_is_dropped(replica->storage, assigned) &&
           p->partition_epoch <= assigned->partition_epoch &&
           p->leader_epoch <= assigned->leader_epoch &&
           partition_last_epoch(p) <= assigned->leader_epoch;
}

/* Dropped, and nothing is here, though its checkpoint may be: what died before it was written.
 * If the partition came back it would look like a log that was lost. */
static void forget_checkpoint(struct storage *s, const struct partition_id *id, const char *name)
{
    struct data_dir *dir = NULL;

    if (s->dirs.missing_count > 0 || data_dirs_find(&s->dirs, name, &dir) != RIA_OK ||
        dir != NULL) {
        return;
    }
    for (uint32_t i = 0; i < s->dirs.count; i++) {
        if (!s->dirs.items[i].failed) {
            checkpoint_remove(s->dirs.items[i].checkpoint, &id->topic_id, partition_id_number(id));
        }
    }
    storage_checkpoint_soon(s);
}

/* Not a replica any more. Its data goes only by the coordinator's word; else it stays, served to
 * nobody. */
static void unassign(struct storage *s, const struct cluster_partition *assigned)
{
    struct partition_id id = partition_id_of(&assigned->topic->id, assigned->number);
    struct replica *replica = storage_find_id(s, &id);
    char name[STORAGE_FOLDER_MAX];

    storage_folder_name(&id, name);
    if (replica == NULL) {
        if (storage_is_dropped(s, assigned) && storage_find_orphan(s, name) != NULL) {
            storage_look_at(s, &id);
        } else if (storage_is_dropped(s, assigned)) {
            forget_checkpoint(s, &id, name);
        }
        return;
    }
    switch (replica->state) {
    case REPLICA_REMOVING:
        break;
    case REPLICA_OPEN:
        if (may_delete(replica, assigned)) {
            begin_removal(replica, RIA_ERR_NOT_LEADER);
        } else {
            partition_resign(&replica->partition);
        }
        break;
    case REPLICA_OPENING:
    case REPLICA_FAILED:
        if (!storage_is_dropped(s, assigned)) { /* never opened: nothing to keep but the folder */
            struct data_dir *dir = NULL;
            storage_replica_free(replica);
            if (data_dirs_find(&s->dirs, name, &dir) == RIA_OK && dir != NULL) {
                storage_add_orphan(s, dir, name);
            }
        } /* else it is decided when it is open */
        break;
    }
}

/* ---- opening ---- */

static struct partition_log_options log_options(const struct topic_config *config)
{
    return (struct partition_log_options){
        .segment_bytes = config->segment_bytes,
        .relaxed = config->durability == TOPIC_DURABILITY_RELAXED,
    };
}

static void apply(struct replica *replica, const struct cluster_partition *assigned)
{
    struct storage *s = replica->storage;

    if (partition_apply(&replica->partition, assigned) != RIA_OK) {
        storage_fatal(s, "out of memory while following metadata; give this node more memory");
    }
    if (partition_waits_for_tail(&replica->partition, assigned)) {
        tails_want(s->tails, replica);
    }
}

/* The log's on_damaged, and after an open. */
static void on_damaged(void *arg)
{
    struct replica *replica = arg;

    storage_report_fitness(replica);
    repairs_want(replica->storage->repairs, replica);
}

/* A replica whose data is gone may be made anew, empty, only when nobody counts on it any more: the
 * coordinator has acknowledged that it is unfit, and it is in no set out of which leaders are
 * chosen. Or an operator made it the leader in spite of all. */
static bool may_make_anew(const struct storage *s, const struct cluster_partition *assigned)
{
    int32_t self = s->identity.node_id;
    bool counts = cluster_nodes_has(&assigned->eligible, self);
    bool is_forced = assigned->leader == self && assigned->forced_epoch >= 0 &&
                     assigned->forced_epoch == assigned->leader_epoch;

    for (uint32_t i = 0; i < assigned->isr_count; i++) {
        counts = counts || assigned->isr[i] == self;
    }
    return s->dirs.missing_count == 0 && storage_is_assigned(s, assigned) &&
           (is_forced || (cluster_nodes_has(&assigned->unfit, self) && !counts));
}

/* The checkpoint that knows the replica, though its folder is gone. */
static struct data_dir *dir_that_knows(struct data_dirs *dirs, const struct partition_id *id)
{
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct partition_log_checkpoint entry;
        if (dirs->items[i].failed) {
            continue;
        }
        checkpoint_get(dirs->items[i].checkpoint, &id->topic_id, partition_id_number(id), &entry);
        if (entry.synced_offset > 0) {
            return &dirs->items[i];
        }
    }
    return NULL;
}

/* In place of what was lost. First of all the folder's checkpoint says durably that a log of any
 * length was there: then whatever opens the log from now on knows that it is not whole until it has
 * caught up with a leader (a lost tail, see partition_log.h), and does not let it lead. */
static ria_err make_anew(struct replica *replica, struct data_dir *dir)
{
    struct storage *s = replica->storage;
    const struct partition_id *id = &replica->partition.id;
    struct partition_log_checkpoint all = {.synced_offset = INT64_MAX};
    char name[STORAGE_FOLDER_MAX];

    if (storage_checkpoint_is_busy(s)) {
        return RIA_ERR_BUSY;
    }
    RIA_TRY(checkpoint_put(dir->checkpoint, &id->topic_id, partition_id_number(id), &all));
    RIA_TRY(storage_checkpoint_dir_now(dir));
    storage_folder_name(id, name);
    ria_log_warn(s->env->log, "storage.replica_made_anew", "folder=%s dir=%s", name, dir->path);
    return RIA_OK;
}

/* Set replica->dir. Errors: RIA_ERR_NOT_FOUND (its data is lost), RIA_ERR_CORRUPT (it is there
 * twice), those of the disk. */
static ria_err
find_place(struct replica *replica, const struct cluster_partition *assigned, const char *name)
{
    struct storage *s = replica->storage;
    struct data_dir *dir = NULL;

    if (replica->dir != NULL) {
        return RIA_OK;
    }
    RIA_TRY(data_dirs_find(&s->dirs, name, &dir));
    if (dir == NULL) {
        dir = dir_that_knows(&s->dirs, &replica->partition.id);
    }
    if (dir == NULL && (replica->lost || !storage_is_assigned(s, assigned))) {
        if (!may_make_anew(s, assigned)) {
            return RIA_ERR_NOT_FOUND;
        }
        dir = data_dirs_place(&s->dirs);
        if (assigned->leader != s->identity.node_id) {
            RIA_TRY(make_anew(replica, dir));
        }
    }
    replica->dir = dir == NULL ? data_dirs_place(&s->dirs) : dir;
    replica->dir->replica_count++;
    return RIA_OK;
}

static ria_err open_log(struct replica *replica, const struct cluster_partition *assigned)
{
    struct storage *s = replica->storage;
    const struct partition_id *id = &replica->partition.id;
    struct partition_log_options options = log_options(&assigned->topic->config);
    struct partition_log_checkpoint checkpoint;
    struct partition_log *log = NULL;
    char name[STORAGE_FOLDER_MAX];
    char path[IDENTITY_PATH_MAX + STORAGE_FOLDER_MAX];

    storage_folder_name(id, name);
    RIA_TRY(find_place(replica, assigned, name));
    (void)snprintf(path, sizeof(path), "%s/%s", replica->dir->path, name);
    checkpoint_get(replica->dir->checkpoint, &id->topic_id, partition_id_number(id), &checkpoint);
    RIA_TRY(partition_log_open(
        s->env,
        s->cache,
        path,
        &id->topic_id,
        partition_id_number(id),
        &options,
        &checkpoint,
        storage_on_log_synced,
        replica,
        &log
    ));
    replica->state = REPLICA_OPEN;
    replica->mark_slot = marks_take_slot(&replica->dir->marks);
    partition_log_on_damaged(log, on_damaged);
    partition_attach_log(&replica->partition, log, checkpoint.high_watermark);
    return RIA_OK;
}

static void note_open_failed(struct replica *replica, ria_err err)
{
    struct storage *s = replica->storage;
    char name[STORAGE_FOLDER_MAX];

    storage_folder_name(&replica->partition.id, name);
    if (replica->open_err != err) {
        ria_log_error(
            s->env->log,
            err == RIA_ERR_NOT_FOUND ? "storage.replica_lost" : "storage.open_failed",
            "folder=%s err=\"%s\"",
            name,
            ria_err_text(err)
        );
    }
    replica->open_err = err;
    replica->state = REPLICA_FAILED;
    storage_report_fitness(replica);
    replica->retry_us = ria_clock_mono_us(s->env->clock) + (int64_t)STORAGE_OPEN_RETRY_MS * 1000;
}

/* It comes back while the checkpoint on disk may still have the entry of the log that was removed,
 * which would be taken for the new one's. */
static bool waits_for_checkpoint(const struct replica *replica)
{
    const struct storage *s = replica->storage;
    char name[STORAGE_FOLDER_MAX];

    storage_folder_name(&replica->partition.id, name);
    for (uint32_t i = 0; i < s->dirs.count; i++) {
        const struct data_dir *dir = &s->dirs.items[i];
        if (!dir->failed && !dir->no_checkpoint && trash_holds(&dir->trash, name)) {
            return true;
        }
    }
    return false;
}

/* True: it needs no further attempt. */
static bool open_replica(struct replica *replica)
{
    struct storage *s = replica->storage;
    const struct partition_id *id = &replica->partition.id;
    struct cluster_partition *assigned =
        cluster_partition(s->cluster, &id->topic_id, partition_id_number(id));

    RIA_ASSERT(assigned != NULL); /* topics and partitions never leave the view */
    if (waits_for_checkpoint(replica)) {
        replica->state = REPLICA_OPENING;
        replica->retry_us = ria_clock_mono_us(s->env->clock) + (int64_t)RETURN_POLL_MS * 1000;
        return false;
    }
    ria_err err = open_log(replica, assigned);
    if (err != RIA_OK) {
        note_open_failed(replica, err);
        /* IO: a sync may be what failed, and a second one that succeeds would prove nothing. */
        return err == RIA_ERR_CORRUPT || err == RIA_ERR_UNKNOWN_VERSION || err == RIA_ERR_IO ||
               (err == RIA_ERR_NOT_FOUND &&
                (s->dirs.missing_count > 0 || !storage_is_assigned(s, assigned)));
    }
    if (partition_log_is_damaged(replica->partition.log)) {
        char name[STORAGE_FOLDER_MAX];
        storage_folder_name(id, name);
        ria_log_error(s->env->log, "storage.replica_damaged", "folder=%s", name);
        on_damaged(replica);
    }
    if (storage_is_assigned(s, assigned)) {
        apply(replica, assigned);
        storage_report_fitness(replica);
        if (partition_has_impossible_epoch(&replica->partition)) {
            doubts_want(s->doubts, replica);
        }
    } else {
        unassign(s, assigned); /* it was opened to see how new it is */
    }
    return true;
}

/* Every log that is claimed is open, and has its entry: what has none from now on is new. */
static void settle_checkpoints(struct storage *s)
{
    if (!s->scanned || !ria_list_is_empty(&s->opening) || !data_dirs_are_doubted(&s->dirs)) {
        return;
    }
    RIA_LIST_FOREACH (node, &s->replicas) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, link);
        if (replica->state != REPLICA_OPEN) {
            return;
        }
        storage_mark_changed(replica);
    }
    for (uint32_t i = 0; i < s->dirs.count; i++) {
        if (!s->dirs.items[i].failed) {
            checkpoint_set_whole(s->dirs.items[i].checkpoint);
        }
    }
}

void storage_open_step(struct storage *s)
{
    int64_t start_us = ria_clock_mono_us(s->env->clock);
    int64_t now_us = start_us;
    int64_t next_us = INT64_MAX;

    RIA_LIST_FOREACH (node, &s->opening) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, queue_link);
        if (replica->retry_us > now_us) {
            next_us = ria_min_i64(next_us, replica->retry_us);
            continue;
        }
        if (now_us - start_us > (int64_t)STORAGE_OPEN_SLICE_MS * 1000) {
            next_us = now_us;
            break;
        }
        if (open_replica(replica)) {
            if (replica->state != REPLICA_REMOVING) { /* that is another queue */
                ria_list_remove(&replica->queue_link);
            }
        } else {
            next_us = ria_min_i64(next_us, replica->retry_us);
        }
        now_us = ria_clock_mono_us(s->env->clock);
    }
    if (next_us != INT64_MAX) {
        ria_timer_start(s->env->timers, &s->open_timer, ria_max_i64(next_us - now_us, 0));
    }
    settle_checkpoints(s);
    storage_settle_lost(s);
    storage_note_ready(s);
}

/* ---- following the metadata ---- */

void storage_apply_again(struct replica *replica)
{
    const struct partition_id *id = &replica->partition.id;
    const struct cluster_partition *assigned =
        cluster_partition(replica->storage->cluster, &id->topic_id, partition_id_number(id));

    if (assigned != NULL && storage_is_assigned(replica->storage, assigned)) {
        apply(replica, assigned);
    }
}

void storage_assign(struct storage *s, struct cluster_partition *assigned)
{
    struct replica *replica = storage_find(s, &assigned->topic->id, assigned->number);

    if (assigned->topic->deleted) {
        return;
    }
    if (!storage_is_assigned(s, assigned)) {
        unassign(s, assigned);
        return;
    }
    if (replica == NULL) {
        struct partition_id id = partition_id_of(&assigned->topic->id, assigned->number);
        storage_look_at(s, &id);
        replica = storage_find_id(s, &id);
        if (replica != NULL) {
            /* What comes later than the first metadata is new, and was never anywhere. */
            replica->lost = !s->scanned && (s->dirs.missing_count > 0 || s->identity.lost_data ||
                                            data_dirs_are_partial(&s->dirs));
        }
    } else if (replica->state == REPLICA_OPEN) {
        apply(replica, assigned);
        storage_report_fitness(replica);
    } else if (replica->state == REPLICA_FAILED && replica->lost) {
        replica->retry_us = 0; /* perhaps it may be made anew now */
        ria_timer_start(s->env->timers, &s->open_timer, 0);
    }
}

/* Everything that was in a folder that was given up is made anew, or has another: what is found
 * nowhere from now on is new. */
void storage_settle_lost(struct storage *s)
{
    if (!s->identity.lost_data || !s->scanned || s->dirs.missing_count > 0) {
        return;
    }
    RIA_LIST_FOREACH (node, &s->replicas) {
        const struct replica *replica = RIA_CONTAINER(node, struct replica, link);
        if (replica->lost && replica->dir == NULL) {
            return;
        }
    }
    struct identity identity = s->identity;
    identity.lost_data = false;
    identity.revision++;
    ria_err err = data_dirs_save(&s->dirs, &identity);
    if (err != RIA_OK) { /* tried again with the next replica, or start */
        ria_log_warn(s->env->log, "storage.identity_not_saved", "err=\"%s\"", ria_err_text(err));
        return;
    }
    s->identity = identity;
}

void storage_configure(struct storage *s, struct cluster_topic *topic)
{
    for (int32_t i = 0; i < topic->partition_count; i++) {
        struct replica *replica = storage_find(s, &topic->id, i);
        if (replica != NULL && replica->state == REPLICA_OPEN) {
            /* What they allow to be committed is looked at when the partition's row has been taken:
             * it may say that this node does not lead any more. */
            partition_configure(&replica->partition, topic);
            parked_wake(
                &replica->waits[REPLICA_SYNCED], partition_log_synced_offset(replica->partition.log)
            );
        }
    }
}

void storage_remove_topic(struct storage *s, struct cluster_topic *topic)
{
    for (int32_t i = 0; i < topic->partition_count; i++) {
        struct replica *replica = storage_find(s, &topic->id, i);
        if (replica != NULL) {
            begin_removal(replica, RIA_ERR_UNKNOWN_TOPIC);
        } else {
            struct partition_id id = partition_id_of(&topic->id, i);
            throw_orphan(s, &id);
        }
    }
}

static void finish_removal(struct replica *replica)
{
    struct storage *s = replica->storage;
    struct partition_id id = replica->partition.id;
    struct cluster_partition *assigned =
        cluster_partition(s->cluster, &id.topic_id, partition_id_number(&id));
    struct data_dir *dir = replica->dir;
    char name[STORAGE_FOLDER_MAX];

    RIA_ASSERT(assigned != NULL); /* topics and partitions never leave the view */
    storage_folder_name(&id, name);
    partition_log_free(replica->partition.log);
    replica->partition.log = NULL;
    if (dir != NULL) {
        marks_clear(&dir->marks, replica->mark_slot);
    }
    ria_err err = dir == NULL ? data_dirs_find(&s->dirs, name, &dir) : RIA_OK;
    storage_replica_free(replica);
    if (err == RIA_OK && dir != NULL) {
        storage_throw_away(s, dir, name);
    }
    ria_log_info(
        s->env->log,
        "storage.replica_removed",
        "folder=%s why=%s epoch=%d",
        name,
        assigned->topic->deleted ? "topic_deleted" : "dropped",
        assigned->partition_epoch
    );
    if (storage_is_assigned(s, assigned)) {
        storage_assign(s, assigned); /* it came back meanwhile: as a new, empty replica */
    }
}

void storage_finish_removals(struct storage *s)
{
    RIA_LIST_FOREACH (node, &s->removing) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, queue_link);
        const struct partition_log *log = replica->partition.log;
        if (log != NULL && partition_log_is_syncing(log)) {
            continue; /* storage_on_log_synced() comes back to it */
        }
        finish_removal(replica);
    }
}
