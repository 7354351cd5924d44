#include "services/storage/partition.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

struct partition_id partition_id_of(const struct ria_uuid *topic_id, int32_t number)
{
    uint32_t n = (uint32_t)number;

    return (struct partition_id){
        .topic_id = *topic_id,
        .number = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n},
    };
}

int32_t partition_id_number(const struct partition_id *id)
{
    const uint8_t *n = id->number;

    return (int32_t)((uint32_t)n[0] << 24 | (uint32_t)n[1] << 16 | (uint32_t)n[2] << 8 | n[3]);
}

void partition_init(
    struct partition *p,
    const struct ria_env *env,
    const struct partition_host *host,
    const struct partition_id *id,
    int32_t node_id
)
{
    *p = (struct partition){
        .env = env,
        .host = host,
        .id = *id,
        .node_id = node_id,
        .leader_epoch = -1,
        .prepared_epoch = -1,
        .partition_epoch = -1,
        .metadata_epoch = -1,
        .forced_epoch = -1,
        .opened_epoch = -1,
        .config_epoch = -1,
        .leader_config_epoch = -1,
    };
    topic_config_init(&p->config, 1);
    ria_list_init(&p->acks);
}

void partition_fini(struct partition *p)
{
    RIA_ASSERT(p->ack_count == 0);

    free(p->replicas);
    p->replicas = NULL;
    p->replica_count = 0;
}

void partition_attach_log(struct partition *p, struct partition_log *log, int64_t high_watermark)
{
    RIA_ASSERT(p->log == NULL);
    RIA_ASSERT(p->role == PARTITION_IDLE);

    p->log = log;
    p->high_watermark = ria_max_i64(
        partition_log_start_offset(log), ria_min_i64(high_watermark, partition_log_end_offset(log))
    );
    /* What is written under an epoch proves that the epoch existed. */
    p->leader_epoch = (int32_t)ria_max_i64(p->leader_epoch, partition_log_sure_epoch(log));
}

int32_t partition_last_epoch(const struct partition *p)
{
    uint32_t count = 0;
    const struct leader_epoch_entry *epochs = partition_log_epochs(p->log, &count);

    return count == 0 ? -1 : epochs[count - 1].epoch;
}

bool partition_has_impossible_epoch(const struct partition *p)
{
    return partition_last_epoch(p) > p->leader_epoch;
}

/* ---- settings ---- */

/* A leader acts by its own settings, a follower by those it has in common with its leader. Who is
 * not in sync waits for its disk in any case: among what it lacks there may be records that were
 * acknowledged as synced, and they are to be on the disk of whoever comes into the set. */
static void set_log_options(struct partition *p)
{
    bool is_in_sync = (p->isr & p->self_bit) != 0;
    bool is_agreed = p->role == PARTITION_LEADER || (p->role == PARTITION_FOLLOWER && is_in_sync &&
                                                     p->leader_config_epoch == p->config_epoch);
    const struct partition_log_options options = {
        .segment_bytes = p->config.segment_bytes,
        .relaxed = is_agreed && p->config.durability == TOPIC_DURABILITY_RELAXED,
    };

    if (p->log != NULL) {
        partition_log_set_options(p->log, &options);
    }
}

void partition_configure(struct partition *p, const struct cluster_topic *topic)
{
    bool hardened = p->config.durability == TOPIC_DURABILITY_RELAXED &&
                    topic->config.durability == TOPIC_DURABILITY_SYNCED;

    p->config = topic->config;
    p->config_epoch = topic->config_epoch;
    p->was_relaxed = topic->was_relaxed;
    if (hardened) {
        p->relaxed_end_offset = partition_log_end_offset(p->log);
    }
    set_log_options(p);
}

void partition_note_leader_config(struct partition *p, int32_t leader_epoch, int32_t config_epoch)
{
    if (p->role == PARTITION_FOLLOWER && leader_epoch == p->prepared_epoch &&
        config_epoch != p->leader_config_epoch) {
        p->leader_config_epoch = config_epoch;
        set_log_options(p);
    }
}

