/* worker_fixture: one replication worker, with a coordinator and storage nodes that the test plays.
 *
 * Topic with partitions led by node 1 in epoch 5, followed by nodes 2 and 3. Heartbeats, metadata,
 * histories, prepares and reports are answered by themselves; fetches and appends wait for the
 * test, appends to nodes in `appends_by_itself` excepted.
 */
#pragma once

#include "common/arena.h"
#include "common/env.h"

#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_fetch_request.h"

#include "services/replication/service.h"
#include "tests/lib/fake_rpc.h"

enum { WORKER_NODES = 3, WORKER_PARTITIONS_MAX = 64 };

struct worker_fixture {
    struct ria_env env;
    struct ria_clock clock;
    struct ria_timers timers;
    struct ria_rand rand;
    struct ria_log log;
    struct fake_rpc rpc;
    struct ria_arena arena; /* of decoded requests, until the next turn */
    int64_t now_us;
    struct replication *worker;

    int64_t beat_us; /* the last heartbeat was answered */
    int32_t other_workers;
    int32_t partitions;
    int32_t leader_epoch;
    int64_t version;
    bool deleted;
    int64_t incarnation[4];    /* by node */
    uint32_t apart;            /* so many of nodes 3, 2 are not in sync */
    int32_t unfit;             /* node whose replicas are unfit; 0 = none */
    int32_t config_epoch;      /* of the settings that the leader says it acts by */
    int64_t leader_end;        /* of all partitions, as the histories say */
    int64_t follower_end[4];   /* by node: what a prepare answers */
    bool appends_by_itself[4]; /* by node */
    bool unreachable[4];       /* by node: prepares and appends fail */
    uint32_t prepares[4];      /* seen by node: partitions in requests */
    uint32_t prepare_calls[4]; /* seen by node: requests */
    uint32_t reports;          /* entries seen */
    int64_t reported[4];       /* by node: end offset of the last report */
    uint32_t append_bytes[4];  /* answered by themselves */
};

/* Starts the worker and runs until followers are prepared. */
void worker_init(struct worker_fixture *w, int32_t partitions, const int64_t ends[2], int64_t rate);
void worker_fini(struct worker_fixture *w);

/* Let time pass, timer by timer. 0: what is due now. */
void worker_run_ms(struct worker_fixture *w, int64_t ms);

/* The same topic under another leader epoch, with another node unfit; or deleted. */
void worker_publish(struct worker_fixture *w);

struct ria_uuid worker_topic_id(void);

/* Unanswered fetches in a session / without one; NULL if there are fewer than index + 1. */
struct fake_rpc_call *worker_fetch(struct worker_fixture *w, bool in_session, uint32_t index);
uint32_t worker_fetch_count(struct worker_fixture *w, bool in_session);
struct replica_fetch_request
worker_open_fetch(struct worker_fixture *w, const struct fake_rpc_call *call);

/* Answer a fetch with batches of one record from base_offset on, of about `size` bytes each; count
 * 0: with the high watermark only; partition -1: with nothing. */
void worker_answer_fetch(
    struct worker_fixture *w,
    struct fake_rpc_call *call,
    int32_t partition,
    int64_t base_offset,
    int32_t count,
    size_t size
);

/* Unanswered appends to the node. */
struct fake_rpc_call *worker_append(struct worker_fixture *w, int32_t node, uint32_t index);
uint32_t worker_append_count(struct worker_fixture *w, int32_t node);
struct replica_append_request
worker_open_append(struct worker_fixture *w, const struct fake_rpc_call *call);

/* All is on disk. */
void worker_answer_append(struct worker_fixture *w, struct fake_rpc_call *call);
