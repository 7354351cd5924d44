#include "services/shared/cluster_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

/* ---- life ---- */

void cluster_view_init(struct cluster_view *view)
{
    *view = (struct cluster_view){0};
    ria_map_init(&view->nodes);
    ria_map_init(&view->topics);
    ria_map_init(&view->topics_by_name);
    ria_map_init(&view->transforms);
    ria_map_init(&view->transforms_by_name);
    ria_list_init(&view->topic_list);
    ria_list_init(&view->transform_list);
}

static void topic_free(struct cluster_topic *topic)
{
    for (int32_t i = 0; i < topic->partition_count; i++) {
        free(topic->partitions[i]);
    }
    free(topic->partitions);
    free(topic);
}

static void transform_free(struct cluster_transform *transform)
{
    for (uint32_t i = 0; i < transform->task_count; i++) {
        free(transform->tasks[i]);
    }
    free(transform->tasks);
    free(transform->sql);
    free(transform);
}

void cluster_view_fini(struct cluster_view *view)
{
    struct cluster_node *node = NULL;
    size_t cursor = 0;

    while ((node = ria_map_next(&view->nodes, &cursor)) != NULL) {
        free(node);
    }
    RIA_LIST_FOREACH (it, &view->topic_list) {
        topic_free(RIA_CONTAINER(it, struct cluster_topic, link));
    }
    RIA_LIST_FOREACH (it, &view->transform_list) {
        transform_free(RIA_CONTAINER(it, struct cluster_transform, link));
    }
    ria_map_fini(&view->nodes);
    ria_map_fini(&view->topics);
    ria_map_fini(&view->topics_by_name);
    ria_map_fini(&view->transforms);
    ria_map_fini(&view->transforms_by_name);
}

/* ---- pieces ---- */

/* The decoder has bounded the slice below the buffer's size. */
static void copy_text(char *out, size_t out_size, struct ria_slice text)
{
    RIA_ASSERT(text.size < out_size);

    if (text.size > 0) {
        memcpy(out, text.data, text.size);
    }
    out[text.size] = '\0';
}

static void copy_ids(int32_t *out, uint32_t *out_count, const int32_t *ids, uint32_t count)
{
    RIA_ASSERT(count <= RIA_REPLICAS_MAX);

    if (count > 0) {
        memcpy(out, ids, count * sizeof(*ids));
    }
    *out_count = count;
}

static void copy_nodes(struct cluster_nodes *out, const int32_t *ids, uint32_t count)
{
    copy_ids(out->ids, &out->count, ids, count);
}

/* Have `value` found by name, or not: a name may pass from a deleted thing to a new one, in
 * whatever order a reply brings the two. */
static ria_err index_name(struct ria_map *by_name, const char *name, void *value, bool deleted)
{
    if (!deleted) {
        return ria_map_put(by_name, name, strlen(name), value);
    }
    if (ria_map_get(by_name, name, strlen(name)) == value) {
        (void)ria_map_remove(by_name, name, strlen(name));
    }
    return RIA_OK;
}

static struct cluster_topic *topic_of(const struct cluster_view *view, const struct ria_uuid *id)
{
    return ria_map_get(&view->topics, id, sizeof(*id));
}

static struct cluster_transform *
transform_of(const struct cluster_view *view, const struct ria_uuid *id)
{
    return ria_map_get(&view->transforms, id, sizeof(*id));
}

/* ---- nodes ---- */

bool cluster_nodes_has(const struct cluster_nodes *nodes, int32_t node_id)
{
    for (uint32_t i = 0; i < nodes->count; i++) {
        if (nodes->ids[i] == node_id) {
            return true;
        }
    }
    return false;
}

static ria_err check_node(const struct metadata_response_metadata_node *row, char *reason)
{
    if (row->state < CLUSTER_NODE_ACTIVE || row->state > CLUSTER_NODE_REMOVED) {
        (void)snprintf(reason, CLUSTER_VIEW_REASON_SIZE, "a node has state %d", row->state);
        return RIA_ERR_INVALID;
    }
    return RIA_OK;
}

