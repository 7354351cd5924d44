/* AlterTopic: settings that change while a topic is used, and more partitions.
 *
 * All of a command or nothing. What a changed setting means for the partitions is settled in the
 * same command, before anybody can hear of it:
 *
 * - min.insync.replicas bounds who is eligible to lead without being in sync (KIP-966): those have
 *   all that is committed only because nothing was committed without them. Once the minimum is
 *   lower their leader commits alone, so they are struck out first.
 * - A leader that has not heard of a higher minimum yet may still commit by the lower one. What it
 *   then proposes for its in-sync set must not be judged by the higher one, so every partition gets
 *   the next partition epoch: the proposal is refused until its sender has the new settings.
 */
#include <inttypes.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/alter_topic_request.h"

#include "services/coordinator/apply_groups.h"
#include "services/coordinator/leader_choice.h"
#include "services/shared/topic_config.h"

typedef struct alter_topic_request_alter_topic_config config_change;

/* A topic while it is altered. */
struct alteration {
    const struct alter_topic_request *request;
    struct topic_row topic;
    int32_t config_epoch;
    bool was_relaxed;
    struct topic_config before;
    struct topic_config after;
    bool has_changes; /* of the rows in topic_configs */
};

/* ---- reading ---- */

static ria_err find_topic(struct apply *apply, struct alteration *a)
{
    char id[RIA_UUID_TEXT_SIZE];
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_BY_ID);

    meta_bind_uuid(stmt, 1, &a->request->topic_id);
    bool found = meta_step(stmt) && meta_column_int(stmt, 1) == 0;
    if (found) {
        a->topic = (struct topic_row){
            .id = a->request->topic_id,
            .partition_count = (int32_t)meta_column_int(stmt, 2),
            .replication_factor = (int16_t)meta_column_int(stmt, 3),
            .version = meta_column_int(stmt, 4),
        };
        a->config_epoch = (int32_t)meta_column_int(stmt, 5);
        a->was_relaxed = meta_column_int(stmt, 6) != 0;
    }
    meta_done(stmt);
    if (!found) {
        ria_uuid_format(a->request->topic_id, id);
        return apply_fail(apply, RIA_ERR_UNKNOWN_TOPIC, "topicId %s does not exist", id);
    }
    return RIA_OK;
}

static void read_before(struct apply *apply, struct alteration *a)
{
    char reason[512];
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_CONFIGS);

    topic_config_init(&a->before, a->topic.replication_factor);
    meta_bind_uuid(stmt, 1, &a->topic.id);
    while (meta_step(stmt)) {
        ria_err err = topic_config_set(
            &a->before, meta_column_text(stmt, 0), meta_column_text(stmt, 1), reason, sizeof(reason)
        );
        RIA_ASSERT(err == RIA_OK); /* it was checked when it was written */
    }
    meta_done(stmt);
    a->after = a->before;
}

/* The row is there with that value, or (null) is not there. */
static bool is_so(struct apply *apply, const struct ria_uuid *id, const config_change *change)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_CONFIG_GET);

    meta_bind_uuid(stmt, 1, id);
    meta_bind_text(stmt, 2, change->name);
    bool found = meta_step(stmt);
    bool wanted = !ria_slice_is_null(change->value);
    bool so =
        found == wanted && (!found || ria_slice_equal(meta_column_text(stmt, 0), change->value));
    meta_done(stmt);
    return so;
}

/* ---- checks ---- */

static ria_err check_change(struct apply *apply, struct alteration *a, uint32_t position)
{
    const config_change *change = &a->request->configs[position];
    char reason[512] = "";
    ria_err err = RIA_OK;

    for (uint32_t i = 0; i < position; i++) {
        if (ria_slice_equal(change->name, a->request->configs[i].name)) {
            return apply_fail(
                apply, RIA_ERR_INVALID, RIA_SLICE_FMT " is given twice", RIA_SLICE_ARG(change->name)
            );
        }
    }
    if (ria_slice_is_null(change->value)) {
        err = topic_config_check_name(change->name, reason, sizeof(reason));
        if (err == RIA_OK) {
            topic_config_unset(&a->after, change->name, a->topic.replication_factor);
        }
    } else {
        err = topic_config_set(&a->after, change->name, change->value, reason, sizeof(reason));
    }
    if (err != RIA_OK) {
        return apply_fail(apply, err, "%s", reason);
    }
    a->has_changes = a->has_changes || !is_so(apply, &a->topic.id, change);
    return RIA_OK;
}

static ria_err check_changes(struct apply *apply, struct alteration *a)
{
    char reason[512] = "";

    for (uint32_t i = 0; i < a->request->configs_count; i++) {
        RIA_TRY(check_change(apply, a, i));
    }
    ria_err err =
        topic_config_check(&a->after, a->topic.replication_factor, reason, sizeof(reason));
    if (err != RIA_OK) {
        return apply_fail(apply, err, "%s", reason);
    }
    if (a->has_changes && a->config_epoch == INT32_MAX) {
        return apply_fail(apply, RIA_ERR_LIMIT, "the topic's settings were changed too often");
    }
    return RIA_OK;
}

/* A transform reads and writes partition by partition: it has a task for each that was there when
 * it was made, and would never read the others. */
