/* Dead letters there and back: names, delivery times, which match, what is put back. */
#include "services/gateway/redrive_filter.h"

#include <string.h>

#include "services/gateway/deliver_at.h"
#include "services/gateway/queue_names.h"
#include "tests/lib/harness.h"

struct letters {
    struct ria_arena arena;
    struct batch_builder builder;
    struct batch_iter iter;
    struct batch_record record;
};

#define TEXT(s)                                   \
    {                                             \
        (const uint8_t *)("" s ""), sizeof(s) - 1 \
    }
#define HEADER(n, v)                      \
    {                                     \
        .name = TEXT(n), .value = TEXT(v) \
    }

static void
open_letter(struct letters *letters, const struct batch_record_header *headers, uint32_t count)
{
    bool more = false;

    ria_arena_init(&letters->arena, 1 << 20);
    batch_builder_init(&letters->builder, 1 << 20);
    CU_ASSERT_EQUAL_FATAL(
        batch_builder_add(
            &letters->builder, 1700, RIA_SLICE_LITERAL("k"), RIA_SLICE_LITERAL("v"), headers, count
        ),
        RIA_OK
    );
    struct ria_slice batch = batch_builder_finish(&letters->builder, -1, -1, -1);
    CU_ASSERT_EQUAL_FATAL(batch_iter_init(&letters->iter, batch), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(batch_iter_next(&letters->iter, &letters->record, &more), RIA_OK);
}

static void close_letter(struct letters *letters)
{
    batch_builder_fini(&letters->builder);
    ria_arena_fini(&letters->arena);
}

static const struct batch_record_header dead[] = {
    HEADER("mine", "kept"),
    HEADER("riacho-dead-topic", "t"),
    HEADER("riacho-dead-partition", "2"),
    HEADER("riacho-dead-group", "g"),
    HEADER("riacho-dead-reason", "timeout: upstream"),
    HEADER("riacho-dead-time", "5000"),
    HEADER("other", "kept"),
};

static struct redrive_filter filter(void)
{
    return (struct redrive_filter
    ){.topic = RIA_SLICE_LITERAL("t"), .group = RIA_SLICE_LITERAL("g"), .to_ms = INT64_MAX};
}

static void each_part_of_a_filter_must_match(void)
{
    struct letters letters;
    struct redrive_filter f = filter();

    open_letter(&letters, dead, RIA_COUNT(dead));
    CU_ASSERT_TRUE(redrive_matches(&f, &letters.record));
    f.reason = RIA_SLICE_LITERAL("timeout");
    f.key = RIA_SLICE_LITERAL("k");
    f.from_ms = 5000;
    f.to_ms = 5001;
    CU_ASSERT_TRUE(redrive_matches(&f, &letters.record));
    f.reason = RIA_SLICE_LITERAL("upstream");
    CU_ASSERT_FALSE(redrive_matches(&f, &letters.record));
    f = filter();
    f.key = RIA_SLICE_LITERAL("kk");
    CU_ASSERT_FALSE(redrive_matches(&f, &letters.record));
    f = filter();
    f.to_ms = 5000;
    CU_ASSERT_FALSE(redrive_matches(&f, &letters.record));
    f = filter();
    f.from_ms = 5001;
    CU_ASSERT_FALSE(redrive_matches(&f, &letters.record));
    f = filter();
    f.topic = RIA_SLICE_LITERAL("u");
    CU_ASSERT_FALSE(redrive_matches(&f, &letters.record));
    f = filter();
    f.group = RIA_SLICE_LITERAL("gg");
    CU_ASSERT_FALSE(redrive_matches(&f, &letters.record));
    close_letter(&letters);
}

static void a_record_is_put_back_as_it_was(void)
{
    struct letters letters;
    struct produce_record record;

    open_letter(&letters, dead, RIA_COUNT(dead));
    CU_ASSERT_EQUAL(redrive_record(&letters.record, 3, &letters.arena, &record), RIA_OK);
    CU_ASSERT_EQUAL(record.partition, 2);
    CU_ASSERT_EQUAL(record.timestamp_ms, 1700);
    CU_ASSERT_TRUE(ria_slice_equal(record.key, RIA_SLICE_LITERAL("k")));
    CU_ASSERT_TRUE(ria_slice_equal(record.value, RIA_SLICE_LITERAL("v")));
    CU_ASSERT_EQUAL_FATAL(record.header_count, 2);
    CU_ASSERT_TRUE(ria_slice_equal(record.headers[0].name, RIA_SLICE_LITERAL("mine")));
    CU_ASSERT_TRUE(ria_slice_equal(record.headers[1].name, RIA_SLICE_LITERAL("other")));
    /* Its partition is not there any more: by the key. */
    CU_ASSERT_EQUAL(redrive_record(&letters.record, 2, &letters.arena, &record), RIA_OK);
    CU_ASSERT_EQUAL(record.partition, -1);
    close_letter(&letters);
}

static bool dead_topic_is(const char *topic, struct ria_slice group, const char *expected)
{
    struct ria_arena arena;

    ria_arena_init(&arena, 1 << 16);
    struct ria_slice name = queue_dead_topic(&arena, topic, group);
    bool same = ria_slice_equal(name, ria_slice_cstr(expected));
    ria_arena_fini(&arena);
    return same;
}

static void a_dead_letter_topic_has_a_name_that_topics_may_have(void)
{
    char longest[201];
    struct ria_arena arena;

    CU_ASSERT_TRUE(dead_topic_is("t", RIA_SLICE_LITERAL("g"), "t.g.dead"));
    memset(longest, 'x', 200);
    longest[200] = '\0';
    ria_arena_init(&arena, 1 << 16);
    struct ria_slice a = queue_dead_topic(&arena, longest, RIA_SLICE_LITERAL("g"));
    struct ria_slice b = queue_dead_topic(&arena, longest, RIA_SLICE_LITERAL("h"));
    CU_ASSERT_EQUAL(a.size, 200);
    CU_ASSERT_FALSE(ria_slice_equal(a, b));
    struct ria_slice c = queue_dead_topic(&arena, "t", RIA_SLICE_LITERAL("a/b"));
    struct ria_slice d = queue_dead_topic(&arena, "t", RIA_SLICE_LITERAL("a b"));
    CU_ASSERT_TRUE(ria_slice_equal(ria_slice_sub(c, 0, 6), RIA_SLICE_LITERAL("t.a_b-")));
    CU_ASSERT_FALSE(ria_slice_equal(c, d));
    CU_ASSERT_TRUE(ria_slice_equal(
        queue_redrive_group(&arena, RIA_SLICE_LITERAL("g")), RIA_SLICE_LITERAL("g.redrive")
    ));
    char group[255];
    memset(group, 'y', sizeof(group));
    CU_ASSERT_EQUAL(queue_redrive_group(&arena, ria_slice_of(group, 255)).size, 255);
    ria_arena_fini(&arena);
}

static void delivery_times_are_ms_or_rfc_3339(void)
{
    int64_t ms = 0;

    CU_ASSERT_TRUE(deliver_at_parse(RIA_SLICE_LITERAL("1700000000000"), &ms));
    CU_ASSERT_EQUAL(ms, INT64_C(1700000000000));
    CU_ASSERT_TRUE(deliver_at_parse(RIA_SLICE_LITERAL("2023-11-14T22:13:20Z"), &ms));
    CU_ASSERT_EQUAL(ms, INT64_C(1700000000000));
    CU_ASSERT_FALSE(deliver_at_parse(RIA_SLICE_LITERAL("tomorrow"), &ms));
    CU_ASSERT_FALSE(deliver_at_parse(RIA_SLICE_LITERAL("-5"), &ms));
    CU_ASSERT_FALSE(deliver_at_parse(RIA_SLICE_LITERAL(""), &ms));
    CU_ASSERT_FALSE(deliver_at_parse(RIA_SLICE_LITERAL("9999999999999999999"), &ms));
}

static void a_record_s_header_says_when(void)
{
    static const struct batch_record_header times[] = {
        HEADER("riacho-deliver-at", "soon"),
        HEADER("riacho-deliver-at", "1234"),
    };
    struct letters letters;

    open_letter(&letters, times, 2);
    CU_ASSERT_EQUAL(deliver_at_of(&letters.record), 1234);
    close_letter(&letters);
    open_letter(&letters, times, 1);
    CU_ASSERT_EQUAL(deliver_at_of(&letters.record), 0);
    close_letter(&letters);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(each_part_of_a_filter_must_match),
    HARNESS_TEST(a_record_is_put_back_as_it_was),
    HARNESS_TEST(a_dead_letter_topic_has_a_name_that_topics_may_have),
    HARNESS_TEST(delivery_times_are_ms_or_rfc_3339),
    HARNESS_TEST(a_record_s_header_says_when),
};

HARNESS_MAIN(tests);
