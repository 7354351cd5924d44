/* Clients of groups that wait: who is woken by what, and how many. */
#include "services/gateway/group_watch.h"

#include <stdio.h>
#include <string.h>

#include "schemas/gen/watch_groups_request.h"
#include "schemas/gen/watch_groups_response.h"
#include "schemas/gen/watch_request.h"
#include "schemas/gen/watch_response.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/world.h"

enum { WAITS = 8, SECOND = 1000 * 1000 };

struct setup {
    struct world world;
    struct world_topic *topic; /* eight partitions, led by nodes 1, 2, 3, 1, ... */
    struct cluster *cluster;
    struct watches watches;
    struct marks marks;
    struct group_watch watch;
    struct group_wait waits[WAITS];
    struct ria_uuid topics[WAITS];
    int woken[WAITS];
    int late[WAITS];
    int64_t seen_of_3; /* the mark of partition 3 when somebody was woken last */
};

static void setup(struct setup *s)
{
    memset(s->woken, 0, sizeof(s->woken));
    memset(s->late, 0, sizeof(s->late));
    world_init(&s->world, 5);
    s->topic = world_add_topic(&s->world, "t", 8);
    CU_ASSERT_EQUAL_FATAL(cluster_new(&s->world.env, "tcp://c", NULL, NULL, &s->cluster), RIA_OK);
    cluster_start(s->cluster);
    world_run(&s->world);
    watches_init(&s->watches, &s->world.env, s->cluster, &s->marks);
    marks_init(&s->marks, &s->world.env, s->cluster);
    group_watch_init(&s->watch, &s->world.env, s->cluster, &s->watches, &s->marks);
}

static void teardown(struct setup *s)
{
    group_watch_fini(&s->watch);
    marks_fini(&s->marks);
    watches_fini(&s->watches);
    cluster_free(s->cluster);
    world_fini(&s->world);
}

static struct marks_at at(struct setup *s, int32_t partition, int64_t offset)
{
    return (struct marks_at){
        .partition = cluster_partition(s->cluster, &s->topic->id, partition),
        .offset = offset,
    };
}

static void done(struct group_wait *wait, group_wake why)
{
    struct setup *s = wait->arg;
    size_t i = (size_t)(wait - s->waits);

    s->woken[i] += why == GROUP_WAKE_WORK;
    s->late[i] += why == GROUP_WAKE_DEADLINE;
    s->seen_of_3 = marks_get(&s->marks, at(s, 3, 0).partition);
}

static struct group_news news_of(const char *member, int64_t changed)
{
    return (struct group_news){
        .group = RIA_SLICE_LITERAL("g"),
        .member = ria_slice_cstr(member),
        .changed = changed,
        .retry_after_ms = -1,
        .ahead = true,
    };
}

/* Client i waits ten seconds, for records of partition p at offset 5 (-1: of none). */
static void wait_for(struct setup *s, int i, const char *member, int64_t changed, int32_t p)
{
    struct marks_at offer = {0};
    struct group_news news = news_of(member, changed);

    if (p >= 0) {
        offer = at(s, p, 5);
        news.offers = &offer;
        news.offer_count = 1;
    }
    s->topics[i] = s->topic->id;
    s->waits[i] = (struct group_wait){
        .topics = &s->topics[i],
        .topic_count = 1,
        .deadline_us = s->world.now_us + 10 * SECOND,
        .done = done,
        .arg = s,
    };
    CU_ASSERT_EQUAL_FATAL(group_wait_start(&s->watch, &s->waits[i], &news), RIA_OK);
}

static int count(const int *of)
{
    int sum = 0;

    for (int i = 0; i < WAITS; i++) {
        sum += of[i];
    }
    return sum;
}

/* Everybody is told what to watch. */
static void tell(struct setup *s)
{
    world_advance(&s->world, 5000);
}

static uint32_t count_calls(const struct setup *s, int16_t api_key)
{
    uint32_t count = 0;

    RIA_LIST_FOREACH (link, &s->world.calls) {
        count += RIA_CONTAINER(link, struct world_call, link)->api_key == api_key;
    }
    return count;
}

