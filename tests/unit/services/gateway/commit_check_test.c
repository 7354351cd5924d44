/* A cursor that was never given, but has the right form: nobody commits past the end. */
#include "services/gateway/commit_check.h"

#include <stdio.h>

#include "schemas/gen/group_read.h"
#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/cursor.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/consuming.h"

enum { SECOND = 1000 * 1000 };

/* A cursor that was never given, but has the right form. */
static const char *forge(struct consuming *s, int64_t offset, char out[CONSUMING_PATH_MAX])
{
    struct cursor_entry entry = {.partition = 0, .offset = offset, .lease = 11};
    struct cursor_topic topic = {.id = s->t->id, .entries = &entry, .count = 1};
    struct cursor cursor = {
        .kind = CURSOR_GROUP,
        .group = cursor_group_hash(RIA_SLICE_LITERAL("g")),
        .topics = &topic,
        .topic_count = 1,
    };
    struct ria_uuid cluster_id = {.bytes = {1}};
    char text[CURSOR_TEXT_MAX + 1];
    size_t size = 0;

    CU_ASSERT_EQUAL_FATAL(cursor_encode(&cursor, &cluster_id, text, &size), RIA_OK);
    (void)snprintf(out, CONSUMING_PATH_MAX, "/v1/groups/g/records?topics=t&after=%.800s", text);
    return out;
}

/* For all that watches tell it is past the end: until the leader is asked for its offsets. */
static struct world_call *insist(struct consuming *s)
{
    struct world_call *call = NULL;

    CU_ASSERT_TRUE(consuming_nothing_asked(s));
    for (int i = 0; i < 100 && call == NULL; i++) {
        if (world_next_call(&s->world, API_WATCH) != NULL) {
            consuming_say_mark(s, 0, -1);
        }
        world_advance(&s->world, SECOND / 20);
        call = world_next_call(&s->world, API_LIST_OFFSETS);
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(call);
    return call;
}

static void say_end(struct consuming *s, struct world_call *call, int64_t high_watermark)
{
    struct list_offsets_response response;

    list_offsets_response_init(&response);
    response.high_watermark = high_watermark;
    world_reply(&s->world, call, &response, RIA_SLICE_NULL);
    world_run(&s->world);
}

/* It was refused as past the end. */
static void a_leader_that_does_not_know_what_is_committed_refuses_no_commit(void)
{
    struct consuming s;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_get(&s, 0, forge(&s, 1000, path));
    world_refuse(&s.world, insist(&s), RIA_ERR_NO_LEADER, "it has just begun");
    world_advance(&s.world, 3 * SECOND);
    CU_ASSERT_TRUE(consuming_waits(&s, 0));
    say_end(&s, world_next_call(&s.world, API_LIST_OFFSETS), 1000);
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->commits[0].offset, 1000);
    consuming_offer(&s, 0, 0);
    consuming_fini(&s);
}

static void nobody_commits_past_the_end(void)
{
    struct consuming s;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_get(&s, 0, forge(&s, 1000, path));
    say_end(&s, insist(&s), 999);
    CU_ASSERT_TRUE(
        consuming_answered(&s, 0, 409, "offset 1000 of partition 0 of topic t, past the end")
    );
    CU_ASSERT_TRUE(consuming_nothing_asked(&s));
    consuming_fini(&s);
}

static void a_leader_that_is_behind_for_a_moment_refuses_no_commit(void)
{
    struct consuming s;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    consuming_get(&s, 0, forge(&s, 1000, path));
    consuming_say_mark(&s, 0, -1);
    world_advance(&s.world, SECOND / 5);
    consuming_say_mark(&s, 0, 1000);
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->commits[0].offset, 1000);
    consuming_offer(&s, 0, 0);
    consuming_fini(&s);
}

static void set_leader(struct consuming *s, int32_t leader)
{
    s->t->leaders[0] = leader;
    world_publish(&s->world);
    world_run(&s->world);
}

/* Its position would be past the end, perhaps, and what is written there later be skipped. */
static void without_a_leader_to_ask_a_commit_waits_for_one(void)
{
    struct consuming s;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    int32_t leader = s.t->leaders[0];
    set_leader(&s, -1);
    consuming_get(&s, 0, forge(&s, 1000, path));
    world_advance(&s.world, 3 * SECOND);
    CU_ASSERT_TRUE(consuming_nothing_asked(&s));
    CU_ASSERT_TRUE(consuming_waits(&s, 0));
    set_leader(&s, leader);
    world_advance(&s.world, SECOND / 5);
    consuming_say_mark(&s, 0, 1000);
    CU_ASSERT_EQUAL(consuming_expect_read(&s)->commits[0].offset, 1000);
    consuming_offer(&s, 0, 0);
    consuming_fini(&s);
}

static void a_commit_that_nobody_can_check_is_refused_for_now(void)
{
    struct consuming s;
    char path[CONSUMING_PATH_MAX];

    consuming_init(&s);
    set_leader(&s, -1);
    consuming_get(&s, 0, forge(&s, 1000, path));
    for (int i = 0; i < 1000 && consuming_waits(&s, 0); i++) {
        world_advance(&s.world, SECOND / 20);
    }
    CU_ASSERT_TRUE(
        consuming_answered(&s, 0, 503, "whether offset 1000 is in its log; nothing was committed")
    );
    CU_ASSERT_TRUE(consuming_nothing_asked(&s));
    consuming_fini(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(nobody_commits_past_the_end),
    HARNESS_TEST(a_leader_that_does_not_know_what_is_committed_refuses_no_commit),
    HARNESS_TEST(a_leader_that_is_behind_for_a_moment_refuses_no_commit),
    HARNESS_TEST(without_a_leader_to_ask_a_commit_waits_for_one),
    HARNESS_TEST(a_commit_that_nobody_can_check_is_refused_for_now),
};

HARNESS_MAIN(tests);
