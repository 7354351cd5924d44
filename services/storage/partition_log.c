#include "services/storage/partition_log.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/storage/log_state.h"
#include "services/storage/recovery.h"

/* ---- life ---- */

static struct partition_log *log_new(
    const struct ria_env *env,
    struct segment_cache *cache,
    const char *dir,
    const struct ria_uuid *topic_id,
    int32_t partition
)
{
    struct partition_log *log = calloc(1, sizeof(*log));

    if (log == NULL) {
        return NULL;
    }
    log->env = env;
    log->cache = cache;
    log->metrics = segment_cache_metrics(cache);
    log->topic_id = *topic_id;
    log->partition = partition;
    leader_epochs_init(&log->epochs);
    producer_table_init(&log->producers);
    log->producers_complete = true;
    log->forced_epoch = -1;
    log_forget_hints(log);
    ria_timer_init(&log->sync_timer, log_on_sync_timer, log);
    log->dir = strdup(dir);
    if (log->dir == NULL) {
        free(log);
        return NULL;
    }
    const char *slash = strrchr(log->dir, '/');
    log->name = slash == NULL ? log->dir : slash + 1;
    return log;
}

ria_err partition_log_open(
    const struct ria_env *env,
    struct segment_cache *cache,
    const char *dir,
    const struct ria_uuid *topic_id,
    int32_t partition,
    const struct partition_log_options *options,
    const struct partition_log_checkpoint *checkpoint,
    partition_log_synced_fn on_synced,
    void *arg,
    struct partition_log **out_log
)
{
    RIA_ASSERT(options->segment_bytes > 0);
    RIA_ASSERT(on_synced != NULL);

    if (strlen(dir) >= LOG_PATH_DIR_MAX) {
        return RIA_ERR_LIMIT;
    }
    struct partition_log *log = log_new(env, cache, dir, topic_id, partition);
    if (log == NULL) {
        return RIA_ERR_NOMEM;
    }
    log->options = *options;
    log->on_synced = on_synced;
    log->arg = arg;
    ria_err err = recovery_run(log, checkpoint);
    segment_cache_trim(cache);
    if (err != RIA_OK) {
        partition_log_free(log);
        return err;
    }
    log->durable_offset = partition_log_end_offset(log);
    log->synced_offset = log->durable_offset;
    *out_log = log;
    return RIA_OK;
}

void partition_log_free(struct partition_log *log)
{
    if (log == NULL) {
        return;
    }
    ria_timer_stop(log->env->timers, &log->sync_timer);
    while (log->segment_count > 0) {
        log_pop_segment(log);
    }
    free(log->segments);
    leader_epochs_fini(&log->epochs);
    log->metrics->producers_shed.value += log->producers.shed_count;
    producer_table_fini(&log->producers);
    free(log->damage);
    free(log->dir);
    free(log);
}

static ria_err close_cleanly(struct partition_log *log)
{
    struct segment *active = log_active(log);

    for (uint32_t i = 0; i < log->segment_count; i++) {
        struct segment *segment = log->segments[i];
        if (segment->synced_size < segment->size) {
            RIA_TRY(segment_sync(segment));
        }
    }
    if (active->size > 0 && !active->index_saved && log->producers_complete) {
        RIA_TRY(producer_table_encode(
            &log->producers,
            active->next_offset,
            ria_clock_mono_us(log->env->clock),
            &active->snapshot
        ));
    }
    for (uint32_t i = 0; i < log->segment_count; i++) {
        struct segment *segment = log->segments[i];
        if (segment->size > 0 && !segment->index_saved) {
            RIA_TRY(log_seal_segment(log, segment));
        }
    }
    return RIA_OK;
}

ria_err partition_log_close(struct partition_log *log)
{
    RIA_ASSERT(!partition_log_is_syncing(log));

    ria_err err = log->failed ? RIA_ERR_IO : close_cleanly(log);
    partition_log_free(log);
    return err;
}

/* ---- state ---- */

int64_t partition_log_start_offset(const struct partition_log *log)
{
    return log->start_offset;
}

int64_t partition_log_end_offset(const struct partition_log *log)
{
    return log_active(log)->next_offset;
}

int64_t partition_log_synced_offset(const struct partition_log *log)
{
    return log->synced_offset;
}

int64_t partition_log_bytes(const struct partition_log *log)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < log->segment_count; i++) {
        bytes += log->segments[i]->size;
    }
    return (int64_t)bytes;
}

bool partition_log_is_damaged(const struct partition_log *log)
{
    return log->damage_count > 0 || log->lost.to_offset > 0;
}

bool partition_log_can_lead(const struct partition_log *log)
{
    return log->lost.to_offset == 0 && log->producers_complete;
}

int64_t partition_log_lost_offset(const struct partition_log *log)
{
    return log->lost.to_offset;
}

bool partition_log_tail_is_doubted(const struct partition_log *log)
{
    return log->tail_doubted;
}

