/* The node's checkpoint: brought up to date from the replicas that moved, about once a second. */
#include "services/storage/storage.h"

void storage_checkpoint_soon(struct storage *s)
{
    if (!s->checkpoint_timer.active) {
        ria_timer_start(
            s->env->timers, &s->checkpoint_timer, (int64_t)STORAGE_CHECKPOINT_MS * 1000
        );
    }
}

static void note_written(struct data_dir *dir, ria_err err)
{
    trash_checkpoint_ended(&dir->trash, err == RIA_OK);
    if (err == RIA_OK) {
        return;
    }
    checkpoint_set_changed(dir->checkpoint); /* what is on disk is older */
    ria_log_warn(
        dir->writer.env->log,
        "storage.checkpoint_failed",
        "dir=%s err=\"%s\"",
        dir->path,
        ria_err_text(err)
    );
    if (err == RIA_ERR_IO) { /* logs on the disk go on until their own first failure */
        dir->suspect = true;
        dir->no_checkpoint = true;
    }
}

void storage_begin_marks(struct storage *s, struct data_dir *dir)
{
    if (marks_raise(s->env, dir->path, dir->checkpoint)) {
        ria_err err = storage_checkpoint_dir_now(dir);
        if (err != RIA_OK) { /* then those of before stay, and there are no new ones */
            note_written(dir, err);
            return;
        }
    }
    marks_begin(&dir->marks, s->env, dir->path);
}

void storage_mark_synced(struct replica *replica)
{
    const struct partition *p = &replica->partition;
    struct partition_log_checkpoint entry;

    partition_log_get_checkpoint(p->log, p->high_watermark, &entry);
    marks_put(
        &replica->dir->marks,
        replica->mark_slot,
        &p->id.topic_id,
        partition_id_number(&p->id),
        &entry
    );
}

void storage_mark_changed(struct replica *replica)
{
    struct storage *s = replica->storage;

    if (!ria_list_is_linked(&replica->changed_link)) {
        ria_list_push_back(&s->changed, &replica->changed_link);
    }
    storage_checkpoint_soon(s);
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
            RIA_TRY(checkpoint_put(
                replica->dir->checkpoint, &p->id.topic_id, partition_id_number(&p->id), &entry
            ));
        }
        ria_list_remove(&replica->changed_link);
    }
    return RIA_OK;
}

static bool is_due(const struct data_dir *dir)
{
    return !dir->failed && !dir->no_checkpoint && checkpoint_is_changed(dir->checkpoint);
}

/* A write that has begun tells its end by itself. */
static void note_started(struct data_dir *dir, ria_err err)
{
    if (err != RIA_OK) {
        note_written(dir, err);
    }
}

void storage_on_checkpoint_written(void *arg, ria_err err)
{
    note_written(arg, err);
}

void storage_release_trash(struct storage *s, struct data_dir *dir)
{
    if (is_due(dir) || (dir->writer_ready && checkpoint_writer_is_busy(&dir->writer))) {
        storage_checkpoint_soon(s);
        return;
    }
    if (!dir->no_checkpoint) { /* what is on disk has no entry of it already */
        trash_checkpoint_begins(&dir->trash);
        trash_checkpoint_ended(&dir->trash, true);
    }
}

bool storage_checkpoint_is_busy(const struct storage *s)
{
    for (uint32_t i = 0; i < s->dirs.count; i++) {
        if (s->dirs.items[i].writer_ready && checkpoint_writer_is_busy(&s->dirs.items[i].writer)) {
            return true;
        }
    }
    return false;
}

static ria_err start_write(struct data_dir *dir)
{
    struct ria_buf bytes;

    ria_buf_init(&bytes, CHECKPOINT_SIZE_MAX);
    trash_checkpoint_begins(&dir->trash);
    ria_err err = checkpoint_encode(dir->checkpoint, &bytes);
    if (err == RIA_OK) {
        err = checkpoint_writer_start(&dir->writer, ria_buf_slice(&bytes));
    }
    ria_buf_fini(&bytes);
    return err;
}

static void note_gather_failed(struct storage *s, ria_err err)
{
    if (err != RIA_OK) {
        ria_log_warn(s->env->log, "storage.checkpoint_failed", "err=\"%s\"", ria_err_text(err));
    }
}

void storage_checkpoint(struct storage *s)
{
    if (storage_checkpoint_is_busy(s)) {
        ria_timer_start(
            s->env->timers, &s->checkpoint_timer, (int64_t)STORAGE_CHECKPOINT_MS * 1000
        );
        return;
    }
    note_gather_failed(s, gather(s));
    for (uint32_t i = 0; i < s->dirs.count; i++) {
        if (is_due(&s->dirs.items[i])) {
            note_started(&s->dirs.items[i], start_write(&s->dirs.items[i]));
        } else if (!s->dirs.items[i].failed) {
            storage_release_trash(s, &s->dirs.items[i]);
        }
    }
}

ria_err storage_checkpoint_dir_now(struct data_dir *dir)
{
    struct ria_buf bytes;

    ria_buf_init(&bytes, CHECKPOINT_SIZE_MAX);
    trash_checkpoint_begins(&dir->trash);
    ria_err err = checkpoint_encode(dir->checkpoint, &bytes);
    if (err == RIA_OK) {
        err = checkpoint_writer_write(&dir->writer, ria_buf_slice(&bytes));
    }
    ria_buf_fini(&bytes);
    trash_checkpoint_ended(&dir->trash, err == RIA_OK);
    return err;
}

void storage_checkpoint_now(struct storage *s)
{
    note_gather_failed(s, gather(s));
    for (uint32_t i = 0; i < s->dirs.count; i++) {
        if (is_due(&s->dirs.items[i])) {
            note_written(&s->dirs.items[i], storage_checkpoint_dir_now(&s->dirs.items[i]));
        }
    }
}
