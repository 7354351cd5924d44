/* For each rule a minimal bad history that must fail, and its repaired twin that passes. */
#include "tests/sim/checker.h"

#include <string.h>

#include "tests/lib/harness.h"

enum { LEADER = 1, FOLLOWER = 2, LAGGARD = 3 };

/* ---- saying what happened ---- */

static void add(struct history *h, history_kind kind, struct history_event event)
{
    event.kind = kind;
    event.time_us = (int64_t)h->count * 1000;
    history_add(h, &event);
}

static void send(struct history *h, uint32_t producer, uint32_t number, int64_t count)
{
    add(h,
        HISTORY_SEND,
        (struct history_event
        ){.actor = producer, .value = history_value(producer, number), .count = count});
}

static void
ack(struct history *h, uint32_t producer, uint32_t number, int64_t count, int64_t offset)
{
    add(h,
        HISTORY_ACK,
        (struct history_event
        ){.actor = producer,
          .value = history_value(producer, number),
          .count = count,
          .offset = offset});
}

static void fail(struct history *h, uint32_t producer, uint32_t number)
{
    add(h,
        HISTORY_FAIL,
        (struct history_event
        ){.actor = producer, .value = history_value(producer, number), .count = 1});
}

static void
fetch(struct history *h, int32_t epoch, int64_t offset, int64_t count, int64_t watermark)
{
    add(h,
        HISTORY_FETCH,
        (struct history_event
        ){.epoch = epoch, .offset = offset, .count = count, .watermark = watermark});
}

static void read(struct history *h, int64_t offset, uint32_t number)
{
    add(h, HISTORY_READ, (struct history_event){.offset = offset, .value = history_value(0, number)}
    );
}

static void watermark(struct history *h, int32_t epoch, int64_t at)
{
    add(h,
        HISTORY_WATERMARK,
        (struct history_event){.actor = LEADER, .epoch = epoch, .watermark = at});
}

static void stored(struct history *h, uint32_t node, int64_t offset, uint32_t number)
{
    add(h,
        HISTORY_STORED,
        (struct history_event
        ){.actor = node,
          .offset = offset,
          .value = history_value(0, number),
          .watermark = offset + 1});
}

/* The node's log at the end: these numbers of producer 0, from offset 0 on. */
static void replica(struct history *h, uint32_t node, const uint32_t *numbers, int64_t count)
{
    add(h,
        HISTORY_REPLICA,
        (struct history_event
        ){.actor = node,
          .count = count,
          .watermark = node == LAGGARD ? 0 : count,
          .is_leader = node == LEADER,
          .is_in_sync = node != LAGGARD});
    for (int64_t i = 0; i < count; i++) {
        add(h,
            HISTORY_RECORD,
            (struct history_event
            ){.actor = node, .offset = i, .value = history_value(0, numbers[i])});
    }
}

#define REPLICA(h, node, ...)                                                 \
    replica(                                                                  \
        h,                                                                    \
        node,                                                                 \
        (const uint32_t[]){__VA_ARGS__},                                      \
        (int64_t)(sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)) \
    )

/* ---- asking ---- */

struct scene {
    struct history h;
};

static struct scene begin(bool idempotent)
{
    struct scene scene;

    history_init(&scene.h);
    (void)history_add_producer(&scene.h, idempotent);
    return scene;
}

/* Ends the scene. rule == NULL: it must pass. */
static void expect(struct scene *scene, const char *rule)
{
    struct checker_result result;

    checker_run(&scene->h, &result);
    if (rule == NULL) {
        CU_ASSERT_EQUAL(result.count, 0);
    } else {
        CU_ASSERT(result.count > 0);
        CU_ASSERT_STRING_EQUAL(result.count > 0 ? result.violations[0].rule : "none", rule);
    }
    history_fini(&scene->h);
}

/* ---- the rules ---- */

static void lost_write(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, 2);
    ack(&s.h, 0, 0, 2, 0);
    if (bad) {
        REPLICA(&s.h, LEADER, 0);
    } else {
        REPLICA(&s.h, LEADER, 0, 1);
    }
    expect(&s, bad ? "lost-write" : NULL);
}