/* The newest: older ones have been replaced. */
static struct world_call *newest(struct setup *s, int16_t api_key, const char *address)
{
    struct world_call *found = NULL;

    RIA_LIST_FOREACH (link, &s->world.calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        if (call->api_key == api_key && strcmp(call->address, address) == 0) {
            found = call;
        }
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    return found;
}

static void say_changed(struct setup *s, int64_t changed)
{
    struct watch_groups_response response;
    struct watch_groups_response_watched_group group = {
        .group = RIA_SLICE_LITERAL("g"), .changed = changed};

    tell(s);
    watch_groups_response_init(&response);
    response.groups = &group;
    response.groups_count = 1;
    world_reply(&s->world, newest(s, API_WATCH_GROUPS, "tcp://c"), &response, RIA_SLICE_NULL);
    world_run(&s->world);
}

static void
say_written(struct setup *s, int32_t partition, int64_t offset, int64_t log_end, ria_err err)
{
    static const char *const addresses[] = {"tcp://s1", "tcp://s2", "tcp://s3"};
    struct watch_response response;
    struct watch_response_watched_partition moved = {
        .topic_id = s->topic->id,
        .partition = partition,
        .error_code = (int16_t)err,
        .high_watermark = offset,
        .log_end_offset = log_end,
    };

    tell(s);
    watch_response_init(&response);
    response.partitions = &moved;
    response.partitions_count = 1;
    world_reply(
        &s->world, newest(s, API_WATCH, addresses[partition % 3]), &response, RIA_SLICE_NULL
    );
    world_run(&s->world);
}

static void say_moved(struct setup *s, int32_t partition, int64_t offset, ria_err err)
{
    say_written(s, partition, offset, 0, err);
}

/* --- records -----------------------------------------------------------------------------------*/

static void records_of_a_partition_wake_one_of_those_who_wait(void)
{
    struct setup s;

    setup(&s);
    for (int i = 0; i < 3; i++) {
        wait_for(&s, i, "", 1, 0);
    }
    say_moved(&s, 0, 6, RIA_OK);
    CU_ASSERT_EQUAL(s.woken[0], 1); /* the oldest */
    CU_ASSERT_EQUAL(count(s.woken), 1);
    CU_ASSERT_EQUAL(marks_get(&s.marks, at(&s, 0, 0).partition), 6);
    CU_ASSERT_EQUAL(s.watch.numbers.waiting.value, 2);
    world_advance(&s.world, 11 * SECOND);
    CU_ASSERT_EQUAL(count(s.late), 2);
    teardown(&s);
}

static void whoever_is_woken_by_the_first_of_an_answer_knows_all_of_it(void)
{
    struct setup s;
    struct watch_response response;
    struct watch_response_watched_partition moved[2];

    setup(&s);
    wait_for(&s, 0, "", 1, 0);
    tell(&s);
    watch_response_init(&response);
    for (uint32_t i = 0; i < 2; i++) {
        moved[i] = (struct watch_response_watched_partition
        ){.topic_id = s.topic->id, .partition = (int32_t)i * 3, .high_watermark = 6 + i};
    }
    response.partitions = moved;
    response.partitions_count = 2;
    world_reply(&s.world, newest(&s, API_WATCH, "tcp://s1"), &response, RIA_SLICE_NULL);
    world_run(&s.world);
    CU_ASSERT_EQUAL(s.woken[0], 1);
    CU_ASSERT_EQUAL(s.seen_of_3, 7);
    teardown(&s);
}

static void a_line_waits_for_what_any_of_it_was_offered(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 1, -1);
    wait_for(&s, 1, "", 1, 3);
    group_wait_cancel(&s.watch, &s.waits[1]);
    say_moved(&s, 3, 9, RIA_OK);
    CU_ASSERT_EQUAL(s.woken[0], 1);
    CU_ASSERT_EQUAL(s.woken[1], 0);
    teardown(&s);
}

