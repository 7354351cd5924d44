#include "tests/unit/services/gateway/front.h"

#include <stdio.h>

#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/service.h"
#include "tests/lib/harness.h"

void front_init(struct front *s)
{
    const struct gateway_options options = {
        .coordinator = "tcp://c",
        .body_max = FRONT_BODY_MAX,
        .request_timeout_ms = 30000,
    };

    world_init(&s->world, 3);
    (void)world_add_topic(&s->world, "t", 6);
    (void)world_add_topic(&s->world, "one", 1);
    world_add_topic(&s->world, "small", 1)->max_message_bytes = "1024";
    CU_ASSERT_EQUAL_FATAL(
        gateway_new(&s->world.env, &options, &s->world.budget, NULL, &s->gateway), RIA_OK
    );
    gateway_start(s->gateway);
    world_run(&s->world);
}

void front_fini(struct front *s)
{
    gateway_free(s->gateway);
    world_fini(&s->world);
    CU_ASSERT_EQUAL(s->world.budget.used.value, 0);
}

/* As the web server does it: begin, then handle unless begin has answered. */
void front_start(struct front *s, const char *type)
{
    size_t body_max = 0;

    if (type != NULL) {
        fake_request_header(&s->fake, "Content-Type", type);
    }
    s->fake.request.received_us = s->world.now_us;
    gateway_begin(s->gateway, &s->fake.request, &body_max);
    if (s->fake.answers == 0) {
        gateway_handle(s->gateway, &s->fake.request);
    }
    world_run(&s->world);
}

void front_post(struct front *s, const char *path, const char *type, const char *body)
{
    fake_request_init(&s->fake, "POST", path, body);
    front_start(s, type);
}

void front_get(struct front *s, const char *path)
{
    fake_request_init(&s->fake, "GET", path, NULL);
    front_start(s, NULL);
}

bool front_answered(struct front *s, int status, const char *part)
{
    bool same = s->fake.answers == 1 && s->fake.status == status && fake_answer_has(&s->fake, part);

    if (!same) {
        (void)printf("[%d %s]", s->fake.status, s->fake.body == NULL ? "" : s->fake.body);
    }
    fake_request_fini(&s->fake);
    return same;
}

struct world_call *front_next(struct front *s, int16_t api_key)
{
    struct world_call *call = world_next_call(&s->world, api_key);

    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    return call;
}

void front_ack(struct front *s, int64_t base_offset)
{
    world_ack(&s->world, front_next(s, API_PRODUCE), base_offset);
    world_run(&s->world);
}

bool front_is_refused(
    struct front *s,
    const char *path,
    const char *type,
    const char *body,
    int status,
    const char *part
)
{
    front_post(s, path, type, body);
    return front_answered(s, status, part) && world_call_count(&s->world) == 0;
}

void front_reply_offsets(struct front *s, int64_t start_offset, int64_t end, int64_t found)
{
    struct list_offsets_response response;

    list_offsets_response_init(&response);
    response.log_start_offset = start_offset;
    response.high_watermark = end;
    response.offset = found;
    response.offset_timestamp = found < 0 ? -1 : 1234;
    world_reply(&s->world, front_next(s, API_LIST_OFFSETS), &response, RIA_SLICE_NULL);
    world_run(&s->world);
}
