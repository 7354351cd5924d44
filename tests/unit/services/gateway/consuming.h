/* consuming: a gateway and a few clients of groups; the coordinator's side of groups
 * (group_world.h) and storage (world.h) answer as the test says. Each answer runs the world. */
#pragma once

#include "common/base.h"
#include "common/err.h"

#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_read.h"

#include "services/gateway/gateway.h"
#include "services/gateway/group_ops.h"
#include "tests/unit/services/gateway/fake_request.h"
#include "tests/unit/services/gateway/group_world.h"
#include "tests/unit/services/gateway/world.h"

enum { CONSUMING_CLIENTS = 6, CONSUMING_PATH_MAX = 1024 };

/* Topic "t" has three partitions, led by nodes 1, 2 and 3; "one" has one, led by node 1. */
struct consuming {
    struct world world;
    struct world_topic *t;
    struct world_topic *one;
    struct gateway *gateway;
    struct fake_request fakes[CONSUMING_CLIENTS];
    struct group_world_request asked; /* since consuming_expect() */
};

void consuming_init(struct consuming *s);

/* Checks that nothing is left in the budget. */
void consuming_fini(struct consuming *s);

/* Another gateway on the same world, started. */
void consuming_add_gateway(struct consuming *s, struct gateway **out_gateway);

/* --- the client --------------------------------------------------------------------------------*/

/* Client i's next request (body NULL: none) instead of its last; headers may be added before it is
 * sent. */
void consuming_begin(
    struct consuming *s, int i, const char *method, const char *path, const char *body
);
void consuming_send(struct consuming *s, int i);

/* Both at once; a POST is of JSON. */
void consuming_get(struct consuming *s, int i, const char *path);
void consuming_get_as(struct consuming *s, int i, const char *path, const char *accept);
void consuming_post(struct consuming *s, int i, const char *path, const char *body);

/* Has client i one answer, with this status and this text in its body? Another is printed. */
bool consuming_answered(const struct consuming *s, int i, int status, const char *part);
bool consuming_waits(const struct consuming *s, int i);

/* The cursor of client i's answer behind `before`, in `out`. */
const char *consuming_with_cursor(
    const struct consuming *s, int i, const char *before, char out[CONSUMING_PATH_MAX]
);

/* Group g's cursor of partition 0 of t (lease 11, behind 8) and of one (lease 12, behind 4), in
 * `out` behind `before`. */
const char *
consuming_with_both(const struct consuming *s, const char *before, char out[CONSUMING_PATH_MAX]);

/* --- the coordinator ---------------------------------------------------------------------------*/

/* The next request has this many operations, the first of this kind, whose body is returned. */
const void *consuming_expect(struct consuming *s, uint32_t count, group_op_kind kind);
const struct group_read *consuming_expect_read(struct consuming *s);     /* alone */
const struct group_commit *consuming_expect_commit(struct consuming *s); /* alone */
bool consuming_nothing_asked(struct consuming *s);

/* Answer it: as s->asked says, or its first operation with a result or a refusal. */
void consuming_answer(struct consuming *s);
void consuming_answer_with(struct consuming *s, const void *result);
void consuming_refuse(struct consuming *s, ria_err err, const char *text);

/* Answer a Read. Leases 11, 12, ... of the first partitions of t, from the offset on. */
void consuming_grant(struct consuming *s, uint32_t count, int64_t offset);

/* The first partitions of t are free and stand at the offset (-1: nowhere yet). */
void consuming_offer(struct consuming *s, uint32_t count, int64_t offset);

/* --- storage -----------------------------------------------------------------------------------*/

/* The oldest call of this api to a storage node; there must be one. */
struct world_call *consuming_next(struct consuming *s, int16_t api_key);

/* The newest watch of that partition's leader: its high watermark (-1: nothing has moved). */
void consuming_say_mark(struct consuming *s, int32_t partition, int64_t high_watermark);
void consuming_say_written(
    struct consuming *s, int32_t partition, int64_t high_watermark, int64_t log_end
);
void consuming_say_nothing_moved(struct consuming *s); /* of any partition */

/* The oldest ListOffsets; no offset is found for a time. */
void consuming_say_range(struct consuming *s, int64_t start, int64_t high_watermark);

/* The oldest Fetch: `count` records from the offset on, each with value "1"; the log ends there. */
void consuming_give_records(struct consuming *s, int64_t offset, int count);

/* Client 0 has two records of partition 0 from offset 7 on, under lease 11. */
void consuming_read_two(struct consuming *s);
