/* DescribeLogs: what a node says of its replicas and orphans. */
#include <stdlib.h>
#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/describe_logs_request.h"
#include "schemas/gen/describe_logs_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

static const struct ria_uuid all_topics = {{0}};

static struct storage_fixture *setup(void)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    fixture_lead(f, "1", NULL);
    (void)fixture_produce_one(f);
    return f;
}

static void teardown(struct storage_fixture *f)
{
    fixture_fini(f);
    free(f);
}

static struct describe_logs_response
describe(struct storage_fixture *f, struct ria_uuid topic, bool with_orphans)
{
    struct describe_logs_request request = {.topic_id = topic, .with_orphans = with_orphans};
    struct describe_logs_response response;

    struct ria_rpc_request *sent = fixture_send(f, API_DESCRIBE_LOGS, &request, RIA_SLICE_NULL);
    fixture_run_ms(f, 0);
    ria_err err = fixture_reply(f, API_DESCRIBE_LOGS, sent, &response);
    CU_ASSERT_EQUAL_FATAL(err, RIA_OK);
    return response;
}

static void a_replica_is_described_with_its_offsets_and_size(void)
{
    struct storage_fixture *f = setup();

    struct describe_logs_response response = describe(f, all_topics, true);
    CU_ASSERT_EQUAL_FATAL(response.replicas_count, 1);
    CU_ASSERT_TRUE(ria_uuid_equal(response.replicas[0].topic_id, fixture_topic_id(1)));
    CU_ASSERT_EQUAL(response.replicas[0].partition, 0);
    CU_ASSERT_EQUAL(response.replicas[0].state, 0);
    CU_ASSERT_EQUAL(response.replicas[0].start_offset, 0);
    CU_ASSERT_EQUAL(response.replicas[0].end_offset, 1);
    CU_ASSERT_EQUAL(response.replicas[0].high_watermark, 1);
    CU_ASSERT_TRUE(response.replicas[0].bytes > 60);
    CU_ASSERT_EQUAL(response.orphans_count, 0);
    CU_ASSERT_EQUAL_FATAL(response.data_dirs_count, 1);
    CU_ASSERT_TRUE(ria_slice_equal(response.data_dirs[0].path, RIA_SLICE_LITERAL("data")));
    CU_ASSERT_TRUE(response.data_dirs[0].free_bytes > 0);
    teardown(f);
}

static void only_the_topic_that_is_asked_for(void)
{
    struct storage_fixture *f = setup();

    fixture_topic(f, 2, 3, 1, false, NULL);
    for (int i = 0; i < 3; i++) {
        fixture_partition(f, 2, i, 1, 5, 1, "1", "1");
    }
    fixture_publish(f);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(describe(f, all_topics, false).replicas_count, 4);
    CU_ASSERT_EQUAL(describe(f, fixture_topic_id(1), false).replicas_count, 1);
    CU_ASSERT_EQUAL(describe(f, fixture_topic_id(2), false).replicas_count, 3);
    CU_ASSERT_EQUAL(describe(f, fixture_topic_id(3), false).replicas_count, 0);
    teardown(f);
}

static void a_former_replica_is_an_orphan(void)
{
    struct storage_fixture *f = setup();

    fixture_partition(f, 1, 0, 2, 6, 2, "2", "2");
    fixture_publish(f);
    struct describe_logs_response response = describe(f, all_topics, true);
    CU_ASSERT_EQUAL(response.replicas_count, 0);
    CU_ASSERT_EQUAL_FATAL(response.orphans_count, 1);
    CU_ASSERT_EQUAL(response.orphans[0].folder.data[0], 'a');
    CU_ASSERT_TRUE(response.orphans[0].bytes > 60);
    CU_ASSERT_EQUAL(describe(f, all_topics, false).orphans_count, 0);
    teardown(f);
}

static void a_folder_that_nobody_claims_is_listed_with_its_size(void)
{
    struct storage_fixture *f = setup();

    fixture_kill(f);
    fixture_partition(f, 1, 0, 2, 6, 2, "2", "2");
    f->metadata_version++;
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 100);
    struct describe_logs_response response = describe(f, all_topics, true);
    CU_ASSERT_EQUAL_FATAL(response.orphans_count, 1);
    CU_ASSERT_TRUE(response.orphans[0].bytes > 60);

    fixture_partition(f, 1, 0, 2, 6, 3, "21", "2"); /* claimed again */
    fixture_publish(f);
    fixture_run_ms(f, 100);
    response = describe(f, all_topics, true);
    CU_ASSERT_EQUAL(response.orphans_count, 0);
    CU_ASSERT_EQUAL(response.replicas_count, 1);
    teardown(f);
}

static void a_replica_that_cannot_be_opened_says_so(void)
{
    struct storage_fixture *f = setup();

    ria_fs_sim_set_faults(f->fs, &(struct ria_fs_sim_faults){.fail_open_one_in = 1});
    fixture_topic(f, 2, 1, 1, false, NULL);
    fixture_partition(f, 2, 0, 1, 5, 1, "1", "1");
    fixture_publish(f);
    fixture_run_ms(f, 10);
    struct describe_logs_response response = describe(f, fixture_topic_id(2), true);
    CU_ASSERT_EQUAL_FATAL(response.replicas_count, 1);
    CU_ASSERT_EQUAL(response.replicas[0].state, 4);
    CU_ASSERT_EQUAL(response.orphans_count, 0);
    teardown(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_replica_is_described_with_its_offsets_and_size),
    HARNESS_TEST(only_the_topic_that_is_asked_for),
    HARNESS_TEST(a_former_replica_is_an_orphan),
    HARNESS_TEST(a_folder_that_nobody_claims_is_listed_with_its_size),
    HARNESS_TEST(a_replica_that_cannot_be_opened_says_so),
};
HARNESS_MAIN(tests);
