/* group_ops: operations of all clients on groups and queues, a few requests at a time.
 *
 * What clients ask in one turn of the loop goes to the coordinator in one GroupRequest; what comes
 * while it is under way gathers for the next: the coordinator syncs one after the other anyway, and
 * a request costs as much as some of its operations. One that is full, or takes longer than
 * GROUP_OPS_PATIENCE_US, is joined by another, up to GROUP_OPS_FLIGHTS, so that neither side waits
 * for the other. Each operation has its own error, text and result (docs/design/010-consuming.md).
 *
 * A coordinator that cannot be reached, or has no leader, is asked again every 100 ms, the next
 * address of the list each time, until the operation's deadline. When an answer was lost the
 * operation may have been done: then it is repeated if `repeat` says that this does no harm, and
 * its result is marked `repeated`; else it ends with RIA_ERR_UNKNOWN_OUTCOME.
 *
 * Bounded: GROUP_OPS_QUEUE_MAX wait, more are refused (RIA_ERR_BUSY); a request holds
 * GROUP_OPS_BATCH_MAX of them and GROUP_OPS_BYTES_MAX bytes, its answer about as many.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/list.h"
#include "common/metrics.h"
#include "common/timers.h"

#include "schemas/gen/messages.h"

#include "services/gateway/outcall.h"
#include "services/shared/cluster.h"
#include "services/shared/group_operations.h"

enum {
    GROUP_OPS_FLIGHTS = 2,
    GROUP_OPS_PATIENCE_US = 3000,
    GROUP_OPS_QUEUE_MAX = 16384,
    GROUP_OPS_BATCH_MAX = 500,
    GROUP_OPS_BYTES_MAX = 960 * 1024, /* a command's body has 1 MiB at most */
    GROUP_OP_SIZE_MAX = 256 * 1024,   /* of one, encoded */
    GROUP_OP_ANSWER_MIN = 1024,
};

/* GroupOperation.kind */
typedef enum group_op_kind {
    GROUP_OP_READ = GROUP_OPERATION_READ,
    GROUP_OP_COMMIT = GROUP_OPERATION_COMMIT,
    GROUP_OP_MEMBER = GROUP_OPERATION_MEMBER,
    GROUP_OP_LEAVE = GROUP_OPERATION_LEAVE,
    GROUP_OP_RESET = GROUP_OPERATION_RESET,
    GROUP_OP_DELETE = GROUP_OPERATION_DELETE,
    GROUP_OP_QUEUE_OPEN = GROUP_OPERATION_QUEUE_OPEN,
    GROUP_OP_QUEUE_RECEIVE = GROUP_OPERATION_QUEUE_RECEIVE,
    GROUP_OP_QUEUE_SETTLE = GROUP_OPERATION_QUEUE_SETTLE,
    GROUP_OP_QUEUE_ACK = GROUP_OPERATION_QUEUE_ACK,
} group_op_kind;

enum { GROUP_OP_KIND_END = 14 };

/* Good during the callback. */
struct group_op_result {
    ria_err err;
    const char *text; /* why, "" if nobody said */
    const void *body; /* the decoded <kind>Result; NULL if err != RIA_OK */
    bool repeated;    /* an earlier attempt may have done it already */
    int64_t asked_us; /* when the attempt that was answered was sent: what it says is left, is left
                       * from then on at least */
};

struct group_op;
typedef void (*group_op_fn)(struct group_op *op, const struct group_op_result *result);

/* Storage is the caller's until done runs; so is the body. */
struct group_op {
    /* the caller's */
    group_op_kind kind;
    const void *body;   /* the record struct of the kind */
    size_t answer_size; /* about how large the encoded result may be; 0 = small */
    int64_t deadline_us;
    bool repeat;
    group_op_fn done;
    void *arg;
    /* private */
    struct ria_list link;
    ria_err err;     /* of the last attempt, or of the refusal */
    bool sent;       /* an attempt may have done it */
    int64_t sent_us; /* the last attempt */
};

struct group_ops_metrics {
    struct ria_counter operations; /* answered */
    struct ria_counter requests;   /* sent */
    struct ria_counter repeated;   /* operations sent again */
    struct ria_counter refused;    /* too many waited */
    struct ria_gauge waiting;      /* to be sent */
};

struct group_ops;

/* A request that is under way. */
struct group_flight {
    struct group_ops *ops;
    struct ria_list list; /* operations, in the request's order */
    uint32_t count;
    struct outcall *call; /* NULL: free */
    int64_t sent_us;
    bool is_full; /* it left some behind, which need not wait for it */
};

struct group_ops {
    const struct ria_env *env;
    struct cluster *cluster;
    struct outcalls outcalls;
    struct ria_list queue;  /* oldest first */
    struct ria_list ended;  /* before they were sent: told in the next turn */
    struct ria_timer flush; /* the turn's end, or the next attempt */
    int64_t pause_until_us; /* the coordinator cannot be asked before */
    struct group_flight flights[GROUP_OPS_FLIGHTS];
    const struct schema_message *bodies[GROUP_OP_KIND_END];
    const struct schema_message *results[GROUP_OP_KIND_END];
    struct group_ops_metrics numbers;
};

void group_ops_init(struct group_ops *ops, const struct ria_env *env, struct cluster *cluster);

/* Forgets everything. */
void group_ops_fini(struct group_ops *ops);

/* By the wall clock: when what the answer says is left is over, at the earliest. The way of the
 * answer is not the client's time. */
int64_t group_op_until_ms(
    const struct group_ops *ops, const struct group_op_result *result, int64_t left_ms
);

/* done runs exactly once, never from inside. Errors it may see besides the coordinator's:
 * RIA_ERR_BUSY (too many wait), RIA_ERR_TOO_LARGE, RIA_ERR_NOMEM, RIA_ERR_NO_LEADER and
 * RIA_ERR_DISCONNECTED (never reached: nothing was done), RIA_ERR_UNKNOWN_OUTCOME. */
void group_op_start(struct group_ops *ops, struct group_op *op);
