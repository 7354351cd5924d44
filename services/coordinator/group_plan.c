/* The plan of a group's members: made from the rows, written into the rows. */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/coordinator/apply_groups.h"
#include "services/coordinator/assignment.h"
#include "services/coordinator/member_row.h"

enum { OWNER_NONE = -1, OWNER_GONE = -2 };

/* That a member subscribes to a topic. */
struct interest {
    struct ria_uuid topic_id;
    uint32_t member;
};

struct plan_topic {
    struct ria_uuid id;
    int32_t *written; /* by partition: what the row says; OWNER_GONE: one who is no member of it */
};

struct plan {
    struct group_call *call;
    struct ria_slice *names; /* of members, ascending */
    uint32_t name_count;
    struct interest *interests; /* ascending by topic and member */
    uint32_t interest_count;
    struct plan_topic *topics;
    struct assignment_topic *shares; /* of the topics */
    uint32_t topic_count;
    bool moved;
};

static int compare_uuids(const struct ria_uuid *a, const struct ria_uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static int compare_names(struct ria_slice a, struct ria_slice b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);

    return order != 0 ? order : a.size < b.size ? -1 : a.size > b.size ? 1 : 0;
}

static int compare_interests(const void *a, const void *b)
{
    const struct interest *x = a;
    const struct interest *y = b;
    int order = compare_uuids(&x->topic_id, &y->topic_id);

    return order != 0 ? order : x->member < y->member ? -1 : x->member > y->member ? 1 : 0;
}

/* ---- reading ---- */

static ria_err read_interests(struct plan *plan)
{
    bool ok = true;
    struct ria_slice *last = NULL; /* of names */
    struct ria_arena *arena = plan->call->arena;
    struct rows names = rows_of(arena, sizeof(struct ria_slice));
    struct rows interests = rows_of(arena, sizeof(struct interest));
    struct meta_stmt *stmt = meta_query(plan->call->db, META_GROUP_SUBSCRIPTIONS_PLANNED);

    meta_bind_int(stmt, 1, plan->call->group.id);
    while (ok && meta_step(stmt)) {
        struct ria_slice name = meta_column_text(stmt, 0);
        if (last == NULL || !ria_slice_equal(*last, name)) {
            last = rows_add(&names);
            ok = last != NULL && rows_copy_text(arena, name, last);
        }
        struct interest *interest = ok ? rows_add(&interests) : NULL;
        ok = interest != NULL;
        if (ok) {
            interest->topic_id = meta_column_uuid(stmt, 1);
            interest->member = names.count - 1;
        }
    }
    meta_done(stmt);
    plan->names = names.items;
    plan->name_count = names.count;
    plan->interests = interests.items;
    plan->interest_count = interests.count;
    if (interests.count > 0) {
        qsort(plan->interests, interests.count, sizeof(*plan->interests), compare_interests);
    }
    return ok ? RIA_OK : ria_arena_err(arena);
}

/* The topic of the interests [first, end). */
static ria_err add_topic(struct plan *plan, uint32_t first, uint32_t end)
{
    struct ria_arena *arena = plan->call->arena;
    struct plan_topic *topic = &plan->topics[plan->topic_count];
    struct assignment_topic *share = &plan->shares[plan->topic_count];
    int32_t partitions = 0;
    uint32_t *members = ria_arena_alloc_array(arena, end - first, sizeof(*members));

    topic->id = plan->interests[first].topic_id;
    RIA_TRY(group_check_topic(plan->call, "subscribed topic", &topic->id, &partitions));
    topic->written = ria_arena_alloc_array(arena, (size_t)partitions, sizeof(int32_t));
    share->owners = ria_arena_alloc_array(arena, (size_t)partitions, sizeof(int32_t));
    if (members == NULL || topic->written == NULL || share->owners == NULL) {
        return ria_arena_err(arena);
    }
    for (int32_t i = 0; i < partitions; i++) {
        topic->written[i] = OWNER_NONE;
        share->owners[i] = -1;
    }
    for (uint32_t i = first; i < end; i++) {
        members[i - first] = plan->interests[i].member;
    }
    share->partition_count = (uint32_t)partitions;
    share->members = members;
    share->member_count = end - first;
    plan->topic_count++;
    return RIA_OK;
}

