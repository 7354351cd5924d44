#include "tests/sim/sim_http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/assert.h"

struct http_call {
    sim_http_done_fn done;
    void *arg;
};

/* ---- frames ---- */

/* Take what is before the next newline off *text. False: there is no newline. */
static bool take_line(struct ria_slice *text, struct ria_slice *out_line)
{
    const uint8_t *end = text->size == 0 ? NULL : memchr(text->data, '\n', text->size);

    if (end == NULL) {
        return false;
    }
    size_t size = (size_t)(end - text->data);
    *out_line = ria_slice_sub(*text, 0, size);
    *text = ria_slice_sub(*text, size + 1, text->size);
    return true;
}

bool sim_http_open(const struct ria_msg *msg, struct sim_http *out_http)
{
    struct ria_slice rest = ria_slice_of(ria_msg_data(msg), ria_msg_size(msg));
    struct ria_slice line;

    if (!take_line(&rest, &out_http->first)) {
        return false;
    }
    const uint8_t *begin = rest.data;
    do {
        out_http->headers = ria_slice_of(begin, (size_t)(rest.data - begin));
        if (!take_line(&rest, &line)) {
            return false;
        }
    } while (line.size > 0);
    out_http->body = rest;
    return true;
}

bool sim_http_next_header(
    struct ria_slice *headers, struct ria_slice *out_name, struct ria_slice *out_value
)
{
    struct ria_slice line;

    if (!take_line(headers, &line)) {
        return false;
    }
    const uint8_t *colon = memchr(line.data, ':', line.size);
    RIA_ASSERT(colon != NULL);
    size_t size = (size_t)(colon - line.data);
    *out_name = ria_slice_sub(line, 0, size);
    *out_value = ria_slice_sub(line, size + 2, line.size);
    return true;
}

struct ria_slice sim_http_header(const struct sim_http *http, const char *name)
{
    struct ria_slice headers = http->headers;
    struct ria_slice found;
    struct ria_slice value;

    while (sim_http_next_header(&headers, &found, &value)) {
        if (found.size == strlen(name) &&
            strncasecmp((const char *)found.data, name, found.size) == 0) {
            return value;
        }
    }
    return RIA_SLICE_NULL;
}

int64_t sim_http_header_i64(const struct sim_http *http, const char *name, int64_t fallback)
{
    struct ria_slice value = sim_http_header(http, name);

    return value.size == 0 ? fallback : strtoll((const char *)value.data, NULL, 10);
}

struct ria_msg *sim_http_frame(const char *head, struct ria_slice body)
{
    size_t head_size = strlen(head);
    struct ria_msg *msg = ria_msg_new(head_size + 1 + body.size);

    RIA_ASSERT(msg != NULL);
    memcpy(ria_msg_data(msg), head, head_size);
    ria_msg_data(msg)[head_size] = '\n';
    if (body.size > 0) {
        memcpy(ria_msg_data(msg) + head_size + 1, body.data, body.size);
    }
    return msg;
}

/* ---- calls ---- */

static void on_answer(void *arg, ria_err err, struct ria_msg *reply)
{
    struct http_call *call = arg;
    struct sim_http http = {.body = RIA_SLICE_NULL};
    int status = 0;

    if (err == RIA_OK) {
        bool is_http = sim_http_open(reply, &http);
        RIA_ASSERT(is_http);
        status = atoi((const char *)http.first.data);
    }
    call->done(call->arg, err, status, &http);
    ria_msg_free(reply);
    free(call);
}

void sim_http_call(
    const struct ria_env *env,
    const char *address,
    const char *head,
    struct ria_slice body,
    uint32_t timeout_ms,
    sim_http_done_fn done,
    void *arg
)
{
    struct http_call *call = calloc(1, sizeof(*call));

    RIA_ASSERT(call != NULL);
    *call = (struct http_call){.done = done, .arg = arg};
    ria_rpc_call(env->rpc, address, sim_http_frame(head, body), timeout_ms, on_answer, call);
}

/* ---- errors ---- */

/* Words of docs/http.md. */
static const struct {
    const char *code;
    ria_err err;
} codes[] = {
    {"overloaded", RIA_ERR_BUSY},
    {"storage_error", RIA_ERR_IO},
    {"damaged", RIA_ERR_CORRUPT},
    {"no_leader", RIA_ERR_NO_LEADER},
    {"not_leader", RIA_ERR_NOT_LEADER},
    {"not_enough_replicas", RIA_ERR_NOT_ENOUGH_REPLICAS},
    {"busy", RIA_ERR_BUSY},
    {"no_space", RIA_ERR_NO_SPACE},
    {"timeout", RIA_ERR_TIMEOUT},
    {"unreachable", RIA_ERR_DISCONNECTED},
    {"shutting_down", RIA_ERR_SHUTDOWN},
    {"not_ready", RIA_ERR_NO_LEADER},
    {"unknown_topic", RIA_ERR_UNKNOWN_TOPIC},
    {"offset_out_of_range", RIA_ERR_OFFSET_OUT_OF_RANGE},
    {"out_of_order_sequence", RIA_ERR_OUT_OF_ORDER},
    {"fenced_producer", RIA_ERR_FENCED_PRODUCER},
    {"not_found", RIA_ERR_NOT_FOUND},
    {"conflict", RIA_ERR_CONFLICT},
    {"lost", RIA_ERR_CONFLICT},
};

static bool has(struct ria_slice text, const char *word)
{
    return text.size > 0 && memmem(text.data, text.size, word, strlen(word)) != NULL;
}

ria_err sim_http_error(struct ria_slice body, bool *out_is_definite)
{
    static const char mark[] = "\"code\":\"";
    const char *found =
        body.size == 0 ? NULL : memmem(body.data, body.size, mark, sizeof(mark) - 1);

    *out_is_definite = !has(body, "\"outcome\":\"unknown\"");
    if (found == NULL) {
        return RIA_OK;
    }
    const char *code = found + sizeof(mark) - 1;
    size_t room = body.size - (size_t)(code - (const char *)body.data);
    for (size_t i = 0; i < RIA_COUNT(codes); i++) {
        size_t size = strlen(codes[i].code);
        if (size < room && memcmp(code, codes[i].code, size) == 0 && code[size] == '"') {
            return codes[i].err;
        }
    }
    return RIA_ERR_INVALID; /* one that no client of ours should see */
}
