/* Polls of Confluent's consumers: what they read and what is noted as delivered. */
#include <string.h>

#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_member.h"
#include "schemas/gen/group_read.h"

#include "services/gateway/group_ops.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/instance.h"

enum { MS = 1000 };

static void what_the_socket_took_is_noted_as_delivered(void)
{
    struct instance s;

    instance_init(&s);
    s.instance.auto_commit = true;
    const struct group_member *mark = instance_poll_two(&s, INSTANCE_PATH "/records");
    struct consumer_instance marked = instance_detail_of(&s, mark);
    CU_ASSERT_NOT_EQUAL(marked.answering, 0);
    CU_ASSERT_EQUAL(marked.format, CONSUMER_JSON);
    CU_ASSERT_EQUAL(s.c.fakes[0].answers, 0); /* not before the mark is there */
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 200, "\"value\":1,\"partition\":0,\"offset\":7"));
    CU_ASSERT_TRUE(strcmp(s.c.fakes[0].content_type, INSTANCE_V2_JSON) == 0);
    const struct group_commit *commit = consuming_expect(&s.c, 2, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL(commit->entries_count, 1);
    CU_ASSERT_EQUAL(commit->member_epoch, INSTANCE_EPOCH);
    CU_ASSERT_EQUAL(commit->entries[0].lease_id, 11);
    CU_ASSERT_EQUAL(commit->entries[0].delivered, 9);
    CU_ASSERT_EQUAL(commit->entries[0].offset, -1);
    CU_ASSERT_TRUE(commit->entries[0].keep);
    CU_ASSERT_EQUAL_FATAL(s.c.asked.kinds[1], GROUP_OP_MEMBER);
    CU_ASSERT_EQUAL(instance_detail_of(&s, s.c.asked.bodies[1]).answering, 0);
    consuming_answer(&s.c);
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    instance_fini(&s);
}

static void an_answer_that_was_cut_off_delivers_nothing(void)
{
    struct instance s;

    instance_init(&s);
    (void)instance_poll_two(&s, INSTANCE_PATH "/records");
    s.c.fakes[0].cut_off = true;
    instance_tell(&s);
    CU_ASSERT_EQUAL(s.c.fakes[0].answers, 1);
    /* Only the mark goes. */
    CU_ASSERT_EQUAL(instance_detail_of(&s, instance_expect_member(&s)).answering, 0);
    consuming_answer(&s.c);
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    instance_fini(&s);
}

static void the_limit_bounds_what_is_delivered(void)
{
    struct instance s;

    instance_init(&s);
    (void)instance_poll_two(&s, INSTANCE_PATH "/records?max_bytes=1&extras=false");
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(
        &s, 200, "[{\"topic\":\"t\",\"key\":null,\"value\":1,\"partition\":0,\"offset\":7}]"
    ));
    const struct group_commit *commit = consuming_expect(&s.c, 2, GROUP_OP_COMMIT);
    CU_ASSERT_EQUAL(commit->entries[0].delivered, 8);
    consuming_answer(&s.c);
    instance_fini(&s);
}

static void polls_are_refused_before_anything_is_read(void)
{
    struct instance s;

    instance_init(&s);
    instance_begin(&s, "GET", INSTANCE_PATH "/records", NULL);
    fake_request_header(&s.c.fakes[0], "Accept", "application/vnd.kafka.binary.v2+json");
    instance_send(&s);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 406, "{\"error_code\":40601,"));
    s.is_subscribed = false;
    instance_call(&s, "GET", INSTANCE_PATH "/records", NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 409, "{\"error_code\":40903,"));
    CU_ASSERT_TRUE(instance_answered(&s, 409, "or all topics of those were deleted"));
    instance_begin(&s, "GET", INSTANCE_PATH "/records", NULL);
    s.c.fakes[0].request.is_head = true;
    instance_send(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 405, "{\"error_code\":405,"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    instance_fini(&s);
}