/* ---- roles ---- */

/* Whoever waited under the old role or epoch cannot know what comes of it. */
static void leave_role(struct partition *p)
{
    if (p->role == PARTITION_LEADER) {
        partition_end_acks(p, RIA_ERR_UNKNOWN_OUTCOME);
    }
}

static void lead(struct partition *p, int32_t leader_epoch)
{
    leave_role(p);
    p->role = PARTITION_LEADER;
    p->leader_epoch = leader_epoch;
    p->prepared_epoch = -1;
    p->epoch_start_offset = partition_log_end_offset(p->log);
    p->relaxed_end_offset = p->was_relaxed ? p->epoch_start_offset : 0;
    set_log_options(p);
    partition_isr_begin(p);
}

void partition_follow(struct partition *p, int32_t leader_epoch, partition_role role)
{
    leave_role(p);
    if (leader_epoch > p->leader_epoch) {
        p->leader_epoch = leader_epoch;
        p->prepared_epoch = -1;
    }
    p->leader_config_epoch = -1; /* it is to say so again */
    p->role = role;
    set_log_options(p);
    partition_isr_forget_proposal(p);
}

static bool is_stale(const struct partition *p, const struct cluster_partition *assigned)
{
    if (assigned->leader_epoch != p->leader_epoch) {
        return assigned->leader_epoch < p->leader_epoch;
    }
    return assigned->partition_epoch < p->partition_epoch;
}

/* The operator was shown what may be lost, and this copy is what is left. */
static bool is_forced(const struct cluster_partition *assigned)
{
    return assigned->forced_epoch >= 0 && assigned->forced_epoch == assigned->leader_epoch;
}

static bool may_lead(const struct partition *p, const struct cluster_partition *assigned)
{
    bool forced = is_forced(assigned);
    /* What it has lost is given up first, which cannot be while its disk works on the log. */
    bool waits =
        forced && partition_log_lost_offset(p->log) > 0 && partition_log_is_syncing(p->log);

    return !partition_log_has_failed(p->log) && !waits &&
           (forced ||
            (!partition_log_is_damaged(p->log) && !partition_log_tail_is_doubted(p->log) &&
             partition_last_epoch(p) <= assigned->leader_epoch));
}

bool partition_waits_for_tail(const struct partition *p, const struct cluster_partition *assigned)
{
    return p->role == PARTITION_IDLE && assigned->leader == p->node_id &&
           assigned->leader_epoch == p->leader_epoch && partition_log_tail_is_doubted(p->log) &&
           !partition_log_has_failed(p->log) && !partition_log_is_damaged(p->log);
}

/* Whoever is in neither of the sets out of which leaders are chosen comes back only when a leader
 * has seen that it has everything. */
static bool may_be_chosen(const struct partition *p, const struct cluster_partition *assigned)
{
    bool counts =
        assigned->leader == p->node_id || cluster_nodes_has(&assigned->eligible, p->node_id);

    for (uint32_t i = 0; i < assigned->isr_count; i++) {
        counts = counts || assigned->isr[i] == p->node_id;
    }
    return counts;
}

static partition_role role_of(const struct partition *p, const struct cluster_partition *assigned)
{
    if (assigned->leader < 0) {
        return PARTITION_IDLE;
    }
    if (assigned->leader != p->node_id || p->self_bit == 0) {
        return PARTITION_FOLLOWER;
    }
    /* Who leads already goes on, to be read from, until the coordinator has heard of it. */
    bool goes_on = p->role == PARTITION_LEADER && p->leader_epoch == assigned->leader_epoch;
    return goes_on || may_lead(p, assigned) ? PARTITION_LEADER : PARTITION_IDLE;
}

