/* ReplicaPrepare and ReplicaAppend: what the replication workers make a follower do.
 *
 * Both answer for all their partitions at once, when the last one's disk has answered. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/assert.h"

#include "schemas/gen/replica_append_request.h"
#include "schemas/gen/replica_append_response.h"
#include "schemas/gen/replica_prepare_request.h"
#include "schemas/gen/replica_prepare_response.h"

#include "services/storage/handle.h"

enum {
    PREPARE_SLICE_MS = 5,   /* cuts: the loop is free again after this */
    PREPARE_WAIT_MS = 1000, /* for syncs under way; one slow disk must not hold up the others */
};

static void log_event(
    const struct replica *replica,
    ria_log_level level,
    const char *tag,
    int64_t from,
    int64_t to,
    ria_err err
)
{
    char text[RIA_UUID_TEXT_SIZE];

    ria_uuid_format(replica->partition.id.topic_id, text);
    ria_log_write(
        replica->storage->env->log,
        level,
        tag,
        "topic=%s partition=%d epoch=%d end=%" PRId64 " to=%" PRId64 " err=\"%s\"",
        text,
        partition_id_number(&replica->partition.id),
        replica->partition.leader_epoch,
        from,
        to,
        ria_err_text(err)
    );
}

/* ---- append ---- */

static void on_append_resumed(void *arg, struct parked *parked, parked_end end)
{
    struct storage *s = arg;
    struct handle_request r = handle_parked(s, parked, end);
    struct replica_append_response response;

    if (end != PARKED_READY) {
        handle_reply_error(&r, RIA_ERR_SHUTDOWN, "this storage node is shutting down");
        return;
    }
    replica_append_response_init(&response);
    response.partitions = handle_alloc(&r, parked->wait_count, sizeof(response.partitions[0]));
    if (response.partitions == NULL) {
        return;
    }
    for (uint32_t i = 0; i < parked->wait_count; i++) {
        const struct parked_wait *wait = &parked->waits[i];
        struct replica_append_response_replica_appended_partition *out = &response.partitions[i];
        const struct replica *replica = storage_find_id(s, &wait->id);

        replica_append_response_replica_appended_partition_init(out);
        out->topic_id = wait->id.topic_id;
        out->partition = partition_id_number(&wait->id);
        out->error_code = (int16_t)wait->err;
        if (replica != NULL && replica->state == REPLICA_OPEN) {
            const struct partition_log *log = replica->partition.log;
            out->end_offset = wait->err == RIA_ERR_CONFLICT ? partition_log_end_offset(log)
                                                            : partition_log_synced_offset(log);
        }
    }
    response.partitions_count = parked->wait_count;
    handle_reply(&r, &response);
}

static void note_append_error(struct replica *replica, ria_err err)
{
    /* A full disk is told of once, not for each of its partitions. */
    bool is_told = err == RIA_ERR_NO_SPACE && replica->dir->space.full;
    if ((err != RIA_ERR_IO && err != RIA_ERR_NO_SPACE && err != RIA_ERR_CORRUPT) || is_told) {
        return;
    }
    if (!replica->refusal_logged) {
        int64_t end = partition_log_end_offset(replica->partition.log);
        replica->refusal_logged = true;
        log_event(replica, RIA_LOG_ERROR, "storage.replica_append_failed", end, end, err);
    }
}

/* Append one partition's batches and add what is to be waited for. */
static void append_one(
    struct storage *s,
    struct parked *parked,
    const struct replica_append_request_replica_append_partition *in,
    struct ria_slice batches
)
{
    struct partition_id id = partition_id_of(&in->topic_id, in->partition);
    int64_t end = -1;
    ria_err err = RIA_OK;
    struct replica *replica = storage_find_open(s, &id, &err);

    if (replica != NULL) {
        int64_t old_end = partition_log_end_offset(replica->partition.log);
        partition_note_leader_config(&replica->partition, in->leader_epoch, in->config_epoch);
        err = partition_replica_append(
            &replica->partition,
            in->leader_epoch,
            in->base_offset,
            in->high_watermark,
            batches,
            &end
        );
        if (partition_log_end_offset(replica->partition.log) > old_end) {
            s->metrics.replica_append_bytes.value += batches.size;
            storage_mark_dirty(replica);
        } else if (partition_log_has_failed(replica->partition.log)) {
            storage_mark_dirty(replica); /* others may wait for a sync that will not come */
        }
        storage_mark_changed(replica);
        note_append_error(replica, err);
    }
    bool must_wait = err == RIA_OK && batches.size > 0 &&
                     partition_log_synced_offset(replica->partition.log) < end;
    struct parked_wait *wait =
        parked_add(parked, must_wait ? &replica->waits[REPLICA_SYNCED] : NULL, &id);
    wait->offset = end - 1;
    wait->err = err;
}

