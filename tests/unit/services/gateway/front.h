/* front: a gateway with a few topics, and a client's requests to it one by one; storage answers as
 * the test says (world.h). */
#pragma once

#include "common/base.h"

#include "services/gateway/gateway.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/world.h"

#define V2_JSON   "application/vnd.kafka.json.v2+json"
#define V2_BINARY "application/vnd.kafka.binary.v2+json"

enum { FRONT_BODY_MAX = 4096 };

struct front {
    struct world world;
    struct gateway *gateway;
    struct fake_request fake;
};

/* Topics: "t" with 6 partitions, "one" and "small" (batches of 1 KiB at most) with one. */
void front_init(struct front *s);
void front_fini(struct front *s);

/* Hands on s->fake, as the web server does. type NULL: the request has no Content-Type. */
void front_start(struct front *s, const char *type);
void front_post(struct front *s, const char *path, const char *type, const char *body);
void front_get(struct front *s, const char *path);

/* Was the request answered once, with this status and this text in the body? Ends it; an answer
 * that is another is printed. */
bool front_answered(struct front *s, int status, const char *part);

/* Is the request refused with that, without a call to a storage node? */
bool front_is_refused(
    struct front *s,
    const char *path,
    const char *type,
    const char *body,
    int status,
    const char *part
);

/* The oldest call of this api to a storage node; there must be one. */
struct world_call *front_next(struct front *s, int16_t api_key);

/* Answer the oldest produce as stored, or the oldest ListOffsets (found -1: no such time). */
void front_ack(struct front *s, int64_t base_offset);
void front_reply_offsets(struct front *s, int64_t start_offset, int64_t end, int64_t found);
