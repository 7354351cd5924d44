#include "common/base64.h"

#include <string.h>

#include "common/rand.h"

#include "tests/lib/harness.h"

static bool decodes_to(const char *text, const char *raw)
{
    uint8_t out[64];
    size_t size = 99;

    return ria_base64_decode(out, ria_slice_cstr(text), &size) == RIA_OK &&
           ria_slice_equal(ria_slice_of(out, size), ria_slice_cstr(raw));
}

static bool is_malformed(struct ria_slice text)
{
    uint8_t out[64];
    size_t size = 99;

    return ria_base64_decode(out, text, &size) == RIA_ERR_MALFORMED && size == 99;
}

/* RFC 4648, section 10. */
static void rfc_examples(void)
{
    static const char *const raws[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const texts[] = {
        "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    char out[16];

    for (size_t i = 0; i < RIA_COUNT(raws); i++) {
        struct ria_slice raw = ria_slice_cstr(raws[i]);
        CU_ASSERT_EQUAL(ria_base64_size(raw.size), strlen(texts[i]));
        ria_base64_encode(out, raw);
        CU_ASSERT_EQUAL(memcmp(out, texts[i], strlen(texts[i])), 0);
        CU_ASSERT_TRUE(decodes_to(texts[i], raws[i]));
    }
}

static void random_bytes_come_back(void)
{
    struct ria_rand rand;
    uint8_t raw[256];
    uint8_t back[258];
    char text[344];

    ria_rand_init(&rand, 3);
    for (size_t size = 0; size <= sizeof(raw); size++) {
        size_t back_size = 0;
        ria_rand_bytes(&rand, raw, size);
        ria_base64_encode(text, ria_slice_of(raw, size));
        struct ria_slice encoded = ria_slice_of(text, ria_base64_size(size));
        CU_ASSERT_EQUAL(ria_base64_decode(back, encoded, &back_size), RIA_OK);
        CU_ASSERT_EQUAL(back_size, size);
        CU_ASSERT_EQUAL(memcmp(raw, back, size), 0);
    }
}

static void every_byte_outside_the_alphabet_is_malformed(void)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (unsigned byte = 0; byte < 256; byte++) {
        bool is_letter = memchr(alphabet, (int)byte, 64) != NULL;
        for (size_t at = 0; at < 8; at++) {
            uint8_t text[8] = {'A', 'A', 'A', 'A', 'A', 'A', 'A', 'A'};
            text[at] = (uint8_t)byte;
            bool is_padding = byte == '=' && at == 7;
            CU_ASSERT_EQUAL(is_malformed(ria_slice_of(text, 8)), !is_letter && !is_padding);
        }
    }
}

static void wrong_length_and_padding_are_malformed(void)
{
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zm9vYg", "====", "Z===", "=AAA", "A=AA", "AA=A", "Zg==Zg==", "Zm8=AAAA"};

    for (size_t i = 0; i < RIA_COUNT(bad); i++) {
        CU_ASSERT_TRUE(is_malformed(ria_slice_cstr(bad[i])));
    }
}

static void cut_off_bits_that_are_not_zero_are_malformed(void)
{
    CU_ASSERT_TRUE(is_malformed(RIA_SLICE_LITERAL("Zh==")));
    CU_ASSERT_TRUE(is_malformed(RIA_SLICE_LITERAL("Zm9=")));
}

static const struct harness_test tests[] = {
    HARNESS_TEST(rfc_examples),
    HARNESS_TEST(random_bytes_come_back),
    HARNESS_TEST(every_byte_outside_the_alphabet_is_malformed),
    HARNESS_TEST(wrong_length_and_padding_are_malformed),
    HARNESS_TEST(cut_off_bits_that_are_not_zero_are_malformed),
};

HARNESS_MAIN(tests);
