/* Members of a group, and the operations GroupMember and GroupLeave. */
#include <inttypes.h>

#include "common/assert.h"
#include "common/map.h"

#include "schemas/gen/group_leave.h"
#include "schemas/gen/group_leave_result.h"
#include "schemas/gen/group_member.h"
#include "schemas/gen/group_member_result.h"

#include "services/coordinator/apply_groups.h"

/* ---- leases of those who go ---- */

/* End those leases of a statement's rows that lost() picks. */
static ria_err end_leases(
    struct group_call *call,
    struct meta_stmt *stmt,
    bool (*lost)(struct group_call *call, const struct group_partition *row)
)
{
    struct group_partition *rows = NULL;
    uint32_t count = 0;

    RIA_TRY(group_partitions_take(stmt, call->arena, &rows, &count));
    for (uint32_t i = 0; i < count; i++) {
        if (lost == NULL || lost(call, &rows[i])) {
            group_end_lease(call, &rows[i]);
        }
    }
    return group_write_partitions(call, rows, count);
}

static ria_err end_leases_of(struct group_call *call, struct ria_slice name)
{
    struct meta_stmt *stmt = meta_query(call->db, META_GROUP_PARTITIONS_OF_HOLDER);

    meta_bind_int(stmt, 1, call->group.id);
    meta_bind_text(stmt, 2, name);
    return end_leases(call, stmt, NULL);
}

/* Neither the plan nor its own choice gives the partition to the holder. */
static bool is_not_the_holders(struct group_call *call, const struct group_partition *row)
{
    if (ria_slice_equal(row->member, row->holder)) {
        return false;
    }
    struct meta_stmt *stmt = meta_query(call->db, META_GROUP_SUBSCRIPTION_COUNT);
    meta_bind_int(stmt, 1, call->group.id);
    meta_bind_text(stmt, 2, row->holder);
    meta_bind_uuid(stmt, 3, &row->topic_id);
    meta_bind_int(stmt, 4, row->partition);
    bool found = meta_step(stmt);
    RIA_ASSERT(found);
    bool chosen = meta_column_int(stmt, 0) > 0;
    meta_done(stmt);
    return !chosen;
}

static bool is_of_nobody(struct group_call *call, const struct group_partition *row)
{
    struct member_row member;

    return !member_row_read(call->db, call->group.id, row->holder, &member);
}

/* End those held leases that lost() picks. */
static ria_err end_held_leases(
    struct group_call *call,
    bool (*lost)(struct group_call *call, const struct group_partition *row)
)
{
    struct meta_stmt *stmt = meta_query(call->db, META_GROUP_PARTITIONS_HELD);

    meta_bind_int(stmt, 1, call->group.id);
    return end_leases(call, stmt, lost);
}

ria_err group_settle_members(struct group_call *call)
{
    if (!call->members_moved) {
        return RIA_OK;
    }
    call->members_moved = false;
    RIA_TRY(group_plan(call));
    return end_held_leases(call, is_not_the_holders);
}

/* ---- members ---- */

static ria_err remove_member(struct group_call *call, struct ria_slice name)
{
    call->group.member_count--;
    call->members_moved = true;
    group_changed(call); /* a lone member may have kept others out */
    return member_row_delete(call->db, call->group.id, name);
}

ria_err group_expire_members(struct group_call *call)
{
    struct ria_slice *names = NULL;
    uint32_t count = 0;

    if (call->group.member_count == 0) {
        return RIA_OK;
    }
    RIA_TRY(members_expired(call->db, call->group.id, call->now_ms, call->arena, &names, &count));
    for (uint32_t i = 0; i < count; i++) {
        RIA_TRY(remove_member(call, names[i]));
    }
    /* At once: one of the same name may come in this very operation, which the plan then cannot
     * tell from the former. */
    return count == 0 ? RIA_OK : end_held_leases(call, is_of_nobody);
}

int32_t group_next_epoch(struct group_call *call)
{
    return (int32_t)(group_row_next_lease(&call->group) & INT32_MAX);
}

