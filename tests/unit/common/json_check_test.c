#include "common/json_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/harness.h"

struct bad {
    const char *text;
    size_t at;
};

static ria_err check(const char *text, struct ria_json_check *out_check)
{
    return ria_json_check(out_check, ria_slice_cstr(text), 1000, 32);
}

static void expect_tokens(const char *text, uint32_t tokens)
{
    struct ria_json_check result;

    if (check(text, &result) != RIA_OK || result.tokens != tokens) {
        CU_FAIL(text);
        (void)fprintf(stderr, "expected %u tokens: %s\n", tokens, text);
    }
}

static void expect_bad(const struct bad *bads, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ria_json_check result;
        ria_err err = check(bads[i].text, &result);
        if (err != RIA_ERR_MALFORMED || result.at != bads[i].at || result.text == NULL) {
            CU_FAIL("a text that is not JSON");
            (void)fprintf(stderr, "%s: %d at %zu\n", bads[i].text, (int)err, result.at);
        }
    }
}

static void valid_texts_are_counted(void)
{
    expect_tokens("{}", 1);
    expect_tokens(" [ ] ", 1);
    expect_tokens("\"\"", 1);
    expect_tokens("0", 1);
    expect_tokens("-0.5e+10", 1);
    expect_tokens(" \t\r\nnull\n", 1);
    expect_tokens("true", 1);
    expect_tokens("false", 1);
    expect_tokens("[1,2,3]", 4);
    expect_tokens("{\"a\":1,\"b\":[true,null],\"a\":{}}", 9);
    expect_tokens("[1E5,1e-5,123456789012345678901234567890,0.0]", 5);
    expect_tokens("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD83D\\uDe00\\uFFFF\"", 1);
    expect_tokens("\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"", 1);
}

static void wrong_structure_is_found_at_its_byte(void)
{
    static const struct bad bads[] = {
        {"", 0},
        {"  ", 2},
        {"[", 1},
        {"{", 1},
        {"]", 0},
        {"}", 0},
        {",", 0},
        {":", 0},
        {"[1,]", 3},
        {"[,1]", 1},
        {"[1 2]", 3},
        {"[1}", 2},
        {"{\"a\"}", 4},
        {"{\"a\":}", 5},
        {"{\"a\":1,}", 7},
        {"{\"a\":1]", 6},
        {"{1:2}", 1},
        {"{a:1}", 1},
        {"{\"a\",1}", 4},
        {"{\"a\":1 \"b\":2}", 7},
        {"{[]:1}", 1},
        {"[\"a\":1]", 4},
        {"{} {}", 3},
        {"1 2", 2},
        {"[]]", 2},
        {"[]:]]]]]]", 2},
        {"\"a\"x", 3},
        {"{\"a\":\"b\":1}", 8},
        {"[1:2]", 2},
        {"[[1],[2]", 8},
        {"nul", 3},
        {"nulL", 3},
        {"True", 0},
        {"truefalse", 4},
        {"[tru]", 4},
        {"\xef\xbb\xbf{}", 0},
        {"[1]\x0b", 3},
        {"'a'", 0},
        {"[1,//\n2]", 3},
        {"NaN", 0},
        {"Infinity", 0},
        {"{\"a\"1}", 4},
        {"[null,undefined]", 6},
    };

    expect_bad(bads, RIA_COUNT(bads));
}

static void wrong_numbers_are_found_at_their_byte(void)
{
    static const struct bad bads[] = {
        {"01", 1},
        {"-", 1},
        {"+1", 0},
        {".5", 0},
        {"5.", 2},
        {"1.e5", 2},
        {"1e", 2},
        {"1e+", 3},
        {"0x10", 1},
        {"-01", 2},
        {"--1", 1},
        {"1.5.5", 3},
        {"[-]", 2},
        {"1e5.5", 3},
        {"1_000", 1},
        {"-Infinity", 1},
        {"00", 1},
        {"1-2", 1},
    };

    expect_bad(bads, RIA_COUNT(bads));
}

static void wrong_strings_are_found_at_their_byte(void)
{
    static const struct bad bads[] = {
        {"\"", 1},
        {"\"abc", 4},
        {"\"abcdefghijk\n\"", 12},
        {"\"\x01\"", 1},
        {"\"\x1f\"", 1},
        {"\"a\\\"", 4},
        {"\"a\\", 2},
        {"\"\\x41\"", 1},
        {"\"\\'\"", 1},
        {"\"\\u12\"", 1},
        {"\"\\u12G4\"", 1},
        {"\"\\U1234\"", 1},
        {"\"\\uD800\"", 1},
        {"\"\\uD800x\"", 1},
        {"\"\\uD800\\n\"", 1},
        {"\"\\uD800\\u0041\"", 1},
        {"\"\\uD800\\uD800\"", 1},
        {"\"\\uDC00\"", 1},
        {"\"12345678\\uDC00\\uD800\"", 9},
        {"\"\xc3\"", 1},
        {"\"a\xff\"", 2},
        {"\"\xc0\x80\"", 1},
        {"\"\xed\xa0\x80\"", 1},
        {"\"1234567\xe2\x82\"", 8},
        {"{\"\xf4\x90\x80\x80\":1}", 2},
    };

    expect_bad(bads, RIA_COUNT(bads));
}

static void nul_bytes_are_no_end(void)
{
    struct ria_json_check result;

    CU_ASSERT_EQUAL(ria_json_check(&result, RIA_SLICE_LITERAL("[1]\0"), 9, 32), RIA_ERR_MALFORMED);
    CU_ASSERT_EQUAL(result.at, 3);
    CU_ASSERT_EQUAL(
        ria_json_check(&result, RIA_SLICE_LITERAL("\"a\0b\""), 9, 32), RIA_ERR_MALFORMED
    );
    CU_ASSERT_EQUAL(result.at, 2);
    CU_ASSERT_EQUAL(
        ria_json_check(&result, RIA_SLICE_LITERAL("\"\\\0\""), 9, 32), RIA_ERR_MALFORMED
    );
    CU_ASSERT_EQUAL(ria_json_check(&result, RIA_SLICE_NULL, 9, 32), RIA_ERR_MALFORMED);
}

/* Every special byte at every distance from the start, for the eight-byte steps. */
static void each_byte_of_a_string_is_looked_at(void)
{
    char text[64];

    for (unsigned byte = 0; byte < 256; byte++) {
        bool is_plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
        for (size_t at = 0; at < 40; at++) {
            memset(text, 'x', sizeof(text));
            text[at] = (char)byte;
            size_t end = ria_json_skip_plain((const uint8_t *)text, 0, 50);
            if (end != (is_plain ? 50 : at)) {
                CU_FAIL("skip_plain stops at the wrong byte");
                return;
            }
        }
    }
}

static void every_truncation_is_malformed(void)
{
    static const char text[] = "{\"a\":[1.5e3,\"\\uD83D\\uDE00\xc3\xa4\",true,null,{\"b\":-0}]}";
    struct ria_json_check result;

    for (size_t size = 0; size < sizeof(text) - 1; size++) {
        uint8_t *copy = malloc(size + 1); /* so that a read past the end is seen */
        CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
        memcpy(copy, text, size);
        copy = realloc(copy, size > 0 ? size : 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
        CU_ASSERT_EQUAL(
            ria_json_check(&result, ria_slice_of(copy, size), 100, 32), RIA_ERR_MALFORMED
        );
        CU_ASSERT_TRUE(result.at <= size);
        free(copy);
    }
    expect_tokens(text, 10);
}

static void depth_has_a_limit(void)
{
    struct ria_json_check result;
    char text[128] = "";

    for (size_t depth = 1; depth <= 33; depth++) {
        for (size_t i = 0; i < depth; i++) {
            text[i] = '[';
            text[depth + i] = ']';
        }
        ria_err err = ria_json_check(&result, ria_slice_of(text, 2 * depth), 1000, 32);
        CU_ASSERT_EQUAL(err, depth <= 32 ? RIA_OK : RIA_ERR_LIMIT);
    }
    CU_ASSERT_EQUAL(result.at, 32);
    CU_ASSERT_EQUAL(ria_json_check(&result, RIA_SLICE_LITERAL("[[1],{}]"), 9, 2), RIA_OK);
    CU_ASSERT_EQUAL(ria_json_check(&result, RIA_SLICE_LITERAL("[1]"), 9, 0), RIA_ERR_LIMIT);
}

static void tokens_have_a_limit(void)
{
    struct ria_json_check result;
    struct ria_slice text = RIA_SLICE_LITERAL("{\"a\":[1,2]}");

    CU_ASSERT_EQUAL(ria_json_check(&result, text, 5, 32), RIA_OK);
    CU_ASSERT_EQUAL(ria_json_check(&result, text, 4, 32), RIA_ERR_LIMIT);
    CU_ASSERT_EQUAL(result.at, 8);
    CU_ASSERT_EQUAL(ria_json_check(&result, text, 0, 32), RIA_ERR_LIMIT);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(valid_texts_are_counted),
    HARNESS_TEST(wrong_structure_is_found_at_its_byte),
    HARNESS_TEST(wrong_numbers_are_found_at_their_byte),
    HARNESS_TEST(wrong_strings_are_found_at_their_byte),
    HARNESS_TEST(nul_bytes_are_no_end),
    HARNESS_TEST(each_byte_of_a_string_is_looked_at),
    HARNESS_TEST(every_truncation_is_malformed),
    HARNESS_TEST(depth_has_a_limit),
    HARNESS_TEST(tokens_have_a_limit),
};

HARNESS_MAIN(tests);
