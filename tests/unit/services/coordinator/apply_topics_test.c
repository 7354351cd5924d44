/* CreateTopic, DeleteTopic, AllocateProducerIds. */
#include <stdio.h>
#include <string.h>

#include "schemas/gen/allocate_producer_ids_request.h"
#include "schemas/gen/delete_topic_request.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

static void set_up(struct fixture_machine *m)
{
    fixture_machine_open(m);
    fixture_nodes(m, 3, NULL);
}

static ria_err create(struct fixture_machine *m, struct create_topic_request request)
{
    return fixture_apply(m, API_CREATE_TOPIC, &request);
}

static ria_err delete_topic(struct fixture_machine *m, const char *name)
{
    const struct delete_topic_request request = {.name = ria_slice_cstr(name)};

    return fixture_apply(m, API_DELETE_TOPIC, &request);
}

/* The text of the refusal has both words. */
static void check_refused(
    struct fixture_machine *m,
    struct create_topic_request request,
    ria_err err,
    const char *word,
    const char *other
)
{
    uint64_t before = meta_db_hash(m->db);
    struct fixture_machine *machine = m;

    CU_ASSERT_EQUAL(create(machine, request), err);
    CU_ASSERT_PTR_NOT_NULL(strstr(m->result.text, word));
    CU_ASSERT_PTR_NOT_NULL(strstr(m->result.text, other));
    CU_ASSERT_FALSE(m->result.changed);
    CU_ASSERT_NOT_EQUAL(before, meta_db_hash(m->db)); /* the applied index alone has moved */
    CU_ASSERT_EQUAL(fixture_number(m, META_TOPIC_COUNT), 0);
    CU_ASSERT_EQUAL(fixture_number(m, META_TOPIC_PARTITION_TOTAL), 0);
}

static void created_topic_has_what_was_asked_for(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", 4, 2)), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.create_topic.partition_count, 4);
    CU_ASSERT_EQUAL(m.result.response.create_topic.replication_factor, 2);
    CU_ASSERT_EQUAL(m.result.response.create_topic.version, 1 + 3 + 1);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_PARTITION_TOTAL), 4);
    fixture_machine_close(&m);
}

static void minus_one_asks_for_the_default(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", -1, -1)), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.create_topic.partition_count, 6);
    CU_ASSERT_EQUAL(m.result.response.create_topic.replication_factor, 3);
    m.live_count = 1;
    CU_ASSERT_EQUAL(create(&m, fixture_topic(2, "b", -1, -1)), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.create_topic.replication_factor, 1);
    fixture_machine_close(&m);
}

static void same_id_again_is_the_same_topic(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", 4, 2)), RIA_OK);
    int64_t version = m.result.response.create_topic.version;
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", -1, -1)), RIA_OK);
    CU_ASSERT_FALSE(m.result.changed);
    CU_ASSERT_EQUAL(m.result.response.create_topic.version, version);
    CU_ASSERT_EQUAL(m.result.response.create_topic.partition_count, 4);
    CU_ASSERT_EQUAL(m.result.response.create_topic.replication_factor, 2);
    fixture_machine_close(&m);
}

static void taken_name_is_refused(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", 4, 2)), RIA_OK);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(2, "a", 4, 2)), RIA_ERR_EXISTS);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "\"a\""));
    CU_ASSERT_EQUAL(create(&m, fixture_topic(2, "A", 4, 2)), RIA_OK); /* case counts */
    fixture_machine_close(&m);
}

static void taken_id_is_refused(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", 4, 2)), RIA_OK);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "b", 4, 2)), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(delete_topic(&m, "a"), RIA_OK);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", 4, 2)), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "topicId"));
    fixture_machine_close(&m);
}

static void bad_values_are_refused_by_name(void)
{
    struct fixture_machine m;

    set_up(&m);
    check_refused(&m, fixture_topic(0, "a", 1, 1), RIA_ERR_INVALID, "topicId", "zeros");
    check_refused(&m, fixture_topic(1, "a", 0, 1), RIA_ERR_INVALID, "partitionCount", "1..10000");
    check_refused(&m, fixture_topic(1, "a", -2, 1), RIA_ERR_INVALID, "partitionCount", "-2");
    check_refused(&m, fixture_topic(1, "a", 10001, 1), RIA_ERR_INVALID, "10001", "1..10000");
    check_refused(&m, fixture_topic(1, "a", 1, 0), RIA_ERR_INVALID, "replicationFactor", "1..16");
    check_refused(&m, fixture_topic(1, "a", 1, 17), RIA_ERR_INVALID, "replicationFactor", "17");
    check_refused(&m, fixture_topic(1, "", 1, 1), RIA_ERR_INVALID, "name", "empty");
    check_refused(&m, fixture_topic(1, "a/b", 1, 1), RIA_ERR_INVALID, "name", "position 1");
    check_refused(&m, fixture_topic(1, "..", 1, 1), RIA_ERR_INVALID, "name", "..");
    fixture_machine_close(&m);
}

