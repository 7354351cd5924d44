/* Queues of a whole coordinator: what a crash leaves, and what people are shown. */
#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"
#include "schemas/gen/group_reset.h"
#include "schemas/gen/group_reset_result.h"
#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_ack_result.h"
#include "schemas/gen/queue_open.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_receive_result.h"
#include "schemas/gen/queue_settle.h"
#include "schemas/gen/queue_settle_result.h"

#include "services/shared/group_operations.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/group_fixture.h"
#include "tests/unit/services/coordinator/queue_fixture.h"

enum { END = 10 };

/* From partition 0 of topic a. */
static void receive(struct fixture *f, int32_t records_max, struct queue_receive_result *out)
{
    struct queue_receive_queue_start start = {.partition = 0, .offset = 0};
    struct queue_receive_queue_end end = {.partition = 0, .offset = END};
    const struct queue_receive request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(GROUP_TOPIC_A),
        .consumer = RIA_SLICE_LITERAL("me"),
        .lock_ms = -1,
        .records_max = records_max,
        .starts = &start,
        .starts_count = 1,
        .ends = &end,
        .ends_count = 1,
    };

    CU_ASSERT_EQUAL(fixture_group_call(f, GROUP_OPERATION_QUEUE_RECEIVE, &request, out), RIA_OK);
}

static ria_err act(struct fixture *f, int64_t lease_id, int64_t first, int64_t last, int8_t action)
{
    struct queue_ack_queue_ack_entry entry = {
        .lease_id = lease_id, .first = first, .last = last, .action = action, .delay_ms = -1};
    const struct queue_ack request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(GROUP_TOPIC_A),
        .entries = &entry,
        .entries_count = 1,
    };
    struct queue_ack_result result;

    CU_ASSERT_EQUAL(fixture_group_call(f, GROUP_OPERATION_QUEUE_ACK, &request, &result), RIA_OK);
    return (ria_err)result.entries[0].error_code;
}

static void set_key_order(struct fixture *f)
{
    struct queue_open request;
    struct queue_open_result result;

    queue_open_init(&request);
    request.group = RIA_SLICE_LITERAL("q");
    request.key_order = 1;
    CU_ASSERT_EQUAL(fixture_group_call(f, GROUP_OPERATION_QUEUE_OPEN, &request, &result), RIA_OK);
}

