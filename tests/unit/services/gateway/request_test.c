#include "services/gateway/request.h"

#include <string.h>

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/fake_request.h"

static bool decodes_to(const char *text, bool plus, const char *wanted)
{
    struct fake_request fake;
    struct ria_slice out = RIA_SLICE_NULL;

    fake_request_init(&fake, "GET", "/", NULL);
    ria_err err = request_decode(&fake.request, ria_slice_cstr(text), plus, &out);
    bool same = wanted == NULL ? err == RIA_ERR_MALFORMED
                               : err == RIA_OK && ria_slice_equal(out, ria_slice_cstr(wanted)) &&
                                     out.data[out.size] == '\0';
    fake_request_fini(&fake);
    return same;
}

static void percent_escapes_are_decoded_once(void)
{
    CU_ASSERT_TRUE(decodes_to("a%2Fb", false, "a/b"));
    CU_ASSERT_TRUE(decodes_to("%252F", false, "%2F"));
    CU_ASSERT_TRUE(decodes_to("%c3%A9", false, "\xc3\xa9"));
    CU_ASSERT_TRUE(decodes_to("", false, ""));
    CU_ASSERT_TRUE(decodes_to("a+b", false, "a+b"));
    CU_ASSERT_TRUE(decodes_to("a+b", true, "a b"));
}

static void broken_escapes_are_refused(void)
{
    CU_ASSERT_TRUE(decodes_to("%", false, NULL));
    CU_ASSERT_TRUE(decodes_to("%4", false, NULL));
    CU_ASSERT_TRUE(decodes_to("a%g0", false, NULL));
    CU_ASSERT_TRUE(decodes_to("a%0g", false, NULL));
    CU_ASSERT_TRUE(decodes_to("a%00b", false, NULL));
}

static void query_parameters_are_found(void)
{
    struct fake_request fake;
    struct ria_slice value;

    fake_request_init(&fake, "GET", "/x?a=1&&b=x%20y&c&a=2&d=", NULL);
    CU_ASSERT_EQUAL(request_query(&fake.request, "a", &value), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(value, RIA_SLICE_LITERAL("1")));
    CU_ASSERT_EQUAL(request_query(&fake.request, "b", &value), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_equal(value, RIA_SLICE_LITERAL("x y")));
    CU_ASSERT_EQUAL(request_query(&fake.request, "c", &value), RIA_OK);
    CU_ASSERT_TRUE(!ria_slice_is_null(value) && value.size == 0);
    CU_ASSERT_EQUAL(request_query(&fake.request, "d", &value), RIA_OK);
    CU_ASSERT_TRUE(!ria_slice_is_null(value) && value.size == 0);
    CU_ASSERT_EQUAL(request_query(&fake.request, "e", &value), RIA_OK);
    CU_ASSERT_TRUE(ria_slice_is_null(value));
    fake_request_fini(&fake);
}

static void unknown_query_parameters_are_named(void)
{
    static const char *const known[] = {"a", "b", NULL};
    struct fake_request fake;

    fake_request_init(&fake, "GET", "/x?b=1&ab=2", NULL);
    const char *unknown = request_query_unknown(&fake.request, known);
    CU_ASSERT_PTR_NOT_NULL_FATAL(unknown);
    CU_ASSERT_STRING_EQUAL(unknown, "ab");
    fake_request_fini(&fake);
    fake_request_init(&fake, "GET", "/x?b=1&a=2", NULL);
    CU_ASSERT_PTR_NULL(request_query_unknown(&fake.request, known));
    fake_request_fini(&fake);
}

static bool parses(const char *text, int64_t wanted)
{
    int64_t value = 0;

    return request_parse_i64(ria_slice_cstr(text), &value) && value == wanted;
}

static void integers_are_whole_and_in_range(void)
{
    int64_t value = 0;

    CU_ASSERT_TRUE(parses("0", 0));
    CU_ASSERT_TRUE(parses("-17", -17));
    CU_ASSERT_TRUE(parses("9223372036854775807", INT64_MAX));
    CU_ASSERT_FALSE(request_parse_i64(RIA_SLICE_LITERAL("9223372036854775808"), &value));
    CU_ASSERT_FALSE(request_parse_i64(RIA_SLICE_LITERAL(""), &value));
    CU_ASSERT_FALSE(request_parse_i64(RIA_SLICE_LITERAL("-"), &value));
    CU_ASSERT_FALSE(request_parse_i64(RIA_SLICE_LITERAL("+1"), &value));
    CU_ASSERT_FALSE(request_parse_i64(RIA_SLICE_LITERAL("1 "), &value));
    CU_ASSERT_FALSE(request_parse_i64(RIA_SLICE_LITERAL("0x1"), &value));
}

static const struct harness_test tests[] = {
    HARNESS_TEST(percent_escapes_are_decoded_once),
    HARNESS_TEST(broken_escapes_are_refused),
    HARNESS_TEST(query_parameters_are_found),
    HARNESS_TEST(unknown_query_parameters_are_named),
    HARNESS_TEST(integers_are_whole_and_in_range),
};

HARNESS_MAIN(tests);
