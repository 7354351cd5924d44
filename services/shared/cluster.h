/* cluster: one process's view of the cluster's metadata, pulled from the coordinator by version.
 *
 * A parked Metadata request is always under way; what it brings is merged and the callbacks are
 * called. The view only grows newer and stays usable while the coordinator is away. Pointers to
 * nodes, topics, partitions, transforms and tasks stay valid for the view's life; a deleted topic
 * stays with deleted == true. Arrays of pointers (partitions, tasks) may move when they grow.
 *
 * The first pull, and each one after a failure, does not park (waitMs = 0): an empty cluster
 * answers at once, and one knows at once that the coordinator is back. A reply that cannot be
 * merged as a whole (names an unknown topic, no memory, older than the view, another cluster's)
 * does not count: the error is logged, the version stays, and the same is asked again after the
 * back-off.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/uuid.h"

#include "services/shared/topic_config.h"

typedef enum cluster_node_state {
    CLUSTER_NODE_ACTIVE = 0,
    CLUSTER_NODE_SILENT = 1,    /* fenced: not heard for a session */
    CLUSTER_NODE_SHUT_DOWN = 2, /* fenced: it said that it ends */
    CLUSTER_NODE_REMOVED = 3,   /* for good */
} cluster_node_state;

struct cluster_node {
    int32_t id;
    char address[RIA_ADDRESS_MAX + 1];
    char rack[RIA_TOPIC_NAME_MAX + 1];
    cluster_node_state state;
    bool draining;
    int32_t drain_epoch; /* grows with each beginning and end of a drain */
    int64_t incarnation;
    bool restarted; /* the merge that the callback tells of brought another incarnation */
};

/* Some of a partition's nodes. */
struct cluster_nodes {
    int32_t ids[RIA_REPLICAS_MAX];
    uint32_t count;
};

bool cluster_nodes_has(const struct cluster_nodes *nodes, int32_t node_id);

struct cluster_partition {
    struct cluster_topic *topic;
    int32_t number;
    int32_t leader;          /* node id, -1 = none */
    int32_t leader_epoch;    /* -1 until known */
    int32_t partition_epoch; /* -1 until known */
    int32_t replicas[RIA_REPLICAS_MAX];
    uint32_t replica_count;
    int32_t isr[RIA_REPLICAS_MAX];
    uint32_t isr_count;
    struct cluster_nodes eligible; /* not in sync, but have all that is committed */
    struct cluster_nodes unfit;    /* failed or damaged: do not lead */
    struct cluster_nodes target;   /* being moved to; empty = not moved */
    struct cluster_nodes dropped;  /* may delete their data of this partition */
    int32_t forced_epoch;          /* newest epoch that began with a forced leader; -1 = none */
    void *user; /* the owner process's own state for this partition; NULL at first */
};

struct cluster_topic {
    struct ria_uuid id;
    char name[RIA_TOPIC_NAME_MAX + 1];
    bool deleted;
    int32_t partition_count;
    int16_t replication_factor;
    struct topic_config config;            /* parsed; defaults filled in */
    int32_t config_epoch;                  /* grows with every change of config */
    bool was_relaxed;                      /* its durability was relaxed before */
    struct cluster_partition **partitions; /* partition_count of them, none is NULL */
    struct ria_list link;                  /* cluster_topics() order: by arrival */
    void *user;                            /* as the partition's */
};

struct cluster_transform {
    struct ria_uuid id;
    char name[RIA_TOPIC_NAME_MAX + 1];
    bool deleted;
    char *sql;
    struct ria_uuid source_topic_id;
    struct ria_uuid output_topic_id;
    struct ria_uuid errors_topic_id;
    struct cluster_task **tasks; /* by source partition; none is NULL */
    uint32_t task_count;
    struct ria_list link;
    void *user;
};

struct cluster_task {
    struct cluster_transform *transform;
    int32_t partition;
    struct ria_uuid worker; /* zero = nobody */
    int16_t epoch;          /* -1 until known */
    int64_t producer_id;    /* -1 until known */
    int64_t position;       /* lower bound when the lease was given */
    void *user;
};

/* What a merge touched; any callback may be NULL. Called when the whole reply has been merged, in
 * this order of kinds: nodes, topics, partitions, transforms, tasks, then done once. A callback
 * must not free the view. */
struct cluster_callbacks {
    void (*node)(void *arg, struct cluster_node *node);
    void (*topic)(void *arg, struct cluster_topic *topic); /* new, config changed, or deleted */
    void (*partition)(void *arg, struct cluster_partition *partition);
    void (*transform)(void *arg, struct cluster_transform *transform);
    void (*task)(void *arg, struct cluster_task *task);
    void (*done)(void *arg);
};

struct cluster;

enum { CLUSTER_COORDINATORS_MAX = 16 };

/* Borrows env; copies coordinator (a list of addresses separated by commas: tried in turn) and
 * callbacks (may be NULL).
 * Errors: RIA_ERR_INVALID (the list is empty, too long, or has an address that is), RIA_ERR_NOMEM.
 */
ria_err cluster_new(
    const struct ria_env *env,
    const char *coordinator,
    const struct cluster_callbacks *callbacks,
    void *arg,
    struct cluster **out_cluster
) RIA_MUST_USE;
/* Accepts NULL. Waits that are still open end with reached == false. */
void cluster_free(struct cluster *cluster);

/* Begin to pull. */
void cluster_start(struct cluster *cluster);

/* Version of the view, 0 = none. */
int64_t cluster_version(const struct cluster *cluster);

/* Somebody says that `version` exists (a heartbeat's reply): ends a back-off, and gives up a parked
 * pull that should have brought it long ago. Nothing happens if the view has it. */
void cluster_hint(struct cluster *cluster, int64_t version);

/* Call fn(arg) once, when the view has reached `version` (at once, from inside, if it has; else
 * after the callbacks). Used to read one's own writes. timeout_ms: fn is called anyway after it,
 * with reached == false; so it is, at once, when memory is short. */
typedef void (*cluster_wait_fn)(void *arg, bool reached);
void cluster_wait_version(
    struct cluster *cluster, int64_t version, uint32_t timeout_ms, cluster_wait_fn fn, void *arg
);

/* Zero until the first answer. A reply of another cluster is refused. */
struct ria_uuid cluster_id(const struct cluster *cluster);

/* True once the first metadata has arrived. */
bool cluster_is_ready(const struct cluster *cluster);

/* The address to send coordinator requests to now; cluster_coordinator_failed() rotates it. Many
 * callers see the same failure: calls within a short time count once. */
const char *cluster_coordinator(const struct cluster *cluster);
void cluster_coordinator_failed(struct cluster *cluster);

/* NULL if unknown; by name only topics that are not deleted. */
struct cluster_topic *cluster_topic_by_name(const struct cluster *cluster, const char *name);
struct cluster_topic *
cluster_topic_by_id(const struct cluster *cluster, const struct ria_uuid *topic_id);
struct cluster_partition *cluster_partition(
    const struct cluster *cluster, const struct ria_uuid *topic_id, int32_t partition
);
struct cluster_node *cluster_node(const struct cluster *cluster, int32_t node_id);
struct cluster_transform *
cluster_transform_by_name(const struct cluster *cluster, const char *name);
struct cluster_transform *
cluster_transform_by_id(const struct cluster *cluster, const struct ria_uuid *transform_id);

/* Heads of the lists of topics (deleted ones included) and transforms. */
struct ria_list *cluster_topics(struct cluster *cluster);
struct ria_list *cluster_transforms(struct cluster *cluster);
