#include "common/msg.h"

#include <string.h>

#include "tests/lib/harness.h"

static void messages_copy_and_shorten(void)
{
    struct ria_msg *msg = ria_msg_new(100);

    CU_ASSERT_PTR_NOT_NULL_FATAL(msg);
    memset(ria_msg_data(msg), 5, 100);
    struct ria_msg *copy = ria_msg_copy(msg);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    ria_msg_truncate(msg, 4);
    CU_ASSERT_EQUAL(ria_msg_size(msg), 4);
    CU_ASSERT_EQUAL(ria_msg_data(msg)[3], 5);
    CU_ASSERT_EQUAL(ria_msg_size(copy), 100);
    CU_ASSERT_EQUAL(ria_msg_data(copy)[99], 5);
    ria_msg_freep(&copy);
    CU_ASSERT_PTR_NULL(copy);
    ria_msg_free(copy);
    ria_msg_free(msg);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(messages_copy_and_shorten),
};
HARNESS_MAIN(tests);
