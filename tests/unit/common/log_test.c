#include "common/log.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/harness.h"

struct capture {
    char text[4096];
    size_t size;
    int lines;
};

static void capture_write(void *arg, const char *line, size_t size)
{
    struct capture *capture = arg;

    memcpy(capture->text, line, size);
    capture->text[size] = '\0';
    capture->size = size;
    capture->lines++;
}

/* The line behind its time stamp. */
static const char *after_stamp(const struct capture *capture)
{
    const char *space = strchr(capture->text, ' ');

    return space == NULL ? "" : space + 1;
}

static void line_is_stamp_level_tag_and_values(void)
{
    struct capture capture = {.lines = 0};
    struct ria_log log = {.level = RIA_LOG_INFO, .write = capture_write, .arg = &capture};
    int year;
    int month;
    int day;
    char end;

    ria_log_warn(&log, "storage.append_failed", "topic=%s partition=%d", "orders", 3);
    CU_ASSERT_STRING_EQUAL(
        after_stamp(&capture), "warn storage.append_failed topic=orders partition=3\n"
    );
    CU_ASSERT_EQUAL(
        sscanf(capture.text, "%4d-%2d-%2dT%*2d:%*2d:%*2d.%*3d%c ", &year, &month, &day, &end), 4
    );
    CU_ASSERT_EQUAL(end, 'Z');
    CU_ASSERT_TRUE(year >= 2024);
    ria_log_info(&log, "storage.ready", "%s", "");
    CU_ASSERT_STRING_EQUAL(after_stamp(&capture), "info storage.ready \n");
}

static void levels_below_the_least_are_not_written(void)
{
    struct capture capture = {.lines = 0};
    struct ria_log log = {.level = RIA_LOG_WARN, .write = capture_write, .arg = &capture};

    ria_log_debug(&log, "a.b", "x=1");
    ria_log_info(&log, "a.b", "x=1");
    CU_ASSERT_EQUAL(capture.lines, 0);
    ria_log_warn(&log, "a.b", "x=1");
    ria_log_error(&log, "a.b", "x=1");
    CU_ASSERT_EQUAL(capture.lines, 2);
    ria_log_error(NULL, "a.b", "x=1");
}

static void long_line_is_cut_and_still_ends(void)
{
    static char text[5000];
    struct capture capture = {.lines = 0};
    struct ria_log log = {.level = RIA_LOG_INFO, .write = capture_write, .arg = &capture};

    memset(text, 'x', sizeof(text) - 1);
    ria_log_error(&log, "a.b", "x=%s", text);
    CU_ASSERT_EQUAL(capture.size, 2048);
    CU_ASSERT_EQUAL(capture.text[2047], '\n');
    CU_ASSERT_PTR_EQUAL(strchr(capture.text, '\n'), capture.text + 2047);
    ria_log_write(&log, RIA_LOG_ERROR, text, "x=1");
    CU_ASSERT_EQUAL(capture.size, 2048);
}

static void check_quote(const char *text, const char *want)
{
    char out[64];

    CU_ASSERT_STRING_EQUAL(ria_log_quote(out, sizeof(out), text, strlen(text)), want);
}

static void values_are_quoted_only_if_needed(void)
{
    check_quote("orders-1", "orders-1");
    check_quote("", "\"\"");
    check_quote("disk is full", "\"disk is full\"");
    check_quote("a=b", "\"a=b\"");
    check_quote("say \"no\" \\", "\"say \\\"no\\\" \\\\\"");
    check_quote("x\ny\t\x01\xff", "\"x\\ny\\t\\x01\\xff\"");
}

static void long_value_is_cut_within_its_room(void)
{
    char out[8];

    CU_ASSERT_STRING_EQUAL(ria_log_quote(out, sizeof(out), "abcdefgh", 8), "\"abcde\"");
    CU_ASSERT_STRING_EQUAL(ria_log_quote(out, sizeof(out), "abcd\nfgh", 8), "\"abcd\"");
    CU_ASSERT_STRING_EQUAL(ria_log_quote(out, 3, "a b", 3), "\"\"");
}

static void levels_have_names(void)
{
    ria_log_level level = RIA_LOG_INFO;

    CU_ASSERT_TRUE(ria_log_level_parse("debug", &level));
    CU_ASSERT_EQUAL(level, RIA_LOG_DEBUG);
    CU_ASSERT_TRUE(ria_log_level_parse("error", &level));
    CU_ASSERT_EQUAL(level, RIA_LOG_ERROR);
    CU_ASSERT_FALSE(ria_log_level_parse("loud", &level));
    CU_ASSERT_EQUAL(level, RIA_LOG_ERROR);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(line_is_stamp_level_tag_and_values),
    HARNESS_TEST(levels_below_the_least_are_not_written),
    HARNESS_TEST(long_line_is_cut_and_still_ends),
    HARNESS_TEST(values_are_quoted_only_if_needed),
    HARNESS_TEST(long_value_is_cut_within_its_room),
    HARNESS_TEST(levels_have_names),
};
HARNESS_MAIN(tests);