static void records_wake_nobody_who_does_not_read_the_topic(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 1, 0);
    s.topics[0].bytes[3] = 99;
    wait_for(&s, 1, "", 1, 0);
    say_moved(&s, 0, 6, RIA_OK);
    CU_ASSERT_EQUAL(s.woken[0], 0);
    CU_ASSERT_EQUAL(s.woken[1], 1);
    teardown(&s);
}

static void named_members_wait_each_for_their_own(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "a", 1, 0);
    wait_for(&s, 1, "b", 1, 1);
    say_moved(&s, 1, 6, RIA_OK);
    CU_ASSERT_EQUAL(s.woken[0], 0);
    CU_ASSERT_EQUAL(s.woken[1], 1);
    teardown(&s);
}

static void a_leader_that_cannot_tell_wakes_nobody_and_is_asked_again(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 1, 0);
    say_moved(&s, 0, -1, RIA_ERR_NOT_LEADER);
    CU_ASSERT_EQUAL(count(s.woken), 0);
    CU_ASSERT_EQUAL(count_calls(&s, API_WATCH), 0);
    world_advance(&s.world, SECOND / 5);
    CU_ASSERT_EQUAL(count_calls(&s, API_WATCH), 1);
    say_moved(&s, 0, 6, RIA_OK);
    CU_ASSERT_EQUAL(s.woken[0], 1);
    teardown(&s);
}

/* What the leader of partition 0 is asked to tell. */
static struct watch_request_watch_partition asked_of_0(struct setup *s)
{
    struct watch_request_watch_partition asked;
    struct watch_request request;
    struct ria_arena arena;
    struct ria_slice payload;

    tell(s);
    ria_arena_init(&arena, 1 << 16);
    world_open(newest(s, API_WATCH, "tcp://s1"), &arena, &request, &payload);
    CU_ASSERT_EQUAL_FATAL(request.partitions_count, 1);
    asked = request.partitions[0];
    ria_arena_fini(&arena);
    return asked;
}

static void records_that_are_not_committed_yet_wake_one_too(void)
{
    struct setup s;
    const struct cluster_partition *partition;

    setup(&s);
    partition = at(&s, 0, 0).partition;
    wait_for(&s, 0, "", 1, 0);
    wait_for(&s, 1, "", 1, 0);
    CU_ASSERT_EQUAL(asked_of_0(&s).log_end_offset, 6);
    say_written(&s, 0, 5, 7, RIA_OK);
    CU_ASSERT_EQUAL(s.woken[0], 1);
    CU_ASSERT_EQUAL(count(s.woken), 1);
    CU_ASSERT_EQUAL(marks_get(&s.marks, partition), 5);
    CU_ASSERT_EQUAL(marks_coming(&s.marks, partition), 7);
    world_advance(&s.world, MARKS_COMING_MS * 1000);
    CU_ASSERT_EQUAL(marks_coming(&s.marks, partition), -1); /* it is late */
    CU_ASSERT_EQUAL(marks_announced(&s.marks, partition), 7);
    teardown(&s);
}

/* A leader without followers would wake them with each record that is written, to no avail. */
static void what_is_late_is_waited_for_until_it_is_committed(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 1, 0);
    say_written(&s, 0, 5, 7, RIA_OK);
    wait_for(&s, 1, "", 1, 0); /* it was in vain */
    CU_ASSERT_EQUAL(asked_of_0(&s).log_end_offset, 0);
    say_written(&s, 0, 5, 8, RIA_OK); /* told with another's */
    CU_ASSERT_EQUAL(s.woken[1], 0);
    say_written(&s, 0, 6, 8, RIA_OK);
    CU_ASSERT_EQUAL(s.woken[1], 1);
    teardown(&s);
}

static void what_came_is_announced_no_more(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 1, 0);
    say_written(&s, 0, 5, 7, RIA_OK);
    marks_note(&s.marks, at(&s, 0, 0).partition, 7);
    CU_ASSERT_EQUAL(marks_coming(&s.marks, at(&s, 0, 0).partition), -1);
    teardown(&s);
}

static void reader_done(struct watch_wait *wait, bool moved)
{
    *(int *)wait->arg += moved;
}

