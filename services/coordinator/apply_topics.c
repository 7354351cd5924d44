/* Commands about topics: CreateTopic, DeleteTopic; and AllocateProducerIds. */
#include <inttypes.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/allocate_producer_ids_request.h"
#include "schemas/gen/create_topic_request.h"
#include "schemas/gen/delete_topic_request.h"

#include "services/coordinator/apply_groups.h"
#include "services/shared/topic_config.h"

/* ---- looking up ---- */

bool apply_find_topic(struct apply *apply, struct ria_slice name, struct topic_row *out_row)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_BY_NAME);

    meta_bind_text(stmt, 1, name);
    bool found = meta_step(stmt);
    if (found) {
        *out_row = (struct topic_row){
            .id = meta_column_uuid(stmt, 0),
            .partition_count = (int32_t)meta_column_int(stmt, 1),
            .replication_factor = (int16_t)meta_column_int(stmt, 2),
            .version = meta_column_int(stmt, 3),
        };
    }
    meta_done(stmt);
    return found;
}

ria_err
apply_check_topic_id_is_new(struct apply *apply, const char *field, const struct ria_uuid *id)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_BY_ID);

    meta_bind_uuid(stmt, 1, id);
    bool found = meta_step(stmt);
    meta_done(stmt);
    if (found) {
        return apply_fail(
            apply, RIA_ERR_CONFLICT, "%s is the id of another topic, present or deleted", field
        );
    }
    return RIA_OK;
}

ria_err apply_check_topic_name_is_new(struct apply *apply, struct ria_slice name)
{
    struct topic_row row;

    if (apply_find_topic(apply, name, &row)) {
        return apply_fail(
            apply, RIA_ERR_EXISTS, "topic \"" RIA_SLICE_FMT "\" exists already", RIA_SLICE_ARG(name)
        );
    }
    return RIA_OK;
}

/* ---- checks ---- */

static int64_t count_of(struct apply *apply, meta_sql sql)
{
    struct meta_stmt *stmt = meta_query(apply->db, sql);

    bool found = meta_step(stmt);
    RIA_ASSERT(found);
    int64_t count = meta_column_int(stmt, 0);
    meta_done(stmt);
    return count;
}

ria_err apply_check_room(struct apply *apply, const struct topic_spec *spec)
{
    int64_t partitions = count_of(apply, META_TOPIC_PARTITION_TOTAL);
    int32_t more = spec->partition_count - spec->first_partition;

    if (partitions + more > STATE_PARTITIONS_MAX) {
        return apply_fail(
            apply,
            RIA_ERR_LIMIT,
            "the cluster has %" PRId64 " partitions and may have %d: %" PRId32 " more do not fit",
            partitions,
            STATE_PARTITIONS_MAX,
            more
        );
    }
    if (spec->first_partition == 0 && count_of(apply, META_TOPIC_COUNT) >= STATE_TOPICS_MAX) {
        return apply_fail(
            apply,
            RIA_ERR_LIMIT,
            "the cluster has had %d topics, deleted ones included, its limit",
            STATE_TOPICS_MAX
        );
    }
    return RIA_OK;
}

static ria_err check_settings(struct apply *apply, const struct topic_spec *spec)
{
    struct topic_config config;
    char reason[512] = "";

    topic_config_init(&config, spec->replication_factor);
    for (uint32_t i = 0; i < spec->settings_count; i++) {
        const struct topic_setting *setting = &spec->settings[i];
        ria_err err =
            topic_config_set(&config, setting->name, setting->value, reason, sizeof(reason));
        if (err != RIA_OK) {
            return apply_fail(apply, err, "%s", reason);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (ria_slice_equal(setting->name, spec->settings[j].name)) {
                return apply_fail(
                    apply,
                    RIA_ERR_INVALID,
                    RIA_SLICE_FMT " is given twice",
                    RIA_SLICE_ARG(setting->name)
                );
            }
        }
    }
    ria_err err = topic_config_check(&config, spec->replication_factor, reason, sizeof(reason));
    return err == RIA_OK ? RIA_OK : apply_fail(apply, err, "%s", reason);
}

