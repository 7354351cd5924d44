/* Fetch, ListOffsets, Watch and the reads of replication: what is answered when. */
#include <stdlib.h>
#include <string.h>

#include "schemas/envelope.h"
#include "schemas/gen/fetch_request.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_request.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/replica_epochs_request.h"
#include "schemas/gen/replica_epochs_response.h"
#include "schemas/gen/replica_fetch_request.h"
#include "schemas/gen/replica_fetch_response.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

static struct storage_fixture *setup(const char *replicas)
{
    struct storage_fixture *f = calloc(1, sizeof(*f));

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    fixture_lead(f, replicas, NULL);
    return f;
}

static void teardown(struct storage_fixture *f)
{
    fixture_fini(f);
    free(f);
}

static struct ria_rpc_request *
fetch(struct storage_fixture *f, int64_t offset, int32_t max_bytes, int32_t wait_ms)
{
    struct fetch_request request = {
        .topic_id = fixture_topic_id(1),
        .leader_epoch = 5,
        .offset = offset,
        .max_bytes = max_bytes,
        .wait_ms = wait_ms,
    };

    return fixture_send(f, API_FETCH, &request, RIA_SLICE_NULL);
}

static int64_t batch_count(struct ria_slice payload, int64_t *out_first)
{
    int64_t count = 0;

    while (payload.size > 0) {
        struct batch_header header;
        if (batch_header_decode(payload, &header) != RIA_OK ||
            batch_check_crc(ria_slice_sub(payload, 0, batch_size(&header))) != RIA_OK) {
            return -1;
        }
        if (count++ == 0) {
            *out_first = header.base_offset;
        }
        payload = ria_slice_sub(payload, batch_size(&header), SIZE_MAX);
    }
    return count;
}

/* ---- fetch ---- */

static void fetch_reads_up_to_the_high_watermark(void)
{
    struct storage_fixture *f = setup("12");
    struct fetch_response response;
    int64_t first = -1;

    for (int i = 0; i < 5; i++) {
        (void)fixture_produce_one(f);
    }
    (void)fixture_report(f, 2, 5, 3);
    const struct ria_rpc_request *sent = fetch(f, 1, 1 << 20, 0);
    CU_ASSERT_EQUAL(fixture_reply(f, API_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.high_watermark, 3);
    CU_ASSERT_EQUAL(response.log_start_offset, 0);
    CU_ASSERT_EQUAL(batch_count(fixture_payload(sent), &first), 2);
    CU_ASSERT_EQUAL(first, 1);
    sent = fetch(f, 3, 1 << 20, 0); /* written, but not committed */
    CU_ASSERT_EQUAL(fixture_reply(f, API_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(fixture_payload(sent).size, 0);
    teardown(f);
}

static void fetch_returns_at_least_one_batch(void)
{
    struct storage_fixture *f = setup("1");
    int64_t first = -1;

    (void)fixture_produce_one(f);
    (void)fixture_produce_one(f);
    CU_ASSERT_EQUAL(batch_count(fixture_payload(fetch(f, 0, 1, 0)), &first), 1);
    CU_ASSERT_EQUAL(batch_count(fixture_payload(fetch(f, 0, -7, 0)), &first), 1);
    CU_ASSERT_EQUAL(batch_count(fixture_payload(fetch(f, 0, INT32_MAX, 0)), &first), 2);
    teardown(f);
}

static void fetch_out_of_range_names_the_range(void)
{
    struct storage_fixture *f = setup("1");

    (void)fixture_produce_one(f);
    const struct ria_rpc_request *sent = fetch(f, 2, 100, 1000);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(fixture_error_text(sent), "0 to 1"));
    CU_ASSERT_EQUAL(fixture_error(fetch(f, -1, 100, 0)), RIA_ERR_OFFSET_OUT_OF_RANGE);
    teardown(f);
}

static void a_parked_fetch_wakes_when_its_record_is_committed(void)
{
    struct storage_fixture *f = setup("12");
    int64_t first = -1;

    const struct ria_rpc_request *sent = fetch(f, 0, 1 << 20, 5000);
    CU_ASSERT_FALSE(sent->done);
    (void)fixture_produce_one(f);
    CU_ASSERT_FALSE(sent->done);
    (void)fixture_report(f, 2, 5, 1);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_OK);
    CU_ASSERT_EQUAL(batch_count(fixture_payload(sent), &first), 1);
    teardown(f);
}

static void a_parked_fetch_expires_empty(void)
{
    struct storage_fixture *f = setup("1");
    struct fetch_response response;

    const struct ria_rpc_request *sent = fetch(f, 0, 1 << 20, 300);
    fixture_run_ms(f, 299);
    CU_ASSERT_FALSE(sent->done);
    fixture_run_ms(f, 2);
    CU_ASSERT_EQUAL(fixture_reply(f, API_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.high_watermark, 0);
    CU_ASSERT_EQUAL(fixture_payload(sent).size, 0);
    teardown(f);
}

static void a_parked_fetch_ends_when_the_leader_changes(void)
{
    struct storage_fixture *f = setup("12");

    const struct ria_rpc_request *sent = fetch(f, 0, 1 << 20, 5000);
    fixture_partition(f, 1, 0, 2, 6, 2, "12", "12");
    fixture_publish(f);
    fixture_run_ms(f, 0);
    CU_ASSERT_EQUAL(fixture_error(sent), RIA_ERR_NOT_LEADER);
    teardown(f);
}

static void reads_check_the_epoch_only_when_it_is_given(void)
{
    struct storage_fixture *f = setup("1");
    struct fetch_request request = {.topic_id = fixture_topic_id(1), .max_bytes = 100};

    const int32_t epochs[] = {-1, 5, 4, 6, -2};
    const ria_err expected[] = {
        RIA_OK, RIA_OK, RIA_ERR_FENCED_EPOCH, RIA_ERR_UNKNOWN_EPOCH, RIA_ERR_FENCED_EPOCH};
    for (size_t i = 0; i < RIA_COUNT(epochs); i++) {
        request.leader_epoch = epochs[i];
        const struct ria_rpc_request *sent = fixture_send(f, API_FETCH, &request, RIA_SLICE_NULL);
        CU_ASSERT_EQUAL(fixture_error(sent), expected[i]);
    }
    teardown(f);
}

static void list_offsets_tells_both_ends_and_a_time(void)
{
    struct storage_fixture *f = setup("1");
    struct list_offsets_request request = {
        .topic_id = fixture_topic_id(1), .leader_epoch = -1, .timestamp = -1};
    struct list_offsets_response response;

    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 5, .records = 5});
    fixture_run_ms(f, 5);
    const struct ria_rpc_request *sent =
        fixture_send(f, API_LIST_OFFSETS, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_LIST_OFFSETS, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.log_start_offset, 0);
    CU_ASSERT_EQUAL(response.high_watermark, 5);
    CU_ASSERT_EQUAL(response.offset, -1);
    request.timestamp = 1003; /* records are at 1000..1004 */
    sent = fixture_send(f, API_LIST_OFFSETS, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_LIST_OFFSETS, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.offset, 3);
    CU_ASSERT_EQUAL(response.offset_timestamp, 1003);
    request.timestamp = 2000;
    sent = fixture_send(f, API_LIST_OFFSETS, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_LIST_OFFSETS, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.offset, -1);
    teardown(f);
}

