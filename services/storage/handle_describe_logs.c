/* DescribeLogs: what is on this node's disks, from memory: nothing is read for it. */
#include <stdlib.h>
#include <string.h>

#include "schemas/gen/describe_logs_request.h"
#include "schemas/gen/describe_logs_response.h"

#include "services/storage/handle.h"

/* DescribedLog.state */
enum { LOG_FIT = 0, LOG_FAILED = 1, LOG_DAMAGED = 2, LOG_OPENING = 3, LOG_NOT_OPENED = 4 };

typedef struct describe_logs_response_described_log described_log;
typedef struct describe_logs_response_orphaned_log orphaned_log;

static int8_t state_of(const struct replica *replica)
{
    const struct partition_log *log = replica->partition.log;

    switch (replica->state) {
    case REPLICA_OPENING:
        return LOG_OPENING;
    case REPLICA_FAILED:
        return LOG_NOT_OPENED;
    case REPLICA_OPEN:
    case REPLICA_REMOVING:
        break;
    }
    if (log != NULL && partition_log_has_failed(log)) {
        return LOG_FAILED;
    }
    return log != NULL && partition_log_is_damaged(log) ? LOG_DAMAGED : LOG_FIT;
}

/* Its data is here, but the metadata says neither that it should be nor that it may go. */
static bool is_unclaimed(const struct replica *replica)
{
    const struct storage *s = replica->storage;
    const struct partition_id *id = &replica->partition.id;
    const struct cluster_partition *assigned =
        cluster_partition(s->cluster, &id->topic_id, partition_id_number(id));

    return assigned == NULL || !storage_is_assigned(s, assigned);
}

static void describe_replica(const struct replica *replica, described_log *out)
{
    const struct partition *p = &replica->partition;

    *out = (described_log){
        .topic_id = p->id.topic_id,
        .partition = partition_id_number(&p->id),
        .state = state_of(replica),
    };
    if (p->log != NULL) {
        out->start_offset = partition_log_start_offset(p->log);
        out->end_offset = partition_log_end_offset(p->log);
        out->high_watermark = p->high_watermark;
        out->bytes = partition_log_bytes(p->log);
    }
}

static bool is_asked_for(const struct describe_logs_request *request, const struct ria_uuid *topic)
{
    return ria_uuid_is_zero(request->topic_id) || ria_uuid_equal(request->topic_id, *topic);
}

static bool
add_replica_orphan(const struct handle_request *r, const struct replica *replica, orphaned_log *out)
{
    char name[STORAGE_FOLDER_MAX];

    storage_folder_name(&replica->partition.id, name);
    const char *copy = ria_arena_strdup(&r->storage->arena, ria_slice_cstr(name));
    if (copy == NULL) {
        return false;
    }
    *out = (orphaned_log){
        .folder = ria_slice_cstr(copy),
        .bytes = replica->partition.log == NULL ? -1 : partition_log_bytes(replica->partition.log),
    };
    return true;
}

/* response's arrays have room for all. False: no memory. */
static bool fill(
    const struct handle_request *r,
    const struct describe_logs_request *request,
    struct describe_logs_response *response
)
{
    const struct storage *s = r->storage;

    for (const struct ria_list *it = s->replicas.next; it != &s->replicas; it = it->next) {
        const struct replica *replica = replica_at(it);
        if (replica->state == REPLICA_REMOVING ||
            !is_asked_for(request, &replica->partition.id.topic_id)) {
            continue;
        }
        if (!is_unclaimed(replica)) {
            describe_replica(replica, &response->replicas[response->replicas_count++]);
        } else if (request->with_orphans &&
                   !add_replica_orphan(r, replica, &response->orphans[response->orphans_count++])) {
            return false;
        }
    }
    for (struct ria_list *it = s->orphans.next; request->with_orphans && it != &s->orphans;
         it = it->next) {
        const struct storage_orphan *orphan = RIA_CONTAINER(it, struct storage_orphan, link);
        response->orphans[response->orphans_count++] = (orphaned_log){
            .folder = ria_slice_cstr(orphan->name),
            .bytes = orphan->bytes,
        };
    }
    return true;
}

void handle_describe_logs(const struct handle_request *r)
{
    struct storage *s = r->storage;
    struct describe_logs_request request;
    struct describe_logs_response_data_dir dir = {
        .path = ria_slice_cstr(s->data_dir),
        .free_bytes = -1,
        .total_bytes = -1,
    };
    struct describe_logs_response response = {.data_dirs = &dir, .data_dirs_count = 1};
    size_t replica_count = (size_t)s->metrics.replicas.value;
    size_t orphan_count = replica_count + (size_t)s->metrics.orphans.value;
    uint64_t free_bytes = 0;

    if (!handle_decode(r, &request)) {
        return;
    }
    response.replicas = handle_alloc(r, replica_count, sizeof(described_log));
    if (response.replicas == NULL) {
        return;
    }
    response.orphans = handle_alloc(r, orphan_count, sizeof(orphaned_log));
    if (response.orphans == NULL) {
        return;
    }
    if (!fill(r, &request, &response)) {
        handle_reply_error(r, RIA_ERR_NOMEM, "no room for the names of all folders");
        return;
    }
    if (ria_fs_free_bytes(s->env->fs, s->data_dir, &free_bytes) == RIA_OK) {
        dir.free_bytes = free_bytes > INT64_MAX ? INT64_MAX : (int64_t)free_bytes;
    }
    handle_reply(r, &response);
}
