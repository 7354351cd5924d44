/* service: the storage core: every partition of one node, and the requests that reach them.
 *
 * It touches the world through env alone, so that several run in one process (the simulator). It
 * answers requests from the moment it is made, registers with the coordinator as soon as one
 * answers, and then follows the metadata: creates replicas it is assigned, removes those of topics
 * that were deleted, keeps everything else.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/err.h"
#include "common/uuid.h"

#include "services/storage/metrics.h"

struct storage;

struct storage_options {
    const char *data_dir;     /* created if missing; several: separated by commas, one per disk */
    bool forget_missing_dirs; /* see data_dirs.h */
    const char *coordinator;  /* addresses, separated by commas */
    const char *address;      /* where this node is reached, tcp://host:port */
    const char *rack;         /* "" = unknown */
    int64_t open_segments;    /* segment files that are open at once */
    int64_t disk_reserve;     /* bytes that records leave free; see disk_space.h */
    int64_t scrub_period_ms;  /* everything is read once in this time; 0 = never */
    int64_t scrub_rate;       /* bytes per second of it, at most */
};

enum { STORAGE_REASON_MAX = 512 };

/* The node cannot go on, now or ever, with this folder and this cluster; reason is one sentence for
 * the operator that says what to do. Called at most once. The process should end with status 1. */
typedef void (*storage_fatal_fn)(void *arg, const char *reason);

/* Take the data folder (its lock and its identity) and answer requests on env->rpc. Borrows env,
 * copies options. On an error `reason` says in one sentence what to do. Errors: RIA_ERR_BUSY (in
 * use by another process), RIA_ERR_UNKNOWN_VERSION (written by a newer one), RIA_ERR_CORRUPT,
 * RIA_ERR_INVALID, RIA_ERR_IO, RIA_ERR_NO_SPACE, RIA_ERR_NOMEM. */
ria_err storage_new(
    const struct ria_env *env,
    const struct storage_options *options,
    storage_fatal_fn on_fatal,
    void *arg,
    char reason[STORAGE_REASON_MAX],
    struct storage **out_storage
) RIA_MUST_USE;

/* Register, pull metadata, open replicas. */
void storage_start(struct storage *s);

/* Begin a clean end: what it leads is handed over (docs/design/008-failover.md) while all goes on
 * as before; then no new work is taken, waiting produces get a moment to commit, logs are synced
 * and closed, so that the next start scans nothing. Takes at most 8 s and what the disk needs.
 * *out_done (the caller's) becomes true. */
void storage_stop(struct storage *s, bool *out_done);

/* At any time: without storage_stop() it is what a crash leaves. Requests still held are dropped.
 * No request may be delivered, and no sync call back, from here on; calls under way may. Accepts
 * NULL. */
void storage_free(struct storage *s);

/* Registered, metadata there, every assigned replica opened (or failed). */
bool storage_is_ready(const struct storage *s);

int32_t storage_node_id(const struct storage *s); /* -1 until registered */

/* Borrows both for the registry's life. */
void storage_register_metrics(struct storage *s, struct ria_metrics *metrics);

/* ---- for tests and the simulator's checker ---- */

struct storage_replica_info {
    bool open;
    bool leader;
    bool damaged;
    bool failed;
    uint32_t hole_count; /* ranges that wait for repair */
    int32_t last_epoch;  /* of the last batch in the log; -1: none */
    int32_t leader_epoch;
    int64_t start_offset;
    int64_t high_watermark;
    int64_t synced_offset;  /* of a relaxed log: written */
    int64_t durable_offset; /* on disk, of a relaxed log, too */
    int64_t end_offset;
    bool is_synced; /* leader: it says of its last committed record that it is on the in-sync
                       replicas' disks */
};

/* False: this node does not hold the partition. */
bool storage_describe_replica(
    const struct storage *s,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct storage_replica_info *out_info
);

/* Bytes of whole batches from the replica's log, committed or not: what a disk reader would see.
 * *out_size is 0 at the end. Errors: RIA_ERR_NOT_FOUND, those of partition_log_locate(). */
ria_err storage_read_replica(
    const struct storage *s,
    const struct ria_uuid *topic_id,
    int32_t partition,
    int64_t offset,
    uint8_t *out,
    size_t capacity,
    size_t *out_size
) RIA_MUST_USE;

/* Invariants of every part; aborts on a broken one. */
void storage_check(const struct storage *s);