/* The answer that wakes others ahead of the commit ends the watch of a reader of the topic, too. */
static void who_waits_for_the_commit_is_watched_on_at_once(void)
{
    struct setup s;
    int moved = 0;
    struct watch_wait reader = {.offset = 5, .done = reader_done, .arg = &moved};

    setup(&s);
    reader.partition = cluster_partition(s.cluster, &s.topic->id, 0);
    reader.deadline_us = s.world.now_us + 10 * SECOND;
    watch_start(&s.watches, &reader);
    wait_for(&s, 0, "", 1, 0);
    say_written(&s, 0, 5, 7, RIA_OK);
    CU_ASSERT_EQUAL(s.woken[0], 1);
    CU_ASSERT_EQUAL(moved, 0);
    CU_ASSERT_EQUAL(count_calls(&s, API_WATCH), 1);
    CU_ASSERT_EQUAL(asked_of_0(&s).log_end_offset, 0);
    say_written(&s, 0, 7, 7, RIA_OK);
    CU_ASSERT_EQUAL(moved, 1);
    teardown(&s);
}

static void who_does_not_ask_for_it_is_not_woken_ahead(void)
{
    struct setup s;
    struct group_news news = news_of("", 1);
    struct marks_at offer;

    setup(&s);
    wait_for(&s, 0, "", 1, -1);
    offer = at(&s, 0, 5);
    news.offers = &offer;
    news.offer_count = 1;
    news.ahead = false; /* a queue's leases have an end */
    group_watch_note(&s.watch, &news);
    CU_ASSERT_EQUAL(asked_of_0(&s).log_end_offset, 0);
    say_written(&s, 0, 5, 7, RIA_OK);
    CU_ASSERT_EQUAL(count(s.woken), 0);
    teardown(&s);
}

static void the_newest_position_counts(void)
{
    struct setup s;
    struct group_news news = news_of("", 1);
    struct marks_at offer;
    struct watch_request request;
    struct ria_arena arena;
    struct ria_slice payload;

    setup(&s);
    wait_for(&s, 0, "", 1, 0);
    tell(&s);
    offer = at(&s, 0, 40);
    news.offers = &offer;
    news.offer_count = 1;
    group_watch_note(&s.watch, &news);
    tell(&s);
    ria_arena_init(&arena, 1 << 16);
    world_open(newest(&s, API_WATCH, "tcp://s1"), &arena, &request, &payload);
    CU_ASSERT_EQUAL_FATAL(request.partitions_count, 1);
    CU_ASSERT_EQUAL(request.partitions[0].offset, 40);
    ria_arena_fini(&arena);
    teardown(&s);
}

static void whoever_leaves_work_behind_wakes_another_one(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 1, 0);
    wait_for(&s, 1, "", 1, 0);
    wait_for(&s, 2, "", 1, 0);
    say_moved(&s, 0, 6, RIA_OK);
    group_watch_pass_on(&s.watch, RIA_SLICE_LITERAL("g"), RIA_SLICE_EMPTY);
    CU_ASSERT_EQUAL(count(s.woken), 1); /* not from inside */
    world_run(&s.world);
    CU_ASSERT_EQUAL(s.woken[1], 1);
    CU_ASSERT_EQUAL(count(s.woken), 2);
    teardown(&s);
}

/* --- changes -----------------------------------------------------------------------------------*/

static void a_change_wakes_one_nameless_consumer(void)
{
    struct setup s;

    setup(&s);
    for (int i = 0; i < 4; i++) {
        wait_for(&s, i, "", 7, -1);
    }
    say_changed(&s, 8);
    CU_ASSERT_EQUAL(count(s.woken), 1);
    say_changed(&s, 10);
    CU_ASSERT_EQUAL(count(s.woken), 3);
    teardown(&s);
}

static void a_change_that_a_client_knows_does_not_wake_it(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 7, -1);
    wait_for(&s, 1, "", 8, -1);
    say_changed(&s, 8);
    CU_ASSERT_EQUAL(s.woken[0], 1);
    CU_ASSERT_EQUAL(s.woken[1], 0);
    teardown(&s);
}

