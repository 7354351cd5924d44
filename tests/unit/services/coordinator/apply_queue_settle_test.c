/* QueueSettle: order per key and delivery times. */
#include <string.h>

#include "schemas/gen/queue_settle.h"

#include "services/coordinator/apply_queue.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/queue_fixture.h"

static void set_up(struct queue_world *w, bool key_order)
{
    queue_world_open(w, 1);
    w->ends[0] = 100;
    struct queue_open settings = queue_world_settings(w);
    settings.key_order = key_order ? 1 : 0;
    CU_ASSERT_EQUAL_FATAL(queue_world_set(w, &settings), RIA_OK);
}

/* Returns the lease. */
static int64_t receive(struct queue_world *w, int32_t records_max)
{
    CU_ASSERT_EQUAL(queue_world_receive(w, records_max), RIA_OK);
    return w->received.granted_count > 0 ? w->received.granted[0].lease_id : 0;
}

static void settle(struct queue_world *w, int64_t lease, int64_t first, const char *keys)
{
    CU_ASSERT_EQUAL(queue_world_settle(w, 0, lease, first, keys, 0), RIA_OK);
}

static ria_err act(struct queue_world *w, int64_t lease, int64_t offset, int8_t action)
{
    return queue_world_act(w, 0, lease, offset, offset, action, -1);
}

/* ---- order per key ---- */

static void records_of_one_key_are_held_while_one_is_out(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 6);
    settle(&w, lease, 0, "abacba");
    CU_ASSERT_TRUE(queue_world_settled(&w, "hh-h--"));
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-0 L1-1 H2-2 L3-3 H4-4 H5-5"));
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).frontier, 6);
    queue_world_close(&w);
}

static void records_without_a_key_have_no_order(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 4);
    settle(&w, lease, 0, "....");
    CU_ASSERT_TRUE(queue_world_settled(&w, "hhhh"));
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-3"));
    queue_world_close(&w);
}

static void the_next_of_a_key_is_ready_when_one_is_finished(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 4);
    settle(&w, lease, 0, "aaab");
    w.ends[0] = 4;
    receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(act(&w, lease, 0, QUEUE_ACK), RIA_OK);
    CU_ASSERT_TRUE(w.acked.changed > changed);
    lease = receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:1-1#1")); /* settled: its key is known */
    CU_ASSERT_EQUAL(act(&w, lease, 1, QUEUE_ACK), RIA_OK);
    lease = receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:2-2#1"));
    queue_world_close(&w);
}

static void a_failure_does_not_let_the_next_of_the_key_pass(void)
{
    struct queue_world w;

    set_up(&w, true);
    w.ends[0] = 3;
    int64_t lease = receive(&w, 3);
    settle(&w, lease, 0, "aab");
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 0, QUEUE_NACK, 50000), RIA_OK);
    w.m.lease_ms += 100;
    receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    w.m.lease_ms += 50000; /* b is over, too */
    lease = receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-0#2 0:2-2#2"));
    w.m.lease_ms += QUEUE_LOCK;
    lease = receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-0#3 0:2-2#3"));
    CU_ASSERT_EQUAL(act(&w, lease, 0, QUEUE_GIVE_BACK), RIA_OK);
    lease = receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-0#3"));
    CU_ASSERT_EQUAL(act(&w, lease, 0, QUEUE_ACK), RIA_OK);
    receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:1-1#1"));
    queue_world_close(&w);
}

static void a_later_lease_is_held_by_an_earlier_record_of_the_key(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 2);
    settle(&w, lease, 0, "ab");
    int64_t later = receive(&w, 2);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:2-3#1u"));
    settle(&w, later, 2, "ca");
    CU_ASSERT_TRUE(queue_world_settled(&w, "h-"));
    queue_world_close(&w);
}

static void a_key_is_held_until_its_dead_record_is_buried(void)
{
    struct queue_world w;

    set_up(&w, true);
    struct queue_open settings = queue_world_settings(&w);
    settings.dead_topic = RIA_SLICE_LITERAL("jobs.dead");
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    w.ends[0] = 2;
    w.dead_max = 1;
    int64_t lease = receive(&w, 2);
    settle(&w, lease, 0, "aa");
    CU_ASSERT_EQUAL(queue_world_reject(&w, lease, 0, 0, "bad"), RIA_OK);
    receive(&w, 2);
    CU_ASSERT_TRUE(queue_world_dead(&w, "0:0-0#1"));
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    CU_ASSERT_EQUAL(act(&w, queue_world_lease(&w), 0, QUEUE_BURIED), RIA_OK);
    receive(&w, 2);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:1-1#1"));
    queue_world_close(&w);
}