static void acked_record_missing_on_leader_is_lost_write(void)
{
    lost_write(true);
    lost_write(false);
}

static void lost_on_replica(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, 2);
    ack(&s.h, 0, 0, 2, 0);
    REPLICA(&s.h, LEADER, 0, 1);
    if (bad) {
        REPLICA(&s.h, FOLLOWER, 0);
    } else {
        REPLICA(&s.h, FOLLOWER, 0, 1);
        REPLICA(&s.h, LAGGARD, 0);
    }
    expect(&s, bad ? "lost-on-replica" : NULL);
}

static void acked_record_missing_on_in_sync_replica_is_lost(void)
{
    lost_on_replica(true);
    lost_on_replica(false);
}

static void two_values(bool bad, int where)
{
    struct scene s = begin(false);

    send(&s.h, 0, 0, 1);
    send(&s.h, 0, 1, 1);
    ack(&s.h, 0, 0, 1, 0);
    switch (where) {
    case 0:
        fetch(&s.h, 1, 0, 1, 1);
        read(&s.h, 0, bad ? 1 : 0);
        break;
    case 1:
        stored(&s.h, FOLLOWER, 0, bad ? 1 : 0);
        break;
    case 2:
        REPLICA(&s.h, LAGGARD, 1); /* not committed there: no harm */
        REPLICA(&s.h, FOLLOWER, bad ? 1 : 0);
        break;
    default:
        ack(&s.h, 0, 1, 1, bad ? 0 : 1);
        break;
    }
    if (where == 3 && !bad) {
        REPLICA(&s.h, LEADER, 0, 1);
    } else {
        REPLICA(&s.h, LEADER, 0);
    }
    expect(&s, bad ? "two-values" : NULL);
}

static void offset_with_two_values_is_seen_wherever_it_shows(void)
{
    for (int where = 0; where < 4; where++) {
        two_values(true, where);
        two_values(false, where);
    }
}

static void stored_twice(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, 1);
    send(&s.h, 0, 0, 1); /* again, with its sequence */
    ack(&s.h, 0, 0, 1, 0);
    if (bad) {
        REPLICA(&s.h, LEADER, 0, 0);
    } else {
        REPLICA(&s.h, LEADER, 0);
    }
    expect(&s, bad ? "stored-twice" : NULL);
}

static void value_at_two_offsets_is_stored_twice(void)
{
    stored_twice(true);
    stored_twice(false);
}

static void failed_but_stored(bool bad, bool read_only)
{
    struct scene s = begin(false);

    send(&s.h, 0, 0, 1);
    if (read_only) {
        fetch(&s.h, 1, 0, bad, 1);
        if (bad) {
            read(&s.h, 0, 0);
        }
        fail(&s.h, 0, 0);
        replica(&s.h, LEADER, NULL, 0);
    } else {
        fail(&s.h, 0, 0);
        replica(&s.h, LEADER, (const uint32_t[]){0}, bad);
    }
    expect(&s, bad ? "failed-but-stored" : NULL);
}

static void definite_failure_in_log_or_read_is_found(void)
{
    failed_but_stored(true, false);
    failed_but_stored(false, false);
    failed_but_stored(true, true);
    failed_but_stored(false, true);
}

static void unknown_outcome_may_be_stored_or_not(void)
{
    for (int64_t count = 0; count < 2; count++) {
        struct scene s = begin(false);
        send(&s.h, 0, 0, 1);
        add(&s.h,
            HISTORY_UNKNOWN,
            (struct history_event){.actor = 0, .value = history_value(0, 0), .count = 1});
        replica(&s.h, LEADER, (const uint32_t[]){0}, count);
        expect(&s, NULL);
    }
}

static void invented(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, bad ? 1 : 2);
    REPLICA(&s.h, LEADER, 0, 1);
    expect(&s, bad ? "invented" : NULL);
}

static void record_nobody_sent_is_invented(void)
{
    invented(true);
    invented(false);
}

