/* fake_request: a request that a test makes, and the answer it got. */
#pragma once

#include "common/base.h"

#include "services/gateway/request.h"

enum { FAKE_HEADERS_MAX = 16 };

struct fake_request {
    struct request request;
    struct {
        const char *name;
        const char *value;
    } headers[FAKE_HEADERS_MAX];
    uint32_t header_count;

    uint32_t answers; /* must become 1 */
    int status;
    char *body; /* of the answer, NUL-terminated */
    size_t body_size;
    char content_type[100];
    char fields[1024]; /* the answer's headers, "name: value\n" each */
};

/* path may have a query. body NULL: none. */
void fake_request_init(
    struct fake_request *fake, const char *method, const char *path, const char *body
);
void fake_request_header(struct fake_request *fake, const char *name, const char *value);
void fake_request_fini(struct fake_request *fake);

/* Is this text in the answer's body? */
bool fake_answer_has(const struct fake_request *fake, const char *text);