static void a_key_goes_on_when_its_dead_record_is_discarded(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 2);
    settle(&w, lease, 0, "aa");
    CU_ASSERT_EQUAL(queue_world_reject(&w, lease, 0, 0, "bad"), RIA_OK);
    w.ends[0] = 2;
    receive(&w, 2);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:1-1#1"));
    queue_world_close(&w);
}

static void acknowledging_many_keys_at_once_frees_the_next_of_each(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 6);
    settle(&w, lease, 0, "abcabc");
    CU_ASSERT_TRUE(queue_world_settled(&w, "hhh---"));
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 2, QUEUE_ACK, -1), RIA_OK);
    w.ends[0] = 6;
    receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:3-3#1 0:4-4#1 0:5-5#1"));
    queue_world_close(&w);
}

/* ---- the lease that is not settled ---- */

static void a_lease_that_is_over_settles_nothing(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 2);
    w.m.lease_ms += QUEUE_LOCK;
    settle(&w, lease, 0, "ab");
    CU_ASSERT_TRUE(queue_world_settled(&w, "cc"));
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).frontier, 0);
    int64_t next = receive(&w, 3);
    settle(&w, lease, 0, "ab");
    CU_ASSERT_TRUE(queue_world_settled(&w, "cc"));
    settle(&w, next, 0, "abc");
    CU_ASSERT_TRUE(queue_world_settled(&w, "hhh"));
    queue_world_close(&w);
}

static void what_is_not_named_is_fresh_for_others(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 10);
    int64_t changed = w.received.changed;
    settle(&w, lease, 0, "abc");
    CU_ASSERT_TRUE(w.settled.changed > changed);
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).frontier, 3);
    receive(&w, 2);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:3-4#1u"));
    CU_ASSERT_EQUAL(act(&w, lease, 3, QUEUE_ACK), RIA_ERR_CONFLICT);
    queue_world_close(&w);
}

static void a_gap_is_refused_and_changes_nothing(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 4);
    CU_ASSERT_EQUAL(queue_world_settle(&w, 0, lease, 1, "ab", 0), RIA_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "0..3"));
    CU_ASSERT_EQUAL(queue_world_settle(&w, 0, lease, 0, "abcde", 0), RIA_ERR_INVALID);
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, ""));
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).unsettled, lease);
    settle(&w, lease, 0, "abcd");
    CU_ASSERT_TRUE(queue_world_settled(&w, "hhhh"));
    queue_world_close(&w);
}

static void settling_again_says_what_is_still_handed_out(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 3);
    settle(&w, lease, 0, "aab");
    settle(&w, lease, 0, "aab");
    CU_ASSERT_TRUE(queue_world_settled(&w, "hch"));
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-0 H1-1 L2-2"));
    queue_world_close(&w);
}

static void entries_must_ascend(void)
{
    struct queue_world w;
    struct queue_settle_queue_settle_entry entries[2] = {{.offset = 1}, {.offset = 1}};
    const struct queue_settle request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .entries = entries,
        .entries_count = 2,
    };

    set_up(&w, false);
    receive(&w, 3);
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_SETTLE, &request, NULL), RIA_ERR_INVALID
    );
    entries[0].offset = 0;
    CU_ASSERT_EQUAL(queue_world_run(&w, GROUP_OPERATION_QUEUE_SETTLE, &request, NULL), RIA_OK);
    entries[0].partition = 1;
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_SETTLE, &request, NULL), RIA_ERR_UNKNOWN_PARTITION
    );
    entries[0].partition = 0;
    entries[1].delay_ms = QUEUE_DELAY_MS_MAX + 1;
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_SETTLE, &request, NULL), RIA_ERR_INVALID
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "delayMs"));
    queue_world_close(&w);
}

static void a_lease_that_is_not_settled_can_be_given_back(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 3);
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 1, QUEUE_GIVE_BACK, -1), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 2, QUEUE_GIVE_BACK, -1), RIA_OK);
    CU_ASSERT_TRUE(w.acked.changed > changed);
    receive(&w, 4);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-3#1u"));
    queue_world_close(&w);
}

