#include "services/cli/human.h"

#include <string.h>

#include "tests/lib/harness.h"

static void sizes_have_the_unit_that_fits(void)
{
    static const struct {
        long long bytes;
        const char *text;
    } rows[] = {
        {-1, "?"},
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {1048524, "1023.9 KiB"},
        {1048575, "1.0 MiB"},
        {5LL << 30, "5.0 GiB"},
        {1LL << 40, "1.0 TiB"},
        {1LL << 60, "1024.0 PiB"},
    };
    char text[HUMAN_SIZE];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CU_ASSERT_STRING_EQUAL(human_bytes(rows[i].bytes, text), rows[i].text);
    }
}

static void times_have_the_unit_that_fits(void)
{
    static const struct {
        double seconds;
        const char *text;
    } rows[] = {
        {0, "less than a second"},
        {0.99, "less than a second"},
        {1, "about 1 s"},
        {119, "about 119 s"},
        {120, "about 2 min"},
        {7199, "about 120 min"},
        {7200, "about 2.0 h"},
        {90000, "about 25.0 h"},
    };
    char text[HUMAN_SIZE];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CU_ASSERT_STRING_EQUAL(human_seconds(rows[i].seconds, text), rows[i].text);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(sizes_have_the_unit_that_fits),
    HARNESS_TEST(times_have_the_unit_that_fits),
};
HARNESS_MAIN(tests);
