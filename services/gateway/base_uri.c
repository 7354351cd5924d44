#include "services/gateway/base_uri.h"

#include <string.h>
#include <strings.h>

enum { HOST_SIZE_MAX = 300, PREFIX_SIZE_MAX = 300 };

#define DIGITS_AND_LETTERS "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* The first of a list, without spaces around it. */
static struct ria_slice first_of(struct ria_slice text)
{
    const uint8_t *comma = text.size == 0 ? NULL : memchr(text.data, ',', text.size);

    if (comma != NULL) {
        text.size = (size_t)(comma - text.data);
    }
    while (text.size > 0 && text.data[0] == ' ') {
        text = ria_slice_sub(text, 1, text.size);
    }
    while (text.size > 0 && text.data[text.size - 1] == ' ') {
        text.size--;
    }
    return text;
}

static bool consists_of(struct ria_slice text, const char *characters, size_t size_max)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\0' || strchr(characters, text.data[i]) == NULL) {
            return false;
        }
    }
    return text.size > 0 && text.size <= size_max;
}

static ria_err append_slice(struct ria_buf *out, struct ria_slice text)
{
    return ria_buf_append(out, text.data, text.size);
}

static ria_err append_host(struct ria_buf *out, const struct request *request)
{
    static const char *const names[] = {"X-Forwarded-Host", "Host"};

    for (size_t i = 0; i < RIA_COUNT(names); i++) {
        struct ria_slice host = first_of(request_header(request, names[i]));
        if (consists_of(host, DIGITS_AND_LETTERS "-._:[]", HOST_SIZE_MAX)) {
            return append_slice(out, host);
        }
    }
    return ria_buf_append_str(out, "localhost");
}

static ria_err append_prefix(struct ria_buf *out, const struct request *request)
{
    struct ria_slice prefix = first_of(request_header(request, "X-Forwarded-Prefix"));

    if (!consists_of(prefix, DIGITS_AND_LETTERS "-._~%/", PREFIX_SIZE_MAX) ||
        prefix.data[0] != '/') {
        return RIA_OK;
    }
    while (prefix.size > 0 && prefix.data[prefix.size - 1] == '/') {
        prefix.size--;
    }
    return append_slice(out, prefix);
}

ria_err base_uri_append(struct ria_buf *out, const struct request *request, const char *advertised)
{
    if (advertised != NULL && advertised[0] != '\0') {
        size_t size = strlen(advertised);
        while (size > 0 && advertised[size - 1] == '/') {
            size--;
        }
        return ria_buf_append(out, advertised, size);
    }
    struct ria_slice scheme = first_of(request_header(request, "X-Forwarded-Proto"));
    bool is_https =
        scheme.size == 5 && strncasecmp((const char *)scheme.data, "https", scheme.size) == 0;
    RIA_TRY(ria_buf_append_str(out, is_https ? "https://" : "http://"));
    RIA_TRY(append_host(out, request));
    return append_prefix(out, request);
}

ria_err base_uri_append_segment(struct ria_buf *out, struct ria_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c != '\0' && strchr(DIGITS_AND_LETTERS "-._~", c) != NULL) {
            RIA_TRY(ria_buf_append(out, &c, 1));
        } else {
            RIA_TRY(ria_buf_printf(out, "%%%02X", (unsigned)c));
        }
    }
    return RIA_OK;
}
