#include "services/replication/feed.h"

#include "tests/lib/harness.h"

/* The feed never looks into a peer: any address will do. */
static char leader_place;
static char other_place;
static struct peer *const leader = (struct peer *)(void *)&leader_place;
static struct peer *const other = (struct peer *)(void *)&other_place;

static const int64_t no_bytes = 0;
static const struct node_window windows[2] = {{0, &no_bytes}, {0, &no_bytes}};

static const struct ria_uuid topic_id = {{1}};

static struct feed *new_feed(uint32_t followers)
{
    struct feed *feed = feed_new(&topic_id, 3, 7, leader);

    CU_ASSERT_PTR_NOT_NULL_FATAL(feed);
    for (uint32_t i = 0; i < followers; i++) {
        feed_add_follower(feed, (int32_t)i + 2, other, &windows[i]);
    }
    return feed;
}

static void end_feed(struct feed *feed)
{
    feed_check(feed);
    feed->stopped = true;
    feed_unref(feed);
}

/* As peer_read.c does when the leader's history has come. */
static void prepare(struct follower *follower, int64_t end_offset)
{
    struct leader_history *history = leader_history_new(1);

    CU_ASSERT_PTR_NOT_NULL_FATAL(history);
    follower->state = FOLLOWER_PREPARING;
    follower->history = history;
    follower_prepared(follower, 1, end_offset);
}

static void new_followers_want_the_history_and_no_data(void)
{
    struct feed *feed = new_feed(2);

    CU_ASSERT_TRUE(feed_wants_history(feed));
    CU_ASSERT_FALSE(feed_wants_data(feed));
    feed->asking = true;
    CU_ASSERT_FALSE(feed_wants_history(feed));
    end_feed(feed);
}

static void first_prepared_follower_sets_the_cursor(void)
{
    struct feed *feed = new_feed(2);

    prepare(&feed->followers[0], 10);
    CU_ASSERT_EQUAL(feed->cursor, 10);
    CU_ASSERT_TRUE(follower_is_attached(&feed->followers[0]));
    CU_ASSERT_TRUE(feed_wants_data(feed));
    end_feed(feed);
}

static void follower_behind_the_cursor_catches_up_alone(void)
{
    struct feed *feed = new_feed(2);

    prepare(&feed->followers[0], 10);
    prepare(&feed->followers[1], 4);
    CU_ASSERT_EQUAL(feed->cursor, 10);
    CU_ASSERT_FALSE(follower_is_attached(&feed->followers[1]));
    CU_ASSERT_TRUE(follower_wants_catch_up(&feed->followers[1]));
    CU_ASSERT_FALSE(follower_wants_catch_up(&feed->followers[0]));
    feed->followers[1].sent_offset = 10;
    CU_ASSERT_TRUE(follower_is_attached(&feed->followers[1]));
    end_feed(feed);
}

static void follower_ahead_of_the_cursor_is_attached(void)
{
    struct feed *feed = new_feed(2);

    prepare(&feed->followers[0], 4);
    prepare(&feed->followers[1], 10);
    CU_ASSERT_EQUAL(feed->cursor, 4);
    CU_ASSERT_TRUE(follower_is_attached(&feed->followers[1]));
    end_feed(feed);
}

static void cursor_goes_back_when_the_last_attached_fails(void)
{
    struct feed *feed = new_feed(2);

    prepare(&feed->followers[0], 10);
    prepare(&feed->followers[1], 4);
    follower_failed(&feed->followers[0], 0);
    CU_ASSERT_EQUAL(feed->cursor, 4);
    CU_ASSERT_TRUE(follower_is_attached(&feed->followers[1]));
    follower_failed(&feed->followers[1], 0);
    CU_ASSERT_EQUAL(feed->cursor, -1);
    CU_ASSERT_FALSE(feed_wants_data(feed));
    end_feed(feed);
}

static void failed_follower_waits_longer_each_time(void)
{
    struct feed *feed = new_feed(1);
    struct follower *follower = &feed->followers[0];
    int64_t waits[6];

    for (int i = 0; i < 6; i++) {
        uint32_t generation = follower->generation;
        follower_failed(follower, 1000);
        CU_ASSERT_EQUAL(follower->generation, generation + 1);
        waits[i] = follower->retry_at_us - 1000;
        CU_ASSERT_FALSE(follower_retry(follower, follower->retry_at_us - 1));
        CU_ASSERT_TRUE(follower_retry(follower, follower->retry_at_us));
        CU_ASSERT_TRUE(feed_wants_history(feed));
    }
    CU_ASSERT_TRUE(waits[1] > waits[0]);
    CU_ASSERT_EQUAL(waits[5], 1000 * 1000);
    follower_acked(follower, 0);
    CU_ASSERT_EQUAL(follower->failures, 0);
    end_feed(feed);
}

