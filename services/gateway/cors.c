#include "services/gateway/cors.h"

#include <string.h>

#include "services/gateway/failure.h"

static struct ria_slice cut(struct ria_slice *rest)
{
    const uint8_t *end = rest->size == 0 ? NULL : memchr(rest->data, ',', rest->size);
    size_t size = end == NULL ? rest->size : (size_t)(end - rest->data);
    struct ria_slice piece = ria_slice_sub(*rest, 0, size);

    *rest = ria_slice_sub(*rest, size + 1, rest->size);
    return piece;
}

/* As a browser writes it: no path, not even a slash, no upper case, no spaces. */
static bool is_origin(struct ria_slice text)
{
    const uint8_t *mark = text.size == 0 ? NULL : memmem(text.data, text.size, "://", 3);

    if (mark == NULL || mark == text.data || mark + 3 == text.data + text.size) {
        return false;
    }
    for (const uint8_t *c = text.data; c < text.data + text.size; c++) {
        bool is_mark = c >= mark && c < mark + 3;
        if (!is_mark && (*c <= ' ' || *c > '~' || *c == '/' || *c == '*' || *c == '"' ||
                         (*c >= 'A' && *c <= 'Z'))) {
            return false;
        }
    }
    return true;
}

bool cors_is_valid(const char *origins)
{
    struct ria_slice rest = ria_slice_cstr(origins);

    if (rest.size == 0 || ria_slice_equal(rest, RIA_SLICE_LITERAL("*"))) {
        return true;
    }
    bool ends_with_comma = rest.data[rest.size - 1] == ',';
    while (rest.size > 0) {
        if (!is_origin(cut(&rest))) {
            return false;
        }
    }
    return !ends_with_comma;
}

static bool is_listed(const char *origins, struct ria_slice origin)
{
    struct ria_slice rest = ria_slice_cstr(origins);

    while (rest.size > 0) {
        if (ria_slice_equal(cut(&rest), origin)) {
            return true;
        }
    }
    return false;
}

static bool is_ours(struct ria_slice path)
{
    return path.size >= 4 && memcmp(path.data, "/v1/", 4) == 0;
}

/* Names of headers, which go back as they came. */
static bool is_harmless(struct ria_slice names)
{
    for (size_t i = 0; i < names.size; i++) {
        uint8_t c = names.data[i];
        bool is_fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == ',' || c == ' ';
        if (!is_fine) {
            return false;
        }
    }
    return true;
}

static void answer_preflight(struct request *request)
{
    struct ria_slice names = request_header(request, "Access-Control-Request-Headers");

    request_add_header(
        request, "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE"
    );
    if (names.size > 0 && is_harmless(names)) {
        const char *copy = ria_arena_strdup(&request->arena, names);
        if (copy != NULL) {
            request_add_header(request, "Access-Control-Allow-Headers", copy);
        }
    }
    request_add_header(request, "Access-Control-Max-Age", "600");
    request_respond_static(request, 204, NULL, NULL);
}

bool cors_begin(const char *origins, struct request *request)
{
    struct failure failure;

    if (origins == NULL || origins[0] == '\0' || !is_ours(request->path)) {
        return false;
    }
    struct ria_slice origin = request_header(request, "Origin");
    bool is_preflight =
        request->method == HTTP_OPTIONS &&
        !ria_slice_is_null(request_header(request, "Access-Control-Request-Method"));
    bool is_any = strcmp(origins, "*") == 0;
    if (!is_any) {
        request_add_header(request, "Vary", "Origin"); /* caches: also of answers without it */
    }
    if (origin.size == 0) {
        return false;
    }
    if (!is_any && !is_listed(origins, origin)) {
        if (is_preflight) {
            failure_set(
                &failure,
                403,
                "origin_not_allowed",
                "Origin",
                "pages of this origin may not use the gateway (--cors-origins)"
            );
            request_fail(request, &failure);
        }
        return is_preflight;
    }
    const char *allowed = is_any ? "*" : ria_arena_strdup(&request->arena, origin);
    if (allowed != NULL) {
        request_add_header(request, "Access-Control-Allow-Origin", allowed);
    }
    if (is_preflight) {
        answer_preflight(request);
        return true;
    }
    request_add_header(request, "Access-Control-Expose-Headers", "*");
    return false;
}