ria_err group_get_member(
    struct group_call *call, struct ria_slice name, int32_t epoch, struct member_row *out_row
)
{
    RIA_TRY(group_check_name(call, "member", name));
    if (!member_row_read(call->db, call->group.id, name, out_row)) {
        return apply_fail(
            call->apply,
            RIA_ERR_NOT_FOUND,
            "member \"" RIA_SLICE_FMT "\" does not exist: it has left, or its session has ended",
            RIA_SLICE_ARG(name)
        );
    }
    if (epoch != -1 && epoch != out_row->epoch) {
        return apply_fail(
            call->apply,
            RIA_ERR_FENCED_EPOCH,
            "memberEpoch is %" PRId32 ", member \"" RIA_SLICE_FMT
            "\" was taken over or made anew and has %" PRId32,
            epoch,
            RIA_SLICE_ARG(name),
            out_row->epoch
        );
    }
    return RIA_OK;
}

ria_err group_touch_member(struct group_call *call, struct member_row *row)
{
    row->deadline = call->now_ms + row->session_ms;
    return member_row_write(call->db, call->group.id, row);
}

ria_err group_add_member(struct group_call *call, const struct member_row *row)
{
    if (call->group.member_count >= GROUP_MEMBERS_MAX) {
        return apply_fail(
            call->apply,
            RIA_ERR_LIMIT,
            "group \"" RIA_SLICE_FMT "\" has %d members, its limit",
            RIA_SLICE_ARG(call->group.name),
            GROUP_MEMBERS_MAX
        );
    }
    call->group.member_count++;
    return member_row_insert(call->db, call->group.id, row);
}

/* ---- what they read ---- */

ria_err group_check_topics(
    struct group_call *call,
    const char *field,
    const struct ria_uuid *topics,
    uint32_t count,
    int32_t *out_partition_counts
)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < count; i++) {
        int32_t partitions = 0;
        RIA_TRY(group_check_topic(call, field, &topics[i], &partitions));
        for (uint32_t k = 0; k < i; k++) {
            if (ria_uuid_equal(topics[k], topics[i])) {
                return apply_fail(
                    call->apply, RIA_ERR_INVALID, "%s has the same topic twice", field
                );
            }
        }
        out_partition_counts[i] = partitions;
        sum += partitions;
    }
    if (sum > GROUP_PARTITIONS_MAX) {
        return apply_fail(
            call->apply,
            RIA_ERR_INVALID,
            "%s has %" PRId64 " partitions together, must have at most %d",
            field,
            sum,
            GROUP_PARTITIONS_MAX
        );
    }
    return RIA_OK;
}

static bool is_subscribed(
    const struct subscription_row *rows, uint32_t rows_count, const struct ria_uuid *topic_id
)
{
    for (uint32_t i = 0; i < rows_count; i++) {
        if (rows[i].partition == SUBSCRIPTION_PLANNED &&
            ria_uuid_equal(rows[i].topic_id, *topic_id)) {
            return true;
        }
    }
    return false;
}

ria_err group_subscribe(
    struct group_call *call, struct member_row *row, const struct ria_uuid *topics, uint32_t count
)
{
    struct subscription_row *old = NULL;
    uint32_t old_count = 0;

    RIA_TRY(subscriptions_read(call->db, call->group.id, row->name, call->arena, &old, &old_count));
    bool same = old_count == count && !row->chosen;
    for (uint32_t i = 0; i < count && same; i++) {
        same = is_subscribed(old, old_count, &topics[i]);
    }
    if (same) {
        return RIA_OK;
    }
    struct subscription_row *rows = ria_arena_alloc_array(call->arena, count, sizeof(*rows));
    if (rows == NULL) {
        return ria_arena_err(call->arena);
    }
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = (struct subscription_row){topics[i], SUBSCRIPTION_PLANNED};
    }
    row->chosen = false;
    call->members_moved = true;
    return subscriptions_write(call->db, call->group.id, row->name, rows, count);
}

