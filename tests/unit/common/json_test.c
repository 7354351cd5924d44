#include "common/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

#include "tests/lib/harness.h"

struct parsed {
    struct ria_json json;
    struct ria_arena arena;
};

static void parsed_init(struct parsed *parsed, const char *text)
{
    ria_json_init(&parsed->json);
    ria_arena_init(&parsed->arena, 1 << 20);
    CU_ASSERT_EQUAL_FATAL(ria_json_parse(&parsed->json, ria_slice_cstr(text), 1000), RIA_OK);
}

static void parsed_fini(struct parsed *parsed)
{
    ria_json_fini(&parsed->json);
    ria_arena_fini(&parsed->arena);
}

static bool raw_is(const struct ria_json *json, int64_t token, const char *text)
{
    return token >= 0 && ria_slice_equal(ria_json_raw(json, (uint32_t)token), ria_slice_cstr(text));
}

static bool string_is(struct parsed *parsed, int64_t token, struct ria_slice expected)
{
    struct ria_slice text;

    return token >= 0 &&
           ria_json_string(&parsed->json, (uint32_t)token, &parsed->arena, &text) == RIA_OK &&
           ria_slice_equal(text, expected);
}

static void tokens_know_their_subtree(void)
{
    struct parsed p;
    static const struct ria_json_token expected[] = {
        {RIA_JSON_OBJECT, 0, 41, 3, 12}, /* {"a":[1,"b",{}],"c":{"d":null},"e":false} */
        {RIA_JSON_STRING, 2, 3, 0, 2},
        {RIA_JSON_ARRAY, 5, 15, 3, 6},
        {RIA_JSON_NUMBER, 6, 7, 0, 4},
        {RIA_JSON_STRING, 9, 10, 0, 5},
        {RIA_JSON_OBJECT, 12, 14, 0, 6},
        {RIA_JSON_STRING, 17, 18, 0, 7},
        {RIA_JSON_OBJECT, 20, 30, 1, 10},
        {RIA_JSON_STRING, 22, 23, 0, 9},
        {RIA_JSON_NULL, 25, 29, 0, 10},
        {RIA_JSON_STRING, 32, 33, 0, 11},
        {RIA_JSON_FALSE, 35, 40, 0, 12},
    };

    parsed_init(&p, "{\"a\":[1,\"b\",{}],\"c\":{\"d\":null},\"e\":false}");
    CU_ASSERT_EQUAL_FATAL(p.json.count, RIA_COUNT(expected));
    for (size_t i = 0; i < RIA_COUNT(expected); i++) {
        const struct ria_json_token *token = &p.json.tokens[i];
        CU_ASSERT_EQUAL(token->type, expected[i].type);
        CU_ASSERT_EQUAL(token->start, expected[i].start);
        CU_ASSERT_EQUAL(token->end, expected[i].end);
        CU_ASSERT_EQUAL(token->children, expected[i].children);
        CU_ASSERT_EQUAL(token->next, expected[i].next);
    }
    parsed_fini(&p);
}

static void raw_is_what_stands_in_the_text(void)
{
    struct parsed p;

    parsed_init(&p, " { \"a\" : [ 1 , 2 ] , \"b\" : \"x\\ny\" , \"c\" : -1.5e3 } ");
    CU_ASSERT_TRUE(raw_is(&p.json, ria_json_member(&p.json, 0, "a"), "[ 1 , 2 ]"));
    CU_ASSERT_TRUE(raw_is(&p.json, ria_json_member(&p.json, 0, "b"), "\"x\\ny\""));
    CU_ASSERT_TRUE(raw_is(&p.json, ria_json_member(&p.json, 0, "c"), "-1.5e3"));
    parsed_fini(&p);
}

