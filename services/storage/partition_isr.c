/* The leader's side of the in-sync set: who is in it, who lags, what to propose. */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/storage/partition.h"

_Static_assert(RIA_REPLICAS_MAX <= 32, "replica sets are bits of a uint32_t");

struct partition_replica *partition_isr_find(struct partition *p, int32_t node_id)
{
    for (uint32_t i = 0; i < p->replica_count; i++) {
        if (p->replicas[i].node_id == node_id) {
            return &p->replicas[i];
        }
    }
    return NULL;
}

uint32_t partition_isr_count(const struct partition *p)
{
    return (uint32_t)__builtin_popcount(p->isr);
}

static struct partition_replica replica_new(const struct partition *p, int32_t node_id)
{
    int64_t now_us = ria_clock_mono_us(p->env->clock);

    return (struct partition_replica){
        .node_id = node_id,
        .end_offset = -1,
        .caught_up_us = now_us,
        .target_offset = partition_log_end_offset(p->log),
        .target_us = now_us,
    };
}

void partition_isr_begin(struct partition *p)
{
    for (uint32_t i = 0; i < p->replica_count; i++) {
        p->replicas[i] = replica_new(p, p->replicas[i].node_id);
    }
    partition_isr_forget_proposal(p);
    p->isr_retry_us = 0;
}

void partition_isr_forget_proposal(struct partition *p)
{
    p->proposed = 0;
    p->proposal_unknown = false;
    p->withdrawing = false;
}

bool partition_isr_note_incarnation(
    struct partition *p, struct partition_replica *replica, int64_t incarnation
)
{
    if (replica->incarnation == incarnation) {
        return true;
    }
    int32_t node_id = replica->node_id;
    if (replica->end_offset >= 0 && p->host->is_current(p, node_id, replica->incarnation) &&
        !p->host->is_current(p, node_id, incarnation)) {
        return false;
    }
    *replica = replica_new(p, node_id);
    replica->incarnation = incarnation;
    return true;
}

/* A replica that has just said that it is unfit may have lost what it reported before: only what it
 * reports from now on counts. */
static struct partition_replica keep_replica(struct partition *p, int32_t node_id, bool is_unfit)
{
    const struct partition_replica *known = partition_isr_find(p, node_id);

    if (known == NULL) {
        return replica_new(p, node_id);
    }
    bool was_unfit = (p->unfit & 1u << (uint32_t)(known - p->replicas)) != 0;
    return is_unfit && !was_unfit ? replica_new(p, node_id) : *known;
}

ria_err partition_isr_assign(struct partition *p, const struct cluster_partition *assigned)
{
    uint32_t count = assigned->replica_count;

    RIA_ASSERT(count <= RIA_REPLICAS_MAX);
    struct partition_replica *replicas = calloc(count == 0 ? 1 : count, sizeof(*replicas));
    if (replicas == NULL) {
        return RIA_ERR_NOMEM;
    }
    uint32_t isr = 0;
    uint32_t unfit = 0;
    p->self_bit = 0;
    for (uint32_t i = 0; i < count; i++) {
        int32_t node_id = assigned->replicas[i];
        unfit |= cluster_nodes_has(&assigned->unfit, node_id) ? 1u << i : 0;
        replicas[i] = keep_replica(p, node_id, (unfit & 1u << i) != 0);
        for (uint32_t j = 0; j < assigned->isr_count; j++) {
            if (assigned->isr[j] == node_id) {
                isr |= 1u << i;
            }
        }
        if (node_id == p->node_id) {
            p->self_bit = 1u << i;
        }
    }
    if (assigned->leader == p->node_id) {
        isr |= p->self_bit; /* a leader is in sync with itself, whatever the row says */
    }
    free(p->replicas);
    p->replicas = replicas;
    p->replica_count = count;
    p->isr = isr;
    p->unfit = unfit;
    p->partition_epoch = assigned->partition_epoch;
    /* The epoch has moved on: what was under way was applied, or never will be. */
    partition_isr_forget_proposal(p);
    return RIA_OK;
}

void partition_isr_appended(struct partition *p, int64_t old_end)
{
    if (p->replica_count < 2) {
        return;
    }
    int64_t now_us = ria_clock_mono_us(p->env->clock);
    int64_t end = partition_log_end_offset(p->log);
    for (uint32_t i = 0; i < p->replica_count; i++) {
        struct partition_replica *replica = &p->replicas[i];
        if (replica->end_offset >= old_end) {
            replica->caught_up_us = now_us;
            replica->target_offset = end;
            replica->target_us = now_us;
        }
    }
}