/* ---- watch ---- */

static struct ria_rpc_request *
watch(struct storage_fixture *f, int64_t watch_id, int64_t offset, int64_t offset_of_second)
{
    struct watch_request_watch_partition partitions[] = {
        {.topic_id = fixture_topic_id(1), .offset = offset},
        {.topic_id = fixture_topic_id(2), .offset = offset_of_second},
    };
    struct watch_request request = {
        .watch_id = watch_id,
        .wait_ms = 5000,
        .partitions = partitions,
        .partitions_count = 2,
    };

    return fixture_send(f, API_WATCH, &request, RIA_SLICE_NULL);
}

static struct storage_fixture *setup_two_topics(void)
{
    struct storage_fixture *f = setup("1");

    fixture_topic(f, 2, 1, 1, false, NULL);
    fixture_partition(f, 2, 0, 1, 5, 1, "1", "1");
    fixture_publish(f);
    fixture_run_ms(f, 5);
    return f;
}

static void a_watch_tells_all_that_moved_in_one_turn(void)
{
    struct storage_fixture *f = setup_two_topics();
    struct watch_response response;

    const struct ria_rpc_request *sent = watch(f, 1, 0, 0);
    CU_ASSERT_FALSE(sent->done);
    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 5, .topic = 2});
    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 5, .topic = 1});
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_reply(f, API_WATCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 2);
    CU_ASSERT_EQUAL(response.partitions[0].high_watermark, 1);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_OK);
    teardown(f);
}

