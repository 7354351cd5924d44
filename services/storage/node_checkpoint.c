/* The node's checkpoint: brought up to date from the replicas that moved, about once a second. */
#include "services/storage/storage.h"

void storage_mark_changed(struct replica *replica)
{
    struct storage *s = replica->storage;

    if (!ria_list_is_linked(&replica->changed_link)) {
        ria_list_push_back(&s->changed, &replica->changed_link);
    }
    if (!s->checkpoint_timer.active) {
        ria_timer_start(
            s->env->timers, &s->checkpoint_timer, (int64_t)STORAGE_CHECKPOINT_MS * 1000
        );
    }
}

/* Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT; the rest stays in the list. */
static ria_err gather(struct storage *s)
{
    RIA_LIST_FOREACH (node, &s->changed) {
        struct replica *replica = RIA_CONTAINER(node, struct replica, changed_link);
        const struct partition *p = &replica->partition;
        struct partition_log_checkpoint entry;

        /* Of a log that failed, perhaps in the middle of a cut, the last good word stays. */
        if (p->log != NULL && !partition_log_has_failed(p->log)) {
            partition_log_get_checkpoint(p->log, p->high_watermark, &entry);
            RIA_TRY(
                checkpoint_put(s->checkpoint, &p->id.topic_id, partition_id_number(&p->id), &entry)
            );
        }
        ria_list_remove(&replica->changed_link);
    }
    return RIA_OK;
}

static ria_err encode(struct storage *s, struct ria_buf *out)
{
    RIA_TRY(gather(s));
    return checkpoint_encode(s->checkpoint, out);
}

void storage_checkpoint(struct storage *s)
{
    struct ria_buf bytes;

    if (checkpoint_writer_is_busy(&s->checkpoint_writer)) {
        ria_timer_start(
            s->env->timers, &s->checkpoint_timer, (int64_t)STORAGE_CHECKPOINT_MS * 1000
        );
        return;
    }
    ria_buf_init(&bytes, CHECKPOINT_SIZE_MAX);
    ria_err err = encode(s, &bytes);
    if (err == RIA_OK) {
        err = checkpoint_writer_start(&s->checkpoint_writer, ria_buf_slice(&bytes));
    }
    ria_buf_fini(&bytes);
    if (err != RIA_OK) {
        ria_log_warn(s->env->log, "storage.checkpoint_failed", "err=\"%s\"", ria_err_text(err));
    }
}

void storage_checkpoint_now(struct storage *s)
{
    struct ria_buf bytes;

    ria_buf_init(&bytes, CHECKPOINT_SIZE_MAX);
    ria_err err = encode(s, &bytes);
    if (err == RIA_OK) {
        err = checkpoint_writer_write(&s->checkpoint_writer, ria_buf_slice(&bytes));
    }
    ria_buf_fini(&bytes);
    if (err != RIA_OK) {
        ria_log_warn(s->env->log, "storage.checkpoint_failed", "err=\"%s\"", ria_err_text(err));
    }
}
