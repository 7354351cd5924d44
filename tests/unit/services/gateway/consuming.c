#include "tests/unit/services/gateway/consuming.h"

#include <stdio.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/group_read_result.h"
#include "schemas/gen/list_offsets_response.h"
#include "schemas/gen/watch_response.h"

#include "services/gateway/cursor.h"
#include "services/gateway/service.h"
#include "tests/lib/harness.h"

enum { TIMEOUT_MS = 10 * 1000, GRANTS_MAX = 3, LEASE_FIRST = 11 };

void consuming_add_gateway(struct consuming *s, struct gateway **out_gateway)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = 1 << 20,
        .request_timeout_ms = TIMEOUT_MS,
    };

    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s->world.env, &options, &s->world.budget, NULL, out_gateway), RIA_OK
    );
    gateway_start(*out_gateway);
}

void consuming_init(struct consuming *s)
{
    memset(s->fakes, 0, sizeof(s->fakes));
    world_init(&s->world, 3);
    s->t = world_add_topic(&s->world, "t", 3);
    s->one = world_add_topic(&s->world, "one", 1);
    consuming_add_gateway(s, &s->gateway);
    world_run(&s->world);
}

void consuming_fini(struct consuming *s)
{
    gateway_free(s->gateway);
    for (int i = 0; i < CONSUMING_CLIENTS; i++) {
        if (s->fakes[i].request.ops != NULL) {
            fake_request_fini(&s->fakes[i]);
        }
    }
    world_fini(&s->world);
    CU_ASSERT_EQUAL(s->world.budget.used.value, 0);
    CU_ASSERT_EQUAL(s->world.budget.reads, 0);
}

/* --- the client --------------------------------------------------------------------------------*/

void consuming_begin(
    struct consuming *s, int i, const char *method, const char *path, const char *body
)
{
    if (s->fakes[i].request.ops != NULL) {
        fake_request_fini(&s->fakes[i]);
    }
    fake_request_init(&s->fakes[i], method, path, body);
}

void consuming_send(struct consuming *s, int i)
{
    size_t body_max = 0;

    s->fakes[i].request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &s->fakes[i].request, &body_max);
    if (s->fakes[i].answers == 0) {
        gateway_handle(s->gateway, &s->fakes[i].request);
    }
    world_run(&s->world);
}

void consuming_get_as(struct consuming *s, int i, const char *path, const char *accept)
{
    consuming_begin(s, i, "GET", path, NULL);
    fake_request_header(&s->fakes[i], "Accept", accept);
    consuming_send(s, i);
}

void consuming_get(struct consuming *s, int i, const char *path)
{
    consuming_get_as(s, i, path, "application/json");
}

void consuming_post(struct consuming *s, int i, const char *path, const char *body)
{
    consuming_begin(s, i, "POST", path, body);
    fake_request_header(&s->fakes[i], "Content-Type", "application/json");
    consuming_send(s, i);
}

bool consuming_answered(const struct consuming *s, int i, int status, const char *part)
{
    const struct fake_request *fake = &s->fakes[i];
    bool same = fake->answers == 1 && fake->status == status && fake_answer_has(fake, part);

    if (!same) {
        (void)printf("[%d %s]", fake->status, fake->body == NULL ? "" : fake->body);
    }
    return same;
}

bool consuming_waits(const struct consuming *s, int i)
{
    return s->fakes[i].answers == 0;
}

const char *consuming_with_cursor(
    const struct consuming *s, int i, const char *before, char out[CONSUMING_PATH_MAX]
)
{
    const char *at = strstr(s->fakes[i].fields, "Riacho-Cursor: ");

    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    at += strlen("Riacho-Cursor: ");
    (void)snprintf(out, CONSUMING_PATH_MAX, "%s%.*s", before, (int)strcspn(at, "\n"), at);
    return out;
}

/* --- the coordinator ---------------------------------------------------------------------------*/

const void *consuming_expect(struct consuming *s, uint32_t count, group_op_kind kind)
{
    CU_ASSERT_TRUE_FATAL(group_world_open(&s->world, &s->asked));
    CU_ASSERT_EQUAL_FATAL(s->asked.count, count);
    CU_ASSERT_EQUAL_FATAL(s->asked.kinds[0], (int8_t)kind);
    return s->asked.bodies[0];
}

const struct group_read *consuming_expect_read(struct consuming *s)
{
    return consuming_expect(s, 1, GROUP_OP_READ);
}

const struct group_commit *consuming_expect_commit(struct consuming *s)
{
    return consuming_expect(s, 1, GROUP_OP_COMMIT);
}

bool consuming_nothing_asked(struct consuming *s)
{
    return world_next_call(&s->world, API_GROUP) == NULL;
}

void consuming_answer(struct consuming *s)
{
    group_world_answer(&s->world, &s->asked);
    world_run(&s->world);
}

void consuming_answer_with(struct consuming *s, const void *result)
{
    s->asked.results[0] = result;
    consuming_answer(s);
}

void consuming_refuse(struct consuming *s, ria_err err, const char *text)
{
    s->asked.errs[0] = err;
    s->asked.texts[0] = text;
    consuming_answer(s);
}

