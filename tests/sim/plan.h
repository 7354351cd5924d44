/* plan: everything a seed decides beforehand: the cluster, the load, and what will go wrong when.
 *
 * Swarm testing: each seed draws its own subset of the faults and its own rates, so that some runs
 * are nearly calm, some know one kind of trouble only, and some all of it. The whole plan is drawn
 * before the run begins, so it can be printed even if the run ends in a crash.
 */
#pragma once

#include <stdio.h>

#include "common/base.h"
#include "common/rand.h"

#include "tests/sim/sim_wire.h"

enum {
    PLAN_TOPICS_MAX = 5,
    PLAN_PARTITIONS_MAX = 16, /* of all topics */
    PLAN_PRODUCERS_MAX = 12,
    PLAN_READERS_MAX = 16,
    PLAN_FAULTS_MAX = 128,
    PLAN_ADMIN_MAX = 32,
    PLAN_NODES_MAX = 16,
    PLAN_GROUPS_MAX = 2,
    PLAN_CONSUMERS_MAX = 8, /* of all groups */
    PLAN_STREAMS_MAX = 2,
};

/* a and b are nodes. Each is undone after its duration. A kind without weight is never drawn by
 * itself, but can be asked for (plan_choice): what it breaks is known. */
/* clang-format off */
/*    kind        name          weight  about */
#define PLAN_FAULT_KINDS(X)                                                                       \
    X(PARTITION,  "partition",  8, "nothing passes between a and b")                              \
    X(ONE_WAY,    "one-way",    8, "nothing passes from a to b")                                  \
    X(ORPHAN,     "orphan",     8, "nothing passes between b, the coordinator, and worker a")     \
    X(ISOLATE,    "isolate",    8, "nothing passes between a and the others")                     \
    X(MINORITY,   "minority",   8, "nothing passes between a storage node a with gateway b and the other servers") \
    X(RESET,      "reset",      8, "connections between a and b break; amount 1: nobody is told") \
    X(SLOW_NET,   "slow-net",   8, "what a sends and gets takes `amount` us longer")              \
    X(DUPLICATE,  "duplicate",  8, "one in `amount` requests of a arrives twice, the second time late") \
    X(SLOW_DISK,  "slow-disk",  8, "syncs of a take up to `amount` us")                           \
    X(KILL,       "kill",       8, "a's process dies")                                            \
    X(POWER,      "power",      8, "a's machine loses power: unsynced writes may be lost, torn")  \
    X(KILL_AT,    "kill-at",    8, "a's process dies at change `amount` of its disk")             \
    X(POWER_AT,   "power-at",   8, "a's machine loses power at change `amount` of its disk")      \
    X(KILL_SEND,  "kill-send",  8, "a's process dies behind the frame number `amount` it sends")  \
    X(POWER_SEND, "power-send", 8, "a's machine loses power behind frame number `amount`")        \
    X(PAUSE,      "pause",      8, "a's process stands still, and does not know it")              \
    X(STOP,       "stop",       8, "a's process is asked to end")                                 \
    X(CLOCK,      "clock",      8, "a's wall clock is `amount` ms ahead (behind)")                \
    X(DISK_FULL,  "disk-full",  8, "a's disk takes `amount` bytes more")                          \
    X(IO_ERROR,   "io-error",   0, "of a's writes and opens one in `amount` fails; then it reboots") \
    X(SYNC_ERROR, "sync-error", 0, "of a's syncs one in `amount` fails; then it reboots")         \
    X(ROT,        "rot",        2, "a's process dies, and `amount` bits of its files flip")
/* clang-format on */

#define PLAN_ENUM_(name, text, weight, about) PLAN_##name,
typedef enum plan_fault_kind { PLAN_FAULT_KINDS(PLAN_ENUM_) PLAN_FAULT_KIND_COUNT } plan_fault_kind;

struct plan_fault {
    int64_t at_us;
    int64_t duration_us;
    plan_fault_kind kind;
    uint32_t a;
    uint32_t b;
    int64_t amount;
};

/* What operators and programs ask of the cluster beside reading and writing. Each is tried until it
 * is done; must be done in the end. New ones: a row here, one in admin.c, a draw in plan.c. */
