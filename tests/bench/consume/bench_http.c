#include "tests/bench/consume/bench_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/assert.h"
#include "common/clock.h"

enum {
    HEAD_MAX = 32 * 1024,
    REQUEST_MAX = 64 * 1024,
    BODY_MAX = 128 * 1024 * 1024,
};

void bench_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    exit(1);
}

int64_t bench_now_us(void)
{
    return ria_clock_mono_us(ria_clock_system());
}

void bench_http_open(struct bench_http *http, int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int one = 1;

    *http = (struct bench_http){.capacity = HEAD_MAX, .data = malloc(HEAD_MAX)};
    RIA_ASSERT(http->data != NULL);
    http->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (http->fd < 0 || connect(http->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        bench_die("cannot connect to port %d", port);
    }
    (void)setsockopt(http->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void bench_http_send(
    struct bench_http *http,
    const char *method,
    const char *path,
    const char *accept,
    const char *type,
    const char *body
)
{
    char text[REQUEST_MAX];
    char about_body[128] = "";

    if (body != NULL) {
        (void)snprintf(
            about_body,
            sizeof(about_body),
            "Content-Type: %s\r\nContent-Length: %zu\r\n",
            type,
            strlen(body)
        );
    }
    int size = snprintf(
        text,
        sizeof(text),
        "%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n%s\r\n%s",
        method,
        path,
        accept == NULL ? "*/*" : accept,
        about_body,
        body == NULL ? "" : body
    );
    if (size <= 0 || (size_t)size >= sizeof(text)) {
        bench_die("a request of %d bytes is too long", size);
    }
    http->used = 0;
    http->head_size = 0;
    http->asked_us = bench_now_us();
    for (int sent = 0; sent < size;) {
        ssize_t n = send(http->fd, text + sent, (size_t)(size - sent), MSG_NOSIGNAL);
        if (n <= 0) {
            bench_die("the gateway closed a connection");
        }
        sent += (int)n;
    }
}

/* Sets *out_value to what stands behind `name:` at the start of a line of the head. */
static bool
find_header(const struct bench_http *http, const char *name, struct ria_slice *out_value)
{
    const char *at = (const char *)http->data;
    const char *end = at + http->head_size;
    size_t name_size = strlen(name);

    while (at < end) {
        const char *line_end = memchr(at, '\r', (size_t)(end - at));
        if (line_end == NULL) {
            return false;
        }
        if ((size_t)(line_end - at) > name_size && strncasecmp(at, name, name_size) == 0 &&
            at[name_size] == ':') {
            at += name_size + 1;
            while (at < line_end && *at == ' ') {
                at++;
            }
            *out_value = ria_slice_of(at, (size_t)(line_end - at));
            return true;
        }
        at = line_end + 2;
    }
    return false;
}

bool bench_http_header(const struct bench_http *http, const char *name, char *out, size_t room)
{
    struct ria_slice value;

    if (!find_header(http, name, &value)) {
        return false;
    }
    if (value.size >= room) {
        bench_die("the header %s has %zu bytes", name, value.size);
    }
    if (value.size > 0) {
        memcpy(out, value.data, value.size);
    }
    out[value.size] = '\0';
    return true;
}

/* The head is whole when its blank line is here. */
static void read_head(struct bench_http *http)
{
    const uint8_t *blank = memmem(http->data, http->used, "\r\n\r\n", 4);
    char number[32] = "0";

    if (blank == NULL) {
        if (http->used == HEAD_MAX) {
            bench_die("the head of a reply is too long");
        }
        return;
    }
    http->head_size = (size_t)(blank - http->data) + 4;
    /* Without a length there is no body: 204. */
    (void)bench_http_header(http, "Content-Length", number, sizeof(number));
    http->body_size = strtoul(number, NULL, 10);
    if (http->body_size > BODY_MAX) {
        bench_die("a body of %zu bytes is too long", http->body_size);
    }
    if (http->capacity < http->head_size + http->body_size) {
        http->capacity = http->head_size + http->body_size;
        http->data = realloc(http->data, http->capacity);
        RIA_ASSERT(http->data != NULL);
    }
}

bool bench_http_receive(struct bench_http *http)
{
    size_t whole = http->head_size + http->body_size;
    size_t room = http->head_size == 0 ? HEAD_MAX : whole;
    ssize_t n = recv(http->fd, http->data + http->used, room - http->used, MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        bench_die("the gateway closed a connection");
    }
    if (n < 0) {
        return false;
    }
    http->used += (size_t)n;
    if (http->head_size == 0) {
        read_head(http);
    }
    return http->head_size > 0 && http->used == http->head_size + http->body_size;
}

int bench_http_status(const struct bench_http *http)
{
    return atoi((const char *)http->data + sizeof("HTTP/1.1 ") - 1);
}

struct ria_slice bench_http_body(const struct bench_http *http)
{
    return ria_slice_of(http->data + http->head_size, http->body_size);
}

void bench_times_add(struct bench_times *times, int64_t us)
{
    if (times->count == times->capacity) {
        times->capacity = times->capacity == 0 ? 1024 : times->capacity * 2;
        times->us = realloc(times->us, times->capacity * sizeof(*times->us));
        RIA_ASSERT(times->us != NULL);
    }
    times->us[times->count++] = us;
}

static int compare_i64(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

double bench_times_ms(struct bench_times *times, size_t per_mille)
{
    if (times->count == 0) {
        return 0;
    }
    qsort(times->us, times->count, sizeof(*times->us), compare_i64);
    return (double)times->us[times->count * per_mille / 1000] / 1000;
}
