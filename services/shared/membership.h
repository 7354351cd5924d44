/* membership: heartbeats of one process to the coordinator, one after the other: each is held back
 * there for a while, so that news of the lease come at once and the end of this process is noticed
 * by the connection it leaves behind (docs/design/008-failover.md).
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/uuid.h"

#include "services/shared/cluster.h"

typedef enum process_role {
    PROCESS_GATEWAY = 1,
    PROCESS_STORAGE = 2,
    PROCESS_REPLICATION = 3,
    PROCESS_COORDINATOR = 4,
    PROCESS_TRANSFORM = 5,
} process_role;

const char *process_role_name(process_role role); /* "gateway"..., "unknown" */

enum {
    MEMBERSHIP_HOLD_MS = 250,          /* so long the coordinator holds a heartbeat back */
    MEMBERSHIP_SESSION_MS = 3000,      /* the longest session */
    MEMBERSHIP_SESSION_FAST_MS = 1200, /* of those that others wait for */
};

/* A process that is not heard for so long is taken for dead, and takes itself for unheard. */
int64_t membership_session_ms(process_role role);

struct membership_state {
    bool heard;      /* the coordinator answered within the session time */
    bool registered; /* storage only */
    uint32_t worker_index;
    uint32_t worker_count;          /* 0 = no lease */
    const struct ria_uuid *workers; /* worker_count live processes of this role, ascending, or NULL:
                                     * only replication and transform workers are told. The
                                     * membership's, until the state changes again */
};

/* Called when the state changes. When no answer came for a session heard is false; what the process
 * knows stays valid. */
typedef void (*membership_fn)(void *arg, const struct membership_state *state);

struct membership;
struct heartbeat_response;

struct membership_identity {
    struct ria_uuid process_uuid;
    int64_t incarnation;
    process_role role;
    char address[RIA_ADDRESS_MAX + 1]; /* "" = does not listen */
    char rack[RIA_TOPIC_NAME_MAX + 1];
};

/* Borrows env and cluster (for the coordinator's address, and for the version hint of each answer);
 * copies identity. A storage node gives its node id with membership_set_node_id() once it is
 * registered; until then it does not heartbeat. fn may be NULL. Errors: RIA_ERR_NOMEM. */
ria_err membership_new(
    const struct ria_env *env,
    struct cluster *cluster,
    const struct membership_identity *identity,
    membership_fn fn,
    void *arg,
    struct membership **out_membership
) RIA_MUST_USE;
/* Accepts NULL. Before the cluster is freed. */
void membership_free(struct membership *membership);
void membership_start(struct membership *membership);

/* Ask before each heartbeat whether this node has no room for another replica. */
void membership_ask_full(struct membership *membership, bool (*is_full)(void *arg), void *arg);

/* Called with each answer, which it borrows. */
typedef void (*membership_answer_fn)(void *arg, const struct heartbeat_response *response);
void membership_on_answer(struct membership *membership, membership_answer_fn fn, void *arg);

/* A worker ends: one last heartbeat says so, and its leases are given to others at once. *out_done
 * becomes true when the coordinator has answered, or will not within half a second: then the others
 * find out as after a death. No other heartbeat follows, and the state changes no more. Call it
 * once; out_done is borrowed until then. */
void membership_leave(struct membership *membership, bool *out_done);

/* A storage node does before it is registered. */
void membership_set_incarnation(struct membership *membership, int64_t incarnation);

/* Registration succeeded: registered becomes true (without a call of fn), and false only by an
 * answer to a heartbeat that was sent after this. */
void membership_set_node_id(struct membership *membership, int32_t node_id);

/* What fn was last told, or would be. */
const struct membership_state *membership_state(const struct membership *membership);
