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