static void a_watch_of_something_past_answers_at_once(void)
{
    struct storage_fixture *f = setup_two_topics();
    struct watch_response response;

    (void)fixture_produce_one(f);
    const struct ria_rpc_request *sent = watch(f, 1, 0, 0);
    CU_ASSERT_EQUAL(fixture_reply(f, API_WATCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 1);
    CU_ASSERT_TRUE(ria_uuid_equal(response.partitions[0].topic_id, fixture_topic_id(1)));
    teardown(f);
}

static void a_newer_watch_ends_the_older_one(void)
{
    struct storage_fixture *f = setup_two_topics();
    struct watch_response response;

    const struct ria_rpc_request *first = watch(f, 1, 0, 0);
    const struct ria_rpc_request *other = watch(f, 2, 0, 0);
    const struct ria_rpc_request *second = watch(f, 1, 0, 0);
    CU_ASSERT_EQUAL(fixture_reply(f, API_WATCH, first, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 0);
    CU_ASSERT_FALSE(other->done);
    CU_ASSERT_FALSE(second->done);
    (void)fixture_produce_one(f);
    CU_ASSERT_TRUE(other->done);
    CU_ASSERT_TRUE(second->done);
    teardown(f);
}

static void a_watch_of_a_partition_that_is_not_led_here_tells_so(void)
{
    struct storage_fixture *f = setup("1");
    struct watch_response response;

    const struct ria_rpc_request *sent = watch(f, 1, 0, 0); /* topic 2 does not exist */
    CU_ASSERT_EQUAL(fixture_reply(f, API_WATCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 1);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_ERR_NOT_LEADER);
    teardown(f);
}

static void a_watch_expires_empty(void)
{
    struct storage_fixture *f = setup_two_topics();
    struct watch_response response;

    const struct ria_rpc_request *sent = watch(f, 1, 0, 0);
    fixture_run_ms(f, 5001);
    CU_ASSERT_EQUAL(fixture_reply(f, API_WATCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 0);
    teardown(f);
}

/* Of the first topic, at the offset and ahead of it. */
static struct ria_rpc_request *
watch_ahead(struct storage_fixture *f, int64_t offset, int64_t log_end_offset)
{
    struct watch_request_watch_partition partition = {
        .topic_id = fixture_topic_id(1), .offset = offset, .log_end_offset = log_end_offset};
    struct watch_request request = {
        .watch_id = 1,
        .wait_ms = 5000,
        .partitions = &partition,
        .partitions_count = 1,
    };

    return fixture_send(f, API_WATCH, &request, RIA_SLICE_NULL);
}

static void a_watch_may_be_answered_before_the_followers_have_it(void)
{
    struct storage_fixture *f = setup("12");
    struct watch_response response;

    const struct ria_rpc_request *behind = watch_ahead(f, 0, 2);
    (void)fixture_produce_one(f);
    CU_ASSERT_FALSE(behind->done);
    const struct ria_rpc_request *ahead = watch_ahead(f, 0, 2);
    CU_ASSERT_TRUE(behind->done); /* replaced */
    (void)fixture_produce_one(f);
    CU_ASSERT_EQUAL(fixture_reply(f, API_WATCH, ahead, &response), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(response.partitions_count, 1);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].high_watermark, 0);
    CU_ASSERT_EQUAL(response.partitions[0].log_end_offset, 2);
    ahead = watch_ahead(f, 0, 2); /* it was there before */
    CU_ASSERT_EQUAL(fixture_reply(f, API_WATCH, ahead, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 1);
    const struct ria_rpc_request *committed = watch_ahead(f, 0, 0);
    CU_ASSERT_FALSE(committed->done);
    (void)fixture_report(f, 2, 5, 2);
    CU_ASSERT_EQUAL(fixture_reply(f, API_WATCH, committed, &response), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(response.partitions_count, 1);
    CU_ASSERT_EQUAL(response.partitions[0].high_watermark, 2);
    teardown(f);
}

/* It wakes in both ways. */
static void a_partition_that_is_removed_is_told_once(void)
{
    struct storage_fixture *f = setup("12");
    struct watch_response response;

    const struct ria_rpc_request *sent = watch_ahead(f, 0, 1);
    fixture_topic(f, 1, 1, 2, true, NULL);
    fixture_publish(f);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_reply(f, API_WATCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(response.partitions_count, 1);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_ERR_UNKNOWN_TOPIC);
    teardown(f);
}

static void a_leader_that_resigns_ends_a_watch_ahead_of_it(void)
{
    struct storage_fixture *f = setup("12");
    struct watch_response response;

    const struct ria_rpc_request *sent = watch_ahead(f, 0, 1);
    fixture_partition(f, 1, 0, 2, 6, 2, "12", "12");
    fixture_publish(f);
    fixture_run_ms(f, 5);
    CU_ASSERT_EQUAL(fixture_reply(f, API_WATCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(response.partitions_count, 1);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(response.partitions[0].log_end_offset, 0);
    teardown(f);
}

/* ---- replica fetch ---- */

/* One that begins its session anew. */
static struct ria_rpc_request *replica_fetch(
    struct storage_fixture *f,
    int64_t session_id,
    int64_t number,
    int32_t epoch,
    int64_t offset,
    int32_t wait_ms
)
{
    struct replica_fetch_request_replica_fetch_partition partition = {
        .topic_id = fixture_topic_id(1),
        .leader_epoch = epoch,
        .offset = offset,
        .max_bytes = 1 << 20,
    };
    struct replica_fetch_request request = {
        .session_id = session_id,
        .number = number,
        .is_full = true,
        .wait_ms = wait_ms,
        .max_bytes = 1 << 20,
        .partitions = &partition,
        .partitions_count = 1,
    };

    return fixture_send(f, API_REPLICA_FETCH, &request, RIA_SLICE_NULL);
}

static void a_replica_fetch_gets_batches_before_they_are_synced(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_fetch_response response;
    int64_t first = -1;

    const struct ria_rpc_request *sent = replica_fetch(f, 1, 1, 5, 0, 5000);
    CU_ASSERT_FALSE(sent->done);
    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 5});
    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 5});
    CU_ASSERT_FALSE(sent->done);
    fixture_run_ms(f, 0); /* the end of the turn */
    CU_ASSERT_EQUAL(fixture_info(f).synced_offset, 0);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 1);
    CU_ASSERT_EQUAL(response.partitions[0].end_offset, 2);
    CU_ASSERT_EQUAL(response.partitions[0].high_watermark, 0);
    CU_ASSERT_EQUAL((size_t)response.partitions[0].size, fixture_payload(sent).size);
    CU_ASSERT_EQUAL(batch_count(fixture_payload(sent), &first), 2);
    fixture_run_ms(f, 5);
    (void)fixture_report(f, 2, 5, 2);
    teardown(f);
}

static void a_high_watermark_that_no_report_moved_is_told_alone(void)
{
    struct storage_fixture *f = setup("123"); /* two must be in sync */
    struct replica_fetch_response response;

    (void)fixture_produce_one(f);
    (void)fixture_report(f, 2, 5, 1);
    const struct ria_rpc_request *sent = replica_fetch(f, 1, 1, 5, 1, 5000);
    fixture_run_ms(f, 300);
    CU_ASSERT_FALSE(sent->done); /* nothing new */
    fixture_partition(f, 1, 0, 1, 5, 2, "123", "12");
    fixture_publish(f);
    CU_ASSERT_EQUAL(fixture_info(f).high_watermark, 1);
    fixture_run_ms(f, 150);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 1);
    CU_ASSERT_EQUAL(response.partitions[0].high_watermark, 1);
    CU_ASSERT_EQUAL(response.partitions[0].size, 0);
    sent = replica_fetch(f, 1, 2, 5, 1, 5000); /* and only once */
    fixture_run_ms(f, 300);
    CU_ASSERT_FALSE(sent->done);
    teardown(f);
}

