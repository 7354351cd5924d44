/* source: one task's reader of its source partition.
 *
 * Fetches a frame of whole batches at a time and hands out its records in slices; when it is at the
 * high watermark it waits with the watcher. It goes on trying whatever happens to the leader.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/msg.h"
#include "common/timers.h"

#include "schemas/batch.h"

#include "services/shared/cluster.h"
#include "services/shared/watcher.h"
#include "services/transform/budget.h"
#include "services/transform/call.h"

enum {
    SOURCE_FETCH_SIZE = 1024 * 1024,
    SOURCE_FETCH_SIZE_MIN = 128 * 1024, /* when memory is short: everybody gets a little */
    SOURCE_SLICE_ROWS = 512,            /* handed out at a time */
};

struct source;

/* None may free the source. */
struct source_host {
    /* There are records, or there may be: look. */
    void (*ready)(void *arg);
    /* The records from..to-1 are not there any more. */
    void (*skipped)(void *arg, int64_t from, int64_t to);
    /* No progress; it goes on trying. */
    void (*troubled)(void *arg, ria_err err, const char *text);
};

struct source_options {
    const struct ria_env *env;
    const struct cluster *cluster;
    struct watcher *watcher;
    struct cluster_partition *partition;
    struct budget *budget;
    const struct source_host *host;
    void *arg;
};

struct source {
    struct source_options options;
    struct call_group calls;
    struct ria_timer retry;
    struct watcher_entry watch;
    unsigned failures;
    int32_t sent_leader; /* whom the call under way asks */
    int32_t sent_epoch;
    int64_t next_offset;    /* behind the last record handed out */
    bool at_end;            /* nothing more is there, as far as the leader has said */
    int64_t high_watermark; /* when the frame was read */

    struct ria_msg *frame; /* NULL: nothing is held */
    size_t frame_size;
    struct ria_slice rest;  /* batches of the frame that have not been begun */
    struct batch_iter iter; /* the one that has */
    bool in_batch;
    struct batch_record *rows; /* SOURCE_SLICE_ROWS of them, while a frame is held */
};

void source_init(struct source *source, const struct source_options *options);
void source_fini(struct source *source);

/* Forget what is held and go on at next_offset. */
void source_reset(struct source *source, int64_t next_offset);

/* A fetch, a wait or a back-off is under way: host->ready will follow. */
bool source_is_busy(const struct source *source);

/* Get more, or wait until there is more. Nothing is held, and it is not busy. */
void source_fetch(struct source *source, size_t size);

/* The next records of what is held, good until the next call; next_offset is behind them.
 * *out_count = 0: nothing is held any more. Errors: RIA_ERR_CORRUPT, RIA_ERR_MALFORMED,
 * RIA_ERR_UNSUPPORTED (a compressed batch); the frame is dropped. */
ria_err source_next(
    struct source *source, const struct batch_record **out_rows, uint32_t *out_count
) RIA_MUST_USE;

/* The view of its partition has changed: ask the new leader, and do not wait to try again. */
void source_leader_changed(struct source *source);
