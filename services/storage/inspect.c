/* Views into the service for tests and the simulator's checker. */
#include "common/assert.h"

#include "services/storage/log_state.h"
#include "services/storage/storage.h"

bool storage_describe_replica(
    const struct storage *s,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct storage_replica_info *out_info
)
{
    const struct replica *replica = storage_find(s, topic_id, partition);

    if (replica == NULL) {
        return false;
    }
    const struct partition *p = &replica->partition;
    *out_info = (struct storage_replica_info){
        .open = p->log != NULL,
        .leader = p->role == PARTITION_LEADER,
        .leader_epoch = p->leader_epoch,
        .last_epoch = -1,
        .high_watermark = p->high_watermark,
    };
    if (p->log != NULL) {
        out_info->last_epoch = partition_last_epoch(p);
        out_info->damaged = partition_log_is_damaged(p->log);
        out_info->failed = partition_log_has_failed(p->log);
        out_info->hole_count = p->log->damage_count;
        out_info->start_offset = partition_log_start_offset(p->log);
        out_info->synced_offset = partition_log_synced_offset(p->log);
        out_info->is_synced = partition_is_synced(p, p->high_watermark - 1);
        struct partition_log_checkpoint checkpoint;
        partition_log_get_checkpoint(p->log, p->high_watermark, &checkpoint);
        out_info->durable_offset = checkpoint.synced_offset;
        out_info->end_offset = partition_log_end_offset(p->log);
    }
    return true;
}

ria_err storage_read_replica(
    const struct storage *s,
    const struct ria_uuid *topic_id,
    int32_t partition,
    int64_t offset,
    uint8_t *out,
    size_t capacity,
    size_t *out_size
)
{
    const struct replica *replica = storage_find(s, topic_id, partition);
    struct partition_log_range range;

    if (replica == NULL || replica->partition.log == NULL) {
        return RIA_ERR_NOT_FOUND;
    }
    struct partition_log *log = replica->partition.log;
    RIA_TRY(
        partition_log_locate(log, offset, partition_log_end_offset(log), (uint32_t)capacity, &range)
    );
    if (range.size > capacity) {
        return RIA_ERR_TOO_LARGE;
    }
    if (range.size > 0) {
        RIA_TRY(partition_log_read(log, &range, out));
    }
    *out_size = range.size;
    return RIA_OK;
}

void storage_check(const struct storage *s)
{
    uint32_t acks = 0;
    size_t count = 0;

    for (const struct ria_list *it = s->replicas.next; it != &s->replicas; it = it->next) {
        const struct replica *replica = replica_at(it);
        partition_check(&replica->partition);
        if (replica->partition.log != NULL) {
            partition_log_check(replica->partition.log);
        }
        RIA_ASSERT(storage_find_id(s, &replica->partition.id) == replica);
        acks += replica->partition.ack_count;
        count++;
    }
    fetch_sessions_check(&s->fetch_sessions);
    RIA_ASSERT(count == s->by_id.count);
    RIA_ASSERT(acks == s->ack_count);
    RIA_ASSERT(s->ack_count > 0 || s->ack_bytes == 0);
    RIA_ASSERT(s->unsure_count > 0 || s->unsure_bytes == 0);
}
