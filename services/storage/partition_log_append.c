/* Appending to a log (partition_log.h): admission, writing, rolling, syncing. */
#include "common/assert.h"

#include "services/storage/log_state.h"

enum { SYNC_RETRY_US = 10000 };

/* ---- append ---- */

/* Offsets that were synced once are never given out again, and a producer of which the log may know
 * too little cannot be told a duplicate. */
static ria_err check_leads(const struct partition_log *log)
{
    if (log->failed) {
        return RIA_ERR_IO;
    }
    return partition_log_can_lead(log) ? RIA_OK : RIA_ERR_CORRUPT;
}

/* A follower's end is where its leader goes on, unless bad bytes are in the way. */
static ria_err check_follows(const struct partition_log *log)
{
    if (log->failed) {
        return RIA_ERR_IO;
    }
    return log->tail_is_bad ? RIA_ERR_CORRUPT : RIA_OK;
}

/* Whether the batch goes into the active segment, behind `pending` bytes that are about to. An
 * empty segment takes any batch. */
static bool
fits(const struct partition_log *log, uint64_t pending, const struct batch_header *header)
{
    const struct segment *active = log_active(log);
    uint64_t limit = ria_min_size((size_t)log->options.segment_bytes, SEGMENT_SIZE_MAX);
    uint64_t size = active->size + pending;

    return size == 0 || (size + batch_size(header) <= limit &&
                         batch_last_offset(header) - active->base_offset < SEGMENT_OFFSETS_MAX);
}

/* The old segment is synced by the next sync, and its index saved after that. */
ria_err log_roll(struct partition_log *log)
{
    struct segment *old = log_active(log);
    struct segment *next = NULL;
    ria_err err = RIA_OK;

    if (log->producers_complete) {
        err = producer_table_encode(
            &log->producers, old->next_offset, ria_clock_mono_us(log->env->clock), &old->snapshot
        );
    }
    if (err == RIA_OK) {
        err = log_push_segment(log, old->next_offset, &next);
    }
    if (err == RIA_OK) {
        err = segment_create(next);
        if (err != RIA_OK) {
            log_pop_segment(log);
        }
    }
    if (err != RIA_OK) {
        ria_buf_fini(&old->snapshot);
        return err;
    }
    log->metrics->segments_rolled.value++;
    if (old->index_saved) {
        ria_buf_fini(&old->snapshot); /* a clean close wrote it */
    } else if (old->synced_size == old->size) {
        ria_err ignored = log_seal_segment(log, old); /* logged; tried again at close */
        (void)ignored;
    }
    return RIA_OK;
}

static void note_batch(struct partition_log *log, const struct batch_header *header)
{
    segment_note(log_active(log), header);
    if (leader_epochs_note(&log->epochs, header->leader_epoch, header->base_offset)) {
        log->epochs_changed = true;
    }
    log->epochs_unsure = 0;
    if (header->producer_id >= 0) {
        producer_table_note(&log->producers, header, ria_clock_mono_us(log->env->clock));
    }
}

/* Write whole batches into the active segment, where they fit. Room has been reserved. */
static ria_err write_run(struct partition_log *log, struct ria_slice batches)
{
    ria_err err = segment_write(log_active(log), batches);

    if (err == RIA_OK) {
        log->metrics->appended_bytes.value += batches.size;
    }
    return err;
}

static void appended(struct partition_log *log)
{
    log->metrics->producers_shed.value += log->producers.shed_count;
    log->producers.shed_count = 0;
    if (log->options.relaxed) {
        log->synced_offset = partition_log_end_offset(log);
    }
}

static ria_err reserve(struct partition_log *log, uint32_t batches)
{
    RIA_TRY(leader_epochs_reserve(&log->epochs, batches));
    RIA_TRY(producer_table_reserve(&log->producers, batches));
    return segment_reserve(log_active(log), batches);
}