static void a_newer_replica_fetch_ends_the_older_one_of_its_session(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_fetch_response response;

    const struct ria_rpc_request *first = replica_fetch(f, 1, 1, 5, 0, 5000);
    const struct ria_rpc_request *other = replica_fetch(f, 2, 1, 5, 0, 5000);
    const struct ria_rpc_request *second = replica_fetch(f, 1, 2, 5, 0, 5000);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_FETCH, first, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 0);
    CU_ASSERT_FALSE(other->done);
    CU_ASSERT_FALSE(second->done);
    teardown(f);
}

static void a_replica_fetch_of_another_epoch_or_place_is_told_at_once(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_fetch_response response;

    const struct ria_rpc_request *sent = replica_fetch(f, 1, 1, 4, 0, 5000);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_ERR_FENCED_EPOCH);
    sent = replica_fetch(f, 1, 2, 5, 1, 5000);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_ERR_OFFSET_OUT_OF_RANGE);
    sent = replica_fetch(f, 1, 3, 5, 0, 5000);
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "12");
    fixture_publish(f);
    fixture_run_ms(f, 0);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_ERR_FENCED_EPOCH);
    teardown(f);
}

static void a_replica_fetch_without_a_session_keeps_the_order_of_its_request_and_its_bound(void)
{
    struct storage_fixture *f = setup_two_topics();
    struct replica_fetch_request_replica_fetch_partition partitions[] = {
        {.topic_id = fixture_topic_id(1), .leader_epoch = 5, .max_bytes = 1 << 20},
        {.topic_id = fixture_topic_id(7), .leader_epoch = 5, .max_bytes = 1 << 20},
        {.topic_id = fixture_topic_id(2), .leader_epoch = 5, .max_bytes = 1 << 20},
    };
    struct replica_fetch_request request = {
        .session_id = -1, .max_bytes = 1 << 20, .partitions = partitions, .partitions_count = 3};
    struct replica_fetch_response response;

    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 5, .topic = 2});
    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 5});
    fixture_run_ms(f, 5);
    const struct ria_rpc_request *sent =
        fixture_send(f, API_REPLICA_FETCH, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_FETCH, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions_count, 3);
    CU_ASSERT_EQUAL(response.partitions[0].topic_id.bytes[15], 1);
    CU_ASSERT_EQUAL(response.partitions[1].error_code, RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(response.partitions[2].topic_id.bytes[15], 2);
    request.max_bytes = 80; /* one batch: the next one does not fit */
    sent = fixture_send(f, API_REPLICA_FETCH, &request, RIA_SLICE_NULL);
    int64_t first = -1;
    CU_ASSERT_EQUAL(batch_count(fixture_payload(sent), &first), 1);
    teardown(f);
}

