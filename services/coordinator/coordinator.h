/* coordinator: the parts of one coordinator and what its handlers share. Only for service.c,
 * assigner.c, elections.c, sweeper.c, overdue.c and handle_*.c. */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/env.h"
#include "common/err.h"
#include "common/map.h"
#include "common/metrics.h"
#include "common/uuid.h"

#include "schemas/gen/metadata_response.h"
#include "schemas/gen/request_header.h"

#include "services/coordinator/consensus.h"
#include "services/coordinator/data_dir.h"
#include "services/coordinator/group_waits.h"
#include "services/coordinator/lease_clock.h"
#include "services/coordinator/liveness.h"
#include "services/coordinator/meta_db.h"
#include "services/coordinator/metadata_waits.h"
#include "services/coordinator/service.h"
#include "services/coordinator/state_machine.h"
#include "services/coordinator/vfs_db.h"

enum { COORDINATOR_ARENA_SIZE_MAX = 256 * 1024 * 1024 };

/* name, kind, help: for /metrics */
/* clang-format off */
#define COORDINATOR_COUNTERS(X)                                                                  \
    X(requests, "riacho_coordinator_requests_total", "requests received")                        \
    X(requests_refused, "riacho_coordinator_requests_refused_total", "requests answered with an error") \
    X(commands, "riacho_coordinator_commands_total", "commands committed")                       \
    X(group_operations, "riacho_coordinator_group_operations_total", "operations on consumer groups and queues") \
    X(group_operations_refused, "riacho_coordinator_group_operations_refused_total", "operations on consumer groups and queues that were refused") \
    X(moves_begun, "riacho_coordinator_moves_begun_total", "moves of partitions begun by drains and rebalancing") \
    X(queues_overdue, "riacho_coordinator_queues_overdue_total", "queues handed to a gateway because nobody came for what is over or dead") \
    X(groups, "riacho_coordinator_groups_total", "transactions, each of one or more commands")   \
    X(leader_changes, "riacho_coordinator_leader_changes_total", "partitions that got another leader, or lost theirs")
#define COORDINATOR_GAUGES(X)                                                                    \
    X(moving, "riacho_coordinator_moving_partitions", "partitions on their way to other nodes")  \
    X(parked, "riacho_coordinator_metadata_parked", "Metadata requests that wait for a change")  \
    X(group_watches, "riacho_coordinator_group_watches_parked", "watches of groups, parked or between two requests") \
    X(processes, "riacho_coordinator_processes", "processes heard of lately")                    \
    X(version, "riacho_coordinator_metadata_version", "metadata version")                        \
    X(leaderless, "riacho_coordinator_leaderless_partitions", "partitions that nobody leads")
/* clang-format on */

#define COORDINATOR_COUNTER_FIELD_(field, name, help) struct ria_counter field;
#define COORDINATOR_GAUGE_FIELD_(field, name, help)   struct ria_gauge field;
struct coordinator_metrics {
    COORDINATOR_COUNTERS(COORDINATOR_COUNTER_FIELD_)
    COORDINATOR_GAUGES(COORDINATOR_GAUGE_FIELD_)
    struct ria_histogram commit_us; /* of one group, its sync included */
};

/* A queue to be looked after, and where the walk that finds them is (overdue.c). */
enum { OVERDUE_FOUND_MAX = 32 };

struct overdue_queue {
    struct ria_uuid topic_id;
    size_t name_size;
    char name[256]; /* of the group */
};

struct overdue {
    int64_t group_id; /* the partition that was looked at last; 0 = a round begins */
    struct ria_uuid topic_id;
    int32_t partition;
    int64_t next_us; /* not before */
    struct overdue_queue found[OVERDUE_FOUND_MAX];
    uint32_t count;
};

struct rebalance;

/* What mover.c remembers between two looks; all of it may be forgotten. */
struct mover {
    bool busy;             /* a command is under way */
    bool rebalancing;      /* when it looked */
    int64_t version;       /* metadata version when it looked; -1: look again in any case */
    int64_t living;        /* liveness_changes() when it looked */
    uint32_t away;         /* nodes that had stayed away when it looked */
    int64_t next_us;       /* not before */
    int64_t idle_since_us; /* evening out has found nothing to move since; 0 = it has */
};

