/* sim_http: HTTP requests and answers as frames of the simulated network, so that they are late,
 * lost or cut off like everything else. The client's side; sim_front.h is the gateway's.
 *
 * A frame is text: a first line ("GET /path" or "200"), "Name: value" lines, an empty line, the
 * body.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/env.h"
#include "common/slice.h"

enum { SIM_HTTP_FRAME_MAX = 16 * 1024 * 1024 };

/* A frame taken apart; borrows it. */
struct sim_http {
    struct ria_slice first;
    struct ria_slice headers; /* the lines */
    struct ria_slice body;
};

/* False: it is none. */
bool sim_http_open(const struct ria_msg *msg, struct sim_http *out_http);

/* In any case; null: there is none. */
struct ria_slice sim_http_header(const struct sim_http *http, const char *name);

/* Take the next line off *headers. False: that was the last one. */
bool sim_http_next_header(
    struct ria_slice *headers, struct ria_slice *out_name, struct ria_slice *out_value
);

/* A header that is a decimal number; fallback if there is none. */
int64_t sim_http_header_i64(const struct sim_http *http, const char *name, int64_t fallback);

/* status is 0 if no answer came: err says why, and http is empty. All is valid for the callback. */
typedef void (*sim_http_done_fn)(void *arg, ria_err err, int status, const struct sim_http *http);

/* head is first line and headers, each with its newline. Out of memory aborts. */
void sim_http_call(
    const struct ria_env *env,
    const char *address,
    const char *head,
    struct ria_slice body,
    uint32_t timeout_ms,
    sim_http_done_fn done,
    void *arg
);

/* Out of memory aborts. */
struct ria_msg *sim_http_frame(const char *head, struct ria_slice body);

/* The error that an answer's body names, and whether it is certain that nothing was stored. RIA_OK:
 * it names none. */
ria_err sim_http_error(struct ria_slice body, bool *out_is_definite);
