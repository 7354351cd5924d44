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

/* 0 also for one that is nowhere: a replica that is lost. */
static int32_t dir_index(const struct storage *s, const struct data_dir *dir)
{
    return dir == NULL ? 0 : (int32_t)(dir - s->dirs.items);
}

static void describe_replica(const struct replica *replica, described_log *out)
{
    const struct partition *p = &replica->partition;

    *out = (described_log){
        .topic_id = p->id.topic_id,
        .partition = partition_id_number(&p->id),
        .state = state_of(replica),
        .data_dir = dir_index(replica->storage, replica->dir),
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
        .data_dir = dir_index(r->storage, replica->dir),
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
            .data_dir = dir_index(s, orphan->dir),
        };
    }
    return true;
}

static bool describe_dirs(const struct handle_request *r, struct describe_logs_response *response)
{
    struct data_dirs *dirs = &r->storage->dirs;

    response->data_dirs = handle_alloc(r, dirs->count, sizeof(response->data_dirs[0]));
    if (response->data_dirs == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < dirs->count; i++) {
        struct data_dir *dir = &dirs->items[i];
        uint64_t total_bytes = 0;
        bool has_total = !dir->failed &&
                         ria_fs_total_bytes(r->storage->env->fs, dir->path, &total_bytes) == RIA_OK;
        response->data_dirs[i] = (struct describe_logs_response_data_dir){
            .path = ria_slice_cstr(dir->path),
            .failed = dir->failed || dir->suspect,
            .free_bytes = dir->failed ? -1 : disk_space_free_bytes(&dir->space),
            .total_bytes = has_total ? (int64_t)(total_bytes & INT64_MAX) : -1,
        };
    }
    response->data_dirs_count = dirs->count;
    return true;
}

void handle_describe_logs(const struct handle_request *r)
{
    struct storage *s = r->storage;
    struct describe_logs_request request;
    struct describe_logs_response response = {.data_dirs_count = 0};
    size_t replica_count = (size_t)s->metrics.replicas.value;
    size_t orphan_count = replica_count + (size_t)s->metrics.orphans.value;

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
    if (!describe_dirs(r, &response)) {
        return;
    }
    if (!fill(r, &request, &response)) {
        handle_reply_error(r, RIA_ERR_NOMEM, "no room for the names of all folders");
        return;
    }
    handle_reply(r, &response);
}
