/* QueueReceive: who is given what. */
#include <string.h>

#include "schemas/gen/delete_topic_request.h"
#include "schemas/gen/group_delete.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/sweep_ranges.h"

#include "services/coordinator/apply_queue.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/queue_fixture.h"

static void set_up(struct queue_world *w, int32_t partitions, int64_t end)
{
    queue_world_open(w, partitions);
    for (int32_t i = 0; i < partitions; i++) {
        w->ends[i] = end;
    }
}

/* A group with so many deliveries, a retry delay of 100 and then 500 ms, and a dead-letter topic.
 */
static void set_limits(struct queue_world *w, int32_t deliveries_max, const char *dead_topic)
{
    static uint32_t delays[] = {100, 500};
    struct queue_open settings = queue_world_settings(w);

    settings.deliveries_max = deliveries_max;
    settings.retry_ms = delays;
    settings.retry_ms_count = 2;
    settings.dead_topic = ria_slice_cstr(dead_topic);
    CU_ASSERT_EQUAL_FATAL(queue_world_set(w, &settings), RIA_OK);
}

static void receive(struct queue_world *w, int32_t records_max)
{
    CU_ASSERT_EQUAL(queue_world_receive(w, records_max), RIA_OK);
}

static void fresh_records_are_leased_up_to_the_end(void)
{
    struct queue_world w;

    set_up(&w, 1, 10);
    w.consumer = "me";
    receive(&w, 4);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-3#1"));
    CU_ASSERT_EQUAL(w.received.granted[0].left_ms, 30000);
    struct range_row row = queue_world_range(&w, 0, 0);
    CU_ASSERT_TRUE(ria_slice_equal(range_text_get(&row.holder), RIA_SLICE_LITERAL("me")));
    receive(&w, 100);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:4-9#1"));
    receive(&w, 100);
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-3 L4-9"));
    queue_world_close(&w);
}

static void every_receive_that_leases_has_a_lease_of_its_own(void)
{
    struct queue_world w;

    set_up(&w, 2, 10);
    receive(&w, 15);
    CU_ASSERT_EQUAL_FATAL(w.received.granted_count, 2);
    int64_t lease = w.received.granted[0].lease_id;
    CU_ASSERT_EQUAL(w.received.granted[1].lease_id, lease);
    receive(&w, 1);
    CU_ASSERT_TRUE(queue_world_lease(&w) > lease);
    queue_world_close(&w);
}

static void the_first_start_of_a_partition_counts(void)
{
    struct queue_world w;
    struct queue_receive_queue_start start = {.partition = 0, .offset = 7};
    struct queue_receive_queue_end end = {.partition = 0, .offset = 9};
    struct queue_receive request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .lock_ms = -1,
        .records_max = 10,
        .ends = &end,
        .ends_count = 1,
    };

    queue_world_open(&w, 1);
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &request, &w.received), RIA_OK
    );
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    CU_ASSERT_TRUE(queue_world_offered(&w, "0@-1"));
    request.starts = &start;
    request.starts_count = 1;
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &request, &w.received), RIA_OK
    );
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:7-8#1"));
    start.offset = 8;
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &request, &w.received), RIA_OK
    );
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).position, 7);
    queue_world_close(&w);
}

static void frontiers_without_records_are_offered(void)
{
    struct queue_world w;

    set_up(&w, 3, 0);
    w.ends[1] = 5;
    receive(&w, 100);
    CU_ASSERT_TRUE(queue_world_granted(&w, "1:0-4#1"));
    receive(&w, 100);
    CU_ASSERT_EQUAL(w.received.offered_count, 3);
    for (uint32_t i = 0; i < w.received.offered_count; i++) {
        int64_t wanted = w.received.offered[i].partition == 1 ? 5 : 0;
        CU_ASSERT_EQUAL(w.received.offered[i].offset, wanted);
    }
    queue_world_close(&w);
}

/* ---- expiry ---- */

