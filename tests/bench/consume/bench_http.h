/* bench_http: keep-alive HTTP for load generators, as cheap as it gets: one reply at a time on a
 * connection, read whole into one buffer. Whatever should not happen ends the program.
 *
 * Thread: any, one at a time.
 */
#pragma once

#include "common/base.h"
#include "common/slice.h"

struct bench_http {
    int fd;
    uint8_t *data; /* head and body of one reply */
    size_t used;
    size_t capacity;
    size_t head_size; /* 0: not whole yet */
    size_t body_size;
    int64_t asked_us;
};

/* How long things took. */
struct bench_times {
    int64_t *us;
    size_t count;
    size_t capacity;
};

void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

int64_t bench_now_us(void);

/* To 127.0.0.1. */
void bench_http_open(struct bench_http *http, int port);

/* Nothing is under way on it. `path` with its query; `accept` and `body` may be NULL; a body is
 * sent as `type`. */
void bench_http_send(
    struct bench_http *http,
    const char *method,
    const char *path,
    const char *accept,
    const char *type,
    const char *body
);

/* Takes what has come. True when the reply is whole; it stays until the next send. */
bool bench_http_receive(struct bench_http *http);

int bench_http_status(const struct bench_http *http);
struct ria_slice bench_http_body(const struct bench_http *http);

/* Of a header as text; false if it is not there. */
bool bench_http_header(const struct bench_http *http, const char *name, char *out, size_t room);

void bench_times_add(struct bench_times *times, int64_t us);

/* Sorts. per_mille 500 is the median; 0 of nothing. */
double bench_times_ms(struct bench_times *times, size_t per_mille);
