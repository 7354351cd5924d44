/* Operations of people on groups, of both modes: GroupReset, GroupDelete. */
#include <inttypes.h>

#include "common/assert.h"

#include "schemas/gen/group_delete.h"
#include "schemas/gen/group_reset.h"
#include "schemas/gen/group_reset_result.h"

#include "services/coordinator/apply_groups.h"

/* ---- GroupReset ---- */

typedef struct group_reset_group_reset_entry reset_entry;

static struct meta_stmt *
query_of_entry(struct group_call *call, meta_sql sql, const reset_entry *entry)
{
    struct meta_stmt *stmt = meta_query(call->db, sql);

    meta_bind_int(stmt, 1, call->group.id);
    meta_bind_uuid(stmt, 2, &entry->topic_id);
    meta_bind_int(stmt, 3, entry->partition);
    return stmt;
}

/* Has anybody a lock on a record of the partition of a queue? */
static bool is_locked(struct group_call *call, const reset_entry *entry)
{
    struct meta_stmt *stmt = query_of_entry(call, META_GROUP_PARTITION_LOCKED, entry);

    meta_bind_int(stmt, 4, call->now_ms);
    bool found = meta_step(stmt);
    RIA_ASSERT(found);
    bool locked = meta_column_int(stmt, 0) != 0;
    meta_done(stmt);
    return locked;
}

/* Its name for people; it was checked that it is there. */
static struct ria_slice topic_name_of(const struct group_call *call, const struct ria_uuid *id)
{
    struct ria_slice name = RIA_SLICE_LITERAL("?");
    struct meta_stmt *stmt = meta_query(call->db, META_TOPIC_NAME);

    meta_bind_uuid(stmt, 1, id);
    if (meta_step(stmt)) {
        const char *copy = ria_arena_strdup(call->arena, meta_column_text(stmt, 0));
        name = copy == NULL ? name : ria_slice_cstr(copy);
    }
    meta_done(stmt);
    return name;
}

static ria_err check_not_leased(
    struct group_call *call, const reset_entry *entry, const struct group_partition *row
)
{
    bool leased = (row->lease_id != 0 || row->unsettled != 0) && row->deadline > call->now_ms;

    leased = leased || (call->group.mode == GROUP_QUEUE && is_locked(call, entry));
    if (!leased) {
        return RIA_OK;
    }
    struct ria_slice topic = topic_name_of(call, &entry->topic_id);
    return apply_fail(
        call->apply,
        RIA_ERR_CONFLICT,
        "partition %" PRId32 " of topic " RIA_SLICE_FMT " is leased%s" RIA_SLICE_FMT
        "%s: stop the consumers, wait, or use force",
        entry->partition,
        RIA_SLICE_ARG(topic),
        row->holder.size == 0 ? "" : " by \"",
        RIA_SLICE_ARG(row->holder),
        row->holder.size == 0 ? "" : "\""
    );
}

/* The partition of a queue has no rows from now on: those it had are left to SweepRanges. */
static ria_err leave_rows(struct group_call *call, const reset_entry *entry)
{
    RIA_TRY(meta_run(query_of_entry(call, META_LEFTOVERS_ADD_OF_PARTITION, entry)));
    struct meta_stmt *stmt = query_of_entry(call, META_QUEUE_SET_SPACE, entry);
    meta_bind_int(stmt, 4, call->counters->next_group_id++);
    return meta_run(stmt);
}

/* Whatever lease there was is void, be it past its deadline or not: a late commit must not undo
 * this. */
static ria_err
reset_partition(struct group_call *call, const reset_entry *entry, struct group_partition *row)
{
    group_end_lease(call, row);
    row->position = entry->offset;
    row->metadata = RIA_SLICE_EMPTY;
    row->metadata_set = true;
    if (call->group.mode == GROUP_QUEUE) {
        row->frontier = entry->offset;
        row->unsettled = 0;
        RIA_TRY(leave_rows(call, entry));
        row->row_count = 0;
    }
    return group_partition_write(call->db, call->group.id, row);
}

static ria_err reset_one(
    struct group_call *call,
    const struct group_reset *r,
    const reset_entry *entry,
    int64_t *out_position
)
{
    int32_t partitions = 0;
    struct group_partition row = group_partition_none(&entry->topic_id, entry->partition);

    RIA_TRY(group_check_topic(call, "topicId", &entry->topic_id, &partitions));
    RIA_TRY(group_check_partition(call, "partition", entry->partition, partitions));
    RIA_TRY(apply_check_range(call->apply, "offset", entry->offset, 0, INT64_MAX));
    if (call->open) {
        RIA_TRY(group_partition_read(
            call->db, call->group.id, &entry->topic_id, entry->partition, call->arena, &row
        ));
    }
    *out_position = row.position;
    if (!r->force) {
        RIA_TRY(check_not_leased(call, entry, &row));
    }
    return r->dry_run ? RIA_OK : reset_partition(call, entry, &row);
}

/* A dry run makes no group. */
static ria_err find_group_to_reset(struct group_call *call, const struct group_reset *r)
{
    ria_err err = group_find(call, r->group);

    if (err != RIA_ERR_NOT_FOUND || !r->create) {
        return err;
    }
    return r->dry_run ? RIA_OK : group_find_or_make(call, r->group, GROUP_STREAM, NULL);
}

ria_err apply_group_reset(struct group_call *call, const void *body, void *result)
{
    const struct group_reset *r = body;
    struct group_reset_result *response = result;

    RIA_TRY(find_group_to_reset(call, r));
    if (call->open) {
        RIA_TRY(group_expire_members(call));
        RIA_TRY(group_settle_members(call));
    }
    response->entries =
        ria_arena_alloc_array(call->arena, r->entries_count, sizeof(*response->entries));
    if (response->entries == NULL) {
        return ria_arena_err(call->arena);
    }
    response->entries_count = r->entries_count;
    for (uint32_t i = 0; i < r->entries_count; i++) {
        RIA_TRY(reset_one(call, r, &r->entries[i], &response->entries[i].position));
    }
    if (!r->dry_run) {
        group_changed(call);
    }
    response->changed = call->open ? call->group.changed : -1;
    return RIA_OK;
}

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
    static const meta_sql writes[] = {
        META_LEFTOVERS_ADD_OF_GROUP, /* by the partitions: before those */
        META_QUEUE_READS_DELETE,
        META_GROUP_PARTITIONS_DELETE,
        META_GROUP_SUBSCRIPTIONS_DELETE,
        META_GROUP_MEMBERS_DELETE,
        META_GROUP_DELETE,
    };
    const struct group_delete *r = body;
    struct group_counters *counters = call->counters;

    (void)result;
    RIA_TRY(group_find(call, r->group));
    RIA_TRY(group_expire_members(call)); /* their held leases are none */
    RIA_TRY(group_settle_members(call));
    if (!r->force) {
        RIA_TRY(check_unused(call));
    }
    for (size_t i = 0; i < RIA_COUNT(writes); i++) {
        struct meta_stmt *stmt = meta_query(call->db, writes[i]);
        meta_bind_int(stmt, 1, call->group.id);
        RIA_TRY(meta_run(stmt));
    }
    counters->group_count--;
    counters->lease_floor = ria_max_i64(counters->lease_floor, call->group.next_lease);
    counters->lease_floor = ria_max_i64(counters->lease_floor, call->group.changed + 1);
    call->deleted = true;
    return RIA_OK;
}
