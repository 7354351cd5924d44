#include "common/buf.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/harness.h"

static bool holds(const struct ria_buf *buf, const char *text)
{
    return ria_slice_equal(ria_buf_slice(buf), ria_slice_cstr(text));
}

static void grows_and_keeps_content(void)
{
    struct ria_buf buf;

    ria_buf_init(&buf, 100000);
    for (int i = 0; i < 10000; i++) {
        CU_ASSERT_EQUAL(ria_buf_append(&buf, &"0123456789"[i % 10], 1), RIA_OK);
    }
    CU_ASSERT_EQUAL(buf.size, 10000);
    CU_ASSERT_EQUAL(buf.data[9999], '9');
    ria_buf_clear(&buf);
    CU_ASSERT_EQUAL(ria_buf_append_str(&buf, "again"), RIA_OK);
    CU_ASSERT_TRUE(holds(&buf, "again"));
    ria_buf_fini(&buf);
}

static void append_past_limit_appends_nothing(void)
{
    struct ria_buf buf;

    ria_buf_init(&buf, 8);
    CU_ASSERT_EQUAL(ria_buf_append_str(&buf, "12345"), RIA_OK);
    CU_ASSERT_EQUAL(ria_buf_append_str(&buf, "6789"), RIA_ERR_LIMIT);
    CU_ASSERT_EQUAL(ria_buf_printf(&buf, "%d", 6789), RIA_ERR_LIMIT);
    CU_ASSERT_EQUAL(ria_buf_reserve(&buf, SIZE_MAX), RIA_ERR_LIMIT);
    CU_ASSERT_TRUE(holds(&buf, "12345"));
    CU_ASSERT_EQUAL(ria_buf_append_str(&buf, "678"), RIA_OK);
    CU_ASSERT_EQUAL(ria_buf_append_str(&buf, ""), RIA_OK);
    CU_ASSERT_EQUAL(ria_buf_printf(&buf, "%s", ""), RIA_OK);
    CU_ASSERT_TRUE(holds(&buf, "12345678"));
    ria_buf_fini(&buf);
}

static void printf_fills_exactly_to_the_limit(void)
{
    struct ria_buf buf;

    ria_buf_init(&buf, 4);
    CU_ASSERT_EQUAL(ria_buf_printf(&buf, "%d", 1234), RIA_OK);
    CU_ASSERT_TRUE(holds(&buf, "1234"));
    ria_buf_fini(&buf);
}

static void printf_longer_than_its_first_room(void)
{
    struct ria_buf buf;

    ria_buf_init(&buf, 5000);
    CU_ASSERT_EQUAL(ria_buf_printf(&buf, "a%04000d", 7), RIA_OK);
    CU_ASSERT_EQUAL(ria_buf_printf(&buf, "-%s", "b"), RIA_OK);
    CU_ASSERT_EQUAL(buf.size, 4003);
    CU_ASSERT_EQUAL(memcmp(buf.data + 3999, "07-b", 4), 0);
    ria_buf_fini(&buf);
}

static void limit_zero_takes_only_nothing(void)
{
    struct ria_buf buf;

    ria_buf_init(&buf, 0);
    CU_ASSERT_EQUAL(ria_buf_append(&buf, "", 0), RIA_OK);
    CU_ASSERT_EQUAL(ria_buf_append(&buf, "a", 1), RIA_ERR_LIMIT);
    CU_ASSERT_EQUAL(ria_buf_printf(&buf, "a"), RIA_ERR_LIMIT);
    ria_buf_fini(&buf);
}

static void take_leaves_an_empty_buffer(void)
{
    struct ria_buf buf;
    uint8_t *data = NULL;
    size_t size = 0;

    ria_buf_init(&buf, 100);
    CU_ASSERT_EQUAL(ria_buf_append_str(&buf, "mine"), RIA_OK);
    ria_buf_take(&buf, &data, &size);
    CU_ASSERT_EQUAL(size, 4);
    CU_ASSERT_EQUAL(memcmp(data, "mine", 4), 0);
    CU_ASSERT_EQUAL(buf.size, 0);
    CU_ASSERT_EQUAL(ria_buf_append_str(&buf, "next"), RIA_OK);
    CU_ASSERT_TRUE(holds(&buf, "next"));
    free(data);
    ria_buf_fini(&buf);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(grows_and_keeps_content),
    HARNESS_TEST(append_past_limit_appends_nothing),
    HARNESS_TEST(printf_fills_exactly_to_the_limit),
    HARNESS_TEST(printf_longer_than_its_first_room),
    HARNESS_TEST(limit_zero_takes_only_nothing),
    HARNESS_TEST(take_leaves_an_empty_buffer),
};

HARNESS_MAIN(tests);