static ria_err
merge_node(struct cluster_view *view, const struct metadata_response_metadata_node *row)
{
    struct cluster_node *node = ria_map_get(&view->nodes, &row->node_id, sizeof(row->node_id));
    bool is_known = node != NULL;

    if (node == NULL) {
        node = calloc(1, sizeof(*node));
        if (node == NULL) {
            return RIA_ERR_NOMEM;
        }
        node->id = row->node_id;
        ria_err err = ria_map_put(&view->nodes, &node->id, sizeof(node->id), node);
        if (err != RIA_OK) {
            free(node);
            return err;
        }
    }
    copy_text(node->address, sizeof(node->address), row->address);
    copy_text(node->rack, sizeof(node->rack), row->rack);
    node->state = (cluster_node_state)row->state;
    node->draining = row->draining;
    node->drain_epoch = row->drain_epoch;
    node->restarted = is_known && node->incarnation != row->incarnation;
    node->incarnation = row->incarnation;
    return RIA_OK;
}

/* ---- topics ---- */

/* Each partition is allocated on its own: others keep pointers to it while the topic grows. */
static ria_err grow_partitions(struct cluster_topic *topic, int32_t count)
{
    if (count <= topic->partition_count) {
        return RIA_OK;
    }
    struct cluster_partition **partitions =
        realloc(topic->partitions, (size_t)count * sizeof(struct cluster_partition *));
    if (partitions == NULL) {
        return RIA_ERR_NOMEM;
    }
    topic->partitions = partitions;
    while (topic->partition_count < count) {
        struct cluster_partition *partition = calloc(1, sizeof(*partition));
        if (partition == NULL) {
            return RIA_ERR_NOMEM;
        }
        partition->topic = topic;
        partition->number = topic->partition_count;
        partition->leader = -1;
        partition->leader_epoch = -1;
        partition->partition_epoch = -1;
        partition->forced_epoch = -1;
        partitions[topic->partition_count++] = partition;
    }
    return RIA_OK;
}

static ria_err
new_topic(struct cluster_view *view, const struct ria_uuid *id, struct cluster_topic **out_topic)
{
    struct cluster_topic *topic = calloc(1, sizeof(*topic));

    if (topic == NULL) {
        return RIA_ERR_NOMEM;
    }
    topic->id = *id;
    ria_err err = ria_map_put(&view->topics, &topic->id, sizeof(topic->id), topic);
    if (err != RIA_OK) {
        free(topic);
        return err;
    }
    ria_list_push_back(&view->topic_list, &topic->link);
    *out_topic = topic;
    return RIA_OK;
}

/* A setting that this process does not know (yet) keeps its default; the sentence is reported. */
static void merge_config(
    struct cluster_topic *topic, const struct metadata_response_metadata_topic *row, char *reason
)
{
    topic_config_init(&topic->config, topic->replication_factor);
    topic->config_epoch = row->config_epoch;
    topic->was_relaxed = row->was_relaxed;
    for (uint32_t i = 0; i < row->configs_count; i++) {
        char why[CLUSTER_VIEW_REASON_SIZE] = "";
        ria_err err = topic_config_set(
            &topic->config, row->configs[i].name, row->configs[i].value, why, sizeof(why)
        );
        if (err != RIA_OK) {
            (void)snprintf(reason, CLUSTER_VIEW_REASON_SIZE, "%s", why);
        }
    }
}

static ria_err merge_topic(
    struct cluster_view *view, const struct metadata_response_metadata_topic *row, char *reason
)
{
    struct cluster_topic *topic = topic_of(view, &row->topic_id);
    bool is_known = topic != NULL;

    if (row->partition_count < 1 || row->partition_count > RIA_PARTITIONS_MAX) {
        (void)snprintf(
            reason,
            CLUSTER_VIEW_REASON_SIZE,
            "a topic has %" PRId32 " partitions",
            row->partition_count
        );
        return RIA_ERR_INVALID;
    }
    if (topic == NULL) {
        RIA_TRY(new_topic(view, &row->topic_id, &topic));
        copy_text(topic->name, sizeof(topic->name), row->name); /* a topic keeps its name */
    }
    topic->replication_factor = row->replication_factor;
    topic->deleted = topic->deleted || row->deleted;
    if (!is_known || !row->is_ahead) {
        merge_config(topic, row, reason);
    }
    RIA_TRY(grow_partitions(topic, row->partition_count));
    return index_name(&view->topics_by_name, topic->name, topic, topic->deleted);
}

/* ---- partitions ---- */

static struct cluster_partition *
partition_of(const struct cluster_view *view, const struct ria_uuid *topic_id, int32_t number)
{
    struct cluster_topic *topic = topic_of(view, topic_id);

    if (topic == NULL || number < 0 || number >= topic->partition_count) {
        return NULL;
    }
    return topic->partitions[number];
}