static void a_lease_is_over_at_its_deadline(void)
{
    struct queue_world w;

    set_up(&w, 1, 5);
    receive(&w, 5);
    w.m.lease_ms += QUEUE_LOCK - 1;
    receive(&w, 5);
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    CU_ASSERT_EQUAL(w.received.retry_after_ms, 1);
    w.m.lease_ms++;
    receive(&w, 5);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-4#2"));
    queue_world_close(&w);
}

static void a_lock_may_be_shorter_than_the_groups(void)
{
    struct queue_world w;

    set_up(&w, 1, 5);
    w.lock_ms = 2000;
    receive(&w, 5);
    CU_ASSERT_EQUAL(w.received.granted[0].left_ms, 2000);
    w.m.lease_ms += 2000;
    receive(&w, 5);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-4#2"));
    queue_world_close(&w);
}

static void a_failure_waits_by_the_schedule(void)
{
    static const int64_t delays[] = {100, 500, 500};
    struct queue_world w;

    set_up(&w, 1, 1);
    set_limits(&w, 16, "");
    receive(&w, 1);
    for (size_t i = 0; i < RIA_COUNT(delays); i++) {
        w.m.lease_ms += QUEUE_LOCK + delays[i] - 1;
        receive(&w, 1);
        CU_ASSERT_TRUE(queue_world_granted(&w, ""));
        CU_ASSERT_EQUAL(w.received.retry_after_ms, 1);
        w.m.lease_ms++;
        receive(&w, 1);
        CU_ASSERT_EQUAL_FATAL(w.received.granted_count, 1);
        CU_ASSERT_EQUAL(w.received.granted[0].deliveries, (int32_t)i + 2);
    }
    queue_world_close(&w);
}

static void ready_records_come_before_fresh_ones_lowest_first(void)
{
    struct queue_world w;

    set_up(&w, 1, 20);
    receive(&w, 10);
    int64_t lease = queue_world_lease(&w);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 7, 7, QUEUE_NACK, 10), RIA_OK);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 2, 3, QUEUE_NACK, 50), RIA_OK);
    receive(&w, 1);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:10-10#1"));
    w.m.lease_ms += 50;
    receive(&w, 4);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:2-3#2 0:7-7#2 0:11-11#1"));
    queue_world_close(&w);
}

static void expired_ranges_become_one_row_again(void)
{
    struct queue_world w;

    set_up(&w, 1, 20);
    for (int i = 0; i < 20; i++) {
        receive(&w, 1);
        w.m.lease_ms += 10;
    }
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).row_count, 20);
    w.m.lease_ms += QUEUE_LOCK;
    receive(&w, 5);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-4#2"));
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-4 W5-19"));
    queue_world_close(&w);
}

/* ---- dead letters ---- */

static void the_last_delivery_that_fails_makes_dead(void)
{
    struct queue_world w;

    set_up(&w, 1, 3);
    set_limits(&w, 2, "jobs.dead");
    receive(&w, 3);
    w.m.lease_ms += QUEUE_LOCK + 100;
    receive(&w, 3);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-2#2"));
    /* No delay after the last one: it is dead, not waiting. */
    w.m.lease_ms += QUEUE_LOCK;
    receive(&w, 3);
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    CU_ASSERT_TRUE(queue_world_dead(&w, ""));
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "X0-2"));
    w.dead_max = 2;
    receive(&w, 3);
    CU_ASSERT_TRUE(queue_world_dead(&w, "0:0-1#2"));
    CU_ASSERT_TRUE(ria_slice_equal(w.received.dead_topic, RIA_SLICE_LITERAL("jobs.dead")));
    CU_ASSERT_TRUE(ria_slice_equal(w.received.dead[0].reason, RIA_SLICE_LITERAL("delivery limit")));
    CU_ASSERT_EQUAL(w.received.retry_after_ms, 0); /* there are more */
    queue_world_close(&w);
}