/* The sizes of all partitions must be the payload, exactly. */
static bool sizes_match(const struct replica_append_request *request, size_t payload_size)
{
    size_t sum = 0;

    for (uint32_t i = 0; i < request->partitions_count; i++) {
        if (request->partitions[i].size < 0) {
            return false;
        }
        sum += (size_t)request->partitions[i].size;
    }
    return sum == payload_size;
}

void handle_replica_append(const struct handle_request *r)
{
    struct storage *s = r->storage;
    struct replica_append_request request;
    struct parked *parked = NULL;
    size_t at = 0;

    if (!handle_decode(r, &request)) {
        return;
    }
    if (request.partitions_count == 0 || !sizes_match(&request, r->payload.size)) {
        handle_reply_error(r, RIA_ERR_INVALID, "partitions[].size: must add up to the payload");
        return;
    }
    ria_err err = parked_new(&s->parked, r->request, &r->header, request.partitions_count, &parked);
    if (err != RIA_OK) {
        handle_reply_error(r, err, "too many partitions are waited for on this node");
        return;
    }
    for (uint32_t i = 0; i < request.partitions_count; i++) {
        size_t size = (size_t)request.partitions[i].size;
        append_one(s, parked, &request.partitions[i], ria_slice_sub(r->payload, at, size));
        at += size;
    }
    parked_start(parked, parked->wait_count, 0, on_append_resumed);
}

/* ---- prepare ---- */

static bool is_quiet(const struct partition_log *log)
{
    return partition_log_has_failed(log) ||
           (!partition_log_is_syncing(log) &&
            partition_log_synced_offset(log) == partition_log_end_offset(log));
}

static ria_err prepare_one(
    struct replica *replica,
    const struct handle_request *r,
    const struct replica_prepare_request_replica_prepare_partition *in,
    int64_t *out_end
)
{
    struct partition *p = &replica->partition;

    if (!is_quiet(p->log)) {
        return RIA_ERR_BUSY; /* another worker was faster and is appending already */
    }
    struct leader_epoch_entry *epochs =
        ria_arena_alloc_array(&r->storage->arena, in->epochs_count, sizeof(*epochs));
    if (epochs == NULL) {
        return ria_arena_err(&r->storage->arena);
    }
    for (uint32_t i = 0; i < in->epochs_count; i++) {
        epochs[i] = (struct leader_epoch_entry
        ){.epoch = in->epochs[i].epoch, .start_offset = in->epochs[i].start_offset};
    }
    struct partition_history leader = {
        .epochs = epochs,
        .epoch_count = in->epochs_count,
        .log_start_offset = in->log_start_offset,
        .end_offset = in->end_offset,
    };
    int64_t old_end = partition_log_end_offset(p->log);
    int64_t old_high_watermark = p->high_watermark;
    ria_err err = partition_prepare(p, in->leader_epoch, &leader, out_end);
    if (err == RIA_OK) {
        replica->refusal_logged = false;
        storage_report_fitness(replica);
        if (partition_log_lost_offset(p->log) > 0) {
            doubts_want(r->storage->doubts, replica);
        }
        if (*out_end != old_end) {
            r->storage->metrics.truncations.value++;
            log_event(replica, RIA_LOG_INFO, "storage.log_cut", old_end, *out_end, err);
        }
        if (p->high_watermark < old_high_watermark) {
            log_event(
                replica,
                RIA_LOG_WARN,
                "storage.committed_records_cut",
                old_high_watermark,
                p->high_watermark,
                err
            );
        }
    }
    if (err == RIA_ERR_CONFLICT) { /* or is it the same log, and an epoch has a flipped bit? */
        doubts_want(r->storage->doubts, replica);
    }
    if (err == RIA_ERR_CONFLICT && !replica->refusal_logged) {
        replica->refusal_logged = true;
        log_event(
            replica, RIA_LOG_ERROR, "storage.cut_of_committed_refused", old_end, in->end_offset, err
        );
    }
    return err;
}

/* A prepare whose partitions are quiet. Most need no cut and take no time; a cut syncs on the loop,
 * so it goes on in slices, other events between them. */
struct prepare_job {
    struct ria_list link; /* storage.prepares */
    struct ria_rpc_request *request;
    uint32_t count;
    uint32_t next; /* to be prepared */
    struct prepare_result {
        struct partition_id id;
        ria_err err;
        int64_t end_offset;
    } results[];
};

static void reply_prepared(const struct handle_request *r, const struct prepare_job *job)
{
    struct replica_prepare_response response;

    replica_prepare_response_init(&response);
    response.incarnation = r->storage->incarnation;
    response.partitions = handle_alloc(r, job->count, sizeof(response.partitions[0]));
    if (response.partitions == NULL) {
        return;
    }
    for (uint32_t i = 0; i < job->count; i++) {
        const struct prepare_result *result = &job->results[i];
        struct replica_prepare_response_replica_prepared_partition *out = &response.partitions[i];
        replica_prepare_response_replica_prepared_partition_init(out);
        out->topic_id = result->id.topic_id;
        out->partition = partition_id_number(&result->id);
        out->error_code = (int16_t)result->err;
        out->end_offset = result->end_offset;
    }
    response.partitions_count = job->count;
    handle_reply(r, &response);
}