/* ---- creating ---- */

static ria_err write_topic(struct apply *apply, const struct topic_spec *spec)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_INSERT);

    meta_bind_uuid(stmt, 1, &spec->id);
    meta_bind_text(stmt, 2, spec->name);
    meta_bind_int(stmt, 3, spec->partition_count);
    meta_bind_int(stmt, 4, spec->replication_factor);
    meta_bind_int(stmt, 5, apply->command->time_ms);
    meta_bind_int(stmt, 6, apply_version(apply));
    RIA_TRY(meta_run(stmt));
    for (uint32_t i = 0; i < spec->settings_count; i++) {
        stmt = meta_query(apply->db, META_TOPIC_CONFIG_PUT);
        meta_bind_uuid(stmt, 1, &spec->id);
        meta_bind_text(stmt, 2, spec->settings[i].name);
        meta_bind_text(stmt, 3, spec->settings[i].value);
        RIA_TRY(meta_run(stmt));
    }
    return RIA_OK;
}

ria_err apply_topic_create(struct apply *apply, const struct topic_spec *spec)
{
    RIA_TRY(apply_check_range(
        apply, spec->partition_count_field, spec->partition_count, 1, RIA_PARTITIONS_MAX
    ));
    RIA_TRY(apply_check_range(
        apply, spec->replication_factor_field, spec->replication_factor, 1, RIA_REPLICAS_MAX
    ));
    RIA_TRY(check_settings(apply, spec));
    RIA_TRY(apply_check_room(apply, spec));
    RIA_TRY(write_topic(apply, spec));
    return apply_place(apply, spec);
}

/* The same id again: the same topic (out_again), or a mistake. */
static ria_err check_again(
    struct apply *apply,
    const struct create_topic_request *request,
    bool *out_again,
    struct create_topic_response *out_response
)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_BY_ID);

    meta_bind_uuid(stmt, 1, &request->topic_id);
    bool found = meta_step(stmt);
    bool same = found && meta_column_int(stmt, 1) == 0 &&
                ria_slice_equal(meta_column_text(stmt, 0), request->name);
    if (same) {
        *out_response = (struct create_topic_response){
            .partition_count = (int32_t)meta_column_int(stmt, 2),
            .replication_factor = (int16_t)meta_column_int(stmt, 3),
            .version = meta_column_int(stmt, 4),
        };
    }
    meta_done(stmt);
    *out_again = same;
    return found && !same ? apply_check_topic_id_is_new(apply, "topicId", &request->topic_id)
                          : RIA_OK;
}

static ria_err copy_settings(
    struct apply *apply,
    const struct create_topic_request *request,
    const struct topic_setting **out_settings
)
{
    struct topic_setting *settings =
        ria_arena_alloc_array(apply->arena, request->configs_count, sizeof(*settings));

    if (settings == NULL) {
        return ria_arena_err(apply->arena);
    }
    for (uint32_t i = 0; i < request->configs_count; i++) {
        settings[i].name = request->configs[i].name;
        settings[i].value = request->configs[i].value;
    }
    *out_settings = settings;
    return RIA_OK;
}

