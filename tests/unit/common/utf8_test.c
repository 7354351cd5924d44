#include "common/utf8.h"

#include <string.h>

#include "tests/lib/harness.h"

static size_t sequence(const char *text)
{
    return ria_utf8_sequence((const uint8_t *)text, strlen(text));
}

static void every_code_point_round_trips(void)
{
    uint8_t bytes[4];

    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        if (code < 0xd800 || code > 0xdfff) {
            size_t n = ria_utf8_encode(bytes, code);
            if (ria_utf8_sequence(bytes, n) != n || (n > 1 && ria_utf8_sequence(bytes, n - 1))) {
                CU_FAIL("a code point does not round-trip");
                return;
            }
        }
    }
}

static void known_encodings(void)
{
    uint8_t bytes[4];

    CU_ASSERT_EQUAL(ria_utf8_encode(bytes, 0xe4), 2);
    CU_ASSERT_EQUAL(memcmp(bytes, "\xc3\xa4", 2), 0);
    CU_ASSERT_EQUAL(ria_utf8_encode(bytes, 0x20ac), 3);
    CU_ASSERT_EQUAL(memcmp(bytes, "\xe2\x82\xac", 3), 0);
    CU_ASSERT_EQUAL(ria_utf8_encode(bytes, 0x1f600), 4);
    CU_ASSERT_EQUAL(memcmp(bytes, "\xf0\x9f\x98\x80", 4), 0);
}

static void overlong_surrogates_and_too_large_are_refused(void)
{
    CU_ASSERT_EQUAL(sequence("\xc0\x80"), 0);
    CU_ASSERT_EQUAL(sequence("\xc1\xbf"), 0);
    CU_ASSERT_EQUAL(sequence("\xe0\x9f\xbf"), 0);
    CU_ASSERT_EQUAL(sequence("\xf0\x8f\xbf\xbf"), 0);
    CU_ASSERT_EQUAL(sequence("\xed\xa0\x80"), 0);
    CU_ASSERT_EQUAL(sequence("\xed\xbf\xbf"), 0);
    CU_ASSERT_EQUAL(sequence("\xf4\x90\x80\x80"), 0);
    CU_ASSERT_EQUAL(sequence("\xf5\x80\x80\x80"), 0);
    CU_ASSERT_EQUAL(sequence("\xff"), 0);
    CU_ASSERT_EQUAL(sequence("\x80"), 0);
    CU_ASSERT_EQUAL(sequence("\xe2\x28\xa1"), 0);
    CU_ASSERT_EQUAL(sequence("\xe2\x82\x28"), 0);
}

static void valid_looks_at_every_byte(void)
{
    CU_ASSERT_TRUE(ria_utf8_valid(RIA_SLICE_NULL));
    CU_ASSERT_TRUE(ria_utf8_valid(RIA_SLICE_LITERAL("plain, and \xe2\x82\xac at the end \xc3\xa4"))
    );
    for (size_t at = 0; at < 20; at++) {
        uint8_t text[20];
        memset(text, 'x', sizeof(text));
        text[at] = 0xc3; /* without its continuation */
        CU_ASSERT_FALSE(ria_utf8_valid(ria_slice_of(text, sizeof(text))));
    }
}

static void printable_is_valid_without_control_characters(void)
{
    CU_ASSERT_TRUE(ria_utf8_printable(RIA_SLICE_LITERAL("a b\xc2\xa0\xe2\x82\xac~")));
    CU_ASSERT_FALSE(ria_utf8_printable(RIA_SLICE_LITERAL("a\nb")));
    CU_ASSERT_FALSE(ria_utf8_printable(RIA_SLICE_LITERAL("a\x7f")));
    CU_ASSERT_FALSE(ria_utf8_printable(RIA_SLICE_LITERAL("\xc2\x80")));
    CU_ASSERT_FALSE(ria_utf8_printable(RIA_SLICE_LITERAL("\xc2\x9f.")));
    CU_ASSERT_FALSE(ria_utf8_printable(RIA_SLICE_LITERAL("\xff")));
}

static const struct harness_test tests[] = {
    HARNESS_TEST(every_code_point_round_trips),
    HARNESS_TEST(known_encodings),
    HARNESS_TEST(overlong_surrogates_and_too_large_are_refused),
    HARNESS_TEST(valid_looks_at_every_byte),
    HARNESS_TEST(printable_is_valid_without_control_characters),
};

HARNESS_MAIN(tests);
