/* producing: a produce core over one topic "t", and the requests of its clients; storage answers as
 * the test says (world.h). */
#pragma once

#include "common/base.h"

#include "schemas/batch.h"

#include "services/gateway/produce.h"
#include "tests/unit/services/gateway/world.h"

enum { PRODUCING_TIMEOUT_MS = 30 * 1000 };

/* One core over one topic "t", and the calls a test made. */
struct producing {
    struct world world;
    struct world_topic *topic;
    struct cluster *cluster;
    struct coordinator_calls coordinator;
    struct produce *produce;
    struct cluster_topic *view;
};

/* One client's request of a few records. */
struct producing_client {
    struct produce_call call;
    struct produce_result results[256];
    bool done;
};

/* What a produce call asks for. */
struct producing_seen {
    struct batch_header header;
    int32_t partition;
    int32_t leader_epoch;
    char first_value[32];
};

void producing_init(struct producing *s, int32_t partitions);
void producing_init_with(struct producing *s, int32_t partitions, const char *max_message_bytes);

/* Checks that nothing is left in the budget. */
void producing_fini(struct producing *s);

void producing_begin(struct producing *s, struct producing_client *client);
void producing_add(
    struct producing *s, struct producing_client *client, int32_t partition, const char *value
);

/* One record, sent at the end of the turn. */
void producing_send(
    struct producing *s, struct producing_client *client, int32_t partition, const char *value
);

struct producing_seen producing_look(const struct world_call *call);

/* The oldest produce call; NULL: none. It is answered by the three below. */
struct world_call *producing_next(struct producing *s);
void producing_ack(struct producing *s, int64_t base_offset);
void producing_refuse(struct producing *s, ria_err err);
void producing_lose(struct producing *s, ria_err err);

/* The partition has an acknowledged batch, so several may be under way. */
void producing_warm_up(struct producing *s, int32_t partition);

/* Fill the partition's window: clients[0..count) each in a batch of its own. */
void producing_fill(struct producing *s, struct producing_client *clients, int count);