static void a_change_wakes_one_of_every_named_member_but_not_all_the_time(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "a", 7, -1);
    wait_for(&s, 1, "b", 7, -1);
    wait_for(&s, 2, "b", 7, -1);
    say_changed(&s, 8);
    CU_ASSERT_EQUAL(s.woken[0], 1);
    CU_ASSERT_EQUAL(s.woken[1], 1);
    CU_ASSERT_EQUAL(s.woken[2], 0);
    wait_for(&s, 3, "a", 8, -1);
    say_changed(&s, 9);
    world_advance(&s.world, SECOND);
    CU_ASSERT_EQUAL(s.woken[2], 1);
    CU_ASSERT_EQUAL(s.woken[3], 1);
    teardown(&s);
}

static void who_comes_with_an_old_number_asks_again_at_once(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 7, -1);
    wait_for(&s, 1, "", 7, -1);
    say_changed(&s, 8);
    wait_for(&s, 2, "", 7, -1);
    CU_ASSERT_EQUAL(s.woken[2], 0); /* not from inside */
    world_run(&s.world);
    CU_ASSERT_EQUAL(s.woken[2], 1);
    teardown(&s);
}

static void a_group_that_was_deleted_wakes_all(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 7, 0);
    wait_for(&s, 1, "", 7, 0);
    wait_for(&s, 2, "a", 7, 1);
    say_changed(&s, -1);
    CU_ASSERT_EQUAL(count(s.woken), 3);
    CU_ASSERT_EQUAL(s.watch.groups.count, 0);
    teardown(&s);
}

static void one_request_watches_all_groups(void)
{
    struct setup s;
    struct watch_groups_request request;
    struct group_news news = news_of("", 3);
    struct ria_arena arena;
    struct ria_slice payload;

    setup(&s);
    wait_for(&s, 0, "", 7, -1);
    news.group = RIA_SLICE_LITERAL("other");
    s.waits[1] =
        (struct group_wait){.deadline_us = s.world.now_us + SECOND, .done = done, .arg = &s};
    CU_ASSERT_EQUAL_FATAL(group_wait_start(&s.watch, &s.waits[1], &news), RIA_OK);
    tell(&s);
    CU_ASSERT_EQUAL(count_calls(&s, API_WATCH_GROUPS), 1);
    ria_arena_init(&arena, 1 << 16);
    world_open(newest(&s, API_WATCH_GROUPS, "tcp://c"), &arena, &request, &payload);
    CU_ASSERT_EQUAL(request.groups_count, 2);
    ria_arena_fini(&arena);
    teardown(&s);
}

/* What the newest request says, as "sequence +added -gone". */
static bool tells(struct setup *s, const char *wanted)
{
    char text[64];
    struct watch_groups_request request;
    struct ria_arena arena;
    struct ria_slice payload;

    tell(s);
    ria_arena_init(&arena, 1 << 16);
    world_open(newest(s, API_WATCH_GROUPS, "tcp://c"), &arena, &request, &payload);
    (void)snprintf(
        text,
        sizeof(text),
        "%d +%u -%u",
        (int)request.sequence,
        request.groups_count,
        request.gone_count
    );
    ria_arena_fini(&arena);
    if (strcmp(text, wanted) != 0) {
        (void)printf("[%s, not %s]", text, wanted);
        return false;
    }
    return true;
}

static void wait_in(struct setup *s, int i, const char *group)
{
    struct group_news news = news_of("", 3);

    news.group = ria_slice_cstr(group);
    s->waits[i] =
        (struct group_wait){.deadline_us = s->world.now_us + 10 * SECOND, .done = done, .arg = s};
    CU_ASSERT_EQUAL_FATAL(group_wait_start(&s->watch, &s->waits[i], &news), RIA_OK);
}

