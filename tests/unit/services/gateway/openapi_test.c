/* schemas/openapi.yaml and the routes are the same set. Reads the lines that matter, no YAML; of
 * that only that nothing is indented deeper than it may be. */
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

/* A line's own depth, and the depth of what is written after its dashes. */
static size_t depth_of(struct ria_slice line, size_t *inner)
{
    size_t depth = 0;

    while (depth < line.size && line.data[depth] == ' ') {
        depth++;
    }
    *inner = depth;
    while (*inner + 1 < line.size && line.data[*inner] == '-' && line.data[*inner + 1] == ' ') {
        *inner += 2;
    }
    return depth;
}

/* A generator of clients refuses the whole document for one line that stands under a finished one.
 */
static void a_line_is_deeper_only_than_one_that_opens_a_block(void)
{
    struct ria_slice text = openapi_text();
    size_t before = 0; /* the depth that the line before leaves */
    size_t folded = 0; /* the depth of the line whose text is folded */
    bool opens = true, folds = false;

    for (size_t at = 0; at < text.size;) {
        const uint8_t *end = memchr(text.data + at, '\n', text.size - at);
        size_t size = end == NULL ? text.size - at : (size_t)(end - (text.data + at));
        struct ria_slice line = {.data = text.data + at, .size = size};
        size_t inner = 0;
        size_t depth = depth_of(line, &inner);
        at += size + 1;
        if (depth == size || line.data[depth] == '#' || (folds && depth > folded)) {
            continue;
        }
        if (depth > before && !opens) {
            (void)printf("[too deep: %.*s]", (int)size, (const char *)line.data);
        }
        CU_ASSERT_TRUE(depth <= before || opens);
        before = inner;
        folded = depth;
        opens = line.data[size - 1] == ':';
        folds =
            line.data[size - 1] == '>' || (size > 1 && memcmp(line.data + size - 2, ">-", 2) == 0);
    }
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_line_is_deeper_only_than_one_that_opens_a_block),
    HARNESS_TEST(every_route_is_described_and_nothing_else),
};

HARNESS_MAIN(tests);
