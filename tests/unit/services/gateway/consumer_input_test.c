#include "services/gateway/consumer_input.h"

#include "tests/lib/harness.h"

static int64_t parse(const char *text)
{
    int64_t ms = -1;

    return consumer_time_parse(ria_slice_cstr(text), &ms) ? ms : -1;
}

static void times_are_read_as_iso_8601(void)
{
    CU_ASSERT_EQUAL(parse("1970-01-01T00:00:00Z"), 0);
    CU_ASSERT_EQUAL(parse("2023-11-14T22:13:20Z"), 1700000000000);
    CU_ASSERT_EQUAL(parse("2023-11-14T22:13:20.5Z"), 1700000000500);
    CU_ASSERT_EQUAL(parse("2023-11-14T22:13:20.123456789z"), 1700000000123);
    CU_ASSERT_EQUAL(parse("2023-11-14 23:43:20+01:30"), 1700000000000);
    CU_ASSERT_EQUAL(parse("2023-11-14T20:13:20-0200"), 1700000000000);
    CU_ASSERT_EQUAL(parse("2024-02-29T00:00:00Z"), 1709164800000);
    CU_ASSERT_EQUAL(parse("9999-12-31T23:59:59Z"), 253402300799000);
}

static void what_is_no_time_is_refused(void)
{
    static const char *const bad[] = {
        "",
        "now",
        "2023-11-14",
        "2023-11-14T22:13:20",
        "2023-13-14T22:13:20Z",
        "2023-11-00T22:13:20Z",
        "2023-11-14T24:13:20Z",
        "2023-11-14T22:13:20.Z",
        "2023-11-14T22:13:20.1234567890Z",
        "2023-11-14T22:13:20Zx",
        "2023-11-14T22:13:20+1",
        "1960-01-01T00:00:00Z",
        "2023-11-14T22:13:20+24:00",
    };

    for (size_t i = 0; i < RIA_COUNT(bad); i++) {
        CU_ASSERT_EQUAL(parse(bad[i]), -1);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(times_are_read_as_iso_8601),
    HARNESS_TEST(what_is_no_time_is_refused),
};

HARNESS_MAIN(tests);