/* The member's own choice in place of a subscription. */
static ria_err
choose_partitions(struct group_call *call, struct member_row *row, const struct group_member *r)
{
    int32_t partitions = 0;
    struct subscription_row *rows =
        ria_arena_alloc_array(call->arena, r->assignment_count, sizeof(*rows));

    if (rows == NULL) {
        return ria_arena_err(call->arena);
    }
    for (uint32_t i = 0; i < r->assignment_count; i++) {
        const struct group_member_group_choice *choice = &r->assignment[i];
        if (i == 0 || !ria_uuid_equal(choice->topic_id, r->assignment[i - 1].topic_id)) {
            RIA_TRY(group_check_topic(call, "assignment", &choice->topic_id, &partitions));
        }
        RIA_TRY(group_check_partition(call, "assignment", choice->partition, partitions));
        rows[i] = (struct subscription_row){choice->topic_id, choice->partition};
    }
    row->chosen = r->assignment_count > 0;
    call->members_moved = true;
    ria_err err =
        subscriptions_write(call->db, call->group.id, row->name, rows, r->assignment_count);
    return err == RIA_ERR_CONFLICT
               ? apply_fail(call->apply, RIA_ERR_INVALID, "assignment has the same partition twice")
               : err;
}

/* ---- GroupMember ---- */

static ria_err check_member_request(struct group_call *call, const struct group_member *r)
{
    RIA_TRY(group_check_name(call, "member", r->member));
    RIA_TRY(apply_check_range(
        call->apply, "sessionMs", r->session_ms, GROUP_LEASE_MS_MIN, GROUP_LEASE_MS_MAX
    ));
    if (r->subscription != NULL && r->assignment != NULL) {
        return apply_fail(
            call->apply, RIA_ERR_INVALID, "subscription and assignment exclude each other"
        );
    }
    return RIA_OK;
}

/* A new one, or the next life of one that lives: whatever the former has is void. */
static ria_err
make_member(struct group_call *call, const struct group_member *r, struct member_row *out_row)
{
    bool lives = member_row_read(call->db, call->group.id, r->member, out_row);

    if (lives && r->must_be_new) {
        return apply_fail(
            call->apply,
            RIA_ERR_CONFLICT,
            "member \"" RIA_SLICE_FMT "\" lives already",
            RIA_SLICE_ARG(r->member)
        );
    }
    if (!lives) {
        *out_row = (struct member_row){.name = r->member};
    }
    out_row->kind = MEMBER_MADE;
    out_row->epoch = group_next_epoch(call);
    out_row->session_ms = r->session_ms;
    out_row->deadline = call->now_ms + r->session_ms;
    return lives ? end_leases_of(call, r->member) : group_add_member(call, out_row);
}

/* Whoever changes it knew it as it is. */
static ria_err
check_detail(struct group_call *call, const struct group_member *r, bool *out_is_expected)
{
    struct ria_slice detail = RIA_SLICE_NULL;

    *out_is_expected = true;
    if (r->detail_hash != 0) {
        RIA_TRY(member_detail_read(call->db, call->group.id, r->member, call->arena, &detail));
        *out_is_expected = (int64_t)ria_hash_bytes(detail.data, detail.size) == r->detail_hash;
    }
    return RIA_OK;
}

static ria_err
write_member(struct group_call *call, const struct group_member *r, struct member_row *row)
{
    int32_t counts[64]; /* as the schema says */

    if (r->detail.data != NULL) {
        RIA_TRY(member_detail_write(call->db, call->group.id, r->member, r->detail));
    }
    if (r->subscription != NULL) {
        RIA_ASSERT(r->subscription_count <= RIA_COUNT(counts));
        RIA_TRY(
            group_check_topics(call, "subscription", r->subscription, r->subscription_count, counts)
        );
        RIA_TRY(group_subscribe(call, row, r->subscription, r->subscription_count));
    }
    return r->assignment != NULL ? choose_partitions(call, row, r) : RIA_OK;
}