/* All names were told again with every change. */
static void only_what_is_new_is_told(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 7, -1);
    wait_for(&s, 1, "", 7, -1);
    wait_in(&s, 2, "other");
    CU_ASSERT_TRUE(tells(&s, "1 +2 -0"));
    say_changed(&s, 8);
    CU_ASSERT_EQUAL(count(s.woken), 1);
    CU_ASSERT_TRUE(tells(&s, "2 +0 -0"));
    wait_in(&s, 3, "third");
    CU_ASSERT_TRUE(tells(&s, "3 +1 -0"));
    group_wait_cancel(&s.watch, &s.waits[2]);
    wait_in(&s, 4, "fourth");
    /* The coordinator has answered one of the two that are under way. */
    RIA_LIST_FOREACH (link, &s.world.calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        struct watch_groups_response response;
        if (call->api_key == API_WATCH_GROUPS) {
            watch_groups_response_init(&response);
            world_reply(&s.world, call, &response, RIA_SLICE_NULL);
            break;
        }
    }
    world_run(&s.world);
    CU_ASSERT_TRUE(tells(&s, "4 +1 -1"));
    teardown(&s);
}

static void a_watch_that_the_coordinator_does_not_know_begins_anew(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 7, -1);
    wait_in(&s, 1, "other");
    CU_ASSERT_TRUE(tells(&s, "1 +2 -0"));
    wait_in(&s, 2, "third");
    CU_ASSERT_TRUE(tells(&s, "2 +1 -0"));
    world_refuse(&s.world, newest(&s, API_WATCH_GROUPS, "tcp://c"), RIA_ERR_CONFLICT, "anew");
    world_advance(&s.world, SECOND / 5);
    CU_ASSERT_TRUE(tells(&s, "1 +3 -0"));
    say_changed(&s, 8);
    CU_ASSERT_EQUAL(s.woken[0], 1);
    teardown(&s);
}

static void a_coordinator_that_was_away_is_asked_again(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 7, -1);
    tell(&s);
    world_lose(&s.world, newest(&s, API_WATCH_GROUPS, "tcp://c"), RIA_ERR_DISCONNECTED);
    world_advance(&s.world, SECOND / 5);
    CU_ASSERT_EQUAL(count_calls(&s, API_WATCH_GROUPS), 1);
    say_changed(&s, 8);
    CU_ASSERT_EQUAL(s.woken[0], 1);
    teardown(&s);
}

/* --- times -------------------------------------------------------------------------------------*/

static void a_lease_that_ends_wakes_one(void)
{
    struct setup s;
    struct group_news news = news_of("", 1);

    setup(&s);
    wait_for(&s, 0, "", 1, -1);
    wait_for(&s, 1, "", 1, -1);
    news.retry_after_ms = 2000;
    group_watch_note(&s.watch, &news);
    news.retry_after_ms = 5000; /* a later one does not put it off */
    group_watch_note(&s.watch, &news);
    world_advance(&s.world, 2 * SECOND - 1000);
    CU_ASSERT_EQUAL(count(s.woken), 0);
    world_advance(&s.world, 2000);
    CU_ASSERT_EQUAL(s.woken[0], 1);
    CU_ASSERT_EQUAL(count(s.woken), 1);
    teardown(&s);
}

static void at_its_deadline_a_wait_ends(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 1, 0);
    world_advance(&s.world, 10 * SECOND);
    CU_ASSERT_EQUAL(s.late[0], 1);
    CU_ASSERT_EQUAL(s.woken[0], 0);
    CU_ASSERT_EQUAL(s.watch.groups.count, 0);
    CU_ASSERT_EQUAL(s.watch.numbers.waiting.value, 0);
    teardown(&s);
}

static void when_the_gateway_ends_all_waits_do(void)
{
    struct setup s;

    setup(&s);
    wait_for(&s, 0, "", 1, 0);
    wait_for(&s, 1, "a", 1, 1);
    tell(&s);
    group_watch_end(&s.watch);
    CU_ASSERT_EQUAL(count(s.late), 2);
    watches_end(&s.watches);
    world_advance(&s.world, SECOND);
    CU_ASSERT_EQUAL(s.watch.groups.count, 0);
    teardown(&s);
}

/* --- marks -------------------------------------------------------------------------------------*/

static void probed(struct marks_probe *probe)
{
    *(int *)probe->arg += 1;
}