static void a_gateway_that_does_not_bury_loses_the_dead(void)
{
    struct queue_world w;

    set_up(&w, 1, 1);
    set_limits(&w, 1, "jobs.dead");
    w.dead_max = 10;
    receive(&w, 1);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, queue_world_lease(&w), 0, 0, QUEUE_NACK, -1), RIA_OK);
    receive(&w, 1);
    CU_ASSERT_TRUE(queue_world_dead(&w, "0:0-0#1"));
    int64_t lease = queue_world_lease(&w);
    w.m.lease_ms += 29999;
    receive(&w, 1);
    CU_ASSERT_TRUE(queue_world_dead(&w, ""));
    CU_ASSERT_EQUAL(w.received.retry_after_ms, 1);
    w.m.lease_ms += 1;
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 0, QUEUE_BURIED, -1), RIA_ERR_CONFLICT);
    receive(&w, 1);
    CU_ASSERT_TRUE(queue_world_dead(&w, "0:0-0#1"));
    lease = queue_world_lease(&w);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 0, QUEUE_BURIED, -1), RIA_OK);
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).position, 1);
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).discarded, 0);
    queue_world_close(&w);
}

static void without_a_dead_letter_topic_the_dead_are_finished_and_counted(void)
{
    struct queue_world w;

    set_up(&w, 1, 3);
    set_limits(&w, 1, "");
    receive(&w, 3);
    w.m.lease_ms += QUEUE_LOCK;
    receive(&w, 3);
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).position, 3);
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).discarded, 3);
    queue_world_close(&w);
}

static void the_dead_of_a_topic_that_was_taken_away_are_finished(void)
{
    struct queue_world w;

    set_up(&w, 1, 1);
    set_limits(&w, 1, "jobs.dead");
    receive(&w, 1);
    w.m.lease_ms += QUEUE_LOCK;
    receive(&w, 1);
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "X0-0"));
    set_limits(&w, 1, "");
    receive(&w, 1);
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).position, 1);
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).discarded, 1);
    queue_world_close(&w);
}

/* ---- partitions ---- */

static void a_busy_partition_does_not_starve_the_others(void)
{
    struct queue_world w;
    int seen[4] = {0};

    set_up(&w, 4, 1000);
    for (int i = 0; i < 80; i++) {
        receive(&w, 1);
        CU_ASSERT_EQUAL_FATAL(w.received.granted_count, 1);
        seen[w.received.granted[0].partition]++;
    }
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(seen[i] >= 15);
    }
    queue_world_close(&w);
}

/* A group with two topics that are read in turns: every second lease is of each. */
static void every_second_lease_still_sees_all_partitions(void)
{
    struct queue_world w;
    int seen[2] = {0};
    struct create_topic_request topic = fixture_topic(51, "other", 1, 1);
    struct queue_receive_queue_start start = {.partition = 0, .offset = 0};
    struct queue_receive_queue_end end = {.partition = 0, .offset = 1000};
    struct queue_receive other = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(51),
        .lock_ms = -1,
        .records_max = 1,
        .starts = &start,
        .starts_count = 1,
        .ends = &end,
        .ends_count = 1,
    };

    set_up(&w, 2, 1000);
    CU_ASSERT_EQUAL_FATAL(fixture_apply(&w.m, API_CREATE_TOPIC, &topic), RIA_OK);
    for (int i = 0; i < 40; i++) {
        receive(&w, 1);
        seen[w.received.granted[0].partition]++;
        CU_ASSERT_EQUAL(queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &other, NULL), RIA_OK);
    }
    CU_ASSERT_TRUE(seen[0] >= 15);
    CU_ASSERT_TRUE(seen[1] >= 15);
    queue_world_close(&w);
}

static void who_got_all_it_asked_for_may_ask_again_at_once(void)
{
    struct queue_world w;

    set_up(&w, 2, 10);
    receive(&w, 1);
    CU_ASSERT_EQUAL(w.received.retry_after_ms, 0);
    receive(&w, 100);
    CU_ASSERT_EQUAL(w.received.retry_after_ms, QUEUE_LOCK);
    queue_world_close(&w);
}

