/* Views into the service for tests and the simulator's checker. */
#include <string.h>

#include "services/coordinator/coordinator.h"
#include "services/coordinator/partition_row.h"

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