static ria_err check_no_transform(struct apply *apply, const struct alteration *a)
{
    struct meta_stmt *stmt = meta_query(apply->db, META_TRANSFORM_USING_TOPIC);
    ria_err err = RIA_OK;

    meta_bind_uuid(stmt, 1, &a->topic.id);
    if (meta_step(stmt)) {
        err = apply_fail(
            apply,
            RIA_ERR_CONFLICT,
            "partitionCount: the topic is %s by transform \"" RIA_SLICE_FMT
            "\", which would not see more partitions",
            meta_column_int(stmt, 1) != 0 ? "read" : "written",
            RIA_SLICE_ARG(meta_column_text(stmt, 0))
        );
    }
    meta_done(stmt);
    return err;
}

static bool grows(const struct alteration *a)
{
    return a->request->partition_count > a->topic.partition_count;
}

static ria_err check_growth(struct apply *apply, const struct alteration *a)
{
    if (a->request->partition_count == -1) {
        return RIA_OK;
    }
    RIA_TRY(apply_check_range(
        apply,
        "partitionCount",
        a->request->partition_count,
        a->topic.partition_count,
        RIA_PARTITIONS_MAX
    ));
    return grows(a) ? check_no_transform(apply, a) : RIA_OK;
}

/* ---- writing ---- */

static ria_err write_changes(struct apply *apply, const struct alteration *a)
{
    for (uint32_t i = 0; i < a->request->configs_count; i++) {
        const config_change *change = &a->request->configs[i];
        bool is_set = !ria_slice_is_null(change->value);
        struct meta_stmt *stmt =
            meta_query(apply->db, is_set ? META_TOPIC_CONFIG_PUT : META_TOPIC_CONFIG_DELETE);
        meta_bind_uuid(stmt, 1, &a->topic.id);
        meta_bind_text(stmt, 2, change->name);
        if (is_set) {
            meta_bind_text(stmt, 3, change->value);
        }
        RIA_TRY(meta_run(stmt));
    }
    return RIA_OK;
}

static ria_err write_topic(struct apply *apply, const struct alteration *a)
{
    bool hardened = a->before.durability == TOPIC_DURABILITY_RELAXED &&
                    a->after.durability == TOPIC_DURABILITY_SYNCED;
    struct meta_stmt *stmt = meta_query(apply->db, META_TOPIC_ALTER);

    meta_bind_uuid(stmt, 1, &a->topic.id);
    meta_bind_int(stmt, 2, a->config_epoch + (a->has_changes ? 1 : 0));
    meta_bind_int(stmt, 3, a->was_relaxed || hardened ? 1 : 0);
    meta_bind_int(stmt, 4, ria_max_i64(a->request->partition_count, a->topic.partition_count));
    meta_bind_int(stmt, 5, apply_version(apply));
    return meta_run(stmt);
}

static ria_err settle_partitions(struct apply *apply, const struct alteration *a)
{
    if (a->before.min_insync_replicas == a->after.min_insync_replicas) {
        return RIA_OK;
    }
    for (int32_t i = 0; i < a->topic.partition_count; i++) {
        struct partition_row before;
        bool found = partition_row_read(apply->db, &a->topic.id, i, &before);
        RIA_ASSERT(found);
        struct partition_row after = before;
        leader_bound_eligible(&after, a->after.min_insync_replicas);
        RIA_TRY(apply_renew_partition(apply, &before, &after));
    }
    return RIA_OK;
}

static ria_err add_partitions(struct apply *apply, const struct alteration *a)
{
    const struct topic_spec spec = {
        .id = a->topic.id,
        .first_partition = a->topic.partition_count,
        .partition_count = a->request->partition_count,
        .replication_factor = a->topic.replication_factor,
        .replication_factor_field = "the topic's replication factor",
    };

    RIA_TRY(apply_check_room(apply, &spec));
    RIA_TRY(apply_place(apply, &spec));
    return apply_groups_grow_topic(
        apply, &a->topic.id, a->topic.partition_count, a->request->partition_count
    );
}

static ria_err write_alteration(struct apply *apply, const struct alteration *a)
{
    RIA_TRY(write_topic(apply, a));
    RIA_TRY(write_changes(apply, a));
    RIA_TRY(settle_partitions(apply, a));
    return grows(a) ? add_partitions(apply, a) : RIA_OK;
}

/* ---- the command ---- */

ria_err apply_alter_topic(struct apply *apply, const void *body)
{
    struct alter_topic_response *response = &apply->result->response.alter_topic;
    struct alteration a = {.request = body};

    RIA_TRY(find_topic(apply, &a));
    *response = (struct alter_topic_response){
        .version = a.topic.version,
        .config_epoch = a.config_epoch,
        .stale = a.request->config_epoch != -1 && a.request->config_epoch != a.config_epoch,
    };
    if (response->stale) {
        return RIA_OK;
    }
    read_before(apply, &a);
    RIA_TRY(check_changes(apply, &a));
    RIA_TRY(check_growth(apply, &a));
    if (a.request->validate_only || (!a.has_changes && !grows(&a))) {
        return RIA_OK;
    }
    RIA_TRY(write_alteration(apply, &a));
    response->version = apply_version(apply);
    response->config_epoch += a.has_changes ? 1 : 0;
    return RIA_OK;
}