static void leases_and_acks_outlive_a_power_cut(void)
{
    struct fixture f;
    struct queue_receive_result received;

    group_up(&f);
    receive(&f, 4, &received);
    CU_ASSERT_EQUAL_FATAL(received.granted_count, 1);
    int64_t lease = received.granted[0].lease_id;
    CU_ASSERT_EQUAL(act(&f, lease, 1, 2, QUEUE_ACK), RIA_OK);
    fixture_crash(&f, true);
    fixture_advance(&f, 10 * (int64_t)QUEUE_LOCK); /* its clock stands still meanwhile */
    CU_ASSERT_EQUAL_FATAL(fixture_start(&f), RIA_OK);
    CU_ASSERT_PTR_NULL(coordinator_check_queues(f.coordinator));
    receive(&f, 100, &received);
    CU_ASSERT_EQUAL_FATAL(received.granted_count, 1);
    CU_ASSERT_EQUAL(received.granted[0].first, 4); /* nobody has what is leased */
    CU_ASSERT_TRUE(received.granted[0].lease_id > lease);
    CU_ASSERT_EQUAL(act(&f, lease, 1, 1, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(act(&f, lease, 0, 0, QUEUE_ACK), RIA_OK);
    fixture_advance(&f, QUEUE_LOCK);
    CU_ASSERT_EQUAL(act(&f, lease, 3, 3, QUEUE_ACK), RIA_ERR_CONFLICT);
    receive(&f, 1, &received);
    CU_ASSERT_EQUAL_FATAL(received.granted_count, 1);
    CU_ASSERT_EQUAL(received.granted[0].first, 3);
    CU_ASSERT_EQUAL(received.granted[0].deliveries, 2);
    fixture_close(&f);
}

static void people_see_who_has_how_many(void)
{
    struct fixture f;
    struct queue_receive_result received;
    struct describe_groups_response described;
    const struct describe_groups_request request = {.name = RIA_SLICE_LITERAL("q")};

    group_up(&f);
    receive(&f, 6, &received);
    int64_t lease = received.granted[0].lease_id;
    CU_ASSERT_EQUAL(act(&f, lease, 2, 3, QUEUE_ACK), RIA_OK);
    CU_ASSERT_EQUAL(act(&f, lease, 4, 4, QUEUE_NACK), RIA_OK);
    CU_ASSERT_EQUAL(act(&f, lease, 0, 0, QUEUE_REJECT), RIA_OK);
    set_key_order(&f);
    receive(&f, 100, &received);
    CU_ASSERT_EQUAL(fixture_call(&f, API_DESCRIBE_GROUPS, &request, &described), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(described.groups_count, 1);
    CU_ASSERT_TRUE(described.groups[0].key_order);
    CU_ASSERT_EQUAL_FATAL(described.groups[0].partitions_count, 1);
    const struct describe_groups_response_described_group_partition *p =
        described.groups[0].partitions;
    CU_ASSERT_EQUAL(p->position, 1);
    CU_ASSERT_EQUAL(p->frontier, 6);
    CU_ASSERT_EQUAL(p->leased, 3 + 4); /* 1, 5 and 4 again, and 6 to 9, whose keys are unknown */
    CU_ASSERT_EQUAL(p->waiting, 0);
    CU_ASSERT_EQUAL(p->done, 2);
    CU_ASSERT_EQUAL(p->dead, 0);
    CU_ASSERT_EQUAL(p->discarded, 1);
    CU_ASSERT_PTR_NULL(coordinator_check_queues(f.coordinator));
    fixture_advance(&f, QUEUE_LOCK);
    CU_ASSERT_EQUAL(fixture_call(&f, API_DESCRIBE_GROUPS, &request, &described), RIA_OK);
    CU_ASSERT_EQUAL(described.groups[0].partitions[0].leased, 0);
    CU_ASSERT_EQUAL(described.groups[0].partitions[0].waiting, 3);
    fixture_close(&f);
}

/* Of two keys in turn, from the frontier on. */
static void settle(struct fixture *f, int64_t lease)
{
    struct queue_settle_queue_settle_entry records[END];
    const struct queue_settle request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(GROUP_TOPIC_A),
        .entries = records,
        .entries_count = END,
    };
    struct queue_settle_result result;

    for (int i = 0; i < END; i++) {
        queue_settle_queue_settle_entry_init(&records[i]);
        records[i].lease_id = lease;
        records[i].offset = i;
        records[i].has_key = true;
        records[i].key = i % 2;
    }
    CU_ASSERT_EQUAL(fixture_group_call(f, GROUP_OPERATION_QUEUE_SETTLE, &request, &result), RIA_OK);
}

static struct describe_groups_response_described_group_partition look(struct fixture *f)
{
    const struct describe_groups_request request = {.name = RIA_SLICE_LITERAL("q")};
    struct describe_groups_response described;

    CU_ASSERT_EQUAL(fixture_call(f, API_DESCRIBE_GROUPS, &request, &described), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(described.groups_count, 1);
    CU_ASSERT_EQUAL_FATAL(described.groups[0].partitions_count, 1);
    return described.groups[0].partitions[0];
}

static void people_see_how_many_their_key_holds_back(void)
{
    struct fixture f;
    struct queue_receive_result received;

    group_up(&f);
    set_key_order(&f);
    receive(&f, END, &received);
    int64_t lease = received.granted[0].lease_id;
    CU_ASSERT_EQUAL(look(&f).held, 0); /* the keys are not known */
    settle(&f, lease);
    CU_ASSERT_EQUAL(look(&f).leased, 2);
    CU_ASSERT_EQUAL(look(&f).waiting, END - 2);
    CU_ASSERT_EQUAL(look(&f).held, END - 2);
    CU_ASSERT_EQUAL(act(&f, lease, 0, 0, QUEUE_ACK), RIA_OK);
    CU_ASSERT_EQUAL(look(&f).waiting, END - 2); /* the next one of the key is ready */
    CU_ASSERT_EQUAL(look(&f).held, END - 3);
    CU_ASSERT_EQUAL(act(&f, lease, 1, 1, QUEUE_NACK), RIA_OK);
    CU_ASSERT_EQUAL(look(&f).waiting, END - 1);
    CU_ASSERT_EQUAL(look(&f).held, END - 3);
    CU_ASSERT_PTR_NULL(coordinator_check_queues(f.coordinator));
    fixture_crash(&f, true);
    CU_ASSERT_EQUAL_FATAL(fixture_start(&f), RIA_OK);
    CU_ASSERT_EQUAL(look(&f).held, END - 3);
    fixture_close(&f);
}

static ria_err reset(struct fixture *f, int64_t offset, bool force)
{
    struct group_reset_group_reset_entry entry = {
        .topic_id = fixture_uuid(GROUP_TOPIC_A), .partition = 0, .offset = offset};
    const struct group_reset request = {
        .group = RIA_SLICE_LITERAL("q"), .force = force, .entries = &entry, .entries_count = 1};
    struct group_reset_result result;

    return fixture_group_call(f, GROUP_OPERATION_RESET, &request, &result);
}

static void a_reset_begins_anew_and_ends_all_leases(void)
{
    struct fixture f;
    struct queue_receive_result received;

    group_up(&f);
    set_key_order(&f);
    receive(&f, 6, &received);
    CU_ASSERT_TRUE(received.granted[0].unsettled);
    int64_t lease = received.granted[0].lease_id;
    CU_ASSERT_EQUAL(reset(&f, 2, false), RIA_ERR_CONFLICT); /* somebody looks at keys */
    CU_ASSERT_EQUAL(reset(&f, 2, true), RIA_OK);
    CU_ASSERT_EQUAL(act(&f, lease, 2, 2, QUEUE_ACK), RIA_ERR_CONFLICT);
    receive(&f, 3, &received);
    CU_ASSERT_EQUAL_FATAL(received.granted_count, 1);
    CU_ASSERT_EQUAL(received.granted[0].first, 2);
    CU_ASSERT_EQUAL(received.granted[0].last, 4);
    fixture_close(&f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(leases_and_acks_outlive_a_power_cut),
    HARNESS_TEST(people_see_who_has_how_many),
    HARNESS_TEST(people_see_how_many_their_key_holds_back),
    HARNESS_TEST(a_reset_begins_anew_and_ends_all_leases),
};
HARNESS_MAIN(tests);
