/* Heartbeats, and what being heard is good for. */
#include <string.h>

#include "schemas/gen/create_topic_response.h"
#include "schemas/gen/heartbeat_request.h"
#include "schemas/gen/heartbeat_response.h"

#include "services/coordinator/liveness.h"
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
    CU_ASSERT_EQUAL(response.workers_count, 1);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 5, PROCESS_REPLICATION, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_index, 0);
    CU_ASSERT_EQUAL(response.worker_count, 2);
    CU_ASSERT_EQUAL_FATAL(response.workers_count, 2);
    CU_ASSERT_TRUE(ria_uuid_equal(response.workers[0], fixture_uuid(5)));
    CU_ASSERT_TRUE(ria_uuid_equal(response.workers[1], fixture_uuid(8)));
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 6, PROCESS_TRANSFORM, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.workers_count, 1); /* of its own role */
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 8, PROCESS_REPLICATION, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_index, 1);
    fixture_advance(&f, MEMBERSHIP_SESSION_FAST_MS);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 8, PROCESS_REPLICATION, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_index, 0);
    CU_ASSERT_EQUAL(response.worker_count, 1);
    fixture_close(&f);
}

/* ---- answers that are held back ---- */

static struct fixture_request *
send_beat(struct fixture *f, uint32_t uuid, process_role role, int64_t workers_hash)
{
    const struct heartbeat_request request = {
        .process_uuid = fixture_uuid(uuid),
        .incarnation = 100,
        .role = (int8_t)role,
        .node_id = role == PROCESS_STORAGE ? (int32_t)uuid : -1,
        .wait_ms = MEMBERSHIP_HOLD_MS,
        .workers_hash = workers_hash,
    };

    return fixture_send(f, API_HEARTBEAT, &request);
}

static void an_answer_is_held_back_as_long_as_allowed(void)
{
    struct fixture f;
    struct heartbeat_response response;

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    struct fixture_request *beat = send_beat(&f, 1, PROCESS_STORAGE, 0);
    fixture_advance(&f, MEMBERSHIP_HOLD_MS - 1);
    CU_ASSERT_FALSE(fixture_is_answered(beat));
    fixture_advance(&f, 1);
    CU_ASSERT_EQUAL(fixture_answer(&f, beat, &response), RIA_OK);
    CU_ASSERT_TRUE(response.registered);
    CU_ASSERT_EQUAL(response.metadata_version, coordinator_version(f.coordinator));
    beat = send_beat(&f, 2, PROCESS_STORAGE, 0); /* not registered: it should hear that now */
    CU_ASSERT_EQUAL(fixture_answer(&f, beat, &response), RIA_OK);
    CU_ASSERT_FALSE(response.registered);
    fixture_close(&f);
}

static void a_newer_heartbeat_ends_the_older(void)
{
    struct fixture f;

    fixture_up(&f);
    struct fixture_request *older = send_beat(&f, 7, PROCESS_GATEWAY, 0);
    struct fixture_request *newer = send_beat(&f, 7, PROCESS_GATEWAY, 0);
    CU_ASSERT_TRUE(fixture_is_answered(older));
    CU_ASSERT_FALSE(fixture_is_answered(newer));
    fixture_advance(&f, MEMBERSHIP_HOLD_MS);
    CU_ASSERT_TRUE(fixture_is_answered(newer));
    fixture_close(&f);
}

static void stopping_answers_what_is_held(void)
{
    struct fixture f;

    fixture_up(&f);
    struct fixture_request *beat = send_beat(&f, 7, PROCESS_GATEWAY, 0);
    fixture_stop(&f);
    CU_ASSERT_TRUE(fixture_is_answered(beat));
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    beat = send_beat(&f, 7, PROCESS_GATEWAY, 0);
    fixture_crash(&f, false);
    CU_ASSERT_TRUE(fixture_is_dropped(beat));
    fixture_close(&f);
}

