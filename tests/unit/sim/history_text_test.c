/* What is written can be read, what is not a history is refused with its line. */
#include "tests/sim/history_text.h"

#include <string.h>

#include "tests/lib/harness.h"
#include "tests/sim/checker.h"

static ria_err read_text(struct history *history, const char *text, char *reason)
{
    char copy[4096];

    (void)snprintf(copy, sizeof(copy), "%s", text);
    FILE *in = fmemopen(copy, strlen(copy), "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(in);
    history_init(history);
    ria_err err = history_read(history, in, reason);
    (void)fclose(in);
    return err;
}

static void refused(const char *text, const char *expected_reason)
{
    struct history history;
    char reason[HISTORY_REASON_SIZE] = "";

    CU_ASSERT_EQUAL(read_text(&history, text, reason), RIA_ERR_MALFORMED);
    CU_ASSERT_STRING_EQUAL(reason, expected_reason);
    history_fini(&history);
}

static const char all_kinds[] =
    "  0.000000 PRODUCER  producer=0 idempotent=no\n"
    "  0.000000 PRODUCER  producer=1 idempotent=yes\n"
    "  0.000001 SEND      producer=1 partition=2 values=1.0+3\n"
    "  0.000002 ACK       producer=1 partition=2 values=1.0+3 offset=0\n"
    "  0.000003 FAIL      producer=0 partition=2 values=0.5+1\n"
    "  0.000004 UNKNOWN   producer=0 partition=2 values=0.6+1\n"
    "  1.500000 FETCH     reader=7 partition=2 offset=1 epoch=3 records=1 watermark=3\n"
    "  1.500000 FETCH     reader=8 partition=2 offset=1 epoch=-1 records=1\n"
    "  1.500000 READ      reader=7 partition=2 value=1.1 offset=1 watermark=3\n"
    "  2.000000 WATERMARK node=1 partition=2 epoch=3 watermark=3\n"
    "  2.000000 STORED    node=1 partition=2 value=1.1 offset=1 watermark=3\n"
    " 12.000000 REPLICA   node=1 partition=2 offset=0 epoch=3 records=1 watermark=3 leader=yes "
    "in-sync=no\n"
    " 12.000000 RECORD    node=1 partition=2 value=1.0 offset=0 watermark=3\n"
    "  0.000000 DERIVED   partition=4 from=2 skip=3\n"
    " 12.000000 DROPPED   partition=3\n"
    "  0.000000 CONSUMES  group=0 partition=2 offset=0 queue=no ordered=no dead=no\n"
    "  0.000000 CONSUMES  group=1 partition=2 offset=0 queue=yes ordered=yes dead=yes\n"
    "  3.000000 DELIVERED consumer=4 group=0 partition=2 offset=0 records=2 lease=7\n"
    "  3.100000 COMMIT    consumer=4 group=0 partition=2 offset=2 lease=7\n"
    "  3.200000 COMMITTED consumer=4 group=0 partition=2 offset=2 lease=7\n"
    "  3.200000 LOST      consumer=4 group=0 partition=2 offset=2 lease=7\n"
    "  3.300000 RESET     group=0 partition=2 offset=0\n"
    "  3.400000 POSITION  group=0 partition=2 offset=0\n"
    "  4.000000 LOCKED    consumer=5 group=1 partition=2 value=1.1 offset=1 lease=9 key=77 "
    "until=5.000000 clock=4321\n"
    "  4.000000 LOCKED    consumer=5 group=1 partition=2 value=1.2 offset=2 lease=9 "
    "until=5.000000\n"
    "  4.100000 SAY       consumer=5 group=1 partition=2 offset=1 lease=9 action=nack "
    "until=4.600000\n"
    "  4.200000 TOLD      consumer=5 group=1 partition=2 offset=1 lease=9 action=nack done=yes "
    "until=4.600000 clock=3456\n"
    "  4.300000 SAY       consumer=5 group=1 partition=2 offset=2 lease=9 action=give-back\n"
    " 12.100000 DEAD      group=1 partition=2 value=1.2 offset=2 action=reject\n"
    " 12.100000 REDRIVE   group=1 partition=2\n"
    "123.000000 BROKEN    partition=0 rule=liveness text=a thing = another, and so on\n";

static void every_kind_is_written_as_it_was_read(void)
{
    struct history history;
    char reason[HISTORY_REASON_SIZE] = "";
    char text[4096] = "";

    CU_ASSERT_EQUAL(read_text(&history, all_kinds, reason), RIA_OK);
    CU_ASSERT_STRING_EQUAL(reason, "");
    CU_ASSERT_EQUAL(history.count, 29);
    CU_ASSERT_EQUAL(history.group_count, 2);
    CU_ASSERT_EQUAL(history.producer_count, 2);
    CU_ASSERT_EQUAL(history.partition_count, 5);
    FILE *out = fmemopen(text, sizeof(text), "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    history_write(&history, out);
    (void)fclose(out);
    /* Times are padded to ten places. */
    const char *expected = all_kinds;
    const char *got = text;
    while (expected[0] != '\0' && got[0] != '\0') {
        size_t expected_size = strcspn(expected, "\n");
        size_t got_size = strcspn(got, "\n");
        size_t skip = strspn(got, " ");
        size_t expected_skip = strspn(expected, " ");
        CU_ASSERT_EQUAL(got_size - skip, expected_size - expected_skip);
        CU_ASSERT(memcmp(got + skip, expected + expected_skip, got_size - skip) == 0);
        expected += expected_size + 1;
        got += got_size + 1;
    }
    CU_ASSERT_EQUAL(expected[0], '\0');
    CU_ASSERT_EQUAL(got[0], '\0');
    history_fini(&history);
}

static void comments_and_empty_lines_say_nothing(void)
{
    struct history history;
    char reason[HISTORY_REASON_SIZE] = "";

    CU_ASSERT_EQUAL(
        read_text(&history, "# a run\n\n  \n1 DROPPED partition=0\n# the end", reason), RIA_OK
    );
    CU_ASSERT_EQUAL(history.count, 1);
    history_fini(&history);
}

static void bad_lines_are_refused_with_the_reason(void)
{
    refused("# fine\nnow SEND", "line 2: now is no time");
    refused("nan SEND", "line 1: nan is no time");
    refused("1", "line 1: nothing is no kind of event");
    refused("1 SENT", "line 1: SENT is no kind of event");
    refused("1 DROPPED partition=0 7", "line 1: 7 is not a key=value");
    refused("1 DROPPED offset=7", "line 1: DROPPED has no offset");
    refused("1 DROPPED", "line 1: DROPPED needs partition");
    refused("1 SEND partition=0 values=0.0+1", "line 1: SEND needs producer");
    refused("1 SEND producer=0 partition=0", "line 1: SEND needs values");
    refused("1 SEND producer=0 partition=0 values=0.0", "line 1: values=0.0 is bad");
    refused("1 SEND producer=0 partition=0 values=0.0+0", "line 1: values=0.0+0 is bad");
    refused("1 SEND producer=-1 partition=0 values=0.0+1", "line 1: producer=-1 is bad");
    refused(
        "1 DROPPED partition=99999999999999999999", "line 1: partition=99999999999999999999 is bad"
    );
    refused("1 DROPPED partition=0x1", "line 1: partition=0x1 is bad");
    refused("1 POSITION group=64 partition=0 offset=0", "line 1: group=64 is bad");
    refused(
        "1 SAY consumer=0 group=0 partition=0 offset=0 lease=1 action=eat",
        "line 1: action=eat is bad"
    );
    refused("1 PRODUCER producer=0 idempotent=maybe", "line 1: idempotent=maybe is bad");
}

static void sorting_keeps_what_is_of_the_same_moment_in_order(void)
{
    struct history history;

    history_init(&history);
    for (uint32_t i = 0; i < 1000; i++) {
        struct history_event event = {
            .kind = HISTORY_DROPPED, .actor = i, .time_us = (int64_t)(i * 7919 % 13)};
        history_add(&history, &event);
    }
    history_sort(&history);
    for (size_t i = 1; i < history.count; i++) {
        const struct history_event *before = &history.events[i - 1];
        const struct history_event *event = &history.events[i];
        CU_ASSERT(
            before->time_us < event->time_us ||
            (before->time_us == event->time_us && before->actor < event->actor)
        );
    }
    history_fini(&history);
}

/* A reader over HTTP knows neither. */
static void fetch_without_watermark_is_judged_without_it(void)
{
    struct history history;
    struct checker_result result;
    char reason[HISTORY_REASON_SIZE] = "";

    CU_ASSERT_EQUAL(
        read_text(
            &history,
            "0 PRODUCER producer=0 idempotent=yes\n"
            "1 SEND producer=0 partition=0 values=0.0+1\n"
            "2 FETCH reader=0 partition=0 offset=0 records=1\n"
            "2 READ reader=0 partition=0 offset=0 value=0.0\n"
            "9 REPLICA node=0 partition=0 offset=0 records=1 watermark=1 leader=yes in-sync=yes\n"
            "9 RECORD node=0 partition=0 offset=0 value=0.0\n",
            reason
        ),
        RIA_OK
    );
    checker_run(&history, &result);
    CU_ASSERT_EQUAL(result.count, 0);
    CU_ASSERT_EQUAL(result.records_read, 1);
    history_fini(&history);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(every_kind_is_written_as_it_was_read),
    HARNESS_TEST(comments_and_empty_lines_say_nothing),
    HARNESS_TEST(bad_lines_are_refused_with_the_reason),
    HARNESS_TEST(sorting_keeps_what_is_of_the_same_moment_in_order),
    HARNESS_TEST(fetch_without_watermark_is_judged_without_it),
};
HARNESS_MAIN(tests);
