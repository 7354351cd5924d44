#include "services/gateway/topic_pattern.h"

#include <string.h>

#include "tests/lib/harness.h"

static bool matches(const char *text, const char *name)
{
    const char *reason = NULL;
    struct topic_pattern *pattern = topic_pattern_new(ria_slice_cstr(text), &reason);

    CU_ASSERT_PTR_NOT_NULL(pattern);
    bool is_match = pattern != NULL && topic_pattern_matches(pattern, name);
    topic_pattern_free(pattern);
    return is_match;
}

static bool is_refused(const char *text)
{
    const char *reason = NULL;
    struct topic_pattern *pattern = topic_pattern_new(ria_slice_cstr(text), &reason);

    topic_pattern_free(pattern);
    return pattern == NULL && reason != NULL;
}

static void a_pattern_is_for_the_whole_name(void)
{
    CU_ASSERT_TRUE(matches("orders", "orders"));
    CU_ASSERT_FALSE(matches("orders", "orders-2"));
    CU_ASSERT_FALSE(matches("orders", "my-orders"));
    CU_ASSERT_TRUE(matches("a|b", "b"));
    CU_ASSERT_FALSE(matches("a|b", "ab"));
    CU_ASSERT_TRUE(matches("orders-.*", "orders-eu"));
    CU_ASSERT_TRUE(matches("(eu|us)-[a-c]+\\d?", "us-abc7"));
    CU_ASSERT_FALSE(matches("(eu|us)-[^a-c]+", "us-a"));
    CU_ASSERT_TRUE(matches("a\\.b\\-\\w+", "a.b-c_9"));
    CU_ASSERT_FALSE(matches("a\\.b", "axb"));
    CU_ASSERT_TRUE(matches("[]x]", "x"));
}

/* What regcomp() would take, and pay for with memory or time without bound. */
static void what_costs_without_bound_is_refused(void)
{
    char nested[TOPIC_PATTERN_SIZE_MAX + 1];
    size_t at = 0;

    CU_ASSERT_TRUE(is_refused("a{9}"));
    CU_ASSERT_TRUE(is_refused("a++"));
    CU_ASSERT_TRUE(is_refused("a*?"));
    CU_ASSERT_TRUE(is_refused("(a)\\1"));
    for (int i = 0; i < 30; i++) {
        nested[at++] = '(';
    }
    nested[at++] = 'a';
    for (int i = 0; i < 30; i++) {
        nested[at++] = ')';
        nested[at++] = '+';
    }
    nested[at] = '\0';
    CU_ASSERT_TRUE(is_refused(nested));
    memset(nested, 'a', TOPIC_PATTERN_SIZE_MAX);
    nested[TOPIC_PATTERN_SIZE_MAX] = '\0';
    CU_ASSERT_FALSE(matches(nested, "a"));
    CU_ASSERT_TRUE(
        matches("((((a+)+)+)+)b|.*.*.*.*.*.*.*.*.*", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
    );
}

static void what_is_no_pattern_is_refused(void)
{
    static const char *const bad[] = {
        "",
        "(",
        ")",
        "a)(b",
        "[a",
        "\\",
        "\\q",
        "*a",
        "|*",
        "(?:a)",
        "[\\w]",
        "[[:alpha:]]",
        "\xc3\xa4"};
    char long_text[TOPIC_PATTERN_SIZE_MAX + 2];

    for (size_t i = 0; i < RIA_COUNT(bad); i++) {
        CU_ASSERT_TRUE(is_refused(bad[i]));
    }
    memset(long_text, 'a', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    CU_ASSERT_TRUE(is_refused(long_text));
    topic_pattern_free(NULL);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_pattern_is_for_the_whole_name),
    HARNESS_TEST(what_costs_without_bound_is_refused),
    HARNESS_TEST(what_is_no_pattern_is_refused),
};

HARNESS_MAIN(tests);
