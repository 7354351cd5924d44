/* plan: everything a seed decides beforehand: the cluster, the load, and what will go wrong when.
 *
 * Swarm testing: each seed draws its own subset of the faults and its own rates, so that some runs
 * are nearly calm, some know one kind of trouble only, and some all of it. The whole plan is drawn
 * before the run begins, so it can be printed even if the run ends in a crash.
 */
#pragma once

#include <stdio.h>

#include "common/base.h"

#include "tests/sim/sim_wire.h"

enum {
    PLAN_TOPICS_MAX = 3,
    PLAN_PARTITIONS_MAX = 8, /* of all topics */
    PLAN_PRODUCERS_MAX = 12,
    PLAN_READERS_MAX = 12,
    PLAN_FAULTS_MAX = 128,
    PLAN_NODES_MAX = 16,
};

/* a and b are nodes. Each is undone after its duration. */
/* clang-format off */
#define PLAN_FAULT_KINDS(X)                                                                    \
    X(PARTITION, "partition", "nothing passes between a and b")                                \
    X(ONE_WAY,   "one-way",   "nothing passes from a to b")                                    \
    X(ORPHAN,    "orphan",    "nothing passes between b, the coordinator, and worker a") \
    X(ISOLATE,   "isolate",   "nothing passes between a and the others")                       \
    X(RESET,     "reset",     "connections between a and b break; amount 1: nobody is told")   \
    X(SLOW_NET,  "slow-net",  "what a sends and gets takes `amount` us longer")                \
    X(SLOW_DISK, "slow-disk", "syncs of a take up to `amount` us")                             \
    X(KILL,      "kill",      "a's process dies")                                              \
    X(POWER,     "power",     "a's machine loses power: unsynced writes may be lost")          \
    X(KILL_AT,   "kill-at",   "a's process dies at change `amount` of its disk")               \
    X(POWER_AT,  "power-at",  "a's machine loses power at change `amount` of its disk")        \
    X(KILL_SEND, "kill-send", "a's process dies behind the frame number `amount` it sends")       \
    X(POWER_SEND, "power-send", "a's machine loses power behind frame number `amount`")           \
    X(PAUSE,     "pause",     "a's process stands still, and does not know it")                  \
    X(STOP,      "stop",      "a's process is asked to end")
/* clang-format on */

#define PLAN_ENUM_(name, text, about) PLAN_##name,
typedef enum plan_fault_kind { PLAN_FAULT_KINDS(PLAN_ENUM_) PLAN_FAULT_KIND_COUNT } plan_fault_kind;

struct plan_fault {
    int64_t at_us;
    int64_t duration_us;
    plan_fault_kind kind;
    uint32_t a;
    uint32_t b;
    int64_t amount;
};

typedef enum plan_role {
    PLAN_COORDINATOR,
    PLAN_STORAGE,
    PLAN_WORKER,
    PLAN_CLIENT,
} plan_role;

struct plan_node {
    plan_role role;
    int64_t boot_us;
    int64_t wall_skew_ms;
    int64_t sync_us_min; /* of its disk */
    int64_t sync_us_max;
};

struct plan_topic {
    int32_t partition_count;
    int16_t replicas;
    int32_t min_insync;
    int64_t segment_bytes;
    int64_t lag_ms;
    bool relaxed;             /* only if no machine of this plan loses its power */
    uint32_t first_partition; /* its number over all topics */
    int64_t doomed_us;        /* when it is deleted; 0 = never */
};

struct plan_producer {
    uint32_t client; /* a node */
    uint32_t partition;
    bool idempotent;
    bool gives_up;         /* after some definite refusals */
    uint32_t window;       /* batches from the oldest unanswered one on, at most */
    uint32_t records_max;  /* per batch */
    uint32_t padding_max;  /* bytes per record */
    int64_t think_us_mean; /* between batches */
    uint32_t timeout_ms;
};

struct plan_reader {
    uint32_t client;
    uint32_t partition;
    uint32_t max_bytes;
    uint32_t wait_ms;
    int64_t think_us;
    uint32_t jump_one_in; /* fetches: go back to some earlier offset. 0 = never */
};

struct plan {
    uint64_t seed;
    uint32_t node_count;
    uint32_t storage_count;
    struct plan_node nodes[PLAN_NODES_MAX];
    uint32_t topic_count;
    struct plan_topic topics[PLAN_TOPICS_MAX];
    uint32_t partition_count; /* of all topics */
    uint32_t producer_count;
    struct plan_producer producers[PLAN_PRODUCERS_MAX];
    uint32_t reader_count;
    struct plan_reader readers[PLAN_READERS_MAX];

    struct sim_net_profile profile;
    uint32_t open_segments; /* of a storage node */

    int64_t chaos_us; /* the faults end, and everything must come right */
    uint32_t fault_count;
    struct plan_fault faults[PLAN_FAULTS_MAX];
};

void plan_draw(struct plan *plan, uint64_t seed);
void plan_print(const struct plan *plan, FILE *out);

/* The topic of a partition that is counted over all topics. */
uint32_t plan_topic_of(const struct plan *plan, uint32_t partition);

/* Its topic will be deleted. */
bool plan_is_doomed(const struct plan *plan, uint32_t partition);

/* "coordinator", "storage-1", ...; a literal. */
const char *plan_node_name(const struct plan *plan, uint32_t node);

void plan_format_fault(
    const struct plan *plan, const struct plan_fault *fault, char *out, size_t out_size
);
