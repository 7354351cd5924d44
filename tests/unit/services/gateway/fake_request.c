#include "tests/unit/services/gateway/fake_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/assert.h"

static const struct fake_request *fake_of(const struct request *request)
{
    return (const struct fake_request *)(const void *)request;
}
_Static_assert(offsetof(struct fake_request, request) == 0, "fake_of casts");

static struct ria_slice op_header(const struct request *request, const char *name)
{
    const struct fake_request *fake = fake_of(request);

    for (uint32_t i = 0; i < fake->header_count; i++) {
        if (strcasecmp(fake->headers[i].name, name) == 0) {
            return ria_slice_cstr(fake->headers[i].value);
        }
    }
    return RIA_SLICE_NULL;
}

static void op_each_header(const struct request *request, request_header_fn fn, void *arg)
{
    const struct fake_request *fake = fake_of(request);

    for (uint32_t i = 0; i < fake->header_count; i++) {
        fn(arg, ria_slice_cstr(fake->headers[i].name), ria_slice_cstr(fake->headers[i].value));
    }
}

static void end(struct fake_request *fake, bool complete)
{
    void (*release)(void *) = fake->release;

    fake->pull = NULL;
    fake->release = NULL;
    fake->ends++;
    fake->is_complete = complete;
    request_ended(&fake->request, complete);
    if (release != NULL) {
        release(fake->owner);
    }
}

static void op_respond(struct request *request, const struct response *response)
{
    struct fake_request *fake = RIA_CONTAINER(request, struct fake_request, request);

    fake->answers++;
    free(fake->body);
    fake->status = response->status;
    fake->body_size = response->size;
    fake->body = malloc(response->size + 1);
    RIA_ASSERT(fake->body != NULL);
    if (response->size > 0) {
        memcpy(fake->body, response->data, response->size);
    }
    fake->body[response->size] = '\0';
    (void)snprintf(
        fake->content_type,
        sizeof(fake->content_type),
        "%s",
        response->content_type == NULL ? "" : response->content_type
    );
    for (uint32_t i = 0; i < response->header_count; i++) {
        size_t used = strlen(fake->fields);
        (void)snprintf(
            fake->fields + used,
            sizeof(fake->fields) - used,
            "%s: %s\n",
            response->headers[i].name,
            response->headers[i].value
        );
    }
    fake->release = response->release;
    fake->owner = response->owner;
    fake->pull = response->pull;
    fake->wants = true;
    if (fake->pull == NULL) {
        end(fake, !fake->cut_off);
    }
}

static void op_more(struct request *request)
{
    struct fake_request *fake = RIA_CONTAINER(request, struct fake_request, request);

    fake->wants = fake->wants || !fake->is_asked; /* as the web server: it does not sleep */
}

static void op_watch_hangup(struct request *request)
{
    (void)request;
}

static void op_drop_body(struct request *request)
{
    /* What a handler still reads of it is wrong: let the sanitizer find out. */
    (void)request;
}

static const struct request_ops ops = {
    .header = op_header,
    .each_header = op_each_header,
    .respond = op_respond,
    .drop_body = op_drop_body,
    .more = op_more,
    .watch_hangup = op_watch_hangup,
};

static http_method method_of(const char *name)
{
    if (strcmp(name, "GET") == 0) {
        return HTTP_GET;
    }
    if (strcmp(name, "POST") == 0) {
        return HTTP_POST;
    }
    if (strcmp(name, "PUT") == 0) {
        return HTTP_PUT;
    }
    if (strcmp(name, "PATCH") == 0) {
        return HTTP_PATCH;
    }
    if (strcmp(name, "OPTIONS") == 0) {
        return HTTP_OPTIONS;
    }
    return strcmp(name, "DELETE") == 0 ? HTTP_DELETE : HTTP_OTHER;
}

void fake_request_init(
    struct fake_request *fake, const char *method, const char *path, const char *body
)
{
    const char *mark = strchr(path, '?');

    *fake = (struct fake_request){.status = 0};
    fake->request.ops = &ops;
    fake->request.method = method_of(method);
    fake->request.path = ria_slice_of(path, mark == NULL ? strlen(path) : (size_t)(mark - path));
    fake->request.query = ria_slice_cstr(mark == NULL ? "" : mark + 1);
    fake->request.body = ria_slice_cstr(body);
    ria_arena_init(&fake->request.arena, REQUEST_ARENA_MAX);
}

void fake_request_header(struct fake_request *fake, const char *name, const char *value)
{
    RIA_ASSERT(fake->header_count < FAKE_HEADERS_MAX);
    fake->headers[fake->header_count].name = name;
    fake->headers[fake->header_count++].value = value;
}

void fake_request_take(struct fake_request *fake, size_t piece_max, uint32_t pieces_max)
{
    size_t room = piece_max == 0 ? 16 * 1024 : piece_max;

    for (uint32_t i = 0; fake->pull != NULL && (pieces_max == 0 || i < pieces_max); i++) {
        char *body = realloc(fake->body, fake->body_size + room + 1);
        RIA_ASSERT(body != NULL);
        fake->body = body;
        fake->wants = false;
        fake->is_asked = true;
        int64_t given = fake->pull(fake->owner, (uint8_t *)body + fake->body_size, room);
        fake->is_asked = false;
        if (given < 0) {
            fake->is_aborted = given == RESPONSE_ABORT;
            end(fake, given == RESPONSE_END);
        } else {
            fake->body_size += (size_t)given;
            fake->wants = fake->wants || given > 0;
        }
        body[fake->body_size] = '\0';
        if (given == 0) {
            return;
        }
    }
}

void fake_request_hang_up(struct fake_request *fake)
{
    request_hung_up(&fake->request);
    if (fake->pull != NULL) {
        end(fake, false);
    }
}

void fake_request_fini(struct fake_request *fake)
{
    if (fake->pull != NULL) {
        end(fake, false);
    }
    ria_arena_fini(&fake->request.arena);
    free(fake->body);
    fake->body = NULL;
}

bool fake_answer_has(const struct fake_request *fake, const char *text)
{
    return fake->body != NULL && strstr(fake->body, text) != NULL;
}
