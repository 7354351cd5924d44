/* Leases of stream groups, and the operation GroupCommit. */
#include <inttypes.h>

#include "common/assert.h"

#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_commit_result.h"

#include "services/coordinator/apply_groups.h"

/* ---- leases ---- */

bool group_lease_is_out(const struct group_call *call, const struct group_partition *row)
{
    return row->lease_id != 0 && row->deadline > call->now_ms;
}

void group_end_lease(struct group_call *call, struct group_partition *row)
{
    row->freed = row->freed || group_lease_is_out(call, row);
    row->lease_id = 0;
    row->holder = RIA_SLICE_EMPTY;
    row->deadline = 0;
    row->next = -1;
    row->touched = true;
}

void group_set_position(
    struct group_call *call, struct group_partition *row, int64_t offset, struct ria_slice metadata
)
{
    RIA_ASSERT(offset >= row->position);
    row->position = offset;
    row->committed_ms = call->time_ms;
    row->metadata = metadata;
    row->metadata_set = true;
    row->touched = true;
}

ria_err
group_write_partitions(struct group_call *call, struct group_partition *rows, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].touched) {
            RIA_TRY(group_partition_write(call->db, call->group.id, &rows[i]));
        }
        if (rows[i].freed) {
            group_changed(call);
        }
    }
    return RIA_OK;
}

ria_err group_commit_delivered(struct group_call *call, struct ria_slice member)
{
    struct group_partition *rows = NULL;
    uint32_t count = 0;
    struct meta_stmt *stmt = meta_query(call->db, META_GROUP_PARTITIONS_OF_HOLDER);

    meta_bind_int(stmt, 1, call->group.id);
    meta_bind_text(stmt, 2, member);
    RIA_TRY(group_partitions_take(stmt, call->arena, &rows, &count));
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].deadline == GROUP_HELD && rows[i].next > rows[i].position) {
            group_set_position(call, &rows[i], rows[i].next, RIA_SLICE_EMPTY);
        }
    }
    return group_write_partitions(call, rows, count);
}

/* ---- GroupCommit ---- */

typedef struct group_commit_group_commit_entry commit_entry;
typedef struct group_commit_result_group_committed committed;

struct committer {
    const struct group_commit *request;
    bool has_member;
    struct member_row member;
};

/* May this entry commit? The lease is the last one that was given, be it past its deadline or not;
 * or, without leases, nobody else has one. */
static ria_err check_lease(
    const struct group_call *call,
    const struct committer *committer,
    const commit_entry *entry,
    const struct group_partition *row
)
{
    if (!committer->request->free) {
        return entry->lease_id != 0 && entry->lease_id == row->lease_id ? RIA_OK : RIA_ERR_CONFLICT;
    }
    if (entry->lease_id != 0) {
        return RIA_ERR_INVALID;
    }
    bool own = committer->has_member && ria_slice_equal(row->holder, committer->member.name);
    return group_lease_is_out(call, row) && !own ? RIA_ERR_CONFLICT : RIA_OK;
}

static ria_err check_entry(
    struct group_call *call,
    const struct committer *committer,
    const commit_entry *entry,
    const struct group_partition *row
)
{
    int32_t partitions = 0;

    if (entry->offset < -1 || entry->delivered < -1) {
        return RIA_ERR_INVALID;
    }
    if (!row->stored) { /* what has a row has a topic */
        RIA_TRY(group_check_topic(call, "topicId", &entry->topic_id, &partitions));
        RIA_TRY(group_check_partition(call, "partition", entry->partition, partitions));
    }
    RIA_TRY(check_lease(call, committer, entry, row));
    if (entry->offset >= 0 && entry->offset < row->position) {
        return RIA_ERR_INVALID;
    }
    bool held = group_lease_is_out(call, row) && row->deadline == GROUP_HELD;
    return entry->delivered >= 0 && !held ? RIA_ERR_INVALID : RIA_OK;
}

/* What is left of the lease that is kept. One that is kept for no time is over for everybody else,
 * and may still commit until they have been given its records. */