static void without_anything_out_only_a_change_can_help(void)
{
    struct queue_world w;

    set_up(&w, 1, 0);
    receive(&w, 1);
    CU_ASSERT_EQUAL(w.received.retry_after_ms, -1);
    queue_world_close(&w);
}

/* ---- order per key ---- */

static void set_key_order(struct queue_world *w)
{
    struct queue_open settings = queue_world_settings(w);

    settings.key_order = 1;
    CU_ASSERT_EQUAL_FATAL(queue_world_set(w, &settings), RIA_OK);
}

static void only_one_lease_of_a_partition_is_not_settled(void)
{
    struct queue_world w;

    set_up(&w, 1, 10);
    set_key_order(&w);
    receive(&w, 4);
    CU_ASSERT_TRUE(w.received.key_order);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-3#1u"));
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).frontier, 0);
    receive(&w, 4);
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    CU_ASSERT_TRUE(queue_world_offered(&w, ""));
    CU_ASSERT_EQUAL(w.received.retry_after_ms, QUEUE_LOCK);
    queue_world_close(&w);
}

static void what_was_never_settled_is_fresh_again(void)
{
    struct queue_world w;

    set_up(&w, 1, 4);
    set_key_order(&w);
    receive(&w, 4);
    w.m.lease_ms += QUEUE_LOCK;
    receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-3#1u"));
    queue_world_close(&w);
}

/* Who does not know of more behind the lease watches for it: the settle will not wake it. */
static void what_comes_behind_an_unsettled_lease_is_watched(void)
{
    struct queue_world w;

    set_up(&w, 1, 4);
    set_key_order(&w);
    receive(&w, 10);
    int64_t lease = queue_world_lease(&w);
    receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_offered(&w, "0@4"));
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(queue_world_settle(&w, 0, lease, 0, "abcd", 0), RIA_OK);
    CU_ASSERT_EQUAL(w.settled.changed, changed);
    queue_world_close(&w);
}

static void who_knows_of_more_behind_it_is_woken_by_the_settle(void)
{
    struct queue_world w;

    set_up(&w, 1, 4);
    set_key_order(&w);
    receive(&w, 10);
    int64_t lease = queue_world_lease(&w);
    w.ends[0] = 5;
    receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_offered(&w, ""));
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(queue_world_settle(&w, 0, lease, 0, "abcd", 0), RIA_OK);
    CU_ASSERT_TRUE(w.settled.changed > changed);
    queue_world_close(&w);
}

/* ---- limits ---- */

static void set_row_count(struct queue_world *w, int64_t row_count)
{
    struct queue_row row = queue_world_row(w, 0);

    row.row_count = row_count;
    row.touched = true;
    CU_ASSERT_EQUAL(queue_row_store(&row), RIA_OK);
}

/* The count is written, not made: it alone decides. */
static void a_partition_with_too_many_rows_gives_out_nothing_fresh(void)
{
    struct queue_world w;

    set_up(&w, 1, 10);
    receive(&w, 2);
    int64_t lease = queue_world_lease(&w);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 1, 1, QUEUE_NACK, 0), RIA_OK);
    CU_ASSERT_FALSE(w.received.full);
    w.unchecked = true;
    set_row_count(&w, QUEUE_ROWS_MAX);
    receive(&w, 10);
    CU_ASSERT_TRUE(w.received.full);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:1-1#2")); /* what is ready is given out */
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, queue_world_lease(&w), 1, 1, QUEUE_ACK, -1), RIA_OK);
    CU_ASSERT_EQUAL(w.acked.changed, changed);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 0, QUEUE_ACK, -1), RIA_OK);
    CU_ASSERT_TRUE(w.acked.changed > changed);
    receive(&w, 10);
    CU_ASSERT_FALSE(w.received.full);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:2-9#1"));
    queue_world_close(&w);
}

