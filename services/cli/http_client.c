#include "services/cli/http_client.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

enum {
    BODY_BYTES_MAX = 64 * 1024 * 1024,
    CONNECT_TIMEOUT_MS = 5000,
    CALL_TIMEOUT_MS = 120 * 1000,
    URL_BYTES_MAX = 8192,
    GATEWAYS_MAX = 64,
};

struct http_client {
    CURL *curl;
    char *text; /* what the gateways point into */
    char *gateways[GATEWAYS_MAX];
    size_t count;
    size_t current;
    int timeout_ms;
    bool (*stops)(void *arg); /* NULL: nothing ends a call */
    void *stops_arg;
};

/* Cut at the commas, without slashes at their ends. */
static void take_gateways(struct http_client *client)
{
    char *rest = client->text;
    char *gateway;

    while (client->count < GATEWAYS_MAX && (gateway = strsep(&rest, ",")) != NULL) {
        size_t length = strlen(gateway);
        while (length > 0 && gateway[length - 1] == '/') {
            gateway[--length] = '\0';
        }
        if (length > 0) {
            client->gateways[client->count++] = gateway;
        }
    }
}

ria_err http_client_new(const char *gateways, struct http_client **out_client)
{
    struct http_client *client = calloc(1, sizeof(*client));

    if (client == NULL) {
        return RIA_ERR_NOMEM;
    }
    client->timeout_ms = CALL_TIMEOUT_MS;
    client->text = strdup(gateways);
    client->curl = curl_easy_init();
    if (client->text == NULL || client->curl == NULL) {
        http_client_free(client);
        return RIA_ERR_NOMEM;
    }
    take_gateways(client);
    if (client->count == 0) {
        http_client_free(client);
        return RIA_ERR_INVALID;
    }
    *out_client = client;
    return RIA_OK;
}

const char *http_client_gateway(const struct http_client *client)
{
    return client->gateways[client->current];
}

size_t http_client_gateways(const struct http_client *client)
{
    return client->count;
}

void http_client_limit(
    struct http_client *client, int timeout_ms, bool (*stops)(void *arg), void *arg
)
{
    client->timeout_ms = timeout_ms;
    client->stops = stops;
    client->stops_arg = arg;
}

void http_client_next(struct http_client *client)
{
    client->current = (client->current + 1) % client->count;
}

void http_client_free(struct http_client *client)
{
    if (client == NULL) {
        return;
    }
    curl_easy_cleanup(client->curl);
    free(client->text);
    free(client);
}

void http_reply_init(struct http_reply *reply)
{
    *reply = (struct http_reply){0};
    ria_buf_init(&reply->body, BODY_BYTES_MAX);
}

void http_reply_clear(struct http_reply *reply)
{
    ria_buf_clear(&reply->body);
    reply->status = 0;
    reply->error[0] = '\0';
    reply->content_type[0] = '\0';
    reply->cursor[0] = '\0';
}

void http_reply_fini(struct http_reply *reply)
{
    ria_buf_fini(&reply->body);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_reply *reply = arg;

    /* Less than was given makes curl stop with CURLE_WRITE_ERROR. */
    return ria_buf_append(&reply->body, data, size * count) == RIA_OK ? size * count : 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    static const char name[] = "riacho-cursor:";
    struct http_reply *reply = arg;
    size_t length = size * count;
    size_t at = sizeof(name) - 1;

    if (length > at && strncasecmp(data, name, at) == 0) {
        while (at < length && data[at] == ' ') {
            at++;
        }
        while (length > at && (data[length - 1] == '\r' || data[length - 1] == '\n')) {
            length--;
        }
        (void)snprintf(reply->cursor, sizeof(reply->cursor), "%.*s", (int)(length - at), data + at);
    }
    return size * count;
}

/* Other than 0 ends the call. */
static int
on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    const struct http_client *client = arg;

    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return client->stops(client->stops_arg) ? 1 : 0;
}

static struct curl_slist *
make_headers(const char *content_type, const char *accept, struct curl_slist *headers)
{
    char line[256];

    if (content_type != NULL) {
        (void)snprintf(line, sizeof(line), "Content-Type: %s", content_type);
        headers = curl_slist_append(headers, line);
    }
    if (accept != NULL) {
        (void)snprintf(line, sizeof(line), "Accept: %s", accept);
        headers = curl_slist_append(headers, line);
    }
    /* No 100-continue round trip in front of larger bodies. */
    return curl_slist_append(headers, "Expect:");
}

static void set_options(
    struct http_client *client,
    const char *method,
    const char *url,
    const void *body,
    size_t body_size,
    struct http_reply *reply
)
{
    CURL *curl = client->curl;

    curl_easy_reset(curl);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)client->timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reply->error);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, reply);
    if (client->stops != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client);
    }
    if (body != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_size);
        (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    }
}

ria_err http_client_call(
    struct http_client *client,
    const char *method,
    const char *path,
    const char *content_type,
    const char *accept,
    const void *body,
    size_t body_size,
    struct http_reply *reply
)
{
    char url[URL_BYTES_MAX];
    struct curl_slist *headers = make_headers(content_type, accept, NULL);
    CURLcode code = CURLE_COULDNT_CONNECT;
    char *type = NULL;

    for (size_t i = 0; i < client->count && code == CURLE_COULDNT_CONNECT; i++) {
        http_reply_clear(reply);
        int length = snprintf(url, sizeof(url), "%s%s", http_client_gateway(client), path);
        if (length < 0 || (size_t)length >= sizeof(url)) {
            curl_slist_free_all(headers);
            return RIA_ERR_TOO_LARGE;
        }
        set_options(client, method, url, body, body_size, reply);
        (void)curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
        code = curl_easy_perform(client->curl);
        if (code == CURLE_COULDNT_CONNECT) {
            http_client_next(client);
        }
    }
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
        if (reply->error[0] == '\0') {
            (void)snprintf(reply->error, sizeof(reply->error), "%s", curl_easy_strerror(code));
        }
        return code == CURLE_WRITE_ERROR ? RIA_ERR_TOO_LARGE : RIA_ERR_DISCONNECTED;
    }
    (void)curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &reply->status);
    if (curl_easy_getinfo(client->curl, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != NULL) {
        (void)snprintf(reply->content_type, sizeof(reply->content_type), "%s", type);
    }
    return RIA_OK;
}

void http_escape(char *out, size_t out_size, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t at = 0;

    for (; *text != '\0' && at + 4 <= out_size; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("._~-", c) != NULL) {
            out[at++] = (char)c;
        } else {
            out[at++] = '%';
            out[at++] = hex[c >> 4];
            out[at++] = hex[c & 15];
        }
    }
    out[at] = '\0';
}
