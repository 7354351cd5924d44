/* WatchGroups: which of these groups have changed; parks while none has. */
#include "services/coordinator/coordinator.h"
#include "services/coordinator/group_waits.h"
#include "services/coordinator/rows.h"

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

/* The change number as it is, -1 = there is no such group. */
static int64_t changed_now(struct coordinator *coordinator, struct ria_slice group)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_GROUP_CHANGED);

    meta_bind_text(stmt, 1, group);
    int64_t changed = meta_step(stmt) ? meta_column_int(stmt, 0) : -1;
    meta_done(stmt);
    return changed;
}

/* Those that have changed already. */
static ria_err look(
    struct coordinator *coordinator,
    const struct watch_groups_request *request,
    struct watch_groups_response *out_response
)
{
    struct rows rows =
        rows_of(&coordinator->arena, sizeof(struct watch_groups_response_watched_group));

    for (uint32_t i = 0; i < request->groups_count; i++) {
        int64_t changed = changed_now(coordinator, request->groups[i].group);
        if (changed != -1 && changed <= request->groups[i].changed) {
            continue;
        }
        struct watch_groups_response_watched_group *group = rows_add(&rows);
        if (group == NULL) {
            return ria_arena_err(&coordinator->arena);
        }
        group->group = request->groups[i].group;
        group->changed = changed;
    }
    out_response->groups = rows.items;
    out_response->groups_count = rows.count;
    return RIA_OK;
}

void handle_watch_groups(struct coordinator *coordinator, const struct coordinator_call *call)
{
    struct watch_groups_request request;
    struct watch_groups_response response;

    if (!coordinator_decode(coordinator, call, &request)) {
        return;
    }
    group_waits_end(coordinator->group_waits, request.watch_id);
    watch_groups_response_init(&response);
    ria_err err = look(coordinator, &request, &response);
    if (err != RIA_OK) {
        coordinator_refuse(coordinator, call, err, "%s", ria_err_text(err));
        return;
    }
    if (response.groups_count > 0 || request.wait_ms <= 0) {
        coordinator_reply(coordinator, call, &response);
        return;
    }
    err = group_waits_add(coordinator->group_waits, call->request, &call->header, &request);
    if (err != RIA_OK) {
        coordinator_refuse(coordinator, call, err, "too many WatchGroups requests wait");
    }
}
