#include "services/gateway/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

void request_ended(struct request *request, bool complete)
{
    request_end_fn fn = request->on_end;

    request->on_end = NULL;
    if (fn != NULL) {
        fn(request->on_end_arg, complete);
    }
}

void request_hung_up(struct request *request)
{
    request_hangup_fn fn = request->on_hangup;

    request->on_hangup = NULL;
    if (fn != NULL) {
        fn(request->on_hangup_arg);
    }
}

void request_add_header(struct request *request, const char *name, const char *value)
{
    RIA_ASSERT(request->extra_count < RESPONSE_HEADERS_MAX);
    request->extra[request->extra_count++] = (struct response_field){name, value};
}

void request_add_header_i64(struct request *request, const char *name, int64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    const char *copy = ria_arena_strdup(&request->arena, ria_slice_cstr(text));
    if (copy != NULL) {
        request_add_header(request, name, copy);
    }
}

void request_respond(struct request *request, struct response *response)
{
    for (uint32_t i = 0; i < request->extra_count; i++) {
        RIA_ASSERT(response->header_count < RESPONSE_HEADERS_MAX);
        response->headers[response->header_count++] = request->extra[i];
    }
    request->extra_count = 0;
    request->ops->respond(request, response);
}

void request_respond_buf(
    struct request *request, int status, const char *content_type, struct ria_buf *buf
)
{
    uint8_t *data = NULL;
    size_t size = 0;

    ria_buf_take(buf, &data, &size);
    request_respond(
        request,
        &(struct response){
            .status = status,
            .content_type = content_type,
            .data = data,
            .size = size,
            .release = free,
            .owner = data,
        }
    );
}

void request_respond_static(
    struct request *request, int status, const char *content_type, const char *text
)
{
    request_respond(
        request,
        &(struct response){
            .status = status,
            .content_type = content_type,
            .data = (const uint8_t *)text,
            .size = text == NULL ? 0 : strlen(text),
        }
    );
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

ria_err request_decode(
    struct request *request, struct ria_slice text, bool plus_is_space, struct ria_slice *out_text
)
{
    char *out = ria_arena_alloc(&request->arena, text.size + 1);
    size_t size = 0;

    if (out == NULL) {
        return ria_arena_err(&request->arena);
    }
    for (size_t i = 0; i < text.size; i++) {
        int c = text.data[i];
        if (c == '%') {
            bool whole = text.size - i > 2;
            int high = whole ? hex_value(text.data[i + 1]) : -1;
            int low = whole ? hex_value(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return RIA_ERR_MALFORMED;
            }
            c = high << 4 | low;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == '\0') {
            return RIA_ERR_MALFORMED;
        }
        out[size++] = (char)c;
    }
    out[size] = '\0';
    *out_text = ria_slice_of(out, size);
    return RIA_OK;
}

/* Cuts the next name=value off the query; false at its end. */
static bool
next_pair(struct ria_slice *rest, struct ria_slice *out_name, struct ria_slice *out_value)
{
    while (rest->size > 0) {
        const uint8_t *end = memchr(rest->data, '&', rest->size);
        size_t size = end == NULL ? rest->size : (size_t)(end - rest->data);
        struct ria_slice pair = ria_slice_sub(*rest, 0, size);

        *rest = ria_slice_sub(*rest, size + 1, rest->size);
        if (size == 0) {
            continue;
        }
        const uint8_t *equals = memchr(pair.data, '=', size);
        size_t name_size = equals == NULL ? size : (size_t)(equals - pair.data);
        *out_name = ria_slice_sub(pair, 0, name_size);
        *out_value = ria_slice_sub(pair, name_size + 1, size);
        return true;
    }
    return false;
}

ria_err request_query(struct request *request, const char *name, struct ria_slice *out_value)
{
    return request_query_nth(request, name, 0, out_value);
}

ria_err request_query_nth(
    struct request *request, const char *name, uint32_t index, struct ria_slice *out_value
)
{
    struct ria_slice rest = request->query;
    struct ria_slice wanted = ria_slice_cstr(name);
    struct ria_slice pair_name;
    struct ria_slice value;

    while (next_pair(&rest, &pair_name, &value)) {
        if (ria_slice_equal(pair_name, wanted) && index-- == 0) {
            return request_decode(request, value, true, out_value);
        }
    }
    *out_value = RIA_SLICE_NULL;
    return RIA_OK;
}

const char *request_query_unknown(struct request *request, const char *const *names)
{
    struct ria_slice rest = request->query;
    struct ria_slice name;
    struct ria_slice value;

    while (next_pair(&rest, &name, &value)) {
        bool known = false;
        for (const char *const *at = names; *at != NULL && !known; at++) {
            known = ria_slice_equal(name, ria_slice_cstr(*at));
        }
        if (!known) {
            const char *copy = ria_arena_strdup(&request->arena, name);
            return copy == NULL ? "?" : copy;
        }
    }
    return NULL;
}

bool request_parse_i64(struct ria_slice text, int64_t *out_value)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    int64_t value = 0;

    if (text.size == (negative ? 1U : 0U)) {
        return false;
    }
    for (size_t i = negative; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.data[i] - '0', &value)) {
            return false;
        }
    }
    *out_value = negative ? -value : value;
    return true;
}