/* A forced leader gives up what it has lost. If its disk does not let it, it does not lead. */
static ria_err begin_to_lead(struct partition *p, const struct cluster_partition *assigned)
{
    ria_err err = RIA_OK;

    if (is_forced(assigned)) {
        err = partition_log_give_up_lost(p->log);
        if (err == RIA_OK) {
            partition_log_settle_tail(p->log);
            err = partition_settle_forced(p, assigned->leader_epoch);
        }
    }
    if (err == RIA_OK) {
        lead(p, assigned->leader_epoch);
    } else {
        partition_follow(p, assigned->leader_epoch, PARTITION_IDLE);
    }
    return err == RIA_ERR_NOMEM ? err : RIA_OK;
}

/* It may have been prepared before the metadata came. If its disk does not let it remember that,
 * the next prepare tries again. */
static ria_err note_forced(struct partition *p, int32_t forced_epoch)
{
    ria_err err = RIA_OK;

    if (forced_epoch > p->forced_epoch) {
        p->forced_epoch = forced_epoch;
        if (p->prepared_epoch >= 0) {
            err = partition_settle_forced(p, p->prepared_epoch);
        }
    }
    return err == RIA_ERR_NOMEM ? err : RIA_OK;
}

ria_err partition_apply(struct partition *p, const struct cluster_partition *assigned)
{
    RIA_ASSERT(p->log != NULL);

    bool new_epoch = assigned->leader_epoch > p->leader_epoch;

    partition_configure(p, assigned->topic);
    if (p->opened_epoch < 0) {
        p->opened_epoch = assigned->leader_epoch;
    }
    if (assigned->leader_epoch > p->metadata_epoch) {
        p->metadata_epoch = assigned->leader_epoch;
    }
    RIA_TRY(note_forced(p, assigned->forced_epoch));
    if (is_stale(p, assigned)) {
        return RIA_OK;
    }
    if (assigned->partition_epoch != p->partition_epoch || new_epoch || p->replica_count == 0) {
        RIA_TRY(partition_isr_assign(p, assigned));
        set_log_options(p);
    }
    if (!may_be_chosen(p, assigned)) {
        partition_log_settle_tail(p->log);
    }
    partition_role role = role_of(p, assigned);
    bool moved = new_epoch || role != p->role;
    if (moved) {
        if (role == PARTITION_LEADER) {
            RIA_TRY(begin_to_lead(p, assigned));
        } else {
            partition_follow(p, assigned->leader_epoch, role);
        }
        p->host->moved(p);
    }
    if (p->role == PARTITION_LEADER) {
        partition_advance(p);
        p->host->want_tick(p);
    }
    return RIA_OK;
}

void partition_resign(struct partition *p)
{
    if (p->role == PARTITION_IDLE) {
        return;
    }
    partition_follow(p, p->leader_epoch, PARTITION_IDLE);
    p->prepared_epoch = -1;
    p->host->moved(p);
}

ria_err partition_check_leader(const struct partition *p, int32_t leader_epoch)
{
    if (p->role != PARTITION_LEADER) {
        /* Of an epoch this node has not heard of yet it may well be the leader. */
        return leader_epoch > p->leader_epoch ? RIA_ERR_UNKNOWN_EPOCH : RIA_ERR_NOT_LEADER;
    }
    if (leader_epoch == PARTITION_ANY_EPOCH || leader_epoch == p->leader_epoch) {
        return RIA_OK;
    }
    return leader_epoch < p->leader_epoch ? RIA_ERR_FENCED_EPOCH : RIA_ERR_UNKNOWN_EPOCH;
}

/* ---- leader ---- */

