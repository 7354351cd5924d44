/* client: what a gateway has of the cluster: its metadata, and calls that are answered with a
 * decoded response. Producers and readers share one per node.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/slice.h"

#include "services/shared/cluster.h"
#include "services/shared/membership.h"
#include "tests/sim/plan.h"

struct client {
    const struct ria_env *env;
    struct cluster *cluster;
    struct membership *membership; /* its answers say that there is newer metadata */
};

/* Begins to pull metadata and to heartbeat. Borrows env. Out of memory aborts. */
struct client *client_new(const struct ria_env *env, const char *coordinator);
/* Every call has ended. Accepts NULL. */
void client_free(struct client *client);

/* response (of the api's type) and payload are valid for the callback, only with RIA_OK. err is the
 * network's or the remote handler's. */
typedef void (*client_done_fn
)(void *arg, ria_err err, const void *response, struct ria_slice payload);

void client_call(
    struct client *client,
    const char *address,
    int16_t api_key,
    const void *request,
    struct ria_slice payload,
    uint32_t timeout_ms,
    client_done_fn done,
    void *arg
);

/* The metadata says that the topic was deleted. */
bool client_is_deleted(const struct client *client, const struct ria_uuid *topic_id);

/* Where the partition's leader is. False: not known. */
bool client_find_leader(
    const struct client *client,
    const struct ria_uuid *topic_id,
    int32_t partition,
    const char **out_address,
    int32_t *out_leader_epoch
);

/* Whether a client must live with this answer while nothing worse happens than this plan does. */
bool client_expects(const struct plan *plan, ria_err err);