static void a_probe_asks_each_leader_once(void)
{
    struct setup s;
    struct marks_at positions[8];
    int done_count = 0;
    struct marks_probe probe = {
        .at = positions, .count = 8, .timeout_ms = 1000, .done = probed, .arg = &done_count};

    setup(&s);
    for (int32_t p = 0; p < 8; p++) {
        positions[p] = at(&s, p, 5);
    }
    CU_ASSERT_TRUE(marks_probe_start(&s.marks, &probe));
    CU_ASSERT_EQUAL(count_calls(&s, API_WATCH), 3);
    say_moved(&s, 0, 17, RIA_OK);
    say_moved(&s, 1, 18, RIA_OK);
    CU_ASSERT_EQUAL(done_count, 0);
    world_lose(&s.world, newest(&s, API_WATCH, "tcp://s3"), RIA_ERR_TIMEOUT);
    world_run(&s.world);
    CU_ASSERT_EQUAL(done_count, 1);
    CU_ASSERT_FALSE(probe.complete);
    CU_ASSERT_EQUAL(marks_get(&s.marks, positions[0].partition), 17);
    CU_ASSERT_EQUAL(marks_get(&s.marks, positions[1].partition), 18);
    CU_ASSERT_EQUAL(marks_get(&s.marks, positions[2].partition), -1);
    teardown(&s);
}

static void without_leaders_a_probe_asks_nobody(void)
{
    struct setup s;
    struct marks_at position;
    int done_count = 0;
    struct marks_probe probe = {
        .at = &position, .count = 1, .timeout_ms = 1000, .done = probed, .arg = &done_count};

    setup(&s);
    s.topic->leaders[4] = -1;
    world_publish(&s.world);
    world_run(&s.world);
    position = at(&s, 4, 0);
    CU_ASSERT_FALSE(marks_probe_start(&s.marks, &probe));
    CU_ASSERT_FALSE(probe.complete);
    CU_ASSERT_EQUAL(done_count, 0);
    teardown(&s);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(records_of_a_partition_wake_one_of_those_who_wait),
    HARNESS_TEST(whoever_is_woken_by_the_first_of_an_answer_knows_all_of_it),
    HARNESS_TEST(a_line_waits_for_what_any_of_it_was_offered),
    HARNESS_TEST(records_wake_nobody_who_does_not_read_the_topic),
    HARNESS_TEST(named_members_wait_each_for_their_own),
    HARNESS_TEST(a_leader_that_cannot_tell_wakes_nobody_and_is_asked_again),
    HARNESS_TEST(records_that_are_not_committed_yet_wake_one_too),
    HARNESS_TEST(what_is_late_is_waited_for_until_it_is_committed),
    HARNESS_TEST(what_came_is_announced_no_more),
    HARNESS_TEST(who_waits_for_the_commit_is_watched_on_at_once),
    HARNESS_TEST(who_does_not_ask_for_it_is_not_woken_ahead),
    HARNESS_TEST(the_newest_position_counts),
    HARNESS_TEST(whoever_leaves_work_behind_wakes_another_one),
    HARNESS_TEST(a_change_wakes_one_nameless_consumer),
    HARNESS_TEST(a_change_that_a_client_knows_does_not_wake_it),
    HARNESS_TEST(a_change_wakes_one_of_every_named_member_but_not_all_the_time),
    HARNESS_TEST(who_comes_with_an_old_number_asks_again_at_once),
    HARNESS_TEST(a_group_that_was_deleted_wakes_all),
    HARNESS_TEST(one_request_watches_all_groups),
    HARNESS_TEST(only_what_is_new_is_told),
    HARNESS_TEST(a_watch_that_the_coordinator_does_not_know_begins_anew),
    HARNESS_TEST(a_coordinator_that_was_away_is_asked_again),
    HARNESS_TEST(a_lease_that_ends_wakes_one),
    HARNESS_TEST(at_its_deadline_a_wait_ends),
    HARNESS_TEST(when_the_gateway_ends_all_waits_do),
    HARNESS_TEST(a_probe_asks_each_leader_once),
    HARNESS_TEST(without_leaders_a_probe_asks_nobody),
};

HARNESS_MAIN(tests);