static void long_name_is_refused(void)
{
    struct fixture_machine m;
    char name[RIA_TOPIC_NAME_MAX + 2];

    set_up(&m);
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    check_refused(&m, fixture_topic(1, name, 1, 1), RIA_ERR_INVALID, "name", "200");
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, name + 1, 1, 1)), RIA_OK);
    fixture_machine_close(&m);
}

static void too_few_nodes_names_both_numbers(void)
{
    struct fixture_machine m;

    set_up(&m);
    check_refused(&m, fixture_topic(1, "a", 1, 4), RIA_ERR_NOT_ENOUGH_NODES, "is 4", "but 3");
    m.live_count = 0;
    check_refused(&m, fixture_topic(1, "a", 1, -1), RIA_ERR_NOT_ENOUGH_NODES, "is 1", "but 0");
    m.live[0] = 77; /* alive, but never registered */
    m.live_count = 1;
    check_refused(&m, fixture_topic(1, "a", 1, 1), RIA_ERR_NOT_ENOUGH_NODES, "is 1", "but 0");
    fixture_machine_close(&m);
}

static ria_err create_with(struct fixture_machine *m, const char *name, const char *value)
{
    struct create_topic_request_create_topic_config configs[2] = {
        {.name = RIA_SLICE_LITERAL("durability"), .value = RIA_SLICE_LITERAL("relaxed")},
        {.name = ria_slice_cstr(name), .value = ria_slice_cstr(value)},
    };
    struct create_topic_request request = fixture_topic(1, "a", 1, 2);

    request.configs = configs;
    request.configs_count = 2;
    return create(m, request);
}

static void settings_are_checked_and_named(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create_with(&m, "colour", "red"), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "colour"));
    CU_ASSERT_EQUAL(create_with(&m, "cleanup.policy", "compact"), RIA_ERR_UNSUPPORTED);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "cleanup.policy"));
    CU_ASSERT_EQUAL(create_with(&m, "segment.bytes", "7"), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "segment.bytes"));
    CU_ASSERT_EQUAL(create_with(&m, "min.insync.replicas", "3"), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "min.insync.replicas"));
    CU_ASSERT_EQUAL(create_with(&m, "durability", "synced"), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "twice"));
    CU_ASSERT_EQUAL(create_with(&m, "min.insync.replicas", "2"), RIA_OK);
    fixture_machine_close(&m);
}

static void full_cluster_refuses_partitions(void)
{
    struct fixture_machine m;
    char name[32];

    set_up(&m);
    for (uint32_t i = 0; i < STATE_PARTITIONS_MAX / RIA_PARTITIONS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "t%u", i);
        CU_ASSERT_EQUAL(create(&m, fixture_topic(i + 1, name, RIA_PARTITIONS_MAX, 1)), RIA_OK);
    }
    CU_ASSERT_EQUAL(create(&m, fixture_topic(999, "more", 1, 1)), RIA_ERR_LIMIT);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "200000"));
    CU_ASSERT_EQUAL(delete_topic(&m, "t0"), RIA_OK);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(999, "more", 1, 1)), RIA_OK);
    fixture_machine_close(&m);
}

static void replicas_are_counted_per_node(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", 7, 2)), RIA_OK);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(2, "b", 5, 3)), RIA_OK);
    CU_ASSERT_EQUAL(delete_topic(&m, "a"), RIA_OK);
    struct meta_stmt *stmt = meta_query(m.db, META_NODES_BY_ID);
    int64_t leaders = 0;
    while (meta_step(stmt)) {
        CU_ASSERT_EQUAL(meta_column_int(stmt, 4), 5);
        leaders += meta_column_int(stmt, 5);
    }
    meta_done(stmt);
    CU_ASSERT_EQUAL(leaders, 5);
    CU_ASSERT_EQUAL(delete_topic(&m, "b"), RIA_OK);
    stmt = meta_query(m.db, META_NODES_BY_ID);
    while (meta_step(stmt)) {
        CU_ASSERT_EQUAL(meta_column_int(stmt, 4), 0);
        CU_ASSERT_EQUAL(meta_column_int(stmt, 5), 0);
    }
    meta_done(stmt);
    fixture_machine_close(&m);
}

