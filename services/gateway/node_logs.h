/* node_logs: DescribeLogs of several storage nodes at once: what is on their disks.
 *
 * A node that does not answer in time is missing in the result; that is an answer, too.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/env.h"
#include "common/list.h"

#include "schemas/gen/describe_logs_request.h"
#include "schemas/gen/describe_logs_response.h"

#include "services/gateway/outcall.h"
#include "services/shared/cluster.h"

struct node_logs_calls {
    const struct ria_env *env;
    struct cluster *cluster;
    struct outcalls outcalls;
    struct ria_list live;
};

typedef struct describe_logs_response_described_log described_log;

/* What one node said. */
struct node_logs_answer {
    int32_t node_id;
    bool known; /* it answered */
    struct describe_logs_response logs;
};

struct node_logs {
    struct node_logs_answer *answers; /* ascending by node id */
    uint32_t count;
};

/* logs is good during the call. */
typedef void (*node_logs_fn)(void *arg, const struct node_logs *logs);

void node_logs_init(
    struct node_logs_calls *calls, const struct ria_env *env, struct cluster *cluster
);

/* Forgets what is under way. */
void node_logs_fini(struct node_logs_calls *calls);

/* Ask the nodes with these ids (ascending; those that are unknown or removed count as silent).
 * Copies all. fn runs exactly once, maybe from inside (nobody to ask). Errors: RIA_ERR_NOMEM. */
ria_err node_logs_ask(
    struct node_logs_calls *calls,
    const int32_t *node_ids,
    uint32_t count,
    const struct describe_logs_request *request,
    node_logs_fn fn,
    void *arg
) RIA_MUST_USE;

/* NULL: the node did not answer, or has no such replica. */
const described_log *node_logs_find(
    const struct node_logs *logs,
    int32_t node_id,
    const struct ria_uuid *topic_id,
    int32_t partition
);

/* NULL: it was not asked. */
const struct node_logs_answer *node_logs_of(const struct node_logs *logs, int32_t node_id);