static void prepare_job_free(struct prepare_job *job)
{
    ria_list_remove(&job->link);
    free(job);
}

/* Go on with the oldest job for a while. */
void storage_prepare_step(struct storage *s)
{
    struct prepare_job *job = RIA_CONTAINER(s->prepares.next, struct prepare_job, link);
    struct handle_request r = handle_resumed(s, job->request, true);
    int64_t until_us = ria_clock_mono_us(s->env->clock) + (int64_t)PREPARE_SLICE_MS * 1000;
    struct replica_prepare_request request;

    if (!handle_decode(&r, &request)) {
        prepare_job_free(job);
    } else {
        RIA_ASSERT(request.partitions_count == job->count);
        while (job->next < job->count && ria_clock_mono_us(s->env->clock) <= until_us) {
            struct prepare_result *result = &job->results[job->next];
            struct replica *replica =
                result->err == RIA_OK ? storage_find_open(s, &result->id, &result->err) : NULL;
            if (replica != NULL) {
                result->err =
                    prepare_one(replica, &r, &request.partitions[job->next], &result->end_offset);
            }
            job->next++;
        }
        if (job->next == job->count) {
            reply_prepared(&r, job);
            prepare_job_free(job);
        }
    }
    if (!ria_list_is_empty(&s->prepares)) {
        ria_timer_start(s->env->timers, &s->prepare_timer, 0);
    }
}

void storage_end_prepares(struct storage *s)
{
    ria_timer_stop(s->env->timers, &s->prepare_timer);
    while (!ria_list_is_empty(&s->prepares)) {
        struct prepare_job *job = RIA_CONTAINER(s->prepares.next, struct prepare_job, link);
        struct handle_request r = handle_resumed(s, job->request, true);
        handle_reply_error(&r, RIA_ERR_SHUTDOWN, "this storage node is shutting down");
        prepare_job_free(job);
    }
}

/* All are quiet, or those that are not have had their time: they are told to try again. */
static void on_prepare_resumed(void *arg, struct parked *parked, parked_end end)
{
    struct storage *s = arg;
    struct handle_request r = handle_parked(s, parked, end);

    if (end == PARKED_CLOSED) {
        handle_reply_error(&r, RIA_ERR_SHUTDOWN, "this storage node is shutting down");
        return;
    }
    struct prepare_job *job =
        calloc(1, sizeof(*job) + parked->wait_count * sizeof(job->results[0]));
    if (job == NULL) {
        handle_reply_error(&r, RIA_ERR_NOMEM, "no memory to prepare that many partitions");
        return;
    }
    job->request = parked->request;
    job->count = parked->wait_count;
    for (uint32_t i = 0; i < job->count; i++) {
        const struct parked_wait *wait = &parked->waits[i];
        job->results[i] = (struct prepare_result){wait->id, wait->err, -1};
    }
    ria_list_init(&job->link);
    ria_list_push_back(&s->prepares, &job->link);
    ria_timer_start(s->env->timers, &s->prepare_timer, 0);
}

void handle_replica_prepare(const struct handle_request *r)
{
    struct storage *s = r->storage;
    struct replica_prepare_request request;
    struct parked *parked = NULL;

    if (!handle_decode(r, &request)) {
        return;
    }
    if (request.partitions_count == 0) {
        handle_reply_error(r, RIA_ERR_INVALID, "partitions: must not be empty");
        return;
    }
    ria_err err = parked_new(&s->parked, r->request, &r->header, request.partitions_count, &parked);
    if (err != RIA_OK) {
        handle_reply_error(r, err, "too many partitions are waited for on this node");
        return;
    }
    for (uint32_t i = 0; i < request.partitions_count; i++) {
        struct partition_id id =
            partition_id_of(&request.partitions[i].topic_id, request.partitions[i].partition);
        struct replica *replica = storage_find_open(s, &id, &err);
        if (replica != NULL) {
            err = partition_fence(&replica->partition, request.partitions[i].leader_epoch);
        }
        bool must_wait = err == RIA_OK && !is_quiet(replica->partition.log);
        struct parked_wait *wait =
            parked_add(parked, must_wait ? &replica->waits[REPLICA_QUIET] : NULL, &id);
        wait->offset = INT64_MAX; /* woken by parked_wake_all() only */
        wait->err = err;
    }
    parked_start(parked, parked->wait_count, PREPARE_WAIT_MS, on_prepare_resumed);
}