ria_err apply_create_topic(struct apply *apply, const void *body)
{
    const struct create_topic_request *request = body;
    const struct command *command = apply->command;
    struct create_topic_response *response = &apply->result->response.create_topic;
    struct topic_spec spec = {
        .id = request->topic_id,
        .name = request->name,
        .partition_count = request->partition_count,
        .replication_factor = request->replication_factor,
        .settings_count = request->configs_count,
        .partition_count_field = "partitionCount",
        .replication_factor_field = "replicationFactor",
    };
    bool again = false;

    RIA_TRY(apply_check_name(apply, request->name));
    RIA_TRY(apply_check_id(apply, "topicId", &request->topic_id));
    RIA_TRY(check_again(apply, request, &again, response));
    if (again) {
        return RIA_OK;
    }
    RIA_TRY(apply_check_topic_name_is_new(apply, request->name));
    if (spec.partition_count == -1) {
        spec.partition_count = command->default_partitions;
    }
    if (spec.replication_factor == -1) {
        spec.replication_factor = command->default_replicas;
    }
    RIA_TRY(copy_settings(apply, request, &spec.settings));
    RIA_TRY(apply_topic_create(apply, &spec));
    *response = (struct create_topic_response){
        .version = apply_version(apply),
        .partition_count = spec.partition_count,
        .replication_factor = spec.replication_factor,
    };
    return RIA_OK;
}

/* ---- deleting ---- */

static ria_err check_unused(struct apply *apply, struct ria_slice name, const struct ria_uuid *id)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TRANSFORM_USING_TOPIC);
    ria_err err = RIA_OK;

    meta_bind_uuid(stmt, 1, id);
    if (meta_step(stmt)) {
        err = apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "topic \"" RIA_SLICE_FMT "\" is %s by transform \"" RIA_SLICE_FMT
            "\": delete the transform first",
            RIA_SLICE_ARG(name),
            meta_column_int(stmt, 1) != 0 ? "read" : "written",
            RIA_SLICE_ARG(meta_column_text(stmt, 0))
        );
    }
    meta_done(stmt);
    return err;
}

static ria_err run_by_id(struct apply *apply, meta_sql sql, const struct ria_uuid *id)
{
    struct meta_stmt *stmt = meta_query(apply->db, sql);

    meta_bind_uuid(stmt, 1, id);
    return meta_run(stmt);
}

ria_err apply_delete_topic(struct apply *apply, const void *body)
{
    const struct delete_topic_request *request = body;
    struct topic_row row;
    char reason[512];

    if (topic_name_check(request->name, reason, sizeof(reason)) != RIA_OK) {
        return apply_fail(apply, RIA_ERR_UNKNOWN_TOPIC, "no such topic: %s", reason);
    }
    bool found = apply_find_topic(apply, request->name, &row);
    bool is_any = ria_uuid_is_zero(request->topic_id);
    if (!found || !(is_any || ria_uuid_equal(request->topic_id, row.id))) {
        return apply_fail(
            apply,
            RIA_ERR_UNKNOWN_TOPIC,
            "topic \"" RIA_SLICE_FMT "\" does not exist",
            RIA_SLICE_ARG(request->name)
        );
    }
    RIA_TRY(check_unused(apply, request->name, &row.id));
    RIA_TRY(apply_unplace(apply, &row.id));
    RIA_TRY(run_by_id(apply, META_PARTITIONS_DELETE, &row.id));
    RIA_TRY(run_by_id(apply, META_TOPIC_CONFIGS_DELETE, &row.id));
    RIA_TRY(apply_groups_drop_topic(apply, &row.id));

    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_DELETE);
    meta_bind_uuid(stmt, 1, &row.id);
    meta_bind_int(stmt, 2, apply->command->time_ms);
    meta_bind_int(stmt, 3, apply_version(apply));
    RIA_TRY(meta_run(stmt));
    apply->result->response.delete_topic = (struct delete_topic_response){
        .version = apply_version(apply),
        .topic_id = row.id,
    };
    return RIA_OK;
}

/* ---- producer ids ---- */

ria_err apply_allocate_producer_ids(struct apply *apply, const void *body)
{
    const struct allocate_producer_ids_request *request = body;

    RIA_TRY(apply_check_range(apply, "count", request->count, 1, STATE_PRODUCER_IDS_MAX));
    apply->result->response.allocate_producer_ids.first_producer_id = apply->next_producer_id;
    apply->next_producer_id += request->count;
    return RIA_OK;
}