static void root_may_be_any_value(void)
{
    static const struct {
        const char *text;
        ria_json_type type;
        const char *raw;
    } roots[] = {
        {" 12 ", RIA_JSON_NUMBER, "12"},
        {"-1", RIA_JSON_NUMBER, "-1"},
        {"\ttrue", RIA_JSON_TRUE, "true"},
        {"false\r\n", RIA_JSON_FALSE, "false"},
        {"null", RIA_JSON_NULL, "null"},
        {" \"a,b\" ", RIA_JSON_STRING, "\"a,b\""},
        {" [] ", RIA_JSON_ARRAY, "[]"},
        {" {} ", RIA_JSON_OBJECT, "{}"},
    };

    for (size_t i = 0; i < RIA_COUNT(roots); i++) {
        struct parsed p;
        parsed_init(&p, roots[i].text);
        CU_ASSERT_EQUAL(p.json.count, 1);
        CU_ASSERT_EQUAL(p.json.tokens[0].type, roots[i].type);
        CU_ASSERT_EQUAL(p.json.tokens[0].next, 1);
        CU_ASSERT_TRUE(raw_is(&p.json, 0, roots[i].raw));
        CU_ASSERT_EQUAL(ria_json_member(&p.json, 0, "a"), RIA_JSON_NONE);
        parsed_fini(&p);
    }
}

static void member_finds_the_last_of_its_name(void)
{
    struct parsed p;

    parsed_init(&p, "{\"a\":{\"b\":0},\"b\":1,\"b\":2,\"ab\":3,\"\":4}");
    CU_ASSERT_TRUE(raw_is(&p.json, ria_json_member(&p.json, 0, "b"), "2"));
    CU_ASSERT_TRUE(raw_is(&p.json, ria_json_member(&p.json, 0, ""), "4"));
    CU_ASSERT_EQUAL(ria_json_member(&p.json, 0, "c"), RIA_JSON_NONE);
    CU_ASSERT_EQUAL(ria_json_member(&p.json, 0, "abc"), RIA_JSON_NONE);
    CU_ASSERT_TRUE(raw_is(
        &p.json, ria_json_member(&p.json, (uint32_t)ria_json_member(&p.json, 0, "a"), "b"), "0"
    ));
    parsed_fini(&p);
}

static void member_names_are_unescaped(void)
{
    struct parsed p;

    parsed_init(&p, "{\"\\u0061b\\n\":1,\"\\uD83D\\uDE00\":2,\"a\\u0000b\":3,\"x\\u0079\":4}");
    CU_ASSERT_TRUE(raw_is(&p.json, ria_json_member(&p.json, 0, "ab\n"), "1"));
    CU_ASSERT_TRUE(raw_is(&p.json, ria_json_member(&p.json, 0, "\xf0\x9f\x98\x80"), "2"));
    CU_ASSERT_EQUAL(ria_json_member(&p.json, 0, "a"), RIA_JSON_NONE);
    CU_ASSERT_EQUAL(ria_json_member(&p.json, 0, "x"), RIA_JSON_NONE);
    CU_ASSERT_EQUAL(ria_json_member(&p.json, 0, "xyz"), RIA_JSON_NONE);
    CU_ASSERT_EQUAL(ria_json_member(&p.json, 0, "\xf0\x9f\x98\x81"), RIA_JSON_NONE);
    parsed_fini(&p);
}

static void strings_are_unescaped(void)
{
    struct parsed p;
    struct ria_slice text;

    parsed_init(
        &p,
        "[\"plain\",\"\",\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"a\\u0000b\",\"\\u00e4\\u20AC\","
        "\"x\\uD83D\\uDE00y\",\"\xc3\xa4\\n\",1]"
    );
    CU_ASSERT_TRUE(string_is(&p, 1, RIA_SLICE_LITERAL("plain")));
    CU_ASSERT_TRUE(string_is(&p, 2, RIA_SLICE_LITERAL("")));
    CU_ASSERT_EQUAL(ria_arena_used(&p.arena), 0); /* both point into the text */
    CU_ASSERT_TRUE(string_is(&p, 3, RIA_SLICE_LITERAL("\"\\/\b\f\n\r\t")));
    CU_ASSERT_TRUE(string_is(&p, 4, RIA_SLICE_LITERAL("a\0b")));
    CU_ASSERT_TRUE(string_is(&p, 5, RIA_SLICE_LITERAL("\xc3\xa4\xe2\x82\xac")));
    CU_ASSERT_TRUE(string_is(&p, 6, RIA_SLICE_LITERAL("x\xf0\x9f\x98\x80y")));
    CU_ASSERT_TRUE(string_is(&p, 7, RIA_SLICE_LITERAL("\xc3\xa4\n")));
    CU_ASSERT_EQUAL(ria_json_string(&p.json, 8, &p.arena, &text), RIA_ERR_INVALID);
    CU_ASSERT_EQUAL(ria_json_string(&p.json, 0, &p.arena, &text), RIA_ERR_INVALID);
    parsed_fini(&p);
}

