#include "tests/unit/services/gateway/queueing.h"

#include <stdio.h>
#include <string.h>

#include "common/limits.h"

#include "schemas/batch.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/queue_ack_result.h"
#include "schemas/gen/queue_receive_result.h"

#include "tests/lib/harness.h"

void queueing_init(struct queueing *s)
{
    consuming_init(&s->c);
    s->finished = false;
    s->dead = world_add_topic(&s->c.world, "one.g.dead", 1);
    world_publish(&s->c.world);
    world_run(&s->c.world);
}

void queueing_fini(struct queueing *s)
{
    consuming_fini(&s->c);
}

void queueing_call(
    struct queueing *s, int i, const char *method, const char *path, const char *body
)
{
    consuming_begin(&s->c, i, method, path, body);
    fake_request_header(&s->c.fakes[i], "Content-Type", "application/json");
    consuming_send(&s->c, i);
}

void queueing_grant(struct queueing *s, int64_t first, int64_t last, bool unsettled)
{
    struct queue_receive_result result;
    struct queue_receive_result_queue_grant granted = {
        .lease_id = QUEUEING_LEASE,
        .first = first,
        .last = last,
        .deliveries = 1,
        .unsettled = unsettled,
        .left_ms = 30000,
    };

    queue_receive_result_init(&result);
    result.granted = &granted;
    result.granted_count = 1;
    result.key_order = unsettled;
    consuming_answer_with(&s->c, &result);
}

void queueing_say(struct queueing *s, const ria_err *errs, uint32_t count)
{
    struct queue_ack_result result;
    struct queue_ack_result_queue_acked entries[8];

    queue_ack_result_init(&result);
    for (uint32_t i = 0; i < count; i++) {
        queue_ack_result_queue_acked_init(&entries[i]);
        entries[i].error_code = (int16_t)errs[i];
        entries[i].finished = errs[i] != RIA_OK && s->finished;
        entries[i].error_text = errs[i] == RIA_OK ? RIA_SLICE_EMPTY : RIA_SLICE_LITERAL("too late");
    }
    result.entries = entries;
    result.entries_count = count;
    consuming_answer_with(&s->c, &result);
}

bool queueing_is_entry(
    const struct queue_ack *ack, uint32_t i, queue_verb verb, int64_t first, int64_t last
)
{
    return ack->entries_count > i && ack->entries[i].action == (int8_t)verb &&
           ack->entries[i].first == first && ack->entries[i].last == last &&
           ack->entries[i].lease_id == QUEUEING_LEASE;
}

void queueing_give(struct queueing *s, int64_t offset, const char *keys, int64_t at_ms)
{
    struct batch_builder builder;
    struct fetch_response response;
    char text[24];
    struct batch_record_header header = {.name = RIA_SLICE_LITERAL("riacho-deliver-at")};

    (void)snprintf(text, sizeof(text), "%lld", (long long)at_ms);
    header.value = ria_slice_cstr(text);
    fetch_response_init(&response);
    response.high_watermark = offset + (int64_t)strlen(keys);
    batch_builder_init(&builder, RIA_BATCH_SIZE_MAX);
    for (const char *key = keys; *key != '\0'; key++) {
        struct ria_slice slice = *key == '-' ? RIA_SLICE_NULL : ria_slice_of(key, 1);
        CU_ASSERT_EQUAL(
            batch_builder_add(
                &builder, 5, slice, RIA_SLICE_LITERAL("1"), &header, at_ms > 0 ? 1 : 0
            ),
            RIA_OK
        );
    }
    struct ria_slice bytes = batch_builder_finish(&builder, -1, -1, -1);
    batch_patch(builder.buf.data, offset, 1);
    world_reply(&s->c.world, consuming_next(&s->c, API_FETCH), &response, bytes);
    batch_builder_fini(&builder);
    world_run(&s->c.world);
}

void queueing_receive_three(struct queueing *s)
{
    queueing_call(s, 0, "POST", QUEUEING_PATH "/receive?max_records=3", NULL);
    (void)consuming_expect(&s->c, 1, GROUP_OP_QUEUE_RECEIVE);
    queueing_grant(s, 7, 9, false);
    queueing_give(s, 7, "---", 0);
}

const char *queueing_last_text(
    const struct queueing *s, int i, const char *member, char out[CONSUMING_PATH_MAX]
)
{
    const char *at = s->c.fakes[i].body;
    const char *found = NULL;

    while ((at = strstr(at, member)) != NULL) {
        at += strlen(member);
        found = at;
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    (void)snprintf(out, CONSUMING_PATH_MAX, "\"%.*s\"", (int)strcspn(found, "\""), found);
    return out;
}

const char *
queueing_with_locks(const struct queueing *s, const char *rest, char out[QUEUEING_BODY_MAX])
{
    char text[CONSUMING_PATH_MAX];

    (void)snprintf(
        out,
        QUEUEING_BODY_MAX,
        "{\"locks\":%s%s}",
        queueing_last_text(s, 0, "\"locks\":\"", text),
        rest
    );
    return out;
}
