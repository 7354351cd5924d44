#include "services/coordinator/node_list.h"

#include "tests/lib/harness.h"

static void text_and_back(void)
{
    const int32_t ids[] = {3, 1, 2147483647};
    struct node_list list = {.count = 0};
    char text[NODE_LIST_TEXT_SIZE];

    node_list_format(ids, 3, text);
    CU_ASSERT_STRING_EQUAL(text, "3,1,2147483647");
    CU_ASSERT_EQUAL(node_list_parse(ria_slice_cstr(text), &list), RIA_OK);
    CU_ASSERT_EQUAL(list.count, 3);
    CU_ASSERT_EQUAL(list.ids[0], 3);
    CU_ASSERT_EQUAL(list.ids[2], 2147483647);
    CU_ASSERT_TRUE(node_list_has(&list, 1));
    CU_ASSERT_FALSE(node_list_has(&list, 2));
}

static void longest_list_fits(void)
{
    int32_t ids[RIA_REPLICAS_MAX];
    struct node_list list = {.count = 0};
    char text[NODE_LIST_TEXT_SIZE];

    for (int i = 0; i < RIA_REPLICAS_MAX; i++) {
        ids[i] = INT32_MAX - i;
    }
    node_list_format(ids, RIA_REPLICAS_MAX, text);
    CU_ASSERT_EQUAL(node_list_parse(ria_slice_cstr(text), &list), RIA_OK);
    CU_ASSERT_EQUAL(list.count, RIA_REPLICAS_MAX);
    CU_ASSERT_EQUAL(list.ids[15], INT32_MAX - 15);
}

static void empty_list_is_empty_text(void)
{
    struct node_list list = {.count = 9};
    char text[NODE_LIST_TEXT_SIZE];

    node_list_format(NULL, 0, text);
    CU_ASSERT_STRING_EQUAL(text, "");
    CU_ASSERT_EQUAL(node_list_parse(ria_slice_cstr(text), &list), RIA_OK);
    CU_ASSERT_EQUAL(list.count, 0);
}

static void anything_else_is_corrupt(void)
{
    static const char *const texts[] = {
        ",",
        "1,",
        ",1",
        "1,,2",
        "a",
        "1 ",
        "-1",
        "2147483648",
        "99999999999999999999",
        "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"};
    struct node_list list = {.count = 0};

    for (size_t i = 0; i < RIA_COUNT(texts); i++) {
        CU_ASSERT_EQUAL(node_list_parse(ria_slice_cstr(texts[i]), &list), RIA_ERR_CORRUPT);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(text_and_back),
    HARNESS_TEST(longest_list_fits),
    HARNESS_TEST(empty_list_is_empty_text),
    HARNESS_TEST(anything_else_is_corrupt),
};
HARNESS_MAIN(tests);
