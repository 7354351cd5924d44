#include "services/shared/partitioner.h"

#include <string.h>

#include "tests/lib/harness.h"

/* From the tests of Kafka's Java client, UtilsTest.testMurmur2(). */
static void hashes_are_kafkas(void)
{
    static const struct {
        const char *key;
        int32_t hash;
    } known[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };

    for (size_t i = 0; i < RIA_COUNT(known); i++) {
        uint32_t hash = partitioner_murmur2(ria_slice_cstr(known[i].key));
        CU_ASSERT_EQUAL((int32_t)hash, known[i].hash);
    }
}

/* kafka-python: murmur2(bytes([0xff, 0x80, 0x7f, 0x01, 0xfe, 0x90, 0x00])), and of b"". */
static void bytes_above_127_are_not_negative(void)
{
    static const uint8_t key[] = {0xff, 0x80, 0x7f, 0x01, 0xfe, 0x90, 0x00};

    CU_ASSERT_EQUAL(partitioner_murmur2(ria_slice_of(key, sizeof(key))), 0x26ba3465u);
    CU_ASSERT_EQUAL(partitioner_murmur2(RIA_SLICE_EMPTY), 0x106e08d9u);
}

static void negative_hash_gives_a_partition(void)
{
    struct ria_slice key = RIA_SLICE_LITERAL("21");
    int32_t positive = (int32_t)((uint32_t)-973932308 & 0x7fffffff);

    for (int32_t count = 1; count < 100; count++) {
        CU_ASSERT_EQUAL(partitioner_of_key(key, count), positive % count);
    }
    CU_ASSERT_EQUAL(partitioner_of_key(key, INT32_MAX), positive);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(hashes_are_kafkas),
    HARNESS_TEST(bytes_above_127_are_not_negative),
    HARNESS_TEST(negative_hash_gives_a_partition),
};

HARNESS_MAIN(tests);