/* clang-format off */
#define PLAN_ADMIN_KINDS(X)                                                                    \
    X(CREATE_TOPIC,     "create-topic",     "`topic`, which is no derived one")                \
    X(CREATE_TRANSFORM, "create-transform", "the one whose output is `topic`")                 \
    X(DELETE_TOPIC,     "delete-topic",     "`topic`")                                         \
    X(REASSIGN,         "reassign",         "a partition of `topic`; amount draws it and where to") \
    X(CANCEL_MOVE,      "cancel-move",      "of a partition of `topic`, drawn by amount")      \
    X(ELECT_LEADER,     "elect-leader",     "a partition of `topic` and who, drawn by amount") \
    X(DRAIN,            "drain",            "storage node `amount`")                           \
    X(END_DRAIN,        "end-drain",        "the same")                                        \
    X(REBALANCE,        "rebalance",        "begins (amount 1) or stops")                         \
    X(SET_MIN_INSYNC,   "set-min-insync",   "min.insync.replicas of `topic` becomes amount")       \
    X(SET_DURABILITY,   "set-durability",   "of `topic`: 1 = relaxed, 0 = synced")                  \
    X(DELETE_GROUP,     "delete-group",     "group `amount` / 2, of `topic`; odd: by force")       \
    X(RESET_QUEUE,      "reset-queue",      "to its beginning; likewise")                          \
    X(REDRIVE,          "redrive",          "of the dead letters of queue `amount` / 2")
/* clang-format on */

#define PLAN_ADMIN_ENUM_(name, text, about) PLAN_##name,
typedef enum plan_admin_kind {
    PLAN_ADMIN_KINDS(PLAN_ADMIN_ENUM_) PLAN_ADMIN_KIND_COUNT
} plan_admin_kind;

struct plan_admin {
    int64_t at_us;
    plan_admin_kind kind;
    uint32_t topic;
    int64_t amount;
};

/* In the order of the nodes of a plan; the coordinator is node 0, storage nodes follow it. */
typedef enum plan_role {
    PLAN_COORDINATOR,
    PLAN_STORAGE,
    PLAN_WORKER,
    PLAN_GATEWAY,
    PLAN_TRANSFORM,
    PLAN_CLIENT,
} plan_role;

struct plan_node {
    plan_role role;
    int64_t boot_us;
    int64_t wall_skew_ms;
    int64_t sync_us_min; /* of its disk */
    int64_t sync_us_max;
};

typedef enum plan_topic_kind {
    PLAN_TOPIC_PLAIN,
    PLAN_TOPIC_DERIVED, /* by a transform, from topic `source` */
    PLAN_TOPIC_ERRORS,  /* that transform's: stays empty */
} plan_topic_kind;

struct plan_topic {
    plan_topic_kind kind;
    uint32_t source;
    uint32_t skip_one_in; /* DERIVED: values whose number this divides are left out. 0 = none */
    int32_t partition_count;
    int16_t replicas;
    int32_t min_insync;
    int64_t segment_bytes;
    int64_t lag_ms;
    bool relaxed;             /* only if no machine of this plan loses its power */
    bool may_be_relaxed;      /* at first, or later */
    bool is_doomed;           /* it will be deleted */
    uint32_t first_partition; /* its number over all topics */
};

struct plan_producer {
    uint32_t client; /* a node */
    uint32_t partition;
    bool via_gateway; /* over HTTP, through any of the gateways; else straight to the leader */
    bool idempotent;
    bool gives_up;         /* after some definite refusals */
    uint32_t key_count;    /* 0 = no keys */
    uint32_t window;       /* batches from the oldest unanswered one on, at most */
    uint32_t records_max;  /* per batch */
    uint32_t padding_max;  /* bytes per record */
    int64_t think_us_mean; /* between batches */
    uint32_t timeout_ms;
    uint32_t delays_one_in; /* batches: queues are to hand them out later. 0 = never */
    int64_t delay_ms;       /* ... by so much, at most */
};

struct plan_reader {
    uint32_t client;
    uint32_t partition;
    bool via_gateway;
    bool as_text; /* via_gateway: NDJSON, not batches */
    uint32_t max_bytes;
    uint32_t wait_ms;
    int64_t think_us;
    uint32_t jump_one_in; /* fetches: go back to some earlier offset. 0 = never */
};

/* Its name is "group-" and its number. */
struct plan_group {
    bool is_queue;
    uint32_t topics;     /* bits; a queue has one topic */
    int32_t lease_ms;    /* a queue: of a lock */
    bool has_names;      /* stream: its consumers do, and its partitions are divided among them */
    int32_t session_ms;  /* stream, has_names */
    int64_t reset_at_us; /* stream: somebody sets it back then; 0 = never */
    bool reset_by_force;
    bool is_ordered; /* queue: order per key */
    int32_t deliveries_max;
    int32_t retry_ms;
    bool buries; /* queue: many of its records die */
};