static void order_of_sequences(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, 1);
    send(&s.h, 0, 1, 1);
    if (bad) {
        REPLICA(&s.h, LEADER, 1, 0);
    } else {
        REPLICA(&s.h, LEADER, 0, 1);
    }
    expect(&s, bad ? "order" : NULL);
}

static void idempotent_records_out_of_sequence_break_order(void)
{
    order_of_sequences(true);
    order_of_sequences(false);
}

static void plain_records_in_flight_together_have_no_order(void)
{
    struct scene s = begin(false);

    send(&s.h, 0, 0, 1);
    send(&s.h, 0, 1, 1);
    ack(&s.h, 0, 1, 1, 0);
    ack(&s.h, 0, 0, 1, 1);
    REPLICA(&s.h, LEADER, 1, 0);
    expect(&s, NULL);
}

static void order_of_acks(bool bad)
{
    struct scene s = begin(false);

    send(&s.h, 0, 0, 1);
    ack(&s.h, 0, 0, 1, bad ? 1 : 0);
    send(&s.h, 0, 1, 1);
    ack(&s.h, 0, 1, 1, bad ? 0 : 1);
    if (bad) {
        REPLICA(&s.h, LEADER, 1, 0);
    } else {
        REPLICA(&s.h, LEADER, 0, 1);
    }
    expect(&s, bad ? "order" : NULL);
}

static void record_sent_after_an_ack_is_behind_it(void)
{
    order_of_acks(true);
    order_of_acks(false);
}

static void hole_in_log(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, 2);
    add(&s.h,
        HISTORY_REPLICA,
        (struct history_event
        ){.actor = LEADER,
          .count = bad ? 3 : 2,
          .watermark = 2,
          .is_leader = true,
          .is_in_sync = true});
    add(&s.h, HISTORY_RECORD, (struct history_event){.actor = LEADER, .value = history_value(0, 0)}
    );
    add(&s.h,
        HISTORY_RECORD,
        (struct history_event){.actor = LEADER, .value = history_value(0, 1), .offset = bad ? 2 : 1}
    );
    expect(&s, bad ? "gap" : NULL);
}

static void short_log(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, 2);
    add(&s.h,
        HISTORY_REPLICA,
        (struct history_event
        ){.actor = LEADER,
          .count = bad ? 2 : 1,
          .watermark = 1,
          .is_leader = true,
          .is_in_sync = true});
    add(&s.h, HISTORY_RECORD, (struct history_event){.actor = LEADER, .value = history_value(0, 0)}
    );
    expect(&s, bad ? "gap" : NULL);
}

static void missing_offset_in_log_is_a_gap(void)
{
    hole_in_log(true);
    hole_in_log(false);
    short_log(true);
    short_log(false);
}

static void read_past_watermark(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, 2);
    fetch(&s.h, 1, 0, 2, bad ? 1 : 2);
    read(&s.h, 0, 0);
    read(&s.h, 1, 1);
    REPLICA(&s.h, LEADER, 0, 1);
    expect(&s, bad ? "read-past-watermark" : NULL);
}

static void read_at_the_watermark_is_past_it(void)
{
    read_past_watermark(true);
    read_past_watermark(false);
}

static void read_skip(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, 3);
    fetch(&s.h, 1, 0, 2, 3);
    read(&s.h, 0, 0);
    read(&s.h, bad ? 2 : 1, bad ? 2 : 1);
    REPLICA(&s.h, LEADER, 0, 1, 2);
    expect(&s, bad ? "read-skip" : NULL);
}

static void offset_left_out_of_a_fetch_is_a_skip(void)
{
    read_skip(true);
    read_skip(false);
}

static void watermark_back(bool bad, bool at_reader)
{
    struct scene s = begin(true);

    if (at_reader) {
        fetch(&s.h, 1, 0, 0, 5);
        fetch(&s.h, 1, 0, 0, HISTORY_NO_WATERMARK);
        fetch(&s.h, 1, 0, 0, bad ? 4 : 5);
    } else {
        watermark(&s.h, 1, 5);
        watermark(&s.h, bad ? 1 : 2, 4);
    }
    replica(&s.h, LEADER, NULL, 0);
    expect(&s, bad ? "watermark-back" : NULL);
}

