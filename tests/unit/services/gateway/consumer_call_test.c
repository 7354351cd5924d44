/* What every call of Confluent's consumers does first. */
#include "services/gateway/consumer_call.h"

#include <stdio.h>

#include "schemas/gen/group_read.h"

#include "services/gateway/group_ops.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/instance.h"

enum { MS = 1000 };

static void who_is_gone_or_taken_over_is_not_found(void)
{
    static const char *const paths[] = {"", "/records", "/subscription", "/assignments"};
    struct instance s;

    instance_init(&s);
    for (size_t i = 0; i < RIA_COUNT(paths); i++) {
        char path[100];
        (void)snprintf(path, sizeof(path), INSTANCE_PATH ";epoch=4%s", paths[i]);
        instance_call(&s, i == 0 ? "DELETE" : "GET", path, NULL);
        (void)instance_expect_member(&s);
        consuming_refuse(&s.c, i % 2 == 0 ? RIA_ERR_NOT_FOUND : RIA_ERR_FENCED_EPOCH, "gone");
        CU_ASSERT_TRUE(instance_answered(&s, 404, "{\"error_code\":40403,\"message\":\"gone\"}"));
    }
    /* A member that /v1 named is no instance. */
    instance_call(&s, "GET", INSTANCE_PATH "/assignments", NULL);
    (void)instance_expect_member(&s);
    consuming_answer(&s.c);
    CU_ASSERT_TRUE(instance_answered(&s, 404, "{\"error_code\":40403,"));
    instance_fini(&s);
}

/* Another gateway has just answered; what it delivered is being noted. */
static void a_call_waits_for_the_answer_before_it(void)
{
    struct instance s;

    instance_init(&s);
    s.instance.answering = 77;
    instance_call(&s, "POST", INSTANCE_PATH "/offsets", NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    world_advance(&s.c.world, 20 * MS);
    CU_ASSERT_TRUE(instance_is_plain_touch(instance_expect_member(&s), INSTANCE_EPOCH));
    s.instance.answering = 0;
    instance_tell(&s);
    const struct group_read *read = consuming_expect(&s.c, 1, GROUP_OP_READ);
    CU_ASSERT_TRUE(read->commit_delivered && read->hold);
    CU_ASSERT_EQUAL(read->topics_count, 0);
    consuming_answer(&s.c);
    (void)consuming_expect(&s.c, 1, GROUP_OP_COMMIT);
    consuming_answer(&s.c);
    CU_ASSERT_TRUE(instance_answered(&s, 200, "[]"));
    instance_fini(&s);
}

static void the_mark_of_a_gateway_that_died_holds_up_nobody_for_long(void)
{
    struct instance s;
    int asked = 0;

    instance_init(&s);
    s.instance.answering = 77;
    instance_call(&s, "GET", INSTANCE_PATH "/assignments", NULL);
    while (s.c.fakes[0].answers == 0 && asked < 100) {
        (void)instance_expect_member(&s);
        instance_tell(&s);
        asked++;
        world_advance(&s.c.world, 20 * MS);
    }
    CU_ASSERT_TRUE(asked > 40 && asked < 60);
    CU_ASSERT_TRUE(instance_answered(&s, 200, "{\"topic\":\"t\",\"partition\":1}"));
    instance_fini(&s);
}

static void requests_under_way_are_forgotten_with_the_gateway(void)
{
    struct instance s;

    instance_init(&s);
    (void
    )instance_poll_two(&s, INSTANCE_PATH "/records"); /* the mark is under way, records are held */
    group_world_close(&s.c.asked);
    instance_fini(&s);
    instance_init(&s);
    (void)instance_poll_two(&s, INSTANCE_PATH "/records");
    instance_tell(&s); /* what was delivered is being noted */
    instance_fini(&s);
    instance_init(&s);
    s.instance.answering = 1;
    instance_call(&s, "GET", INSTANCE_PATH "/assignments", NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s); /* a timer runs */
    instance_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(who_is_gone_or_taken_over_is_not_found),
    HARNESS_TEST(a_call_waits_for_the_answer_before_it),
    HARNESS_TEST(the_mark_of_a_gateway_that_died_holds_up_nobody_for_long),
    HARNESS_TEST(requests_under_way_are_forgotten_with_the_gateway),
};

HARNESS_MAIN(tests);