static bool lags(const struct partition *p, const struct partition_replica *replica, int64_t now_us)
{
    return replica->end_offset < partition_log_end_offset(p->log) &&
           now_us - replica->caught_up_us > p->config.replica_lag_ms * 1000;
}

/* Fit to be (again) in the in-sync set: nothing committed is missing, nothing of an older epoch,
 * and it would not be put out again at once (the high watermark stands still while too few are in
 * sync, so that alone says little). */
static bool
has_returned(struct partition *p, const struct partition_replica *replica, int64_t now_us)
{
    return replica->end_offset >= p->high_watermark &&
           replica->end_offset >= p->epoch_start_offset && !lags(p, replica, now_us) &&
           p->host->may_join(p, replica->node_id) &&
           p->host->is_current(p, replica->node_id, replica->incarnation);
}

/* *out_busy: somebody in the set is behind, or could join. */
static uint32_t wanted_isr(struct partition *p, int64_t now_us, bool *out_busy)
{
    uint32_t wanted = p->self_bit;

    *out_busy = false;
    for (uint32_t i = 0; i < p->replica_count; i++) {
        const struct partition_replica *replica = &p->replicas[i];
        uint32_t bit = 1u << i;
        if (bit == p->self_bit) {
            continue;
        }
        if ((p->isr & bit) == 0) {
            if (has_returned(p, replica, now_us)) {
                wanted |= bit;
                *out_busy = true;
            }
            continue;
        }
        if (!lags(p, replica, now_us)) {
            wanted |= bit;
        }
        if (replica->end_offset < partition_log_end_offset(p->log)) {
            *out_busy = true;
        }
    }
    return wanted;
}

bool partition_isr_review(struct partition *p)
{
    bool busy = false;

    if (p->role != PARTITION_LEADER || p->replica_count < 2) {
        return false;
    }
    int64_t now_us = ria_clock_mono_us(p->env->clock);
    uint32_t wanted = wanted_isr(p, now_us, &busy);
    if (p->proposal_in_call || now_us < p->isr_retry_us) {
        return busy || p->proposed != 0;
    }
    if (p->proposed != 0) {
        /* The last attempt may have been applied: only the same again tells. */
        p->proposal_in_call = true;
        p->host->propose(p);
        return true;
    }
    /* While the coordinator is silent nothing changes: a larger set that it may never hear of would
     * count for the high watermark all the same. */
    if (wanted == p->isr || !p->host->may_propose(p)) {
        return busy;
    }
    partition_isr_forget_proposal(p);
    p->proposed = wanted;
    p->proposal_in_call = true;
    p->host->propose(p);
    return true;
}

uint32_t partition_proposal(const struct partition *p, int32_t out_isr[RIA_REPLICAS_MAX])
{
    uint32_t count = 0;
    uint32_t set = p->withdrawing ? p->isr : p->proposed;

    for (uint32_t i = 0; i < p->replica_count; i++) {
        if ((set & 1u << i) != 0) {
            out_isr[count++] = p->replicas[i].node_id;
        }
    }
    return count;
}

void partition_isr_done(
    struct partition *p,
    int32_t leader_epoch,
    int32_t partition_epoch,
    ria_err err,
    int32_t new_partition_epoch
)
{
    p->proposal_in_call = false;
    if (p->role != PARTITION_LEADER || p->leader_epoch != leader_epoch ||
        p->partition_epoch != partition_epoch || p->proposed == 0) {
        return; /* decided by metadata meanwhile */
    }
    p->isr_retry_us = ria_clock_mono_us(p->env->clock) + (int64_t)PARTITION_ISR_RETRY_MS * 1000;
    if (err == RIA_OK) {
        p->isr = p->withdrawing ? p->isr : p->proposed;
        p->partition_epoch = new_partition_epoch;
        partition_isr_forget_proposal(p);
        p->isr_retry_us = 0;
    } else if (!ria_err_is_definite(err)) {
        p->proposal_unknown = true;
    } else if (!p->proposal_unknown) {
        partition_isr_forget_proposal(p);
    } else if (err == RIA_ERR_CONFLICT) {
        /* Either the first attempt was applied, and metadata will say so, or the set cannot be had
         * any more (a node in it is fenced), but the first attempt may still be on its way. The
         * agreed set itself, with the next partition epoch, ends that: else the high watermark
         * would wait for the fenced node. */
        p->withdrawing = true;
    }
    partition_advance(p);
    p->host->want_tick(p);
}