static void watermark_that_falls_within_an_epoch_is_found(void)
{
    watermark_back(true, true);
    watermark_back(false, true);
    watermark_back(true, false);
    watermark_back(false, false);
}

static void watermark_epochs(bool bad, int32_t first_epoch, int32_t then_epoch)
{
    struct scene s = begin(true);
    bool is_later = then_epoch > first_epoch;

    fetch(&s.h, first_epoch, 0, 0, 5);
    add(&s.h,
        HISTORY_FETCH,
        (struct history_event
        ){.actor = 1, .epoch = then_epoch, .watermark = is_later == bad ? 4 : 6});
    fetch(&s.h, bad ? HISTORY_NO_EPOCH : then_epoch, 0, 0, HISTORY_NO_WATERMARK);
    replica(&s.h, LEADER, NULL, 0);
    expect(&s, bad ? "watermark-epochs" : NULL);
}

/* Whichever reader, whichever answer came first. */
static void watermark_that_is_less_under_a_later_epoch_is_found(void)
{
    watermark_epochs(true, 1, 2);
    watermark_epochs(false, 1, 2);
    watermark_epochs(true, 2, 1);
    watermark_epochs(false, 2, 1);
}

/* A leader that has just begun may know less than its predecessor told. */
static void watermark_of_a_new_leader_itself_may_be_less(void)
{
    struct scene s = begin(true);

    watermark(&s.h, 1, 5);
    watermark(&s.h, 2, 4);
    replica(&s.h, LEADER, NULL, 0);
    expect(&s, NULL);
}

static void no_leader(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, 1);
    REPLICA(&s.h, bad ? FOLLOWER : LEADER, 0);
    expect(&s, bad ? "no-leader" : NULL);
}

static void partition_without_a_leader_at_the_end_is_found(void)
{
    no_leader(true);
    no_leader(false);
}

static void broken_promise_is_a_violation(void)
{
    struct scene s = begin(true);

    replica(&s.h, LEADER, NULL, 0);
    add(&s.h,
        HISTORY_BROKEN,
        (struct history_event
        ){.rule = "liveness",
          .text = "nothing is accepted",
          .offset = HISTORY_NO_OFFSET,
          .value = HISTORY_NO_VALUE});
    expect(&s, "liveness");
}

static void violations_past_the_limit_are_counted(void)
{
    struct scene s = begin(true);
    struct checker_result result;

    send(&s.h, 0, 0, 100);
    ack(&s.h, 0, 0, 100, 0);
    replica(&s.h, LEADER, NULL, 0);
    checker_run(&s.h, &result);
    CU_ASSERT_EQUAL(result.count, 100);
    CU_ASSERT_EQUAL(result.records_acked, 100);
    CU_ASSERT_STRING_EQUAL(result.violations[CHECKER_VIOLATIONS_MAX - 1].rule, "lost-write");
    history_fini(&s.h);
}

static void bad_history(int what, bool bad)
{
    struct scene s = begin(true);

    (void)history_add_producer(&s.h, true);
    send(&s.h, 0, 0, 1);
    switch (what) {
    case 0: /* an answer to what was not sent */
        ack(&s.h, 0, 0, bad ? 2 : 1, 0);
        break;
    case 1: /* a producer that was not declared */
        send(&s.h, bad ? 2 : 1, 0, 1);
        break;
    case 2: /* a producer with two partitions */
        add(&s.h,
            HISTORY_SEND,
            (struct history_event
            ){.partition = bad ? 1 : 0, .value = history_value(0, 1), .count = 1});
        break;
    case 3: /* a record of a log that did not begin */
        REPLICA(&s.h, FOLLOWER, 0);
        if (bad) {
            add(&s.h, HISTORY_RECORD, (struct history_event){.actor = LEADER, .offset = 1});
        }
        break;
    default: /* somebody else's values */
        add(&s.h,
            HISTORY_SEND,
            (struct history_event){.actor = 1, .value = history_value(bad ? 0 : 1, 1), .count = 1});
        break;
    }
    REPLICA(&s.h, LEADER, 0);
    expect(&s, bad ? "bad-history" : NULL);
}

