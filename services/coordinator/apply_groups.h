/* apply_groups: what the operations on groups and queues share. Only for apply_groups.c,
 * apply_group_*.c and apply_queue_*.c.
 *
 * A GroupRequest is one command of many operations. Each runs in a savepoint of its own with memory
 * of its own, and is done or refused by itself: whatever a refused one wrote is undone, the others
 * stand. Rules of 010 that all of them keep:
 * - the only clock for leases and sessions is call->now_ms; a lease or member past its deadline is
 *   over, whatever its row says;
 * - call->group is written at the end of the operation if it differs from what was read;
 * - whoever frees something that another consumer may wait for calls group_changed().
 */
#pragma once

#include "services/coordinator/apply.h"
#include "services/coordinator/group_row.h"
#include "services/coordinator/member_row.h"

enum {
    GROUP_COUNT_MAX = 100000,  /* in the cluster. Rejected: LIMIT */
    GROUP_MEMBERS_MAX = 10000, /* of a group. Rejected: LIMIT */
    GROUP_NAME_MAX = 255,      /* bytes, of a group or member */
    GROUP_LEASE_MS_MIN = 1000, /* a lease, a lock, a session */
    GROUP_LEASE_MS_MAX = 12 * 60 * 60 * 1000,
    GROUP_PARTITIONS_MAX = 10000, /* of one consumer's topics together. Rejected: INVALID */
};

/* One operation. */
struct group_call {
    struct apply *apply;
    struct meta_db *db;
    struct ria_arena *arena; /* for the operation */
    int64_t now_ms;          /* lease clock */
    int64_t time_ms;         /* wall clock, for people */
    struct group_counters *counters;
    bool open;               /* group is there */
    bool deleted;            /* it was, until now */
    struct group_row group;  /* as it is to be */
    struct group_row before; /* as it was read or inserted */
    bool members_moved;      /* who is a member, or what one reads, is not what the plan is for */
};

/* ---- the group ---- */

/* INVALID unless it is 1 to 255 bytes of UTF-8 without control characters. */
ria_err
group_check_name(struct group_call *call, const char *field, struct ria_slice name) RIA_MUST_USE;

/* Find the group, of whatever mode. INVALID, NOT_FOUND. */
ria_err group_find(struct group_call *call, struct ria_slice name) RIA_MUST_USE;

/* The same. CONFLICT: it is of the other mode. */
ria_err
group_find_mode(struct group_call *call, struct ria_slice name, group_mode mode) RIA_MUST_USE;

/* Find it or make it: settings is what a new one begins with (lock_ms and what follows it; NULL =
 * zeros). INVALID, CONFLICT, LIMIT. */
ria_err group_find_or_make(
    struct group_call *call,
    struct ria_slice name,
    group_mode mode,
    const struct group_row *settings
) RIA_MUST_USE;

/* Something may have become free: those who wait ask again. Once per operation is enough, more do
 * no harm. */
void group_changed(struct group_call *call);

/* ---- fields ---- */

/* UNKNOWN_TOPIC, as "field <uuid> does not exist". */
ria_err group_check_topic(
    struct group_call *call,
    const char *field,
    const struct ria_uuid *topic_id,
    int32_t *out_partition_count
) RIA_MUST_USE;

/* UNKNOWN_PARTITION. */
ria_err group_check_partition(
    struct group_call *call, const char *field, int32_t partition, int32_t partition_count
) RIA_MUST_USE;

/* ---- leases of stream groups ---- */

/* One is out, and not past its deadline. Of held ones: after group_expire_members(). */
bool group_lease_is_out(const struct group_call *call, const struct group_partition *row);

/* End the lease, without a later one. */
void group_end_lease(struct group_call *call, struct group_partition *row);

/* Commit. */
void group_set_position(
    struct group_call *call, struct group_partition *row, int64_t offset, struct ria_slice metadata
);