static ria_err merge_partition(
    struct cluster_view *view, const struct metadata_response_metadata_partition *row, char *reason
)
{
    struct cluster_partition *partition = partition_of(view, &row->topic_id, row->partition);

    if (partition == NULL) {
        (void)snprintf(
            reason,
            CLUSTER_VIEW_REASON_SIZE,
            "partition %" PRId32 " of a topic that is not known or has fewer partitions",
            row->partition
        );
        return RIA_ERR_INVALID;
    }
    if (row->partition_epoch < partition->partition_epoch ||
        row->leader_epoch < partition->leader_epoch) {
        return RIA_OK; /* epochs only grow */
    }
    partition->leader = row->leader;
    partition->leader_epoch = row->leader_epoch;
    partition->partition_epoch = row->partition_epoch;
    copy_ids(partition->replicas, &partition->replica_count, row->replicas, row->replicas_count);
    copy_ids(partition->isr, &partition->isr_count, row->isr, row->isr_count);
    copy_nodes(&partition->eligible, row->eligible, row->eligible_count);
    copy_nodes(&partition->unfit, row->unfit, row->unfit_count);
    copy_nodes(&partition->target, row->target, row->target_count);
    copy_nodes(&partition->dropped, row->dropped, row->dropped_count);
    partition->forced_epoch = row->forced_epoch;
    return RIA_OK;
}

/* ---- transforms ---- */

static ria_err new_transform(
    struct cluster_view *view, const struct ria_uuid *id, struct cluster_transform **out_transform
)
{
    struct cluster_transform *transform = calloc(1, sizeof(*transform));

    if (transform == NULL) {
        return RIA_ERR_NOMEM;
    }
    transform->id = *id;
    ria_err err = ria_map_put(&view->transforms, &transform->id, sizeof(transform->id), transform);
    if (err != RIA_OK) {
        free(transform);
        return err;
    }
    ria_list_push_back(&view->transform_list, &transform->link);
    *out_transform = transform;
    return RIA_OK;
}

static ria_err
merge_transform(struct cluster_view *view, const struct metadata_response_metadata_transform *row)
{
    struct cluster_transform *transform = transform_of(view, &row->transform_id);
    char *sql = malloc(row->sql.size + 1);

    if (sql == NULL) {
        return RIA_ERR_NOMEM;
    }
    copy_text(sql, row->sql.size + 1, row->sql);
    if (transform == NULL) {
        ria_err err = new_transform(view, &row->transform_id, &transform);
        if (err != RIA_OK) {
            free(sql);
            return err;
        }
        copy_text(transform->name, sizeof(transform->name), row->name);
    }
    free(transform->sql);
    transform->sql = sql;
    transform->deleted = transform->deleted || row->deleted;
    transform->source_topic_id = row->source_topic_id;
    transform->output_topic_id = row->output_topic_id;
    transform->errors_topic_id = row->errors_topic_id;
    return index_name(&view->transforms_by_name, transform->name, transform, transform->deleted);
}

/* ---- tasks ---- */

static ria_err grow_tasks(struct cluster_transform *transform, uint32_t count)
{
    if (count <= transform->task_count) {
        return RIA_OK;
    }
    struct cluster_task **tasks = realloc(transform->tasks, count * sizeof(struct cluster_task *));
    if (tasks == NULL) {
        return RIA_ERR_NOMEM;
    }
    transform->tasks = tasks;
    while (transform->task_count < count) {
        struct cluster_task *task = calloc(1, sizeof(*task));
        if (task == NULL) {
            return RIA_ERR_NOMEM;
        }
        task->transform = transform;
        task->partition = (int32_t)transform->task_count;
        task->epoch = -1;
        task->producer_id = -1;
        tasks[transform->task_count++] = task;
    }
    return RIA_OK;
}

static struct cluster_task *
task_of(const struct cluster_view *view, const struct metadata_response_metadata_task *row)
{
    struct cluster_transform *transform = transform_of(view, &row->transform_id);

    if (transform == NULL || row->partition < 0 ||
        (uint32_t)row->partition >= transform->task_count) {
        return NULL;
    }
    return transform->tasks[row->partition];
}

