#include "services/shared/cluster_view.h"

#include <stdio.h>
#include <string.h>

#include "common/limits.h"

#include "tests/lib/harness.h"

static const struct ria_uuid cluster_uuid = {{0xc1}};
static const struct ria_uuid topic_a = {{0xa}};
static const struct ria_uuid topic_b = {{0xb}};
static const struct ria_uuid transform_t = {{0x7}};
static const struct ria_uuid worker_w = {{0x9}};

static struct ria_slice text(const char *s)
{
    return ria_slice_cstr(s);
}

static struct metadata_response response_at(int64_t version)
{
    return (struct metadata_response){.version = version, .cluster_id = cluster_uuid};
}

static struct metadata_response_metadata_topic
topic_row(struct ria_uuid id, const char *name, int32_t partitions)
{
    return (struct metadata_response_metadata_topic){
        .topic_id = id,
        .name = text(name),
        .partition_count = partitions,
        .replication_factor = 3,
    };
}

static ria_err merge(struct cluster_view *view, const struct metadata_response *response)
{
    char reason[CLUSTER_VIEW_REASON_SIZE] = "";
    ria_err err = cluster_view_merge(view, response, reason);

    CU_ASSERT_TRUE(err == RIA_OK || err == RIA_ERR_NOMEM || reason[0] != '\0');
    return err;
}

static ria_err
merge_topic(struct cluster_view *view, int64_t version, struct metadata_response_metadata_topic row)
{
    struct metadata_response response = response_at(version);

    response.topics = &row;
    response.topics_count = 1;
    return merge(view, &response);
}

static struct cluster_topic *topic_of(const struct cluster_view *view, struct ria_uuid id)
{
    return ria_map_get(&view->topics, &id, sizeof(id));
}

static struct cluster_topic *topic_named(const struct cluster_view *view, const char *name)
{
    return ria_map_get(&view->topics_by_name, name, strlen(name));
}

static ria_err merge_partition(
    struct cluster_view *view, int64_t version, struct metadata_response_metadata_partition row
)
{
    struct metadata_response response = response_at(version);

    response.partitions = &row;
    response.partitions_count = 1;
    return merge(view, &response);
}

static void node_is_added_and_moves(void)
{
    struct cluster_view view;
    struct metadata_response response = response_at(1);
    struct metadata_response_metadata_node row = {
        .node_id = 7, .address = text("tcp://a:1"), .rack = text("r1")};
    int32_t id = 7;

    cluster_view_init(&view);
    response.nodes = &row;
    response.nodes_count = 1;
    CU_ASSERT_EQUAL(merge(&view, &response), RIA_OK);
    struct cluster_node *node = ria_map_get(&view.nodes, &id, sizeof(id));
    CU_ASSERT_PTR_NOT_NULL_FATAL(node);
    CU_ASSERT_STRING_EQUAL(node->address, "tcp://a:1");
    CU_ASSERT_STRING_EQUAL(node->rack, "r1");

    row.address = text("tcp://b:2");
    row.rack = RIA_SLICE_NULL;
    response.version = 2;
    CU_ASSERT_EQUAL(merge(&view, &response), RIA_OK);
    CU_ASSERT_PTR_EQUAL(ria_map_get(&view.nodes, &id, sizeof(id)), node);
    CU_ASSERT_STRING_EQUAL(node->address, "tcp://b:2");
    CU_ASSERT_STRING_EQUAL(node->rack, "");
    CU_ASSERT_EQUAL(view.version, 2);
    cluster_view_fini(&view);
}

static void new_topic_has_partitions_without_leader(void)
{
    struct cluster_view view;

    cluster_view_init(&view);
    CU_ASSERT_EQUAL(merge_topic(&view, 1, topic_row(topic_a, "a", 3)), RIA_OK);
    struct cluster_topic *topic = topic_named(&view, "a");
    CU_ASSERT_PTR_NOT_NULL_FATAL(topic);
    CU_ASSERT_PTR_EQUAL(topic, topic_of(&view, topic_a));
    CU_ASSERT_EQUAL(topic->partition_count, 3);
    CU_ASSERT_EQUAL(topic->config.min_insync_replicas, 2);
    for (int32_t i = 0; i < 3; i++) {
        CU_ASSERT_PTR_EQUAL(topic->partitions[i]->topic, topic);
        CU_ASSERT_EQUAL(topic->partitions[i]->number, i);
        CU_ASSERT_EQUAL(topic->partitions[i]->leader, -1);
        CU_ASSERT_EQUAL(topic->partitions[i]->leader_epoch, -1);
        CU_ASSERT_EQUAL(topic->partitions[i]->partition_epoch, -1);
        CU_ASSERT_EQUAL(topic->partitions[i]->isr_count, 0);
    }
    cluster_view_fini(&view);
}