struct coordinator {
    const struct ria_env *env;
    const struct coordinator_options *options;
    struct data_dir dir;
    struct vfs_db *vfs; /* NULL: meta.db is an ordinary file */
    struct meta_db *db;
    struct state_machine *state;
    struct consensus *consensus;
    struct liveness *liveness;
    struct lease_clock lease_clock;
    struct metadata_waits *parked;
    struct group_waits *group_waits;
    struct ria_arena arena;          /* of the request being handled */
    struct metadata_response answer; /* in the arena, if answer_known >= 0 */
    int64_t answer_known;            /* the known version it is for */
    struct ria_uuid cluster_id;
    struct ria_uuid process_uuid;
    int64_t started_us;
    int64_t applied_at_start; /* 0 = a new cluster */
    int64_t version;          /* committed */
    int64_t applied_index;    /* committed */
    int64_t group_started_us;
    bool running;
    bool tasks_changed;         /* since the assigner looked */
    bool assigning;             /* an AssignTasks command is under way */
    bool assigner_was_settling; /* when it looked */
    uint64_t assigner_workers;  /* hash of the workers it saw */
    bool electing;              /* a FenceNodes or ElectLeaders command is under way */
    bool elections_dirty;       /* look again, whatever has changed */
    bool elections_was_settling;
    int64_t elections_living;  /* liveness_changes() at the last look */
    int64_t elections_version; /* metadata version at the last look */
    bool preferred_dirty;      /* something changed since the preferred leaders were looked at */
    struct ria_timer preferred_timer;
    struct ria_map beats; /* heartbeats that are held back, by process */
    int64_t beats_living; /* liveness_changes() when they were looked at */
    struct mover mover;
    bool sweeping; /* a SweepRanges command is under way */
    struct ria_timer sweep_timer;
    struct overdue overdue;
    struct ria_timer wake_timer; /* answers parked requests at the end of the turn */
    struct ria_timer tick_timer; /* ages liveness, and what follows from it */
    struct coordinator_metrics metrics;
};

/* Done with what is in the arena. */
void coordinator_forget(struct coordinator *coordinator);

/* A request with its header and body; body borrows from the request's frame. */
struct coordinator_call {
    struct ria_rpc_request *request;
    struct request_header header;
    struct ria_slice body;
};

/* Answer and end the request. response is the api's struct. */
void coordinator_reply(
    struct coordinator *coordinator, const struct coordinator_call *call, const void *response
);
void coordinator_refuse(
    struct coordinator *coordinator,
    const struct coordinator_call *call,
    ria_err err,
    const char *fmt,
    ...
) RIA_PRINTF(4, 5);

/* Decode the call's body into the coordinator's arena. On an error the request is answered and
 * false is returned. */
bool coordinator_decode(
    struct coordinator *coordinator, const struct coordinator_call *call, void *out_body
) RIA_MUST_USE;

/* No whole session time has passed since the start: who was not heard may be alive. */
bool coordinator_is_settling(const struct coordinator *coordinator);

/* ---- propose.c ---- */

/* What consensus drives. */
struct consensus_machine coordinator_machine(struct coordinator *coordinator);

/* Take over cluster id, version and applied index from the database. */
void coordinator_read_summary(struct coordinator *coordinator);

/* Propose a command of this kind. body is copied. done as in consensus_propose(). Errors: those of
 * consensus_propose(). */
ria_err coordinator_propose(
    struct coordinator *coordinator,
    int16_t kind,
    int16_t body_version,
    int32_t sender_id,
    struct ria_slice body,
    consensus_done_fn done,
    void *arg
) RIA_MUST_USE;

/* ---- handlers: take the call's request ---- */