static void string_past_the_arenas_limit_fails(void)
{
    struct parsed p;
    struct ria_arena small;
    struct ria_slice text;

    parsed_init(&p, "\"a string with an escape\\n\"");
    ria_arena_init(&small, 8);
    CU_ASSERT_EQUAL(ria_json_string(&p.json, 0, &small, &text), RIA_ERR_LIMIT);
    ria_arena_fini(&small);
    parsed_fini(&p);
}

static void integers_have_a_range(void)
{
    struct parsed p;
    static const int64_t expected[] = {0, 0, -1, INT64_MAX, INT64_MIN, 1234567890123};
    int64_t value = 77;

    parsed_init(
        &p,
        "[0,-0,-1,9223372036854775807,-9223372036854775808,1234567890123,"
        "9223372036854775808,-9223372036854775809,99999999999999999999,1.0,1e3,\"1\",true]"
    );
    for (uint32_t i = 0; i < 13; i++) {
        ria_err err = ria_json_i64(&p.json, i + 1, &value);
        if (i < RIA_COUNT(expected)) {
            CU_ASSERT_EQUAL(err, RIA_OK);
            CU_ASSERT_EQUAL(value, expected[i]);
            value = 77;
        } else {
            CU_ASSERT_EQUAL(err, RIA_ERR_INVALID);
            CU_ASSERT_EQUAL(value, 77);
        }
    }
    parsed_fini(&p);
}

