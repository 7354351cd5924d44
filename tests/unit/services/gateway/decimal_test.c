#include "services/gateway/decimal.h"

#include <string.h>

#include "tests/lib/harness.h"

static int compare(const char *left, const char *right)
{
    return decimal_compare(ria_slice_cstr(left), ria_slice_cstr(right));
}

static void numbers_ascend_as_they_should(void)
{
    static const char *const ascending[] = {
        "-1e999999999999999999999",
        "-123456789012345678901234567890",
        "-1.5",
        "-1",
        "-1e-400",
        "0",
        "1e-99999999999999999999",
        "0.1",
        "0.10000000000000000555",
        "1",
        "1.0000000000000001",
        "9.99",
        "10",
        "9007199254740992",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "9223372036854775809",
        "1e400",
        "1.1e400",
        "1e999999999999999999999"};

    for (size_t i = 0; i < RIA_COUNT(ascending); i++) {
        for (size_t k = 0; k < RIA_COUNT(ascending); k++) {
            CU_ASSERT_EQUAL(compare(ascending[i], ascending[k]), (i > k) - (i < k));
        }
    }
}

static void one_number_in_many_forms_is_the_same(void)
{
    static const char *const same[][2] = {
        {"100", "1e2"},
        {"1E+2", "100.000"},
        {"-0", "0"},
        {"0.0e5", "-0.00"},
        {"0.001", "1e-3"},
        {"120e-1", "12"},
        {"0.00012e5", "12.0"},
        {"-12.50e+3", "-12500"}};

    for (size_t i = 0; i < RIA_COUNT(same); i++) {
        CU_ASSERT_EQUAL(compare(same[i][0], same[i][1]), 0);
        CU_ASSERT_EQUAL(compare(same[i][1], same[i][0]), 0);
    }
}

/* Only the first 63 characters of a record's number were looked at. */
static void a_number_counts_up_to_its_last_digit(void)
{
    char left[300];
    char right[300];

    memset(left, '7', sizeof(left));
    left[sizeof(left) - 1] = '\0';
    memcpy(right, left, sizeof(right));
    CU_ASSERT_EQUAL(compare(left, right), 0);
    right[sizeof(right) - 2] = '8';
    CU_ASSERT_EQUAL(compare(left, right), -1);
    right[sizeof(right) - 2] = '\0';
    CU_ASSERT_EQUAL(compare(left, right), 1);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(numbers_ascend_as_they_should),
    HARNESS_TEST(one_number_in_many_forms_is_the_same),
    HARNESS_TEST(a_number_counts_up_to_its_last_digit),
};
HARNESS_MAIN(tests);