/* Commit what the member was given under held leases, everywhere. */
ria_err group_commit_delivered(struct group_call *call, struct ria_slice member) RIA_MUST_USE;

/* Write those that are touched; what has become free is told. */
ria_err group_write_partitions(
    struct group_call *call, struct group_partition *rows, uint32_t count
) RIA_MUST_USE;

/* ---- members ---- */

/* Those whose session has ended are gone: before anything else is asked about members. */
ria_err group_expire_members(struct group_call *call) RIA_MUST_USE;

/* NOT_FOUND: the name is no member's. FENCED_EPOCH: epoch is not -1 and another one's. */
ria_err group_get_member(
    struct group_call *call, struct ria_slice name, int32_t epoch, struct member_row *out_row
) RIA_MUST_USE;

/* It was heard. */
ria_err group_touch_member(struct group_call *call, struct member_row *row) RIA_MUST_USE;

/* A new member. LIMIT. */
ria_err group_add_member(struct group_call *call, const struct member_row *row) RIA_MUST_USE;

/* Make the topics its subscription, if they are not. Topics are known to exist. */
ria_err group_subscribe(
    struct group_call *call, struct member_row *row, const struct ria_uuid *topics, uint32_t count
) RIA_MUST_USE;

/* INVALID if a topic is there twice or they have too many partitions together; UNKNOWN_TOPIC. */
ria_err group_check_topics(
    struct group_call *call,
    const char *field,
    const struct ria_uuid *topics,
    uint32_t count,
    int32_t *out_partition_counts
) RIA_MUST_USE;

/* If members have moved: plan anew, and end held leases of partitions that are no longer their
 * holder's. After all changes of members, before partitions are read. */
ria_err group_settle_members(struct group_call *call) RIA_MUST_USE;

/* group_plan.c: who subscribes, who has what: a new plan, written. */
ria_err group_plan(struct group_call *call) RIA_MUST_USE;

/* An epoch that no member of this group has had. */
int32_t group_next_epoch(struct group_call *call);

/* What an operation of this kind and its result look like; NULL: there is none of this kind. */
const struct schema_message *group_operation_record(int8_t kind);
const struct schema_message *group_operation_result(int8_t kind);

/* ---- the operations; body is the decoded record, result the initialised one of its result ----
 *
 * Arrays of the result are taken from call->arena. */

ria_err apply_group_read(struct group_call *call, const void *body, void *result) RIA_MUST_USE;
ria_err apply_group_commit(struct group_call *call, const void *body, void *result) RIA_MUST_USE;
ria_err apply_group_member(struct group_call *call, const void *body, void *result) RIA_MUST_USE;
ria_err apply_group_leave(struct group_call *call, const void *body, void *result) RIA_MUST_USE;
ria_err apply_group_reset(struct group_call *call, const void *body, void *result) RIA_MUST_USE;
ria_err apply_group_delete(struct group_call *call, const void *body, void *result) RIA_MUST_USE;
ria_err apply_queue_open(struct group_call *call, const void *body, void *result) RIA_MUST_USE;
ria_err apply_queue_receive(struct group_call *call, const void *body, void *result) RIA_MUST_USE;
ria_err apply_queue_settle(struct group_call *call, const void *body, void *result) RIA_MUST_USE;
ria_err apply_queue_ack(struct group_call *call, const void *body, void *result) RIA_MUST_USE;

/* ---- other commands ---- */

/* The topic has more partitions, from `first` on: they begin at their first record, and are divided
 * among the members of its groups, and those who wait hear of it. */
ria_err apply_groups_grow_topic(
    struct apply *apply, const struct ria_uuid *topic_id, int32_t first, int32_t count
) RIA_MUST_USE;

/* Nothing of the topic is left in any group, and those who wait hear of it. */
ria_err apply_groups_drop_topic(struct apply *apply, const struct ria_uuid *topic_id) RIA_MUST_USE;
