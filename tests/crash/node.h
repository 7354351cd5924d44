/* node: one real riacho-storage process, journaled, and the cluster around it: this process plays
 * coordinator, clients and replication worker over the real network (loopback).
 *
 * Calls wait for their answers; the loop runs meanwhile. Anything unexpected ends this process.
 */
#pragma once

#include <sys/types.h>

#include "common/arena.h"
#include "common/loop.h"
#include "common/net.h"
#include "common/slice.h"

#include "schemas/gen/metadata_response.h"

#include "tests/crash/journal.h"
#include "tests/crash/layout.h"

struct node_row {
    int32_t leader_epoch;
    int32_t partition_epoch;
    bool led;     /* by the node, while it is up */
    bool deleted; /* its topic */
};

struct node {
    struct ria_loop *loop;
    struct ria_net *net;
    struct ria_arena arena; /* of decoded bodies, until the next call */
    const char *dir;        /* the data folder */
    const char *program;
    const char *preload;
    const char *journal;
    int journal_fd;
    pid_t pid; /* 0: it is down */
    char address[64];
    bool registered; /* since it was started */
    bool known;      /* it has had its number before */
    int64_t version; /* of the metadata */
    struct node_row rows[LAYOUT_PARTITIONS];
    struct ria_rpc_request *metadata;  /* parked, or NULL */
    struct ria_rpc_request *heartbeat; /* held back, or NULL */
    struct ria_timer heartbeat_timer;
};

/* A request on its way. */
struct node_call {
    int16_t api_key;
    bool done;
    ria_err err;
    struct ria_msg *reply; /* freed by node_end_call() */
};

void node_init(struct node *node);
void node_fini(struct node *node);

/* Start the process; returns when it has registered. die_at: at which sync it kills itself, 0 =
 * never. Every partition it leads gets a new leader epoch. */
void node_start(struct node *node, unsigned die_at);

/* SIGTERM; it must end with status 0. */
void node_stop(struct node *node);

/* It was told to die: wait until it has. */
void node_bury(struct node *node);

/* Whether it has died meanwhile. */
bool node_is_dead(const struct node *node);

/* The rows as they are now go to the node. */
void node_publish(struct node *node);

void node_mark(struct node *node, const struct journal_mark *mark);

void node_run_ms(struct node *node, int64_t ms);

void node_call(
    struct node *node,
    int16_t api_key,
    const void *body,
    struct ria_slice payload,
    struct node_call *call
);

/* Until it is answered, or cannot be any more. */
void node_wait(struct node *node, struct node_call *call);

/* Decodes the answer into out, until the next call of this function; frees it. */
ria_err node_end_call(struct node *node, struct node_call *call, void *out);