static ria_err add_topics(struct plan *plan)
{
    struct ria_arena *arena = plan->call->arena;
    uint32_t most = plan->interest_count;

    plan->topics = ria_arena_alloc_array(arena, most, sizeof(*plan->topics));
    plan->shares = ria_arena_alloc_array(arena, most, sizeof(*plan->shares));
    if (plan->topics == NULL || plan->shares == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t first = 0; first < most;) {
        uint32_t end = first + 1;
        while (end < most &&
               ria_uuid_equal(plan->interests[end].topic_id, plan->interests[first].topic_id)) {
            end++;
        }
        RIA_TRY(add_topic(plan, first, end));
        first = end;
    }
    return RIA_OK;
}

static int compare_topic(const void *key, const void *item)
{
    return compare_uuids(key, &((const struct plan_topic *)item)->id);
}

/* Partitions of topics that nobody subscribes to any more. */
struct stray {
    struct ria_uuid topic_id;
    int32_t partition;
};

static ria_err read_owners(struct plan *plan, struct rows *strays)
{
    bool ok = true;
    uint32_t member = 0;
    struct meta_stmt *stmt = meta_query(plan->call->db, META_GROUP_PARTITIONS_PLANNED);

    meta_bind_int(stmt, 1, plan->call->group.id);
    while (ok && meta_step(stmt)) {
        struct ria_slice name = meta_column_text(stmt, 0);
        struct ria_uuid topic_id = meta_column_uuid(stmt, 1);
        int32_t partition = (int32_t)meta_column_int(stmt, 2);
        while (member < plan->name_count && compare_names(plan->names[member], name) < 0) {
            member++; /* both ascend */
        }
        bool is_member = member < plan->name_count && ria_slice_equal(plan->names[member], name);
        struct plan_topic *topic = plan->topic_count == 0 ? NULL
                                                          : bsearch(
                                                                &topic_id,
                                                                plan->topics,
                                                                plan->topic_count,
                                                                sizeof(*plan->topics),
                                                                compare_topic
                                                            );
        if (topic != NULL) {
            topic->written[partition] = is_member ? (int32_t)member : OWNER_GONE;
            plan->shares[topic - plan->topics].owners[partition] = is_member ? (int32_t)member : -1;
        } else {
            struct stray *stray = rows_add(strays);
            ok = stray != NULL;
            if (ok) {
                *stray = (struct stray){.topic_id = topic_id, .partition = partition};
            }
        }
    }
    meta_done(stmt);
    return ok ? RIA_OK : ria_arena_err(strays->arena);
}

/* ---- writing ---- */

static ria_err set_member(
    struct plan *plan, const struct ria_uuid *topic_id, int32_t partition, struct ria_slice member
)
{
    struct meta_stmt *stmt = meta_query(plan->call->db, META_GROUP_PARTITION_SET_MEMBER);

    meta_bind_int(stmt, 1, plan->call->group.id);
    meta_bind_uuid(stmt, 2, topic_id);
    meta_bind_int(stmt, 3, partition);
    meta_bind_text(stmt, 4, member);
    plan->moved = true;
    return meta_run(stmt);
}

static ria_err write_owners(struct plan *plan, const struct rows *strays)
{
    for (uint32_t i = 0; i < strays->count; i++) {
        const struct stray *stray = (const struct stray *)strays->items + i;
        RIA_TRY(set_member(plan, &stray->topic_id, stray->partition, RIA_SLICE_EMPTY));
    }
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        const struct assignment_topic *share = &plan->shares[i];
        for (uint32_t p = 0; p < share->partition_count; p++) {
            int32_t owner = share->owners[p];
            if (owner != plan->topics[i].written[p]) {
                RIA_TRY(set_member(
                    plan,
                    &plan->topics[i].id,
                    (int32_t)p,
                    owner < 0 ? RIA_SLICE_EMPTY : plan->names[owner]
                ));
            }
        }
    }
    return RIA_OK;
}

ria_err group_plan(struct group_call *call)
{
    struct plan plan = {.call = call};
    struct rows strays = rows_of(call->arena, sizeof(struct stray));

    RIA_TRY(read_interests(&plan));
    RIA_TRY(add_topics(&plan));
    RIA_TRY(read_owners(&plan, &strays));
    RIA_TRY(assignment_plan(plan.shares, plan.topic_count, plan.name_count, call->arena));
    RIA_TRY(write_owners(&plan, &strays));
    if (plan.moved) {
        call->group.generation++;
        group_changed(call);
    }
    return RIA_OK;
}
