/* QueueAck: how leases end. */
#include <string.h>

#include "schemas/gen/queue_ack.h"

#include "services/coordinator/apply_queue.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/coordinator/queue_fixture.h"

static void set_up(struct queue_world *w)
{
    queue_world_open(w, 2);
    w->ends[0] = 10;
}

static void set_dead_topic(struct queue_world *w, const char *name)
{
    struct queue_open settings = queue_world_settings(w);

    settings.dead_topic = ria_slice_cstr(name);
    CU_ASSERT_EQUAL_FATAL(queue_world_set(w, &settings), RIA_OK);
}

/* Returns the lease. */
static int64_t receive(struct queue_world *w, int32_t records_max)
{
    CU_ASSERT_EQUAL(queue_world_receive(w, records_max), RIA_OK);
    return w->received.granted_count > 0 ? w->received.granted[0].lease_id : 0;
}

static ria_err act(struct queue_world *w, int64_t lease, int64_t first, int64_t last, int8_t action)
{
    return queue_world_act(w, 0, lease, first, last, action, -1);
}

/* ---- ack ---- */

static void what_is_acknowledged_is_finished(void)
{
    struct queue_world w;

    set_up(&w);
    int64_t lease = receive(&w, 10);
    int64_t changed = w.received.changed;
    w.m.time_ms = 777;
    CU_ASSERT_EQUAL(act(&w, lease, 3, 5, QUEUE_ACK), RIA_OK);
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-2 D3-5 L6-9"));
    CU_ASSERT_EQUAL(w.acked.changed, changed); /* nobody else can do anything with it */
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).committed_ms, 777);
    CU_ASSERT_EQUAL(act(&w, lease, 0, 2, QUEUE_ACK), RIA_OK);
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).position, 6);
    CU_ASSERT_EQUAL(act(&w, lease, 6, 9, QUEUE_ACK), RIA_OK);
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, ""));
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).position, 10);
    w.m.lease_ms += 2 * QUEUE_LOCK;
    receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    queue_world_close(&w);
}

static void an_ack_at_the_deadline_is_a_conflict_that_says_so(void)
{
    struct queue_world w;

    set_up(&w);
    int64_t lease = receive(&w, 10);
    w.m.lease_ms += QUEUE_LOCK - 1;
    CU_ASSERT_EQUAL(act(&w, lease, 0, 4, QUEUE_ACK), RIA_OK);
    w.m.lease_ms += 1;
    CU_ASSERT_EQUAL(act(&w, lease, 5, 9, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "was over 0 ms ago"));
    w.m.lease_ms += 120;
    CU_ASSERT_EQUAL(act(&w, lease, 5, 9, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "was over 120 ms ago"));
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).position, 5);
    receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:5-9#2"));
    queue_world_close(&w);
}

static void an_ack_after_another_delivery_is_a_conflict(void)
{
    struct queue_world w;

    set_up(&w);
    int64_t lease = receive(&w, 10);
    w.m.lease_ms += QUEUE_LOCK;
    int64_t later = receive(&w, 10);
    CU_ASSERT_EQUAL(act(&w, lease, 0, 9, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "another consumer"));
    CU_ASSERT_EQUAL(act(&w, later, 0, 9, QUEUE_ACK), RIA_OK);
    CU_ASSERT_EQUAL(act(&w, lease, 0, 9, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "is finished already"));
    queue_world_close(&w);
}

static void a_second_ack_is_a_conflict_that_says_it_is_finished(void)
{
    struct queue_world w;

    set_up(&w);
    int64_t lease = receive(&w, 10);
    CU_ASSERT_EQUAL(act(&w, lease, 5, 5, QUEUE_ACK), RIA_OK);
    CU_ASSERT_EQUAL(act(&w, lease, 5, 5, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "offset 5 is finished already"));
    CU_ASSERT_TRUE(w.acked.entries[0].finished);
    CU_ASSERT_EQUAL(act(&w, lease, 0, 0, QUEUE_ACK), RIA_OK);
    CU_ASSERT_EQUAL(act(&w, lease, 0, 0, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "offset 0 is finished already"));
    CU_ASSERT_TRUE(w.acked.entries[0].finished);
    queue_world_close(&w);
}