static ria_err
change_member(struct group_call *call, const struct group_member *r, struct member_row *row)
{
    bool is_expected = false;

    RIA_TRY(check_detail(call, r, &is_expected));
    if (is_expected) {
        RIA_TRY(write_member(call, r, row));
    }
    row->session_ms = r->session_ms;
    RIA_TRY(group_touch_member(call, row));
    return group_settle_members(call);
}

static ria_err tell_planned(
    struct group_call *call, const struct member_row *row, struct group_member_result *result
)
{
    struct group_partition *rows = NULL;
    uint32_t count = 0;
    struct meta_stmt *stmt = meta_query(call->db, META_GROUP_PARTITIONS_OF_MEMBER);

    meta_bind_int(stmt, 1, call->group.id);
    meta_bind_text(stmt, 2, row->name);
    RIA_TRY(group_partitions_take(stmt, call->arena, &rows, &count));
    result->assignment = ria_arena_alloc_array(call->arena, count, sizeof(*result->assignment));
    if (result->assignment == NULL) {
        return ria_arena_err(call->arena);
    }
    for (uint32_t i = 0; i < count; i++) {
        result->assignment[i].topic_id = rows[i].topic_id;
        result->assignment[i].partition = rows[i].partition;
    }
    /* The topics may have grown since they were subscribed to. */
    result->assignment_count = (uint32_t)ria_min_i64(count, GROUP_PARTITIONS_MAX);
    return RIA_OK;
}

/* The member as it is, with what it reads. */
static ria_err tell_member(
    struct group_call *call, const struct member_row *row, struct group_member_result *result
)
{
    struct subscription_row *rows = NULL;
    uint32_t count = 0;

    result->member_epoch = row->epoch;
    result->generation = call->group.generation;
    RIA_TRY(member_detail_read(call->db, call->group.id, row->name, call->arena, &result->detail));
    RIA_TRY(subscriptions_read(call->db, call->group.id, row->name, call->arena, &rows, &count));
    result->subscription = ria_arena_alloc_array(call->arena, count, sizeof(*result->subscription));
    result->assignment = ria_arena_alloc_array(call->arena, count, sizeof(*result->assignment));
    if (result->subscription == NULL || result->assignment == NULL) {
        return ria_arena_err(call->arena);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].partition == SUBSCRIPTION_PLANNED) {
            result->subscription[result->subscription_count++] = rows[i].topic_id;
        } else {
            result->assignment[result->assignment_count].topic_id = rows[i].topic_id;
            result->assignment[result->assignment_count++].partition = rows[i].partition;
        }
    }
    return row->chosen ? RIA_OK : tell_planned(call, row, result);
}

ria_err apply_group_member(struct group_call *call, const void *body, void *result)
{
    const struct group_member *r = body;
    struct member_row row;

    RIA_TRY(check_member_request(call, r));
    if (r->make) {
        RIA_TRY(group_find_or_make(call, r->group, GROUP_STREAM, NULL));
        RIA_TRY(group_expire_members(call));
        RIA_TRY(make_member(call, r, &row));
    } else {
        RIA_TRY(group_find_mode(call, r->group, GROUP_STREAM));
        RIA_TRY(group_expire_members(call));
        RIA_TRY(group_get_member(call, r->member, r->member_epoch, &row));
    }
    RIA_TRY(change_member(call, r, &row));
    return tell_member(call, &row, result);
}

/* ---- GroupLeave ---- */

ria_err apply_group_leave(struct group_call *call, const void *body, void *result)
{
    const struct group_leave *r = body;
    struct group_leave_result *response = result;
    struct member_row row;

    RIA_TRY(group_find_mode(call, r->group, GROUP_STREAM));
    RIA_TRY(group_expire_members(call));
    RIA_TRY(group_settle_members(call));
    RIA_TRY(group_get_member(call, r->member, r->member_epoch, &row));
    if (r->commit_delivered) {
        RIA_TRY(group_commit_delivered(call, r->member));
    }
    RIA_TRY(end_leases_of(call, r->member));
    RIA_TRY(remove_member(call, r->member));
    RIA_TRY(group_settle_members(call));
    response->changed = call->group.changed;
    return RIA_OK;
}
