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
    char fields[4096]; /* the answer's headers, "name: value\n" each */

    /* of a stream, whose pieces are appended to body */
    int64_t (*pull)(void *owner, uint8_t *out, size_t size); /* NULL: it is none, or has ended */
    void (*release)(void *owner);
    void *owner;
    bool is_asked;    /* for a piece, now */
    bool wants;       /* it gave something, or request_more() was called since */
    bool is_aborted;  /* RESPONSE_ABORT */
    bool is_complete; /* what request_on_end() was told */
    uint32_t ends;    /* answers that have ended: must become 1 */
    bool cut_off;     /* set by the test: the connection ends in the middle of an answer */
};

/* path may have a query. body NULL: none. */
void fake_request_init(
    struct fake_request *fake, const char *method, const char *path, const char *body
);
void fake_request_header(struct fake_request *fake, const char *name, const char *value);
void fake_request_fini(struct fake_request *fake);

/* The client takes what there is of a stream, in pieces of piece_max bytes (0: a usual size), at
 * most pieces_max of them (0: all). */
void fake_request_take(struct fake_request *fake, size_t piece_max, uint32_t pieces_max);

/* The client goes away in the middle of a stream, or before the answer. */
void fake_request_hang_up(struct fake_request *fake);

/* Is this text in the answer's body? */
bool fake_answer_has(const struct fake_request *fake, const char *text);