/* One lease at a time is not settled: it looks at keys for those who come next. */
static void looking_ahead_tells_keys_for_the_next_receives(void)
{
    struct queue_world w;
    struct queue_settle_queue_settle_entry entries[5];
    const struct queue_settle request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .entries = entries,
        .entries_count = 5,
    };

    set_up(&w, true);
    w.look_ahead = 4;
    int64_t lease = receive(&w, 1);
    int64_t changed = w.received.changed;
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-4#1u"));
    for (int i = 0; i < 5; i++) {
        entries[i] = (struct queue_settle_queue_settle_entry
        ){.lease_id = lease, .offset = i, .has_key = true, .key = "abbac"[i], .leave = i > 0};
    }
    CU_ASSERT_EQUAL(
        queue_world_run(&w, GROUP_OPERATION_QUEUE_SETTLE, &request, &w.settled), RIA_OK
    );
    CU_ASSERT_TRUE(queue_world_settled(&w, "h----"));
    CU_ASSERT_TRUE(w.settled.changed > changed);
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-0 W1-1 H2-2 H3-3 W4-4"));
    receive(&w, 1);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:1-1#1"));
    receive(&w, 2);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:4-4#1 0:5-9#1u"));
    w.look_ahead = 999;
    CU_ASSERT_EQUAL(queue_world_receive(&w, 2), RIA_ERR_INVALID);
    queue_world_close(&w);
}

/* ---- delivery times ---- */

static void what_is_not_due_waits_and_is_not_counted(void)
{
    struct queue_world w;

    set_up(&w, false);
    w.ends[0] = 5;
    int64_t lease = receive(&w, 5);
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(queue_world_settle(&w, 0, lease, 2, ".", 5000), RIA_OK);
    CU_ASSERT_TRUE(queue_world_settled(&w, "-"));
    CU_ASSERT_TRUE(w.settled.changed > changed); /* due before the lease would have ended */
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-1 W2-2 L3-4"));
    w.m.lease_ms += 4999;
    receive(&w, 5);
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    CU_ASSERT_EQUAL(w.received.retry_after_ms, 1);
    w.m.lease_ms++;
    receive(&w, 5);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:2-2#1"));
    queue_world_close(&w);
}

static void one_that_is_due_is_handed_out(void)
{
    struct queue_world w;

    set_up(&w, false);
    int64_t lease = receive(&w, 5);
    CU_ASSERT_EQUAL(queue_world_settle(&w, 0, lease, 1, "..", 0), RIA_OK);
    CU_ASSERT_TRUE(queue_world_settled(&w, "hh"));
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-4"));
    queue_world_close(&w);
}

static void with_order_a_time_holds_the_key(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 1);
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(queue_world_settle(&w, 0, lease, 0, "a", 5000), RIA_OK);
    CU_ASSERT_TRUE(queue_world_settled(&w, "-"));
    CU_ASSERT_TRUE(w.settled.changed > changed);
    lease = receive(&w, 1);
    settle(&w, lease, 1, "a");
    CU_ASSERT_TRUE(queue_world_settled(&w, "-"));
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "W0-0 H1-1"));
    w.ends[0] = 2;
    w.m.lease_ms += 5000;
    receive(&w, 5);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-0#1"));
    queue_world_close(&w);
}

static void many_far_times_of_one_moment_are_one_row(void)
{
    struct queue_world w;

    set_up(&w, true);
    int64_t lease = receive(&w, 50);
    CU_ASSERT_EQUAL(
        queue_world_settle(
            &w, 0, lease, 0, "..................................................", 100000
        ),
        RIA_OK
    );
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "W0-49"));
    queue_world_close(&w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(records_of_one_key_are_held_while_one_is_out),
    HARNESS_TEST(records_without_a_key_have_no_order),
    HARNESS_TEST(the_next_of_a_key_is_ready_when_one_is_finished),
    HARNESS_TEST(a_failure_does_not_let_the_next_of_the_key_pass),
    HARNESS_TEST(a_later_lease_is_held_by_an_earlier_record_of_the_key),
    HARNESS_TEST(a_key_is_held_until_its_dead_record_is_buried),
    HARNESS_TEST(a_key_goes_on_when_its_dead_record_is_discarded),
    HARNESS_TEST(acknowledging_many_keys_at_once_frees_the_next_of_each),
    HARNESS_TEST(a_lease_that_is_over_settles_nothing),
    HARNESS_TEST(what_is_not_named_is_fresh_for_others),
    HARNESS_TEST(a_gap_is_refused_and_changes_nothing),
    HARNESS_TEST(settling_again_says_what_is_still_handed_out),
    HARNESS_TEST(entries_must_ascend),
    HARNESS_TEST(a_lease_that_is_not_settled_can_be_given_back),
    HARNESS_TEST(looking_ahead_tells_keys_for_the_next_receives),
    HARNESS_TEST(what_is_not_due_waits_and_is_not_counted),
    HARNESS_TEST(one_that_is_due_is_handed_out),
    HARNESS_TEST(with_order_a_time_holds_the_key),
    HARNESS_TEST(many_far_times_of_one_moment_are_one_row),
};
HARNESS_MAIN(tests);
