/* The clean end: hand over, drain, close every log, write the checkpoint. In small steps, so that
 * replication (which other nodes' produces may wait for) and the process's own patience are not
 * held up. */
#include "services/storage/storage.h"

enum { CLOSE_SLICE_MS = 50 };

static void again(struct storage *s)
{
    ria_timer_start(s->env->timers, &s->drain_timer, (int64_t)STORAGE_DRAIN_STEP_MS * 1000);
}

void storage_stop(struct storage *s, bool *out_done)
{
    *out_done = false;
    s->out_done = out_done;
    s->leaving = true;
    ria_timer_stop(s->env->timers, &s->register_timer);
    storage_begin_handover(s);
    ria_timer_start(s->env->timers, &s->drain_timer, 0);
}

/* From here on nothing is promised and nothing is accepted. */
static void resign_all(struct storage *s)
{
    s->stopped = true;
    repairs_stop(s->repairs);
    doubts_stop(s->doubts);
    tails_stop(s->tails);
    scrub_stop(s->scrub);
    ria_timer_stop(s->env->timers, &s->open_timer);
    ria_timer_stop(s->env->timers, &s->tick_timer);
    ria_timer_stop(s->env->timers, &s->checkpoint_timer);
    RIA_LIST_FOREACH (node, &s->replicas) {
        partition_resign(&RIA_CONTAINER(node, struct replica, link)->partition);
    }
    fetch_sessions_close(&s->fetch_sessions);
    parked_close(&s->parked);
    storage_end_prepares(s); /* of which one may have been parked, and due */
    storage_end_unsure(s);
}

static void close_log(struct replica *replica)
{
    struct storage *s = replica->storage;
    struct partition *p = &replica->partition;

    storage_mark_changed(replica);
    struct partition_log_checkpoint entry;
    ria_err err = RIA_OK;
    if (!partition_log_has_failed(p->log)) {
        partition_log_get_checkpoint(p->log, p->high_watermark, &entry);
        err = checkpoint_put(
            replica->dir->checkpoint, &p->id.topic_id, partition_id_number(&p->id), &entry
        );
    }
    if (err == RIA_OK) {
        err = partition_log_close(p->log);
    } else {
        partition_log_free(p->log);
    }
    p->log = NULL;
    if (err != RIA_OK) {
        ria_log_warn(
            s->env->log,
            "storage.close_failed",
            "partition=%d err=\"%s\" note=\"the next start recovers it\"",
            partition_id_number(&p->id),
            ria_err_text(err)
        );
    }
}

/* True: every log is closed. */
static bool close_some(struct storage *s)
{
    int64_t until_us = ria_clock_mono_us(s->env->clock) + (int64_t)CLOSE_SLICE_MS * 1000;
    bool all = true;

    RIA_LIST_FOREACH (node, &s->replicas) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, link);
        const struct partition_log *log = replica->partition.log;
        if (log == NULL) {
            continue;
        }
        if (partition_log_is_syncing(log) || ria_clock_mono_us(s->env->clock) > until_us) {
            all = false;
            continue;
        }
        close_log(replica);
    }
    return all;
}

void storage_drain_step(struct storage *s)
{
    if (!s->stopping) {
        if (!storage_hand_over(s)) {
            again(s);
            return;
        }
        s->stopping = true;
        s->drain_until_us = ria_clock_mono_us(s->env->clock) + (int64_t)STORAGE_DRAIN_MS * 1000;
    }
    if (!s->stopped) {
        if (s->ack_count > 0 && ria_clock_mono_us(s->env->clock) < s->drain_until_us) {
            again(s);
            return;
        }
        resign_all(s);
    }
    storage_finish_removals(s);
    if (repairs_is_busy(s->repairs) || scrub_is_busy(s->scrub) || !close_some(s) ||
        storage_checkpoint_is_busy(s)) {
        again(s);
        return;
    }
    ria_timer_stop(s->env->timers, &s->checkpoint_timer);
    storage_checkpoint_now(s);
    ria_log_info(s->env->log, "storage.stopped", "node=%d", s->identity.node_id);
    *s->out_done = true;
}
