#include "tests/unit/services/gateway/instance.h"

#include <string.h>

#include "schemas/gen/group_member_result.h"
#include "schemas/gen/group_read.h"

#include "services/gateway/group_ops.h"
#include "tests/lib/harness.h"

enum { SESSION_MS = 300000 };

void instance_init(struct instance *s)
{
    consuming_init(&s->c);
    consumer_instance_init(&s->instance);
    s->instance.format = CONSUMER_JSON;
    s->instance.fetch_min_bytes = -1;
    s->instance.request_timeout_ms = 1000;
    s->is_subscribed = true;
}

void instance_fini(struct instance *s)
{
    consuming_fini(&s->c);
}

void instance_begin(struct instance *s, const char *method, const char *path, const char *body)
{
    consuming_begin(&s->c, 0, method, path, body);
    if (body != NULL) {
        fake_request_header(&s->c.fakes[0], "Content-Type", "application/vnd.kafka.v2+json");
    }
}

void instance_send(struct instance *s)
{
    consuming_send(&s->c, 0);
}

void instance_call(struct instance *s, const char *method, const char *path, const char *body)
{
    instance_begin(s, method, path, body);
    instance_send(s);
}

bool instance_answered(const struct instance *s, int status, const char *part)
{
    return consuming_answered(&s->c, 0, status, part);
}

const struct group_member *instance_expect_member(struct instance *s)
{
    return consuming_expect(&s->c, 1, GROUP_OP_MEMBER);
}

bool instance_is_plain_touch(const struct group_member *member, int32_t epoch)
{
    return !member->make && member->member_epoch == epoch && member->detail.data == NULL &&
           member->subscription == NULL && member->assignment == NULL &&
           member->session_ms == SESSION_MS &&
           ria_slice_equal(member->group, RIA_SLICE_LITERAL("g")) &&
           ria_slice_equal(member->member, RIA_SLICE_LITERAL("i"));
}

struct consumer_instance instance_detail_of(struct instance *s, const struct group_member *member)
{
    struct consumer_instance instance;

    CU_ASSERT_EQUAL_FATAL(
        consumer_detail_decode(member->detail, &s->c.asked.arena, &instance), RIA_OK
    );
    return instance;
}

void instance_tell(struct instance *s)
{
    struct group_member_result result;
    struct group_member_result_group_assigned assigned[2] = {{s->c.t->id, 0}, {s->c.t->id, 1}};
    uint8_t detail[CONSUMER_DETAIL_MAX];

    const struct group_member *asked =
        s->c.asked.kinds[0] == GROUP_OP_MEMBER ? s->c.asked.bodies[0] : NULL;

    group_member_result_init(&result);
    CU_ASSERT_EQUAL(consumer_detail_encode(&s->instance, detail, &result.detail), RIA_OK);
    bool is_expected = asked != NULL && (asked->detail_hash == 0 ||
                                         asked->detail_hash == consumer_detail_hash(result.detail));
    if (is_expected && asked->detail.data != NULL) {
        result.detail = asked->detail;
    }
    result.member_epoch = INSTANCE_EPOCH;
    if (s->is_subscribed) {
        result.subscription = &s->c.t->id;
        result.subscription_count = 1;
        result.assignment = assigned;
        result.assignment_count = 2;
    }
    consuming_answer_with(&s->c, &result);
}

const struct group_member *instance_poll_two(struct instance *s, const char *path)
{
    instance_begin(s, "GET", path, NULL);
    fake_request_header(&s->c.fakes[0], "Accept", INSTANCE_V2_JSON);
    instance_send(s);
    CU_ASSERT_TRUE(instance_is_plain_touch(instance_expect_member(s), -1));
    instance_tell(s);
    const struct group_read *read = consuming_expect(&s->c, 1, GROUP_OP_READ);
    CU_ASSERT_TRUE(read->hold);
    CU_ASSERT_EQUAL(read->member_epoch, INSTANCE_EPOCH);
    CU_ASSERT_EQUAL(read->commit_delivered, s->instance.auto_commit);
    consuming_grant(&s->c, 1, 7);
    consuming_give_records(&s->c, 7, 2);
    return instance_expect_member(s);
}