static void full_window_stops_reading_unless_another_waits(void)
{
    struct feed *feed = new_feed(2);
    struct follower *idle = &feed->followers[0];
    struct follower *full = &feed->followers[1];

    prepare(idle, 10);
    prepare(full, 10);
    full->pending_bytes = 64 * 1024 * 1024;
    idle->pending_bytes = 1;
    CU_ASSERT_FALSE(feed_wants_data(feed));
    CU_ASSERT_FALSE(follower_is_left_behind(full));
    idle->pending_bytes = 0;
    CU_ASSERT_TRUE(feed_wants_data(feed));
    CU_ASSERT_TRUE(follower_is_left_behind(full));
    CU_ASSERT_FALSE(follower_is_left_behind(idle));
    end_feed(feed);
}

static void a_full_node_stops_reading_unless_another_waits(void)
{
    struct feed *feed = new_feed(2);
    int64_t total = 0;
    struct node_window stuck = {0, &total};
    struct node_window free = {0, &total};

    feed->followers[0].window = &stuck;
    feed->followers[1].window = &free;
    prepare(&feed->followers[0], 10);
    prepare(&feed->followers[1], 10);
    stuck.bytes = NODE_WINDOW_BYTES_MAX;
    total = stuck.bytes;
    CU_ASSERT_TRUE(feed_wants_data(feed)); /* for the other one */
    CU_ASSERT_TRUE(follower_is_left_behind(&feed->followers[0]));
    feed->followers[1].pending_bytes = 1;
    CU_ASSERT_FALSE(feed_wants_data(feed));
    CU_ASSERT_PTR_EQUAL(feed_full_node(feed), &feed->followers[0]);
    CU_ASSERT_FALSE(feed_is_over(feed));
    stuck.bytes = NODE_WINDOW_BYTES_MAX + NODE_WINDOW_SLACK;
    CU_ASSERT_FALSE(feed_is_over(feed));
    feed->followers[1].window = &stuck;
    CU_ASSERT_TRUE(feed_is_over(feed));
    end_feed(feed);
}

static void stuck_nodes_leave_room_for_others(void)
{
    int64_t total = 0;
    struct node_window windows_of[64];
    int64_t taken = 0;

    for (int i = 0; i < 64; i++) { /* each takes what it may */
        windows_of[i] = (struct node_window){0, &total};
        while (!node_window_is_full(&windows_of[i])) {
            windows_of[i].bytes += 64 * 1024;
            total += 64 * 1024;
        }
        taken += windows_of[i].bytes;
        CU_ASSERT_TRUE(windows_of[i].bytes >= NODE_WINDOW_BYTES_MIN);
    }
    CU_ASSERT_TRUE(taken <= NODE_WINDOW_BUDGET + 64 * NODE_WINDOW_BYTES_MIN);
    CU_ASSERT_TRUE(windows_of[0].bytes <= NODE_WINDOW_BYTES_MAX + 64 * 1024);
}

static void a_wish_is_wanted_once_for_each_cursor(void)
{
    struct feed *feed = new_feed(1);

    CU_ASSERT_FALSE(feed_wants_wish(feed));
    prepare(&feed->followers[0], 10);
    CU_ASSERT_TRUE(feed_wants_wish(feed));
    feed->wish_number = 3;
    feed->wish_offset = 10;
    CU_ASSERT_FALSE(feed_wants_wish(feed));
    feed->followers[0].sent_offset = 20;
    feed_advance(feed, 20);
    CU_ASSERT_TRUE(feed_wants_wish(feed));
    end_feed(feed);
}

static void acknowledged_offset_never_falls(void)
{
    struct feed *feed = new_feed(1);
    struct follower *follower = &feed->followers[0];

    prepare(follower, 10);
    follower->sent_offset = 30;
    follower_acked(follower, 30);
    follower_acked(follower, 20);
    CU_ASSERT_EQUAL(follower->acked_offset, 30);
    end_feed(feed);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(new_followers_want_the_history_and_no_data),
    HARNESS_TEST(first_prepared_follower_sets_the_cursor),
    HARNESS_TEST(follower_behind_the_cursor_catches_up_alone),
    HARNESS_TEST(follower_ahead_of_the_cursor_is_attached),
    HARNESS_TEST(cursor_goes_back_when_the_last_attached_fails),
    HARNESS_TEST(failed_follower_waits_longer_each_time),
    HARNESS_TEST(full_window_stops_reading_unless_another_waits),
    HARNESS_TEST(a_full_node_stops_reading_unless_another_waits),
    HARNESS_TEST(stuck_nodes_leave_room_for_others),
    HARNESS_TEST(a_wish_is_wanted_once_for_each_cursor),
    HARNESS_TEST(acknowledged_offset_never_falls),
};

HARNESS_MAIN(tests);