static void nothing_ready_in_front_of_a_floor_is_given_out(void)
{
    struct queue_world w;
    struct queue_receive_queue_floor floor = {.partition = 0, .offset = 4};
    const struct queue_receive request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .lock_ms = -1,
        .records_max = 3,
        .floors = &floor,
        .floors_count = 1,
    };

    set_up(&w, 1, 10);
    receive(&w, 10);
    int64_t lease = queue_world_lease(&w);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 9, QUEUE_GIVE_BACK, -1), RIA_OK);
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &request, &w.received), RIA_OK
    );
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:4-6#1"));
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "W0-3 L4-6 W7-9"));
    floor.offset = 10;
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &request, &w.received), RIA_OK
    );
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    receive(&w, 10); /* the next one does not know of it */
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-3#1 0:7-9#1"));
    floor.partition = 1;
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &request, NULL),
        RIA_ERR_UNKNOWN_PARTITION
    );
    queue_world_close(&w);
}

static void a_first_receive_may_bring_the_dead_letter_topic(void)
{
    struct queue_world w;
    struct queue_receive request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .lock_ms = -1,
        .new_dead_topic = RIA_SLICE_LITERAL("jobs.dead"),
    };

    set_up(&w, 1, 1);
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &request, &w.received), RIA_OK
    );
    CU_ASSERT_TRUE(ria_slice_equal(w.received.dead_topic, RIA_SLICE_LITERAL("jobs.dead")));
    /* Only the first: the group's own is what counts. */
    request.new_dead_topic = RIA_SLICE_LITERAL("others.dead");
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &request, &w.received), RIA_OK
    );
    CU_ASSERT_TRUE(ria_slice_equal(w.received.dead_topic, RIA_SLICE_LITERAL("jobs.dead")));
    request.new_dead_topic = RIA_SLICE_LITERAL("no/topic");
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &request, NULL), RIA_ERR_INVALID
    );
    queue_world_close(&w);
}

static void bad_requests_name_the_field(void)
{
    struct queue_world w;
    struct queue_receive_queue_end end = {.partition = 2, .offset = 10};
    struct queue_receive_queue_start start = {.partition = 0, .offset = -1};
    const struct queue_receive good = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .lock_ms = -1,
        .records_max = 10,
    };

    set_up(&w, 2, 0);
    struct queue_receive bad = good;
    bad.records_max = 1001;
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &bad, NULL), RIA_ERR_INVALID
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "recordsMax"));
    bad = good;
    bad.dead_max = 1001;
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &bad, NULL), RIA_ERR_INVALID
    );
    bad = good;
    bad.lock_ms = 999;
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &bad, NULL), RIA_ERR_INVALID
    );
    bad = good;
    bad.consumer = RIA_SLICE_LITERAL("a\nb");
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &bad, NULL), RIA_ERR_INVALID
    );
    bad = good;
    bad.ends = &end;
    bad.ends_count = 1;
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &bad, NULL), RIA_ERR_UNKNOWN_PARTITION
    );
    bad = good;
    bad.starts = &start;
    bad.starts_count = 1;
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &bad, NULL), RIA_ERR_INVALID
    );
    bad = good;
    bad.topic_id = fixture_uuid(1);
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_RECEIVE, &bad, NULL), RIA_ERR_UNKNOWN_TOPIC
    );
    queue_world_close(&w);
}