static void error_says_where_and_why(void)
{
    struct ria_json json;

    ria_json_init(&json);
    CU_ASSERT_EQUAL(ria_json_parse(&json, RIA_SLICE_LITERAL("[1,]"), 9), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(json.error_at, 3);
    CU_ASSERT_STRING_EQUAL(json.error_text, "expected a value");
    CU_ASSERT_EQUAL(json.count, 0);
    CU_ASSERT_EQUAL(ria_json_parse(&json, RIA_SLICE_LITERAL("[1,2]"), 2), RIA_ERR_LIMIT);
    CU_ASSERT_STRING_EQUAL(json.error_text, "too many values");
    CU_ASSERT_EQUAL(ria_json_parse(&json, RIA_SLICE_LITERAL("[1,2]"), 3), RIA_OK);
    CU_ASSERT_STRING_EQUAL(json.error_text, "");
    ria_json_fini(&json);
}

static void parses_reuse_their_memory(void)
{
    struct ria_json json;
    char text[512] = "[";

    ria_json_init(&json);
    for (int i = 0; i < 200; i++) {
        (void)snprintf(text + 1 + 2 * (size_t)i, 3, "1,");
    }
    memcpy(text + 400, "]", 2);
    CU_ASSERT_EQUAL(ria_json_parse(&json, ria_slice_cstr(text), 1000), RIA_OK);
    CU_ASSERT_EQUAL(json.count, 201);
    CU_ASSERT_EQUAL(json.tokens[0].children, 200);
    const struct ria_json_token *tokens = json.tokens;
    CU_ASSERT_EQUAL(ria_json_parse(&json, RIA_SLICE_LITERAL("{\"a\":[]}"), 1000), RIA_OK);
    CU_ASSERT_PTR_EQUAL(json.tokens, tokens);
    CU_ASSERT_EQUAL(json.count, 3);
    CU_ASSERT_TRUE(raw_is(&json, ria_json_member(&json, 0, "a"), "[]"));
    ria_json_fini(&json);
}

/* What costs a tokenizer that looks back at open brackets and colons its quadratic time. */
static void hostile_texts_are_refused_at_once(void)
{
    enum { SIZE = 4 << 20 };
    static const char *const repeated[] = {"[", "[]:", "{\"a\":", "\"a\":", "]", "[]]"};
    struct ria_json json;
    char *text = malloc(SIZE);

    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    ria_json_init(&json);
    for (size_t i = 0; i < RIA_COUNT(repeated); i++) {
        size_t period = strlen(repeated[i]);
        for (size_t at = 0; at < SIZE; at++) {
            text[at] = repeated[i][at % period];
        }
        CU_ASSERT_NOT_EQUAL(ria_json_parse(&json, ria_slice_of(text, SIZE), UINT32_MAX), RIA_OK);
        CU_ASSERT_TRUE(json.error_at < 200);
    }
    ria_json_fini(&json);
    free(text);
}

static bool appends(struct ria_slice text, const char *expected)
{
    struct ria_buf buf;

    ria_buf_init(&buf, 1000);
    bool ok =
        ria_buf_append_str(&buf, "_") == RIA_OK && ria_json_append_string(&buf, text) == RIA_OK &&
        buf.data[0] == '_' &&
        ria_slice_equal(ria_slice_sub(ria_buf_slice(&buf), 1, 1000), ria_slice_cstr(expected));
    ria_buf_fini(&buf);
    return ok;
}

static void appended_strings_are_escaped(void)
{
    CU_ASSERT_TRUE(appends(RIA_SLICE_NULL, "\"\""));
    CU_ASSERT_TRUE(appends(RIA_SLICE_LITERAL("plain, long enough"), "\"plain, long enough\""));
    CU_ASSERT_TRUE(appends(RIA_SLICE_LITERAL("\"\\/\b\f\n\r\t"), "\"\\\"\\\\/\\b\\f\\n\\r\\t\""));
    CU_ASSERT_TRUE(appends(RIA_SLICE_LITERAL("\0\x1f\x7f"), "\"\\u0000\\u001f\x7f\""));
    CU_ASSERT_TRUE(
        appends(RIA_SLICE_LITERAL("\xc3\xa4\xf0\x9f\x98\x80"), "\"\xc3\xa4\xf0\x9f\x98\x80\"")
    );
    CU_ASSERT_TRUE(appends(
        RIA_SLICE_LITERAL("a\xff"
                          "b\xc3"),
        "\"a\xef\xbf\xbd"
        "b\xef\xbf\xbd\""
    ));
}

static void append_past_the_limit_appends_nothing(void)
{
    struct ria_buf buf;

    ria_buf_init(&buf, 10);
    CU_ASSERT_EQUAL(ria_buf_append_str(&buf, "kept"), RIA_OK);
    CU_ASSERT_EQUAL(ria_json_append_string(&buf, RIA_SLICE_LITERAL("ab\ncd")), RIA_ERR_LIMIT);
    CU_ASSERT_TRUE(ria_slice_equal(ria_buf_slice(&buf), RIA_SLICE_LITERAL("kept")));
    CU_ASSERT_EQUAL(ria_json_append_string(&buf, RIA_SLICE_LITERAL("ab\n")), RIA_OK);
    ria_buf_fini(&buf);
}

/* Every byte there is, out and in again. */
static void appended_strings_parse_to_themselves(void)
{
    struct parsed p;
    struct ria_buf buf;
    uint8_t bytes[128];

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    ria_buf_init(&buf, 10000);
    CU_ASSERT_EQUAL(ria_json_append_string(&buf, ria_slice_of(bytes, sizeof(bytes))), RIA_OK);
    CU_ASSERT_EQUAL(ria_buf_append(&buf, "", 1), RIA_OK);
    parsed_init(&p, (const char *)buf.data);
    CU_ASSERT_TRUE(string_is(&p, 0, ria_slice_of(bytes, sizeof(bytes))));
    parsed_fini(&p);
    ria_buf_fini(&buf);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(tokens_know_their_subtree),
    HARNESS_TEST(raw_is_what_stands_in_the_text),
    HARNESS_TEST(root_may_be_any_value),
    HARNESS_TEST(member_finds_the_last_of_its_name),
    HARNESS_TEST(member_names_are_unescaped),
    HARNESS_TEST(strings_are_unescaped),
    HARNESS_TEST(string_past_the_arenas_limit_fails),
    HARNESS_TEST(integers_have_a_range),
    HARNESS_TEST(error_says_where_and_why),
    HARNESS_TEST(parses_reuse_their_memory),
    HARNESS_TEST(hostile_texts_are_refused_at_once),
    HARNESS_TEST(appended_strings_are_escaped),
    HARNESS_TEST(append_past_the_limit_appends_nothing),
    HARNESS_TEST(appended_strings_parse_to_themselves),
};

HARNESS_MAIN(tests);
