/* What is left of queues is deleted by and by, and nobody sees it meanwhile. */
#include <string.h>

#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"
#include "schemas/gen/group_delete.h"
#include "schemas/gen/group_reset.h"
#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_ack_result.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_receive_result.h"

#include "services/coordinator/coordinator.h"
#include "services/shared/group_operations.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { TOPIC = 1, BATCH = 1000, BATCHES = 6, STEP_ROWS = 1000 };

static void set_up(struct fixture *f)
{
    fixture_up(f);
    fixture_register_nodes(f, 1);
    CU_ASSERT_EQUAL_FATAL(fixture_create_topic(f, TOPIC, "jobs"), RIA_OK);
}

static ria_err receive(struct fixture *f, int32_t records, struct queue_receive_result *out)
{
    struct queue_receive_queue_start start = {.partition = 0, .offset = 0};
    struct queue_receive_queue_end end = {.partition = 0, .offset = (BATCHES + 1) * BATCH};
    const struct queue_receive request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(TOPIC),
        .lock_ms = 3600000,
        .records_max = records,
        .starts = &start,
        .starts_count = 1,
        .ends = &end,
        .ends_count = 1,
    };

    return fixture_group_call(f, GROUP_OPERATION_QUEUE_RECEIVE, &request, out);
}

/* Every second record is acknowledged: a row each. */
static void make_rows(struct fixture *f)
{
    struct queue_ack_queue_ack_entry entries[BATCH / 2];
    struct queue_receive_result received;
    struct queue_ack_result acked;

    for (int batch = 0; batch < BATCHES; batch++) {
        CU_ASSERT_EQUAL_FATAL(receive(f, BATCH, &received), RIA_OK);
        CU_ASSERT_EQUAL_FATAL(received.granted_count, 1);
        for (int64_t i = 0; i < BATCH / 2; i++) {
            int64_t offset = received.granted[0].first + 2 * i + 1;
            entries[i] = (struct queue_ack_queue_ack_entry){
                .lease_id = received.granted[0].lease_id,
                .first = offset,
                .last = offset,
                .action = 1,
                .delay_ms = -1,
            };
        }
        const struct queue_ack request = {
            .group = RIA_SLICE_LITERAL("q"),
            .topic_id = fixture_uuid(TOPIC),
            .entries = entries,
            .entries_count = BATCH / 2,
        };
        CU_ASSERT_EQUAL(fixture_group_call(f, GROUP_OPERATION_QUEUE_ACK, &request, &acked), RIA_OK);
        CU_ASSERT_EQUAL(acked.entries[BATCH / 2 - 1].error_code, 0);
    }
}

static ria_err describe(struct fixture *f, struct describe_groups_response *out)
{
    const struct describe_groups_request request = {.name = RIA_SLICE_LITERAL("q")};

    return fixture_call(f, API_DESCRIBE_GROUPS, &request, out);
}

static bool has_leftovers(struct fixture *f)
{
    struct meta_stmt *stmt = meta_query(f->coordinator->db, META_LEFTOVERS_ANY);
    bool any = meta_step(stmt) && meta_column_int(stmt, 0) != 0;

    meta_done(stmt);
    return any;
}

static int64_t rows_of_space(struct fixture *f, int64_t space)
{
    struct ria_uuid topic = fixture_uuid(TOPIC);
    struct meta_stmt *stmt = meta_query(f->coordinator->db, META_RANGES_LOWEST);

    meta_bind_int(stmt, 1, space);
    meta_bind_uuid(stmt, 2, &topic);
    meta_bind_int(stmt, 3, 0);
    meta_bind_int(stmt, 4, INT64_MAX);
    int64_t count = meta_step(stmt) ? meta_column_int(stmt, 0) : -1;
    meta_done(stmt);
    return count;
}

static void delete_group(struct fixture *f)
{
    const struct group_delete request = {.group = RIA_SLICE_LITERAL("q"), .force = true};

    CU_ASSERT_EQUAL(fixture_group_call(f, GROUP_OPERATION_DELETE, &request, NULL), RIA_OK);
}

