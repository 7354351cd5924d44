/* leader_call: a read-only request to the leader of a partition, repeated until it is answered.
 *
 * Follows the partition: while its leader is unknown, has changed, does not know the partition yet
 * or cannot be reached, the request is sent again, at the latest when the cluster's view changes
 * (leader_calls_view_changed). A leader that is none any more is not waited for: it may be dead.
 * A leader whose disk fails, or that finds the records damaged, will be replaced if there are other
 * replicas: such errors are believed only after LEADER_REPAIR_MS.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/timers.h"

#include "schemas/gen/fetch_request.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/messages.h"

#include "services/gateway/outcall.h"
#include "services/shared/cluster.h"

enum { LEADER_REPAIR_MS = 5000 };

struct leader_calls {
    const struct ria_env *env;
    struct cluster *cluster;
    struct outcalls outcalls;
    struct ria_list live;
};

/* A reply, opened. msg may be kept by setting it to NULL; the slices live as long as it. */
struct leader_reply {
    struct ria_msg *msg;
    int16_t version;
    struct ria_slice body;
    struct ria_slice payload;
    const char *text; /* why, with an error; "" if nobody said */
};

struct leader_call;
typedef void (*leader_call_fn)(struct leader_call *call, ria_err err, struct leader_reply *reply);

/* Storage is the caller's until done runs. */
struct leader_call {
    /* the caller's */
    struct cluster_partition *partition;
    int16_t api_key; /* API_FETCH or API_LIST_OFFSETS */
    union {
        struct fetch_request fetch; /* topic, partition and leader epoch are filled in */
        struct list_offsets_request list_offsets;
    } body;
    int64_t deadline_us;
    leader_call_fn done;
    void *arg;
    /* private */
    struct leader_calls *calls;
    struct ria_list link;
    struct ria_timer retry;
    struct outcall *attempt;
    int32_t sent_leader;
    int32_t sent_epoch; /* done may read it: who answered leads under it */
    int64_t started_us;
    int64_t backoff_us;
    ria_err err;
};

void leader_calls_init(
    struct leader_calls *calls, const struct ria_env *env, struct cluster *cluster
);

/* Forgets what is under way. */
void leader_calls_fini(struct leader_calls *calls);

/* done runs exactly once, never from inside. */
void leader_call_start(struct leader_calls *calls, struct leader_call *call);

/* done will not run. */
void leader_call_cancel(struct leader_call *call);

/* The cluster's view changed: ask new leaders, and do not wait for a back-off to end. */
void leader_calls_view_changed(struct leader_calls *calls);

/* Address of the partition's leader, NULL if it has none or it is not known. */
const char *
leader_address(const struct cluster *cluster, const struct cluster_partition *partition);