/* Who repeats an ack may take it for done then, and not if some of its records are not. */
static void finished_is_said_of_all_records_of_an_entry_only(void)
{
    struct queue_world w;

    set_up(&w);
    int64_t lease = receive(&w, 10);
    CU_ASSERT_EQUAL(act(&w, lease, 0, 1, QUEUE_ACK), RIA_OK);
    CU_ASSERT_EQUAL(act(&w, lease, 4, 6, QUEUE_ACK), RIA_OK);
    CU_ASSERT_EQUAL(act(&w, lease, 0, 2, QUEUE_ACK), RIA_ERR_CONFLICT); /* across the position */
    CU_ASSERT_FALSE(w.acked.entries[0].finished);
    CU_ASSERT_EQUAL(act(&w, lease, 4, 7, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_FALSE(w.acked.entries[0].finished);
    CU_ASSERT_EQUAL(act(&w, lease, 3, 6, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_FALSE(w.acked.entries[0].finished);
    CU_ASSERT_EQUAL(act(&w, lease, 4, 6, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_TRUE(w.acked.entries[0].finished);
    CU_ASSERT_EQUAL(act(&w, lease, 0, 1, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_TRUE(w.acked.entries[0].finished);
    w.m.lease_ms += QUEUE_LOCK;
    CU_ASSERT_EQUAL(act(&w, lease, 2, 3, QUEUE_ACK), RIA_ERR_CONFLICT); /* over */
    CU_ASSERT_FALSE(w.acked.entries[0].finished);
    queue_world_close(&w);
}

static void an_entry_is_done_as_a_whole_or_not_at_all(void)
{
    struct queue_world w;

    set_up(&w);
    int64_t lease = receive(&w, 4);
    receive(&w, 4);
    CU_ASSERT_EQUAL(act(&w, lease, 0, 4, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(act(&w, lease, 2, 100, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-3 L4-7"));
    CU_ASSERT_EQUAL(act(&w, lease, 8, 8, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "offset 8 is not leased"));
    queue_world_close(&w);
}

static void entries_are_done_or_refused_one_by_one(void)
{
    struct queue_world w;
    struct queue_ack_queue_ack_entry entries[] = {
        {.partition = 0, .first = 0, .last = 1, .action = QUEUE_ACK, .delay_ms = -1},
        {.partition = 1, .first = 0, .last = 0, .action = QUEUE_ACK, .delay_ms = -1},
        {.partition = 0, .first = 2, .last = 2, .action = QUEUE_ACK, .delay_ms = -1},
        {.partition = 0, .first = 2, .last = 2, .action = QUEUE_ACK, .delay_ms = -1},
        {.partition = 7, .first = 0, .last = 0, .action = QUEUE_ACK, .delay_ms = -1},
        {.partition = 0, .first = 3, .last = 2, .action = QUEUE_ACK, .delay_ms = -1},
        {.partition = 0, .first = 3, .last = 3, .action = 7, .delay_ms = -1},
        {.partition = 0, .first = 3, .last = 3, .action = QUEUE_NACK, .delay_ms = -2},
        {.partition = 0, .first = 3, .last = 3, .action = QUEUE_EXTEND, .delay_ms = 999},
        {.partition = 0, .first = 3, .last = 3, .action = QUEUE_ACK, .delay_ms = -1},
    };
    static const int16_t wanted[] = {
        RIA_OK,
        RIA_ERR_CONFLICT,
        RIA_OK,
        RIA_ERR_CONFLICT,
        RIA_ERR_UNKNOWN_PARTITION,
        RIA_ERR_INVALID,
        RIA_ERR_INVALID,
        RIA_ERR_INVALID,
        RIA_ERR_INVALID,
        RIA_OK,
    };
    const struct queue_ack request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(QUEUE_TOPIC),
        .entries = entries,
        .entries_count = RIA_COUNT(entries),
    };

    set_up(&w);
    int64_t lease = receive(&w, 10);
    for (size_t i = 0; i < RIA_COUNT(entries); i++) {
        entries[i].lease_id = lease;
    }
    CU_ASSERT_EQUAL(queue_world_run(&w, GROUP_OPERATION_QUEUE_ACK, &request, &w.acked), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(w.acked.entries_count, RIA_COUNT(wanted));
    for (size_t i = 0; i < RIA_COUNT(wanted); i++) {
        CU_ASSERT_EQUAL(w.acked.entries[i].error_code, wanted[i]);
        CU_ASSERT_EQUAL(w.acked.entries[i].error_text.size > 0, wanted[i] != RIA_OK);
    }
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).position, 4);
    queue_world_close(&w);
}

/* ---- nack ---- */

static void a_nack_waits_for_its_delay(void)
{
    struct queue_world w;

    set_up(&w);
    w.ends[0] = 2;
    int64_t lease = receive(&w, 10);
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 0, QUEUE_NACK, 700), RIA_OK);
    CU_ASSERT_TRUE(w.acked.changed > changed);
    receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, ""));
    CU_ASSERT_EQUAL(w.received.retry_after_ms, 700);
    w.m.lease_ms += 700;
    receive(&w, 10);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-0#2"));
    queue_world_close(&w);
}

static void a_nack_that_frees_nothing_earlier_wakes_nobody(void)
{
    struct queue_world w;

    set_up(&w);
    int64_t lease = receive(&w, 10);
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 0, QUEUE_NACK, QUEUE_LOCK + 1), RIA_OK);
    CU_ASSERT_EQUAL(w.acked.changed, changed);
    queue_world_close(&w);
}

static void without_a_delay_the_schedule_counts(void)
{
    struct queue_world w;
    static uint32_t delays[] = {100, 500};

    set_up(&w);
    w.ends[0] = 1;
    struct queue_open settings = queue_world_settings(&w);
    settings.retry_ms = delays;
    settings.retry_ms_count = 2;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    static const int64_t wanted[] = {100, 500, 500};
    for (size_t i = 0; i < RIA_COUNT(wanted); i++) {
        int64_t lease = receive(&w, 1);
        CU_ASSERT_EQUAL(act(&w, lease, 0, 0, QUEUE_NACK), RIA_OK);
        receive(&w, 1);
        CU_ASSERT_EQUAL(w.received.retry_after_ms, wanted[i]);
        w.m.lease_ms += wanted[i];
    }
    queue_world_close(&w);
}

static void a_range_with_different_deliveries_is_nacked_by_its_rows(void)
{
    struct queue_world w;

    set_up(&w);
    w.ends[0] = 4;
    int64_t lease = receive(&w, 2);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 1, QUEUE_NACK, 0), RIA_OK);
    lease = receive(&w, 4);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-1#2 0:2-3#1"));
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 1, 2, QUEUE_NACK, 0), RIA_OK);
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-0 W1-1 W2-2 L3-3"));
    receive(&w, 4);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:1-1#3 0:2-2#2"));
    queue_world_close(&w);
}