void partition_log_settle_tail(struct partition_log *log)
{
    if (!log->tail_doubted || log->failed) {
        return;
    }
    log->tail_doubted = false;
    ria_err err = log_fail_on_io(log, log_save_meta(log, true));
    (void)err; /* it stays doubted on disk, which costs the next start some questions */
}

void partition_log_on_damaged(struct partition_log *log, void (*on_damaged)(void *arg))
{
    log->on_damaged = on_damaged;
}

bool partition_log_has_failed(const struct partition_log *log)
{
    return log->failed;
}

bool partition_log_is_syncing(const struct partition_log *log)
{
    return log->sync_segment != NULL;
}

bool partition_log_is_relaxed(const struct partition_log *log)
{
    return log->options.relaxed;
}

void partition_log_set_options(
    struct partition_log *log, const struct partition_log_options *options
)
{
    RIA_ASSERT(options->segment_bytes > 0);
    bool hardened = log->options.relaxed && !options->relaxed;

    log->options = *options;
    if (log->options.relaxed && !log->failed) {
        log->synced_offset = partition_log_end_offset(log);
    } else if (hardened) {
        log->synced_offset = log->durable_offset;
        partition_log_sync(log);
    }
}

void partition_log_get_checkpoint(
    const struct partition_log *log,
    int64_t high_watermark,
    struct partition_log_checkpoint *out_checkpoint
)
{
    *out_checkpoint = (struct partition_log_checkpoint){
        .synced_offset = log->durable_offset,
        .high_watermark = high_watermark,
        .generation = log->generation,
    };
}

const struct producer_state *
partition_log_producer(const struct partition_log *log, int64_t producer_id)
{
    return producer_table_find(&log->producers, producer_id);
}

ria_err partition_log_check_producer(
    const struct partition_log *log,
    const struct batch_header *header,
    int64_t *out_duplicate_offset
)
{
    return producer_table_admit(&log->producers, header, out_duplicate_offset);
}

const struct leader_epoch_entry *
partition_log_epochs(const struct partition_log *log, uint32_t *out_count)
{
    *out_count = log->epochs.count;
    return log->epochs.entries;
}

int32_t partition_log_sure_epoch(const struct partition_log *log)
{
    uint32_t count = log->epochs.count;
    uint32_t sure = log->epochs_unsure < count ? count - log->epochs_unsure : 0;

    return sure == 0 ? -1 : log->epochs.entries[sure - 1].epoch;
}

int64_t partition_log_divergence(
    const struct partition_log *log,
    const struct leader_epoch_entry *leader_epochs,
    uint32_t count,
    int64_t leader_end_offset
)
{
    int64_t end_offset = partition_log_end_offset(log);
    int64_t offset = leader_epochs_divergence(
        &log->epochs, 0, end_offset, leader_epochs, count, leader_end_offset
    );
    const struct log_damage *hole = log_damage_from(log, offset);

    /* Which epochs wrote what cannot be read is not known, and need not be: two logs that agree
     * behind a hole agree in it. */
    while (hole != NULL && hole->from_offset <= offset && offset < leader_end_offset) {
        if (hole->to_offset >= leader_end_offset) {
            return leader_end_offset;
        }
        offset = leader_epochs_divergence(
            &log->epochs, hole->to_offset, end_offset, leader_epochs, count, leader_end_offset
        );
        hole = log_damage_from(log, offset);
    }
    return offset;
}

void partition_log_check(const struct partition_log *log)
{
    RIA_ASSERT(log->segment_count > 0);
    for (uint32_t i = 0; i < log->segment_count; i++) {
        const struct segment *segment = log->segments[i];
        segment_check(segment);
        if (i > 0 && log->damage_count == 0) {
            RIA_ASSERT(segment->base_offset == log->segments[i - 1]->next_offset);
            RIA_ASSERT(
                segment->synced_size == 0 ||
                log->segments[i - 1]->synced_size == log->segments[i - 1]->size
            );
        }
    }
    RIA_ASSERT(log->start_offset <= log->segments[0]->base_offset);
    RIA_ASSERT(log->start_offset <= log->durable_offset);
    RIA_ASSERT(log->durable_offset <= log->synced_offset);
    for (uint32_t i = 0; i < log->damage_count; i++) {
        RIA_ASSERT(log->damage[i].from_offset < log->damage[i].to_offset);
        RIA_ASSERT(log->damage[i].to_offset <= partition_log_end_offset(log));
        RIA_ASSERT(i == 0 || log->damage[i - 1].to_offset < log->damage[i].from_offset);
    }
    RIA_ASSERT(log->synced_offset <= partition_log_end_offset(log));
    RIA_ASSERT(log->producers_complete || log->damage_count > 0 || log->failed);
    leader_epochs_check(&log->epochs);
    producer_table_check(&log->producers);
    if (log->epochs.count > 0) {
        RIA_ASSERT(
            log->epochs.entries[log->epochs.count - 1].start_offset < partition_log_end_offset(log)
        );
    }
}