static ria_err append_batch(
    struct partition_log *log,
    uint8_t *batch,
    const struct batch_header *header,
    int32_t leader_epoch,
    int64_t *out_base_offset
)
{
    struct batch_header placed = *header;

    if (leader_epoch < leader_epochs_last(&log->epochs)) {
        return RIA_ERR_FENCED_EPOCH;
    }
    placed.base_offset = partition_log_end_offset(log);
    placed.leader_epoch = leader_epoch;
    if (placed.base_offset > INT64_MAX - 1 - placed.last_offset_delta) {
        return RIA_ERR_LIMIT;
    }
    if (!fits(log, 0, &placed)) {
        RIA_TRY(log_roll(log));
    }
    RIA_TRY(reserve(log, 1));
    batch_patch(batch, placed.base_offset, leader_epoch);
    RIA_TRY(write_run(log, ria_slice_of(batch, batch_size(header))));
    note_batch(log, &placed);
    appended(log);
    *out_base_offset = placed.base_offset;
    return RIA_OK;
}

ria_err partition_log_append(
    struct partition_log *log,
    uint8_t *batch,
    const struct batch_header *header,
    int32_t leader_epoch,
    int64_t *out_base_offset
)
{
    RIA_ASSERT(header->last_offset_delta >= 0);
    RIA_ASSERT(leader_epoch >= 0);

    RIA_TRY(check_leads(log));
    return log_fail_on_io(log, append_batch(log, batch, header, leader_epoch, out_base_offset));
}

/* All of it must be right before any of it is written. */
static ria_err check_batches(const struct partition_log *log, struct ria_slice batches)
{
    int64_t offset = partition_log_end_offset(log);
    int32_t epoch = leader_epochs_last(&log->epochs);
    struct batch_header header;

    while (batches.size > 0) {
        RIA_TRY(batch_header_decode(batches, &header));
        if (batch_size(&header) > batches.size) {
            return RIA_ERR_MALFORMED;
        }
        if (header.base_offset != offset || header.leader_epoch < epoch) {
            return RIA_ERR_CONFLICT;
        }
        if (!segment_header_joins(&header, offset)) {
            return RIA_ERR_MALFORMED;
        }
        RIA_TRY(batch_check_crc(ria_slice_sub(batches, 0, batch_size(&header))));
        offset = batch_last_offset(&header) + 1;
        epoch = header.leader_epoch;
        batches = ria_slice_sub(batches, batch_size(&header), batches.size);
    }
    return RIA_OK;
}

/* How many of the batches go into the active segment together: at least the first. */
static uint32_t
run_of(const struct partition_log *log, struct ria_slice batches, struct ria_slice *out_run)
{
    struct batch_header header;
    uint32_t count = 0;
    size_t size = 0;

    while (size < batches.size) {
        struct ria_slice rest = ria_slice_sub(batches, size, batches.size);
        RIA_ASSERT(batch_header_decode(rest, &header) == RIA_OK);
        if (count > 0 && !fits(log, size, &header)) {
            break;
        }
        size += batch_size(&header);
        count++;
    }
    *out_run = ria_slice_sub(batches, 0, size);
    return count;
}

static ria_err append_run(struct partition_log *log, struct ria_slice *batches)
{
    struct batch_header header;
    struct ria_slice run;

    RIA_ASSERT(batch_header_decode(*batches, &header) == RIA_OK);
    if (!fits(log, 0, &header)) {
        RIA_TRY(log_roll(log));
    }
    uint32_t count = run_of(log, *batches, &run);
    RIA_TRY(reserve(log, count));
    RIA_TRY(write_run(log, run));
    *batches = ria_slice_sub(*batches, run.size, batches->size);
    while (run.size > 0) {
        RIA_ASSERT(batch_header_decode(run, &header) == RIA_OK);
        note_batch(log, &header);
        run = ria_slice_sub(run, batch_size(&header), run.size);
    }
    appended(log);
    return RIA_OK;
}

ria_err partition_log_append_batches(struct partition_log *log, struct ria_slice batches)
{
    RIA_TRY(check_follows(log));
    RIA_TRY(check_batches(log, batches));
    while (batches.size > 0) {
        RIA_TRY(log_fail_on_io(log, append_run(log, &batches)));
    }
    return RIA_OK;
}

/* ---- sync ---- */

/* The first segment that is not wholly on disk; NULL if all are. Synced ones come first. */
static struct segment *first_unsynced(const struct partition_log *log)
{
    uint32_t i = log->segment_count - 1;

