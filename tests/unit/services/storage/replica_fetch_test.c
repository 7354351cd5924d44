/* ReplicaFetch in a session, against a whole node: docs/formats/fetch-session.md. */
#include <stdlib.h>

#include "schemas/envelope.h"
#include "schemas/gen/replica_fetch_request.h"
#include "schemas/gen/replica_fetch_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

typedef struct replica_fetch_request_replica_fetch_partition wished;
typedef struct replica_fetch_request_forgotten_partition forgotten;

/* Topics 1 and 2, one partition each, led here in epoch 5. */
static struct storage_fixture *setup(const char *replicas)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    fixture_lead(f, replicas, NULL);
    fixture_topic(f, 2, 1, 2, false, NULL);
    fixture_partition(f, 2, 0, 1, 5, 1, replicas, replicas);
    fixture_publish(f);
    fixture_run_ms(f, 10);
    return f;
}

static void teardown(struct storage_fixture *f)
{
    storage_check(f->storage);
    fixture_fini(f);
    free(f);
}

static wished wish(uint8_t topic, int64_t offset)
{
    return (wished){
        .topic_id = fixture_topic_id(topic),
        .leader_epoch = 5,
        .offset = offset,
        .max_bytes = 1 << 20,
    };
}

static struct replica_fetch_request fetch_of(int64_t number, wished *wishes, uint32_t count)
{
    return (struct replica_fetch_request){
        .session_id = 9,
        .number = number,
        .wait_ms = 1000,
        .max_bytes = 1 << 20,
        .partitions = wishes,
        .partitions_count = count,
    };
}

static const struct ria_rpc_request *
send(struct storage_fixture *f, const struct replica_fetch_request *request)
{
    return fixture_send(f, API_REPLICA_FETCH, request, RIA_SLICE_NULL);
}

/* Begin the session with wishes for both topics' first records. */
static const struct ria_rpc_request *begin(struct storage_fixture *f)
{
    wished wishes[] = {wish(1, 0), wish(2, 0)};
    struct replica_fetch_request request = fetch_of(1, wishes, 2);

    request.is_full = true;
    return send(f, &request);
}

static void produce(struct storage_fixture *f, uint8_t topic)
{
    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 5, .topic = topic});
    fixture_run_ms(f, 0);
}

/* The number of entries; -1: not answered. */
static int entries(
    struct storage_fixture *f,
    const struct ria_rpc_request *sent,
    struct replica_fetch_response *out_response
)
{
    ria_err err = fixture_reply(f, API_REPLICA_FETCH, sent, out_response);

    return err == RIA_OK ? (int)out_response->partitions_count : -1;
}

static void a_fetch_that_names_nothing_waits_for_what_was_named_before(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_fetch_response response;
    struct replica_fetch_request next = fetch_of(2, NULL, 0);

    const struct ria_rpc_request *first = begin(f);
    CU_ASSERT_FALSE(first->done);
    const struct ria_rpc_request *second = send(f, &next);
    CU_ASSERT_EQUAL(entries(f, first, &response), 0);
    CU_ASSERT_FALSE(second->done);
    produce(f, 2);
    CU_ASSERT_EQUAL_FATAL(entries(f, second, &response), 1);
    CU_ASSERT_EQUAL(response.partitions[0].topic_id.bytes[15], 2);
    CU_ASSERT_TRUE(response.partitions[0].size > 0);
    teardown(f);
}

static void what_was_granted_is_not_sent_again_until_it_is_named(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_fetch_response response;
    wished wishes[] = {wish(1, 1)};
    struct replica_fetch_request next = fetch_of(2, NULL, 0);

    const struct ria_rpc_request *sent = begin(f);
    produce(f, 1);
    CU_ASSERT_EQUAL(entries(f, sent, &response), 1);
    sent = send(f, &next);
    produce(f, 1);
    CU_ASSERT_FALSE(sent->done);
    next = fetch_of(3, wishes, 1);
    sent = send(f, &next);
    CU_ASSERT_EQUAL_FATAL(entries(f, sent, &response), 1);
    CU_ASSERT_EQUAL(response.partitions[0].end_offset, 2);
    teardown(f);
}

static void a_high_watermark_alone_leaves_the_wish(void)
{
    struct storage_fixture *f = setup("123");
    struct replica_fetch_response response;
    wished wishes[] = {wish(1, 1)};
    struct replica_fetch_request next = fetch_of(1, wishes, 1);

    (void)fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    next.is_full = true;
    const struct ria_rpc_request *sent = send(f, &next);
    fixture_partition(f, 1, 0, 1, 5, 2, "123", "12"); /* node 3 need not have it any more */
    fixture_publish(f);
    fixture_run_ms(f, 150);
    CU_ASSERT_EQUAL_FATAL(entries(f, sent, &response), 1);
    CU_ASSERT_EQUAL(response.partitions[0].size, 0);
    CU_ASSERT_EQUAL(response.partitions[0].high_watermark, 1);
    next = fetch_of(2, NULL, 0);
    sent = send(f, &next);
    CU_ASSERT_FALSE(sent->done);
    produce(f, 1);
    CU_ASSERT_EQUAL_FATAL(entries(f, sent, &response), 1);
    CU_ASSERT_TRUE(response.partitions[0].size > 0);
    teardown(f);
}

static void an_error_grants_the_wish(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_fetch_response response;
    struct replica_fetch_request next = fetch_of(2, NULL, 0);

    const struct ria_rpc_request *sent = begin(f);
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "12");
    fixture_publish(f);
    fixture_run_ms(f, 0);
    CU_ASSERT_EQUAL_FATAL(entries(f, sent, &response), 1);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_ERR_FENCED_EPOCH);
    sent = send(f, &next);
    fixture_run_ms(f, 500);
    CU_ASSERT_FALSE(sent->done);
    teardown(f);
}