static void workers_hear_at_once_who_comes_and_who_goes(void)
{
    struct fixture f;
    struct heartbeat_response response;

    fixture_up(&f);
    struct fixture_request *beat = send_beat(&f, 5, PROCESS_REPLICATION, 0);
    CU_ASSERT_EQUAL(fixture_answer(&f, beat, &response), RIA_OK); /* it knew nothing */
    int64_t alone = response.workers_hash;
    beat = send_beat(&f, 5, PROCESS_REPLICATION, alone);
    fixture_advance(&f, 100);
    CU_ASSERT_FALSE(fixture_is_answered(beat));
    struct fixture_request *other = send_beat(&f, 6, PROCESS_REPLICATION, 0);
    CU_ASSERT_TRUE(fixture_is_answered(other));
    CU_ASSERT_EQUAL(fixture_answer(&f, beat, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_count, 2);
    CU_ASSERT_NOT_EQUAL(response.workers_hash, alone);
    int64_t both = response.workers_hash;

    other = send_beat(&f, 6, PROCESS_REPLICATION, both);
    for (int i = 0; i < 3; i++) { /* in which the other one dies */
        beat = send_beat(&f, 5, PROCESS_REPLICATION, both);
        fixture_advance(&f, 100);
        fixture_disconnect(other);
    }
    CU_ASSERT_FALSE(fixture_is_answered(beat));
    beat = send_beat(&f, 5, PROCESS_REPLICATION, both);
    fixture_advance(&f, 199);
    CU_ASSERT_FALSE(fixture_is_answered(beat));
    fixture_advance(&f, 1); /* 400 ms since the connection broke */
    CU_ASSERT_EQUAL(fixture_answer(&f, beat, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_count, 1);
    CU_ASSERT_EQUAL(response.workers_hash, alone);
    fixture_close(&f);
}

static void a_lost_connection_alone_costs_a_living_process_nothing(void)
{
    struct fixture f;

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 1, "a"), RIA_OK);
    fixture_advance(&f, 900);
    for (int i = 0; i < 20; i++) {
        struct fixture_request *beat = send_beat(&f, 1, PROCESS_STORAGE, 0);
        fixture_advance(&f, 100);
        fixture_disconnect(beat);
        CU_ASSERT_TRUE(fixture_is_dropped(beat));
        fixture_advance(&f, 250); /* to notice, to connect, to call */
    }
    int64_t version = coordinator_version(f.coordinator);
    (void)send_beat(&f, 1, PROCESS_STORAGE, 0);
    fixture_advance(&f, 100);
    CU_ASSERT_EQUAL(coordinator_version(f.coordinator), version);
    fixture_close(&f);
}

/* It was missed like a dead one: 400 ms in which its partitions were not replicated. */
static void a_worker_that_goes_is_not_waited_for(void)
{
    struct fixture f;
    struct heartbeat_response response;
    struct heartbeat_request last = {
        .process_uuid = fixture_uuid(5),
        .incarnation = 100,
        .role = PROCESS_REPLICATION,
        .node_id = -1,
        .wait_ms = MEMBERSHIP_HOLD_MS,
        .leaving = true,
    };

    fixture_up(&f);
    (void)send_beat(&f, 5, PROCESS_REPLICATION, 0);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 6, PROCESS_REPLICATION, &response), RIA_OK);
    struct fixture_request *first = send_beat(&f, 5, PROCESS_REPLICATION, response.workers_hash);
    struct fixture_request *second = send_beat(&f, 6, PROCESS_REPLICATION, response.workers_hash);
    CU_ASSERT_FALSE(fixture_is_answered(first));
    CU_ASSERT_FALSE(fixture_is_answered(second));
    struct fixture_request *leaves = fixture_send(&f, API_HEARTBEAT, &last);
    CU_ASSERT_EQUAL(fixture_answer(&f, leaves, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_count, 0);
    CU_ASSERT_TRUE(fixture_is_answered(first));
    CU_ASSERT_EQUAL(fixture_answer(&f, second, &response), RIA_OK); /* at once */
    CU_ASSERT_EQUAL(response.worker_count, 1);
    struct fixture_request *late = send_beat(&f, 5, PROCESS_REPLICATION, 0);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 6, PROCESS_REPLICATION, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_count, 1);
    fixture_disconnect(late);
    fixture_close(&f);
}

/* A storage node has ShutdownNode for that: its partitions want successors first. */
static void a_storage_node_does_not_go_by_its_heartbeat(void)
{
    struct fixture f;
    struct heartbeat_request last = {
        .process_uuid = fixture_uuid(1),
        .incarnation = 100,
        .role = PROCESS_STORAGE,
        .node_id = 1,
        .leaving = true,
    };

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    CU_ASSERT_EQUAL(fixture_call(&f, API_HEARTBEAT, &last, NULL), RIA_OK);
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 1, "a"), RIA_OK);
    fixture_close(&f);
}

/* The whole way: killed 100 ms after its last heartbeat, its partitions led by another 400 ms after
 * its connection broke. */
