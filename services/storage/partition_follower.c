/* A replica that follows: fenced, cut to the leader's history, appended to. */
#include "common/assert.h"

#include "services/storage/partition.h"

/* The log may be cut and appended to. Damage is no obstacle: a replica that did not get what is new
 * could never return. It is unfit to lead until that is repaired, see fitness.c. */
static ria_err check_log_usable(const struct partition *p)
{
    return partition_log_has_failed(p->log) ? RIA_ERR_IO : RIA_OK;
}

ria_err partition_fence(struct partition *p, int32_t leader_epoch)
{
    if (leader_epoch < p->leader_epoch) {
        return RIA_ERR_FENCED_EPOCH;
    }
    if (leader_epoch == p->leader_epoch && p->role == PARTITION_LEADER) {
        return RIA_ERR_INVALID;
    }
    RIA_TRY(check_log_usable(p));
    if (leader_epoch > p->leader_epoch || p->role != PARTITION_FOLLOWER) {
        partition_follow(p, leader_epoch, PARTITION_FOLLOWER);
        p->host->moved(p);
    }
    p->prepared_epoch = -1;
    return RIA_OK;
}

/* Where this log leaves the leader's. */
static int64_t
divergence(const struct partition *p, int32_t leader_epoch, const struct partition_history *leader)
{
    uint32_t count = 0;
    const struct leader_epoch_entry *own = partition_log_epochs(p->log, &count);
    int32_t own_last = count > 0 ? own[count - 1].epoch : -1;

    /* Batches of this very epoch came after an earlier prepare for it, so everything here is the
     * leader's; its history in hand may be older than they are, and must not cut them off. That the
     * last one is of this epoch is not sure if only its header says so (it is under no CRC): then
     * the history decides if it reaches that far. */
    bool is_unsure = partition_log_sure_epoch(p->log) != own_last;
    if (own_last == leader_epoch &&
        (!is_unsure || leader->end_offset <= own[count - 1].start_offset)) {
        return partition_log_end_offset(p->log);
    }
    return partition_log_divergence(
        p->log, leader->epochs, leader->epoch_count, leader->end_offset
    );
}

ria_err partition_settle_forced(struct partition *p, int32_t leader_epoch)
{
    return p->forced_epoch <= leader_epoch ? partition_log_settle_forced(p->log, p->forced_epoch)
                                           : RIA_OK;
}

/* Committed records here that the leader lacks were lost by it, and this copy may be the last. They
 * may go only if the topic does not promise to keep them, or an operator gave them up since: by
 * forcing a leader after this log was last written, or made to agree with one. */
static ria_err may_cut_committed(const struct partition *p, int32_t leader_epoch)
{
    uint32_t count = 0;
    const struct leader_epoch_entry *own = partition_log_epochs(p->log, &count);
    int32_t last_epoch = count > 0 ? own[count - 1].epoch : -1;

    if (p->config.durability == TOPIC_DURABILITY_RELAXED ||
        (last_epoch < p->forced_epoch && p->forced_epoch <= leader_epoch &&
         partition_log_forced_epoch(p->log) < p->forced_epoch)) {
        return RIA_OK;
    }
    return p->metadata_epoch < leader_epoch ? RIA_ERR_UNKNOWN_EPOCH : RIA_ERR_CONFLICT;
}

/* Up to where this log has to grow before what went with its end is there again. What was lost is
 * of no later epoch than the one this node opened the log under; a leader of a later one began with
 * all that was committed by then, so what it lacks never was. Of the same epoch the history in hand
 * may be older than what was lost: then the leader is asked (doubts.h). */
static int64_t
lost_end(const struct partition *p, int32_t leader_epoch, const struct partition_history *leader)
{
    int64_t lost_offset = partition_log_lost_offset(p->log);

    return leader_epoch > p->opened_epoch ? leader->end_offset : lost_offset;
}

ria_err partition_prepare(
    struct partition *p,
    int32_t leader_epoch,
    const struct partition_history *leader,
    int64_t *out_end
)
{
    if (p->leader_epoch != leader_epoch || p->role != PARTITION_FOLLOWER) {
        return RIA_ERR_FENCED_EPOCH;
    }
    RIA_TRY(check_log_usable(p));
    RIA_ASSERT(!partition_log_is_syncing(p->log));

    int64_t end = partition_log_end_offset(p->log);
    int64_t cut = divergence(p, leader_epoch, leader);
    ria_err err = RIA_OK;
    if (end < leader->log_start_offset) {
        err = partition_log_reset(p->log, leader->log_start_offset);
    } else if (cut < end) {
        if (cut < p->high_watermark) {
            RIA_TRY(may_cut_committed(p, leader_epoch));
        }
        err = partition_log_truncate(p->log, cut);
    } else if (partition_log_lost_offset(p->log) > 0) {
        err = partition_log_truncate(p->log, ria_max_i64(end, lost_end(p, leader_epoch, leader)));
    }
    /* Also when the disk failed on the way. */
    p->high_watermark = ria_max_i64(
        partition_log_start_offset(p->log),
        ria_min_i64(p->high_watermark, partition_log_end_offset(p->log))
    );
    RIA_TRY(err);
    RIA_TRY(partition_settle_forced(p, leader_epoch)); /* after the cut: else it would be refused */
    p->prepared_epoch = leader_epoch;
    *out_end = partition_log_end_offset(p->log);
    return RIA_OK;
}

ria_err partition_take_tail(struct partition *p, struct ria_slice batches)
{
    RIA_ASSERT(p->role == PARTITION_IDLE);
    RIA_ASSERT(partition_log_tail_is_doubted(p->log));

    RIA_TRY(check_log_usable(p));
    if (!p->host->take_space(p, DISK_SPACE_FOLLOWER, batches.size)) {
        return RIA_ERR_NO_SPACE;
    }
    return partition_log_append_batches(p->log, batches);
}

ria_err partition_replica_append(
    struct partition *p,
    int32_t leader_epoch,
    int64_t base_offset,
    int64_t high_watermark,
    struct ria_slice batches,
    int64_t *out_end
)
{
    if (leader_epoch < p->leader_epoch) {
        return RIA_ERR_FENCED_EPOCH;
    }
    if (leader_epoch != p->prepared_epoch || p->role != PARTITION_FOLLOWER) {
        return RIA_ERR_UNKNOWN_EPOCH;
    }
    if (batches.size > 0) {
        RIA_TRY(check_log_usable(p));
        if (base_offset != partition_log_end_offset(p->log)) {
            return RIA_ERR_CONFLICT;
        }
        if (!p->host->take_space(p, DISK_SPACE_FOLLOWER, batches.size)) {
            return RIA_ERR_NO_SPACE;
        }
        RIA_TRY(partition_log_append_batches(p->log, batches));
    }
    int64_t end = partition_log_end_offset(p->log);
    p->high_watermark = ria_max_i64(p->high_watermark, ria_min_i64(high_watermark, end));
    *out_end = end;
    return RIA_OK;
}
