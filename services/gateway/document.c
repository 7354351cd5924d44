#include "services/gateway/document.h"

#include <stdio.h>
#include <string.h>

#include "services/gateway/router.h"

static bool has_json_type(const struct request *request)
{
    struct ria_slice type = request_header(request, "Content-Type");

    return ria_slice_is_null(type) || media_type_is(type, "application/json");
}

json_t *document_load(struct request *request, struct failure *failure)
{
    json_error_t error;

    if (!has_json_type(request)) {
        failure_set(
            failure,
            415,
            "unsupported_media_type",
            "Content-Type",
            "Content-Type must be application/json (curl: -H 'Content-Type: application/json')"
        );
        return NULL;
    }
    if (request->body.size == 0) {
        failure_set(
            failure, 422, "malformed_json", NULL, "the body is empty; it must be an object"
        );
        return NULL;
    }
    json_t *document = json_loadb(
        (const char *)request->body.data, request->body.size, JSON_REJECT_DUPLICATES, &error
    );
    if (document == NULL) {
        failure_set(
            failure,
            422,
            "malformed_json",
            NULL,
            "the body is not JSON: %s at line %d, column %d (byte %d)",
            error.text,
            error.line,
            error.column,
            error.position
        );
        return NULL;
    }
    if (!json_is_object(document)) {
        json_decref(document);
        failure_set(failure, 422, "invalid", NULL, "the body must be a JSON object");
        return NULL;
    }
    return document;
}

bool document_known(const json_t *document, const char *const *names, struct failure *failure)
{
    void *iter = json_object_iter((json_t *)(uintptr_t)document);

    for (; iter != NULL; iter = json_object_iter_next((json_t *)(uintptr_t)document, iter)) {
        const char *key = json_object_iter_key(iter);
        bool known = false;
        for (const char *const *name = names; *name != NULL && !known; name++) {
            known = strcmp(*name, key) == 0;
        }
        if (!known) {
            failure_set(
                failure, 400, "invalid", NULL, "there is no member \"%.100s\" here; there are:", key
            );
            for (const char *const *name = names; *name != NULL; name++) {
                size_t used = strlen(failure->message);
                (void
                )snprintf(failure->message + used, sizeof(failure->message) - used, " %s", *name);
            }
            return false;
        }
    }
    return true;
}

bool document_string(
    const json_t *document,
    const char *name,
    struct ria_arena *arena,
    struct ria_slice *out_value,
    struct failure *failure
)
{
    const json_t *value = json_object_get(document, name);

    if (!json_is_string(value)) {
        failure_set(failure, 400, "invalid", name, "%s must be a string", name);
        return false;
    }
    struct ria_slice text = ria_slice_of(json_string_value(value), json_string_length(value));
    const char *copy = ria_arena_strdup(arena, text);
    if (copy == NULL) {
        failure_of_err(failure, RIA_ERR_NOMEM, "");
        return false;
    }
    *out_value = ria_slice_of(copy, text.size);
    return true;
}

bool document_i64(
    const json_t *document,
    const char *name,
    int64_t min,
    int64_t max,
    int64_t *out_value,
    struct failure *failure
)
{
    const json_t *value = json_object_get(document, name);
    int64_t number = 0;
    bool fine = true;

    if (value == NULL || json_is_null(value)) {
        return true;
    }
    if (json_is_integer(value)) {
        number = json_integer_value(value);
    } else {
        fine = json_is_string(value) &&
               request_parse_i64(ria_slice_cstr(json_string_value(value)), &number);
    }
    if (!fine || number < min || number > max) {
        failure_set(
            failure,
            400,
            "invalid",
            name,
            "%s must be a whole number from %lld to %lld",
            name,
            (long long)min,
            (long long)max
        );
        return false;
    }
    *out_value = number;
    return true;
}

struct ria_slice document_scalar(const json_t *value, struct ria_arena *arena)
{
    char text[64];

    if (json_is_string(value)) {
        struct ria_slice s = ria_slice_of(json_string_value(value), json_string_length(value));
        const char *copy = ria_arena_strdup(arena, s);
        return copy == NULL ? RIA_SLICE_NULL : ria_slice_of(copy, s.size);
    }
    if (json_is_integer(value)) {
        (void)snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        (void)snprintf(text, sizeof(text), "%.17g", json_real_value(value));
    } else if (json_is_boolean(value)) {
        (void)snprintf(text, sizeof(text), "%s", json_is_true(value) ? "true" : "false");
    } else {
        return RIA_SLICE_NULL;
    }
    return ria_slice_cstr(ria_arena_strdup(arena, ria_slice_cstr(text)));
}
