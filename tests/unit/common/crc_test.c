#include "common/crc.h"

#include <string.h>

#include "tests/lib/harness.h"

static void check_value(void)
{
    CU_ASSERT_EQUAL(ria_crc32c("123456789", 9), 0xE3069283);
    CU_ASSERT_EQUAL(ria_crc32c("", 0), 0);
}

/* RFC 3720, appendix B.4. */
static void iscsi_examples(void)
{
    uint8_t bytes[32] = {0};

    CU_ASSERT_EQUAL(ria_crc32c(bytes, sizeof(bytes)), 0x8A9136AA);
    memset(bytes, 0xff, sizeof(bytes));
    CU_ASSERT_EQUAL(ria_crc32c(bytes, sizeof(bytes)), 0x62A8AB43);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    CU_ASSERT_EQUAL(ria_crc32c(bytes, sizeof(bytes)), 0x46DD794E);
}

static void extend_at_every_split_gives_the_whole(void)
{
    uint8_t bytes[3000];

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 31 + i / 7);
    }
    uint32_t whole = ria_crc32c(bytes, sizeof(bytes));
    for (size_t split = 0; split <= sizeof(bytes); split++) {
        uint32_t crc = ria_crc32c(bytes, split);
        CU_ASSERT_EQUAL(ria_crc32c_extend(crc, bytes + split, sizeof(bytes) - split), whole);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(check_value),
    HARNESS_TEST(iscsi_examples),
    HARNESS_TEST(extend_at_every_split_gives_the_whole),
};

HARNESS_MAIN(tests);
