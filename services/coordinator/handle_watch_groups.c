/* WatchGroups: what of a watch has changed; parks while nothing has. */
#include "services/coordinator/coordinator.h"
#include "services/coordinator/group_waits.h"

void handle_watch_groups_unparked(
    void *arg,
    struct ria_rpc_request *request,
    const struct request_header *header,
    const struct watch_groups_response *response
)
{
    const struct coordinator_call call = {.request = request, .header = *header};

    coordinator_reply(arg, &call, response);
}

static int64_t changed_now(void *arg, struct ria_slice group)
{
    struct coordinator *coordinator = arg;
    struct meta_stmt *stmt = meta_query(coordinator->db, META_GROUP_CHANGED);

    meta_bind_text(stmt, 1, group);
    int64_t changed = meta_step(stmt) ? meta_column_int(stmt, 0) : -1;
    meta_done(stmt);
    return changed;
}

void handle_watch_groups(struct coordinator *coordinator, const struct coordinator_call *call)
{
    struct watch_groups_request request;

    if (!coordinator_decode(coordinator, call, &request)) {
        return;
    }
    ria_err err = group_waits_watch(
        coordinator->group_waits, call->request, &call->header, &request, changed_now, coordinator
    );
    if (err == RIA_ERR_CONFLICT) {
        coordinator_refuse(coordinator, call, err, "the watch must begin anew");
    } else if (err != RIA_OK) {
        coordinator_refuse(coordinator, call, err, "too many groups are watched");
    }
}