static void replica_epochs_tells_the_history(void)
{
    struct storage_fixture *f = setup("12");
    struct replica_epochs_request_replica_epochs_partition partition = {
        .topic_id = fixture_topic_id(1), .leader_epoch = 6};
    struct replica_epochs_request request = {.partitions = &partition, .partitions_count = 1};
    struct replica_epochs_response response;

    (void)fixture_produce_one(f);
    (void)fixture_produce_one(f);
    fixture_partition(f, 1, 0, 1, 6, 2, "12", "12");
    fixture_publish(f);
    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 6});
    fixture_run_ms(f, 5);
    const struct ria_rpc_request *sent =
        fixture_send(f, API_REPLICA_EPOCHS, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_EPOCHS, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].end_offset, 3);
    CU_ASSERT_EQUAL(response.partitions[0].epochs_count, 2);
    CU_ASSERT_EQUAL(response.partitions[0].epochs[0].epoch, 5);
    CU_ASSERT_EQUAL(response.partitions[0].epochs[1].epoch, 6);
    CU_ASSERT_EQUAL(response.partitions[0].epochs[1].start_offset, 2);
    partition.leader_epoch = 5;
    sent = fixture_send(f, API_REPLICA_EPOCHS, &request, RIA_SLICE_NULL);
    CU_ASSERT_EQUAL(fixture_reply(f, API_REPLICA_EPOCHS, sent, &response), RIA_OK);
    CU_ASSERT_EQUAL(response.partitions[0].error_code, RIA_ERR_FENCED_EPOCH);
    CU_ASSERT_EQUAL(fixture_report(f, 2, 6, 3), RIA_OK);
    teardown(f);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(fetch_reads_up_to_the_high_watermark),
    HARNESS_TEST(fetch_returns_at_least_one_batch),
    HARNESS_TEST(fetch_out_of_range_names_the_range),
    HARNESS_TEST(a_parked_fetch_wakes_when_its_record_is_committed),
    HARNESS_TEST(a_parked_fetch_expires_empty),
    HARNESS_TEST(a_parked_fetch_ends_when_the_leader_changes),
    HARNESS_TEST(reads_check_the_epoch_only_when_it_is_given),
    HARNESS_TEST(list_offsets_tells_both_ends_and_a_time),
    HARNESS_TEST(a_watch_tells_all_that_moved_in_one_turn),
    HARNESS_TEST(a_watch_of_something_past_answers_at_once),
    HARNESS_TEST(a_newer_watch_ends_the_older_one),
    HARNESS_TEST(a_watch_of_a_partition_that_is_not_led_here_tells_so),
    HARNESS_TEST(a_watch_expires_empty),
    HARNESS_TEST(a_watch_may_be_answered_before_the_followers_have_it),
    HARNESS_TEST(a_partition_that_is_removed_is_told_once),
    HARNESS_TEST(a_leader_that_resigns_ends_a_watch_ahead_of_it),
    HARNESS_TEST(a_replica_fetch_gets_batches_before_they_are_synced),
    HARNESS_TEST(a_high_watermark_that_no_report_moved_is_told_alone),
    HARNESS_TEST(a_newer_replica_fetch_ends_the_older_one_of_its_session),
    HARNESS_TEST(a_replica_fetch_of_another_epoch_or_place_is_told_at_once),
    HARNESS_TEST(a_replica_fetch_without_a_session_keeps_the_order_of_its_request_and_its_bound),
    HARNESS_TEST(replica_epochs_tells_the_history),
};
HARNESS_MAIN(tests);