static void a_deleted_topic_takes_its_ranges_along(void)
{
    struct queue_world w;
    const struct delete_topic_request request = {.name = RIA_SLICE_LITERAL("jobs")};
    const struct sweep_ranges sweep = {.rows_max = 10};
    struct create_topic_request again = fixture_topic(51, "jobs", 1, 1);

    set_up(&w, 1, 10);
    receive(&w, 5);
    struct queue_row row = queue_world_row(&w, 0);
    CU_ASSERT_EQUAL(fixture_apply(&w.m, API_DELETE_TOPIC, &request), RIA_OK);
    CU_ASSERT_FALSE(queue_row_read(w.m.db, row.group_id, &row.topic_id, 0, &row));
    CU_ASSERT_EQUAL(fixture_number(&w.m, META_LEFTOVERS_ANY), 1);
    CU_ASSERT_EQUAL(fixture_apply(&w.m, COMMAND_SWEEP_RANGES, &sweep), RIA_OK);
    row = (struct queue_row){.db = w.m.db, .space = row.space, .topic_id = row.topic_id};
    CU_ASSERT_PTR_NULL(range_rows_check(&row)); /* there are none */
    CU_ASSERT_EQUAL(fixture_number(&w.m, META_LEFTOVERS_ANY), 0);
    CU_ASSERT_EQUAL(queue_world_receive(&w, 5), RIA_ERR_UNKNOWN_TOPIC);
    CU_ASSERT_EQUAL(fixture_apply(&w.m, API_CREATE_TOPIC, &again), RIA_OK);
    CU_ASSERT_EQUAL(queue_world_receive(&w, 5), RIA_ERR_UNKNOWN_TOPIC);
    queue_world_close(&w);
}

static void a_group_whose_keys_are_looked_at_is_in_use(void)
{
    struct queue_world w;
    const struct group_delete request = {.group = RIA_SLICE_LITERAL("q")};

    set_up(&w, 1, 10);
    set_key_order(&w);
    receive(&w, 5);
    CU_ASSERT_EQUAL(queue_world_run(&w, GROUP_OPERATION_DELETE, &request, NULL), RIA_ERR_CONFLICT);
    w.m.lease_ms += QUEUE_LOCK;
    CU_ASSERT_EQUAL(queue_world_run(&w, GROUP_OPERATION_DELETE, &request, NULL), RIA_OK);
    queue_world_close(&w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(fresh_records_are_leased_up_to_the_end),
    HARNESS_TEST(every_receive_that_leases_has_a_lease_of_its_own),
    HARNESS_TEST(the_first_start_of_a_partition_counts),
    HARNESS_TEST(frontiers_without_records_are_offered),
    HARNESS_TEST(a_lease_is_over_at_its_deadline),
    HARNESS_TEST(a_lock_may_be_shorter_than_the_groups),
    HARNESS_TEST(a_failure_waits_by_the_schedule),
    HARNESS_TEST(ready_records_come_before_fresh_ones_lowest_first),
    HARNESS_TEST(expired_ranges_become_one_row_again),
    HARNESS_TEST(the_last_delivery_that_fails_makes_dead),
    HARNESS_TEST(a_gateway_that_does_not_bury_loses_the_dead),
    HARNESS_TEST(without_a_dead_letter_topic_the_dead_are_finished_and_counted),
    HARNESS_TEST(the_dead_of_a_topic_that_was_taken_away_are_finished),
    HARNESS_TEST(a_busy_partition_does_not_starve_the_others),
    HARNESS_TEST(every_second_lease_still_sees_all_partitions),
    HARNESS_TEST(who_got_all_it_asked_for_may_ask_again_at_once),
    HARNESS_TEST(without_anything_out_only_a_change_can_help),
    HARNESS_TEST(only_one_lease_of_a_partition_is_not_settled),
    HARNESS_TEST(what_was_never_settled_is_fresh_again),
    HARNESS_TEST(what_comes_behind_an_unsettled_lease_is_watched),
    HARNESS_TEST(who_knows_of_more_behind_it_is_woken_by_the_settle),
    HARNESS_TEST(a_partition_with_too_many_rows_gives_out_nothing_fresh),
    HARNESS_TEST(nothing_ready_in_front_of_a_floor_is_given_out),
    HARNESS_TEST(a_first_receive_may_bring_the_dead_letter_topic),
    HARNESS_TEST(bad_requests_name_the_field),
    HARNESS_TEST(a_deleted_topic_takes_its_ranges_along),
    HARNESS_TEST(a_group_whose_keys_are_looked_at_is_in_use),
};
HARNESS_MAIN(tests);
