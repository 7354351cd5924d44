#include "common/uuid.h"

#include <string.h>

#include "tests/lib/harness.h"

static const struct ria_uuid sample = {
    {0x12,
     0x3e,
     0x45,
     0x67,
     0xe8,
     0x9b,
     0x12,
     0xd3,
     0xa4,
     0x56,
     0x42,
     0x66,
     0x14,
     0x17,
     0x40,
     0x0f}};
static const char sample_text[] = "123e4567-e89b-12d3-a456-42661417400f";

static void format_and_parse_agree(void)
{
    char text[RIA_UUID_TEXT_SIZE];
    struct ria_uuid parsed = {{0}};

    ria_uuid_format(sample, text);
    CU_ASSERT_STRING_EQUAL(text, sample_text);
    CU_ASSERT_EQUAL(ria_uuid_parse(ria_slice_cstr(text), &parsed), RIA_OK);
    CU_ASSERT_TRUE(ria_uuid_equal(parsed, sample));
    CU_ASSERT_EQUAL(
        ria_uuid_parse(ria_slice_cstr("123E4567-E89B-12D3-A456-42661417400F"), &parsed), RIA_OK
    );
    CU_ASSERT_TRUE(ria_uuid_equal(parsed, sample));
}

static void parse_refuses_every_damaged_character(void)
{
    struct ria_uuid parsed = sample;

    for (size_t i = 0; i < sizeof(sample_text) - 1; i++) {
        char text[sizeof(sample_text)];
        memcpy(text, sample_text, sizeof(text));
        text[i] = text[i] == '-' ? '0' : 'g';
        CU_ASSERT_EQUAL(ria_uuid_parse(ria_slice_cstr(text), &parsed), RIA_ERR_MALFORMED);
        text[i] = '\0';
        CU_ASSERT_EQUAL(ria_uuid_parse(ria_slice_cstr(text), &parsed), RIA_ERR_MALFORMED);
    }
    CU_ASSERT_EQUAL(ria_uuid_parse(RIA_SLICE_NULL, &parsed), RIA_ERR_MALFORMED);
    CU_ASSERT_TRUE(ria_uuid_equal(parsed, sample));
}

static void v4_sets_version_and_variant_only(void)
{
    uint8_t bytes[RIA_UUID_SIZE];
    char text[RIA_UUID_TEXT_SIZE];

    memset(bytes, 0xff, sizeof(bytes));
    ria_uuid_format(ria_uuid_v4(bytes), text);
    CU_ASSERT_STRING_EQUAL(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    memset(bytes, 0, sizeof(bytes));
    ria_uuid_format(ria_uuid_v4(bytes), text);
    CU_ASSERT_STRING_EQUAL(text, "00000000-0000-4000-8000-000000000000");
}

static void zero_equal_and_hash_see_every_byte(void)
{
    struct ria_uuid zero = {{0}};

    CU_ASSERT_TRUE(ria_uuid_is_zero(zero));
    for (size_t i = 0; i < RIA_UUID_SIZE; i++) {
        struct ria_uuid other = zero;
        other.bytes[i] = 1;
        CU_ASSERT_FALSE(ria_uuid_is_zero(other));
        CU_ASSERT_FALSE(ria_uuid_equal(zero, other));
        CU_ASSERT_NOT_EQUAL(ria_uuid_hash(zero), ria_uuid_hash(other));
    }
    CU_ASSERT_EQUAL(ria_uuid_hash(sample), ria_uuid_hash(sample));
}

static const struct harness_test tests[] = {
    HARNESS_TEST(format_and_parse_agree),
    HARNESS_TEST(parse_refuses_every_damaged_character),
    HARNESS_TEST(v4_sets_version_and_variant_only),
    HARNESS_TEST(zero_equal_and_hash_see_every_byte),
};

HARNESS_MAIN(tests);
