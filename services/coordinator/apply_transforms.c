/* Commands about transforms: CreateTransform, DeleteTransform, CommitTask, AssignTasks. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/assign_tasks.h"
#include "schemas/gen/commit_task_request.h"
#include "schemas/gen/create_transform_request.h"
#include "schemas/gen/delete_transform_request.h"

#include "services/coordinator/apply.h"
#include "services/shared/topic_config.h"

#define ERRORS_SUFFIX ".errors"

/* ---- CreateTransform ---- */

static ria_err check_transform_ids(struct apply *apply, const struct create_transform_request *r)
{
    RIA_TRY(apply_check_id(apply, "transformId", &r->transform_id));
    RIA_TRY(apply_check_id(apply, "outputTopicId", &r->output_topic_id));
    RIA_TRY(apply_check_id(apply, "errorsTopicId", &r->errors_topic_id));
    if (ria_uuid_equal(r->output_topic_id, r->errors_topic_id)) {
        return apply_fail(
            apply, RIA_ERR_INVALID, "errorsTopicId must not be the same as outputTopicId"
        );
    }
    return RIA_OK;
}

static ria_err check_transform_names(struct apply *apply, const struct create_transform_request *r)
{
    const size_t name_max = RIA_TOPIC_NAME_MAX - strlen(ERRORS_SUFFIX);
    char reason[512];

    RIA_TRY(apply_check_name(apply, r->name));
    if (r->name.size > name_max) {
        return apply_fail(
            apply,
            RIA_ERR_INVALID,
            "name must have at most %zu characters, not %zu: the errors topic adds \"%s\"",
            name_max,
            r->name.size,
            ERRORS_SUFFIX
        );
    }
    if (r->sql.size == 0) {
        return apply_fail(apply, RIA_ERR_INVALID, "sql must not be empty");
    }
    if (topic_name_check(r->source_topic, reason, sizeof(reason)) != RIA_OK) {
        return apply_fail(apply, RIA_ERR_UNKNOWN_TOPIC, "sourceTopic: %s", reason);
    }
    if (ria_slice_equal(r->source_topic, r->name)) {
        return apply_fail(
            apply,
            RIA_ERR_INVALID,
            "sourceTopic and name are both \"" RIA_SLICE_FMT
            "\": a transform cannot write the topic it reads",
            RIA_SLICE_ARG(r->name)
        );
    }
    return RIA_OK;
}

/* The same id again: the same transform (out_again), or a mistake. */
static ria_err check_transform_again(
    struct apply *apply, const struct create_transform_request *r, bool *out_again
)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TRANSFORM_BY_ID);

    meta_bind_uuid(stmt, 1, &r->transform_id);
    bool found = meta_step(stmt);
    bool same = found && meta_column_int(stmt, 1) == 0 &&
                ria_slice_equal(meta_column_text(stmt, 0), r->name);
    if (same) {
        apply->result->response.create_transform.version = meta_column_int(stmt, 2);
    }
    meta_done(stmt);
    *out_again = same;
    if (found && !same) {
        return apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "transformId is the id of another transform, present or deleted"
        );
    }
    return RIA_OK;
}

static ria_err check_transform_is_new(struct apply *apply, const struct create_transform_request *r)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TRANSFORM_BY_NAME);

    meta_bind_text(stmt, 1, r->name);
    bool taken = meta_step(stmt);
    meta_done(stmt);
    if (taken) {
        return apply_fail(
            apply,
            RIA_ERR_EXISTS,
            "transform \"" RIA_SLICE_FMT "\" exists already",
            RIA_SLICE_ARG(r->name)
        );
    }
    stmt = meta_query(apply->db, META_TRANSFORM_COUNT);
    bool found = meta_step(stmt);
    RIA_ASSERT(found);
    int64_t count = meta_column_int(stmt, 0);
    meta_done(stmt);
    if (count >= STATE_TRANSFORMS_MAX) {
        return apply_fail(
            apply,
            RIA_ERR_LIMIT,
            "the cluster has had %" PRId64 " transforms, deleted ones included, its limit",
            count
        );
    }
    return RIA_OK;
}

static ria_err check_start(
    struct apply *apply, const struct create_transform_request *r, const struct topic_row *source
)
{
    if (r->from_beginning) {
        return RIA_OK;
    }
    if (r->start_offsets_count != (uint32_t)source->partition_count) {
        return apply_fail(
            apply,
            RIA_ERR_INVALID,
            "startOffsets has %" PRIu32 " offsets, must have one for each of the source's %" PRId32
            " partitions",
            r->start_offsets_count,
            source->partition_count
        );
    }
    for (uint32_t i = 0; i < r->start_offsets_count; i++) {
        if (r->start_offsets[i] < 0) {
            return apply_fail(
                apply,
                RIA_ERR_INVALID,
                "startOffsets has %" PRId64 " for partition %" PRIu32 ", must not be negative",
                r->start_offsets[i],
                i
            );
        }
    }
    return RIA_OK;
}

