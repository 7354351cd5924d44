/* ReplicaEpochs and ReplicaReport: what the replication workers ask of, and tell, a leader. */
#include "schemas/gen/replica_epochs_request.h"
#include "schemas/gen/replica_epochs_response.h"
#include "schemas/gen/replica_report_request.h"
#include "schemas/gen/replica_report_response.h"

#include "services/storage/handle.h"

typedef struct replica_epochs_response_leader_epoch_entry wire_epoch;

/* Copies the history, whose place in memory the next append may change. */
static ria_err copy_epochs(
    struct storage *s,
    const struct partition *p,
    struct replica_epochs_response_replica_epochs_result *out
)
{
    uint32_t count = 0;
    const struct leader_epoch_entry *epochs = partition_log_epochs(p->log, &count);

    out->epochs = ria_arena_alloc_array(&s->arena, count, sizeof(wire_epoch));
    if (out->epochs == NULL) {
        return ria_arena_err(&s->arena);
    }
    for (uint32_t i = 0; i < count; i++) {
        out->epochs[i] =
            (wire_epoch){.epoch = epochs[i].epoch, .start_offset = epochs[i].start_offset};
    }
    out->epochs_count = count;
    return RIA_OK;
}

void handle_replica_epochs(const struct handle_request *r)
{
    struct storage *s = r->storage;
    struct replica_epochs_request request;
    struct replica_epochs_response response;

    if (!handle_decode(r, &request)) {
        return;
    }
    replica_epochs_response_init(&response);
    response.partitions = handle_alloc(r, request.partitions_count, sizeof(response.partitions[0]));
    if (response.partitions == NULL) {
        return;
    }
    for (uint32_t i = 0; i < request.partitions_count; i++) {
        struct partition_id id =
            partition_id_of(&request.partitions[i].topic_id, request.partitions[i].partition);
        struct replica_epochs_response_replica_epochs_result *out = &response.partitions[i];
        ria_err err = RIA_OK;

        replica_epochs_response_replica_epochs_result_init(out);
        out->topic_id = id.topic_id;
        out->partition = partition_id_number(&id);
        struct replica *replica =
            handle_find_leader(s, &id, request.partitions[i].leader_epoch, &err);
        if (replica != NULL) {
            const struct partition *p = &replica->partition;
            err = copy_epochs(s, p, out);
            out->log_start_offset = partition_log_start_offset(p->log);
            out->high_watermark = storage_tell_high_watermark(replica);
            out->end_offset = partition_log_end_offset(p->log);
        }
        out->error_code = (int16_t)err;
    }
    response.partitions_count = request.partitions_count;
    handle_reply(r, &response);
}

/* ---- report ----
 *
 * The reply tells the worker the high watermark, which it carries on to the followers. When this
 * node is the last to be on disk, the high watermark moves after the report: then the reply waits
 * for the sync, or followers would learn of it only with the next record. */

typedef struct replica_report_request_replica_report_partition reported_partition;

static void
reply_report(const struct handle_request *r, const struct parked_wait *waits, uint32_t count)
{
    struct replica_report_response response;

    replica_report_response_init(&response);
    response.partitions = handle_alloc(r, count, sizeof(response.partitions[0]));
    if (response.partitions == NULL) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct replica_report_response_replica_reported_partition *out = &response.partitions[i];
        struct replica *replica = storage_find_id(r->storage, &waits[i].id);

        replica_report_response_replica_reported_partition_init(out);
        out->topic_id = waits[i].id.topic_id;
        out->partition = partition_id_number(&waits[i].id);
        out->error_code = (int16_t)waits[i].err;
        out->high_watermark =
            replica == NULL || waits[i].err != RIA_OK ? -1 : storage_tell_high_watermark(replica);
    }
    response.partitions_count = count;
    handle_reply(r, &response);
}

static void on_report_resumed(void *arg, struct parked *parked, parked_end end)
{
    struct storage *s = arg;
    struct handle_request r = handle_parked(s, parked, end);

    s->parked_reports--;
    if (end == PARKED_CLOSED) {
        handle_reply_error(&r, RIA_ERR_SHUTDOWN, "this storage node is shutting down");
        return;
    }
    for (uint32_t i = 0; i < parked->wait_count; i++) {
        if (parked->waits[i].err == RIA_ERR_IO) {
            parked->waits[i].err = RIA_OK; /* the report was taken, whatever this disk does */
        }
    }
    reply_report(&r, parked->waits, parked->wait_count);
}

/* Take one report and add what its reply waits for. Returns true if that is a sync. */
static bool take_report(struct storage *s, struct parked *parked, const reported_partition *in)
{
    struct partition_id id = partition_id_of(&in->topic_id, in->partition);
    ria_err err = RIA_OK;
    struct replica *replica = storage_find_open(s, &id, &err);

    if (replica != NULL) {
        err = partition_report(
            &replica->partition, in->leader_epoch, in->replica, in->incarnation, in->end_offset
        );
    }
    const struct partition_log *log = replica == NULL ? NULL : replica->partition.log;
    bool is_last = err == RIA_OK && s->parked_reports < STORAGE_PARKED_REPORTS_MAX &&
                   partition_log_synced_offset(log) < in->end_offset &&
                   !partition_log_has_failed(log);
    struct parked_wait *wait =
        parked_add(parked, is_last ? &replica->waits[REPLICA_SYNCED] : NULL, &id);
    wait->offset = in->end_offset - 1;
    wait->err = err;
    return is_last;
}

void handle_replica_report(const struct handle_request *r)
{
    struct storage *s = r->storage;
    struct replica_report_request request;
    struct parked *parked = NULL;
    bool must_wait = false;

    if (!handle_decode(r, &request)) {
        return;
    }
    ria_err err = parked_new(&s->parked, r->request, &r->header, request.partitions_count, &parked);
    if (err != RIA_OK) {
        handle_reply_error(r, err, "too many partitions are waited for on this node");
        return;
    }
    for (uint32_t i = 0; i < request.partitions_count; i++) {
        must_wait = take_report(s, parked, &request.partitions[i]) || must_wait;
    }
    if (must_wait) {
        s->parked_reports++;
        parked_start(parked, parked->wait_count, STORAGE_REPORT_WAIT_MS, on_report_resumed);
    } else {
        reply_report(r, parked->waits, parked->wait_count);
        parked_free(parked);
    }
}