static void missing_and_old_fetches_are_refused_and_change_nothing(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_fetch_response response;
    wished wishes[] = {wish(1, 7)};
    struct replica_fetch_request late = fetch_of(1, wishes, 1);
    struct replica_fetch_request gap = fetch_of(3, wishes, 1);

    const struct ria_rpc_request *sent = begin(f);
    CU_ASSERT_EQUAL(fixture_error(send(f, &gap)), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_error(send(f, &late)), RIA_ERR_CONFLICT);
    late.is_full = true;
    CU_ASSERT_EQUAL(fixture_error(send(f, &late)), RIA_ERR_CONFLICT);
    CU_ASSERT_FALSE(sent->done);
    produce(f, 1);
    CU_ASSERT_EQUAL(entries(f, sent, &response), 1);
    teardown(f);
}

static void a_restarted_node_does_not_know_the_session(void)
{
    struct storage_fixture *f = setup("12");
    wished wishes[] = {wish(1, 0)};
    struct replica_fetch_request next = fetch_of(2, wishes, 1);

    (void)begin(f);
    fixture_kill(f);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 10);
    CU_ASSERT_EQUAL(fixture_error(send(f, &next)), RIA_ERR_NOT_FOUND);
    next = fetch_of(3, wishes, 1);
    next.is_full = true;
    CU_ASSERT_FALSE(send(f, &next)->done);
    teardown(f);
}

static void what_is_forgotten_is_not_sent(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_fetch_response response;
    forgotten gone[] = {{.topic_id = fixture_topic_id(1)}, {.topic_id = fixture_topic_id(7)}};
    struct replica_fetch_request next = fetch_of(2, NULL, 0);

    (void)begin(f);
    next.forgotten = gone;
    next.forgotten_count = 2;
    const struct ria_rpc_request *sent = send(f, &next);
    produce(f, 1);
    CU_ASSERT_FALSE(sent->done);
    produce(f, 2);
    CU_ASSERT_EQUAL_FATAL(entries(f, sent, &response), 1);
    CU_ASSERT_EQUAL(response.partitions[0].topic_id.bytes[15], 2);
    teardown(f);
}

static void a_full_fetch_forgets_what_the_session_waited_for(void)
{
    struct storage_fixture *f = setup("12");
    wished wishes[] = {wish(2, 0)};
    struct replica_fetch_request next = fetch_of(5, wishes, 1);

    (void)begin(f);
    next.is_full = true;
    const struct ria_rpc_request *sent = send(f, &next);
    produce(f, 1);
    CU_ASSERT_FALSE(sent->done);
    produce(f, 2);
    CU_ASSERT_TRUE(sent->done);
    teardown(f);
}

static void who_did_not_fit_is_first_the_next_time(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_fetch_response response;
    wished wishes[] = {wish(1, 0), wish(2, 0)};
    wished again[] = {wish(1, 1)};
    struct replica_fetch_request next = fetch_of(1, wishes, 2);

    produce(f, 1);
    produce(f, 1);
    produce(f, 2);
    next.is_full = true;
    next.max_bytes = 80; /* one batch */
    wishes[0].max_bytes = 80;
    const struct ria_rpc_request *sent = send(f, &next);
    CU_ASSERT_EQUAL_FATAL(entries(f, sent, &response), 1);
    CU_ASSERT_EQUAL(response.partitions[0].topic_id.bytes[15], 1);
    next = fetch_of(2, again, 1); /* there is more of topic 1, but topic 2 has waited longer */
    next.max_bytes = 80;
    sent = send(f, &next);
    CU_ASSERT_EQUAL_FATAL(entries(f, sent, &response), 1);
    CU_ASSERT_EQUAL(response.partitions[0].topic_id.bytes[15], 2);
    next = fetch_of(3, NULL, 0);
    sent = send(f, &next);
    CU_ASSERT_EQUAL_FATAL(entries(f, sent, &response), 1);
    CU_ASSERT_EQUAL(response.partitions[0].topic_id.bytes[15], 1);
    teardown(f);
}

static void an_idle_session_is_forgotten(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_fetch_request next = fetch_of(2, NULL, 0);

    (void)begin(f);
    fixture_run_ms(f, 12000);
    CU_ASSERT_EQUAL(fixture_error(send(f, &next)), RIA_ERR_NOT_FOUND);
    teardown(f);
}

static void a_removed_replica_ends_the_wish(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_fetch_response response;

    const struct ria_rpc_request *sent = begin(f);
    fixture_topic(f, 2, 1, 2, true, NULL);
    fixture_publish(f);
    fixture_run_ms(f, 2000);
    CU_ASSERT_EQUAL_FATAL(entries(f, sent, &response), 1);
    CU_ASSERT_NOT_EQUAL(response.partitions[0].error_code, RIA_OK);
    teardown(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_fetch_that_names_nothing_waits_for_what_was_named_before),
    HARNESS_TEST(what_was_granted_is_not_sent_again_until_it_is_named),
    HARNESS_TEST(a_high_watermark_alone_leaves_the_wish),
    HARNESS_TEST(an_error_grants_the_wish),
    HARNESS_TEST(missing_and_old_fetches_are_refused_and_change_nothing),
    HARNESS_TEST(a_restarted_node_does_not_know_the_session),
    HARNESS_TEST(what_is_forgotten_is_not_sent),
    HARNESS_TEST(a_full_fetch_forgets_what_the_session_waited_for),
    HARNESS_TEST(who_did_not_fit_is_first_the_next_time),
    HARNESS_TEST(an_idle_session_is_forgotten),
    HARNESS_TEST(a_removed_replica_ends_the_wish),
};
HARNESS_MAIN(tests);
