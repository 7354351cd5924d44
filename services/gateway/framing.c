#include "services/gateway/framing.h"

#include <string.h>
#include <strings.h>

enum { LENGTH_DIGITS_MAX = 18 };

static bool is_name(struct ria_slice name, const char *wanted)
{
    return name.size == strlen(wanted) &&
           strncasecmp((const char *)name.data, wanted, name.size) == 0;
}

static void take_length(struct framing *framing, struct ria_slice value)
{
    framing->lengths++;
    framing->length = 0;
    framing->bad = framing->bad || value.size == 0 || value.size > LENGTH_DIGITS_MAX;
    for (size_t i = 0; i < value.size && !framing->bad; i++) {
        framing->bad = value.data[i] < '0' || value.data[i] > '9';
        framing->length = framing->length * 10 + (uint64_t)(value.data[i] - '0');
    }
}

static void look_at_header(void *arg, struct ria_slice name, struct ria_slice value)
{
    struct framing *framing = arg;

    framing->headers++;
    framing->size += name.size + value.size;
    if (name.size == 0 || memchr(name.data, ' ', name.size) != NULL ||
        memchr(name.data, '\t', name.size) != NULL) {
        framing->bad = true;
    }
    if (is_name(name, "Content-Length")) {
        take_length(framing, value);
    } else if (is_name(name, "Transfer-Encoding")) {
        framing->encodings++;
        framing->bad = framing->bad || !is_name(value, "chunked");
    } else if (is_name(name, "Expect")) {
        framing->expects_continue = is_name(value, "100-continue");
    }
}

int framing_check(const struct request *request, struct framing *out, const char **out_text)
{
    *out = (struct framing){.headers = 0};
    request_each_header(request, look_at_header, out);
    if (out->bad || out->lengths > 1 || out->encodings > 1 ||
        (out->lengths > 0 && out->encodings > 0)) {
        out->bad = true;
        *out_text = "the request does not say clearly how long it is: it needs one Content-Length "
                    "of digits, or Transfer-Encoding: chunked";
        return 400;
    }
    if (out->headers > REQUEST_HEADERS_MAX || out->size > REQUEST_HEAD_MAX) {
        out->bad = true;
        *out_text = "the request's head has more than 64 fields or 16 KiB";
        return 431;
    }
    return 0;
}

http_method framing_method(const char *name)
{
    static const struct {
        const char *name;
        http_method method;
    } methods[] = {
        {"GET", HTTP_GET},
        {"HEAD", HTTP_GET},
        {"POST", HTTP_POST},
        {"PUT", HTTP_PUT},
        {"PATCH", HTTP_PATCH},
        {"DELETE", HTTP_DELETE},
        {"OPTIONS", HTTP_OPTIONS},
    };

    for (size_t i = 0; i < RIA_COUNT(methods); i++) {
        if (strcmp(methods[i].name, name) == 0) {
            return methods[i].method;
        }
    }
    return HTTP_OTHER;
}
