/* schemas/openapi.yaml and the routes are the same set. Reads the lines that matter, no YAML. */
#include "services/gateway/openapi.h"

#include <stdio.h>
#include <string.h>

#include "services/gateway/gateway.h"
#include "tests/lib/harness.h"

enum { OPERATIONS_MAX = 100, LINE_MAX = 200 };

struct operation {
    char method[16];
    char path[LINE_MAX];
};

/* Operations of the document: two spaces, a path and a colon, then four spaces and its methods. */
static uint32_t read_operations(struct operation out[OPERATIONS_MAX])
{
    struct ria_slice text = openapi_text();
    char path[LINE_MAX] = "";
    uint32_t count = 0;
    bool in_paths = false;

    for (size_t at = 0; at < text.size;) {
        const uint8_t *end = memchr(text.data + at, '\n', text.size - at);
        size_t size = end == NULL ? text.size - at : (size_t)(end - (text.data + at));
        char line[LINE_MAX];
        (void)snprintf(line, sizeof(line), "%.*s", (int)size, (const char *)text.data + at);
        at += size + 1;
        if (line[0] != ' ') {
            in_paths = strcmp(line, "paths:") == 0;
        } else if (in_paths && strncmp(line, "  /", 3) == 0) {
            (void)snprintf(path, sizeof(path), "%.*s", (int)(strlen(line) - 3), line + 2);
        } else if (in_paths && strncmp(line, "    ", 4) == 0 && line[4] != ' ' && strcmp(line, "    parameters:") != 0 && count < OPERATIONS_MAX) {
            (void)snprintf(
                out[count].method,
                sizeof(out[count].method),
                "%.*s",
                (int)strcspn(line + 4, ":"),
                line + 4
            );
            (void)snprintf(out[count].path, sizeof(out[count].path), "%s", path);
            count++;
        }
    }
    return count;
}

static const char *method_name(http_method method)
{
    switch (method) {
    case HTTP_GET:
        return "get";
    case HTTP_POST:
        return "post";
    case HTTP_PUT:
        return "put";
    case HTTP_PATCH:
        return "patch";
    case HTTP_DELETE:
        return "delete";
    case HTTP_OPTIONS:
    case HTTP_OTHER:
        break;
    }
    return "";
}

static void every_route_is_described_and_nothing_else(void)
{
    struct operation operations[OPERATIONS_MAX];
    uint32_t count = read_operations(operations);
    uint32_t routes = 0;

    for (const struct route *route = gateway_routes; route->pattern != NULL; route++, routes++) {
        bool found = false;
        for (uint32_t i = 0; i < count && !found; i++) {
            found = strcmp(operations[i].path, route->pattern) == 0 &&
                    strcmp(operations[i].method, method_name(route->method)) == 0;
        }
        if (!found) {
            (void)printf("[not described: %s %s]", method_name(route->method), route->pattern);
        }
        CU_ASSERT_TRUE(found);
    }
    CU_ASSERT_EQUAL(count, routes);
}

/* How far the line is indented; LINE_MAX: it is empty or a comment. */
static size_t indent_of(struct ria_slice line)
{
    size_t indent = 0;

    while (indent < line.size && line.data[indent] == ' ') {
        indent++;
    }
    return indent == line.size || line.data[indent] == '#' ? LINE_MAX : indent;
}

/* May lines that are indented deeper follow? Those of a list's item go on two columns further. */
static bool has_children(struct ria_slice line, size_t indent, size_t *out_max)
{
    uint8_t last = line.data[line.size - 1];
    bool is_item = line.size > indent + 2 && line.data[indent] == '-';

    *out_max = is_item ? indent + 2 : SIZE_MAX;
    if (last == '-' && line.size > 1) {
        last = line.data[line.size - 2]; /* ">-" */
    }
    return is_item || last == ':' || last == '|' || last == '>';
}

/* Two lines of a commit stood in the middle of another call: no YAML parser took the document. */
static void no_line_is_deeper_than_what_it_belongs_to(void)
{
    struct ria_slice rest = openapi_text();
    size_t indent_max = 0;

    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        size_t size = end == NULL ? rest.size : (size_t)(end - rest.data);
        struct ria_slice line = ria_slice_sub(rest, 0, size);
        size_t indent = indent_of(line);
        rest = ria_slice_sub(rest, size + 1, rest.size);
        if (indent == LINE_MAX) {
            continue;
        }
        if (indent > indent_max) {
            printf("too deep: %.*s\n", (int)line.size, (const char *)line.data);
        }
        CU_ASSERT_TRUE(indent <= indent_max);
        if (!has_children(line, indent, &indent_max)) {
            indent_max = indent;
        }
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(every_route_is_described_and_nothing_else),
    HARNESS_TEST(no_line_is_deeper_than_what_it_belongs_to),
};

HARNESS_MAIN(tests);