/* One in so many times; 0 = never. */
struct plan_consumer {
    uint32_t client;
    uint32_t group;
    uint32_t records_max;
    uint32_t max_bytes;
    uint32_t wait_ms;
    int64_t think_us;     /* with what it was given, at most */
    uint32_t dies_one_in; /* with it, and comes back without knowing anything */
    uint32_t leaves_one_in;
    uint32_t extends_one_in;
    uint32_t gives_back_one_in;
    uint32_t commits_one_in; /* stream: in a call of its own; else the next read does it */
    uint32_t stream_ms;      /* stream: reads by live streams of so long at most; 0 = by calls */
    bool acks_written;       /* ... that commit what was written; else the client does */
    uint32_t breaks_one_in;  /* ... whose ends get lost */
    uint32_t nacks_one_in;   /* queue, from here on: a record */
    uint32_t rejects_one_in;
    uint32_t is_late_one_in; /* what it was given: it says what it has to say past the deadline */
};

/* Who reads a topic's live stream, over HTTP. */
struct plan_stream {
    uint32_t client;
    uint32_t topic;
    uint32_t records_max; /* of a stream; then it comes back */
    uint32_t max_ms;
    int64_t think_us;       /* before it does, at most */
    uint32_t breaks_one_in; /* streams; 0 = none */
};

struct plan {
    uint64_t seed;
    uint32_t node_count;
    uint32_t storage_count;
    uint32_t gateway_first; /* its node */
    uint32_t gateway_count;
    bool has_transform;
    struct plan_node nodes[PLAN_NODES_MAX];
    uint32_t topic_count;
    struct plan_topic topics[PLAN_TOPICS_MAX];
    uint32_t partition_count; /* of all topics */
    uint32_t producer_count;
    struct plan_producer producers[PLAN_PRODUCERS_MAX];
    uint32_t reader_count;
    struct plan_reader readers[PLAN_READERS_MAX];

    uint32_t group_count;
    struct plan_group groups[PLAN_GROUPS_MAX];
    uint32_t consumer_count;
    struct plan_consumer consumers[PLAN_CONSUMERS_MAX];
    uint32_t stream_count;
    struct plan_stream streams[PLAN_STREAMS_MAX];

    uint32_t admin_count;
    struct plan_admin admin[PLAN_ADMIN_MAX];

    struct sim_net_profile profile;
    uint32_t open_segments; /* of a storage node */

    int64_t chaos_us; /* the faults end, and everything must come right */
    uint32_t fault_count;
    struct plan_fault faults[PLAN_FAULTS_MAX];
};

/* What may be drawn. */
struct plan_choice {
    uint32_t fault_kinds; /* bits by plan_fault_kind; 0 = those with weight */
};

/* choice may be NULL. */
void plan_draw(struct plan *plan, uint64_t seed, const struct plan_choice *choice);

/* The topic of a partition that is counted over all topics. */
uint32_t plan_topic_of(const struct plan *plan, uint32_t partition);

/* Its topic will be deleted. */
bool plan_is_doomed(const struct plan *plan, uint32_t partition);

/* Its durability is relaxed at some time. */
bool plan_may_be_relaxed(const struct plan *plan, uint32_t partition);

/* The group consumes this partition. */
bool plan_consumes(const struct plan *plan, uint32_t group, uint32_t partition);

/* Somebody deletes the group. */
bool plan_is_group_deleted(const struct plan *plan, uint32_t group);

/* By how much a gateway's wall clock is ahead of the true one, at most; at least 0. */
int64_t plan_gateways_ahead_ms(const struct plan *plan);

/* Some fault is of this kind. */
bool plan_has(const struct plan *plan, plan_fault_kind kind);

/* ---- for plan_groups.c ---- */

int64_t plan_between(struct ria_rand *rand, int64_t low, int64_t high);

/* Every order of magnitude is equally likely. */
int64_t plan_between_log(struct ria_rand *rand, int64_t low, int64_t high);
bool plan_coin(struct ria_rand *rand);

/* A client's node. */
uint32_t plan_draw_client(const struct plan *plan, struct ria_rand *rand);

/* ---- plan_groups.c ---- */

void plan_draw_groups(struct plan *plan, struct ria_rand *rand);

/* No record dies. With rot an operator may have to force a leader, and he looks after the plan's
 * topics only. */
void plan_spare_dead_letters(struct plan *plan);

/* ---- plan_text.c ---- */

void plan_print(const struct plan *plan, FILE *out);

/* "coordinator", "storage-1", ...; a literal. */
const char *plan_node_name(const struct plan *plan, uint32_t node);

/* Literals. */
const char *plan_fault_name(plan_fault_kind kind);
const char *plan_admin_name(plan_admin_kind kind);

/* "kill,power-at" as bits. False: a name is none; it begins at *out_bad. */
bool plan_parse_kinds(const char *text, uint32_t *out_kinds, const char **out_bad);

/* A line for each kind of fault: its name, what it does, whether it is drawn by itself. */
void plan_print_kinds(FILE *out);

void plan_format_fault(
    const struct plan *plan, const struct plan_fault *fault, char *out, size_t out_size
);