/* Derived topics have the source's partitions and replicas. */
static ria_err create_derived(
    struct apply *apply,
    const char *id_field,
    const struct ria_uuid *id,
    struct ria_slice name,
    const struct topic_row *source
)
{
    const struct topic_spec spec = {
        .id = *id,
        .name = name,
        .partition_count = source->partition_count,
        .replication_factor = source->replication_factor,
        .partition_count_field = "the source's partitionCount",
        .replication_factor_field = "the source's replicationFactor",
    };

    RIA_TRY(apply_check_topic_id_is_new(apply, id_field, id));
    RIA_TRY(apply_check_topic_name_is_new(apply, name));
    return apply_topic_create(apply, &spec);
}

static ria_err write_transform(
    struct apply *apply, const struct create_transform_request *r, const struct topic_row *source
)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TRANSFORM_INSERT);

    meta_bind_uuid(stmt, 1, &r->transform_id);
    meta_bind_text(stmt, 2, r->name);
    meta_bind_text(stmt, 3, r->sql);
    meta_bind_uuid(stmt, 4, &source->id);
    meta_bind_uuid(stmt, 5, &r->output_topic_id);
    meta_bind_uuid(stmt, 6, &r->errors_topic_id);
    meta_bind_int(stmt, 7, apply->command->time_ms);
    meta_bind_int(stmt, 8, apply_version(apply));
    RIA_TRY(meta_run(stmt));
    for (int32_t i = 0; i < source->partition_count; i++) {
        stmt = meta_query(apply->db, META_TASK_INSERT);
        meta_bind_uuid(stmt, 1, &r->transform_id);
        meta_bind_int(stmt, 2, i);
        meta_bind_int(stmt, 3, RIA_PRODUCER_ID_INTERNAL + apply->next_producer_id++);
        meta_bind_int(stmt, 4, r->from_beginning ? 0 : r->start_offsets[i]);
        meta_bind_int(stmt, 5, apply_version(apply));
        RIA_TRY(meta_run(stmt));
    }
    return RIA_OK;
}

ria_err apply_create_transform(struct apply *apply, const void *body)
{
    const struct create_transform_request *r = body;
    char errors_name[RIA_TOPIC_NAME_MAX + 1];
    struct topic_row source;
    bool again = false;

    RIA_TRY(check_transform_ids(apply, r));
    RIA_TRY(check_transform_names(apply, r));
    RIA_TRY(check_transform_again(apply, r, &again));
    if (again) {
        return RIA_OK;
    }
    RIA_TRY(check_transform_is_new(apply, r));
    if (!apply_find_topic(apply, r->source_topic, &source)) {
        return apply_fail(
            apply,
            RIA_ERR_UNKNOWN_TOPIC,
            "sourceTopic \"" RIA_SLICE_FMT "\" does not exist",
            RIA_SLICE_ARG(r->source_topic)
        );
    }
    RIA_TRY(check_start(apply, r, &source));
    (void)snprintf(
        errors_name, sizeof(errors_name), RIA_SLICE_FMT ERRORS_SUFFIX, RIA_SLICE_ARG(r->name)
    );
    RIA_TRY(create_derived(apply, "outputTopicId", &r->output_topic_id, r->name, &source));
    RIA_TRY(create_derived(
        apply, "errorsTopicId", &r->errors_topic_id, ria_slice_cstr(errors_name), &source
    ));
    RIA_TRY(write_transform(apply, r, &source));
    apply->result->response.create_transform.version = apply_version(apply);
    return RIA_OK;
}

/* ---- DeleteTransform ---- */

