/* Operations of people on groups: GroupDelete. */
#include <inttypes.h>

#include "schemas/gen/group_delete.h"

#include "services/coordinator/apply_groups.h"

/* ---- GroupDelete ---- */

/* CONFLICT while a member lives or a lease is out. */
static ria_err check_unused(struct group_call *call)
{
    struct meta_stmt *stmt = meta_query(call->db, META_GROUP_IN_USE);

    meta_bind_int(stmt, 1, call->group.id);
    meta_bind_int(stmt, 2, call->now_ms);
    bool found = meta_step(stmt);
    bool members = found && meta_column_int(stmt, 0) != 0;
    bool leases = found && meta_column_int(stmt, 1) != 0;
    meta_done(stmt);
    if (members || leases) {
        return apply_fail(
            call->apply,
            RIA_ERR_CONFLICT,
            "group \"" RIA_SLICE_FMT "\" is in use: %s; stop its consumers, wait, or use force",
            RIA_SLICE_ARG(call->group.name),
            members ? "it has living members" : "leases are out"
        );
    }
    return RIA_OK;
}

ria_err apply_group_delete(struct group_call *call, const void *body, void *result)
{
    static const meta_sql deletes[] = {
        META_GROUP_RANGES_DELETE,
        META_GROUP_PARTITIONS_DELETE,
        META_GROUP_SUBSCRIPTIONS_DELETE,
        META_GROUP_MEMBERS_DELETE,
        META_GROUP_DELETE,
    };
    const struct group_delete *r = body;
    struct group_counters *counters = call->counters;

    (void)result;
    RIA_TRY(group_find(call, r->group));
    if (!r->force) {
        RIA_TRY(check_unused(call));
    }
    for (size_t i = 0; i < RIA_COUNT(deletes); i++) {
        struct meta_stmt *stmt = meta_query(call->db, deletes[i]);
        meta_bind_int(stmt, 1, call->group.id);
        RIA_TRY(meta_run(stmt));
    }
    counters->group_count--;
    counters->lease_floor = ria_max_i64(counters->lease_floor, call->group.next_lease);
    counters->lease_floor = ria_max_i64(counters->lease_floor, call->group.changed + 1);
    call->deleted = true;
    return RIA_OK;
}
