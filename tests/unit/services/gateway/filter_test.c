#include "services/gateway/filter.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/harness.h"

struct example {
    struct batch_builder builder;
    struct batch_iter iter;
    struct batch_record record;
};

static void example_init(struct example *e, const char *key, const char *value)
{
    const struct batch_record_header headers[] = {
        {RIA_SLICE_LITERAL("kind"), RIA_SLICE_LITERAL("a=b")},
        {RIA_SLICE_LITERAL("kind"), RIA_SLICE_LITERAL("second")},
        {RIA_SLICE_LITERAL("none"), RIA_SLICE_NULL},
    };
    bool more = false;

    batch_builder_init(&e->builder, 65536);
    CU_ASSERT_EQUAL(
        batch_builder_add(
            &e->builder, 1, ria_slice_cstr(key), ria_slice_cstr(value), headers, RIA_COUNT(headers)
        ),
        RIA_OK
    );
    struct ria_slice batch = batch_builder_finish(&e->builder, -1, -1, -1);
    CU_ASSERT_EQUAL_FATAL(batch_iter_init(&e->iter, batch), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(batch_iter_next(&e->iter, &e->record, &more), RIA_OK);
}

static bool
matches_all(const char *const *texts, uint32_t count, const char *key, const char *value)
{
    struct ria_slice slices[FILTERS_MAX];
    struct filter_scratch scratch;
    struct filter_set *set = NULL;
    char reason[FILTER_REASON_MAX] = "";
    struct example e;

    for (uint32_t i = 0; i < count; i++) {
        slices[i] = ria_slice_cstr(texts[i]);
    }
    ria_err err = filter_set_new(slices, count, &set, reason);
    CU_ASSERT_EQUAL(err, RIA_OK);
    if (err != RIA_OK) {
        (void)printf("[%s: %s]", texts[0], reason);
        return false;
    }
    filter_scratch_init(&scratch);
    example_init(&e, key, value);
    bool same = filter_set_matches(set, &e.record, &scratch);
    batch_builder_fini(&e.builder);
    filter_scratch_fini(&scratch);
    filter_set_free(set);
    return same;
}

static bool matches(const char *text, const char *key, const char *value)
{
    return matches_all(&text, 1, key, value);
}

static bool is_refused(const char *text, const char *part)
{
    struct ria_slice slice = ria_slice_cstr(text);
    struct filter_set *set = NULL;
    char reason[FILTER_REASON_MAX] = "";

    ria_err err = filter_set_new(&slice, 1, &set, reason);
    bool same = err == RIA_ERR_INVALID && strstr(reason, part) != NULL;
    if (!same) {
        (void)printf("[%s]", reason);
        filter_set_free(set);
    }
    return same;
}

static void keys_are_compared(void)
{
    CU_ASSERT_TRUE(matches("key=ann", "ann", "1"));
    CU_ASSERT_FALSE(matches("key=ann", "anna", "1"));
    CU_ASSERT_TRUE(matches("key^=ann", "anna", "1"));
    CU_ASSERT_FALSE(matches("key^=ann", "an", "1"));
    CU_ASSERT_TRUE(matches("key!=ann", "bob", "1"));
    CU_ASSERT_FALSE(matches("key!=ann", "ann", "1"));
    CU_ASSERT_TRUE(matches("key=a=b c", "a=b c", "1"));
    CU_ASSERT_TRUE(matches("key=", "", "1"));
    CU_ASSERT_TRUE(matches("key^=", "x", "1"));
}

static void what_is_not_there_matches_nothing(void)
{
    CU_ASSERT_FALSE(matches("key=", NULL, "1"));
    CU_ASSERT_FALSE(matches("key!=x", NULL, "1"));
    CU_ASSERT_FALSE(matches("header:gone=x", "k", "1"));
    CU_ASSERT_FALSE(matches("header:gone!=x", "k", "1"));
    CU_ASSERT_FALSE(matches("header:none!=x", "k", "1"));
    CU_ASSERT_FALSE(matches("$.a!=1", "k", "{}"));
    CU_ASSERT_FALSE(matches("$.a!=1", "k", "no json"));
    CU_ASSERT_FALSE(matches("$.a!=1", "k", NULL));
}

static void any_header_of_the_name_counts(void)
{
    CU_ASSERT_TRUE(matches("header:kind=a=b", "k", "1"));
    CU_ASSERT_TRUE(matches("header:kind=second", "k", "1"));
    CU_ASSERT_FALSE(matches("header:kind=third", "k", "1"));
    CU_ASSERT_TRUE(matches("header:kind^=sec", "k", "1"));
    CU_ASSERT_TRUE(matches("header:kind!=second", "k", "1")); /* the other one */
}

static void paths_lead_into_values(void)
{
    const char value[] = "{\"a\":{\"b c\":[1,{\"d\":\"x\\ny\"}]},\"n\":-2.5,\"t\":true,\"z\":null}";

    CU_ASSERT_TRUE(matches("$.a['b c'][0]=1", "k", value));
    CU_ASSERT_TRUE(matches("$.a['b c'][1].d = \"x\\ny\"", "k", value));
    CU_ASSERT_FALSE(matches("$.a['b c'][2]", "k", value));
    CU_ASSERT_TRUE(matches("$.a", "k", value));
    CU_ASSERT_TRUE(matches("$.z", "k", value));
    CU_ASSERT_FALSE(matches("$.y", "k", value));
    CU_ASSERT_FALSE(matches("$.n.x", "k", value));
    CU_ASSERT_FALSE(matches("$.n[0]", "k", value));
    CU_ASSERT_TRUE(matches("$.t==true", "k", value));
    CU_ASSERT_FALSE(matches("$.t=false", "k", value));
    CU_ASSERT_TRUE(matches("$.t!=false", "k", value));
    CU_ASSERT_TRUE(matches("$.z=null", "k", value));
    CU_ASSERT_TRUE(matches("$[1]=2", "k", "[1,2]"));
}

static void numbers_and_strings_have_an_order(void)
{
    CU_ASSERT_TRUE(matches("$.n<3", "k", "{\"n\":2}"));
    CU_ASSERT_FALSE(matches("$.n<2", "k", "{\"n\":2}"));
    CU_ASSERT_TRUE(matches("$.n<=2", "k", "{\"n\":2}"));
    CU_ASSERT_TRUE(matches("$.n >= 1.5", "k", "{\"n\":2}"));
    CU_ASSERT_TRUE(matches("$.n=2", "k", "{\"n\":2.0}"));
    CU_ASSERT_TRUE(matches("$.n>1e2", "k", "{\"n\":101}"));
    /* as doubles these two are the same */
    CU_ASSERT_TRUE(matches("$.n>9007199254740992", "k", "{\"n\":9007199254740993}"));
    CU_ASSERT_TRUE(matches("$.s>\"a\"", "k", "{\"s\":\"aa\"}"));
    CU_ASSERT_FALSE(matches("$.s<\"a\"", "k", "{\"s\":\"aa\"}"));
    CU_ASSERT_TRUE(matches("$.s^=\"a\"", "k", "{\"s\":\"aa\"}"));
    CU_ASSERT_FALSE(matches("$.s>1", "k", "{\"s\":\"aa\"}"));
    CU_ASSERT_TRUE(matches("$.s!=1", "k", "{\"s\":\"aa\"}"));
}

static void all_filters_must_match(void)
{
    const char *const texts[] = {"key=a", "header:kind=second", "$.n>1", "$.n<3"};

    CU_ASSERT_TRUE(matches_all(texts, 4, "a", "{\"n\":2}"));
    CU_ASSERT_FALSE(matches_all(texts, 4, "a", "{\"n\":3}"));
    CU_ASSERT_FALSE(matches_all(texts, 4, "b", "{\"n\":2}"));
    CU_ASSERT_TRUE(matches_all(texts, 0, NULL, NULL));
}

static void a_wrong_filter_is_told_where(void)
{
    char path[200] = "$";
    char text[FILTER_SIZE_MAX + 2];

    CU_ASSERT_TRUE(is_refused("", "at character 1: a filter begins with"));
    CU_ASSERT_TRUE(is_refused("keyx", "at character 4: =, != or ^="));
    CU_ASSERT_TRUE(is_refused("key<3", "="));
    CU_ASSERT_TRUE(is_refused("header:=x", "at character 8: the name of a header"));
    CU_ASSERT_TRUE(is_refused("header:a", "at character 9"));
    CU_ASSERT_TRUE(is_refused("$", "at character 2: a path goes on"));
    CU_ASSERT_TRUE(is_refused("$=1", "a path goes on"));
    CU_ASSERT_TRUE(is_refused("$.", "at character 3: the name of a member"));
    CU_ASSERT_TRUE(is_refused("$.a=", "at character 5: a JSON string"));
    CU_ASSERT_TRUE(is_refused("$.a=x", "a JSON string in quotes"));
    CU_ASSERT_TRUE(is_refused("$.a={}", "a JSON string in quotes"));
    CU_ASSERT_TRUE(is_refused("$.a=1 2", "a JSON string in quotes"));
    CU_ASSERT_TRUE(is_refused("$.a<true", "take a number or a string"));
    CU_ASSERT_TRUE(is_refused("$.a^=1", "takes a string"));
    CU_ASSERT_TRUE(is_refused("$[x]", "a number and ]"));
    CU_ASSERT_TRUE(is_refused("$[99999999999]", "a number and ]"));
    CU_ASSERT_TRUE(is_refused("$['a", "has no end"));
    CU_ASSERT_TRUE(is_refused("$.a ~ 1", "is wanted here"));
    for (int i = 0; i < FILTER_STEPS_MAX + 1; i++) {
        strcat(path, ".a");
    }
    CU_ASSERT_TRUE(is_refused(path, "at most 16 steps"));
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CU_ASSERT_TRUE(is_refused(text, "longer than 512"));
}

static const struct harness_test tests[] = {
    HARNESS_TEST(keys_are_compared),
    HARNESS_TEST(what_is_not_there_matches_nothing),
    HARNESS_TEST(any_header_of_the_name_counts),
    HARNESS_TEST(paths_lead_into_values),
    HARNESS_TEST(numbers_and_strings_have_an_order),
    HARNESS_TEST(all_filters_must_match),
    HARNESS_TEST(a_wrong_filter_is_told_where),
};
HARNESS_MAIN(tests);
