/* service: one coordinator, as a part that a process or a simulation can hold.
 *
 * Promises: README.md. It answers requests that env's rpc hands it and touches the world only
 * through env and its data folder.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/metrics.h"
#include "common/process.h"
#include "common/uuid.h"

enum { COORDINATOR_REASON_SIZE = 1024 };

struct coordinator_options {
    struct ria_process_options process;
    const char *data_dir;
    int64_t default_partitions; /* of a topic that asks for -1 */
    int64_t default_replicas;   /* of a topic that asks for -1, if that many nodes live */
    int64_t moves_max;          /* partitions that drains and rebalancing move at once; 0 = 32 */

    /* Not on the command line: meta.db, too, goes through env's fs. For a simulated disk; data_dir
     * is an absolute path there. */
    bool simulated_disk;
};

struct coordinator;

/* Open the data folder; create a cluster in an empty one. Borrows env (with fs) and options. reason
 * gets one sentence that says what to do. Errors: RIA_ERR_BUSY, RIA_ERR_UNSUPPORTED,
 * RIA_ERR_CORRUPT, RIA_ERR_WRONG_CLUSTER, RIA_ERR_NOT_FOUND (meta.db is missing), RIA_ERR_IO,
 * RIA_ERR_NO_SPACE, RIA_ERR_LIMIT, RIA_ERR_NOMEM. */
ria_err coordinator_new(
    const struct ria_env *env,
    const struct coordinator_options *options,
    char reason[COORDINATOR_REASON_SIZE],
    struct coordinator **out_coordinator
) RIA_MUST_USE;

/* Take requests. */
void coordinator_start(struct coordinator *coordinator);

/* Commit and answer what was accepted, take nothing more. */
void coordinator_stop(struct coordinator *coordinator);

/* Also without coordinator_stop(): as a crash, but memory is given back. Accepts NULL. */
void coordinator_free(struct coordinator *coordinator);

void coordinator_add_metrics(struct coordinator *coordinator, struct ria_metrics *metrics);

struct ria_uuid coordinator_cluster_id(const struct coordinator *coordinator);

/* The committed metadata version and command. */
int64_t coordinator_version(const struct coordinator *coordinator);
int64_t coordinator_applied_index(const struct coordinator *coordinator);

/* A hash of the whole replicated state, for tests and the simulator. */
uint64_t coordinator_state_hash(struct coordinator *coordinator);

/* A partition as it is committed, for tests and the simulator. */
struct coordinator_partition_info {
    int32_t leader;
    int32_t leader_epoch;
    int32_t partition_epoch;
    int32_t isr[RIA_REPLICAS_MAX];
    uint32_t isr_count;
};

/* False: there is none. Not from inside a handler. */
bool coordinator_describe_partition(
    struct coordinator *coordinator,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct coordinator_partition_info *out_info
);

/* NULL, or what is wrong with a queue's ranges (range_rows.h): reads all of them. Not from inside a
 * handler. */
const char *coordinator_check_queues(struct coordinator *coordinator);

/* NULL, or what is wrong with what is known of groups: rows without their group, partition or
 * member, leases that were never given, counts. Not from inside a handler. */
const char *coordinator_check_groups(struct coordinator *coordinator);

/* What the clock of leases says now. */
int64_t coordinator_lease_clock_ms(const struct coordinator *coordinator);

/* False: there is no topic of that name. Not from inside a handler. */
bool coordinator_find_topic(
    struct coordinator *coordinator,
    const char *name,
    struct ria_uuid *out_topic_id,
    int32_t *out_partition_count
);

/* The position of a group, stream or queue; -1: it has none. Not from inside a handler. */
int64_t coordinator_group_position(
    struct coordinator *coordinator,
    const char *group,
    const struct ria_uuid *topic_id,
    int32_t partition
);
