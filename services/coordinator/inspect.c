/* Views into the service for tests and the simulator's checker. */
#include <string.h>

#include "services/coordinator/coordinator.h"
#include "services/coordinator/partition_row.h"
#include "services/coordinator/range_rows.h"

bool coordinator_describe_partition(
    struct coordinator *coordinator,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct coordinator_partition_info *out_info
)
{
    struct partition_row row;

    if (!partition_row_read(coordinator->db, topic_id, partition, &row)) {
        return false;
    }
    *out_info = (struct coordinator_partition_info){
        .leader = row.leader,
        .leader_epoch = row.leader_epoch,
        .partition_epoch = row.partition_epoch,
        .isr_count = row.isr.count,
    };
    memcpy(out_info->isr, row.isr.ids, row.isr.count * sizeof(row.isr.ids[0]));
    return true;
}

const char *coordinator_check_queues(struct coordinator *coordinator)
{
    struct meta_db *db = coordinator->db;
    struct meta_stmt *stmt = meta_query(db, META_QUEUES_ALL);
    const char *wrong = NULL;
    struct queue_row row;

    while (wrong == NULL && meta_step(stmt)) {
        struct ria_uuid topic_id = meta_column_uuid(stmt, 1);
        int32_t partition = (int32_t)meta_column_int(stmt, 2);
        bool found = queue_row_read(db, meta_column_int(stmt, 0), &topic_id, partition, &row);
        wrong = found ? range_rows_check(&row) : "a partition is listed and not there";
    }
    meta_done(stmt);
    return wrong;
}

/* By the rule's number in META_GROUPS_WRONG. */
static const char *const group_rules[] = {
    "a group has a partition and is gone",
    "a group has a partition of a topic that is gone",
    "a group has a partition of a member that is gone",
    "a lease was never given",
    "a held lease is of a member that is gone",
    "a group has a range of a partition that it does not have",
    "a range's lease was never given",
    "a subscription is of a member that is gone",
    "a group's members are miscounted",
    "the groups are miscounted",
    "ranges of a partition are to be deleted",
    "a group has a receive that may be repeated and is gone",
};

const char *coordinator_check_groups(struct coordinator *coordinator)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_GROUPS_WRONG);
    const char *wrong = NULL;

    if (meta_step(stmt)) {
        wrong = group_rules[meta_column_int(stmt, 0)];
    }
    meta_done(stmt);
    return wrong;
}

int64_t coordinator_lease_clock_ms(const struct coordinator *coordinator)
{
    return lease_clock_ms(&coordinator->lease_clock);
}

bool coordinator_find_topic(
    struct coordinator *coordinator,
    const char *name,
    struct ria_uuid *out_topic_id,
    int32_t *out_partition_count
)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_TOPIC_BY_NAME);

    meta_bind_text(stmt, 1, ria_slice_cstr(name));
    bool found = meta_step(stmt);
    if (found) {
        *out_topic_id = meta_column_uuid(stmt, 0);
        *out_partition_count = (int32_t)meta_column_int(stmt, 1);
    }
    meta_done(stmt);
    return found;
}

int64_t coordinator_group_position(
    struct coordinator *coordinator,
    const char *group,
    const struct ria_uuid *topic_id,
    int32_t partition
)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_GROUP_POSITION);
    int64_t position = -1;

    meta_bind_text(stmt, 1, ria_slice_cstr(group));
    meta_bind_uuid(stmt, 2, topic_id);
    meta_bind_int(stmt, 3, partition);
    if (meta_step(stmt)) {
        position = meta_column_int(stmt, 0);
    }
    meta_done(stmt);
    return position;
}