static void history_that_makes_no_sense_is_refused(void)
{
    for (int what = 0; what < 5; what++) {
        bad_history(what, true);
        bad_history(what, false);
    }
}

/* Of a deleted topic nothing is asked at the end, but what was seen before still counts. */
static void dropped(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, 2);
    ack(&s.h, 0, 0, 2, 0);
    if (bad) {
        stored(&s.h, FOLLOWER, 0, 1);
    }
    add(&s.h, HISTORY_DROPPED, (struct history_event){.partition = 0});
    expect(&s, bad ? "two-values" : NULL);
}

static void dropped_partition_need_not_be_there_at_the_end(void)
{
    dropped(true);
    dropped(false);
}

static void offset_that_cannot_be(bool bad)
{
    struct scene s = begin(true);

    send(&s.h, 0, 0, 1);
    stored(&s.h, FOLLOWER, bad ? INT64_C(1) << 60 : 0, 0);
    REPLICA(&s.h, LEADER, 0);
    expect(&s, bad ? "gap" : NULL);
}

/* ---- derivations: partition 1 comes from partition 0, without the numbers that 3 divides ---- */

static void log_of(struct history *h, uint32_t partition, const uint32_t *numbers, int64_t count)
{
    add(h,
        HISTORY_REPLICA,
        (struct history_event
        ){.actor = LEADER,
          .partition = partition,
          .count = count,
          .watermark = count,
          .is_leader = true,
          .is_in_sync = true});
    for (int64_t i = 0; i < count; i++) {
        add(h,
            HISTORY_RECORD,
            (struct history_event
            ){.actor = LEADER,
              .partition = partition,
              .offset = i,
              .value = history_value(0, numbers[i])});
    }
}

#define LOG_OF(h, partition, ...)                                             \
    log_of(                                                                   \
        h,                                                                    \
        partition,                                                            \
        (const uint32_t[]){__VA_ARGS__},                                      \
        (int64_t)(sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)) \
    )

/* Values 0..5 were sent and are in the source, but for 5. */
static struct scene begin_derived(void)
{
    struct scene s = begin(false);

    add(&s.h, HISTORY_DERIVED, (struct history_event){.partition = 1, .from = 0, .skip = 3});
    send(&s.h, 0, 0, 6);
    LOG_OF(&s.h, 0, 0, 1, 2, 3, 4);
    return s;
}

static void derived_lost(bool bad)
{
    struct scene s = begin_derived();

    if (bad) {
        LOG_OF(&s.h, 1, 1, 4);
    } else {
        LOG_OF(&s.h, 1, 1, 2, 4);
    }
    expect(&s, bad ? "derived-lost" : NULL);
}

static void input_without_output_is_derived_lost(void)
{
    derived_lost(true);
    derived_lost(false);
}

/* In one log it is stored twice, too; in two only the count tells. */
static void derived_twice(bool bad)
{
    struct scene s = begin_derived();

    add(&s.h, HISTORY_DERIVED, (struct history_event){.partition = 2, .from = 0, .skip = 3});
    LOG_OF(&s.h, 1, 1, 2);
    if (bad) {
        LOG_OF(&s.h, 2, 2, 4);
    } else {
        LOG_OF(&s.h, 2, 4);
    }
    expect(&s, bad ? "derived-twice" : NULL);
}

static void output_in_two_partitions_is_derived_twice(void)
{
    derived_twice(true);
    derived_twice(false);
}

static void derived_invented(bool bad)
{
    struct scene s = begin_derived();

    if (bad) {
        LOG_OF(&s.h, 1, 1, 2, 4, 5);
    } else {
        LOG_OF(&s.h, 1, 1, 2, 4);
    }
    expect(&s, bad ? "derived-invented" : NULL);
}