ria_err apply_delete_transform(struct apply *apply, const void *body)
{
    const struct delete_transform_request *r = body;
    struct ria_uuid id;
    char reason[512];

    if (topic_name_check(r->name, reason, sizeof(reason)) != RIA_OK) {
        return apply_fail(apply, RIA_ERR_NOT_FOUND, "no such transform: %s", reason);
    }
    struct meta_stmt *stmt = meta_query(apply->db, META_TRANSFORM_BY_NAME);
    meta_bind_text(stmt, 1, r->name);
    bool found = meta_step(stmt);
    if (found) {
        id = meta_column_uuid(stmt, 0);
    }
    meta_done(stmt);
    bool is_any = ria_uuid_is_zero(r->transform_id);
    if (!found || !(is_any || ria_uuid_equal(r->transform_id, id))) {
        return apply_fail(
            apply,
            RIA_ERR_NOT_FOUND,
            "transform \"" RIA_SLICE_FMT "\" does not exist",
            RIA_SLICE_ARG(r->name)
        );
    }
    stmt = meta_query(apply->db, META_TASKS_DELETE);
    meta_bind_uuid(stmt, 1, &id);
    RIA_TRY(meta_run(stmt));
    stmt = meta_query(apply->db, META_TRANSFORM_DELETE);
    meta_bind_uuid(stmt, 1, &id);
    meta_bind_int(stmt, 2, apply->command->time_ms);
    meta_bind_int(stmt, 3, apply_version(apply));
    RIA_TRY(meta_run(stmt));
    apply->result->response.delete_transform.version = apply_version(apply);
    return RIA_OK;
}

/* ---- tasks ---- */

struct task_row {
    struct ria_uuid worker;
    int16_t epoch;
    int64_t position;
};

static bool find_task(
    struct apply *apply,
    const struct ria_uuid *transform_id,
    int32_t partition,
    struct task_row *out
)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TASK_GET);

    meta_bind_uuid(stmt, 1, transform_id);
    meta_bind_int(stmt, 2, partition);
    bool found = meta_step(stmt);
    if (found) {
        *out = (struct task_row){
            .worker = meta_column_uuid(stmt, 0),
            .epoch = (int16_t)meta_column_int(stmt, 1),
            .position = meta_column_int(stmt, 2),
        };
    }
    meta_done(stmt);
    return found;
}

static ria_err
check_commit(struct apply *apply, const struct commit_task_request *r, const struct task_row *task)
{
    if (r->epoch != task->epoch) {
        return apply_fail(
            apply,
            r->epoch < task->epoch ? RIA_ERR_FENCED_PRODUCER : RIA_ERR_CONFLICT,
            "epoch is %d, the task's lease is in %d",
            r->epoch,
            task->epoch
        );
    }
    RIA_TRY(apply_check_range(apply, "position", r->position, 0, INT64_MAX));
    RIA_TRY(apply_check_range(apply, "recordsIn", r->records_in, 0, INT64_MAX));
    RIA_TRY(apply_check_range(apply, "recordsOut", r->records_out, 0, INT64_MAX));
    return apply_check_range(apply, "errors", r->errors, 0, INT64_MAX);
}

ria_err apply_commit_task(struct apply *apply, const void *body)
{
    const struct commit_task_request *r = body;
    struct task_row task;

    if (!find_task(apply, &r->transform_id, r->partition, &task)) {
        char id[RIA_UUID_TEXT_SIZE];
        ria_uuid_format(r->transform_id, id);
        return apply_fail(
            apply,
            RIA_ERR_NOT_FOUND,
            "transformId %s has no task for partition %" PRId32,
            id,
            r->partition
        );
    }
    RIA_TRY(check_commit(apply, r, &task));
    if (r->position < task.position) {
        return RIA_OK; /* a late copy of an older commit: positions never move back */
    }
    struct meta_stmt *stmt = meta_query(apply->db, META_TASK_COMMIT);
    meta_bind_uuid(stmt, 1, &r->transform_id);
    meta_bind_int(stmt, 2, r->partition);
    meta_bind_int(stmt, 3, r->position);
    meta_bind_int(stmt, 4, r->records_in);
    meta_bind_int(stmt, 5, r->records_out);
    meta_bind_int(stmt, 6, r->errors);
    meta_bind_text(stmt, 7, r->last_error);
    return meta_run(stmt);
}

ria_err apply_assign_tasks(struct apply *apply, const void *body)
{
    const struct assign_tasks *r = body;
    struct task_row row;

    for (uint32_t i = 0; i < r->tasks_count; i++) {
        const struct assign_tasks_assigned_task *task = &r->tasks[i];
        if (!find_task(apply, &task->transform_id, task->partition, &row) ||
            row.epoch != task->epoch || row.epoch == INT16_MAX) {
            continue;
        }
        struct meta_stmt *stmt = meta_query(apply->db, META_TASK_ASSIGN);
        meta_bind_uuid(stmt, 1, &task->transform_id);
        meta_bind_int(stmt, 2, task->partition);
        meta_bind_uuid(stmt, 3, &task->worker);
        meta_bind_int(stmt, 4, row.epoch + 1);
        meta_bind_int(stmt, 5, apply_version(apply));
        RIA_TRY(meta_run(stmt));
    }
    return RIA_OK;
}