static int64_t
keep_lease(struct group_call *call, const struct committer *committer, struct group_partition *row)
{
    if (row->deadline == GROUP_HELD) {
        return committer->has_member ? committer->member.deadline - call->now_ms : 0;
    }
    row->freed = row->freed || (committer->request->lease_ms == 0 && group_lease_is_out(call, row));
    row->deadline = call->now_ms + committer->request->lease_ms;
    row->touched = true;
    return committer->request->lease_ms;
}

static void commit_one(
    struct group_call *call,
    const struct committer *committer,
    const commit_entry *entry,
    struct group_partition *row,
    committed *out
)
{
    if (entry->offset >= 0) {
        group_set_position(call, row, entry->offset, entry->metadata);
    }
    if (entry->delivered >= 0) {
        row->next = entry->delivered;
        row->touched = true;
    }
    if (committer->request->free) {
        return;
    }
    if (entry->keep) {
        out->left_ms = keep_lease(call, committer, row);
    } else {
        group_end_lease(call, row);
    }
}

static ria_err commit_entry_of(
    struct group_call *call,
    const struct committer *committer,
    const commit_entry *entry,
    committed *out
)
{
    struct group_partition row;

    RIA_TRY(group_partition_read(
        call->db, call->group.id, &entry->topic_id, entry->partition, call->arena, &row
    ));
    ria_err err = check_entry(call, committer, entry, &row);
    /* It was done already, by this lease: the answer was lost, or a call was repeated. */
    if (err == RIA_ERR_CONFLICT && !committer->request->free && entry->offset >= 0 &&
        entry->offset == row.position && !entry->keep) {
        out->position = row.position;
        return RIA_OK;
    }
    if (err == RIA_OK) {
        commit_one(call, committer, entry, &row, out);
        RIA_TRY(group_write_partitions(call, &row, 1));
    }
    out->error_code = (int16_t)err;
    out->position = row.position;
    return RIA_OK;
}

static ria_err check_commit_request(struct group_call *call, const struct group_commit *r)
{
    bool any_kept = false;

    for (uint32_t i = 0; i < r->entries_count; i++) {
        any_kept = any_kept || r->entries[i].keep;
    }
    return any_kept && !r->free && r->lease_ms != 0
               ? apply_check_range(
                     call->apply, "leaseMs", r->lease_ms, GROUP_LEASE_MS_MIN, GROUP_LEASE_MS_MAX
                 )
               : RIA_OK;
}

/* Committing is a sign of life. One without an epoch may have gone meanwhile: its leases count. */
static ria_err
hear_member(struct group_call *call, const struct group_commit *r, struct committer *committer)
{
    if (r->member.size == 0) {
        return RIA_OK;
    }
    ria_err err = group_get_member(call, r->member, r->member_epoch, &committer->member);
    if (err == RIA_ERR_NOT_FOUND && r->member_epoch == -1) {
        return RIA_OK;
    }
    RIA_TRY(err);
    committer->has_member = true;
    return group_touch_member(call, &committer->member);
}

ria_err apply_group_commit(struct group_call *call, const void *body, void *result)
{
    const struct group_commit *r = body;
    struct group_commit_result *response = result;
    struct committer committer = {.request = r};

    RIA_TRY(check_commit_request(call, r));
    RIA_TRY(group_find_mode(call, r->group, GROUP_STREAM));
    RIA_TRY(group_expire_members(call));
    RIA_TRY(group_settle_members(call));
    RIA_TRY(hear_member(call, r, &committer));
    response->entries =
        ria_arena_alloc_array(call->arena, r->entries_count, sizeof(*response->entries));
    if (response->entries == NULL) {
        return ria_arena_err(call->arena);
    }
    response->entries_count = r->entries_count;
    for (uint32_t i = 0; i < r->entries_count; i++) {
        RIA_TRY(commit_entry_of(call, &committer, &r->entries[i], &response->entries[i]));
    }
    response->changed = call->group.changed;
    return RIA_OK;
}