static void output_whose_input_is_not_there_is_invented(void)
{
    derived_invented(true);
    derived_invented(false);
}

static void output_that_must_be_skipped_or_is_foreign_is_invented(void)
{
    struct scene s = begin_derived();

    LOG_OF(&s.h, 1, 1, 2, 3, 4);
    expect(&s, "invented");

    s = begin_derived();
    (void)history_add_producer(&s.h, false);
    add(&s.h,
        HISTORY_SEND,
        (struct history_event){.actor = 1, .partition = 2, .value = history_value(1, 1), .count = 1}
    );
    add(&s.h,
        HISTORY_STORED,
        (struct history_event){.actor = LEADER, .partition = 1, .value = history_value(1, 1)});
    expect(&s, "invented");
}

static void derived_order(bool bad)
{
    struct scene s = begin_derived();

    if (bad) {
        LOG_OF(&s.h, 1, 2, 1, 4);
    } else {
        LOG_OF(&s.h, 1, 1, 2, 4);
    }
    expect(&s, bad ? "derived-order" : NULL);
}

static void outputs_out_of_the_order_of_their_source_are_found(void)
{
    derived_order(true);
    derived_order(false);
}

/* A follower that lags behind at the end says nothing about the transform. */
static void only_leaders_of_derived_partitions_count(void)
{
    struct scene s = begin_derived();

    LOG_OF(&s.h, 1, 1, 2, 4);
    add(&s.h,
        HISTORY_REPLICA,
        (struct history_event){.actor = LAGGARD, .partition = 1, .count = 1, .watermark = 1});
    add(&s.h,
        HISTORY_RECORD,
        (struct history_event){.actor = LAGGARD, .partition = 1, .value = history_value(0, 1)});
    expect(&s, NULL);
}

static void absurd_offset_is_a_gap(void)
{
    offset_that_cannot_be(true);
    offset_that_cannot_be(false);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(acked_record_missing_on_leader_is_lost_write),
    HARNESS_TEST(acked_record_missing_on_in_sync_replica_is_lost),
    HARNESS_TEST(offset_with_two_values_is_seen_wherever_it_shows),
    HARNESS_TEST(value_at_two_offsets_is_stored_twice),
    HARNESS_TEST(definite_failure_in_log_or_read_is_found),
    HARNESS_TEST(unknown_outcome_may_be_stored_or_not),
    HARNESS_TEST(record_nobody_sent_is_invented),
    HARNESS_TEST(idempotent_records_out_of_sequence_break_order),
    HARNESS_TEST(plain_records_in_flight_together_have_no_order),
    HARNESS_TEST(record_sent_after_an_ack_is_behind_it),
    HARNESS_TEST(missing_offset_in_log_is_a_gap),
    HARNESS_TEST(read_at_the_watermark_is_past_it),
    HARNESS_TEST(offset_left_out_of_a_fetch_is_a_skip),
    HARNESS_TEST(watermark_that_falls_within_an_epoch_is_found),
    HARNESS_TEST(watermark_that_is_less_under_a_later_epoch_is_found),
    HARNESS_TEST(watermark_of_a_new_leader_itself_may_be_less),
    HARNESS_TEST(partition_without_a_leader_at_the_end_is_found),
    HARNESS_TEST(history_that_makes_no_sense_is_refused),
    HARNESS_TEST(dropped_partition_need_not_be_there_at_the_end),
    HARNESS_TEST(absurd_offset_is_a_gap),
    HARNESS_TEST(input_without_output_is_derived_lost),
    HARNESS_TEST(output_in_two_partitions_is_derived_twice),
    HARNESS_TEST(output_whose_input_is_not_there_is_invented),
    HARNESS_TEST(output_that_must_be_skipped_or_is_foreign_is_invented),
    HARNESS_TEST(outputs_out_of_the_order_of_their_source_are_found),
    HARNESS_TEST(only_leaders_of_derived_partitions_count),
    HARNESS_TEST(broken_promise_is_a_violation),
    HARNESS_TEST(violations_past_the_limit_are_counted),
};
HARNESS_MAIN(tests);
