/* cluster_view: the data of a cluster's view and how a Metadata reply is merged into it. Only for
 * cluster.c.
 *
 * Pure: no clock, no network, no log. Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/list.h"
#include "common/map.h"
#include "common/uuid.h"

#include "schemas/gen/metadata_response.h"

#include "services/shared/cluster.h"

enum { CLUSTER_VIEW_REASON_SIZE = 256 };

struct cluster_view {
    int64_t version; /* 0 = nothing merged yet */
    struct ria_uuid cluster_id;
    struct ria_map nodes;              /* id -> struct cluster_node */
    struct ria_map topics;             /* id -> struct cluster_topic */
    struct ria_map topics_by_name;     /* those that are not deleted */
    struct ria_map transforms;         /* id -> struct cluster_transform */
    struct ria_map transforms_by_name; /* those that are not deleted */
    struct ria_list topic_list;
    struct ria_list transform_list;
};

void cluster_view_init(struct cluster_view *view);
void cluster_view_fini(struct cluster_view *view);

/* Borrows response. After an error some of it may have been merged, but the version has not
 * changed: merging the same again is harmless. reason (CLUSTER_VIEW_REASON_SIZE bytes) gets a
 * sentence, also on RIA_OK if something was not understood (otherwise ""). Errors:
 * RIA_ERR_WRONG_CLUSTER, RIA_ERR_CONFLICT (older than the view), RIA_ERR_INVALID, RIA_ERR_NOMEM. */
ria_err cluster_view_merge(
    struct cluster_view *view, const struct metadata_response *response, char *reason
) RIA_MUST_USE;

/* Call the callbacks for everything a merged response names. */
void cluster_view_announce(
    const struct cluster_view *view,
    const struct metadata_response *response,
    const struct cluster_callbacks *callbacks,
    void *arg
);