static void deleted_topic_leaves_its_id_and_frees_its_name(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", 2, 1)), RIA_OK);
    CU_ASSERT_EQUAL(delete_topic(&m, "a"), RIA_OK);
    CU_ASSERT_TRUE(ria_uuid_equal(m.result.response.delete_topic.topic_id, fixture_uuid(1)));
    CU_ASSERT_TRUE(m.result.changed);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_COUNT), 1);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_PARTITION_TOTAL), 0);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(2, "a", 2, 1)), RIA_OK);
    fixture_machine_close(&m);
}

static void deleting_an_unknown_topic_is_refused(void)
{
    struct fixture_machine m;

    set_up(&m);
    CU_ASSERT_EQUAL(delete_topic(&m, "nothing"), RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "\"nothing\""));
    CU_ASSERT_EQUAL(delete_topic(&m, "a/b"), RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_EQUAL(delete_topic(&m, ""), RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", 2, 1)), RIA_OK);
    CU_ASSERT_EQUAL(delete_topic(&m, "a"), RIA_OK);
    CU_ASSERT_EQUAL(delete_topic(&m, "a"), RIA_ERR_UNKNOWN_TOPIC);
    fixture_machine_close(&m);
}

static void a_late_copy_of_a_delete_spares_the_topic_that_has_the_name_now(void)
{
    struct fixture_machine m;
    const struct delete_topic_request first = {
        .name = RIA_SLICE_LITERAL("a"), .topic_id = fixture_uuid(1)};

    set_up(&m);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", 2, 1)), RIA_OK);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_DELETE_TOPIC, &first), RIA_OK);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(2, "a", 2, 1)), RIA_OK);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_DELETE_TOPIC, &first), RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_EQUAL(fixture_number(&m, META_TOPIC_PARTITION_TOTAL), 2);
    CU_ASSERT_EQUAL(create(&m, fixture_topic(1, "a", 2, 1)), RIA_ERR_CONFLICT); /* a late one */
    fixture_machine_close(&m);
}

static void producer_ids_are_given_once(void)
{
    struct fixture_machine m;
    struct allocate_producer_ids_request request = {.count = 10};

    fixture_machine_open(&m);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALLOCATE_PRODUCER_IDS, &request), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.allocate_producer_ids.first_producer_id, 1);
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALLOCATE_PRODUCER_IDS, &request), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.allocate_producer_ids.first_producer_id, 11);
    CU_ASSERT_FALSE(m.result.changed); /* nobody needs to hear of it */
    request.count = 0;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALLOCATE_PRODUCER_IDS, &request), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(m.result.text, "count is 0"));
    request.count = 1001;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALLOCATE_PRODUCER_IDS, &request), RIA_ERR_INVALID);
    request.count = 1;
    CU_ASSERT_EQUAL(fixture_apply(&m, API_ALLOCATE_PRODUCER_IDS, &request), RIA_OK);
    CU_ASSERT_EQUAL(m.result.response.allocate_producer_ids.first_producer_id, 21);
    fixture_machine_close(&m);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(created_topic_has_what_was_asked_for),
    HARNESS_TEST(minus_one_asks_for_the_default),
    HARNESS_TEST(same_id_again_is_the_same_topic),
    HARNESS_TEST(taken_name_is_refused),
    HARNESS_TEST(taken_id_is_refused),
    HARNESS_TEST(bad_values_are_refused_by_name),
    HARNESS_TEST(long_name_is_refused),
    HARNESS_TEST(too_few_nodes_names_both_numbers),
    HARNESS_TEST(settings_are_checked_and_named),
    HARNESS_TEST(full_cluster_refuses_partitions),
    HARNESS_TEST(replicas_are_counted_per_node),
    HARNESS_TEST(deleted_topic_leaves_its_id_and_frees_its_name),
    HARNESS_TEST(deleting_an_unknown_topic_is_refused),
    HARNESS_TEST(a_late_copy_of_a_delete_spares_the_topic_that_has_the_name_now),
    HARNESS_TEST(producer_ids_are_given_once),
};
HARNESS_MAIN(tests);
