/* Metadata through the whole coordinator. */
#include <string.h>

#include "schemas/gen/metadata_request.h"

#include "services/coordinator/service.h"
#include "services/shared/membership.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

static struct fixture_request *park(struct fixture *f, int64_t known, int32_t wait_ms)
{
    const struct metadata_request request = {.known_version = known, .wait_ms = wait_ms};

    return fixture_send(f, API_METADATA, &request);
}

static void metadata_waits_for_a_change(void)
{
    struct fixture f;
    struct metadata_response response;

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    int64_t version = coordinator_version(f.coordinator);
    struct fixture_request *request = park(&f, version, 10000);
    for (int i = 0; i < 5; i++) { /* a node that fell silent would be news */
        fixture_advance(&f, 1000);
        (void)fixture_heartbeat(&f, 1, PROCESS_STORAGE, NULL);
    }
    CU_ASSERT_FALSE(fixture_is_answered(request));
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 1, "a"), RIA_OK);
    CU_ASSERT_TRUE(fixture_is_answered(request));
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.version, version + 1);
    CU_ASSERT_EQUAL(response.topics_count, 1);
    CU_ASSERT_EQUAL(response.nodes_count, 0);
    fixture_close(&f);
}

static void many_who_know_the_same_get_the_same(void)
{
    struct fixture f;
    struct metadata_response response;
    struct fixture_request *requests[6];

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    int64_t version = coordinator_version(f.coordinator);
    for (int i = 0; i < 6; i++) { /* half of them are a version ahead of what there is */
        requests[i] = park(&f, version + i % 2, 10000);
    }
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 1, "a"), RIA_OK);
    for (int i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(fixture_is_answered(requests[i]), i % 2 == 0);
    }
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 2, "b"), RIA_OK);
    for (int i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(fixture_answer(&f, requests[i], &response), RIA_OK);
        CU_ASSERT_EQUAL(response.version, version + 1 + i % 2);
        CU_ASSERT_EQUAL(response.topics_count, 1);
        CU_ASSERT_TRUE(
            ria_uuid_equal(response.topics[0].topic_id, fixture_uuid((uint32_t)(1 + i % 2)))
        );
    }
    fixture_close(&f);
}

static void metadata_answers_when_the_wait_is_over(void)
{
    struct fixture f;
    struct metadata_response response;

    fixture_up(&f);
    int64_t version = coordinator_version(f.coordinator);
    struct fixture_request *request = park(&f, version, 400);
    fixture_advance(&f, 399);
    CU_ASSERT_FALSE(fixture_is_answered(request));
    fixture_advance(&f, 1);
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.version, version);
    CU_ASSERT_EQUAL(response.topics_count, 0);
    fixture_close(&f);
}

static void who_knows_more_than_there_is_waits(void)
{
    struct fixture f;
    struct metadata_response response;

    fixture_up(&f);
    struct fixture_request *request = park(&f, 1000, 300);
    CU_ASSERT_FALSE(fixture_is_answered(request));
    fixture_advance(&f, 300);
    CU_ASSERT_EQUAL(fixture_answer(&f, request, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.version, coordinator_version(f.coordinator));
    CU_ASSERT_EQUAL(response.nodes_count, 0);
    fixture_close(&f);
}

static void a_commit_without_news_wakes_nobody(void)
{
    struct fixture f;

    fixture_up(&f);
    struct fixture_request *request = park(&f, coordinator_version(f.coordinator), 10000);
    CU_ASSERT_EQUAL(fixture_create_topic(&f, 1, "a"), RIA_ERR_NOT_ENOUGH_NODES);
    CU_ASSERT_EQUAL(coordinator_applied_index(f.coordinator), 1);
    CU_ASSERT_FALSE(fixture_is_answered(request));
    fixture_close(&f);
}

static void stopping_answers_who_waits(void)
{
    struct fixture f;

    fixture_up(&f);
    struct fixture_request *request = park(&f, coordinator_version(f.coordinator), 10000);
    fixture_stop(&f);
    CU_ASSERT_TRUE(fixture_is_answered(request));
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(metadata_waits_for_a_change),
    HARNESS_TEST(many_who_know_the_same_get_the_same),
    HARNESS_TEST(metadata_answers_when_the_wait_is_over),
    HARNESS_TEST(who_knows_more_than_there_is_waits),
    HARNESS_TEST(a_commit_without_news_wakes_nobody),
    HARNESS_TEST(stopping_answers_who_waits),
};
HARNESS_MAIN(tests);