    while (i > 0 && log->segments[i - 1]->synced_size < log->segments[i - 1]->size) {
        i--;
    }
    return log->segments[i]->synced_size < log->segments[i]->size ? log->segments[i] : NULL;
}

static void start_sync(struct partition_log *log);

void log_fail(struct partition_log *log)
{
    if (log->failed) {
        return;
    }
    log->failed = true;
    if (!partition_log_is_syncing(log)) { /* else its end tells */
        log->sync_err = RIA_ERR_IO;
        ria_timer_start(log->env->timers, &log->sync_timer, 0);
    }
}

/* What was lost with the end is there again, from the leader. */
static void note_regained(struct partition_log *log)
{
    struct log_damage lost = log->lost;

    if (lost.to_offset == 0 || log->durable_offset < lost.to_offset) {
        return;
    }
    log->lost = (struct log_damage){.from_offset = 0};
    ria_err err = log_fail_on_io(log, log_save_meta(log, true));
    if (err != RIA_OK) {
        log->lost = lost; /* the next sync tries again */
        return;
    }
    log->metrics->repaired_ranges.value++;
    ria_log_info(
        log->env->log,
        "storage.repaired",
        "log=%s from=%lld to=%lld by=replication",
        log->name,
        (long long)lost.from_offset,
        (long long)lost.to_offset
    );
    if (log->on_damaged != NULL) {
        log->on_damaged(log->arg);
    }
}

static void on_synced(struct ria_fs_sync *sync)
{
    struct partition_log *log = RIA_CONTAINER(sync, struct partition_log, sync);
    struct segment *segment = RIA_STEAL(&log->sync_segment);

    segment_file_unpin(&segment->file);
    if (sync->result != RIA_OK) {
        log->failed = true;
        log->on_synced(log->arg, sync->result);
        return;
    }
    segment->name_synced = true;
    segment->synced_size = log->sync_size;
    segment_file_set_dirty(&segment->file, segment->synced_size < segment->size);
    log->durable_offset = log->sync_end_offset;
    log->synced_offset = ria_max_i64(log->synced_offset, log->durable_offset);
    log->metrics->syncs.value++;
    note_regained(log);
    if (segment != log_active(log) && segment->synced_size == segment->size && !log->failed) {
        ria_err ignored = log_seal_segment(log, segment); /* logged; tried again at close */
        (void)ignored;
    }
    log->on_synced(log->arg, RIA_OK);
    /* A relaxed log goes on only to the end as it was when the sync was asked for. */
    if (!log->options.relaxed || log->durable_offset < log->sync_wanted_offset) {
        start_sync(log);
    }
}

/* A file that could not be opened for want of descriptors or memory is no failed sync. */
static bool may_retry(ria_err err)
{
    return err == RIA_ERR_LIMIT || err == RIA_ERR_NOMEM;
}

void log_on_sync_timer(struct ria_timer *timer, void *arg)
{
    struct partition_log *log = arg;

    (void)timer;
    if (may_retry(log->sync_err)) {
        start_sync(log);
    } else {
        log->on_synced(log->arg, log->sync_err);
    }
}

static void start_sync(struct partition_log *log)
{
    struct ria_file *file = NULL;

    if (log->failed || partition_log_is_syncing(log) || log->sync_timer.active) {
        return;
    }
    struct segment *segment = first_unsynced(log);
    if (segment == NULL) {
        return;
    }
    log->sync_err = segment_file_get(&segment->file, false, &file);
    if (may_retry(log->sync_err)) {
        ria_timer_start(log->env->timers, &log->sync_timer, SYNC_RETRY_US);
        return;
    }
    if (log->sync_err != RIA_OK) {
        log_fail(log);
        return;
    }
    segment_file_pin(&segment->file);
    log->sync_segment = segment;
    log->sync_size = segment->size;
    log->sync_end_offset = segment->next_offset;
    log->sync = (struct ria_fs_sync){.done = on_synced, .with_dir = !segment->name_synced};
    ria_fs_sync_start(file, &log->sync);
}

void partition_log_sync(struct partition_log *log)
{
    log->sync_wanted_offset = partition_log_end_offset(log);
    start_sync(log);
}