static void a_group_is_gone_at_once_and_its_rows_in_steps_that_survive_a_crash(void)
{
    struct fixture f;
    struct queue_receive_result received;
    struct describe_groups_response described;
    int64_t left = BATCH * BATCHES;

    set_up(&f);
    make_rows(&f);
    CU_ASSERT_EQUAL(rows_of_space(&f, 1), left);
    delete_group(&f);
    CU_ASSERT_EQUAL(describe(&f, &described), RIA_ERR_NOT_FOUND);
    CU_ASSERT_TRUE(has_leftovers(&f));
    /* Another one of the name knows nothing of it. */
    CU_ASSERT_EQUAL(receive(&f, 10, &received), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(received.granted_count, 1);
    CU_ASSERT_EQUAL(received.granted[0].first, 0);
    CU_ASSERT_EQUAL(received.granted[0].deliveries, 1);
    for (int i = 0; i < 5000 && left > BATCH; i++) {
        int64_t before = left;
        fixture_advance(&f, 1);
        left = rows_of_space(&f, 1);
        CU_ASSERT_TRUE(before - left <= STEP_ROWS);
    }
    CU_ASSERT_TRUE(left > 0 && left <= BATCH);
    fixture_crash(&f, true);
    CU_ASSERT_EQUAL_FATAL(fixture_start(&f), RIA_OK);
    CU_ASSERT_TRUE(has_leftovers(&f));
    CU_ASSERT_PTR_NULL(coordinator_check_groups(f.coordinator));
    fixture_advance(&f, 2000);
    CU_ASSERT_EQUAL(rows_of_space(&f, 1), 0);
    CU_ASSERT_FALSE(has_leftovers(&f));
    CU_ASSERT_PTR_NULL(coordinator_check_queues(f.coordinator));
    fixture_close(&f);
}

static void a_reset_begins_without_rows_at_once(void)
{
    struct fixture f;
    struct queue_receive_result received;
    struct describe_groups_response described;
    struct group_reset_group_reset_entry entry = {
        .topic_id = fixture_uuid(TOPIC), .partition = 0, .offset = 3};
    struct group_reset request = {
        .group = RIA_SLICE_LITERAL("q"), .entries = &entry, .entries_count = 1};

    set_up(&f);
    make_rows(&f);
    CU_ASSERT_EQUAL(
        fixture_group_call(&f, GROUP_OPERATION_RESET, &request, NULL), RIA_ERR_CONFLICT
    );
    request.force = true;
    CU_ASSERT_EQUAL(fixture_group_call(&f, GROUP_OPERATION_RESET, &request, NULL), RIA_OK);
    CU_ASSERT_TRUE(has_leftovers(&f));
    CU_ASSERT_EQUAL(describe(&f, &described), RIA_OK);
    CU_ASSERT_EQUAL(described.groups[0].partitions[0].position, 3);
    CU_ASSERT_EQUAL(described.groups[0].partitions[0].leased, 0);
    CU_ASSERT_EQUAL(described.groups[0].partitions[0].done, 0);
    CU_ASSERT_EQUAL(receive(&f, 10, &received), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(received.granted_count, 1);
    CU_ASSERT_EQUAL(received.granted[0].first, 3);
    CU_ASSERT_PTR_NULL(coordinator_check_queues(f.coordinator));
    fixture_advance(&f, 3000);
    CU_ASSERT_EQUAL(rows_of_space(&f, 1), 0);
    CU_ASSERT_FALSE(has_leftovers(&f));
    CU_ASSERT_PTR_NULL(coordinator_check_queues(f.coordinator));
    CU_ASSERT_PTR_NULL(coordinator_check_groups(f.coordinator));
    fixture_close(&f);
}

static void a_queue_is_described_by_its_sums(void)
{
    struct fixture f;
    struct describe_groups_response described;

    set_up(&f);
    make_rows(&f);
    CU_ASSERT_EQUAL(describe(&f, &described), RIA_OK);
    const struct describe_groups_response_described_group_partition *p =
        &described.groups[0].partitions[0];
    CU_ASSERT_EQUAL(p->frontier, BATCH * BATCHES);
    CU_ASSERT_EQUAL(p->leased, BATCH * BATCHES / 2);
    CU_ASSERT_EQUAL(p->waiting, 0);
    CU_ASSERT_EQUAL(p->done, BATCH * BATCHES / 2);
    /* Leases that are over are waiting, though no row says so yet. */
    fixture_advance(&f, 3600000);
    CU_ASSERT_EQUAL(describe(&f, &described), RIA_OK);
    p = &described.groups[0].partitions[0];
    CU_ASSERT_EQUAL(p->leased, 0);
    CU_ASSERT_EQUAL(p->waiting, BATCH * BATCHES / 2);
    CU_ASSERT_EQUAL(p->dead, 0);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_group_is_gone_at_once_and_its_rows_in_steps_that_survive_a_crash),
    HARNESS_TEST(a_reset_begins_without_rows_at_once),
    HARNESS_TEST(a_queue_is_described_by_its_sums),
};
HARNESS_MAIN(tests);
