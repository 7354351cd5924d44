#include "services/gateway/router.h"

#include <string.h>
#include <strings.h>

#include "common/assert.h"

enum { PATH_SEGMENTS_MAX = 10 };

/* Splits at slashes; false if there are more segments than any pattern has, or an empty one inside.
 */
static bool
split(struct ria_slice path, struct ria_slice out_segments[PATH_SEGMENTS_MAX], uint32_t *out_count)
{
    uint32_t count = 0;
    size_t at = 1;

    if (path.size == 0 || path.data[0] != '/') {
        return false;
    }
    while (at < path.size) {
        const uint8_t *end = memchr(path.data + at, '/', path.size - at);
        size_t size = end == NULL ? path.size - at : (size_t)(end - (path.data + at));
        if (size == 0 || count == PATH_SEGMENTS_MAX) {
            return false;
        }
        out_segments[count++] = ria_slice_sub(path, at, size);
        at += size + 1;
    }
    *out_count = count;
    return true;
}

static bool pattern_matches(const char *pattern, const struct ria_slice *segments, uint32_t count)
{
    const char *at = pattern + 1;
    uint32_t i = 0;

    while (*at != '\0') {
        size_t size = strcspn(at, "/");
        if (i == count) {
            return false;
        }
        if (*at != '{' && !ria_slice_equal(segments[i], ria_slice_of(at, size))) {
            return false;
        }
        i++;
        at += size + (at[size] == '/' ? 1 : 0);
    }
    return i == count;
}

/* ROUTE_FOUND or why not. */
static route_match
take_params(struct request *request, const char *pattern, const struct ria_slice *segments)
{
    uint32_t i = 0;

    request->param_count = 0;
    for (const char *at = pattern + 1; *at != '\0'; i++) {
        size_t size = strcspn(at, "/");
        if (*at == '{') {
            RIA_ASSERT(request->param_count < REQUEST_PARAMS_MAX);
            struct ria_slice *param = &request->params[request->param_count];
            ria_err err = request_decode(request, segments[i], false, param);
            if (err != RIA_OK) {
                return err == RIA_ERR_MALFORMED ? ROUTE_BAD_PATH : ROUTE_NO_MEMORY;
            }
            request->param_count++;
        }
        at += size + (at[size] == '/' ? 1 : 0);
    }
    return ROUTE_FOUND;
}

static const char *method_name(http_method method)
{
    switch (method) {
    case HTTP_GET:
        return "GET, HEAD";
    case HTTP_POST:
        return "POST";
    case HTTP_PUT:
        return "PUT";
    case HTTP_PATCH:
        return "PATCH";
    case HTTP_DELETE:
        return "DELETE";
    case HTTP_OPTIONS:
    case HTTP_OTHER:
        break;
    }
    return "";
}

/* The header Allow of a 405. */
static route_match allow(struct request *request, unsigned methods)
{
    struct ria_buf buf;
    ria_err err = RIA_OK;

    ria_buf_init(&buf, 64);
    for (unsigned m = HTTP_GET; m < HTTP_OTHER && err == RIA_OK; m++) {
        if ((methods & 1U << m) != 0) {
            err =
                ria_buf_printf(&buf, "%s%s", buf.size > 0 ? ", " : "", method_name((http_method)m));
        }
    }
    const char *value = ria_arena_strdup(&request->arena, ria_buf_slice(&buf));
    ria_buf_fini(&buf);
    if (err != RIA_OK || value == NULL) {
        return ROUTE_NO_MEMORY;
    }
    request_add_header(request, "Allow", value);
    return ROUTE_NO_METHOD;
}

route_match router_match(const struct route *routes, struct request *request)
{
    struct ria_slice segments[PATH_SEGMENTS_MAX];
    uint32_t count = 0;
    unsigned methods = 0;

    if (!split(request->path, segments, &count)) {
        return ROUTE_NO_PATH;
    }
    for (const struct route *route = routes; route->pattern != NULL; route++) {
        if (!pattern_matches(route->pattern, segments, count)) {
            continue;
        }
        if (route->method == request->method) {
            route_match match = take_params(request, route->pattern, segments);
            request->route = match == ROUTE_FOUND ? route : NULL;
            return match;
        }
        methods |= 1U << route->method;
    }
    return methods == 0 ? ROUTE_NO_PATH : allow(request, methods);
}