/* The pattern's topics are those of the view at each poll. */
static void a_pattern_is_looked_at_again_in_each_poll(void)
{
    struct instance s;

    instance_init(&s);
    s.instance.pattern = RIA_SLICE_LITERAL("t|new-.*");
    (void)world_add_topic(&s.c.world, "new-1", 1);
    (void)world_add_topic(&s.c.world, "other", 1);
    world_publish(&s.c.world);
    world_run(&s.c.world);
    instance_call(&s, "GET", INSTANCE_PATH "/records", NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    const struct group_member *member = instance_expect_member(&s);
    CU_ASSERT_EQUAL_FATAL(member->subscription_count, 2);
    CU_ASSERT_PTR_NULL(member->assignment);
    instance_tell(&s);
    (void)consuming_expect(&s.c, 1, GROUP_OP_READ);
    consuming_refuse(&s.c, RIA_ERR_NOT_FOUND, "gone");
    CU_ASSERT_TRUE(instance_answered(&s, 404, "{\"error_code\":40403,"));
    instance_fini(&s);
}

/* Nothing of the topic is known here yet: the poll waits for it, as long as it may. */
static void a_pattern_without_topics_waits(void)
{
    struct instance s;

    instance_init(&s);
    s.is_subscribed = false;
    s.instance.pattern = RIA_SLICE_LITERAL("none");
    instance_call(&s, "GET", INSTANCE_PATH "/records", NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    CU_ASSERT_EQUAL(s.c.fakes[0].answers, 0);
    for (int i = 0; i < 20 && s.c.fakes[0].answers == 0; i++) {
        world_advance(&s.c.world, 100 * MS);
    }
    CU_ASSERT_TRUE(instance_answered(&s, 200, "[]"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    instance_fini(&s);
}

/* The coordinator has taken the former topic from the subscription; this gateway knows the new one.
 */
static struct world_topic *make_anew(struct instance *s, struct ria_slice *name)
{
    *name = RIA_SLICE_LITERAL("t");
    s->instance.topics = name;
    s->instance.topics_count = 1;
    s->is_subscribed = false;
    s->c.t->deleted = true;
    struct world_topic *anew = world_add_topic(&s->c.world, "t", 3);
    world_publish(&s->c.world);
    world_run(&s->c.world);
    return anew;
}

static void a_topic_that_was_made_anew_under_its_name_is_read(void)
{
    struct instance s;
    struct ria_slice name;

    instance_init(&s);
    struct world_topic *anew = make_anew(&s, &name);
    instance_call(&s, "GET", INSTANCE_PATH "/records", NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    const struct group_member *member = instance_expect_member(&s);
    CU_ASSERT_EQUAL_FATAL(member->subscription_count, 1);
    CU_ASSERT_TRUE(ria_uuid_equal(member->subscription[0], anew->id));
    s.c.t = anew;
    s.is_subscribed = true;
    instance_tell(&s);
    const struct group_read *read = consuming_expect(&s.c, 1, GROUP_OP_READ);
    CU_ASSERT_EQUAL_FATAL(read->topics_count, 1);
    CU_ASSERT_TRUE(ria_uuid_equal(read->topics[0].topic_id, anew->id));
    consuming_grant(&s.c, 1, 0);
    consuming_give_records(&s.c, 0, 1);
    struct consumer_instance marked = instance_detail_of(&s, instance_expect_member(&s));
    CU_ASSERT_EQUAL_FATAL(marked.topics_count, 1); /* the name stays */
    CU_ASSERT_TRUE(ria_slice_equal(marked.topics[0], name));
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 200, "\"offset\":0"));
    (void)consuming_expect(&s.c, 2, GROUP_OP_COMMIT);
    consuming_answer(&s.c);
    instance_fini(&s);
}

/* The gateway is behind: the topic that it knows was deleted. It looks again, and the poll fails
 * neither then nor while there is no topic of the name. */
static void a_subscribed_topic_that_went_is_waited_for(void)
{
    struct instance s;
    struct ria_slice name;

    instance_init(&s);
    (void)make_anew(&s, &name);
    instance_call(&s, "GET", INSTANCE_PATH "/records", NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    (void)instance_expect_member(&s);
    consuming_refuse(&s.c, RIA_ERR_UNKNOWN_TOPIC, "deleted");
    CU_ASSERT_EQUAL(s.c.fakes[0].answers, 0);
    world_advance(&s.c.world, 50 * MS);
    (void)instance_expect_member(&s);
    instance_tell(&s); /* it has none to read still */
    for (int i = 0; i < 20 && s.c.fakes[0].answers == 0; i++) {
        world_advance(&s.c.world, 100 * MS);
        if (!consuming_nothing_asked(&s.c)) {
            (void)instance_expect_member(&s);
            instance_tell(&s);
        }
    }
    CU_ASSERT_TRUE(instance_answered(&s, 200, "[]"));
    instance_fini(&s);
}

static void a_topic_that_goes_during_a_poll_fails_no_poll(void)
{
    struct instance s;

    instance_init(&s);
    instance_call(&s, "GET", INSTANCE_PATH "/records", NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    (void)consuming_expect(&s.c, 1, GROUP_OP_READ);
    consuming_refuse(&s.c, RIA_ERR_UNKNOWN_TOPIC, "deleted");
    CU_ASSERT_EQUAL(s.c.fakes[0].answers, 0);
    world_advance(&s.c.world, 50 * MS);
    (void)consuming_expect(&s.c, 1, GROUP_OP_READ);
    consuming_grant(&s.c, 1, 7);
    consuming_give_records(&s.c, 7, 1);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 200, "\"offset\":7"));
    (void)consuming_expect(&s.c, 2, GROUP_OP_COMMIT);
    consuming_answer(&s.c);
    instance_fini(&s);
}

static void too_few_bytes_are_read_again(void)
{
    struct instance s;

    instance_init(&s);
    s.instance.fetch_min_bytes = 10000;
    instance_call(&s, "GET", INSTANCE_PATH "/records", NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    (void)consuming_expect(&s.c, 1, GROUP_OP_READ);
    consuming_grant(&s.c, 1, 7);
    consuming_give_records(&s.c, 7, 1);
    CU_ASSERT_EQUAL(s.c.fakes[0].answers, 0);
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    world_advance(&s.c.world, 50 * MS);
    const struct group_read *read = consuming_expect(&s.c, 1, GROUP_OP_READ);
    CU_ASSERT_FALSE(read->commit_delivered);
    consuming_grant(&s.c, 1, 7);
    world_advance(&s.c.world, 2000 * MS); /* past the time that it has */
    consuming_give_records(&s.c, 7, 2);
    (void)instance_expect_member(&s); /* after so long */
    instance_tell(&s);
    (void)instance_expect_member(&s); /* the mark */
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 200, "\"offset\":8"));
    (void)consuming_expect(&s.c, 2, GROUP_OP_COMMIT);
    consuming_answer(&s.c);
    instance_fini(&s);
}

/* The mark takes the place of the whole detail: a poll that waited must not bring back an old one.
 */
static void a_pattern_that_came_during_a_poll_stays(void)
{
    struct instance s;

    instance_init(&s);
    instance_call(&s, "GET", INSTANCE_PATH "/records", NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    (void)consuming_expect(&s.c, 1, GROUP_OP_READ);
    consuming_grant(&s.c, 1, 7);
    world_advance(&s.c.world, 150 * MS);
    consuming_give_records(&s.c, 7, 2);
    CU_ASSERT_TRUE(instance_is_plain_touch(instance_expect_member(&s), INSTANCE_EPOCH));
    s.instance.pattern = RIA_SLICE_LITERAL("t.*");
    instance_tell(&s);
    struct consumer_instance marked = instance_detail_of(&s, instance_expect_member(&s));
    CU_ASSERT_TRUE(ria_slice_equal(marked.pattern, RIA_SLICE_LITERAL("t.*")));
    CU_ASSERT_NOT_EQUAL(marked.answering, 0);
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 200, "\"offset\":8"));
    struct consumer_instance after;
    (void)consuming_expect(&s.c, 2, GROUP_OP_COMMIT);
    after = instance_detail_of(&s, s.c.asked.bodies[1]);
    CU_ASSERT_TRUE(ria_slice_equal(after.pattern, RIA_SLICE_LITERAL("t.*")));
    consuming_answer(&s.c);
    /* Taken over meanwhile: what was read is given to nobody. */
    instance_call(&s, "GET", INSTANCE_PATH "/records", NULL);
    (void)instance_expect_member(&s);
    instance_tell(&s);
    (void)consuming_expect(&s.c, 1, GROUP_OP_READ);
    consuming_grant(&s.c, 1, 9);
    world_advance(&s.c.world, 150 * MS);
    consuming_give_records(&s.c, 9, 2);
    (void)instance_expect_member(&s);
    consuming_refuse(&s.c, RIA_ERR_FENCED_EPOCH, "taken over");
    CU_ASSERT_TRUE(instance_answered(&s, 404, "{\"error_code\":40403,"));
    CU_ASSERT_TRUE(consuming_nothing_asked(&s.c));
    instance_fini(&s);
}

/* Another call has changed the subscription since: the mark is set by what the member is now, and
 * the note takes back that one only. */
static void a_mark_undoes_no_subscription(void)
{
    struct instance s;

    instance_init(&s);
    const struct group_member *mark = instance_poll_two(&s, INSTANCE_PATH "/records");
    int64_t before = mark->detail_hash;
    CU_ASSERT_NOT_EQUAL(before, 0);
    s.instance.pattern = RIA_SLICE_LITERAL("other.*");
    instance_tell(&s);
    CU_ASSERT_EQUAL(s.c.fakes[0].answers, 0);
    mark = instance_expect_member(&s);
    CU_ASSERT_NOT_EQUAL(mark->detail_hash, before);
    struct consumer_instance marked = instance_detail_of(&s, mark);
    CU_ASSERT_TRUE(ria_slice_equal(marked.pattern, RIA_SLICE_LITERAL("other.*")));
    CU_ASSERT_NOT_EQUAL(marked.answering, 0);
    int64_t hash = consumer_detail_hash(mark->detail);
    instance_tell(&s);
    CU_ASSERT_TRUE(instance_answered(&s, 200, "\"offset\":7"));
    (void)consuming_expect(&s.c, 2, GROUP_OP_COMMIT);
    const struct group_member *note = s.c.asked.bodies[1];
    CU_ASSERT_EQUAL(note->detail_hash, hash);
    CU_ASSERT_EQUAL(instance_detail_of(&s, note).answering, 0);
    consuming_answer(&s.c);
    instance_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(what_the_socket_took_is_noted_as_delivered),
    HARNESS_TEST(an_answer_that_was_cut_off_delivers_nothing),
    HARNESS_TEST(the_limit_bounds_what_is_delivered),
    HARNESS_TEST(polls_are_refused_before_anything_is_read),
    HARNESS_TEST(a_pattern_is_looked_at_again_in_each_poll),
    HARNESS_TEST(a_pattern_without_topics_waits),
    HARNESS_TEST(a_topic_that_was_made_anew_under_its_name_is_read),
    HARNESS_TEST(a_subscribed_topic_that_went_is_waited_for),
    HARNESS_TEST(a_topic_that_goes_during_a_poll_fails_no_poll),
    HARNESS_TEST(too_few_bytes_are_read_again),
    HARNESS_TEST(a_pattern_that_came_during_a_poll_stays),
    HARNESS_TEST(a_mark_undoes_no_subscription),
};

HARNESS_MAIN(tests);