static void partitions_stay_where_they_are_when_a_topic_grows(void)
{
    struct cluster_view view;
    struct cluster_partition *before[3];
    int user = 0;

    cluster_view_init(&view);
    CU_ASSERT_EQUAL(merge_topic(&view, 1, topic_row(topic_a, "a", 3)), RIA_OK);
    struct cluster_topic *topic = topic_of(&view, topic_a);
    CU_ASSERT_PTR_NOT_NULL_FATAL(topic);
    memcpy(before, topic->partitions, sizeof(before));
    before[1]->user = &user;

    CU_ASSERT_EQUAL(merge_topic(&view, 2, topic_row(topic_a, "a", RIA_PARTITIONS_MAX)), RIA_OK);
    CU_ASSERT_EQUAL(topic->partition_count, RIA_PARTITIONS_MAX);
    CU_ASSERT_EQUAL(memcmp(before, topic->partitions, sizeof(before)), 0);
    CU_ASSERT_PTR_EQUAL(topic->partitions[1]->user, &user);
    CU_ASSERT_EQUAL(topic->partitions[RIA_PARTITIONS_MAX - 1]->number, RIA_PARTITIONS_MAX - 1);

    /* A topic never shrinks. */
    CU_ASSERT_EQUAL(merge_topic(&view, 3, topic_row(topic_a, "a", 1)), RIA_OK);
    CU_ASSERT_EQUAL(topic->partition_count, RIA_PARTITIONS_MAX);
    cluster_view_fini(&view);
}

static void impossible_partition_count_is_refused(void)
{
    static const int32_t counts[] = {0, -1, INT32_MIN, RIA_PARTITIONS_MAX + 1, INT32_MAX};
    struct cluster_view view;

    cluster_view_init(&view);
    for (size_t i = 0; i < RIA_COUNT(counts); i++) {
        CU_ASSERT_EQUAL(merge_topic(&view, 1, topic_row(topic_a, "a", counts[i])), RIA_ERR_INVALID);
    }
    CU_ASSERT_EQUAL(view.version, 0);
    cluster_view_fini(&view);
}

