/* DescribeCluster through the whole coordinator. */
#include <string.h>

#include "schemas/gen/describe_cluster_request.h"
#include "schemas/gen/describe_cluster_response.h"

#include "services/coordinator/service.h"
#include "services/shared/membership.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

static void the_cluster_is_described_in_order(void)
{
    struct fixture f;
    struct describe_cluster_response response;
    const struct describe_cluster_request request = {0};

    fixture_up(&f);
    fixture_register_nodes(&f, 2);
    (void)fixture_heartbeat(&f, 50, PROCESS_TRANSFORM, NULL);
    fixture_advance(&f, 1000);
    (void)fixture_heartbeat(&f, 60, PROCESS_GATEWAY, NULL);
    (void)fixture_heartbeat(&f, 77, PROCESS_STORAGE, NULL); /* not registered */
    CU_ASSERT_EQUAL(fixture_call(&f, API_DESCRIBE_CLUSTER, &request, &response), RIA_OK);
    CU_ASSERT_TRUE(ria_uuid_equal(response.cluster_id, coordinator_cluster_id(f.coordinator)));
    CU_ASSERT_EQUAL_FATAL(response.processes_count, 6);
    static const int8_t roles[] = {1, 2, 2, 2, 4, 5};
    static const int32_t ids[] = {-1, -1, 1, 2, -1, -1};
    static const int64_t silent[] = {0, 0, 1000, 1000, 0, 1000};
    for (uint32_t i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(response.processes[i].role, roles[i]);
        CU_ASSERT_EQUAL(response.processes[i].node_id, ids[i]);
        CU_ASSERT_EQUAL(response.processes[i].silent_ms, silent[i]);
        CU_ASSERT_TRUE(response.processes[i].alive);
    }
    fixture_advance(&f, 2000);
    CU_ASSERT_EQUAL(fixture_call(&f, API_DESCRIBE_CLUSTER, &request, &response), RIA_OK);
    CU_ASSERT_FALSE(response.processes[2].alive);
    CU_ASSERT_TRUE(response.processes[0].alive);
    fixture_close(&f);
}

static void nodes_not_heard_since_the_start_are_described(void)
{
    struct fixture f;
    struct describe_cluster_response response;
    const struct describe_cluster_request request = {0};

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    fixture_stop(&f);
    CU_ASSERT_EQUAL(fixture_start(&f), RIA_OK);
    CU_ASSERT_EQUAL(fixture_call(&f, API_DESCRIBE_CLUSTER, &request, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.processes_count, 2);
    CU_ASSERT_EQUAL(response.processes[0].silent_ms, -1);
    CU_ASSERT_FALSE(response.processes[0].alive);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(the_cluster_is_described_in_order),
    HARNESS_TEST(nodes_not_heard_since_the_start_are_described),
};
HARNESS_MAIN(tests);
