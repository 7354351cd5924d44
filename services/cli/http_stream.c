#include "services/cli/http_stream.h"

#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>

enum { CONNECT_TIMEOUT_MS = 5000, URL_BYTES_MAX = 8192, HEADER_BYTES_MAX = HTTP_CURSOR_MAX + 32 };

struct http_stream {
    CURL *curl;
    CURLM *multi;
    struct curl_slist *headers;
    http_stream_fn fn;
    void *arg;
    struct http_reply *reply;
};

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_stream *stream = arg;
    size_t length = size * count;
    long status = 0;
    bool fine;

    (void)curl_easy_getinfo(stream->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200) {
        fine = stream->fn(stream->arg, ria_slice_of(data, length));
    } else {
        fine = ria_buf_append(&stream->reply->body, data, length) == RIA_OK;
    }
    return fine ? length : 0;
}

static bool make_headers(struct http_stream *stream, const char *last_id)
{
    char line[HEADER_BYTES_MAX];

    stream->headers = curl_slist_append(NULL, "Accept: text/event-stream");
    if (stream->headers != NULL && last_id[0] != '\0') {
        (void)snprintf(line, sizeof(line), "Last-Event-ID: %s", last_id);
        struct curl_slist *more = curl_slist_append(stream->headers, line);
        if (more == NULL) {
            return false;
        }
        stream->headers = more;
    }
    return stream->headers != NULL;
}

static void set_options(struct http_stream *stream, const char *url)
{
    CURL *curl = stream->curl;

    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, stream->reply->error);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, stream);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, stream->headers);
}

ria_err http_stream_open(
    struct http_client *client,
    const char *path,
    const char *last_id,
    http_stream_fn fn,
    void *arg,
    struct http_reply *reply,
    struct http_stream **out_stream
)
{
    struct http_stream *stream = calloc(1, sizeof(*stream));
    char url[URL_BYTES_MAX];

    http_reply_clear(reply);
    int length = snprintf(url, sizeof(url), "%s%s", http_client_gateway(client), path);
    if (length < 0 || (size_t)length >= sizeof(url)) {
        free(stream);
        return RIA_ERR_TOO_LARGE;
    }
    if (stream == NULL) {
        return RIA_ERR_NOMEM;
    }
    stream->fn = fn;
    stream->arg = arg;
    stream->reply = reply;
    stream->curl = curl_easy_init();
    stream->multi = curl_multi_init();
    if (stream->curl == NULL || stream->multi == NULL || !make_headers(stream, last_id)) {
        http_stream_close(stream);
        return RIA_ERR_NOMEM;
    }
    set_options(stream, url);
    if (curl_multi_add_handle(stream->multi, stream->curl) != CURLM_OK) {
        http_stream_close(stream);
        return RIA_ERR_NOMEM;
    }
    *out_stream = stream;
    return RIA_OK;
}

/* How it ended, once it has. */
static http_stream_state ended(struct http_stream *stream)
{
    struct http_reply *reply = stream->reply;
    int left = 0;
    const CURLMsg *message = curl_multi_info_read(stream->multi, &left);
    CURLcode code = message == NULL ? CURLE_RECV_ERROR : message->data.result;

    (void)curl_easy_getinfo(stream->curl, CURLINFO_RESPONSE_CODE, &reply->status);
    if (code == CURLE_OK) {
        return HTTP_STREAM_ENDED;
    }
    if (reply->error[0] == '\0') {
        (void)snprintf(reply->error, sizeof(reply->error), "%s", curl_easy_strerror(code));
    }
    return HTTP_STREAM_BROKEN;
}

http_stream_state http_stream_step(struct http_stream *stream, int fd, int timeout_ms)
{
    struct curl_waitfd extra = {.fd = fd, .events = CURL_WAIT_POLLIN};
    int running = 0;

    if (curl_multi_perform(stream->multi, &running) == CURLM_OK && running > 0) {
        (void)curl_multi_poll(stream->multi, &extra, fd < 0 ? 0 : 1, timeout_ms, NULL);
        if (curl_multi_perform(stream->multi, &running) == CURLM_OK && running > 0) {
            return HTTP_STREAM_GOES_ON;
        }
    }
    return ended(stream);
}

void http_stream_close(struct http_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    if (stream->multi != NULL && stream->curl != NULL) {
        (void)curl_multi_remove_handle(stream->multi, stream->curl);
    }
    curl_easy_cleanup(stream->curl);
    (void)curl_multi_cleanup(stream->multi);
    curl_slist_free_all(stream->headers);
    free(stream);
}
