/* world: a clock, a network and a coordinator that a test holds in its hands.
 *
 * Calls to the coordinator are answered here, from the topics that the test made, but for those of
 * an operator and those about groups, which wait for the test (group_world.h). Calls to storage
 * nodes ("tcp://s1", "tcp://s2", ...) wait in a list until the test answers, loses or refuses them.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/list.h"
#include "common/uuid.h"

#include "schemas/envelope.h"
#include "schemas/gen/produce_request.h"

#include "services/gateway/budget.h"

enum { WORLD_TOPICS_MAX = 4, WORLD_PARTITIONS_MAX = 8, WORLD_NODES = 3 };

/* Of more than WORLD_PARTITIONS_MAX partitions, p is as p modulo that. */
struct world_topic {
    struct ria_uuid id;
    char name[32];
    int32_t partition_count;
    bool deleted;
    int32_t leaders[WORLD_PARTITIONS_MAX]; /* -1: none */
    int32_t epochs[WORLD_PARTITIONS_MAX];
    int32_t moving_to[WORLD_PARTITIONS_MAX]; /* 0: it is not; else the target is that and node 1 */
    const char *max_message_bytes;           /* NULL: default */
    const char *delivery;                    /* NULL: default */
    int32_t config_epoch;
};

/* A request that waits for its answer. */
struct world_call {
    struct ria_list link;
    char address[64];
    struct ria_msg *msg;
    int64_t deadline_us;
    ria_rpc_done_fn done;
    void *arg;
    int16_t api_key;
    /* for tests that answer in two steps */
    bool processed;
    ria_err outcome;
    int64_t base_offset;
};

struct world {
    int64_t now_us;
    struct ria_clock clock;
    struct ria_timers timers;
    struct ria_rand rand;
    struct ria_rpc rpc;
    struct ria_log log;
    struct ria_env env;
    struct budget budget;

    struct ria_list calls;    /* to storage, oldest first */
    struct ria_list parked;   /* metadata pulls */
    struct ria_list finished; /* calls whose end is due now: {call, err, reply} */
    struct world_topic topics[WORLD_TOPICS_MAX];
    uint32_t topic_count;
    int64_t version;
    int64_t ids_next;
    bool coordinator_down;
    bool no_transform_worker;
    uint32_t created_topics;
    struct heartbeat_response_overdue_queue *overdue; /* told with the next heartbeat; NULL: none */
};

void world_init(struct world *world, uint64_t seed);

/* Ends every call with RIA_ERR_SHUTDOWN. Call after whoever uses the world was freed. */
void world_fini(struct world *world);

/* Partition p is led by node 1 + p % 3, epoch 1. */
struct world_topic *world_add_topic(struct world *world, const char *name, int32_t partitions);

/* Tell everybody who pulls metadata. */
void world_publish(struct world *world);

/* Everything that is due now. */
void world_run(struct world *world);

void world_advance(struct world *world, int64_t us);

/* The oldest call of this api to a storage node (any if api_key is -1); NULL: none. */
struct world_call *world_next_call(struct world *world, int16_t api_key);
uint32_t world_call_count(const struct world *world);

/* End a call: the caller's callback runs at the next world_run(). */
void world_reply(
    struct world *world, struct world_call *call, const void *body, struct ria_slice payload
);
void world_refuse(struct world *world, struct world_call *call, ria_err err, const char *text);
void world_lose(struct world *world, struct world_call *call, ria_err err);

/* The request's body; its slices live as long as the call. */
void world_open(
    const struct world_call *call, struct ria_arena *arena, void *out, struct ria_slice *out_payload
);

/* Answer a produce call as stored at base_offset. */
void world_ack(struct world *world, struct world_call *call, int64_t base_offset);