/* ---- the others ---- */

static void an_extended_lease_lives_on(void)
{
    struct queue_world w;

    set_up(&w);
    w.ends[0] = 2;
    int64_t lease = receive(&w, 2);
    int64_t changed = w.received.changed;
    w.m.lease_ms += 20000;
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 0, QUEUE_EXTEND, 60000), RIA_OK);
    CU_ASSERT_EQUAL(w.acked.entries[0].left_ms, 60000);
    CU_ASSERT_EQUAL(w.acked.changed, changed);
    CU_ASSERT_EQUAL(act(&w, lease, 1, 1, QUEUE_EXTEND), RIA_OK);
    CU_ASSERT_EQUAL(w.acked.entries[0].left_ms, QUEUE_LOCK);
    w.m.lease_ms += QUEUE_LOCK;
    receive(&w, 2);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:1-1#2"));
    CU_ASSERT_EQUAL(act(&w, lease, 0, 0, QUEUE_ACK), RIA_OK);
    CU_ASSERT_EQUAL(act(&w, lease, 1, 1, QUEUE_EXTEND), RIA_ERR_CONFLICT);
    queue_world_close(&w);
}

static void a_lease_made_shorter_wakes_those_who_wait(void)
{
    struct queue_world w;

    set_up(&w);
    int64_t lease = receive(&w, 2);
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 1, QUEUE_EXTEND, 1000), RIA_OK);
    CU_ASSERT_TRUE(w.acked.changed > changed);
    queue_world_close(&w);
}

static void what_is_rejected_is_dead_with_its_reason(void)
{
    struct queue_world w;

    set_up(&w);
    set_dead_topic(&w, "jobs.dead");
    int64_t lease = receive(&w, 10);
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(queue_world_reject(&w, lease, 2, 4, "no such customer"), RIA_OK);
    CU_ASSERT_TRUE(w.acked.changed > changed);
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-1 X2-4 L5-9"));
    CU_ASSERT_EQUAL(act(&w, lease, 2, 2, QUEUE_ACK), RIA_ERR_CONFLICT);
    w.dead_max = 100;
    receive(&w, 1);
    CU_ASSERT_TRUE(queue_world_dead(&w, "0:2-4#1"));
    CU_ASSERT_TRUE(ria_slice_equal(w.received.dead[0].reason, RIA_SLICE_LITERAL("no such customer"))
    );
    int64_t dead_lease = queue_world_lease(&w);
    CU_ASSERT_EQUAL(act(&w, dead_lease, 2, 4, QUEUE_ACK), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "can only be buried"));
    CU_ASSERT_EQUAL(act(&w, dead_lease, 2, 4, QUEUE_EXTEND), RIA_ERR_CONFLICT);
    CU_ASSERT_EQUAL(act(&w, dead_lease, 2, 4, QUEUE_BURIED), RIA_OK);
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L0-1 D2-4 L5-9"));
    queue_world_close(&w);
}