void consuming_grant(struct consuming *s, uint32_t count, int64_t offset)
{
    struct group_read_result result;
    struct group_read_result_group_grant grants[GRANTS_MAX];

    group_read_result_init(&result);
    result.granted = grants;
    result.granted_count = count;
    result.changed = 5;
    for (uint32_t i = 0; i < count; i++) {
        grants[i] = (struct group_read_result_group_grant){
            .topic_id = s->t->id,
            .partition = (int32_t)i,
            .lease_id = LEASE_FIRST + i,
            .offset = offset,
            .left_ms = 30000,
        };
    }
    consuming_answer_with(s, &result);
}

void consuming_offer(struct consuming *s, uint32_t count, int64_t offset)
{
    struct group_read_result result;
    struct group_read_result_group_offer offers[GRANTS_MAX];

    group_read_result_init(&result);
    result.offered = offers;
    result.offered_count = count;
    result.changed = 5;
    for (uint32_t i = 0; i < count; i++) {
        offers[i] = (struct group_read_result_group_offer
        ){.topic_id = s->t->id, .partition = (int32_t)i, .offset = offset};
    }
    consuming_answer_with(s, &result);
}

/* --- storage -----------------------------------------------------------------------------------*/

struct world_call *consuming_next(struct consuming *s, int16_t api_key)
{
    struct world_call *call = world_next_call(&s->world, api_key);

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    return call;
}

/* The newest: a probe, or the watch that replaced older ones. */
static struct world_call *newest_watch(struct consuming *s, const char *address)
{
    struct world_call *found = NULL;

    RIA_LIST_FOREACH (link, &s->world.calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        if (call->api_key == API_WATCH && strcmp(call->address, address) == 0) {
            found = call;
        }
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    return found;
}

void consuming_say_mark(struct consuming *s, int32_t partition, int64_t high_watermark)
{
    consuming_say_written(s, partition, high_watermark, 0);
}

void consuming_say_written(
    struct consuming *s, int32_t partition, int64_t high_watermark, int64_t log_end
)
{
    static const char *const addresses[] = {"tcp://s1", "tcp://s2", "tcp://s3"};
    struct watch_response response;
    struct watch_response_watched_partition moved = {
        .topic_id = s->t->id,
        .partition = partition,
        .high_watermark = high_watermark,
        .log_end_offset = log_end,
    };

    watch_response_init(&response);
    if (high_watermark >= 0) {
        response.partitions = &moved;
        response.partitions_count = 1;
    }
    world_reply(&s->world, newest_watch(s, addresses[partition]), &response, RIA_SLICE_NULL);
    world_run(&s->world);
}

void consuming_say_nothing_moved(struct consuming *s)
{
    for (int32_t p = 0; p < 3; p++) {
        consuming_say_mark(s, p, -1);
    }
}

void consuming_say_range(struct consuming *s, int64_t start, int64_t high_watermark)
{
    struct list_offsets_response response;

    list_offsets_response_init(&response);
    response.log_start_offset = start;
    response.high_watermark = high_watermark;
    response.offset = -1;
    world_reply(&s->world, consuming_next(s, API_LIST_OFFSETS), &response, RIA_SLICE_NULL);
    world_run(&s->world);
}

void consuming_give_records(struct consuming *s, int64_t offset, int count)
{
    struct batch_builder builder;
    struct fetch_response response;
    struct world_call *fetch = consuming_next(s, API_FETCH);

    fetch_response_init(&response);
    response.high_watermark = offset + count;
    if (count == 0) {
        world_reply(&s->world, fetch, &response, RIA_SLICE_EMPTY);
        world_run(&s->world);
        return;
    }
    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(
            batch_builder_add(&builder, 5, RIA_SLICE_NULL, RIA_SLICE_LITERAL("1"), NULL, 0), RIA_OK
        );
    }
    struct ria_slice bytes = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(builder.buf.data, offset, 1);
    world_reply(&s->world, fetch, &response, bytes);
    batch_builder_fini(&builder);
    world_run(&s->world);
}

const char *
consuming_with_both(const struct consuming *s, const char *before, char out[CONSUMING_PATH_MAX])
{
    const struct cursor_entry entries[] = {{0, 9, 11}, {0, 5, 12}};
    struct cursor_topic topics[] = {{s->t->id, &entries[0], 1}, {s->one->id, &entries[1], 1}};
    const struct cursor cursor = {
        .kind = CURSOR_GROUP,
        .group = cursor_group_hash(RIA_SLICE_LITERAL("g")),
        .topics = topics,
        .topic_count = 2,
    };
    const struct ria_uuid cluster_id = {{1}};
    char text[CURSOR_TEXT_MAX + 1];
    size_t size = 0;

    if (memcmp(&topics[0].id, &topics[1].id, sizeof(topics[0].id)) > 0) {
        const struct cursor_topic first = topics[0];
        topics[0] = topics[1];
        topics[1] = first;
    }
    CU_ASSERT_EQUAL_FATAL(cursor_encode(&cursor, &cluster_id, text, &size), RIA_OK);
    (void)snprintf(out, CONSUMING_PATH_MAX, "%s%.500s", before, text);
    return out;
}

void consuming_read_two(struct consuming *s)
{
    consuming_get(s, 0, "/v1/groups/g/records?topics=t");
    (void)consuming_expect_read(s);
    consuming_grant(s, 1, 7);
    consuming_give_records(s, 7, 2);
}
