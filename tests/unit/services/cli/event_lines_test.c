#include "services/cli/event_lines.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/harness.h"

/* What came, as one text: [id|name|data], "-" for none. */
struct seen {
    char text[1024];
};

static void add(struct seen *seen, const char *before, struct ria_slice field)
{
    size_t used = strlen(seen->text);

    (void)snprintf(
        seen->text + used,
        sizeof(seen->text) - used,
        "%s%.*s",
        before,
        ria_slice_is_null(field) ? 1 : (int)field.size,
        ria_slice_is_null(field) ? "-" : (const char *)field.data
    );
}

static void take(void *arg, const struct event *event)
{
    add(arg, "[", event->id);
    add(arg, "|", event->name);
    add(arg, "|", event->data);
    add(arg, "", RIA_SLICE_LITERAL("]"));
}

static const char stream[] = "retry: 2000\nid: A\n\n"
                             "id: B\ndata: {\"a\":\"x: y\"}\n\n"
                             ":\n\n"
                             ":\nid: C\n\n"
                             "event: gap\r\nid: D\r\ndata: 1\r\ndata: 2\r\n\r\n"
                             "data:\n\n"
                             "data: cut off";
static const char expected[] = "[A|-|-][B|-|{\"a\":\"x: y\"}][C|-|-][D|gap|1\n2][-|-|]";

static void events_are_the_same_however_their_bytes_come(void)
{
    for (size_t step = 1; step <= sizeof(stream); step++) {
        struct seen seen = {""};
        struct event_lines lines;

        event_lines_init(&lines);
        for (size_t at = 0; at < sizeof(stream) - 1; at += step) {
            struct ria_slice all = ria_slice_of(stream, sizeof(stream) - 1);
            CU_ASSERT_EQUAL(
                event_lines_feed(&lines, ria_slice_sub(all, at, step), take, &seen), RIA_OK
            );
        }
        CU_ASSERT_STRING_EQUAL(seen.text, expected);
        event_lines_fini(&lines);
    }
}

static void what_was_begun_is_forgotten_with_a_new_stream(void)
{
    struct seen seen = {""};
    struct event_lines lines;

    event_lines_init(&lines);
    CU_ASSERT_EQUAL(
        event_lines_feed(&lines, RIA_SLICE_LITERAL("event: gap\nid: A\ndata: ha"), take, &seen),
        RIA_OK
    );
    event_lines_reset(&lines);
    CU_ASSERT_EQUAL(
        event_lines_feed(&lines, RIA_SLICE_LITERAL("data: whole\n\n"), take, &seen), RIA_OK
    );
    CU_ASSERT_STRING_EQUAL(seen.text, "[-|-|whole]");
    event_lines_fini(&lines);
}

static void an_id_past_its_limit_is_refused(void)
{
    char text[EVENT_ID_MAX + 16];
    struct seen seen = {""};
    struct event_lines lines;

    memset(text, 'a', sizeof(text));
    memcpy(text, "id: ", 4);
    text[sizeof(text) - 1] = '\n';
    event_lines_init(&lines);
    CU_ASSERT_EQUAL(
        event_lines_feed(&lines, ria_slice_of(text, sizeof(text)), take, &seen), RIA_ERR_LIMIT
    );
    event_lines_fini(&lines);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(events_are_the_same_however_their_bytes_come),
    HARNESS_TEST(what_was_begun_is_forgotten_with_a_new_stream),
    HARNESS_TEST(an_id_past_its_limit_is_refused),
};
HARNESS_MAIN(tests);