static void a_killed_node_has_successors_in_half_a_second(void)
{
    struct fixture f;
    struct coordinator_partition_info info;
    struct ria_uuid id = fixture_uuid(1);
    const struct create_topic_request body = fixture_topic(1, "a", 1, 2);

    fixture_up(&f);
    fixture_register_nodes(&f, 2);
    CU_ASSERT_EQUAL(fixture_call(&f, API_CREATE_TOPIC, &body, NULL), RIA_OK);
    for (int i = 0; i < 20; i++) {
        (void)send_beat(&f, 2, PROCESS_STORAGE, 0);
        (void)send_beat(&f, 1, PROCESS_STORAGE, 0);
        fixture_advance(&f, 200);
    }
    struct fixture_request *last = send_beat(&f, 1, PROCESS_STORAGE, 0);
    fixture_advance(&f, 100);
    fixture_disconnect(last);
    (void)send_beat(&f, 2, PROCESS_STORAGE, 0);
    fixture_advance(&f, LIVENESS_HINT_MS - 1);
    CU_ASSERT_TRUE(coordinator_describe_partition(f.coordinator, &id, 0, &info));
    CU_ASSERT_EQUAL(info.leader, 1);
    fixture_advance(&f, 1);
    CU_ASSERT_TRUE(coordinator_describe_partition(f.coordinator, &id, 0, &info));
    CU_ASSERT_EQUAL(info.leader, 2);
    fixture_close(&f);
}

static void after_a_restart_replication_workers_keep_their_shares(void)
{
    struct fixture f;
    struct heartbeat_response response;

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    fixture_stop(&f);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    struct fixture_request *first = send_beat(&f, 5, PROCESS_REPLICATION, 0);
    fixture_advance(&f, MEMBERSHIP_HOLD_MS + 100);
    CU_ASSERT_FALSE(fixture_is_answered(first)); /* not "you are alone" */
    struct fixture_request *second = send_beat(&f, 6, PROCESS_REPLICATION, 0);
    fixture_advance(&f, 50);
    CU_ASSERT_EQUAL(fixture_answer(&f, first, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_index, 0);
    CU_ASSERT_EQUAL(response.worker_count, 2);
    fixture_advance(&f, MEMBERSHIP_HOLD_MS);
    CU_ASSERT_EQUAL(fixture_answer(&f, second, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.worker_index, 1);
    struct fixture_request *third = send_beat(&f, 5, PROCESS_REPLICATION, 0);
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

/* It was on its way when its process ended: taken for a new life it had the node fenced. */
static void a_late_heartbeat_of_a_former_life_takes_nothing_from_the_new_one(void)
{
    struct fixture f;
    struct heartbeat_response response;
    struct register_node_request restarted = fixture_register(1, 999);

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 1, PROCESS_STORAGE, NULL), RIA_OK);
    CU_ASSERT_EQUAL(fixture_call(&f, API_REGISTER_NODE, &restarted, NULL), RIA_OK);
    fixture_advance(&f, MEMBERSHIP_SESSION_FAST_MS - 1);
    CU_ASSERT_EQUAL(fixture_heartbeat(&f, 1, PROCESS_STORAGE, &response), RIA_OK);
    CU_ASSERT_FALSE(response.registered);
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 1, "a"), RIA_OK);
    fixture_advance(&f, 1); /* nor does it make the new one live longer */
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 2, "b"), RIA_ERR_NOT_ENOUGH_NODES);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_silent_node_gets_no_topics),
    HARNESS_TEST(after_a_restart_the_default_counts_every_node),
    HARNESS_TEST(once_settled_the_default_counts_the_living),
    HARNESS_TEST(a_node_is_told_whether_it_is_registered),
    HARNESS_TEST(a_late_heartbeat_of_a_former_life_takes_nothing_from_the_new_one),
    HARNESS_TEST(replication_workers_share),
    HARNESS_TEST(an_answer_is_held_back_as_long_as_allowed),
    HARNESS_TEST(a_newer_heartbeat_ends_the_older),
    HARNESS_TEST(stopping_answers_what_is_held),
    HARNESS_TEST(workers_hear_at_once_who_comes_and_who_goes),
    HARNESS_TEST(a_lost_connection_alone_costs_a_living_process_nothing),
    HARNESS_TEST(a_worker_that_goes_is_not_waited_for),
    HARNESS_TEST(a_storage_node_does_not_go_by_its_heartbeat),
    HARNESS_TEST(a_killed_node_has_successors_in_half_a_second),
    HARNESS_TEST(after_a_restart_replication_workers_keep_their_shares),
    HARNESS_TEST(a_strange_role_is_refused),
};
HARNESS_MAIN(tests);
