/* Views into the service for tests and the simulator's checker. */
#include <string.h>

#include "common/assert.h"

#include "services/coordinator/coordinator.h"
#include "services/coordinator/node_list.h"

bool coordinator_describe_partition(
    struct coordinator *coordinator,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct coordinator_partition_info *out_info
)
{
    struct meta_stmt *stmt = meta_query(coordinator->db, META_PARTITION_GET);

    meta_bind_uuid(stmt, 1, topic_id);
    meta_bind_int(stmt, 2, partition);
    bool found = meta_step(stmt);
    if (found) {
        struct node_list isr;
        ria_err err = node_list_parse(meta_column_text(stmt, 4), &isr);
        RIA_ASSERT(err == RIA_OK);
        *out_info = (struct coordinator_partition_info){
            .leader = (int32_t)meta_column_int(stmt, 0),
            .leader_epoch = (int32_t)meta_column_int(stmt, 1),
            .partition_epoch = (int32_t)meta_column_int(stmt, 2),
            .isr_count = isr.count,
        };
        memcpy(out_info->isr, isr.ids, isr.count * sizeof(isr.ids[0]));
    }
    meta_done(stmt);
    return found;
}