static void deleted_topic_is_found_by_id_only(void)
{
    struct cluster_view view;
    struct metadata_response_metadata_topic row = topic_row(topic_a, "a", 1);

    cluster_view_init(&view);
    CU_ASSERT_EQUAL(merge_topic(&view, 1, row), RIA_OK);
    row.deleted = true;
    CU_ASSERT_EQUAL(merge_topic(&view, 2, row), RIA_OK);
    CU_ASSERT_PTR_NULL(topic_named(&view, "a"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(topic_of(&view, topic_a));
    CU_ASSERT_TRUE(topic_of(&view, topic_a)->deleted);
    CU_ASSERT_FALSE(ria_list_is_empty(&view.topic_list));

    row.deleted = false; /* deletion is for ever */
    CU_ASSERT_EQUAL(merge_topic(&view, 3, row), RIA_OK);
    CU_ASSERT_TRUE(topic_of(&view, topic_a)->deleted);
    CU_ASSERT_PTR_NULL(topic_named(&view, "a"));
    cluster_view_fini(&view);
}

static void name_passes_to_a_new_topic_in_either_order(void)
{
    for (int order = 0; order < 2; order++) {
        struct cluster_view view;
        struct metadata_response response = response_at(2);
        struct metadata_response_metadata_topic rows[2];

        cluster_view_init(&view);
        CU_ASSERT_EQUAL(merge_topic(&view, 1, topic_row(topic_a, "name", 1)), RIA_OK);
        rows[order] = topic_row(topic_a, "name", 1);
        rows[order].deleted = true;
        rows[1 - order] = topic_row(topic_b, "name", 1);
        response.topics = rows;
        response.topics_count = 2;
        CU_ASSERT_EQUAL(merge(&view, &response), RIA_OK);
        CU_ASSERT_PTR_NOT_NULL(topic_named(&view, "name"));
        CU_ASSERT_PTR_EQUAL(topic_named(&view, "name"), topic_of(&view, topic_b));
        cluster_view_fini(&view);
    }
}

static void settings_are_parsed_and_unknown_ones_reported(void)
{
    struct cluster_view view;
    struct metadata_response response = response_at(1);
    struct metadata_response_metadata_config configs[] = {
        {text("segment.bytes"), text("1000000")},
        {text("of.the.future"), text("1")},
        {text("durability"), text("relaxed")},
    };
    struct metadata_response_metadata_topic row = topic_row(topic_a, "a", 1);
    char reason[CLUSTER_VIEW_REASON_SIZE] = "";

    cluster_view_init(&view);
    row.configs = configs;
    row.configs_count = RIA_COUNT(configs);
    response.topics = &row;
    response.topics_count = 1;
    CU_ASSERT_EQUAL(cluster_view_merge(&view, &response, reason), RIA_OK);
    CU_ASSERT_PTR_NOT_NULL(strstr(reason, "of.the.future"));
    struct cluster_topic *topic = topic_of(&view, topic_a);
    CU_ASSERT_PTR_NOT_NULL_FATAL(topic);
    CU_ASSERT_EQUAL(topic->config.segment_bytes, 1000000);
    CU_ASSERT_EQUAL(topic->config.durability, TOPIC_DURABILITY_RELAXED);

    row.configs_count = 0; /* taken back */
    response.version = 2;
    row.is_ahead = true; /* what it means for the partitions comes with a later answer */
    CU_ASSERT_EQUAL(cluster_view_merge(&view, &response, reason), RIA_OK);
    CU_ASSERT_EQUAL(topic->config.durability, TOPIC_DURABILITY_RELAXED);
    row.is_ahead = false;
    CU_ASSERT_EQUAL(cluster_view_merge(&view, &response, reason), RIA_OK);
    CU_ASSERT_STRING_EQUAL(reason, "");
    CU_ASSERT_EQUAL(topic->config.durability, TOPIC_DURABILITY_SYNCED);
    cluster_view_fini(&view);
}

static void partition_follows_newer_epochs_only(void)
{
    struct cluster_view view;
    int32_t replicas[] = {1, 2, 3};
    struct metadata_response_metadata_partition row = {
        .topic_id = topic_a,
        .partition = 1,
        .leader = 2,
        .leader_epoch = 5,
        .partition_epoch = 9,
        .replicas = replicas,
        .replicas_count = 3,
        .isr = replicas,
        .isr_count = 2,
    };

    cluster_view_init(&view);
    CU_ASSERT_EQUAL(merge_topic(&view, 1, topic_row(topic_a, "a", 2)), RIA_OK);
    CU_ASSERT_EQUAL(merge_partition(&view, 2, row), RIA_OK);
    const struct cluster_partition *partition = topic_of(&view, topic_a)->partitions[1];
    CU_ASSERT_EQUAL(partition->leader, 2);
    CU_ASSERT_EQUAL(partition->leader_epoch, 5);
    CU_ASSERT_EQUAL(partition->replica_count, 3);
    CU_ASSERT_EQUAL(partition->replicas[2], 3);
    CU_ASSERT_EQUAL(partition->isr_count, 2);

    row.leader = 3;
    row.leader_epoch = 4;
    CU_ASSERT_EQUAL(merge_partition(&view, 3, row), RIA_OK);
    CU_ASSERT_EQUAL(partition->leader, 2);
    row.leader_epoch = 6;
    row.partition_epoch = 8;
    CU_ASSERT_EQUAL(merge_partition(&view, 4, row), RIA_OK);
    CU_ASSERT_EQUAL(partition->leader, 2);
    row.partition_epoch = 10;
    CU_ASSERT_EQUAL(merge_partition(&view, 5, row), RIA_OK);
    CU_ASSERT_EQUAL(partition->leader, 3);
    cluster_view_fini(&view);
}

static void partition_that_cannot_be_is_refused_and_may_come_again(void)
{
    struct cluster_view view;
    struct metadata_response_metadata_partition row = {.topic_id = topic_a, .partition = 1};

    cluster_view_init(&view);
    CU_ASSERT_EQUAL(merge_partition(&view, 5, row), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(merge_topic(&view, 1, topic_row(topic_a, "a", 1)), RIA_OK);
    CU_ASSERT_EQUAL(merge_partition(&view, 5, row), RIA_ERR_INVALID);
    row.partition = -1;
    CU_ASSERT_EQUAL(merge_partition(&view, 5, row), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(view.version, 1);
    row.partition = 0;
    CU_ASSERT_EQUAL(merge_partition(&view, 5, row), RIA_OK);
    CU_ASSERT_EQUAL(view.version, 5);
    cluster_view_fini(&view);
}

static void older_version_is_a_conflict_and_changes_nothing(void)
{
    struct cluster_view view;

    cluster_view_init(&view);
    CU_ASSERT_EQUAL(merge_topic(&view, 10, topic_row(topic_a, "a", 1)), RIA_OK);
    CU_ASSERT_EQUAL(merge_topic(&view, 9, topic_row(topic_b, "b", 1)), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NULL(topic_of(&view, topic_b));
    CU_ASSERT_EQUAL(view.version, 10);
    cluster_view_fini(&view);
}

static void another_clusters_answer_is_refused(void)
{
    struct cluster_view view;
    struct metadata_response response = response_at(1);

    cluster_view_init(&view);
    CU_ASSERT_EQUAL(merge(&view, &response), RIA_OK);
    response.version = 2;
    response.cluster_id = topic_b;
    CU_ASSERT_EQUAL(merge(&view, &response), RIA_ERR_WRONG_CLUSTER);
    CU_ASSERT_TRUE(ria_uuid_equal(view.cluster_id, cluster_uuid));
    CU_ASSERT_EQUAL(view.version, 1);
    cluster_view_fini(&view);
}

static void tasks_hang_on_their_transform(void)
{
    struct cluster_view view;
    struct metadata_response response = response_at(1);
    struct metadata_response_metadata_transform transform_row = {
        .transform_id = transform_t,
        .name = text("big"),
        .sql = text("CREATE STREAM big AS SELECT 1"),
        .source_topic_id = topic_a,
    };
    struct metadata_response_metadata_task task_row = {
        .transform_id = transform_t,
        .partition = 2,
        .worker = worker_w,
        .epoch = 4,
        .producer_id = 1000,
        .position = 17,
    };

    cluster_view_init(&view);
    response.tasks = &task_row;
    response.tasks_count = 1;
    CU_ASSERT_EQUAL(merge(&view, &response), RIA_ERR_INVALID);

    response.transforms = &transform_row;
    response.transforms_count = 1;
    CU_ASSERT_EQUAL(merge(&view, &response), RIA_OK);
    struct cluster_transform *transform = ria_map_get(&view.transforms_by_name, "big", 3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(transform);
    CU_ASSERT_STRING_EQUAL(transform->sql, "CREATE STREAM big AS SELECT 1");
    CU_ASSERT_EQUAL(transform->task_count, 3);
    CU_ASSERT_EQUAL(transform->tasks[0]->producer_id, -1);
    CU_ASSERT_EQUAL(transform->tasks[0]->epoch, -1);
    CU_ASSERT_TRUE(ria_uuid_is_zero(transform->tasks[1]->worker));
    CU_ASSERT_PTR_EQUAL(transform->tasks[2]->transform, transform);
    CU_ASSERT_TRUE(ria_uuid_equal(transform->tasks[2]->worker, worker_w));
    CU_ASSERT_EQUAL(transform->tasks[2]->position, 17);

    struct cluster_task *task = transform->tasks[2];
    task_row.epoch = 3; /* older */
    task_row.position = 1;
    response.version = 2;
    CU_ASSERT_EQUAL(merge(&view, &response), RIA_OK);
    CU_ASSERT_EQUAL(task->epoch, 4);
    CU_ASSERT_EQUAL(task->position, 17);
    task_row.producer_id = 2000; /* with a new producer id epochs begin again */
    response.version = 3;
    CU_ASSERT_EQUAL(merge(&view, &response), RIA_OK);
    CU_ASSERT_EQUAL(task->epoch, 3);
    task_row.partition = RIA_PARTITIONS_MAX - 1;
    response.version = 4;
    CU_ASSERT_EQUAL(merge(&view, &response), RIA_OK);
    CU_ASSERT_PTR_EQUAL(transform->tasks[2], task);

    transform_row.deleted = true;
    response.tasks_count = 0;
    response.version = 5;
    CU_ASSERT_EQUAL(merge(&view, &response), RIA_OK);
    CU_ASSERT_PTR_NULL(ria_map_get(&view.transforms_by_name, "big", 3));
    CU_ASSERT_TRUE(transform->deleted);
    cluster_view_fini(&view);
}

/* What the callbacks see, one letter each. */
struct seen {
    const struct cluster_view *view;
    char order[32];
};

static void see(struct seen *seen, const char *letter)
{
    CU_ASSERT_TRUE(strlen(seen->order) + 2 < sizeof(seen->order));
    (void)strncat(seen->order, letter, 1);
}

static void see_node(void *arg, struct cluster_node *node)
{
    CU_ASSERT_EQUAL(node->id, 1);
    see(arg, "n");
}

static void see_topic(void *arg, struct cluster_topic *topic)
{
    CU_ASSERT_EQUAL(topic->partitions[0]->leader, 1); /* all is merged before */
    see(arg, "t");
}

static void see_partition(void *arg, struct cluster_partition *partition)
{
    CU_ASSERT_EQUAL(partition->leader, 1);
    see(arg, "p");
}

static void see_transform(void *arg, struct cluster_transform *transform)
{
    CU_ASSERT_EQUAL(transform->task_count, 1);
    see(arg, "f");
}

static void see_task(void *arg, struct cluster_task *task)
{
    CU_ASSERT_EQUAL(task->partition, 0);
    see(arg, "k");
}

static void see_done(void *arg)
{
    see(arg, "d");
}

static void callbacks_come_by_kind_when_all_is_merged(void)
{
    static const struct cluster_callbacks all = {
        see_node, see_topic, see_partition, see_transform, see_task, see_done};
    static const struct cluster_callbacks none = {0};
    struct cluster_view view;
    struct seen seen = {.view = &view};
    struct metadata_response response = response_at(1);
    struct metadata_response_metadata_node node = {.node_id = 1};
    struct metadata_response_metadata_topic topics[] = {
        topic_row(topic_a, "a", 1), topic_row(topic_b, "b", 1)};
    struct metadata_response_metadata_partition partitions[] = {
        {.topic_id = topic_a, .leader = 1}, {.topic_id = topic_b, .leader = 1}};
    struct metadata_response_metadata_transform transform = {.transform_id = transform_t};
    struct metadata_response_metadata_task task = {.transform_id = transform_t};

    cluster_view_init(&view);
    response.nodes = &node;
    response.nodes_count = 1;
    response.topics = topics;
    response.topics_count = 2;
    response.partitions = partitions;
    response.partitions_count = 2;
    response.transforms = &transform;
    response.transforms_count = 1;
    response.tasks = &task;
    response.tasks_count = 1;
    CU_ASSERT_EQUAL_FATAL(merge(&view, &response), RIA_OK);
    cluster_view_announce(&view, &response, &all, &seen);
    CU_ASSERT_STRING_EQUAL(seen.order, "nttppfkd");
    cluster_view_announce(&view, &response, &none, &seen);
    cluster_view_fini(&view);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(node_is_added_and_moves),
    HARNESS_TEST(new_topic_has_partitions_without_leader),
    HARNESS_TEST(partitions_stay_where_they_are_when_a_topic_grows),
    HARNESS_TEST(impossible_partition_count_is_refused),
    HARNESS_TEST(deleted_topic_is_found_by_id_only),
    HARNESS_TEST(name_passes_to_a_new_topic_in_either_order),
    HARNESS_TEST(settings_are_parsed_and_unknown_ones_reported),
    HARNESS_TEST(partition_follows_newer_epochs_only),
    HARNESS_TEST(partition_that_cannot_be_is_refused_and_may_come_again),
    HARNESS_TEST(older_version_is_a_conflict_and_changes_nothing),
    HARNESS_TEST(another_clusters_answer_is_refused),
    HARNESS_TEST(tasks_hang_on_their_transform),
    HARNESS_TEST(callbacks_come_by_kind_when_all_is_merged),
};

HARNESS_MAIN(tests);