static ria_err merge_task(
    struct cluster_view *view, const struct metadata_response_metadata_task *row, char *reason
)
{
    struct cluster_transform *transform = transform_of(view, &row->transform_id);

    if (transform == NULL || row->partition < 0 || row->partition >= RIA_PARTITIONS_MAX) {
        (void)snprintf(
            reason,
            CLUSTER_VIEW_REASON_SIZE,
            "task %" PRId32 " of a transform that is not known or cannot have it",
            row->partition
        );
        return RIA_ERR_INVALID;
    }
    RIA_TRY(grow_tasks(transform, (uint32_t)row->partition + 1));

    struct cluster_task *task = transform->tasks[row->partition];
    if (row->producer_id == task->producer_id && row->epoch < task->epoch) {
        return RIA_OK; /* epochs only grow */
    }
    task->worker = row->worker;
    task->epoch = row->epoch;
    task->producer_id = row->producer_id;
    task->position = row->position;
    return RIA_OK;
}

/* ---- a whole reply ---- */

static ria_err
check_whole(const struct cluster_view *view, const struct metadata_response *response, char *reason)
{
    if (!ria_uuid_is_zero(view->cluster_id) &&
        !ria_uuid_equal(view->cluster_id, response->cluster_id)) {
        (void
        )snprintf(reason, CLUSTER_VIEW_REASON_SIZE, "the coordinator belongs to another cluster");
        return RIA_ERR_WRONG_CLUSTER;
    }
    if (response->version < view->version) {
        (void)snprintf(
            reason,
            CLUSTER_VIEW_REASON_SIZE,
            "the coordinator has version %" PRId64 ", older than the %" PRId64
            " known here: has it lost its database?",
            response->version,
            view->version
        );
        return RIA_ERR_CONFLICT;
    }
    return RIA_OK;
}

static ria_err
merge_rows(struct cluster_view *view, const struct metadata_response *response, char *reason)
{
    for (uint32_t i = 0; i < response->nodes_count; i++) {
        RIA_TRY(check_node(&response->nodes[i], reason));
        RIA_TRY(merge_node(view, &response->nodes[i]));
    }
    for (uint32_t i = 0; i < response->topics_count; i++) {
        RIA_TRY(merge_topic(view, &response->topics[i], reason));
    }
    for (uint32_t i = 0; i < response->partitions_count; i++) {
        RIA_TRY(merge_partition(view, &response->partitions[i], reason));
    }
    for (uint32_t i = 0; i < response->transforms_count; i++) {
        RIA_TRY(merge_transform(view, &response->transforms[i]));
    }
    for (uint32_t i = 0; i < response->tasks_count; i++) {
        RIA_TRY(merge_task(view, &response->tasks[i], reason));
    }
    return RIA_OK;
}

ria_err cluster_view_merge(
    struct cluster_view *view, const struct metadata_response *response, char *reason
)
{
    reason[0] = '\0';
    RIA_TRY(check_whole(view, response, reason));
    RIA_TRY(merge_rows(view, response, reason));
    view->cluster_id = response->cluster_id;
    view->version = response->version;
    return RIA_OK;
}

/* Everything is known once the reply is merged: the lookups cannot fail. */
void cluster_view_announce(
    const struct cluster_view *view,
    const struct metadata_response *response,
    const struct cluster_callbacks *callbacks,
    void *arg
)
{
    for (uint32_t i = 0; callbacks->node != NULL && i < response->nodes_count; i++) {
        const int32_t *id = &response->nodes[i].node_id;
        callbacks->node(arg, ria_map_get(&view->nodes, id, sizeof(*id)));
    }
    for (uint32_t i = 0; callbacks->topic != NULL && i < response->topics_count; i++) {
        callbacks->topic(arg, topic_of(view, &response->topics[i].topic_id));
    }
    for (uint32_t i = 0; callbacks->partition != NULL && i < response->partitions_count; i++) {
        const struct metadata_response_metadata_partition *row = &response->partitions[i];
        callbacks->partition(arg, partition_of(view, &row->topic_id, row->partition));
    }
    for (uint32_t i = 0; callbacks->transform != NULL && i < response->transforms_count; i++) {
        callbacks->transform(arg, transform_of(view, &response->transforms[i].transform_id));
    }
    for (uint32_t i = 0; callbacks->task != NULL && i < response->tasks_count; i++) {
        callbacks->task(arg, task_of(view, &response->tasks[i]));
    }
    if (callbacks->done != NULL) {
        callbacks->done(arg);
    }
}
