/* Heartbeats, and what being heard is good for. */
#include <string.h>

#include "schemas/gen/create_topic_response.h"
#include "schemas/gen/heartbeat_request.h"
#include "schemas/gen/heartbeat_response.h"

#include "services/coordinator/service.h"
#include "services/shared/membership.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

static void a_silent_node_gets_no_topics(void)
{
    struct fixture f;

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 1, "a"), RIA_OK);
    fixture_advance(&f, MEMBERSHIP_SESSION_MS);
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 2, "b"), RIA_ERR_NOT_ENOUGH_NODES);
    (void)fixture_heartbeat(&f, 1, PROCESS_STORAGE, NULL);
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 2, "b"), RIA_OK);
    fixture_close(&f);
}

/* A topic made while only one of three nodes has been heard again must not have one replica. */
static void after_a_restart_the_default_counts_every_node(void)
{
    struct fixture f;
    const struct create_topic_request body = fixture_topic(1, "a", -1, -1);
    struct create_topic_response response;

    fixture_up(&f);
    fixture_register_nodes(&f, 3);
    fixture_stop(&f);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    (void)fixture_heartbeat(&f, 1, PROCESS_STORAGE, NULL);
    CU_ASSERT_EQUAL(fixture_call(&f, API_CREATE_TOPIC, &body, NULL), RIA_ERR_NOT_ENOUGH_NODES);
    (void)fixture_heartbeat(&f, 2, PROCESS_STORAGE, NULL);
    (void)fixture_heartbeat(&f, 3, PROCESS_STORAGE, NULL);
    CU_ASSERT_EQUAL(fixture_call(&f, API_CREATE_TOPIC, &body, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.replication_factor, 3);
    CU_ASSERT_EQUAL(response.partition_count, 6);
    fixture_close(&f);
}

static void once_settled_the_default_counts_the_living(void)
{
    struct fixture f;
    const struct create_topic_request body = fixture_topic(1, "a", -1, -1);
    struct create_topic_response response;

    fixture_up(&f);
    fixture_register_nodes(&f, 3);
    fixture_advance(&f, MEMBERSHIP_SESSION_MS);
    (void)fixture_heartbeat(&f, 1, PROCESS_STORAGE, NULL);
    (void)fixture_heartbeat(&f, 2, PROCESS_STORAGE, NULL);
    CU_ASSERT_EQUAL(fixture_call(&f, API_CREATE_TOPIC, &body, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.replication_factor, 2);
    fixture_close(&f);
}

static void a_node_is_told_whether_it_is_registered(void)
{
    struct fixture f;
    struct heartbeat_response response;
    struct register_node_request restarted = fixture_register(1, 999);

    fixture_up(&f);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 1, PROCESS_STORAGE, &response), RIA_OK);
    CU_ASSERT_FALSE(response.registered);
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 1, "a"), RIA_ERR_NOT_ENOUGH_NODES);
    fixture_register_nodes(&f, 1);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 1, PROCESS_STORAGE, &response), RIA_OK);
    CU_ASSERT_TRUE(response.registered);
    CU_ASSERT_EQUAL(response.metadata_version, coordinator_version(f.coordinator));
    CU_ASSERT_EQUAL(fixture_call(&f, API_REGISTER_NODE, &restarted, NULL), RIA_OK);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 1, PROCESS_STORAGE, &response), RIA_OK);
    CU_ASSERT_FALSE(response.registered); /* an older incarnation */
    fixture_close(&f);
}

static void replication_workers_share(void)
{
    struct fixture f;
    struct heartbeat_response response;

    fixture_up(&f);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 8, PROCESS_REPLICATION, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_index, 0);
    CU_ASSERT_EQUAL(response.worker_count, 1);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 5, PROCESS_REPLICATION, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_index, 0);
    CU_ASSERT_EQUAL(response.worker_count, 2);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 8, PROCESS_REPLICATION, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_index, 1);
    fixture_advance(&f, MEMBERSHIP_SESSION_MS);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 8, PROCESS_REPLICATION, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_index, 0);
    CU_ASSERT_EQUAL(response.worker_count, 1);
    fixture_close(&f);
}

static struct fixture_request *send_beat(struct fixture *f, uint32_t uuid)
{
    const struct heartbeat_request request = {
        .process_uuid = fixture_uuid(uuid), .role = PROCESS_REPLICATION, .node_id = -1};

    return fixture_send(f, API_HEARTBEAT, &request);
}

static void after_a_restart_replication_workers_keep_their_shares(void)
{
    struct fixture f;
    struct heartbeat_response response;

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    fixture_stop(&f);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    struct fixture_request *first = send_beat(&f, 5);
    fixture_advance(&f, 500);
    CU_ASSERT_FALSE(fixture_is_answered(first)); /* not "you are alone" */
    struct fixture_request *second = send_beat(&f, 6);
    fixture_advance(&f, 100);
    CU_ASSERT_EQUAL(fixture_answer(&f, first, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_index, 0);
    CU_ASSERT_EQUAL(response.worker_count, 2);
    CU_ASSERT_EQUAL(fixture_answer(&f, second, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_index, 1);
    struct fixture_request *third = send_beat(&f, 5);
    CU_ASSERT_TRUE(fixture_is_answered(third));
    fixture_close(&f);
}

static void a_strange_role_is_refused(void)
{
    struct fixture f;

    fixture_up(&f);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 5, 9, NULL), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.text, "role is 9"));
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_silent_node_gets_no_topics),
    HARNESS_TEST(after_a_restart_the_default_counts_every_node),
    HARNESS_TEST(once_settled_the_default_counts_the_living),
    HARNESS_TEST(a_node_is_told_whether_it_is_registered),
    HARNESS_TEST(replication_workers_share),
    HARNESS_TEST(after_a_restart_replication_workers_keep_their_shares),
    HARNESS_TEST(a_strange_role_is_refused),
};
HARNESS_MAIN(tests);