ria_err partition_report(
    struct partition *p,
    int32_t leader_epoch,
    int32_t node_id,
    int64_t incarnation,
    int64_t end_offset
)
{
    RIA_TRY(partition_check_leader(p, leader_epoch));

    struct partition_replica *replica = partition_isr_find(p, node_id);
    if (replica == NULL || node_id == p->node_id) {
        return RIA_ERR_INVALID;
    }
    int64_t log_end = partition_log_end_offset(p->log);
    if (end_offset < 0 || end_offset > log_end) {
        return RIA_ERR_CONFLICT;
    }
    if (!partition_isr_note_incarnation(p, replica, incarnation)) {
        return RIA_ERR_UNKNOWN_EPOCH; /* whoever is right, a new prepare tells */
    }
    int64_t now_us = ria_clock_mono_us(p->env->clock);
    replica->end_offset = ria_max_i64(replica->end_offset, end_offset);
    if (end_offset >= log_end) {
        replica->caught_up_us = now_us;
    } else if (end_offset >= replica->target_offset) {
        /* It has now all the leader had when the target was set (KIP-16). */
        replica->caught_up_us = ria_max_i64(replica->caught_up_us, replica->target_us);
        replica->target_offset = log_end;
        replica->target_us = now_us;
    }
    partition_advance(p);
    uint32_t bit = 1u << (uint32_t)(replica - p->replicas);
    /* Under load a follower that has returned equals the high watermark for moments only: now. */
    if (((p->isr | p->proposed) & bit) == 0 && partition_isr_review(p)) {
        p->host->want_tick(p);
    }
    return RIA_OK;
}

/* Synced end offset of the slowest that counts; -1 if one has not been heard of. */
static int64_t slowest(const struct partition *p)
{
    uint32_t counted = p->isr | p->proposed;
    int64_t end = partition_log_synced_offset(p->log);

    for (uint32_t i = 0; i < p->replica_count; i++) {
        if ((counted & 1u << i) != 0 && 1u << i != p->self_bit) {
            end = ria_min_i64(end, p->replicas[i].end_offset);
        }
    }
    return end;
}

void partition_advance(struct partition *p)
{
    if (p->role != PARTITION_LEADER || partition_isr_count(p) < p->config.min_insync_replicas) {
        return;
    }
    int64_t end = slowest(p);
    if (end > p->high_watermark) {
        p->high_watermark = end;
        if (p->config.durability == TOPIC_DURABILITY_SYNCED && end > p->relaxed_end_offset) {
            p->relaxed_end_offset =
                0; /* disks are written in order: what is before is there, too */
        }
        partition_release_acks(p);
        p->host->committed(p);
    }
}

void partition_on_synced(struct partition *p, ria_err err)
{
    if (err == RIA_OK) {
        partition_advance(p);
    } else {
        partition_end_acks(p, RIA_ERR_IO);
    }
}

bool partition_tick(struct partition *p)
{
    partition_expire_acks(p, ria_clock_mono_us(p->env->clock));
    bool busy = partition_isr_review(p);
    return busy || p->ack_count > 0;
}

void partition_check(const struct partition *p)
{
    uint32_t acks = 0;
    int64_t last = -1;

    RIA_ASSERT(p->prepared_epoch <= p->leader_epoch);
    RIA_ASSERT(p->role != PARTITION_LEADER || p->log != NULL);
    RIA_ASSERT(p->role == PARTITION_LEADER || p->ack_count == 0);
    for (const struct ria_list *it = p->acks.next; it != &p->acks; it = it->next) {
        const struct partition_ack *ack =
            (const struct partition_ack
                 *)(const void *)((const char *)it - offsetof(struct partition_ack, link));
        RIA_ASSERT(ack->last_offset >= last);
        RIA_ASSERT(ack->last_offset >= p->high_watermark);
        last = ack->last_offset;
        acks++;
    }
    RIA_ASSERT(acks == p->ack_count);
    if (p->log != NULL) {
        RIA_ASSERT(p->high_watermark <= partition_log_end_offset(p->log));
        RIA_ASSERT(p->high_watermark >= partition_log_start_offset(p->log));
    }
    if (p->role == PARTITION_LEADER) {
        uint32_t all = p->replica_count >= 32 ? UINT32_MAX : (1u << p->replica_count) - 1;
        RIA_ASSERT(p->self_bit != 0 && (p->isr & p->self_bit) != 0);
        RIA_ASSERT(((p->isr | p->proposed | p->unfit) & ~all) == 0);
    }
}