static bool starts_with(struct ria_slice path, const char *prefix)
{
    size_t size = strlen(prefix);

    return path.size >= size && memcmp(path.data, prefix, size) == 0 &&
           (path.size == size || path.data[size] == '/');
}

bool router_is_v2(const struct request *request)
{
    if (request->route != NULL) {
        return request->route->is_v2;
    }
    return starts_with(request->path, "/topics") || starts_with(request->path, "/brokers") ||
           starts_with(request->path, "/consumers") ||
           ria_slice_equal(request->path, RIA_SLICE_LITERAL("/"));
}

/* --- media types -------------------------------------------------------------------------------*/

static struct ria_slice trim(struct ria_slice text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = ria_slice_sub(text, 1, text.size);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

/* The part before `mark`; *rest is what is behind it, null if there is no mark. */
static struct ria_slice cut(struct ria_slice text, char mark, struct ria_slice *rest)
{
    const uint8_t *at = text.size == 0 ? NULL : memchr(text.data, mark, text.size);

    if (at == NULL) {
        *rest = RIA_SLICE_NULL;
        return trim(text);
    }
    size_t size = (size_t)(at - text.data);
    *rest = ria_slice_sub(text, size + 1, text.size);
    return trim(ria_slice_sub(text, 0, size));
}

static bool equal_nocase(struct ria_slice text, const char *other)
{
    return text.size == strlen(other) &&
           (text.size == 0 || strncasecmp((const char *)text.data, other, text.size) == 0);
}

bool media_type_is(struct ria_slice header, const char *type)
{
    struct ria_slice rest;

    return equal_nocase(cut(header, ';', &rest), type);
}

/* q in thousandths; 1000 if it is not given. */
static int quality(struct ria_slice params)
{
    while (!ria_slice_is_null(params)) {
        struct ria_slice value;
        struct ria_slice name = cut(cut(params, ';', &params), '=', &value);
        if (!equal_nocase(name, "q") || value.size == 0) {
            continue;
        }
        value = trim(value);
        int q = value.data[0] == '1' ? 1000 : 0;
        int unit = 100;
        for (size_t i = 2; i < value.size && unit > 0; i++, unit /= 10) {
            if (value.data[i] >= '0' && value.data[i] <= '9') {
                q += unit * (value.data[i] - '0');
            }
        }
        return q > 1000 ? 1000 : q;
    }
    return 1000;
}

/* How closely a range of Accept names the type: 3 exactly, 2 "type/" and a star, 1 two stars, 0
 * not.
 */
static int closeness(struct ria_slice range, const char *type)
{
    if (equal_nocase(range, type)) {
        return 3;
    }
    if (equal_nocase(range, "*/*") || equal_nocase(range, "*")) {
        return 1;
    }
    size_t slash = strcspn(type, "/") + 1;
    if (range.size == slash + 1 && range.data[slash] == '*' &&
        strncasecmp((const char *)range.data, type, slash) == 0) {
        return 2;
    }
    return 0;
}

/* RFC 9110 12.5.1: the closest range gives a type its quality. */
static int quality_of(struct ria_slice accept, const char *type)
{
    int best = 0;
    int q = 0;

    for (struct ria_slice rest = accept; !ria_slice_is_null(rest);) {
        struct ria_slice params;
        struct ria_slice range = cut(cut(rest, ',', &rest), ';', &params);
        int close = closeness(range, type);
        if (close > best) {
            best = close;
            q = quality(params);
        }
    }
    return q;
}

const char *media_type_choose(struct ria_slice accept, const char *const *types)
{
    const char *chosen = NULL;
    int chosen_q = 0;

    if (trim(accept).size == 0) {
        return types[0];
    }
    for (const char *const *type = types; *type != NULL; type++) {
        int q = quality_of(accept, *type);
        if (q > chosen_q) {
            chosen = *type;
            chosen_q = q;
        }
    }
    return chosen;
}