void handle_command(struct coordinator *coordinator, const struct coordinator_call *call);
void handle_heartbeat(struct coordinator *coordinator, const struct coordinator_call *call);
void handle_metadata(struct coordinator *coordinator, const struct coordinator_call *call);
void handle_describe_cluster(struct coordinator *coordinator, const struct coordinator_call *call);
void handle_list_transforms(struct coordinator *coordinator, const struct coordinator_call *call);

void handle_describe_groups(struct coordinator *coordinator, const struct coordinator_call *call);
void handle_watch_groups(struct coordinator *coordinator, const struct coordinator_call *call);

/* Answer a WatchGroups request that was parked. Takes request. */
void handle_watch_groups_unparked(
    void *arg,
    struct ria_rpc_request *request,
    const struct request_header *header,
    const struct watch_groups_response *response
);

/* Answer a Metadata request that was parked. Takes request. */
void handle_metadata_unparked(
    void *arg,
    struct ria_rpc_request *request,
    const struct request_header *header,
    int64_t known_version
);

/* ---- handle_heartbeat.c: answers that are held back ---- */

void beats_init(struct coordinator *coordinator);
void beats_fini(struct coordinator *coordinator);

/* Answer all of them. */
void beats_answer(struct coordinator *coordinator);

/* Answer those whose process knows other workers than there are. Cheap if nothing has changed. */
void beats_check(struct coordinator *coordinator);

/* ---- assigner.c ---- */

/* Compare leases and live workers, propose what must move. Cheap if nothing must. */
void assigner_check(struct coordinator *coordinator);

/* ---- elections.c ---- */

void elections_init(struct coordinator *coordinator);
void elections_start(struct coordinator *coordinator);
void elections_stop(struct coordinator *coordinator);

/* Compare nodes, leaders and who is alive, propose what must change. Cheap if nothing has changed.
 */
void elections_check(struct coordinator *coordinator);

/* What follows from a change of who is alive or of the metadata: leaders, tasks, leases. Replies;
 * not while the arena is in use. */
void coordinator_react(struct coordinator *coordinator);

/* The next tick comes when the next process may have died, or in half a second. */
void coordinator_arm_tick(struct coordinator *coordinator);

/* ---- planning.c ---- */

typedef enum planning_kind { PLANNING_EVEN_OUT, PLANNING_EMPTY } planning_kind;

enum { PLANNING_MOVES_MAX = 100000 }; /* in one response */

/* A plan from the committed rows and the nodes that are alive. node_id: the node to empty, whether
 * it is being drained or not; -1 = all that are. Borrows from arena. Errors: RIA_ERR_NOMEM,
 * RIA_ERR_LIMIT. */
ria_err planning_make(
    struct coordinator *coordinator,
    planning_kind kind,
    int32_t node_id,
    struct ria_arena *arena,
    struct rebalance *out_plan
) RIA_MUST_USE;

/* Node ids of nodes of the plan. */
ria_err planning_ids(
    const struct rebalance *plan,
    const uint16_t *nodes,
    uint32_t count,
    struct ria_arena *arena,
    int32_t **out_ids
) RIA_MUST_USE;

/* ---- mover.c ---- */

/* Begin moves that drains and rebalancing ask for. Cheap if nothing does. */
void mover_check(struct coordinator *coordinator);

/* Partitions on their way; whether evening out was asked for; how many may move at once. */
uint32_t mover_count(struct coordinator *coordinator);
bool mover_is_rebalancing(struct coordinator *coordinator);
int32_t mover_moves_max(const struct coordinator *coordinator);

/* ---- sweeper.c ---- */

void sweeper_init(struct coordinator *coordinator);

/* Delete some of what is left of queues. Cheap if there is nothing. */
void sweeper_check(struct coordinator *coordinator);

/* ---- overdue.c ---- */

struct heartbeat_response;

/* Look for queues that nobody comes for, some partitions at a time. */
void overdue_check(struct coordinator *coordinator);

/* Fill in the next ones that were found; they are the gateway's from then on. */
void overdue_give(struct coordinator *coordinator, struct heartbeat_response *response);

void handle_plan_rebalance(struct coordinator *coordinator, const struct coordinator_call *call);