static void only_what_is_dead_can_be_buried(void)
{
    struct queue_world w;

    set_up(&w);
    int64_t lease = receive(&w, 10);
    CU_ASSERT_EQUAL(act(&w, lease, 0, 0, QUEUE_BURIED), RIA_ERR_CONFLICT);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.m.text, "not dead"));
    queue_world_close(&w);
}

static void without_a_dead_letter_topic_a_reject_finishes(void)
{
    struct queue_world w;

    set_up(&w);
    int64_t lease = receive(&w, 10);
    CU_ASSERT_EQUAL(queue_world_reject(&w, lease, 0, 3, "bad"), RIA_OK);
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).position, 4);
    CU_ASSERT_EQUAL(queue_world_row(&w, 0).discarded, 4);
    queue_world_close(&w);
}

static void the_last_nack_makes_dead(void)
{
    struct queue_world w;

    set_up(&w);
    set_dead_topic(&w, "jobs.dead");
    struct queue_open settings = queue_world_settings(&w);
    settings.deliveries_max = 2;
    CU_ASSERT_EQUAL(queue_world_set(&w, &settings), RIA_OK);
    int64_t lease = receive(&w, 1);
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 0, QUEUE_NACK, 0), RIA_OK);
    lease = receive(&w, 1);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-0#2"));
    CU_ASSERT_EQUAL(queue_world_act(&w, 0, lease, 0, 0, QUEUE_NACK, 0), RIA_OK);
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "X0-0"));
    queue_world_close(&w);
}

static void what_is_given_back_was_not_delivered(void)
{
    struct queue_world w;

    set_up(&w);
    w.ends[0] = 1;
    int64_t lease = receive(&w, 1);
    int64_t changed = w.received.changed;
    CU_ASSERT_EQUAL(act(&w, lease, 0, 0, QUEUE_GIVE_BACK), RIA_OK);
    CU_ASSERT_TRUE(w.acked.changed > changed);
    receive(&w, 1);
    CU_ASSERT_TRUE(queue_world_granted(&w, "0:0-0#1"));
    queue_world_close(&w);
}

static void at_its_row_limit_a_partition_takes_whole_rows_and_the_first(void)
{
    struct queue_world w;

    set_up(&w);
    int64_t lease = receive(&w, 5);
    int64_t later = receive(&w, 5);
    w.unchecked = true;
    struct queue_row row = queue_world_row(&w, 0);
    row.row_count = QUEUE_ROWS_SPLIT_MAX;
    row.touched = true;
    CU_ASSERT_EQUAL(queue_row_store(&row), RIA_OK);
    CU_ASSERT_EQUAL(act(&w, later, 6, 6, QUEUE_ACK), RIA_ERR_LIMIT);
    CU_ASSERT_EQUAL(queue_world_settle(&w, 0, later, 6, ".", 5000), RIA_OK);
    CU_ASSERT_TRUE(queue_world_settled(&w, "l"));
    CU_ASSERT_EQUAL(act(&w, lease, 0, 0, QUEUE_ACK), RIA_OK);
    CU_ASSERT_EQUAL(act(&w, later, 5, 9, QUEUE_ACK), RIA_OK);
    CU_ASSERT_TRUE(queue_world_looks(&w, 0, "L1-4 D5-9"));
    queue_world_close(&w);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(what_is_acknowledged_is_finished),
    HARNESS_TEST(an_ack_at_the_deadline_is_a_conflict_that_says_so),
    HARNESS_TEST(an_ack_after_another_delivery_is_a_conflict),
    HARNESS_TEST(a_second_ack_is_a_conflict_that_says_it_is_finished),
    HARNESS_TEST(finished_is_said_of_all_records_of_an_entry_only),
    HARNESS_TEST(an_entry_is_done_as_a_whole_or_not_at_all),
    HARNESS_TEST(entries_are_done_or_refused_one_by_one),
    HARNESS_TEST(a_nack_waits_for_its_delay),
    HARNESS_TEST(a_nack_that_frees_nothing_earlier_wakes_nobody),
    HARNESS_TEST(without_a_delay_the_schedule_counts),
    HARNESS_TEST(a_range_with_different_deliveries_is_nacked_by_its_rows),
    HARNESS_TEST(an_extended_lease_lives_on),
    HARNESS_TEST(a_lease_made_shorter_wakes_those_who_wait),
    HARNESS_TEST(what_is_rejected_is_dead_with_its_reason),
    HARNESS_TEST(only_what_is_dead_can_be_buried),
    HARNESS_TEST(without_a_dead_letter_topic_a_reject_finishes),
    HARNESS_TEST(the_last_nack_makes_dead),
    HARNESS_TEST(what_is_given_back_was_not_delivered),
    HARNESS_TEST(at_its_row_limit_a_partition_takes_whole_rows_and_the_first),
};
HARNESS_MAIN(tests);
