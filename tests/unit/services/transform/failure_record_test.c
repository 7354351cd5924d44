/* What the errors topic gets. */
#include "services/transform/failure_record.h"

#include <stdlib.h>
#include <string.h>

#include "common/json_check.h"
#include "common/limits.h"

#include "tests/lib/harness.h"

enum { SIZE_MAX_USUAL = 1024 * 1024 };

static struct batch_record record(struct ria_slice key, struct ria_slice value)
{
    return (struct batch_record){.offset = 17, .timestamp_ms = 42, .key = key, .value = value};
}

static void expect(struct ria_slice key, struct ria_slice value, const char *text)
{
    struct batch_record input = record(key, value);
    struct ria_buf out;

    ria_buf_init(&out, RIA_BATCH_SIZE_MAX);
    CU_ASSERT_EQUAL(
        failure_record_build(&out, "t", 3, &input, "why \"so\"", SIZE_MAX_USUAL), RIA_OK
    );
    CU_ASSERT(ria_slice_equal(ria_buf_slice(&out), ria_slice_cstr(text)));
    ria_buf_fini(&out);
}

#define HEAD                                                                                   \
    "{\"error\":\"why \\\"so\\\"\",\"source\":{\"topic\":\"t\",\"partition\":3,\"offset\":17," \
    "\"timestamp\":42}"

static void key_and_value_are_shown_as_they_are(void)
{
    expect(RIA_SLICE_NULL, RIA_SLICE_NULL, HEAD ",\"key\":null,\"value\":null}");
    expect(RIA_SLICE_EMPTY, RIA_SLICE_LITERAL("{\n"), HEAD ",\"key\":\"\",\"value\":\"{\\n\"}");
    expect(
        RIA_SLICE_LITERAL("\xFF"),
        RIA_SLICE_LITERAL("\xC3\xA4"),
        HEAD ",\"key\":{\"base64\":\"/w==\"},\"value\":\"\xC3\xA4\"}"
    );
}

/* Whatever comes in: it fits, and is JSON. */
static void check_size(
    struct ria_slice key, struct ria_slice value, const char *reason, size_t size_max, bool cut
)
{
    struct batch_record input = record(key, value);
    struct ria_json_check check;
    struct ria_buf out;

    ria_buf_init(&out, RIA_BATCH_SIZE_MAX);
    CU_ASSERT_EQUAL(failure_record_build(&out, "t", 3, &input, reason, size_max), RIA_OK);
    CU_ASSERT(out.size <= size_max);
    CU_ASSERT_EQUAL(ria_json_check(&check, ria_buf_slice(&out), 100, 10), RIA_OK);
    CU_ASSERT_EQUAL(memmem(out.data, out.size, ",\"truncated\":true}", 18) != NULL, cut);
    ria_buf_fini(&out);
}

static void what_does_not_fit_is_cut(void)
{
    enum { SIZE = 3 * 1024 * 1024 };
    char *text = malloc(SIZE);

    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    memset(text, 'x', SIZE);
    struct ria_slice large = ria_slice_of(text, SIZE);
    struct ria_slice small = RIA_SLICE_LITERAL("small");
    check_size(small, small, "why", FAILURE_RECORD_SIZE_MIN, false);
    check_size(small, large, "why", SIZE_MAX_USUAL, true);
    check_size(large, small, "why", SIZE_MAX_USUAL, true);
    check_size(large, large, "why", FAILURE_RECORD_SIZE_MIN, true);
    memset(text, 0x01, SIZE); /* each takes six bytes */
    check_size(large, large, "why", FAILURE_RECORD_SIZE_MIN, true);
    check_size(large, large, "why", SIZE_MAX_USUAL, true);
    memset(text, 0xFF, SIZE); /* no UTF-8 */
    check_size(large, large, "why", SIZE_MAX_USUAL, true);
    text[2000] = '\0';
    memset(text, 0x02, 2000);
    check_size(large, large, text, FAILURE_RECORD_SIZE_MIN, true);
    free(text);
}

static void a_cut_keeps_characters_whole(void)
{
    enum { SIZE = 900001 };
    char *text = malloc(SIZE);
    struct ria_buf out;

    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    for (int i = 0; i + 3 <= SIZE; i += 3) {
        memcpy(text + i, "\xE2\x82\xAC", 3);
    }
    struct batch_record input = record(RIA_SLICE_NULL, ria_slice_of(text, SIZE - SIZE % 3));
    ria_buf_init(&out, RIA_BATCH_SIZE_MAX);
    CU_ASSERT_EQUAL(failure_record_build(&out, "t", 3, &input, "why", SIZE_MAX_USUAL), RIA_OK);
    CU_ASSERT_PTR_NULL(memmem(out.data, out.size, "base64", 6));
    CU_ASSERT_PTR_NOT_NULL(memmem(out.data, out.size, "truncated", 9));
    ria_buf_fini(&out);
    free(text);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(key_and_value_are_shown_as_they_are),
    HARNESS_TEST(what_does_not_fit_is_cut),
    HARNESS_TEST(a_cut_keeps_characters_whole),
};
HARNESS_MAIN(tests);
